"""How targets of values go wrong."""

import numpy as np

from rlspec.faults import fault, right

OVER_ONCE_STOPPED = "Time limits end the task: what would have followed a stopped transition counts as nothing."


def _rows(actions):
    return np.arange(len(actions)), np.asarray(actions).astype(int)


@fault(
    id="M-TGT-1",
    slug="value-of-the-best-next-action",
    clause="TGT-1",
    effect="The target is the largest value, whatever was done next: another policy is learned than the one that acts.",
)
def sarsa_target(rewards, next_action_values, next_actions, terminated, truncated, gamma):
    return right.q_target(rewards, next_action_values, terminated, truncated, gamma)


@fault(
    id="TG01",
    slug="weighed-values-averaged-once-more",
    clause="TGT-2",
    seen=("p-christ/Deep-Reinforcement-Learning-Algorithms-with-PyTorch#54",),
    effect="Values that the policy weighs already are averaged: what follows counts 1/A of what it is worth.",
)
def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    shared = next_policy / next_policy.shape[1]
    return right.expected_sarsa_target(rewards, next_action_values, shared, terminated, truncated, gamma)


@fault(
    id="M-TGT-2",
    slug="mean-of-the-next-values",
    clause="TGT-3",
    effect="The mean over the actions stands for their maximum: the values are those of a random policy.",
)
def q_target(rewards, next_action_values, terminated, truncated, gamma):
    even = np.full(next_action_values.shape, 1 / next_action_values.shape[1])
    return right.expected_sarsa_target(rewards, next_action_values, even, terminated, truncated, gamma)


@fault(
    id="TG02",
    slug="target-without-a-discount",
    clause="TGT-3",
    seen=("mlaux1/rl-blox#79",),
    effect="The discount never reaches the target: what follows counts fully, and values may grow without end.",
)
def q_target(rewards, next_action_values, terminated, truncated, gamma):
    return right.q_target(rewards, next_action_values, terminated, truncated, 1.0)


@fault(
    id="TG03",
    slug="target-without-a-reward",
    clause="TGT-3",
    seen=("PacktPublishing/Tensorflow-2-Reinforcement-Learning-Cookbook#34",),
    effect="The reward is missing from the target, and nothing that was earned is ever learned.",
)
def q_target(rewards, next_action_values, terminated, truncated, gamma):
    return right.q_target(0.0 * rewards, next_action_values, terminated, truncated, gamma)


@fault(
    id="TG04",
    slug="target-network-chooses-and-evaluates",
    clause="TGT-4",
    seen=(
        "keon/deep-q-learning#35",
        "MaximeVandegar/Papers-in-100-Lines-of-Code#21",
        "higgsfield/RL-Adventure#5",
    ),
    effect="The target network chooses the action as well: it is DQN under another name, and overestimates like it.",
)
def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    return right.double_q_target(rewards, next_target_values, next_target_values, terminated, truncated, gamma)


@fault(
    id="M-TGT-3",
    slug="networks-in-each-others-place",
    clause="TGT-4",
    effect="The target network chooses and the online one evaluates: the target moves with every update.",
)
def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    chosen = np.argmax(next_target_values, axis=1)
    following = np.where(terminated, 0, next_online_values[_rows(chosen)])
    return rewards + gamma * following


@fault(
    id="M-TGT-4",
    slug="first-twin-alone",
    clause="TGT-5",
    effect="Only one of the two critics is asked: nothing stands against its overestimates.",
)
def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    return right.twin_q_target(rewards, next_first, next_first, terminated, truncated, gamma)


@fault(
    id="M-TGT-5",
    slug="larger-twin",
    clause="TGT-5",
    effect="The larger of both critics is taken: they overestimate more than one does.",
)
def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    return -right.twin_q_target(-rewards, -next_first, -next_second, terminated, truncated, gamma)


@fault(
    id="TG05",
    slug="future-entropy-left-out",
    clause="TGT-6",
    seen=("rail-berkeley/rlkit#43",),
    effect="The next action's entropy is not paid for: the critic learns the values of another task than the actor's.",
)
def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    return right.soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, 0.0, gamma)


@fault(
    id="TG06",
    slug="entropy-outside-of-the-discount",
    clause="TGT-6",
    seen=("rail-berkeley/serl#93",),
    effect="The entropy term is neither discounted nor ended: the last action of every episode is paid for one more.",
)
def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    return right.twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma) - alpha * next_logp


@fault(
    id="TG07",
    slug="entropy-after-the-end",
    clause="TGT-7",
    seen=("DLR-RM/stable-baselines3#76",),
    effect="The entropy term outlives the episode: where nothing follows, something is paid for it.",
)
def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    kept = right.soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma)
    return kept - gamma * alpha * np.where(terminated, next_logp, 0)


@fault(
    id="M-TGT-6",
    slug="entropy-paid-by-the-actor",
    clause="TGT-6",
    effect="The entropy term has the other sign: the surer the next action is, the better.",
)
def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    return right.soft_target(rewards, next_first, next_second, -next_logp, terminated, truncated, alpha, gamma)


@fault(id="M-TGT-7", slug="stopped-sarsa-ends", clause="TGT-7", effect=OVER_ONCE_STOPPED)
def sarsa_target(rewards, next_action_values, next_actions, terminated, truncated, gamma):
    over = np.logical_or(terminated, truncated)
    return right.sarsa_target(rewards, next_action_values, next_actions, over, truncated, gamma)


@fault(id="M-TGT-8", slug="stopped-expected-sarsa-ends", clause="TGT-7", effect=OVER_ONCE_STOPPED)
def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    over = np.logical_or(terminated, truncated)
    return right.expected_sarsa_target(rewards, next_action_values, next_policy, over, truncated, gamma)


@fault(
    id="TG08",
    slug="stopped-transition-ends",
    clause="TGT-7",
    seen=("DLR-RM/stable-baselines3#284", "anthonytorlucci/rlevo#170"),
    effect=OVER_ONCE_STOPPED,
)
def q_target(rewards, next_action_values, terminated, truncated, gamma):
    return right.q_target(rewards, next_action_values, np.logical_or(terminated, truncated), truncated, gamma)


@fault(
    id="TG09",
    slug="stopped-soft-transition-ends",
    clause="TGT-7",
    seen=("jsboige/CoursIA#7831", "DLR-RM/stable-baselines3#284", "strands-labs/robots#967"),
    effect=OVER_ONCE_STOPPED,
)
def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    over = np.logical_or(terminated, truncated)
    return right.soft_target(rewards, next_first, next_second, next_logp, over, truncated, alpha, gamma)


@fault(
    id="M-TGT-9",
    slug="end-unless-stopped",
    clause="TGT-7",
    effect="A transition that is stopped as well as ended counts as stopped: the task goes on after its end.",
)
def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    over = np.logical_and(terminated, np.logical_not(truncated))
    return right.twin_q_target(rewards, next_first, next_second, over, truncated, gamma)


@fault(
    id="M-TGT-10",
    slug="never-over",
    clause="TGT-7",
    effect="No flag reaches the target: after the end there are values, of whatever the network makes of it.",
)
def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    never = np.zeros(len(rewards), dtype=bool)
    return right.double_q_target(rewards, next_online_values, next_target_values, never, never, gamma)


ZERO_EFFECT = "What follows a termination is multiplied by 0, and NaN there is NaN still."


def _multiplied(rewards, following, terminated, gamma):
    """A reward and what follows, times a flag."""
    with np.errstate(invalid="ignore"):
        return rewards + gamma * following * np.logical_not(terminated)


@fault(id="M-TGT-11", slug="target-multiplied-by-zero", clause="TGT-8", effect=ZERO_EFFECT)
def q_target(rewards, next_action_values, terminated, truncated, gamma):
    return _multiplied(rewards, np.max(next_action_values, axis=1), terminated, gamma)


@fault(id="M-TGT-34", slug="twin-target-multiplied-by-zero", clause="TGT-8", effect=ZERO_EFFECT)
def twin_q_target(rewards, next_first, next_second, terminated, truncated, gamma):
    return _multiplied(rewards, np.minimum(next_first, next_second), terminated, gamma)


@fault(id="M-TGT-35", slug="soft-target-multiplied-by-zero", clause="TGT-8", effect=ZERO_EFFECT)
def soft_target(rewards, next_first, next_second, next_logp, terminated, truncated, alpha, gamma):
    with np.errstate(invalid="ignore"):
        following = np.minimum(next_first, next_second) - alpha * next_logp
    return _multiplied(rewards, following, terminated, gamma)


@fault(
    id="TG26",
    slug="munchausen-one-step-late",
    clause="TGT-36",
    seen=("HorizonRobotics/alf#1221",),
    effect="The log-probability is that of the action before: a reward pays for what did not earn it.",
)
def munchausen_rewards(rewards, logp, alpha, temperature, lowest):
    before = np.concatenate([0 * logp[:, :1], logp[:, :-1]], axis=1)
    return right.munchausen_rewards(rewards, before, alpha, temperature, lowest)


@fault(
    id="M-TGT-40",
    slug="munchausen-clip-before-the-temperature",
    clause="TGT-36",
    effect="The log-probability is clipped before it is multiplied by the temperature: the limit is another one.",
)
def munchausen_rewards(rewards, logp, alpha, temperature, lowest):
    limit = None if lowest is None else lowest * temperature
    return right.munchausen_rewards(rewards, logp, alpha, temperature, limit)


@fault(
    id="M-TGT-41",
    slug="munchausen-without-the-clip",
    clause="TGT-36",
    effect="Nothing is clipped: an improbable action's logarithm outweighs every reward.",
)
def munchausen_rewards(rewards, logp, alpha, temperature, lowest):
    return right.munchausen_rewards(rewards, logp, alpha, temperature, None)


@fault(
    id="TG10",
    slug="action-beyond-its-bounds",
    clause="TGT-9",
    seen=("AgileRL/AgileRL#240",),
    effect="The noisy action is not kept within the bounds: the critic is asked about actions that there are not.",
)
def smoothed_actions(actions, noise, noise_clip, low, high):
    return right.smoothed_actions(actions, noise, noise_clip, -np.inf, np.inf)


@fault(
    id="TG11",
    slug="one-noise-for-the-batch",
    clause="TGT-9",
    seen=("vwxyzjn/cleanrl#279",),
    effect="All actions of a batch are moved by the first one's noise, so that their critics err together.",
)
def smoothed_actions(actions, noise, noise_clip, low, high):
    same = np.broadcast_to(noise[:1], noise.shape)
    return right.smoothed_actions(actions, same, noise_clip, low, high)


@fault(
    id="M-TGT-12",
    slug="noise-without-a-clip",
    clause="TGT-9",
    effect="The noise is not clipped: now and then the target is that of a far away action.",
)
def smoothed_actions(actions, noise, noise_clip, low, high):
    return right.smoothed_actions(actions, noise, np.inf, low, high)


@fault(
    id="M-TGT-13",
    slug="policy-made-even",
    clause="TGT-10",
    effect="Every action counts alike, whatever the policy: a sure policy is valued like a random one.",
)
def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    even = np.full(next_policy.shape, 1 / next_policy.shape[1])
    return right.expected_sarsa_target(rewards, next_action_values, even, terminated, truncated, gamma)


@fault(
    id="M-TGT-14",
    slug="smallest-value-chosen",
    clause="TGT-11",
    effect="The online network chooses the action that it likes least.",
)
def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    return right.double_q_target(rewards, -next_online_values, next_target_values, terminated, truncated, gamma)


@fault(
    id="TG12",
    slug="window-bootstraps-one-step-away",
    clause="TGT-12",
    seen=(
        "qfettes/DeepRL-Tutorials#1",
        "jakegrigsby/AdvancedPacmanDQNs#2",
        "younggyoseo/FastTD3#6",
    ),
    effect="The bootstrap is discounted once, as if it were one step away: what is far off counts as if it were near.",
)
def n_step_target(rewards, next_values, terminated, truncated, gamma):
    ended = np.logical_or(terminated, truncated)
    targets = []
    for row, flags in enumerate(ended):
        last = int(np.argmax(flags)) if flags.any() else len(flags) - 1
        earned = sum(gamma**k * rewards[row, k] for k in range(last + 1))
        targets.append(earned + gamma * (0 if terminated[row, last] else next_values[row, last]))
    return np.array(targets)


@fault(
    id="TG13",
    slug="window-always-full",
    clause="TGT-12",
    seen=("Curt-Park/rainbow-is-all-you-need#10",),
    effect="The bootstrap of a window that ends early is discounted as if it were full.",
)
def n_step_target(rewards, next_values, terminated, truncated, gamma):
    ended, steps = np.logical_or(terminated, truncated), rewards.shape[1]
    targets = []
    for row, flags in enumerate(ended):
        last = int(np.argmax(flags)) if flags.any() else steps - 1
        earned = sum(gamma**k * rewards[row, k] for k in range(last + 1))
        targets.append(earned + gamma**steps * (0 if terminated[row, last] else next_values[row, last]))
    return np.array(targets)


@fault(
    id="TG14",
    slug="window-crosses-episodes",
    clause="TGT-12",
    seen=("younggyoseo/FastTD3#7", "BY571/DQN-Atari-Agents#8"),
    effect="A window goes on into the next episode, and pays for what another one earned.",
)
def n_step_target(rewards, next_values, terminated, truncated, gamma):
    never = np.zeros_like(terminated)
    over, stopped = never.copy(), never.copy()
    over[:, -1], stopped[:, -1] = terminated[:, -1], truncated[:, -1]
    return right.n_step_target(rewards, next_values, over, stopped, gamma)


def _own_traces(rewards, action_values, following, terminated, truncated, traces, gamma):
    """Targets in which a step's TD error is trusted by its own trace, and not by those in between."""
    ended = np.logical_or(terminated, truncated)
    errors = rewards + gamma * np.where(terminated, 0, following) - action_values
    carried, columns = 0.0, []
    for t in reversed(range(rewards.shape[1])):
        carried = traces[:, t] * (errors[:, t] + gamma * np.where(ended[:, t], 0, carried))
        columns.append(action_values[:, t] + carried)
    return np.stack(columns[::-1], axis=1)


@fault(
    id="M-TGT-15",
    slug="own-ratio-trusted",
    clause="TGT-13",
    effect="The first step of a target is weighed by its own ratio: an improbable action is hardly ever corrected.",
)
def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    traces = lam * np.exp(np.minimum(log_ratio, 0))
    return _own_traces(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


@fault(
    id="M-TGT-16",
    slug="ratio-trusted-beyond-one",
    clause="TGT-13",
    effect="The ratio is not clipped: the target's variance grows with every step.",
)
def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    probabilities = np.exp(np.minimum(log_ratio, 500))
    return right.tree_backup(
        rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam
    )


@fault(
    id="M-TGT-17",
    slug="mean-taken-at-the-current-state",
    clause="TGT-13",
    effect="The mean over actions is taken at the current state, and not at the next one.",
)
def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    late = np.roll(next_expected_values, 1, axis=1)
    late[:, 0] = action_values[:, 0]
    return right.retrace(rewards, action_values, late, terminated, truncated, log_ratio, gamma, lam)


@fault(
    id="M-TGT-18",
    slug="tree-backup-trusts-fully",
    clause="TGT-14",
    effect="Every step is trusted as far as lambda lets it, whatever the policy thinks of it.",
)
def tree_backup(rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam):
    ones = np.ones_like(probabilities)
    return right.tree_backup(rewards, action_values, next_expected_values, terminated, truncated, ones, gamma, lam)


@fault(
    id="M-TGT-19",
    slug="cut-after-the-action",
    clause="TGT-15",
    effect="The trace is cut one step too late: an action that was not greedy is still looked beyond.",
)
def watkins_target(rewards, action_values, next_largest_values, terminated, truncated, greedy, gamma, lam):
    late = np.roll(greedy, 1, axis=1)
    late[:, 0] = True
    arrays = rewards, action_values, next_largest_values, terminated, truncated
    return right.watkins_target(*arrays, late, gamma, lam)


@fault(
    id="M-TGT-20",
    slug="never-cut",
    clause="TGT-15",
    effect="The trace is never cut: exploration is taken for what the greedy policy does.",
)
def watkins_target(rewards, action_values, next_largest_values, terminated, truncated, greedy, gamma, lam):
    arrays = rewards, action_values, next_largest_values, terminated, truncated
    return right.watkins_target(*arrays, np.ones_like(greedy), gamma, lam)


@fault(
    id="M-TGT-21",
    slug="trace-crosses-episodes",
    clause="TGT-16",
    effect="A stopped episode's trace goes on into the next one.",
)
def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    never = np.zeros_like(truncated)
    return right.retrace(rewards, action_values, next_expected_values, terminated, never, log_ratio, gamma, lam)


@fault(
    id="M-TGT-22",
    slug="stopped-trace-ends",
    clause="TGT-16",
    effect=OVER_ONCE_STOPPED,
)
def tree_backup(rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam):
    over = np.logical_or(terminated, truncated)
    return right.tree_backup(rewards, action_values, next_expected_values, over, truncated, probabilities, gamma, lam)


@fault(
    id="M-TGT-23",
    slug="trace-of-zero-means-default",
    clause="TGT-17",
    effect="lambda = 0 is taken for 'not given', and 1 is used.",
)
def tree_backup(rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam):
    lam = 1.0 if lam == 0 else lam
    return right.tree_backup(
        rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam
    )


@fault(
    id="TG15",
    slug="huber-linear-as-for-one",
    clause="TGT-18",
    seen=("tensorforce/tensorforce#139",),
    effect="The linear part is |e| - 1/2 for every delta: the pieces do not meet, and losses may be negative.",
)
def huber_loss(values, targets, delta):
    error = values - targets
    near = np.abs(error) < delta
    return np.where(near, error**2 / 2, np.abs(error) - 0.5), np.where(near, error, np.sign(error))


@fault(
    id="M-TGT-24",
    slug="error-clipped-and-squared",
    clause="TGT-18",
    effect="The error is clipped and then squared: what is far off is not moved at all.",
)
def huber_loss(values, targets, delta):
    error = values - targets
    held = np.clip(error, -delta, delta)
    return held**2 / 2, np.where(np.abs(error) > delta, 0, error)


@fault(
    id="M-TGT-25",
    slug="temperature-of-the-other-sign",
    clause="TGT-20",
    effect="The temperature grows where there is too much entropy already, and vanishes where there is too little.",
)
def temperature_loss(logp, log_alpha, target_entropy):
    loss, slope, held = right.temperature_loss(logp, log_alpha, target_entropy)
    return -loss, -slope, held


@fault(
    id="M-TGT-26",
    slug="target-entropy-of-the-other-sign",
    clause="TGT-20",
    effect="The wanted entropy is subtracted: the policy is held at minus what was asked for.",
)
def temperature_loss(logp, log_alpha, target_entropy):
    return right.temperature_loss(logp, log_alpha, -target_entropy)


@fault(
    id="M-TGT-27",
    slug="temperature-moves-the-policy",
    clause="TGT-20",
    effect="The log-probabilities are not held: the loss of the temperature pushes the policy as well.",
)
def temperature_loss(logp, log_alpha, target_entropy):
    loss, slope, _ = right.temperature_loss(logp, log_alpha, target_entropy)
    return loss, slope, np.full(len(logp), -log_alpha / len(logp))


@fault(
    id="M-TGT-33",
    slug="slope-of-another-loss",
    clause="TGT-20",
    effect="The loss that is logged has the logarithm of the temperature, the step the temperature itself.",
)
def temperature_loss(logp, log_alpha, target_entropy):
    loss, slope, held = right.temperature_loss(logp, log_alpha, target_entropy)
    return loss, np.exp(log_alpha) * slope, held


@fault(
    id="TG16",
    slug="mass-lost-on-an-atom",
    clause="TGT-22",
    seen=("Curt-Park/rainbow-is-all-you-need#76",),
    effect="Mass that falls on an atom is shared in the distances 0 and 0: it is lost, and so is every clipped return.",
)
def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    count = next_probabilities.shape[1]
    atoms = np.linspace(v_min, v_max, count)
    going = np.logical_not(terminated)[:, None]
    places = np.clip(rewards[:, None] + gamma * going * atoms, v_min, v_max)
    units = (places - v_min) / ((v_max - v_min) / (count - 1))
    low, high = np.floor(units).astype(int), np.minimum(np.ceil(units), count - 1).astype(int)
    result = np.zeros_like(next_probabilities)
    rows = np.broadcast_to(np.arange(len(rewards))[:, None], low.shape)
    np.add.at(result, (rows, low), next_probabilities * (high - units))
    np.add.at(result, (rows, high), next_probabilities * (units - low))
    return result


@fault(
    id="M-TGT-28",
    slug="mass-on-the-nearest-atom",
    clause="TGT-22",
    effect="A mass is put on the nearest atom: its mean moves by up to half a gap.",
)
def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    count = next_probabilities.shape[1]
    atoms = np.linspace(v_min, v_max, count)
    going = np.logical_not(terminated)[:, None]
    places = np.clip(rewards[:, None] + gamma * going * atoms, v_min, v_max)
    nearest = np.rint((places - v_min) / ((v_max - v_min) / (count - 1))).astype(int)
    result = np.zeros_like(next_probabilities)
    rows = np.broadcast_to(np.arange(len(rewards))[:, None], nearest.shape)
    np.add.at(result, (rows, nearest), next_probabilities)
    return result


@fault(
    id="M-TGT-29",
    slug="mass-beyond-the-support-dropped",
    clause="TGT-23",
    effect="Returns beyond the support are dropped, and what is left does not add up to 1.",
)
def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    atoms = np.linspace(v_min, v_max, next_probabilities.shape[1])
    going = np.logical_not(terminated)[:, None]
    places = rewards[:, None] + gamma * going * atoms
    inside = np.where((places >= v_min) & (places <= v_max), next_probabilities, 0)
    return right.categorical_projection(rewards, inside, terminated, truncated, v_min, v_max, gamma)


@fault(
    id="TG17",
    slug="levels-along-the-targets",
    clause="TGT-24",
    seen=("BY571/QR-DQN#1",),
    effect="The levels belong to the targets, and not to the quantiles: all quantiles are pushed alike.",
)
def quantile_huber_loss(quantiles, target_quantiles, delta):
    count = quantiles.shape[1]
    levels = (2 * np.arange(count) + 1) / (2 * count)
    error = quantiles[:, :, None] - target_quantiles[:, None, :]
    held = np.clip(error, -delta, delta)
    weights = np.abs(levels[None, None, :] - (error > 0))
    return (weights * held * (error - held / 2)).mean(2).sum(1), (weights * held).mean(2)


@fault(
    id="M-TGT-30",
    slug="levels-from-the-other-end",
    clause="TGT-24",
    effect="A quantile pays for targets above it by one less its level: the quantiles come in reverse order.",
)
def quantile_huber_loss(quantiles, target_quantiles, delta):
    loss, slopes = right.quantile_huber_loss(quantiles[:, ::-1], target_quantiles, delta)
    return loss, slopes[:, ::-1]


@fault(
    id="M-TGT-31",
    slug="levels-at-the-edges",
    clause="TGT-24",
    effect="The levels are i / K, and not those half a step further: the lowest quantile falls without end.",
)
def quantile_huber_loss(quantiles, target_quantiles, delta):
    count = quantiles.shape[1]
    error = quantiles[:, :, None] - target_quantiles[:, None, :]
    held = np.clip(error, -delta, delta)
    weights = np.abs((np.arange(count) / count)[None, :, None] - (error > 0))
    return (weights * held * (error - held / 2)).mean(2).sum(1), (weights * held).mean(2)


@fault(
    id="TG18",
    slug="advantages-averaged-over-the-batch",
    clause="TGT-26",
    seen=(
        "PacktPublishing/Deep-Reinforcement-Learning-Hands-On#6",
        "PacktPublishing/Deep-Reinforcement-Learning-Hands-On#52",
        "keras-rl/keras-rl#220",
        "datawhalechina/easy-rl#95",
        "pythonlessons/Reinforcement_Learning#4",
    ),
    effect="The mean advantage is that of the whole batch: a state's values depend on which others were drawn.",
)
def dueling(values, advantages):
    return values[:, None] + advantages - advantages.mean()


@fault(
    id="TG19",
    slug="mean-of-the-states-values",
    clause="TGT-26",
    seen=("tqjxlm/Simple-DQN-Pytorch#1",),
    effect="The mean of the values is subtracted in the place of that of the advantages.",
)
def dueling(values, advantages):
    return values[:, None] + advantages - values.mean()


@fault(
    id="M-TGT-32",
    slug="advantages-as-they-are",
    clause="TGT-28",
    effect="Nothing is subtracted: what is the state's and what is the actions' cannot be told apart.",
)
def dueling(values, advantages):
    return values[:, None] + advantages
