"""Questions about policy gradients."""

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.checking import exactly
from rlspec.properties.gaussians import GAUSSIAN_OPERATIONS, Gaussians, gaussians
from rlspec.properties.processes import Episodes, episodes
from rlspec.properties.questions.decision_process import about_tasks
from rlspec.properties.questions.question import PRECISION, Inputs, Question, balls, last_names, nearest
from rlspec.properties.strategies import FAR_LOGITS, PLAIN_LOGITS, Choices, ScoredBatch, choices, scored_batches
from rlspec.reference import policy_gradient as gradients
from rlspec.reference.policy_gradient import undiscounted_reward_to_go
from rlspec.spec.operations import OPERATIONS


def _policy_gradients(gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    def question(batch: Episodes) -> Question:
        def answer(**chosen: str) -> Any:
            return batch.answer(gradients.conventional_weights(**last_names(chosen)))

        return Question(
            OPERATIONS["policy_gradient"], batch.arguments, answer, **batch.judged(undiscounted_reward_to_go)
        )

    return episodes(gammas).map(question)


def _entropies(logits: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Choices) -> Question:
        return Question(OPERATIONS["entropy"], drawn.arrays, lambda **_: exact_entropy(drawn), **drawn.judged)

    return choices(logits).map(question)


def exact_entropy(drawn: Choices) -> tuple[list[Fraction], list[list[Fraction]]]:
    """The reference's entropies and their derivatives, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        rows = [
            gradients.entropy([arb(logit) for logit in logits], legal, arb.exp, arb.log)
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
        answers = [getattr(gradients, operation)(*row, functions=functions) for row in rows]
        values, *slopes = zip(*answers, strict=True)
        return [nearest(value) for value in values], *([[nearest(x) for x in row] for row in part] for part in slopes)


def _policy_gradient_losses(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(batch: ScoredBatch) -> Question:
        def answer(**chosen: str) -> Any:
            logp, advantage = (np.vectorize(exactly, otypes=[object])(array) for array in batch.arrays[:2])
            return gradients.policy_gradient_loss(logp, advantage, batch.mask.tolist(), **last_names(chosen))

        return Question(OPERATIONS["policy_gradient_loss"], batch.arrays, answer, **batch.judged)

    return scored_batches(numbers=numbers).map(question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    drawn = gaussians()
    of_gaussians = {operation: drawn.map(_about_gaussians(operation)) for operation in GAUSSIAN_OPERATIONS}
    return of_gaussians | {
        "exact_policy_gradient": about_tasks("exact_policy_gradient", inputs),
        "policy_gradient": _policy_gradients(inputs.gammas),
        "entropy": _entropies(PLAIN_LOGITS if inputs.plain else FAR_LOGITS),
        "policy_gradient_loss": _policy_gradient_losses(inputs.numbers),
    }
