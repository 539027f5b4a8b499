"""The Kullback-Leibler divergence of a policy from a reference: as a number, estimated from tokens, and as a loss.

Everything that is estimated from a token is a function of its *log-ratio*, log pi(a) - log ref(a).  Where an
exponential is needed it may be given along with it, ref(a)/pi(a) = exp(-log-ratio): with probabilities that are
rational and a logarithm that is any function with log(xy) = log x + log y, all of it stays exact.
"""

from collections.abc import Callable, Mapping
from math import exp, log
from typing import Any

from .choices import one_of, require, shape_of
from .distributions import Function, log_softmax
from .language import Language, Policy, Tokens, choices, expectation, probability
from .linear_algebra import Matrix, Number, Vector, dot
from .reductions import Mask, divisors, reduced

Credit = Callable[[int, Tokens], list[Number]]
Term = tuple[Number, Number]

ESTIMATORS: Mapping[str, Callable[[Number, Number], Number]] = {
    "k1": lambda log_ratio, inverse: log_ratio,
    "k2": lambda log_ratio, inverse: log_ratio * log_ratio / 2,
    "k3": lambda log_ratio, inverse: inverse - 1 + log_ratio,
}
"""k(log-ratio, exp(-log-ratio)) by name (KL-1, KL-2, KL-3)."""

SLOPES: Mapping[str, Callable[[Number, Number], Number]] = {
    "k1": lambda log_ratio, inverse: log_ratio**0,
    "k2": lambda log_ratio, inverse: log_ratio,
    "k3": lambda log_ratio, inverse: 1 - inverse,
}
"""dk / d log pi of the same (KL-14)."""


CLAMPED: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "k3 at most C": ("k3",),
    "k2 and k3 at most C": ("k2", "k3"),
    "within C": ("k1", "k2", "k3"),
}
"""Which estimates are kept within C of zero, by convention (KL-8)."""


def kl_estimate(logp: Number, ref_logp: Number, estimator: str, clamp: str = "none", exp: Function = exp) -> Number:
    """k1 = x, k2 = x^2 / 2 or k3 = exp(-x) - 1 + x of one token's log-ratio x = logp - ref_logp (KL-1, KL-2, KL-3).

    clamp: which estimates are kept near zero (KL-8).  exp: of the numbers at hand.
    Schulman (2020), "Approximating KL divergence".
    """
    value, _ = estimated(estimator, logp - ref_logp, exp(ref_logp - logp), clamp)
    return value


def estimated(estimator: str, log_ratio: Number, inverse: Number, clamp: str) -> Term:
    """k and dk / d log pi of one token; where the clamp acts (KL-8), its bound and 0.

    inverse: exp(-log_ratio).
    """
    value, slope = one_of(ESTIMATORS, estimator)(log_ratio, inverse), one_of(SLOPES, estimator)(log_ratio, inverse)
    shape, most = shape_of(clamp, *CLAMPED)
    if estimator in CLAMPED[shape] and abs(value) > most:
        return (most if value > 0 else -most), 0
    return value, slope


def divergence(policy: Vector, reference: Vector, log: Function = log) -> Number:
    """KL(pi||ref) = sum_a pi(a) log(pi(a) / ref(a)) of two distributions over the same actions, all of them possible.

    Kullback & Leibler (1951), for a finite sum.
    """
    return sum(p * log(p / r) for p, r in zip(policy, reference, strict=True))


def kl_divergence(logits: Vector, ref_logits: Vector, exp: Function = exp, log: Function = log) -> tuple[Any, Any]:
    """KL(pi||ref) of two softmaxes (KL-10), and its derivatives pi(b) (log pi(b) - log ref(b) - KL) (KL-11).

    logits, ref_logits: [A], of one row.  An action with the logit minus infinity has no part in it (KL-13).
    exp, log: of the numbers at hand.  Returns the divergence and its derivatives in the logits, [A].
    """
    ours, theirs = log_softmax(logits, exp, log), log_softmax(ref_logits, exp, log)
    policy = [exp(x) for x in ours]
    # 0 log 0 = 0: what has no probability is not compared.
    log_ratios = [x - y if p != 0 else 0 for p, x, y in zip(policy, ours, theirs, strict=True)]
    value = dot(policy, log_ratios)
    return value, [p * (x - value) for p, x in zip(policy, log_ratios, strict=True)]


def divergence_gradient(policy: Vector, reference: Vector, log: Function = log) -> list[Number]:
    """dKL(pi||ref)/dtheta_b = pi(b) (log(pi(b) / ref(b)) - KL(pi||ref)), in the logits of pi (KL-11)."""
    value = divergence(policy, reference, log)
    return [p * (log(p / r) - value) for p, r in zip(policy, reference, strict=True)]


def of_tokens(
    table: Mapping[str, Callable[[Number, Number], Number]],
    policy: Policy,
    reference: Policy,
    estimator: str,
    log: Function = log,
) -> Credit:
    """k_t, or dk_t / d log pi, of every token of a completion, as a function of prompt and tokens.

    table: ESTIMATORS or SLOPES.  log: of the numbers at hand; the inverse ratios are exact where probabilities are.
    """

    def each(prompt: int, tokens: Tokens) -> list[Number]:
        ratios = [policy[context][token] / reference[context][token] for context, token in choices(prompt, tokens)]
        return [table[estimator](log(ratio), 1 / ratio) for ratio in ratios]

    return each


def sequence_divergence(language: Language, policy: Policy, reference: Policy, log: Function = log) -> Number:
    """KL(pi||ref) of whole completions, sum_x rho(x) sum_y pi(y|x) log(pi(y|x) / ref(y|x)), by listing them (KL-6)."""
    return expectation(language, policy, lambda *pair: log(probability(policy, *pair) / probability(reference, *pair)))


def kl_loss(
    logp: Matrix,
    ref_logp: Matrix,
    old_logp: Matrix,
    mask: Mask,
    estimator: str,
    reduction: str = "token-mean",
    empty_rows: str = "counted",
    count: str = "n",
    form: str = "importance weighted",
    clamp: str = "none",
    exp: Function = exp,
) -> tuple[Any, ...]:
    """The mean of rho k over the tokens where the mask is set, rho = exp(logp - old_logp) (KL-20), and its derivatives.

    logp, ref_logp, old_logp, mask: [B][T].  reduction, empty_rows, count: which mean it is (RED-8).  form: where the
    ratio stands and what is differentiated (KL-22).  clamp: which estimates are kept near zero (KL-8).
    Returns the loss and its derivatives, [B][T].
    """
    form_of = one_of(FORMS, form)
    require(estimator, *ESTIMATORS)
    require(clamp, *CLAMPED)

    def term(row: int, step: int) -> Term:
        new, reference, old = logp[row][step], ref_logp[row][step], old_logp[row][step]
        return form_of(estimator, new - reference, exp(reference - new), exp(new - old), clamp)

    return reduced(term, mask, divisors(mask, reduction, empty_rows, count))


def _importance_weighted(name: str, x: Number, inverse: Number, ratio: Number, clamp: str = "none") -> Term:
    """rho k and its derivative rho (k + k'), where k3 + k3' = x; for k2 rho k', the ratio being a weight (KL-15)."""
    k, slope = estimated(name, x, inverse, clamp)
    if name == "k2":
        return ratio * k, ratio * slope
    clamped = k != ESTIMATORS[name](x, inverse)
    return ratio * k, ratio * (x if name == "k3" and not clamped else k + slope)


def _plain(name: str, x: Number, inverse: Number, ratio: Number, clamp: str = "none") -> Term:
    """k and k'."""
    return estimated(name, x, inverse, clamp)


def _straight_through(name: str, x: Number, inverse: Number, ratio: Number, clamp: str = "none") -> Term:
    """k, and the derivative of k2."""
    return estimated(name, x, inverse, clamp)[0], x


def _weighted_straight_through(name: str, x: Number, inverse: Number, ratio: Number, clamp: str = "none") -> Term:
    """k, and rho times the derivative of k2."""
    return estimated(name, x, inverse, clamp)[0], ratio * x


FORMS: Mapping[str, Callable[..., Term]] = {
    "importance weighted": _importance_weighted,
    "plain": _plain,
    "straight through": _straight_through,
    "weighted straight through": _weighted_straight_through,
}
"""A token's term and its derivative by form, from its log-ratio x, exp(-x) and the ratio rho (KL-22)."""
