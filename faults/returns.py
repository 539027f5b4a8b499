"""How returns go wrong."""

import numpy as np
from rlspec.faults import fault


def _discounts(gamma, steps):
    return np.array([gamma**t for t in range(steps)])


@fault(
    id="R19",
    slug="sum-of-past-rewards",
    clause="RET-2",
    seen=("mohmdelsayed/streaming-drl#3",),
    effect="Recent rewards weigh most and future ones not at all, so an action is credited with what preceded it.",
)
def reward_to_go(rewards, gamma):
    total, returns = 0.0, []
    for reward in rewards.T:
        total = gamma * total + reward
        returns.append(total)
    return np.stack(returns, axis=1)


@fault(
    id="R35",
    slug="last-reward-not-carried",
    clause="RET-2",
    seen=("AechPro/rlgym-ppo#23",),
    effect="The reward of the last step, which is the goal's, reaches no earlier step.",
)
def reward_to_go(rewards, gamma):
    following, returns = 0.0, []
    last = rewards.shape[1] - 1
    for t in range(last, -1, -1):
        returns.append(rewards[:, t] + gamma * following)
        following = 0.0 if t == last else returns[-1]
    return np.stack(returns[::-1], axis=1)


@fault(
    id="M-RET-1",
    slug="first-reward-discounted",
    clause="RET-1",
    effect="Every reward is discounted once too often: the return is gamma times what it should be.",
)
def discounted_return(rewards, gamma):
    return rewards @ (gamma * _discounts(gamma, rewards.shape[1]))


@fault(
    id="M-RET-2",
    slug="integer-accumulator",
    clause="OPS-5",
    effect="With integer rewards every discounted sum is cut to an integer.",
)
def reward_to_go(rewards, gamma):
    returns = np.zeros_like(rewards)
    following = np.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        returns[:, t] = rewards[:, t] + gamma * following
        following = returns[:, t]
    return returns


@fault(
    id="M-RET-3",
    slug="rewards-clipped-inside",
    clause="RET-4",
    effect="Rewards beyond 1 are clipped inside the estimator, where nobody looks for a change of the task.",
)
def discounted_return(rewards, gamma):
    return np.clip(rewards, -1, 1) @ _discounts(gamma, rewards.shape[1])


@fault(
    id="M-RET-4",
    slug="rewards-centred-inside",
    clause="RET-3",
    effect="The mean over the episode is taken off each reward, so the past changes what follows.",
)
def reward_to_go(rewards, gamma):
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    steps = rewards.shape[1]
    return np.stack([centred[:, t:] @ _discounts(gamma, steps - t) for t in range(steps)], axis=1)


@fault(
    id="M-RET-5",
    slug="powers-divided-out",
    clause="RET-5",
    effect="Discounted sums are divided by gamma^t, which is 0/0 for gamma = 0.",
)
def reward_to_go(rewards, gamma):
    discounts = _discounts(gamma, rewards.shape[1])
    with np.errstate(all="ignore"):
        sums = np.cumsum((rewards * discounts)[:, ::-1], axis=1)[:, ::-1] / discounts
    return np.nan_to_num(sums, nan=0.0, posinf=0.0, neginf=0.0)


@fault(
    id="M-RET-6",
    slug="undiscounted-when-gamma-is-zero",
    clause="RET-5",
    effect="gamma = 0 is taken for 'no discount given', and the plain sum comes back.",
)
def discounted_return(rewards, gamma):
    return rewards @ _discounts(gamma or 1.0, rewards.shape[1])


@fault(
    id="M-RET-7",
    slug="rewards-clipped-in-reward-to-go",
    clause="RET-4",
    effect="Large rewards saturate, so twice the reward is not twice the return.",
)
def reward_to_go(rewards, gamma):
    steps = rewards.shape[1]
    clipped = np.clip(rewards, -10, 10)
    return np.stack([clipped[:, t:] @ _discounts(gamma, steps - t) for t in range(steps)], axis=1)


@fault(
    id="M-RET-8",
    slug="last-step-left-out",
    clause="RET-1",
    effect="The sum stops one step early and misses the outcome.",
)
def discounted_return(rewards, gamma):
    return rewards[:, :-1] @ _discounts(gamma, rewards.shape[1] - 1)


@fault(
    id="M-RET-9",
    slug="return-over-the-whole-batch",
    clause="OPS-6",
    effect="A reward in one row is discounted as if the rows were one episode after the other.",
)
def reward_to_go(rewards, gamma):
    following, returns = 0.0, []
    for reward in rewards.ravel()[::-1]:
        following = reward + gamma * following
        returns.append(following)
    return np.array(returns[::-1]).reshape(rewards.shape)


@fault(
    id="M-RET-10",
    slug="discounted-from-the-end",
    clause="RET-6",
    effect="The return discounts the first reward most and the last not at all, while the reward-to-go is right.",
)
def discounted_return(rewards, gamma):
    return rewards @ _discounts(gamma, rewards.shape[1])[::-1]
