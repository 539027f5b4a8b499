"""Questions about proximal policy optimisation."""

from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.clipping import (
    Predictions,
    Steps,
    Surrogates,
    exact_exp,
    exact_rows,
    predictions,
    steps,
    surrogates,
)
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.reference import ppo
from rlspec.spec.operations import OPERATIONS


def _about(name: str, arguments: tuple[Any, ...], judged: dict[str, Any], **fixed: Any) -> Question:
    """A question whose answer is the reference's to the same numbers in rationals."""

    def answer(**chosen: str) -> Any:
        exact = [_exact(argument) for argument in arguments]
        return getattr(ppo, name)(*exact, **fixed, **last_names(chosen))

    return Question(OPERATIONS[name], arguments, answer, **judged)


def _exact(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return argument.tolist() if argument.dtype == bool else exact_rows(argument)
    return None if argument is None else exactly(argument)


def _ppo_losses(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(batch: Surrogates) -> Question:
        return _about("ppo_loss", batch.arguments, batch.judged, exp=exact_exp)

    return surrogates(numbers=numbers, far=True).map(question)


def _value_losses() -> st.SearchStrategy[Question]:
    def question(batch: Predictions) -> Question:
        return _about("value_loss", batch.arguments, batch.judged)

    return predictions().map(question)


def _actor_critic_losses(plain: bool) -> st.SearchStrategy[Question]:
    def question(batch: Steps) -> Question:
        return _about("actor_critic_loss", batch.arguments, batch.judged)

    return steps(plain=plain).map(question)


def _approximate_kls() -> st.SearchStrategy[Question]:
    def question(batch: Surrogates) -> Question:
        return _about("approx_kl", batch.pairs, batch.kl_judged, exp=exact_exp)

    return surrogates().map(question)


def _clip_fractions(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(batch: Surrogates) -> Question:
        return _about(
            "clip_fraction", batch.for_fraction, {"magnitude": 1, "roundings": batch.count + 4}, exp=exact_exp
        )

    return surrogates(numbers=numbers).map(question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "ppo_loss": _ppo_losses(inputs.numbers),
        "value_loss": _value_losses(),
        "actor_critic_loss": _actor_critic_losses(inputs.plain),
        "approx_kl": _approximate_kls(),
        "clip_fraction": _clip_fractions(inputs.numbers),
    }
