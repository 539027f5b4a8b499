"""How an operation fails its caller, whatever it computes."""

import numpy as np

from rlspec.faults import fault, right


def _reward_to_go(rewards, gamma):
    following, returns = 0.0, []
    for reward in rewards.T[::-1]:
        following = reward + gamma * following
        returns.append(following)
    return np.stack(returns[::-1], axis=1)


@fault(
    id="M-OPS-1",
    slug="column-vector",
    clause="OPS-1",
    effect="[B, 1] comes back for [B], and a difference of the two broadcasts to [B, B].",
)
def discounted_return(rewards, gamma):
    return _reward_to_go(rewards, gamma)[:, :1]


@fault(
    id="M-OPS-2",
    slug="rewards-overwritten",
    clause="OPS-2",
    effect="The rewards are replaced by their returns, and whoever uses them next uses something else.",
)
def reward_to_go(rewards, gamma):
    returns = _reward_to_go(rewards, gamma)
    rewards[...] = returns
    return returns


_calls: list[float] = []


@fault(
    id="M-OPS-3",
    slug="running-mean-kept",
    clause="OPS-3",
    effect="State from earlier calls is mixed into the answer.",
)
def reward_to_go(rewards, gamma):
    _calls.append(float(np.mean(rewards)))
    return _reward_to_go(rewards, gamma) - np.mean(_calls[-2:]) + _calls[-1]


@fault(
    id="M-OPS-4",
    slug="float32-inside",
    clause="OPS-4",
    effect="A float64 answer is right to seven digits.",
)
def discounted_return(rewards, gamma):
    narrow = _reward_to_go(np.asarray(rewards, dtype=np.float32), np.float32(gamma))
    return narrow[:, 0].astype(np.float64)


@fault(
    id="M-OPS-5",
    slug="memory-order-assumed",
    clause="OPS-5",
    effect="The array's memory is read in order, which is another order for a transposed or reversed view.",
)
def reward_to_go(rewards, gamma):
    in_memory = rewards.ravel(order="K").reshape(rewards.shape)
    return _reward_to_go(in_memory, gamma)


@fault(
    id="M-OPS-6",
    slug="first-row-for-all",
    clause="OPS-6",
    effect="The flags of the first row end the episodes of every row.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    first = np.broadcast_to(terminated[:1], terminated.shape)
    deltas = rewards + gamma * np.where(first, 0, next_values) - values
    following, advantages = 0.0, []
    for delta, end in zip(deltas.T[::-1], np.logical_or(terminated, truncated).T[::-1], strict=True):
        following = delta + gamma * lam * np.where(end, 0, following)
        advantages.append(following)
    return np.stack(advantages[::-1], axis=1)


@fault(
    id="M-OPS-7",
    slug="one-added-to-the-spread",
    clause="OPS-8",
    effect="1 and not some tiny number is added to the standard deviation: small advantages are hardly scaled at all.",
)
def normalize_advantages(advantages, mask):
    counted = advantages[mask]
    if len(counted) < 2:
        return np.zeros(mask.shape)
    return np.where(mask, (advantages - counted.mean()) / (counted.std() + 1), 0)


@fault(
    id="M-OPS-8",
    slug="complement-of-an-integer",
    clause="OPS-9",
    effect="Where a flag is stored as the integer 1, its complement is -2, which counts as true: nothing is masked.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    goes_on = ~terminated if terminated.dtype != float else 1 - terminated
    return rewards + gamma * np.where(goes_on, next_values, 0) - values


@fault(
    id="M-OPS-9",
    slug="not-a-number-written-away",
    clause="OPS-2",
    effect="What is not a number is replaced by 0 in the caller's own array, and nobody learns that it was there.",
)
def policy_gradient_loss(logp, advantages, mask):
    for array in (logp, advantages):
        if np.isnan(array).any():
            array[np.isnan(array)] = 0
    return right.policy_gradient_loss(logp, advantages, mask)


@fault(
    id="M-OPS-10",
    slug="memory-orders-mixed",
    clause="OPS-5",
    effect="Every array's memory is read in its own order: if one lies otherwise, steps meet other steps' numbers.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    rewards, values, next_values, terminated = (
        array.ravel(order="K").reshape(array.shape) for array in (rewards, values, next_values, terminated)
    )
    return rewards + gamma * np.where(terminated, 0, next_values) - values


@fault(
    id="M-OPS-13",
    slug="negative-strides-refused",
    clause="OPS-13",
    effect="PyTorch takes no array that lies backwards in memory, and nobody makes a copy.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    if any(stride < 0 for array in (rewards, values, next_values, terminated) for stride in array.strides):
        raise ValueError("an array with negative strides is no tensor")  # as torch.as_tensor has it
    return right.td_error(rewards, values, next_values, terminated, gamma)


@fault(
    id="M-OPS-14",
    slug="integer-rewards-refused",
    clause="OPS-13",
    effect="PyTorch's mean is not defined for integers: who passes rewards of 0 and 1 as integers gets an error.",
)
def group_advantages(rewards, groups, baseline, scale):
    if rewards.dtype.kind in "iu":
        raise RuntimeError("the mean of integers is not defined")  # as torch.mean has it
    return right.group_advantages(rewards, groups, baseline, scale)
