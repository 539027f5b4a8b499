"""When a candidate ends the process that asks it: with pytest-xdist another one goes on, and a verdict is left."""

import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from . import report as reports
from .first_look import Looked
from .notes import Doing, Note, read
from .properties.checking import Call, Violation
from .spec.operations import OPERATIONS
from .verdicts import Outcome


@dataclass(frozen=True)
class Collected:
    """The properties that are to be checked, with the operations that each asks, and what is known of the others."""

    asked: dict[str, frozenset[str]]
    known: list[Outcome]


class Survivor:
    """A pytest plugin of the process that starts the workers: the note that an ended worker left becomes an outcome.

    A worker that ended while it loaded the candidate, or inferred its conventions, owes the property it was to check
    next; another worker checks that one, and knows what not to do.

    looked: what is known of the candidate already.  collected: called once with what a worker has collected.
    """

    def __init__(self, name: str, looked: Looked | None, collected: Callable[[Collected], None]) -> None:
        self._name = name
        self._looked = looked
        self._collected: list[Callable[[Collected], None]] = [collected]
        self._folder = TemporaryDirectory(prefix="rlspec-")
        self._lost: dict[str, list[Violation]] = {}
        self._not_probed: set[str] = set()
        self._problem = ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a new worker where to leave its note, and what ended the workers before it."""
        lost = {name: [(str(one), one.call.arguments) for one in ones] for name, ones in self._lost.items()}
        said = (self._folder.name, lost, self._not_probed, self._problem, self._looked)
        node.workerinput["rlspec"] = pickle.dumps(said)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any) -> None:
        """Take over what the first worker has collected; nothing, where that failed, as pytest says itself."""
        file = _collected(Path(self._folder.name, node.gateway.id))
        if self._collected and file.exists():
            self._collected.pop()(pickle.loads(file.read_bytes()))

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """Make an outcome of what the worker was doing, or have the property checked by another one."""
        doing = read(Path(self._folder.name, report.node.gateway.id))
        if doing.loading:
            if doing.operation:
                self._not_probed.add(doing.operation)
            else:
                self._problem = f"candidate {self._name} ended the process that imported it"
            with suppress(NotImplementedError):  # not every --dist can have a test run again; it stays a failure then
                sched.mark_test_pending(crashitem)
                report.outcome = "rerun"  # type: ignore[assignment]
        elif doing.name:
            if doing.operation:
                self._lost.setdefault(doing.operation, []).append(doing.lost())
            outcome = _outcome(doing)
            found = {"outcome": asdict(outcome), "about": doing.about, "problem": ""}
            report.user_properties.append(("rlspec", found))
            report.longrepr = reports.violation(outcome) if doing.operation else outcome.message

    def pytest_unconfigure(self) -> None:
        """Throw the notes away."""
        self._folder.cleanup()


def _collected(file: Path) -> Path:
    """Where a worker leaves what it has collected, beside its note."""
    return file.with_suffix(".collected")


def _outcome(doing: Doing) -> Outcome:
    if not doing.operation:
        return Outcome(doing.name, doing.clauses, "untested", message="the process that checked it ended")
    evidence = reports.evidence(doing.lost())
    return Outcome(doing.name, doing.clauses, "violated", unanswered=1, message=str(doing.lost()), evidence=evidence)


class Briefing:
    """What a worker is told when it starts: where its note goes, and what ended the workers before it.

    workerinput: as pytest-xdist hands it over; empty in a process that is no worker.
    looked, folder: what is known of the candidate, and where a note may go, in such a process.
    """

    def __init__(self, workerinput: dict[str, Any], looked: Looked | None = None, folder: str = "") -> None:
        if "rlspec" not in workerinput:
            workerinput = {"rlspec": pickle.dumps((folder, {}, set(), "", looked)), "workerid": "alone"}
        said = pickle.loads(workerinput["rlspec"])  # by the process that started this one
        folder, self._lost, self.not_probed, self.problem, self.looked = said
        self._file = Path(folder, workerinput["workerid"]) if folder and Path(folder).is_dir() else None
        self.note = Note(self._file) if self._file else None
        self.processes = workerinput.get("workercount", 1)
        """How many processes share the properties."""

    def collected(self, collected: Collected) -> None:
        """Leave behind, for the process that started this one, what is to be checked, and what need not be."""
        if self._file:
            _collected(self._file).write_bytes(pickle.dumps(collected))

    def lost(self) -> dict[str, list[Violation]]:
        """The calls that ended other workers, by operation."""
        return {
            name: [Violation(said, Call(OPERATIONS[name], arguments)) for said, arguments in calls]
            for name, calls in self._lost.items()
        }
