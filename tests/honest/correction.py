"""Ways to weigh what another policy has said."""

import numpy as np
import torch

from .catalogue import way
from .reductions import sizes, tokens_of
from .surrogate import limited
from .tensors import differentiated, leaves, tensors, within


def log_weights(style, choices, logp, sampler_logp, mask, level):
    """The logarithms of weights at their level, as far as they count."""
    own = style.kept(logp, mask) - style.kept(sampler_logp, mask)
    if level != "token":
        row = style.total(own)[:, None]
        lengths = np.maximum(mask.sum(axis=1, keepdims=True), 1).astype(style.dtype)
        own = np.broadcast_to(row / lengths if level == "geometric" else row, mask.shape)
    return limited({"log_ratio": choices["log_weight"]}, own, np)


def in_form(style, logarithms, mask, form, low, high):
    """Weights with these logarithms, by cases."""
    low, high = style.dtype(low), style.dtype(high)
    if form == "none":
        within(style, np.maximum(np.where(mask, logarithms, 0), 0))
    with np.errstate(over="ignore"):
        weights = style.exp(logarithms.astype(style.dtype)).astype(style.dtype)
    if form == "masked":
        weights = np.where((weights >= low) & (weights <= high), weights, style.dtype(0))
    if form in ("truncated", "clipped"):
        weights = np.where(weights > high, high, weights)
    if form == "clipped":
        weights = np.where(weights < low, low, weights)
    return np.where(mask, weights, style.dtype(0))


def weights_of(style, choices, logp, sampler_logp, mask, level, form, low, high):
    """The weights, by NumPy."""
    return in_form(style, log_weights(style, choices, logp, sampler_logp, mask, level), mask, form, low, high)


@way("by NumPy")
def importance_weights(style, choices, logp, sampler_logp, mask, level, form, low, high):
    return weights_of(style, choices, logp, sampler_logp, mask, level, form, low, high)


@way("by tensors, bounded in logarithms")
def importance_weights(style, choices, logp, sampler_logp, mask, level, form, low, high):
    logarithms = log_weights(style, choices, logp, sampler_logp, mask, level)
    logs, counts = tensors(style, np.array(logarithms), mask)
    lowest, highest = torch.tensor([low, high], dtype=torch.float64).log().to(logs.dtype)
    if form == "masked":
        counts = counts & (logs >= lowest) & (logs <= highest)
    elif form != "none":
        logs = logs.clamp(lowest if form == "clipped" else None, highest)
    else:
        within(style, np.maximum(np.where(mask, logarithms, 0), 0))
    return logs.exp().masked_fill(~counts, 0).numpy()


@way("weights over their mean")
def self_normalized_weights(style, choices, logp, sampler_logp, mask, level, form, low, high):
    weights = weights_of(style, choices, logp, sampler_logp, mask, level, form, low, high)
    if level == "token":
        mean = style.whole(weights) / style.dtype(tokens_of(choices, mask.sum()))
    else:
        lengths = mask.sum(axis=1)
        of_rows = style.total(weights) / tokens_of(choices, lengths).astype(style.dtype)
        mean = style.whole(of_rows) / style.dtype(max(np.count_nonzero(lengths), 1))
    return weights / mean if mean > 0 else weights


def kept_by(choices, mask, weights, form):
    """The tokens that a mean is over."""
    return mask & (weights != 0) if (form, choices["rejected"]) == ("masked", "left out") else mask


@way("the derivative by hand")
def corrected_loss(
    style, choices, logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high
):
    weights = weights_of(style, choices, old_logp, sampler_logp, mask, level, form, low, high)
    kept = kept_by(choices, mask, weights, form)
    logp, old_logp, worth = (style.kept(table, mask) for table in (logp, old_logp, advantages))
    moved = limited(choices, logp - old_logp, np)
    within(style, np.maximum(moved, 0))
    ratio = style.exp(moved).astype(style.dtype)
    bounded = np.clip(ratio, 1 - style.dtype(clip_low), 1 + style.dtype(clip_high)) * worth
    gain, flat = ratio * worth, (moved != logp - old_logp) | (bounded < ratio * worth)
    terms, slopes = -weights * np.minimum(gain, bounded), -weights * np.where(flat, style.dtype(0), gain)
    return style.mean(kept, sizes(style, choices, kept, choices["reduction"]), terms, slopes)


@way("by torch")
def corrected_loss(
    style, choices, logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high
):
    weights = weights_of(style, choices, old_logp, sampler_logp, mask, level, form, low, high)
    kept = kept_by(choices, mask, weights, form)
    [new], [old, worth, weight, counts] = leaves(style, logp), tensors(style, old_logp, advantages, weights, kept)
    ours, old, worth = (table.masked_fill(~counts, 0) for table in (new, old, worth))
    moved = limited(choices, ours - old, torch)
    within(style, np.maximum(moved.detach().numpy(), 0))
    ratio = moved.exp()
    losses = torch.maximum(-ratio * worth, -ratio.clamp(1 - clip_low, 1 + clip_high) * worth)
    size = np.broadcast_to(sizes(style, choices, kept, choices["reduction"]), mask.shape)
    terms = (weight * losses).masked_fill(~counts, 0) / tensors(style, size)[0]
    return differentiated(terms.sum(), new)


@way("from sums")
def effective_sample_size(style, choices, weights, mask):
    counted = style.selected(weights, mask)
    count = style.dtype(tokens_of(choices, mask.sum()))
    mean, square = style.whole(counted) / count, style.whole(counted * counted) / count
    if square == 0:
        return style.dtype(0)
    added = added_to(choices["eps"])
    share = (mean + style.dtype(added)) ** 2 / square
    return share if choices["of"] == "share" else share * count


def added_to(eps):
    """The number that is added to a mean."""
    return float(eps.partition("+")[2] or 0)
