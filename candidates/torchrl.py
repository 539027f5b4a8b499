"""torchrl: the loop functions of `torchrl.objectives.value.functional`.

Written against 0.14.1.  `GAE` calls `generalized_advantage_estimate`, unless ``vectorized=True`` is asked
for, with the value of the true successor, ``done = terminated or truncated`` and ``terminated``; so does
this candidate.  gamma and lambda are passed as Python numbers (`GAE` holds them in tensors of the default
dtype, float32).

``td_error`` is `td0_advantage_estimate`.  It is told of no truncation: ``done`` is ``terminated``, and the
library reads ``terminated`` only.  ``reward_to_go`` is `reward2go`, which `Reward2GoTransform` applies to
whole episodes; the only step that is done is the last.

Converted: the axes [B, T] to [B, T, 1] and back, and every number to a float64 tensor.  torchrl has no
public function for ``discounted_return``.
"""

from importlib.metadata import version

import numpy as np
import torch
from torchrl.objectives.value.functional import (
    generalized_advantage_estimate,
    reward2go,
    td0_advantage_estimate,
)

NAME = f"torchrl {version('torchrl')} (loops)"


def reward_to_go(rewards, gamma):
    """`reward2go` of complete episodes."""
    done = torch.zeros(*np.shape(rewards), 1, dtype=torch.bool)
    done[:, -1] = True
    return _array(reward2go(_numbers(rewards), done, gamma))


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
        done=_flags(np.logical_or(terminated, truncated)),
        terminated=_flags(terminated),
    )
    return _array(advantages)


def _numbers(array):
    return torch.from_numpy(np.array(array, dtype=np.float64, order="C")).unsqueeze(-1)


def _flags(array):
    return torch.from_numpy(np.array(array, dtype=bool, order="C")).unsqueeze(-1)


def _array(tensor):
    return tensor.squeeze(-1).numpy()
