"""Properties of policy gradients (spec/policy_gradient.md)."""

from dataclasses import replace
from fractions import Fraction
from itertools import product as every
from math import prod
from operator import mul
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from flint import arb, arb_series, ctx, fmpq_series
from hypothesis import assume, given

from rlspec.properties.checking import DOUBLE, agree, clause, exactly, first_miss, law, tolerance
from rlspec.properties.gaussians import FAR_LOG_STDS, FAR_PLACES, GAUSSIAN_OPERATIONS, gaussians, gaussians_at
from rlspec.properties.processes import (
    MOST_ACTIONS,
    MOST_STATES,
    MOST_STEPS,
    ask,
    episodes,
    every_episode,
    fractions,
    other_policy,
    softmax_roundings,
    tasks,
)
from rlspec.properties.questions.question import PRECISION, last_names, nearest
from rlspec.properties.strategies import choices, scored_batches
from rlspec.reference import moments
from rlspec.reference.decision_process import (
    TabularMDP,
    action_values,
    expected_return,
    occupancy,
    state_values,
    trajectories,
)
from rlspec.reference.differentiation import derivatives_in_logits, gradient_of_polynomial, rational
from rlspec.reference.natural_gradient import (
    fisher,
    fisher_of_features,
    gradient_of_features,
    natural_direction,
    natural_gradient,
    times,
)
from rlspec.reference.policy_gradient import (
    conventional_weights,
    credited,
    discounted_reward_to_go,
    exact_policy_gradient,
    expected_gradient,
    generalized,
    generalized_bias,
    n_step,
    n_step_bias,
    per_decision,
    policy_gradient,
    score,
    undiscounted_reward_to_go,
    whole_return,
    whole_trajectory,
    with_baseline,
)
from rlspec.reference.returns import reward_to_go
from rlspec.reference.variance import best_constant, in_baseline, variance
from rlspec.spec.operations import OPERATIONS

finite = tasks(full=True, infinite=False)
either = tasks(full=True)
baselines = st.tuples(*[st.integers(-9, 9)] * MOST_STATES)
directions = st.lists(st.tuples(*[st.integers(-9, 9)] * MOST_ACTIONS), min_size=MOST_STATES, max_size=MOST_STATES)
behaviours = st.binary(min_size=MOST_STATES, max_size=MOST_STATES)
critics = st.lists(baselines, min_size=MOST_STEPS, max_size=MOST_STEPS)
mixtures = st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(0), Fraction(1)])
whatever = st.sampled_from([1.0, -3.0, 1e9])
not_numbers = st.sampled_from([np.nan, np.inf, -np.inf])
LOGARITHMS = np.log([1, 2, 3, 8, 5, 7, 4, 6])
rationals = np.vectorize(exactly, otypes=[object])


def derivative_of_return(task):
    """dJ/dtheta by carrying truncated power series through the evaluation of the policy."""
    return derivatives_in_logits(lambda policy: expected_return(task.mdp, policy), task.pi)


# What the gradient is: theorems, in rationals, without a candidate.


@clause("PG-1", examples=60)
@given(either, st.integers(0, MOST_STATES - 1), st.integers(0, MOST_ACTIONS - 1))
def test_the_derivative_of_log_pi_is_the_action_less_the_policy(task, state, action):
    state, action = state % task.shape[0], action % task.shape[1]
    of_probability = derivatives_in_logits(lambda policy: policy[state][action], task.pi)
    of_logarithm = [[number / task.pi[state][action] for number in row] for row in of_probability]
    elsewhere = [0] * task.shape[1]
    assert of_logarithm == [score(row, action) if s == state else elsewhere for s, row in enumerate(task.pi)]


@clause("PG-2", examples=60)
@given(finite, st.integers(0, 299))
def test_the_score_of_a_trajectory_is_the_sum_of_its_steps_scores_whatever_the_dynamics(task, which):
    listed = list(trajectories(task.mdp, task.pi))
    which %= len(listed)
    probability, states, actions, _ = listed[which]
    of_probability = derivatives_in_logits(lambda policy: list(trajectories(task.mdp, policy))[which][0], task.pi)
    scores = [[0] * task.shape[1] for _ in task.pi]
    for state, action in zip(states, actions, strict=True):
        scores[state] = [x + y for x, y in zip(scores[state], score(task.pi[state], action), strict=True)]
    assert of_probability == [[probability * number for number in row] for row in scores]


@clause("PG-3", examples=60)
@given(finite)
def test_the_mean_of_return_times_score_is_the_derivative_of_the_closed_form(task):
    assert expected_gradient(task.mdp, task.pi, whole_return) == gradient_of_polynomial(task.mdp, task.pi)


@clause("PG-4", examples=60)
@given(finite, baselines)
def test_whatever_depends_on_the_state_and_the_past_has_mean_zero(task, numbers):
    def of_the_past(states, actions, rewards, gamma):
        return [numbers[s] + sum(rewards[:t]) * (1 + sum(actions[:t])) for t, s in enumerate(states)]

    assert not any(number for row in expected_gradient(task.mdp, task.pi, of_the_past) for number in row)


@clause("PG-5", examples=60)
@given(finite)
def test_the_mean_of_discounted_reward_to_go_times_score_is_the_gradient(task):
    assert expected_gradient(task.mdp, task.pi, discounted_reward_to_go) == derivative_of_return(task)


@clause("PG-6", examples=60)
@given(finite, st.integers(-9, 9))
def test_a_constant_baseline_leaves_the_mean_as_it_is(task, constant):
    estimate = with_baseline(lambda state, action: constant)
    assert expected_gradient(task.mdp, task.pi, estimate) == derivative_of_return(task)


@clause("PG-6", examples=60)
@given(finite, baselines)
def test_a_baseline_that_depends_on_the_state_leaves_the_mean_as_it_is(task, numbers):
    estimate = with_baseline(lambda state, action: numbers[state])
    assert expected_gradient(task.mdp, task.pi, estimate) == derivative_of_return(task)


@clause("PG-7", examples=60)
@given(either)
def test_occupancy_times_action_value_times_score_is_the_gradient(task):
    assert exact_policy_gradient(task.mdp, task.pi) == derivative_of_return(task)


@clause("PG-17", examples=60)
@given(either)
def test_the_gain_of_another_policy_is_its_occupancy_times_the_advantages_of_the_old_one(task):
    new = [list(reversed(row)) for row in task.pi]
    known = action_values(task.mdp, task.pi), state_values(task.mdp, task.pi), occupancy(task.mdp, new)
    steps = zip(*known, strict=True) if task.horizon else [known]
    gain = sum(
        d[s] * new[s][a] * (q[s][a] - v[s])
        for q, v, d in steps
        for s in range(task.shape[0])
        for a in range(task.shape[1])
    )
    assert gain == expected_return(task.mdp, new) - expected_return(task.mdp, task.pi)


def excess(estimate, gradient):
    """What an estimate has beyond the gradient."""
    return [[x - y for x, y in zip(*rows, strict=True)] for rows in zip(estimate, gradient, strict=True)]


def visits(task):
    """P(s_t = s), [H][S]: the occupancy without a discount."""
    return occupancy(task.but(gamma=1.0).mdp, task.pi)


def expected_weights(task, weights):
    """E[w_t | s_t = s, a_t = a], [H, S, A], from a list of all trajectories; 0 where that cannot happen."""
    chance, total = (np.full((task.horizon, *task.shape), rational(0)) for _ in range(2))
    for probability, *episode in trajectories(task.mdp, task.pi):
        for t, (state, action, weight) in enumerate(zip(*episode[:2], weights(*episode, task.mdp.gamma), strict=True)):
            chance[t, state, action] += probability
            total[t, state, action] += probability * weight
    return total / np.where(chance == 0, 1, chance)


def discounts_and_values(task):
    """gamma^t, [H, 1, 1], and Q_t(s, a), [H, S, A]."""
    powers = np.array([task.mdp.gamma**t for t in range(task.horizon)], dtype=object)
    return powers[:, None, None], np.array(action_values(task.mdp, task.pi), dtype=object)


@clause("PG-18", examples=60)
@given(finite, baselines)
def test_the_bias_of_any_weights_is_what_they_expect_beyond_the_actions_value(task, numbers):
    def arbitrary(states, actions, rewards, gamma):
        return [numbers[states[-1]] * (1 + actions[0]) + t * rewards[-1] * actions[t] for t in range(len(actions))]

    powers, values = discounts_and_values(task)
    bias = excess(expected_gradient(task.mdp, task.pi, arbitrary), derivative_of_return(task))
    assert bias == credited(task.pi, visits(task), expected_weights(task, arbitrary) - powers * values)


@clause("PG-18", examples=60)
@given(finite)
def test_without_gamma_to_the_t_the_bias_is_what_late_steps_count_too_much(task):
    powers, values = discounts_and_values(task)
    bias = excess(expected_gradient(task.mdp, task.pi, undiscounted_reward_to_go), derivative_of_return(task))
    assert bias == credited(task.pi, visits(task), (1 - powers) * values)


@clause("PG-18", examples=60)
@given(finite, baselines, baselines)
def test_the_bias_of_a_baseline_that_depends_on_the_action_is_the_credit_that_it_takes_away(task, of_state, of_action):
    def baseline(state, action):
        return of_state[state] * of_action[action]

    taken = [[-baseline(s, a) for a, _ in enumerate(row)] for s, row in enumerate(task.pi)]
    bias = excess(expected_gradient(task.mdp, task.pi, with_baseline(baseline)), derivative_of_return(task))
    assert bias == credited(task.pi, occupancy(task.mdp, task.pi), [taken] * task.horizon)


def critic_and_errors(task, numbers):
    """A critic, v_t(s) [H][S], with the errors e_t(s) = v_t(s) - V_t(s) that are given."""
    errors = [row[: task.shape[0]] for row in numbers[: task.horizon]]
    values = state_values(task.mdp, task.pi)
    return [[x + y for x, y in zip(*rows, strict=True)] for rows in zip(values, errors, strict=True)], errors


@clause("PG-19", examples=60)
@given(finite, critics, st.integers(1, MOST_STEPS + 1))
def test_the_bias_of_an_n_step_actor_critic_is_its_critics_error_n_steps_on(task, numbers, n):
    critic, errors = critic_and_errors(task, numbers)
    bias = excess(expected_gradient(task.mdp, task.pi, n_step(critic, n)), derivative_of_return(task))
    assert bias == n_step_bias(task.mdp, task.pi, errors, n)


@clause("PG-19", "PG-20", examples=60)
@given(finite, st.integers(1, MOST_STEPS + 1), mixtures)
def test_with_the_exact_values_every_actor_critic_is_unbiased(task, n, lam):
    values, gradient = state_values(task.mdp, task.pi), derivative_of_return(task)
    for estimate in (n_step(values, n), generalized(values, rational(lam))):
        assert expected_gradient(task.mdp, task.pi, estimate) == gradient


@clause("PG-19", "PG-20", examples=60)
@given(finite, critics, st.integers(0, 1))
def test_with_all_the_rewards_there_are_no_critic_does_harm(task, numbers, beyond):
    critic, gradient = critic_and_errors(task, numbers)[0], derivative_of_return(task)
    for estimate in (n_step(critic, task.horizon + beyond), generalized(critic, 1)):
        assert expected_gradient(task.mdp, task.pi, estimate) == gradient


@clause("PG-20", examples=60)
@given(finite, critics, mixtures)
def test_the_bias_of_gae_is_the_geometric_mixture_of_the_biases_of_n_steps(task, numbers, lam):
    critic, errors = critic_and_errors(task, numbers)
    bias = excess(expected_gradient(task.mdp, task.pi, generalized(critic, rational(lam))), derivative_of_return(task))
    assert bias == generalized_bias(task.mdp, task.pi, errors, rational(lam))


def variance_with(task, baseline):
    """The variance of reward-to-go with a number for each state as its baseline, by listing every trajectory."""
    return variance(task.mdp, task.pi, with_baseline(lambda state, action: baseline[state]))


@clause("PG-21", examples=60)
@given(finite, baselines)
def test_the_variance_is_a_parabola_in_each_states_baseline(task, numbers):
    curvature, vertex = in_baseline(task.mdp, task.pi)
    above = sum(c * (number - best) ** 2 for c, number, best in zip(curvature, numbers, vertex, strict=False))
    assert variance_with(task, numbers) == variance_with(task, vertex) + above


@clause("PG-21", examples=60)
@given(finite, st.integers(-9, 9))
def test_the_best_constant_is_the_mean_of_the_best_numbers_by_their_curvature(task, constant):
    curvature, vertex = in_baseline(task.mdp, task.pi)
    assume(sum(curvature) > 0)
    best = sum(c * number for c, number in zip(curvature, vertex, strict=True)) / sum(curvature)
    above = variance_with(task, [constant] * task.shape[0]) - variance_with(task, [best] * task.shape[0])
    assert above == sum(curvature) * (constant - best) ** 2


@clause("PG-22", examples=60)
@given(finite, st.integers(-9, 9))
def test_the_variance_of_the_whole_return_is_a_parabola_in_a_constant_baseline(task, constant):
    assume(task.shape[1] > 1)

    def with_constant(number):
        return variance(task.mdp, task.pi, lambda *episode: [w - number for w in whole_return(*episode)])

    best = best_constant(task.mdp, task.pi)
    lengths = [1 - sum(p * p for p in row) for row in task.pi]  # E[|psi|^2], and scores of two steps are uncorrelated
    curvature = sum(p * length for row in visits(task) for p, length in zip(row, lengths, strict=True))
    assert with_constant(constant) == with_constant(best) + curvature * (constant - best) ** 2


@clause("PG-23", examples=60)
@given(finite, behaviours)
def test_rewards_weighed_by_the_ratios_of_earlier_decisions_have_the_gradient_as_their_mean(task, data):
    behaviour = other_policy(task, data)
    estimate = per_decision(task.pi, behaviour)
    assert expected_gradient(task.mdp, task.pi, estimate, behaviour) == derivative_of_return(task)


@clause("PG-23", examples=60)
@given(finite, behaviours)
def test_returns_weighed_by_the_ratio_of_the_trajectory_have_the_gradient_as_their_mean(task, data):
    behaviour = other_policy(task, data)
    estimate = whole_trajectory(task.pi, behaviour)
    assert expected_gradient(task.mdp, task.pi, estimate, behaviour) == derivative_of_return(task)


def along(direction, policy):
    """f(s, a), the product of a direction [S][A] and grad log pi(a|s): what a step along it adds to log pi(a|s)."""
    return [
        [sum(map(mul, numbers, score(row, a))) for a, _ in enumerate(row)]
        for numbers, row in zip(direction, policy, strict=True)
    ]


def product(left, right):
    """The inner product of two directions."""
    return sum(x * y for rows in zip(left, right, strict=True) for x, y in zip(*rows, strict=True))


def cut(numbers, task):
    """The numbers [S][A] of a direction for the task's states and actions."""
    return [row[: task.shape[1]] for row in numbers[: task.shape[0]]]


@clause("PG-24", examples=60)
@given(finite, directions)
def test_the_fisher_matrix_is_the_mean_of_the_products_of_scores(task, numbers):
    change = along(cut(numbers, task), task.pi)

    def compatible(states, actions, rewards, gamma):
        return [gamma**t * change[s][a] for t, (s, a) in enumerate(zip(states, actions, strict=True))]

    assert times(fisher(task.mdp, task.pi), cut(numbers, task)) == expected_gradient(task.mdp, task.pi, compatible)


@clause("PG-24", examples=60)
@given(tasks(full=True, infinite=False, gammas=st.just(1.0)), directions)
def test_without_a_discount_it_is_the_information_that_a_trajectory_has(task, numbers):
    direction = cut(numbers, task)
    change = along(direction, task.pi)
    information = sum(
        probability * sum(change[s][a] for s, a in zip(states, actions, strict=True)) ** 2
        for probability, states, actions, _ in trajectories(task.mdp, task.pi)
    )
    assert product(direction, times(fisher(task.mdp, task.pi), direction)) == information


@clause("PG-25", examples=60)
@given(either)
def test_the_mean_advantages_solve_the_equation_of_the_natural_gradient(task):
    assert times(fisher(task.mdp, task.pi), natural_gradient(task.mdp, task.pi)) == derivative_of_return(task)


@clause("PG-25", examples=60)
@given(either, directions)
def test_a_direction_is_lost_only_where_it_is_the_same_for_all_actions_or_no_episode_comes(task, numbers):
    direction = cut(numbers, task)
    known = occupancy(task.mdp, task.pi)
    visited = [sum(column) > 0 for column in zip(*known, strict=True)] if task.horizon else [d > 0 for d in known]
    felt = any(met and len(set(row)) > 1 for met, row in zip(visited, direction, strict=True))
    assert any(number for row in times(fisher(task.mdp, task.pi), direction) for number in row) == felt


@clause("PG-26", examples=60)
@given(finite, directions)
def test_the_natural_gradient_is_the_least_squares_fit_of_the_returns_to_the_scores(task, numbers):
    def mean_square(direction):
        fit = along(direction, task.pi)
        return sum(
            probability * task.mdp.gamma**t * (number - fit[s][a]) ** 2
            for probability, states, actions, rewards in trajectories(task.mdp, task.pi)
            for t, (s, a, number) in enumerate(zip(states, actions, reward_to_go(rewards, task.mdp.gamma), strict=True))
        )

    best, other = natural_gradient(task.mdp, task.pi), cut(numbers, task)
    away = excess(other, best)
    assert mean_square(other) == mean_square(best) + product(away, times(fisher(task.mdp, task.pi), away))


@clause("PG-26", examples=60)
@given(finite, baselines)
def test_a_compatible_critic_in_place_of_the_action_values_leaves_the_gradient_as_it_is(task, numbers):
    natural = natural_gradient(task.mdp, task.pi)
    fit = along([[x + number for x in row] for row, number in zip(natural, numbers, strict=False)], task.pi)

    def compatible(states, actions, rewards, gamma):
        return [gamma**t * fit[s][a] for t, (s, a) in enumerate(zip(states, actions, strict=True))]

    assert expected_gradient(task.mdp, task.pi, compatible) == derivative_of_return(task)


# Means and covariances without a list of trajectories.


def tables(numbers):
    """Nested lists of rationals as an array."""
    found: np.ndarray = np.array(numbers, dtype=object)
    return found


def estimates(task, weights, behaviour=None):
    """Every trajectory's probability and estimate, [S A]."""
    return [
        (probability, tables(policy_gradient(task.pi, states, actions, rewards, task.mdp.gamma, weights)).reshape(-1))
        for probability, states, actions, rewards in trajectories(task.mdp, behaviour or task.pi)
    ]


def listed_moments(outcomes):
    """E[x] and Cov[x], from pairs of probability and x."""
    mean = sum(p * x for p, x in outcomes)
    return mean, sum(p * np.multiply.outer(x, x) for p, x in outcomes) - np.multiply.outer(mean, mean)


def same(left, right):
    """Whether two means and covariances are equal."""
    return all(np.array_equal(x, y) for x, y in zip(left, right, strict=True))


def table_of(numbers, task):
    """Numbers for states, [S, 1], of the task's kind."""
    return np.array(rational(numbers[: task.shape[0]]), dtype=object)[:, None]


def critic_of(numbers, task):
    """A critic [H][S], in the task's kind of number."""
    return rational([row[: task.shape[0]] for row in numbers[: task.horizon]])


@clause("PG-40", examples=40)
@given(finite, baselines, st.booleans())
def test_the_covariance_of_reward_to_go_is_the_one_over_all_trajectories(task, numbers, discounting):
    given = moments.process(task.mdp, task.pi)
    credit = moments.reward_to_go(given, table_of(numbers, task), None if discounting else 1)

    def with_numbers(states, actions, rewards, gamma):
        returns = reward_to_go(rewards, gamma)
        powers = [gamma**t if discounting else 1 for t, _ in enumerate(returns)]
        return [k * (g - numbers[s]) for k, g, s in zip(powers, returns, states, strict=True)]

    assert same(moments.moments(given, credit), listed_moments(estimates(task, with_numbers)))


@clause("PG-40", examples=40)
@given(tasks(infinite=False), critics, mixtures)
def test_the_covariance_of_gae_is_the_one_over_all_trajectories(task, numbers, lam):
    given, critic = moments.process(task.mdp, task.pi), critic_of(numbers, task)
    credit = moments.generalized(given, critic, rational(lam))
    assert same(moments.moments(given, credit), listed_moments(estimates(task, generalized(critic, rational(lam)))))


@clause("PG-41", examples=40)
@given(tasks(infinite=False), st.integers(-9, 9))
def test_the_covariance_of_whole_returns_is_the_one_over_all_trajectories(task, constant):
    def less(*episode):
        return [weight - constant for weight in whole_return(*episode)]

    answer = moments.whole_return(moments.process(task.mdp, task.pi), constant)
    assert same(answer, listed_moments(estimates(task, less)))


def group_estimates(task, size, centre):
    """Every group's probability, and 1/N sum_i (R_i - b_i) Psi_i with the baselines b that `centre` makes of the R."""
    returns = [reward_to_go(rewards, task.mdp.gamma)[0] for *_, rewards in trajectories(task.mdp, task.pi)]
    psis = estimates(task, lambda states, *_: [1] * len(states))
    scored = [(p, number, psi) for number, (p, psi) in zip(returns, psis, strict=True)]
    for group in every(scored, repeat=size):
        chances, earned, scores = zip(*group, strict=True)
        weighed = [(r - b) * psi for r, b, psi in zip(earned, centre(earned), scores, strict=True)]
        yield prod(chances), sum(weighed) * rational(Fraction(1, size))


def without_own(returns):
    """The mean of the others' returns, for each."""
    return [(sum(returns) - own) / (len(returns) - 1) for own in returns]


def with_own(returns):
    """The mean of all returns, for each."""
    return [sum(returns) / len(returns)] * len(returns)


@clause("PG-42", examples=40)
@given(tasks(infinite=False), st.integers(2, 4), st.booleans())
def test_the_covariance_of_a_group_is_that_of_a_u_statistic(task, size, leaving_out):
    while task.horizon > 1 and len(list(trajectories(task.mdp, task.pi))) ** 2 > 400:
        task = task.but(horizon=task.horizon - 1)
    while size > 2 and len(list(trajectories(task.mdp, task.pi))) ** size > 400:
        size -= 1
    known = moments.episodes(moments.process(task.mdp, task.pi))
    answer = (moments.leave_one_out if leaving_out else moments.mean_centred)(known, size)
    assert same(answer, listed_moments(list(group_estimates(task, size, without_own if leaving_out else with_own))))


@clause("PG-43", examples=40)
@given(tasks(infinite=False), critics, st.integers(1, MOST_STEPS + 1))
def test_the_covariance_of_n_steps_is_the_one_over_all_trajectories(task, numbers, n):
    given, critic = moments.process(task.mdp, task.pi), critic_of(numbers, task)
    answer = moments.moments(given, moments.n_step(given, critic, n))
    assert same(answer, listed_moments(estimates(task, n_step(critic, n))))


@clause("PG-44", examples=40)
@given(finite, behaviours)
def test_the_covariance_of_per_decision_ratios_is_the_one_over_all_trajectories(task, data):
    behaviour = other_policy(task, data)
    given = moments.process(task.mdp, task.pi, behaviour=behaviour)
    answer = moments.moments(given, moments.per_decision(given))
    assert same(answer, listed_moments(estimates(task, per_decision(task.pi, behaviour), behaviour)))


def unrolled(task):
    """The same process for ever, with the step as a part of the state, and one more state where nothing happens."""
    (states, actions), steps = task.shape, task.horizon
    end = [0] * (steps * states) + [1]
    moves = [
        [[0] * (states * (t + 1)) + list(row) + [0] * (states * (steps - t - 2) + 1) if t < steps - 1 else end
         for row in rows]
        for t in range(steps) for rows in task.mdp.transition
    ]  # fmt: skip
    rewards, begun = [*task.mdp.reward * steps, [0] * actions], [*task.mdp.initial, *[0] * (states * (steps - 1) + 1)]
    mdp = TabularMDP([*moves, [end] * actions], rewards, begun, task.mdp.gamma)
    logits = np.eye(states * actions, dtype=object).reshape(states, actions, -1)
    return mdp, [*task.pi * steps, task.pi[0]], np.concatenate([*[logits] * steps, 0 * logits[:1]])


@clause("PG-45", examples=40)
@given(tasks(infinite=False, gammas=st.sampled_from([0.5, 0.75, 0.0])), baselines, mixtures, st.integers(0, 2))
def test_an_endless_process_that_comes_to_rest_has_the_moments_of_its_episodes(task, numbers, lam, n):
    mdp, pi, logits = unrolled(task)
    endless, lam = moments.process(mdp, pi, logits), rational(lam)
    values = rational([numbers[: task.shape[0]]] * task.horizon)
    critic = [[number for row in values for number in row] + [0]]
    credit, weights = moments.generalized(endless, critic, lam), generalized(values, lam)
    if n:
        credit, weights = moments.n_step(endless, critic, n), n_step(values, n)
    assert same(moments.moments(endless, credit), listed_moments(estimates(task, weights)))


@clause("PG-46", examples=40)
@given(finite, critics, st.booleans())
def test_baselines_that_know_the_step_make_parabolas_of_the_variance(task, numbers, discounting):
    given, discount = moments.process(task.mdp, task.pi), None if discounting else 1
    best = moments.best_baselines(given, discount)
    of_steps = np.array(critic_of(numbers, task), dtype=object)

    def variance_with(baselines):
        credit = moments.reward_to_go(given, baselines[:, :, None], discount)
        return moments.moments(given, credit).variance

    for parabolas, baselines in (
        (best, of_steps), (best.of_states(), of_steps[:1]), (best.of_all(), of_steps[:1, :1])
    ):  # fmt: skip
        assert variance_with(baselines) == variance_with(parabolas.vertex) + parabolas.above(baselines)


@clause("PG-46", examples=40)
@given(tasks(full=True, finite=False), baselines)
def test_the_variance_of_an_endless_process_is_a_parabola_too(task, numbers):
    given = moments.process(task.mdp, task.pi)
    best, other = moments.best_baselines(given), table_of(numbers, task).T

    def variance_with(baselines):
        return moments.moments(given, moments.reward_to_go(given, baselines[:, :, None])).variance

    assert variance_with(other) == variance_with(best.vertex) + best.above(other)


features = st.binary(min_size=3 * MOST_STATES * MOST_ACTIONS, max_size=3 * MOST_STATES * MOST_ACTIONS)
finite_or_discounted = tasks(full=True, gammas=st.sampled_from([1.0, 0.5, 0.0]))


def features_of(data, task):
    """Three small whole numbers for each state and action, [S][A][3], in the task's kind of number."""
    numbers = np.frombuffer(data, np.uint8).reshape(MOST_STATES, MOST_ACTIONS, 3)[: task.shape[0], : task.shape[1]]
    return rational((numbers.astype(int) % 5 - 2).tolist())


@clause("PG-47", examples=40)
@given(finite, features, baselines)
def test_the_moments_with_features_are_those_of_the_table_seen_through_them(task, data, numbers):
    phi = np.array(features_of(data, task), dtype=object).reshape(-1, 3)
    answer = moments.process(task.mdp, task.pi, features_of(data, task))
    mean, covariance = moments.moments(answer, moments.reward_to_go(answer, table_of(numbers, task)))
    listed = estimates(task, with_baseline(lambda state, action: numbers[state]))
    assert same((mean, covariance), listed_moments([(p, phi.T @ x) for p, x in listed]))


@clause("PG-47", examples=40)
@given(finite_or_discounted, features)
def test_the_gradient_with_features_is_the_derivative_of_the_return(task, data):
    phi = features_of(data, task)
    answer = moments.process(task.mdp, task.pi, phi)
    assert gradient_of_features(answer).tolist() == [
        derivative_along([[cell[i] for cell in row] for row in phi], task) for i in range(3)
    ]


def derivative_along(direction, task):
    """The derivative of J where each logit grows by the direction's number: pi's weights by 1 + number epsilon."""

    def nudged(row, numbers):
        weights = [fmpq_series([p, p * x], prec=2) for p, x in zip(row, numbers, strict=True)]
        return [weight / sum(weights) for weight in weights]

    policy = [nudged(row, numbers) for row, numbers in zip(task.pi, direction, strict=True)]
    return (fmpq_series([0, 0], prec=2) + expected_return(task.mdp, policy))[1]


@clause("PG-48", examples=40)
@given(finite, features)
def test_a_compatible_critic_of_features_gives_the_gradient_though_it_is_no_advantage(task, data):
    given = moments.process(task.mdp, task.pi, features_of(data, task))
    critic = (given.scores @ natural_direction(given)).tolist()

    def compatible(states, actions, rewards, gamma):
        return [gamma**t * critic[s][a] for t, (s, a) in enumerate(zip(states, actions, strict=True))]

    phi = np.array(features_of(data, task), dtype=object)
    mean = np.array(expected_gradient(task.mdp, task.pi, compatible), dtype=object)
    assert np.tensordot(mean, phi, 2).tolist() == gradient_of_features(given).tolist()


@clause("PG-48", examples=40)
@given(finite_or_discounted, features)
def test_the_natural_direction_solves_its_equation_whatever_the_features(task, data):
    given = moments.process(task.mdp, task.pi, features_of(data, task))
    assert (fisher_of_features(given) @ natural_direction(given)).tolist() == gradient_of_features(given).tolist()


# What `exact_policy_gradient` owes.


@clause("PG-8")
@given(either)
def test_the_exact_gradient_is_the_derivative_of_the_return(candidate, task):
    answer = ask(candidate, "exact_policy_gradient", task)
    agree(answer, fractions(derivative_of_return(task)), **task.judged("exact_policy_gradient"))


@clause("PG-9", examples=60)
@given(either)
def test_the_gradients_of_a_states_logits_sum_to_zero(candidate, task):
    answer = ask(candidate, "exact_policy_gradient", task)
    judged = task.judged("exact_policy_gradient", times=task.shape[1])
    allowed = tolerance(roundoff=answer.roundoff, **judged)
    sums = rationals(answer.value).sum(axis=1)
    law(all(abs(total) <= allowed for total in sums), answer, f"the rows sum to {[float(x) for x in sums]}, not to 0")


def raised(logits, shift):
    """The logits with a number added for each state."""
    return logits + np.array(shift[: len(logits)], dtype=float)[:, None]


def seen_through_rounding(judged, shift, times):
    """The judgement of two answers, one of them to logits that a shift has rounded.

    A logit of at most log 8 + shift is off by u times that, a probability by twice as much; it enters so many times.
    """
    return judged | {"roundings": 2 * judged["roundings"] + 2 * times * (3 + max(map(abs, shift)))}


def exact_gradient_after(shift, candidate, task):
    """Check that the exact gradient is the same after a shift of each state's logits."""
    answer = ask(candidate, "exact_policy_gradient", task, logits=raised(task.logits, shift))
    judged = seen_through_rounding(task.judged("exact_policy_gradient"), shift, 2 * (task.horizon or 3))
    agree(answer, ask(candidate, "exact_policy_gradient", task), **judged)


def estimate_after(shift, candidate, batch):
    """Check that the estimate is the same after a shift of each state's logits."""
    answer = candidate.policy_gradient(raised(batch.logits, shift), *batch.arguments[1:])
    judged = seen_through_rounding(batch.judged(chosen_weights(candidate)), shift, 1)
    agree(answer, candidate.policy_gradient(*batch.arguments), **judged)


def chosen_weights(candidate):
    """The weights that the candidate declares, or was found to use."""
    return conventional_weights(**last_names(candidate.conventions("policy_gradient")))


shifts = st.tuples(*[st.sampled_from([0, 1, -1, 4, -4])] * MOST_STATES)
large_shifts = st.tuples(*[st.sampled_from([0, 1024, -1024])] * MOST_STATES)


@clause("PG-9", examples=60)
@given(either, shifts)
def test_raising_all_logits_of_a_state_leaves_the_exact_gradient_as_it_is(candidate, task, shift):
    exact_gradient_after(shift, candidate, task)


@clause("PG-9", examples=60)
@given(episodes(), shifts)
def test_raising_all_logits_of_a_state_leaves_the_estimate_as_it_is(candidate, batch, shift):
    estimate_after(shift, candidate, batch)


@clause("PG-16", examples=60)
@given(either, large_shifts)
def test_the_exact_gradient_is_accurate_for_logits_in_the_thousands(candidate, task, shift):
    large = task.arguments("exact_policy_gradient", logits=raised(task.logits, shift))
    candidate.demand(OPERATIONS["exact_policy_gradient"], *large)
    exact_gradient_after(shift, candidate, task)


@clause("PG-16", examples=60)
@given(episodes(), large_shifts)
def test_the_estimate_is_accurate_for_logits_in_the_thousands(candidate, batch, shift):
    candidate.demand(OPERATIONS["policy_gradient"], raised(batch.logits, shift), *batch.arguments[1:])
    estimate_after(shift, candidate, batch)


def smoothness(task):
    """L, a bound on the second derivative of J in the logits (PG-10)."""
    reward, gamma = Fraction(np.abs(task.reward).max()), Fraction(task.gamma)
    if task.horizon is None:
        return reward * (2 * (1 + gamma) / (1 - gamma) ** 3 + 1 / (2 * (1 - gamma) ** 2))
    return reward * sum(gamma**t * (2 * (t + 1) ** 2 + Fraction(t + 1, 2)) for t in range(task.horizon))


def return_at(task, logits):
    """J at the logits, exact but for the rounding of their softmax."""
    chances = rationals(np.exp(logits - logits.max(axis=1, keepdims=True)))
    return fractions(expected_return(task.mdp, rational((chances / chances.sum(axis=1, keepdims=True)).tolist())))


@clause("PG-10")
@given(either)
def test_a_step_uphill_of_at_most_one_over_the_smoothness_gains(candidate, task):
    gradient = rationals(fractions(exact_policy_gradient(task.mdp, task.pi)))
    assume(gradient.any())
    step = 1 / smoothness(task)
    answer = ask(candidate, "exact_policy_gradient", task)
    gained = return_at(task, task.logits + float(step) * answer.value) - return_at(task, task.logits)
    promised = step / 2 * (gradient**2).sum()
    # An error delta in the gradient costs eta/2 |delta|^2; a rounding of each step's probability moves J by its worth.
    error = tolerance(roundoff=answer.roundoff, **task.judged("exact_policy_gradient"))
    roundings = 2 * (task.horizon or 1) * softmax_roundings(task.shape[1])
    evaluation = tolerance(magnitude=task.worth * task.patience, roundings=roundings, roundoff=DOUBLE)
    allowed = step / 2 * gradient.size * error**2 + evaluation
    message = f"a step of {float(step):.2g} changes J by {float(gained):.3g}; a gradient gains {float(promised):.3g}"
    law(gained >= promised - allowed, answer, message)


# What `policy_gradient` owes.


@clause("PG-11", "PG-12", "PG-13")
@given(episodes())
def test_the_estimate_is_the_mean_over_episodes_of_the_sum_over_steps_of_weight_times_score(candidate, batch):
    whole = candidate.convention("policy_gradient.credit") == "whole return"
    late = candidate.convention("policy_gradient.discounting") == "none" and not whole
    gamma, pi = Fraction(batch.gamma), rationals(batch.policy)
    expected = np.zeros_like(pi)
    for row, steps in enumerate(batch.mask.sum(axis=1)):
        for t in range(steps):
            earned = range(0 if whole else t, steps)
            weight = sum(gamma ** (k - t * late) * Fraction(batch.rewards[row, k]) for k in earned)
            state, action = batch.states[row, t], batch.actions[row, t]
            expected[state] += weight * ((np.arange(pi.shape[1]) == action) - pi[state])
    answer = candidate.policy_gradient(*batch.arguments)
    agree(answer, expected / len(batch.mask), **batch.judged(chosen_weights(candidate)))


@clause("PG-11")
@given(episodes())
def test_the_estimate_of_a_batch_is_the_mean_of_its_episodes_estimates(candidate, batch):
    rows = range(len(batch.mask))
    alone = sum(rationals(candidate.policy_gradient(*batch.rows([row]).arguments).value) for row in rows)
    answer = candidate.policy_gradient(*batch.arguments)
    agree(answer, alone / len(rows), **batch.judged(chosen_weights(candidate), times=2))


@clause("PG-12", "PG-13", examples=60)
@given(episodes(), st.integers(0, MOST_STATES - 1), st.integers(0, MOST_ACTIONS - 1))
def test_a_step_put_before_an_episode_discounts_the_credit_as_the_convention_says(candidate, batch, state, action):
    batch = batch.rows([0])
    state, action = state % len(batch.policy), action % batch.policy.shape[1]
    longer = batch.but(**{
        name: np.concatenate([np.array([[first]], dtype=getattr(batch, name).dtype), getattr(batch, name)], axis=1)
        for name, first in {"states": state, "actions": action, "rewards": 0, "mask": True}.items()
    })  # fmt: skip
    chosen = chosen_weights(candidate)
    gamma = Fraction(batch.gamma)
    later = rationals(candidate.policy_gradient(*batch.arguments).value)
    expected = later * (1 if chosen is undiscounted_reward_to_go else gamma)
    earned = gamma * sum(gamma**t * Fraction(reward) for t, reward in enumerate(batch.rewards[batch.mask]))
    expected[state] += earned * rationals(fractions(score(batch.pi[state], action)))
    agree(candidate.policy_gradient(*longer.arguments), expected, **longer.judged(chosen, times=2))


@clause("PG-14")
@given(tasks(full=True, infinite=False, sparse=True))
def test_the_mean_of_the_estimates_of_all_trajectories_is_the_gradient(candidate, task):
    batch, chosen = every_episode(task), chosen_weights(candidate)
    expected = derivative_of_return(task)
    if chosen is undiscounted_reward_to_go:
        expected = expected_gradient(task.mdp, task.pi, chosen)
    agree(candidate.policy_gradient(*batch.arguments), fractions(expected), **batch.judged(chosen))


@clause("PG-15")
@given(episodes(), st.integers(0, 2), st.sampled_from([0.0, 1.0, -3.0, 1e9]), st.integers(0, 5))
def test_what_stands_under_the_mask_and_how_much_of_it_changes_nothing(candidate, batch, columns, reward, index):
    wide = {"states": index % len(batch.policy), "actions": index % batch.policy.shape[1], "rewards": reward}
    padding = ((0, 0), (0, columns))
    mask = np.pad(batch.mask, padding)
    other = batch.but(mask=mask, **{
        name: np.where(mask, np.pad(getattr(batch, name), padding), junk) for name, junk in wide.items()
    })  # fmt: skip
    answer = candidate.policy_gradient(*other.arguments)
    agree(answer, candidate.policy_gradient(*batch.arguments), **other.judged(chosen_weights(candidate), times=2))


# What `entropy` owes.

raises = st.tuples(*[st.sampled_from([0, 1, -1, 4, -4])] * 3)


def in_whole_numbers(drawn):
    """Each row's legal weights exp(logit), which are whole numbers, and the row's probabilities."""
    weights = [
        [Fraction(round(np.exp(x))) for x in row[legal]] for row, legal in zip(drawn.logits, drawn.legal, strict=True)
    ]
    return [(row, [n / sum(row) for n in row]) for row in weights]


@clause("PG-27")
@given(choices(LOGARITHMS))
def test_the_entropy_of_whole_numbers_is_that_of_their_sum_less_their_mean_logarithm(candidate, drawn):
    with ctx.workprec(PRECISION):
        values = [
            arb(int(sum(row))).log() - sum(int(n) * arb(int(n)).log() for n in row) / int(sum(row))
            for row, _ in in_whole_numbers(drawn)
        ]
        expected = [nearest(value) for value in values]
    value, _ = candidate.entropy(*drawn.arrays)
    agree(value, expected, **drawn.judged)


@clause("PG-27")
@given(choices(LOGARITHMS))
def test_a_choice_may_be_made_in_two_parts(candidate, drawn):
    drawn = drawn.but(logits=drawn.logits[:1], legal=drawn.legal[:1])
    assume(drawn.legal.sum() > 1)
    first = drawn.legal[0].argmax()
    [(_, [p, *_])] = in_whole_numbers(drawn)
    with ctx.workprec(PRECISION):
        parts = [arb(part.numerator) / part.denominator for part in (p, 1 - p)]
        whether = nearest(-sum(part * part.log() for part in parts))
    rest = drawn.legal.copy()
    rest[0, first] = False
    of_the_rest, _ = candidate.entropy(drawn.logits, rest)
    value, _ = candidate.entropy(*drawn.arrays)
    judged = drawn.judged | {"roundings": 2 * drawn.judged["roundings"]}
    agree(value, [whether + (1 - p) * exactly(of_the_rest.value[0])], **judged)


@clause("PG-27", examples=60)
@given(choices(), raises)
def test_raising_all_logits_of_a_row_leaves_the_entropy_as_it_is(candidate, drawn, shift):
    other = drawn.but(logits=drawn.logits + np.resize(np.array(shift, dtype=float), (len(drawn.logits), 1)))
    judged = {name: most + other.judged[name] for name, most in drawn.judged.items()}
    agree(candidate.entropy(*other.arrays), candidate.entropy(*drawn.arrays), **judged)


@clause("PG-28")
@given(choices())
def test_the_second_result_is_the_derivative_of_the_entropy(candidate, drawn):
    with ctx.workprec(PRECISION):
        expected = [
            [nearest(of_entropy(logits, legal, place)) for place in range(len(logits))]
            for logits, legal in zip(drawn.logits.tolist(), drawn.legal.tolist(), strict=True)
        ]
    _, slopes = candidate.entropy(*drawn.arrays)
    agree(slopes, expected, **drawn.judged)


def of_entropy(logits, legal, place):
    """The derivative of log sum exp(theta) - sum theta exp(theta) / sum exp(theta), by truncated power series."""
    series = [arb_series([arb(x), int(a == place)], prec=2) for a, x in enumerate(logits) if legal[a]]
    nothing = arb_series([0, 0], prec=2)
    total = sum((x.exp() for x in series), nothing)
    return (total.log() - sum((x * x.exp() for x in series), nothing) / total + nothing)[1]


@clause("PG-28", examples=60)
@given(choices())
def test_the_derivatives_of_a_rows_logits_add_up_to_zero(candidate, drawn):
    _, slopes = candidate.entropy(*drawn.arrays)
    allowed = drawn.logits.shape[1] * tolerance(roundoff=slopes.roundoff, **drawn.judged)
    sums = rationals(slopes.value).sum(axis=1)
    law(all(abs(total) <= allowed for total in sums), slopes, f"the rows sum to {[float(x) for x in sums]}, not to 0")


@clause("PG-29")
@given(choices(), whatever)
def test_the_logit_of_an_illegal_action_changes_nothing(candidate, drawn, junk):
    other = drawn.overwritten(junk)
    answer = candidate.demand(OPERATIONS["entropy"], *other.arrays)
    agree(answer, candidate.entropy(*drawn.arrays), **drawn.judged)


@clause("PG-29")
@given(choices())
def test_legal_actions_have_the_answers_that_they_have_without_the_illegal_ones(candidate, drawn):
    assume(not drawn.legal[0].all())
    logits, legal = drawn.logits[:1], drawn.legal[:1]
    value, slopes = candidate.demand(OPERATIONS["entropy"], logits, legal)
    without, of_legal = candidate.entropy(logits[:, legal[0]], legal[:, legal[0]])
    expected = np.zeros(logits.shape)
    expected[legal] = of_legal.value[0]
    agree((value, slopes), (without, expected), **drawn.judged)


@clause("PG-30")
@given(choices(), st.sampled_from([1000.0, -1000.0]), st.integers(0, 5))
def test_an_action_that_is_all_but_impossible_changes_nothing(candidate, drawn, distance, place):
    kept = np.arange(drawn.logits.shape[1]) != place % drawn.logits.shape[1]
    assume((drawn.legal & kept).any(axis=1).all())
    lowered = drawn.but(logits=np.where(kept, max(distance, 0), min(distance, 0)) + drawn.logits)
    answer = candidate.demand(OPERATIONS["entropy"], *lowered.arrays)
    without = drawn.but(logits=np.where(kept, drawn.logits, 0), legal=drawn.legal & kept)
    agree(answer, candidate.entropy(*without.arrays), **lowered.judged)


@clause("PG-31")
@given(choices(), not_numbers)
def test_the_entropy_survives_illegal_logits_that_are_no_numbers(candidate, drawn, junk):
    answer = candidate.demand(OPERATIONS["entropy"], *drawn.overwritten(junk).arrays)
    agree(answer, candidate.entropy(*drawn.arrays), **drawn.judged)


@clause("PG-31")
@given(choices())
def test_minus_infinity_as_a_logit_says_that_an_action_is_illegal(candidate, drawn):
    hidden = drawn.overwritten(-np.inf)
    answer = candidate.demand(OPERATIONS["entropy"], hidden.logits, np.ones_like(drawn.legal))
    agree(answer, candidate.entropy(*drawn.arrays), **drawn.judged)


# What Gaussian policies owe.

every_gaussian = pytest.mark.parametrize("operation", GAUSSIAN_OPERATIONS)
NODES = {-2: Fraction(1, 8), 0: Fraction(3, 4), 2: Fraction(1, 8)}
"""Points and weights that have the first two moments of the standard normal distribution, and its third."""

GRID = np.arange(-30, 31) / 2
"""So many deviations from the mean, half a deviation apart."""


def ask_gaussian(candidate, operation, drawn):
    """The candidate's values and derivatives."""
    return getattr(candidate, operation)(*drawn.arguments(operation))


def log_density(x, mean, log_std):
    """log of exp(-(x - mean)^2 / (2 v)) / sqrt(2 pi v), of balls or of power series."""
    variance = log_std.exp() * log_std.exp()
    return -(x - mean) * (x - mean) / (2 * variance) - log_std - (2 * arb.pi()).log() / 2


def over_nodes(of, mean, log_std):
    """The mean of what is a polynomial of the second degree in z, over the actions mean + z sigma."""
    return sum((of(mean + z * log_std.exp()) * to_ball(weight) for z, weight in NODES.items()), 0 * mean)


def to_ball(number):
    """A rational as a ball around it."""
    return arb(number.numerator) / number.denominator


def surprise_of(log_std):
    """The mean of minus the log-density: the entropy of one axis."""
    mean = 0 * log_std
    return over_nodes(lambda x: -log_density(x, mean, log_std), mean, log_std)


def log_ratio_of(mean, log_std, ref_mean, ref_log_std):
    """The mean log-ratio to the reference: the divergence of one axis."""

    def of(x):
        return log_density(x, mean, log_std) - log_density(x, ref_mean, ref_log_std)

    return over_nodes(of, mean, log_std)


def squashed_density(u, mean, log_std):
    """The log-density of tanh(u): that of u, and twice the logarithm of the hyperbolic cosine."""
    return log_density(u, mean, log_std) + 2 * ((u.exp() + (-u).exp()) / 2).log()


TEXTBOOK: dict[str, tuple[Any, tuple[str, ...], tuple[int, ...]]] = {
    "gaussian_logp": (log_density, ("actions", "mean", "log_std"), (1, 2)),
    "gaussian_entropy": (surprise_of, ("log_std",), (0,)),
    "gaussian_kl": (log_ratio_of, ("mean", "log_std", "ref_mean", "ref_log_std"), (0, 1)),
    "squashed_gaussian_logp": (squashed_density, ("presquash", "mean", "log_std"), (0,)),
}
"""What an operation is for one axis, of which fields, and in which of these it is differentiated."""


def of_axes(operation, drawn):
    """The textbook's rows of values, and of derivatives by truncated power series, to hundreds of bits."""
    of_axis, fields, places = TEXTBOOK[operation]
    columns = [getattr(drawn, name) for name in fields]

    def at(where, moved):
        parts = [arb_series([arb(x[where]), int(i == moved)], prec=2) for i, x in enumerate(columns)]
        return of_axis(*parts) + arb_series([0, 0], prec=2)

    with ctx.workprec(PRECISION):
        cells = list(np.ndindex(columns[0].shape))
        tables = [np.empty(columns[0].shape, dtype=object) for _ in range(1 + len(places))]
        for where in cells:
            tables[0][where] = nearest(at(where, None)[0])
            for table, place in zip(tables[1:], places, strict=True):
                table[where] = nearest(at(where, place)[1])
    values, *slopes = tables
    return values.sum(axis=1), *slopes


def has_its_values(candidate, operation, drawn, **judged):
    """Check the values against the textbook's."""
    values, *_ = ask_gaussian(candidate, operation, drawn)
    agree(values, of_axes(operation, drawn)[0], **drawn.judged(operation, **judged))


def has_its_slopes(candidate, operation, drawn, **judged):
    """Check the derivatives against the textbook's."""
    _, *slopes = ask_gaussian(candidate, operation, drawn)
    agree(tuple(slopes), of_axes(operation, drawn)[1:], **drawn.judged(operation, **judged))


def is_right(candidate, operation, drawn):
    """Whether the answer is the textbook's; one that is wrong anyway is not wrong because the numbers are large."""
    answers, judged = ask_gaussian(candidate, operation, drawn), drawn.judged(operation)
    pairs = zip(answers, of_axes(operation, drawn), strict=True)
    return all(first_miss(part.value, wanted, roundoff=part.roundoff, **judged) is None for part, wanted in pairs)


@clause("PG-49", examples=60)
@given(gaussians())
def test_the_log_density_is_the_logarithm_of_the_density(candidate, drawn):
    has_its_values(candidate, "gaussian_logp", drawn)


@clause("PG-50", examples=60)
@given(gaussians())
def test_the_derivatives_of_the_log_density_are_its_derivatives(candidate, drawn):
    has_its_slopes(candidate, "gaussian_logp", drawn)


@clause("PG-51", examples=40)
@given(gaussians())
def test_the_density_integrates_to_one(candidate, drawn):
    mean, log_std = drawn.mean[0, 0], drawn.log_std[0, 0]
    column = np.ones((len(GRID), 1))
    line = gaussians_at(mean + GRID[:, None] * np.exp(log_std), mean * column, log_std * column)
    values, *_ = candidate.gaussian_logp(*line.arguments("gaussian_logp"))
    with ctx.workprec(PRECISION):
        masses = [nearest(arb(x).exp() * arb(log_std).exp() / 2) for x in values.value.tolist()]
    # The error of a logarithm is the relative error of its exponential; the rule's own is 10^-33.
    errors = (
        mass * tolerance(roundoff=values.roundoff, **line.but(**row).judged("gaussian_logp"))
        for mass, row in zip(masses, line.rows(), strict=True)
    )
    total = sum(masses, Fraction(0))
    law(abs(total - 1) <= sum(errors) + Fraction(1, 2**100), values, f"the density integrates to {float(total):.6g}")


@every_gaussian
@clause("PG-52", examples=40)
@given(drawn=gaussians())
def test_independent_axes_add_up(candidate, operation, drawn):
    alone = [drawn.axes([axis]) for axis in range(drawn.mean.shape[1])]
    answers = [ask_gaussian(candidate, operation, axis) for axis in alone]
    values = sum(rationals(answer[0].value) for answer in answers)
    slopes = (np.concatenate([answer[i].value for answer in answers], axis=1) for i in range(1, len(answers[0])))
    each = [axis.judged(operation) for axis in (drawn, *alone)]
    judged = {name: sum(one[name] for one in each) for name in ("magnitude", "roundings")}
    agree(ask_gaussian(candidate, operation, drawn), (values, *slopes), **judged)


@clause("PG-53", examples=60)
@given(gaussians())
def test_gaussian_entropy_is_the_mean_surprise(candidate, drawn):
    has_its_values(candidate, "gaussian_entropy", drawn)
    has_its_slopes(candidate, "gaussian_entropy", drawn)


@clause("PG-53", examples=40)
@given(gaussians(), st.sampled_from([1.0, -0.5, 4.0]))
def test_gaussian_entropy_grows_with_the_logarithm_of_each_deviation(candidate, drawn, more):
    wider = drawn.but(log_std=drawn.log_std + more)
    before, _ = ask_gaussian(candidate, "gaussian_entropy", drawn)
    after, _ = ask_gaussian(candidate, "gaussian_entropy", wider)
    expected = rationals(before.value) + exactly(more) * drawn.log_std.shape[1]
    each = [one.judged("gaussian_entropy") for one in (drawn, wider)]
    agree(after, expected, **{name: sum(one[name] for one in each) for name in ("magnitude", "roundings")})


@clause("PG-54", examples=60)
@given(gaussians())
def test_gaussian_divergence_is_the_mean_log_ratio(candidate, drawn):
    has_its_values(candidate, "gaussian_kl", drawn)


@clause("PG-54", examples=40)
@given(gaussians())
def test_gaussian_divergence_is_zero_between_equals_and_nowhere_negative(candidate, drawn):
    values, *_ = ask_gaussian(candidate, "gaussian_kl", drawn)
    allowed = tolerance(roundoff=values.roundoff, **drawn.judged("gaussian_kl"))
    law(all(rationals(values.value) >= -allowed), values, "a divergence is negative")
    same = drawn.but(ref_mean=drawn.mean, ref_log_std=drawn.log_std)
    values, *_ = ask_gaussian(candidate, "gaussian_kl", same)
    agree(values, np.zeros(len(same.mean)), **same.judged("gaussian_kl"))


@clause("PG-55", examples=60)
@given(gaussians())
def test_the_derivatives_of_gaussian_divergence_are_its_derivatives(candidate, drawn):
    has_its_slopes(candidate, "gaussian_kl", drawn)


@clause("PG-56", examples=60)
@given(gaussians())
def test_scores_of_a_gaussian_have_mean_zero(candidate, drawn):
    deviation = np.exp(drawn.log_std)
    at = {z: drawn.but(actions=drawn.mean + z * deviation) for z in NODES}
    answers = {z: ask_gaussian(candidate, "gaussian_logp", each) for z, each in at.items()}
    judged = [each.judged("gaussian_logp") for each in at.values()]
    for part in (1, 2):
        means = sum(NODES[z] * rationals(answer[part].value) for z, answer in answers.items())
        slopes = answers[0][part]
        allowed = sum(tolerance(roundoff=slopes.roundoff, **one) for one in judged)
        message = f"the scores have the means {[[float(x) for x in row] for row in means]}, not 0"
        law((abs(means) <= allowed).all(), slopes, message)


@clause("PG-57", examples=60)
@given(gaussians())
def test_the_density_of_a_squashed_action_is_stretched(candidate, drawn):
    has_its_values(candidate, "squashed_gaussian_logp", drawn)


@clause("PG-58", examples=60)
@given(gaussians())
def test_the_derivative_of_the_squashed_log_density_is_its_derivative(candidate, drawn):
    has_its_slopes(candidate, "squashed_gaussian_logp", drawn)


@clause("PG-59", examples=60)
@given(gaussians(places=FAR_PLACES))
def test_an_action_at_its_bound_has_a_density(candidate, drawn):
    drawn = drawn.but(mean=drawn.actions)
    assume(is_right(candidate, "squashed_gaussian_logp", drawn.but(actions=drawn.actions / 1024)))
    has_its_values(candidate, "squashed_gaussian_logp", drawn, saturated=True)
    has_its_slopes(candidate, "squashed_gaussian_logp", drawn, saturated=True)


@pytest.mark.parametrize("operation", [name for name in GAUSSIAN_OPERATIONS if "squashed" not in name])
@clause("PG-60", examples=60)
@given(drawn=gaussians(log_stds=FAR_LOG_STDS))
def test_a_gaussian_may_be_narrow_or_wide(candidate, operation, drawn):
    near = drawn.but(log_std=drawn.log_std / 16, ref_log_std=drawn.ref_log_std / 16)
    assume(is_right(candidate, operation, near))
    has_its_values(candidate, operation, drawn)
    has_its_slopes(candidate, operation, drawn)


# What `policy_gradient_loss` owes.


def chosen_size(candidate, mask):
    """What the candidate divides the loss by, as it declares or was found to do."""
    sizes = {"mean over steps": max(int(mask.sum()), 1), "mean over rows": len(mask), "sum": 1}
    return sizes[candidate.convention("policy_gradient_loss.aggregation")]


def both(left, right, times=1):
    """How far rounding may take what is put together from the answers to two batches."""
    return {
        "magnitude": times * left.judged["magnitude"] + right.judged["magnitude"],
        "roundings": 2 * left.judged["roundings"],
    }


@clause("PG-32", "PG-35")
@given(scored_batches())
def test_the_loss_is_minus_the_mean_of_advantage_times_log_probability(candidate, batch):
    terms = rationals(batch.advantages) * rationals(batch.logp)
    loss, _ = candidate.policy_gradient_loss(*batch.arrays)
    agree(loss, -sum(terms[batch.mask]) / Fraction(chosen_size(candidate, batch.mask)), **batch.judged)


@clause("PG-33")
@given(scored_batches(), scored_batches())
def test_the_loss_moves_with_the_log_probabilities_as_its_derivative_says(candidate, batch, step):
    rows, steps = (min(*sizes) for sizes in zip(batch.mask.shape, step.mask.shape, strict=True))
    batch, step = (each.part(rows, steps) for each in (batch, step))
    moved = replace(batch, logp=batch.logp + step.logp)
    loss, slopes = candidate.policy_gradient_loss(*batch.arrays)
    gain = (rationals(slopes.value) * (rationals(moved.logp) - rationals(batch.logp))).sum()
    further, _ = candidate.policy_gradient_loss(*moved.arrays)
    agree(further, exactly(loss.value) + gain, **both(batch, moved, times=2))


@clause("PG-34")
@given(scored_batches(), scored_batches(), st.sampled_from([2.0, 1.0, -4.0]))
def test_the_loss_is_linear_in_the_advantages(candidate, batch, other, factor):
    rows, steps = (min(*sizes) for sizes in zip(batch.mask.shape, other.mask.shape, strict=True))
    x, y = batch.part(rows, steps), replace(batch.part(rows, steps), advantages=other.part(rows, steps).advantages)
    both_at_once = replace(x, advantages=factor * x.advantages + y.advantages)
    answer = candidate.policy_gradient_loss(*both_at_once.arrays)
    apart = zip(candidate.policy_gradient_loss(*x.arrays), candidate.policy_gradient_loss(*y.arrays), strict=True)
    expected = tuple(Fraction(factor) * rationals(a.value) + rationals(b.value) for a, b in apart)
    agree(answer, expected, **both(x, y, times=2 * abs(factor)))


@clause("PG-34", examples=60)
@given(scored_batches())
def test_without_advantages_there_is_no_loss_and_no_gradient(candidate, batch):
    nothing = replace(batch, advantages=np.zeros(batch.mask.shape))
    agree(candidate.policy_gradient_loss(*nothing.arrays), (0, nothing.advantages), magnitude=0, roundings=1)


@clause("PG-36")
@given(tasks(full=True, infinite=False, sparse=True, gammas=st.sampled_from([1.0, 0.5, 0.0])))
def test_the_expected_gradient_of_the_loss_is_that_of_the_return_with_the_sign_of_a_loss(candidate, task):
    batch = every_episode(task)
    rows, steps = batch.mask.shape
    rewards = np.where(batch.mask, task.gamma ** np.arange(steps) * batch.rewards, 0)
    credit = rewards[:, ::-1].cumsum(axis=1)[:, ::-1]  # exact: gamma is a power of two
    _, slopes = candidate.policy_gradient_loss(np.log(task.policy)[batch.states, batch.actions], credit, batch.mask)
    chained = np.zeros(task.shape, dtype=object)
    for b, t in np.argwhere(batch.mask):
        s, a = batch.states[b, t], batch.actions[b, t]
        chained[s] += exactly(slopes.value[b, t]) * rationals(fractions(score(task.pi[s], a)))
    expected = rationals(fractions(derivative_of_return(task))) * Fraction(-rows, chosen_size(candidate, batch.mask))
    # Each derivative is an advantage that was divided once or twice; no component of a score exceeds 1.
    largest = np.abs(credit[batch.mask]).sum() / chosen_size(candidate, batch.mask)
    allowed = tolerance(magnitude=largest, roundings=8, roundoff=slopes.roundoff)
    message = (
        f"d_logp is {chained.astype(float).tolist()} in the logits, the gradient {expected.astype(float).tolist()}"
    )
    law((abs(chained - expected) <= allowed).all(), slopes, message)


@clause("PG-37")
@given(scored_batches(), whatever, st.integers(0, 2))
def test_what_stands_under_the_mask_and_how_much_of_it_changes_no_loss(candidate, batch, junk, columns):
    wide = batch.padded(columns, junk)
    assume(not wide.mask.all())
    loss, slopes = candidate.policy_gradient_loss(*batch.arrays)
    of_padding = np.zeros((len(batch.mask), columns))
    expected = loss, np.concatenate([np.where(batch.mask, slopes.value, 0), of_padding], axis=1)
    judged = batch.judged | {"roundings": 2 * wide.judged["roundings"]}
    agree(candidate.policy_gradient_loss(*wide.arrays), expected, **judged)


@clause("PG-38")
@given(scored_batches(), not_numbers)
def test_the_loss_survives_what_is_not_a_number_under_the_mask(candidate, batch, junk):
    assume(not batch.mask.all())
    answer = candidate.demand(OPERATIONS["policy_gradient_loss"], *batch.padded(0, junk).arrays)
    agree(answer, candidate.policy_gradient_loss(*batch.arrays), **batch.judged)


@clause("PG-39", examples=60)
@given(scored_batches())
def test_where_nothing_counts_the_loss_and_its_gradient_are_zero(candidate, batch):
    nothing = replace(batch, mask=np.zeros_like(batch.mask))
    answer = candidate.demand(OPERATIONS["policy_gradient_loss"], *nothing.arrays)
    agree(answer, (0, np.zeros(batch.mask.shape)), magnitude=0, roundings=1)
