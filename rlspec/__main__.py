"""The command line: ``python -m rlspec check WHAT``, ``distinguish A B``, ``audit FILE`` and ``ledger MDP``."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from math import inf
from textwrap import fill
from typing import Any

from . import __version__
from .check_command import JOBS, check
from .interrupts import heed
from .loading import short_names
from .options import PASSED_ON, whole_number

PROCESSES = ("bandit", "chain", "gridworld", "token_tree")
"""The processes that the ledger knows by name."""

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ended, as shells have it; that of check is pytest's."""

OVERVIEW = """\
rlspec {version}: is this implementation of reinforcement learning's formulas right?

  check WHAT         the properties of every formula, on your code
  reproduce FILE     what was answered wrongly, asked again
  compare FILE       the verdicts on several candidates, side by side
  distinguish A B    the smallest input on which two implementations differ
  audit FILE         the mistakes in calls that a training run has recorded
  ledger MDP         bias and variance of every estimate of a policy's gradient

{what}

For example:

  python -m rlspec check torch_autograd gae
  python -m rlspec distinguish reference truncation-as-termination
  python -m rlspec ledger chain --lambdas 0,0.9,1

`python -m rlspec check --help` says more; likewise for the other commands.
"""
"""What is said where no command is given."""


def tell_apart(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Print what distinguishes two implementations; 0 if something does, 1 if nothing was found."""
    from .distinguish import distinguish  # with NumPy, SciPy and Hypothesis
    from .loading import NotLoaded

    differ = False
    try:
        for lines, different in distinguish(arguments.first, arguments.second, arguments.examples):
            print("\n".join(lines), flush=True)
            differ |= different
    except NotLoaded as error:
        print(error, file=sys.stderr)
        return 2
    return int(not differ)


def numbers(kind: Callable[[str], Any], least: float, most: float = inf) -> Callable[[str], list[Any]]:
    """A reader of numbers with commas in between, none of them out of bounds."""

    def read(text: str) -> list[Any]:
        try:
            found = [kind(part) for part in text.split(",") if part.strip()]
        except ValueError:
            found = []
        if not found or not all(least <= number <= most for number in found):
            between = f"of at least {least}" if most == inf else f"between {least} and {most}"
            whole = "whole numbers" if kind is int else "numbers"
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of {whole} {between}, with commas in between")
        return found

    return read


def at_least(least: int) -> Callable[[str], int]:
    """A reader of one whole number that is not smaller."""

    def read(text: str) -> int:
        if (number := whole_number(text)) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return number

    return read


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


LISTS = {
    "lambdas": (numbers(float, 0, 1), "0,0.5,1", "the lambdas of GAE"),
    "steps": (numbers(int, 1), "1,2,4", "the n of n-step returns"),
    "groups": (numbers(int, 2), "2,4,8", "how many trajectories are each other's baseline"),
    "horizons": (numbers(int, 1), "1,2,4", "horizons to compare"),
}
"""The ledger's lists: how they are read, what they look like, and what they are."""


def ledger(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Print a process's ledger of bias and variance; 2 for input that is refused."""
    from . import ledger as books  # with NumPy and SciPy

    given = {name: value for name in (*LISTS, "error") if (value := getattr(arguments, name)) is not None}
    return books.run(arguments.what, books.Asked(**given), arguments.json, arguments.plot)


def compare(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Set records side by side; 0, or 2 for a file that is none or cannot be written."""
    from pathlib import Path

    from .rendered import comparison
    from .run_record import NotARecord, Record, put

    try:
        records = [Record.read(file) for file in arguments.records]
    except NotARecord as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.report is None:
        print(comparison(records, ".md"), end="")
        return 0
    return 0 if put(arguments.report, comparison(records, Path(arguments.report).suffix)) else 2


def reproduce(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Ask again what a record says was answered wrongly; 0 all of it is right now, 1 it is not, 2 it is refused."""
    from .reproduction import run  # with NumPy, SciPy and Hypothesis

    return run(arguments.record, arguments.which, arguments.candidate, arguments.script)


def page_name(text: str) -> str:
    """The name of a page: it ends in .html or .md."""
    if not text.endswith((".html", ".md")):
        raise argparse.ArgumentTypeError(f"the name {text} has to end in .html or .md")
    return text


def audit(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Judge the recorded calls of a training run; 0 all hold, 1 one is wrong, 2 the input is refused."""
    from .audited import run  # with NumPy and SciPy

    return run(arguments.paths, arguments.json, arguments.adapter)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    # Before NumPy is imported, which reads it then: most arrays are tiny, and threads on busy cores wait for others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    heed()
    parser = argparse.ArgumentParser(prog="rlspec", description="The arbiter of reinforcement learning's formulas.")
    parser.add_argument("--version", action="version", version=f"rlspec {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    checking = commands.add_parser(
        "check",
        help="run the properties on a candidate",
        description="Run the properties on a candidate and say what is wrong with it. Exit status: 0 all that was "
        "tested holds, 1 a clause is violated, 5 nothing was tested. Further arguments go to pytest.",
    )
    checking.add_argument("what", help=f"a .py file, a module, 'cmd: COMMAND', or one of: {', '.join(short_names())}")
    checking.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="operations, chapters and clauses to be checked, as in: gae GRP PPO-16 (default: all)",
    )
    for name, option in PASSED_ON.items():
        checking.add_argument(f"--{name}", metavar=option.takes, help=option.does, **option.action)
    checking.add_argument(
        "--jobs", metavar="N", type=at_least(0),
        help=f"ask the candidate in N processes (default: {JOBS}, or 1 for a few operations), "
        "with 0 in this one, which it can end",
    )  # fmt: skip
    checking.add_argument("--all", action="store_true", help="show every clause, and all links")
    checking.set_defaults(run=check)
    telling = commands.add_parser(
        "distinguish",
        help="find the smallest input on which two implementations differ",
        description="Find the smallest input on which two implementations differ. Exit status: 0 they do, 1 no "
        "difference was found, 2 one of them cannot be had.",
    )
    for name in ("first", "second"):
        telling.add_argument(name, help="a candidate (as for check), a fault's slug or id, or CONVENTION=CHOICE")
    telling.add_argument("--examples", metavar="N", type=at_least(1), default=500, help="how many inputs to try (500)")
    telling.set_defaults(run=tell_apart)
    keeping = commands.add_parser(
        "ledger",
        help="bias and variance of every estimate of a policy's gradient",
        description="Bias, variance and the trajectories needed, for every estimator of the family in one process, "
        "exactly. Exit status: 0 done, 2 the input is refused, 130 interrupted.",
    )
    keeping.add_argument("what", help=f"a JSON file, or one of: {', '.join(PROCESSES)}")
    for name, (reads, example, does) in LISTS.items():
        keeping.add_argument(f"--{name}", metavar=example, type=reads, help=does)
    keeping.add_argument("--error", metavar="0.1", type=positive, help="the error to get down to, relative to |grad J|")
    keeping.add_argument("--json", metavar="FILE", help="write the ledger to FILE as JSON")
    keeping.add_argument("--plot", metavar="FILE", help="draw the ledger into FILE (needs matplotlib)")
    keeping.set_defaults(run=ledger)
    auditing = commands.add_parser(
        "audit",
        help="judge what a training run recorded",
        description="Hold the calls that a training run recorded (rlspec.record_to) against what is right. Exit "
        "status: 0 all answers are right, 1 one is wrong, 2 the input is refused.",
    )
    auditing.add_argument("paths", nargs="+", metavar="FILE", help="a .safetensors, .npz or .pt file, or a folder")
    auditing.add_argument("--json", metavar="FILE", help="write what was found to FILE as JSON")
    auditing.add_argument("--adapter", metavar="FILE", help="write a candidate that shows the first mistake to FILE")
    auditing.set_defaults(run=audit)
    comparing = commands.add_parser(
        "compare",
        help="set the verdicts on several candidates side by side",
        description="Set records that check --verdicts wrote side by side, by operation and by clause, as Markdown or "
        "as a page; of two of the same candidate it is said what changed. Exit status: 0 done, 2 a file is refused.",
    )
    comparing.add_argument("records", nargs="+", metavar="FILE", help="a file that check --verdicts wrote")
    comparing.add_argument(
        "--report", metavar="FILE", type=page_name, help="write FILE, .html or .md; else Markdown is printed"
    )
    comparing.set_defaults(run=compare)
    reproducing = commands.add_parser(
        "reproduce",
        help="ask again what was answered wrongly",
        description="Ask a candidate again what a record says it answered wrongly, and judge it by the same property. "
        "Exit status: 0 all of it is right now, 1 something is wrong, 2 the input is refused or cannot be judged.",
    )
    reproducing.add_argument("record", metavar="FILE", help="a file that check --verdicts wrote")
    reproducing.add_argument("which", nargs="*", metavar="ADV-3", help="clauses or operations; without any, all")
    reproducing.add_argument("--candidate", metavar="WHAT", help="as for check; without it, the record's own")
    reproducing.add_argument(
        "--script", action="store_true", help="print scripts that need NumPy and the candidate alone"
    )
    reproducing.set_defaults(run=reproduce)
    arguments, rest = parser.parse_known_args(argv)
    if "run" not in arguments:
        if rest:
            parser.error(f"there is no command {rest[0]}")
        names = ", ".join(short_names())
        what = f"WHAT is a .py file with functions named like the operations, a module, or one of {names}."
        print(OVERVIEW.format(version=__version__, what=fill(what, 80)), end="")
        return 0
    if rest and arguments.run is not check:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(arguments.run(arguments, rest))
    except KeyboardInterrupt:
        print("\nrlspec: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
