"""What a run found for code hosts: SARIF, which annotates the lines of the candidate, and a badge.

SARIF is the Static Analysis Results Interchange Format, version 2.1.0, an OASIS standard; section numbers are its own.
A mistake is one result, though it may break several clauses; the clauses are the rules.
"""

import ast
import json
import shlex
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import __version__
from .loading import PREFIX, one_line
from .run_record import Mistake, Record
from .spec.clauses import clauses

VERSION = "2.1.0"

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(record: Record) -> str:
    """The log of one run, as a text of JSON."""
    mistakes = record.mistakes()
    driver = {"name": "rlspec", "version": __version__, "rules": [_rule(id) for id in _broken(mistakes)]}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not (record.said.get("problem") or record.said.get("interrupted"))}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(mistake, record) for mistake in mistakes],
    }
    return json.dumps({"$schema": SCHEMA, "version": VERSION, "runs": [run]}, indent=2) + "\n"


def _broken(mistakes: Sequence[Mistake]) -> list[str]:
    """The clauses that the results are of, each once."""
    return list(dict.fromkeys(mistake.shown.clause for mistake in mistakes))


def _rule(id: str) -> dict[str, Any]:
    """A clause as a rule (3.49)."""
    if id not in clauses():
        return {"id": id}
    clause = clauses()[id]
    return {
        "id": id,
        "shortDescription": {"text": clause.title},
        "fullDescription": {"text": clause.text},
        "help": {"text": f"{clause.text} ({clause.place})"},
        "defaultConfiguration": {"level": _level(clause.level == "SHOULD")},
    }


def _level(only_should: bool) -> str:
    return "warning" if only_should else "error"


def _result(mistake: Mistake, record: Record) -> dict[str, Any]:
    """A mistake as a result (3.27)."""
    shown = mistake.shown
    what_for = f"{mistake.prefix}: " if mistake.prefix else ""
    said = f"{what_for}{one_line(mistake.words)} It breaks {', '.join(mistake.clauses)}."
    if "expected" in shown.found:
        arguments = ", ".join(f"{name}={text}" for name, text in shown.found.get("arguments", {}).items())
        said += f"\n{mistake.operation}({arguments}) is expected to be {shown.found['expected']}"
        said += f", and is {shown.found['actual']}." if "actual" in shown.found else "."
    known = [record.clauses[id] for id in mistake.clauses if record.verdicts[id] == "known"]
    return {
        "ruleId": shown.clause,
        "level": _level(mistake.only_should),
        "message": {"text": said},
        "locations": [_location(mistake.operation, str(record.said.get("what", "")))],
        "partialFingerprints": {"rlspec/v1": _fingerprint(mistake)},
        "suppressions": [{"kind": "external", "justification": _reason(mistake, record)}]
        if len(known) == len(mistake.clauses)
        else [],
    }


def _reason(mistake: Mistake, record: Record) -> str:
    """What KNOWN_FAILURES says of a mistake."""
    names = (*mistake.clauses, mistake.operation, *(fault["slug"] for fault in mistake.faults))
    reasons: Mapping[str, str] = record.said.get("known_failures", {})
    return next((reasons[name] for name in names if name in reasons), "")


def _fingerprint(mistake: Mistake) -> str:
    """What stays the same from run to run while a mistake is the same, whatever input shows it."""
    parts = [mistake.operation, mistake.shown.clause, *(fault["id"] for fault in mistake.faults)]
    return sha256("\n".join(parts).encode()).hexdigest()


def _location(operation: str, what: str) -> dict[str, Any]:
    """Where the candidate has an operation (3.28); its name alone, where there is no file."""
    logical: dict[str, Any] = {"logicalLocations": [{"name": operation or one_line(what), "kind": "function"}]}
    file = _file(what)
    if file is None:
        return logical
    artifact = {"uri": file.as_uri() if file.is_absolute() else quote(file.as_posix())}
    region = {"startLine": _line(file, operation)}
    return {**logical, "physicalLocation": {"artifactLocation": artifact, "region": region}}


def _file(what: str) -> Path | None:
    """The file that a candidate is in, relative to the current folder if it lies below it."""
    words = shlex.split(what.removeprefix(PREFIX)) if what.startswith(PREFIX) else [what]
    found = next((Path(word) for word in words if Path(word).suffix and Path(word).is_file()), None)
    if found is not None and found.is_absolute() and found.is_relative_to(Path.cwd()):
        return found.relative_to(Path.cwd())
    return found


def _line(file: Path, operation: str) -> int:
    """The line on which a file of Python defines or assigns the operation; the first, where it does not."""
    if file.suffix != ".py":
        return 1
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return 1
    return next((node.lineno for node in body if operation in _bound(node)), 1)


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement of a module binds."""
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name for alias in node.names]
        case ast.Assign():
            return [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return []


def badge(record: Record) -> str:
    """A badge as an endpoint of shields.io has it, as a text of JSON."""
    verdicts = [*record.verdicts.values()]
    held = f"{verdicts.count('holds')} {'clause holds' if verdicts.count('holds') == 1 else 'clauses hold'}"
    if record.wrong:
        message, color = f"{verdicts.count('violated')} violated", "red"
        if stale := verdicts.count("stale") + len(record.said.get("stale", {})):
            message += f", {stale} stale"
    elif not record.tested:
        message, color = "nothing tested", "lightgrey"
    elif known := verdicts.count("known"):
        message, color = f"{held}, {known} known to fail", "yellow"
    else:
        message, color = held, "brightgreen"
    if record.said.get("interrupted"):
        message, color = f"interrupted: {message}", "lightgrey" if color == "brightgreen" else color
    return json.dumps({"schemaVersion": 1, "label": "rlspec", "message": message, "color": color}) + "\n"
