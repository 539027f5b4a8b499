"""A line on the terminal that says, while the properties run, how far they are: a pytest plugin of ``rlspec check``."""

import shutil
import sys

import pytest


class Progress:
    """The line, written over and over."""

    def __init__(self) -> None:
        self._done = self._of = 0

    def _say(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{text[:width]:{width}}\r")
        sys.stderr.flush()

    def pytest_sessionstart(self) -> None:
        """Say what takes a while before the first property."""
        self._say("importing the candidate and finding out its conventions")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the properties."""
        self._of = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Count the properties that other processes check."""
        self._of = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say which property is done."""
        if report.when == "teardown":
            self._done += 1
            name, bracket, operation = report.location[2].removeprefix("test_").partition("[")
            self._say(f"{self._done} of {self._of} properties: {name.replace('_', ' ')}{bracket}{operation}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        """Print no dots in between."""
        said = report.when == "call" or report.outcome != "passed"
        return (report.outcome if said else ""), "", ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Wipe the line away."""
        self._say("")


def pytest_configure(config: pytest.Config) -> None:
    """Take part in the process that has the terminal."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress())
