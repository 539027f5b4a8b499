"""Decision processes, evaluated another way."""

from itertools import product

import numpy as np

from .registry import VARIANTS, variant


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
