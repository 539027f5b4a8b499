"""How surrogate losses go wrong, axis by axis."""

import numpy as np

from rlspec.faults import fault, right


def _means(logp, old_logp, mask):
    """The mean of each row's log-ratios, [B, 1]."""
    known = np.where(mask, logp, 0) - np.where(mask, old_logp, 0)
    return known.sum(axis=1, keepdims=True) / np.maximum(mask.sum(axis=1, keepdims=True), 1)


@fault(
    id="M-SUR-1",
    slug="paid-for-distance",
    clause="SUR-1",
    effect="The KL term is subtracted: the policy is paid for leaving the reference.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return right.surrogate_loss(*tables, clip_low, clip_high, -kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-2",
    slug="sequence-by-its-product",
    clause="SUR-2",
    effect="The ratio of a sequence is the product of its tokens' ratios: a long one is beyond every clip.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    lengths = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    further = old_logp - (lengths - 1) * _means(logp, old_logp, mask) if ratio == "sequence" else old_logp
    tables = logp, further, ref_logp, advantages, groups, mask
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-3",
    slug="level-not-forwarded",
    clause="SUR-2",
    effect="The level is always that of the token, whatever was asked for.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, "token", clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-4",
    slug="clipped-all-the-same",
    clause="SUR-3",
    effect="Who asks for no clip is given the pessimistic one.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    clip = "pessimistic" if clip == "none" else clip
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-5",
    slug="pessimistic-clips-exchanged",
    clause="SUR-4",
    effect="The lower clip is taken for the upper one, and the upper for the lower.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    low, high = (min(clip_high, 1.0), clip_low) if clip == "pessimistic" else (clip_low, clip_high)
    return right.surrogate_loss(*tables, low, high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-6",
    slug="weights-without-a-floor",
    clause="SUR-5",
    effect="A weight has an upper bound only: what has become improbable is given up.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    low = 1.0 if clip == "weight" else clip_low
    return right.surrogate_loss(*tables, low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-7",
    slug="weights-for-surrogates",
    clause="SUR-5",
    effect="A clipped weight is not held, and nothing else is: beyond the clip nothing moves.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    clip = "pessimistic" if clip == "weight" else clip
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-8",
    slug="geometric-clip-of-ratios",
    clause="SUR-6",
    effect="The clips are taken for widths around the ratio 1, and not around its logarithm 0.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    low, high = clip_low, clip_high
    if clip == "geometric":
        low, high = -np.log1p(-clip_low), np.log1p(clip_high)
    return right.surrogate_loss(*tables, low, high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-9",
    slug="geometric-clip-after-the-mean",
    clause="SUR-6",
    effect="The mean of the logarithms is clipped, and not each of them.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    alike = clip == "geometric" and ratio == "sequence"
    old = np.where(mask, logp - _means(logp, old_logp, mask), old_logp) if alike else old_logp
    tables = logp, old, ref_logp, advantages, groups, mask
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-10",
    slug="dual-clip-not-forwarded",
    clause="SUR-7",
    effect="The dual clip is an option that nothing reads.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, None, reduction, divisor, kl)


@fault(
    id="M-SUR-11",
    slug="dual-clip-as-a-width",
    clause="SUR-7",
    effect="The dual clip is added to 1: bad tokens cost more than was asked for.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    wide = None if dual_clip is None else 1 + dual_clip
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, wide, reduction, divisor, kl)


@fault(
    id="M-SUR-12",
    slug="groups-not-forwarded",
    clause="SUR-8",
    effect="The mean over groups is one over the batch: which rows answer the same prompt is forgotten.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    reduction = "token-mean" if reduction == "mean of group token-means" else reduction
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-13",
    slug="sums-over-the-batch",
    clause="SUR-8",
    effect="A mean of sums is their sum: the step grows with the batch.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    reduction = "sum" if reduction == "mean of sums" else reduction
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl)


@fault(
    id="M-SUR-14",
    slug="kl-weighed-and-held",
    clause="SUR-9",
    effect="The ratio weighs the KL term and is held: neither the forward nor the reverse divergence is followed.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    rest = groups, mask, clip_low, clip_high
    axes = ratio, clip, dual_clip, reduction, divisor, kl
    loss, slopes = right.surrogate_loss(logp, old_logp, ref_logp, advantages, *rest, 0.0, *axes)
    if kl_coef == 0:
        return loss, slopes
    total, steeper = right.surrogate_loss(logp, old_logp, ref_logp, 0 * advantages, *rest, kl_coef, *axes)
    weight = np.exp(np.where(mask, logp, 0) - np.where(mask, old_logp, 0)) if ratio == "token" else np.ones(mask.shape)
    return loss + total * np.where(mask, weight, 0).sum() / max(mask.sum(), 1), slopes + weight * steeper


@fault(
    id="M-SUR-15",
    slug="estimator-not-forwarded",
    clause="SUR-9",
    effect="The estimator is always k3, whatever was asked for.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return right.surrogate_loss(*tables, clip_low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, "k3")


@fault(
    id="M-SUR-16",
    slug="no-price-below-zero",
    clause="SUR-9",
    effect="A negative coefficient is taken for none.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return right.surrogate_loss(
        *tables, clip_low, clip_high, max(kl_coef, 0.0), ratio, clip, dual_clip, reduction, divisor, kl
    )


@fault(
    id="M-SUR-17",
    slug="kl-without-a-gradient",
    clause="SUR-10",
    effect="The KL term is in the loss that is logged, and not in the one that is differentiated.",
)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    loss, _ = right.surrogate_loss(
        *tables, clip_low, clip_high, kl_coef, ratio, clip, dual_clip, reduction, divisor, kl
    )
    axes = ratio, clip, dual_clip, reduction, divisor, kl
    return loss, right.surrogate_loss(*tables, clip_low, clip_high, 0.0, *axes)[1]
