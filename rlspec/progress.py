"""A line on the terminal that says, while the candidate is asked, how far that is: operations done, and time left."""

import shutil
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import pytest


class Progress:
    """The line, written over and over; a pytest plugin of the process that has the terminal.

    terminal: where to write, or None for nowhere.
    """

    def __init__(self, terminal: TextIO | None) -> None:
        self._terminal = terminal
        self._done: set[str] = set()
        self._begun = time.monotonic()
        self._trial: Any = None

    def say(self, text: str) -> None:
        """Write the text over what was there."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._terminal.write(f"\r{text[:width]:{width}}\r")
            self._terminal.flush()

    def wipe(self) -> None:
        """Leave the line empty."""
        self.say("")

    def pytest_sessionstart(self, session: "pytest.Session") -> None:
        """Say what takes a while before the first property."""
        from .harness import TRIAL

        self._trial = session.config.stash[TRIAL]
        self._begun = time.monotonic()
        self.say("finding out conventions")

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        """Say how far it is, after each property."""
        if self._terminal and report.when == "teardown" and self._trial:
            self._done.add(report.nodeid)
            self.say(so_far(self._trial.asked, self._done, time.monotonic() - self._begun))


def so_far(asked: dict[str, frozenset[str]], done: set[str], seconds: float) -> str:
    """How far it is: ``2 of 5 operations, 40 of 103 properties, 12 s left``.

    asked: the operations that each property asks.  done: the properties that are done.  seconds: since the beginning.
    """
    operations = frozenset().union(*asked.values())
    left = frozenset().union(*(names for place, names in asked.items() if place not in done))
    judged = len(asked.keys() & done)
    rest = seconds * (len(asked) - judged) / max(judged, 1)
    return (
        f"{len(operations - left)} of {len(operations)} operations, {judged} of {len(asked)} properties, "
        f"about {rest:.0f} s left"
    )
