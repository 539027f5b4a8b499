"""Properties of what is stored and given back (spec/replay.md)."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from flint import ctx
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.properties.checking import agree, clause, coarser, exactly, law, tolerance, where
from rlspec.properties.storing import (
    NOT_ROUNDED,
    alphas,
    betas,
    burn_ins,
    capacities,
    drawn_slots,
    episode_ends,
    places,
    power_terms,
    priorities,
    resetting,
    window_terms,
)
from rlspec.properties.strategies import PLAIN, counts, discounts, one_way_or_any, rollouts, uninterrupted
from rlspec.reference import replay
from rlspec.reference.choices import shape_of

rationals = np.vectorize(exactly, otypes=[object])
enough = 100


def window_of(rollout, row, t, gamma, n):
    """The target of a window that begins at step t: its rewards, and the bootstrap at its last step, in rationals."""
    steps = rollout.rewards.shape[1]
    last = next((k for k in range(t, min(t + n, steps)) if rollout.ended[row, k]), min(t + n, steps) - 1)
    total = sum(Fraction(gamma) ** (k - t) * exactly(rollout.rewards[row, k]) for k in range(t, last + 1))
    beyond = 0 if rollout.terminated[row, last] else exactly(rollout.next_values[row, last])
    return total + Fraction(gamma) ** (last + 1 - t) * beyond


def expected_windows(rollout, capacity, gamma, n):
    """The targets of those that are stored, and 0 for the others."""
    rows, steps = rollout.rewards.shape
    return [
        [window_of(rollout, row, t, gamma, n) if t >= steps - capacity else 0 for t in range(steps)]
        for row in range(rows)
    ]


@clause("RPL-1", examples=60)
@given(uninterrupted(), discounts, counts)
def test_a_stored_window_has_n_rewards_and_the_bootstrap_where_it_ends(candidate, rollout, gamma, n):
    answer = candidate.replayed_targets(*rollout.return_arrays, enough, gamma, n)
    agree(answer, expected_windows(rollout, enough, gamma, n), **window_terms(rollout, gamma))


@clause("RPL-2", examples=60)
@given(uninterrupted(), capacities, discounts, counts)
def test_a_ring_that_is_full_gives_back_the_newest_and_no_window_across_its_seam(
    candidate, rollout, capacity, gamma, n
):
    assume(capacity < rollout.rewards.shape[1])
    answer = candidate.replayed_targets(*rollout.return_arrays, capacity, gamma, n)
    agree(answer, expected_windows(rollout, capacity, gamma, n), **window_terms(rollout, gamma))


@clause("RPL-3", examples=60)
@given(one_way_or_any(), discounts, counts)
def test_a_stored_window_ends_with_its_episode(candidate, rollout, gamma, n):
    assume(rollout.ended.any())
    answer = candidate.replayed_targets(*rollout.return_arrays, enough, gamma, n)
    agree(answer, expected_windows(rollout, enough, gamma, n), **window_terms(rollout, gamma))


@clause("RPL-4", examples=40)
@given(rollouts(), capacities)
def test_without_a_discount_each_stored_reward_comes_out_once_and_in_its_place(candidate, rollout, capacity):
    answer = candidate.replayed_targets(*rollout.return_arrays, capacity, 0.0, 3)
    kept = np.arange(rollout.rewards.shape[1]) >= rollout.rewards.shape[1] - capacity
    agree(answer, np.where(kept, rollout.rewards, 0), **window_terms(rollout, 0.0))


def kept_from_zero(candidate):
    """What the candidate adds to a priority, and to its power, by its convention."""
    shape, number = shape_of(candidate.convention("sampling_probabilities.power"), *replay.SHAPES)
    added = exactly(number or 0)
    return (added, Fraction(0)) if shape == "(p + E)^alpha" else (Fraction(0), added)


@clause("RPL-5", examples=50)
@given(priorities(), alphas)
def test_probabilities_are_as_the_powers_of_the_priorities(candidate, known, alpha):
    answer = candidate.sampling_probabilities(known, alpha)
    inside, outside = kept_from_zero(candidate)
    with ctx.workprec(PRECISION):
        powers = [(balls(exactly(p) + inside).log() * balls(alpha)).exp() + balls(outside) for p in known]
        expected = [nearest(1 / sum(other / own for other in powers)) for own in powers]
    agree(answer, expected, **power_terms(alpha, len(known)))


@clause("RPL-6", examples=40)
@given(priorities(), alphas, st.sampled_from([1.0, 4.0, 0.125]))
def test_probabilities_add_up_to_one_and_do_not_depend_on_the_unit(candidate, known, alpha, unit):
    answer = candidate.sampling_probabilities(known * unit, alpha)
    terms = power_terms(2 * alpha, len(known))
    if not any(kept_from_zero(candidate)):
        agree(answer, coarser(candidate.sampling_probabilities(known, alpha), answer), **terms)
    off = tolerance(roundoff=answer.roundoff, **terms)
    total = sum(rationals(answer.value))
    law(abs(total - 1) <= len(known) * off, answer, f"the probabilities add up to {float(total)}")


@clause("RPL-6", examples=20)
@given(priorities())
def test_an_exponent_of_zero_is_uniform(candidate, known):
    answer = candidate.sampling_probabilities(known, 0.0)
    agree(answer, [Fraction(1, len(known))] * len(known), **power_terms(0.0, len(known)))


def largest_of(candidate, drawn):
    """The least probability of those that the weights are normalised over, by the candidate's convention."""
    among = {"batch": drawn.probabilities[drawn.sampled], "buffer": drawn.probabilities}
    return among[candidate.convention("priority_weights.maximum")].min()


@clause("RPL-7", examples=60)
@given(drawn_slots(), betas)
def test_a_weight_is_the_power_of_the_least_probability_over_the_own(candidate, drawn, beta):
    answer = candidate.priority_weights(drawn.probabilities, drawn.sampled, beta)
    least = largest_of(candidate, drawn)
    with ctx.workprec(PRECISION):
        ratios = [balls(least) / balls(p) for p in drawn.probabilities[drawn.sampled]]
        expected = [nearest((ratio.log() * balls(beta)).exp()) for ratio in ratios]
    agree(answer, expected, **drawn.judged)


@clause("RPL-7", examples=30)
@given(drawn_slots())
def test_weights_take_all_of_the_sampling_back_with_an_exponent_of_one(candidate, drawn):
    answer = candidate.priority_weights(drawn.probabilities, drawn.sampled, 1.0)
    level = exactly(largest_of(candidate, drawn))
    agree(answer, [level / exactly(p) for p in drawn.probabilities[drawn.sampled]], **drawn.judged)


def slot_of(known, place):
    """The slot whose own stretch of the priorities' sum a place is in."""
    begins = [sum(known[:slot], Fraction(0)) for slot in range(len(known))]
    return next(slot for slot, begin in enumerate(begins) if begin <= place < begin + known[slot])


@clause("RPL-10", examples=60)
@given(places())
def test_a_place_of_the_priorities_sum_falls_on_the_slot_whose_stretch_it_is_in(candidate, drawn):
    known, uniforms = map(rationals, drawn)
    answer = candidate.sampled_slots(*drawn)
    in_parts = candidate.convention("sampled_slots.parts") == "equal parts"
    shares = [(k + u) / len(uniforms) if in_parts else u for k, u in enumerate(uniforms)]
    agree(answer, [slot_of(list(known), share * sum(known)) for share in shares], **NOT_ROUNDED)


@clause("RPL-10", examples=30)
@given(places())
def test_a_slot_without_priority_is_never_drawn(candidate, drawn):
    answer = candidate.sampled_slots(*drawn)
    chosen = answer.value.astype(int)
    law((drawn[0][chosen] > 0).all(), answer, "a slot with the priority 0 was drawn")


@clause("RPL-13", examples=50)
@given(episode_ends(), burn_ins)
def test_a_state_begins_anew_where_the_step_before_ended_an_episode(candidate, ends, burn_in):
    resets, _ = candidate.sequence_masks(ends.terminated, ends.truncated, burn_in)
    rows, steps = ends.ended.shape
    first = candidate.convention("sequence_masks.start") == "zero"
    begins = [[bool(ends.ended[row, t - 1]) if t else first for t in range(steps)] for row in range(rows)]
    agree(resets, np.array(begins, dtype=float), **NOT_ROUNDED)


@clause("RPL-13", examples=30)
@given(episode_ends(), burn_ins)
def test_the_steps_of_the_burn_in_do_not_count(candidate, ends, burn_in):
    _, counted = candidate.sequence_masks(ends.terminated, ends.truncated, burn_in)
    rows, steps = ends.ended.shape
    expected = np.repeat([[0.0] * min(burn_in, steps) + [1.0] * max(0, steps - burn_in)], rows, axis=0)
    agree(counted, expected, **NOT_ROUNDED)


@clause("RPL-15", examples=50)
@given(resetting(modes=st.just("same step")))
def test_in_the_same_step_the_last_observation_was_told_beside(candidate, drawn):
    following, valid = candidate.autoreset_transitions(*drawn.arguments)
    agree(following, np.where(drawn.ended, drawn.final, drawn.observed), **drawn.judged)
    agree(valid, np.ones(drawn.ended.shape), **NOT_ROUNDED)


@clause("RPL-16", examples=50)
@given(resetting(modes=st.just("next step")))
def test_in_the_next_step_the_step_that_resets_is_no_transition(candidate, drawn):
    following, valid = candidate.autoreset_transitions(*drawn.arguments)
    resets = [[t > 0 and bool(row[t - 1]) for t in range(len(row))] for row in drawn.ended]
    agree(following, np.where(resets, 0, drawn.observed), **drawn.judged)
    agree(valid, 1.0 - np.array(resets), **NOT_ROUNDED)


def streamed(values, lengths, mode):
    """What an environment returns that lives through episodes of these lengths: values, last values, and ends.

    values: those of all observations but the first of each episode, in order; where it resets itself it returns -1.
    """
    observed: list[float] = []
    final: list[float] = []
    ended: list[bool] = []
    taken = iter(values)
    for length in lengths:
        episode = [next(taken) for _ in range(length)]
        last = [False] * (length - 1) + [True]
        ended += last if mode == "same step" else [*last, False]
        observed += [*episode[:-1], -1.0] if mode == "same step" else [*episode, -1.0]
        final += [7.0] * (length - 1) + [episode[-1]] if mode == "same step" else [7.0] * (length + 1)
    return np.array([observed]), np.array([final]), np.array([ended])


@clause("RPL-17", examples=40)
@given(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=4), st.integers(0, len(PLAIN) - 1), st.booleans())
def test_the_same_episodes_have_the_same_transitions_in_both_modes(candidate, lengths, first, by_time):
    values = np.resize(np.roll(PLAIN, -first), sum(lengths))
    for mode in ("same step", "next step"):
        observed, final, ended = streamed(values.tolist(), lengths, mode)
        ends = (0 * ended, ended) if by_time else (ended, 0 * ended)
        flags = [np.asarray(flag, dtype=bool) for flag in ends]
        following, valid = candidate.autoreset_transitions(observed, final, *flags, mode)
        kept = valid.value.astype(bool)
        law(kept.sum() == len(values), valid, f"{kept.sum()} transitions of {len(values)}")
        whole = np.zeros(kept.shape)
        whole[kept] = values
        agree(following, where(kept, whole, following), magnitude=np.abs(whole), roundings=1)


small = st.lists(st.sampled_from([1, 2, 0, 4, 3]), min_size=1, max_size=5).filter(any)


@clause("RPL-9")
@given(
    st.lists(st.sampled_from([1, 2, 4, 3]), min_size=1, max_size=5),
    st.lists(st.integers(-3, 3), min_size=5, max_size=5),
)
def test_theorem_weights_over_the_buffers_maximum_are_unbiased_up_to_a_factor(known, numbers):
    chances = [Fraction(p, sum(known)) for p in known]
    found = replay.expected_weighted(chances, numbers[: len(known)], 1, "buffer")
    assert found == sum(numbers[: len(known)]) * min(chances)


@clause("RPL-12")
@given(small, st.integers(1, 4), st.sampled_from(["equal parts", "the whole"]))
def test_theorem_each_slot_is_drawn_as_often_as_its_probability_says(known, count, parts):
    found = replay.expected_draws(list(map(Fraction, known)), count, parts)
    assert found == [Fraction(count * p, sum(known)) for p in known]
