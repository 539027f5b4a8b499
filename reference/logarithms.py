"""Exact logarithms: of a rational number, a sum over its primes.

The logarithms of the primes are independent: no combination of them with rational coefficients is zero, because no
product of their powers is 1.  So an equation between logarithms of rationals holds exactly if it holds with a symbol,
or with any number whatsoever, in the place of each prime's; and that needs no precision.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flint import fmpq_series, fmpz

from .differentiation import rational
from .linear_algebra import Number


def logarithm(of_primes: Mapping[int, Number]) -> Callable[[Any], Any]:
    """The function with log(xy) = log x + log y that has these values at these primes, and the derivative 1/x.

    of_primes: numbers or symbols.  The function takes positive rationals made of these primes, and truncated power
    series with such a constant; it raises KeyError for another prime.

    >>> from fractions import Fraction
    >>> log = logarithm({2: 1, 3: 2})
    >>> log(Fraction(8, 3))
    1
    """

    def log(number: Any) -> Any:
        if isinstance(number, fmpq_series):
            return fmpq_series([log(number[0]), number[1] / number[0]], prec=2)
        quotient = rational(number)
        return of_integer(quotient.p) - of_integer(quotient.q)

    def of_integer(number: fmpz) -> Any:
        return sum((of_primes[int(prime)] * int(power) for prime, power in number.factor()), zero)

    zero = 0 * next(iter(of_primes.values()))  # of their kind: half of it is exact

    return log
