"""Where inputs come from: rollouts whose boundaries, values and discounts lie where defects live.

Everything is decoded from one byte string of fixed length and a shape.  Byte 0 means the plainest choice, so that
Hypothesis shrinks a rollout to few rows, few steps and small integers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume

MOST_ROWS, MOST_STEPS = 3, 6
"""As many as a person can follow; most inputs have no more."""

MANY_ROWS, MANY_STEPS = 5, 40
"""What comes in blocks, of a power of two say, goes wrong behind the first: now and then there are as many as this."""

PLAIN = np.array([0, 1, -1, 2, -2, 3, 0.5, -0.25, 4, -5, 0.1, -0.7])
"""Rewards and values of one order of size: small integers, dyadic fractions, decimals that floats round."""

NUMBERS = np.concatenate([PLAIN, [7, 10, 1000, -1e8, 2.0**-20]])
"""What rewards and values are drawn from: plain numbers, large ones and a tiny one."""

DISCOUNTS = (1.0, 0.5, 0.0, 0.9, 0.99, 2.0**-12)
"""What gamma and lambda are drawn from: both limits, a dyadic number, decimals that float32 rounds, almost nothing."""

discounts = st.sampled_from(DISCOUNTS)
mixings = st.sampled_from((*DISCOUNTS[1:], DISCOUNTS[0]))
"""What gamma and lambda are drawn from, each in an order of its own.

Hypothesis likes to repeat what a strategy drew.  Drawn from one strategy, gamma and lambda are equal more often than
not, and lambda = 1 hardly ever meets a gamma below 1.
"""

discounts_near_one = st.sampled_from([0.9, 0.99])

mixing_near_one = st.sampled_from([0.9, 1.0, 0.99])

counts = st.sampled_from([1, 2, 3, 5, 9])
"""What n is drawn from: one step, a few, more than any rollout has."""

TERMINATES = np.array([0, 0, 0, 0, 0, 1, 0, 1], dtype=bool)
TRUNCATES = np.array([0, 0, 0, 0, 0, 0, 1, 1], dtype=bool)
"""How a step's byte ends an episode: not at all, one way, the other way, or both ways."""

RATIOS = np.array([1, 0.5, 2, 0, 1.5, 0.25, 3, 1e300, 1 + 2.0**-8])
"""What ratios of probabilities are drawn from: equal and nearly equal ones, ordinary ones, none at all, beyond every
clip."""

clips = st.sampled_from([1.0, 0.5, 2.0])
trace_clips = st.sampled_from([1.0, 2.0, 0.5])
"""What V-trace's two clips are drawn from, each in an order of its own like gamma and lambda."""


@st.composite
def windows(draw: st.DrawFn, fields: int) -> np.ndarray:
    """Bytes [B, T, fields], a window on a table of fixed size.

    The first row and the last step keep their bytes while Hypothesis makes the window smaller.
    """
    table = np.frombuffer(draw(_bytes(MOST_ROWS * MOST_STEPS * fields)), np.uint8)
    table = table.reshape(MOST_ROWS, MOST_STEPS, fields)
    rows, first = draw(_ROWS), draw(_PLACES[0])
    table = table.take(range(first, first + rows), 0, mode="wrap")
    steps, last = draw(_STEPS), draw(_PLACES[1])
    return table.take(range(last + 1 - steps, last + 1), 1, mode="wrap")


@cache  # made once, not for every input
def _bytes(count: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=count, max_size=count)


def _lengths(most: int, many: int) -> st.SearchStrategy[int]:
    return st.sampled_from([*range(1, most + 1)] * (12 // most) + [many])


_ROWS, _STEPS = _lengths(MOST_ROWS, MANY_ROWS), _lengths(MOST_STEPS, MANY_STEPS)
_PLACES = st.integers(0, MOST_ROWS - 1), st.integers(0, MOST_STEPS - 1)


@st.composite
def reward_rows(draw: st.DrawFn, copies: int = 1, numbers: np.ndarray = NUMBERS) -> Any:
    """Rewards [B, T] of complete episodes, or a tuple of several such arrays of one shape."""
    table = draw(windows(copies))
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
    ratio: Any = None
    """Of the two policies' probabilities, where the rollout is off-policy."""

    @property
    def off_policy_arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``vtrace`` before the scalars, in order."""
        with np.errstate(divide="ignore"):
            return *self.arrays, np.log(self.ratio)

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

    def but(self, **fields: Any) -> "Rollout":
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
            (row, start, stop) for row in range(rows) for start, stop in zip([0, *ends[row]], ends[row], strict=False)
        ]

    def part(self, row: int, start: int, stop: int) -> "Rollout":
        """Steps start to stop of one row, as a rollout of one row."""
        present = {name: array for name, array in vars(self).items() if array is not None}
        return Rollout(**{name: array[row : row + 1, start:stop].copy() for name, array in present.items()})


@st.composite
def rollouts(
    draw: st.DrawFn,
    inside: bool = True,
    at_end: bool = True,
    copies: int = 1,
    numbers: np.ndarray = NUMBERS,
    off_policy: bool = False,
    ways: tuple[bool, bool] = (True, True),
) -> Any:
    """Rollouts whose episodes may end inside a row, at its last step, or nowhere (the rollout was cut).

    Inside an episode a successor's value is the next row's; at a boundary it is its own.
    inside, at_end: whether episodes may end before, and at, the last step.
    copies: with more than one, a tuple of so many rollouts whose episodes end alike.
    off_policy: whether the rollouts have ratios, which they then have in common.
    ways: whether episodes may end with a termination, and with a truncation.
    """
    table = draw(windows(1 + 3 * copies + off_policy))
    ratio = RATIOS[table[..., -1] % len(RATIOS)] if off_policy else None
    allowed = np.full(table.shape[:2], inside)
    allowed[:, -1] = at_end
    terminated = allowed & TERMINATES[table[..., 0] % 8] & ways[0]
    truncated = allowed & TRUNCATES[table[..., 0] % 8] & ways[1]
    drawn = []
    for first in range(1, 1 + 3 * copies, 3):
        rewards, values, successors = np.moveaxis(numbers[table[..., first : first + 3] % len(numbers)], 2, 0)
        following = np.concatenate([values[:, 1:], successors[:, -1:]], axis=1)
        next_values = np.where(terminated | truncated, successors, following)
        drawn.append(Rollout(rewards, values, next_values, terminated, truncated, ratio))
    return tuple(drawn) if copies > 1 else drawn[0]


def one_way_or_any(**options: Any) -> st.SearchStrategy[Any]:
    """Rollouts in which episodes end in one way or the other, or in one way only: who declines one is asked the other.

    options: those of ``rollouts``.
    """
    return st.one_of(*(rollouts(ways=ways, **options) for ways in ((True, True), (True, False), (False, True))))


def endings(**options: Any) -> st.SearchStrategy[Any]:
    """Rollouts of one episode a row, of which some end at the last step, in one way or the other or in one way only."""
    return one_way_or_any(inside=False, **options).filter(lambda rollout: rollout.ended.any())


def uninterrupted(**options: Any) -> st.SearchStrategy[Any]:
    """Rollouts of one stretch of one episode a row, without any flag."""
    return rollouts(inside=False, at_end=False, **options)


@dataclass(frozen=True)
class Batch:
    """Advantages [B, T] and a mask of those that count."""

    advantages: np.ndarray
    mask: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``normalize_advantages``, in order."""
        return self.advantages, self.mask

    @property
    def counted(self) -> np.ndarray:
        """The advantages that count, in one line."""
        return self.advantages[self.mask]

    @property
    def spread(self) -> float:
        """The standard deviation of those that count; 0 exactly where they are equal."""
        return float(self.counted.std()) if len(set(self.counted.tolist())) > 1 else 0.0


def one_apart(numbers: np.ndarray) -> np.ndarray:
    """The first number, and the last one in all other places: who is alone among many has a large share of it all."""
    return np.where(np.arange(numbers.size).reshape(numbers.shape) == 0, numbers, numbers.flat[-1])


SIZES, MORE_SIZES = (1.0, 1e-4, 1e-8), (1.0, 1e-4, 1e-8, 1e-13)
"""What all numbers of a batch are multiplied by: a tiny spread is where a small number added to it shows, or where it
is below every number that it may be kept from."""


@st.composite
def batches(draw: st.DrawFn, numbers: np.ndarray = NUMBERS, fewest: int = 2, sizes: Sequence[float] = SIZES) -> Batch:
    """Batches in which at least so many entries count, not all of them equal if there are several.

    sizes: what all of them are multiplied by.
    """
    table = draw(windows(2))
    advantages = numbers[table[..., 0] % len(numbers)] * draw(st.sampled_from(sizes))
    if draw(st.integers(0, 4)) == 4:
        advantages = one_apart(advantages)
    batch = Batch(advantages, table[..., 1] % 4 != 3)
    assume(len(batch.counted) >= fewest and (len(batch.counted) < 2 or batch.spread))
    return batch


@st.composite
def lone_advantages(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> Batch:
    """Batches in which one entry counts, a number that float32 holds: it is its own mean in either precision.

    Of another one the difference from the mean is its rounding, over what keeps the divisor from zero, and so may be
    any number.
    """
    table = draw(windows(1))
    numbers = numbers[numbers == numbers.astype(np.float32)]
    mask = np.zeros(table.shape[:2], dtype=bool)
    mask[draw(st.integers(0, len(mask) - 1)), draw(st.integers(0, mask.shape[1] - 1))] = True
    return Batch(numbers[table[..., 0] % len(numbers)], mask)


@st.composite
def equal_advantages(draw: st.DrawFn) -> Batch:
    """Batches in which all entries that count, two or more, are equal; others may stand under the mask."""
    table = draw(windows(2))
    mask = table[..., 1] % 4 != 3
    assume(mask.sum() > 1)
    return Batch(np.where(mask, draw(st.sampled_from(list(NUMBERS))), NUMBERS[table[..., 0] % len(NUMBERS)]), mask)


@dataclass(frozen=True)
class ScoredBatch(Batch):
    """Advantages [B, T], a mask of those that count, and log-probabilities of the actions that they belong to."""

    logp: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``policy_gradient_loss``, in order."""
        return self.logp, self.advantages, self.mask

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a loss and its gradient: the magnitude and roundings that ``agree`` wants.

        A term of the loss is an advantage times a log-probability, one of the gradient an advantage; a mean, over at
        least one, makes neither larger.  A term is multiplied, summed with B T others, and divided.
        """
        terms = np.abs(self.advantages) * np.maximum(1, np.abs(self.logp))
        return {"magnitude": float(np.where(self.mask, terms, 0).sum()), "roundings": self.mask.size + 8}

    def part(self, rows: int, steps: int) -> "ScoredBatch":
        """The first so many rows and steps."""
        return ScoredBatch(**{name: array[:rows, :steps] for name, array in vars(self).items()})


LOG_PROBABILITIES = -np.array([1, 0.5, 2, 0, 0.1, 3.25, 0.7, 64, -1.5])
"""What the logarithms of probabilities, and of one density, are drawn from."""


@st.composite
def scored_batches(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> ScoredBatch:
    """Batches of log-probabilities with their advantages, anything under the mask, which may cover all of them."""
    table = draw(windows(3))
    return ScoredBatch(
        advantages=numbers[table[..., 0] % len(numbers)],
        mask=table[..., 1] % 4 != 3,
        logp=LOG_PROBABILITIES[table[..., 2] % len(LOG_PROBABILITIES)],
    )


@dataclass(frozen=True)
class Choices:
    """Rows of logits [B, A], and which of the actions are legal: at least one in each row."""

    logits: np.ndarray
    legal: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``entropy``, in order."""
        return self.logits, self.legal

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take entropies and their derivatives: the magnitude and roundings that ``agree`` wants.

        The logarithm of a probability is a difference of logits and of the logarithm of a sum, each below l + log A,
        and so is its error; as an exponent it is the probability's relative error.  In log Z less the mean logit that
        error is multiplied by a logit, which is as large.
        """
        return {"magnitude": self._of_logarithms**2, "roundings": 2 * self.logits.shape[1] + 20}

    @property
    def judged_closely(self) -> dict[str, Any]:
        """The same, where entropies and derivatives are means of logarithms, which are no larger than 1 + log A."""
        return self.judged | {"magnitude": self._of_logarithms * self._most}

    @property
    def _most(self) -> float:
        return 1 + math.log(self.logits.shape[1])

    @property
    def _of_logarithms(self) -> float:
        """What the terms of a logarithm of a probability are below: l + 1 + log A."""
        return float(np.abs(np.where(self.legal, self.logits, 0)).max()) + self._most

    def but(self, **fields: np.ndarray) -> "Choices":
        """The same choices with other arrays in the named fields."""
        return replace(self, **fields)

    def overwritten(self, junk: float) -> "Choices":
        """The choices with something else where nothing may be read: the logits of illegal actions."""
        assume(not self.legal.all())
        return self.but(logits=np.where(self.legal, self.logits, junk))


PLAIN_LOGITS = np.array([0, 1, -1, 2, 0.5, -0.25, 3, -2, 0.1, -5])
"""Logits of which no chance is too small to be seen."""

LOGITS = np.concatenate([PLAIN_LOGITS, [2.0**-10, -16]])
"""What logits are drawn from: plain ones, and those of nearly equal chances and of hardly any."""

FAR_LOGITS = np.array([0, 1, -1, 2, 1000, -1000, 0.5, -30, 20_000])
"""Logits whose exponentials no float holds, and ordinary ones."""


@st.composite
def choices(draw: st.DrawFn, logits: np.ndarray = LOGITS) -> Choices:
    """Choices of up to 6 actions with logits from those given, the first one legal where no other is.

    An illegal action's logit is at most 20 above all legal ones: numbers whose exponentials, or whose differences'
    exponentials, no float holds are a question of their own (OPS-10 and OPS-11).
    """
    table = draw(windows(2))
    legal = table[..., 1] % 4 != 3
    legal[:, 0] |= ~legal.any(axis=1)
    numbers = logits[table[..., 0] % len(logits)].astype(float)
    highest = np.where(legal, numbers, -np.inf).max(axis=1, keepdims=True)
    return Choices(np.where(legal, numbers, np.minimum(numbers, highest + 20)), legal)


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


def off_policy_terms(rollout: Rollout, rho_clip: float, c_clip: float) -> dict[str, Any]:
    """How far rounding may take V-trace's answers: the magnitude and roundings that ``agree`` wants.

    With M the row's magnitude a target is at most M + rho c^(T - 1) M in absolute terms and an advantage at most
    rho (M + such a target), clips below 1 counting as 1.  A ratio below the clips is the exponential of a logarithm
    below 2 in size: 2 roundings for that number's own and 3 for the exponential's, once for each step carried over.
    """
    rows_most = max(1.0, rho_clip) ** 2 * max(1.0, c_clip) ** (rollout.rewards.shape[1] - 1)
    return {"magnitude": 3 * rows_most * rollout.magnitude, "roundings": 2 * roundings(rollout.rewards.shape[1])}


def normalized_terms(batch: Batch, scale: float) -> dict[str, Any]:
    """How far rounding may take normalised advantages: the magnitude and roundings that ``agree`` wants.

    The mean of N advantages, none larger than A, is off by e = N u A at most, and with it each difference from the
    mean, their root mean square, and whatever that is divided by.  So with a divisor D a quotient, at most sqrt(N) in
    size, is off by (1 + sqrt(N)) e / (D - e), which is below twice that with D for 2 e < D; beyond, 2 sqrt(N) bounds
    it, and so does twice that again.  To this comes the rounding of the quotient itself.
    """
    count = max(len(batch.counted), 1)
    largest = float(np.abs(batch.counted).max(initial=0))
    size = 4 * (1 + count**0.5) * (largest / scale if scale else 0) + 4 * count**0.5
    return {"magnitude": size, "roundings": count + 8}
