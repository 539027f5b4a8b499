"""AReaL: `areal.utils.functional`, its normalisation, the advantages of its PPO actor, and its losses of pairs.

Written against 1.0.4, installed without what it asks for.  Importing these modules imports AReaL's own servers and
engines and what they need, none of which the formulas do: stand-ins that answer nothing take their places meanwhile.
The log-probabilities are then not compiled.

``ppo_loss`` is `ppo_actor_loss_fn` of one policy that sampled and is proximal, and ``dapo_loss`` the same of answers,
without a KL term.  ``corrected_loss`` is the same with a `RejectionSamplingConfig` of tokens, or of sequences by the
geometric mean, with the actions ``clamp`` and ``mask``, and ``importance_weights`` what `apply_rejection_sampling`
makes of it; bounds that the configuration refuses are declined. ``value_loss`` is `ppo_critic_loss_fn`, which asks for
float32 and a clip.  ``kl_estimate`` is `KLEstimator`, ``token_logp`` is `gather_logprobs`, and ``entropy`` (every
action being legal) and ``tempered_entropy`` are `gather_logprobs_entropy`.  ``overlong_penalty`` is
`reward_overlong_penalty`.

``token_rewards``, ``token_returns``, ``token_gae`` and ``reinforce_plus_plus_advantages`` are
`PPOActor._compute_advantages`.  It is given a prompt of one token and the answer up to its last token that counts, and
rows are padded to the longest, as `concat_padded_tensors` does.  Rewards of tokens are what its estimate of the
divergence says, negative.  What follows the arrays' last token has the value 0.  What is answered under the mask is 0,
as no loss uses it.  ``turn_returns`` is `InteractionCache.apply_reward_discount`.  ``group_advantages`` (groups of one
size, one after the other) and ``normalize_advantages`` are `Normalization`.

``dpo_loss`` and ``ipo_loss`` are `compute_dpo_loss` of answers of one token, without label smoothing, and
``reward_model_loss`` is `compute_rw_loss`, without margins and centring; a pair that does not count has no tokens.

Converted: every number to float64 but the critic's, masks to truth values.
"""

from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import torch

from rlspec.candidates._groups import size_of_groups
from rlspec.candidates._stand_ins import standing_in
from rlspec.torch import differentiated

with standing_in(
    "PIL", "aiohttp", "datasets", "einops", "hydra", "lark", "numba", "omegaconf", "pandas", "psutil", "ray", "swanlab",
    "tabulate", "tensorboardX", "torchdata", "trackio", "transformers", "uvloop", "wandb", "yaml",
    "areal.engine", "areal.experimental.inference_service", "areal.experimental.openai.client",
    "areal.experimental.openai.proxy", "areal.experimental.openai.types", "areal.experimental.training_service",
    "areal.infra", "areal.utils.logging", "areal.utils.perf_tracer", "areal.utils.stats_tracker",
):  # fmt: skip
    from areal.api.cli_args import NormConfig, RejectionSamplingConfig
    from areal.experimental.openai.cache import InteractionCache
    from areal.trainer.dpo.dpo_engine import compute_dpo_loss
    from areal.trainer.ppo.actor import PPOActor
    from areal.trainer.rw.rw_engine import compute_rw_loss
    from areal.utils import functional
    from areal.utils.data import KLEstimator, Normalization

NAME = f"AReaL {version('areal')}"
CONVENTIONS = {"precision": "float32"} | dict.fromkeys(
    (f"{name}.precision" for name in ("ppo_loss", "dapo_loss", "token_returns", "token_gae", "turn_returns")), "float64"
)


def token_logp(logits, tokens, temperature):
    return functional.gather_logprobs(_numbers(logits), torch.tensor(np.array(tokens)), temperature).numpy()


def entropy(logits, legal):
    if not np.all(legal):
        raise NotImplementedError("every action is legal")
    return tempered_entropy(logits, 1.0)


def tempered_entropy(logits, temperature):
    logits = _numbers(logits).requires_grad_()
    first = torch.zeros(len(logits), dtype=torch.int64)
    values = functional.gather_logprobs_entropy(logits, first, temperature)[1]
    return values.detach().numpy(), torch.autograd.grad(values.sum(), logits)[0].numpy()


def kl_estimate(logp, ref_logp, estimator):
    return KLEstimator(estimator)(_numbers(logp), _numbers(ref_logp)).numpy()


def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    tables = _array(logp), _array(old_logp), _array(advantages), _flags(mask)
    return _policy_loss(*tables, clip_low, clip_high, {"c_clip": dual_clip})


def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    if kl_coef:
        raise NotImplementedError("no divergence in the loss")
    of_tokens = _array(advantages)[:, None] * np.ones(np.shape(mask))
    return _policy_loss(_array(logp), _array(old_logp), of_tokens, _flags(mask), clip_low, clip_high, {})


@lambda loss: differentiated(loss, wrt=["logp"])
def _policy_loss(logp, old_logp, advantages, mask, clip_low, clip_high, how, sampler_logp=None):
    sampled = old_logp if sampler_logp is None else sampler_logp
    policies = {"logprobs": logp, "proximal_logprobs": old_logp, "old_logprobs": sampled}
    clips = {"eps_clip": clip_low, "eps_clip_higher": clip_high}
    return functional.ppo_actor_loss_fn(**policies, advantages=advantages, loss_mask=mask, **clips, **how)[0]


def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    how = {"rejection_sampling": _rejection(level, form, low, high)}
    tables = _array(logp), _array(old_logp), _array(advantages), _flags(mask)
    return _policy_loss(*tables, clip_low, clip_high, how, _array(sampler_logp))


def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    policies = _numbers(logp), _numbers(sampler_logp), torch.tensor(_flags(mask))
    rejection = _rejection(level, form, low, high)
    return functional.apply_rejection_sampling(*policies, None, rejection).behave_imp_weight.numpy()


def _rejection(level, form, low, high):
    if level == "sequence":
        raise NotImplementedError("the weight of a sequence is its geometric mean")
    action, bounds = {
        "none": ("clamp", {"upper": np.inf}),
        "truncated": ("clamp", {"upper": high}),
        "masked": ("mask", {"lower": low, "upper": high}),
        "clipped": ("clamp", {"lower": low, "upper": high}),
    }[form]
    of = {"token": "token", "geometric": "sequence"}[level]
    try:
        return RejectionSamplingConfig(level=of, action=action, metric="ratio", agg="mean", **bounds)
    except ValueError as refused:
        raise NotImplementedError(str(refused)) from None


def value_loss(values, old_values, returns, mask, clip):
    if clip is None:
        raise NotImplementedError("the values are clipped")
    tables = (np.array(table, dtype=np.float32) for table in (values, old_values, returns))
    return _value_loss(*tables, _flags(mask), clip)


@lambda loss: differentiated(loss, wrt=["values"])
def _value_loss(values, old_values, returns, mask, clip):
    return functional.ppo_critic_loss_fn(values, old_values, returns, clip, mask)[0]


def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    policies = {"logprobs": _as_tokens(logp, mask), "ref_logp": _as_predictions(ref_logp, mask)}
    actor = _actor(kl_ctl=kl_coef, kl_estimator=KLEstimator("k1"))
    return _answered(actor, "tot_rewards", scores, mask, **policies)


def token_returns(token_rewards, mask, gamma):
    actor = _paid(token_rewards, mask, discount=gamma)
    return _answered(actor, "returns", np.zeros(len(mask)), mask)


def token_gae(token_rewards, values, mask, gamma, lam):
    actor = _paid(token_rewards, mask, discount=gamma, gae_lambda=lam)
    return _answered(actor, "advantages", np.zeros(len(mask)), mask, values=_as_predictions(values, mask))


def reinforce_plus_plus_advantages(rewards, groups, baseline):
    within = NormConfig(
        mean_level="group", std_level=None, group_size=1 if baseline == "none" else size_of_groups(groups)
    )
    norms = {
        "reward_norm": None if baseline == "none" else Normalization(within),
        "adv_norm": Normalization(NormConfig(mean_level="batch", std_level="batch")),
    }
    one = np.ones((len(rewards), 1), dtype=bool)
    return _answered(_actor(**norms), "advantages", rewards, one)[:, 0]


def normalize_advantages(advantages, mask):
    mask = torch.tensor(_flags(mask))
    return torch.where(mask, _over_the_batch()(_numbers(advantages), mask), 0).numpy()


def _over_the_batch():
    return Normalization(NormConfig(mean_level="batch", std_level="batch"))


def group_advantages(rewards, groups, baseline, scale):
    levels = {"mean_level": "group", "std_level": "group" if scale == "std" else None}
    config = NormConfig(**levels, mean_leave1out=baseline == "leave-one-out", group_size=size_of_groups(groups))
    return Normalization(config)(_numbers(rewards)).numpy()


def _actor(**how):
    """An actor that only computes advantages."""
    actor = PPOActor.__new__(PPOActor)
    actor.config = SimpleNamespace(overlong_reward_penalty=False, use_decoupled_loss=False, recompute_logprob=False)
    actor.reward_bias, actor.reward_scaling, actor.reward_clip = 0.0, 1.0, np.inf
    plain = {"reward_norm": None, "adv_norm": None, "mask_no_eos_with_zero": False, "discount": 1.0, "gae_lambda": 1.0}
    for name, choice in (plain | {"kl_ctl": 0.0, "kl_estimator": KLEstimator("k1")} | how).items():
        setattr(actor, name, choice)
    return actor


def _paid(token_rewards, mask, **how):
    """An actor whose estimate of the divergence costs what these rewards pay."""
    cost = -_as_predictions(token_rewards, mask)
    return _actor(kl_ctl=1.0, kl_estimator=lambda logp, ref_logp: cost.clone(), **how)


def _answered(actor, asked, scores, mask, **given):
    """What the actor computes for each token of the answers."""
    lengths = _lengths(mask)
    data = {
        "input_ids": torch.zeros(len(lengths), lengths.max() + 1, dtype=torch.int64),
        "attention_mask": torch.arange(lengths.max() + 1) <= lengths[:, None],
        "loss_mask": _as_tokens(mask, mask),
        "rewards": _numbers(scores),
        "logprobs": torch.zeros(len(lengths), lengths.max() + 1, dtype=torch.float64),
    }
    predicted = actor._compute_advantages(data | given)[asked][:, : lengths.max()].numpy()
    answer = np.zeros(np.shape(mask), dtype=predicted.dtype)
    answer[:, : lengths.max()] = predicted
    return np.where(_flags(mask), answer, 0)


def _lengths(mask):
    """How many tokens each answer has, up to the last that counts."""
    return torch.tensor((_flags(mask) * np.arange(1, np.shape(mask)[1] + 1)).max(1))


def _as_tokens(table, mask):
    """What belongs to tokens, behind that of the prompt's one token."""
    behind_prompt = np.pad(_array(table), ((0, 0), (1, 0)))
    return torch.tensor(behind_prompt[:, : _lengths(mask).max() + 1])


def _as_predictions(table, mask):
    """What belongs to the place before a token, and 0 behind the last one of the table."""
    widened = np.pad(_array(table), ((0, 0), (0, 1)))
    return torch.tensor(widened[:, : _lengths(mask).max() + 1])


def turn_returns(token_rewards, turns, mask, gamma):
    rows = zip(_array(token_rewards), np.array(turns), _flags(mask), strict=True)
    return np.stack([_turn_returns(*row, gamma) for row in rows])


def _turn_returns(rewards, turns, counts, gamma):
    """What the interactions of a row, one for each turn, are worth at their tokens."""
    cache, returns = InteractionCache(), np.zeros(len(rewards))
    for turn in dict.fromkeys(turns[counts].tolist()):
        reward = rewards[counts & (turns == turn)].sum()
        cache[str(turn)] = SimpleNamespace(reward=reward, messages=[], output_message_list=None)
    for turn, interaction in cache.apply_reward_discount(gamma).items():
        returns[counts & (turns == int(turn))] = interaction.reward
    return returns


def overlong_penalty(lengths, max_length, buffer, factor):
    lengths = np.array(lengths, dtype=np.int64)
    answers = {
        "rewards": torch.zeros(len(lengths), dtype=torch.float64),
        "input_ids": torch.zeros(len(lengths), 1),
        "loss_mask": torch.arange(max(lengths.max(), 1)) < torch.tensor(lengths)[:, None],
    }
    return functional.reward_overlong_penalty(answers, buffer, factor, max_length)["rewards"].numpy()


def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    if label_smoothing:
        raise NotImplementedError("no label smoothing")
    pairs = map(_array, (chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp))
    return _of_pairs(*pairs, valid, beta, "sigmoid")


def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    pairs = map(_array, (chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp))
    return _of_pairs(*pairs, valid, tau, "ipo")


@lambda loss: differentiated(loss, wrt=["chosen_logp", "rejected_logp"])
def _of_pairs(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, valid, beta, loss_type):
    logp, batch = _packed(chosen_logp, rejected_logp, valid)
    batch["ref_logprobs"] = _packed(ref_chosen_logp, ref_rejected_logp, valid)[0]
    batch["loss_mask"] = torch.arange(len(logp)) % 2 == 1
    return compute_dpo_loss(logp, None, batch, beta=beta, loss_type=loss_type)


def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    if centering or np.any(margins):
        raise NotImplementedError("neither margins nor centring")
    return _of_scores(_array(chosen_rewards), _array(rejected_rewards), valid)


@lambda loss: differentiated(loss, wrt=["chosen_rewards", "rejected_rewards"])
def _of_scores(chosen_rewards, rejected_rewards, valid):
    scores, batch = _packed(chosen_rewards, rejected_rewards, valid)
    return compute_rw_loss(scores.roll(1), batch)


def _packed(chosen, rejected, valid):
    """Pairs of answers, packed: of two tokens, of which the first predicts the second, or of none."""
    valid = torch.as_tensor(np.array(valid, dtype=bool))
    numbers = torch.stack([chosen.double(), rejected.double()], 1)[valid].reshape(-1, 1)
    lengths = 2 * valid.repeat_interleave(2)
    return torch.cat([numbers, torch.zeros_like(numbers)], 1).reshape(-1), {
        "cu_seqlens": torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    }


def _array(array):
    return np.array(array, dtype=np.float64)


def _flags(mask):
    return np.array(mask, dtype=bool)


def _numbers(array):
    return torch.from_numpy(_array(array))
