"""The command line: ``python -m rlspec check WHAT``, ``distinguish A B``, ``audit FILE`` and ``ledger MDP``."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest

from . import __version__

PROCESSES = ("bandit", "chain", "gridworld", "token_tree")
"""The processes that the ledger knows by name."""

PASSED_ON = {
    "verdicts": ("FILE", "write the verdicts to FILE as JSON"),
    "expect": ("FILE", "fail unless the verdicts are those that --verdicts wrote to FILE"),
    "require": ("RET,ADV-3", "chapters (by their prefix) or clauses that must have been tested"),
    "explore": ("N", "let each property draw N random examples, new ones"),
    "seed": ("S", "draw the random examples of an earlier --explore again"),
    "budget": ("SECONDS", "judge a property on what it has seen in this time (default: 20 for every 100 examples)"),
    "patience": ("SECONDS", "how long one call of the candidate may take (default: 10)"),
}
"""The harness's options that ``check`` passes on, with what they take and do."""

JOBS = min(os.cpu_count() or 1, 4)
"""How many processes ask the candidate, so that its end is not that of the run."""

RESTARTS = 100
"""How many of those processes may end: more than a candidate can bring about that does so with every operation."""


def check(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Run the properties on one candidate, whatever pytest configuration the current folder has; pytest's status."""
    own = ["-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(Path(__file__).parent)]
    quiet = ["-p", "rlspec.harness", "--noconftest", "-p", "no:cacheprovider", "-q", "--no-header", "-rN", "--tb=short"]
    quiet.append("--show-capture=no")  # libraries log much
    if sys.stderr.isatty():
        quiet += ["-p", "rlspec.progress"]
    asked = [f"--candidate={arguments.what}"]
    asked += [f"--{name}={value}" for name in PASSED_ON if (value := getattr(arguments, name))]
    parallel = ["-n", str(arguments.jobs), "--max-worker-restart", str(RESTARTS)] if arguments.jobs else []
    return int(pytest.main([*own, *quiet, *asked, *parallel, *rest, "--pyargs", "rlspec.properties"]))


def tell_apart(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Print what distinguishes two implementations; 0 if something does, 1 if nothing was found."""
    from .candidate import NotLoaded  # with NumPy, SciPy and Hypothesis
    from .distinguish import distinguish

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


def audit(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Judge the recorded calls of a training run; 0 all hold, 1 one is wrong, 2 the input is refused."""
    from .audited import run  # with NumPy and SciPy

    return run(arguments.paths, arguments.json, arguments.adapter)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    # Before NumPy is imported, which reads it then: most arrays are tiny, and threads on busy cores wait for others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from .candidate import short_names

    parser = argparse.ArgumentParser(prog="rlspec", description="The arbiter of reinforcement learning's formulas.")
    parser.add_argument("--version", action="version", version=f"rlspec {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = commands.add_parser(
        "check",
        help="run the properties on a candidate",
        description="Run the properties on a candidate and say which clauses hold. Exit status: 0 all that was tested "
        "holds, 1 a clause is violated, 5 nothing was tested. Further arguments go to pytest.",
    )
    checking.add_argument("what", help=f"a .py file, a module, 'cmd: COMMAND', or one of: {', '.join(short_names())}")
    for name, (takes, does) in PASSED_ON.items():
        checking.add_argument(f"--{name}", metavar=takes, help=does)
    checking.add_argument(
        "--jobs", metavar="N", type=int, default=JOBS,
        help="ask the candidate in N processes (default: %(default)s); with 0 in this one, which it can end",
    )  # fmt: skip
    checking.set_defaults(run=check)
    telling = commands.add_parser(
        "distinguish",
        help="find the smallest input on which two implementations differ",
        description="Find the smallest input on which two implementations differ. Exit status: 0 they do, 1 no "
        "difference was found, 2 one of them cannot be had.",
    )
    for name in ("first", "second"):
        telling.add_argument(name, help="a candidate (as for check), a fault's slug or id, or CONVENTION=CHOICE")
    telling.add_argument("--examples", metavar="N", type=int, default=500, help="how many inputs to try (500)")
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
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.run is not check:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(arguments.run(arguments, rest))
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
