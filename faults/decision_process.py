"""How the evaluation of a decision process goes wrong."""

import numpy as np

from rlspec.faults import fault


def _chain(transition, policy):
    return np.einsum("sa,sat->st", policy, transition)


def _values(transition, reward, policy, gamma, horizon):
    """V_0, ..., V_H with V_H = 0; for an infinite horizon V alone."""
    chain, paid = _chain(transition, policy), (policy * reward).sum(axis=1)
    if horizon is None:
        return np.linalg.solve(np.eye(len(paid)) - gamma * chain, paid)
    values = [np.zeros(len(paid))]
    for _ in range(horizon):
        values.insert(0, paid + gamma * chain @ values[0])
    return np.array(values)


def _occupancy(transition, initial, policy, gamma, horizon):
    chain = _chain(transition, policy)
    if horizon is None:
        return np.linalg.solve((np.eye(len(initial)) - gamma * chain).T, initial)
    weights = [np.asarray(initial, dtype=float)]
    for _ in range(horizon - 1):
        weights.append(gamma * weights[-1] @ chain)
    return np.array(weights)


def _first(values, horizon):
    return values if horizon is None else values[0]


@fault(
    id="M-MDP-1",
    slug="horizon-counts-states",
    clause="MDP-1",
    effect="A horizon of H states has H - 1 actions; the last reward is never collected.",
)
def expected_return(transition, reward, initial, policy, gamma, horizon):
    if horizon is None:
        return initial @ _values(transition, reward, policy, gamma, horizon)
    return initial @ _values(transition, reward, policy, gamma, horizon)[1]


@fault(
    id="M-MDP-2",
    slug="first-reward-of-the-process-discounted",
    clause="MDP-1",
    effect="The first reward is weighed by gamma instead of 1, so that J is gamma times what it should be.",
)
def expected_return(transition, reward, initial, policy, gamma, horizon):
    return gamma * initial @ _first(_values(transition, reward, policy, gamma, horizon), horizon)


@fault(
    id="M-MDP-3",
    slug="values-averaged-over-all-states",
    clause="MDP-1",
    effect="J is the plain mean of V, whatever state an episode begins in.",
)
def expected_return(transition, reward, initial, policy, gamma, horizon):
    return _first(_values(transition, reward, policy, gamma, horizon), horizon).mean()


@fault(
    id="M-MDP-4",
    slug="always-begins-in-state-zero",
    clause="MDP-11",
    effect="The initial distribution is ignored in favour of state 0, and J depends on how states are numbered.",
)
def expected_return(transition, reward, initial, policy, gamma, horizon):
    return _first(_values(transition, reward, policy, gamma, horizon), horizon)[0]


@fault(
    id="M-MDP-5",
    slug="three-steps-stand-for-infinity",
    clause="MDP-8",
    effect="A fixed number of sweeps replaces the infinite horizon, as if gamma were small.",
)
def expected_return(transition, reward, initial, policy, gamma, horizon):
    return initial @ _values(transition, reward, policy, gamma, horizon or 3)[0]


@fault(
    id="M-MDP-6",
    slug="clipped-rewards-inside",
    clause="MDP-9",
    effect="Rewards are clipped to [-1, 1] on the way, so that another process is evaluated.",
)
def expected_return(transition, reward, initial, policy, gamma, horizon):
    return initial @ _first(_values(transition, np.clip(reward, -1, 1), policy, gamma, horizon), horizon)


@fault(
    id="M-MDP-7",
    slug="optimal-values-for-the-policys",
    clause="MDP-2",
    effect="The best action is taken where the policy's average belongs: V is that of a greedy policy.",
)
def state_values(transition, reward, policy, gamma, horizon):
    values = [np.zeros(len(reward))]
    for _ in range(horizon or 1000):
        values.insert(0, (reward + gamma * transition @ values[0]).max(axis=1))
    return np.array(values[:-1]) if horizon else values[0]


@fault(
    id="M-MDP-8",
    slug="values-in-the-order-of-the-recursion",
    clause="MDP-2",
    effect="Row t has t + 1 steps to go instead of H - t: the recursion's own order is returned.",
)
def state_values(transition, reward, policy, gamma, horizon):
    values = _values(transition, reward, policy, gamma, horizon)
    return values if horizon is None else values[-2::-1]


@fault(
    id="M-MDP-9",
    slug="stationary-values-for-a-finite-horizon",
    clause="MDP-2",
    effect="Every row is the value of the whole horizon, although less and less of it is left.",
)
def state_values(transition, reward, policy, gamma, horizon):
    values = _values(transition, reward, policy, gamma, horizon)
    return values if horizon is None else np.repeat(values[:1], horizon, axis=0)


@fault(
    id="M-MDP-10",
    slug="rewards-centred",
    clause="MDP-9",
    effect="The mean reward is taken off first; the differences survive, the values do not.",
)
def state_values(transition, reward, policy, gamma, horizon):
    values = _values(transition, reward - reward.mean(), policy, gamma, horizon)
    return values if horizon is None else values[:-1]


@fault(
    id="M-MDP-11",
    slug="transition-transposed",
    clause="MDP-5",
    effect="The chain is used transposed, which goes unnoticed while it is symmetric.",
)
def state_values(transition, reward, policy, gamma, horizon):
    chain, paid = _chain(transition, policy).T, (policy * reward).sum(axis=1)
    if horizon is None:
        return np.linalg.solve(np.eye(len(paid)) - gamma * chain, paid)
    values = [paid]
    for _ in range(horizon - 1):
        values.insert(0, paid + gamma * chain @ values[0])
    return np.array(values)


@fault(
    id="M-MDP-12",
    slug="absorbing-state-worth-nothing",
    clause="MDP-10",
    effect="A state that is never left is taken for the end of the episode, whatever it pays.",
)
def state_values(transition, reward, policy, gamma, horizon):
    lasting = _chain(transition, policy).diagonal() == 1
    values = _values(transition, np.where(lasting[:, None], 0, reward), policy, gamma, horizon)
    return values if horizon is None else values[:-1]


@fault(
    id="M-MDP-13",
    slug="average-taken-at-the-current-state",
    clause="MDP-3",
    effect="The average over the policy is taken where the action was given: Q no longer depends on the action.",
)
def action_values(transition, reward, policy, gamma, horizon):
    values = _values(transition, reward, policy, gamma, horizon)
    values = values if horizon is None else values[:-1]
    return np.repeat(values[..., None], reward.shape[1], axis=-1)


@fault(
    id="M-MDP-14",
    slug="successor-not-discounted",
    clause="MDP-3",
    effect="The value of the successor is added without gamma.",
)
def action_values(transition, reward, policy, gamma, horizon):
    values = _values(transition, reward, policy, gamma, horizon)
    following = values if horizon is None else values[1:]
    return reward + np.einsum("sat,...t->...sa", transition, following)


@fault(
    id="M-MDP-15",
    slug="bootstraps-from-its-own-step",
    clause="MDP-5",
    effect="Q_t looks ahead to V_t instead of V_{t+1}, as if the horizon moved on with time.",
)
def action_values(transition, reward, policy, gamma, horizon):
    values = _values(transition, reward, policy, gamma, horizon)
    following = values if horizon is None else values[:-1]
    return reward + gamma * np.einsum("sat,...t->...sa", transition, following)


@fault(
    id="M-MDP-16",
    slug="clipped-rewards-in-action-values",
    clause="MDP-9",
    effect="Rewards are clipped to [-1, 1] before action values are formed.",
)
def action_values(transition, reward, policy, gamma, horizon):
    clipped = np.clip(reward, -1, 1)
    values = _values(transition, clipped, policy, gamma, horizon)
    following = values if horizon is None else values[1:]
    return clipped + gamma * np.einsum("sat,...t->...sa", transition, following)


@fault(
    id="M-MDP-17",
    slug="successors-sorted",
    clause="MDP-11",
    effect="The successor's value is looked up under the wrong number wherever states are renumbered.",
)
def action_values(transition, reward, policy, gamma, horizon):
    values = np.sort(_values(transition, reward, policy, gamma, horizon), axis=-1)
    following = values if horizon is None else values[1:]
    return reward + gamma * np.einsum("sat,...t->...sa", transition, following)


@fault(
    id="M-MDP-18",
    slug="undiscounted-visits",
    clause="MDP-4",
    effect="Occupancy counts visits without gamma^t, the distribution from which samples are drawn in practice.",
)
def occupancy(transition, initial, policy, gamma, horizon):
    if horizon is None:
        return _occupancy(transition, initial, policy, gamma, horizon)
    return _occupancy(transition, initial, policy, 1.0, horizon)


@fault(
    id="M-MDP-19",
    slug="occupancy-normalised",
    clause="MDP-7",
    effect="Occupancy is scaled by 1 - gamma into a distribution; whatever uses it is off by that factor.",
)
def occupancy(transition, initial, policy, gamma, horizon):
    weights = _occupancy(transition, initial, policy, gamma, horizon)
    return weights * (1 - gamma) if horizon is None else weights


@fault(
    id="M-MDP-20",
    slug="occupancy-flows-backwards",
    clause="MDP-6",
    effect="Mass moves along the transposed chain: from successors to their predecessors.",
)
def occupancy(transition, initial, policy, gamma, horizon):
    chain = _chain(transition, policy).T
    if horizon is None:
        return np.linalg.solve((np.eye(len(initial)) - gamma * chain).T, initial)
    weights = [np.asarray(initial, dtype=float)]
    for _ in range(horizon - 1):
        weights.append(gamma * weights[-1] @ chain)
    return np.array(weights)


@fault(
    id="M-MDP-21",
    slug="every-state-begins-a-little",
    clause="MDP-12",
    effect="A hundredth is added to every state's initial probability, also where nothing ever leads.",
)
def occupancy(transition, initial, policy, gamma, horizon):
    return _occupancy(transition, (initial + 0.01) / (initial + 0.01).sum(), policy, gamma, horizon)


@fault(
    id="M-MDP-22",
    slug="discount-through-its-logarithm",
    clause="MDP-13",
    effect="gamma^t is computed as exp(t log(gamma + tiny)), which is not quite 0 for gamma = 0.",
)
def occupancy(transition, initial, policy, gamma, horizon):
    return _occupancy(transition, initial, policy, np.exp(np.log(gamma + 1e-3)), horizon)


@fault(
    id="M-MDP-23",
    slug="epsilon-in-the-discount-of-values",
    clause="MDP-13",
    effect="A zero discount is replaced by a small one, so that a myopic policy still looks ahead.",
)
def state_values(transition, reward, policy, gamma, horizon):
    values = _values(transition, reward, policy, max(gamma, 1e-3), horizon)
    return values if horizon is None else values[:-1]


@fault(
    id="M-MDP-24",
    slug="zero-discount-is-no-discount",
    clause="MDP-13",
    effect="gamma = 0 is taken for 'not given' and replaced by a default.",
)
def action_values(transition, reward, policy, gamma, horizon):
    values = _values(transition, reward, policy, gamma or 0.99, horizon)
    following = values if horizon is None else values[1:]
    return reward + (gamma or 0.99) * np.einsum("sat,...t->...sa", transition, following)


@fault(
    id="M-MDP-25",
    slug="last-state-is-terminal",
    clause="MDP-11",
    effect="The state with the highest number is taken for the end of the episode.",
)
def state_values(transition, reward, policy, gamma, horizon):
    ends = np.arange(len(reward)) == len(reward) - 1
    values = _values(transition * ~ends, reward, policy, gamma, horizon)
    return values if horizon is None else values[:-1]


@fault(
    id="M-MDP-26",
    slug="occupancy-from-state-zero",
    clause="MDP-11",
    effect="Mass always enters in state 0, and occupancy depends on how states are numbered.",
)
def occupancy(transition, initial, policy, gamma, horizon):
    return _occupancy(transition, np.eye(len(initial))[0], policy, gamma, horizon)
