"""Where batches for clipped losses come from: tokens on every side of a clip, and values on every side of one.

Whatever is compared with a clip keeps its distance from it, so that no rounding decides on which side it is.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.balls import PRECISION, nearest
from rlspec.properties.checking import exactly
from rlspec.properties.strategies import LOG_PROBABILITIES, NUMBERS, windows
from rlspec.properties.tokens import HELD, Masked, or_shut, spread_mask, token_ratios

FAR_LOG_RATIOS = np.array([0, 30.0713, -30.0971, 0.5, -0.5, 10.0317, -10.0523, 1, 80.1131, -80.1373])
"""Logarithms of ratios that a model may run into, and of ratios that no model is trained on."""

LOWS, HIGHS = (0.25, 0.125, 0.6875), (0.25, 0.125, 0.5, 1.5)
lows, highs = st.sampled_from(LOWS), st.sampled_from(HIGHS)
dual_limits = st.sampled_from([3.0, 1.875, 1.125])
"""What clips are drawn from.  No ratio of `tokens` is at the edge of one."""

VALUES = np.array([0, 1, -1, 0.5, 2, -0.25, 3, -2.5])
"""What values, old and new, are drawn from: multiples of a quarter."""

RETURNS = np.array([0.1, -0.7, 1.3, 2.6, -3.1, 0.9, 5.2, -0.3])
"""What returns are drawn from: never half-way between values, nor between a value and one at a clip's edge."""

value_clips = st.sampled_from([0.375, 0.125, 1.125, 0.0])
"""What the clips of values are drawn from: odd multiples of an eighth, where no difference of values is, and 0."""

ENTROPIES = np.array([0, 0.7, 1, 0.1, 2, 0.5, 1.25, 12, -0.75, -4])
"""What entropies are drawn from, those of densities among them."""

sizes = st.sampled_from([1.0, 2.0**12, 2.0**-12])
"""What all values and returns are multiplied by."""


@lru_cache(maxsize=4096)
def exact_exp(number: Any) -> Fraction:
    """The exponential, to hundreds of bits."""
    number = exactly(number)
    with ctx.workprec(PRECISION):
        return nearest((arb(number.numerator) / number.denominator).exp())


def exact_rows(array: np.ndarray) -> Any:
    """An array's numbers as nested lists of rationals."""
    return np.vectorize(exactly, otypes=[object])(array).tolist()


@dataclass(frozen=True)
class Surrogates(Masked):
    """Tokens with their log-probabilities, their ratios (exact in float64, or None), advantages, and the clips."""

    logp: np.ndarray
    old_logp: np.ndarray
    ratio: np.ndarray
    advantages: np.ndarray
    clip_low: float
    clip_high: float
    dual_clip: float | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of ``ppo_loss``."""
        return *self.tokens, self.clip_low, self.clip_high, self.dual_clip

    @property
    def tokens(self) -> tuple[np.ndarray, ...]:
        """The arrays among them."""
        return self.logp, self.old_logp, self.advantages, self.mask

    @property
    def pairs(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``approx_kl``."""
        return self.logp, self.old_logp, self.mask

    @property
    def for_fraction(self) -> tuple[Any, ...]:
        """The arguments of ``clip_fraction``."""
        return *self.tokens, self.clip_low, self.clip_high

    @property
    def kept(self) -> np.ndarray:
        """Where the ratio counts as it is, [B, T]: it went no further than its clip the way its advantage pushes it."""
        a, r = self.advantages, self.ratio
        too_low, too_high = (a < 0) & (r < 1 - self.clip_low), (a > 0) & (r > 1 + self.clip_high)
        return ~(too_low | too_high | self.bounded)

    @property
    def bounded(self) -> np.ndarray:
        """Where the dual clip acts, [B, T]."""
        return (self.advantages < 0) & (self.ratio > (self.dual_clip or np.inf))

    @property
    def sizes(self) -> np.ndarray:
        """How large a token's term of the loss is, and how far that may be off, [B, T], the latter in units of u.

        A term is |A| times a limited ratio (a smaller ratio than `HELD` may have been made that).  A ratio is
        relatively off by the absolute error of its logarithm, which is below u times the two log-probabilities.
        """
        highest = np.where(self.advantages > 0, 1 + self.clip_high, self.dual_clip or np.inf)
        lowest = np.where(self.advantages < 0, np.maximum(1 - self.clip_low, HELD), HELD)
        limited = np.clip(np.exp(np.minimum(self.logp - self.old_logp, 700)), lowest, highest)
        return np.abs(self.advantages) * limited * (1 + np.abs(self.logp) + np.abs(self.old_logp))

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a loss and its gradient: the magnitude and roundings that ``agree`` wants.

        A mean, over at least one, makes no term larger.  A term takes 5 roundings beyond those of its logarithm (the
        exponential's, the clip's, two products and a quotient), and is summed with B T others.
        """
        return {"magnitude": float(self.sizes[self.mask].sum()), "roundings": self.mask.size + 8}

    @property
    def kl_judged(self) -> dict[str, Any]:
        """The same for a mean of -log r, of its half square or of r - 1 - log r."""
        difference = np.abs(self.logp - self.old_logp)
        terms = (1 + np.exp(self.logp - self.old_logp) + difference) * (1 + np.abs(self.logp) + np.abs(self.old_logp))
        return {"magnitude": float(terms[self.mask].sum()) / self.count, "roundings": self.mask.size + 8}

    @property
    def count(self) -> int:
        """The number of tokens that count, or 1 if there is none."""
        return max(int(self.mask.sum()), 1)

    def at_ratio(self, ratio: np.ndarray) -> "Surrogates":
        """The same tokens with other ratios, exact in float64."""
        return self.but(ratio=ratio, logp=self.old_logp + np.log(ratio))


def away_from_one(ratio: np.ndarray) -> np.ndarray:
    """The ratios, but 17/16 for those so near to 1 that rounding decides whether they are beyond a clip of 0."""
    return np.where(np.abs(ratio - 1) < 2.0**-9, 1.0625, ratio)


@st.composite
def surrogates(
    draw: st.DrawFn,
    numbers: np.ndarray = NUMBERS,
    far: bool = False,
    dual: bool | None = None,
    ratios: st.SearchStrategy[np.ndarray] = token_ratios,
) -> Surrogates:
    """Batches of tokens, all rows of which may be masked in part or as a whole.

    numbers: what advantages are drawn from.  far: whether some batches have log-ratios from `FAR_LOG_RATIOS`.
    dual: whether there is a dual clip; None for either.  ratios: what the batch's ratios are drawn from.
    """
    table = draw(windows(4))
    old_logp = LOG_PROBABILITIES[table[..., 0] % len(LOG_PROBABILITIES)]
    low, high, known = draw(or_shut(LOWS)), draw(or_shut(HIGHS)), draw(ratios)
    ratio = known[table[..., 1] % len(known)]
    if far and draw(st.booleans()):
        ratio = np.exp(FAR_LOG_RATIOS)[table[..., 1] % len(FAR_LOG_RATIOS)]
    if 0 in (low, high):
        ratio = away_from_one(ratio)
    limits = {None: st.none() | dual_limits, True: dual_limits, False: st.none()}[dual]
    return Surrogates(
        mask=spread_mask(table[..., 3]),
        logp=old_logp + np.log(ratio),
        old_logp=old_logp,
        ratio=ratio,
        advantages=numbers[table[..., 2] % len(numbers)],
        clip_low=low,
        clip_high=high,
        dual_clip=draw(limits),
    )


@dataclass(frozen=True)
class Predictions(Masked):
    """Values with the old ones and the returns that they should be, and a clip."""

    values: np.ndarray
    old_values: np.ndarray
    returns: np.ndarray
    clip: float | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of ``value_loss``."""
        return self.values, self.old_values, self.returns, self.mask, self.clip

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a loss and its gradient: the magnitude and roundings that ``agree`` wants.

        With M the sum of a step's numbers in size, an error is at most M and off by 3 u M (a limited value is the sum
        of two, and takes a difference); its square, by twice that times M; its double, which is a derivative, likewise.
        """
        size = sum(np.abs(part) for part in (self.values, self.old_values, self.returns)) + (self.clip or 0)
        terms = 2 * size * np.maximum(size, 1)
        return {"magnitude": float(terms[self.mask].sum()), "roundings": self.mask.size + 8}

    @property
    def limited(self) -> np.ndarray:
        """The values, but no further than the clip from the old ones, in rationals [B, T]."""
        values, old = (np.array(exact_rows(array), dtype=object) for array in (self.values, self.old_values))
        return values if self.clip is None else np.clip(values, old - exactly(self.clip), old + exactly(self.clip))

    @property
    def moved(self) -> np.ndarray:
        """Where a value is further from the old one than the clip, [B, T]."""
        return np.abs(self.values - self.old_values) > (np.inf if self.clip is None else self.clip)


@st.composite
def predictions(draw: st.DrawFn, clipped: bool | None = None, plain: bool = False) -> Predictions:
    """Batches of values.

    clipped: whether there is a clip, None for either.  plain: whether all values are of one order of size.
    """
    table = draw(windows(4))
    clip = draw({None: st.none() | value_clips, True: value_clips, False: st.none()}[clipped])
    values, old_values = (VALUES[table[..., i] % len(VALUES)] for i in (0, 1))
    if clip == 0:  # a value that did not move is at its edge
        old_values = np.where(values == old_values, old_values + 0.5, old_values)
    size = 1.0 if plain else draw(sizes)
    return Predictions(
        mask=spread_mask(table[..., 3]),
        values=size * values,
        old_values=size * old_values,
        returns=size * RETURNS[table[..., 2] % len(RETURNS)],
        clip=None if clip is None else size * clip,
    )


@dataclass(frozen=True)
class Steps(Masked):
    """What an actor and a critic say of steps, the returns that came, and the coefficients of the loss."""

    logp: np.ndarray
    values: np.ndarray
    entropies: np.ndarray
    returns: np.ndarray
    value_coef: float
    entropy_coef: float

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of ``actor_critic_loss``."""
        arrays = self.logp, self.values, self.entropies, self.returns, self.mask
        return *arrays, self.value_coef, self.entropy_coef

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a loss and its derivatives: the magnitude and roundings that ``agree`` wants.

        With M the sizes of return and value, a step's terms are at most M |logp|, c M^2 and c' H, and the derivatives
        M, 2 c M and c'.
        """
        size = np.abs(self.returns) + np.abs(self.values)
        terms = size * (1 + np.abs(self.logp)) + self.value_coef * size * (size + 2)
        terms = terms + self.entropy_coef * (1 + np.abs(self.entropies))
        return {"magnitude": float(terms[self.mask].sum()), "roundings": self.mask.size + 12}


@st.composite
def steps(draw: st.DrawFn, plain: bool = False) -> Steps:
    """Batches of steps; plain: with coefficients that are not 0."""
    table = draw(windows(5))
    value_coefs, entropy_coefs = [0.5, 1.0, 0.25, 4.0], [0.125, 0.01, 1.0, 2.0**-10]
    nothing = [] if plain else [0.0]
    size = 1.0 if plain else draw(sizes)
    return Steps(
        mask=spread_mask(table[..., 4]),
        logp=LOG_PROBABILITIES[table[..., 0] % len(LOG_PROBABILITIES)],
        values=size * VALUES[table[..., 1] % len(VALUES)],
        entropies=ENTROPIES[table[..., 2] % len(ENTROPIES)],
        returns=size * RETURNS[table[..., 3] % len(RETURNS)],
        value_coef=draw(st.sampled_from(value_coefs + nothing)),
        entropy_coef=draw(st.sampled_from(entropy_coefs + nothing)),
    )
