"""What a surrogate loss is, token by token: closed forms in rationals, by the choices of a candidate."""

from fractions import Fraction
from typing import Any

import numpy as np

from rlspec.properties.checking import agree, exactly
from rlspec.properties.clipping import exact_exp
from rlspec.properties.losses import Credited
from rlspec.properties.reducing import divisors_of
from rlspec.properties.tokens import LEAST_CLAMP
from rlspec.reference.choices import shape_of
from rlspec.reference.estimators import CLAMPED
from rlspec.spec.operations import OPERATIONS

LOGPS = ("logp", "old_logp", "ref_logp")


def ask(candidate: Any, operation: str, case: Credited) -> Any:
    """The candidate's loss and its derivatives."""
    return candidate.ask(OPERATIONS[operation], *case.arguments(operation))


def sizes(candidate: Any, operation: str, case: Credited) -> list[Fraction]:
    """n_b of each row, by the candidate's conventions."""
    groups = case.groups.tolist()
    return divisors_of(candidate, operation, case.mask, case.reduction, case.divisor, groups).ravel().tolist()


def limited(candidate: Any, operation: str, log_ratio: Fraction) -> tuple[Fraction, bool]:
    """A log-ratio as far as the candidate's clamp lets it count, and whether it moves."""
    if abs(log_ratio) <= LEAST_CLAMP:
        return log_ratio, True
    chosen = candidate.convention(f"{operation}.log_ratio")
    shape, most = shape_of(chosen, "as it is", "clamped to C", "at most C")
    if shape != "as it is" and log_ratio > most:
        return exactly(most), False
    if shape == "clamped to C" and log_ratio < -most:
        return -exactly(most), False
    return log_ratio, True


def divergence(candidate: Any, operation: str, kl: str, x: Fraction) -> tuple[Any, Any]:
    """The estimate that a token's log-ratio x makes, and its derivative, by the candidate's clamp."""
    inverse = exact_exp(-x)
    value, slope = {"k1": (x, 1), "k2": (x * x / 2, x), "k3": (inverse - 1 + x, 1 - inverse)}[kl]
    if abs(value) <= LEAST_CLAMP:
        return value, slope
    shape, most = shape_of(candidate.convention(f"{operation}.clamp"), *CLAMPED)
    if kl in CLAMPED[shape] and abs(value) > most:
        return (1 if value > 0 else -1) * exactly(most), 0
    return value, slope


def surrogate(candidate: Any, operation: str, case: Credited) -> tuple[Any, Any]:
    """u of a single token in closed form, and its derivative."""
    logp, old_logp = exactly(case.tokens.logp.item()), exactly(case.tokens.old_logp.item())
    A, low, high = exactly(case.advantages[0]), exactly(case.clip_low), exactly(case.clip_high)
    if case.ratio == "none":
        return A * logp, A
    x, moves = limited(candidate, operation, logp - old_logp)
    r = exact_exp(x)
    clipped = min(max(r, 1 - low), 1 + high)
    if case.clip == "weight":
        return clipped * A * logp, clipped * A
    if case.clip == "geometric":
        clipped = exact_exp(min(max(x, -low), high))
    u = r * A if case.clip == "none" else min(r * A, clipped * A)
    if case.clip == "pessimistic" and case.dual_clip is not None and A < 0:
        u = max(u, exactly(case.dual_clip) * A)
    return u, u if moves and u == r * A else 0


def price(candidate: Any, operation: str, case: Credited) -> tuple[Any, Any, Any]:
    """w k of a single token, its derivative, and that part of it which comes through the weight."""
    logp, old_logp, ref_logp = (exactly(getattr(case.tokens, name).item()) for name in LOGPS)
    k, slope = divergence(candidate, operation, case.kl, logp - ref_logp)
    if case.ratio == "none" or candidate.convention(f"{operation}.kl_weight") == "1":
        return k, slope, 0
    x, moves = limited(candidate, operation, logp - old_logp)
    weight = exact_exp(x)
    through = weight * k if moves and case.kl != "k2" else 0
    return weight * k, weight * slope + through, through


def check_surrogates(candidate: Any, operation: str, case: Credited) -> None:
    """Check a loss without a KL term: each token is like one that is alone, divided by its row's n."""
    case = case.but(kl_coef=0.0)
    total, slopes, divided = Fraction(0), np.zeros(case.mask.shape, dtype=object), sizes(candidate, operation, case)
    for row, token in np.argwhere(case.mask).tolist():
        u, slope = surrogate(candidate, operation, case.like(row, token))
        total -= u / divided[row]
        slopes[row, token] = -slope / divided[row] if case.free[row, token] else Fraction(0)
    agree(ask(candidate, operation, case), (total, slopes), **case.judged)


def check_prices(candidate: Any, operation: str, case: Credited) -> None:
    """Check a loss without advantages; what weighs a row's KL estimates may be a mean, which moves with each token."""
    case = case.but(advantages=0 * case.advantages)
    total, slopes, divided = Fraction(0), np.zeros(case.mask.shape, dtype=object), sizes(candidate, operation, case)
    c = exactly(case.kl_coef)
    for row in np.flatnonzero(case.mask.any(axis=1)).tolist():
        tokens = np.flatnonzero(case.mask[row]).tolist()
        known = [price(candidate, operation, case.like(row, token)) for token in tokens]
        mean = sum(through for _, _, through in known) / len(known)
        for token, (value, slope, through) in zip(tokens, known, strict=True):
            total += c * value / divided[row]
            back = mean if case.ratio == "sequence" else through
            slopes[row, token] = c * (slope - through + back) / divided[row]
    agree(ask(candidate, operation, case), (total, slopes), **case.judged)


def only_token(drawn: Credited) -> Credited:
    """The first token, which counts."""
    return drawn.token(0, 0).but(mask=np.ones((1, 1), dtype=bool))
