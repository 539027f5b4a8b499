"""A failure as a script of plain NumPy, and again on a candidate."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import pytest

from . import __version__
from .candidate import Declined
from .limits import Limits, Stopped
from .loading import PREFIX, NotLoaded, one_line, short_names
from .properties.checking import Violation as Checked
from .properties.checking import each, show
from .run_record import NotARecord, Record, Violation
from .spec.operations import OPERATIONS
from .wire import NOT_FINITE, decoded

WIDTH = 100


def script(one: Violation, record: Record) -> str:
    """A script that makes the call and says whether it still comes out wrong; it needs NumPy and the candidate alone.

    Empty, where the record has no call.
    """
    given = one.found.get("inputs")
    if not given or one.operation not in OPERATIONS:
        return ""
    said = one_line(f"{one.operation} of {record.name} violates {one.clause}: {one.found.get('message', '')}")
    said = said.replace("\\", "/").replace('"""', "'''")
    lines = wrap(f'"""{said}', WIDTH, break_long_words=False, break_on_hyphens=False)
    lines[-1] += '"""' if not lines[-1].endswith('"') else ' """'
    body = [f"{name} = {_python(value)}" for name, value in given.items()]
    if "expected" in one.found:
        body += [f"expected, recorded = np.array({one.found['expected']}), np.array({one.found.get('actual')})"]
    used = [name for name in ("inf", "nan") if re.search(rf"\b{name}\b", "\n".join(body))]
    lines += ["import numpy as np", *([f"from numpy import {', '.join(used)}"] if used else [])]
    lines += [*_import(one.operation, record), "", *body]
    lines += [f"actual = {one.operation}({', '.join(given)})"]
    results = [*OPERATIONS[one.operation].results]
    if result := one.found.get("result"):
        lines[-1] += f"[{results.index(result)}]  # {result}"
    if "expected" not in one.found:
        return "\n".join([*lines, 'print("it answered", actual)', ""])
    lines += ['print("expected", expected, "and got", actual)']
    lines += ["off = np.max(abs(np.asarray(actual, float) - expected))"]
    lines += ['assert off < np.max(abs(recorded - expected)) / 2, f"still wrong by {off}"']
    return "\n".join([*lines, ""])


def run(file: str, which: Sequence[str], what: str | None, as_script: bool) -> int:
    """Print what becomes of the recorded failures; 0 all are right now, 1 one is not, 2 one cannot be judged.

    which: clauses or operations; all, if there are none.  what: the candidate; the record's own, if it is None.
    """
    try:
        record = Record.read(file)
    except NotARecord as error:
        return _refused(str(error))
    recorded = [*record.violations()]
    found = [one for one in recorded if not which or {one.clause, one.operation} & {*which}]
    if not found:
        there = ", ".join(dict.fromkeys(one.clause for one in recorded)) or "none at all"
        return _refused(f"{file} has no violation of {', '.join(which) or 'any clause'}; it has {there}")
    if as_script:
        print("\n\n".join(text for one in found if (text := script(one, record))), end="")
        return 0
    what = what or record.said.get("what")
    if not what:
        return _refused(f"{file} does not say what the candidate was; --candidate=WHAT does")
    return _again(found, what, record)


def _again(found: Sequence[Violation], what: str, record: Record) -> int:
    from .options import BUDGET, PATIENCE
    from .suite import Suite

    try:
        suite = Suite(what, (), (), Limits(BUDGET, PATIENCE), record)
    except NotLoaded as error:
        return _refused(str(error))
    wrong = [_asked_again(one, suite) for one in found]
    return 1 if True in wrong else 2 if None in wrong else 0


def _asked_again(one: Violation, suite: Any) -> bool | None:
    """Ask the recorded call again, then judge the property; whether it is still violated, None if that is not known."""
    print(f"{one.clause}, {one.operation or one.found.get('property')}:")
    unusable = False
    arguments = _arguments(one)
    if arguments is not None:
        suite.candidate.start_trial()
        try:
            answer = each(suite.candidate.answer(OPERATIONS[one.operation], *arguments))
            print(f"  the recorded call is answered {', '.join(show(part.value) for part in answer)}")
        except (Declined, Stopped, Checked, pytest.skip.Exception) as error:
            unusable = not isinstance(error, Declined)
            print(f"  the recorded call: {str(error) or suite.candidate.reason}")
        if "expected" in one.found:
            print(f"  recorded: expected {one.found['expected']}, got {one.found.get('actual')}")
    [*judged] = [of for of in suite.properties if of.name == one.found.get("property")]
    for of in judged:
        outcome = suite.outcome(of)
        print(f"  {of.sentence}: {outcome.status}{f' ({outcome.message})' if outcome.message else ''}")
        return outcome.status == "violated"
    if arguments is not None and one.found.get("property") == f"first look[{one.operation}]":
        return unusable  # any answer would have done
    print(f"  not judged: rlspec {__version__} has no property called {one.found.get('property')}")
    return unusable or None


def _arguments(one: Violation) -> list[Any] | None:
    """The arguments of the recorded call; None if there is none that the operation of today takes."""
    given = one.found.get("inputs")
    if one.operation not in OPERATIONS or given is None or (*given,) != OPERATIONS[one.operation].parameters:
        return None
    try:
        return [_value(value) for value in given.values()]
    except (KeyError, TypeError, ValueError):
        return None


def _value(said: Any) -> Any:
    """An argument from its form in JSON."""
    if isinstance(said, Mapping):
        return decoded(dict(said))
    return float(said) if said in NOT_FINITE else said


def _refused(why: str) -> int:
    print(why, file=sys.stderr)
    return 2


def _import(operation: str, record: Record) -> list[str]:
    """The lines that get the operation."""
    what = str(record.said.get("what", ""))
    if what.endswith(".py"):
        path = str(Path(what).absolute())
        return ["import runpy", f"{operation} = runpy.run_path({path!r})[{operation!r}]"]
    if what.startswith(PREFIX) or not what.replace(".", "").replace("_", "").isalnum():
        return [f"def {operation}(*arguments):", '    raise SystemExit("call your implementation here")']
    module = f"rlspec.candidates.{what}" if what in short_names() else what
    return [f"from {module} import {operation}"]


def _python(value: Any) -> str:
    """An argument as Python writes it, from its form in JSON."""
    if not isinstance(value, Mapping):
        return value if value in ("nan", "inf", "-inf") else repr(value)
    kind, shape = value["dtype"], tuple(value["shape"])
    entries = [repr(entry) for entry in value["data"]] if kind == "str" else [*map(_entry, value["data"])]
    plain = kind if kind in ("float64", "int64", "bool", "str") and 0 not in shape else ""
    nested = _nested(entries, shape) if 0 not in shape else "[]"
    reshaped = f".reshape{shape}" if 0 in shape else ""
    return f"np.array({nested}{'' if plain else f', {kind!r}'}){reshaped}"


def _nested(entries: Sequence[str], shape: tuple[int, ...]) -> str:
    """The entries of an array in brackets, by its shape."""
    if not shape:
        return entries[0]
    size = len(entries) // shape[0]
    rows = (_nested(entries[row * size : (row + 1) * size], shape[1:]) for row in range(shape[0]))
    return f"[{', '.join(rows)}]"


def _entry(entry: Any) -> str:
    return entry if isinstance(entry, str) else repr(entry)
