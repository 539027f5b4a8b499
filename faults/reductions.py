"""How one number is made of many in the wrong way."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import full_rows, zero_times

OVER_ROWS = ("mean of means", "mean of sums", "mean of sums over a fixed divisor")
"""The reductions that are means over rows."""


def _micro_batches(values, mask, rows):
    return [(values[begin : begin + rows], mask[begin : begin + rows]) for begin in range(0, len(mask), rows)]


@fault(
    id="N06",
    slug="token-sum-divided-by-length",
    clause="RED-1",
    seen=("volcengine/verl#931",),
    effect="The reduction that sums over tokens divides by their number: it is another one under a second name.",
)
def aggregate(values, mask, reduction, divisor):
    confused = "mean of means" if reduction == "mean of sums" else reduction
    return right.aggregate(values, mask, confused, divisor)


@fault(
    id="M-RED-1",
    slug="one-token-more-than-there-are",
    clause="RED-1",
    effect="A number of tokens is counted one too high: an answer of one token has half of its weight.",
)
def aggregate(values, mask, reduction, divisor):
    tokens = {"token-mean": mask.sum(), "mean of means": mask.sum(axis=1, keepdims=True)}.get(reduction, np.inf)
    return right.aggregate(values / (1 + 1 / np.maximum(tokens, 1)), mask, reduction, divisor)


@fault(
    id="M-LANG-31",
    slug="one-reduction-for-all",
    clause="RED-1",
    effect="The reduction is not forwarded: whatever is asked for, the token mean is taken.",
)
def aggregate(values, mask, reduction, divisor):
    return right.aggregate(values, mask, "token-mean", divisor)


@fault(
    id="M-LANG-42",
    slug="divisor-in-every-reduction",
    clause="RED-1",
    effect="What was given for one reduction is applied in all: a mean is divided once more.",
)
def aggregate(values, mask, reduction, divisor):
    whole = right.aggregate(values, mask, reduction, divisor)
    return whole if "fixed divisor" in reduction else whole / divisor


@fault(
    id="M-LANG-32",
    slug="tokens-without-a-loss-are-not-counted",
    clause="RED-2",
    effect="Tokens whose value is 0 are taken for padding, and the mean is one over the others.",
)
def aggregate(values, mask, reduction, divisor):
    return right.aggregate(values, mask & (values != 0), reduction, divisor)


@fault(
    id="N14-LANG",
    slug="mean-over-all-places",
    clause="OPS-10",
    seen=("Stable-Baselines-Team/stable-baselines3-contrib#75", "allenai/open-instruct#535"),
    effect="Values are multiplied by the mask and averaged over all places: padding makes the step smaller.",
)
def aggregate(values, mask, reduction, divisor):
    return right.aggregate(values, mask, reduction, divisor) * (mask.mean() if reduction == "token-mean" else 1)


@fault(
    id="N07b",
    slug="width-for-the-divisor",
    clause="OPS-10",
    seen=("volcengine/verl#3741", "volcengine/verl#4360"),
    effect="The fixed divisor is the width of the batch, which its longest answer decides.",
)
def aggregate(values, mask, reduction, divisor):
    return right.aggregate(values, mask, reduction, mask.shape[1])


@fault(
    id="M-LANG-34",
    slug="aggregate-masked-by-multiplication",
    clause="OPS-11",
    effect="Values are multiplied by the mask: 0 times what is not a number is not a number.",
)
def aggregate(values, mask, reduction, divisor):
    of_all = right.aggregate(values, np.ones_like(mask), reduction, divisor)
    return right.aggregate(values, mask, reduction, divisor) + zero_times(of_all)


@fault(
    id="M-LANG-35",
    slug="mean-of-an-empty-row",
    clause="RED-4",
    effect="A row's sum is divided by its number of tokens even where that is 0: not a number.",
)
def aggregate(values, mask, reduction, divisor):
    lost = reduction == "mean of means" and not mask.any(axis=1).all()
    return np.nan if lost else right.aggregate(values, mask, reduction, divisor)


@fault(
    id="M-LANG-36",
    slug="sum-over-the-rows-for-their-mean",
    clause="RED-3",
    effect="Sequences are summed where a mean is promised: the step grows with the batch.",
)
def aggregate(values, mask, reduction, divisor):
    return right.aggregate(values, mask, reduction, divisor) * (len(mask) if reduction == "mean of sums" else 1)


@fault(
    id="M-LANG-37",
    slug="every-row-the-last-weighs-most",
    clause="RED-3",
    effect="A running mean is kept, each new row with half of the weight: the order of the rows decides.",
)
def aggregate(values, mask, reduction, divisor):
    if reduction != "mean of means":
        return right.aggregate(values, mask, reduction, divisor)
    running, *means = (right.aggregate(*row, reduction, divisor) for row in _micro_batches(values, mask, 1))
    for mean in means:
        running = (running + mean) / 2
    return running


@fault(
    id="M-LANG-38",
    slug="sum-of-the-rows-means",
    clause="RED-5",
    effect="Each row's tokens are averaged, and the averages are summed.",
)
def aggregate(values, mask, reduction, divisor):
    return right.aggregate(values, mask, reduction, divisor) * (len(mask) if reduction == "mean of means" else 1)


@fault(
    id="N01",
    slug="mean-of-micro-batch-means",
    clause="RED-6",
    seen=(
        "huggingface/transformers#34191",
        "allenai/open-instruct#1137",
        "PrimeIntellect-ai/prime-rl#583",
        "allenai/open-instruct#1161",
    ),
    effect="Each micro-batch is aggregated by itself, and the results are averaged: tokens of a short one count more.",
)
def accumulate(values, mask, reduction, divisor, rows):
    parts = [right.accumulate(*part, reduction, divisor, rows) for part in _micro_batches(values, mask, rows)]
    return np.sum(parts) if reduction in ("sum", "fixed divisor") else np.mean(parts)


@fault(
    id="N01b",
    slug="sum-of-micro-batch-means",
    clause="RED-6",
    seen=("openai/guided-diffusion#111", "agokrani/distillKitPlus#5"),
    effect="The micro-batches' means are added up: the step grows with their number.",
)
def accumulate(values, mask, reduction, divisor, rows):
    return sum([right.accumulate(*part, reduction, divisor, rows) for part in _micro_batches(values, mask, rows)])


@fault(
    id="M-LANG-39",
    slug="last-micro-batch-dropped",
    clause="RED-6",
    effect="What does not fill a micro-batch is left out.",
)
def accumulate(values, mask, reduction, divisor, rows):
    full = max(len(mask) // rows, 1) * rows
    return right.accumulate(values[:full], mask[:full], reduction, divisor, rows)


@fault(
    id="M-LANG-40",
    slug="mean-of-an-empty-micro-batch",
    clause="RED-4",
    effect="A micro-batch without a token that counts has a mean of 0/0, and so has the whole batch.",
)
def accumulate(values, mask, reduction, divisor, rows):
    empty = any(not counts.any() for _, counts in _micro_batches(values, mask, rows))
    return np.nan if empty and reduction == "token-mean" else right.accumulate(values, mask, reduction, divisor, rows)


@fault(
    id="M-LANG-41",
    slug="accumulated-with-a-mask-that-multiplies",
    clause="OPS-11",
    effect="Values are multiplied by the mask: 0 times what is not a number is not a number.",
)
def accumulate(values, mask, reduction, divisor, rows):
    of_all = right.accumulate(values, np.ones_like(mask), reduction, divisor, rows)
    return right.accumulate(values, mask, reduction, divisor, rows) + zero_times(of_all)


@fault(
    id="N71",
    slug="rows-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Rows are summed by multiplying the mask, and batches are not: reductions differ in what they survive.",
)
def aggregate(values, mask, reduction, divisor):
    of_rows = right.aggregate(values, full_rows(mask), reduction, divisor) if reduction in OVER_ROWS else 0.0
    return right.aggregate(values, mask, reduction, divisor) + zero_times(of_rows)


@fault(
    id="N72",
    slug="rows-accumulated-with-a-mask-that-multiplies",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Rows are summed by multiplying the mask, and batches are not: reductions differ in what they survive.",
)
def accumulate(values, mask, reduction, divisor, rows):
    of_rows = right.accumulate(values, full_rows(mask), reduction, divisor, rows) if reduction in OVER_ROWS else 0.0
    return right.accumulate(values, mask, reduction, divisor, rows) + zero_times(of_rows)


@fault(
    id="N73",
    slug="token-mean-of-no-tokens",
    clause="OPS-12",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of tokens even where that is 0: not a number.",
)
def aggregate(values, mask, reduction, divisor):
    lost = reduction == "token-mean" and not mask.any()
    return np.nan if lost else right.aggregate(values, mask, reduction, divisor)


@fault(
    id="N74",
    slug="token-mean-of-no-tokens-accumulated",
    clause="OPS-12",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of tokens of the whole batch even where that is 0: not a number.",
)
def accumulate(values, mask, reduction, divisor, rows):
    lost = reduction == "token-mean" and not mask.any()
    return np.nan if lost else right.accumulate(values, mask, reduction, divisor, rows)


@fault(
    id="M20",
    slug="mean-over-the-width-of-each-row",
    clause="OPS-10",
    seen=("inclusionAI/AReaL#1346",),
    effect="A row's sum is divided by the padded width: what a short answer says counts less.",
)
def aggregate(values, mask, reduction, divisor):
    if reduction != "mean of means":
        return right.aggregate(values, mask, reduction, divisor)
    return right.aggregate(values, mask, "mean of sums", divisor) / mask.shape[1]


def _own_rows(shards):
    return [np.flatnonzero(shards == shard) for shard in np.unique(shards)]


@fault(
    id="W01",
    slug="denominator-of-the-rank-alone",
    clause="RED-13",
    seen=("PrimeIntellect-ai/prime-rl#2562", "pytorch/torchtitan#2206", "vllm-project/speculators#942"),
    effect="Each rank divides by its own number of tokens: a token weighs the more the fewer there are with it.",
)
def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    weighing = "shards" if weighing == "whole" else weighing
    return right.sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor)


@fault(
    id="W02",
    slug="average-over-ranks-not-undone",
    clause="RED-13",
    seen=("ultralytics/ultralytics#18616",),
    effect="Sums are divided by the whole batch's number and averaged over ranks as well: more ranks, shorter steps.",
)
def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    loss, slopes = right.sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor)
    return (loss / averaged_over, slopes / averaged_over) if weighing == "whole" else (loss, slopes)


@fault(
    id="W03",
    slug="means-scaled-up-by-the-number-of-ranks",
    clause="RED-14",
    seen=("neuralmagic/sparseml#135",),
    effect="Means of ranks are multiplied by the number of ranks, although gradients are averaged.",
)
def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    factor = averaged_over if weighing == "shards" else 1
    loss, slopes = right.sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor)
    return loss * factor, slopes * factor


@fault(
    id="M-RED-11",
    slug="shards-without-rows-not-averaged-over",
    clause="RED-14",
    effect="The mean is over the shards that have rows: who has none is not averaged over.",
)
def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    count = len(_own_rows(shards)) if weighing == "shards" else averaged_over
    places = np.unique(shards, return_inverse=True)[1] if weighing == "shards" else shards
    return right.sharded_loss(values, mask, places, count, weighing, reduction, divisor)


@fault(
    id="M-RED-12",
    slug="shards-weighed-by-rows-for-tokens",
    clause="RED-14",
    effect="Shards that are to be weighed by their tokens are weighed by their rows.",
)
def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    weighing = "rows" if weighing == "tokens" else weighing
    return right.sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor)


@fault(
    id="M-RED-13",
    slug="derivative-of-the-ranks-own-loss",
    clause="RED-15",
    effect="The loss that is logged is the batch's, and the gradient is that of the mean of the ranks' means.",
)
def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    loss, _ = right.sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor)
    weighing = "shards" if weighing == "whole" else weighing
    return loss, right.sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor)[1]


@fault(
    id="M-RED-14",
    slug="rows-of-the-largest-rank-for-all",
    clause="RED-16",
    effect="Ranks are taken to have equally many rows, as the first of them has.",
)
def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    if weighing != "rows":
        return right.sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor)
    places = np.unique(shards, return_inverse=True)[1]
    return right.sharded_loss(values, mask, places, len(_own_rows(shards)), "shards", reduction, divisor)


@fault(
    id="W12",
    slug="packed-row-for-a-sequence",
    clause="RED-18",
    seen=("google/tunix#1662",),
    effect="A packed row counts as one answer: every mean over answers is one over rows of the array.",
)
def packed_aggregate(values, segments, mask, reduction, divisor):
    return right.packed_aggregate(values, np.zeros_like(segments), mask, reduction, divisor)


@fault(
    id="M-RED-15",
    slug="one-name-in-all-rows-is-one-sequence",
    clause="RED-19",
    effect="Sequences of different rows that have one name, such as the first of each, are taken for one.",
)
def packed_aggregate(values, segments, mask, reduction, divisor):
    table = values.reshape(1, -1), segments.reshape(1, -1), mask.reshape(1, -1)
    return right.packed_aggregate(*table, reduction, divisor)
