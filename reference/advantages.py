"""Advantages: how much better than expected an action was (spec/advantages.md).

Time leads: every argument is a sequence of T numbers, or of T equally shaped arrays; flags are truth values or
Boolean arrays.
"""

from collections.abc import Sequence
from typing import Any

from .numbers import unless


def td_error(
    rewards: Sequence[Any], values: Sequence[Any], next_values: Sequence[Any], terminated: Sequence[Any], gamma: Any
) -> list[Any]:
    """Temporal-difference errors: delta_t = r_t + gamma (1 - d_t) V'_t - V_t (ADV-1).

    values: V of the state of each step.  next_values: V of its true successor, not read where terminated.
    Returns T numbers.  Sutton & Barto (2018), eq. 6.5.
    """
    return [
        reward + gamma * unless(end, following) - value
        for reward, value, following, end in zip(rewards, values, next_values, terminated, strict=True)
    ]


def gae(
    rewards: Sequence[Any],
    values: Sequence[Any],
    next_values: Sequence[Any],
    terminated: Sequence[Any],
    truncated: Sequence[Any],
    gamma: Any,
    lam: Any,
) -> list[Any]:
    """Generalised advantage estimates: A_t = delta_t + gamma lam A_{t+1}, or delta_t where an episode ends (ADV-2).

    terminated: nothing follows the step.  truncated: the episode was stopped, and next_values stands for the rest.
    Returns T >= 1 numbers.  Schulman et al. (2016), eq. 16.
    """
    deltas = td_error(rewards, values, next_values, terminated, gamma)
    ended = [end | stop for end, stop in zip(terminated, truncated, strict=True)]
    advantages = [deltas[-1]]
    for delta, end in zip(deltas[-2::-1], ended[-2::-1], strict=True):
        advantages.append(delta + gamma * lam * unless(end, advantages[-1]))
    return advantages[::-1]
