"""Ways to tell turns apart."""

import numpy as np

from .catalogue import way


def tables(turns, mask):
    """Which token is of which turn [B, T, K], the turns that have tokens numbered by themselves."""
    number = np.zeros(mask.shape, int)
    for row, counts in enumerate(mask):
        number[row, counts] = np.unique(turns[row, counts], return_inverse=True)[1]
    return mask[..., None] & (number[..., None] == np.arange(mask.shape[1]))


def of_turns(style, numbers, member):
    """The sums over each turn's tokens [B, K]."""
    return style.total(np.moveaxis(np.where(member, numbers[..., None], style.dtype(0)), 1, -1))


def at_tokens(style, numbers, member):
    """A turn's number at each of its tokens [B, T]."""
    return np.where(member, numbers[:, None, :], style.dtype(0)).sum(axis=2)


def carried(style, numbers, factor):
    """sum_j>=k factor^(j - k) x_j, from the last turn to the first."""
    found, later = np.zeros_like(numbers), np.zeros(len(numbers), style.dtype)
    for turn in reversed(range(numbers.shape[1])):
        later = numbers[:, turn] + factor * later
        found[:, turn] = later
    return found


@way("by a table of turns and tokens")
def turn_sums(style, choices, values, turns, mask):
    member = tables(turns, mask)
    return at_tokens(style, of_turns(style, style.kept(values, mask), member), member)


@way("by a table of turns and tokens")
def turn_returns(style, choices, token_rewards, turns, mask, gamma):
    member = tables(turns, mask)
    return at_tokens(style, carried(style, of_turns(style, style.kept(token_rewards, mask), member), gamma), member)


@way("by a table of turns and tokens")
def turn_gae(style, choices, token_rewards, values, turns, mask, gamma, lam):
    member = tables(turns, mask)
    first = member & (member.cumsum(axis=1) == 1)
    paid, begun = (of_turns(style, style.kept(x, mask), of) for x, of in ((token_rewards, member), (values, first)))
    following = np.concatenate([begun[:, 1:], np.zeros((len(mask), 1), style.dtype)], axis=1)
    errors = paid + gamma * following - begun
    return at_tokens(style, carried(style, errors, gamma * lam), member)
