"""Ways to compute losses of policies and of values, and how far a policy has moved."""

import numpy as np
import torch

from rlspec.spec.choices import number_in

from .catalogue import way
from .reductions import sizes
from .tensors import differentiated, leaves, tensors, within


def reduced(style, choices, mask, terms, *wrt):
    """Terms as a tensor, reduced, and their derivatives."""
    size = tensors(style, np.broadcast_to(sizes(style, choices, mask, choices["reduction"]), mask.shape))[0]
    [counts] = tensors(style, mask)
    return differentiated((terms.masked_fill(~counts, 0) / size).sum(), *wrt)


def factor_of(choices):
    """The number in front of a squared error."""
    return number_in("F", choices["factor"])


@way("the derivative by hand")
def policy_gradient_loss(style, choices, logp, advantages, mask):
    logp, advantages = style.kept(logp, mask), style.kept(advantages, mask)
    size = sizes(style, choices, mask, choices["reduction"])
    return style.mean(mask, size, -logp * advantages, -advantages)


@way("by torch")
def policy_gradient_loss(style, choices, logp, advantages, mask):
    [logs], [worth, counts] = leaves(style, logp), tensors(style, advantages, mask)
    terms = -worth.masked_fill(~counts, 0) * logs.masked_fill(~counts, 0)
    return reduced(style, choices, mask, terms, logs)


def squares(style, choices, values, old_values, returns, clip):
    """Squared errors and their derivatives, whatever is clipped."""
    error, factor = values - returns, style.dtype(factor_of(choices))
    if clip is None:
        flat = np.zeros(error.shape, bool)
    elif choices["clipping"] == "square at most clip":
        flat = error * error > clip
        return factor * np.minimum(error * error, clip), np.where(flat, style.dtype(0), 2 * factor * error)
    else:
        limited = old_values + np.clip(values - old_values, -clip, clip) - returns
        only = choices["clipping"] == "clipped only"
        flat = (abs(values - old_values) > clip) & (only | (limited**2 > error**2))
        error = np.where(flat, limited, error)
    return factor * error * error, np.where(flat, style.dtype(0), 2 * factor * error)


@way("the derivative by hand")
def value_loss(style, choices, values, old_values, returns, mask, clip):
    values, old_values, returns = (style.kept(table, mask) for table in (values, old_values, returns))
    terms, slopes = squares(style, choices, values, old_values, returns, clip)
    return style.mean(mask, sizes(style, choices, mask, choices["reduction"]), terms, slopes)


@way("by torch")
def value_loss(style, choices, values, old_values, returns, mask, clip):
    [worth], [old, target, counts] = leaves(style, values), tensors(style, old_values, returns, mask)
    value, old, target = (table.masked_fill(~counts, 0) for table in (worth, old, target))
    terms = (value - target) ** 2
    if clip is not None:
        clipped = (value.clamp(old - clip, old + clip) - target) ** 2
        terms = {
            "larger of both": torch.maximum(terms, clipped),
            "clipped only": clipped,
            "square at most clip": terms.clamp(max=clip),
        }[choices["clipping"]]
    return reduced(style, choices, mask, factor_of(choices) * terms, worth)


@way("the derivatives by hand")
def actor_critic_loss(style, choices, logp, values, entropies, returns, mask, value_coef, entropy_coef):
    logp, values, entropies, returns = (style.kept(table, mask) for table in (logp, values, entropies, returns))
    error, weight = values - returns, style.dtype(factor_of(choices)) * style.dtype(value_coef)
    terms = error * logp + weight * error * error - style.dtype(entropy_coef) * entropies
    slopes = error, 2 * weight * error, np.full_like(error, -entropy_coef)
    return style.mean(mask, sizes(style, choices, mask, choices["reduction"]), terms, *slopes)


@way("by torch")
def actor_critic_loss(style, choices, logp, values, entropies, returns, mask, value_coef, entropy_coef):
    inputs, [target, counts] = leaves(style, logp, values, entropies), tensors(style, returns, mask)
    logs, worth, bonus, target = (table.masked_fill(~counts, 0) for table in (*inputs, target))
    advantage = target - worth
    terms = -advantage.detach() * logs + value_coef * factor_of(choices) * advantage**2 - entropy_coef * bonus
    return reduced(style, choices, mask, terms, *inputs)


def moved_by(style, logp, old_logp, mask):
    """Logarithms of the ratios that count, in one row."""
    moved = style.selected(logp, mask) - style.selected(old_logp, mask)
    within(style, moved)
    return moved


@way("a mean of what the mask selects")
def approx_kl(style, choices, logp, old_logp, mask):
    moved = moved_by(style, logp, old_logp, mask)
    estimate = {
        "k1": -moved,
        "k2": moved * moved / 2,
        "k3": (np.expm1(moved) if style.exponential == "exp" else np.exp(moved) - 1) - moved,
    }
    return style.whole(estimate[choices["estimator"]]) / sizes(style, choices, mask, "token-mean")


@way("by counting")
def clip_fraction(style, choices, logp, old_logp, advantages, mask, clip_low, clip_high):
    moved, worth = moved_by(style, logp, old_logp, mask), style.selected(advantages, mask)
    ratio = style.exp(moved).astype(style.dtype)
    below, above = ratio < 1 - style.dtype(clip_low), ratio > 1 + style.dtype(clip_high)
    if choices["counts"] == "objectives limited":
        below, above = below & (worth < 0), above & (worth > 0)
    return np.count_nonzero(below | above) / sizes(style, choices, mask, "token-mean")


@way("in logarithms")
def clip_fraction(style, choices, logp, old_logp, advantages, mask, clip_low, clip_high):
    moved, worth = moved_by(style, logp, old_logp, mask), style.selected(advantages, mask)
    below, above = moved < np.log1p(-style.dtype(clip_low)), moved > np.log1p(style.dtype(clip_high))
    if choices["counts"] == "objectives limited":
        below, above = below & (worth < 0), above & (worth > 0)
    return style.whole((below | above).astype(style.dtype)) / sizes(style, choices, mask, "token-mean")
