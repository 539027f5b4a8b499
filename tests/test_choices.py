"""A choice that is misspelt is refused, and not taken for another one."""

import pytest
from hypothesis import given, settings

from rlspec.candidates import reference
from rlspec.properties.questions import PLAIN_QUESTIONS
from rlspec.properties.questions.question import last_names
from rlspec.reference import group
from rlspec.spec.clauses import conventions_of

OPERATIONS = (
    "vtrace",
    "normalize_advantages",
    "policy_gradient",
    "token_rewards",
    "group_advantages",
    "reinforce_plus_plus_advantages",
)
"""The operations that are asked."""

CONVENTIONS = [(operation, name) for operation in OPERATIONS for name in conventions_of(operation)]


@pytest.mark.parametrize(("operation", "convention"), CONVENTIONS)
def test_a_misspelt_choice_is_refused(operation, convention):
    chosen = last_names({convention: conventions_of(operation)[convention][0] + "s"})

    @settings(max_examples=1, derandomize=True, database=None, deadline=None)
    @given(PLAIN_QUESTIONS[operation])
    def refused(question):
        with pytest.raises(ValueError, match="there is no choice"):
            getattr(reference, operation)(*question.arguments, **chosen)

    refused()


@pytest.mark.parametrize(
    "wrong",
    [{"baseline": "leave one out"}, {"scale": "standard deviation"}, {"std": "ddof=7"}, {"eps": "1e-6"}],
    ids=str,
)
@pytest.mark.parametrize("rewards", [[1, 0], [1, 1], [1]], ids=str)
def test_group_advantages_refuse_what_they_do_not_come_to_read(rewards, wrong):
    with pytest.raises(ValueError, match="there is no choice"):
        group.group_advantages(rewards, [0] * len(rewards), **wrong)
