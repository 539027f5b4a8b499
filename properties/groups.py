"""Where groups of samples come from.

As in `strategies`, everything is decoded from windows on a table of bytes, and byte 0 is the plainest choice.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import mean, pstdev
from typing import Any

import hypothesis.strategies as st
import numpy as np

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

    @property
    def members(self) -> list[list[int]]:
        """The places of each group's samples."""
        places = defaultdict(list)
        for place, group in enumerate(self.groups.tolist()):
            places[group].append(place)
        return list(places.values())

    def but(self, **fields: np.ndarray) -> "Samples":
        """The same samples with other rewards or ids."""
        return replace(self, **fields)

    def part(self, places: Any) -> "Samples":
        """Some of the samples, in the order of their places."""
        return Samples(self.rewards[places], self.groups[places])

    def centred(self, alone: str = "zero") -> list[Fraction]:
        """Each reward less the mean of its group, or a single one's as it is if that is the convention."""
        found = [exactly(reward) for reward in self.rewards]
        for places in self.members:
            known = [found[place] for place in places]
            own = 0 if len(known) == 1 and alone == "its reward" else mean(known)
            for place, reward in zip(places, known, strict=True):
                found[place] = reward - own
        return found

    def divisors(
        self, std: str, eps: str, spread: str = "of the group", baseline: str = "mean", **_: str
    ) -> np.ndarray:
        """What the advantages of each sample's group are divided by [N], by the conventions and for a baseline."""
        found = np.ones(len(self.rewards))
        for places in self.members:
            known = list(range(len(self.rewards))) if spread == "of the batch" else places
            left_out = spread == "around the baselines" and baseline == "leave-one-out" and len(places) > 1
            stretch = len(places) / (len(places) - 1) if left_out else 1.0
            if len(known) == 1:  # the spread of one is taken for 1
                found[places] = kept_from_zero(1.0, eps)
            else:
                found[places] = divisor([exactly(self.rewards[place]) for place in known], std, eps, stretch)
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
    spread = pstdev(rewards) if len(set(rewards)) > 1 else 0.0
    if std == "ddof=1" and len(rewards) > 1:
        spread *= (len(rewards) / (len(rewards) - 1)) ** 0.5
    return float(kept_from_zero(float(spread * stretch), eps))


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
