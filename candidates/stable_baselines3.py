"""stable-baselines3: `RolloutBuffer.compute_returns_and_advantage`, which PPO and A2C learn from, and n-step replay.

Written against 2.9.2.  The buffer is filled and asked as `OnPolicyAlgorithm.collect_rollouts` does it:

- where a step is truncated and not terminated (``TimeLimit.truncated`` of the vectorised environments), the
  caller adds ``gamma * V(final observation)`` to its reward; the buffer itself knows no truncation;
- ``episode_start`` of a step is the previous step's ``terminated or truncated``, and True at the first
  step;
- ``last_values`` and ``dones`` belong to the last step.  Where an episode ends there, `collect_rollouts`
  passes the value of the first observation after the reset.  No argument of ``gae`` holds it;
  ``next_values`` stands in for it, and the library multiplies it by zero.

``lambda_return`` is what that method leaves in ``returns``.  It is not given the steps' own values, which
cancel: they are the successors' values one step on, and where an episode begins the reward, as a number that is not 0.

``n_step_return`` fills an `NStepReplayBuffer` for each row, asks for all of its transitions in order (`_get_samples`,
because `sample` draws at random) and bootstraps as `DQN.train` does: ``rewards + (1 - dones) * discounts * next_q``.
The observations are the steps' numbers, and ``next_observations`` tells which successor's value is meant.

Converted: the axes [B, T] to the buffer's [T, B] and back, and every number to the buffer's float32; the
answer stays float32.  stable-baselines3 has no public function for the other operations.
"""

from importlib.metadata import version

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, RolloutBuffer

NAME = f"stable-baselines3 {version('stable-baselines3')}"
CONVENTIONS = {"precision": "float32"}

_ANY_SPACE = spaces.Box(-1.0, 1.0, shape=(1,))


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """The advantages that `compute_returns_and_advantage` leaves in the buffer."""
    return _filled(rewards, values, next_values, terminated, truncated, gamma, lam).advantages.T.copy()


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    """The returns that `compute_returns_and_advantage` leaves in the buffer."""
    values = np.roll(next_values, 1, axis=1)
    begins = np.roll(np.logical_or(terminated, truncated), 1, axis=1)
    begins[:, 0] = True
    values = np.where(begins, rewards, values)
    return _filled(rewards, values, next_values, terminated, truncated, gamma, lam).returns.T.copy()


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    """The targets that `DQN` makes of an `NStepReplayBuffer`."""
    rows = zip(rewards, next_values, terminated, truncated, strict=True)
    return np.array([_n_step_returns_of_a_row(*row, gamma, n) for row in rows])


def _n_step_returns_of_a_row(rewards, next_values, terminated, truncated, gamma, n):
    steps = len(rewards)
    box = spaces.Box(0.0, float(steps), shape=(1,))
    buffer = NStepReplayBuffer(steps, box, _ANY_SPACE, device="cpu", n_steps=n, gamma=gamma)
    for t, (reward, end, stop) in enumerate(zip(rewards, terminated, truncated, strict=True)):
        number = np.full((1, 1), t, dtype=np.float32)
        infos = [{"TimeLimit.truncated": bool(stop and not end)}]
        buffer.add(number, number, np.zeros((1, 1)), np.array([reward]), np.array([end or stop]), infos)
    samples = buffer._get_samples(np.arange(steps))
    next_q = torch.tensor(np.array(next_values, dtype=np.float32))[samples.next_observations.long()]
    return (samples.rewards + (1 - samples.dones) * samples.discounts * next_q)[:, 0].numpy()


def _filled(rewards, values, next_values, terminated, truncated, gamma, lam):
    rows, steps = np.shape(rewards)
    rewards, values, next_values = (_time_first(x, np.float32) for x in (rewards, values, next_values))
    terminated, truncated = (_time_first(x, bool) for x in (terminated, truncated))
    dones = terminated | truncated
    timeout = truncated & ~terminated
    rewards[timeout] += gamma * next_values[timeout]

    buffer = RolloutBuffer(steps, _ANY_SPACE, _ANY_SPACE, device="cpu", gae_lambda=lam, gamma=gamma, n_envs=rows)
    unused = np.zeros((rows, 1), dtype=np.float32)
    episode_start = np.ones(rows, dtype=bool)
    for reward, value, done in zip(rewards, values, dones, strict=True):
        buffer.add(unused, unused, reward, episode_start, torch.tensor(value), torch.zeros(rows))
        episode_start = done
    buffer.compute_returns_and_advantage(torch.tensor(next_values[-1]), dones[-1])
    return buffer


def _time_first(array, dtype):
    return np.array(np.transpose(array), dtype=dtype, order="C")
