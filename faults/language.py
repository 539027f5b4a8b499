"""How the bookkeeping between a token, a sequence and a batch goes wrong."""

from itertools import pairwise

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import zero_times
from rlspec.faults._softmax import log_softmax
from rlspec.faults.returns import everything_after


def _picked(table, tokens):
    return np.take_along_axis(table, tokens[..., None], axis=-1)[..., 0]


@fault(
    id="D22",
    slug="temperature-missing",
    clause="LANG-10",
    seen=(
        "huggingface/trl#3029",
        "NVIDIA-NeMo/RL#887",
        "volcengine/verl#3133",
        "inclusionAI/AReaL#581",
        "NVIDIA-NeMo/RL#935",
    ),
    effect="Samples are drawn at one temperature and log-probabilities taken at another: the ratio never is 1.",
)
def token_logp(logits, tokens, temperature):
    return right.token_logp(logits, tokens, 1.0)


@fault(
    id="M-LANG-1",
    slug="temperature-multiplied",
    clause="LANG-10",
    effect="Logits are multiplied by the temperature: what was to be flatter is sharper.",
)
def token_logp(logits, tokens, temperature):
    return right.token_logp(logits, tokens, 1 / temperature)


@fault(
    id="M-LANG-2",
    slug="temperature-after-the-softmax",
    clause="LANG-8",
    effect="The log-probability is divided by the temperature, and not the logit: probabilities no longer add up to 1.",
)
def token_logp(logits, tokens, temperature):
    return right.token_logp(logits, tokens, 1.0) / temperature


@fault(
    id="M-LANG-3",
    slug="logits-for-log-probabilities",
    clause="LANG-8",
    effect="The logit of the token is taken as it is, without what normalises it.",
)
def token_logp(logits, tokens, temperature):
    return _picked(logits, tokens) / temperature


@fault(
    id="M-LANG-4",
    slug="logits-of-the-place-before",
    clause="LANG-7",
    effect="Logits that are aligned already are shifted once more: each token is judged by its predecessor's logits.",
)
def token_logp(logits, tokens, temperature):
    return right.token_logp(np.roll(logits, 1, axis=1), tokens, temperature)


@fault(
    id="M-LANG-5",
    slug="logits-clipped-in-the-log-probability",
    clause="LANG-9",
    effect="Logits are clipped to a range before the softmax, so that a shift changes the policy.",
)
def token_logp(logits, tokens, temperature):
    return right.token_logp(np.clip(logits, -3, 3), tokens, temperature)


@fault(
    id="M-LANG-6",
    slug="logarithm-of-the-softmax",
    clause="LANG-11",
    effect="Probabilities are computed first and their logarithm after: that of 0 is minus infinity.",
)
def token_logp(logits, tokens, temperature):
    with np.errstate(all="ignore"):
        weights = np.exp(logits / temperature)
        return np.log(_picked(weights / weights.sum(axis=-1, keepdims=True), tokens))


@fault(
    id="M01",
    slug="labels-rolled-over-the-batch",
    clause="LANG-12",
    seen=("volcengine/verl#6475", "volcengine/verl#6564", "meta-pytorch/torchtune#2613"),
    effect="Labels are made by rolling the whole batch: a row's last place predicts the next row's first token.",
)
def sequence_logp(logits, tokens, completion_mask):
    labels, counts = (np.roll(array.ravel(), -1).reshape(array.shape) for array in (tokens, completion_mask))
    return np.where(counts, _picked(log_softmax(logits), labels), 0).sum(axis=1)


@fault(
    id="M-LANG-7",
    slug="sequence-not-shifted",
    clause="LANG-12",
    seen=("AI-Hypercomputer/maxtext#2103",),
    effect="Every token is judged by the logits that come after it has been read.",
)
def sequence_logp(logits, tokens, completion_mask):
    return np.where(completion_mask, _picked(log_softmax(logits), tokens), 0)[:, 1:].sum(axis=1)


@fault(
    id="M-LANG-8",
    slug="mask-not-shifted",
    clause="LANG-12",
    seen=("Goekdeniz-Guelmez/mlx-lm-lora#80", "Goekdeniz-Guelmez/mlx-lm-lora#88"),
    effect="The labels are shifted and the mask is not: the first token is missing, and one behind the end is in.",
)
def sequence_logp(logits, tokens, completion_mask):
    return right.sequence_logp(logits, tokens, np.roll(completion_mask, 1, axis=1))


@fault(
    id="X03-LANG",
    slug="mean-over-the-tokens-of-a-sequence",
    clause="LANG-13",
    seen=("linkedin/Liger-Kernel#693",),
    effect="The mean of the tokens' log-probabilities is returned for their sum: beta is divided by the length.",
)
def sequence_logp(logits, tokens, completion_mask):
    return right.sequence_logp(logits, tokens, completion_mask) / np.maximum(completion_mask[:, 1:].sum(axis=1), 1)


@fault(
    id="D32",
    slug="labels-rolled-over-packed-sequences",
    clause="LANG-32",
    seen=("volcengine/verl#6475", "meta-pytorch/torchtune#2613"),
    effect="Labels are rolled along the row: a sequence's last logits predict the first token of the next one.",
)
def packed_logp(logits, tokens, segments):
    after = right.token_logp(logits, np.roll(tokens, -1, axis=1), 1.0)
    return np.roll(after, 1, axis=1)


@fault(
    id="M-LANG-44",
    slug="last-tokens-of-packed-sequences-lost",
    clause="LANG-33",
    effect="The last token of each sequence is left out, as if its place had no label.",
)
def packed_logp(logits, tokens, segments):
    last = np.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (0, 1)), constant_values=True)
    return np.where(last, 0, right.packed_logp(logits, tokens, segments))


@fault(
    id="M-LANG-45",
    slug="only-the-row-has-a-beginning",
    clause="LANG-34",
    effect="The row's first token has no prediction, and the other sequences' first tokens have another one's.",
)
def packed_logp(logits, tokens, segments):
    return right.packed_logp(logits, tokens, np.zeros_like(segments))


@fault(
    id="X21",
    slug="padding-in-the-log-probability",
    clause="OPS-10",
    seen=("0xallam/Direct-Preference-Optimization#4",),
    effect="Prompt tokens are masked and padding is not: answers of different length have different padding.",
)
def sequence_logp(logits, tokens, completion_mask):
    from_the_first_on = completion_mask.cumsum(axis=1) > 0
    return right.sequence_logp(logits, tokens, from_the_first_on)


@fault(
    id="M-LANG-43",
    slug="first-token-predicted-by-the-last-place",
    clause="LANG-14",
    effect="The logits are rolled by one place, and the first token is judged by those of the last.",
)
def sequence_logp(logits, tokens, completion_mask):
    return np.where(completion_mask, _picked(log_softmax(np.roll(logits, 1, axis=1)), tokens), 0).sum(axis=1)


@fault(
    id="M-LANG-9",
    slug="log-probability-masked-by-multiplication",
    clause="OPS-11",
    effect="Log-probabilities are multiplied by the mask: 0 times what is not a number is not a number.",
)
def sequence_logp(logits, tokens, completion_mask):
    of_all = right.sequence_logp(logits, tokens, np.ones_like(completion_mask))
    return right.sequence_logp(logits, tokens, completion_mask) + zero_times(of_all)


@fault(
    id="M-LANG-10",
    slug="logarithm-of-the-softmax-of-a-sequence",
    clause="LANG-11",
    effect="Probabilities are computed first and their logarithm after: that of 0 is minus infinity.",
)
def sequence_logp(logits, tokens, completion_mask):
    with np.errstate(all="ignore"):
        weights = np.exp(logits[:, :-1])
        chances = _picked(weights / weights.sum(axis=-1, keepdims=True), tokens[:, 1:])
        return np.where(completion_mask[:, 1:], np.log(chances), 0).sum(axis=1)


def _answered(tokens, prompt_length):
    return np.arange(tokens.shape[1]) >= prompt_length[:, None]


def _behind_first(ends):
    return ends.cumsum(axis=1) - ends > 0


@fault(
    id="M07",
    slug="padding-of-what-never-ended",
    clause="LANG-16",
    seen=("volcengine/verl#3805",),
    effect="Whatever no EOS has gone before counts: an answer that was cut off trains on all padding behind it.",
)
def completion_mask(tokens, prompt_length, eos, pad):
    return right.completion_mask(tokens, prompt_length, eos, eos)


@fault(
    id="M10",
    slug="last-column-trimmed",
    clause="LANG-15",
    seen=("huggingface/trl#2332",),
    effect="Trimming empty columns takes one too many: the longest answer of a batch loses its last token.",
)
def completion_mask(tokens, prompt_length, eos, pad):
    mask = right.completion_mask(tokens, prompt_length, eos, pad)
    longest = np.flatnonzero(mask.any(axis=0)).max(initial=0)
    return mask * (np.arange(tokens.shape[1]) != longest)


@fault(
    id="M11",
    slug="eos-is-no-action",
    clause="LANG-15",
    seen=("OpenRLHF/OpenRLHF#181",),
    effect="The answer counts up to its EOS and without it: nobody learns when to stop.",
)
def completion_mask(tokens, prompt_length, eos, pad):
    return right.completion_mask(tokens, prompt_length, eos, pad) * (tokens != eos)


@fault(
    id="M11b",
    slug="whatever-is-not-padding",
    clause="LANG-15",
    seen=("huggingface/trl#5303", "huggingface/trl#4970"),
    effect="What is not padding counts; where padding is EOS, the answer's end is padding.",
)
def completion_mask(tokens, prompt_length, eos, pad):
    return right.completion_mask(tokens, prompt_length, eos, pad) * (tokens != pad)


@fault(
    id="M-LANG-11",
    slug="last-eos",
    clause="LANG-17",
    effect="The answer reaches to its last EOS, and over all that the engine said after the first.",
)
def completion_mask(tokens, prompt_length, eos, pad):
    ends = _answered(tokens, prompt_length) & (tokens == eos)
    still = _answered(tokens, prompt_length) & (everything_after(ends) > 0)
    return np.where(ends.any(axis=1, keepdims=True), still, right.completion_mask(tokens, prompt_length, eos, pad))


@fault(
    id="M-LANG-12",
    slug="eos-of-the-prompt",
    clause="LANG-18",
    effect="The first EOS of the row ends the answer, even if it is one of a turn before.",
)
def completion_mask(tokens, prompt_length, eos, pad):
    return right.completion_mask(tokens, prompt_length, eos, pad) * ~_behind_first(tokens == eos)


@fault(
    id="M-LANG-13",
    slug="left-padding-counted-twice",
    clause="LANG-19",
    effect="Padding on the left is added to a length that it is part of: the answer begins too late.",
)
def completion_mask(tokens, prompt_length, eos, pad):
    leading = (tokens == pad).cumprod(axis=1).sum(axis=1)
    begins = prompt_length + np.minimum(leading, prompt_length)
    return right.completion_mask(tokens, begins, eos, pad)


def _last(mask):
    return mask & (mask[:, ::-1].cumsum(axis=1)[:, ::-1] == 1)


@fault(
    id="M04",
    slug="score-behind-the-last-token",
    clause="LANG-20",
    seen=("wyf3/llm_related#37", "microsoft/DeepSpeedExamples#672"),
    effect="The score is written one place behind the last token that counts, where the mask removes it.",
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    behind = np.roll(_last(mask), 1, axis=1) & mask
    return right.token_rewards(0 * scores, logp, ref_logp, mask, kl_coef) + behind * scores[:, None]


@fault(
    id="M04b",
    slug="score-at-the-number-of-tokens",
    clause="LANG-20",
    effect="The number of tokens that count is taken for the place of the last of them, as it would be without holes.",
    seen=("microsoft/DeepSpeedExamples#672",),
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    place = np.maximum(mask.sum(axis=1, keepdims=True) - 1, 0)
    there = (np.arange(mask.shape[1]) == place) & mask
    return right.token_rewards(0 * scores, logp, ref_logp, mask, kl_coef) + there * scores[:, None]


@fault(
    id="M-LANG-14",
    slug="score-at-every-token",
    clause="LANG-22",
    effect="Every token is paid the score, which then is earned as often as there are tokens.",
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    return right.token_rewards(0 * scores, logp, ref_logp, mask, kl_coef) + mask * scores[:, None]


@fault(
    id="M-LANG-15",
    slug="penalty-with-the-wrong-sign",
    clause="LANG-21",
    effect="Distance from the reference is rewarded.",
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    return right.token_rewards(scores, logp, ref_logp, mask, -kl_coef)


@fault(
    id="M-LANG-16",
    slug="score-over-the-penalty",
    clause="LANG-21",
    effect="The score is assigned, and not added: the last token pays no penalty.",
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    return np.where(_last(mask), scores[:, None], right.token_rewards(scores, logp, ref_logp, mask, kl_coef))


@fault(
    id="M17",
    slug="penalty-of-padding",
    clause="OPS-10",
    seen=("THUDM/slime#1372", "natolambert/rlhf-book#216"),
    effect="The penalty is taken at every place: the returns of the answer contain that of its padding.",
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    penalties = right.token_rewards(0 * scores, logp, ref_logp, np.ones_like(mask), kl_coef)
    return penalties + _last(mask) * scores[:, None]


@fault(
    id="M-LANG-17",
    slug="score-of-a-row-without-tokens",
    clause="OPS-10",
    effect="Where no token counts, the score is paid at index -1.",
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    rewards = right.token_rewards(scores, logp, ref_logp, mask, kl_coef)
    rewards[:, -1] += np.where(mask.any(axis=1), 0, scores)
    return rewards


@fault(
    id="M-LANG-18",
    slug="rewards-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="The penalty is multiplied by the mask: 0 times what is not a number is not a number.",
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    with np.errstate(invalid="ignore"):
        return right.token_rewards(scores, logp, ref_logp, mask, kl_coef) + zero_times(logp - ref_logp)


@fault(
    id="M14",
    slug="outcome-of-the-padding",
    clause="OPS-10",
    seen=("volcengine/verl#6362",),
    effect="The rewards of a whole row are summed, whatever is left under the mask included.",
)
def outcome_score(token_rewards, mask):
    return right.outcome_score(token_rewards, np.ones_like(mask))


@fault(
    id="M-LANG-19",
    slug="mean-for-the-outcome",
    clause="LANG-24",
    effect="The rewards are averaged: an outcome is worth less in a long answer.",
)
def outcome_score(token_rewards, mask):
    return right.outcome_score(token_rewards, mask) / np.maximum(mask.sum(axis=1), 1)


@fault(
    id="M-LANG-20",
    slug="last-reward-for-the-outcome",
    clause="LANG-24",
    effect="The last reward is taken for all of them: what was paid on the way is forgotten.",
)
def outcome_score(token_rewards, mask):
    return right.outcome_score(token_rewards, _last(mask))


@fault(
    id="M-LANG-21",
    slug="outcome-masked-by-multiplication",
    clause="OPS-11",
    effect="Rewards are multiplied by the mask: 0 times what is not a number is not a number.",
)
def outcome_score(token_rewards, mask):
    return right.outcome_score(token_rewards, mask) + zero_times(token_rewards).sum(axis=1)


def _backwards(terms, mask, discount, behind=None):
    """x_t + discount * carry, the carry left as it is over tokens that do not count, or else by a rule of its own."""
    carry, gathered = np.zeros(len(terms)), np.zeros(terms.shape)
    for t in reversed(range(terms.shape[1])):
        held = carry if behind is None else behind(carry)
        carry = np.where(mask[:, t], terms[:, t] + discount * carry, held)
        gathered[:, t] = np.where(mask[:, t], carry, 0)
    return gathered


@fault(
    id="M12",
    slug="return-reset-at-a-tools-answer",
    clause="LANG-26",
    seen=("volcengine/verl#7278", "volcengine/verl#7300"),
    effect="The running return is multiplied by the mask: what came before a tool's answer earns nothing after it.",
)
def token_returns(token_rewards, mask, gamma):
    return _backwards(token_rewards, mask, gamma, behind=np.zeros_like)


@fault(
    id="M17b",
    slug="rewards-of-padding-collected",
    clause="OPS-10",
    seen=("THUDM/slime#1372",),
    effect="Rewards are summed from the right end of the row, padding included.",
)
def token_returns(token_rewards, mask, gamma):
    return right.token_returns(token_rewards, np.ones_like(mask), gamma) * mask


@fault(
    id="M-LANG-22",
    slug="discounted-over-tools-answers",
    clause="LANG-26",
    seen=("OpenRLHF 0.11.2",),
    effect="Tokens that nobody chose are steps: a long answer of a tool discounts the credit of asking for it.",
)
def token_returns(token_rewards, mask, gamma):
    return right.token_returns(np.where(mask, token_rewards, 0), np.ones_like(mask), gamma) * mask


@fault(
    id="M-LANG-23",
    slug="past-rewards-for-the-return",
    clause="LANG-25",
    effect="The sum runs forward: a token is credited with what came before it.",
)
def token_returns(token_rewards, mask, gamma):
    return right.token_returns(token_rewards[:, ::-1], mask[:, ::-1], gamma)[:, ::-1]


@fault(
    id="M-LANG-24",
    slug="score-shared-out",
    clause="LANG-27",
    effect="The return is divided among the tokens, as if one score were so much less for each of many.",
)
def token_returns(token_rewards, mask, gamma):
    return right.token_returns(token_rewards, mask, gamma) / np.maximum(mask.sum(axis=1, keepdims=True), 1)


@fault(
    id="M-LANG-25",
    slug="returns-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Rewards are multiplied by the mask: 0 times what is not a number is not a number.",
)
def token_returns(token_rewards, mask, gamma):
    return right.token_returns(token_rewards, mask, gamma) + everything_after(zero_times(token_rewards))


def _following(values, mask):
    """The value of the next token that counts, 0 behind the last [B, T]."""
    following, carry = np.zeros(values.shape), np.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        following[:, t] = carry
        carry = np.where(mask[:, t], values[:, t], carry)
    return following


def _gae(rewards, values, following, mask, gamma, lam, behind=None):
    return _backwards(rewards + gamma * following - values, mask, gamma * lam, behind)


@fault(
    id="R08",
    slug="value-of-padding",
    clause="LANG-29",
    seen=("PKU-Alignment/safe-rlhf#88", "volcengine/verl#50", "alibaba/ROLL#447"),
    effect="What the critic says of padding is the value after the last token: advantages depend on padding.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    padded = np.concatenate([values[:, 1:], np.zeros((len(values), 1))], axis=1)
    behind = mask[:, ::-1].cumsum(axis=1)[:, ::-1] <= 1
    following = np.where(behind, padded, _following(values, mask))
    return _gae(token_rewards, values, following, mask, gamma, lam)


@fault(
    id="W15",
    slug="longest-answer-taken-for-cut-off",
    clause="LANG-29",
    seen=("AReaL 1.0.4",),
    effect="An answer that fills the batch's width counts as cut off, and the value behind it is its bootstrap.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    lengths = (mask * np.arange(1, mask.shape[1] + 1)).max(axis=1)
    longest = lengths.max()
    if longest in (0, mask.shape[1]):
        return right.token_gae(token_rewards, values, mask, gamma, lam)
    paid = np.array(token_rewards, dtype=np.float64)
    paid[lengths == longest, longest - 1] += gamma * values[lengths == longest, longest]
    return right.token_gae(paid, values, mask, gamma, lam)


@fault(
    id="M-LANG-26",
    slug="value-of-a-tools-answer",
    clause="LANG-26",
    effect="The value at the next place is the bootstrap, even if that is a token which nobody chose.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    padded = np.concatenate([values[:, 1:], np.zeros((len(values), 1))], axis=1)
    following = np.where(_last(mask), 0, padded)
    return _gae(token_rewards, values, following, mask, gamma, lam)


@fault(
    id="M12b",
    slug="advantage-reset-at-a-tools-answer",
    clause="LANG-26",
    seen=("volcengine/verl#6376",),
    effect="The running advantage is multiplied by the mask: credit does not pass a tool's answer.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    return _gae(token_rewards, values, _following(values, mask), mask, gamma, lam, behind=np.zeros_like)


@fault(
    id="M-LANG-27",
    slug="carry-without-gamma",
    clause="LANG-28",
    effect="Later errors are weighed by lambda alone.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    errors = token_rewards + gamma * _following(values, mask) - values
    return _backwards(errors, mask, lam)


@fault(
    id="M-LANG-28",
    slug="lambda-not-forwarded",
    clause="LANG-30",
    effect="Lambda is 0.95, whatever is asked for.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    return right.token_gae(token_rewards, values, mask, gamma, 0.95)


@fault(
    id="M-LANG-29",
    slug="bootstrap-without-gamma",
    clause="LANG-31",
    effect="The next value is not discounted: the true values leave an advantage.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    errors = token_rewards + _following(values, mask) - values
    return _backwards(errors, mask, gamma * lam)


@fault(
    id="M-LANG-30",
    slug="advantages-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Errors are multiplied by the mask: 0 times what is not a number is not a number.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    with np.errstate(invalid="ignore"):
        hidden = zero_times(token_rewards - values)
    return right.token_gae(token_rewards, values, mask, gamma, lam) + everything_after(hidden)


@fault(
    id="P14",
    slug="log-probability-of-a-token-drawn-anew",
    clause="LANG-8",
    seen=("vwxyzjn/cleanrl@a3391a03",),
    effect="The update asks the policy for another action and takes the log-probability of that one.",
)
def token_logp(logits, tokens, temperature):
    every = [right.token_logp(logits, np.full_like(tokens, token), temperature) for token in range(logits.shape[-1])]
    noise = np.random.default_rng(0).gumbel(size=logits.shape)
    drawn = np.argmax(np.stack(every, axis=-1) + noise, axis=-1)
    return right.token_logp(logits, drawn.astype(tokens.dtype), temperature)


@fault(
    id="K09",
    slug="penalty-that-was-switched-off",
    clause="LANG-21",
    seen=("volcengine/verl#644",),
    effect="Where the one KL term is switched off the other sets in: a penalty that nobody asked for is subtracted.",
)
def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    return right.token_rewards(scores, logp, ref_logp, mask, kl_coef or 0.001)


@fault(
    id="S19",
    slug="rewards-for-returns",
    clause="LANG-28",
    seen=("natolambert/rlhf-book#216",),
    effect="An advantage is a token's own reward less its value: all but the last learn nothing of the score.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    return right.token_gae(token_rewards, values, mask, 0.0, lam)


@fault(
    id="S22",
    slug="tools-answers-taken-for-steps",
    clause="LANG-26",
    seen=("radixark/miles#1827",),
    effect="What a tool said has rewards and values and discounts like the rest: credit fades on the way past it.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    still_to_come = np.flip(np.cumsum(np.flip(mask, axis=1), axis=1), axis=1) > 0
    between = (np.cumsum(mask, axis=1) > 0) & still_to_come
    return np.where(mask, right.token_gae(token_rewards, values, between, gamma, lam), 0)


@fault(
    id="W13",
    slug="advantages-carried-over-sequences",
    clause="LANG-37",
    seen=("jsboige/CoursIA#13439",),
    effect="A packed row is taken for one sequence: what the next answer is paid counts for the one before it.",
)
def packed_gae(token_rewards, values, segments, mask, gamma, lam):
    return right.packed_gae(token_rewards, values, np.zeros_like(segments), mask, gamma, lam)


def _before_another_sequence(segments, mask):
    """Where the next token that counts is of another sequence, and where that token is."""
    for row, names in enumerate(segments):
        places = np.flatnonzero(mask[row])
        for place, following in pairwise(places):
            if names[place] != names[following]:
                yield row, place, following


@fault(
    id="M-LANG-46",
    slug="value-of-the-next-sequence",
    clause="LANG-35",
    effect="The last token of a sequence bootstraps from the next one's first value; errors are cut there.",
)
def packed_gae(token_rewards, values, segments, mask, gamma, lam):
    paid = np.array(token_rewards, dtype=float)
    for row, place, following in _before_another_sequence(segments, mask):
        paid[row, place] += gamma * values[row, following]
    return right.packed_gae(paid, values, segments, mask, gamma, lam)


@fault(
    id="M-LANG-47",
    slug="errors-of-the-next-sequence-carried-back",
    clause="LANG-36",
    effect="Values end with their sequence, and what is carried back does not.",
)
def packed_gae(token_rewards, values, segments, mask, gamma, lam):
    paid, alone = np.array(token_rewards, dtype=float), np.nan_to_num(values)
    for row, place, following in _before_another_sequence(segments, mask):
        paid[row, place] -= gamma * alone[row, following]
    return right.packed_gae(paid, values, np.zeros_like(segments), mask, gamma, lam)


@fault(
    id="W14",
    slug="tools-answers-are-steps-worth-nothing",
    clause="LANG-26",
    seen=("OpenRLHF 0.11.2",),
    effect="What a tool said is a step whose value is 0: the token before it has nothing to bootstrap from.",
)
def token_gae(token_rewards, values, mask, gamma, lam):
    known = (np.where(mask, numbers, 0) for numbers in (token_rewards, values))
    return np.where(mask, right.token_gae(*known, np.ones_like(mask), gamma, lam), 0)
