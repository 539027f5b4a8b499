"""The Kullback-Leibler divergence of a policy from a reference: as a number, estimated from tokens, and as a loss.

Everything that is estimated from a token is a function of its *log-ratio*, log pi(a) - log ref(a).  Where an
exponential is needed it may be given along with it, ref(a)/pi(a) = exp(-log-ratio): with probabilities that are
rational and a logarithm that is any function with log(xy) = log x + log y, all of it stays exact.
"""

from collections.abc import Callable, Mapping
from math import exp, log
from typing import Any

from .choices import one_of, require
from .distributions import Function, log_softmax
from .estimators import CLAMPED, ESTIMATORS, Term, estimated
from .language import Language, Policy, Tokens, choices, expectation, probability
from .linear_algebra import Matrix, Number, Vector, dot
from .reductions import Mask, divisors, reduced

Credit = Callable[[int, Tokens], list[Number]]

FORMS = ("importance weighted", "plain", "straight through", "weighted straight through")
"""What `kl_loss` makes of an estimate and of the importance ratio (KL-22)."""


def kl_estimate(logp: Number, ref_logp: Number, estimator: str, clamp: str = "none", exp: Function = exp) -> Number:
    """k1 = x, k2 = x^2 / 2 or k3 = exp(-x) - 1 + x of one token's log-ratio x = logp - ref_logp (KL-1, KL-2, KL-3).

    clamp: which estimates are kept near zero (KL-8).  exp: of the numbers at hand.
    Schulman (2020), "Approximating KL divergence".

    >>> from sympy import exp, log
    >>> [kl_estimate(log(2), 0, estimator, exp=exp) for estimator in ("k1", "k2", "k3")]
    [log(2), log(2)**2/2, -1/2 + log(2)]
    """
    return estimated(estimator, logp - ref_logp, exp(ref_logp - logp), clamp)[0]


def divergence(policy: Vector, reference: Vector, log: Function = log) -> Number:
    """KL(pi||ref) = sum_a pi(a) log(pi(a) / ref(a)) of two distributions over the same actions, all of them possible.

    Kullback & Leibler (1951), for a finite sum.

    >>> from sympy import Rational, log
    >>> half, quarter = Rational(1, 2), Rational(1, 4)
    >>> divergence([half, quarter, quarter], [quarter, quarter, half], log)
    log(2)/4
    """
    return sum(p * log(p / r) for p, r in zip(policy, reference, strict=True))


def kl_divergence(logits: Vector, ref_logits: Vector, exp: Function = exp, log: Function = log) -> tuple[Any, Any]:
    """KL(pi||ref) of two softmaxes (KL-10), and its derivatives pi(b) (log pi(b) - log ref(b) - KL) (KL-11).

    logits, ref_logits: [A], of one row.  An action with the logit minus infinity has no part in it (KL-13).
    exp, log: of the numbers at hand.  Returns the divergence and its derivatives in the logits, [A].

    >>> from sympy import exp, log
    >>> kl_divergence([log(2), 0, 0], [0, 0, log(2)], exp, log)  # (1/2, 1/4, 1/4) from (1/4, 1/4, 1/2)
    (log(2)/4, [3*log(2)/8, -log(2)/16, -5*log(2)/16])
    """
    ours, theirs = log_softmax(logits, exp, log), log_softmax(ref_logits, exp, log)
    policy = [exp(x) for x in ours]
    # 0 log 0 = 0: what has no probability is not compared.
    log_ratios = [x - y if p != 0 else 0 for p, x, y in zip(policy, ours, theirs, strict=True)]
    value = dot(policy, log_ratios)
    return value, [p * (x - value) for p, x in zip(policy, log_ratios, strict=True)]


def divergence_gradient(policy: Vector, reference: Vector, log: Function = log) -> list[Number]:
    """dKL(pi||ref)/dtheta_b = pi(b) (log(pi(b) / ref(b)) - KL(pi||ref)), in the logits of pi (KL-11).

    >>> from sympy import Rational, log
    >>> half, quarter = Rational(1, 2), Rational(1, 4)
    >>> divergence_gradient([half, quarter, quarter], [quarter, quarter, half], log)
    [3*log(2)/8, -log(2)/16, -5*log(2)/16]
    """
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

    >>> from sympy import Rational, log
    >>> policy, reference = {(0, ()): [Rational(3, 4), Rational(1, 4)]}, {(0, ()): [Rational(1, 2), Rational(1, 2)]}
    >>> of_tokens(ESTIMATORS, policy, reference, "k3", log)(0, (0,))
    [-1/3 + log(3/2)]
    """

    def each(prompt: int, tokens: Tokens) -> list[Number]:
        ratios = [policy[context][token] / reference[context][token] for context, token in choices(prompt, tokens)]
        return [table[estimator](log(ratio), 1 / ratio) for ratio in ratios]

    return each


def sequence_divergence(language: Language, policy: Policy, reference: Policy, log: Function = log) -> Number:
    """KL(pi||ref) of whole completions, sum_x rho(x) sum_y pi(y|x) log(pi(y|x) / ref(y|x)), by listing them (KL-6).

    >>> from sympy import Rational, log
    >>> short = Language(prompts=[1], vocabulary=2, longest=1)
    >>> policy, reference = {(0, ()): [Rational(2, 3), Rational(1, 3)]}, {(0, ()): [Rational(1, 3), Rational(2, 3)]}
    >>> sequence_divergence(short, policy, reference, log)
    log(2)/3
    """
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

    logp, ref_logp, old_logp, mask: [B][T].  estimator: k1, k2 or k3.  reduction, empty_rows, count: which mean it is
    (RED-8).  form: where the ratio stands and what is differentiated (KL-22).  clamp: which estimates are kept near
    zero (KL-8).
    Returns the loss and its derivatives, [B][T].

    >>> from sympy import exp, log
    >>> kl_loss([[-log(2)]], [[-2 * log(2)]], [[-2 * log(2)]], [[1]], "k3", exp=exp)  # x = log 2 and rho = 2
    (-1 + 2*log(2), [[2*log(2)]])
    """
    for choice, known in (form, FORMS), (estimator, ESTIMATORS), (clamp, CLAMPED):
        require(choice, *known)

    def term(row: int, step: int) -> Term:
        new, reference, old = logp[row][step], ref_logp[row][step], old_logp[row][step]
        return kl_term(form, estimator, new - reference, exp(reference - new), exp(new - old), clamp)

    return reduced(term, mask, divisors(mask, reduction, empty_rows, count))


def kl_term(form: str, name: str, x: Number, inverse: Number, ratio: Number, clamp: str = "none") -> Term:
    """A token's term and its derivative, from its log-ratio x, exp(-x) and the ratio rho (KL-22).

    form: one of `FORMS`.  name: k1, k2 or k3.  inverse: exp(-x).  Importance weighted: rho k and rho (k + k'), where k3
    + k3' = x; for k2 rho k', the ratio being a weight (KL-15).  Plain: k and k'.  Straight through: k and the
    derivative of k2, which is x; weighted, rho x.

    >>> kl_term("plain", "k2", 2, 0.125, 4), kl_term("importance weighted", "k2", 2, 0.125, 4)
    ((2.0, 2), (8.0, 8))
    """
    k, slope = estimated(name, x, inverse, clamp)
    clamped = k != ESTIMATORS[name](x, inverse)
    followed = {"k2": slope, "k3": k + slope if clamped else x}.get(name, k + slope)
    terms = {
        "importance weighted": (ratio * k, ratio * followed),
        "plain": (k, slope),
        "straight through": (k, x),
        "weighted straight through": (k, ratio * x),
    }
    return one_of(terms, form)
