"""J and grad J by routes that share nothing but the process: they must agree, and in rationals exactly."""

from fractions import Fraction

import flint
import hypothesis.strategies as st
import numpy as np
import pytest
import sympy
import torch
from flint import fmpq
from hypothesis import given, settings

from rlspec import large
from rlspec.properties.processes import Task, fractions, softmax_roundings, tasks
from rlspec.reference.decision_process import (
    TabularMDP,
    action_values,
    checked_policy,
    evaluation,
    expected_return,
    occupancy,
    state_values,
    trajectories,
)
from rlspec.reference.differentiation import (
    derivatives_in_logits,
    gradient_of_polynomial,
    rational,
    rational_process,
    return_polynomial,
)
from rlspec.reference.distributions import softmax
from rlspec.reference.linear_algebra import lu, solve, solve_transposed
from rlspec.reference.policy_gradient import (
    discounted_reward_to_go,
    exact_policy_gradient,
    expected_gradient,
    return_and_gradient,
    score,
    through_softmax,
    undiscounted_reward_to_go,
    whole_return,
    with_baseline,
)

HALF = Fraction(1, 2)
TWO_STATES = TabularMDP(
    transition=[[[1, 0], [HALF, HALF]], [[0, 1], [1, 0]]],
    reward=[[1, 0], [-2, 3]],
    initial=[HALF, HALF],
    gamma=HALF,
    horizon=3,
)
POLICY = [[HALF, HALF], [Fraction(1, 4), Fraction(3, 4)]]
ROUTES = settings(max_examples=60, derandomize=True, database=None, deadline=None)


def flat(table):
    return [number for row in table for number in row]


@ROUTES
@given(tasks(full=True, infinite=False))
def test_all_rational_routes_to_the_gradient_are_equal(task):
    mdp, pi = task.mdp, task.pi
    gradient = exact_policy_gradient(mdp, pi)
    assert expected_gradient(mdp, pi, whole_return) == gradient
    assert expected_gradient(mdp, pi, discounted_reward_to_go) == gradient
    assert expected_gradient(mdp, pi, with_baseline(lambda state, action: 5 - 2 * state)) == gradient
    assert gradient_of_polynomial(mdp, pi) == gradient
    assert derivatives_in_logits(lambda policy: expected_return(mdp, policy), pi) == gradient


@ROUTES
@given(tasks(full=True, finite=False))
def test_with_an_infinite_horizon_the_factorisation_and_the_derivative_of_the_solve_agree(task):
    gradient = exact_policy_gradient(task.mdp, task.pi)
    assert derivatives_in_logits(lambda policy: expected_return(task.mdp, policy), task.pi) == gradient


@ROUTES
@given(tasks(finite=False))
def test_the_generic_factorisation_solves_as_flint_does(task):
    mdp, pi = task.mdp, task.pi
    states, actions = map(range, task.shape)
    chain = [[sum(pi[s][a] * mdp.transition[s][a][t] for a in actions) for t in states] for s in states]
    system = flint.fmpq_mat([[(s == t) - mdp.gamma * chain[s][t] for t in states] for s in states])
    paid = flint.fmpq_mat(
        [[sum(p * r for p, r in zip(*rows, strict=True))] for rows in zip(pi, mdp.reward, strict=True)]
    )
    begun = flint.fmpq_mat([[p] for p in mdp.initial])
    assert state_values(mdp, pi) == flat(system.solve(paid).tolist())
    assert occupancy(mdp, pi) == flat(system.transpose().solve(begun).tolist())


@ROUTES
@given(tasks(finite=False), st.integers(1, 30))
def test_an_infinite_horizon_differs_from_a_finite_one_by_the_tail_at_most(task, horizon):
    cut = task.but(horizon=horizon)
    tail = max(map(abs, flat(task.mdp.reward))) * task.mdp.gamma**horizon / (1 - task.mdp.gamma)
    assert abs(expected_return(task.mdp, task.pi) - expected_return(cut.mdp, task.pi)) <= tail


@ROUTES
@given(tasks(full=True))
def test_autograd_of_the_dynamic_programme_agrees_to_rounding(task):
    logits = torch.tensor(task.logits, requires_grad=True)
    mdp = TabularMDP(task.transition, task.reward, task.initial, task.gamma, task.horizon)
    expected_return(mdp, [list(row) for row in torch.softmax(logits, dim=1)]).backward()
    exact = np.array(fractions(exact_policy_gradient(task.mdp, task.pi)), dtype=float)
    # The derivative of each rounded operation is itself a few operations: reverse mode at most quadruples their number.
    roundings = 4 * (2 * task.roundings + softmax_roundings(task.shape[1]))
    tolerance = roundings * 2.0**-53 * 2 * task.worth * task.patience * task.conditioning**2
    np.testing.assert_allclose(logits.grad.numpy(), exact, rtol=0, atol=tolerance)


@ROUTES
@given(tasks(full=True, finite=False))
def test_the_dense_route_agrees_to_rounding(task):
    value, gradient = large.return_and_gradient(task.transition, task.reward, task.initial, task.policy, task.gamma)
    exact_value, exact_gradient = return_and_gradient(task.mdp, task.pi)
    tolerance = 2 * task.roundings * 2.0**-53 * 2 * task.worth * task.patience * task.conditioning**2
    assert value == pytest.approx(float(fractions(exact_value)), rel=0, abs=tolerance)
    np.testing.assert_allclose(gradient, np.array(fractions(exact_gradient), dtype=float), rtol=0, atol=tolerance)


@ROUTES
@given(tasks(full=True, infinite=False))
def test_an_action_dependent_baseline_shifts_the_mean_by_the_gradient_it_takes_away(task):
    def baseline(state, action):
        return action - 2 * state

    mdp, pi = task.mdp, task.pi
    visits = [sum(column) for column in zip(*occupancy(mdp, pi), strict=True)]
    taken = [[visits[s] * baseline(s, a) for a, _ in enumerate(row)] for s, row in enumerate(pi)]
    mean, gradient = expected_gradient(mdp, pi, with_baseline(baseline)), exact_policy_gradient(mdp, pi)
    bias = through_softmax(pi, taken)
    assert [[g - m for g, m in zip(*rows, strict=True)] for rows in zip(gradient, mean, strict=True)] == bias
    assert any(flat(bias)) == any(visit and len(row) > 1 for visit, row in zip(visits, pi, strict=True))


def test_dropping_the_discount_of_the_step_is_biased_unless_gamma_is_one():
    assert expected_gradient(TWO_STATES, POLICY, undiscounted_reward_to_go) != exact_policy_gradient(TWO_STATES, POLICY)
    whole = TabularMDP(TWO_STATES.transition, TWO_STATES.reward, TWO_STATES.initial, 1, 3)
    assert expected_gradient(whole, POLICY, undiscounted_reward_to_go) == exact_policy_gradient(whole, POLICY)


@ROUTES
@given(tasks())
def test_an_evaluation_is_the_three_tables_of_its_name(task):
    mdp, pi = task.mdp, task.pi
    assert evaluation(mdp, pi) == (state_values(mdp, pi), action_values(mdp, pi), occupancy(mdp, pi))


@ROUTES
@given(tasks(infinite=False))
def test_trajectories_are_distinct_possible_and_exhaust_the_probability(task):
    listed = list(trajectories(task.mdp, task.pi))
    assert sum(probability for probability, *_ in listed) == 1
    assert all(probability > 0 for probability, *_ in listed)
    assert len({(states, actions) for _, states, actions, _ in listed}) == len(listed)
    assert all(len(part) == task.horizon for _, *parts in listed for part in parts)


def with_horizon(mdp, horizon):
    return TabularMDP(mdp.transition, mdp.reward, mdp.initial, mdp.gamma, horizon)


def converted(table, kind):
    return [converted(entry, kind) for entry in table] if isinstance(table, list | tuple) else kind(table)


def converted_process(mdp, kind):
    tables = (converted(table, kind) for table in (mdp.transition, mdp.reward, mdp.initial))
    return TabularMDP(*tables, kind(mdp.gamma), mdp.horizon)


def as_fraction(number):
    return Fraction(int(number.numerator), int(number.denominator))


@pytest.mark.parametrize("horizon", [3, None])
@pytest.mark.parametrize(
    "kind",
    [
        rational,
        lambda x: sympy.Rational(x.numerator, x.denominator),
        lambda x: sympy.QQ(x.numerator, x.denominator),
        lambda x: x if x.denominator > 1 else int(x),
    ],
    ids=["flint", "SymPy Rational", "SymPy QQ", "int among Fractions"],
)
def test_the_same_code_runs_on_every_kind_of_rational(kind, horizon):
    mdp = with_horizon(TWO_STATES, horizon)
    value, gradient = return_and_gradient(converted_process(mdp, kind), converted(POLICY, kind))
    exact = return_and_gradient(mdp, POLICY)
    assert (as_fraction(value), [[as_fraction(number) for number in row] for row in gradient]) == exact


@pytest.mark.parametrize("horizon", [3, None])
@pytest.mark.parametrize(
    "kind", [float, np.float64, lambda x: torch.tensor(float(x), dtype=torch.float64)], ids=["float", "NumPy", "torch"]
)
def test_the_same_code_runs_on_every_kind_of_float(kind, horizon):
    mdp = with_horizon(TWO_STATES, horizon)
    value, gradient = return_and_gradient(converted_process(mdp, kind), converted(POLICY, kind))
    exact_value, exact_gradient = return_and_gradient(mdp, POLICY)
    # With probabilities and a discount that are dyadic, only the division of the infinite horizon rounds.
    rounding = 0 if horizon else 1e-15
    assert float(value) == pytest.approx(float(exact_value), rel=rounding, abs=rounding)
    np.testing.assert_allclose(converted(gradient, float), converted(exact_gradient, float), rtol=0, atol=rounding)


def test_arrays_of_objects_and_of_integers_are_read_as_python_numbers():
    transition = np.array(TWO_STATES.transition, dtype=object)
    mdp = TabularMDP(transition, np.array([[1, 0], [-2, 3]]), np.array([1, 0]), np.int64(1), np.int64(3))
    assert all(type(number) is int for number in flat(mdp.reward))
    assert type(mdp.gamma) is int
    assert expected_return(mdp, np.array(POLICY, dtype=object)) == expected_return(
        TabularMDP(TWO_STATES.transition, TWO_STATES.reward, [1, 0], 1, 3), POLICY
    )


def test_integers_stay_exact_without_a_future():
    mdp = TabularMDP([[[0, 1]], [[1, 0]]], [[3], [5]], [1, 0], 0)
    assert all(type(number) is int for number in [*state_values(mdp, [[1], [1]]), *occupancy(mdp, [[1], [1]])])


def test_symbols_give_closed_forms():
    p, q, g, r = sympy.symbols("p q gamma r")
    mdp = TabularMDP([[[1 - p, p]], [[0, 1]]], [[r], [0]], [1, 0], g)
    policy = [[1], [1]]
    assert sympy.simplify(expected_return(mdp, policy) - r / (1 - g * (1 - p))) == 0
    mdp = with_horizon(TWO_STATES, 2)
    symbolic = sympy.expand(expected_return(mdp, [[1 - p, p], [1 - q, q]]))
    for p_, q_ in [(HALF, HALF), (0, 1), (Fraction(1, 4), Fraction(1, 8))]:
        exact = symbolic.subs({p: sympy.Rational(p_), q: sympy.Rational(q_)})
        assert as_fraction(exact) == expected_return(mdp, [[1 - p_, p_], [1 - q_, q_]])


def test_the_closed_form_is_the_same_polynomial_in_flint_and_in_sympy():
    mdp = TWO_STATES
    ring, *generators = sympy.ring("a b c d", sympy.QQ)
    polynomial = expected_return(
        converted_process(mdp, lambda x: sympy.QQ(x.numerator, x.denominator)), [generators[:2], generators[2:]]
    )
    assert polynomial.ring == ring
    assert {exponents: as_fraction(c) for exponents, c in polynomial.terms()} == {
        exponents: as_fraction(c) for exponents, c in return_polynomial(mdp).to_dict().items()
    }
    # Its derivative, through the softmax, is the derivative of the expression in exponentials of logits.
    logits = sympy.symbols("x:4")
    weights = [sympy.exp(logit) for logit in logits]
    policy = [[w / (weights[s] + weights[s + 1]) for w in weights[s : s + 2]] for s in (0, 2)]
    naive = sympy.diff(polynomial.as_expr().subs(dict(zip("abcd", flat(policy), strict=True))), logits[0])
    at = {logit: sympy.log(sympy.Rational(p)) for logit, p in zip(logits, flat(POLICY), strict=True)}
    assert as_fraction(sympy.simplify(naive.subs(at))) == as_fraction(gradient_of_polynomial(mdp, POLICY)[0][0])


@ROUTES
@given(st.integers(1, 5), st.data())
def test_one_factorisation_solves_a_dominant_system_and_its_transpose(size, data):
    entries = st.fractions(-2, 2, max_denominator=4)
    matrix = [data.draw(st.lists(entries, min_size=size, max_size=size)) for _ in range(size)]
    for i, row in enumerate(matrix):
        row[i] = 1 + sum(map(abs, row))
    right = data.draw(st.lists(entries, min_size=size, max_size=size))
    factors = lu(matrix)
    x, y = solve(factors, right), solve_transposed(factors, right)
    assert [sum(a * b for a, b in zip(row, x, strict=True)) for row in matrix] == right
    assert [sum(a * b for a, b in zip(column, y, strict=True)) for column in zip(*matrix, strict=True)] == right


def test_a_softmax_survives_large_logits_and_sums_to_one():
    assert softmax([1000.0, 0.0]) == [1.0, 0.0]
    assert softmax([0.0, 0.0]) == [0.5, 0.5]
    assert softmax([sympy.log(3), 0], sympy.exp) == [sympy.Rational(3, 4), sympy.Rational(1, 4)]


def test_the_score_is_the_action_less_the_policy():
    assert score([HALF, Fraction(1, 3), Fraction(1, 6)], 1) == [-HALF, Fraction(2, 3), -Fraction(1, 6)]


def malformed(**changes):
    fields = {"transition": [[[1, 0], [0, 1]], [[HALF, HALF], [0, 1]]], "reward": [[0, 1], [2, 3]], "initial": [1, 0]}
    return fields | {"gamma": HALF, "horizon": None} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"transition": [[[1, 0], [0, 1]], [[HALF, Fraction(2, 5)], [0, 1]]]},
            "transition[1][0] sums to 9/10; a distribution over next states must sum to 1",
        ),
        (
            {"transition": [[[1, 0], [0, 1]], [[1.5, -0.5], [0, 1]]]},
            "transition[1][0][1] is -0.5; a probability must not be negative",
        ),
        ({"transition": [[[1, 0], [0, 1]], [[0.5, float("nan")], [0, 1]]]}, "transition[1][0][1] is nan"),
        ({"transition": [[[1, 0], [0, 1]], [[1.0, np.float32("inf")], [0, 1]]]}, "transition[1][0][1] is inf"),
        ({"transition": [[[0.5, 0.5 + 1e-13], [0, 1]], [[1, 0], [0, 1]]]}, "transition[0][0] sums to 1.0000000000001"),
        ({"transition": [[[1, 0], [0, 1]], [[1, 0]]]}, "transition[1] has 1 entries where 2 were expected"),
        ({"transition": [[[1, 0], [0, 1]], [[1], [0, 1]]]}, "transition[1][0] has 1 entries where 2 were expected"),
        ({"transition": [[1, 0], [0, 1]]}, "transition[0][0] is 1, not a sequence"),
        ({"transition": [[[[1], 0], [0, 1]], [[1, 0], [0, 1]]]}, "transition[0][0][0] is [1], not a number"),
        ({"transition": []}, "transition is empty"),
        ({"transition": [[], []]}, "transition[0] is empty"),
        ({"transition": 3}, "transition is 3, not a sequence"),
        ({"reward": [[0, 1, 2], [2, 3, 4]]}, "reward[0] has 3 entries where 2 were expected"),
        ({"reward": [[0, 1]]}, "reward has 1 entries where 2 were expected"),
        ({"reward": [[0, 1], [float("inf"), 3]]}, "reward[1][0] is inf, not a finite number"),
        ({"reward": [[0, 1], [2, "3"]]}, "reward[1][1] is '3', not a number"),
        ({"initial": [1, 0, 0]}, "initial has 3 entries where 2 were expected"),
        ({"initial": [HALF, 0]}, "initial sums to 1/2; a distribution over states must sum to 1"),
        ({"initial": [2, -1]}, "initial[1] is -1; a probability must not be negative"),
        ({"gamma": Fraction(3, 2)}, "gamma is 3/2; a discount lies in [0, 1]"),
        ({"gamma": -0.5}, "gamma is -0.5; a discount lies in [0, 1]"),
        ({"gamma": float("nan")}, "gamma is nan, not a finite number"),
        ({"gamma": 1}, "gamma is 1 without a horizon"),
        ({"horizon": 0}, "horizon is 0; at least one action must be taken"),
        ({"horizon": -1}, "horizon is -1; at least one action must be taken"),
        ({"horizon": 2.0}, "horizon is 2.0, neither a whole number of actions nor None"),
    ],
)
def test_a_malformed_process_is_refused_by_the_name_of_the_entry(changes, message):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  the message is compared in full below
        TabularMDP(**malformed(**changes))
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([[HALF, HALF], [HALF, 0]], "policy[1] sums to 1/2; a distribution over actions must sum to 1"),
        ([[HALF, HALF], [2, -1]], "policy[1][1] is -1; a probability must not be negative"),
        ([[HALF, HALF]], "policy has 1 entries where 2 were expected"),
        ([[HALF, HALF], [1]], "policy[1] has 1 entries where 2 were expected"),
    ],
)
def test_a_malformed_policy_is_refused_by_the_name_of_the_entry(policy, message):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  the message is compared in full below
        checked_policy(TWO_STATES, policy)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, torch.float64, torch.float32, torch.bfloat16])
def test_probabilities_may_carry_the_rounding_of_their_own_type(kind):
    counts = np.arange(1, 41, dtype=float)
    row = counts / counts.sum()
    row = row.astype(kind) if isinstance(kind, type) else torch.tensor(row).to(kind)
    mdp = TabularMDP([[[1.0]] * len(row)], [[0.0] * len(row)], [1.0], 0.5)
    assert len(checked_policy(mdp, [row])[0]) == len(row)
    with pytest.raises(ValueError, match="sums to"):
        checked_policy(mdp, [row * 2])


def test_an_infinite_horizon_has_no_list_of_trajectories():
    with pytest.raises(ValueError, match="infinite"):
        trajectories(with_horizon(TWO_STATES, None), POLICY)


def test_a_process_is_a_value():
    with pytest.raises(AttributeError):
        TWO_STATES.gamma = 1
    assert hash(TWO_STATES) == hash(with_horizon(TWO_STATES, 3))
    assert rational_process(TWO_STATES) == rational_process(with_horizon(TWO_STATES, 3))
    assert isinstance(rational_process(TWO_STATES).gamma, fmpq)


def test_a_task_keeps_its_numbers_exactly():
    task = Task(
        transition=np.ones((1, 2, 1)),
        reward=np.array([[0.1, 0.0]]),
        initial=np.ones(1),
        policy=np.array([[0.25, 0.75]]),
        gamma=0.9,
        horizon=1,
    )
    assert fractions(expected_return(task.mdp, task.pi)) == Fraction(0.1) / 4
