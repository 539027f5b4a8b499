"""Properties of surrogate losses, the general one and those that are points of it (spec/surrogate.md)."""

from fractions import Fraction
from math import ceil

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, exactly, law
from rlspec.properties.closed_forms import (
    LOGPS,
    ask,
    check_prices,
    check_surrogates,
    limited,
    only_token,
    price,
    sizes,
    surrogate,
)
from rlspec.properties.losses import LEVELS, POINTS, REDUCTIONS, credited, dual_clips, no_kl
from rlspec.properties.questions.surrogate import exact_loss
from rlspec.properties.reducing import added_to_a_count
from rlspec.properties.strategies import MANY_ROWS, PLAIN
from rlspec.properties.tokens import far_token_ratios
from rlspec.spec.clauses import conventions_of
from rlspec.spec.operations import OPERATIONS

rationals = np.vectorize(exactly, otypes=[object])
every_loss = pytest.mark.parametrize("operation", POINTS)
every_loss_of_ratios = pytest.mark.parametrize("operation", [name for name in POINTS if name != "cispo_loss"])
every_clipped_loss = pytest.mark.parametrize(
    "operation", [name for name in POINTS if name not in ("cispo_loss", "gmpo_loss")]
)


# What `surrogate_loss` is, axis by axis.


@clause("SUR-1", examples=60)
@given(credited(), st.sampled_from(["token", "none"]))
def test_the_loss_is_the_reduction_of_the_kl_term_less_the_surrogate(candidate, drawn, ratio):
    case = drawn.but(ratio=ratio).at("surrogate_loss")
    total, divided, c = Fraction(0), sizes(candidate, "surrogate_loss", case), exactly(case.kl_coef)
    for row, token in np.argwhere(case.mask):
        alone = case.token(row, token)
        u, _ = surrogate(candidate, "surrogate_loss", alone)
        k, *_ = price(candidate, "surrogate_loss", alone) if c else (0,)
        total += (c * k - u) / divided[row]
    loss, _ = ask(candidate, "surrogate_loss", case)
    agree(loss, total, **case.judged)


@clause("SUR-2", examples=60)
@given(credited(), st.sampled_from(["sequence", "sequence", "none"]))
def test_at_the_level_of_the_sequence_each_token_is_like_one_with_the_geometric_mean_of_the_ratios(
    candidate, drawn, level
):
    case = drawn.but(ratio=level, reduction="sum").at("surrogate_loss")
    check_surrogates(candidate, "surrogate_loss", case)


@clause("SUR-2", examples=40)
@given(credited(), st.sampled_from([0.5, -2.0, 1.0]), st.sampled_from(["pessimistic", "none"]))
def test_a_sequence_does_not_see_which_of_its_tokens_the_ratio_comes_from(candidate, drawn, amount, clip):
    case = drawn.but(ratio="sequence", clip=clip, kl_coef=0.0).at("surrogate_loss")
    row = case.mask.sum(axis=1).argmax()
    assume(case.mask[row].sum() > 1)
    first, *_, last = np.flatnonzero(case.mask[row])
    logp = case.tokens.logp.copy()
    logp[row, first] += amount
    logp[row, last] -= amount
    moved = case.but(logp=logp)
    terms = case.judged | {"magnitude": case.magnitude + moved.magnitude}
    agree(ask(candidate, "surrogate_loss", moved), ask(candidate, "surrogate_loss", case), **terms)


def check_form(candidate, drawn, clip, dual_clip=None):
    """Check a single token's loss with that form of clip."""
    ratio = "token" if drawn.ratio == "none" else drawn.ratio
    case = only_token(drawn).but(clip=clip, dual_clip=dual_clip, ratio=ratio, reduction="sum").at("surrogate_loss")
    check_surrogates(candidate, "surrogate_loss", case)


@clause("SUR-3", examples=40)
@given(credited())
def test_without_a_clip_the_surrogate_is_ratio_times_advantage(candidate, drawn):
    check_form(candidate, drawn, "none")


@clause("SUR-4", "SUR-19", examples=80)
@given(credited())
def test_a_pessimistic_clip_takes_the_smaller_product(candidate, drawn):
    check_form(candidate, drawn, "pessimistic")


clips_of_weights = st.sampled_from([1.0, 0.25, 0.03125, 0.875, 0.0])
"""How far below 1 a weight may be; with 1 there is no lower bound."""


@clause("SUR-5", examples=80)
@given(credited(), clips_of_weights)
def test_a_clipped_weight_is_held(candidate, drawn, low):
    check_form(candidate, drawn.but(clip_low=low), "weight")


@clause("SUR-6", examples=80)
@given(credited())
def test_a_geometric_clip_limits_the_logarithm_the_way_the_advantage_pushes_it(candidate, drawn):
    check_form(candidate, drawn, "geometric")


@clause("SUR-6", examples=40)
@given(credited())
def test_a_geometric_clip_limits_each_logarithm_before_their_mean(candidate, drawn):
    case = drawn.but(ratio="sequence", clip="geometric", reduction="sum").at("surrogate_loss")
    check_surrogates(candidate, "surrogate_loss", case)


@clause("SUR-7", examples=80)
@given(credited(), dual_clips.filter(bool))
def test_a_dual_clip_bounds_what_a_bad_token_costs(candidate, drawn, dual_clip):
    bad = drawn.but(advantages=-np.abs(drawn.advantages))
    check_form(candidate, bad, "pessimistic", dual_clip)


@clause("SUR-8", "SUR-18", examples=80)
@given(credited(), st.sampled_from(REDUCTIONS))
def test_the_terms_of_a_row_are_divided_as_its_reduction_says(candidate, drawn, reduction):
    case = drawn.but(ratio="token", clip="none", reduction=reduction).at("surrogate_loss")
    check_surrogates(candidate, "surrogate_loss", case)


@clause("SUR-8", "SUR-18", examples=60)
@given(credited())
def test_each_group_is_divided_by_its_own_tokens(candidate, drawn):
    first = np.arange(len(drawn.mask)) == 0
    assume(not first.all())
    two = drawn.but(groups=np.where(first, 7, -2), reduction="mean of group token-means")
    check_surrogates(candidate, "surrogate_loss", two.but(ratio="token", clip="none").at("surrogate_loss"))


@clause("SUR-9", "SUR-20", "SUR-21", examples=80)
@given(credited(), st.sampled_from(["k1", "k2", "k3"]), st.sampled_from(LEVELS))
def test_the_kl_term_of_a_token_is_the_estimate_that_is_asked_for(candidate, drawn, kl, ratio):
    case = only_token(drawn).but(kl=kl, ratio=ratio, reduction="sum").at("surrogate_loss")
    check_prices(candidate, "surrogate_loss", case)


@clause("SUR-9", "SUR-10", "SUR-21", examples=60)
@given(credited())
def test_the_kl_terms_of_a_batch_are_those_of_its_tokens(candidate, drawn):
    check_prices(candidate, "surrogate_loss", drawn.at("surrogate_loss"))


@every_loss
@clause("SUR-9", examples=20)
@given(drawn=credited(coefs=no_kl), other=credited())
def test_without_its_coefficient_the_reference_does_not_matter(candidate, operation, drawn, other):
    case = drawn.at(operation)
    ref = np.resize(other.tokens.ref_logp, case.mask.shape)
    agree(ask(candidate, operation, case.but(ref_logp=ref)), ask(candidate, operation, case), **case.judged)


@clause("SUR-10", "SUR-1", examples=100)
@given(credited())
def test_the_results_at_a_point_are_the_loss_and_its_derivative(candidate, drawn):
    case = drawn.at("surrogate_loss")
    expected = exact_loss("surrogate_loss", case, **candidate.conventions("surrogate_loss"))
    agree(ask(candidate, "surrogate_loss", case), expected, **case.judged)


@every_clipped_loss
@clause("SUR-10", examples=20)
@given(drawn=credited(coefs=no_kl), rises=st.lists(st.booleans(), min_size=3, max_size=3))
def test_a_loss_moves_with_the_ratios_as_its_derivative_says(candidate, operation, drawn, rises):
    case = drawn.at(operation)
    assume(case.ratio != "none" and case.clip in ("pessimistic", "none"))
    by = np.array([65 / 64 if rise else 63 / 64 for rise in np.resize(rises, len(case.mask))])
    moved = case.but(logp=case.tokens.logp + np.log(by)[:, None])
    assume((moved.sides == case.sides).all() and (moved.bounded == case.bounded).all())
    assume((clamped(candidate, operation, moved) == clamped(candidate, operation, case)).all())
    loss, slopes = ask(candidate, operation, case)
    further, _ = ask(candidate, operation, moved)
    # Between its bounds a term is proportional to its ratio, which is multiplied; beyond one it does not move.
    gain = ((rationals(by) - 1)[:, None] * rationals(slopes.value)).sum()
    terms = case.judged | {"magnitude": 2 * case.magnitude + moved.magnitude}
    agree(further, exactly(loss.value) + gain, **terms)


linear = pytest.mark.parametrize("operation", ["surrogate_loss", "cispo_loss"])


@linear
@clause("SUR-10", examples=40)
@given(drawn=credited(coefs=no_kl), shift=st.sampled_from([-1.0, 0.5, -1000.0]))
def test_a_loss_of_held_weights_is_linear_in_log_probabilities_that_move_together(candidate, operation, drawn, shift):
    case = drawn.but(clip="weight").at(operation)
    moved = case.but(**{name: getattr(case.tokens, name) + shift for name in LOGPS})
    loss, slopes = ask(candidate, operation, case)
    further, _ = candidate.demand(OPERATIONS[operation], *moved.arguments(operation))
    gain = Fraction(shift) * rationals(slopes.value).sum()
    terms = case.judged | {"magnitude": (1 + abs(shift)) * case.magnitude + moved.magnitude}
    agree(further, exactly(loss.value) + gain, **terms)


# What follows.


def clamped(candidate, operation, case):
    """Where the candidate's clamp holds a log-ratio."""
    return np.vectorize(lambda x: not limited(candidate, operation, exactly(x))[1])(case.leveled)


def certain(candidate, operation, case, roundoff):
    """Where no rounding of the logarithms takes a ratio, or its row's, to the other side of a bound or of a clamp."""
    off = (case.mask.shape[1] + 4) * float(roundoff) * case.digits
    less, more = (case.but(logp=case.tokens.logp + way * off) for way in (-1, 1))
    held = (clamped(candidate, operation, end) for end in (less, more))
    return np.equal(less.sides, more.sides) & np.equal(*held)


@every_clipped_loss
@clause("SUR-11", examples=20)
@given(drawn=credited(coefs=no_kl))
def test_a_token_is_held_where_its_ratio_has_gone_far_enough_and_nowhere_else(candidate, operation, drawn):
    case = drawn.but(dual_clip=None, clip="pessimistic").at(operation).but(dual_clip=None)
    assume(case.clip == "pessimistic" and case.ratio != "none")
    _, slopes = ask(candidate, operation, case)
    signs = np.sign(case.advantages)[:, None]
    held = (case.sides * signs > 0) | (signs == 0) | ~case.mask | clamped(candidate, operation, case)
    open_to_rounding = case.mask & (signs != 0) & ~certain(candidate, operation, case, slopes.roundoff)
    kept = slopes.value[held & ~open_to_rounding]
    law(not kept.any(), slopes, "a token whose ratio has gone far enough is pushed further")
    right = (np.sign(slopes.value) == -signs)[~held & ~open_to_rounding]
    law(right.all(), slopes, "a token whose ratio has not gone far enough is not pushed, or the wrong way")


@every_loss
@clause("SUR-12", examples=20)
@given(drawn=credited())
def test_at_ratio_one_a_token_is_credited_with_its_advantage_over_its_rows_divisor(candidate, operation, drawn):
    case = drawn.at(operation)
    case = case.but(old_logp=case.tokens.logp, ref_logp=case.tokens.logp, clip_low=0.25, clip_high=0.25)
    case = case.but(kl="k3" if case.kl == "k1" else case.kl)
    credit = [-exactly(a) / n for a, n in zip(case.advantages, sizes(candidate, operation, case), strict=True)]
    slopes = np.where(case.mask, np.array(credit, dtype=object)[:, None], 0)
    by_logarithm = case.clip == "weight" or case.ratio == "none"
    values = slopes * rationals(case.tokens.logp) if by_logarithm else slopes
    agree(ask(candidate, operation, case), (Fraction(values.sum()), slopes), **case.judged)


@every_loss
@clause("SUR-13", examples=20)
@given(drawn=credited(coefs=no_kl), factor=st.sampled_from([2.0, 0.5, 3.0, 0.0]))
def test_a_positive_factor_of_the_advantages_is_one_of_the_loss(candidate, operation, drawn, factor):
    case = drawn.at(operation)
    answer = ask(candidate, operation, case.but(advantages=factor * case.advantages))
    expected = tuple(Fraction(factor) * rationals(part.value) for part in ask(candidate, operation, case))
    terms = case.judged | {"magnitude": 2 * factor * case.magnitude}
    agree(answer, expected, **terms)


@every_loss_of_ratios
@clause("SUR-14", examples=20)
@given(drawn=credited(), shift=st.sampled_from([1.0, -0.5, -1000.0]))
def test_only_differences_of_log_probabilities_count(candidate, operation, drawn, shift):
    case = drawn.at(operation)
    assume(case.ratio != "none" and case.clip != "weight")
    moved = case.but(**{name: getattr(case.tokens, name) + shift for name in LOGPS})
    terms = case.judged | {"magnitude": case.magnitude + moved.magnitude}
    same = ask(candidate, operation, case)
    agree(candidate.demand(OPERATIONS[operation], *moved.arguments(operation)), same, **terms)


@every_loss
@clause("SUR-15", examples=20)
@given(drawn=credited(), order=st.permutations(range(MANY_ROWS)))
def test_rows_in_another_order_have_the_same_loss(candidate, operation, drawn, order):
    case = drawn.at(operation)
    order = [row for row in order if row < len(case.mask)]
    loss, slopes = ask(candidate, operation, case)
    agree(ask(candidate, operation, case.rows(order)), (loss, slopes.value[order]), **case.judged)


@every_loss
@clause("SUR-15", examples=20)
@given(drawn=credited())
def test_a_batch_given_twice_has_the_same_loss_or_twice_that_of_a_sum(candidate, operation, drawn):
    case = drawn.at(operation)
    times = 2 if case.reduction in ("sum", "fixed divisor") else 1
    loss, slopes = ask(candidate, operation, case)
    twice = ask(candidate, operation, case.rows([*range(len(case.mask))] * 2))
    expected = times * loss.value, times * np.concatenate([slopes.value, slopes.value]) / 2
    most = once_beside_twice_as_many(candidate, operation) / (4 * twice[0].roundoff)
    agree(twice, expected, magnitude=4 * case.magnitude, roundings=2 * case.judged["roundings"] + ceil(most))


def once_beside_twice_as_many(candidate, operation):
    """How much a batch's doubling changes each term, at most, through E, which is added to a number of tokens N.

    |1 / (N + E) - 2 / (2 N + E)| is at most E / 2 for N of 1 and more.
    """
    counts = f"{operation}.count" in conventions_of(operation)
    return added_to_a_count(candidate, operation) / 2 if counts else Fraction(0)


def as_far_as_floats_go(candidate, operation, case):
    """The log-ratios: up to 200, or 80 for those who work in float32, where the exponential of 89 is infinite."""
    return case.log_ratio * (1 if candidate.precision(operation) == "float64" else 0.4)


@every_loss
@clause("SUR-16", examples=60)
@given(drawn=credited(PLAIN, far_token_ratios, no_kl))
def test_ratios_that_are_far_off_have_finite_answers(candidate, operation, drawn):
    assume(drawn.mask.any())
    old = drawn.tokens.old_logp
    case = drawn.but(logp=old + as_far_as_floats_go(candidate, operation, drawn), ref_logp=old).at(operation)
    candidate.demand(OPERATIONS[operation], *case.arguments(operation))


@every_loss
@clause("SUR-16", examples=20)
@given(drawn=credited(PLAIN, far_token_ratios, no_kl))
def test_a_ratio_that_has_gone_far_enough_is_the_bound_however_far_it_has_gone(candidate, operation, drawn):
    assume(drawn.mask.any())
    steps = np.abs(as_far_as_floats_go(candidate, operation, drawn)) * np.sign(drawn.advantages)[:, None]
    case = drawn.but(logp=drawn.tokens.old_logp + steps, ref_logp=drawn.tokens.old_logp).at(operation)
    assume(case.clip != "none")
    answer = candidate.demand(OPERATIONS[operation], *case.arguments(operation))
    expected = exact_loss(operation, case, **candidate.conventions(operation))
    agree(answer, expected, **case.judged)


@every_loss
@clause("SUR-17", examples=20)
@given(drawn=credited(), kl_coef=st.sampled_from([0.5, 0.0625, 3.0, -2.0]))
def test_the_reference_has_a_part_that_is_linear_in_the_coefficient_and_knows_no_advantages(
    candidate, operation, drawn, kl_coef
):
    case = drawn.at(operation)
    without = ask(candidate, operation, case.but(kl_coef=0.0))
    alone = ask(candidate, operation, case.but(kl_coef=1.0, advantages=0 * case.advantages))
    expected = tuple(
        rationals(a.value) + exactly(kl_coef) * rationals(b.value) for a, b in zip(without, alone, strict=True)
    )
    terms = case.judged | {"magnitude": 4 * case.but(kl_coef=max(1.0, abs(kl_coef))).magnitude}
    agree(ask(candidate, operation, case.but(kl_coef=kl_coef)), expected, **terms)
