"""Policy gradients: one estimator, sum_t w_t grad log pi(a_t|s_t), and the gradient that it is meant to estimate.

Every formula here hands out *credit*, one number for each state and action, and differs from the others only in who
gets how much: the rewards that an episode saw, their expectation over all episodes, or occupancy times action value.
From there on the softmax is the same for all (`scored`).

policy is pi(a|s), [S][A]; gradients are with respect to the logits of its softmax, [S][A] as well.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

from .choices import one_of
from .decision_process import Evaluation, TabularMDP, evaluation, trajectories
from .linear_algebra import Matrix, Number, Vector, dot
from .reductions import Mask, divisors, reduced
from .returns import reward_to_go

Gradient = list[list[Number]]
Episode = tuple[Number, Sequence[int], Sequence[int], Sequence[Number]]
Weights = Callable[[Sequence[int], Sequence[int], Sequence[Number], Number], Sequence[Number]]


def score(probabilities: Vector, action: int) -> list[Number]:
    """grad log pi(action) = [b = action] - pi(b), with respect to each logit b of one state (PG-1).

    probabilities: [A], the softmax of that state's logits.  Sutton & Barto (2018), eq. 13.9 with one-hot features.

    >>> score([0.25, 0.75], 1)
    [-0.25, 0.25]
    """
    return [int(other == action) - probability for other, probability in enumerate(probabilities)]


def scored(policy: Matrix, credit: Matrix) -> Gradient:
    """sum_a credit[s][a] grad log pi(a|s) = credit[s][b] - pi(b|s) sum_a credit[s][a], as component b.

    policy, credit: [S][A].  The score is linear in what it is multiplied with; so it is applied once, after the credit
    of all steps and all trajectories has been added up.

    >>> scored([[0.25, 0.75]], [[4, 0]])
    [[3.0, -3.0]]
    """
    return [
        [number - probability * sum(numbers) for number, probability in zip(numbers, row, strict=True)]
        for numbers, row in zip(credit, policy, strict=True)
    ]


def through_softmax(policy: Matrix, partials: Matrix) -> Gradient:
    """dJ/dtheta_a = pi_a (dJ/dpi_a - sum_b pi_b dJ/dpi_b), the chain rule from probabilities to logits (PG-10).

    policy: [S][A].  partials: [S][A], dJ/dpi(a|s) as if the probabilities were free of each other.  How J is continued
    beyond rows that sum to 1 does not matter: a difference that is the same for all of a state's actions cancels.

    >>> through_softmax([[0.25, 0.75]], [[8, 0]])
    [[1.5, -1.5]]
    """
    return scored(policy, [list(map(mul, *rows)) for rows in zip(policy, partials, strict=True)])


def whole_return(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
    """w_t = R(tau) = sum_k gamma^k r_k for every t: each action is credited with the entire episode (PG-3).

    >>> whole_return([0, 0], [1, 0], [1, 4], 0.5)
    [3.0, 3.0]
    """
    return reward_to_go(rewards, gamma)[:1] * len(rewards)


def discounted_reward_to_go(
    states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number
) -> list[Number]:
    """w_t = gamma^t G_t = sum_{k >= t} gamma^k r_k: no action is credited with what came before it (PG-5).

    Sutton & Barto (2018), section 13.3, the boxed algorithm.

    >>> discounted_reward_to_go([0, 0], [1, 0], [1, 4], 0.5)
    [3.0, 2.0]
    """
    return discounted(reward_to_go(rewards, gamma), gamma)


def undiscounted_reward_to_go(
    states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number
) -> list[Number]:
    """w_t = G_t, without gamma^t: what most code does, and not the gradient of any function (PG-14).

    Nota & Thomas (2020), "Is the policy gradient a gradient?".

    >>> undiscounted_reward_to_go([0, 0], [1, 0], [1, 4], 0.5)
    [3.0, 4.0]
    """
    return reward_to_go(rewards, gamma)


def conventional_weights(discounting: str = "gamma^t", credit: str = "reward-to-go") -> Weights:
    """The weights that the conventions of the operation ``policy_gradient`` stand for (PG-14, PG-15).

    Raises ValueError for a choice that is not theirs, also where it makes no difference.

    >>> conventional_weights("none")([0, 0], [1, 0], [1, 4], 0.5)
    [3.0, 4.0]
    """
    to_go = one_of({"gamma^t": discounted_reward_to_go, "none": undiscounted_reward_to_go}, discounting)
    return one_of({"reward-to-go": to_go, "whole return": whole_return}, credit)


def with_baseline(baseline: Callable[[int, int], Number]) -> Weights:
    """w_t = gamma^t (G_t - b(s_t, a_t)): credit is what exceeds the baseline (PG-6).

    baseline: a function of state and action.  One that ignores the action leaves the expectation as it is; one that
    does not, as a rule, changes it.  Williams (1992); Sutton & Barto (2018), eq. 13.11.

    >>> with_baseline(lambda state, action: 1)([0, 0], [1, 0], [1, 4], 0.5)
    [2.0, 1.5]
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        returns = reward_to_go(rewards, gamma)
        above = [number - baseline(*pair) for number, *pair in zip(returns, states, actions, strict=True)]
        return discounted(above, gamma)

    return weights


def per_decision(policy: Matrix, behaviour: Matrix) -> Weights:
    """w_t = sum_{k >= t} gamma^k rho_0 ... rho_k r_k, rho_k = pi(a_k|s_k) / mu(a_k|s_k): mu acts, pi learns (PG-9).

    A reward is weighed by the ratios of the decisions that came before it, its own included, and by no later one.
    behaviour: mu, [S][A], positive where the policy is.  Precup, Sutton & Singh (2000).

    >>> per_decision([[0.5, 0.5]], [[0.25, 0.75]])([0, 0], [0, 0], [1, 4], 0.5)  # ratios 2 and 2
    [10.0, 8.0]
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        ratios = [policy[s][a] / behaviour[s][a] for s, a in zip(states, actions, strict=True)]
        return reward_to_go(discounted(map(mul, accumulate(ratios, mul), rewards), gamma), 1)

    return weights


def whole_trajectory(policy: Matrix, behaviour: Matrix) -> Weights:
    """w_t = rho_0 ... rho_T R(tau): the trajectory's probability under pi for that under mu (PG-9).

    behaviour: mu, [S][A], positive where the policy is.

    >>> whole_trajectory([[0.5, 0.5]], [[0.25, 0.75]])([0, 0], [0, 0], [1, 4], 0.5)
    [12.0, 12.0]
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        ratios = [policy[s][a] / behaviour[s][a] for s, a in zip(states, actions, strict=True)]
        return [prod(ratios) * weight for weight in whole_return(states, actions, rewards, gamma)]

    return weights


def discounted(numbers: Iterable[Number], gamma: Number) -> list[Number]:
    """gamma^t x_t for every t, without ever raising 0 to a power.

    >>> discounted([1, 1, 1], 0.5)
    [1, 0.5, 0.25]
    """
    discount, weighted = 1, []
    for number in numbers:
        weighted.append(discount * number)
        discount = discount * gamma
    return weighted


def policy_gradient(
    policy: Matrix,
    states: Sequence[int],
    actions: Sequence[int],
    rewards: Vector,
    gamma: Number,
    weights: Weights = discounted_reward_to_go,
) -> Gradient:
    """REINFORCE's estimate from one episode: sum_t w_t grad log pi(a_t|s_t) (PG-13).

    states, actions, rewards: of the T steps of one complete episode.  Williams (1992); Sutton & Barto (2018), eq. 13.8.

    >>> policy_gradient([[0.25, 0.75]], [0, 0], [1, 0], [4, 4], 1)  # 8 (-1/4, 1/4) + 4 (3/4, -3/4)
    [[1.0, -1.0]]
    """
    return _mean_gradient(policy, [(1, states, actions, rewards)], gamma, weights)


def expected_gradient(
    mdp: TabularMDP, policy: Matrix, weights: Weights = discounted_reward_to_go, behaviour: Matrix | None = None
) -> Gradient:
    """E[sum_t w_t grad log pi(a_t|s_t)] = sum_tau p(tau) ghat(tau): the estimator's mean, by listing every trajectory.

    behaviour: [S][A], who acts; the policy itself, if it is not given.
    An estimator is unbiased where this equals `exact_policy_gradient`.
    Raises ValueError for an infinite horizon.

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> expected_gradient(bandit, [[0.25, 0.75]])
    [[-1.5, 1.5]]
    """
    return _mean_gradient(policy, trajectories(mdp, policy if behaviour is None else behaviour), mdp.gamma, weights)


def _mean_gradient(policy: Matrix, episodes: Iterable[Episode], gamma: Number, weights: Weights) -> Gradient:
    """The sum of probability * w_t grad log pi(a_t|s_t) over all steps of all episodes."""
    credit: Gradient = [[0 for _ in row] for row in policy]
    for probability, states, actions, rewards in episodes:
        for state, action, weight in zip(states, actions, weights(states, actions, rewards, gamma), strict=True):
            credit[state][action] = credit[state][action] + probability * weight
    return scored(policy, credit)


def exact_policy_gradient(mdp: TabularMDP, policy: Matrix) -> Gradient:
    """grad J = sum_t sum_s gamma^t P(s_t = s) sum_a pi(a|s) Q_t(s, a) grad log pi(a|s) (PG-7), for either horizon.

    The policy gradient theorem, Sutton et al. (1999), theorem 1, with the weighting by gamma^t that its d^pi contains.

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> exact_policy_gradient(bandit, [[0.25, 0.75]])
    [[-1.5, 1.5]]
    """
    return return_and_gradient(mdp, policy)[1]


def return_and_gradient(mdp: TabularMDP, policy: Matrix) -> tuple[Number, Gradient]:
    """J and grad J from one evaluation of the policy: `expected_return` and `exact_policy_gradient`.

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> return_and_gradient(bandit, [[0.25, 0.75]])
    (6.0, [[-1.5, 1.5]])
    """
    steps = evaluation_by_step(mdp, policy)
    return dot(mdp.initial, steps.state_values[0]), credited(policy, steps.occupancy, steps.action_values)


def evaluation_by_step(mdp: TabularMDP, policy: Matrix) -> Evaluation:
    """The evaluation as a table for each step; for an infinite horizon one step, with everything."""
    known = evaluation(mdp, policy)
    return Evaluation(*([table] for table in known)) if mdp.horizon is None else known


def credited(policy: Matrix, weighed: Sequence[Vector], credit: Sequence[Matrix]) -> Gradient:
    """sum_t sum_s d_t(s) sum_a pi(a|s) x_t(s, a) grad log pi(a|s): what credit by state and action amounts to (CRIT-1).

    weighed: d_t(s), a row of S numbers a step.  credit: x_t(s, a), as many tables [S][A].
    With gamma^t P(s_t = s) and Q_t it is grad J; with what weights expect beyond Q_t it is their bias.

    >>> credited([[0.25, 0.75]], [[1]], [[[0, 8]]])
    [[-1.5, 1.5]]
    """
    partials = [
        [sum(d[s] * x[s][a] for d, x in zip(weighed, credit, strict=True)) for a, _ in enumerate(row)]
        for s, row in enumerate(policy)
    ]
    return through_softmax(policy, partials)


def policy_gradient_loss(logp: Matrix, advantages: Matrix, mask: Mask, **reduction: str) -> tuple[Any, ...]:
    """L = -sum A_bt log pi(a_bt|s_bt) / n_b over the steps where the mask is set, and dL/dlogp = -A_bt / n_b (PG-18).

    logp, advantages, mask: [B][T].  reduction: its choices, of `divisors` (RED-8 to RED-10).
    Returns the loss and its derivatives, [B][T].

    >>> policy_gradient_loss([[-1, -2]], [[3, -1]], [[1, 1]])
    (0.5, [[-1.5, 0.5]])
    """

    def term(row: int, step: int) -> tuple[Number, Number]:
        return -advantages[row][step] * logp[row][step], -advantages[row][step]

    return reduced(term, mask, divisors(mask, **reduction))
