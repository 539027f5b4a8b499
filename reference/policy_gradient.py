"""Policy gradients: one estimator, sum_t w_t grad log pi(a_t|s_t), and the gradient that it is meant to estimate.

Every formula here hands out *credit*, one number for each state and action, and differs from the others only in who
gets how much: the rewards that an episode saw, their expectation over all episodes, or occupancy times action value.
From there on the softmax is the same for all (`scored`).

policy is pi(a|s), [S][A]; gradients are with respect to the logits of its softmax, [S][A] as well.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from math import exp, log, prod
from operator import mul, sub
from typing import Any

from .advantages import gae
from .decision_process import Evaluation, TabularMDP, evaluation, occupancy, trajectories
from .linear_algebra import Matrix, Number, Vector, dot
from .returns import n_step_return, reward_to_go

Gradient = list[list[Number]]
Weights = Callable[[Sequence[int], Sequence[int], Sequence[Number], Number], Sequence[Number]]


def score(probabilities: Vector, action: int) -> list[Number]:
    """grad log pi(action) = e_action - pi, with respect to the logits of one state (PG-1).

    probabilities: [A], the softmax of that state's logits.  Sutton & Barto (2018), eq. 13.9 with one-hot features.
    """
    return [int(other == action) - probability for other, probability in enumerate(probabilities)]


def scored(policy: Matrix, credit: Matrix) -> Gradient:
    """sum_a credit[s][a] grad log pi(a|s) = credit[s][b] - pi(b|s) sum_a credit[s][a], as component b.

    policy, credit: [S][A].  The score is linear in what it is multiplied with; so it is applied once, after the credit
    of all steps and all trajectories has been added up.
    """
    return [
        [number - probability * sum(numbers) for number, probability in zip(numbers, row, strict=True)]
        for numbers, row in zip(credit, policy, strict=True)
    ]


def through_softmax(policy: Matrix, partials: Matrix) -> Gradient:
    """dJ/dtheta_a = pi_a (dJ/dpi_a - sum_b pi_b dJ/dpi_b), the chain rule from probabilities to logits (PG-8).

    policy: [S][A].  partials: [S][A], dJ/dpi(a|s) as if the probabilities were free of each other.  How J is continued
    beyond rows that sum to 1 does not matter: a difference that is the same for all of a state's actions cancels.
    """
    return scored(policy, _products(policy, partials))


def whole_return(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
    """w_t = R(tau) = sum_k gamma^k r_k for every t: each action is credited with the entire episode (PG-3)."""
    return [reward_to_go(rewards, gamma)[0]] * len(rewards)


def discounted_reward_to_go(
    states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number
) -> list[Number]:
    """w_t = gamma^t G_t = sum_{k >= t} gamma^k r_k: no action is credited with what came before it (PG-5).

    Sutton & Barto (2018), section 13.3, the boxed algorithm.
    """
    return discounted(reward_to_go(rewards, gamma), gamma)


def undiscounted_reward_to_go(
    states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number
) -> list[Number]:
    """w_t = G_t, without gamma^t: what most code does, and not the gradient of any function (PG-12).

    Nota & Thomas (2020), "Is the policy gradient a gradient?".
    """
    return reward_to_go(rewards, gamma)


def conventional_weights(discounting: str, credit: str) -> Weights:
    """The weights that the conventions of the operation ``policy_gradient`` stand for (PG-12, PG-13)."""
    if credit == "whole return":
        return whole_return
    return undiscounted_reward_to_go if discounting == "none" else discounted_reward_to_go


def with_baseline(baseline: Callable[[int, int], Number]) -> Weights:
    """w_t = gamma^t (G_t - b(s_t, a_t)): credit is what exceeds the baseline (PG-6).

    baseline: a function of state and action.  One that ignores the action leaves the expectation as it is; one that
    does not, as a rule, changes it.  Williams (1992); Sutton & Barto (2018), eq. 13.11.
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        returns = reward_to_go(rewards, gamma)
        above = [number - baseline(*pair) for number, *pair in zip(returns, states, actions, strict=True)]
        return discounted(above, gamma)

    return weights


def n_step(critic: Matrix, n: int) -> Weights:
    """w_t = gamma^t (r_t + ... + gamma^(n-1) r_{t+n-1} + gamma^n v_{t+n}(s_{t+n}) - v_t(s_t)) (PG-19).

    critic: [H][S], the values v_t(s) that the critic believes in; nothing follows the last step, v_H = 0.
    n: at least 1, which is the one-step actor-critic; from n = H on it is reward-to-go with the baseline v.
    Sutton & Barto (2018), eqs. 7.1 and 13.14.
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        values, following, last, never = _along(critic, states)
        returns = n_step_return(rewards, following, last, never, gamma, n)
        return discounted(map(sub, returns, values), gamma)

    return weights


def generalized(critic: Matrix, lam: Number) -> Weights:
    """w_t = gamma^t A_t, with the generalised advantage estimates of a critic (PG-20).

    critic: [H][S], as for `n_step`.  Schulman et al. (2016), eq. 16.
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        return discounted(gae(rewards, *_along(critic, states), gamma, lam), gamma)

    return weights


def per_decision(policy: Matrix, behaviour: Matrix) -> Weights:
    """w_t = sum_{k >= t} gamma^k rho_0 ... rho_k r_k, rho_k = pi(a_k|s_k) / mu(a_k|s_k): mu acts, pi learns (PG-23).

    A reward is weighed by the ratios of the decisions that came before it, its own included, and by no later one.
    behaviour: mu, [S][A], positive where the policy is.  Precup, Sutton & Singh (2000).
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        ratios = [policy[s][a] / behaviour[s][a] for s, a in zip(states, actions, strict=True)]
        return reward_to_go(discounted(map(mul, accumulate(ratios, mul), rewards), gamma), 1)

    return weights


def whole_trajectory(policy: Matrix, behaviour: Matrix) -> Weights:
    """w_t = rho_0 ... rho_T R(tau): the trajectory's probability under pi for that under mu (PG-23).

    behaviour: mu, [S][A], positive where the policy is.
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        ratios = [policy[s][a] / behaviour[s][a] for s, a in zip(states, actions, strict=True)]
        return [prod(ratios) * weight for weight in whole_return(states, actions, rewards, gamma)]

    return weights


def _along(critic: Matrix, states: Sequence[int]) -> tuple[list[Number], list[Number], list[bool], list[bool]]:
    """v_t(s_t) of the steps of an episode, those of their successors, where it terminates, and truncations: nowhere."""
    values = [row[state] for row, state in zip(critic, states, strict=True)]
    never = [False] * len(values)
    return values, [*values[1:], 0], [*never[1:], True], never


def discounted(numbers: Iterable[Number], gamma: Number) -> list[Number]:
    """gamma^t x_t for every t, without ever raising 0 to a power."""
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
    """REINFORCE's estimate from one episode: sum_t w_t grad log pi(a_t|s_t) (PG-11).

    states, actions, rewards: of the T steps of one complete episode.  Williams (1992); Sutton & Barto (2018), eq. 13.8.
    """
    credit: defaultdict[tuple[int, int], Number] = defaultdict(int)
    for state, action, weight in zip(states, actions, weights(states, actions, rewards, gamma), strict=True):
        credit[state, action] = credit[state, action] + weight
    return scored(policy, _as_table(credit, policy))


def expected_gradient(
    mdp: TabularMDP, policy: Matrix, weights: Weights = discounted_reward_to_go, behaviour: Matrix | None = None
) -> Gradient:
    """E[sum_t w_t grad log pi(a_t|s_t)] = sum_tau p(tau) ghat(tau): the estimator's mean, by listing every trajectory.

    behaviour: [S][A], who acts; the policy itself, if it is not given.
    An estimator is unbiased where this equals `exact_policy_gradient`.
    Raises ValueError for an infinite horizon.
    """
    credit: defaultdict[tuple[int, int], Number] = defaultdict(int)
    for probability, states, actions, rewards in trajectories(mdp, policy if behaviour is None else behaviour):
        for state, action, weight in zip(states, actions, weights(states, actions, rewards, mdp.gamma), strict=True):
            credit[state, action] = credit[state, action] + probability * weight
    return scored(policy, _as_table(credit, policy))


def exact_policy_gradient(mdp: TabularMDP, policy: Matrix) -> Gradient:
    """grad J = sum_t sum_s gamma^t P(s_t = s) sum_a pi(a|s) Q_t(s, a) grad log pi(a|s) (PG-7), for either horizon.

    The policy gradient theorem, Sutton et al. (1999), theorem 1, with the weighting by gamma^t that its d^pi contains.
    """
    return return_and_gradient(mdp, policy)[1]


def return_and_gradient(mdp: TabularMDP, policy: Matrix) -> tuple[Number, Gradient]:
    """J and grad J from one evaluation of the policy: `expected_return` and `exact_policy_gradient`."""
    steps = evaluation_by_step(mdp, policy)
    return dot(mdp.initial, steps.state_values[0]), credited(policy, steps.occupancy, steps.action_values)


def evaluation_by_step(mdp: TabularMDP, policy: Matrix) -> Evaluation:
    """The evaluation as a table for each step; for an infinite horizon one step, with everything."""
    known = evaluation(mdp, policy)
    return Evaluation(*([table] for table in known)) if mdp.horizon is None else known


def credited(policy: Matrix, weighed: Sequence[Vector], credit: Sequence[Matrix]) -> Gradient:
    """sum_t sum_s d_t(s) sum_a pi(a|s) x_t(s, a) grad log pi(a|s): what credit by state and action amounts to (PG-18).

    weighed: d_t(s), a row of S numbers a step.  credit: x_t(s, a), as many tables [S][A].
    With gamma^t P(s_t = s) and Q_t it is grad J; with what weights expect beyond Q_t it is their bias.
    """
    partials = [
        [sum(d[s] * x[s][a] for d, x in zip(weighed, credit, strict=True)) for a, _ in enumerate(row)]
        for s, row in enumerate(policy)
    ]
    return through_softmax(policy, partials)


def n_step_bias(mdp: TabularMDP, policy: Matrix, errors: Matrix, n: int) -> Gradient:
    """sum_t gamma^t E[gamma^n e_{t+n}(s_{t+n}) grad log pi(a_t|s_t)], the bias of the n-step actor-critic (PG-19).

    errors: [H][S], e_t(s) = v_t(s) - V_t(s); e_t = 0 from t = H on.  Finite horizon.
    """
    return credited(policy, occupancy(mdp, policy)[:-n], [foreseen(mdp, policy, later, n) for later in errors[n:]])


def generalized_bias(mdp: TabularMDP, policy: Matrix, errors: Matrix, lam: Number) -> Gradient:
    """(1 - lam) sum_{n >= 1} lam^(n-1) times the bias of n steps: that of GAE(lam) (PG-20).

    errors: [H][S], as for `n_step_bias`; from n = H on there is no bias.
    """
    parts = [n_step_bias(mdp, policy, errors, n) for n in range(1, len(errors) + 1)]
    shares = discounted([1 - lam] * len(parts), lam)
    return [[dot(shares, numbers) for numbers in zip(*rows, strict=True)] for rows in zip(*parts, strict=True)]


def foreseen(mdp: TabularMDP, policy: Matrix, numbers: Vector, n: int) -> list[list[Number]]:
    """gamma^n E[numbers(s_{t+n}) | s_t = s, a_t = a], [S][A], for n >= 1.

    numbers: [S].  With n = 1 it is gamma sum_s' P(s' | s, a) numbers(s'); more steps average over actions in between.
    """
    ahead = [[mdp.gamma * dot(row, numbers) for row in rows] for rows in mdp.transition]
    return ahead if n == 1 else foreseen(mdp, policy, list(map(dot, policy, ahead)), n - 1)


def entropy(
    logits: Vector,
    legal: Sequence[Any],
    exp: Callable[[Number], Number] = exp,
    log: Callable[[Number], Number] = log,
) -> tuple[Number, list[Number]]:
    """H = -sum_a pi(a) log pi(a) over the legal actions (PG-27), and dH/dtheta_b = -pi(b) (log pi(b) + H) (PG-28).

    logits, legal: [A], of one state.  At least one action is legal; the logits of others are not read.
    exp, log: of the numbers at hand.  Returns H and its derivatives, [A].
    """
    largest = max(logit for logit, allowed in zip(logits, legal, strict=True) if allowed)
    weights = [exp(logit - largest) if allowed else 0 for logit, allowed in zip(logits, legal, strict=True)]
    total = sum(weights)
    probabilities = [weight / total for weight in weights]
    # 0 log 0 = 0: the logarithm of what has no weight is never taken.
    logarithms = [
        logit - largest - log(total) if weight != 0 else 0 for logit, weight in zip(logits, weights, strict=True)
    ]
    value = -dot(probabilities, logarithms)
    return value, [-p * (logarithm + value) for p, logarithm in zip(probabilities, logarithms, strict=True)]


def gaussian_logp(
    actions: Vector, mean: Vector, log_std: Vector, functions: Any = math
) -> tuple[Number, list[Number], list[Number]]:
    """sum_a -z_a^2 / 2 - log sigma_a - log(2 pi) / 2, with z = (x - mu) / sigma (PG-49).

    actions, mean, log_std: [A], of one state.  functions: exp, log and pi for the numbers at hand.
    Returns it, its derivatives in mean, z / sigma, and in log_std, z^2 - 1 (PG-50).
    """
    deviations = list(map(functions.exp, log_std))
    z = [(x - mu) / sigma for x, mu, sigma in zip(actions, mean, deviations, strict=True)]
    value = sum(-(x**2) / 2 - log_sigma - _log_root(functions) for x, log_sigma in zip(z, log_std, strict=True))
    return value, [x / sigma for x, sigma in zip(z, deviations, strict=True)], [x**2 - 1 for x in z]


def gaussian_entropy(log_std: Vector, functions: Any = math) -> tuple[Number, list[Number]]:
    """sum_a log sigma_a + log(2 pi e) / 2, and its derivatives in log_std, which are 1 (PG-53)."""
    half = (log_std[0] * 0 + 1) / 2
    return sum(log_sigma + _log_root(functions) + half for log_sigma in log_std), [1 for _ in log_std]


def gaussian_kl(
    mean: Vector, log_std: Vector, ref_mean: Vector, ref_log_std: Vector, functions: Any = math
) -> tuple[Number, list[Number], list[Number]]:
    """sum_a log(sigma'_a / sigma_a) + (sigma_a^2 + (mu_a - mu'_a)^2) / (2 sigma'_a^2) - 1/2 (PG-54).

    Returns it, its derivatives in mean, (mu - mu') / sigma'^2, and in log_std, sigma^2 / sigma'^2 - 1 (PG-55).
    """
    spreads = [functions.exp(2 * (own - other)) for own, other in zip(log_std, ref_log_std, strict=True)]
    apart = [mu - other for mu, other in zip(mean, ref_mean, strict=True)]
    pulls = [distance / functions.exp(2 * other) for distance, other in zip(apart, ref_log_std, strict=True)]
    terms = [
        (spread - 1 + distance * pull) / 2 + (other - own)
        for spread, distance, pull, own, other in zip(spreads, apart, pulls, log_std, ref_log_std, strict=True)
    ]
    return sum(terms), pulls, [spread - 1 for spread in spreads]


def squashed_gaussian_logp(
    presquash: Vector, mean: Vector, log_std: Vector, functions: Any = math
) -> tuple[Number, list[Number]]:
    """log N(u; mu, sigma) - sum_a log(1 - tanh(u_a)^2), the log-density of tanh(u) (PG-57).

    Returns it and its derivatives in presquash, -(u - mu) / sigma^2 + 2 tanh(u) (PG-58).
    """
    logp, pulls, _ = gaussian_logp(presquash, mean, log_std, functions)
    # log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + exp(-2 |u|))), without the difference of what is all but 1.
    stretched = (functions.log(2) - abs(u) - functions.log(1 + functions.exp(-2 * abs(u))) for u in presquash)
    slopes = [2 * functions.tanh(u) - pull for u, pull in zip(presquash, pulls, strict=True)]
    return logp - 2 * sum(stretched), slopes


def _log_root(functions: Any) -> Number:
    """log(2 pi) / 2, what the root of 2 pi in the density comes to."""
    return functions.log(2 * functions.pi) / 2


def policy_gradient_loss(
    logp: Matrix, advantages: Matrix, mask: Sequence[Sequence[Any]], aggregation: str = "mean over steps"
) -> tuple[Number, list[list[Number]]]:
    """L = -1/n sum A_bt log pi(a_bt|s_bt) over the steps where the mask is set, and dL/dlogp = -A_bt / n (PG-32).

    logp, advantages, mask: [B][T].  aggregation: whether n is the number of such steps, that of the rows, or 1 (PG-35).
    Returns the loss and its derivatives, [B][T].
    """
    sizes = {"mean over steps": sum(map(sum, mask)), "mean over rows": len(mask), "sum": 1}
    size = sizes[aggregation] or 1
    slopes = [
        [-advantage / size if counts else 0 for advantage, counts in zip(*row, strict=True)]
        for row in zip(advantages, mask, strict=True)
    ]
    terms = [slope * x for rows in zip(slopes, logp, mask, strict=True) for slope, x, c in zip(*rows, strict=True) if c]
    return sum(terms), slopes


def _products(left: Matrix, right: Matrix) -> Gradient:
    return [[x * y for x, y in zip(*rows, strict=True)] for rows in zip(left, right, strict=True)]


def _as_table(credit: Mapping[tuple[int, int], Number], policy: Matrix) -> Gradient:
    """The credit as [S][A], 0 where there is none."""
    return [[credit.get((s, a), 0) for a, _ in enumerate(row)] for s, row in enumerate(policy)]
