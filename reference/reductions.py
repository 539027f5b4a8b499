"""Reductions: one number of many (spec/reductions.md).

A batch is a table [B][T] of which a mask says what counts.  Every reduction is a weighted sum of what counts, and the
weight is the same in all of a row: sum_b 1/n_b sum_t x_bt.  So a reduction is known by its divisors n_b.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from .choices import one_of, shape_of

Number = Any
Mask = Sequence[Sequence[Any]]
Table = list[list[Number]]


def counted(mask: Mask) -> Iterator[tuple[int, int]]:
    """The places (row, step) at which the mask is set, row by row.

    >>> list(counted([[1, 0], [0, 1]]))
    [(0, 0), (1, 1)]
    """
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
    one of those that a mean over rows is over (RED-9).  count: how a number of tokens is read where it is divided by
    (RED-10).  divisor: of the fixed divisors, not read by others.  groups: [B], the names of the rows' groups, where
    the reduction has to do with them.
    Returns B numbers, none of them 0.

    >>> mask = [[1, 1, 1], [1, 0, 0]]
    >>> divisors(mask, "token-mean"), divisors(mask, "mean of means"), divisors(mask, "mean of sums")
    ([4, 4], [6, 2], [2, 2])
    """
    lengths = [sum(map(bool, flags)) for flags in mask]
    rows = _rows(lengths, empty_rows)
    shape, added = shape_of(count, "n", "n + E")

    def tokens(number: int) -> Number:
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

    >>> reduced(lambda row, step: (3.0, 1), [[1, 1, 0]], [2])
    (3.0, [[0.5, 0.5, 0]])
    """
    total: Number = 0
    tables: list[Table] = [[[0] * len(flags) for flags in mask] for _ in range(derivatives)]
    for row, step in counted(mask):
        value, *slopes = term(row, step)
        total = total + _quotient(value, sizes[row])
        for table, slope in zip(tables, slopes, strict=True):
            table[row][step] = _quotient(slope, sizes[row])
    return (total, *tables)


def aggregate(
    values: Sequence[Sequence[Number]], mask: Mask, reduction: str, divisor: Number = 1, **conventions: str
) -> Number:
    """One number of many tokens: sum_b 1/n_b sum_t x_bt over the tokens that count (RED-1).

    values, mask: [B][T].  reduction, divisor: as for `divisors`.  conventions: its empty_rows and count.

    >>> values, mask = [[6, 6, 12], [4, 9, 9]], [[1, 1, 1], [1, 0, 0]]
    >>> aggregate(values, mask, "token-mean"), aggregate(values, mask, "mean of means")
    (7.0, 6.0)
    """
    return _sum(values, mask, divisors(mask, reduction, divisor=divisor, **conventions))


def accumulate(
    values: Sequence[Sequence[Number]], mask: Mask, reduction: str, divisor: Number, rows: int, **conventions: str
) -> Number:
    """The same number from micro-batches: each is divided by what the whole batch is divided by (RED-6).

    rows: of a micro-batch, at least 1; the last one has those that are left.

    >>> accumulate([[6, 6, 12], [4, 9, 9]], [[1, 1, 1], [1, 0, 0]], "token-mean", 1, rows=1)
    7.0
    """
    sizes = divisors(mask, reduction, divisor=divisor, **conventions)
    parts = [slice(begin, begin + rows) for begin in range(0, len(mask), rows)]
    return sum(_sum(values[part], mask[part], sizes[part]) for part in parts)


def apart(segments: Sequence[Hashable], mask: Sequence[Any]) -> list[list[bool]]:
    """A mask for each of the sequences in a row that have a token that counts.

    >>> apart([5, 5, 9], [1, 1, 1])
    [[True, True, False], [False, False, True]]
    """
    names = dict.fromkeys(name for name, counts in zip(segments, mask, strict=True) if counts)
    return [[bool(counts) and of == name for of, counts in zip(segments, mask, strict=True)] for name in names]


def packed_aggregate(
    values: Sequence[Sequence[Number]],
    segments: Sequence[Sequence[Hashable]],
    mask: Mask,
    reduction: str,
    divisor: Number = 1,
    **conventions: str,
) -> Number:
    """The same number of rows in which several sequences stand, each of which is a row of the reduction (RED-18).

    values, segments, mask: [B][T].

    >>> packed_aggregate([[6, 6, 12, 4]], [[5, 5, 5, 9]], [[1, 1, 1, 1]], "mean of means")
    6.0
    """
    pairs = [(row, own) for row, *of in zip(values, segments, mask, strict=True) for own in apart(*of)]
    return aggregate([row for row, _ in pairs], [own for _, own in pairs], reduction, divisor, **conventions)


def sharded_loss(
    values: Sequence[Sequence[Number]],
    mask: Mask,
    shards: Sequence[int],
    averaged_over: int,
    weighing: str,
    reduction: str,
    divisor: Number = 1,
    **conventions: str,
) -> tuple[Any, ...]:
    """The loss that a spread batch is trained on, and its derivatives in the values (RED-13 to RED-15).

    values, mask: [B][T].  The other arguments are those of `shard_divisors`.

    >>> batch = [[6.0, 6.0, 12.0], [4.0, 9.0, 9.0]], [[1, 1, 1], [1, 0, 0]], [0, 1], 2  # a row on each of two shards
    >>> sharded_loss(*batch, "tokens", "token-mean")[0], sharded_loss(*batch, "shards", "token-mean")[0]
    (7.0, 6.0)
    """
    sizes = shard_divisors(mask, shards, averaged_over, weighing, reduction, divisor=divisor, **conventions)
    return reduced(lambda row, step: (values[row][step], 1 + 0 * values[row][step]), mask, sizes)


def shard_divisors(
    mask: Mask, shards: Sequence[int], averaged_over: int, weighing: str, reduction: str, **conventions: Any
) -> list[Number]:
    """What each row's terms are divided by, all in all: by its shard, and then by what the shard is weighed by.

    mask: [B][T].  shards: [B], the shard of each row.  averaged_over: how many shards' gradients are averaged; some
    may have no row.  weighing: `whole`, `shards`, `rows` or `tokens` (RED-14).  conventions: as for `divisors`.

    >>> print(*shard_divisors([[1, 1, 1], [1, 0, 0]], [0, 1], 2, "shards", "token-mean"))
    6 2
    """
    inverse: dict[str, Callable[[list[int]], Fraction]] = {
        "whole": lambda rows: Fraction(1),
        "shards": lambda rows: Fraction(averaged_over),
        "rows": lambda rows: _times_as_many(
            mask, rows, lambda part: _rows(part, conventions.get("empty_rows", "counted"))
        ),
        "tokens": lambda rows: _times_as_many(mask, rows, sum),
    }
    times = one_of(inverse, weighing)
    found = divisors(mask, reduction, **conventions)
    for shard in set(shards) if weighing != "whole" else ():
        rows = [row for row, holder in enumerate(shards) if holder == shard]
        own = divisors([mask[row] for row in rows], reduction, **conventions)
        for row, size in zip(rows, own, strict=True):
            found[row] = times(rows) * size
    return found


def _times_as_many(mask: Mask, rows: Sequence[int], count: Callable[[list[int]], int]) -> Fraction:
    """How many times as many the whole batch has as these rows, which have one at least if anything in them counts."""
    lengths = [sum(map(bool, flags)) for flags in mask]
    return Fraction(count(lengths), count([lengths[row] for row in rows]) or 1)


def _sum(values: Sequence[Sequence[Number]], mask: Mask, sizes: Sequence[Number]) -> Number:
    [total] = reduced(lambda row, step: (values[row][step],), mask, sizes, derivatives=0)
    return total


def _rows(lengths: Sequence[int], empty_rows: str) -> int:
    """The number of rows, or of those in which something counts."""
    return one_of({"counted": len(lengths), "left out": sum(map(bool, lengths))}, empty_rows)


def _quotient(number: Number, divisor: Number) -> Number:
    """A rational's quotient is a rational, even where the divisor is a float."""
    return number / (Fraction(divisor) if isinstance(number, Fraction) else divisor)
