"""Distillation: a student that is to say what a teacher would say (spec/distillation.md).

A row is one context, with a logit for each token.  The student's logits are the ones that are trained.
"""

from collections.abc import Callable
from math import exp, log
from typing import Any

from .choices import one_of
from .distributions import log_softmax
from .linear_algebra import Number, Vector, dot

Function = Callable[[Any], Any]
Rows = tuple[Vector, Vector]


def distillation_divergence(
    logits: Vector,
    teacher_logits: Vector,
    beta: Number,
    temperature: Number = 1,
    weights: str = "paper",
    scale: str = "1",
    exp: Function = exp,
    log: Function = log,
) -> tuple[Any, Any]:
    """beta KL(T||M) + (1 - beta) KL(S||M) with M = beta T + (1 - beta) S, and its derivatives (DIS-1 to DIS-7).

    logits, teacher_logits: [A], of one row; S and T are the softmaxes of both over the temperature.  For beta = 0 and 1
    it is KL(T||S) and KL(S||T).  weights: which of the two is weighed by beta (DIS-5).  scale: what all is multiplied
    by (DIS-6).  Returns the divergence and its derivatives in the student's logits, [A].  Agarwal et al. (2024), eq. 1.

    >>> from sympy import exp, log
    >>> student, teacher = [log(2), 0, 0], [0, 0, log(2)]  # (1/2, 1/4, 1/4) and (1/4, 1/4, 1/2)
    >>> distillation_divergence(student, teacher, 0, exp=exp, log=log)
    (log(2)/4, [1/4, 0, -1/4])
    """
    ours, theirs = (log_softmax([x / temperature for x in row], exp, log) for row in (logits, teacher_logits))
    student, teacher = ([exp(x) for x in row] for row in (ours, theirs))
    factor = one_of({"1": 1, "temperature^2": temperature * temperature}, scale)
    exchanged = one_of({"paper": False, "exchanged": True}, weights)
    gap = [x - y for x, y in zip(ours, theirs, strict=True)]
    if beta == 0:
        value, slopes = -dot(teacher, gap), [s - t for s, t in zip(student, teacher, strict=True)]
    elif beta == 1:
        value = dot(student, gap)
        slopes = [s * (x - value) for s, x in zip(student, gap, strict=True)]
    else:
        of_teacher, of_student = (1 - beta, beta) if exchanged else (beta, 1 - beta)
        mixed = _mixture(ours, theirs, beta, exp, log)
        value, slopes = _jensen_shannon((ours, student), (theirs, teacher), mixed, beta, of_teacher, of_student, exp)
    return factor * value, [factor * slope / temperature for slope in slopes]


def _mixture(ours: Vector, theirs: Vector, beta: Number, exp: Function, log: Function) -> Vector:
    """log(beta T + (1 - beta) S), without an exponential that no float holds."""
    pairs = [(x + log(1 - beta), y + log(beta)) for x, y in zip(ours, theirs, strict=True)]
    return [max(pair) + log(1 + exp(min(pair) - max(pair))) for pair in pairs]


def _jensen_shannon(
    student: Rows, teacher: Rows, mixed: Vector, beta: Number, of_teacher: Number, of_student: Number, exp: Function
) -> tuple[Number, list[Number]]:
    """a KL(T||M) + b KL(S||M) and its derivatives S_k (g_k - sum_j S_j g_j), g its derivatives in S.

    g_k = b (log S_k - log M_k) - (1 - beta) (a T_k + b S_k) / M_k, up to a number for all.
    """
    (ours, s), (theirs, t) = student, teacher
    value = of_teacher * dot(t, _less(theirs, mixed)) + of_student * dot(s, _less(ours, mixed))
    shares = [of_teacher * exp(y - m) + of_student * exp(x - m) for x, y, m in zip(ours, theirs, mixed, strict=True)]
    g = [of_student * x - (1 - beta) * share for x, share in zip(_less(ours, mixed), shares, strict=True)]
    mean = dot(s, g)
    return value, [p * (x - mean) for p, x in zip(s, g, strict=True)]


def _less(numbers: Vector, others: Vector) -> list[Number]:
    return [x - y for x, y in zip(numbers, others, strict=True)]


def topk_divergence(
    logits: Vector,
    teacher_logits: Vector,
    k: int,
    direction: str = "forward",
    tail: str = "dropped",
    negative: str = "as it is",
    exp: Function = exp,
    log: Function = log,
) -> tuple[Any, Any]:
    """A divergence over the k tokens that the teacher finds most probable, and its derivatives (DIS-16 to DIS-19).

    logits, teacher_logits: [A], of one row.  direction: ``forward``, KL(T||S), or ``reverse``, KL(S||T).
    tail: whether the other tokens are left out, are one token, or are left out and all divided by what is left.
    negative: whether what is below 0 is replaced by 0 (DIS-23).  Returns the divergence and its derivatives, [A].

    >>> from sympy import exp, log
    >>> topk_divergence([log(2), 0, 0], [0, 0, log(2)], 1, exp=exp, log=log)  # 1/2 log(1/2 / (1/4)), of the last token
    (log(2)/2, [1/4, 1/8, -3/8])
    """
    kept = sorted(range(len(logits)), key=lambda token: (-teacher_logits[token], token))[:k]
    others = [token for token in range(len(logits)) if token not in kept]
    ours, theirs = (log_softmax(row, exp, log) for row in (logits, teacher_logits))
    cells = {
        "dropped": [[token] for token in kept],
        "bucket": [[token] for token in kept] + ([others] if others else []),
        "renormalized": [[token] for token in kept],
    }
    parts = one_of(cells, tail)
    of_cells = [[_log_sum([row[token] for token in cell], exp, log) for cell in parts] for row in (ours, theirs)]
    whole = [_log_sum(row, exp, log) if tail == "renormalized" else 0 for row in of_cells]
    s, t = ([x - total for x in row] for row, total in zip(of_cells, whole, strict=True))
    value, slopes = one_of({"forward": _forward, "reverse": _reverse}, direction)(s, t, exp)
    if one_of({"as it is": False, "0": True}, negative) and value < 0:
        return 0 * value, [0 * x for x in logits]
    # A cell's logarithm moves with a logit by the token's share of the cell, less its share of everything.
    total, result = sum(slopes), [0 * x for x in ours]
    for cell, log_cell, slope in zip(parts, of_cells[0], slopes, strict=True):
        for token in cell:
            result[token] = slope * exp(ours[token] - log_cell)
    everything = [token for cell in parts for token in cell] if tail == "renormalized" else range(len(ours))
    for token in everything:
        result[token] = result[token] - total * exp(ours[token] - whole[0])
    return value, result


def _forward(s: Vector, t: Vector, exp: Function) -> tuple[Number, Vector]:
    """sum T (log T - log S) over the cells, and its derivatives in log S."""
    return sum(exp(y) * (y - x) for x, y in zip(s, t, strict=True)), [-exp(y) for y in t]


def _reverse(s: Vector, t: Vector, exp: Function) -> tuple[Number, Vector]:
    """sum S (log S - log T) over the cells, and its derivatives in log S."""
    terms = [(exp(x), x - y) for x, y in zip(s, t, strict=True)]
    return sum(p * gap for p, gap in terms), [p * (gap + 1) for p, gap in terms]


def _sum_of(numbers: Vector) -> Number:
    return sum(numbers[1:], numbers[0])


def _log_sum(numbers: Vector, exp: Function, log: Function) -> Number:
    """log sum exp, without an exponential that no float holds."""
    most = max(numbers)
    return most + log(_sum_of([exp(x - most) for x in numbers]))
