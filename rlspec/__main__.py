"""The command line: ``python -m rlspec check WHAT``."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from . import __version__
from .candidate import short_names


def check(arguments: argparse.Namespace, rest: list[str]) -> int:
    """Run the properties on one candidate, whatever pytest configuration the current folder has; pytest's status."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the arrays are tiny; idle threads would only be in the way
    own = ["-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(Path(__file__).parent)]
    quiet = ["-p", "rlspec.harness", "--noconftest", "-p", "no:cacheprovider", "-q", "--no-header", "-rN", "--tb=short"]
    asked = [f"--candidate={arguments.what}"]
    asked += [f"--verdicts={arguments.verdicts}"] if arguments.verdicts else []
    asked += [f"--require={arguments.require}"] if arguments.require else []
    parallel = ["-n", str(arguments.jobs)] if arguments.jobs and find_spec("xdist") else []
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
    checking.add_argument("--verdicts", metavar="FILE", help="write the verdicts to FILE as JSON")
    checking.add_argument("--require", metavar="RET,ADV-3", help="chapters or clauses that must have been tested")
    checking.add_argument("--jobs", metavar="N", type=int, help="run on N processes (with pytest-xdist)")
    checking.set_defaults(run=check)
    arguments, rest = parser.parse_known_args(argv)
    return int(arguments.run(arguments, rest))


if __name__ == "__main__":
    sys.exit(main())
