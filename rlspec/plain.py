"""What properties draw, as JSON that a person can read, and back.

Numbers, texts, truth values and lists stand for themselves; everything else is an object with one key that says what
it is: ``{"float64": [[1, 0.5]]}`` is an array, ``{"properties.strategies.Rollout": {...}}`` a dataclass of rlspec's,
``{"fraction": "1/3"}`` a rational.  In an array of floats 1 is 1.0, in one
of truth values 1 is true.  A function is not kept: ``{"function": null}``.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import cache
from importlib import import_module
from math import isfinite
from typing import Any, cast

import numpy as np
from flint import fmpq

from .spec.operations import OPERATIONS, Operation

PACKAGE = __name__.rpartition(".")[0]


class Stale(Exception):
    """What is stored is not what today's code draws."""


def encoded(value: Any) -> Any:
    """A value as JSON.  Raises TypeError for what has no form there."""
    match value:
        case None | bool() | str():
            return value
        case np.generic():
            return {"number": [value.dtype.name, _number(value.item())]}
        case int() | float():
            return _number(value)
        case list():
            return [encoded(part) for part in value]
        case tuple():
            return {"tuple": [encoded(part) for part in value]}
        case dict():
            return {"dict": [[encoded(key), encoded(part)] for key, part in value.items()]}
        case np.ndarray():
            return _array(value)
        case Fraction():
            return {"fraction": str(value)}
        case fmpq():
            return {"fmpq": str(value)}
        case bytes():
            return {"bytes": value.hex()}
        case Operation():
            return {"operation": value.name}
        case type() if issubclass(value, np.generic):
            return {"type": value.__name__}
    if is_dataclass(value) and type(value).__module__.startswith(f"{PACKAGE}."):
        name = f"{type(value).__module__.removeprefix(f'{PACKAGE}.')}.{type(value).__qualname__}"
        return {name: {field.name: encoded(getattr(value, field.name)) for field in fields(value)}}
    if callable(value):
        return {"function": None}
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _number(number: float) -> Any:
    return number if isinstance(number, int) or isfinite(number) else {"float": str(number)}


def _array(array: np.ndarray) -> Any:
    if not array.size:
        return {"empty": [array.dtype.name, list(array.shape)]}
    if array.dtype == object:
        return {"object": [list(array.shape), [encoded(part) for part in array.ravel().tolist()]]}
    if array.dtype.kind == "f":
        return {array.dtype.name: _short(array.tolist())}
    if array.dtype == bool:
        return {"bool": array.astype(int).tolist()}
    return {array.dtype.str if array.dtype.kind == "U" else array.dtype.name: array.tolist()}


def _short(part: Any) -> Any:
    """Nested lists of floats with whole numbers as integers, and texts for what JSON has no numbers for."""
    if isinstance(part, list):
        return [_short(each) for each in part]
    if not isfinite(part) or (part == 0 and str(part) == "-0.0"):
        return str(part)
    return int(part) if part.is_integer() and abs(part) < 2**53 else part


def decoded(stored: Any, function: Callable[[tuple[Any, ...]], Any], path: tuple[Any, ...] = ()) -> Any:
    """The value that was stored.

    function: what gives the function at a place in the value that was drawn; the place is a path of fields and indices.
    Raises Stale for what today's code has not.
    """
    if isinstance(stored, list):
        return [decoded(part, function, (*path, place)) for place, part in enumerate(stored)]
    if not isinstance(stored, dict):
        return stored
    [(kind, inside)] = stored.items()
    if kind in _DTYPES:
        return np.array(inside, dtype=kind)
    if kind == "tuple":
        return tuple(decoded(part, function, (*path, place)) for place, part in enumerate(inside))
    if kind == "dict":
        keys = [decoded(key, function, path) for key, _ in inside]
        return {key: decoded(part, function, (*path, key)) for key, (_, part) in zip(keys, inside, strict=True)}
    if kind == "function":
        return function(path)
    if kind == "object":
        shape, parts = inside
        return _objects(shape, parts, function, path)
    if reading := _READ.get(kind):
        return reading(inside)
    try:
        return _class(kind)(**{field: decoded(part, function, (*path, field)) for field, part in inside.items()})
    except (ImportError, AttributeError, TypeError) as error:
        raise Stale(f"{kind}: {error}") from error


@cache
def _class(name: str) -> type:
    """The dataclass of rlspec's that is called so, with its module."""
    module, _, own = name.rpartition(".")
    return cast(type, getattr(import_module(f"{PACKAGE}.{module}"), own))


def _objects(shape: list[int], parts: list[Any], function: Callable[..., Any], path: tuple[Any, ...]) -> np.ndarray:
    array = np.empty(len(parts), dtype=object)
    array[:] = [decoded(part, function, (*path, place)) for place, part in enumerate(parts)]
    return array.reshape(shape)


_DTYPES = frozenset({"float64", "float32", "int64", "bool", "uint8", *(f"<U{size}" for size in range(1, 33))})

_READ: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "number": lambda said: np.dtype(said[0]).type(decoded(said[1], lambda path: None)),
    "empty": lambda said: np.zeros(said[1], dtype=said[0]),
    "fraction": Fraction,
    "fmpq": lambda text: fmpq(*map(int, text.split("/"))),
    "bytes": bytes.fromhex,
    "operation": OPERATIONS.__getitem__,
    "type": lambda name: getattr(np, name),
}


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a place in a value: a path of fields and indices."""
    for step in path:
        value = value[step] if isinstance(value, list | tuple | dict) else getattr(value, step)
    return value
