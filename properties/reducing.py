"""What a candidate's losses are divided by: the divisors of the reductions, as the chapter lists them."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from rlspec.properties.checking import exactly
from rlspec.reference.choices import shape_of
from rlspec.spec.clauses import conventions


def left_open(candidate: Any, operation: str, name: str, default: str) -> str:
    """The candidate's choice, or the default of an operation that is left none."""
    known = f"{operation}.{name}" in conventions()
    return str(candidate.convention(f"{operation}.{name}")) if known else default


def added_to_a_count(candidate: Any, operation: str) -> Fraction:
    """What is added to a number of tokens, by the candidate's convention (RED-10)."""
    shape, number = shape_of(left_open(candidate, operation, "count", "n"), "n", "n + E")
    return Fraction(0) if shape == "n" else Fraction(number)


def tokens_in(candidate: Any, operation: str, mask: np.ndarray) -> Fraction:
    """The number of tokens that a mean over them is divided by; 1 or more."""
    return max(int(mask.sum()), 1) + added_to_a_count(candidate, operation)


def rows_in(candidate: Any, operation: str, mask: np.ndarray) -> int:
    """The number of rows that a mean over them is divided by (RED-9); 1 or more."""
    filled = int(mask.any(axis=1).sum())
    if filled == len(mask) or left_open(candidate, operation, "empty_rows", "counted") == "counted":
        return len(mask)
    return max(filled, 1)


def divisors_of(
    candidate: Any, operation: str, mask: np.ndarray, reduction: str = "", divisor: Any = 1, groups: Any = ()
) -> np.ndarray:
    """n_b, what the entries of each row are divided by, in rationals [B, 1] (RED-1).

    reduction: of an operation that is left no choice of it.  divisor, groups: for the reductions that have to do with
    them.  Only those choices of the candidate are looked at that make a difference.
    """

    def tokens(where: Any) -> Fraction:
        return tokens_in(candidate, operation, where)

    def rows(where: Any) -> int:
        return rows_in(candidate, operation, where)

    def in_groups() -> list[Fraction]:
        names = np.asarray(groups)
        per_group = np.array([mask[names == name].any(axis=0) for name in dict.fromkeys(groups)])
        return [rows(per_group) * tokens(mask[names == name]) for name in groups]

    known: dict[str, Callable[[], list[Any]]] = {
        "token-mean": lambda: [tokens(mask)] * len(mask),
        "mean of means": lambda: [rows(mask) * tokens(row) for row in mask],
        "mean of sums": lambda: [rows(mask)] * len(mask),
        "sum": lambda: [1] * len(mask),
        "fixed divisor": lambda: [exactly(divisor)] * len(mask),
        "mean of sums over a fixed divisor": lambda: [rows(mask) * exactly(divisor)] * len(mask),
        "mean of group token-means": in_groups,
    }
    found = known[left_open(candidate, operation, "reduction", reduction)]()
    return np.array([Fraction(size) for size in found], dtype=object)[:, None]


def by_row(candidate: Any, operation: str) -> bool:
    """Whether what an entry is divided by depends on its row: then what rows share cannot be split within one."""
    return candidate.convention(f"{operation}.reduction") == "mean of means"
