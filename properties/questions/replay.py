"""Questions about what is stored and given back."""

from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import ctx

from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.properties.checking import exactly
from rlspec.properties.questions.question import Inputs, Question, last_names, row_by_row
from rlspec.properties.storing import (
    NOT_ROUNDED,
    Drawn,
    Ends,
    Resetting,
    alphas,
    betas,
    burn_ins,
    capacities,
    drawn_slots,
    episode_ends,
    places,
    power_terms,
    priorities,
    resetting,
    window_terms,
)
from rlspec.properties.strategies import Rollout, counts, rollouts
from rlspec.reference import replay
from rlspec.spec.operations import OPERATIONS


def _windows(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, capacity: int, gamma: float, n: int) -> Question:
        arguments = (*rollout.return_arrays, capacity, gamma, n)
        answer = partial(row_by_row, replay.replayed_targets, arguments)
        return Question(OPERATIONS["replayed_targets"], arguments, lambda **_: answer(), **window_terms(rollout, gamma))

    return st.builds(question, rollouts(numbers=inputs.numbers), capacities, inputs.gammas, counts)


def _in_balls(function: Any, *arguments: Any, **chosen: Any) -> Any:
    with ctx.workprec(PRECISION):
        return list(map(nearest, function(*arguments, **chosen)))


def _probabilities() -> st.SearchStrategy[Question]:
    def question(known: np.ndarray, alpha: float) -> Question:
        def answer(**chosen: str) -> Any:
            return _in_balls(replay.sampling_probabilities, balls(known), balls(alpha), **last_names(chosen))

        operation = OPERATIONS["sampling_probabilities"]
        return Question(operation, (known, alpha), answer, **power_terms(alpha, len(known)))

    return st.builds(question, priorities(), alphas)


def _weights() -> st.SearchStrategy[Question]:
    def question(drawn: Drawn, beta: float) -> Question:
        def answer(**chosen: str) -> Any:
            known = balls(drawn.probabilities), drawn.sampled.tolist(), balls(beta)
            return _in_balls(replay.priority_weights, *known, **last_names(chosen))

        arguments = drawn.probabilities, drawn.sampled, beta
        return Question(OPERATIONS["priority_weights"], arguments, answer, **drawn.judged)

    return st.builds(question, drawn_slots(), betas)


def _slots() -> st.SearchStrategy[Question]:
    def question(drawn: tuple[np.ndarray, np.ndarray]) -> Question:
        def answer(**chosen: str) -> Any:
            known, uniforms = (list(map(exactly, array)) for array in drawn)
            return replay.sampled_slots(known, uniforms, **last_names(chosen))

        return Question(OPERATIONS["sampled_slots"], drawn, answer, **NOT_ROUNDED)

    return places().map(question)


def _sequences() -> st.SearchStrategy[Question]:
    def question(ends: Ends, burn_in: int) -> Question:
        arguments = ends.terminated, ends.truncated, burn_in

        def answer(**chosen: str) -> Any:
            function: Any = replay.sequence_masks
            rows = row_by_row(partial(function, **last_names(chosen)), arguments)
            return tuple(map(list, zip(*rows, strict=True)))

        return Question(OPERATIONS["sequence_masks"], arguments, answer, **NOT_ROUNDED)

    return st.builds(question, episode_ends(), burn_ins)


def _resets(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Resetting) -> Question:
        *arrays, mode = drawn.arguments

        def answer(**_: str) -> Any:
            rows = row_by_row(partial(replay.autoreset_transitions, mode=mode), tuple(arrays))
            return tuple(map(list, zip(*rows, strict=True)))

        return Question(OPERATIONS["autoreset_transitions"], drawn.arguments, answer, **drawn.judged)

    return resetting(inputs.numbers).map(question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "replayed_targets": _windows(inputs),
        "sampling_probabilities": _probabilities(),
        "priority_weights": _weights(),
        "sampled_slots": _slots(),
        "sequence_masks": _sequences(),
        "autoreset_transitions": _resets(inputs),
    }
