"""Advantages: how much better than expected an action was (spec/advantages.md).

Time leads: every argument is a sequence of T numbers, or of T equally shaped arrays; flags are truth values or
Boolean arrays.
"""

from collections.abc import Sequence
from itertools import compress
from typing import Any

from .choices import one_of, require, shape_of
from .numbers import at_most, unless
from .returns import Flag, Number, ahead
from .spread import normalized


def td_error(
    rewards: Sequence[Number],
    values: Sequence[Number],
    next_values: Sequence[Number],
    terminated: Sequence[Flag],
    gamma: Number,
) -> list[Number]:
    """Temporal-difference errors: delta_t = r_t + gamma (1 - d_t) V'_t - V_t (ADV-1).

    values: V of the state of each step.  next_values: V of its true successor, not read where terminated.
    Returns T numbers.  Sutton & Barto (2018), eq. 6.5.

    >>> td_error([1, 2], [3, 5], [5, 7], [False, True], 0.5)
    [0.5, -3.0]
    """
    return [
        reward + gamma * unless(end, following) - value
        for reward, value, following, end in zip(rewards, values, next_values, terminated, strict=True)
    ]


def gae(
    rewards: Sequence[Number],
    values: Sequence[Number],
    next_values: Sequence[Number],
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    gamma: Number,
    lam: Number,
) -> list[Number]:
    """Generalised advantage estimates: A_t = delta_t + gamma lam A_{t+1}, or delta_t where an episode ends (ADV-2).

    terminated: nothing follows the step.  truncated: the episode was stopped, and next_values stands for the rest.
    Returns T >= 1 numbers.  Schulman et al. (2016), eq. 16.

    >>> gae([1, 2], [3, 5], [5, 7], [False, True], [False, False], 0.5, 1)
    [-1.0, -3.0]
    """
    deltas = td_error(rewards, values, next_values, terminated, gamma)
    ended = [end | stop for end, stop in zip(terminated, truncated, strict=True)]
    advantages = [deltas[-1]]
    for delta, end in zip(deltas[-2::-1], ended[-2::-1], strict=True):
        advantages.append(delta + gamma * lam * unless(end, advantages[-1]))
    return advantages[::-1]


def vtrace(
    rewards: Sequence[Number],
    values: Sequence[Number],
    next_values: Sequence[Number],
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    ratio: Sequence[Number],
    gamma: Number,
    lam: Number,
    rho_clip: Number,
    c_clip: Number,
    advantage: str = "paper",
    policy_clip: str = "rho_clip",
) -> tuple[list[Number], list[Number]]:
    """V-trace: v_t = V_t + x_t with x_t = rho_t delta_t + gamma lam c_t x_{t+1}, or rho_t delta_t at an end (ADV-20).

    ratio: pi(a|s) / mu(a|s) of each step; rho is that ratio or rho_clip, c is that or c_clip, if they are smaller.
    advantage, policy_clip: in the advantages w_t (r_t + gamma q_t - V_t), what follows a step, v_{t+1} or a mixture
    (ADV-30), and what the ratio w_t is clipped at (ADV-31).
    Returns T >= 1 targets and T advantages.  Espeholt et al. (2018), eq. 1 and remarks 1 and 2.

    >>> vtrace([1, 2], [3, 5], [5, 7], [False, True], [False, False], [4, 0.5], 0.5, 1, 2, 1)
    ([3.25, 3.5], [-0.5, -1.5])
    """
    rho = [at_most(x, rho_clip) for x in ratio]
    c = [at_most(x, c_clip) for x in ratio]
    shape, most = shape_of(policy_clip, "rho_clip", "at most C")
    weights = rho if shape == "rho_clip" else [at_most(x, most) for x in ratio]
    deltas = td_error(rewards, values, next_values, terminated, gamma)
    ended = [end | stop for end, stop in zip(terminated, truncated, strict=True)]
    excess = [rho[-1] * deltas[-1]]
    for t in reversed(range(len(deltas) - 1)):
        excess.append(rho[t] * deltas[t] + gamma * lam * c[t] * unless(ended[t], excess[-1]))
    targets = [value + x for value, x in zip(values, reversed(excess), strict=True)]

    weight = one_of({"paper": 1, "mixed": lam}, advantage)
    following = ahead(targets, next_values, ended)
    mixed = [(1 - weight) * near + weight * far for near, far in zip(next_values, following, strict=True)]
    errors = td_error(rewards, values, mixed, terminated, gamma)
    return targets, [x * error for x, error in zip(weights, errors, strict=True)]


def normalize_advantages(
    advantages: Sequence[Any], mask: Sequence[Any], std: str = "ddof=0", eps: str = "std + 1e-8", one: str = "zero"
) -> list[Any]:
    """Advantages with mean 0 and standard deviation 1: (A_i - mean) / std, or 0 where the mask is 0 (ADV-11).

    advantages, mask: the N numbers and truth values of a whole batch, in any order.
    std, eps, one: the choices of ADV-17, ADV-18 and ADV-19.
    Returns N numbers.  Raises ValueError for another choice.

    >>> normalize_advantages([1, 3, 9], [1, 1, 0], eps="std")
    [-1.0, 1.0, 0]
    """
    require(one, "zero", "unchanged")
    counted = list(compress(advantages, mask))
    alone = len(counted) == 1 and one == "unchanged"
    answers = iter(counted if alone else normalized(counted, std, eps))
    return [next(answers) if counts else 0 for counts in mask]
