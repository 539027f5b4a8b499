"""Distances of a student from its teacher, written another way."""

import math

import numpy as np
import torch

from .language import tensors
from .registry import variant


@variant("by torch's kl_div and logsumexp, as in trainers", quick=True)
def distillation_divergence(logits, teacher_logits, beta, temperature):
    student, teacher = tensors(torch.float64, logits, teacher_logits)
    student.requires_grad_()
    ours, theirs = ((row / temperature).log_softmax(-1) for row in (student, teacher))

    def divergence(of, towards):
        return torch.nn.functional.kl_div(towards, of, log_target=True, reduction="none").sum(-1)

    if beta == 0:
        value = divergence(theirs, ours)
    elif beta == 1:
        value = divergence(ours, theirs)
    else:
        mixed = torch.logsumexp(torch.stack([ours + math.log1p(-beta), theirs + math.log(beta)]), dim=0)
        value = beta * divergence(theirs, mixed) + (1 - beta) * divergence(ours, mixed)
    return value.detach(), torch.autograd.grad(value.sum(), student)[0]


@variant("a row at a time, by the gradient of the kept tokens", quick=True)
def topk_divergence(logits, teacher_logits, k, direction, tail):
    values, slopes = [], np.zeros(np.shape(logits))
    for place, (ours, theirs) in enumerate(zip(logits, teacher_logits, strict=True)):
        student = torch.tensor(np.array(ours), dtype=torch.float64, requires_grad=True)
        teacher = torch.tensor(np.array(theirs), dtype=torch.float64)
        best = teacher.argsort(descending=True).tolist()
        cells = [[token] for token in best[:k]] + ([best[k:]] if tail == "bucket" and k < len(best) else [])
        s, t = (torch.stack([row.log_softmax(-1)[cell].logsumexp(-1) for cell in cells]) for row in (student, teacher))
        if tail == "renormalized":
            s, t = s.log_softmax(-1), t.log_softmax(-1)
        value = (t.exp() * (t - s)).sum() if direction == "forward" else (s.exp() * (s - t)).sum()
        values.append(value.item())
        slopes[place] = torch.autograd.grad(value, student)[0].numpy()
    return values, slopes
