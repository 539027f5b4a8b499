"""Where languages come from: prompts, policies and scores so small that every completion is listed.

As in `processes`, probabilities are multiples of an eighth, everything is decoded from one byte string of fixed
length and a shape, and byte 0 is the plainest choice.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.processes import distributions, pick
from rlspec.reference.language import END, Gradient, Language, Policy, Tokens, expected_gradient, probability

MOST_PROMPTS, MOST_TOKENS, MOST_STEPS = 2, 3, 3
MOST_CONTEXTS = MOST_PROMPTS * (1 + 2 + 4)

PROMPTS = {1: [Fraction(1)], 2: [Fraction(1, 4), Fraction(3, 4)]}
"""How often each prompt is asked."""

RIGHT, WRONG, EMPTY = Fraction(1), Fraction(0), Fraction(-1, 4)
"""What an answer scores: a verifier's verdict, and a small penalty for saying nothing."""


@dataclass(frozen=True)
class Speech:
    """A language with three policies, in rationals, and a score for every completion.

    policy: the one that learns.  old: the one that spoke.  reference: the one to stay close to.
    """

    language: Language
    policy: Policy
    old: Policy
    reference: Policy
    scores: dict[tuple[int, Tokens], Fraction]

    def score(self, prompt: int, tokens: Tokens) -> Fraction:
        """The outcome reward of a completion."""
        return self.scores[prompt, tokens]

    @cached_property
    def pairs(self) -> list[tuple[int, Tokens]]:
        """Every prompt with every completion: the rows of the arrays."""
        return self.language.pairs()

    @cached_property
    def mask(self) -> np.ndarray:
        """Which entries are tokens of the completion [N, T]."""
        lengths = np.array([len(tokens) for _, tokens in self.pairs])
        return np.arange(self.language.longest) < lengths[:, None]

    def weights(self, policy: Policy) -> list[Fraction]:
        """rho(x) pi(y|x) of every row: how often it is said."""
        return [self.language.prompts[prompt] * probability(policy, prompt, tokens) for prompt, tokens in self.pairs]

    def logp(self, policy: Policy, junk: float = 0.0) -> np.ndarray:
        """log pi(y_t | x, y_<t) of every token of every row [N, T], and junk behind its end."""
        table = np.full(self.mask.shape, junk)
        for row, (prompt, tokens) in enumerate(self.pairs):
            for step, token in enumerate(tokens):
                table[row, step] = np.log(float(policy[prompt, tokens[:step]][token]))
        return table

    def gradient(self, slopes: np.ndarray, speaker: Policy | None = None) -> Gradient:
        """What a loss with the derivatives d loss / d logp, [N, T], one row a completion, has as expected gradient.

        speaker: whose completions they are; the policy's own, if it is not given.
        """
        rows = {pair: [exactly(slope) for slope in row] for pair, row in zip(self.pairs, slopes, strict=True)}

        def credit(prompt: int, tokens: Tokens) -> list[Fraction]:
            return rows[prompt, tokens][: len(tokens)]

        return expected_gradient(self.language, self.policy, credit, speaker)


def in_line(gradient: Gradient) -> list[Any]:
    """A gradient's numbers, one after the other, context by context."""
    return [number for row in gradient.values() for number in row]


def _decode(shape: tuple[int, int, int], data: bytes) -> Speech:
    prompts, vocabulary, longest = shape
    language = Language(PROMPTS[prompts], vocabulary, longest)
    contexts = language.contexts()
    table = np.frombuffer(data, np.uint8).reshape(-1, 4)
    options = distributions(vocabulary, 8, 1)

    def policy(column: int) -> Policy:
        rows = pick(options, table[: len(contexts), column])
        return {context: [exactly(number) for number in row] for context, row in zip(contexts, rows, strict=True)}

    verdicts = [(RIGHT, WRONG)[byte % 2] for byte in table[:, 3]]
    scores = {
        (prompt, tokens): EMPTY if tokens == (END,) else verdict
        for (prompt, tokens), verdict in zip(language.pairs(), verdicts, strict=False)
    }
    return Speech(language, policy(0), policy(1), policy(2), scores)


def speeches(on_policy: bool = False) -> st.SearchStrategy[Speech]:
    """Languages of up to 2 prompts, 3 tokens and 3 steps, with policies of full support and outcome scores.

    on_policy: the policy that spoke is the one that learns.
    """
    shapes = st.tuples(st.integers(1, MOST_PROMPTS), st.integers(2, MOST_TOKENS), st.integers(1, MOST_STEPS))
    size = 4 * 2 * MOST_PROMPTS * MOST_CONTEXTS
    drawn = st.builds(_decode, shapes, st.binary(min_size=size, max_size=size))
    return drawn.map(_on_policy) if on_policy else drawn


def _on_policy(speech: Speech) -> Speech:
    return Speech(speech.language, speech.policy, speech.policy, speech.reference, speech.scores)
