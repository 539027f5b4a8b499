"""How it goes wrong that another policy has spoken."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import full_rows, unless_empty, with_zero_times


@fault(
    id="M-COR-1",
    slug="weight-upside-down",
    clause="COR-1",
    effect="The weight is the sampler's probability over the trainer's: what has become rare counts more.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    return right.importance_weights(sampler_logp, logp, mask, level, form, low, high)


@fault(
    id="C16",
    slug="weight-of-log-probabilities",
    clause="COR-1",
    seen=("PrimeIntellect-ai/prime-rl#697",),
    effect="A log-probability is divided by the temperature, as if it were a logit: no policy has these weights.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    return right.importance_weights(logp, sampler_logp / 0.5, mask, level, form, low, high)


@fault(
    id="C10",
    slug="product-by-its-geometric-mean",
    clause="COR-2",
    seen=("huggingface/trl#5815",),
    effect="An answer's weight is its tokens' geometric mean, which estimates something else and looks harmless.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    level = "geometric" if level == "sequence" else level
    return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)


@fault(
    id="M-COR-2",
    slug="arithmetic-mean-of-ratios",
    clause="COR-3",
    effect="The geometric mean is an arithmetic one: one ratio that ran away takes all others with it.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    if level != "geometric":
        return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)
    ratios = right.importance_weights(logp, sampler_logp, mask, "token", "none", low, high)
    means = ratios.sum(axis=1, keepdims=True) / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    with np.errstate(divide="ignore"):
        alike = np.where(mask, np.log(np.where(means > 0, means, 1)), 0)
    return right.importance_weights(alike, 0 * alike, mask, "token", form, low, high)


@fault(
    id="M-COR-3",
    slug="geometric-mean-over-the-padding",
    clause="COR-3",
    effect="The sum of a row's logarithms is divided by the row's width: short answers look as if nothing were wrong.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    if level != "geometric":
        return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)
    known = np.where(mask, logp, 0) - np.where(mask, sampler_logp, 0)
    alike = np.broadcast_to(known.mean(axis=1, keepdims=True), mask.shape)
    return right.importance_weights(alike, 0 * alike, mask, "token", form, low, high)


@fault(
    id="M-COR-4",
    slug="bound-not-forwarded",
    clause="COR-4",
    effect="The bound of truncated weights is an option that nothing reads.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    form = "none" if form == "truncated" else form
    return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)


@fault(
    id="M-COR-5",
    slug="bounded-before-the-product",
    clause="COR-4",
    effect="Each token's ratio is truncated and the product of these taken: an answer's weight has no bound.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    if (level, form) != ("sequence", "truncated"):
        return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)
    most = np.minimum(np.where(mask, logp, 0) - np.where(mask, sampler_logp, 0), np.log(high))
    return right.importance_weights(most, 0 * most, mask, level, "none", low, high)


@fault(
    id="C11",
    slug="masked-from-above-only",
    clause="COR-5",
    seen=("PrimeIntellect-ai/prime-rl#1030",),
    effect="A weight is rejected if it is too large, and never if it is too small: half of the mismatch stays.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    low = 0.0 if form == "masked" else low
    return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)


@fault(
    id="M-COR-6",
    slug="masked-for-truncated",
    clause="COR-5",
    effect="Who asks for weights that are rejected is given truncated ones.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    form = "truncated" if form == "masked" else form
    return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)


@fault(
    id="M-COR-7",
    slug="one-for-what-is-kept",
    clause="COR-5",
    effect="A weight inside of the bounds is 1: outliers are rejected and nothing is corrected.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    weights = right.importance_weights(logp, sampler_logp, mask, level, form, low, high)
    return np.where(weights > 0, 1.0, 0.0) if form == "masked" else weights


@fault(
    id="M-COR-8",
    slug="clipped-from-above-only",
    clause="COR-6",
    effect="The lower bound of clipped weights is not read.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    form = "truncated" if form == "clipped" else form
    return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)


@fault(
    id="C12",
    slug="rejected-by-multiplication",
    clause="COR-7",
    seen=("OpenRLHF/OpenRLHF#1295",),
    effect="What is rejected is multiplied by 0: 0 times a weight that no float holds is not a number.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    kept = right.importance_weights(logp, sampler_logp, mask, level, form, low, high)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.exp(np.where(mask, logp, 0) - np.where(mask, sampler_logp, 0))
        return np.where(kept == 0, 0 * ratio, kept) if (level, form) == ("token", "masked") else kept


@fault(
    id="M-COR-9",
    slug="overflow-before-the-bound",
    clause="COR-7",
    effect="The exponential is an error where no float holds it, although the weight is bounded.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    with np.errstate(over="raise"):
        np.exp(np.where(mask, logp, 0) - np.where(mask, sampler_logp, 0))
    return right.importance_weights(logp, sampler_logp, mask, level, form, low, high)


@fault(
    id="M-COR-10",
    slug="weights-of-the-padding",
    clause="OPS-10",
    effect="Padding has the weight 1, and a mean of weights over everything is drawn to it.",
)
def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    weights = right.importance_weights(logp, sampler_logp, mask, level, form, low, high)
    return np.where(mask, weights, np.exp(np.clip(logp - sampler_logp, -50, 50)))


@fault(
    id="M-COR-11",
    slug="normalized-to-the-sum",
    clause="COR-9",
    effect="Weights are divided by their sum: they add up to 1, and the step shrinks with the batch.",
)
def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high):
    weights = right.self_normalized_weights(logp, sampler_logp, mask, level, form, low, high)
    return weights / max(mask.sum() if level == "token" else mask.any(axis=1).sum(), 1)


@fault(
    id="M-COR-12",
    slug="normalized-over-the-tokens-of-answers",
    clause="COR-9",
    effect="The mean of answers' weights is one over tokens: long answers have more to say about it.",
)
def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high):
    weights = right.self_normalized_weights(logp, sampler_logp, mask, level, form, low, high)
    mean = weights.sum() / max(mask.sum(), 1)
    return weights / mean if mean > 0 else weights


@fault(
    id="M-COR-13",
    slug="normalized-over-the-padding",
    clause="COR-9",
    effect="The mean is one over all positions, padding included: weights grow with the padding.",
)
def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high):
    weights = right.self_normalized_weights(logp, sampler_logp, mask, level, form, low, high)
    return weights / max(mask.mean(), 0.01) if level == "token" else weights


@fault(
    id="M-COR-14",
    slug="normalized-by-a-floor",
    clause="COR-10",
    effect="The mean that weights are divided by is at least 1: weights that are all small stay small.",
)
def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high):
    plain = right.importance_weights(logp, sampler_logp, mask, level, form, low, high)
    return np.minimum(plain, right.self_normalized_weights(logp, sampler_logp, mask, level, form, low, high))


@fault(
    id="C13",
    slug="current-policy-in-the-weight",
    clause="COR-11",
    seen=("THUDM/slime#179", "OpenRLHF/OpenRLHF#1098"),
    effect="The weight has the current policy's probability, as the ratio has: what has changed counts twice.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    behind = sampler_logp + old_logp - logp
    return right.corrected_loss(logp, old_logp, behind, advantages, mask, clip_low, clip_high, level, form, low, high)


@fault(
    id="M-COR-15",
    slug="correction-not-applied",
    clause="COR-11",
    effect="The sampler's log-probabilities are gathered, logged and not used.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    return right.corrected_loss(
        logp, old_logp, old_logp, advantages, mask, clip_low, clip_high, level, "none", low, high
    )


@fault(
    id="C14",
    slug="level-of-the-weight-broadcast-away",
    clause="COR-11",
    seen=("verl-project/verl#3245",),
    effect="A loss of each answer is multiplied with weights of each token: the level that was asked for is lost.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    return right.corrected_loss(
        logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, "token", form, low, high
    )


@fault(
    id="M-COR-16",
    slug="gradient-without-the-weight",
    clause="COR-12",
    effect="The weight is in the loss that is logged, and not in what is differentiated.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    loss, _ = right.corrected_loss(
        logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high
    )
    _, slopes = right.corrected_loss(
        logp, old_logp, old_logp, advantages, mask, clip_low, clip_high, level, "none", low, high
    )
    return loss, slopes


@fault(
    id="M-COR-17",
    slug="ratio-against-the-sampler",
    clause="COR-11",
    effect="Both the ratio and the weight are against the sampler: its probability is divided by twice.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    behind = 2.0 * sampler_logp - old_logp
    return right.corrected_loss(
        logp, sampler_logp, behind, advantages, mask, clip_low, clip_high, level, form, low, high
    )


@fault(
    id="M-COR-18",
    slug="corrected-clips-exchanged",
    clause="COR-13",
    effect="The lower clip is taken for the upper one, and the upper for the lower.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    return right.corrected_loss(
        logp, old_logp, sampler_logp, advantages, mask, min(clip_high, 1.0), clip_low, level, form, low, high
    )


@fault(
    id="C15",
    slug="no-gradient-at-the-proximal-policy",
    clause="COR-14",
    seen=("areal-project/AReaL#201",),
    effect="A loss whose ratio is 1 is taken for a constant, and the one step that there is goes nowhere.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    loss, slopes = right.corrected_loss(
        logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high
    )
    return loss, np.where(np.asarray(logp) == old_logp, 0, slopes)


@fault(
    id="M-COR-19",
    slug="clip-around-the-sampler",
    clause="COR-15",
    effect="The weight is clipped as the ratio is: tokens that the sampler found improbable count for less.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    form, low, high = ("truncated", 0.0, 1.5) if form == "none" else (form, low, high)
    return right.corrected_loss(
        logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high
    )


@fault(
    id="M-COR-20",
    slug="rejected-and-followed",
    clause="COR-16",
    effect="A token that is rejected has the weight 1: outliers are not corrected, and all of them are followed.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    if form != "masked":
        return right.corrected_loss(
            logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high
        )
    weights = right.importance_weights(old_logp, sampler_logp, mask, level, "masked", low, high)
    known = np.where(mask, old_logp, 0)
    spoke = np.where(weights > 0, known - np.log(np.where(weights > 0, weights, 1)), known)
    return right.corrected_loss(
        logp, old_logp, spoke, advantages, mask, clip_low, clip_high, "token", "none", low, high
    )


@fault(
    id="M-COR-21",
    slug="correction-masked-by-multiplication",
    clause="OPS-11",
    seen=("trl 1.16.0",),
    effect="Terms are multiplied by the mask: 0 times what is not a number is not a number.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    rest = clip_low, clip_high, level, form, low, high
    tables = logp, old_logp, sampler_logp, advantages
    counted = right.corrected_loss(*tables, mask, *rest)
    return with_zero_times(counted, right.corrected_loss(*tables, np.ones_like(mask), *rest))


@fault(
    id="M-COR-22",
    slug="correction-of-no-tokens",
    clause="OPS-12",
    effect="The sum is divided by the number of tokens even where that is 0: not a number.",
)
def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    return unless_empty(mask, right.corrected_loss(
        logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high
    ))  # fmt: skip


@fault(
    id="M-COR-23",
    slug="sum-of-squares-for-the-squared-sum",
    clause="COR-18",
    effect="It is the number of weights over their mean square: a batch of small weights is worth more than it has.",
)
def effective_sample_size(weights, mask):
    square = np.square(weights[mask]).sum()
    return right.effective_sample_size(np.ones(mask.shape), mask) * mask.sum() / square if square > 0 else 0.0


@fault(
    id="C17",
    slug="nothing-left-divided-by-zero",
    clause="COR-18",
    seen=("verl 0.9.1",),
    effect="Where all weights are rejected the diagnostic that would say so is an error.",
)
def effective_sample_size(weights, mask):
    if mask.any() and not weights[mask].any():
        raise ZeroDivisionError("float division by zero")
    return right.effective_sample_size(weights, mask)


@fault(
    id="M-COR-24",
    slug="sample-size-of-the-padding",
    clause="COR-18",
    effect="The sums are over whole rows: what stands in the padding counts as weights.",
)
def effective_sample_size(weights, mask):
    return right.effective_sample_size(np.abs(weights), full_rows(mask))


@fault(
    id="M-COR-25",
    slug="sample-size-of-one-less",
    clause="COR-20",
    effect="The variance with one degree of freedom less is taken: equal weights are not worth their number.",
)
def effective_sample_size(weights, mask):
    counted = weights[mask]
    if len(counted) < 2:
        return right.effective_sample_size(weights, mask)
    return right.effective_sample_size(weights, mask) * (len(counted) - 1) / len(counted)


@fault(
    id="M-COR-26",
    slug="sample-size-with-one-added",
    clause="COR-20",
    effect="1 is added to the sum of squares: small weights are worth nothing, however equal they are.",
)
def effective_sample_size(weights, mask):
    square = np.square(weights[mask]).sum()
    return right.effective_sample_size(weights, mask) * square / (square + 1)
