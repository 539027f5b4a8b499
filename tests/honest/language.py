"""Ways to compute what is known of tokens."""

import numpy as np
import torch

from rlspec.spec.choices import number_in

from .catalogue import way
from .returns import carried_back, doubled, powers
from .tensors import tensors, within_type


def log_shares(style, scores):
    """Logarithms of the softmax along the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(style.total(style.exp(shifted)))[..., None]


def picked(table, tokens):
    """Of each place's numbers, that of its token."""
    return np.take_along_axis(table, tokens[..., None].astype(int), axis=-1)[..., 0]


@way("a logarithm of the softmax, and the token's place in it")
def token_logp(style, choices, logits, tokens, temperature):
    return picked(log_shares(style, logits / style.dtype(temperature)), tokens)


@way("the token's logit less the logarithm of a sum")
def token_logp(style, choices, logits, tokens, temperature):
    scaled = logits * (style.dtype(1) / style.dtype(temperature))
    return picked(scaled, tokens) - np.logaddexp.reduce(scaled, axis=-1)


@way("without a shift")
def token_logp(style, choices, logits, tokens, temperature):
    scaled = logits / style.dtype(temperature)
    within_type(style, scaled)
    return picked(scaled, tokens) - np.log(style.total(style.exp(scaled)))


@way("minus the logarithm of the odds of all, place by place")
def token_logp(style, choices, logits, tokens, temperature):
    answers = np.zeros(tokens.shape, style.dtype)
    for place in np.ndindex(tokens.shape):
        behind = (logits[place] - logits[place][tokens[place]]) / style.dtype(temperature)
        within_type(style, behind)
        answers[place] = -np.log(style.total(style.exp(behind)))
    return answers


@way("by torch's cross-entropy")
def token_logp(style, choices, logits, tokens, temperature):
    [scores] = tensors(style, logits)
    labels = torch.from_numpy(tokens.astype(np.int64).ravel())
    losses = torch.nn.functional.cross_entropy(scores.flatten(0, 1) / temperature, labels, reduction="none")
    return -losses.view(tokens.shape).numpy()


@way("by a product with one-hot tokens")
def token_logp(style, choices, logits, tokens, temperature):
    chosen = np.eye(logits.shape[-1], dtype=style.dtype)[tokens.astype(int)]
    return style.total(log_shares(style, logits / style.dtype(temperature)) * chosen)


@way("shifted by one, masked and added up")
def sequence_logp(style, choices, logits, tokens, completion_mask):
    counts = completion_mask[:, 1:]
    scores = np.where(counts[..., None], logits[:, :-1], style.dtype(0))
    return style.total(style.kept(picked(log_shares(style, scores), tokens[:, 1:]), counts))


@way("a completion at a time, only where a token counts")
def sequence_logp(style, choices, logits, tokens, completion_mask):
    totals = np.zeros(len(tokens), style.dtype)
    for row, counts in enumerate(completion_mask):
        said = [t for t in np.flatnonzero(counts) if t > 0]
        terms = [log_shares(style, logits[row, t - 1])[tokens[row, t]] for t in said]
        totals[row] = style.total(np.array(terms, style.dtype))
    return totals


@way("rolled, with the last place masked, by torch")
def sequence_logp(style, choices, logits, tokens, completion_mask):
    counts = np.roll(completion_mask, -1, axis=1)
    counts[:, -1] = False
    scores, counts = tensors(style, logits, counts)
    labels = torch.from_numpy(np.roll(tokens, -1, axis=1).astype(np.int64))
    scores = scores.masked_fill(~counts.unsqueeze(-1), 0)
    logp = scores.gather(-1, labels.unsqueeze(-1)).squeeze(-1) - scores.logsumexp(-1)
    return logp.masked_fill(~counts, 0).sum(-1).numpy()


@way("shifted by one, the first tokens masked")
def packed_logp(style, choices, logits, tokens, segments):
    found = np.zeros(tokens.shape, style.dtype)
    followed = segments[:, 1:] == segments[:, :-1]
    found[:, 1:] = style.kept(picked(log_shares(style, logits[:, :-1]), tokens[:, 1:]), followed)
    return found


@way("a sequence at a time")
def packed_logp(style, choices, logits, tokens, segments):
    found = np.zeros(tokens.shape, style.dtype)
    for row, names in enumerate(np.asarray(segments)):
        for name in np.unique(names):
            places = np.flatnonzero(names == name)
            logs = log_shares(style, logits[row, places[:-1]])
            found[row, places[1:]] = picked(logs, tokens[row, places[1:]])
    return found


@way("token by token, trailing padding stripped")
def completion_mask(style, choices, tokens, prompt_length, eos, pad):
    masks = np.zeros(tokens.shape, bool)
    for row, begin in enumerate(np.asarray(prompt_length).astype(int).tolist()):
        answer = tokens[row, begin:].tolist()
        stop = answer.index(eos) + 1 if eos in answer else len(answer)
        while eos not in answer and stop and answer[stop - 1] == pad:
            stop -= 1
        masks[row, begin : begin + stop] = True
    return masks.astype(int) if style.reducing == "weighed" else masks


@way("by counting ends from the left and words from the right")
def completion_mask(style, choices, tokens, prompt_length, eos, pad):
    behind = np.arange(tokens.shape[1]) >= np.asarray(prompt_length)[:, None]
    ends = behind & (tokens == eos)
    ended_before = np.cumsum(ends, axis=1) - ends > 0
    words_left = np.cumsum((tokens != pad)[:, ::-1], axis=1)[:, ::-1] > 0
    return behind & ~ended_before & (words_left | ends.any(axis=1, keepdims=True))


def last_places(mask):
    """Where the last token that counts stands in each row."""
    return mask & (np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] == 1)


def penalty(style, choices, log_ratio):
    """An estimate of the distance from the reference, limited where that is the choice."""
    behind = -log_ratio
    within_type(style, behind if choices["estimator"] == "k3" else 0)
    estimate = {
        "k1": log_ratio,
        "abs": abs(log_ratio),
        "k2": log_ratio * log_ratio / 2,
        "k3": (np.exp(behind) - 1 if style.exponential == "exp" else np.expm1(behind)) - behind,
    }[choices["estimator"]]
    most = number_in("within C", choices["clamp"])
    return estimate if most is None else np.clip(estimate, -most, most)


@way("a penalty everywhere and a score at the last place")
def token_rewards(style, choices, scores, logp, ref_logp, mask, kl_coef):
    apart = penalty(style, choices, style.kept(logp, mask) - style.kept(ref_logp, mask))
    score = np.where(last_places(mask), scores[:, None], style.dtype(0))
    return style.kept(score - style.dtype(kl_coef) * apart, mask)


@way("what counts, one after the other")
def token_rewards(style, choices, scores, logp, ref_logp, mask, kl_coef):
    paid = np.zeros(mask.shape, style.dtype)
    apart = penalty(style, choices, style.selected(logp, mask) - style.selected(ref_logp, mask))
    paid[mask] = -style.dtype(kl_coef) * apart
    paid[last_places(mask)] += scores[mask.any(axis=1)]
    return paid


@way("by tensors, the score scattered")
def token_rewards(style, choices, scores, logp, ref_logp, mask, kl_coef):
    apart = penalty(style, choices, np.where(mask, logp - ref_logp, style.dtype(0)))
    scores, apart, mask = tensors(style, scores, apart, mask)
    last = mask.shape[1] - 1 - mask.int().flip(1).argmax(1, keepdim=True)
    final = torch.zeros_like(apart).scatter(1, last, scores.unsqueeze(1))
    return (final - kl_coef * apart).masked_fill(~mask, 0).numpy()


@way("masked and added up", "outcome_score", "completion_logp")
def row_sums(style, choices, numbers, mask):
    return style.total(style.kept(numbers, mask))


@way("row by row, what the mask selects", "outcome_score", "completion_logp")
def sums_of_selected(style, choices, numbers, mask):
    rows = zip(numbers, mask, strict=True)
    return np.array([style.whole(style.selected(row, counts)) for row, counts in rows], style.dtype)


@way("by counting with weights", "outcome_score", "completion_logp")
def counted_sums(style, choices, numbers, mask):
    rows = np.nonzero(mask)[0]
    return np.bincount(rows, style.selected(numbers, mask), len(mask)).astype(style.dtype)


@way("an inner product of what is clean", "outcome_score", "completion_logp")
def inner_products(style, choices, numbers, mask):
    return np.einsum("bt,bt->b", style.kept(numbers, mask), mask.astype(style.dtype))


def packed(mask):
    """An order of each row's steps that has those that count first, and the order that undoes it."""
    order = np.argsort(~mask, axis=1, kind="stable")
    return order, np.argsort(order, axis=1)


def moved(table, order):
    """The table with its steps in that order."""
    return np.take_along_axis(table, order, axis=1)


@way("moved to the left and back, a column at a time")
def token_returns(style, choices, token_rewards, mask, gamma):
    order, back = packed(mask)
    dense = moved(style.kept(token_rewards, mask), order)
    return style.kept(moved(carried_back(dense, np.full_like(dense, gamma)), back), mask)


@way("a recursion that waits where nothing counts")
def token_returns(style, choices, token_rewards, mask, gamma):
    following, returns = np.zeros(len(mask), style.dtype), np.zeros_like(token_rewards)
    for t in reversed(range(mask.shape[1])):
        following = np.where(mask[:, t], token_rewards[:, t] + gamma * following, following)
        returns[:, t] = following
    return style.kept(returns, mask)


@way("row by row, as sums of what is left")
def token_returns(style, choices, token_rewards, mask, gamma):
    returns = np.zeros_like(token_rewards)
    for row, counts in enumerate(mask):
        paid = token_rewards[row, counts]
        left = [style.total(paid[k:] * powers(style, gamma, len(paid) - k)) for k in range(len(paid))]
        returns[row, counts] = left
    return returns


@way("moved to the left and back, by recursive doubling")
def token_gae(style, choices, token_rewards, values, mask, gamma, lam):
    order, back = packed(mask)
    rewards, worth = (moved(style.kept(table, mask), order) for table in (token_rewards, values))
    after = np.concatenate([worth[:, 1:], np.zeros((len(mask), 1), style.dtype)], axis=1)
    errors = rewards + gamma * after - worth
    factors = np.full_like(errors, style.dtype(gamma) * style.dtype(lam))
    return style.kept(moved(doubled(errors, factors), back), mask)


@way("token by token from the last, in Python")
def token_gae(style, choices, token_rewards, values, mask, gamma, lam):
    advantages = np.zeros_like(values)
    for row, counts in enumerate(mask):
        following, carried = style.dtype(0), style.dtype(0)
        for t in np.flatnonzero(counts)[::-1]:
            carried = token_rewards[row, t] + gamma * following - values[row, t] + gamma * lam * carried
            following = values[row, t]
            advantages[row, t] = carried
    return advantages


@way("a recursion that carries over what does not count")
def token_gae(style, choices, token_rewards, values, mask, gamma, lam):
    rewards, worth = style.kept(token_rewards, mask), style.kept(values, mask)
    following, carried = np.zeros(len(mask), style.dtype), np.zeros(len(mask), style.dtype)
    advantages = np.zeros_like(worth)
    for t in reversed(range(mask.shape[1])):
        fresh = rewards[:, t] + gamma * following - worth[:, t] + gamma * lam * carried
        carried = np.where(mask[:, t], fresh, carried)
        following = np.where(mask[:, t], worth[:, t], following)
        advantages[:, t] = carried
    return style.kept(advantages, mask)


@way("a sequence at a time, from its last token")
def packed_gae(style, choices, token_rewards, values, segments, mask, gamma, lam):
    advantages = np.zeros_like(values)
    for row, counts in enumerate(mask):
        for name in set(segments[row, counts].tolist()):
            following, carried = style.dtype(0), style.dtype(0)
            for t in np.flatnonzero(counts & (segments[row] == name))[::-1]:
                carried = token_rewards[row, t] + gamma * following - values[row, t] + gamma * lam * carried
                following = values[row, t]
                advantages[row, t] = carried
    return advantages


@way("a recursion that begins anew where the name is another")
def packed_gae(style, choices, token_rewards, values, segments, mask, gamma, lam):
    rewards, worth = style.kept(token_rewards, mask), style.kept(values, mask)
    zeros = np.zeros(len(mask), style.dtype)
    advantages, following, carried, name = np.zeros_like(worth), zeros, zeros, segments[:, -1]
    for t in reversed(range(mask.shape[1])):
        counts, same = mask[:, t], segments[:, t] == name
        following, carried = (np.where(same | ~counts, x, style.dtype(0)) for x in (following, carried))
        fresh = rewards[:, t] + gamma * following - worth[:, t] + gamma * lam * carried
        carried, following = np.where(counts, fresh, carried), np.where(counts, worth[:, t], following)
        advantages[:, t], name = carried, np.where(counts, segments[:, t], name)
    return style.kept(advantages, mask)
