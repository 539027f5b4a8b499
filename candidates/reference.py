"""The reference itself, as a candidate: NumPy arrays in and out, nested sequences and leading time inside.

Where an operation has conventions they may be given by keyword, under their last names.
"""

from collections.abc import Callable
from functools import partial
from math import exp, inf
from typing import Any

import numpy as np

from rlspec.reference import (
    advantages,
    agents,
    correction,
    decision_process,
    distillation,
    distributions,
    group,
    kl,
    language,
    overlong,
    ppo,
    preference,
    reductions,
    replay,
    returns,
    surrogate,
)
from rlspec.reference import policy_gradient as gradients
from rlspec.reference import statistics as running
from rlspec.reference import targets as value_targets
from rlspec.reference import turns as conversations
from rlspec.reference.advantages import normalize_advantages as _normalize_advantages
from rlspec.reference.decision_process import TabularMDP

NAME = "reference"


def _time_leading(function: Callable[..., Any], *arguments: Any) -> np.ndarray:
    """The reference's answer to arrays [B, T] and scalars, with time last again."""
    moved = (argument.T if isinstance(argument, np.ndarray) else argument for argument in arguments)
    return np.array(function(*moved)).T


def _flags(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Flags as truth values, whatever they are stored as."""
    return tuple(array.astype(bool) for array in arrays)


def discounted_return(rewards, gamma):
    return _time_leading(returns.discounted_return, rewards, gamma)


def reward_to_go(rewards, gamma):
    return _time_leading(returns.reward_to_go, rewards, gamma)


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return _time_leading(returns.n_step_return, rewards, next_values, *_flags(terminated, truncated), gamma, n)


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    return _time_leading(returns.lambda_return, rewards, next_values, *_flags(terminated, truncated), gamma, lam)


def td_error(rewards, values, next_values, terminated, gamma):
    return _time_leading(advantages.td_error, rewards, values, next_values, *_flags(terminated), gamma)


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return _time_leading(advantages.gae, rewards, values, next_values, *_flags(terminated, truncated), gamma, lam)


def expected_return(transition, reward, initial, policy, gamma, horizon):
    return decision_process.expected_return(TabularMDP(transition, reward, initial, gamma, horizon), policy.tolist())


def state_values(transition, reward, policy, gamma, horizon):
    return np.array(decision_process.state_values(_anywhere(transition, reward, gamma, horizon), policy.tolist()))


def action_values(transition, reward, policy, gamma, horizon):
    return np.array(decision_process.action_values(_anywhere(transition, reward, gamma, horizon), policy.tolist()))


def occupancy(transition, initial, policy, gamma, horizon):
    mdp = TabularMDP(transition, np.zeros(policy.shape).tolist(), initial, gamma, horizon)
    return np.array(decision_process.occupancy(mdp, policy.tolist()))


def _anywhere(transition: Any, reward: Any, gamma: float, horizon: int | None) -> TabularMDP:
    """The process for questions that do not depend on where it begins."""
    return TabularMDP(transition, reward, np.eye(len(reward))[0], gamma, horizon)


def _policy(logits: np.ndarray) -> list[list[float]]:
    """The softmax of each state's logits, [S][A]."""
    return [distributions.softmax(row) for row in logits.tolist()]


def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    mdp = TabularMDP(transition, reward, initial, gamma, horizon)
    return np.array(gradients.exact_policy_gradient(mdp, _policy(logits)))


def policy_gradient(logits, states, actions, rewards, mask, gamma, discounting="gamma^t", credit="reward-to-go"):
    policy, weights = _policy(logits), gradients.conventional_weights(discounting, credit)
    estimates = [
        gradients.policy_gradient(
            policy, visited[taken].tolist(), chosen[taken].tolist(), paid[taken].tolist(), gamma, weights
        )
        for visited, chosen, paid, taken in zip(states, actions, rewards, mask.astype(bool), strict=True)
    ]
    return np.mean(estimates, axis=0)


def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip, **conventions):
    with np.errstate(over="ignore"):  # a ratio that is too large for a float is clipped all the same
        ratio = np.exp(log_ratio)
    ends = _flags(terminated, truncated)
    arguments = (rewards, values, next_values, *ends, ratio, gamma, lam, rho_clip, c_clip)
    targets, advantage = np.moveaxis(_time_leading(partial(advantages.vtrace, **conventions), *arguments), -1, 0)
    return targets, advantage


def normalize_advantages(advantages, mask, **conventions):
    normalized = _normalize_advantages(advantages.ravel().tolist(), mask.ravel().tolist(), **conventions)
    return np.array(normalized, dtype=advantages.dtype).reshape(advantages.shape)


def entropy(logits, legal):
    rows = [distributions.entropy(*row) for row in zip(logits.tolist(), legal.tolist(), strict=True)]
    return tuple(map(np.array, zip(*rows, strict=True)))


def _each_row(function: Callable[..., Any], *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The results of the reference's answers to each row of the arrays."""
    answers = [function(*row) for row in zip(*(array.tolist() for array in arrays), strict=True)]
    return tuple(_array(result) for result in zip(*answers, strict=True))


def gaussian_logp(actions, mean, log_std):
    return _each_row(distributions.gaussian_logp, actions, mean, log_std)


def gaussian_entropy(log_std):
    return _each_row(distributions.gaussian_entropy, log_std)


def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    return _each_row(distributions.gaussian_kl, mean, log_std, ref_mean, ref_log_std)


def squashed_gaussian_logp(presquash, mean, log_std):
    return _each_row(distributions.squashed_gaussian_logp, presquash, mean, log_std)


def bounded_gaussian_logp(presquash, mean, log_std, low, high, **conventions):
    between = partial(_between, low.tolist(), high.tolist(), conventions)
    return _each_row(between, presquash, mean, log_std)


def _between(low, high, conventions, presquash, mean, log_std):
    return distributions.bounded_gaussian_logp(presquash, mean, log_std, low, high, **conventions)


def tempered_entropy(logits, temperature):
    return _each_row(partial(distributions.tempered_entropy, temperature=temperature), logits)


def policy_gradient_loss(logp, advantages, mask, **conventions):
    loss, slopes = gradients.policy_gradient_loss(logp.tolist(), advantages.tolist(), mask.tolist(), **conventions)
    return loss, np.array(slopes)


def kl_estimate(logp, ref_logp, estimator, **conventions):
    pairs = zip(logp.ravel().tolist(), ref_logp.ravel().tolist(), strict=True)
    return np.array([kl.kl_estimate(*pair, estimator, **conventions) for pair in pairs]).reshape(logp.shape)


def kl_divergence(logits, ref_logits):
    rows = [kl.kl_divergence(*row) for row in zip(logits.tolist(), ref_logits.tolist(), strict=True)]
    return tuple(map(np.array, zip(*rows, strict=True)))


def distillation_divergence(logits, teacher_logits, beta, temperature, **conventions):
    rows = zip(logits.tolist(), teacher_logits.tolist(), strict=True)
    answers = [distillation.distillation_divergence(*row, beta, temperature, **conventions) for row in rows]
    return tuple(map(np.array, zip(*answers, strict=True)))


def topk_divergence(logits, teacher_logits, k, direction, tail, **conventions):
    rows = zip(logits.tolist(), teacher_logits.tolist(), strict=True)
    answers = [distillation.topk_divergence(*row, k, direction, tail, **conventions) for row in rows]
    return tuple(map(np.array, zip(*answers, strict=True)))


def kl_loss(logp, ref_logp, old_logp, mask, estimator, **conventions):
    arrays = (logp.tolist(), ref_logp.tolist(), old_logp.tolist(), mask.tolist())
    loss, slopes = kl.kl_loss(*arrays, estimator, exp=_exp, **conventions)
    return loss, np.array(slopes)


def _exp(number: float) -> float:
    """The exponential, infinite where no float holds it."""
    return inf if number >= 709 else exp(number)


def _of_lists(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The reference's answer to arrays as nested lists; a loss's derivatives are arrays again."""
    lists = (argument.tolist() if isinstance(argument, np.ndarray) else argument for argument in arguments)
    answer = function(*lists, **named)
    return tuple(map(_array, answer)) if isinstance(answer, tuple) else answer


def _array(numbers: Any) -> np.ndarray:
    """Numbers as floats; numbers of another kind, such as those that remember what they were made of, as they came."""
    array = np.array(numbers)
    return array if array.dtype == object else array.astype(float)


def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl, **conventions,
):  # fmt: skip
    tables, axes = (
        (logp, old_logp, ref_logp, advantages, groups, mask),
        (ratio, clip, dual_clip, reduction, divisor, kl),
    )
    return _of_lists(surrogate.surrogate_loss, *tables, clip_low, clip_high, kl_coef, *axes, exp=_exp, **conventions)


def importance_weights(logp, sampler_logp, mask, level, form, low, high, **conventions):
    tables = logp, sampler_logp, mask
    answer = _of_lists(correction.importance_weights, *tables, level, form, low, high, exp=_exp, **conventions)
    return np.array(answer, dtype=float)


def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high, **conventions):
    tables = logp, sampler_logp, mask
    answer = _of_lists(correction.self_normalized_weights, *tables, level, form, low, high, exp=_exp, **conventions)
    return np.array(answer, dtype=float)


def corrected_loss(
    logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high, **conventions
):
    tables = logp, old_logp, sampler_logp, advantages, mask
    numbers = clip_low, clip_high, level, form, low, high
    return _of_lists(correction.corrected_loss, *tables, *numbers, exp=_exp, **conventions)


def effective_sample_size(weights, mask, **conventions):
    return _of_lists(correction.effective_sample_size, weights, mask, **conventions)


def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip, **conventions):
    return _of_lists(
        ppo.ppo_loss, logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip, exp=_exp, **conventions
    )


def value_loss(values, old_values, returns, mask, clip, **conventions):
    return _of_lists(ppo.value_loss, values, old_values, returns, mask, clip, **conventions)


def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef, **conventions):
    return _of_lists(
        ppo.actor_critic_loss, logp, values, entropies, returns, mask, value_coef, entropy_coef, **conventions
    )


def approx_kl(logp, old_logp, mask, **conventions):
    return _of_lists(ppo.approx_kl, logp, old_logp, mask, exp=_exp, **conventions)


def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high, **conventions):
    return _of_lists(ppo.clip_fraction, logp, old_logp, advantages, mask, clip_low, clip_high, exp=_exp, **conventions)


def _row_by_row(function: Callable[..., Any], arrays: tuple[Any, ...], *scalars: Any) -> np.ndarray:
    """The reference's answer to each row of the arrays, with the scalars."""
    return np.array([function(*row, *scalars) for row in zip(*(array.tolist() for array in arrays), strict=True)])


def token_logp(logits, tokens, temperature):
    return _row_by_row(language.token_logp, (logits, tokens), temperature)


def sequence_logp(logits, tokens, completion_mask):
    return _row_by_row(language.sequence_logp, (logits, tokens, completion_mask))


def packed_logp(logits, tokens, segments):
    return _row_by_row(language.packed_logp, (logits, tokens, segments)).astype(float)


def packed_gae(token_rewards, values, segments, mask, gamma, lam):
    return _row_by_row(language.packed_gae, (token_rewards, values, segments, mask), gamma, lam)


def packed_aggregate(values, segments, mask, reduction, divisor, **conventions):
    tables = values.tolist(), segments.tolist(), mask.tolist()
    return float(reductions.packed_aggregate(*tables, reduction, divisor, **conventions))


def completion_mask(tokens, prompt_length, eos, pad):
    return _row_by_row(language.completion_mask, (tokens, prompt_length), eos, pad)


def token_rewards(scores, logp, ref_logp, mask, kl_coef, **conventions):
    return _row_by_row(partial(language.token_rewards, **conventions), (scores, logp, ref_logp, mask), kl_coef)


def outcome_score(token_rewards, mask):
    return _row_by_row(language.outcome_score, (token_rewards, mask))


def token_returns(token_rewards, mask, gamma):
    return _row_by_row(language.token_returns, (token_rewards, mask), gamma)


def token_gae(token_rewards, values, mask, gamma, lam):
    return _row_by_row(language.token_gae, (token_rewards, values, mask), gamma, lam)


def turn_sums(values, turns, mask):
    return _row_by_row(conversations.turn_sums, (values, turns, mask))


def turn_returns(token_rewards, turns, mask, gamma):
    return _row_by_row(conversations.turn_returns, (token_rewards, turns, mask), gamma)


def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    return _row_by_row(conversations.turn_gae, (token_rewards, values, turns, mask), gamma, lam)


def aggregate(values, mask, reduction, divisor, **conventions):
    return reductions.aggregate(values.tolist(), mask.tolist(), reduction, divisor, **conventions)


def accumulate(values, mask, reduction, divisor, rows, **conventions):
    return reductions.accumulate(values.tolist(), mask.tolist(), reduction, divisor, rows, **conventions)


def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor, **conventions):
    tables = values.astype(float) if values.dtype.kind in "iu" else values, mask, shards
    return _of_lists(reductions.sharded_loss, *tables, averaged_over, weighing, reduction, divisor, **conventions)


def completion_logp(token_logp, mask):
    rows = zip(token_logp.tolist(), mask.tolist(), strict=True)
    return np.array([preference.completion_logp(*row) for row in rows], dtype=float)


def dpo_loss(
    chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid, **conventions
):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return _of_lists(preference.dpo_loss, *logps, beta, label_smoothing, valid, **conventions)


def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid, **conventions):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return _of_lists(preference.ipo_loss, *logps, tau, valid, **conventions)


def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid, **conventions):
    weights = desirable_weight, undesirable_weight
    return _of_lists(preference.kto_loss, logp, ref_logp, desirable, kl, beta, *weights, valid, **conventions)


def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid, **conventions):
    lengths = chosen_length, rejected_length
    return _of_lists(preference.orpo_loss, chosen_logp, rejected_logp, *lengths, lam, valid, **conventions)


def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid, **conventions):
    lengths = chosen_length, rejected_length
    return _of_lists(preference.simpo_loss, chosen_logp, rejected_logp, *lengths, beta, gamma, valid, **conventions)


def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid, **conventions):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return _of_lists(preference.sppo_loss, *logps, beta, valid, **conventions)


def rpo_loss(
    chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid, **conventions
):
    logps = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp
    return _of_lists(preference.rpo_loss, *logps, chosen_length, beta, alpha, valid, **conventions)


def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid, **conventions):
    scores = chosen_rewards, rejected_rewards, margins
    return _of_lists(preference.reward_model_loss, *scores, centering, valid, **conventions)


def overlong_penalty(lengths, max_length, buffer, factor, **conventions):
    told = max_length, buffer, factor
    return np.array([overlong.overlong_penalty(int(n), *told, **conventions) for n in lengths], dtype=float)


def cosine_reward(lengths, correct, *scores):
    answers = zip(lengths.tolist(), correct.astype(bool).tolist(), strict=True)
    return np.array([overlong.cosine_reward(int(n), right, *scores) for n, right in answers], dtype=float)


def length_reward(lengths, correct, groups):
    told = map(int, lengths.tolist()), correct.astype(bool).tolist(), groups.tolist()
    return np.array(overlong.length_reward(*map(list, told)), dtype=float)


def group_advantages(rewards, groups, baseline, scale, **conventions):
    return np.array(group.group_advantages(rewards.tolist(), groups.tolist(), baseline, scale, **conventions))


def reinforce_plus_plus_advantages(rewards, groups, baseline, **conventions):
    answer = group.reinforce_plus_plus_advantages(rewards.tolist(), groups.tolist(), baseline, **conventions)
    return np.array(answer)


def gdpo_advantages(rewards, groups, weights, **conventions):
    return np.array(group.gdpo_advantages(rewards.tolist(), groups.tolist(), weights.tolist(), **conventions))


def process_advantages(token_rewards, ends, groups, mask, **conventions):
    tables = token_rewards.tolist(), ends.tolist(), groups.tolist(), mask.tolist()
    return np.array(group.process_advantages(*tables, **conventions))


def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, **conventions):
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_lists(group.grpo_loss, *tables, clip_low, clip_high, kl_coef, exp=_exp, **conventions)


def dr_grpo_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length, **conventions
):
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_lists(group.dr_grpo_loss, *tables, clip_low, clip_high, kl_coef, length, exp=_exp, **conventions)


def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, **conventions):
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_lists(group.dapo_loss, *tables, clip_low, clip_high, kl_coef, exp=_exp, **conventions)


def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, **conventions):
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_lists(group.cispo_loss, *tables, clip_low, clip_high, kl_coef, exp=_exp, **conventions)


def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, **conventions):
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_lists(group.gspo_loss, *tables, clip_low, clip_high, kl_coef, exp=_exp, **conventions)


def luspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, **conventions):
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_lists(group.luspo_loss, *tables, clip_low, clip_high, kl_coef, exp=_exp, **conventions)


def gmpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, **conventions):
    tables = logp, old_logp, ref_logp, advantages, groups, mask
    return _of_lists(group.gmpo_loss, *tables, clip_low, clip_high, kl_coef, exp=_exp, **conventions)


def _transitions(function: Callable[..., Any], arrays: tuple[Any, ...], ends: tuple[Any, ...], *scalars: Any) -> Any:
    """The reference's answer to each transition, of arrays followed by two flags."""
    return _row_by_row(function, (*arrays, *_flags(*ends)), *scalars)


def sarsa_target(rewards, next_action_values, next_actions, terminated, truncated, gamma):
    arrays = rewards, next_action_values, next_actions
    return _transitions(value_targets.sarsa_target, arrays, (terminated, truncated), gamma)


def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    arrays = rewards, next_action_values, next_policy
    return _transitions(value_targets.expected_sarsa_target, arrays, (terminated, truncated), gamma)


def q_target(rewards, next_action_values, terminated, truncated, gamma):
    return _transitions(value_targets.q_target, (rewards, next_action_values), (terminated, truncated), gamma)


def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    arrays = rewards, next_online_values, next_target_values
    return _transitions(value_targets.double_q_target, arrays, (terminated, truncated), gamma)


def munchausen_rewards(rewards, logp, alpha, temperature, lowest):
    return _row_by_row(value_targets.munchausen_rewards, (rewards, logp), alpha, temperature, lowest)


def smoothed_actions(actions, noise, noise_clip, low, high):
    return _row_by_row(value_targets.smoothed_actions, (actions, noise), noise_clip, low, high)


def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    arrays = rewards, next_first, next_second
    return _transitions(value_targets.twin_q_target, arrays, (terminated, truncated), gamma)


def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    arrays = rewards, next_first, next_second, next_logp
    return _transitions(value_targets.soft_target, arrays, (terminated, truncated), alpha, gamma)


def n_step_target(rewards, next_values, terminated, truncated, gamma):
    return _time_leading(value_targets.n_step_target, rewards, next_values, *_flags(terminated, truncated), gamma)


def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    with np.errstate(over="ignore"):  # a ratio that is too large for a float is clipped all the same
        ratio = np.exp(log_ratio)
    arrays = rewards, action_values, next_expected_values, *_flags(terminated, truncated), ratio
    return _time_leading(value_targets.retrace, *arrays, gamma, lam)


def tree_backup(rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam):
    arrays = rewards, action_values, next_expected_values, *_flags(terminated, truncated), probabilities
    return _time_leading(value_targets.tree_backup, *arrays, gamma, lam)


def watkins_target(rewards, action_values, next_largest_values, terminated, truncated, greedy, gamma, lam):
    arrays = rewards, action_values, next_largest_values, *_flags(terminated, truncated, greedy)
    return _time_leading(value_targets.watkins_target, *arrays, gamma, lam)


def huber_loss(values, targets, delta, **conventions):
    function = partial(value_targets.huber_loss, delta=delta, **conventions)
    return _each_row(function, values, targets)


def temperature_loss(logp, log_alpha, target_entropy, **conventions):
    return _of_lists(value_targets.temperature_loss, logp, log_alpha, target_entropy, **conventions)


def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    arrays = rewards, next_probabilities
    return _transitions(value_targets.categorical_projection, arrays, (terminated, truncated), v_min, v_max, gamma)


def quantile_huber_loss(quantiles, target_quantiles, delta, **conventions):
    function = partial(value_targets.quantile_huber_loss, delta=delta, **conventions)
    return _each_row(function, quantiles, target_quantiles)


def dueling(values, advantages, **conventions):
    return _row_by_row(partial(value_targets.dueling, **conventions), (values, advantages))


def running_moments(mean, variance, count, batch, **conventions):
    return _of_lists(running.running_moments, mean, variance, count, batch, **conventions)


def fading_moments(mean, square, weight, batch, beta):
    return _of_lists(running.fading_moments, mean, square, weight, batch, beta)


def normalize_observations(observations, mean, variance, eps, clip, **conventions):
    return np.array(_of_lists(running.normalize_observations, observations, mean, variance, eps, clip, **conventions))


def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip, **conventions):
    tables = rewards, *_flags(terminated, truncated)
    scalars = gamma, mean, variance, count, eps, clip
    return np.array(_of_lists(running.scaled_rewards, *tables, *scalars, **conventions))


def popart(weights, bias, old_mean, old_std, new_mean, new_std):
    return _of_lists(running.popart, weights, bias, old_mean, old_std, new_mean, new_std)


def symlog(values):
    return np.array([running.symlog(value) for value in values.tolist()])


def symexp(values):
    return np.array([running.symexp(value) for value in values.tolist()])


def two_hot(values, bins, **conventions):
    return np.array([running.two_hot(value, bins.tolist(), **conventions) for value in values.tolist()])


def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    arrays = rewards, next_values, *_flags(terminated, truncated)
    return _time_leading(replay.replayed_targets, *arrays, capacity, gamma, n)


def sampling_probabilities(priorities, alpha, **conventions):
    return np.array(replay.sampling_probabilities(priorities.tolist(), alpha, **conventions))


def priority_weights(probabilities, sampled, beta, **conventions):
    return np.array(replay.priority_weights(probabilities.tolist(), sampled.tolist(), beta, **conventions))


def sampled_slots(priorities, uniforms, **conventions):
    return np.array(replay.sampled_slots(priorities.tolist(), uniforms.tolist(), **conventions))


def sequence_masks(terminated, truncated, burn_in, **conventions):
    over, stopped = (list(array.T) for array in _flags(terminated, truncated))
    masks = replay.sequence_masks(over, stopped, burn_in, **conventions)
    return tuple(np.array(mask).T for mask in masks)


def autoreset_transitions(observed_values, final_values, terminated, truncated, mode):
    over, stopped = (list(array.T) for array in _flags(terminated, truncated))
    answers = replay.autoreset_transitions(observed_values.T, final_values.T, over, stopped, mode)
    return tuple(np.array(answer).T for answer in answers)


def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit, **conventions):
    tables = rewards, values, next_values, *_flags(terminated, truncated, alive, dies)
    return _row_by_row(partial(agents.agents_gae, **conventions), tables, gamma, lam, credit)


def counterfactual_advantages(action_values, policy, actions):
    return _row_by_row(agents.counterfactual_advantages, (action_values, policy, actions.astype(int)))


def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    tables = rewards, next_action_values, *_flags(available, terminated, truncated)
    return _row_by_row(agents.vdn_target, tables, gamma)
