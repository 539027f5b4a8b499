"""How turns go wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import zero_times


def _last_of_the_row(mask):
    counts = mask.astype(bool)
    return counts & (np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] == 1)


def _first_of_turns(turns, mask):
    """Which tokens that count have more tokens left, themselves included, than any other of their turn."""
    counts, left = mask.astype(bool), right.token_returns(np.ones(turns.shape), mask, 1.0)
    most = [
        [left[row][counts[row] & (turns[row] == turn)].max(initial=0) for turn in own] for row, own in enumerate(turns)
    ]
    return counts & (left == np.array(most))


def _turns_of_either(turns, own):
    """Turns of the policy and of the environment, numbered in their order."""
    begins = np.ones(own.shape, dtype=bool)
    begins[:, 1:] = (own[:, 1:] != own[:, :-1]) | (own[:, 1:] & (turns[:, 1:] != turns[:, :-1]))
    return begins.cumsum(axis=1)


@fault(
    id="M-TURN-1",
    slug="sum-of-the-whole-conversation",
    clause="TURN-2",
    effect="All turns are one: what belongs to a turn is summed over the conversation.",
)
def turn_sums(values, turns, mask):
    return right.turn_sums(values, 0 * turns, mask)


@fault(
    id="M-TURN-2",
    slug="mean-for-a-turns-sum",
    clause="TURN-3",
    effect="A turn's tokens are averaged: log-probabilities of turns do not add up to the answer's.",
)
def turn_sums(values, turns, mask):
    return right.turn_sums(values, turns, mask) / np.maximum(right.turn_sums(np.ones(turns.shape), turns, mask), 1)


@fault(
    id="M-TURN-11",
    slug="environment-tokens-in-a-turns-sum",
    clause="TURN-2",
    effect="What the environment said after a turn is summed with it, as if the policy had said it.",
)
def turn_sums(values, turns, mask):
    return np.where(mask.astype(bool), right.turn_sums(np.nan_to_num(values), turns, np.ones(turns.shape)), 0)


@fault(
    id="W04",
    slug="last-turns-reward-for-all",
    clause="TURN-4",
    seen=("NovaSky-AI/SkyRL#201",),
    effect="Only what the last turn was paid is kept: rewards of earlier turns are overwritten.",
)
def turn_returns(token_rewards, turns, mask, gamma):
    final = np.where(mask.astype(bool), turns, -1).max(axis=1, keepdims=True)
    return right.turn_returns(np.where(turns == final, token_rewards, 0), turns, mask, gamma)


@fault(
    id="M-TURN-3",
    slug="discount-per-token-for-turns",
    clause="TURN-4",
    effect="Every token is discounted, so that a turn is worth the less the longer the next ones are.",
)
def turn_returns(token_rewards, turns, mask, gamma):
    return right.token_returns(token_rewards, mask, gamma)


@fault(
    id="M-TURN-4",
    slug="gaps-in-the-turns-numbers-discounted",
    clause="TURN-4",
    effect="A turn in which the policy said nothing is a step as well, and discounts.",
)
def turn_returns(token_rewards, turns, mask, gamma):
    found = np.zeros(mask.shape)
    for row, counts in enumerate(mask.astype(bool)):
        own, paid = turns[row, counts], token_rewards[row, counts]
        apart = own[None, :] - own[:, None]
        found[row, counts] = (np.where(apart >= 0, float(gamma) ** np.maximum(apart, 0), 0) * paid[None, :]).sum(axis=1)
    return found


@fault(
    id="M-TURN-5",
    slug="reward-to-go-within-a-turn",
    clause="TURN-5",
    effect="A turn's tokens get what is still to come within it, and not what it was paid.",
)
def turn_returns(token_rewards, turns, mask, gamma):
    later = right.turn_returns(token_rewards, turns, mask, gamma) - right.turn_sums(token_rewards, turns, mask)
    return later + right.token_returns(token_rewards, mask, 1.0) * (later == 0)


@fault(
    id="M-TURN-12",
    slug="whole-conversation-for-every-turn",
    clause="TURN-4",
    effect="Every turn gets the whole conversation's rewards, those before it included.",
)
def turn_returns(token_rewards, turns, mask, gamma):
    return right.turn_sums(token_rewards, 0 * turns, mask)


@fault(
    id="M-TURN-6",
    slug="value-of-a-turns-last-token",
    clause="TURN-7",
    effect="A turn's baseline is the value after all but its last token, which knows what the turn has said.",
)
def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    last = _first_of_turns(turns[:, ::-1], mask[:, ::-1])[:, ::-1]
    told = right.turn_sums(np.where(last, values, 0), turns, mask)
    return right.turn_gae(token_rewards, told, turns, mask, gamma, lam)


@fault(
    id="M-TURN-7",
    slug="advantages-token-by-token-for-turns",
    clause="TURN-7",
    effect="GAE runs over tokens although turns are its steps.",
)
def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    return right.token_gae(token_rewards, values, mask, gamma, lam)


@fault(
    id="M-TURN-8",
    slug="value-behind-the-last-turn",
    clause="TURN-9",
    effect="The last turn bootstraps from its own value, as if the conversation went on.",
)
def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    ends = _last_of_the_row(mask)
    final = np.where(mask.astype(bool), turns, -1).max(axis=1, keepdims=True)
    told = np.where(_first_of_turns(turns, mask) & (turns == final), values, 0).sum(axis=1, keepdims=True)
    paid = np.where(ends, token_rewards + gamma * told, token_rewards)
    return right.turn_gae(paid, values, turns, mask, gamma, lam)


@fault(
    id="M-TURN-9",
    slug="lambda-squared-between-turns",
    clause="TURN-8",
    effect="Lambda discounts twice at each turn.",
)
def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    return right.turn_gae(token_rewards, values, turns, mask, gamma, lam * lam)


@fault(
    id="M-TURN-10",
    slug="turns-multiplied-by-the-mask",
    clause="OPS-11",
    effect="What does not count is multiplied by 0, which leaves what is not a number.",
)
def turn_sums(values, turns, mask):
    return right.turn_sums(values, turns, mask) + zero_times(values)


@fault(
    id="M-TURN-13",
    slug="environment-tokens-are-a-turn",
    clause="TURN-6",
    effect="What the environment says between two turns is a turn as well, and discounts.",
)
def turn_returns(token_rewards, turns, mask, gamma):
    own = mask.astype(bool)
    every, everywhere = _turns_of_either(turns, own), np.ones_like(own)
    return np.where(own, right.turn_returns(np.where(own, token_rewards, 0), every, everywhere, gamma), 0)


@fault(
    id="M-TURN-14",
    slug="advantages-of-the-environments-turns",
    clause="TURN-6",
    effect="What the environment says between two turns is a turn as well, of value 0, over which advantages decay.",
)
def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    own = mask.astype(bool)
    every, everywhere = _turns_of_either(turns, own), np.ones_like(own)
    rewards, known = (np.where(own, table, 0) for table in (token_rewards, values))
    return np.where(own, right.turn_gae(rewards, known, every, everywhere, gamma, lam), 0)
