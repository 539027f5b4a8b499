"""Gymnasium: the statistics of its wrappers, and what they make of rewards.

Written against 1.4.0.  ``running_moments`` is `update` of `gymnasium.wrappers.utils.RunningMeanStd`.

``scaled_rewards`` is what `gymnasium.wrappers.vector.NormalizeReward` returns for a vector of environments that has
these rewards and ends, in the autoreset mode ``SAME_STEP``, in which the step after an end is the first one of the next
episode.  The wrapper has no clip, and a clip below the largest reward that it returns is declined.  Its statistics
begin with those that are given.

Converted: the axes [B, T] to steps of B environments and back.  The wrapper keeps returns in float32.
"""

from importlib.metadata import version

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.utils import RunningMeanStd
from gymnasium.wrappers.vector import NormalizeReward

NAME = f"gymnasium {version('gymnasium')}"


def running_moments(mean, variance, count, batch):
    kept = _moments(mean, variance, count)
    kept.update(np.asarray(batch, dtype=np.float64))
    return kept.mean, kept.var, kept.count


def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    columns = np.asarray(rewards, dtype=np.float64).T
    flags = (np.asarray(array, dtype=bool).T for array in (terminated, truncated))
    wrapper = NormalizeReward(_Replayed(columns, *flags), gamma=gamma, epsilon=eps)
    wrapper.reset()
    wrapper.return_rms = _moments(mean, variance, count)
    actions = np.zeros((columns.shape[1], 1))
    scaled = np.stack([wrapper.step(actions)[1] for _ in columns], axis=1)
    if np.abs(scaled).max() > clip:
        raise NotImplementedError("nothing is clipped")
    return scaled


def _moments(mean, variance, count):
    kept = RunningMeanStd()
    kept.mean, kept.var, kept.count = np.asarray(mean, float), np.asarray(variance, float), count
    return kept


class _Replayed(VectorEnv):
    """Environments side by side that have these rewards and ends, a step at a time."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 (the library's own attribute)

    def __init__(self, rewards, terminated, truncated):
        self.num_envs = rewards.shape[1]
        self.single_observation_space = self.single_action_space = spaces.Box(-1.0, 1.0, shape=(1,))
        self.observation_space = self.action_space = spaces.Box(-1.0, 1.0, shape=(self.num_envs, 1))
        self.steps = iter(zip(rewards, terminated, truncated, strict=True))

    def reset(self, *, seed=None, options=None):
        return np.zeros((self.num_envs, 1), dtype=np.float32), {}

    def step(self, actions):
        return self.reset()[0], *next(self.steps), {}
