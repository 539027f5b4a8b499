"""torchrl: the loop functions of `torchrl.objectives.value.functional`, `ReinforceLoss`, and the losses of values.

Written against 0.14.1.  `GAE` calls `generalized_advantage_estimate`, unless ``vectorized=True`` is asked
for, with the value of the true successor, ``done = terminated or truncated`` and ``terminated``; so does
this candidate.  gamma and lambda are passed as Python numbers (`GAE` holds them in tensors of the default
dtype, float32).

``td_error`` is `td0_advantage_estimate`.  It is told of no truncation: ``done`` is ``terminated``, and the
library reads ``terminated`` only.  ``reward_to_go`` is `reward2go`, which `Reward2GoTransform` applies to
whole episodes; the only step that is done is the last.

``lambda_return`` is `td_lambda_return_estimate`.  ``n_step_return`` is `td0_return_estimate` for one step and
`td1_return_estimate` for as many as there are; the library has no function for any other number, which is declined.
``vtrace`` is `vtrace_advantage_estimate`, told the log-ratio as ``log_pi`` and 0 as ``log_mu``; it has no lambda, and
another than 1 is declined.

``policy_gradient_loss`` is the ``loss_actor`` of `ReinforceLoss`, whose actor here is a distribution that answers with
the log-probabilities that are given.  The library has no mask: as its users do, the adapter hands over the steps that
count as one flat batch; a batch without any is declined.

The targets are those of `DQNLoss`, with ``double_dqn`` for ``double_q_target``, of `SACLoss`, `TD3Loss` and
`QMixerLoss` with a `VDNMixer` for ``vdn_target``, and ``categorical_projection`` is the m of `DistributionalDQNLoss`.
Their networks here answer with what is given, another number for each set of parameters; where a loss keeps its target
to itself, it is read off the derivative of the square, or of the cross-entropy, in what was predicted.  gamma is a
float64 tensor (a Python number becomes a float32 one), but for the projection, which is float32 throughout.  An action
that is not available is one of the ``action_mask``.  The temperature's loss is the mean of `SACLoss.alpha_loss`, which
is handed log-probabilities without their gradient.  A temperature of 0 has no logarithm and is declined.

``agents_gae`` is `generalized_advantage_estimate` with agents behind time and the flags of the episode expanded to
them, as the library's tutorial of multi-agent PPO has it.  It knows no deaths, and rewards as they come: a team's
rewards, and an agent that is dead or dies, are declined.

Converted: the axes [B, T] to [B, T, 1] and back, and every number to a float64 tensor.  torchrl has no
public function for ``discounted_return``.
"""

from functools import cache
from importlib.metadata import version
from typing import ClassVar

import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import (
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
)
from torch.distributions import Distribution
from torchrl.modules import DistributionalQValueActor, QValueActor, QValueModule, SafeSequential, VDNMixer
from torchrl.objectives import DistributionalDQNLoss, DQNLoss, ReinforceLoss, SACLoss, TD3Loss
from torchrl.objectives.multiagent import QMixerLoss
from torchrl.objectives.value.functional import (
    generalized_advantage_estimate,
    reward2go,
    td0_advantage_estimate,
    td0_return_estimate,
    td1_return_estimate,
    td_lambda_return_estimate,
    vtrace_advantage_estimate,
)

NAME = f"torchrl {version('torchrl')} (loops)"


def reward_to_go(rewards, gamma):
    """`reward2go` of complete episodes."""
    done = torch.zeros(*np.shape(rewards), 1, dtype=torch.bool)
    done[:, -1] = True
    return _array(reward2go(_numbers(rewards), done, gamma))


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    """`td0_return_estimate` or `td1_return_estimate`."""
    numbers = _numbers(next_values), _numbers(rewards)
    if n == 1:
        return _array(td0_return_estimate(gamma, *numbers, _flags(terminated)))
    if n < np.shape(rewards)[1]:
        raise NotImplementedError("one step, or as many as there are")
    return _array(td1_return_estimate(gamma, *numbers, **_ends(terminated, truncated)))


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    """`td_lambda_return_estimate`."""
    ends = _ends(terminated, truncated)
    return _array(td_lambda_return_estimate(gamma, lam, _numbers(next_values), _numbers(rewards), **ends))


def td_error(rewards, values, next_values, terminated, gamma):
    """`td0_advantage_estimate`."""
    done = _flags(terminated)
    return _array(td0_advantage_estimate(gamma, _numbers(values), _numbers(next_values), _numbers(rewards), done, done))


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """The advantages of `generalized_advantage_estimate`."""
    advantages, _value_targets = generalized_advantage_estimate(
        gamma,
        lam,
        _numbers(values),
        _numbers(next_values),
        _numbers(rewards),
        **_ends(terminated, truncated),
    )
    return _array(advantages)


def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    """`vtrace_advantage_estimate`, which returns the advantages first."""
    if lam != 1:
        raise NotImplementedError("no lambda")
    log_pi = _numbers(log_ratio)
    numbers = _numbers(values), _numbers(next_values), _numbers(rewards)
    clips = {"rho_thresh": rho_clip, "c_thresh": c_clip}
    advantages, targets = vtrace_advantage_estimate(
        gamma, log_pi, torch.zeros_like(log_pi), *numbers, **_ends(terminated, truncated), **clips
    )
    return _array(targets), _array(advantages)


def _ends(terminated, truncated):
    return {"done": _flags(np.logical_or(terminated, truncated)), "terminated": _flags(terminated)}


def policy_gradient_loss(logp, advantages, mask):
    """The actor's loss of `ReinforceLoss`, whose distribution answers with the log-probabilities that are given."""
    counted = np.array(mask, dtype=bool)
    if not counted.any():
        raise NotImplementedError("a batch without a step")
    given = torch.from_numpy(np.array(logp, dtype=np.float64)[counted]).requires_grad_()
    steps = {
        "logp": given,
        "action": torch.zeros(len(given)),
        "advantage": torch.from_numpy(np.array(advantages, dtype=np.float64)[counted]).unsqueeze(-1),
        "state_value": torch.zeros(len(given), 1),
        "value_target": torch.zeros(len(given), 1),
    }
    loss = _reinforce(TensorDict(steps, batch_size=[len(given)]))["loss_actor"]
    slopes = np.zeros(counted.shape)
    slopes[counted] = torch.autograd.grad(loss, given)[0].numpy()
    return loss.item(), slopes


class _Given(Distribution):
    """A distribution of which nothing is known but the log-probability of the action that was taken."""

    arg_constraints: ClassVar = {}

    def __init__(self, logp):
        super().__init__(batch_shape=logp.shape, validate_args=False)
        self.logp = logp

    def log_prob(self, value):
        return self.logp


_reinforce = ReinforceLoss(
    ProbabilisticTensorDictSequential(
        TensorDictModule(torch.nn.Identity(), in_keys=["logp"], out_keys=["logp"]),
        ProbabilisticTensorDictModule(in_keys=["logp"], out_keys=["action"], distribution_class=_Given),
    ),
    TensorDictModule(torch.nn.Identity(), in_keys=["state_value"], out_keys=["state_value"]),
    functional=False,
)


class _Tables(torch.nn.Module):
    """A network that answers with one of the tables that it is given, by the only parameter that it has."""

    def __init__(self):
        super().__init__()
        self.which = torch.nn.Parameter(torch.zeros(()))

    def forward(self, tables, *_others):
        return torch.where(self.which > 0, tables[..., 1, :], tables[..., 0, :])


class _Sampled(Distribution):
    """A distribution of which one action was drawn, with the log-probability that is given."""

    arg_constraints: ClassVar = {}

    def __init__(self, logp):
        super().__init__(batch_shape=logp.shape[:-1], event_shape=logp.shape[-1:], validate_args=False)
        self.logp = logp

    def rsample(self, sample_shape=()):
        return torch.zeros_like(self.logp)

    def log_prob(self, value):
        return self.logp.squeeze(-1)


def _parameters(params, values):
    """Set the parameter of a network, or those of several."""
    params.apply(lambda parameter: parameter.data.copy_(torch.tensor(values)))


def _stepped(rewards, terminated, truncated, now, following):
    """One-step transitions, of what is given beside each state."""
    ends = {"done": _flags(np.logical_or(terminated, truncated)), "terminated": _flags(terminated)}
    after = TensorDict({"reward": _numbers(rewards), **ends, **following}, batch_size=[len(rewards)])
    return TensorDict({**now, "next": after}, batch_size=[len(rewards)])


def _discounted(loss, gamma):
    loss.make_value_estimator(gamma=torch.tensor(gamma, dtype=torch.float64))
    return loss


@cache
def _dqn(double):
    network = QValueActor(_Tables(), in_keys=["observation"], spec=None, action_space="categorical")
    told = {"action_space": "categorical", "loss_function": "l2", "reduction": "none"}
    loss = DQNLoss(network, delay_value=True, double_dqn=double, **told)
    _parameters(loss.target_value_network_params, 1.0)
    return loss


def _of_dqn(double, rewards, online, target, terminated, truncated, gamma):
    """The target of `DQNLoss`: half of what the derivative of the square lacks."""
    predicted = torch.zeros(len(rewards), 2, online.shape[1], dtype=torch.float64, requires_grad=True)
    now = {"observation": predicted, "action": torch.zeros(len(rewards), 1, dtype=torch.long)}
    following = {"observation": torch.from_numpy(np.stack([online, target], axis=1).astype(np.float64))}
    steps = _stepped(rewards, terminated, truncated, now, following)
    losses = _discounted(_dqn(double), gamma)(steps)["loss"]
    return (-torch.autograd.grad(losses.sum(), predicted)[0][:, 0, 0] / 2).numpy()


def q_target(rewards, next_action_values, terminated, truncated, gamma):
    """`DQNLoss`."""
    return _of_dqn(False, rewards, next_action_values, next_action_values, terminated, truncated, gamma)


def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    """`DQNLoss` with ``double_dqn``."""
    return _of_dqn(True, rewards, next_online_values, next_target_values, terminated, truncated, gamma)


_critic = {"in_keys": ["observation", "action"], "out_keys": ["state_action_value"]}


def _twins(first, second):
    """Two critics' values of the next action, as what their networks choose from."""
    return {"observation": torch.from_numpy(np.stack([first, second], axis=1).astype(np.float64)).unsqueeze(-1)}


@cache
def _td3():
    actor = TensorDictModule(lambda tables: 0 * tables[..., 0, :], in_keys=["observation"], out_keys=["action"])
    loss = TD3Loss(actor, TensorDictModule(_Tables(), **_critic), bounds=(-1.0, 1.0), policy_noise=0.0)
    _parameters(loss.target_qvalue_network_params, [0.0, 1.0])
    return loss


def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    """The ``target_value`` of `TD3Loss.value_loss`, without noise."""
    now = {"observation": torch.zeros(len(rewards), 2, 1), "action": torch.zeros(len(rewards), 1)}
    steps = _stepped(rewards, terminated, truncated, now, _twins(next_first, next_second))
    return _discounted(_td3(), gamma).value_loss(steps)[1]["target_value"].numpy()


@cache
def _sac(target_entropy=0.0):
    actor = ProbabilisticTensorDictSequential(
        TensorDictModule(torch.nn.Identity(), in_keys=["logp"], out_keys=["logp"]),
        ProbabilisticTensorDictModule(in_keys=["logp"], out_keys=["action"], distribution_class=_Sampled),
    )
    told = {"loss_function": "l2", "reduction": "none", "scalar_output_mode": "exclude"}
    loss = SACLoss(actor, TensorDictModule(_Tables(), **_critic), target_entropy=target_entropy, **told)
    _parameters(loss.target_qvalue_network_params, [0.0, 1.0])
    return loss


def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    """The target of `SACLoss.qvalue_v2_loss`, which has a square for each of its critics."""
    if alpha == 0:
        raise NotImplementedError("a temperature of 0")
    loss = _discounted(_sac(), gamma)
    loss.log_alpha = torch.nn.Parameter(torch.tensor(alpha, dtype=torch.float64).log())
    predicted = torch.zeros(len(rewards), 2, 1, dtype=torch.float64, requires_grad=True)
    now = {"observation": predicted, "action": torch.zeros(len(rewards), 1, dtype=torch.float64)}
    following = {**_twins(next_first, next_second), "logp": _numbers(next_logp)}
    steps = _stepped(rewards, terminated, truncated, now, following)
    slopes = torch.autograd.grad(loss.qvalue_v2_loss(steps)[0].sum(), predicted)[0]
    return (-slopes[:, 0, 0] / 4).numpy()


def temperature_loss(logp, log_alpha, target_entropy):
    """The mean of `SACLoss.alpha_loss`."""
    loss = _sac(target_entropy)
    loss.log_alpha = torch.nn.Parameter(torch.tensor(log_alpha, dtype=torch.float64))
    found = loss.alpha_loss(torch.from_numpy(np.array(logp, dtype=np.float64))).mean()
    return found.item(), torch.autograd.grad(found, loss.log_alpha)[0].item(), np.zeros(np.shape(logp))


@cache
def _c51(v_min, v_max, atoms, gamma):
    network = TensorDictModule(_Tables(), in_keys=["observation"], out_keys=["action_value"])
    told = {"support": torch.linspace(v_min, v_max, atoms), "action_space": "categorical", "make_log_softmax": False}
    actor = DistributionalQValueActor(network, spec=None, **told)
    return DistributionalDQNLoss(actor, gamma=gamma, delay_value=True, reduction="none")


def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    """The m of `DistributionalDQNLoss`, which the cross-entropy has as its derivative."""
    rows, atoms = np.shape(next_probabilities)
    predicted = torch.zeros(rows, atoms, 2, 1, requires_grad=True)
    logs = torch.from_numpy(np.array(next_probabilities, dtype=np.float32)).log()
    now = {"observation": predicted, "action": torch.zeros(rows, 1, dtype=torch.long)}
    following = {"observation": logs[..., None, None].expand(-1, -1, 2, 1)}
    steps = _stepped(rewards, terminated, truncated, now, following)
    steps["next", "reward"] = steps["next", "reward"].float()
    losses = _c51(v_min, v_max, atoms, gamma)(steps)["loss"]
    return -torch.autograd.grad(losses.sum(), predicted)[0][:, :, 0, 0].numpy()


def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    """`generalized_advantage_estimate`, with agents behind time."""
    if credit == "team" or not np.all(alive) or np.any(dies):
        raise NotImplementedError("agents with rewards of their own that live")
    tables = [_numbers(table) for table in (values, next_values, rewards)]
    over, stopped = (
        np.array(flag, dtype=bool)[..., None] | np.zeros_like(alive, dtype=bool) for flag in (terminated, truncated)
    )
    return _array(generalized_advantage_estimate(gamma, lam, *tables, **_ends(over, stopped), time_dim=1)[0])


@cache
def _qmixer(agents):
    names = "observation", "action_mask", "action", "action_value", "chosen_action_value"
    keys = {name: ("agents", name) for name in names}
    network = TensorDictModule(_Tables(), in_keys=[keys["observation"]], out_keys=[keys["action_value"]])
    best = QValueModule(
        action_space="categorical",
        action_value_key=keys["action_value"],
        action_mask_key=keys["action_mask"],
        out_keys=[keys[name] for name in names[2:]],
    )
    mixer = TensorDictModule(
        VDNMixer(n_agents=agents, device="cpu"),
        in_keys=[keys["chosen_action_value"]],
        out_keys=["chosen_action_value"],
    )
    loss = QMixerLoss(SafeSequential(network, best), mixer, delay_value=True, action_space="categorical")
    _parameters(loss.target_local_value_network_params, 1.0)
    return loss


def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    """The target of `QMixerLoss`, with a `VDNMixer`."""
    rows, agents, actions = next_action_values.shape
    predicted = torch.zeros(rows, agents, 2, actions, dtype=torch.float64, requires_grad=True)
    following = torch.from_numpy(np.repeat(next_action_values[:, :, None].astype(np.float64), 2, axis=2))
    every = {"observation": predicted, "action_mask": torch.ones(rows, agents, actions, dtype=torch.bool)}
    some = {"observation": following, "action_mask": torch.from_numpy(np.array(available, dtype=bool))}
    taken = torch.zeros(rows, agents, dtype=torch.long)
    now = {"agents": TensorDict({**every, "action": taken}, batch_size=[rows, agents])}
    after = {"agents": TensorDict(some, batch_size=[rows, agents])}
    loss = _discounted(_qmixer(agents), gamma)(_stepped(rewards, terminated, truncated, now, after))["loss"]
    return (-torch.autograd.grad(loss, predicted)[0][:, 0, 0, 0] * rows / 2).numpy()


def _numbers(array):
    return torch.from_numpy(np.array(array, dtype=np.float64, order="C")).unsqueeze(-1)


def _flags(array):
    return torch.from_numpy(np.array(array, dtype=bool, order="C")).unsqueeze(-1)


def _array(tensor):
    return tensor.squeeze(-1).numpy()
