"""verl: the pure functions of `verl.trainer.ppo.core_algos` and `verl.utils.torch_functional`.

Written against 0.9.1.  They are called as the trainer and its workers call them (`trainer/ppo/ray_trainer.py`,
`workers/utils/losses.py`): losses are told the number of tokens and of rows of the whole batch, with which they
normalise; rows without a token are among those.

``token_logp`` is `logprobs_from_logits` of the logits over the temperature.  ``completion_mask`` is `get_response_mask`
of what follows a row's prompt; it is not told what padding is, and an answer that is padded without an EOS is declined.
``token_rewards`` is `apply_kl_penalty` with the estimator ``kl``; the score lies on the last token that counts, where
the library's reward managers put it.  ``token_returns`` are the returns of
`compute_reinforce_plus_plus_outcome_advantage`, and ``token_gae`` is what `compute_gae_advantage_return` adds to the
values as its returns, which it does not whiten; both whiten something else as well, and refuse a batch of fewer than
two tokens, which is declined.  ``normalize_advantages`` is `masked_whiten`.  What lies under the mask of whitened
advantages and of GAE is multiplied by the mask, as `compute_reinforce_plus_plus_outcome_advantage` and every loss do.

``aggregate``, ``accumulate`` and ``sharded_loss`` are `agg_loss`, which has no fixed divisor of a whole batch;
each rank is told of the whole batch, and nothing else is offered.
``kl_estimate`` is `kl_penalty`, and ``kl_loss`` its mean over tokens; it is not told the old policy.

``ppo_loss``, ``clip_fraction``, ``approx_kl``, ``gspo_loss``, ``cispo_loss`` and ``policy_gradient_loss`` are the
losses ``vanilla``, ``gspo``, ``cispo`` and ``gpg`` of `get_policy_loss_fn`, and their metrics.  A dual clip there
always is; without one the library is given an infinite one.  The losses of group are these with the KL loss added,
aggregated alike: ``grpo_loss``, ``dr_grpo_loss`` and ``dapo_loss`` are ``vanilla``, aggregated as the documentation
says of each, ``luspo_loss`` is ``gspo`` with a sum over tokens and ``gmpo_loss`` is ``geo_mean``.
``importance_weights`` and ``self_normalized_weights`` are the weights of
`compute_rollout_correction_and_rejection_mask`, which has the levels ``token`` and ``sequence`` and the forms
``truncated`` and ``masked``, this with a lower bound above 0; without a bound it is given an infinite one.  It refuses
a batch without a token, which is declined.  ``corrected_loss`` is ``vanilla`` with these weights, and
``effective_sample_size`` the metric of `compute_is_metrics`.
``value_loss`` is `compute_value_loss`, with an infinite range where there is no clip.

``group_advantages`` is `compute_grpo_outcome_advantage` or `compute_rloo_outcome_advantage` of answers of one token.
``reinforce_plus_plus_advantages`` is the estimator of that name, or the one with a baseline;
``gdpo_advantages`` is `compute_gdpo_outcome_advantage`, which makes the rewards float32.  ``entropy`` is
`entropy_from_logits`, which has no illegal action.

Converted: every number to float64, group ids to an object array, masks to the library's integers or flags.
"""

from functools import partial
from importlib.metadata import version

import numpy as np
import torch
from verl import DataProto
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo import core_algos, rollout_corr_helper
from verl.trainer.ppo.ray_trainer import apply_kl_penalty
from verl.utils import torch_functional
from verl.workers.config import ActorConfig

from rlspec.torch import differentiated

NAME = f"verl {version('verl')}"
CONVENTIONS = {
    "normalize_advantages.precision": "float32",  # n / (n - 1), of a number of tokens that is an integer
    "gdpo_advantages.precision": "float32",
}


def token_logp(logits, tokens, temperature):
    return torch_functional.logprobs_from_logits(_numbers(logits) / temperature, _integers(tokens)).numpy()


def completion_mask(tokens, prompt_length, eos, pad):
    rows = zip(_integers(tokens), np.asarray(prompt_length).tolist(), strict=True)
    return np.array([_mask_of_a_row(row, prompt, eos, pad) for row, prompt in rows])


def _mask_of_a_row(tokens, prompt, eos, pad):
    answer = tokens[prompt:]
    if (answer == pad).any() and not (answer == eos).any():
        raise NotImplementedError("padding that no EOS announces")
    mask = torch_functional.get_response_mask(answer[None], eos)[0]
    return torch.cat([torch.zeros(prompt, dtype=mask.dtype), mask]).numpy()


def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    mask = _integers(mask)
    paid = torch.zeros(mask.shape, dtype=torch.float64)
    for row, score, counted in zip(paid, np.asarray(scores, dtype=np.float64).tolist(), mask, strict=True):
        row[counted.nonzero()[-1:, 0]] = score
    batch = {"old_log_probs": _numbers(logp), "ref_log_prob": _numbers(ref_logp)}
    data = DataProto.from_dict({**batch, "response_mask": mask, "token_level_scores": paid})
    rewarded, _metrics = apply_kl_penalty(data, core_algos.FixedKLController(kl_coef))
    return rewarded.batch["token_level_rewards"].numpy()


def token_returns(token_rewards, mask, gamma):
    _decline_less_than_two(mask)
    estimate = core_algos.compute_reinforce_plus_plus_outcome_advantage
    _advantages, returns = estimate(_numbers(token_rewards), _integers(mask), config=AlgoConfig(gamma=gamma))
    return returns.numpy()


def token_gae(token_rewards, values, mask, gamma, lam):
    _decline_less_than_two(mask)
    values, mask = _numbers(values), _integers(mask)
    _whitened, returns = core_algos.compute_gae_advantage_return(_numbers(token_rewards), values, mask, gamma, lam)
    return ((returns - values) * mask).numpy()


def _decline_less_than_two(mask):
    if np.sum(mask) < 2:
        raise NotImplementedError("whitening takes two tokens")


def normalize_advantages(advantages, mask):
    mask = _integers(mask)
    return (torch_functional.masked_whiten(_numbers(advantages), mask) * mask).numpy()


_MODES = {
    "token-mean": "token-mean",
    "mean of means": "seq-mean-token-mean",
    "mean of sums": "seq-mean-token-sum",
    "mean of sums over a fixed divisor": "seq-mean-token-sum-norm",
    "sum": "token-sum",
}


def aggregate(values, mask, reduction, divisor):
    return accumulate(values, mask, reduction, divisor, rows=len(mask))


def accumulate(values, mask, reduction, divisor, rows):
    if reduction not in _MODES:
        raise NotImplementedError("it divides rows by a number, and not the batch")
    values, mask = _numbers(values), _flags(mask)
    told = _batch(mask, divisor) | {"loss_agg_mode": _MODES[reduction]}
    parts = zip(values.split(rows), mask.split(rows), strict=True)
    return sum(core_algos.agg_loss(*part, **told) for part in parts).numpy()


def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    """`agg_loss` of each rank's rows, told of the whole batch, the gradients being averaged over the ranks."""
    if weighing != "whole" or reduction not in _MODES:
        raise NotImplementedError("ranks are told of the whole batch, and divide rows by a number")
    values, mask, ranks = _numbers(values).requires_grad_(), _flags(mask), _integers(shards)
    told = _batch(mask, divisor) | {"loss_agg_mode": _MODES[reduction], "dp_size": averaged_over}
    of_ranks = [
        core_algos.agg_loss(values[ranks == rank], mask[ranks == rank], **told) for rank in range(averaged_over)
    ]
    loss = torch.stack(of_ranks).mean()
    return loss.detach().numpy(), torch.autograd.grad(loss, values)[0].numpy()


def _batch(mask, divisor=None):
    """What a worker tells a loss of the batch that a micro-batch belongs to."""
    return {
        "dp_size": 1,
        "batch_num_tokens": int(mask.sum()),
        "global_batch_size": len(mask),
        "loss_scale_factor": divisor,
    }


def kl_estimate(logp, ref_logp, estimator):
    return core_algos.kl_penalty(_numbers(logp), _numbers(ref_logp), estimator).numpy()


def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    return _kl_loss(_array(logp), _array(ref_logp), _mask(mask), estimator, "token-mean")


@partial(differentiated, wrt=["logp"])
def _kl_loss(logp, ref_logp, mask, estimator, mode, divisor=None):
    told = _batch(mask, divisor) | {"loss_agg_mode": mode}
    return core_algos.agg_loss(core_algos.kl_penalty(logp, ref_logp, estimator), mask, **told)


def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    clips = _clips(clip_low, clip_high, dual_clip)
    return _policy_loss(_array(logp), _array(old_logp), _array(advantages), _mask(mask), "vanilla", "token-mean", clips)


def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    return _metrics(logp, old_logp, advantages, mask, _clips(clip_low, clip_high))["actor/pg_clipfrac"]


def approx_kl(logp, old_logp, mask):
    return _metrics(logp, old_logp, np.zeros(mask.shape), mask, _clips(0.2, 0.2))["actor/ppo_kl"]


def _metrics(logp, old_logp, advantages, mask, clips):
    numbers = (_numbers(array) for array in (old_logp, logp, advantages))
    config = _actor(_batch(mask), clips)
    return core_algos.get_policy_loss_fn("vanilla")(*numbers, _flags(mask), "token-mean", config)[1]


def _clips(low, high, dual=None):
    return {"clip_ratio_low": low, "clip_ratio_high": high, "clip_ratio_c": np.inf if dual is None else dual}


@partial(differentiated, wrt=["logp"])
def _policy_loss(logp, old_logp, advantages, mask, name, mode, clips=None, divisor=None, weights=None):
    config = _actor(_batch(mask, divisor), clips or {})
    return core_algos.get_policy_loss_fn(name)(old_logp, logp, advantages, mask, mode, config, weights)[0]


def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    return _weights(logp, sampler_logp, mask, level, form, low, high).numpy()


def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high):
    return _weights(logp, sampler_logp, mask, level, form, low, high, rollout_is_batch_normalize=True).numpy()


def _weights(logp, sampler_logp, mask, level, form, low, high, **how):
    bounds = {"none": np.inf, "truncated": high, "masked": f"{low}_{high}"}
    if level == "geometric" or form not in bounds or (form == "masked" and low == 0):
        raise NotImplementedError("a level or a form that it has not")
    if not np.any(mask):
        raise NotImplementedError("a batch with a token")
    how |= {"rollout_is": level, "rollout_is_threshold": bounds[form]}
    tables = _numbers(logp), _numbers(sampler_logp), _integers(mask)
    found, _mask_of_the_rest, _metrics = rollout_corr_helper.compute_rollout_correction_and_rejection_mask(
        *tables, **how
    )
    return found.batch["rollout_is_weights"]


def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    weights = _weights(old_logp, sampler_logp, mask, level, form, low, high)
    numbers = _array(logp), _array(old_logp), _array(advantages), _mask(mask)
    return _policy_loss(*numbers, "vanilla", "token-mean", _clips(clip_low, clip_high), weights=weights)


def effective_sample_size(weights, mask):
    if not np.any(mask):
        raise NotImplementedError("a batch with a token")
    applied = _numbers(np.where(mask, weights, 0))
    told = {"response_mask": _integers(mask), "rollout_is": "token", "rollout_is_threshold": np.inf}
    metrics = rollout_corr_helper.compute_is_metrics(applied, applied, applied.log(), **told)
    return metrics["rollout_is_eff_sample_size"]


def _actor(batch, clips):
    return ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, global_batch_info=batch, **clips)


def policy_gradient_loss(logp, advantages, mask):
    return _policy_loss(_array(logp), _array(logp), _array(advantages), _mask(mask), "gpg", "token-mean")


def _surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    if (ratio, clip) not in _LOSSES or reduction not in _MODES:
        raise NotImplementedError("a loss or a reduction that it has not")
    if clip == "geometric" and reduction != "mean of means":
        raise NotImplementedError("a mean over rows is the only one")
    name, mode = _LOSSES[ratio, clip], _MODES[reduction]
    policy = _of_answers(logp, old_logp, advantages, mask, name, mode, _clips(clip_low, clip_high, dual_clip), divisor)
    return _with_kl(policy, logp, ref_logp, mask, kl_coef, kl, mode, divisor)


_LOSSES = {
    ("token", "pessimistic"): "vanilla",
    ("sequence", "pessimistic"): "gspo",
    ("token", "weight"): "cispo",
    ("sequence", "geometric"): "geo_mean",
    **{("none", clip): "gpg" for clip in ("none", "pessimistic", "weight", "geometric")},
}


def _with_kl(policy, logp, ref_logp, mask, kl_coef, kl, mode, divisor=None):
    if kl_coef == 0:
        return policy
    priced = _kl_loss(_array(logp), _array(ref_logp), _mask(mask), kl, mode, divisor)
    return tuple(part + kl_coef * price for part, price in zip(policy, priced, strict=True))


def _point(*axes):
    """The loss that is one point of the family."""
    return lambda *arguments: _surrogate_loss(*arguments, *axes)


grpo_loss = _point("token", "pessimistic", None, "mean of means", None, "k3")
dapo_loss = _point("token", "pessimistic", None, "token-mean", None, "k3")
cispo_loss = _point("token", "weight", None, "token-mean", None, "k3")
gspo_loss = _point("sequence", "pessimistic", None, "mean of means", None, "k3")
luspo_loss = _point("sequence", "pessimistic", None, "mean of sums", None, "k3")
gmpo_loss = _point("sequence", "geometric", None, "mean of means", None, "k3")


def dr_grpo_loss(*arguments):
    length = arguments[-1]
    return _point("token", "pessimistic", None, "mean of sums over a fixed divisor", length, "k3")(*arguments[:-1])


def _of_answers(logp, old_logp, advantages, mask, *how):
    of_tokens = np.asarray(advantages, dtype=np.float64)[:, None] * np.ones(np.shape(mask))
    return _policy_loss(_array(logp), _array(old_logp), of_tokens, _mask(mask), *how)


def value_loss(values, old_values, returns, mask, clip):
    return _value_loss(
        _array(values), _array(old_values), _array(returns), _mask(mask), np.inf if clip is None else clip
    )


@partial(differentiated, wrt=["values"])
def _value_loss(values, old_values, returns, mask, clip):
    return core_algos.compute_value_loss(values, returns, old_values, mask, clip, **_batch(mask))[0]


def group_advantages(rewards, groups, baseline, scale):
    if baseline == "mean":
        how = partial(core_algos.compute_grpo_outcome_advantage, norm_adv_by_std_in_grpo=scale == "std")
    elif scale == "none":
        how = core_algos.compute_rloo_outcome_advantage
    else:
        raise NotImplementedError("leave-one-out has no scale")
    return _of_answers_of_one_token(how, rewards, index=np.array(groups, dtype=object))


def reinforce_plus_plus_advantages(rewards, groups, baseline):
    if baseline == "mean":
        how = core_algos.compute_reinforce_plus_plus_baseline_outcome_advantage
        return _of_answers_of_one_token(how, rewards, index=np.array(groups, dtype=object))
    how = core_algos.compute_reinforce_plus_plus_outcome_advantage
    return _of_answers_of_one_token(how, rewards, config=AlgoConfig(gamma=1.0))


def gdpo_advantages(rewards, groups, weights):
    if len(groups) == 1:
        raise NotImplementedError("whitening takes two tokens")
    keys = [f"reward {number}" for number in range(len(weights))]
    told = {
        "index": np.array(groups, dtype=object),
        "config": AlgoConfig(gdpo_reward_keys=keys, gdpo_reward_weights=np.array(weights).tolist()),
        "non_tensor_batch": dict(zip(keys, np.array(rewards).T, strict=True)),
        "batch": {"prompts": torch.zeros(len(groups), 0), "attention_mask": torch.ones(len(groups), 1).long()},
    }
    return _of_answers_of_one_token(core_algos.compute_gdpo_outcome_advantage, np.array(rewards)[:, 0], **told)


def _of_answers_of_one_token(how, rewards, **told):
    scores = _numbers(rewards)[:, None]
    return how(scores, torch.ones(scores.shape, dtype=torch.int64), **told)[0][:, 0].numpy()


def entropy(logits, legal):
    if not np.all(legal):
        raise NotImplementedError("every action is legal")
    logits = _numbers(logits).requires_grad_()
    value = torch_functional.entropy_from_logits(logits)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), logits)[0].numpy()


def _array(array):
    return np.array(array, dtype=np.float64)


def _mask(mask):
    return np.array(mask, dtype=bool)


def _numbers(array):
    return torch.from_numpy(_array(array))


def _integers(array):
    return torch.from_numpy(np.array(array, dtype=np.int64))


def _flags(mask):
    return torch.from_numpy(_mask(mask))
