"""Returns, written another way."""

import numpy as np
import torch
from scipy.signal import lfilter

from .registry import VARIANTS, variant


def ahead(rewards, next_values, terminated, gamma):
    """Rewards with what is bootstrapped at each step."""
    return rewards + gamma * np.where(terminated, 0, next_values)


@variant("by Horner's rule, a sequence at a time")
def discounted_return(rewards, gamma):
    totals = []
    for row in rewards.tolist():
        total = 0.0
        for reward in reversed(row):
            total = reward + gamma * total
        totals.append(total)
    return totals


@variant("as a polynomial")
def discounted_return(rewards, gamma):
    return np.polynomial.polynomial.polyval(gamma, rewards.T)


@variant("as a product with powers, in integers where all is whole")
def discounted_return(rewards, gamma):
    whole = gamma in (0, 1) and (rewards == np.rint(rewards)).all()
    numbers = rewards.astype(np.int64) if whole else rewards
    return numbers @ np.array([int(gamma) ** t if whole else gamma**t for t in range(rewards.shape[1])])


@variant("by double loop over Python lists")
def reward_to_go(rewards, gamma):
    rows = rewards.tolist()
    return [[sum(r * gamma**k for k, r in enumerate(row[t:])) for t in range(len(row))] for row in rows]


@variant("by cumulative sums divided by powers of gamma", quick=True)
def reward_to_go(rewards, gamma):
    if gamma < 0.25:
        raise NotImplementedError("its powers vanish")
    powers = gamma ** np.arange(rewards.shape[1])
    return np.cumsum((rewards * powers)[:, ::-1], axis=1)[:, ::-1] / powers


@variant("by cumulative sums with powers from logarithms")
def reward_to_go(rewards, gamma):
    if gamma < 0.25:
        raise NotImplementedError("its powers vanish")
    logs = np.log(gamma) * np.arange(rewards.shape[1])
    total = (rewards * np.exp(logs)).sum(axis=1, keepdims=True)
    before = np.cumsum(rewards * np.exp(logs), axis=1) - rewards * np.exp(logs)
    return (total - before) * np.exp(-logs)


@variant("by scipy.signal.lfilter")
def reward_to_go(rewards, gamma):
    return lfilter([1], [1, -gamma], rewards[:, ::-1].astype(float), axis=1)[:, ::-1]


@variant("by an associative scan")
def reward_to_go(rewards, gamma):
    return scan(rewards, np.full(rewards.shape, gamma))


def scan(terms, factors):
    """x_t = terms_t + factors_t x_{t+1} by recursive doubling."""
    terms, factors, stride = np.array(terms, dtype=float), np.array(factors, dtype=float), 1
    while stride < terms.shape[1]:
        terms[:, :-stride] = terms[:, :-stride] + factors[:, :-stride] * terms[:, stride:]
        factors[:, :-stride] = factors[:, :-stride] * factors[:, stride:]
        factors[:, -stride:] = 0
        stride *= 2
    return terms


@variant("as the solution of a linear system")
def reward_to_go(rewards, gamma):
    return np.linalg.solve(np.eye(rewards.shape[1]) - gamma * np.eye(rewards.shape[1], k=1), rewards.T).T


@variant("in long doubles, returned as such", quick=True)
def reward_to_go(rewards, gamma):
    returns = rewards.astype(np.longdouble)
    for t in reversed(range(rewards.shape[1] - 1)):
        returns[:, t] += np.longdouble(gamma) * returns[:, t + 1]
    return returns


@variant("in integers where all is whole")
def reward_to_go(rewards, gamma):
    if gamma == 1 and (rewards == np.rint(rewards)).all():
        return np.cumsum(rewards.astype(np.int64)[:, ::-1], axis=1)[:, ::-1]
    return reward_to_go_by_columns(rewards, gamma)


def reward_to_go_by_columns(rewards, gamma):
    following, returns = 0.0, []
    for column in rewards.T[::-1]:
        following = column + gamma * following
        returns.append(following)
    return np.stack(returns[::-1], axis=1)


@variant("in Fortran order, not to be written to", quick=True)
def reward_to_go(rewards, gamma):
    returns = np.asfortranarray(reward_to_go_by_columns(rewards, gamma))
    returns.setflags(write=False)
    return returns


@variant("in float32 throughout, as a tensor", quick=True, admitted=("OPS-4",))
def reward_to_go(rewards, gamma):
    rewards = torch.tensor(np.array(rewards), dtype=torch.float32)
    following, returns = torch.zeros(len(rewards)), []
    for reward in rewards.flip(1).T:
        following = reward + gamma * following
        returns.append(following)
    return torch.stack(returns[::-1], dim=1)


def episodes(ended):
    """Row, first step, and the step after the last, of each episode."""
    for row, flags in enumerate(ended):
        ends = [*(np.flatnonzero(flags[:-1]) + 1), len(flags)]
        yield from ((row, start, stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True))


@variant("by three nested loops")
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    returns = np.zeros(rewards.shape)
    for row, start, stop in episodes(terminated | truncated):
        for t in range(start, stop):
            last = min(t + n, stop) - 1
            for k in range(t, last + 1):
                returns[row, t] += gamma ** (k - t) * rewards[row, k]
            if not terminated[row, last]:
                returns[row, t] += gamma ** (last + 1 - t) * next_values[row, last]
    return returns


@variant("by n steps of backing up")
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    goes_on = ~(terminated | truncated)
    goes_on[:, -1] = False
    near = ahead(rewards, next_values, terminated, gamma)
    returns = near
    for _ in range(min(n, rewards.shape[1]) - 1):
        later = np.roll(returns, -1, axis=1)
        returns = np.where(goes_on, rewards + gamma * later, near)
    return returns


@variant("by differences of discounted cumulative sums")
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    if gamma < 0.25:
        raise NotImplementedError("its powers vanish")
    returns = np.zeros(rewards.shape)
    for row, start, stop in episodes(terminated | truncated):
        powers = gamma ** np.arange(stop - start + 1)
        sums = np.concatenate([[0], np.cumsum(powers[:-1] * rewards[row, start:stop])])
        for t in range(stop - start):
            end = min(t + n, stop - start)
            bootstrap = 0 if terminated[row, start + end - 1] else next_values[row, start + end - 1] * powers[end]
            returns[row, start + t] = (sums[end] - sums[t] + bootstrap) / powers[t]
    return returns


@variant("as the mixture of n-step returns", quick=True)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    returns = np.zeros(rewards.shape)
    arrays = (rewards, next_values, terminated, truncated)
    nested = next(v.implementation for v in VARIANTS if v.operation == "n_step_return")
    n_step = [nested(*arrays, gamma, n) for n in range(1, rewards.shape[1] + 1)]
    for row, start, stop in episodes(terminated | truncated):
        for t in range(start, stop):
            left = stop - t
            for n in range(1, left):
                returns[row, t] += (1 - lam) * lam ** (n - 1) * n_step[n - 1][row, t]
            returns[row, t] += lam ** (left - 1) * n_step[left - 1][row, t]
    return returns


@variant("as an associative scan")
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    stops = terminated | truncated | (np.arange(rewards.shape[1]) == rewards.shape[1] - 1)
    trust = np.where(stops, 1, 1 - lam)
    return scan(ahead(rewards, next_values, terminated, gamma * trust), np.where(stops, 0, gamma * lam))
