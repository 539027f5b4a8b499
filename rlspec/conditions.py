"""Conditions: where, and in which calls, something is so, each with its words.

They are made from an operation's signature and one call's arguments.  They say where an edit of what is right makes a
difference, and where a candidate is wrong.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np

from .spec.operations import MASKS, Operation

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """Something that is so in a call, in some of its rows, or at some of the places of an array."""

    words: str
    """What follows "where"."""
    cost: float
    axes: tuple[str, ...]
    """Of what it holds or does not: of nothing but the call, of rows, or of the places of an array."""
    holds: Callable[[Arguments], Any]


def is_flag(value: Any) -> bool:
    """Whether an argument is an array of flags."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "b"


def is_number(value: Any) -> bool:
    """Whether an argument is an array of real numbers."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def is_whole(value: Any) -> bool:
    """Whether an argument is an array of whole numbers."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "i"


def names_in(calls: Sequence[Arguments]) -> dict[str, list[str]]:
    """What each argument that is a name is in some call."""
    found: dict[str, set[str]] = {}
    for call in calls:
        for argument, value in call.items():
            if isinstance(value, str):
                found.setdefault(argument, set()).add(value)
    return {argument: sorted(values) for argument, values in found.items()}


def of_a_call(operation: Operation, sample: Arguments, names: Mapping[str, Sequence[str]]) -> Iterator[Condition]:
    """What is so in some calls and not in others.

    names: what each argument that is a name may be.
    """
    for name, value in sample.items():
        if name not in operation.axes:
            continue
        if is_flag(value):
            yield from _of_flags(name, value.ndim)
        elif is_number(value):
            yield from _of_numbers(name)
            for mask in MASKS:
                if mask in sample and operation.axes.get(mask) == operation.axes[name]:
                    yield from _where_it_counts(name, mask)
        elif not isinstance(value, np.ndarray | str):
            yield from _of_a_scalar(name)
        elif isinstance(value, str):
            for choice in names.get(name, ()):
                yield _call(f"`{name}` is '{choice}'", 0.3, lambda a, n=name, c=choice: a[n] == c)
    yield from _of_pairs_of_flags(operation, sample)
    yield from _of_sizes(operation, sample)


def _of_pairs_of_flags(operation: Operation, sample: Arguments) -> Iterator[Condition]:
    flags = [name for name, value in sample.items() if is_flag(value) and name not in MASKS]
    for x, y in combinations(flags, 2):
        if operation.axes.get(x) == operation.axes.get(y):
            either = f"`{x}` or `{y}` is set"
            yield _call(f"{either} everywhere", 0.6, lambda a, x=x, y=y: (a[x] | a[y]).all())
            yield _call(f"not everywhere {either}", 0.6, lambda a, x=x, y=y: not (a[x] | a[y]).all())
            yield _call(f"{either} somewhere", 0.6, lambda a, x=x, y=y: (a[x] | a[y]).any())
            yield _call(f"nowhere {either}", 0.6, lambda a, x=x, y=y: not (a[x] | a[y]).any())
            yield _call(f"`{x}` and `{y}` are both set somewhere", 0.6, lambda a, x=x, y=y: (a[x] & a[y]).any())


def _call(words: str, cost: float, holds: Callable[[Arguments], Any]) -> Condition:
    return Condition(words, cost, (), holds)


def _of_a_scalar(name: str) -> Iterator[Condition]:
    yield _call(f"`{name}` is 0", 0.3, lambda a: a[name] == 0)
    yield _call(f"`{name}` is not 0", 0.5, lambda a: a[name] != 0)
    yield _call(f"`{name}` is None", 0.3, lambda a: a[name] is None)
    yield _call(f"`{name}` is not None", 0.3, lambda a: a[name] is not None)
    yield _call(f"`{name}` is 1", 0.3, lambda a: a[name] == 1)
    yield _call(f"`{name}` is more than 1", 0.5, lambda a: a[name] is not None and a[name] > 1)
    yield _call(f"`{name}` is less than 0", 0.5, lambda a: a[name] is not None and a[name] < 0)


def _of_flags(name: str, axes: int) -> Iterator[Condition]:
    yield _call(f"`{name}` is set somewhere", 0.4, lambda a: a[name].any())
    yield _call(f"`{name}` is set nowhere", 0.4, lambda a: not a[name].any())
    yield _call(f"`{name}` is not set everywhere", 0.5, lambda a: not a[name].all())
    yield _call(f"`{name}` is set everywhere", 0.5, lambda a: a[name].all())
    yield _call(f"`{name}` is set at one place alone", 0.5, lambda a: np.count_nonzero(a[name]) == 1)
    if axes == 2:
        yield _call(f"`{name}` is set nowhere in some row", 0.5, lambda a: not a[name].any(axis=1).all())
        yield _call(f"`{name}` is set somewhere before the last step", 0.5, lambda a: a[name][:, :-1].any())


def _of_numbers(name: str) -> Iterator[Condition]:
    yield _call(f"all of `{name}` are the same", 0.6, lambda a: a[name].size > 0 and (a[name] == a[name].flat[0]).all())
    yield _call(f"not all of `{name}` are the same", 0.7, lambda a: a[name].size > 0 and np.ptp(a[name]) > 0)
    yield _call(f"some of `{name}` is less than 0", 0.7, lambda a: (a[name] < 0).any())


def _where_it_counts(name: str, mask: str) -> Iterator[Condition]:
    where = f"where `{mask}` is set"
    yield _call(f"some of `{name}` is less than 0 {where}", 0.7, lambda a: (a[name][a[mask].astype(bool)] < 0).any())
    yield _call(f"some of `{name}` is more than 0 {where}", 0.7, lambda a: (a[name][a[mask].astype(bool)] > 0).any())
    yield _call(f"some of `{name}` is 0 {where}", 0.7, lambda a: (a[name][a[mask].astype(bool)] == 0).any())


def _of_sizes(operation: Operation, sample: Arguments) -> Iterator[Condition]:
    for axis, words in {"B": "row", "N": "sample", "T": "step", "A": "action", "S": "state"}.items():
        having = [(name, axes.index(axis)) for name, axes in operation.axes.items() if axis in axes and name in sample]
        if having:
            name, place = having[0]
            yield _call(f"there is one {words} alone", 0.4, lambda a, n=name, p=place: a[n].shape[p] == 1)
            yield _call(f"there are several {words}s", 0.4, lambda a, n=name, p=place: a[n].shape[p] > 1)
            if axis != "B":
                yield _call(f"there are more than two {words}s", 0.6, lambda a, n=name, p=place: a[n].shape[p] > 2)

    tables = [name for name, axes in operation.axes.items() if axes == ("B", "T") and name in sample]
    if tables:
        shape = tables[0]
        yield _call("there are as many rows as steps", 0.6, lambda a: a[shape].shape[0] == a[shape].shape[1])
        yield _call("there are not as many rows as steps", 0.6, lambda a: a[shape].shape[0] != a[shape].shape[1])


def of_places(operation: Operation, sample: Arguments) -> Iterator[Condition]:
    """What is so at some places of an array, or in some rows, and not at others."""
    for name, value in sample.items():
        axes = operation.axes.get(name, ())
        if not axes or not isinstance(value, np.ndarray):
            continue
        if is_flag(value):
            yield Condition(f"`{name}` is set", 0.3, axes, lambda a, n=name: a[n])
            yield Condition(f"`{name}` is not set", 0.3, axes, lambda a, n=name: ~a[n])
            if axes == ("B", "T"):
                yield from _of_rows_and_steps(name)
        elif is_number(value):
            yield Condition(f"`{name}` is more than 0", 0.4, axes, lambda a, n=name: a[n] > 0)
            yield Condition(f"`{name}` is less than 0", 0.4, axes, lambda a, n=name: a[n] < 0)
            yield Condition(f"`{name}` is 0", 0.4, axes, lambda a, n=name: a[n] == 0)
            yield Condition(f"`{name}` is beyond 1 from 0", 0.7, axes, lambda a, n=name: abs(a[n]) > 1)
    yield from _of_pairs(operation, sample)
    yield from _of_tables(operation, sample)
    yield from _of_a_clip(operation, sample)


def _of_rows_and_steps(name: str) -> Iterator[Condition]:
    table, row = ("B", "T"), ("B",)
    yield Condition(f"`{name}` is set somewhere in the row", 0.5, row, lambda a: a[name].any(axis=1))
    yield Condition(f"`{name}` is set nowhere in the row", 0.5, row, lambda a: ~a[name].any(axis=1))
    yield Condition(f"`{name}` is set at one step of the row alone", 0.6, row, lambda a: a[name].sum(axis=1) == 1)
    yield Condition(f"`{name}` is set for the first time in the row", 0.5, table, lambda a: _first(a[name]))
    yield Condition(
        f"`{name}` is set for the last time in the row", 0.5, table, lambda a: _first(a[name][:, ::-1])[:, ::-1]
    )
    yield Condition(f"`{name}` is set at the next step", 0.6, table, lambda a: _moved(a[name], -1))
    yield Condition(f"`{name}` is set at the step before", 0.6, table, lambda a: _moved(a[name], 1))
    yield Condition(
        f"`{name}` is set there or later in the row",
        0.6,
        table,
        lambda a: np.logical_or.accumulate(a[name][:, ::-1], axis=1)[:, ::-1],
    )
    yield Condition(
        f"`{name}` was set before in the row",
        0.6,
        table,
        lambda a: np.logical_or.accumulate(_moved(a[name], 1), axis=1),
    )


def _first(flags: np.ndarray) -> np.ndarray:
    return flags & (np.cumsum(flags, axis=1) == 1)


def _moved(flags: np.ndarray, by: int) -> np.ndarray:
    moved = np.roll(flags, by, axis=1)
    moved[:, -1 if by < 0 else 0] = False
    return moved


def _of_pairs(operation: Operation, sample: Arguments) -> Iterator[Condition]:
    numbers = [name for name, value in sample.items() if is_number(value) and operation.axes.get(name)]
    for x, y in permutations(numbers, 2):
        if operation.axes[x] == operation.axes[y]:
            yield Condition(f"`{x}` is more than `{y}`", 0.6, operation.axes[x], lambda a, x=x, y=y: a[x] > a[y])
    flags = [name for name, value in sample.items() if is_flag(value) and name not in MASKS]
    for x, y in permutations(flags, 2):
        if operation.axes[x] == operation.axes[y]:
            yield Condition(f"`{x}` is set and `{y}` is not", 0.5, operation.axes[x], lambda a, x=x, y=y: a[x] & ~a[y])
            if x < y:
                yield Condition(f"`{x}` and `{y}` are set", 0.5, operation.axes[x], lambda a, x=x, y=y: a[x] & a[y])
                yield Condition(f"`{x}` or `{y}` is set", 0.5, operation.axes[x], lambda a, x=x, y=y: a[x] | a[y])
                yield Condition(
                    f"neither `{x}` nor `{y}` is set", 0.5, operation.axes[x], lambda a, x=x, y=y: ~(a[x] | a[y])
                )


def _of_tables(operation: Operation, sample: Arguments) -> Iterator[Condition]:
    table = next((name for name, axes in operation.axes.items() if axes == ("B", "T") and name in sample), "")
    row = next((name for name, axes in operation.axes.items() if axes[:1] == ("B",) and name in sample), "")
    if table:
        axes = ("B", "T")
        yield Condition("the first step of a row is", 0.4, axes, lambda a: _column(a[table], 0))
        yield Condition("the last step of a row is", 0.4, axes, lambda a: _column(a[table], -1))
        yield Condition("a step before the last is", 0.5, axes, lambda a: ~_column(a[table], -1))
        yield Condition("a step behind the first is", 0.5, axes, lambda a: ~_column(a[table], 0))
    if row:
        yield Condition("the first row is", 0.6, ("B",), lambda a: np.arange(len(a[row])) == 0)
        yield Condition("a row behind the first is", 0.6, ("B",), lambda a: np.arange(len(a[row])) > 0)
        yield Condition("the last row is", 0.6, ("B",), lambda a: np.arange(len(a[row])) == len(a[row]) - 1)
    if "groups" in sample:
        yield Condition("a sample is alone in its group", 0.4, ("N",), lambda a: _sizes(a["groups"]) == 1)
        yield Condition("a sample is not alone in its group", 0.5, ("N",), lambda a: _sizes(a["groups"]) > 1)
        yield Condition("the group has two samples", 0.6, ("N",), lambda a: _sizes(a["groups"]) == 2)


def _column(table: np.ndarray, column: int) -> np.ndarray:
    flags = np.zeros(table.shape, dtype=bool)
    flags[:, column] = True
    return flags


def _sizes(groups: np.ndarray) -> np.ndarray:
    """How many samples each sample's group has."""
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return counts[index]


def _of_a_clip(operation: Operation, sample: Arguments) -> Iterator[Condition]:
    """Where a ratio of probabilities is beyond the ends of its clip, and on which side of 0 its advantage is."""
    if not {"logp", "old_logp", "clip_low", "clip_high"} <= sample.keys():
        return
    axes = operation.axes["logp"]

    def ratio(a: Arguments) -> np.ndarray:
        return np.exp(a["logp"] - a["old_logp"])

    def good(a: Arguments) -> np.ndarray:
        advantages = a["advantages"]
        return (advantages if advantages.ndim == 2 else advantages[:, None]) > 0

    above = "the ratio is above `1 + clip_high`"
    below = "the ratio is below `1 - clip_low`"
    yield Condition(above, 0.4, axes, lambda a: ratio(a) > 1 + a["clip_high"])
    yield Condition(below, 0.4, axes, lambda a: ratio(a) < 1 - a["clip_low"])
    yield Condition(
        "the ratio is beyond its clip", 0.4, axes,
        lambda a: (ratio(a) > 1 + a["clip_high"]) | (ratio(a) < 1 - a["clip_low"]),
    )  # fmt: skip
    if "advantages" in sample:
        for words, side in (("above", 1), ("below", -1)):
            sign = f"`advantages` are {words} 0"

            def on_side(a: Arguments, side: int = side) -> np.ndarray:
                return good(a) if side > 0 else ~good(a)

            yield Condition(
                f"{above} and {sign}", 0.6, axes, lambda a, s=on_side: (ratio(a) > 1 + a["clip_high"]) & s(a)
            )
            yield Condition(
                f"{below} and {sign}", 0.6, axes, lambda a, s=on_side: (ratio(a) < 1 - a["clip_low"]) & s(a)
            )


def spread(condition: Condition, axes: tuple[str, ...], holds: Any) -> np.ndarray | None:
    """What a condition says of an array with these axes; None if it says nothing of them.

    holds: what the condition's function gave for the call's arguments.
    """
    flags = np.asarray(holds, dtype=bool)
    if condition.axes != axes[: len(condition.axes)]:
        return None
    return flags.reshape(flags.shape + (1,) * (len(axes) - flags.ndim))
