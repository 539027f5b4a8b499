"""OpenRLHF: `openrlhf.models.loss`, `openrlhf.models.utils` and the experience maker of its PPO trainer.

Written against 0.11.2, installed without what it asks for.  Importing these modules imports vLLM, DeepSpeed, Ray and
others, none of which they need: stand-ins that answer nothing take their places meanwhile.

They are called as the trainer does (`trainer/ray/ppo_actor.py`, `trainer/ppo_utils/experience_maker.py`): losses are
told the number of tokens of the whole batch, and that of its rows with a token, as with dynamic batches.  Advantages of
tokens are multiplied by the mask, as every loss multiplies them.

``aggregate``, ``accumulate`` and ``sharded_loss`` are `aggregate_loss`: a mean over tokens, and a mean of means.
``token_logp`` is `log_probs_from_logits`.  ``kl_estimate`` is `compute_approx_kl`, ``kl_loss`` its mean over tokens,
without an importance ratio, and ``token_rewards`` `compute_reward` of it; it makes log-probabilities float32.
``ppo_loss`` and ``clip_fraction`` are `PolicyLoss`, and ``corrected_loss`` is `PolicyLoss` with a correction of tokens,
whose modes are ``mask`` and ``clip``.  ``grpo_loss`` and ``dapo_loss`` are the same as a mean of means and over tokens,
``gspo_loss`` its type ``gspo``, with `compute_approx_kl` added as a loss.  ``value_loss`` is `ValueLoss`.

``token_returns``, ``token_gae``, ``group_advantages`` (groups of one size, one after the other) and
``reinforce_plus_plus_advantages`` (with the group's mean, or without) are `RemoteExperienceMaker`'s
`get_cumulative_returns`, `get_advantages_and_returns` and `compute_advantages_and_returns`, the last two of answers of
one token.  ``overlong_penalty`` is `apply_overlong_penalty`.

``dpo_loss`` and ``ipo_loss`` are `DPOLoss`, and ``reward_model_loss`` is `PairWiseLoss`, without centring.  They have
no flag for a pair that does not count: the adapter hands over those that do, and declines a batch without any.

Converted: every number to float64, masks to integers.
"""

from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import torch

from rlspec.candidates._groups import size_of_groups
from rlspec.candidates._stand_ins import standing_in
from rlspec.torch import differentiated

with standing_in(
    "aiohttp", "deepspeed", "flash_attn", "peft", "pylatexenc", "ray", "torchdata", "tqdm", "transformers", "vllm"
):  # fmt: skip
    from openrlhf.models import utils
    from openrlhf.models.loss import DPOLoss, PairWiseLoss, PolicyLoss, ValueLoss, aggregate_loss
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
    from openrlhf.trainer.ppo_utils.length_penalty import apply_overlong_penalty

NAME = f"OpenRLHF {version('openrlhf')}"

_TOKEN_LEVEL = {"token-mean": True, "mean of means": False}


def token_logp(logits, tokens, temperature):
    return utils.log_probs_from_logits(_numbers(logits), _integers(tokens), temperature).numpy()


def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    if kl_coef < 0:
        raise NotImplementedError("a coefficient below 0 is taken for 0")
    distances, mask = utils.compute_approx_kl(_numbers(logp), _numbers(ref_logp)), _integers(mask)
    return (utils.compute_reward(_numbers(scores), kl_coef, distances, mask) * mask).numpy()


def token_returns(token_rewards, mask, gamma):
    mask = _integers(mask)
    return (RemoteExperienceMaker.get_cumulative_returns(None, _numbers(token_rewards), mask, gamma) * mask).numpy()


def token_gae(token_rewards, values, mask, gamma, lam):
    mask = _integers(mask)
    tables = _numbers(values), _numbers(token_rewards), mask
    return (RemoteExperienceMaker.get_advantages_and_returns(None, *tables, gamma, lam)[0] * mask).numpy()


def aggregate(values, mask, reduction, divisor):
    return accumulate(values, mask, reduction, divisor, rows=len(mask))


def accumulate(values, mask, reduction, divisor, rows):
    values, mask = _numbers(values), _integers(mask)
    told = {"token_level_loss": _token_level(reduction), **_batch(mask)}
    parts = zip(values.split(rows), mask.split(rows), strict=True)
    return sum(aggregate_loss(*part, **told) for part in parts).numpy()


def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    """`aggregate_loss` of each rank's rows, told of the whole batch, the gradients being averaged over the ranks."""
    if weighing != "whole":
        raise NotImplementedError("ranks are told of the whole batch")
    values, mask, ranks = _numbers(values).requires_grad_(), _integers(mask), _integers(shards)
    told = {"token_level_loss": _token_level(reduction), **_batch(mask), "dp_size": averaged_over}
    of_ranks = [aggregate_loss(values[ranks == rank], mask[ranks == rank], **told) for rank in range(averaged_over)]
    loss = torch.stack(of_ranks).mean()
    return loss.detach().numpy(), torch.autograd.grad(loss, values)[0].numpy()


def _token_level(reduction):
    if reduction not in _TOKEN_LEVEL:
        raise NotImplementedError("a mean over tokens, or of means")
    return _TOKEN_LEVEL[reduction]


def _batch(mask):
    """What a loss is told of the batch that a micro-batch belongs to."""
    return {"batch_num_tokens": float(mask.sum()), "global_batch_size": float((mask.sum(1) > 0).sum())}


def kl_estimate(logp, ref_logp, estimator):
    return utils.compute_approx_kl(_numbers(logp), _numbers(ref_logp), kl_estimator=estimator).numpy()


def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    return _kl_loss(_array(logp), _array(ref_logp), _mask(mask), estimator, True)


def _kl(logp, ref_logp, mask, estimator, token_level):
    distances = utils.compute_approx_kl(logp, ref_logp, kl_estimator=estimator)
    return aggregate_loss(distances, mask, token_level_loss=token_level, **_batch(mask))


_kl_loss = differentiated(_kl, wrt=["logp"])


def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    how = {"clip_eps_low": clip_low, "clip_eps_high": clip_high, "dual_clip": dual_clip}
    return _policy_loss(_array(logp), _array(old_logp), _array(advantages), _mask(mask), how)


def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    tables = _numbers(logp), _numbers(old_logp), _numbers(advantages), _integers(mask)
    return PolicyLoss(clip_low, clip_high)(*tables)[1].numpy()


def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    if level != "token":
        raise NotImplementedError("a correction of tokens; that of sequences rejects by one weight and applies another")
    modes = {
        "none": ("mask", (0.0, np.inf)),
        "truncated": ("clip", (0.0, high)),
        "masked": ("mask", (low, high)),
        "clipped": ("clip", (low, high)),
    }
    how = {"clip_eps_low": clip_low, "clip_eps_high": clip_high, "is_correction_level": "token"}
    how["is_correction_mode"], how["is_correction_threshold"] = modes[form]
    tables = _array(logp), _array(old_logp), _array(advantages), _mask(mask)
    return _policy_loss(*tables, how, _array(sampler_logp))


@lambda loss: differentiated(loss, wrt=["logp"])
def _policy_loss(logp, old_logp, advantages, mask, how, sampler_logp=None, ref_logp=None, kl_coef=0.0):
    policy = PolicyLoss(**how)
    loss = policy(logp, old_logp, advantages, mask, sampler_logp, **_batch(mask))[0]
    return loss + kl_coef * _kl(logp, ref_logp, mask, "k3", policy.token_level_loss) if kl_coef else loss


def _of_answers(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, **how):
    how |= {"clip_eps_low": clip_low, "clip_eps_high": clip_high}
    of_tokens = np.asarray(advantages, dtype=np.float64)[:, None] * np.ones(np.shape(mask))
    tables = _array(logp), _array(old_logp), of_tokens, _mask(mask)
    return _policy_loss(*tables, how, None, _array(ref_logp), kl_coef)


def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    batch = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_answers(*batch, clip_low, clip_high, kl_coef, token_level_loss=False)


def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    batch = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_answers(*batch, clip_low, clip_high, kl_coef, token_level_loss=True)


def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    batch = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_answers(*batch, clip_low, clip_high, kl_coef, policy_loss_type="gspo")


def value_loss(values, old_values, returns, mask, clip):
    return _value_loss(_array(values), _array(old_values), _array(returns), _mask(mask), clip)


@lambda loss: differentiated(loss, wrt=["values"])
def _value_loss(values, old_values, returns, mask, clip):
    return ValueLoss(clip)(values, old_values, returns, mask, **_batch(mask))


def group_advantages(rewards, groups, baseline, scale):
    estimators = {("mean", "none"): "dr_grpo", ("leave-one-out", "none"): "rloo", ("mean", "std"): "group_norm"}
    if (baseline, scale) not in estimators:
        raise NotImplementedError("leave-one-out has no scale")
    if size_of_groups(groups) == 1:
        raise NotImplementedError("several answers to a prompt")
    return _estimated(rewards, estimators[baseline, scale], size_of_groups(groups))


def reinforce_plus_plus_advantages(rewards, groups, baseline):
    how = ("reinforce", 1) if baseline == "none" else ("reinforce_baseline", size_of_groups(groups))
    return _estimated(rewards, *how)


def _estimated(rewards, estimator, size):
    """The advantages of answers of one token."""
    rewards = _numbers(rewards)
    one = torch.ones(len(rewards), 1, dtype=torch.int64)
    answers = SimpleNamespace(
        index=list(range(len(rewards))), rewards=rewards, kl=torch.zeros(len(rewards), 1, dtype=torch.float64),
        action_mask=one, info={}, response_length=one[:, 0],
    )  # fmt: skip
    advantage = SimpleNamespace(estimator=estimator, gamma=1.0, lambd=1.0, no_std_norm=False)
    shaping = SimpleNamespace(overlong_buffer_len=None, stop_properly_penalty_coef=None, clip_range=None)
    rollout = SimpleNamespace(n_samples_per_prompt=size)
    args = SimpleNamespace(algo=SimpleNamespace(advantage=advantage), reward=shaping, rollout=rollout)
    maker = RemoteExperienceMaker.__new__(RemoteExperienceMaker)
    maker.strategy, maker.args, maker.advantage_estimator = SimpleNamespace(args=args), args, estimator
    maker.kl_ctl = SimpleNamespace(value=0.0)
    return maker.compute_advantages_and_returns([answers])[0].advantages[:, 0].numpy()


def overlong_penalty(lengths, max_length, buffer, factor):
    answers = SimpleNamespace(
        response_length=_integers(lengths), rewards=torch.zeros(len(lengths), dtype=torch.float64)
    )
    apply_overlong_penalty([answers], max_length, buffer, factor)
    return answers.rewards.numpy()


def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    pairs = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return _of_valid(lambda *of: DPOLoss(beta, label_smoothing)(*of)[0], pairs, valid)


def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    pairs = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return _of_valid(lambda *of: DPOLoss(tau, ipo=True)(*of)[0], pairs, valid)


def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    if centering:
        raise NotImplementedError("no centring")
    return _of_valid(PairWiseLoss(), (chosen_rewards, rejected_rewards, margins), valid)


def _of_valid(loss, pairs, valid):
    """The loss of the pairs that count, and its derivatives in the first two of their numbers."""
    counts = torch.from_numpy(np.array(valid, dtype=bool))
    if not counts.any():
        raise NotImplementedError("a pair that counts")
    chosen, rejected, *others = map(_numbers, pairs)
    leaves = chosen.requires_grad_(), rejected.requires_grad_()
    value = loss(*(part[counts] for part in (*leaves, *others)))
    return value.detach().numpy(), *(slope.numpy() for slope in torch.autograd.grad(value, leaves))


def _array(array):
    return np.array(array, dtype=np.float64)


def _mask(mask):
    return np.array(mask, dtype=np.int64)


def _numbers(array):
    return torch.from_numpy(_array(array))


def _integers(array):
    return torch.from_numpy(_mask(array))
