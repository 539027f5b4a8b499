"""Numbers that know how far rounding may have taken them: running error analysis in a run's own number types.

A number has its value in float64, a bound on its error, and the bits of its type.  Each operation adds what rounding
its result may do to what its operands' errors do to it (Wilkinson 1963, chapter 1; Higham 2002, section 3.3).  Two
numbers of different types meet in the finer one, bfloat16 and float16 in float32; a Python number
takes the type of the array that it meets.  An addition may round as much as all numbers added so far have together, so
that numbers may be added in any order.  A sum of a few is rounded after each addition; in a longer one each
further addition is made in float32 at least, and the sum is rounded when it is used, as PyTorch and JAX add numbers of
16 bits.

Where errors leave open how a comparison goes, it is decided by the values, or in the way that is asked for.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import exp as exp_of
from math import expm1, frexp, inf, isfinite, log, sqrt
from typing import Any

BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Bits of the significand of the number types that a run may have, the finest first."""

LEAST = {53: 2.0**-1074, 24: 2.0**-149, 11: 2.0**-24, 8: 2.0**-133}
"""The smallest number above 0 of each type, by its bits, in which everything near 0 is rounded."""

SHORT = 4
"""So many additions in a row are each rounded; in a longer sum the others are made in float32 at least."""

TIMES = 2
"""An answer may be rounded so many times for each time that it is here: by other forms of a formula, or going back."""


@dataclass
class Rounding:
    """How numbers are rounded that meet each other."""

    widened: bool
    """Whether long sums are made in float32 at least."""
    decided: bool | None = None
    """How comparisons go that errors leave open; None: as the values say."""
    open: bool = False
    """Whether there was one."""

    def compare(self, left: "Rounded", right: "Rounded", said: bool, equal: bool = False) -> bool:
        """What a comparison says, or what was asked for where it may go the other way."""
        room = TIMES * (left.error + right.error)
        if left is right or room == 0 or abs(left.value - right.value) > room:
            return said
        self.open = True
        return said if self.decided is None else self.decided is not equal


class Rounded:
    """A number with a bound on its error.

    bits: of its type, or 0 for a Python number.  added: how many additions in a row made it.  size: the sum of the
    absolute values of what was added.
    """

    __slots__ = ("added", "bits", "error", "rounding", "size", "value")

    def __init__(
        self, rounding: Rounding, value: float, bits: int, error: float = 0.0, added: int = 0, size: float | None = None
    ) -> None:
        self.rounding, self.value, self.bits, self.error, self.added = rounding, value, bits, error, added
        self.size = abs(value) if size is None else size

    def _made(self, value: float, bits: int, error: float, least: float = 0.0) -> "Rounded":
        """The rounded result of an operation, of operands with these bits, their errors' effect being known."""
        return Rounded(self.rounding, value, bits, error + 2.0 ** -(bits or 53) * abs(value) + least)

    def _with(self, other: Any) -> tuple["Rounded", "Rounded", int]:
        """Two operands, and the bits of the type in which they meet."""
        other = other if isinstance(other, Rounded) else Rounded(self.rounding, float(other), 0)
        bits = self.bits if self.bits == other.bits else _meeting(self.bits, other.bits)
        return self._as(bits), other._as(bits), bits

    def _as(self, bits: int) -> "Rounded":
        """The number in a type: a Python number is rounded if the type does not hold it."""
        if self.bits or not bits or _holds(self.value, bits):
            return self
        return Rounded(self.rounding, self.value, 0, self.error + 2.0**-bits * abs(self.value), self.added, self.size)

    @property
    def used(self) -> float:
        """The error when the number is used for something else than a sum: a long sum is rounded then."""
        return self.error + (2.0 ** -(self.bits or 53) * abs(self.value) if self.added > SHORT else 0.0)

    def __add__(self, other: Any) -> "Rounded":
        if isinstance(other, int) and other == 0:
            return self
        mine, its, bits = self._with(other)
        added, size = max(mine.added, its.added) + 1, mine.size + its.size
        unit = 2.0 ** -(max(bits, 24) if added > SHORT and self.rounding.widened else bits or 53)
        return Rounded(self.rounding, mine.value + its.value, bits, mine.error + its.error + unit * size, added, size)

    __radd__ = __add__

    def __neg__(self) -> "Rounded":
        return Rounded(self.rounding, -self.value, self.bits, self.error, self.added, self.size)

    def __sub__(self, other: Any) -> "Rounded":
        return self + -other

    def __rsub__(self, other: Any) -> "Rounded":
        return -self + other

    def __mul__(self, other: Any) -> "Rounded":
        mine, its, bits = self._with(other)
        error = mine.used * abs(its.value) + its.used * abs(mine.value) + mine.used * its.used
        return self._made(mine.value * its.value, bits, error, least=LEAST[bits or 53])

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Rounded":
        mine, its, bits = self._with(other)
        left = abs(its.value) - its.used
        if left <= 0:
            return Rounded(self.rounding, mine.value / its.value if its.value else inf, bits, inf)
        value = mine.value / its.value
        return self._made(value, bits, (mine.used + abs(value) * its.used) / left, least=LEAST[bits or 53])

    def __rtruediv__(self, other: Any) -> "Rounded":
        return Rounded(self.rounding, float(other), 0) / self

    def __pow__(self, power: int) -> "Rounded":
        if power == 0:
            return Rounded(self.rounding, 1.0, 0)
        assert power == 2, "no formula has another power"
        return self * self

    def __abs__(self) -> "Rounded":
        return Rounded(self.rounding, abs(self.value), self.bits, self.error, self.added, self.size)

    def _compared(self, other: Any) -> "Rounded":
        """The other operand of a comparison."""
        return self._with(other)[1]

    def __lt__(self, other: Any) -> bool:
        its = self._compared(other)
        return self.rounding.compare(self, its, self.value < its.value)

    def __gt__(self, other: Any) -> bool:
        its = self._compared(other)
        return self.rounding.compare(self, its, self.value > its.value)

    def __le__(self, other: Any) -> bool:
        its = self._compared(other)
        return self.rounding.compare(self, its, self.value <= its.value)

    def __ge__(self, other: Any) -> bool:
        its = self._compared(other)
        return self.rounding.compare(self, its, self.value >= its.value)

    def __eq__(self, other: object) -> bool:
        """Whether they are equal; where that is open, the other way than other comparisons, so that both occur."""
        its = self._compared(other)
        return self.rounding.compare(self, its, self.value == its.value, equal=True)

    __hash__ = None  # type: ignore[assignment]

    def sqrt(self) -> "Rounded":
        """The square root: an error e in x moves it by e over the root of x at most, and by the root of e."""
        root = sqrt(max(self.value, 0.0))
        return self._made(root, self.bits, min(self.used / root, sqrt(self.used)) if root else sqrt(self.used))

    def exp(self) -> "Rounded":
        """The exponential, whose relative error is the number's absolute one, and a rounding."""
        value = exp_of(self.value) if self.value < 709 else inf
        grown = expm1(self.used) if self.used < 709 else inf
        return self._made(value, self.bits, value * grown if value and grown else 0.0, least=LEAST[self.bits or 53])

    def log(self) -> "Rounded":
        """The logarithm of what is above 0 whatever the error was."""
        left = self.value - self.used
        if left <= 0:
            return Rounded(self.rounding, log(self.value) if self.value > 0 else -inf, self.bits, inf)
        return self._made(log(self.value), self.bits, log(self.value / left))

    def expm1(self) -> "Rounded":
        """exp(x) - 1, by a function that does not lose what is near 0."""
        plain = self.exp()
        return self._made(expm1(self.value), self.bits, plain.error)


def _meeting(one: int, other: int) -> int:
    """The bits of the type in which two types meet."""
    return 24 if {one, other} == {8, 11} else max(one, other)


def _holds(value: float, bits: int) -> bool:
    """Whether a type of so many bits has the number."""
    mantissa, _ = frexp(value)
    return not isfinite(value) or float(mantissa * 2.0**bits).is_integer()


class Functions:
    """exp, log and expm1 of numbers with errors, and of plain ones."""

    def __init__(self, rounding: Rounding) -> None:
        self.rounding = rounding

    def of(self, number: Any) -> Rounded:
        """The number with an error, which a plain one has none of."""
        return number if isinstance(number, Rounded) else Rounded(self.rounding, float(Fraction(number)), 0)

    def exp(self, number: Any) -> Rounded:
        """The exponential."""
        return self.of(number).exp()

    def log(self, number: Any) -> Rounded:
        """The natural logarithm."""
        return self.of(number).log()

    def expm1(self, number: Any) -> Rounded:
        """The exponential less 1."""
        return self.of(number).expm1()
