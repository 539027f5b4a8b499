"""Properties of reductions (spec/reductions.md)."""

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, coarser, exactly
from rlspec.properties.conversing import conversations
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.questions.language import exact, named
from rlspec.properties.questions.reductions import (
    ASKED,
    BY_DIVISOR,
    OVER_ROWS,
    Spread,
    aggregate_judged,
    asked_reductions,
    fixed_divisors,
    micro_batches,
    packed_judged,
    shard_counts,
    spread_batches,
    weighings,
)
from rlspec.properties.reducing import added_to_a_count, divisors_of, rows_in
from rlspec.properties.tokens import Marked, marked
from rlspec.reference.group import expected_gradient_of_groups
from rlspec.reference.language import expected_gradient, probability, score_gradient
from rlspec.reference.reductions import divisors, shard_divisors
from rlspec.spec.operations import OPERATIONS

both_operations = pytest.mark.parametrize("operation", ["aggregate", "accumulate"])


def arguments_of(operation, drawn, reduction, divisor, rows):
    """The arguments of `aggregate`, or of `accumulate` with so many rows."""
    return *drawn, reduction, divisor, *[rows][: operation == "accumulate"]


def expected_aggregate(candidate, operation, drawn, reduction, divisor):
    """What a reduction makes of a batch, as a sum of the rows' sums, each divided by what the chapter lists."""
    sizes = divisors_of(candidate, operation, drawn.mask, reduction, divisor)
    return sum((exact(drawn.arrays[0]) / sizes)[drawn.mask], Fraction(0))


@clause("RED-1")
@given(marked(), asked_reductions, fixed_divisors)
def test_each_reduction_divides_the_rows_by_what_it_says(candidate, drawn, reduction, divisor):
    expected = expected_aggregate(candidate, "aggregate", drawn, reduction, divisor)
    agree(candidate.aggregate(*drawn.padded(0, 0, 0.0), reduction, divisor), expected, **aggregate_judged(drawn))


@clause("RED-1", examples=60)
@given(marked(), st.sampled_from([name for name in ASKED if name not in BY_DIVISOR]), fixed_divisors, fixed_divisors)
def test_the_divisor_is_read_where_it_is_fixed_alone(candidate, drawn, reduction, divisor, other):
    same = candidate.aggregate(*drawn, reduction, divisor)
    agree(candidate.aggregate(*drawn, reduction, other), same, **aggregate_judged(drawn))


@clause("RED-2", examples=60)
@given(marked(2), asked_reductions, fixed_divisors, st.sampled_from([2.0, 1.0, -4.0]))
def test_an_aggregate_is_linear_in_its_tokens(candidate, drawn, reduction, divisor, factor):
    x, y = drawn.arrays
    one, other = (candidate.aggregate(*drawn.but(array), reduction, divisor).value for array in (x, y))
    answer = candidate.aggregate(*drawn.but(factor * x + y), reduction, divisor)
    expected = exactly(factor) * exactly(one) + exactly(other)
    judged = aggregate_judged(drawn)
    agree(answer, expected, magnitude=2 * (1 + abs(factor)) * judged["magnitude"], roundings=judged["roundings"])


@clause("RED-3")
@given(marked(), asked_reductions)
def test_a_batch_twice_over_has_the_same_means_and_twice_the_sums(candidate, drawn, reduction):
    once = exactly(candidate.aggregate(*drawn, reduction, 1.0).value)
    twice = drawn.rows([*range(len(drawn.mask))] * 2)
    tokens, more = max(int(drawn.mask.sum()), 1), added_to_a_count(candidate, "aggregate")
    factors: dict[str, Any] = {"sum": 2, "fixed divisor": 2, "token-mean": 2 * (tokens + more) / (2 * tokens + more)}
    agree(candidate.aggregate(*twice, reduction, 1.0), factors.get(reduction, 1) * once, **aggregate_judged(twice))


@clause("RED-3", examples=60)
@given(marked(), asked_reductions, fixed_divisors)
def test_the_order_of_the_rows_does_not_matter(candidate, drawn, reduction, divisor):
    assume(len(drawn.mask) > 1)
    backwards = drawn.rows(slice(None, None, -1))
    same = candidate.aggregate(*drawn, reduction, divisor)
    judged = aggregate_judged(drawn)
    agree(candidate.aggregate(*backwards, reduction, divisor), same, **judged | {"roundings": 2 * judged["roundings"]})


@both_operations
@clause("RED-4", examples=40)
@given(drawn=marked(), reduction=asked_reductions, divisor=fixed_divisors, rows=micro_batches)
def test_a_row_without_a_token_has_no_part_but_in_the_number_of_rows(
    candidate, operation, drawn, reduction, divisor, rows
):
    full = drawn.mask.any(axis=1)
    assume(full.any() and not full.all())
    answer = candidate.demand(OPERATIONS[operation], *arguments_of(operation, drawn, reduction, divisor, rows))
    asked = arguments_of(operation, drawn.rows(full), reduction, divisor, len(full))
    expected = exactly(candidate.ask(OPERATIONS[operation], *asked).value)
    if reduction in OVER_ROWS and candidate.convention(f"{operation}.empty_rows") == "counted":
        expected *= Fraction(int(full.sum()), len(full))
    judged = aggregate_judged(drawn)
    agree(answer, expected, **judged | {"roundings": 2 * judged["roundings"]})


@clause("RED-5")
@given(marked(), st.sampled_from(["token-mean", "mean of means", "mean of sums"]))
def test_where_all_rows_are_equally_long_every_mean_is_the_sum_over_a_known_number(candidate, drawn, reduction):
    mask = np.array([np.roll(drawn.mask[0], row) for row in range(len(drawn.mask))])
    assume(mask.any())
    even = Marked(drawn.arrays, mask)
    length, more = int(mask[0].sum()), added_to_a_count(candidate, "aggregate")
    sizes = {
        "token-mean": len(mask) * length + more,
        "mean of means": len(mask) * (length + more),
        "mean of sums": Fraction(len(mask)),
    }
    expected = exact(drawn.arrays[0])[mask].sum() / sizes[reduction]
    agree(candidate.aggregate(*even, reduction, 1.0), expected, **aggregate_judged(even))


@clause("RED-6")
@given(marked(), asked_reductions, fixed_divisors, micro_batches)
def test_the_size_of_the_micro_batches_does_not_matter(candidate, drawn, reduction, divisor, rows):
    assume(rows < len(drawn.mask))
    whole = candidate.accumulate(*drawn, reduction, divisor, len(drawn.mask))
    judged = aggregate_judged(drawn)
    judged["roundings"] *= 2
    agree(candidate.accumulate(*drawn, reduction, divisor, rows), whole, **judged)


@clause("RED-6")
@given(marked(), asked_reductions, fixed_divisors, micro_batches)
def test_what_is_accumulated_is_the_aggregate_of_the_whole_batch(candidate, drawn, reduction, divisor, rows):
    assume(len(drawn.mask) > 1)
    expected = expected_aggregate(candidate, "accumulate", drawn, reduction, divisor)
    judged = aggregate_judged(drawn)
    judged["roundings"] *= 2
    agree(candidate.accumulate(*drawn.padded(0, 0, 0.0), reduction, divisor, rows), expected, **judged)


# A batch that is spread.


def share_of(candidate, drawn, part, weighing):
    """What a shard weighs that has this part of the mask."""
    mask = drawn.batch.mask
    if weighing == "rows":
        return Fraction(*(rows_in(candidate, "sharded_loss", flags) for flags in (part, mask)))
    known = {
        "whole": 1,
        "shards": Fraction(1, drawn.averaged_over),
        "tokens": Fraction(int(part.sum()), int(mask.sum())),
    }
    return known[weighing]


def expected_of_shards(candidate, drawn, weighing, reduction, divisor):
    """The loss and the weight of each token, from each shard's rows by themselves and its part of the batch."""
    mask, values = drawn.batch.mask, exact(drawn.batch.arrays[0])
    whole = divisors_of(candidate, "sharded_loss", mask, reduction, divisor)
    weights = np.full(mask.shape, Fraction(0), dtype=object)
    for shard in set(drawn.shards.tolist()):
        rows = drawn.shards == shard
        part = mask[rows]
        if part.any():
            own = divisors_of(candidate, "sharded_loss", part, reduction, divisor)
            size = whole[rows] if weighing == "whole" else own
            weights[rows] = np.where(part, share_of(candidate, drawn, part, weighing) / size, 0)
    return (weights[mask] * values[mask]).sum() if mask.any() else 0, weights


def check_spread(candidate, drawn, weighing, reduction, divisor):
    """Check both results."""
    answer = candidate.sharded_loss(*drawn.arguments(weighing, reduction, divisor))
    agree(answer, expected_of_shards(candidate, drawn, weighing, reduction, divisor), **drawn.judged)


@clause("RED-13", "RED-15")
@given(spread_batches(), asked_reductions, fixed_divisors)
def test_a_batch_that_is_spread_has_the_loss_of_the_batch(candidate, drawn, reduction, divisor):
    check_spread(candidate, drawn, "whole", reduction, divisor)


@clause("RED-13")
@given(spread_batches(), asked_reductions, fixed_divisors, shard_counts)
def test_every_split_of_a_batch_has_the_same_loss_and_gradient(candidate, drawn, reduction, divisor, count):
    rows = np.arange(len(drawn.shards))
    other = Spread(drawn.batch, rows[::-1] % count, count)
    same = candidate.sharded_loss(*drawn.arguments("whole", reduction, divisor))
    answer = candidate.sharded_loss(*other.arguments("whole", reduction, divisor))
    agree(answer, same, **drawn.judged | {"roundings": 2 * drawn.judged["roundings"]})


@clause("RED-14", "RED-15")
@given(spread_batches(), st.sampled_from(["shards", "rows", "tokens"]), asked_reductions, fixed_divisors)
def test_other_weighings_average_what_shards_have_alone(candidate, drawn, weighing, reduction, divisor):
    check_spread(candidate, drawn, weighing, reduction, divisor)


@clause("RED-15")
@given(spread_batches(), weighings, asked_reductions, fixed_divisors)
def test_a_spread_loss_is_the_sum_of_its_derivatives_times_its_values(candidate, drawn, weighing, reduction, divisor):
    loss, slopes = candidate.sharded_loss(*drawn.arguments(weighing, reduction, divisor))
    mask = drawn.batch.mask
    products = exact(slopes.value)[mask] * exact(drawn.batch.arrays[0])[mask]
    agree(coarser(loss, slopes), sum(products, Fraction(0)), **drawn.judged)


@clause("RED-16", examples=60)
@given(
    spread_batches(), st.sampled_from([("rows", of) for of in OVER_ROWS] + [("tokens", "token-mean")]), fixed_divisors
)
def test_what_is_counted_decides_what_shards_may_be_weighed_by(candidate, drawn, case, divisor):
    weighing, reduction = case
    assume(drawn.batch.mask.any())  # of a batch without a token OPS-12 says what is right
    assume(weighing == "rows" or added_to_a_count(candidate, "sharded_loss") == 0)
    same = candidate.sharded_loss(*drawn.arguments("whole", reduction, divisor))
    answer = candidate.sharded_loss(*drawn.arguments(weighing, reduction, divisor))
    agree(answer, same, **drawn.judged | {"roundings": 2 * drawn.judged["roundings"]})


@clause("RED-16", examples=60)
@given(marked(), st.sampled_from([2, 3]), st.sampled_from(["token-mean", *OVER_ROWS]), fixed_divisors)
def test_shards_that_are_alike_may_be_weighed_alike(candidate, drawn, count, reduction, divisor):
    assume(drawn.mask.any() and added_to_a_count(candidate, "sharded_loss") == 0)
    batch = drawn.rows([*range(len(drawn.mask))] * count)
    spread = Spread(batch, np.repeat(np.arange(count), len(drawn.mask)), count)
    same = candidate.sharded_loss(*spread.arguments("whole", reduction, divisor))
    answer = candidate.sharded_loss(*spread.arguments("shards", reduction, divisor))
    agree(answer, same, **spread.judged | {"roundings": 2 * spread.judged["roundings"]})


def by_shards_of_one(speech, weighing):
    """The expected gradient of the token mean of two answers' scores, each answer in a shard of its own."""

    def credit(prompt, company):
        longest = max(map(len, company))
        mask = [[step < len(tokens) for step in range(longest)] for tokens in company]
        sizes = shard_divisors(mask, [0, 1], 2, weighing, "token-mean")
        return [2 * speech.score(prompt, tokens) / Fraction(size) for tokens, size in zip(company, sizes, strict=True)]

    return in_line(expected_gradient_of_groups(speech.language, speech.policy, 2, credit))


@clause("RED-17", examples=30)
@given(speeches(on_policy=True))
def test_the_mean_over_ranks_of_token_means_has_the_bias_of_a_ranks_batch(speech):
    def per_token(prompt, tokens):
        return speech.score(prompt, tokens) / Fraction(len(tokens))

    assert by_shards_of_one(speech, "shards") == in_line(score_gradient(speech.language, speech.policy, per_token))
    assert by_shards_of_one(speech, "whole") == by_pairs(speech, "token-mean")


# What length does to the gradient.


def by_pairs(speech, reduction):
    """The expected gradient of a reduction of two independent answers' scores times log-probabilities: every pair."""

    def credit(prompt, company):
        longest = max(map(len, company))
        mask = [[step < len(tokens) for step in range(longest)] for tokens in company]
        sizes = divisors(mask, reduction, divisor=7)
        return [2 * speech.score(prompt, tokens) / Fraction(size) for tokens, size in zip(company, sizes, strict=True)]

    return in_line(expected_gradient_of_groups(speech.language, speech.policy, 2, credit))


def cut_apart(drawn):
    """Each sequence of a packed batch in a row of its own, its tokens that do not count left where they are."""
    names = [(row, name) for row, own in enumerate(drawn.turns) for name in dict.fromkeys(own[drawn.mask[row]])]
    rows = [row for row, _ in names]
    own = np.array([drawn.mask[row] & (drawn.turns[row] == name) for row, name in names], dtype=bool)
    return Marked((drawn.arrays[0][rows],), own.reshape(len(rows), drawn.mask.shape[1]))


@clause("RED-18")
@given(conversations(), asked_reductions, fixed_divisors)
def test_a_packed_sequence_is_a_row_of_the_reduction(candidate, drawn, reduction, divisor):
    alone = cut_apart(drawn)
    expected: Any = 0
    if len(alone.mask):
        sizes = divisors_of(candidate, "packed_aggregate", alone.mask, reduction, divisor)
        expected = sum((exact(alone.arrays[0]) / sizes)[alone.mask], Fraction(0))
    answer = candidate.packed_aggregate(*named(drawn), reduction, divisor)
    agree(answer, expected, **packed_judged(drawn))


@clause("RED-19", examples=60)
@given(conversations(), asked_reductions, fixed_divisors)
def test_how_sequences_are_packed_does_not_matter(candidate, drawn, reduction, divisor):
    alone = cut_apart(drawn)
    assume(len(alone.mask))
    apart = alone.arrays[0], np.zeros(alone.mask.shape, dtype=int), alone.mask
    same = candidate.packed_aggregate(*apart, reduction, divisor)
    judged = packed_judged(drawn)
    answer = candidate.packed_aggregate(*named(drawn), reduction, divisor)
    agree(answer, same, **judged | {"roundings": 2 * judged["roundings"] + alone.mask.size})


@clause("RED-7", examples=30)
@given(speeches(on_policy=True))
def test_a_constant_divisor_keeps_the_direction_of_the_expected_gradient(speech):
    gradient = in_line(score_gradient(speech.language, speech.policy, speech.score))
    for reduction, divisor in {"sum": 1, "mean of sums": 2, "fixed divisor": 7}.items():
        assert by_pairs(speech, reduction) == [Fraction(2, divisor) * number for number in gradient]


@clause("RED-7", examples=30)
@given(speeches(on_policy=True))
def test_a_mean_over_tokens_credits_a_score_over_a_random_number(speech):
    def by_both_lengths(prompt, tokens):
        others = speech.language.completions(prompt)
        shares = [probability(speech.policy, prompt, other) / Fraction(len(tokens) + len(other)) for other in others]
        return [2 * speech.score(prompt, tokens) * sum(shares)] * len(tokens)

    assert by_pairs(speech, "token-mean") == in_line(expected_gradient(speech.language, speech.policy, by_both_lengths))


@clause("RED-7", examples=30)
@given(speeches(on_policy=True))
def test_a_mean_of_means_follows_the_score_per_token(speech):
    def per_token(prompt, tokens):
        return speech.score(prompt, tokens) / Fraction(len(tokens))

    assert by_pairs(speech, "mean of means") == in_line(score_gradient(speech.language, speech.policy, per_token))
