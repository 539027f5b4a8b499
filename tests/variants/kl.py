"""Divergences, their estimates and their losses, written another way."""

import math
from itertools import product

import numpy as np
import torch
from scipy.special import kl_div, log_softmax, rel_entr, softmax

from .language import tensors
from .registry import in_bfloat16, rough, variant

CLAMPED = {
    "none": (),
    "k3 at most 10": ("k3",),
    "k2 and k3 at most 10": ("k2", "k3"),
    "within 10": ("k1", "k2", "k3"),
}


def clamping(clamp):
    """As in trainers: the log-ratio of k3 is limited before it is exponentiated, and estimates after it."""

    def kl_estimate(logp, ref_logp, estimator):
        logp, ref_logp = tensors(torch.float64, logp, ref_logp)
        log_ratio = logp - ref_logp
        if estimator == "k2":
            estimate = log_ratio**2 / 2
        elif estimator == "k3":
            negative = (-log_ratio).clamp(-20, 20) if clamp != "none" else -log_ratio
            estimate = negative.exp() - negative - 1
        else:
            estimate = log_ratio
        return estimate.clamp(-10, 10) if estimator in CLAMPED[clamp] else estimate

    return kl_estimate


for clamp in CLAMPED:
    variant(f"by tensors, clamped: {clamp}")(clamping(clamp))


@variant("by expm1, in Python floats")
def kl_estimate(logp, ref_logp, estimator):
    of = {"k1": lambda x: x, "k2": lambda x: 0.5 * x * x, "k3": lambda x: math.expm1(-x) + x}[estimator]
    return [[of(float(x) - float(y)) for x, y in zip(*row, strict=True)] for row in zip(logp, ref_logp, strict=True)]


@variant("by scipy's kl_div, in Fortran order")
def kl_estimate(logp, ref_logp, estimator):
    log_ratio = np.asfortranarray(logp, dtype=float) - ref_logp
    if (abs(log_ratio) > 700).any():
        raise NotImplementedError("a ratio that no float holds")
    return {"k1": log_ratio, "k2": np.square(log_ratio) / 2, "k3": kl_div(1, np.exp(-log_ratio))}[estimator]


@variant("from quotients of probabilities")
def kl_estimate(logp, ref_logp, estimator):
    if max(abs(logp).max(), abs(ref_logp).max()) > 300:
        raise NotImplementedError("a probability that no float holds")
    quotient = np.exp(ref_logp.astype(float)) / np.exp(logp.astype(float))
    log_ratio = -np.log(quotient)
    return {"k1": log_ratio, "k2": np.power(log_ratio, 2) * 0.5, "k3": quotient - 1 + log_ratio}[estimator]


@variant("in float32 throughout", admitted=("OPS-4",))
def kl_estimate(logp, ref_logp, estimator):
    log_ratio = np.float32(logp) - np.float32(ref_logp)
    return {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": np.exp(-log_ratio) - 1 + log_ratio}[estimator]


@variant("in float32 throughout, clamped", admitted=("OPS-4",))
def kl_estimate(logp, ref_logp, estimator):
    logp, ref_logp = tensors(torch.float32, logp, ref_logp)
    log_ratio = logp - ref_logp
    if estimator == "k3":
        behind = torch.clamp(-log_ratio, -20, 20)
        return torch.clamp(behind.exp() - behind - 1, -10, 10)
    return log_ratio if estimator == "k1" else 0.5 * log_ratio.square()


# The whole distribution


@variant("by torch's kl_div, differentiated", admitted=("KL-13",))
def kl_divergence(logits, ref_logits):
    logits, ref_logits = tensors(torch.float64, logits, ref_logits)
    logits.requires_grad_()
    ours, theirs = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    value = torch.nn.functional.kl_div(theirs, ours, log_target=True, reduction="none").sum(-1)
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


@variant("between categorical distributions", admitted=("KL-13",))
def kl_divergence(logits, ref_logits):
    logits, ref_logits = tensors(torch.float64, logits, ref_logits)
    logits.requires_grad_()
    ours, theirs = (torch.distributions.Categorical(logits=each) for each in (logits, ref_logits))
    if (theirs.probs == 0).any():
        raise NotImplementedError("it is infinite, they say")
    value = torch.distributions.kl_divergence(ours, theirs)
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


@variant("by scipy's relative entropy")
def kl_divergence(logits, ref_logits):
    ours, theirs = softmax(logits, axis=1), softmax(ref_logits, axis=1)
    if (theirs[ours > 0] < 1e-290).any():
        raise NotImplementedError("a probability that no float holds")
    terms = rel_entr(ours, theirs)
    value = terms.sum(axis=1)
    return value, terms - ours * value[:, None]


@variant("with the Jacobian of the softmax")
def kl_divergence(logits, ref_logits):
    ours, theirs = (log_softmax(np.asarray(each, dtype=float), axis=1) for each in (logits, ref_logits))
    policy = np.exp(ours)
    gap = np.where(policy > 0, ours, 0) - np.where(policy > 0, theirs, 0)
    jacobian = np.einsum("ba,ac->bac", policy, np.eye(policy.shape[1])) - np.einsum("ba,bc->bac", policy, policy)
    return np.einsum("ba,ba->b", policy, gap), np.einsum("bac,bc->ba", jacobian, gap)


@variant("row by row, by math.fsum")
def kl_divergence(logits, ref_logits):
    def log_probabilities(row):
        most = max(row)
        total = most + math.log(math.fsum(math.exp(x - most) for x in row))
        return [x - total for x in row]

    values, slopes = [], []
    for row in zip(logits.tolist(), ref_logits.tolist(), strict=True):
        pairs = list(zip(*map(log_probabilities, row), strict=True))
        terms = [math.exp(x) * (x - y) if math.exp(x) > 0 else 0.0 for x, y in pairs]
        values.append(math.fsum(terms))
        slopes.append([term - math.exp(x) * values[-1] for term, (x, _) in zip(terms, pairs, strict=True)])
    return values, slopes


@variant("as the cross-entropy less the entropy", admitted=("KL-13",))
def kl_divergence(logits, ref_logits):
    logits, ref_logits = tensors(torch.float64, logits, ref_logits)
    logits.requires_grad_()
    policy = logits.softmax(-1)
    crossed = torch.nn.functional.cross_entropy(ref_logits, policy, reduction="none")
    value = crossed - torch.nn.functional.cross_entropy(logits, policy, reduction="none")
    return value.detach().tolist(), torch.autograd.grad(value.sum(), logits)[0].tolist()


@variant("in float32 throughout, differentiated", admitted=("OPS-4", "KL-13"))
def kl_divergence(logits, ref_logits):
    logits, ref_logits = tensors(torch.float32, logits, ref_logits)
    logits.requires_grad_()
    ours = logits.log_softmax(-1)
    value = (ours.exp() * (ours - ref_logits.log_softmax(-1))).sum(-1)
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


# Losses


FORMS = ("importance weighted", "plain", "straight through", "weighted straight through")
REDUCTIONS = ("token-mean", "mean of sums", "mean of means", "sum")


def following(form, reduction, dtype=torch.float64):
    """By autograd, of what the mask selects."""

    def kl_loss(logp, ref_logp, old_logp, mask, estimator):
        logp, ref_logp, old_logp = tensors(dtype, logp, ref_logp, old_logp)
        mask = torch.tensor(np.array(mask)).bool()
        logp.requires_grad_()
        chosen, reference, spoken = logp[mask], ref_logp[mask], old_logp[mask]
        ratio, log_ratio = (chosen - spoken).exp(), chosen - reference
        if estimator == "k1":
            estimate = log_ratio
        elif estimator == "k2":
            estimate, ratio = 0.5 * log_ratio.square(), ratio.detach()
        else:
            estimate = torch.exp(-log_ratio) - 1 + log_ratio
        if form == "importance weighted":
            terms = ratio * estimate
        else:
            led = {"plain": estimate, "straight through": 0.5 * log_ratio**2}.get(form, log_ratio.detach() * log_ratio)
            led = led * ratio.detach() if form == "weighted straight through" else led
            terms = led - led.detach() + estimate.detach()
        sizes = {
            "token-mean": mask.sum().clamp(min=1),
            "mean of sums": torch.tensor(len(mask)),
            "mean of means": (mask.sum(1, keepdim=True) * len(mask)).expand(mask.shape)[mask],
            "sum": torch.tensor(1),
        }
        loss = (terms / sizes[reduction]).sum()
        return loss.item(), torch.autograd.grad(loss, logp)[0]

    return kl_loss


for choices in product(FORMS, REDUCTIONS):
    variant(f"by autograd, {', '.join(choices)}", quick=choices == (FORMS[2], REDUCTIONS[2]))(following(*choices))
for choices in ((FORMS[0], REDUCTIONS[0]), (FORMS[1], REDUCTIONS[2]), (FORMS[3], REDUCTIONS[1])):
    variant(f"in float32 throughout, {', '.join(choices)}", admitted=("OPS-4",))(following(*choices, torch.float32))


@variant("token by token, the derivative by hand")
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    slopes, terms, count = np.zeros(mask.shape, order="F"), [], max(np.count_nonzero(mask), 1)
    for place in np.argwhere(mask).tolist():
        at = tuple(place)
        x, ratio = float(logp[at]) - float(ref_logp[at]), math.exp(float(logp[at]) - float(old_logp[at]))
        terms.append(ratio * {"k1": x, "k2": x * x / 2, "k3": math.expm1(-x) + x}[estimator])
        slopes[at] = ratio * (1 + x if estimator == "k1" else x) / count
    return math.fsum(terms) / count, slopes


@variant("plain, the derivative by hand, masked arrays")
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    log_ratio = np.ma.masked_array(np.subtract(logp, ref_logp, dtype=float), np.logical_not(mask))
    if not log_ratio.count():
        return 0, np.zeros(mask.shape)
    estimate = {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": np.ma.exp(-log_ratio) - 1 + log_ratio}[estimator]
    slope = {"k1": np.ma.ones(mask.shape), "k2": log_ratio, "k3": 1 - np.ma.exp(-log_ratio)}[estimator]
    return estimate.mean(), np.ma.masked_array(slope, np.logical_not(mask)).filled(0) / log_ratio.count()


@variant("times the mask, a mean of means, straight through", admitted=("OPS-11",))
def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    x, lengths = logp.astype(float) - ref_logp, np.maximum(mask.sum(axis=1, keepdims=True), 1)
    estimate = {"k1": x, "k2": np.square(x) / 2, "k3": np.exp(-x) + x - 1}[estimator]
    weights = mask / lengths / len(mask)
    return np.einsum("bt,bt", estimate, weights), x * weights


for form in FORMS:
    implementation = in_bfloat16(following(form, "token-mean", torch.bfloat16))
    variant(f"in bfloat16 throughout, {form}", **rough(**{"kl_loss.form": form}))(implementation)
