"""A changed value and its derivatives: what automatic differentiation makes of a mistake in a loss.

The reference has a formula for a loss and another one for its derivative.  Whoever lets a library differentiate makes a
mistake once, and both results are wrong.  The derivatives of a changed value are found by differences, to a few digits.
"""

from collections.abc import Callable

import numpy as np

from .conditions import Arguments, is_number
from .edits import Edit, Inner, Results
from .spec.operations import Operation

STEP = 1e-6
"""By how much a number is moved, relative to it if it is larger than 1."""

DIGITS = 1e-4
"""By how much such derivatives may be off, relative to the largest number in sight."""


def has_derivatives(operation: Operation) -> bool:
    """Whether all results but the first are derivatives of the first in arguments."""
    others = list(operation.results)[1:]
    return bool(others) and all(_argument(operation, name) for name in others)


def _argument(operation: Operation, result: str) -> str:
    """The argument in which a result named ``d_ARGUMENT`` is the derivative; empty if there is none."""
    name = result.removeprefix("d_")
    return next((known for known in (name, f"{name}_logp") if known in operation.axes and known != result), "")


def differentiated(operation: Operation, edit: Edit) -> Edit:
    """The edit of the first result, with derivatives that follow it; not a number where they jump."""

    def around(inner: Inner) -> Inner:
        edited = edit.around(inner)

        def changed(arguments: Arguments) -> Results:
            value = np.asarray(edited(arguments)[0], dtype=float)
            names = [_argument(operation, result) for result in list(operation.results)[1:]]
            return value, *(_derivative(lambda a: float(np.sum(edited(a)[0])), arguments, name) for name in names)

        return changed

    words = f"{edit.words}, and the derivatives followed"
    return Edit(words, edit.cost + 0.2, around, edit.stage, follows=edit)


def _derivative(total: Callable[[Arguments], float], arguments: Arguments, name: str) -> np.ndarray:
    array = arguments[name]
    if not is_number(array):
        raise TypeError(f"{name} is no array of numbers")
    middle, slopes = total(arguments), np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        step = STEP * max(1.0, abs(array[place]))
        ahead, behind = (total({**arguments, name: _moved(array, place, by)}) for by in (step, -step))
        right, left = (ahead - middle) / step, (middle - behind) / step
        jumps = abs(right - left) > 100 * DIGITS * max(1.0, abs(middle), abs(right))
        slopes[place] = np.nan if jumps else (right + left) / 2
    return slopes


def _moved(array: np.ndarray, place: tuple[int, ...], by: float) -> np.ndarray:
    moved = array.copy()
    moved[place] += by
    return moved


def close(mine: np.ndarray, its: np.ndarray) -> np.ndarray:
    """Where derivatives found by differences are those that were answered, or cannot be told."""
    largest = max(1.0, float(np.abs(its[np.isfinite(its)]).max(initial=0)))
    return np.isnan(mine) | (np.abs(mine - its) <= DIGITS * largest)
