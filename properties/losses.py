"""Where batches for surrogate losses come from: completions with an advantage for each, and a point on every axis.

As in `groups`, everything is decoded from windows on a table of bytes, and byte 0 is the plainest choice.
"""

from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.divergences import estimate_error
from rlspec.properties.strategies import NUMBERS
from rlspec.properties.tokens import HELD, UNEVEN_RATIOS, Completions, completions, or_shut, token_ratios
from rlspec.spec.operations import OPERATIONS

POINTS: dict[str, dict[str, str]] = {
    "surrogate_loss": {},
    "grpo_loss": {"reduction": "mean of means"},
    "dr_grpo_loss": {"reduction": "mean of sums over a fixed divisor"},
    "dapo_loss": {"reduction": "token-mean"},
    "cispo_loss": {"reduction": "token-mean", "clip": "weight"},
    "gspo_loss": {"reduction": "mean of means", "ratio": "sequence"},
    "luspo_loss": {"reduction": "mean of sums", "ratio": "sequence"},
    "gmpo_loss": {"reduction": "mean of means", "ratio": "sequence", "clip": "geometric"},
}
"""Each loss with what it fixes; otherwise the ratio is a token's and the clip pessimistic, and the estimator is k3."""


@dataclass(frozen=True)
class Credited:
    """Completions, an advantage and the name of a group for each, and the numbers and names that a loss takes."""

    tokens: Completions
    advantages: np.ndarray
    groups: np.ndarray
    clip_low: float
    clip_high: float
    kl_coef: float
    length: float
    ratio: str = "token"
    clip: str = "pessimistic"
    dual_clip: float | None = None
    reduction: str = "token-mean"
    kl: str = "k3"

    @property
    def mask(self) -> np.ndarray:
        """Which tokens count [B, T]."""
        return self.tokens.mask

    @property
    def divisor(self) -> float:
        """What fixed divisors divide by."""
        return self.length

    @property
    def log_ratio(self) -> np.ndarray:
        """log pi - log pi_old of each token [B, T]."""
        return self.tokens.logp - self.tokens.old_logp

    def arguments(self, operation: str) -> tuple[Any, ...]:
        """The arguments of one of the losses."""
        tokens = {name: array for name, array in vars(self.tokens).items() if name != "advantages"}
        known = vars(self) | tokens | {"divisor": self.divisor}
        return tuple(known[name] for name in OPERATIONS[operation].parameters)

    def at(self, operation: str) -> "Credited":
        """The same at the point that is this loss; a weight's widest lower clip is none, as for most who have one."""
        plain: dict[str, Any] = (
            {} if operation == "surrogate_loss" else {"ratio": "token", "clip": "pessimistic", "kl": "k3"}
        )
        case = replace(self, **plain | POINTS[operation])
        case = case if case.clip == "pessimistic" and operation == "surrogate_loss" else case.but(dual_clip=None)
        return case.but(clip_low=1.0) if case.clip == "weight" and case.clip_low == WIDEST else case

    def but(self, **fields: Any) -> "Credited":
        """The same with something else in the named fields, of the completions or of the rest."""
        inner = {name: value for name, value in fields.items() if name in vars(self.tokens) and name != "advantages"}
        outer = {name: value for name, value in fields.items() if name not in inner}
        return replace(self, tokens=self.tokens.but(**inner), **outer)

    def rows(self, rows: Any) -> "Credited":
        """Some of the rows: a slice of the batch, or a list of indices."""
        kept = {name: getattr(self, name)[rows] for name in ("advantages", "groups")}
        return replace(self, tokens=self.tokens.rows(rows), **kept)

    def token(self, row: int, token: int) -> "Credited":
        """The batch that has this token only."""
        arrays = vars(self.tokens).items()
        narrow = {name: array[row : row + 1, token : token + 1] for name, array in arrays if name != "advantages"}
        return self.but(advantages=self.advantages[row : row + 1], groups=self.groups[row : row + 1], **narrow)

    @property
    def leveled(self) -> np.ndarray:
        """The logarithm of each token's ratio at its level, without any clip [B, T]; 0 under the mask."""
        own = np.where(self.mask, self.log_ratio, 0)
        means = own.sum(axis=1, keepdims=True) / np.maximum(1, self.mask.sum(axis=1, keepdims=True))
        return np.where(self.mask, {"token": own, "sequence": means, "none": 0}[self.ratio], 0)

    @property
    def held(self) -> np.ndarray:
        """The log-ratios, of which a clip in logarithms holds those that went too far the way A pushes them [B, T]."""
        signs = np.sign(self.advantages)[:, None]
        far = np.where(signs > 0, np.minimum(self.log_ratio, self.clip_high), self.log_ratio)
        return np.where(signs < 0, np.maximum(self.log_ratio, -self.clip_low), far)

    @property
    def free(self) -> np.ndarray:
        """Where a clip in logarithms, if that is the clip, holds no log-ratio [B, T]."""
        return (self.held == self.log_ratio) | (self.clip != "geometric") | (self.ratio == "none")

    @property
    def exponents(self) -> np.ndarray:
        """The logarithm of each token's ratio at its level, after a clip in logarithms if that is the clip [B, T]."""
        clipped = self.clip == "geometric" and self.ratio != "none"
        return self.but(logp=self.tokens.old_logp + self.held).leveled if clipped else self.leveled

    def like(self, row: int, token: int) -> "Credited":
        """The batch of one token whose own ratio is that which this token has at its level."""
        alone = self.token(row, token)
        if self.ratio != "sequence":
            return alone
        return alone.but(old_logp=alone.tokens.logp - self.exponents[row, token])

    def of_one_token(self) -> "Credited":
        """The batch of the first token of each row: a sequence's ratio is that of its token."""
        return self.but(mask=self.mask & (self.mask.cumsum(axis=1) == 1))

    @property
    def bounded(self) -> np.ndarray:
        """Where the dual clip acts [B, T]."""
        return (self.advantages[:, None] < 0) & (self.leveled > np.log(self.dual_clip or np.inf))

    @property
    def sides(self) -> np.ndarray:
        """Where each token's ratio is: below, between or above the bounds of a pessimistic clip [B, T]."""
        ratio = np.exp(np.minimum(self.leveled, 700))
        return (ratio > 1 + self.clip_high).astype(int) - (ratio < 1 - self.clip_low)

    @property
    def digits(self) -> np.ndarray:
        """The size of a log-ratio's numbers [B, T]: of its own, or of the largest of its row."""
        own = np.where(self.mask, np.abs(self.tokens.logp) + np.abs(self.tokens.old_logp), 0)
        return own if self.ratio == "token" else own.max(axis=1, keepdims=True) + 0 * own

    @property
    def policy_terms(self) -> np.ndarray:
        """The size of each token's u, and of its derivative, with the digits of its ratio [B, T].

        A ratio is the exponential of a difference of two logarithms, so that its relative error is theirs, absolute: l
        roundings' worth where they are l in size.  A ratio that its clip limits is at most the clip, where A pushes it
        that way; where it is smaller than `HELD`, a clamp may have made it that.  As a weight it is multiplied by a
        logarithm.
        """
        size, ratio = np.abs(self.advantages)[:, None], np.exp(np.minimum(self.leveled, 700))
        logarithm = 1 + np.where(self.mask, np.abs(self.tokens.logp), 0)
        if self.ratio == "none":
            return size * logarithm
        gaining = self.advantages[:, None] > 0
        if self.clip == "pessimistic":
            most = np.where(gaining, 1 + self.clip_high, self.dual_clip or np.inf)
            ratio = np.clip(ratio, np.where(gaining, 0, 1 - self.clip_low), most)
        elif self.clip == "geometric":
            ratio = np.exp(self.exponents)
        elif self.clip == "weight":
            ratio = np.clip(ratio, 1 - self.clip_low, 1 + self.clip_high) * logarithm
        return size * np.maximum(ratio, HELD) * (1 + self.digits)

    @property
    def kl_terms(self) -> np.ndarray:
        """The size of each token's k, and of its derivative, weighed by the ratio or not [B, T]."""
        logp, ref_logp = (np.where(self.mask, part, 0) for part in (self.tokens.logp, self.tokens.ref_logp))
        x, weight = logp - ref_logp, np.maximum(np.exp(np.minimum(self.leveled, 700)), HELD)
        off = estimate_error(x, np.abs(logp) + np.abs(ref_logp), self.kl)
        size = {"k1": 1 + np.abs(x), "k2": np.abs(x) + x * x, "k3": 1 + np.abs(x) + np.exp(-x)}[self.kl]
        return abs(self.kl_coef) * (off * np.maximum(1, weight) + 2 * size * weight * (4 + self.digits))

    @property
    def magnitude(self) -> float:
        """The absolute sum of what the loss, or a derivative, is made of; a division, by one at least, lessens none."""
        terms = self.policy_terms + (self.kl_terms if self.kl_coef else 0)
        return float(np.where(self.mask, terms, 0).sum())

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a loss and its gradient: the magnitude and roundings that ``agree`` wants.

        Of each term 8 roundings for the exponential and the products, then the sums over B T tokens, twice where a mean
        is inside of another, and the quotients.
        """
        return {"magnitude": self.magnitude, "roundings": 2 * self.mask.size + 16}


WIDEST = 0.8125
LOWS, HIGHS = (0.25, 0.03125, 0.5625, WIDEST), (0.25, 0.8125, 0.03125, 1.5)
"""How far below and above 1 a ratio may be: between each two of them there are ratios of `tokens`, and no ratio, nor a
geometric mean of some, is at an edge, where rounding would decide."""

dual_clips = st.sampled_from([None, 3.0, 1.875, 1.125])
kl_coefs = st.sampled_from([0.5, 0.0, 0.0625, 2.0, 2.0**-8, 8.0, -0.25])
sizes = st.sampled_from([1.0, 2.0**-20])
"""What all advantages are multiplied by."""

LEVELS = ("token", "sequence", "none")
FORMS = ("pessimistic", "weight", "geometric", "none")
REDUCTIONS = (
    "token-mean",
    "mean of means",
    "mean of sums",
    "sum",
    "fixed divisor",
    "mean of sums over a fixed divisor",
    "mean of group token-means",
)


@st.composite
def credited(
    draw: st.DrawFn,
    numbers: np.ndarray = NUMBERS,
    ratios: st.SearchStrategy[np.ndarray] = token_ratios,
    coefs: st.SearchStrategy[float] = kl_coefs,
) -> Credited:
    """Batches of completions with an advantage for each, some rows of which may be masked in part or as a whole.

    ratios: what ratios are drawn from, but where a clip is shut, so that none is at its edge, nor a mean of some.
    """
    low, high = (draw(or_shut(clips)) for clips in (LOWS, HIGHS))
    tokens = draw(completions(numbers, ratios if low and high else st.just(UNEVEN_RATIOS)))
    rows = np.arange(len(tokens.mask))
    names = np.array([7, -2, 40])
    return Credited(
        tokens=tokens,
        advantages=draw(sizes) * tokens.advantages[:, 0],
        groups=names[draw(st.sampled_from([rows // 2, rows % 2, 0 * rows])) % 3],
        clip_low=low,
        clip_high=high,
        kl_coef=draw(coefs),
        length=draw(st.sampled_from([float(tokens.mask.shape[1]), 8.0, 1.0, 100.0])),
        ratio=draw(st.sampled_from(LEVELS)),
        clip=draw(st.sampled_from(FORMS)),
        dual_clip=draw(dual_clips),
        reduction=draw(st.sampled_from(REDUCTIONS)),
        kl=draw(st.sampled_from(["k3", "k1", "k2"])),
    )


no_kl = st.just(0.0)
