"""The options of a run that ``rlspec check`` and a pytest run have in common, and their defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BUDGET, PATIENCE = 20.0, 10.0
"""Seconds that a property of 100 examples may take, and one call of the candidate."""


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
        return {"action": "append"} if self.several else {}


PASSED_ON = {
    "verdicts": Option("FILE", "write the verdicts to FILE as JSON"),
    "report": Option(
        "FILE", "write a report to FILE, a page (.html) or Markdown (.md); several are allowed", several=True
    ),
    "expect": Option("FILE", "fail unless the verdicts are those that --verdicts wrote to FILE"),
    "require": Option("RET,ADV-3", "chapters (by their prefix) or clauses that must have been tested"),
    "explore": Option("N", "let each property draw N random examples, new ones", int),
    "seed": Option("S", "draw the random examples of an earlier --explore again", int),
    "budget": Option(
        "SECONDS",
        f"judge a property on what it has seen in this time (default: {BUDGET:g} for every 100 examples)",
        float,
    ),
    "patience": Option("SECONDS", f"how long one call of the candidate may take (default: {PATIENCE:g})", float),
}
"""The harness's options that ``check`` passes on.

In a pytest run each has a second name, ``--rlspec-NAME``, which is the only one where the first is somebody else's.
"""
