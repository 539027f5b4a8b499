"""Where inputs come from: rollouts whose boundaries, values and discounts lie where defects live.

Everything is decoded from one byte string of fixed length and a shape.  Byte 0 means the plainest choice, so that
Hypothesis shrinks a rollout to few rows, few steps and small integers.
"""

from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume

MOST_ROWS, MOST_STEPS = 3, 6

PLAIN = np.array([0, 1, -1, 2, -2, 3, 0.5, -0.25, 4, -5, 0.1, -0.7])
"""Rewards and values of one order of size: small integers, dyadic fractions, decimals that floats round."""

NUMBERS = np.concatenate([PLAIN, [7, 10, 1000, -1e8]])
"""What rewards and values are drawn from: plain numbers and large ones."""

DISCOUNTS = (1.0, 0.5, 0.0, 0.9, 0.99, 2.0**-12)
"""What gamma and lambda are drawn from: both limits, a dyadic number, decimals that float32 rounds, almost nothing."""

discounts = st.sampled_from(DISCOUNTS)
discounts_near_one = st.sampled_from([0.9, 0.99])

counts = st.sampled_from([1, 2, 3, 5, 100])
"""What n is drawn from: one step, a few, more than any rollout has."""


@st.composite
def _windows(draw: st.DrawFn, fields: int) -> np.ndarray:
    """Bytes [B, T, fields], a window on a table of fixed size.

    A step keeps its bytes while the window shrinks around it; Hypothesis trades a window's size for its place.
    """
    size = MOST_ROWS * MOST_STEPS * fields
    data = draw(st.binary(min_size=size, max_size=size))
    table = np.frombuffer(data, np.uint8).reshape(MOST_ROWS, MOST_STEPS, fields)
    for axis, most in enumerate((MOST_ROWS, MOST_STEPS)):
        length, start = draw(st.integers(1, most)), draw(st.integers(0, most - 1))
        table = table.take(range(start, start + length), axis, mode="wrap")
    return table


@st.composite
def reward_rows(draw: st.DrawFn, copies: int = 1, numbers: np.ndarray = NUMBERS) -> Any:
    """Rewards [B, T] of complete episodes, or a tuple of several such arrays of one shape."""
    table = draw(_windows(copies))
    arrays = tuple(numbers[table[..., copy] % len(numbers)] for copy in range(copies))
    return arrays if copies > 1 else arrays[0]


@dataclass(frozen=True)
class Rollout:
    """Arrays [B, T]: steps with values, true successors' values, and how episodes ended inside the row."""

    rewards: np.ndarray
    values: np.ndarray
    next_values: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``gae`` before gamma and lambda, in order."""
        return self.rewards, self.values, self.next_values, self.terminated, self.truncated

    @property
    def td_arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``td_error`` before gamma, in order."""
        return self.rewards, self.values, self.next_values, self.terminated

    @property
    def return_arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``n_step_return`` and ``lambda_return`` before the scalars, in order."""
        return self.rewards, self.next_values, self.terminated, self.truncated

    @property
    def ended(self) -> np.ndarray:
        """Where an episode ends, either way."""
        return self.terminated | self.truncated

    @property
    def magnitude(self) -> np.ndarray:
        """Absolute sum of each row's numbers, shape [B, 1]; a bootstrap that may not be read does not count."""
        return self.return_magnitude + np.abs(self.values).sum(axis=1, keepdims=True)

    @property
    def return_magnitude(self) -> np.ndarray:
        """The same without the steps' own values, which a return does not read."""
        read = np.where(self.terminated, 0, self.next_values)
        return sum(np.abs(part).sum(axis=1, keepdims=True) for part in (self.rewards, read))

    def but(self, **fields: np.ndarray) -> "Rollout":
        """The same rollout with other arrays in the named fields."""
        return replace(self, **fields)

    def mixed(self, other: "Rollout", factor: float) -> "Rollout":
        """The rollout ``factor * self + other``, in rewards and values, with flags that the two have in common."""
        pairs = zip(self.arrays[:3], other.arrays[:3], strict=True)
        rewards, values, next_values = (factor * a + b for a, b in pairs)
        return self.but(rewards=rewards, values=values, next_values=next_values)

    @property
    def tidied(self) -> "Rollout":
        """The rollout with 0 where nothing may be read, so that who reads it there is none the worse."""
        return self.but(next_values=np.where(self.terminated, 0, self.next_values))

    def overwritten(self, junk: float) -> "Rollout":
        """The rollout with something else where nothing may be read: the successor's value at a termination."""
        assume(self.terminated.any())
        return self.but(next_values=np.where(self.terminated, junk, self.next_values))

    def episodes(self) -> list[tuple[int, int, int]]:
        """The episodes that the rows hold: row, first step, and the step after the last."""
        rows, steps = self.ended.shape
        ends = [[*(int(t) + 1 for t in np.flatnonzero(self.ended[row, :-1])), steps] for row in range(rows)]
        return [
            (row, start, stop)
            for row in range(rows)
            for start, stop in zip([0, *ends[row]], ends[row], strict=False)
        ]

    def part(self, row: int, start: int, stop: int) -> "Rollout":
        """Steps start to stop of one row, as a rollout of one row."""
        return Rollout(*(array[row : row + 1, start:stop].copy() for array in self.arrays))


@st.composite
def rollouts(
    draw: st.DrawFn, inside: bool = True, at_end: bool = True, copies: int = 1, numbers: np.ndarray = NUMBERS
) -> Any:
    """Rollouts whose episodes may end inside a row, at its last step, or nowhere (the rollout was cut).

    Inside an episode a successor's value is the next row's; at a boundary it is its own.
    inside, at_end: whether episodes may end before, and at, the last step.
    copies: with more than one, a tuple of so many rollouts whose episodes end alike.
    """
    table = draw(_windows(1 + 3 * copies))
    allowed = np.full(table.shape[:2], inside)
    allowed[:, -1] = at_end
    terminated = allowed & np.isin(table[..., 0] % 8, (5, 7))
    truncated = allowed & np.isin(table[..., 0] % 8, (6, 7))
    drawn = []
    for first in range(1, table.shape[2], 3):
        rewards, values, successors = np.moveaxis(numbers[table[..., first : first + 3] % len(numbers)], 2, 0)
        following = np.concatenate([values[:, 1:], successors[:, -1:]], axis=1)
        next_values = np.where(terminated | truncated, successors, following)
        drawn.append(Rollout(rewards, values, next_values, terminated, truncated))
    return tuple(drawn) if copies > 1 else drawn[0]


def uninterrupted(**options: Any) -> st.SearchStrategy[Any]:
    """Rollouts of one stretch of one episode a row, without any flag."""
    return rollouts(inside=False, at_end=False, **options)


def rescaling(discount: float, steps: int) -> float:
    """How much an honest computation may enlarge rounding errors: discount^-(steps - 1) for discounts of ordinary size.

    Cumulative sums of discounted terms, divided by the discount's power at the end, are such a computation.  With a
    discount near 0 its powers vanish, and nobody divides by them.
    """
    return discount ** -(steps - 1) if discount >= 0.25 else 1.0


def roundings(steps: int) -> int:
    """A generous count of the roundings between the arguments and one advantage or return over so many steps.

    Each of the steps' terms takes at most 4 to form (its discount's rounding included) and as many for every later
    step that it is carried over, multiplied and added: once more for a result put together from two such sums.
    """
    return 8 * (steps + 1)
