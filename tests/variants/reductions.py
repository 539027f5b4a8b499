"""Reductions, written another way."""

import math
from itertools import product
from statistics import fmean

import numpy as np
import torch

from .registry import variant

REDUCTIONS = (
    "token-mean",
    "mean of means",
    "mean of sums",
    "sum",
    "mean of means without empty rows",
    "mean of sums without empty rows",
)
"""What the losses of other chapters are reduced by, and whether empty rows are left out."""


def divisors_of(mask, reduction, added=0.0):
    """What each row's terms are divided by, [B, 1]."""
    lengths = np.array(mask, dtype=bool).sum(axis=1, keepdims=True).astype(float)
    rows = np.count_nonzero(lengths) if reduction.endswith("without empty rows") else len(lengths)
    of_a_name = {
        "token": np.full(lengths.shape, max(lengths.sum(), 1) + added),
        "mean of means": max(rows, 1) * (np.maximum(lengths, 1) + added),
        "mean of sums": np.full(lengths.shape, float(max(rows, 1))),
        "sum": np.ones(lengths.shape),
    }
    return of_a_name[reduction.removesuffix(" without empty rows").removesuffix("-mean")]


def dividing(empty_rows, added):
    """Masked means of tensors, as in trainers."""

    def aggregate(values, mask, reduction, divisor):
        values, mask = torch.tensor(np.array(values), dtype=torch.float64), torch.tensor(np.array(mask)).bool()
        sums, lengths = values.masked_fill(~mask, 0).sum(-1), mask.sum(-1)
        rows = len(mask) if empty_rows == "counted" else max(int((lengths > 0).sum()), 1)
        if reduction == "token-mean":
            return (sums.sum() / (lengths.sum().clamp(min=1).double() + added)).item()
        if reduction == "sum":
            return values[mask].sum().item()
        if reduction == "mean of means":
            sums = sums / (lengths.clamp(min=1).double() + added)
        total = sums.sum() / (divisor if "fixed divisor" in reduction else 1)
        return total.item() if reduction == "fixed divisor" else float(total / rows)

    return aggregate


def listing(empty_rows):
    """Python's own means of lists."""

    def aggregate(values, mask, reduction, divisor):
        rows = [row[counts].tolist() for row, counts in zip(values, mask.astype(bool), strict=True)]
        rows = [row for row in rows if row or empty_rows == "counted"]
        tokens = [value for row in rows for value in row]
        if not tokens:
            return 0
        of_a_row = {
            "mean of means": lambda row: fmean(row) if row else 0,
            "mean of sums": math.fsum,
            "mean of sums over a fixed divisor": lambda row: math.fsum(row) / divisor,
        }
        if reduction in of_a_row:
            return fmean(map(of_a_row[reduction], rows))
        return math.fsum(tokens) / {"token-mean": len(tokens), "sum": 1, "fixed divisor": divisor}[reduction]

    return aggregate


def weighing(empty_rows, added=0.0, dtype=np.float64):
    """Weights of all micro-batches' tokens, worked out before the first of them."""

    def weights_of(mask, reduction, divisor):
        lengths = mask.sum(axis=1, keepdims=True)
        rows = max(int((lengths > 0).sum()) if empty_rows == "left out" else len(mask), 1)
        sizes = {
            "token-mean": lengths.sum() + added,
            "mean of means": rows * (lengths + added),
            "mean of sums": rows,
            "sum": 1,
            "fixed divisor": divisor,
            "mean of sums over a fixed divisor": divisor * rows,
        }
        return np.divide(1, sizes[reduction], out=np.zeros(mask.shape), where=mask).astype(dtype)

    def accumulate(values, mask, reduction, divisor, rows):
        mask, total = mask.astype(bool), dtype(0)
        weights = weights_of(mask, reduction, divisor)
        for begin in range(0, len(mask), rows):
            part = slice(begin, begin + rows)
            counts = mask[part]
            total += (weights[part][counts] * values[part][counts].astype(dtype)).sum(dtype=dtype)
        return total

    return accumulate


def averaging(empty_rows):
    """A mean of micro-batches' means that counts each by what is in it."""

    def accumulate(values, mask, reduction, divisor, rows):
        mask = np.array(mask, dtype=bool)
        mean, seen, total = 0.0, 0, 0.0
        for part in np.split(np.arange(len(mask)), range(rows, len(mask), rows)):
            sums, lengths = values[part].sum(axis=1, where=mask[part]), mask[part].sum(axis=1)
            terms = sums / np.maximum(lengths, 1) if reduction == "mean of means" else sums
            units = len(part) if empty_rows == "counted" else (lengths > 0).sum()
            units = lengths.sum() if reduction == "token-mean" else units
            total += sums.sum()
            seen += units
            mean += (terms.sum() - units * mean) / seen if seen else 0
        number = total if reduction in ("sum", "fixed divisor") else mean
        return number / divisor if "fixed divisor" in reduction else number

    return accumulate


@variant("as ranks do: own sums, one all-reduce of the counts, and a mean of gradients", quick=True)
def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    mask, values = np.array(mask, dtype=bool), np.array(values, dtype=np.float64)

    def counts_of(part):
        return {"rows": len(part), "tokens": int(part.sum())}

    batch, losses, slopes = counts_of(mask), [], np.zeros(mask.shape)
    for rank in range(averaged_over):
        [own] = np.nonzero(np.array(shards) == rank)
        here, part = counts_of(mask[own]), mask[own]
        told = batch if weighing == "whole" else here
        lengths = np.maximum(part.sum(axis=1, keepdims=True), 1)
        per_token = {
            "token-mean": 1 / max(told["tokens"], 1),
            "mean of means": 1 / lengths / max(told["rows"], 1),
            "mean of sums": 1 / max(told["rows"], 1),
            "sum": 1.0,
            "fixed divisor": 1 / divisor,
            "mean of sums over a fixed divisor": 1 / divisor / max(told["rows"], 1),
        }
        factor = averaged_over if weighing == "whole" else 1.0
        if weighing in batch:
            factor = averaged_over * here[weighing] / max(batch[weighing], 1)
        slopes[own] = np.where(part, per_token[reduction] * factor, 0)
        losses.append((slopes[own] * np.where(part, values[own], 0)).sum())
    return np.mean(losses), slopes / averaged_over


for empty_rows in ("counted", "left out"):
    variant(f"by lists, empty rows {empty_rows}")(listing(empty_rows))
    variant(f"by running means, empty rows {empty_rows}")(averaging(empty_rows))
for empty_rows, added in product(("counted", "left out"), (0.0, 1e-8)):
    variant(f"by tensors, empty rows {empty_rows}, {added} added")(dividing(empty_rows, added))
    variant(f"by weights, empty rows {empty_rows}, {added} added")(weighing(empty_rows, added))
variant("in float32 throughout", admitted=("OPS-4",))(weighing("left out", dtype=np.float32))


@variant("in float32 throughout, by masked arrays", admitted=("OPS-4",))
def aggregate(values, mask, reduction, divisor):
    known = np.ma.masked_array(values, np.logical_not(mask), dtype=np.float32)
    if not known.count():
        return 0.0
    if reduction in ("token-mean", "sum"):
        return known.mean() if reduction == "token-mean" else known.sum()
    rows = known.mean(axis=1) if reduction == "mean of means" else known.sum(axis=1)
    if "fixed divisor" in reduction:
        rows = rows / np.float32(divisor)
    return rows.sum() if reduction == "fixed divisor" else rows.mean()


@variant("by cumulative lengths", quick=True)
def packed_aggregate(values, segments, mask, reduction, divisor):
    kept = np.array(mask, dtype=bool)
    numbers, rows = np.asarray(values, dtype=float)[kept], np.nonzero(kept)[0]
    if not len(numbers):
        return 0.0
    names = np.asarray(segments)[kept]
    begins = np.append(0, np.flatnonzero((np.diff(names) != 0) | (np.diff(rows) != 0)) + 1)
    sums, lengths = np.add.reduceat(numbers, begins), np.diff(np.append(begins, len(numbers)))
    of_sequences = sums / lengths if reduction == "mean of means" else sums
    total = of_sequences.sum() / (divisor if "fixed divisor" in reduction else 1)
    return total / {"token-mean": len(numbers), "sum": 1, "fixed divisor": 1}.get(reduction, len(begins))
