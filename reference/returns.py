"""Returns: what follows an action, as one number (spec/returns.md).

Time leads: an episode is a sequence of T numbers, or of T equally shaped arrays, of any kind that adds and
multiplies.
"""

from collections.abc import Sequence
from typing import Any

from .numbers import choose, unless

Number = Any  # whatever adds and multiplies, or an array of such numbers
Flag = Any  # a truth value, or a Boolean array


def reward_to_go(rewards: Sequence[Number], gamma: Number) -> list[Number]:
    """Discounted return from every step on: G_t = r_t + gamma G_{t+1}, nothing following the last step (RET-2).

    rewards: T numbers, or T equally shaped arrays; one complete episode.
    Returns T numbers of the same kind.  Sutton & Barto (2018), eqs. 3.8 and 3.9.

    >>> reward_to_go([1, 2, 4], 0.5)
    [3.0, 4.0, 4.0]
    """
    following: Number = 0
    returns = []
    for reward in reversed(rewards):
        following = reward + gamma * following
        returns.append(following)
    return returns[::-1]


def discounted_return(rewards: Sequence[Number], gamma: Number) -> Number:
    """Discounted return of a whole episode: R = sum_t gamma^t r_t (RET-1).

    rewards: T >= 1 numbers, or T equally shaped arrays; one complete episode.
    Returns one number of the same kind.  Sutton & Barto (2018), eq. 3.8.

    >>> discounted_return([1, 2, 4], 0.5)
    3.0
    """
    return reward_to_go(rewards, gamma)[0]


def n_step_return(
    rewards: Sequence[Number],
    next_values: Sequence[Number],
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    gamma: Number,
    n: int,
) -> list[Number]:
    """Returns of n rewards and a bootstrap: G^n_t = r_t + gamma G^(n-1)_{t+1}, with V'_t for G^0_{t+1} (RET-7).

    V'_t also stands for what follows where an episode, or the rollout, ends sooner; next_values is not read where
    terminated.  Returns T >= 1 numbers.  Raises ValueError for n < 1.  Sutton & Barto (2018), section 7.1.

    >>> n_step_return([1, 2, 4], [10, 20, 30], [False] * 3, [False] * 3, 0.5, 2)
    [7.0, 11.5, 19.0]
    """
    require_steps(n)
    bootstraps = [unless(end, value) for end, value in zip(terminated, next_values, strict=True)]
    ended = [end | stop for end, stop in zip(terminated, truncated, strict=True)]
    following = bootstraps
    for _ in range(min(n, len(rewards))):
        returns = [reward + gamma * after for reward, after in zip(rewards, following, strict=True)]
        following = ahead(returns, bootstraps, ended)
    return returns


def require_steps(n: int) -> None:
    """Raise ValueError for fewer than one step."""
    if n < 1:
        raise ValueError(f"n is {n}; at least one reward comes before the bootstrap")


def ahead(numbers: Sequence[Number], bootstraps: Sequence[Number], ended: Sequence[Flag]) -> list[Number]:
    """What follows each step: the next step's number, or the step's own bootstrap where its episode or the row ends.

    >>> ahead([1, 2, 3], [10, 20, 30], [False, True, False])
    [2, 20, 30]
    """
    following = [*numbers[1:], bootstraps[-1]]
    return [choose(*each) for each in zip(ended, bootstraps, following, strict=True)]


def lambda_return(
    rewards: Sequence[Number],
    next_values: Sequence[Number],
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    gamma: Number,
    lam: Number,
) -> list[Number]:
    """Lambda-returns: G_t = r_t + gamma ((1 - lam) V'_t + lam G_{t+1}), with V'_t for G_{t+1} at an end (RET-8).

    next_values: V of each step's true successor, not read where terminated.
    Returns T >= 1 numbers.  Sutton & Barto (2018), section 12.1.

    >>> lambda_return([1, 2], [8, 16], [False, False], [False, False], 0.5, 0.5)
    [5.5, 10.0]
    """
    bootstraps = [unless(end, value) for end, value in zip(terminated, next_values, strict=True)]
    ended = [end | stop for end, stop in zip(terminated, truncated, strict=True)]
    following: Number = bootstraps[-1]
    returns = []
    for reward, bootstrap, end in zip(rewards[::-1], bootstraps[::-1], ended[::-1], strict=True):
        after = choose(end, bootstrap, following)
        following = reward + gamma * ((1 - lam) * bootstrap + lam * after)
        returns.append(following)
    return returns[::-1]
