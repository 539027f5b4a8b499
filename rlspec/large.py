"""J and grad J of a large process: float64, with a transition table that is an array or a sparse matrix.

The formulas are those of the reference's `decision_process` and `policy_gradient`.  A finite horizon takes a product
with all rows of the transition table per step and direction, an infinite one a factorisation and two solves.  All dense
products go through SciPy's BLAS: NumPy has a thread pool of its own, and two pools in turn on the same cores cost more
than the products do.
"""

from typing import Any

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.linalg.blas import dgemv
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import splu

from .reference.tables import require_process

Array = np.ndarray


def return_and_gradient(
    transition: Any, reward: Array, initial: Array, policy: Array, gamma: float, horizon: int | None = None
) -> tuple[float, Array]:
    """J, and grad J[s, a] = pi(a|s) sum_t d_t(s) (Q_t(s, a) - V_t(s)) with respect to the policy's logits [S, A].

    transition: an array [S, A, S], or a sparse matrix [S A, S] with the row s A + a for P(. | s, a).  reward, policy:
    [S, A].  initial: [S].  gamma: in [0, 1], and below 1 for the infinite horizon, None.  Sutton et al. (1999),
    theorem 1.
    For an infinite horizon (I - gamma P_pi) V = r_pi and (I - gamma P_pi)^T d = initial are solved.

    Rounding takes J, and each number of the gradient, no further than 8 H (S + A + 2) 2^-53 M P^2, with the largest
    absolute reward M and P = sum_t gamma^t; for an infinite horizon and an array 24 (S + A + 2) 2^-53 M k^2 / (1 -
    gamma)^2, where k = (2 S - 1) (1 + gamma) / (1 - gamma) is by how much a solution of a system that is diagonally
    dominant may enlarge its errors (Higham 2002, chapter 9); for a sparse matrix `residuals` says how far.
    Raises ValueError, by name, for shapes that do not belong together and distributions that do not sum to 1; negative
    numbers are not looked for.  Memory beyond the arguments is that of two S x S matrices, or of a sparse
    factorisation.
    """
    require_process(transition, reward, initial, policy, gamma, horizon)
    moves = _moves(transition)
    if horizon is None:
        following, weights = moves.solved(policy, gamma, (policy * reward).sum(axis=1), initial)
        visits = [weights]
    else:
        following, visits = np.zeros(len(initial)), [initial]
        for _ in range(horizon - 1):
            visits.append(gamma * moves.arrivals(policy * visits[-1][:, None]))
    gradient = np.zeros_like(reward)
    for weights in reversed(visits):
        action_values = reward + gamma * moves.ahead(following).reshape(reward.shape)
        following = (policy * action_values).sum(axis=1)
        gradient += weights[:, None] * policy * (action_values - following[:, None])
    return float((initial * following).sum()), gradient


def residuals(transition: Any, reward: Array, initial: Array, policy: Array, gamma: float) -> tuple[float, float]:
    """Bounds on max |error of V| and on sum |error of d|, infinite horizon, from what the solutions leave over.

    The inverse of I - gamma P_pi has row sums 1 / (1 - gamma).  So V is off by at most the largest residual of its
    equations divided by 1 - gamma, and sum_s |d(s)| by the sum of those of its own, likewise divided.  They hold up to
    the rounding of the residuals themselves, a few units in the last place of the values.
    """
    moves, paid = _moves(transition), (policy * reward).sum(axis=1)
    values, visits = moves.solved(policy, gamma, paid, initial)
    ahead = (policy * moves.ahead(values).reshape(policy.shape)).sum(axis=1)
    of_values = np.abs(paid - values + gamma * ahead).max()
    of_visits = np.abs(initial - visits + gamma * moves.arrivals(policy * visits[:, None])).sum()
    return float(of_values / (1 - gamma)), float(of_visits / (1 - gamma))


def _moves(transition: Any) -> "_DenseMoves | _SparseMoves":
    return _DenseMoves(transition) if isinstance(transition, np.ndarray) else _SparseMoves(transition)


class _DenseMoves:
    """An array [S, A, S]."""

    def __init__(self, transition: Array) -> None:
        self.transition = transition
        # LAPACK and BLAS read columns first: the transpose of a C-ordered matrix is what they take without a copy.
        self.columns = transition.reshape(-1, transition.shape[-1]).T

    def ahead(self, values: Array) -> Array:
        """E[values(s') | s, a], [S A]."""
        return dgemv(1, self.columns, values, trans=1)

    def arrivals(self, weights: Array) -> Array:
        """sum_sa weights(s, a) P(s' | s, a), [S]."""
        return dgemv(1, self.columns, weights.ravel())

    def solved(self, policy: Array, gamma: float, paid: Array, initial: Array) -> tuple[Array, Array]:
        """V and d of the infinite horizon, from one factorisation."""
        system = np.einsum("sa,sat->st", -gamma * policy, self.transition)
        system.flat[:: len(paid) + 1] += 1
        factors = lu_factor(system.T, overwrite_a=True, check_finite=False)
        return lu_solve(factors, paid, trans=1, check_finite=False), lu_solve(factors, initial, check_finite=False)


class _SparseMoves:
    """A sparse matrix [S A, S]."""

    def __init__(self, transition: csr_matrix) -> None:
        self.transition = transition

    def ahead(self, values: Array) -> Array:
        """E[values(s') | s, a], [S A]."""
        return self.transition @ values

    def arrivals(self, weights: Array) -> Array:
        """sum_sa weights(s, a) P(s' | s, a), [S]."""
        return self.transition.T @ weights.ravel()

    def solved(self, policy: Array, gamma: float, paid: Array, initial: Array) -> tuple[Array, Array]:
        """V and d of the infinite horizon, from one factorisation."""
        factors = factorised(gamma * chain(self.transition, policy))
        return factors.solve(paid), factors.solve(initial, trans="T")


def chain(transition: csr_matrix, policy: Array) -> csr_matrix:
    """P_pi[s, s'] = sum_a pi(a|s) P(s' | s, a)."""
    states, actions = policy.shape
    columns = np.arange(states * actions)
    averaging = csr_matrix((policy.ravel(), columns, np.arange(0, states * actions + 1, actions)))
    return averaging @ transition


def factorised(matrix: Any) -> Any:
    """The factors of I - matrix, for a sparse matrix whose rows, or columns, have absolute sums below 1.

    It is diagonally dominant in any symmetric order, so that no exchange of rows is needed; the order is one for a
    matrix whose pattern is nearly symmetric, as where most moves can be undone.
    """
    system = identity(matrix.shape[0], format="csc") - matrix.tocsc()
    return splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
