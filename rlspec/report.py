"""What a person, or a program, is told: the evidence of a violation, and the verdicts."""

import json
from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from . import __version__
from .properties.checking import Violation, show
from .spec.clauses import CHAPTERS, clauses
from .verdicts import Outcome, Verdict, counted, missing

COLOURS = {
    "holds": {"green": True},
    "violated": {"red": True, "bold": True},
    "stale": {"red": True},
    "known": {"yellow": True},
}


def evidence(error: Violation) -> dict[str, Any]:
    """A violation's operation, arguments, expected and actual values, as text; what there is of them."""
    call = error.call
    arguments = dict(zip(call.operation.parameters, map(show, call.arguments), strict=True))
    found: dict[str, Any] = {"operation": call.operation.name, "arguments": arguments}
    if error.expected is not None:
        found["expected"] = show(error.expected)
    if error.actual is not None:
        found["actual"] = show(error.actual)
    return found


def violation(outcome: Outcome) -> str:
    """What pytest prints for a violated property: the clause, the input, expected and actual."""
    lines = []
    for id in outcome.clauses:
        clause = clauses()[id]
        lines += [f"{clause.id} {clause.title}  ({clause.place})", _indented(clause.text), ""]
    if found := outcome.evidence:
        width = max(map(len, found["arguments"]))
        lines += [f"  {found['operation']}("]
        lines += [f"      {name:{width}} = {value}," for name, value in found["arguments"].items()]
        lines += ["  )"]
        lines += [f"  {name:8}  {found[name]}" for name in ("expected", "actual") if name in found] + [""]
    return "\n".join([*lines, f"  {outcome.message}"])


def _indented(text: str) -> str:
    return fill(text, width=100, initial_indent="  ", subsequent_indent="  ")


def as_json(about: Mapping[str, Any], run: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> str:
    """The file that ``--verdicts`` writes (its schema is in the README)."""
    content = {
        "candidate": about["name"],
        "rlspec": __version__,
        "run": run,
        "conventions": {"declared": about["declared"], "inferred": about["inferred"]},
        "clauses": {id: verdict.as_json() for id, verdict in verdicts.items()},
    }
    return json.dumps(content, indent=2) + "\n"


def _lines(verdict: Verdict) -> Iterator[tuple[str, dict[str, bool]]]:
    said = verdict.verdict.upper() if verdict.verdict in ("violated", "stale") else verdict.verdict
    counts = {"answers": verdict.answers, "declined": verdict.declined, "without an answer": verdict.unanswered}
    tally = ", ".join(f"{count:,} {of_what}" for of_what, count in counts.items() if count)
    line = f"  {verdict.clause.id:8}{said:10}{verdict.clause.title}{f'  [{tally}]' if tally else ''}"
    yield line, COLOURS.get(verdict.verdict, {})
    if verdict.message:
        yield f"{'':20}{verdict.message}", {"light": True}


def summary(
    about: Mapping[str, Any], verdicts: Mapping[str, Verdict], required: list[str], problem: str
) -> Iterator[tuple[str, dict[str, bool]]]:
    """The closing lines of a run, each with its colours."""
    if problem:
        yield problem, {"red": True}
    for chapter in CHAPTERS:
        of_chapter = [verdict for verdict in verdicts.values() if verdict.clause.chapter == chapter]
        name = chapter.replace("_", " ")
        statuses = {verdict.verdict for verdict in of_chapter}
        if statuses in ({"absent"}, {"untested"}):
            yield f"{name}: {statuses.pop()}, {len(of_chapter)} clauses", {}
            continue
        yield name, {"bold": True}
        for verdict in of_chapter:
            yield from _lines(verdict)
    for how in ("declared", "inferred"):
        for name, choice in about[how].items():
            if not (name.endswith(".precision") and choice == "float64"):  # as one would expect
                yield f"convention {name} = {choice} ({how})", {}
    if lacking := missing(verdicts, required):
        yield f"required, but not tested: {', '.join(lacking)}", {"red": True}
    yield (
        f"{counted(verdicts)}  ({', '.join(sorted({v.clause.level for v in verdicts.values()}))} clauses)",
        {"bold": True},
    )
