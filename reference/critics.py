"""Critics: values that stand in for rewards that were not waited for, and what that costs in bias (spec/critics.md).

What baselines do to the variance is in `variance`, means and covariances without a list of trajectories in `moments`,
and compatible critics in `natural_gradient`.
"""

from collections.abc import Sequence
from operator import sub

from .advantages import gae
from .decision_process import TabularMDP, occupancy
from .linear_algebra import Matrix, Number, Vector, dot, quotient
from .policy_gradient import Gradient, Weights, credited, discounted
from .returns import n_step_return, require_steps


def n_step(critic: Matrix, n: int) -> Weights:
    """w_t = gamma^t (r_t + ... + gamma^(n-1) r_{t+n-1} + gamma^n v_{t+n}(s_{t+n}) - v_t(s_t)) (CRIT-2).

    critic: [H][S], the values v_t(s) that the critic believes in; nothing follows the last step, v_H = 0.
    n: at least 1, which is the one-step actor-critic; from n = H on it is reward-to-go with the baseline v.
    Sutton & Barto (2018), eqs. 7.1 and 13.14.

    >>> critic = [[2, 0], [4, 6]]
    >>> n_step(critic, 1)([0, 1], [0, 0], [1, 3], 0.5), n_step(critic, 2)([0, 1], [0, 0], [1, 3], 0.5)
    ([2.0, -1.5], [0.5, -1.5])
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        values, following, last, never = _along(critic, states)
        returns = n_step_return(rewards, following, last, never, gamma, n)
        return discounted(map(sub, returns, values), gamma)

    return weights


def generalized(critic: Matrix, lam: Number) -> Weights:
    """w_t = gamma^t A_t, with the generalised advantage estimates of a critic (CRIT-3).

    critic: [H][S], as for `n_step`.  Schulman et al. (2016), eq. 16.

    >>> critic = [[2, 0], [4, 6]]
    >>> generalized(critic, 0)([0, 1], [0, 0], [1, 3], 0.5), generalized(critic, 1)([0, 1], [0, 0], [1, 3], 0.5)
    ([2.0, -1.5], [0.5, -1.5])
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        return discounted(gae(rewards, *_along(critic, states), gamma, lam), gamma)

    return weights


def n_step_bias(mdp: TabularMDP, policy: Matrix, errors: Matrix, n: int) -> Gradient:
    """sum_t gamma^t E[gamma^n e_{t+n}(s_{t+n}) grad log pi(a_t|s_t)], the bias of the n-step actor-critic (CRIT-2).

    errors: [H][S], e_t(s) = v_t(s) - V_t(s); e_t = 0 from t = H on.  Finite horizon.  Raises ValueError for n < 1.

    >>> mdp = TabularMDP([[[0, 1], [1, 0]], [[0, 1], [0, 1]]], [[0, 0], [0, 0]], [1, 0], 0.5, horizon=2)
    >>> n_step_bias(mdp, [[0.5, 0.5], [0.5, 0.5]], [[0, 0], [2, 8]], 1)  # 1/2 (4 - 5/2)
    [[0.75, -0.75], [0.0, 0.0]]
    """
    require_steps(n)
    return credited(policy, occupancy(mdp, policy)[:-n], [foreseen(mdp, policy, later, n) for later in errors[n:]])


def generalized_bias(mdp: TabularMDP, policy: Matrix, errors: Matrix, lam: Number) -> Gradient:
    """(1 - lam) sum_{n >= 1} lam^(n-1) times the bias of n steps: that of GAE(lam) (CRIT-3).

    errors: [H][S], as for `n_step_bias`; from n = H on there is no bias.

    >>> mdp = TabularMDP([[[0, 1], [1, 0]], [[0, 1], [0, 1]]], [[0, 0], [0, 0]], [1, 0], 0.5, horizon=2)
    >>> generalized_bias(mdp, [[0.5, 0.5], [0.5, 0.5]], [[0, 0], [2, 8]], 0.5)
    [[0.375, -0.375], [0.0, 0.0]]
    """
    parts = [n_step_bias(mdp, policy, errors, n) for n in range(1, len(errors) + 1)]
    shares = discounted([1 - lam] * len(parts), lam)
    return [[dot(shares, numbers) for numbers in zip(*rows, strict=True)] for rows in zip(*parts, strict=True)]


def foreseen(mdp: TabularMDP, policy: Matrix, numbers: Vector, n: int) -> list[list[Number]]:
    """gamma^n E[numbers(s_{t+n}) | s_t = s, a_t = a], [S][A], for n >= 1.

    numbers: [S].  With n = 1 it is gamma sum_s' P(s' | s, a) numbers(s'); more steps average over actions in between.

    >>> mdp = TabularMDP([[[0, 1], [1, 0]], [[0, 1], [0, 1]]], [[0, 0], [0, 0]], [1, 0], 0.5, horizon=2)
    >>> foreseen(mdp, [[0.5, 0.5], [0.5, 0.5]], [2, 8], 1)
    [[4.0, 1.0], [4.0, 4.0]]
    """
    ahead = [[mdp.gamma * dot(row, numbers) for row in rows] for rows in mdp.transition]
    return ahead if n == 1 else foreseen(mdp, policy, list(map(dot, policy, ahead)), n - 1)


def _along(critic: Matrix, states: Sequence[int]) -> tuple[list[Number], list[Number], list[bool], list[bool]]:
    """v_t(s_t) of the steps of an episode, those of their successors, where it terminates, and truncations: nowhere."""
    values = [row[state] for row, state in zip(critic, states, strict=True)]
    never = [False] * len(values)
    return values, [*values[1:], 0], [*never[1:], True], never


def explained_variance(values: Vector, returns: Vector) -> Number:
    """1 - Var(G - V) / Var(G) over the steps of a batch (CRIT-18).

    values, returns: V and G of each step.  Raises ZeroDivisionError where all returns are equal.

    >>> explained_variance([2, 2, 3, 5], [1, 2, 3, 6])
    Fraction(6, 7)
    """
    residuals = [target - value for value, target in zip(values, returns, strict=True)]
    return 1 - quotient(_spread(residuals), _spread(returns))


def _spread(numbers: Vector) -> Number:
    """The squared number of numbers times their variance."""
    return len(numbers) * sum(number * number for number in numbers) - sum(numbers) ** 2
