"""Properties of returns (spec/returns.md)."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from rlspec.properties.checking import agree, clause
from rlspec.properties.strategies import discounts, rescaling, reward_rows, roundings


factors = st.sampled_from([1.0, 2.0, 0.5, 100.0])


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
@given(reward_rows(), st.sampled_from([0.0, 1.0]))
def test_the_discounted_return_at_the_limits_of_gamma_is_one_reward_or_their_sum(candidate, rewards, gamma):
    answer = candidate.discounted_return(rewards, gamma)
    expected = [sum(map(Fraction, row if gamma else row[:1])) for row in rewards]
    agree(answer, expected, magnitude=scale(rewards, gamma)[:, 0], roundings=roundings(rewards.shape[1]))


@clause("RET-5")
@given(reward_rows(), st.sampled_from([0.0, 1.0]))
def test_the_reward_to_go_at_the_limits_of_gamma_is_the_reward_or_what_is_left(candidate, rewards, gamma):
    answer = candidate.reward_to_go(rewards, gamma)
    expected = [[sum(map(Fraction, row[t:] if gamma else row[t : t + 1])) for t in range(len(row))] for row in rewards]
    agree(answer, expected, magnitude=scale(rewards, gamma), roundings=roundings(rewards.shape[1]))


@clause("RET-6")
@given(reward_rows(), discounts)
def test_an_episodes_return_is_its_first_reward_to_go(candidate, rewards, gamma):
    answer = candidate.discounted_return(rewards, gamma)
    first = candidate.reward_to_go(rewards, gamma).value[:, 0]
    agree(answer, first, magnitude=scale(rewards, gamma)[:, 0], roundings=2 * roundings(rewards.shape[1]))
