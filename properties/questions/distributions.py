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
from rlspec.properties.questions.question import Inputs, Question
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


def _about_gaussians(operation: str) -> Callable[[Gaussians], Question]:
    def question(drawn: Gaussians) -> Question:
        arguments = drawn.arguments(operation)
        return Question(
            OPERATIONS[operation],
            arguments,
            lambda **_: exact_gaussian(operation, arguments),
            **drawn.judged(operation),
        )

    return question


def exact_gaussian(operation: str, arguments: tuple[np.ndarray, ...]) -> tuple[list[Any], ...]:
    """The reference's values and their derivatives, row by row and to hundreds of bits."""
    with ctx.workprec(PRECISION):
        functions = SimpleNamespace(exp=arb.exp, log=lambda x: arb(x).log(), tanh=arb.tanh, pi=arb.pi())
        rows = zip(*map(balls, arguments), strict=True)
        answers = [getattr(distributions, operation)(*row, functions=functions) for row in rows]
        values, *slopes = zip(*answers, strict=True)
        return [nearest(value) for value in values], *([[nearest(x) for x in row] for row in part] for part in slopes)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    drawn = gaussians()
    of_gaussians = {operation: drawn.map(_about_gaussians(operation)) for operation in GAUSSIAN_OPERATIONS}
    return of_gaussians | {"entropy": _entropies(PLAIN_LOGITS if inputs.plain else FAR_LOGITS)}
