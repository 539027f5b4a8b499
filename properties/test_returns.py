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
    first = candidate.reward_to_go(rewards, gamma).value[:, 0]
    agree(answer, first, magnitude=scale(rewards, gamma)[:, 0], roundings=2 * roundings(rewards.shape[1]))
