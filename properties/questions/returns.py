"""Questions about returns."""

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.questions.question import Inputs, Question, about_rows
from rlspec.properties.strategies import Rollout, counts, reward_rows, rollouts
from rlspec.reference import returns


def _returns(name: str, numbers: np.ndarray, gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    function = getattr(returns, name)

    def question(rewards: np.ndarray, gamma: float) -> Question:
        magnitude = np.abs(rewards).sum(axis=1, keepdims=True)
        return about_rows(name, function, (rewards, gamma), magnitude, gamma)

    return st.builds(question, reward_rows(numbers=numbers), gammas)


def _n_steps(numbers: np.ndarray, gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float, n: int) -> Question:
        arguments = (*rollout.return_arrays, gamma, n)
        return about_rows("n_step_return", returns.n_step_return, arguments, rollout.return_magnitude, gamma)

    return st.builds(question, rollouts(numbers=numbers), gammas, counts)


def _lambda_returns(
    numbers: np.ndarray, gammas: st.SearchStrategy[float], lams: st.SearchStrategy[float]
) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float, lam: float) -> Question:
        arguments = (*rollout.return_arrays, gamma, lam)
        return about_rows("lambda_return", returns.lambda_return, arguments, rollout.return_magnitude, gamma * lam)

    return st.builds(question, rollouts(numbers=numbers), gammas, lams)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "discounted_return": _returns("discounted_return", inputs.numbers, inputs.gammas),
        "reward_to_go": _returns("reward_to_go", inputs.numbers, inputs.gammas),
        "n_step_return": _n_steps(inputs.numbers, inputs.gammas),
        "lambda_return": _lambda_returns(inputs.numbers, inputs.gammas, inputs.lams),
    }
