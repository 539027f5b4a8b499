"""Properties of language (spec/language.md)."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION, nearest
from rlspec.properties.checking import agree, clause, coarser, exactly, law, show, tolerance, where
from rlspec.properties.conversing import conversations
from rlspec.properties.languages import MOST_CONTEXTS, Speech, in_line, speeches
from rlspec.properties.questions.language import (
    exact,
    exponential,
    named,
    rewards_judged,
    scored_completions,
    segments_of,
    sum_judged,
)
from rlspec.properties.strategies import (
    NUMBERS,
    discounts,
    mixings,
)
from rlspec.properties.tokens import (
    ANYTHING,
    EOS,
    ORDINARY,
    PAD,
    Marked,
    answers,
    kl_coefs,
    marked,
    temperatures,
    utterances,
)
from rlspec.reference.decision_process import action_values, expected_return, trajectories
from rlspec.reference.differentiation import derivatives_in_logits, rational
from rlspec.reference.language import (
    as_process,
    as_table,
    choices,
    expectation,
    expected_gradient,
    probability,
    score_gradient,
)
from rlspec.reference.policy_gradient import exact_policy_gradient, score
from rlspec.spec.choices import number_in
from rlspec.spec.operations import OPERATIONS

whatever = st.sampled_from([1.0, -3.0, 1e9])
columns = st.integers(0, 2)
WHOLE = np.array([1, 2, 3, 8, 5, 7, 4, 6])
DYADIC = np.array([0, 1, -1, 2, -2, 3, 0.5, -0.25])
dyadic_discounts = st.sampled_from([1.0, 0.5, 0.0])
baselines = st.lists(st.integers(-9, 9), min_size=MOST_CONTEXTS, max_size=MOST_CONTEXTS)


# Who decides what: theorems, in rationals, without a candidate.


def in_flint(speech):
    """The same speech in flint's rationals, which can carry derivatives."""
    policy, old, reference = (
        {context: rational(row) for context, row in table.items()}
        for table in (speech.policy, speech.old, speech.reference)
    )
    language = replace(speech.language, prompts=rational(speech.language.prompts))
    scores = {pair: rational(number) for pair, number in speech.scores.items()}
    return Speech(language, policy, old, reference, scores)


languages = speeches().map(in_flint)


def derivative(speech, value):
    """The derivative of E[value(x, y)] in the logits of every context, by truncated power series."""
    contexts = speech.language.contexts()

    def objective(table):
        return expectation(speech.language, dict(zip(contexts, table, strict=True)), value)

    return derivatives_in_logits(objective, [speech.policy[context] for context in contexts])


def per_token(number, tokens):
    """The number divided by a completion's length."""
    return number / rational(len(tokens))


@clause("LANG-1", examples=40)
@given(languages)
def test_the_trajectories_of_the_process_are_the_completions(speech):
    contexts = [*speech.language.contexts(), None]
    process, table = as_process(speech.language, speech.score), as_table(speech.language, speech.policy)
    spoken = {}
    for chance, states, actions, rewards in trajectories(process, table):
        length = sum(contexts[state] is not None for state in states)
        spoken[contexts[states[0]][0], actions[:length]] = chance, sum(rewards)
    assert spoken == {
        (x, y): (speech.language.prompts[x] * probability(speech.policy, x, y), speech.score(x, y))
        for x, y in speech.pairs
    }


@clause("LANG-1", examples=40)
@given(languages)
def test_the_return_of_the_process_is_the_expected_score(speech):
    process, table = as_process(speech.language, speech.score), as_table(speech.language, speech.policy)
    assert expected_return(process, table) == expectation(speech.language, speech.policy, speech.score)


@clause("LANG-2", examples=40)
@given(languages)
def test_the_probabilities_of_all_completions_of_a_prompt_add_up_to_1(speech):
    for prompt, _ in enumerate(speech.language.prompts):
        assert sum(probability(speech.policy, x, y) for x, y in speech.pairs if x == prompt) == 1


@clause("LANG-2", examples=40)
@given(languages, st.integers(0, 2 * MOST_CONTEXTS))
def test_the_score_function_of_a_completion_is_the_sum_of_its_tokens(speech, which):
    prompt, tokens = speech.pairs[which % len(speech.pairs)]
    contexts = speech.language.contexts()

    def chance(table):
        return probability(dict(zip(contexts, table, strict=True)), prompt, tokens)

    of_chance = derivatives_in_logits(chance, [speech.policy[context] for context in contexts])
    total = probability(speech.policy, prompt, tokens)
    chosen = dict(choices(prompt, tokens))
    expected = [
        score(speech.policy[context], chosen[context]) if context in chosen else [0] * speech.language.vocabulary
        for context in contexts
    ]
    assert [[number / total for number in row] for row in of_chance] == expected


@clause("LANG-3", examples=20)
@given(languages)
def test_a_bandit_over_completions_has_the_gradient_of_the_policy_gradient_theorem(speech):
    process, table = as_process(speech.language, speech.score), as_table(speech.language, speech.policy)
    of_tokens = exact_policy_gradient(process, table)[:-1]
    assert list(score_gradient(speech.language, speech.policy, speech.score).values()) == of_tokens


@clause("LANG-3", examples=20)
@given(languages)
def test_a_bandit_over_completions_has_the_derivative_of_the_expected_score(speech):
    of_sequences = score_gradient(speech.language, speech.policy, speech.score)
    assert list(of_sequences.values()) == derivative(speech, speech.score)


@clause("LANG-4", examples=40)
@given(languages, baselines)
def test_a_baseline_that_knows_only_the_context_is_free(speech, numbers):
    baseline = dict(zip(speech.language.contexts(), numbers, strict=False))

    def credit(prompt, tokens):
        return [speech.score(prompt, tokens) - baseline[context] for context, _ in choices(prompt, tokens)]

    expected = score_gradient(speech.language, speech.policy, speech.score)
    assert expected_gradient(speech.language, speech.policy, credit) == expected


@clause("LANG-4", examples=20)
@given(languages, baselines)
def test_the_expected_score_with_a_token_is_as_good_as_the_score_that_was_seen(speech, numbers):
    contexts = speech.language.contexts()
    state, baseline = {c: s for s, c in enumerate(contexts)}, dict(zip(contexts, numbers, strict=False))
    process, table = as_process(speech.language, speech.score), as_table(speech.language, speech.policy)
    known = action_values(process, table)

    def credit(prompt, tokens):
        return [
            known[step][state[context]][token] - baseline[context]
            for step, (context, token) in enumerate(choices(prompt, tokens))
        ]

    expected = score_gradient(speech.language, speech.policy, speech.score)
    assert expected_gradient(speech.language, speech.policy, credit) == expected


@clause("LANG-5", examples=20)
@given(languages, st.integers(-3, 3))
def test_credit_divided_by_length_follows_the_score_per_token_and_pays_for_its_baseline(speech, b):
    def credit(prompt, tokens):
        return [per_token(speech.score(prompt, tokens) - b, tokens)] * len(tokens)

    of_scores = derivative(speech, lambda prompt, tokens: per_token(speech.score(prompt, tokens), tokens))
    of_brevity = derivative(speech, lambda prompt, tokens: per_token(1, tokens))
    expected = [[x - b * y for x, y in zip(*rows, strict=True)] for rows in zip(of_scores, of_brevity, strict=True)]
    assert list(expected_gradient(speech.language, speech.policy, credit).values()) == expected


@clause("LANG-6", examples=40)
@given(languages)
def test_scores_of_another_policy_have_the_difference_of_the_two_as_their_mean(speech):
    drift = expected_gradient(speech.language, speech.policy, lambda _, tokens: [1] * len(tokens), speech.old)
    assert drift == {
        (prompt, begun): [
            speech.language.prompts[prompt] * probability(speech.old, prompt, begun) * (spoken - own)
            for spoken, own in zip(speech.old[prompt, begun], speech.policy[prompt, begun], strict=True)
        ]
        for prompt, begun in speech.language.contexts()
    }


@clause("LANG-6", examples=40)
@given(languages)
def test_scores_of_the_policy_that_spoke_have_mean_zero(speech):
    assert not any(in_line(score_gradient(speech.language, speech.policy, lambda *_: 1)))


# Log-probabilities.


def logarithms_of_shares(weights, tokens, power=1):
    """log of n^k over the sum of all n^k, for each token's whole number n at its place."""
    raised = weights.astype(object) ** power
    own = np.take_along_axis(raised, tokens[..., None], axis=-1)[..., 0]
    with ctx.workprec(PRECISION):
        shares = zip(own.ravel(), raised.sum(axis=-1).ravel(), strict=True)
        logs = [nearest((arb(int(n)) / int(total)).log()) for n, total in shares]
    return np.array(logs, dtype=object).reshape(tokens.shape)


def in_whole_numbers(drawn):
    """Whole numbers [B, T, V] whose logarithms the logits are."""
    return np.rint(np.exp(drawn.logits)).astype(int)


whole_utterances = utterances(np.log(WHOLE))


@clause("LANG-7")
@given(whole_utterances, st.sampled_from([1, 2, 4]))
def test_a_tokens_probability_is_its_share_of_the_weights_raised_to_one_over_the_temperature(candidate, drawn, power):
    expected = logarithms_of_shares(in_whole_numbers(drawn), drawn.tokens, power)
    answer = candidate.token_logp(drawn.logits, drawn.tokens, 1.0 / power)
    agree(answer, expected, **drawn.judged(1.0 / power))


@clause("LANG-7", examples=60)
@given(utterances(), st.integers(0, 5), whatever)
def test_a_tokens_log_probability_depends_on_its_own_place_alone(candidate, drawn, place, junk):
    place %= drawn.tokens.shape[1]
    elsewhere = np.arange(drawn.tokens.shape[1]) != place
    assume(elsewhere.any())
    steeper = np.arange(drawn.logits.shape[-1]) * min(junk, 9.0)
    other = drawn.but(
        logits=np.where(elsewhere[:, None], steeper, drawn.logits), tokens=np.where(elsewhere, 0, drawn.tokens)
    )
    answer = candidate.token_logp(other.logits, other.tokens, 1.0)
    expected = np.where(elsewhere, answer.value, candidate.token_logp(drawn.logits, drawn.tokens, 1.0).value)
    judged = drawn.judged()
    agree(answer, expected, magnitude=judged["magnitude"] + other.judged()["magnitude"], roundings=judged["roundings"])


@clause("LANG-8", examples=60)
@given(utterances(), temperatures)
def test_the_probabilities_of_a_vocabulary_add_up_to_1(candidate, drawn, temperature):
    steps, vocabulary = drawn.logits.shape[1:]
    everything = np.repeat(drawn.logits[:1], vocabulary, axis=0)
    tokens = np.repeat(np.arange(vocabulary)[:, None], steps, axis=1)
    answer = candidate.token_logp(everything, tokens, temperature)
    # A logarithm that is off by d makes a probability p off by p (exp(d) - 1), below 2 p d; the p add up to 1.
    allowed = 2 * tolerance(roundoff=answer.roundoff, **drawn.judged(temperature))
    with ctx.workprec(PRECISION):
        sums = [sum((nearest(arb(float(x)).exp()) for x in place), Fraction(0)) for place in answer.value.T]
    law(all(abs(total - 1) <= allowed for total in sums), answer, f"they add up to {show([float(x) for x in sums])}")


raises = st.lists(st.sampled_from([0, 1, -1, 4, -4]), min_size=18, max_size=18)


@clause("LANG-9", examples=60)
@given(utterances(), raises, temperatures)
def test_raising_all_logits_of_a_place_leaves_its_log_probability_as_it_is(candidate, drawn, shifts, temperature):
    places = drawn.tokens.shape
    other = drawn.but(logits=drawn.logits + np.resize(shifts, places)[..., None])
    answer = candidate.token_logp(other.logits, other.tokens, temperature)
    judged = {name: most + other.judged(temperature)[name] for name, most in drawn.judged(temperature).items()}
    agree(answer, candidate.token_logp(drawn.logits, drawn.tokens, temperature), **judged)


@clause("LANG-10")
@given(utterances(), temperatures, st.sampled_from([2.0, 0.5, 8.0]))
def test_logits_and_temperature_may_be_multiplied_together(candidate, drawn, temperature, factor):
    answer = candidate.token_logp(factor * drawn.logits, drawn.tokens, factor * temperature)
    judged = drawn.judged(temperature)
    judged["roundings"] *= 2
    agree(answer, candidate.token_logp(drawn.logits, drawn.tokens, temperature), **judged)


@clause("LANG-10", examples=40)
@given(utterances())
def test_a_high_temperature_makes_all_tokens_alike(candidate, drawn):
    answer = candidate.token_logp(drawn.logits, drawn.tokens, 2.0**40)
    with ctx.workprec(PRECISION):
        even = nearest(-arb(drawn.logits.shape[-1]).log())
    # A logarithm differs from that of 1/V by the distance of two logits at most, divided by the temperature.
    allowed = Fraction(2 * float(np.abs(drawn.logits).max())) / 2**40
    allowed += tolerance(roundoff=answer.roundoff, **drawn.judged(2.0**40))
    law(all(abs(exactly(x) - even) <= allowed for x in answer.value.flat), answer, "some tokens are more likely still")


def towering(drawn):
    """Logits of which one, chosen by the logits drawn, stands a thousand above the others, and where it stands."""
    highest = drawn.logits.argmax(axis=-1)
    return drawn.but(logits=1000.0 * (np.arange(drawn.logits.shape[-1]) == highest[..., None])), highest


@clause("LANG-11", examples=60)
@given(utterances())
def test_a_token_a_thousand_below_another_has_a_log_probability_of_minus_a_thousand(candidate, drawn):
    drawn, highest = towering(drawn)
    answer = candidate.demand(OPERATIONS["token_logp"], drawn.logits, drawn.tokens, 1.0)
    agree(answer, np.where(drawn.tokens == highest, 0.0, -1000.0), **drawn.judged())


@clause("LANG-11", examples=60)
@given(utterances())
def test_so_has_a_sequence_of_which_that_token_counts_alone(candidate, drawn):
    drawn, highest = towering(drawn.but(logits=drawn.logits[:, :1], tokens=drawn.tokens[:, :1]))
    twice = drawn.but(
        logits=np.repeat(drawn.logits, 2, axis=1),
        tokens=np.repeat(drawn.tokens, 2, axis=1),
        mask=np.array([[False, True]] * len(drawn.tokens)),
    )
    expected = np.where(drawn.tokens == highest, 0.0, -1000.0)[:, 0]
    answer = candidate.demand(OPERATIONS["sequence_logp"], *twice.arrays)
    agree(answer, expected, **twice.judged(sequence=True))


@clause("LANG-12")
@given(whole_utterances)
def test_a_sequences_probability_is_the_product_of_the_shares_at_the_places_before_its_tokens(candidate, drawn):
    shares = logarithms_of_shares(in_whole_numbers(drawn)[:, :-1], drawn.tokens[:, 1:])
    expected = np.where(drawn.mask[:, 1:], shares, 0).sum(axis=1) if shares.size else [0] * len(drawn.mask)
    agree(candidate.sequence_logp(*drawn.arrays), expected, **drawn.judged(sequence=True))


@clause("LANG-12", examples=60)
@given(utterances())
def test_a_sequences_log_probability_is_the_sum_of_its_tokens_once_they_are_aligned(candidate, drawn):
    assume(drawn.tokens.shape[1] > 1)
    of_tokens = candidate.token_logp(drawn.logits[:, :-1], drawn.tokens[:, 1:], 1.0)
    expected = np.where(drawn.mask[:, 1:], exact(of_tokens.value), 0).sum(axis=1)
    judged = drawn.judged(sequence=True)
    answer = coarser(candidate.sequence_logp(*drawn.arrays), of_tokens)
    agree(answer, expected, **judged | {"roundings": 2 * judged["roundings"]})


@clause("LANG-12", "LANG-13", examples=40)
@given(utterances())
def test_the_probabilities_of_all_sequences_of_a_length_add_up_to_1(candidate, drawn):
    vocabulary = drawn.logits.shape[-1]
    places = np.resize(drawn.logits[0], (3, vocabulary))
    tokens = np.array([(0, *pair) for pair in product(range(vocabulary), repeat=2)])
    answer = candidate.sequence_logp(np.repeat(places[None], len(tokens), axis=0), tokens, np.ones(tokens.shape, bool))
    judged = drawn.but(logits=places[None]).judged(sequence=True)
    with ctx.workprec(PRECISION):
        total = sum((nearest(arb(float(x)).exp()) for x in answer.value), Fraction(0))
    allowed = 2 * tolerance(roundoff=answer.roundoff, **judged)
    law(abs(total - 1) <= allowed, answer, f"they add up to {float(total)}")


@clause("LANG-13", examples=60)
@given(utterances(), st.integers(0, 63))
def test_the_log_probabilities_of_two_parts_of_a_sequence_are_added(candidate, drawn, bits):
    one = (bits >> np.arange(drawn.mask.shape[1])) % 2 == 1
    parts = [candidate.sequence_logp(*drawn.but(mask=drawn.mask & part).arrays) for part in (one, ~one)]
    expected = sum(exact(part.value) for part in parts)
    judged = drawn.judged(sequence=True)
    agree(candidate.sequence_logp(*drawn.arrays), expected, **judged | {"roundings": 2 * judged["roundings"] + 2})


@clause("LANG-14", examples=60)
@given(utterances())
def test_the_first_token_never_counts(candidate, drawn):
    first = np.arange(drawn.mask.shape[1]) == 0
    answer = candidate.sequence_logp(*drawn.but(mask=drawn.mask | first).arrays)
    without = candidate.sequence_logp(*drawn.but(mask=drawn.mask & ~first).arrays)
    agree(answer, without, **drawn.judged(sequence=True))


# Several sequences in a row.


@clause("LANG-32", examples=60)
@given(whole_utterances)
def test_a_packed_token_is_predicted_by_the_one_before_it_if_that_is_of_its_sequence(candidate, drawn):
    segments = segments_of(drawn)
    shares = logarithms_of_shares(in_whole_numbers(drawn)[:, :-1], drawn.tokens[:, 1:])
    expected = np.zeros(drawn.tokens.shape, dtype=object)
    if shares.size:
        expected[:, 1:] = np.where(segments[:, 1:] == segments[:, :-1], shares, 0)
    agree(candidate.packed_logp(drawn.logits, drawn.tokens, segments), expected, **drawn.judged())


@clause("LANG-33", examples=60)
@given(utterances())
def test_a_packed_sequence_has_the_log_probability_that_it_has_alone(candidate, drawn):
    segments = segments_of(drawn)
    packed = candidate.packed_logp(drawn.logits[:1], drawn.tokens[:1], segments[:1])
    terms = drawn.judged(sequence=True)
    for name in np.unique(segments[0]):
        places = segments[0] == name
        alone = drawn.logits[:1, places], drawn.tokens[:1, places], np.ones((1, int(places.sum())), dtype=bool)
        of_sequence = candidate.sequence_logp(*alone)
        total = sum((exactly(x) for x in packed.value[0, places]), Fraction(0))
        agree(coarser(of_sequence, packed), [total], **terms | {"roundings": 2 * terms["roundings"]})


@clause("LANG-34", examples=60)
@given(utterances(), st.sampled_from([3.0, -20.0]))
def test_what_other_sequences_of_a_row_say_changes_nothing(candidate, drawn, raised):
    segments = segments_of(drawn)
    own = segments == segments[:, -1:]
    other = drawn.but(
        logits=np.where(own[..., None], drawn.logits, drawn.logits[..., ::-1] + raised),
        tokens=np.where(own, drawn.tokens, (drawn.tokens + 1) % drawn.logits.shape[-1]),
    )
    answer = candidate.packed_logp(other.logits, other.tokens, segments)
    same = candidate.packed_logp(drawn.logits, drawn.tokens, segments)
    terms = [each.judged() for each in (drawn, other)]
    size = terms[0]["magnitude"] + terms[1]["magnitude"]
    expected = where(own, same.value, answer)
    agree(coarser(answer, same), expected, **terms[0] | {"magnitude": size})


# Which tokens count.

EXACTLY: dict[str, Any] = {"magnitude": 0, "roundings": 1}
some_tokens = st.lists(st.sampled_from(ANYTHING.tolist()), min_size=6, max_size=6)


def some_of(drawn, rows):
    """Those rows of the answers, of which there is one at least."""
    assume(rows.any())
    return drawn.but(tokens=drawn.tokens[rows], prompt_length=drawn.prompt_length[rows])


def tidied(drawn):
    """The answers with padding behind their ends."""
    return drawn.but(tokens=np.where(drawn.behind_end, drawn.pad, drawn.tokens))


def ended(drawn):
    """Which answers end with EOS."""
    return (drawn.behind_prompt & (drawn.tokens == EOS)).any(axis=1)


@clause("LANG-15")
@given(answers())
def test_an_answer_counts_from_the_prompts_end_to_its_first_eos(candidate, drawn):
    drawn = tidied(some_of(drawn, ended(drawn)))
    expected = drawn.behind_prompt & ~drawn.behind_end
    agree(candidate.completion_mask(*drawn.arguments), expected.astype(int), **EXACTLY)


@clause("LANG-16")
@given(answers())
def test_an_answer_that_never_ended_counts_up_to_its_padding(candidate, drawn):
    drawn = some_of(drawn, ~ended(drawn))
    expected = drawn.behind_prompt & (drawn.tokens != drawn.pad)
    agree(candidate.completion_mask(*drawn.arguments), expected.astype(int), **EXACTLY)


@clause("LANG-17", examples=60)
@given(answers(), some_tokens)
def test_whatever_stands_behind_the_end_counts_for_nothing(candidate, drawn, tokens):
    assume(drawn.behind_end.any())
    other = drawn.but(tokens=np.where(drawn.behind_end, np.resize(tokens, drawn.tokens.shape[1]), drawn.tokens))
    same = candidate.completion_mask(*tidied(drawn).arguments)
    agree(candidate.completion_mask(*other.arguments), same, **EXACTLY)


@clause("LANG-18")
@given(answers(), some_tokens)
def test_the_prompts_tokens_change_nothing(candidate, drawn, tokens):
    assume(not drawn.behind_prompt.all())
    drawn = tidied(drawn)
    other = drawn.but(tokens=np.where(drawn.behind_prompt, drawn.tokens, np.resize(tokens, drawn.tokens.shape[1])))
    plain = drawn.but(tokens=np.where(drawn.behind_prompt, drawn.tokens, ORDINARY[0]))
    same = candidate.completion_mask(*plain.arguments)
    agree(candidate.completion_mask(*other.arguments), same, **EXACTLY)


@clause("LANG-19")
@given(answers(), columns, columns, st.sampled_from([PAD, int(ORDINARY[0])]))
def test_columns_on_either_side_move_the_mask_and_do_no_more(candidate, drawn, left, right, token):
    drawn = tidied(drawn)
    right = right if drawn.pad != EOS else 0  # EOS would end an answer that was cut
    tokens = np.pad(drawn.tokens, ((0, 0), (left, right)), constant_values=((0, 0), (token, drawn.pad)))
    wide = drawn.but(tokens=tokens, prompt_length=drawn.prompt_length + left)
    expected = np.pad(candidate.completion_mask(*drawn.arguments).value, ((0, 0), (left, right)))
    agree(candidate.completion_mask(*wide.arguments), expected, **EXACTLY)


# One score for many tokens.


def with_tokens(scores, drawn):
    """The rows in which some token counts, of which there is one at least."""
    rows = drawn.mask.any(axis=1)
    assume(rows.any())
    return scores[rows], drawn.rows(rows)


def last(mask):
    """The last entry that counts of each row [B, T]."""
    return mask & (mask[:, ::-1].cumsum(axis=1)[:, ::-1] == 1)


def behind(mask):
    """What stands behind the last entry that counts [B, T]."""
    return mask[:, ::-1].cumsum(axis=1)[:, ::-1] == 0


scored_rows = scored_completions(NUMBERS)


@clause("LANG-20", examples=60)
@given(scored_rows)
def test_without_a_penalty_the_score_is_paid_at_the_last_token_that_counts_and_nowhere_else(candidate, pair):
    scores, drawn = with_tokens(*pair)
    answer = candidate.token_rewards(scores, *drawn, 0.0)
    expected = np.where(last(drawn.mask), scores[:, None], 0)
    agree(answer, where(drawn.mask, expected, answer), **rewards_judged(scores, drawn, 0.0))


def distances(candidate, drawn):
    """What each token pays for, before the coefficient, by the candidate's conventions; 0 under the mask."""
    logp, ref_logp = map(exact, drawn.arrays)
    ratios = (logp - ref_logp) * drawn.mask
    estimates = {
        "k1": lambda x: x,
        "abs": abs,
        "k2": lambda x: x**2 / 2,
        "k3": lambda x: exponential(-x) - 1 + x,
    }
    limit = number_in("within C", candidate.convention("token_rewards.clamp"))
    most = exactly(limit) if limit else max(map(abs, ratios.flat)) + exponential(max(map(abs, ratios.flat)))
    of_token = estimates[candidate.convention("token_rewards.estimator")]
    return np.vectorize(lambda x: min(max(of_token(x), -most), most), otypes=[object])(ratios)


def paid_for(candidate, scores, drawn, kl_coef):
    """How far rounding may take token rewards under the candidate's conventions."""
    return rewards_judged(scores, drawn, kl_coef, candidate.convention("token_rewards.estimator"))


@clause("LANG-21", examples=60)
@given(scored_rows, kl_coefs)
def test_every_token_pays_for_its_distance_from_the_reference(candidate, pair, kl_coef):
    nothing, drawn = np.zeros(len(pair[0])), pair[1]
    answer = candidate.token_rewards(nothing, *drawn, kl_coef)
    expected = where(drawn.mask, -exactly(kl_coef) * distances(candidate, drawn), answer)
    agree(answer, expected, **paid_for(candidate, nothing, drawn, kl_coef))


@clause("LANG-22", examples=60)
@given(scored_rows, kl_coefs)
def test_the_rewards_of_a_row_add_up_to_its_score_less_its_penalties(candidate, pair, kl_coef):
    scores, drawn = with_tokens(*pair)
    answer = candidate.token_rewards(scores, *drawn, kl_coef)
    sums = np.where(drawn.mask, exact(answer.value), 0).sum(axis=1)
    expected = exact(scores) - exactly(kl_coef) * distances(candidate, drawn).sum(axis=1)
    judged = paid_for(candidate, scores, drawn, kl_coef)
    judged["roundings"] *= drawn.mask.shape[1]
    most = [tolerance(magnitude=x, roundings=judged["roundings"], roundoff=answer.roundoff)
            for x in judged["magnitude"][:, 0]]  # fmt: skip
    near = (np.abs(sums - expected) <= most).all()
    law(near, answer, f"the rows add up to {show(sums.astype(float))}, not to {show(expected.astype(float))}")


def sums(drawn):
    """The terms of a question about the sum of each row."""
    judged = sum_judged(drawn)
    return judged | {"magnitude": judged["magnitude"][:, 0]}


@clause("LANG-24", examples=60)
@given(marked())
def test_the_outcome_is_the_sum_of_the_rewards_of_the_tokens_that_count(candidate, drawn):
    drawn = drawn.padded(0, 0, 0.0)
    expected = exact(drawn.arrays[0]).sum(axis=1)
    agree(candidate.outcome_score(*drawn), expected, **sums(drawn))


def whole(drawn):
    """The batch with every token counting."""
    return Marked(drawn.arrays, np.ones_like(drawn.mask))


def to_go(numbers, discount):
    """sum_{k >= t} discount^(k - t) x_k of each row [B, T], pair by pair."""
    steps, discount = numbers.shape[1], exactly(discount)
    return np.array([
        [sum(discount ** (k - t) * row[k] for k in range(t, steps)) for t in range(steps)] for row in numbers
    ], dtype=object)  # fmt: skip


def errors(rewards, values, gamma):
    """r_t + gamma v_{t+1} - v_t of each row [B, T], nothing following the last."""
    following = np.concatenate([values[:, 1:], np.zeros((len(values), 1), dtype=int)], axis=1)
    return rewards + exactly(gamma) * following - values


@clause("LANG-25", examples=60)
@given(marked(), discounts)
def test_a_tokens_return_is_the_discounted_sum_of_what_is_still_to_come(candidate, drawn, gamma):
    drawn = whole(drawn)
    expected = to_go(exact(drawn.arrays[0]), gamma)
    agree(candidate.token_returns(*drawn, gamma), expected, **sum_judged(drawn, gamma))


def without_the_others(ask, drawn):
    """The answers to each row's tokens that count, asked for without the others, in their places."""
    expected = np.zeros(drawn.mask.shape)
    for row, arrays in enumerate(drawn.counted):
        if arrays[0].size:
            alone = ask(*(array[None] for array in arrays), np.ones((1, arrays[0].size), dtype=bool))
            expected[row, drawn.mask[row]] = alone.value[0]
    return expected


@clause("LANG-26")
@given(marked(), discounts, columns, columns)
def test_tokens_that_do_not_count_are_no_steps_for_the_returns(candidate, drawn, gamma, left, right):
    wide = drawn.padded(left, right, 0.0)
    assume(not wide.mask.all())
    expected = without_the_others(lambda *row: candidate.token_returns(*row, gamma), wide)
    answer = candidate.token_returns(*wide, gamma)
    agree(answer, where(wide.mask, expected, answer), **sum_judged(wide, gamma))


@clause("LANG-26")
@given(marked(2), discounts, mixings, columns, columns)
def test_tokens_that_do_not_count_are_no_steps_for_the_advantages(candidate, drawn, gamma, lam, left, right):
    wide = drawn.padded(left, right, 0.0)
    assume(not wide.mask.all())
    expected = without_the_others(lambda *row: candidate.token_gae(*row, gamma, lam), wide)
    answer = candidate.token_gae(*wide, gamma, lam)
    agree(answer, where(wide.mask, expected, answer), **sum_judged(wide, gamma * lam))


@clause("LANG-27", examples=60)
@given(marked())
def test_one_score_reaches_every_token_undiminished(candidate, drawn):
    scores = drawn.arrays[0][:, :1]
    paid = drawn.but(np.where(last(drawn.mask), scores, 0.0))
    answer = candidate.token_returns(*paid, 1.0)
    agree(answer, where(drawn.mask, scores, answer), **sum_judged(paid))


@clause("LANG-28", examples=60)
@given(marked(2), discounts, mixings)
def test_a_tokens_advantage_is_the_discounted_sum_of_the_errors_still_to_come(candidate, drawn, gamma, lam):
    drawn = whole(drawn)
    rewards, values = map(exact, drawn.arrays)
    expected = to_go(errors(rewards, values, gamma), exactly(gamma) * exactly(lam))
    agree(candidate.token_gae(*drawn, gamma, lam), expected, **sum_judged(drawn, gamma * lam))


@clause("LANG-29", examples=60)
@given(marked(2), discounts, mixings, whatever)
def test_the_last_tokens_advantage_is_its_reward_less_its_value(candidate, drawn, gamma, lam, junk):
    rewards, values = drawn.arrays
    of_padding = np.where(behind(drawn.mask), junk, values)
    answer = candidate.token_gae(rewards, of_padding, drawn.mask, gamma, lam)
    ends = last(drawn.mask)
    agree(answer, where(ends, exact(rewards) - exact(values), answer), **sum_judged(drawn, gamma * lam))


@clause("LANG-30", examples=60)
@given(marked(2), discounts)
def test_with_lambda_one_the_advantage_is_the_return_less_the_value(candidate, drawn, gamma):
    rewards, values = map(exact, whole(drawn).arrays)
    expected = to_go(rewards, gamma) - values
    agree(candidate.token_gae(*whole(drawn), gamma, 1.0), expected, **sum_judged(whole(drawn), gamma))


@clause("LANG-30", examples=60)
@given(marked(2), discounts)
def test_with_lambda_zero_the_advantage_is_the_td_error(candidate, drawn, gamma):
    rewards, values = map(exact, drawn.arrays)
    expected = errors(rewards, values, gamma)
    agree(candidate.token_gae(*whole(drawn), gamma, 0.0), expected, **sum_judged(whole(drawn)))


@clause("LANG-31", examples=60)
@given(marked(1, DYADIC), dyadic_discounts, mixings)
def test_values_that_are_the_returns_leave_no_advantage(candidate, drawn, gamma, lam):
    returns = np.zeros(drawn.mask.shape)
    for row, (rewards,) in enumerate(drawn.counted):
        returns[row, drawn.mask[row]] = to_go(exact(rewards[None]), gamma)[0].astype(float)  # no digit is lost
    known = drawn.but(drawn.arrays[0], returns)
    answer = candidate.token_gae(*known, gamma, lam)
    agree(answer, where(drawn.mask, 0, answer), **sum_judged(known, gamma * lam))


# Advantages of several sequences in a row.


def advantages_of_sequences(drawn, gamma, lam):
    """What each token's own sequence still pays, and what its values say on the way, less the token's value."""
    rewards, values = map(exact, drawn.arrays)
    decay, between = exactly(gamma) * exactly(lam), exactly(gamma) * (1 - exactly(lam))
    found = np.full(drawn.mask.shape, Fraction(0), dtype=object)
    for row, place in np.argwhere(drawn.mask):
        own = drawn.mask[row] & (drawn.turns[row] == drawn.turns[row, place])
        left = np.flatnonzero(own & (np.arange(len(own)) >= place))
        paid = sum(decay**n * rewards[row, k] for n, k in enumerate(left))
        said = sum(decay**n * values[row, k] for n, k in enumerate(left[1:]))
        found[row, place] = paid + between * said - values[row, place]
    return found


@clause("LANG-35", examples=60)
@given(conversations(2), discounts, mixings)
def test_a_packed_sequence_ends_where_the_next_one_begins(candidate, drawn, gamma, lam):
    drawn = named(drawn)
    expected = advantages_of_sequences(drawn, gamma, lam)
    agree(candidate.packed_gae(*drawn, gamma, lam), expected, **drawn.judged(gamma * lam))


@clause("LANG-36", examples=60)
@given(conversations(2), discounts, mixings)
def test_a_packed_sequence_has_the_advantages_that_it_has_alone(candidate, drawn, gamma, lam):
    row = named(drawn).but(*(array[:1] for array in drawn.arrays), turns=7 - 3 * drawn.turns[:1], mask=drawn.mask[:1])
    assume(row.mask.any())
    packed = candidate.packed_gae(*row, gamma, lam)
    expected = packed.value.astype(object)
    for name in np.unique(row.turns[row.mask]):
        [places] = np.nonzero(row.mask[0] & (row.turns[0] == name))
        arrays = [array[:, places] for array in row.arrays]
        one = np.zeros((1, len(places)), dtype=int)
        alone = candidate.packed_gae(*arrays, one, one == 0, gamma, lam)
        packed, expected[0, places] = coarser(packed, alone), [exactly(x) for x in alone.value[0]]
    judged = row.judged(gamma * lam)
    agree(packed, where(row.mask, expected, packed), **judged | {"roundings": 2 * judged["roundings"]})


@clause("LANG-37", examples=60)
@given(conversations(2), discounts, mixings, st.sampled_from([30.0, -8.0]))
def test_packed_sequences_do_not_pay_each_other(candidate, drawn, gamma, lam, more):
    drawn = named(drawn)
    own = drawn.turns == drawn.turns[:, :1]
    assume((drawn.mask & own).any() and (drawn.mask & ~own).any())
    other = drawn.but(*(np.where(own, array, array + more) for array in drawn.arrays))
    answer, same = (candidate.packed_gae(*batch, gamma, lam) for batch in (other, drawn))
    judged = drawn.judged(gamma * lam)
    expected = where(own & drawn.mask, same.value, answer)
    agree(coarser(answer, same), expected, **judged | {"magnitude": 2 * other.judged(gamma * lam)["magnitude"]})
