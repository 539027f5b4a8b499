"""A changed value and its derivatives: what automatic differentiation makes of a mistake in a loss.

The reference has a formula for a loss and another one for its derivative.  Whoever lets a library differentiate makes a
mistake once, and both results are wrong; or holds something fixed that moves, and the value is right.  So the
reference's formula for the value is run on numbers that remember what they were made of, and is differentiated
backwards through that, exactly but for rounding.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from types import FunctionType, ModuleType
from typing import Any, ClassVar

import numpy as np

from . import reference
from .conditions import Arguments, is_number
from .edits import RESULT, Edit, Inner, Results
from .spec.operations import Operation

STEP = 1e-6
"""By how much a number is moved to see whether the value has a corner there, relative to it if it is larger than 1."""

CORNER = 1e-2
"""By how much the slopes on both sides of a corner differ at least, relative to the steeper one."""

CURVED, BLURRED = 1e-5, 1e-9
"""By how much they differ besides where there is no corner: since the value is curved, and since it is rounded."""

DIGITS = 1e-10
"""By how much such derivatives may be off beside rounding, relative to the largest number in sight."""

SMALL = 60
"""Of how many numbers derivatives are looked at while an explanation is sought: each takes its time."""

ROUNDER = 64
"""How many times as far as the reference's own formula differentiation may be off by rounding."""


class Traced:
    """A number that remembers what it was made of, and how steep it is in each part."""

    __slots__ = ("made_of", "order", "value")

    _orders = count()
    ties: ClassVar[list["Traced"]] = []
    """Numbers that were compared with an equal one since the last value was traced: there may be corners."""

    def __init__(self, value: Any, made_of: tuple[tuple["Traced", float], ...] = ()) -> None:
        self.value, self.made_of, self.order = value, made_of, next(self._orders)

    @property
    def real(self) -> Any:
        """The number without its memory: what no derivative passes through."""
        return self.value

    def __add__(self, other: Any) -> "Traced":
        return self._with(other, _value(other) + self.value, 1.0, 1.0)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Traced":
        return self._with(other, self.value - _value(other), 1.0, -1.0)

    def __rsub__(self, other: Any) -> "Traced":
        return self._with(other, _value(other) - self.value, -1.0, 1.0)

    def __mul__(self, other: Any) -> "Traced":
        return self._with(other, self.value * _value(other), _value(other), self.value)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Traced":
        quotient = self.value / _value(other)
        return self._with(other, quotient, 1 / _value(other), -quotient / _value(other))

    def __rtruediv__(self, other: Any) -> "Traced":
        quotient = _value(other) / self.value
        return self._with(other, quotient, -quotient / self.value, 1 / self.value)

    def __floordiv__(self, other: Any) -> "Traced":
        return Traced(self.value // _value(other))

    def __rfloordiv__(self, other: Any) -> "Traced":
        return Traced(_value(other) // self.value)

    def __mod__(self, other: Any) -> "Traced":
        return self._with(other, self.value % _value(other), 1.0, -(self.value // _value(other)))

    def __rmod__(self, other: Any) -> "Traced":
        return self._with(other, _value(other) % self.value, -(_value(other) // self.value), 1.0)

    def __pow__(self, other: Any) -> "Traced":
        return _power(self, other)

    def __rpow__(self, other: Any) -> "Traced":
        return _power(other, self)

    def __neg__(self) -> "Traced":
        return Traced(-self.value, ((self, -1.0),))

    def __pos__(self) -> "Traced":
        return self

    def __abs__(self) -> "Traced":
        return -self if self < 0 else self

    def __bool__(self) -> bool:
        return bool(self.value)

    def __lt__(self, other: Any) -> bool:
        return bool(self._compared(other) < 0)

    def __le__(self, other: Any) -> bool:
        return bool(self._compared(other) <= 0)

    def __gt__(self, other: Any) -> bool:
        return bool(self._compared(other) > 0)

    def __ge__(self, other: Any) -> bool:
        return bool(self._compared(other) >= 0)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == _value(other))

    def __hash__(self) -> int:
        return id(self)

    def _compared(self, other: Any) -> Any:
        mine, its = self.value, _value(other)
        if mine == its:
            self.ties.append(self)
            return 0.0
        return 1.0 if mine > its else -1.0 if mine < its else math.nan

    def _with(self, other: Any, value: Any, slope: Any, other_slope: Any) -> "Traced":
        if isinstance(other, Traced):
            return Traced(value, ((self, slope), (other, other_slope)))
        return Traced(value, ((self, slope),))

    # NumPy calls these for arrays of such numbers, and the functions below for single ones.

    def exp(self) -> "Traced":
        """Its exponential."""
        value = math.exp(self.value)
        return Traced(value, ((self, value),))

    def expm1(self) -> "Traced":
        """Its exponential less 1."""
        return Traced(math.expm1(self.value), ((self, math.exp(self.value)),))

    def log(self) -> "Traced":
        """Its logarithm."""
        return Traced(math.log(self.value), ((self, 1 / self.value),))

    def log1p(self) -> "Traced":
        """The logarithm of 1 and itself."""
        return Traced(math.log1p(self.value), ((self, 1 / (1 + self.value)),))

    def tanh(self) -> "Traced":
        """Its hyperbolic tangent."""
        value = math.tanh(self.value)
        return Traced(value, ((self, 1 - value * value),))

    def sqrt(self) -> "Traced":
        """Its root."""
        value = math.sqrt(self.value)
        return Traced(value, ((self, 0.5 / value),))


def _value(number: Any) -> Any:
    return number.value if isinstance(number, Traced) else number


def _power(base: Any, exponent: Any) -> Traced:
    x, n = _value(base), _value(exponent)
    value, made_of = x**n, []
    if isinstance(value, complex):
        raise ValueError("a root of a negative number")
    if isinstance(base, Traced):
        made_of.append((base, math.inf if x == 0 and 0 < n < 1 else n * x ** (n - 1) if n else 0.0))
    if isinstance(exponent, Traced):
        made_of.append((exponent, math.nan if x < 0 else value * math.log(x) if value and x else 0.0))
    return Traced(value, tuple(made_of))


FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "tanh")
"""The functions of ``math`` that such numbers have."""


def _of_traced(name: str) -> Callable[[Any], Any]:
    plain = getattr(math, name)
    return lambda x: getattr(x, name)() if isinstance(x, Traced) else plain(x)


def _of_ieee(name: str) -> Callable[[Any], Any]:
    plain = getattr(np, name)
    return lambda x: float(plain(x))


class Functions:
    """What stands in for ``math``, and for each of its functions."""

    def __init__(self, of: Callable[[str], Callable[[Any], Any]]) -> None:
        self.instead: dict[int, Any] = {id(getattr(math, name)): of(name) for name in FUNCTIONS}
        self.instead[id(math)] = self
        for name in FUNCTIONS:
            setattr(self, name, self.instead[id(getattr(math, name))])

    def __getattr__(self, name: str) -> Any:
        return getattr(math, name)

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """While it lasts, the reference's functions call these."""
        names, functions = _places()
        before = [({name: value for name, value in of.items() if id(value) in self.instead}) for of in names]
        defaults = [function.__defaults__ or () for function in functions]
        try:
            for of, kept in zip(names, before, strict=True):
                of.update({name: self.instead[id(value)] for name, value in kept.items()})
            for function, kept_defaults in zip(functions, defaults, strict=True):
                function.__defaults__ = tuple(self.instead.get(id(value), value) for value in kept_defaults)
            yield
        finally:
            for of, kept in zip(names, before, strict=True):
                of.update(kept)
            for function, kept_defaults in zip(functions, defaults, strict=True):
                function.__defaults__ = kept_defaults


OF_TRACED, OF_IEEE = Functions(_of_traced), Functions(_of_ieee)
"""The functions for numbers that remember, and those that answer infinity or not a number and raise nothing."""


@cache
def _places() -> tuple[tuple[dict[str, Any], ...], tuple[FunctionType, ...]]:
    """The modules in whose names, and the functions in whose defaults, there is something of ``math``."""
    from .candidates import reference as asked

    some = {id(math), *(id(getattr(math, name)) for name in FUNCTIONS)}
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{reference.__name__}.")]
    names = [vars(module) for module in [*modules, asked] if isinstance(module, ModuleType)]
    functions = {value for of in names for value in of.values() if isinstance(value, FunctionType)}
    return (
        tuple(of for of in names if any(id(value) in some for value in of.values())),
        tuple(function for function in functions if any(id(x) in some for x in function.__defaults__ or ())),
    )


def as_ieee(arguments: Arguments) -> Arguments:
    """The arguments with numbers that do not raise where they are divided by zero."""
    return {name: _ieee(value) for name, value in arguments.items()}


def _ieee(value: Any) -> Any:
    if isinstance(value, float):
        return np.float64(value)
    if not is_number(value):
        return value
    array = np.empty(value.shape, dtype=object)
    for place in np.ndindex(value.shape):
        array[place] = np.float64(value[place])
    return array


def has_derivatives(operation: Operation) -> bool:
    """Whether all results but the first are derivatives of the first in arguments."""
    others = list(operation.results)[1:]
    return bool(others) and all(_argument(operation, name) for name in others)


def _argument(operation: Operation, result: str) -> str:
    """The argument in which a result named ``d_ARGUMENT`` is the derivative; empty if there is none."""
    name = result.removeprefix("d_")
    return next((known for known in (name, f"{name}_logp") if known in operation.axes and known != result), "")


def differentiated(operation: Operation, changed: Callable[[Inner], Inner], words: str, cost: float) -> Edit:
    """The edit of the first result that makes the others its derivatives; not a number where there is none.

    changed: makes the operation into the one whose value counts.
    """
    names = [_argument(operation, result) for result in list(operation.results)[1:]]

    def around(inner: Inner) -> Inner:
        of_value = changed(inner)
        return lambda arguments: _differentiated(of_value, arguments, names)

    return Edit(words, cost, around, RESULT, follows=True)


class Searching:
    """Whether an explanation is sought: then a call of many numbers is not differentiated, and any derivative fits."""

    def __init__(self) -> None:
        self.on = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """While it lasts, it is so."""
        before, self.on = self.on, True
        try:
            yield
        finally:
            self.on = before


SEARCHING = Searching()


def _differentiated(of_value: Inner, arguments: Arguments, names: Sequence[str]) -> Results:
    if not all(is_number(arguments[name]) or isinstance(arguments[name], float) for name in names):
        raise TypeError("an argument is no number, and no array of numbers")
    if SEARCHING.on and sum(np.size(arguments[name]) for name in names) > SMALL:
        return (of_value(arguments)[0], *(np.full(np.shape(arguments[name]), np.nan) for name in names))
    leaves = {name: _traced(np.asarray(arguments[name])) for name in names}
    given = {name: of if of.ndim else of[()] for name, of in leaves.items()}
    Traced.ties.clear()
    with OF_TRACED.standing_in():
        result = np.asarray(of_value({**arguments, **given})[0])
    slopes = _backwards(result)
    found = [np.array([slopes.get(id(x), 0.0) for x in leaves[name].ravel()]).reshape(leaves[name].shape)
             for name in names]  # fmt: skip
    value = np.array([_value(x) for x in result.ravel()], dtype=float).reshape(result.shape)
    if Traced.ties:
        found = [_without_corners(of_value, arguments, name, of) for name, of in zip(names, found, strict=True)]
    return (value, *found)


def _traced(array: np.ndarray) -> np.ndarray:
    leaves = np.empty(array.shape, dtype=object)
    for place in np.ndindex(array.shape):
        leaves[place] = Traced(float(array[place]))
    return leaves


def _backwards(result: np.ndarray) -> dict[int, float]:
    """The derivatives of the sum of some numbers in all that they were made of, by identity."""
    begun = {id(x): x for x in result.ravel() if isinstance(x, Traced)}
    reached, left = dict(begun), list(begun.values())
    while left:
        for part, _ in left.pop().made_of:
            if id(part) not in reached:
                reached[id(part)] = part
                left.append(part)
    slopes: dict[int, float] = {}
    for x in result.ravel():
        if isinstance(x, Traced):
            slopes[id(x)] = slopes.get(id(x), 0.0) + 1.0
    for x in sorted(reached.values(), key=lambda x: -x.order):
        for part, slope in x.made_of:
            slopes[id(part)] = slopes.get(id(part), 0.0) + slopes.get(id(x), 0.0) * slope
    return slopes


def _without_corners(of_value: Inner, arguments: Arguments, name: str, slopes: np.ndarray) -> np.ndarray:
    """The derivatives, and not a number where those on both sides differ."""

    def total(array: np.ndarray) -> float:
        return float(np.sum(np.asarray(of_value({**arguments, name: array})[0], dtype=float)))

    array, known = np.asarray(arguments[name]), slopes.copy()
    middle = total(arguments[name])
    for place in np.ndindex(array.shape):
        step = STEP * max(1.0, abs(float(array[place])))
        ahead, behind = (total(_moved(array, place, by)) for by in (step, -step))
        right, left = (ahead - middle) / step, (middle - behind) / step
        if abs(right - left) > CORNER * max(abs(left), abs(right)) + CURVED + BLURRED * abs(middle):
            known[place] = np.nan
    return known


def _moved(array: np.ndarray, place: tuple[int, ...], by: float) -> Any:
    moved = array.copy()
    moved[place] += by
    return moved if moved.ndim else float(moved)


def close(mine: np.ndarray, its: np.ndarray, slack: float) -> np.ndarray:
    """Where derivatives found by differentiation are those that were answered, or do not exist."""
    largest = max(1.0, float(np.abs(its[np.isfinite(its)]).max(initial=0)))
    with np.errstate(all="ignore"):
        return np.isnan(mine) | (mine == its) | (np.abs(mine - its) <= ROUNDER * slack + DIGITS * largest)
