"""Functions of arrays, entry by entry, of floats as well as of numbers that remember what they were made of."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .derivatives import Traced

Array = Any


def _entrywise(name: str) -> Callable[[Array], Array]:
    of_arrays = getattr(np, name)

    def applied(numbers: Array) -> Array:
        array = np.asarray(numbers)
        if array.dtype != object:
            return of_arrays(array)
        found = np.empty(array.shape, dtype=object)
        for place in np.ndindex(array.shape):
            number: Any = array[place]
            found[place] = getattr(number, name)() if isinstance(number, Traced) else of_arrays(float(number))
        return found

    return applied


exp, expm1, log, log1p, tanh, sqrt = map(_entrywise, ("exp", "expm1", "log", "log1p", "tanh", "sqrt"))


def fixed(numbers: Array) -> Array:
    """The numbers themselves, through which nothing is differentiated."""
    array = np.asarray(numbers)
    if array.dtype != object:
        return array
    plain = [number.value if isinstance(number, Traced) else number for number in array.ravel()]
    return np.array(plain, dtype=float).reshape(array.shape)


def softplus(numbers: Array) -> Array:
    """The logarithm of 1 + e^x, in which no exponential is large."""
    return np.maximum(numbers, 0) + log1p(exp(-abs(numbers)))


def sigmoid(numbers: Array) -> Array:
    """1 / (1 + e^-x), in which no exponential is large."""
    small = exp(-abs(numbers))
    return np.where(numbers >= 0, 1, small) / (1 + small)


def softmax(logits: Array, axis: int) -> Array:
    """Exponentials of logits over their sum along an axis."""
    return exp(log_softmax(logits, axis))


def log_softmax(logits: Array, axis: int) -> Array:
    """Logits less the logarithm of the sum of their exponentials along an axis."""
    largest = fixed(logits).max(axis=axis, keepdims=True)
    return logits - largest - log(exp(logits - largest).sum(axis=axis, keepdims=True))


ROOT_OF_TWO_PI = math.log(2 * math.pi) / 2
"""The logarithm of the root of 2 pi."""
