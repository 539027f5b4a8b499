"""The kill matrix that faults/README.md prints: without an empty row or column, and as the suite is today."""

import pytest

from rlspec.faults import museum
from rlspec.matrix import MARKER, MUSTS, README, caught, one_case_of_each

CELLS = [line.strip("| ").split(" | ") for line in README.read_text(encoding="utf-8").partition(MARKER)[2].splitlines()]
BY_FAULT = {cells[0]: cells[1:] for cells in CELLS if cells[0] in museum()}
BY_PROPERTY = {cells[0]: cells[1:] for cells in CELLS if len(cells) == 3}
SAMPLE = list(museum())[::40]


def listed(cell):
    return cell.split(", ")


def test_every_fault_is_in_it_and_seen_to_violate_the_clause_that_it_names():
    assert BY_FAULT.keys() == museum().keys(), "`python -m rlspec.matrix` writes it anew"
    for fault in museum().values():
        slug, operation, clause, violated, *_ = BY_FAULT[fault.id]
        assert (slug, operation, clause) == (fault.slug, f"`{fault.operation}`", fault.clause)
        assert clause in listed(violated), fault.id


def test_every_property_is_in_it_and_catches_a_fault():
    for checked in one_case_of_each():
        clauses, catches = BY_PROPERTY[checked.sentence]
        assert listed(clauses) == list(checked.clauses)
        assert set(listed(catches)) <= museum().keys(), checked.sentence


def test_every_clause_that_binds_is_seen_to_be_violated():
    assert set(MUSTS) <= {clause for cells in BY_FAULT.values() for clause in listed(cells[3])}


@pytest.mark.parametrize("id", SAMPLE)
def test_a_fault_is_caught_as_it_says(id):
    now, (_, _, _, violated, properties, *_) = caught(id), BY_FAULT[id]
    assert (list(now.clauses), f"{len(now.properties)} of {now.asked}") == (listed(violated), properties)
    for checked in one_case_of_each():
        assert (id in listed(BY_PROPERTY[checked.sentence][1])) == (checked.function in now.functions)
