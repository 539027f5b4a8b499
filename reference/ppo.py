"""Proximal policy optimisation: a surrogate that may be followed for a few steps, and what goes with it.

Everything here is a mean over the steps that count, of a number that one step has by itself.  Tables are [B][T], and
only entries that the mask counts are read: logp and old_logp, the logarithms of what the trained policy and the one
that acted give to each action; advantages, A; values and old_values, V; returns, R.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import exp
from typing import Any

from .choices import one_of, require, shape_of
from .estimators import ESTIMATORS, Term
from .linear_algebra import Matrix, Number, quotient
from .reductions import divisors, reduced
from .surrogate import LIMITS, rated, surrogate

Mask = Sequence[Sequence[Any]]
Table = list[list[Number]]
Exponential = Callable[[Number], Number]


def ppo_loss(
    logp: Matrix,
    old_logp: Matrix,
    advantages: Matrix,
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    dual_clip: Number | None = None,
    reduction: str = "token-mean",
    empty_rows: str = "counted",
    count: str = "n",
    log_ratio: str = "as it is",
    exp: Exponential = exp,
) -> tuple[Any, ...]:
    """L = -mean of min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), r = exp(logp - old_logp), and dL/dlogp (PPO-1).

    dual_clip: c > 1 for an objective of at least c A where A < 0 (PPO-11).  reduction, empty_rows, count: which mean it
    is (RED-8 to RED-10).  log_ratio: whether logarithms of ratios are clamped (PPO-14).
    Returns the loss and its derivatives, [B][T].  Schulman et al. (2017), eq. 7.

    >>> from sympy import Integer, Rational, exp, log
    >>> fifth = Rational(1, 5)
    >>> ppo_loss([[log(2), log(2)]], [[0, 0]], [[Integer(1), Integer(-1)]], [[1, 1]], fifth, fifth, exp=exp)
    (2/5, [[0, 1]])
    """
    require(log_ratio, *LIMITS)

    def term(row: int, step: int) -> Term:
        [(ratio, moves)] = rated([logp[row][step] - old_logp[row][step]], "token", log_ratio, exp)
        objective, slope = surrogate(ratio, advantages[row][step], clip_low, clip_high, dual_clip)
        return -objective, -slope * moves

    return reduced(term, mask, divisors(mask, reduction, empty_rows, count))


def value_loss(
    values: Matrix,
    old_values: Matrix,
    returns: Matrix,
    mask: Mask,
    clip: Number | None = None,
    factor: str = "1",
    clipping: str = "larger of both",
    **reduction: str,
) -> tuple[Any, ...]:
    """L = factor * mean of (V - R)^2, or with a clip of max((V - R)^2, (V_clip - R)^2), and dL/dV (PPO-17).

    V_clip: V, but no further than clip from the old value.  factor: what squares are multiplied with.  clipping:
    whether the larger square counts, or always that of V_clip, or (V - R)^2 up to clip (PPO-23).
    reduction: its choices, of `divisors` (RED-8 to RED-10).  Returns the loss and its derivatives in values, [B][T].

    >>> value_loss([[4]], [[1]], [[6]], [[1]]), value_loss([[4]], [[1]], [[6]], [[1]], clip=1)
    ((4.0, [[-4.0]]), (16.0, [[0.0]]))
    """
    weighed, square = _weigher(factor), one_of(SQUARES, clipping)

    def term(row: int, step: int) -> tuple[Number, Number]:
        value, old, target = (table[row][step] for table in (values, old_values, returns))
        squared, slope = _square(value - target) if clip is None else square(value, old, target, clip)
        return weighed(squared), weighed(slope)

    return reduced(term, mask, divisors(mask, **reduction))


def _square(error: Number) -> tuple[Number, Number]:
    return error * error, 2 * error


def _clipped(value: Number, old: Number, target: Number, clip: Number) -> tuple[Number, Number]:
    """(V_clip - R)^2, which does not move with a value that is further from the old one than the clip."""
    limited = min(max(value, old - clip), old + clip)
    squared, slope = _square(limited - target)
    return squared, slope * (limited == value)


def _larger(value: Number, old: Number, target: Number, clip: Number) -> tuple[Number, Number]:
    """max((V - R)^2, (V_clip - R)^2)."""
    clipped, plain = _clipped(value, old, target, clip), _square(value - target)
    return clipped if clipped[0] > plain[0] else plain


def _clamped(value: Number, old: Number, target: Number, clip: Number) -> tuple[Number, Number]:
    """min((V - R)^2, clip), which does not move at the clip."""
    squared, slope = _square(value - target)
    return (0 * squared + clip, 0 * slope) if squared > clip else (squared, slope)


SQUARES: Mapping[str, Callable[[Number, Number, Number, Number], tuple[Number, Number]]] = {
    "larger of both": _larger,
    "clipped only": _clipped,
    "square at most clip": _clamped,
}
"""What is made of a value, the old one, the return and a clip, with its derivative in the value (PPO-23)."""


def actor_critic_loss(
    logp: Matrix,
    values: Matrix,
    entropies: Matrix,
    returns: Matrix,
    mask: Mask,
    value_coef: Number,
    entropy_coef: Number,
    factor: str = "1",
    **reduction: str,
) -> tuple[Any, ...]:
    """L = mean of -(R - V) logp + value_coef * factor * (R - V)^2 - entropy_coef H, the advantage a constant (PPO-24).

    factor: what squares are multiplied with (PPO-29).  reduction: its choices, of `divisors` (RED-8 to RED-10).
    Returns the loss and its derivatives in logp, values and entropies.

    >>> actor_critic_loss([[-2]], [[1]], [[3]], [[4]], [[1]], 0.5, 0.25)  # 3 * 2 + 0.5 * 3^2 - 0.25 * 3
    (9.75, [[-3.0]], [[-3.0]], [[-0.25]])
    """
    weighed = _weigher(factor)

    def term(row: int, step: int) -> tuple[Number, ...]:
        advantage = returns[row][step] - values[row][step]
        squared, slope = (value_coef * weighed(number) for number in _square(advantage))
        cost = -advantage * logp[row][step] + squared - entropy_coef * entropies[row][step]
        return cost, -advantage, -slope, -entropy_coef

    return reduced(term, mask, divisors(mask, **reduction), derivatives=3)


def approx_kl(
    logp: Matrix, old_logp: Matrix, mask: Mask, estimator: str = "k3", exp: Exponential = exp, count: str = "n"
) -> Number:
    """The mean of -log r (k1), (log r)^2 / 2 (k2) or r - 1 - log r (k3), r = exp(logp - old_logp) (PPO-31).

    >>> from sympy import exp, log
    >>> approx_kl([[log(2)]], [[0]], [[1]], exp=exp)
    1 - log(2)
    """
    estimate = one_of(ESTIMATORS, estimator)

    def term(row: int, step: int) -> tuple[Number]:
        new, old = logp[row][step], old_logp[row][step]
        return (estimate(old - new, exp(new - old)),)

    [kl] = reduced(term, mask, divisors(mask, count=count), derivatives=0)
    return kl


def clip_fraction(
    logp: Matrix,
    old_logp: Matrix,
    advantages: Matrix,
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    counts: str = "ratios outside",
    exp: Exponential = exp,
    count: str = "n",
) -> Number:
    """The share of steps whose ratio lies outside [1 - clip_low, 1 + clip_high], or whose gradient is cut (PPO-35).

    >>> from math import log
    >>> clip_fraction([[log(2), 0]], [[0, 0]], [[-1, -1]], [[1, 1]], 0.2, 0.2)
    0.5
    >>> clip_fraction([[log(2), 0]], [[0, 0]], [[-1, -1]], [[1, 1]], 0.2, 0.2, counts="objectives limited")
    0.0
    """
    of_any_advantage = one_of({"ratios outside": True, "objectives limited": False}, counts)

    def term(row: int, step: int) -> tuple[Number]:
        ratio, advantage = exp(logp[row][step] - old_logp[row][step]), advantages[row][step]
        below = ratio < 1 - clip_low and (of_any_advantage or advantage < 0)
        above = ratio > 1 + clip_high and (of_any_advantage or advantage > 0)
        return (int(below or above),)

    [share] = reduced(term, mask, divisors(mask, count=count), derivatives=0)
    return share


def _weigher(factor: str) -> Callable[[Number], Number]:
    """What multiplies numbers of any kind with a factor (PPO-23), by whole numbers, since those go with every kind."""
    _, weight = shape_of(factor, "F")
    numerator, denominator = Fraction(weight).as_integer_ratio()
    return lambda number: quotient(number * numerator, denominator)
