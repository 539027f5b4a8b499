"""Questions about preferences."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.properties.checking import exactly
from rlspec.properties.preferences import FAR_LOGPS, LOGPS, LOSSES, POLYNOMIALS, Preferences, preferences
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.tokens import Completions, completions
from rlspec.reference import preference
from rlspec.spec.operations import OPERATIONS


def _of_tokens(batch: Completions) -> Question:
    def answer(**_: str) -> list[Fraction]:
        rows = zip(batch.logp.tolist(), batch.mask.tolist(), strict=True)
        return [preference.completion_logp(list(map(Fraction, logp)), mask) for logp, mask in rows]

    counted = np.abs(np.where(batch.mask, batch.logp, 0)).sum(axis=1)
    return Question(OPERATIONS["completion_logp"], (batch.logp, batch.mask), answer, counted, batch.mask.shape[1])


def _about(loss: str) -> Callable[[Preferences], Question]:
    def question(batch: Preferences) -> Question:
        arguments = batch.arguments(loss)

        def answer(**chosen: str) -> Any:
            return exact_loss(loss, arguments, **last_names(chosen))

        return Question(OPERATIONS[loss], arguments, answer, **batch.judged(loss))

    return question


def exact_loss(loss: str, arguments: tuple[Any, ...], **chosen: str) -> tuple[Any, ...]:
    """The reference's loss and derivatives under the chosen conventions, to hundreds of bits."""
    functions = {} if loss in POLYNOMIALS else {"functions": arb}
    with ctx.workprec(PRECISION):
        value, *slopes = getattr(preference, loss)(*map(balls, arguments), **chosen, **functions)
        return _nearest(value), *([_nearest(slope) for slope in column] for column in slopes)


def _nearest(number: Any) -> Fraction:
    return nearest(number) if isinstance(number, arb) else exactly(number)


def _plain() -> st.SearchStrategy[Preferences]:
    """Ordinary batches, and such as everybody knows: every pair counts, and there is no smoothing."""
    known_to_all = preferences(LOGPS, plain=True, all_valid=True).map(lambda batch: batch.but(label_smoothing=0.0))
    return preferences(LOGPS, plain=True) | known_to_all


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    batches = _plain() if inputs.plain else preferences()
    far = batches if inputs.plain else st.one_of(batches, preferences(FAR_LOGPS))
    losses = {loss: far.map(_about(loss)) for loss in LOSSES}
    return {"completion_logp": completions().map(_of_tokens)} | losses
