"""Advantages, written another way."""

from itertools import product

import numpy as np
import torch
from scipy.signal import lfilter

from .registry import VARIANTS, variant
from .returns import ahead, episodes, scan


def deltas(rewards, values, next_values, terminated, gamma):
    return ahead(rewards, next_values, terminated, gamma) - values


@variant("in place, a column at a time")
def td_error(rewards, values, next_values, terminated, gamma):
    errors = np.empty(rewards.shape)
    for t in range(rewards.shape[1]):
        bootstrap = next_values[:, t].copy()
        bootstrap[terminated[:, t]] = 0
        errors[:, t] = gamma * bootstrap - (values[:, t] - rewards[:, t])
    return errors


@variant("in float32 throughout", admitted=("OPS-4",))
def td_error(rewards, values, next_values, terminated, gamma):
    rewards, values, next_values = (np.float32(array) for array in (rewards, values, next_values))
    return rewards + np.float32(gamma) * np.where(terminated, np.float32(0), next_values) - values


@variant("a sequence at a time, as in Stable Baselines")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = np.zeros(rewards.shape)
    for row in range(len(rewards)):
        last = 0.0
        for t in reversed(range(rewards.shape[1])):
            bootstrap = 0.0 if terminated[row, t] else float(next_values[row, t])
            delta = float(rewards[row, t]) + gamma * bootstrap - float(values[row, t])
            last = delta if terminated[row, t] or truncated[row, t] else delta + gamma * lam * last
            advantages[row, t] = last
    return advantages


@variant("by scipy.signal.lfilter on each episode", quick=True)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = deltas(rewards, values, next_values, terminated, gamma)
    for row, start, stop in episodes(terminated | truncated):
        advantages[row, start:stop] = lfilter([1], [1, -gamma * lam], advantages[row, start:stop][::-1])[::-1]
    return advantages


@variant("by an associative scan")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    factors = np.where(terminated | truncated, 0, gamma * lam)
    return scan(deltas(rewards, values, next_values, terminated, gamma), factors)


@variant("by cumulative sums divided by powers of gamma lambda")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    if gamma * lam < 0.25:
        raise NotImplementedError("its powers vanish")
    advantages = deltas(rewards, values, next_values, terminated, gamma)
    for row, start, stop in episodes(terminated | truncated):
        powers = (gamma * lam) ** np.arange(stop - start)
        advantages[row, start:stop] = np.cumsum((advantages[row, start:stop] * powers)[::-1])[::-1] / powers
    return advantages


@variant("as a banded linear system a row")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    errors = deltas(rewards, values, next_values, terminated, gamma)
    links = np.where(terminated | truncated, 0, gamma * lam)[:, :-1]
    systems = [np.eye(errors.shape[1]) - np.diag(row, k=1) for row in links]
    return np.stack([np.linalg.solve(matrix, row) for matrix, row in zip(systems, errors, strict=True)])


@variant("as the lambda-return minus the value")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    scanned = next(v.implementation for v in VARIANTS if str(v) == "lambda_return as an associative scan")
    return scanned(rewards, next_values, terminated, truncated, gamma, lam) - values


@variant("for one row, under vmap")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    numbers = (torch.tensor(np.array(array)).double() for array in (rewards, values, next_values))
    flags = (torch.tensor(np.array(array)) for array in (terminated, truncated))

    def one(rewards, values, next_values, terminated, truncated):
        advantages = [torch.zeros((), dtype=torch.float64)]
        for t in reversed(range(len(rewards))):
            delta = rewards[t] + gamma * torch.where(terminated[t], 0, next_values[t]) - values[t]
            ended = terminated[t] | truncated[t]
            advantages.append(delta + gamma * lam * torch.where(ended, 0, advantages[-1]))
        return torch.stack(advantages[:0:-1])

    return torch.func.vmap(one)(*numbers, *flags)


@variant("in long doubles")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    wide = (array.astype(np.longdouble) for array in (rewards, values, next_values))
    advantages = deltas(*wide, terminated, np.longdouble(gamma))
    for t in reversed(range(rewards.shape[1] - 1)):
        goes_on = ~(terminated | truncated)[:, t]
        advantages[goes_on, t] += np.longdouble(gamma) * np.longdouble(lam) * advantages[goes_on, t + 1]
    return advantages.astype(float)


@variant("in float32 throughout, as a tensor", admitted=("OPS-4",))
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    rewards, values, next_values = (
        torch.tensor(np.array(array), dtype=torch.float32) for array in (rewards, values, next_values)
    )
    terminated, truncated = (torch.tensor(np.array(array)) for array in (terminated, truncated))
    errors = rewards + gamma * next_values.masked_fill(terminated, 0) - values
    advantages = torch.zeros_like(errors)
    carried = torch.zeros(len(errors))
    for t in reversed(range(errors.shape[1])):
        carried = errors[:, t] + gamma * lam * carried.masked_fill(terminated[:, t] | truncated[:, t], 0)
        advantages[:, t] = carried
    return advantages


EPSILONS = {
    "std + 1e-8": lambda std: std + 1e-8,
    "std + 1e-6": lambda std: std + 1e-6,
    "std + 1e-5": lambda std: std + 1e-5,
    "std": lambda std: std,
    "max(std, 1e-5)": lambda std: max(std, 1e-5),
    "max(std, 1e-4)": lambda std: max(std, 1e-4),
    "sqrt(var + 1e-8)": lambda std: np.sqrt(std**2 + 1e-8),
}


def normalizing(ddof, divisor, one):
    """NumPy's own mean and standard deviation of what counts."""

    def normalize_advantages(advantages, mask):
        normalized, counted = np.zeros(advantages.shape), advantages[mask].astype(float)
        if len(counted) == 1 and one == "unchanged":
            normalized[mask] = counted
        elif len(counted) > 1 and np.ptp(counted) > 0:
            normalized[mask] = (counted - counted.mean()) / divisor(counted.std(ddof=ddof))
        return normalized

    return normalize_advantages


for ddof, (name, divisor), one in product((0, 1), EPSILONS.items(), ("zero", "unchanged")):
    quick = (ddof, name, one) == (1, "sqrt(var + 1e-8)", "unchanged")
    how = f"by NumPy, ddof={ddof}, {name}, one: {one}"
    variant(how, quick=quick)(normalizing(ddof, divisor, one))


@variant("by masked sums")
def normalize_advantages(advantages, mask):
    count = max(mask.sum(), 1)
    clean = np.where(mask, advantages, 0)
    if count < 2 or np.ptp(advantages[mask]) == 0:
        return np.zeros(advantages.shape)
    centred = np.where(mask, clean - clean.sum() / count, 0)
    return centred / (np.sqrt((centred**2).sum() / count) + 1e-8)


@variant("in float32 throughout, as a tensor", admitted=("OPS-4",))
def normalize_advantages(advantages, mask):
    advantages, mask = torch.tensor(np.array(advantages), dtype=torch.float32), torch.tensor(np.array(mask))
    counted = advantages[mask]
    normalized = torch.zeros_like(advantages)
    if len(counted) > 1 and counted.min() < counted.max():
        normalized[mask] = (counted - counted.mean()) / (counted.std() + 1e-8)
    return normalized


def off_policy(advantage, dtype, policy_clip=None):
    """V-trace a column at a time; the advantages' ratio may have a clip of its own."""

    def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
        rewards, values, next_values, log_ratio = (
            np.asarray(array, dtype) for array in (rewards, values, next_values, log_ratio)
        )
        gamma, lam = dtype(gamma), dtype(lam)
        rho = np.exp(np.minimum(log_ratio, dtype(np.log(rho_clip))))
        c = np.exp(np.minimum(log_ratio, dtype(np.log(c_clip))))
        weights = np.exp(np.minimum(log_ratio, dtype(np.log(policy_clip or rho_clip))))
        safe = np.where(terminated, dtype(0), next_values)
        last = terminated | truncated
        last[:, -1] = True
        targets, advantages, later = values.copy(), np.zeros_like(values), np.zeros(len(values), dtype)
        for t in reversed(range(values.shape[1])):
            later = np.where(last[:, t], dtype(0), later)
            following = targets[:, min(t + 1, values.shape[1] - 1)]
            weight = lam if advantage == "mixed" else dtype(1)
            ahead = np.where(last[:, t], safe[:, t], (1 - weight) * safe[:, t] + weight * following)
            delta = rewards[:, t] + gamma * safe[:, t] - values[:, t]
            later = rho[:, t] * delta + gamma * lam * c[:, t] * later
            targets[:, t] = values[:, t] + later
            advantages[:, t] = weights[:, t] * (rewards[:, t] + gamma * ahead - values[:, t])
        return targets, advantages

    return vtrace


for advantage in ("paper", "mixed"):
    variant(f"a column at a time, {advantage}", quick=advantage == "paper")(off_policy(advantage, np.float64))
    variant(f"in float32 throughout, {advantage}", admitted=("OPS-4",))(off_policy(advantage, np.float32))
    variant(f"with the advantages' ratio clipped at 1, {advantage}")(off_policy(advantage, np.float64, 1.0))
