"""The command line: ``python -m rlspec check WHAT``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from . import __version__
from .candidate import short_names

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
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the arrays are tiny; idle threads would only be in the way
    own = ["-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(Path(__file__).parent)]
    quiet = ["-p", "rlspec.harness", "--noconftest", "-p", "no:cacheprovider", "-q", "--no-header", "-rN", "--tb=short"]
    asked = [f"--candidate={arguments.what}"]
    asked += [f"--{name}={value}" for name in PASSED_ON if (value := getattr(arguments, name))]
    parallel = ["-n", str(arguments.jobs), "--max-worker-restart", str(RESTARTS)] if arguments.jobs else []
    return int(pytest.main([*own, *quiet, *asked, *parallel, *rest, "--pyargs", "rlspec.properties"]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rlspec", description="The arbiter of reinforcement learning's formulas.")
    parser.add_argument("--version", action="version", version=f"rlspec {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = commands.add_parser(
        "check",
        help="run the properties on a candidate",
        description="Run the properties on a candidate and say which clauses hold. Exit status: 0 all that was tested "
        "holds, 1 a clause is violated, 5 nothing was tested. Further arguments go to pytest.",
    )
    checking.add_argument("what", help=f"a .py file, a module, or one of: {', '.join(short_names())}")
    for name, (takes, does) in PASSED_ON.items():
        checking.add_argument(f"--{name}", metavar=takes, help=does)
    checking.add_argument(
        "--jobs", metavar="N", type=int, default=JOBS,
        help="ask the candidate in N processes (default: %(default)s); with 0 in this one, which it can end",
    )  # fmt: skip
    checking.set_defaults(run=check)
    arguments, rest = parser.parse_known_args(argv)
    return int(arguments.run(arguments, rest))


if __name__ == "__main__":
    sys.exit(main())
