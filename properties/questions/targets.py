"""Questions about targets."""

from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import ctx

from rlspec.properties.balls import PRECISION, balls, exponential_of, nearest
from rlspec.properties.checking import exactly
from rlspec.properties.questions.question import Inputs, Question, about_rows, last_names
from rlspec.properties.strategies import LOG_PROBABILITIES, Rollout, rollouts, windows
from rlspec.properties.transitions import (
    ONE_STEP,
    WITH_TRACES,
    Distributions,
    Traces,
    Transitions,
    alphas,
    bounds,
    deltas,
    distributions,
    huber_terms,
    log_alphas,
    logged,
    lowests,
    munchausen_terms,
    noise_clips,
    pairs_of_rows,
    quantile_terms,
    shares_of_logs,
    target_entropies,
    temperatures,
    traces,
    transitions,
)
from rlspec.reference import targets
from rlspec.spec.operations import OPERATIONS


def _exact(argument: Any) -> Any:
    """Floats as rationals, in nested lists; flags and indices as they are."""
    if argument is None:
        return None
    if not isinstance(argument, np.ndarray):
        return exactly(argument)
    if argument.dtype.kind != "f":
        return argument.tolist()
    return np.vectorize(exactly, otypes=[object])(argument).tolist()


def _row_by_row(operation: str, arguments: tuple[Any, ...], several: int = 1, **chosen: str) -> Any:
    """The reference's answer to arrays of rows followed by scalars, one row after the other."""
    function = partial(getattr(targets, operation), **last_names(chosen))
    arrays = [_exact(argument) for argument in arguments if isinstance(argument, np.ndarray)]
    scalars = [_exact(argument) for argument in arguments[len(arrays) :]]
    answers = [function(*row, *scalars) for row in zip(*arrays, strict=True)]
    return tuple(map(list, zip(*answers, strict=True))) if several > 1 else answers


def _about(operation: str, arguments: tuple[Any, ...], judged: dict[str, Any]) -> Question:
    several = len(OPERATIONS[operation].results)
    answer = partial(_named, operation, arguments, several)
    return Question(OPERATIONS[operation], arguments, answer, **judged)


def _named(operation: str, arguments: tuple[Any, ...], several: int, **chosen: str) -> Any:
    return _row_by_row(operation, arguments, several, **chosen)


def _one_step(operation: str, inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Transitions, alpha: float, gamma: float) -> Question:
        scalars = (alpha, gamma) if operation == "soft_target" else (gamma,)
        return _about(operation, (*drawn.arguments(operation), *scalars), drawn.judged(operation, alpha))

    return st.builds(question, transitions(inputs.numbers), alphas, inputs.gammas)


def _windows(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(rollout: Rollout, gamma: float) -> Question:
        arguments = (*rollout.return_arrays, gamma)
        return about_rows("n_step_target", targets.n_step_target, arguments, rollout.return_magnitude, gamma)

    return st.builds(question, rollouts(numbers=inputs.numbers), inputs.gammas)


def _with_traces(operation: str, inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Traces, gamma: float, lam: float) -> Question:
        arguments = (*drawn.arguments(operation), gamma, lam)
        exact = drawn.arguments(operation)[:-1]
        last = {"retrace": drawn.rollout.ratio}.get(operation, drawn.arguments(operation)[-1])
        answer = partial(_named, operation, (*exact, last, gamma, lam), 1)
        return Question(OPERATIONS[operation], arguments, answer, **drawn.judged)

    return st.builds(question, traces(inputs.numbers), inputs.gammas, inputs.lams)


def _smoothed(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(pair: tuple[np.ndarray, np.ndarray], clip: float, within: tuple[float, float]) -> Question:
        actions, noise = pair
        judged = {"magnitude": np.abs(actions) + np.minimum(np.abs(noise), clip) + 3, "roundings": 4}
        return _about("smoothed_actions", (actions, noise, clip, *within), judged)

    return st.builds(question, pairs_of_rows(inputs.numbers), noise_clips, bounds)


def _munchausen(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(pair: tuple[np.ndarray, np.ndarray], alpha: float, tau: float, lowest: float | None) -> Question:
        return _about("munchausen_rewards", (*pair, alpha, tau, lowest), munchausen_terms(pair, alpha, tau))

    return st.builds(question, logged(inputs.numbers), shares_of_logs, temperatures, lowests)


def _huber(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(pair: tuple[np.ndarray, np.ndarray], delta: float) -> Question:
        values, aims = (table[:, 0] for table in pair)
        return _about("huber_loss", (values, aims, delta), huber_terms(values, aims, delta))

    return st.builds(question, pairs_of_rows(inputs.numbers), deltas)


def _quantiles(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(pair: tuple[np.ndarray, np.ndarray], delta: float) -> Question:
        return _about("quantile_huber_loss", (*pair, delta), per_quantile(pair, delta))

    return st.builds(question, pairs_of_rows(inputs.numbers), deltas)


def per_quantile(pair: tuple[np.ndarray, np.ndarray], delta: float) -> dict[str, Any]:
    """How far rounding may take a row's loss, and, since a derivative is a part of it, the largest row's."""
    terms = quantile_terms(*pair, delta)
    return {"magnitude": float(terms["magnitude"].max()), "roundings": terms["roundings"]}


def _projections(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Distributions) -> Question:
        return _about("categorical_projection", drawn.arguments, drawn.judged)

    return distributions(inputs.gammas, inputs.numbers).map(question)


def temperature_terms(logp: np.ndarray, log_alpha: float, target_entropy: float) -> dict[str, Any]:
    """How far rounding may take the temperature's loss: a mean of sums, times a logarithm or its exponential."""
    size = float(np.abs(logp).mean()) + abs(target_entropy)
    return {"magnitude": size * max(1.0, abs(log_alpha), float(np.exp(log_alpha))), "roundings": len(logp) + 12}


@st.composite
def logs(draw: st.DrawFn) -> np.ndarray:
    """Log-probabilities [B]."""
    table = draw(windows(1))
    return LOG_PROBABILITIES[table[:, 0, 0] % len(LOG_PROBABILITIES)]


def _temperatures() -> st.SearchStrategy[Question]:
    def question(logp: np.ndarray, log_alpha: float, target_entropy: float) -> Question:
        arguments = logp, log_alpha, target_entropy
        answer = partial(exact_temperature, arguments)
        return Question(OPERATIONS["temperature_loss"], arguments, answer, **temperature_terms(*arguments))

    return st.builds(question, logs(), log_alphas, target_entropies)


def exact_temperature(arguments: tuple[Any, ...], **chosen: str) -> Any:
    """The reference's loss and derivatives, to hundreds of bits."""
    function = partial(targets.temperature_loss, form=last_names(chosen).get("form", "log_alpha"), exp=exponential_of)
    with ctx.workprec(PRECISION):
        loss, slope, held = function(*map(balls, arguments))
        return nearest(loss), nearest(slope), [nearest(number) for number in held]


def _duelings(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(pair: tuple[np.ndarray, np.ndarray]) -> Question:
        values, advantages = pair[0][:, 0], pair[1]
        return _about("dueling", (values, advantages), dueling_terms(values, advantages))

    return pairs_of_rows(inputs.numbers).map(question)


def dueling_terms(values: np.ndarray, advantages: np.ndarray) -> dict[str, Any]:
    """How far rounding may take an action value: a value, an advantage, and a mean of all."""
    size = np.abs(values)[:, None] + 2 * np.abs(advantages).sum(axis=1, keepdims=True)
    return {"magnitude": size, "roundings": advantages.shape[1] + 8}


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        **{operation: _one_step(operation, inputs) for operation in ONE_STEP},
        **{operation: _with_traces(operation, inputs) for operation in WITH_TRACES},
        "n_step_target": _windows(inputs),
        "munchausen_rewards": _munchausen(inputs),
        "smoothed_actions": _smoothed(inputs),
        "huber_loss": _huber(inputs),
        "temperature_loss": _temperatures(),
        "categorical_projection": _projections(inputs),
        "quantile_huber_loss": _quantiles(inputs),
        "dueling": _duelings(inputs),
    }
