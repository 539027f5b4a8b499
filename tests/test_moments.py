"""Moments and gradients in float64 and at size: how far they are from the rationals, and where there are none."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
from flint import fmpq
from hypothesis import given, settings
from scipy.sparse import csr_matrix

from rlspec import large, sparse
from rlspec.properties.processes import fractions, softmax_roundings, tasks
from rlspec.properties.test_critics import (
    estimates,
    group_estimates,
    listed_moments,
    same,
    unrolled,
    with_own,
    without_own,
)
from rlspec.reference import moments
from rlspec.reference.critics import generalized, n_step
from rlspec.reference.decision_process import TabularMDP, trajectories
from rlspec.reference.policy_gradient import (
    discounted_reward_to_go,
    exact_policy_gradient,
    per_decision,
    policy_gradient,
    undiscounted_reward_to_go,
    whole_return,
    with_baseline,
)

MANY = settings(max_examples=150, derandomize=True, database=None, deadline=None)
UNIT = 2.0**-53


def in_floats(numbers):
    return np.array(fractions(numbers.tolist()), dtype=float)


def both(task):
    """The task in float64, the same in rationals."""
    floats = TabularMDP(task.transition, task.reward, task.initial, float(task.gamma), task.horizon)
    return moments.process(floats, task.policy), moments.process(task.mdp, task.pi)


def roundings(task):
    """The roundings on the way to one component of a covariance.

    A step back forms, for each of four means, products over successors and actions of up to four factors, three terms
    each; a finite horizon does so H times, and an infinite one solves three triangular systems in its place.  The
    second moment then sums over steps, states and actions; twice, for the mean and its square.
    """
    states, actions = task.shape
    return 2 * (task.horizon or 3) * 4 * 3 * (states + actions + 4) + 2 * (task.horizon or 1) * states * actions


def scale(task, values, baselines):
    """What no sum of absolute terms on the way to E[ghat ghat^T] exceeds.

    |delta| is at most r + gamma v + v; G adds up H of them and X as many products of G - b with scores, at most 1 in
    each component; the square has as many again.  The steps of a solve may enlarge an error by the conditioning, twice.
    """
    error = float(np.abs(task.reward).max() + 2 * np.abs(np.array(values, dtype=float)).max())
    credit = error * task.patience + float(np.abs(np.array(baselines, dtype=float)).max())
    return 4 * (credit * task.patience) ** 2 * task.conditioning**2


@MANY
@given(tasks())
def test_float64_is_off_by_rounding(task):
    found, exact = both(task)
    for make in (lambda of: moments.reward_to_go(of, 1), lambda of: moments.n_step(of, 0, 2)):
        left, right = make(found), make(exact)
        allowed = roundings(task) * UNIT * scale(task, left.values, left.baselines)
        for x, y in zip(moments.moments(found, left), moments.moments(exact, right), strict=True):
            np.testing.assert_allclose(x, in_floats(y), rtol=0, atol=allowed)


@pytest.mark.parametrize("offset", [0, 10**6, 10**8])
def test_rewards_with_an_offset_lose_no_more_than_their_own_rounding(offset):
    """The values, up to H (offset + 4), are off by that times S + A + 2 roundings a step; an error delta by twice that.

    So G is off by H, and the estimate by H^2 times as much, and the covariance by that times twice a deviation.
    Second moments of the rewards themselves, whose squares are added up, lose more than a thousand times as much.
    """
    draw = np.random.default_rng(1)
    states, actions, horizon = 4, 3, 6
    transition = draw.integers(1, 5, (states, actions, states)).astype(object)
    transition = np.frompyfunc(Fraction, 2, 1)(transition, transition.sum(axis=2, keepdims=True))
    reward = np.frompyfunc(Fraction, 1, 1)(draw.integers(-3, 4, (states, actions)).astype(object)) + offset
    policy = [[Fraction(1, 4), Fraction(1, 4), Fraction(1, 2)]] * states
    exact_mdp = TabularMDP(transition, reward, [Fraction(1, 4)] * 4, 1, horizon)
    float_mdp = TabularMDP(transition.astype(float), reward.astype(float), [0.25] * 4, 1.0, horizon)
    exact, found = moments.process(exact_mdp, policy), moments.process(float_mdp, np.array(policy, dtype=float))
    pairs = [
        moments.moments(of, moments.reward_to_go(of, moments.exact_values(of)[:, :, None])) for of in (found, exact)
    ]
    pairs += [moments.leave_one_out(moments.episodes(of), 2) for of in (found, exact)]
    of_values = UNIT * horizon * (states + actions + 2) * horizon * (offset + 4)
    for left, right in (pairs[:2], pairs[2:]):
        allowed = 2 * horizon**2 * 2 * of_values * (float(right.variance) ** 0.5 + of_values)
        np.testing.assert_allclose(left.covariance, right.covariance.astype(float), rtol=0, atol=allowed)
    if offset:
        credit = moments.reward_to_go(found, moments.exact_values(found)[:, :, None])
        raw = replace(
            credit, values=0 * credit.values, baselines=credit.baselines + moments.exact_values(found)[:, :, None]
        )
        errors = [
            np.abs(moments.moments(found, each).covariance - pairs[1].covariance.astype(float)).max()
            for each in (credit, raw)
        ]
        assert errors[1] > max(allowed, 1000 * errors[0])


@MANY
@given(tasks(infinite=False))
def test_sparse_and_dense_products_agree_with_the_rationals(task):
    states, actions = task.shape
    exact = np.array(fractions(exact_policy_gradient(task.mdp, task.pi)), dtype=float)
    rows = csr_matrix(task.transition.reshape(states * actions, states))
    # Occupancy, of size patience, times a difference of values; each is a recursion.
    allowed = 2 * task.roundings * UNIT * 2 * task.worth * task.patience
    tables = task.reward, task.initial, task.policy, float(task.gamma), task.horizon
    for _, gradient in (
        large.return_and_gradient(task.transition, *tables), large.return_and_gradient(rows, *tables)
    ):  # fmt: skip
        np.testing.assert_allclose(gradient, exact, rtol=0, atol=allowed)


@MANY
@given(tasks(finite=False))
def test_the_sparse_factorisation_agrees_with_the_rationals(task):
    states, actions = task.shape
    rows = csr_matrix(task.transition.reshape(states * actions, states))
    tables = task.reward, task.initial, task.policy, float(task.gamma)
    value, gradient = large.return_and_gradient(rows, *tables)
    exact = np.array(fractions(exact_policy_gradient(task.mdp, task.pi)), dtype=float)
    roundings = 2 * task.roundings + 6 * softmax_roundings(actions)
    allowed = roundings * UNIT * 2 * task.worth * task.patience * task.conditioning**2
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=allowed)
    assert value == pytest.approx(float(task.initial @ np.array(fractions(values(task)), dtype=float)), abs=allowed)


def values(task):
    return moments.exact_values(moments.process(task.mdp, task.pi))[0].tolist()


def test_ten_thousand_states_on_a_grid_are_solved_to_their_last_digits():
    """One may go any of four ways on a torus, with random rewards; the residuals bound the errors."""
    rows, tables = grid(100)
    of_values, of_visits = large.residuals(rows, *tables)
    worth = np.abs(tables[0]).max() / (1 - tables[3])
    # A residual is a handful of roundings of numbers no larger than the values, plus the factorisation's few dozen.
    assert of_values <= 100 * UNIT * worth / (1 - tables[3])
    assert of_visits <= 100 * UNIT / (1 - tables[3]) ** 2
    _, gradient = large.return_and_gradient(rows, *tables)
    _, later = large.return_and_gradient(rows, *tables, horizon=600)
    np.testing.assert_allclose(gradient, later, rtol=0, atol=2 * worth * 600 * tables[3] ** 600)


def grid(side):
    states = side * side
    x, y = np.divmod(np.arange(states), side)
    reached = [((x + dx) % side) * side + (y + dy) % side for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    rows = csr_matrix((np.ones(4 * states), np.stack(reached, axis=1).ravel(), np.arange(4 * states + 1)))
    draw = np.random.default_rng(0)
    policy = draw.random((states, 4))
    policy /= policy.sum(axis=1, keepdims=True)
    return rows, (draw.standard_normal((states, 4)), np.full(states, 1 / states), policy, 0.95)


@pytest.mark.parametrize("gamma", [0, 1])
def test_deterministic_policies_and_states_that_nobody_reaches(gamma):
    mdp = TabularMDP([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], [[1, 5], [7, 7]], [1, 0], gamma, 3)
    of = moments.process(mdp, [[1, 0], [Fraction(1, 2), Fraction(1, 2)]])
    for found in (moments.moments(of, moments.reward_to_go(of)), moments.whole_return(of)):
        assert not found.mean.any()
        assert not found.covariance.any()
    assert not moments.best_baselines(of).curvature.any()
    assert not moments.best_baselines(of).vertex.any()


def test_integers_are_not_divided_into_floats():
    of = moments.process(TabularMDP([[[1], [1]]], [[1, 0]], [1], 1, 1), [[1, 0]], behaviour=[[1, 0]])
    found = moments.moments(of, moments.per_decision(of))
    assert {type(number) for number in found.covariance.flat} <= {int, Fraction}


def test_one_float_makes_all_of_it_float64():
    mdp = TabularMDP([[[1], [1]]], [[1, 0]], [1], 1, 1)
    of = moments.process(mdp, [[0.5, Fraction(1, 2)]])
    assert {of.transition.dtype, of.scores.dtype, of.policy.dtype} == {np.dtype(float)}


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(tasks(infinite=False), st.lists(st.integers(-3, 3), min_size=12, max_size=12), st.sampled_from([0, 1, 2, 3, 4]))
def test_every_estimator_of_the_family_has_the_moments_of_the_list(task, numbers, quarters):
    """In rationals and without a tolerance: the recursion beside a list of all trajectories."""
    mdp, pi, (states, actions), lam = task.mdp, task.pi, task.shape, fmpq(quarters, 4)
    critic = [list(map(fmpq, numbers[3 * t : 3 * t + states])) for t in range(task.horizon)]
    own, b = moments.process(mdp, pi), critic[0]
    mu = [[fmpq(1 + (s + a) % 2) for a in range(actions)] for s in range(states)]
    mu = [[x / sum(row) for x in row] for row in mu]
    off, column = moments.process(mdp, pi, behaviour=mu), np.array(b, dtype=object)[:, None]
    family = {
        "reward-to-go": (moments.reward_to_go(own), discounted_reward_to_go),
        "without gamma^t": (moments.reward_to_go(own, 0, 1), undiscounted_reward_to_go),
        "state baselines": (moments.reward_to_go(own, column), with_baseline(lambda s, a: b[s])),
        "GAE": (moments.generalized(own, critic, lam), generalized(critic, lam)),
        "one step": (moments.generalized(own, critic, 0), generalized(critic, fmpq(0))),
        "two steps": (moments.n_step(own, critic, 2), n_step(critic, 2)),
    }
    for name, (credit, weights) in family.items():
        assert same(moments.moments(own, credit), listed_moments(estimates(task, weights))), name
    listed = listed_moments(estimates(task, per_decision(pi, mu), mu))
    assert same(moments.moments(off, moments.per_decision(off)), listed)
    assert same(moments.whole_return(own), listed_moments(estimates(task, whole_return)))
    if len(list(trajectories(mdp, pi))) <= 20:
        known = moments.episodes(own)
        for group, centre in ((moments.leave_one_out, without_own), (moments.mean_centred, with_own)):
            assert same(group(known, 2), listed_moments(list(group_estimates(task, 2, centre))))
            together = [
                (start * p, x)
                for start, begun in zip(mdp.initial, np.eye(states), strict=True)
                for p, x in group_estimates(task.but(initial=begun), 2, centre)
            ]
            assert same(moments.of_one_start(own, lambda of, group=group: group(of, 2)), listed_moments(together))
    if mdp.gamma < 1:
        endless = moments.process(*unrolled(task))
        along = [[number for row in critic for number in row] + [0]]
        credit = moments.generalized(endless, along, lam)
        assert same(moments.moments(endless, credit), listed_moments(estimates(task, generalized(critic, lam))))


def test_what_has_no_moments_is_refused():
    endless = TabularMDP([[[1], [1]]], [[1, 0]], [1], Fraction(1, 2))
    even, uneven = [[Fraction(1, 2)] * 2], [[Fraction(1, 4), Fraction(3, 4)]]
    of = moments.process(endless, even)
    with pytest.raises(ValueError, match="an infinite horizon needs kappa and c below 1"):
        moments.moments(of, moments.reward_to_go(of, discount=1))
    with pytest.raises(ValueError, match="an infinite horizon needs kappa and c below 1"):
        moments.moments(of, replace(moments.reward_to_go(of), decay=1))
    with pytest.raises(ValueError, match="whole episodes have a finite horizon here"):
        moments.episodes(of)
    other = moments.process(endless, even, behaviour=uneven)
    with pytest.raises(ValueError, match="actions that are the policy's own"):
        moments.moments(other, moments.per_decision(other))
    with pytest.raises(ValueError, match=r"behaviour\[0\]\[1\] is 0 where policy\[0\]\[1\] is 1/2; no ratio exists"):
        moments.process(endless, even, behaviour=[[1, 0]])


TRANSITION = np.array([[[0.5, 0.5], [0, 1]], [[1, 0], [0.25, 0.75]]])
FITTING = {"transition": TRANSITION, "reward": np.eye(2), "initial": np.array([1.0, 0.0]), "gamma": 0.5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transition": TRANSITION[:, :, :1]}, r"transition has the shape \[2, 2, 1\] where \[2, 2, 2\] was expected"),
        ({"reward": np.ones((2, 3))}, r"reward has the shape \[2, 3\] where \[2, 2\] was expected"),
        ({"policy": np.full((3, 2), 0.5)}, r"policy has the shape \[3, 2\] where \[2, 2\] was expected"),
        ({"transition": TRANSITION * [[[1], [0.5]], [[1], [1]]]}, r"transition\[0\]\[1\] sums to 0.5; a distribution"),
        (
            {"transition": TRANSITION * [[[1], [1]], [[1], [np.nan]]]},
            r"transition\[1\]\[1\] sums to nan; a distribution",
        ),
        ({"initial": np.array([1.0, 1e-9])}, "initial sums to 1.000000001; a distribution must sum to 1"),
        ({"policy": np.array([[0.5, 0.5], [1, 1]])}, r"policy\[1\] sums to 2.0; a distribution must sum to 1"),
        ({"gamma": 1.5}, "gamma is 1.5; a discount lies in"),
        ({"gamma": 1.0}, "gamma is 1.0 without a horizon|gamma is 1 without a horizon"),
    ],
)
def test_arrays_that_are_no_process_are_refused_by_name(changes, message):
    of = FITTING | {"policy": np.full((2, 2), 0.5)} | changes
    tables = of["transition"], of["reward"], of["initial"], of["policy"], of["gamma"]
    mdp = SimpleNamespace(**{name: of[name] for name in FITTING}, horizon=None)
    for refuses in (
        lambda: moments.process(mdp, of["policy"]),
        lambda: large.return_and_gradient(*tables),
    ):
        with pytest.raises(ValueError, match=message):
            refuses()


def test_sparse_tables_features_and_behaviours_are_refused_by_name():
    half, phi = np.full((2, 2), 0.5), np.ones((2, 2, 3))
    rows = csr_matrix(TRANSITION.reshape(4, 2))
    rest = np.eye(2), np.array([1.0, 0.0]), half, 0.5
    with pytest.raises(ValueError, match=r"transition has the shape \[4, 1\] where \[4, 2\] was expected"):
        large.return_and_gradient(rows[:, :1], *rest)
    with pytest.raises(ValueError, match=r"transition\[0\] sums to 2.0"):
        sparse.process(2 * rows, *rest, None, phi)
    with pytest.raises(ValueError, match=r"features has the shape \[1, 2, 3\] where \[2, 2, 3\] was expected"):
        sparse.process(rows, *rest, None, phi[:1])
    mdp = SimpleNamespace(**FITTING, horizon=None)
    with pytest.raises(ValueError, match=r"features has the shape \[1, 2, 3\] where \[2, 2, 3\] was expected"):
        moments.process(mdp, half, phi[:1])
    with pytest.raises(ValueError, match=r"behaviour\[0\] sums to 2.0"):
        moments.process(mdp, half, behaviour=2 * half)


@MANY
@given(tasks(), st.lists(st.integers(-4, 4), min_size=3 * 9, max_size=3 * 9))
def test_sparse_tables_and_features_have_the_moments_that_the_rationals_say(task, numbers):
    states, actions = task.shape
    phi = np.array(numbers, dtype=object).reshape(3, 3, 3)[:states, :actions]
    exact = moments.process(task.mdp, task.pi, phi)
    rows = csr_matrix(task.transition.reshape(states * actions, states))
    tables = task.reward, task.initial, task.policy, float(task.gamma), task.horizon
    found = sparse.process(rows, *tables, phi.astype(float))
    for make in (lambda of: moments.reward_to_go(of, 1), lambda of: moments.n_step(of, 0, 2)):
        left, right = make(found), make(exact)
        # Scores of such features are at most 8, where a table's are at most 1, and enter twice.
        allowed = 8**2 * roundings(task) * UNIT * scale(task, left.values, left.baselines)
        for x, y in zip(moments.moments(found, left), moments.moments(exact, right), strict=True):
            np.testing.assert_allclose(x, in_floats(y), rtol=0, atol=allowed)


def test_a_finite_horizon_approaches_the_infinite_one():
    mdp = TabularMDP([[[0.5, 0.5], [0, 1]], [[1, 0], [0.25, 0.75]]], [[1, 0], [-2, 3]], [0.5, 0.5], 0.75)
    policy = [[0.5, 0.5], [0.25, 0.75]]
    of, long = moments.process(mdp, policy), moments.process(replace(mdp, horizon=200), policy)
    for make in (moments.reward_to_go, lambda each: moments.generalized(each, 1, 0.5)):
        for x, y in zip(moments.moments(of, make(of)), moments.moments(long, make(long)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


def test_a_hundred_thousand_samples_agree_within_their_own_scatter():
    """The one test with noise: of the mean of n samples, whose variance is Cov / n, five standard deviations."""
    mdp = TabularMDP([[[0.5, 0.5], [0, 1]], [[1, 0], [0.25, 0.75]]], [[1, 0], [-2, 3]], [0.5, 0.5], 0.75, 3)
    policy = [[0.5, 0.5], [0.25, 0.75]]
    of = moments.process(mdp, policy)
    found = moments.moments(of, moments.reward_to_go(of, [[1], [2]]))
    listed = [
        (p, np.array(policy_gradient(policy, *episode, 0.75, with_baseline(lambda s, a: 1 + s))).ravel())
        for p, *episode in trajectories(mdp, policy)
    ]
    chances, outcomes = zip(*listed, strict=True)
    drawn = np.random.default_rng(0).choice(len(chances), 100_000, p=np.array(chances) / sum(chances))
    sample = np.array(outcomes)[drawn]
    within = 5 * np.sqrt(np.diag(found.covariance) / len(sample)) + 1e-12
    assert (np.abs(sample.mean(axis=0) - found.mean) <= within).all()
