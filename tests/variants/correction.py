"""Weights of what another policy has said, written another way."""

import math

import numpy as np
import torch

from .language import tensors
from .ppo import flags
from .registry import variant

CLAMPS = {"as it is": math.inf, "clamped to 20": 20.0}


def weighed(logp, sampler_logp, mask, level, form, low, high, clamp="as it is"):
    """Weights as tensors, with a safety bound as in trainers."""
    logp, sampler_logp = tensors(torch.float64, logp, sampler_logp)
    mask = flags(mask)
    log_ratio = torch.where(mask, logp - sampler_logp, 0.0)
    if level != "token":
        log_ratio = log_ratio.sum(-1, keepdim=True).expand(mask.shape)
    if level == "geometric":
        log_ratio = log_ratio / mask.sum(-1, keepdim=True).clamp(min=1)
    weights = log_ratio.clamp(-CLAMPS[clamp], CLAMPS[clamp]).exp() * mask
    if form == "masked":
        return weights.masked_fill((weights < low) | (weights > high), 0.0)
    if form == "none":
        return weights
    return weights.clamp(min=low if form == "clipped" else None, max=high) * mask


def weighing(clamp):
    def importance_weights(logp, sampler_logp, mask, level, form, low, high):
        return weighed(logp, sampler_logp, mask, level, form, low, high, clamp)

    return importance_weights


for clamp in CLAMPS:
    variant(f"by tensors, {clamp}", quick=clamp != "as it is")(weighing(clamp))


@variant("a row at a time, in Python floats", quick=True)
def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high):
    weights = weighed(logp, sampler_logp, mask, level, form, low, high).numpy()
    mask = np.asarray(mask, dtype=bool)
    known = weights[mask].tolist() if level == "token" else [max(row) for row in weights[mask.any(axis=1)].tolist()]
    mean = math.fsum(known) / max(len(known), 1)
    return weights / mean if mean else weights


def correcting(rejected):
    """PPO's losses times weights, by autograd."""

    def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
        weights = weighed(old_logp, sampler_logp, mask, level, form, low, high)
        mask = flags(mask)
        logp, old_logp, advantages = tensors(torch.float64, logp, old_logp, advantages)
        logp = logp.requires_grad_()
        kept = mask & (weights > 0) if form == "masked" and rejected == "left out" else mask
        moved, worth = logp[kept] - old_logp[kept], advantages[kept]
        if moved.numel() and moved.max() > 700:
            raise NotImplementedError("a ratio that no float holds")
        ratio = moved.exp()
        losses = torch.maximum(-ratio * worth, -ratio.clamp(1 - clip_low, 1 + clip_high) * worth)
        loss = (weights[kept] * losses).sum() / max(int(kept.sum()), 1)
        return loss.item(), torch.autograd.grad(loss, logp)[0]

    return corrected_loss


for rejected in ("counted", "left out"):
    variant(f"weights times losses, rejected tokens {rejected}", quick=rejected == "left out")(correcting(rejected))


@variant("one over the sum of squared shares", quick=True)
def effective_sample_size(weights, mask):
    counted = np.asarray(weights, dtype=float)[np.asarray(mask, dtype=bool)]
    total = math.fsum(counted)
    return 1 / math.fsum((counted / total) ** 2) if total else 0.0
