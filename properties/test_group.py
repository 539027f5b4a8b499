"""Properties of group-relative advantages and of the losses that are made of them (spec/group.md)."""

from dataclasses import replace
from fractions import Fraction
from math import comb
from statistics import mean

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION
from rlspec.properties.checking import SINGLE, agree, clause, exactly, if_taken, law, tolerance, where
from rlspec.properties.closed_forms import ask, check_prices, check_surrogates, only_token, sizes
from rlspec.properties.groups import (
    IDS,
    Samples,
    baselines,
    divisor,
    many_samples,
    samples,
    scales,
    steps,
    whitened_by,
    whole_batch_baselines,
)
from rlspec.properties.languages import RIGHT, in_line, speeches
from rlspec.properties.losses import credited, no_kl
from rlspec.properties.strategies import PLAIN
from rlspec.reference.group import companies, expected_gradient_of_groups, success_weight
from rlspec.reference.language import probability, score_gradient
from rlspec.spec.operations import OPERATIONS

rationals = np.vectorize(exactly, otypes=[object])
factors = st.sampled_from([2.0, 0.5, 1024.0])
VERDICTS = np.array([0.0, 1.0])


# What `group_advantages` owes.


def chosen(candidate, operation):
    """The candidate's conventions for an operation, by their last names."""
    return {name.rpartition(".")[2]: choice for name, choice in candidate.conventions(operation).items()}


def divisors(candidate, drawn, scale, baseline="mean"):
    """What each sample's advantage is divided by [N], by the candidate's conventions; None without a scale.

    Where all rewards are equal and nothing is added it is 1: differences of 0 are 0, whatever they are divided by.
    """
    if scale == "none":
        return None
    by = chosen(candidate, "group_advantages")
    found = drawn.divisors(by["std"], by["eps"], by["spread"], baseline)
    return np.where(found > 0, found, 1.0)


def judged(candidate, drawn, scale, times=1):
    """How far rounding may take the advantages, so many of them together."""
    of_the_batch = chosen(candidate, "group_advantages")["spread"] == "of the batch"
    found = drawn.judged(divisors(candidate, drawn, scale), of_the_batch)
    return found | {"magnitude": times * found["magnitude"]}


def advantages(candidate, drawn, *names):
    """The candidate's advantages."""
    return candidate.group_advantages(*drawn.arrays, *names)


def not_alone(drawn):
    """The samples of groups of two or more, of which there are some."""
    kept = [place for places in drawn.members if len(places) > 1 for place in places]
    assume(kept)
    return drawn.part(sorted(kept))


@clause("GRP-1", "GRP-12", "GRP-13", examples=60)
@given(samples().map(not_alone), baselines, scales)
def test_an_advantage_is_the_reward_less_the_baseline_over_the_scale(candidate, drawn, baseline, scale):
    scaled = divisors(candidate, drawn, scale, baseline)
    expected = []
    for place, own in enumerate(drawn.rewards):
        company = next(places for places in drawn.members if place in places)
        others = [exactly(drawn.rewards[other]) for other in company if baseline == "mean" or other != place]
        expected.append((exactly(own) - mean(others)) / (1 if scaled is None else exactly(scaled[place])))
    agree(advantages(candidate, drawn, baseline, scale), expected, **judged(candidate, drawn, scale))


@clause("GRP-2", examples=60)
@given(samples(), baselines, scales, st.randoms(use_true_random=False))
def test_samples_in_another_order_have_the_same_advantages_in_that_order(candidate, drawn, baseline, scale, random):
    order = list(range(len(drawn.rewards)))
    random.shuffle(order)
    answer = advantages(candidate, drawn.part(order), baseline, scale)
    same = advantages(candidate, drawn, baseline, scale).value[order]
    agree(answer, same, **judged(candidate, drawn.part(order), scale, times=2))


@clause("GRP-3", examples=60)
@given(samples(), baselines, scales)
def test_a_group_has_the_advantages_that_it_has_alone(candidate, drawn, baseline, scale):
    answer, together = advantages(candidate, drawn, baseline, scale), divisors(candidate, drawn, scale, baseline)
    expected = np.zeros(len(drawn.rewards), dtype=object)
    for places in drawn.members:
        part = drawn.part(places)
        expected[places] = rationals(advantages(candidate, part, baseline, scale).value)
        if scale == "std":
            by_itself = divisors(candidate, part, scale, baseline)
            expected[places] = expected[places] * rationals(by_itself) / rationals(together[places])
    agree(answer, expected, **judged(candidate, drawn, scale, times=2))


NAMES = [
    [10**9, 0, 3],
    [-1, 0, 1],
    [2**24 + 1, 2**24, 2**24 + 2],
    [2**16 + 3, 3, 2**17 + 3],
    [2**32, 0, 2**33],
    [2**53 + 1, 2**53, 2**53 + 2],
    [-(2**63), 2**63 - 1, 2**62],
    ["prompt", "another prompt", ""],
    ["prompt", "prompt 1", "prompt 10"],
    ["What?", "what?", "WHAT?"],
    ["7", "07", "7.0"],
]
"""What three groups may be called: numbers with the same last bits, or with one float for several of them, and texts
of which one is the beginning of another, or the same but for capitals, or as a number."""


@st.composite
def called(draw, samples):
    """Samples of several groups, and the same with other names for these."""
    drawn, names, kind = draw(samples), draw(st.sampled_from(NAMES)), draw(st.sampled_from([None, None, object]))
    assume(len(drawn.members) > 1)
    renamed = dict(zip(IDS.tolist(), names, strict=True))
    return drawn, drawn.but(groups=np.array([renamed[group] for group in drawn.groups.tolist()], dtype=kind))


def under_other_names(candidate, operation, drawn, *names):
    """The answer for groups with other names; tensors hold integers, and need not take texts or objects."""
    if drawn.groups.dtype.kind == "i":
        return candidate.demand(OPERATIONS[operation], *drawn.arrays, *names)
    return if_taken(candidate, OPERATIONS[operation], (*drawn.arrays, *names))


@clause("GRP-3", examples=150)
@given(called(samples()), baselines, scales)
def test_what_a_group_is_called_does_not_matter(candidate, both, baseline, scale):
    drawn, other = both
    same = advantages(candidate, drawn, baseline, scale)
    answer = under_other_names(candidate, "group_advantages", other, baseline, scale)
    agree(answer, same, **judged(candidate, drawn, scale, times=2))


@clause("GRP-3", examples=150)
@given(called(samples()))
def test_what_a_group_is_called_does_not_matter_to_the_whole_batch(candidate, both):
    drawn, other = both
    same = candidate.reinforce_plus_plus_advantages(*drawn.arrays, "mean")
    answer = under_other_names(candidate, "reinforce_plus_plus_advantages", other, "mean")
    agree(answer, same, **drawn.judged_as_one(spread_over_all(candidate, drawn, "mean")))


@clause("GRP-4", examples=60)
@given(samples().map(not_alone), baselines, scales)
def test_the_advantages_of_a_group_add_up_to_zero(candidate, drawn, baseline, scale):
    answer = advantages(candidate, drawn, baseline, scale)
    terms = judged(candidate, drawn, scale)
    for places in drawn.members:
        total = sum(rationals(answer.value[places]))
        allowed = sum(tolerance(**terms | {"magnitude": size}, roundoff=answer.roundoff)
                      for size in terms["magnitude"][places])  # fmt: skip
        names = f"the group of places {places} adds up to {float(total):.3g}"
        law(abs(total) <= allowed, answer, f"{names}, where rounding explains {float(allowed):.1e}")


@clause("GRP-5", examples=60)
@given(samples(PLAIN, sizes=(1.0,)).map(not_alone), baselines, scales, st.sampled_from([1.0, -8.0, 2.0**30]))
def test_a_number_added_to_the_rewards_of_one_group_changes_no_advantage(candidate, drawn, baseline, scale, number):
    first = drawn.groups == drawn.groups[0]
    moved = drawn.but(rewards=np.where(first, drawn.rewards + number, drawn.rewards))
    # Adding rounds each reward of the group once, and an equal pair alike; the divisor is that of the rounded ones.
    before, after = (divisors(candidate, each, scale, baseline) for each in (drawn, moved))
    same = rationals(advantages(candidate, drawn, baseline, scale).value)
    expected = same if before is None else same * rationals(before) / rationals(after)
    terms = judged(candidate, moved, scale, times=3)
    agree(advantages(candidate, moved, baseline, scale), expected, **terms)


@clause("GRP-5", examples=60)
@given(samples().map(not_alone), baselines, scales, factors)
def test_a_factor_of_the_rewards_is_one_of_the_advantages_as_far_as_nothing_is_divided(
    candidate, drawn, baseline, scale, factor
):
    moved = drawn.but(rewards=factor * drawn.rewards)
    same = rationals(advantages(candidate, drawn, baseline, scale).value) * Fraction(factor)
    before, after = (divisors(candidate, each, scale, baseline) for each in (drawn, moved))
    expected = same if before is None else same * rationals(before) / rationals(after)
    terms, once = judged(candidate, moved, scale), judged(candidate, drawn, scale)
    ratio = factor if before is None else factor * before / after
    agree(
        advantages(candidate, moved, baseline, scale),
        expected,
        magnitude=terms["magnitude"] + ratio * once["magnitude"],
        roundings=terms["roundings"] + 2,
    )


@clause("GRP-6", "GRP-12", "GRP-13", examples=60)
@given(samples().map(not_alone))
def test_the_squares_of_scaled_advantages_add_up_to_what_was_declared(candidate, drawn):
    answer = advantages(candidate, drawn, "mean", "std")
    terms = judged(candidate, drawn, "std")
    std = chosen(candidate, "group_advantages")["std"]
    for places in drawn.members:
        known = [exactly(reward) for reward in drawn.rewards[places]]
        scale = divisors(candidate, drawn, "std")[places[0]]
        entries = len(places) - (std == "ddof=1")
        expected = entries * (Fraction(divisor(known, std, "std")) / Fraction(scale)) ** 2
        total = sum(rationals(answer.value[places]) ** 2)
        off = tolerance(**terms | {"magnitude": terms["magnitude"][places[0]]}, roundoff=answer.roundoff)
        allowed = len(places) * (2 * (len(places) + 1) + off) * off
        said = f"the squares of places {places} add up to {float(total)} and not to {float(expected)}"
        law(abs(total - expected) <= allowed, answer, f"{said}, where rounding explains {float(allowed):.1e}")


@clause("GRP-7", examples=60)
@given(samples().map(not_alone), scales)
def test_leaving_oneself_out_is_a_factor(candidate, drawn, scale):
    sizes = [next(len(places) for places in drawn.members if place in places) for place in range(len(drawn.rewards))]
    of_the_mean = rationals(advantages(candidate, drawn, "mean", scale).value)
    expected = [Fraction(size, size - 1) * number for size, number in zip(sizes, of_the_mean, strict=True)]
    if scale == "std":
        of_each = (rationals(divisors(candidate, drawn, scale, baseline)) for baseline in ("mean", "leave-one-out"))
        own, left_out = of_each
        expected = np.array(expected, dtype=object) * own / left_out
    answer = advantages(candidate, drawn, "leave-one-out", scale)
    agree(answer, expected, **judged(candidate, drawn, scale, times=3))


@clause("GRP-8", examples=60)
@given(samples(VERDICTS, sizes=(1.0, 0.1)) | samples(), baselines)
def test_no_scaled_advantage_exceeds_what_the_size_of_its_group_allows(candidate, drawn, baseline):
    drawn = not_alone(drawn)
    answer = advantages(candidate, drawn, baseline, "std")
    terms = judged(candidate, drawn, "std")
    std, scales = chosen(candidate, "group_advantages")["std"], divisors(candidate, drawn, "std", baseline)
    ddof = std == "ddof=1"
    for places in drawn.members:
        size, known = len(places), [exactly(reward) for reward in drawn.rewards[places]]
        most = ((size - ddof) * (size - 1) / size) ** 0.5 * (size / (size - 1) if baseline == "leave-one-out" else 1)
        most *= divisor(known, std, "std") / scales[places[0]]
        off = tolerance(**terms | {"magnitude": terms["magnitude"][places[0]]}, roundoff=answer.roundoff)
        largest = float(np.abs(answer.value[places]).max())
        law(
            largest <= most + off,
            answer,
            f"in a group of {size} an advantage is {largest:.6g}; at most {most:.6g} can be",
        )


@clause("GRP-9", examples=60)
@given(samples(), baselines, scales)
def test_equal_rewards_have_no_advantages_but_what_rounding_leaves_of_them(candidate, drawn, baseline, scale):
    drawn = alike(not_alone(drawn))
    answer = candidate.demand(OPERATIONS["group_advantages"], *drawn.arrays, baseline, scale)
    kept_from_zero = scale == "none" or chosen(candidate, "group_advantages")["eps"] != "std"
    terms = judged(candidate, drawn, scale, times=int(kept_from_zero))
    agree(answer, np.zeros(len(drawn.rewards)), **terms)


TENTHS = np.array([0.1, 0.07, 0.03, 0.09, 0.05])
"""Rewards of which the float32 mean of several equal ones is another number, and not by much."""

OUT_OF_NOTHING = 0.25
"""What an advantage may be that comes of rounding alone.

In float32 the mean of 18 equal rewards of a tenth is off by less than 18 2^-24 / 10 = 1.1e-7, and leaving one out
doubles that at most: over 1e-6 or more, that is below a quarter.
"""


@clause("GRP-9", examples=60)
@given(samples(TENTHS, sizes=(1.0,)), baselines)
def test_equal_rewards_in_float32_have_no_advantages_however_little_keeps_the_divisor_from_zero(
    candidate, drawn, baseline
):
    drawn = alike(not_alone(drawn))
    narrow = drawn.rewards.astype(np.float32), drawn.groups, baseline, "std"
    answer = candidate.demand(OPERATIONS["group_advantages"], *narrow)
    assume(answer.roundoff <= SINGLE)  # nothing is promised of rounder numbers
    largest = float(np.abs(answer.value).max())
    law(
        largest <= OUT_OF_NOTHING,
        answer,
        f"equal rewards have an advantage of {largest:.3g}, out of their mean's rounding",
    )


def alike(drawn):
    """The samples with the reward of the first of their group."""
    rewards = drawn.rewards.copy()
    for places in drawn.members:
        rewards[places] = rewards[places[0]]
    return drawn.but(rewards=rewards)


@clause("GRP-10", "GRP-14", examples=60)
@given(samples(sizes=(1.0,)), baselines, scales)
def test_a_group_of_one_has_the_advantage_zero_or_its_reward(candidate, drawn, baseline, scale):
    lonely = drawn.but(groups=np.arange(len(drawn.rewards)))
    answer = candidate.demand(OPERATIONS["group_advantages"], *lonely.arrays, baseline, scale)
    by = chosen(candidate, "group_advantages")
    kept = by["alone" if baseline == "mean" else "alone_left_out"] == "its reward"
    scaled = divisors(candidate, lonely, scale, baseline)
    expected = rationals(lonely.rewards) * kept / (1 if scaled is None else rationals(scaled))
    if (
        kept
        and scale == "std"
        and by["eps"] == "std"
        and by["spread"] == "of the batch"
        and np.ptp(lonely.rewards) == 0
    ):
        expected = where(answer.value != 0, rationals(lonely.rewards), answer)
    agree(answer, expected, **judged(candidate, lonely, scale))


def to_float32(answer):
    """The answer, to be judged with float32's precision at most: PyTorch makes that of truth values."""
    return replace(answer, roundoff=max(SINGLE, answer.roundoff))


@clause("GRP-11", examples=25)
@given(samples(VERDICTS, sizes=(1.0,)), baselines, scales)
def test_verdicts_count_as_zero_and_one(candidate, drawn, baseline, scale):
    same = advantages(candidate, drawn, baseline, scale)
    asked = (drawn.rewards.astype(bool), drawn.groups, baseline, scale)
    answer = candidate.demand(OPERATIONS["group_advantages"], *asked)
    agree(to_float32(answer), same, **judged(candidate, drawn, scale, times=2))


@clause("GRP-11", examples=25)
@given(samples(VERDICTS, sizes=(1.0,)), whole_batch_baselines)
def test_verdicts_count_as_zero_and_one_in_the_whole_batch(candidate, drawn, baseline):
    same = candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline)
    asked = (drawn.rewards.astype(bool), drawn.groups, baseline)
    answer = candidate.demand(OPERATIONS["reinforce_plus_plus_advantages"], *asked)
    agree(to_float32(answer), same, **drawn.judged_as_one(spread_over_all(candidate, drawn, baseline)))


# What they are in expectation.

MOST_GROUPS = 130


def expected_by_groups(candidate, speech, size, names, score):
    """E[1/G sum_i A_i grad log pi(y_i|x)] over all groups, with the candidate's A; the answer, and the rewards."""
    answers = list(speech.language.completions(0))
    assume(comb(len(answers) + size - 1, size) <= MOST_GROUPS)
    every = [
        (prompt, company)
        for prompt in range(len(speech.language.prompts))
        for _, company in companies(speech.language, speech.policy, prompt, size)
    ]
    rewards = np.array([float(score(prompt, said)) for prompt, company in every for said in company])
    answer = candidate.group_advantages(rewards, np.repeat(np.arange(len(every)), size), *names)
    credit = dict(zip(every, rationals(answer.value.reshape(-1, size)), strict=True))
    expected = expected_gradient_of_groups(
        speech.language, speech.policy, size, lambda prompt, company: credit[prompt, company]
    )
    return answer, np.array(list(expected.values()), dtype=object), rewards


def same_direction(answer, actual, expected, largest):
    """Check an expected gradient, of whose advantages none is off by more than a few roundings of the largest.

    Each component is a mean of advantages times components of scores, none of which exceeds 1.
    """
    allowed = tolerance(magnitude=largest, roundings=24, roundoff=answer.roundoff)
    message = f"the expected gradient is {actual.astype(float).tolist()}, not {expected.astype(float).tolist()}"
    law((abs(actual - expected) <= allowed).all(), answer, message)


group_sizes = st.sampled_from([2, 3, 4])


@clause("GRP-16", examples=25)
@given(speeches(on_policy=True), group_sizes, baselines)
def test_the_expected_gradient_is_that_of_the_reward_or_a_fixed_part_of_it(candidate, speech, size, baseline):
    answer, actual, rewards = expected_by_groups(candidate, speech, size, (baseline, "none"), speech.score)
    part = Fraction(size - 1, size) if baseline == "mean" else Fraction(1)
    expected = part * np.array(
        list(score_gradient(speech.language, speech.policy, speech.score).values()), dtype=object
    )
    same_direction(answer, actual, expected, 8 * np.abs(rewards).max())


def verdict(speech):
    """Whether an answer is right, as a number."""
    return lambda prompt, said: Fraction(int(speech.score(prompt, said) == RIGHT))


@clause("GRP-17", examples=25)
@given(speeches(on_policy=True), group_sizes, baselines)
def test_divided_by_its_spread_a_group_follows_the_gradient_that_its_rate_of_success_weighs(
    candidate, speech, size, baseline
):
    score, by = verdict(speech), chosen(candidate, "group_advantages")

    answer, actual, every = expected_by_groups(candidate, speech, size, (baseline, "std"), score)

    def of_group(right):
        company = np.repeat([1.0, 0.0], [right, size - right])
        known = every if by["spread"] == "of the batch" else company
        drawn = Samples(known, np.repeat(np.arange(len(known) // size), size))
        return exactly(divisors(candidate, drawn, "std", baseline)[0])

    of_success = score_gradient(speech.language, speech.policy, score)
    factor = Fraction(size, size - 1) if baseline == "leave-one-out" else 1
    expected = []
    for (prompt, _), row in of_success.items():
        p = sum(
            probability(speech.policy, prompt, said) * score(prompt, said)
            for said in speech.language.completions(prompt)
        )
        weight = factor * success_weight(p, size, of_group)
        expected.append([weight * number for number in row])
    same_direction(answer, actual, np.array(expected, dtype=object), 8 * size)


@clause("GRP-18")
@given(st.fractions(0, 1, max_denominator=64).filter(lambda p: 0 < p < 1), st.integers(2, 24))
def test_the_weight_of_a_success_rate_grows_with_the_group_towards_that_of_the_arcsine(p, size):
    def weight(size):
        def spread(right):
            return arb(right * (size - right)).sqrt() / size

        return success_weight(arb(p.numerator) / p.denominator, size, spread)

    with ctx.workprec(PRECISION):
        limit = 1 / (arb(p.numerator * (p.denominator - p.numerator)).sqrt() / p.denominator)
        assert weight(size) < weight(size + 1) < limit
        # f(x) = sqrt(x (1 - x)) lies below its tangent at p by (a - b)^2 / (2 f(p)), a^2 = p (1 - x), b^2 = x (1 - p);
        # that is at most (x - p)^2 / (2 f(p)^3), and E (x - p)^2 = f(p)^2 / G.
        assert weight(size) >= limit - limit**3 / (2 * size)


# What `reinforce_plus_plus_advantages` owes.


def spread_over_all(candidate, drawn, baseline):
    """What the batch is divided by, by the candidate's conventions; 1 where nothing keeps a spread of 0 from zero."""
    by = chosen(candidate, "reinforce_plus_plus_advantages")
    spread = divisor(less_their_means(candidate, drawn, baseline), by["std"], by["eps"])
    return spread if spread > 0 else 1.0


def less_their_means(candidate, drawn, baseline):
    """The rewards, less the means of their groups."""
    alone = candidate.convention("reinforce_plus_plus_advantages.alone")
    return drawn.centred(alone) if baseline == "mean" else [exactly(reward) for reward in drawn.rewards]


@clause("GRP-19", "GRP-21", "GRP-14", examples=60)
@given(samples(), whole_batch_baselines)
def test_over_the_whole_batch_rewards_are_centred_and_divided_by_their_spread(candidate, drawn, baseline):
    known = less_their_means(candidate, drawn, baseline)
    scale = spread_over_all(candidate, drawn, baseline)
    expected = [(credit - mean(known)) / exactly(scale) for credit in known]
    answer = candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline)
    agree(answer, expected, **drawn.judged_as_one(scale))


@clause("GRP-19", examples=60)
@given(samples())
def test_without_a_baseline_groups_do_not_matter_to_the_whole_batch(candidate, drawn):
    other = drawn.but(groups=np.arange(len(drawn.rewards)))
    answer = candidate.reinforce_plus_plus_advantages(*other.arrays, "none")
    terms = drawn.judged_as_one(spread_over_all(candidate, drawn, "none"))
    agree(answer, candidate.reinforce_plus_plus_advantages(*drawn.arrays, "none"), **terms)


@clause("GRP-20", examples=60)
@given(samples(), whole_batch_baselines, st.randoms(use_true_random=False))
def test_the_whole_batch_is_a_set_of_samples(candidate, drawn, baseline, random):
    order = list(range(len(drawn.rewards)))
    random.shuffle(order)
    answer = candidate.reinforce_plus_plus_advantages(*drawn.part(order).arrays, baseline)
    same = candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline).value[order]
    agree(answer, same, **drawn.judged_as_one(spread_over_all(candidate, drawn, baseline)))


@clause("GRP-19", examples=60)
@given(samples(PLAIN, sizes=(1.0,)).map(not_alone), whole_batch_baselines, st.sampled_from([1.0, 2.0**30]))
def test_a_number_added_to_all_rewards_changes_nothing_in_the_whole_batch(candidate, drawn, baseline, number):
    moved = drawn.but(rewards=drawn.rewards + number)
    # Adding rounds each reward once; the divisor is that of the rounded ones.
    before, after = (spread_over_all(candidate, each, baseline) for each in (drawn, moved))
    same = rationals(candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline).value)
    terms = moved.judged_as_one(after)
    terms["magnitude"] = 3 * terms["magnitude"]
    expected = same * exactly(before) / exactly(after)
    agree(candidate.reinforce_plus_plus_advantages(*moved.arrays, baseline), expected, **terms)


@clause("GRP-20", examples=60)
@given(samples(), whole_batch_baselines)
def test_the_whole_batch_has_mean_zero(candidate, drawn, baseline):
    answer = candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline)
    terms = drawn.judged_as_one(spread_over_all(candidate, drawn, baseline))
    total = sum(rationals(answer.value))
    size = terms["magnitude"].max()
    allowed = len(drawn.rewards) * tolerance(**terms | {"magnitude": size}, roundoff=answer.roundoff)
    law(abs(total) <= allowed, answer, f"they add up to {float(total)}, where rounding explains {float(allowed):.1e}")


# Several rewards, and rewards of steps.


def of_several(candidate, drawn):
    """What several rewards are worth by the candidate's conventions, and how far rounding may take it."""
    by = chosen(candidate, "gdpo_advantages")
    sums = drawn.sums(**by)
    if by["whitening"] != "none":
        centre, scale = mean(sums), exactly(whitened_by(sums, **by))
        sums = [(total - centre) / scale for total in sums]
    return sums, drawn.off_by(**by)


@clause("GRP-32", "GRP-33", "GRP-34", examples=60)
@given(many_samples())
def test_each_reward_is_normalised_before_the_sum(candidate, drawn):
    expected, terms = of_several(candidate, drawn)
    agree(candidate.gdpo_advantages(*drawn.arrays), expected, **terms)


def twice(terms):
    """The same magnitude for what is put together from two answers."""
    return terms | {"magnitude": 2 * terms["magnitude"]}


@clause("GRP-35", examples=60)
@given(many_samples(PLAIN, sizes=(1.0,)), st.integers(0, 2), st.sampled_from([1.0, -8.0]))
def test_a_number_added_to_one_of_the_rewards_of_a_group_changes_nothing(candidate, drawn, place, number):
    assume(min(map(len, drawn.columns[0].members)) > 1)
    first, column = drawn.groups == drawn.groups[0], np.arange(drawn.rewards.shape[1]) == place % len(drawn.weights)
    moved = drawn.but(rewards=drawn.rewards + number * first[:, None] * column)
    same = candidate.gdpo_advantages(*drawn.arrays)
    terms = [of_several(candidate, each)[1] for each in (drawn, moved)]
    # Adding rounds each reward once, and with it what it is divided by.
    size = 4 * (terms[0]["magnitude"] + terms[1]["magnitude"])
    agree(candidate.gdpo_advantages(*moved.arrays), same, **terms[0] | {"magnitude": size})


@clause("GRP-36", examples=60)
@given(many_samples())
def test_rewards_in_another_order_with_their_weights_are_worth_the_same(candidate, drawn):
    turned = drawn.but(rewards=drawn.rewards[:, ::-1], weights=drawn.weights[::-1])
    terms = twice(of_several(candidate, drawn)[1])
    agree(candidate.gdpo_advantages(*turned.arrays), candidate.gdpo_advantages(*drawn.arrays), **terms)


@clause("GRP-37", "GRP-38", examples=60)
@given(steps())
def test_a_token_is_credited_with_the_normalised_rewards_of_the_steps_that_end_from_there_on(candidate, drawn):
    by = chosen(candidate, "process_advantages")
    paid, columns = drawn.paid(**by), range(drawn.mask.shape[1])
    expected = np.array([[sum(row[step:], Fraction(0)) for step in columns] for row in paid], dtype=object)
    answer = candidate.process_advantages(*drawn.arrays)
    agree(answer, np.where(drawn.mask, expected, 0), **drawn.off_by(**by))


@clause("GRP-37", examples=60)
@given(steps(), st.sampled_from([7.0, -100.0]))
def test_what_stands_at_other_tokens_than_the_ends_of_steps_is_no_reward(candidate, drawn, junk):
    other = drawn.but(token_rewards=np.where(drawn.counted, drawn.token_rewards, junk))
    by = chosen(candidate, "process_advantages")
    same = candidate.process_advantages(*drawn.arrays)
    agree(candidate.process_advantages(*other.arrays), same, **twice(drawn.off_by(**by)))


@clause("GRP-39", examples=60)
@given(steps())
def test_the_advantages_of_first_tokens_add_up_to_zero_in_a_group(candidate, drawn):
    answer = candidate.process_advantages(*drawn.arrays)
    terms = drawn.off_by(**chosen(candidate, "process_advantages"))
    first = drawn.mask.argmax(axis=1)
    for name in set(drawn.groups.tolist()):
        rows = [row for row in np.flatnonzero(drawn.groups == name) if drawn.mask[row].any()]
        total = sum((exactly(answer.value[row, first[row]]) for row in rows), Fraction(0))
        size = sum(terms["magnitude"][row, 0] for row in rows)
        allowed = tolerance(magnitude=size, roundings=terms["roundings"], roundoff=answer.roundoff)
        law(abs(total) <= allowed, answer, f"in group {name} the first tokens' advantages add up to {float(total):.3g}")


@clause("GRP-40", examples=60)
@given(steps())
def test_with_one_step_for_each_answer_all_of_its_tokens_have_its_advantage(candidate, drawn):
    last = np.zeros_like(drawn.mask)
    for row, counts in enumerate(drawn.mask):
        last[row, np.flatnonzero(counts)[-1:]] = True
    drawn = drawn.but(ends=last)
    by = chosen(candidate, "process_advantages")
    worth = drawn.paid(**by).sum(axis=1)
    expected = np.where(drawn.mask, worth[:, None], 0)
    agree(candidate.process_advantages(*drawn.arrays), expected, **drawn.off_by(**by))


# What the losses are: points of one loss, whose laws are those of `surrogate_loss`.


def is_its_point(candidate, operation, drawn):
    """Check that a loss is the surrogate loss at its point: without a KL term, and without advantages."""
    case = drawn.at(operation)
    check_surrogates(candidate, operation, case)
    check_prices(candidate, operation, case)


def is_its_term(candidate, operation, drawn):
    """The same for a single token, where no reduction matters."""
    is_its_point(candidate, operation, only_token(drawn))


@clause("GRP-22", examples=40)
@given(credited())
def test_the_grpo_loss_of_one_token_is_minus_the_clipped_surrogate_plus_k3(candidate, drawn):
    is_its_term(candidate, "grpo_loss", drawn)


@clause("GRP-22", examples=40)
@given(credited())
def test_the_grpo_loss_is_a_mean_over_rows_of_means_over_tokens(candidate, drawn):
    is_its_point(candidate, "grpo_loss", drawn)


@clause("GRP-23", examples=40)
@given(credited())
def test_the_dr_grpo_loss_of_one_token_is_that_over_the_length(candidate, drawn):
    is_its_term(candidate, "dr_grpo_loss", drawn)


@clause("GRP-23", examples=40)
@given(credited())
def test_the_dr_grpo_loss_is_a_sum_over_rows_times_a_fixed_length(candidate, drawn):
    is_its_point(candidate, "dr_grpo_loss", drawn)


@clause("GRP-24", examples=40)
@given(credited())
def test_the_dapo_loss_of_one_token_is_minus_the_clipped_surrogate(candidate, drawn):
    is_its_term(candidate, "dapo_loss", drawn)


@clause("GRP-24", "GRP-29", examples=40)
@given(credited())
def test_the_dapo_loss_is_a_mean_over_all_tokens(candidate, drawn):
    is_its_point(candidate, "dapo_loss", drawn)


@clause("GRP-25", examples=40)
@given(credited())
def test_the_gspo_loss_of_one_token_is_minus_the_clipped_surrogate(candidate, drawn):
    is_its_term(candidate, "gspo_loss", drawn)


@clause("GRP-25", examples=40)
@given(credited())
def test_the_gspo_loss_is_a_mean_over_rows_of_what_their_geometric_means_say(candidate, drawn):
    is_its_point(candidate, "gspo_loss", drawn)


clips_of_weights = st.sampled_from([1.0, 0.25, 0.03125, 0.875, 0.0])
"""How far below 1 CISPO's weights may be; with 1 there is no lower bound."""


@clause("GRP-26", examples=80)
@given(credited(), clips_of_weights)
def test_the_cispo_loss_of_one_token_is_clipped_ratio_times_advantage_times_log_probability(candidate, drawn, low):
    is_its_term(candidate, "cispo_loss", drawn.but(clip_low=low))


@clause("GRP-26", "GRP-29", examples=40)
@given(credited(), clips_of_weights)
def test_the_cispo_loss_is_a_mean_over_all_tokens(candidate, drawn, low):
    is_its_point(candidate, "cispo_loss", drawn.but(clip_low=low))


@clause("GRP-27", examples=40)
@given(credited())
def test_the_luspo_loss_is_a_mean_over_rows_of_sums_over_their_tokens(candidate, drawn):
    is_its_point(candidate, "luspo_loss", drawn)


@clause("GRP-28", examples=40)
@given(credited())
def test_the_gmpo_loss_of_one_token_is_advantage_times_the_ratio_that_is_clipped_in_its_logarithm(candidate, drawn):
    is_its_term(candidate, "gmpo_loss", drawn)


@clause("GRP-28", examples=40)
@given(credited())
def test_the_gmpo_loss_is_a_mean_over_rows_of_the_geometric_means_of_clipped_ratios(candidate, drawn):
    is_its_point(candidate, "gmpo_loss", drawn)


@clause("GRP-30", examples=40)
@given(credited(coefs=no_kl), clips_of_weights)
def test_cispo_forgets_no_token_and_follows_none_too_far(candidate, drawn, low):
    case = drawn.at("cispo_loss").but(clip_low=low)
    _, slopes = ask(candidate, "cispo_loss", case)
    divided = np.array(sizes(candidate, "cispo_loss", case), dtype=object)[:, None]
    found = -rationals(slopes.value) * divided * np.sign(case.advantages).astype(int)[:, None]
    least, most = (rationals(np.abs(case.advantages)) * (1 + exactly(edge)) for edge in (-low, case.clip_high))
    off = divided * tolerance(roundoff=slopes.roundoff, **case.judged)
    inside = (found >= least[:, None] - off) & (found <= most[:, None] + off)
    message = f"weights times advantages of {found.astype(float).tolist()} leave the clip"
    law(inside[case.mask].all(), slopes, message)
    law(slopes.value[case.mask & (case.advantages != 0)[:, None]].all(), slopes, "a token is forgotten")


@clause("GRP-31", examples=20)
@given(speeches(on_policy=True), st.sampled_from([0, 1, -2]), st.integers(3, 5))
def test_the_expected_gradient_of_the_dr_grpo_loss_is_that_of_the_reward(candidate, speech, baseline, length):
    logp = speech.logp(speech.policy)
    credit = np.array([float(speech.score(*pair) - baseline) for pair in speech.pairs])
    one_group = np.zeros(len(credit), dtype=int)
    _, slopes = candidate.dr_grpo_loss(logp, logp, logp, credit, one_group, speech.mask, 0.25, 0.25, 0.0, length)
    actual = np.array(in_line(speech.gradient(slopes.value)), dtype=object)
    of_reward = in_line(score_gradient(speech.language, speech.policy, speech.score))
    expected = -np.array(of_reward, dtype=object) / Fraction(len(credit) * length)
    same_direction(slopes, actual, expected, np.abs(credit).max())


@clause("GRP-31", examples=15)
@given(speeches(on_policy=True), st.sampled_from([2, 3]), st.integers(3, 5))
def test_with_the_mean_of_its_group_an_answer_has_a_part_of_that_gradient(candidate, speech, size, length):
    prompts = range(len(speech.language.prompts))
    assume(comb(len(list(speech.language.completions(0))) + size - 1, size) <= MOST_GROUPS)
    every = [(x, company) for x in prompts for _, company in companies(speech.language, speech.policy, x, size)]
    scores = rationals([[float(speech.score(x, said)) for said in company] for x, company in every])
    credit = (scores - scores.sum(axis=1, keepdims=True) / size).astype(float).ravel()
    rows = [speech.pairs.index((x, said)) for x, company in every for said in company]
    logp, mask, names = speech.logp(speech.policy)[rows], speech.mask[rows], np.repeat(np.arange(len(every)), size)
    _, slopes = candidate.dr_grpo_loss(logp, logp, logp, credit, names, mask, 0.25, 0.25, 0.0, float(length))
    # Every token of an answer has the same derivative, and every answer a first token.
    worth = dict(zip(every, len(rows) * rationals(slopes.value[:, 0].reshape(-1, size)), strict=True))
    received = expected_gradient_of_groups(speech.language, speech.policy, size, lambda *group: worth[group])
    of_reward = np.array(in_line(score_gradient(speech.language, speech.policy, speech.score)), dtype=object)
    expected = -of_reward * Fraction(size - 1, size * length)
    same_direction(slopes, np.array(in_line(received), dtype=object), expected, 8 * np.abs(credit).max())
