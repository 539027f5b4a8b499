"""Properties of critics and of how estimates scatter (spec/critics.md)."""

from fractions import Fraction
from itertools import product as every
from math import prod
from operator import mul

import hypothesis.strategies as st
import numpy as np
from flint import fmpq_series
from hypothesis import assume, given

from rlspec.properties.checking import clause
from rlspec.properties.processes import (
    MOST_ACTIONS,
    MOST_STATES,
    MOST_STEPS,
    derivative_of_return,
    other_policy,
    tasks,
)
from rlspec.reference import moments
from rlspec.reference.critics import explained_variance, generalized, generalized_bias, n_step, n_step_bias
from rlspec.reference.decision_process import (
    TabularMDP,
    action_values,
    expected_return,
    occupancy,
    state_values,
    trajectories,
)
from rlspec.reference.differentiation import rational
from rlspec.reference.natural_gradient import (
    fisher,
    fisher_of_features,
    gradient_of_features,
    natural_direction,
    natural_gradient,
    times,
)
from rlspec.reference.policy_gradient import (
    credited,
    expected_gradient,
    per_decision,
    policy_gradient,
    score,
    undiscounted_reward_to_go,
    whole_return,
    with_baseline,
)
from rlspec.reference.returns import reward_to_go
from rlspec.reference.variance import best_constant, in_baseline, variance

finite = tasks(full=True, infinite=False)
either = tasks(full=True)
baselines = st.tuples(*[st.integers(-9, 9)] * MOST_STATES)
directions = st.lists(st.tuples(*[st.integers(-9, 9)] * MOST_ACTIONS), min_size=MOST_STATES, max_size=MOST_STATES)
behaviours = st.binary(min_size=MOST_STATES, max_size=MOST_STATES)
critics = st.lists(baselines, min_size=MOST_STEPS, max_size=MOST_STEPS)
mixtures = st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(0), Fraction(1)])


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


@clause("CRIT-1", examples=60)
@given(finite, baselines)
def test_the_bias_of_any_weights_is_what_they_expect_beyond_the_actions_value(task, numbers):
    def arbitrary(states, actions, rewards, gamma):
        return [numbers[states[-1]] * (1 + actions[0]) + t * rewards[-1] * actions[t] for t in range(len(actions))]

    powers, values = discounts_and_values(task)
    bias = excess(expected_gradient(task.mdp, task.pi, arbitrary), derivative_of_return(task))
    assert bias == credited(task.pi, visits(task), expected_weights(task, arbitrary) - powers * values)


@clause("CRIT-1", examples=60)
@given(finite)
def test_without_gamma_to_the_t_the_bias_is_what_late_steps_count_too_much(task):
    powers, values = discounts_and_values(task)
    bias = excess(expected_gradient(task.mdp, task.pi, undiscounted_reward_to_go), derivative_of_return(task))
    assert bias == credited(task.pi, visits(task), (1 - powers) * values)


@clause("CRIT-1", examples=60)
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


@clause("CRIT-2", examples=60)
@given(finite, critics, st.integers(1, MOST_STEPS + 1))
def test_the_bias_of_an_n_step_actor_critic_is_its_critics_error_n_steps_on(task, numbers, n):
    critic, errors = critic_and_errors(task, numbers)
    bias = excess(expected_gradient(task.mdp, task.pi, n_step(critic, n)), derivative_of_return(task))
    assert bias == n_step_bias(task.mdp, task.pi, errors, n)


@clause("CRIT-2", "CRIT-3", examples=60)
@given(finite, st.integers(1, MOST_STEPS + 1), mixtures)
def test_with_the_exact_values_every_actor_critic_is_unbiased(task, n, lam):
    values, gradient = state_values(task.mdp, task.pi), derivative_of_return(task)
    for estimate in (n_step(values, n), generalized(values, rational(lam))):
        assert expected_gradient(task.mdp, task.pi, estimate) == gradient


@clause("CRIT-2", "CRIT-3", examples=60)
@given(finite, critics, st.integers(0, 1))
def test_with_all_the_rewards_there_are_no_critic_does_harm(task, numbers, beyond):
    critic, gradient = critic_and_errors(task, numbers)[0], derivative_of_return(task)
    for estimate in (n_step(critic, task.horizon + beyond), generalized(critic, 1)):
        assert expected_gradient(task.mdp, task.pi, estimate) == gradient


@clause("CRIT-3", examples=60)
@given(finite, critics, mixtures)
def test_the_bias_of_gae_is_the_geometric_mixture_of_the_biases_of_n_steps(task, numbers, lam):
    critic, errors = critic_and_errors(task, numbers)
    bias = excess(expected_gradient(task.mdp, task.pi, generalized(critic, rational(lam))), derivative_of_return(task))
    assert bias == generalized_bias(task.mdp, task.pi, errors, rational(lam))


def variance_with(task, baseline):
    """The variance of reward-to-go with a number for each state as its baseline, by listing every trajectory."""
    return variance(task.mdp, task.pi, with_baseline(lambda state, action: baseline[state]))


@clause("CRIT-4", examples=60)
@given(finite, baselines)
def test_the_variance_is_a_parabola_in_each_states_baseline(task, numbers):
    curvature, vertex = in_baseline(task.mdp, task.pi)
    above = sum(c * (number - best) ** 2 for c, number, best in zip(curvature, numbers, vertex, strict=False))
    assert variance_with(task, numbers) == variance_with(task, vertex) + above


@clause("CRIT-4", examples=60)
@given(finite, st.integers(-9, 9))
def test_the_best_constant_is_the_mean_of_the_best_numbers_by_their_curvature(task, constant):
    curvature, vertex = in_baseline(task.mdp, task.pi)
    assume(sum(curvature) > 0)
    best = sum(c * number for c, number in zip(curvature, vertex, strict=True)) / sum(curvature)
    above = variance_with(task, [constant] * task.shape[0]) - variance_with(task, [best] * task.shape[0])
    assert above == sum(curvature) * (constant - best) ** 2


@clause("CRIT-5", examples=60)
@given(finite, st.integers(-9, 9))
def test_the_variance_of_the_whole_return_is_a_parabola_in_a_constant_baseline(task, constant):
    assume(task.shape[1] > 1)

    def with_constant(number):
        return variance(task.mdp, task.pi, lambda *episode: [w - number for w in whole_return(*episode)])

    best = best_constant(task.mdp, task.pi)
    lengths = [1 - sum(p * p for p in row) for row in task.pi]  # E[|psi|^2], and scores of two steps are uncorrelated
    curvature = sum(p * length for row in visits(task) for p, length in zip(row, lengths, strict=True))
    assert with_constant(constant) == with_constant(best) + curvature * (constant - best) ** 2


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


@clause("CRIT-13", examples=60)
@given(finite, directions)
def test_the_fisher_matrix_is_the_mean_of_the_products_of_scores(task, numbers):
    change = along(cut(numbers, task), task.pi)

    def compatible(states, actions, rewards, gamma):
        return [gamma**t * change[s][a] for t, (s, a) in enumerate(zip(states, actions, strict=True))]

    assert times(fisher(task.mdp, task.pi), cut(numbers, task)) == expected_gradient(task.mdp, task.pi, compatible)


@clause("CRIT-13", examples=60)
@given(tasks(full=True, infinite=False, gammas=st.just(1.0)), directions)
def test_without_a_discount_it_is_the_information_that_a_trajectory_has(task, numbers):
    direction = cut(numbers, task)
    change = along(direction, task.pi)
    information = sum(
        probability * sum(change[s][a] for s, a in zip(states, actions, strict=True)) ** 2
        for probability, states, actions, _ in trajectories(task.mdp, task.pi)
    )
    assert product(direction, times(fisher(task.mdp, task.pi), direction)) == information


@clause("CRIT-14", examples=60)
@given(either)
def test_the_mean_advantages_solve_the_equation_of_the_natural_gradient(task):
    assert times(fisher(task.mdp, task.pi), natural_gradient(task.mdp, task.pi)) == derivative_of_return(task)


@clause("CRIT-14", examples=60)
@given(either, directions)
def test_a_direction_is_lost_only_where_it_is_the_same_for_all_actions_or_no_episode_comes(task, numbers):
    direction = cut(numbers, task)
    known = occupancy(task.mdp, task.pi)
    visited = [sum(column) > 0 for column in zip(*known, strict=True)] if task.horizon else [d > 0 for d in known]
    felt = any(met and len(set(row)) > 1 for met, row in zip(visited, direction, strict=True))
    assert any(number for row in times(fisher(task.mdp, task.pi), direction) for number in row) == felt


@clause("CRIT-15", examples=60)
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


@clause("CRIT-15", examples=60)
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


@clause("CRIT-6", examples=40)
@given(finite, baselines, st.booleans())
def test_the_covariance_of_reward_to_go_is_the_one_over_all_trajectories(task, numbers, discounting):
    given = moments.process(task.mdp, task.pi)
    credit = moments.reward_to_go(given, table_of(numbers, task), None if discounting else 1)

    def with_numbers(states, actions, rewards, gamma):
        returns = reward_to_go(rewards, gamma)
        powers = [gamma**t if discounting else 1 for t, _ in enumerate(returns)]
        return [k * (g - numbers[s]) for k, g, s in zip(powers, returns, states, strict=True)]

    assert same(moments.moments(given, credit), listed_moments(estimates(task, with_numbers)))


@clause("CRIT-6", examples=40)
@given(tasks(infinite=False), critics, mixtures)
def test_the_covariance_of_gae_is_the_one_over_all_trajectories(task, numbers, lam):
    given, critic = moments.process(task.mdp, task.pi), critic_of(numbers, task)
    credit = moments.generalized(given, critic, rational(lam))
    assert same(moments.moments(given, credit), listed_moments(estimates(task, generalized(critic, rational(lam)))))


@clause("CRIT-7", examples=40)
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


@clause("CRIT-8", examples=40)
@given(tasks(infinite=False), st.integers(2, 4), st.booleans())
def test_the_covariance_of_a_group_is_that_of_a_u_statistic(task, size, leaving_out):
    while task.horizon > 1 and len(list(trajectories(task.mdp, task.pi))) ** 2 > 400:
        task = task.but(horizon=task.horizon - 1)
    while size > 2 and len(list(trajectories(task.mdp, task.pi))) ** size > 400:
        size -= 1
    known = moments.episodes(moments.process(task.mdp, task.pi))
    answer = (moments.leave_one_out if leaving_out else moments.mean_centred)(known, size)
    assert same(answer, listed_moments(list(group_estimates(task, size, without_own if leaving_out else with_own))))


@clause("CRIT-9", examples=40)
@given(tasks(infinite=False), critics, st.integers(1, MOST_STEPS + 1))
def test_the_covariance_of_n_steps_is_the_one_over_all_trajectories(task, numbers, n):
    given, critic = moments.process(task.mdp, task.pi), critic_of(numbers, task)
    answer = moments.moments(given, moments.n_step(given, critic, n))
    assert same(answer, listed_moments(estimates(task, n_step(critic, n))))


@clause("CRIT-10", examples=40)
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


@clause("CRIT-11", examples=40)
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


@clause("CRIT-12", examples=40)
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


@clause("CRIT-12", examples=40)
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


@clause("CRIT-16", examples=40)
@given(finite, features, baselines)
def test_the_moments_with_features_are_those_of_the_table_seen_through_them(task, data, numbers):
    phi = np.array(features_of(data, task), dtype=object).reshape(-1, 3)
    answer = moments.process(task.mdp, task.pi, features_of(data, task))
    mean, covariance = moments.moments(answer, moments.reward_to_go(answer, table_of(numbers, task)))
    listed = estimates(task, with_baseline(lambda state, action: numbers[state]))
    assert same((mean, covariance), listed_moments([(p, phi.T @ x) for p, x in listed]))


@clause("CRIT-16", examples=40)
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


@clause("CRIT-17", examples=40)
@given(finite, features)
def test_a_compatible_critic_of_features_gives_the_gradient_though_it_is_no_advantage(task, data):
    given = moments.process(task.mdp, task.pi, features_of(data, task))
    critic = (given.scores @ natural_direction(given)).tolist()

    def compatible(states, actions, rewards, gamma):
        return [gamma**t * critic[s][a] for t, (s, a) in enumerate(zip(states, actions, strict=True))]

    phi = np.array(features_of(data, task), dtype=object)
    mean = np.array(expected_gradient(task.mdp, task.pi, compatible), dtype=object)
    assert np.tensordot(mean, phi, 2).tolist() == gradient_of_features(given).tolist()


@clause("CRIT-17", examples=40)
@given(finite_or_discounted, features)
def test_the_natural_direction_solves_its_equation_whatever_the_features(task, data):
    given = moments.process(task.mdp, task.pi, features_of(data, task))
    assert (fisher_of_features(given) @ natural_direction(given)).tolist() == gradient_of_features(given).tolist()


def covariance(numbers, others):
    """Half the mean of (x_i - x_j) (y_i - y_j) over all pairs, which needs no mean."""
    both = list(zip(map(Fraction, numbers), map(Fraction, others), strict=True))
    return sum((x - z) * (y - w) for x, y in both for z, w in both) / (2 * len(both) ** 2)


@clause("CRIT-18", examples=60)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=6), st.integers(-9, 9))
def test_the_explained_variance_is_what_the_values_take_off_the_spread_of_the_returns(pairs, constant):
    values, returns = map(list, zip(*pairs, strict=True))
    assume(len(set(returns)) > 1)
    explained, spread = explained_variance(values, returns), covariance(returns, returns)
    residuals = [target - value for value, target in pairs]
    assert explained == 1 - covariance(residuals, residuals) / spread
    assert explained <= 1
    assert (explained == 1) == (len(set(residuals)) == 1)
    assert explained_variance([constant] * len(values), returns) == 0
    assert explained_variance([value + constant for value in values], returns) == explained
    assert explained_variance([-constant * target for target in returns], returns) == 1 - (1 + constant) ** 2
    if len(set(values)) > 1:
        slope = covariance(values, returns) / covariance(values, values)
        best = explained_variance([slope * value for value in values], returns)
        assert best == slope * covariance(values, returns) / spread >= explained
