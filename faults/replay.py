"""How replay and storage go wrong."""

import numpy as np

from rlspec.faults import fault, right


@fault(
    id="RP01",
    slug="window-across-the-seam",
    clause="RPL-2",
    seen=("younggyoseo/FastTD3#6",),
    effect="Behind the newest transition of a full ring a window goes on with the oldest, as if it had followed.",
)
def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    if capacity >= rewards.shape[1]:
        return right.replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n)
    stored = (array[:, -capacity:] for array in (rewards, next_values, terminated, truncated))
    around = [np.concatenate([array] * (1 + -(-n // capacity)), axis=1) for array in stored]
    targets = right.n_step_return(*around, gamma, n)[:, :capacity]
    return np.concatenate([np.zeros_like(targets, shape=rewards[:, :-capacity].shape), targets], axis=1)


@fault(
    id="RP02",
    slug="window-into-empty-slots",
    clause="RPL-1",
    seen=("thu-ml/tianshou#135",),
    effect="Behind the newest transition a window goes on with what an unfilled buffer holds there: zeros.",
)
def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    rows = len(rewards)
    empty = np.zeros((rows, n))
    numbers = (np.concatenate([array, empty], axis=1) for array in (rewards, next_values))
    flags = (np.concatenate([array, empty.astype(bool)], axis=1) for array in (terminated, truncated))
    targets = right.n_step_return(*numbers, *flags, gamma, n)[:, : rewards.shape[1]]
    targets[:, : max(0, rewards.shape[1] - capacity)] = 0
    return targets


@fault(
    id="RP03",
    slug="queue-kept-across-the-reset",
    clause="RPL-3",
    seen=("BY571/DQN-Atari-Agents#8",),
    effect="The queue of the last steps is not emptied at a reset: windows join one episode's end to the next one.",
)
def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    kept = np.zeros_like(terminated)
    kept[:, -1] = terminated[:, -1]
    return right.replayed_targets(rewards, next_values, kept, 0 * truncated, capacity, gamma, n)


@fault(
    id="RP10",
    slug="episode-of-one-step-left-open",
    clause="RPL-3",
    seen=("d3rlpy 2.8.1",),
    effect="An episode that terminates at its first step is not closed: the next one is taken for its continuation.",
)
def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    rows = zip(rewards, next_values, terminated, truncated, strict=True)
    return np.stack([_without_short_episodes(*row, capacity, gamma, n) for row in rows])


def _without_short_episodes(rewards, next_values, terminated, truncated, capacity, gamma, n):
    """A row's targets where nothing ends after one step; what is still open at the end has not been stored."""
    over, cut, begins = terminated.copy(), truncated.copy(), 0
    for t in range(len(rewards)):
        if over[t] and t == begins:
            over[t] = cut[t] = False
        elif over[t] or cut[t]:
            begins = t + 1
    stored = len(rewards) - 1 if terminated[-1] and begins == len(rewards) - 1 else len(rewards)
    targets = np.zeros(len(rewards))
    if stored:
        row = (array[None, :stored] for array in (rewards, next_values, over, cut))
        targets[:stored] = right.replayed_targets(*row, capacity, gamma, n)[0]
    return targets


@fault(
    id="RP11",
    slug="ring-of-one-refused",
    clause="OPS-1",
    seen=("d3rlpy 2.8.1",),
    effect="What leaves a full ring is compared with the one behind it, and with room for one there is none.",
)
def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    if capacity == 1 < rewards.shape[1]:
        raise IndexError("index out of range")
    return right.replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n)


@fault(
    id="M-RPL-1",
    slug="time-limit-stored-as-an-end",
    clause="RPL-3",
    effect="One flag is stored for both: a window that ends with a time limit is not bootstrapped.",
)
def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    ended = np.logical_or(terminated, truncated)
    return right.replayed_targets(rewards, next_values, ended, truncated, capacity, gamma, n)


@fault(
    id="M-RPL-2",
    slug="newest-transition-left-out",
    clause="RPL-4",
    effect="The newest transition cannot be drawn, and is taken for one that is not there yet.",
)
def replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n):
    targets = right.replayed_targets(rewards, next_values, terminated, truncated, capacity, gamma, n)
    targets[:, -1] = 0
    return targets


@fault(
    id="M-RPL-3",
    slug="power-of-the-share",
    clause="RPL-6",
    effect="Priorities are divided by their sum before they are raised, and not after: shares do not add up to 1.",
)
def sampling_probabilities(priorities, alpha):
    return (priorities / priorities.sum()) ** alpha


@fault(
    id="M-RPL-4",
    slug="priorities-not-raised",
    clause="RPL-5",
    effect="The exponent is not used: alpha = 0 is not uniform.",
)
def sampling_probabilities(priorities, alpha):
    return right.sampling_probabilities(priorities, 1.0)


@fault(
    id="RP04",
    slug="weight-turned-over",
    clause="RPL-7",
    seen=("takoika/PrioritizedExperienceReplay#1",),
    effect="The weight has the exponent beta of the probability: what is drawn more often counts more still.",
)
def priority_weights(probabilities, sampled, beta):
    return right.priority_weights(probabilities, sampled, -beta)


@fault(
    id="M-RPL-5",
    slug="least-weight-for-the-largest",
    clause="RPL-7",
    effect="Weights are divided by the least of them: none is below 1, and steps are as large as the largest.",
)
def priority_weights(probabilities, sampled, beta):
    weights = (len(probabilities) * probabilities[sampled.astype(int)]) ** -beta
    return weights / weights.min()


@fault(
    id="RP05",
    slug="last-slot-left-out-of-the-sum",
    clause="RPL-10",
    seen=("hill-a/stable-baselines#941",),
    effect="The sum of the priorities is taken without the last slot, which is then hardly ever drawn.",
)
def sampled_slots(priorities, uniforms):
    if len(priorities) < 2 or not priorities[:-1].any():
        return right.sampled_slots(priorities, uniforms)
    return right.sampled_slots(priorities[:-1], uniforms)


def _descended(tree, leaves, place):
    """The leaf of a heap that a place leads to, its left branch first."""
    node = 0
    while 2 * node + 1 < len(tree):
        left = 2 * node + 1
        if place < tree[left]:
            node = left
        else:
            place, node = place - tree[left], left + 1
    return node - (leaves - 1)


@fault(
    id="RP06",
    slug="heap-whose-leaves-are-not-in-order",
    clause="RPL-10",
    seen=("vwxyzjn/cleanrl#546",),
    effect="A sum tree whose number of leaves is no power of two: places lead to other slots than the sums say.",
)
def sampled_slots(priorities, uniforms):
    leaves = len(priorities)
    tree = np.concatenate([np.zeros(leaves - 1), priorities])
    for node in reversed(range(leaves - 1)):
        tree[node] = tree[2 * node + 1] + tree[2 * node + 2]
    places = (np.arange(len(uniforms)) + uniforms) / len(uniforms) * tree[0]
    return np.array([_descended(tree, leaves, place) for place in places])


@fault(
    id="RP07",
    slug="slot-before-an-empty-one",
    clause="RPL-10",
    seen=("JuliaReinforcementLearning/ReinforcementLearningTrajectories.jl#59",),
    effect="A slot without priority is drawn in the place of its neighbour.",
)
def sampled_slots(priorities, uniforms):
    slots = right.sampled_slots(priorities, uniforms).astype(int)
    before = np.maximum(slots - 1, 0)
    return np.where(priorities[before] == 0, before, slots)


@fault(
    id="M-RPL-6",
    slug="state-reset-at-the-last-step",
    clause="RPL-13",
    effect="The state is set back at the step that ends an episode, and not after it: its last action forgets.",
)
def sequence_masks(terminated, truncated, burn_in):
    resets, counted = right.sequence_masks(terminated, truncated, burn_in)
    ended = np.logical_or(terminated, truncated).astype(float)
    return np.concatenate([resets[:, :1], ended[:, 1:]], axis=1), counted


@fault(
    id="M-RPL-7",
    slug="state-kept-across-time-limits",
    clause="RPL-13",
    effect="The state is set back after terminations only: the next episode remembers the one before.",
)
def sequence_masks(terminated, truncated, burn_in):
    return right.sequence_masks(terminated, 0 * truncated, burn_in)


@fault(
    id="M-RPL-8",
    slug="burn-in-one-step-short",
    clause="RPL-13",
    effect="The last step of the burn-in counts.",
)
def sequence_masks(terminated, truncated, burn_in):
    return right.sequence_masks(terminated, truncated, max(0, burn_in - 1))


@fault(
    id="RP08",
    slug="successor-after-the-reset",
    clause="RPL-15",
    seen=("openai/gym#3177",),
    effect="What a step returned is taken for its successor: a time limit leads to the beginning of the next episode.",
)
def autoreset_transitions(observed_values, final_values, terminated, truncated, mode):
    return right.autoreset_transitions(observed_values, observed_values, terminated, truncated, mode)


@fault(
    id="RP09",
    slug="step-that-resets-stored",
    clause="RPL-16",
    seen=("vwxyzjn/cleanrl#499", "automl/Mighty#108"),
    effect="The step that only resets is stored, as a transition from one episode's end to the next one's beginning.",
)
def autoreset_transitions(observed_values, final_values, terminated, truncated, mode):
    if mode == "next step":
        return observed_values, np.ones(observed_values.shape)
    return right.autoreset_transitions(observed_values, final_values, terminated, truncated, mode)


@fault(
    id="M-RPL-9",
    slug="step-that-ends-left-out",
    clause="RPL-17",
    effect="Steps that end an episode are left out, and not those that reset: what ended it is never learned.",
)
def autoreset_transitions(observed_values, final_values, terminated, truncated, mode):
    if mode == "same step":
        return right.autoreset_transitions(observed_values, final_values, terminated, truncated, mode)
    ended = np.logical_or(terminated, truncated)
    return np.where(ended, 0, observed_values), ~ended
