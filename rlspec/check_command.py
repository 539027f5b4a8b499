"""``rlspec check``: a first look, then pytest in silence, then a page for a person."""

import difflib
import io
import os
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TextIO, cast

from . import __version__
from .asked import effort_asked, files_asked
from .first_look import Finding, Look, Looked
from .loading import one_line
from .options import BUDGET, PASSED_ON, PATIENCE, Refused
from .progress import Progress, the_terminal
from .selection import Only, only_asked

if TYPE_CHECKING:
    from .lines import Line

JOBS = min(os.cpu_count() or 1, 4)
"""How many processes ask the candidate, so that its end is not that of the run."""

FEW = 12
"""So few operations are asked in one process: to start others, with what the candidate imports, takes longer."""

RESTARTS = 100
"""How many of those processes may end: more than a candidate can bring about that does so with every operation."""

INTERRUPTED = 2
"""The exit status of a run that Ctrl-C ended."""

BROKEN = 3
"""That of one that an error of pytest or of rlspec itself has ended."""

NOTHING_SELECTED = 5
"""That of a run in which there was nothing to do."""

NOTHING_JUDGED = "The run was interrupted before anything was judged."

REFUSED = 4
"""The exit status of a run with arguments that are refused, as pytest has it, or with files that cannot be written."""

ABOUT_PYTEST = ("usage: ", "inifile: ", "rootdir: ", "no tests ran")
"""What lines begin with in which pytest, refusing an argument, speaks of itself."""

UNRECOGNIZED = re.compile(r"unrecognized arguments: (--[\w-]+)[^\n]*")

AS_PYTEST_DOES = ("--pdb", "--trace", "-s", "--capture=no", "--collect-only", "--co", "--fixtures", "--setup-plan")
"""The arguments with which pytest's own output is what is asked for."""

IDLE = ("logging", "unraisableexception", "threadexception", "doctest")
"""Plugins of pytest's that take time at each property, or at the end, and would show nothing."""

STYLES = {"red": "\033[1;31m", "green": "\033[32m", "bold": "\033[1m"}


def check(arguments: Namespace, rest: list[str]) -> int:
    """Check one candidate, and print the page; pytest's status.

    Whatever pytest configuration the current folder has, it does not count.
    """
    given = {name: getattr(arguments, name) for name in PASSED_ON}
    later = [*takewhile(lambda argument: not argument.startswith("-"), rest)]  # behind an option of ours
    names, rest = [*arguments.names, *later], rest[len(later) :]
    try:
        only = only_asked(names)
        effort_asked(given)
        files_asked(given)
    except Refused as error:
        return _refused(str(error))
    asked = {name: value for name, value in given.items() if value is not None}
    options = [f"--rlspec-candidate={arguments.what}", f"--rlspec-only={','.join(names)}"]
    for name, value in asked.items():
        options += [f"--rlspec-{name}={one}" for one in (value if isinstance(value, list) else [value])]
    if any(argument in AS_PYTEST_DOES for argument in rest):
        return _pytest(options, JOBS if arguments.jobs is None else arguments.jobs, ["--show-capture=no", *rest])
    return Checking(arguments, only, options, rest).run()


class Checking:
    """One run of ``rlspec check``."""

    def __init__(self, arguments: Namespace, only: Only, options: list[str], rest: list[str]) -> None:
        self.what = arguments.what
        self.only = only
        self.jobs = arguments.jobs
        self.everything = arguments.all
        self.recorded = any(
            (arguments.verdicts, arguments.require, arguments.expect, arguments.report, arguments.badge)
        )
        self.options = options
        self.rest = rest
        self.limits = arguments.patience or PATIENCE, arguments.budget or BUDGET
        self.width = shutil.get_terminal_size().columns

    def run(self) -> int:
        """Do it all; the exit status."""
        look = Look(self.what, self.only, *self.limits)  # begun before anything else is imported
        with closing(look), the_terminal() as terminal:
            progress = Progress(terminal)
            self._print([(f"rlspec {__version__}: {one_line(self.what)}", "bold"), ("", "")])

            def say(event: str, said: Any) -> None:
                if event == "asking":
                    progress.line.say(f"a first look at {said}")
                else:
                    progress.line.wipe()
                    self._print(self._at_once(event, said))

            progress.line.say(f"importing {one_line(self.what)}")
            try:
                looked = look.finish(say)
            except KeyboardInterrupt:
                looked = Looked(interrupted=True)
            finally:
                progress.line.wipe()
            if looked.interrupted:
                self._print([(NOTHING_JUDGED, "bold")])
                return INTERRUPTED
            nothing = bool(looked.problem) or not looked.left
            if nothing and not self.recorded and not self.rest:
                return self._at_an_end(looked)
            enough = 1 if len(looked.left) <= FEW else JOBS
            jobs = 0 if nothing else enough if self.jobs is None else self.jobs
            found = self._found(look, looked, jobs, terminal)
            progress.line.wipe()
            print(found.refused, end="", file=sys.stderr)
            print(found.printed, end="")
            self._print(found.lines)
            return found.status

    def _found(self, look: Look, looked: Looked, jobs: int, terminal: TextIO | None) -> "Judged":
        """What comes of the run: one process that is to ask the candidate is that which has looked at it."""
        asked = Asked(looked, self.options, self.rest, self.width, self.everything)
        if jobs == 1:
            with TemporaryDirectory(prefix="rlspec-") as folder:
                run = partial(in_a_process, asked, terminal is not None, folder)
                try:
                    found = look.go_on(run, partial(_write, terminal))
                except KeyboardInterrupt:
                    return Judged(INTERRUPTED, "", "", [(NOTHING_JUDGED, "bold")])
                if found:
                    return cast(Judged, found)
        look.close()  # the candidate has ended it, or others are to ask
        return judged(asked, Progress(terminal), jobs)

    def _at_once(self, event: str, said: Any) -> Iterable["Line"]:
        from .lines import found_at_once, wrapped

        if isinstance(said, Finding):
            return found_at_once(self.width, said)
        style = "red" if event == "problem" else "bold"
        return [*wrapped(self.width, said, "", style), ("", "")]

    def _at_an_end(self, looked: Looked) -> int:
        """The exit status of a run that need not be made, since there is nothing to be asked."""
        from .lines import wrapped

        charged = sorted(name for name, found in looked.findings.items() if found.violates)
        if not looked.problem and not looked.provided:
            self._print(wrapped(self.width, "No function has the name of an operation, so nothing is checked."))
        return int(bool(charged)) or 5

    def _print(self, lines: Iterable["Line"]) -> None:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        for line, style in lines:
            print(f"{STYLES[style]}{line}\033[0m" if coloured and style else line, flush=True)


@dataclass(frozen=True)
class Judged:
    """What came of a run: pytest's status, why it was refused, what it printed that is to be shown, and the page."""

    status: int
    refused: str
    printed: str
    lines: list["Line"]


@dataclass(frozen=True)
class Asked:
    """What is to be run and printed: what is known of the candidate, options of rlspec, of pytest, and of the page."""

    looked: Looked
    options: Sequence[str]
    rest: Sequence[str]
    width: int
    everything: bool


def in_a_process(asked: Asked, shown: bool, folder: str, module: Any, say: Callable[[str], None]) -> Judged:
    """What comes of a run in the process that has the candidate's module, which a call that is stuck ends.

    shown: whether there is a terminal.  folder: where the process keeps what it does.  say: called with what is to be
    written to the terminal.
    """
    return judged(asked, Progress(cast(TextIO, Relay(say)) if shown else None), module=module, folder=folder)


class Relay:
    """Stands in for a terminal that another process has."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.write = say

    def flush(self) -> None:
        """Nothing is kept back."""


def judged(asked: Asked, progress: Progress, jobs: int = 0, module: Any = None, folder: str = "") -> Judged:
    """What comes of a run in so many other processes, or in this one.

    module: the candidate's, if this process has it; folder: if a call that is stuck is to end it.
    """
    from .page import Page, Taking

    taking = Taking(asked.looked, module, folder)
    printed, told = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(told), progress.line.kept(progress.said):
        more = ["-p", "rlspec.quiet", "--capture=no", *asked.rest]
        status = _pytest(asked.options, jobs, more, [taking, progress])
    refused = _plainly(told.getvalue()) if status == REFUSED else ""
    trial = taking.trial
    if trial is None or not trial.outcomes:
        return _of_nothing(status, refused, printed.getvalue(), asked)
    lines = [*Page(trial, asked.width, asked.everything).lines()]
    if trial.interrupted:
        lines.append(("The run was interrupted; what was not judged by then is untested.", "bold"))
    if status == BROKEN:
        lines += _broken(asked.width, printed.getvalue())
    return Judged(status, refused, printed.getvalue() if trial.other_failures else "", lines)


def _of_nothing(status: int, refused: str, printed: str, asked: Asked) -> Judged:
    """What comes of a run in which nothing was judged: why that is."""
    if refused:
        return Judged(status, refused, "", [])
    if status == INTERRUPTED:
        return Judged(status, "", "", [(NOTHING_JUDGED, "bold")])
    if status == NOTHING_SELECTED:
        return Judged(status, "", _selects_nothing(asked.rest), [])
    if status == BROKEN:
        return Judged(status, "", "", [*_broken(asked.width, printed)])
    return Judged(status, "", printed, [])


def _broken(width: int, printed: str) -> Iterable["Line"]:
    """That rlspec itself has failed, and what pytest says of it."""
    from .lines import wrapped

    why = next(iter(re.findall(r"^INTERNALERROR> (\w+Error\b.*)$", printed, re.MULTILINE)[-1:]), "")
    said = f"rlspec itself has failed; what was not judged by then is untested.  {why}"
    return wrapped(width, said, "", "red")


def _plainly(told: str) -> str:
    """What pytest says of arguments that it refuses, without what it says of itself."""
    lines = [line.removeprefix("ERROR: ").removeprefix("pytest.main(): error: ") for line in told.splitlines()]
    left = [line for line in lines if line.strip() and not line.strip().startswith(ABOUT_PYTEST)]
    if unknown := UNRECOGNIZED.fullmatch("\n".join(left)):
        ours = [f"--{name}" for name in (*PASSED_ON, "jobs", "all")]
        near = difflib.get_close_matches(unknown[1], ours, n=1)
        left.append(f"did you mean {near[0]}?" if near else "neither rlspec nor pytest has such an option")
    return "".join(f"{line}\n" for line in left)


def _selects_nothing(rest: Sequence[str]) -> str:
    names = "the names of operations, such as gae, and of clauses, such as ADV-3"
    return f"No property is selected by {' '.join(rest)}; -k goes by {names}.\n"


def _refused(why: str) -> int:
    print(why, file=sys.stderr)
    return REFUSED


def _pytest(options: Sequence[str], jobs: int, more: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Run the properties, whatever pytest configuration the current folder has; pytest's status."""
    import pytest

    own = ["-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(Path(__file__).parent)]
    quiet = ["-p", "rlspec.harness", "--noconftest", "-p", "no:cacheprovider", "-q", "--no-header", "-rN", "--tb=short"]
    quiet += ["--assert=plain"]  # to rewrite the properties' assertions, of which there are few, takes a second
    quiet += [argument for name in IDLE for argument in ("-p", f"no:{name}")]
    parallel = ["-n", str(jobs), "--max-worker-restart", str(RESTARTS)] if jobs else []
    return int(pytest.main([*own, *quiet, *options, *parallel, *more, "--pyargs", "rlspec.properties"], [*plugins]))


def _write(terminal: TextIO | None, text: str) -> None:
    if terminal:
        terminal.write(text)
        terminal.flush()
