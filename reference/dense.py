"""J and grad J of a large process: float64 arrays; for an infinite horizon one factorisation and two solves.

The formulas are those of `decision_process` and `policy_gradient`.  What differs is that I - gamma P_pi is factorised
by LAPACK, and that a finite horizon takes one product with all rows of the transition table per step.  All products go
through SciPy's BLAS: NumPy has a thread pool of its own, and two pools in turn on the same cores cost more than the
products do.
"""

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.linalg.blas import dgemv

from .tables import require_process

Array = np.ndarray


def return_and_gradient(
    transition: Array, reward: Array, initial: Array, policy: Array, gamma: float
) -> tuple[float, Array]:
    """J, and its gradient with respect to the policy's logits [S, A], for the infinite horizon.

    transition: [S, A, S], float64.  reward, policy: [S, A].  initial: [S].  gamma: in [0, 1).
    (I - gamma P_pi) V = r_pi and (I - gamma P_pi)^T d = initial give
    grad J[s, a] = d(s) pi(a|s) (Q(s, a) - V(s)).  Sutton et al. (1999), theorem 1.
    Rounding takes J, and each number of the gradient, no further than 24 (S + A + 2) 2^-53 M k^2 / (1 - gamma)^2.  M is
    the largest absolute reward, and k = (2 S - 1) (1 + gamma) / (1 - gamma) is by how much a solution of a system that
    is diagonally dominant may enlarge its errors (Higham 2002, chapter 9).
    Raises ValueError, by name, for shapes that do not belong together and distributions that do not sum to 1; negative
    numbers are not looked for.  Memory is that of two S x S matrices beyond the arguments.
    """
    require_process(transition, reward, initial, policy, gamma)
    states, actions = reward.shape
    system = np.einsum("sa,sat->st", -gamma * policy, transition)
    system.flat[:: states + 1] += 1
    # LAPACK reads columns first: the transpose of a C-ordered matrix is what it can factorise without a copy.
    factors = lu_factor(system.T, overwrite_a=True, check_finite=False)
    values = lu_solve(factors, (policy * reward).sum(axis=1), trans=1, check_finite=False)
    weights = lu_solve(factors, initial, check_finite=False)
    following = dgemv(gamma, transition.reshape(states * actions, states).T, values, trans=1)
    advantages = reward + following.reshape(states, actions) - values[:, None]
    return float((initial * values).sum()), weights[:, None] * policy * advantages


def finite_return_and_gradient(
    transition: Array, reward: Array, initial: Array, policy: Array, gamma: float, horizon: int
) -> tuple[float, Array]:
    """J, and its gradient with respect to the policy's logits [S, A], for a finite horizon.

    Arguments as above; gamma: in [0, 1].  grad J[s, a] = pi(a|s) sum_t d_t(s) (Q_t(s, a) - V_t(s)), with Q_t = reward +
    gamma P V_{t+1} for all states and actions at once.  Rounding takes neither further than
    8 H (S + A + 2) 2^-53 M P^2, with P = sum_t gamma^t.  Raises ValueError as above.
    """
    require_process(transition, reward, initial, policy, gamma, horizon)
    states, actions = reward.shape
    rows = transition.reshape(states * actions, states).T
    visits = [initial]
    for _ in range(horizon - 1):
        visits.append(dgemv(gamma, rows, (visits[-1][:, None] * policy).ravel()))
    following, gradient = np.zeros(states), np.zeros((states, actions))
    for weights in reversed(visits):
        in_actions = reward + dgemv(gamma, rows, following, trans=1).reshape(states, actions)
        following = (policy * in_actions).sum(axis=1)
        gradient += weights[:, None] * policy * (in_actions - following[:, None])
    return float((initial * following).sum()), gradient
