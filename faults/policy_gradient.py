"""How policy gradients go wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import unless_empty, with_gradient_times_zero, with_zero_times
from rlspec.faults._softmax import softmax


def _returns(rewards, mask, gamma):
    """Reward-to-go [B, T], 0 under the mask."""
    following, returns = np.zeros(len(rewards)), np.zeros(rewards.shape)
    for t in reversed(range(rewards.shape[1])):
        following = np.where(mask[:, t], rewards[:, t] + gamma * following, 0)
        returns[:, t] = following
    return returns


def _weights(rewards, mask, gamma):
    """gamma^t G_t [B, T]."""
    return gamma ** np.arange(rewards.shape[1]) * _returns(rewards, mask, gamma)


def _scores(logits, states, actions):
    """grad log pi(a|s) of every step, as a table: [B, T, S, A]."""
    scores = np.eye(logits.shape[1])[actions] - softmax(logits)[states]
    return np.eye(len(logits))[states][..., None] * scores[..., None, :]


def _estimate(logits, states, actions, weights):
    return np.einsum("bt,btsa->sa", weights, _scores(logits, states, actions)) / len(weights)


@fault(
    id="G04",
    slug="mean-logp-times-sum-return",
    clause="PG-13",
    seen=("Farama-Foundation/Gymnasium#1335", "Farama-Foundation/Gymnasium#1336", "Farama-Foundation/Gymnasium#1337"),
    effect="The mean log-probability is multiplied by the sum of the returns, and every action gets the same credit.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    shared = _returns(rewards, mask, gamma).sum(axis=1, keepdims=True) / mask.sum(axis=1, keepdims=True)
    return _estimate(logits, states, actions, shared * mask)


@fault(
    id="G05",
    slug="mean-over-the-steps-of-an-episode",
    clause="PG-13",
    seen=("KaiyangZhou/pytorch-vsumm-reinforce#48",),
    effect="Steps are averaged within an episode, so that those of a long episode count less.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    weights = _weights(rewards, mask, gamma) / mask.sum(axis=1, keepdims=True)
    return _estimate(logits, states, actions, weights)


@fault(
    id="M-PG-1",
    slug="sum-over-episodes",
    clause="PG-13",
    effect="Episodes are summed instead of averaged: the step grows with the batch.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    return right.policy_gradient(logits, states, actions, rewards, mask, gamma) * len(mask)


@fault(
    id="M-PG-2",
    slug="mean-over-all-tokens",
    clause="PG-13",
    effect="The batch's sum is divided by its number of steps: an episode counts for less among long ones.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    return right.policy_gradient(logits, states, actions, rewards, mask, gamma) * len(mask) / mask.sum()


@fault(
    id="M-PG-3",
    slug="descends",
    clause="PG-13",
    effect="The gradient of the loss is returned for that of the return; whoever ascends it makes the policy worse.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    return -right.policy_gradient(logits, states, actions, rewards, mask, gamma)


@fault(
    id="M-PG-4",
    slug="own-reward-left-out",
    clause="PG-13",
    effect="An action is credited with what follows its own reward, and not with that.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    weights = _weights(rewards, mask, gamma)
    later = np.concatenate([weights[:, 1:], np.zeros((len(mask), 1))], axis=1)
    return _estimate(logits, states, actions, later)


@fault(
    id="M-PG-5",
    slug="score-without-the-policy",
    clause="PG-13",
    effect="Logits are taken for log-probabilities: without the normalisation whatever is tried is pushed up.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    tried = np.eye(len(logits))[states][..., None] * np.eye(logits.shape[1])[actions][..., None, :]
    return np.einsum("bt,btsa->sa", _weights(rewards, mask, gamma), tried) / len(mask)


@fault(
    id="M-PG-6",
    slug="repeated-visits-overwritten",
    clause="PG-13",
    effect="Credit is scattered with an indexed assignment, so that of several visits to a pair only one counts.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    weights, policy = _weights(rewards, mask, gamma), softmax(logits)
    credit = np.zeros(logits.shape)
    credit[states[mask], actions[mask]] += weights[mask]  # NumPy adds once per pair, however often it is listed
    return (credit - policy * credit.sum(axis=1, keepdims=True)) / len(mask)


@fault(
    id="M-PG-7",
    slug="returns-standardised-in-the-batch",
    clause="PG-16",
    effect="Returns are centred and scaled by the batch's own statistics, which contain the action's own return.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    returns = _returns(rewards, mask, gamma)
    known = returns[mask]
    standard = np.where(mask, (returns - known.mean()) / (known.std() + 1e-8), 0)
    return _estimate(logits, states, actions, standard)


@fault(
    id="M-PG-8",
    slug="padding-read",
    clause="OPS-10",
    effect="The mask is ignored: rewards and actions of the padding count.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    everything = np.ones_like(mask)
    return _estimate(logits, states, actions, _weights(rewards, everything, gamma))


@fault(
    id="M-PG-9",
    slug="padding-leaks-into-the-return",
    clause="OPS-10",
    effect="Padding is left out of the sum over steps, but its rewards are part of the earlier steps' returns.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    weights = _weights(rewards, np.ones_like(mask), gamma)
    return _estimate(logits, states, actions, weights * mask)


@fault(
    id="M-PG-10",
    slug="discounted-twice",
    clause="PG-14",
    effect="gamma^t multiplies a return that already counts from the episode's beginning.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    discounts = gamma ** np.arange(rewards.shape[1])
    return _estimate(logits, states, actions, discounts * _weights(rewards, mask, gamma))


@fault(
    id="M-PG-11",
    slug="naive-softmax-in-the-estimate",
    clause="PG-17",
    effect="Logits are exponentiated as they are: infinity over infinity for large ones.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        weights = np.exp(logits)
        policy = weights / weights.sum(axis=1, keepdims=True)
        scores = np.eye(logits.shape[1])[actions] - policy[states]
        table = np.eye(len(logits))[states][..., None] * scores[..., None, :]
        return np.einsum("bt,btsa->sa", _weights(rewards, mask, gamma), table) / len(mask)


@fault(
    id="M-PG-12",
    slug="logits-clipped-in-the-estimate",
    clause="PG-11",
    effect="Logits are clipped to a range before the softmax, so that a shift changes the policy.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    return right.policy_gradient(np.clip(logits, -3, 3), states, actions, rewards, mask, gamma)


def _steps(transition, reward, initial, policy, gamma, horizon):
    """Discounted occupancy and action values of every step; one step, with everything, for an infinite horizon."""
    chain, paid = np.einsum("sa,sat->st", policy, transition), (policy * reward).sum(axis=1)
    if horizon is None:
        system = np.eye(len(paid)) - gamma * chain
        values = np.linalg.solve(system, paid)
        return [(np.linalg.solve(system.T, initial), reward + gamma * transition @ values)]
    occupied = [np.asarray(initial, dtype=float)]
    in_actions = [reward]
    for _ in range(horizon - 1):
        occupied.append(gamma * occupied[-1] @ chain)
        in_actions.insert(0, reward + gamma * transition @ (policy * in_actions[0]).sum(axis=1))
    return list(zip(occupied, in_actions, strict=True))


def _theorem(policy, steps):
    """sum_t d_t(s) pi(a|s) (Q_t(s, a) - V_t(s)), [S, A]."""
    return sum(d[:, None] * policy * (q - (policy * q).sum(axis=1, keepdims=True)) for d, q in steps)


@fault(
    id="M-PG-13",
    slug="exact-gradient-of-undiscounted-visits",
    clause="PG-10",
    effect="States are weighed by how often they are visited, without gamma^t: the gradient of no function.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    policy = softmax(logits)
    steps = _steps(transition, reward, initial, policy, gamma, horizon)
    if horizon is None:
        return _theorem(policy, steps)
    return _theorem(policy, [(d / gamma**t if gamma else d, q) for t, (d, q) in enumerate(steps)])


@fault(
    id="M-PG-14",
    slug="exact-gradient-of-a-normalised-occupancy",
    clause="PG-10",
    effect="The occupancy is a distribution, and the factor 1 / (1 - gamma) that belongs with it is forgotten.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    return right.exact_policy_gradient(transition, reward, initial, logits, gamma, horizon) * (
        1 - gamma if horizon is None else 1
    )


@fault(
    id="M-PG-15",
    slug="one-table-of-action-values-for-all-steps",
    clause="PG-10",
    effect="The action values of the first step serve all others, although less of the horizon is left to them.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    policy = softmax(logits)
    steps = _steps(transition, reward, initial, policy, gamma, horizon)
    return _theorem(policy, [(d, steps[0][1]) for d, _ in steps])


@fault(
    id="M-PG-16",
    slug="gradient-in-probabilities",
    clause="PG-11",
    effect="J is differentiated by the probabilities and not by the logits: the softmax is left out.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    policy = softmax(logits)
    return sum(d[:, None] * q for d, q in _steps(transition, reward, initial, policy, gamma, horizon))


@fault(
    id="M-PG-17",
    slug="exact-gradient-descends",
    clause="PG-12",
    effect="The gradient of a loss is returned for that of the return: a step along it loses.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    return -right.exact_policy_gradient(transition, reward, initial, logits, gamma, horizon)


@fault(
    id="M-PG-18",
    slug="naive-softmax-in-the-exact-gradient",
    clause="PG-17",
    effect="Logits are exponentiated as they are: infinity over infinity for large ones.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        weights = np.exp(logits)
        policy = weights / weights.sum(axis=1, keepdims=True)
        return _theorem(policy, _steps(transition, reward, initial, policy, gamma, horizon))


@fault(
    id="M-PG-19",
    slug="logits-clipped-in-the-exact-gradient",
    clause="PG-11",
    effect="Logits are clipped to a range before the softmax, so that a shift changes the policy.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    return right.exact_policy_gradient(transition, reward, initial, np.clip(logits, -3, 3), gamma, horizon)


def _loss_of(logp, weights, mask):
    """The loss with such a weight for each step [B, T], and its derivative."""
    slopes = -np.where(mask, weights, 0)
    return (slopes * np.where(mask, logp, 0)).sum(), slopes


def _steps_in(mask):
    return max(mask.sum(), 1)


@fault(
    id="G04b",
    slug="mean-logp-times-sum-of-advantages",
    clause="PG-18",
    seen=("Farama-Foundation/Gymnasium#1335", "Farama-Foundation/Gymnasium#1336"),
    effect="The mean log-probability is multiplied by the sum of the advantages: all actions get the same credit.",
)
def policy_gradient_loss(logp, advantages, mask):
    return _loss_of(logp, np.where(mask, advantages, 0).sum() / _steps_in(mask), mask)


@fault(
    id="N14",
    slug="padding-counted-in-the-mean",
    clause="OPS-10",
    seen=("Stable-Baselines-Team/stable-baselines3-contrib#75", "Stable-Baselines-Team/stable-baselines3-contrib#78"),
    effect="Terms are multiplied by the mask, and the mean is over all positions: padding makes the step smaller.",
)
def policy_gradient_loss(logp, advantages, mask):
    loss, slopes = right.policy_gradient_loss(logp, advantages, mask)
    share = mask.sum() / mask.size
    return loss * share, slopes * share


@fault(
    id="P23",
    slug="advantages-for-the-mask",
    clause="PG-18",
    seen=("volcengine/verl#2506", "volcengine/verl#2513"),
    effect="The advantages stand where the mask belongs: they weigh themselves, and their sum is divided by.",
)
def policy_gradient_loss(logp, advantages, mask):
    with np.errstate(divide="ignore", invalid="ignore"):
        return _loss_of(logp, advantages * advantages / advantages.sum(), np.ones_like(mask))


@fault(
    id="M-PG-30",
    slug="loss-ascends",
    clause="PG-21",
    effect="The sign is forgotten: the optimiser makes what paid less probable.",
)
def policy_gradient_loss(logp, advantages, mask):
    return right.policy_gradient_loss(logp, -advantages, mask)


@fault(
    id="M-PG-31",
    slug="gradient-of-the-sum-with-the-mean-as-loss",
    clause="PG-19",
    effect="What is shown is a mean, and what is followed is the gradient of a sum.",
)
def policy_gradient_loss(logp, advantages, mask):
    loss, slopes = right.policy_gradient_loss(logp, advantages, mask)
    return loss, slopes * mask.sum()


@fault(
    id="M-PG-32",
    slug="advantages-normalised-in-the-loss",
    clause="PG-20",
    effect="The loss normalises its advantages, which have been normalised already or should not be.",
)
def policy_gradient_loss(logp, advantages, mask):
    known = advantages[mask] if mask.any() else np.zeros(1)
    return right.policy_gradient_loss(logp, (advantages - known.mean()) / (known.std() + 1e-8), mask)


@fault(
    id="M-PG-33",
    slug="sampled-entropy-bonus-in-the-loss",
    clause="PG-20",
    effect="A hundredth of the mean log-probability is added as a bonus, and learning goes on without advantages.",
)
def policy_gradient_loss(logp, advantages, mask):
    return right.policy_gradient_loss(logp, advantages - 0.01, mask)


@fault(
    id="M-PG-34",
    slug="gradient-flows-into-the-padding",
    clause="OPS-10",
    effect="The loss is masked, and its gradient is not: padding's log-probabilities are trained.",
)
def policy_gradient_loss(logp, advantages, mask):
    loss, _ = _loss_of(logp, advantages / _steps_in(mask), mask)
    return loss, -advantages / _steps_in(mask)


@fault(
    id="M-PG-35",
    slug="loss-masked-by-multiplication",
    clause="OPS-11",
    effect="Terms are multiplied by the mask: 0 times minus infinity, of an impossible action, is not a number.",
)
def policy_gradient_loss(logp, advantages, mask):
    counted = right.policy_gradient_loss(logp, advantages, mask)
    return with_zero_times(counted, right.policy_gradient_loss(logp, advantages, np.ones_like(mask)))


@fault(
    id="M-PG-36",
    slug="mean-of-no-steps",
    clause="OPS-12",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of steps even where that is 0: not a number.",
)
def policy_gradient_loss(logp, advantages, mask):
    return unless_empty(mask, right.policy_gradient_loss(logp, advantages, mask))


@fault(
    id="G71",
    slug="gradient-masked-by-multiplication",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Padding is left out of the loss, and its derivative multiplied by 0, which not a number survives.",
)
def policy_gradient_loss(logp, advantages, mask):
    counted = right.policy_gradient_loss(logp, advantages, mask)
    return with_gradient_times_zero(counted, right.policy_gradient_loss(logp, advantages, np.ones_like(mask)))
