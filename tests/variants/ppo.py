"""Clipped surrogates, value losses and measures of how far a policy has moved, written another way."""

import math
from itertools import product

import numpy as np
import torch
from scipy.special import expm1

from .language import tensors
from .reductions import REDUCTIONS, divisors_of
from .registry import in_bfloat16, rough, variant

REDUCTIONS = ("token-mean", "mean of sums", "mean of sums without empty rows", "sum")


def size(mask, reduction):
    """What a sum over what the mask counts is divided by."""
    mask = np.array(mask, dtype=bool)
    sizes = {
        "token-mean": mask.sum(),
        "mean of sums": len(mask),
        "mean of sums without empty rows": mask.any(axis=1).sum(),
        "sum": 1,
    }
    return max(int(sizes[reduction]), 1)


def flags(mask):
    return torch.tensor(np.array(mask)).bool()


# The clipped surrogate


def pessimistic(reduction, log_ratio, dtype=torch.float64):
    """The larger of two losses, and the smaller of that and a third, by autograd on what the mask selects."""

    def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
        logp, old_logp, advantages = tensors(dtype, logp, old_logp, advantages)
        mask, logp = flags(mask), logp.requires_grad_()
        moved, advantage = logp[mask] - old_logp[mask], advantages[mask]
        if log_ratio == "clamped to 20":
            moved = moved.clamp(-20, 20)
        elif (moved > (700 if dtype == torch.float64 else 80)).any():
            raise NotImplementedError("a ratio that no float holds")
        ratio = moved.exp()
        losses = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - clip_low, 1 + clip_high))
        if dual_clip is not None:
            losses = torch.where(advantage < 0, torch.minimum(losses, -advantage * dual_clip), losses)
        loss = losses.sum() / size(mask, reduction)
        return loss.item(), torch.autograd.grad(loss, logp)[0]

    return ppo_loss


def limiting(reduction, log_ratio):
    """The ratio limited on the side that the advantage pushes it to, and the derivative by hand."""

    def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
        mask = np.array(mask, dtype=bool)
        moved, advantage = logp[mask].astype(float) - old_logp[mask], advantages[mask]
        clamped = np.clip(moved, -20, 20) if log_ratio == "clamped to 20" else moved
        furthest = np.where(advantage > 0, 1 + clip_high, np.where(advantage < 0, dual_clip or np.inf, 1))
        with np.errstate(over="ignore"):
            ratio = np.clip(np.exp(clamped), np.where(advantage < 0, 1 - clip_low, 0), furthest)
        held = (ratio != np.exp(clamped)) | (clamped != moved)
        slopes = np.zeros(mask.shape)
        slopes[mask] = np.where(held, 0, -ratio * advantage) / size(mask, reduction)
        return -(ratio * advantage).sum() / size(mask, reduction), slopes

    return ppo_loss


for choices in product(REDUCTIONS, ("as it is", "clamped to 20")):
    variant(f"as the larger loss, {', '.join(choices)}")(pessimistic(*choices))
    variant(f"with the ratio limited, {', '.join(choices)}")(limiting(*choices))
for log_ratio in ("as it is", "clamped to 20"):
    choices = "token-mean", log_ratio
    variant(f"in float32 throughout, {log_ratio}", admitted=("OPS-4",))(pessimistic(*choices, torch.float32))


@variant("with a bound for each sign of the advantage, step by step")
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    if dual_clip is not None:
        raise NotImplementedError("one clip only")
    total, slopes = 0.0, [[0.0] * len(row) for row in mask]
    for place in np.argwhere(mask).tolist():
        new, old, advantage = (float(array[tuple(place)]) for array in (logp, old_logp, advantages))
        bound = (1 + clip_high if advantage >= 0 else 1 - clip_low) * advantage
        product = math.exp(min(new - old, 700)) * advantage
        total += min(product, bound)
        if product < bound:
            slopes[place[0]][place[1]] = -product / np.count_nonzero(mask)
    return -total / max(np.count_nonzero(mask), 1), slopes


@variant("as the product less its excess, from quotients of probabilities", admitted=("OPS-11",))
def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    if dual_clip is not None or max(abs(logp).max(), abs(old_logp).max()) > 300:
        raise NotImplementedError("one clip only, and probabilities that floats hold")
    logp, old_logp, advantages, weights = tensors(torch.float64, logp, old_logp, advantages, mask)
    logp.requires_grad_()
    ratio = logp.exp() / old_logp.exp()
    good, bad = advantages.relu(), (-advantages).relu()
    excess = good * (ratio - (1 + clip_high)).relu() + bad * ((1 - clip_low) - ratio).relu()
    if (excess > 1e4 * (good + bad)).any():
        raise NotImplementedError("a difference of large numbers")
    loss = ((excess - ratio * advantages) * weights).sum() / weights.sum().clamp(min=1)
    return loss.detach(), torch.autograd.grad(loss, logp)[0]


# Values


def erring(factor, clipping, reduction, dtype=torch.float64):
    """By autograd on what the mask leaves."""

    def value_loss(values, old_values, returns, mask, clip):
        values, old_values, returns, sizes = tensors(dtype, values, old_values, returns, divisors_of(mask, reduction))
        mask, values = flags(mask), values.requires_grad_()
        value, old, target = (torch.where(mask, table, 0) for table in (values, old_values, returns))
        losses = torch.nn.functional.mse_loss(value, target, reduction="none")
        if clip is not None:
            clipped = (torch.clamp(value, old - clip, old + clip) - target) ** 2
            losses = {
                "larger of both": torch.max(losses, clipped),
                "clipped only": clipped,
                "square at most clip": losses.clamp(0, clip),
            }[clipping]
        loss = (torch.where(mask, losses, 0) / sizes).sum() * factor
        return loss.item(), torch.autograd.grad(loss, values)[0]

    return value_loss


def erring_by_hand(factor, clipping, reduction):
    """Entry by entry, the derivative by hand."""

    def value_loss(values, old_values, returns, mask, clip):
        terms, slopes, weights = [], np.zeros(mask.shape), factor / divisors_of(mask, reduction)
        for place in map(tuple, np.argwhere(mask).tolist()):
            value, old, target = (float(array[place]) for array in (values, old_values, returns))
            error, flat = value - target, False
            if clip is not None and clipping == "square at most clip":
                flat = error * error > clip
                error = math.sqrt(clip) if flat else error
            elif clip is not None and abs(value - old) > clip:
                limited = old + math.copysign(clip, value - old) - target
                flat = clipping == "clipped only" or abs(limited) > abs(error)
                error = limited if flat else error
            terms.append(error * error * weights[place[0], 0])
            slopes[place] = 0 if flat else 2 * error * weights[place[0], 0]
        return math.fsum(terms), slopes.tolist()

    return value_loss


CLIPPINGS = ("larger of both", "clipped only", "square at most clip")
for factor, clipping, reduction in product((1, 0.5), CLIPPINGS, REDUCTIONS):
    named = f"{factor}, {clipping}, {reduction}"
    quick = (factor, clipping, reduction) == (0.5, "square at most clip", "mean of means")
    variant(f"by autograd, {named}", quick=quick)(erring(factor, clipping, reduction))
    variant(f"entry by entry, {named}")(erring_by_hand(factor, clipping, reduction))
variant("in float32 throughout", admitted=("OPS-4",))(erring(0.5, "larger of both", "token-mean", torch.float32))


# Actor and critic in one loss


def acting(factor, reduction, dtype=torch.float64):
    """Three losses by autograd, each of them reduced by itself."""

    def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
        *inputs, returns = tensors(dtype, logp, values, entropies, returns)
        [sizes], mask = tensors(dtype, np.broadcast_to(divisors_of(mask, reduction), mask.shape)), flags(mask)
        chosen, value, entropy = (each.requires_grad_()[mask] for each in inputs)
        advantage = (returns[mask] - value).detach()
        actor = -(advantage * chosen / sizes[mask]).sum()
        critic = factor * ((value - returns[mask]).pow(2) / sizes[mask]).sum()
        bonus = (entropy / sizes[mask]).sum()
        loss = actor + value_coef * critic - entropy_coef * bonus
        return loss.item(), *torch.autograd.grad(loss, inputs)

    return actor_critic_loss


def acting_by_hand(factor, reduction):
    """By weights that are 0 where nothing counts, the derivatives by hand."""

    def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
        weights = np.asfortranarray(mask, dtype=float) / divisors_of(mask, reduction)
        logp, values, entropies, returns = (np.where(mask, array, 0) for array in (logp, values, entropies, returns))
        error = values - returns
        terms = error * logp + value_coef * factor * error**2 - entropy_coef * entropies
        slopes = error, 2 * factor * value_coef * error, np.full(error.shape, -entropy_coef)
        return (terms * weights).sum(), *(slope * weights for slope in slopes)

    return actor_critic_loss


for factor, reduction in product((1, 0.5), REDUCTIONS):
    variant(f"by autograd, {factor}, {reduction}")(acting(factor, reduction))
    variant(f"by weights, {factor}, {reduction}")(acting_by_hand(factor, reduction))
variant("in float32 throughout", admitted=("OPS-4",))(acting(0.5, "token-mean", torch.float32))


# How far the policy has moved


@variant("k3 by NumPy, the mean of what the mask selects")
def approx_kl(logp, old_logp, mask):
    moved = (logp - old_logp)[mask.astype(bool)]
    return float(np.mean(np.exp(moved) - 1 - moved)) if moved.size else 0.0


@variant("k3 by expm1, masked sums")
def approx_kl(logp, old_logp, mask):
    moved = np.where(mask, np.subtract(logp, old_logp, dtype=float), 0)
    return np.sum(expm1(moved) - moved) / max(mask.sum(), 1)


@variant("k1 as a masked mean of tensors", admitted=("OPS-11",))
def approx_kl(logp, old_logp, mask):
    logp, old_logp, mask = tensors(torch.float64, logp, old_logp, mask)
    return ((old_logp - logp) * mask).sum() / mask.sum().clamp(min=1)


@variant("k1 as the difference of two means")
def approx_kl(logp, old_logp, mask):
    old, new = (np.ma.masked_array(array, np.logical_not(mask), dtype=float) for array in (old_logp, logp))
    return old.mean() - new.mean() if old.count() else 0


@variant("k2 as half of a squared norm")
def approx_kl(logp, old_logp, mask):
    moved = (logp[mask.astype(bool)] - old_logp[mask.astype(bool)]).astype(float)
    return 0.5 * np.dot(moved, moved) / max(len(moved), 1)


@variant("k2 a row at a time")
def approx_kl(logp, old_logp, mask):
    places = np.argwhere(mask).tolist()
    squares = [(float(logp[row, t]) - float(old_logp[row, t])) ** 2 for row, t in places]
    return math.fsum(squares) / 2 / max(len(squares), 1)


@variant("k3 in float32 throughout", admitted=("OPS-4",))
def approx_kl(logp, old_logp, mask):
    logp, old_logp = tensors(torch.float32, logp, old_logp)
    moved = (logp - old_logp)[flags(mask)]
    return ((moved.exp() - 1) - moved).sum() / max(len(moved), 1)


@variant("as the share of ratios far from 1")
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    log_ratio = (logp - old_logp)[mask.astype(bool)]
    if not log_ratio.size:
        return 0
    return np.mean((log_ratio < math.log1p(-clip_low)) | (log_ratio > math.log1p(clip_high)))


@variant("by what a clamp has changed")
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    logp, old_logp = tensors(torch.float64, logp, old_logp)
    ratio = torch.exp(logp - old_logp)[flags(mask)]
    return (ratio.clamp(1 - clip_low, 1 + clip_high) != ratio).double().sum().item() / max(len(ratio), 1)


@variant("by counting in Python, objectives limited")
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    limited, places = 0, np.argwhere(mask).tolist()
    for place in map(tuple, places):
        ratio = math.exp(min(float(logp[place] - old_logp[place]), 700))
        limited += ratio > 1 + clip_high if advantages[place] > 0 else ratio < 1 - clip_low and advantages[place] < 0
    return limited / max(len(places), 1)


@variant("by the larger loss, objectives limited, in float32", admitted=("OPS-4",))
def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    logp, old_logp, advantages = tensors(torch.float32, logp, old_logp, advantages)
    ratio, advantage = (logp - old_logp).exp()[flags(mask)], advantages[flags(mask)]
    losses = -advantage * ratio, -advantage * ratio.clamp(1 - clip_low, 1 + clip_high)
    return (losses[1] > losses[0]).float().sum() / max(len(ratio), 1)


for implementation, conventions in (
    (pessimistic("token-mean", "clamped to 20", torch.bfloat16), {"ppo_loss.log_ratio": "clamped to 20"}),
    (
        erring(0.5, "larger of both", "token-mean", torch.bfloat16),
        {"value_loss.factor": "1/2", "value_loss.clipping": "larger of both"},
    ),
    (acting(0.5, "mean of sums", torch.bfloat16), {"actor_critic_loss.factor": "1/2"}),
):
    variant("in bfloat16 throughout", **rough(**conventions))(in_bfloat16(implementation))
