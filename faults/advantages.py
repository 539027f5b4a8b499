"""How advantages go wrong."""

import numpy as np
from rlspec.faults import fault


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
    return _carried(_deltas(rewards, values, values, terminated, gamma), terminated | truncated, gamma * lam)


@fault(
    id="R28",
    slug="successor-two-steps-ahead",
    clause="ADV-2",
    seen=("epignatelli/navix#152",),
    effect="Rewards are paired with the value two steps ahead.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    ahead = _next_row(next_values, next_values)
    return _carried(_deltas(rewards, values, ahead, terminated, gamma), terminated | truncated, gamma * lam)


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
    return _carried(deltas, terminated | truncated, gamma * lam)


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
    ),
    effect="Time limits end the task: values depend on a clock that the state does not show.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    ended = terminated | truncated
    return _carried(_deltas(rewards, values, next_values, ended, gamma), ended, gamma * lam)


@fault(
    id="R11",
    slug="time-out-bootstraps-from-current-state",
    clause="ADV-3",
    seen=("leggedrobotics/rsl_rl#20", "leggedrobotics/rsl_rl#151", "Denys88/rl_games#128", "Motphys/UniLab#236"),
    effect="At a time-out the current state's value stands in for its successor's, so the last reward counts twice.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    following = np.where(truncated, values, next_values)
    return _carried(_deltas(rewards, values, following, terminated, gamma), terminated | truncated, gamma * lam)


@fault(
    id="R12",
    slug="bootstrap-after-reset",
    clause="ADV-4",
    seen=("pytorch/rl#3771", "Motphys/UniLab#240", "Unity-Technologies/ml-agents#574", "vwxyzjn/cleanrl#198"),
    effect="A truncated episode bootstraps from the first state of the next one.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    after_reset = _next_row(values, next_values)
    return _carried(_deltas(rewards, values, after_reset, terminated, gamma), terminated | truncated, gamma * lam)


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
    return _carried(_deltas(rewards, values, following, terminated, gamma), terminated | truncated, gamma * lam)


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
    return _carried(_deltas(rewards, values, next_values, terminated, gamma), terminated | truncated, lam)


@fault(
    id="M-ADV-4",
    slug="lambda-zero-means-default",
    clause="ADV-5",
    effect="lambda = 0 is taken for 'not given', and 0.95 is used.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    ended = terminated | truncated
    return _carried(_deltas(rewards, values, next_values, terminated, gamma), ended, gamma * (lam or 0.95))


@fault(
    id="M-ADV-5",
    slug="normalised-inside",
    clause="ADV-7",
    effect="Advantages are divided by their spread inside the estimator, and nothing is linear any more.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    advantages = _carried(deltas, terminated | truncated, gamma * lam)
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


@fault(
    id="M-ADV-6",
    slug="termination-bootstraps",
    clause="ADV-8",
    effect="The value of a state that does not exist is added to every final reward.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    never = np.zeros_like(terminated)
    return _carried(_deltas(rewards, values, next_values, never, gamma), terminated | truncated, gamma * lam)


@fault(
    id="M-ADV-7",
    slug="nan-times-zero",
    clause="ADV-9",
    effect="A flag multiplies the successor's value, and 0 * NaN is NaN.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    with np.errstate(invalid="ignore"):
        deltas = rewards + gamma * next_values * (1.0 - terminated) - values
    return _carried(deltas, terminated | truncated, gamma * lam)


@fault(
    id="M-ADV-8",
    slug="undiscounted-bootstrap",
    clause="ADV-10",
    effect="The bootstrap is not discounted, so a potential no longer cancels against the value.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return _carried(_deltas(rewards, values, next_values, terminated, 1.0), terminated | truncated, gamma * lam)


@fault(
    id="M-ADV-9",
    slug="truncation-outweighs-termination",
    clause="ADV-3",
    effect="A step with both flags bootstraps although the task is over.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    over = terminated & ~truncated
    return _carried(_deltas(rewards, values, next_values, over, gamma), terminated | truncated, gamma * lam)


@fault(
    id="M-ADV-10",
    slug="discount-rounded-to-float32",
    clause="OPS-4",
    effect="gamma and lambda pass through float32, and a float64 answer is right to seven digits.",
)
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    gamma, lam = float(np.float32(gamma)), float(np.float32(lam))
    return _carried(_deltas(rewards, values, next_values, terminated, gamma), terminated | truncated, gamma * lam)


@fault(
    id="M-ADV-11",
    slug="bootstrap-ignores-termination",
    clause="ADV-1",
    effect="The TD error of the last step bootstraps although nothing follows.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * next_values - values


@fault(
    id="M-ADV-12",
    slug="td-error-nan-times-zero",
    clause="ADV-9",
    effect="A flag multiplies the successor's value, and 0 * NaN is NaN.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    with np.errstate(invalid="ignore"):
        return rewards + gamma * next_values * (1.0 - terminated) - values


@fault(
    id="M-ADV-13",
    slug="huber-td-error",
    clause="ADV-7",
    effect="The TD error is clipped to [-1, 1] inside, as if it were the gradient of a Huber loss.",
)
def td_error(rewards, values, next_values, terminated, gamma):
    return np.clip(_deltas(rewards, values, next_values, terminated, gamma), -1, 1)
