"""The measure of unseen mistakes: what stands in the museum's README is what the record says."""

from types import SimpleNamespace

import pytest

from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.conventions import infer
from rlspec.diagnosis import Mistake
from rlspec.mutants import BEGIN, END, README, SURVIVORS, _is_a_choice, _state, recorded, table


def test_the_table_is_that_of_the_record():
    text = README.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == table(recorded()).strip()


def test_every_survivor_has_a_reason():
    assert not [row.mutant for row in recorded() if row.state in SURVIVORS and not row.reason]


def judged(implementation, answers):
    """How an explanation is judged: an operation, and what is said to do the same."""
    candidate = Candidate(SimpleNamespace(td_error=implementation), "mutant")
    return _state(candidate, "td_error", Mistake(answers=lambda a: (answers(a),)))


def quotient(rewards, values, next_values, terminated, gamma):
    """Its divisor is a difference: rounding in that is magnified."""
    return rewards / (values - gamma * next_values + 1 / 3)


def test_an_explanation_is_right_up_to_what_roundings_of_the_arguments_make_of_it():
    def said(a):
        return a["rewards"] / (a["values"] + 1 / 3 - a["gamma"] * a["next_values"])

    assert judged(quotient, said) == "explained"


def test_an_explanation_of_something_else_is_wrong():
    def said(a):
        return a["rewards"] / (a["values"] - a["gamma"] * a["next_values"] + 1 / 3 + 1e-8)

    assert judged(quotient, said) == "wrongly"


@pytest.mark.parametrize("wrong_from", [10**6, 12])
def test_what_no_property_catches_is_a_choice_only_if_all_of_it_is_right(wrong_from):
    def normalize_advantages(advantages, mask):
        right = reference.normalize_advantages(advantages, mask, std="ddof=1")
        return right * 2 if advantages.size >= wrong_from else right

    candidate = Candidate(SimpleNamespace(normalize_advantages=normalize_advantages), "mutant")
    candidate.inferred |= infer(candidate, "normalize_advantages")
    assert candidate.inferred["normalize_advantages.std"] == "ddof=1"
    assert _is_a_choice(candidate, "normalize_advantages") == (wrong_from > 12)
