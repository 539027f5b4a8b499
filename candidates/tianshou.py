"""tianshou: `Algorithm.compute_episodic_return`, `compute_nstep_return` and the Monte Carlo return of an episode.

Written against 2.0.1.  A `VectorReplayBuffer` with one environment a row is filled step by step, as the
collector does it; ``buffer.sample(0)`` returns it whole and in order, as an on-policy update asks for it;
`gae` then passes the values of the observations and of the next observations.  The library itself masks the
values after a termination, and ends the episodes that the buffer holds unfinished.

``lambda_return`` is the return of the same call.  It is not given the steps' own values, which cancel: they are the
successors' values one step on, and where an episode begins the reward, as a number that is not 0.
``n_step_return`` is `compute_nstep_return` of the whole buffer, with a target function that looks up the successors'
values.

``reward_to_go`` is `episode_mc_return_to_go`; ``discounted_return`` is what the collector's hook
`EpisodeRolloutHookMCReturn` writes as the full episode's return.

Converted: rows and the library's one long axis, and every number to float64, which it keeps.  tianshou has
no public function for ``td_error``.
"""

from importlib.metadata import version

import numpy as np
import torch
from tianshou.algorithm.algorithm_base import Algorithm, episode_mc_return_to_go
from tianshou.data import Batch, VectorReplayBuffer
from tianshou.data.collector import EpisodeRolloutHookMCReturn

NAME = f"tianshou {version('tianshou')}"


def discounted_return(rewards, gamma):
    """The return that `EpisodeRolloutHookMCReturn` repeats at every step of the episode."""
    hook = EpisodeRolloutHookMCReturn(gamma)
    return np.array([hook(Batch(rew=row))["full_episode_mc_return"][0] for row in _numbers(rewards)])


def reward_to_go(rewards, gamma):
    """`episode_mc_return_to_go` of each row."""
    return np.array([episode_mc_return_to_go(row, gamma) for row in _numbers(rewards)])


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """The advantages of `compute_episodic_return`."""
    return _episodic(rewards, values, next_values, terminated, truncated, gamma, lam)[1]


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    """The returns of `compute_episodic_return`."""
    values = np.roll(next_values, 1, axis=1)
    begins = np.roll(np.logical_or(terminated, truncated), 1, axis=1)
    begins[:, 0] = True
    values = np.where(begins, rewards, values)
    return _episodic(rewards, values, next_values, terminated, truncated, gamma, lam)[0]


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    """The returns of `compute_nstep_return`."""
    buffer = _collected(_numbers(rewards), np.array(terminated, dtype=bool), np.array(truncated, dtype=bool))
    batch, indices = buffer.sample(0)
    successors = torch.from_numpy(_numbers(next_values).ravel())
    batch = Algorithm.compute_nstep_return(
        batch, buffer, indices, lambda _, chosen: successors[chosen], gamma=gamma, n_step=n
    )
    return batch.returns.numpy().reshape(np.shape(rewards))


def _episodic(rewards, values, next_values, terminated, truncated, gamma, lam):
    buffer = _collected(_numbers(rewards), np.array(terminated, dtype=bool), np.array(truncated, dtype=bool))
    batch, indices = buffer.sample(0)
    v_s, v_s_ = _numbers(values).ravel(), _numbers(next_values).ravel()
    found = Algorithm.compute_episodic_return(batch, buffer, indices, v_s_=v_s_, v_s=v_s, gamma=gamma, gae_lambda=lam)
    return [part.reshape(np.shape(rewards)) for part in found]


def _collected(rewards, terminated, truncated):
    """A buffer that holds these rollouts; the observations and actions are of no account."""
    rows, steps = rewards.shape
    buffer = VectorReplayBuffer(rows * steps, rows)
    unused = np.zeros(rows)
    for t in range(steps):
        step = {"rew": rewards[:, t], "terminated": terminated[:, t], "truncated": truncated[:, t]}
        buffer.add(Batch(obs=unused, act=unused, obs_next=unused, info={}, **step))
    return buffer


def _numbers(array):
    return np.array(array, dtype=np.float64, order="C")
