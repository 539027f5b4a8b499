"""Ways to make one number of many."""

import numpy as np

from rlspec.spec.choices import number_in

from .catalogue import way


def tokens_of(choices, counts):
    """Numbers of tokens as they are divided by."""
    added = number_in("n + E", choices.get("count", "n"))
    return np.maximum(np.asarray(counts, float), 1) + (added or 0)


def rows_of(choices, lengths):
    """How many rows, or groups, a mean over them is over."""
    counted = choices.get("empty_rows", "counted") == "counted"
    return max(len(lengths) if counted else int(np.count_nonzero(lengths)), 1)


def sizes(style, choices, mask, reduction, divisor=1, groups=None):
    """What each row's terms are divided by, as a column; one number where it is the same for all rows."""
    lengths = mask.sum(axis=1, keepdims=True)
    if reduction == "mean of means":
        return (rows_of(choices, lengths) * tokens_of(choices, lengths)).astype(style.dtype)
    if reduction == "mean of group token-means":
        _, index = np.unique(groups, return_inverse=True)
        in_group = np.bincount(index, lengths[:, 0])
        return (rows_of(choices, in_group) * tokens_of(choices, in_group))[index][:, None].astype(style.dtype)
    rows = rows_of(choices, lengths)
    one = {
        "token-mean": lambda: tokens_of(choices, lengths.sum()),
        "mean of sums": lambda: rows,
        "sum": lambda: 1,
        "fixed divisor": lambda: divisor,
        "mean of sums over a fixed divisor": lambda: rows * divisor,
    }
    return style.dtype(one[reduction]())


@way("a sum of weighed tokens")
def aggregate(style, choices, values, mask, reduction, divisor):
    return style.mean(mask, sizes(style, choices, mask, reduction, divisor), values)[0]


@way("in two steps, rows and then the batch")
def aggregate(style, choices, values, mask, reduction, divisor):
    sums, lengths = style.total(style.kept(values, mask)), mask.sum(axis=1)
    if reduction == "mean of means":
        sums = sums / tokens_of(choices, lengths).astype(style.dtype)
    of_rows = {"sum": 1, "fixed divisor": divisor, "token-mean": tokens_of(choices, lengths.sum())}
    over = rows_of(choices, lengths) * (divisor if reduction.endswith("over a fixed divisor") else 1)
    return style.total(sums) / style.dtype(of_rows.get(reduction, over))


@way("micro-batches' weighed tokens, added up")
def accumulate(style, choices, values, mask, reduction, divisor, rows):
    size, total = np.broadcast_to(sizes(style, choices, mask, reduction, divisor), (len(mask), 1)), style.dtype(0)
    for begin in range(0, len(mask), rows):
        part = slice(begin, begin + rows)
        total = total + style.mean(mask[part], np.array(size[part]), values[part])[0]
    return total


@way("micro-batches' sums, divided at the end")
def accumulate(style, choices, values, mask, reduction, divisor, rows):
    size, sums = sizes(style, choices, mask, reduction, divisor), []
    for begin in range(0, len(mask), rows):
        part = slice(begin, begin + rows)
        of_rows = style.total(style.kept(values[part], mask[part]))
        sums.append(style.total(of_rows / size[part, 0] if np.ndim(size) else of_rows))
    return style.total(np.array(sums, style.dtype)) / (1 if np.ndim(size) else size)


@way("each shard's weighed tokens, added up")
def sharded_loss(style, choices, values, mask, shards, averaged_over, weighing, reduction, divisor):
    size = np.broadcast_to(sizes(style, choices, mask, reduction, divisor), (len(mask), 1)).astype(style.dtype)
    part_of = np.ones((len(mask), 1), style.dtype)
    for shard in np.unique(np.asarray(shards)):
        rows = np.asarray(shards) == shard
        if weighing != "whole":
            own = np.broadcast_to(sizes(style, choices, mask[rows], reduction, divisor), (int(rows.sum()), 1))
            size[rows] = own
            part_of[rows] = part_of_the_batch(choices, mask[rows], mask, averaged_over, weighing)
    slopes = np.where(mask, part_of / size, style.dtype(0))
    return style.total(style.total(slopes * style.kept(values, mask))), slopes


def part_of_the_batch(choices, part, mask, averaged_over, weighing):
    """What a shard weighs."""
    if weighing == "shards":
        return 1 / averaged_over
    if weighing == "tokens":
        return part.sum() / max(mask.sum(), 1)
    of_either = [rows_of(choices, flags.sum(axis=1)) * flags.any() for flags in (part, mask)]
    return of_either[0] / max(of_either[1], 1)


@way("cut apart, and reduced as rows")
def packed_aggregate(style, choices, values, segments, mask, reduction, divisor):
    names = [(row, name) for row, own in enumerate(segments) for name in dict.fromkeys(own[mask[row]].tolist())]
    alone = np.array([mask[row] & (segments[row] == name) for row, name in names], dtype=bool)
    if not names:
        return style.dtype(0)
    rows = np.array(values[[row for row, _ in names]])
    return style.mean(alone, sizes(style, choices, alone, reduction, divisor), rows)[0]


@way("by the lengths at the tokens")
def packed_aggregate(style, choices, values, segments, mask, reduction, divisor):
    same = (segments[:, :, None] == segments[:, None, :]) & mask[:, None, :] & mask[:, :, None]
    lengths = np.maximum(same.sum(axis=2), 1)
    first = mask & (np.tril(same).sum(axis=2) == 1)
    sequences = max(int(first.sum()), 1)
    of = {
        "token-mean": tokens_of(choices, mask.sum()),
        "mean of means": sequences * tokens_of(choices, lengths),
        "mean of sums": sequences,
        "fixed divisor": divisor,
        "mean of sums over a fixed divisor": sequences * divisor,
    }.get(reduction, 1)
    terms = style.kept(values, mask) / np.asarray(of).astype(style.dtype)
    return style.total(style.total(terms))
