"""Questions about distributions over actions."""

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.properties.gaussians import GAUSSIAN_OPERATIONS, Gaussians, gaussians
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import FAR_LOGITS, PLAIN_LOGITS, Choices, choices
from rlspec.reference import distributions
from rlspec.spec.operations import OPERATIONS


def _entropies(logits: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Choices) -> Question:
        return Question(OPERATIONS["entropy"], drawn.arrays, lambda **_: exact_entropy(drawn), **drawn.judged)

    return choices(logits).map(question)


def exact_entropy(drawn: Choices) -> tuple[list[Fraction], list[list[Fraction]]]:
    """The reference's entropies and their derivatives, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        rows = [
            distributions.entropy([arb(logit) for logit in logits], legal, arb.exp, arb.log)
            for logits, legal in zip(drawn.logits.tolist(), drawn.legal.tolist(), strict=True)
        ]
        return [nearest(value) for value, _ in rows], [[nearest(slope) for slope in slopes] for _, slopes in rows]


temperatures = st.sampled_from([1.0, 0.5, 2.0, 0.25, 0.7, 1.3])


def _tempered(logits: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Choices, temperature: float) -> Question:
        arguments = drawn.logits, temperature

        def answer(**_: str) -> Any:
            with ctx.workprec(PRECISION):
                rows = [
                    distributions.tempered_entropy(balls(row), arb(temperature), arb.exp, arb.log)
                    for row in drawn.logits.tolist()
                ]
                return [nearest(value) for value, _ in rows], [[nearest(x) for x in slopes] for _, slopes in rows]

        return Question(OPERATIONS["tempered_entropy"], arguments, answer, **judged_at(drawn, temperature))

    return st.builds(question, choices(logits), temperatures)


def judged_at(drawn: Choices, temperature: float) -> dict[str, Any]:
    """How far rounding may take entropies at a temperature, and their derivatives, which are divided by it."""
    tempered = drawn.but(logits=drawn.logits / temperature, legal=np.ones_like(drawn.legal)).judged
    return {"magnitude": tempered["magnitude"] * max(1, 1 / temperature), "roundings": tempered["roundings"] + 4}


def _about_gaussians(operation: str) -> Callable[[Gaussians], Question]:
    def question(drawn: Gaussians) -> Question:
        arguments = drawn.arguments(operation)
        return Question(
            OPERATIONS[operation],
            arguments,
            lambda **chosen: exact_gaussian(operation, arguments, **last_names(chosen)),
            **drawn.judged(operation),
        )

    return question


def exact_gaussian(operation: str, arguments: tuple[np.ndarray, ...], **chosen: str) -> tuple[list[Any], ...]:
    """The reference's values and their derivatives, row by row and to hundreds of bits."""
    with ctx.workprec(PRECISION):
        functions = SimpleNamespace(exp=arb.exp, log=lambda x: arb(x).log(), tanh=arb.tanh, pi=arb.pi())
        rows = zip(*(np.broadcast_to(argument, arguments[0].shape).tolist() for argument in arguments), strict=True)
        answers = [getattr(distributions, operation)(*map(balls, row), **chosen, functions=functions) for row in rows]
        values, *slopes = zip(*answers, strict=True)
        return [nearest(value) for value in values], *([[nearest(x) for x in row] for row in part] for part in slopes)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    drawn = gaussians()
    of_gaussians = {operation: drawn.map(_about_gaussians(operation)) for operation in GAUSSIAN_OPERATIONS}
    logits = PLAIN_LOGITS if inputs.plain else FAR_LOGITS
    return of_gaussians | {"entropy": _entropies(logits), "tempered_entropy": _tempered(logits)}
