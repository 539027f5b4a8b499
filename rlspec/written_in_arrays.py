"""Edits of an operation as it is written in arrays: the search of the same kind, in formulas of another form."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

import numpy as np

from . import in_arrays
from .derivatives import Traced, differentiated, has_derivatives
from .edits import SOURCE, Arguments, Edit, Inner, Results
from .source_edits import functions_of, lines_run, source_edits
from .spec.operations import MASKS, Operation

FLAGS = (*MASKS, "terminated", "truncated", "desirable", "greedy", "alive", "dies", "available", "ends")
"""The arguments that are truth values, whatever they are stored as."""

BEYOND = 0.5
"""How much further from plain a change is than the same change of the reference."""

LOOKED_AT = 12
"""In how many calls it is looked at which lines are run."""


@dataclass(frozen=True, eq=False)
class InArrays:
    """An operation as it is written in arrays, and every small change of that."""

    operation: Operation
    inner: Inner
    """It gives the first result, if the others are derivatives of it, and all results if not."""
    edits: Sequence[Edit]
    functions: Sequence[FunctionType]
    """The functions that it runs through."""

    @classmethod
    def all_of(cls, operation: Operation, calls: Sequence[Arguments]) -> "list[InArrays]":
        """It, in each way in which it is written."""
        names = [name for name in vars(in_arrays) if name.partition("__")[0] == operation.name]
        return [cls.of(operation, getattr(in_arrays, name), calls) for name in names]

    @classmethod
    def of(cls, operation: Operation, function: Callable[..., Any], calls: Sequence[Arguments]) -> "InArrays":
        """It, by the function that it is."""

        def inner(arguments: Arguments) -> Results:
            named = {name: _as_array(name, value) for name, value in arguments.items()}
            given = [named.pop(name) for name in operation.parameters]
            answer = function(*given, **named)
            return _shaped(operation, given, answer if isinstance(answer, tuple) else (answer,))

        run = functions_of(in_arrays, inner, calls[:LOOKED_AT])
        edits = sorted(source_edits(run), key=lambda edit: edit.cost)
        return cls(operation, inner, edits, run)

    def acting(self, arguments: Arguments) -> list[Edit]:
        """The changes of lines that a call runs through."""
        lines = lines_run(self.inner, arguments)
        return [edit for edit in self.edits if all(change.is_in(lines) for change in edit.changes)]

    def value(self, edit: Edit) -> Inner:
        """The operation with a change, without what is found by differentiation."""
        return edit.around(self.inner)

    def whole(self, edit: Edit) -> Edit:
        """The change as one of the operation, with all of its results, whatever is inside."""
        if not has_derivatives(self.operation):
            return Edit(edit.said, edit.cost + BEYOND, lambda _: self.value(edit), SOURCE)
        words = f"{edit.words}, and the derivatives followed"
        return replace(
            differentiated(self.operation, lambda _: self.value(edit), words, edit.cost + BEYOND), stage=SOURCE
        )


def _shaped(operation: Operation, given: Sequence[Any], answer: Sequence[Any]) -> Results:
    """The results as arrays.  Raises ValueError where one has another shape than it is to have."""
    results = tuple(map(np.asarray, answer))
    for result, (name, shape) in zip(results, operation.result_shapes(tuple(given)).items(), strict=False):
        if result.shape != shape:
            raise ValueError(f"{name} has the shape {result.shape}")
    return results


def _as_array(name: str, value: Any) -> Any:
    """An argument as arrays are computed with: flags as truth values, a number that is traced as an array of it.

    A change may write to what it is given, so that an array is one that cannot be written to.
    """
    if isinstance(value, Traced):
        return np.array(value, dtype=object)
    if not isinstance(value, np.ndarray):
        return value
    array = value.astype(bool) if name in FLAGS else value.view()
    array.flags.writeable = False
    return array
