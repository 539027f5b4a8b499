"""Honest implementations, each written another way: what the properties must never flag.

A variant is one operation as someone might write it.  One that has no honest answer to some input declines it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.signal import lfilter
from scipy.special import log_softmax, logsumexp, softmax, xlogy
from scipy.stats import norm

from rlspec.candidate import Candidate
from rlspec.conventions import infer


@dataclass(frozen=True)
class Variant:
    """One operation, how it is written, whether every test run asks it, and which clauses it admittedly violates."""

    operation: str
    how: str
    implementation: Callable[..., Any]
    quick: bool = False
    admitted: tuple[str, ...] = ()

    def candidate(self) -> Candidate:
        """The variant on trial, its conventions inferred."""
        candidate = Candidate(SimpleNamespace(**{self.operation: self.implementation}), str(self))
        candidate.inferred |= infer(candidate, self.operation)
        return candidate

    def __str__(self) -> str:
        return f"{self.operation} {self.how}"


VARIANTS: list[Variant] = []


def variant(how: str, **fields: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a variant of the operation whose name it has."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        VARIANTS.append(Variant(function.__name__, how, function, **fields))
        return function

    return register


def ahead(rewards, next_values, terminated, gamma):
    """Rewards with what is bootstrapped at each step."""
    return rewards + gamma * np.where(terminated, 0, next_values)


def deltas(rewards, values, next_values, terminated, gamma):
    return ahead(rewards, next_values, terminated, gamma) - values


# Returns


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


# Advantages


@variant("in place, a column at a time")
def td_error(rewards, values, next_values, terminated, gamma):
    errors = np.empty(rewards.shape)
    for t in range(rewards.shape[1]):
        bootstrap = next_values[:, t].copy()
        bootstrap[terminated[:, t]] = 0
        errors[:, t] = gamma * bootstrap - (values[:, t] - rewards[:, t])
    return errors


@variant("in float32 throughout", admitted=("OPS-4",))
def td_error(rewards, values, next_values, terminated, gamma):
    rewards, values, next_values = (np.float32(array) for array in (rewards, values, next_values))
    return rewards + np.float32(gamma) * np.where(terminated, np.float32(0), next_values) - values


@variant("a sequence at a time, as in Stable Baselines")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = np.zeros(rewards.shape)
    for row in range(len(rewards)):
        last = 0.0
        for t in reversed(range(rewards.shape[1])):
            bootstrap = 0.0 if terminated[row, t] else float(next_values[row, t])
            delta = float(rewards[row, t]) + gamma * bootstrap - float(values[row, t])
            last = delta if terminated[row, t] or truncated[row, t] else delta + gamma * lam * last
            advantages[row, t] = last
    return advantages


@variant("by scipy.signal.lfilter on each episode", quick=True)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = deltas(rewards, values, next_values, terminated, gamma)
    for row, start, stop in episodes(terminated | truncated):
        advantages[row, start:stop] = lfilter([1], [1, -gamma * lam], advantages[row, start:stop][::-1])[::-1]
    return advantages


@variant("by an associative scan")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    factors = np.where(terminated | truncated, 0, gamma * lam)
    return scan(deltas(rewards, values, next_values, terminated, gamma), factors)


@variant("by cumulative sums divided by powers of gamma lambda")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    if gamma * lam < 0.25:
        raise NotImplementedError("its powers vanish")
    advantages = deltas(rewards, values, next_values, terminated, gamma)
    for row, start, stop in episodes(terminated | truncated):
        powers = (gamma * lam) ** np.arange(stop - start)
        advantages[row, start:stop] = np.cumsum((advantages[row, start:stop] * powers)[::-1])[::-1] / powers
    return advantages


@variant("as a banded linear system a row")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    errors = deltas(rewards, values, next_values, terminated, gamma)
    links = np.where(terminated | truncated, 0, gamma * lam)[:, :-1]
    systems = [np.eye(errors.shape[1]) - np.diag(row, k=1) for row in links]
    return np.stack([np.linalg.solve(matrix, row) for matrix, row in zip(systems, errors, strict=True)])


@variant("as the lambda-return minus the value")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    scanned = next(v.implementation for v in VARIANTS if str(v) == "lambda_return as an associative scan")
    return scanned(rewards, next_values, terminated, truncated, gamma, lam) - values


@variant("for one row, under vmap")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    numbers = (torch.tensor(np.array(array)).double() for array in (rewards, values, next_values))
    flags = (torch.tensor(np.array(array)) for array in (terminated, truncated))

    def one(rewards, values, next_values, terminated, truncated):
        advantages = [torch.zeros((), dtype=torch.float64)]
        for t in reversed(range(len(rewards))):
            delta = rewards[t] + gamma * torch.where(terminated[t], 0, next_values[t]) - values[t]
            ended = terminated[t] | truncated[t]
            advantages.append(delta + gamma * lam * torch.where(ended, 0, advantages[-1]))
        return torch.stack(advantages[:0:-1])

    return torch.func.vmap(one)(*numbers, *flags)


@variant("in long doubles")
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    wide = (array.astype(np.longdouble) for array in (rewards, values, next_values))
    advantages = deltas(*wide, terminated, np.longdouble(gamma))
    for t in reversed(range(rewards.shape[1] - 1)):
        goes_on = ~(terminated | truncated)[:, t]
        advantages[goes_on, t] += np.longdouble(gamma) * np.longdouble(lam) * advantages[goes_on, t + 1]
    return advantages.astype(float)


@variant("in float32 throughout, as a tensor", admitted=("OPS-4",))
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    rewards, values, next_values = (
        torch.tensor(np.array(array), dtype=torch.float32) for array in (rewards, values, next_values)
    )
    terminated, truncated = (torch.tensor(np.array(array)) for array in (terminated, truncated))
    errors = rewards + gamma * next_values.masked_fill(terminated, 0) - values
    advantages = torch.zeros_like(errors)
    carried = torch.zeros(len(errors))
    for t in reversed(range(errors.shape[1])):
        carried = errors[:, t] + gamma * lam * carried.masked_fill(terminated[:, t] | truncated[:, t], 0)
        advantages[:, t] = carried
    return advantages


EPSILONS = {
    "std + 1e-8": lambda std: std + 1e-8,
    "std + 1e-6": lambda std: std + 1e-6,
    "std + 1e-5": lambda std: std + 1e-5,
    "std": lambda std: std,
    "max(std, 1e-5)": lambda std: max(std, 1e-5),
    "max(std, 1e-4)": lambda std: max(std, 1e-4),
    "sqrt(var + 1e-8)": lambda std: np.sqrt(std**2 + 1e-8),
}


def normalizing(ddof, divisor, one):
    """NumPy's own mean and standard deviation of what counts."""

    def normalize_advantages(advantages, mask):
        normalized, counted = np.zeros(advantages.shape), advantages[mask].astype(float)
        if len(counted) == 1 and one == "unchanged":
            normalized[mask] = counted
        elif len(counted) > 1 and np.ptp(counted) > 0:
            normalized[mask] = (counted - counted.mean()) / divisor(counted.std(ddof=ddof))
        return normalized

    return normalize_advantages


for ddof, (name, divisor), one in product((0, 1), EPSILONS.items(), ("zero", "unchanged")):
    quick = (ddof, name, one) == (1, "sqrt(var + 1e-8)", "unchanged")
    how = f"by NumPy, ddof={ddof}, {name}, one: {one}"
    variant(how, quick=quick)(normalizing(ddof, divisor, one))


@variant("by masked sums")
def normalize_advantages(advantages, mask):
    count = max(mask.sum(), 1)
    clean = np.where(mask, advantages, 0)
    if count < 2 or np.ptp(advantages[mask]) == 0:
        return np.zeros(advantages.shape)
    centred = np.where(mask, clean - clean.sum() / count, 0)
    return centred / (np.sqrt((centred**2).sum() / count) + 1e-8)


@variant("in float32 throughout, as a tensor", admitted=("OPS-4",))
def normalize_advantages(advantages, mask):
    advantages, mask = torch.tensor(np.array(advantages), dtype=torch.float32), torch.tensor(np.array(mask))
    counted = advantages[mask]
    normalized = torch.zeros_like(advantages)
    if len(counted) > 1 and counted.min() < counted.max():
        normalized[mask] = (counted - counted.mean()) / (counted.std() + 1e-8)
    return normalized


def off_policy(advantage, dtype):
    """V-trace a column at a time."""

    def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
        rewards, values, next_values, log_ratio = (
            np.asarray(array, dtype) for array in (rewards, values, next_values, log_ratio)
        )
        gamma, lam = dtype(gamma), dtype(lam)
        rho = np.exp(np.minimum(log_ratio, dtype(np.log(rho_clip))))
        c = np.exp(np.minimum(log_ratio, dtype(np.log(c_clip))))
        safe = np.where(terminated, dtype(0), next_values)
        last = terminated | truncated
        last[:, -1] = True
        targets, advantages, later = values.copy(), np.zeros_like(values), np.zeros(len(values), dtype)
        for t in reversed(range(values.shape[1])):
            later = np.where(last[:, t], dtype(0), later)
            following = targets[:, min(t + 1, values.shape[1] - 1)]
            weight = lam if advantage == "mixed" else dtype(1)
            ahead = np.where(last[:, t], safe[:, t], (1 - weight) * safe[:, t] + weight * following)
            delta = rewards[:, t] + gamma * safe[:, t] - values[:, t]
            later = rho[:, t] * delta + gamma * lam * c[:, t] * later
            targets[:, t] = values[:, t] + later
            advantages[:, t] = rho[:, t] * (rewards[:, t] + gamma * ahead - values[:, t])
        return targets, advantages

    return vtrace


for advantage in ("paper", "mixed"):
    variant(f"a column at a time, {advantage}", quick=advantage == "paper")(off_policy(advantage, np.float64))
    variant(f"in float32 throughout, {advantage}", admitted=("OPS-4",))(off_policy(advantage, np.float32))


# Decision processes


def chain(transition, reward, policy):
    """P_pi [S, S] and r_pi [S]."""
    return np.einsum("sa,sat->st", policy, transition), (policy * reward).sum(axis=1)


@variant("by backing up, an infinite horizon by thousands of steps")
def state_values(transition, reward, policy, gamma, horizon):
    moves, paid = chain(transition, reward, policy)
    values = [np.zeros(len(reward))]
    for _ in range(horizon or 3000):
        values.append(paid + gamma * moves @ values[-1])
    return np.stack(values[:0:-1]) if horizon else values[-1]


@variant("by powers of the matrix, or its inverse")
def state_values(transition, reward, policy, gamma, horizon):
    moves, paid = chain(transition, reward, policy)
    if horizon is None:
        return np.linalg.inv(np.eye(len(moves)) - gamma * moves) @ paid
    powers = [np.linalg.matrix_power(gamma * moves, k) @ paid for k in range(horizon)]
    return np.cumsum(powers, axis=0)[::-1]


@variant("from the state values of the next step")
def action_values(transition, reward, policy, gamma, horizon):
    if horizon is None:
        moves, paid = chain(transition, reward, policy)
        return reward + gamma * transition @ np.linalg.solve(np.eye(len(moves)) - gamma * moves, paid)
    values, rows = np.zeros(len(reward)), []
    for _ in range(horizon):
        rows.append(reward + gamma * transition @ values)
        values = (policy * rows[-1]).sum(axis=1)
    return np.stack(rows[::-1])


@variant("by pushing mass forward, an infinite horizon by thousands of steps")
def occupancy(transition, initial, policy, gamma, horizon):
    moves = np.einsum("sa,sat->st", policy, transition)
    mass = [np.array(initial, dtype=float)]
    for _ in range((horizon or 3000) - 1):
        mass.append(gamma * mass[-1] @ moves)
    return np.stack(mass) if horizon else np.sum(mass[::-1], axis=0)


@variant("from the state values")
def expected_return(transition, reward, initial, policy, gamma, horizon):
    values = next(v.implementation for v in VARIANTS if v.operation == "state_values")
    return (initial @ np.atleast_2d(values(transition, reward, policy, gamma, horizon))[0]).item()


@variant("by listing all trajectories", quick=True)
def expected_return(transition, reward, initial, policy, gamma, horizon):
    if horizon is None:
        raise NotImplementedError("there are too many")
    return sum(chance * total for chance, total in paths(transition, reward, initial, policy, gamma, horizon))


def paths(transition, reward, initial, policy, gamma, horizon):
    """Probability and discounted return of each trajectory."""
    states, actions = reward.shape
    for start, *path in product(range(states), *[range(actions), range(states)] * horizon):
        chance, total, state = initial[start], 0.0, start
        for t, (action, following) in enumerate(zip(path[::2], path[1::2], strict=True)):
            chance = chance * policy[state, action] * transition[state, action, following]
            total = total + gamma**t * reward[state, action]
            state = following
        yield chance, total


# Policy gradients


@variant("by autograd through the unrolled steps")
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    if horizon is None:
        raise NotImplementedError("there is no end to unroll to")
    transition, reward, initial, logits = (
        torch.tensor(np.array(array)).double() for array in (transition, reward, initial, logits)
    )
    logits.requires_grad_()
    policy, state, total = logits.softmax(-1), initial, 0
    for t in range(horizon):
        pairs = state[:, None] * policy
        total = total + gamma**t * (pairs * reward).sum()
        state = torch.einsum("sa,sat->t", pairs, transition)
    return torch.autograd.grad(total, logits)[0]


@variant("by autograd through all trajectories")
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    if horizon is None or reward.size**horizon > 100:
        raise NotImplementedError("there are too many")
    logits = torch.tensor(np.array(logits)).double().requires_grad_()
    policy = logits.softmax(-1)
    total = sum(chance * total for chance, total in paths(transition, reward, initial, policy, gamma, horizon))
    return torch.autograd.grad(total, logits)[0]


@variant("by complex steps", quick=True)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    def total(logits):
        weights = np.exp(logits - logits.real.max(axis=1, keepdims=True))
        moves, paid = chain(transition, reward, weights / weights.sum(axis=1, keepdims=True))
        if horizon is None:
            return initial @ np.linalg.solve(np.eye(len(moves)) - gamma * moves, paid)
        values = 0 * paid
        for _ in range(horizon):
            values = paid + gamma * moves @ values
        return initial @ values

    gradient = np.zeros(logits.shape)
    for place in np.ndindex(logits.shape):
        nudged = logits.astype(complex)
        nudged[place] += 1e-30j
        gradient[place] = total(nudged).imag / 1e-30
    return gradient


@variant("in float32 throughout, by autograd", admitted=("OPS-4",))
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    transition, reward, initial, logits = (
        torch.tensor(np.array(array), dtype=torch.float32) for array in (transition, reward, initial, logits)
    )
    logits.requires_grad_()
    policy = logits.softmax(-1)
    moves, paid = torch.einsum("sa,sat->st", policy, transition), (policy * reward).sum(-1)
    if horizon is None:
        values = torch.linalg.solve(torch.eye(len(moves)) - gamma * moves, paid)
    else:
        values = torch.zeros(len(moves))
        for _ in range(horizon):
            values = paid + gamma * moves @ values
    return torch.autograd.grad(initial @ values, logits)[0]


def reinforce(discounting, credit):
    """REINFORCE by scores, an episode at a time."""

    def policy_gradient(logits, states, actions, rewards, mask, gamma):
        policy, gradient = softmax(np.asarray(logits, dtype=float), axis=1), np.zeros(np.shape(logits))
        for visited, chosen, paid, taken in zip(states, actions, rewards, mask.astype(bool), strict=True):
            visited, chosen, paid = visited[taken], chosen[taken], paid[taken]
            discounts = float(gamma) ** np.arange(len(paid))
            for t in range(len(paid)):
                weight = (discounts[: len(paid) - t] * paid[t:]).sum()
                if credit == "whole return":
                    weight = (discounts * paid).sum()
                elif discounting == "gamma^t":
                    weight = weight * discounts[t]
                gradient[visited[t]] -= weight * policy[visited[t]] / len(mask)
                gradient[visited[t], chosen[t]] += weight / len(mask)
        return gradient

    return policy_gradient


for discounting, credit in (("gamma^t", "reward-to-go"), ("none", "reward-to-go"), ("none", "whole return")):
    variant(f"by scores, {discounting}, {credit}", quick=discounting == "none")(reinforce(discounting, credit))


@variant("by logsumexp")
def entropy(logits, legal):
    possible = np.array(legal, dtype=bool) & (logits > -np.inf)
    rivals = np.where(possible, logits, -np.inf).astype(float)
    logp = np.where(possible, rivals - logsumexp(rivals, axis=1, keepdims=True), 0)
    policy = np.where(possible, np.exp(logp), 0)
    value = -(policy * logp).sum(axis=1)
    return value, -policy * (logp + value[:, None])


@variant("by softmax and xlogy", quick=True)
def entropy(logits, legal):
    policy = softmax(np.where(legal, logits, -np.inf), axis=1)
    value = -xlogy(policy, policy).sum(axis=1)
    return value, -(xlogy(policy, policy) + policy * value[:, None])


@variant("in float32 throughout, by autograd", admitted=("OPS-4",))
def entropy(logits, legal):
    logits = torch.tensor(np.array(logits), dtype=torch.float32).requires_grad_()
    legal = torch.tensor(np.array(legal)).bool() & (logits > -torch.inf)
    logp = logits.masked_fill(~legal, -torch.inf).log_softmax(-1)
    value = -(logp.exp() * logp.masked_fill(~legal, 0)).sum(-1)
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


@variant("by log_softmax, a row at a time")
def entropy(logits, legal):
    values, slopes = [], np.zeros(np.shape(logits))
    for row, allowed in enumerate(np.array(legal, dtype=bool) & (logits > -np.inf)):
        logp = log_softmax(np.asarray(logits, dtype=float)[row, allowed])
        values.append(float(-(np.exp(logp) * logp).sum()))
        slopes[row, allowed] = -np.exp(logp) * (logp + values[-1])
    return values, slopes


def losing(aggregation, dtype):
    """The loss by autograd."""

    def policy_gradient_loss(logp, advantages, mask):
        logp, advantages = (torch.tensor(np.array(array), dtype=dtype) for array in (logp, advantages))
        logp.requires_grad_()
        mask = torch.tensor(np.array(mask)).bool()
        terms = -torch.where(mask, advantages, 0) * torch.where(mask, logp, 0)
        size = {"mean over steps": int(mask.sum()) or 1, "mean over rows": len(mask), "sum": 1}[aggregation]
        loss = terms.sum(1).sum() / size
        return loss.item(), torch.autograd.grad(loss, logp)[0]

    return policy_gradient_loss


for aggregation in ("mean over steps", "mean over rows", "sum"):
    variant(f"by autograd, {aggregation}", quick=aggregation == "mean over rows")(losing(aggregation, torch.float64))
variant("in float32 throughout", admitted=("OPS-4",))(losing("mean over steps", torch.float32))


# Gaussian policies


@variant("in variances", quick=True)
def gaussian_logp(actions, mean, log_std):
    variance = np.exp(2 * log_std)
    apart = actions - mean
    value = -0.5 * (apart**2 / variance + np.log(2 * np.pi * variance))
    return value.sum(axis=1), apart / variance, apart**2 / variance - 1


@variant("by scipy, an axis at a time")
def gaussian_logp(actions, mean, log_std):
    deviation = np.exp(log_std)
    value = sum(norm.logpdf(*columns) for columns in zip(actions.T, mean.T, deviation.T, strict=True))
    z = (actions - mean) * np.exp(-log_std)
    return value, z / deviation, (z - 1) * (z + 1)


@variant("in float32 throughout", admitted=("OPS-4",))
def gaussian_logp(actions, mean, log_std):
    mean, log_std = (torch.tensor(np.array(array, dtype=np.float32), requires_grad=True) for array in (mean, log_std))
    actions = torch.tensor(np.array(actions, dtype=np.float32))
    value = torch.distributions.Normal(mean, log_std.exp()).log_prob(actions).sum(-1)
    return value.detach(), *torch.autograd.grad(value.sum(), (mean, log_std))


@variant("of the determinant of the covariance", quick=True)
def gaussian_entropy(log_std):
    constant = log_std.shape[1] * (1 + np.log(2 * np.pi)) / 2
    return np.log(np.exp(log_std)).sum(axis=1) + constant, np.ones(log_std.shape)


@variant("in variances, as a trace, a distance and a determinant", quick=True)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    variance, reference = np.exp(2 * log_std), np.exp(2 * ref_log_std)
    ratio, apart = variance / reference, mean - ref_mean
    value = 0.5 * (ratio.sum(axis=1) + (apart**2 / reference).sum(axis=1) - mean.shape[1] - np.log(ratio).sum(axis=1))
    return value, apart / reference, ratio - 1


@variant("by hyperbolic cosines", quick=True)
def squashed_gaussian_logp(presquash, mean, log_std):
    z = (presquash - mean) / np.exp(log_std)
    cosines = np.logaddexp(presquash, -presquash) - np.log(2)
    value = norm.logpdf(z) - log_std + 2 * cosines
    return value.sum(axis=1), 2 * np.tanh(presquash) - z / np.exp(log_std)


@variant("as the difference, where that has digits")
def squashed_gaussian_logp(presquash, mean, log_std):
    z = (presquash - mean) / np.exp(log_std)
    squashed, far = np.tanh(presquash), np.abs(presquash)
    with np.errstate(divide="ignore"):
        stretch = np.where(far < 3, np.log(1 - squashed**2), 2 * (np.log(2) - far - np.log1p(np.exp(-2 * far))))
    return (norm.logpdf(z) - log_std - stretch).sum(axis=1), 2 * squashed - z / np.exp(log_std)
