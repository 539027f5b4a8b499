"""Where conversations come from: tokens that the policy has said in turns, and the environment's in between."""

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.strategies import NUMBERS, rescaling, roundings, windows


@dataclass(frozen=True)
class Conversation:
    """Arrays [B, T] of numbers for every token, the number of its turn, and which tokens are the policy's own."""

    arrays: tuple[np.ndarray, ...]
    turns: np.ndarray
    mask: np.ndarray

    def __iter__(self) -> Any:
        return iter((*self.arrays, self.turns, self.mask))

    def but(self, *arrays: np.ndarray, **fields: np.ndarray) -> "Conversation":
        """The same with other numbers, turns or mask."""
        return Conversation(arrays or self.arrays, fields.get("turns", self.turns), fields.get("mask", self.mask))

    @property
    def first(self) -> np.ndarray:
        """Which tokens are the first of their turn [B, T]."""
        found = np.zeros(self.mask.shape, dtype=bool)
        for row, counts in enumerate(self.mask):
            places = np.flatnonzero(counts)
            found[row, places[np.unique(self.turns[row, places], return_index=True)[1]]] = True
        return found

    @property
    def last(self) -> np.ndarray:
        """Which tokens are the last of their turn [B, T]."""
        turned = Conversation(self.arrays, self.turns[:, ::-1], self.mask[:, ::-1])
        return turned.first[:, ::-1]

    def judged(self, discount: float = 1.0) -> dict[str, Any]:
        """How far rounding may take sums that are carried over turns: the magnitude and roundings ``agree`` wants.

        As for the tokens of one turn each, of which there are no fewer.
        """
        steps = self.mask.shape[1]
        size = sum(np.where(self.mask, np.abs(array), 0).sum(axis=1, keepdims=True) for array in self.arrays)
        return {"magnitude": size * rescaling(discount, steps), "roundings": roundings(steps)}


@st.composite
def conversations(draw: st.DrawFn, copies: int = 1, numbers: np.ndarray = NUMBERS) -> Conversation:
    """Batches of so many numbers a token; turns of one token or several, with or without tokens in between."""
    table = draw(windows(copies + 1))
    last = table[..., copies]
    mask = last % 4 != 3
    mask &= last[:, :1] % 8 != 6  # a row in which the policy says nothing
    begins = (last // 4) % 2 == 1
    begins[:, 0] = False
    arrays = tuple(numbers[table[..., copy] % len(numbers)] for copy in range(copies))
    return Conversation(arrays, begins.cumsum(axis=1), mask)
