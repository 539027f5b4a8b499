"""Distributions over actions: the softmax of logits and its entropy, and Gaussians with independent axes.

All is of one state.  exp and log, where they are arguments, are those of the numbers at hand: floats, symbols, balls.
"""

import math
from collections.abc import Callable, Sequence
from math import exp, log
from typing import Any

from .choices import require
from .linear_algebra import Number, Vector, dot

Function = Callable[[Number], Number]


def softmax(logits: Vector, exp: Function = exp) -> list[Number]:
    """pi(a) = exp(theta_a) / sum_b exp(theta_b).  Sutton & Barto (2018), eq. 13.2.

    logits: [A].  The largest logit is taken off first: the quotient is the same, and nothing overflows.

    >>> from sympy import exp, log
    >>> softmax([log(3), 0], exp)
    [3/4, 1/4]
    """
    largest = max(logits)
    weights = [exp(logit - largest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def log_softmax(logits: Vector, exp: Function = exp, log: Function = log) -> list[Number]:
    """log pi(a) = theta_a - log sum_b exp(theta_b), with the largest logit taken off first, as in `softmax`.

    logits: [A].

    >>> from sympy import exp, log
    >>> log_softmax([0, 0], exp, log)
    [-log(2), -log(2)]
    """
    largest = max(logits)
    total = log(sum(exp(logit - largest) for logit in logits))
    return [logit - largest - total for logit in logits]


def entropy(
    logits: Vector, legal: Sequence[Any], exp: Function = exp, log: Function = log
) -> tuple[Number, list[Number]]:
    """H = -sum_a pi(a) log pi(a) over the legal actions (DIST-1), and dH/dtheta_b = -pi(b) (log pi(b) + H) (DIST-2).

    logits, legal: [A].  At least one action is legal; the logits of others are not read.
    Returns H and its derivatives, [A].

    >>> from sympy import exp, log
    >>> entropy([0, 0, 5], [True, True, False], exp, log)
    (log(2), [0, 0, 0])
    """
    possible = [action for action, allowed in enumerate(legal) if allowed]
    rivals = [logits[action] for action in possible]
    probabilities = softmax(rivals, exp)
    # 0 log 0 = 0: what has no probability, such as an action of logit minus infinity, has no surprise.
    logarithms = [x if p != 0 else 0 for p, x in zip(probabilities, log_softmax(rivals, exp, log), strict=True)]
    value = -dot(probabilities, logarithms)
    slopes: list[Number] = [0] * len(logits)
    for action, p, logarithm in zip(possible, probabilities, logarithms, strict=True):
        slopes[action] = -p * (logarithm + value)
    return value, slopes


def tempered_entropy(
    logits: Vector, temperature: Number, exp: Function = exp, log: Function = log
) -> tuple[Number, list[Number]]:
    """The entropy of softmax(theta / T), and its derivatives in theta, those in theta / T over T (DIST-18, DIST-19).

    logits: [A].  temperature: T, positive.

    >>> [round(tempered_entropy([0.0, 1.0], temperature)[0], 3) for temperature in (0.5, 1.0, 2.0)]
    [0.365, 0.582, 0.663]
    """
    value, slopes = entropy([logit / temperature for logit in logits], [True] * len(logits), exp, log)
    return value, [slope / temperature for slope in slopes]


def gaussian_logp(
    actions: Vector, mean: Vector, log_std: Vector, functions: Any = math
) -> tuple[Number, list[Number], list[Number]]:
    """sum_a -z_a^2 / 2 - log sigma_a - log(2 pi) / 2, with z = (x - mu) / sigma (DIST-6).

    actions, mean, log_std: [A], of one state.  functions: exp, log and pi for the numbers at hand.
    Returns it, its derivatives in mean, z / sigma, and in log_std, z^2 - 1 (DIST-7).

    >>> logp, d_mean, d_log_std = gaussian_logp([3], [1], [0])
    >>> round(logp, 3), d_mean, d_log_std  # -2^2 / 2 - 0.919
    (-2.919, [2.0], [3.0])
    """
    deviations = list(map(functions.exp, log_std))
    z = [(x - mu) / sigma for x, mu, sigma in zip(actions, mean, deviations, strict=True)]
    value = sum(-(x**2) / 2 - log_sigma - _log_root(functions) for x, log_sigma in zip(z, log_std, strict=True))
    return value, [x / sigma for x, sigma in zip(z, deviations, strict=True)], [x**2 - 1 for x in z]


def gaussian_entropy(log_std: Vector, functions: Any = math) -> tuple[Number, list[Number]]:
    """sum_a log sigma_a + log(2 pi e) / 2, and its derivatives in log_std, which are 1 (DIST-10).

    >>> entropy, d_log_std = gaussian_entropy([0])
    >>> round(entropy, 3), d_log_std  # 0.919 + 1/2
    (1.419, [1])
    """
    half = (log_std[0] * 0 + 1) / 2
    return sum(log_sigma + _log_root(functions) + half for log_sigma in log_std), [1 for _ in log_std]


def gaussian_kl(
    mean: Vector, log_std: Vector, ref_mean: Vector, ref_log_std: Vector, functions: Any = math
) -> tuple[Number, list[Number], list[Number]]:
    """sum_a log(sigma'_a / sigma_a) + (sigma_a^2 + (mu_a - mu'_a)^2) / (2 sigma'_a^2) - 1/2 (DIST-11).

    mean, log_std: mu and log sigma, [A]; with ref, mu' and log sigma'.
    Returns it, its derivatives in mean, (mu - mu') / sigma'^2, and in log_std, sigma^2 / sigma'^2 - 1 (DIST-12).

    >>> gaussian_kl([1], [0], [0], [0])
    (0.5, [1.0], [0.0])
    """
    spreads = [functions.exp(2 * (own - other)) for own, other in zip(log_std, ref_log_std, strict=True)]
    apart = [mu - other for mu, other in zip(mean, ref_mean, strict=True)]
    pulls = [distance / functions.exp(2 * other) for distance, other in zip(apart, ref_log_std, strict=True)]
    terms = [
        (spread - 1 + distance * pull) / 2 + (other - own)
        for spread, distance, pull, own, other in zip(spreads, apart, pulls, log_std, ref_log_std, strict=True)
    ]
    return sum(terms), pulls, [spread - 1 for spread in spreads]


def squashed_gaussian_logp(
    presquash: Vector, mean: Vector, log_std: Vector, functions: Any = math
) -> tuple[Number, list[Number]]:
    """log N(u; mu, sigma) - sum_a log(1 - tanh(u_a)^2), the log-density of tanh(u) (DIST-14).

    presquash, mean, log_std: u, mu and log sigma, [A].
    Returns it and its derivatives in presquash, -(u - mu) / sigma^2 + 2 tanh(u) (DIST-15).

    >>> logp, d_presquash = squashed_gaussian_logp([0], [1], [0])
    >>> round(logp, 3), d_presquash  # -1/2 - 0.919, and tanh is as steep as the identity at 0
    (-1.419, [1.0])
    """
    logp, pulls, _ = gaussian_logp(presquash, mean, log_std, functions)
    # log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + exp(-2 |u|))), without the difference of what is all but 1.
    stretched = (functions.log(2) - abs(u) - functions.log(1 + functions.exp(-2 * abs(u))) for u in presquash)
    slopes = [2 * functions.tanh(u) - pull for u, pull in zip(presquash, pulls, strict=True)]
    return logp - 2 * sum(stretched), slopes


def bounded_gaussian_logp(
    presquash: Vector,
    mean: Vector,
    log_std: Vector,
    low: Vector,
    high: Vector,
    density: str = "of the action",
    functions: Any = math,
) -> tuple[Number, list[Number]]:
    """`squashed_gaussian_logp` less sum_a log((high_a - low_a) / 2), the log-density between these bounds (DIST-22).

    low, high: [A].  density: DIST-24.  Returns it and its derivatives in presquash (DIST-23).

    >>> logp, d_presquash = bounded_gaussian_logp([0], [1], [0], [-2], [2])
    >>> round(logp, 3), d_presquash  # -1/2 - 0.919 - log 2
    (-2.112, [1.0])
    """
    require(density, "of the action", "of the squashed action")
    value, slopes = squashed_gaussian_logp(presquash, mean, log_std, functions)
    if density == "of the action":
        value = value - sum(functions.log((top - bottom) / 2) for bottom, top in zip(low, high, strict=True))
    return value, slopes


def _log_root(functions: Any) -> Number:
    """log(2 pi) / 2, what the root of 2 pi in the density comes to."""
    return functions.log(2 * functions.pi) / 2
