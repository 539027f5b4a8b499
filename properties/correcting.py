"""Where batches come from that another policy has spoken: a level and a form of weights, and bounds for these."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume

from rlspec.properties.checking import exactly
from rlspec.properties.clipping import HIGHS, LOWS, exact_exp
from rlspec.properties.strategies import NUMBERS
from rlspec.properties.tokens import HELD, LEAST_CLAMP, TOKEN_RATIOS, Completions, completions, token_ratios
from rlspec.reference.choices import shape_of
from rlspec.spec.operations import OPERATIONS

LEVELS = ("token", "sequence", "geometric")
FORMS = ("none", "truncated", "masked", "clipped")
levels, forms = st.sampled_from(LEVELS), st.sampled_from(FORMS)

LEAST = (0.0, 0.47, 0.83, 0.13)
MOST = (2.3, 1.21, 5.1, 90.0)
"""What the bounds of weights are drawn from: products of `TOKEN_RATIOS` are at the edge of none, and no clamp that is a
convention takes a weight across one, but for those that are kept above the lowest."""

NEAR_AN_EDGE = 2.0**-8
"""As a share of a bound: so near to one no weight is, so that rounding does not decide."""


@dataclass(frozen=True)
class Weighed:
    """Completions whose `ref_logp` are the sampler's, a level and a form of their weights, and all bounds."""

    tokens: Completions
    level: str
    form: str
    low: float
    high: float
    clip_low: float
    clip_high: float

    def arguments(self, operation: str) -> tuple[Any, ...]:
        """The arguments of one of the operations; what weights are made of is the old policy and the sampler's."""
        known = vars(self.tokens) | vars(self) | {"sampler_logp": self.tokens.ref_logp}
        known |= {} if operation == "corrected_loss" else {"logp": self.tokens.old_logp}
        return tuple(known[name] for name in OPERATIONS[operation].parameters)

    def but(self, **fields: Any) -> "Weighed":
        """The same with something else in the named fields, of the completions or of the rest."""
        inner = {name: value for name, value in fields.items() if name in vars(self.tokens)}
        outer = {name: value for name, value in fields.items() if name not in inner}
        return replace(self, tokens=self.tokens.but(**inner), **outer)

    @property
    def mask(self) -> np.ndarray:
        """Which tokens count [B, T]."""
        return self.tokens.mask

    @property
    def of_level(self) -> np.ndarray:
        """The logarithm of each token's weight at its level, without any bound [B, T]; 0 under the mask."""
        own = np.where(self.mask, self.tokens.old_logp - self.tokens.ref_logp, 0)
        sums = own.sum(axis=1, keepdims=True) + 0 * own
        lengths = np.maximum(1, self.mask.sum(axis=1, keepdims=True))
        return np.where(self.mask, {"token": own, "sequence": sums, "geometric": sums / lengths}[self.level], 0)

    def bounded(self, logarithms: np.ndarray) -> np.ndarray:
        """Weights with these logarithms, in the form [B, T]; 0 under the mask."""
        weight = np.exp(np.minimum(logarithms, 700))
        kept = {
            "none": weight,
            "truncated": np.minimum(weight, self.high),
            "masked": np.where((weight < self.low) | (weight > self.high), 0, weight),
            "clipped": np.clip(weight, self.low, self.high),
        }[self.form]
        return np.where(self.mask, kept, 0)

    @property
    def digits(self) -> np.ndarray:
        """The size of the numbers that a weight's logarithm is made of [B, T]."""
        own = np.where(self.mask, np.abs(self.tokens.old_logp) + np.abs(self.tokens.ref_logp), 0)
        return own if self.level == "token" else own.sum(axis=1, keepdims=True) + 0 * own

    @property
    def clamped(self) -> np.ndarray:
        """The weights if their logarithms are clamped as closely as a convention allows [B, T]."""
        return self.bounded(np.clip(self.of_level, -LEAST_CLAMP, LEAST_CLAMP))

    @property
    def terms(self) -> np.ndarray:
        """The size of each weight, with the digits of its logarithm, which are its relative error [B, T].

        One that is smaller than `HELD` may have been made that by a clamp.
        """
        weight = np.maximum(self.bounded(self.of_level), self.clamped)
        return np.where(self.mask, np.maximum(weight, HELD) * (1 + self.digits), 0)

    @property
    def clear(self) -> bool:
        """Whether no weight is so near to a bound that rounding decides."""
        weight = np.exp(np.minimum(self.of_level, 700))
        return not any((np.abs(weight - edge) < NEAR_AN_EDGE * edge)[self.mask].any() for edge in (self.low, self.high))

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a row's weights: the magnitude and roundings that ``agree`` wants.

        The sum of a row's logarithms takes a rounding for each, which are as large as all of them; then the quotient
        and the exponential.
        """
        return {"magnitude": self.terms.max(axis=1, keepdims=True), "roundings": self.mask.shape[1] + 8}

    @property
    def least_mean(self) -> float:
        """The least mean that self-normalised weights may be divided by: that of weights no larger than any clamp's."""
        least, lengths = np.minimum(self.bounded(self.of_level), self.clamped), self.mask.sum(axis=1)
        if self.level == "token":
            return float(least.sum() / max(lengths.sum(), 1))
        return float(least.max(axis=1).sum() / max(np.count_nonzero(lengths), 1))

    @property
    def normalizable(self) -> bool:
        """Whether the mean is 0, or not so small that weights may stay as they are."""
        return self.least_mean == 0 or self.least_mean > 1e-6

    @property
    def judged_normalized(self) -> dict[str, Any]:
        """The same for weights over their mean, which is off by no more in proportion than its largest part."""
        most, mean = np.maximum(self.bounded(self.of_level), self.clamped), self.least_mean
        size = float(most.max()) / mean * (1 + 2 * float(self.digits.max())) if mean > 0 else 0.0
        return {"magnitude": 2 * size, "roundings": 2 * self.mask.size + 24}

    @property
    def judged_loss(self) -> dict[str, Any]:
        """The same for a loss and its derivatives; a mean, over at least one, makes neither larger.

        A token's ratio is off as a weight is, and limited by its clip, where A pushes it that way.
        """
        logp, old = (np.where(self.mask, table, 0) for table in (self.tokens.logp, self.tokens.old_logp))
        gaining = self.tokens.advantages > 0
        ratio = np.exp(np.minimum(logp - old, 700))
        ratio = np.clip(ratio, np.where(gaining, 0, 1 - self.clip_low), np.where(gaining, 1 + self.clip_high, np.inf))
        size = np.abs(self.tokens.advantages) * np.maximum(ratio, HELD) * (1 + np.abs(logp) + np.abs(old))
        return {"magnitude": float((size * self.terms)[self.mask].sum()), "roundings": 2 * self.mask.size + 24}


@st.composite
def weighed(
    draw: st.DrawFn,
    levels: st.SearchStrategy[str] = levels,
    forms: st.SearchStrategy[str] = forms,
    numbers: np.ndarray = NUMBERS,
    ratios: st.SearchStrategy[np.ndarray] = token_ratios,
) -> Weighed:
    """Batches of completions, all rows of which may be masked in part or as a whole.

    numbers: what advantages are drawn from.  ratios: what ratios are drawn from, but where a row's are multiplied.
    """
    level = draw(levels)
    tokens = draw(completions(numbers, st.just(TOKEN_RATIOS) if level == "sequence" else ratios))
    names = {"low": LEAST, "high": MOST, "clip_low": LOWS, "clip_high": HIGHS}
    case = Weighed(tokens, level, draw(forms), **{name: draw(st.sampled_from(of)) for name, of in names.items()})
    assume(case.clear)
    return case


@dataclass(frozen=True)
class Sizes:
    """Weights [B, T], none of them negative, and a mask of those that count."""

    weights: np.ndarray
    mask: np.ndarray

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``effective_sample_size``."""
        return self.weights, self.mask

    @property
    def counted(self) -> list[Fraction]:
        """The weights that count, in rationals."""
        return [exactly(weight) for weight in self.weights[self.mask]]

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a number of at most N that is made of two sums of N terms, none negative."""
        count = max(int(self.mask.sum()), 1)
        return {"magnitude": 4 * count, "roundings": 2 * self.mask.size + 12}


WEIGHTS = np.array([1, 0.5, 2, 0, 0.25, 3, 1.0625, 90, 0.375])
"""What weights are drawn from; none that float32 rounds."""


@st.composite
def sizes(draw: st.DrawFn, plain: bool = False) -> Sizes:
    """Weights of a batch, all of which may be masked or 0."""
    tokens = draw(completions(WEIGHTS))
    numbers = tokens.advantages if not plain else np.maximum(tokens.advantages, 0.125)
    return Sizes(numbers, tokens.mask)


# Weights in closed form, in rationals, by the choices of a candidate.


def exact_weights(candidate: Any, operation: str, case: Weighed) -> np.ndarray:
    """Each token's weight [B, T]; 0 under the mask."""
    table = np.full(case.mask.shape, Fraction(0), dtype=object)
    for row in np.flatnonzero(case.mask.any(axis=1)).tolist():
        steps = np.flatnonzero(case.mask[row]).tolist()
        pairs = ((case.tokens.old_logp[row, step], case.tokens.ref_logp[row, step]) for step in steps)
        own = [exactly(new) - exactly(spoken) for new, spoken in pairs]
        whole = sum(own, Fraction(0))
        at = {"token": own, "sequence": [whole] * len(own), "geometric": [whole / len(own)] * len(own)}[case.level]
        for step, log_weight in zip(steps, at, strict=True):
            table[row, step] = in_form(case, exact_exp(_limited(candidate, operation, log_weight)))
    return table


def _limited(candidate: Any, operation: str, log_weight: Fraction) -> Fraction:
    """A weight's logarithm as far as the candidate's clamp lets it count."""
    if abs(log_weight) <= LEAST_CLAMP:
        return log_weight
    shape, most = shape_of(candidate.convention(f"{operation}.log_weight"), "as it is", "clamped to C", "at most C")
    if shape == "clamped to C" and log_weight < -most:
        return -exactly(most)
    return exactly(most) if shape != "as it is" and log_weight > most else log_weight


def in_form(case: Weighed, weight: Fraction) -> Fraction:
    """A weight as its form has it."""
    low, high = exactly(case.low), exactly(case.high)
    if case.form == "masked":
        return weight if low <= weight <= high else Fraction(0)
    most = weight if case.form == "none" else min(weight, high)
    return max(most, low) if case.form == "clipped" else most
