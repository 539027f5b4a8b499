"""Properties of advantages (spec/advantages.md)."""

from fractions import Fraction
from itertools import product
from statistics import pstdev, stdev

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, exactly, law, tolerance, where
from rlspec.properties.strategies import (
    Batch,
    Rollout,
    batches,
    clips,
    discounts,
    endings,
    equal_advantages,
    lone_advantages,
    mixings,
    normalized_terms,
    off_policy_terms,
    one_way_or_any,
    rescaling,
    rollouts,
    roundings,
    trace_clips,
    uninterrupted,
)
from rlspec.reference.spread import kept_from_zero
from rlspec.spec.choices import number_in

powers_of_two = st.sampled_from([1.0, 2.0, 0.5, 1024.0])
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
@given(uninterrupted(), discounts, mixings)
def test_within_an_episode_gae_is_the_discounted_sum_of_td_errors(candidate, rollout, gamma, lam):
    answer = candidate.gae(*rollout.arrays, gamma, lam)
    decay = Fraction(gamma) * Fraction(lam)
    steps = rollout.rewards.shape[1]
    powers = [[decay ** (k - t) if k >= t else 0 for t in range(steps)] for k in range(steps)]
    expected = one_step(rollout, gamma) @ np.array(powers, dtype=object)
    agree(answer, expected, **judged(rollout, gamma, lam))


@clause("ADV-3")
@given(endings(), discounts, mixings)
def test_the_last_advantage_bootstraps_at_a_truncation_and_not_at_a_termination(candidate, rollout, gamma, lam):
    answer = candidate.gae(*rollout.arrays, gamma, lam)
    agree(answer, where(rollout.ended, one_step(rollout, gamma), answer), **judged(rollout, gamma, lam))


@clause("ADV-3")
@given(endings(), discounts, mixings)
def test_a_truncation_is_a_cut_and_a_termination_a_cut_before_nothing(candidate, rollout, gamma, lam):
    never = np.zeros_like(rollout.ended)
    cut = rollout.tidied.but(terminated=never, truncated=never)
    answer = candidate.gae(*rollout.arrays, gamma, lam)
    agree(answer, candidate.gae(*cut.arrays, gamma, lam), **judged(rollout, gamma, lam))


@clause("ADV-4")
@given(one_way_or_any(), discounts, mixings)
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
@given(rollouts(copies=2), factors, discounts, mixings)
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
@given(rollouts(), whatever, discounts, mixings)
def test_gae_never_reads_what_follows_a_termination(candidate, rollout, junk, gamma, lam):
    answer = candidate.gae(*rollout.overwritten(junk).arrays, gamma, lam)
    agree(answer, candidate.gae(*rollout.arrays, gamma, lam), **judged(rollout, gamma, lam))


@clause("ADV-9")
@given(rollouts(), not_numbers, discounts)
def test_the_td_error_survives_nan_and_infinity_after_a_termination(candidate, rollout, junk, gamma):
    answer = candidate.td_error(*rollout.overwritten(junk).td_arrays, gamma)
    agree(answer, candidate.td_error(*rollout.td_arrays, gamma), **judged(rollout, gamma))


@clause("ADV-9")
@given(rollouts(), not_numbers, discounts, mixings)
def test_gae_survives_nan_and_infinity_after_a_termination(candidate, rollout, junk, gamma, lam):
    answer = candidate.gae(*rollout.overwritten(junk).arrays, gamma, lam)
    agree(answer, candidate.gae(*rollout.arrays, gamma, lam), **judged(rollout, gamma, lam))


@clause("ADV-10")
@given(uninterrupted(copies=2), discounts, mixings)
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


def spread(candidate, batch):
    """The standard deviation of what counts, by the candidate's convention; correctly rounded."""
    by = {"ddof=0": pstdev, "ddof=1": stdev}[candidate.convention("normalize_advantages.std")]
    return float(by(map(exactly, batch.counted)))


def divisor(candidate, batch):
    """What the candidate divides by, by its conventions."""
    return float(kept_from_zero(spread(candidate, batch), candidate.convention("normalize_advantages.eps")))


def centred(batch):
    """The entries' differences from the mean of those that count, in rationals."""
    entries = rationals(batch.advantages)
    return entries - sum(entries[batch.mask]) / int(batch.mask.sum())


@clause("ADV-11")
@given(batches())
def test_normalised_advantages_are_differences_from_the_mean_over_the_standard_deviation(candidate, batch):
    scale = divisor(candidate, batch)
    answer = candidate.normalize_advantages(*batch.arrays)
    agree(answer, where(batch.mask, centred(batch) / Fraction(scale), answer), **normalized_terms(batch, scale))


@clause("ADV-12")
@given(batches())
def test_normalised_advantages_have_mean_zero(candidate, batch):
    answer = candidate.normalize_advantages(*batch.arrays)
    total = sum(rationals(answer.value[batch.mask]))
    terms = normalized_terms(batch, divisor(candidate, batch))
    allowed = len(batch.counted) * tolerance(**terms, roundoff=answer.roundoff)
    law(abs(total) <= allowed, answer, f"they add up to {float(total)}, where rounding explains {float(allowed):.1e}")


@clause("ADV-12")
@given(batches())
def test_normalised_advantages_have_the_declared_standard_deviation(candidate, batch):
    answer = candidate.normalize_advantages(*batch.arrays)
    scale, count = divisor(candidate, batch), len(batch.counted)
    entries = count - (candidate.convention("normalize_advantages.std") == "ddof=1")
    total = sum(rationals(answer.value[batch.mask]) ** 2)
    expected = entries * (Fraction(spread(candidate, batch)) / Fraction(scale)) ** 2
    each = tolerance(**normalized_terms(batch, scale), roundoff=answer.roundoff)
    largest = Fraction(count) + 1  # no less than the square root of count, which no entry exceeds
    allowed = count * (2 * largest + each) * each
    said = f"their squares add up to {float(total)} and not to {float(expected)}"
    law(abs(total - expected) <= allowed, answer, f"{said}, where rounding explains {float(allowed):.1e}")


@clause("ADV-13")
@given(batches(), powers_of_two, st.sampled_from([0.0, 1.0, -8.0, 4096.0]))
def test_a_shift_and_a_change_of_scale_leave_normalised_advantages_as_they_are(candidate, batch, factor, shift):
    moved = Batch(factor * batch.advantages + shift * np.abs(batch.counted).max(), batch.mask)
    answer = candidate.normalize_advantages(*moved.arrays)
    before, after = divisor(candidate, batch), divisor(candidate, moved)
    same = rationals(candidate.normalize_advantages(*batch.arrays).value)
    terms, moved_terms = normalized_terms(batch, before), normalized_terms(moved, after)
    expected = same * Fraction(factor) * Fraction(before) / Fraction(after)
    magnitude = terms["magnitude"] * factor * before / after + moved_terms["magnitude"]
    expected = where(batch.mask, expected, answer)
    agree(answer, expected, magnitude=magnitude, roundings=terms["roundings"] + 2)  # moving rounds once per entry


@clause("ADV-14")
@given(batches(), st.randoms(use_true_random=False))
def test_entries_in_another_order_have_the_same_normalised_advantages_in_that_order(candidate, batch, random):
    order = list(range(batch.mask.size))
    random.shuffle(order)
    shuffled = Batch(*(array.ravel()[order].reshape(-1, 1) for array in batch.arrays))
    answer = candidate.normalize_advantages(*shuffled.arrays)
    same = candidate.normalize_advantages(*batch.arrays).value.ravel()[order].reshape(-1, 1)
    agree(answer, where(shuffled.mask, same, answer), **normalized_terms(batch, divisor(candidate, batch)))


@clause("ADV-15")
@given(lone_advantages())
def test_a_single_advantage_becomes_zero_or_stays_as_it_is(candidate, batch):
    answer = candidate.normalize_advantages(*batch.arrays)
    unchanged = candidate.convention("normalize_advantages.one") == "unchanged"
    agree(answer, where(batch.mask, batch.advantages if unchanged else 0, answer), magnitude=0, roundings=1)


@clause("ADV-16")
@given(equal_advantages())
def test_equal_advantages_become_zero(candidate, batch):
    answer = candidate.normalize_advantages(*batch.arrays)
    terms = normalized_terms(batch, divisor(candidate, batch))
    if candidate.convention("normalize_advantages.eps") == "std":
        terms["magnitude"] = 0
    agree(answer, where(batch.mask, 0, answer), **terms)


def off_policy(**options):
    """Rollouts with ratios."""
    return rollouts(off_policy=True, **options)


def vtrace(candidate, rollout, *scalars):
    """The candidate's targets and advantages."""
    return candidate.vtrace(*rollout.off_policy_arrays, *scalars)


def values_of(answers):
    """The numbers of several results."""
    return tuple(answer.value for answer in answers)


def at_most(numbers, most):
    """The numbers in rationals, and the other one where they are larger."""
    return np.vectorize(lambda number: min(number, Fraction(most)), otypes=[object])(numbers)


def clipped_sums(rollout, gamma, lam, rho_clip, c_clip):
    """V-trace's targets in rationals, each summed up from its own first step, shape [B, T]."""
    decay = Fraction(gamma) * Fraction(lam)
    ratios, errors = rationals(rollout.ratio), one_step(rollout, gamma)
    rho, c = (at_most(ratios, clip) for clip in (rho_clip, c_clip))
    targets = rationals(rollout.values)
    for row, t in np.ndindex(targets.shape):
        weight = Fraction(1)
        for k in range(t, targets.shape[1]):
            targets[row, t] += weight * rho[row, k] * errors[row, k]
            weight *= decay * c[row, k]
    return targets


@clause("ADV-20")
@given(off_policy(inside=False, at_end=False), discounts, mixings, clips, trace_clips)
def test_a_vtrace_target_is_the_value_and_the_clipped_sum_of_td_errors(
    candidate, rollout, gamma, lam, rho_clip, c_clip
):
    targets, _ = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    expected = clipped_sums(rollout, gamma, lam, rho_clip, c_clip)
    agree(targets, expected, **off_policy_terms(rollout, rho_clip, c_clip))


def policy_clip(candidate, rho_clip):
    """What the ratio is clipped at in the candidate's advantages, by its convention."""
    return number_in("at most C", candidate.convention("vtrace.policy_clip")) or rho_clip


def vtrace_terms(candidate, rollout, rho_clip, c_clip):
    """How far rounding may take targets and advantages under the candidate's conventions."""
    return off_policy_terms(rollout, max(rho_clip, policy_clip(candidate, rho_clip)), c_clip)


@clause("ADV-21")
@given(off_policy(inside=False, at_end=False), discounts, mixings, clips, trace_clips)
def test_a_vtrace_advantage_is_the_clipped_error_towards_the_next_target(
    candidate, rollout, gamma, lam, rho_clip, c_clip
):
    targets, advantages = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    mixed = candidate.convention("vtrace.advantage") == "mixed"
    weight, bootstrap = Fraction(lam) if mixed else 1, rationals(rollout.next_values)
    bootstrap[:, :-1] = (1 - weight) * bootstrap[:, :-1] + weight * rationals(targets.value[:, 1:])
    errors = rationals(rollout.rewards) + Fraction(gamma) * bootstrap - rationals(rollout.values)
    weights = at_most(rationals(rollout.ratio), policy_clip(candidate, rho_clip))
    agree(advantages, weights * errors, **vtrace_terms(candidate, rollout, rho_clip, c_clip))


@clause("ADV-22")
@given(uninterrupted(), discounts, mixings, st.sampled_from([1.0, 2.0]), st.sampled_from([1.0, 2.0]))
def test_between_equal_policies_the_vtrace_target_is_the_lambda_return(
    candidate, rollout, gamma, lam, rho_clip, c_clip
):
    rollout = rollout.but(ratio=np.ones(rollout.rewards.shape))
    targets, _ = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    expected = rationals(rollout.rewards)
    for t in reversed(range(expected.shape[1])):
        near = rationals(rollout.next_values[:, t])
        far = expected[:, t + 1] if t + 1 < expected.shape[1] else near
        expected[:, t] += Fraction(gamma) * ((1 - Fraction(lam)) * near + Fraction(lam) * far)
    agree(targets, expected, **off_policy_terms(rollout, 1, 1))


@clause("ADV-23")
@given(endings(off_policy=True), discounts, mixings, clips, trace_clips)
def test_the_last_step_of_vtrace_bootstraps_at_a_truncation_and_not_at_a_termination(
    candidate, rollout, gamma, lam, rho_clip, c_clip
):
    targets, advantages = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    ratios, errors = rationals(rollout.ratio), one_step(rollout, gamma)
    of_targets = rationals(rollout.values) + at_most(ratios, rho_clip) * errors
    of_advantages = at_most(ratios, policy_clip(candidate, rho_clip)) * errors
    terms = vtrace_terms(candidate, rollout, rho_clip, c_clip)
    agree(targets, where(rollout.ended, of_targets, targets), **terms)
    agree(advantages, where(rollout.ended, of_advantages, advantages), **terms)


@clause("ADV-23")
@given(endings(off_policy=True), discounts, mixings, clips, trace_clips)
def test_to_vtrace_a_truncation_is_a_cut_and_a_termination_a_cut_before_nothing(
    candidate, rollout, gamma, lam, rho_clip, c_clip
):
    never = np.zeros_like(rollout.ended)
    cut = rollout.tidied.but(terminated=never, truncated=never)
    answers, same = (vtrace(candidate, part, gamma, lam, rho_clip, c_clip) for part in (rollout, cut))
    agree(answers, values_of(same), **vtrace_terms(candidate, rollout, rho_clip, c_clip))


@clause("ADV-24")
@given(one_way_or_any(off_policy=True), discounts, mixings, clips, trace_clips)
def test_vtrace_of_several_episodes_is_that_of_each_taken_apart(candidate, rollout, gamma, lam, rho_clip, c_clip):
    answers = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    apart = np.empty((2, *rollout.rewards.shape))
    for row, start, stop in rollout.episodes():
        alone = vtrace(candidate, rollout.part(row, start, stop), gamma, lam, rho_clip, c_clip)
        apart[:, row, start:stop] = [part[0] for part in values_of(alone)]
    agree(answers, apart, **vtrace_terms(candidate, rollout, rho_clip, c_clip))


probabilities = st.sampled_from([Fraction(1, 2), Fraction(1, 4), Fraction(3, 4)])
few_steps = st.integers(1, 3)


@st.composite
def evaluations(draw, gamma, rho_clip):
    """All trajectories of mu in a process of two states and two actions, whose V is that of the clipped policy.

    The rewards are chosen so that V is the value of the policy proportional to w = min(rho_clip mu, pi): what a
    reward adds to V(s) - gamma E[V(s')] is w of the other action, with opposite signs, and averages out under w.
    Returns a rollout with a row for each trajectory, and the probability of each row given its first state.
    """
    mu, pi = ([(p, 1 - p) for p in draw(st.tuples(probabilities, probabilities))] for _ in range(2))
    moves = [[(p, 1 - p) for p in draw(st.tuples(*[st.sampled_from([Fraction(1), Fraction(1, 2)])] * 2))] for _ in mu]
    values = draw(st.tuples(*[st.sampled_from([0, 1, -2, 8])] * 2))
    extra = draw(st.sampled_from([1, -3, 16]))
    weights = [[min(Fraction(rho_clip) * m, p) for m, p in zip(*ps, strict=True)] for ps in zip(mu, pi, strict=True)]
    steps = draw(few_steps)
    rows, chances = [], []
    for start, *path in product(range(2), *[range(2)] * (2 * steps)):
        state, chance, row = start, Fraction(1), []
        for action, following in zip(path[::2], path[1::2], strict=True):
            ahead = sum(p * v for p, v in zip(moves[state][action], values, strict=True))
            noise = extra * weights[state][1 - action] * (-1) ** action
            reward = values[state] - Fraction(gamma) * ahead + noise
            ratio = pi[state][action] / mu[state][action]
            row.append((float(reward), values[state], values[following], float(ratio)))
            chance *= mu[state][action] * moves[state][action][following]
            state = following
        if chance:
            rows.append(row)
            chances.append(chance)
    rewards, before, after, ratio = np.moveaxis(np.array(rows, dtype=float), 2, 0)
    never = np.zeros(rewards.shape, dtype=bool)
    return Rollout(rewards, before, after, never, never, ratio), chances


@clause("ADV-25", examples=25)
@given(st.data(), st.sampled_from([1.0, 0.5, 0.9]), discounts, clips, trace_clips)
def test_the_expected_vtrace_target_of_the_clipped_policys_value_is_that_value(
    candidate, data, gamma, lam, rho_clip, c_clip
):
    rollout, chances = data.draw(evaluations(gamma, rho_clip))
    targets, _ = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    terms = off_policy_terms(rollout, rho_clip, c_clip)
    allowed = tolerance(magnitude=terms["magnitude"].max(), roundings=terms["roundings"], roundoff=targets.roundoff)
    for value in set(rollout.values[:, 0]):
        there = rollout.values[:, 0] == value
        total = sum(p for p, here in zip(chances, there, strict=True) if here)
        mean = sum(p * exactly(v) for p, v, here in zip(chances, targets.value[:, 0], there, strict=True) if here)
        said = f"the value {value} of the clipped policy becomes {float(mean / total)} on average"
        law(abs(mean / total - exactly(value)) <= allowed, targets, said)


@clause("ADV-26")
@given(off_policy(inside=False, at_end=False), discounts, mixings, clips, trace_clips)
def test_where_the_policy_never_goes_vtrace_keeps_the_value(candidate, rollout, gamma, lam, rho_clip, c_clip):
    never = rollout.ratio == 0
    assume(never.any())
    targets, advantages = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    terms = vtrace_terms(candidate, rollout, rho_clip, c_clip)
    agree(targets, np.where(never, rollout.values, targets.value), **terms)
    agree(advantages, np.where(never, 0, advantages.value), **terms)


@clause("ADV-26")
@given(off_policy(), discounts, mixings, clips, trace_clips, st.sampled_from([1000.0, 100.0, 1e300]))
def test_a_ratio_beyond_the_clips_counts_as_the_clips(candidate, rollout, gamma, lam, rho_clip, c_clip, log_ratio):
    limit = max(rho_clip, c_clip, policy_clip(candidate, rho_clip))
    beyond = rollout.ratio > limit
    assume(beyond.any())
    *arrays, _ = rollout.off_policy_arrays
    far = np.where(beyond, log_ratio, rollout.off_policy_arrays[-1])
    near = rollout.but(ratio=np.where(beyond, limit, rollout.ratio))
    answers = candidate.vtrace(*arrays, far, gamma, lam, rho_clip, c_clip)
    same = vtrace(candidate, near, gamma, lam, rho_clip, c_clip)
    agree(answers, values_of(same), **vtrace_terms(candidate, rollout, rho_clip, c_clip))


@clause("ADV-27")
@given(off_policy(copies=2), factors, discounts, mixings, clips, trace_clips)
def test_vtrace_is_linear_in_rewards_and_values(candidate, pair, factor, gamma, lam, rho_clip, c_clip):
    x, y = (rollout.tidied for rollout in pair)
    answers = vtrace(candidate, x.mixed(y, factor), gamma, lam, rho_clip, c_clip)
    apart = (values_of(vtrace(candidate, part, gamma, lam, rho_clip, c_clip)) for part in (x, y))
    terms, more = (vtrace_terms(candidate, part, rho_clip, c_clip) for part in (x, y))
    terms["magnitude"] = factor * terms["magnitude"] + more["magnitude"]
    agree(answers, tuple(factor * a + b for a, b in zip(*apart, strict=True)), **terms)


@clause("ADV-28")
@given(off_policy(), whatever, discounts, mixings, clips, trace_clips)
def test_vtrace_never_reads_what_follows_a_termination(candidate, rollout, junk, gamma, lam, rho_clip, c_clip):
    answers = vtrace(candidate, rollout.overwritten(junk), gamma, lam, rho_clip, c_clip)
    same = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    agree(answers, values_of(same), **vtrace_terms(candidate, rollout, rho_clip, c_clip))


@clause("ADV-29")
@given(off_policy(), not_numbers, discounts, mixings, clips, trace_clips)
def test_vtrace_survives_nan_and_infinity_after_a_termination(candidate, rollout, junk, gamma, lam, rho_clip, c_clip):
    answers = vtrace(candidate, rollout.overwritten(junk), gamma, lam, rho_clip, c_clip)
    same = vtrace(candidate, rollout, gamma, lam, rho_clip, c_clip)
    agree(answers, values_of(same), **vtrace_terms(candidate, rollout, rho_clip, c_clip))
