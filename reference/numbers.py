"""The one thing that numbers and arrays of numbers do not do alike: choosing."""

from typing import Any


def unless(flag: Any, number: Any) -> Any:
    """The number, or 0 where the flag is set; what stands under a flag is not read, so it may be NaN.

    flag: a truth value, or a Boolean array (NumPy or torch) of the shape of the array ``number``.
    """
    if getattr(flag, "ndim", 0) == 0:
        return 0 if flag else number
    if hasattr(number, "masked_fill"):
        return number.masked_fill(flag, 0)
    return number.__array_namespace__().where(flag, 0, number)
