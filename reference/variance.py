"""How much a policy gradient's estimates scatter, exactly, and the baselines that let them scatter least.

The variance of an estimate [S][A] is the sum of its components' variances, E|ghat|^2 - |E ghat|^2: a number.  In what
is subtracted as a baseline it is a parabola, whose vertex is the best baseline.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from .critics import foreseen
from .decision_process import TabularMDP, action_values, occupancy, trajectories
from .linear_algebra import Matrix, Number, dot
from .policy_gradient import (
    Weights,
    discounted,
    expected_gradient,
    policy_gradient,
    score,
    through_softmax,
    whole_return,
)


def variance(mdp: TabularMDP, policy: Matrix, weights: Weights) -> Number:
    """E|ghat|^2 - |E ghat|^2 of the estimate with these weights, by listing every trajectory.

    Raises ValueError for an infinite horizon.
    """
    mean = expected_gradient(mdp, policy, weights)
    return _mean_product(mdp, policy, weights, weights) - _inner(mean, mean)


def best_constant(mdp: TabularMDP, policy: Matrix) -> Number:
    """b = E[R |Psi|^2] / E[|Psi|^2], Psi = sum_t grad log pi(a_t|s_t): best for (R(tau) - b) Psi (CRIT-5).

    By listing every trajectory.  Raises ZeroDivisionError if there is a single action: then there is no variance.
    Weaver & Tao (2001); Greensmith et al. (2004).
    """
    return _mean_product(mdp, policy, whole_return, _one) / _mean_product(mdp, policy, _one, _one)


class Parabola(NamedTuple):
    """Numbers for each state: the variance is the least one + sum_s curvature(s) (b(s) - vertex(s))^2 (CRIT-4)."""

    curvature: list[Number]
    vertex: list[Number]


def in_baseline(mdp: TabularMDP, policy: Matrix) -> Parabola:
    """The variance of sum_t gamma^t (G_t - b(s_t)) grad log pi(a_t|s_t) as a function of the numbers b(s) (CRIT-4).

    The estimate is ghat - sum_s b(s) C_s, where C_s, the sum of gamma^t psi_t over the steps with s_t = s, has mean
    zero, and no component in common with that of another state.  So each b(s) is best at E[ghat . C_s] / E[|C_s|^2].
    With the means over the policy's actions, and n_t(s) = P(s_t = s),

        E[|C_s|^2]    = sum_t gamma^2t n_t(s) E[|psi|^2]
        E[ghat . C_s] = sum_t gamma^2t n_t(s) E[Q_t |psi|^2]
                      + sum_{j < t} (gamma^(j+t) + gamma^2t) n_j(s) E[P(s_t = s | s_j = s, a_j) psi] . E[Q_t psi].

    The last sum is about states that are visited twice, j before t: of the returns from both visits, G_j holds
    gamma^(t-j) G_t, and the rewards in between have no part in the later score.
    Finite horizon.  The vertex of a state that cannot be visited, or where there is no choice, is 0.
    """
    tables = [_of_state(mdp, policy, s) for s in range(mdp.shape[0])]
    return Parabola(
        [curvature for curvature, _ in tables],
        [product / curvature if curvature else 0 for curvature, product in tables],
    )


def _of_state(mdp: TabularMDP, policy: Matrix, s: int) -> tuple[Number, Number]:
    """E[|C_s|^2] and E[ghat . C_s]."""
    plain = replace(mdp, gamma=1)
    powers = discounted([1] * len(occupancy(plain, policy)), mdp.gamma)
    visits = [row[s] for row in occupancy(plain, policy)]
    values = [table[s] for table in action_values(mdp, policy)]
    lengths = [dot(psi, psi) for psi in (score(policy[s], a) for a, _ in enumerate(policy[s]))]
    here = [int(state == s) for state, _ in enumerate(policy)]
    curvature = product = 0
    for t, (power, visit, q) in enumerate(zip(powers, visits, values, strict=True)):
        curvature += power * power * visit * dot(policy[s], lengths)
        product += power * power * visit * dot(policy[s], [x * y for x, y in zip(q, lengths, strict=True)])
        pull = _score_mean(policy[s], q)
        for j in range(t):
            again = _score_mean(policy[s], foreseen(plain, policy, here, t - j)[s])
            product += (powers[j] + power) * power * visits[j] * dot(again, pull)
    return curvature, product


def _score_mean(probabilities: Sequence[Number], numbers: Sequence[Number]) -> Sequence[Number]:
    """E[number(a) grad log pi(a)], in the logits of one state."""
    return through_softmax([probabilities], [numbers])[0]


def _one(states: Sequence[int], actions: Sequence[int], rewards: Sequence[Number], gamma: Number) -> list[Number]:
    """The weights of Psi = sum_t grad log pi(a_t|s_t)."""
    return [1] * len(states)


def _mean_product(mdp: TabularMDP, policy: Matrix, left: Weights, right: Weights) -> Number:
    """E[x . y] for the estimates x and y with these weights."""
    return sum(
        probability
        * _inner(
            policy_gradient(policy, states, actions, rewards, mdp.gamma, left),
            policy_gradient(policy, states, actions, rewards, mdp.gamma, right),
        )
        for probability, states, actions, rewards in trajectories(mdp, policy)
    )


def _inner(left: Matrix, right: Matrix) -> Number:
    return sum(map(dot, left, right))
