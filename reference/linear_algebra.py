"""One factorisation, two solves: the exact linear algebra of an infinite horizon.

Everything here is generic in the number type: rationals stay rational, symbols stay symbols.
"""

from collections.abc import Sequence
from fractions import Fraction
from operator import mul
from typing import Any, NamedTuple

Number = Any
Vector = Sequence[Number]
Matrix = Sequence[Sequence[Number]]


class LU(NamedTuple):
    """Factors of a square matrix: L is unit lower triangular, U upper triangular, and L U is the matrix.

    Both are stored without their trivial parts: row i of `lower` has the i numbers left of the diagonal, row i of
    `upper` the n - i numbers from the diagonal on.
    """

    lower: Matrix
    upper: Matrix


def dot(left: Vector, right: Vector) -> Number:
    """The inner product, sum_i left_i * right_i.

    >>> dot([1, 2], [3, 4])
    11
    """
    return sum(map(mul, left, right))


def transposed(matrix: Matrix) -> Matrix:
    """The columns of a matrix, as rows."""
    return list(zip(*matrix, strict=True))


def lu(matrix: Matrix) -> LU:
    """Factorise row by row, without pivoting: subtract from each row what the rows above eliminate (Doolittle).

    matrix: n rows of n numbers, strictly diagonally dominant (|a_ii| > sum_{j != i} |a_ij| in every row).  What is
    left after each elimination is strictly diagonally dominant again, so that no pivot is ever zero and no exchange of
    rows is needed (Golub & Van Loan, Matrix Computations, 4th edition 2013, section 4.1).
    Raises ZeroDivisionError for a zero pivot, which no such matrix has.
    """
    lower: list[list[Number]] = []
    upper: list[list[Number]] = []
    for row in matrix:
        factors, rest = [], list(row)
        for pivot, *pivot_row in upper:
            entry, *rest = rest
            factor = quotient(entry, pivot)
            factors.append(factor)
            rest = [x - factor * y for x, y in zip(rest, pivot_row, strict=True)]
        lower.append(factors)
        upper.append(rest)
    return LU(lower, upper)


def solve(factors: LU, right: Vector) -> list[Number]:
    """The x with (L U) x = right: forward substitution through L, then back substitution through U."""
    middle: list[Number] = []
    for row, number in zip(factors.lower, right, strict=True):
        middle.append(number - dot(row, middle))
    solution: list[Number] = []
    for (pivot, *row), number in zip(reversed(factors.upper), reversed(middle), strict=True):
        solution.insert(0, quotient(number - dot(row, solution), pivot))
    return solution


def solve_transposed(factors: LU, right: Vector) -> list[Number]:
    """The x with (L U)^T x = right, from the same factors: (L U)^T = U^T L^T.

    A step of substitution takes the number just found out of all equations that are left, because the factors are
    stored by rows and the transposed system reads them by columns.
    """
    rest: list[Number] = list(right)
    middle: list[Number] = []
    for pivot, *row in factors.upper:
        number = quotient(rest[0], pivot)
        middle.append(number)
        rest = [x - number * y for x, y in zip(rest[1:], row, strict=True)]
    solution: list[Number] = []
    for multiples in reversed(factors.lower):
        *above, number = middle
        solution.insert(0, number)
        middle = [x - number * y for x, y in zip(above, multiples, strict=True)]
    return solution


def quotient(dividend: Number, divisor: Number) -> Number:
    """dividend / divisor, without leaving the rationals: int / int would be a float.

    >>> quotient(1, 2)
    Fraction(1, 2)
    """
    if divisor == 1:
        return dividend
    return Fraction(dividend, divisor) if isinstance(dividend, int) and isinstance(divisor, int) else dividend / divisor
