"""The estimates k1, k2 and k3 of a token's share of a KL divergence, and their derivatives (spec/kl.md).

Each is a function of the token's log-ratio, log pi(a) - log ref(a), and of exp(-log-ratio) = ref(a)/pi(a).
"""

from collections.abc import Callable, Mapping

from .choices import one_of, shape_of
from .linear_algebra import Number

Term = tuple[Number, Number]

ESTIMATORS: Mapping[str, Callable[[Number, Number], Number]] = {
    "k1": lambda log_ratio, inverse: log_ratio,
    "k2": lambda log_ratio, inverse: log_ratio * log_ratio / 2,
    "k3": lambda log_ratio, inverse: inverse - 1 + log_ratio,
}
"""k(log-ratio, exp(-log-ratio)) by name (KL-1, KL-2, KL-3)."""

SLOPES: Mapping[str, Callable[[Number, Number], Number]] = {
    "k1": lambda log_ratio, inverse: log_ratio**0,
    "k2": lambda log_ratio, inverse: log_ratio,
    "k3": lambda log_ratio, inverse: 1 - inverse,
}
"""dk / d log pi of the same (KL-14)."""


CLAMPED: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "k3 at most C": ("k3",),
    "k2 and k3 at most C": ("k2", "k3"),
    "within C": ("k1", "k2", "k3"),
}
"""Which estimates are kept within C of zero, by convention (KL-8)."""


def estimated(estimator: str, log_ratio: Number, inverse: Number, clamp: str) -> Term:
    """k and dk / d log pi of one token; where the clamp acts (KL-8), its bound and 0.

    inverse: exp(-log_ratio).

    >>> estimated("k2", 2, 0.125, "none"), estimated("k2", 2, 0.125, "within 1")
    ((2.0, 2), (1, 0))
    """
    value, slope = one_of(ESTIMATORS, estimator)(log_ratio, inverse), one_of(SLOPES, estimator)(log_ratio, inverse)
    shape, most = shape_of(clamp, *CLAMPED)
    if estimator in CLAMPED[shape] and abs(value) > most:
        return (most if value > 0 else -most), 0
    return value, slope
