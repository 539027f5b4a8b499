"""Properties of what is done about overlong answers (spec/overlong.md)."""

from fractions import Fraction
from functools import partial

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, exactly, law, tolerance, where
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.questions.overlong import answered
from rlspec.reference.group import companies, expected_gradient_of_groups, group_advantages
from rlspec.reference.language import END, expectation, expected_gradient, probability, score_gradient


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


# Theorems.


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
