"""Ways to keep statistics and to normalise by them."""

import numpy as np
import torch

from .catalogue import way
from .tensors import tensors, within_type


def chan(style, mean, variance, count, batch, less=0):
    """Moments merged by the distance of their means; the batch's variance is over so many rows fewer."""
    rows = style.dtype(len(batch))
    middle = style.total(batch, axis=0) / rows
    spread = style.total((batch - middle) ** 2, axis=0) / style.dtype(max(len(batch) - less, 1))
    total, apart = count + rows, middle - mean
    second = variance * count + spread * rows + apart * apart * (count * rows / total)
    return mean + apart * (rows / total), second / total, total


def welford(style, mean, variance, count, batch, less=0):
    """Moments moved by one row after the other; what a batch adds of its own variance, if it is over fewer, beside."""
    second = variance * count
    if less and len(batch) > 1:
        _, own, _ = chan(style, 0 * mean, 0 * variance, style.dtype(0), batch)
        second = second + own * style.dtype(len(batch)) / style.dtype(len(batch) - 1)
    for row in batch:
        count = count + style.dtype(1)
        before = row - mean
        mean = mean + before / count
        second = second + before * (row - mean)
    return mean, second / count, count


UPDATES = {"by the distance of the means": chan, "row by row": welford}

for how, update in UPDATES.items():

    @way(how)
    def running_moments(style, choices, mean, variance, count, batch, update=update):
        return update(style, mean, variance, count, batch, less=int(choices["spread"] == "ddof=1"))

    @way(f"step by step, {how}")
    def scaled_rewards(
        style, choices, rewards, terminated, truncated, gamma, mean, variance, count, eps, clip, update=update
    ):
        moments = np.full(1, mean, style.dtype), np.full(1, variance, style.dtype), style.dtype(count)
        ended, carried = terminated | truncated, np.zeros(len(rewards), style.dtype)
        scaled = np.zeros_like(rewards)
        for t in range(rewards.shape[1]):
            carried = style.dtype(gamma) * carried + rewards[:, t]
            moments = update(style, *moments, carried[:, None])
            scaled[:, t] = rewards[:, t] / divisor(style, choices, moments[1], eps)
            carried = np.where(ended[:, t], style.dtype(0), carried)
        return np.clip(scaled, -clip, clip)


@way("a mixture of old and new")
def fading_moments(style, choices, mean, square, weight, batch, beta):
    old, new, rows = style.dtype(beta), style.dtype(1) - style.dtype(beta), style.dtype(len(batch))
    first = old * mean + new * (style.total(batch, axis=0) / rows)
    return first, old * square + new * (style.total(batch * batch, axis=0) / rows), old * weight + new


@way("a step towards the new")
def fading_moments(style, choices, mean, square, weight, batch, beta):
    share, rows = style.dtype(1) - style.dtype(beta), style.dtype(len(batch))
    means, squares = style.total(batch, axis=0) / rows, style.total(batch * batch, axis=0) / rows
    return mean + share * (means - mean), square + share * (squares - square), weight + share * (1 - weight)


def divisor(style, choices, variance, eps):
    """What is divided by."""
    eps = style.dtype(eps)
    if choices["scale"] == "sqrt(var + eps)":
        return np.sqrt(variance + eps)
    return np.sqrt(variance) + eps if choices["scale"] == "std + eps" else np.maximum(np.sqrt(variance), eps)


@way("by NumPy")
def normalize_observations(style, choices, observations, mean, variance, eps, clip):
    return np.clip((observations - mean) / divisor(style, choices, variance, eps), -clip, clip)


@way("a product with reciprocals")
def normalize_observations(style, choices, observations, mean, variance, eps, clip):
    scale = 1 / divisor(style, choices, variance, eps)
    return np.minimum(np.maximum((observations - mean) * scale, -clip), clip)


@way("by the formulas")
def popart(style, choices, weights, bias, old_mean, old_std, new_mean, new_std):
    return weights * old_std / new_std, (old_std * bias + old_mean - new_mean) / new_std


@way("by the ratio of the deviations")
def popart(style, choices, weights, bias, old_mean, old_std, new_mean, new_std):
    ratio = old_std / new_std
    return weights * ratio, bias * ratio + (old_mean - new_mean) / new_std


@way("by log1p")
def symlog(style, choices, values):
    return np.copysign(np.log1p(abs(values)), values)


@way("by torch")
def symlog(style, choices, values):
    [numbers] = tensors(style, values)
    return (numbers.sign() * (numbers.abs() + 1).log()).numpy()


@way("by expm1")
def symexp(style, choices, values):
    return np.sign(values) * np.expm1(abs(values))


@way("less one")
def symexp(style, choices, values):
    within_type(style, values)
    return np.sign(values) * (style.exp(abs(values)).astype(style.dtype) - 1)


@way("by searching the bins")
def two_hot(style, choices, values, bins):
    inside = np.clip(values, bins[0], bins[-1])
    above = np.searchsorted(bins, inside)
    below = np.where(inside == bins[above], above, above - 1)
    if choices["gap"] == "gap":
        gap = np.where(above > below, bins[above] - bins[below], 1)
    else:
        gap = bins[above] - bins[below] + style.dtype(choices["gap"].removeprefix("gap + "))
    share = (bins[above] - inside) / gap
    shares, rows = np.zeros((len(values), len(bins)), style.dtype), np.arange(len(values))
    shares[rows, below] += share
    shares[rows, above] += 1 - share
    return shares


@way("by torch's bucketize")
def two_hot(style, choices, values, bins):
    numbers, edges = tensors(style, values, bins)
    inside = numbers.clamp(edges[0], edges[-1])
    below = (torch.bucketize(inside, edges, right=True) - 1).clamp(0, len(edges) - 2)
    gap = edges[below + 1] - edges[below]
    if choices["gap"] != "gap":
        gap = gap + (inside != edges[below]) * float(choices["gap"].removeprefix("gap + "))
    share = (edges[below + 1] - inside) / gap
    first = torch.nn.functional.one_hot(below, len(edges)) * share[:, None]
    second = torch.nn.functional.one_hot(below + 1, len(edges)) * (1 - share)[:, None]
    return (first + second).numpy()
