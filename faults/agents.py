"""How several agents' advantages and targets go wrong."""

import numpy as np

from rlspec.faults import fault, right


@fault(
    id="AG01",
    slug="rewards-of-agents-in-another-order",
    clause="AGT-1",
    seen=("bold-lab-ai/JaxMARL#85",),
    effect="Rewards are flattened agent by agent and read row by row: an agent's values meet another one's rewards.",
)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    rows, steps, agents = rewards.shape
    mixed = rewards.transpose(1, 2, 0).reshape(steps, rows, agents).transpose(1, 0, 2)
    return right.agents_gae(mixed, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit)


@fault(
    id="AG02",
    slug="successor-among-the-agents",
    clause="AGT-15",
    seen=("pytorch/rl#4151",),
    effect="Values are shifted along the agents and not along time: the next agent's value stands for the next step's.",
)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    shifted = np.concatenate([values[..., 1:], next_values[..., -1:]], axis=2)
    return right.agents_gae(rewards, values, shifted, terminated, truncated, alive, dies, gamma, lam, credit)


@fault(
    id="M-AGT-1",
    slug="own-reward-for-the-teams",
    clause="AGT-2",
    effect="Agents of a team have their own rewards: what one does for another is not credited.",
)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    return right.agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, "own")


@fault(
    id="M-AGT-2",
    slug="dead-agents-rewards-left-out-of-the-teams",
    clause="AGT-5",
    effect="What is paid in the name of a dead agent is no part of what its team earns.",
)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    paid = np.where(alive, rewards, 0)
    return right.agents_gae(paid, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit)


@fault(
    id="M-AGT-3",
    slug="life-after-death",
    clause="AGT-4",
    effect="An agent with rewards of its own bootstraps from what is said of it after its death.",
)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    return right.agents_gae(rewards, values, next_values, terminated, truncated, alive, 0 * dies, gamma, lam, credit)


@fault(
    id="M-AGT-4",
    slug="first-death-ends-the-episode",
    clause="AGT-5",
    effect="The episode counts as over, for all, when the first agent dies.",
)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    over = np.logical_or(terminated, dies.any(axis=2))
    return right.agents_gae(rewards, values, next_values, over, truncated, alive, dies, gamma, lam, credit)


@fault(
    id="AG03",
    slug="dead-agents-are-trained",
    clause="AGT-7",
    seen=("instadeepai/Mava#870",),
    effect="Padding that stands in the place of dead agents has advantages, and is learned from.",
)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    everybody = np.ones_like(alive)
    return right.agents_gae(rewards, values, next_values, terminated, truncated, everybody, dies, gamma, lam, credit)


@fault(
    id="M-AGT-5",
    slug="dead-agents-worth-nothing-to-their-team",
    clause="AGT-16",
    effect="The values of dead steps are set to 0, and those that their predecessors bootstrap from are not.",
)
def agents_gae(rewards, values, next_values, terminated, truncated, alive, dies, gamma, lam, credit):
    known = np.where(alive, values, 0)
    return right.agents_gae(rewards, known, next_values, terminated, truncated, alive, dies, gamma, lam, credit)


@fault(
    id="M-AGT-6",
    slug="counterfactual-mean-over-the-actions",
    clause="AGT-8",
    effect="The baseline is the mean over the actions, as if the policy were uniform.",
)
def counterfactual_advantages(action_values, policy, actions):
    return right.counterfactual_advantages(action_values, np.full(policy.shape, 1 / policy.shape[1]), actions)


@fault(
    id="M-AGT-7",
    slug="counterfactual-best-action",
    clause="AGT-8",
    effect="The baseline is the largest value: no advantage is above 0.",
)
def counterfactual_advantages(action_values, policy, actions):
    best = np.eye(policy.shape[1])[action_values.argmax(axis=1)]
    return right.counterfactual_advantages(action_values, best, actions)


@fault(
    id="M-AGT-8",
    slug="counterfactual-without-the-own-action",
    clause="AGT-9",
    effect="The action that was taken is left out of the baseline, which then depends on it.",
)
def counterfactual_advantages(action_values, policy, actions):
    taken = np.eye(policy.shape[1])[actions.astype(int)]
    return right.counterfactual_advantages(action_values, policy * (1 - taken), actions)


@fault(
    id="AG04",
    slug="best-of-actions-that-there-are-not",
    clause="AGT-10",
    seen=("jingranburangyongzhongwen/torchMARL#2", "thu-ml/tianshou#309"),
    effect="The maximum is over all actions: the target bootstraps from values that no training has touched.",
)
def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    every = np.ones_like(available)
    return right.vdn_target(rewards, next_action_values, every, terminated, truncated, gamma)


@fault(
    id="M-AGT-9",
    slug="mean-for-the-sum-over-agents",
    clause="AGT-12",
    effect="What follows is divided by the number of agents: the more agents, the less the team looks ahead.",
)
def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    share = gamma / next_action_values.shape[1]
    return right.vdn_target(rewards, next_action_values, available, terminated, truncated, share)


@fault(
    id="M-AGT-10",
    slug="time-limit-ends-the-teams-task",
    clause="AGT-11",
    effect="Time limits end the task: what would have followed a stopped transition counts as nothing.",
)
def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    over = np.logical_or(terminated, truncated)
    return right.vdn_target(rewards, next_action_values, available, over, truncated, gamma)


@fault(
    id="M-AGT-11",
    slug="sum-before-the-maximum",
    clause="AGT-12",
    effect="Agents' values are summed action by action, and the maximum is of the sums: all have to do the same.",
)
def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    sums = np.where(available.astype(bool), next_action_values, -np.inf).sum(axis=1)
    following = np.where(np.isfinite(sums).any(axis=1), sums.max(axis=1), 0)
    return rewards + gamma * np.where(terminated, 0, following)


@fault(
    id="M-AGT-12",
    slug="teams-target-after-the-end",
    clause="AGT-11",
    effect="The end of the task is not looked at: a state that nothing follows is worth what the network makes up.",
)
def vdn_target(rewards, next_action_values, available, terminated, truncated, gamma):
    never = np.zeros_like(terminated)
    return right.vdn_target(rewards, next_action_values, available, never, truncated, gamma)
