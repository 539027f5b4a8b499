"""What a candidate's losses are divided by: the divisors of the reductions, as the chapter lists them."""

from fractions import Fraction
from typing import Any

import numpy as np

from rlspec.reference.choices import shape_of


def added_to_a_count(candidate: Any, operation: str) -> Fraction:
    """What is added to a number of tokens, by the candidate's convention (RED-10)."""
    shape, number = shape_of(candidate.convention(f"{operation}.count"), "n", "n + E")
    return Fraction(0) if shape == "n" else Fraction(number)


def tokens_in(candidate: Any, operation: str, mask: np.ndarray) -> Fraction:
    """The number of tokens that a mean over them is divided by; 1 or more."""
    return max(int(mask.sum()), 1) + added_to_a_count(candidate, operation)


def rows_in(candidate: Any, operation: str, mask: np.ndarray) -> int:
    """The number of rows that a mean over them is divided by (RED-9); 1 or more."""
    everyone = candidate.convention(f"{operation}.empty_rows") == "counted"
    return len(mask) if everyone else max(int(mask.any(axis=1).sum()), 1)


def divisors_of(candidate: Any, operation: str, mask: np.ndarray, reduction: str | None = None) -> np.ndarray:
    """n_b, what the entries of each row are divided by, in rationals [B, 1] (RED-1).

    reduction: one without a fixed divisor; that of the operation's convention, if it is not given.
    """
    chosen = candidate.convention(f"{operation}.reduction") if reduction is None else reduction
    if chosen == "mean of means":
        rows = rows_in(candidate, operation, mask)
        found = [rows * tokens_in(candidate, operation, row) for row in mask]
    else:
        one_for_all = {
            "token-mean": lambda: tokens_in(candidate, operation, mask),
            "mean of sums": lambda: Fraction(rows_in(candidate, operation, mask)),
            "sum": lambda: Fraction(1),
        }
        found = [one_for_all[chosen]()] * len(mask)
    return np.array(found, dtype=object)[:, None]


def by_row(candidate: Any, operation: str) -> bool:
    """Whether what an entry is divided by depends on its row: then what rows share cannot be split within one."""
    return candidate.convention(f"{operation}.reduction") == "mean of means"
