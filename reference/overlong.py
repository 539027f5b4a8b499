"""Overlong answers: what length costs (spec/overlong.md)."""

from fractions import Fraction
from typing import Any

from .choices import one_of

Number = Any


def overlong_penalty(length: int, max_length: int, buffer: int, factor: Number = 1, beyond: str = "held") -> Number:
    """0 up to max_length - buffer tokens, from there on a line that is at -factor with max_length (OVER-1 to OVER-3).

    length: of one answer, in tokens.  buffer: how many of the last tokens cost something, 1 at least.
    beyond: what a longer answer costs (OVER-5).  Yu et al. (2025), DAPO, eq. 13.

    >>> [overlong_penalty(length, 10, 4, 1.0) for length in (6, 7, 10, 12)]
    [0.0, -0.25, -1.0, -1.0]
    """
    most = one_of({"held": buffer, "continued": max(length, buffer)}, beyond)
    return factor * Fraction(-min(max(length - (max_length - buffer), 0), most), buffer)
