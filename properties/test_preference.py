"""Properties of preferences (spec/preference.md)."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from flint import arb, arb_series, ctx
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION, nearest
from rlspec.properties.checking import agree, clause, coarser, exactly, first_miss, law, tolerance
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.preferences import FAR_LOGPS, LOSSES, POLYNOMIALS, preferences
from rlspec.properties.reducing import divisors_of
from rlspec.properties.tokens import completions
from rlspec.reference.language import probability
from rlspec.reference.preference import implicit_worth, population_gradient, preferred, tilted
from rlspec.spec.operations import OPERATIONS

LIKELIHOODS = ("orpo_loss", "rpo_loss")
every_loss = pytest.mark.parametrize("operation", LOSSES)
shifts = st.sampled_from([1.0, -2.0, 64.0, -0.5])
whole_betas = st.sampled_from([1, 2, 3])
pairs = preferences(all_valid=True)


# What preferences say: theorems, in rationals where no logarithm is needed.


def worth_of(speech):
    """exp(r / beta) of every completion: 16 for what is right, 1 for what is wrong, 1/2 for saying nothing."""
    return lambda prompt, tokens: Fraction(2) ** int(4 * speech.score(prompt, tokens))


def divergence(language, policy, other):
    """KL(policy || other), to hundreds of bits."""
    return sum(
        ball(language.prompts[prompt] * probability(policy, prompt, tokens))
        * ball(probability(policy, prompt, tokens) / probability(other, prompt, tokens)).log()
        for prompt, tokens in language.pairs()
    )


def ball(number):
    """A rational as a ball around it."""
    number = Fraction(number)
    return arb(number.numerator) / number.denominator


@clause("PREF-1", examples=40)
@given(speeches())
def test_another_policy_falls_short_of_the_tilted_one_by_its_divergence_from_it(speech):
    language, reference, worth = speech.language, speech.reference, worth_of(speech)
    best = tilted(language, reference, worth)

    def objective(policy):
        return -divergence(language, policy, reference) + sum(
            ball(weight) * ball(worth(*pair)).log()
            for weight, pair in zip(speech.weights(policy), speech.pairs, strict=True)
        )

    with ctx.workprec(PRECISION):
        missing = objective(best) - objective(speech.policy) - divergence(language, speech.policy, best)
        assert abs(nearest(missing)) < Fraction(1, 2**200)


@clause("PREF-2", examples=60)
@given(speeches())
def test_a_worth_and_what_the_best_policy_stands_for_differ_by_a_factor_for_each_prompt(speech):
    best = tilted(speech.language, speech.reference, worth_of(speech))
    factors = {
        (prompt, worth_of(speech)(prompt, tokens) / implicit_worth(best, speech.reference, 1, prompt, tokens))
        for prompt, tokens in speech.pairs
    }
    assert len(factors) == len(speech.language.prompts)


@clause("PREF-2", examples=60)
@given(speeches(), st.sampled_from([Fraction(7), Fraction(1, 3)]))
def test_a_factor_for_each_prompt_leaves_the_best_policy_as_it_is(speech, factor):
    worth = worth_of(speech)
    scaled = tilted(speech.language, speech.reference, lambda prompt, tokens: factor**prompt * worth(prompt, tokens))
    assert scaled == tilted(speech.language, speech.reference, worth)


@clause("PREF-3", examples=25)
@given(speeches(), whole_betas)
def test_the_gradient_of_the_likelihood_is_zero_at_the_best_policy(speech, beta):
    worth = worth_of(speech)
    best = tilted(speech.language, speech.reference, worth)

    def of_reward(prompt, tokens):
        return worth(prompt, tokens) ** beta

    gradient = population_gradient(speech.language, best, speech.reference, beta, of_reward, speech.old)
    assert not any(in_line(gradient))


@clause("PREF-3", examples=25)
@given(speeches())
def test_the_gradient_of_the_likelihood_is_zero_at_no_other_policy(speech):
    worth = worth_of(speech)
    best = tilted(speech.language, speech.reference, worth)
    gradient = population_gradient(speech.language, speech.policy, speech.reference, 1, worth, speech.old)
    assert any(in_line(gradient)) == (speech.policy != best)


# The probability of an answer.


@clause("PREF-4", examples=60)
@given(speeches())
def test_the_probabilities_of_all_answers_to_a_prompt_add_up_to_one(candidate, speech):
    token_logp = speech.logp(speech.policy)
    answer = candidate.completion_logp(token_logp, speech.mask)
    with ctx.workprec(PRECISION):
        chances = [nearest(arb(number).exp()) for number in answer.value.tolist()]
    for prompt in range(len(speech.language.prompts)):
        rows = [row for row, (asked, _) in enumerate(speech.pairs) if asked == prompt]
        total = sum((chances[row] for row in rows), Fraction(0))
        # The error of a logarithm is the relative error of its exponential.
        sizes = (chances[row] * (1 + exactly(abs(token_logp[row]).sum())) for row in rows)
        allowed = tolerance(magnitude=sum(sizes), roundings=token_logp.shape[1] + 4, roundoff=answer.roundoff)
        message = f"the probabilities of all answers to prompt {prompt} add up to {float(total):.6g}, not to 1"
        law(abs(total - 1) <= allowed, answer, message)


def of_tokens(batch):
    """How far rounding may take the sum over the tokens that count."""
    counted = np.where(batch.mask, batch.logp, 0)
    return {"magnitude": np.abs(counted).sum(axis=1), "roundings": batch.mask.shape[1] + 1}


@clause("PREF-4")
@given(completions(), st.sampled_from([-1.0, -0.25, 0.0]))
def test_one_more_token_adds_its_log_probability(candidate, batch, more):
    longer = batch.but(
        logp=np.pad(batch.logp, ((0, 0), (0, 1)), constant_values=more),
        mask=np.pad(batch.mask, ((0, 0), (0, 1)), constant_values=True),
    )
    before = candidate.completion_logp(batch.logp, batch.mask)
    expected = [exactly(number) + exactly(more) for number in before.value]
    answer = candidate.completion_logp(longer.logp, longer.mask)
    agree(answer, expected, **{name: 2 * most for name, most in of_tokens(longer).items()})


# What the losses have in common.

rationals = np.vectorize(exactly, otypes=[object])


def ask(candidate, loss, batch):
    """The candidate's loss of a batch, and its derivatives."""
    return getattr(candidate, loss)(*batch.arguments(loss))


def demand(candidate, loss, batch):
    """The same, where an answer without use is a violation."""
    return candidate.demand(OPERATIONS[loss], *batch.arguments(loss))


def size(candidate, loss, valid):
    """What the candidate divides the sum over the rows by, as it declares or was found to do."""
    return divisors_of(candidate, loss, valid[:, None])[0, 0]


def by_token(candidate, loss):
    """Whether a likelihood in it is a mean over tokens, so that the loss of a batch is no mean of its pairs' losses."""
    return loss in LIKELIHOODS and candidate.convention(f"{loss}.likelihood") == "token-mean"


def likelihood_share(candidate, loss, batch):
    """What the likelihood multiplies a chosen log-probability with, as a function of the answer's length."""
    pairs, tokens = int(size(candidate, loss, batch.valid)), int(batch.chosen_length[batch.valid].sum())
    return (lambda length: (0 * length + pairs) / tokens) if by_token(candidate, loss) else (lambda length: 1 / length)


def times(answers, factor):
    """The numbers of a loss and its derivatives, times a factor."""
    return tuple(rationals(part.value) * factor for part in answers)


def both(loss, *batches):
    """How far rounding may take what is put together from the answers to several batches."""
    judged = [batch.judged(loss) for batch in batches]
    return {name: sum(each[name] for each in judged) for name in ("magnitude", "roundings")}


def counted(rows, valid):
    """The rows' numbers, and 0 where a row does not count."""
    kept = [number if counts else Fraction(0) for number, counts in zip(rows, valid, strict=True)]
    return np.array(kept, dtype=object)


def expected_loss(candidate, loss, batch, rows):
    """The mean that the candidate means of the rows' numbers."""
    return sum(counted(rows, batch.valid)) / size(candidate, loss, batch.valid)


def expected_slopes(candidate, loss, batch, *columns):
    """Each row's share of that mean in the derivatives."""
    return tuple(counted(column, batch.valid) / size(candidate, loss, batch.valid) for column in columns)


def logps(batch):
    """The four log-probabilities of each pair."""
    return batch.chosen_logp, batch.rejected_logp, batch.ref_chosen_logp, batch.ref_rejected_logp


def hard(batch):
    """The batch without label smoothing."""
    return batch.but(label_smoothing=0.0)


# The losses as the papers write them, of one pair, in numbers to hundreds of bits.


def minus_log_sigmoid(x):
    """-log(1 / (1 + exp(-x))), of a ball or of a power series."""
    return (1 + (-x).exp()).log()


def textbook(candidate, loss, batch):
    """The loss of one pair as a function of its numbers, and the columns that they are in."""
    beta = arb(batch.beta)
    match loss:
        case "dpo_loss":
            return lambda a, b, c, d: minus_log_sigmoid(beta * ((a - b) - (c - d))), logps(batch)
        case "ipo_loss":
            return lambda a, b, c, d: ((a - b) - (c - d) - 1 / (2 * beta)) ** 2, logps(batch)
        case "kto_loss":
            good, bad = arb(batch.desirable_weight), arb(batch.undesirable_weight)

            def of_answer(logp, ref_logp, liked):
                z = beta * (logp - ref_logp - arb(batch.kl))
                return good * (1 - 1 / (1 + (-z).exp())) if liked else bad * (1 - 1 / (1 + z.exp()))

            return of_answer, (batch.logp, batch.ref_logp, batch.desirable)
        case "orpo_loss":
            share = likelihood_share(candidate, loss, batch)

            def of_odds(chosen, rejected, length, other):
                p, q = (chosen / length).exp(), (rejected / other).exp()
                contrast = (1 + (q / (1 - q)) / (p / (1 - p))).log()
                return arb(batch.lam) * contrast - chosen * share(length)

            return of_odds, (batch.chosen_logp, batch.rejected_logp, batch.chosen_length, batch.rejected_length)
        case "simpo_loss":
            lead = arb(batch.gamma) * (1 if candidate.convention("simpo_loss.target") == "gamma" else beta)

            def of_means(chosen, rejected, length, other):
                return minus_log_sigmoid(beta * chosen / length - beta * rejected / other - lead)

            return of_means, (batch.chosen_logp, batch.rejected_logp, batch.chosen_length, batch.rejected_length)
        case "sppo_loss":
            return lambda a, b, c, d: (a - c - 1 / (2 * beta)) ** 2 + (b - d + 1 / (2 * beta)) ** 2, logps(batch)
        case "rpo_loss":
            share = likelihood_share(candidate, loss, batch)

            def of_both(a, b, c, d, length):
                return minus_log_sigmoid(beta * ((a - b) - (c - d))) - arb(batch.alpha) * share(length) * a

            return of_both, (*logps(batch), batch.chosen_length)
        case "reward_model_loss":

            def of_scores(chosen, rejected, margin):
                return minus_log_sigmoid(chosen - rejected - margin) + arb(batch.centering) * (chosen + rejected) ** 2

            return of_scores, (batch.chosen_rewards, batch.rejected_rewards, batch.margins)


def as_ball(number):
    """A number as a ball, a flag as it is."""
    return number if isinstance(number, bool) else arb(number)


def values(candidate, loss, batch):
    """The textbook's loss of each row that counts, 0 for the others."""
    with ctx.workprec(PRECISION):
        function, columns = textbook(candidate, loss, batch)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [
            nearest(function(*map(as_ball, row))) if counts else Fraction(0)
            for row, counts in zip(rows, batch.valid, strict=True)
        ]


def derivatives(candidate, loss, batch):
    """The textbook's derivatives of each row that counts, by truncated power series, and 0 for the others."""
    with ctx.workprec(PRECISION):
        function, columns = textbook(candidate, loss, batch)
        rows = list(zip(*(column.tolist() for column in columns), strict=True))

        def at(row, place):
            moved = [arb_series([as_ball(x), 1], prec=2) if i == place else as_ball(x) for i, x in enumerate(row)]
            return nearest((function(*moved) + arb_series([0, 0], prec=2))[1])

        return [
            [at(row, place) if counts else Fraction(0) for row, counts in zip(rows, batch.valid, strict=True)]
            for place in range(1 if loss == "kto_loss" else 2)
        ]


def has_its_value(candidate, loss, batch, judged, narrow=False):
    """Check the loss against the textbook's; narrow: asked with float32 arrays, which hold the same numbers."""
    value, *_ = demand(candidate, loss, batch.narrowed() if narrow else batch)
    agree(value, expected_loss(candidate, loss, batch, values(candidate, loss, batch)), **judged)


def has_its_derivatives(candidate, loss, batch, judged, narrow=False):
    """Check the derivatives against the textbook's; narrow: asked with float32 arrays, which hold the same numbers."""
    _, *slopes = demand(candidate, loss, batch.narrowed() if narrow else batch)
    agree(tuple(slopes), expected_slopes(candidate, loss, batch, *derivatives(candidate, loss, batch)), **judged)


def is_right(candidate, loss, batch):
    """Whether the candidate's answer is the textbook's; one that is wrong anyway is not wrong because of the size."""
    value, *slopes = ask(candidate, loss, batch)
    expected = [
        expected_loss(candidate, loss, batch, values(candidate, loss, batch)),
        *expected_slopes(candidate, loss, batch, *derivatives(candidate, loss, batch)),
    ]
    judged = batch.judged(loss) | {"roundoff": value.roundoff}
    return all(
        first_miss(part.value, wanted, **judged) is None
        for part, wanted in zip((value, *slopes), expected, strict=True)
    )


# What every loss owes.


@every_loss
@clause("PREF-32", examples=40)
@given(batch=pairs)
def test_the_loss_of_a_batch_is_the_mean_of_its_pairs_losses(candidate, operation, batch):
    assume(len(batch.valid) > 1 and not by_token(candidate, operation))
    rows = [batch.rows([row]) for row in range(len(batch.valid))]
    alone = [ask(candidate, operation, row) for row in rows]
    share = size(candidate, operation, rows[0].valid) / size(candidate, operation, batch.valid)
    loss = share * sum(exactly(of_row[0].value) for of_row in alone)
    slopes = (share * rationals(np.concatenate([of_row[i].value for of_row in alone])) for i in range(1, len(alone[0])))
    agree(ask(candidate, operation, batch), (loss, *slopes), **both(operation, batch, *rows))


@every_loss
@clause("PREF-32", examples=40)
@given(batch=preferences())
def test_the_order_of_the_pairs_does_not_matter(candidate, operation, batch):
    loss, *slopes = ask(candidate, operation, batch)
    expected = loss, *(slope.value[::-1] for slope in slopes)
    agree(ask(candidate, operation, batch.rows(slice(None, None, -1))), expected, **both(operation, batch, batch))


@every_loss
@clause("PREF-33", examples=40)
@given(batch=pairs, others=preferences())
def test_rows_that_do_not_count_may_be_added(candidate, operation, batch, others):
    assume(not by_token(candidate, operation))
    longer = batch.followed_by(others.but(valid=np.zeros_like(others.valid)))
    factor = size(candidate, operation, batch.valid) / size(candidate, operation, longer.valid)
    loss, *slopes = times(ask(candidate, operation, batch), factor)
    expected = loss, *(np.concatenate([slope, np.zeros(len(others.valid))]) for slope in slopes)
    agree(ask(candidate, operation, longer), expected, **both(operation, batch, longer))


@pytest.mark.parametrize("operation", [loss for loss in LOSSES if loss not in POLYNOMIALS])
@clause("PREF-34", examples=40)
@given(batch=preferences(FAR_LOGPS, all_valid=True), narrow=st.booleans())
def test_a_loss_is_accurate_where_the_policies_are_far_apart(candidate, operation, batch, narrow):
    batch = hard(batch)
    assume(is_right(candidate, operation, batch.nearer(2.0**-8)))
    has_its_value(candidate, operation, batch, batch.judged(operation), narrow)
    has_its_derivatives(candidate, operation, batch, batch.judged(operation), narrow)


# DPO.


@clause("PREF-5", examples=60)
@given(pairs)
def test_the_dpo_loss_is_minus_the_log_sigmoid_of_beta_times_the_margin(candidate, batch):
    has_its_value(candidate, "dpo_loss", hard(batch), batch.judged("dpo_loss"))


@clause("PREF-6", examples=60)
@given(pairs)
def test_the_derivatives_of_the_dpo_loss_are_its_derivatives(candidate, batch):
    has_its_derivatives(candidate, "dpo_loss", hard(batch), batch.judged("dpo_loss"))


@clause("PREF-6", examples=40)
@given(pairs)
def test_what_the_chosen_answer_gains_the_rejected_one_loses(candidate, batch):
    _, d_chosen, d_rejected = ask(candidate, "dpo_loss", batch)
    agree(d_rejected, -d_chosen.value, **batch.judged("dpo_loss"))


@clause("PREF-7", examples=60)
@given(pairs)
def test_at_the_reference_the_loss_is_log_two_and_its_slope_half_of_beta(candidate, batch):
    batch = batch.but(chosen_logp=batch.ref_chosen_logp, rejected_logp=batch.ref_rejected_logp)
    right, wrong = label_weights(candidate, batch.label_smoothing)
    with ctx.workprec(PRECISION):
        half_sure = [nearest(arb(2).log())] * len(batch.valid)
    slope = (right - wrong) * Fraction(batch.beta) / 2
    expected = (
        expected_loss(candidate, "dpo_loss", batch, half_sure),
        *expected_slopes(candidate, "dpo_loss", batch, *([sign * slope] * len(batch.valid) for sign in (-1, 1))),
    )
    agree(ask(candidate, "dpo_loss", batch), expected, **batch.judged("dpo_loss"))


def label_weights(candidate, label_smoothing):
    """The weights of a pair and of the swapped pair, by the candidate's convention."""
    e = Fraction(label_smoothing)
    robust = candidate.convention("dpo_loss.noise") == "robust"
    return ((1 - e) / (1 - 2 * e), -e / (1 - 2 * e)) if robust else (1 - e, e)


@pytest.mark.parametrize("operation", ["dpo_loss", "ipo_loss"])
@clause("PREF-8", examples=40)
@given(batch=pairs, shift=shifts)
def test_a_number_that_both_answers_have_in_common_does_not_count(candidate, operation, batch, shift):
    chosen, rejected, ref_chosen, ref_rejected = logps(batch)
    by_policy = batch.but(chosen_logp=chosen + shift, rejected_logp=rejected + shift)
    by_reference = batch.but(ref_chosen_logp=ref_chosen + shift, ref_rejected_logp=ref_rejected + shift)
    of_chosen = batch.but(chosen_logp=chosen + shift, ref_chosen_logp=ref_chosen + shift)
    answer = ask(candidate, operation, batch)
    for other in (by_policy, by_reference, of_chosen):
        agree(ask(candidate, operation, other), answer, **both(operation, batch, other))


@clause("PREF-9", examples=60)
@given(pairs)
def test_the_losses_of_a_pair_and_of_the_swapped_pair_differ_by_beta_times_the_margin(candidate, batch):
    batch = hard(batch)
    a, b, c, d = map(rationals, logps(batch))
    gap = exactly(batch.beta) * ((a - b) - (c - d))
    loss = exactly(ask(candidate, "dpo_loss", batch)[0].value)
    swapped = ask(candidate, "dpo_loss", batch.swapped())[0]
    agree(swapped, loss + expected_loss(candidate, "dpo_loss", batch, gap), **both("dpo_loss", batch, batch))


@clause("PREF-9", examples=60)
@given(pairs)
def test_the_pulls_of_a_pair_and_of_the_swapped_pair_add_up_to_beta(candidate, batch):
    batch = hard(batch)
    _, d_chosen, _ = ask(candidate, "dpo_loss", batch)
    _, of_swapped, _ = ask(candidate, "dpo_loss", batch.swapped())
    [whole] = expected_slopes(candidate, "dpo_loss", batch, [-Fraction(batch.beta)] * len(batch.valid))
    agree(of_swapped, whole - rationals(d_chosen.value), **both("dpo_loss", batch, batch))


@clause("PREF-10", examples=60)
@given(pairs, st.sampled_from([1.0, 0.25, 8.0]))
def test_the_more_the_chosen_answer_gains_the_smaller_are_the_loss_and_the_pull(candidate, batch, gain):
    batch = hard(batch)
    better = batch.but(chosen_logp=batch.chosen_logp + gain)
    before, pull, push = ask(candidate, "dpo_loss", batch)
    after, later, _ = ask(candidate, "dpo_loss", better)
    allowed = tolerance(roundoff=after.roundoff, **both("dpo_loss", batch, better))
    most = Fraction(batch.beta) / size(candidate, "dpo_loss", batch.valid) + allowed
    law(exactly(after.value) <= exactly(before.value) + allowed, after, f"it was {before.value} before the gain")
    law(all(-most <= x <= allowed for x in rationals(pull.value)), pull, "a chosen answer is pulled down, or too much")
    law(all(-allowed <= x <= most for x in rationals(push.value)), push, "a rejected answer is pushed up, or too much")
    law((rationals(pull.value) <= rationals(later.value) + allowed).all(), later, f"the pull was {pull.value} before")


@clause("PREF-11", examples=60)
@given(pairs)
def test_label_smoothing_is_a_combination_of_the_pair_and_the_swapped_pair(candidate, batch):
    right, wrong = label_weights(candidate, batch.label_smoothing)
    loss, d_chosen, d_rejected = times(ask(candidate, "dpo_loss", hard(batch)), right)
    of_swapped, of_rejected, of_chosen = times(ask(candidate, "dpo_loss", hard(batch).swapped()), wrong)
    expected = loss + of_swapped, d_chosen + of_chosen, d_rejected + of_rejected
    agree(ask(candidate, "dpo_loss", batch), expected, **both("dpo_loss", batch, batch, batch))


def every_pair(speech, policy):
    """The answers to the first prompt, all pairs of them as indices, and the log-probabilities of those pairs."""
    answers = [tokens for prompt, tokens in speech.pairs if prompt == 0]
    chosen, rejected = (index.ravel() for index in np.indices((len(answers), len(answers))))

    def logp(of):
        return np.array([np.log(float(probability(of, 0, tokens))) for tokens in answers])

    return answers, chosen, rejected, logp(policy), logp(speech.reference)


def expected_pulls(answers, wins, chosen, rejected, d_chosen, d_rejected):
    """The derivative in each answer's log-probability, of pairs that occur as often as the chosen one wins."""
    pulls = [Fraction(0)] * len(answers)
    for one, other, up, down in zip(chosen, rejected, d_chosen.value, d_rejected.value, strict=True):
        pulls[one] += wins[one][other] * exactly(up)
        pulls[other] += wins[one][other] * exactly(down)
    return pulls


def pulls_are_zero(pulls, answer, largest):
    """Check that the expected pulls are 0, as far as rounding lets them, derivatives being put together from `largest`.

    2 B of them, with B answers, add up to a pull.  The log-probabilities are rounded, and so are their differences.
    """
    allowed = tolerance(magnitude=2 * len(pulls) * largest, roundings=24, roundoff=answer.roundoff)
    message = f"the expected pulls are {[float(pull) for pull in pulls]}, not 0"
    law(all(abs(pull) <= allowed for pull in pulls), answer, message)


@clause("PREF-13", examples=30)
@given(speeches(), st.sampled_from([1.0, 2.0, 0.5]))
def test_the_expected_derivatives_of_the_dpo_loss_are_zero_at_the_best_policy(candidate, speech, beta):
    worth = worth_of(speech)
    best = tilted(speech.language, speech.reference, worth)
    answers, chosen, rejected, mine, reference = every_pair(speech, best)
    with ctx.workprec(PRECISION):  # worth is exp(r / beta), and exp(r) decides how often an answer is preferred
        powers = [nearest(ball(worth(0, tokens)) ** arb(beta)) for tokens in answers]
    wins = [[preferred(one, other) for other in powers] for one in powers]
    columns = mine[chosen], mine[rejected], reference[chosen], reference[rejected]
    _, *slopes = candidate.dpo_loss(*columns, beta, 0.0, np.full(len(chosen), True))
    pulls = expected_pulls(answers, wins, chosen, rejected, *slopes)
    pulls_are_zero(pulls, slopes[0], beta * (1 + 4 * beta * max(abs(column).max() for column in columns)))


# IPO.


@clause("PREF-14", examples=60)
@given(pairs)
def test_the_ipo_loss_is_the_square_of_what_the_margin_lacks(candidate, batch):
    has_its_value(candidate, "ipo_loss", batch, batch.judged("ipo_loss"))


@clause("PREF-15", examples=60)
@given(pairs)
def test_the_derivatives_of_the_ipo_loss_are_linear_in_the_margin(candidate, batch):
    a, b, c, d = map(rationals, logps(batch))
    slope = 2 * ((a - b) - (c - d)) - 1 / exactly(batch.tau)
    _, *slopes = ask(candidate, "ipo_loss", batch)
    agree(tuple(slopes), expected_slopes(candidate, "ipo_loss", batch, slope, -slope), **batch.judged("ipo_loss"))


@clause("PREF-15", examples=40)
@given(pairs, st.sampled_from([1.0, 0.5, 0.125]))
def test_where_the_margin_is_reached_there_is_nothing_to_learn(candidate, batch, tau):
    batch = batch.but(beta=tau)
    there = batch.rejected_logp + (batch.ref_chosen_logp - batch.ref_rejected_logp) + 1 / (2 * tau)
    batch = batch.but(chosen_logp=there)
    nothing = np.zeros(len(batch.valid))
    agree(ask(candidate, "ipo_loss", batch), (0, nothing, nothing), **batch.judged("ipo_loss"))


@clause("PREF-16", examples=30)
@given(speeches(), st.sampled_from([1.0, 0.5, 0.1]))
def test_the_expected_derivatives_of_the_ipo_loss_are_zero_where_log_ratios_are_winning_rates(candidate, speech, tau):
    worth = worth_of(speech)
    answers, chosen, rejected, _, reference = every_pair(speech, speech.reference)
    wins = [[preferred(worth(0, one), worth(0, other)) for other in answers] for one in answers]
    mine = reference + np.array([float(sum(row) / len(row)) for row in wins]) / tau
    columns = mine[chosen], mine[rejected], reference[chosen], reference[rejected]
    _, *slopes = candidate.ipo_loss(*columns, tau, np.full(len(chosen), True))
    pulls = expected_pulls(answers, wins, chosen, rejected, *slopes)
    pulls_are_zero(pulls, slopes[0], 2 * (1 / (2 * tau) + 4 * max(abs(column).max() for column in columns)))


@clause("PREF-46", examples=60)
@given(pairs, st.sampled_from([2.0, 0.5, 0.25]))
def test_log_probabilities_of_another_unit_are_another_tau(candidate, batch, factor):
    scaled, other = batch.nearer(factor), batch.but(beta=batch.tau * factor)
    loss, *slopes = ask(candidate, "ipo_loss", other)
    unit = exactly(factor)
    expected = exactly(loss.value) * unit**2, *(rationals(slope.value) * unit for slope in slopes)
    judged = both("ipo_loss", scaled, other)
    judged["magnitude"] += 4 * other.judged("ipo_loss")["magnitude"]
    agree(ask(candidate, "ipo_loss", scaled), expected, **judged)


@clause("PREF-47", examples=60)
@given(pairs)
def test_dpo_of_means_is_simpo_of_log_ratios_without_a_lead(candidate, batch):
    batch = hard(batch)
    lengths = batch.chosen_length, batch.rejected_length
    mean_of = {
        name: getattr(batch, name) / length
        for names, length in zip(
            (("chosen_logp", "ref_chosen_logp"), ("rejected_logp", "ref_rejected_logp")), lengths, strict=True
        )
        for name in names
    }
    of_dpo = ask(candidate, "dpo_loss", batch.but(**mean_of))
    # A number for each token, so that what SimPO is given is negative; the means differ by as much as before.
    ratios = (
        logp - ref - 16 * length
        for logp, ref, length in zip(
            (batch.chosen_logp, batch.rejected_logp),
            (batch.ref_chosen_logp, batch.ref_rejected_logp),
            lengths,
            strict=True,
        )
    )
    of_simpo = candidate.simpo_loss(*ratios, *lengths, batch.beta, 0.0, batch.valid)
    share = size(candidate, "dpo_loss", batch.valid) / size(candidate, "simpo_loss", batch.valid)
    loss, *slopes = times(of_dpo, share)
    expected = loss, *(slope / length for slope, length in zip(slopes, map(rationals, lengths), strict=True))
    judged = batch.but(**mean_of).judged("dpo_loss")
    judged["magnitude"] += 64 * max(1, batch.beta) * batch.beta * len(batch.valid)
    agree(coarser(of_simpo, of_dpo), expected, **judged | {"roundings": 2 * judged["roundings"]})


# KTO.


@clause("PREF-17", examples=60)
@given(pairs)
def test_the_kto_loss_is_weight_less_value(candidate, batch):
    has_its_value(candidate, "kto_loss", batch, batch.judged("kto_loss"))


@clause("PREF-18", examples=60)
@given(pairs)
def test_the_derivatives_of_the_kto_loss_hold_the_reference_point_fixed(candidate, batch):
    has_its_derivatives(candidate, "kto_loss", batch, batch.judged("kto_loss"))


@clause("PREF-19", examples=60)
@given(preferences(FAR_LOGPS, all_valid=True), st.sampled_from([1.0, 0.25, 8.0]))
def test_no_answer_counts_for_more_than_its_weight_or_for_less_than_nothing(candidate, batch, gain):
    batch = batch.rows([0])
    weight = exactly(batch.desirable_weight if batch.desirable[0] else batch.undesirable_weight)
    better = batch.but(chosen_logp=batch.logp + np.where(batch.desirable, gain, -gain))
    before, after = (ask(candidate, "kto_loss", each)[0] for each in (batch, better))
    allowed = tolerance(roundoff=after.roundoff, **both("kto_loss", batch, better))
    law(-allowed <= exactly(before.value) <= weight + allowed, before, f"it does not lie between 0 and {float(weight)}")
    law(exactly(after.value) <= exactly(before.value) + allowed, after, f"it was {before.value} before the gain")


@clause("PREF-19", examples=40)
@given(pairs)
def test_at_the_reference_point_an_answer_counts_half(candidate, batch):
    batch = batch.but(chosen_logp=batch.ref_chosen_logp + 0.5, kl=0.5)
    halves = [exactly(w) / 2 for w in np.where(batch.desirable, batch.desirable_weight, batch.undesirable_weight)]
    loss, _ = ask(candidate, "kto_loss", batch)
    agree(loss, expected_loss(candidate, "kto_loss", batch, halves), **batch.judged("kto_loss"))


@clause("PREF-20", examples=60)
@given(pairs)
def test_a_bad_answer_is_a_good_one_in_the_mirror(candidate, batch):
    mirrored = batch.but(
        chosen_logp=2 * (batch.ref_logp + batch.kl) - batch.logp,
        desirable=~batch.desirable,
        desirable_weight=batch.undesirable_weight,
        undesirable_weight=batch.desirable_weight,
    )
    loss, slopes = ask(candidate, "kto_loss", batch)
    agree(ask(candidate, "kto_loss", mirrored), (loss, -slopes.value), **both("kto_loss", batch, mirrored))


@clause("PREF-21", examples=60)
@given(pairs, st.sampled_from([1.0, 0.5, 16.0]))
def test_only_the_distance_from_the_reference_point_counts(candidate, batch, shift):
    other = batch.but(chosen_logp=batch.logp + shift, kl=batch.kl + shift)
    answer = ask(candidate, "kto_loss", other)
    agree(answer, ask(candidate, "kto_loss", batch), **both("kto_loss", batch, other))


@clause("PREF-22", examples=60)
@given(pairs)
def test_each_kind_of_answer_has_its_own_weight(candidate, batch):
    good = ask(candidate, "kto_loss", batch.but(desirable_weight=1.0, undesirable_weight=0.0))
    bad = ask(candidate, "kto_loss", batch.but(desirable_weight=0.0, undesirable_weight=1.0))
    parts = times(good, exactly(batch.desirable_weight)), times(bad, exactly(batch.undesirable_weight))
    expected = tuple(of_good + of_bad for of_good, of_bad in zip(*parts, strict=True))
    agree(ask(candidate, "kto_loss", batch), expected, **both("kto_loss", batch, batch, batch))


@clause("PREF-22", examples=60)
@given(pairs, st.booleans())
def test_a_kind_of_answer_without_weight_does_not_count(candidate, batch, of_good):
    weight = {"desirable_weight" if of_good else "undesirable_weight": 0.0}
    _, slopes = ask(candidate, "kto_loss", batch)
    _, without = ask(candidate, "kto_loss", batch.but(**weight))
    expected = np.where(batch.desirable == of_good, 0, slopes.value)
    agree(without, expected, **both("kto_loss", batch, batch))


# ORPO.


@clause("PREF-23", examples=60)
@given(pairs)
def test_the_orpo_loss_is_a_likelihood_and_a_contrast_of_odds(candidate, batch):
    has_its_value(candidate, "orpo_loss", batch, batch.judged("orpo_loss"))


@clause("PREF-24", examples=60)
@given(pairs)
def test_the_derivatives_of_the_orpo_loss_are_its_derivatives(candidate, batch):
    has_its_derivatives(candidate, "orpo_loss", batch, batch.judged("orpo_loss"))


@clause("PREF-25", examples=60)
@given(pairs)
def test_without_the_contrast_orpo_is_the_likelihood_of_the_chosen_alone(candidate, batch):
    batch = batch.but(lam=0.0)
    shares = list(map(likelihood_share(candidate, "orpo_loss", batch), map(Fraction, batch.chosen_length.tolist())))
    values = [-share * exactly(logp) for share, logp in zip(shares, batch.chosen_logp, strict=True)]
    slopes = [-share for share in shares], [Fraction(0)] * len(shares)
    expected = (
        expected_loss(candidate, "orpo_loss", batch, values),
        *expected_slopes(candidate, "orpo_loss", batch, *slopes),
    )
    agree(ask(candidate, "orpo_loss", batch), expected, **batch.judged("orpo_loss"))


@clause("PREF-25", examples=60)
@given(pairs, st.sampled_from([2.0, 0.5, 0.1]))
def test_orpo_is_linear_in_the_weight_of_the_contrast(candidate, batch, lam):
    without, once, much = (batch.but(lam=weight) for weight in (0.0, 1.0, lam))
    parts = zip(*(ask(candidate, "orpo_loss", each) for each in (without, once)), strict=True)
    numbers = ((rationals(a.value), rationals(b.value)) for a, b in parts)
    expected = tuple(a + exactly(lam) * (b - a) for a, b in numbers)
    agree(ask(candidate, "orpo_loss", much), expected, **both("orpo_loss", without, once, once, much))


@clause("PREF-26", examples=60)
@given(pairs, st.sampled_from([1e-12, 2.0**-30, 2.0**-60]), st.booleans())
def test_odds_are_right_where_an_answer_is_all_but_certain(candidate, batch, doubt, rejected):
    certain = -doubt * np.ones(len(batch.valid))
    assume(is_right(candidate, "orpo_loss", batch))
    batch = batch.but(lam=1.0, **{"rejected_logp" if rejected else "chosen_logp": certain})
    judged = batch.judged("orpo_loss", certain=True)
    has_its_value(candidate, "orpo_loss", batch, judged)
    has_its_derivatives(candidate, "orpo_loss", batch, judged)


# SimPO.


@clause("PREF-27", examples=60)
@given(pairs)
def test_the_simpo_loss_is_minus_the_log_sigmoid_of_a_lead_in_means(candidate, batch):
    has_its_value(candidate, "simpo_loss", batch, batch.judged("simpo_loss"))


@clause("PREF-28", examples=60)
@given(pairs)
def test_the_derivatives_of_the_simpo_loss_are_its_derivatives(candidate, batch):
    has_its_derivatives(candidate, "simpo_loss", batch, batch.judged("simpo_loss"))


@clause("PREF-30", examples=60)
@given(pairs, st.sampled_from([1.0, 0.5, 2.0]))
def test_gamma_is_a_head_start_of_the_rejected_answer(candidate, batch, beta):
    batch = batch.but(beta=beta)
    lead = batch.gamma if candidate.convention("simpo_loss.target") == "gamma" else beta * batch.gamma
    started = batch.but(rejected_logp=batch.rejected_logp + batch.rejected_length * (lead / beta), gamma=0.0)
    answer = ask(candidate, "simpo_loss", batch)
    agree(answer, ask(candidate, "simpo_loss", started), **both("simpo_loss", batch, batch, started))


@pytest.mark.parametrize("operation", ["orpo_loss", "simpo_loss"])
@clause("PREF-31", examples=60)
@given(batch=pairs, factor=st.sampled_from([2, 4, 16]))
def test_length_counts_only_through_the_mean(candidate, operation, batch, factor):
    longer = batch.but(
        chosen_logp=factor * batch.chosen_logp,
        rejected_logp=factor * batch.rejected_logp,
        chosen_length=factor * batch.chosen_length,
        rejected_length=factor * batch.rejected_length,
    )
    loss, *slopes = ask(candidate, operation, batch)
    expected = loss, *(rationals(slope.value) / factor for slope in slopes)
    agree(ask(candidate, operation, longer), expected, **both(operation, batch, longer))


# SPPO.


@clause("PREF-35", examples=60)
@given(pairs)
def test_the_sppo_loss_is_the_square_of_what_each_log_ratio_lacks(candidate, batch):
    has_its_value(candidate, "sppo_loss", batch, batch.judged("sppo_loss"))


@clause("PREF-35", examples=40)
@given(pairs)
def test_at_the_reference_the_sppo_loss_is_half_of_the_square_of_one_over_beta(candidate, batch):
    batch = batch.but(chosen_logp=batch.ref_chosen_logp, rejected_logp=batch.ref_rejected_logp)
    halves = [1 / (2 * exactly(batch.beta) ** 2)] * len(batch.valid)
    loss, *_ = ask(candidate, "sppo_loss", batch)
    agree(loss, expected_loss(candidate, "sppo_loss", batch, halves), **batch.judged("sppo_loss"))


@clause("PREF-36", examples=60)
@given(pairs)
def test_the_derivatives_of_the_sppo_loss_are_each_answers_own(candidate, batch):
    a, b, c, d = map(rationals, logps(batch))
    target = 1 / (2 * exactly(batch.beta))
    expected = expected_slopes(candidate, "sppo_loss", batch, 2 * (a - c - target), 2 * (b - d + target))
    _, *slopes = ask(candidate, "sppo_loss", batch)
    agree(tuple(slopes), expected, **batch.judged("sppo_loss"))


@clause("PREF-36", examples=40)
@given(pairs, shifts)
def test_what_one_answer_gains_is_nothing_to_the_other_in_sppo(candidate, batch, shift):
    _, d_chosen, d_rejected = ask(candidate, "sppo_loss", batch)
    of_chosen = batch.but(chosen_logp=batch.chosen_logp + shift)
    of_rejected = batch.but(rejected_logp=batch.rejected_logp + shift)
    _, _, kept = ask(candidate, "sppo_loss", of_chosen)
    agree(kept, d_rejected, **both("sppo_loss", batch, of_chosen))
    _, kept, _ = ask(candidate, "sppo_loss", of_rejected)
    agree(kept, d_chosen, **both("sppo_loss", batch, of_rejected))


@clause("PREF-37", examples=30)
@given(speeches(), st.sampled_from([1.0, 0.5, 0.1]))
def test_the_expected_derivatives_of_the_sppo_loss_are_zero_at_the_winning_rates_beyond_half(candidate, speech, beta):
    worth = worth_of(speech)
    answers, chosen, rejected, _, reference = every_pair(speech, speech.reference)
    wins = [[preferred(worth(0, one), worth(0, other)) for other in answers] for one in answers]
    mine = reference + np.array([float(sum(row) / len(row) - Fraction(1, 2)) for row in wins]) / beta
    columns = mine[chosen], mine[rejected], reference[chosen], reference[rejected]
    _, *slopes = candidate.sppo_loss(*columns, beta, np.full(len(chosen), True))
    pulls = expected_pulls(answers, wins, chosen, rejected, *slopes)
    pulls_are_zero(pulls, slopes[0], 2 * (1 / (2 * beta) + 2 * max(abs(column).max() for column in columns)))


# RPO.


@clause("PREF-38", examples=60)
@given(pairs)
def test_the_rpo_loss_is_a_contrast_and_a_likelihood(candidate, batch):
    has_its_value(candidate, "rpo_loss", batch, batch.judged("rpo_loss"))


@clause("PREF-39", examples=60)
@given(pairs)
def test_the_derivatives_of_the_rpo_loss_are_its_derivatives(candidate, batch):
    has_its_derivatives(candidate, "rpo_loss", batch, batch.judged("rpo_loss"))


@clause("PREF-40", examples=60)
@given(pairs)
def test_without_the_likelihood_rpo_is_dpo(candidate, batch):
    batch = hard(batch).but(alpha=0.0)
    expected = (
        expected_loss(candidate, "rpo_loss", batch, values(candidate, "dpo_loss", batch)),
        *expected_slopes(candidate, "rpo_loss", batch, *derivatives(candidate, "dpo_loss", batch)),
    )
    agree(ask(candidate, "rpo_loss", batch), expected, **batch.judged("rpo_loss"))


@clause("PREF-40", examples=60)
@given(pairs, st.sampled_from([1.0, 2.0, 0.1]))
def test_the_likelihood_adds_to_rpo_what_its_weight_says(candidate, batch, alpha):
    without, much = batch.but(alpha=0.0), batch.but(alpha=alpha)
    share = likelihood_share(candidate, "rpo_loss", batch)
    shares = [exactly(alpha) * share(Fraction(length)) for length in batch.chosen_length.tolist()]
    terms = [-weight * exactly(logp) for weight, logp in zip(shares, batch.chosen_logp, strict=True)]
    [slopes] = expected_slopes(candidate, "rpo_loss", batch, [-weight for weight in shares])
    loss, d_chosen, d_rejected = times(ask(candidate, "rpo_loss", without), 1)
    expected = loss + expected_loss(candidate, "rpo_loss", batch, terms), d_chosen + slopes, d_rejected
    agree(ask(candidate, "rpo_loss", much), expected, **both("rpo_loss", without, much))


# The loss of a reward model.


@clause("PREF-41", examples=60)
@given(pairs)
def test_the_loss_of_a_reward_model_is_minus_the_log_sigmoid_of_a_lead(candidate, batch):
    has_its_value(candidate, "reward_model_loss", batch, batch.judged("reward_model_loss"))


@clause("PREF-42", examples=60)
@given(pairs, st.booleans())
def test_the_derivatives_of_the_loss_of_a_reward_model_are_its_derivatives(candidate, batch, plain):
    if plain:  # without margins and centring, as many a reward model is trained
        batch = batch.but(chosen_length=np.ones_like(batch.chosen_length), alpha=0.0)
    has_its_derivatives(candidate, "reward_model_loss", batch, batch.judged("reward_model_loss"))


def of_scores(candidate, chosen, rejected, margins, centering, valid):
    """The candidate's loss of scores, and its derivatives."""
    return candidate.reward_model_loss(chosen, rejected, margins, centering, valid)


def scores(batch):
    """What a reward model says of the answers, and what its lead is to be at least."""
    return batch.chosen_rewards, batch.rejected_rewards, batch.margins


@clause("PREF-43", examples=60)
@given(pairs, shifts)
def test_without_centring_only_the_lead_beyond_the_margin_counts(candidate, batch, shift):
    chosen, rejected, margins = scores(batch)
    answer = of_scores(candidate, chosen, rejected, margins, 0.0, batch.valid)
    judged = both("reward_model_loss", batch, batch)
    judged["magnitude"] += 8 * abs(shift) * len(batch.valid)
    both_more = of_scores(candidate, chosen + shift, rejected + shift, margins, 0.0, batch.valid)
    agree(both_more, answer, **judged)
    as_margin = of_scores(candidate, chosen + shift, rejected, margins + shift, 0.0, batch.valid)
    agree(as_margin, answer, **judged)


@clause("PREF-44", examples=60)
@given(pairs)
def test_of_implicit_rewards_the_loss_of_a_reward_model_is_dpos(candidate, batch):
    batch = hard(batch).but(beta=1.0)
    chosen, rejected, margins = scores(batch)
    answer = of_scores(candidate, chosen, rejected, 0 * margins, 0.0, batch.valid)
    same = ask(candidate, "dpo_loss", batch)
    times_as_much = size(candidate, "dpo_loss", batch.valid) / size(candidate, "reward_model_loss", batch.valid)
    agree(coarser(answer, same), times(same, times_as_much), **both("dpo_loss", batch, batch))


@clause("PREF-45", examples=60)
@given(pairs, st.sampled_from([0.01, 1.0, 2.0]))
def test_centring_pulls_both_answers_by_their_sum(candidate, batch, centering):
    chosen, rejected, margins = scores(batch)
    loss, d_chosen, d_rejected = times(of_scores(candidate, chosen, rejected, margins, 0.0, batch.valid), 1)
    totals = [exactly(one) + exactly(other) for one, other in zip(chosen, rejected, strict=True)]
    weight = exactly(centering)
    more = expected_loss(candidate, "reward_model_loss", batch, [weight * total**2 for total in totals])
    [drift] = expected_slopes(candidate, "reward_model_loss", batch, [2 * weight * total for total in totals])
    expected = loss + more, d_chosen + drift, d_rejected + drift
    answer = of_scores(candidate, chosen, rejected, margins, centering, batch.valid)
    agree(answer, expected, **both("reward_model_loss", batch, batch.but(alpha=centering)))
