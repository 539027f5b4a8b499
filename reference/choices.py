"""Choices by their names: those of a list, and those that have a number in them.

A choice is a text.  A *shape* is one with a capital letter in the place of a number: ``std + E`` is the shape of
``std + 1e-6``.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from rlspec.spec.choices import letter_of, number_in

Chosen = TypeVar("Chosen")


@lru_cache(maxsize=1024)
def shape_of(choice: str, *shapes: str) -> tuple[str, Any]:
    """The shape that a choice has, and its number: ("std + E", 1e-06) of ``std + 1e-6``; None without a number.

    A whole number is an int.  Raises ValueError for a choice of none of the shapes.

    >>> shape_of("std + 1e-6", "std", "std + E")
    ('std + E', 1e-06)
    """
    for shape in shapes:
        if choice == shape and not letter_of(shape):
            return shape, None
        number = number_in(shape, choice)
        if number is not None:
            return shape, int(number) if number.is_integer() else number
    raise ValueError(f"there is no choice {choice!r}; the choices are {', '.join(map(repr, shapes))}")


def require(choice: str, *shapes: str) -> None:
    """Raise ValueError for a choice of none of the shapes: for a function that may not come to read it."""
    shape_of(choice, *shapes)


def one_of(choices: Mapping[str, Chosen], choice: str) -> Chosen:
    """What the choice stands for.  Raises ValueError for one that is not among them.

    >>> one_of({"ddof=0": 0, "ddof=1": 1}, "ddof=1")
    1
    """
    shape, _ = shape_of(choice, *choices)
    return choices[shape]
