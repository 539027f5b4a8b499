"""Returns: what follows an action, as one number (spec/returns.md).

Time leads: an episode is a sequence of T numbers, or of T equally shaped arrays, of any kind that adds and
multiplies.
"""

from collections.abc import Sequence
from typing import Any


def reward_to_go(rewards: Sequence[Any], gamma: Any) -> list[Any]:
    """Discounted return from every step on: G_t = r_t + gamma G_{t+1}, nothing following the last step (RET-2).

    rewards: T numbers, or T equally shaped arrays; one complete episode.
    Returns T numbers of the same kind.  Sutton & Barto (2018), eqs. 3.8 and 3.9.
    """
    following: Any = 0
    returns = []
    for reward in reversed(rewards):
        following = reward + gamma * following
        returns.append(following)
    return returns[::-1]


def discounted_return(rewards: Sequence[Any], gamma: Any) -> Any:
    """Discounted return of a whole episode: R = sum_t gamma^t r_t (RET-1).

    rewards: T >= 1 numbers, or T equally shaped arrays; one complete episode.
    Returns one number of the same kind.  Sutton & Barto (2018), eq. 3.8.
    """
    return reward_to_go(rewards, gamma)[0]
