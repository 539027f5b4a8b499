"""One stream of questions for each operation: arguments, the exact answer, and how far rounding may take it.

What every operation owes its caller (spec/operations.md) is checked with these, and so is its precision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx

from rlspec.properties.checking import exactly
from rlspec.properties.processes import Episodes, Task, episodes, tasks, weights
from rlspec.properties.strategies import (
    FAR_LOGITS,
    LOGITS,
    NUMBERS,
    PLAIN,
    Batch,
    Choices,
    Rollout,
    ScoredBatch,
    batches,
    choices,
    clips,
    counts,
    discounts,
    discounts_near_one,
    lone_advantages,
    mixing_near_one,
    normalized_terms,
    off_policy_terms,
    rescaling,
    reward_rows,
    rollouts,
    roundings,
    scored_batches,
)
from rlspec.reference import advantages, returns
from rlspec.reference import policy_gradient as gradients
from rlspec.reference.policy_gradient import undiscounted_reward_to_go
from rlspec.spec.operations import OPERATIONS, Operation


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
    scalars = [argument if isinstance(argument, int) else exactly(argument) for argument in arguments[len(arrays) :]]
    rows = zip(*arrays, strict=True)
    return [function(*([_plain(x) for x in part] for part in row), *scalars) for row in rows]


def _plain(value: Any) -> Any:
    return bool(value) if isinstance(value, np.bool_) else exactly(value)


def _rowwise(
    name: str, function: Callable[..., Any], arguments: tuple[Any, ...], magnitude: Any, decay: float
) -> Question:
    steps = arguments[0].shape[1]
    scaled = magnitude * rescaling(decay, steps)
    scaled = scaled if "T" in OPERATIONS[name].result else scaled[:, 0]
    return Question(OPERATIONS[name], arguments, lambda **_: row_by_row(function, arguments), scaled, roundings(steps))


def _returns(name: str, numbers: np.ndarray, gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    function = getattr(returns, name)

    def question(rewards: np.ndarray, gamma: float) -> Question:
        magnitude = np.abs(rewards).sum(axis=1, keepdims=True)
        return _rowwise(name, function, (rewards, gamma), magnitude, gamma)

    return st.builds(question, reward_rows(numbers=numbers), gammas)


def _n_steps(numbers: np.ndarray, gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float, n: int) -> Question:
        arguments = (*rollout.return_arrays, gamma, n)
        return _rowwise("n_step_return", returns.n_step_return, arguments, rollout.return_magnitude, gamma)

    return st.builds(question, rollouts(numbers=numbers), gammas, counts)


def _lambda_returns(
    numbers: np.ndarray, gammas: st.SearchStrategy[float], lams: st.SearchStrategy[float]
) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float, lam: float) -> Question:
        arguments = (*rollout.return_arrays, gamma, lam)
        return _rowwise("lambda_return", returns.lambda_return, arguments, rollout.return_magnitude, gamma * lam)

    return st.builds(question, rollouts(numbers=numbers), gammas, lams)


def _td_errors(numbers: np.ndarray, gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float) -> Question:
        return _rowwise("td_error", advantages.td_error, (*rollout.td_arrays, gamma), rollout.magnitude, 1)

    return st.builds(question, rollouts(numbers=numbers), gammas)


def _gaes(numbers: np.ndarray, gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float, lam: float) -> Question:
        arguments = (*rollout.arrays, gamma, lam)
        return _rowwise("gae", advantages.gae, arguments, rollout.magnitude, gamma * lam)

    return st.builds(question, rollouts(numbers=numbers), gammas, gammas)


def _about_tasks(name: str, **options: Any) -> st.SearchStrategy[Question]:
    def question(task: Task) -> Question:
        return Question(OPERATIONS[name], task.arguments(name), lambda **_: task.answer(name), **task.judged(name))

    return tasks(full=name == "exact_policy_gradient", **options).map(question)


def _policy_gradients(gammas: st.SearchStrategy[float]) -> st.SearchStrategy[Question]:
    def question(batch: Episodes) -> Question:
        def answer(**chosen: str) -> Any:
            return batch.answer(weights(chosen["policy_gradient.discounting"], chosen["policy_gradient.credit"]))

        return Question(
            OPERATIONS["policy_gradient"], batch.arguments, answer, **batch.judged(undiscounted_reward_to_go)
        )

    return episodes(gammas).map(question)


def _vtraces(
    numbers: np.ndarray, gammas: st.SearchStrategy[float], lams: st.SearchStrategy[float]
) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float, lam: float, rho_clip: float, c_clip: float) -> Question:
        scalars = (gamma, lam, rho_clip, c_clip)

        def answer(**chosen: str) -> tuple[list[Any], list[Any]]:
            function = partial(advantages.vtrace, **_last_names(chosen))
            targets, advantage = zip(*row_by_row(function, (*rollout.arrays, rollout.ratio, *scalars)), strict=True)
            return list(targets), list(advantage)

        arguments = (*rollout.off_policy_arrays, *scalars)
        return Question(OPERATIONS["vtrace"], arguments, answer, **off_policy_terms(rollout, rho_clip, c_clip))

    return st.builds(question, rollouts(numbers=numbers, off_policy=True), gammas, lams, clips, clips)


def _last_names(chosen: dict[str, str]) -> dict[str, str]:
    """Choices by their conventions' names within the operation."""
    return {name.rpartition(".")[2]: choice for name, choice in chosen.items()}


def _normalizations(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(batch: Batch) -> Question:
        def answer(**chosen: str) -> np.ndarray:
            entries = [exactly(number) for number in batch.advantages.ravel()], batch.mask.ravel().tolist()
            flat = advantages.normalize_advantages(*entries, **_last_names(chosen))
            return np.array(flat, dtype=object).reshape(batch.mask.shape)

        terms = normalized_terms(batch, batch.spread)
        return Question(OPERATIONS["normalize_advantages"], batch.arrays, answer, **terms)

    return st.builds(question, batches(numbers=numbers, fewest=0) | lone_advantages(numbers=numbers))


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


PRECISION = 300
"""Bits of the numbers that stand for irrational ones."""


def nearest(number: Any) -> Fraction:
    """The midpoint of a ball, which is exact to hundreds of bits."""
    mantissa, exponent = arb(number).mid().man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def _policy_gradient_losses(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(batch: ScoredBatch) -> Question:
        def answer(**chosen: str) -> Any:
            logp, advantage = (np.vectorize(exactly, otypes=[object])(array) for array in batch.arrays[:2])
            return gradients.policy_gradient_loss(logp, advantage, batch.mask.tolist(), **_last_names(chosen))

        return Question(OPERATIONS["policy_gradient_loss"], batch.arrays, answer, **batch.judged)

    return scored_batches(numbers=numbers).map(question)


def _questions(
    numbers: np.ndarray, gammas: st.SearchStrategy[float], lams: st.SearchStrategy[float], **processes: Any
) -> dict[str, st.SearchStrategy[Question]]:
    about_tasks = ("expected_return", "state_values", "action_values", "occupancy", "exact_policy_gradient")
    return {
        "discounted_return": _returns("discounted_return", numbers, gammas),
        "reward_to_go": _returns("reward_to_go", numbers, gammas),
        "n_step_return": _n_steps(numbers, gammas),
        "lambda_return": _lambda_returns(numbers, gammas, lams),
        "td_error": _td_errors(numbers, gammas),
        "gae": _gaes(numbers, gammas),
        "vtrace": _vtraces(numbers, gammas, lams),
        "normalize_advantages": _normalizations(numbers),
        **{name: _about_tasks(name, gammas=gammas, **processes) for name in about_tasks},
        "policy_gradient": _policy_gradients(gammas),
        "entropy": _entropies(LOGITS if numbers is PLAIN else FAR_LOGITS),
        "policy_gradient_loss": _policy_gradient_losses(numbers),
    }


QUESTIONS = _questions(NUMBERS, discounts, discounts)
"""Any question of an operation."""

PLAIN_QUESTIONS = _questions(PLAIN, discounts_near_one, mixing_near_one, infinite=False)
"""Questions whose answers are far from zero compared with float32's rounding, so that a mistake is not taken for it."""
