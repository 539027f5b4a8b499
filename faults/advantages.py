"""How advantages go wrong."""

import numpy as np

from rlspec.faults import fault, right
from rlspec.faults._masks import zero_times
from rlspec.faults.returns import (
    SERIES_EFFECT,
    ZERO_EFFECT,
    everything_after,
    everything_after_in_all_rows,
    kept_powers,
    last_only,
    nan_at_terminations,
    refuse_zero,
    times_flag,
    to_float32,
    with_end,
    with_kept_powers,
)


def _deltas(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * np.where(terminated, 0, next_values) - values


def _carried(deltas, ended, decay):
    """The backward recursion over deltas, cut where an episode ended."""
    following, advantages = 0.0, []
    for delta, end in zip(deltas.T[::-1], ended.T[::-1], strict=True):
        following = delta + decay * np.where(end, 0, following)
        advantages.append(following)
    return np.stack(advantages[::-1], axis=1)


def _next_row(values, last):
    """The value of the next row, whatever episode it belongs to."""
    return np.concatenate([values[:, 1:], last[:, -1:]], axis=1)


@fault(
    id="R03",
    slug="value-compared-with-itself",
    clause="ADV-2",
    seen=("tensorflow/agents#953",),
    effect="The TD error bootstraps from the state itself, so a value function is judged by itself.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return right.gae(rewards, values, values, terminated, truncated, gamma, lam)


@fault(
    id="R28",
    slug="successor-two-steps-ahead",
    clause="ADV-2",
    seen=("epignatelli/navix#152",),
    effect="Rewards are paired with the value two steps ahead.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    ahead = _next_row(next_values, next_values)
    return right.gae(rewards, values, ahead, terminated, truncated, gamma, lam)


@fault(
    id="R34",
    slug="last-advantage-zero",
    clause="ADV-2",
    seen=("PufferAI/PufferLib#445", "PufferAI/PufferLib#363"),
    effect="The last step of every segment gets no policy gradient at all.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    deltas[:, -1] = 0
    return _carried(deltas, np.logical_or(terminated, truncated), gamma * lam)


@fault(
    id="R10",
    slug="truncation-as-termination",
    clause="ADV-3",
    seen=(
        "Toni-SM/skrl#449",
        "pytorch/rl#1661",
        "instadeepai/Mava#951",
        "hill-a/stable-baselines#1004",
        "vwxyzjn/cleanrl#198",
        "https://arxiv.org/abs/1712.00378",
        "jsboige/CoursIA#7825",
        "anthonytorlucci/rlevo#344",
    ),
    effect="Time limits end the task: values depend on a clock that the state does not show.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return right.gae(rewards, values, next_values, np.logical_or(terminated, truncated), truncated, gamma, lam)


@fault(
    id="R11",
    slug="time-out-bootstraps-from-current-state",
    clause="ADV-3",
    seen=(
        "leggedrobotics/rsl_rl#20",
        "leggedrobotics/rsl_rl#151",
        "Denys88/rl_games#128",
        "Motphys/UniLab#236",
        "DexForce/EmbodiChain#612",
    ),
    effect="At a time-out the current state's value stands in for its successor's, so the last reward counts twice.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    following = np.where(truncated, values, next_values)
    return right.gae(rewards, values, following, terminated, truncated, gamma, lam)


@fault(
    id="R12",
    slug="bootstrap-after-reset",
    clause="ADV-4",
    seen=(
        "pytorch/rl#3771",
        "Motphys/UniLab#240",
        "Unity-Technologies/ml-agents#574",
        "vwxyzjn/cleanrl#198",
        "ikostrikov/pytorch-a2c-ppo-acktr-gail#182",
    ),
    effect="A truncated episode bootstraps from the first state of the next one.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    after_reset = _next_row(values, next_values)
    return right.gae(rewards, values, after_reset, terminated, truncated, gamma, lam)


@fault(
    id="R13",
    slug="value-zeroed-by-own-termination",
    clause="ADV-6",
    seen=("ray-project/ray#57683", "ray-project/ray#57895", "ray-project/ray#59958"),
    effect="The state from which the last action is taken counts as worthless for the step before it.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    following = next_values.copy()
    following[:, :-1] = np.where(terminated[:, 1:], 0, following[:, :-1])
    return right.gae(rewards, values, following, terminated, truncated, gamma, lam)


@fault(
    id="M-ADV-1",
    slug="carry-crosses-truncation",
    clause="ADV-4",
    seen=(),
    effect="Only a termination cuts the recursion, and the next episode's advantages leak into a truncated one.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return _carried(_deltas(rewards, values, next_values, terminated, gamma), terminated, gamma * lam)


@fault(
    id="M-ADV-2",
    slug="carry-crosses-termination",
    clause="ADV-4",
    effect="The recursion is never cut, and the next episode's advantages leak into the one before.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    never = np.zeros_like(terminated)
    return _carried(_deltas(rewards, values, next_values, terminated, gamma), never, gamma * lam)


@fault(
    id="M-ADV-3",
    slug="carry-decays-by-lambda-alone",
    clause="ADV-2",
    effect="gamma is missing from the weight of later TD errors.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return _carried(_deltas(rewards, values, next_values, terminated, gamma), np.logical_or(terminated, truncated), lam)


@fault(
    id="M-ADV-4",
    slug="lambda-zero-means-default",
    clause="ADV-5",
    effect="lambda = 0 is taken for 'not given', and 0.95 is used.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return right.gae(rewards, values, next_values, terminated, truncated, gamma, lam or 0.95)


@fault(
    id="M-ADV-5",
    slug="normalised-inside",
    clause="ADV-7",
    effect="Advantages are divided by their spread inside the estimator, and nothing is linear any more.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = right.gae(rewards, values, next_values, terminated, truncated, gamma, lam)
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


@fault(
    id="M-ADV-6",
    slug="termination-bootstraps",
    clause="ADV-8",
    effect="The value of a state that does not exist is added to every final reward.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    never = np.zeros_like(terminated)
    return right.gae(rewards, values, next_values, never, np.logical_or(terminated, truncated), gamma, lam)


@fault(
    id="M-ADV-7",
    slug="nan-times-zero",
    clause="ADV-9",
    seen=("torchrl 0.14.1",),
    effect="A flag multiplies the successor's value, and 0 * NaN is NaN.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    masked, never = times_flag(next_values, terminated), np.zeros_like(terminated)
    return right.gae(rewards, values, masked, never, np.logical_or(terminated, truncated), gamma, lam)


@fault(
    id="M-ADV-8",
    slug="undiscounted-bootstrap",
    clause="ADV-10",
    effect="The bootstrap is not discounted, so a potential no longer cancels against the value.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return _carried(
        _deltas(rewards, values, next_values, terminated, 1.0), np.logical_or(terminated, truncated), gamma * lam
    )


@fault(
    id="M-ADV-9",
    slug="truncation-outweighs-termination",
    clause="ADV-3",
    effect="A step with both flags bootstraps although the task is over.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return right.gae(rewards, values, next_values, np.greater(terminated, truncated), truncated, gamma, lam)


@fault(
    id="M-ADV-10",
    slug="discount-rounded-to-float32",
    clause="OPS-4",
    effect="gamma and lambda pass through float32, and a float64 answer is right to seven digits.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    gamma, lam = float(np.float32(gamma)), float(np.float32(lam))
    return right.gae(rewards, values, next_values, terminated, truncated, gamma, lam)


@fault(
    id="R64",
    slug="discount-and-decay-rounded-to-float32",
    clause="OPS-4",
    seen=("torchrl 0.14.1",),
    effect="gamma, and gamma lambda, become float32 where they meet flags; the answer is right to seven digits.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    discount, decay = to_float32(gamma), to_float32(gamma * lam)
    return right.gae(
        rewards, values, next_values, terminated, truncated, discount, decay / discount if discount else lam
    )


@fault(
    id="R65",
    slug="bootstrap-discount-rounded-to-float32",
    clause="OPS-4",
    seen=("torchrl 0.14.1",),
    effect="The gamma of the TD errors is float32, and gamma lambda is not; a float64 answer is right to seven digits.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    discount = to_float32(gamma)
    return right.gae(
        rewards, values, next_values, terminated, truncated, discount, gamma * lam / discount if discount else lam
    )


@fault(
    id="R66",
    slug="gae-in-float32",
    clause="OPS-4",
    seen=("stable-baselines3 2.9.2",),
    effect="Everything is computed in single precision, and a float64 answer is right to seven digits.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    narrow = (np.asarray(array, dtype=np.float32) for array in (rewards, values, next_values))
    return right.gae(*narrow, terminated, truncated, gamma, lam)


@fault(
    id="R67",
    slug="zero-decay-raises",
    clause="OPS-1",
    seen=("torchrl 0.14.1",),
    effect=ZERO_EFFECT,
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    refuse_zero(gamma * lam)
    return right.gae(rewards, values, next_values, terminated, truncated, gamma, lam)


@fault(
    id="R68",
    slug="gae-series-cut-too-early",
    clause="ADV-2",
    seen=("torchrl 0.14.1",),
    effect=SERIES_EFFECT,
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    arrays = rewards, values, next_values, terminated, with_end(truncated)
    return with_kept_powers(kept_powers(gamma * lam), right.gae, arrays, (gamma, lam))


@fault(
    id="R69",
    slug="nan-across-episodes",
    clause="ADV-9",
    seen=("torchrl 0.14.1",),
    effect="A flag multiplies the successor's value and what is carried: NaN runs back through the row.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = right.gae(rewards, values, next_values, terminated, truncated, gamma, lam)
    return advantages + everything_after(nan_at_terminations(next_values, terminated))


@fault(
    id="R70",
    slug="nan-from-the-last-step",
    clause="ADV-9",
    seen=("stable-baselines3 2.9.2", "rlax 0.1.9"),
    effect="The value after the last step is multiplied by a flag, and NaN in it runs back through the row.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = right.gae(rewards, values, next_values, terminated, truncated, gamma, lam)
    return advantages + everything_after(last_only(nan_at_terminations(next_values, terminated)))


@fault(
    id="R71",
    slug="nan-across-rows",
    clause="ADV-9",
    seen=("tianshou 2.0.1",),
    effect="The rows lie end to end and are kept apart by multiplying flags: NaN runs back through all of them.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages = right.gae(rewards, values, next_values, terminated, truncated, gamma, lam)
    return advantages + everything_after_in_all_rows(nan_at_terminations(next_values, terminated))


@fault(
    id="R72",
    slug="td-error-discount-rounded-to-float32",
    clause="OPS-4",
    seen=("torchrl 0.14.1",),
    effect="gamma passes through float32, and a float64 answer is right to seven digits.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    return right.td_error(rewards, values, next_values, terminated, to_float32(gamma))


@fault(
    id="M-ADV-11",
    slug="bootstrap-ignores-termination",
    clause="ADV-1",
    effect="The TD error of the last step bootstraps although nothing follows.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    return right.td_error(rewards, values, next_values, np.zeros_like(terminated), gamma)


@fault(
    id="M-ADV-12",
    slug="td-error-nan-times-zero",
    clause="ADV-9",
    seen=("torchrl 0.14.1", "rlax 0.1.9"),
    effect="A flag multiplies the successor's value, and 0 * NaN is NaN.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    masked, never = times_flag(next_values, terminated), np.zeros_like(terminated)
    return right.td_error(rewards, values, masked, never, gamma)


@fault(
    id="M-ADV-13",
    slug="huber-td-error",
    clause="ADV-7",
    effect="The TD error is clipped to [-1, 1] inside, as if it were the gradient of a Huber loss.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    return np.clip(right.td_error(rewards, values, next_values, terminated, gamma), -1, 1)


def _vtrace(rewards, values, next_values, terminated, truncated, rho, c, gamma, lam, ahead=None):
    """V-trace with the given weights; ``ahead`` makes the advantages' bootstraps of targets and ends."""
    ended = np.logical_or(terminated, truncated)
    excess, following = [], 0.0
    deltas = rho * _deltas(rewards, values, next_values, terminated, gamma)
    for delta, weight, end in zip(deltas.T[::-1], c.T[::-1], ended.T[::-1], strict=True):
        following = delta + gamma * lam * weight * np.where(end, 0, following)
        excess.append(following)
    targets = values + np.stack(excess[::-1], axis=1)
    bootstrap = (ahead or _true_successors)(targets, next_values, ended)
    return targets, rho * _deltas(rewards, values, bootstrap, terminated, gamma)


def _true_successors(targets, next_values, ended):
    """The next row's target inside an episode, and the true successor's value at its end."""
    return np.where(ended, next_values, _next_row(targets, next_values))


def _ratios(log_ratio, rho_clip, c_clip):
    """The two clipped ratios."""
    with np.errstate(over="ignore"):
        ratio = np.exp(log_ratio)
    return np.minimum(ratio, rho_clip), np.minimum(ratio, c_clip)


@fault(
    id="V01",
    slug="next-trajectorys-target",
    clause="ADV-24",
    seen=("pytorch/rl#4209", "pytorch/rl#4210"),
    effect="At a truncation inside a batch the advantage bootstraps from the first target of the next episode.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    rho, c = _ratios(log_ratio, rho_clip, c_clip)

    def shifted(targets, next_values, ended):
        return _next_row(targets, next_values)

    return _vtrace(rewards, values, next_values, terminated, truncated, rho, c, gamma, lam, shifted)


@fault(
    id="R05",
    slug="targets-without-advantages",
    clause="ADV-22",
    seen=("vwxyzjn/cleanrl#337", "vwxyzjn/cleanrl@95fcdd75"),
    effect="The targets are the values that were to be corrected, because the corrections are still zero.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    _, advantages = right.vtrace(
        rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip
    )
    return values.copy(), advantages


@fault(
    id="M-ADV-14",
    slug="ratio-upside-down",
    clause="ADV-25",
    effect="The ratio is mu over pi, and the critic follows neither policy.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    return right.vtrace(rewards, values, next_values, terminated, truncated, -log_ratio, gamma, lam, rho_clip, c_clip)


@fault(
    id="M-ADV-15",
    slug="clips-exchanged",
    clause="ADV-20",
    effect="The clip that was meant for the speed decides which policy is evaluated.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    return right.vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, c_clip, rho_clip)


@fault(
    id="M-ADV-16",
    slug="trace-one-step-late",
    clause="ADV-20",
    effect="The product of c begins after the step: one that the policy never takes still learns from what follows.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    rho, c = _ratios(log_ratio, rho_clip, c_clip)
    late = np.concatenate([c[:, 1:], np.ones_like(c[:, :1])], axis=1)
    return _vtrace(rewards, values, next_values, terminated, truncated, rho, late, gamma, lam)


@fault(
    id="M-ADV-17",
    slug="advantage-not-weighed",
    clause="ADV-21",
    effect="The advantages lack the ratio, and the policy's gradient is that of the old one.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    rho, c = _ratios(log_ratio, rho_clip, c_clip)
    targets, _ = _vtrace(rewards, values, next_values, terminated, truncated, rho, c, gamma, lam)
    bootstrap = _true_successors(targets, next_values, np.logical_or(terminated, truncated))
    return targets, _deltas(rewards, values, bootstrap, terminated, gamma)


@fault(
    id="M-ADV-18",
    slug="target-minus-value-as-advantage",
    clause="ADV-21",
    effect="v_t - V_t is used, which has lam and c in the place of the ratio.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    targets, _ = right.vtrace(
        rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip
    )
    return targets, targets - values


@fault(
    id="M-ADV-19",
    slug="vtrace-truncation-as-termination",
    clause="ADV-23",
    effect="A time limit cuts the bootstrap as if nothing followed.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    ended = np.logical_or(terminated, truncated)
    return right.vtrace(rewards, values, next_values, ended, truncated, log_ratio, gamma, lam, rho_clip, c_clip)


@fault(
    id="M-ADV-20",
    slug="ratio-exponentiated-unclipped",
    clause="ADV-26",
    effect="The clip is taken by multiplying flags, and an overflowing ratio times 0 is NaN.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.exp(log_ratio)
        rho, c = ((ratio <= clip) * ratio + (ratio > clip) * clip for clip in (rho_clip, c_clip))
    return _vtrace(rewards, values, next_values, terminated, truncated, rho, c, gamma, lam)


@fault(
    id="M-ADV-21",
    slug="ratio-never-zero",
    clause="ADV-26",
    effect="The log-ratio is kept above -1, so actions that the policy never takes go on teaching.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    kept = np.maximum(log_ratio, -1.0)
    return right.vtrace(rewards, values, next_values, terminated, truncated, kept, gamma, lam, rho_clip, c_clip)


@fault(
    id="M-ADV-22",
    slug="vtrace-errors-clipped",
    clause="ADV-27",
    effect="Rewards beyond 1 are clipped inside, as the paper's experiments did outside.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    clipped = np.clip(rewards, -1, 1)
    return right.vtrace(clipped, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip)


@fault(
    id="M-ADV-23",
    slug="vtrace-termination-bootstraps",
    clause="ADV-28",
    effect="The value of a state that does not exist is added to every final reward.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    never, ended = np.zeros_like(terminated), np.logical_or(terminated, truncated)
    return right.vtrace(rewards, values, next_values, never, ended, log_ratio, gamma, lam, rho_clip, c_clip)


@fault(
    id="M-ADV-24",
    slug="vtrace-nan-times-zero",
    clause="ADV-29",
    effect="A flag multiplies the successor's value, and 0 * NaN is NaN.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    masked, never = times_flag(next_values, terminated), np.zeros_like(terminated)
    ended = np.logical_or(terminated, truncated)
    return right.vtrace(rewards, values, masked, never, ended, log_ratio, gamma, lam, rho_clip, c_clip)


@fault(
    id="V51",
    slug="vtrace-nan-across-episodes",
    clause="ADV-29",
    seen=("torchrl 0.14.1",),
    effect="Flags are multiplied in: NaN runs back through the targets of the row, and into what bootstraps from them.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    targets, advantages = right.vtrace(
        rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip
    )
    own = nan_at_terminations(next_values, terminated)
    nothing = everything_after(own)
    following = np.where(np.logical_or(terminated, with_end(truncated)), 0, _next_row(nothing, nothing))
    return targets + nothing, advantages + own + following


@fault(
    id="V52",
    slug="vtrace-nan-in-all-that-precedes",
    clause="ADV-29",
    seen=("rlax 0.1.9",),
    effect="A termination is a discount of 0: 0 * NaN runs back through all targets and advantages of the row.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    targets, advantages = right.vtrace(
        rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip
    )
    own = nan_at_terminations(next_values, terminated)
    nothing = everything_after(own)
    return targets + nothing, advantages + _next_row(nothing, own)


@fault(
    id="V53",
    slug="vtrace-discount-and-clips-rounded-to-float32",
    clause="OPS-4",
    seen=("torchrl 0.14.1",),
    effect="gamma and the clips pass through float32, and a float64 answer is right to seven digits.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    gamma, rho_clip, c_clip = map(to_float32, (gamma, rho_clip, c_clip))
    return right.vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip)


def _standardized(entries):
    """Entries with mean 0 and standard deviation 1."""
    return (entries - entries.mean()) / (entries.std() + 1e-8) if len(entries) else entries


def _where_counted(mask, entries):
    """The entries at their places in the batch, and 0 elsewhere."""
    placed = np.zeros(mask.shape)
    placed[mask] = entries
    return placed


@fault(
    id="P17",
    slug="deviation-of-one-number",
    clause="ADV-15",
    seen=("DLR-RM/stable-baselines3#325", "DLR-RM/stable-baselines3#1028", "thu-ml/tianshou#1298"),
    effect="The standard deviation of a single entry, with N - 1 in the denominator, is NaN.",
)
def normalize_advantages(advantages, mask):
    entries = advantages[mask]
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.sum((entries - entries.sum() / len(entries)) ** 2) / np.float64(len(entries) - 1)
        return (
            _where_counted(mask, (entries - entries.mean()) / (np.sqrt(variance) + 1e-8))
            if len(entries)
            else mask * 0.0
        )


@fault(
    id="A26",
    slug="normalised-under-the-mask",
    clause="OPS-10",
    seen=("volcengine/verl#1527", "volcengine/verl@4e9586a3a"),
    effect="Entries that do not count become (0 - mean) / std, and enter the sums of those who do not mask again.",
)
def normalize_advantages(advantages, mask):
    entries = advantages[mask]
    if not len(entries):
        return np.zeros(mask.shape)
    return (np.where(mask, advantages, 0) - entries.mean()) / (entries.std() + 1e-8)


@fault(
    id="A23",
    slug="statistics-of-each-shard",
    clause="ADV-14",
    seen=("THUDM/slime#2235", "radixark/miles#3229", "leggedrobotics/rsl_rl#226", "Denys88/rl_games#363"),
    effect="Each row is normalised for itself, as the parts of a batch on several devices are.",
)
def normalize_advantages(advantages, mask):
    rows = zip(advantages, mask, strict=True)
    return np.array([_where_counted(counts, _standardized(row[counts])) for row, counts in rows])


@fault(
    id="A12",
    slug="variance-by-cancellation",
    clause="ADV-13",
    seen=("NousResearch/atropos#481",),
    effect="E[x^2] - E[x]^2 loses all digits where the mean is large, and may be negative.",
)
def normalize_advantages(advantages, mask):
    entries = advantages[mask]
    if not len(entries):
        return np.zeros(mask.shape)
    variance = max((entries**2).mean() - entries.mean() ** 2, 0)
    return _where_counted(mask, (entries - entries.mean()) / (np.sqrt(variance) + 1e-8))


@fault(
    id="M-ADV-25",
    slug="mean-over-the-padding-too",
    clause="ADV-12",
    effect="The sum over what counts is divided by the size of the batch, and the mean is not zero.",
)
def normalize_advantages(advantages, mask):
    entries = advantages[mask]
    mean = entries.sum() / mask.size
    return _where_counted(mask, (entries - mean) / (entries.std() + 1e-8)) if len(entries) else np.zeros(mask.shape)


@fault(
    id="M-ADV-26",
    slug="variance-for-deviation",
    clause="ADV-12",
    effect="The root is forgotten: differences are divided by the variance.",
)
def normalize_advantages(advantages, mask):
    entries = advantages[mask]
    return _where_counted(mask, (entries - entries.mean()) / (entries.var() + 1e-8)) if len(entries) else mask * 0.0


@fault(
    id="M-ADV-27",
    slug="masked-by-multiplication",
    clause="OPS-11",
    effect="The mask is multiplied in, and NaN under it reaches every entry.",
)
def normalize_advantages(advantages, mask):
    count = max(mask.sum(), 1)
    with np.errstate(invalid="ignore"):
        mean = (advantages * mask).sum() / count
        std = np.sqrt((((advantages - mean) * mask) ** 2).sum() / count)
        return np.where(mask, (advantages - mean) / (std + 1e-8), 0)


@fault(
    id="M-ADV-28",
    slug="garbage-in-the-mean",
    clause="OPS-10",
    effect="The mean and standard deviation are those of the padded batch.",
)
def normalize_advantages(advantages, mask):
    return np.where(mask, (advantages - advantages.mean()) / (advantages.std() + 1e-8), 0)


@fault(
    id="M-ADV-29",
    slug="residue-divided-by-residue",
    clause="ADV-16",
    effect="Nothing is added to the standard deviation, and what rounding leaves of equal entries is blown up.",
)
def normalize_advantages(advantages, mask):
    entries = advantages[mask]
    mean = sum(entries.tolist()) / max(len(entries), 1)
    std = np.sqrt(np.mean((entries - mean) ** 2)) if len(entries) else 0.0
    return _where_counted(mask, (entries - mean) / (std or 1.0))


@fault(
    id="M-ADV-30",
    slug="single-entry-kept-in-an-empty-batch",
    clause="OPS-12",
    effect="With fewer than two entries that count the batch comes back as it was, the padding with it.",
)
def normalize_advantages(advantages, mask):
    if mask.sum() < 2:
        return advantages.copy()
    return _where_counted(mask, _standardized(advantages[mask]))


@fault(
    id="M-ADV-31",
    slug="running-statistics",
    clause="ADV-14",
    effect="The first entry counts twice, as where running statistics are started from it.",
)
def normalize_advantages(advantages, mask):
    entries = advantages[mask]
    if len(entries) < 2:
        return np.zeros(mask.shape)
    seen = np.append(entries, entries[0])
    return _where_counted(mask, (entries - seen.mean()) / (seen.std() + 1e-8))


@fault(
    id="M-ADV-32",
    slug="deviation-in-float32",
    clause="OPS-4",
    effect="Everything passes through float32, and a float64 answer is right to seven digits.",
)
def normalize_advantages(advantages, mask):
    return _where_counted(mask, _standardized(advantages[mask].astype(np.float32)))


@fault(
    id="M-ADV-33",
    slug="range-for-deviation",
    clause="ADV-11",
    effect="Advantages are divided by the distance of the largest from the smallest, so their scale is another.",
)
def normalize_advantages(advantages, mask):
    entries = advantages[mask]
    spread = np.ptp(entries) if len(entries) else 0.0
    return _where_counted(mask, (entries - entries.mean()) / spread if spread else 0.0)


@fault(
    id="S13",
    slug="bootstrap-in-the-carry-as-well",
    clause="ADV-2",
    seen=("simonsays1980/rl-triton#4", "simonsays1980/rl-triton#5"),
    effect="The carry begins with the value at the window's edge, which the last TD error has counted already.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    seeded = rewards.astype(float)
    seeded[:, -1] += np.where(np.logical_or(terminated, truncated)[:, -1], 0, gamma * lam * next_values[:, -1])
    return right.gae(seeded, values, next_values, terminated, truncated, gamma, lam)


@fault(
    id="S15",
    slug="rewards-one-step-late",
    clause="ADV-2",
    seen=("openai/spinningup#50",),
    effect="A step is stored with the reward that came before it: every action has its predecessor's reward.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    late = np.pad(rewards, ((0, 0), (1, 0)))[:, :-1]
    return right.gae(late, values, next_values, terminated, truncated, gamma, lam)


@fault(
    id="S17",
    slug="nothing-learned-where-time-runs-out",
    clause="ADV-3",
    seen=("EdanToledo/Stoix#142", "EdanToledo/Stoix#148"),
    effect="The TD error of a truncated step is multiplied by a mask: what it did has no consequences.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    out_of_time = np.greater(truncated, terminated)
    following = np.where(out_of_time, 0, next_values)
    return right.gae(np.where(out_of_time, values, rewards), values, following, terminated, truncated, gamma, lam)


@fault(
    id="S14",
    slug="last-step-bootstraps-on-itself",
    clause="ADV-20",
    seen=("micdoh/XLRON#50",),
    effect="The last step of a row bootstraps from its own value, that of the state after it being at hand nowhere.",
)
def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    own = np.concatenate([next_values[:, :-1], values[:, -1:]], axis=1)
    return right.vtrace(rewards, values, own, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip)


@fault(
    id="A71",
    slug="normalised-and-then-multiplied-by-the-mask",
    clause="OPS-11",
    seen=("verl 0.9.1",),
    effect="Statistics leave padding out, the result is multiplied by the mask, and what is no number there stays.",
)
def normalize_advantages(advantages, mask):
    return right.normalize_advantages(advantages, mask) + np.where(mask, 0, zero_times(advantages))


@fault(
    id="A72",
    slug="fewer-than-two-advantages-refused",
    clause="ADV-15",
    seen=("verl 0.9.1",),
    effect="A batch in which one token counts, or none, has no sample variance, and the call raises.",
)
def normalize_advantages(advantages, mask):
    if mask.sum() < 2:
        raise ValueError("no variance of fewer than two")
    return right.normalize_advantages(advantages, mask)


def with_float32_correction(normalised):
    """Numbers of variance s as they become where n / (n - 1), which the variance was multiplied by, is float32.

    What is divided by is the root of that variance and of the little that keeps it from 0, whose share is 1 - s.
    """
    size = len(normalised)
    if size < 2:
        return normalised
    rounding = to_float32(size / (size - 1)) / (size / (size - 1))
    share = normalised.var(ddof=1)
    return normalised / np.sqrt(share * rounding + 1 - share)


@fault(
    id="A74",
    slug="sample-variance-corrected-in-float32",
    clause="OPS-4",
    seen=("verl 0.9.1",),
    effect="n / (n - 1) is a quotient of integers, and float32: a float64 answer is right to seven digits.",
)
def normalize_advantages(advantages, mask):
    return _where_counted(mask, with_float32_correction(right.normalize_advantages(advantages, mask)[mask]))
