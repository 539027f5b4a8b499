"""Where the ways to compute an operation are registered, and how one becomes an implementation."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from rlspec.spec.operations import OPERATIONS, Operation

from .styles import LAYOUTS, Style

FLAGS = {"terminated", "truncated", "mask", "completion_mask", "valid", "desirable", "legal", "greedy", "ends"}
FLAGS |= {"alive", "dies", "available", "correct"}
"""Arguments that are read as truth values, whatever type they come in."""

WHOLE = {"tokens", "turns", "states", "groups", "shards", "prompt_length", "lengths", "next_actions", "sampled"}
WHOLE |= {"chosen_length", "rejected_length", "segments"}
"""Arguments that are left as they are: indices, names and lengths."""


@dataclass(frozen=True)
class Way:
    """One algorithm for one operation."""

    operation: str
    how: str
    function: Callable[..., Any]
    admitted: tuple[str, ...] = ()
    """Clauses of advice that it does not take."""

    def __str__(self) -> str:
        return self.how


WAYS: dict[str, list[Way]] = defaultdict(list)
"""The ways to compute each operation."""


def way(
    how: str, *operations: str, admitted: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a way to compute the operation whose name it has, or those named."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for operation in set(operations or (function.__name__,)) & OPERATIONS.keys():
            WAYS[operation].append(Way(operation, how, function, admitted))
        return function

    return register


def implementation(way: Way, style: Style, choices: Mapping[str, str]) -> Callable[..., Any]:
    """The way, in a style and under choices by their conventions' names, as a candidate's operation."""
    operation = OPERATIONS[way.operation]
    own = {name.partition(".")[2]: choice for name, choice in choices.items()}
    asked = _rows_apart(operation, style) if operation.row_by_row and style.rows == "one by one" else _all_rows(style)

    @wraps(way.function)
    def implemented(*arguments: Any) -> Any:
        ready = [_prepared(name, value, style) for name, value in zip(operation.parameters, arguments, strict=True)]
        with np.errstate(all="ignore"):
            results = asked(lambda *parts: _several(way.function(style, own, *parts)), operation, ready)
        given = tuple(map(style.give, results))
        return given if len(given) > 1 else given[0]

    return implemented


def _prepared(name: str, value: Any, style: Style) -> Any:
    if not isinstance(value, np.ndarray):
        return style.dtype(style.stored(value)) if isinstance(value, float) else value
    value = LAYOUTS[style.layout](value)
    if name in FLAGS:
        return value.astype(bool)
    return value if value.dtype.kind not in "fiub" or name in WHOLE else style.stored(value).astype(style.dtype)


def _several(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _all_rows(style: Style) -> Callable[..., tuple[Any, ...]]:
    """The whole batch at once, with its last row first where the style says so."""

    def ask(function: Callable[..., tuple[Any, ...]], operation: Operation, arguments: list[Any]) -> tuple[Any, ...]:
        if style.rows != "the last first" or operation.name == "accumulate":
            return function(*arguments)
        turned = [
            value[::-1] if axes[:1] in (("B",), ("N",)) else value
            for value, axes in zip(arguments, operation.axes.values(), strict=True)
        ]
        return tuple(
            np.asarray(result)[::-1] if axes[:1] in (("B",), ("N",)) else result
            for result, axes in zip(function(*turned), operation.results.values(), strict=True)
        )

    return ask


def _rows_apart(operation: Operation, style: Style) -> Callable[..., tuple[Any, ...]]:
    """Each row by itself, if all results have a place for each row and not otherwise."""
    if not all(axes[:1] == ("B",) for axes in operation.results.values()):
        return _all_rows(style)

    def ask(function: Callable[..., tuple[Any, ...]], operation: Operation, arguments: list[Any]) -> tuple[Any, ...]:
        has_rows = [axes[:1] == ("B",) for axes in operation.axes.values()]
        count = next(len(value) for value, rows in zip(arguments, has_rows, strict=True) if rows)
        answers = [
            function(
                *(value[row : row + 1] if rows else value for value, rows in zip(arguments, has_rows, strict=True))
            )
            for row in range(count)
        ]
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))

    return ask
