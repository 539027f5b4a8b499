"""Properties of what is done about overlong answers (spec/overlong.md)."""

from fractions import Fraction
from functools import partial
from math import pi

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, coarser, exactly, law, tolerance, where
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.questions.overlong import REWARDED, Compared, answered, compared, scored
from rlspec.reference.group import companies, expected_gradient_of_groups, group_advantages
from rlspec.reference.language import END, expectation, expected_gradient, probability, score_gradient
from rlspec.reference.overlong import length_reward


@clause("OVER-1", examples=60)
@given(answered())
def test_a_short_answer_pays_nothing(candidate, drawn):
    answer = candidate.overlong_penalty(*drawn.arguments)
    agree(answer, where(drawn.into_the_buffer <= 0, 0, answer), **drawn.judged)


@clause("OVER-2", examples=60)
@given(answered())
def test_in_the_buffer_the_price_rises_in_a_line(candidate, drawn):
    answer = candidate.overlong_penalty(*drawn.arguments)
    inside = (drawn.into_the_buffer > 0) & (drawn.lengths <= drawn.max_length)
    left = [Fraction(int(drawn.max_length - length), drawn.buffer) for length in drawn.lengths]
    expected = np.array([exactly(drawn.factor) * (part - 1) for part in left], dtype=object)
    agree(answer, where(inside, expected, answer), **drawn.judged)


@clause("OVER-3", "OVER-5", examples=60)
@given(answered())
def test_beyond_the_greatest_length_the_price_is_what_it_was_there(candidate, drawn):
    answer = candidate.overlong_penalty(*drawn.arguments)
    beyond = drawn.lengths > drawn.max_length
    held = candidate.convention("overlong_penalty.beyond") == "held"
    parts = [1 if held else Fraction(int(n), drawn.buffer) for n in drawn.into_the_buffer]
    expected = np.array([-exactly(drawn.factor) * part for part in parts], dtype=object)
    agree(answer, where(beyond, expected, answer), **drawn.judged)


@clause("OVER-4", examples=60)
@given(answered(), st.integers(0, 3))
def test_a_token_more_never_pays_and_costs_no_more_than_its_part(candidate, drawn, more):
    longest = drawn.max_length + more * (candidate.convention("overlong_penalty.beyond") == "held")
    lengths = np.arange(max(drawn.max_length - drawn.buffer - 2, 0), longest + 1)[-12:]
    answer = candidate.overlong_penalty(lengths, *drawn.arguments[1:])
    allowed = 2 * float(tolerance(roundoff=answer.roundoff, **drawn.judged))
    falls = -np.diff(answer.value)
    law((answer.value <= allowed).all(), answer, "a penalty is above 0")
    law((falls >= -allowed).all(), answer, "a longer answer pays less")
    law(
        (falls <= drawn.factor / drawn.buffer + allowed).all(), answer, "a token costs more than its part of the buffer"
    )


@clause("OVER-9", examples=60)
@given(compared())
def test_a_length_reward_says_where_an_answer_stands_in_its_group(candidate, drawn):
    answer = candidate.length_reward(*drawn.arguments)
    shortest, longest = drawn.extremes()
    # How much nearer to the longest than to the shortest, in parts of their distance, halved.
    nearer, apart = longest + shortest - 2 * drawn.lengths, 2 * (longest - shortest)
    places = [Fraction(int(x), int(y)) if y else Fraction(0) for x, y in zip(nearer, apart, strict=True)]
    expected = [place if right or place < 0 else 0 for place, right in zip(places, drawn.correct, strict=True)]
    agree(answer, where(shortest < longest, np.array(expected, dtype=object), answer), **REWARDED)


@clause("OVER-10", examples=40)
@given(compared())
def test_answers_of_one_length_earn_no_length_reward(candidate, drawn):
    alike = Compared(drawn.extremes()[1], drawn.correct, drawn.groups)
    agree(candidate.length_reward(*alike.arguments), np.zeros(len(drawn.groups)), **REWARDED)


@clause("OVER-11", examples=60)
@given(compared(), st.sampled_from([(2, 0), (1, 1000), (3, 7)]))
def test_a_length_reward_does_not_depend_on_what_lengths_are_measured_in(candidate, drawn, change):
    factor, longer = change
    other = Compared(factor * drawn.lengths + longer, drawn.correct, drawn.groups)
    agree(candidate.length_reward(*other.arguments), candidate.length_reward(*drawn.arguments), **REWARDED)


@clause("OVER-12", examples=60)
@given(compared())
def test_a_length_reward_pays_no_wrong_answer_and_takes_less_than_half(candidate, drawn):
    answer = candidate.length_reward(*drawn.arguments)
    allowed = float(tolerance(roundoff=answer.roundoff, **REWARDED))
    law((answer.value >= -0.5 - allowed).all(), answer, "an answer loses more than half")
    law((answer.value <= 0.5 + allowed).all(), answer, "an answer gains more than half")
    law((answer.value[~drawn.correct] <= allowed).all(), answer, "a wrong answer is paid for its length")


SIXTHS = {0: Fraction(1), 2: Fraction(1, 2), 3: Fraction(0), 4: Fraction(-1, 2), 6: Fraction(-1)}
"""The cosines of so many sixths of pi that are rational."""


@clause("OVER-14", examples=60)
@given(scored(), st.sampled_from([6, 12, 4092]))
def test_a_cosine_reward_goes_from_what_short_answers_score_to_what_long_ones_do(candidate, drawn, max_length):
    sixths = np.arange(len(drawn.correct)) + drawn.lengths
    known = np.array([0, 2, 3, 4])[sixths % 4]
    _, correct, _, *scores, exceeded = drawn.arguments
    answer = candidate.cosine_reward(known * (max_length // 6), correct, max_length, *scores, exceeded)
    of_the_longest = [(1 - SIXTHS[place]) / 2 for place in known.tolist()]
    pairs = zip(*drawn.ends, of_the_longest, strict=True)
    agree(answer, [(1 - part) * exactly(short) + part * exactly(long) for short, long, part in pairs], **drawn.judged)


@clause("OVER-15", examples=60)
@given(scored())
def test_a_cosine_reward_does_not_climb_again_beyond_the_greatest_length(candidate, drawn):
    answer = candidate.cosine_reward(*drawn.arguments)
    _, longest = drawn.ends
    last = longest if drawn.exceeded is None else np.full(len(longest), drawn.exceeded)
    agree(answer, where(drawn.lengths >= drawn.max_length, last, answer), **drawn.judged)


def without_a_score_of_their_own(drawn, lengths):
    """The arguments for answers of other lengths, of which those that are too long score as the longest do."""
    return lengths, *drawn.arguments[1:-1], None


@clause("OVER-16", examples=60)
@given(scored(exceeded=(None,)))
def test_the_two_halves_of_a_cosine_reward_mirror_each_other(candidate, drawn):
    lengths = np.minimum(drawn.lengths, drawn.max_length)
    answers = [
        candidate.cosine_reward(*without_a_score_of_their_own(drawn, of))
        for of in (lengths, drawn.max_length - lengths)
    ]
    expected = [
        exactly(short) + exactly(long) - exactly(other)
        for short, long, other in zip(*drawn.ends, answers[0].value, strict=True)
    ]
    agree(coarser(*answers[::-1]), expected, **drawn.judged | {"roundings": 2 * drawn.judged["roundings"]})


@clause("OVER-17", examples=60)
@given(scored(exceeded=(None,)))
def test_a_cosine_reward_moves_one_way_and_slowly(candidate, drawn):
    answers = [candidate.cosine_reward(*without_a_score_of_their_own(drawn, drawn.lengths + more)) for more in (0, 1)]
    shortest, longest = drawn.ends
    allowed = 2 * float(tolerance(roundoff=coarser(*answers).roundoff, **drawn.judged))
    towards = (answers[1].value - answers[0].value) * np.sign(longest - shortest)
    law((towards >= -allowed).all(), answers[1], "a longer answer's score moves back")
    most = pi / 2 * abs(longest - shortest) / drawn.max_length
    law((towards <= most + allowed).all(), answers[1], "a token changes more than the cosine's steepest part")


# Theorems.


@clause("OVER-13", examples=30)
@given(speeches(on_policy=True))
def test_of_two_right_answers_the_shorter_is_told_so(speech):
    language, policy = speech.language, speech.policy

    def by_length(prompt, company):
        return length_reward([len(tokens) for tokens in company], [True, True], [0, 0])

    def ahead(prompt, tokens):
        others = [(probability(policy, prompt, other), len(other)) for other in language.completions(prompt)]
        signs = (p * ((length > len(tokens)) - (length < len(tokens))) for p, length in others)
        return sum(signs) / Fraction(2)

    found = in_line(expected_gradient_of_groups(language, policy, 2, by_length))
    assert found == in_line(score_gradient(language, policy, ahead))


@clause("OVER-6", examples=30)
@given(speeches(on_policy=True), st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(-1, 3)]))
def test_a_cut_answer_that_is_masked_is_paid_the_baseline(speech, baseline):
    def masked(prompt, tokens):
        return [(speech.score(prompt, tokens) - baseline) * (tokens[-1] == END)] * len(tokens)

    def with_the_baseline(prompt, tokens):
        return speech.score(prompt, tokens) if tokens[-1] == END else baseline

    found = in_line(expected_gradient(speech.language, speech.policy, masked))
    assert found == in_line(score_gradient(speech.language, speech.policy, with_the_baseline))


@clause("OVER-7", examples=15)
@given(speeches(on_policy=True), st.sampled_from([2, 3]))
def test_groups_without_spread_may_be_left_out_and_the_step_grows(speech, size):
    language, policy = speech.language, speech.policy
    assume(size == 2 or len(speech.pairs) < 12)

    def right(prompt, tokens):
        return Fraction(speech.score(prompt, tokens) > 0)

    def advantages(prompt, company):
        return group_advantages([right(prompt, tokens) for tokens in company], [0] * size, "mean", "none")

    def spread_out(prompt, company):
        return len({right(prompt, tokens) for tokens in company}) > 1

    def only_with_spread(prompt, company):
        return [a * spread_out(prompt, company) for a in advantages(prompt, company)]

    def right_at(own, prompt, tokens):
        return right(prompt, tokens) * (prompt == own)

    everything = in_line(expected_gradient_of_groups(language, policy, size, advantages))
    assert in_line(expected_gradient_of_groups(language, policy, size, only_with_spread)) == everything
    for prompt, asked in enumerate(language.prompts):
        rate = expectation(language, policy, partial(right_at, prompt)) / asked
        left = sum(
            chance for chance, company in companies(language, policy, prompt, size) if spread_out(prompt, company)
        )
        assert left == 1 - rate**size - (1 - rate) ** size


@clause("OVER-8", examples=30)
@given(speeches(on_policy=True), st.integers(1, 2), st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(-1, 3)]))
def test_what_follows_a_cut_may_be_left_to_a_value(speech, longest, error):
    language, policy = speech.language, speech.policy

    def value(prompt, begun):
        return error + expected_rest(speech, prompt, begun)

    def bootstrapped(prompt, tokens):
        kept = min(len(tokens), longest)
        known = speech.score(prompt, tokens) if len(tokens) <= longest else value(prompt, tokens[:longest])
        return [known] * kept + [0] * (len(tokens) - kept)

    def as_if(prompt, tokens):
        return speech.score(prompt, tokens) + error * (len(tokens) > longest)

    found = expected_gradient(language, policy, bootstrapped)
    expected = score_gradient(language, policy, as_if)
    for context, slopes in found.items():
        assert len(context[1]) >= longest or slopes == expected[context]


def expected_rest(speech, prompt, begun):
    """The mean score of the answers to a prompt that begin with these tokens."""
    rest = list(speech.language.completions(prompt, begun))
    chances = [probability(speech.policy, prompt, tokens) for tokens in rest]
    total = sum(chances)
    worth = sum(p * speech.score(prompt, tokens) for p, tokens in zip(chances, rest, strict=True))
    return worth / total if total > 0 else Fraction(0)
