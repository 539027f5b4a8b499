"""The standard deviation that advantages are divided by, and what keeps it from zero (spec/advantages.md)."""

from collections.abc import Sequence
from typing import Any

from .choices import one_of, require, shape_of
from .numbers import square_root

SHAPES = ("std", "std + E", "max(std, E)", "sqrt(var + E)", "max(std, 1e-3) + 1e-6")
"""What is done to a standard deviation before something is divided by it."""


STDS = {"ddof=0": 0, "ddof=1": 1}
"""By how much less than the number of numbers is divided by."""


def standard_deviation(numbers: Sequence[Any], std: str) -> Any:
    """The root of the sum of squared differences from the mean over N, or over N - 1 with ``ddof=1``.

    numbers: N of them, two or more.  Raises ValueError for another ``std``.

    >>> standard_deviation([1, 3], "ddof=0")
    1.0
    """
    mean = sum(numbers) / len(numbers)
    divisor = len(numbers) - one_of(STDS, std)
    return square_root(sum((number - mean) ** 2 for number in numbers) / divisor)


def kept_from_zero(deviation: Any, eps: str) -> Any:
    """A standard deviation as something is divided by it: as it is, plus E, at least E, the root of var + E, or both.

    eps: one of `SHAPES` with a number for E.  Raises ValueError for another one.

    >>> kept_from_zero(0.5, "std + 0.25"), kept_from_zero(0.5, "max(std, 1.5)")
    (0.75, 1.5)
    """
    shape, number = shape_of(eps, *SHAPES)
    if shape == "std":
        return deviation
    if shape == "std + E":
        return deviation + number
    if shape == "max(std, E)":
        return max(deviation, number)
    if shape == "max(std, 1e-3) + 1e-6":
        return max(deviation, 1e-3) + 1e-6
    return square_root(deviation * deviation + number)


def normalized(numbers: Sequence[Any], std: str, eps: str) -> list[Any]:
    """(x - mean) / std of each of some numbers; exactly 0 where they are all alike, as a single one is.

    std: one of `STDS`.  eps: as for `kept_from_zero`.  Raises ValueError for another choice.

    >>> normalized([1, 3], "ddof=0", "std"), normalized([3, 3], "ddof=0", "std")
    ([-1.0, 1.0], [0, 0])
    """
    require(std, *STDS)
    require(eps, *SHAPES)
    if all(number == numbers[0] for number in numbers):
        return [0] * len(numbers)
    mean, scale = sum(numbers) / len(numbers), kept_from_zero(standard_deviation(numbers, std), eps)
    return [(number - mean) / scale for number in numbers]
