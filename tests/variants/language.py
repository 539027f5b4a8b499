"""Log-probabilities, masks and rewards of tokens, written another way."""

import math
import re

import numpy as np
import torch
from scipy.signal import lfilter
from scipy.special import log_softmax, logsumexp

from .registry import in_bfloat16, rough, variant


def tensors(dtype, *arrays):
    """Arrays of numbers as tensors of that type."""
    return tuple(torch.tensor(np.array(array), dtype=dtype) for array in arrays)


# Log-probabilities


@variant("by scipy's log_softmax")
def token_logp(logits, tokens, temperature):
    return np.take_along_axis(log_softmax(logits / temperature, axis=-1), tokens[..., None], axis=-1)[..., 0]


@variant("as a logit less the logsumexp, in Fortran order")
def token_logp(logits, tokens, temperature):
    scaled = logits * (1 / temperature)
    chosen = np.take_along_axis(scaled, np.expand_dims(tokens, -1), -1).squeeze(-1)
    return np.asfortranarray(chosen - logsumexp(scaled, axis=-1))


@variant("token by token, in Python floats")
def token_logp(logits, tokens, temperature):
    def of(row, token):
        if max(row) - row[token] > 600 * temperature:
            raise NotImplementedError("the sum would be too large")
        return -math.log(math.fsum(math.exp((z - row[token]) / temperature) for z in row))

    return [list(map(of, *row)) for row in zip(logits.tolist(), tokens.tolist(), strict=True)]


@variant("as a product with one-hot tokens")
def token_logp(logits, tokens, temperature):
    scaled = np.asarray(logits, dtype=float) / temperature
    logp = scaled - np.logaddexp.reduce(scaled, axis=-1, keepdims=True)
    return np.einsum("btv,btv->bt", logp, np.eye(logits.shape[-1])[tokens])


@variant("by a categorical distribution, as a tensor")
def token_logp(logits, tokens, temperature):
    [logits] = tensors(torch.float64, logits)
    return torch.distributions.Categorical(logits=logits / temperature).log_prob(torch.tensor(np.array(tokens)))


@variant("in float32 throughout, by cross-entropy", admitted=("OPS-4",))
def token_logp(logits, tokens, temperature):
    [logits] = tensors(torch.float32, logits)
    labels = torch.tensor(np.array(tokens))
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1) / temperature, labels.flatten().long(), reduction="none"
    )
    return -losses.view(labels.shape)


@variant("a sequence at a time, only where a token counts", quick=True)
def sequence_logp(logits, tokens, completion_mask):
    totals = []
    for row, said, counts in zip(logits, tokens, completion_mask, strict=True):
        places = [t for t in range(1, len(said)) if counts[t]]
        totals.append(math.fsum(log_softmax(row[t - 1].astype(float))[said[t]] for t in places))
    return totals


@variant("packed")
def sequence_logp(logits, tokens, completion_mask):
    rows, before = np.nonzero(completion_mask[:, 1:])
    chosen = log_softmax(logits[rows, before], axis=-1)[np.arange(len(rows)), tokens[rows, before + 1]]
    return np.bincount(rows, weights=chosen, minlength=len(tokens))


@variant("rolled, with the last place masked")
def sequence_logp(logits, tokens, completion_mask):
    labels, counts = np.roll(tokens, -1, axis=1), np.roll(completion_mask, -1, axis=1).astype(bool)
    counts[:, -1] = False
    scores = np.where(counts[..., None], logits, 0)
    logp = np.take_along_axis(scores, labels[..., None], -1)[..., 0] - logsumexp(scores, axis=-1)
    return logp.sum(axis=1, where=counts)


@variant("by cross-entropy with ignored labels")
def sequence_logp(logits, tokens, completion_mask):
    [logits] = tensors(torch.float64, logits)
    labels = torch.tensor(np.where(completion_mask, tokens, -100))[:, 1:].flatten().long()
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels, reduction="none", ignore_index=-100
    )
    return -losses.view(len(tokens), -1).sum(1)


@variant("in float32 throughout, masked after the shift", admitted=("OPS-4",))
def sequence_logp(logits, tokens, completion_mask):
    [logits] = tensors(torch.float32, logits)
    labels = torch.tensor(np.array(tokens)).long()[:, 1:]
    counts = torch.tensor(np.array(completion_mask)).bool()[:, 1:]
    per_token = logits[:, :-1].log_softmax(-1).gather(2, labels.masked_fill(~counts, 0).unsqueeze(2)).squeeze(2)
    per_token[~counts] = 0
    return per_token.sum(-1)


# Which tokens count


@variant("token by token, trailing padding stripped")
def completion_mask(tokens, prompt_length, eos, pad):
    masks = []
    for row, begin in zip(tokens.tolist(), prompt_length.tolist(), strict=True):
        answer = row[begin:]
        if eos in answer:
            answer = answer[: answer.index(eos) + 1]
        else:
            while answer and answer[-1] == pad:
                answer.pop()
        masks.append([0] * begin + [1] * len(answer) + [0] * (len(row) - begin - len(answer)))
    return masks


@variant("by the place of the last token, as a tensor of truth values")
def completion_mask(tokens, prompt_length, eos, pad):
    tokens, begin = torch.tensor(np.array(tokens)), torch.tensor(np.array(prompt_length))[:, None]
    place = torch.arange(tokens.shape[1])
    ends = (tokens == eos) & (place >= begin)
    solid = torch.where((tokens != pad) & (place >= begin), place, -1).amax(1)
    last = torch.where(ends.any(1), ends.int().argmax(1), solid)[:, None]
    return (place >= begin) & (place <= last)


@variant("by running products")
def completion_mask(tokens, prompt_length, eos, pad):
    behind = np.arange(tokens.shape[1]) >= prompt_length[:, None]
    goes_on = np.cumprod(~(behind & (tokens == eos)), axis=1)
    before = np.pad(goes_on, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
    solid = np.cumsum((tokens != pad)[:, ::-1], axis=1)[:, ::-1] > 0
    return behind * before * (solid | (goes_on[:, -1:] == 0))


@variant("by a regular expression")
def completion_mask(tokens, prompt_length, eos, pad):
    letters = np.where(tokens == eos, "E", np.where(tokens == pad, "P", "x"))
    mask = np.zeros(tokens.shape, dtype=np.int8, order="F")
    for row, begin in enumerate(prompt_length):
        found = re.compile("x*E?").match("".join(letters[row]), int(begin))
        mask[row, found.start() : found.end()] = 1
    return mask


# One score for many tokens


@variant("a completion at a time, in Python floats")
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    paid = np.zeros(mask.shape).tolist()
    for row, counts in enumerate(mask):
        for t in (places := np.flatnonzero(counts).tolist()):
            paid[row][t] = -kl_coef * (float(logp[row, t]) - float(ref_logp[row, t]))
        if places:
            paid[row][places[-1]] += float(scores[row])
    return paid


@variant("packed, in Fortran order")
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    mask = np.array(mask, dtype=bool)
    rows = np.nonzero(mask)[0]
    paid = kl_coef * (ref_logp[mask] - logp[mask])
    last = np.flatnonzero(np.diff(rows, append=-1))
    paid[last] += scores[rows[last]]
    dense = np.zeros(mask.shape, paid.dtype, order="F")
    dense[mask] = paid
    return dense


@variant("by a scatter at the last place, times the mask", admitted=("OPS-11",))
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    scores, logp, ref_logp, mask = tensors(torch.float64, scores, logp, ref_logp, mask)
    last = mask.shape[1] - 1 - mask.long().fliplr().argmax(dim=1, keepdim=True)
    final = torch.zeros_like(logp).scatter_(1, last, scores[:, None])
    return (final - kl_coef * (logp - ref_logp)) * mask


def penalised(estimate, dtype, most=np.inf):
    """Another estimate of the divergence for each token."""

    def token_rewards(scores, logp, ref_logp, mask, kl_coef):
        counts = mask.astype(bool)
        ratio = np.where(counts, dtype(logp) - dtype(ref_logp), 0)
        paid = -dtype(kl_coef) * np.clip(estimate(ratio), -most, most)
        is_last = counts & (np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] == 1)
        return np.where(counts, paid + np.where(is_last, dtype(scores)[:, None], 0), 0)

    return token_rewards


for name, estimate in {
    "k1": lambda x: x,
    "the size of k1": np.abs,
    "k2": lambda x: x**2 / 2,
    "k3": lambda x: np.exp(-x) - 1 + x,
    "k3 by expm1": lambda x: np.expm1(-x) + x,
}.items():
    variant(f"pays for {name}", quick=name == "k3")(penalised(estimate, np.float64))
    variant(f"pays for {name} within 10")(penalised(estimate, np.float64, 10.0))
    variant(f"pays for {name} in float32", admitted=("OPS-4",))(penalised(estimate, np.float32))


@variant("in float32 throughout", admitted=("OPS-4",))
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    scores, logp, ref_logp = (np.float32(array) for array in (scores, logp, ref_logp))
    counts = mask.astype(bool)
    is_last = counts & (np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] == 1)
    return np.where(counts, -np.float32(kl_coef) * (logp - ref_logp), 0) + np.where(is_last, scores[:, None], 0)


@variant("by math.fsum")
def outcome_score(token_rewards, mask):
    return [math.fsum(row[counts]) for row, counts in zip(token_rewards, mask.astype(bool), strict=True)]


@variant("by a masked array")
def outcome_score(token_rewards, mask):
    return np.ma.masked_array(token_rewards, np.logical_not(mask)).sum(axis=1).filled(0)


@variant("as an inner product", admitted=("OPS-11",))
def outcome_score(token_rewards, mask):
    return np.einsum("bt,bt->b", token_rewards, mask)


@variant("by counting with weights")
def outcome_score(token_rewards, mask):
    rows, columns = np.nonzero(mask)
    return np.bincount(rows, token_rewards[rows, columns], minlength=len(mask))


@variant("in float32 throughout, by index_add", admitted=("OPS-4",))
def outcome_score(token_rewards, mask):
    [rewards], mask = tensors(torch.float32, token_rewards), torch.tensor(np.array(mask)).bool()
    return torch.zeros(len(mask)).index_add(0, mask.nonzero()[:, 0], rewards[mask])


@variant("by scipy.signal.lfilter on what counts")
def token_returns(token_rewards, mask, gamma):
    returns = np.zeros(mask.shape)
    for row, counts in enumerate(mask.astype(bool)):
        if counts.any():
            returns[row, counts] = lfilter([1], [1, -gamma], token_rewards[row, counts][::-1].astype(float))[::-1]
    return returns


@variant("by a recursion that waits where nothing counts")
def token_returns(token_rewards, mask, gamma):
    counts, following = mask.astype(bool), np.zeros(len(mask))
    returns = np.zeros(mask.shape)
    for t in reversed(range(mask.shape[1])):
        following = np.where(counts[:, t], token_rewards[:, t] + gamma * following, following)
        returns[:, t] = np.where(counts[:, t], following, 0)
    return returns


@variant("sorted to the left and back")
def token_returns(token_rewards, mask, gamma):
    order = np.argsort(np.logical_not(mask), axis=1, kind="stable")
    dense = np.take_along_axis(np.where(mask, token_rewards, 0).astype(float), order, axis=1)
    powers = np.triu(float(gamma) ** np.abs(np.subtract.outer(*2 * (np.arange(mask.shape[1]),))))
    back = np.take_along_axis(dense @ powers.T, np.argsort(order, axis=1), axis=1)
    return np.where(mask, back, 0)


@variant("by cumulative sums divided by powers of gamma")
def token_returns(token_rewards, mask, gamma):
    if gamma < 0.25:
        raise NotImplementedError("its powers vanish")
    powers = float(gamma) ** (np.cumsum(mask.astype(int), axis=1) - 1)
    weighed = np.where(mask, powers * token_rewards, 0)
    return np.where(mask, np.cumsum(weighed[:, ::-1], axis=1)[:, ::-1] / powers, 0)


@variant("in float32 throughout, as a list", admitted=("OPS-4",))
def token_returns(token_rewards, mask, gamma):
    returns = [[0.0] * len(row) for row in mask]
    for row, counts in enumerate(mask):
        following = np.float32(0)
        for t in np.flatnonzero(counts)[::-1]:
            following = np.float32(token_rewards[row, t]) + np.float32(gamma) * following
            returns[row][t] = float(following)
    return returns


@variant("by a recursion that carries over what does not count", admitted=("OPS-11",))
def token_gae(token_rewards, values, mask, gamma, lam):
    rewards, values, mask = tensors(torch.float64, token_rewards, values, mask)
    next_value, carried, reversed_advantages = 0, 0, []
    for t in reversed(range(mask.shape[1])):
        advantage = rewards[:, t] + gamma * next_value - values[:, t] + gamma * lam * carried
        next_value = values[:, t] * mask[:, t] + (1 - mask[:, t]) * next_value
        carried = advantage * mask[:, t] + (1 - mask[:, t]) * carried
        reversed_advantages.append(carried)
    return torch.stack(reversed_advantages[::-1], dim=1) * mask


@variant("by scipy.signal.lfilter on what counts")
def token_gae(token_rewards, values, mask, gamma, lam):
    advantages = np.zeros(mask.shape)
    for row, counts in enumerate(mask.astype(bool)):
        if counts.any():
            known = values[row, counts].astype(float)
            errors = token_rewards[row, counts] + gamma * np.append(known[1:], 0) - known
            advantages[row, counts] = lfilter([1], [1, -gamma * lam], errors[::-1])[::-1]
    return advantages


@variant("sorted to the left, as a linear system")
def token_gae(token_rewards, values, mask, gamma, lam):
    order = np.argsort(np.logical_not(mask), axis=1, kind="stable")
    rewards, values = (np.take_along_axis(np.where(mask, x, 0), order, axis=1) for x in (token_rewards, values))
    errors = rewards + gamma * np.pad(values, ((0, 0), (0, 1)))[:, 1:] - values
    chain = np.eye(mask.shape[1]) - gamma * lam * np.eye(mask.shape[1], k=1)
    return np.where(mask, np.take_along_axis(np.linalg.solve(chain, errors.T).T, np.argsort(order, axis=1), 1), 0)


@variant("as the lambda-return less the value, in Python floats")
def token_gae(token_rewards, values, mask, gamma, lam):
    advantages = [[0.0] * len(row) for row in mask]
    for row, counts in enumerate(mask):
        later = ahead = 0.0
        for t in np.flatnonzero(counts).tolist()[::-1]:
            value = float(values[row, t])
            later = float(token_rewards[row, t]) + gamma * ((1 - lam) * ahead + lam * later)
            advantages[row][t], ahead = later - value, value
    return advantages


@variant("in float32 throughout", admitted=("OPS-4",))
def token_gae(token_rewards, values, mask, gamma, lam):
    rewards, values = (np.float32(array) for array in (token_rewards, values))
    gamma, lam, counts = np.float32(gamma), np.float32(lam), mask.astype(bool)
    advantages = np.zeros(mask.shape, np.float32)
    ahead = carried = np.zeros(len(mask), np.float32)
    for t in reversed(range(mask.shape[1])):
        advantage = rewards[:, t] + gamma * ahead - values[:, t] + gamma * lam * carried
        ahead, carried = np.where(counts[:, t], (values[:, t], advantage), (ahead, carried))
        advantages[counts[:, t], t] = carried[counts[:, t]]
    return advantages


@variant("in bfloat16 throughout", **rough())
@in_bfloat16
def token_logp(logits, tokens, temperature):
    [logits] = tensors(torch.bfloat16, logits)
    return (logits / temperature).log_softmax(-1).gather(-1, torch.tensor(np.array(tokens)).unsqueeze(-1)).squeeze(-1)


@variant("in bfloat16 throughout", **rough())
@in_bfloat16
def outcome_score(token_rewards, mask):
    [rewards] = tensors(torch.bfloat16, token_rewards)
    return rewards.masked_fill(~torch.tensor(np.array(mask)).bool(), 0).sum(-1)


@variant("in bfloat16 throughout", **rough())
@in_bfloat16
def token_returns(token_rewards, mask, gamma):
    [rewards], mask = tensors(torch.bfloat16, token_rewards), torch.tensor(np.array(mask)).bool()
    following, returns = torch.zeros(len(mask), dtype=torch.bfloat16), torch.zeros_like(rewards)
    for t in reversed(range(mask.shape[1])):
        following = torch.where(mask[:, t], rewards[:, t] + gamma * following, following)
        returns[:, t] = following.masked_fill(~mask[:, t], 0)
    return returns


# Several sequences in a row


@variant("shifted, with first tokens masked", quick=True)
def packed_logp(logits, tokens, segments):
    found = np.zeros(tokens.shape)
    logs = log_softmax(np.asarray(logits, dtype=float), axis=-1)[:, :-1]
    chosen = np.take_along_axis(logs, np.asarray(tokens)[:, 1:, None], -1)[..., 0]
    found[:, 1:] = np.where(segments[:, 1:] == segments[:, :-1], chosen, 0)
    return found


@variant("split at the ends of sequences", quick=True)
def packed_gae(token_rewards, values, segments, mask, gamma, lam):
    advantages = np.zeros(mask.shape)
    for row, counts in enumerate(mask.astype(bool)):
        kept = np.flatnonzero(counts)
        for places in np.split(kept, np.flatnonzero(np.diff(segments[row, kept])) + 1):
            known = np.append(values[row, places].astype(float), 0)
            errors = token_rewards[row, places] + gamma * known[1:] - known[:-1]
            carried = 0.0
            for place, error in zip(places[::-1], errors[::-1], strict=True):
                advantages[row, place] = carried = error + gamma * lam * carried
    return advantages
