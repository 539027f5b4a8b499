"""Properties of the KL divergence (spec/kl.md)."""

from fractions import Fraction
from itertools import accumulate
from operator import mul

import hypothesis.strategies as st
import numpy as np
from flint import arb, arb_series, ctx, fmpq, fmpq_series
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.properties.checking import agree, clause, exactly, law, tolerance
from rlspec.properties.divergences import (
    MOST_CHOICES,
    Compared,
    compared,
    estimators,
    far_apart,
    loss_terms,
    pairs,
    token_terms,
    vocabularies,
)
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.questions.kl import exact_estimates, exact_loss, middles
from rlspec.properties.reducing import divisors_of
from rlspec.properties.strategies import FAR_LOGITS, LOGITS
from rlspec.properties.tokens import LEAST_CLAMP, Completions, completions, far_token_ratios
from rlspec.reference.choices import shape_of
from rlspec.reference.differentiation import derivatives_in_logits, rational
from rlspec.reference.estimators import CLAMPED, ESTIMATORS, SLOPES
from rlspec.reference.group import expected_gradient_of_groups, group_advantages
from rlspec.reference.kl import (
    divergence,
    divergence_gradient,
    of_tokens,
    sequence_divergence,
)
from rlspec.reference.language import Language, choices, expectation, expected_gradient, probability, score_gradient
from rlspec.reference.logarithms import logarithm
from rlspec.reference.policy_gradient import scored
from rlspec.reference.returns import reward_to_go
from rlspec.spec.operations import OPERATIONS

rationals = np.vectorize(exactly, otypes=[object])

values = st.sampled_from([fmpq(1), fmpq(0), fmpq(-1), fmpq(2), fmpq(1, 2), fmpq(-3, 7)])
logarithms = st.builds(lambda *of: logarithm(dict(zip((2, 3, 5, 7), of, strict=True))), *[values] * 4)
"""Functions with log(xy) = log x + log y and the derivative 1/x: what holds for all of them holds for the logarithm."""


# What the estimates mean, and what their gradients do: theorems, in rationals, without a candidate.


def in_rationals(speech):
    """The language, and the policies that learn, spoke and are kept close to, in flint's rationals."""
    language = Language(rational(speech.language.prompts), speech.language.vocabulary, speech.language.longest)
    return language, *(
        {c: rational(row) for c, row in of.items()} for of in (speech.policy, speech.old, speech.reference)
    )


def derivative(policy, objective):
    """The derivative of any objective(policy) with respect to the logits of every context, by truncated series."""
    rows = derivatives_in_logits(lambda rows: objective(dict(zip(policy, rows, strict=True))), list(policy.values()))
    return dict(zip(policy, rows, strict=True))


def tokenwise(language, policy, speaker, distance):
    """The derivative of the mean of distance(policy, context) over the contexts that a speaker meets, come what may."""
    met = {(x, y): language.prompts[x] * probability(speaker, x, y) for x, y in policy}
    return derivative(policy, lambda new: sum(often * distance(new, c) for c, often in met.items()))


def less(left, right):
    """The difference of two gradients."""
    return {c: [x - y for x, y in zip(row, right[c], strict=True)] for c, row in left.items()}


def total(credit):
    """The sum over a completion."""
    return lambda prompt, tokens: sum(credit(prompt, tokens))


@clause("KL-6", examples=40)
@given(speeches(), logarithms)
def test_the_divergence_of_completions_is_the_mean_sum_of_those_of_their_tokens(speech, log):
    language, policy, _, reference = in_rationals(speech)

    def of_contexts(prompt, tokens):
        return sum(divergence(policy[c], reference[c], log) for c, _ in choices(prompt, tokens))

    whole = sequence_divergence(language, policy, reference, log)
    assert whole == expectation(language, policy, of_contexts)
    for estimator in ("k1", "k3"):
        assert whole == expectation(language, policy, total(of_tokens(ESTIMATORS, policy, reference, estimator, log)))


@clause("KL-7", examples=40)
@given(vocabularies(), st.lists(st.integers(-9, 9), min_size=MOST_CHOICES, max_size=MOST_CHOICES))
def test_the_mean_of_k2_is_the_divergence_to_second_order_and_off_by_a_cube_in_the_third(pair, drawn):
    policy = rational(pair[0])
    mean = sum(map(mul, policy, drawn))
    change = [number - mean for number in drawn[: len(policy)]]
    log_ratios = [-(fmpq_series([1, number], prec=4)).log() for number in change]
    reverse, half_square = (
        sum((p * ESTIMATORS[name](x, 0) for p, x in zip(policy, log_ratios, strict=True)), fmpq_series([0], prec=4))
        for name in ("k1", "k2")
    )
    second, third = (sum(p * number**n for p, number in zip(policy, change, strict=True)) for n in (2, 3))
    assert [reverse[n] for n in range(3)] == [half_square[n] for n in range(3)] == [0, 0, second / 2]
    assert reverse[3] - half_square[3] == third / 6


@clause("KL-14", examples=40)
@given(speeches(on_policy=True), logarithms)
def test_on_average_k1_k2_and_k3_have_no_gradient_that_of_the_reverse_and_that_of_the_forward_kl(speech, log):
    language, policy, _, reference = in_rationals(speech)
    k1, k2, k3 = (
        expected_gradient(language, policy, of_tokens(SLOPES, policy, reference, name, log)) for name in ESTIMATORS
    )
    assert not any(in_line(k1))
    assert k2 == tokenwise(language, policy, policy, lambda new, c: divergence(new[c], reference[c], log))
    assert k3 == tokenwise(language, policy, policy, lambda new, c: divergence(reference[c], new[c], log))


@clause("KL-15", examples=40)
@given(speeches(), logarithms)
def test_with_its_ratio_differentiated_or_for_k2_as_a_weight_each_follows_the_reverse_kl(speech, log):
    language, policy, old, reference = in_rationals(speech)
    reverse = tokenwise(language, policy, old, lambda new, c: divergence(new[c], reference[c], log))
    for name in ESTIMATORS:

        def product_rule(prompt, tokens, name=name):
            ratios = [policy[c][token] / old[c][token] for c, token in choices(prompt, tokens)]
            slopes = of_tokens(SLOPES, policy, reference, name, log)(prompt, tokens)
            moved = (
                [0] * len(tokens)
                if name == "k2"
                else of_tokens(ESTIMATORS, policy, reference, name, log)(prompt, tokens)
            )
            return [ratio * (x + y) for ratio, x, y in zip(ratios, slopes, moved, strict=True)]

        assert expected_gradient(language, policy, product_rule, old) == reverse


def to_go(credit):
    """Every token credited with its own and those that follow."""
    return lambda *pair: reward_to_go(credit(*pair), 1)


@clause("KL-16", examples=40)
@given(speeches(on_policy=True), logarithms)
def test_k1_in_the_reward_has_the_gradient_of_the_divergence_of_completions(speech, log):
    language, policy, _, reference = in_rationals(speech)
    k1 = of_tokens(ESTIMATORS, policy, reference, "k1", log)
    gradient = derivative(policy, lambda new: sequence_divergence(language, new, reference, log))
    assert score_gradient(language, policy, total(k1)) == gradient
    assert expected_gradient(language, policy, to_go(k1)) == gradient


@clause("KL-26", examples=15)
@given(speeches(on_policy=True), logarithms, st.sampled_from([fmpq(1), fmpq(1, 3)]))
def test_compared_within_a_group_k1_keeps_the_gradient_of_the_divergence(speech, log, beta):
    language, policy, _, reference = in_rationals(speech)
    k1 = total(of_tokens(ESTIMATORS, policy, reference, "k1", log))

    def score(prompt, tokens):
        return rational([speech.score(prompt, tokens)])[0]

    scored_alone = in_line(score_gradient(language, policy, score))
    penalty = in_line(derivative(policy, lambda new: sequence_divergence(language, new, reference, log)))
    for baseline, part in (("leave-one-out", fmpq(1)), ("mean", fmpq(1, 2))):

        def compared_with(prompt, company, baseline=baseline):
            paid = [score(prompt, tokens) - beta * k1(prompt, tokens) for tokens in company]
            return group_advantages(paid, [0, 0], baseline, "none")

        found = in_line(expected_gradient_of_groups(language, policy, 2, compared_with))
        assert found == [part * (slope - beta * other) for slope, other in zip(scored_alone, penalty, strict=True)]


@clause("KL-17", examples=40)
@given(speeches(on_policy=True), logarithms)
def test_what_a_loss_of_tokens_own_kl_misses_is_the_kl_that_they_lead_to(speech, log):
    language, policy, _, reference = in_rationals(speech)
    k1 = of_tokens(ESTIMATORS, policy, reference, "k1", log)
    own = expected_gradient(language, policy, k1)
    assert own == tokenwise(language, policy, policy, lambda new, c: divergence(new[c], reference[c], log))
    later = expected_gradient(
        language, policy, lambda *pair: [x - y for x, y in zip(to_go(k1)(*pair), k1(*pair), strict=True)]
    )
    assert later == less(derivative(policy, lambda new: sequence_divergence(language, new, reference, log)), own)


@clause("KL-18", examples=40)
@given(speeches(on_policy=True), logarithms)
def test_k3_in_the_reward_is_k1_in_the_reward_less_the_forward_kl(speech, log):
    language, policy, _, reference = in_rationals(speech)
    k3 = of_tokens(ESTIMATORS, policy, reference, "k3", log)
    reverse = derivative(policy, lambda new: sequence_divergence(language, new, reference, log))
    forward = tokenwise(language, policy, policy, lambda new, c: divergence(reference[c], new[c], log))
    assert expected_gradient(language, policy, to_go(k3)) == less(reverse, forward)


@clause("KL-19", examples=40)
@given(speeches(), logarithms)
def test_weighed_by_the_ratios_before_them_k1s_of_another_policy_have_the_gradient(speech, log):
    language, policy, old, reference = in_rationals(speech)
    k1 = of_tokens(ESTIMATORS, policy, reference, "k1", log)

    def weighed(prompt, tokens):
        ratios = accumulate((policy[c][token] / old[c][token] for c, token in choices(prompt, tokens)), mul)
        return [ratio * k for ratio, k in zip(ratios, k1(prompt, tokens), strict=True)]

    gradient = derivative(policy, lambda new: sequence_divergence(language, new, reference, log))
    assert expected_gradient(language, policy, to_go(weighed), old) == gradient


# What `kl_estimate` owes.


def estimate(candidate, drawn, estimator):
    """The candidate's estimates."""
    return candidate.kl_estimate(drawn.logp, drawn.ref_logp, estimator)


def most(candidate, operation, estimator):
    """How far from zero the candidate's clamp lets an estimate be."""
    shape, limit = shape_of(candidate.convention(f"{operation}.clamp"), *CLAMPED)
    return limit if estimator in CLAMPED[shape] else float("inf")


def clamps(candidate, operation, number, estimator):
    """Whether the candidate's clamp acts on an estimate that is this number."""
    return abs(number) > LEAST_CLAMP and abs(number) > most(candidate, operation, estimator)


def clamped(candidate, operation, number, estimator):
    """The number as the candidate's clamp leaves it."""
    if not clamps(candidate, operation, number, estimator):
        return number
    limit = most(candidate, operation, estimator)
    return max(-limit, min(number, limit))


def backwards(drawn):
    """Policy and reference in each other's place."""
    return Compared(drawn.ref_logp, drawn.logp)


@clause("KL-1")
@given(compared())
def test_k1_is_the_difference_of_the_log_probabilities(candidate, drawn):
    exact = np.vectorize(lambda x: clamped(candidate, "kl_estimate", x, "k1"), otypes=[object])
    expected = exact(rationals(drawn.logp) - rationals(drawn.ref_logp))
    agree(estimate(candidate, drawn, "k1"), expected, **drawn.judged("k1"))


@clause("KL-1", examples=60)
@given(compared())
def test_k1_the_other_way_round_is_its_negative(candidate, drawn):
    there, back = (estimate(candidate, each, "k1") for each in (drawn, backwards(drawn)))
    agree(back, -there.value, **drawn.judged("k1"))


@clause("KL-2")
@given(compared())
def test_k2_is_half_the_square_of_the_difference(candidate, drawn):
    exact = np.vectorize(lambda x: clamped(candidate, "kl_estimate", x * x / 2, "k2"), otypes=[object])
    expected = exact(rationals(drawn.logp) - rationals(drawn.ref_logp))
    agree(estimate(candidate, drawn, "k2"), expected, **drawn.judged("k2"))


@clause("KL-2", examples=60)
@given(compared())
def test_k2_the_other_way_round_is_the_same(candidate, drawn):
    there, back = (estimate(candidate, each, "k2") for each in (drawn, backwards(drawn)))
    agree(back, there, **drawn.judged("k2"))


@clause("KL-3")
@given(compared(np.log([1, 2, 0.5, 4, 0.25, 3, 1.5, 0.125])))
def test_k3_there_and_back_add_up_to_the_ratio_and_its_inverse_less_two(candidate, drawn):
    with ctx.workprec(PRECISION):
        pairs = zip(balls(drawn.logp), balls(drawn.ref_logp), strict=True)
        log_ratios = [[x - y for x, y in zip(*row, strict=True)] for row in pairs]
        expected = middles([[x.exp() + (-x).exp() - 2 for x in row] for row in log_ratios])
    both = (drawn, backwards(drawn))
    there, back = (estimate(candidate, each, "k3") for each in both)
    judged = drawn.judged("k3") | {"magnitude": sum(each.judged("k3")["magnitude"] for each in both)}
    agree(there, rationals(expected) - rationals(back.value), **judged)


@clause("KL-3")
@given(compared())
def test_k3_is_the_inverse_ratio_less_one_less_its_logarithm(candidate, drawn):
    expected = exact_estimates(drawn, "k3", candidate.convention("kl_estimate.clamp"))
    agree(estimate(candidate, drawn, "k3"), expected, **drawn.judged("k3"))


@clause("KL-4", examples=60)
@given(compared(), estimators)
def test_equal_log_probabilities_have_the_estimate_zero(candidate, drawn, estimator):
    same = Compared(drawn.logp, drawn.logp)
    agree(estimate(candidate, same, estimator), np.zeros(drawn.logp.shape), **same.judged(estimator))


@clause("KL-4", examples=60)
@given(compared(), st.sampled_from(["k2", "k3"]))
def test_k2_and_k3_are_not_negative(candidate, drawn, estimator):
    answer = estimate(candidate, drawn, estimator)
    judged = drawn.judged(estimator)
    rounding = {"roundings": judged["roundings"], "roundoff": answer.roundoff}
    allowed = np.vectorize(lambda terms: tolerance(magnitude=terms, **rounding), otypes=[object])(judged["magnitude"])
    law((rationals(answer.value) >= -allowed).all(), answer, f"an estimate by {estimator} is negative")


@clause("KL-5")
@given(vocabularies(), st.sampled_from(["k1", "k3"]))
def test_over_the_vocabulary_k1_and_k3_mean_the_divergence(candidate, pair, estimator):
    drawn = Compared(*(np.log([[float(p) for p in row]]) for row in pair))
    answer = estimate(candidate, drawn, estimator)
    with ctx.workprec(PRECISION):
        expected = nearest(sum((x * (x / y).log() for x, y in zip(*map(balls, pair), strict=True)), arb(0)))
    mean = sum(map(mul, pair[0], rationals(answer.value[0])))
    # The logarithms that are passed are rounded too.
    judged = drawn.judged(estimator)
    allowed = tolerance(
        magnitude=float(judged["magnitude"].max()), roundings=judged["roundings"] + 2, roundoff=answer.roundoff
    )
    message = f"the mean under {[str(p) for p in pair[0]]} is {float(mean)}, the divergence {float(expected)}"
    law(abs(mean - expected) <= allowed, answer, message)


@clause("KL-1", "KL-2", "KL-3", examples=40)
@given(compared(), estimators, st.sampled_from([1000.0, -1000.0]))
def test_only_the_difference_of_the_log_probabilities_counts(candidate, drawn, estimator, shift):
    other = Compared(drawn.logp + shift, drawn.ref_logp + shift)
    judged = other.judged(estimator) | {"roundings": 2 * other.judged(estimator)["roundings"]}
    same = estimate(candidate, drawn, estimator)
    agree(candidate.demand(OPERATIONS["kl_estimate"], other.logp, other.ref_logp, estimator), same, **judged)


@clause("KL-9")
@given(far_apart(), estimators)
def test_far_apart_estimates_are_those_that_the_formula_says(candidate, drawn, estimator):
    narrow = candidate.precision("kl_estimate") != "float64"  # and holds exp(80) at most
    if narrow and drawn.logp.dtype == np.float64:
        drawn = Compared(drawn.logp, drawn.logp - 0.4 * (drawn.logp - drawn.ref_logp))
    answer = candidate.demand(OPERATIONS["kl_estimate"], drawn.logp, drawn.ref_logp, estimator)
    expected = exact_estimates(drawn, estimator, candidate.convention("kl_estimate.clamp"))
    agree(answer, expected, **drawn.judged(estimator))


# What `kl_divergence` owes.


def bregman(logits, reference):
    """A(phi) - A(theta) - (phi - theta) grad A(theta), with A = log sum exp and the largest logit taken off."""
    theta, phi = (shifted(row) for row in (logits, reference))
    total = sum((x.exp() for x in theta), theta[0] * 0)
    return (
        sum((y.exp() for y in phi), phi[0] * 0).log()
        - total.log()
        - sum(((y - x) * x.exp() for x, y in zip(theta, phi, strict=True)), theta[0] * 0) / total
    )


def shifted(row):
    """The numbers of a row, which may be series, less the largest of them."""
    largest = max(row, key=lambda x: x[0] if isinstance(x, arb_series) else x)
    return [x - (largest[0] if isinstance(largest, arb_series) else largest) for x in row]


def slope(logits, reference, place):
    """The derivative of that form in one of the policy's logits, by truncated power series."""
    series = [arb_series([x, int(a == place)], prec=2) for a, x in enumerate(logits)]
    return bregman(series, [arb_series([y, 0], prec=2) for y in reference])[1]


@clause("KL-10")
@given(pairs(LOGITS))
def test_the_divergence_is_that_of_log_sum_exp_from_the_policys_logits_to_the_references(candidate, drawn):
    with ctx.workprec(PRECISION):
        rows = zip(*map(balls, drawn.arrays), strict=True)
        expected = [nearest(bregman(*row)) for row in rows]
    value, _ = candidate.kl_divergence(*drawn.arrays)
    agree(value, expected, **drawn.judged)


@clause("KL-10", examples=60)
@given(pairs(LOGITS), st.sampled_from([1.0, -4.0, 0.0]), st.sampled_from([4.0, -(2.0**20)]))
def test_raising_all_logits_of_either_leaves_the_divergence_as_it_is(candidate, drawn, ours, theirs):
    raised = drawn.but(logits=drawn.logits + ours, ref_logits=drawn.ref_logits + theirs)
    judged = {name: most + raised.judged[name] for name, most in drawn.judged.items()}
    agree(candidate.kl_divergence(*raised.arrays), candidate.kl_divergence(*drawn.arrays), **judged)


@clause("KL-10", examples=60)
@given(pairs(LOGITS))
def test_the_divergence_is_zero_from_itself_and_never_negative(candidate, drawn):
    value, _ = candidate.kl_divergence(*drawn.arrays)
    allowed = tolerance(roundoff=value.roundoff, **drawn.judged)
    law((rationals(value.value) >= -allowed).all(), value, "a divergence is negative")
    same = drawn.but(ref_logits=drawn.logits)
    nothing = np.zeros(len(drawn.logits)), np.zeros(drawn.logits.shape)
    agree(candidate.kl_divergence(*same.arrays), nothing, **same.judged)


@clause("KL-11")
@given(pairs(LOGITS))
def test_the_second_result_is_the_derivative_of_the_divergence(candidate, drawn):
    with ctx.workprec(PRECISION):
        rows = zip(*map(balls, drawn.arrays), strict=True)
        expected = middles([[slope(ours, theirs, place) for place in range(len(ours))] for ours, theirs in rows])
    _, slopes = candidate.kl_divergence(*drawn.arrays)
    agree(slopes, expected, **drawn.judged)


@clause("KL-12")
@given(pairs(FAR_LOGITS))
def test_far_logits_have_the_divergence_and_the_derivative_that_the_formula_says(candidate, drawn):
    with ctx.workprec(PRECISION):
        rows = list(zip(*map(balls, drawn.arrays), strict=True))
        expected = (
            [nearest(bregman(*row)) for row in rows],
            middles([[slope(ours, theirs, place) for place in range(len(ours))] for ours, theirs in rows]),
        )
    agree(candidate.demand(OPERATIONS["kl_divergence"], *drawn.arrays), expected, **drawn.judged)


@clause("KL-13")
@given(pairs(LOGITS), st.binary(min_size=MOST_CHOICES, max_size=MOST_CHOICES), st.booleans())
def test_minus_infinity_is_as_good_as_a_thousand_below(candidate, drawn, data, both):
    assume(drawn.logits.shape[1] > 1)
    hidden = np.resize(np.unpackbits(np.frombuffer(data, np.uint8)), drawn.logits.shape) > 0
    hidden[:, 0] &= ~hidden.all(axis=1)

    def lowered(by):
        theirs = np.where(hidden & both, by, drawn.ref_logits)
        return drawn.but(logits=np.where(hidden, by, drawn.logits), ref_logits=theirs)

    low = lowered(-1000.0)
    answer = candidate.demand(OPERATIONS["kl_divergence"], *lowered(-np.inf).arrays)
    agree(answer, candidate.kl_divergence(*low.arrays), **low.judged)


@clause("OPS-2", examples=40)
@given(pairs(LOGITS))
def test_impossible_actions_are_left_impossible(candidate, drawn):
    impossible = drawn.logits < 0
    impossible[:, 0] &= ~impossible.all(axis=1)
    value, _ = candidate.kl_divergence(np.where(impossible, -np.inf, drawn.logits), drawn.ref_logits)
    law(not value.modified, value, f"kl_divergence wrote to its argument {' and '.join(value.modified)}")


# What `kl_loss` owes.


def arguments(batch, estimator):
    """The arguments of ``kl_loss``, in order."""
    return batch.logp, batch.ref_logp, batch.old_logp, batch.mask, estimator


def answered(candidate, batch, estimator):
    """The candidate's loss and its derivatives."""
    return candidate.kl_loss(*arguments(batch, estimator))


def sizes(candidate, mask):
    """What the candidate divides each token's term by, [B, 1], as it declares or was found to do."""
    return divisors_of(candidate, "kl_loss", mask)


def of_each_token(batch, function):
    """function(log-ratio, log importance ratio) of the tokens that count, to hundreds of bits; 0 of the others."""
    table = np.full(batch.mask.shape, Fraction(0))
    with ctx.workprec(PRECISION):
        for place in np.argwhere(batch.mask):
            logp, ref_logp, old_logp = (balls(a[tuple(place)]) for a in (batch.logp, batch.ref_logp, batch.old_logp))
            table[tuple(place)] = nearest(function(logp - ref_logp, logp - old_logp))
    return table


def weighed(candidate):
    """Whether the loss has the importance ratio in its value, and whether it has it in its derivative."""
    form = candidate.convention("kl_loss.form")
    return form == "importance weighted", form in ("importance weighted", "weighted straight through")


@clause("KL-20")
@given(completions(), estimators)
def test_the_loss_is_the_mean_of_ratio_times_estimate(candidate, batch, estimator):
    ratio_counts, _ = weighed(candidate)

    def term(log_ratio, log_importance):
        inverse = (-log_ratio).exp()
        k = {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": inverse - 1 - inverse.log()}[estimator]
        k = clamped(candidate, "kl_loss", k, estimator)
        return log_importance.exp() * k if ratio_counts else k

    loss, _ = answered(candidate, batch, estimator)
    expected = (of_each_token(batch, term) / sizes(candidate, batch.mask)).sum()
    agree(loss, expected, **loss_terms(batch, estimator))


@clause("KL-20", examples=60)
@given(completions(), estimators, st.sampled_from([-1.0, 2.0, -1000.0]))
def test_only_ratios_count(candidate, batch, estimator, shift):
    other = batch.but(logp=batch.logp + shift, ref_logp=batch.ref_logp + shift, old_logp=batch.old_logp + shift)
    judged = {name: most + loss_terms(other, estimator)[name] for name, most in loss_terms(batch, estimator).items()}
    same = answered(candidate, batch, estimator)
    agree(candidate.demand(OPERATIONS["kl_loss"], *arguments(other, estimator)), same, **judged)


@clause("KL-20")
@given(completions(), estimators, st.integers(1, 2))
def test_the_loss_of_a_batch_is_the_mean_of_its_parts_by_what_they_count(candidate, batch, estimator, first):
    assume(len(batch.mask) > first)
    losses, slopes, whole = [], [], sizes(candidate, batch.mask)
    for rows in np.split(np.arange(len(batch.mask)), [first]):
        part = batch.rows(rows)
        # A row's divisor in the batch is that in its part times the same number for each of its rows with a token.
        shares = (sizes(candidate, part.mask) / whole[rows])[:, 0]
        loss, slope = answered(candidate, part, estimator)
        losses.append(max(shares[part.mask.any(axis=1)], default=0) * exactly(loss.value))
        slopes.append(shares[:, None] * rationals(slope.value))
    judged = loss_terms(batch, estimator)
    expected = sum(losses), np.concatenate(slopes)
    agree(answered(candidate, batch, estimator), expected, **judged | {"magnitude": 3 * judged["magnitude"]})


@clause("KL-21", "KL-22")
@given(completions(), estimators)
def test_the_second_result_is_the_derivative_that_the_form_names(candidate, batch, estimator):
    form, (_, ratio_counts) = candidate.convention("kl_loss.form"), weighed(candidate)
    differentiated = "k2" if "straight through" in form else estimator

    def derivative(log_ratio, log_importance):
        x, y = (arb_series([number, 1], prec=2) for number in (log_ratio, log_importance))
        k = {"k1": x, "k2": x * x / 2, "k3": (-x).exp() - 1 + x}[differentiated]
        if "straight through" not in form and clamps(candidate, "kl_loss", k[0], estimator):
            k = arb_series([clamped(candidate, "kl_loss", k[0], estimator), 0], prec=2)
        moves = form == "importance weighted" and estimator != "k2"
        ratio = y.exp() if moves else log_importance.exp()
        return (ratio * k if ratio_counts else k)[1]

    _, slopes = answered(candidate, batch, estimator)
    expected = of_each_token(batch, derivative) / sizes(candidate, batch.mask)
    agree(slopes, expected, **loss_terms(batch, estimator))


def reverse_gradient(policy, reference):
    """grad KL(pi||ref), in one context, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        return middles(divergence_gradient(balls(policy), balls(reference), arb.log))


def plain_gradient(policy, old, reference, estimator):
    """E_mu[k' psi], in one context, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        ours, spoken, theirs = balls([policy, old, reference])
        credit = {
            "k1": spoken,
            "k2": [m * (p / r).log() for p, m, r in zip(ours, spoken, theirs, strict=True)],
            "k3": [m * (1 - r / p) for p, m, r in zip(ours, spoken, theirs, strict=True)],
        }[estimator]
        return middles(scored([ours], [credit])[0])


def follows(candidate, speech, estimator, direction):
    """Check that the loss's expected gradient is that of a direction(policy, old, reference) in each context."""
    logp, ref_logp, old_logp = (speech.logp(of) for of in (speech.policy, speech.reference, speech.old))
    batch = Completions(speech.mask, logp, old_logp, ref_logp, np.zeros(logp.shape))
    _, slopes = answered(candidate, batch, estimator)
    received = speech.gradient(rationals(slopes.value) * sizes(candidate, batch.mask), speech.old)
    expected = {
        (x, y): [
            speech.language.prompts[x] * probability(speech.old, x, y) * number
            for number in direction(*(of[x, y] for of in (speech.policy, speech.old, speech.reference)))
        ]
        for x, y in received
    }
    # No component of a score exceeds 1; the logarithms that are passed are rounded too.
    largest = speech.mask.shape[1] * float(token_terms(batch, estimator).max())
    allowed = tolerance(magnitude=largest, roundings=30, roundoff=slopes.roundoff)
    got, wanted = ({str(c): [float(x) for x in row] for c, row in of.items()} for of in (received, expected))
    off = max(abs(x - y) for x, y in zip(in_line(received), in_line(expected), strict=True))
    law(off <= allowed, slopes, f"by context the expected gradient is {got}, and should be {wanted}")


@clause("KL-23")
@given(speeches(on_policy=True), estimators)
def test_for_the_policys_own_tokens_the_loss_follows_the_divergence_of_its_form(candidate, speech, estimator):
    plain = candidate.convention("kl_loss.form") == "plain"

    def direction(policy, old, reference):
        if plain and estimator == "k1":
            return [0] * len(policy)
        if plain and estimator == "k3":
            return [p - r for p, r in zip(policy, reference, strict=True)]
        return reverse_gradient(policy, reference)

    follows(candidate, speech, estimator, direction)


@clause("KL-23")
@given(speeches(), estimators)
def test_for_the_tokens_of_another_policy_the_ratio_makes_it_the_reverse_kl(candidate, speech, estimator):
    form, (_, ratio_counts) = candidate.convention("kl_loss.form"), weighed(candidate)
    own = estimator if form == "plain" else "k2"

    def direction(policy, old, reference):
        return reverse_gradient(policy, reference) if ratio_counts else plain_gradient(policy, old, reference, own)

    follows(candidate, speech, estimator, direction)


@clause("KL-24")
@given(completions(ratios=far_token_ratios), estimators)
def test_far_apart_the_loss_and_its_gradient_are_those_that_the_formula_says(candidate, batch, estimator):
    assume(batch.mask.any())
    # The reference is drawn up to 400 away.  Float32 holds exp(88): a ratio of exp(6) times an estimate of exp(72).
    nearer, ratio = (0.5, 1) if candidate.precision("kl_loss") == "float64" else (0.18, 0.03)
    logp = batch.logp
    batch = batch.but(ref_logp=logp - nearer * (logp - batch.ref_logp), old_logp=logp - ratio * (logp - batch.old_logp))
    answer = candidate.demand(OPERATIONS["kl_loss"], *arguments(batch, estimator))
    by = {name.rpartition(".")[2]: choice for name, choice in candidate.conventions("kl_loss").items()}
    agree(answer, exact_loss(batch, estimator, **by), **loss_terms(batch, estimator))


@clause("KL-25", examples=40)
@given(completions(ratios=far_token_ratios), estimators, st.sampled_from([1, -1]))
def test_what_is_clamped_is_held_where_no_float_holds_it(candidate, batch, estimator, sign):
    assume(batch.mask.any())
    is_clamped = most(candidate, "kl_loss", estimator) < float("inf")
    log_ratio = sign * (800.0 if is_clamped else 7.0)  # no float is exp(800), and exp(7) is 1097
    apart = batch.but(ref_logp=batch.logp - log_ratio, old_logp=batch.logp)
    answer = candidate.demand(OPERATIONS["kl_loss"], *arguments(apart, estimator))
    by = {name.rpartition(".")[2]: choice for name, choice in candidate.conventions("kl_loss").items()}
    agree(answer, exact_loss(apart, estimator, **by), magnitude=2000 * batch.mask.sum(), roundings=batch.mask.size + 16)
