"""Where batches of completions come from: token by token, with masks of every shape and anything under them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.strategies import LOG_PROBABILITIES, LOGITS, NUMBERS, windows

LEAST_CLAMP = 5
"""Nearer to zero, neither a log-ratio nor an estimate is touched by any clamp that is a convention."""

HELD = np.exp(-LEAST_CLAMP)
"""The largest ratio that a smaller one may be held at by a clamp."""

TOKEN_RATIOS = np.array([1, 2, 0.5, 1.0625, 0.9375, 1.75, 0.375, 4, 1.1875, 0.8125, 1.375])
"""What ratios of probabilities are drawn from: equal ones, some inside and some outside of every clip on either side,
and some between any two of them; none at a clip's edge, where rounding would decide."""

NEAR_RATIOS = 1 + 2.0 ** -np.array([6, 8, 10, 20]) * [1, -1, 1, 1]
BESIDE_EDGES = np.array([203, 225]) / 256
FAR_RATIOS = np.array([23, 404, 3269017, 13 / 2**8, 41 / 2**14, 5 / 2**24])
"""Of policies that hardly differ; between 1 - c and 1 / (1 + c) for a clip c; from exp(-15) to exp(15)."""

DISTANT_RATIOS = np.concatenate([TOKEN_RATIOS, [23, 404, 4099, 13 / 2**8]])
"""Of policies that differ by up to exp(11): so far that estimates of their KL divergence reach every clamp in use."""

FURTHEST_RATIOS = np.exp([0, 0.5, -0.5, 10.0317, -10.0523, 30.0713, -30.0971, 80.1131, -80.1373])
"""Of log-ratios up to where float32 holds the exponential of no much larger one.

Whose means are no whole numbers, at which logarithms of ratios are clamped: there rounding would decide.
"""

UNEVEN_RATIOS = np.array([1.0625, 0.9375, 1.75, 0.375, 1.1875, 0.8125, 1.375])
"""Ratios of which none is 1, nor a product of some: for clips that are shut."""

_PLAIN = [TOKEN_RATIOS, np.concatenate([TOKEN_RATIOS, FAR_RATIOS])]
_NEAR = [np.concatenate([TOKEN_RATIOS, NEAR_RATIOS, BESIDE_EDGES]), NEAR_RATIOS]

plain_ratios, token_ratios = st.sampled_from(_PLAIN), st.sampled_from(_PLAIN + _NEAR)
"""What a batch's ratios are drawn from, if differences are to be seen or not.  Far ratios are large terms, beside which
little of the others can be told."""

far_token_ratios = st.sampled_from(
    [np.exp([0.0, 200, -200, 0.5, -0.5, 30.0713, -30.0971, 1]), np.exp([200.0, 30.0713])]
)
"""Ratios that no model trains on, among others, or no others."""


def or_shut(clips: Sequence[float]) -> st.SearchStrategy[float]:
    """One of the clips, or now and then one that lets no ratio move."""
    return st.sampled_from([*clips, *clips, 0.0])


clip_ranges = st.sampled_from([0.25, 0.125, 0.6875])
"""What clips are drawn from: how far a ratio may be from 1."""


@dataclass(frozen=True)
class Masked:
    """Arrays [B, T], among them a mask of the entries that count, and anything under it."""

    mask: np.ndarray

    def but(self, **changes: Any) -> Any:
        """The same batch with other contents in the named fields."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Completions(Masked):
    """Log-probabilities [B, T] of tokens under the policy, the one that spoke and the reference; a mask; advantages.

    Under the mask lies anything: the tokens that count may begin late, end early and have holes between them, and a
    row may have none.
    """

    logp: np.ndarray
    old_logp: np.ndarray
    ref_logp: np.ndarray
    advantages: np.ndarray

    def rows(self, rows: Any) -> "Completions":
        """Some of the completions: a slice of the batch, or a list of indices."""
        return Completions(**{name: array[rows] for name, array in vars(self).items()})


def spread_mask(bytes_: np.ndarray) -> np.ndarray:
    """A mask [B, T] with holes; now and then without any, and now and then with a row without any token."""
    full = bytes_[0, 0] % 8 == 7
    return full | ((bytes_ % 4 != 3) & ~(bytes_[:, :1] % 32 == 30))


@st.composite
def completions(
    draw: st.DrawFn, numbers: np.ndarray = NUMBERS, ratios: st.SearchStrategy[np.ndarray] = token_ratios
) -> Completions:
    """Batches of completions, all rows of which may be masked in part or as a whole.

    numbers: what advantages are drawn from.  ratios: what the batch's ratios are drawn from.
    """
    table = draw(windows(5))
    log_ratios = np.log(draw(ratios))
    old_logp = LOG_PROBABILITIES[table[..., 0] % len(LOG_PROBABILITIES)]
    return Completions(
        logp=old_logp + log_ratios[table[..., 1] % len(log_ratios)],
        old_logp=old_logp,
        ref_logp=old_logp + log_ratios[table[..., 2] % len(log_ratios)],
        advantages=numbers[table[..., 3] % len(numbers)],
        mask=spread_mask(table[..., 4]),
    )


@dataclass(frozen=True)
class Marked:
    """Arrays [B, T] of numbers for every token, and a mask of those that count, with anything under it."""

    arrays: tuple[np.ndarray, ...]
    mask: np.ndarray

    def __iter__(self) -> Any:
        return iter((*self.arrays, self.mask))

    @property
    def counted(self) -> list[tuple[np.ndarray, ...]]:
        """Each row's numbers of the tokens that count, without the others."""
        return [tuple(array[row, counts] for array in self.arrays) for row, counts in enumerate(self.mask)]

    @property
    def magnitude(self) -> np.ndarray:
        """Each row's absolute sum of the numbers that count, [B, 1]."""
        return sum(np.where(self.mask, np.abs(array), 0).sum(axis=1, keepdims=True) for array in self.arrays)

    def but(self, *arrays: np.ndarray) -> "Marked":
        """Other numbers under the same mask."""
        return Marked(arrays, self.mask)

    def rows(self, rows: Any) -> "Marked":
        """Some of the rows: a slice of the batch, or a list of indices."""
        return Marked(tuple(array[rows] for array in self.arrays), self.mask[rows])

    def padded(self, left: int, right: int, junk: float) -> "Marked":
        """The batch with so many columns more on either side, and junk wherever the mask is not set.

        It is once, twice, three times the number given, so that no difference of two arrays happens to be right.
        """
        wide = ((0, 0), (left, right))
        mask = np.pad(self.mask, wide)
        filled = (np.where(mask, np.pad(array, wide), times * junk) for times, array in enumerate(self.arrays, start=1))
        return Marked(tuple(filled), mask)


@st.composite
def marked(draw: st.DrawFn, copies: int = 1, numbers: np.ndarray = NUMBERS) -> Marked:
    """Batches of so many numbers a token, with masks that begin late, end early, have holes, or cover a whole row."""
    table = draw(windows(copies + 1))
    mask = table[..., copies] % 4 != 3
    mask &= table[:, :1, copies] % 8 != 6  # a row without any token
    return Marked(tuple(numbers[table[..., copy] % len(numbers)] for copy in range(copies)), mask)


MOST_VOCABULARY = 4

temperatures = st.sampled_from([1.0, 0.5, 2.0, 0.7, 4.0])
"""What temperatures are drawn from: none at all, sharper and flatter ones, one that floats round."""


@dataclass(frozen=True)
class Utterances:
    """Logits [B, T, V], tokens [B, T] of that vocabulary, and a mask [B, T] of those that count."""

    logits: np.ndarray
    tokens: np.ndarray
    mask: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of `sequence_logp`, in order."""
        return self.logits, self.tokens, self.mask

    def but(self, **fields: np.ndarray) -> "Utterances":
        """The same utterances with other arrays in the named fields."""
        return replace(self, **fields)

    def predicts(self) -> np.ndarray:
        """Which logits [B, T] predict a token that counts, when each place predicts the next."""
        return np.pad(self.mask[:, 1:], ((0, 0), (0, 1)))

    def judged(self, temperature: float = 1.0, sequence: bool = False) -> dict[str, Any]:
        """How far rounding may take a log-probability: the magnitude and roundings that ``agree`` wants.

        With l the largest logit over the temperature, a logit less the largest is 2 l at most and takes 4 roundings; as
        an exponent it is a relative error of a sum of V exponentials, whose logarithm is log V at most; the three are
        put together.  A sequence adds up T of them.
        """
        steps, vocabulary = self.logits.shape[1:]
        largest = float(np.abs(np.where(np.isfinite(self.logits), self.logits, 0)).max()) / temperature
        magnitude = 4 * largest + math.log(vocabulary) + 1
        roundings = vocabulary + 16
        if sequence:
            return {"magnitude": steps * magnitude, "roundings": roundings + steps}
        return {"magnitude": magnitude, "roundings": roundings}


@st.composite
def utterances(draw: st.DrawFn, logits: np.ndarray = LOGITS) -> Utterances:
    """Logits from those given for vocabularies of up to 4 tokens, tokens, and a mask that may be set at position 0."""
    vocabulary = draw(st.sampled_from([2, 3, 4, 1]))
    table = draw(windows(MOST_VOCABULARY + 2))
    mask = table[..., -1] % 4 != 3
    mask &= table[:, :1, -1] % 8 != 6
    return Utterances(
        logits=logits[table[..., :vocabulary] % len(logits)].astype(float),
        tokens=(table[..., -2] % vocabulary).astype(int),
        mask=mask,
    )


EOS, PAD = 2, 3
ORDINARY = np.array([5, 6, 7, 8])
"""Tokens that are neither."""


@dataclass(frozen=True)
class Answers:
    """Tokens [B, T]: a prompt, an answer that may end with EOS or not at all, and what stands behind."""

    tokens: np.ndarray
    prompt_length: np.ndarray
    pad: int

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of `completion_mask`."""
        return self.tokens, self.prompt_length, EOS, self.pad

    def but(self, **fields: Any) -> "Answers":
        """The same answers with something else in the named fields."""
        return replace(self, **fields)

    @property
    def behind_prompt(self) -> np.ndarray:
        """Where the prompt is over."""
        return np.arange(self.tokens.shape[1]) >= self.prompt_length[:, None]

    @property
    def behind_end(self) -> np.ndarray:
        """Where an EOS of the answer has gone before."""
        ends = self.behind_prompt & (self.tokens == EOS)
        return ends.cumsum(axis=1) - ends > 0


ANYTHING = np.array([*ORDINARY, EOS, PAD, EOS, PAD])
"""What stands in a prompt, or behind an end."""


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    """Prompts with any token in them, empty ones too, and answers: ended, never ended, empty; pad may be EOS."""
    table = draw(windows(2))
    pad = draw(st.sampled_from([PAD, EOS]))
    steps = table.shape[1]
    prompt_length = (table[:, 0, 1] % (steps + 1)).astype(int)
    tokens = ANYTHING[table[..., 0] % len(ANYTHING)]
    answers = Answers(tokens, prompt_length, pad)
    # Padding inside of an answer is no padding: from where it begins before an end, all is padding.
    pads = answers.behind_prompt & ~answers.behind_end & (tokens == PAD)
    return answers.but(tokens=np.where(pads.cumsum(axis=1) > 0, pad, tokens))


kl_coefs = st.sampled_from([0.5, 0.0, 0.1, 2.0, 2.0**-8, 5.0, -0.25])
"""What the penalty's coefficient is drawn from."""
