"""Group-relative advantages, and the losses that are made of them.

Several answers to one prompt are a *group*; what one of them is worth is its reward next to the others'.  A loss then
hands each answer's advantage to its tokens.  All losses here are sums of terms of the tokens that count, each with a
weight that its row determines; they differ in the term, which is where the ratio is clipped, and in the weight, which
is how an answer's length matters.

A row's ratio is that of the policy's probability to the old policy's.  logp, old_logp, ref_logp: [B][T] logarithms;
advantages: [B], one for each row; mask: [B][T], set where a token counts; clip_low, clip_high: how far below and above
1 a ratio may be; exp: of the numbers at hand.  A loss is returned with its derivatives with respect to logp, [B][T].
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations_with_replacement
from math import comb, exp, factorial, prod
from typing import Any

from .choices import require
from .kl import estimated
from .language import Gradient, Language, Policy, Tokens, choices, probability
from .linear_algebra import Matrix, Number, Vector
from .policy_gradient import scored
from .ppo import surrogate
from .spread import SHAPES, STDS, kept_from_zero, standard_deviation

Exp = Callable[[Number], Number]
Mask = Sequence[Sequence[Any]]
Company = tuple[Tokens, ...]
Loss = tuple[Number, list[list[Number]]]
Term = tuple[Number, Number]
"""A token's part of a loss, and its derivative with respect to the token's log-probability."""


def group_advantages(
    rewards: Sequence[Number],
    groups: Sequence[Hashable],
    baseline: str = "mean",
    scale: str = "std",
    std: str = "ddof=1",
    eps: str = "std + 1e-6",
    alone: str = "zero",
) -> list[Number]:
    """A_i = (r_i - b_i) / D_g for each sample i of a group g (GRP-1).

    baseline: b_i is the group's mean, own reward included, or, leave-one-out, the mean of the others.
    scale: D_g is the group's standard deviation, kept from zero, or 1.  std, eps, alone: the choices of GRP-12 to 14.
    Returns N numbers; raises ValueError for another choice.  Shao et al. (2024); leave-one-out: Kool et al. (2019),
    Ahmadian et al. (2024).
    """
    require(baseline, "mean", "leave-one-out")
    require(scale, "std", "none")
    require(std, *STDS)
    require(eps, *SHAPES)
    require(alone, "zero", "its reward")
    members = defaultdict(list)
    for place, group in enumerate(groups):
        members[group].append(place)
    answers: list[Number] = [0] * len(rewards)
    for places in members.values():
        known = _of_one_group([rewards[place] for place in places], baseline, scale, std, eps, alone)
        for place, advantage in zip(places, known, strict=True):
            answers[place] = advantage
    return answers


def _of_one_group(rewards: Sequence[Number], baseline: str, scale: str, std: str, eps: str, alone: str) -> list[Number]:
    size = len(rewards)
    if size == 1 and alone == "its reward":
        above_nobody = rewards[0] - 0
        return [above_nobody / kept_from_zero(1, eps) if scale == "std" else above_nobody]
    if all(reward == rewards[0] for reward in rewards):
        return [0] * size
    mean = sum(rewards) / size
    # r_i - (G m - r_i) / (G - 1) = G (r_i - m) / (G - 1): leaving one's own reward out is a factor (GRP-7).
    above = [(reward - mean) * size / (size - 1 if baseline == "leave-one-out" else size) for reward in rewards]
    if scale == "none":
        return above
    scaled_by = kept_from_zero(standard_deviation(rewards, std), eps)
    return [number / scaled_by for number in above]


def reinforce_plus_plus_advantages(
    rewards: Sequence[Number],
    groups: Sequence[Hashable],
    baseline: str = "none",
    std: str = "ddof=1",
    eps: str = "sqrt(var + 1e-8)",
    alone: str = "zero",
) -> list[Number]:
    """(A_i - mean) / D over the whole batch, of A_i = r_i, or of r_i less its group's mean (GRP-18).

    baseline: ``none`` or ``mean``.  std, eps, alone: the choices of GRP-20 and GRP-14.
    Returns N numbers.  Hu et al. (2025).
    """
    require(baseline, "none", "mean")
    require(alone, "zero", "its reward")
    centred = group_advantages(rewards, groups, "mean", "none", alone=alone) if baseline == "mean" else rewards
    whole_batch = [0] * len(rewards)
    return group_advantages(centred, whole_batch, "mean", "std", std, eps)


def companies(language: Language, policy: Policy, prompt: int, size: int) -> Iterator[tuple[Number, Company]]:
    """Every group of so many answers to a prompt, in no order, with the probability that it is the one.

    Answers are independent, hence exchangeable: G! / (n_1! n_2! ...) orders of one group are equally probable.
    """
    for company in combinations_with_replacement(language.completions(prompt), size):
        orders = factorial(size) // prod(map(factorial, Counter(company).values()))
        yield orders * prod(probability(policy, prompt, tokens) for tokens in company), company


def expected_gradient_of_groups(
    language: Language, policy: Policy, size: int, credit: Callable[[int, Company], Sequence[Number]]
) -> Gradient:
    """E[1/G sum_i A_i grad log pi(y_i|x)] with respect to the logits of every context, by listing every group.

    credit: the advantages A_i of a group of answers to a prompt.
    """
    received = {context: [0] * language.vocabulary for context in language.contexts()}
    for prompt, asked in enumerate(language.prompts):
        for chance, company in companies(language, policy, prompt, size):
            for tokens, advantage in zip(company, credit(prompt, company), strict=True):
                for context, token in choices(prompt, tokens):
                    received[context][token] = received[context][token] + asked * chance * advantage / size
    rows = scored([policy[context] for context in received], list(received.values()))
    return dict(zip(received, rows, strict=True))


def success_weight(rate: Number, size: int, divisor: Callable[[int], Number]) -> Number:
    """E[x (1 - x) / D] / (p (1 - p)), x being the share of right ones among G answers, each of them right with p.

    It is what grad p is multiplied by where right ones are rewarded with 1 and others with 0 (GRP-16); a polynomial in
    p, the terms without a right one or a wrong one being 0.
    rate: p.  size: G, at least 2.  divisor: D, a function of how many of the answers are right.
    """
    return sum(
        comb(size, right)
        * rate ** (right - 1)
        * (1 - rate) ** (size - right - 1)
        * (right * (size - right))
        / (size**2 * divisor(right))
        for right in range(1, size)
    )


def grpo_loss(
    logp: Matrix,
    old_logp: Matrix,
    ref_logp: Matrix,
    advantages: Vector,
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    kl_coef: Number,
    empty_rows: str = "counted",
    clamp: str = "none",
    exp: Exp = exp,
) -> Loss:
    """-1/B sum_b 1/|o_b| sum_t [min(r A, clip(r) A) - kl_coef k3], k3 = e^(ref - logp) - (ref - logp) - 1 (GRP-21).

    clamp: whether k3 is at most 10 (GRP-40).  Shao et al. (2024).
    """

    def term(row: int, token: int) -> Term:
        ratio = exp(logp[row][token] - old_logp[row][token])
        value, slope = surrogate(ratio, advantages[row], clip_low, clip_high)
        if kl_coef == 0:
            return -value, -slope
        behind = ref_logp[row][token] - logp[row][token]
        k3, k3_slope = estimated("k3", -behind, exp(behind), clamp)
        return kl_coef * k3 - value, kl_coef * k3_slope - slope

    return _summed(term, mask, _mean_of_means(mask, empty_rows))


def dr_grpo_loss(
    logp: Matrix,
    old_logp: Matrix,
    advantages: Vector,
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    length: Number,
    empty_rows: str = "counted",
    exp: Exp = exp,
) -> Loss:
    """-1/(B length) sum_bt min(r A, clip(r) A), whatever the lengths of the rows (GRP-22).  Liu et al. (2025)."""
    term = _clipped_terms(logp, old_logp, advantages, clip_low, clip_high, exp)
    return _summed(term, mask, [_rows(mask, empty_rows) * length] * len(mask))


def dapo_loss(
    logp: Matrix,
    old_logp: Matrix,
    advantages: Vector,
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    exp: Exp = exp,
) -> Loss:
    """-1/n sum_bt min(r A, clip(r) A), n being the number of tokens in the batch (GRP-23).  Yu et al. (2025)."""
    term = _clipped_terms(logp, old_logp, advantages, clip_low, clip_high, exp)
    return _summed(term, mask, _mean_over_tokens(mask))


def gspo_loss(
    logp: Matrix,
    old_logp: Matrix,
    advantages: Vector,
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    empty_rows: str = "counted",
    log_ratio: str = "as it is",
    exp: Exp = exp,
) -> Loss:
    """-1/B sum_b min(s A, clip(s) A), s_b = exp(1/|o_b| sum_t log r_bt) (GRP-24).

    It is GRPO's loss with the geometric mean of a row's ratios in the place of each of them: a token's share of s is
    1/|o|, of its value as of its derivative.  log_ratio: whether the mean of log r may exceed 10 (GRP-41).
    Zheng et al. (2025).
    """
    means = [
        sum(x - y for x, y, counts in zip(*row, strict=True) if counts) / (sum(map(bool, row[-1])) or 1)
        for row in zip(logp, old_logp, mask, strict=True)
    ]

    def term(row: int, token: int) -> Term:
        excess = max(means[row] - 10, 0) if log_ratio == "at most 10" else 0
        value, slope = surrogate(exp(means[row] - excess), advantages[row], clip_low, clip_high)
        return -value, 0 if excess else -slope

    return _summed(term, mask, _mean_of_means(mask, empty_rows))


def cispo_loss(
    logp: Matrix,
    old_logp: Matrix,
    advantages: Vector,
    mask: Mask,
    clip_low: Number,
    clip_high: Number,
    exp: Exp = exp,
) -> Loss:
    """-1/n sum_bt clip(r) A logp; the derivative takes the clipped ratio for a constant (GRP-25).  MiniMax (2025)."""

    def term(row: int, token: int) -> Term:
        ratio = exp(logp[row][token] - old_logp[row][token])
        weight = max(1 - clip_low, min(ratio, 1 + clip_high)) * advantages[row]
        return -weight * logp[row][token], -weight

    return _summed(term, mask, _mean_over_tokens(mask))


def _clipped_terms(
    logp: Matrix, old_logp: Matrix, advantages: Vector, clip_low: Number, clip_high: Number, exp: Exp
) -> Callable[[int, int], Term]:
    def term(row: int, token: int) -> Term:
        ratio = exp(logp[row][token] - old_logp[row][token])
        value, slope = surrogate(ratio, advantages[row], clip_low, clip_high)
        return -value, -slope

    return term


def _summed(term: Callable[[int, int], Term], mask: Mask, divisors: Sequence[Number]) -> Loss:
    """sum_bt x_bt / n_b and the derivatives x'_bt / n_b, over the tokens that count; no other token is read."""
    slopes: list[list[Number]] = [[0] * len(row) for row in mask]
    total: Number = 0
    for row, flags in enumerate(mask):
        for token, counts in enumerate(flags):
            if counts:
                value, slope = term(row, token)
                total = total + value / divisors[row]
                slopes[row][token] = slope / divisors[row]
    return total, slopes


def _rows(mask: Mask, empty_rows: str) -> int:
    """B, or how many of the rows have a token that counts (GRP-34)."""
    return len(mask) if empty_rows == "counted" else sum(map(any, mask))


def _mean_of_means(mask: Mask, empty_rows: str) -> list[Number]:
    """B |o_b|: each row weighs the same, and each of its tokens the less the more there are."""
    return [_rows(mask, empty_rows) * sum(map(bool, row)) for row in mask]


def _mean_over_tokens(mask: Mask) -> list[Number]:
    """n: each token of the batch weighs the same."""
    return [sum(bool(counts) for row in mask for counts in row)] * len(mask)
