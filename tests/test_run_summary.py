"""The figures of a run on records that are small enough to be worked out by hand."""

import math

import numpy as np
import pytest

from rlspec.recorded import Seen
from rlspec.run_summary import summary
from rlspec.spec.clauses import clauses
from rlspec.spec.operations import OPERATIONS


def call(name, results=(), **arguments):
    """A recorded call; arguments that no figure reads are None."""
    operation = OPERATIONS[name]
    given = tuple(arguments.get(of) for of in operation.parameters)
    return Seen(operation, given, dict(results), "float64", {}, "here", 0)


def of_tokens(name="ppo_loss", **others):
    """Ratios 1, 2, 1/2 and, under the mask, 8."""
    ratios = np.array([[1.0, 2.0], [0.5, 8.0]])
    return call(name, logp=np.log(ratios), old_logp=np.zeros((2, 2)),
                mask=np.array([[True, True], [True, False]]), **others)  # fmt: skip


def figures(*calls):
    """The values by the first words, each of a clause that there is."""
    found = list(summary(calls))
    assert all(figure.clause in clauses() or figure.said.startswith("tokens") for figure in found)
    return {figure.said: figure.value for figure in found}


def value(found, words):
    """The one figure whose words begin so."""
    [number] = [number for said, number in found.items() if said.startswith(words)]
    return number


def test_ratios_their_divergences_side_by_side_and_what_they_are_worth():
    found = figures(of_tokens(clip_low=0.25, clip_high=0.5))
    two = math.log(2)
    assert value(found, "tokens whose ratio") == 3
    assert value(found, "k1 of the old policy") == pytest.approx(0, abs=1e-15)  # 0, log 2 and -log 2
    assert value(found, "k2") == pytest.approx(two**2 / 3)
    assert value(found, "k3") == pytest.approx(1 / 6)  # 0, 1 - log 2 and log 2 - 1/2
    assert value(found, "effective sample size") == pytest.approx((7 / 2) ** 2 / (21 / 4) / 3)
    assert value(found, "share of the tokens whose ratio lies outside") == pytest.approx(2 / 3)


def test_divergences_from_a_reference():
    found = figures(of_tokens("grpo_loss", ref_logp=np.zeros((2, 2)), groups=np.zeros(2, dtype=int),
                              clip_low=0.25, clip_high=0.5))  # fmt: skip
    assert value(found, "k1 of the policy from the reference") == pytest.approx(0, abs=1e-15)
    assert value(found, "k3, the mean of 1/r") == pytest.approx(1 / 6)
    assert value(found, "share of the answers that reach the last column") == 0.5


def test_groups_without_spread_of_all_calls():
    one = call("group_advantages", rewards=np.array([1.0, 1.0, 0.0, 1.0]), groups=np.array([3, 3, 5, 5]))
    other = call("group_advantages", rewards=np.array([2.0, 2.0]), groups=np.array(["a", "a"]))
    assert value(figures(one, other), "share of the groups") == 2 / 3


def test_answers_that_no_eos_ends_and_those_of_the_greatest_length():
    tokens = np.array([[1, 7, 2, 1], [7, 1, 2, 3], [1, 1, 2, 7], [1, 1, 1, 1]])  # 1 ends, behind a prompt of 2
    masks = call("completion_mask", tokens=tokens, prompt_length=np.full(4, 2), eos=1)
    lengths = call("overlong_penalty", lengths=np.array([3, 8, 9]), max_length=8)
    found = figures(masks, lengths)
    assert value(found, "share of the answers that no EOS") == 0.5
    assert value(found, "share of the answers of the greatest") == 2 / 3


def test_ends_that_are_truncations():
    flags = np.array([[True, False, True, False]]), np.array([[True, True, False, False]])
    found = figures(call("td_error", terminated=flags[0]), call("gae", {"": np.zeros((1, 4))}, values=np.zeros((1, 4)),
                    terminated=flags[0], truncated=flags[1]))  # fmt: skip
    assert value(found, "share of the episodes' ends") == 1 / 3


def test_explained_variance_of_trained_returns_and_else_of_values_and_advantages():
    values, returns = np.array([[2.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 2.0], [3.0, 6.0]])
    advantages = call("gae", {"": returns - values}, values=values, terminated=np.zeros((2, 2), dtype=bool),
                      truncated=np.zeros((2, 2), dtype=bool))  # fmt: skip
    assert value(figures(advantages), "explained variance") == pytest.approx(6 / 7)
    mask = np.array([[True, True], [True, False]])
    trained = call("value_loss", values=values, returns=returns, mask=mask)  # -1, 0, 0 of 1, 2, 3
    assert value(figures(trained, advantages), "explained variance") == pytest.approx(2 / 3)


def test_of_equal_returns_nothing_is_explained_and_no_figure_has_nothing_to_be_of():
    flat = call("value_loss", values=np.ones((1, 2)), returns=np.ones((1, 2)), mask=np.ones((1, 2), dtype=bool))
    assert figures(flat) == {}
