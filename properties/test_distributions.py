"""Properties of entropy and of Gaussian policies (spec/distributions.md)."""

from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from flint import arb, arb_series, ctx
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION, nearest
from rlspec.properties.checking import agree, clause, exactly, first_miss, law, tolerance
from rlspec.properties.gaussians import FAR_LOG_STDS, FAR_PLACES, GAUSSIAN_OPERATIONS, gaussians, gaussians_at
from rlspec.properties.questions.distributions import judged_at, temperatures
from rlspec.properties.strategies import choices
from rlspec.spec.operations import OPERATIONS

LOGARITHMS = np.log([1, 2, 3, 8, 5, 7, 4, 6])
rationals = np.vectorize(exactly, otypes=[object])


# What `entropy` owes.


raises = st.tuples(*[st.sampled_from([0, 1, -1, 4, -4])] * 3)


def in_whole_numbers(drawn):
    """Each row's legal weights exp(logit), which are whole numbers, and the row's probabilities."""
    weights = [
        [Fraction(round(np.exp(x))) for x in row[legal]] for row, legal in zip(drawn.logits, drawn.legal, strict=True)
    ]
    return [(row, [n / sum(row) for n in row]) for row in weights]


@clause("DIST-1")
@given(choices(LOGARITHMS))
def test_the_entropy_of_whole_numbers_is_that_of_their_sum_less_their_mean_logarithm(candidate, drawn):
    with ctx.workprec(PRECISION):
        values = [
            arb(int(sum(row))).log() - sum(int(n) * arb(int(n)).log() for n in row) / int(sum(row))
            for row, _ in in_whole_numbers(drawn)
        ]
        expected = [nearest(value) for value in values]
    value, _ = candidate.entropy(*drawn.arrays)
    agree(value, expected, **drawn.judged)


@clause("DIST-1")
@given(choices(LOGARITHMS))
def test_a_choice_may_be_made_in_two_parts(candidate, drawn):
    drawn = drawn.but(logits=drawn.logits[:1], legal=drawn.legal[:1])
    assume(drawn.legal.sum() > 1)
    first = drawn.legal[0].argmax()
    [(_, [p, *_])] = in_whole_numbers(drawn)
    with ctx.workprec(PRECISION):
        parts = [arb(part.numerator) / part.denominator for part in (p, 1 - p)]
        whether = nearest(-sum(part * part.log() for part in parts))
    rest = drawn.legal.copy()
    rest[0, first] = False
    of_the_rest, _ = candidate.entropy(drawn.logits, rest)
    value, _ = candidate.entropy(*drawn.arrays)
    judged = drawn.judged | {"roundings": 2 * drawn.judged["roundings"]}
    agree(value, [whether + (1 - p) * exactly(of_the_rest.value[0])], **judged)


@clause("DIST-1", examples=60)
@given(choices(), raises)
def test_raising_all_logits_of_a_row_leaves_the_entropy_as_it_is(candidate, drawn, shift):
    other = drawn.but(logits=drawn.logits + np.resize(np.array(shift, dtype=float), (len(drawn.logits), 1)))
    judged = {name: most + other.judged[name] for name, most in drawn.judged.items()}
    agree(candidate.entropy(*other.arrays), candidate.entropy(*drawn.arrays), **judged)


@clause("DIST-2")
@given(choices())
def test_the_second_result_is_the_derivative_of_the_entropy(candidate, drawn):
    _, slopes = candidate.entropy(*drawn.arrays)
    agree(slopes, textbook_entropy(drawn)[1], **drawn.judged)


def textbook_entropy(drawn):
    """Entropies and their derivatives, to hundreds of bits: log Z less the mean logit, by truncated power series."""
    with ctx.workprec(PRECISION):
        rows = [
            [of_entropy(logits, legal, place) for place in range(len(logits))]
            for logits, legal in zip(drawn.logits.tolist(), drawn.legal.tolist(), strict=True)
        ]
        return [nearest(row[0][0]) for row in rows], [[nearest(series[1]) for series in row] for row in rows]


def of_entropy(logits, legal, place):
    """log sum exp(theta) - sum theta exp(theta) / sum exp(theta), and its derivative in one logit."""
    series = [arb_series([arb(x), int(a == place)], prec=2) for a, x in enumerate(logits) if legal[a]]
    nothing = arb_series([0, 0], prec=2)
    total = sum((x.exp() for x in series), nothing)
    return total.log() - sum((x * x.exp() for x in series), nothing) / total + nothing


@clause("DIST-2", examples=60)
@given(choices())
def test_the_derivatives_of_a_rows_logits_add_up_to_zero(candidate, drawn):
    _, slopes = candidate.entropy(*drawn.arrays)
    allowed = drawn.logits.shape[1] * tolerance(roundoff=slopes.roundoff, **drawn.judged)
    sums = rationals(slopes.value).sum(axis=1)
    law(all(abs(total) <= allowed for total in sums), slopes, f"the rows sum to {[float(x) for x in sums]}, not to 0")


@clause("DIST-3")
@given(choices(), st.sampled_from([1000.0, -1000.0]), st.integers(0, 5))
def test_an_action_that_is_all_but_impossible_changes_nothing(candidate, drawn, distance, place):
    kept = np.arange(drawn.logits.shape[1]) != place % drawn.logits.shape[1]
    assume((drawn.legal & kept).any(axis=1).all())
    lowered = drawn.but(logits=np.where(kept, max(distance, 0), min(distance, 0)) + drawn.logits)
    answer = candidate.demand(OPERATIONS["entropy"], *lowered.arrays)
    without = drawn.but(logits=np.where(kept, drawn.logits, 0), legal=drawn.legal & kept)
    agree(answer, candidate.entropy(*without.arrays), **lowered.judged)


@clause("DIST-4")
@given(choices())
def test_minus_infinity_as_a_logit_says_that_an_action_is_illegal(candidate, drawn):
    hidden = drawn.overwritten(-np.inf)
    answer = candidate.demand(OPERATIONS["entropy"], hidden.logits, np.ones_like(drawn.legal))
    agree(answer, candidate.entropy(*drawn.arrays), **drawn.judged)


@clause("DIST-5")
@given(choices(), st.sampled_from([1000.0, -1000.0, 20_000.0]))
def test_large_logits_cost_the_entropy_no_digits_but_their_own(candidate, drawn, shift):
    far = drawn.but(logits=drawn.logits + shift)
    answer, expected = candidate.entropy(*far.arrays), textbook_entropy(far)
    pairs = list(zip(answer, expected, strict=True))
    # What is wrong anyway is not wrong because the logits are large.
    assume(all(first_miss(x.value, y, roundoff=x.roundoff, **far.judged) is None for x, y in pairs))
    agree(answer, expected, **far.judged_closely)


# What `tempered_entropy` owes.

POWERS = {1.0: 1, 0.5: 2, 0.25: 4}
"""Temperatures, and to which power they take a probability."""


def tempered(candidate, drawn, temperature):
    """The candidate's entropies at a temperature, and their derivatives."""
    return candidate.tempered_entropy(drawn.logits, temperature)


@clause("DIST-18", examples=60)
@given(choices(LOGARITHMS), st.sampled_from(list(POWERS)))
def test_at_a_half_entropy_is_that_of_squares(candidate, drawn, temperature):
    expected = []
    with ctx.workprec(PRECISION):
        for row in drawn.logits:
            weights = [round(np.exp(x)) ** POWERS[temperature] for x in row]
            mean = sum(n * arb(n).log() for n in weights) / sum(weights)
            expected.append(nearest(arb(sum(weights)).log() - mean))
    value, _ = tempered(candidate, drawn, temperature)
    agree(value, expected, **judged_at(drawn, temperature))


@clause("DIST-19", examples=60)
@given(choices(), temperatures)
def test_the_second_result_is_the_derivative_of_the_tempered_entropy(candidate, drawn, temperature):
    with ctx.workprec(PRECISION):
        expected = [
            [nearest(of_tempered(row, temperature, place)[1]) for place in range(len(row))]
            for row in drawn.logits.tolist()
        ]
    _, slopes = tempered(candidate, drawn, temperature)
    agree(slopes, expected, **judged_at(drawn, temperature))


def of_tempered(logits, temperature, place):
    """log sum exp(theta / T) less the mean of theta / T, as a power series in one logit."""
    series = [arb_series([arb(x), int(a == place)], prec=2) / arb(temperature) for a, x in enumerate(logits)]
    total = sum((x.exp() for x in series), arb_series([0, 0], prec=2))
    return total.log() - sum((x * x.exp() for x in series), 0 * total) / total


@clause("DIST-20", examples=60)
@given(choices(), temperatures, st.sampled_from([2.0, 0.5, 8.0]))
def test_a_factor_of_logits_and_temperature_leaves_the_entropy(candidate, drawn, temperature, factor):
    value, slopes = tempered(candidate, drawn, temperature)
    expected = value, rationals(slopes.value) / exactly(factor)
    answer = tempered(candidate, drawn.but(logits=factor * drawn.logits), factor * temperature)
    judged = judged_at(drawn, temperature)
    agree(answer, expected, **judged | {"magnitude": (1 + max(1, 1 / factor)) * judged["magnitude"]})


@clause("DIST-21", examples=60)
@given(choices(), temperatures, st.sampled_from([1.25, 2.0, 16.0]))
def test_the_warmer_the_more_entropy(candidate, drawn, temperature, factor):
    (cold, _), (warm, _) = (tempered(candidate, drawn, each) for each in (temperature, factor * temperature))
    allowed = 2 * tolerance(roundoff=cold.roundoff, **judged_at(drawn, temperature))
    falls = [exactly(x) - exactly(y) for x, y in zip(cold.value, warm.value, strict=True)]
    law(all(fall <= allowed for fall in falls), warm, f"at {temperature:g} the entropies were {cold.value.tolist()}")
    most = np.log(drawn.logits.shape[1])
    law(all(x <= most + allowed for x in rationals(warm.value)), warm, f"an entropy is above log A, {most:.6g}")


# What Gaussian policies owe.


every_gaussian = pytest.mark.parametrize("operation", GAUSSIAN_OPERATIONS)
NODES = {-2: Fraction(1, 8), 0: Fraction(3, 4), 2: Fraction(1, 8)}
"""Points and weights that have the first two moments of the standard normal distribution, and its third."""
GRID = np.arange(-30, 31) / 2
"""So many deviations from the mean, half a deviation apart."""


def ask_gaussian(candidate, operation, drawn):
    """The candidate's values and derivatives."""
    return getattr(candidate, operation)(*drawn.arguments(operation))


def log_density(x, mean, log_std):
    """log of exp(-(x - mean)^2 / (2 v)) / sqrt(2 pi v), of balls or of power series."""
    variance = log_std.exp() * log_std.exp()
    return -(x - mean) * (x - mean) / (2 * variance) - log_std - (2 * arb.pi()).log() / 2


def over_nodes(of, mean, log_std):
    """The mean of what is a polynomial of the second degree in z, over the actions mean + z sigma."""
    return sum((of(mean + z * log_std.exp()) * to_ball(weight) for z, weight in NODES.items()), 0 * mean)


def to_ball(number):
    """A rational as a ball around it."""
    return arb(number.numerator) / number.denominator


def surprise_of(log_std):
    """The mean of minus the log-density: the entropy of one axis."""
    mean = 0 * log_std
    return over_nodes(lambda x: -log_density(x, mean, log_std), mean, log_std)


def log_ratio_of(mean, log_std, ref_mean, ref_log_std):
    """The mean log-ratio to the reference: the divergence of one axis."""

    def of(x):
        return log_density(x, mean, log_std) - log_density(x, ref_mean, ref_log_std)

    return over_nodes(of, mean, log_std)


def squashed_density(u, mean, log_std):
    """The log-density of tanh(u): that of u, and twice the logarithm of the hyperbolic cosine."""
    return log_density(u, mean, log_std) + 2 * ((u.exp() + (-u).exp()) / 2).log()


def bounded_density(u, mean, log_std, low, high):
    """The same of an action that is spread from 2 over the width of its bounds."""
    return squashed_density(u, mean, log_std) - ((high - low) / 2).log()


TEXTBOOK: dict[str, tuple[Any, tuple[str, ...], tuple[int, ...]]] = {
    "gaussian_logp": (log_density, ("actions", "mean", "log_std"), (1, 2)),
    "gaussian_entropy": (surprise_of, ("log_std",), (0,)),
    "gaussian_kl": (log_ratio_of, ("mean", "log_std", "ref_mean", "ref_log_std"), (0, 1)),
    "squashed_gaussian_logp": (squashed_density, ("presquash", "mean", "log_std"), (0,)),
    "bounded_gaussian_logp": (bounded_density, ("presquash", "mean", "log_std", "low", "high"), (0,)),
}
"""What an operation is for one axis, of which fields, and in which of these it is differentiated."""


def of_axes(operation, drawn):
    """The textbook's rows of values, and of derivatives by truncated power series, to hundreds of bits."""
    of_axis, fields, places = TEXTBOOK[operation]
    columns = [np.broadcast_to(getattr(drawn, name), drawn.mean.shape) for name in fields]

    def at(where, moved):
        parts = [arb_series([arb(x[where]), int(i == moved)], prec=2) for i, x in enumerate(columns)]
        return of_axis(*parts) + arb_series([0, 0], prec=2)

    with ctx.workprec(PRECISION):
        cells = list(np.ndindex(columns[0].shape))
        tables = [np.empty(columns[0].shape, dtype=object) for _ in range(1 + len(places))]
        for where in cells:
            tables[0][where] = nearest(at(where, None)[0])
            for table, place in zip(tables[1:], places, strict=True):
                table[where] = nearest(at(where, place)[1])
    values, *slopes = tables
    return values.sum(axis=1), *slopes


def has_its_values(candidate, operation, drawn, **judged):
    """Check the values against the textbook's."""
    values, *_ = ask_gaussian(candidate, operation, drawn)
    agree(values, of_axes(operation, drawn)[0], **drawn.judged(operation, **judged))


def has_its_slopes(candidate, operation, drawn, **judged):
    """Check the derivatives against the textbook's."""
    _, *slopes = ask_gaussian(candidate, operation, drawn)
    agree(tuple(slopes), of_axes(operation, drawn)[1:], **drawn.judged(operation, **judged))


def is_right(candidate, operation, drawn):
    """Whether the answer is the textbook's; one that is wrong anyway is not wrong because the numbers are large."""
    answers, judged = ask_gaussian(candidate, operation, drawn), drawn.judged(operation)
    pairs = zip(answers, of_axes(operation, drawn), strict=True)
    return all(first_miss(part.value, wanted, roundoff=part.roundoff, **judged) is None for part, wanted in pairs)


@clause("DIST-6", examples=60)
@given(gaussians())
def test_the_log_density_is_the_logarithm_of_the_density(candidate, drawn):
    has_its_values(candidate, "gaussian_logp", drawn)


@clause("DIST-7", examples=60)
@given(gaussians())
def test_the_derivatives_of_the_log_density_are_its_derivatives(candidate, drawn):
    has_its_slopes(candidate, "gaussian_logp", drawn)


@clause("DIST-8", examples=40)
@given(gaussians())
def test_the_density_integrates_to_one(candidate, drawn):
    mean, log_std = drawn.mean[0, 0], drawn.log_std[0, 0]
    column = np.ones((len(GRID), 1))
    line = gaussians_at(mean + GRID[:, None] * np.exp(log_std), mean * column, log_std * column)
    values, *_ = candidate.gaussian_logp(*line.arguments("gaussian_logp"))
    with ctx.workprec(PRECISION):
        masses = [nearest(arb(x).exp() * arb(log_std).exp() / 2) for x in values.value.tolist()]
    # The error of a logarithm is the relative error of its exponential; the rule's own is 10^-33.
    errors = (
        mass * tolerance(roundoff=values.roundoff, **line.but(**row).judged("gaussian_logp"))
        for mass, row in zip(masses, line.rows(), strict=True)
    )
    total = sum(masses, Fraction(0))
    law(abs(total - 1) <= sum(errors) + Fraction(1, 2**100), values, f"the density integrates to {float(total):.6g}")


@every_gaussian
@clause("DIST-9", examples=40)
@given(drawn=gaussians())
def test_independent_axes_add_up(candidate, operation, drawn):
    alone = [drawn.axes([axis]) for axis in range(drawn.mean.shape[1])]
    answers = [ask_gaussian(candidate, operation, axis) for axis in alone]
    values = sum(rationals(answer[0].value) for answer in answers)
    slopes = (np.concatenate([answer[i].value for answer in answers], axis=1) for i in range(1, len(answers[0])))
    each = [axis.judged(operation) for axis in (drawn, *alone)]
    judged = {name: sum(one[name] for one in each) for name in ("magnitude", "roundings")}
    agree(ask_gaussian(candidate, operation, drawn), (values, *slopes), **judged)


@clause("DIST-10", examples=60)
@given(gaussians())
def test_gaussian_entropy_is_the_mean_surprise(candidate, drawn):
    has_its_values(candidate, "gaussian_entropy", drawn)
    has_its_slopes(candidate, "gaussian_entropy", drawn)


@clause("DIST-10", examples=40)
@given(gaussians(), st.sampled_from([1.0, -0.5, 4.0]))
def test_gaussian_entropy_grows_with_the_logarithm_of_each_deviation(candidate, drawn, more):
    wider = drawn.but(log_std=drawn.log_std + more)
    before, _ = ask_gaussian(candidate, "gaussian_entropy", drawn)
    after, _ = ask_gaussian(candidate, "gaussian_entropy", wider)
    expected = rationals(before.value) + exactly(more) * drawn.log_std.shape[1]
    each = [one.judged("gaussian_entropy") for one in (drawn, wider)]
    agree(after, expected, **{name: sum(one[name] for one in each) for name in ("magnitude", "roundings")})


@clause("DIST-11", examples=60)
@given(gaussians())
def test_gaussian_divergence_is_the_mean_log_ratio(candidate, drawn):
    has_its_values(candidate, "gaussian_kl", drawn)


@clause("DIST-11", examples=40)
@given(gaussians())
def test_gaussian_divergence_is_zero_between_equals_and_nowhere_negative(candidate, drawn):
    values, *_ = ask_gaussian(candidate, "gaussian_kl", drawn)
    allowed = tolerance(roundoff=values.roundoff, **drawn.judged("gaussian_kl"))
    law(all(rationals(values.value) >= -allowed), values, "a divergence is negative")
    same = drawn.but(ref_mean=drawn.mean, ref_log_std=drawn.log_std)
    values, *_ = ask_gaussian(candidate, "gaussian_kl", same)
    agree(values, np.zeros(len(same.mean)), **same.judged("gaussian_kl"))


@clause("DIST-12", examples=60)
@given(gaussians())
def test_the_derivatives_of_gaussian_divergence_are_its_derivatives(candidate, drawn):
    has_its_slopes(candidate, "gaussian_kl", drawn)


@clause("DIST-13", examples=60)
@given(gaussians())
def test_scores_of_a_gaussian_have_mean_zero(candidate, drawn):
    deviation = np.exp(drawn.log_std)
    at = {z: drawn.but(actions=drawn.mean + z * deviation) for z in NODES}
    answers = {z: ask_gaussian(candidate, "gaussian_logp", each) for z, each in at.items()}
    judged = [each.judged("gaussian_logp") for each in at.values()]
    for part in (1, 2):
        means = sum(NODES[z] * rationals(answer[part].value) for z, answer in answers.items())
        slopes = answers[0][part]
        allowed = sum(tolerance(roundoff=slopes.roundoff, **one) for one in judged)
        message = f"the scores have the means {[[float(x) for x in row] for row in means]}, not 0"
        law((abs(means) <= allowed).all(), slopes, message)


@clause("DIST-14", examples=60)
@given(gaussians())
def test_the_density_of_a_squashed_action_is_stretched(candidate, drawn):
    has_its_values(candidate, "squashed_gaussian_logp", drawn)


@clause("DIST-15", examples=60)
@given(gaussians())
def test_the_derivative_of_the_squashed_log_density_is_its_derivative(candidate, drawn):
    has_its_slopes(candidate, "squashed_gaussian_logp", drawn)


@clause("DIST-16", examples=60)
@given(gaussians(places=FAR_PLACES))
def test_an_action_at_its_bound_has_a_density(candidate, drawn):
    drawn = drawn.but(mean=drawn.actions)
    assume(is_right(candidate, "squashed_gaussian_logp", drawn.but(actions=drawn.actions / 1024)))
    has_its_values(candidate, "squashed_gaussian_logp", drawn, saturated=True)
    has_its_slopes(candidate, "squashed_gaussian_logp", drawn, saturated=True)


@pytest.mark.parametrize("operation", ["gaussian_logp", "gaussian_entropy", "gaussian_kl"])
@clause("DIST-17", examples=60)
@given(drawn=gaussians(log_stds=FAR_LOG_STDS))
def test_a_gaussian_may_be_narrow_or_wide(candidate, operation, drawn):
    near = drawn.but(log_std=drawn.log_std / 16, ref_log_std=drawn.ref_log_std / 16)
    assume(is_right(candidate, operation, near))
    has_its_values(candidate, operation, drawn)
    has_its_slopes(candidate, operation, drawn)


# What policies between other bounds owe.

SQUASHED = "squashed_gaussian_logp"
"""What they are compared with, and are not asked for."""


def whose_density(candidate):
    """The operation of which a policy between bounds has the density, by the candidate's convention."""
    of_the_action = candidate.convention("bounded_gaussian_logp.density") == "of the action"
    return "bounded_gaussian_logp" if of_the_action else SQUASHED


@clause("DIST-22", "DIST-24", examples=60)
@given(gaussians())
def test_the_density_between_bounds_is_lower_as_they_are_wider(candidate, drawn):
    value, _ = ask_gaussian(candidate, "bounded_gaussian_logp", drawn)
    agree(value, of_axes(whose_density(candidate), drawn)[0], **drawn.judged("bounded_gaussian_logp"))


@clause("DIST-23", examples=60)
@given(gaussians())
def test_the_derivative_between_bounds_is_that_of_a_squashed_action(candidate, drawn):
    _, slopes = ask_gaussian(candidate, "bounded_gaussian_logp", drawn)
    agree(slopes, of_axes(SQUASHED, drawn)[1], **drawn.judged("bounded_gaussian_logp"))


@clause("DIST-25", examples=60)
@given(gaussians(), st.integers(0, 5), st.sampled_from([2, 4, 16]))
def test_a_wider_axis_lowers_the_density_by_the_logarithm_of_the_factor(candidate, drawn, axis, factor):
    arguments = drawn.arguments("bounded_gaussian_logp")
    low, high = (bound.copy() for bound in arguments[3:])
    axis = axis % len(low)
    high[axis] = low[axis] + factor * (high[axis] - low[axis])
    fewer = nearest_logarithm(factor) if whose_density(candidate) == "bounded_gaussian_logp" else Fraction(0)
    value, slopes = candidate.bounded_gaussian_logp(*arguments)
    expected = rationals(value.value) - fewer, slopes
    judged = drawn.judged("bounded_gaussian_logp")
    judged["magnitude"] = 2 * judged["magnitude"] + factor + abs(high).max() + abs(low).max()
    agree(candidate.bounded_gaussian_logp(*arguments[:3], low, high), expected, **judged)


def nearest_logarithm(number):
    """The logarithm of a whole number, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        return nearest(arb(number).log())


@clause("DIST-25", examples=60)
@given(gaussians(places=FAR_PLACES))
def test_between_minus_one_and_one_the_density_is_that_of_a_squashed_action(candidate, drawn):
    drawn = drawn.but(mean=drawn.actions)
    ones = np.ones(drawn.mean.shape[1])
    arguments = drawn.arguments(SQUASHED)
    near = drawn.but(actions=drawn.actions / 1024).arguments(SQUASHED)
    judged = drawn.judged(SQUASHED, saturated=True)
    close, expected = (of_axes(SQUASHED, each) for each in (drawn.but(actions=near[0]), drawn))
    # What is wrong anyway is not wrong because the action is at its bound.
    answer = candidate.bounded_gaussian_logp(*near, -ones, ones)
    wide = drawn.but(actions=near[0]).judged(SQUASHED)
    pairs = list(zip(answer, close, strict=True))
    assume(all(first_miss(part.value, wanted, roundoff=part.roundoff, **wide) is None for part, wanted in pairs))
    agree(candidate.bounded_gaussian_logp(*arguments, -ones, ones), expected, **judged)
