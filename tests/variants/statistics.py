"""Running statistics and what is normalised by them, written another way."""

import numpy as np
import torch

from .registry import variant


@variant("by Chan's formula, as most programs have it", quick=True)
def running_moments(mean, variance, count, batch):
    rows = batch.shape[0]
    apart, total = batch.mean(axis=0) - mean, count + rows
    second = variance * count + batch.var(axis=0) * rows + np.square(apart) * count * rows / total
    return mean + apart * rows / total, second / total, total


@variant("by torch's variance, as rl_games and skrl have it, of more than one row", quick=True)
def running_moments(mean, variance, count, batch):
    if len(batch) == 1:
        raise NotImplementedError("one row has no variance")
    rows, known, spread = (torch.tensor(np.array(array, dtype=float)) for array in (batch, mean, variance))
    delta, total = rows.mean(dim=0) - known, count + len(rows)
    second = spread * count + rows.var(dim=0) * len(rows) + delta**2 * count * len(rows) / total
    return known + delta * len(rows) / total, second / total, total


@variant("by squares less squares", admitted=("STAT-3",))
def running_moments(mean, variance, count, batch):
    total = count + len(batch)
    first = (count * mean + batch.sum(axis=0)) / total
    second = (count * (variance + mean**2) + (batch**2).sum(axis=0)) / total
    return first, second - first**2, total


@variant("in place, as torch buffers are updated", quick=True)
def fading_moments(mean, square, weight, batch, beta):
    rows = torch.tensor(np.array(batch, dtype=float))
    first, second = (torch.tensor(np.array(array, dtype=float)) for array in (mean, square))
    first.mul_(beta).add_(rows.mean(dim=0) * (1.0 - beta))
    second.mul_(beta).add_((rows**2).mean(dim=0) * (1.0 - beta))
    return first, second, weight * beta + (1.0 - beta)


@variant("by torch, beside the root", quick=True)
def normalize_observations(observations, mean, variance, eps, clip):
    observations, mean, variance = (torch.tensor(np.array(a, dtype=float)) for a in (observations, mean, variance))
    return ((observations - mean) / (variance.sqrt() + eps)).clamp(-clip, clip)


@variant("with a least deviation", quick=True)
def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    carried, columns = np.zeros(len(rewards)), []
    for t in range(rewards.shape[1]):
        carried = carried * gamma + rewards[:, t]
        rows = len(carried)
        apart, total = carried.mean() - mean, count + rows
        second = variance * count + carried.var() * rows + apart**2 * count * rows / total
        mean, variance, count = mean + apart * rows / total, second / total, total
        columns.append(np.clip(rewards[:, t] / max(np.sqrt(variance), eps), -clip, clip))
        carried = carried * (1 - np.logical_or(terminated[:, t], truncated[:, t]))
    return np.stack(columns, axis=1)


@variant("by way of the outputs", quick=True)
def popart(weights, bias, old_mean, old_std, new_mean, new_std):
    level = old_std * bias + old_mean
    return [float(weight) * old_std / new_std for weight in weights], (level - new_mean) / new_std


@variant("by cases", quick=True)
def symlog(values):
    return np.where(values < 0, -np.log1p(np.abs(values)), np.log1p(np.abs(values)))


@variant("by cases", quick=True)
def symexp(values):
    return [np.expm1(x) if x > 0 else -np.expm1(-x) for x in np.asarray(values, dtype=float)]


@variant("with a guard, between the bins below and above, which are one on a bin", quick=True)
def two_hot(values, bins):
    inside = np.clip(np.asarray(values, dtype=float), bins[0], bins[-1])
    below, above = np.searchsorted(bins, inside, side="right") - 1, np.searchsorted(bins, inside)
    lower = (bins[above] - inside) / (bins[above] - bins[below] + 1e-5)
    eye = np.eye(len(bins))
    return eye[below] * lower[:, None] + eye[above] * (1 - lower)[:, None]


@variant("by digitize", quick=True)
def two_hot(values, bins):
    inside = np.clip(np.asarray(values, dtype=float), bins[0], bins[-1])
    below = np.clip(np.digitize(inside, bins) - 1, 0, len(bins) - 2)
    upper = (inside - bins[below]) / (bins[below + 1] - bins[below])
    eye = np.eye(len(bins))
    return eye[below] * (1 - upper)[:, None] + eye[below + 1] * upper[:, None]
