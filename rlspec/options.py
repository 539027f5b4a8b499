"""The options of a run that ``rlspec check`` and a pytest run have in common, and their defaults."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BUDGET, PATIENCE = 20.0, 10.0
"""Seconds that a property of 100 examples may take, and one call of the candidate."""


REPORTS = (".html", ".md", ".sarif")
"""What the name of a report may end in."""

REDIS = ("redis://", "rediss://", "unix://")
"""What the address of a database in Redis begins with."""

SECONDS = {"s": 1, "m": 60, "h": 3600}
"""The units of time, each in seconds."""


class Refused(ValueError):
    """An option that makes no sense; the message names it and says what is expected."""


def effort(text: str) -> tuple[int | None, float | None]:
    """What ``--explore`` asks for: so many random examples a property, or so many seconds for all properties together.

    Raises ValueError for what is neither.
    """
    said = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)([smh])", text)
    if not said:
        raise ValueError(f"{text!r} is neither a number of examples, such as 1000, nor a time, such as 90s, 10m or 2h")
    examples, number, unit = said.groups()
    return (int(examples), None) if examples else (None, float(number) * SECONDS[unit])


def drawn_in_words(run: Mapping[str, Any]) -> str:
    """What a run drew, as its record says; empty, where the inputs are the usual ones."""
    if run.get("explore_seconds"):
        return f"random examples for {run['explore_seconds']:g} s in all, with the seed {run['seed']}"
    if run.get("explore"):
        again = f"--explore={run['explore']} --seed={run['seed']}"
        return f"{run['explore']:,} random examples a property; again with {again}"
    return ""


def number(text: str) -> float:
    """A number, for argparse."""
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None


def whole_number(text: str) -> int:
    """A whole number, for argparse."""
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number") from None


@dataclass(frozen=True)
class Option:
    """What an option takes, what it does, how it is read, and whether it may be given several times."""

    takes: str
    does: str
    read: Callable[[str], Any] = str
    several: bool = False

    @property
    def action(self) -> dict[str, Any]:
        """How argparse is to treat it."""
        return {"action": "append"} if self.several else {"type": self.read}


PASSED_ON = {
    "verdicts": Option("FILE", "write the verdicts to FILE as JSON"),
    "report": Option(
        "FILE",
        "write a report to FILE, a page (.html), Markdown (.md) or SARIF (.sarif); several are allowed",
        several=True,
    ),
    "badge": Option("FILE", "write a badge to FILE, as an endpoint of shields.io has it"),
    "expect": Option("FILE", "fail unless the verdicts are those that --verdicts wrote to FILE"),
    "require": Option("RET,ADV-3", "chapters (by their prefix) or clauses that must have been tested"),
    "replay": Option(
        "FILE", "first ask the inputs of the failures that --verdicts wrote to FILE; several are allowed", several=True
    ),
    "explore": Option("N", "let each property draw N random examples, or all of them for a time, such as 10m"),
    "seed": Option("S", "draw the random examples of an earlier --explore again", whole_number),
    "database": Option(
        "PLACE", "a folder, or redis://HOST, that keeps what --explore finds, and from where it is asked first"
    ),
    "budget": Option(
        "SECONDS",
        f"judge a property on what it has seen in this time (default: {BUDGET:g} for every 100 examples)",
        number,
    ),
    "patience": Option("SECONDS", f"how long one call of the candidate may take (default: {PATIENCE:g})", number),
}
"""The harness's options that ``check`` passes on.

In a pytest run each has a second name, ``--rlspec-NAME``, which is the only one where the first is somebody else's.
"""
