"""How much a policy gradient's estimates scatter, exactly, and the baselines that let them scatter least.

The variance of an estimate [S][A] is the sum of its components' variances, E|ghat|^2 - |E ghat|^2: a number.  In what
is subtracted as a baseline it is a parabola, whose vertex is the best baseline.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .decision_process import TabularMDP, trajectories
from .linear_algebra import Matrix, Number, dot
from .moments import best_baselines, process
from .policy_gradient import Weights, expected_gradient, policy_gradient, whole_return


def variance(mdp: TabularMDP, policy: Matrix, weights: Weights) -> Number:
    """E|ghat|^2 - |E ghat|^2 of the estimate with these weights, by listing every trajectory.

    Raises ValueError for an infinite horizon.

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> variance(bandit, [[0.25, 0.75]], whole_return)  # 3/4 * 8 - 9/2
    1.5
    """
    mean = expected_gradient(mdp, policy, weights)
    return _mean_product(mdp, policy, weights, weights) - _inner(mean, mean)


def best_constant(mdp: TabularMDP, policy: Matrix) -> Number:
    """b = E[R |Psi|^2] / E[|Psi|^2], Psi = sum_t grad log pi(a_t|s_t): best for (R(tau) - b) Psi (CRIT-5).

    By listing every trajectory.  Raises ZeroDivisionError if there is a single action: then there is no variance.
    Weaver & Tao (2001); Greensmith et al. (2004).

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> best_constant(bandit, [[0.25, 0.75]])  # 3/4 over 3/8
    2.0
    """

    def one(states: Sequence[int], *_: Any) -> list[Number]:
        return [1] * len(states)

    return _mean_product(mdp, policy, whole_return, one) / _mean_product(mdp, policy, one, one)


class Parabola(NamedTuple):
    """Numbers for each state: the variance is the least one + sum_s curvature(s) (b(s) - vertex(s))^2 (CRIT-4)."""

    curvature: list[Number]
    vertex: list[Number]


def in_baseline(mdp: TabularMDP, policy: Matrix) -> Parabola:
    """The variance of sum_t gamma^t (G_t - b(s_t)) grad log pi(a_t|s_t) as a function of the numbers b(s) (CRIT-4).

    The estimate is ghat - sum_s b(s) C_s, where C_s, the sum of gamma^t psi_t over the steps with s_t = s, has mean
    zero, and no component in common with that of another state.  So each b(s) is best at E[ghat . C_s] / E[|C_s|^2].
    They are those of numbers that know the step (CRIT-12), joined over the steps.
    The vertex of a state that cannot be visited, or where there is no choice, is 0.

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> in_baseline(bandit, [[0.25, 0.75]])
    Parabola(curvature=[0.375], vertex=[2.0])
    """
    joined = best_baselines(process(mdp, policy)).of_states()
    return Parabola(*(numbers[0].tolist() for numbers in joined))


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
