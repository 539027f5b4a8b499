"""What a worker process was doing, for the process that starts another one when it ends."""

import faulthandler
import math
import mmap
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .properties.checking import Call, Violation
from .spec.operations import OPERATIONS

PAGE = 2**20
"""Bytes that a note may have: many times those of any call that the properties make."""


@dataclass(frozen=True)
class Doing:
    """What is being done: loading the candidate, checking a property, asking an operation."""

    loading: bool = False
    name: str = ""
    clauses: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
    operation: str = ""
    arguments: tuple[Any, ...] = ()
    patience: float = math.inf
    """Seconds after which the call would be interrupted."""
    fate: str = "ended the process that asked it"

    def lost(self) -> Violation:
        """The call, as what became of it."""
        return Violation(f"{self.operation} {self.fate}", Call(OPERATIONS[self.operation], self.arguments))


class Note:
    """A page of memory that a file shares: what was written last survives any end of the process."""

    def __init__(self, file: Path) -> None:
        with file.open("wb+") as opened:
            opened.truncate(PAGE)
            self._page = mmap.mmap(opened.fileno(), PAGE)
        self._stuck = _stuck(file).open("w", encoding="utf-8")
        self._doing = Doing()

    def begin(self, doing: Doing) -> None:
        """Say what is being done from now on, between calls."""
        self._doing = doing
        self._write(doing)

    @contextmanager
    def asking(self, call: Call, patience: float) -> Iterator[None]:
        """While it lasts, the note says that the call is being made.

        patience: seconds after which Python code would be interrupted.  What is stuck elsewhere has twice as many; then
        the process is ended.
        """
        name, arguments = call.operation.name, call.arguments
        self._write(replace(self._doing, operation=name, arguments=arguments, patience=patience))
        if math.isfinite(patience):
            faulthandler.dump_traceback_later(2 * patience, exit=True, file=self._stuck)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._write(self._doing)

    def _write(self, doing: Doing) -> None:
        text = pickle.dumps(doing)
        if len(text) <= PAGE:
            self._page[: len(text)] = text


def _stuck(file: Path) -> Path:
    """Where the process writes, beside the note, if it is ended for a call that does not return."""
    return file.with_suffix(".stuck")


def read(file: Path) -> Doing:
    """What a note says; nothing, if there is none."""
    try:
        doing = pickle.loads(file.read_bytes())  # written by a process that this one started
        hung = _stuck(file).stat().st_size > 0
    except (OSError, EOFError, pickle.UnpicklingError):
        return Doing()
    return replace(doing, fate=f"did not return within {2 * doing.patience:g} s") if hung else doing
