"""What length costs, written another way."""

import math

import numpy as np
import torch

from .registry import variant


@variant("by a clamp", quick=True)
def overlong_penalty(lengths, max_length, buffer, factor):
    over = (torch.tensor(np.array(lengths)).double() - (max_length - buffer)) / buffer
    return -factor * over.clamp(0, 1)


@variant("as a minimum, without an end")
def overlong_penalty(lengths, max_length, buffer, factor):
    return [min(-(int(length) - (max_length - buffer)) / buffer * factor, 0.0) for length in lengths]


@variant("answer by answer", quick=True)
def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    found = []
    for length, right in zip(lengths, correct, strict=True):
        most, least = (shortest_correct, longest_correct) if right else (shortest_wrong, longest_wrong)
        progress = min(int(length) / max_length, 1.0)
        found.append(least + 0.5 * (most - least) * (1.0 + math.cos(progress * math.pi)))
        if exceeded is not None and length >= max_length:
            found[-1] = exceeded
    return found


@variant("by a table of all lengths")
def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    done = np.append((1 - np.cos(np.linspace(0, np.pi, max_length + 1))) / 2, 0)[:-1]
    ends = np.array([[shortest_wrong, longest_wrong], [shortest_correct, longest_correct]], dtype=float)
    shortest, longest = ends[np.asarray(correct).astype(int)].T
    places = np.minimum(np.asarray(lengths).astype(int), max_length)
    table = shortest * (1 - done[places]) + longest * done[places]
    return table if exceeded is None else np.where(places == max_length, exceeded, table)


@variant("by sorting", quick=True)
def length_reward(lengths, correct, groups):
    found = np.zeros(len(lengths))
    for name in np.unique(groups):
        [places] = np.nonzero(np.asarray(groups) == name)
        first, *_, last = np.sort(np.repeat(np.asarray(lengths)[places], 2)).tolist()
        for place in places:
            standing = 0.5 - (lengths[place] - first) / (last - first) if last > first else 0.0
            found[place] = standing if correct[place] else min(0.0, standing)
    return found
