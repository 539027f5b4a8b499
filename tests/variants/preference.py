"""Losses on preferences, written another way."""

import math
from itertools import product

import numpy as np
import torch
from scipy.special import expit, expm1, log1p, log_expit, log_softmax
from torch.nn import functional

from .language import tensors
from .ppo import flags
from .registry import in_bfloat16, rough, variant

REDUCTIONS = ("left out", "counted", "sum")
"""A mean of sums, with the rows that do not count left out or counted; or a sum."""


def size(valid, reduction):
    """What the sum over the rows that count is divided by."""
    return {"left out": max(np.count_nonzero(valid), 1), "counted": len(valid), "sum": 1}[reduction]


def differentiated(losses, valid, reduction, wrt):
    """Reduced losses of the rows that count, and their derivatives; no other row takes part."""
    loss = losses.sum() / size(valid, reduction)
    return loss.item(), *torch.autograd.grad(loss, wrt)


def of_counted(dtype, valid, *columns, wrt):
    """Columns as tensors of what counts, and the whole ones of which the first few are differentiated."""
    columns = tensors(dtype, *columns)
    whole = [column.requires_grad_() for column in columns[:wrt]]
    return [column[flags(valid)] for column in columns], whole


def spread(valid, numbers):
    """Numbers of the rows that count, and 0 for the others."""
    dense = np.zeros(len(valid))
    dense[np.array(valid, dtype=bool)] = numbers
    return dense


# The probability of an answer


@variant("by math.fsum, a list")
def completion_logp(token_logp, mask):
    return [math.fsum(row[counts]) for row, counts in zip(token_logp, mask.astype(bool), strict=True)]


@variant("by a sum where the mask says")
def completion_logp(token_logp, mask):
    return np.sum(token_logp, axis=1, where=mask.astype(bool))


@variant("by stretches of what is packed")
def completion_logp(token_logp, mask):
    lengths = np.count_nonzero(mask, axis=1)
    packed = np.append(token_logp[mask.astype(bool)].astype(float), 0)
    return np.where(lengths > 0, np.add.reduceat(packed, np.cumsum(lengths) - lengths), 0)


@variant("times the mask", admitted=("OPS-11",))
def completion_logp(token_logp, mask):
    token_logp, mask = tensors(torch.float64, token_logp, mask)
    return (token_logp * mask).sum(-1)


@variant("in float32 throughout", admitted=("OPS-4",))
def completion_logp(token_logp, mask):
    [token_logp] = tensors(torch.float32, token_logp)
    return torch.where(flags(mask), token_logp, 0).sum(-1).tolist()


# DPO


def weights(label_smoothing, noise):
    """Of a pair and of the swapped pair."""
    if noise == "conservative":
        return 1 - label_smoothing, label_smoothing
    return (1 - label_smoothing) / (1 - 2 * label_smoothing), -label_smoothing / (1 - 2 * label_smoothing)


def by_logsigmoid(noise, reduction, dtype=torch.float64):
    """Of the difference of two log-ratios, by autograd."""

    def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
        logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
        (chosen, rejected, ref_chosen, ref_rejected), whole = of_counted(dtype, valid, *logps, wrt=2)
        logits = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
        right, wrong = weights(label_smoothing, noise)
        losses = -functional.logsigmoid(logits) * right - functional.logsigmoid(-logits) * wrong
        return differentiated(losses, valid, reduction, whole)

    return dpo_loss


def by_expit(noise, reduction):
    """Of two rewards, by scipy, with the derivative by hand."""

    def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
        counts = np.array(valid, dtype=bool)
        chosen, rejected, ref_chosen, ref_rejected = (
            array[counts].astype(float) for array in (chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)
        )
        margin = beta * (chosen - ref_chosen) - beta * (rejected - ref_rejected)
        right, wrong = weights(label_smoothing, noise)
        losses = -right * log_expit(margin) - wrong * log_expit(-margin)
        slopes = spread(valid, beta * (wrong * expit(margin) - right * expit(-margin)) / size(valid, reduction))
        return losses.sum() / size(valid, reduction), slopes, -slopes

    return dpo_loss


for choices in product(("conservative", "robust"), REDUCTIONS):
    variant(f"by logsigmoid, {', '.join(choices)}")(by_logsigmoid(*choices))
    variant(f"by expit, {', '.join(choices)}")(by_expit(*choices))
variant("in float32 throughout", admitted=("OPS-4",))(by_logsigmoid("robust", "left out", torch.float32))


@variant("as a choice between two, by log_softmax")
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    counts = np.array(valid, dtype=bool)
    if not counts.any():
        return 0.0, np.zeros(len(counts)), np.zeros(len(counts))
    policy, reference = np.stack([chosen_logp, rejected_logp]), np.stack([ref_chosen_logp, ref_rejected_logp])
    beliefs = log_softmax(beta * (policy[:, counts].astype(float) - reference[:, counts]), axis=0)
    labels = np.array([[1 - label_smoothing], [label_smoothing]])
    slopes = np.zeros(policy.shape, order="F")
    slopes[:, counts] = beta * (np.exp(beliefs) * labels[::-1] - np.exp(beliefs[::-1]) * labels)[0] / counts.sum()
    return -np.mean((labels * beliefs).sum(axis=0)), slopes[0], -slopes[0]


@variant("pair by pair, by softplus", admitted=("OPS-11",))
def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    logps = tensors(torch.float64, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)
    whole = [column.requires_grad_() for column in logps[:2]]
    total = torch.zeros((), dtype=torch.float64)
    for chosen, rejected, ref_chosen, ref_rejected, counts in zip(*logps, valid, strict=True):
        lead = beta * (chosen - ref_chosen - rejected + ref_rejected)
        loss = (1 - label_smoothing) * torch.logaddexp(-lead, 0 * lead)
        total = total + float(counts) * (loss + label_smoothing * torch.logaddexp(lead, 0 * lead))
    return differentiated(total, valid, "left out", whole)


# IPO


def squared(reduction, dtype=torch.float64):
    """By autograd."""

    def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
        logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
        (chosen, rejected, ref_chosen, ref_rejected), whole = of_counted(dtype, valid, *logps, wrt=2)
        logits = (chosen - rejected) - (ref_chosen - ref_rejected)
        return differentiated((logits - 1 / (2 * tau)) ** 2, valid, reduction, whole)

    return ipo_loss


def squared_by_hand(reduction):
    """Pair by pair, in Python floats."""

    def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
        logps = (array.tolist() for array in (chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp))
        rows = zip(*logps, valid.tolist(), strict=True)
        missing = [(w - rw) - (x - rx) - 0.5 / tau if counts else 0.0 for w, x, rw, rx, counts in rows]
        slopes = [2 * number / size(valid, reduction) for number in missing]
        return math.fsum(number**2 for number in missing) / size(valid, reduction), slopes, [-slope for slope in slopes]

    return ipo_loss


for reduction in REDUCTIONS:
    variant(f"by autograd, {reduction}")(squared(reduction))
    variant(f"pair by pair, {reduction}")(squared_by_hand(reduction))
variant("in float32 throughout", admitted=("OPS-4",))(squared("left out", torch.float32))


# KTO


def by_sigmoid(reduction, dtype=torch.float64):
    """Both kinds of answers apart, and put together, by autograd."""

    def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
        (logp, ref_logp), whole = of_counted(dtype, valid, logp, ref_logp, wrt=1)
        good = flags(desirable)[flags(valid)]
        log_ratio = logp - ref_logp
        liked = desirable_weight * (1 - torch.sigmoid(beta * (log_ratio[good] - kl)))
        disliked = undesirable_weight * (1 - torch.sigmoid(beta * (kl - log_ratio[~good])))
        return differentiated(torch.cat([liked, disliked]), valid, reduction, whole)

    return kto_loss


def by_signs(reduction):
    """One formula with a sign, by scipy, with the derivative by hand."""

    def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
        counts = np.array(valid, dtype=bool)
        sign = np.where(desirable, 1, -1)[counts]
        weight = np.where(sign > 0, desirable_weight, undesirable_weight) / size(valid, reduction)
        gain = beta * sign * (logp[counts].astype(float) - ref_logp[counts] - kl)
        missed = expit(-gain)
        return np.dot(weight, missed), spread(valid, -sign * weight * beta * missed * expit(gain))

    return kto_loss


for reduction in REDUCTIONS:
    quick = reduction == "counted"
    variant(f"by autograd, {reduction}", quick=quick)(by_sigmoid(reduction))
    variant(f"with signs, {reduction}")(by_signs(reduction))
variant("in float32 throughout", admitted=("OPS-4",))(by_sigmoid("counted", torch.float32))


@variant("by hyperbolic tangents")
def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    count, total, slopes = max(np.count_nonzero(valid), 1), 0.0, [0.0] * len(valid)
    for row in np.flatnonzero(valid).tolist():
        weight, sign = (desirable_weight, 1) if desirable[row] else (undesirable_weight, -1)
        value = math.tanh(beta * (float(logp[row]) - float(ref_logp[row]) - kl) / 2)
        total += weight * (1 - sign * value) / 2
        slopes[row] = -sign * weight * beta * (1 - value) * (1 + value) / 4 / count
    return total / count, slopes


# ORPO


def log_odds(mean):
    """log p - log(1 - p) of p = exp(mean), without a difference that cancels."""
    return mean - torch.log(-torch.expm1(mean))


def by_odds(likelihood, reduction, dtype=torch.float64):
    """By autograd."""

    def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
        columns = chosen_logp, rejected_logp, chosen_length, rejected_length
        (chosen, rejected, length, other), whole = of_counted(dtype, valid, *columns, wrt=2)
        lead = log_odds(chosen / length) - log_odds(rejected / other)
        contrast = -lam * functional.logsigmoid(lead)
        if likelihood == "mean of means":
            return differentiated(contrast - chosen / length, valid, reduction, whole)
        tokens = length.sum().clamp(min=1)
        loss = contrast.sum() / size(valid, reduction) - chosen.sum() / tokens
        return loss.item(), *torch.autograd.grad(loss, whole)

    return orpo_loss


def by_complements(likelihood, reduction):
    """By scipy, from the probabilities' complements, with the derivative by hand."""

    def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
        counts, divisor = np.array(valid, dtype=bool), size(valid, reduction)
        length, other = chosen_length[counts], rejected_length[counts]
        chosen, rejected = chosen_logp[counts] / length, rejected_logp[counts] / other
        left, right = -expm1(chosen.astype(float)), -expm1(rejected.astype(float))
        lead = chosen - rejected - np.log(left) + np.log(right)
        surprise = np.where(lead < 0, -lead, 0) + log1p(np.exp(-abs(lead)))
        pull = lam * expit(-lead) / divisor
        share = 1 / (divisor * length) if likelihood == "mean of means" else np.full(len(length), 1.0) / length.sum()
        loss = lam * surprise.sum() / divisor - np.dot(share, chosen_logp[counts])
        return loss, spread(valid, -share - pull / (left * length)), spread(valid, pull / (right * other))

    return orpo_loss


for choices in product(("mean of means", "token-mean"), REDUCTIONS):
    variant(f"by autograd, {', '.join(choices)}")(by_odds(*choices))
    variant(f"by complements, {', '.join(choices)}")(by_complements(*choices))
variant("in float32 throughout", admitted=("OPS-4",))(by_odds("mean of means", "left out", torch.float32))


@variant("pair by pair, from probabilities")
def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    count, terms, slopes = max(np.count_nonzero(valid), 1), [], np.zeros((2, len(valid)))
    for row in np.flatnonzero(valid).tolist():
        (m, n), (k, j) = (
            (float(logp[row]) / int(length[row]), int(length[row]))
            for logp, length in ((chosen_logp, chosen_length), (rejected_logp, rejected_length))
        )
        p, q = math.exp(m), math.exp(k)
        if max(p, q) > 0.9 or min(p, q) < 1e-100:
            raise NotImplementedError("too close to certainty")
        odds = p / (1 - p) / (q / (1 - q))
        terms.append(lam * math.log1p(1 / odds) - m)
        slopes[0, row] = (-1 - lam / (1 + odds) / (1 - p)) / n / count
        slopes[1, row] = lam / (1 + odds) / (1 - q) / j / count
    return sum(terms) / count, *slopes


# SimPO


def leading(target, reduction, dtype=torch.float64):
    """By autograd, of logaddexp."""

    def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
        columns = chosen_logp, rejected_logp, chosen_length, rejected_length
        (chosen, rejected, length, other), whole = of_counted(dtype, valid, *columns, wrt=2)
        lead = chosen / length - rejected / other
        lacking = gamma - beta * lead if target == "gamma" else beta * (gamma - lead)
        return differentiated(torch.logaddexp(lacking, torch.zeros_like(lacking)), valid, reduction, whole)

    return simpo_loss


def leading_by_hand(target, reduction):
    """By scipy, row by row, with the derivative by hand."""

    def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
        wanted, divisor, total = gamma if target == "gamma" else beta * gamma, size(valid, reduction), 0.0
        slopes = np.zeros((len(valid), 2))
        for row in np.flatnonzero(valid):
            lengths = np.array([chosen_length[row], rejected_length[row]], dtype=float)
            means = np.array([chosen_logp[row], rejected_logp[row]], dtype=float) / lengths
            lead = beta * np.dot(means, [1, -1]) - wanted
            total -= log_expit(lead)
            slopes[row] = beta * expit(-lead) / divisor / lengths * [-1, 1]
        return total / divisor, slopes[:, 0], slopes[:, 1]

    return simpo_loss


for choices in product(("gamma", "beta gamma"), REDUCTIONS):
    variant(f"by autograd, {', '.join(choices)}")(leading(*choices))
    variant(f"row by row, {', '.join(choices)}")(leading_by_hand(*choices))
variant("in float32 throughout", admitted=("OPS-4",))(leading("gamma", "left out", torch.float32))


@variant("by torch's softplus, which is linear beyond 20", conventions={"precision": "float32"})
def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    columns = chosen_logp, rejected_logp, chosen_length, rejected_length
    (chosen, rejected, length, other), whole = of_counted(torch.float64, valid, *columns, wrt=2)
    losses = functional.softplus(gamma - beta * (chosen / length - rejected / other))
    return differentiated(losses, valid, "left out", whole)


for implementation, conventions in (
    (by_logsigmoid("conservative", "left out", torch.bfloat16), {}),
    (squared("left out", torch.bfloat16), {}),
    (by_sigmoid("left out", torch.bfloat16), {}),
    (by_odds("token-mean", "left out", torch.bfloat16), {"orpo_loss.likelihood": "token-mean"}),
    (leading("beta gamma", "left out", torch.bfloat16), {"simpo_loss.target": "beta gamma"}),
):
    variant("in bfloat16 throughout", **rough(**conventions))(in_bfloat16(implementation))


# SPPO


def by_squares(reduction):
    """With the derivative by hand."""

    def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
        counts, pairs = np.array(valid, dtype=bool), size(valid, reduction)
        missing, beyond = (
            np.subtract(*(array[counts].astype(float) for array in arrays)) + offset
            for arrays, offset in (
                ((chosen_logp, ref_chosen_logp), -0.5 / beta),
                ((rejected_logp, ref_rejected_logp), 0.5 / beta),
            )
        )
        loss = (missing @ missing + beyond @ beyond) / pairs
        return loss, spread(valid, 2 * missing / pairs), spread(valid, 2 * beyond / pairs)

    return sppo_loss


def by_mse_loss(reduction, dtype=torch.float64):
    """Of targets that are half of 1 / beta and its negative, by autograd."""

    def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
        logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
        (chosen, rejected, ref_chosen, ref_rejected), whole = of_counted(dtype, valid, *logps, wrt=2)
        target = torch.full_like(chosen, 1 / (2 * beta))
        losses = functional.mse_loss(chosen - ref_chosen, target, reduction="none")
        losses = losses + functional.mse_loss(rejected - ref_rejected, -target, reduction="none")
        return differentiated(losses, valid, reduction, whole)

    return sppo_loss


for reduction in REDUCTIONS:
    variant(f"by squares, {reduction}")(by_squares(reduction))
    variant(f"by mse_loss, {reduction}")(by_mse_loss(reduction))
variant("in float32 throughout", admitted=("OPS-4",))(by_mse_loss("left out", torch.float32))


# RPO


def with_likelihood(likelihood, reduction, dtype=torch.float64):
    """By softplus and autograd, the likelihood of answers or of tokens."""

    def rpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid):
        columns = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length
        counted, whole = of_counted(dtype, valid, *columns, wrt=2)
        chosen, rejected, ref_chosen, ref_rejected, length = counted
        losses = -functional.logsigmoid(beta * (chosen - ref_chosen - rejected + ref_rejected))
        pairs = size(valid, reduction)
        tokens = {"mean of means": length * pairs, "token-mean": length.sum().clamp(min=1)}[likelihood]
        loss = losses.sum() / pairs - alpha * (chosen / tokens).sum()
        return loss.item(), *torch.autograd.grad(loss, whole)

    return rpo_loss


def by_hand(likelihood, reduction):
    """Pair by pair in Python, the derivative by hand."""

    def rpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid):
        pairs, places = size(valid, reduction), np.flatnonzero(valid)
        tokens = int(np.asarray(chosen_length)[places].sum())
        loss, up, down = 0.0, [0.0] * len(valid), [0.0] * len(valid)
        for i in places:
            margin = float(chosen_logp[i]) - float(ref_chosen_logp[i])
            margin -= float(rejected_logp[i]) - float(ref_rejected_logp[i])
            divisor = tokens if likelihood == "token-mean" else int(chosen_length[i]) * pairs
            loss -= log_expit(beta * margin) / pairs + alpha * float(chosen_logp[i]) / divisor
            down[i] = beta * expit(-beta * margin) / pairs
            up[i] = -down[i] - alpha / divisor
        return loss, up, down

    return rpo_loss


for choices in product(("mean of means", "token-mean"), REDUCTIONS):
    variant(f"by logsigmoid, {', '.join(choices)}")(with_likelihood(*choices))
    variant(f"by hand, {', '.join(choices)}")(by_hand(*choices))
variant("in float32 throughout", admitted=("OPS-4",))(with_likelihood("mean of means", "left out", torch.float32))


# A reward model


def by_score(reduction, dtype=torch.float64):
    """By logsigmoid and autograd, as trainers of reward models have it."""

    def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
        columns = chosen_rewards, rejected_rewards, margins
        (chosen, rejected, asked), whole = of_counted(dtype, valid, *columns, wrt=2)
        losses = -functional.logsigmoid(chosen - rejected - asked) + centering * (chosen + rejected) ** 2
        return differentiated(losses, valid, reduction, whole)

    return reward_model_loss


for reduction in REDUCTIONS:
    variant(f"by logsigmoid, {reduction}", quick=reduction == "sum")(by_score(reduction))
variant("in float32 throughout", admitted=("OPS-4",))(by_score("left out", torch.float32))
