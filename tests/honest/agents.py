"""Ways to compute several agents' advantages and targets."""

import numpy as np

from .catalogue import way
from .returns import RECURSIONS
from .targets import BACKUPS, picked


def earned(style, choices, rewards, credit):
    """What each agent is paid."""
    if credit == "own":
        return rewards
    total = style.total(rewards)[..., None]
    return np.zeros_like(rewards) + (total if choices["team"] == "sum" else total / style.dtype(rewards.shape[2]))


for how, recursion in RECURSIONS.items():

    @way(f"agent by agent, {how}")
    def agents_gae(
        style, choices, rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit,
        recursion=recursion,
    ):  # fmt: skip
        paid, found = earned(style, choices, rewards, credit), np.zeros_like(rewards)
        leaves = credit == "own" or choices["death"] == "end"
        gamma, lam = style.dtype(gamma), style.dtype(lam)
        for agent in range(rewards.shape[2]):
            over = terminated | dies[..., agent] if leaves else terminated
            errors = paid[..., agent] + gamma * np.where(over, style.dtype(0), next_values[..., agent])
            goes_on = np.where(over | truncated, style.dtype(0), gamma * lam)
            sums = recursion(style)(errors - values[..., agent], goes_on)
            found[..., agent] = np.where(alive[..., agent], sums, style.dtype(0))
        return found


@way("all agents at once, a step at a time")
def agents_gae(style, choices, rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    paid, found = earned(style, choices, rewards, credit), np.zeros_like(rewards)
    over = terminated[..., None] | (dies if credit == "own" or choices["death"] == "end" else False)
    ended, carried = over | truncated[..., None], np.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = np.where(over[:, t], style.dtype(0), next_values[:, t])
        carried = np.where(ended[:, t], style.dtype(0), style.dtype(gamma) * style.dtype(lam) * carried)
        carried = paid[:, t] + style.dtype(gamma) * following - values[:, t] + carried
        found[:, t] = carried
    return found * alive


@way("a value less a mean")
def counterfactual_advantages(style, choices, action_values, policy, actions):
    return picked(action_values, actions) - style.total(policy * action_values)


@way("a mean of differences")
def counterfactual_advantages(style, choices, action_values, policy, actions):
    return style.total(policy * (picked(action_values, actions)[:, None] - action_values))


for how, backup in BACKUPS.items():

    @way(f"by maximum, {how}")
    def vdn_target(style, choices, rewards, next_action_values, available, terminated, truncated, gamma, backup=backup):
        lowest = np.where(available, next_action_values, -np.inf).max(axis=2).astype(style.dtype)
        return backup(style, rewards, style.total(lowest), terminated, gamma)

    @way(f"agent by agent, {how}")
    def vdn_target(style, choices, rewards, next_action_values, available, terminated, truncated, gamma, backup=backup):
        following = np.zeros_like(rewards)
        for row, agent in np.ndindex(available.shape[:2]):
            known = next_action_values[row, agent][available[row, agent]]
            following[row] = following[row] + np.sort(known)[-1]
        return backup(style, rewards, following, terminated, gamma)
