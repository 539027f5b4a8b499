"""Other calls with the same answer as a question's, each by a clause (rlspec/vectors.py)."""

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

import numpy as np

from .properties.masks import counting, filled, named
from .properties.questions.question import Question
from .spec.operations import Operation
from .special import FLAGS

JUNK = (np.nan, 20.0, -np.inf, -3.0)
"""What stands where nothing counts, in turn; the exponentials of numbers are finite."""

AFTER_THE_END = (
    dict.fromkeys(("td_error", "gae"), ("ADV-8", "ADV-9"))
    | dict.fromkeys(("n_step_return", "lambda_return"), ("RET-16", "RET-17"))
    | dict.fromkeys(("vtrace",), ("ADV-28", "ADV-29"))
    | dict.fromkeys(("sarsa_target", "expected_sarsa_target", "q_target", "double_q_target"), ("TGT-7", "TGT-8"))
    | dict.fromkeys(("twin_q_target", "soft_target"), ("TGT-7", "TGT-8"))
)
"""The clauses by which no value after a termination is read: on numbers, and on NaN and infinity."""

VALUES = ("next_values", "next_action_values", "next_online_values", "next_target_values", "next_first", "next_second")
"""The parameters that are such values."""

NOTHING_COUNTS = "OPS-12"
"""The clause by which the answer is not the same but zero: nothing counts in the other call."""

Given = Mapping[str, Any]

Others = Iterator[tuple[dict[str, Any], str]]
"""Arguments in the place of others, and the clause by which the answer is the same."""


def _spoiled(operation: Operation, given: Given, junk: float) -> Others:
    """Junk in the numbers that do not count."""
    if operation.mask and not given[operation.mask].all():
        mask, spoiled = given[operation.mask], (*operation.covered, *operation.of_rows)
        floats = [name for name in spoiled if given[name].dtype.kind == "f"]
        other = {name: filled(given[name], counting(operation, name, mask), junk) for name in floats}
        yield other, "OPS-10" if isfinite(junk) else "OPS-11"


def _after_the_end(operation: Operation, given: Given, junk: float) -> Others:
    """Junk for the value of what follows a termination."""
    if operation.name in AFTER_THE_END and given["terminated"].any():
        unread = {name: _filled_after(given[name], given["terminated"], junk) for name in VALUES if name in given}
        yield unread, AFTER_THE_END[operation.name][not isfinite(junk)]


def _filled_after(values: np.ndarray, terminated: np.ndarray, junk: float) -> np.ndarray:
    return np.where(terminated.reshape(terminated.shape + (1,) * (values.ndim - terminated.ndim)), junk, values)


def _nothing(operation: Operation, given: Given, junk: float) -> Others:
    """A mask that is 0 everywhere."""
    if operation.may_select_nothing:
        yield {operation.mask: np.zeros_like(given[operation.mask])}, NOTHING_COUNTS


def _flags_as_numbers(operation: Operation, given: Given, junk: float) -> Others:
    """Flags that are numbers."""
    if truths := {name: given[name].astype(np.uint8) for name in FLAGS if name in given}:
        yield truths, "OPS-9"


def _whole_numbers(operation: Operation, given: Given, junk: float) -> Others:
    """Whole rewards, or values, as integers."""
    for name in ("rewards", "values"):
        if name in given and (given[name] == np.rint(given[name])).all():
            yield {name: given[name].astype(int)}, "OPS-5"


def _renamed(operation: Operation, given: Given, junk: float) -> Others:
    """Groups that are called something else."""
    if operation.name in OF_GROUPS:
        _, which = np.unique(given["groups"], return_inverse=True)
        for name in (which - 1, 2**24 + which, 2**32 * which, np.char.add("the same ", which.astype(str))):
            yield {"groups": name}, "GRP-3"


def _beyond_floats(operation: Operation, given: Given, junk: float) -> Others:
    """Ratios beyond the clips whose exponential no float holds."""
    if operation.name == "vtrace":
        yield {"log_ratio": np.where(given["log_ratio"] > FAR, 2 * FAR, given["log_ratio"])}, "ADV-26"
    if operation.name == "ppo_loss":
        apart = given["logp"] - given["old_logp"]
        beyond = (apart > 2) & (given["advantages"] > 0) & given["mask"]
        if beyond.any() and given["clip_high"] < 2:
            yield {"logp": np.where(beyond, given["old_logp"] + 2 * FAR, given["logp"])}, "PPO-16"


def _long_shots(operation: Operation, given: Given, junk: float) -> Others:
    """Log-probabilities whose exponentials are 0, with the differences that they had to the last digit."""
    one, other, clause = OF_DIFFERENCES.get(operation.name, ("", "", ""))
    if clause and given.get("estimator", "k3") == "k3":
        moved = {name: given[name] - 1024.0 for name in (one, other)}
        if np.array_equal(moved[one] - moved[other], given[one] - given[other]):
            yield moved, clause


OF_DIFFERENCES = {
    "ppo_loss": ("logp", "old_logp", "PPO-2"),
    "approx_kl": ("logp", "old_logp", "PPO-31"),
    "clip_fraction": ("logp", "old_logp", "PPO-35"),
    "kl_estimate": ("logp", "ref_logp", "KL-3"),
}
"""Operations that see nothing but the differences of these arguments, and the clauses that say so."""


def _verdicts(operation: Operation, given: Given, junk: float) -> Others:
    """Rewards of 0 and 1 as truth values."""
    if operation.name in OF_GROUPS and np.isin(given["rewards"], (0, 1)).all():
        yield {"rewards": given["rewards"].astype(bool)}, "GRP-11"


OF_GROUPS = ("group_advantages", "reinforce_plus_plus_advantages")

FAR = 600.0
"""A logarithm whose exponential a float still holds, and that of its double not any more."""


CHANGES: dict[Callable[[Operation, Given, float], Others], int] = {
    _spoiled: 1,
    _after_the_end: 1,
    _whole_numbers: 1,
    _beyond_floats: 1,
    _long_shots: 1,
    _verdicts: 1,
    _flags_as_numbers: 4,
    _nothing: 8,
    _renamed: 8,
}
"""What may be changed in a question: in every one, or in one of so many."""


def alike(question: Question, place: int) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The arguments of other calls that have the question's answer, and the clauses by which they do.

    place: the question's number, by which it is decided what is changed.
    """
    given = named(question)
    for change, every in CHANGES.items():
        if place % every == 0:
            for other, clause in change(question.operation, given, JUNK[place % len(JUNK)]):
                yield tuple((given | other).values()), clause
