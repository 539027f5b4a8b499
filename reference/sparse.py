"""Processes with very many states, each of which leads to a few others: float64 and sparse matrices.

J and grad J have the formulas of `decision_process` and `policy_gradient`, as in `dense`, and the covariance of
estimates for a policy with a few features those of `moments`.  An infinite horizon takes a factorisation, ordered for a
matrix whose pattern is nearly symmetric, as where most moves can be undone.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix, identity
from scipy.sparse.linalg import splu

from .moments import Process
from .tables import require_process, require_shape

Array = np.ndarray


def return_and_gradient(
    transition: csr_matrix, reward: Array, initial: Array, policy: Array, gamma: float, horizon: int | None = None
) -> tuple[float, Array]:
    """J, and its gradient with respect to the policy's logits [S, A].

    transition: [S A, S], the row s A + a for P(. | s, a).  reward, policy: [S, A].  initial: [S].  gamma: in [0, 1],
    below 1 for the infinite horizon, None.  Raises ValueError, by name, for shapes that do not belong together and
    distributions that do not sum to 1; negative numbers are not looked for.

    For a finite horizon one product with all rows per step and direction, and rounding as in any recursion.  For an
    infinite one (I - gamma P_pi) V = r_pi and its transpose are solved from one LU.  The matrix is diagonally dominant
    by rows in any symmetric order, so that no exchange of rows is needed; its inverse has row sums 1 / (1 - gamma), and
    so V is off by at most max |r_pi - (I - gamma P_pi) V| / (1 - gamma), and sum_s |d(s)| by the sum of its equations'
    residuals, likewise divided (`residuals`).
    """
    require_process(transition, reward, initial, policy, gamma, horizon)
    paid = (policy * reward).sum(axis=1)
    if horizon is None:
        values, visits = _solved(transition, initial, policy, gamma, paid)
        return float(initial @ values), _credited(transition, reward, policy, gamma, visits, values, values)
    arrivals = chain(transition, policy).T.tocsr()
    rows = [initial]
    for _ in range(horizon - 1):
        rows.append(gamma * (arrivals @ rows[-1]))
    following, gradient = np.zeros_like(paid), np.zeros_like(reward)
    for visits in reversed(rows):
        values = paid + gamma * (arrivals.T @ following)
        gradient += _credited(transition, reward, policy, gamma, visits, values, following)
        following = values
    return float(initial @ following), gradient


def chain(transition: csr_matrix, policy: Array) -> csr_matrix:
    """P_pi[s, s'] = sum_a pi(a|s) P(s' | s, a)."""
    states, actions = policy.shape
    columns = np.arange(states * actions)
    averaging = csr_matrix((policy.ravel(), columns, np.arange(0, states * actions + 1, actions)))
    return averaging @ transition


def residuals(
    transition: csr_matrix, reward: Array, initial: Array, policy: Array, gamma: float
) -> tuple[float, float]:
    """Bounds on max |error of V| and on sum |error of d|, infinite horizon, from what the solutions leave over.

    They hold up to the rounding of the residuals themselves, a few units in the last place of the values.
    """
    paid = (policy * reward).sum(axis=1)
    values, visits = _solved(transition, initial, policy, gamma, paid)
    moves = chain(transition, policy)
    of_values = np.abs(paid - values + gamma * (moves @ values)).max()
    of_visits = np.abs(initial - visits + gamma * (moves.T @ visits)).sum()
    return float(of_values / (1 - gamma)), float(of_visits / (1 - gamma))


def _solved(transition: csr_matrix, initial: Array, policy: Array, gamma: float, paid: Array) -> tuple[Array, Array]:
    """V and d, from one factorisation."""
    factors = _factorised(gamma * chain(transition, policy))
    return factors.solve(paid), factors.solve(initial, trans="T")


def _factorised(matrix: Any) -> Any:
    """The factors of I - matrix, for a matrix whose rows, or columns, have absolute sums below 1."""
    system = identity(matrix.shape[0], format="csc") - matrix.tocsc()
    return splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _credited(
    transition: csr_matrix, reward: Array, policy: Array, gamma: float, visits: Array, values: Array, following: Array
) -> Array:
    """d(s) pi(a|s) (Q(s, a) - V(s)), [S, A]."""
    advantages = reward + gamma * (transition @ following).reshape(reward.shape) - values[:, None]
    return visits[:, None] * policy * advantages


class SparseProcess(Process):
    """A `moments.Process` with features whose transition table is sparse: `moments.moments` takes it like any other.

    Nothing with a row or column for each pair of states is formed but with the pattern of the table.
    """

    def averaged(self, weights: Array, rows: csr_array) -> csr_array:
        """sum_a weights(s, a) rows(s, a), from rows [S A, S] to [S, S]."""
        return csr_array(chain(rows, weights))

    def weighed(self, rows: csr_array, here: Array, ahead: Any = 0, share: Any = 1) -> csr_array:
        """rows [S A, S], the number for s, a and s' multiplied by here(s, a) + share(s, a) ahead(s')."""
        stored = np.diff(rows.indptr)
        of_here, of_share = (np.repeat(np.broadcast_to(x, self.policy.shape), stored) for x in (here, share))
        factors = of_here + of_share * np.broadcast_to(ahead, self.initial.shape)[rows.indices]
        return csr_array((rows.data * factors, rows.indices, rows.indptr), shape=rows.shape)

    def arrivals(self, rows: csr_array) -> Array:
        """sum_sa psi(s, a) rows(s, a): for each s' the scores that lead there, [S, D]."""
        return rows.T @ self.scores.reshape(len(self.reward.ravel()), -1)

    def fixed_point(self, matrix: csr_array, constant: Array) -> Array:
        """The x with x = matrix x + constant, [S, columns]."""
        return _factorised(matrix).solve(constant)


def process(
    transition: csr_matrix,
    reward: Array,
    initial: Array,
    policy: Array,
    gamma: float,
    horizon: int | None,
    features: Array,
) -> SparseProcess:
    """A process for `moments.moments`, in float64.

    transition: [S A, S], the row s A + a for P(. | s, a).  reward, policy: [S, A].  initial: [S].  features: [S, A, D],
    of a policy proportional to exp(theta . phi(s, a)).  With n stored transitions a step takes O((n + S A) D), and
    memory is a few arrays [S, A, D].  Raises ValueError as `return_and_gradient` does.
    """
    require_process(transition, reward, initial, policy, gamma, horizon)
    require_shape("features", features, (*reward.shape, features.shape[-1]))
    return SparseProcess(csr_array(transition), reward, initial, gamma, horizon, policy, policy, features)
