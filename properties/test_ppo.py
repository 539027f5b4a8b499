"""Properties of proximal policy optimisation (spec/ppo.md)."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx, fmpq_series
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION, nearest
from rlspec.properties.checking import agree, clause, exactly, law, tolerance
from rlspec.properties.clipping import (
    away_from_one,
    exact_exp,
    exact_rows,
    highs,
    lows,
    predictions,
    steps,
    surrogates,
)
from rlspec.properties.closed_forms import limited
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.processes import distributions, fractions
from rlspec.properties.reducing import added_to_a_count, by_row, divisors_of, rows_in, tokens_in
from rlspec.properties.tokens import TOKEN_RATIOS
from rlspec.reference.differentiation import derivatives_in_logits, rational
from rlspec.spec.operations import OPERATIONS

whatever = st.sampled_from([1.0, -3.0, 20.0])

shifts = st.sampled_from([1000.0, -1000.0])


def rationals(array):
    """An array's numbers as rationals."""
    return np.array(exact_rows(array), dtype=object)


def sizes(candidate, mask):
    """n_b of each row [B, 1], by which the candidate divides the terms of ``ppo_loss``."""
    return divisors_of(candidate, "ppo_loss", mask)


def ppo_expected(candidate, batch, objectives, slopes=None):
    """Minus the reduction of the objectives [B, T], and of their derivatives in log r, which they are if not given."""
    divided, moving = sizes(candidate, batch.mask), objectives if slopes is None else slopes
    return -masked(batch, objectives / divided), np.where(batch.mask, -moving / divided, 0)


def smaller_products(batch):
    """min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) of every token, in rationals."""
    ratio, advantage = rationals(batch.ratio), rationals(batch.advantages)
    clipped = ratio.clip(1 - exactly(batch.clip_low), 1 + exactly(batch.clip_high))
    return np.minimum(ratio * advantage, clipped * advantage)


def masked(batch, values):
    """The sum of what the mask counts, exact."""
    return sum(values[batch.mask], Fraction(0))


def times(judged, factor):
    """How far rounding may take what is put together from several answers that large."""
    return {"magnitude": factor * judged["magnitude"], "roundings": 2 * judged["roundings"]}


def moved(batch, shift):
    """The batch with a number added to both log-probabilities."""
    return batch.but(logp=batch.logp + shift, old_logp=batch.old_logp + shift)


def within_clamp(candidate, batch):
    """The batch, ratios that the candidate's clamp holds (PPO-14) being nearer to 1: PPO-15 asks about them."""
    held = [[not limited(candidate, "ppo_loss", exactly(number))[1] for number in row] for row in np.log(batch.ratio)]
    nearer = np.where(batch.ratio > 1, 23, 13 / 2**8)
    return batch.at_ratio(np.where(held, nearer, batch.ratio)) if np.any(held) else batch


def zeros(operation, batch):
    """Zero for each of an operation's results."""
    return tuple(np.zeros(batch.mask.shape if axes else ()) for axes in OPERATIONS[operation].results.values())


# What `ppo_loss` owes.


@clause("PPO-1")
@given(surrogates(dual=False))
def test_the_loss_is_minus_the_mean_of_the_smaller_product(candidate, batch):
    batch = within_clamp(candidate, batch)
    loss, _ = candidate.ppo_loss(*batch.arguments)
    expected, _ = ppo_expected(candidate, batch, smaller_products(batch))
    agree(loss, expected, **batch.judged)


@clause("PPO-2", examples=40)
@given(surrogates(dual=False), shifts)
def test_a_number_added_to_both_log_probabilities_changes_nothing(candidate, batch, shift):
    other = moved(batch, shift)
    plain = candidate.ppo_loss(*batch.arguments)
    agree(candidate.demand(OPERATIONS["ppo_loss"], *other.arguments), plain, **times(other.judged, 2))


@clause("PPO-3")
@given(surrogates(), st.binary(min_size=18, max_size=18))
def test_the_surrogate_moves_with_the_ratios_as_its_derivative_says(candidate, batch, data):
    batch = within_clamp(candidate, batch)
    picked = np.resize(np.frombuffer(data, np.uint8), batch.mask.shape)
    ratios = away_from_one(TOKEN_RATIOS) if 0 in (batch.clip_low, batch.clip_high) else TOKEN_RATIOS
    other = batch.at_ratio(ratios[picked % len(ratios)])
    same_side = (batch.kept == other.kept) & (batch.bounded == other.bounded)
    other = batch.at_ratio(np.where(same_side, other.ratio, batch.ratio))
    loss, slopes = candidate.ppo_loss(*batch.arguments)
    gain = rationals(slopes.value) * (rationals(other.ratio) / rationals(batch.ratio) - 1)
    further, _ = candidate.ppo_loss(*other.arguments)
    judged = times(batch.judged, 1 + float((other.ratio / batch.ratio)[batch.mask].max(initial=1)))
    judged["magnitude"] += other.judged["magnitude"]
    agree(further, exactly(loss.value) + gain.sum(), **judged)


@clause("PPO-4")
@given(surrogates(dual=False))
def test_a_token_has_no_gradient_where_its_ratio_went_too_far_and_else_that_of_its_advantage(candidate, batch):
    batch = within_clamp(candidate, batch)
    _, slopes = candidate.ppo_loss(*batch.arguments)
    for place in np.argwhere(batch.mask):
        token = tuple(place)
        slope, advantage = slopes.value[token], batch.advantages[token]
        signs = np.sign(advantage) * batch.kept[token]
        off = tolerance(magnitude=float(batch.sizes[token]), roundings=8, roundoff=slopes.roundoff)
        has_a_sign = off < abs(advantage) * batch.ratio[token]  # whatever both are divided by
        law(
            abs(slope) <= off if signs == 0 else -signs * slope > 0 or not has_a_sign,
            slopes,
            f"at the ratio {batch.ratio[token]} and the advantage {advantage}, d_logp{place.tolist()} is {slope}",
        )


@clause("PPO-5", examples=40)
@given(surrogates(), lows, highs, st.sampled_from([1, -1]))
def test_a_side_that_no_advantage_pushes_to_has_no_clip(candidate, batch, low, high, sign):
    batch = batch.but(advantages=sign * np.abs(batch.advantages))
    other = batch.but(clip_low=low) if sign > 0 else batch.but(clip_high=high)
    agree(candidate.ppo_loss(*other.arguments), candidate.ppo_loss(*batch.arguments), **times(batch.judged, 1))


@clause("PPO-6", examples=60)
@given(surrogates(dual=False))
def test_the_surrogate_is_not_below_that_without_a_clip(candidate, batch):
    batch = within_clamp(candidate, batch)
    loss, _ = candidate.ppo_loss(*batch.arguments)
    least, _ = ppo_expected(candidate, batch, rationals(batch.ratio) * rationals(batch.advantages))
    allowed = tolerance(roundoff=loss.roundoff, **batch.judged)
    law(loss.value >= least - allowed, loss, f"without a clip the loss is {float(least)}, with one {loss.value}")


@clause("PPO-6", examples=40)
@given(surrogates(dual=False), lows, highs)
def test_a_wider_clip_does_not_make_the_surrogate_larger(candidate, batch, low, high):
    wide = batch.but(clip_low=max(low, batch.clip_low), clip_high=max(high, batch.clip_high))
    loss, _ = candidate.ppo_loss(*batch.arguments)
    less, _ = candidate.ppo_loss(*wide.arguments)
    allowed = 2 * tolerance(roundoff=loss.roundoff, **wide.judged)
    law(less.value <= loss.value + allowed, less, f"with the narrower clip the loss is only {loss.value}")


@clause("PPO-7", examples=60)
@given(surrogates())
def test_at_the_old_policy_the_surrogate_has_the_gradient_of_the_policy_gradient(candidate, batch):
    batch = batch.at_ratio(np.ones(batch.mask.shape)).but(clip_low=0.25, clip_high=0.25)
    expected = ppo_expected(candidate, batch, rationals(batch.advantages))
    agree(candidate.ppo_loss(*batch.arguments), expected, **batch.judged)


@clause("PPO-8", examples=60)
@given(surrogates(dual=False), st.booleans())
def test_where_no_clip_is_reached_the_loss_weighs_advantages_by_ratios(candidate, batch, wide):
    batch = within_clamp(candidate, batch)
    # A clip of any width, as far as no ratio goes; or ratios of any size, where the candidate takes clips so wide.
    inside = (batch.ratio > 1 - batch.clip_low) & (batch.ratio < 1 + batch.clip_high)
    batch = batch.but(clip_low=1.0, clip_high=2.0**23) if wide else batch.but(mask=batch.mask & inside)
    weighed = rationals(batch.ratio) * rationals(batch.advantages)
    agree(candidate.ppo_loss(*batch.arguments), ppo_expected(candidate, batch, weighed), **batch.judged)


@clause("PPO-9", examples=60)
@given(surrogates(), st.sampled_from([2.0, 0.25, 8.0]))
def test_the_surrogate_scales_with_the_advantages(candidate, batch, factor):
    scaled = batch.but(advantages=factor * batch.advantages)
    expected = tuple(Fraction(factor) * rationals(part.value) for part in candidate.ppo_loss(*batch.arguments))
    agree(candidate.ppo_loss(*scaled.arguments), expected, **times(scaled.judged, 1))


@clause("PPO-9", examples=40)
@given(surrogates())
def test_without_advantages_there_is_no_surrogate_and_no_gradient(candidate, batch):
    batch = batch.but(advantages=np.zeros(batch.mask.shape))
    agree(candidate.ppo_loss(*batch.arguments), zeros("ppo_loss", batch), magnitude=0, roundings=1)


def shared(candidate, operation, mask):
    """The number that all of what counts is divided by, besides what a row's own length does."""
    if by_row(candidate, operation):
        return rows_in(candidate, operation, mask)
    return np.ravel(divisors_of(candidate, operation, mask))[0]


def add_up(candidate, operation, batch, bits):
    """Check that n times the results is the sum of that for two masks that share the entries out by those bits.

    Where a row's length matters they share out rows.
    """
    ask = getattr(candidate, operation)
    first = np.array([bits >> place & 1 for place in range(batch.mask.size)], dtype=bool).reshape(batch.mask.shape)
    if by_row(candidate, operation):
        first[:] = first[:, :1]
    total = zeros(operation, batch)
    for mask in (batch.mask & first, batch.mask & ~first):
        n, parts = shared(candidate, operation, mask), ask(*batch.but(mask=mask).arguments)
        total = [so_far + n * rationals(part.value) for so_far, part in zip(total, parts, strict=True)]
    n = shared(candidate, operation, batch.mask)
    agree(ask(*batch.arguments), tuple(part / n for part in total), **times(batch.judged, 2))


@clause("PPO-10", examples=80)
@given(surrogates(dual=False), st.integers(0, 2**18 - 1))
def test_the_tokens_of_two_masks_add_up(candidate, batch, bits):
    batch = within_clamp(candidate, batch)
    first = np.array([bits >> place & 1 for place in range(batch.mask.size)], dtype=bool).reshape(batch.mask.shape)
    products, slopes = smaller_products(batch), rationals(batch.ratio) * rationals(batch.advantages) * batch.kept
    for mask in (batch.mask & first, batch.mask & ~first, batch.mask):
        part = batch.but(mask=mask)
        agree(candidate.ppo_loss(*part.arguments), ppo_expected(candidate, part, products, slopes), **part.judged)


@clause("PPO-11", examples=60)
@given(surrogates(dual=True))
def test_a_bad_tokens_loss_is_bounded_by_the_dual_clip(candidate, batch):
    batch = batch.but(mask=batch.mask & batch.bounded)
    assume(batch.mask.any())
    bounds = exactly(batch.dual_clip) * rationals(batch.advantages)
    agree(candidate.ppo_loss(*batch.arguments), ppo_expected(candidate, batch, bounds, 0 * bounds), **batch.judged)


@clause("PPO-12", examples=60)
@given(surrogates(dual=True))
def test_where_no_dual_clip_acts_the_loss_is_the_one_without(candidate, batch):
    batch = batch.but(mask=batch.mask & ~batch.bounded)
    without = batch.but(dual_clip=None)
    agree(candidate.ppo_loss(*batch.arguments), candidate.ppo_loss(*without.arguments), **times(batch.judged, 1))


EDGE = 0.3
"""A clip whose edges no ratio of eighths lies on."""

MOST = 7 * Fraction(3, 4) * 3 * 6
"""No term is larger: a ratio of eighths, an advantage, the tokens of a completion, and 1 + the two logarithms."""


def expected_slopes(candidate, speech, policy):
    """n d_logp for every completion of a language that `policy` speaks, and the answer that it was read off."""
    advantages = np.array([[float(speech.score(*pair)) - 0.5] for pair in speech.pairs])
    logp, old_logp = speech.logp(speech.policy, junk=-1.0), speech.logp(policy, junk=-1.0)
    advantages = np.broadcast_to(advantages, logp.shape).copy()
    _, slopes = candidate.ppo_loss(logp, old_logp, advantages, speech.mask, EDGE, EDGE, None)
    return sizes(candidate, speech.mask) * rationals(slopes.value), slopes


def derivative(speech, objective):
    """The derivative of an objective(policy) in the logits of every context, in one line."""
    contexts = speech.language.contexts()
    rows = [list(speech.policy[context]) for context in contexts]
    table = derivatives_in_logits(lambda rows: objective(dict(zip(contexts, rows, strict=True))), rows)
    return [number for row in fractions(table) for number in row]


def follows(speech, slopes, answer, speaker, expected):
    """Check that the chain rule takes the derivatives to minus the expected gradient."""
    chained = in_line(speech.gradient(slopes, speaker))
    allowed = tolerance(magnitude=MOST, roundings=24, roundoff=answer.roundoff)
    shown = f"d_logp is {[float(x) for x in chained]} in the logits, the gradient {[float(x) for x in expected]}"
    law(all(abs(x + y) <= allowed for x, y in zip(chained, expected, strict=True)), answer, shown)


@clause("PPO-13", examples=40)
@given(speeches(on_policy=True))
def test_on_policy_the_expected_gradient_is_that_of_the_expected_score(candidate, speech):
    slopes, answer = expected_slopes(candidate, speech, speech.policy)

    def score(policy):
        total = 0
        for prompt, tokens in speech.pairs:
            said = rational(speech.language.prompts[prompt]) * rational(speech.score(prompt, tokens))
            for step, token in enumerate(tokens):
                said = said * policy[prompt, tokens[:step]][token]
            total = total + said
        return total

    follows(speech, slopes, answer, None, derivative(speech, score))


@clause("PPO-13", examples=40)
@given(speeches())
def test_off_policy_the_expected_gradient_is_that_of_the_expected_surrogate(candidate, speech):
    slopes, answer = expected_slopes(candidate, speech, speech.old)
    edges = rational([1 - EDGE, 1 + EDGE])
    chances = dict(zip(speech.pairs, rational(speech.weights(speech.old)), strict=True))

    def surrogate(policy):
        total = 0
        for (prompt, tokens), chance in chances.items():
            advantage = rational(speech.score(prompt, tokens) - Fraction(1, 2))
            for step, token in enumerate(tokens):
                context = prompt, tokens[:step]
                ratio = policy[context][token] / rational(speech.old[context][token])
                total = total + chance * smaller(ratio + fmpq_series([0, 0], prec=2), advantage, edges)
        return total

    follows(speech, slopes, answer, speech.old, derivative(speech, surrogate))


def smaller(ratio, advantage, edges):
    """min(r A, clip(r) A) of a ratio that carries its derivative along."""
    low, high = edges
    clipped = ratio if low <= ratio[0] <= high else fmpq_series([low if ratio[0] < low else high, 0], prec=2)
    return min(ratio * advantage, clipped * advantage, key=lambda product: product[0])


kinds = st.sampled_from([np.float64, np.float32])


def one_far_token(batch, log_ratio, advantage, kind):
    """The batch with a single token of that log-ratio and that advantage, in numbers of that kind."""
    one = np.ones((1, 1), dtype=kind)
    logp, old_logp = min(log_ratio, 0) * one - 1, min(-log_ratio, 0) * one - 1
    return batch.but(mask=one > 0, advantages=advantage * one, logp=logp, old_logp=old_logp)


@clause("PPO-14", "PPO-15", examples=60)
@given(surrogates(), st.sampled_from([1, -1]), st.sampled_from([1.0, -1.0, 3.0, -0.5]), kinds)
def test_a_far_ratio_has_its_due(candidate, batch, side, advantage, kind):
    wide = kind == np.float64 and candidate.precision("ppo_loss") == "float64"
    log_ratio = side * (200.0 if wide else 60.0)
    batch = one_far_token(batch, log_ratio, advantage, kind)
    counts, free = limited(candidate, "ppo_loss", Fraction(log_ratio))
    ratio = exact_exp(counts)
    batch = batch.but(ratio=np.array([[ratio]], dtype=object))
    objective = smaller_products(batch)[0, 0]
    if batch.dual_clip and advantage < 0:
        objective = max(objective, exactly(batch.dual_clip) * exactly(advantage))
    moves = objective == ratio * exactly(advantage) and free
    answer = candidate.demand(OPERATIONS["ppo_loss"], *batch.arguments)
    expected = ppo_expected(candidate, batch, np.array([[objective]]), np.array([[objective if moves else 0]]))
    agree(answer, expected, magnitude=abs(objective) * 202, roundings=9)


@clause("PPO-16", examples=60)
@given(surrogates(), st.sampled_from([1.0, 0.0, 3.0, -1.0]), kinds)
def test_a_ratio_that_no_float_holds_is_limited_all_the_same(candidate, batch, advantage, kind):
    assume(advantage >= 0 or batch.dual_clip)
    batch = one_far_token(batch, 800.0, advantage, kind)
    limit = exactly(batch.dual_clip) if advantage < 0 else 1 + exactly(batch.clip_high)
    answer = candidate.demand(OPERATIONS["ppo_loss"], *batch.arguments)
    expected = ppo_expected(candidate, batch, np.array([[limit * exactly(advantage)]]), np.array([[Fraction(0)]]))
    agree(answer, expected, magnitude=8 * abs(advantage), roundings=9)


# What `value_loss` owes.


def clipped_alone(candidate):
    """Whether the clipped error counts whatever the other is."""
    return candidate.convention("value_loss.clipping") == "clipped only"


def clamped(candidate):
    """Whether the clip is one of squared errors, and not of values."""
    return candidate.convention("value_loss.clipping") == "square at most clip"


def weight(candidate, operation):
    """What squared errors are multiplied with."""
    return Fraction(candidate.convention(f"{operation}.factor"))


def squares(candidate, batch):
    """The squared error of each value, or of its clipped value, or as much as the clip lets count."""
    errors, limited = ((rationals(batch.returns) - value) ** 2 for value in (rationals(batch.values), batch.limited))
    if batch.clip is None:
        return errors
    clipping = candidate.convention("value_loss.clipping")
    of_a_choice = {
        "larger of both": np.maximum(errors, limited),
        "clipped only": limited,
        "square at most clip": np.minimum(errors, np.array(exactly(batch.clip), dtype=object)),
    }
    return of_a_choice[clipping]


def released(candidate, batch):
    """Where the clip decides, and the loss does not move with the value, [B, T]."""
    errors, limited = ((rationals(batch.returns) - value) ** 2 for value in (rationals(batch.values), batch.limited))
    if clamped(candidate):
        return errors > exactly(batch.clip)
    return batch.moved & (clipped_alone(candidate) | (limited > errors))


@clause("PPO-17", "PPO-23")
@given(predictions())
def test_the_value_loss_is_the_mean_square_of_the_error_that_counts(candidate, batch):
    loss, _ = candidate.value_loss(*batch.arguments)
    n, factor = divisors_of(candidate, "value_loss", batch.mask), weight(candidate, "value_loss")
    agree(loss, factor * masked(batch, squares(candidate, batch) / n), **batch.judged)


@clause("PPO-17", examples=40)
@given(predictions())
def test_values_that_are_right_have_no_loss(candidate, batch):
    right = batch.but(values=batch.returns, old_values=batch.returns)
    answer = candidate.value_loss(*right.arguments)
    agree(answer, zeros("value_loss", right), **right.judged)


NUDGE = 2.0**-9
"""Less than a value's distance from its clip's edge, and than it takes to make the other error the larger one; and less
than the distance of an error, a multiple of 1/20, from the root of a clip."""


@clause("PPO-18")
@given(predictions(plain=True), st.integers(0, 2**18 - 1))
def test_the_value_loss_moves_with_the_values_as_its_derivative_says(candidate, batch, bits):
    signs = np.array([1 - 2 * (bits >> place & 1) for place in range(batch.mask.size)]).reshape(batch.mask.shape)
    above, below = (batch.but(values=batch.values + sign * NUDGE * signs) for sign in (1, -1))
    _, slopes = candidate.value_loss(*batch.arguments)
    gain = 2 * Fraction(NUDGE) * (rationals(slopes.value) * signs).sum()
    less, _ = candidate.value_loss(*below.arguments)
    more, _ = candidate.value_loss(*above.arguments)
    agree(more, exactly(less.value) + gain, **times(above.judged, 3))


@clause("PPO-19")
@given(predictions(clipped=True))
def test_a_value_is_let_go_where_its_clipped_error_counts(candidate, batch):
    _, slopes = candidate.value_loss(*batch.arguments)
    errors, flat = rationals(batch.values) - rationals(batch.returns), released(candidate, batch)
    off = tolerance(roundoff=slopes.roundoff, **batch.judged)
    sizes = abs(batch.values) + abs(batch.old_values) + abs(batch.returns) + batch.clip
    for place in np.argwhere(batch.mask):
        step = tuple(place)
        slope, error = slopes.value[step], float(errors[step])
        has_a_sign = tolerance(magnitude=sizes[step], roundings=4, roundoff=slopes.roundoff) < abs(error)
        law(
            abs(slope) <= off if flat[step] else slope * np.sign(error) > 0 or not has_a_sign,
            slopes,
            f"d_values{place.tolist()} is {slope} for the value {batch.values[step]}, once {batch.old_values[step]}, "
            f"and the return {batch.returns[step]}",
        )


@clause("PPO-20", examples=60)
@given(predictions())
def test_the_value_loss_does_not_depend_on_the_sign(candidate, batch):
    other = batch.but(values=-batch.values, old_values=-batch.old_values, returns=-batch.returns)
    loss, slopes = candidate.value_loss(*batch.arguments)
    agree(candidate.value_loss(*other.arguments), (loss, -slopes.value), **times(batch.judged, 1))


@clause("PPO-20", examples=40)
@given(predictions(), st.sampled_from([4.0, -16.0]))
def test_the_value_loss_does_not_depend_on_the_origin(candidate, batch, shift):
    moved = {name: getattr(batch, name) + shift for name in ("values", "old_values", "returns")}
    other = batch.but(**moved)
    agree(candidate.value_loss(*other.arguments), candidate.value_loss(*batch.arguments), **times(other.judged, 2))


@clause("PPO-21", examples=60)
@given(predictions(), st.sampled_from([2.0, 0.5, 8.0]))
def test_errors_count_by_their_square(candidate, batch, factor):
    scaled = {name: factor * getattr(batch, name) for name in ("values", "old_values", "returns")}
    of_the_clip = factor**2 if clamped(candidate) else factor
    other = batch.but(**scaled, clip=batch.clip and of_the_clip * batch.clip)
    loss, slopes = candidate.value_loss(*batch.arguments)
    expected = Fraction(factor) ** 2 * exactly(loss.value), Fraction(factor) * rationals(slopes.value)
    judged = times(other.judged, 1)
    judged["magnitude"] += 64 * batch.judged["magnitude"]
    agree(candidate.value_loss(*other.arguments), expected, **judged)


@clause("PPO-22", examples=60)
@given(predictions(clipped=True))
def test_a_clip_does_not_make_the_value_loss_smaller(candidate, batch):
    assume(candidate.convention("value_loss.clipping") == "larger of both")
    loss, _ = candidate.value_loss(*batch.arguments)
    without, _ = candidate.value_loss(*batch.but(clip=None).arguments)
    allowed = 2 * tolerance(roundoff=loss.roundoff, **batch.judged)
    law(loss.value >= without.value - allowed, loss, f"without the clip the loss is {without.value}")


@clause("PPO-22", examples=40)
@given(predictions(clipped=True))
def test_a_clip_that_no_value_reaches_changes_nothing(candidate, batch):
    reached = released(candidate, batch) if clamped(candidate) else batch.moved
    batch = batch.but(mask=batch.mask & ~reached.astype(bool))
    without = batch.but(clip=None)
    agree(candidate.value_loss(*batch.arguments), candidate.value_loss(*without.arguments), **times(batch.judged, 1))


# What `actor_critic_loss` owes.


def advantages_of(batch):
    """R - V in rationals."""
    return rationals(batch.returns) - rationals(batch.values)


@clause("PPO-24", "PPO-29", examples=60)
@given(steps())
def test_the_actor_critic_loss_is_the_mean_of_its_three_terms(candidate, batch):
    advantage = advantages_of(batch)
    value_coef = exactly(batch.value_coef) * weight(candidate, "actor_critic_loss")
    bonus = exactly(batch.entropy_coef) * rationals(batch.entropies)
    cost = value_coef * advantage**2 - advantage * rationals(batch.logp) - bonus
    expected = masked(batch, cost / divisors_of(candidate, "actor_critic_loss", batch.mask))
    loss, *_ = candidate.actor_critic_loss(*batch.arguments)
    agree(loss, expected, **batch.judged)


def check_derivative(candidate, batch, which, expected):
    """Check one of the derivatives against the sum's, for each step that counts."""
    slopes = candidate.actor_critic_loss(*batch.arguments)[which]
    n = divisors_of(candidate, "actor_critic_loss", batch.mask)
    agree(slopes, np.where(batch.mask, expected / n, 0), **batch.judged)


@clause("PPO-25", examples=60)
@given(steps())
def test_the_critic_learns_from_its_squared_error_alone(candidate, batch):
    factor = 2 * exactly(batch.value_coef) * weight(candidate, "actor_critic_loss")
    check_derivative(candidate, batch, 2, -factor * advantages_of(batch))


@clause("PPO-26", examples=60)
@given(steps())
def test_the_actor_learns_from_its_advantages_alone(candidate, batch):
    check_derivative(candidate, batch, 1, -advantages_of(batch))


@clause("PPO-27", examples=60)
@given(steps())
def test_more_entropy_is_less_loss(candidate, batch):
    bonus = np.full(batch.mask.shape, -exactly(batch.entropy_coef), dtype=object)
    check_derivative(candidate, batch, 3, bonus)


@clause("PPO-28", examples=40)
@given(steps(), st.integers(0, 2**18 - 1))
def test_the_steps_of_two_masks_add_up_in_all_three_terms(candidate, batch, bits):
    add_up(candidate, "actor_critic_loss", batch, bits)


# What `approx_kl` and `clip_fraction` owe.


def logarithms(ratios):
    """The logarithms of rationals, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        exact = [nearest((arb(r.numerator) / r.denominator).log()) for r in map(exactly, np.ravel(ratios))]
    return np.array(exact, dtype=object).reshape(np.shape(ratios))


ESTIMATES = {
    "k1": lambda ratio, logarithm: -logarithm,
    "k2": lambda ratio, logarithm: logarithm**2 / 2,
    "k3": lambda ratio, logarithm: ratio - 1 - logarithm,
}


@clause("PPO-30", examples=40)
@given(surrogates())
def test_a_policy_that_has_not_moved_has_no_divergence(candidate, batch):
    batch = batch.at_ratio(np.ones(batch.mask.shape))
    agree(candidate.approx_kl(*batch.pairs), 0, **batch.kl_judged)


@clause("PPO-31", "PPO-32", examples=60)
@given(surrogates())
def test_the_approximate_divergence_is_the_mean_of_the_estimate(candidate, batch):
    estimate = ESTIMATES[candidate.convention("approx_kl.estimator")]
    terms = estimate(rationals(batch.ratio), logarithms(batch.ratio))
    expected = masked(batch, terms) / tokens_in(candidate, "approx_kl", batch.mask)
    agree(candidate.approx_kl(*batch.pairs), expected, **batch.kl_judged)


@clause("PPO-31", examples=40)
@given(surrogates(), shifts)
def test_only_ratios_count_in_the_approximate_divergence(candidate, batch, shift):
    other = moved(batch, shift)
    same = candidate.approx_kl(*batch.pairs)
    agree(candidate.demand(OPERATIONS["approx_kl"], *other.pairs), same, **times(other.kl_judged, 2))


@clause("PPO-33", examples=60)
@given(surrogates())
def test_the_approximate_divergence_is_not_negative(candidate, batch):
    assume(candidate.convention("approx_kl.estimator") != "k1")
    kl = candidate.approx_kl(*batch.pairs)
    law(kl.value >= -tolerance(roundoff=kl.roundoff, **batch.kl_judged), kl, f"it is {kl.value}")


eighths = st.sampled_from([*distributions(2, 8, 1), *distributions(3, 8, 1)])


@clause("PPO-34", examples=60)
@given(eighths, eighths)
def test_on_average_the_estimate_is_the_divergence_from_the_old_policy(candidate, old, new):
    assume(len(old) == len(new) and candidate.convention("approx_kl.estimator") != "k2")
    old, new = (np.array([exactly(p) for p in row], dtype=object) for row in (old, new))
    said = np.repeat(np.arange(len(old)), [int(8 * p) for p in old])[:, None]
    logp, old_logp = (np.log(row.astype(float))[said] for row in (new, old))
    expected = (old * logarithms(old / new)).sum() * 8 / (8 + added_to_a_count(candidate, "approx_kl"))
    # No ratio is above 7 and no logarithm above 2.1; a term takes three of them, and eight are summed.
    kl = candidate.approx_kl(logp, old_logp, np.ones(logp.shape, dtype=bool))
    agree(kl, expected, magnitude=10 * 6, roundings=16)


@clause("PPO-35", "PPO-36", examples=60)
@given(surrogates(dual=False))
def test_the_clip_fraction_is_the_share_of_tokens_that_it_says_it_counts(candidate, batch):
    if candidate.convention("clip_fraction.counts") == "ratios outside":
        acts = np.clip(batch.ratio, 1 - batch.clip_low, 1 + batch.clip_high) != batch.ratio
    else:
        acts = smaller_products(batch) < rationals(batch.ratio) * rationals(batch.advantages)
    expected = int((acts & batch.mask).sum()) / tokens_in(candidate, "clip_fraction", batch.mask)
    agree(candidate.clip_fraction(*batch.for_fraction), expected, magnitude=1, roundings=batch.count + 4)


@clause("PPO-35", examples=40)
@given(surrogates(), shifts)
def test_only_ratios_count_in_the_clip_fraction(candidate, batch, shift):
    same = candidate.clip_fraction(*batch.for_fraction)
    answer = candidate.demand(OPERATIONS["clip_fraction"], *moved(batch, shift).for_fraction)
    agree(answer, same, magnitude=1, roundings=2 * batch.count + 8)


@clause("PPO-37", examples=40)
@given(surrogates())
def test_no_clip_acts_on_a_policy_that_has_not_moved(candidate, batch):
    batch = batch.at_ratio(np.ones(batch.mask.shape))
    agree(candidate.clip_fraction(*batch.for_fraction), 0, magnitude=0, roundings=1)
