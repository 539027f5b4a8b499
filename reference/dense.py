"""J and grad J of a large process with an infinite horizon: float64 arrays, one factorisation, two solves.

The formulas are those of `decision_process` and `policy_gradient`.  What differs is that I - gamma P_pi is factorised
by LAPACK.  All products go through SciPy's BLAS: NumPy has a thread pool of its own, and two pools in turn on the same
cores cost more than the products do.
"""

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.linalg.blas import dgemv

Array = np.ndarray


def return_and_gradient(
    transition: Array, reward: Array, initial: Array, policy: Array, gamma: float
) -> tuple[float, Array]:
    """J, and its gradient with respect to the policy's logits [S, A], for the infinite horizon.

    transition: [S, A, S], float64.  reward, policy: [S, A].  initial: [S].  gamma: in [0, 1).
    (I - gamma P_pi) V = r_pi and (I - gamma P_pi)^T d = initial give
    grad J[s, a] = d(s) pi(a|s) (Q(s, a) - V(s)).  Sutton et al. (1999), theorem 1.
    Arguments are not checked; memory is that of two S x S matrices beyond them.
    """
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
