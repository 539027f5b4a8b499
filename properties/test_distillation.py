"""Properties of distillation (spec/distillation.md)."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx
from hypothesis import assume, given

from rlspec.properties.balls import PRECISION, balls, nearest
from rlspec.properties.checking import agree, clause, coarser, law, tolerance
from rlspec.properties.distilling import lessons
from rlspec.properties.divergences import vocabularies
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.questions.distillation import exact, logarithm_of
from rlspec.properties.strategies import FAR_LOGITS, LOGITS
from rlspec.reference.distillation import distillation_divergence, topk_divergence
from rlspec.reference.estimators import ESTIMATORS
from rlspec.reference.kl import of_tokens
from rlspec.reference.language import choices, expected_gradient, probability
from rlspec.reference.policy_gradient import scored
from rlspec.reference.returns import reward_to_go
from rlspec.spec.operations import OPERATIONS

betas, inner = st.sampled_from([0.0, 1.0, 0.5, 0.25, 0.9]), st.sampled_from([0.5, 0.25, 0.9])
temperatures = st.sampled_from([1.0, 2.0, 0.5])
directions, tails = st.sampled_from(["forward", "reverse"]), st.sampled_from(["dropped", "bucket", "renormalized"])
name = "distillation_divergence"


# Closed forms in balls: of logits, and not of their softmaxes' logarithms.


def softmax(logits):
    """The probabilities, and the logarithm of the sum of exponentials."""
    weights = [x.exp() for x in logits]
    total = sum(weights, arb(0))
    return [w / total for w in weights], total.log()


def entropy_of(row, other=None):
    """-sum p log q, of the distribution itself or of another one."""
    return -sum((p * q.log() for p, q in zip(row, other or row, strict=True) if p != 0), arb(0))


def whole_divergence(logits, teacher_logits, beta, of_teacher, of_student):
    """The divergence of one row, from sums of exponentials."""
    (s, a), (t, b) = softmax(logits), softmax(teacher_logits)
    gap = [y - x for x, y in zip(logits, teacher_logits, strict=True)]
    if beta == 0:  # a Bregman divergence of log sum exp
        return a - b + sum((p * d for p, d in zip(t, gap, strict=True)), arb(0))
    if beta == 1:
        return b - a - sum((p * d for p, d in zip(s, gap, strict=True)), arb(0))
    m = [beta * y + (1 - beta) * x for x, y in zip(s, t, strict=True)]
    return of_teacher * (entropy_of(t, m) - entropy_of(t)) + of_student * (entropy_of(s, m) - entropy_of(s))


def top_divergence(logits, teacher_logits, k, direction, tail):
    """The same over the teacher's top-k."""
    (s, _), (t, _) = softmax(logits), softmax(teacher_logits)
    best = sorted(range(len(t)), key=lambda token: -float(teacher_logits[token]))[:k]
    ours, theirs = ([row[token] for token in best] for row in (s, t))
    if tail == "bucket" and k < len(t):
        others = [token for token in range(len(t)) if token not in best]
        ours, theirs = ([*kept, sum((row[o] for o in others), arb(0))] for kept, row in ((ours, s), (theirs, t)))
    if tail == "renormalized":
        ours, theirs = ([p / sum(row, arb(0)) for p in row] for row in (ours, theirs))
    first, second = (theirs, ours) if direction == "forward" else (ours, theirs)
    return sum((p * (p / q).log() for p, q in zip(first, second, strict=True)), arb(0))


def by_differences(function, logits):
    """A row's value, and its derivatives by differences of 2^-90, right to 50 digits."""
    step = arb(2) ** -90

    def moved(token, by):
        return function([x + by if place == token else x for place, x in enumerate(logits)])

    slopes = [(moved(token, step) - moved(token, -step)) / (2 * step) for token in range(len(logits))]
    return nearest(function(logits)), [nearest(slope) for slope in slopes]


def answers_of(lesson, function):
    """Values and derivatives of each row, of a function of both rows of logits."""
    with ctx.workprec(2 * PRECISION):
        rows = zip(balls(lesson.logits), balls(lesson.teacher_logits), strict=True)
        found = [by_differences(lambda moved, towards=theirs: function(moved, towards), ours) for ours, theirs in rows]
        values, slopes = zip(*found, strict=True)
        return np.array(values, dtype=object), np.array(slopes, dtype=object)


def weights_of(candidate, beta):
    """What KL(T||M) and KL(S||M) are weighed by."""
    beta = arb(beta)
    return (1 - beta, beta) if candidate.convention(f"{name}.weights") == "exchanged" else (beta, 1 - beta)


def scale_of(candidate, temperature):
    """What all is multiplied by."""
    return Fraction(temperature) ** 2 if candidate.convention(f"{name}.scale") == "temperature^2" else Fraction(1)


def check_divergence(candidate, lesson, beta, temperature):
    """Check both results against the closed form."""
    of_teacher, of_student = weights_of(candidate, beta) if 0 < beta < 1 else (0, 0)
    warmth = arb(temperature)

    def closed(ours, theirs):
        student, teacher = ([x / warmth for x in row] for row in (ours, theirs))
        return whole_divergence(student, teacher, arb(beta), of_teacher, of_student)

    factor = scale_of(candidate, temperature)
    expected = tuple(factor * part for part in answers_of(lesson, closed))
    answer = candidate.distillation_divergence(*lesson.arrays, beta, temperature)
    agree(answer, expected, **lesson.judged_at(beta, temperature))


@clause("DIS-1", "DIS-7", examples=40)
@given(lessons(LOGITS))
def test_at_beta_zero_the_divergence_is_forward(candidate, lesson):
    check_divergence(candidate, lesson, 0.0, 1.0)


@clause("DIS-2", "DIS-7", examples=40)
@given(lessons(LOGITS))
def test_at_beta_one_the_divergence_is_reverse(candidate, lesson):
    check_divergence(candidate, lesson, 1.0, 1.0)


@clause("DIS-3", "DIS-5", "DIS-7", examples=60)
@given(lessons(LOGITS), inner)
def test_between_zero_and_one_the_divergence_is_one_to_the_mixture(candidate, lesson, beta):
    check_divergence(candidate, lesson, beta, 1.0)


@clause("DIS-4", "DIS-6", "DIS-7", examples=40)
@given(lessons(LOGITS), betas, st.sampled_from([2.0, 0.5]))
def test_the_temperature_divides_the_logits_of_both(candidate, lesson, beta, temperature):
    answer = candidate.distillation_divergence(*lesson.arrays, beta, temperature)
    cooled = lesson.but(logits=lesson.logits / temperature, teacher_logits=lesson.teacher_logits / temperature)
    value, slopes = candidate.distillation_divergence(*cooled.arrays, beta, 1.0)
    factor = float(scale_of(candidate, temperature))
    expected = factor * value.value.astype(float), factor / temperature * slopes.value.astype(float)
    judged = lesson.judged_at(beta, temperature)
    agree(coarser(answer, value), expected, **judged | {"magnitude": 2 * judged["magnitude"]})


@clause("DIS-8", examples=20)
@given(lessons(LOGITS), betas, temperatures, st.sampled_from([0.0, 1.5, -20.0]))
def test_a_student_that_is_its_teacher_has_no_divergence_and_no_gradient(candidate, drawn, beta, temperature, shift):
    lesson = drawn.but(logits=drawn.teacher_logits + shift)
    nothing = np.zeros(len(drawn.logits)), np.zeros(drawn.logits.shape)
    answer = candidate.distillation_divergence(*lesson.arrays, beta, temperature)
    agree(answer, nothing, **lesson.judged_at(beta, temperature))


@clause("DIS-9", examples=40)
@given(lessons(LOGITS), st.sampled_from([0.0, 1.0, 0.25, 0.5]))
def test_student_and_teacher_exchanged_is_beta_from_the_other_end(candidate, lesson, beta):
    turned = lesson.but(logits=lesson.teacher_logits, teacher_logits=lesson.logits)
    value, _ = candidate.distillation_divergence(*lesson.arrays, beta, 1.0)
    again, _ = candidate.distillation_divergence(*turned.arrays, 1 - beta, 1.0)
    judged = lesson.judged_at(beta, 1.0)
    agree(again, value, **judged | {"magnitude": 2 * judged["magnitude"]})


@clause("DIS-10", examples=40)
@given(lessons(FAR_LOGITS), inner)
def test_a_jensen_shannon_divergence_is_bounded(candidate, lesson, beta):
    value, _ = candidate.distillation_divergence(*lesson.arrays, beta, 1.0)
    allowed = float(tolerance(roundoff=value.roundoff, **lesson.judged_at(beta, 1.0)))
    logs = np.log([beta, 1 - beta])
    most = max(-beta * logs[0] - (1 - beta) * logs[1], -beta * logs[1] - (1 - beta) * logs[0])
    law((value.value >= -allowed).all(), value, "a divergence is below 0")
    law((value.value <= most + allowed).all(), value, f"the divergence is to be no larger than {most:.6g}")


def last_names_of(candidate, operation):
    """The candidate's choices by their last names."""
    return {convention.rpartition(".")[2]: choice for convention, choice in candidate.conventions(operation).items()}


@clause("DIS-11", examples=40)
@given(lessons(FAR_LOGITS), betas, temperatures)
def test_the_divergence_of_far_logits_is_finite(candidate, lesson, beta, temperature):
    arguments = (*lesson.arrays, beta, temperature)
    answer = candidate.demand(OPERATIONS["distillation_divergence"], *arguments)
    expected = exact(name, arguments, **last_names_of(candidate, name))
    agree(answer, expected, **lesson.judged_at(beta, temperature))


@clause("DIS-11", examples=40)
@given(lessons(FAR_LOGITS, distinct=True), st.integers(1, 4), directions, tails)
def test_the_top_k_divergence_of_far_logits_is_finite(candidate, lesson, k, direction, tail):
    arguments = (*lesson.arrays, min(k, lesson.logits.shape[1]), direction, tail)
    answer = candidate.demand(OPERATIONS["topk_divergence"], *arguments)
    expected = exact("topk_divergence", arguments, **last_names_of(candidate, "topk_divergence"))
    agree(answer, expected, **lesson.judged_at(0.5, 1.0))


def check_top(candidate, lesson, k, direction, tail):
    """Check both results against the closed form."""
    k = min(k, lesson.logits.shape[1])
    values, slopes = answers_of(lesson, lambda ours, theirs: top_divergence(ours, theirs, k, direction, tail))
    if candidate.convention("topk_divergence.negative") == "0":
        slopes = np.where((values < 0)[:, None], 0, slopes)
        values = np.maximum(values, 0)
    answer = candidate.topk_divergence(*lesson.arrays, k, direction, tail)
    judged = lesson.judged_at(0.5, 1.0)
    if tail == "dropped" and candidate.convention("topk_divergence.negative") == "0":
        clear = np.abs(values) > float(tolerance(roundoff=answer[0].roundoff, **judged))
        slopes = np.where((clear | (values == 0))[:, None], slopes, answer[1].value)
    agree(answer, (values, slopes), **judged)


kept = st.integers(1, 4)


@clause("DIS-16", "DIS-19", "DIS-23", examples=60)
@given(lessons(LOGITS, distinct=True), kept, directions)
def test_a_dropped_tail_leaves_the_sum_over_the_kept_tokens(candidate, lesson, k, direction):
    check_top(candidate, lesson, k, direction, "dropped")


@clause("DIS-17", "DIS-19", examples=60)
@given(lessons(LOGITS, distinct=True), kept, directions)
def test_a_bucket_makes_one_token_of_all_that_are_not_kept(candidate, lesson, k, direction):
    check_top(candidate, lesson, k, direction, "bucket")


@clause("DIS-18", "DIS-19", examples=60)
@given(lessons(LOGITS, distinct=True), kept, directions)
def test_renormalised_tokens_are_compared_as_if_there_were_no_others(candidate, lesson, k, direction):
    check_top(candidate, lesson, k, direction, "renormalized")


@clause("DIS-20", examples=40)
@given(lessons(LOGITS, distinct=True), directions, tails)
def test_with_all_tokens_kept_every_tail_is_the_whole_divergence(candidate, lesson, direction, tail):
    answer = candidate.topk_divergence(*lesson.arrays, lesson.logits.shape[1], direction, tail)
    expected = exact(name, (*lesson.arrays, 0.0 if direction == "forward" else 1.0, 1.0))
    judged = lesson.judged_at(0.5, 1.0)
    # No divergence is below 0 but by rounding, where a candidate that keeps to 0 has no derivative either.
    small = np.array([float(v) for v in expected[0]]) <= float(tolerance(roundoff=answer[0].roundoff, **judged))
    slopes = np.where(small[:, None], answer[1].value, np.array(expected[1], dtype=object))
    agree(answer, (expected[0], slopes), **judged)


@clause("DIS-21", examples=40)
@given(lessons(LOGITS, distinct=True), st.integers(1, 4), directions)
def test_a_bucket_is_between_nothing_and_the_divergence_of_more_tokens(candidate, lesson, k, direction):
    assume(k < lesson.logits.shape[1])
    few, _ = candidate.topk_divergence(*lesson.arrays, k, direction, "bucket")
    more, _ = candidate.topk_divergence(*lesson.arrays, k + 1, direction, "bucket")
    allowed = 2 * float(tolerance(roundoff=few.roundoff, **lesson.judged_at(0.5, 1.0)))
    law((few.value >= -allowed).all(), few, "the divergence of fewer tokens is below 0")
    law((few.value <= more.value + allowed).all(), few, f"with {k + 1} tokens the divergence is only {more.value}")


# Theorems.

languages = speeches()


def met(language, policy, context):
    """How often a policy meets a context."""
    return language.prompts[context[0]] * probability(policy, *context)


@clause("DIS-12", examples=20)
@given(languages)
def test_the_forward_divergence_of_answers_has_no_future(speech):
    student, teacher = speech.policy, speech.reference
    found = expected_gradient(speech.language, student, lambda _, tokens: [-1] * len(tokens), speaker=teacher)
    for context, row in found.items():
        weight = met(speech.language, teacher, context)
        assert row == [weight * (s - t) for s, t in zip(student[context], teacher[context], strict=True)]


@clause("DIS-13", examples=20)
@given(vocabularies(), st.sampled_from([0, 1]))
def test_in_the_papers_weights_the_divergence_vanishes_at_both_ends(pair, end):
    student, teacher = ([arb(p.numerator) / p.denominator for p in row] for row in pair)
    step = arb(2) ** -60

    def interior(beta):
        logits, towards = ([p.log() for p in row] for row in (student, teacher))
        return distillation_divergence(logits, towards, beta, 1, exp=arb.exp, log=logarithm_of)[0]

    with ctx.workprec(PRECISION):
        beta = step if end == 0 else 1 - step
        first, second = (teacher, student) if end == 0 else (student, teacher)
        whole = sum((p * (p / q).log() for p, q in zip(first, second, strict=True)), arb(0))
        assert abs(float(interior(beta) / step - whole)) < 2.0**-40
        assert float(interior(arb(1) / 2) - (interior(arb(1) / 4) + interior(arb(3) / 4)) / 2) > -(2.0**-100)


def discounted(speech, gamma):
    """The mean of discounted sums of k1 times scores."""
    k1 = of_tokens(ESTIMATORS, speech.policy, speech.reference, "k1", stand_in)
    return expected_gradient(speech.language, speech.policy, lambda *pair: reward_to_go(k1(*pair), gamma))


def stand_in(ratio):
    """A number in the place of a logarithm, of which the theorem needs no more than that it is a number."""
    return ratio * ratio - 3 * ratio + 1


@clause("DIS-14", examples=10)
@given(languages, st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(1)]))
def test_a_discount_chooses_between_the_tokens_divergence_and_the_answers(speech, gamma):
    language, student = speech.language, speech.policy

    def distance(context):
        pairs = zip(student[context], speech.reference[context], strict=True)
        return sum(s * stand_in(s / t) for s, t in pairs)

    def ahead(context):
        """What is still to come after a context, discounted, a step for each token."""
        prompt, begun = context
        if begun[-1:] == (0,) or len(begun) == language.longest:
            return Fraction(0)
        later = (s * ahead((prompt, (*begun, token))) for token, s in enumerate(student[context]))
        return distance(context) + gamma * sum(later)

    received = [
        [
            met(language, student, context) * s * (stand_in(s / t) + gamma * ahead((context[0], (*context[1], token))))
            for token, (s, t) in enumerate(zip(student[context], speech.reference[context], strict=True))
        ]
        for context in language.contexts()
    ]
    expected = scored([student[context] for context in language.contexts()], received)
    assert in_line(discounted(speech, gamma)) == [number for row in expected for number in row]


@clause("DIS-15", examples=20)
@given(languages, st.lists(st.integers(-3, 3), min_size=28, max_size=28))
def test_a_number_that_every_token_of_a_context_shares_is_no_reward(speech, numbers):
    value = dict(zip(speech.language.contexts(), map(Fraction, numbers), strict=False))

    def of_contexts(prompt, tokens):
        return [value[context] for context, _ in choices(prompt, tokens)]

    assert not any(in_line(expected_gradient(speech.language, speech.policy, of_contexts)))


@clause("DIS-22", examples=30)
@given(vocabularies(), directions)
def test_a_dropped_tail_is_best_where_the_student_is_not_its_teacher(pair, direction):
    student, teacher = pair
    assume(len(set(teacher)) == len(teacher))
    k = len(teacher) - 1
    best = sorted(range(len(teacher)), key=lambda token: -teacher[token])[:k]
    mass = sum(teacher[token] for token in best)

    def dropped(row):
        with ctx.workprec(PRECISION):
            ours, theirs = ([(arb(p.numerator) / p.denominator).log() for p in each] for each in (row, teacher))
            return topk_divergence(ours, theirs, k, direction, "dropped", exp=arb.exp, log=logarithm_of)

    with ctx.workprec(PRECISION):
        P = arb(mass.numerator) / mass.denominator
        least = P * P.log() if direction == "forward" else -P / arb(1).exp()
        assert float(dropped(student)[0] - least) > -(2.0**-100)
        # As near to the best student as a small part of the rest lets it be.
        share = 1 / mass if direction == "forward" else nearest(arb(-1).exp())
        rest = Fraction(1, 2**80)
        near = [t * share * (1 - rest) if token in best else rest for token, t in enumerate(teacher)]
        if direction == "reverse":
            near = [t * share if token in best else 1 - mass * share for token, t in enumerate(teacher)]
        assert abs(float(dropped(near)[0] - least)) < 2.0**-60
    _, slopes = dropped(teacher)
    kept_part = [teacher[token] * ((token in best) - mass) for token in range(len(teacher))]
    sign = -1 if direction == "forward" else 1
    assert all(abs(float(nearest(x) - sign * y)) < 2.0**-100 for x, y in zip(slopes, kept_part, strict=True))
