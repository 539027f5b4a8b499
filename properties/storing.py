"""Where stored transitions come from: rings, priorities and what was drawn by them, sequences, and resets.

As in `strategies`, everything is decoded from windows on a table of bytes, and byte 0 is the plainest choice.
"""

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.strategies import NUMBERS, TERMINATES, TRUNCATES, Rollout, rescaling, windows
from rlspec.properties.strategies import roundings as of_steps

capacities = st.sampled_from([100, 1, 2, 3, 5])
"""Room for more than any row has, and for fewer steps than most have."""

alphas = st.sampled_from([1.0, 0.5, 0.0, 0.6, 2.0])
betas = st.sampled_from([1.0, 0.5, 0.0, 0.4])
burn_ins = st.sampled_from([0, 1, 2, 5])
modes = st.sampled_from(["same step", "next step"])

PRIORITIES = np.array([1, 2, 0.5, 4, 3, 0.25, 1.5, 16])
WITH_NONE = np.array([1, 2, 0, 4, 3, 0.25, 0, 16])
UNIFORMS = np.array([8, 2, 14, 5, 11, 1, 15]) / 16
"""Inside (0, 1), and binary fractions."""

CLOSE = 2.0**-12
"""A place that is nearer than this to a slot's end, in parts of the sum, may fall on either side in float32."""


def window_terms(rollout: Rollout, gamma: float) -> dict[str, Any]:
    """How far rounding may take a target: the magnitude and roundings that ``agree`` wants."""
    steps = rollout.rewards.shape[1]
    return {"magnitude": rollout.return_magnitude * rescaling(gamma, steps), "roundings": of_steps(steps)}


@st.composite
def priorities(draw: st.DrawFn, numbers: np.ndarray = PRIORITIES) -> np.ndarray:
    """Priorities [C] of up to 6 slots, or of 40, of which at least one is above 0."""
    bytes_ = draw(windows(1))[0, :, 0]
    found = numbers[bytes_ % len(numbers)]
    return found if found.any() else np.where(np.arange(len(found)) == 0, 1.0, found)


def power_terms(alpha: float, count: int) -> dict[str, Any]:
    """How far rounding may take a share of powers: below 1, and each power is as exact as its logarithm.

    No priority is above 16, whose logarithm is below 3, and an exponent of 2 doubles the logarithm's rounding.
    """
    return {"magnitude": 1 + 3 * alpha, "roundings": 2 * count + 16}


@dataclass(frozen=True)
class Drawn:
    """Probabilities [C] and the numbers of K slots that were drawn by them."""

    probabilities: np.ndarray
    sampled: np.ndarray

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a weight: at most 1, the quotient of two powers with an exponent of at most 1.

        No probability is below 2^-12, so that no logarithm is above 9.
        """
        return {"magnitude": 20, "roundings": 16}


@st.composite
def drawn_slots(draw: st.DrawFn) -> Drawn:
    """Slots that were drawn by their priorities; several times the same, or not the one with the least."""
    table = draw(windows(2))
    known = PRIORITIES[table[0, :, 0] % len(PRIORITIES)]
    slots = table[:, 0, 1].astype(np.int64) % len(known)
    return Drawn(known / known.sum(), slots)


@st.composite
def places(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Priorities [C] and uniform numbers [K] whose places, in equal parts and in the whole, are at no slot's end."""
    known = draw(priorities(WITH_NONE))
    count = draw(st.sampled_from([1, 2, 3, 4]))
    bytes_ = np.frombuffer(draw(st.binary(min_size=4, max_size=4)), np.uint8)[:count]
    return known, away_from_ends(known, UNIFORMS[bytes_ % len(UNIFORMS)])


def away_from_ends(known: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """The numbers, moved by little where one of them falls on the end of a slot."""
    shares = np.cumsum(known) / known.sum()
    moved = uniforms.copy()
    for k, _ in enumerate(moved):
        while any(np.abs(shares - place).min() < CLOSE for place in ((k + moved[k]) / len(moved), moved[k])):
            moved[k] = (moved[k] + 3 / 128) % 1 or 1 / 128
    return moved


@dataclass(frozen=True)
class Ends:
    """How the episodes of rows [B, T] end."""

    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def ended(self) -> np.ndarray:
        """Where an episode ends, either way."""
        return self.terminated | self.truncated


@st.composite
def episode_ends(draw: st.DrawFn, ways: tuple[bool, bool] = (True, True)) -> Ends:
    """Ends of episodes; ways: whether there are terminations, and truncations."""
    flags = draw(windows(1))[..., 0] % 8
    return Ends(TERMINATES[flags] & ways[0], TRUNCATES[flags] & ways[1])


@dataclass(frozen=True)
class Resetting:
    """What B environments that reset themselves returned in T steps, as values of observations, and how they do it."""

    observed: np.ndarray
    final: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    mode: str

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of ``autoreset_transitions``, in order."""
        return tuple(vars(self).values())

    @property
    def ended(self) -> np.ndarray:
        """Where an episode ends, either way."""
        return self.terminated | self.truncated

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a value that is only passed on: as far as its own type holds it."""
        return {"magnitude": np.abs(self.observed) + np.abs(self.final), "roundings": 1}


NOT_ROUNDED: dict[str, Any] = {"magnitude": 0, "roundings": 1}
"""What is a truth value or a number of a slot."""


@st.composite
def resetting(draw: st.DrawFn, numbers: np.ndarray = NUMBERS, modes: st.SearchStrategy[str] = modes) -> Resetting:
    """Steps of environments that reset themselves; no step that resets one ends an episode."""
    table, mode = draw(windows(3)), draw(modes)
    flags = table[..., 0] % 8
    if mode == "next step":
        for t in range(1, flags.shape[1]):
            flags[:, t] = np.where(TERMINATES[flags[:, t - 1]] | TRUNCATES[flags[:, t - 1]], 0, flags[:, t])
    observed, final = numbers[table[..., 1] % len(numbers)], numbers[table[..., 2] % len(numbers)]
    return Resetting(observed, final, TERMINATES[flags], TRUNCATES[flags], mode)
