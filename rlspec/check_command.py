"""``rlspec check``: a first look, then pytest in silence, then a page for a person."""

import io
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from . import __version__
from .first_look import Finding, Look, Looked
from .loading import one_line
from .options import BUDGET, PASSED_ON, PATIENCE
from .progress import Progress

if TYPE_CHECKING:
    from .lines import Line

JOBS = min(os.cpu_count() or 1, 4)
"""How many processes ask the candidate, so that its end is not that of the run."""

FEW = 3
"""So few operations are asked in one process: to start another one takes longer."""

RESTARTS = 100
"""How many of those processes may end: more than a candidate can bring about that does so with every operation."""

INTERRUPTED = 2
"""The exit status of a run that Ctrl-C ended."""

AS_PYTEST_DOES = ("--pdb", "--trace", "-s", "--capture=no", "--collect-only", "--co", "--fixtures", "--setup-plan")
"""The arguments with which pytest's own output is what is asked for."""

STYLES = {"red": "\033[1;31m", "green": "\033[32m", "bold": "\033[1m"}


def check(arguments: Namespace, rest: list[str]) -> int:
    """Check one candidate, and print the page; pytest's status.

    Whatever pytest configuration the current folder has, it does not count.
    """
    asked = {name: value for name in PASSED_ON if (value := getattr(arguments, name))}
    options = [f"--rlspec-candidate={arguments.what}"]
    for name, value in asked.items():
        options += [f"--rlspec-{name}={one}" for one in (value if isinstance(value, list) else [value])]
    if any(argument in AS_PYTEST_DOES for argument in rest):
        return _pytest(options, JOBS if arguments.jobs is None else arguments.jobs, ["--show-capture=no", *rest])
    return Checking(arguments, options, rest).run()


class Checking:
    """One run of ``rlspec check``."""

    def __init__(self, arguments: Namespace, options: list[str], rest: list[str]) -> None:
        self.what = arguments.what
        self.jobs = arguments.jobs
        self.everything = arguments.all
        self.recorded = any((arguments.verdicts, arguments.require, arguments.expect, arguments.report))
        self.options = options
        self.rest = rest
        self.limits = _seconds(arguments.patience, PATIENCE), _seconds(arguments.budget, BUDGET)
        self.width = shutil.get_terminal_size().columns

    def run(self) -> int:
        """Do it all; the exit status."""
        look = Look(self.what, *self.limits)  # begun before anything else is imported
        with _terminal() as terminal:
            progress = Progress(terminal)
            self._print([(f"rlspec {__version__}: {one_line(self.what)}", "bold"), ("", "")])

            def say(event: str, said: Any) -> None:
                if event == "asking":
                    progress.say(f"a first look at {said}")
                else:
                    progress.wipe()
                    self._print(self._at_once(event, said))

            progress.say(f"importing {self.what}")
            looked = look.finish(say)
            progress.wipe()
            if looked.interrupted:
                return INTERRUPTED
            nothing = bool(looked.problem) or not looked.left
            if nothing and not self.recorded and not self.rest:
                return self._at_an_end(looked)
            enough = 1 if len(looked.left) <= FEW else JOBS
            jobs = enough if self.jobs is None else self.jobs
            return self._judge(looked, progress, 0 if nothing else jobs)

    def _judge(self, looked: Looked, progress: Any, jobs: int) -> int:
        """Run the properties, and print what became of them."""
        from .page import Page, Taking

        taking = Taking(looked)
        printed = io.StringIO()
        with redirect_stdout(printed):
            status = _pytest(self.options, jobs, ["-p", "rlspec.quiet", "--capture=no", *self.rest], [taking, progress])
        progress.wipe()
        trial = taking.trial
        if trial is None:
            print(printed.getvalue(), end="")
            return status
        if trial.other_failures or not trial.outcomes:
            print(printed.getvalue(), end="")
        if trial.outcomes:
            self._print(Page(trial, self.width, self.everything).lines())
        if trial.interrupted:
            self._print([("The run was interrupted; what was not judged by then is untested.", "bold")])
        return status

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


def _pytest(options: Sequence[str], jobs: int, more: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Run the properties, whatever pytest configuration the current folder has; pytest's status."""
    import pytest

    own = ["-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(Path(__file__).parent)]
    quiet = ["-p", "rlspec.harness", "--noconftest", "-p", "no:cacheprovider", "-q", "--no-header", "-rN", "--tb=short"]
    quiet += ["--assert=plain"]  # to rewrite the properties' assertions, of which there are few, takes a second
    parallel = ["-n", str(jobs), "--max-worker-restart", str(RESTARTS)] if jobs else []
    return int(pytest.main([*own, *quiet, *options, *parallel, *more, "--pyargs", "rlspec.properties"], [*plugins]))


def _seconds(text: str | None, default: float) -> float:
    """The number that was given; the default in the place of nonsense, which the harness refuses."""
    try:
        return float(text or default)
    except ValueError:
        return default


@contextmanager
def _terminal() -> Iterator[TextIO | None]:
    """The standard error, if it is a terminal, whatever is thrown away meanwhile; None if it is not."""
    if not sys.stderr.isatty():
        yield None
        return
    with os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal:
        yield terminal
