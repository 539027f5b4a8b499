"""Ways to evaluate decision processes."""

import numpy as np
import torch

from .catalogue import way
from .returns import powers
from .tensors import differentiated, leaves, tensors

DOUBLINGS = 12
"""After 2^12 steps nothing is left of a discount of 0.99."""


def chain(style, transition, reward, policy):
    """The policy's transition matrix and mean rewards."""
    moves = np.einsum("sa,sat->st", policy, transition)
    return moves.astype(style.dtype), style.total(policy * reward)


def unrolled(moves, paid, gamma, steps):
    """Values with 1, 2, ... steps to go."""
    values, rows = np.zeros_like(paid), []
    for _ in range(steps):
        values = paid + gamma * (moves @ values)
        rows.append(values)
    return rows


def endless(moves, paid, gamma):
    """Values without an end, as those of so many steps that no more can be seen."""
    values, reach = paid, gamma * moves
    for _ in range(DOUBLINGS):
        values, reach = values + reach @ values, reach @ reach
    return values


def stationary(style, moves, paid, gamma):
    """Values without an end."""
    system = np.eye(len(moves), dtype=style.dtype) - style.dtype(gamma) * moves
    if style.reducing == "weighed":
        return np.linalg.inv(system) @ paid
    return np.linalg.solve(system, paid)


@way("by backing up, or a linear system")
def state_values(style, choices, transition, reward, policy, gamma, horizon):
    moves, paid = chain(style, transition, reward, policy)
    if horizon is None:
        return stationary(style, moves, paid, gamma)
    return np.stack(unrolled(moves, paid, gamma, horizon)[::-1])


@way("by backing up, without an end as well")
def state_values(style, choices, transition, reward, policy, gamma, horizon):
    moves, paid = chain(style, transition, reward, policy)
    if horizon is None:
        return endless(moves, paid, gamma)
    return np.stack(unrolled(moves, paid, gamma, horizon)[::-1])


@way("by powers of the matrix")
def state_values(style, choices, transition, reward, policy, gamma, horizon):
    moves, paid = chain(style, transition, reward, policy)
    if horizon is None:
        return stationary(style, moves, paid, gamma)
    terms = [np.linalg.matrix_power(style.dtype(gamma) * moves, k) @ paid for k in range(horizon)]
    return np.cumsum(terms, axis=0)[::-1]


@way("from the values of the next step")
def action_values(style, choices, transition, reward, policy, gamma, horizon):
    moves, paid = chain(style, transition, reward, policy)
    if horizon is None:
        return reward + style.dtype(gamma) * style.total(transition * stationary(style, moves, paid, gamma))
    later = [np.zeros_like(paid), *unrolled(moves, paid, gamma, horizon - 1)]
    return np.stack([reward + gamma * style.total(transition * values) for values in later[::-1]])


@way("by recursion on themselves")
def action_values(style, choices, transition, reward, policy, gamma, horizon):
    if horizon is None:
        moves = np.einsum("sat,tb->satb", transition, policy).reshape(reward.size, reward.size)
        return endless(moves, reward.ravel(), gamma).reshape(reward.shape)
    worth, rows = np.zeros_like(reward), []
    for _ in range(horizon):
        worth = reward + gamma * np.einsum("sat,t->sa", transition, style.total(policy * worth))
        rows.append(worth)
    return np.stack(rows[::-1])


@way("by pushing mass forward")
def occupancy(style, choices, transition, initial, policy, gamma, horizon):
    moves, _ = chain(style, transition, policy, policy)
    if horizon is None:
        return endless(moves.T, initial, gamma)
    mass = [initial]
    for _ in range(horizon - 1):
        mass.append(gamma * (mass[-1] @ moves))
    return np.stack(mass)


@way("by powers of the matrix, or a linear system")
def occupancy(style, choices, transition, initial, policy, gamma, horizon):
    moves, _ = chain(style, transition, policy, policy)
    if horizon is None:
        return stationary(style, moves.T, initial, gamma)
    weights = powers(style, gamma, horizon)
    return np.stack([weights[t] * (initial @ np.linalg.matrix_power(moves, t)) for t in range(horizon)])


@way("from the state values")
def expected_return(style, choices, transition, reward, initial, policy, gamma, horizon):
    moves, paid = chain(style, transition, reward, policy)
    values = stationary(style, moves, paid, gamma) if horizon is None else unrolled(moves, paid, gamma, horizon)[-1]
    return style.total(initial * values)


@way("from where it is, and when")
def expected_return(style, choices, transition, reward, initial, policy, gamma, horizon):
    moves, paid = chain(style, transition, reward, policy)
    if horizon is None:
        return style.total(endless(moves.T, initial, gamma) * paid)
    mass, terms = initial, []
    for _ in range(horizon):
        terms.append(style.total(mass * paid))
        mass = gamma * (mass @ moves)
    return style.whole(np.array(terms, style.dtype))


@way("by torch through the unrolled steps, or a linear system")
def exact_policy_gradient(style, choices, transition, reward, initial, logits, gamma, horizon):
    moved, paid, begun = tensors(style, transition, reward, initial)
    [scores] = leaves(style, logits)
    policy = scores.softmax(-1)
    moves, worth = torch.einsum("sa,sat->st", policy, moved), (policy * paid).sum(-1)
    if horizon is None:
        values = torch.linalg.solve(torch.eye(len(moves), dtype=moves.dtype) - gamma * moves, worth)
    else:
        values = torch.zeros_like(worth)
        for _ in range(horizon):
            values = worth + gamma * (moves @ values)
    return differentiated((begun * values).sum(), scores)[1]


@way("by the policy gradient theorem, over where it is and when")
def exact_policy_gradient(style, choices, transition, reward, initial, logits, gamma, horizon):
    raised = style.exp(logits - logits.max(axis=1, keepdims=True))
    policy = raised / style.total(raised)[:, None]
    moves, paid = chain(style, transition, reward, policy)
    if horizon is None:
        mass, values = stationary(style, moves.T, initial, gamma)[None], stationary(style, moves, paid, gamma)[None]
        later = values
    else:
        rows = unrolled(moves, paid, gamma, horizon)[::-1]
        mass = [initial]
        for _ in range(horizon - 1):
            mass.append(gamma * (mass[-1] @ moves))
        values, later = np.stack(rows), [*rows[1:], np.zeros_like(paid)]
    terms = [
        here[:, None] * policy * (reward + gamma * style.total(transition * after) - now[:, None])
        for here, now, after in zip(mass, values, later, strict=True)
    ]
    return style.total(np.stack(terms), axis=0)


def weights_of(style, choices, paid, gamma):
    """What each step's score is weighed by."""
    discounts = powers(style, gamma, len(paid))
    if choices["credit"] == "whole return":
        return np.full(len(paid), style.total(discounts * paid), style.dtype)
    to_go = [style.total(discounts[: len(paid) - t] * paid[t:]) for t in range(len(paid))]
    return np.array(to_go, style.dtype) * (discounts if choices["discounting"] == "gamma^t" else 1)


@way("by scores, an episode at a time")
def policy_gradient(style, choices, logits, states, actions, rewards, mask, gamma):
    raised = style.exp(logits - logits.max(axis=1, keepdims=True))
    policy, gradient = raised / style.total(raised)[:, None], np.zeros_like(logits)
    for row, taken in enumerate(mask):
        visited, said = states[row, taken].astype(int), actions[row, taken].astype(int)
        for state, action, weight in zip(
            visited, said, weights_of(style, choices, rewards[row, taken], gamma), strict=True
        ):
            gradient[state] -= weight * policy[state] / style.dtype(len(mask))
            gradient[state, action] += weight / style.dtype(len(mask))
    return gradient


@way("by torch, of a sum of weighed log-probabilities")
def policy_gradient(style, choices, logits, states, actions, rewards, mask, gamma):
    [scores] = leaves(style, logits)
    total, logs = scores.sum() * 0, scores.log_softmax(-1)
    for row, taken in enumerate(mask):
        visited, said = (torch.from_numpy(table[row, taken].astype(np.int64)) for table in (states, actions))
        [weights] = tensors(style, weights_of(style, choices, rewards[row, taken], gamma))
        total = total + (weights * logs[visited, said]).sum() / len(mask)
    return differentiated(total, scores)[1]
