"""What the properties catch: every fault is killed where it says, and every property kills one."""

from functools import cache
from inspect import signature

import pytest

from rlspec import replay
from rlspec.candidate import Candidate
from rlspec.corpus import inputs
from rlspec.faults import museum
from rlspec.loading import load
from rlspec.matrix import MUSTS
from rlspec.power import every_property
from rlspec.power import faulty as get_to_know
from rlspec.spec.clauses import clauses
from rlspec.spec.operations import OPERATIONS

FAULTS = list(museum().values())
PROPERTIES = [checked for checked in every_property() if not checked.theorem]
FUNCTIONS = sorted({checked.function for checked in PROPERTIES})


@cache
def faulty(fault):
    """The fault as a candidate, which takes a while to get to know."""
    return get_to_know(fault)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.id}-{fault.slug}")
def test_a_fault_is_killed_by_a_property_of_the_clause_that_it_names(fault):
    candidate = faulty(fault)
    bound = [checked for checked in PROPERTIES if fault.clause in checked.clauses and checked.asks(fault.operation)]
    assert bound, f"{fault.clause} has no property that asks {fault.operation}"
    assert any(checked.violated_by(candidate) for checked in bound), f"{fault.clause} holds; name one that does not"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_property_kills_a_fault(function):
    cases = [checked for checked in PROPERTIES if checked.function == function]

    def unlikely(fault):
        return fault.clause not in cases[0].clauses, OPERATIONS[fault.operation].chapter != cases[0].chapter

    likely_first = sorted(FAULTS, key=unlikely)
    assert any(
        checked.violated_by(faulty(fault))
        for fault in likely_first
        for checked in cases
        if checked.asks(fault.operation)
    )


@pytest.mark.parametrize("id", MUSTS)
def test_a_clause_that_binds_is_named_by_a_fault(id):
    assert id in {fault.clause for fault in FAULTS}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.id}-{fault.slug}")
def test_a_fault_names_a_known_clause_and_has_the_signature_of_a_known_operation(fault):
    assert fault.clause in clauses()
    assert tuple(signature(fault.implementation).parameters) == OPERATIONS[fault.operation].parameters
    assert fault.effect.endswith(".")
    assert fault.seen or fault.id.startswith("M-"), "one that was seen says where; one that was made up says so"


def test_a_property_asks_for_no_operation_but_those_that_its_code_names(monkeypatch):
    asked, answer = set(), Candidate.answer

    def noted(self, operation, *arguments):
        asked.add(operation.name)
        return answer(self, operation, *arguments)

    monkeypatch.setattr(Candidate, "answer", noted)
    monkeypatch.setattr(replay, "inputs", lambda test, name: inputs(test, name)[:4])
    honest = Candidate(load("reference"), "reference")
    for checked in PROPERTIES:
        asked.clear()
        assert not checked.violated_by(honest)
        assert all(map(checked.asks, asked)), checked.name


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if "linear" in name])
def test_the_reference_itself_is_killed_by_nothing(function):
    honest = Candidate(load("reference"), "reference")
    assert not any(checked.violated_by(honest) for checked in PROPERTIES if checked.function == function)
    assert honest.answers
