"""The command line: ``python -m rlspec check WHAT``."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from . import __version__
from .candidate import NotLoaded, short_names

PASSED_ON = {
    "verdicts": ("FILE", "write the verdicts to FILE as JSON"),
    "expect": ("FILE", "fail unless the verdicts are those that --verdicts wrote to FILE"),
    "require": ("RET,ADV-3", "chapters (by their prefix) or clauses that must have been tested"),
}
"""The harness's options that ``check`` passes on, with what they take and do."""


def check(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Run the properties on one candidate, whatever pytest configuration the current folder has; pytest's status."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the arrays are tiny; idle threads would only be in the way
    own = ["-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(Path(__file__).parent)]
    quiet = ["-p", "rlspec.harness", "--noconftest", "-p", "no:cacheprovider", "-q", "--no-header", "-rN", "--tb=short"]
    asked = [f"--candidate={arguments.what}"]
    asked += [f"--{name}={value}" for name in PASSED_ON if (value := getattr(arguments, name))]
    parallel = ["-n", str(arguments.jobs)] if arguments.jobs and find_spec("xdist") else []
    return int(pytest.main([*own, *quiet, *asked, *parallel, *rest, "--pyargs", "rlspec.properties"]))


def tell_apart(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Print what distinguishes two implementations; 0 if something does, 1 if nothing was found."""
    from .distinguish import distinguish  # Hypothesis and the libraries are slow to import

    differ = False
    try:
        for lines, different in distinguish(arguments.first, arguments.second, arguments.examples):
            print("\n".join(lines), flush=True)
            differ |= different
    except NotLoaded as error:
        print(error, file=sys.stderr)
        return 2
    return int(not differ)


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
    checking.add_argument("--jobs", metavar="N", type=int, help="run on N processes (with pytest-xdist)")
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
    arguments, rest = parser.parse_known_args(argv)
    try:
        return int(arguments.run(arguments, rest))
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
