"""Properties of advantages (spec/advantages.md)."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, exactly
from rlspec.properties.strategies import discounts, rescaling, rollouts, roundings, uninterrupted

factors = st.sampled_from([1.0, 2.0, 0.5, 100.0])
whatever = st.sampled_from([1.0, -3.0, 1e9])
not_numbers = st.sampled_from([np.nan, np.inf, -np.inf])
rationals = np.vectorize(exactly, otypes=[object])


def one_step(rollout, gamma):
    """Each step's TD error in rationals, shape [B, T]."""
    bootstrap = np.where(rollout.terminated, 0, rollout.next_values)
    return rationals(rollout.rewards) + Fraction(gamma) * rationals(bootstrap) - rationals(rollout.values)


def judged(rollout, gamma, lam=1.0):
    """How far rounding may take an answer: agree()'s magnitude and roundings."""
    steps = rollout.rewards.shape[1]
    return {"magnitude": rollout.magnitude * rescaling(gamma * lam, steps), "roundings": 2 * roundings(steps)}


@clause("ADV-1")
@given(rollouts(), discounts)
def test_the_td_error_is_reward_plus_discounted_successor_minus_value(candidate, rollout, gamma):
    answer = candidate.td_error(*rollout.td_arrays, gamma)
    agree(answer, one_step(rollout, gamma), **judged(rollout, gamma))


@clause("ADV-2")
@given(uninterrupted(), discounts, discounts)
def test_within_an_episode_gae_is_the_discounted_sum_of_td_errors(candidate, rollout, gamma, lam):
    answer = candidate.gae(*rollout.arrays, gamma, lam)
    decay = Fraction(gamma) * Fraction(lam)
    steps = rollout.rewards.shape[1]
    powers = [[decay ** (k - t) if k >= t else 0 for t in range(steps)] for k in range(steps)]
    expected = one_step(rollout, gamma) @ np.array(powers, dtype=object)
    agree(answer, expected, **judged(rollout, gamma, lam))


@clause("ADV-3")
@given(rollouts(inside=False), discounts, discounts)
def test_a_truncation_is_a_cut_and_a_termination_a_cut_before_nothing(candidate, rollout, gamma, lam):
    assume(rollout.ended.any())
    never = np.zeros_like(rollout.ended)
    cut = rollout.tidied.but(terminated=never, truncated=never)
    answer = candidate.gae(*rollout.arrays, gamma, lam)
    agree(answer, candidate.gae(*cut.arrays, gamma, lam), **judged(rollout, gamma, lam))


@clause("ADV-4")
@given(rollouts(), discounts, discounts)
def test_a_row_of_several_episodes_is_its_episodes_taken_apart(candidate, rollout, gamma, lam):
    answer = candidate.gae(*rollout.arrays, gamma, lam)
    apart = np.empty(rollout.rewards.shape)
    for row, start, stop in rollout.episodes():
        apart[row, start:stop] = candidate.gae(*rollout.part(row, start, stop).arrays, gamma, lam).value[0]
    agree(answer, apart, **judged(rollout, gamma, lam))


@clause("ADV-5")
@given(uninterrupted(), discounts)
def test_with_lambda_zero_gae_is_the_td_error(candidate, rollout, gamma):
    answer = candidate.gae(*rollout.arrays, gamma, 0.0)
    agree(answer, one_step(rollout, gamma), **judged(rollout, gamma, 0.0))


@clause("ADV-6")
@given(uninterrupted(), discounts)
def test_with_lambda_one_gae_of_an_ended_episode_is_the_return_minus_the_value(candidate, rollout, gamma):
    terminated = np.zeros_like(rollout.terminated)
    terminated[:, -1] = True
    rollout = rollout.but(terminated=terminated).tidied
    returns = [
        [sum(Fraction(gamma) ** k * exactly(r) for k, r in enumerate(row[t:])) for t in range(len(row))]
        for row in rollout.rewards
    ]
    answer = candidate.gae(*rollout.arrays, gamma, 1.0)
    agree(answer, np.array(returns, dtype=object) - rationals(rollout.values), **judged(rollout, gamma))


def judged_mixture(x, y, factor, gamma, lam=1.0):
    """How far rounding may take a linear combination of answers."""
    terms = judged(x, gamma, lam)
    return terms | {"magnitude": factor * terms["magnitude"] + judged(y, gamma, lam)["magnitude"]}


@clause("ADV-7")
@given(rollouts(copies=2), factors, discounts)
def test_the_td_error_is_linear_in_rewards_and_values(candidate, pair, factor, gamma):
    x, y = (rollout.tidied for rollout in pair)
    answer = candidate.td_error(*x.mixed(y, factor).td_arrays, gamma)
    apart = (candidate.td_error(*part.td_arrays, gamma).value for part in (x, y))
    agree(answer, factor * next(apart) + next(apart), **judged_mixture(x, y, factor, gamma))


@clause("ADV-7")
@given(rollouts(copies=2), factors, discounts, discounts)
def test_gae_is_linear_in_rewards_and_values(candidate, pair, factor, gamma, lam):
    x, y = (rollout.tidied for rollout in pair)
    answer = candidate.gae(*x.mixed(y, factor).arrays, gamma, lam)
    apart = (candidate.gae(*part.arrays, gamma, lam).value for part in (x, y))
    agree(answer, factor * next(apart) + next(apart), **judged_mixture(x, y, factor, gamma, lam))


@clause("ADV-8")
@given(rollouts(), whatever, discounts)
def test_the_td_error_never_reads_what_follows_a_termination(candidate, rollout, junk, gamma):
    answer = candidate.td_error(*rollout.overwritten(junk).td_arrays, gamma)
    agree(answer, candidate.td_error(*rollout.td_arrays, gamma), **judged(rollout, gamma))


@clause("ADV-8")
@given(rollouts(), whatever, discounts, discounts)
def test_gae_never_reads_what_follows_a_termination(candidate, rollout, junk, gamma, lam):
    answer = candidate.gae(*rollout.overwritten(junk).arrays, gamma, lam)
    agree(answer, candidate.gae(*rollout.arrays, gamma, lam), **judged(rollout, gamma, lam))


@clause("ADV-9")
@given(rollouts(), not_numbers, discounts)
def test_the_td_error_survives_nan_and_infinity_after_a_termination(candidate, rollout, junk, gamma):
    answer = candidate.td_error(*rollout.overwritten(junk).td_arrays, gamma)
    agree(answer, candidate.td_error(*rollout.td_arrays, gamma), **judged(rollout, gamma))


@clause("ADV-9")
@given(rollouts(), not_numbers, discounts, discounts)
def test_gae_survives_nan_and_infinity_after_a_termination(candidate, rollout, junk, gamma, lam):
    answer = candidate.gae(*rollout.overwritten(junk).arrays, gamma, lam)
    agree(answer, candidate.gae(*rollout.arrays, gamma, lam), **judged(rollout, gamma, lam))


@clause("ADV-10")
@given(uninterrupted(copies=2), discounts, discounts)
def test_gae_is_unchanged_by_shaping_with_a_potential_that_the_values_absorb(candidate, pair, gamma, lam):
    rollout, potential = pair
    phi, next_phi = potential.values, potential.next_values
    shaped = rollout.but(
        rewards=rollout.rewards + gamma * next_phi - phi,
        values=rollout.values - phi,
        next_values=rollout.next_values - next_phi,
    )
    judgement = judged(rollout, gamma, lam)
    judgement["magnitude"] = judgement["magnitude"] + 2 * judged(potential, gamma, lam)["magnitude"]
    answer = candidate.gae(*shaped.arrays, gamma, lam)
    agree(answer, candidate.gae(*rollout.arrays, gamma, lam), **judgement)
