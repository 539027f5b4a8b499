"""Questions about distillation."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.balls import PRECISION, balls, exponential_of, nearest
from rlspec.properties.distilling import Lesson, lessons
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import FAR_LOGITS, PLAIN_LOGITS
from rlspec.reference import distillation
from rlspec.spec.operations import OPERATIONS


def exact(operation: str, arguments: tuple[Any, ...], **chosen: str) -> Any:
    """The reference's answers, to hundreds of bits."""
    logits, teacher_logits, *rest = arguments
    function = getattr(distillation, operation)
    with ctx.workprec(PRECISION):
        numbers = [balls(number) if isinstance(number, float) else number for number in rest]
        rows = zip(balls(logits), balls(teacher_logits), strict=True)
        found = [function(*row, *numbers, **chosen, exp=exponential_of, log=logarithm_of) for row in rows]
        values, slopes = zip(*found, strict=True)
        return [nearest(value) for value in values], [[nearest(slope) for slope in row] for row in slopes]


def logarithm_of(number: Any) -> arb:
    """The logarithm of a ball, or of a number that is none."""
    return arb(number).log()


def _about(operation: str, lesson: Lesson, *rest: Any) -> Question:
    arguments = (*lesson.arrays, *rest)

    def answer(**chosen: str) -> Any:
        return exact(operation, arguments, **last_names(chosen))

    judged = lesson.judged_at(*rest) if operation == "distillation_divergence" else lesson.judged_at(0.5, 1.0)
    return Question(OPERATIONS[operation], arguments, answer, **judged)


def _divergences(logits: np.ndarray) -> st.SearchStrategy[Question]:
    betas, temperatures = st.sampled_from([0.0, 1.0, 0.5, 0.25, 0.9]), st.sampled_from([1.0, 2.0, 0.5])
    drawn = st.tuples(lessons(logits), betas, temperatures)
    return drawn.map(lambda drawn: _about("distillation_divergence", *drawn))


def _top(logits: np.ndarray) -> st.SearchStrategy[Question]:
    directions, tails = st.sampled_from(["forward", "reverse"]), st.sampled_from(["dropped", "bucket", "renormalized"])
    drawn = st.tuples(lessons(logits, distinct=True), st.integers(1, 4), directions, tails)

    def question(drawn: tuple[Lesson, int, str, str]) -> Question:
        lesson, k, direction, tail = drawn
        return _about("topk_divergence", lesson, min(k, lesson.logits.shape[1]), direction, tail)

    return drawn.map(question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    logits = PLAIN_LOGITS if inputs.plain else FAR_LOGITS
    return {"distillation_divergence": _divergences(logits), "topk_divergence": _top(logits)}
