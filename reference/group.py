"""Group-relative advantages, and the losses that are made of them.

Several answers to one prompt are a *group*; what one of them is worth is its reward next to the others'.  A loss then
hands each answer's advantage to its tokens.  All losses here are points of `surrogate_loss`, whose arguments they take.
Their derivatives for one answer of two tokens, with the advantage 6, and one of one token, with -3, in the first step,
where every ratio is 1:

>>> same = [[0, 0], [0, 0]]  # log-probabilities: new, old and of the reference
>>> batch = same, same, same, [6, -3], ["a", "a"], [[1, 1], [1, 0]], 0.2, 0.2, 0
>>> grpo_loss(*batch)[1], gspo_loss(*batch)[1], gmpo_loss(*batch)[1]
([[-1.5, -1.5], [1.5, 0]], [[-1.5, -1.5], [1.5, 0]], [[-1.5, -1.5], [1.5, 0]])
>>> dapo_loss(*batch)[1], cispo_loss(*batch)[1]
([[-2.0, -2.0], [1.0, 0]], [[-2.0, -2.0], [1.0, 0]])
>>> luspo_loss(*batch)[1]
[[-3.0, -3.0], [1.5, 0]]
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from itertools import combinations_with_replacement
from math import comb, factorial, prod
from typing import Any

from .choices import one_of, require
from .language import Gradient, Language, Policy, Tokens, gathered, probability, token_returns
from .linear_algebra import Number
from .spread import SHAPES, STDS, kept_from_zero, normalized, standard_deviation
from .surrogate import surrogate_loss

Company = tuple[Tokens, ...]


def group_advantages(
    rewards: Sequence[Number],
    groups: Sequence[Hashable],
    baseline: str = "mean",
    scale: str = "std",
    std: str = "ddof=1",
    eps: str = "std + 1e-6",
    spread: str = "of the group",
    alone: str = "zero",
    alone_left_out: str = "zero",
) -> list[Number]:
    """A_i = (r_i - b_i) / D for each sample i (GRP-1).

    rewards, groups: N rewards, and N names, of which equal ones make a group.
    baseline: b_i is the group's mean, own reward included, or, leave-one-out, the mean of the others.
    scale: D is a standard deviation, kept from zero, or 1.  std, eps, spread: which one (GRP-12, GRP-13, GRP-15).
    alone, alone_left_out: what a group of one is worth against its mean and against no others (GRP-14).
    Returns N numbers; raises ValueError for another choice.  Shao et al. (2024); leave-one-out: Kool et al. (2019),
    Ahmadian et al. (2024).

    >>> group_advantages([4, 1, 1, 7], ["a", "a", "a", "b"], "mean", "none")
    [2.0, -1.0, -1.0, 0]
    >>> group_advantages([4, 1, 1, 7], ["a", "a", "a", "b"], "leave-one-out", "none")
    [3.0, -1.5, -1.5, 0]
    >>> group_advantages([1, 3, 1, 3], ["a", "a", "a", "a"], std="ddof=0", eps="std")
    [-1.0, 1.0, -1.0, 1.0]
    """
    require(scale, "std", "none")
    require(std, *STDS)
    require(eps, *SHAPES)
    require(spread, "of the group", "of the batch", "around the baselines")
    for choice in (alone, alone_left_out):
        require(choice, "zero", "its reward")
    of_one = one_of({"mean": alone, "leave-one-out": alone_left_out}, baseline)
    members = defaultdict(list)
    for place, group in enumerate(groups):
        members[group].append(place)
    answers: list[Number] = [0] * len(rewards)
    for places in members.values():
        known = [rewards[place] for place in places]
        above = _above(known, baseline, of_one)
        if scale == "std":
            scaled_by = kept_from_zero(_deviation(known, rewards, baseline, std, spread), eps)
            above = [number / scaled_by if number != 0 and scaled_by != 0 else 0 for number in above]
        for place, advantage in zip(places, above, strict=True):
            answers[place] = advantage
    return answers


def _above(rewards: Sequence[Number], baseline: str, of_one: str) -> list[Number]:
    """r_i - b_i for a group's rewards; exactly 0 where they are all alike."""
    size = len(rewards)
    if size == 1 and of_one == "its reward":
        return [rewards[0] - 0]
    if all(reward == rewards[0] for reward in rewards):
        return [0] * size
    mean = sum(rewards) / size
    # r_i - (G m - r_i) / (G - 1) = G (r_i - m) / (G - 1): leaving one's own reward out is a factor (GRP-7).
    return [(reward - mean) * size / (size - 1 if baseline == "leave-one-out" else size) for reward in rewards]


def _deviation(
    rewards: Sequence[Number], whole_batch: Sequence[Number], baseline: str, std: str, spread: str
) -> Number:
    """The standard deviation that a group's advantages are divided by (GRP-15); of one number it is taken for 1."""
    known = whole_batch if spread == "of the batch" else rewards
    deviation = standard_deviation(known, std) if len(known) > 1 else 1
    if spread == "around the baselines" and baseline == "leave-one-out" and len(known) > 1:
        # r_i - b_i = G (r_i - m) / (G - 1), and so the root of the mean of their squares.
        return deviation * len(known) / (len(known) - 1)
    return deviation


def reinforce_plus_plus_advantages(
    rewards: Sequence[Number],
    groups: Sequence[Hashable],
    baseline: str = "none",
    std: str = "ddof=1",
    eps: str = "sqrt(var + 1e-8)",
    alone: str = "zero",
) -> list[Number]:
    """(A_i - mean) / D over the whole batch, of A_i = r_i, or of r_i less its group's mean (GRP-19).

    rewards, groups: as for `group_advantages`.  baseline: ``none`` or ``mean``.  std, eps, alone: the choices of GRP-21
    and GRP-14.
    Returns N numbers.  Hu et al. (2025).

    >>> reinforce_plus_plus_advantages([1, 3, 5, 7], ["a", "a", "b", "b"], "mean", std="ddof=0", eps="std")
    [-1.0, 1.0, -1.0, 1.0]
    """
    require(baseline, "none", "mean")
    require(alone, "zero", "its reward")
    centred = group_advantages(rewards, groups, "mean", "none", alone=alone) if baseline == "mean" else rewards
    return normalized(centred, std, eps)


def gdpo_advantages(
    rewards: Sequence[Sequence[Number]],
    groups: Sequence[Hashable],
    weights: Sequence[Number],
    std: str = "ddof=1",
    eps: str = "std + 1e-6",
    alone: str = "zero",
    whitening: str = "std + 1e-4",
) -> list[Number]:
    """sum_k w_k (r_ik - m_k) / D_k, and these sums less their mean over their own spread (GRP-32).

    rewards: [N][K].  groups: [N].  weights: [K].  std, eps, alone: GRP-33.  whitening: what sums are divided by, or
    none (GRP-34).
    Returns N numbers.  Liu et al. (2026).

    >>> rewards = [[1, 20], [3, 10]]  # within the group -1 and 1 of the first kind, 1 and -1 of the second
    >>> gdpo_advantages(rewards, ["a", "a"], [1, 3], std="ddof=0", eps="std", whitening="none")
    [2.0, -2.0]
    """
    require(whitening, "none", *SHAPES)
    columns = [
        group_advantages(column, groups, "mean", "std", std, eps, alone=alone) for column in zip(*rewards, strict=True)
    ]
    sums = [sum(w * a for w, a in zip(weights, row, strict=True)) for row in zip(*columns, strict=True)]
    return sums if whitening == "none" else normalized(sums, std, whitening)


def process_advantages(
    token_rewards: Sequence[Sequence[Number]],
    ends: Sequence[Sequence[Any]],
    groups: Sequence[Hashable],
    mask: Sequence[Sequence[Any]],
    std: str = "ddof=1",
    eps: str = "std + 1e-6",
) -> list[list[Number]]:
    """A_bt = sum_{s >= t, s ends a step} (r_bs - m) / D, m and D being of all ends of the row's group (GRP-37).

    token_rewards, ends, mask: [B][T].  groups: [B].  std, eps: GRP-38.
    Returns [B][T] numbers, 0 at tokens that do not count.  Shao et al. (2024), section 4.1.3.

    >>> process_advantages([[1, 0, 3]], [[1, 0, 1]], ["a"], [[1, 1, 1]], std="ddof=0", eps="std")
    [[0.0, 1.0, 1.0]]
    """
    places: defaultdict[Hashable, list[tuple[int, int]]] = defaultdict(list)
    for row, group in enumerate(groups):
        counted = zip(ends[row], mask[row], strict=True)
        places[group] += [(row, step) for step, (end, counts) in enumerate(counted) if end and counts]
    paid: list[list[Number]] = [[0] * len(row) for row in token_rewards]
    for of_group in places.values():
        rewards = [token_rewards[row][step] for row, step in of_group]
        for (row, step), reward in zip(of_group, normalized(rewards, std, eps) if rewards else [], strict=True):
            paid[row][step] = reward
    return [token_returns(rewards, counts, 1) for rewards, counts in zip(paid, mask, strict=True)]


def companies(language: Language, policy: Policy, prompt: int, size: int) -> Iterator[tuple[Number, Company]]:
    """Every group of so many answers to a prompt, in no order, with the probability that it is the one.

    Answers are independent, hence exchangeable: G! / (n_1! n_2! ...) orders of one group are equally probable.

    >>> short = Language(prompts=[1], vocabulary=2, longest=1)
    >>> for chance, company in companies(short, {(0, ()): [0.25, 0.75]}, 0, 2):
    ...     print(chance, company)
    0.0625 ((0,), (0,))
    0.375 ((0,), (1,))
    0.5625 ((1,), (1,))
    """
    for company in combinations_with_replacement(language.completions(prompt), size):
        orders = factorial(size) // prod(map(factorial, Counter(company).values()))
        yield orders * prod(probability(policy, prompt, tokens) for tokens in company), company


def expected_gradient_of_groups(
    language: Language, policy: Policy, size: int, credit: Callable[[int, Company], Sequence[Number]]
) -> Gradient:
    """E[1/G sum_i A_i grad log pi(y_i|x)] with respect to the logits of every context, by listing every group.

    credit: the advantages A_i of a group of answers to a prompt.

    >>> short = Language(prompts=[1], vocabulary=2, longest=1)
    >>> def credit(prompt, company):
    ...     return group_advantages([tokens[0] for tokens in company], ["a", "a"], "leave-one-out", "none")
    >>> expected_gradient_of_groups(short, {(0, ()): [0.25, 0.75]}, 2, credit)
    {(0, ()): [-0.1875, 0.1875]}
    """
    return gathered(language, policy, (
        (prompt, tokens, [asked * chance * advantage / size] * len(tokens))
        for prompt, asked in enumerate(language.prompts)
        for chance, company in companies(language, policy, prompt, size)
        for tokens, advantage in zip(company, credit(prompt, company), strict=True)
    ))  # fmt: skip


def success_weight(rate: Number, size: int, divisor: Callable[[int], Number]) -> Number:
    """E[x (1 - x) / D] / (p (1 - p)), x being the share of right ones among G answers, each of them right with p.

    It is what grad p is multiplied by where right ones are rewarded with 1 and others with 0 (GRP-17); a polynomial in
    p, the terms without a right one or a wrong one being 0.
    rate: p.  size: G, at least 2.  divisor: D, a function of how many of the answers are right.

    >>> success_weight(0.25, 2, lambda right: 1)
    0.5
    """

    def chance(right: int) -> Number:
        """The chance of so many right ones, over p (1 - p)."""
        return comb(size, right) * rate ** (right - 1) * (1 - rate) ** (size - right - 1)

    return sum(chance(right) * (right * (size - right)) / (size**2 * divisor(right)) for right in range(1, size))


def dr_grpo_loss(*arguments: Any, **choices: Any) -> tuple[Any, ...]:
    """-1/(B length) sum_bt u_bt, whatever the lengths of the rows (GRP-23); length: the last argument.

    Returns the loss and its derivatives, [B][T].  Liu et al. (2025).

    >>> same = [[0, 0], [0, 0]]  # log-probabilities, new, old and of the reference: every ratio is 1
    >>> dr_grpo_loss(same, same, same, [6, -3], ["a", "a"], [[1, 1], [1, 0]], 0.2, 0.2, 0, 2)
    (-2.25, [[-1.5, -1.5], [0.75, 0]])
    """
    *others, length = arguments
    fixed = partial(surrogate_loss, reduction="mean of sums over a fixed divisor", divisor=length)
    return fixed(*others, **choices)


grpo_loss = partial(surrogate_loss, reduction="mean of means")
"""1/B sum_b 1/|o_b| sum_t (kl_coef k3 - u) of each token's own ratio (GRP-22).  Shao et al. (2024)."""

dapo_loss = partial(surrogate_loss, reduction="token-mean")
"""The same over the tokens of the batch, or of one group after the other (GRP-24).  Yu et al. (2025)."""

cispo_loss = partial(surrogate_loss, clip="weight", reduction="token-mean")
"""The mean of -clip(r) A logp, the clipped ratio held (GRP-26).  MiniMax (2025)."""

gspo_loss = partial(surrogate_loss, ratio="sequence", reduction="mean of means")
"""-1/B sum_b u(s_b), s_b being the geometric mean of the row's ratios (GRP-25).  Zheng et al. (2025)."""

luspo_loss = partial(surrogate_loss, ratio="sequence", reduction="mean of sums")
"""-1/B sum_b |o_b| u(s_b) (GRP-27).  Liu et al. (2026)."""

gmpo_loss = partial(surrogate_loss, ratio="sequence", clip="geometric", reduction="mean of means")
"""-1/B sum_b A_b times the geometric mean of the row's clipped ratios (GRP-28).  Zhao et al. (2025)."""
