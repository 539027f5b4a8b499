"""d3rlpy: the targets of its algorithms, its Huber losses, its policies' densities, its transition pickers and buffers.

Written against 2.8.1, installed without what it asks for.  Importing it imports Gym, scikit-learn and others, none of
which its formulas need: stand-ins take their places meanwhile.

A transition is what a picker makes of an `Episode`.  An episode that ended by itself has no successor of its last step;
of any other the observation that its last action led to is one more step, whose reward and action are not used, since
only so a picker knows it.  Transitions become a `TorchMiniBatch` of float64, where `TransitionMiniBatch` has float32.

The networks are tables: an observation is a number, and its values, actions and log-probabilities are looked up.  A
picker puts zeros in the place of the successor of a termination, of which the tables have a number that is none of the
caller's.  Targets are what a loss is called with: ``q_target`` in `DQNImpl`, ``double_q_target`` in `DoubleDQNImpl`,
``twin_q_target`` in `TD3Impl` without noise, ``soft_target`` in `SACImpl`, ``sarsa_target`` in `DiscreteFQEImpl`, whose
next actions are another policy's, and ``expected_sarsa_target`` in `DiscreteSACImpl` without a temperature, of a policy
that is a softmax.  ``n_step_return`` is what `DQNImpl` makes of `MultiStepTransitionPicker`'s transitions,
``n_step_target`` the first of it, and ``replayed_targets`` the same of a `ReplayBuffer` with a `FIFOBuffer`, filled as
in training but for the last observation of a time-out.  ``reward_to_go`` and ``discounted_return`` are the returns to
go of `TorchMiniBatch.from_batch`, which are float32.

``smoothed_actions`` are what `TD3Impl` asks its critics about; its actions are between -1 and 1.  ``temperature_loss``
is `SACImpl.update_temp`, where the wanted entropy is minus the number of actions.  ``huber_loss`` is
`compute_huber_loss`, and ``quantile_huber_loss`` `compute_quantile_loss` with delta = 1 and the levels of
`DiscreteQRQFunction`.  ``gaussian_logp`` and ``squashed_gaussian_logp`` are the densities of `GaussianDistribution` and
`SquashedGaussianDistribution`.  ``normalize_observations`` is `StandardObservationScaler.transform_numpy`; it does not
clip, and where something would be clipped the call is declined.
"""

from importlib.metadata import version
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from rlspec.candidates._stand_ins import standing_in

_NEEDED: dict[str, dict[str, Any]] = {
    "dataclasses_json": {"dataclass_json": lambda cls: cls, "config": dict},
    "gym.version": {"VERSION": "0.26.0"},
    "gymnasium": {"__version__": "1.0.0"},
}
"""What it decorates classes with, and the versions that it checks."""

with standing_in(
    "click", "colorama", "dataclasses_json", "gym", "gymnasium", "h5py", "sklearn", "structlog", "tqdm",
    contents=_NEEDED,
):  # fmt: skip
    from d3rlpy.algos.qlearning.torch import sac_impl
    from d3rlpy.algos.qlearning.torch.dqn_impl import DoubleDQNImpl, DQNImpl
    from d3rlpy.algos.qlearning.torch.td3_impl import TD3Impl
    from d3rlpy.constants import ActionSpace
    from d3rlpy.dataset import (
        BasicTransitionPicker,
        Episode,
        FIFOBuffer,
        MultiStepTransitionPicker,
        ReplayBuffer,
        Signature,
        TransitionMiniBatch,
    )
    from d3rlpy.models.torch import (
        ContinuousEnsembleQFunctionForwarder,
        ContinuousMeanQFunctionForwarder,
        DiscreteEnsembleQFunctionForwarder,
        DiscreteMeanQFunctionForwarder,
        GaussianDistribution,
        Parameter,
        QFunctionOutput,
        SquashedGaussianDistribution,
    )
    from d3rlpy.models.torch.q_functions import mean_q_function
    from d3rlpy.models.torch.q_functions.qr_q_function import _make_taus
    from d3rlpy.models.torch.q_functions.utility import compute_huber_loss, compute_quantile_loss
    from d3rlpy.ope.torch.fqe_impl import DiscreteFQEImpl
    from d3rlpy.preprocessing import StandardObservationScaler
    from d3rlpy.torch_utility import TorchMiniBatch

NAME = f"d3rlpy {version('d3rlpy')}"
CONVENTIONS = {"reward_to_go.precision": "float32", "discounted_return.precision": "float32"}

_AT_ZEROS = 64.0
"""What the networks say of an observation of zeros."""


def discounted_return(rewards, gamma):
    return reward_to_go(rewards, gamma)[:, 0]


def reward_to_go(rewards, gamma):
    return np.stack([_returns_to_go(row, gamma) for row in np.array(rewards, dtype=np.float64)])


def _returns_to_go(rewards, gamma):
    steps = np.arange(len(rewards), dtype=np.float64)[:, None]
    episode = Episode(steps, steps, rewards[:, None], terminated=True)
    batch = TransitionMiniBatch.from_transitions([BasicTransitionPicker()(episode, t) for t in range(len(rewards))])
    return TorchMiniBatch.from_batch(batch, gamma, True, "cpu").returns_to_go[:, 0].numpy()


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    rows = zip(rewards, next_values, terminated, truncated, strict=True)
    return np.stack([_windows(*row, gamma, n) for row in rows])


def n_step_target(rewards, next_values, terminated, truncated, gamma):
    return n_step_return(rewards, next_values, terminated, truncated, gamma, np.shape(rewards)[1])[:, 0]


def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    rows = zip(rewards, next_values, terminated, truncated, strict=True)
    return np.stack([_replayed(*row, capacity, gamma, n) for row in rows])


def _windows(rewards, next_values, terminated, truncated, gamma, n):
    """The targets of a row whose episodes are all there at once."""
    picker, picked = MultiStepTransitionPicker(n, gamma), []
    for steps, over in _episodes(rewards, terminated, truncated):
        columns = (np.array(column)[:, None] for column in zip(*steps, strict=True))
        episode = Episode(*columns, terminated=over)
        picked += [picker(episode, index) for index in range(episode.transition_count)]
    return _learned(picked, next_values, gamma)


def _replayed(rewards, next_values, terminated, truncated, capacity, gamma, n):
    """The targets of the transitions that a buffer has left after a row."""
    number = Signature(dtype=[np.dtype(np.float64)], shape=[(1,)])
    buffer = ReplayBuffer(
        FIFOBuffer(capacity), MultiStepTransitionPicker(n, gamma), observation_signature=number,
        action_signature=number, reward_signature=number, action_space=ActionSpace.CONTINUOUS, action_size=1,
        cache_size=len(rewards) + 1,
    )  # fmt: skip
    ended = np.logical_or(terminated, truncated)
    for steps, over in _episodes(rewards, terminated, truncated):
        for observation, action, reward in steps:
            buffer.append(np.array([observation]), np.array([action]), reward)
        if ended[int(steps[0][1]) :].any():
            buffer.clip_episode(over)
    kept = (buffer.buffer[slot] for slot in range(len(buffer.buffer)))
    return _learned([buffer.transition_picker(*place) for place in kept], next_values, gamma)


def _episodes(rewards, terminated, truncated):
    """Each episode's observations, actions and rewards, and whether it ended by itself.

    The successor of step t is the observation t + 1, as if it were the first one of the next episode, and the action of
    step t is t.
    """
    begins = 0
    for t, (over, cut) in enumerate(zip(terminated, truncated, strict=True)):
        if over or cut or t + 1 == len(rewards):
            steps = [(float(step), float(step), float(rewards[step])) for step in range(begins, t + 1)]
            yield steps if over else [*steps, (t + 1.0, np.nan, np.nan)], bool(over)
            begins = t + 1


def _learned(transitions, next_values, gamma):
    """What `DQNImpl` learns from these, each at its step, and 0 at steps without a transition."""
    targets = np.zeros(len(next_values))
    if transitions:
        places = [int(transition.action[0]) for transition in transitions]
        targets[places] = _target(_discrete(DQNImpl, next_values, gamma), transitions)
    return targets


def sarsa_target(rewards, next_action_values, next_actions, terminated, truncated, gamma):
    model = _discrete(DiscreteFQEImpl, next_action_values, gamma)
    chosen = torch.tensor(np.append(np.array(next_actions, dtype=np.int64), 0))
    return _one_step(model, rewards, terminated, lambda batch: chosen[_row(batch.next_observations)])


def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    policy = np.array(next_policy, dtype=np.float64)
    if not (policy > 0).all():
        raise NotImplementedError("a softmax, which finds no action impossible")
    model = _discrete(sac_impl.DiscreteSACImpl, next_action_values, gamma)
    logits = torch.tensor(np.log(np.vstack([policy, np.ones_like(policy[:1])])))
    model._modules = SimpleNamespace(
        policy=lambda numbers: torch.distributions.Categorical(logits=logits[_row(numbers)]), log_temp=None
    )
    return _one_step(model, rewards, terminated)


def q_target(rewards, next_action_values, terminated, truncated, gamma):
    return _one_step(_discrete(DQNImpl, next_action_values, gamma), rewards, terminated)


def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    model = _discrete(DoubleDQNImpl, next_target_values, gamma)
    model._q_func_forwarder = _discrete(DQNImpl, next_online_values, gamma)._q_func_forwarder
    return _one_step(model, rewards, terminated)


def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    return _one_step(_twins(TD3Impl, next_first, next_second, gamma), rewards, terminated)


def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    model, logp = _twins(sac_impl.SACImpl, next_first, next_second, gamma), _table(next_logp)
    log_alpha = torch.tensor([[alpha]], dtype=torch.float64).log()
    model._modules = SimpleNamespace(policy=lambda numbers: numbers, log_temp=Parameter(log_alpha))

    def distribution(numbers):
        return SimpleNamespace(sample_with_log_prob=lambda: (numbers, logp[_row(numbers)]))

    with patch.object(sac_impl, "build_squashed_gaussian_distribution", distribution):
        return _one_step(model, rewards, terminated)


def smoothed_actions(actions, noise, noise_clip, low, high):
    if (low, high) != (-1, 1):
        raise NotImplementedError("actions from -1 to 1")
    model = _twins(TD3Impl, np.zeros(len(actions)), np.zeros(len(actions)), 1.0)
    actions, noise = _numbers(actions), _numbers(noise)
    model._modules = SimpleNamespace(targ_policy=lambda _: SimpleNamespace(mu=actions, squashed_mu=actions))
    model._target_smoothing_sigma, model._target_smoothing_clip = 1.0, noise_clip
    asked = []
    model._targ_q_func_forwarder = SimpleNamespace(
        compute_target=lambda numbers, action, reduction: asked.append(action)
    )
    with patch("torch.randn", lambda *shape, device: noise):
        model.compute_target(SimpleNamespace(next_observations=None, device="cpu"))
    return asked[0].numpy()


def temperature_loss(logp, log_alpha, target_entropy):
    if target_entropy >= 0 or target_entropy != int(target_entropy):
        raise NotImplementedError("the wanted entropy is minus a number of actions")
    logp, log_temp = _numbers(logp)[:, None].requires_grad_(), Parameter(torch.full((1, 1), log_alpha).double())
    model = sac_impl.SACImpl.__new__(sac_impl.SACImpl)
    model._action_size = -int(target_entropy)
    optimizer = SimpleNamespace(zero_grad=lambda: None, step=lambda: None)
    model._modules = SimpleNamespace(log_temp=log_temp, temp_optim=optimizer)
    loss = model.update_temp(logp)
    held = torch.zeros(len(logp)) if logp.grad is None else logp.grad[:, 0]
    return loss.detach().numpy(), next(log_temp.parameters()).grad[0, 0].numpy(), held.numpy()


def _discrete(kind, next_action_values, gamma):
    """An algorithm of actions to choose from, and of a table of their values for both of its networks."""
    values = np.array(next_action_values, dtype=np.float64).reshape(len(next_action_values), -1)
    table = torch.tensor(np.vstack([values, np.full_like(values[:1], _AT_ZEROS)]))
    count = values.shape[1]

    def network(numbers):
        return QFunctionOutput(table[_row(numbers)], None, None)

    return _with(
        kind, DiscreteEnsembleQFunctionForwarder([DiscreteMeanQFunctionForwarder(network, count)], count), gamma
    )


def _twins(kind, next_first, next_second, gamma):
    """An algorithm of actions in a continuum, and of two critics for which the action does not matter."""

    def network(table):
        return lambda numbers, actions: QFunctionOutput(table[_row(numbers)], None, None)

    critics = [ContinuousMeanQFunctionForwarder(network(_table(values))) for values in (next_first, next_second)]
    model = _with(kind, ContinuousEnsembleQFunctionForwarder(critics, 1), gamma)
    model._modules = SimpleNamespace(
        targ_policy=lambda numbers: SimpleNamespace(mu=0 * numbers, squashed_mu=0 * numbers)
    )
    model._target_smoothing_sigma, model._target_smoothing_clip = 0.0, 0.5
    return model


def _with(kind, forwarder, gamma):
    model = kind.__new__(kind)
    model._q_func_forwarder = model._targ_q_func_forwarder = forwarder
    model._gamma = gamma
    return model


def _one_step(model, rewards, terminated, next_actions=None):
    """The targets of transitions: row b leads to the observation b + 1, if it does not end the episode."""
    transitions = []
    for row, (reward, over) in enumerate(zip(rewards, terminated, strict=True)):
        numbers = np.array([[len(rewards) + 1.0], [row + 1.0]])
        count = 1 if over else 2
        earned = np.array([[reward], [np.nan]], dtype=np.float64)
        episode = Episode(numbers[:count], numbers[:count], earned[:count], terminated=bool(over))
        transitions.append(BasicTransitionPicker()(episode, 0))
    return _target(model, transitions, next_actions)


class _TargetFound(Exception):
    """The target that a loss was called with."""


def _target(model, transitions, next_actions=None):
    """The target that the model hands to its loss."""
    batch = _batch(transitions)
    following = model.compute_target(*((batch,) if next_actions is None else (batch, next_actions(batch))))
    learn = model.compute_loss if hasattr(model, "compute_loss") else model.compute_critic_loss

    def found(value, target, **_):
        raise _TargetFound(target)

    with (
        patch.object(mean_q_function, "compute_huber_loss", found),
        patch.object(mean_q_function.F, "mse_loss", found),
    ):
        try:
            learn(batch, following)
        except _TargetFound as caught:
            return caught.args[0][:, 0].numpy()
    raise AssertionError("no loss was called")


def _batch(transitions):
    """A batch of transitions, whose own values do not matter: the first action of each."""

    def column(name):
        return torch.tensor(np.array([getattr(of, name) for of in transitions], dtype=np.float64)).reshape(-1, 1)

    first = torch.zeros(len(transitions), 1, dtype=torch.int64)
    return TorchMiniBatch(
        observations=column("observation"), actions=first, rewards=column("reward"),
        next_observations=column("next_observation"), next_actions=first, returns_to_go=torch.zeros_like(first),
        terminals=column("terminal"), intervals=column("interval"), device="cpu",
    )  # fmt: skip


def _row(numbers):
    """The row of a table that observations mean: the first is 1, and 0 is the last."""
    return numbers[:, 0].long() - 1


def normalize_observations(observations, mean, variance, eps, clip):
    scaler = StandardObservationScaler(np.array(mean, dtype=np.float64), np.sqrt(variance), eps)
    normalized = scaler.transform_numpy(np.array(observations, dtype=np.float64))
    if (np.abs(normalized) > clip).any():
        raise NotImplementedError("nothing is clipped")
    return normalized


def huber_loss(values, targets, delta):
    values = _numbers(values).requires_grad_()
    return _with_slopes(compute_huber_loss(values, _numbers(targets), delta), values)


def quantile_huber_loss(quantiles, target_quantiles, delta):
    if delta != 1:
        raise NotImplementedError("delta is 1")
    quantiles, targets = _numbers(quantiles).requires_grad_(), _numbers(target_quantiles)
    none, levels = torch.zeros(len(targets), 1, dtype=torch.float64), _make_taus(targets.shape[1], "cpu")
    return _with_slopes(compute_quantile_loss(quantiles, none, targets, none, levels, 1.0), quantiles)


def gaussian_logp(actions, mean, log_std):
    mean, log_std = _numbers(mean).requires_grad_(), _numbers(log_std).requires_grad_()
    density = GaussianDistribution(mean, log_std.exp(), mean)
    return _with_slopes(density.log_prob(_numbers(actions))[:, 0], mean, log_std)


def squashed_gaussian_logp(presquash, mean, log_std):
    presquash = _numbers(presquash).requires_grad_()
    density = SquashedGaussianDistribution(_numbers(mean), _numbers(log_std).exp())
    with patch.object(density._dist, "rsample", lambda: presquash):
        logp = density.sample_with_log_prob()[1]
    return _with_slopes(logp[:, 0], presquash)


def _with_slopes(values, *leaves):
    """Values of rows, and their derivatives in the leaves, which have the same rows."""
    slopes = torch.autograd.grad(values.sum(), leaves)
    return values.detach().numpy(), *(slope.numpy() for slope in slopes)


def _table(array):
    """A number for each row, and that of an observation of zeros."""
    return torch.tensor(np.append(np.array(array, dtype=np.float64), _AT_ZEROS))[:, None]


def _numbers(array):
    return torch.from_numpy(np.array(array, dtype=np.float64))
