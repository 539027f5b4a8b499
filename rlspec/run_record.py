"""The record of a run: one JSON object that reports, comparisons and reproductions are made from.

Its form is ``record.schema.json``.  Nothing heavy is imported here.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .lines import sentence, unexplained
from .spec.clauses import clauses
from .verdicts import VERDICTS, Outcome, Verdict, by_operation, stale

if TYPE_CHECKING:
    from .corpus import Stored

SCHEMA = 1
"""The version of the form.  Records without one are of rlspec 0.1.0 before it had a version, and are read as well."""

LIBRARIES = ("numpy", "hypothesis", "pytest", "torch", "jax")
"""The libraries whose versions are recorded, where they are installed."""


FORM = {"operation": str, "property": str, "message": str, "inputs": dict, "drawn": dict, "also": list,
        "diagnosis": list}  # fmt: skip
"""The types of what is said of a clause, as far as it is made use of."""


class NotARecord(ValueError):
    """A file that is no record, or one of a later form; the message says which, and what to do."""


@dataclass(frozen=True)
class Violation:
    """One violation as a record has it: of a clause by an operation."""

    clause: str
    operation: str
    found: Mapping[str, Any]
    """Its ``property``, ``message``, ``arguments``, ``expected``, ``actual``, ``worked`` and ``diagnosis``, if any."""

    @property
    def level(self) -> str:
        """MUST, LEMMA or SHOULD."""
        return clauses()[self.clause].level if self.clause in clauses() else "MUST"


@dataclass(frozen=True)
class Mistake:
    """What one operation does wrong, with the violations that show it."""

    operation: str
    words: str
    """One sentence."""
    faults: tuple[Mapping[str, Any], ...]
    """The known faults that do the same, each with ``id``, ``slug``, ``effect`` and ``seen``."""
    violations: tuple[Violation, ...]

    @property
    def prefix(self) -> str:
        """The operation, where the words do not begin with it anyway."""
        return "" if self.words.startswith(self.operation) else self.operation

    @property
    def clauses(self) -> list[str]:
        """The clauses that it breaks."""
        broken = {one.clause for one in self.violations}
        return [id for id in clauses() if id in broken]

    @property
    def shown(self) -> Violation:
        """The violation with the smallest input, if possible one that says what was expected."""

        def size(one: Violation) -> tuple[bool, int]:
            return "expected" not in one.found, len(str(one.found.get("arguments")))

        return min(self.violations, key=size)

    @property
    def only_should(self) -> bool:
        """Whether nothing that it breaks MUST hold."""
        return all(one.level == "SHOULD" for one in self.violations)


class Record:
    """What a run found.

    said: the JSON object.  Raises NotARecord for what is none.
    """

    def __init__(self, said: Any) -> None:
        if not isinstance(said, dict) or not isinstance(said.get("clauses"), dict) or "candidate" not in said:
            raise NotARecord("is not a file that --verdicts wrote")
        if said.get("schema", 0) > SCHEMA:
            raise NotARecord(
                f"has the form {said['schema']} of a later rlspec ({said.get('rlspec')}); this one, {__version__}, "
                f"reads forms up to {SCHEMA}"
            )
        if not all(isinstance(one, dict) and one.get("verdict") in VERDICTS for one in said["clauses"].values()):
            raise NotARecord("is not a file that --verdicts wrote: a clause has no verdict")
        for id, one in said["clauses"].items():
            if not _is_of_the_form(one, FORM) or not all(_is_of_the_form(other, FORM) for other in one.get("also", [])):
                raise NotARecord(f"is not a file that --verdicts wrote: what it says of {id} has another form")
        self.said: dict[str, Any] = said

    @classmethod
    def read(cls, file: str | PathLike[str]) -> "Record":
        """A record from its file.  Raises NotARecord, with the file's name."""
        try:
            return cls(json.loads(Path(file).read_text(encoding="utf-8")))
        except OSError as error:
            raise NotARecord(f"{file} cannot be read: {error.strerror}") from error
        except NotARecord as error:
            raise NotARecord(f"{file} {error}") from None
        except ValueError as error:
            raise NotARecord(f"{file} is not a file that --verdicts wrote: {error}") from None

    def as_json(self) -> str:
        """The record as a text of JSON."""
        return json.dumps(self.said, indent=2) + "\n"

    @property
    def name(self) -> str:
        """What the candidate is called."""
        return str(self.said["candidate"])

    @property
    def clauses(self) -> dict[str, dict[str, Any]]:
        """By id what was found of each clause."""
        return dict(self.said["clauses"])

    @property
    def operations(self) -> dict[str, dict[str, str]]:
        """By operation the verdicts on the clauses that were checked on it; nothing, in a record without a version."""
        return dict(self.said.get("operations", {}))

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict on each clause."""
        return {id: one["verdict"] for id, one in self.clauses.items()}

    def of(self, *verdicts: str) -> list[str]:
        """The clauses with one of these verdicts."""
        return [id for id, verdict in self.verdicts.items() if verdict in verdicts]

    @property
    def wrong(self) -> bool:
        """Whether a clause is violated, or a known failure is none any more."""
        return bool(self.of("violated", "stale") or self.said.get("stale"))

    @property
    def tested(self) -> bool:
        """Whether anything was."""
        return bool(self.of("holds", "violated", "known", "stale"))

    def violations(self) -> Iterator[Violation]:
        """All violations, known ones too."""
        for id, one in self.clauses.items():
            if one["verdict"] in ("violated", "known"):
                for found in [one, *one.get("also", [])]:
                    yield Violation(id, found.get("operation", ""), found)

    def shown_on(self, name: str) -> list["Stored"]:
        """The inputs on which a property, by its name with its case, was violated."""
        from .corpus import Stored  # with NumPy and Hypothesis

        found = [one.found for one in self.violations()]
        lines = [one["drawn"] for one in found if one.get("property") == name and "drawn" in one]
        return [Stored.read(line) for line in lines]

    def mistakes(self) -> list[Mistake]:
        """What is wrong, a mistake at a time: by operation, and what MUST hold first, then what is explained."""
        groups: list[list[Violation]] = []
        for new in self.violations():
            same = [group for group in groups if any(_alike(one, new) for one in group)]
            groups = [group for group in groups if group not in same] + [[one for of in same for one in of] + [new]]
        found = [mistake for group in groups for mistake in _mistakes(tuple(group))]
        must = {mistake.operation for mistake in found if not mistake.only_should}
        places = {name: place for place, name in enumerate(dict.fromkeys(mistake.operation for mistake in found))}

        def last(one: Mistake) -> tuple[bool, int, bool, bool, int]:
            return one.operation not in must, places[one.operation], one.only_should, not one.faults, -len(one.clauses)

        return sorted(found, key=last)


def _is_of_the_form(said: Any, form: Mapping[str, type]) -> bool:
    """Whether an object's values are of these types, those that it has."""
    return isinstance(said, dict) and all(isinstance(said[name], kind) for name, kind in form.items() if name in said)


def _alike(one: Violation, other: Violation) -> bool:
    """Whether two violations show the same mistake."""
    return one.operation == other.operation and bool(_recognised(one) & _recognised(other))


def _recognised(one: Violation) -> set[Any]:
    """What the mistakes that explain a violation are recognised by; all that is not explained is one."""
    said = {
        (frozenset(fault["id"] for fault in mistake["faults"]) or mistake["words"]) if mistake["explained"] else None
        for mistake in one.found.get("diagnosis", [])
    }
    return said or {one.found.get("message")}


def _mistakes(group: tuple[Violation, ...]) -> list[Mistake]:
    """What a group of violations shows: one mistake, or the known ones that are made at once."""
    whole = Mistake(group[0].operation, "", (), group)
    shown = whole.shown.found
    said = next(iter(shown.get("diagnosis", [])), None)
    if not said or not shown.keys() & {"expected", "actual"} or (not said["explained"] and "expected" not in shown):
        words = shown.get("message", "")
        return [Mistake(whole.operation, sentence(words), (), group)]
    if not said["explained"]:
        return [Mistake(whole.operation, unexplained(said), (), group)]
    if said["edited"]:
        exactly = "It behaves exactly " if said["words"].startswith("as if") else ""
        return [Mistake(whole.operation, sentence(exactly + said["words"]), tuple(said["faults"]), group)]
    return [Mistake(whole.operation, sentence(one["effect"]), (one,), group) for one in said["faults"]]


def written(
    about: Mapping[str, Any],
    what: str,
    run: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    verdicts: Mapping[str, Verdict],
    problem: str = "",
    interrupted: bool = False,
) -> Record:
    """The record of a run that is over, or was interrupted.

    about: as ``Candidate.about`` has it.  what: what the candidate was called up by.  run: budget, patience, explore
    and seed.  problem: why the candidate cannot be had.
    """
    return Record(
        {
            "schema": SCHEMA,
            "candidate": about["name"],
            "what": what,
            "rlspec": __version__,
            "versions": versions(),
            "run": dict(run),
            "problem": problem,
            "interrupted": interrupted,
            "conventions": {how: about[how] for how in ("declared", "inferred", "alike")},
            "known_failures": about["known_failures"],
            "operations": by_operation(outcomes, verdicts, about["known_failures"]),
            "stale": stale(outcomes, about["known_failures"]),
            "clauses": {id: verdict.as_json() for id, verdict in verdicts.items()},
        }
    )


def put(file: str | Path, text: str) -> bool:
    """Write a file, all of it or nothing, whoever else writes it; whether that could be done, which is said if not."""
    folder, name = Path(file).absolute().parent, Path(file).name
    try:
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=f".{name}-", delete=False, encoding="utf-8") as beside:
            beside.write(text)
        os.chmod(beside.name, 0o666 & ~_umask())
        os.replace(beside.name, file)
    except OSError as error:
        print(f"{file} cannot be written: {error.strerror}", file=sys.stderr)
        return False
    return True


def _umask() -> int:
    """The process's mask of a new file's rights, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def versions() -> dict[str, str]:
    """The versions that the answers may depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
