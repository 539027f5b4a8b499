"""What a person, or a program, is told: the evidence of a violation, and the verdicts."""

from collections.abc import Iterable, Iterator, Mapping
from textwrap import fill
from typing import Any

import numpy as np

from .corpus import Stored
from .lines import unexplained
from .properties.checking import Call, Violation, show
from .spec.clauses import CHAPTERS, clauses
from .verdicts import FORMULAS, Outcome, Verdict, counted, missing, operation_of
from .wire import DTYPES, encoded
from .worked import worked

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
    if error.result:
        found["result"] = error.result
    if written := _inputs(call):
        found["inputs"] = written
    if error.expected is not None and (table := worked(call, {"expected": error.expected, "actual": error.actual})):
        found["worked"] = table
    if stored := Stored.shown_by(error):
        found["drawn"] = stored.said()
    return found


def _inputs(call: Call) -> dict[str, Any]:
    """The arguments as JSON has them, by their names; nothing, where one is of a type that has no such form."""
    arguments = dict(zip(call.operation.parameters, call.arguments, strict=True))
    arrays = [value for value in arguments.values() if isinstance(value, np.ndarray)]
    if any(array.dtype.kind not in "UO" and array.dtype.name not in DTYPES for array in arrays):
        return {}
    return {name: encoded(value) for name, value in arguments.items()}


def under(choices: Mapping[str, str]) -> str:
    """What a message ends with, if the choices that the candidate made are not known: those that it was judged by."""
    listed = ", ".join(f"{name} = {choice}" for name, choice in choices.items())
    return f"; so with {listed}, and other choices do not explain it either" if listed else ""


def violation(outcome: Outcome) -> str:
    """What pytest prints for a violated property: the clause, the input, expected and actual."""
    lines = []
    for id in outcome.clauses:
        clause = clauses()[id]
        lines += [f"{clause.id} {clause.title}  ({clause.place})", _indented(clause.text), ""]
    if found := outcome.evidence:
        lines += called(found["operation"], found["arguments"])
        lines += [f"  {name:8}  {found[name]}" for name in ("expected", "actual") if name in found] + [""]
        lines += [f"  {line}" for line in found.get("worked", [])] + [""] * ("worked" in found)
    return "\n".join([*lines, _indented(outcome.message), *map(_indented, diagnosis(outcome.evidence))])


def diagnosis(evidence: Mapping[str, Any], links: bool = True) -> list[str]:
    """What the candidate does wrong, a line for each possible mistake; or what kind of thing is wrong.

    links: whether to say where known mistakes were seen.
    """
    return [_said(mistake, links) for mistake in evidence.get("diagnosis", [])]


def _said(mistake: Mapping[str, Any], links: bool) -> str:
    """One mistake in a sentence, with the museum's faults that do the same."""
    if not mistake["explained"]:
        return unexplained(mistake)
    known = " and ".join(_named(fault, links) for fault in mistake["faults"])
    if not mistake["edited"]:
        return f"behaves exactly like {known}{beside(mistake)}"
    exactly = "behaves exactly " if mistake["words"].startswith("as if") else ""
    return f"{exactly}{mistake['words']}{beside(mistake)}{f', the {known}' if known else ''}"


def _named(fault: Mapping[str, Any], links: bool) -> str:
    seen = f"seen in {', '.join(fault['seen'])}" if fault["seen"] else "not seen in the wild"
    return f"fault `{fault['slug']}`" + (f" ({seen})" if links else "")


def beside(mistake: Mapping[str, Any]) -> str:
    """The choices beside which a mistake shows, if they are to be declared."""
    listed = ", ".join(f"{name} = {choice}" for name, choice in mistake.get("conventions", {}).items())
    return f" with {listed} (declare it under CONVENTIONS)" if listed else ""


def called(operation: str, arguments: Mapping[str, str]) -> list[str]:
    """A call as a person would write it, an argument to a line."""
    width = max(map(len, arguments))
    return [f"  {operation}(", *(f"      {name:{width}} = {value}," for name, value in arguments.items()), "  )"]


def _indented(text: str) -> str:
    return fill(text, width=100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _lines(verdict: Verdict) -> Iterator[tuple[str, dict[str, bool]]]:
    said = verdict.verdict.upper() if verdict.verdict in ("violated", "stale") else verdict.verdict
    counts = {"answers": verdict.answers, "declined": verdict.declined, "without an answer": verdict.unanswered}
    tally = ", ".join(f"{count:,} {of_what}" for of_what, count in counts.items() if count)
    line = f"  {verdict.clause.id:8}{said:10}{verdict.clause.title}{f'  [{tally}]' if tally else ''}"
    yield line, COLOURS.get(verdict.verdict, {})
    for said in filter(None, [verdict.message, *diagnosis(verdict.evidence, links=False)]):
        yield f"{'':20}{said}", {"light": True}
    for said in further(verdict):
        yield f"{'':20}{said}", {"light": True}


def further(verdict: Verdict) -> list[str]:
    """A line for each further operation that violates the clause; one for all of which the same is to be said."""
    said: dict[str, list[str]] = {}
    mine = verdict.evidence.get("operation", "")
    for one in verdict.also:
        said.setdefault(one.message.replace(operation_of(one), mine), []).append(operation_of(one))
    same = said.pop(verdict.message, [])
    lines = [f"and the same of {', '.join(same)}"] if same else []
    messages = {operation_of(one): one.message for one in verdict.also}
    return lines + [f"{', '.join(names)}: {messages[names[0]]}" for names in said.values()]


def summary(
    about: Mapping[str, Any], verdicts: Mapping[str, Verdict], required: list[str], problem: str
) -> Iterator[tuple[str, dict[str, bool]]]:
    """The closing lines of a run, each with its colours."""
    if problem:
        yield problem, {"red": True}
    for chapter in CHAPTERS:
        of_chapter = [verdict for verdict in verdicts.values() if verdict.clause.chapter == chapter]
        if not of_chapter:  # it has theorems alone
            continue
        name = chapter.replace("_", " ")
        statuses = {verdict.verdict for verdict in of_chapter}
        if statuses in ({"absent"}, {"untested"}):
            yield f"{name}: {statuses.pop()}, {len(of_chapter)} clauses", {}
            continue
        yield name, {"bold": True}
        for verdict in of_chapter:
            if verdict.verdict not in ("absent", "untested") and verdict.clause.id != FORMULAS:
                yield from _lines(verdict)
        alike: dict[tuple[str, str], list[str]] = {}
        for verdict in of_chapter:
            if verdict.verdict in ("absent", "untested") and verdict.clause.id != FORMULAS:
                alike.setdefault((verdict.verdict, verdict.message), []).append(verdict.clause.id)
        for (said, reason), ids in alike.items():
            yield f"  {said}: {', '.join(ids)}{f' ({reason})' if reason else ''}", {"light": True}
    formulas = verdicts[FORMULAS]  # whatever no other clause names comes last
    if formulas.verdict != "absent" and formulas.message + formulas.verdict != "untested":
        yield "all formulas", {"bold": True}
        yield from _lines(formulas)
    for how in ("declared", "inferred"):
        for name, choice in about[how].items():
            if not (name.endswith(".precision") and choice.startswith("float64")):  # as one would expect
                others = about["alike"].get(name, []) if how == "inferred" else []
                yield f"convention {name} = {choice} ({'; or '.join([how, *others])})", {}
    if lacking := missing(verdicts, required):
        yield f"required, but not tested: {', '.join(lacking)}", {"red": True}
    yield (
        f"{counted(verdicts)}  ({', '.join(sorted({v.clause.level for v in verdicts.values()}))} clauses)",
        {"bold": True},
    )


def offers(outcomes: Iterable[Outcome]) -> list[str]:
    """What to do to keep the random inputs that show what no input of the corpus does."""
    lines = [f"    python -m rlspec.corpus --keep '{one.property}' {one.offer}" for one in outcomes if one.offer]
    said = "none of the corpus's inputs shows these violations; in a checkout they are kept with"
    return [said, *lines] if lines else []
