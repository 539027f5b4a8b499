"""Questions about decision processes."""

import hypothesis.strategies as st

from rlspec.properties.processes import Task, tasks
from rlspec.properties.questions.question import Inputs, Question
from rlspec.spec.operations import OPERATIONS


def about_tasks(name: str, inputs: Inputs) -> st.SearchStrategy[Question]:
    """Questions to an operation whose answer the reference computes from a process and a policy."""

    def question(task: Task) -> Question:
        return Question(OPERATIONS[name], task.arguments(name), lambda **_: task.answer(name), **task.judged(name))

    return tasks(full=name == "exact_policy_gradient", gammas=inputs.gammas, infinite=not inputs.plain).map(question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    names = ("expected_return", "state_values", "action_values", "occupancy")
    return {name: about_tasks(name, inputs) for name in names}
