"""Reductions: one number of many (spec/reductions.md).

A batch is a table [B][T] of which a mask says what counts.  Every reduction is a weighted sum of what counts, and the
weight is the same in all of a row: sum_b 1/n_b sum_t x_bt.  So a reduction is known by its divisors n_b.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from .choices import one_of, shape_of

Number = Any
Mask = Sequence[Sequence[Any]]
Table = list[list[Number]]


def counted(mask: Mask) -> Iterator[tuple[int, int]]:
    """The places (row, step) at which the mask is set, row by row."""
    return ((row, step) for row, flags in enumerate(mask) for step, counts in enumerate(flags) if counts)


def divisors(
    mask: Mask,
    reduction: str = "token-mean",
    empty_rows: str = "counted",
    count: str = "n",
    divisor: Number = 1,
    groups: Sequence[Hashable] | None = None,
) -> list[Number]:
    """n_b of each row: what its terms are divided by (RED-1).

    mask: [B][T].  reduction: which of the means or sums it is.  empty_rows: whether a row in which nothing counts is
    one of those that a mean over rows is over.  count: how a number of tokens is read where it is divided by.
    divisor: of the fixed divisors, not read by others.  groups: [B], the names of the rows' groups, where the reduction
    has to do with them.
    Returns B numbers, none of them 0.
    """
    lengths = [sum(map(bool, flags)) for flags in mask]
    rows = _rows(lengths, empty_rows)

    def tokens(number: int) -> Number:
        shape, added = shape_of(count, "n", "n + E")
        return (number or 1) if shape == "n" else (number or 1) + added

    def of_groups() -> list[Number]:
        names = groups if groups is not None else [0] * len(mask)
        in_group = {name: [n for n, of in zip(lengths, names, strict=True) if of == name] for name in names}
        means = sum(_rows(members, empty_rows) > 0 for members in in_group.values()) or 1
        return [means * tokens(sum(in_group[name])) for name in names]

    known: dict[str, Callable[[], list[Number]]] = {
        "token-mean": lambda: [tokens(sum(lengths))] * len(mask),
        "mean of means": lambda: [(rows or 1) * tokens(length) for length in lengths],
        "mean of sums": lambda: [rows or 1] * len(mask),
        "sum": lambda: [1] * len(mask),
        "fixed divisor": lambda: [divisor] * len(mask),
        "mean of sums over a fixed divisor": lambda: [(rows or 1) * divisor] * len(mask),
        "mean of group token-means": of_groups,
    }
    return one_of(known, reduction)()


def reduced(
    term: Callable[[int, int], Sequence[Number]], mask: Mask, sizes: Sequence[Number], derivatives: int = 1
) -> tuple[Any, ...]:
    """sum_b 1/n_b sum_t x_bt over what counts, and a table of each derivative of x_bt over n_b; nothing else is read.

    term: x_bt and so many derivatives of it, of a row and a step.  sizes: n_b.
    """
    total: Number = 0
    tables: list[Table] = [[[0] * len(flags) for flags in mask] for _ in range(derivatives)]
    for row, step in counted(mask):
        value, *slopes = term(row, step)
        total = total + value / sizes[row]
        for table, slope in zip(tables, slopes, strict=True):
            table[row][step] = slope / sizes[row]
    return (total, *tables)


def _rows(lengths: Sequence[int], empty_rows: str) -> int:
    """The number of rows, or of those in which something counts."""
    return one_of({"counted": len(lengths), "left out": sum(map(bool, lengths))}, empty_rows)
