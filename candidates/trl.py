"""trl: the losses of `GRPOTrainer`, `DPOTrainer`, `KTOTrainer` and the experimental `ORPOTrainer` and `CPOTrainer`.

Written against 1.16.0.  trl's losses are methods of trainers.  Each is called unbound, on an object that has the
configuration that it reads and a model, or a forward pass, that answers with the log-probabilities that are given.

``token_logp`` is `selective_log_softmax` and ``entropy`` is `entropy_from_logits`, which has no illegal action.

The group losses and ``ppo_loss`` are `GRPOTrainer._compute_loss` in training, with one process and one micro-batch: the
loss types ``grpo``, ``dr_grpo``, ``dapo`` and ``cispo``, ``grpo`` and ``luspo`` with the importance sampling level
``sequence`` for ``gspo_loss`` and ``luspo_loss``, and ``bnpo`` for ``ppo_loss``, whose dual clip is ``delta``,
documented to exceed 1 + epsilon and declined where it does not; advantages [B, T] are for trainers that inherit from
it.  The library's CISPO has no lower clip, and inputs are declined where one would act.  ``kl_loss`` is
``bnpo`` with no advantages and the coefficient 1; it has the estimator k3 and no other.

``importance_weights`` are the ratios of `GRPOTrainer._generate_and_score_completions`, given answers, their sampler's
log-probabilities, which it makes float32, and a tool mask; it has the levels ``token`` and ``sequence``, and no mode
without any bound: bounds are None where a form has none.  What stands under the mask is multiplied by it, as losses do.
``corrected_loss`` is ``bnpo`` with these ratios.  ``gdpo_advantages`` are the advantages of the same method, with
``normalize_then_sum`` and groups of one size, one after the other, as it has them.

``distillation_divergence`` is `GKDTrainer.generalized_jsd_loss`, a row at a time.
``overlong_penalty`` is `get_soft_overlong_punishment`, whose factor is 1, and ``cosine_reward``
`get_cosine_scaled_reward`, which is told what answers are right by `accuracy_reward`: the adapter says it in its place.

The preference losses are one completion token's: then a sum over tokens, which the operations are given, and a mean
are the same.  ``dpo_loss``, ``ipo_loss`` and ``sppo_loss`` are `DPOTrainer._compute_loss` with the loss types
``sigmoid`` (``robust`` where labels are smoothed), ``ipo`` and ``sppo_hard``; ``kto_loss`` is
`KTOTrainer._compute_loss`, and ``reward_model_loss`` `RewardTrainer.compute_loss`.  ``orpo_loss`` is
`ORPOTrainer.get_batch_loss_metrics`, given the negative log-likelihood of the chosen answers' tokens, which its forward
pass takes from `torch.nn.CrossEntropyLoss`; ``simpo_loss`` is `CPOTrainer.get_batch_loss_metrics` with the loss type
``simpo`` and without that likelihood.  No trainer has a flag for a pair that does not count: the adapter hands over
those that do, and declines a batch without any.

Converted: every number to float64; `ORPOTrainer` makes it float32.
"""

import warnings
from collections import defaultdict
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RewardTrainer
from trl.rewards import accuracy_rewards, get_cosine_scaled_reward, get_soft_overlong_punishment
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

from rlspec.torch import differentiated

with warnings.catch_warnings(action="ignore"):  # experimental, they say
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.gkd import GKDTrainer
    from trl.experimental.orpo import ORPOTrainer

NAME = f"trl {version('trl')}"
CONVENTIONS = {"gdpo_advantages.precision": "float32"}  # n / (n - 1), of a number of rewards that is an integer


def token_logp(logits, tokens, temperature):
    tokens = torch.from_numpy(np.array(tokens, dtype=np.int64))
    return selective_log_softmax(torch.from_numpy(_array(logits)), tokens, temperature).numpy()


def entropy(logits, legal):
    if not np.all(legal):
        raise NotImplementedError("every action is legal")
    logits = torch.from_numpy(_array(logits)).requires_grad_()
    value = entropy_from_logits(logits)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), logits)[0].numpy()


def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    batch = logp, old_logp, ref_logp, advantages, mask
    if clip != "pessimistic" or ratio == "none" or (kl_coef and kl != "k3"):
        raise NotImplementedError("a ratio that is clipped pessimistically, and k3")
    if reduction not in _TYPES or (reduction == "mean of sums" and ratio != "sequence"):
        raise NotImplementedError("a reduction that no loss type has")
    if dual_clip is not None and dual_clip <= 1 + clip_high:
        raise NotImplementedError("delta is to exceed 1 + epsilon")
    how = {"importance_sampling_level": ratio, "delta": dual_clip, "max_completion_length": divisor}
    return _clipped(batch, clip_low, clip_high, kl_coef, loss_type=_TYPES[reduction], **how)


_TYPES = {
    "mean of means": "grpo",
    "token-mean": "dapo",
    "mean of sums": "luspo",
    "mean of sums over a fixed divisor": "dr_grpo",
}


def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return _clipped((logp, old_logp, ref_logp, advantages, mask), clip_low, clip_high, kl_coef, loss_type="grpo")


def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    batch, how = (logp, old_logp, ref_logp, advantages, mask), {"max_completion_length": length}
    return _clipped(batch, clip_low, clip_high, kl_coef, loss_type="dr_grpo", **how)


def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    return _clipped((logp, old_logp, ref_logp, advantages, mask), clip_low, clip_high, kl_coef, loss_type="dapo")


def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    batch, how = (logp, old_logp, ref_logp, advantages, mask), {"importance_sampling_level": "sequence"}
    return _clipped(batch, clip_low, clip_high, kl_coef, loss_type="grpo", **how)


def luspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    batch, how = (logp, old_logp, ref_logp, advantages, mask), {"importance_sampling_level": "sequence"}
    return _clipped(batch, clip_low, clip_high, kl_coef, loss_type="luspo", **how)


def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    counted = np.asarray(mask, dtype=bool)
    if (np.exp(np.subtract(logp, old_logp)[counted]) < 1 - clip_low).any():
        raise NotImplementedError("a lower clip")
    batch = logp, old_logp, ref_logp, advantages, mask
    return _grpo(batch, loss_type="cispo", epsilon_high=1 + clip_high, beta=kl_coef)


def _clipped(batch, clip_low, clip_high, kl_coef, **how):
    return _grpo(batch, epsilon_low=clip_low, epsilon_high=clip_high, beta=kl_coef, **how)


_MODES = {"none": "truncate", "truncated": "truncate", "masked": "mask", "clipped": "truncate"}


def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    mask = np.array(mask, dtype=np.int64)
    return (_ratios(_array(logp), _array(sampler_logp), mask, level, form, low, high).numpy() * mask).astype(float)


def _ratios(logp, sampler_logp, mask, level, form, low, high):
    if level == "geometric":
        raise NotImplementedError("a level that it has not")
    how = {
        "vllm_importance_sampling_mode": f"{level}_{_MODES[form]}",
        "vllm_importance_sampling_clip_min": low if form in ("masked", "clipped") else None,
        "vllm_importance_sampling_clip_max": high if form != "none" else None,
    }
    if how["vllm_importance_sampling_clip_max"] is None:
        how |= {"vllm_importance_sampling_mode": f"{level}_mask"}
    return _scored(logp, sampler_logp, mask, **how)["importance_sampling_ratio"]


def gdpo_advantages(rewards, groups, weights):
    size = int(np.count_nonzero(groups == groups[0]))
    names = groups[::size]
    if len(set(names.tolist())) * size != len(groups) or (np.repeat(names, size) != groups).any():
        raise NotImplementedError("groups of one size, one after the other")
    how = {
        "num_generations": size,
        "multi_objective_aggregation": "normalize_then_sum",
        "reward_weights": torch.from_numpy(_array(weights)),
        "reward_funcs": [None] * len(weights),
        "reward_func_names": [f"reward {number}" for number in range(len(weights))],
        "_calculate_rewards": lambda *_: torch.from_numpy(_array(rewards)),
        "use_vllm": False,
    }
    nothing = np.zeros((len(groups), 1))
    return _scored(nothing, nothing, np.ones((len(groups), 1), dtype=np.int64), **how)["advantages"].numpy()


def _scored(logp, sampler_logp, mask, **how):
    """What `GRPOTrainer._generate_and_score_completions` makes of answers with these log-probabilities."""
    answers = [[0] * mask.shape[1]] * len(mask)
    spoken: Any = [[0]] * len(mask), answers, mask.tolist(), answers, sampler_logp.tolist(), {}, None, None
    trainer = SimpleNamespace(**{**_scoring(torch.from_numpy(logp), spoken), **how})
    return GRPOTrainer._generate_and_score_completions(trainer, [{"prompt": ""}] * len(mask))


def _scoring(logp, spoken):
    """What it reads of itself, with a reward of 0 for every answer."""
    rows = len(logp)
    nothing = {"environment_factories": None, "environments": None, "tools": None, "pad_to_multiple_of": None}
    forward = {
        "_generate": lambda prompts: spoken,
        "_get_per_token_logps_and_entropies": lambda *_, **__: (logp, None, None),
        "_calculate_rewards": lambda *_: torch.zeros(rows, 1),
    }
    logs: Any = {
        "prompt": [],
        "completion": [],
        "advantages": [],
        "rewards": defaultdict(list),
        "extra": defaultdict(list),
    }
    rewarded = {"reward_weights": torch.ones(1), "reward_funcs": [None], "reward_func_names": ["reward"]}
    args = SimpleNamespace(
        per_device_train_batch_size=rows,
        steps_per_generation=1,
        gradient_accumulation_steps=1,
        gradient_checkpointing_kwargs=None,
    )
    chosen = {
        "beta": 0.0,
        "model": SimpleNamespace(training=True, is_gradient_checkpointing=False),
        "log_multimodal": False,
        "mask_truncated_completions": False,
        "multi_objective_aggregation": "sum_then_normalize",
        "num_generations": rows,
        "num_iterations": 1,
        "scale_rewards": "group",
        "use_vllm": True,
        "vllm_importance_sampling_correction": True,
        "_logs": logs,
        "_pending_extra_logs": {},
        "_pending_metrics": {},
        "_tokenizer": SimpleNamespace(pad_token_id=0),
    }
    trainer = _trainer(args)
    trainer["accelerator"].process_index = 0
    return {**trainer, **nothing, **forward, **rewarded, **chosen}


def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    mask = np.array(mask, dtype=np.int64)
    weights = _ratios(_array(old_logp), _array(sampler_logp), mask, level, form, low, high)
    how = {"loss_type": "bnpo", "epsilon_low": clip_low, "epsilon_high": clip_high, "use_vllm": True}
    how |= {"vllm_importance_sampling_correction": True, "weights": weights}
    return _grpo((logp, old_logp, logp, advantages, mask), **how)


def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    if dual_clip is not None and dual_clip <= 1 + clip_high:
        raise NotImplementedError("delta is to exceed 1 + epsilon")
    how = {"loss_type": "bnpo", "delta": dual_clip}
    return _grpo((logp, old_logp, logp, advantages, mask), epsilon_low=clip_low, epsilon_high=clip_high, **how)


def distillation_divergence(logits, teacher_logits, beta, temperature):
    student, teacher = (torch.from_numpy(_array(row))[:, None] for row in (logits, teacher_logits))
    student.requires_grad_()
    rows = zip(student, teacher, strict=True)
    how = {"beta": beta, "temperature": temperature, "reduction": "sum"}
    values = torch.stack([GKDTrainer.generalized_jsd_loss(*(part[None] for part in row), **how) for row in rows])
    return values.detach().numpy(), torch.autograd.grad(values.sum(), student)[0][:, 0].numpy()


def overlong_penalty(lengths, max_length, buffer, factor):
    if factor != 1:
        raise NotImplementedError("its factor is 1")
    return get_soft_overlong_punishment(max_length, buffer)([[0] * int(n) for n in lengths])


def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    if exceeded is not None:
        raise NotImplementedError("an answer that exceeds the greatest length has the score of the longest")
    score = get_cosine_scaled_reward(max_length, shortest_wrong, longest_wrong, longest_correct, shortest_correct)
    right, answers = np.asarray(correct, dtype=float).tolist(), [[0] * int(n) for n in lengths]
    with patch.object(accuracy_rewards, "accuracy_reward", lambda *_: right):
        return score([], [], answers)


def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    if estimator != "k3":
        raise NotImplementedError("k3 only")
    batch = logp, old_logp, ref_logp, np.zeros(len(mask)), mask
    return _grpo(batch, loss_type="bnpo", epsilon_low=0.2, epsilon_high=0.2, beta=1.0)


def _grpo(batch, **how):
    *numbers, mask = batch
    return _grpo_loss(*map(_array, numbers), np.array(mask, dtype=np.int64), how)


@partial(differentiated, wrt=["logp"])
def _grpo_loss(logp, old_logp, ref_logp, advantages, mask, how):
    nothing = torch.zeros(len(mask), 0, dtype=torch.int64)
    inputs = {
        "prompt_ids": nothing,
        "prompt_mask": nothing,
        "completion_ids": torch.zeros_like(mask),
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": old_logp,
        "ref_per_token_logps": ref_logp,
        "num_items_in_batch": mask.sum(),
        "importance_sampling_ratio": how.get("weights"),
    }
    return GRPOTrainer._compute_loss(_grpo_trainer(logp, **how), None, inputs)


def _grpo_trainer(logp, delta=None, weights=None, **how):
    """What `GRPOTrainer._compute_loss` reads of itself: its defaults, but for what a loss is told."""
    args = SimpleNamespace(delta=delta, use_bias_correction_kl=False, steps_per_generation=1)
    defaults = {
        "importance_sampling_level": "token",
        "epsilon_low": 0.2,
        "beta": 0.0,
        "max_completion_length": 256,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "aux_loss_enabled": False,
        "use_vllm": False,
        "_entropy_bonus_enabled": False,
        "current_gradient_accumulation_steps": 1,
    }
    forward = {"_get_per_token_logps_and_entropies": lambda *_, **__: (logp, torch.zeros_like(logp), None)}
    return SimpleNamespace(**{**_trainer(args), **defaults, **forward, **how})


def _trainer(args=None):
    """What every trainer has: one process, which gathers nothing from others, and a model that is being trained."""

    def own(tensor, **_):
        return tensor

    accelerator = SimpleNamespace(num_processes=1, device="cpu", gather=own, gather_for_metrics=own, reduce=own)
    return {
        "accelerator": accelerator,
        "args": args,
        "model": SimpleNamespace(training=True),
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
        "aux_loss_enabled": False,
        "label_smoothing": 0.0,
    }


def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    pairs = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    kind = "robust" if label_smoothing else "sigmoid"
    return _of_valid(_dpo, valid, 2, *pairs, loss_types=[kind], beta=beta, label_smoothing=label_smoothing)


def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    pairs = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return _of_valid(_dpo, valid, 2, *pairs, loss_types=["ipo"], beta=tau)


def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
    pairs = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return _of_valid(_dpo, valid, 2, *pairs, loss_types=["sppo_hard"], beta=beta)


def _dpo(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, **how):
    defaults = {"loss_weights": [1.0], "ld_alpha": None, "f_divergence_type": "reverse_kl", "use_weighting": False}
    trainer = SimpleNamespace(**{**_trainer(), **defaults, "precompute_ref_logps": True, **how})
    inputs = _answers_of_one_token(2 * len(chosen_logp))
    inputs |= {"ref_chosen_logps": ref_chosen_logp, "ref_rejected_logps": ref_rejected_logp}
    return DPOTrainer._compute_loss(trainer, _model(torch.cat([chosen_logp, rejected_logp])), inputs, False)


def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    weights = {"desirable_weight": desirable_weight, "undesirable_weight": undesirable_weight}
    return _of_valid(_kto, valid, 1, logp, ref_logp, desirable, beta=beta, kl=kl, **weights)


def _kto(logp, ref_logp, desirable, kl, **how):
    defaults = {"loss_type": "kto", "calculate_KL": True, "precompute_ref_logps": True}
    distance = {"_compute_kl_logps": lambda *_: torch.tensor([kl], dtype=torch.float64)}
    trainer = SimpleNamespace(**{**_trainer(), **defaults, **distance, **how})
    inputs = _answers_of_one_token(len(logp))
    inputs |= {"label": desirable.bool(), "ref_logps": ref_logp, "ref_KL_logps": torch.zeros(1, dtype=torch.float64)}
    return KTOTrainer._compute_loss(trainer, _model(logp), inputs, False)


def _answers_of_one_token(rows):
    """Prompts and answers of one token each."""
    ids = torch.zeros(rows, 2, dtype=torch.int64)
    return {"input_ids": ids, "attention_mask": ids + 1, "completion_mask": torch.tensor([0, 1]).expand(rows, 2)}


def _model(logp):
    """A model that gives the answers, of one token, the log-probabilities that are given."""
    column = logp[:, None]
    nothing = torch.zeros_like(column).detach()
    outputs = {"log_probs": column, "entropy": nothing, "mean_logits": nothing, "is_top1": nothing.bool()}
    return lambda **_: SimpleNamespace(**outputs)


def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    return _of_valid(_reward, valid, 2, chosen_rewards, rejected_rewards, margins, centering=centering)


def _reward(chosen_rewards, rejected_rewards, margins, centering):
    trainer = SimpleNamespace(**_trainer(SimpleNamespace(center_rewards_coefficient=centering)))
    scores = torch.cat([chosen_rewards, rejected_rewards])[:, None]
    inputs = {"attention_mask": torch.zeros(len(scores), 1, dtype=torch.int64), "margin": margins}
    return RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=scores), inputs)


def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    return _of_valid(_orpo, valid, 2, chosen_logp, rejected_logp, chosen_length, rejected_length, beta=lam)


def _orpo(chosen_logp, rejected_logp, chosen_length, rejected_length, beta):
    likelihood = -chosen_logp.sum() / chosen_length.sum()
    means = chosen_logp / chosen_length, rejected_logp / rejected_length
    trainer = SimpleNamespace(**_trainer(), beta=beta, concatenated_forward=_forward(*means, likelihood))
    trainer.odds_ratio_loss = partial(ORPOTrainer.odds_ratio_loss, trainer)
    return ORPOTrainer.get_batch_loss_metrics(trainer, None, {})[0]


def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    pairs = chosen_logp, rejected_logp, chosen_length, rejected_length
    return _of_valid(_simpo, valid, 2, *pairs, beta=beta, simpo_gamma=gamma)


def _simpo(chosen_logp, rejected_logp, chosen_length, rejected_length, **how):
    forward = _forward(chosen_logp / chosen_length, rejected_logp / rejected_length, torch.zeros(()))
    how |= {"loss_type": "simpo", "alpha": 0.0, "cpo_alpha": 0.0, "concatenated_forward": forward}
    trainer = SimpleNamespace(**_trainer(), **how)
    trainer.cpo_loss = partial(CPOTrainer.cpo_loss, trainer)
    return CPOTrainer.get_batch_loss_metrics(trainer, None, {})[0]


def _forward(chosen, rejected, likelihood):
    """A forward pass that answers with mean log-probabilities, without logits, and with a likelihood."""
    return lambda *_: (chosen, rejected, torch.zeros(1), torch.zeros(1), likelihood)


def _of_valid(loss, valid, differentiable, *arrays, **how):
    """The loss of the rows that count, and its derivatives in so many of the arrays, which are 0 in the other rows."""
    counted = np.array(valid, dtype=bool)
    if not counted.any():
        raise NotImplementedError("a batch without a pair")
    tensors = [torch.from_numpy(_array(array)[counted]) for array in arrays]
    inputs = [tensor.requires_grad_() for tensor in tensors[:differentiable]]
    value = loss(*tensors, **how)
    slopes = np.zeros((differentiable, len(counted)))
    slopes[:, counted] = [slope.numpy() for slope in torch.autograd.grad(value, inputs)]
    return value.item(), *slopes


def _array(array):
    return np.array(array, dtype=np.float64)
