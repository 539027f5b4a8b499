"""Properties of statistics (spec/statistics.md)."""

from bisect import bisect
from fractions import Fraction
from math import sqrt
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION, nearest
from rlspec.properties.checking import agree, clause, coarser, exactly, law, tolerance
from rlspec.properties.running import (
    Counted,
    Scaled,
    betas,
    bins,
    careful_terms,
    clips,
    counted,
    epsilons,
    fading,
    moments_terms,
    observed,
    popart_terms,
    popped,
    scaled,
    some_values,
    two_hot_terms,
)
from rlspec.properties.strategies import NUMBERS, discounts
from rlspec.reference.choices import shape_of

rationals = np.vectorize(exactly, otypes=[object])
whole_numbers = np.array([0, 1, -1, 2, -2, 3, 4, -5])
shifts = st.sampled_from([4096.0, 2.0**26, -(2.0**26)])


def pooled(mean: Any, variance: Any, count: Any, numbers: Any) -> tuple[Any, Any]:
    """Mean and variance by sums of numbers and of their squares, those counted before among them; in rationals."""
    total = count + len(numbers)
    first = count * mean + sum(numbers)
    second = count * (variance + mean * mean) + sum(number * number for number in numbers)
    return first / total, second / total - (first / total) ** 2


def added_by_one_row_less(candidate: Any, column: Any) -> Any:
    """What a sum of squares has more where a batch's variance is over one row less: half their mean distance squared.

    The distances are those of all ordered pairs of rows.
    """
    if candidate.convention("running_moments.spread") == "ddof=0" or len(column) == 1:
        return Fraction(0)
    pairs = sum((x - y) ** 2 for x in column for y in column)
    return pairs / Fraction(2 * len(column) * (len(column) - 1))


def expected_moments(candidate: Any, drawn: Counted) -> tuple[Any, ...]:
    """The exact moments, one column after the other, and the count."""
    columns = zip(*map(rationals, (drawn.mean, drawn.variance)), rationals(drawn.batch).T, strict=True)
    total, means, variances = exactly(drawn.count) + len(drawn.batch), [], []
    for known, spread, column in columns:
        mean, variance = pooled(known, spread, exactly(drawn.count), list(column))
        means.append(mean)
        variances.append(variance + added_by_one_row_less(candidate, column) / total)
    return means, variances, total


@clause("STAT-1", examples=50)
@given(counted())
def test_running_moments_are_those_of_the_sums_of_all_numbers_and_of_their_squares(candidate, drawn):
    answer = candidate.running_moments(*drawn.arguments)
    agree(answer, expected_moments(candidate, drawn), **moments_terms(drawn))


def apart_from_what_splits_add(candidate: Any, whole: Any, *batches: Any) -> tuple[Any, ...]:
    """The moments of one batch, with what its parts add where their variances are over one row less (STAT-17)."""
    mean, variance, count = (part.value for part in whole)
    columns = zip(*(rationals(batch).T for batch in batches), strict=True)
    more = [
        sum(added_by_one_row_less(candidate, part) for part in parts)
        - added_by_one_row_less(candidate, [x for part in parts for x in part])
        for parts in columns
    ]
    return mean, rationals(variance) + np.array(more, dtype=object) / exactly(count), count


@clause("STAT-2", examples=30)
@given(counted(), st.booleans())
def test_moments_of_two_batches_are_those_of_one_in_any_order(candidate, drawn, other_first):
    assume(len(drawn.batch) > 1)
    first, second = drawn.batch[:1], drawn.batch[1:]
    first, second = (second, first) if other_first else (first, second)
    half = candidate.running_moments(drawn.mean, drawn.variance, drawn.count, first)
    mean, variance, count = (part.value for part in half)
    answer = candidate.running_moments(mean, variance, float(count), second)
    whole = candidate.running_moments(*drawn.arguments)
    terms = moments_terms(drawn)
    judged = {"magnitude": 4 * terms["magnitude"], "roundings": 2 * terms["roundings"]}
    agree(coarser(answer, *half, *whole), apart_from_what_splits_add(candidate, whole, first, second), **judged)


@clause("STAT-3", examples=40)
@given(counted(whole_numbers), shifts)
def test_a_large_mean_leaves_the_variance_as_it_is(candidate, drawn, shift):
    level = np.rint(drawn.mean)
    moved = Counted(level + shift, drawn.variance, drawn.count, drawn.batch + shift)
    _, variance, _ = candidate.running_moments(*moved.arguments)
    plain = Counted(level, drawn.variance, drawn.count, drawn.batch.astype(float))
    _, expected, _ = expected_moments(candidate, plain)
    spread = sqrt(max(map(float, expected)) + float(drawn.variance.max()) + 100)
    agree(variance, expected, **careful_terms(moved, spread))


@clause("STAT-15", examples=40)
@given(fading())
def test_moments_that_forget_move_by_one_share_of_their_distance(candidate, drawn):
    answer = candidate.fading_moments(*drawn.arguments)
    share, rows = 1 - Fraction(drawn.beta), rationals(drawn.batch)
    mean, square, weight = rationals(drawn.mean), rationals(drawn.square), exactly(drawn.weight)
    apart = [rows.sum(axis=0) / len(rows) - mean, (rows * rows).sum(axis=0) / len(rows) - square]
    agree(answer, (mean + share * apart[0], square + share * apart[1], weight + share * (1 - weight)), **drawn.judged)


@clause("STAT-16", examples=30)
@given(counted(), betas)
def test_moments_that_forget_are_a_weighed_mean_of_the_batches(candidate, drawn, beta):
    nothing = np.zeros(drawn.batch.shape[1])
    kept: Any = (nothing, nothing, 0.0)
    for row in drawn.batch:
        answer = candidate.fading_moments(*kept, row[None], beta)
        kept = (answer[0].value, answer[1].value, float(answer[2].value))
    mean, _, weight = answer
    weights = [Fraction(beta) ** k for k in reversed(range(len(drawn.batch)))]
    expected = sum(w * rationals(row) for w, row in zip(weights, drawn.batch, strict=True)) / sum(weights)
    size = 2 + float(np.abs(drawn.batch).max())
    agree(mean, expected * exactly(weight.value), magnitude=4 * size, roundings=8 * len(drawn.batch) + 16)


def divisor(candidate: Any, operation: str, variance: float, eps: float) -> Fraction:
    """What the candidate divides by, by its convention; the root correctly rounded."""
    choice = candidate.convention(f"{operation}.scale")
    if choice == "sqrt(var + eps)":
        return Fraction(sqrt(variance + eps))
    return Fraction(sqrt(variance) + eps) if choice == "std + eps" else Fraction(max(sqrt(variance), eps))


def held(number: Fraction, clip: float) -> Fraction:
    """The number within its clip."""
    return max(-Fraction(clip), min(number, Fraction(clip)))


@clause("STAT-4", examples=50)
@given(counted(small=True), epsilons, clips)
def test_a_normalised_observation_is_a_distance_in_standard_deviations(candidate, drawn, eps, clip):
    answer = candidate.normalize_observations(drawn.batch, drawn.mean, drawn.variance, eps, clip)
    by = [divisor(candidate, "normalize_observations", float(variance), eps) for variance in drawn.variance]
    expected = [
        [held((exactly(x) - exactly(m)) / d, clip) for x, m, d in zip(row, drawn.mean, by, strict=True)]
        for row in drawn.batch
    ]
    agree(answer, expected, **observed(drawn, eps))


def returns_so_far(drawn: Scaled) -> list[list[Fraction]]:
    """R_t of each environment, [T][B]: a sum over the steps of the episode so far."""
    table = []
    for t in range(drawn.rewards.shape[1]):
        row = []
        for rewards, over in zip(drawn.rewards, drawn.terminated | drawn.truncated, strict=True):
            begin = max([0, *(k + 1 for k in range(t) if over[k])])
            row.append(
                sum((Fraction(drawn.gamma) ** (t - k) * exactly(rewards[k]) for k in range(begin, t + 1)), Fraction(0))
            )
        table.append(row)
    return table


def expected_scaled(candidate: Any, drawn: Scaled) -> list[list[Fraction]]:
    """Rewards over the deviation of all returns so far."""
    given, gathered, columns = (exactly(drawn.mean), exactly(drawn.variance), exactly(drawn.count)), [], []
    for t, returns in enumerate(returns_so_far(drawn)):
        gathered += returns
        _, variance = pooled(*given, gathered)
        by = divisor(candidate, "scaled_rewards", float(variance), drawn.eps)
        columns.append([held(exactly(reward) / by, drawn.clip) for reward in drawn.rewards[:, t]])
    return [list(row) for row in zip(*columns, strict=True)]


@clause("STAT-6", examples=40)
@given(scaled(discounts, ends=(False, False)))
def test_a_scaled_reward_is_over_the_deviation_of_the_returns_so_far(candidate, drawn):
    agree(candidate.scaled_rewards(*drawn.arguments), expected_scaled(candidate, drawn), **drawn.judged)


@clause("STAT-7", examples=40)
@given(st.one_of(scaled(discounts, ends=(True, False)), scaled(discounts, ends=(False, True)), scaled(discounts)))
def test_the_returns_that_rewards_are_scaled_by_begin_with_their_episodes(candidate, drawn):
    assume((drawn.terminated | drawn.truncated).any())
    agree(candidate.scaled_rewards(*drawn.arguments), expected_scaled(candidate, drawn), **drawn.judged)


@clause("STAT-8", examples=40)
@given(popped())
def test_popart_rescales_weights_and_moves_the_bias(candidate, arguments):
    weights, bias, old, before, new, after = arguments
    answer = candidate.popart(*arguments)
    ratio = Fraction(before) / Fraction(after)
    level = (Fraction(before) * exactly(bias) + exactly(old) - exactly(new)) / Fraction(after)
    agree(answer, (rationals(weights) * ratio, level), **popart_terms(arguments))


@clause("STAT-9", examples=40)
@given(popped(), st.lists(st.integers(-3, 3), min_size=4, max_size=4))
def test_popart_leaves_every_output_as_it_is(candidate, arguments, features):
    weights, bias, old, before, new, after = arguments
    changed, level = candidate.popart(*arguments)
    x = features[: len(weights)]
    output = Fraction(after) * (sum(rationals(changed.value) * x) + exactly(level.value)) + exactly(new)
    same = Fraction(before) * (sum(rationals(weights) * x) + exactly(bias)) + exactly(old)
    terms = popart_terms(arguments)
    allowed = tolerance(
        magnitude=after * 4 * len(weights) * terms["magnitude"],
        roundings=terms["roundings"],
        roundoff=coarser(changed, level).roundoff,
    )
    said = f"for features {x} the output was {float(same)} and is {float(output)}"
    law(abs(output - same) <= allowed, changed, said)


def in_balls(function: Any, values: np.ndarray) -> list[Fraction]:
    """A function of each number, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        return [nearest(function(arb(float(value)))) for value in values]


@clause("STAT-10", examples=40)
@given(some_values())
def test_a_symmetric_logarithm_is_twice_an_inverse_hyperbolic_tangent(candidate, values):
    answer = candidate.symlog(values)
    expected = in_balls(lambda x: 2 * (x / (2 + abs(x))).atanh(), values)
    agree(answer, expected, magnitude=1 + np.log1p(np.abs(values)), roundings=8)


small_numbers = NUMBERS[np.abs(NUMBERS) <= 10]


@clause("STAT-11", examples=40)
@given(some_values(small_numbers))
def test_a_symmetric_exponential_is_a_hyperbolic_sine_with_its_growth(candidate, values):
    answer = candidate.symexp(values)
    expected = in_balls(lambda x: 2 * (x / 2).sinh() * (abs(x) / 2).exp(), values)
    agree(answer, expected, magnitude=np.exp(np.abs(values)) * (1 + np.abs(values)), roundings=8)


@clause("STAT-11", examples=30)
@given(some_values(small_numbers))
def test_a_symmetric_exponential_takes_the_logarithm_back(candidate, values):
    logs = candidate.symlog(values)
    answer = candidate.symexp(logs.value)
    size = (1 + np.abs(values)) * (3 + np.log1p(np.abs(values)))
    agree(coarser(answer, logs), values, magnitude=2 * size, roundings=24)


def gap_guard(candidate: Any) -> Fraction:
    """What the candidate adds to the gap between two bins, by its convention (STAT-14)."""
    _, added = shape_of(candidate.convention("two_hot.gap"), "gap", "gap + E")
    return Fraction(added or 0)


def hat(x: Fraction, k: int, edges: list[Fraction], guard: Fraction) -> Fraction:
    """The share of bin k: 1 on the bin, and 0 from its neighbours on; the guard belongs to the upper bin."""
    if x == edges[k]:
        return Fraction(1)
    if x < edges[k]:
        below = edges[k - 1]
        return (x - below + guard) / (edges[k] - below + guard) if x > below else Fraction(0)
    above = edges[k + 1]
    return max(Fraction(0), (above - x) / (above - edges[k] + guard))


@clause("STAT-12", examples=50)
@given(some_values(), bins)
def test_a_two_hot_share_falls_to_zero_at_both_neighbours(candidate, values, edges):
    answer = candidate.two_hot(values, np.array(edges))
    known, guard = [Fraction(edge) for edge in edges], gap_guard(candidate)
    inside = [max(known[0], min(exactly(value), known[-1])) for value in values]
    expected = [[hat(x, k, known, guard) for k in range(len(known))] for x in inside]
    agree(answer, expected, **two_hot_terms(values, edges))


@clause("STAT-13", examples=40)
@given(some_values(), bins)
def test_a_two_hot_value_has_one_mass_and_its_own_mean(candidate, values, edges):
    answer = candidate.two_hot(values, np.array(edges))
    terms = two_hot_terms(values, edges)
    off = tolerance(magnitude=terms["magnitude"], roundings=terms["roundings"], roundoff=answer.roundoff)
    known, guard = [Fraction(edge) for edge in edges], gap_guard(candidate)
    for value, shares in zip(values, rationals(answer.value), strict=True):
        law(abs(sum(shares) - 1) <= len(known) * off, answer, f"the shares of {value} add up to {float(sum(shares))}")
        mean, inside = sum(shares * known), max(known[0], min(exactly(value), known[-1]))
        allowed = len(known) * max(map(abs, known)) * off
        raised = 0 if inside in known else guard * hat(inside, bisect(known, inside) - 1, known, guard)
        law(abs(mean - inside - raised) <= allowed, answer, f"{value} has the mean {float(mean)}")
