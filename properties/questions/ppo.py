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
from rlspec.properties.tokens import plain_ratios, token_ratios
from rlspec.reference import ppo
from rlspec.spec.operations import OPERATIONS

Ratios = st.SearchStrategy[np.ndarray]


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


def surrogate_question(batch: Surrogates) -> Question:
    """The question to `ppo_loss` about a batch."""
    return _about("ppo_loss", batch.arguments, batch.judged, exp=exact_exp)


def _ppo_losses(numbers: np.ndarray, ratios: Ratios) -> st.SearchStrategy[Question]:
    return surrogates(numbers, far=True, ratios=ratios).map(surrogate_question)


def _value_losses(plain: bool) -> st.SearchStrategy[Question]:
    def question(batch: Predictions) -> Question:
        return _about("value_loss", batch.arguments, batch.judged)

    return predictions(plain=plain).map(question)


def _actor_critic_losses(plain: bool) -> st.SearchStrategy[Question]:
    def question(batch: Steps) -> Question:
        return _about("actor_critic_loss", batch.arguments, batch.judged)

    return steps(plain=plain).map(question)


def _approximate_kls(ratios: Ratios) -> st.SearchStrategy[Question]:
    def question(batch: Surrogates) -> Question:
        return _about("approx_kl", batch.pairs, batch.kl_judged, exp=exact_exp)

    return surrogates(ratios=ratios).map(question)


def _clip_fractions(numbers: np.ndarray, ratios: Ratios) -> st.SearchStrategy[Question]:
    def question(batch: Surrogates) -> Question:
        return _about(
            "clip_fraction", batch.for_fraction, {"magnitude": 1, "roundings": batch.count + 4}, exp=exact_exp
        )

    return surrogates(numbers, ratios=ratios).map(question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    ratios = plain_ratios if inputs.plain else token_ratios
    return {
        "ppo_loss": _ppo_losses(inputs.numbers, ratios),
        "value_loss": _value_losses(inputs.plain),
        "actor_critic_loss": _actor_critic_losses(inputs.plain),
        "approx_kl": _approximate_kls(ratios),
        "clip_fraction": _clip_fractions(inputs.numbers, ratios),
    }
