"""torchrl: the vectorised functions of `torchrl.objectives.value.functional`.

Written against 0.14.1.  `GAE(vectorized=True)` calls `vec_generalized_advantage_estimate` with the value of
the true successor, ``done = terminated or truncated`` and ``terminated``; so does this candidate.  gamma
and lambda are passed as Python numbers (`GAE` holds them in tensors of the default dtype, float32).

``lambda_return`` is `vec_td_lambda_return_estimate`.  ``n_step_return`` is `vec_td1_return_estimate` for as many steps
as there are; any other number is declined.

Converted: the axes [B, T] to [B, T, 1] and back, and every number to a float64 tensor.  The other
operations of the candidate ``torchrl`` have no vectorised twin.
"""

from importlib.metadata import version

import numpy as np
import torch
from torchrl.objectives.value.functional import (
    vec_generalized_advantage_estimate,
    vec_td1_return_estimate,
    vec_td_lambda_return_estimate,
)

NAME = f"torchrl {version('torchrl')} (vectorized)"


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    """`vec_td1_return_estimate`."""
    if n < np.shape(rewards)[1]:
        raise NotImplementedError("as many steps as there are")
    ends = _ends(terminated, truncated)
    return vec_td1_return_estimate(gamma, _numbers(next_values), _numbers(rewards), **ends).squeeze(-1).numpy()


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    """`vec_td_lambda_return_estimate`."""
    numbers, ends = (_numbers(next_values), _numbers(rewards)), _ends(terminated, truncated)
    return vec_td_lambda_return_estimate(gamma, lam, *numbers, **ends).squeeze(-1).numpy()


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """The advantages of `vec_generalized_advantage_estimate`."""
    advantages, _value_targets = vec_generalized_advantage_estimate(
        gamma,
        lam,
        _numbers(values),
        _numbers(next_values),
        _numbers(rewards),
        **_ends(terminated, truncated),
    )
    return advantages.squeeze(-1).numpy()


def _ends(terminated, truncated):
    return {"done": _flags(np.logical_or(terminated, truncated)), "terminated": _flags(terminated)}


def _numbers(array):
    return torch.from_numpy(np.array(array, dtype=np.float64, order="C")).unsqueeze(-1)


def _flags(array):
    return torch.from_numpy(np.array(array, dtype=bool, order="C")).unsqueeze(-1)
