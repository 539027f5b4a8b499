"""Statistics that are kept while a program runs, and what is normalised by them (spec/statistics.md).

Rows are lists over features; tables of steps are [B][T], as they come from B environments side by side.  mean,
variance and count: of what was seen before, for each feature where there are several.
"""

from collections.abc import Callable, Mapping, Sequence
from math import expm1, log1p
from typing import Any

from .choices import one_of, shape_of
from .linear_algebra import Matrix, Number, Vector
from .numbers import square_root

Moments = tuple[Number, Number, Number]
Flags = Sequence[Sequence[Any]]


def moments_of(numbers: Vector) -> Moments:
    """Mean, variance (over N) and number of some numbers.

    >>> moments_of([1, 3])
    (2.0, 1.0, 2)
    """
    count = len(numbers)
    mean = sum(numbers) / count
    return mean, sum((number - mean) * (number - mean) for number in numbers) / count, count


def merged(one: Moments, other: Moments) -> Moments:
    """The moments of two sets together (STAT-1).  Chan, Golub & LeVeque (1983).

    >>> merged((0.0, 1.0, 1), (3.0, 1.0, 2))
    (2.0, 3.0, 3)
    """
    (mean, variance, count), (other_mean, other_variance, other_count) = one, other
    total, apart = count + other_count, other_mean - mean
    spread = variance * count + other_variance * other_count + apart * apart * count * other_count / total
    return mean + apart * other_count / total, spread / total, total


def running_moments(
    mean: Vector, variance: Vector, count: Number, batch: Matrix, spread: str = "ddof=0"
) -> tuple[list[Number], list[Number], Number]:
    """Mean and variance of each feature and the count, with a batch of rows added to what was counted (STAT-1).

    spread: a choice of STAT-17.

    >>> running_moments([0.0], [1.0], 1, [[2.0], [4.0]])
    ([2.0], [3.0], 3)
    """
    less = one_of({"ddof=0": 0, "ddof=1": 1}, spread)
    columns = zip(mean, variance, zip(*batch, strict=True), strict=True)
    together = [merged((middle, known, count), _over(moments_of(column), less)) for middle, known, column in columns]
    return [found[0] for found in together], [found[1] for found in together], count + len(batch)


def _over(moments: Moments, less: int) -> Moments:
    """Moments of several numbers with the variance over so many fewer; one number has none."""
    mean, variance, count = moments
    return mean, variance * count / max(count - less, 1), count


def fading_moments(
    mean: Vector, square: Vector, weight: Number, batch: Matrix, beta: Number
) -> tuple[list[Number], list[Number], Number]:
    """beta m + (1 - beta) x of the mean, the mean square and 1, with the batch's own for x (STAT-15).

    >>> fading_moments([0.0], [0.0], 0.0, [[2.0], [4.0]], 0.5)
    ([1.5], [5.0], 0.5)
    """
    columns = list(zip(*batch, strict=True))
    means = [sum(column) / len(column) for column in columns]
    squares = [sum(number * number for number in column) / len(column) for column in columns]
    return _faded(mean, means, beta), _faded(square, squares, beta), beta * weight + (1 - beta)


def _faded(known: Vector, new: Vector, beta: Number) -> list[Number]:
    return [beta * before + (1 - beta) * number for before, number in zip(known, new, strict=True)]


SCALES: Mapping[str, Callable[[Number, Number], Number]] = {
    "sqrt(var + eps)": lambda variance, eps: square_root(variance + eps),
    "std + eps": lambda variance, eps: square_root(variance) + eps,
    "max(std, eps)": lambda variance, eps: max(square_root(variance), eps),
}
"""What is divided by (STAT-5)."""


def clipped(number: Number, clip: Number) -> Number:
    """The number, or the bound of [-clip, clip] that it is beyond.

    >>> clipped(3, 2), clipped(-3, 2)
    (2, -2)
    """
    return max(-clip, min(number, clip))


def normalize_observations(
    observations: Matrix, mean: Vector, variance: Vector, eps: Number, clip: Number, scale: str = "sqrt(var + eps)"
) -> list[list[Number]]:
    """clip((x - mean) / sqrt(variance + eps), -clip, clip) of each feature (STAT-4).  scale: a choice of STAT-5.

    >>> normalize_observations([[3.0, 30.0]], [1.0, 10.0], [4.0, 4.0], 0.0, 5.0)
    [[1.0, 5.0]]
    """
    divisors = [one_of(SCALES, scale)(spread, eps) for spread in variance]
    return [
        [clipped((x - middle) / divisor, clip) for x, middle, divisor in zip(row, mean, divisors, strict=True)]
        for row in observations
    ]


def scaled_rewards(
    rewards: Matrix,
    terminated: Flags,
    truncated: Flags,
    gamma: Number,
    mean: Number,
    variance: Number,
    count: Number,
    eps: Number,
    clip: Number,
    scale: str = "sqrt(var + eps)",
) -> list[list[Number]]:
    """clip(r_t / sqrt(variance_t + eps)): the variance of the returns so far, the step's own included (STAT-6).

    scale: a choice of STAT-5.

    >>> scaled_rewards([[2.0]], [[False]], [[False]], 0.5, 2.0, 8.0, 1, 0.0, 5.0)  # over the root of (8 + 0) / 2
    [[1.0]]
    """
    divide = one_of(SCALES, scale)
    moments, returns, columns = (mean, variance, count), [0 * row[0] for row in rewards], []
    for t in range(len(rewards[0])):
        returns = [gamma * before + row[t] for before, row in zip(returns, rewards, strict=True)]
        moments = merged(moments, moments_of(returns))
        divisor = divide(moments[1], eps)
        columns.append([clipped(row[t] / divisor, clip) for row in rewards])
        returns = [
            0 * number if over[t] or stopped[t] else number
            for number, over, stopped in zip(returns, terminated, truncated, strict=True)
        ]
    return [list(row) for row in zip(*columns, strict=True)]


def popart(
    weights: Vector, bias: Number, old_mean: Number, old_std: Number, new_mean: Number, new_std: Number
) -> tuple[list[Number], Number]:
    """w sigma / sigma' and (sigma b + mu - mu') / sigma' (STAT-8).  van Hasselt et al. (2016b), proposition 1.

    >>> popart([2.0, 4.0], 1.0, 3.0, 2.0, 1.0, 4.0)
    ([1.0, 2.0], 1.0)
    """
    return [weight * old_std / new_std for weight in weights], (old_std * bias + old_mean - new_mean) / new_std


def symlog(number: Number, log1p: Callable[[Any], Any] = log1p) -> Number:
    """sign(x) log(1 + |x|) (STAT-10).  Hafner et al. (2023), the symlog function.

    >>> round(symlog(-3), 3)  # -log 4
    -1.386
    """
    return log1p(number) if number >= 0 else -log1p(-number)


def symexp(number: Number, expm1: Callable[[Any], Any] = expm1) -> Number:
    """sign(x) (exp |x| - 1) (STAT-11).  Hafner et al. (2023), the inverse of symlog.

    >>> round(symexp(-1), 3)  # 1 - e
    -1.718
    """
    return expm1(number) if number >= 0 else -expm1(-number)


def two_hot(number: Number, bins: Vector, gap: str = "gap") -> list[Number]:
    """The shares of the two bins around a number, in its distances to them; of the outer bin beyond (STAT-12).

    bins: K >= 2 increasing numbers.  gap: a choice of STAT-14.  Hafner et al. (2023), the two-hot encoding.

    >>> two_hot(1, [0.0, 4.0, 5.0]), two_hot(9, [0.0, 4.0, 5.0])
    ([0.75, 0.25, 0.0], [0.0, 0.0, 1.0])
    """
    inside = max(bins[0], min(number, bins[-1]))
    above = next(place for place, edge in enumerate(bins) if place > 0 and inside <= edge)
    _, added = shape_of(gap, "gap", "gap + E")
    guard = 0 if added is None or inside == bins[above - 1] else added
    share = (bins[above] - inside) / (bins[above] - bins[above - 1] + guard)
    shares = [0 * share for _ in bins]
    shares[above - 1], shares[above] = share, 1 - share
    return shares
