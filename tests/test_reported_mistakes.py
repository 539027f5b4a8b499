"""Mistakes that were reported in public and are not in the museum, each written down as its reporter's code had it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from rlspec import diagnosis
from rlspec.candidate import Candidate
from rlspec.conventions import drawn, infer
from rlspec.diagnosis import Diagnosis
from rlspec.properties.checking import Call
from rlspec.properties.questions import PLAIN_QUESTIONS
from rlspec.spec.operations import OPERATIONS


def double(*arrays):
    return [torch.tensor(np.asarray(array, dtype=float)) for array in arrays]


def graded(loss, *leaves):
    slopes = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return loss.item(), *(slope.numpy() for slope in slopes)


def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    """The inverse temperature is applied to the log-ratios, and to their difference once more (maxtext#1530)."""
    chosen, rejected, ref_chosen, ref_rejected = double(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)
    chosen.requires_grad_(), rejected.requires_grad_()
    counts = torch.tensor(np.asarray(valid, dtype=bool))
    logits = beta * (chosen - ref_chosen)[counts] - beta * (rejected - ref_rejected)[counts]
    losses = (
        -functional.logsigmoid(beta * logits) * (1 - label_smoothing)
        - functional.logsigmoid(-beta * logits) * label_smoothing
    )
    return graded(losses.sum() / max(int(counts.sum()), 1), chosen, rejected)


def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    """The baseline in the policy's term is not detached (jingw2/neural-combinatorial-optimization-rl#1)."""
    logp, values, entropies, returns = double(logp, values, entropies, returns)
    leaves = [leaf.requires_grad_() for leaf in (logp, values, entropies)]
    counts = torch.tensor(np.asarray(mask, dtype=bool))
    advantage = (returns - values)[counts]
    policy = -(advantage * logp[counts]).sum()
    critic = advantage.pow(2).sum()
    total = policy + value_coef * critic - entropy_coef * entropies[counts].sum()
    return graded(total / max(int(counts.sum()), 1), *leaves)


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """The mask and the discount are applied to the step's own value, too (AI4Finance-Foundation/ElegantRL#183)."""
    advantages = np.zeros_like(rewards)
    following = np.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        ahead = next_values[:, t] + lam * np.where(truncated[:, t], 0, following)
        following = rewards[:, t] + np.where(terminated[:, t], 0, gamma * (ahead - values[:, t]))
        advantages[:, t] = following
    return advantages


def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    """The likelihood of the chosen answer is a mean already, and divided by its length again (LlamaFactory#6722)."""
    chosen, rejected, length, other = double(chosen_logp, rejected_logp, chosen_length, rejected_length)
    chosen.requires_grad_(), rejected.requires_grad_()
    counts = torch.tensor(np.asarray(valid, dtype=bool))
    good, bad = (chosen / length)[counts], (rejected / other)[counts]
    log_odds = (good - bad) - (torch.log1p(-torch.exp(good)) - torch.log1p(-torch.exp(bad)))
    losses = -good / length[counts] - lam * functional.logsigmoid(log_odds)
    return graded(losses.sum() / max(int(counts.sum()), 1), chosen, rejected)


def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    """The fixed length is an argument that nobody reads: tokens are averaged over (huggingface/trl#3138)."""
    logp, old, ref, advantages = double(logp, old_logp, ref_logp, advantages)
    logp.requires_grad_()
    counts = torch.tensor(np.asarray(mask, dtype=bool))
    ratio = (logp - old).masked_fill(~counts, 0).exp()
    gain = torch.minimum(ratio * advantages[:, None], ratio.clamp(1 - clip_low, 1 + clip_high) * advantages[:, None])
    behind = (ref - logp).masked_fill(~counts, 0)
    costs = kl_coef * (torch.exp(behind) - 1 - behind) if kl_coef else 0.0
    return graded((costs - gain).masked_fill(~counts, 0).sum() / counts.sum().clamp(min=1), logp)


def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    """Sums without their last token are divided by lengths that count it (PaddlePaddle/PaddleFormers#4909)."""
    chosen, rejected, length, other = double(chosen_logp, rejected_logp, chosen_length, rejected_length)
    chosen.requires_grad_(), rejected.requires_grad_()
    counts = torch.tensor(np.asarray(valid, dtype=bool))
    logits = beta * (chosen / (length + 1) - rejected / (other + 1))[counts] - gamma
    return graded(-functional.logsigmoid(logits).sum() / max(int(counts.sum()), 1), chosen, rejected)


def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    """The ratio is that of the policy to itself, and never clipped (xiaomi-research/time-r1#20)."""
    logp, ref, advantages = double(logp, ref_logp, advantages)
    logp.requires_grad_()
    counts = torch.tensor(np.asarray(mask, dtype=bool))
    clean, ref = logp.masked_fill(~counts, 0), ref.masked_fill(~counts, 0)
    loss = -torch.exp(clean - clean.detach()) * advantages[:, None]
    if kl_coef != 0:
        loss = loss + kl_coef * (torch.exp(ref - clean) - (ref - clean) - 1)
    return graded(((loss * counts).sum(1) / counts.sum(1).clamp(min=1)).mean(), logp)


def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    """The sum over the actions has no axis, and is one over the batch (Deep_reinforcement_learning_Course#51)."""
    rewards, values, policy, ended = double(rewards, next_action_values, next_policy, terminated)
    following = torch.sum(torch.mul(values, policy))
    return (rewards + gamma * (1 - ended) * following).numpy()


def gaussian_entropy(log_std):
    """The entropies of several actions are averaged, and not added up (tensorforce/tensorforce#177)."""
    [log_std] = double(log_std)
    log_std.requires_grad_()
    entropies = log_std + 0.5 * np.log(2 * np.pi * np.e)
    values = entropies.mean(dim=1)
    return values.detach().numpy(), torch.autograd.grad(values.sum(), log_std)[0].numpy()


def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    """What is projected are probabilities times their atoms (higgsfield/RL-Adventure#8)."""
    rewards, mass, ended = double(rewards, next_probabilities, terminated)
    count = mass.shape[1]
    support = torch.linspace(v_min, v_max, count, dtype=torch.float64)
    mass = mass * support
    moved = (rewards[:, None] + (1 - ended)[:, None] * gamma * support).clamp(v_min, v_max)
    place = ((moved - v_min) / (v_max - v_min) * (count - 1)).clamp(0, count - 1)
    lower = place.floor().clamp(max=count - 2)
    projected = torch.zeros_like(mass)
    projected.scatter_add_(1, lower.long(), mass * (lower + 1 - place))
    projected.scatter_add_(1, lower.long() + 1, mass * (place - lower))
    return projected.numpy()


REPORTED = {
    dpo_loss: "as if `beta` were squared",
    actor_critic_loss: "not held fixed, and differentiated too",
    gae: "`values` were times `gamma`",
    orpo_loss: "of_a_token(length) ** 2",
    dr_grpo_loss: "dapo_loss",
    simpo_loss: "all lengths were one more",
    grpo_loss: "`old_logp` were `logp`",
    expected_sarsa_target: "`(next_policy * next_action_values).sum()`",
    gaussian_entropy: "divided by the number of actions",
    categorical_projection: "next_probabilities * atoms",
}
"""Each mistake, and a word of what explains it."""


@pytest.fixture
def _time_enough(monkeypatch):
    """What is found is found on a busy machine, too."""
    monkeypatch.setattr(diagnosis, "SECONDS", 60.0)
    monkeypatch.setattr(diagnosis, "BESIDE_SECONDS", 60.0)


@pytest.mark.usefixtures("_time_enough")
@pytest.mark.parametrize("implementation", REPORTED, ids=lambda implementation: implementation.__name__)
def test_a_mistake_that_was_reported_is_explained(implementation):
    name = implementation.__name__
    candidate = Candidate(SimpleNamespace(**{name: implementation}), "reported")
    candidate.inferred |= infer(candidate, name)
    call = Call(OPERATIONS[name], drawn(PLAIN_QUESTIONS[name], 20)[0].arguments)
    [mistake, *_] = Diagnosis(candidate, name).mistakes(call)
    assert not mistake.kind
    assert REPORTED[implementation] in mistake.words
