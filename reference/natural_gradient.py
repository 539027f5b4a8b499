"""The Fisher matrix of a softmax policy, and the direction that it makes of the gradient.

For a table a direction is a number for each logit, [S][A].  The matrix is singular, since the softmax does not notice a
number that is added to all logits of a state; directions that differ by no more than that are one direction.  With
given features it is a number for each of them, [D], and the matrix has no blocks.
"""

from math import prod

import numpy as np

from .decision_process import Evaluation, TabularMDP
from .linear_algebra import Matrix, Number, Vector, dot, quotient, transposed
from .moments import Array, Process, advantages, exact_values, occupancy
from .policy_gradient import evaluation_by_step, score


def fisher(mdp: TabularMDP, policy: Matrix) -> list[Matrix]:
    """F = sum_t sum_s gamma^t P(s_t = s) sum_a pi(a|s) grad log pi(a|s) grad log pi(a|s)^T (CRIT-13).

    Returns the blocks [S][A][A] along its diagonal; outside them it is 0, for no action's score has to do with the
    logits of two states.  Kakade (2001), with the discounted weighting of states.

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> fisher(bandit, [[0.25, 0.75]])
    [[[0.1875, -0.1875], [-0.1875, 0.1875]]]
    """
    visits = map(sum, zip(*evaluation_by_step(mdp, policy).occupancy, strict=True))
    return [_block(visit, row) for visit, row in zip(visits, policy, strict=True)]


def _block(visit: Number, probabilities: Vector) -> Matrix:
    scores = [score(probabilities, action) for action, _ in enumerate(probabilities)]
    columns = transposed(scores)
    return [[visit * sum(map(prod, zip(probabilities, x, y, strict=True))) for y in columns] for x in columns]


def times(blocks: list[Matrix], direction: Matrix) -> list[list[Number]]:
    """The product of a block-diagonal matrix [S][A][A] and a direction [S][A].

    >>> times([[[1, 2], [3, 4]]], [[1, 1]])
    [[3, 7]]
    """
    return [[dot(row, numbers) for row in block] for block, numbers in zip(blocks, direction, strict=True)]


def natural_gradient(mdp: TabularMDP, policy: Matrix) -> list[list[Number]]:
    """w(s, a) = sum_t d_t(s) (Q_t(s, a) - V_t(s)) / sum_t d_t(s), which solves F w = grad J (CRIT-14).

    d_t(s) = gamma^t P(s_t = s).  For an infinite horizon it is the advantage; for a finite one, where advantages change
    with the time that is left, their mean over the times at which the state is met.  It is 0 where no episode comes.
    Kakade (2001).

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> natural_gradient(bandit, [[0.25, 0.75]])
    [[-6.0, 2.0]]
    """
    steps = evaluation_by_step(mdp, policy)
    return [[_mean_advantage(steps, s, a) for a, _ in enumerate(row)] for s, row in enumerate(policy)]


def _mean_advantage(steps: Evaluation, s: int, a: int) -> Number:
    weights = [d[s] for d in steps.occupancy]
    above = [q[s][a] - v[s] for v, q in zip(steps.state_values, steps.action_values, strict=True)]
    return dot(weights, above) / sum(weights) if sum(weights) else 0


def fisher_of_features(given: Process) -> Array:
    """F = sum_t gamma^t E[grad log pi(a_t|s_t) grad log pi(a_t|s_t)^T], [D, D], of a policy with features (CRIT-16)."""
    weights = occupancy(given).sum(axis=0)[:, None] * given.policy
    return given.through(weights[:, :, None] * given.scores)


def gradient_of_features(given: Process) -> Array:
    """grad J = sum_t gamma^t E[(Q_t - V_t) grad log pi(a_t|s_t)], [D] (CRIT-16)."""
    steps = zip(occupancy(given), advantages(given, exact_values(given)), strict=True)
    return given.through(sum(visits[:, None] * given.policy * above for visits, above in steps))


def natural_direction(given: Process) -> Array:
    """A solution w of F w = grad J, [D], whatever the rank of F (CRIT-17): 0 in the components that are not needed.

    Gradients are combinations of scores that are met, and so a solution exists.  It is found by elimination, exactly
    for rationals; for float64 it is the shortest, by least squares.
    """
    matrix, gradient = fisher_of_features(given), gradient_of_features(given)
    if matrix.dtype != object:
        return np.linalg.lstsq(matrix, gradient, rcond=None)[0]
    # Where a pivot is 0 its row and column are: what elimination leaves of F is positive semidefinite.
    rows = [[*row, number] for row, number in zip(matrix.tolist(), gradient.tolist(), strict=True)]
    for place, row in enumerate(rows):
        if row[place] == 0:
            continue
        row[:] = [quotient(number, row[place]) for number in row]
        for other in rows:
            if other is not row and other[place] != 0:
                factor = other[place]
                other[:] = [x - factor * y for x, y in zip(other, row, strict=True)]
    return np.array([row[-1] if row[place] != 0 else 0 for place, row in enumerate(rows)], dtype=object)
