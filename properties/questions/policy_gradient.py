"""Questions about policy gradients."""

from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.processes import Episodes, episodes
from rlspec.properties.questions.decision_process import about_tasks
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import ScoredBatch, scored_batches
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


def _policy_gradient_losses(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(batch: ScoredBatch) -> Question:
        def answer(**chosen: str) -> Any:
            logp, advantage = (np.vectorize(exactly, otypes=[object])(array) for array in batch.arrays[:2])
            return gradients.policy_gradient_loss(logp, advantage, batch.mask.tolist(), **last_names(chosen))

        return Question(OPERATIONS["policy_gradient_loss"], batch.arrays, answer, **batch.judged)

    return scored_batches(numbers=numbers).map(question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "exact_policy_gradient": about_tasks("exact_policy_gradient", inputs),
        "policy_gradient": _policy_gradients(inputs.gammas),
        "policy_gradient_loss": _policy_gradient_losses(inputs.numbers),
    }
