"""How an honest program may be written: everything about it that no formula speaks of.

A *way* is one algorithm for one operation.  It gets a Style, the choices that the specification leaves it, and the
operation's arguments as arrays of the style's type; what it adds up, masks and exponentiates goes through the style.
So each way stands for many programs, which differ in rounding and in nothing else.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import Any

import numpy as np
import torch

# Sums along the last axis, associated in different orders


def _forward(terms: np.ndarray) -> np.ndarray:
    total = np.zeros(terms.shape[:-1], terms.dtype)
    for part in np.moveaxis(terms, -1, 0):
        total = total + part
    return total


def _backward(terms: np.ndarray) -> np.ndarray:
    return _forward(terms[..., ::-1])


def _in_halves(terms: np.ndarray) -> np.ndarray:
    count = terms.shape[-1]
    if count < 2:
        return terms.sum(axis=-1)
    return _in_halves(terms[..., : count // 2]) + _in_halves(terms[..., count // 2 :])


def _compensated(terms: np.ndarray) -> np.ndarray:
    total, lost = np.zeros(terms.shape[:-1], terms.dtype), np.zeros(terms.shape[:-1], terms.dtype)
    for part in np.moveaxis(terms, -1, 0):
        whole = total + part
        lost = lost + np.where(abs(total) >= abs(part), (total - whole) + part, (part - whole) + total)
        total = whole
    return total + lost


def _smallest_first(terms: np.ndarray) -> np.ndarray:
    return _forward(np.take_along_axis(terms, np.argsort(abs(terms), axis=-1), axis=-1))


def _running(terms: np.ndarray) -> np.ndarray:
    return np.cumsum(terms, axis=-1)[..., -1] if terms.shape[-1] else _forward(terms)


def _exact(terms: np.ndarray) -> np.ndarray:
    rows = terms.reshape(math.prod(terms.shape[:-1]), terms.shape[-1])
    return np.array([math.fsum(row) for row in rows], terms.dtype).reshape(terms.shape[:-1])


def _by_torch(terms: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.array(terms)).sum(-1).numpy()


SUMS: dict[str, Callable[[np.ndarray], Any]] = {
    "NumPy's sum": lambda terms: terms.sum(axis=-1),
    "first to last": _forward,
    "last to first": _backward,
    "in halves": _in_halves,
    "compensated": _compensated,
    "smallest first": _smallest_first,
    "the last of the running sums": _running,
    "a product with ones": lambda terms: terms @ np.ones(terms.shape[-1], terms.dtype),
    "einsum": lambda terms: np.einsum("...t->...", terms),
    "math.fsum": _exact,
    "torch's sum": _by_torch,
}

# Numbers that do not count, replaced by 0


def _assigned(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    clean = array.copy()
    clean[~mask] = 0
    return clean


def _copied(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    clean = np.zeros_like(array)
    np.copyto(clean, array, where=mask)
    return clean


def _placed(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    clean = np.zeros_like(array)
    clean[mask] = array[mask]
    return clean


BARE = "a product, which leaves what is not a number"
"""How numbers that do not count are not to be replaced (OPS-11)."""

MASKS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "np.where": lambda array, mask: np.where(mask, array, array.dtype.type(0)),
    "np.where and a product": lambda array, mask: np.where(mask, array, array.dtype.type(0)) * mask,
    BARE: lambda array, mask: array * mask,
    "assignment": _assigned,
    "np.copyto": _copied,
    "boolean indexing": _placed,
    "a masked array": lambda array, mask: np.ma.masked_array(array, ~mask).filled(0),
}

SELECTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "boolean indexing": lambda array, mask: array[mask],
    "np.compress": lambda array, mask: np.compress(mask.ravel(), array.ravel()),
    "np.nonzero": lambda array, mask: array[np.nonzero(mask)],
    "a masked array": lambda array, mask: np.ma.masked_array(array, ~mask).compressed(),
    "a list": lambda array, mask: np.array(
        [array[place] for place in zip(*np.nonzero(mask), strict=True)], array.dtype
    ),
}

# Elementary functions, each by another formula

EXPONENTIALS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "the square of half of it": lambda x: np.square(np.exp(x / 2)),
    "a reciprocal": lambda x: 1 / np.exp(-x),
    "torch's exp": lambda x: torch.from_numpy(np.array(x)).exp().numpy(),
}


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


SOFTPLUSES: dict[str, Callable[[Any], Any]] = {
    "maximum and log1p": _softplus,
    "logaddexp": lambda x: np.logaddexp(x, x.dtype.type(0)),
    "by cases": lambda x: np.where(x > 0, x + np.log1p(np.exp(-abs(x))), np.log1p(np.exp(-abs(x)))),
}

SIGMOIDS: dict[str, Callable[[Any], Any]] = {
    "by cases": lambda x: np.where(x >= 0, 1 / (1 + np.exp(-abs(x))), np.exp(-abs(x)) / (1 + np.exp(-abs(x)))),
    "exp(-softplus)": lambda x: np.exp(-_softplus(-x)),
    "torch's sigmoid": lambda x: torch.from_numpy(np.array(x)).sigmoid().numpy(),
}

# What comes in and what goes out

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it came": lambda array: array,
    "a copy": np.array,
    "the last axis first": lambda array: np.array(array.T).T,
    "reversed twice": lambda array: np.array(array[::-1])[::-1],
    "every other place of a larger one": lambda array: np.repeat(array, 2, axis=0)[::2],
}


def _read_only(array: Any) -> Any:
    array = np.array(array)
    array.setflags(write=False)
    return array


RETURNS: dict[str, Callable[[Any], Any]] = {
    "an array": lambda result: result,
    "lists": lambda result: np.asarray(result).tolist(),
    "a tensor": lambda result: torch.from_numpy(np.array(result)),
    "in Fortran order": lambda result: np.asarray(result, order="F"),
    "not to be written to": _read_only,
    "a reversed view": lambda result: np.array(result)[::-1][::-1] if np.ndim(result) else result,
    "long doubles": lambda result: np.asarray(result).astype(np.longdouble),
}

TYPES = {"float64": np.float64, "float32": np.float32, "bfloat16": np.float32}


@dataclass(frozen=True)
class Style:
    """One way to do everything that no formula speaks of; a name in each of the tables of this module."""

    precision: str
    adding: str
    masking: str
    selecting: str
    exponential: str
    softplus: str
    sigmoid: str
    reducing: str
    layout: str
    rows: str
    returned: str

    @property
    def dtype(self) -> Any:
        """The type that the arithmetic is done in."""
        return TYPES[self.precision]

    def stored(self, numbers: Any) -> Any:
        """Numbers as they are stored: what is in bfloat16 is widened to be computed with."""
        numbers = np.asarray(numbers)
        if self.precision != "bfloat16" or numbers.dtype.kind != "f":
            return numbers
        return torch.from_numpy(np.array(numbers, np.float32)).to(torch.bfloat16).float().numpy()

    def total(self, terms: Any, axis: int = -1) -> Any:
        """The sum along an axis."""
        return SUMS[self.adding](np.moveaxis(np.asarray(terms), axis, -1))

    def whole(self, terms: Any) -> Any:
        """The sum of all."""
        return self.total(np.ravel(terms))

    def kept(self, array: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The array with 0 where nothing counts."""
        return MASKS[self.masking](array, mask)

    def selected(self, array: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """What counts, in one row."""
        return SELECTIONS[self.selecting](array, mask)

    def mean(self, mask: np.ndarray, sizes: Any, terms: np.ndarray, *slopes: np.ndarray) -> tuple[Any, ...]:
        """What counts of the terms, each over its size, as a sum; and of their slopes, each by itself."""
        weights = mask / np.asarray(sizes, self.dtype)
        terms, *slopes = (self.kept(np.asarray(table, self.dtype), mask) for table in (terms, *slopes))
        if self.reducing == "weighed" or np.ndim(sizes):
            return self.whole(terms * weights), *(slope * weights for slope in slopes)
        if self.reducing == "selected":
            return self.whole(self.selected(terms, mask)) / self.dtype(sizes), *(slope * weights for slope in slopes)
        return self.whole(terms) / self.dtype(sizes), *(slope / self.dtype(sizes) for slope in slopes)

    def exp(self, x: Any) -> Any:
        """The exponential."""
        return EXPONENTIALS[self.exponential](x)

    def log1pexp(self, x: Any) -> Any:
        """log(1 + exp(x))."""
        return SOFTPLUSES[self.softplus](x)

    def expit(self, x: Any) -> Any:
        """1 / (1 + exp(-x))."""
        return SIGMOIDS[self.sigmoid](x)

    def give(self, result: Any) -> Any:
        """A result as it is handed back."""
        return RETURNS[self.returned](self.stored(result) if self.precision == "bfloat16" else result)


TABLES = {
    "adding": SUMS,
    "masking": MASKS,
    "selecting": SELECTIONS,
    "exponential": EXPONENTIALS,
    "softplus": SOFTPLUSES,
    "sigmoid": SIGMOIDS,
    "reducing": ("divided", "weighed", "selected"),
    "layout": LAYOUTS,
    "returned": RETURNS,
    "rows": ("together", "the last first", "one by one"),
}


def draw_style(random: Random, narrow: bool = False) -> Style:
    """A style; two of three are in float64.

    narrow: whether it may be one in bfloat16.
    """
    drawn = {field.name: random.choice(list(TABLES[field.name])) for field in fields(Style)[1:]}
    return Style(random.choice(("float64",) * 4 + ("float32", "bfloat16" if narrow else "float32")), **drawn)
