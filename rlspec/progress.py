"""A line on the terminal that says how far long work is, and how much time is left; nothing where there is none."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

if TYPE_CHECKING:
    import pytest

Part = TypeVar("Part")

EVERY = 0.2
"""Seconds after which the line is written anew."""


@contextmanager
def the_terminal() -> Iterator[TextIO | None]:
    """The standard error, if it is a terminal, whatever is thrown away meanwhile; None if it is not.

    A job of CI may have a terminal, which ends in a log: there the variable CI is set.
    """
    if not sys.stderr.isatty() or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
        yield None
        return
    with os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal:
        yield terminal


class Line:
    """The line, which is written over and over.

    terminal: where to write, or None for nowhere.
    """

    def __init__(self, terminal: TextIO | None) -> None:
        self._terminal = terminal
        self._writing = threading.Lock()

    def say(self, text: str) -> None:
        """Write the text over what was there."""
        if self._terminal:
            with self._writing:
                width = shutil.get_terminal_size().columns - 1
                self._terminal.write(f"\r{text[:width]:{width}}\r")
                self._terminal.flush()

    def wipe(self) -> None:
        """Leave the line empty."""
        self.say("")

    @contextmanager
    def kept(self, text: Callable[[], str]) -> Iterator[None]:
        """While it lasts, the line is what the function says, and is written anew several times a second."""
        if not self._terminal:
            yield
            return
        over = threading.Event()

        def keep() -> None:
            self.say(text())
            while not over.wait(EVERY):
                self.say(text())

        thread = threading.Thread(target=keep, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.wipe()


def counted(
    parts: Iterable[Part], total: int, what: str, size: Callable[[Part], int] = lambda part: 1
) -> Iterator[Part]:
    """The parts of long work as they come, with a line that counts them: ``40 of 103 faults, about 12 s left``.

    total: how many there are to be.  what: their name.  size: how many a part is.
    """
    done, begun = 0, time.monotonic()
    with the_terminal() as terminal:

        def said() -> str:
            return f"{done} of {total} {what}, {time_left(done, total, time.monotonic() - begun)}"

        with Line(terminal).kept(said):
            for part in parts:
                done += size(part)
                yield part


def time_left(done: int, total: int, seconds: float) -> str:
    """What is left of work of which so much was done in so many seconds: ``about 12 s left``."""
    if not done:
        return f"{clock(seconds)} so far"
    return f"about {clock(seconds * (total - done) / done)} left"


def clock(seconds: float) -> str:
    """A time as people say it: ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """The line of ``rlspec check``: a pytest plugin of the process that has the terminal."""

    def __init__(self, terminal: TextIO | None) -> None:
        self.line = Line(terminal)
        self._done: set[str] = set()
        self._begun = time.monotonic()
        self._trial: Any = None

    def said(self) -> str:
        """How far it is."""
        if self._trial is None:
            return "finding out conventions"
        seconds = time.monotonic() - self._begun
        return so_far(self._trial.asked, self._done, seconds, self._trial.run.explore_seconds)

    def pytest_sessionstart(self, session: "pytest.Session") -> None:
        """Take over what is to be done."""
        from .harness import TRIAL

        self._trial = session.config.stash[TRIAL]
        self._begun = time.monotonic()

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        """Count a property that is done."""
        if report.when == "teardown":
            self._done.add(report.nodeid)


def so_far(asked: dict[str, frozenset[str]], done: set[str], seconds: float, lasting: float | None = None) -> str:
    """How far it is: ``2 of 5 operations, 40 of 103 properties, about 12 s left``.

    asked: the operations that each property asks; none, while conventions are found out.  done: the properties that are
    done.  seconds: since the beginning.  lasting: how long it is to last, where that was said.
    """
    if not asked:
        return "finding out conventions"
    operations = frozenset().union(*asked.values())
    left = frozenset().union(*(names for place, names in asked.items() if place not in done))
    judged = len(asked.keys() & done)
    rest = time_left(judged, len(asked), seconds)
    if lasting:
        rest = f"about {clock(max(lasting - seconds, 0))} left"
    return f"{len(operations - left)} of {len(operations)} operations, {judged} of {len(asked)} properties, {rest}"
