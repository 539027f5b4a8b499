"""Questions about language."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.balls import PRECISION, nearest
from rlspec.properties.checking import exactly
from rlspec.properties.conversing import Conversation, conversations
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import FAR_LOGITS, LOG_PROBABILITIES, PLAIN_LOGITS, rescaling, roundings
from rlspec.properties.tokens import (
    Answers,
    Marked,
    Utterances,
    answers,
    kl_coefs,
    marked,
    temperatures,
    utterances,
)
from rlspec.reference import language
from rlspec.spec.operations import OPERATIONS

exact = np.vectorize(exactly, otypes=[object])


def rows_of(drawn: Marked) -> list[Any]:
    """Each row's arrays in rationals, and its mask."""
    arrays = (exact(array).tolist() for array in drawn.arrays)
    return list(zip(*arrays, drawn.mask.tolist(), strict=True))


def exact_token_logp(drawn: Utterances, temperature: float) -> list[Any]:
    """The reference's aligned log-probabilities, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        return [
            [nearest(x) for x in language.token_logp(logits, tokens, arb(temperature), arb.exp, arb.log)]
            for logits, tokens, _ in _in_balls(drawn)
        ]


def exact_sequence_logp(drawn: Utterances) -> list[Any]:
    """The reference's log-probabilities of sequences, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        return [
            nearest(language.sequence_logp(logits, tokens, mask, arb.exp, arb.log))
            for logits, tokens, mask in _in_balls(drawn)
        ]


def _in_balls(drawn: Utterances) -> list[Any]:
    logits = [[[arb(x) for x in place] for place in row] for row in drawn.logits.tolist()]
    return list(zip(logits, drawn.tokens.tolist(), drawn.mask.tolist(), strict=True))


def _token_logps(logits: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Utterances, temperature: float) -> Question:
        arguments = drawn.logits, drawn.tokens, temperature
        return Question(
            OPERATIONS["token_logp"],
            arguments,
            lambda **_: exact_token_logp(drawn, temperature),
            **drawn.judged(temperature),
        )

    return st.builds(question, utterances(logits), temperatures)


def _sequence_logps(logits: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Utterances) -> Question:
        return Question(
            OPERATIONS["sequence_logp"],
            drawn.arrays,
            lambda **_: exact_sequence_logp(drawn),
            **drawn.judged(sequence=True),
        )

    return utterances(logits).map(question)


def segments_of(drawn: Utterances) -> np.ndarray:
    """Names of sequences that follow each other in a row: one begins where the mask is 0; names that are no counts."""
    return 7 - 3 * (~drawn.mask).cumsum(axis=1)


def named(drawn: Conversation) -> Conversation:
    """Turns as sequences that follow each other in a row, with names that are no counts."""
    return drawn.but(turns=7 - 3 * drawn.turns)


def _packed_gaes(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Conversation, gamma: float, lam: float) -> Question:
        def answer(**_: str) -> Any:
            arrays = (exact(array).tolist() for array in drawn.arrays)
            rows = zip(*arrays, drawn.turns.tolist(), drawn.mask.tolist(), strict=True)
            known: Callable[..., Any] = language.packed_gae
            return [known(*row, exactly(gamma), exactly(lam)) for row in rows]

        return Question(OPERATIONS["packed_gae"], (*drawn, gamma, lam), answer, **drawn.judged(gamma * lam))

    return st.builds(question, conversations(2, inputs.numbers).map(named), inputs.gammas, inputs.lams)


def _packed_logps(logits: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Utterances) -> Question:
        segments = segments_of(drawn)

        def answer(**_: str) -> Any:
            rows = zip(_in_balls(drawn), segments.tolist(), strict=True)
            with ctx.workprec(PRECISION):
                answers = [
                    language.packed_logp(logits, tokens, names, arb.exp, arb.log) for (logits, tokens, _), names in rows
                ]
                return [[nearest(arb(x)) for x in row] for row in answers]

        return Question(OPERATIONS["packed_logp"], (drawn.logits, drawn.tokens, segments), answer, **drawn.judged())

    return utterances(logits).map(question)


def exact_completion_mask(drawn: Answers) -> list[list[int]]:
    """The reference's completion masks."""
    rows = zip(drawn.tokens.tolist(), drawn.prompt_length.tolist(), strict=True)
    return [language.completion_mask(*row, *drawn.arguments[2:]) for row in rows]


def _completion_masks() -> st.SearchStrategy[Question]:
    def question(drawn: Answers) -> Question:
        operation = OPERATIONS["completion_mask"]
        return Question(operation, drawn.arguments, lambda **_: exact_completion_mask(drawn), magnitude=0, roundings=1)

    return answers().map(question)


def rewards_judged(scores: np.ndarray, drawn: Marked, kl_coef: float, estimator: str = "k1") -> dict[str, Any]:
    """How far rounding may take token rewards: a difference, an estimate, a product and a sum.

    With M the row's absolute sum the log-ratio x is off by u M, k2 by |x| u M, and k3, with e^-x, by (1 + e^-x) u M.
    """
    logp, ref_logp = drawn.arrays
    farthest = np.where(drawn.mask, ref_logp - logp, 0).max(axis=1, keepdims=True)
    slopes = {"k1": 1, "abs": 1, "k2": drawn.magnitude, "k3": 1 + np.exp(farthest)}
    size = slopes[estimator] * (1 + drawn.magnitude)
    return {"magnitude": np.abs(scores)[:, None] + abs(kl_coef) * size, "roundings": 10}


NEAR_LOGPS = np.maximum(LOG_PROBABILITIES, -12)
"""Log-probabilities of which no ratio is so far from 1 that k3, which has its exponential, drowns all others."""


def rewards_question(scores: np.ndarray, drawn: Marked, kl_coef: float) -> Question:
    """The question to ``token_rewards`` about scores and log-probabilities under the policy and the reference."""

    def answer(**chosen: str) -> list[Any]:
        return [
            language.token_rewards(score, logp, ref_logp, mask, exactly(kl_coef), **last_names(chosen), exp=exponential)
            for score, (logp, ref_logp, mask) in zip(exact(scores), rows_of(drawn), strict=True)
        ]

    arguments = (scores, *drawn, kl_coef)
    return Question(OPERATIONS["token_rewards"], arguments, answer, **rewards_judged(scores, drawn, kl_coef, "k3"))


def _token_rewards(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(scored: tuple[np.ndarray, Marked], kl_coef: float) -> Question:
        return rewards_question(*scored, kl_coef)

    return st.builds(question, scored_completions(numbers), kl_coefs)


def exponential(number: Fraction) -> Fraction:
    """exp of a rational, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        return nearest((arb(number.numerator) / number.denominator).exp())


@st.composite
def scored_completions(draw: st.DrawFn, numbers: np.ndarray) -> tuple[np.ndarray, Marked]:
    """A score for every row, and log-probabilities under the policy and the reference."""
    drawn = draw(marked(2, NEAR_LOGPS))
    scores = draw(st.lists(st.sampled_from(numbers.tolist()), min_size=len(drawn.mask), max_size=len(drawn.mask)))
    return np.array(scores, dtype=float), drawn


def sum_judged(drawn: Marked, discount: float = 1.0) -> dict[str, Any]:
    """How far rounding may take what is gathered along each row with such a discount, [B, 1]."""
    steps = drawn.mask.shape[1]
    return {"magnitude": drawn.magnitude * rescaling(discount, steps), "roundings": roundings(steps)}


def _along_rows(
    name: str, copies: int, numbers: np.ndarray, discounts: Callable[..., float], *scalars: st.SearchStrategy[float]
) -> st.SearchStrategy[Question]:
    """Questions about arrays [B, T] under a mask and scalars, which the reference answers row by row."""

    def question(drawn: Marked, *numbers: float) -> Question:
        def answer(**_: str) -> list[Any]:
            return [getattr(language, name)(*row, *map(exactly, numbers)) for row in rows_of(drawn)]

        judged = sum_judged(drawn, discounts(*numbers))
        if "T" not in OPERATIONS[name].result:
            judged["magnitude"] = judged["magnitude"][:, 0]
        return Question(OPERATIONS[name], (*drawn, *numbers), answer, **judged)

    return st.builds(question, marked(copies, numbers), *scalars)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    logits = PLAIN_LOGITS if inputs.plain else FAR_LOGITS
    return {
        "token_logp": _token_logps(logits),
        "sequence_logp": _sequence_logps(logits),
        "packed_logp": _packed_logps(logits),
        "packed_gae": _packed_gaes(inputs),
        "completion_mask": _completion_masks(),
        "token_rewards": _token_rewards(inputs.numbers),
        "outcome_score": _along_rows("outcome_score", 1, inputs.numbers, lambda: 1.0),
        "token_returns": _along_rows("token_returns", 1, inputs.numbers, lambda gamma: gamma, inputs.gammas),
        "token_gae": _along_rows(
            "token_gae", 2, inputs.numbers, lambda gamma, lam: gamma * lam, inputs.gammas, inputs.lams
        ),
    }
