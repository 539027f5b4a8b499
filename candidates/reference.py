"""The reference itself, as a candidate: NumPy arrays in and out, nested sequences and leading time inside."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rlspec.reference import advantages, decision_process, group, returns
from rlspec.reference import policy_gradient as gradients
from rlspec.reference.advantages import normalize_advantages as _normalize_advantages
from rlspec.reference.decision_process import TabularMDP, softmax

NAME = "reference"


def _time_leading(function: Callable[..., Any], *arguments: Any) -> np.ndarray:
    """The reference's answer to arrays [B, T] and scalars, with time last again."""
    moved = (argument.T if isinstance(argument, np.ndarray) else argument for argument in arguments)
    return np.array(function(*moved)).T


def discounted_return(rewards, gamma):
    return _time_leading(returns.discounted_return, rewards, gamma)


def reward_to_go(rewards, gamma):
    return _time_leading(returns.reward_to_go, rewards, gamma)


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return _time_leading(returns.n_step_return, rewards, next_values, terminated, truncated, gamma, n)


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    return _time_leading(returns.lambda_return, rewards, next_values, terminated, truncated, gamma, lam)


def td_error(rewards, values, next_values, terminated, gamma):
    return _time_leading(advantages.td_error, rewards, values, next_values, terminated, gamma)


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return _time_leading(advantages.gae, rewards, values, next_values, terminated, truncated, gamma, lam)


def expected_return(transition, reward, initial, policy, gamma, horizon):
    return decision_process.expected_return(TabularMDP(transition, reward, initial, gamma, horizon), policy.tolist())


def state_values(transition, reward, policy, gamma, horizon):
    return np.array(decision_process.state_values(_anywhere(transition, reward, gamma, horizon), policy.tolist()))


def action_values(transition, reward, policy, gamma, horizon):
    return np.array(decision_process.action_values(_anywhere(transition, reward, gamma, horizon), policy.tolist()))


def occupancy(transition, initial, policy, gamma, horizon):
    mdp = TabularMDP(transition, np.zeros(policy.shape).tolist(), initial, gamma, horizon)
    return np.array(decision_process.occupancy(mdp, policy.tolist()))


def _anywhere(transition: Any, reward: Any, gamma: float, horizon: int | None) -> TabularMDP:
    """The process for questions that do not depend on where it begins."""
    return TabularMDP(transition, reward, np.eye(len(reward))[0], gamma, horizon)


def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    mdp = TabularMDP(transition, reward, initial, gamma, horizon)
    return np.array(gradients.exact_policy_gradient(mdp, softmax(logits.tolist())))


def policy_gradient(logits, states, actions, rewards, mask, gamma):
    policy = softmax(logits.tolist())
    estimates = [
        gradients.policy_gradient(policy, visited[taken].tolist(), chosen[taken].tolist(), paid[taken].tolist(), gamma)
        for visited, chosen, paid, taken in zip(states, actions, rewards, mask.astype(bool), strict=True)
    ]
    return np.mean(estimates, axis=0)


def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    with np.errstate(over="ignore"):  # a ratio that is too large for a float is clipped all the same
        ratio = np.exp(log_ratio)
    arguments = (rewards, values, next_values, terminated, truncated, ratio, gamma, lam, rho_clip, c_clip)
    targets, advantage = np.moveaxis(_time_leading(advantages.vtrace, *arguments), -1, 0)
    return targets, advantage


def normalize_advantages(advantages, mask):
    normalized = _normalize_advantages(advantages.ravel().tolist(), mask.ravel().tolist())
    return np.array(normalized, dtype=advantages.dtype).reshape(advantages.shape)


def entropy(logits, legal):
    rows = [gradients.entropy(*row) for row in zip(logits.tolist(), legal.tolist(), strict=True)]
    return tuple(map(np.array, zip(*rows, strict=True)))


def policy_gradient_loss(logp, advantages, mask):
    loss, slopes = gradients.policy_gradient_loss(logp.tolist(), advantages.tolist(), mask.tolist())
    return loss, np.array(slopes)


# group


def group_advantages(rewards, groups, baseline, scale):
    return np.array(group.group_advantages(rewards.tolist(), groups.tolist(), baseline, scale))


def reinforce_plus_plus_advantages(rewards, groups, baseline):
    return np.array(group.reinforce_plus_plus_advantages(rewards.tolist(), groups.tolist(), baseline))


def _group_loss(name: str, arguments: tuple[Any, ...]) -> tuple[Any, np.ndarray]:
    lists = (argument.tolist() if isinstance(argument, np.ndarray) else argument for argument in arguments)
    loss, slopes = getattr(group, name)(*lists)
    return loss, np.array(slopes)


def grpo_loss(logp, old_logp, ref_logp, advantages, mask, clip_low, clip_high, kl_coef):
    return _group_loss("grpo_loss", (logp, old_logp, ref_logp, advantages, mask, clip_low, clip_high, kl_coef))


def dr_grpo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, length):
    return _group_loss("dr_grpo_loss", (logp, old_logp, advantages, mask, clip_low, clip_high, length))


def dapo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
    return _group_loss("dapo_loss", (logp, old_logp, advantages, mask, clip_low, clip_high))


def gspo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
    return _group_loss("gspo_loss", (logp, old_logp, advantages, mask, clip_low, clip_high))


def cispo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
    return _group_loss("cispo_loss", (logp, old_logp, advantages, mask, clip_low, clip_high))
