"""Every choice that the specification leaves open is recognised in the answers of whoever made it, with its number."""

from functools import partial
from itertools import product
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.conventions import drawn, in_a_row, infer, simplest_decimal
from rlspec.power import every_property
from rlspec.properties.checking import each
from rlspec.properties.losses import POINTS
from rlspec.properties.questions import PLAIN_QUESTIONS, QUESTIONS
from rlspec.properties.questions.question import last_names
from rlspec.spec.choices import letter_of, number_in
from rlspec.spec.clauses import choices, choices_of, conventions

OPEN = [operation for operation in QUESTIONS if choices_of(operation)]
"""The operations that are left a choice."""


def some_number(random, choice):
    """A number of one or two digits in a choice's range, small ones and large ones alike often."""
    number = float(f"{choice.low * (choice.high / choice.low) ** random.random():.{random.randrange(2)}e}")
    return min(max(number, choice.low), choice.high)


def some_text(random, choice):
    """The choice with some number in it, if it has one."""
    return choice.with_number(some_number(random, choice)) if choice.letter else choice.text


def alone(operation):
    """Every choice of an operation, the others being the default ones."""
    free, random = choices_of(operation), Random(operation)
    defaults = {name: known[0].text for name, known in free.items()}
    return [defaults | {name: some_text(random, choice)} for name, known in free.items() for choice in known]


def together(operation, seed):
    """Choices drawn at random."""
    random = Random(f"{operation} {seed}")
    return {name: some_text(random, random.choice(known)) for name, known in choices_of(operation).items()}


ALONE = [(operation, chosen) for operation in OPEN for chosen in alone(operation)]
TOGETHER = [(operation, together(operation, seed)) for operation, seed in product(OPEN, range(4))]


def as_id(part):
    """A test's id: the operation, and the choices that it is about."""
    return part if isinstance(part, str) else ",".join(f"{name}={text}" for name, text in last_names(part).items())


def who(operation, answer, **fields):
    """A candidate that has one operation, and what was found out about its conventions."""
    candidate = Candidate(SimpleNamespace(**{operation: answer}, **fields), "someone")
    candidate.inferred = infer(candidate, operation)
    return candidate


def choosing(operation, chosen):
    """The reference under these conventions."""
    return partial(getattr(reference, operation), **last_names(chosen))


def single(answer):
    """The same in single precision: each result is rounded to it."""

    def rounded(*arguments):
        result = answer(*arguments)
        return tuple(map(np.float32, result)) if isinstance(result, tuple) else np.float32(result)

    return rounded


def unlike(candidate, chosen, digits=None):
    """The conventions that were not recognised, nor named as what cannot be told apart from what was."""
    return {
        name: (text, candidate.inferred.get(name), candidate.alike.get(name))
        for name, text in chosen.items()
        if name not in idle(candidate.inferred)
        if not same(text, candidate.inferred[name], digits)
        and not any(
            same(text, other, digits) or of_one_shape(name, text, other) for other in candidate.alike.get(name, ())
        )
    }


def idle(chosen):
    """The conventions that make no difference beside these choices."""
    return {other for name, known in choices().items() for choice in known if choice.text == chosen.get(name)
            for other in choice.idle}  # fmt: skip


def of_one_shape(name, text, other):
    """Whether two choices differ in nothing but a number, which is left open where it makes no difference."""
    return any(choice.letter and choice.fits(text) and choice.fits(other) for choice in choices()[name])


def same(text, found, digits):
    """Whether two choices are one, or of one shape with numbers that agree to so many digits."""
    if text == found or digits is None:
        return text == found
    start = next((i for i, pair in enumerate(zip(text, found, strict=False)) if pair[0] != pair[1]), 0)
    cut = max(text.rfind(mark, 0, start) for mark in " (") + 1
    one, other = (number_in(f"{text[:cut]}E{')' * text.endswith(')')}", each) for each in (text, found))
    return bool(one and other) and abs(one - other) <= 10.0**-digits * one


def one_shape(known, text, found):
    """Whether two choices differ in a number only: one of a clamp that hardly ever acts is not told from others."""
    return any(choice.letter and choice.fits(text) and choice.fits(found) for choice in known)


@pytest.mark.parametrize(("operation", "chosen"), ALONE, ids=as_id)
def test_a_choice_is_found_out(operation, chosen):
    candidate = who(operation, choosing(operation, chosen))
    assert unlike(candidate, chosen) == {}
    assert candidate.precision(operation) == "float64"


@pytest.mark.parametrize(("operation", "chosen"), TOGETHER, ids=as_id)
def test_several_choices_are_found_out(operation, chosen):
    candidate = who(operation, choosing(operation, chosen))
    assert candidate.explained(operation)
    shapes = {name: known for name, known in choices_of(operation).items() if name in unlike(candidate, chosen)}
    assert [
        name for name, known in shapes.items() if not one_shape(known, chosen[name], candidate.inferred[name])
    ] == []


@pytest.mark.parametrize(("operation", "chosen"), TOGETHER[::3], ids=as_id)
def test_choices_are_found_out_from_answers_in_single_precision(operation, chosen):
    answer = single(choosing(operation, chosen))
    candidate = who(operation, answer)
    assert candidate.explained(operation)
    if unlike(candidate, chosen, digits=2):  # others do as well to single precision; what is declared is taken then
        declared = who(operation, answer, CONVENTIONS=chosen)
        assert unlike(declared, chosen, digits=2) == {}
        assert declared.explained(operation)


COUNTING = [name for name in ("ppo_loss", "kl_loss", "corrected_loss", *POINTS) if f"{name}.count" in conventions()]
"""Losses of which one token, asked alone, shows what is added to the count."""


@pytest.mark.parametrize("operation", COUNTING)
def test_a_small_number_that_is_added_to_the_count_is_found_out_in_single_precision(operation):
    chosen = {f"{operation}.count": "n + 2e-6"}
    candidate = who(operation, single(choosing(operation, chosen)))
    assert candidate.explained(operation)
    assert candidate.inferred.items() >= {**chosen, f"{operation}.precision": "float32"}.items()


GDPO = [("std + 1e-4", "std + 1e-4"), ("std + 1e-6", "sqrt(var + 1e-8)"), ("sqrt(var + 1e-8)", "std + 1e-6"),
        ("max(std, 3e-6)", "std"), ("max(std, 4e-8)", "none"), ("max(std, 7e-5)", "std + 3e-7")]  # fmt: skip
"""What is added to the spread of each reward and to that of their sums: in trl, in verl, and elsewhere."""


@pytest.mark.parametrize(("eps", "whitening"), GDPO)
def test_the_numbers_added_to_the_spreads_of_rewards_and_of_their_sums_are_found_out_together(eps, whitening):
    chosen = {"gdpo_advantages.eps": eps, "gdpo_advantages.whitening": whitening}
    candidate = who("gdpo_advantages", choosing("gdpo_advantages", chosen))
    assert candidate.explained("gdpo_advantages")
    assert candidate.inferred.items() >= {**chosen, "gdpo_advantages.precision": "float64"}.items()


def test_a_clamp_and_a_number_beside_the_count_of_self_normalised_weights_are_no_mistake():
    chosen = {"self_normalized_weights.log_weight": "clamped to 20", "self_normalized_weights.count": "n + 1e-8"}
    candidate = who("self_normalized_weights", choosing("self_normalized_weights", chosen))
    asking = [checked for checked in every_property() if checked.asks("self_normalized_weights")]
    assert not [checked.name for checked in asking if checked.violated_by(candidate)]


CLAMPS = [
    (name, choice.with_number(number))
    for name, known in choices().items()
    for choice in known
    for number in (6.5, 17.0, 47.0)
    if name.endswith((".log_ratio", ".log_weight")) and choice.letter
    if name.partition(".")[0] in ("ppo_loss", "surrogate_loss", "gspo_loss", "corrected_loss", "importance_weights")
]
"""Clamps of logarithms of ratios and of weights, of narrow ones and of wide ones."""


@pytest.mark.parametrize("precise", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize(("name", "text"), CLAMPS)
def test_the_number_of_a_clamp_is_found_out(name, text, precise):
    operation = name.partition(".")[0]
    answer = choosing(operation, {name: text})
    candidate = who(operation, answer if precise else single(answer))
    found = [candidate.inferred[name], *candidate.alike.get(name, ())]
    assert text in found
    assert {number_in(shape, other) for other in found for shape in ("clamped to C", "at most C")} <= {
        number_in("clamped to C", text) or number_in("at most C", text),
        None,
    }


NUMBERS = ["std + 1e-5", "sqrt(var + 3e-7)", "max(std, 1e-3)", "std + 4.971284e-4", "std + 1e-12"]


@pytest.mark.parametrize("operation", ["group_advantages", "normalize_advantages"])
@pytest.mark.parametrize("eps", NUMBERS)
def test_a_number_is_printed_as_a_person_would_write_it(operation, eps):
    for answer in (choosing(operation, {"eps": eps}), single(choosing(operation, {"eps": eps}))):
        found = who(operation, answer).inferred[f"{operation}.eps"]
        assert found == eps or (len(eps) > 16 and same(eps, found, digits=4))


@pytest.mark.parametrize(
    ("operation", "chosen"),
    [
        ("group_advantages", {"eps": "std + 1"}),
        ("group_advantages", {"eps": "std + 0.01"}),
        ("group_advantages", {"eps": "max(std, 0.5)"}),
        ("normalize_advantages", {"eps": "std + 1"}),
        ("normalize_advantages", {"eps": "sqrt(var + 0.01)"}),
        ("vtrace", {"policy_clip": "at most 0.01"}),
    ],
    ids=as_id,
)
def test_a_number_beyond_its_range_is_no_convention(operation, chosen):
    assert not who(operation, choosing(operation, chosen)).explained(operation)


def normalized(advantages, mask, lost=0, outside=0.0, added=1e-8):
    """Advantages less their mean over the root of their squares' sum over the count less so many."""
    counted = advantages[mask]
    if len(set(counted.tolist())) < 2:
        return np.zeros(mask.shape)
    squares = ((counted - counted.mean()) ** 2).sum()
    above = (advantages - counted.mean()) / (np.sqrt(squares / max(len(counted) - lost, 1)) + added)
    return np.where(mask, above, outside * above)


def test_a_lost_degree_of_freedom_is_a_convention_and_seven_are_none():
    name = "normalize_advantages"
    found = {lost: who(name, partial(normalized, lost=lost)) for lost in (0, 1, 7, -1)}
    assert [lost for lost, candidate in found.items() if candidate.explained(name)] == [0, 1]
    assert "float32" not in {candidate.precision(name) for candidate in found.values()}


def test_one_wrong_line_leaves_the_choices_and_the_precision_what_they_are():
    name = "normalize_advantages"
    garbage = partial(normalized, outside=1.0, added=1e-5)
    found = {"float64": who(name, garbage), "float32": who(name, single(garbage))}
    for precision, candidate in found.items():
        assert not candidate.explained(name)
        assert last_names(candidate.conventions(name)) == {"std": "ddof=0", "eps": "std + 1e-5", "one": "zero"}
        assert candidate.inferred[f"{name}.precision"] == f"{precision} where right"


def test_of_answers_that_are_all_wrong_no_precision_is_said():
    candidate = who("reward_to_go", lambda rewards, gamma: reference.reward_to_go(rewards, gamma) * 1.1 + 1)
    assert not candidate.explained("reward_to_go")
    assert "reward_to_go.precision" not in candidate.inferred


def test_of_an_operation_that_answers_nothing_nothing_is_said():
    def declining(*_):
        raise NotImplementedError

    candidate = who("dpo_loss", declining)
    assert (candidate.inferred, candidate.explained("dpo_loss")) == ({}, True)


def simple_dpo(*arguments):
    """Knows neither label smoothing nor invalid pairs, and is float32."""
    if arguments[5] or not np.all(arguments[6]):
        raise NotImplementedError
    return single(reference.dpo_loss)(*arguments)


def test_who_declines_much_is_asked_what_is_not_declined():
    candidate = who("dpo_loss", simple_dpo)
    assert candidate.inferred["dpo_loss.precision"] == "float32"


IDLE = [choice for name, known in choices().items() for choice in known if choice.idle]


@pytest.mark.parametrize("choice", IDLE, ids=lambda choice: f"{choice.convention}={choice.text}")
def test_of_a_convention_that_makes_no_difference_beside_another_choice_nothing_is_said(choice):
    operation = choice.convention.partition(".")[0]
    candidate = who(operation, choosing(operation, {choice.convention: choice.text}))
    assert candidate.inferred[choice.convention] == choice.text
    assert [name for name in choice.idle if name in candidate.inferred or name in candidate.alike] == []


@pytest.mark.parametrize("choice", IDLE, ids=lambda choice: f"{choice.convention}={choice.text}")
def test_what_is_said_to_make_no_difference_makes_none(choice):
    operation = choice.convention.partition(".")[0]
    for name in choice.idle:
        every = [{choice.convention: choice.text, name: other.example} for other in choices()[name]]
        for question in [*drawn(PLAIN_QUESTIONS[operation], 20), *drawn(QUESTIONS[operation], 20)]:
            answers = [in_a_row(each(choosing(operation, chosen)(*question.arguments))) for chosen in every]
            assert all(np.array_equal(answer, answers[0], equal_nan=True) for answer in answers)


def one_sequence_ratio(*arguments):
    """GSPO with log-ratios held at 10, of a batch in which none is larger."""
    if np.any(np.abs(arguments[0] - arguments[1]) > 10):
        raise NotImplementedError
    return reference.gspo_loss(*arguments, log_ratio="at most 10")


def test_choices_that_cannot_be_told_apart_are_named():
    assert len(who("gspo_loss", one_sequence_ratio).alike["gspo_loss.log_ratio"]) == 2


def test_a_declared_choice_is_taken_where_it_explains_the_answers_too():
    candidate = who("gspo_loss", one_sequence_ratio, CONVENTIONS={"gspo_loss.log_ratio": "at most 10"})
    assert candidate.inferred["gspo_loss.log_ratio"] == "at most 10"


def narrow_fraction(logp, old_logp, advantages, mask, low, high, tiny=7e-9, kind=np.float32):
    """The share of ratios outside, of a number of tokens plus a tiny one that float32 does not see."""
    ratio = np.exp(logp - old_logp)
    outside = mask & ((ratio < 1 - low) | (ratio > 1 + high))
    return kind(outside.sum()) / kind(max(mask.sum(), 1) + tiny)


def at_powers_of_two(answer):
    """The same where the number of tokens is a power of two, so that every share is a number that float32 holds."""

    def declining(*arguments):
        if bin(int(arguments[3].sum())).count("1") > 1:
            raise NotImplementedError
        return answer(*arguments)

    return declining


def test_a_declared_choice_in_float32_comes_before_another_one_in_float64():
    declared = {"clip_fraction.count": "n + 7e-9"}
    for answer in (narrow_fraction, at_powers_of_two(narrow_fraction)):
        found = who("clip_fraction", answer, CONVENTIONS=declared).inferred
        assert found["clip_fraction.count"] == "n + 7e-9"
        assert found["clip_fraction.precision"] == "float32"


def test_a_choice_that_answers_in_float64_contradict_is_contradicted():
    declared = {"clip_fraction.count": "n + 7e-9"}
    exact = partial(narrow_fraction, tiny=0, kind=np.float64)
    assert who("clip_fraction", exact, CONVENTIONS=declared).inferred["clip_fraction.count"] == "n"


@pytest.mark.parametrize(
    ("least", "largest", "simplest"),
    [(1e-12, 1e-3, 1e-7), (5.0, 75.0, 10.0), (1.1e-5, 9e-5, 5e-5), (3.14, 3.15, 3.14), (2e-11, 2.05e-11, 2e-11)],
)
def test_the_simplest_number_of_a_range(least, largest, simplest):
    assert simplest_decimal(least, largest) == simplest


def test_the_simplest_number_of_a_range_lies_in_it():
    random = Random(1)
    for _ in range(500):
        least = 10 ** random.uniform(-13, 3)
        largest = least * (1 + 10 ** random.uniform(-15, 1))
        assert least <= simplest_decimal(least, largest) <= largest
    assert simplest_decimal(2.0, 1.0) is None


def test_examples_of_shapes_are_of_their_ranges():
    known = [choice for operation in OPEN for of in choices_of(operation).values() for choice in of]
    assert [str(choice) for choice in known if not choice.fits(choice.example)] == []
    assert [choice.example for choice in known if choice.letter and letter_of(choice.example)] == []


def test_a_number_beside_another_has_no_more_digits_than_it_needs():
    chosen = {"ppo_loss.count": "n + 1e-8", "ppo_loss.log_ratio": "clamped to 20"}
    assert unlike(who("ppo_loss", choosing("ppo_loss", chosen)), chosen) == {}


@pytest.mark.parametrize(
    ("operation", "name", "shape"),
    [
        ("token_rewards", "clamp", "within {}"),
        ("self_normalized_weights", "log_weight", "clamped to {}"),
        ("self_normalized_weights", "log_weight", "at most {}"),
        ("cispo_loss", "log_ratio", "clamped to {}"),
        ("cispo_loss", "log_ratio", "at most {}"),
    ],
)
@pytest.mark.parametrize("number", [6, 31, 57.5, 74])
def test_a_clamp_is_told_from_none_however_far_it_is(operation, name, shape, number):
    chosen = {f"{operation}.{name}": shape.format(number)}
    assert not unlike(who(operation, choosing(operation, chosen)), chosen)
    without = who(operation, choosing(operation, {}))
    assert f"{operation}.{name}" not in without.alike


@pytest.mark.parametrize("shape", ["clamped to {}", "at most {}"])
@pytest.mark.parametrize("number", [6, 7.5, 12])
def test_a_clamp_of_self_normalized_weights_is_found_in_single_precision(shape, number):
    """A weight is at most as many times their mean as there are, so that rounding does not hide it."""
    name = "self_normalized_weights"
    chosen = {f"{name}.log_weight": shape.format(number)}
    assert not unlike(who(name, single(choosing(name, chosen))), chosen)


@pytest.mark.parametrize("shape", ["std + {}", "max(std, {})"])
@pytest.mark.parametrize("number", [3e-11, 1.8e-8, 7e-4])
def test_what_keeps_the_spread_of_advantages_from_zero_is_found_in_single_precision(shape, number):
    name = "normalize_advantages"
    chosen = {f"{name}.eps": shape.format(f"{number:g}")}
    found = who(name, single(choosing(name, chosen)))
    assert not unlike(found, chosen, digits=5)
