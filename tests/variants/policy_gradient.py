"""Policy gradients, written another way."""

import numpy as np
import torch
from scipy.special import softmax

from .decision_process import chain, paths
from .reductions import REDUCTIONS, divisors_of
from .registry import variant


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


def losing(reduction, dtype, added=0.0):
    """The loss by autograd."""

    def policy_gradient_loss(logp, advantages, mask):
        logp, advantages = (torch.tensor(np.array(array), dtype=dtype) for array in (logp, advantages))
        logp.requires_grad_()
        sizes = torch.tensor(divisors_of(mask, reduction, added), dtype=dtype)
        mask = torch.tensor(np.array(mask)).bool()
        terms = -torch.where(mask, advantages, 0) * torch.where(mask, logp, 0)
        loss = (terms / sizes).sum()
        return loss.item(), torch.autograd.grad(loss, logp)[0]

    return policy_gradient_loss


for reduction in REDUCTIONS:
    variant(f"by autograd, {reduction}", quick=reduction == "mean of means")(losing(reduction, torch.float64))
variant("by autograd, with 1e-6 added to a number of steps")(losing("token-mean", torch.float64, 1e-6))
variant("in float32 throughout", admitted=("OPS-4",))(losing("token-mean", torch.float32))
