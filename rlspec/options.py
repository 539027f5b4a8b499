"""The options of a run that ``rlspec check`` and a pytest run have in common, and their defaults."""

BUDGET, PATIENCE = 20.0, 10.0
"""Seconds that a property of 100 examples may take, and one call of the candidate."""

PASSED_ON = {
    "verdicts": ("FILE", "write the verdicts to FILE as JSON"),
    "expect": ("FILE", "fail unless the verdicts are those that --verdicts wrote to FILE"),
    "require": ("RET,ADV-3", "chapters (by their prefix) or clauses that must have been tested"),
    "explore": ("N", "let each property draw N random examples, new ones"),
    "seed": ("S", "draw the random examples of an earlier --explore again"),
    "budget": (
        "SECONDS",
        f"judge a property on what it has seen in this time (default: {BUDGET:g} for every 100 examples)",
    ),
    "patience": ("SECONDS", f"how long one call of the candidate may take (default: {PATIENCE:g})"),
}
"""The harness's options that ``check`` passes on, with what they take and do."""
