"""Questions about the KL divergence."""

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.properties.divergences import (
    LOG_RATIOS,
    PLAIN_LOG_RATIOS,
    Compared,
    Pair,
    compared,
    estimators,
    loss_terms,
    pairs,
)
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import FAR_LOGITS, PLAIN_LOGITS
from rlspec.properties.tokens import Completions, completions, plain_ratios, token_ratios
from rlspec.reference import kl
from rlspec.spec.operations import OPERATIONS


def middles(numbers: Any) -> Any:
    """Nested lists of balls as the rationals in their middle."""
    return [middles(number) for number in numbers] if isinstance(numbers, list) else nearest(numbers)


def exact_estimates(drawn: Compared, estimator: str, clamp: str = "none") -> list[list[Fraction]]:
    """The reference's estimates, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        rows = zip(balls(drawn.logp.tolist()), balls(drawn.ref_logp.tolist()), strict=True)
        return middles(
            [[kl.kl_estimate(*pair, estimator, clamp, arb.exp) for pair in zip(*row, strict=True)] for row in rows]
        )


def exact_divergences(drawn: Pair) -> tuple[list[Fraction], list[list[Fraction]]]:
    """The reference's divergences and their derivatives, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        pairs = zip(balls(drawn.logits.tolist()), balls(drawn.ref_logits.tolist()), strict=True)
        values, slopes = zip(*(kl.kl_divergence(*pair, arb.exp, arb.log) for pair in pairs), strict=True)
        return middles(list(values)), middles(list(slopes))


def exact_loss(batch: Completions, estimator: str, **chosen: str) -> tuple[Fraction, list[list[Fraction]]]:
    """The reference's loss and its derivatives, to hundreds of bits, under these conventions."""
    with ctx.workprec(PRECISION):
        logp, ref_logp, old_logp = (balls(array.tolist()) for array in (batch.logp, batch.ref_logp, batch.old_logp))
        loss, slopes = kl.kl_loss(logp, ref_logp, old_logp, batch.mask.tolist(), estimator, **chosen, exp=arb.exp)
        return nearest(loss), middles(slopes)


def _estimates(log_ratios: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Compared, estimator: str) -> Question:
        return Question(
            OPERATIONS["kl_estimate"],
            (drawn.logp, drawn.ref_logp, estimator),
            lambda **chosen: exact_estimates(drawn, estimator, **last_names(chosen)),
            **drawn.judged(estimator),
        )

    return st.builds(question, compared(log_ratios), estimators)


def _divergences(logits: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Pair) -> Question:
        return Question(OPERATIONS["kl_divergence"], drawn.arrays, lambda **_: exact_divergences(drawn), **drawn.judged)

    return pairs(logits).map(question)


def loss_question(batch: Completions, estimator: str) -> Question:
    """The question to ``kl_loss`` about tokens."""
    return Question(
        OPERATIONS["kl_loss"],
        (batch.logp, batch.ref_logp, batch.old_logp, batch.mask, estimator),
        lambda **chosen: exact_loss(batch, estimator, **last_names(chosen)),
        **loss_terms(batch, estimator),
    )


def _losses(ratios: st.SearchStrategy[np.ndarray]) -> st.SearchStrategy[Question]:
    return st.builds(loss_question, completions(ratios=ratios), estimators)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "kl_estimate": _estimates(PLAIN_LOG_RATIOS if inputs.plain else LOG_RATIOS),
        "kl_divergence": _divergences(PLAIN_LOGITS if inputs.plain else FAR_LOGITS),
        "kl_loss": _losses(plain_ratios if inputs.plain else token_ratios),
    }
