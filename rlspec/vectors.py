"""Test vectors: calls with their exact answers, for whoever cannot run the properties.

``python -m rlspec.vectors`` writes ``spec/vectors/`` anew.  The vectors of an operation are chosen from the properties'
questions: such that they expose as many of the museum's faults as any of these questions do, cover what is special, and
are small.
"""

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from .alike import NOTHING_COUNTS, alike
from .conventions import drawn
from .exact import DIGITS, RATIONAL, Conventions, decimal, right
from .faults import Fault, museum
from .properties.checking import DOUBLE, exactly, first_miss, tolerance
from .properties.masks import something_counts
from .properties.questions import PLAIN_QUESTIONS, QUESTIONS
from .properties.questions.question import Question
from .spec.clauses import CHAPTERS, clauses, conventions_of
from .spec.operations import OPERATIONS, Operation
from .special import flags
from .wire import encoded

FOLDER = Path(__file__).parent / "spec" / "vectors"
if not FOLDER.is_dir():  # a checkout, where spec lies beside the package
    FOLDER = Path(__file__).parents[1] / "spec" / "vectors"

VERSION = 1
"""Of the files' form."""

DRAWN = ((QUESTIONS, 240), (PLAIN_QUESTIONS, 60))
"""What the vectors are chosen from: how many questions of which kind."""

OFTEN = 3
"""So many questions that expose a fault are enough to choose from."""

UNSEEN = ("OPS-2", "OPS-3")
"""Clauses that no single answer shows to be violated: on what is written to, and on what is remembered."""

LEAST, MOST = 12, 40
"""How many vectors an operation has, under its usual conventions."""


@dataclass(eq=False)
class Case:
    """A call that may become a vector."""

    question: Question
    """A question with the same answer."""
    conventions: Conventions
    arguments: tuple[Any, ...]
    clause: str = ""
    """The clause by which the answer is the question's, or zero, if the arguments are not the question's."""
    exposes: set[str] = field(default_factory=set)

    @property
    def operation(self) -> Operation:
        """The operation that is asked."""
        return self.question.operation

    @cached_property
    def right(self) -> tuple[np.ndarray, ...]:
        """The exact results."""
        return self.right_under(self.conventions)

    def right_under(self, conventions: Conventions) -> tuple[np.ndarray, ...]:
        """The exact results under other conventions."""
        results = right(self.question, conventions)
        if self.clause == NOTHING_COUNTS:
            return tuple(np.full(part.shape, Fraction(0), dtype=object) for part in results)
        return results

    @cached_property
    def flags(self) -> list[str]:
        """What is special about it."""
        return flags(self.operation, self.arguments)

    @cached_property
    def covers(self) -> set[str]:
        """What it covers: its flags, and the choices by name among its arguments."""
        given = zip(self.operation.parameters, self.arguments, strict=True)
        return {*self.flags, *(f"{name}={value}" for name, value in given if isinstance(value, str))}

    @property
    def size(self) -> int:
        """How many characters its line has, about."""
        given = sum(np.size(argument) for argument in self.arguments)
        results = [Fraction(number) for part in self.right for number in part.ravel()]
        bits = sum(number.numerator.bit_length() + number.denominator.bit_length() for number in results)
        return 200 + 20 * given + (bits // 3 if self.operation.name in RATIONAL else (DIGITS + 10) * len(results))

    def wrong(self, results: Any, conventions: Conventions) -> bool:
        """Whether results are other than the right ones under the conventions, by more than rounding."""
        exact = self.right if conventions == self.conventions else self.right_under(conventions)
        parts = results if isinstance(results, tuple | list) and len(exact) > 1 else (results,)
        if len(parts) != len(exact):
            return True
        for part, wanted in zip(parts, exact, strict=True):
            array = np.asarray(part)
            if array.dtype.kind not in "iufb" or array.shape != wanted.shape:
                return True
            if first_miss(array, wanted, roundoff=DOUBLE, **self.question.judged) is not None:
                return True
        return False

    def exposed(self, fault: Fault) -> bool:
        """Whether the fault's answer is wrong, under these conventions and with any one choice made otherwise."""
        copies = [copy(argument) for argument in self.arguments]
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                results = fault.implementation(*copies)
        except NotImplementedError:
            return False
        except Exception:
            return True
        return all(self.wrong(results, chosen) for chosen in [self.conventions, *others(self.conventions)])


def defaults(operation: str) -> Conventions:
    """The first choice of each of an operation's conventions."""
    return {name: choices[0] for name, choices in conventions_of(operation).items()}


def others(conventions: Conventions) -> list[Conventions]:
    """The conventions with one choice made otherwise, each other choice in turn."""
    return [
        conventions | {name: choice}
        for name in conventions
        for choice in conventions_of(name.partition(".")[0])[name]
        if choice != conventions[name]
    ]


def pool(operation: str) -> list[Case]:
    """The questions that an operation's vectors are chosen from, small ones first."""
    asked = [question for source, count in DRAWN for question in drawn(source[operation], count)]
    chosen = defaults(operation)
    plain = [Case(question, chosen, question.arguments) for question in asked if something_counts(question)]
    plain += [_shifted(case) for case in plain[::8] if operation.endswith("policy_gradient")]
    made = [
        Case(case.question, case.conventions, *changed)
        for place, case in enumerate(plain)
        for changed in alike(case.question, place)
    ]
    fit = [case for case in [*plain, *made] if _usable(case)]
    distinct = {identity(case): case for case in fit}
    return sorted(distinct.values(), key=lambda case: case.size)


def _shifted(case: Case) -> Case:
    """The same with logits in the thousands, by their digits another policy."""
    given = dict(zip(case.operation.parameters, case.question.arguments, strict=True))
    arguments = tuple((given | {"logits": given["logits"] + 1000.0}).values())
    return Case(replace(case.question, arguments=arguments), case.conventions, arguments, "PG-17")


def _usable(case: Case) -> bool:
    """Whether every result is a finite float."""
    with suppress(OverflowError):
        return all(isfinite(float(number)) for part in case.right for number in part.ravel())
    return False


def chosen_for(operation: str) -> list[Case]:
    """The vectors of an operation, small ones first."""
    faults = [fault for fault in museum().values() if fault.operation == operation and fault.clause not in UNSEEN]
    cases, count = pool(operation), defaultdict[str, int](int)
    for case in cases:
        for fault in faults:
            if count[fault.id] < OFTEN and case.exposed(fault):
                case.exposes.add(fault.id)
                count[fault.id] += 1
    taken = _greedily(cases, operation)
    for case in taken:
        usual = case.conventions == defaults(operation)
        case.exposes = {fault.id for fault in faults if usual and case.exposed(fault)}
    return sorted(taken, key=lambda case: (case.size, identity(case)))


def _greedily(cases: Sequence[Case], operation: str) -> list[Case]:
    """Cases that expose and cover what any does, for few characters; some more; and one for each other choice."""
    taken: list[Case] = []
    open_faults = set().union(*(case.exposes for case in cases))
    open_flags = set().union(*(case.covers for case in cases))
    while (open_faults or open_flags) and len(taken) < MOST:
        best = max(cases, key=lambda case: _gain(case, open_faults, open_flags))
        open_faults -= best.exposes
        open_flags -= best.covers
        taken.append(best)
    small = cases[: len(cases) // 2]
    more = [case for case in small[:: max(len(small) // LEAST, 1)] if case not in taken]
    taken += more[: max(LEAST - len(taken), 0)]
    for chosen in others(defaults(operation)):
        telling = [case for case in cases if not case.clause]
        for case in telling:
            apart = Case(case.question, chosen, case.arguments)
            with suppress(ArithmeticError, ValueError):
                if _usable(apart) and case.wrong(tuple(part.astype(float) for part in apart.right), case.conventions):
                    taken.append(apart)
                    break
    return taken


def _gain(case: Case, faults: set[str], covered: set[str]) -> float:
    return (3 * len(case.exposes & faults) + len(case.covers & covered)) / case.size


def identity(case: Case) -> str:
    """A vector's permanent id: the operation, and eight digits that its arguments and conventions determine."""
    said = [case.conventions, *map(encoded, case.arguments)]
    return f"{case.operation.name}-{sha256(json.dumps(said).encode()).hexdigest()[:8]}"


def written(case: Case, alone: set[str]) -> dict[str, Any]:
    """A vector as JSON.

    alone: the faults that no other vector exposes.
    """
    operation = case.operation
    given = dict(zip(operation.parameters, map(_argument, case.arguments), strict=True))
    parts = [result(part, case) for part in case.right]
    results = dict(zip(operation.results, parts, strict=True))
    known, specified = museum(), clauses()
    named = {case.clause, *(known[id].clause for id in case.exposes)} - {""} or {"OPS-8"}
    return {
        "id": identity(case),
        "level": "SHOULD" if case.clause and specified[case.clause].level == "SHOULD" else "MUST",
        "clauses": sorted(named, key=list(specified).index),
        "conventions": case.conventions,
        "flags": case.flags,
        "arguments": given,
        "result": results if len(results) > 1 else parts[0],
        "exposes": sorted(case.exposes),
        "alone": sorted(case.exposes & alone),
    }


def _argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = encoded(value)
        return array | {"exact": [_exact(entry) for entry in value.ravel()]} if value.dtype.kind == "f" else array
    return {"number": encoded(value), "exact": _exact(value)} if isinstance(value, float) else value


def _exact(number: Any) -> str:
    return str(exactly(number)) if isfinite(number) else str(float(number))


def result(part: np.ndarray, case: Case) -> dict[str, Any]:
    """The numbers of a result: as floats, as exactly as they are known, and how far rounding may take them."""
    terms = np.broadcast_to(np.asarray(case.question.magnitude, dtype=object), part.shape)
    allowed = [_allowed(magnitude, case.question.roundings) for magnitude in terms.ravel()]
    rational_ = case.operation.name in RATIONAL
    exact = [
        str(Fraction(number)) if rational_ else decimal(Fraction(number), magnitude)
        for number, magnitude in zip(part.ravel(), terms.ravel(), strict=True)
    ]
    floats = [float(Fraction(number)) for number in part.ravel()]
    if not part.shape:
        return {"number": floats[0], "exact": exact[0], "tolerance": allowed[0]}
    return {"dtype": "float64", "shape": list(part.shape), "data": floats, "exact": exact, "tolerance": allowed}


def _allowed(magnitude: Any, roundings: int) -> float:
    """The tolerance, rounded up to two digits."""
    bound = tolerance(magnitude=magnitude, roundings=roundings, roundoff=DOUBLE)
    up = Context(prec=2, rounding="ROUND_UP")
    return float(up.divide(Decimal(bound.numerator), Decimal(bound.denominator)))


def file_text(operation: str, cases: Sequence[Case]) -> str:
    """An operation's file: a line for each vector."""
    faults = sorted(fault.id for fault in museum().values() if fault.operation == operation)
    count = {id: sum(id in case.exposes for case in cases) for id in faults}
    alone = {id for id in faults if count[id] == 1}
    head = {
        "version": VERSION,
        "operation": operation,
        "chapter": OPERATIONS[operation].chapter,
        "exposed": [id for id in faults if count[id]],
        "not_exposed": [id for id in faults if not count[id]],
    }
    lines = ",\n".join(json.dumps(written(case, alone), allow_nan=False) for case in cases)
    return f'{json.dumps(head, indent=1)[:-2]},\n "vectors": [\n{lines}\n]}}\n'


MARKER = "<!-- generated by python -m rlspec.vectors -->"


def page(before: str, files: Mapping[str, Any]) -> str:
    """The folder's README with the table of what the vectors expose, by chapter.

    files: the files' contents by their operations.
    """
    lines = ["| chapter | operations | vectors | faults | exposed | not exposed |", "|---|---|---|---|---|---|"]
    for chapter in CHAPTERS:
        lines += _row(chapter, [file for file in files.values() if file["chapter"] == chapter])
    lines += _row("all", [*files.values()])
    return f"{before.partition(MARKER)[0]}{MARKER}\n\n" + "\n".join(lines) + "\n"


def _row(chapter: str, files: Sequence[Mapping[str, Any]]) -> list[str]:
    """A chapter's row, or none without an operation."""
    if not files:
        return []
    count = sum(len(file["vectors"]) for file in files)
    exposed = sum(len(file["exposed"]) for file in files)
    missed = sorted(id for file in files for id in file["not_exposed"])
    share = f"{exposed} ({100 * exposed / (exposed + len(missed)):.0f}%)"
    named = len(missed) if chapter == "all" else ", ".join(missed)
    return [f"| {chapter.replace('_', ' ')} | {len(files)} | {count} | {exposed + len(missed)} | {share} | {named} |"]


def main(argv: Sequence[str] | None = None) -> None:
    """Choose and write the vectors of all operations, or of those named, and the table of what they expose."""
    parser = argparse.ArgumentParser(prog="python -m rlspec.vectors", description=__doc__)
    parser.add_argument("operations", nargs="*", help="of all operations if none is named")
    parser.add_argument("--page", action="store_true", help="write only the table")
    arguments = parser.parse_args(argv)
    for operation in [] if arguments.page else arguments.operations or OPERATIONS:
        cases = chosen_for(operation)
        text = file_text(operation, cases)
        (FOLDER / f"{operation}.json").write_text(text, encoding="utf-8")
        head = json.loads(text)
        print(
            f"{operation}: {len(cases)} vectors, {len(text) / 1000:.0f} kB, expose {len(head['exposed'])} of "
            f"{len(head['exposed']) + len(head['not_exposed'])} faults; not {', '.join(head['not_exposed']) or 'none'}",
            flush=True,
        )
    files = {name: FOLDER / f"{name}.json" for name in OPERATIONS}
    said = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
    readme = FOLDER / "README.md"
    readme.write_text(page(readme.read_text(encoding="utf-8"), said), encoding="utf-8")


if __name__ == "__main__":
    main()
