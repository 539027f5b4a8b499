"""Questions about agents."""

from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.teaming import Choice, Team, Together, choices, teams, together, whose
from rlspec.reference import agents
from rlspec.spec.operations import OPERATIONS

rationals = np.vectorize(exactly, otypes=[object])


def _exact(argument: Any) -> Any:
    """Floats as rationals, in nested lists; flags, indices and names as they are."""
    if not isinstance(argument, np.ndarray):
        return exactly(argument) if isinstance(argument, float) else argument
    return rationals(argument).tolist() if argument.dtype.kind == "f" else argument.tolist()


def _about(operation: str, arguments: tuple[Any, ...], judged: dict[str, Any]) -> Question:
    def answer(**chosen: str) -> Any:
        function = partial(getattr(agents, operation), **last_names(chosen))
        tables = [_exact(argument) for argument in arguments if isinstance(argument, np.ndarray)]
        scalars = [_exact(argument) for argument in arguments[len(tables) :]]
        return [function(*row, *scalars) for row in zip(*tables, strict=True)]

    return Question(OPERATIONS[operation], arguments, answer, **judged)


def _advantages(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(team: Team, gamma: float, lam: float, credit: str) -> Question:
        return _about("agents_gae", (*team, gamma, lam, credit), team.judged(gamma * lam))

    return st.builds(question, teams(numbers=inputs.numbers), inputs.gammas, inputs.lams, whose)


def _counterfactuals(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Choice) -> Question:
        return _about("counterfactual_advantages", drawn.arguments, drawn.judged)

    return choices(inputs.numbers).map(question)


def _sums(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Together, gamma: float) -> Question:
        return _about("vdn_target", (*drawn.arrays, gamma), drawn.judged)

    return st.builds(question, together(numbers=inputs.numbers), inputs.gammas)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "agents_gae": _advantages(inputs),
        "counterfactual_advantages": _counterfactuals(inputs),
        "vdn_target": _sums(inputs),
    }
