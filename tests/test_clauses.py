"""Clauses and properties are bound both ways, and the chapters say what they must in the form that is read."""

import re
from importlib import import_module
from itertools import groupby
from pathlib import Path

import pytest

from rlspec import properties
from rlspec.power import every_property
from rlspec.properties.checking import UnknownClause, clause
from rlspec.properties.questions import PLAIN_QUESTIONS, QUESTIONS
from rlspec.spec import clauses as reading
from rlspec.spec.choices import Choice, decimal, read
from rlspec.spec.clauses import CHAPTERS, clauses, conventions, parse
from rlspec.spec.operations import MASKS, OPERATIONS

SPEC = Path(reading.__file__).parent
PROPERTIES = list(every_property())


def titled(id, text):
    """A chapter of one clause, as Markdown."""
    return f"# Advantages\n\n### {id} A title\n\n{text}\n"


@pytest.mark.parametrize("level", ["MUST", "LEMMA", "SHOULD", "THEOREM"])
def test_every_clause_that_says_something_has_a_property(level):
    bound = {id for checked in PROPERTIES for id in checked.clauses}
    assert [id for id, of in clauses().items() if of.level == level and id not in bound] == []


def test_every_test_in_the_chapters_properties_names_its_clauses():
    files = sorted(Path(properties.__path__[0]).glob("test_*.py"))
    modules = [import_module(f"rlspec.properties.{file.stem}") for file in files]
    tests = {name: test for module in modules for name, test in vars(module).items() if name.startswith("test_")}
    assert len(tests) > 30
    assert [name for name, test in tests.items() if not getattr(test, "clauses", ())] == []


def test_two_properties_never_share_a_name():
    names = sorted(checked.name for checked in PROPERTIES)
    assert [name for name, same in groupby(names) if len(list(same)) > 1] == []


def test_a_property_of_an_unknown_clause_cannot_be_imported():
    with pytest.raises(UnknownClause, match="no chapter in spec/ has a clause RET-999"):
        clause("RET-1", "RET-999")
    assert issubclass(UnknownClause, ImportError)


def test_only_theorems_are_checked_without_asking_a_candidate():
    levels = {checked.name: {clauses()[id].level for id in checked.clauses} for checked in PROPERTIES}
    assert [checked.name for checked in PROPERTIES if checked.theorem and levels[checked.name] != {"THEOREM"}] == []


def test_every_operation_is_asked_what_every_operation_owes_its_caller():
    assert set(QUESTIONS) == set(PLAIN_QUESTIONS) == set(OPERATIONS)


def test_an_id_is_its_chapters_letters_and_a_number():
    assert [id for id in clauses() if not re.fullmatch(r"[A-Z]{2,5}-[1-9]\d*", id)] == []
    letters = {(found.chapter, found.prefix) for found in clauses().values()}
    assert len(letters) == len(CHAPTERS) == len({prefix for _, prefix in letters})


def test_no_heading_that_looks_like_a_clause_is_passed_over():
    written = [
        (f"spec/{chapter}.md:{number}", line)
        for chapter in CHAPTERS
        for number, line in enumerate((SPEC / f"{chapter}.md").read_text(encoding="utf-8").splitlines(), start=1)
        if re.match(r"#+\s*[A-Za-z]+\s*-?\s*\d", line)
    ]
    assert written == [(found.place, f"### {found.id} {found.title_in_tex}") for found in clauses().values()]


def test_an_id_that_is_used_twice_is_refused_with_both_places(monkeypatch):
    monkeypatch.setattr(reading, "CHAPTERS", ("returns", "returns"))
    with pytest.raises(ValueError, match=r"spec/returns\.md:(\d+): RET-1 is already used at spec/returns\.md:\1"):
        clauses.__wrapped__()


def test_a_clause_without_a_level_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"spec/advantages\.md:3: the first paragraph of ADV-1 says none of MUST"):
        parse(titled("ADV-1", "`gae` must be right.\n\nIt MUST, really."), "advantages")


def test_a_clauses_level_is_the_first_that_its_first_paragraph_names():
    text = "`gae` SHOULD be right,\nand MUST be there.\n\nIt MAY be fast."
    [found] = parse(titled("ADV-1", text), "advantages")
    assert (found.level, found.text) == ("SHOULD", "`gae` SHOULD be right, and MUST be there.")


def test_a_lemma_names_the_clauses_that_it_follows_from():
    [found] = parse(titled("GRP-4", "LEMMA of GRP-1 and\nADV-7: a group's advantages add up to 0."), "group")
    assert (found.level, found.premises) == ("LEMMA", ("GRP-1", "ADV-7"))


@pytest.mark.parametrize("text", ["This LEMMA of GRP-1: says it too late.", "LEMMA: of nothing.", "LEMMA of GRP-1."])
def test_a_lemma_of_nothing_is_refused_with_its_place(text):
    with pytest.raises(ValueError, match=r"spec/group\.md:3: GRP-4 is a lemma if it begins with LEMMA"):
        parse(titled("GRP-4", text), "group")


def test_lemmas_follow_from_definitions_and_not_from_each_other_in_a_circle():
    known = clauses()
    assert [(id, of.premises) for id, of in known.items() if not set(of.premises) <= known.keys()] == []
    derived: set[str] = {id for id, of in known.items() if of.level != "LEMMA"}
    lemmas = known.keys() - derived
    while follows := {id for id in lemmas - derived if set(known[id].premises) <= derived}:
        derived |= follows
    assert lemmas - derived == set()


def test_freedom_is_declared_by_a_table_and_by_nothing_else():
    tables = {id: found.choices for id, found in clauses().items() if found.choices}
    assert tables.keys() == {id for id, found in clauses().items() if found.level == "MAY"}
    assert [name for name, choices in conventions().items() if len(set(choices)) < 2] == []


def test_a_convention_is_of_a_known_operation_or_of_all():
    owners = {name.rpartition(".")[0] for name in conventions()}
    assert owners <= {"", *OPERATIONS}


def test_every_operation_belongs_to_a_chapter_that_names_it():
    unnamed = [
        name for name, of in OPERATIONS.items()
        if f"`{name}" not in (SPEC / f"{of.chapter}.md").read_text(encoding="utf-8")
    ]  # fmt: skip
    assert unnamed == []


WITH_A_RANGE = "`f` MAY add.\n\n| | | |\n|---|---|---|\n"


def rows(*lines):
    """The choices of a MAY clause with such a table."""
    [found] = parse(titled("ADV-1", WITH_A_RANGE + "\n".join(lines)), "advantages")
    return found.choices


def test_a_choice_may_have_a_number_that_is_left_open():
    plain, shape = rows("| `f.eps` | `std` | no |", "| `f.eps` | `std + E` for E from 1e-12 to 1e-3 | yes |")
    assert (plain.letter, plain.fits("std"), plain.fits("std + 1"), str(plain)) == ("", True, False, "std")
    assert (shape.letter, shape.low, shape.high) == ("E", 1e-12, 1e-3)
    assert str(shape) == "std + E for E from 1e-12 to 1e-3"
    assert [shape.fits(text) for text in ("std + 1e-05", "std + 0.001", "std + 1", "std", "std + E")] == [
        True, True, False, False, False
    ]  # fmt: skip
    assert shape.with_number(1e-5) == "std + 1e-5"


def test_a_row_may_be_about_several_operations():
    found = rows("| `{f, g}.reduction` | `sum` | all |", "| `{f, g}.reduction` | `C sums` for C from 1/2 to 2 | |")
    assert [(choice.convention, choice.text) for choice in found] == [
        ("f.reduction", "sum"), ("g.reduction", "sum"), ("f.reduction", "C sums"), ("g.reduction", "C sums")
    ]  # fmt: skip
    assert {choice.low for choice in found if choice.letter} == {0.5}


@pytest.mark.parametrize(
    "row",
    ["`std + E`", "`std` for E from 1 to 2", "`std + E` for C from 1 to 2", "`std + E` for E from 2 to 1",
     "`std + E` for E from 0 to 1", "`std + E` for E from some to more"],
)  # fmt: skip
def test_a_range_that_is_none_is_refused_with_its_place(row):
    with pytest.raises(ValueError, match=r"spec/advantages\.md:3: ADV-1: the row of"):
        rows(f"| `f.eps` | {row} | |")


@pytest.mark.parametrize(
    ("number", "text"),
    [(1e-05, "1e-5"), (2.5e-07, "2.5e-7"), (0.001, "1e-3"), (0.01, "0.01"), (0.5, "0.5"), (20.0, "20"), (1e6, "1e6"),
     (1.25, "1.25"), (123456.0, "123456"), (0.1 + 0.2, "0.30000000000000004")],
)  # fmt: skip
def test_a_number_is_printed_as_its_shortest_decimal(number, text):
    assert (decimal(number), read(text)) == (text, number)


@pytest.mark.parametrize("text", ["", "E", "-1", "nan", "inf", "1e999", "1/0", "one", "1_0", " 1"])
def test_what_is_no_number_is_not_read_as_one(text):
    assert read(text) is None


def test_a_choice_with_a_number_beyond_its_range_is_refused_with_the_range(monkeypatch):
    shape = Choice("f.eps", "std + E", 1e-12, 1e-3)
    monkeypatch.setattr(reading, "choices", lambda: {"f.eps": (Choice("f.eps", "std"), shape)})
    assert reading.chosen("f.eps", "std + 0.00001") == "std + 1e-5"
    with pytest.raises(ValueError, match="E in 'std \\+ E' is a convention from 1e-12 to 1e-3, and beyond that a def"):
        reading.chosen("f.eps", "std + 1")
    with pytest.raises(ValueError, match="the choices are std, std \\+ E for E from 1e-12 to 1e-3"):
        reading.chosen("f.eps", "var")


def test_what_all_masked_operations_owe_is_said_by_operations_md_alone():
    covered = re.compile(r"where (the |an entry where the )?`?(mask|valid|legal|completion_mask)`? is 0", re.IGNORECASE)
    elsewhere = [found for found in clauses().values() if found.chapter != "operations"]
    assert [found.id for found in elsewhere if covered.search(found.text)] == []
    assert covered.search("The second result MUST be 0 where `mask` is 0.")


@pytest.mark.parametrize("law", ["OPS-10", "OPS-11", "OPS-12"])
def test_every_operation_with_a_mask_is_asked_what_all_of_them_owe(law):
    masked = {name for name, of in OPERATIONS.items() if set(MASKS) & set(of.parameters)}
    asked = {checked.parameters["operation"] for checked in PROPERTIES if law in checked.clauses}
    never_empty = {"entropy"} if law == "OPS-12" else set()
    assert asked == masked - never_empty


def test_a_mask_covers_what_has_an_entry_for_each_of_its_own():
    covered = {name: (of.mask, of.covered, of.of_rows) for name, of in OPERATIONS.items()}
    assert covered["gae"] == ("", (), ())
    assert covered["entropy"] == ("legal", ("logits",), ())
    assert covered["grpo_loss"] == ("mask", ("logp", "old_logp", "ref_logp"), ("advantages",))
    assert covered["kto_loss"] == ("valid", ("logp", "ref_logp", "desirable"), ())
    assert covered["sequence_logp"] == ("completion_mask", ("logits", "tokens"), ())
