"""torchrl: the loop functions of `torchrl.objectives.value.functional`, and `ReinforceLoss`.

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

Converted: the axes [B, T] to [B, T, 1] and back, and every number to a float64 tensor.  torchrl has no
public function for ``discounted_return``.
"""

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
from torchrl.objectives import ReinforceLoss
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


def _numbers(array):
    return torch.from_numpy(np.array(array, dtype=np.float64, order="C")).unsqueeze(-1)


def _flags(array):
    return torch.from_numpy(np.array(array, dtype=bool, order="C")).unsqueeze(-1)


def _array(tensor):
    return tensor.squeeze(-1).numpy()
