"""stable-baselines3's PPO and A2C, with the advantages that their buffer computes recorded."""

import numpy as np
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer

import rlspec


class Recorded(RolloutBuffer):
    """The buffer as its users derive from it.

    A truncation's bootstrap stands in the reward, where `collect_rollouts` puts it, so that it counts as a termination.
    """

    defect = ""

    def compute_returns_and_advantage(self, last_values, dones):
        """What the buffer computes, or what it would with the defect."""
        super().compute_returns_and_advantage(last_values, dones)
        if self.defect == "carry-crosses-episodes":
            carry = np.zeros(self.n_envs, dtype=np.float32)
            following = last_values.clone().cpu().numpy().flatten()
            ended = dones.astype(np.float32)
            for step in reversed(range(self.buffer_size)):
                delta = self.rewards[step] + self.gamma * following * (1 - ended) - self.values[step]
                carry = delta + self.gamma * self.gae_lambda * carry
                self.advantages[step] = carry
                following, ended = self.values[step], self.episode_starts[step]
        ended = np.concatenate([self.episode_starts[1:], dones[None]]).astype(bool)
        following = np.concatenate([self.values[1:], last_values.cpu().numpy().reshape(1, -1)])
        rlspec.observe("gae", axes="T B", rewards=self.rewards, values=self.values, next_values=following,
                       terminated=ended, truncated=np.zeros_like(ended), gamma=self.gamma, lam=self.gae_lambda,
                       result=self.advantages)  # fmt: skip


def train(defect="", algorithm="PPO"):
    """Some steps on CartPole; the defect is ``carry-crosses-episodes``."""
    kind = type("Buffer", (Recorded,), {"defect": defect})
    learner = {"PPO": PPO, "A2C": A2C}[algorithm]
    steps = {"n_steps": 64} | ({"batch_size": 64, "n_epochs": 1} if algorithm == "PPO" else {})
    learner("MlpPolicy", "CartPole-v1", seed=0, device="cpu", gae_lambda=0.9, rollout_buffer_class=kind, **steps).learn(
        192
    )
