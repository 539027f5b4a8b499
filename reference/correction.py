"""Correction: the policy that spoke is not the one that is trained (spec/correction.md).

Tables are [B][T], and only entries that the mask counts are read: logp, old_logp and sampler_logp, the
log-probabilities of each token under the trained policy, what it was before its steps, and the engine that spoke.  A
*level* says whose probabilities a weight is the ratio of, a *form* what becomes of one that is far from 1.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Any

from .choices import one_of, require, shape_of
from .estimators import Term
from .language import Context, Policy, Tokens, choices
from .linear_algebra import Matrix, Number, Vector
from .reductions import Mask, Table, divisors, reduced
from .surrogate import LIMITS, Exponential, Row, limit, rated, surrogate

Credit = Callable[[int, Tokens], Sequence[Number]]


def importance_weights(
    logp: Matrix,
    sampler_logp: Matrix,
    mask: Mask,
    level: str = "token",
    form: str = "none",
    low: Number = 0,
    high: Number = 1,
    log_weight: str = "as it is",
    exp: Exponential = exp,
) -> Table:
    """w_bt = exp(logp - sampler_logp), at a level (COR-1 to COR-3) and in a form (COR-4 to COR-6); 0 under the mask.

    low, high: the least and the largest weight, for the forms that have one.  log_weight: whether logarithms of weights
    are clamped (COR-8).  Returns [B][T].

    >>> from sympy import exp, log
    >>> pair = [[log(2), -log(2)]], [[0, 0]], [[1, 1]]  # ratios 2 and 1/2
    >>> importance_weights(*pair, exp=exp), importance_weights(*pair, "sequence", exp=exp)
    ([[2, 1/2]], [[1, 1]])
    >>> importance_weights(*pair, form="truncated", high=1, exp=exp)
    [[1, 1/2]]
    """
    shaped = one_of(FORMS, form)
    of_level = one_of(LEVELS, level)
    require(log_weight, *LIMITS)

    def of_row(new: Vector, old: Vector, flags: Sequence[Any]) -> Row:
        steps = [step for step, counts in enumerate(flags) if counts]
        row: Row = [0] * len(flags)
        for step, log_ratio in zip(steps, of_level([new[step] - old[step] for step in steps]), strict=True):
            row[step] = shaped(exp(limit(log_ratio, log_weight)[0]), low, high)
        return row

    return [of_row(*rows) for rows in zip(logp, sampler_logp, mask, strict=True)]


def self_normalized_weights(
    logp: Matrix,
    sampler_logp: Matrix,
    mask: Mask,
    level: str = "token",
    form: str = "none",
    low: Number = 0,
    high: Number = 1,
    log_weight: str = "as it is",
    count: str = "n",
    exp: Exponential = exp,
) -> Table:
    """The weights over their mean (COR-9): over tokens at the level of tokens, else over the rows that have a token.

    Weights that are all 0 stay 0.  The other arguments are those of `importance_weights`; count: how a number of tokens
    is read (RED-10).  Returns [B][T].

    >>> from sympy import exp, log
    >>> self_normalized_weights([[log(2), -log(2)]], [[0, 0]], [[1, 1]], exp=exp)  # 2 and 1/2 over 5/4
    [[8/5, 2/5]]
    """
    weights = importance_weights(logp, sampler_logp, mask, level, form, low, high, log_weight, exp)
    sizes = divisors(mask, "token-mean" if level == "token" else "mean of means", "left out", count)
    [mean] = reduced(lambda row, step: (weights[row][step],), mask, sizes, derivatives=0)
    return [[weight / mean if weight != 0 else weight for weight in row] for row in weights]


def corrected_loss(
    logp: Matrix,
    old_logp: Matrix,
    sampler_logp: Matrix,
    advantages: Matrix,
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    level: str = "token",
    form: str = "none",
    low: Number = 0,
    high: Number = 1,
    reduction: str = "token-mean",
    empty_rows: str = "counted",
    count: str = "n",
    rejected: str = "counted",
    log_ratio: str = "as it is",
    log_weight: str = "as it is",
    exp: Exponential = exp,
) -> tuple[Any, ...]:
    """L = -mean of w min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), r = exp(logp - old_logp), and dL/dlogp (COR-11).

    w is the weight of old_logp against sampler_logp, and does not move.  reduction, empty_rows, count: which mean it is
    (RED-8 to RED-10).  rejected: whether tokens that the form "masked" has rejected are among those that a mean is over
    (COR-17).  log_ratio: as in PPO-14.  log_weight: as in COR-8.  Hilton, Cobbe & Schulman (2022), section 2.

    >>> from sympy import Integer, exp, log
    >>> same, sampler, gains = [[log(2), -log(2)]], [[0, 0]], [[Integer(1), Integer(1)]]  # r = 1; w = 2 and 1/2
    >>> corrected_loss(same, same, sampler, gains, [[1, 1]], 0.2, 0.2, exp=exp)
    (-5/4, [[-1, -1/4]])
    """
    require(log_ratio, *LIMITS)
    weights = importance_weights(old_logp, sampler_logp, mask, level, form, low, high, log_weight, exp)
    leave_out = one_of({"counted": False, "left out": form == "masked"}, rejected)

    def counts(row: int, step: int) -> bool:
        return bool(mask[row][step]) and not (leave_out and weights[row][step] == 0)

    def term(row: int, step: int) -> Term:
        [(ratio, moves)] = rated([logp[row][step] - old_logp[row][step]], "token", log_ratio, exp)
        objective, slope = surrogate(ratio, advantages[row][step], clip_low, clip_high)
        weight = weights[row][step]
        return -weight * objective, -weight * slope * moves

    kept = [[counts(row, step) for step in range(len(flags))] for row, flags in enumerate(mask)]
    return reduced(term, kept, divisors(kept, reduction, empty_rows, count))


def effective_sample_size(
    weights: Matrix, mask: Mask, of: str = "count", eps: str = "mean", count: str = "n"
) -> Number:
    """N m^2 / mean of w^2, with the mean m of the N weights that count; or the share of N that it is (COR-18, COR-19).

    0 if all weights are 0.  eps: what is added to the mean.  count: how N is read (RED-10).  Kong (1992).

    >>> effective_sample_size([[3, 1]], [[1, 1]]), effective_sample_size([[3, 1]], [[1, 1]], of="share")
    (1.6, 0.8)
    """
    whole = one_of({"count": True, "share": False}, of)
    shape, added = shape_of(eps, "mean", "mean + E")
    sizes = divisors(mask, count=count)

    def term(row: int, step: int) -> Term:
        weight = weights[row][step]
        return weight, weight * weight

    mean, table = reduced(term, mask, sizes)
    square = sum(sum(row) for row in table)
    if square == 0:
        return 0 * square
    shifted = mean if shape == "mean" else mean + added
    return shifted * shifted / square * (sizes[0] if whole else 1)


def _all_alike(numbers: Row, number: Number) -> Row:
    return [number] * len(numbers)


LEVELS: Mapping[str, Callable[[Row], Row]] = {
    "token": lambda numbers: numbers,
    "sequence": lambda numbers: _all_alike(numbers, sum(numbers)),
    "geometric": lambda numbers: _all_alike(numbers, sum(numbers) / max(len(numbers), 1)),
}
"""What the logarithms of a row's ratios are made of (COR-1 to COR-3)."""


def _masked(weight: Number, low: Number, high: Number) -> Number:
    return weight if low <= weight <= high else 0 * low


FORMS: Mapping[str, Callable[[Number, Number, Number], Number]] = {
    "none": lambda weight, low, high: weight,
    "truncated": lambda weight, low, high: min(weight, high),
    "masked": _masked,
    "clipped": lambda weight, low, high: max(low, min(weight, high)),
}
"""What becomes of a weight, with the least and the largest one (COR-4 to COR-6)."""


# What weights estimate: exact on languages whose completions can be listed.


def token_ratios(policy: Policy, sampler: Policy, prompt: int, tokens: Tokens) -> list[Number]:
    """rho_t = pi(y_t | x, y_<t) / mu(y_t | x, y_<t) of every token of a completion, mu being the sampler.

    >>> token_ratios({(0, ()): [0.75, 0.25]}, {(0, ()): [0.5, 0.5]}, 0, (1,))
    [0.5]
    """
    return [policy[context][token] / sampler[context][token] for context, token in choices(prompt, tokens)]


def products(ratios: Sequence[Number], which: str) -> list[Number]:
    """For every token the product of its own ratio, of those up to it, of those from it on, or of all (COR-22, COR-23).

    which: "own", "up to it", "from it on" or "all".

    >>> products([2, 3, 5], "up to it"), products([2, 3, 5], "from it on")
    ([2, 6, 30], [30, 15, 5])
    """
    spans: Mapping[str, Callable[[int], Sequence[Number]]] = {
        "own": lambda step: ratios[step : step + 1],
        "up to it": lambda step: ratios[: step + 1],
        "from it on": lambda step: ratios[step:],
        "all": lambda step: ratios,
    }
    span = one_of(spans, which)
    return [_product(span(step)) for step in range(len(ratios))]


def _product(numbers: Sequence[Number]) -> Number:
    product: Number = 1
    for number in numbers:
        product = product * number
    return product


def truncated_support(policy: Policy, kept: Callable[[Sequence[Number]], Sequence[bool]]) -> Policy:
    """The policy that chooses among the tokens that are kept, in proportion to their probabilities (COR-29).

    kept: of a context's probabilities, which tokens are; at least one.

    >>> truncated_support({(0, ()): [0.375, 0.125, 0.125, 0.375]}, most_probable(2))
    {(0, ()): [0.5, 0.0, 0.0, 0.5]}
    """
    return {context: _renormalized(row, kept(row)) for context, row in policy.items()}


def _renormalized(row: Sequence[Number], flags: Sequence[bool]) -> list[Number]:
    mass = sum(p for p, flag in zip(row, flags, strict=True) if flag)
    return [p / mass if flag else 0 * p for p, flag in zip(row, flags, strict=True)]


def most_probable(count: int) -> Callable[[Sequence[Number]], list[bool]]:
    """Which tokens are among the most probable ones, top-k: ties go to the tokens that come first.

    >>> most_probable(2)([0.25, 0.5, 0.25])
    [True, True, False]
    """

    def kept(row: Sequence[Number]) -> list[bool]:
        best = sorted(range(len(row)), key=lambda token: (-row[token], token))[:count]
        return [token in best for token in range(len(row))]

    return kept


def between(policy: Policy, sampler: Policy, cap: Number) -> tuple[Policy, dict[Context, Number]]:
    """V-trace's policy, in proportion to min(cap mu, pi), and what each context's row of that sums to (COR-32).

    Espeholt et al. (2018), eq. 3.

    >>> between({(0, ()): [0.75, 0.25]}, {(0, ()): [0.25, 0.75]}, 1)
    ({(0, ()): [0.5, 0.5]}, {(0, ()): 0.5})
    """
    least = {
        context: [min(cap * m, p) for p, m in zip(row, sampler[context], strict=True)]
        for context, row in policy.items()
    }
    sums = {context: sum(row) for context, row in least.items()}
    return {context: [x / sums[context] for x in row] for context, row in least.items()}, sums
