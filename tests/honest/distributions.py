"""Ways to compute entropies, divergences and densities."""

import numpy as np
import torch

from .catalogue import way
from .language import log_shares
from .tensors import differentiated, leaves, tensors


@way("probabilities times their logarithms, the derivative by hand")
def entropy(style, choices, logits, legal):
    possible = legal & (logits > -np.inf)
    logs = log_shares(style, np.where(possible, logits, -np.inf).astype(style.dtype))
    policy, logs = np.where(possible, np.exp(logs), 0), np.where(possible, logs, 0)
    value = -style.total(policy * logs)
    return value, -policy * (logs + value[:, None])


@way("the logarithm of a sum less a mean, shifted")
def entropy(style, choices, logits, legal):
    possible = legal & (logits > -np.inf)
    most = np.where(possible, logits, -np.inf).max(axis=1, keepdims=True)
    shifted = style.kept(np.where(possible, logits, 0).astype(style.dtype) - most.astype(style.dtype), possible)
    weights = style.kept(style.exp(shifted), possible)
    total = style.total(weights)
    policy = weights / total[:, None]
    value = np.log(total) - style.total(policy * shifted)
    return value, policy * (np.log(total)[:, None] - shifted - value[:, None])


@way("the logarithm of a sum less a mean of logits as they are", admitted=("DIST-5",))
def entropy(style, choices, logits, legal):
    possible = legal & (logits > -np.inf)
    scores = np.where(possible, logits, style.dtype(0)).astype(style.dtype)
    log_total = np.logaddexp.reduce(np.where(possible, scores, -np.inf).astype(style.dtype), axis=1)
    policy = style.kept(style.exp(np.where(possible, scores - log_total[:, None], style.dtype(0))), possible)
    value = log_total - style.total(policy * scores)
    return value, -policy * (scores - log_total[:, None] + value[:, None])


@way("a row at a time, over what is possible")
def entropy(style, choices, logits, legal):
    values, slopes = np.zeros(len(logits), style.dtype), np.zeros(logits.shape, style.dtype)
    for row, allowed in enumerate(legal & (logits > -np.inf)):
        logs = log_shares(style, logits[row, allowed])
        values[row] = style.total(-np.exp(logs) * logs)
        slopes[row, allowed] = -np.exp(logs) * (logs + values[row])
    return values, slopes


@way("by torch")
def entropy(style, choices, logits, legal):
    [scores] = leaves(style, logits)
    [possible] = tensors(style, legal & (logits > -np.inf))
    logs = scores.masked_fill(~possible, -torch.inf).log_softmax(-1)
    return differentiated(-(logs.exp() * logs.masked_fill(~possible, 0)).sum(-1), scores)


@way("in units of the deviation")
def gaussian_logp(style, choices, actions, mean, log_std):
    z = (actions - mean) * np.exp(-log_std)
    value = style.total(-z * z / 2 - log_std - style.dtype(np.log(2 * np.pi) / 2))
    return value, z * np.exp(-log_std), z * z - 1


@way("in variances")
def gaussian_logp(style, choices, actions, mean, log_std):
    variance, apart = np.exp(2 * log_std), actions - mean
    terms = -(apart * apart / variance + np.log(style.dtype(2 * np.pi) * variance)) / 2
    return style.total(terms), apart / variance, apart * apart / variance - 1


@way("by torch's normal distribution")
def gaussian_logp(style, choices, actions, mean, log_std):
    [said] = tensors(style, actions)
    centre, log_deviation = leaves(style, mean, log_std)
    value = torch.distributions.Normal(centre, log_deviation.exp()).log_prob(said).sum(-1)
    return differentiated(value, centre, log_deviation)


@way("a sum of logarithms and a constant")
def gaussian_entropy(style, choices, log_std):
    constant = style.dtype(log_std.shape[1] * (1 + np.log(2 * np.pi)) / 2)
    return style.total(log_std) + constant, np.ones_like(log_std)


@way("by torch's normal distribution")
def gaussian_entropy(style, choices, log_std):
    [log_deviation] = leaves(style, log_std)
    normal = torch.distributions.Normal(torch.zeros_like(log_deviation), log_deviation.exp())
    return differentiated(normal.entropy().sum(-1), log_deviation)


@way("an axis at a time, in variances")
def gaussian_kl(style, choices, mean, log_std, ref_mean, ref_log_std):
    ratio, apart = np.exp(2 * (log_std - ref_log_std)), (mean - ref_mean) * np.exp(-ref_log_std)
    terms = (ratio - 1) / 2 - (log_std - ref_log_std) + apart * apart / 2
    return style.total(terms), apart * np.exp(-ref_log_std), ratio - 1


@way("by torch, in units of the reference")
def gaussian_kl(style, choices, mean, log_std, ref_mean, ref_log_std):
    centre, log_deviation = leaves(style, mean, log_std)
    ref_centre, ref_log_deviation = tensors(style, ref_mean, ref_log_std)
    gap = log_deviation - ref_log_deviation
    squares = ((centre - ref_centre) * torch.exp(-ref_log_deviation)).square()
    return differentiated((0.5 * (torch.exp(2 * gap) + squares - 1) - gap).sum(-1), centre, log_deviation)


def squashed_by_softplus(style, presquash, mean, log_std):
    """The log-density of tanh(presquash), and its derivative."""
    z = (presquash - mean) * np.exp(-log_std)
    log_slope = 2 * (style.dtype(np.log(2)) - presquash - style.log1pexp(-2 * presquash))
    value = style.total(-z * z / 2 - log_std - style.dtype(np.log(2 * np.pi) / 2) - log_slope)
    return value, 2 * np.tanh(presquash) - z * np.exp(-log_std)


@way("a density and a stretch by softplus")
def squashed_gaussian_logp(style, choices, presquash, mean, log_std):
    return squashed_by_softplus(style, presquash, mean, log_std)


@way("by torch")
def squashed_gaussian_logp(style, choices, presquash, mean, log_std):
    [said] = leaves(style, presquash)
    centre, log_deviation = tensors(style, mean, log_std)
    density = torch.distributions.Normal(centre, log_deviation.exp()).log_prob(said)
    slope = 2 * (np.log(2) - said - torch.logaddexp(-2 * said, torch.zeros_like(said)))
    return differentiated((density - slope).sum(-1), said)


@way("a mean of differences of logarithms, the derivative by hand")
def kl_divergence(style, choices, logits, ref_logits):
    ours, theirs = log_shares(style, logits), log_shares(style, ref_logits)
    policy = np.exp(ours)
    gap = np.where(policy > 0, ours - theirs, style.dtype(0))
    value = style.total(policy * gap)
    return value, policy * (gap - value[:, None])


@way("with the Jacobian of the softmax")
def kl_divergence(style, choices, logits, ref_logits):
    ours, theirs = log_shares(style, logits), log_shares(style, ref_logits)
    policy = np.exp(ours)
    gap = np.where(policy > 0, ours - theirs, style.dtype(0))
    outer = np.einsum("ba,bc->bac", policy, policy)
    jacobian = np.eye(policy.shape[1], dtype=style.dtype) * policy[:, None] - outer
    return style.total(policy * gap), style.total(jacobian * gap[:, None, :])


def log_widths(style, choices, low, high):
    """What the density of an action is less than that of tanh(u), by the convention."""
    if choices["density"] == "of the squashed action":
        return style.dtype(0)
    return style.total(np.log(((high - low) / 2)[None]))[0]


@way("a density, a stretch by softplus, and a width")
def bounded_gaussian_logp(style, choices, presquash, mean, log_std, low, high):
    value, slopes = squashed_by_softplus(style, presquash, mean, log_std)
    return value - log_widths(style, choices, low, high), slopes


@way("by torch")
def bounded_gaussian_logp(style, choices, presquash, mean, log_std, low, high):
    [said] = leaves(style, presquash)
    centre, log_deviation = tensors(style, mean, log_std)
    density = torch.distributions.Normal(centre, log_deviation.exp()).log_prob(said)
    slope = 2 * (np.log(2) - said - torch.logaddexp(-2 * said, torch.zeros_like(said)))
    return differentiated((density - slope).sum(-1) - float(log_widths(style, choices, low, high)), said)


@way("probabilities times their logarithms, the derivative by hand")
def tempered_entropy(style, choices, logits, temperature):
    logs = log_shares(style, (logits / style.dtype(temperature)).astype(style.dtype))
    policy = np.exp(logs)
    value = -style.total(policy * logs)
    return value, -policy * (logs + value[:, None]) / style.dtype(temperature)


@way("by torch")
def tempered_entropy(style, choices, logits, temperature):
    [scores] = leaves(style, logits)
    logs = (scores / float(temperature)).log_softmax(-1)
    return differentiated(-(logs.exp() * logs).sum(-1), scores)
