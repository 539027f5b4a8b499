"""Properties of turns (spec/turns.md)."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, exactly, where
from rlspec.properties.conversing import Conversation, conversations
from rlspec.properties.languages import in_line, speeches
from rlspec.properties.questions.language import exact
from rlspec.properties.strategies import discounts, mixings
from rlspec.reference.language import as_process, as_table, expectation, expected_gradient, score_gradient
from rlspec.reference.policy_gradient import exact_policy_gradient
from rlspec.reference.turns import expected_gradient_by_turns, turn_returns
from rlspec.spec.operations import OPERATIONS


def pairs_of(drawn, row):
    """The places of a row's tokens that count, and how many turns lie from each of them to each other."""
    places = np.flatnonzero(drawn.mask[row])
    turns = drawn.turns[row, places]
    known = sorted(set(turns.tolist()))
    number = np.array([known.index(turn) for turn in turns], dtype=int)
    return places, number[None, :] - number[:, None]


def by_pairs(drawn, weight):
    """At each token the sum over all tokens that count of a weight of the turns in between, times their numbers."""
    found = np.full(drawn.mask.shape, Fraction(0), dtype=object)
    for row, values in enumerate(exact(drawn.arrays[0])):
        places, apart = pairs_of(drawn, row)
        for place, distances in zip(places, apart, strict=True):
            found[row, place] = sum(
                (weight(int(n)) * values[other] for n, other in zip(distances, places, strict=True)), Fraction(0)
            )
    return found


def still_to_come(gamma):
    """gamma^n of what is n turns later, and nothing of what was before."""
    return lambda ahead: exactly(gamma) ** ahead if ahead >= 0 else Fraction(0)


@clause("TURN-2")
@given(conversations())
def test_a_turns_sum_is_over_its_own_tokens(candidate, drawn):
    agree(candidate.turn_sums(*drawn), by_pairs(drawn, lambda ahead: Fraction(ahead == 0)), **drawn.judged())


@clause("TURN-3", examples=60)
@given(conversations())
def test_turns_sums_add_up_to_the_conversations(candidate, drawn):
    answer = candidate.turn_sums(*drawn)
    once = [sum(exact(row)[first].tolist(), Fraction(0)) for row, first in zip(answer.value, drawn.first, strict=True)]
    together = candidate.turn_sums(*drawn.but(turns=0 * drawn.turns))
    expected = np.where(drawn.mask, np.array(once, dtype=object)[:, None], 0)
    judged = drawn.judged()
    agree(together, where(drawn.mask, expected, together), **judged | {"roundings": judged["roundings"] * 2})


@clause("TURN-4")
@given(conversations(), discounts)
def test_a_discount_per_turn_does_not_count_tokens(candidate, drawn, gamma):
    agree(candidate.turn_returns(*drawn, gamma), by_pairs(drawn, still_to_come(gamma)), **drawn.judged(gamma))


@clause("TURN-5", examples=60)
@given(conversations())
def test_where_turns_are_paid_at_their_end_a_tokens_return_is_its_turns(candidate, drawn):
    paid = drawn.but(np.where(drawn.last, drawn.arrays[0], 0.0))
    left = paid.mask[:, :, None] & paid.mask[:, None, :] & ~np.tri(paid.mask.shape[1], k=-1, dtype=bool)
    expected = np.einsum("btk,bk->bt", left.astype(int).astype(object), exact(paid.arrays[0]))
    agree(candidate.turn_returns(*paid, 1.0), expected, **paid.judged())


def without_the_others(function, drawn):
    """The function's answer to each row's tokens that count, in their places."""
    found = np.zeros(drawn.mask.shape)
    for row, counts in enumerate(drawn.mask):
        if counts.any():
            arrays = [array[row : row + 1, counts] for array in (*drawn.arrays, drawn.turns, drawn.mask)]
            found[row, counts] = function(*arrays).value[0]
    return found


def check_without_the_others(candidate, operation, drawn, *scalars):
    """Check that an answer does not change where the environment says nothing."""
    assume(not drawn.mask.all())
    asked = OPERATIONS[operation]
    answer = candidate.ask(asked, *drawn, *scalars)
    expected = without_the_others(lambda *arrays: candidate.ask(asked, *arrays, *scalars), drawn)
    judged = drawn.judged(float(np.prod(scalars)))
    agree(answer, where(drawn.mask, expected, answer), **judged | {"roundings": judged["roundings"] * 2})


@clause("TURN-6", examples=40)
@given(conversations())
def test_what_the_environment_says_is_in_no_turns_sum(candidate, drawn):
    check_without_the_others(candidate, "turn_sums", drawn)


@clause("TURN-6", examples=60)
@given(conversations(), discounts)
def test_what_the_environment_says_is_no_step_between_turns(candidate, drawn, gamma):
    check_without_the_others(candidate, "turn_returns", drawn, gamma)


@clause("TURN-6", examples=60)
@given(conversations(2), discounts, mixings)
def test_what_the_environment_says_is_no_step_for_the_advantages(candidate, drawn, gamma, lam):
    check_without_the_others(candidate, "turn_gae", drawn, gamma, lam)


def values_at_turns(drawn):
    """The value of each token's turn [B, T], that of the turn after it, and what the turn was paid, in rationals."""
    rewards, values = map(exact, drawn.arrays)
    begun = Conversation((np.where(drawn.first, values, 0),), drawn.turns, drawn.mask)
    paid = Conversation((rewards,), drawn.turns, drawn.mask)
    own, following = (by_pairs(begun, lambda ahead, n=n: Fraction(ahead == n)) for n in (0, 1))
    return own, following, by_pairs(paid, lambda ahead: Fraction(ahead == 0))


def errors_of(drawn, gamma):
    """The TD error of each token's turn [B, T]."""
    own, following, paid = values_at_turns(drawn)
    return paid + exactly(gamma) * following - own


@clause("TURN-7")
@given(conversations(2), discounts, mixings)
def test_turn_gae_is_a_sum_of_errors_of_turns(candidate, drawn, gamma, lam):
    once = Conversation((np.where(drawn.first, errors_of(drawn, gamma), 0),), drawn.turns, drawn.mask)
    expected = by_pairs(once, still_to_come(exactly(gamma) * exactly(lam)))
    agree(candidate.turn_gae(*drawn, gamma, lam), expected, **drawn.judged(gamma * lam))


def sums_over_tokens(numbers, mask, discount):
    """sum_{k >= t} discount^(how many tokens that count from t to k) x_k over those that count, and 0 elsewhere."""
    expected = np.full(mask.shape, Fraction(0), dtype=object)
    for row, counts in enumerate(mask):
        places = np.flatnonzero(counts)
        for number, place in enumerate(places):
            later = numbers[row, places[number:]]
            expected[row, place] = sum(discount**ahead * x for ahead, x in enumerate(later))
    return expected


def values_of_the_next(values, mask):
    """The value of the next token that counts, at each that counts; 0 where there is none."""
    following = np.full(mask.shape, Fraction(0), dtype=object)
    for row, counts in enumerate(mask):
        places = np.flatnonzero(counts)
        following[row, places[:-1]] = values[row, places[1:]]
    return following


@clause("TURN-8", examples=60)
@given(conversations(), discounts)
def test_returns_of_turns_of_one_token_are_those_of_tokens(candidate, drawn, gamma):
    apart = drawn.but(turns=np.arange(drawn.mask.shape[1]) + 0 * drawn.turns)
    expected = sums_over_tokens(exact(drawn.arrays[0]), drawn.mask, exactly(gamma))
    agree(candidate.turn_returns(*apart, gamma), expected, **drawn.judged(gamma))


@clause("TURN-8", examples=60)
@given(conversations(2), discounts, mixings)
def test_advantages_of_turns_of_one_token_are_those_of_tokens(candidate, drawn, gamma, lam):
    apart = drawn.but(turns=np.arange(drawn.mask.shape[1]) + 0 * drawn.turns)
    rewards, values = map(exact, drawn.arrays)
    errors = rewards - values + exactly(gamma) * values_of_the_next(values, drawn.mask)
    expected = sums_over_tokens(errors, drawn.mask, exactly(gamma) * exactly(lam))
    agree(candidate.turn_gae(*apart, gamma, lam), expected, **drawn.judged(gamma * lam))


@clause("TURN-9", examples=60)
@given(conversations(2), discounts)
def test_with_lambda_one_turn_gae_is_the_return_less_the_value(candidate, drawn, gamma):
    rewards = Conversation(drawn.arrays[:1], drawn.turns, drawn.mask)
    expected = by_pairs(rewards, still_to_come(gamma)) - values_at_turns(drawn)[0]
    agree(candidate.turn_gae(*drawn, gamma, 1.0), expected, **drawn.judged(gamma))


@clause("TURN-9", examples=60)
@given(conversations(2), discounts)
def test_with_lambda_zero_turn_gae_is_the_turns_error(candidate, drawn, gamma):
    agree(candidate.turn_gae(*drawn, gamma, 0.0), errors_of(drawn, gamma), **drawn.judged())


@clause("TURN-9", examples=40)
@given(conversations(2), discounts, mixings)
def test_one_turn_has_what_it_was_paid_less_its_first_value(candidate, drawn, gamma, lam):
    whole = drawn.but(turns=0 * drawn.turns)
    own, _, paid = values_at_turns(whole)
    agree(candidate.turn_gae(*whole, gamma, lam), paid - own, **whole.judged())


# Theorems.

of_contexts = st.lists(st.integers(-3, 3), min_size=64, max_size=64)


def numbers_of(speech, numbers):
    """A number for every beginning of an answer."""
    begun = sorted({(prompt, tokens[:n]) for prompt, tokens in speech.pairs for n in range(len(tokens) + 1)})
    return {key: Fraction(numbers[place % len(numbers)]) for place, key in enumerate(begun)}


@clause("TURN-1", examples=30)
@given(speeches(on_policy=True))
def test_what_the_environment_says_has_a_part_in_the_score_and_none_in_the_gradient(speech):
    def own(prompt, tokens):
        return [speech.score(prompt, tokens) * (step % 2 == 0) for step, _ in enumerate(tokens)]

    found = expected_gradient(speech.language, speech.policy, own)
    process = as_process(speech.language, speech.score)
    exact_rows = exact_policy_gradient(process, as_table(speech.language, speech.policy))[:-1]
    for (context, row), expected in zip(found.items(), exact_rows, strict=True):
        spoken = len(context[1]) % 2 == 0
        assert row == (expected if spoken else [0] * len(row))


def rewarded(speech, numbers):
    """What each token of an answer is paid."""
    paid = numbers_of(speech, numbers)
    return lambda prompt, tokens: [paid[prompt, tokens[: step + 1]] for step, _ in enumerate(tokens)]


@clause("TURN-10", examples=30)
@given(speeches(on_policy=True), of_contexts, st.sampled_from([1, 2]))
def test_what_is_still_to_come_from_a_turn_on_is_credit_enough(speech, numbers, length):
    paid, baseline = rewarded(speech, numbers), numbers_of(speech, numbers[::-1])

    def credit(prompt, tokens):
        turns = [step // length for step, _ in enumerate(tokens)]
        returns = turn_returns(paid(prompt, tokens), turns, [1] * len(tokens), 1)
        return [r - baseline[prompt, tokens[: turn * length]] for r, turn in zip(returns, turns, strict=True)]

    found = expected_gradient(speech.language, speech.policy, credit)
    expected = score_gradient(speech.language, speech.policy, lambda *pair: sum(paid(*pair)))
    assert in_line(found) == in_line(expected)


@clause("TURN-11", examples=30)
@given(speeches(on_policy=True), of_contexts)
def test_a_baseline_for_each_later_turn_is_a_price_of_going_on(speech, numbers):
    paid, prices = rewarded(speech, numbers), [Fraction(n) for n in numbers[:3]]

    def credit(prompt, tokens):
        rest = [r - b for r, b in zip(paid(prompt, tokens), prices, strict=False)]
        return turn_returns(rest, list(range(len(tokens))), [1] * len(tokens), 1)

    def reaches(turn):
        return lambda prompt, tokens: int(len(tokens) > turn)

    def gradient(score):
        return np.array(in_line(score_gradient(speech.language, speech.policy, score)), dtype=object)

    found = in_line(expected_gradient(speech.language, speech.policy, credit))
    going_on = sum(price * gradient(reaches(turn)) for turn, price in enumerate(prices))
    assert found == (gradient(lambda *pair: sum(paid(*pair))) - going_on).tolist()


@clause("TURN-12", examples=15)
@given(speeches(on_policy=True), of_contexts, st.sampled_from([2, 3]))
def test_grouped_by_turn_a_lonely_answer_must_keep_its_return(speech, numbers, size):
    language, policy, paid = speech.language, speech.policy, rewarded(speech, numbers)
    assume(size == 2 or len(speech.pairs) < 10)

    def to_go(prompt, tokens):
        return turn_returns(paid(prompt, tokens), list(range(len(tokens))), [1] * len(tokens), 1)

    def reached(prompt, turn):
        inside = expectation(language, policy, lambda of, tokens: int(of == prompt and len(tokens) > turn))
        return inside / language.prompts[prompt]

    def weighed(prompt, tokens):
        returns = to_go(prompt, tokens)
        return [r * (1 - (1 - reached(prompt, turn)) ** (size - 1)) for turn, r in enumerate(returns)]

    kept, lost = (
        in_line(expected_gradient_by_turns(language, policy, size, to_go, alone)) for alone in ("its return", "zero")
    )
    assert kept == in_line(score_gradient(language, policy, lambda *pair: sum(paid(*pair))))
    assert lost == in_line(expected_gradient(language, policy, weighed))
