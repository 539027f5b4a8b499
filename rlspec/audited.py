"""``python -m rlspec audit``: reading recorded calls, and saying what was found."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from . import __version__
from .audit import Finding, audit
from .excerpt import Excerpt
from .faults import Fault
from .properties.checking import Call, show
from .recorded import NotRead, Seen, files_at, load
from .report import called
from .rounded import BITS
from .run_summary import summary
from .spec.clauses import choices
from .worked import worked

SHOWN = 40
"""Arrays of more numbers are not printed whole."""

WIDE = 52
"""Nor are those that take more columns."""

COLUMNS = 80
"""Of a terminal: a table that has more is left out."""

LINKS = 3
"""So many places where a mistake was seen are told."""


def run(paths: Sequence[str], json_file: str | None = None, adapter: str | None = None) -> int:
    """Print what there is to say of the recorded calls in files or folders: 0 all hold, 1 one is wrong, 2 refused.

    A file that cannot be read keeps no other one from being judged, such as those of other ranks.
    """
    calls, refused = _read(paths)
    for why in refused or ["no calls were recorded"] * (not calls):
        print(f"rlspec audit: {why}", file=sys.stderr)
    if not calls:
        return 2
    findings = []
    for finding in audit(calls):
        findings.append(finding)
        print("\n".join(block(finding)), flush=True)
    figures = [str(figure) for figure in summary(calls)]
    if figures:
        print("\n".join(["", "The run, over all recorded calls:", *(f"  {line}" for line in figures)]))
    wrong = [finding for finding in findings if finding.wrong]
    print(f"\n{_verdict(findings, wrong)}")
    try:
        if json_file:
            Path(json_file).write_text(as_json(findings, calls), encoding="utf-8")
        if adapter and wrong:
            Path(adapter).write_text(as_adapter(wrong[0]), encoding="utf-8")
    except OSError as error:
        print(f"rlspec audit: {error.filename} cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return 1 if wrong else 2 if refused else 0


def _read(paths: Sequence[str]) -> tuple[list[Seen], list[str]]:
    """The calls in files or folders, and why some of them cannot be read."""
    calls: list[Seen] = []
    refused: list[str] = []
    for path in paths:
        try:
            files = files_at(Path(path))
        except NotRead as why:
            files, refused = [], [*refused, str(why)]
        for file in files:
            try:
                calls += load(file)
            except NotRead as why:
                refused.append(str(why))
    return calls, refused


def _verdict(findings: Sequence[Finding], wrong: Sequence[Finding]) -> str:
    """The last line: how many operations are wrong, hold and were not judged."""
    holding = sum(finding.holds for finding in findings)
    counts = {"wrong": len(wrong), "hold": holding, "not judged": len(findings) - len(wrong) - holding}
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{len(findings)} operation{'s' * (len(findings) != 1)}: {said}"


def block(finding: Finding) -> Iterator[str]:
    """The lines about one operation."""
    name, count = finding.operation.name, len(finding.calls)
    calls = f"{count} recorded call{'s' * (count != 1)}"
    if finding.why_not:
        yield f"{name}: not judged. {finding.why_not}"
        return
    precisions = ", ".join(dict.fromkeys(call.precision for call in finding.calls))
    if finding.holds:
        yield f"{name}: holds on {calls}, to the rounding of {precisions}"
    else:
        yield f"{name}: WRONG in {len(finding.wrong)} of {calls}"
        yield from _wrapped(mistake(finding))
        if finding.excerpt:
            yield from _excerpt(finding.excerpt)
    settled = [f"{name} = {choice}" for name, choice in finding.chosen.items() if name not in finding.alike]
    if settled:
        yield from _wrapped(f"conventions found: {', '.join(settled)}")
    if finding.alike:
        open_ones = [f"{name} = {' or '.join(_alternatives(finding, name))}" for name in finding.alike]
        yield from _wrapped(f"not told apart by what was recorded: {', '.join(open_ones)}")
    if finding.hidden.changes:
        yield from _wrapped(f"not told apart in {precisions} on what was recorded: {', '.join(finding.hidden.changes)}")
    if finding.hidden.nearest:
        yield from _wrapped(
            f"but the answers are {finding.hidden.times:.0f} times nearer to what {finding.hidden.nearest} gives than "
            "to what is right, in root mean square; rounding alone has no preference"
        )
    if finding.unseen:
        yield from _wrapped(f"not seen, so not judged: {'; '.join(finding.unseen)}")


def _alternatives(finding: Finding, name: str) -> list[str]:
    """The choices of a convention that explain all answers, those with a number in them by their shape."""
    shapes = [choice for choice in choices()[name] if choice.letter]
    texts = [finding.chosen[name], *finding.alike[name]]
    return list(dict.fromkeys(next((shape.text for shape in shapes if shape.fits(text)), text) for text in texts))


def mistake(finding: Finding) -> str:
    """What the run gets wrong, in words."""
    known = " and the ".join(f"fault `{fault.slug}`{_seen_in(fault)}" for fault in finding.faults)
    narrow = next((call.precision for call in finding.wrong if BITS[call.precision] < BITS["float32"]), "")
    exactly = f"it behaves, to the rounding of {narrow}," if narrow else "it behaves exactly"
    if finding.explanation:
        return f"{exactly} {finding.explanation}{f', the {known}' if known else ''}"
    if known:
        return f"{exactly} like the {known}: {finding.faults[0].effect}"
    if finding.weights:
        return finding.weights
    return "no known mistake, and no small change of what is right, does the same"


def _seen_in(fault: Fault) -> str:
    """Where a fault was seen, in brackets; as many places as are told, and how many more there are."""
    shown, more = ", ".join(fault.seen[:LINKS]), len(fault.seen) - LINKS
    return f" (seen in {shown}{f' and {more} more' if more > 0 else ''})" if shown else ""


def _excerpt(excerpt: Excerpt) -> Iterator[str]:
    call = excerpt.call
    what = "a part of it that shows what is wrong" if excerpt.cut else "no part of it shows what is wrong by itself"
    yield from _wrapped(f"{call}; {what}:")
    arguments = {name: _short(value) for name, value in call.named.items()}
    yield from (f"  {line}" for line in called(call.operation.name, arguments))
    actual, expected = call.results[excerpt.result], excerpt.expected[excerpt.result]
    if 1 < actual.size <= SHOWN:
        table = worked(Call(call.operation, call.arguments), {"expected": expected, "recorded": actual})
        if all(len(line) <= COLUMNS - 4 for line in table):
            yield from (f"    {line}" for line in table)
    where = f" at {list(excerpt.place)}" if excerpt.place else ""
    of = f" of {excerpt.result}" if excerpt.result else ""
    yield from _wrapped(
        f"expected {expected[excerpt.place]:.9g}{where}{of}, recorded {float(actual[excerpt.place]):.9g}; "
        f"rounding explains {excerpt.slack:.2g}"
    )


def _short(value: Any) -> str:
    if np.size(value) > SHOWN:
        return f"array of shape {list(np.shape(value))}"
    text = show(value.astype(float).round(6) if getattr(value, "dtype", None) == np.float32 else value)
    return text if len(text) <= WIDE else f"array of shape {list(np.shape(value))}"


def _wrapped(text: str) -> list[str]:
    return fill(text, COLUMNS - 2, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False).splitlines()


def as_json(findings: Sequence[Finding], calls: Sequence[Seen]) -> str:
    """The findings as a JSON object."""
    content = {
        "rlspec": __version__,
        "operations": {
            finding.operation.name: {
                "verdict": "untested" if finding.why_not else "holds" if finding.holds else "violated",
                "calls": len(finding.calls),
                "wrong": [{"file": call.file, "number": call.number} for call in finding.wrong],
                "mistake": mistake(finding) if finding.wrong else "",
                "faults": [fault.slug for fault in finding.faults],
                "conventions": finding.chosen,
                "alike": finding.alike,
                "not told apart": finding.hidden.changes,
                "nearer": finding.hidden.nearest,
                "not seen": finding.unseen,
            }
            for finding in findings
        },
        "run": [{"figure": one.said, "value": one.value, "clause": one.clause} for one in summary(calls)],
    }
    return json.dumps(content, indent=2) + "\n"


ADAPTER = '''"""{title}

Put your own function where it says so.  `python FILE` then shows what it answers to the part of the run that is
wrong, and `python -m rlspec check FILE` asks it everything else.
"""

import numpy as np
from numpy import array, float32, float64, int64  # what the numbers below are written with

ARGUMENTS = {arguments}
RECORDED = {recorded}
EXPECTED = {expected}


def {name}({parameters}):
    raise NotImplementedError("call your own function here")


if __name__ == "__main__":
    print("expected", EXPECTED)
    print("recorded", RECORDED)
    print("answers ", {name}(**ARGUMENTS))
'''


def as_adapter(finding: Finding) -> str:
    """A candidate's file with the part of the run that shows what is wrong."""
    assert finding.excerpt is not None
    call, name = finding.excerpt.call, finding.operation.name
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return ADAPTER.format(
            title=fill(f"{name}: {mistake(finding)}.", 110, break_on_hyphens=False),
            arguments=repr(call.named),
            recorded=repr(call.results),
            expected=repr(finding.excerpt.expected),
            name=name,
            parameters=", ".join(finding.operation.parameters),
        )
