"""The reference itself, as a candidate: arrays [B, T] in, time leading inside."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rlspec.reference import advantages, returns
from rlspec.reference.advantages import normalize_advantages as _normalize_advantages

NAME = "reference"


def _time_leading(function: Callable[..., Any], *arguments: Any) -> np.ndarray:
    """The reference's answer to arrays [B, T] and scalars, with time last again."""
    moved = (argument.T if isinstance(argument, np.ndarray) else argument for argument in arguments)
    return np.array(function(*moved)).T


def discounted_return(rewards, gamma):
    return _time_leading(returns.discounted_return, rewards, gamma)


def reward_to_go(rewards, gamma):
    return _time_leading(returns.reward_to_go, rewards, gamma)


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return _time_leading(returns.n_step_return, rewards, next_values, terminated, truncated, gamma, n)


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    return _time_leading(returns.lambda_return, rewards, next_values, terminated, truncated, gamma, lam)


def td_error(rewards, values, next_values, terminated, gamma):
    return _time_leading(advantages.td_error, rewards, values, next_values, terminated, gamma)


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return _time_leading(advantages.gae, rewards, values, next_values, terminated, truncated, gamma, lam)


def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    with np.errstate(over="ignore"):  # a ratio that is too large for a float is clipped all the same
        ratio = np.exp(log_ratio)
    arrays = (array.T for array in (rewards, values, next_values, terminated, truncated, ratio))
    targets, advantage = advantages.vtrace(*arrays, gamma, lam, rho_clip, c_clip)
    return np.array(targets).T, np.array(advantage).T


def normalize_advantages(advantages, mask):
    normalized = _normalize_advantages(advantages.ravel().tolist(), mask.ravel().tolist())
    return np.array(normalized, dtype=advantages.dtype).reshape(advantages.shape)
