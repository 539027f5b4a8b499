"""When a candidate ends the process that asks it: with pytest-xdist another one goes on, and a verdict is left."""

import pickle
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from . import report as reports
from .notes import Doing, Note, read
from .properties.checking import Call, Violation
from .spec.operations import OPERATIONS
from .verdicts import Outcome


class Survivor:
    """A pytest plugin of the process that starts the workers: the note that an ended worker left becomes an outcome.

    A worker that ended while it loaded the candidate, or inferred its conventions, owes the property it was to check
    next; another worker checks that one, and knows what not to do.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._folder = TemporaryDirectory(prefix="rlspec-")
        self._lost: dict[str, list[Violation]] = {}
        self._not_probed: set[str] = set()
        self._problem = ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a new worker where to leave its note, and what ended the workers before it."""
        lost = {name: [(str(one), one.call.arguments) for one in ones] for name, ones in self._lost.items()}
        node.workerinput["rlspec"] = pickle.dumps((self._folder.name, lost, self._not_probed, self._problem))

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


def _outcome(doing: Doing) -> Outcome:
    if not doing.operation:
        return Outcome(doing.name, doing.clauses, "untested", message="the process that checked it ended")
    evidence = reports.evidence(doing.lost())
    return Outcome(doing.name, doing.clauses, "violated", unanswered=1, message=str(doing.lost()), evidence=evidence)


class Briefing:
    """What a worker is told when it starts: where its note goes, and what ended the workers before it.

    workerinput: as pytest-xdist hands it over; empty in a process that is no worker.
    """

    def __init__(self, workerinput: dict[str, Any]) -> None:
        if "rlspec" not in workerinput:
            workerinput = {"rlspec": pickle.dumps(("", {}, set(), "")), "workerid": ""}
        said = pickle.loads(workerinput["rlspec"])  # by the process that started this one
        folder, self._lost, self.not_probed, self.problem = said
        self.note = Note(Path(folder, workerinput["workerid"])) if folder and Path(folder).is_dir() else None

    def lost(self) -> dict[str, list[Violation]]:
        """The calls that ended other workers, by operation."""
        return {
            name: [Violation(said, Call(OPERATIONS[name], arguments)) for said, arguments in calls]
            for name, calls in self._lost.items()
        }
