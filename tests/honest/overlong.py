"""Ways to say what length costs."""

import numpy as np

from .catalogue import way


@way("by interpolation, or along the line")
def overlong_penalty(style, choices, lengths, max_length, buffer, factor):
    over = (np.asarray(lengths) - (max_length - buffer)).astype(style.dtype) / style.dtype(buffer)
    most = style.dtype(1) if choices["beyond"] == "held" else np.inf
    return -style.dtype(factor) * np.clip(over, style.dtype(0), most)


def ends_of(style, correct, shortest_correct, longest_correct, shortest_wrong, longest_wrong):
    """What the shortest, and what the longest, of each answer's kind score."""
    shortest = np.where(correct, shortest_correct, shortest_wrong).astype(style.dtype)
    return shortest, np.where(correct, longest_correct, longest_wrong).astype(style.dtype)


@way("by the cosine of a part of pi")
def cosine_reward(style, choices, lengths, correct, max_length, *scores):
    *ends, exceeded = scores
    shortest, longest = ends_of(style, correct, *ends)
    part = (np.minimum(lengths, max_length) / max_length).astype(style.dtype)
    wave = longest + (shortest - longest) * (1 + np.cos(style.dtype(np.pi) * part)) / 2
    return wave if exceeded is None else np.where(lengths >= max_length, style.dtype(exceeded), wave)


@way("by the sine of half of it, answer by answer")
def cosine_reward(style, choices, lengths, correct, max_length, *scores):
    *ends, exceeded = scores
    found = np.zeros(len(lengths), style.dtype)
    for place, (length, shortest, longest) in enumerate(zip(lengths, *ends_of(style, correct, *ends), strict=True)):
        if length >= max_length:
            found[place] = longest if exceeded is None else exceeded
        else:
            done = np.sin(style.dtype(np.pi * int(length) / (2 * max_length))) ** 2
            found[place] = shortest + (longest - shortest) * done
    return found


@way("group by group")
def length_reward(style, choices, lengths, correct, groups):
    found = np.zeros(len(lengths), style.dtype)
    for name in set(groups.tolist()):
        places = np.flatnonzero(groups == name)
        known = np.asarray(lengths)[places]
        if np.ptp(known) > 0:
            found[places] = style.dtype(0.5) - (known - known.min()).astype(style.dtype) / style.dtype(np.ptp(known))
    return np.where(correct, found, np.minimum(found, 0))


@way("all groups at once")
def length_reward(style, choices, lengths, correct, groups):
    lengths, (_, index) = np.asarray(lengths), np.unique(groups, return_inverse=True)
    shortest, longest = np.full(index.max() + 1, lengths.max()), np.full(index.max() + 1, lengths.min())
    np.minimum.at(shortest, index, lengths)
    np.maximum.at(longest, index, lengths)
    apart = (longest - shortest)[index]
    part = (longest[index] - lengths).astype(style.dtype) / np.maximum(apart, 1).astype(style.dtype)
    place = np.where(apart > 0, part - style.dtype(0.5), style.dtype(0))
    return np.where(correct | (place < 0), place, style.dtype(0))
