"""Questions about statistics."""

from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.running import (
    Counted,
    Fading,
    Scaled,
    bins,
    clips,
    counted,
    epsilons,
    fading,
    moments_terms,
    observed,
    popart_terms,
    popped,
    scaled,
    some_values,
    two_hot_terms,
)
from rlspec.reference import statistics
from rlspec.spec.operations import OPERATIONS


def _found(answer: Any) -> Any:
    """Balls as rationals, in nested lists."""
    if isinstance(answer, list | tuple):
        return type(answer)(map(_found, answer))
    return nearest(answer)


def _about(operation: str, arguments: tuple[Any, ...], judged: dict[str, Any], **functions: Any) -> Question:
    function = partial(getattr(statistics, operation), **functions)

    def answer(**chosen: str) -> Any:
        with ctx.workprec(PRECISION):
            return _found(function(*map(balls, arguments), **last_names(chosen)))

    return Question(OPERATIONS[operation], arguments, answer, **judged)


def _about_each(operation: str, arguments: tuple[Any, ...], judged: dict[str, Any], **functions: Any) -> Question:
    """The same for a function of one number, of those of the first argument one after the other."""
    function = partial(getattr(statistics, operation), **functions)

    def answer(**chosen: str) -> Any:
        with ctx.workprec(PRECISION):
            values, *others = map(balls, arguments)
            return [_found(function(value, *others, **last_names(chosen))) for value in values]

    return Question(OPERATIONS[operation], arguments, answer, **judged)


def _moments(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Counted) -> Question:
        return _about("running_moments", drawn.arguments, moments_terms(drawn))

    return counted(inputs.numbers).map(question)


def _fading(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Fading) -> Question:
        return _about("fading_moments", drawn.arguments, drawn.judged)

    return fading(inputs.numbers).map(question)


def _normalizations(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Counted, eps: float, clip: float) -> Question:
        arguments = drawn.batch, drawn.mean, drawn.variance, eps, clip
        return _about("normalize_observations", arguments, observed(drawn, eps))

    return st.builds(question, counted(inputs.numbers, small=True), epsilons, clips)


def _scaled_rewards(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Scaled) -> Question:
        return _about("scaled_rewards", drawn.arguments, drawn.judged)

    return scaled(inputs.gammas).map(question)


def _popart(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(arguments: tuple[Any, ...]) -> Question:
        return _about("popart", arguments, popart_terms(arguments))

    return popped(inputs.numbers).map(question)


def _log1p(number: Any) -> Any:
    return (1 + arb(number)).log()


def _expm1(number: Any) -> Any:
    return arb(number).exp() - 1


def _squashed(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(values: np.ndarray) -> Question:
        judged = {"magnitude": 1 + np.log1p(np.abs(values)), "roundings": 8}
        return _about_each("symlog", (values,), judged, log1p=_log1p)

    return some_values(inputs.numbers).map(question)


def _stretched(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(values: np.ndarray) -> Question:
        judged = {"magnitude": np.exp(np.abs(values)) * (1 + np.abs(values)), "roundings": 8}
        return _about_each("symexp", (values,), judged, expm1=_expm1)

    small = inputs.numbers[np.abs(inputs.numbers) <= 10]
    return some_values(small).map(question)


def _two_hots(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(values: np.ndarray, edges: tuple[float, ...]) -> Question:
        return _about_each("two_hot", (values, np.array(edges)), two_hot_terms(values, edges))

    return st.builds(question, some_values(inputs.numbers), bins)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "running_moments": _moments(inputs),
        "fading_moments": _fading(inputs),
        "normalize_observations": _normalizations(inputs),
        "scaled_rewards": _scaled_rewards(inputs),
        "popart": _popart(inputs),
        "symlog": _squashed(inputs),
        "symexp": _stretched(inputs),
        "two_hot": _two_hots(inputs),
    }
