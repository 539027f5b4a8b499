"""The operations as they are written in arrays are right, and a mistake that is made with axes is said with axes."""

from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

from rlspec import in_arrays
from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.conventions import drawn
from rlspec.diagnosis import Diagnosis
from rlspec.properties.checking import DOUBLE, Call
from rlspec.properties.questions import PLAIN_QUESTIONS, QUESTIONS
from rlspec.repair import AGREEING
from rlspec.spec.operations import OPERATIONS
from rlspec.written_in_arrays import InArrays

WRITTEN = [name for name in vars(in_arrays) if name.partition("__")[0] in OPERATIONS]


def as_written(name, question):
    """What the operation answers as it is written in arrays, as many results as it gives."""
    operation = question.operation
    form = InArrays.of(operation, getattr(in_arrays, name), [])
    with np.errstate(all="ignore"):
        return form.inner(dict(zip(operation.parameters, question.arguments, strict=True)))


def agrees(name, question):
    """Whether that is what the reference answers, up to so many roundings."""
    operation = question.operation
    with np.errstate(all="ignore"):
        right = getattr(reference, operation.name)(*question.arguments)
    right = right if isinstance(right, tuple) else (right,)
    slack = 4 * question.roundings * float(np.max(question.magnitude)) * float(DOUBLE)
    pairs = zip(as_written(name, question), right, strict=False)
    return all(np.allclose(mine, its, rtol=1e-9, atol=slack, equal_nan=True) for mine, its in pairs)


@pytest.mark.parametrize("name", WRITTEN)
def test_an_operation_written_in_arrays_is_right_in_all_plain_questions_and_in_most_others(name):
    operation = name.partition("__")[0]
    assert all(agrees(name, question) for question in drawn(PLAIN_QUESTIONS[operation], 20))
    others = [agrees(name, question) for question in drawn(QUESTIONS[operation], 20)]
    assert sum(others) >= AGREEING * len(others)


def said_of(operation, implementation):
    """What the diagnosis says of a wrong implementation."""
    candidate = Candidate(SimpleNamespace(**{operation: implementation}), "another")
    call = Call(OPERATIONS[operation], drawn(PLAIN_QUESTIONS[operation], 20)[0].arguments)
    [mistake, *_] = Diagnosis(candidate, operation).mistakes(call)
    return mistake.words


def test_a_reduction_over_the_other_axis_is_said():
    def dueling(values, advantages):
        return values[:, None] + advantages - advantages.mean(axis=0, keepdims=True)

    assert "- advantages.mean(axis=0, keepdims=True)` in `dueling` written in arrays" in said_of("dueling", dueling)


def test_what_is_not_set_to_zero_where_nothing_counts_is_said():
    def normalize_advantages(advantages, mask):
        counted = advantages[mask]
        if len(counted) < 2:
            return np.zeros(mask.shape)
        return (advantages - counted.mean()) / (counted.std() + 1e-8)

    said = said_of("normalize_advantages", normalize_advantages)
    scaled = "above / kept_from_zero(variance, eps)"
    assert f"as if `where(mask, {scaled}, 0)` were `{scaled}` in `normalize_advantages` written in arrays" in said


def test_a_wrong_exponent_of_a_sum_is_said():
    def reward_to_go(rewards, gamma):
        exponents = np.arange(rewards.shape[1])[:, None] * np.arange(rewards.shape[1])
        return rewards @ np.where(exponents >= 0, gamma**exponents, 0)

    assert "`discounts` written in arrays" in said_of("reward_to_go", reward_to_go)


def test_a_change_that_would_write_to_an_argument_does_not():
    """``np.zeros_like(advantages)`` left out, the results would be written over the arguments of later calls."""
    operation = OPERATIONS["normalize_advantages"]
    form, *_ = InArrays.all_of(operation, [])
    advantages = np.array([[2.0, 0.0]])
    call = {"advantages": advantages, "mask": np.ones((1, 2), dtype=bool)}
    written, *_ = InArrays.all_of(operation, [call])
    assert len(written.edits) > len(form.edits)
    for edit in written.edits:
        with suppress(Exception), np.errstate(all="ignore"):
            written.value(edit)(call)
    assert advantages.tolist() == [[2, 0]]


def test_a_mistake_of_a_loop_over_time_is_said_as_one():
    def packed_gae(token_rewards, values, segments, mask, gamma, lam):
        advantages = np.zeros(mask.shape)
        for row, here in enumerate(mask):
            carried, after = {}, {}
            for t in np.flatnonzero(here)[::-1]:
                own = segments[row, t]
                error = token_rewards[row, t] + gamma * after.get(own, 0) - values[row, t]
                advantages[row, t] = carried[own] = error + gamma - lam * carried.get(own, 0)
                after[own] = values[row, t]
        return advantages

    assert "`error + gamma - lam * carried` in `packed_gae` written" in said_of("packed_gae", packed_gae)


def test_a_mistake_in_another_form_of_a_formula_is_said_in_that_form():
    def huber_loss(values, targets, delta):
        error = values - targets
        near = np.minimum(abs(error), delta)
        return near**2 / 2 + delta * (abs(error) + near), np.clip(error, -delta, delta)

    def symlog(values):
        return np.where(values < -1, -np.log1p(abs(values)), np.log1p(abs(values)))

    def popart(weights, bias, old_mean, old_std, new_mean, new_std):
        ratio = old_std / new_std
        return weights * ratio, bias * ratio + (old_mean - new_mean) * new_std

    assert "delta * (error + near)` in `huber_loss` written in arrays" in said_of("huber_loss", huber_loss)
    assert "where(values < -1, " in said_of("symlog", symlog)
    assert "(old_mean - new_mean) * new_std)` in `popart` written in arrays" in said_of("popart", popart)
