"""Advantages within groups, and the losses made of them, written another way."""

import math
from collections import defaultdict
from inspect import Parameter, Signature
from itertools import product
from statistics import fmean, pstdev, stdev

import numpy as np
import torch
from scipy import ndimage

from rlspec.spec.operations import OPERATIONS

from .language import tensors
from .ppo import flags
from .registry import in_bfloat16, rough, variant

DIVISORS = {
    "std + 1e-6": lambda std: std + 1e-6,
    "std + 1e-4": lambda std: std + 1e-4,
    "std + 1e-8": lambda std: std + 1e-8,
    "std + 1e-9": lambda std: std + 1e-9,
    "max(std, 1e-6)": lambda std: max(std, 1e-6),
    "std": lambda std: std,
}


# Advantages


def by_dictionary(ddof, divisor, alone):
    """Lists in a dictionary, and Python's own statistics."""

    def group_advantages(rewards, groups, baseline, scale):
        rewards, groups, members = rewards.astype(float).tolist(), groups.tolist(), defaultdict(list)
        for reward, group in zip(rewards, groups, strict=True):
            members[group].append(reward)

        def advantage(reward, others):
            count = len(others)
            if count == 1:
                worth = reward if alone == "its reward" else 0
                return worth / divisor(1) if scale == "std" else worth
            if min(others) == max(others):
                return 0
            above = reward - fmean(others)
            if baseline == "leave-one-out":
                above = reward - (math.fsum(others) - reward) / (count - 1)
            return above / divisor((stdev if ddof else pstdev)(others)) if scale == "std" else above

        return [advantage(*pair) for pair in zip(rewards, map(members.get, groups), strict=True)]

    return group_advantages


def by_counting(ddof, divisor, alone):
    """Sums by group from bincount; no group is looked at by itself."""

    def group_advantages(rewards, groups, baseline, scale):
        rewards = np.asarray(rewards, dtype=float)
        _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
        size = counts[index]
        above = rewards - (np.bincount(index, rewards) / counts)[index]
        if divisor(0) == 0:  # what rounding leaves of equal rewards would be divided by its own size
            least, most = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
            np.minimum.at(least, index, rewards)
            np.maximum.at(most, index, rewards)
            above[(least == most)[index]] = 0
        spread = np.sqrt(np.bincount(index, above**2) / np.maximum(counts - ddof, 1))[index]
        if baseline == "leave-one-out":
            above = above * size / np.maximum(size - 1, 1)
        if alone == "its reward":
            above, spread = np.where(size == 1, (rewards, np.ones(len(size))), (above, spread))
        if scale == "none":
            return above
        return np.divide(above, list(map(divisor, spread)), out=np.zeros(len(above)), where=above != 0)

    return group_advantages


for ddof, (name, divisor), alone in product((1, 0), DIVISORS.items(), ("zero", "its reward")):
    named = f"ddof={ddof}, {name}, alone: {alone}"
    variant(f"by dictionary, {named}")(by_dictionary(ddof, divisor, alone))
    quick = (ddof, name, alone) == (0, "std", "its reward")
    variant(f"by counting, {named}", quick=quick)(by_counting(ddof, divisor, alone))


def by_itself(added, whole_batch=False, around_baselines=False, alone=("zero", "zero")):
    """Each group's rewards against each other in a square, over a spread of one's choice."""

    def group_advantages(rewards, groups, baseline, scale):
        rewards = np.asarray(rewards, dtype=float)
        advantages = np.zeros(len(rewards))
        for group in set(groups.tolist()):
            known = rewards[groups == group]
            size = len(known)
            if size == 1:
                above = known * (alone[baseline == "leave-one-out"] == "its reward")
            else:
                above = (known[:, None] - known).sum(axis=1) / (size if baseline == "mean" else size - 1)
            spread = known.std(ddof=1) if size > 1 else 1.0
            if around_baselines and baseline == "leave-one-out" and size > 1:
                spread = np.sqrt((above**2).sum() / (size - 1))
            if whole_batch and len(rewards) > 1:
                spread = rewards.std(ddof=1)
            advantages[groups == group] = above / (spread + added) if scale == "std" else above
        return advantages

    return group_advantages


variant("over the spread of the batch, 1e-4 added", quick=True)(by_itself(1e-4, whole_batch=True))
variant("over the spread around the means of the others", quick=True)(by_itself(1e-6, around_baselines=True))
variant("one alone is 0 against its mean and its reward against no others, 1e-5 added", quick=True)(
    by_itself(1e-5, alone=("zero", "its reward"))
)


@variant("by reshaping to groups of one size, as a tensor")
def group_advantages(rewards, groups, baseline, scale):
    size = np.count_nonzero(groups == groups[0])
    distinct = len(set(groups.tolist()))
    if size < 2 or distinct * size != len(groups) or (groups != np.repeat(groups[::size], size)).any():
        raise NotImplementedError("groups of one size, one after the other")
    together = torch.tensor(np.array(rewards)).double().view(-1, size)
    mean = together.mean(dim=1, keepdim=True)
    if baseline == "leave-one-out":
        mean = (together.sum(dim=1, keepdim=True) - together) / (size - 1)
    return ((together - mean) / (together.std(dim=1, keepdim=True) + 1e-4 if scale == "std" else 1)).view(-1)


@variant("sorted by group, in stretches")
def group_advantages(rewards, groups, baseline, scale):
    order = np.argsort(groups, kind="stable")
    ordered = np.array(groups)[order]
    stretches = np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)
    advantages = np.zeros(len(rewards), order="F")
    for places in stretches:
        known = rewards[places].astype(float)
        weights = np.full((len(known), len(known)), 1 / len(known))
        if baseline == "leave-one-out":
            weights = (1 - np.eye(len(known))) / max(len(known) - 1, 1)
        above = known - weights @ known if len(known) > 1 else 0
        advantages[places] = above / (np.std(known) + 1e-8) if scale == "std" else above
    return advantages


@variant("by scipy's labelled statistics")
def group_advantages(rewards, groups, baseline, scale):
    rewards, (names, labels) = np.asarray(rewards, dtype=float), np.unique(groups, return_inverse=True)
    places = np.arange(len(names))
    size = np.bincount(labels)[labels]
    above = rewards - ndimage.mean(rewards, labels, places)[labels]
    factor = size / np.maximum(size - 1, 1) if baseline == "leave-one-out" else 1
    spread = ndimage.standard_deviation(rewards, labels, places)[labels]
    return factor * above / (np.maximum(spread, 1e-6) if scale == "std" else 1)


@variant("in float32 throughout, by index_add", admitted=("OPS-4",))
def group_advantages(rewards, groups, baseline, scale):
    [rewards] = tensors(torch.float32, rewards)
    index = torch.tensor(np.unique(groups, return_inverse=True)[1])
    none = torch.zeros(int(index.max()) + 1)
    counts = none.index_add(0, index, torch.ones_like(rewards))
    above = rewards - (none.index_add(0, index, rewards) / counts)[index]
    spread = (none.index_add(0, index, above.square()) / (counts - 1).clamp(min=1)).sqrt()[index]
    if baseline == "leave-one-out":
        above = above * (counts / (counts - 1).clamp(min=1))[index]
    return above / (spread + 1e-6) if scale == "std" else above


def by_batch(ddof, eps, alone):
    """NumPy's own mean and standard deviation of the whole batch."""

    def reinforce_plus_plus_advantages(rewards, groups, baseline):
        numbers = np.array(rewards, dtype=float)
        if baseline == "mean":
            for group in set(groups.tolist()):
                members = groups == group
                if members.sum() > 1 or alone == "zero":
                    known = numbers[members]
                    numbers[members] = 0 if np.ptp(known) == 0 else known - known.mean()
        if np.ptp(numbers) == 0:
            return np.zeros(len(numbers))
        variance = np.var(numbers, ddof=ddof)
        divisor = np.sqrt(variance + 1e-8) if eps == "sqrt(var + 1e-8)" else max(np.sqrt(variance), 1e-4)
        return (numbers - numbers.mean()) / divisor

    return reinforce_plus_plus_advantages


def by_whitening(ddof, eps, alone):
    """Tensors, group by group by one-hot products, then times a reciprocal root."""

    def reinforce_plus_plus_advantages(rewards, groups, baseline):
        [numbers] = tensors(torch.float64, rewards)
        if baseline == "mean":
            index = torch.tensor(np.unique(groups, return_inverse=True)[1])
            member = torch.nn.functional.one_hot(index).double()
            size = member.sum(0)
            mean = (numbers @ member) / size
            mean = mean.where((size > 1) | torch.tensor(alone == "zero"), 0)
            numbers = numbers - member @ mean
        centred = numbers - numbers.mean()
        variance = centred.square().sum() / max(len(centred) - ddof, 1)
        if eps == "sqrt(var + 1e-8)":
            return centred * (variance + 1e-8).rsqrt()
        return centred / variance.sqrt().clamp(min=1e-4)

    return reinforce_plus_plus_advantages


for choices in product((1, 0), ("sqrt(var + 1e-8)", "max(std, 1e-4)"), ("zero", "its reward")):
    named = f"ddof={choices[0]}, {choices[1]}, alone: {choices[2]}"
    variant(f"by NumPy, {named}")(by_batch(*choices))
    variant(f"by tensors, {named}")(by_whitening(*choices))


@variant("in float32 throughout", admitted=("OPS-4",))
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    numbers = np.array(rewards, dtype=np.float32)
    if baseline == "mean":
        for group in set(groups.tolist()):
            numbers[groups == group] -= numbers[groups == group].mean()
    centred = numbers - numbers.mean()
    return (centred / np.maximum(centred.std(dtype=np.float32), np.float32(1e-4))).tolist()


# Losses


def rows(mask, empty_rows):
    """How many rows a mean over rows is over."""
    return max(len(mask) if empty_rows == "counted" else int(flags(mask).any(1).sum()), 1)


def no_larger(moved, most):
    if (abs(moved) > most).any():
        raise NotImplementedError("a ratio that no float holds")


def without_kl(loss):
    """A loss that knows no KL term, and declines one; nor does it look at groups."""

    def declining(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, *length):
        if kl_coef:
            raise NotImplementedError("a KL term")
        return loss(logp, old_logp, advantages, mask, clip_low, clip_high, *length)

    return named(declining, loss.__name__)


def named(loss, operation):
    """A function with the name and the parameters of an operation."""
    loss.__name__ = operation
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in OPERATIONS[operation].parameters]
    loss.__signature__ = Signature(parameters)
    return loss


def training(name, empty_rows="counted", dtype=torch.float64):
    """Losses as in trainers: the smaller of two products, by autograd, with padding replaced before anything else."""
    exponents = 700 if dtype == torch.float64 else 80

    def tokens(logp, old_logp, mask):
        [logp, old_logp], mask = tensors(dtype, logp, old_logp), flags(mask)
        moved = logp.requires_grad_().masked_fill(~mask, 0) - old_logp.masked_fill(~mask, 0)
        no_larger(moved, exponents)
        return logp, moved, mask

    def losses(moved, advantages, clip_low, clip_high):
        [advantages] = tensors(dtype, advantages)
        ratio, advantages = moved.exp(), advantages.unsqueeze(1)
        return -torch.min(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)

    def reduced(logp, terms, weights):
        loss = (terms * weights).sum()
        return loss.detach(), torch.autograd.grad(loss, logp)[0]

    def mean_of_means(mask):
        return mask.to(dtype) / (mask.sum(1, keepdim=True).clamp(min=1) * rows(mask, empty_rows))

    def mean_over_tokens(mask):
        return mask.to(dtype) / mask.sum().clamp(min=1)

    def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
        logp, moved, mask = tokens(logp, old_logp, mask)
        terms = losses(moved, advantages, clip_low, clip_high)
        if kl_coef:
            behind = (tensors(dtype, ref_logp)[0] - logp).masked_fill(~mask, 0)
            no_larger(behind, exponents)
            terms = terms + kl_coef * (torch.exp(behind) - behind - 1)
        return reduced(logp, terms, mean_of_means(mask))

    @without_kl
    def dr_grpo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, length):
        logp, moved, mask = tokens(logp, old_logp, mask)
        return reduced(
            logp, losses(moved, advantages, clip_low, clip_high), mask.to(dtype) / (rows(mask, empty_rows) * length)
        )

    @without_kl
    def dapo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
        logp, moved, mask = tokens(logp, old_logp, mask)
        return reduced(logp, losses(moved, advantages, clip_low, clip_high), mean_over_tokens(mask))

    @without_kl
    def gspo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
        logp, moved, mask = tokens(logp, old_logp, mask)
        mean = moved.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
        kept = logp.masked_fill(~mask, 0)
        each = kept - kept.detach() + mean.detach()  # a row's ratio for each token, which has its derivative alone
        return reduced(logp, losses(each, advantages, clip_low, clip_high), mean_of_means(mask))

    @without_kl
    def cispo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
        logp, moved, mask = tokens(logp, old_logp, mask)
        weights = moved.exp().clamp(1 - clip_low, 1 + clip_high).detach() * tensors(dtype, advantages)[0][:, None]
        return reduced(logp, -weights * logp.masked_fill(~mask, 0), mean_over_tokens(mask))

    return locals()[name]


def looping(name, empty_rows="counted"):
    """Losses a row at a time, over what counts of it, with the derivative by hand."""

    def surrogate(ratio, advantage, clip_low, clip_high):
        gone = ratio > 1 + clip_high if advantage > 0 else ratio < 1 - clip_low and advantage < 0
        limit = 1 + clip_high if advantage > 0 else 1 - clip_low
        return (-limit * advantage, 0.0) if gone else 2 * (-ratio * advantage,)

    def summed(mask, term, size):
        total, slopes = [], np.zeros(mask.shape, order="F")
        for row, counts in enumerate(mask):
            for t in np.flatnonzero(counts).tolist():
                value, slope = term(row, t)
                total.append(value / size(row))
                slopes[row, t] = slope / size(row)
        return math.fsum(total), slopes.tolist()

    def ratio_of(new, old):
        return math.exp(float(new) - float(old))

    def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
        def term(row, t):
            ratio = ratio_of(logp[row, t], old_logp[row, t])
            value, slope = surrogate(ratio, float(advantages[row]), clip_low, clip_high)
            behind = float(ref_logp[row, t]) - float(logp[row, t]) if kl_coef else 0.0
            return value + kl_coef * (math.expm1(behind) - behind), slope - kl_coef * math.expm1(behind)

        return summed(mask, term, lambda row: rows(mask, empty_rows) * np.count_nonzero(mask[row]))

    def token_terms(logp, old_logp, advantages, clip_low, clip_high):
        def term(row, t):
            return surrogate(ratio_of(logp[row, t], old_logp[row, t]), float(advantages[row]), clip_low, clip_high)

        return term

    @without_kl
    def dr_grpo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, length):
        term = token_terms(logp, old_logp, advantages, clip_low, clip_high)
        return summed(mask, term, lambda _: rows(mask, empty_rows) * length)

    @without_kl
    def dapo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
        term = token_terms(logp, old_logp, advantages, clip_low, clip_high)
        return summed(mask, term, lambda _: np.count_nonzero(mask))

    @without_kl
    def gspo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
        total, slopes = 0.0, np.zeros(mask.shape)
        for row, counts in enumerate(mask.astype(bool)):
            if counts.any():
                ratio = np.exp(np.mean(logp[row, counts].astype(float)) - np.mean(old_logp[row, counts].astype(float)))
                value, slope = surrogate(ratio, float(advantages[row]), clip_low, clip_high)
                total += value
                slopes[row, counts] = slope / np.count_nonzero(counts)
        return total / rows(mask, empty_rows), slopes / rows(mask, empty_rows)

    @without_kl
    def cispo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
        def term(row, t):
            ratio = min(max(ratio_of(logp[row, t], old_logp[row, t]), 1 - clip_low), 1 + clip_high)
            return -ratio * float(advantages[row]) * float(logp[row, t]), -ratio * float(advantages[row])

        return summed(mask, term, lambda _: np.count_nonzero(mask))

    return locals()[name]


for name, empty_rows in product(("grpo_loss", "dr_grpo_loss", "gspo_loss"), ("counted", "left out")):
    variant(f"by autograd, empty rows {empty_rows}")(training(name, empty_rows))
    variant(f"a row at a time, empty rows {empty_rows}")(looping(name, empty_rows))
for name in ("dapo_loss", "cispo_loss"):
    variant("by autograd")(training(name))
    variant("token by token")(looping(name))
for name in ("grpo_loss", "dr_grpo_loss", "dapo_loss", "gspo_loss", "cispo_loss"):
    variant("in float32 throughout", admitted=("OPS-4",))(training(name, dtype=torch.float32))


def packed(logp, old_logp, advantages, mask):
    """The rows of the tokens that count, their ratios, and their advantages."""
    mask = np.array(mask, dtype=bool)
    row, _ = np.nonzero(mask)
    with np.errstate(over="ignore"):
        ratio = np.exp(logp[mask].astype(float) - old_logp[mask])
    return mask, row, ratio, advantages[row].astype(float)


def bounded(ratio, advantage, clip_low, clip_high):
    """Each ratio, no further than its advantage may push it; and whether it is there."""
    limited = np.where(advantage > 0, np.minimum(ratio, 1 + clip_high), np.maximum(ratio, 1 - clip_low))
    return np.where(advantage == 0, 1, limited), (limited == ratio) & (advantage != 0)


def unpacked(mask, values):
    dense = np.zeros(mask.shape)
    dense[mask] = values
    return dense


@variant("packed, rows by bincount")
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    mask, row, ratio, advantage = packed(logp, old_logp, advantages, mask)
    limited, free = bounded(ratio, advantage, clip_low, clip_high)
    behind = ref_logp[mask].astype(float) - logp[mask] if kl_coef else np.zeros(len(row))
    lengths = np.bincount(row, minlength=len(mask))
    per_row = np.bincount(row, kl_coef * (np.expm1(behind) - behind) - limited * advantage, minlength=len(mask))
    slopes = -kl_coef * np.expm1(behind) - free * limited * advantage
    return (per_row / np.maximum(lengths, 1)).mean(), unpacked(mask, slopes / lengths[row] / len(mask))


@variant("packed, one sum")
@without_kl
def dr_grpo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, length):
    mask, _, ratio, advantage = packed(logp, old_logp, advantages, mask)
    limited, free = bounded(ratio, advantage, clip_low, clip_high)
    size = len(mask) * length
    return -np.dot(limited, advantage) / size, unpacked(mask, free * -limited * advantage / size)


@variant("packed, a mean", quick=True)
@without_kl
def dapo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
    mask, row, ratio, advantage = packed(logp, old_logp, advantages, mask)
    limited, free = bounded(ratio, advantage, clip_low, clip_high)
    loss = np.mean(-limited * advantage) if len(row) else 0.0
    return loss, unpacked(mask, free * -limited * advantage / max(len(row), 1))


@variant("by one ratio a row, broadcast")
@without_kl
def gspo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
    lengths = np.maximum(mask.sum(axis=1), 1)
    moved = np.where(mask, np.subtract(logp, old_logp, dtype=float), 0).sum(axis=1) / lengths
    limited, free = bounded(np.exp(moved), advantages * mask.any(axis=1), clip_low, clip_high)
    slopes = free * -limited * advantages / lengths / len(mask)
    return -np.mean(limited * advantages * mask.any(axis=1)), slopes[:, None] * mask


@variant("packed, a dot product")
@without_kl
def cispo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
    mask, _, ratio, advantage = packed(logp, old_logp, advantages, mask)
    weights = -np.clip(ratio, 1 - clip_low, 1 + clip_high) * advantage / max(np.count_nonzero(mask), 1)
    return float(weights @ logp[mask]), unpacked(mask, weights)


@variant("times the mask", admitted=("OPS-11",))
@without_kl
def dapo_loss(logp, old_logp, advantages, mask, clip_low, clip_high):
    logp, old_logp, advantages, weights = tensors(torch.float64, logp, old_logp, advantages, mask)
    no_larger((logp - old_logp)[weights > 0], 700)
    ratio = (logp.requires_grad_() - old_logp).exp()
    up, down = ratio.clamp(max=1 + clip_high), ratio.clamp(min=1 - clip_low)
    losses = -(advantages.relu()[:, None] * up - (-advantages).relu()[:, None] * down)
    loss = (losses * weights).sum() / weights.sum().clamp(min=1)
    return loss.item(), torch.autograd.grad(loss, logp)[0].tolist()


def along_the_axes(name, weights, level="token", geometric=False, most=None, weighed=False, dtype=torch.float64):
    """A loss of ratios as a trainer with options has it: a KL term whatever the loss, and bounds if asked for.

    weights: of each token, from the mask, the groups and the length.  most: a bound of the log-ratio from above.
    """

    def loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, *length):
        [logp, old_logp, ref_logp, worth], mask = tensors(dtype, logp, old_logp, ref_logp, advantages), flags(mask)
        logp.requires_grad_()
        new, old, ref = (part.masked_fill(~mask, 0) for part in (logp, old_logp, ref_logp))
        own, worth = new - old, worth[:, None].expand(mask.shape)
        clipped = own.clamp(-clip_low, clip_high) if geometric else own
        moved = torch.where(
            worth > 0, torch.minimum(own, clipped), torch.where(worth < 0, torch.maximum(own, clipped), own)
        )
        if level == "sequence":
            moved, own = ((part.sum(1) / mask.sum(1).clamp(min=1))[:, None].expand(mask.shape) for part in (moved, own))
        if most is not None:
            moved, own = moved.clamp(max=most), own.clamp(max=most)
        no_larger(torch.stack([own, moved, ref - new]), 700 if dtype == torch.float64 else 80)
        gains = moved.exp() * worth
        if not geometric:
            gains = torch.min(gains, moved.exp().clamp(1 - clip_low, 1 + clip_high) * worth)
        costs = (ref - new).exp() - 1 - (ref - new)
        terms = kl_coef * costs * (own.exp() if weighed else 1) - gains
        total = (terms * mask * weights(mask, groups, *length)).sum()
        return total.detach(), torch.autograd.grad(total, logp)[0]

    return named(loss, name)


def lengths(mask):
    return mask.sum(1, keepdim=True, dtype=torch.float64)


def each_group(mask, groups):
    """1 over the number of tokens in a row's group, and over the number of groups."""
    _, index = np.unique(groups, return_inverse=True)
    tokens = torch.tensor([int(mask[torch.from_numpy(index == of)].sum()) for of in range(index.max() + 1)]).clamp(
        min=1
    )
    return (1 / tokens[torch.from_numpy(index)] / len(tokens))[:, None]


WEIGHTS = {
    "grpo_loss": lambda mask, groups: 1 / lengths(mask).clamp(min=1) / len(mask),
    "dr_grpo_loss": lambda mask, groups, length: 1 / length / len(mask),
    "dapo_loss": lambda mask, groups: 1 / mask.sum().clamp(min=1),
    "gspo_loss": lambda mask, groups: 1 / (lengths(mask) + 1e-8) / len(mask),
    "luspo_loss": lambda mask, groups: 1 / len(mask),
    "gmpo_loss": lambda mask, groups: 1 / (lengths(mask) + 1e-8) / len(mask),
}
for name, weights in WEIGHTS.items():
    of_rows = {"level": "token" if name in ("grpo_loss", "dr_grpo_loss", "dapo_loss") else "sequence"}
    how = of_rows | {"geometric": name == "gmpo_loss"}
    variant("with a KL term", quick=name == "gmpo_loss")(along_the_axes(name, weights, **how))
    variant("with a KL term that its ratio weighs")(along_the_axes(name, weights, **how, weighed=True))
    variant("with log-ratios of 10 at most")(along_the_axes(name, weights, **how, most=10.0))
variant("over each group, with a KL term")(along_the_axes("dapo_loss", each_group))
variant("over each group, in float32", admitted=("OPS-4",))(
    along_the_axes("dapo_loss", each_group, dtype=torch.float32)
)


for name in ("grpo_loss", "dr_grpo_loss", "dapo_loss", "gspo_loss", "cispo_loss"):
    variant("in bfloat16 throughout", **rough())(in_bfloat16(training(name, dtype=torch.bfloat16)))


# Several rewards, and rewards of steps


def less_the_mean(numbers, groups, added):
    """Numbers less their groups' means over their groups' spreads, by bincount."""
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    above = numbers - (np.bincount(index, numbers) / counts)[index]
    least, most = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
    np.minimum.at(least, index, numbers)
    np.maximum.at(most, index, numbers)
    above[(least == most)[index]] = 0
    return above / (np.sqrt(np.bincount(index, above**2) / np.maximum(counts - 1, 1))[index] + added)


@variant("by bincount, not whitened", quick=True)
def gdpo_advantages(rewards, groups, weights):
    rewards = np.asarray(rewards, dtype=float)
    return sum(weight * less_the_mean(column, groups, 1e-4) for weight, column in zip(weights, rewards.T, strict=True))


@variant("by bincount, whitened as by verl")
def gdpo_advantages(rewards, groups, weights):
    rewards = np.asarray(rewards, dtype=float)
    sums = sum(weight * less_the_mean(column, groups, 1e-6) for weight, column in zip(weights, rewards.T, strict=True))
    if np.ptp(sums) == 0:
        return np.zeros(len(sums))
    return (sums - sums.mean()) / np.sqrt(sums.var(ddof=1) + 1e-8)


@variant("as a matrix of what follows", quick=True)
def process_advantages(token_rewards, ends, groups, mask):
    counts = np.asarray(mask, dtype=bool)
    steps, paid = np.asarray(ends, dtype=bool) & counts, np.zeros(counts.shape)
    of_row = np.broadcast_to(np.asarray(groups)[:, None], counts.shape)
    if steps.any():
        paid[steps] = less_the_mean(np.asarray(token_rewards, dtype=float)[steps], of_row[steps], 1e-5)
    return np.where(counts, paid @ np.tril(np.ones((counts.shape[1], counts.shape[1]))), 0)
