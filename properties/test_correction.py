"""Properties of what is done where another policy has spoken (spec/correction.md)."""

from fractions import Fraction
from itertools import product

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import BRAIN, agree, clause, exactly, law, tolerance
from rlspec.properties.clipping import exact_exp
from rlspec.properties.closed_forms import limited
from rlspec.properties.correcting import FORMS, exact_weights, sizes, weighed
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.reducing import divisors_of, tokens_in
from rlspec.properties.strategies import PLAIN
from rlspec.properties.tokens import TOKEN_RATIOS, far_token_ratios, plain_ratios
from rlspec.reference import decision_process
from rlspec.reference.advantages import vtrace
from rlspec.reference.choices import shape_of
from rlspec.reference.correction import between, most_probable, products, token_ratios, truncated_support
from rlspec.reference.language import as_process, choices, expectation, expected_gradient, probability, score_gradient
from rlspec.reference.policy_gradient import scored
from rlspec.reference.ppo import approx_kl
from rlspec.spec.operations import OPERATIONS

token, sequence, geometric = map(st.just, ("token", "sequence", "geometric"))
unbounded = st.just("none")
languages = speeches()


# The weights.


def check_weights(candidate, case):
    """Check `importance_weights` against their closed form."""
    answer = candidate.importance_weights(*case.arguments("importance_weights"))
    agree(answer, exact_weights(candidate, "importance_weights", case), **case.judged)


@clause("COR-1", "COR-8", examples=60)
@given(weighed(token, unbounded))
def test_a_tokens_weight_is_its_ratio(candidate, case):
    check_weights(candidate, case)


@clause("COR-2", "COR-8", examples=60)
@given(weighed(sequence, unbounded))
def test_an_answers_weight_is_the_product_of_its_tokens_ratios(candidate, case):
    check_weights(candidate, case)


@clause("COR-3", examples=60)
@given(weighed(geometric, unbounded))
def test_the_geometric_mean_is_the_root_of_the_product(candidate, case):
    check_weights(candidate, case)


@clause("COR-4", examples=60)
@given(weighed(forms=st.just("truncated")))
def test_a_truncated_weight_is_the_smaller_of_it_and_the_bound(candidate, case):
    check_weights(candidate, case)


@clause("COR-5", examples=80)
@given(weighed(forms=st.just("masked")))
def test_a_masked_weight_is_itself_inside_of_its_bounds_and_nothing_outside(candidate, case):
    check_weights(candidate, case)


@clause("COR-6", examples=60)
@given(weighed(forms=st.just("clipped")))
def test_a_clipped_weight_is_between_its_bounds(candidate, case):
    check_weights(candidate, case)


@clause("COR-7", examples=60)
@given(
    weighed(st.sampled_from(["token", "geometric"]), st.sampled_from(FORMS[1:]), PLAIN, far_token_ratios), st.just(4.0)
)
def test_a_bounded_weight_is_finite_however_far_two_policies_are_apart(candidate, case, times):
    assume(case.mask.any())
    old = case.tokens.old_logp
    apart = case.but(ref_logp=old - times * (old - case.tokens.ref_logp))
    assume(apart.clear)
    answer = candidate.demand(OPERATIONS["importance_weights"], *apart.arguments("importance_weights"))
    agree(answer, exact_weights(candidate, "importance_weights", apart), **apart.judged)


@clause("COR-9", examples=100)
@given(weighed(ratios=plain_ratios))
def test_self_normalized_weights_are_weights_over_their_mean(candidate, case):
    assume(case.normalizable)
    name = "self_normalized_weights"
    weights = exact_weights(candidate, name, case)
    if case.level == "token":
        mean = weights.sum() / tokens_in(candidate, name, case.mask)
    else:
        rows = [row for row, counts in enumerate(case.mask) if counts.any()]
        means = [weights[row].sum() / tokens_in(candidate, name, case.mask[row]) for row in rows]
        mean = sum(means, Fraction(0)) / max(len(rows), 1)
    expected = weights / mean if mean else weights
    agree(candidate.self_normalized_weights(*case.arguments(name)), expected, **case.judged_normalized)


@clause("COR-10", examples=40)
@given(
    weighed(st.sampled_from(["token", "geometric"]), unbounded, ratios=st.just(TOKEN_RATIOS)),
    st.sampled_from([1.0, -0.5]),
)
def test_a_factor_of_all_weights_has_no_part_in_self_normalized_ones(candidate, case, shift):
    other = case.but(ref_logp=case.tokens.ref_logp + shift)
    assume(np.abs(other.of_level).max() < 5)
    first, second = case.judged_normalized, other.judged_normalized
    answer = candidate.self_normalized_weights(*case.arguments("self_normalized_weights"))
    again = candidate.self_normalized_weights(*other.arguments("self_normalized_weights"))
    agree(again, answer, **{name: first[name] + second[name] for name in first})


# The loss.


def rationals(array):
    """An array's numbers as rationals."""
    return np.vectorize(exactly, otypes=[object])(array)


def counted(candidate, case, weights):
    """The tokens that the candidate's mean is over [B, T]."""
    left_out = case.form == "masked" and candidate.convention("corrected_loss.rejected") == "left out"
    return case.mask & (weights != 0) if left_out else case.mask


def surrogates(candidate, case):
    """min(r A, clip(r) A) of each token [B, T] in closed form, and its derivative."""
    values, slopes = (np.full(case.mask.shape, Fraction(0), dtype=object) for _ in range(2))
    low, high = 1 - exactly(case.clip_low), 1 + exactly(case.clip_high)
    for place in map(tuple, np.argwhere(case.mask)):
        A = exactly(case.tokens.advantages[place])
        x = exactly(case.tokens.logp[place]) - exactly(case.tokens.old_logp[place])
        x, moves = limited(candidate, "corrected_loss", x)
        r = exact_exp(x)
        values[place] = min(r * A, min(max(r, low), high) * A)
        slopes[place] = r * A if moves and values[place] == r * A else Fraction(0)
    return values, slopes


def check_loss(candidate, case, weights):
    """Check `corrected_loss` with these weights [B, T]."""
    kept = counted(candidate, case, weights)
    size = divisors_of(candidate, "corrected_loss", kept)
    values, slopes = (np.where(kept, -weights * table / size, 0) for table in surrogates(candidate, case))
    answer = candidate.corrected_loss(*case.arguments("corrected_loss"))
    agree(answer, (Fraction(values.sum()), slopes), **case.judged_loss)


@clause("COR-11", "COR-12", "COR-17", examples=120)
@given(weighed())
def test_the_corrected_loss_is_the_clipped_surrogate_times_the_weight(candidate, case):
    check_loss(candidate, case, exact_weights(candidate, "corrected_loss", case))


@clause("COR-12", examples=40)
@given(weighed(ratios=st.just(TOKEN_RATIOS)), st.booleans())
def test_the_corrected_loss_moves_with_the_ratios_as_its_derivative_says(candidate, case, rises):
    by = 65 / 64 if rises else 63 / 64
    moved = case.but(logp=case.tokens.logp + np.log(by))
    sides = [np.digitize(np.exp(one.tokens.logp - one.tokens.old_logp), [1 - case.clip_low, 1 + case.clip_high])
             for one in (case, moved)]  # fmt: skip
    assume((sides[0] == sides[1]).all())
    loss, slopes = candidate.corrected_loss(*case.arguments("corrected_loss"))
    further, _ = candidate.corrected_loss(*moved.arguments("corrected_loss"))
    gain = (exactly(by) - 1) * rationals(slopes.value).sum()
    terms = {name: 2 * case.judged_loss[name] + moved.judged_loss[name] for name in case.judged_loss}
    agree(further, exactly(loss.value) + gain, **terms)


@clause("COR-13", examples=60)
@given(weighed(ratios=plain_ratios))
def test_where_the_proximal_policy_has_spoken_the_corrected_loss_is_ppos(candidate, drawn):
    case = drawn.but(ref_logp=drawn.tokens.old_logp)
    assume(case.low < 1 < case.high)
    check_loss(candidate, case, case.mask.astype(int).astype(object))


@clause("COR-14", examples=60)
@given(weighed())
def test_where_the_proximal_policy_is_the_current_one_it_is_weighed_reinforce(candidate, drawn):
    case = drawn.but(logp=drawn.tokens.old_logp)
    weights = exact_weights(candidate, "corrected_loss", case)
    size = divisors_of(candidate, "corrected_loss", counted(candidate, case, weights))
    expected = np.where(case.mask, -weights * rationals(case.tokens.advantages) / size, 0)
    agree(candidate.corrected_loss(*case.arguments("corrected_loss"))[1], expected, **case.judged_loss)


@clause("COR-15", examples=40)
@given(weighed(token, unbounded, ratios=st.just(TOKEN_RATIOS)), st.sampled_from([0.5, -0.25, 1.0]))
def test_inside_of_the_clip_the_proximal_policy_has_no_part(candidate, drawn, shift):
    wide = drawn.but(clip_low=1.0, clip_high=2.0**10)
    moved = wide.but(old_logp=wide.tokens.old_logp + shift)
    answer = candidate.corrected_loss(*wide.arguments("corrected_loss"))
    again = candidate.corrected_loss(*moved.arguments("corrected_loss"))
    terms = {name: wide.judged_loss[name] + moved.judged_loss[name] for name in wide.judged_loss}
    agree(again, answer, **terms)


@clause("COR-16", examples=60)
@given(weighed(forms=st.just("masked")), st.sampled_from([3.0, -1000.0]), st.sampled_from([0.25, -1.0]))
def test_a_rejected_token_has_no_part_but_that_it_was_there(candidate, case, worth, shift):
    rejected = case.mask & (case.bounded(case.of_level) == 0)
    assume(rejected.any())
    logp = np.where(rejected, case.tokens.logp + shift, case.tokens.logp)
    other = case.but(advantages=np.where(rejected, worth, case.tokens.advantages), logp=logp)
    answer = candidate.corrected_loss(*case.arguments("corrected_loss"))
    agree(candidate.corrected_loss(*other.arguments("corrected_loss")), answer, **case.judged_loss)


# What is logged.


def worth(candidate, drawn):
    """The share N_eff / N, by the number that the candidate adds to the mean, and N."""
    name = "effective_sample_size"
    count, weights = tokens_in(candidate, name, drawn.mask), drawn.counted
    _, added = shape_of(candidate.convention(f"{name}.eps"), "mean", "mean + E")
    mean = sum(weights, Fraction(0)) / count + (Fraction(added) if added else 0)
    square = sum((weight * weight for weight in weights), Fraction(0)) / count
    return (mean * mean / square if square else Fraction(0)), count


def shares(candidate):
    """Whether the candidate's number is a share."""
    return candidate.convention("effective_sample_size.of") == "share"


@clause("COR-18", "COR-19", examples=80)
@given(sizes())
def test_the_effective_sample_size_is_the_squared_sum_over_the_sum_of_squares(candidate, drawn):
    share, count = worth(candidate, drawn)
    answer = candidate.effective_sample_size(*drawn.arguments)
    agree(answer, share if shares(candidate) else share * count, **drawn.judged)


@clause("COR-18", examples=20)
@given(sizes())
def test_of_weights_that_are_all_zero_nothing_is_left(candidate, drawn):
    nothing = np.zeros(drawn.mask.shape)
    answer = candidate.demand(OPERATIONS["effective_sample_size"], nothing, drawn.mask)
    agree(answer, 0, magnitude=0, roundings=1)


@clause("COR-20", examples=40)
@given(sizes(), st.sampled_from([1.0, 0.25, 2.0]))
def test_equal_weights_are_worth_their_number(candidate, drawn, size):
    assume(drawn.mask.any())
    answer = candidate.effective_sample_size(np.full(drawn.mask.shape, size), drawn.mask)
    number = int(drawn.mask.sum())
    expected = 1 if shares(candidate) else number
    # No number that may be added to a count, or to a mean of a quarter, has a share of more than 1e-4.
    allowed = expected / 1000 + float(tolerance(roundoff=answer.roundoff, **drawn.judged))
    law(abs(answer.value - expected) <= allowed, answer, f"{number} equal weights are to be worth {expected}")


@clause("COR-20", examples=40)
@given(sizes(), st.sampled_from([0.5, 4.0]))
def test_a_factor_of_all_weights_does_not_change_what_they_are_worth(candidate, drawn, factor):
    _, added = shape_of(candidate.convention("effective_sample_size.eps"), "mean", "mean + E")
    answer = candidate.effective_sample_size(*drawn.arguments)
    again = candidate.effective_sample_size(factor * drawn.weights, drawn.mask)
    share, count = worth(candidate, drawn)
    lost = 0 if added is None else 8 * float(added) * float(share) * float(count)  # the mean is a 40th, at least
    judged = drawn.judged | {"magnitude": 2 * drawn.judged["magnitude"] + 400 * lost / float(answer.roundoff)}
    agree(again, answer, **judged)


# What weights estimate.


def answers_weight(speech, policy=None, sampler=None):
    """pi(y|x) / mu(y|x) as a function of an answer, which the sampler may give."""
    policy, sampler = policy or speech.policy, sampler or speech.old

    def weight(prompt, tokens):
        return probability(policy, prompt, tokens) / probability(sampler, prompt, tokens)

    return weight


def heard(speech, sampler, value):
    """The mean of a function of answers over those that the sampler may give."""
    return sum(
        speech.language.prompts[prompt] * chance * value(prompt, tokens)
        for prompt, tokens in speech.pairs
        if (chance := probability(sampler, prompt, tokens))
    )


@clause("COR-21", examples=30)
@given(languages)
def test_weights_have_the_mean_one_and_the_mean_square_of_chi_squared(speech):
    weight = answers_weight(speech)
    assert expectation(speech.language, speech.old, weight) == 1
    chi_squared = sum(
        speech.language.prompts[x] * (probability(speech.policy, x, y) - probability(speech.old, x, y)) ** 2
        / probability(speech.old, x, y)
        for x, y in speech.pairs
    )  # fmt: skip
    assert expectation(speech.language, speech.old, lambda *pair: weight(*pair) ** 2) == 1 + chi_squared


@clause("COR-21", examples=10)
@given(languages, st.integers(1, 4))
def test_the_mean_square_of_independent_tokens_weights_is_a_power(speech, length):
    ours, theirs = (next(iter(policy.values())) for policy in (speech.policy, speech.old))
    ratios = [p / m for p, m in zip(ours, theirs, strict=True)]
    square = sum(m * r * r for m, r in zip(theirs, ratios, strict=True))
    total = Fraction(0)
    for tokens in product(range(len(ours)), repeat=length):
        chance = Fraction(1)
        for one in tokens:
            chance *= theirs[one]
        total += chance * products([ratios[one] for one in tokens], "all")[0] ** 2
    assert total == square**length


@clause("COR-22", examples=20)
@given(languages)
def test_weighed_by_its_own_answers_ratio_everything_is_unbiased(speech):
    weight = answers_weight(speech)
    scored_by_mu = expectation(speech.language, speech.old, lambda *pair: weight(*pair) * speech.score(*pair))
    assert scored_by_mu == expectation(speech.language, speech.policy, speech.score)

    def credit(prompt, tokens):
        whole = products(token_ratios(speech.policy, speech.old, prompt, tokens), "all")
        return [w * speech.score(prompt, tokens) for w in whole]

    estimated = expected_gradient(speech.language, speech.policy, credit, speech.old)
    assert estimated == score_gradient(speech.language, speech.policy, speech.score)


def met(language, policy, prompt, begun):
    """How often a policy meets a context."""
    return language.prompts[prompt] * probability(policy, prompt, begun)


SPANS = {
    "own": ("old", "old"),
    "up to it": ("policy", "old"),
    "from it on": ("old", "policy"),
    "all": ("policy", "policy"),
}
"""Who has come to a context, and who goes on from the token, as a product of ratios has it."""


@clause("COR-23", examples=20)
@given(languages, st.sampled_from(list(SPANS)))
def test_a_product_of_ratios_corrects_the_tokens_that_are_in_it(speech, which):
    before, after = (getattr(speech, name) for name in SPANS[which])
    process = as_process(speech.language, speech.score)
    contexts = speech.language.contexts()
    table = [
        *(after[context] for context in contexts),
        [Fraction(1), *[Fraction(0)] * (speech.language.vocabulary - 1)],
    ]
    known = decision_process.action_values(process, table)

    def credit(prompt, tokens):
        ratios = products(token_ratios(speech.policy, speech.old, prompt, tokens), which)
        return [w * speech.score(prompt, tokens) for w in ratios]

    estimated = expected_gradient(speech.language, speech.policy, credit, speech.old)
    received = [
        [met(speech.language, before, *context) * p * q for p, q in zip(speech.policy[context], row, strict=True)]
        for place, context in enumerate(contexts)
        for row in [known[len(context[1])][place]]
    ]
    expected = scored([speech.policy[context] for context in contexts], received)
    assert in_line(estimated) == [number for row in expected for number in row]


@clause("COR-24", examples=10)
@given(languages, st.sampled_from(["own", "up to it", "from it on"]))
def test_the_bias_of_a_tokens_ratio_is_proportional_to_a_small_mismatch(speech, which):
    gradient = in_line(score_gradient(speech.language, speech.policy, speech.score))

    def bias(eps):
        """How far the estimate is from the gradient, divided by eps."""
        near = {
            context: [p + eps * (m - p) for p, m in zip(row, speech.old[context], strict=True)]
            for context, row in speech.policy.items()
        }

        def credit(prompt, tokens):
            ratios = products(token_ratios(speech.policy, near, prompt, tokens), which)
            return [w * speech.score(prompt, tokens) for w in ratios]

        estimated = in_line(expected_gradient(speech.language, speech.policy, credit, near))
        return [(x - y) / eps for x, y in zip(estimated, gradient, strict=True)]

    # Of answers of up to three tokens the difference is eps times a polynomial in eps of degree 1.
    first, second, third = (bias(Fraction(1, n)) for n in (4, 8, 16))
    straight = [2 * y - x for x, y in zip(first, second, strict=True)]  # at eps = 0, by a line
    assert straight == [2 * y - x for x, y in zip(second, third, strict=True)]


caps = st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(2)])


@clause("COR-25", examples=20)
@given(languages, caps)
def test_what_truncation_leaves_out_is_the_excess(speech, cap):
    weight = answers_weight(speech)
    truncated = expectation(speech.language, speech.old, lambda *y: min(weight(*y), cap) * speech.score(*y))
    lifted = expectation(speech.language, speech.old, lambda *y: max(cap / 4, min(weight(*y), cap)) * speech.score(*y))

    def beyond(x, y):
        return speech.language.prompts[x] * (probability(speech.policy, x, y) - cap * probability(speech.old, x, y))

    def below(x, y):
        return speech.language.prompts[x] * (cap / 4 * probability(speech.old, x, y) - probability(speech.policy, x, y))

    excess = sum(max(beyond(*pair), 0) * speech.score(*pair) for pair in speech.pairs)
    want = sum(max(below(*pair), 0) * speech.score(*pair) for pair in speech.pairs)
    assert truncated == expectation(speech.language, speech.policy, speech.score) - excess
    assert lifted == truncated + want


@clause("COR-26", examples=20)
@given(languages, caps)
def test_what_masking_leaves_out_is_all_that_lies_outside(speech, cap):
    weight = answers_weight(speech)

    def inside(prompt, tokens):
        return speech.score(prompt, tokens) if cap / 4 <= weight(prompt, tokens) <= cap else 0

    masked = expectation(speech.language, speech.old, lambda *pair: weight(*pair) * inside(*pair))
    assert masked == expectation(speech.language, speech.policy, inside)


def self_normalized(speech, number, value):
    """The mean of the self-normalised mean of a function over so many answers of the sampler to the first prompt."""
    answers = [tokens for prompt, tokens in speech.pairs if prompt == 0]
    weight, total = answers_weight(speech), Fraction(0)
    for drawn in product(answers, repeat=number):
        chance, weights = Fraction(1), [weight(0, tokens) for tokens in drawn]
        for tokens in drawn:
            chance *= probability(speech.old, 0, tokens)
        total += chance * sum(w * value(0, y) for w, y in zip(weights, drawn, strict=True)) / sum(weights)
    return total


@clause("COR-27", examples=10)
@given(languages)
def test_a_self_normalized_mean_of_one_answer_is_the_samplers(speech):
    answers = [tokens for prompt, tokens in speech.pairs if prompt == 0]
    assert self_normalized(speech, 1, speech.score) == sum(
        probability(speech.old, 0, y) * speech.score(0, y) for y in answers
    )
    assert self_normalized(speech, 2, lambda *_: 1) == 1


@clause("COR-28", examples=20)
@given(languages)
def test_what_the_sampler_cannot_say_is_missing_from_the_mean(speech):
    sampler = truncated_support(speech.old, most_probable(1))
    weight = answers_weight(speech, sampler=sampler)
    possible = [pair for pair in speech.pairs if probability(sampler, *pair)]
    assert len(possible) < len(speech.pairs)
    assert heard(speech, sampler, lambda *pair: weight(*pair) * speech.score(*pair)) == sum(
        speech.language.prompts[x] * probability(speech.policy, x, y) * speech.score(x, y) for x, y in possible
    )


@clause("COR-29", examples=20)
@given(languages)
def test_under_a_truncated_support_each_weight_is_the_part_that_was_kept(speech):
    kept = most_probable(speech.language.vocabulary - 1)
    sampler = truncated_support(speech.policy, kept)
    parts = {
        context: sum(p for p, flag in zip(row, kept(row), strict=True) if flag)
        for context, row in speech.policy.items()
    }
    for pair in speech.pairs:
        if probability(sampler, *pair):
            assert token_ratios(speech.policy, sampler, *pair) == [parts[context] for context, _ in choices(*pair)]


@clause("COR-30", examples=20)
@given(languages)
def test_scores_of_the_whole_policy_differ_by_the_mean_score_from_those_of_the_truncated_one(speech):
    sampler = truncated_support(speech.policy, most_probable(speech.language.vocabulary - 1))
    process, contexts = as_process(speech.language, speech.score), speech.language.contexts()
    silent = [Fraction(1), *[Fraction(0)] * (speech.language.vocabulary - 1)]
    values = decision_process.state_values(process, [*(sampler[context] for context in contexts), silent])

    def credit(prompt, tokens):
        return [speech.score(prompt, tokens)] * len(tokens)

    own, other = (expected_gradient(speech.language, policy, credit, sampler) for policy in (sampler, speech.policy))
    for place, context in enumerate(contexts):
        weight = met(speech.language, sampler, *context) * values[len(context[1])][place]
        drift = [weight * (m - p) for m, p in zip(sampler[context], speech.policy[context], strict=True)]
        assert [x - y for x, y in zip(other[context], own[context], strict=True)] == drift


@clause("COR-31", examples=10)
@given(languages, st.integers(2, 4))
def test_powers_of_probabilities_add_up_to_one_only_after_division(speech, power):
    for row in speech.policy.values():
        total = sum(p**power for p in row)
        assert total < 1
        cooled = truncated_support({(0, ()): [p**power for p in row]}, lambda powers: [True] * len(powers))[0, ()]
        assert cooled == [p**power / total for p in row]
        assert all(p * q**power == q * p**power for p, q in zip(cooled, row, strict=True)) == (len(set(row)) == 1)


@clause("COR-32", examples=20)
@given(languages, caps, st.lists(st.integers(-3, 3), min_size=4, max_size=4))
def test_truncated_for_each_token_the_weights_follow_v_traces_policy(speech, cap, numbers):
    towards, parts = between(speech.policy, speech.old, cap)
    for context, row in speech.policy.items():
        sampler = speech.old[context]
        ratios = [p / m for p, m in zip(row, sampler, strict=True)]
        weighed_mean = sum(m * min(r, cap) * f for m, r, f in zip(sampler, ratios, numbers, strict=False))
        assert weighed_mean == parts[context] * sum(t * f for t, f in zip(towards[context], numbers, strict=False))
        assert parts[context] <= 1
        if max(ratios) <= cap:
            assert towards[context] == row
        if min(ratios) >= cap:
            assert towards[context] == sampler


@clause("COR-33", examples=20)
@given(languages, st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(100)]))
def test_v_trace_without_values_weighs_a_score_by_the_product_of_truncated_ratios(speech, bound):
    def first_target(prompt, tokens):
        ratios = token_ratios(speech.policy, speech.old, prompt, tokens)
        nothing, never = [Fraction(0)] * len(tokens), [False] * len(tokens)
        rewards, ends = [*nothing[1:], speech.score(prompt, tokens)], [*never[1:], True]
        return vtrace(rewards, nothing, nothing, ends, never, ratios, 1, 1, bound, bound)[0][0]

    for pair in speech.pairs:
        weight = Fraction(1)
        for ratio in token_ratios(speech.policy, speech.old, *pair):
            weight *= min(ratio, bound)
        assert first_target(*pair) == weight * speech.score(*pair)
    if bound == 100:
        expected = expectation(speech.language, speech.policy, speech.score)
        assert expectation(speech.language, speech.old, first_target) == expected


@clause("COR-34", examples=20)
@given(languages)
def test_two_estimates_of_the_samplers_distance_differ_by_what_it_cannot_say(speech):
    sampler = truncated_support(speech.old, most_probable(speech.language.vocabulary - 1))

    def estimate(ratio, estimator):
        """With any number in the place of the logarithm, which both estimates have in common."""
        return approx_kl([[Fraction(7)]], [[Fraction(0)]], [[1]], estimator, exp=lambda _: ratio)

    for context, row in speech.policy.items():
        pairs = list(zip(row, sampler[context], strict=True))
        apart = sum(m * (estimate(p / m, "k3") - estimate(p / m, "k1")) for p, m in pairs if m)
        assert apart == -sum(p for p, m in pairs if not m)


def rounded(number, bits=8):
    """A number with so many significant bits, which are those of bfloat16."""
    mantissa, exponent = np.frexp(number)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)


@clause("COR-35", examples=20)
@given(languages)
def test_a_rounded_logarithm_changes_a_weight_by_a_power_of_the_probability(speech):
    for pair in speech.pairs:
        chances = [speech.policy[context][token] for context, token in choices(*pair)]
        for p in chances:
            nats = np.log(float(p))
            assert abs(exactly(rounded(nats)) - exactly(nats)) <= BRAIN * abs(exactly(nats))
        # With errors of s u log p, s = -1, 0 or 1, the weight is the u-th power of the product of p^s.
        for signs in product((-1, 0, 1), repeat=len(chances)):
            powered = Fraction(1)
            for p, sign in zip(chances, signs, strict=True):
                powered *= p**sign
            assert probability(speech.policy, *pair) <= powered <= 1 / probability(speech.policy, *pair)
