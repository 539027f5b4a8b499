"""What the reference has no meaning for is refused: a choice that is misspelt, fewer than one step."""

from typing import get_type_hints

import pytest
from hypothesis import given, settings

from rlspec.candidates import reference
from rlspec.properties.questions import PLAIN_QUESTIONS
from rlspec.properties.questions.question import last_names
from rlspec.reference import critics, group, moments, returns
from rlspec.reference.decision_process import TabularMDP
from rlspec.spec import operations
from rlspec.spec.clauses import conventions_of
from rlspec.spec.operations import OPERATIONS


def names_of(operation):
    """The places of those arguments of an operation that are names."""
    hints = get_type_hints(getattr(operations, operation), include_extras=True)
    return [place for place, hint in enumerate(hints.values()) if hint == operations.Name]


CONVENTIONS = [(operation, name) for operation in OPERATIONS for name in conventions_of(operation)]
NAMED = [(operation, place) for operation in OPERATIONS for place in names_of(operation)]


def asked_once(check, questions):
    """Ask a check about one question."""

    @settings(max_examples=1, derandomize=True, database=None, deadline=None)
    @given(questions)
    def once(question):
        check(question.arguments)

    once()


@pytest.mark.parametrize(("operation", "convention"), CONVENTIONS)
def test_a_misspelt_choice_is_refused(operation, convention):
    chosen = last_names({convention: conventions_of(operation)[convention][0] + "s"})

    def refused(arguments):
        with pytest.raises(ValueError, match="there is no choice"):
            getattr(reference, operation)(*arguments, **chosen)

    asked_once(refused, PLAIN_QUESTIONS[operation])


@pytest.mark.parametrize(("operation", "place"), NAMED)
def test_a_misspelt_argument_is_refused(operation, place):
    def refused(arguments):
        misspelt = [*arguments[:place], arguments[place] + "s", *arguments[place + 1 :]]
        with pytest.raises(ValueError, match="there is no choice"):
            getattr(reference, operation)(*misspelt)

    asked_once(refused, PLAIN_QUESTIONS[operation])


@pytest.mark.parametrize(
    "wrong",
    [{"baseline": "leave one out"}, {"scale": "standard deviation"}, {"std": "ddof=7"}, {"eps": "1e-6"}],
    ids=str,
)
@pytest.mark.parametrize("rewards", [[1, 0], [1, 1], [1]], ids=str)
def test_group_advantages_refuse_what_they_do_not_come_to_read(rewards, wrong):
    with pytest.raises(ValueError, match="there is no choice"):
        group.group_advantages(rewards, [0] * len(rewards), **wrong)


NEVER = [False, False]
PROCESS = TabularMDP([[[1.0]]], [[1.0]], [1.0], 0.5, horizon=2)


@pytest.mark.parametrize(
    "n_steps",
    [
        lambda n: returns.n_step_return([1, 1], [0, 0], NEVER, NEVER, 0.5, n),
        lambda n: critics.n_step_bias(PROCESS, [[1.0]], [[0.0], [0.0]], n),
        lambda n: moments.n_step(moments.process(PROCESS, [[1.0]]), [[0.0], [0.0]], n),
    ],
    ids=["returns", "critics", "moments"],
)
@pytest.mark.parametrize("n", [0, -3])
def test_fewer_than_one_step_are_refused(n_steps, n):
    with pytest.raises(ValueError, match=f"n is {n}; at least one reward"):
        n_steps(n)
