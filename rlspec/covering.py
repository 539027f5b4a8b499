"""What there is to be covered of an input: how it was drawn, what it looks like, and what is asked with it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis.internal.conjecture.choice import ChoiceNode
from hypothesis.internal.conjecture.data import ConjectureData, TrailType

from .candidate import Candidate
from .features import features_of
from .spec.operations import MASKS

FEW = 40
"""Of a choice among so many whole numbers each is to be covered."""

PLACES = 3
"""Things that are drawn by one strategy are told apart by their places, up to so many."""

FLOAT32 = float(np.finfo(np.float32).max)

FLAGS = {*MASKS, "terminated", "truncated"}

Place = tuple[tuple[int, int], ...]
"""Where something was drawn: the strategies inside of which that was, each with its place among its like."""


def alternatives(data: ConjectureData) -> set[tuple[Place, str]]:
    """Each choice that Hypothesis made, by the place where it was made; of one among many whether it was a limit.

    What was drawn and thrown away, by a filter, does not count.
    """
    record = data._ConjectureData__span_record  # type: ignore[attr-defined]  # the public one wants the end of the test
    nodes = iter(data.nodes)
    places: list[Place] = [()]
    like: list[dict[int, int]] = [{}]
    chosen: list[set[tuple[Place, str]]] = [set()]
    for step in record.trail:
        if step == TrailType.CHOICE:
            chosen[-1].add((places[-1], _alternative(next(nodes))))
        elif step in (TrailType.STOP_SPAN_DISCARD, TrailType.STOP_SPAN_NO_DISCARD):
            inside, (label, _) = chosen.pop(), places.pop()[-1]
            like.pop()
            if step == TrailType.STOP_SPAN_DISCARD:
                like[-1][label] -= 1
            else:
                chosen[-1] |= inside
        else:
            label = record.labels[step - TrailType.CHOICE - 1]
            number = like[-1].get(label, 0)
            like[-1][label] = number + 1
            places.append((*places[-1], (label, min(number, PLACES))))
            like.append({})
            chosen.append(set())
    return set().union(*chosen)


def _alternative(node: ChoiceNode) -> str:
    """Which of its alternatives a choice is."""
    value: Any = node.value
    limits: Any = node.constraints
    match node.type:
        case "boolean":
            return str(value)
        case "integer":
            low, high = limits["min_value"], limits["max_value"]
            if value in (low, high, 0) or (None not in (low, high) and high - low < FEW):
                return str(value)
            return "between"
        case "float":
            return str(value) if value in (limits["min_value"], limits["max_value"]) else _of_number(value)
    return "all of one kind" if len(set(value)) <= 1 else "several"


def of_calls(candidate: Candidate) -> Iterator[str]:
    """What is to be seen of the calls of an example."""
    for told in candidate.calls:
        operation = told.call.operation
        given = dict(zip(operation.parameters, told.call.arguments, strict=True))
        as_usual = {name: _as_usual(name, value) for name, value in given.items()}
        yield from (f"{operation.name}: {name}" for name in features_of(operation, as_usual))
        for name, argument in given.items():
            yield from features(argument, f"{operation.name}.{name}")


def _as_usual(name: str, value: Any) -> Any:
    """Flags as truth values, and other arrays as numbers, whichever they are."""
    if not isinstance(value, np.ndarray):
        return value
    return value.astype(bool) if name in FLAGS else value.astype(float) if value.dtype == bool else value


def features(value: Any, name: str) -> Iterator[str]:
    """What is to be seen of an argument: sizes, types, limits, layouts, where flags are set, what masks look like."""
    match value:
        case np.ndarray():
            yield from _of_array(value, name)
        case float():
            yield f"{name} is {_of_number(value)}"
        case None | bool() | str() | int():
            yield f"{name} = {value}"


def _of_number(number: float) -> str:
    """What kind of a number it is."""
    if not np.isfinite(number) or number in (0, 1, -1):
        return str(number)
    size = abs(number)
    return f"{'-' if number < 0 else ''}{'tiny' if size < 1e-3 else 'large' if size > 100 else 'ordinary'}"


def _of_array(array: np.ndarray, name: str) -> Iterator[str]:
    yield f"{name}: {array.dtype}"
    for axis, size in enumerate(array.shape):
        yield f"{name}: axis {axis} has {size if size < 3 else 'few' if size < 10 else 'many'}"
    if array.size > 1:
        yield from (f"{name}: {said}" for said, so in _of_layout(array).items() if so)
    if array.dtype == bool and array.ndim:
        yield from (f"{name}: {said}" for said, so in _of_flags(array).items() if so)
    if array.dtype.kind in "fi" and array.size:
        yield from (f"{name}: {said}" for said, so in _of_numbers(array).items() if so)


def _of_layout(array: np.ndarray) -> dict[str, bool]:
    return {
        "gaps in memory": not (array.flags.c_contiguous or array.flags.f_contiguous),
        "columns first": array.flags.f_contiguous and not array.flags.c_contiguous,
        "backwards in memory": any(stride < 0 for stride in array.strides),
        "locked": not array.flags.writeable,
    }


def _of_flags(flags: np.ndarray) -> dict[str, bool]:
    counts = flags.sum(axis=-1).ravel()
    return {
        "all": bool(flags.all()),
        "none": not flags.any(),
        "in the last": bool(flags[..., -1].any()),
        "before the last": bool(flags[..., :-1].any()),
        "ragged": len(set(counts.tolist())) > 1,
        "an empty row": bool((counts == 0).any()) and bool(flags.any()),
        "a gap": bool((np.diff(flags.astype(int), axis=-1) != 0).sum(axis=-1).max(initial=0) > 1),
        "not the first": not flags[..., 0].all(),
    }


def _of_numbers(numbers: np.ndarray) -> dict[str, bool]:
    finite = numbers[np.isfinite(numbers)]
    size = np.abs(finite)
    return {
        "equal": numbers.size > 1 and len(set(finite.tolist())) == 1,
        "NaN": bool(np.isnan(numbers).any()),
        "infinite": bool(np.isinf(numbers).any()),
        "zero": bool((size == 0).any()),
        "negative": bool((finite < 0).any()),
        "positive": bool((finite > 0).any()),
        "large": bool((size > 100).any()),
        "tiny": bool(((size > 0) & (size < 1e-3)).any()),
        "not of float32": bool((finite[size < FLOAT32] != finite[size < FLOAT32].astype(np.float32)).any()),
    }
