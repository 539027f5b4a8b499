"""A candidate's mistake is called by its name: one fault, two at once, or none that is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.diagnosis import Diagnosis
from rlspec.faults import museum, right
from rlspec.power import every_property, faulty

PROPERTIES = [checked for checked in every_property() if not checked.theorem]
SEEN = [fault for fault in museum().values() if fault.seen]


def first_violation(candidate, *clauses):
    """The first violation of any property of the clauses."""
    found = (checked.violation_by(candidate) for checked in PROPERTIES if set(clauses) & set(checked.clauses))
    return next(filter(None, found))


def mistakes(candidate, *clauses):
    """The mistakes that explain the first violation, as tuples of slugs."""
    violation = first_violation(candidate, *clauses)
    diagnosis = Diagnosis(candidate, violation.call.operation.name)
    return [tuple(fault.slug for fault in mistake.faults) for mistake in diagnosis.mistakes(violation.call)]


@pytest.mark.parametrize("fault", SEEN, ids=lambda fault: f"{fault.id}-{fault.slug}")
def test_a_defect_that_was_seen_is_recognised(fault):
    assert (fault.slug,) in mistakes(faulty(fault), fault.clause)


def candidate_with(**operations):
    return Candidate(SimpleNamespace(**operations), "another")


def summed_by_hand(deltas, ended, decay):
    """The backward recursion, once more, so that nothing here is the museum's own code."""
    advantages = np.array(deltas, dtype=float)
    for row, t in np.ndindex(advantages[:, 1:].shape):
        step = advantages.shape[1] - 2 - t
        if not ended[row, step]:
            advantages[row, step] += decay * advantages[row, step + 1]
    return advantages


def test_a_defect_in_other_code_is_recognised_with_where_it_was_seen():
    def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
        ended = terminated | truncated
        return summed_by_hand(rewards + gamma * next_values * ~ended - values, ended, gamma * lam)

    candidate = candidate_with(gae=gae)
    [mistake] = Diagnosis(candidate, "gae").mistakes(first_violation(candidate, "ADV-3").call)
    assert [fault.slug for fault in mistake.faults] == ["truncation-as-termination"]
    assert "pytorch/rl#1661" in mistake.as_json()[0]["seen"]


def test_two_defects_at_once_are_recognised():
    def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
        ended = terminated | truncated
        return summed_by_hand(rewards + gamma * next_values * ~ended - values, ended, lam)

    assert ("truncation-as-termination", "carry-decays-by-lambda-alone") in mistakes(candidate_with(gae=gae), "ADV-3")


PAIRS = [
    ("time-out-bootstraps-from-current-state", "carry-crosses-termination"),
    ("lambda-zero-means-default", "last-advantage-zero"),
    ("discount-rounded-to-float32", "carry-crosses-truncation"),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_of_defects_has_an_explanation_among_the_pairs(pair):
    by_slug = {fault.slug: fault for fault in museum().values()}
    both = right.layered("gae", *(by_slug[slug].implementation for slug in pair), reference.gae)
    assert pair in mistakes(candidate_with(gae=both), "ADV-2", "ADV-3", "ADV-4", "ADV-5")


def test_a_mistake_that_nobody_knows_is_called_none():
    def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
        honest = right.gae(rewards, values, next_values, terminated, truncated, gamma, lam)
        return honest * 1.001

    assert mistakes(candidate_with(gae=gae), "ADV-2") == []


def test_a_defect_is_recognised_in_float32():
    def gae(*arguments):
        narrow = [np.float32(part) if part.dtype == float else part for part in map(np.asarray, arguments)]
        rewards, values, next_values, terminated, truncated, gamma, lam = narrow
        ended = terminated | truncated
        return summed_by_hand(rewards + gamma * next_values * ~ended - values, ended, gamma * lam).astype(np.float32)

    candidate = candidate_with(gae=gae)
    candidate.inferred["gae.precision"] = "float32"
    assert ("truncation-as-termination",) in mistakes(candidate, "ADV-3")


def test_a_defect_that_writes_to_its_arguments_is_recognised():
    def reward_to_go(rewards, gamma):
        rewards[...] = right.reward_to_go(rewards, gamma)
        return rewards.copy()

    assert ("rewards-overwritten",) in mistakes(candidate_with(reward_to_go=reward_to_go), "OPS-2")


def test_a_defect_is_recognised_under_the_conventions_that_the_candidate_has():
    def policy_gradient_loss(logp, advantages, mask):
        slopes = np.where(mask, advantages, 0)
        return (slopes * np.where(mask, logp, 0)).sum(), slopes

    candidate = candidate_with(policy_gradient_loss=policy_gradient_loss)
    candidate.inferred["policy_gradient_loss.aggregation"] = "sum"
    assert ("loss-ascends",) in mistakes(candidate, "PG-36")
