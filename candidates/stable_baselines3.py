"""stable-baselines3: `RolloutBuffer.compute_returns_and_advantage`, which PPO and A2C learn from.

Written against 2.9.2.  The buffer is filled and asked as `OnPolicyAlgorithm.collect_rollouts` does it:

- where a step is truncated and not terminated (``TimeLimit.truncated`` of the vectorised environments), the
  caller adds ``gamma * V(final observation)`` to its reward; the buffer itself knows no truncation;
- ``episode_start`` of a step is the previous step's ``terminated or truncated``, and True at the first
  step;
- ``last_values`` and ``dones`` belong to the last step.  Where an episode ends there, `collect_rollouts`
  passes the value of the first observation after the reset.  No argument of ``gae`` holds it;
  ``next_values`` stands in for it, and the library multiplies it by zero.

Converted: the axes [B, T] to the buffer's [T, B] and back, and every number to the buffer's float32; the
answer stays float32.  stable-baselines3 has no public function for the other operations.
"""

from importlib.metadata import version

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

NAME = f"stable-baselines3 {version('stable-baselines3')}"
CONVENTIONS = {"precision": "float32"}

_ANY_SPACE = spaces.Box(-1.0, 1.0, shape=(1,))


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """The advantages that `compute_returns_and_advantage` leaves in the buffer."""
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
    return buffer.advantages.T.copy()


def _time_first(array, dtype):
    return np.array(np.transpose(array), dtype=dtype, order="C")
