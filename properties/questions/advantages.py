"""Questions about advantages."""

from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.questions.question import Inputs, Question, about_rows, last_names, row_by_row
from rlspec.properties.strategies import (
    Batch,
    Rollout,
    batches,
    clips,
    lone_advantages,
    normalized_terms,
    off_policy_terms,
    rollouts,
    trace_clips,
)
from rlspec.reference import advantages
from rlspec.spec.operations import OPERATIONS


def _td_errors(numbers: np.ndarray, gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float) -> Question:
        return about_rows("td_error", advantages.td_error, (*rollout.td_arrays, gamma), rollout.magnitude, 1)

    return st.builds(question, rollouts(numbers=numbers), gammas)


def _gaes(
    numbers: np.ndarray, gammas: st.SearchStrategy[float], lams: st.SearchStrategy[float]
) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float, lam: float) -> Question:
        arguments = (*rollout.arrays, gamma, lam)
        return about_rows("gae", advantages.gae, arguments, rollout.magnitude, gamma * lam)

    return st.builds(question, rollouts(numbers=numbers), gammas, lams)


def _vtraces(
    numbers: np.ndarray, gammas: st.SearchStrategy[float], lams: st.SearchStrategy[float]
) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float, lam: float, rho_clip: float, c_clip: float) -> Question:
        scalars = (gamma, lam, rho_clip, c_clip)

        def answer(**chosen: str) -> tuple[list[Any], list[Any]]:
            function = partial(advantages.vtrace, **last_names(chosen))
            targets, advantage = zip(*row_by_row(function, (*rollout.arrays, rollout.ratio, *scalars)), strict=True)
            return list(targets), list(advantage)

        arguments = (*rollout.off_policy_arrays, *scalars)
        return Question(OPERATIONS["vtrace"], arguments, answer, **off_policy_terms(rollout, rho_clip, c_clip))

    return st.builds(question, rollouts(numbers=numbers, off_policy=True), gammas, lams, clips, trace_clips)


def normalization_question(batch: Batch) -> Question:
    """The question to ``normalize_advantages`` about a batch."""

    def answer(**chosen: str) -> np.ndarray:
        entries = [exactly(number) for number in batch.advantages.ravel()], batch.mask.ravel().tolist()
        flat = advantages.normalize_advantages(*entries, **last_names(chosen))
        return np.array(flat, dtype=object).reshape(batch.mask.shape)

    terms = normalized_terms(batch, batch.spread)
    return Question(OPERATIONS["normalize_advantages"], batch.arrays, answer, **terms)


def _normalizations(inputs: Inputs) -> st.SearchStrategy[Question]:
    drawn = batches(inputs.numbers, 0, inputs.sizes) | lone_advantages(inputs.numbers)
    return drawn.map(normalization_question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "td_error": _td_errors(inputs.numbers, inputs.gammas),
        "gae": _gaes(inputs.numbers, inputs.gammas, inputs.lams),
        "vtrace": _vtraces(inputs.numbers, inputs.gammas, inputs.lams),
        "normalize_advantages": _normalizations(inputs),
    }
