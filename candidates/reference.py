"""The reference itself, as a candidate: arrays [B, T] in, time leading inside."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rlspec.reference import advantages, returns

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
