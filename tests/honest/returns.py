"""Ways to compute returns."""

import numpy as np

from .catalogue import way


def powers(style, base, count):
    """1, base, base^2, ... as products."""
    steps = np.full(count, base, style.dtype)
    steps[:1] = 1
    return np.cumprod(steps)


def ends(terminated, truncated):
    """Where an episode ends, the ends of the rows included."""
    ended = terminated | truncated
    ended[:, -1:] = True
    return ended


def bootstrapped(rewards, next_values, terminated, gamma):
    """Rewards with what they are bootstrapped by."""
    return rewards + gamma * np.where(terminated, rewards.dtype.type(0), next_values)


def carried_back(terms, factors):
    """x_t = terms_t + factors_t x_{t+1}, a column at a time."""
    carried, columns = np.zeros(len(terms), terms.dtype), []
    for t in reversed(range(terms.shape[1])):
        carried = terms[:, t] + np.where(factors[:, t] != 0, factors[:, t] * carried, 0)
        columns.append(carried)
    return np.stack(columns[::-1], axis=1)


def doubled(terms, factors):
    """The same by recursive doubling."""
    terms, factors, stride = np.array(terms), np.array(factors), 1
    factors[:, -1:] = 0
    while stride < terms.shape[1]:
        terms[:, :-stride] = terms[:, :-stride] + factors[:, :-stride] * terms[:, stride:]
        factors[:, :-stride] = factors[:, :-stride] * factors[:, stride:]
        factors[:, -stride:] = 0
        stride *= 2
    return terms


def summed_pairs(style):
    """The same as a sum over all pairs of steps."""

    def summed(terms, factors):
        sums = np.zeros_like(terms)
        for t in range(terms.shape[1]):
            reach = np.cumprod(factors[:, t:-1], axis=1) if t < terms.shape[1] - 1 else terms[:, :0]
            weights = np.concatenate([np.ones((len(terms), 1), terms.dtype), reach], axis=1)
            sums[:, t] = style.total(np.where(weights == 0, 0, weights * terms[:, t:]))
        return sums

    return summed


def solved(terms, factors):
    """The same as the solution of triangular systems, from the last unknown to the first."""
    rows = []
    for row, links in zip(terms, factors, strict=True):
        unknown = np.array(row)
        for t in range(len(row) - 2, -1, -1):
            unknown[t] += links[t] * unknown[t + 1] if links[t] else 0
        rows.append(unknown)
    return np.stack(rows)


RECURSIONS = {
    "a column at a time": lambda style: carried_back,
    "by recursive doubling": lambda style: doubled,
    "over all pairs of steps": summed_pairs,
    "by back substitution": lambda style: solved,
}


@way("as a sum of weighed rewards")
def discounted_return(style, choices, rewards, gamma):
    return style.total(rewards * powers(style, gamma, rewards.shape[1]))


@way("as a sum of rewards times powers")
def discounted_return(style, choices, rewards, gamma):
    return style.total(rewards * style.dtype(gamma) ** np.arange(rewards.shape[1]))


@way("by Horner's rule")
def discounted_return(style, choices, rewards, gamma):
    total = np.zeros(len(rewards), style.dtype)
    for column in rewards.T[::-1]:
        total = column + gamma * total
    return total


@way("as an inner product")
def discounted_return(style, choices, rewards, gamma):
    return np.einsum("bt,t->b", rewards, powers(style, gamma, rewards.shape[1]))


@way("as a product with a triangular matrix")
def reward_to_go(style, choices, rewards, gamma):
    apart = np.subtract.outer(np.arange(rewards.shape[1]), np.arange(rewards.shape[1]))
    weights = np.where(apart < 0, 0, style.dtype(gamma) ** np.abs(apart)).astype(style.dtype)
    return rewards @ weights


@way("by running sums divided by powers of gamma")
def reward_to_go(style, choices, rewards, gamma):
    weights = powers(style, gamma, rewards.shape[1])
    if weights[-1] < 1e-12:
        raise NotImplementedError("its powers vanish")
    return np.cumsum((rewards * weights)[:, ::-1], axis=1)[:, ::-1] / weights


for how, recursion in RECURSIONS.items():

    @way(how)
    def reward_to_go(style, choices, rewards, gamma, recursion=recursion):
        return recursion(style)(rewards, np.full_like(rewards, gamma))

    @way(how)
    def lambda_return(style, choices, rewards, next_values, terminated, truncated, gamma, lam, recursion=recursion):
        ended = ends(terminated, truncated)
        trust = np.where(ended, style.dtype(1), 1 - style.dtype(lam))
        terms = bootstrapped(rewards, next_values, terminated, gamma * trust)
        return recursion(style)(terms, np.where(ended, 0, style.dtype(gamma) * style.dtype(lam)).astype(style.dtype))


@way("a mixture of n-step returns")
def lambda_return(style, choices, rewards, next_values, terminated, truncated, gamma, lam):
    ended, longest = ends(terminated, truncated), rewards.shape[1]
    steps = [backed_up(rewards, next_values, terminated, ended, gamma, n) for n in range(1, longest + 1)]
    returns = np.zeros_like(rewards)
    for row, t in np.ndindex(rewards.shape):
        left = int(np.argmax(ended[row, t:])) + 1
        weights = powers(style, lam, left)
        weights[:-1] *= 1 - style.dtype(lam)
        returns[row, t] = style.total(weights * np.array([steps[n][row, t] for n in range(left)], style.dtype))
    return returns


def backed_up(rewards, next_values, terminated, ended, gamma, n):
    """n-step returns, by so many steps of backing up."""
    near = bootstrapped(rewards, next_values, terminated, gamma)
    returns = near
    for _ in range(min(n, rewards.shape[1]) - 1):
        returns = np.where(ended, near, rewards + gamma * np.roll(returns, -1, axis=1))
    return returns


@way("by backing up n times")
def n_step_return(style, choices, rewards, next_values, terminated, truncated, gamma, n):
    return backed_up(rewards, next_values, terminated, ends(terminated, truncated), style.dtype(gamma), n)


@way("a step at a time, by sums of discounted rewards")
def n_step_return(style, choices, rewards, next_values, terminated, truncated, gamma, n):
    ended, returns = ends(terminated, truncated), np.zeros_like(rewards)
    for row, t in np.ndindex(rewards.shape):
        left = min(n, int(np.argmax(ended[row, t:])) + 1)
        weights, last = powers(style, gamma, left + 1), t + left - 1
        value = 0 if terminated[row, last] else next_values[row, last]
        terms = np.append(rewards[row, t : t + left], value).astype(style.dtype)
        returns[row, t] = style.total(weights * terms)
    return returns
