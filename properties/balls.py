"""Irrational numbers as balls, exact to hundreds of bits."""

from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb

from rlspec.properties.checking import exactly

PRECISION = 300
"""Bits of the numbers that stand for irrational ones."""


def nearest(number: Any) -> Fraction:
    """The midpoint of a ball, which is exact to hundreds of bits."""
    mantissa, exponent = arb(number).mid().man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def balls(numbers: Any) -> Any:
    """A number, or an array or nested lists of them, as balls that hold nothing else; flags and names as they are."""
    if isinstance(numbers, np.ndarray | list):
        return [balls(number) for number in (numbers.tolist() if isinstance(numbers, np.ndarray) else numbers)]
    if isinstance(numbers, bool | str):
        return numbers
    fraction = exactly(numbers)
    return arb(fraction.numerator) / fraction.denominator


def exponential_of(number: Any) -> arb:
    """The exponential of a ball, or of a number that is none, such as a clamp's: arb.exp of that ends the process."""
    return arb(number).exp()
