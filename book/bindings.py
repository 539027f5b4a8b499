"""What each clause is bound to, read from the code: properties, faults, conventions, vectors, verdicts of libraries."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from rlspec.faults import Fault, museum
from rlspec.power import Property, every_property
from rlspec.spec.clauses import CHAPTERS, clauses

ROOT = Path(__file__).parents[1]

VIOLATIONS = ("violated", "known")


@cache
def properties() -> dict[str, Property]:
    """The properties by their function, of several cases the first."""
    found: dict[str, Property] = {}
    for each in every_property():
        found.setdefault(each.function, each)
    return found


@cache
def clauses_of_properties() -> dict[str, tuple[str, ...]]:
    """The clauses of each property, those of all its cases."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for each in every_property():
        found[each.function].update(dict.fromkeys(each.clauses))
    return {function: tuple(of) for function, of in found.items()}


@cache
def properties_of_clauses() -> Mapping[str, list[str]]:
    """The properties' functions by clause."""
    return inverted(clauses_of_properties())


@cache
def faults_of_clauses() -> Mapping[str, list[Fault]]:
    """The faults by the clause that they are about."""
    found: dict[str, list[Fault]] = defaultdict(list)
    for fault in museum().values():
        found[fault.clause].append(fault)
    return found


@cache
def clauses_of_vectors() -> dict[str, tuple[str, ...]]:
    """The clauses that the test vectors of each operation speak for."""
    return {
        file.stem: tuple(dict.fromkeys(id for vector in read(file)["vectors"] for id in vector["clauses"]))
        for file in sorted((ROOT / "spec" / "vectors").glob("*.json"))
        if file.stem != "schema"
    }


@cache
def vectors_of_clauses() -> Mapping[str, list[str]]:
    """The operations whose test vectors speak for a clause."""
    return inverted(clauses_of_vectors())


@cache
def verdicts() -> dict[str, dict[str, Any]]:
    """What the suite found in each library: its recorded run, by the candidate's name."""
    return {file.stem: read(file) for file in sorted((ROOT / "candidates" / "verdicts").glob("*.json"))}


@cache
def libraries_of_clauses() -> Mapping[str, list[str]]:
    """The libraries that a clause is violated by."""
    found: dict[str, list[str]] = defaultdict(list)
    for library, run in verdicts().items():
        for id, said in run["clauses"].items():
            if said["verdict"] in VIOLATIONS:
                found[id].append(library)
    return found


@cache
def texts() -> dict[str, str]:
    """All that stands under each clause, up to the next heading, on one line."""
    found = {}
    for chapter in CHAPTERS:
        lines = (ROOT / "spec" / f"{chapter}.md").read_text(encoding="utf-8").splitlines()
        for clause in (clause for clause in clauses().values() if clause.chapter == chapter):
            body = takewhile(lambda line: not line.startswith("#"), lines[clause.line :])
            found[clause.id] = " ".join(" ".join(body).split())
    return found


def unknown() -> set[str]:
    """The ids in the code, the vectors and the verdicts that no chapter has."""
    named: set[str] = {*properties_of_clauses(), *faults_of_clauses(), *vectors_of_clauses(), *libraries_of_clauses()}
    return named - {*clauses()}


def read(file: Path) -> dict[str, Any]:
    """A file of JSON."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def inverted(of: Mapping[str, Iterable[str]]) -> Mapping[str, list[str]]:
    """From each value to the names that have it."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, values in of.items():
        for value in values:
            found[value].append(name)
    return found
