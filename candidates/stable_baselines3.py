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
``replayed_targets`` is the same with a buffer that has room for so many transitions, of which those that it holds are
asked for by their slots.

``autoreset_transitions`` is what `OffPolicyAlgorithm._store_transition` puts into a `ReplayBuffer` as next
observations, which are the values; another mode than that of stable-baselines3's own environments is declined.

``q_target``, ``twin_q_target`` and ``soft_target`` are what `DQN.train`, `TD3.train` and `SAC.train` hand to their
losses as targets, of a `ReplayBuffer` that is filled with the transitions, a truncation as ``TimeLimit.truncated``.
The networks are tables: an observation is a row's number, and its values and log-probabilities are looked up; the noise
of TD3 is 0.  ``n_step_target`` is the first of ``n_step_return`` with as many steps as a row has.

``running_moments`` is `RunningMeanStd.update`, ``normalize_observations`` is `VecNormalize.normalize_obs`, and
``scaled_rewards`` is what `VecNormalize.step` returns for an environment that has these rewards and ends.

Converted: the axes [B, T] to the buffer's [T, B] and back, and every number to the buffer's float32; the
answer stays float32.  stable-baselines3 has no public function for the other operations.
"""

from importlib.metadata import version
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

NAME = f"stable-baselines3 {version('stable-baselines3')}"
CONVENTIONS = {"precision": "float32", "running_moments.precision": "float64"}

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
    return replayed_targets(rewards, next_values, terminated, truncated, np.shape(rewards)[1], gamma, n)


def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    """The same of a buffer that has room for so many transitions, 0 for those that it has forgotten."""
    rows = zip(rewards, next_values, terminated, truncated, strict=True)
    return np.array([_targets_of_a_row(*row, capacity, gamma, n) for row in rows])


def autoreset_transitions(observed_values, final_values, terminated, truncated, mode):
    """The successors that `OffPolicyAlgorithm._store_transition` puts into a `ReplayBuffer`."""
    if mode != "same step":
        raise NotImplementedError("the vectorised environments reset in the same step")
    ended = np.logical_or(terminated, truncated)
    rows, steps = ended.shape
    buffer = ReplayBuffer(rows * steps, _ANY_SPACE, _ANY_SPACE, device="cpu", n_envs=rows)
    unused = np.zeros((rows, 1), dtype=np.float32)
    model = SimpleNamespace(_vec_normalize_env=None, _last_obs=unused)
    for t in range(steps):
        observed, final = (np.array(array[:, t : t + 1], dtype=np.float32) for array in (observed_values, final_values))
        infos = [{"terminal_observation": last} if end else {} for last, end in zip(final, ended[:, t], strict=True)]
        OffPolicyAlgorithm._store_transition(model, buffer, unused, observed, np.zeros(rows), ended[:, t], infos)
    return buffer.next_observations[:steps, :, 0].T.copy(), np.ones(ended.shape)


def n_step_target(rewards, next_values, terminated, truncated, gamma):
    """The first target that `DQN` makes of an `NStepReplayBuffer` with as many steps as a row has."""
    return n_step_return(rewards, next_values, terminated, truncated, gamma, np.shape(rewards)[1])[:, 0]


def q_target(rewards, next_action_values, terminated, truncated, gamma):
    """The target in `DQN.train`."""
    table = _table(next_action_values)
    networks = {"q_net_target": lambda rows: table[rows[:, 0].long()], "q_net": lambda rows: 0 * table}
    return _target(DQN, "dqn.dqn", "smooth_l1_loss", rewards, terminated, truncated, gamma, networks)


def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    """The target in `TD3.train`."""
    networks = _critics(next_first, next_second) | {
        "actor_target": lambda rows: 0 * rows,
        "target_policy_noise": 0.0,
        "target_noise_clip": 0.5,
        "actor": SimpleNamespace(optimizer=None),
    }
    return _target(TD3, "td3.td3", "mse_loss", rewards, terminated, truncated, gamma, networks)


def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    """The target in `SAC.train`, with a fixed entropy coefficient."""
    logp = _table(next_logp)

    def action_log_prob(rows):
        return rows, logp[rows[:, 0].long()]

    networks = _critics(next_first, next_second) | {
        "actor": SimpleNamespace(optimizer=None, action_log_prob=action_log_prob),
        "use_sde": False,
        "ent_coef_optimizer": None,
        "log_ent_coef": None,
        "ent_coef_tensor": torch.tensor(alpha),
    }
    return _target(SAC, "sac.sac", "mse_loss", rewards, terminated, truncated, gamma, networks)


class _TargetFound(Exception):
    """The target that a loss was called with."""


def _target(algorithm, module, loss, rewards, terminated, truncated, gamma, networks):
    """The target that the algorithm's training hands to its loss."""
    rows, ended = len(rewards), np.logical_or(terminated, truncated)
    box = spaces.Box(0.0, float(rows), shape=(1,))
    buffer = ReplayBuffer(rows, box, spaces.Discrete(2) if algorithm is DQN else _ANY_SPACE, device="cpu")
    for row in range(rows):
        number, stopped = np.full((1, 1), row, dtype=np.float32), bool(truncated[row] and not terminated[row])
        infos = [{"TimeLimit.truncated": stopped}]
        buffer.add(number, number, np.zeros((1, 1)), np.array([rewards[row]]), np.array([ended[row]]), infos)
    model = SimpleNamespace(
        policy=SimpleNamespace(set_training_mode=lambda _: None, optimizer=None),
        _update_learning_rate=lambda _: None,
        replay_buffer=SimpleNamespace(sample=lambda size, env: buffer._get_samples(np.arange(size))),
        _vec_normalize_env=None,
        _n_updates=0,
        gamma=gamma,
        **networks,
    )

    def found(_, target):
        raise _TargetFound(target)

    with patch(f"stable_baselines3.{module}.F.{loss}", found):
        try:
            algorithm.train(model, 1, rows)
        except _TargetFound as caught:
            return caught.args[0][:, 0].numpy()
    raise AssertionError("no loss was called")


class _Critic:
    """What is called like a critic, and has an optimiser."""

    optimizer = None

    def __call__(self, rows, actions):
        return torch.zeros(len(rows), 1), torch.zeros(len(rows), 1)


def _critics(first, second):
    one, other = _table(first), _table(second)

    def critic_target(rows, actions):
        numbers = rows[:, 0].long()
        return one[numbers][:, None], other[numbers][:, None]

    return {"critic_target": critic_target, "critic": _Critic()}


def _table(array):
    return torch.tensor(np.array(array, dtype=np.float32))


def running_moments(mean, variance, count, batch):
    """`RunningMeanStd.update`."""
    kept = _moments(mean, variance, count)
    kept.update(np.asarray(batch, dtype=np.float64))
    return kept.mean, kept.var, kept.count


def normalize_observations(observations, mean, variance, eps, clip):
    """`VecNormalize.normalize_obs`."""
    observations = np.asarray(observations, dtype=np.float64)
    box = spaces.Box(-1.0, 1.0, shape=observations.shape[1:])
    wrapper = VecNormalize(_Replayed([], [], box), training=False, clip_obs=clip, epsilon=eps)
    wrapper.obs_rms = _moments(mean, variance, 1.0)
    return wrapper.normalize_obs(observations)


def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    """What `VecNormalize` makes of the rewards."""
    columns = np.asarray(rewards, dtype=np.float64).T
    inner = _Replayed(columns, np.logical_or(terminated, truncated).T, _ANY_SPACE)
    wrapper = VecNormalize(inner, norm_obs=False, clip_reward=clip, gamma=gamma, epsilon=eps)
    wrapper.reset()
    wrapper.ret_rms = _moments(mean, variance, count)
    return np.stack([wrapper.step(np.zeros((columns.shape[1], 1)))[1] for _ in columns], axis=1)


def _moments(mean, variance, count):
    kept = RunningMeanStd()
    kept.mean, kept.var, kept.count = np.asarray(mean, float), np.asarray(variance, float), count
    return kept


class _Replayed(VecEnv):  # type: ignore[misc]
    """Environments side by side that have these rewards and ends, a step at a time."""

    def __init__(self, rewards, dones, space):
        super().__init__(len(rewards[0]) if len(rewards) else 1, space, _ANY_SPACE)
        self.steps = iter(zip(rewards, dones, strict=True))

    def reset(self):
        return np.zeros((self.num_envs, 1), dtype=np.float32)

    def step_async(self, actions):
        pass

    def step_wait(self):
        reward, done = next(self.steps)
        return self.reset(), reward, done, [{} for _ in range(self.num_envs)]

    def close(self):
        pass

    def get_attr(self, attr_name, indices=None):
        return [None] * self.num_envs

    def set_attr(self, attr_name, value, indices=None):
        pass

    def env_method(self, method_name, *method_args, indices=None, **method_kwargs):
        pass

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs


def _targets_of_a_row(rewards, next_values, terminated, truncated, capacity, gamma, n):
    steps = len(rewards)
    box = spaces.Box(0.0, float(steps), shape=(1,))
    buffer = NStepReplayBuffer(capacity, box, _ANY_SPACE, device="cpu", n_steps=n, gamma=gamma)
    for t, (reward, end, stop) in enumerate(zip(rewards, terminated, truncated, strict=True)):
        number = np.full((1, 1), t, dtype=np.float32)
        infos = [{"TimeLimit.truncated": bool(stop and not end)}]
        buffer.add(number, number, np.zeros((1, 1)), np.array([reward]), np.array([end or stop]), infos)
    stored = np.arange(max(0, steps - capacity), steps)
    samples = buffer._get_samples(stored % capacity)
    next_q = torch.tensor(np.array(next_values, dtype=np.float32))[samples.next_observations.long()]
    targets = (samples.rewards + (1 - samples.dones) * samples.discounts * next_q)[:, 0].numpy()
    return np.concatenate([np.zeros(steps - len(stored), dtype=targets.dtype), targets])


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
