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

``q_target`` and ``double_q_target`` are `compute_nstep_return` of one step with `DQN._target_q`, ``twin_q_target`` and
``soft_target`` with those of `TD3` and `SAC`, ``n_step_target`` that of the first step of a row with all of its steps.
The networks are tables: an observation is a row's number, and its values, actions and log-probabilities are looked up.
``categorical_projection`` is `C51._target_dist` of the returns of each atom.  ``quantile_huber_loss`` is the loss that
`QRDQN._update_with_batch` hands to its optimiser, of one row; its Huber loss has the delta 1, and others are declined.
``running_moments`` and ``normalize_observations`` are `RunningMeanStd.update` and `norm`, which keeps within ten unless
it is told otherwise, and is told the clip.

``replayed_targets`` is `compute_nstep_return` of all that a buffer with so much room holds; its observations are the
steps' numbers.  ``sampling_probabilities``, ``priority_weights`` and ``sampled_slots`` are those of a
`PrioritizedReplayBuffer` that is full; it draws from the whole sum, has no alpha of 0, and adds float32's 1.2e-7 to
each priority.  For ``priority_weights`` and ``sampled_slots`` the numbers are put into its tree as they are.

Converted: rows and the library's one long axis, and every number to float64, which it keeps.  tianshou has
no public function for ``td_error``.
"""

from importlib.metadata import version
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from tianshou.algorithm.algorithm_base import Algorithm, episode_mc_return_to_go
from tianshou.algorithm.modelfree.c51 import C51
from tianshou.algorithm.modelfree.dqn import DQN
from tianshou.algorithm.modelfree.qrdqn import QRDQN
from tianshou.algorithm.modelfree.sac import SAC
from tianshou.algorithm.modelfree.td3 import TD3
from tianshou.data import Batch, PrioritizedReplayBuffer, VectorReplayBuffer
from tianshou.data.collector import EpisodeRolloutHookMCReturn
from tianshou.utils.statistics import RunningMeanStd

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


def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    """The returns of `compute_nstep_return`, of a buffer that has room for so many steps of each row."""
    rows, steps = np.shape(rewards)
    over, stopped = (np.array(flags, dtype=bool) for flags in (terminated, truncated))
    numbers = np.arange(rows * steps).reshape(rows, steps)
    buffer = _collected(_numbers(rewards), over, stopped, numbers, capacity)
    batch, indices = buffer.sample(0)
    successors = torch.from_numpy(_numbers(next_values).ravel())
    found = Algorithm.compute_nstep_return(
        batch, buffer, indices, lambda of, chosen: successors[of.obs[chosen]], gamma=gamma, n_step=n
    )
    targets = np.zeros(rows * steps)
    targets[buffer.obs[indices]] = found.returns.numpy().ravel()
    return targets.reshape(rows, steps)


def sampling_probabilities(priorities, alpha):
    """What `PrioritizedReplayBuffer.update_weight` leaves in its tree, over the sum that it draws from."""
    tree = _prioritized(priorities, alpha, 1.0).weight
    return tree[np.arange(len(priorities))] / tree.reduce()


def priority_weights(probabilities, sampled, beta):
    """The weights that `PrioritizedReplayBuffer` hands out with those slots."""
    return _with_tree(probabilities, beta)[sampled.astype(int)].weight


def sampled_slots(priorities, uniforms):
    """`PrioritizedReplayBuffer.sample_indices`, with these numbers for those that it draws."""
    buffer = _with_tree(priorities, 1.0)
    with patch("numpy.random.rand", lambda count: _numbers(uniforms)):
        return buffer.sample_indices(len(uniforms))


def _with_tree(numbers, beta):
    """A buffer that is full, with these numbers in its tree."""
    buffer = _prioritized(np.ones(len(numbers)), 1.0, beta)
    buffer.weight[np.arange(len(numbers))] = _numbers(numbers)
    return buffer


def _prioritized(priorities, alpha, beta):
    """A buffer that is full, with these priorities."""
    if alpha == 0:
        raise NotImplementedError("alpha is above 0")
    count = len(priorities)
    buffer = PrioritizedReplayBuffer(count, alpha, beta)
    for _ in range(count):
        buffer.add(Batch(obs=0, act=0, rew=0.0, terminated=False, truncated=False, obs_next=0, info={}))
    buffer.update_weight(np.arange(count), _numbers(priorities))
    return buffer


def q_target(rewards, next_action_values, terminated, truncated, gamma):
    """One step with `DQN._target_q`, not double."""
    return _of_dqn(rewards, next_action_values, next_action_values, terminated, truncated, gamma, double=False)


def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    """One step with `DQN._target_q`, double."""
    return _of_dqn(rewards, next_online_values, next_target_values, terminated, truncated, gamma, double=True)


def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    """One step with `TD3._target_q_compute_value`."""
    critics = _critics(next_first, next_second)

    def target(buffer, indices):
        return TD3._target_q_compute_value(critics, Batch(obs=_rows(buffer, indices)), Batch(act=None))

    return _one_step(rewards, terminated, truncated, gamma, target)


def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    """One step with `SAC._target_q_compute_value`."""
    critic = object.__new__(SAC)
    vars(critic).update(vars(_critics(next_first, next_second)), alpha=SimpleNamespace(value=alpha), _modules={})
    logp = torch.from_numpy(_numbers(next_logp))

    def target(buffer, indices):
        rows = _rows(buffer, indices)
        return SAC._target_q_compute_value(critic, Batch(obs=rows), SimpleNamespace(act=None, log_prob=logp[rows]))

    return _one_step(rewards, terminated, truncated, gamma, target)


def n_step_target(rewards, next_values, terminated, truncated, gamma):
    """The first of the returns of `compute_nstep_return` with as many steps as a row has."""
    return n_step_return(rewards, next_values, terminated, truncated, gamma, np.shape(rewards)[1])[:, 0]


def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    """`C51._target_dist` of the returns of one step from each atom."""
    mass = torch.from_numpy(_numbers(next_probabilities))
    support = torch.linspace(v_min, v_max, mass.shape[1], dtype=mass.dtype)
    returns = _one_step(rewards, terminated, truncated, gamma, lambda _, chosen: support.repeat(len(chosen), 1))
    known = SimpleNamespace(act=np.zeros(len(mass), int), logits=mass[:, None])
    policy = _Table(lambda *_, **__: known, v_min=v_min, v_max=v_max, support=support)
    algorithm = SimpleNamespace(policy=policy, use_target_network=False, delta_z=(v_max - v_min) / (mass.shape[1] - 1))
    batch = Batch(obs_next=np.arange(len(mass)), returns=torch.from_numpy(returns))
    return C51._target_dist(algorithm, batch).numpy()


def quantile_huber_loss(quantiles, target_quantiles, delta):
    """The loss that `QRDQN._update_with_batch` minimises, row by row."""
    if delta != 1:
        raise NotImplementedError("the Huber loss has the delta 1")
    found = [_quantile_loss(*row) for row in zip(_numbers(quantiles), _numbers(target_quantiles), strict=True)]
    losses, slopes = zip(*found, strict=True)
    return np.array(losses), np.stack(slopes)


def _quantile_loss(quantiles, target_quantiles):
    ours = torch.tensor(quantiles[None, None], requires_grad=True)
    levels = torch.linspace(0, 1, len(quantiles) + 1)  # as in the constructor, which has no other type
    losses: list[torch.Tensor] = []
    algorithm = SimpleNamespace(
        _periodically_update_lagged_network_weights=lambda: None,
        policy=lambda _: SimpleNamespace(logits=ours),
        tau_hat=((levels[:-1] + levels[1:]) / 2).view(1, -1, 1),
        optim=SimpleNamespace(step=losses.append),
    )
    batch = Batch(act=np.zeros(1, int), returns=torch.tensor(target_quantiles[None]))
    QRDQN._update_with_batch(algorithm, batch)
    return losses[0].item(), torch.autograd.grad(losses[0], ours)[0][0, 0].numpy()


def running_moments(mean, variance, count, batch):
    """`RunningMeanStd.update`."""
    kept = RunningMeanStd(mean=_numbers(mean), std=_numbers(variance))
    kept.count = count
    kept.update(_numbers(batch))
    return kept.mean, kept.var, kept.count


def normalize_observations(observations, mean, variance, eps, clip):
    """`RunningMeanStd.norm`."""
    kept = RunningMeanStd(mean=_numbers(mean), std=_numbers(variance), clip_max=clip, epsilon=eps)
    return kept.norm(_numbers(observations))


class _Table:
    """What is called like a network or a policy, and has some attributes."""

    def __init__(self, answer, **attributes):
        self.answer = answer
        vars(self).update(attributes)

    def __call__(self, *arguments, **named):
        return self.answer(*arguments, **named)


def _rows(buffer, indices):
    """The observations after some transitions: the numbers of their rows."""
    return buffer[indices].obs_next.astype(int)


def _critics(first, second):
    one, other = (torch.from_numpy(_numbers(values)) for values in (first, second))
    return SimpleNamespace(critic_old=lambda rows, _: one[rows], critic2_old=lambda rows, _: other[rows])


def _of_dqn(rewards, online, target, terminated, truncated, gamma, double):
    tables = {name: torch.from_numpy(_numbers(values)) for name, values in (("new", online), ("old", target))}

    def policy(batch, model="new"):
        logits = tables[model][batch.obs.astype(int)]
        return SimpleNamespace(logits=logits, act=logits.argmax(dim=1).numpy())

    algorithm = SimpleNamespace(policy=policy, model_old="old", use_target_network=True, is_double=double)
    return _one_step(rewards, terminated, truncated, gamma, lambda *of: DQN._target_q(algorithm, *of))


def _one_step(rewards, terminated, truncated, gamma, target):
    """`compute_nstep_return` of one step, of transitions that are rows of one step each."""
    rewards = _numbers(rewards)[:, None]
    over, stopped = (np.array(flags, dtype=bool)[:, None] for flags in (terminated, truncated))
    buffer = _collected(rewards, over, stopped, observed=np.arange(len(rewards))[:, None])
    batch, indices = buffer.sample(0)
    found = Algorithm.compute_nstep_return(batch, buffer, indices, target, gamma=gamma, n_step=1).returns.numpy()
    return found[:, 0] if found.shape[1:] == (1,) else found


def _episodic(rewards, values, next_values, terminated, truncated, gamma, lam):
    buffer = _collected(_numbers(rewards), np.array(terminated, dtype=bool), np.array(truncated, dtype=bool))
    batch, indices = buffer.sample(0)
    v_s, v_s_ = _numbers(values).ravel(), _numbers(next_values).ravel()
    found = Algorithm.compute_episodic_return(batch, buffer, indices, v_s_=v_s_, v_s=v_s, gamma=gamma, gae_lambda=lam)
    return [part.reshape(np.shape(rewards)) for part in found]


def _collected(rewards, terminated, truncated, observed=None, capacity=None):
    """A buffer that was given these rollouts and observations; the actions are of no account.

    capacity: of how many steps of a row it has room for; of all of them if it is not given.
    """
    rows, steps = rewards.shape
    buffer = VectorReplayBuffer(rows * (capacity or steps), rows)
    seen = np.zeros((rows, steps), dtype=int) if observed is None else observed
    for t in range(steps):
        step = {"rew": rewards[:, t], "terminated": terminated[:, t], "truncated": truncated[:, t]}
        buffer.add(Batch(obs=seen[:, t], act=seen[:, t], obs_next=seen[:, t], info={}, **step))
    return buffer


def _numbers(array):
    return np.array(array, dtype=np.float64, order="C")
