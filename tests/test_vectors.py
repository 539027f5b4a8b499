"""The test vectors: their form, their answers, and the faults that they expose."""

import json
import re
import warnings
from copy import copy
from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest

from rlspec import exact, vectors
from rlspec.candidates import reference
from rlspec.conventions import drawn
from rlspec.exact import decimal
from rlspec.faults import museum
from rlspec.properties import clipping, questions
from rlspec.properties.balls import PRECISION
from rlspec.properties.questions import CHAPTERS
from rlspec.properties.questions.question import last_names
from rlspec.spec.clauses import clauses, conventions_of
from rlspec.spec.operations import OPERATIONS
from rlspec.special import FLAGS, flags
from rlspec.vectors import FOLDER, defaults

README = FOLDER / "README.md"

SCHEMA = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))

FILES = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted(FOLDER.glob("*.json"))
    if file.name != "schema.json"
}

every_file = pytest.mark.parametrize("operation", FILES)


@pytest.fixture(scope="session")
def wrong():
    """The reader that the page shows."""
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line]) <= 30
    namespace = {}
    exec(code, namespace)
    return namespace["wrong"]


def named(vector, operation, function):
    """A function of an operation's arguments by position, under a vector's conventions."""
    chosen = last_names(vector["conventions"])

    def answer(**arguments):
        assert tuple(arguments) == OPERATIONS[operation].parameters
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            return function(*map(copy, arguments.values()), **chosen)

    return answer


def test_every_operation_has_vectors():
    assert [*FILES] == sorted(OPERATIONS), "python -m rlspec.vectors OPERATION writes those of one"


@every_file
def test_a_file_is_of_the_form_that_the_schema_says(operation):
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(SCHEMA)
    assert [*Draft202012Validator(SCHEMA).iter_errors(FILES[operation])] == []


@every_file
def test_a_file_speaks_of_what_there_is(operation):
    file = FILES[operation]
    assert (file["operation"], file["chapter"]) == (operation, OPERATIONS[operation].chapter)
    ids = [vector["id"] for vector in file["vectors"]]
    assert len(set(ids)) == len(ids)
    for vector in file["vectors"]:
        assert set(vector["clauses"]) <= set(clauses())
        assert vector["conventions"].keys() == conventions_of(operation).keys()
    exposing = {id: [v["id"] for v in file["vectors"] if id in v["exposes"]] for id in file["exposed"]}
    assert all(exposing.values())
    for vector in file["vectors"]:
        assert vector["alone"] == [id for id in vector["exposes"] if len(exposing[id]) == 1]


@every_file
def test_the_reference_answers_every_vector_rightly(operation, wrong):
    function = getattr(reference, operation)
    assert [v["id"] for v in FILES[operation]["vectors"] if wrong(v, named(v, operation, function))] == []


def raises_or_is_wrong(wrong, vector, fault):
    try:
        return bool(wrong(vector, named(vector | {"conventions": {}}, fault.operation, fault.implementation)))
    except Exception:
        return True


@every_file
def test_faults_are_exposed_as_the_file_says(operation, wrong):
    for vector in FILES[operation]["vectors"]:
        assert vector["conventions"] == defaults(operation) or not vector["exposes"]
        known = [museum()[id] for id in vector["exposes"] if id in museum()]
        assert [fault.id for fault in known if not raises_or_is_wrong(wrong, vector, fault)] == []


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - exact.RATIONAL))
def test_with_more_bits_a_decimal_is_off_by_less_than_one_unit_of_its_last_digit(operation, monkeypatch):
    cases = [vectors.Case(q, defaults(operation), q.arguments) for q in drawn(vectors.QUESTIONS[operation], 20)[:4]]
    shown = [vectors.result(part, case)["exact"] for case in cases for part in case.right]
    for module in [exact, clipping, *(import_module(f"{questions.__name__}.{name}") for name in CHAPTERS)]:
        monkeypatch.setattr(module, "PRECISION", 2 * PRECISION, raising=False)
    clipping.exact_exp.cache_clear()
    again = [part.ravel() for case in cases for part in exact.right(case.question, case.conventions)]
    clipping.exact_exp.cache_clear()
    for texts, numbers in zip(shown, again, strict=True):
        for text, number in zip(np.ravel(texts).tolist(), numbers, strict=True):
            assert abs(Fraction(text) - Fraction(number)) < Fraction(f"1{text[text.index('E') :]}")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_answer_has_been_rounded_to_a_float(operation):
    for question in drawn(vectors.QUESTIONS[operation], 20)[:6]:
        for chosen in [defaults(operation), *vectors.others(defaults(operation))]:
            for part in exact.right(question, chosen):
                floats = [number for number in part.ravel() if isinstance(number, float) and not number.is_integer()]
                assert floats == []


@pytest.mark.parametrize("operation", sorted(exact.RATIONAL))
def test_what_is_said_to_be_a_fraction_is_one(operation, monkeypatch):
    def fail(*_):
        raise AssertionError("an exponential, a logarithm or a root was computed")

    for module in [*(import_module(f"{questions.__name__}.{name}") for name in CHAPTERS), clipping]:
        monkeypatch.setattr(module, "nearest", fail, raising=False)
    monkeypatch.setattr(exact, "root", fail)
    for question in drawn(vectors.QUESTIONS[operation], 20)[:4]:
        for chosen in [defaults(operation), *vectors.others(defaults(operation))]:
            assert exact.right(question, chosen)


@pytest.mark.parametrize(
    ("number", "magnitude", "text"),
    [
        (Fraction(1, 3), 1, "3333333333333333333333333333333333333333E-40"),
        (Fraction(-2, 3), 1000, "-6666666666666666666666666666666666667E-37"),
        (Fraction(0), 0, "0E-40"),
        (Fraction(3), 0.5, "30000000000000000000000000000000000000000E-40"),
    ],
)
def test_a_decimal_has_forty_digits_after_the_first_of_its_terms(number, magnitude, text):
    assert decimal(number, magnitude) == text


def test_an_id_depends_on_the_arguments_and_the_conventions():
    question = drawn(vectors.QUESTIONS["gae"], 20)[3]
    case = vectors.Case(question, {}, question.arguments)
    assert vectors.identity(case) == vectors.identity(vectors.Case(question, {}, question.arguments))
    assert vectors.identity(case) != vectors.identity(vectors.Case(question, {}, (*question.arguments[:-1], 0.123)))
    assert vectors.identity(case) != vectors.identity(vectors.Case(question, {"a": "b"}, question.arguments))


def call(operation, **changes):
    given = {name: np.zeros((2, 2), bool if name in FLAGS else float) for name in OPERATIONS[operation].parameters}
    given |= changes
    return flags(OPERATIONS[operation], tuple(given.values()))


RAGGED = np.array([[True, True], [True, False]])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (call("gae", terminated=RAGGED[::-1], gamma=0.0, lam=1.0), "ends-inside gamma-0 lam-1 termination"),
        (call("gae", truncated=~RAGGED, gamma=0.5, lam=0.5), "truncation"),
        (call("gae", terminated=~RAGGED, truncated=~RAGGED, gamma=0.5, lam=0.5),
         "both-ends-at-once termination truncation"),
        (call("normalize_advantages", mask=RAGGED), "ragged-mask zero-spread"),
        (call("normalize_advantages", mask=RAGGED[:, ::-1], advantages=np.arange(4.0).reshape(2, 2)),
         "padded-left ragged-mask"),
        (call("normalize_advantages", mask=~RAGGED), "empty-row padded-left ragged-mask"),
        (call("normalize_advantages", mask=RAGGED & False), "empty-row nothing-counts"),
        (call("token_returns", token_rewards=np.full((1, 3), np.nan), mask=np.array([[1, 0, 1]], dtype=np.uint8),
              gamma=0.5), "flags-as-numbers hole nan one-row"),
        (call("group_advantages", rewards=np.arange(3), groups=np.array(["a", "b", "a"]), baseline="mean",
              scale="none"), "group-of-one interleaved-groups named-groups uneven-groups whole-numbers"),
        (call("group_advantages", rewards=np.full(3, 0.5), groups=np.array([1, 1, 2]), baseline="mean", scale="std"),
         "group-of-one uneven-groups zero-spread"),
    ],
)  # fmt: skip
def test_what_is_special_about_a_call_is_flagged(found, expected):
    assert found == expected.split()


def test_the_page_says_what_the_vectors_expose():
    page = README.read_text(encoding="utf-8")
    assert page == vectors.page(page, FILES), "python -m rlspec.vectors --page writes the table anew"
