"""Ways to compute targets of values, and what goes with them."""

import numpy as np
import torch

from .catalogue import way
from .returns import RECURSIONS, backed_up, ends
from .tensors import differentiated, leaves, tensors


def one_step(style, rewards, following, terminated, gamma):
    """A reward and what follows, unless nothing does."""
    return rewards + style.dtype(gamma) * np.where(terminated, style.dtype(0), following)


def by_cases(style, rewards, following, terminated, gamma):
    """The same, as one of two numbers."""
    return np.where(terminated, rewards, rewards + following * style.dtype(gamma))


BACKUPS = {"what follows is replaced by 0": one_step, "one of two cases": by_cases}


def picked(values, actions):
    """Each row's value of one action."""
    return values[np.arange(len(values)), actions.astype(int)]


for how, backup in BACKUPS.items():

    @way(f"by indices, {how}")
    def sarsa_target(
        style, choices, rewards, next_action_values, next_actions, terminated, truncated, gamma, backup=backup
    ):
        return backup(style, rewards, picked(next_action_values, next_actions), terminated, gamma)

    @way(f"a sum of products, {how}")
    def expected_sarsa_target(
        style, choices, rewards, next_action_values, next_policy, terminated, truncated, gamma, backup=backup
    ):
        return backup(style, rewards, style.total(next_action_values * next_policy), terminated, gamma)

    @way(f"the last of the sorted values, {how}")
    def q_target(style, choices, rewards, next_action_values, terminated, truncated, gamma, backup=backup):
        return backup(style, rewards, np.sort(next_action_values, axis=1)[:, -1], terminated, gamma)

    @way(f"by argmax, {how}")
    def double_q_target(
        style, choices, rewards, next_online_values, next_target_values, terminated, truncated, gamma, backup=backup
    ):
        chosen = np.argmax(next_online_values, axis=1)
        return backup(style, rewards, picked(next_target_values, chosen), terminated, gamma)

    @way(f"by minimum, {how}")
    def twin_q_target(style, choices, rewards, next_first, next_second, terminated, truncated, gamma, backup=backup):
        return backup(style, rewards, np.minimum(next_first, next_second), terminated, gamma)

    @way(f"by minimum, {how}")
    def soft_target(
        style, choices, rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma, backup=backup
    ):
        soft = np.minimum(next_first, next_second) - style.dtype(alpha) * next_logp
        return backup(style, rewards, soft, terminated, gamma)


@way("the smaller of two soft values")
def soft_target(style, choices, rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    price = style.dtype(alpha) * next_logp
    least = np.where(next_first < next_second, next_first - price, next_second - price)
    return one_step(style, rewards, least, terminated, gamma)


@way("by maximum and minimum")
def munchausen_rewards(style, choices, rewards, logp, alpha, temperature, lowest):
    scaled = style.dtype(temperature) * logp
    kept = scaled if lowest is None else np.maximum(np.minimum(scaled, style.dtype(0)), style.dtype(lowest))
    return rewards + style.dtype(alpha) * kept


@way("a clip of the logarithm, scaled")
def munchausen_rewards(style, choices, rewards, logp, alpha, temperature, lowest):
    if lowest is None:
        return rewards + style.dtype(alpha) * style.dtype(temperature) * logp
    kept = np.clip(logp, style.dtype(lowest) / style.dtype(temperature), style.dtype(0))
    return rewards + style.dtype(alpha) * (style.dtype(temperature) * kept)


@way("by np.clip")
def smoothed_actions(style, choices, actions, noise, noise_clip, low, high):
    return np.clip(actions + np.clip(noise, -noise_clip, noise_clip), low, high)


@way("by minimum and maximum")
def smoothed_actions(style, choices, actions, noise, noise_clip, low, high):
    moved = actions + np.maximum(np.minimum(noise, noise_clip), -noise_clip)
    return np.minimum(np.maximum(moved, low), high)


@way("by backing up as often as the window has steps")
def n_step_target(style, choices, rewards, next_values, terminated, truncated, gamma):
    ended = ends(terminated, truncated)
    return backed_up(rewards, next_values, terminated, ended, style.dtype(gamma), rewards.shape[1])[:, 0]


@way("a window at a time, by sums of discounted rewards")
def n_step_target(style, choices, rewards, next_values, terminated, truncated, gamma):
    found = []
    for row, ended in enumerate(ends(terminated, truncated)):
        last = int(np.argmax(ended))
        value = style.dtype(0) if terminated[row, last] else next_values[row, last]
        terms = np.append(rewards[row, : last + 1], value).astype(style.dtype)
        found.append(style.total(terms * style.dtype(gamma) ** np.arange(last + 2)))
    return np.array(found, style.dtype)


def forward(style, arrays, traces, gamma, recursion):
    """Values and the carried TD errors."""
    rewards, values, following, terminated, truncated = arrays
    errors = one_step(style, rewards, following, terminated, gamma) - values
    ended = ends(terminated, truncated)
    factors = np.where(ended, style.dtype(0), style.dtype(gamma) * np.roll(traces, -1, axis=1))
    return values + recursion(style)(errors, factors.astype(style.dtype))


def nested(style, arrays, traces, gamma, recursion):
    """Targets of targets: what follows is the next target, as far as it is trusted."""
    rewards, values, following, terminated, truncated = arrays
    ended = ends(terminated, truncated)
    trust = np.where(ended, style.dtype(0), np.roll(traces, -1, axis=1)).astype(style.dtype)
    beyond = following - trust * np.where(ended, style.dtype(0), np.roll(values, -1, axis=1))
    terms = one_step(style, rewards, beyond, terminated, gamma)
    return recursion(style)(terms, (style.dtype(gamma) * trust).astype(style.dtype))


for how, recursion in RECURSIONS.items():
    for form, computed in {"TD errors": forward, "targets of targets": nested}.items():

        @way(f"{form}, {how}")
        def retrace(
            style, choices, rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam,
            recursion=recursion, computed=computed,
        ):  # fmt: skip
            traces = style.dtype(lam) * style.exp(np.minimum(log_ratio, 0)).astype(style.dtype)
            arrays = rewards, action_values, next_expected_values, terminated, truncated
            return computed(style, arrays, traces, gamma, recursion)

        @way(f"{form}, {how}")
        def tree_backup(
            style, choices, rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma,
            lam, recursion=recursion, computed=computed,
        ):  # fmt: skip
            arrays = rewards, action_values, next_expected_values, terminated, truncated
            return computed(style, arrays, style.dtype(lam) * probabilities, gamma, recursion)

        @way(f"{form}, {how}")
        def watkins_target(
            style, choices, rewards, action_values, next_largest_values, terminated, truncated, greedy, gamma, lam,
            recursion=recursion, computed=computed,
        ):  # fmt: skip
            arrays = rewards, action_values, next_largest_values, terminated, truncated
            traces = np.where(greedy, style.dtype(lam), style.dtype(0))
            return computed(style, arrays, traces, gamma, recursion)


def huber(style, choices, error, delta):
    """Huber losses of errors, and their derivatives."""
    delta = style.dtype(delta)
    factor = 1 / delta if choices["scale"] == "1/delta" else style.dtype(1)
    size, far = abs(error), abs(error) > delta
    loss = np.where(far, delta * (size - delta / 2), error * error / 2)
    return factor * loss, factor * np.where(far, delta * np.sign(error), error)


@way("by cases, the derivative by hand")
def huber_loss(style, choices, values, targets, delta):
    return huber(style, choices, values - targets, delta)


@way("by torch")
def huber_loss(style, choices, values, targets, delta):
    [value], [aim] = leaves(style, values), tensors(style, targets)
    if choices["scale"] == "1/delta":
        return differentiated(
            torch.nn.functional.smooth_l1_loss(value, aim, reduction="none", beta=float(delta)), value
        )
    return differentiated(torch.nn.functional.huber_loss(value, aim, "none", float(delta)), value)


@way("the derivatives by hand")
def temperature_loss(style, choices, logp, log_alpha, target_entropy):
    surplus = style.whole(-logp - style.dtype(target_entropy)) / style.dtype(len(logp))
    log_alpha = style.dtype(log_alpha)
    alpha = np.exp(log_alpha)
    weight, slope = (alpha, alpha) if choices["form"] == "alpha" else (log_alpha, style.dtype(1))
    return weight * surplus, slope * surplus, np.zeros_like(logp)


@way("by torch")
def temperature_loss(style, choices, logp, log_alpha, target_entropy):
    [logs, weight] = leaves(style, logp, np.asarray(log_alpha))
    form = weight.exp() if choices["form"] == "alpha" else weight
    return differentiated(-(form * (logs.detach() + target_entropy)).mean(), weight, logs)


@way("a mass between two atoms")
def categorical_projection(style, choices, rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    count = next_probabilities.shape[1]
    atoms = np.linspace(v_min, v_max, count, dtype=style.dtype)
    places = one_step(style, rewards[:, None], atoms[None, :], terminated[:, None], gamma)
    gap = style.dtype(v_max - v_min) / style.dtype(count - 1)
    units = np.clip((np.clip(places, v_min, v_max) - style.dtype(v_min)) / gap, 0, style.dtype(count - 1))
    low, high = np.floor(units).astype(int), np.ceil(units).astype(int)
    result = np.zeros_like(next_probabilities)
    rows = np.arange(len(rewards))[:, None] + 0 * low
    np.add.at(result, (rows, low), next_probabilities * (high + (low == high) - units))
    np.add.at(result, (rows, high), next_probabilities * (units - low))
    return result


@way("triangular weights")
def categorical_projection(style, choices, rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    count = next_probabilities.shape[1]
    gap = style.dtype(v_max - v_min) / style.dtype(count - 1)
    atoms = (style.dtype(v_min) + gap * np.arange(count)).astype(style.dtype)
    places = np.clip(one_step(style, rewards[:, None], atoms[None, :], terminated[:, None], gamma), v_min, v_max)
    weights = np.clip(1 - abs(places[:, None, :] - atoms[None, :, None]) / gap, 0, 1)
    return style.total(weights * next_probabilities[:, None, :])


@way("all pairs, the derivatives by hand")
def quantile_huber_loss(style, choices, quantiles, target_quantiles, delta):
    count = quantiles.shape[1]
    error = quantiles[:, :, None] - target_quantiles[:, None, :]
    levels = ((2 * np.arange(count) + 1) / style.dtype(2 * count)).astype(style.dtype)[None, :, None]
    weights = abs(levels - (error > 0))
    loss, slope = huber(style, choices, error, delta)
    divisor = style.dtype(count * (count if choices["reduction"] == "mean" else 1))
    return style.total(style.total(weights * loss)) / divisor, style.total(weights * slope) / divisor


@way("by torch")
def quantile_huber_loss(style, choices, quantiles, target_quantiles, delta):
    [value], [aim] = leaves(style, quantiles), tensors(style, target_quantiles)
    count, delta = quantiles.shape[1], float(delta)
    error = aim[:, None, :] - value[:, :, None]
    size = error.abs()
    loss = torch.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))
    loss = loss / delta if choices["scale"] == "1/delta" else loss
    levels = ((torch.arange(count, dtype=value.dtype) + 0.5) / count)[None, :, None]
    pairs = (levels - (error.detach() < 0).to(value.dtype)).abs() * loss
    of_quantiles = pairs.mean(2)
    return differentiated(of_quantiles.mean(1) if choices["reduction"] == "mean" else of_quantiles.sum(1), value)


@way("over the mean or the largest")
def dueling(style, choices, values, advantages):
    if choices["baseline"] == "max":
        level = advantages.max(axis=1, keepdims=True)
    else:
        level = style.total(advantages)[:, None] / style.dtype(advantages.shape[1])
    return values[:, None] + (advantages - level)


@way("the state's value less a level, first")
def dueling(style, choices, values, advantages):
    largest = np.sort(advantages, axis=1)[:, -1]
    mean = style.total(advantages / style.dtype(advantages.shape[1]))
    return (values - (largest if choices["baseline"] == "max" else mean))[:, None] + advantages
