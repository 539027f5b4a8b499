"""Where groups of samples come from.

As in `strategies`, everything is decoded from windows on a table of bytes, and byte 0 is the plainest choice.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from statistics import fmean, mean, pstdev
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume

from rlspec.properties.checking import exactly
from rlspec.properties.strategies import NUMBERS, SIZES, Batch, normalized_terms, one_apart, windows
from rlspec.reference.spread import kept_from_zero

IDS = np.array([7, -2, 40])
"""What groups are called: numbers that are no places in an array."""

baselines = st.sampled_from(["mean", "leave-one-out"])
scales = st.sampled_from(["none", "std"])
whole_batch_baselines = st.sampled_from(["mean", "none"])


@dataclass(frozen=True)
class Samples:
    """Rewards [N] and the ids of the groups that they belong to [N]."""

    rewards: np.ndarray
    groups: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``group_advantages`` before the names, in order."""
        return self.rewards, self.groups

    @cached_property
    def members(self) -> list[list[int]]:
        """The places of each group's samples."""
        places = defaultdict(list)
        for place, group in enumerate(self.groups.tolist()):
            places[group].append(place)
        return list(places.values())

    @cached_property
    def exact(self) -> list[Fraction]:
        """The rewards as rationals."""
        return [exactly(reward) for reward in self.rewards]

    @cached_property
    def deviations(self) -> list[Fraction]:
        """Each reward less the mean of its group."""
        found = list(self.exact)
        for places in self.members:
            own = mean(self.exact[place] for place in places)
            for place in places:
                found[place] -= own
        return found

    @cached_property
    def spreads(self) -> list[float]:
        """The standard deviation of each group's rewards, in the order of `members`."""
        return [spread_of([self.exact[place] for place in places]) for places in self.members]

    @cached_property
    def spread(self) -> float:
        """The standard deviation of all rewards."""
        return spread_of(self.exact)

    def but(self, **fields: np.ndarray) -> "Samples":
        """The same samples with other rewards or ids."""
        return replace(self, **fields)

    def part(self, places: Any) -> "Samples":
        """Some of the samples, in the order of their places."""
        return Samples(self.rewards[places], self.groups[places])

    def centred(self, alone: str = "zero") -> list[Fraction]:
        """Each reward less the mean of its group, or a single one's as it is if that is the convention."""
        found = list(self.deviations)
        for places in self.members:
            if len(places) == 1 and alone == "its reward":
                found[places[0]] = self.exact[places[0]]
        return found

    def divisors(
        self, std: str, eps: str, spread: str = "of the group", baseline: str = "mean", **_: str
    ) -> np.ndarray:
        """What the advantages of each sample's group are divided by [N], by the conventions and for a baseline."""
        found = np.ones(len(self.rewards))
        for places, of_the_group in zip(self.members, self.spreads, strict=True):
            of_all = spread == "of the batch"
            count, deviation = (len(self.rewards), self.spread) if of_all else (len(places), of_the_group)
            left_out = spread == "around the baselines" and baseline == "leave-one-out" and len(places) > 1
            stretch = len(places) / (len(places) - 1) if left_out else 1.0
            if count == 1:  # the spread of one is taken for 1
                found[places] = kept_from_zero(1.0, eps)
            else:
                found[places] = _divisor(deviation, count, std, eps, stretch)
        return found

    def judged(self, divisors: Any, of_the_batch: bool = False) -> dict[str, Any]:
        """How far rounding may take advantages that are divided by these numbers [N]; None for none.

        Without a divisor, a difference of two numbers below the group's largest, or twice that, leaving one out; each
        of them rounded as often as a mean is.  With one, `normalized_terms`, twice, for the same reason.

        of_the_batch: whether the divisors may be made of all rewards, and not of the group's.
        """
        sizes = np.zeros(len(self.rewards))
        for places in self.members:
            known = self.rewards if of_the_batch and divisors is not None else self.rewards[places]
            if divisors is None:
                sizes[places] = 8 * np.abs(known).max()
            else:
                group = Batch(known[None], np.ones((1, len(known)), dtype=bool))
                sizes[places] = 2 * normalized_terms(group, float(divisors[places[0]]))["magnitude"]
        return {"magnitude": sizes, "roundings": len(self.rewards) + 8}

    def judged_as_one(self, scale: float) -> dict[str, Any]:
        """The same for rewards, less their groups' means, that are divided by one number over the whole batch.

        Such a difference is off by the roundings of a mean of rewards, and so is the batch's mean of them: twice what
        `normalized_terms` says of the rewards themselves.
        """
        return Samples(self.rewards, np.zeros(len(self.rewards), dtype=int)).judged(np.full(len(self.rewards), scale))


def divisor(rewards: list[Fraction], std: str, eps: str, stretch: float = 1.0) -> float:
    """What these rewards, less their mean, are divided by; a single one has no spread.

    stretch: what the standard deviation is multiplied with before it is kept from zero.
    """
    return _divisor(spread_of(rewards), len(rewards), std, eps, stretch)


def spread_of(rewards: list[Fraction]) -> float:
    """The standard deviation of rewards over their number; exactly 0 where they are all alike."""
    return float(pstdev(rewards)) if len(set(rewards)) > 1 else 0.0


def _divisor(deviation: float, count: int, std: str, eps: str, stretch: float) -> float:
    if std == "ddof=1" and count > 1:
        deviation *= (count / (count - 1)) ** 0.5
    return float(kept_from_zero(deviation * stretch, eps))


LAYOUTS = ("blocks", "turns", "any", "one alone", "one apart")


@st.composite
def samples(
    draw: st.DrawFn,
    numbers: np.ndarray = NUMBERS,
    sizes: Sequence[float] = SIZES,
    layouts: Sequence[str] = LAYOUTS,
) -> Samples:
    """Samples of up to three groups: one after the other, taking turns, of any size in any order, or one of them alone.

    Or of one group, all rewards of which are equal but one.

    numbers, sizes: what rewards are drawn from, and what all of them are multiplied by.
    """
    table = draw(windows(2))
    layout = draw(st.sampled_from(layouts))
    rows = np.broadcast_to(np.arange(len(table))[:, None], table.shape[:2])
    groups = {
        "blocks": rows.ravel(),
        "turns": rows.T.ravel(),
        "any": table[..., 1].ravel() % 3,
        "one alone": (np.arange(rows.size) > 0).astype(int),
        "one apart": np.zeros(rows.size, dtype=int),
    }[layout]
    rewards = numbers[table[..., 0].ravel() % len(numbers)]
    if layout == "one apart":
        rewards = one_apart(rewards)
    return Samples(rewards * draw(st.sampled_from(sizes)), IDS[groups % len(IDS)])


@dataclass(frozen=True)
class ManySamples:
    """Several rewards of each sample [N, K], the ids of the groups [N], and what each reward weighs [K]."""

    rewards: np.ndarray
    groups: np.ndarray
    weights: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``gdpo_advantages``."""
        return self.rewards, self.groups, self.weights

    @cached_property
    def columns(self) -> list[Samples]:
        """The samples with one of their rewards."""
        return [Samples(column, self.groups) for column in self.rewards.T]

    @property
    def alone(self) -> list[str]:
        """The choices of what a group of one is worth that differ."""
        return ["zero", "its reward"] if 1 in map(len, self.columns[0].members) else ["zero"]

    def but(self, **fields: np.ndarray) -> "ManySamples":
        """The same samples with other rewards, ids or weights."""
        return replace(self, **fields)

    def quotients(self, std: str, eps: str, alone: str = "zero", **_: str) -> list[tuple[list[Fraction], np.ndarray]]:
        """For each reward, how far it is above its group's mean, and what that is divided by."""
        return [(column.centred(alone), _above_zero(column.divisors(std, eps))) for column in self.columns]

    def sums(self, **chosen: str) -> list[Fraction]:
        """The weighted sums of what each reward is worth within its group."""
        return self._weighted(self.quotients(**chosen))

    def _weighted(self, quotients: list[tuple[list[Fraction], np.ndarray]]) -> list[Fraction]:
        found = [Fraction(0)] * len(self.groups)
        for weight, (centred, divisors) in zip(self.weights, quotients, strict=True):
            factors = {scale: exactly(weight) / exactly(scale) for scale in set(divisors.tolist())}
            for place, (above, scale) in enumerate(zip(centred, divisors.tolist(), strict=True)):
                found[place] += factors[scale] * above
        return found

    def off_by(self, whitening: str, **chosen: str) -> dict[str, Any]:
        """How far rounding may take the advantages under these choices.

        A sum is off by e, what the weights make of the columns' errors.  Less their mean over D, which is off by the
        root of N / (N - ddof) times 2 e at most, hence by 3 e, the sums, whose quotients are below the root of N, are
        off by (2 + 3 sqrt(N)) e / D; beyond D < 6 e, 4 sqrt(N) bounds a difference of two quotients.
        """
        count, size, quotients = len(self.groups), np.zeros(len(self.groups)), self.quotients(**chosen)
        for rewards, weight, (centred, divisors) in zip(self.rewards.T, self.weights, quotients, strict=True):
            # As `normalized_terms`, with the quotients themselves in the place of what they are below.
            reach = 8 * (1 + count**0.5) * np.abs(rewards).max()
            above = np.array([abs(float(part)) for part in centred])
            size = size + abs(weight) * (reach + 8 * above) / divisors
        if whitening != "none":
            sums = self._weighted(quotients)
            scale, between = whitened_by(sums, whitening, **chosen), np.ptp([float(total) for total in sums])
            size = np.full(count, ((2 + 3 * count**0.5) * size.max() + 4 * between) / scale)
        return {"magnitude": size, "roundings": 2 * count + 20}


def whitened_by(sums: list[Fraction], whitening: str, std: str, **_: str) -> float:
    """What sums are divided by in the end; 1 where they are not, or are all alike."""
    return 1.0 if whitening == "none" else divisor(sums, std, whitening) or 1.0


def _above_zero(divisors: np.ndarray) -> np.ndarray:
    """The divisors, and 1 in the place of 0: differences of 0 are 0, whatever they are divided by."""
    return np.where(divisors > 0, divisors, 1.0)


WEIGHTS = np.array([1, 0.5, 2, -1, 0.25, 0])
"""What the rewards of a sample weigh."""

CANCELLED = 1e-3
"""With less of a spread beside their size the sums are differences of what is alike, and rounding decides."""


@st.composite
def many_samples(
    draw: st.DrawFn, numbers: np.ndarray = NUMBERS, sizes: Sequence[float] = SIZES, most: int = 3
) -> ManySamples:
    """Samples of up to three groups with up to three rewards each, which do not cancel where they are added up."""
    table = draw(windows(4))
    count = draw(st.integers(1, most))
    flat = table.reshape(-1, 4)
    rewards = numbers[flat[:, :count] % len(numbers)] * draw(st.sampled_from(sizes))
    if count > 1 and draw(st.sampled_from([False, False, True])):
        rewards[:, -1] = 4 - rewards[:, :-1].sum(axis=1)  # all samples have the same in all
    groups = IDS[(flat[:, 3] if draw(st.booleans()) else np.arange(len(flat)) // table.shape[1]) % len(IDS)]
    weights = np.array(draw(st.lists(st.sampled_from(WEIGHTS.tolist()), min_size=count, max_size=count)))
    drawn = ManySamples(rewards, groups, weights)
    for alone in drawn.alone:
        sums = np.array([float(total) for total in drawn.sums(std="ddof=0", eps="std", alone=alone)])
        assume(np.ptp(sums) > CANCELLED * fmean(abs(sums)) or not any(map(any, map(Samples.centred, drawn.columns))))
    return drawn


@dataclass(frozen=True)
class Steps:
    """Rewards of tokens [B, T], which of these end a step, the rows' groups [B], and which tokens count."""

    token_rewards: np.ndarray
    ends: np.ndarray
    groups: np.ndarray
    mask: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``process_advantages``."""
        return self.token_rewards, self.ends, self.groups, self.mask

    @property
    def counted(self) -> np.ndarray:
        """Where a step ends at a token that counts."""
        return self.ends & self.mask

    @property
    def samples(self) -> Samples:
        """The rewards at the ends of steps, one after the other, as samples of the rows' groups."""
        of_row = np.broadcast_to(self.groups[:, None], self.mask.shape)
        return Samples(self.token_rewards[self.counted], of_row[self.counted])

    def but(self, **fields: np.ndarray) -> "Steps":
        """The same with other arrays in the named fields."""
        return replace(self, **fields)

    def paid(self, std: str, eps: str, **_: str) -> np.ndarray:
        """What each token is paid [B, T]: normalised rewards at the ends of steps, and 0 elsewhere."""
        found = np.full(self.mask.shape, Fraction(0), dtype=object)
        known = self.samples
        scales = _above_zero(known.divisors(std, eps))
        found[self.counted] = [above / exactly(scale) for above, scale in zip(known.centred(), scales, strict=True)]
        return found

    def off_by(self, std: str, eps: str, **_: str) -> dict[str, Any]:
        """How far rounding may take the advantages: sums of what samples are worth, over the rest of each row."""
        size = np.zeros(self.mask.shape)
        known = self.samples
        if len(known.rewards):
            size[self.counted] = known.judged(_above_zero(known.divisors(std, eps)))["magnitude"]
        return {"magnitude": size.sum(axis=1, keepdims=True), "roundings": len(known.rewards) + self.mask.shape[1] + 8}


@st.composite
def steps(draw: st.DrawFn, numbers: np.ndarray = NUMBERS, sizes: Sequence[float] = SIZES) -> Steps:
    """Answers of up to three groups, some tokens of which end a step, and some of which do not count."""
    table = draw(windows(3))
    rewards = numbers[table[..., 0] % len(numbers)] * draw(st.sampled_from(sizes))
    ends, mask = table[..., 1] % 2 == 0, table[..., 2] % 4 != 3
    mask &= table[:, :1, 2] % 8 != 6  # a row in which nothing counts
    return Steps(rewards, ends, IDS[table[:, 0, 1] // 2 % len(IDS)], mask)
