"""One surrogate loss with four axes: the level of the ratio, the form of the clip, the reduction, the KL term.

Tables are [B][T], and only entries that the mask counts are read: logp, old_logp and ref_logp, the log-probabilities of
each token under the trained policy, the one that spoke and the reference.  A *row* is what one row of a table holds for
the tokens that count.  A *term* is a token's part of the loss and its derivative in the token's own log-probability.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import exp, inf
from typing import Any

from .choices import require, shape_of
from .estimators import CLAMPED, ESTIMATORS, Term, estimated
from .linear_algebra import Matrix, Number, Vector
from .reductions import Mask, divisors, reduced

Row = list[Number]
Exponential = Callable[[Number], Number]
Clips = tuple[Number, Number, Number | None]


def surrogate_loss(
    logp: Matrix,
    old_logp: Matrix,
    ref_logp: Matrix,
    advantages: Vector,
    groups: Sequence[Hashable],
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
    ratio: str = "token",
    clip: str = "pessimistic",
    dual_clip: Number | None = None,
    reduction: str = "token-mean",
    divisor: Number = 1,
    kl: str = "k3",
    empty_rows: str = "counted",
    count: str = "n",
    log_ratio: str = "as it is",
    clamp: str = "none",
    kl_weight: str = "1",
    exp: Exponential = exp,
) -> tuple[Any, ...]:
    """L = sum_b 1/n_b sum_t (kl_coef w_bt k_bt - u_bt), and dL/dlogp (SUR-1).

    advantages, groups: [B], a number and a name for each row.  ratio: its level (SUR-2).  clip: the form of u (SUR-3 to
    SUR-6); clip_low, clip_high: how far below and above 1 a ratio may be; dual_clip: a second bound of the pessimistic
    form (SUR-7).  reduction, divisor: n_b (SUR-8).  kl: the estimate k (SUR-9); without a kl_coef nothing of it is
    read.  empty_rows, count, log_ratio, clamp, kl_weight: what is left open (SUR-18 to SUR-21).
    Returns the loss and its derivatives, [B][T].

    >>> from sympy import Integer, Rational, exp, log
    >>> fifth, old = Rational(1, 5), [[0, 0]]
    >>> batch = [[log(2), -log(2)]], old, old, [Integer(1)], ["a"], [[1, 1]], fifth, fifth, 0  # ratios 2 and 1/2
    >>> surrogate_loss(*batch, exp=exp)
    (-17/20, [[0, -1/4]])
    >>> surrogate_loss(*batch, ratio="sequence", exp=exp)
    (-1, [[-1/2, -1/2]])
    """
    for choice, known in (ratio, LEVELS), (clip, FORMS), (kl, ESTIMATORS), (clamp, CLAMPED), (kl_weight, KL_WEIGHTS):
        require(choice, *known)
    require(log_ratio, *LIMITS)

    def terms_of(row: int) -> dict[int, Term]:
        steps = [step for step, counts in enumerate(mask[row]) if counts]
        new, old, ref = ([table[row][step] for step in steps] for table in (logp, old_logp, ref_logp))
        ratios = rated(_differences(new, old), ratio, log_ratio, exp)
        gains = objectives(new, old, advantages[row], ratio, clip, (clip_low, clip_high, dual_clip), log_ratio, exp)
        costs = penalties(new, ref, ratios, ratio, kl, clamp, kl_weight, exp) if kl_coef != 0 else [(0, 0)] * len(new)
        return {
            step: (kl_coef * k - u, kl_coef * dk - du)
            for step, (u, du), (k, dk) in zip(steps, gains, costs, strict=True)
        }

    terms = [terms_of(row) for row in range(len(mask))]
    sizes = divisors(mask, reduction, empty_rows, count, divisor, groups)
    return reduced(lambda row, step: terms[row][step], mask, sizes)


def objectives(
    new: Row, old: Row, advantage: Number, ratio: str, clip: str, clips: Clips, log_ratio: str, exp: Exponential
) -> list[Term]:
    """u_t of one row's tokens, and its derivatives (SUR-3 to SUR-7)."""
    form = FORMS[clip if ratio != "none" else "weight"]
    held = [inside(x, advantage, *clips[:2]) if clip == "geometric" else (x, 1) for x in _differences(new, old)]
    ratios = rated([x for x, _ in held], ratio, log_ratio, exp)
    terms = []
    for logp, (r, moves), (_, own) in zip(new, ratios, held, strict=True):
        value, by_ratio, by_logp = form(r, advantage, logp, *clips)
        terms.append((value, own * moves * by_ratio + by_logp))
    return terms


def penalties(
    new: Row, ref: Row, ratios: list[Term], ratio: str, kl: str, clamp: str, kl_weight: str, exp: Exponential
) -> list[Term]:
    """w_t k_t of one row's tokens, and its derivatives (SUR-9, SUR-21).  A ratio that weighs k2 is held (KL-15)."""
    estimates = [estimated(kl, x, exp(-x), clamp) for x in _differences(new, ref)]
    if kl_weight == "1":
        return estimates
    by_ratio = [0 if kl == "k2" else moves * r * k for (r, moves), (k, _) in zip(ratios, estimates, strict=True)]
    back = LEVELS[ratio](by_ratio)
    return [(r * k, r * dk + change) for (r, _), (k, dk), change in zip(ratios, estimates, back, strict=True)]


def rated(log_ratios: Row, ratio: str, log_ratio: str, exp: Exponential) -> list[Term]:
    """Each token's ratio at its level (SUR-2), and 1; 0 where it does not move with its logarithm (SUR-19).

    >>> rated([1, -1], "token", "as it is", lambda x: 2**x), rated([1, -1], "sequence", "as it is", lambda x: 2**x)
    ([(2, 1), (0.5, 1)], [(1.0, 1), (1.0, 1)])
    """
    limited = [limit(x, log_ratio) for x in LEVELS[ratio](log_ratios)]
    return [(1, 0) if ratio == "none" else (exp(x), moves) for x, moves in limited]


def _mean_everywhere(numbers: Row) -> Row:
    return [sum(numbers) / len(numbers)] * len(numbers) if numbers else []


LEVELS: Mapping[str, Callable[[Row], Row]] = {
    "token": lambda numbers: numbers,
    "sequence": _mean_everywhere,
    "none": lambda numbers: [0] * len(numbers),
}
"""What the logarithms of a row's ratios are made of (SUR-2).

Each is linear and its own transpose: it takes derivatives back the way it takes log-ratios forth.
"""

LIMITS = ("as it is", "clamped to C", "at most C")
"""How far a log-ratio counts (SUR-19)."""

KL_WEIGHTS = ("1", "ratio")
"""What an estimate of the KL divergence is multiplied by (SUR-21)."""


def limit(number: Number, choice: str) -> Term:
    """A log-ratio as far as it counts, and 1; 0 where it is held (SUR-19).

    >>> limit(-3, "clamped to 2"), limit(-3, "at most 2")
    ((-2, 0), (-3, 1))
    """
    shape, most = shape_of(choice, *LIMITS)
    if shape != "as it is" and number > most:
        return most, 0
    if shape == "clamped to C" and number < -most:
        return -most, 0
    return number, 1


def inside(log_ratio: Number, advantage: Number, low: Number, high: Number) -> Term:
    """A log-ratio, but no further than the clip the way its advantage pushes it, and 1; 0 where it is held (SUR-6).

    >>> inside(0.5, 1, 0.2, 0.3), inside(0.5, -1, 0.2, 0.3)
    ((0.3, 0), (0.5, 1))
    """
    if advantage > 0 and log_ratio > high:
        return high, 0
    if advantage < 0 and log_ratio < -low:
        return -low, 0
    return log_ratio, 1


def surrogate(
    ratio: Number, advantage: Number, clip_low: Number, clip_high: Number, dual_clip: Number | None = None
) -> Term:
    """min(r A, clip(r) A) and its derivative in log r: r A, as long as r does not go too far the way A pushes it.

    A positive advantage pays up to the ratio 1 + clip_high.  A negative one costs no less than at 1 - clip_low and,
    with a dual clip c, no more than at c.  Where the ratio is beyond, the objective is flat (SUR-4, SUR-7).

    >>> surrogate(2, 1, 0.2, 0.2), surrogate(2, -1, 0.2, 0.2), surrogate(2, -1, 0.2, 0.2, dual_clip=1.5)
    ((1.2, 0), (-2, -2), (-1.5, 0))
    """
    most = inf if dual_clip is None else dual_clip
    lowest, highest = (1 - clip_low, most) if advantage < 0 else (0, 1 + clip_high)
    if ratio < lowest or ratio > highest:
        return min(max(ratio, lowest), highest) * advantage, 0 * advantage
    return ratio * advantage, ratio * advantage


def _product(ratio: Number, advantage: Number, logp: Number, *clips: Number | None) -> tuple[Number, ...]:
    return ratio * advantage, ratio * advantage, 0


def _pessimistic(ratio: Number, advantage: Number, logp: Number, *clips: Number) -> tuple[Number, ...]:
    return *surrogate(ratio, advantage, *clips), 0


def _weight(
    ratio: Number, advantage: Number, logp: Number, low: Number, high: Number, *dual: Any
) -> tuple[Number, ...]:
    weight = max(1 - low, min(ratio, 1 + high)) * advantage
    return weight * logp, 0, weight


FORMS: Mapping[str, Callable[..., tuple[Number, ...]]] = {
    "none": _product,
    "pessimistic": _pessimistic,
    "weight": _weight,
    "geometric": _product,
}
"""u of a token, its derivative in the ratio's logarithm, and that in the log-probability itself (SUR-3 to SUR-6)."""


def _differences(numbers: Row, others: Row) -> Row:
    return [x - y for x, y in zip(numbers, others, strict=True)]
