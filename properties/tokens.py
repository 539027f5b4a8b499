"""Where batches of completions come from: token by token, with masks of every shape and anything under them."""

from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume

from rlspec.properties.strategies import LOG_PROBABILITIES, NUMBERS, windows

TOKEN_RATIOS = np.array([1, 2, 0.5, 1.0625, 0.9375, 1.75, 0.375, 4])
"""What ratios of probabilities are drawn from: equal ones, some inside and some outside of every clip on either side,
none of them at a clip's edge, where rounding would decide."""

FAR_LOG_RATIOS = np.array([0, 200, -200, 0.5, -0.5, 30, -30, 1])
"""Logarithms of ratios, some of which stand for no ratio that a model trains on."""

clip_ranges = st.sampled_from([0.25, 0.125, 0.6875])
"""What clips are drawn from: how far a ratio may be from 1."""


@dataclass(frozen=True)
class Completions:
    """Log-probabilities [B, T] of tokens under the policy, the one that spoke and the reference; a mask; advantages.

    Under the mask lies anything: the tokens that count may begin late, end early and have holes between them, and a
    row may have none.
    """

    logp: np.ndarray
    old_logp: np.ndarray
    ref_logp: np.ndarray
    advantages: np.ndarray
    mask: np.ndarray

    def but(self, **fields: np.ndarray) -> "Completions":
        """The same batch with other arrays in the named fields."""
        return replace(self, **fields)

    def rows(self, rows: Any) -> "Completions":
        """Some of the completions: a slice of the batch, or a list of indices."""
        return Completions(**{name: array[rows] for name, array in vars(self).items()})

    def padded(self, left: int, right: int, junk: float) -> "Completions":
        """The batch with so many columns more on either side, and something else wherever the mask is not set."""
        mask = np.pad(self.mask, ((0, 0), (left, right)))

        def wide(array: np.ndarray) -> np.ndarray:
            return np.where(mask, np.pad(array, ((0, 0), (left, right))), junk)

        return Completions(**{name: wide(array) for name, array in vars(self).items() if name != "mask"}, mask=mask)

    def overwritten(self, junk: float) -> "Completions":
        """The batch with something else under the mask, which covers something."""
        assume(not self.mask.all())
        return self.padded(0, 0, junk)


@st.composite
def completions(draw: st.DrawFn, numbers: np.ndarray = NUMBERS, far: bool = False) -> Completions:
    """Batches of completions, all rows of which may be masked in part or as a whole.

    numbers: what advantages are drawn from.  far: whether log-ratios are also drawn that no float's exponential holds
    or that leave nothing of it.
    """
    table = draw(windows(5))
    log_ratios = FAR_LOG_RATIOS if far else np.log(TOKEN_RATIOS)
    old_logp = LOG_PROBABILITIES[table[..., 0] % len(LOG_PROBABILITIES)]
    mask = table[..., 4] % 4 != 3
    mask &= ~(table[:, :1, 4] % 32 == 30)  # a row without any token
    return Completions(
        logp=old_logp + log_ratios[table[..., 1] % 8],
        old_logp=old_logp,
        ref_logp=old_logp + log_ratios[table[..., 2] % 8],
        advantages=numbers[table[..., 3] % len(numbers)],
        mask=mask,
    )
