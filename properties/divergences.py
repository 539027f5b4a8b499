"""Where pairs of policies come from: two logarithms for each token, two rows of logits, two distributions."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.processes import distributions, pick
from rlspec.properties.strategies import LOG_PROBABILITIES, MOST_STEPS, windows
from rlspec.properties.tokens import Completions

MOST_CHOICES = MOST_STEPS
"""How many logits a row has at most."""

estimators = st.sampled_from(["k1", "k2", "k3"])

PLAIN_LOG_RATIOS = np.array([0, 0.5, -0.5, np.log(2), -np.log(2), 3, -3, 30, 7, -7, 15, -15])
"""Log-ratios of which none is too small to be seen: a factor of two, and some beyond every clamp in use."""

LOG_RATIOS = np.concatenate([PLAIN_LOG_RATIOS, [2.0**-6, -(2.0**-10), 2.0**-20]])
"""What log-ratios are drawn from: plain ones, and tiny ones."""

FAR_LOG_RATIOS = {np.float64: np.array([200.0, -200.0]), np.float32: np.array([80.0, -80.0])}
"""Log-ratios of which no model should know, and whose exponentials the type still holds."""


def estimate_error(log_ratio: np.ndarray, digits: np.ndarray, estimator: str) -> np.ndarray:
    """How many roundoffs an estimate and its derivative may be off by, up to a small factor.

    digits: S = |log pi| + |log ref|; the log-ratio x is their difference and off by S roundoffs.  Then x^2 / 2 is off
    by |x| S, and exp(-x) by as much as a factor of 1 + S roundoffs, and it is rounded in turn, with the sum it is in.
    """
    with np.errstate(over="ignore"):
        inverse = np.exp(-log_ratio)
    return (
        1
        + {
            "k1": digits,
            "k2": (1 + np.abs(log_ratio)) * digits,
            "k3": digits + inverse * (digits + 3),
        }[estimator]
    )


@dataclass(frozen=True)
class Compared:
    """Log-probabilities [B, T] of the same tokens under a policy and a reference."""

    logp: np.ndarray
    ref_logp: np.ndarray

    @property
    def log_ratio(self) -> np.ndarray:
        """log pi - log ref, up to rounding."""
        return self.logp - self.ref_logp

    def judged(self, estimator: str) -> dict[str, Any]:
        """How far rounding may take estimates: the magnitude and roundings that ``agree`` wants."""
        digits = np.abs(self.logp) + np.abs(self.ref_logp)
        return {"magnitude": estimate_error(self.log_ratio, digits, estimator), "roundings": 8}


@st.composite
def compared(draw: st.DrawFn, log_ratios: np.ndarray = LOG_RATIOS) -> Compared:
    """Tokens of which a reference says something else, or the same."""
    table = draw(windows(2))
    ref_logp = LOG_PROBABILITIES[table[..., 0] % len(LOG_PROBABILITIES)]
    return Compared(ref_logp + log_ratios[table[..., 1] % len(log_ratios)], ref_logp)


@st.composite
def far_apart(draw: st.DrawFn) -> Compared:
    """Tokens of which policy and reference disagree entirely, in either precision."""
    kind = draw(st.sampled_from([np.float64, np.float32]))
    drawn = draw(compared(FAR_LOG_RATIOS[kind]))
    return Compared(drawn.logp.astype(kind), drawn.ref_logp.astype(kind))


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[list[Fraction], list[Fraction]]:
    """Two distributions over 2 or 3 tokens, in eighths, every token possible under both."""
    options = distributions(draw(st.integers(2, 3)), 8, 1)
    rows = pick(options, np.array([draw(st.integers(0, 255)), draw(st.integers(0, 255))]))
    policy, reference = ([exactly(number) for number in row] for row in rows)
    return policy, reference


@dataclass(frozen=True)
class Pair:
    """Rows of logits [B, A] of a policy and of a reference."""

    logits: np.ndarray
    ref_logits: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``kl_divergence``, in order."""
        return self.logits, self.ref_logits

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take divergences and derivatives: the magnitude and roundings that ``agree`` wants.

        The logarithm of a probability is a difference of logits and of the logarithm of a sum, none larger than
        2 L + log A, and off by as many roundoffs e, as is the probability in proportion.  A log-ratio is at most D =
        2 (2 L + log A) and off by 2 e; the divergence, its mean, by (D + 2) e, and a derivative by three times that.
        """
        largest = max(float(np.abs(array).max(where=np.isfinite(array), initial=0)) for array in self.arrays)
        error = 2 * largest + math.log(self.logits.shape[1]) + 1
        return {"magnitude": 3 * error * (2 * error + 2), "roundings": 2 * self.logits.shape[1] + 20}

    def but(self, **fields: np.ndarray) -> "Pair":
        """The same rows with other arrays in the named fields."""
        return replace(self, **fields)


@st.composite
def pairs(draw: st.DrawFn, logits: np.ndarray) -> Pair:
    """Rows of up to 6 logits for policy and reference, from those given."""
    table = draw(windows(2))
    ours, theirs = np.moveaxis(logits[table % len(logits)].astype(float), -1, 0)
    return Pair(ours, theirs)


def token_terms(batch: Completions, estimator: str) -> np.ndarray:
    """How many roundoffs a token's term of the loss, and its derivative, may be off by, up to a small factor; [B, T].

    A ratio rho is off by 3 + |log pi| + |log mu| roundoffs in proportion, and what it is multiplied with, k or its
    derivative or both, is no larger than twice what `estimate_error` counts.
    """
    logp, ref_logp, old_logp = (np.where(batch.mask, x, 0) for x in (batch.logp, batch.ref_logp, batch.old_logp))
    error = estimate_error(logp - ref_logp, np.abs(logp) + np.abs(ref_logp), estimator)
    ratio = np.exp(logp - old_logp) * (4 + np.abs(logp) + np.abs(old_logp))
    return np.where(batch.mask, 2 * (1 + ratio) * error, 0)


def loss_terms(batch: Completions, estimator: str) -> dict[str, Any]:
    """How far rounding may take a loss and its derivatives: the magnitude and roundings that ``agree`` wants.

    A mean, over at least one, makes neither larger.
    """
    return {"magnitude": float(token_terms(batch, estimator).sum()), "roundings": batch.mask.size + 16}
