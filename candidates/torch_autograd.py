"""An independent implementation in vectorised PyTorch: sums as matrix products, values as derivatives.

It shares no formula with the reference.  Returns and advantages are products with a matrix of discounts.  Values are
the derivatives of J with respect to probability mass that flows in: let mass e_t(s, a) enter the process at step t;
then dJ/de_t(s, a) at e = 0 is Q_t(s, a).  Policy gradients are left to autograd altogether.
"""

from typing import Any

import numpy as np
import torch

NAME = f"torch_autograd (torch {torch.__version__})"

Tensor = torch.Tensor


def _tensor(array: Any) -> Tensor:
    """A tensor of the array's numbers, or the tensor that it is; integers become float64."""
    tensor = array if isinstance(array, Tensor) else torch.from_numpy(np.array(array, order="C"))
    return tensor if tensor.is_floating_point() or tensor.dtype == torch.bool else tensor.double()


def _numbers(array: Any) -> Tensor:
    """The same, truth values too."""
    tensor = _tensor(array)
    return tensor.double() if tensor.dtype == torch.bool else tensor


def _flags(array: Any) -> Tensor:
    """Truth values, whatever they are stored as."""
    return _tensor(array).bool()


def _discounts(gamma: float, steps: int, like: Tensor) -> Tensor:
    """gamma^(k - t) at [k, t] for k >= t, and 0 above the diagonal."""
    exponents = torch.arange(steps)[:, None] - torch.arange(steps)
    powers = torch.tensor(gamma, dtype=torch.float64) ** exponents.clamp(min=0)
    return (powers * (exponents >= 0)).to(like.dtype)


def discounted_return(rewards, gamma):
    return (_tensor(rewards) @ _discounts(gamma, rewards.shape[1], _tensor(rewards))[:, 0]).numpy()


def reward_to_go(rewards, gamma):
    return (_tensor(rewards) @ _discounts(gamma, rewards.shape[1], _tensor(rewards))).numpy()


def _same_episode(ended: Tensor) -> Tensor:
    """Whether steps k and t belong to one episode, at [B, k, t]."""
    episode = ended.long().cumsum(1) - ended.long()
    return episode[:, :, None] == episode[:, None, :]


def _last_step(ended: Tensor) -> Tensor:
    """Where an episode, or the rollout, ends."""
    return ended | (torch.arange(ended.shape[1]) == ended.shape[1] - 1)


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    rewards, next_values = _tensor(rewards), _tensor(next_values)
    terminated, truncated = _flags(terminated), _flags(truncated)
    steps = torch.arange(rewards.shape[1])
    ended = terminated | truncated
    counted = _same_episode(ended) & (steps[:, None] >= steps) & (steps[:, None] - steps < n)
    furthest = counted & (_last_step(ended)[:, :, None] | (steps[:, None] - steps == n - 1))
    discounts = _discounts(gamma, len(steps), rewards)
    bootstraps = gamma * next_values.masked_fill(terminated, 0)
    earned = torch.einsum("bk,bkt->bt", rewards, counted * discounts)
    return (earned + torch.einsum("bk,bkt->bt", bootstraps, furthest * discounts)).numpy()


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    rewards, next_values = _tensor(rewards), _tensor(next_values)
    terminated, truncated = _flags(terminated), _flags(truncated)
    ended = terminated | truncated
    trusted = 1 - lam * (~_last_step(ended)).to(rewards.dtype)
    earned = rewards + gamma * trusted * next_values.masked_fill(terminated, 0)
    weights = _same_episode(ended) * _discounts(gamma * lam, rewards.shape[1], rewards)
    return torch.einsum("bk,bkt->bt", earned, weights).numpy()


def _td_error(rewards: Any, values: Any, next_values: Any, terminated: Any, gamma: float) -> Tensor:
    return _tensor(rewards) + gamma * _tensor(next_values).masked_fill(_flags(terminated), 0) - _tensor(values)


def td_error(rewards, values, next_values, terminated, gamma):
    return _td_error(rewards, values, next_values, terminated, gamma).numpy()


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    deltas = _td_error(rewards, values, next_values, terminated, gamma)
    weights = _same_episode(_flags(terminated) | _flags(truncated)) * _discounts(gamma * lam, deltas.shape[1], deltas)
    return torch.einsum("bk,bkt->bt", deltas, weights).numpy()


def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    rewards, values, next_values, log_ratio = map(_tensor, (rewards, values, next_values, log_ratio))
    ended, ratio = _flags(terminated) | _flags(truncated), log_ratio.exp()
    rho, c = ratio.clamp(max=rho_clip), ratio.clamp(max=c_clip)

    steps = torch.arange(rewards.shape[1])
    one_before = c.roll(1, dims=1)[:, :, None]
    traces = torch.where(steps[:, None] > steps, one_before, 1.0).cumprod(1)  # c_t ... c_(k-1) at [B, k, t]
    weights = _same_episode(ended) * _discounts(gamma * lam, len(steps), rewards) * traces
    errors = rho * _td_error(rewards, values, next_values, terminated, gamma)
    targets = values + torch.einsum("bk,bkt->bt", errors, weights)

    mixed = lam * targets.roll(-1, dims=1) + (1 - lam) * next_values
    ahead = torch.where(_last_step(ended), next_values, mixed)
    return targets.numpy(), (rho * _td_error(rewards, values, ahead, terminated, gamma)).numpy()


def normalize_advantages(advantages, mask):
    advantages, mask = _tensor(advantages), _flags(mask)
    counted = advantages[mask]
    if len(counted) > 1:
        counted = (counted - counted.mean()) / (counted.std() + 1e-8)
    return torch.zeros_like(advantages).masked_scatter(mask, counted).numpy()


def _flow(
    transition: Tensor, reward: Tensor, initial: Tensor, policy: Tensor, gamma: float, inflow: Tensor
) -> tuple[Tensor, Tensor]:
    """J and the discounted occupancy [H, S], with the mass inflow [H, S, A] entering on the way."""
    state, occupancy, total = initial, [], initial.new_zeros(())
    for entering in inflow:
        occupancy.append(state)
        pairs = state[:, None] * policy + entering
        total = total + (pairs * reward).sum()
        state = gamma * torch.einsum("sa,sab->b", pairs, transition)
    return total, torch.stack(occupancy)


def _stationary_flow(
    transition: Tensor, reward: Tensor, initial: Tensor, policy: Tensor, gamma: float, inflow: Tensor
) -> tuple[Tensor, Tensor]:
    """J and the occupancy [S] of an infinite horizon, with the mass inflow [S, A] entering at the first step."""
    chain = torch.einsum("sa,sab->sb", policy, transition)
    entering = initial + gamma * torch.einsum("sa,sab->b", inflow, transition)
    state = torch.linalg.solve((torch.eye(len(chain), dtype=chain.dtype) - gamma * chain).T, entering)
    return ((state[:, None] * policy + inflow) * reward).sum(), state


def _evaluate(
    transition: Any, reward: Any, initial: Any, policy: Tensor, gamma: float, horizon: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """J, the occupancy and the inflow with respect to which J can be differentiated."""
    flow, steps = (_stationary_flow, ()) if horizon is None else (_flow, (horizon,))
    inflow = torch.zeros((*steps, *policy.shape), dtype=policy.dtype, requires_grad=True)
    total, occupancy = flow(_tensor(transition), _tensor(reward), _tensor(initial), policy, gamma, inflow)
    return total, occupancy, inflow


def expected_return(transition, reward, initial, policy, gamma, horizon):
    return _evaluate(transition, reward, initial, _tensor(policy), gamma, horizon)[0].item()


def occupancy(transition, initial, policy, gamma, horizon):
    nothing = np.zeros(policy.shape, policy.dtype)
    return _evaluate(transition, nothing, initial, _tensor(policy), gamma, horizon)[1].detach().numpy()


def _action_values(transition: Any, reward: Any, policy: Tensor, gamma: float, horizon: int | None) -> Tensor:
    nowhere = np.zeros(transition.shape[0], transition.dtype)
    total, _, inflow = _evaluate(transition, reward, nowhere, policy, gamma, horizon)
    return torch.autograd.grad(total, inflow)[0]


def action_values(transition, reward, policy, gamma, horizon):
    return _action_values(transition, reward, _tensor(policy), gamma, horizon).numpy()


def state_values(transition, reward, policy, gamma, horizon):
    policy = _tensor(policy)
    return (policy * _action_values(transition, reward, policy, gamma, horizon)).sum(-1).numpy()


def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    logits = _tensor(logits).requires_grad_()
    total, _, _ = _evaluate(transition, reward, initial, logits.softmax(-1), gamma, horizon)
    return torch.autograd.grad(total, logits)[0].numpy()


def policy_gradient(logits, states, actions, rewards, mask, gamma):
    logits, mask = _tensor(logits).requires_grad_(), _flags(mask)
    states, actions = (_tensor(index).long().masked_fill(~mask, 0) for index in (states, actions))
    rewards = _tensor(rewards).masked_fill(~mask, 0).to(logits.dtype)
    discounts = _discounts(gamma, rewards.shape[1], rewards)
    weights = (rewards @ discounts) * discounts[:, 0]
    chosen = logits.log_softmax(-1)[states, actions].masked_fill(~mask, 0)
    return torch.autograd.grad((weights * chosen).sum(1).mean(), logits)[0].numpy()


def entropy(logits, legal):
    logits = _tensor(logits).requires_grad_()
    possible = _flags(legal) & (logits > -torch.inf)
    rivals = logits.masked_fill(~possible, -torch.inf)
    value = rivals.logsumexp(-1) - (rivals.softmax(-1) * logits.masked_fill(~possible, 0)).sum(-1)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), logits)[0].numpy()


def _gaussian(mean: Tensor, log_std: Tensor) -> torch.distributions.Distribution:
    """A Gaussian with independent axes."""
    return torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp(), validate_args=False), 1)


def _with_slopes(value: Tensor, *leaves: Tensor) -> tuple[Any, ...]:
    """Each row's value, and its derivatives in the leaves."""
    return value.detach().numpy(), *(slope.numpy() for slope in torch.autograd.grad(value.sum(), leaves))


def gaussian_logp(actions, mean, log_std):
    mean, log_std = _tensor(mean).requires_grad_(), _tensor(log_std).requires_grad_()
    return _with_slopes(_gaussian(mean, log_std).log_prob(_tensor(actions)), mean, log_std)


def gaussian_entropy(log_std):
    log_std = _tensor(log_std).requires_grad_()
    return _with_slopes(_gaussian(torch.zeros_like(log_std), log_std).entropy(), log_std)


def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    mean, log_std = _tensor(mean).requires_grad_(), _tensor(log_std).requires_grad_()
    reference = _gaussian(_tensor(ref_mean), _tensor(ref_log_std))
    value = torch.distributions.kl_divergence(_gaussian(mean, log_std), reference)
    return _with_slopes(value, mean, log_std)


def squashed_gaussian_logp(presquash, mean, log_std):
    presquash = _tensor(presquash).requires_grad_()
    logp = _gaussian(_tensor(mean), _tensor(log_std)).log_prob(presquash)
    stretch = torch.distributions.TanhTransform().log_abs_det_jacobian(presquash, presquash.tanh())
    return _with_slopes(logp - stretch.sum(-1), presquash)


def bounded_gaussian_logp(presquash, mean, log_std, low, high):
    presquash, low, high = _tensor(presquash).requires_grad_(), _tensor(low), _tensor(high)
    between = torch.distributions.AffineTransform((high + low) / 2, (high - low) / 2)
    stretch = torch.distributions.ComposeTransform([torch.distributions.TanhTransform(), between])
    logp = _gaussian(_tensor(mean), _tensor(log_std)).log_prob(presquash)
    return _with_slopes(logp - stretch.log_abs_det_jacobian(presquash, stretch(presquash)).sum(-1), presquash)


def tempered_entropy(logits, temperature):
    logits = _tensor(logits).requires_grad_()
    policy = torch.distributions.Categorical(logits=logits / temperature, validate_args=False)
    return _with_slopes(policy.entropy(), logits)


def policy_gradient_loss(logp, advantages, mask):
    logp, advantages, mask = _tensor(logp).requires_grad_(), _tensor(advantages), _flags(mask)
    loss = -(advantages[mask] * logp[mask]).sum() / mask.sum().clamp(min=1)
    return loss.detach().numpy(), torch.autograd.grad(loss, logp)[0].numpy()


def _kl_estimate(logp: Tensor, ref_logp: Tensor, estimator: str) -> Tensor:
    log_ratio = logp - ref_logp
    return {"k1": log_ratio, "k2": log_ratio.square() / 2, "k3": torch.expm1(-log_ratio) + log_ratio}[estimator]


def kl_estimate(logp, ref_logp, estimator):
    return _kl_estimate(_tensor(logp), _tensor(ref_logp), estimator).numpy()


def kl_divergence(logits, ref_logits):
    logits, reference = _tensor(logits).requires_grad_(), _tensor(ref_logits).log_softmax(-1)
    chosen = logits > -torch.inf
    gap = logits.log_softmax(-1).masked_fill(~chosen, 0) - reference.masked_fill(~chosen, 0)
    value = (logits.softmax(-1) * gap).sum(-1)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), logits)[0].numpy()


def distillation_divergence(logits, teacher_logits, beta, temperature):
    """Entropies: that of the mixture, less the mean one of what is mixed; at both ends cross-entropies."""
    logits = _tensor(logits).requires_grad_()
    ours, theirs = (row.div(temperature).log_softmax(-1) for row in (logits, _tensor(teacher_logits)))
    if beta in (0, 1):
        first, second = (ours, theirs) if beta else (theirs, ours)
        value = (first.exp() * (first - second)).sum(-1)
    else:
        parts = torch.tensor([1 - beta, beta], dtype=torch.float64).log().to(ours.dtype)
        mixed = torch.stack([ours, theirs], -1).add(parts).logsumexp(-1)
        value = beta * (theirs.exp() * (theirs - mixed)).sum(-1) + (1 - beta) * (ours.exp() * (ours - mixed)).sum(-1)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), logits)[0].numpy()


def topk_divergence(logits, teacher_logits, k, direction, tail):
    """Sums over tokens that are sorted by the teacher."""
    logits, teacher_logits = _tensor(logits).requires_grad_(), _tensor(teacher_logits)
    order = teacher_logits.argsort(-1, descending=True)
    ours, theirs = (row.log_softmax(-1).gather(-1, order) for row in (logits, teacher_logits))
    kept = [row[:, :k] for row in (ours, theirs)]
    if tail == "bucket" and k < ours.shape[1]:
        rest = [row[:, k:].logsumexp(-1, keepdim=True) for row in (ours, theirs)]
        kept = [torch.cat(parts, -1) for parts in zip(kept, rest, strict=True)]
    if tail == "renormalized":
        kept = [row.log_softmax(-1) for row in kept]
    first, second = kept if direction == "reverse" else kept[::-1]
    value = (first.exp() * (first - second)).sum(-1)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), logits)[0].numpy()


def kl_loss(logp, ref_logp, old_logp, mask, estimator):
    logp, mask = _tensor(logp).requires_grad_(), _flags(mask)
    chosen, reference, spoken = logp[mask], _tensor(ref_logp)[mask], _tensor(old_logp)[mask]
    ratio = (chosen - spoken).exp()
    weight = ratio.detach() if estimator == "k2" else ratio
    loss = (weight * _kl_estimate(chosen, reference, estimator)).sum() / mask.sum().clamp(min=1)
    return loss.detach().numpy(), torch.autograd.grad(loss, logp)[0].numpy()


def _counted(mask: Any, *arrays: Any) -> tuple[Tensor, ...]:
    """What the mask counts of some tensors, in one line each."""
    return tuple(array[_flags(mask)] for array in arrays)


def _mean(terms: Tensor) -> Tensor:
    return terms.sum() / max(len(terms), 1)


def _with_gradients(loss: Tensor, *inputs: Tensor) -> tuple[Any, ...]:
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
    return loss.detach().numpy(), *(gradient.numpy() for gradient in gradients)


def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    """The ratio is limited as a logarithm, on the side that the advantage pushes it to, and never overflows."""
    logp = _tensor(logp).requires_grad_()
    log_ratio, advantage = _counted(mask, logp - _tensor(old_logp), _tensor(advantages))
    limits = torch.tensor([1 - clip_low, 1 + clip_high, dual_clip or torch.inf], dtype=torch.float64).log()
    lowest, highest, furthest = limits.to(logp.dtype)
    praised = torch.minimum(log_ratio, highest)
    blamed = torch.clamp(log_ratio, lowest, furthest)
    loss = -_mean(torch.where(advantage < 0, blamed, praised).exp() * advantage)
    return _with_gradients(loss, logp)


def _log_weights(logp: Any, sampler_logp: Any, mask: Any, level: str) -> tuple[Tensor, Tensor]:
    """The logarithms of weights, and where they count; a row's sum is a product with the mask."""
    counts, difference = _flags(mask), _tensor(logp) - _tensor(sampler_logp)
    log_ratio = difference.masked_fill(~counts, 0)
    if level == "token":
        return log_ratio, counts
    lengths = counts.sum(1).clamp(min=1) if level == "geometric" else 1
    return (log_ratio.sum(1) / lengths)[:, None].expand_as(log_ratio), counts


def _importance_weights(*arguments: Any) -> Tensor:
    """Bounds are bounds of logarithms, so that nothing overflows that is bounded."""
    logp, sampler_logp, mask, level, form, low, high = arguments
    log_weight, counts = _log_weights(logp, sampler_logp, mask, level)
    lowest, highest = torch.tensor([low, high], dtype=torch.float64).log().to(log_weight.dtype)
    if form == "masked":
        counts = counts & (log_weight >= lowest) & (log_weight <= highest)
    elif form == "clipped":
        log_weight = log_weight.clamp(lowest, highest)
    elif form == "truncated":
        log_weight = log_weight.clamp(max=highest)
    return log_weight.masked_fill(~counts, -torch.inf).exp()


def importance_weights(logp, sampler_logp, mask, level, form, low, high):
    return _importance_weights(logp, sampler_logp, mask, level, form, low, high).numpy()


def self_normalized_weights(logp, sampler_logp, mask, level, form, low, high):
    weights, counts = _importance_weights(logp, sampler_logp, mask, level, form, low, high), _flags(mask)
    if level == "token":
        mean = weights.sum() / counts.sum().clamp(min=1)
    else:
        mean = weights.amax(1).sum() / counts.any(1).sum().clamp(min=1)
    return torch.where(mean > 0, weights / mean, weights).numpy()


def corrected_loss(logp, old_logp, sampler_logp, advantages, mask, clip_low, clip_high, level, form, low, high):
    """PPO's loss is positively homogeneous in advantages, so that a weight is a factor of these."""
    weights = _importance_weights(old_logp, sampler_logp, mask, level, form, low, high)
    weighed = weights * _tensor(advantages).masked_fill(~_flags(mask), 0)
    return ppo_loss(logp, old_logp, weighed.numpy(), mask, clip_low, clip_high, None)


def effective_sample_size(weights, mask):
    """One over the sum of the squares of weights that add up to 1."""
    [counted] = _counted(mask, _tensor(weights))
    shares = torch.nn.functional.normalize(counted, p=1, dim=0, eps=1e-300)
    square = shares.square().sum()
    return torch.where(square > 0, 1 / square, torch.zeros_like(square)).numpy()


def value_loss(values, old_values, returns, mask, clip):
    values = _tensor(values).requires_grad_()
    value, old, target = _counted(mask, values, _tensor(old_values), _tensor(returns))
    errors = [value - target] if clip is None else [value - target, old + (value - old).clamp(-clip, clip) - target]
    return _with_gradients(_mean(torch.stack(errors).abs().amax(0).square()), values)


def actor_critic_loss(logp, values, entropies, returns, mask, value_coef, entropy_coef):
    inputs = [_tensor(array).requires_grad_() for array in (logp, values, entropies)]
    chosen, value, entropy, target = _counted(mask, *inputs, _tensor(returns))
    error = value - target
    return _with_gradients(_mean(error.detach() * chosen + value_coef * error**2 - entropy_coef * entropy), *inputs)


def approx_kl(logp, old_logp, mask):
    [log_ratio] = _counted(mask, _tensor(logp) - _tensor(old_logp))
    return _mean(log_ratio.expm1() - log_ratio).numpy()


def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    [log_ratio] = _counted(mask, _tensor(logp) - _tensor(old_logp))
    ratio = log_ratio.exp()
    return _mean(((ratio < 1 - clip_low) | (ratio > 1 + clip_high)).double()).numpy()


# Language: log-probabilities as cross-entropies, orderings of tokens as matrices, aggregates as weighted sums.


def _cross_entropy(logits: Tensor, tokens: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens.long(), reduction="none")


def token_logp(logits, tokens, temperature):
    return -_cross_entropy(_tensor(logits) / temperature, torch.from_numpy(np.array(tokens))).numpy()


def sequence_logp(logits, tokens, completion_mask):
    logits, tokens, counts = _tensor(logits), torch.from_numpy(np.array(tokens)), _flags(completion_mask)
    if logits.shape[1] == 1:  # nothing is predicted, and torch predicts nothing of no size
        return np.zeros(len(logits))
    surprise = _cross_entropy(logits[:, :-1].masked_fill(~counts[:, 1:, None], 0), tokens[:, 1:])
    return -surprise.masked_fill(~counts[:, 1:], 0).sum(1).numpy()


def packed_logp(logits, tokens, segments):
    """Labels that are ignored where a sequence begins."""
    logits, tokens, segments = _tensor(logits), torch.from_numpy(np.array(tokens)), np.asarray(segments)
    found = torch.zeros(tokens.shape, dtype=logits.dtype)
    if tokens.shape[1] > 1:
        labels = tokens[:, 1:].long().masked_fill(torch.from_numpy(segments[:, 1:] != segments[:, :-1]), -100)
        found[:, 1:] = -_cross_entropy(logits[:, :-1], labels)
    return found.numpy()


def completion_mask(tokens, prompt_length, eos, pad):
    tokens, begins = (torch.from_numpy(np.array(array)) for array in (tokens, prompt_length))
    answered = torch.arange(tokens.shape[1]) >= begins[:, None]
    ends = answered & (tokens == eos)
    still_padding = (tokens == pad).flip(1).long().cumprod(1).flip(1).bool() & ~ends.any(1, keepdim=True)
    return (answered & (ends.long().cumsum(1) - ends.long() == 0) & ~still_padding).long().numpy()


def token_rewards(scores, logp, ref_logp, mask, kl_coef):
    scores, logp, ref_logp, mask = _tensor(scores), _tensor(logp), _tensor(ref_logp), _flags(mask)
    later = mask.long().flip(1).cumsum(1).flip(1)
    distance = (logp - ref_logp).masked_fill(~mask, 0)
    return ((mask & (later == 1)) * scores[:, None] - kl_coef * distance).numpy()


def outcome_score(token_rewards, mask):
    return _tensor(token_rewards).masked_fill(~_flags(mask), 0).sum(1).numpy()


def _counted_discounts(mask: Tensor, discount: float, like: Tensor) -> Tensor:
    """discount^(how many tokens that count lie between) at [B, k, t], for tokens k >= t that both count."""
    number = mask.long().cumsum(1)
    apart = number[:, :, None] - number[:, None, :]
    both = mask[:, :, None] & mask[:, None, :] & (apart >= 0)
    powers = torch.tensor(discount, dtype=torch.float64) ** apart.clamp(min=0)
    return (powers * both).to(like.dtype)


def token_returns(token_rewards, mask, gamma):
    rewards, mask = _tensor(token_rewards), _flags(mask)
    rewards = rewards.masked_fill(~mask, 0)
    return torch.einsum("bk,bkt->bt", rewards, _counted_discounts(mask, gamma, rewards)).numpy()


def token_gae(token_rewards, values, mask, gamma, lam):
    rewards, values, mask = _tensor(token_rewards), _tensor(values), _flags(mask)
    rewards, values = rewards.masked_fill(~mask, 0), values.masked_fill(~mask, 0)
    number = mask.long().cumsum(1)
    is_next = mask[:, :, None] & (number[:, :, None] == number[:, None, :] + 1)
    errors = rewards + gamma * torch.einsum("bk,bkt->bt", values, is_next.to(values.dtype)) - values
    weights = _counted_discounts(mask, gamma * lam, rewards)
    return torch.einsum("bk,bkt->bt", errors.masked_fill(~mask, 0), weights).numpy()


def _of_one_sequence(segments: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens that count are of one sequence [B, T, T], and the number of each in its own [B, T]."""
    names = torch.from_numpy(np.array(segments))
    together = mask[:, :, None] & mask[:, None, :] & (names[:, :, None] == names[:, None, :])
    return together, together.tril().sum(2)


def packed_gae(token_rewards, values, segments, mask, gamma, lam):
    flags = _flags(mask)
    together, number = _of_one_sequence(segments, flags)
    rewards, values = _tensor(token_rewards).masked_fill(~flags, 0), _tensor(values).masked_fill(~flags, 0)
    apart = number[:, :, None] - number[:, None, :]  # [k, t]: how many steps k is behind t
    following = torch.einsum("bk,bkt->bt", values, (together & (apart == 1)).to(values.dtype))
    errors = (rewards + gamma * following - values).masked_fill(~flags, 0)
    powers = torch.tensor(gamma * lam, dtype=torch.float64) ** apart.clamp(min=0)
    weights = (powers * (together & (apart >= 0))).to(errors.dtype)
    return torch.einsum("bk,bkt->bt", errors, weights).numpy()


# Turns: tables of which token is of the same turn as which, and of which turn comes how much later.


def _same_turn(turns: Any, mask: Tensor) -> Tensor:
    """Which tokens that count are of one turn [B, T, T]."""
    turns = torch.from_numpy(np.array(turns))
    return (turns[:, :, None] == turns[:, None, :]) & mask[:, :, None] & mask[:, None, :]


def _turn_numbers(turns: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens are the first of their turn, and the number of each token's turn among those that have tokens."""
    first = mask & ~_same_turn(turns, mask).tril(-1).any(2)
    return first, first.long().cumsum(1)


def turn_sums(values, turns, mask):
    values, mask = _tensor(values), _flags(mask)
    return torch.einsum("btk,bk->bt", _same_turn(turns, mask).to(values.dtype), values.masked_fill(~mask, 0)).numpy()


def turn_returns(token_rewards, turns, mask, gamma):
    rewards, mask = _tensor(token_rewards), _flags(mask)
    _, number = _turn_numbers(turns, mask)
    ahead = number[:, None, :] - number[:, :, None]
    weights = (gamma ** ahead.clamp(min=0).to(rewards.dtype)).masked_fill((ahead < 0) | ~mask[:, :, None], 0)
    return torch.einsum("btk,bk->bt", weights, rewards.masked_fill(~mask, 0)).numpy()


def turn_gae(token_rewards, values, turns, mask, gamma, lam):
    flags = _flags(mask)
    first, number = _turn_numbers(turns, flags)
    values = _tensor(values).masked_fill(~first, 0)
    follows = (number[:, None, :] == number[:, :, None] + 1).to(values.dtype)
    following = torch.einsum("btk,bk->bt", follows, values)
    errors = (gamma * following - values).masked_fill(~first, 0) + _tensor(token_rewards).masked_fill(~flags, 0)
    return turn_returns(errors.numpy(), turns, mask, gamma * lam)


def _weights(mask: Tensor, reduction: str, divisor: float, like: Tensor) -> Tensor:
    """d aggregate / d values, [B, T]."""
    counts = mask.to(like.dtype)
    lengths, one = counts.sum(1, keepdim=True), torch.ones((), dtype=like.dtype)
    weights = {
        "token-mean": 1 / lengths.sum().clamp(min=1),
        "mean of means": 1 / (lengths.clamp(min=1) * len(mask)),
        "mean of sums": one / len(mask),
        "sum": one,
        "fixed divisor": one / divisor,
        "mean of sums over a fixed divisor": one / (len(mask) * divisor),
    }
    return weights[reduction] * counts


def aggregate(values, mask, reduction, divisor):
    values, mask = _tensor(values), _flags(mask)
    return (values.masked_fill(~mask, 0) * _weights(mask, reduction, divisor, values)).sum().item()


def accumulate(values, mask, reduction, divisor, rows):
    values, mask = _tensor(values), _flags(mask)
    weighted = values.masked_fill(~mask, 0) * _weights(mask, reduction, divisor, values)
    return sum(part.sum() for part in weighted.split(rows)).item()


def packed_aggregate(values, segments, mask, reduction, divisor):
    """Each token's weight, of how many tokens its sequence has, and of how many sequences there are."""
    values, flags = _tensor(values), _flags(mask)
    lengths = _of_one_sequence(segments, flags)[0].sum(2).clamp(min=1).to(values.dtype)
    sequences = (flags / lengths).sum().round().clamp(min=1)
    sizes = {
        "token-mean": flags.sum().clamp(min=1),
        "mean of means": sequences * lengths,
        "mean of sums": sequences,
        "sum": 1,
        "fixed divisor": divisor,
        "mean of sums over a fixed divisor": sequences * divisor,
    }[reduction]
    return (values / sizes).masked_fill(~flags, 0).sum().item()


def sharded_loss(values, mask, shards, averaged_over, weighing, reduction, divisor):
    """Each shard's own loss, times what it weighs."""
    values, mask = _tensor(values).requires_grad_(), _flags(mask)
    whole, loss = _weights(mask, reduction, divisor, values), values.new_zeros(())
    for shard in range(averaged_over):
        rows = torch.from_numpy(np.array(shards)) == shard
        part = mask[rows]
        own = _weights(part, reduction, divisor, values) if len(part) else whole[rows]
        share = {
            "whole": 1.0,
            "shards": 1 / averaged_over,
            "rows": len(part) / len(mask),
            "tokens": int(part.sum()) / max(int(mask.sum()), 1),
        }
        weights = share[weighing] * (whole[rows] if weighing == "whole" else own)
        loss = loss + (values[rows].masked_fill(~part, 0) * weights).sum()
    return loss.detach().numpy(), torch.autograd.grad(loss, values)[0].numpy()


def completion_logp(token_logp, mask):
    return _tensor(token_logp).masked_fill(~_flags(mask), 0).sum(1).numpy()


def overlong_penalty(lengths, max_length, buffer, factor):
    """The mean over the buffer's tokens of whether the answer has them."""
    costly = torch.arange(max_length - buffer, max_length)
    return -factor * (_tensor(lengths)[:, None] > costly).double().mean(1).numpy()


def cosine_reward(
    lengths, correct, max_length, shortest_correct, longest_correct, shortest_wrong, longest_wrong, exceeded
):
    """The square of a sine is what half of a period has behind it."""
    right, lengths = _flags(correct), _tensor(lengths).double()
    behind = torch.sin(lengths.clamp(max=max_length) * (torch.pi / (2 * max_length))) ** 2
    shortest = torch.tensor([shortest_wrong, shortest_correct], dtype=torch.float64)[right.long()]
    longest = torch.tensor([longest_wrong, longest_correct], dtype=torch.float64)[right.long()]
    found = torch.lerp(shortest, longest, behind)
    return (found if exceeded is None else found.masked_fill(lengths >= max_length, exceeded)).numpy()


def length_reward(lengths, correct, groups):
    """What the group's longest is above, less what its shortest is below, over twice what they are apart."""
    lengths, (_, index) = _tensor(lengths).double(), np.unique(groups, return_inverse=True)
    together = torch.from_numpy(index[:, None] == index)
    longest = lengths.expand(together.shape).masked_fill(~together, -torch.inf).amax(1)
    shortest = lengths.expand(together.shape).masked_fill(~together, torch.inf).amin(1)
    place = ((longest - lengths) - (lengths - shortest)) / (2 * (longest - shortest)).clamp(min=1)
    return torch.where(_flags(correct), place, place.clamp(max=0)).numpy()


def _mean_and_slopes(of_rows: Any, valid: Any, slopes: int, *columns: Any) -> tuple[Any, ...]:
    """The mean over the valid rows of what the function says of their columns, and its derivatives in the first few."""
    columns = tuple(map(_tensor, columns))
    leaves = [column.requires_grad_() for column in columns[:slopes]]
    counted = _tensor(valid).bool()
    loss = of_rows(*(column[counted] for column in columns)).sum() / counted.sum().clamp(min=1)
    return loss.detach().numpy(), *(slope.numpy() for slope in torch.autograd.grad(loss, leaves))


def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    def of_pairs(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
        rewards = beta * torch.stack([chosen - ref_chosen, rejected - ref_rejected])
        beliefs = rewards.log_softmax(0)  # of two answers, as in a choice between them
        return -(1 - label_smoothing) * beliefs[0] - label_smoothing * beliefs[1]

    return _mean_and_slopes(of_pairs, valid, 2, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)


def ipo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, tau, valid):
    def of_pairs(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
        return ((chosen - rejected) - (ref_chosen - ref_rejected) - 1 / (2 * tau)).square()

    return _mean_and_slopes(of_pairs, valid, 2, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)


def kto_loss(logp, ref_logp, desirable, kl, beta, desirable_weight, undesirable_weight, valid):
    def of_completions(logp: Tensor, ref_logp: Tensor, desirable: Tensor) -> Tensor:
        gain = beta * (logp - ref_logp - kl)
        liked, disliked = (1 - gain.sigmoid()) * desirable_weight, gain.sigmoid() * undesirable_weight
        return torch.where(desirable, liked, disliked)

    return _mean_and_slopes(of_completions, valid, 1, logp, ref_logp, np.asarray(desirable, dtype=bool))


def orpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, lam, valid):
    def of_pairs(chosen: Tensor, rejected: Tensor, chosen_length: Tensor, rejected_length: Tensor) -> Tensor:
        chosen, rejected = chosen / chosen_length, rejected / rejected_length
        right, wrong = (mean - (-mean.expm1()).log() for mean in (chosen, rejected))
        return -chosen + lam * torch.logaddexp(wrong - right, torch.zeros_like(right))

    return _mean_and_slopes(of_pairs, valid, 2, chosen_logp, rejected_logp, chosen_length, rejected_length)


def simpo_loss(chosen_logp, rejected_logp, chosen_length, rejected_length, beta, gamma, valid):
    def of_pairs(chosen: Tensor, rejected: Tensor, chosen_length: Tensor, rejected_length: Tensor) -> Tensor:
        lacking = gamma - beta * (chosen / chosen_length - rejected / rejected_length)
        return torch.logaddexp(lacking, torch.zeros_like(lacking))

    return _mean_and_slopes(of_pairs, valid, 2, chosen_logp, rejected_logp, chosen_length, rejected_length)


def sppo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, valid):
    def of_pairs(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
        ratios = torch.stack([chosen - ref_chosen, rejected - ref_rejected])
        target = torch.tensor([[0.5], [-0.5]], dtype=ratios.dtype) / beta
        return (ratios - target).square().sum(0)

    return _mean_and_slopes(of_pairs, valid, 2, chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp)


def rpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length, beta, alpha, valid):
    def of_pairs(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, length: Tensor) -> Tensor:
        rewards = beta * torch.stack([chosen - ref_chosen, rejected - ref_rejected])
        return -rewards.log_softmax(0)[0] - alpha * chosen / length

    columns = chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, chosen_length
    return _mean_and_slopes(of_pairs, valid, 2, *columns)


def reward_model_loss(chosen_rewards, rejected_rewards, margins, centering, valid):
    def of_pairs(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
        scores = torch.stack([chosen, rejected])
        asked = scores - torch.stack([margin, torch.zeros_like(margin)])
        return -asked.log_softmax(0)[0] + centering * scores.sum(0).square()

    return _mean_and_slopes(of_pairs, valid, 2, chosen_rewards, rejected_rewards, margins)


def group_advantages(rewards, groups, baseline, scale):
    rewards = _numbers(rewards)
    _, index = np.unique(groups, return_inverse=True)
    member = torch.nn.functional.one_hot(torch.from_numpy(index)).to(rewards.dtype)  # [N, number of groups]
    together = member @ member.T
    size = together.sum(1)
    # Pairwise differences: those of equal rewards are exactly 0.
    differences = (rewards[:, None] - rewards) * together
    above = differences.sum(1) / (size if baseline == "mean" else (size - 1).clamp(min=1))
    if scale == "none":
        return above.numpy()
    return (above / (_of_the_group(differences.square(), together, size).sqrt() + 1e-6)).numpy()


def gdpo_advantages(rewards, groups, weights):
    rewards, weights = _numbers(rewards), _tensor(weights)
    columns = [torch.from_numpy(group_advantages(column, groups, "mean", "std")) for column in rewards.T]
    sums = torch.stack(columns, 1) @ weights.to(rewards.dtype)
    if len(sums) < 2 or bool((sums == sums[0]).all()):
        return torch.zeros_like(sums).numpy()
    return ((sums - sums.mean()) / (sums.std() + 1e-4)).numpy()


def process_advantages(token_rewards, ends, groups, mask):
    rewards, counts = _numbers(token_rewards), _flags(mask)
    steps = _flags(ends) & counts
    _, index = np.unique(groups, return_inverse=True)
    of_step = np.broadcast_to(np.asarray(index)[:, None], steps.shape)[steps.numpy()]
    paid = torch.zeros_like(rewards)
    if of_step.size:
        paid[steps] = torch.from_numpy(group_advantages(rewards[steps], of_step, "mean", "std")).to(paid.dtype)
    following = torch.ones(paid.shape[1], paid.shape[1]).tril().to(paid.dtype)  # [s, t]: whether s is not before t
    return (paid @ following).masked_fill(~counts, 0).numpy()


def _of_the_group(squares: Tensor, together: Tensor, size: Tensor) -> Tensor:
    """The variance of each sample's group: half the mean square of the differences of all ordered pairs."""
    return (together @ squares.sum(1)) / (2 * size * (size - 1).clamp(min=1))


def reinforce_plus_plus_advantages(rewards, groups, baseline):
    if baseline == "mean":
        rewards = group_advantages(rewards, groups, "mean", "none")
    rewards = _numbers(rewards)
    differences = rewards[:, None] - rewards
    everyone = torch.ones_like(differences)
    size = everyone.sum(1)
    variance = _of_the_group(differences.square(), everyone, size)
    return (differences.mean(1) * (variance + 1e-8).rsqrt()).numpy()


def _clipped(log_ratio: Tensor, advantages: Tensor, lowest: float, highest: float) -> Tensor:
    """Log-ratios that are held beyond the highest where an advantage gains by going there, and below the lowest."""
    up, down = log_ratio.clamp(max=highest), log_ratio.clamp(min=lowest)
    return torch.where(advantages > 0, up, torch.where(advantages < 0, down, log_ratio))


def _divided(terms: Tensor, mask: Tensor, groups: Any, reduction: str, divisor: float) -> Tensor:
    """The reduction of terms that are 0 under the mask."""
    lengths = mask.sum(1).clamp(min=1)
    if reduction == "mean of group token-means":
        _, index = np.unique(groups, return_inverse=True)
        member = torch.nn.functional.one_hot(torch.from_numpy(index)).to(terms.dtype)  # [B, number of groups]
        return ((member.T @ terms).sum(1) / (member.T @ mask.to(terms.dtype)).sum(1).clamp(min=1)).mean()
    return {
        "token-mean": terms.sum() / mask.sum().clamp(min=1),
        "mean of means": (terms.sum(1) / lengths).mean(),
        "mean of sums": terms.sum(1).mean(),
        "sum": terms.sum(),
        "fixed divisor": terms.sum() / divisor,
        "mean of sums over a fixed divisor": terms.sum(1).mean() / divisor,
    }[reduction]


def _distance(logp: Tensor, ref_logp: Tensor, kl: str) -> Tensor:
    behind = ref_logp - logp
    return {"k1": -behind, "k2": behind.square() / 2, "k3": behind.expm1() - behind}[kl]


def surrogate_loss(
    logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef,
    ratio, clip, dual_clip, reduction, divisor, kl,
):  # fmt: skip
    """Ratios are limited as logarithms, on the side that the advantage pushes them to."""
    mask, logp = _flags(mask), _tensor(logp).requires_grad_()
    kept, old, ref = (numbers.masked_fill(~mask, 0) for numbers in (logp, _tensor(old_logp), _tensor(ref_logp)))
    advantages, log_ratio = _tensor(advantages).to(kept.dtype)[:, None], kept - old
    if clip == "geometric":
        log_ratio = _clipped(log_ratio, advantages, -clip_low, clip_high)
    if ratio == "sequence":
        log_ratio = ((log_ratio * mask).sum(1) / mask.sum(1).clamp(min=1))[:, None].expand_as(kept)
    edges = torch.tensor([1 - clip_low, 1 + clip_high, dual_clip or torch.inf], dtype=torch.float64).log()
    lowest, highest, furthest = edges.to(kept.dtype)
    if ratio == "none" or clip == "weight":
        weight = log_ratio.detach().clamp(lowest, highest).exp() if ratio != "none" else 1.0
        terms = weight * advantages * kept
    elif clip == "pessimistic":
        bounded = torch.where(advantages < 0, log_ratio.clamp(max=furthest), log_ratio)
        terms = _clipped(bounded, advantages, lowest, highest).exp() * advantages
    else:
        terms = log_ratio.exp() * advantages
    costs = kl_coef * _distance(kept, ref, kl) if kl_coef else 0.0
    return _with_gradients(_divided((costs - terms) * mask, mask, groups, reduction, divisor), logp)


def grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    arguments = logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    return surrogate_loss(*arguments, "token", "pessimistic", None, "mean of means", 1.0, "k3")


def dr_grpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef, length):
    arguments = logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    return surrogate_loss(*arguments, "token", "pessimistic", None, "mean of sums over a fixed divisor", length, "k3")


def dapo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    arguments = logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    return surrogate_loss(*arguments, "token", "pessimistic", None, "token-mean", 1.0, "k3")


def cispo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    arguments = logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    return surrogate_loss(*arguments, "token", "weight", None, "token-mean", 1.0, "k3")


def gspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    arguments = logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    return surrogate_loss(*arguments, "sequence", "pessimistic", None, "mean of means", 1.0, "k3")


def luspo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    arguments = logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    return surrogate_loss(*arguments, "sequence", "pessimistic", None, "mean of sums", 1.0, "k3")


def gmpo_loss(logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef):
    arguments = logp, old_logp, ref_logp, advantages, groups, mask, clip_low, clip_high, kl_coef
    return surrogate_loss(*arguments, "sequence", "geometric", None, "mean of means", 1.0, "k3")


# Targets: choices as products with indicators, traces as products of cumulated weights, projections as differences.


def _backed_up(rewards: Any, following: Tensor, terminated: Any, gamma: float) -> Any:
    return torch.add(_tensor(rewards), following.masked_fill(_flags(terminated), 0), alpha=gamma).numpy()


def _picked(values: Any, actions: Tensor) -> Tensor:
    return _tensor(values).gather(1, actions.long()[:, None])[:, 0]


def sarsa_target(rewards, next_action_values, next_actions, terminated, truncated, gamma):
    following = _picked(next_action_values, torch.from_numpy(np.array(next_actions)))
    return _backed_up(rewards, following, terminated, gamma)


def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    following = torch.einsum("ba,ba->b", _tensor(next_action_values), _tensor(next_policy))
    return _backed_up(rewards, following, terminated, gamma)


def q_target(rewards, next_action_values, terminated, truncated, gamma):
    return _backed_up(rewards, _tensor(next_action_values).amax(1), terminated, gamma)


def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    following = _picked(next_target_values, _tensor(next_online_values).argmax(1))
    return _backed_up(rewards, following, terminated, gamma)


def munchausen_rewards(rewards, logp, alpha, temperature, lowest):
    scaled = temperature * _tensor(logp)
    return (_numbers(rewards) + alpha * (scaled if lowest is None else scaled.clamp(lowest, 0))).numpy()


def smoothed_actions(actions, noise, noise_clip, low, high):
    return (_tensor(actions) + _tensor(noise).clamp(-noise_clip, noise_clip)).clamp(low, high).numpy()


def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    return _backed_up(rewards, torch.minimum(_tensor(next_first), _tensor(next_second)), terminated, gamma)


def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    least = torch.stack([_tensor(next_first), _tensor(next_second)]).amin(0)
    return _backed_up(rewards, least - alpha * _tensor(next_logp), terminated, gamma)


def n_step_target(rewards, next_values, terminated, truncated, gamma):
    return n_step_return(rewards, next_values, terminated, truncated, gamma, rewards.shape[1])[:, 0]


def _traced(
    rewards: Any, action_values: Any, following: Any, terminated: Any, truncated: Any, traces: Tensor, discount: float
) -> Any:
    """Q_t plus every later TD error, weighed by the discount and by the traces of the steps in between."""
    rewards, action_values, following = map(_tensor, (rewards, action_values, following))
    errors = rewards + discount * following.masked_fill(_flags(terminated), 0) - action_values
    steps = torch.arange(rewards.shape[1])
    between = torch.where(steps[:, None] > steps, traces[:, :, None], 1.0).cumprod(1)  # c_(t+1) ... c_k at [B, k, t]
    weights = _same_episode(_flags(terminated) | _flags(truncated)) * _discounts(discount, len(steps), rewards)
    return (action_values + torch.einsum("bk,bkt->bt", errors, weights * between)).numpy()


def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    traces = lam * _tensor(log_ratio).clamp(max=0).exp()
    return _traced(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


def tree_backup(rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam):
    traces = lam * _tensor(probabilities)
    return _traced(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


def watkins_target(rewards, action_values, next_largest_values, terminated, truncated, greedy, gamma, lam):
    traces = lam * _flags(greedy).to(_tensor(rewards).dtype)
    return _traced(rewards, action_values, next_largest_values, terminated, truncated, traces, gamma)


def huber_loss(values, targets, delta):
    values = _tensor(values).requires_grad_()
    return _with_slopes(torch.nn.functional.huber_loss(values, _tensor(targets), "none", delta), values)


def temperature_loss(logp, log_alpha, target_entropy):
    logp = _tensor(logp).requires_grad_()
    weight = torch.tensor(log_alpha, dtype=logp.dtype, requires_grad=True)
    return _with_gradients(-(weight * (logp + target_entropy).detach()).mean(), weight, logp)


def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    """Each atom's mass is shared by the two atoms that it comes to lie between, in its distances to them."""
    mass = _tensor(next_probabilities)
    count = mass.shape[1]
    atoms = torch.linspace(v_min, v_max, count, dtype=mass.dtype)
    kept = gamma * (~_flags(terminated)).to(mass.dtype)
    places = (_tensor(rewards)[:, None] + kept[:, None] * atoms).clamp(v_min, v_max)
    places = ((places - v_min) / (v_max - v_min) * (count - 1)).clamp(0, count - 1)
    below = places.floor().clamp(max=count - 2)
    share = places - below
    result = torch.zeros_like(mass)
    result.scatter_add_(1, below.long(), mass * (1 - share))
    result.scatter_add_(1, below.long() + 1, mass * share)
    return result.numpy()


def quantile_huber_loss(quantiles, target_quantiles, delta):
    quantiles, targets = _tensor(quantiles).requires_grad_(), _tensor(target_quantiles)
    count = quantiles.shape[1]
    levels = (torch.arange(count, dtype=quantiles.dtype) + 0.5) / count
    ours, theirs = torch.broadcast_tensors(quantiles[:, :, None], targets[:, None, :])
    losses = torch.nn.functional.huber_loss(ours, theirs, "none", delta)
    above = (ours > theirs).detach()
    weights = torch.where(above, 1 - levels[:, None], levels[:, None])
    return _with_slopes((weights * losses).mean(2).sum(1), quantiles)


def dueling(values, advantages):
    advantages = _tensor(advantages)
    return (_tensor(values)[:, None] + advantages - advantages.mean(1, keepdim=True)).numpy()


# Statistics: moments as weighed means of all there was, prefixes as matrix products.


def _pooled(mean: Tensor, variance: Tensor, count: float, batch: Tensor) -> tuple[Tensor, Tensor, float]:
    """The moments of what was counted, as one number of that weight, with a spread of its own, and of a batch."""
    total = count + len(batch)
    known = torch.cat([mean[None], batch])
    weights = torch.cat([torch.tensor([count], dtype=batch.dtype), torch.ones(len(batch), dtype=batch.dtype)]) / total
    middle = torch.einsum("b,ba->a", weights, known)
    spread = torch.einsum("b,ba->a", weights, (known - middle).square())
    return middle, spread + variance * count / total, total


def running_moments(mean, variance, count, batch):
    middle, spread, total = _pooled(_tensor(mean), _tensor(variance), count, _tensor(batch))
    return middle.numpy(), spread.numpy(), total


def fading_moments(mean, square, weight, batch, beta):
    batch = _tensor(batch)
    first = _tensor(mean).lerp(batch.mean(0), 1 - beta)
    return first.numpy(), _tensor(square).lerp(batch.square().mean(0), 1 - beta).numpy(), 1 - beta * (1 - weight)


def normalize_observations(observations, mean, variance, eps, clip):
    scale = (_tensor(variance) + eps).rsqrt()
    return ((_tensor(observations) - _tensor(mean)) * scale).clamp(-clip, clip).numpy()


def scaled_rewards(rewards, terminated, truncated, gamma, mean, variance, count, eps, clip):
    """Each step's return so far is a product of the episode's rewards with a matrix of discounts."""
    rewards = _tensor(rewards)
    same = _same_episode(_flags(terminated) | _flags(truncated)).to(rewards.dtype)
    gathered = torch.einsum("bk,btk->bt", rewards, same * _discounts(gamma, rewards.shape[1], rewards))
    moments = torch.tensor([mean], dtype=rewards.dtype), torch.tensor([variance], dtype=rewards.dtype), count
    scales = []
    for column in gathered.T:
        moments = _pooled(*moments, column[:, None])
        scales.append((moments[1] + eps).sqrt())
    return (rewards / torch.cat(scales)).clamp(-clip, clip).numpy()


def popart(weights, bias, old_mean, old_std, new_mean, new_std):
    ratio = old_std / new_std
    return (_tensor(weights) * ratio).numpy(), bias * ratio + (old_mean - new_mean) / new_std


def symlog(values):
    values = _tensor(values)
    return (values.sign() * values.abs().log1p()).numpy()


def symexp(values):
    values = _tensor(values)
    return (values.sign() * values.abs().expm1()).numpy()


def two_hot(values, bins):
    """Hat functions: each bin's share falls to 0 at its neighbours."""
    values, bins = _tensor(values), _tensor(bins)
    values = values.clamp(bins[0], bins[-1])[:, None]
    gaps = bins.diff()
    rising, falling = torch.ones_like(values * bins), torch.ones_like(values * bins)
    rising[:, 1:] = (values - bins[:-1]) / gaps
    falling[:, :-1] = (bins[1:] - values) / gaps
    return torch.minimum(rising, falling).clamp(0, 1).numpy()


# Replay: what is stored is sliced off, places are sorted among sums, flags are shifted.


def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    rewards = _tensor(rewards)
    first = max(0, rewards.shape[1] - capacity)
    stored = rewards[:, first:], next_values[:, first:], terminated[:, first:], truncated[:, first:]
    return np.concatenate([torch.zeros_like(rewards[:, :first]), n_step_return(*stored, gamma, n)], axis=1)


def sampling_probabilities(priorities, alpha):
    return (alpha * _tensor(priorities).log()).softmax(0).numpy()


def priority_weights(probabilities, sampled, beta):
    logs = -beta * _tensor(probabilities)[torch.from_numpy(np.array(sampled)).long()].log()
    return (logs - logs.max()).exp().numpy()


def sampled_slots(priorities, uniforms):
    shares = (_tensor(uniforms) + torch.arange(len(uniforms))) / len(uniforms)
    ends = _tensor(priorities).cumsum(0)
    return torch.searchsorted(ends, (shares * ends[-1]).to(ends.dtype), right=True).numpy()


def _one_later(flags: Tensor) -> Tensor:
    """Each step's flag at the step after it."""
    return torch.nn.functional.pad(flags[:, :-1], (1, 0))


def sequence_masks(terminated, truncated, burn_in):
    ended = _flags(terminated) | _flags(truncated)
    counted = torch.arange(ended.shape[1]) >= burn_in
    return _one_later(ended).numpy(), counted.expand(ended.shape).numpy()


def autoreset_transitions(observed_values, final_values, terminated, truncated, mode):
    ended, observed = _flags(terminated) | _flags(truncated), _tensor(observed_values)
    if mode == "same step":
        final = _tensor(final_values).to(observed.dtype)
        return torch.where(ended, final, observed).numpy(), torch.ones_like(ended).numpy()
    resets = _one_later(ended)
    return observed.masked_fill(resets, 0).numpy(), (~resets).numpy()


def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    """Agents as rows; the rewards of a team, which goes on without its dead, as a product with a matrix of ones."""
    paid, known, following = (_numbers(table).movedim(2, 1) for table in (rewards, values, next_values))
    lives, gone = (_flags(table).movedim(2, 1) for table in (alive, dies))
    over, stopped = (_flags(ends)[:, None, :].expand_as(lives) for ends in (terminated, truncated))
    if credit == "team":
        paid = torch.ones(lives.shape[1], lives.shape[1], dtype=paid.dtype) @ paid
    else:
        over = over | gone
    paid, known, following, over, stopped = (x.flatten(0, 1) for x in (paid, known, following, over, stopped))
    found = torch.from_numpy(gae(paid, known, following, over, stopped, gamma, lam))
    return found.reshape(lives.shape).masked_fill(~lives, 0).movedim(1, 2).numpy()


def counterfactual_advantages(action_values, policy, actions):
    values, policy = _tensor(action_values), _tensor(policy)
    taken = torch.from_numpy(np.array(actions)).long()
    return (_picked(values, taken) - torch.einsum("ba,ba->b", policy.to(values.dtype), values)).numpy()


def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    allowed = _tensor(next_action_values).masked_fill(~_flags(available), -torch.inf)
    return _backed_up(rewards, allowed.amax(2).sum(1), terminated, gamma)
