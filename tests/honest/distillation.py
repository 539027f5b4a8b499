"""Ways to compare a student with its teacher."""

import numpy as np
import torch

from .catalogue import way
from .tensors import leaves, tensors


def log_softmax(style, logits):
    """The logarithms of a softmax, by NumPy."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(style.total(np.exp(shifted)))[:, None].astype(style.dtype)


def of_the_mixture(choices, beta):
    """What KL(T||M) and KL(S||M) are weighed by."""
    return (1 - beta, beta) if choices["weights"] == "exchanged" else (beta, 1 - beta)


@way("the derivative by hand")
def distillation_divergence(style, choices, logits, teacher_logits, beta, temperature):
    ours, theirs = (log_softmax(style, row / style.dtype(temperature)) for row in (logits, teacher_logits))
    s, t = np.exp(ours), np.exp(theirs)
    factor = temperature**2 if choices["scale"] == "temperature^2" else 1
    if beta == 0:
        value, slopes = style.total(t * (theirs - ours)), s - t
    else:
        mixed = (
            np.logaddexp(ours + np.log1p(-style.dtype(beta)), theirs + np.log(style.dtype(beta)))
            if beta < 1
            else theirs
        )
        a, b = of_the_mixture(choices, style.dtype(beta)) if beta < 1 else (style.dtype(0), style.dtype(1))
        value = a * style.total(t * (theirs - mixed)) + b * style.total(s * (ours - mixed))
        own = (1 - style.dtype(beta)) * (a * np.exp(theirs - mixed) + b * np.exp(ours - mixed))
        g = b * (ours - mixed) - (own if beta < 1 else style.dtype(0))
        slopes = s * (g - style.total(s * g)[:, None])
    return style.dtype(factor) * value, style.dtype(factor / temperature) * slopes


@way("by torch's kl_div")
def distillation_divergence(style, choices, logits, teacher_logits, beta, temperature):
    [student], [teacher] = leaves(style, logits), tensors(style, teacher_logits)
    ours, theirs = ((row / temperature).log_softmax(-1) for row in (student, teacher))
    divergence = torch.nn.functional.kl_div
    how = {"log_target": True, "reduction": "none"}
    if beta in (0, 1):
        value = divergence(*((theirs, ours) if beta else (ours, theirs)), **how).sum(-1)
    else:
        parts = torch.tensor([1 - beta, beta], dtype=torch.float64).log().to(ours.dtype)
        mixed = torch.stack([ours + parts[0], theirs + parts[1]]).logsumexp(0)
        a, b = of_the_mixture(choices, beta)
        value = a * divergence(mixed, theirs, **how).sum(-1) + b * divergence(mixed, ours, **how).sum(-1)
    value = value * (temperature**2 if choices["scale"] == "temperature^2" else 1)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), student)[0].numpy()


@way("by torch, of a selection")
def topk_divergence(style, choices, logits, teacher_logits, k, direction, tail):
    [student], [teacher] = leaves(style, logits), tensors(style, teacher_logits)
    best = teacher.topk(k, -1).indices
    kept = torch.zeros_like(teacher, dtype=torch.bool).scatter(-1, best, True)
    ours, theirs = (row.log_softmax(-1) for row in (student, teacher))
    pairs = [row.gather(-1, best) for row in (ours, theirs)]
    if tail == "bucket" and k < student.shape[1]:
        others = [row.masked_fill(kept, -torch.inf).logsumexp(-1, keepdim=True) for row in (ours, theirs)]
        pairs = [torch.cat(parts, -1) for parts in zip(pairs, others, strict=True)]
    if tail == "renormalized":
        pairs = [row - row.logsumexp(-1, keepdim=True) for row in pairs]
    first, second = pairs if direction == "reverse" else pairs[::-1]
    value = (first.exp() * (first - second)).sum(-1)
    if choices["negative"] == "0":
        value = value.clamp(min=0)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), student)[0].numpy()
