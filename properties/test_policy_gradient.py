"""Properties of policy gradients (spec/policy_gradient.md)."""

from dataclasses import replace
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import DOUBLE, agree, clause, exactly, law, tolerance
from rlspec.properties.processes import (
    MOST_ACTIONS,
    MOST_STATES,
    ask,
    derivative_of_return,
    episodes,
    every_episode,
    fractions,
    other_policy,
    softmax_roundings,
    tasks,
)
from rlspec.properties.questions.question import last_names
from rlspec.properties.reducing import divisors_of
from rlspec.properties.strategies import scored_batches
from rlspec.reference.decision_process import (
    action_values,
    expected_return,
    occupancy,
    state_values,
    trajectories,
)
from rlspec.reference.differentiation import derivatives_in_logits, gradient_of_polynomial, rational
from rlspec.reference.policy_gradient import (
    conventional_weights,
    discounted_reward_to_go,
    exact_policy_gradient,
    expected_gradient,
    per_decision,
    score,
    undiscounted_reward_to_go,
    whole_return,
    whole_trajectory,
    with_baseline,
)
from rlspec.spec.operations import OPERATIONS

finite = tasks(full=True, infinite=False)
either = tasks(full=True)
baselines = st.tuples(*[st.integers(-9, 9)] * MOST_STATES)
behaviours = st.binary(min_size=MOST_STATES, max_size=MOST_STATES)
rationals = np.vectorize(exactly, otypes=[object])


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


@clause("PG-8", examples=60)
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


@clause("PG-9", examples=60)
@given(finite, behaviours)
def test_rewards_weighed_by_the_ratios_of_earlier_decisions_have_the_gradient_as_their_mean(task, data):
    behaviour = other_policy(task, data)
    estimate = per_decision(task.pi, behaviour)
    assert expected_gradient(task.mdp, task.pi, estimate, behaviour) == derivative_of_return(task)


@clause("PG-9", examples=60)
@given(finite, behaviours)
def test_returns_weighed_by_the_ratio_of_the_trajectory_have_the_gradient_as_their_mean(task, data):
    behaviour = other_policy(task, data)
    estimate = whole_trajectory(task.pi, behaviour)
    assert expected_gradient(task.mdp, task.pi, estimate, behaviour) == derivative_of_return(task)


# What `exact_policy_gradient` owes.


@clause("PG-10")
@given(either)
def test_the_exact_gradient_is_the_derivative_of_the_return(candidate, task):
    answer = ask(candidate, "exact_policy_gradient", task)
    agree(answer, fractions(derivative_of_return(task)), **task.judged("exact_policy_gradient"))


@clause("PG-11", examples=60)
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


@clause("PG-11", examples=60)
@given(either, shifts)
def test_raising_all_logits_of_a_state_leaves_the_exact_gradient_as_it_is(candidate, task, shift):
    exact_gradient_after(shift, candidate, task)


@clause("PG-11", examples=60)
@given(episodes(), shifts)
def test_raising_all_logits_of_a_state_leaves_the_estimate_as_it_is(candidate, batch, shift):
    estimate_after(shift, candidate, batch)


@clause("PG-17", examples=60)
@given(either, large_shifts)
def test_the_exact_gradient_is_accurate_for_logits_in_the_thousands(candidate, task, shift):
    large = task.arguments("exact_policy_gradient", logits=raised(task.logits, shift))
    candidate.demand(OPERATIONS["exact_policy_gradient"], *large)
    exact_gradient_after(shift, candidate, task)


@clause("PG-17", examples=60)
@given(episodes(), large_shifts)
def test_the_estimate_is_accurate_for_logits_in_the_thousands(candidate, batch, shift):
    candidate.demand(OPERATIONS["policy_gradient"], raised(batch.logits, shift), *batch.arguments[1:])
    estimate_after(shift, candidate, batch)


def smoothness(task):
    """L, a bound on the second derivative of J in the logits (PG-12)."""
    reward, gamma = Fraction(np.abs(task.reward).max()), Fraction(task.gamma)
    if task.horizon is None:
        return reward * (2 * (1 + gamma) / (1 - gamma) ** 3 + 1 / (2 * (1 - gamma) ** 2))
    return reward * sum(gamma**t * (2 * (t + 1) ** 2 + Fraction(t + 1, 2)) for t in range(task.horizon))


def return_at(task, logits):
    """J at the logits, exact but for the rounding of their softmax."""
    chances = rationals(np.exp(logits - logits.max(axis=1, keepdims=True)))
    return fractions(expected_return(task.mdp, rational((chances / chances.sum(axis=1, keepdims=True)).tolist())))


@clause("PG-12")
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


@clause("PG-13", "PG-14", "PG-15")
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


@clause("PG-13")
@given(episodes())
def test_the_estimate_of_a_batch_is_the_mean_of_its_episodes_estimates(candidate, batch):
    rows = range(len(batch.mask))
    alone = sum(rationals(candidate.policy_gradient(*batch.rows([row]).arguments).value) for row in rows)
    answer = candidate.policy_gradient(*batch.arguments)
    agree(answer, alone / len(rows), **batch.judged(chosen_weights(candidate), times=2))


@clause("PG-14", "PG-15", examples=60)
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


@clause("PG-16")
@given(tasks(full=True, infinite=False, sparse=True))
def test_the_mean_of_the_estimates_of_all_trajectories_is_the_gradient(candidate, task):
    batch, chosen = every_episode(task), chosen_weights(candidate)
    expected = derivative_of_return(task)
    if chosen is undiscounted_reward_to_go:
        expected = expected_gradient(task.mdp, task.pi, chosen)
    agree(candidate.policy_gradient(*batch.arguments), fractions(expected), **batch.judged(chosen))


# What `policy_gradient_loss` owes.


def both(left, right, times=1):
    """How far rounding may take what is put together from the answers to two batches."""
    return {
        "magnitude": times * left.judged["magnitude"] + right.judged["magnitude"],
        "roundings": 2 * left.judged["roundings"],
    }


@clause("PG-18")
@given(scored_batches())
def test_the_loss_is_minus_the_mean_of_advantage_times_log_probability(candidate, batch):
    terms = rationals(batch.advantages) * rationals(batch.logp)
    loss, _ = candidate.policy_gradient_loss(*batch.arrays)
    shares = terms / divisors_of(candidate, "policy_gradient_loss", batch.mask)
    agree(loss, -sum(shares[batch.mask], Fraction(0)), **batch.judged)


@clause("PG-19")
@given(scored_batches(), scored_batches())
def test_the_loss_moves_with_the_log_probabilities_as_its_derivative_says(candidate, batch, step):
    rows, steps = (min(*sizes) for sizes in zip(batch.mask.shape, step.mask.shape, strict=True))
    batch, step = (each.part(rows, steps) for each in (batch, step))
    moved = replace(batch, logp=batch.logp + step.logp)
    loss, slopes = candidate.policy_gradient_loss(*batch.arrays)
    gain = (rationals(slopes.value) * (rationals(moved.logp) - rationals(batch.logp))).sum()
    further, _ = candidate.policy_gradient_loss(*moved.arrays)
    agree(further, exactly(loss.value) + gain, **both(batch, moved, times=2))


@clause("PG-20")
@given(scored_batches(), scored_batches(), st.sampled_from([2.0, 1.0, -4.0]))
def test_the_loss_is_linear_in_the_advantages(candidate, batch, other, factor):
    rows, steps = (min(*sizes) for sizes in zip(batch.mask.shape, other.mask.shape, strict=True))
    x, y = batch.part(rows, steps), replace(batch.part(rows, steps), advantages=other.part(rows, steps).advantages)
    both_at_once = replace(x, advantages=factor * x.advantages + y.advantages)
    answer = candidate.policy_gradient_loss(*both_at_once.arrays)
    apart = zip(candidate.policy_gradient_loss(*x.arrays), candidate.policy_gradient_loss(*y.arrays), strict=True)
    expected = tuple(Fraction(factor) * rationals(a.value) + rationals(b.value) for a, b in apart)
    agree(answer, expected, **both(x, y, times=2 * abs(factor)))


@clause("PG-20", examples=60)
@given(scored_batches())
def test_without_advantages_there_is_no_loss_and_no_gradient(candidate, batch):
    nothing = replace(batch, advantages=np.zeros(batch.mask.shape))
    agree(candidate.policy_gradient_loss(*nothing.arrays), (0, nothing.advantages), magnitude=0, roundings=1)


@clause("PG-21")
@given(tasks(full=True, infinite=False, sparse=True, gammas=st.sampled_from([1.0, 0.5, 0.0])))
def test_the_expected_gradient_of_the_loss_is_that_of_the_return_with_the_sign_of_a_loss(candidate, task):
    batch = every_episode(task)
    rows, steps = batch.mask.shape
    rewards = np.where(batch.mask, task.gamma ** np.arange(steps) * batch.rewards, 0)
    credit = rewards[:, ::-1].cumsum(axis=1)[:, ::-1]  # exact: gamma is a power of two
    _, slopes = candidate.policy_gradient_loss(np.log(task.policy)[batch.states, batch.actions], credit, batch.mask)
    sizes, chained = divisors_of(candidate, "policy_gradient_loss", batch.mask), np.zeros(task.shape, dtype=object)
    for b, t in np.argwhere(batch.mask):
        s, a = batch.states[b, t], batch.actions[b, t]
        chained[s] += sizes[b, 0] * exactly(slopes.value[b, t]) * rationals(fractions(score(task.pi[s], a)))
    expected = rationals(fractions(derivative_of_return(task))) * -rows
    # Each derivative is an advantage that was divided once or twice; no component of a score exceeds 1.
    largest = np.abs(credit[batch.mask]).sum()
    allowed = tolerance(magnitude=largest, roundings=8, roundoff=slopes.roundoff)
    message = (
        f"d_logp is {chained.astype(float).tolist()} in the logits, the gradient {expected.astype(float).tolist()}"
    )
    law((abs(chained - expected) <= allowed).all(), slopes, message)
