"""Ways to compute advantages within groups."""

import numpy as np

from .advantages import divided
from .catalogue import way


def alone(style, choices, baseline, reward, scale, variance):
    """What a sample is worth that is alone in its group."""
    if choices["alone" if baseline == "mean" else "alone_left_out"] == "zero":
        return np.zeros_like(reward)
    return divided(style, choices["eps"], reward, variance) if scale == "std" else reward


def variance_of(style, numbers, ddof):
    """The mean square of the differences from the mean, taken for 1 if there is one number."""
    if len(numbers) == 1:
        return style.dtype(1)
    centred = numbers - style.whole(numbers) / style.dtype(len(numbers))
    return style.whole(centred * centred) / style.dtype(len(numbers) - ddof)


def stretched(style, choices, baseline, sizes):
    """By how much larger squares around the others' means are than those around the mean of all."""
    if choices["spread"] != "around the baselines" or baseline == "mean":
        return style.dtype(1)
    return ((sizes / np.maximum(sizes - 1, 1)) ** 2).astype(style.dtype)


def baseline_of(style, members, baseline):
    """What each member of a group is compared with."""
    if baseline == "mean":
        return np.full_like(members, style.whole(members) / style.dtype(len(members)))
    others = [style.whole(np.delete(members, place)) for place in range(len(members))]
    return np.array(others, style.dtype) / style.dtype(len(members) - 1)


@way("group by group")
def group_advantages(style, choices, rewards, groups, baseline, scale):
    advantages, ddof = np.zeros_like(rewards), int(choices["std"].removeprefix("ddof="))
    for name in set(groups.tolist()):
        places = np.flatnonzero(groups == name)
        members = rewards[places]
        variance = variance_of(style, rewards if choices["spread"] == "of the batch" else members, ddof)
        if len(places) == 1:
            advantages[places] = alone(style, choices, baseline, members, scale, variance)
        elif np.ptp(members) > 0:
            above = members - baseline_of(style, members, baseline)
            variance = variance * stretched(style, choices, baseline, np.array(len(places)))
            advantages[places] = divided(style, choices["eps"], above, variance) if scale == "std" else above
    return advantages


@way("by counting with weights, all groups at once")
def group_advantages(style, choices, rewards, groups, baseline, scale):
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    ddof, size = int(choices["std"].removeprefix("ddof=")), counts[index]
    means = (np.bincount(index, rewards) / counts).astype(style.dtype)
    least, most = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
    np.minimum.at(least, index, rewards)
    np.maximum.at(most, index, rewards)
    above = np.where((least == most)[index], style.dtype(0), rewards - means[index])
    variance = np.bincount(index, above * above).astype(style.dtype) / np.maximum(counts - ddof, 1)
    variance = np.where(counts == 1, 1, variance)[index] * stretched(style, choices, baseline, size)
    if choices["spread"] == "of the batch":
        variance = np.full_like(rewards, variance_of(style, rewards, ddof))
    if baseline == "leave-one-out":
        above = above * (size / np.maximum(size - 1, 1)).astype(style.dtype)
    one = np.where(rewards == 0, style.dtype(1), variance).astype(style.dtype)
    worth = alone(style, choices, baseline, rewards, scale, one)
    if scale == "std":
        spread = np.where(above == 0, style.dtype(1), variance).astype(style.dtype)
        above = divided(style, choices["eps"], above, spread)
    return np.where(size == 1, worth, above)


@way("group by group, then over the batch")
def reinforce_plus_plus_advantages(style, choices, rewards, groups, baseline):
    numbers, ddof = np.array(rewards), int(choices["std"].removeprefix("ddof="))
    for name in set(groups.tolist()) if baseline == "mean" else ():
        places = np.flatnonzero(groups == name)
        members = rewards[places]
        if len(places) > 1 and np.ptp(members) > 0:
            numbers[places] = members - style.whole(members) / style.dtype(len(places))
        elif len(places) > 1 or choices["alone"] == "zero":
            numbers[places] = 0
    if np.ptp(numbers) == 0:
        return np.zeros_like(numbers)
    centred = numbers - style.whole(numbers) / style.dtype(len(numbers))
    variance = style.whole(centred * centred) / style.dtype(max(len(numbers) - ddof, 1))
    return divided(style, choices["eps"], centred, variance)


def within_groups(style, choices, numbers, groups, alone="zero"):
    """Numbers less their groups' means, over their groups' spreads."""
    ddof, found = int(choices["std"].removeprefix("ddof=")), np.zeros_like(numbers)
    for name in set(groups.tolist()):
        places = np.flatnonzero(groups == name)
        members = numbers[places]
        if len(places) == 1 and alone == "its reward":
            found[places] = divided(style, choices["eps"], members, style.dtype(1))
        elif np.ptp(members) > 0:
            above = members - style.whole(members) / style.dtype(len(places))
            found[places] = divided(style, choices["eps"], above, variance_of(style, members, ddof))
    return found


@way("a reward at a time, then over the batch")
def gdpo_advantages(style, choices, rewards, groups, weights):
    columns = [within_groups(style, choices, column, groups, choices["alone"]) for column in rewards.T]
    sums = style.total(np.array(columns).T * weights).astype(style.dtype)
    if choices["whitening"] == "none":
        return sums
    if np.ptp(sums) == 0:
        return np.zeros_like(sums)
    ddof = int(choices["std"].removeprefix("ddof="))
    centred = sums - style.whole(sums) / style.dtype(len(sums))
    return divided(style, choices["whitening"], centred, variance_of(style, sums, ddof))


@way("normalised at the ends of steps, added up from behind")
def process_advantages(style, choices, token_rewards, ends, groups, mask):
    steps, paid = ends & mask, np.zeros_like(token_rewards)
    of_row = np.broadcast_to(np.asarray(groups)[:, None], mask.shape)
    if steps.any():
        paid[steps] = within_groups(style, choices, token_rewards[steps], of_row[steps])
    return style.kept(np.cumsum(paid[:, ::-1], axis=1)[:, ::-1].astype(style.dtype), mask)


@way("a token at a time, over the ends that follow")
def process_advantages(style, choices, token_rewards, ends, groups, mask):
    steps, answer = ends & mask, np.zeros_like(token_rewards)
    of_row = np.broadcast_to(np.asarray(groups)[:, None], mask.shape)
    worth = within_groups(style, choices, token_rewards[steps], of_row[steps]) if steps.any() else np.zeros(0)
    rows, places = np.nonzero(steps)
    for row, place in np.argwhere(mask):
        answer[row, place] = style.whole(worth[(rows == row) & (places >= place)])
    return answer
