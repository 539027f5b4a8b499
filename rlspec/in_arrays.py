"""The operations once more, in arrays: sums in the place of recursions, axes in the place of loops.

A mistake is said as a change of what is right, and whoever made it had arrays: a sum over the other axis, a wrong
exponent in a table of discounts, a mask that is multiplied with.  A function here has the name of its operation, takes
its arguments as they come, and gives the first of its results, or all of them if they are no derivatives; after two
underscores there is in which way, if there are several.  What does not move where a loss is differentiated is
``fixed``.  A function that is not right beside the choices in force, or answers None there, is left alone; the tests
show that each is right beside the default ones.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy import arange, array, clip, cos, cumsum, einsum, eye, maximum, minimum, pi, where

from .elementwise import ROOT_OF_TWO_PI, exp, expm1, fixed, log, log1p, log_softmax, sigmoid, softmax, softplus, sqrt
from .reference.choices import shape_of
from .reference.reductions import divisors, shard_divisors
from .reference.spread import SHAPES

Array = Any

# Decision processes.


def expected_return(transition, reward, initial, policy, gamma, horizon):
    if horizon is None:
        moves = einsum("sa,sat->st", policy, transition)
        visits = np.linalg.solve(eye(len(reward)) - gamma * moves.T, initial)
        return (visits[:, None] * policy * reward).sum()
    state, total = initial, 0
    for step in range(horizon):
        pairs = state[:, None] * policy
        total = total + (pairs * (gamma**step * reward)).sum()
        state = einsum("sa,sat->t", pairs, transition)
    return total


def expected_return__of_discounted_states(transition, reward, initial, policy, gamma, horizon):
    if horizon is None:
        return expected_return(transition, reward, initial, policy, gamma, horizon)
    state, total = initial, 0
    for _ in range(horizon):
        pairs = state[:, None] * policy
        total = total + (pairs * reward).sum()
        state = gamma * einsum("sa,sat->t", pairs, transition)
    return total


def state_values(transition, reward, policy, gamma, horizon):
    paid = (policy * reward).sum(axis=1)
    moves = einsum("sa,sat->st", policy, transition)
    if horizon is None:
        return np.linalg.solve(eye(len(reward)) - gamma * moves, paid)
    values = [paid]
    for _ in range(horizon - 1):
        values.append(paid + gamma * moves @ values[-1])
    return array(values[::-1])


def action_values(transition, reward, policy, gamma, horizon):
    if horizon is None:
        paid = (policy * reward).sum(axis=1)
        moves = einsum("sa,sat->st", policy, transition)
        return reward + gamma * transition @ np.linalg.solve(eye(len(reward)) - gamma * moves, paid)
    values = [reward]
    for _ in range(horizon - 1):
        values.append(reward + gamma * transition @ (policy * values[-1]).sum(axis=1))
    return array(values[::-1])


def occupancy(transition, initial, policy, gamma, horizon):
    moves = einsum("sa,sat->st", policy, transition)
    if horizon is None:
        return np.linalg.solve(eye(len(initial)) - gamma * moves.T, initial)
    weights = [initial]
    for _ in range(horizon - 1):
        weights.append(gamma * weights[-1] @ moves)
    return array(weights)


def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    policy = softmax(logits, axis=1)
    if horizon is None:
        values = action_values(transition, reward, policy, gamma, horizon)
        above = values - (policy * values).sum(axis=1, keepdims=True)
        return occupancy(transition, initial, policy, gamma, horizon)[:, None] * policy * above
    values = action_values(transition, reward, policy, gamma, horizon)
    above = values - (policy * values).sum(axis=2, keepdims=True)
    return (occupancy(transition, initial, policy, gamma, horizon)[:, :, None] * policy * above).sum(axis=0)


def policy_gradient(logits, states, actions, rewards, mask, gamma, discounting="gamma^t", credit="reward-to-go"):
    policy = softmax(logits, axis=1)
    step = cumsum(mask, axis=1) - mask
    credited = token_returns(rewards, mask, gamma)
    if credit == "whole return":
        credited = (where(mask, rewards, 0) * gamma**step).sum(axis=1, keepdims=True) + 0 * credited
    elif discounting == "gamma^t":
        credited = gamma**step * credited
    scores = eye(logits.shape[1])[actions.astype(int)] - policy[states.astype(int)]
    gradient = np.zeros_like(logits)
    np.add.at(gradient, states.astype(int)[mask], (credited[:, :, None] * scores)[mask])
    return gradient / len(rewards)


# Returns and advantages, as sums over the steps k that follow a step t: tables are [B, k, t].


def discounts(gamma, steps):
    apart = arange(steps)[:, None] - arange(steps)
    return gamma ** maximum(apart, 0) * (apart >= 0)


def same_episode(terminated, truncated):
    ended = terminated | truncated
    episode = cumsum(ended, axis=1) - ended
    return episode[:, :, None] == episode[:, None, :]


def last_step(terminated, truncated):
    return terminated | truncated | (arange(terminated.shape[1]) == terminated.shape[1] - 1)


def discounted_return(rewards, gamma):
    return rewards @ gamma ** arange(rewards.shape[1])


def reward_to_go(rewards, gamma):
    return rewards @ discounts(gamma, rewards.shape[1])


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    steps = arange(rewards.shape[1])
    apart = steps[:, None] - steps
    counted = same_episode(terminated, truncated) & (apart >= 0) & (apart < n)
    furthest = counted & (last_step(terminated, truncated)[:, :, None] | (apart == n - 1))
    bootstraps = gamma * where(terminated, 0, next_values)
    earned = einsum("bk,bkt->bt", rewards, counted * discounts(gamma, rewards.shape[1]))
    return earned + einsum("bk,bkt->bt", bootstraps, furthest * discounts(gamma, rewards.shape[1]))


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    trusted = 1 - lam * ~last_step(terminated, truncated)
    earned = rewards + gamma * trusted * where(terminated, 0, next_values)
    weights = same_episode(terminated, truncated) * discounts(gamma * lam, rewards.shape[1])
    return einsum("bk,bkt->bt", earned, weights)


def lambda_return__step_by_step(rewards, next_values, terminated, truncated, gamma, lam):
    returns = np.zeros(rewards.shape)
    following = 0
    for t in reversed(range(rewards.shape[1])):
        is_last = truncated[:, t] if t + 1 < rewards.shape[1] else True
        mixed = where(is_last, next_values[:, t], (1 - lam) * next_values[:, t] + lam * following)
        returns[:, t] = following = rewards[:, t] + gamma * where(terminated[:, t], 0, mixed)
    return returns


def td_error(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * where(terminated, 0, next_values) - values


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    errors = td_error(rewards, values, next_values, terminated, gamma)
    weights = same_episode(terminated, truncated) * discounts(gamma * lam, rewards.shape[1])
    return einsum("bk,bkt->bt", errors, weights)


def gae__step_by_step(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = np.zeros(rewards.shape)
    carried = 0
    for t in reversed(range(rewards.shape[1])):
        error = rewards[:, t] + gamma * where(terminated[:, t], 0, next_values[:, t]) - values[:, t]
        goes_on = 1 - (terminated[:, t] | truncated[:, t])
        advantages[:, t] = carried = error + gamma * lam * goes_on * carried
    return advantages


def products(traces, first):
    steps = arange(traces.shape[1])
    return np.cumprod(where(steps[:, None] >= steps + first, traces[:, :, None], 1), axis=1)


def vtrace(
    rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip,
    advantage="paper", policy_clip="rho_clip",
):  # fmt: skip
    ratio = exp(log_ratio)
    rho, c = minimum(ratio, rho_clip), minimum(ratio, c_clip)
    weights = same_episode(terminated, truncated) * discounts(gamma * lam, rewards.shape[1])
    weights = weights * products(np.roll(c, 1, axis=1), 1)
    errors = rho * td_error(rewards, values, next_values, terminated, gamma)
    targets = values + einsum("bk,bkt->bt", errors, weights)
    following = np.roll(targets, -1, axis=1)
    mixed = lam * following + (1 - lam) * next_values if advantage == "mixed" else following
    weight = minimum(ratio, rho_clip if policy_clip == "rho_clip" else 1)
    ahead = where(last_step(terminated, truncated), next_values, mixed)
    return targets, weight * td_error(rewards, values, ahead, terminated, gamma)


def traced(rewards, action_values, following_values, terminated, truncated, traces, gamma):
    errors = td_error(rewards, action_values, following_values, terminated, gamma)
    weights = same_episode(terminated, truncated) * discounts(gamma, rewards.shape[1]) * products(traces, 1)
    return action_values + einsum("bk,bkt->bt", errors, weights)


def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    traces = lam * minimum(exp(log_ratio), 1)
    return traced(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


def retrace__by_logarithms(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    traces = lam * exp(minimum(log_ratio, 0))
    return traced(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


def tree_backup(rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam):
    traces = lam * probabilities
    return traced(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


def watkins_target(rewards, action_values, next_largest_values, terminated, truncated, greedy, gamma, lam):
    traces = lam * greedy
    return traced(rewards, action_values, next_largest_values, terminated, truncated, traces, gamma)


def n_step_target(rewards, next_values, terminated, truncated, gamma):
    return n_step_return(rewards, next_values, terminated, truncated, gamma, rewards.shape[1])[:, 0]


def agents_gae(
    rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit, team="sum",
    death="the team goes on",
):  # fmt: skip
    earned = rewards
    if credit == "team":
        earned = rewards.sum(axis=2, keepdims=True) / (rewards.shape[2] if team == "mean" else 1) + 0 * rewards
    leaves = dies if credit == "own" or death == "end" else 0 * dies
    over = (terminated[:, :, None] | leaves) != 0
    stopped = truncated[:, :, None] | over
    errors = earned + gamma * where(over, 0, next_values) - values
    episode = cumsum(stopped, axis=1) - stopped
    weights = (episode[:, :, None] == episode[:, None]) * discounts(gamma * lam, rewards.shape[1])[:, :, None]
    return alive * einsum("bkm,bktm->btm", errors, weights)


def counterfactual_advantages(action_values, policy, actions):
    taken = action_values[arange(len(action_values)), actions]
    return taken - (policy * action_values).sum(axis=1)


def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    following = where(available, next_action_values, -np.inf).max(axis=2).sum(axis=1)
    return rewards + gamma * where(terminated, 0, following)


def kept_from_zero(variance, eps):
    shape, number = shape_of(eps, *SHAPES)
    if shape == "std":
        return sqrt(variance)
    if shape == "std + E":
        return sqrt(variance) + number
    if shape == "max(std, E)":
        return maximum(sqrt(variance), number)
    return sqrt(variance + number) if shape == "sqrt(var + E)" else maximum(sqrt(variance), 1e-3) + 1e-6


def normalize_advantages(advantages, mask, std="ddof=0", eps="std + 1e-8", one="zero"):
    counted = advantages[mask]
    if len(counted) > 1 and np.ptp(counted) > 0:
        counted = (counted - counted.mean()) / kept_from_zero(counted.var(ddof=int(std[-1])), eps)
    elif len(counted) > 1 or one == "zero":
        counted = 0 * counted
    normalized = np.zeros_like(advantages)
    normalized[mask] = counted
    return normalized


def normalize_advantages__all_at_once(advantages, mask, std="ddof=0", eps="std + 1e-8", one="zero"):
    count = mask.sum()
    if count < 2 or np.ptp(advantages[mask]) == 0:
        return where(mask & (count == 1) & (one != "zero"), advantages, 0)
    above = advantages - where(mask, advantages, 0).sum() / count
    variance = where(mask, above**2, 0).sum() / (count - int(std[-1]))
    return where(mask, above / kept_from_zero(variance, eps), 0)


# Targets of single transitions.


def sarsa_target(rewards, next_action_values, next_actions, terminated, truncated, gamma):
    following = next_action_values[arange(len(rewards)), next_actions.astype(int)]
    return rewards + gamma * (1 - terminated) * following


def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    following = (next_policy * next_action_values).sum(axis=1)
    return rewards + gamma * (1 - terminated) * following


def q_target(rewards, next_action_values, terminated, truncated, gamma):
    following = next_action_values.max(axis=1)
    return rewards + gamma * (1 - terminated) * following


def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    following = next_target_values[arange(len(rewards)), next_online_values.argmax(axis=1)]
    return rewards + gamma * (1 - terminated) * following


def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    return rewards + gamma * (1 - terminated) * minimum(next_first, next_second)


def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    return rewards + gamma * (1 - terminated) * (minimum(next_first, next_second) - alpha * next_logp)


def munchausen_rewards(rewards, logp, alpha, temperature, lowest):
    scaled = temperature * logp
    return rewards + alpha * (scaled if lowest is None else clip(scaled, lowest, 0))


def smoothed_actions(actions, noise, noise_clip, low, high):
    return clip(actions + clip(noise, -noise_clip, noise_clip), low, high)


def huber_loss(values, targets, delta, scale="1"):
    error = abs(values - targets)
    losses = where(error <= delta, error**2 / 2, delta * (error - delta / 2))
    return losses / delta if scale == "1/delta" else losses


def huber_loss__by_parts(values, targets, delta, scale="1"):
    error = abs(values - targets)
    near = minimum(error, delta)
    losses = near**2 / 2 + delta * (error - near)
    return losses / delta if scale == "1/delta" else losses


def quantile_huber_loss(quantiles, target_quantiles, delta, scale="1", reduction="sum"):
    count = quantiles.shape[1]
    levels = (arange(count) + 0.5) / count
    errors = target_quantiles[:, None, :] - quantiles[:, :, None]
    size = abs(errors)
    losses = where(size <= delta, errors**2 / 2, delta * (size - delta / 2))
    weights = where(errors < 0, 1 - levels[:, None], levels[:, None])
    total = (weights * losses).mean(axis=2).sum(axis=1)
    total = total / delta if scale == "1/delta" else total
    return total / count if reduction == "mean" else total


def temperature_loss(logp, log_alpha, target_entropy, form="log_alpha"):
    weight = log_alpha if form == "log_alpha" else exp(log_alpha)
    return -(weight * fixed(logp + target_entropy)).mean()


def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    count = next_probabilities.shape[1]
    atoms = v_min + (v_max - v_min) * arange(count) / (count - 1)
    moved = rewards[:, None] + gamma * (1 - terminated[:, None]) * atoms
    places = (clip(moved, v_min, v_max) - v_min) / (v_max - v_min) * (count - 1)
    shares = maximum(0, 1 - abs(places[:, :, None] - arange(count)))
    return einsum("bj,bji->bi", next_probabilities, shares)


def dueling(values, advantages, baseline="mean"):
    if baseline == "max":
        return values[:, None] + advantages - advantages.max(axis=1, keepdims=True)
    return values[:, None] + advantages - advantages.mean(axis=1, keepdims=True)


# Statistics.


def running_moments(mean, variance, count, batch, spread="ddof=0"):
    added = len(batch)
    own = batch.var(axis=0) * (added / max(added - 1, 1) if spread == "ddof=1" else 1)
    total = count + added
    apart = batch.mean(axis=0) - mean
    second = variance * count + own * added + apart**2 * count * added / total
    return mean + apart * added / total, second / total, total


def running_moments__of_all(mean, variance, count, batch, spread="ddof=0"):
    if spread != "ddof=0":
        return None
    total = count + len(batch)
    middle = (count * mean + batch.sum(axis=0)) / total
    second = count * (mean - middle) ** 2 + ((batch - middle) ** 2).sum(axis=0)
    return middle, second / total + variance * count / total, total


def running_moments__by_squares(mean, variance, count, batch, spread="ddof=0"):
    if spread != "ddof=0":
        return None
    total = count + len(batch)
    middle = (count * mean + batch.sum(axis=0)) / total
    square = (count * (variance + mean**2) + (batch**2).sum(axis=0)) / total
    return middle, square - middle**2, total


def fading_moments(mean, square, weight, batch, beta):
    return (
        beta * mean + (1 - beta) * batch.mean(axis=0),
        beta * square + (1 - beta) * (batch**2).mean(axis=0),
        beta * weight + (1 - beta),
    )


def scaled_by(variance, eps, scale):
    if scale == "std + eps":
        return sqrt(variance) + eps
    return maximum(sqrt(variance), eps) if scale == "max(std, eps)" else sqrt(variance + eps)


def normalize_observations(observations, mean, variance, eps, clip, scale="sqrt(var + eps)"):
    return maximum(-clip, minimum((observations - mean) / scaled_by(variance, eps, scale), clip))


def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip, scale="sqrt(var + eps)"):
    returns, columns = np.zeros(len(rewards)), []
    for t in range(rewards.shape[1]):
        returns = returns * gamma + rewards[:, t]
        apart = returns.mean() - mean
        total = count + len(returns)
        spread = variance * count + returns.var() * len(returns) + apart**2 * count * len(returns) / total
        mean, variance, count = mean + apart * len(returns) / total, spread / total, total
        columns.append(maximum(-clip, minimum(rewards[:, t] / scaled_by(variance, eps, scale), clip)))
        returns = returns * (1 - (terminated[:, t] | truncated[:, t]))
    return array(columns).T


def symlog(values):
    return np.sign(values) * log1p(abs(values))


def symlog__by_cases(values):
    return where(values < 0, -log1p(abs(values)), log1p(abs(values)))


def symexp(values):
    return np.sign(values) * expm1(abs(values))


def two_hot(values, bins, gap="gap"):
    guard = 0 if gap == "gap" else float(gap.split()[-1])
    inside = clip(values, bins[0], bins[-1])
    above = clip(np.searchsorted(bins, inside), 1, len(bins) - 1)
    share = (bins[above] - inside) / (bins[above] - bins[above - 1] + where(inside == bins[above - 1], 0, guard))
    shares = np.zeros((len(values), len(bins)))
    shares[arange(len(values)), above - 1] = share
    shares[arange(len(values)), above] = 1 - share
    return shares


def popart(weights, bias, old_mean, old_std, new_mean, new_std):
    return weights * old_std / new_std, (old_std * bias + old_mean - new_mean) / new_std


def popart__by_ratio(weights, bias, old_mean, old_std, new_mean, new_std):
    ratio = old_std / new_std
    return weights * ratio, bias * ratio + (old_mean - new_mean) / new_std


def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    gone = max(0, rewards.shape[1] - capacity)
    earned, following, over, stopped = (array[:, gone:] for array in (rewards, next_values, terminated, truncated))
    found = n_step_return(earned, following, over, stopped, gamma, n)
    return np.concatenate([0 * rewards[:, :gone], found], axis=1)


def sampling_probabilities(priorities, alpha, power="p^alpha"):
    shape, number = shape_of(power, "p^alpha", "(p + E)^alpha", "p^alpha + E")
    kept = (priorities + (number if shape == "(p + E)^alpha" else 0)) ** alpha
    powers = kept + (number if shape == "p^alpha + E" else 0)
    return powers / powers.sum()


def sampling_probabilities__by_logarithms(priorities, alpha, power="p^alpha"):
    return softmax(alpha * log(priorities), axis=0) if power == "p^alpha" else None


def sampled_slots(priorities, uniforms, parts="equal parts"):
    ends = cumsum(priorities)
    shares = (arange(len(uniforms)) + uniforms) / len(uniforms) if parts == "equal parts" else uniforms
    return (ends <= shares[:, None] * ends[-1]).sum(axis=1)


def priority_weights(probabilities, sampled, beta, maximum="batch"):
    weights = (len(probabilities) * probabilities) ** -beta
    largest = weights[sampled].max() if maximum == "batch" else weights.max()
    return weights[sampled] / largest


def priority_weights__by_logarithms(probabilities, sampled, beta, maximum="batch"):
    weights = -beta * log(probabilities)
    largest = weights[sampled].max() if maximum == "batch" else weights.max()
    return exp(weights[sampled] - largest)


def sequence_masks(terminated, truncated, burn_in, start="stored"):
    resets = np.roll(terminated | truncated, 1, axis=1)
    resets[:, 0] = start == "zero"
    return resets, (arange(terminated.shape[1]) >= burn_in) | (terminated & False)


def autoreset_transitions(observed_values, final_values, terminated, truncated, mode):
    ended = terminated | truncated
    if mode == "same step":
        return where(ended, final_values, observed_values), ended | True
    resets = np.roll(ended, 1, axis=1)
    resets[:, 0] = False
    return where(resets, 0, observed_values), ~resets


# Distributions.


def entropy(logits, legal):
    rivals = where(legal, logits, -np.inf)
    return -where(legal, softmax(rivals, axis=1) * log_softmax(rivals, axis=1), 0).sum(axis=1)


def gaussian_logp(actions, mean, log_std):
    z = (actions - mean) / exp(log_std)
    return (-(z**2) / 2 - log_std - ROOT_OF_TWO_PI).sum(axis=1)


def gaussian_entropy(log_std):
    return (log_std + ROOT_OF_TWO_PI + 0.5).sum(axis=1)


def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    variance, other = exp(2 * log_std), exp(2 * ref_log_std)
    return (ref_log_std - log_std + (variance + (mean - ref_mean) ** 2) / (2 * other) - 0.5).sum(axis=1)


def gaussian_kl__by_sums(mean, log_std, ref_mean, ref_log_std):
    reference, apart = exp(2 * ref_log_std), mean - ref_mean
    ratio = exp(2 * log_std) / reference
    return 0.5 * (ratio.sum(axis=1) + (apart**2 / reference).sum(axis=1) - mean.shape[1] - log(ratio).sum(axis=1))


def squashed_gaussian_logp(presquash, mean, log_std):
    z = (presquash - mean) / exp(log_std)
    logp = -(z**2) / 2 - log_std - ROOT_OF_TWO_PI
    return (logp - 2 * (np.log(2) - presquash - softplus(-2 * presquash))).sum(axis=1)


def bounded_gaussian_logp(presquash, mean, log_std, low, high, density="of the action"):
    value = squashed_gaussian_logp(presquash, mean, log_std)
    return value - log((high - low) / 2).sum() if density == "of the action" else value


def tempered_entropy(logits, temperature):
    logp = log_softmax(logits / temperature, axis=1)
    return -(exp(logp) * logp).sum(axis=1)


def kl_divergence(logits, ref_logits):
    ours = log_softmax(logits, axis=1)
    policy, log_ratio = exp(ours), ours - log_softmax(ref_logits, axis=1)
    return (policy * where(policy > 0, log_ratio, 0)).sum(axis=1)


def weighted(logp, log_ratio):
    p = exp(logp)
    return (p * where(p > 0, log_ratio, 0)).sum(axis=1)


def distillation_divergence(logits, teacher_logits, beta, temperature, weights="paper", scale="1"):
    if scale != "1":
        return temperature**2 * distillation_divergence(logits, teacher_logits, beta, temperature, weights)
    ours = log_softmax(logits / temperature, axis=1)
    theirs = log_softmax(teacher_logits / temperature, axis=1)
    if beta == 0:
        return weighted(theirs, theirs - ours)
    if beta == 1:
        return weighted(ours, ours - theirs)
    mixed = log((1 - beta) * exp(ours) + beta * exp(theirs))
    if weights == "exchanged":
        return (1 - beta) * weighted(theirs, theirs - mixed) + beta * weighted(ours, ours - mixed)
    return beta * weighted(theirs, theirs - mixed) + (1 - beta) * weighted(ours, ours - mixed)


def topk_divergence(logits, teacher_logits, k, direction, tail, negative="as it is"):
    logp, teacher = log_softmax(logits, axis=1), log_softmax(teacher_logits, axis=1)
    kept = np.argsort(-teacher_logits, axis=1, kind="stable")[:, :k]
    ours, theirs = np.take_along_axis(logp, kept, axis=1), np.take_along_axis(teacher, kept, axis=1)
    if tail == "renormalized":
        ours, theirs = [log_softmax(logp, axis=1) for logp in (ours, theirs)]
    elif tail == "bucket" and k < logits.shape[1]:
        rest = np.argsort(-teacher_logits, axis=1, kind="stable")[:, k:]
        left = log(exp(np.take_along_axis(logp, rest, axis=1)).sum(axis=1, keepdims=True))
        other = log(exp(np.take_along_axis(teacher, rest, axis=1)).sum(axis=1, keepdims=True))
        ours, theirs = np.concatenate([ours, left], axis=1), np.concatenate([theirs, other], axis=1)
    found = weighted(theirs, theirs - ours) if direction == "forward" else weighted(ours, ours - theirs)
    return maximum(found, 0) if negative == "0" else found


# Losses of tokens: what a token's term is divided by is ``sizes``.


def sizes(mask, reduction="token-mean", divisor=1, groups=None, empty_rows="counted", count="n"):
    if reduction == "mean of group token-means":
        of_rows = array(divisors(mask.tolist(), reduction, empty_rows, count, groups=groups), dtype=float)[:, None]
    else:
        lengths = mask.sum(axis=1, keepdims=True)
        rows = maximum((lengths > 0).sum() if empty_rows == "left out" else len(mask), 1)
        added = shape_of(count, "n", "n + E")[1] or 0
        of_rows = {
            "token-mean": maximum(mask.sum(), 1) + added,
            "mean of means": rows * (maximum(lengths, 1) + added),
            "mean of sums": rows,
            "sum": 1,
            "fixed divisor": divisor,
            "mean of sums over a fixed divisor": rows * divisor,
        }[reduction]
    return np.broadcast_to(of_rows, mask.shape)[mask]


def limited(log_ratio, choice):
    if choice == "as it is":
        return log_ratio
    most = float(choice.split()[-1])
    return clip(log_ratio, -most, most) if choice.startswith("clamped") else minimum(log_ratio, most)


def kl_of_log_ratio(log_ratio, estimator):
    if estimator == "k1":
        return log_ratio
    behind = -log_ratio
    return behind**2 / 2 if estimator == "k2" else exp(behind) - 1 - behind


def policy_gradient_loss(logp, advantages, mask, **reduction):
    return -(advantages[mask] * logp[mask] / sizes(mask, **reduction)).sum()


def kl_estimate(logp, ref_logp, estimator, clamp="none"):
    return kl_of_log_ratio(logp - ref_logp, estimator) if clamp == "none" else None


def kl_loss(logp, ref_logp, old_logp, mask, estimator, form="importance weighted", clamp="none", **reduction):
    if clamp != "none":
        return None
    new, ref, old = logp[mask], ref_logp[mask], old_logp[mask]
    ratio, k = exp(new - old), kl_of_log_ratio(new - ref, estimator)
    followed = kl_of_log_ratio(new - ref, "k2")
    if form == "straight through":
        term = fixed(k) + followed - fixed(followed)
    elif form == "weighted straight through":
        term = fixed(k) + fixed(ratio) * (followed - fixed(followed))
    elif form == "plain":
        term = k
    else:
        term = fixed(ratio) * k if estimator == "k2" else ratio * k
    return (term / sizes(mask, **reduction)).sum()


def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip, log_ratio="as it is", **reduction):
    gain = advantages[mask]
    ratio = exp(limited(logp[mask] - old_logp[mask], log_ratio))
    objective = minimum(ratio * gain, clip(ratio, 1 - clip_low, 1 + clip_high) * gain)
    if dual_clip is not None:
        objective = where(gain < 0, maximum(objective, dual_clip * gain), objective)
    return -(objective / sizes(mask, **reduction)).sum()


def value_loss(values, old_values, returns, mask, clip, factor="1", clipping="larger of both", **reduction):
    new, old, wanted = values[mask], old_values[mask], returns[mask]
    squares = (new - wanted) ** 2
    if clip is not None and clipping == "square at most clip":
        squares = minimum(squares, clip)
    elif clip is not None:
        near = (old + maximum(-clip, minimum(new - old, clip)) - wanted) ** 2
        squares = near if clipping == "clipped only" else maximum(squares, near)
    return float(factor) * (squares / sizes(mask, **reduction)).sum()


def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef, factor="1", **reduction):
    advantage = returns[mask] - values[mask]
    policy = -fixed(advantage) * logp[mask]
    critic = value_coef * float(factor) * advantage**2
    return ((policy + critic - entropy_coef * entropies[mask]) / sizes(mask, **reduction)).sum()


def approx_kl(logp, old_logp, mask, estimator="k3", **reduction):
    return (kl_of_log_ratio(old_logp[mask] - logp[mask], estimator) / sizes(mask, **reduction)).sum()


def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high, counts="ratios outside", **reduction):
    ratio, gain = exp(logp[mask] - old_logp[mask]), advantages[mask]
    below, above = ratio < 1 - clip_low, ratio > 1 + clip_high
    if counts != "ratios outside":
        below, above = below & (gain < 0), above & (gain > 0)
    return ((below | above) / sizes(mask, **reduction)).sum()


def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, ratio="token", clip="pessimistic",
    dual_clip=None, reduction="token-mean", divisor=1, kl="k3", log_ratio="as it is", clamp="none", kl_weight="1",
    **conventions,
):  # fmt: skip
    if clamp != "none":
        return None
    apart = where(mask, logp, 0) - where(mask, old_logp, 0)
    gain = np.broadcast_to(advantages[:, None], mask.shape)
    tokens = maximum(mask.sum(axis=1, keepdims=True), 1)
    held = apart
    if clip == "geometric":
        held = where(gain > 0, minimum(apart, clip_high), where(gain < 0, maximum(apart, -clip_low), apart))
    if ratio == "sequence":
        held = held.sum(axis=1, keepdims=True) / tokens + 0 * mask
        apart = apart.sum(axis=1, keepdims=True) / tokens + 0 * mask
    ratios = exp(limited(held, log_ratio)) if ratio != "none" else 1 + 0 * fixed(held)
    if clip == "weight" or ratio == "none":
        objective = fixed(maximum(1 - clip_low, minimum(ratios, 1 + clip_high))) * gain * where(mask, logp, 0)
    elif clip == "pessimistic":
        objective = minimum(ratios * gain, maximum(1 - clip_low, minimum(ratios, 1 + clip_high)) * gain)
        if dual_clip is not None:
            objective = where(gain < 0, maximum(objective, dual_clip * gain), objective)
    else:
        objective = ratios * gain
    term = -objective[mask]
    if kl_coef != 0:
        penalty = kl_of_log_ratio(logp[mask] - ref_logp[mask], kl)
        if kl_weight != "1":
            weight = exp(limited(apart, log_ratio))[mask] if ratio != "none" else 1
            penalty = (fixed(weight) if kl == "k2" else weight) * penalty
        term = term + kl_coef * penalty
    return (term / sizes(mask, reduction, divisor, groups.tolist(), **conventions)).sum()


def dr_grpo_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length, **conventions
):
    return surrogate_loss(
        logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
        reduction="mean of sums over a fixed divisor", divisor=length, **conventions,
    )  # fmt: skip


grpo_loss = partial(surrogate_loss, reduction="mean of means")
dapo_loss = surrogate_loss
cispo_loss = partial(surrogate_loss, clip="weight")
gspo_loss = partial(surrogate_loss, ratio="sequence", reduction="mean of means")
luspo_loss = partial(surrogate_loss, ratio="sequence", reduction="mean of sums")
gmpo_loss = partial(surrogate_loss, ratio="sequence", clip="geometric", reduction="mean of means")


def importance_weights(logp, sampler_logp, mask, level, form, low, high, log_weight="as it is"):
    apart = where(mask, logp - sampler_logp, 0)
    if level == "sequence":
        apart = apart.sum(axis=1, keepdims=True) + 0 * mask
    elif level == "geometric":
        apart = apart.sum(axis=1, keepdims=True) / maximum(mask.sum(axis=1, keepdims=True), 1) + 0 * mask
    weights = exp(limited(apart, log_weight))
    if form == "truncated":
        weights = minimum(weights, high)
    elif form == "clipped":
        weights = clip(weights, low, high)
    elif form == "masked":
        weights = where((weights >= low) & (weights <= high), weights, 0)
    return where(mask, weights, 0)


def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high, log_weight="as it is", count="n"):
    weights = importance_weights(logp, sampler_logp, mask, level, form, low, high, log_weight)
    how = "token-mean" if level == "token" else "mean of means"
    mean = (weights[mask] / sizes(mask, how, empty_rows="left out", count=count)).sum()
    return where(weights != 0, weights / mean, 0)


def corrected_loss(
    logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high,
    log_ratio="as it is", log_weight="as it is", rejected="counted", **reduction,
):  # fmt: skip
    weights = importance_weights(old_logp, sampler_logp, mask, level, form, low, high, log_weight)
    if rejected == "left out" and form == "masked":
        mask = mask & (weights != 0)
    gain = advantages[mask]
    ratio = exp(limited(logp[mask] - old_logp[mask], log_ratio))
    objective = minimum(ratio * gain, clip(ratio, 1 - clip_low, 1 + clip_high) * gain)
    return -(weights[mask] * objective / sizes(mask, **reduction)).sum()


def effective_sample_size(weights, mask, of="count", eps="mean", count="n"):
    if count != "n":
        return None
    counted, number = weights[mask], maximum(mask.sum(), 1)
    if not counted.any():
        return 0.0
    mean = counted.mean() + (0 if eps == "mean" else float(eps.split()[-1]))
    share = mean**2 / (counted**2).mean()
    return share if of == "share" else number * share


def effective_sample_size__by_sums(weights, mask, of="count", eps="mean", count="n"):
    if count != "n" or eps != "mean":
        return None
    counted = weights[mask]
    if not counted.any():
        return 0.0
    effective = counted.sum() ** 2 / (counted**2).sum()
    return effective / maximum(mask.sum(), 1) if of == "share" else effective


def effective_sample_size__by_shares(weights, mask, of="count", eps="mean", count="n"):
    if count != "n" or eps != "mean":
        return None
    counted = where(mask, weights, 0)
    total = counted.sum()
    square = ((counted / where(total > 0, total, 1)) ** 2).sum()
    effective = where(square > 0, 1 / where(square > 0, square, 1), 0)
    return effective / maximum(mask.sum(), 1) if of == "share" else effective


# Language.


def token_logp(logits, tokens, temperature):
    logp = log_softmax(logits / temperature, axis=2)
    return np.take_along_axis(logp, tokens[:, :, None], axis=2)[:, :, 0]


def sequence_logp(logits, tokens, completion_mask):
    logp = np.take_along_axis(log_softmax(logits, axis=2)[:, :-1], tokens[:, 1:, None], axis=2)[:, :, 0]
    return where(completion_mask[:, 1:], logp, 0).sum(axis=1)


def packed_logp(logits, tokens, segments):
    logp = np.take_along_axis(log_softmax(logits, axis=2)[:, :-1], tokens[:, 1:, None], axis=2)[:, :, 0]
    return np.pad(where(segments[:, 1:] == segments[:, :-1], logp, 0), ((0, 0), (1, 0)))


def completion_mask(tokens, prompt_length, eos, pad):
    place = arange(tokens.shape[1])
    begin = prompt_length[:, None]
    ends = (place >= begin) & (tokens == eos)
    before = cumsum(ends, axis=1) - ends == 0
    later = cumsum(((place >= begin) & (tokens != pad))[:, ::-1], axis=1)[:, ::-1] > 0
    return ((place >= begin) & before & where(ends.any(axis=1, keepdims=True), True, later)).astype(int)


def token_rewards(scores, logp, ref_logp, mask, kl_coef, estimator="k1", clamp="none"):
    x = where(mask, logp - ref_logp, 0)
    distance = abs(x) if estimator == "abs" else kl_of_log_ratio(x, estimator)
    if clamp != "none":
        most = float(clamp.split()[-1])
        distance = clip(distance, -most, most)
    later = cumsum(mask[:, ::-1], axis=1)[:, ::-1]
    return (mask & (later == 1)) * scores[:, None] - kl_coef * distance


def outcome_score(token_rewards, mask):
    return where(mask, token_rewards, 0).sum(axis=1)


def token_returns(token_rewards, mask, gamma):
    number = cumsum(mask, axis=1)
    apart = number[:, :, None] - number[:, None, :]
    paid = where(mask, token_rewards, 0)
    weights = where((apart >= 0) & mask[:, :, None], gamma ** maximum(apart, 0), 0)
    return where(mask, einsum("bk,bkt->bt", paid, weights), 0)


def token_gae(token_rewards, values, mask, gamma, lam):
    number = cumsum(mask, axis=1)
    apart = number[:, :, None] - number[:, None, :]
    known = where(mask, values, 0)
    following = einsum("bk,bkt->bt", known, (apart == 1) & mask[:, :, None])
    errors = where(mask, token_rewards + gamma * following - values, 0)
    weights = where((apart >= 0) & mask[:, :, None], (gamma * lam) ** maximum(apart, 0), 0)
    return where(mask, einsum("bk,bkt->bt", errors, weights), 0)


def token_gae__step_by_step(token_rewards, values, mask, gamma, lam):
    advantages = np.zeros(mask.shape)
    following = carried = np.zeros(len(mask))
    for t in reversed(range(mask.shape[1])):
        error = token_rewards[:, t] + gamma * following - values[:, t]
        carried = where(mask[:, t], error + gamma * lam * carried, carried)
        following = where(mask[:, t], values[:, t], following)
        advantages[:, t] = where(mask[:, t], carried, 0)
    return advantages


def packed_gae__step_by_step(token_rewards, values, segments, mask, gamma, lam):
    advantages = np.zeros(mask.shape)
    for row in range(len(mask)):
        for name in np.unique(segments[row]):
            carried = following = 0
            for t in reversed(np.flatnonzero(mask[row] & (segments[row] == name))):
                error = token_rewards[row, t] + gamma * following - values[row, t]
                advantages[row, t] = carried = error + gamma * lam * carried
                following = values[row, t]
    return advantages


def packed_gae(token_rewards, values, segments, mask, gamma, lam):
    same = (segments[:, :, None] == segments[:, None, :]) & mask[:, :, None] & mask[:, None, :]
    number = np.tril(same).sum(axis=2)
    apart = number[:, :, None] - number[:, None, :]
    following = einsum("bk,bkt->bt", where(mask, values, 0), same & (apart == 1))
    errors = where(mask, token_rewards + gamma * following - values, 0)
    weights = where(same & (apart >= 0), (gamma * lam) ** maximum(apart, 0), 0)
    return where(mask, einsum("bk,bkt->bt", errors, weights), 0)


def turn_sums(values, turns, mask):
    same = (turns[:, :, None] == turns[:, None, :]) & mask[:, :, None]
    return where(mask, einsum("bk,bkt->bt", where(mask, values, 0), same), 0)


def turn_numbers(turns, mask):
    steps = arange(turns.shape[1])
    same = (turns[:, :, None] == turns[:, None, :]) & mask[:, :, None] & mask[:, None, :]
    first = mask & ~(same & (steps[:, None] < steps)).any(axis=1)
    number = cumsum(first, axis=1)
    return first, number[:, :, None] - number[:, None, :]


def turn_returns(token_rewards, turns, mask, gamma):
    _, apart = turn_numbers(turns, mask)
    weights = where((apart >= 0) & mask[:, :, None], gamma ** maximum(apart, 0), 0)
    return where(mask, einsum("bk,bkt->bt", where(mask, token_rewards, 0), weights), 0)


def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    first, apart = turn_numbers(turns, mask)
    known = where(first, values, 0)
    earned = einsum("bk,bkt->bt", where(mask, token_rewards, 0), (apart == 0) & mask[:, :, None])
    following = einsum("bk,bkt->bt", known, apart == 1)
    errors = where(first, earned + gamma * following - known, 0)
    weights = where(apart >= 0, (gamma * lam) ** maximum(apart, 0), 0)
    return where(mask, einsum("bk,bkt->bt", errors, weights), 0)


def aggregate__by_weights(values, mask, reduction, divisor, **conventions):
    weights = np.zeros(mask.shape)
    weights[mask] = 1 / sizes(mask, reduction, divisor, **conventions)
    return (where(mask, values, 0) * (weights * mask)).sum()


def aggregate(values, mask, reduction, divisor, **conventions):
    return (values[mask] / sizes(mask, reduction, divisor, **conventions)).sum()


def packed_aggregate(values, segments, mask, reduction, divisor, count="n"):
    same = (segments[:, :, None] == segments[:, None, :]) & mask[:, :, None] & mask[:, None, :]
    lengths, added = maximum(same.sum(axis=2), 1), shape_of(count, "n", "n + E")[1] or 0
    sequences = maximum((mask & (np.tril(same).sum(axis=2) == 1)).sum(), 1)
    of = {
        "token-mean": maximum(mask.sum(), 1) + added,
        "mean of means": sequences * (lengths + added),
        "mean of sums": sequences,
        "sum": 1,
        "fixed divisor": divisor,
        "mean of sums over a fixed divisor": sequences * divisor,
    }[reduction]
    return where(mask, values / of, 0).sum()


def accumulate(values, mask, reduction, divisor, rows, **conventions):
    return (values[mask] / sizes(mask, reduction, divisor, **conventions)).sum()


def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor, **conventions):
    told = averaged_over, weighing, reduction
    of_rows = shard_divisors(mask.tolist(), shards.tolist(), *told, divisor=divisor, **conventions)
    return (values / array(of_rows, dtype=float)[:, None])[mask].sum()


# Preferences.


def pairs(valid, reduction="mean of sums", empty_rows="left out"):
    return float(divisors(valid[:, None].tolist(), reduction, empty_rows)[0]) if len(valid) else 1.0


def completion_logp(token_logp, mask):
    return where(mask, token_logp, 0).sum(axis=1)


def dpo_loss(
    chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid, noise="conservative",
    **reduction,
):  # fmt: skip
    margin = (chosen_logp - ref_chosen_logp) - (rejected_logp - ref_rejected_logp)
    x = beta * margin[valid]
    right, wrong = 1 - label_smoothing, label_smoothing
    if noise == "robust":
        right = (1 - label_smoothing) / (1 - 2 * label_smoothing)
        wrong = -label_smoothing / (1 - 2 * label_smoothing)
    losses = right * softplus(-x) + wrong * softplus(x)
    return losses.sum() / pairs(valid, **reduction)


def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid, **reduction):
    margin = (chosen_logp - ref_chosen_logp) - (rejected_logp - ref_rejected_logp)
    losses = (margin[valid] - 1 / (2 * tau)) ** 2
    return losses.sum() / pairs(valid, **reduction)


def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid, **reduction):
    x = beta * (logp - ref_logp - kl)
    good = desirable_weight * (1 - sigmoid(x))
    bad = undesirable_weight * (1 - sigmoid(-x))
    return where(desirable, good, bad)[valid].sum() / pairs(valid, **reduction)


def orpo_loss(
    chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid, likelihood="mean of means", **reduction
):
    good, bad = (chosen_logp / chosen_length)[valid], (rejected_logp / rejected_length)[valid]
    log_odds = (good - bad) - (log(-expm1(good)) - log(-expm1(bad)))
    preference = (lam * softplus(-log_odds)).sum() / pairs(valid, **reduction)
    if likelihood == "token-mean":
        return preference - chosen_logp[valid].sum() / maximum(chosen_length[valid].sum(), 1)
    return preference - good.sum() / pairs(valid, **reduction)


def simpo_loss(
    chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid, target="gamma", **reduction
):
    margin = chosen_logp / chosen_length - rejected_logp / rejected_length
    wanted = beta * gamma if target == "beta gamma" else gamma
    return softplus(-(beta * margin - wanted))[valid].sum() / pairs(valid, **reduction)


def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid, **reduction):
    missing = (chosen_logp - ref_chosen_logp) - 1 / (2 * beta)
    beyond = (rejected_logp - ref_rejected_logp) + 1 / (2 * beta)
    return (missing**2 + beyond**2)[valid].sum() / pairs(valid, **reduction)


def rpo_loss(
    chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid,
    likelihood="mean of means", **reduction,
):  # fmt: skip
    margin = (chosen_logp - ref_chosen_logp) - (rejected_logp - ref_rejected_logp)
    losses = softplus(-beta * margin)
    if likelihood == "token-mean":
        imitation = alpha * chosen_logp[valid].sum() / maximum(chosen_length[valid].sum(), 1)
        return losses[valid].sum() / pairs(valid, **reduction) - imitation
    return (losses - alpha * chosen_logp / chosen_length)[valid].sum() / pairs(valid, **reduction)


def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid, **reduction):
    lead, total = chosen_rewards - rejected_rewards - margins, chosen_rewards + rejected_rewards
    return (softplus(-lead) + centering * total**2)[valid].sum() / pairs(valid, **reduction)


def overlong_penalty(lengths, max_length, buffer, factor, beyond="held"):
    share = (lengths - (max_length - buffer)) / buffer
    return -factor * (clip(share, 0, 1) if beyond == "held" else maximum(share, 0))


def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    shortest = where(correct, shortest_correct, shortest_wrong)
    longest = where(correct, longest_correct, longest_wrong)
    found = longest + (shortest - longest) * (1 + cos(pi * minimum(lengths, max_length) / max_length)) / 2
    return found if exceeded is None else where(lengths >= max_length, exceeded, found)


def cosine_reward__by_sines(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    shortest = where(correct, shortest_correct, shortest_wrong)
    longest = where(correct, longest_correct, longest_wrong)
    found = shortest + (longest - shortest) * np.sin(minimum(lengths, max_length) * (pi / (2 * max_length))) ** 2
    return found if exceeded is None else where(lengths >= max_length, exceeded, found)


def length_reward(lengths, correct, groups):
    same = groups[:, None] == groups
    shortest = where(same, lengths, lengths.max()).min(axis=1)
    longest = where(same, lengths, lengths.min()).max(axis=1)
    place = where(shortest < longest, 1 / 2 - (lengths - shortest) / maximum(longest - shortest, 1), 0)
    return where(correct, place, minimum(place, 0))


# Groups.


def group_advantages(
    rewards, groups, baseline, scale, std="ddof=1", eps="std + 1e-6", spread="of the group", alone="zero",
    alone_left_out="zero",
):  # fmt: skip
    if spread != "of the group":
        return None
    same = groups[:, None] == groups
    size = same.sum(axis=1)
    above = rewards - same @ rewards / size
    variance = where(size > 1, same @ above**2 / maximum(size - int(std[-1]), 1), 1)
    if baseline == "leave-one-out":
        above = above * size / maximum(size - 1, 1)
    if (alone if baseline == "mean" else alone_left_out) != "zero":
        above = where(size > 1, above, rewards)
    return where(above == 0, 0, above / kept_from_zero(variance, eps)) if scale == "std" else above


def reinforce_plus_plus_advantages(rewards, groups, baseline, std="ddof=1", eps="sqrt(var + 1e-8)", alone="zero"):
    same = groups[:, None] == groups
    above = rewards - same @ rewards / same.sum(axis=1) if baseline == "mean" else rewards
    if alone != "zero" and baseline == "mean":
        above = where(same.sum(axis=1) > 1, above, rewards)
    if len(above) < 2 or np.ptp(above) == 0:
        return 0 * above
    return (above - above.mean()) / kept_from_zero(above.var(ddof=int(std[-1])), eps)


def gdpo_advantages(
    rewards, groups, weights, std="ddof=1", eps="std + 1e-6", alone="zero", whitening="std + 1e-4",
):  # fmt: skip
    same = groups[:, None] == groups
    size = same.sum(axis=1, keepdims=True)
    above = rewards - same @ rewards / size
    variance = where(size > 1, same @ above**2 / maximum(size - int(std[-1]), 1), 1)
    if alone != "zero":
        above = where(size > 1, above, rewards)
    sums = where(above == 0, 0, above / kept_from_zero(variance, eps)) @ weights
    if whitening == "none" or len(sums) < 2 or np.ptp(sums) == 0:
        return sums if whitening == "none" else 0 * sums
    return (sums - sums.mean()) / kept_from_zero(sums.var(ddof=int(std[-1])), whitening)


def process_advantages(token_rewards, ends, groups, mask, std="ddof=1", eps="std + 1e-6"):
    counted = ends & mask
    same = (groups[:, None] == groups).astype(float)
    size = same @ counted.sum(axis=1, keepdims=True)
    mean = same @ where(counted, token_rewards, 0).sum(axis=1, keepdims=True) / maximum(size, 1)
    above = where(counted, token_rewards - mean, 0)
    variance = same @ (above**2).sum(axis=1, keepdims=True) / maximum(size - int(std[-1]), 1)
    paid = where(above == 0, 0, above / where(above == 0, 1, kept_from_zero(variance, eps)))
    return where(mask, cumsum(paid[:, ::-1], axis=1)[:, ::-1], 0)
