"""What the options of a run ask for, read before anything is asked; nothing heavy is imported here."""

import os.path
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .options import BUDGET, PATIENCE, REPORTS, Refused, effort
from .run_record import NotARecord, Record
from .spec.clauses import clauses


@dataclass(frozen=True)
class Effort:
    """How much is asked of a candidate: see the options of these names."""

    budget: float
    patience: float
    explore: int | None
    explore_seconds: float | None


@dataclass(frozen=True)
class Files:
    """What is read: the clauses required, the record whose verdicts are expected, and those that are asked first."""

    required: list[str]
    recorded: Record | None
    known: list[Record]


def effort_asked(asked: Mapping[str, Any]) -> Effort:
    """The effort that the options ask for, by their names.  Raises Refused."""
    wanted = asked["explore"]
    try:
        explore, lasting = effort(wanted) if wanted is not None else (None, None)
    except ValueError as error:
        raise Refused(f"--explore: {error}") from error
    given = {"explore": explore if lasting is None else lasting, "budget": asked["budget"],
             "patience": asked["patience"]}  # fmt: skip
    for name, number in given.items():
        if number is not None and not number > 0:  # as NaN is not, either
            raise Refused(f"--{name} has to be more than 0")
    if wanted is None:
        for name in ("seed", "database"):
            if asked[name] is not None:
                raise Refused(f"--{name} is for --explore; without it the inputs are the same in every run")
    allowed = max(BUDGET, BUDGET * (explore or 0) / 100, lasting or 0)
    return Effort(asked["budget"] or allowed, asked["patience"] or PATIENCE, explore, lasting)


def files_asked(asked: Mapping[str, Any]) -> Files:
    """What the options name: clauses, and records.  Raises Refused, also for a file that cannot be written later."""
    required = [name.strip() for name in (asked["require"] or "").split(",") if name.strip()]
    _require_clauses(required)
    _require_places(asked)
    recorded = _record(asked["expect"], "expect") if asked["expect"] else None
    replayed = [_record(file, "replay") for file in asked["replay"] or []]
    return Files(required, recorded, [*replayed, *([recorded] if recorded else [])])


def _require_clauses(required: list[str]) -> None:
    known = {name for clause in clauses().values() for name in (clause.id, clause.prefix)}
    if unknown := sorted(set(required) - known):
        prefixes = sorted({clause.prefix for clause in clauses().values()})
        raise Refused(
            f"--require: there is no chapter or clause {', '.join(unknown)}; the chapters are {', '.join(prefixes)}"
        )


def _require_places(asked: Mapping[str, Any]) -> None:
    reports = asked["report"] or []
    if others := [one for one in reports if Path(one).suffix not in REPORTS]:
        raise Refused(f"--report: the name {others[0]} has to end in {' or '.join(REPORTS)}")
    written = [(name, asked[name]) for name in ("verdicts", "badge") if asked[name]]
    for name, one in [*written, *(("report", one) for one in reports)]:
        if not os.path.isdir(Path(one).absolute().parent):
            raise Refused(f"--{name}: there is no folder {Path(one).parent}")
        if os.path.isdir(one):
            raise Refused(f"--{name}: {one} is a folder, and the name of a file is needed")


def _record(file: str, option: str) -> Record:
    try:
        return Record.read(file)
    except NotARecord as error:
        raise Refused(f"--{option}: {error}") from error
