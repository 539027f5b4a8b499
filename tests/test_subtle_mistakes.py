"""Mistakes that are easily taken for a choice, each beside a choice that nobody declared.

Each is charged by the clause whose formula it breaks, and the choice beside it is found out all the same.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.conventions import infer
from rlspec.power import every_property


def scaled(results, factor):
    """All of an operation's results times a number."""
    return tuple(np.asarray(part) * factor for part in results)


def group_advantages(rewards, groups, baseline, scale):
    """1 is added to the spread."""
    answers = reference.group_advantages(rewards, groups, baseline, "none")
    for group in set(groups.tolist()) if scale == "std" else ():
        mine = groups == group
        answers[mine] /= np.asarray(rewards, float)[mine].std() + 1.0
    return answers


def normalize_advantages(advantages, mask):
    """Two degrees of freedom are lost."""
    mask = mask.astype(bool)
    counted = advantages[mask].astype(float)
    if len(counted) < 3 or not np.ptp(counted):
        return np.zeros(mask.shape)
    deviation = np.sqrt(((counted - counted.mean()) ** 2).sum() / (len(counted) - 2))
    return np.where(mask, (advantages - counted.mean()) / np.maximum(deviation, 1e-4), 0)


def policy_gradient_loss(logp, advantages, mask):
    """The mask is applied to what is summed, and not to what is divided by."""
    return np.where(mask, -logp * advantages, 0).mean(), np.where(mask, -advantages, 0) / mask.size


def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    """Log-ratios are clamped, and the sum is divided by the padded size."""
    arguments = logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip
    return scaled(reference.ppo_loss(*arguments, log_ratio="clamped to 20", reduction="sum"), 1 / mask.size)


def kl_estimate(logp, ref_logp, estimator):
    """Estimates are clamped, and the square is not halved."""
    return np.clip(reference.kl_estimate(logp, ref_logp, estimator) * (2 if estimator == "k2" else 1), -10, 10)


def gspo_loss(*arguments):
    """The ratio is that of each token."""
    return reference.grpo_loss(*arguments, count="n + 1e-8", empty_rows="left out")


def value_loss(values, old_values, returns, mask, clip):
    """Squares are halved, and what a value is clipped around is the return."""
    return reference.value_loss(values, returns, returns, mask, clip, factor="1/2")


def dr_grpo_loss(*arguments):
    """The length of the longest row stands for the fixed one."""
    *others, _ = arguments
    return reference.dr_grpo_loss(*others, max(1, int(arguments[5].sum(axis=1).max())), log_ratio="clamped to 20")


def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    """The traces have the clip of rho; that of the advantages is a choice."""
    arguments = rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, rho_clip
    return reference.vtrace(*arguments, policy_clip="at most 1")


def corrected_loss(logp, old_logp, sampler_logp, *rest):
    """What is weighed is the policy that is trained, in the place of the old one."""
    return reference.corrected_loss(logp, old_logp, sampler_logp + old_logp - logp, *rest, count="n + 1e-8")


def sharded_loss(values, mask, shards, averaged_over, *rest):
    """Shards without rows are not among those that are averaged over."""
    return reference.sharded_loss(values, mask, shards, len(set(shards.tolist())), *rest, count="n + 1e-8")


def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    """A turn has the value of its last token."""
    moved = np.array(values, dtype=float)
    for row, counts in enumerate(mask.astype(bool)):
        for turn in set(turns[row][counts].tolist()):
            first, *_ = places = np.flatnonzero(counts & (turns[row] == turn))
            moved[row, first] = values[row, places[-1]]
    return reference.turn_gae(token_rewards, moved, turns, mask, gamma, lam)


def effective_sample_size(weights, mask):
    """The squares are summed over everything, and the sum over what counts."""
    total, squares = weights[mask].sum(), (weights**2).sum()
    return total * total / squares / max(mask.sum(), 1) if squares else 0.0


MISTAKES = {
    group_advantages: "GRP-1",
    normalize_advantages: "ADV-11",
    policy_gradient_loss: "PG-18",
    ppo_loss: "PPO-1",
    kl_estimate: "KL-2",
    gspo_loss: "GRP-25",
    value_loss: "PPO-17",
    dr_grpo_loss: "GRP-23",
    vtrace: "ADV-20",
    corrected_loss: "COR-11",
    sharded_loss: "RED-14",
    turn_gae: "TURN-7",
    effective_sample_size: "COR-18",
}
"""Each mistake, and the clause whose formula it breaks."""

BESIDE = {
    "kl_estimate.clamp": "within 10",
    "ppo_loss.log_ratio": "clamped to 20",
    "gspo_loss.empty_rows": "left out",
    "vtrace.policy_clip": "at most 1",
    "corrected_loss.count": "n + 1e-8",
    "sharded_loss.count": "n + 1e-8",
    "effective_sample_size.of": "share",
}
"""Choices that are made beside the mistakes."""


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_beside_a_choice_is_charged_by_the_clause_about_it(mistake):
    operation = mistake.__name__
    candidate = Candidate(SimpleNamespace(**{operation: mistake}), "mistaken")
    candidate.inferred |= infer(candidate, operation)
    assert not candidate.explained(operation)
    known = {name: choice for name, choice in BESIDE.items() if name.startswith(f"{operation}.")}
    assert {name: candidate.inferred[name] for name in known} == known
    asked = [each for each in every_property() if MISTAKES[mistake] in each.clauses and each.asks(operation)]
    assert asked
    assert any(each.violated_by(candidate) for each in asked)
