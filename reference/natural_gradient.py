"""The Fisher matrix of a tabular softmax policy, and the direction that it makes of the gradient.

A direction is a number for each logit, [S][A].  The matrix is singular, since the softmax does not notice a number that
is added to all logits of a state; directions that differ by no more than that are one direction.
"""

from math import prod

from .decision_process import Evaluation, TabularMDP
from .linear_algebra import Matrix, Number, Vector, dot, transposed
from .policy_gradient import evaluation_by_step, score


def fisher(mdp: TabularMDP, policy: Matrix) -> list[Matrix]:
    """F = sum_t sum_s gamma^t P(s_t = s) sum_a pi(a|s) grad log pi(a|s) grad log pi(a|s)^T (PG-24).

    Returns the blocks [S][A][A] along its diagonal; outside them it is 0, for no action's score has to do with the
    logits of two states.  Kakade (2001), with the discounted weighting of states.
    """
    visits = map(sum, zip(*evaluation_by_step(mdp, policy).occupancy, strict=True))
    return [_block(visit, row) for visit, row in zip(visits, policy, strict=True)]


def _block(visit: Number, probabilities: Vector) -> Matrix:
    scores = [score(probabilities, action) for action, _ in enumerate(probabilities)]
    columns = transposed(scores)
    return [[visit * sum(map(prod, zip(probabilities, x, y, strict=True))) for y in columns] for x in columns]


def times(blocks: list[Matrix], direction: Matrix) -> list[list[Number]]:
    """The product of a block-diagonal matrix [S][A][A] and a direction [S][A]."""
    return [[dot(row, numbers) for row in block] for block, numbers in zip(blocks, direction, strict=True)]


def natural_gradient(mdp: TabularMDP, policy: Matrix) -> list[list[Number]]:
    """w(s, a) = sum_t d_t(s) (Q_t(s, a) - V_t(s)) / sum_t d_t(s), which solves F w = grad J (PG-25).

    d_t(s) = gamma^t P(s_t = s).  For an infinite horizon it is the advantage; for a finite one, where advantages change
    with the time that is left, their mean over the times at which the state is met.  It is 0 where no episode comes.
    Kakade (2001).
    """
    steps = evaluation_by_step(mdp, policy)
    return [[_mean_advantage(steps, s, a) for a, _ in enumerate(row)] for s, row in enumerate(policy)]


def _mean_advantage(steps: Evaluation, s: int, a: int) -> Number:
    weights = [d[s] for d in steps.occupancy]
    above = [q[s][a] - v[s] for v, q in zip(steps.state_values, steps.action_values, strict=True)]
    return dot(weights, above) / sum(weights) if sum(weights) else 0
