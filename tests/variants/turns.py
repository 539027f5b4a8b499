"""Sums over turns, written another way."""

import numpy as np
import torch

from .language import tensors
from .registry import variant


@variant("by scatter_add, as in trainers", quick=True)
def turn_sums(values, turns, mask):
    [values] = tensors(torch.float64, values)
    mask, turns = torch.tensor(np.array(mask)).bool(), torch.tensor(np.array(turns)).long()
    own = torch.where(mask, turns, 0)
    sums = torch.zeros(len(mask), int(own.max()) + 1, dtype=torch.float64)
    sums.scatter_add_(1, own, values.masked_fill(~mask, 0))
    return sums.gather(1, own).masked_fill(~mask, 0)


@variant("from the last token to the first", quick=True)
def turn_returns(token_rewards, turns, mask, gamma):
    answer = np.zeros(mask.shape)
    for row, counts in enumerate(mask.astype(bool)):
        later, inside, turn = 0.0, 0.0, None
        for place in np.flatnonzero(counts)[::-1]:
            if turn is not None and turns[row, place] != turn:
                later, inside = inside + gamma * later, 0.0
            turn = turns[row, place]
            inside += token_rewards[row, place]
            answer[row, place] = inside + gamma * later
        for place in np.flatnonzero(counts):  # the first token of a turn knows all of it
            same = counts & (turns[row] == turns[row, place])
            answer[row, same] = answer[row, np.flatnonzero(same)[0]]
    return answer


@variant("as a table of turns, padded at the end", quick=True)
def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    answer = np.zeros(mask.shape)
    for row, counts in enumerate(mask.astype(bool)):
        known, first, index = np.unique(turns[row, counts], return_index=True, return_inverse=True)
        paid = np.bincount(index, token_rewards[row, counts], minlength=len(known)).astype(float)
        begun = np.append(values[row, counts][first], 0.0).astype(float)
        advantages = np.zeros(len(known) + 1)
        for turn in reversed(range(len(known))):
            error = paid[turn] + gamma * begun[turn + 1] - begun[turn]
            advantages[turn] = error + gamma * lam * advantages[turn + 1]
        answer[row, counts] = advantages[index]
    return answer
