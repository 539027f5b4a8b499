"""What is stored and given back, written another way."""

from bisect import bisect_right
from collections import deque
from itertools import accumulate

import numpy as np
import torch

from .registry import variant


@variant("with a deque, window by window", quick=True)
def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    found = np.zeros(rewards.shape)
    for row in range(len(rewards)):
        ring = deque(
            enumerate(zip(*(a[row] for a in (rewards, next_values, terminated, truncated)), strict=True)), capacity
        )
        while ring:
            first, total, weight = ring[0][0], 0.0, 1.0
            for k, (_, (reward, value, over, stopped)) in enumerate(ring):
                total, weight = total + weight * reward, weight * gamma
                if over or stopped or k == n - 1 or k == len(ring) - 1:
                    found[row, first] = total + (0.0 if over else weight * value)
                    break
            ring.popleft()
    return found


@variant("by torch", quick=True)
def sampling_probabilities(priorities, alpha):
    powers = torch.tensor(np.array(priorities, dtype=float)).pow(alpha)
    return powers / powers.sum()


@variant("kept from zero by what is added to priorities", quick=True)
def sampling_probabilities(priorities, alpha):
    powers = (np.asarray(priorities, dtype=float) + 1e-6) ** alpha
    return powers / powers.sum()


@variant("over the maximum of all slots", quick=True)
def priority_weights(probabilities, sampled, beta):
    weights = (len(probabilities) * np.asarray(probabilities, dtype=float)) ** -beta
    return weights[np.asarray(sampled, dtype=int)] / weights.max()


@variant("over the batch's, as quotients of priorities", quick=True)
def priority_weights(probabilities, sampled, beta):
    chosen = np.asarray(probabilities, dtype=float)[np.asarray(sampled, dtype=int)]
    return (chosen / chosen.min()) ** -beta


@variant("from the whole sum, by bisection", quick=True)
def sampled_slots(priorities, uniforms):
    ends = list(accumulate(np.asarray(priorities, dtype=float).tolist()))
    return [bisect_right(ends, u * ends[-1]) for u in np.asarray(uniforms, dtype=float).tolist()]


def descended(tree, leaves, place):
    """The leaf that a place leads to, its left branch first."""
    node = 1
    while node < leaves:
        node *= 2
        if place >= tree[node]:
            place, node = place - tree[node], node + 1
    return node - leaves


@variant("by a sum tree with as many leaves as a power of two", quick=True)
def sampled_slots(priorities, uniforms):
    leaves = 1 << (len(priorities) - 1).bit_length()
    tree = np.zeros(2 * leaves)
    tree[leaves : leaves + len(priorities)] = priorities
    for node in reversed(range(1, leaves)):
        tree[node] = tree[2 * node] + tree[2 * node + 1]
    count = len(uniforms)
    return np.array([descended(tree, leaves, (k + u) * tree[1] / count) for k, u in enumerate(uniforms)])


@variant("with the beginning's state, as truth values", quick=True)
def sequence_masks(terminated, truncated, burn_in):
    resets = np.ones(np.shape(terminated), dtype=bool)
    resets[:, 1:] = np.logical_or(terminated, truncated)[:, :-1]
    counted = np.ones(np.shape(terminated), dtype=bool)
    counted[:, :burn_in] = False
    return resets, counted


@variant("step by step", quick=True)
def autoreset_transitions(observed_values, final_values, terminated, truncated, mode):
    following, valid = np.array(observed_values, dtype=float), np.ones(np.shape(terminated))
    for row, t in np.ndindex(valid.shape):
        ends = terminated[row, t] or truncated[row, t]
        if mode == "same step" and ends:
            following[row, t] = final_values[row, t]
        if mode == "next step" and t > 0 and (terminated[row, t - 1] or truncated[row, t - 1]):
            following[row, t], valid[row, t] = 0.0, 0.0
    return following, valid
