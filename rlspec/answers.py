"""Recorded answers beside what is right, and what rounding in the run's own number types explains."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from .bounds import right, slack, worst_slack
from .candidates import reference
from .properties.checking import each
from .properties.questions.question import last_names
from .recorded import Seen
from .spec.operations import Operation

Chosen = dict[str, str]
"""Choices by the conventions' names."""


def explains(call: Seen, taken: Chosen) -> bool:
    """Whether choices explain an answer, as far as rounding lets it be known."""
    return not any((off > allowed).any() for _, off, allowed in misses(call, taken))


def misses(call: Seen, taken: Chosen) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of each recorded result how far it is off, and how far rounding may take it."""
    allowed = dict(zip(call.operation.results, _slack(call, _hashable(taken)), strict=True))
    return [(name, off_by(call, taken, name, allowed[name]), allowed[name]) for name in call.results]


def off_by(call: Seen, taken: Chosen, name: str, allowed: np.ndarray) -> np.ndarray:
    """How far each number of a result is off; what is not finite where it is right is judged by nobody."""
    answer, exact = call.results[name], right_of(call, taken)[name]
    off = np.abs(answer.astype(float) - exact)
    same = ~np.isfinite(exact) | ~np.isfinite(allowed)
    bad = ~np.isfinite(answer) & ~same
    return np.where(same, 0, np.where(bad, np.inf, off))


def beyond(call: Seen, taken: Chosen) -> bool:
    """Whether an answer is off by more than if all was rounded to the coarsest type of the call, long sums too."""
    worst = worst_slack(call.operation.name, call.arguments, taken, call.types)
    allowed = dict(zip(call.operation.results, worst, strict=True))
    return any((off_by(call, taken, name, allowed[name]) > allowed[name]).any() for name in call.results)


def _hashable(taken: Chosen) -> tuple[tuple[str, str], ...]:
    return tuple(taken.items())


@lru_cache(maxsize=1024)
def _slack(call: Seen, taken: tuple[tuple[str, str], ...]) -> list[np.ndarray]:
    """How far rounding may take each result; choices that give the same numbers are rounded alike."""
    exact = _exact(call, taken)
    for numbers, bounds in _bounds_of(call):
        if all(map(_alike, numbers, exact, bounds)):
            return bounds
    bounds = slack(call.operation.name, call.arguments, dict(taken), call.types)
    _bounds_of(call).append((exact, bounds))
    return bounds


@lru_cache(maxsize=128)
def _bounds_of(call: Seen) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """What was found to be right under some choices, with the bounds."""
    return []


def _alike(numbers: np.ndarray, others: np.ndarray, bound: np.ndarray) -> bool:
    """Whether numbers are the same, but for a small share of what rounding may do."""
    with np.errstate(invalid="ignore"):
        return bool(((np.abs(numbers - others) <= bound / 64) | (numbers == others)).all())


def right_of(call: Seen, taken: Chosen) -> dict[str, np.ndarray]:
    """What is right, by the results' names."""
    return dict(zip(call.operation.results, _exact(call, _hashable(taken)), strict=True))


@lru_cache(maxsize=1024)
def _exact(call: Seen, taken: tuple[tuple[str, str], ...]) -> list[np.ndarray]:
    return right(call.operation.name, call.arguments, dict(taken))


def in_floats(operation: Operation, arguments: tuple[Any, ...], taken: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The reference's results in float64, by their names."""
    function = getattr(reference, operation.name)
    with np.errstate(all="ignore"):
        parts = each(function(*map(wide, arguments), **last_names(dict(taken))))
    return {name: np.asarray(part, dtype=float) for name, part in zip(operation.results, parts, strict=True)}


def digest(answers: Sequence[Mapping[str, np.ndarray]], digits: int) -> str:
    """Answers to some digits of the largest number of each result, as a text."""
    parts = [part for each in answers for part in each.values()]
    largest = [float(np.abs(part[np.isfinite(part)]).max(initial=0)) or 1.0 for part in parts]
    rounded = [(part / size).round(digits).tolist() for part, size in zip(parts, largest, strict=True)]
    return repr(([f"{size:.{digits}e}" for size in largest], rounded))


def wide(argument: Any) -> Any:
    """An array of float32 as float64, which holds all its numbers; anything else as it is."""
    return argument.astype(float) if getattr(argument, "dtype", None) == np.float32 else argument


def shape_of_call(call: Seen) -> tuple[int, int]:
    """How many rows a call has, and how many steps; 1 where it has none."""
    first = next(np.shape(argument) for argument in call.arguments if np.ndim(argument))
    return first[0], int(np.prod(first[1:2])) or 1


def of_rows(call: Seen, rows: Any) -> Seen:
    """The call with some of its rows."""
    arguments = tuple(argument[rows] if "B" in axes or "N" in axes else argument
                      for argument, axes in zip(call.arguments, call.operation.axes.values(), strict=True))  # fmt: skip
    results = {name: part[rows] for name, part in call.results.items()}
    return replace(call, arguments=arguments, results=results)


def of_steps(call: Seen, steps: slice) -> Seen:
    """The call with some of its steps."""
    axes = call.operation.axes.values()
    arguments = tuple(argument[:, steps] if tuple(of[:2]) == ("B", "T") else argument
                      for argument, of in zip(call.arguments, axes, strict=True))  # fmt: skip
    return replace(call, arguments=arguments, results={name: part[:, steps] for name, part in call.results.items()})
