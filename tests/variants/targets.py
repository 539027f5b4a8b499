"""Targets of values, written another way."""

import numpy as np
import torch

from .registry import variant


def by_product(rewards, following, terminated, gamma):
    """A reward and what follows, times a mask, as most programs have it."""
    goes_on = 1 - terminated.astype(float)
    with np.errstate(invalid="ignore"):
        return rewards + goes_on * gamma * following


MULTIPLIED = {"admitted": ("TGT-8",)}


@variant("by torch's clamp, step by step", quick=True)
def munchausen_rewards(rewards, logp, alpha, temperature, lowest):
    found = torch.tensor(np.array(rewards, dtype=float))
    logs = torch.tensor(np.array(logp, dtype=float))
    for t in range(found.shape[1]):
        scaled = logs[:, t] * temperature
        found[:, t] += alpha * (scaled if lowest is None else torch.clamp(scaled, min=lowest, max=0))
    return found


@variant("by a product with indicators, masked by multiplication", quick=True, **MULTIPLIED)
def sarsa_target(rewards, next_action_values, next_actions, terminated, truncated, gamma):
    indicators = np.eye(next_action_values.shape[1])[next_actions.astype(int)]
    with np.errstate(invalid="ignore"):
        return by_product(rewards, (next_action_values * indicators).sum(axis=1), terminated, gamma)


@variant("by einsum, masked by multiplication", quick=True, **MULTIPLIED)
def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    with np.errstate(invalid="ignore"):
        following = np.einsum("ba,ba->b", next_action_values, next_policy)
    return by_product(rewards, following, terminated, gamma)


@variant("by torch's max, masked by multiplication", quick=True, **MULTIPLIED)
def q_target(rewards, next_action_values, terminated, truncated, gamma):
    following, _ = torch.tensor(np.array(next_action_values, dtype=float)).max(dim=1)
    return by_product(np.asarray(rewards, dtype=float), following.numpy(), terminated, gamma)


@variant("in float32 throughout, as a tensor", admitted=("OPS-4", "TGT-8"))
def q_target(rewards, next_action_values, terminated, truncated, gamma):
    rewards, values = (torch.tensor(np.array(array, dtype=np.float32)) for array in (rewards, next_action_values))
    going = 1 - torch.tensor(np.array(terminated)).float()
    return rewards + going * gamma * values.max(dim=1).values


@variant("by gather, masked by multiplication", quick=True, **MULTIPLIED)
def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    chosen = np.nan_to_num(next_online_values).argmax(axis=1)
    following = np.take_along_axis(next_target_values, chosen[:, None], axis=1)[:, 0]
    return by_product(rewards, following, terminated, gamma)


@variant("by the minimum of a stack, masked by multiplication", quick=True, **MULTIPLIED)
def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    return by_product(rewards, np.stack([next_first, next_second]).min(axis=0), terminated, gamma)


@variant("by the minimum of a stack, masked by multiplication", quick=True, **MULTIPLIED)
def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    with np.errstate(invalid="ignore"):
        following = np.stack([next_first, next_second]).min(axis=0) - alpha * next_logp
    return by_product(rewards, following, terminated, gamma)


@variant("by torch's clamp", quick=True)
def smoothed_actions(actions, noise, noise_clip, low, high):
    actions, noise = (torch.tensor(np.array(array, dtype=float)) for array in (actions, noise))
    return (actions + noise.clamp(-noise_clip, noise_clip)).clamp(low, high)


@variant("a step at a time, with the discount of the steps so far", quick=True)
def n_step_target(rewards, next_values, terminated, truncated, gamma):
    totals = []
    for reward, following, end, stop in zip(rewards, next_values, terminated, truncated, strict=True):
        total, discount = 0.0, 1.0
        for t in range(len(reward)):
            total += discount * float(reward[t])
            discount *= gamma
            if end[t] or stop[t] or t == len(reward) - 1:
                total += 0.0 if end[t] else discount * float(following[t])
                break
        totals.append(total)
    return totals


def backwards(rewards, values, following, terminated, truncated, traces, gamma):
    """Targets from the last step to the first, a row at a time."""
    results = np.zeros(rewards.shape)
    for row in range(len(rewards)):
        beyond = 0.0
        for t in reversed(range(rewards.shape[1])):
            if terminated[row, t] or truncated[row, t]:
                beyond = 0.0
            after = 0.0 if terminated[row, t] else float(following[row, t]) + beyond
            results[row, t] = float(rewards[row, t]) + gamma * after
            beyond = float(traces[row, t]) * (results[row, t] - float(values[row, t]))
    return results


@variant("from the last step to the first", quick=True)
def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    traces = lam * np.exp(np.minimum(log_ratio, 0))
    return backwards(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


@variant("from the last step to the first", quick=True)
def tree_backup(rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam):
    return backwards(rewards, action_values, next_expected_values, terminated, truncated, lam * probabilities, gamma)


@variant("from the last step to the first", quick=True)
def watkins_target(rewards, action_values, next_largest_values, terminated, truncated, greedy, gamma, lam):
    return backwards(rewards, action_values, next_largest_values, terminated, truncated, lam * greedy, gamma)


@variant("by torch's smooth L1 loss", quick=True)
def huber_loss(values, targets, delta):
    values = torch.tensor(np.array(values, dtype=float), requires_grad=True)
    aims = torch.tensor(np.array(targets, dtype=float))
    loss = torch.nn.functional.smooth_l1_loss(values, aims, reduction="none", beta=delta)
    return loss.detach(), torch.autograd.grad(loss.sum(), values)[0]


@variant("as a square and what is beyond it")
def huber_loss(values, targets, delta):
    error = np.asarray(values, dtype=float) - targets
    near = np.minimum(np.abs(error), delta)
    return 0.5 * near**2 + delta * (np.abs(error) - near), np.clip(error, -delta, delta)


@variant("with the temperature itself, by autograd", quick=True)
def temperature_loss(logp, log_alpha, target_entropy):
    logs = torch.tensor(np.array(logp, dtype=float))
    weight = torch.tensor(float(log_alpha), dtype=torch.float64, requires_grad=True)
    loss = (weight.exp() * (-logs - target_entropy)).mean()
    return loss.item(), torch.autograd.grad(loss, weight)[0].item(), np.zeros(len(logp))


@variant("by triangles, from the distances to all atoms", quick=True)
def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    atoms = torch.linspace(v_min, v_max, next_probabilities.shape[1], dtype=torch.float64)
    going = torch.tensor(np.array(terminated)).logical_not().double()
    places = torch.tensor(np.array(rewards, dtype=float))[:, None] + gamma * going[:, None] * atoms
    apart = (places.clamp(v_min, v_max)[:, None, :] - atoms[None, :, None]).abs()
    shares = (1 - apart / (atoms[1] - atoms[0])).clamp(0, 1)
    return (shares * torch.tensor(np.array(next_probabilities, dtype=float))[:, None, :]).sum(-1)


@variant("a mean over quantiles, divided by delta", quick=True)
def quantile_huber_loss(quantiles, target_quantiles, delta):
    value = torch.tensor(np.array(quantiles, dtype=float), requires_grad=True)
    error = torch.tensor(np.array(target_quantiles, dtype=float))[:, None, :] - value[:, :, None]
    levels = (torch.arange(value.shape[1], dtype=torch.float64) + 0.5) / value.shape[1]
    loss = torch.where(error.abs() > delta, error.abs() - delta / 2, error**2 / (2 * delta))
    loss = (loss * (levels[:, None] - (error.detach() < 0).double()).abs()).mean((1, 2))
    return loss.detach(), torch.autograd.grad(loss.sum(), value)[0]


@variant("over the largest advantage", quick=True)
def dueling(values, advantages):
    return np.asarray(values)[:, None] + advantages - np.max(advantages, axis=1, keepdims=True)
