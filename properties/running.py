"""Where statistics come from: moments that were counted before, batches of rows, and rewards to be scaled.

As in `strategies`, everything is decoded from windows on a table of bytes, and byte 0 is the plainest choice.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.strategies import NUMBERS, PLAIN, TERMINATES, TRUNCATES, rescaling, windows

MOST_FEATURES = 4

VARIANCES = np.array([1, 4, 0.25, 2, 9, 0.1])
SMALL_VARIANCES = np.array([1, 0, 0.25, 1e-8, 4, 1e-4])
"""Ordinary ones, and such that show what a divisor is kept from zero by."""

epsilons = st.sampled_from([1e-8, 1e-4, 0.01])
clips = st.sampled_from([10.0, 5.0, 1e9])
counts = st.sampled_from([1.0, 4.0, 1e-4, 1000.0])
bins = st.sampled_from([(0.0, 1.0), (-1.0, 0.0, 1.0), (-2.0, -0.5, 0.0, 3.0), (-20.0, -5.0, -1.0, 1.0, 5.0, 20.0)])
"""Increasing numbers with even and uneven gaps, with and without a bin at 0."""


@dataclass(frozen=True)
class Counted:
    """Moments of A features that were counted before, and a batch of rows [B, A]."""

    mean: np.ndarray
    variance: np.ndarray
    count: float
    batch: np.ndarray

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of ``running_moments``, in order."""
        return self.mean, self.variance, self.count, self.batch

    @property
    def largest(self) -> float:
        """The largest number that a mean is made of."""
        return float(max(np.abs(self.mean).max(), np.abs(self.batch).max()))


@st.composite
def counted(draw: st.DrawFn, numbers: np.ndarray = NUMBERS, small: bool = False) -> Counted:
    """Moments and batches of up to 4 features; small: with variances that are small or none."""
    table = draw(windows(3))[:, :MOST_FEATURES]
    spread = SMALL_VARIANCES if small else VARIANCES
    return Counted(
        mean=PLAIN[table[0, :, 1] % len(PLAIN)],
        variance=spread[table[0, :, 2] % len(spread)],
        count=draw(counts),
        batch=numbers[table[..., 0] % len(numbers)],
    )


def moments_terms(drawn: Counted) -> dict[str, Any]:
    """How far rounding may take means, variances and counts: the magnitude and roundings that ``agree`` wants.

    A variance may be computed as the mean of the squares less the square of the mean, of which either is at most the
    variance that there was and the square of the largest number.
    """
    most = drawn.largest
    size = 2 * (float(drawn.variance.max()) + most**2 + most + drawn.count + len(drawn.batch))
    return {"magnitude": size, "roundings": 4 * len(drawn.batch) + 32}


betas = st.sampled_from([0.5, 0.9, 0.99999, 0.25])


@dataclass(frozen=True)
class Fading:
    """Moments of A features that forget, as they stand, and a batch of rows [B, A]."""

    mean: np.ndarray
    square: np.ndarray
    weight: float
    batch: np.ndarray
    beta: float

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of ``fading_moments``, in order."""
        return tuple(vars(self).values())

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a moment: means of what there was and of the batch's numbers or their squares."""
        most = float(np.abs(self.batch).max())
        size = 2 + most + most**2 + float(np.abs(self.mean).max()) + float(self.square.max())
        return {"magnitude": size, "roundings": 2 * len(self.batch) + 12}


@st.composite
def fading(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> Fading:
    """Moments and batches of up to 4 features."""
    known, beta = draw(counted(numbers)), draw(betas)
    weight = draw(st.sampled_from([0.5, 0.0, 1.0]))
    return Fading(weight * known.mean, weight * (known.variance + known.mean**2), weight, known.batch, beta)


def careful_terms(drawn: Counted, spread: float) -> dict[str, Any]:
    """How far rounding may take a variance that is the mean of squared differences from the mean.

    A mean of numbers M in size is off by n u M, and so is each difference; their squares, whose mean is the variance,
    by 2 d n u M + (n u M)^2 on average.  spread: the largest root of a variance.  The last term is n u M times
    n u M, and n u is below 2^-17 even for 100 roundings in float32.
    """
    most = drawn.largest
    size = 2 * spread * most + spread**2 + most * most * 2.0**-17
    return {"magnitude": 4 * size, "roundings": 4 * len(drawn.batch) + 32}


def observed(drawn: Counted, eps: float) -> dict[str, Any]:
    """How far rounding may take a normalised observation: a difference over the least that it may be divided by."""
    least = np.maximum(np.sqrt(drawn.variance), eps)
    return {"magnitude": (np.abs(drawn.batch) + np.abs(drawn.mean)) / least, "roundings": 12}


@dataclass(frozen=True)
class Scaled:
    """Rewards [B, T] of B environments, how their episodes end, and the moments that there were before."""

    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    gamma: float
    mean: float
    variance: float
    count: float
    eps: float
    clip: float

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of ``scaled_rewards``, in order."""
        return tuple(vars(self).values())

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a scaled reward: the magnitude and roundings that ``agree`` wants.

        A variance is at least the part that it began with.  Its relative error is that of the squares that it is made
        of, of numbers no larger than the discounted sum of all, over that part.
        """
        rows, steps = self.rewards.shape
        part = self.variance * self.count / (self.count + rows * steps)
        most = abs(self.mean) + float(np.abs(self.rewards).sum(axis=1).max()) * rescaling(self.gamma, steps)
        relative = 1 + (self.variance + most**2) / part
        magnitude = np.abs(self.rewards) / np.sqrt(part) * relative
        return {"magnitude": magnitude, "roundings": 8 * (steps + rows) + 32}


@st.composite
def scaled(draw: st.DrawFn, gammas: st.SearchStrategy[float], ends: tuple[bool, bool] = (True, True)) -> Scaled:
    """Rewards of up to 3 environments and 6 steps; ends: whether episodes may be terminated, and truncated."""
    table = draw(windows(2))[:, :6]
    flags = table[..., 1] % 8
    return Scaled(
        rewards=PLAIN[table[..., 0] % len(PLAIN)],
        terminated=TERMINATES[flags] & ends[0],
        truncated=TRUNCATES[flags] & ends[1],
        gamma=draw(gammas),
        mean=draw(st.sampled_from([0.0, 1.0])),
        variance=draw(st.sampled_from([1.0, 0.25])),
        count=draw(st.sampled_from([1.0, 4.0, 0.5])),
        eps=draw(st.sampled_from([1e-8, 0.01, 0.25])),
        clip=draw(clips),
    )


@st.composite
def popped(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> tuple[Any, ...]:
    """The arguments of ``popart``, in order."""
    table = draw(windows(1))[0, :MOST_FEATURES, 0]
    bias, old, new = (float(draw(st.sampled_from(list(PLAIN)))) for _ in range(3))
    before, after = draw(st.sampled_from([1.0, 2.0, 0.5, 3.0])), draw(st.sampled_from([2.0, 1.0, 0.25, 7.0]))
    return numbers[table % len(numbers)], bias, old, before, new, after


def popart_terms(arguments: tuple[Any, ...]) -> dict[str, Any]:
    """How far rounding may take weights and bias: sums and products, over the new standard deviation."""
    weights, bias, old, before, new, after = arguments
    size = before * (float(np.abs(weights).max()) + abs(bias)) + abs(old) + abs(new)
    return {"magnitude": size / after, "roundings": 12}


@st.composite
def some_values(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> np.ndarray:
    """Numbers [B]."""
    return numbers[draw(windows(1))[:, 0, 0] % len(numbers)]


def two_hot_terms(values: np.ndarray, edges: tuple[float, ...]) -> dict[str, Any]:
    """How far rounding may take a share: a difference of a number within the bins and of a bin, over a gap."""
    widest, least = max(map(abs, edges)), min(b - a for a, b in pairwise(edges))
    return {"magnitude": 1 + 4 * widest / least, "roundings": 12}
