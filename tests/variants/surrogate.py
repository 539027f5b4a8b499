"""The surrogate loss along its axes, written another way."""

import math
from collections import defaultdict

import numpy as np

from .registry import variant


@variant("a row at a time, in Python floats, the derivative by hand", quick=True)
def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    mask = np.asarray(mask, dtype=bool)
    counts, of_group = mask.sum(axis=1).tolist(), defaultdict(int)
    for name, count in zip(groups.tolist(), counts, strict=True):
        of_group[name] += count
    total, slopes = [], np.zeros(mask.shape)
    for row in np.flatnonzero(mask.any(axis=1)).tolist():
        weight = (
            1
            / {
                "token-mean": sum(counts),
                "mean of means": len(mask) * counts[row],
                "mean of sums": len(mask),
                "sum": 1,
                "fixed divisor": divisor,
                "mean of sums over a fixed divisor": len(mask) * divisor,
                "mean of group token-means": len(of_group) * of_group[groups.tolist()[row]],
            }[reduction]
        )
        new, old, ref = (table[row, mask[row]].astype(float).tolist() for table in (logp, old_logp, ref_logp))
        worth, places = float(advantages[row]), np.flatnonzero(mask[row]).tolist()
        for place, x, (gain, slope) in zip(
            places,
            zip(new, ref, strict=True),
            gains_of(new, old, worth, ratio, clip, clip_low, clip_high, dual_clip),
            strict=True,
        ):
            cost, steeper = price(x[0] - x[1], kl) if kl_coef else (0.0, 0.0)
            total.append(weight * (kl_coef * cost - gain))
            slopes[row, place] = weight * (kl_coef * steeper - slope)
    return math.fsum(total), slopes


def gains_of(new, old, worth, ratio, clip, low, high, dual):
    """Each token's surrogate and its derivative."""
    if ratio == "none":
        return [(worth * logp, worth) for logp in new]
    far = [x - y for x, y in zip(new, old, strict=True)]
    held = [clip == "geometric" and (x > high if worth > 0 else x < -low and worth < 0) for x in far]
    near = [(high if worth > 0 else -low) if stuck else x for x, stuck in zip(far, held, strict=True)]
    if ratio == "sequence":
        near = [math.fsum(near) / len(near)] * len(near)
    if max(near) > 700:
        raise NotImplementedError("a ratio that no float holds")
    found = []
    for logp, x, stuck in zip(new, near, held, strict=True):
        r = math.exp(x)
        if clip == "weight":
            bounded = min(max(r, 1 - low), 1 + high)
            found.append((bounded * worth * logp, bounded * worth))
            continue
        least, most = -math.inf, math.inf
        if clip == "pessimistic":
            least, most = (-math.inf, 1 + high) if worth >= 0 else (1 - low, dual or math.inf)
        kept = min(max(r, least), most)
        found.append((kept * worth, r * worth if kept == r and not stuck else 0.0))
    return found


def price(x, kl):
    """The estimate of a token's log-ratio, and its derivative."""
    if kl == "k3":
        return math.expm1(-x) + x, -math.expm1(-x)
    return (x, 1.0) if kl == "k1" else (x * x / 2, x)
