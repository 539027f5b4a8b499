"""What numbers and arrays of numbers do not do alike: choosing, and taking a root."""

from fractions import Fraction
from typing import Any


def unless(flag: Any, number: Any) -> Any:
    """The number, or 0 where the flag is set; what stands under a flag is not read, so it may be NaN.

    flag: a truth value, or a Boolean array (NumPy or torch) of the shape of the array ``number``.

    >>> unless(True, 3), unless(False, 3)
    (0, 3)
    """
    return choose(flag, 0, number)


def choose(flag: Any, number: Any, otherwise: Any) -> Any:
    """The number where the flag is set, and otherwise the other one; the one that is not chosen is not read.

    flag: a truth value, or a Boolean array (NumPy or torch) of the shape of the array ``otherwise``.

    >>> choose(True, 1, 2), choose(False, 1, 2)
    (1, 2)
    """
    if getattr(flag, "ndim", 0) == 0:
        return number if flag else otherwise
    if hasattr(otherwise, "masked_fill"):
        return otherwise.where(~flag, number)
    return otherwise.__array_namespace__().where(flag, number, otherwise)


def at_most(number: Any, most: Any) -> Any:
    """The number, or ``most`` where the number is larger.

    >>> at_most(5, 3), at_most(2, 3)
    (3, 2)
    """
    return choose(number > most, most, number)


def square_root(number: Any) -> Any:
    """The number's root, of its own kind if it has one: a symbol's is a symbol, a fraction's a float.

    >>> square_root(4)
    2.0
    """
    return number.sqrt() if hasattr(number, "sqrt") else number ** Fraction(1, 2)
