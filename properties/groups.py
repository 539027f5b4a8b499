"""Where groups of samples come from, and batches of completions with an advantage for each.

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
from rlspec.properties.tokens import UNEVEN_RATIOS, Completions, completions, or_shut, token_ratios
from rlspec.reference.spread import kept_from_zero
from rlspec.spec.operations import OPERATIONS

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

    def divisors(self, std: str, eps: str) -> np.ndarray:
        """What the advantages of each sample's group are divided by [N], by the conventions."""
        found = np.ones(len(self.rewards))
        for places in self.members:
            found[places] = divisor([exactly(self.rewards[place]) for place in places], std, eps)
        return found

    def judged(self, divisors: Any) -> dict[str, Any]:
        """How far rounding may take advantages that are divided by these numbers [N]; None for none.

        Without a divisor, a difference of two numbers below the group's largest, or twice that, leaving one out; each
        of them rounded as often as a mean is.  With one, `normalized_terms`, twice, for the same reason.
        """
        sizes = np.zeros(len(self.rewards))
        for places in self.members:
            known = self.rewards[places]
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


def divisor(rewards: list[Fraction], std: str, eps: str) -> float:
    """What these rewards, less their mean, are divided by; a single one has no spread."""
    spread = pstdev(rewards) if len(set(rewards)) > 1 else 0.0
    if std == "ddof=1" and len(rewards) > 1:
        spread *= (len(rewards) / (len(rewards) - 1)) ** 0.5
    return float(kept_from_zero(float(spread), eps))


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
class Credited:
    """Completions, an advantage for each [B], and the numbers that a loss takes besides."""

    tokens: Completions
    advantages: np.ndarray
    clip_low: float
    clip_high: float
    kl_coef: float
    length: int

    @property
    def mask(self) -> np.ndarray:
        """Which tokens count [B, T]."""
        return self.tokens.mask

    @property
    def log_ratio(self) -> np.ndarray:
        """log pi - log pi_old of each token [B, T]."""
        return self.tokens.logp - self.tokens.old_logp

    def arguments(self, operation: str) -> tuple[Any, ...]:
        """The arguments of one of the losses; the widest lower clip is, for CISPO, none, as most who have it do."""
        known = vars(self) | {name: array for name, array in vars(self.tokens).items() if name != "advantages"}
        if operation == "cispo_loss" and self.clip_low == WIDEST:
            known["clip_low"] = 1.0
        return tuple(known[name] for name in OPERATIONS[operation].parameters)

    def but(self, **fields: Any) -> "Credited":
        """The same with something else in the named fields, of the completions or of the rest."""
        inner = {name: value for name, value in fields.items() if name in vars(self.tokens) and name != "advantages"}
        outer = {name: value for name, value in fields.items() if name not in inner}
        return replace(self, tokens=self.tokens.but(**inner), **outer)

    def rows(self, rows: Any) -> "Credited":
        """Some of the rows: a slice of the batch, or a list of indices."""
        return replace(self, tokens=self.tokens.rows(rows), advantages=self.advantages[rows])

    @property
    def magnitude(self) -> float:
        """The absolute sum of what a loss, or a derivative, is made of, with the size of its numbers' logarithms.

        A ratio is the exponential of a difference of two logarithms, so that its relative error is theirs, absolute: l
        roundings' worth where they are l in size.  A term is a ratio, its own or its row's, at most the row's largest
        or the clip, times an advantage; for CISPO times a logarithm as well.  To that comes k3.
        """
        total = 0.0
        tokens = self.tokens
        for row, advantage in zip(range(len(self.mask)), np.abs(self.advantages), strict=True):
            counted = self.mask[row]
            if counted.any():
                logp, old, ref = (part[row, counted] for part in (tokens.logp, tokens.old_logp, tokens.ref_logp))
                ratio = max(np.exp(logp - old).max(), 1 + self.clip_high)
                logarithm = 1 + (np.abs(logp) + np.abs(old)).max()
                total += counted.sum() * advantage * ratio * logarithm * (1 + np.abs(logp).max())
                behind = ref - logp
                size = 1 + np.abs(ref) + np.abs(logp)
                total += self.kl_coef * float(((np.exp(behind) + 2) * size).sum())
        return float(total)

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a loss and its gradient: the magnitude and roundings that ``agree`` wants.

        Of each term 8 roundings for the exponential and the products, then the sums over B T tokens and the quotients.
        """
        return {"magnitude": self.magnitude, "roundings": self.mask.size + 16}


WIDEST = 0.8125
LOWS, HIGHS = (0.25, 0.03125, 0.5625, WIDEST), (0.25, 0.8125, 0.03125, 1.5)
"""How far below and above 1 a ratio may be: between each two of them there are ratios of `tokens`, and no ratio, nor a
geometric mean of some, is at an edge, where rounding would decide."""

kl_coefs = st.sampled_from([0.5, 0.0, 0.0625, 2.0, 2.0**-8, 8.0])
sizes = st.sampled_from([1.0, 2.0**-20])
"""What all advantages are multiplied by."""


@st.composite
def credited(
    draw: st.DrawFn,
    numbers: np.ndarray = NUMBERS,
    ratios: st.SearchStrategy[np.ndarray] = token_ratios,
    kl: bool = True,
) -> Credited:
    """Batches of completions with an advantage for each, some rows of which may be masked in part or as a whole.

    ratios: what ratios are drawn from, but where a clip is shut, so that none is at its edge, nor a mean of some.
    """
    low, high = (draw(or_shut(clips)) for clips in (LOWS, HIGHS))
    tokens = draw(completions(numbers, ratios if low and high else st.just(UNEVEN_RATIOS)))
    length = draw(st.sampled_from([tokens.mask.shape[1], 8, 1, 100]))
    advantages = draw(sizes) * tokens.advantages[:, 0]
    return Credited(tokens, advantages, low, high, draw(kl_coefs) if kl else 0.0, length)
