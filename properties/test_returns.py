"""Properties of returns (spec/returns.md)."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, coarser, exactly, where
from rlspec.properties.strategies import (
    counts,
    discounts,
    endings,
    mixings,
    one_way_or_any,
    rescaling,
    reward_rows,
    rollouts,
    roundings,
    uninterrupted,
)

factors = st.sampled_from([1.0, 2.0, 0.5, 100.0])
whatever = st.sampled_from([1.0, -3.0, 1e9])
not_numbers = st.sampled_from([np.nan, np.inf, -np.inf])
rationals = np.vectorize(exactly, otypes=[object])


def scale(rewards, gamma):
    """How large rounding may be: each row's absolute sum, rescaled; shape [B, 1]."""
    return np.abs(rewards).sum(axis=1, keepdims=True) * rescaling(gamma, rewards.shape[1])


def weighted_sum(rewards, gamma):
    """sum_k gamma^k r_k in rationals."""
    return sum(Fraction(gamma) ** k * Fraction(reward) for k, reward in enumerate(rewards))


@clause("RET-1")
@given(reward_rows(), discounts)
def test_the_discounted_return_weighs_reward_t_by_gamma_to_the_t(candidate, rewards, gamma):
    answer = candidate.discounted_return(rewards, gamma)
    expected = [weighted_sum(row, gamma) for row in rewards]
    agree(answer, expected, magnitude=scale(rewards, gamma)[:, 0], roundings=roundings(rewards.shape[1]))


@clause("RET-2")
@given(reward_rows(), discounts)
def test_the_reward_to_go_is_the_discounted_sum_of_what_follows(candidate, rewards, gamma):
    answer = candidate.reward_to_go(rewards, gamma)
    expected = [[weighted_sum(row[t:], gamma) for t in range(len(row))] for row in rewards]
    agree(answer, expected, magnitude=scale(rewards, gamma), roundings=roundings(rewards.shape[1]))


@clause("RET-3")
@given(reward_rows(), discounts)
def test_taking_the_first_reward_away_leaves_the_later_steps_as_they_were(candidate, rewards, gamma):
    rewards = np.concatenate([rewards[:, :1], rewards], axis=1)
    answer = candidate.reward_to_go(rewards, gamma)
    later = candidate.reward_to_go(rewards[:, 1:], gamma).value
    first = [[Fraction(r) + Fraction(gamma) * Fraction(G)] for r, G in zip(rewards[:, 0], later[:, 0], strict=True)]
    expected = np.concatenate([np.array(first, dtype=object), later], axis=1)
    agree(answer, expected, magnitude=scale(rewards, gamma), roundings=2 * roundings(rewards.shape[1]))


@clause("RET-4")
@given(reward_rows(copies=2), factors, discounts)
def test_the_discounted_return_is_linear_in_the_rewards(candidate, pair, factor, gamma):
    x, y = pair
    answer = candidate.discounted_return(factor * x + y, gamma)
    expected = factor * candidate.discounted_return(x, gamma).value + candidate.discounted_return(y, gamma).value
    magnitude = scale(factor * np.abs(x) + np.abs(y), gamma)[:, 0]
    agree(answer, expected, magnitude=magnitude, roundings=2 * roundings(x.shape[1]))


@clause("RET-4")
@given(reward_rows(copies=2), factors, discounts)
def test_the_reward_to_go_is_linear_in_the_rewards(candidate, pair, factor, gamma):
    x, y = pair
    answer = candidate.reward_to_go(factor * x + y, gamma)
    expected = factor * candidate.reward_to_go(x, gamma).value + candidate.reward_to_go(y, gamma).value
    magnitude = scale(factor * np.abs(x) + np.abs(y), gamma)
    agree(answer, expected, magnitude=magnitude, roundings=2 * roundings(x.shape[1]))


@clause("RET-5")
@given(reward_rows())
def test_without_discount_the_discounted_return_is_the_sum_of_the_rewards(candidate, rewards):
    answer = candidate.discounted_return(rewards, 1.0)
    expected = [sum(map(Fraction, row)) for row in rewards]
    agree(answer, expected, magnitude=scale(rewards, 1)[:, 0], roundings=roundings(rewards.shape[1]))


@clause("RET-5")
@given(reward_rows())
def test_without_discount_the_reward_to_go_is_the_sum_of_the_rewards_left(candidate, rewards):
    answer = candidate.reward_to_go(rewards, 1.0)
    expected = [[sum(map(Fraction, row[t:])) for t in range(len(row))] for row in rewards]
    agree(answer, expected, magnitude=scale(rewards, 1), roundings=roundings(rewards.shape[1]))


@clause("RET-5")
@given(reward_rows())
def test_with_gamma_zero_the_discounted_return_is_the_first_reward(candidate, rewards):
    answer = candidate.discounted_return(rewards, 0.0)
    agree(answer, rewards[:, 0], magnitude=scale(rewards, 0)[:, 0], roundings=roundings(rewards.shape[1]))


@clause("RET-5")
@given(reward_rows())
def test_with_gamma_zero_the_reward_to_go_is_the_reward(candidate, rewards):
    answer = candidate.reward_to_go(rewards, 0.0)
    agree(answer, rewards, magnitude=scale(rewards, 0), roundings=roundings(rewards.shape[1]))


@clause("RET-6")
@given(reward_rows(), discounts)
def test_an_episodes_return_is_its_first_reward_to_go(candidate, rewards, gamma):
    answer = candidate.discounted_return(rewards, gamma)
    to_go = candidate.reward_to_go(rewards, gamma)
    judged = {"magnitude": scale(rewards, gamma)[:, 0], "roundings": 2 * roundings(rewards.shape[1])}
    agree(coarser(answer, to_go), to_go.value[:, 0], **judged)


def judged(rollout, decay):
    """How far rounding may take a bootstrapped return: agree()'s magnitude and roundings."""
    steps = rollout.rewards.shape[1]
    return {"magnitude": rollout.return_magnitude * rescaling(decay, steps), "roundings": 2 * roundings(steps)}


def bootstrapped(rewards, next_values, gamma, n):
    """At most n rewards and a bootstrap from a row's first step, in rationals."""
    steps = min(n, len(rewards))
    return weighted_sum(rewards[:steps], gamma) + Fraction(gamma) ** steps * Fraction(next_values[steps - 1])


def each_step(rollout, function):
    """What the function makes of the rewards and successors' values that each step has ahead, shape [B, T]."""
    rows = zip(rollout.rewards, rollout.next_values, strict=True)
    return [[function(rewards[t:], values[t:]) for t in range(len(rewards))] for rewards, values in rows]


@clause("RET-7")
@given(uninterrupted(), discounts, counts)
def test_an_n_step_return_is_n_discounted_rewards_and_a_discounted_bootstrap(candidate, rollout, gamma, n):
    answer = candidate.n_step_return(*rollout.return_arrays, gamma, n)
    expected = each_step(rollout, lambda rewards, values: bootstrapped(rewards, values, gamma, n))
    agree(answer, expected, **judged(rollout, gamma))


@clause("RET-8")
@given(uninterrupted(), discounts, mixings)
def test_the_lambda_return_is_the_geometric_mixture_of_n_step_returns(candidate, rollout, gamma, lam):
    def mixture(rewards, values):
        longest, weight = len(rewards), Fraction(lam)
        weights = [(1 - weight) * weight ** (n - 1) for n in range(1, longest)] + [weight ** (longest - 1)]
        return sum(w * bootstrapped(rewards, values, gamma, n) for n, w in enumerate(weights, start=1))

    answer = candidate.lambda_return(*rollout.return_arrays, gamma, lam)
    agree(answer, each_step(rollout, mixture), **judged(rollout, gamma * lam))


@clause("RET-9")
@given(uninterrupted(), discounts, counts)
def test_an_n_step_return_is_a_reward_and_the_shorter_return_after_it(candidate, rollout, gamma, n):
    assume(rollout.rewards.shape[1] > 1)
    answer = candidate.n_step_return(*rollout.return_arrays, gamma, n + 1)
    after = rationals(candidate.n_step_return(*rollout.return_arrays, gamma, n).value)
    inside = rationals(rollout.rewards[:, :-1]) + Fraction(gamma) * after[:, 1:]
    agree(answer, np.concatenate([inside, answer.value[:, -1:]], axis=1), **judged(rollout, gamma))


@clause("RET-9")
@given(uninterrupted(), discounts, mixings)
def test_a_lambda_return_is_a_reward_and_a_mixture_of_the_value_and_the_return_after_it(candidate, rollout, gamma, lam):
    assume(rollout.rewards.shape[1] > 1)
    answer = candidate.lambda_return(*rollout.return_arrays, gamma, lam)
    value, after = rationals(rollout.next_values[:, :-1]), rationals(answer.value[:, 1:])
    mixture = (1 - Fraction(lam)) * value + Fraction(lam) * after
    inside = rationals(rollout.rewards[:, :-1]) + Fraction(gamma) * mixture
    agree(answer, np.concatenate([inside, answer.value[:, -1:]], axis=1), **judged(rollout, gamma * lam))


def one_step(rollout, gamma):
    """Each step's reward and discounted bootstrap in rationals, shape [B, T]."""
    bootstrap = np.where(rollout.terminated, 0, rollout.next_values)
    return rationals(rollout.rewards) + Fraction(gamma) * rationals(bootstrap)


@clause("RET-10")
@given(uninterrupted(), discounts)
def test_the_return_of_one_step_is_the_reward_and_the_discounted_value(candidate, rollout, gamma):
    answer = candidate.n_step_return(*rollout.return_arrays, gamma, 1)
    agree(answer, one_step(rollout, gamma), **judged(rollout, gamma))


@clause("RET-10")
@given(uninterrupted(), discounts)
def test_with_lambda_zero_the_lambda_return_is_the_reward_and_the_discounted_value(candidate, rollout, gamma):
    answer = candidate.lambda_return(*rollout.return_arrays, gamma, 0.0)
    agree(answer, one_step(rollout, gamma), **judged(rollout, 0.0))


def terminating(rollout):
    """The rollout with a termination at the end of every row."""
    terminated = np.zeros_like(rollout.terminated)
    terminated[:, -1] = True
    return rollout.but(terminated=terminated).tidied


@clause("RET-11")
@given(uninterrupted().map(terminating), discounts)
def test_with_all_its_steps_the_n_step_return_of_an_ended_episode_is_the_reward_to_go(candidate, rollout, gamma):
    answer = candidate.n_step_return(*rollout.return_arrays, gamma, rollout.rewards.shape[1])
    expected = each_step(rollout, lambda rewards, values: weighted_sum(rewards, gamma))
    agree(answer, expected, **judged(rollout, gamma))


@clause("RET-11")
@given(uninterrupted().map(terminating), discounts)
def test_with_lambda_one_the_lambda_return_of_an_ended_episode_is_the_reward_to_go(candidate, rollout, gamma):
    answer = candidate.lambda_return(*rollout.return_arrays, gamma, 1.0)
    expected = each_step(rollout, lambda rewards, values: weighted_sum(rewards, gamma))
    agree(answer, expected, **judged(rollout, gamma))


@clause("RET-12")
@given(uninterrupted(), discounts, mixings)
def test_the_lambda_return_is_the_value_and_the_discounted_td_errors(candidate, rollout, gamma, lam):
    errors = one_step(rollout, gamma) - rationals(rollout.values)
    advantages = [[weighted_sum(row[t:], Fraction(gamma) * Fraction(lam)) for t in range(len(row))] for row in errors]
    answer = candidate.lambda_return(*rollout.return_arrays, gamma, lam)
    agree(answer, rationals(rollout.values) + np.array(advantages, dtype=object), **judged(rollout, gamma * lam))


def cut(rollout):
    """The same steps without flags, the successor of a termination being worth 0."""
    never = np.zeros_like(rollout.ended)
    return rollout.tidied.but(terminated=never, truncated=never)


@clause("RET-13")
@given(endings(), discounts, counts)
def test_the_last_n_step_return_bootstraps_at_a_truncation_and_not_at_a_termination(candidate, rollout, gamma, n):
    answer = candidate.n_step_return(*rollout.return_arrays, gamma, n)
    agree(answer, where(rollout.ended, one_step(rollout, gamma), answer), **judged(rollout, gamma))


@clause("RET-13")
@given(endings(), discounts, mixings)
def test_the_last_lambda_return_bootstraps_at_a_truncation_and_not_at_a_termination(candidate, rollout, gamma, lam):
    answer = candidate.lambda_return(*rollout.return_arrays, gamma, lam)
    agree(answer, where(rollout.ended, one_step(rollout, gamma), answer), **judged(rollout, gamma * lam))


@clause("RET-13")
@given(endings(), discounts, counts)
def test_to_an_n_step_return_a_truncation_is_a_cut_and_a_termination_a_cut_before_nothing(candidate, rollout, gamma, n):
    same = candidate.n_step_return(*cut(rollout).return_arrays, gamma, n)
    agree(candidate.n_step_return(*rollout.return_arrays, gamma, n), same, **judged(rollout, gamma))


@clause("RET-13")
@given(endings(), discounts, mixings)
def test_to_a_lambda_return_a_truncation_is_a_cut_and_a_termination_a_cut_before_nothing(
    candidate, rollout, gamma, lam
):
    same = candidate.lambda_return(*cut(rollout).return_arrays, gamma, lam)
    agree(candidate.lambda_return(*rollout.return_arrays, gamma, lam), same, **judged(rollout, gamma * lam))


def taken_apart(rollout, operation):
    """The operation's answers to the episodes of each row, put together again."""
    apart = np.empty(rollout.rewards.shape)
    for row, start, stop in rollout.episodes():
        apart[row, start:stop] = operation(*rollout.part(row, start, stop).return_arrays).value[0]
    return apart


@clause("RET-14")
@given(one_way_or_any(), discounts, counts)
def test_the_n_step_returns_of_several_episodes_are_those_of_each_taken_apart(candidate, rollout, gamma, n):
    apart = taken_apart(rollout, lambda *arrays: candidate.n_step_return(*arrays, gamma, n))
    agree(candidate.n_step_return(*rollout.return_arrays, gamma, n), apart, **judged(rollout, gamma))


@clause("RET-14")
@given(one_way_or_any(), discounts, mixings)
def test_the_lambda_returns_of_several_episodes_are_those_of_each_taken_apart(candidate, rollout, gamma, lam):
    apart = taken_apart(rollout, lambda *arrays: candidate.lambda_return(*arrays, gamma, lam))
    agree(candidate.lambda_return(*rollout.return_arrays, gamma, lam), apart, **judged(rollout, gamma * lam))


def check_linearity(operation, pair, factor, decay):
    """The operation's answer to factor x + y is factor times that to x and that to y."""
    x, y = (rollout.tidied for rollout in pair)
    answer = operation(*x.mixed(y, factor).return_arrays)
    apart = factor * operation(*x.return_arrays).value + operation(*y.return_arrays).value
    terms = judged(x, decay)
    magnitude = factor * terms["magnitude"] + judged(y, decay)["magnitude"]
    agree(answer, apart, **(terms | {"magnitude": magnitude}))


@clause("RET-15")
@given(rollouts(copies=2), factors, discounts, counts)
def test_n_step_returns_are_linear_in_rewards_and_values(candidate, pair, factor, gamma, n):
    check_linearity(lambda *arrays: candidate.n_step_return(*arrays, gamma, n), pair, factor, gamma)


@clause("RET-15")
@given(rollouts(copies=2), factors, discounts, mixings)
def test_lambda_returns_are_linear_in_rewards_and_values(candidate, pair, factor, gamma, lam):
    check_linearity(lambda *arrays: candidate.lambda_return(*arrays, gamma, lam), pair, factor, gamma * lam)


@clause("RET-16")
@given(rollouts(), whatever, discounts, counts)
def test_n_step_returns_never_read_what_follows_a_termination(candidate, rollout, junk, gamma, n):
    answer = candidate.n_step_return(*rollout.overwritten(junk).return_arrays, gamma, n)
    agree(answer, candidate.n_step_return(*rollout.return_arrays, gamma, n), **judged(rollout, gamma))


@clause("RET-16")
@given(rollouts(), whatever, discounts, mixings)
def test_lambda_returns_never_read_what_follows_a_termination(candidate, rollout, junk, gamma, lam):
    answer = candidate.lambda_return(*rollout.overwritten(junk).return_arrays, gamma, lam)
    agree(answer, candidate.lambda_return(*rollout.return_arrays, gamma, lam), **judged(rollout, gamma * lam))


@clause("RET-17")
@given(rollouts(), not_numbers, discounts, counts)
def test_n_step_returns_survive_nan_and_infinity_after_a_termination(candidate, rollout, junk, gamma, n):
    answer = candidate.n_step_return(*rollout.overwritten(junk).return_arrays, gamma, n)
    agree(answer, candidate.n_step_return(*rollout.return_arrays, gamma, n), **judged(rollout, gamma))


@clause("RET-17")
@given(rollouts(), not_numbers, discounts, mixings)
def test_lambda_returns_survive_nan_and_infinity_after_a_termination(candidate, rollout, junk, gamma, lam):
    answer = candidate.lambda_return(*rollout.overwritten(junk).return_arrays, gamma, lam)
    agree(answer, candidate.lambda_return(*rollout.return_arrays, gamma, lam), **judged(rollout, gamma * lam))


def earning_its_values(rollout, gamma):
    """The rollout with rewards that make its values right."""
    return rollout.but(rewards=rollout.values - gamma * rollout.next_values)


@clause("RET-18")
@given(uninterrupted(), discounts, counts)
def test_n_step_returns_leave_values_that_are_right_as_they_are(candidate, rollout, gamma, n):
    rollout = earning_its_values(rollout, gamma)
    answer = candidate.n_step_return(*rollout.return_arrays, gamma, n)
    agree(answer, rollout.values, **judged(rollout, gamma))


@clause("RET-18")
@given(uninterrupted(), discounts, mixings)
def test_lambda_returns_leave_values_that_are_right_as_they_are(candidate, rollout, gamma, lam):
    rollout = earning_its_values(rollout, gamma)
    answer = candidate.lambda_return(*rollout.return_arrays, gamma, lam)
    agree(answer, rollout.values, **judged(rollout, gamma * lam))
