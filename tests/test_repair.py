"""Mistakes that nobody knows are explained: by the plainest edit of what is right, or by what kind they are of."""

from types import SimpleNamespace

import numpy as np
import pytest

from rlspec.behaviour import Asked, Behaviour
from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.conventions import drawn
from rlspec.derivatives import Traced
from rlspec.diagnosis import Diagnosis
from rlspec.formulas import formulas
from rlspec.properties.checking import DOUBLE, Call
from rlspec.properties.questions import PLAIN_QUESTIONS, QUESTIONS
from rlspec.repair import Deadline, Repair, as_inner, outcome
from rlspec.source_edits import Seen, functions_run, source_edits
from rlspec.spec.operations import OPERATIONS


def questions(operation):
    """Enough of them, and the same ones for every case."""
    return [*drawn(PLAIN_QUESTIONS[operation], 60), *drawn(QUESTIONS[operation], 60)]


def explained(operation, wrong, **chosen):
    """The plainest sentence for an operation that is done wrong; its conventions are given by keyword."""
    asked = []
    for question in questions(operation):
        with np.errstate(all="ignore"):
            answer = wrong(*question.arguments)
        parts = answer if isinstance(answer, tuple) else (answer,)
        results = tuple(np.asarray(part, dtype=float) for part in parts)
        unit = 2 * question.roundings * float(np.max(question.magnitude))
        asked.append(Asked(question.arguments, Behaviour(results), unit))
    repair = Repair.of(OPERATIONS[operation], getattr(reference, operation), chosen, asked, float(DOUBLE), Deadline(60))
    return str((repair.single() or repair.double())[0])


def gae_with(**changes):
    """GAE of changed arguments, each given as a function of all arguments by name."""

    def wrong(*arguments):
        given = dict(zip(OPERATIONS["gae"].parameters, arguments, strict=True))
        return reference.gae(*(given | {name: change(given) for name, change in changes.items()}).values())

    return wrong


ARGUMENTS = {
    "as if `next_values` were `values`": gae_with(next_values=lambda a: a["values"]),
    "as if `values` had the other sign": gae_with(values=lambda a: -a["values"]),
    "as if `rewards` were clipped to [-1, 1]": gae_with(rewards=lambda a: a["rewards"].clip(-1, 1)),
    "as if `rewards` were those of the step before, and 0 at the first": gae_with(
        rewards=lambda a: np.pad(a["rewards"][:, :-1], ((0, 0), (1, 0)))
    ),
    "as if `terminated` were `terminated or truncated`": gae_with(
        terminated=lambda a: a["terminated"] | a["truncated"]
    ),
    "as if `next_values` were `values` where `truncated` is set": gae_with(
        next_values=lambda a: np.where(a["truncated"], a["values"], a["next_values"])
    ),
    "as if `lam` were 0.95 where `lam` is 0": gae_with(lam=lambda a: a["lam"] or 0.95),
    "as if `gamma` and `lam` were exchanged": gae_with(gamma=lambda a: a["lam"], lam=lambda a: a["gamma"]),
    "as if `gamma` were rounded to float32": gae_with(gamma=lambda a: float(np.float32(a["gamma"]))),
    "as if all flags were the first row's in every row": gae_with(
        terminated=lambda a: np.broadcast_to(a["terminated"][:1], a["terminated"].shape),
        truncated=lambda a: np.broadcast_to(a["truncated"][:1], a["truncated"].shape),
    ),
}


@pytest.mark.parametrize("sentence", ARGUMENTS)
def test_a_changed_argument_is_named(sentence):
    assert explained("gae", ARGUMENTS[sentence]) == sentence


RESULTS = {
    "as if the result were halved": lambda right, a: right / 2,
    "as if the result were rounded down to whole numbers": lambda right, a: np.floor(right),
    "as if the result were rounded to whole numbers": lambda right, a: np.rint(right),
    "as if the result were rounded up to whole numbers": lambda right, a: np.ceil(right),
    "as if the result were times 1.003": lambda right, a: right * 1.003,
    "as if the result were 0.25 more": lambda right, a: right + 0.25,
    "as if the result were at most 0.375": lambda right, a: np.minimum(right, 0.375),
    "as if the result were that of the next step, and 0 at the last": lambda right, a: np.pad(
        right[:, 1:], ((0, 0), (0, 1))
    ),
    "as if the result were added `next_values`": lambda right, a: right + a[2],
    "as if `lambda_return` were asked instead": lambda right, a: right + a[1],
    "as if the result were 0 where `truncated` is set": lambda right, a: np.where(a[4], 0, right),
}


@pytest.mark.parametrize("sentence", RESULTS)
def test_a_changed_result_is_named(sentence):
    def wrong(*arguments):
        return RESULTS[sentence](reference.gae(*arguments), arguments)

    assert explained("gae", wrong) == sentence


def test_a_formula_of_the_reference_is_shown_as_it_is_and_as_it_would_have_to_be():
    def wrong(rewards, values, next_values, terminated, gamma):
        return rewards + np.where(terminated, 0, next_values) - gamma * values

    said = explained("td_error", wrong)
    assert "`td_error`" in said
    assert "were" in said

    def undiscounted(rewards, values, next_values, terminated, truncated, gamma, lam):
        deltas = reference.td_error(rewards, values, next_values, terminated, gamma)
        for t in reversed(range(deltas.shape[1] - 1)):
            deltas[:, t] += lam * ~(terminated | truncated)[:, t] * deltas[:, t + 1]
        return deltas

    assert "`advantages.append(delta + lam * unless(end, advantages[-1]))`" in explained("gae", undiscounted)


def dpo(change):
    """A loss of preferences with its results changed."""
    return lambda *arguments: change(*reference.dpo_loss(*arguments))


def test_a_gradient_is_wrong_and_its_value_right():
    wrong = dpo(lambda loss, chosen, rejected: (loss, 2 * chosen, rejected))
    assert explained("dpo_loss", wrong) == "as if `d_chosen` were doubled"


def test_a_value_is_wrong_and_its_gradient_right():
    wrong = dpo(lambda loss, chosen, rejected: (-loss, chosen, rejected))
    assert explained("dpo_loss", wrong) == "as if `loss` had the other sign"


def test_an_argument_may_be_another_for_one_result_alone():
    def wrong(chosen, rejected, ref_chosen, ref_rejected, beta, smoothing, valid):
        arguments = (chosen, rejected, ref_chosen, ref_rejected)
        loss, _, _ = reference.dpo_loss(*arguments, beta, smoothing, valid)
        return loss, *reference.dpo_loss(*arguments, beta, 0.0, valid)[1:]

    assert explained("dpo_loss", wrong) == "as if `label_smoothing` were 0, in `d_chosen` and `d_rejected` alone"


def test_whoever_lets_a_library_differentiate_makes_a_mistake_once():
    """The value is that of a changed formula, and the derivatives are those of the value."""

    def value(presquash, mean, log_std):
        z = (presquash - mean) / np.exp(log_std)
        correction = np.log1p(-(np.tanh(presquash) ** 2))
        return (-z * z / 2 - log_std - np.log(2 * np.pi) / 2 + correction).sum(axis=-1)

    def wrong(presquash, mean, log_std):
        z = (presquash - mean) / np.exp(log_std)
        return value(presquash, mean, log_std), -z / np.exp(log_std) - 2 * np.tanh(presquash)

    with np.errstate(all="ignore"):
        said = explained("squashed_gaussian_logp", wrong)
    assert said.endswith("in the reference's `squashed_gaussian_logp`, and the derivatives followed")


def test_a_mistake_shows_beside_a_convention_that_is_not_the_default():
    def wrong(logp, advantages, mask):
        return reference.policy_gradient_loss(-logp, advantages, mask, reduction="sum")

    said = explained("policy_gradient_loss", wrong, reduction="sum")
    assert said == "as if `logp` had the other sign"


def test_two_mistakes_at_once_are_named():
    two = gae_with(next_values=lambda a: a["values"], lam=lambda a: a["lam"] or 0.95)
    said = explained("gae", two)
    assert "`next_values` were `values`" in said
    assert "`lam` were 0.95 where `lam` is 0" in said


def said_of(operation, implementation):
    """What the whole diagnosis says."""
    candidate = Candidate(SimpleNamespace(**{operation: implementation}), "another")
    call = Call(OPERATIONS[operation], questions(operation)[0].arguments)
    return Diagnosis(candidate, operation).mistakes(call)[0]


def test_an_exception_is_told_with_the_calls_in_which_it_is_raised():
    def gae(*arguments):
        if arguments[5] == 0:
            raise KeyError("discount")
        return reference.gae(*arguments)

    mistake = said_of("gae", gae)
    assert mistake.words.startswith("it raised KeyError: 'discount'")
    assert mistake.words.endswith("where `gamma` is 0")
    assert not mistake.kind


def scrambled(array):
    """Numbers that no small edit of what is right gives."""
    return np.cos(37 * array) + np.arange(array.size).reshape(array.shape) % 7 * np.sqrt(2)


def test_an_exception_is_told_with_the_expression_that_raises_it():
    """It is raised where the advantages that count are not all alike: no condition of the arguments says so."""

    def normalize_advantages(advantages, mask):
        counted = advantages[mask]
        if counted.size and np.ptp(counted) > 0:
            raise TypeError("no such number")
        return 0 * advantages

    mistake = said_of("normalize_advantages", normalize_advantages)
    assert mistake.words.startswith("it raised TypeError: no such number")
    assert "` is computed in the reference's `" in mistake.words
    assert not mistake.kind


def test_a_difference_may_have_been_the_other_way_round_with_another_operator():
    """Programs often have the negative of what a formula has: here the value less the target."""

    def td_error(rewards, values, next_values, terminated, gamma):
        return -(values * (rewards + gamma * np.where(terminated, 0, next_values)))

    said = explained("td_error", td_error)
    assert "were `-(value * (reward + gamma * unless(end, following)))`" in said


def test_a_power_that_has_no_finite_slope_is_differentiated_all_the_same():
    [root] = [Traced(0.0) ** 0.5]
    [(_, slope)] = root.made_of
    assert slope == np.inf
    [_, (_, of_the_exponent)] = (Traced(-2.0) ** Traced(3.0)).made_of
    assert np.isnan(of_the_exponent)
    assert (Traced(0.0) ** Traced(2.0)).made_of[1][1] == 0


def test_a_change_of_source_that_changes_no_number_is_not_tried():
    operation = OPERATIONS["discounted_return"]
    inner = as_inner(reference.discounted_return, operation.parameters)
    call = {"rewards": np.array([[1.0, 2.0]]), "gamma": 1.0}
    seen = Seen(inner, call)
    edits = [edit for edit in source_edits(functions_run(inner, [call])) if edit.changes[0].by]
    tried = {edit.words: seen.may_matter(edit) for edit in edits}
    assert not all(tried.values())
    right = outcome(inner, call)
    for edit in edits:
        if not tried[edit.words]:
            results = outcome(edit.around(inner), call)
            assert results is None or np.array_equal(results[0], right[0])


KINDS = {
    "only where `truncated` is set": lambda right, a: np.where(a[4], scrambled(right), right),
    "another answer when it is asked the same again": lambda right, a: right + np.random.default_rng().normal(),
    "a row's answer depends on the other rows": lambda right, a: right + scrambled(right).sum(),
}


@pytest.mark.parametrize("words", KINDS)
def test_where_nothing_explains_a_mistake_its_kind_is_said(words):
    def gae(*arguments):
        return KINDS[words](reference.gae(*arguments), arguments)

    mistake = said_of("gae", gae)
    assert words in mistake.kind.words
    assert not mistake.faults


def test_which_result_is_wrong_is_said():
    def dpo_loss(*arguments):
        loss, chosen, rejected = reference.dpo_loss(*arguments)
        return loss, chosen + np.sin(1 + 9 * rejected), rejected

    assert said_of("dpo_loss", dpo_loss).words.startswith("`d_chosen` is wrong, and `loss` and `d_rejected` right")


def test_an_expression_that_no_small_edit_makes_wrong_is_given_as_a_formula():
    def wrong(rewards, values, next_values, terminated, gamma):
        bootstraps = gamma * np.where(terminated, 0, next_values)
        with np.errstate(all="ignore"):
            return bootstraps / (values - rewards)

    candidate = Candidate(SimpleNamespace(td_error=wrong), "another")
    call = Call(OPERATIONS["td_error"], questions("td_error")[0].arguments)
    [mistake] = Diagnosis(candidate, "td_error").mistakes(call)
    assert "were `gamma * unless(end, following) / (value - reward)` in the reference's `td_error`" in mistake.words


def test_formulas_are_found_in_numbers_and_written_with_their_names():
    random = np.random.default_rng(0)
    known = {name: random.normal(size=6) for name in ("gain", "weight", "f(x)")}
    [(text, _), *_] = formulas(known, known["gain"] - 2 * known["f(x)"])
    assert eval(text, {"gain": 7.0, "weight": 1.0, "f": lambda x: x, "x": 3.0}) == 1.0
    assert formulas(known, random.normal(size=6)) == []
