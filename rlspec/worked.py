"""A violation worked by hand: each row of the input as a table of steps, with what comes between input and answer."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from .properties.checking import Call, exactly
from .reference import advantages
from .reference.numbers import unless

PLAIN_DENOMINATOR = 4096
"""The largest denominator that a person reads as a fraction; other numbers are shown as decimals."""

INDEX = {
    "B": "row", "T": "step", "S": "state", "A": "action", "H": "step", "V": "token", "N": "sample", "K": "place",
    "C": "slot", "M": "agent",
}  # fmt: skip
"""What the places along an axis are called."""

Row = Mapping[str, Any]


def worked(call: Call, answers: Mapping[str, Any]) -> list[str]:
    """The lines of a table for every row of the input on which the answers differ: a line for each step.

    answers: two by their names, such as ``expected`` and ``actual``, of the shape [B, T], or [N] for arguments of one
    axis.  For other shapes there is no table, and the list is empty.
    """
    one, other = (np.asarray(answer, dtype=object) for answer in answers.values())
    given = dict(zip(call.operation.parameters, call.arguments, strict=True))
    columns = {name: value for name, value in given.items() if np.shape(value) == one.shape}
    if one.shape != other.shape or one.ndim not in (1, 2) or not columns:
        return []
    index = INDEX[call.operation.axes[next(iter(columns))][-1]]
    if one.ndim == 1:
        return [] if _alike(one, other) else _table(index, {**given, **answers}, [*columns, *answers])
    lines: list[str] = []
    for row in range(len(one)):
        if not _alike(one[row], other[row]):
            of_row = {name: _of_row(value, row, len(one)) for name, value in given.items()}
            between = BETWEEN.get(call.operation.name, _nothing)(of_row)
            everything = {**of_row, **between, **{name: answer[row] for name, answer in answers.items()}}
            lines += [f"row {row}"] * (len(one) > 1) + _table(index, everything, [*columns, *between, *answers])
    return lines


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return np.allclose(one.astype(float), other.astype(float))


def _of_row(value: Any, row: int, rows: int) -> Any:
    return value[row] if np.shape(value)[:1] == (rows,) else value


def _table(index: str, values: Row, names: Sequence[str]) -> list[str]:
    """The named columns side by side, a line for each place along the axis, under their names."""
    columns = {index: range(len(values[names[0]])), **{name: values[name] for name in names}}
    texts = [[name, *map(readable, column)] for name, column in columns.items()]
    widths = [max(map(len, column)) for column in texts]
    return ["  ".join(map(str.rjust, line, widths)) for line in zip(*texts, strict=True)]


def upright(lines: Sequence[str], width: int) -> list[str]:
    """A table turned, so that it is no wider: a line for each column, with ``no`` for a flag that is not set.

    As many places stand side by side as there is room for; the others follow below.
    """
    ends = [match.end() for match in re.finditer(r"\S+", lines[0])]
    cells = [[line[begin:end].strip() or "no" for begin, end in pairwise([0, *ends])] for line in lines]
    names, places = cells[0], cells[1:]
    widest = max(map(len, names))
    wide = max(len(cell) for place in places for cell in place) + 2
    room = max(1, (width - widest) // wide)
    turned: list[str] = []
    for begin in range(0, len(places), room):
        shown = places[begin : begin + room]
        turned += [""] * bool(turned)
        for column, name in enumerate(names):
            turned.append(f"{name:{widest}}" + "".join(f"{place[column]:>{wide}}" for place in shown))
    return turned


def readable(number: Any) -> str:
    """A number as one writes it by hand: 1/3 for a third, a decimal where the fraction is unwieldy; yes for a flag."""
    if isinstance(number, str):
        return number
    if isinstance(number, bool | np.bool_):
        return "yes" if number else ""
    if not np.isfinite(float(number)):
        return str(float(number))
    exact = exactly(number)
    return str(exact) if exact.denominator <= PLAIN_DENOMINATOR else f"{float(exact):.6g}"


def _nothing(row: Row) -> dict[str, list[Any]]:
    return {}


def _exact(row: Row, *names: str) -> Iterator[list[Fraction]]:
    return ([exactly(number) for number in row[name]] for name in names)


def _deltas(row: Row) -> list[Any]:
    rewards, values = _exact(row, "rewards", "values")
    following = [
        exactly(unless(bool(end), value)) for end, value in zip(row["terminated"], row["next_values"], strict=True)
    ]
    over = [bool(end) for end in row["terminated"]]
    return advantages.td_error(rewards, values, following, over, exactly(row["gamma"]))


def _gae(row: Row) -> dict[str, list[Any]]:
    """delta_t, and gamma lambda A_{t+1}, which is carried over to step t unless an episode ended there."""
    decay, deltas = exactly(row["gamma"]) * exactly(row["lam"]), _deltas(row)
    carried = [Fraction(0)]
    for delta, ended in zip(deltas[:0:-1], (row["terminated"] | row["truncated"])[-2::-1], strict=True):
        carried.append(Fraction(0) if ended else decay * (delta + carried[-1]))
    return {"delta": deltas, "carry": carried[::-1]}


def _bootstraps(row: Row) -> dict[str, list[Any]]:
    """gamma V(s_{t+1}), 0 at a termination."""
    pairs = zip(row["terminated"], row["next_values"], strict=True)
    return {"bootstrap": [exactly(row["gamma"]) * exactly(unless(bool(over), value)) for over, value in pairs]}


def _discounted(row: Row) -> dict[str, list[Any]]:
    """gamma^t r_t."""
    return {"discounted": [exactly(row["gamma"]) ** t * exactly(reward) for t, reward in enumerate(row["rewards"])]}


def _ratios(row: Row) -> dict[str, list[Any]]:
    """The ratio of the two policies' probabilities, and the TD error."""
    with np.errstate(over="ignore"):
        return {"ratio": list(np.exp(row["log_ratio"])), "delta": _deltas(row)}


def _probability_ratios(row: Row) -> dict[str, list[Any]]:
    """pi(a|s) / pi_old(a|s)."""
    with np.errstate(all="ignore"):
        return {"ratio": list(np.exp(row["logp"] - row["old_logp"]))}


BETWEEN: dict[str, Callable[[Row], dict[str, list[Any]]]] = {
    "reward_to_go": _discounted,
    "td_error": _bootstraps,
    "n_step_return": _bootstraps,
    "lambda_return": _bootstraps,
    "gae": _gae,
    "vtrace": _ratios,
    "ppo_loss": _probability_ratios,
    "corrected_loss": _probability_ratios,
    "grpo_loss": _probability_ratios,
    "dapo_loss": _probability_ratios,
    "dr_grpo_loss": _probability_ratios,
    "gspo_loss": _probability_ratios,
    "cispo_loss": _probability_ratios,
    "luspo_loss": _probability_ratios,
    "gmpo_loss": _probability_ratios,
    "surrogate_loss": _probability_ratios,
}
"""What is shown between the input and the answer, column by column."""
