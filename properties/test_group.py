"""Properties of group-relative advantages and of the losses that are made of them (spec/group.md)."""

from fractions import Fraction
from math import comb
from statistics import mean

import hypothesis.strategies as st
import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, exactly, law, tolerance
from rlspec.properties.groups import (
    IDS,
    baselines,
    credited,
    divisor,
    samples,
    scales,
    whole_batch_baselines,
)
from rlspec.properties.languages import RIGHT, in_line, speeches
from rlspec.properties.questions.group import LOSSES, exact_loss
from rlspec.properties.questions.question import PRECISION, nearest
from rlspec.properties.strategies import MANY_ROWS, PLAIN
from rlspec.properties.tokens import far_token_ratios
from rlspec.reference.group import companies, expected_gradient_of_groups, success_weight
from rlspec.reference.language import probability, score_gradient
from rlspec.reference.spread import kept_from_zero
from rlspec.spec.operations import OPERATIONS

rationals = np.vectorize(exactly, otypes=[object])

LOGPS = ("logp", "old_logp", "ref_logp")
factors = st.sampled_from([2.0, 0.5, 1024.0])
VERDICTS = np.array([0.0, 1.0])


# What `group_advantages` owes.


def chosen(candidate, operation):
    """The candidate's conventions for an operation, by their last names."""
    return {name.rpartition(".")[2]: choice for name, choice in candidate.conventions(operation).items()}


def divisors(candidate, drawn, scale):
    """What each sample's advantage is divided by [N], by the candidate's conventions; None without a scale.

    Where all rewards are equal and nothing is added it is 1: differences of 0 are 0, whatever they are divided by.
    """
    if scale == "none":
        return None
    by = chosen(candidate, "group_advantages")
    found = drawn.divisors(by["std"], by["eps"])
    return np.where(found > 0, found, 1.0)


def judged(candidate, drawn, scale, times=1):
    """How far rounding may take the advantages, so many of them together."""
    found = drawn.judged(divisors(candidate, drawn, scale))
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
    scaled = divisors(candidate, drawn, scale)
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
    answer = advantages(candidate, drawn, baseline, scale)
    expected = np.zeros(len(drawn.rewards))
    for places in drawn.members:
        expected[places] = advantages(candidate, drawn.part(places), baseline, scale).value
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


@clause("GRP-3", examples=150)
@given(called(samples()), baselines, scales)
def test_what_a_group_is_called_does_not_matter(candidate, both, baseline, scale):
    drawn, other = both
    same = advantages(candidate, drawn, baseline, scale)
    answer = candidate.demand(OPERATIONS["group_advantages"], *other.arrays, baseline, scale)
    agree(answer, same, **judged(candidate, drawn, scale, times=2))


@clause("GRP-3", examples=150)
@given(called(samples()))
def test_what_a_group_is_called_does_not_matter_to_the_whole_batch(candidate, both):
    drawn, other = both
    same = candidate.reinforce_plus_plus_advantages(*drawn.arrays, "mean")
    answer = candidate.demand(OPERATIONS["reinforce_plus_plus_advantages"], *other.arrays, "mean")
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
    before, after = (divisors(candidate, each, scale) for each in (drawn, moved))
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
    before, after = (divisors(candidate, each, scale) for each in (drawn, moved))
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
    answer = advantages(candidate, drawn, "leave-one-out", scale)
    agree(answer, expected, **judged(candidate, drawn, scale, times=3))


@clause("GRP-8", examples=60)
@given(samples(VERDICTS, sizes=(1.0, 0.1)) | samples(), baselines)
def test_no_scaled_advantage_exceeds_what_the_size_of_its_group_allows(candidate, drawn, baseline):
    drawn = not_alone(drawn)
    answer = advantages(candidate, drawn, baseline, "std")
    terms = judged(candidate, drawn, "std")
    ddof = chosen(candidate, "group_advantages")["std"] == "ddof=1"
    for places in drawn.members:
        size = len(places)
        most = ((size - ddof) * (size - 1) / size) ** 0.5 * (size / (size - 1) if baseline == "leave-one-out" else 1)
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
    kept = by["alone"] == "its reward"
    # What is added to a spread of 1 is seen in the answer, however it is rounded.
    added = exactly(kept_from_zero(1.0, by["eps"])) - 1 if kept and scale == "std" else 0
    rewards = rationals(lonely.rewards)
    off = [tolerance(magnitude=size, roundings=4, roundoff=answer.roundoff) + 2 * added * size for size in abs(rewards)]
    near = abs(rationals(answer.value) - (rewards if kept else 0)) <= off
    law(near.all(), answer, f"samples that are alone have the advantages {answer.value.tolist()}")


@clause("GRP-11", examples=25)
@given(samples(VERDICTS, sizes=(1.0,)), baselines, scales)
def test_verdicts_count_as_zero_and_one(candidate, drawn, baseline, scale):
    same = advantages(candidate, drawn, baseline, scale)
    asked = (drawn.rewards.astype(bool), drawn.groups, baseline, scale)
    answer = candidate.demand(OPERATIONS["group_advantages"], *asked)
    agree(answer, same, **judged(candidate, drawn, scale, times=2))


@clause("GRP-11", examples=25)
@given(samples(VERDICTS, sizes=(1.0,)), whole_batch_baselines)
def test_verdicts_count_as_zero_and_one_in_the_whole_batch(candidate, drawn, baseline):
    same = candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline)
    asked = (drawn.rewards.astype(bool), drawn.groups, baseline)
    answer = candidate.demand(OPERATIONS["reinforce_plus_plus_advantages"], *asked)
    agree(answer, same, **drawn.judged_as_one(spread_over_all(candidate, drawn, baseline)))


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


@clause("GRP-15", examples=25)
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


@clause("GRP-16", examples=25)
@given(speeches(on_policy=True), group_sizes, baselines)
def test_divided_by_its_spread_a_group_follows_the_gradient_that_its_rate_of_success_weighs(
    candidate, speech, size, baseline
):
    score, by = verdict(speech), chosen(candidate, "group_advantages")

    def of_group(right):
        return exactly(divisor([Fraction(1)] * right + [Fraction(0)] * (size - right), by["std"], by["eps"]))

    answer, actual, _ = expected_by_groups(candidate, speech, size, (baseline, "std"), score)
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


@clause("GRP-17")
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
    """What the batch is divided by, by the candidate's conventions."""
    by = chosen(candidate, "reinforce_plus_plus_advantages")
    return divisor(less_their_means(candidate, drawn, baseline), by["std"], by["eps"])


def less_their_means(candidate, drawn, baseline):
    """The rewards, less the means of their groups."""
    alone = candidate.convention("reinforce_plus_plus_advantages.alone")
    return drawn.centred(alone) if baseline == "mean" else [exactly(reward) for reward in drawn.rewards]


@clause("GRP-18", "GRP-20", "GRP-14", examples=60)
@given(samples(), whole_batch_baselines)
def test_over_the_whole_batch_rewards_are_centred_and_divided_by_their_spread(candidate, drawn, baseline):
    known = less_their_means(candidate, drawn, baseline)
    scale = spread_over_all(candidate, drawn, baseline)
    expected = [(credit - mean(known)) / exactly(scale) for credit in known]
    answer = candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline)
    agree(answer, expected, **drawn.judged_as_one(scale))


@clause("GRP-18", examples=60)
@given(samples())
def test_without_a_baseline_groups_do_not_matter_to_the_whole_batch(candidate, drawn):
    other = drawn.but(groups=np.arange(len(drawn.rewards)))
    answer = candidate.reinforce_plus_plus_advantages(*other.arrays, "none")
    terms = drawn.judged_as_one(spread_over_all(candidate, drawn, "none"))
    agree(answer, candidate.reinforce_plus_plus_advantages(*drawn.arrays, "none"), **terms)


@clause("GRP-19", examples=60)
@given(samples(), whole_batch_baselines, st.randoms(use_true_random=False))
def test_the_whole_batch_is_a_set_of_samples(candidate, drawn, baseline, random):
    order = list(range(len(drawn.rewards)))
    random.shuffle(order)
    answer = candidate.reinforce_plus_plus_advantages(*drawn.part(order).arrays, baseline)
    same = candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline).value[order]
    agree(answer, same, **drawn.judged_as_one(spread_over_all(candidate, drawn, baseline)))


@clause("GRP-18", examples=60)
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


@clause("GRP-19", examples=60)
@given(samples(), whole_batch_baselines)
def test_the_whole_batch_has_mean_zero(candidate, drawn, baseline):
    answer = candidate.reinforce_plus_plus_advantages(*drawn.arrays, baseline)
    terms = drawn.judged_as_one(spread_over_all(candidate, drawn, baseline))
    total = sum(rationals(answer.value))
    size = terms["magnitude"].max()
    allowed = len(drawn.rewards) * tolerance(**terms | {"magnitude": size}, roundoff=answer.roundoff)
    law(abs(total) <= allowed, answer, f"they add up to {float(total)}, where rounding explains {float(allowed):.1e}")


# What the losses owe.

CLIPPED = ("grpo_loss", "dr_grpo_loss", "dapo_loss", "gspo_loss")
BY_TOKEN = ("grpo_loss", "dr_grpo_loss", "dapo_loss")
every_loss = pytest.mark.parametrize("operation", LOSSES)
every_clipped_loss = pytest.mark.parametrize("operation", CLIPPED)


def ask(candidate, operation, case):
    """The candidate's loss and its derivatives."""
    return candidate.ask(OPERATIONS[operation], *case.arguments(operation))


def rows_that_count(candidate, operation, case):
    """How many rows a mean over rows is over, by the candidate's convention; at least 1."""
    everyone = candidate.convention(f"{operation}.empty_rows") == "counted"
    return max(1, len(case.mask) if everyone else int(case.mask.any(axis=1).sum()))


def token_weights(candidate, operation, case):
    """What each row's tokens weigh in a loss [B]: 1/(B |o|), 1/(B length) or 1/n."""
    lengths = [max(1, int(row.sum())) for row in case.mask]
    if operation in ("dapo_loss", "cispo_loss"):
        return [Fraction(1, max(1, int(case.mask.sum())))] * len(lengths)
    rows = rows_that_count(candidate, operation, case)
    if operation == "dr_grpo_loss":
        return [Fraction(1, rows * case.length)] * len(lengths)
    return [Fraction(1, rows * length) for length in lengths]


def one_token(case, row, token):
    """The batch that has this token only."""
    narrow = {name: array[row : row + 1, token : token + 1] for name, array in vars(case.tokens).items()}
    return case.but(advantages=case.advantages[row : row + 1], **{n: a for n, a in narrow.items() if n != "advantages"})


def only_token(drawn):
    """The first token, which counts."""
    case = one_token(drawn, 0, 0)
    return case.but(mask=np.ones((1, 1), dtype=bool))


def closed_form(candidate, operation, case):
    """One token's loss, -min(r A, c A) + kl_coef k3 with c = r between its bounds, its derivative in log pi, and c."""
    with ctx.workprec(PRECISION):
        logp, old, ref = (arb(part.item()) for part in (case.tokens.logp, case.tokens.old_logp, case.tokens.ref_logp))
        r, rho = nearest((logp - old).exp()), nearest((ref - logp).exp())
        behind = exactly(case.tokens.ref_logp.item()) - exactly(case.tokens.logp.item())
    A, kl_coef = exactly(case.advantages[0]), exactly(case.kl_coef)
    _, c, _ = sorted([1 - exactly(case.clip_low), r, 1 + exactly(case.clip_high)])
    moves = r * A if r * A <= c * A else 0
    if bounds(candidate, operation) and r > E_10:
        r, moves = E_10, 0
    k3, k3_slope = rho - behind - 1, 1 - rho
    if clamps(candidate) and k3 > 10:
        k3, k3_slope = Fraction(10), Fraction(0)
    return -min(r * A, c * A) + kl_coef * k3, -moves + kl_coef * k3_slope, c


with ctx.workprec(PRECISION):
    E_10 = nearest(arb(10).exp())


def bounds(candidate, operation):
    """Whether the candidate keeps a row's ratio in GSPO at exp(10) or below."""
    return operation == "gspo_loss" and candidate.convention("gspo_loss.log_ratio") == "at most 10"


def clamps(candidate):
    """Whether the candidate keeps GRPO's k3 at 10 or below."""
    return candidate.convention("grpo_loss.clamp") == "k3 at 10"


def check_one_token(candidate, operation, case, times=1):
    """That the loss of one token is the closed form, divided by so much."""
    value, slope, _ = closed_form(candidate, operation, case)
    agree(ask(candidate, operation, case), (value / times, [[slope / times]]), **case.judged)


def check_weights(candidate, operation, case):
    """That a loss is the sum of those of its tokens, times their weights, and so are its derivatives."""
    weights = token_weights(candidate, operation, case)
    alone = case.length if operation == "dr_grpo_loss" else 1
    total, slopes = Fraction(0), np.zeros(case.mask.shape, dtype=object)
    for row, token in np.argwhere(case.mask):
        value, slope = ask(candidate, operation, one_token(case, row, token))
        total += weights[row] * alone * exactly(value.value)
        slopes[row, token] = weights[row] * alone * exactly(slope.value[0, 0])
    terms = case.judged | {"magnitude": 2 * case.magnitude}
    agree(ask(candidate, operation, case), (total, slopes), **terms)


@clause("GRP-21", "GRP-40", examples=40)
@given(credited())
def test_the_grpo_loss_of_one_token_is_minus_the_clipped_surrogate_plus_k3(candidate, drawn):
    check_one_token(candidate, "grpo_loss", only_token(drawn))


@clause("GRP-21", "GRP-34", examples=20)
@given(credited())
def test_the_grpo_loss_is_a_mean_over_rows_of_means_over_tokens(candidate, case):
    check_weights(candidate, "grpo_loss", case)


@clause("GRP-22", examples=40)
@given(credited(kl=False))
def test_the_dr_grpo_loss_of_one_token_is_the_clipped_surrogate_over_the_length(candidate, drawn):
    check_one_token(candidate, "dr_grpo_loss", only_token(drawn), times=drawn.length)


@clause("GRP-22", "GRP-34", examples=20)
@given(credited(kl=False))
def test_the_dr_grpo_loss_is_a_sum_over_rows_times_a_fixed_length(candidate, case):
    check_weights(candidate, "dr_grpo_loss", case)


@clause("GRP-23", examples=40)
@given(credited(kl=False))
def test_the_dapo_loss_of_one_token_is_the_clipped_surrogate(candidate, drawn):
    check_one_token(candidate, "dapo_loss", only_token(drawn))


@clause("GRP-23", examples=20)
@given(credited(kl=False))
def test_the_dapo_loss_is_a_mean_over_all_tokens(candidate, case):
    check_weights(candidate, "dapo_loss", case)


@clause("GRP-24", "GRP-41", examples=40)
@given(credited(kl=False))
def test_the_gspo_loss_of_one_token_is_the_clipped_surrogate(candidate, drawn):
    check_one_token(candidate, "gspo_loss", only_token(drawn))


def mean_log_ratio(case):
    """The mean of each row's log-ratios, and 0 for a row without tokens [B]."""
    return np.where(case.mask, case.log_ratio, 0).sum(axis=1) / np.maximum(1, case.mask.sum(axis=1))


@clause("GRP-24", "GRP-34", examples=30)
@given(credited(kl=False))
def test_the_gspo_loss_is_a_mean_over_rows_each_like_one_token_with_the_geometric_mean_of_the_ratios(candidate, case):
    rows = rows_that_count(candidate, "gspo_loss", case)
    total, slopes = Fraction(0), np.zeros(case.mask.shape, dtype=object)
    for row in np.flatnonzero(case.mask.any(axis=1)):
        token = case.mask[row].argmax()
        old = case.tokens.old_logp[row : row + 1, token : token + 1]
        like = one_token(case, row, token).but(logp=old + mean_log_ratio(case)[row])
        value, slope = ask(candidate, "gspo_loss", like)
        total += exactly(value.value) / rows
        slopes[row, case.mask[row]] = exactly(slope.value[0, 0]) / (rows * int(case.mask[row].sum()))
    terms = case.judged | {"magnitude": 2 * case.magnitude}
    agree(ask(candidate, "gspo_loss", case), (total, slopes), **terms)


@clause("GRP-24", examples=40)
@given(credited(kl=False), st.sampled_from([0.5, -2.0, 1.0]))
def test_gspo_does_not_see_which_token_of_a_row_the_ratio_comes_from(candidate, case, amount):
    row = case.mask.sum(axis=1).argmax()
    assume(case.mask[row].sum() > 1)
    first, *_, last = np.flatnonzero(case.mask[row])
    logp = case.tokens.logp.copy()
    logp[row, first] += amount
    logp[row, last] -= amount
    moved = case.but(logp=logp)
    terms = case.judged | {"magnitude": case.magnitude + moved.magnitude}
    agree(ask(candidate, "gspo_loss", moved), ask(candidate, "gspo_loss", case), **terms)


clips_of_weights = st.sampled_from([1.0, 0.25, 0.03125, 0.875, 0.0])
"""How far below 1 CISPO's weights may be; with 1 there is no lower bound."""


@clause("GRP-25", examples=100)
@given(credited(kl=False), clips_of_weights)
def test_the_cispo_loss_of_one_token_is_clipped_ratio_times_advantage_times_log_probability(candidate, drawn, low):
    case = only_token(drawn).but(clip_low=low)
    _, _, weight = closed_form(candidate, "cispo_loss", case)
    slope = -weight * exactly(case.advantages[0])
    expected = slope * exactly(case.tokens.logp[0, 0]), [[slope]]
    agree(ask(candidate, "cispo_loss", case), expected, **case.judged)


@clause("GRP-25", examples=40)
@given(credited(kl=False), clips_of_weights)
def test_the_cispo_loss_is_a_mean_over_all_tokens(candidate, case, low):
    check_weights(candidate, "cispo_loss", case.but(clip_low=low))


def regions(case, operation):
    """Where each token's ratio, or its row's, is: below, between or above the bounds."""
    logs = mean_log_ratio(case)[:, None] + 0 * case.log_ratio if operation == "gspo_loss" else case.log_ratio
    ratio = np.exp(np.where(case.mask, logs, 0))
    return (ratio > 1 + case.clip_high).astype(int) - (ratio < 1 - case.clip_low)


def certain(case, operation, roundoff):
    """Where no rounding of the logarithms takes a ratio, or its row's, to the other side of a bound."""
    logp, old_logp = case.tokens.logp, case.tokens.old_logp
    off = (case.mask.shape[1] + 4) * float(roundoff) * (np.abs(logp) + np.abs(old_logp))
    ends = (regions(case.but(logp=logp + way * off), operation) for way in (-1, 1))
    return np.equal(*ends)


@every_clipped_loss
@clause("GRP-26", examples=20)
@given(drawn=credited(kl=False), rises=st.lists(st.booleans(), min_size=3, max_size=3))
def test_a_loss_moves_with_the_ratios_as_its_derivative_says(candidate, operation, drawn, rises):
    by = np.array([65 / 64 if rise else 63 / 64 for rise in np.resize(rises, len(drawn.mask))])
    moved = drawn.but(logp=drawn.tokens.logp + np.log(by)[:, None])
    assume((regions(moved, operation) == regions(drawn, operation)).all())
    loss, slopes = ask(candidate, operation, drawn)
    further, _ = ask(candidate, operation, moved)
    # Between its bounds a term is proportional to its ratio, which is multiplied; beyond one it does not move.
    gain = ((rationals(by) - 1)[:, None] * rationals(slopes.value)).sum()
    terms = drawn.judged | {"magnitude": 2 * drawn.magnitude + moved.magnitude}
    agree(further, exactly(loss.value) + gain, **terms)


@clause("GRP-26", examples=40)
@given(credited(kl=False), st.sampled_from([-1.0, 0.5, -1000.0]))
def test_the_cispo_loss_is_linear_in_log_probabilities_that_move_together(candidate, case, shift):
    moved = case.but(**{name: getattr(case.tokens, name) + shift for name in LOGPS})
    loss, slopes = ask(candidate, "cispo_loss", case)
    further, _ = candidate.demand(OPERATIONS["cispo_loss"], *moved.arguments("cispo_loss"))
    gain = Fraction(shift) * rationals(slopes.value).sum()
    terms = case.judged | {"magnitude": (1 + abs(shift)) * case.magnitude + moved.magnitude}
    agree(further, exactly(loss.value) + gain, **terms)


@every_clipped_loss
@clause("GRP-27", examples=20)
@given(case=credited(kl=False))
def test_a_token_is_held_where_its_ratio_has_gone_far_enough_and_nowhere_else(candidate, operation, case):
    _, slopes = ask(candidate, operation, case)
    signs = np.sign(case.advantages)[:, None]
    held = (regions(case, operation) * signs > 0) | (signs == 0) | ~case.mask
    if bounds(candidate, operation):
        held |= mean_log_ratio(case)[:, None] > 10
    open_to_rounding = case.mask & (signs != 0) & ~certain(case, operation, slopes.roundoff)
    kept = slopes.value[held & ~open_to_rounding]
    law(not kept.any(), slopes, "a token whose ratio has gone far enough is pushed further")
    right = (np.sign(slopes.value) == -signs)[~held & ~open_to_rounding]
    law(right.all(), slopes, "a token whose ratio has not gone far enough is not pushed, or the wrong way")


@clause("GRP-28", examples=40)
@given(credited(kl=False), clips_of_weights)
def test_cispo_forgets_no_token_and_follows_none_too_far(candidate, case, low):
    case = case.but(clip_low=low)
    _, slopes = ask(candidate, "cispo_loss", case)
    assume(case.mask.any())
    sizes = rationals(slopes.value) * -int(case.mask.sum()) * np.sign(case.advantages).astype(int)[:, None]
    least, most = (rationals(np.abs(case.advantages)) * (1 + exactly(edge)) for edge in (-low, case.clip_high))
    off = tolerance(roundoff=slopes.roundoff, **case.judged | {"magnitude": case.mask.sum() * case.magnitude})
    inside = (sizes >= least[:, None] - off) & (sizes <= most[:, None] + off)
    message = f"weights times advantages of {sizes.astype(float).tolist()} leave the clip"
    law(inside[case.mask].all(), slopes, message)
    law(slopes.value[case.mask & (case.advantages != 0)[:, None]].all(), slopes, "a token is forgotten")


@every_loss
@clause("GRP-29", examples=20)
@given(drawn=credited())
def test_at_ratio_one_a_token_is_credited_with_its_advantage_times_its_weight(candidate, operation, drawn):
    case = drawn.but(old_logp=drawn.tokens.logp, ref_logp=drawn.tokens.logp, clip_low=0.25, clip_high=0.25)
    weights = token_weights(candidate, operation, case)
    each = [-weight * exactly(advantage) for weight, advantage in zip(weights, case.advantages, strict=True)]
    slopes = np.where(case.mask, np.array(each, dtype=object)[:, None], 0)
    values = slopes * rationals(case.tokens.logp) if operation == "cispo_loss" else slopes
    agree(ask(candidate, operation, case), (Fraction(values.sum()), slopes), **case.judged)


@every_loss
@clause("GRP-30", examples=20)
@given(case=credited(kl=False), factor=st.sampled_from([2.0, 0.5, 3.0, 0.0]))
def test_a_positive_factor_of_the_advantages_is_one_of_the_loss(candidate, operation, case, factor):
    answer = ask(candidate, operation, case.but(advantages=factor * case.advantages))
    expected = tuple(Fraction(factor) * rationals(part.value) for part in ask(candidate, operation, case))
    terms = case.judged | {"magnitude": 2 * factor * case.magnitude}
    agree(answer, expected, **terms)


@every_clipped_loss
@clause("GRP-31", examples=20)
@given(drawn=credited(), shift=st.sampled_from([1.0, -0.5, -1000.0]))
def test_only_differences_of_log_probabilities_count(candidate, operation, drawn, shift):
    tokens = drawn.tokens
    moved = drawn.but(logp=tokens.logp + shift, old_logp=tokens.old_logp + shift, ref_logp=tokens.ref_logp + shift)
    terms = drawn.judged | {"magnitude": drawn.magnitude + moved.magnitude}
    same = ask(candidate, operation, drawn)
    agree(candidate.demand(OPERATIONS[operation], *moved.arguments(operation)), same, **terms)


@clause("GRP-32", examples=40)
@given(credited(kl=False), credited())
def test_without_its_coefficient_the_reference_does_not_matter(candidate, case, other):
    ref = np.resize(other.tokens.ref_logp, case.mask.shape)
    terms = case.judged
    agree(ask(candidate, "grpo_loss", case.but(ref_logp=ref)), ask(candidate, "grpo_loss", case), **terms)


@clause("GRP-32", examples=40)
@given(credited(), st.sampled_from([0.5, 0.0625, 3.0]))
def test_the_reference_has_a_part_that_is_linear_in_the_coefficient(candidate, case, kl_coef):
    without, once, asked = (ask(candidate, "grpo_loss", case.but(kl_coef=b)) for b in (0.0, 1.0, kl_coef))
    expected = tuple(
        rationals(a.value) + exactly(kl_coef) * (rationals(b.value) - rationals(a.value))
        for a, b in zip(without, once, strict=True)
    )
    terms = case.judged | {"magnitude": 4 * max(1, kl_coef) * case.but(kl_coef=1.0).magnitude}
    agree(asked, expected, **terms)


@clause("GRP-32", examples=40)
@given(credited(), st.sampled_from([1.25, 0.875]))
def test_the_part_of_the_reference_moves_with_the_policy_as_its_derivative_says(candidate, drawn, by):
    near = np.abs(drawn.tokens.ref_logp - drawn.tokens.logp) < 2
    mask = drawn.mask & near if clamps(candidate) else drawn.mask
    case = drawn.but(advantages=0 * drawn.advantages, kl_coef=1.0, mask=mask)
    moved = case.but(logp=case.tokens.logp + np.log(by))
    loss, slopes = ask(candidate, "grpo_loss", case)
    further, _ = ask(candidate, "grpo_loss", moved)
    # w k3 = w (rho - log rho - 1) has the derivative w (1 - rho); rho is divided by the factor.
    weights = np.where(case.mask, np.array(token_weights(candidate, "grpo_loss", case), dtype=object)[:, None], 0)
    with ctx.workprec(PRECISION):
        log_by = nearest(arb(by).log())
    gain = ((weights - rationals(slopes.value)) * (1 / Fraction(by) - 1) + weights * log_by).sum()
    terms = case.judged | {"magnitude": 2 * case.magnitude + moved.magnitude}
    agree(further, exactly(loss.value) + gain, **terms)


@every_loss
@clause("GRP-37", examples=20)
@given(case=credited(), order=st.permutations(range(MANY_ROWS)))
def test_rows_in_another_order_have_the_same_loss(candidate, operation, case, order):
    order = [row for row in order if row < len(case.mask)]
    loss, slopes = ask(candidate, operation, case)
    agree(ask(candidate, operation, case.rows(order)), (loss, slopes.value[order]), **case.judged)


@every_loss
@clause("GRP-37", examples=20)
@given(case=credited())
def test_a_batch_given_twice_has_the_same_loss(candidate, operation, case):
    loss, slopes = ask(candidate, operation, case)
    twice = ask(candidate, operation, case.rows([*range(len(case.mask))] * 2))
    expected = loss, np.concatenate([slopes.value, slopes.value]) / 2
    agree(twice, expected, magnitude=2 * case.magnitude, roundings=2 * case.mask.size + 16)


def as_far_as_floats_go(candidate, operation, case):
    """The log-ratios: up to 200, or 80 for those who work in float32, where the exponential of 89 is infinite."""
    return case.log_ratio * (0.4 if candidate.precision(operation) == "float32" else 1)


@every_loss
@clause("GRP-38", examples=60)
@given(drawn=credited(PLAIN, far_token_ratios, kl=False))
def test_ratios_that_are_far_off_have_finite_answers(candidate, operation, drawn):
    assume(drawn.mask.any())
    old = drawn.tokens.old_logp
    case = drawn.but(logp=old + as_far_as_floats_go(candidate, operation, drawn), ref_logp=old)
    candidate.demand(OPERATIONS[operation], *case.arguments(operation))


@every_loss
@clause("GRP-38", examples=20)
@given(drawn=credited(PLAIN, far_token_ratios, kl=False))
def test_a_ratio_that_has_gone_far_enough_is_the_bound_however_far_it_has_gone(candidate, operation, drawn):
    assume(drawn.mask.any())
    steps = np.abs(as_far_as_floats_go(candidate, operation, drawn)) * np.sign(drawn.advantages)[:, None]
    case = drawn.but(logp=drawn.tokens.old_logp + steps, ref_logp=drawn.tokens.old_logp, clip_low=0.25)
    answer = candidate.demand(OPERATIONS[operation], *case.arguments(operation))
    # No ratio exceeds its bound; what is left of the logarithms' size is in that of the loss at ratio one.
    largest = 2 * drawn.but(logp=drawn.tokens.old_logp).magnitude * (1 + np.abs(steps).max())
    expected = exact_loss(operation, case, **candidate.conventions(operation))
    agree(answer, expected, **case.judged | {"magnitude": largest})


@clause("GRP-39", examples=20)
@given(speeches(on_policy=True), st.sampled_from([0, 1, -2]), st.integers(3, 5))
def test_the_expected_gradient_of_the_dr_grpo_loss_is_that_of_the_reward(candidate, speech, baseline, length):
    logp = speech.logp(speech.policy)
    credit = np.array([float(speech.score(*pair) - baseline) for pair in speech.pairs])
    _, slopes = candidate.dr_grpo_loss(logp, logp, credit, speech.mask, 0.25, 0.25, length)
    actual = np.array(in_line(speech.gradient(slopes.value)), dtype=object)
    of_reward = in_line(score_gradient(speech.language, speech.policy, speech.score))
    expected = -np.array(of_reward, dtype=object) / Fraction(len(credit) * length)
    same_direction(slopes, actual, expected, np.abs(credit).max())
