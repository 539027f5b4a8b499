"""Choices by their names: those of a list, and those that have a number in them.

A choice is a text.  A *shape* is one with a capital letter in the place of a number: ``std + E`` is the shape of
``std + 1e-6``.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

Chosen = TypeVar("Chosen")

_LETTER = re.compile(r"\b[A-Z]\b")


def shape_of(choice: str, *shapes: str) -> tuple[str, Any]:
    """The shape that a choice has, and its number: ("std + E", 1e-06) of ``std + 1e-6``; None without a number.

    A whole number is an int.  Raises ValueError for a choice of none of the shapes.
    """
    for shape in shapes:
        if choice == shape and not _LETTER.search(shape):
            return shape, None
        before, letter, after = _parted(shape)
        if letter and choice.startswith(before) and choice.endswith(after):
            number = _number(choice[len(before) : len(choice) - len(after)])
            if number is not None:
                return shape, number
    raise ValueError(f"there is no choice {choice!r}; the choices are {', '.join(map(repr, shapes))}")


def one_of(choices: Mapping[str, Chosen], choice: str) -> Chosen:
    """What the choice stands for.  Raises ValueError for one that is not among them."""
    shape, _ = shape_of(choice, *choices)
    return choices[shape]


def _parted(shape: str) -> tuple[str, str, str]:
    letter = _LETTER.search(shape)
    return (shape[: letter.start()], letter[0], shape[letter.end() :]) if letter else (shape, "", "")


def _number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else number
