"""Properties of targets (spec/targets.md)."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, coarser, exactly, law, tolerance, where
from rlspec.properties.processes import other_policy, tasks
from rlspec.properties.questions.targets import dueling_terms, logs, per_quantile, temperature_terms
from rlspec.properties.strategies import (
    PLAIN,
    discounts,
    mixings,
    one_way_or_any,
    rescaling,
    roundings,
)
from rlspec.properties.transitions import (
    ONE_STEP,
    WITH_TRACES,
    alphas,
    bounds,
    deltas,
    distributions,
    huber_terms,
    log_alphas,
    logged,
    lowests,
    munchausen_terms,
    noise_clips,
    pairs_of_rows,
    shares_of_logs,
    target_entropies,
    temperatures,
    traces,
    transitions,
)
from rlspec.reference import targets
from rlspec.reference.decision_process import TabularMDP, action_values, trajectories
from rlspec.reference.differentiation import rational

whatever = st.sampled_from([1.0, -3.0, 1e9])
not_numbers = st.sampled_from([np.nan, np.inf, -np.inf])
rationals = np.vectorize(exactly, otypes=[object])
going_on = transitions(goes_on=True)


def discounted(drawn, following, gamma):
    """r + gamma x of each transition, in rationals."""
    return rationals(drawn.rewards) + Fraction(gamma) * np.array(list(map(exactly, following)), dtype=object)


def one_step(candidate, operation, drawn, alpha, gamma):
    """The candidate's target of one step."""
    scalars = (alpha, gamma) if operation == "soft_target" else (gamma,)
    return getattr(candidate, operation)(*drawn.arguments(operation), *scalars)


def greedy_actions(values):
    """Which action is the best, found by counting those that are better; one in each row."""
    return [next(a for a, x in enumerate(row) if not any(y > x for y in row)) for row in values]


@clause("TGT-1", examples=40)
@given(going_on, discounts)
def test_a_sarsa_target_is_the_reward_and_the_discounted_value_of_the_next_action(candidate, drawn, gamma):
    answer = candidate.sarsa_target(*drawn.arguments("sarsa_target"), gamma)
    following = [row[action] for row, action in zip(drawn.first, drawn.actions, strict=True)]
    agree(answer, discounted(drawn, following, gamma), **drawn.judged("sarsa_target"))


@clause("TGT-2", examples=40)
@given(going_on, discounts)
def test_an_expected_sarsa_target_is_the_mean_of_sarsa_targets(candidate, drawn, gamma):
    answer = candidate.expected_sarsa_target(*drawn.arguments("expected_sarsa_target"), gamma)
    of_actions = [discounted(drawn, column, gamma) for column in drawn.first.T]
    expected = sum(rationals(p) * x for p, x in zip(drawn.policy.T, of_actions, strict=True))
    agree(answer, expected, **drawn.judged("expected_sarsa_target"))


@clause("TGT-3", examples=40)
@given(going_on, discounts)
def test_a_q_learning_target_is_the_largest_of_the_sarsa_targets(candidate, drawn, gamma):
    answer = candidate.q_target(*drawn.arguments("q_target"), gamma)
    of_actions = np.stack([discounted(drawn, column, gamma) for column in drawn.first.T])
    agree(answer, of_actions.max(axis=0), **drawn.judged("q_target"))


@clause("TGT-4", examples=40)
@given(going_on, discounts)
def test_in_a_double_q_target_the_online_values_choose_and_the_target_values_evaluate(candidate, drawn, gamma):
    answer = candidate.double_q_target(*drawn.arguments("double_q_target"), gamma)
    following = [row[a] for row, a in zip(drawn.second, greedy_actions(drawn.first), strict=True)]
    agree(answer, discounted(drawn, following, gamma), **drawn.judged("double_q_target"))


@clause("TGT-5", examples=40)
@given(going_on, discounts)
def test_a_twin_target_is_that_of_half_the_sum_less_half_the_distance(candidate, drawn, gamma):
    answer = candidate.twin_q_target(*drawn.arguments("twin_q_target"), gamma)
    first, second = rationals(drawn.first[:, 0]), rationals(drawn.second[:, 0])
    agree(answer, discounted(drawn, (first + second - abs(first - second)) / 2, gamma), **drawn.judged("twin_q_target"))


@clause("TGT-6", examples=40)
@given(going_on, alphas, discounts)
def test_a_soft_target_is_a_twin_target_and_the_discounted_price_of_what_is_probable(candidate, drawn, alpha, gamma):
    answer = candidate.soft_target(*drawn.arguments("soft_target"), alpha, gamma)
    first, second = rationals(drawn.first[:, 0]), rationals(drawn.second[:, 0])
    soft = (first + second - abs(first - second)) / 2 - Fraction(alpha) * rationals(drawn.logp)
    agree(answer, discounted(drawn, soft, gamma), **drawn.judged("soft_target", alpha))


every_one_step_target = pytest.mark.parametrize("operation", ONE_STEP)


@every_one_step_target
@clause("TGT-7", examples=25)
@given(drawn=transitions(), alpha=alphas, gamma=discounts)
def test_where_nothing_follows_the_target_is_the_reward(candidate, operation, drawn, alpha, gamma):
    assume(drawn.terminated.any())
    answer = one_step(candidate, operation, drawn, alpha, gamma)
    agree(answer, where(drawn.terminated, drawn.rewards, answer), **drawn.judged(operation, alpha))


@every_one_step_target
@clause("TGT-7", examples=25)
@given(drawn=transitions(ends=(False, True)), alpha=alphas, gamma=discounts)
def test_a_truncated_transition_has_the_target_of_one_that_goes_on(candidate, operation, drawn, alpha, gamma):
    assume(drawn.truncated.any())
    answer = one_step(candidate, operation, drawn, alpha, gamma)
    plain = drawn.but(truncated=np.zeros_like(drawn.truncated))
    agree(answer, one_step(candidate, operation, plain, alpha, gamma), **drawn.judged(operation, alpha))


@every_one_step_target
@clause("TGT-8", examples=15)
@given(drawn=transitions(), alpha=alphas, gamma=discounts, junk=not_numbers)
def test_a_one_step_target_survives_nan_and_infinity_after_a_termination(
    candidate, operation, drawn, alpha, gamma, junk
):
    answer = one_step(candidate, operation, drawn.overwritten(junk), alpha, gamma)
    agree(answer, one_step(candidate, operation, drawn, alpha, gamma), **drawn.judged(operation, alpha))


@clause("TGT-9", examples=50)
@given(pairs_of_rows(), noise_clips, bounds)
def test_a_smoothed_action_is_moved_by_its_noise_as_far_as_both_clips_let_it(candidate, pair, clip, limits):
    actions, noise = map(rationals, pair)
    low, high = map(Fraction, limits)
    expected = [
        [min(max(number + min(max(shift, -Fraction(clip)), Fraction(clip)), low), high) for number, shift in pairs]
        for pairs in (zip(*rows, strict=True) for rows in zip(actions, noise, strict=True))
    ]
    answer = candidate.smoothed_actions(*pair, clip, *limits)
    agree(answer, expected, magnitude=abs(actions) + clip + 3, roundings=4)


@clause("TGT-36", examples=50)
@given(logged(), shares_of_logs, temperatures, lowests)
def test_a_munchausen_reward_has_a_share_of_the_scaled_log_probability(candidate, pair, alpha, temperature, lowest):
    answer = candidate.munchausen_rewards(*pair, alpha, temperature, lowest)
    rewards, logs = map(rationals, pair)
    limits = (None, None) if lowest is None else (Fraction(lowest) / Fraction(temperature), Fraction(0))
    kept = [[middle(log, *limits) for log in row] for row in logs]
    share = Fraction(alpha) * Fraction(temperature)
    agree(answer, rewards + share * np.array(kept, dtype=object), **munchausen_terms(pair, alpha, temperature))


def middle(number, low, high):
    """The second of three numbers in their order; the number itself where there are no others."""
    return number if low is None else sorted([number, low, high])[1]


@clause("TGT-10", examples=30)
@given(transitions(), discounts, st.booleans())
def test_expected_sarsa_of_a_sure_policy_is_sarsa_or_q_learning(candidate, drawn, gamma, greedily):
    chosen = np.array(greedy_actions(drawn.first)) if greedily else drawn.actions
    sure = drawn.but(actions=chosen, policy=np.eye(drawn.first.shape[1])[chosen])
    answer = candidate.expected_sarsa_target(*sure.arguments("expected_sarsa_target"), gamma)
    other = "q_target" if greedily else "sarsa_target"
    same = getattr(candidate, other)(*sure.arguments(other), gamma)
    agree(coarser(answer, same), same.value, **sure.judged("expected_sarsa_target"))


@clause("TGT-11", examples=30)
@given(transitions(), discounts)
def test_double_q_learning_of_one_network_is_q_learning(candidate, drawn, gamma):
    alike = drawn.but(second=drawn.first)
    answer = candidate.double_q_target(*alike.arguments("double_q_target"), gamma)
    same = candidate.q_target(*drawn.arguments("q_target"), gamma)
    agree(coarser(answer, same), same.value, **alike.judged("double_q_target"))


@clause("TGT-12", examples=60)
@given(one_way_or_any(), discounts)
def test_a_windows_target_is_the_sum_up_to_its_first_end_and_the_bootstrap_there(candidate, rollout, gamma):
    answer = candidate.n_step_target(*rollout.return_arrays, gamma)
    expected = []
    for row, ended in enumerate(rollout.ended):
        length = next((t + 1 for t, end in enumerate(ended) if end), len(ended))
        parts = [Fraction(gamma) ** k * exactly(rollout.rewards[row, k]) for k in range(length)]
        if not rollout.terminated[row, length - 1]:
            parts.append(Fraction(gamma) ** length * exactly(rollout.next_values[row, length - 1]))
        expected.append(sum(parts))
    steps = rollout.rewards.shape[1]
    magnitude = rollout.return_magnitude[:, 0] * rescaling(gamma, steps)
    agree(answer, expected, magnitude=magnitude, roundings=roundings(steps))


def with_traces(candidate, operation, drawn, gamma, lam):
    """The candidate's target with traces."""
    return getattr(candidate, operation)(*drawn.arguments(operation), gamma, lam)


def weighed_errors(drawn, trusted, gamma, lam):
    """Q_t and all later TD errors, each with the product of the traces in between, in rationals [B, T]."""
    rollout, discount = drawn.rollout, Fraction(gamma)
    following = rationals(np.where(rollout.terminated, 0, drawn.following))
    values = rationals(rollout.values)
    errors = rationals(rollout.rewards) + discount * following - values
    result = values.copy()
    for row, t in np.ndindex(values.shape):
        weight = Fraction(1)
        for k in range(t, values.shape[1]):
            if k > t:
                weight *= discount * Fraction(lam) * trusted[row, k]
            result[row, t] += weight * errors[row, k]
    return result


@clause("TGT-13", examples=60)
@given(traces(inside=False, at_end=False), discounts, mixings)
def test_retrace_is_the_sum_of_td_errors_weighed_by_ratios_of_at_most_one(candidate, drawn, gamma, lam):
    trusted = rationals(np.where(drawn.rollout.ratio > 1, 1, drawn.rollout.ratio))
    answer = with_traces(candidate, "retrace", drawn, gamma, lam)
    agree(answer, weighed_errors(drawn, trusted, gamma, lam), **drawn.judged)


@clause("TGT-14", examples=60)
@given(traces(inside=False, at_end=False), discounts, mixings)
def test_tree_backup_is_the_sum_of_td_errors_weighed_by_probabilities(candidate, drawn, gamma, lam):
    answer = with_traces(candidate, "tree_backup", drawn, gamma, lam)
    agree(answer, weighed_errors(drawn, rationals(drawn.probabilities), gamma, lam), **drawn.judged)


@clause("TGT-15", examples=60)
@given(traces(inside=False, at_end=False), discounts, mixings)
def test_watkins_target_is_the_sum_of_td_errors_up_to_the_first_action_that_is_not_greedy(candidate, drawn, gamma, lam):
    answer = with_traces(candidate, "watkins_target", drawn, gamma, lam)
    agree(answer, weighed_errors(drawn, drawn.greedy.astype(int), gamma, lam), **drawn.judged)


every_target_with_traces = pytest.mark.parametrize("operation", WITH_TRACES)


@every_target_with_traces
@clause("TGT-16", examples=40)
@given(drawn=traces(), gamma=discounts, lam=mixings)
def test_the_targets_of_a_row_of_several_episodes_are_those_of_its_episodes(candidate, operation, drawn, gamma, lam):
    answer = with_traces(candidate, operation, drawn, gamma, lam)
    apart = np.empty(answer.value.shape)
    for row, start, stop in drawn.rollout.episodes():
        part = with_traces(candidate, operation, drawn.part(row, start, stop), gamma, lam)
        apart[row, start:stop] = part.value[0]
    agree(answer, apart, **drawn.judged)


@every_target_with_traces
@clause("TGT-16", examples=40)
@given(drawn=traces(inside=False), gamma=discounts, lam=mixings)
def test_the_last_target_bootstraps_at_a_truncation_and_not_at_a_termination(candidate, operation, drawn, gamma, lam):
    assume(drawn.rollout.ended.any())
    answer = with_traces(candidate, operation, drawn, gamma, lam)
    over, follow = drawn.rollout.terminated, drawn.following
    last = rationals(drawn.rollout.rewards) + Fraction(gamma) * rationals(np.where(over, 0, follow))
    agree(answer, where(drawn.rollout.ended, last, answer), **drawn.judged)


@every_target_with_traces
@clause("TGT-17", examples=30)
@given(drawn=traces(), gamma=discounts)
def test_with_lambda_zero_every_target_is_that_of_one_step(candidate, operation, drawn, gamma):
    answer = with_traces(candidate, operation, drawn, gamma, 0.0)
    following = rationals(np.where(drawn.rollout.terminated, 0, drawn.following))
    agree(answer, rationals(drawn.rollout.rewards) + Fraction(gamma) * following, **drawn.judged)


def factor(candidate, operation, delta):
    """What the candidate's Huber loss is multiplied by, by its convention."""
    return {"1": Fraction(1), "1/delta": 1 / Fraction(delta)}[candidate.convention(f"{operation}.scale")]


def area(error, delta):
    """The area under the clipped error, and its height at the end: the Huber loss as an integral of its derivative."""
    height = min(abs(error), Fraction(delta))
    triangle, rectangle = height * height / 2, height * (abs(error) - height)
    return triangle + rectangle, height if error > 0 else -height


@clause("TGT-18", examples=60)
@given(pairs_of_rows(), deltas)
def test_a_huber_loss_is_the_area_under_the_clipped_error(candidate, pair, delta):
    values, aims = (table[:, 0] for table in pair)
    answer = candidate.huber_loss(values, aims, delta)
    of_rows = [area(exactly(x) - exactly(y), delta) for x, y in zip(values, aims, strict=True)]
    times = factor(candidate, "huber_loss", delta)
    expected = tuple([times * part for part in column] for column in zip(*of_rows, strict=True))
    agree(answer, expected, **huber_terms(values, aims, delta))


@clause("TGT-20", examples=40)
@given(logs(), log_alphas, target_entropies)
def test_the_temperatures_slope_is_the_entropy_that_there_is_too_much(candidate, logp, log_alpha, target_entropy):
    _, slope, _ = candidate.temperature_loss(logp, log_alpha, target_entropy)
    surplus = -sum(map(exactly, logp)) / len(logp) - exactly(target_entropy)
    form = candidate.convention("temperature_loss.form")
    weight = Fraction(float(np.exp(log_alpha))) if form == "alpha" else Fraction(1)
    agree(slope, surplus * weight, **temperature_terms(logp, log_alpha, target_entropy))


@clause("TGT-20", examples=40)
@given(logs(), log_alphas, target_entropies)
def test_the_temperatures_loss_is_its_slope_times_its_logarithm_or_once(candidate, logp, log_alpha, target_entropy):
    loss, slope, _ = candidate.temperature_loss(logp, log_alpha, target_entropy)
    form = candidate.convention("temperature_loss.form")
    times = Fraction(1) if form == "alpha" else exactly(log_alpha)
    agree(loss, exactly(slope.value) * times, **temperature_terms(logp, 2 * log_alpha, target_entropy))


@clause("TGT-20", examples=20)
@given(logs(), log_alphas, target_entropies)
def test_the_temperatures_loss_moves_no_policy(candidate, logp, log_alpha, target_entropy):
    _, _, held = candidate.temperature_loss(logp, log_alpha, target_entropy)
    agree(held, np.zeros(len(logp)), magnitude=0, roundings=1)


def moved_atoms(drawn):
    """Where each row's atoms come to lie, in rationals [B, K], and the atoms."""
    low, high, count = Fraction(drawn.v_min), Fraction(drawn.v_max), drawn.probabilities.shape[1]
    atoms = [low + (high - low) * place / (count - 1) for place in range(count)]
    discount = [0 if over else Fraction(drawn.gamma) for over in drawn.terminated]
    rows = zip(map(exactly, drawn.rewards), discount, strict=True)
    return [[min(max(reward + g * atom, low), high) for atom in atoms] for reward, g in rows], atoms


@clause("TGT-22", examples=60)
@given(distributions(discounts))
def test_a_mass_is_shared_by_the_two_atoms_around_it(candidate, drawn):
    answer = candidate.categorical_projection(*drawn.arguments)
    places, atoms = moved_atoms(drawn)
    expected = np.full(drawn.probabilities.shape, Fraction(0))
    for row, atom in np.ndindex(expected.shape):
        place, mass = places[row][atom], exactly(drawn.probabilities[row, atom])
        left = max(i for i, z in enumerate(atoms) if z <= place)
        right = min(left + 1, len(atoms) - 1)
        share = (place - atoms[left]) / (atoms[right] - atoms[left]) if right > left else Fraction(0)
        expected[row, left] += mass * (1 - share)
        expected[row, right] += mass * share
    agree(answer, expected, **drawn.judged)


@clause("TGT-23", examples=40)
@given(distributions(discounts))
def test_a_projection_keeps_the_mass_and_the_mean_of_where_it_came_to_lie(candidate, drawn):
    answer = candidate.categorical_projection(*drawn.arguments)
    places, atoms = moved_atoms(drawn)
    masses = rationals(drawn.probabilities)
    off = tolerance(
        magnitude=drawn.judged["magnitude"].max(), roundings=drawn.judged["roundings"], roundoff=answer.roundoff
    )
    for row, found in enumerate(rationals(answer.value)):
        wide = len(atoms) * off
        law(abs(sum(found) - sum(masses[row])) <= wide, answer, f"row {row} has the mass {float(sum(found))}")
        mean, known = found @ np.array(atoms), masses[row] @ np.array(places[row])
        allowed = wide * max(map(abs, atoms))
        law(abs(mean - known) <= allowed, answer, f"row {row} has the mean {float(mean)} and not {float(known)}")


def quantile_factor(candidate, count, delta):
    """What the candidate's quantile Huber loss is multiplied by, by its conventions."""
    by = {"sum": 1, "mean": count}[candidate.convention("quantile_huber_loss.reduction")]
    return factor(candidate, "quantile_huber_loss", delta) / by


@clause("TGT-24", examples=60)
@given(pairs_of_rows(), deltas)
def test_a_quantile_is_pushed_up_by_its_level_and_down_by_the_rest(candidate, pair, delta):
    answer = candidate.quantile_huber_loss(*pair, delta)
    count = pair[0].shape[1]
    losses, slopes = [], []
    for quantiles, aims in zip(*map(rationals, pair), strict=True):
        total, row = Fraction(0), []
        for place, quantile in enumerate(quantiles):
            level = Fraction(2 * place + 1, 2 * count)
            above = [area(quantile - aim, delta) for aim in aims if aim >= quantile]
            below = [area(quantile - aim, delta) for aim in aims if aim < quantile]
            total += sum(level * loss for loss, _ in above) + sum((1 - level) * loss for loss, _ in below)
            row.append(sum(level * slope for _, slope in above) + sum((1 - level) * slope for _, slope in below))
        losses.append(total / count)
        slopes.append([slope / count for slope in row])
    times = quantile_factor(candidate, count, delta)
    expected = [times * loss for loss in losses], [[times * slope for slope in row] for row in slopes]
    agree(answer, expected, **per_quantile(pair, delta))


@clause("TGT-26", examples=50)
@given(pairs_of_rows())
def test_the_values_of_a_dueling_network_are_the_states_and_the_differences_of_advantages(candidate, pair):
    values, advantages = pair[0][:, 0], pair[1]
    answer = candidate.dueling(values, advantages)
    count, exact = advantages.shape[1], rationals(advantages)
    if candidate.convention("dueling.baseline") == "max":
        over = np.array([[min(x - y for y in row) for x in row] for row in exact])
    else:
        over = np.array([[sum(x - y for y in row) / count for x in row] for row in exact])
    agree(answer, rationals(values)[:, None] + over, **dueling_terms(values, advantages))


@clause("TGT-28", examples=40)
@given(pairs_of_rows(PLAIN), st.sampled_from([1.0, -8.0, 4096.0]), st.sampled_from([0.0, 2.0]))
def test_a_dueling_network_sees_its_value_and_differences_of_advantages(candidate, pair, shift, more):
    values, advantages = pair[0][:, 0], pair[1]
    answer = candidate.dueling(values + more, advantages + shift)
    same = candidate.dueling(values, advantages)
    terms = dueling_terms(np.abs(values) + more, np.abs(advantages) + abs(shift))
    agree(coarser(answer, same), rationals(same.value) + exactly(more), **terms)


# What targets are good for: theorems about processes, in rationals.

endless = tasks(finite=False)
tables = st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=3, max_size=3)
behaviours = st.binary(min_size=3, max_size=3)
trust = st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(0)])


def fitted(task, numbers):
    """A table [S][A] of the process's shape, in flint's rationals."""
    states, actions = task.shape
    return rational([row[:actions] for row in numbers[:states]])


def distance(table, other):
    """The largest absolute difference of two tables."""
    return max(abs(x - y) for rows in zip(table, other, strict=True) for x, y in zip(*rows, strict=True))


def pairs_of(task):
    """Every state with every action."""
    return product(range(task.shape[0]), range(task.shape[1]))


def mean_target(task, state, action, target):
    """The mean over successors of the target of one transition, which is given the successor."""
    chances = task.mdp.transition[state][action]
    return sum(chance * target(successor) for successor, chance in enumerate(chances) if chance != 0)


def optimal(task):
    """The action values that policy iteration stops at."""
    states, actions = task.shape
    policy = [[int(a == 0) for a in range(actions)] for _ in range(states)]
    while True:
        values = action_values(task.mdp, rational(policy))
        better = [[int(a == best(row, old)) for a in range(actions)] for row, old in zip(values, policy, strict=True)]
        if better == policy:
            return values
        policy = better


def best(values, policy):
    """A best action, and the one that the policy takes if that is one."""
    kept = policy.index(1)
    return kept if values[kept] == max(values) else values.index(max(values))


@clause("TGT-29", examples=30)
@given(endless, tables, tables)
def test_the_mean_expected_sarsa_target_contracts_to_the_values_of_the_policy(task, one, other):
    one, other = fitted(task, one), fitted(task, other)
    backups = [targets.expected_backup(task.mdp, task.pi, table) for table in (one, other)]
    assert distance(*backups) <= task.mdp.gamma * distance(one, other)
    values = action_values(task.mdp, task.pi)
    assert targets.expected_backup(task.mdp, task.pi, values) == values
    for state, action in pairs_of(task):
        reward = task.mdp.reward[state][action]
        assert backups[0][state][action] == mean_target(
            task, state, action, lambda s, reward=reward: targets.expected_sarsa_target(
                reward, one[s], task.pi[s], False, False, task.mdp.gamma
            )
        )  # fmt: skip


@clause("TGT-30", examples=30)
@given(endless, tables, tables)
def test_the_mean_q_learning_target_contracts_to_the_optimal_values(task, one, other):
    one, other = fitted(task, one), fitted(task, other)
    backups = [targets.optimal_backup(task.mdp, table) for table in (one, other)]
    assert distance(*backups) <= task.mdp.gamma * distance(one, other)
    values = optimal(task)
    assert targets.optimal_backup(task.mdp, values) == values
    own = action_values(task.mdp, task.pi)
    assert all(values[s][a] >= own[s][a] for s, a in pairs_of(task))
    for state, action in pairs_of(task):
        reward = task.mdp.reward[state][action]
        assert backups[0][state][action] == mean_target(
            task, state, action,
            lambda s, reward=reward: targets.q_target(reward, one[s], False, False, task.mdp.gamma),
        )  # fmt: skip


@clause("TGT-35", examples=30)
@given(endless, tables, tables, tables, st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(0)]))
def test_the_mean_soft_target_contracts_to_values_with_the_entropy_of_all_but_the_first_action(
    task, one, other, logs, alpha
):
    one, other, logs, alpha = (*(fitted(task, table) for table in (one, other, logs)), rational(alpha))
    backups = [targets.soft_backup(task.mdp, task.pi, logs, table, alpha) for table in (one, other)]
    assert distance(*backups) <= task.mdp.gamma * distance(one, other)

    def priced(table, sign):
        return [[x + sign * alpha * y for x, y in zip(*rows, strict=True)] for rows in zip(table, logs, strict=True)]

    fixed = priced(action_values(replace(task.mdp, reward=priced(task.mdp.reward, -1)), task.pi), 1)
    assert targets.soft_backup(task.mdp, task.pi, logs, fixed, alpha) == fixed
    for state, action in pairs_of(task):
        reward, chosen = task.mdp.reward[state][action], list(range(task.shape[1]))
        assert backups[0][state][action] == mean_target(
            task, state, action, lambda s, reward=reward, chosen=chosen: sum(
                task.pi[s][a]
                * targets.soft_target(reward, one[s][a], one[s][a], logs[s][a], False, False, alpha, task.mdp.gamma)
                for a in chosen
            )
        )  # fmt: skip


@clause("TGT-31", examples=30)
@given(endless)
def test_a_policy_that_is_greedy_in_the_values_of_another_is_no_worse(task):
    values = action_values(task.mdp, task.pi)
    greedy = [[int(a == row.index(max(row))) for a, _ in enumerate(row)] for row in values]
    better = action_values(task.mdp, rational(greedy))
    assert all(better[s][a] >= values[s][a] for s, a in pairs_of(task))


def mean_of_noise(count, target):
    """The mean of a target of values that are each off by +1 or -1, over all combinations."""
    signs = list(product((Fraction(1), Fraction(-1)), repeat=count))
    return sum(target(*noise) for noise in signs) / len(signs)


@clause("TGT-32", examples=20)
@given(st.integers(1, 4), st.integers(-3, 3), st.sampled_from([Fraction(1), Fraction(1, 3)]))
def test_the_bias_of_largest_smaller_and_doubly_estimated_values(count, value, size):
    def noisy(noise):
        return [value + size * number for number in noise]

    largest = mean_of_noise(count, lambda *noise: targets.q_target(0, noisy(noise), False, False, 1))
    assert largest == value + size * (1 - Fraction(2) ** (1 - count))
    smaller = mean_of_noise(
        2, lambda a, b: targets.twin_q_target(0, value + size * a, value + size * b, False, False, 1)
    )
    assert smaller == value - size / 2
    twice = mean_of_noise(
        2 * count,
        lambda *noise: targets.double_q_target(0, noisy(noise[:count]), noisy(noise[count:]), False, False, 1),
    )
    assert twice == value


def mean_retrace(task, values, behaviour, lam, length):
    """The mean Retrace target of each first pair [S][A], over all windows of some length that the behaviour makes."""
    following = [sum(p * q for p, q in zip(*rows, strict=True)) for rows in zip(task.pi, values, strict=True)]
    total: dict[tuple[int, int], Any] = {}
    never = [False] * length
    for start in range(task.shape[0]):
        begin = [int(s == start) for s in range(task.shape[0])]
        window = TabularMDP(task.mdp.transition, task.mdp.reward, rational(begin), task.mdp.gamma, length)
        for chance, states, actions, rewards in trajectories(window, behaviour):
            taken = [values[s][a] for s, a in zip(states, actions, strict=True)]
            after = [following[s] for s in states[1:]]
            last = task.mdp.transition[states[-1]][actions[-1]]
            after.append(sum(p * v for p, v in zip(last, following, strict=True)))
            ratio = [task.pi[s][a] / behaviour[s][a] for s, a in zip(states, actions, strict=True)]
            target = targets.retrace(rewards, taken, after, never, never, ratio, task.mdp.gamma, lam)[0]
            pair = start, actions[0]
            total[pair] = total.get(pair, 0) + chance / behaviour[start][actions[0]] * target
    return [[total[s, a] for a in range(task.shape[1])] for s in range(task.shape[0])]


@clause("TGT-33", examples=20)
@given(endless, behaviours, tables, tables, trust)
def test_the_mean_retrace_target_of_exact_values_is_exact_whoever_acted(task, data, one, other, lam):
    behaviour, lam = other_policy(task, data), rational(lam)
    length = 2 if task.shape[0] * task.shape[1] > 4 else 3
    values = action_values(task.mdp, task.pi)
    assert mean_retrace(task, values, behaviour, lam, length) == values
    one, other = fitted(task, one), fitted(task, other)
    means = [mean_retrace(task, table, behaviour, lam, length) for table in (one, other)]
    assert distance(*means) <= task.mdp.gamma * distance(one, other)


@clause("TGT-34", examples=30)
@given(endless, tables, st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(1, 10)]))
def test_a_step_towards_the_mean_target_brings_a_table_closer_to_the_values(task, table, size):
    table, size = fitted(task, table), rational(size)
    rate = 1 - size * (1 - task.mdp.gamma)
    for values, backup in (
        (action_values(task.mdp, task.pi), targets.expected_backup(task.mdp, task.pi, table)),
        (optimal(task), targets.optimal_backup(task.mdp, table)),
    ):
        step = [[x + size * (y - x) for x, y in zip(*rows, strict=True)] for rows in zip(table, backup, strict=True)]
        assert distance(step, values) <= rate * distance(table, values)
