"""Properties of the decision process (spec/decision_process.md)."""

from dataclasses import replace
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, coarser, exactly, law, tolerance
from rlspec.properties.processes import MOST_ACTIONS, MOST_STATES, ask, fractions, tasks
from rlspec.reference.decision_process import trajectories
from rlspec.reference.differentiation import rational

rationals = np.vectorize(exactly, otypes=[object])
finite = tasks(infinite=False)
either = tasks()
endless = tasks(finite=False)
orders = st.tuples(st.permutations(range(MOST_STATES)), st.permutations(range(MOST_ACTIONS)))
potentials = st.tuples(*[st.integers(-3, 3)] * MOST_STATES)


def listed_return(mdp, policy):
    """J, by listing every trajectory."""
    return sum(
        probability * sum(mdp.gamma**t * reward for t, reward in enumerate(rewards))
        for probability, _, _, rewards in trajectories(mdp, policy)
    )


def point(size, place):
    """The distribution that is certain of one place."""
    return rational([int(i == place) for i in range(size)])


def return_after(task, state, action, steps):
    """Q(state, action) with so many steps to go, by listing: a further state in which every action is that pair."""
    mdp, (states, actions) = task.mdp, task.shape
    rows = [*([*row, 0] for row in mdp.transition[state])]
    fork = replace(
        mdp,
        transition=[*([[*row, 0] for row in rows] for rows in mdp.transition), [rows[action]] * actions],
        reward=[*mdp.reward, [mdp.reward[state][action]] * actions],
        initial=point(states + 1, states),
        horizon=steps,
    )
    return listed_return(fork, [*task.pi, point(actions, 0)])


@clause("MDP-1")
@given(finite)
def test_the_expected_return_is_the_average_over_all_trajectories(candidate, task):
    answer = ask(candidate, "expected_return", task)
    agree(answer, fractions(listed_return(task.mdp, task.pi)), **task.judged("state_values"))


@clause("MDP-2")
@given(finite)
def test_a_value_is_the_average_return_of_the_steps_that_are_left(candidate, task):
    states = task.shape[0]
    expected = [
        [listed_return(replace(task.mdp, initial=point(states, s), horizon=steps), task.pi) for s in range(states)]
        for steps in range(task.horizon, 0, -1)
    ]
    agree(ask(candidate, "state_values", task), fractions(expected), **task.judged("state_values"))


@clause("MDP-3", examples=60)
@given(finite)
def test_an_action_value_is_the_average_return_after_that_action(candidate, task):
    states, actions = map(range, task.shape)
    expected = [
        [[return_after(task, s, a, steps) for a in actions] for s in states] for steps in range(task.horizon, 0, -1)
    ]
    agree(ask(candidate, "action_values", task), fractions(expected), **task.judged("action_values"))


@clause("MDP-4")
@given(finite)
def test_occupancy_is_the_discounted_probability_of_the_trajectories_that_are_there(candidate, task):
    expected = np.full((task.horizon, task.shape[0]), Fraction(0), dtype=object)
    for probability, visited, _, _ in trajectories(task.mdp, task.pi):
        for t, state in enumerate(visited):
            expected[t, state] += Fraction(task.gamma) ** t * fractions(probability)
    agree(ask(candidate, "occupancy", task), expected, **task.judged("occupancy"))


def chain(task):
    """P_pi in rationals, [S, S]."""
    return (rationals(task.policy)[:, None, :] @ rationals(task.transition))[:, 0]


def paid(task):
    """r_pi in rationals, [S]."""
    return (rationals(task.policy) * rationals(task.reward)).sum(axis=1)


@clause("MDP-5")
@given(either)
def test_values_are_the_policys_average_of_action_values(candidate, task):
    of_actions = ask(candidate, "action_values", task)
    expected = (rationals(task.policy) * rationals(of_actions.value)).sum(axis=-1)
    agree(coarser(ask(candidate, "state_values", task), of_actions), expected, **task.judged("state_values", times=2))


def look_ahead(task, values):
    """reward + gamma sum_s' P(s'|s, a) values[..., s'] in rationals, [..., S, A]."""
    following = np.tensordot(values, rationals(task.transition), axes=([-1], [2]))
    return rationals(task.reward) + Fraction(task.gamma) * following


@clause("MDP-5")
@given(either)
def test_action_values_are_the_reward_and_the_discounted_value_of_what_follows(candidate, task):
    of_states = ask(candidate, "state_values", task)
    values = rationals(of_states.value)
    if task.horizon:
        nothing = rationals(np.zeros((1, task.shape[0])))
        values = np.concatenate([values[1:], nothing])
    answer = coarser(ask(candidate, "action_values", task), of_states)
    agree(answer, look_ahead(task, values), **task.judged("action_values", times=2))


@clause("MDP-6")
@given(either)
def test_occupancy_begins_with_the_initial_distribution_and_flows_along_the_chain(candidate, task):
    answer = ask(candidate, "occupancy", task)
    initial = rationals(task.initial)
    arrived = Fraction(task.gamma) * (rationals(answer.value) @ chain(task))
    expected = np.concatenate([[initial], arrived[:-1]]) if task.horizon else initial + arrived
    agree(answer, expected, **task.judged("occupancy", times=2))


@clause("MDP-7")
@given(either)
def test_the_expected_return_is_what_the_occupied_states_pay(candidate, task):
    occupied = ask(candidate, "occupancy", task)
    answer = coarser(ask(candidate, "expected_return", task), occupied)
    expected = np.sum(rationals(occupied.value) * paid(task))
    agree(answer, expected, **task.judged("expected_return", times=3))


@clause("MDP-7")
@given(either)
def test_the_expected_return_is_the_value_of_the_initial_states(candidate, task):
    values = ask(candidate, "state_values", task)
    first = rationals(values.value[0] if task.horizon else values.value)
    answer = coarser(ask(candidate, "expected_return", task), values)
    agree(answer, first @ rationals(task.initial), **task.judged("expected_return", times=2))


def tail(task, horizon, answer):
    """The most that rewards after so many steps can add, and the rounding of the two sums."""
    reward = exactly(np.abs(task.reward).max())
    left_out = reward * Fraction(task.gamma) ** horizon / (1 - Fraction(task.gamma))
    return left_out + tolerance(roundoff=answer.roundoff, **task.judged("state_values", times=horizon))


@clause("MDP-8", examples=60)
@given(endless, st.integers(1, 40))
def test_a_finite_horizons_return_tends_to_the_infinite_one(candidate, task, horizon):
    answer, cut = ask(candidate, "expected_return", task), ask(candidate, "expected_return", task.but(horizon=horizon))
    law(
        abs(exactly(answer.value) - exactly(cut.value)) <= tail(task, horizon, answer),
        answer,
        f"the return of {horizon} steps is {cut.value}; the steps after them cannot add that much",
    )


@clause("MDP-8", examples=60)
@given(endless, st.integers(1, 40))
def test_a_finite_horizons_values_tend_to_the_infinite_ones(candidate, task, horizon):
    answer, cut = ask(candidate, "state_values", task), ask(candidate, "state_values", task.but(horizon=horizon))
    law(
        np.abs(rationals(answer.value) - rationals(cut.value[0])).max() <= tail(task, horizon, answer),
        answer,
        f"the values of {horizon} steps are {cut.value[0]}; the steps after them cannot add that much",
    )


def linearly(candidate, operation, task):
    """Check that rewards 2 r + r' have twice the answer of r and that of r', which is r with its actions reversed."""
    other = task.but(reward=task.reward[:, ::-1].copy())
    mixed = task.but(reward=2 * task.reward + other.reward)
    expected = 2 * rationals(ask(candidate, operation, task).value) + rationals(ask(candidate, operation, other).value)
    agree(ask(candidate, operation, mixed), expected, magnitude=6 * task.worth * task.conditioning,
          roundings=task.roundings)  # fmt: skip


@clause("MDP-9", examples=60)
@given(either)
def test_the_expected_return_is_linear_in_the_rewards(candidate, task):
    linearly(candidate, "expected_return", task)


@clause("MDP-9", examples=60)
@given(either)
def test_values_are_linear_in_the_rewards(candidate, task):
    linearly(candidate, "state_values", task)


@clause("MDP-9", examples=60)
@given(either)
def test_action_values_are_linear_in_the_rewards(candidate, task):
    linearly(candidate, "action_values", task)


@clause("MDP-9", examples=60)
@given(either, st.sampled_from([1, -2, 5]))
def test_a_constant_reward_is_worth_the_discounted_number_of_steps_that_are_left(candidate, task, constant):
    raised = task.but(reward=task.reward + constant)
    gamma, left = Fraction(task.gamma), range(task.horizon or 0, 0, -1)
    worth = [[sum(gamma**k for k in range(steps))] for steps in left] if task.horizon else 1 / (1 - gamma)
    expected = rationals(ask(candidate, "state_values", task).value) + constant * np.array(worth, dtype=object)
    magnitude = task.judged("state_values")["magnitude"] + raised.judged("state_values")["magnitude"]
    agree(ask(candidate, "state_values", raised), expected, magnitude=magnitude, roundings=task.roundings)


@clause("MDP-10", examples=60)
@given(either, potentials)
def test_shaping_by_a_potential_shifts_the_values_by_the_potential(candidate, task, potential):
    states = task.shape[0]
    phi = np.array(potential[:states], dtype=float)
    shaped = task.but(reward=task.reward + task.gamma * task.transition @ phi - phi[:, None])
    values = rationals(ask(candidate, "state_values", task).value)
    if task.horizon:
        end = [rationals(phi)]
        for _ in range(task.horizon):
            end.append(Fraction(task.gamma) * chain(task) @ end[-1])
        expected = values - rationals(phi) + np.array(end[:0:-1])
    else:
        expected = values - rationals(phi)
    # The shaped rewards are given as floats: up to 2 S + 2 further roundings.
    magnitude = (
        task.judged("state_values")["magnitude"]
        + shaped.judged("state_values")["magnitude"]
        + 9 * task.patience * task.conditioning
    )
    agree(ask(candidate, "state_values", shaped), expected, magnitude=magnitude,
          roundings=task.roundings + 2 * states + 2)  # fmt: skip


def renamed(task, orders):
    """The task under other names, and the orders of its states and actions."""
    states, actions = ([i for i in order if i < size] for order, size in zip(orders, task.shape, strict=True))
    return states, actions, task.but(
        transition=task.transition[states][:, actions][:, :, states],
        reward=task.reward[states][:, actions],
        policy=task.policy[states][:, actions],
        initial=task.initial[states],
    )  # fmt: skip


@clause("MDP-11", examples=60)
@given(either, orders)
def test_the_expected_return_does_not_depend_on_names(candidate, task, orders):
    _, _, other = renamed(task, orders)
    agree(
        ask(candidate, "expected_return", other),
        ask(candidate, "expected_return", task),
        **task.judged("expected_return", times=2),
    )


@clause("MDP-11", examples=60)
@given(either, orders)
def test_values_are_renamed_with_the_states(candidate, task, orders):
    states, _, other = renamed(task, orders)
    expected = ask(candidate, "state_values", task).value[..., states]
    agree(ask(candidate, "state_values", other), expected, **task.judged("state_values", times=2))


@clause("MDP-11", examples=60)
@given(either, orders)
def test_action_values_are_renamed_with_the_states_and_actions(candidate, task, orders):
    states, actions, other = renamed(task, orders)
    expected = ask(candidate, "action_values", task).value[..., states, :][..., actions]
    agree(ask(candidate, "action_values", other), expected, **task.judged("action_values", times=2))


@clause("MDP-11", examples=60)
@given(either, orders)
def test_occupancy_is_renamed_with_the_states(candidate, task, orders):
    states, _, other = renamed(task, orders)
    expected = ask(candidate, "occupancy", task).value[..., states]
    agree(ask(candidate, "occupancy", other), expected, **task.judged("occupancy", times=2))


def with_island(task):
    """The task with a state more, which nothing leads to and which cannot be left."""
    states, actions = task.shape
    return task.but(
        transition=np.concatenate([
            np.pad(task.transition, ((0, 0), (0, 0), (0, 1))),
            np.broadcast_to(np.arange(states + 1) == states, (1, actions, states + 1)),
        ]),
        reward=np.pad(task.reward, ((0, 1), (0, 0))),
        policy=np.concatenate([task.policy, task.policy[:1]]),
        initial=np.pad(task.initial, (0, 1)),
    )  # fmt: skip


def elsewhere(task, place):
    """The task with a state that pays a lot and leads to the first state whatever is done there."""
    there = np.arange(task.shape[0]) == place
    to_the_first = np.eye(task.shape[0])[0]
    return task.but(
        transition=np.where(there[:, None, None], to_the_first, task.transition),
        reward=np.where(there[:, None], 1024.0, task.reward),
    )


def within_reach(task, place):
    """From which states the policy can reach the place in at most 0, 1, ... moves, [moves, S]; the last is for ever."""
    leads = chain(task) > 0
    reached = [np.arange(task.shape[0]) == place]
    for _ in range((task.horizon or task.shape[0]) - 1):
        reached.append(reached[-1] | (leads & reached[-1]).any(axis=1))
    return np.array(reached)


remote = tasks(sparse=True).map(with_island)
places = st.integers(0, MOST_STATES).map(lambda number: -1 - number)
"""A state, counted from the last one, which is the island."""


def changed(task, number):
    """The place that the number stands for, and the task with something else there."""
    place = number % task.shape[0]
    return place, elsewhere(task, place)


def both_judged(operation, *these):
    """How far rounding may take a comparison of the answers to two tasks."""
    judged = [task.judged(operation) for task in these]
    return {name: sum(each[name] for each in judged) for name in ("magnitude", "roundings")}


@clause("MDP-12")
@given(remote, places)
def test_a_value_ignores_what_cannot_be_reached_from_the_state_in_the_steps_that_are_left(candidate, task, number):
    place, other = changed(task, number)
    answer, before = ask(candidate, "state_values", other), ask(candidate, "state_values", task)
    reached = within_reach(task, place)
    reached = reached[::-1] if task.horizon else reached[-1]
    assume(not reached.all())
    agree(answer, np.where(reached, answer.value, before.value), **both_judged("state_values", task, other))


@clause("MDP-12")
@given(remote, places)
def test_the_expected_return_ignores_a_state_that_is_never_reached(candidate, task, number):
    place, other = changed(task, number)
    assume(not task.initial[within_reach(task, place)[-1]].any())
    answer, before = ask(candidate, "expected_return", other), ask(candidate, "expected_return", task)
    agree(answer, before, **both_judged("expected_return", task, other))


@clause("MDP-12")
@given(remote, places)
def test_a_state_that_is_never_reached_is_not_occupied_and_does_not_change_where_one_is(candidate, task, number):
    place, other = changed(task, number)
    assume(not task.initial[within_reach(task, place)[-1]].any())
    answer = ask(candidate, "occupancy", other)
    expected = np.where(np.arange(task.shape[0]) == place, 0, ask(candidate, "occupancy", task).value)
    agree(answer, expected, **both_judged("occupancy", task, other))


def shortsighted(task):
    """The task with gamma = 0."""
    return task.but(gamma=0.0)


@clause("MDP-13", examples=60)
@given(either.map(shortsighted))
def test_with_gamma_zero_a_value_is_what_the_state_pays(candidate, task):
    answer = ask(candidate, "state_values", task)
    agree(answer, np.broadcast_to(paid(task), answer.value.shape), **task.judged("state_values"))


@clause("MDP-13", examples=60)
@given(either.map(shortsighted))
def test_with_gamma_zero_an_action_value_is_the_reward(candidate, task):
    answer = ask(candidate, "action_values", task)
    agree(answer, np.broadcast_to(task.reward, answer.value.shape), **task.judged("state_values"))


@clause("MDP-13", examples=60)
@given(either.map(shortsighted))
def test_with_gamma_zero_only_the_first_state_is_occupied(candidate, task):
    answer = ask(candidate, "occupancy", task)
    expected = np.zeros_like(answer.value)
    expected[(0,) * (expected.ndim - 1)] = task.initial
    agree(answer, expected, **task.judged("occupancy"))
