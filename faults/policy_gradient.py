"""How policy gradients go wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import unless_empty, with_gradient_times_zero, with_zero_times


def _softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


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
    scores = np.eye(logits.shape[1])[actions] - _softmax(logits)[states]
    return np.eye(len(logits))[states][..., None] * scores[..., None, :]


def _estimate(logits, states, actions, weights):
    return np.einsum("bt,btsa->sa", weights, _scores(logits, states, actions)) / len(weights)


@fault(
    id="G04",
    slug="mean-logp-times-sum-return",
    clause="PG-11",
    seen=("Farama-Foundation/Gymnasium#1335", "Farama-Foundation/Gymnasium#1336", "Farama-Foundation/Gymnasium#1337"),
    effect="The mean log-probability is multiplied by the sum of the returns, and every action gets the same credit.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    shared = _returns(rewards, mask, gamma).sum(axis=1, keepdims=True) / mask.sum(axis=1, keepdims=True)
    return _estimate(logits, states, actions, shared * mask)


@fault(
    id="G05",
    slug="mean-over-the-steps-of-an-episode",
    clause="PG-11",
    seen=("KaiyangZhou/pytorch-vsumm-reinforce#48",),
    effect="Steps are averaged within an episode, so that those of a long episode count less.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    weights = _weights(rewards, mask, gamma) / mask.sum(axis=1, keepdims=True)
    return _estimate(logits, states, actions, weights)


@fault(
    id="M-PG-1",
    slug="sum-over-episodes",
    clause="PG-11",
    effect="Episodes are summed instead of averaged: the step grows with the batch.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    return right.policy_gradient(logits, states, actions, rewards, mask, gamma) * len(mask)


@fault(
    id="M-PG-2",
    slug="mean-over-all-tokens",
    clause="PG-11",
    effect="The batch's sum is divided by its number of steps: an episode counts for less among long ones.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    return right.policy_gradient(logits, states, actions, rewards, mask, gamma) * len(mask) / mask.sum()


@fault(
    id="M-PG-3",
    slug="descends",
    clause="PG-11",
    effect="The gradient of the loss is returned for that of the return; whoever ascends it makes the policy worse.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    return -right.policy_gradient(logits, states, actions, rewards, mask, gamma)


@fault(
    id="M-PG-4",
    slug="own-reward-left-out",
    clause="PG-11",
    effect="An action is credited with what follows its own reward, and not with that.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    weights = _weights(rewards, mask, gamma)
    later = np.concatenate([weights[:, 1:], np.zeros((len(mask), 1))], axis=1)
    return _estimate(logits, states, actions, later)


@fault(
    id="M-PG-5",
    slug="score-without-the-policy",
    clause="PG-11",
    effect="Logits are taken for log-probabilities: without the normalisation whatever is tried is pushed up.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    tried = np.eye(len(logits))[states][..., None] * np.eye(logits.shape[1])[actions][..., None, :]
    return np.einsum("bt,btsa->sa", _weights(rewards, mask, gamma), tried) / len(mask)


@fault(
    id="M-PG-6",
    slug="repeated-visits-overwritten",
    clause="PG-11",
    effect="Credit is scattered with an indexed assignment, so that of several visits to a pair only one counts.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    weights, policy = _weights(rewards, mask, gamma), _softmax(logits)
    credit = np.zeros(logits.shape)
    credit[states[mask], actions[mask]] += weights[mask]  # NumPy adds once per pair, however often it is listed
    return (credit - policy * credit.sum(axis=1, keepdims=True)) / len(mask)


@fault(
    id="M-PG-7",
    slug="returns-standardised-in-the-batch",
    clause="PG-14",
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
    clause="PG-15",
    effect="The mask is ignored: rewards and actions of the padding count.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    everything = np.ones_like(mask)
    return _estimate(logits, states, actions, _weights(rewards, everything, gamma))


@fault(
    id="M-PG-9",
    slug="padding-leaks-into-the-return",
    clause="PG-15",
    effect="Padding is left out of the sum over steps, but its rewards are part of the earlier steps' returns.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    weights = _weights(rewards, np.ones_like(mask), gamma)
    return _estimate(logits, states, actions, weights * mask)


@fault(
    id="M-PG-10",
    slug="discounted-twice",
    clause="PG-12",
    effect="gamma^t multiplies a return that already counts from the episode's beginning.",
)
def policy_gradient(logits, states, actions, rewards, mask, gamma):
    discounts = gamma ** np.arange(rewards.shape[1])
    return _estimate(logits, states, actions, discounts * _weights(rewards, mask, gamma))


@fault(
    id="M-PG-11",
    slug="naive-softmax-in-the-estimate",
    clause="PG-16",
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
    clause="PG-9",
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
    clause="PG-8",
    effect="States are weighed by how often they are visited, without gamma^t: the gradient of no function.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    policy = _softmax(logits)
    steps = _steps(transition, reward, initial, policy, gamma, horizon)
    if horizon is None:
        return _theorem(policy, steps)
    return _theorem(policy, [(d / gamma**t if gamma else d, q) for t, (d, q) in enumerate(steps)])


@fault(
    id="M-PG-14",
    slug="exact-gradient-of-a-normalised-occupancy",
    clause="PG-8",
    effect="The occupancy is a distribution, and the factor 1 / (1 - gamma) that belongs with it is forgotten.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    return right.exact_policy_gradient(transition, reward, initial, logits, gamma, horizon) * (
        1 - gamma if horizon is None else 1
    )


@fault(
    id="M-PG-15",
    slug="one-table-of-action-values-for-all-steps",
    clause="PG-8",
    effect="The action values of the first step serve all others, although less of the horizon is left to them.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    policy = _softmax(logits)
    steps = _steps(transition, reward, initial, policy, gamma, horizon)
    return _theorem(policy, [(d, steps[0][1]) for d, _ in steps])


@fault(
    id="M-PG-16",
    slug="gradient-in-probabilities",
    clause="PG-9",
    effect="J is differentiated by the probabilities and not by the logits: the softmax is left out.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    policy = _softmax(logits)
    return sum(d[:, None] * q for d, q in _steps(transition, reward, initial, policy, gamma, horizon))


@fault(
    id="M-PG-17",
    slug="exact-gradient-descends",
    clause="PG-10",
    effect="The gradient of a loss is returned for that of the return: a step along it loses.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    return -right.exact_policy_gradient(transition, reward, initial, logits, gamma, horizon)


@fault(
    id="M-PG-18",
    slug="naive-softmax-in-the-exact-gradient",
    clause="PG-16",
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
    clause="PG-9",
    effect="Logits are clipped to a range before the softmax, so that a shift changes the policy.",
)
def exact_policy_gradient(transition, reward, initial, logits, gamma, horizon):
    return right.exact_policy_gradient(transition, reward, initial, np.clip(logits, -3, 3), gamma, horizon)


def _surprise(logits, legal):
    """Probabilities [B, A] of the legal actions, their logarithms (0 where there is none), and the entropies [B, 1]."""
    logits = np.where(legal, logits, -np.inf)
    policy = _softmax(logits)
    logarithms = np.log(policy, where=policy > 0, out=np.zeros(policy.shape))
    return policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True)


def _with_derivative(policy, logarithms, value):
    return value[:, 0], -policy * (logarithms + value)


@fault(
    id="D20",
    slug="zero-times-log-of-zero",
    clause="PG-29",
    seen=("JuliaReinforcementLearning/ReinforcementLearning.jl#917", "NovaSky-AI/SkyRL#2259"),
    effect="Illegal actions have the probability 0 and its logarithm, and the entropy is their product: not a number.",
)
def entropy(logits, legal):
    with np.errstate(divide="ignore", invalid="ignore"):
        policy = _softmax(np.where(legal, logits, -np.inf))
        logarithms = np.log(policy)
        return _with_derivative(policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True))


@fault(
    id="M-PG-20",
    slug="illegal-actions-in-the-entropy",
    clause="PG-29",
    effect="The mask of legal actions is not applied: the bonus rewards leaning towards what cannot be done.",
)
def entropy(logits, legal):
    return right.entropy(logits, np.ones_like(legal))


@fault(
    id="M-PG-21",
    slug="illegal-logits-set-to-zero",
    clause="PG-29",
    effect="Logits are multiplied by the mask; but a logit of 0 is one among others, and no impossibility.",
)
def entropy(logits, legal):
    return right.entropy(np.where(legal, logits, 0), np.ones_like(legal))


@fault(
    id="M-PG-22",
    slug="entropy-in-bits",
    clause="PG-27",
    effect="The logarithm is that to the base 2, and the coefficient of the bonus means something else.",
)
def entropy(logits, legal):
    value, slopes = right.entropy(logits, legal)
    return value / np.log(2), slopes / np.log(2)


@fault(
    id="M-PG-23",
    slug="entropy-averaged-over-actions",
    clause="PG-27",
    effect="The sum over the actions is taken as a mean: the bonus shrinks with their number.",
)
def entropy(logits, legal):
    value, slopes = right.entropy(logits, legal)
    return value / logits.shape[1], slopes / logits.shape[1]


@fault(
    id="M-PG-24",
    slug="logits-clipped-in-the-entropy",
    clause="PG-27",
    effect="Logits are clipped to a range before the softmax, so that a shift changes the entropy.",
)
def entropy(logits, legal):
    return right.entropy(np.clip(logits, -3, 3), legal)


@fault(
    id="M-PG-25",
    slug="derivative-in-probabilities",
    clause="PG-28",
    effect="Each term is differentiated by its own probability, and the normalisation is left out.",
)
def entropy(logits, legal):
    policy, logarithms, value = _surprise(logits, legal)
    return value[:, 0], -policy * (logarithms + 1)


@fault(
    id="M-PG-26",
    slug="derivative-of-the-negative-entropy",
    clause="PG-28",
    effect="The derivative is that of a loss: what should keep the policy open closes it.",
)
def entropy(logits, legal):
    value, slopes = right.entropy(logits, legal)
    return value, -slopes


@fault(
    id="M-PG-27",
    slug="naive-softmax-in-the-entropy",
    clause="PG-30",
    effect="Logits are exponentiated as they are: infinity over infinity for large ones.",
)
def entropy(logits, legal):
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        weights = np.where(legal, np.exp(logits), 0)
        policy = weights / weights.sum(axis=1, keepdims=True)
        logarithms = np.log(np.where(policy == 0, 1, policy))
        return _with_derivative(policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True))


@fault(
    id="M-PG-28",
    slug="probabilities-clipped-in-the-entropy",
    clause="PG-30",
    effect="Probabilities are kept above 1e-6 lest the logarithm fail: the impossible gets a share of the entropy.",
)
def entropy(logits, legal):
    policy = np.where(legal, np.maximum(_surprise(logits, legal)[0], 1e-6), 0)
    logarithms = np.log(np.where(legal, policy, 1))
    return _with_derivative(policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True))


@fault(
    id="M-PG-29",
    slug="illegal-logits-masked-by-multiplication",
    clause="PG-31",
    effect="The logits of illegal actions are multiplied by 0, which not a number and infinity survive.",
)
def entropy(logits, legal):
    with np.errstate(invalid="ignore"):
        shifted = logits * legal - 1e9 * ~np.asarray(legal, dtype=bool)
        weights = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        policy = weights / weights.sum(axis=1, keepdims=True)
        logarithms = np.log(policy, where=policy > 0, out=np.zeros(policy.shape))
        return _with_derivative(policy, logarithms, -(policy * logarithms).sum(axis=1, keepdims=True))


def _loss_of(logp, weights, mask):
    """The loss with such a weight for each step [B, T], and its derivative."""
    slopes = -np.where(mask, weights, 0)
    return (slopes * np.where(mask, logp, 0)).sum(), slopes


def _steps_in(mask):
    return max(mask.sum(), 1)


@fault(
    id="G04b",
    slug="mean-logp-times-sum-of-advantages",
    clause="PG-32",
    seen=("Farama-Foundation/Gymnasium#1335", "Farama-Foundation/Gymnasium#1336"),
    effect="The mean log-probability is multiplied by the sum of the advantages: all actions get the same credit.",
)
def policy_gradient_loss(logp, advantages, mask):
    return _loss_of(logp, np.where(mask, advantages, 0).sum() / _steps_in(mask), mask)


@fault(
    id="G05b",
    slug="mean-over-the-steps-of-each-row",
    clause="PG-36",
    seen=("KaiyangZhou/pytorch-vsumm-reinforce#48",),
    effect="Steps are averaged within their rows, so that those of a long episode count less.",
)
def policy_gradient_loss(logp, advantages, mask):
    lengths = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return _loss_of(logp, advantages / lengths / len(mask), mask)


@fault(
    id="N14",
    slug="padding-counted-in-the-mean",
    clause="PG-37",
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
    clause="PG-32",
    seen=("volcengine/verl#2506", "volcengine/verl#2513"),
    effect="The advantages stand where the mask belongs: they weigh themselves, and their sum is divided by.",
)
def policy_gradient_loss(logp, advantages, mask):
    with np.errstate(divide="ignore", invalid="ignore"):
        return _loss_of(logp, advantages * advantages / advantages.sum(), np.ones_like(mask))


@fault(
    id="M-PG-30",
    slug="loss-ascends",
    clause="PG-36",
    effect="The sign is forgotten: the optimiser makes what paid less probable.",
)
def policy_gradient_loss(logp, advantages, mask):
    return right.policy_gradient_loss(logp, -advantages, mask)


@fault(
    id="M-PG-31",
    slug="gradient-of-the-sum-with-the-mean-as-loss",
    clause="PG-33",
    effect="What is shown is a mean, and what is followed is the gradient of a sum.",
)
def policy_gradient_loss(logp, advantages, mask):
    loss, slopes = right.policy_gradient_loss(logp, advantages, mask)
    return loss, slopes * mask.sum()


@fault(
    id="M-PG-32",
    slug="advantages-normalised-in-the-loss",
    clause="PG-34",
    effect="The loss normalises its advantages, which have been normalised already or should not be.",
)
def policy_gradient_loss(logp, advantages, mask):
    known = advantages[mask] if mask.any() else np.zeros(1)
    return right.policy_gradient_loss(logp, (advantages - known.mean()) / (known.std() + 1e-8), mask)


@fault(
    id="M-PG-33",
    slug="sampled-entropy-bonus-in-the-loss",
    clause="PG-34",
    effect="A hundredth of the mean log-probability is added as a bonus, and learning goes on without advantages.",
)
def policy_gradient_loss(logp, advantages, mask):
    return right.policy_gradient_loss(logp, advantages - 0.01, mask)


@fault(
    id="M-PG-34",
    slug="gradient-flows-into-the-padding",
    clause="PG-37",
    effect="The loss is masked, and its gradient is not: padding's log-probabilities are trained.",
)
def policy_gradient_loss(logp, advantages, mask):
    loss, _ = _loss_of(logp, advantages / _steps_in(mask), mask)
    return loss, -advantages / _steps_in(mask)


@fault(
    id="M-PG-35",
    slug="loss-masked-by-multiplication",
    clause="PG-38",
    effect="Terms are multiplied by the mask: 0 times minus infinity, of an impossible action, is not a number.",
)
def policy_gradient_loss(logp, advantages, mask):
    counted = right.policy_gradient_loss(logp, advantages, mask)
    return with_zero_times(counted, right.policy_gradient_loss(logp, advantages, np.ones_like(mask)))


@fault(
    id="M-PG-36",
    slug="mean-of-no-steps",
    clause="PG-39",
    seen=("verl 0.9.1",),
    effect="The sum is divided by the number of steps even where that is 0: not a number.",
)
def policy_gradient_loss(logp, advantages, mask):
    return unless_empty(mask, right.policy_gradient_loss(logp, advantages, mask))


@fault(
    id="G71",
    slug="gradient-masked-by-multiplication",
    clause="PG-38",
    seen=("verl 0.9.1",),
    effect="Padding is left out of the loss, and its derivative multiplied by 0, which not a number survives.",
)
def policy_gradient_loss(logp, advantages, mask):
    counted = right.policy_gradient_loss(logp, advantages, mask)
    return with_gradient_times_zero(counted, right.policy_gradient_loss(logp, advantages, np.ones_like(mask)))


_CONSTANT = np.log(2 * np.pi) / 2


@fault(
    id="D03",
    slug="deviation-for-the-variance",
    clause="PG-49",
    seen=("hill-a/stable-baselines#1059", "hill-a/stable-baselines#1060", "takuseno/d3rlpy#192"),
    effect="The deviation stands where its square belongs, and half of its logarithm where all of it does.",
)
def gaussian_logp(actions, mean, log_std):
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, log_std / 2)
    return value, d_mean, d_log_std / 2


@fault(
    id="S01",
    slug="deviation-exponentiated-twice",
    clause="PG-49",
    seen=("hill-a/stable-baselines#1058",),
    effect="What is passed on as a logarithm is the deviation already, and is exponentiated again.",
)
def gaussian_logp(actions, mean, log_std):
    deviation = np.exp(log_std)
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, deviation)
    return value, d_mean, d_log_std * deviation


@fault(
    id="D04",
    slug="axes-not-summed",
    clause="OPS-1",
    seen=("thu-ml/tianshou#40", "thu-ml/tianshou@57bca16f", "AI4Finance-Foundation/ElegantRL#273"),
    effect="Every axis keeps a log-density and a ratio of its own, and is clipped as if it were an action.",
)
def gaussian_logp(actions, mean, log_std):
    value, *slopes = right.gaussian_logp(actions.reshape(-1, 1), mean.reshape(-1, 1), log_std.reshape(-1, 1))
    return value.reshape(actions.shape), *(slope.reshape(actions.shape) for slope in slopes)


@fault(
    id="S02",
    slug="summed-over-the-batch-as-well",
    clause="OPS-6",
    seen=("PacktPublishing/Tensorflow-2-Reinforcement-Learning-Cookbook#46",),
    effect="The sum is not told over which axis it goes: every action has the log-density of the whole batch.",
)
def gaussian_logp(actions, mean, log_std):
    value, *slopes = right.gaussian_logp(actions, mean, log_std)
    return np.full_like(value, value.sum()), *slopes


@fault(
    id="S03",
    slug="density-of-the-clipped-action",
    clause="PG-49",
    seen=("kuds/mesozoic-labs#408",),
    effect="The action is clipped to its bounds before its density is taken: that of another action.",
)
def gaussian_logp(actions, mean, log_std):
    return right.gaussian_logp(np.clip(actions, -1, 1), mean, log_std)


@fault(
    id="S04",
    slug="action-stored-in-fewer-digits",
    clause="PG-49",
    seen=("PufferAI/PufferLib#584",),
    effect="The action is rounded to bfloat16 before its density is taken: the ratio is not 1 before the first update.",
)
def gaussian_logp(actions, mean, log_std):
    size = 2.0 ** (np.floor(np.log2(np.maximum(abs(actions), 2.0**-126))) - 7)
    return right.gaussian_logp(np.round(actions / size) * size, mean, log_std)


@fault(
    id="S05",
    slug="stretched-without-being-squashed",
    clause="PG-49",
    seen=("hwang-ua/inac_pytorch#1",),
    effect="The mean is squashed and not the action, and the action's density is corrected all the same.",
)
def gaussian_logp(actions, mean, log_std):
    _, d_mean, d_log_std = right.gaussian_logp(actions, mean, log_std)
    value, _ = right.squashed_gaussian_logp(actions, mean, log_std)
    return value, d_mean, d_log_std


@fault(
    id="M-PG-37",
    slug="derivative-in-the-deviation-itself",
    clause="PG-50",
    effect="The derivative is that in the deviation, and the network's output is its logarithm.",
)
def gaussian_logp(actions, mean, log_std):
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, log_std)
    return value, d_mean, d_log_std / np.exp(log_std)


@fault(
    id="M-PG-38",
    slug="constant-of-the-density-left-out",
    clause="PG-51",
    effect="The root of 2 pi is left out, as it cancels in ratios: entropies that are estimated from it are off.",
)
def gaussian_logp(actions, mean, log_std):
    value, *slopes = right.gaussian_logp(actions, mean, log_std)
    return value + actions.shape[1] * _CONSTANT, *slopes


@fault(
    id="M-PG-39",
    slug="normaliser-not-differentiated",
    clause="PG-56",
    effect="The deviation that the density is divided by is detached: every action drawn makes the policy wider.",
)
def gaussian_logp(actions, mean, log_std):
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, log_std)
    return value, d_mean, d_log_std + 1


@fault(
    id="S06",
    slug="deviation-clipped-in-one-formula-of-several",
    clause="PG-60",
    seen=("yaacovpariente/POMDPPlanners#154",),
    effect="The logarithm of the deviation is kept within -5 and 2 here and nowhere else: another policy's numbers.",
)
def gaussian_logp(actions, mean, log_std):
    value, d_mean, d_log_std = right.gaussian_logp(actions, mean, np.clip(log_std, -5, 2))
    return value, d_mean, np.where((log_std < -5) | (log_std > 2), 0, d_log_std)


@fault(
    id="S07",
    slug="half-of-the-logarithm-in-gaussian-entropy",
    clause="PG-53",
    seen=("ray-project/ray#6393", "ray-project/ray#6475", "ray-project/ray#2920"),
    effect="The factor that belongs to the logarithm of the variance is put before that of the deviation.",
)
def gaussian_entropy(log_std):
    value, slope = right.gaussian_entropy(log_std / 2)
    return value, slope / 2


@fault(
    id="S08",
    slug="twice-the-gaussian-entropy",
    clause="PG-53",
    seen=("Unity-Technologies/ml-agents#4319",),
    effect="The factor of one half is missing before the whole: the bonus is twice what was asked for.",
)
def gaussian_entropy(log_std):
    return tuple(2 * part for part in right.gaussian_entropy(log_std))


@fault(
    id="S09",
    slug="sum-for-the-product-in-the-logarithm",
    clause="PG-53",
    seen=("andrewliao11/pytorch-a3c-mujoco#2",),
    effect="The logarithm is that of 2 pi plus the variance, not times: narrow policies hardly notice the bonus.",
)
def gaussian_entropy(log_std):
    variance = np.exp(2 * log_std)
    value = (np.log(2 * np.pi + variance) + 1) / 2
    return value.sum(axis=1), variance / (2 * np.pi + variance)


@fault(
    id="S10",
    slug="constant-once-for-all-axes",
    clause="PG-52",
    seen=("JuliaReinforcementLearning/ReinforcementLearningZoo.jl#169",),
    effect="The constant of the entropy is added once, whatever the number of axes.",
)
def gaussian_entropy(log_std):
    value, slope = right.gaussian_entropy(log_std)
    return value - (log_std.shape[1] - 1) * (_CONSTANT + 0.5), slope


@fault(
    id="D13",
    slug="variance-outside-of-the-bracket",
    clause="PG-54",
    seen=("PacktPublishing/Deep-Reinforcement-Learning-Hands-On#17",),
    effect="Only the distance of the means is divided by the variance: a policy lies at a distance from itself.",
)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    value, d_mean, d_log_std = right.gaussian_kl(mean, log_std, ref_mean, ref_log_std)
    variance, half = np.exp(2 * log_std), np.exp(2 * (log_std - ref_log_std)) / 2
    return value + (variance - half).sum(axis=1), d_mean, d_log_std + 2 * (variance - half)


@fault(
    id="S11",
    slug="gaussian-policies-swapped",
    clause="PG-54",
    seen=("tensorforce/tensorforce#107", "openai/spinningup#264"),
    effect="The divergence is that of the reference from the policy: what bounds it bounds something else.",
)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    value, *_ = right.gaussian_kl(ref_mean, ref_log_std, mean, log_std)
    precision = np.exp(-2 * log_std)
    apart = (mean - ref_mean) * precision
    return value, apart, 1 - np.exp(2 * ref_log_std) * precision - apart * (mean - ref_mean)


@fault(
    id="M-PG-40",
    slug="gradient-of-the-reference",
    clause="PG-55",
    effect="The derivative is that in the reference's mean: the policy is led away from it.",
)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    value, d_mean, d_log_std = right.gaussian_kl(mean, log_std, ref_mean, ref_log_std)
    return value, -d_mean, d_log_std


@fault(
    id="M-PG-41",
    slug="epsilon-beside-the-variance",
    clause="PG-60",
    effect="1e-8 is added to the reference's variance: where that is nearly certain nothing else is left of it.",
)
def gaussian_kl(mean, log_std, ref_mean, ref_log_std):
    widened = np.log(np.exp(2 * ref_log_std) + 1e-8) / 2
    return right.gaussian_kl(mean, log_std, ref_mean, widened)


@fault(
    id="D09",
    slug="density-of-what-was-squashed",
    clause="PG-57",
    seen=("automl/Mighty#118",),
    effect="The density is that before squashing: a ratio with one that was stretched explodes towards the bounds.",
)
def squashed_gaussian_logp(presquash, mean, log_std):
    value, d_mean, _ = right.gaussian_logp(presquash, mean, log_std)
    return value, -d_mean


@fault(
    id="D10",
    slug="presquash-computed-from-the-action",
    clause="PG-59",
    seen=("ray-project/ray#14878", "ray-project/ray#65036"),
    effect="The action is clamped and led back through the inverse: at its bounds that of another action.",
)
def squashed_gaussian_logp(presquash, mean, log_std):
    clamped = np.clip(np.tanh(presquash), -1 + 1e-6, 1 - 1e-6)
    value, slope = right.squashed_gaussian_logp(np.arctanh(clamped), mean, log_std)
    return value, np.where(abs(np.tanh(presquash)) > 1 - 1e-6, 0, slope)


@fault(
    id="S12",
    slug="epsilon-beside-the-stretch",
    clause="PG-59",
    seen=("rlworkgroup/garage#1174", "ray-project/ray#14878"),
    effect="1e-6 is added to 1 - tanh(u)^2: from |u| = 8 on it is all that is left of it.",
)
def squashed_gaussian_logp(presquash, mean, log_std):
    value, d_mean, _ = right.gaussian_logp(presquash, mean, log_std)
    squashed = np.tanh(presquash)
    stretch = 1 - squashed**2 + 1e-6
    return value - np.log(stretch).sum(axis=1), 2 * squashed * (1 - squashed**2) / stretch - d_mean


@fault(
    id="M-PG-42",
    slug="stretch-not-differentiated",
    clause="PG-58",
    effect="The stretch is part of the log-density and not of its gradient: nothing pulls actions from their bounds.",
)
def squashed_gaussian_logp(presquash, mean, log_std):
    value, slope = right.squashed_gaussian_logp(presquash, mean, log_std)
    return value, slope - 2 * np.tanh(presquash)
