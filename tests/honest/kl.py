"""Ways to estimate a divergence and to follow it."""

import numpy as np
import torch

from rlspec.spec.choices import number_in

from .catalogue import way
from .losses import reduced
from .reductions import sizes
from .tensors import leaves, tensors, within

CLAMPED = {"k3 at most C": ("k3",), "k2 and k3 at most C": ("k2", "k3"), "within C": ("k1", "k2", "k3")}
"""Which estimates a clamp is about."""


def limit(clamp, estimator):
    """The most that an estimate may be; None without a limit."""
    for shape, estimators in CLAMPED.items():
        if estimator in estimators and (most := number_in(shape, clamp)) is not None:
            return most
    return None


def estimated(style, log_ratio, estimator):
    """An estimate and its derivative in the log-ratio."""
    if estimator == "k1":
        return log_ratio, np.ones_like(log_ratio)
    if estimator == "k2":
        return log_ratio * log_ratio / 2, log_ratio
    rise = np.exp(-log_ratio) - 1 if style.exponential == "exp" else np.expm1(-log_ratio)
    return rise + log_ratio, -rise


def with_limit(style, choices, log_ratio, estimator):
    """The same, no further from 0 than the clamp says, and flat where it is there."""
    most = limit(choices["clamp"], estimator)
    if estimator == "k3" and most is None:
        within(style, np.maximum(-log_ratio, 0))
    elif estimator == "k3":
        far = -log_ratio > (80 if style.precision == "float32" else 700)
        log_ratio = np.where(far, style.dtype(-80), log_ratio)
    estimate, slope = estimated(style, log_ratio, estimator)
    if most is None:
        return estimate, slope
    return np.clip(estimate, -most, most), np.where(abs(estimate) > most, style.dtype(0), slope)


@way("by NumPy")
def kl_estimate(style, choices, logp, ref_logp, estimator):
    return with_limit(style, choices, logp - ref_logp, estimator)[0]


@way("by tensors")
def kl_estimate(style, choices, logp, ref_logp, estimator):
    ours, theirs = tensors(style, logp, ref_logp)
    behind = theirs - ours
    most = limit(choices["clamp"], estimator)
    if most is None and estimator == "k3":
        within(style, np.maximum(behind.numpy(), 0))
    estimate = {"k1": -behind, "k2": 0.5 * behind.square(), "k3": behind.exp() - 1 - behind}[estimator]
    if most is None:
        return estimate.numpy()
    return estimate.clamp(-most, most).numpy()


@way("the derivative by hand", admitted=("KL-25",))
def kl_loss(style, choices, logp, ref_logp, old_logp, mask, estimator):
    logp, ref_logp, old_logp = (style.kept(table, mask) for table in (logp, ref_logp, old_logp))
    log_ratio, moved = logp - ref_logp, logp - old_logp
    within(style, log_ratio if estimator == "k3" else 0, moved)
    estimate, slope = with_limit(style, choices, log_ratio, estimator)
    ratio, led = style.exp(moved).astype(style.dtype), leading(choices, log_ratio, estimator)
    terms, slopes = {
        "plain": (estimate, slope),
        "importance weighted": (ratio * estimate, ratio * (slope if estimator == "k2" else slope + estimate)),
        "straight through": (estimate, led),
        "weighted straight through": (estimate, ratio * led),
    }[choices["form"]]
    return style.mean(mask, sizes(style, choices, mask, choices["reduction"]), terms, slopes)


def leading(choices, log_ratio, estimator):
    """The derivative of k2, which others are led by."""
    return log_ratio


@way("by torch", admitted=("KL-25",))
def kl_loss(style, choices, logp, ref_logp, old_logp, mask, estimator):
    [logs], [theirs, old, counts] = leaves(style, logp), tensors(style, ref_logp, old_logp, mask)
    ours, theirs, old = (table.masked_fill(~counts, 0) for table in (logs, theirs, old))
    log_ratio, ratio = ours - theirs, torch.exp(ours - old)
    within(style, log_ratio.detach() if estimator == "k3" else 0, (ours - old).detach())
    k2 = log_ratio.square() / 2
    estimate = {"k1": log_ratio, "k2": k2, "k3": torch.exp(-log_ratio) - 1 + log_ratio}[estimator]
    if (most := limit(choices["clamp"], estimator)) is not None:
        estimate = estimate.clamp(-most, most)
    if choices["form"] == "importance weighted":
        terms = (ratio.detach() if estimator == "k2" else ratio) * estimate
    elif choices["form"] == "plain":
        terms = estimate
    else:
        led = k2 * ratio.detach() if choices["form"] == "weighted straight through" else k2
        led = log_ratio * log_ratio.detach() * (ratio.detach() if led is not k2 else 1)
        terms = led - led.detach() + estimate.detach()
    return reduced(style, choices, mask, terms, logs)
