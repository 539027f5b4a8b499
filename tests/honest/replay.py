"""Ways to store and to give back."""

import numpy as np

from rlspec.reference.choices import shape_of

from .catalogue import way
from .returns import backed_up, ends


@way("the newest, by backing up n times")
def replayed_targets(style, choices, rewards, next_values, terminated, truncated, capacity, gamma, n):
    stored = [array[:, -capacity:] for array in (rewards, next_values, terminated, truncated)]
    found = backed_up(*stored[:3], ends(*stored[2:]), style.dtype(gamma), n)
    return np.concatenate([np.zeros_like(rewards[:, :-capacity]), found], axis=1)


@way("a ring of slots, read from each slot on")
def replayed_targets(style, choices, rewards, next_values, terminated, truncated, capacity, gamma, n):
    rows, steps = rewards.shape
    slots = np.zeros((4, rows, capacity), style.dtype)
    for t in range(steps):
        slots[:, :, t % capacity] = [array[:, t] for array in (rewards, next_values, terminated, truncated)]
    found = np.zeros_like(rewards)
    for row, t in np.ndindex(rows, steps):
        found[row, t] = from_slot(style, slots[:, row], t, steps, gamma, n) if t >= steps - capacity else 0
    return found


def from_slot(style, slots, t, steps, gamma, n):
    """The target of the window from step t on."""
    terms = []
    for k in range(t, min(t + n, steps)):
        reward, value, over, stopped = slots[:, k % slots.shape[1]]
        terms.append(reward * style.dtype(gamma) ** style.dtype(k - t))
        if over or stopped:
            break
    bootstrap = style.dtype(0) if over else value * style.dtype(gamma) ** style.dtype(k + 1 - t)
    return style.total(np.array([*terms, bootstrap], style.dtype))


def kept_from_zero(style, choices):
    """What is added to a priority, and to its power."""
    shape, number = shape_of(choices["power"], "p^alpha", "(p + E)^alpha", "p^alpha + E")
    added, nothing = style.dtype(number or 0), style.dtype(0)
    return (added, nothing) if shape == "(p + E)^alpha" else (nothing, added)


@way("powers over their sum")
def sampling_probabilities(style, choices, priorities, alpha):
    inside, outside = kept_from_zero(style, choices)
    powers = (priorities + inside) ** style.dtype(alpha) + outside
    return powers / style.total(powers)


@way("by logarithms")
def sampling_probabilities(style, choices, priorities, alpha):
    inside, outside = kept_from_zero(style, choices)
    powers = style.exp(style.dtype(alpha) * np.log(priorities + inside)).astype(style.dtype) + outside
    return powers / style.total(powers)


def compared(choices, weights, sampled):
    """The weights that the largest is looked for among."""
    return weights if choices["maximum"] == "buffer" else weights[sampled.astype(int)]


@way("powers over the largest")
def priority_weights(style, choices, probabilities, sampled, beta):
    weights = (style.dtype(len(probabilities)) * probabilities) ** -style.dtype(beta)
    return weights[sampled.astype(int)] / compared(choices, weights, sampled).max()


@way("powers of quotients")
def priority_weights(style, choices, probabilities, sampled, beta):
    least = compared(choices, probabilities, sampled).min()
    return (least / probabilities[sampled.astype(int)]) ** style.dtype(beta)


def shares(style, choices, uniforms):
    """The places as shares of the sum."""
    parts = np.arange(len(uniforms)).astype(style.dtype)
    return (parts + uniforms) / style.dtype(len(uniforms)) if choices["parts"] == "equal parts" else uniforms


@way("by searching the sums")
def sampled_slots(style, choices, priorities, uniforms):
    sums = np.cumsum(priorities)
    return np.searchsorted(sums, shares(style, choices, uniforms) * sums[-1], side="right")


@way("by walking along the slots")
def sampled_slots(style, choices, priorities, uniforms):
    found = []
    for share in shares(style, choices, uniforms):
        left, slot = share * style.total(priorities), 0
        while left > priorities[slot]:
            left, slot = left - priorities[slot], slot + 1
        found.append(slot)
    return np.array(found)


@way("by shifting the flags")
def sequence_masks(style, choices, terminated, truncated, burn_in):
    ended = terminated | truncated
    first = np.full((len(ended), 1), choices["start"] == "zero")
    counted = np.broadcast_to(np.arange(ended.shape[1]) >= burn_in, ended.shape)
    return np.concatenate([first, ended[:, :-1]], axis=1), counted


@way("by the episodes' numbers")
def sequence_masks(style, choices, terminated, truncated, burn_in):
    number = np.cumsum(terminated | truncated, axis=1)
    before = np.concatenate([0 * number[:, :1], number[:, :-1]], axis=1)
    resets = np.diff(before, axis=1, prepend=0 * number[:, :1] - (choices["start"] == "zero"))
    counted = np.cumsum(np.ones_like(number), axis=1) > burn_in
    return (resets > 0).astype(style.dtype), counted.astype(style.dtype)


@way("by shifting the flags")
def autoreset_transitions(style, choices, observed_values, final_values, terminated, truncated, mode):
    ended = terminated | truncated
    if mode == "same step":
        return np.where(ended, final_values, observed_values), np.ones_like(observed_values)
    resets = np.roll(ended, 1, axis=1)
    resets[:, 0] = False
    return np.where(resets, style.dtype(0), observed_values), ~resets


@way("step by step")
def autoreset_transitions(style, choices, observed_values, final_values, terminated, truncated, mode):
    following, valid = np.array(observed_values), np.ones(terminated.shape, bool)
    for row, t in zip(*np.nonzero(terminated | truncated), strict=True):
        if mode == "same step":
            following[row, t] = final_values[row, t]
        elif t + 1 < valid.shape[1]:
            following[row, t + 1], valid[row, t + 1] = 0, False
    return following, valid
