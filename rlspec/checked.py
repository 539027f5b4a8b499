"""``rlspec.check`` and ``rlspec.check_function``: the properties from Python, in this process, and what they found."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import wraps
from os import PathLike
from types import SimpleNamespace
from typing import Any

import numpy as np

from .harness import Run
from .options import BUDGET, PATIENCE
from .recorded import arranged
from .run_record import Mistake, Record, written
from .spec.operations import OPERATIONS, Operation
from .suite import Suite, named
from .verdicts import counted


class Result:
    """What a check found.  As text, and at a prompt, it says what is wrong, or that nothing is."""

    def __init__(self, record: Record, counts: str) -> None:
        self.record = record
        self._counts = counts

    @property
    def holds(self) -> bool:
        """Whether something was tested, and nothing is wrong."""
        return self.record.tested and not self.record.wrong

    @property
    def mistakes(self) -> list[Mistake]:
        """What is wrong, a mistake at a time, each with ``operation``, ``words``, ``clauses`` and ``shown``."""
        return self.record.mistakes()

    @property
    def conventions(self) -> dict[str, str]:
        """The choices that were declared, or found out from the answers, by convention."""
        found = self.record.said["conventions"]
        return {**found["inferred"], **found["declared"]}

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict on each clause by its id: ``holds``, ``violated``, and the others that the README lists."""
        return self.record.verdicts

    def to_json(self) -> str:
        """The record that ``--verdicts`` writes, as a text."""
        return self.record.as_json()

    def __repr__(self) -> str:
        lines = [f"rlspec: {self.record.name} {self._said()}"]
        for mistake in self.mistakes:
            lines += ["", f"  {mistake.prefix}: {mistake.words}" if mistake.prefix else f"  {mistake.words}"]
            shown = mistake.shown.found
            if "arguments" in shown:
                listed = ", ".join(f"{name}={text}" for name, text in shown["arguments"].items())
                lines.append(f"    {mistake.operation}({listed})")
            if "expected" in shown and "actual" in shown:
                lines.append(f"    expected {shown['expected']}, got {shown['actual']}")
            lines.append(f"    breaks {', '.join(mistake.clauses)}")
        unremarkable = [name for name, choice in self.conventions.items()
                        if name.endswith(".precision") and choice == "float64"]  # fmt: skip
        conventions = [f"{name} = {choice}" for name, choice in self.conventions.items() if name not in unremarkable]
        lines += [""] * bool(conventions) + [f"  convention {said}" for said in conventions]
        return "\n".join([*lines, "", f"  {self._counts}"])

    def _said(self) -> str:
        if not self.record.tested:
            return "was not tested"
        return "holds" if self.holds else "is wrong"


def check(
    what: Any,
    *,
    operations: Iterable[str] = (),
    clauses: Iterable[str] = (),
    budget: float = BUDGET,
    patience: float = PATIENCE,
    replay: str | PathLike[str] | None = None,
) -> Result:
    """Check an implementation that is in this process, and say what was found.

    what: a module or an object with functions that are called like operations, a mapping from such names to functions,
    one function of such a name, or a text as ``python -m rlspec check`` takes it.
    operations: those that are to be asked; without any, all that there are.
    clauses: ids, or chapters by their letters or names; without any, all.
    budget, patience: seconds that a property may take, and that one call may.
    replay: a file that ``--verdicts`` or ``Result.to_json`` wrote; the inputs of its failures are asked first.

    A function that ends its process ends this one; ``python -m rlspec check`` survives that.
    Raises ValueError for a name that there is not, and for a file that is no record, and rlspec.NotLoaded for a
    candidate that cannot be had.
    """
    run = Run(budget, patience)
    suite = Suite(what, operations, clauses, run.limits, Record.read(replay) if replay else None)
    outcomes, verdicts = suite.outcomes(), suite.verdicts()
    record = written(suite.candidate.about(), named(what), asdict(run), outcomes, verdicts)
    return Result(record, counted(verdicts))


def check_function(function: Callable[..., Any], operation: str, *, axes: str | None = None, **how: Any) -> Result:
    """Check one function as an operation, whatever it is called.

    operation: its name in ``spec/operations.py``; the function is called with the operation's arguments, by position.
    axes: the order of the axes in arrays that have several, such as ``"T B"``; ``"T"`` for a function of one row, which
    is called for each.  Results are taken to have the same order.
    how: as for ``check``.
    Raises ValueError for an operation that there is not, or axes that it has not.
    """
    if operation not in OPERATIONS:
        return check({operation: function}, **how)  # which says what is meant
    name = getattr(function, "__name__", operation)
    on_trial = turned(function, OPERATIONS[operation], axes) if axes else function
    return check(SimpleNamespace(NAME=name, **{operation: on_trial}), operations=[operation], **how)


def turned(function: Callable[..., Any], operation: Operation, axes: str) -> Callable[..., Any]:
    """The operation that a function is whose arrays have their axes in another order, or lack that of the rows."""
    order = axes.split()
    own = {axis for of in (*operation.axes.values(), *operation.results.values()) for axis in of}
    if unknown := [axis for axis in order if axis not in own]:
        raise ValueError(f"{operation.name} has no axis {', '.join(unknown)}; its axes are {', '.join(sorted(own))}")
    if "B" in own and "B" not in order:
        return _row_by_row(function, operation)

    @wraps(function)
    def asked(*arguments: Any) -> Any:
        given = [
            arranged(value, order, " ".join(of), name) if sorted(of) == sorted(order) else value
            for value, (name, of) in zip(arguments, operation.axes.items(), strict=True)
        ]
        return _each(function(*given), operation, lambda value, of: _back(value, of, axes))

    return asked


def _back(value: Any, of: tuple[str, ...], axes: str) -> Any:
    """A result with the operation's own order of the axes, where it has those that were said."""
    array = np.asarray(value)
    same = sorted(of) == sorted(axes.split()) and array.ndim == len(of)
    return arranged(array, of, axes, "the result") if same else value


def _each(returned: Any, operation: Operation, change: Callable[[Any, tuple[str, ...]], Any]) -> Any:
    """What was returned, each result changed; as it is, where it is not what the operation returns."""
    shapes = [*operation.results.values()]
    if len(shapes) == 1:
        return change(returned, shapes[0])
    if not isinstance(returned, tuple | list) or len(returned) != len(shapes):
        return returned
    return tuple(change(value, of) for value, of in zip(returned, shapes, strict=True))


def _row_by_row(function: Callable[..., Any], operation: Operation) -> Callable[..., Any]:
    """The operation, of a function of a single row.  Raises ValueError where rows have to do with each other."""
    if not operation.row_by_row:
        raise ValueError(f"{operation.name} is not computed row by row, so its arrays have an axis B")

    @wraps(function)
    def asked(*arguments: Any) -> Any:
        of_rows = [of[:1] == ("B",) for of in operation.axes.values()]
        rows = len(arguments[of_rows.index(True)])
        answers = [
            function(*(value[row] if by_row else value for value, by_row in zip(arguments, of_rows, strict=True)))
            for row in range(rows)
        ]
        if len(operation.results) == 1:
            return np.stack([np.asarray(answer) for answer in answers])
        return tuple(np.stack([np.asarray(part) for part in parts]) for parts in zip(*answers, strict=True))

    return asked
