"""Several agents' advantages and targets, written another way."""

import numpy as np
import torch

from .registry import variant


def recursion(rewards, values, next_values, over, ended, gamma, lam):
    """GAE over the second axis, whatever stands behind it."""
    errors = rewards + gamma * np.where(over, 0.0, next_values) - values
    found, carried = np.zeros(errors.shape), np.zeros(errors[:, 0].shape)
    for t in reversed(range(errors.shape[1])):
        carried = errors[:, t] + gamma * lam * np.where(ended[:, t], 0.0, carried)
        found[:, t] = carried
    return found


@variant("with masks as MAPPO has them", quick=True)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    flags = (np.asarray(flag, dtype=bool) for flag in (terminated, truncated, alive, dies))
    over, stopped, active, gone = flags
    over, stopped = (flag[..., None].repeat(active.shape[2], axis=2) for flag in (over, stopped))
    if credit == "team":
        rewards = np.repeat(np.asarray(rewards, dtype=float).sum(axis=2)[..., None], active.shape[2], axis=2)
    else:
        over = over | gone
    return recursion(rewards, values, next_values, over, over | stopped, gamma, lam) * active


@variant("of mean rewards, up to an agent's death", quick=True)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    flags = (np.asarray(flag, dtype=bool) for flag in (terminated, truncated, alive, dies))
    over, stopped, active, gone = flags
    paid = np.asarray(rewards, dtype=float)
    paid = paid if credit == "own" else paid * 0 + paid.mean(axis=2, keepdims=True)
    columns = []
    for agent in range(active.shape[2]):
        ends = over | gone[..., agent]
        numbers = (table[..., agent] for table in (paid, values, next_values))
        columns.append(np.where(active[..., agent], recursion(*numbers, ends, ends | stopped, gamma, lam), 0.0))
    return np.stack(columns, axis=2)


@variant("of rewards that are the agents' own, by torch", quick=True)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    if credit != "own":
        raise NotImplementedError("agents have rewards of their own here")
    rewards, values, following = (
        torch.tensor(np.array(table, dtype=float)) for table in (rewards, values, next_values)
    )
    over, stopped, active, gone = (torch.tensor(np.array(flag)).bool() for flag in (terminated, truncated, alive, dies))
    over = over.unsqueeze(-1) | gone
    ended = over | stopped.unsqueeze(-1)
    errors, carried = rewards + gamma * following.masked_fill(over, 0) - values, torch.zeros(())
    for t in reversed(range(errors.shape[1])):
        carried = errors[:, t] + gamma * lam * torch.where(ended[:, t], torch.zeros(()), carried)
        errors[:, t] = carried
    return errors * active


@variant("as pymarl has them", quick=True)
def counterfactual_advantages(action_values, policy, actions):
    values, policy = (torch.tensor(np.array(table, dtype=float)) for table in (action_values, policy))
    taken = torch.gather(values, 1, torch.tensor(np.array(actions)).long().reshape(-1, 1)).squeeze(1)
    return taken - (policy * values).sum(-1)


@variant("with a large number below those that there are not", quick=True)
def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    values = torch.tensor(np.array(next_action_values, dtype=float))
    values[torch.tensor(np.array(available)).bool() == 0] = -9999999999
    following = values.max(dim=2)[0].sum(dim=1).numpy()
    return rewards + gamma * (1 - np.asarray(terminated, dtype=float)) * following
