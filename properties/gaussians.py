"""Where Gaussian policies come from: actions, means and logarithms of standard deviations, with independent axes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.strategies import windows
from rlspec.spec.operations import OPERATIONS

GAUSSIAN_OPERATIONS = (
    "gaussian_logp",
    "gaussian_entropy",
    "gaussian_kl",
    "squashed_gaussian_logp",
    "bounded_gaussian_logp",
)
"""The operations on Gaussian policies."""

PLACES = np.array([0, 1, -1, 0.5, 2, -3, 0.3, -0.7, 2.0**-10, 9])
"""What actions and means are drawn from, some of which only float64 holds."""

FAR_PLACES = np.array([0, 1, -20, 0.5, 300, -3, 45, -1000])
"""The same, and some where the hyperbolic tangent is 1 to all of a float's digits."""

LOG_STDS = np.array([0, 1, -1, 0.5, -0.5, 2, -2, 0.25])
"""What logarithms of standard deviations are drawn from."""

FAR_LOG_STDS = np.array([0, 6, -9, 0.5, -20, 2, -4, 12])
"""The same, of policies that are all but certain, or all but indifferent."""


@dataclass(frozen=True)
class Gaussians:
    """Gaussian policies in B states, an action in each, and a reference: arrays [B, A].

    The fields have the names of the operations' parameters, so that an operation finds its own.
    """

    actions: np.ndarray
    mean: np.ndarray
    log_std: np.ndarray
    ref_mean: np.ndarray
    ref_log_std: np.ndarray

    @property
    def presquash(self) -> np.ndarray:
        """For a policy that is squashed: what the action is the hyperbolic tangent of."""
        return self.actions

    @property
    def low(self) -> np.ndarray:
        """For a policy between bounds: each axis' lower one [A]."""
        return self.ref_mean[0]

    @property
    def high(self) -> np.ndarray:
        """Its upper one [A], half above it at least."""
        return self.low + abs(self.ref_log_std[0]) + 0.5

    def arguments(self, operation: str) -> tuple[np.ndarray, ...]:
        """What the operation is called with."""
        return tuple(getattr(self, name) for name in OPERATIONS[operation].parameters)

    def but(self, **fields: np.ndarray) -> "Gaussians":
        """The same policies with other arrays in the named fields."""
        return replace(self, **fields)

    def axes(self, axes: Any) -> "Gaussians":
        """Some of the axes: a slice, or a list of indices."""
        return replace(self, **{name: array[:, axes] for name, array in vars(self).items()})

    def judged(self, operation: str, saturated: bool = False) -> dict[str, Any]:
        """How far rounding may take an answer and its derivatives: the magnitude and roundings that ``agree`` wants.

        A logarithm l of a deviation leaves exp(l) with a relative error of some u (1 + |l|), and a difference x - m has
        one of u (|x| + |m|): both return in what is multiplied with them.

        saturated: hold a squashed policy to the accuracy that its stretch has where it is no difference.
        """
        with np.errstate(over="ignore"):
            squashed = operation in ("squashed_gaussian_logp", "bounded_gaussian_logp")
            terms = self._of_squashed(saturated) if squashed else getattr(self, f"_of_{operation}")()
            terms = terms + self._of_bounds() if operation == "bounded_gaussian_logp" else terms
        return {"magnitude": float(terms.sum(axis=1).max()), "roundings": 2 * terms.shape[1] + 24}

    def _of_gaussian_logp(self) -> np.ndarray:
        """z^2 / 2 + l, and the derivatives z / sigma and z^2 - 1, with z = (x - m) / sigma."""
        inverse, exponent = np.exp(-self.log_std), 2 + abs(self.log_std)
        z, reach = abs(self.actions - self.mean) * inverse, (abs(self.actions) + abs(self.mean)) * inverse
        return 2 * (exponent * (1 + z**2) + z * reach) + inverse * (reach + exponent * z)

    def _of_gaussian_entropy(self) -> np.ndarray:
        """l + log(2 pi e) / 2, the latter below 2."""
        return abs(self.log_std) + 2

    def _of_gaussian_kl(self) -> np.ndarray:
        """l' - l + (exp(2 (l - l')) - 1) / 2 + (m - m')^2 / (2 sigma'^2), and its derivatives."""
        exponent = 2 * (1 + abs(self.log_std) + abs(self.ref_log_std))
        inverse = np.exp(-self.ref_log_std)
        apart, reach = abs(self.mean - self.ref_mean), abs(self.mean) + abs(self.ref_mean)
        spread = np.exp(2 * (self.log_std - self.ref_log_std))
        return exponent * (1 + spread + (apart * inverse) ** 2) + (1 + apart) * (reach + exponent * apart) * inverse**2

    def _of_squashed(self, saturated: bool) -> np.ndarray:
        """As without squashing, and 2 (log 2 - |u| - log(1 + exp(-2 |u|))) or its derivative, 2 tanh(u).

        An honest log(1 - tanh(u)^2) loses a factor of cosh(u)^2, which is not small where the tangent is all but 1.
        """
        stretch = 6 + 2 * abs(self.presquash)
        return self._of_gaussian_logp() + (stretch if saturated else stretch + np.cosh(self.presquash) ** 2)

    def _of_bounds(self) -> np.ndarray:
        """log w with w = (high - low) / 2, a difference of which the logarithm has the relative error."""
        width = (self.high - self.low) / 2
        return abs(np.log(width)) + (abs(self.low) + abs(self.high)) / width

    def rows(self) -> Iterator[dict[str, np.ndarray]]:
        """Each row's arrays, [1, A]."""
        for row in range(len(self.mean)):
            yield {name: array[[row]] for name, array in vars(self).items()}


def gaussians_at(actions: np.ndarray, mean: np.ndarray, log_std: np.ndarray) -> Gaussians:
    """Policies that are their own reference."""
    return Gaussians(actions, mean, log_std, mean, log_std)


@st.composite
def gaussians(draw: st.DrawFn, places: np.ndarray = PLACES, log_stds: np.ndarray = LOG_STDS) -> Gaussians:
    """Gaussian policies in up to 3 states, over actions of up to 6 axes."""
    table = draw(windows(5))
    actions, mean, ref_mean = (places[table[..., i] % len(places)].astype(float) for i in (0, 1, 3))
    log_std, ref_log_std = (log_stds[table[..., i] % len(log_stds)].astype(float) for i in (2, 4))
    return Gaussians(actions, mean, log_std, ref_mean, ref_log_std)
