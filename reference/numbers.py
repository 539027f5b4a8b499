"""The one thing that numbers and arrays of numbers do not do alike: choosing."""

from typing import Any


def unless(flag: Any, number: Any) -> Any:
    """The number, or 0 where the flag is set; what stands under a flag is not read, so it may be NaN.

    flag: a truth value, or a Boolean array (NumPy or torch) of the shape of the array ``number``.
    """
    return choose(flag, 0, number)


def choose(flag: Any, number: Any, otherwise: Any) -> Any:
    """The number where the flag is set, and otherwise the other one; the one that is not chosen is not read.

    flag: a truth value, or a Boolean array (NumPy or torch) of the shape of the array ``otherwise``.
    """
    if getattr(flag, "ndim", 0) == 0:
        return number if flag else otherwise
    if hasattr(otherwise, "masked_fill"):
        return otherwise.where(~flag, number)
    return otherwise.__array_namespace__().where(flag, number, otherwise)
