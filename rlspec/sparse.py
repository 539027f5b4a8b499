"""Processes with very many states, each of which leads to a few others: their covariances, float64.

The formulas are those of the reference's `moments`, for a policy with a few features.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from .large import chain, factorised
from .reference.moments import Process
from .reference.tables import require_process, require_shape

Array = np.ndarray


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
        return factorised(matrix).solve(constant)


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
    memory is a few arrays [S, A, D].  Raises ValueError as `large.return_and_gradient` does.
    """
    require_process(transition, reward, initial, policy, gamma, horizon)
    require_shape("features", features, (*reward.shape, features.shape[-1]))
    return SparseProcess(csr_array(transition), reward, initial, gamma, horizon, policy, policy, features)
