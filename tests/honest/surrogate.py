"""Ways to compute clipped surrogates: a level of the ratio, a form of the clip, a reduction and a KL term."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from rlspec.spec.choices import number_in

from .catalogue import way
from .kl import limit, with_limit
from .reductions import sizes
from .tensors import differentiated, leaves, tensors, within


@dataclass(frozen=True)
class Point:
    """What one loss of the family is: the names of its axes, and the numbers that go with them."""

    level: str
    clip: str
    reduction: str
    dual_clip: float | None = None
    divisor: float = 1
    kl: str = "k3"


def limited(choices, log_ratio, library):
    """A log-ratio as far as it counts."""
    choice = choices.get("log_ratio", "as it is")
    if (most := number_in("clamped to C", choice)) is not None:
        return library.clip(log_ratio, -most, most)
    if (most := number_in("at most C", choice)) is not None:
        return library.clip(log_ratio, None, most)
    return log_ratio


def by_hand(style, choices, point, logp, old_logp, ref_logp, advantages, groups, mask, low, high, kl_coef):
    """The loss and its derivative, by NumPy."""
    logp, old_logp = style.kept(logp, mask), style.kept(old_logp, mask)
    lengths = np.maximum(mask.sum(axis=1, keepdims=True), 1).astype(style.dtype)

    def at_level(numbers):
        if point.level == "sequence":
            mean = style.total(style.kept(numbers, mask))[:, None] / lengths
            return np.broadcast_to(mean, numbers.shape)
        return numbers if point.level == "token" else np.zeros_like(numbers)

    def rated(log_ratio):
        counted = limited(choices, at_level(log_ratio), np)
        within(style, np.maximum(counted, 0))
        return style.exp(counted).astype(style.dtype), at_level(log_ratio) == counted

    moved, worth = logp - old_logp, np.broadcast_to(advantages, mask.shape)
    held = moved
    if point.clip == "geometric":
        held = np.where(worth > 0, np.minimum(moved, high), np.where(worth < 0, np.maximum(moved, -low), moved))
    ratio, moves = rated(held)
    bounded = np.clip(ratio, 1 - style.dtype(low), 1 + style.dtype(high))
    if point.level == "none":
        gain, slope = worth * logp, worth
    elif point.clip == "weight":
        gain, slope = bounded * worth * logp, bounded * worth
    else:
        gain = ratio * worth
        flat = np.zeros(mask.shape, bool)
        if point.clip == "pessimistic":
            flat = bounded * worth < gain
            gain = np.minimum(gain, bounded * worth)
            if point.dual_clip is not None:
                flat |= (worth < 0) & (point.dual_clip * worth > gain)
                gain = np.where(worth < 0, np.maximum(gain, style.dtype(point.dual_clip) * worth), gain)
        slope = at_level(np.where(moves & ~flat, ratio * worth, style.dtype(0))) * (held == moved)
    terms, slopes = -gain, -slope
    if kl_coef:
        log_ratio = logp - style.kept(ref_logp, mask)
        cost, cost_slope = with_limit(style, choices, log_ratio, point.kl)
        if choices.get("kl_weight", "1") == "ratio" and point.level != "none":
            weight, moves = rated(moved)
            through = at_level(np.where(moves, weight * cost, style.dtype(0))) if point.kl != "k2" else 0
            cost, cost_slope = weight * cost, weight * cost_slope + through
        terms, slopes = terms + style.dtype(kl_coef) * cost, slopes + style.dtype(kl_coef) * cost_slope
    size = sizes(style, choices, mask, point.reduction, point.divisor, groups)
    return style.mean(mask, size, terms, slopes)


def by_torch(style, choices, point, logp, old_logp, ref_logp, advantages, groups, mask, low, high, kl_coef):
    """The same, the derivative by torch."""
    [logs], [old, worth, counts] = leaves(style, logp), tensors(style, old_logp, advantages, mask)
    ours, old = logs.masked_fill(~counts, 0), old.masked_fill(~counts, 0)

    def at_level(numbers):
        if point.level == "sequence":
            return numbers.masked_fill(~counts, 0).sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
        return numbers if point.level == "token" else 0 * numbers

    def rated(log_ratio):
        counted = limited(choices, at_level(log_ratio), torch)
        within(style, counted.detach().clamp(min=0))
        return counted.exp()

    held = ours - old
    if point.clip == "geometric":
        held = torch.where(worth > 0, held.clamp(max=high), torch.where(worth < 0, held.clamp(min=-low), held))
    ratio = rated(held)
    if point.level == "none":
        terms = -worth * ours
    elif point.clip == "weight":
        terms = -ratio.clamp(1 - low, 1 + high).detach() * worth * ours
    elif point.clip == "pessimistic":
        terms = torch.maximum(-worth * ratio, -worth * ratio.clamp(1 - low, 1 + high))
        if point.dual_clip is not None:
            terms = torch.where(worth < 0, torch.minimum(terms, -worth * point.dual_clip), terms)
    else:
        terms = -worth * ratio
    if kl_coef:
        terms = terms + kl_coef * penalty(style, choices, point, ours, ref_logp, mask, rated(ours - old))
    size = np.broadcast_to(sizes(style, choices, mask, point.reduction, point.divisor, groups), mask.shape)
    weighed = terms.expand(mask.shape).masked_fill(~counts, 0) / tensors(style, size)[0]
    return differentiated(weighed.sum(), logs)


def penalty(style, choices, point, ours, ref_logp, mask, ratio):
    """The KL term of each token, by torch."""
    [theirs] = tensors(style, np.where(mask, ref_logp, 0))
    log_ratio, most = ours - theirs, limit(choices["clamp"], point.kl)
    if point.kl == "k3":
        if most is None:
            within(style, (-log_ratio.detach()).clamp(min=0))
        estimate = torch.exp((-log_ratio).clamp(max=80)) - 1 + log_ratio
    else:
        estimate = log_ratio if point.kl == "k1" else log_ratio.square() / 2
    if most is not None:
        estimate = estimate.clamp(-most, most)
    if choices.get("kl_weight", "1") == "1" or point.level == "none":
        return estimate
    return (ratio.detach() if point.kl == "k2" else ratio) * estimate


NAMED = {
    "grpo_loss": ("token", "pessimistic", "mean of means"),
    "dr_grpo_loss": ("token", "pessimistic", "mean of sums over a fixed divisor"),
    "dapo_loss": ("token", "pessimistic", None),
    "cispo_loss": ("token", "weight", None),
    "gspo_loss": ("sequence", "pessimistic", "mean of means"),
    "luspo_loss": ("sequence", "pessimistic", "mean of sums"),
    "gmpo_loss": ("sequence", "geometric", "mean of means"),
}
"""Level, clip and reduction of the named losses; the reduction is a choice where none is named."""

WRITTEN = (("the derivative by hand", by_hand), ("by torch", by_torch))

for how, computed in WRITTEN:

    @way(how)
    def surrogate_loss(
        style,
        choices,
        logp,
        old_logp,
        ref_logp,
        advantages,
        groups,
        mask,
        clip_low,
        clip_high,
        kl_coef,
        ratio,
        clip,
        dual_clip,
        reduction,
        divisor,
        kl,
        computed=computed,
    ):
        point = Point(ratio, clip, reduction, dual_clip, divisor, kl)
        tables = logp, old_logp, ref_logp, advantages[:, None], groups, mask
        return computed(style, choices, point, *tables, clip_low, clip_high, kl_coef)

    @way(how, admitted=("PPO-16",))
    def ppo_loss(style, choices, logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip, computed=computed):
        point = Point("token", "pessimistic", choices["reduction"], dual_clip)
        tables = logp, old_logp, old_logp, style.kept(advantages, mask), None, mask
        return computed(style, choices, point, *tables, clip_low, clip_high, 0)


for (operation, axes), (how, computed) in product(NAMED.items(), WRITTEN):

    @way(how, operation)
    def named_loss(
        style,
        choices,
        logp,
        old_logp,
        ref_logp,
        advantages,
        groups,
        mask,
        clip_low,
        clip_high,
        kl_coef,
        length=1,
        axes=axes,
        computed=computed,
    ):
        level, clip, reduction = axes
        point = Point(level, clip, reduction or choices["reduction"], divisor=length)
        tables = logp, old_logp, ref_logp, advantages[:, None], groups, mask
        return computed(style, choices, point, *tables, clip_low, clip_high, kl_coef)
