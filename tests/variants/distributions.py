"""Entropy and Gaussian policies, written another way."""

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp, softmax, xlogy
from scipy.stats import norm

from .registry import variant


@variant("by logsumexp")
def entropy(logits, legal):
    possible = np.array(legal, dtype=bool) & (logits > -np.inf)
    rivals = np.where(possible, logits, -np.inf).astype(float)
    logp = np.where(possible, rivals - logsumexp(rivals, axis=1, keepdims=True), 0)
    policy = np.where(possible, np.exp(logp), 0)
    value = -(policy * logp).sum(axis=1)
    return value, -policy * (logp + value[:, None])


@variant("by softmax and xlogy", quick=True)
def entropy(logits, legal):
    policy = softmax(np.where(legal, logits, -np.inf), axis=1)
    value = -xlogy(policy, policy).sum(axis=1)
    return value, -(xlogy(policy, policy) + policy * value[:, None])


@variant("in float32 throughout, by autograd", admitted=("OPS-4",))
def entropy(logits, legal):
    logits = torch.tensor(np.array(logits), dtype=torch.float32).requires_grad_()
    legal = torch.tensor(np.array(legal)).bool() & (logits > -torch.inf)
    logp = logits.masked_fill(~legal, -torch.inf).log_softmax(-1)
    value = -(logp.exp() * logp.masked_fill(~legal, 0)).sum(-1)
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


@variant("by log_softmax, a row at a time")
def entropy(logits, legal):
    values, slopes = [], np.zeros(np.shape(logits))
    for row, allowed in enumerate(np.array(legal, dtype=bool) & (logits > -np.inf)):
        logp = log_softmax(np.asarray(logits, dtype=float)[row, allowed])
        values.append(float(-(np.exp(logp) * logp).sum()))
        slopes[row, allowed] = -np.exp(logp) * (logp + values[-1])
    return values, slopes


@variant("as the logarithm of the sum less the mean logit", admitted=("DIST-5",))
def entropy(logits, legal):
    possible = np.array(legal, dtype=bool) & (logits > -np.inf)
    rivals = np.where(possible, logits, -np.inf).astype(float)
    total = logsumexp(rivals, axis=1, keepdims=True)
    policy, finite = np.exp(rivals - total), np.where(possible, rivals, 0)
    value = total[:, 0] - (policy * finite).sum(axis=1)
    return value, np.where(possible, -policy * (finite - total + value[:, None]), 0)


# Gaussian policies


@variant("in variances", quick=True)
def gaussian_logp(actions, mean, log_std):
    variance = np.exp(2 * log_std)
    apart = actions - mean
    value = -0.5 * (apart**2 / variance + np.log(2 * np.pi * variance))
    return value.sum(axis=1), apart / variance, apart**2 / variance - 1


@variant("by scipy, an axis at a time")
def gaussian_logp(actions, mean, log_std):
    deviation = np.exp(log_std)
    value = sum(norm.logpdf(*columns) for columns in zip(actions.T, mean.T, deviation.T, strict=True))
    z = (actions - mean) * np.exp(-log_std)
    return value, z / deviation, (z - 1) * (z + 1)


@variant("in float32 throughout", admitted=("OPS-4",))
def gaussian_logp(actions, mean, log_std):
    mean, log_std = (torch.tensor(np.array(array, dtype=np.float32), requires_grad=True) for array in (mean, log_std))
    actions = torch.tensor(np.array(actions, dtype=np.float32))
    value = torch.distributions.Normal(mean, log_std.exp()).log_prob(actions).sum(-1)
    return value.detach(), *torch.autograd.grad(value.sum(), (mean, log_std))


@variant("of the determinant of the covariance", quick=True)
def gaussian_entropy(log_std):
    constant = log_std.shape[1] * (1 + np.log(2 * np.pi)) / 2
    return np.log(np.exp(log_std)).sum(axis=1) + constant, np.ones(log_std.shape)


@variant("in variances, as a trace, a distance and a determinant", quick=True)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    variance, reference = np.exp(2 * log_std), np.exp(2 * ref_log_std)
    ratio, apart = variance / reference, mean - ref_mean
    value = 0.5 * (ratio.sum(axis=1) + (apart**2 / reference).sum(axis=1) - mean.shape[1] - np.log(ratio).sum(axis=1))
    return value, apart / reference, ratio - 1


@variant("by hyperbolic cosines", quick=True)
def squashed_gaussian_logp(presquash, mean, log_std):
    z = (presquash - mean) / np.exp(log_std)
    cosines = np.logaddexp(presquash, -presquash) - np.log(2)
    value = norm.logpdf(z) - log_std + 2 * cosines
    return value.sum(axis=1), 2 * np.tanh(presquash) - z / np.exp(log_std)


@variant("as the difference, where that has digits")
def squashed_gaussian_logp(presquash, mean, log_std):
    z = (presquash - mean) / np.exp(log_std)
    squashed, far = np.tanh(presquash), np.abs(presquash)
    with np.errstate(divide="ignore"):
        stretch = np.where(far < 3, np.log(1 - squashed**2), 2 * (np.log(2) - far - np.log1p(np.exp(-2 * far))))
    return (norm.logpdf(z) - log_std - stretch).sum(axis=1), 2 * squashed - z / np.exp(log_std)


def between(of_the_action):
    """By hyperbolic cosines, with or without the width."""

    def bounded_gaussian_logp(presquash, mean, log_std, low, high):
        z = (presquash - mean) / np.exp(log_std)
        cosines = np.logaddexp(presquash, -presquash) - np.log(2)
        value = norm.logpdf(z) - log_std + 2 * cosines - of_the_action * (np.log(high - low) - np.log(2))
        return value.sum(axis=1), 2 * np.tanh(presquash) - z / np.exp(log_std)

    return bounded_gaussian_logp


variant("by hyperbolic cosines, of the action")(between(of_the_action=True))
variant("by hyperbolic cosines, of the squashed action", quick=True)(between(of_the_action=False))


@variant("by scipy, of tempered logits", quick=True)
def tempered_entropy(logits, temperature):
    logs = log_softmax(np.asarray(logits, dtype=float) / temperature, axis=1)
    value = -(np.exp(logs) * logs).sum(axis=1)
    return value, -np.exp(logs) * (logs + value[:, None]) / temperature
