"""One stream of questions for each operation: arguments, the exact answer, and how far rounding may take it.

What every operation owes its caller (spec/operations.md) is checked with these, and so is its precision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.reference import advantages, returns
from rlspec.spec.operations import OPERATIONS, Operation
from rlspec.properties.checking import exactly
from rlspec.properties.strategies import discounts, rescaling, reward_rows, rollouts, roundings


@dataclass(frozen=True)
class Question:
    """A call of an operation and what is known of its answer."""

    operation: Operation
    arguments: tuple[Any, ...]
    answer: Callable[..., Any]
    """The exact answer, as nested sequences of rationals, under the operation's conventions given by keyword."""
    magnitude: Any
    roundings: int

    @property
    def judged(self) -> dict[str, Any]:
        """The magnitude and roundings that ``agree`` wants."""
        return {"magnitude": self.magnitude, "roundings": self.roundings}


def row_by_row(function: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """The reference's answer in rationals to arguments [B, T] followed by scalars, one row after the other."""
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    scalars = [exactly(argument) for argument in arguments[len(arrays) :]]
    rows = zip(*arrays, strict=True)
    return [function(*([_plain(x) for x in part] for part in row), *scalars) for row in rows]


def _plain(value: Any) -> Any:
    return bool(value) if isinstance(value, np.bool_) else exactly(value)


def _rowwise(name: str, function: Callable[..., Any], arguments: tuple[Any, ...], magnitude: Any, decay: float) -> Question:
    steps = arguments[0].shape[1]
    scaled = magnitude * rescaling(decay, steps)
    scaled = scaled if "T" in OPERATIONS[name].result else scaled[:, 0]
    return Question(OPERATIONS[name], arguments, lambda: row_by_row(function, arguments), scaled, roundings(steps))


def _of_rewards(name: str, function: Callable[..., Any]) -> st.SearchStrategy[Question]:
    def question(rewards: Any, gamma: float) -> Question:
        magnitude = np.abs(rewards).sum(axis=1, keepdims=True)
        return _rowwise(name, function, (rewards, gamma), magnitude, gamma)

    return st.builds(question, reward_rows(), discounts)


QUESTIONS: dict[str, st.SearchStrategy[Question]] = {
    "discounted_return": _of_rewards("discounted_return", returns.discounted_return),
    "reward_to_go": _of_rewards("reward_to_go", returns.reward_to_go),
    "td_error": st.builds(
        lambda rollout, gamma: _rowwise(
            "td_error", advantages.td_error, (*rollout.td_arrays, gamma), rollout.magnitude, 1
        ),
        rollouts(),
        discounts,
    ),
    "gae": st.builds(
        lambda rollout, gamma, lam: _rowwise(
            "gae", advantages.gae, (*rollout.arrays, gamma, lam), rollout.magnitude, gamma * lam
        ),
        rollouts(),
        discounts,
        discounts,
    ),
}
