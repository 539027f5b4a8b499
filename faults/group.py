"""How group-relative advantages, and the losses that are made of them, go wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import full_rows, unless_empty, with_zero_times, zero_times
from rlspec.faults.advantages import with_float32_correction


def _company(groups):
    """Which samples are in the same group, [N, N], and how many are in each sample's."""
    together = groups[:, None] == groups
    return together, together.sum(axis=1)


def _spread(rewards, groups, ddof=1):
    """The standard deviation of each sample's group."""
    together, size = _company(groups)
    squares = (rewards[:, None] - rewards) ** 2 * together
    return np.sqrt((together @ squares.sum(axis=1)) / (2 * size * np.maximum(size - ddof, 1)))


def _scaled_by(spread, rewards, groups, baseline, scale):
    """The advantages, divided by a spread of another kind."""
    above = right.group_advantages(rewards, groups, baseline, "none")
    return above / (spread + 1e-6) if scale == "std" else above


@fault(
    id="A01",
    slug="groups-by-place",
    clause="GRP-2",
    seen=("google/tunix#820", "google/tunix#816", "StarsfieldAI/R1-V#67", "PrimeIntellect-ai/prime-rl#600"),
    effect="Samples are cut into stretches of a group's size, though the prompts take turns: groups mix prompts.",
)
def group_advantages(rewards, groups, baseline, scale):
    _, sizes = np.unique(groups, return_counts=True)
    return right.group_advantages(rewards, np.arange(len(groups)) // sizes[0], baseline, scale)


@fault(
    id="A07",
    slug="only-the-first-groups",
    clause="GRP-3",
    seen=("inclusionAI/AReaL#225", "inclusionAI/AReaL@0b0d4eda9"),
    effect="A loop in steps of the group's size is taken for one over groups: only the first are compared at all.",
)
def group_advantages(rewards, groups, baseline, scale):
    return np.where(groups == groups[0], right.group_advantages(rewards, groups, baseline, scale), rewards)


@fault(
    id="A09",
    slug="divided-by-the-spread-of-the-others",
    clause="GRP-8",
    seen=("NVIDIA-NeMo/RL#1518", "NVIDIA-NeMo/RL#1519", "NVIDIA-NeMo/RL#4158", "NVIDIA-NeMo/RL#4161"),
    effect="The one right answer among wrong ones is divided by the spread of those, which is 0: a million.",
)
def group_advantages(rewards, groups, baseline, scale):
    spreads = np.zeros(len(rewards))
    for place, own in enumerate(groups):
        others = rewards[(groups == own) & (np.arange(len(groups)) != place)]
        spreads[place] = others.std(ddof=1) if len(others) > 1 else 0.0
    return _scaled_by(spreads, rewards, groups, baseline, scale)


@fault(
    id="A12b",
    slug="group-variance-by-cancellation",
    clause="GRP-9",
    seen=("NousResearch/atropos#481",),
    effect="E[x^2] - E[x]^2 of equal rewards may be negative, and its root is not a number.",
)
def group_advantages(rewards, groups, baseline, scale):
    together, size = _company(groups)
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(together @ rewards**2 / size - (together @ rewards / size) ** 2)
        return _scaled_by(spread, rewards, groups, baseline, scale)


@fault(
    id="A14",
    slug="a-group-of-one-is-not-a-number",
    clause="GRP-10",
    seen=("volcengine/verl#7581", "volcengine/verl#7793", "volcengine/verl#7794"),
    effect="A group of one is divided by G - 1: one path of a library answers 0 or NaN where another has the reward.",
)
def group_advantages(rewards, groups, baseline, scale):
    _, size = _company(groups)
    return np.where(size > 1, right.group_advantages(rewards, groups, baseline, scale), np.nan)


@fault(
    id="A15",
    slug="scale-not-forwarded",
    clause="GRP-16",
    seen=("volcengine/verl#7893", "axolotl-ai-cloud/axolotl#3731"),
    effect="Whether to divide by the spread is not passed on: whoever switches it off trains with it all the same.",
)
def group_advantages(rewards, groups, baseline, scale):
    return right.group_advantages(rewards, groups, baseline, "std")


@fault(
    id="A21",
    slug="own-reward-in-the-baseline",
    clause="GRP-7",
    seen=("redai-studio/Relax#174", "areal-project/AReaL#354"),
    effect="The mean that is called leave-one-out contains one's own reward: the gradient is short by 1 / G.",
)
def group_advantages(rewards, groups, baseline, scale):
    return right.group_advantages(rewards, groups, "mean", scale)


@fault(
    id="M-GRP-1",
    slug="baseline-of-the-whole-batch",
    clause="GRP-1",
    effect="Rewards are compared across prompts: an easy prompt's wrong answers count as good ones.",
)
def group_advantages(rewards, groups, baseline, scale):
    return right.group_advantages(rewards, np.zeros(len(groups)), baseline, scale)


@fault(
    id="M-GRP-2",
    slug="best-of-the-group-as-baseline",
    clause="GRP-4",
    effect="The baseline is the group's best: no advantage is positive, and all that was said is unlearned.",
)
def group_advantages(rewards, groups, baseline, scale):
    together, _ = _company(groups)
    best = np.where(together, rewards, -np.inf).max(axis=1)
    return right.group_advantages(rewards, groups, baseline, scale) - 0.1 * best


@fault(
    id="M-GRP-3",
    slug="rewards-without-a-baseline",
    clause="GRP-5",
    effect="Rewards are divided by their spread and not centred: a reward of 1 for everyone is a push.",
)
def group_advantages(rewards, groups, baseline, scale):
    return rewards / (_spread(rewards, groups) + 1e-6) if scale == "std" else rewards * 1.0


@fault(
    id="M-GRP-4",
    slug="divided-by-the-variance",
    clause="GRP-6",
    effect="The root is forgotten: differences are divided by the variance.",
)
def group_advantages(rewards, groups, baseline, scale):
    return _scaled_by(_spread(rewards, groups) ** 2, rewards, groups, baseline, scale)


@fault(
    id="M-GRP-5",
    slug="equal-rewards-keep-their-reward",
    clause="GRP-9",
    effect="A group without a spread is left as it is, instead of having nothing to say.",
)
def group_advantages(rewards, groups, baseline, scale):
    advantages = right.group_advantages(rewards, groups, baseline, scale)
    return np.where(_spread(rewards, groups) == 0, rewards, advantages)


@fault(
    id="M-GRP-6",
    slug="residue-of-the-mean-divided-by-its-spread",
    clause="GRP-9",
    effect="Nothing keeps the spread of equal rewards from being rounding: 0.1 three times gives advantages of 1.",
)
def group_advantages(rewards, groups, baseline, scale):
    answers = np.zeros(len(rewards))
    for own in set(groups.tolist()):
        known = rewards[groups == own]
        mean = sum(known.tolist()) / len(known)
        spread = np.sqrt(sum((known - mean) ** 2) / max(len(known) - 1, 1))
        above = (known - mean) * (len(known) / max(len(known) - 1, 1) if baseline == "leave-one-out" else 1)
        answers[groups == own] = above / (spread or 1.0) if scale == "std" else above
    return answers


@fault(
    id="M-GRP-7",
    slug="ids-used-as-places",
    clause="GRP-3",
    effect="Ids are taken for numbers from 0 on: others overwrite each other's groups, and names have none.",
)
def group_advantages(rewards, groups, baseline, scale):
    return right.group_advantages(rewards, np.asarray(groups).astype(int) % 2, baseline, scale)


@fault(
    id="M-GRP-8",
    slug="truth-values-subtracted",
    clause="GRP-11",
    effect="Verdicts come as truth values, which are not subtracted but compared.",
)
def group_advantages(rewards, groups, baseline, scale):
    if rewards.dtype == bool:
        rewards = rewards | True
    return right.group_advantages(rewards * 1.0, groups, baseline, scale)


@fault(
    id="M-GRP-61",
    slug="standard-error-for-the-spread",
    clause="GRP-17",
    effect="The spread is that of the group's mean: the larger the group, the larger the step.",
)
def group_advantages(rewards, groups, baseline, scale):
    _, size = _company(groups)
    return _scaled_by(_spread(rewards, groups) / np.sqrt(size), rewards, groups, baseline, scale)


@fault(
    id="M-GRP-62",
    slug="nothing-over-next-to-nothing",
    clause="GRP-9",
    effect="In float32 what rounding leaves of equal rewards is divided by its own spread and 1e-9: -0.83 of nothing.",
)
def group_advantages(rewards, groups, baseline, scale):
    advantages = np.zeros(len(rewards), rewards.dtype)
    for group in set(groups.tolist()):
        known = rewards[groups == group]
        size = len(known)
        above = known - (sum(known[1:], known[0]) / rewards.dtype.type(size) if size > 1 else known)
        if baseline == "leave-one-out":
            above = above * (size / max(size - 1, 1))
        spread = np.sqrt((above**2).sum() / max(size - 1, 1)) * (max(size - 1, 1) / size if baseline != "mean" else 1)
        advantages[groups == group] = above / (spread + rewards.dtype.type(1e-9)) if scale == "std" else above
    return advantages


@fault(
    id="M-GRP-10",
    slug="advantages-cut-to-one",
    clause="GRP-16",
    effect="Advantages are cut to [-1, 1], and their mean is that of no reward.",
)
def group_advantages(rewards, groups, baseline, scale):
    return np.clip(right.group_advantages(rewards, groups, baseline, scale), -0.25, 0.25)


def _centred(rewards, groups, baseline):
    return right.group_advantages(rewards, groups, "mean", "none") if baseline == "mean" else rewards


@fault(
    id="A23b",
    slug="whole-batch-in-shards",
    clause="GRP-20",
    seen=("THUDM/slime#2235", "radixark/miles#3229"),
    effect="Each shard is normalised by its own statistics: two transformations of one batch.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    centred = _centred(rewards, groups, baseline)
    half = (len(rewards) + 1) // 2
    shards = [part for part in (centred[:half], centred[half:]) if len(part)]
    return np.concatenate([right.reinforce_plus_plus_advantages(part, 0 * part, "none") for part in shards])


@fault(
    id="M-GRP-11",
    slug="group-spread-for-the-batch",
    clause="GRP-19",
    effect="Groups are normalised one by one, as GRPO does, and what is called global is not.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    return right.group_advantages(rewards, groups, "mean", "std")


@fault(
    id="M-GRP-12",
    slug="batch-not-centred",
    clause="GRP-20",
    effect="The batch is divided by its spread, and its mean is left in.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    mean = _centred(rewards, groups, baseline).mean()
    return right.reinforce_plus_plus_advantages(rewards, groups, baseline) + mean


@fault(
    id="M-GRP-13",
    slug="baseline-that-nobody-asked-for",
    clause="GRP-19",
    effect="The group's mean is subtracted whether or not it is the baseline.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    return right.reinforce_plus_plus_advantages(rewards, groups, "mean")


def _kept(mask, *arrays):
    return tuple(np.where(mask, array, 0) for array in arrays)


def _clipped(ratio, advantages, clip_low, clip_high):
    """min(r A, clip(r) A) of each token and its derivative in log r."""
    advantages = np.broadcast_to(advantages[:, None], ratio.shape)
    held = np.where(advantages > 0, ratio > 1 + clip_high, (advantages < 0) & (ratio < 1 - clip_low))
    bound = np.where(advantages > 0, 1 + clip_high, 1 - clip_low)
    return np.where(held, bound, ratio) * advantages, np.where(held, 0, ratio) * advantages


def _ratio(logp, old_logp, mask):
    logp, old_logp = _kept(mask, logp, old_logp)
    return np.exp(logp - old_logp)


def _lengths(mask):
    return np.maximum(mask.sum(axis=1, keepdims=True), 1)


def _loss(terms, weights, mask):
    """Minus the sum of each token's value times its weight, and the derivatives."""
    value, slope = terms
    return -np.where(mask, weights * value, 0).sum(), -np.where(mask, weights * slope, 0) + 0.0


def _by_row(mask):
    return 1 / _lengths(mask) / len(mask)


def _by_token(mask):
    return 1 / max(mask.sum(), 1)


def _share_of_rows(mask):
    """What a token counts for in a mean of means of rows, as a multiple of what it counts for in one over tokens."""
    return max(mask.sum(), 1) / _lengths(mask)[:, 0] / len(mask)


def _k3(logp, ref_logp, mask):
    """k3 of each token and its derivative in log pi."""
    logp, ref_logp = _kept(mask, logp, ref_logp)
    behind = ref_logp - logp
    return np.exp(behind) - behind - 1, 1 - np.exp(behind)


def _with_kl(terms, k3, kl_coef):
    return tuple(term - kl_coef * part for term, part in zip(terms, k3, strict=True))


def _surrogate(logp, old_logp, advantages, mask, clip_low, clip_high):
    return _clipped(_ratio(logp, old_logp, mask), advantages, clip_low, clip_high)


def _and_its_kl(answer, loss, logp, old_logp, ref_logp, advantages, *rest):
    """An answer without a KL term, and what the right loss adds for it."""
    added = loss(logp, old_logp, ref_logp, 0 * advantages, *rest)
    return tuple(part + more for part, more in zip(answer, added, strict=True))


def _grpo_terms(logp, old_logp, ref_logp, advantages, mask, clip_low, clip_high, kl_coef):
    terms = _surrogate(logp, old_logp, advantages, mask, clip_low, clip_high)
    return _with_kl(terms, _k3(logp, ref_logp, mask), kl_coef)


@fault(
    id="N09",
    slug="kl-over-tokens-and-surrogate-over-rows",
    clause="GRP-22",
    seen=("huggingface/trl#2995", "huggingface/trl#2881", "huggingface/trl#3187"),
    effect="The surrogate is a mean of means and the KL one over tokens: the coefficient depends on the lengths.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, 0.0)
    k3, d_k3 = _loss(_k3(logp, ref_logp, mask), _by_token(mask), mask)
    return loss - kl_coef * k3, slopes - kl_coef * d_k3


@fault(
    id="N10c",
    slug="kl-averaged-over-the-padding",
    clause="OPS-10",
    seen=("allenai/open-instruct#535",),
    effect="The KL term is a mean over the padded rectangle, and shrinks with the padding.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, 0.0)
    k3, d_k3 = _loss(_k3(logp, ref_logp, mask), 1 / mask.size, mask)
    return loss - kl_coef * k3, slopes - kl_coef * d_k3


@fault(
    id="N14c",
    slug="rows-divided-by-the-padded-width",
    clause="OPS-10",
    seen=("Stable-Baselines-Team/stable-baselines3-contrib#75", "DeepX-inc/machina#198"),
    effect="A row's terms are averaged over all of its columns: padding makes the step smaller.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    terms = _grpo_terms(logp, old_logp, ref_logp, advantages, mask, clip_low, clip_high, kl_coef)
    return _loss(terms, 1 / mask.size, mask)


@fault(
    id="I09",
    slug="fused-without-the-ratio",
    clause="SUR-10",
    seen=("linkedin/Liger-Kernel#1082", "linkedin/Liger-Kernel#1088"),
    effect="The fast path takes every ratio for 1: what the old policy said is taken for what this one says.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.grpo_loss(logp, logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-14",
    slug="kl-the-other-way-round",
    clause="GRP-22",
    effect="k3 takes the ratio of the policy to the reference: the tokens that the reference likes are forgotten.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    terms = _surrogate(logp, old_logp, advantages, mask, clip_low, clip_high)
    k3, slope = _k3(ref_logp, logp, mask)
    return _loss(_with_kl(terms, (k3, -slope), kl_coef), _by_row(mask), mask)


@fault(
    id="M-GRP-15",
    slug="kl-with-a-gradient-of-its-own",
    clause="GRP-22",
    effect="The value of the KL term is k3 and its gradient that of k2.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    terms = _surrogate(logp, old_logp, advantages, mask, clip_low, clip_high)
    k3, _ = _k3(logp, ref_logp, mask)
    first, second = _kept(mask, logp, ref_logp)
    return _loss(_with_kl(terms, (k3, first - second), kl_coef), _by_row(mask), mask)


@fault(
    id="M-GRP-16",
    slug="kl-without-its-coefficient",
    clause="SUR-17",
    effect="The coefficient decides only whether there is a KL term, or not even that.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, 0.5)


@fault(
    id="M-GRP-17",
    slug="pessimism-forgotten",
    clause="SUR-11",
    effect="The clipped ratio stands alone, without the minimum: what has gone the wrong way stays there.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    ratio = _ratio(logp, old_logp, mask)
    kept = np.clip(ratio, 1 - clip_low, 1 + clip_high)
    credit = advantages[:, None]
    terms = kept * credit, np.where(kept == ratio, ratio, 0) * credit
    return _loss(_with_kl(terms, _k3(logp, ref_logp, mask), kl_coef), _by_row(mask), mask)


@fault(
    id="M-GRP-18",
    slug="gradient-of-an-empty-row",
    clause="OPS-10",
    effect="A row without tokens is divided by its length: 0 / 0.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    return loss if mask.any(axis=1).all() else np.nan, slopes


@fault(
    id="N07",
    slug="sum-over-rows",
    clause="GRP-23",
    seen=("volcengine/verl#3741",),
    effect="The sum is divided by the fixed length and not by the number of rows: the step grows with the batch.",
)
def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    answer = right.dr_grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length
    )
    return tuple(part * len(mask) for part in answer)


@fault(
    id="N12",
    slug="divided-by-the-rows-own-length",
    clause="GRP-31",
    seen=("huggingface/trl#3138", "volcengine/verl#2435", "stanford-cs336/assignment5-alignment#10"),
    effect="A row is divided by its own length: what a token is worth depends on how many there are.",
)
def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    credit = advantages * length / _lengths(mask)[:, 0]
    return right.dr_grpo_loss(logp, old_logp, ref_logp, credit, groups, mask, clip_low, clip_high, kl_coef, length)


@fault(
    id="M-GRP-19",
    slug="longest-row-for-the-fixed-length",
    clause="OPS-10",
    effect="The fixed length is the width of the batch, which the longest of its rows decides.",
)
def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    return right.dr_grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, mask.shape[1]
    )


@fault(
    id="M-GRP-20",
    slug="two-batches-are-two-steps",
    clause="SUR-15",
    effect="The sum over rows is divided by the root of their number: a batch given twice is a larger one.",
)
def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    answer = right.dr_grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length
    )
    return tuple(part * np.sqrt(len(mask)) for part in answer)


@fault(
    id="I03c",
    slug="cispo-under-the-name-of-dapo",
    clause="SUR-11",
    seen=("huggingface/trl#4499", "huggingface/trl@97ca1a256"),
    effect="An inverted condition: whoever asks for DAPO is given CISPO, and the other way round.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-21",
    slug="clip-higher-downwards",
    clause="SUR-11",
    effect="The upper and the lower clip are exchanged: what was to leave room upwards leaves it downwards.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_high, clip_low, kl_coef)


@fault(
    id="M-GRP-22",
    slug="tokens-averaged-in-their-rows",
    clause="GRP-24",
    effect="Rows are averaged first: the tokens of a long answer count for less, which is what DAPO undoes.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.dapo_loss(
        logp, old_logp, ref_logp, advantages * _share_of_rows(mask), groups, mask, clip_low, clip_high, kl_coef
    )


@fault(
    id="M-GRP-23",
    slug="advantages-divided-by-their-largest",
    clause="SUR-13",
    effect="Advantages are divided by their largest in every batch: the size of what was earned is lost.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    largest = np.abs(advantages).max() or 1.0
    return right.dapo_loss(logp, old_logp, ref_logp, advantages / largest, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-24",
    slug="ratio-of-the-first-row",
    clause="SUR-15",
    effect="The advantage of the first row is handed to all: a dimension is broadcast that should not be.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    shared = np.full_like(advantages, advantages[0])
    return right.dapo_loss(logp, old_logp, ref_logp, shared, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-25",
    slug="dapo-gradient-under-the-mask",
    clause="OPS-10",
    effect="The loss is masked, and its gradient is not: the tokens of tools are trained.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, _ = right.dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    _, slopes = right.dapo_loss(
        logp, old_logp, ref_logp, advantages, groups, np.ones_like(mask), clip_low, clip_high, kl_coef
    )
    return loss, slopes * mask.size / max(mask.sum(), 1)


@fault(
    id="M-GRP-26",
    slug="dapo-masked-by-multiplication",
    clause="OPS-11",
    seen=("trl 1.16.0",),
    effect="Terms are multiplied by the mask, which not a number survives.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    counted = right.dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    return with_zero_times(
        counted,
        right.dapo_loss(logp, old_logp, ref_logp, advantages, groups, np.ones_like(mask), clip_low, clip_high, kl_coef),
    )


@fault(
    id="M-GRP-27",
    slug="far-ratios-taken-for-one",
    clause="SUR-16",
    effect="A log-ratio beyond 20 is taken for a mistake and set to 0: what has gone furthest is pushed on.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    near = np.where(abs(logp - old_logp) > 20, old_logp, logp)
    return right.dapo_loss(near, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-28",
    slug="log-probability-of-the-new-policy-alone",
    clause="SUR-14",
    effect="The ratio is the new probability itself: a sure token counts as one that has become surer.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.dapo_loss(logp, np.zeros_like(logp), ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)


def _gspo(log_ratio, advantages, mask, clip_low, clip_high, weights=None):
    terms = _clipped(np.exp(log_ratio) + np.zeros(mask.shape), advantages, clip_low, clip_high)
    return _loss(terms, _by_row(mask) if weights is None else weights, mask)


def _sum_of_log_ratios(logp, old_logp, mask):
    logp, old_logp = _kept(mask, logp, old_logp)
    return (logp - old_logp).sum(axis=1, keepdims=True)


@fault(
    id="M-GRP-29",
    slug="ratio-of-the-whole-row",
    clause="GRP-25",
    effect="The row's ratio is the product of its tokens' and not their geometric mean: a long row is always clipped.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    answer = _gspo(_sum_of_log_ratios(logp, old_logp, mask), advantages, mask, clip_low, clip_high)
    rest = groups, mask, clip_low, clip_high, kl_coef
    return _and_its_kl(answer, right.gspo_loss, logp, old_logp, ref_logp, advantages, *rest)


@fault(
    id="M-GRP-30",
    slug="ratio-of-each-token",
    clause="GRP-25",
    effect="GRPO's loss under another name: each token has its own ratio.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-31",
    slug="gradient-of-the-sum-of-log-ratios",
    clause="SUR-10",
    effect="The 1 / |o| of the ratio's exponent is left out of the derivative: long rows move further.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    return loss, slopes * _lengths(mask)


@fault(
    id="M-GRP-32",
    slug="rows-weighed-by-their-lengths",
    clause="SUR-12",
    effect="The row's ratio is handed to its tokens, and the mean is over those: rows weigh as they are long.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.gspo_loss(
        logp, old_logp, ref_logp, advantages / _share_of_rows(mask), groups, mask, clip_low, clip_high, kl_coef
    )


@fault(
    id="I03d",
    slug="dapo-under-the-name-of-cispo",
    clause="GRP-30",
    seen=("huggingface/trl#4499", "huggingface/trl@97ca1a256"),
    effect="The other half of the inverted condition: tokens beyond the clip are forgotten after all.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-33",
    slug="weights-differentiated",
    clause="SUR-10",
    effect="The clipped ratio is not held: its own derivative, times the log-probability, pushes the wrong way.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    ratio, known = _ratio(logp, old_logp, mask), _kept(mask, logp)[0]
    kept = np.clip(ratio, 1 - clip_low, 1 + clip_high)
    credit = advantages[:, None]
    slope = kept + np.where(kept == ratio, ratio * known, 0)
    answer = _loss((kept * credit * known, slope * credit), _by_token(mask), mask)
    rest = groups, mask, clip_low, clip_high, kl_coef
    return _and_its_kl(answer, right.cispo_loss, logp, old_logp, ref_logp, advantages, *rest)


@fault(
    id="M-GRP-34",
    slug="clipped-ratio-without-the-log-probability",
    clause="GRP-30",
    effect="The loss is the clipped ratio times the advantage: beyond the clip, on either side, nothing moves.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    ratio = _ratio(logp, old_logp, mask)
    kept = np.clip(ratio, 1 - clip_low, 1 + clip_high)
    credit = advantages[:, None]
    answer = _loss((kept * credit, np.where(kept == ratio, ratio, 0) * credit), _by_token(mask), mask)
    rest = groups, mask, clip_low, clip_high, kl_coef
    return _and_its_kl(answer, right.cispo_loss, logp, old_logp, ref_logp, advantages, *rest)


@fault(
    id="M-GRP-35",
    slug="weights-without-a-clip",
    clause="GRP-30",
    effect="The ratio is not clipped: one token that has become likely outweighs the batch.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, 1.0, np.inf, kl_coef)


@fault(
    id="M-GRP-36",
    slug="cispo-averaged-in-rows",
    clause="GRP-26",
    effect="Tokens are averaged in their rows first: those of a long answer count for less.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.cispo_loss(
        logp, old_logp, ref_logp, advantages * _share_of_rows(mask), groups, mask, clip_low, clip_high, kl_coef
    )


@fault(
    id="M-GRP-37",
    slug="cispo-ascends",
    clause="SUR-12",
    effect="The sign is forgotten: the optimiser makes what paid less probable.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.cispo_loss(logp, old_logp, ref_logp, -advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-38",
    slug="gspo-without-a-clip",
    clause="GRP-25",
    effect="The row's ratio is not clipped: a row that has become likely is made likelier still.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, 1.0, np.inf, kl_coef)


@fault(
    id="M-GRP-39",
    slug="kl-coefficient-twice",
    clause="SUR-17",
    effect="The coefficient is multiplied in where the KL term is made and where it is added: it counts squared.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef**2)


def _weights_times_zero(logp, old_logp, advantages, clip_low, clip_high):
    """0 times CISPO's weight of each token, which is its derivative."""
    with np.errstate(invalid="ignore", over="ignore"):
        return zero_times(np.clip(np.exp(logp - old_logp), 1 - clip_low, 1 + clip_high) * advantages[:, None])


@fault(
    id="I71",
    slug="grpo-masked-by-multiplication",
    clause="OPS-11",
    seen=("trl 1.16.0",),
    effect="Terms are multiplied by the mask, which not a number survives.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    counted = right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    whole = right.grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, np.ones_like(mask), clip_low, clip_high, kl_coef
    )
    return with_zero_times(counted, whole)


@fault(
    id="I72",
    slug="dr-grpo-masked-by-multiplication",
    clause="OPS-11",
    seen=("trl 1.16.0",),
    effect="Terms are multiplied by the mask, which not a number survives.",
)
def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    counted = right.dr_grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length
    )
    whole = right.dr_grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, np.ones_like(mask), clip_low, clip_high, kl_coef, length
    )
    return with_zero_times(counted, whole)


@fault(
    id="I73",
    slug="gspo-masked-by-multiplication",
    clause="OPS-11",
    seen=("trl 1.16.0",),
    effect="Terms are multiplied by the mask, which not a number survives.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    counted = right.gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    whole = right.gspo_loss(
        logp, old_logp, ref_logp, advantages, groups, np.ones_like(mask), clip_low, clip_high, kl_coef
    )
    return with_zero_times(counted, whole)


@fault(
    id="I74",
    slug="cispo-masked-by-multiplication",
    clause="OPS-11",
    seen=("trl 1.16.0",),
    effect="Terms are multiplied by the mask, which not a number survives.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = with_zero_times(
        right.cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef),
        right.cispo_loss(
            logp, old_logp, ref_logp, advantages, groups, np.ones_like(mask), clip_low, clip_high, kl_coef
        ),
    )
    return loss, slopes + _weights_times_zero(logp, old_logp, advantages, clip_low, clip_high)


@fault(
    id="I75",
    slug="grpo-loss-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="The mask is multiplied in; a clamp, which lets nothing through that is no number, saves the gradient.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    whole, _ = right.grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, full_rows(mask), clip_low, clip_high, kl_coef
    )
    return loss + zero_times(whole), slopes


@fault(
    id="I76",
    slug="dr-grpo-loss-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="The mask is multiplied in; a clamp, which lets nothing through that is no number, saves the gradient.",
)
def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    loss, slopes = right.dr_grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length
    )
    whole, _ = right.dr_grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, full_rows(mask), clip_low, clip_high, kl_coef, length
    )
    return loss + zero_times(whole), slopes


@fault(
    id="I77",
    slug="gspo-row-lost-to-its-padding",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="The mask is multiplied in: padding that is no number makes the loss none, and its row learns nothing.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    whole, of_all = right.gspo_loss(
        logp, old_logp, ref_logp, advantages, groups, full_rows(mask), clip_low, clip_high, kl_coef
    )
    lost = ~np.isfinite(of_all).all(axis=1, keepdims=True)
    return loss + zero_times(whole), np.where(lost, 0, slopes)


@fault(
    id="I78",
    slug="cispo-gradient-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Padding is left out of the loss, and its derivative multiplied by 0, which not a number survives.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    return loss, slopes + _weights_times_zero(logp, old_logp, advantages, clip_low, clip_high)


@fault(
    id="I79",
    slug="dapo-of-no-tokens",
    clause="OPS-12",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of tokens even where that is 0: not a number.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return unless_empty(
        mask, right.dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    )


@fault(
    id="I80",
    slug="cispo-of-no-tokens",
    clause="OPS-12",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of tokens even where that is 0: not a number.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return unless_empty(
        mask, right.cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    )


@fault(
    id="A73",
    slug="batch-of-one-refused",
    clause="OPS-1",
    seen=("verl 0.9.1",),
    effect="A batch of one sample has no sample variance, and the call raises.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    if len(rewards) < 2:
        raise ValueError("no variance of fewer than two")
    return right.reinforce_plus_plus_advantages(rewards, groups, baseline)


@fault(
    id="A75",
    slug="batch-variance-corrected-in-float32",
    clause="OPS-4",
    seen=("verl 0.9.1",),
    effect="n / (n - 1) is a quotient of integers, and float32: a float64 answer is right to seven digits.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    return with_float32_correction(right.reinforce_plus_plus_advantages(rewards, groups, baseline))


@fault(
    id="S16",
    slug="first-of-the-group-stands-for-all",
    clause="GRP-4",
    seen=("ServiceNow/PipelineRL#54",),
    effect="Mean and spread are those of the group's first sample alone: everybody is compared with it, unscaled.",
)
def group_advantages(rewards, groups, baseline, scale):
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    return (rewards - rewards[first][group]).astype(float)


@fault(
    id="S18",
    slug="log-ratios-centred-in-each-column",
    clause="OPS-10",
    seen=("MakazhanAlpamys/Soup#723", "MakazhanAlpamys/Soup#735", "MakazhanAlpamys/Soup#744"),
    effect="The mean log-ratio of each column is subtracted, padding included: other rows, and what is masked, count.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    drift = (logp - old_logp).mean(axis=0)
    loss, slopes = right.gspo_loss(
        logp - drift, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    )
    return loss, slopes - slopes.mean(axis=0)


@fault(
    id="S21",
    slug="divergence-maximised",
    clause="GRP-22",
    seen=("Unakar/Logic-RL#58", "volcengine/verl@a65c9157"),
    effect="The divergence is subtracted from the loss: the policy is paid for leaving the reference.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, -kl_coef)


@fault(
    id="M-GRP-40",
    slug="names-in-float32",
    clause="GRP-3",
    effect="The ids of groups become float32, in which neighbours above 2^24 are one group.",
)
def group_advantages(rewards, groups, baseline, scale):
    names = groups.astype(np.float32) if groups.dtype.kind in "iu" else groups
    return right.group_advantages(rewards, names, baseline, scale)


@fault(
    id="M-GRP-41",
    slug="names-of-eight-characters",
    clause="GRP-3",
    effect="Ids are cut off behind eight characters: prompts that begin alike are one group.",
)
def group_advantages(rewards, groups, baseline, scale):
    return right.group_advantages(rewards, np.array([str(group)[:8] for group in groups]), baseline, scale)


@fault(
    id="M-GRP-42",
    slug="minus-one-is-padding",
    clause="GRP-3",
    effect="A group that is called -1 is taken for padding and learns nothing.",
)
def group_advantages(rewards, groups, baseline, scale):
    return np.where(groups == -1, 0, right.group_advantages(rewards, groups, baseline, scale))


@fault(
    id="M-GRP-43",
    slug="names-of-32-bits",
    clause="GRP-3",
    effect="Ids are cut to 32 bits: hashes that end alike are one group.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    names = groups.astype(np.int32) if groups.dtype.kind in "iu" else groups
    return right.reinforce_plus_plus_advantages(rewards, names, baseline)


@fault(
    id="M-GRP-44",
    slug="batch-variance-by-cancellation",
    clause="GRP-19",
    effect="The variance is the mean square less the squared mean, of which nothing is left where rewards are large.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    centred = right.reinforce_plus_plus_advantages(rewards, groups, baseline)
    if baseline != "none" or not centred.any():
        return centred
    honest, variance = rewards.var(), np.abs((rewards**2).mean() - rewards.mean() ** 2)
    return centred * np.sqrt((honest + 1e-8) / (variance + 1e-8))


@fault(
    id="M-GRP-45",
    slug="at-least-the-longest-row",
    clause="GRP-23",
    effect="A length below that of the longest row is taken for a mistake: the divisor depends on the answers again.",
)
def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    longest = int(mask.sum(axis=1).max())
    return right.dr_grpo_loss(
        logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, max(length, longest)
    )


@fault(
    id="M-GRP-46",
    slug="row-ratio-as-a-product",
    clause="SUR-16",
    effect="The row's ratio is a root of the product of its tokens' ratios, which overflows before the root is taken.",
)
def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    lengths = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    with np.errstate(all="ignore"):
        products = np.exp(np.where(mask, logp - old_logp, 0)).prod(axis=1, keepdims=True)
        ratios = np.log(products ** (1 / lengths))
    return right.gspo_loss(
        old_logp + ratios, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    )


@fault(
    id="M-GRP-47",
    slug="weights-of-two-at-most",
    clause="GRP-26",
    effect="An upper clip beyond 1 is cut to 1: no weight is above 2, whatever was asked for.",
)
def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, min(clip_high, 1), kl_coef)


@fault(
    id="M-GRP-48",
    slug="reference-kept-within-a-factor-of-twenty",
    clause="GRP-22",
    effect="The log-ratio to the reference is clamped at 3 before k3 is taken: who drifted far is hardly pulled back.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    near = logp + np.clip(ref_logp - logp, -3, 3)
    return right.grpo_loss(logp, old_logp, near, advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-49",
    slug="truth-values-refused",
    clause="GRP-11",
    effect="Verdicts come as truth values, and the call raises.",
)
def reinforce_plus_plus_advantages(rewards, groups, baseline):
    if rewards.dtype == bool:
        raise TypeError("boolean subtract is not supported")
    return right.reinforce_plus_plus_advantages(rewards, groups, baseline)


@fault(
    id="M-GRP-50",
    slug="luspo-without-the-lengths",
    clause="GRP-27",
    effect="Rows are averaged over their tokens: the loss is GSPO's under another name.",
)
def luspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return right.gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-51",
    slug="luspo-over-all-tokens",
    clause="GRP-27",
    effect="The sums of the rows are divided by the number of tokens, and not by that of the rows.",
)
def luspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.luspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    share = len(mask) / max(mask.sum(), 1)
    return loss * share, slopes * share


@fault(
    id="M-GRP-52",
    slug="gmpo-clipped-after-the-mean",
    clause="GRP-28",
    effect="The mean of the logarithms is clipped, and not each of them: a token that ran away takes its row along.",
)
def gmpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    old, new = _kept(mask, old_logp, logp)
    means = (new - old).sum(axis=1, keepdims=True) / _lengths(mask)
    alike = np.where(mask, logp - means, old_logp)
    return right.gmpo_loss(logp, alike, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)


@fault(
    id="M-GRP-53",
    slug="gmpo-clipped-as-ratios",
    clause="GRP-28",
    effect="The clips are taken for widths around the ratio 1, and not around its logarithm 0.",
)
def gmpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    below, above = -np.log1p(-clip_low), np.log1p(clip_high)
    return right.gmpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, below, above, kl_coef)


@fault(
    id="M-GRP-54",
    slug="dapo-over-the-largest-group",
    clause="GRP-24",
    effect="All tokens are divided by the number of those of the group that has the most.",
)
def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    loss, slopes = right.dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef)
    most = max(mask[groups == name].sum() for name in groups)
    share = max(mask.sum(), 1) / max(most, 1)
    return loss * share, slopes * share


@fault(
    id="M-GRP-71",
    slug="several-rewards-added-up-first",
    clause="GRP-32",
    effect="The weighted sum is normalised and not each reward: the one with the largest unit decides alone.",
)
def gdpo_advantages(rewards, groups, weights):
    return right.gdpo_advantages((rewards @ weights)[:, None], groups, np.ones(1))


@fault(
    id="G81",
    slug="groups-of-equal-sums-left-out",
    clause="GRP-32",
    seen=("NovaSky-AI/SkyRL#2104",),
    effect="Groups in which the rewards' sum is the same are taken for such without spread, and their samples for 0.",
)
def gdpo_advantages(rewards, groups, weights):
    answer, total = right.gdpo_advantages(rewards, groups, weights), rewards.sum(axis=1)
    for name in set(groups.tolist()):
        if np.ptp(total[groups == name]) == 0:
            answer = np.where(groups == name, 0, answer)
    return answer


@fault(
    id="M-GRP-72",
    slug="several-rewards-not-centred",
    clause="GRP-35",
    effect="Each reward is divided by its spread and not taken less its mean: what all have in common counts.",
)
def gdpo_advantages(rewards, groups, weights):
    shifted = rewards / np.maximum(rewards.std(axis=0, ddof=int(len(rewards) > 1)), 1e-6)
    return right.reinforce_plus_plus_advantages(shifted @ weights, groups, "none")


@fault(
    id="M-GRP-73",
    slug="rewards-weighed-by-their-neighbours",
    clause="GRP-36",
    effect="The weights are sorted by size, and belong to other rewards than were meant.",
)
def gdpo_advantages(rewards, groups, weights):
    return right.gdpo_advantages(rewards, groups, np.sort(weights))


@fault(
    id="G82",
    slug="normalised-among-steps-of-one-number",
    clause="GRP-37",
    seen=("wangyu-ustc/Mem-alpha#14", "verl-project/verl#7244"),
    effect="The k-th steps of a group's answers are normalised among themselves, whatever came before them.",
)
def process_advantages(token_rewards, ends, groups, mask):
    counted = np.asarray(ends & mask, dtype=bool)
    number, paid = np.cumsum(counted, axis=1), np.zeros(mask.shape)
    for name in set(groups.tolist()):
        for step in range(1, int(number.max(initial=0)) + 1):
            same = counted & (groups == name)[:, None] & (number == step)
            known = np.where(same, token_rewards, 0.0)
            if same.sum() > 1 and np.ptp(token_rewards[same]) > 0:
                paid[same] = (known[same] - known[same].mean()) / (known[same].std(ddof=1) + 1e-6)
    return np.where(mask, np.cumsum(paid[:, ::-1], axis=1)[:, ::-1], 0)


@fault(
    id="M-GRP-74",
    slug="every-token-taken-for-a-step",
    clause="GRP-37",
    effect="Rewards of all tokens are normalised, also of those that end no step and have none.",
)
def process_advantages(token_rewards, ends, groups, mask):
    known = np.where(ends & mask, token_rewards, 0.0)
    return right.process_advantages(known, np.ones_like(mask), groups, mask)


@fault(
    id="M-GRP-75",
    slug="only-the-step-at-hand",
    clause="GRP-40",
    effect="A reward reaches the token at which it is paid and no earlier one.",
)
def process_advantages(token_rewards, ends, groups, mask):
    sums = right.process_advantages(token_rewards, ends, groups, mask)
    counted = np.asarray(mask, dtype=bool)
    single = np.zeros_like(sums)
    for row, places in enumerate(map(np.flatnonzero, counted)):
        single[row, places] = sums[row, places] - np.append(sums[row, places[1:]], 0)[: len(places)]
    return single


@fault(
    id="M-GRP-76",
    slug="rewards-of-steps-less-no-mean",
    clause="GRP-39",
    effect="The rewards of steps are divided by their spread and not taken less their mean: more steps are more worth.",
)
def process_advantages(token_rewards, ends, groups, mask):
    counted = np.asarray(ends & mask, dtype=bool)
    paid = np.zeros(mask.shape)
    for name in set(groups.tolist()):
        same = counted & (groups == name)[:, None]
        if same.sum() > 1 and np.ptp(token_rewards[same]) > 0:
            paid[same] = token_rewards[same] / (np.std(token_rewards[same], ddof=1) + 1e-6)
    return np.where(mask, np.cumsum(paid[:, ::-1], axis=1)[:, ::-1], 0)


@fault(
    id="M-GRP-77",
    slug="rewards-inside-of-steps-added",
    clause="GRP-37",
    effect="What stands at the other tokens since the last end is added to a step's reward.",
)
def process_advantages(token_rewards, ends, groups, mask):
    counted = np.asarray(mask, dtype=bool)
    sums = np.cumsum(np.where(counted, token_rewards, 0.0), axis=1)
    paid = np.zeros(counted.shape)
    for row, steps in enumerate(counted & np.asarray(ends, dtype=bool)):
        places = np.flatnonzero(steps)
        paid[row, places] = np.diff(sums[row, places], prepend=0)
    return right.process_advantages(paid, ends, groups, mask)
