"""Targets: what the value of an action is moved towards (spec/targets.md).

A function of one transition takes its numbers, and lists over the actions or the atoms; a function of steps takes
sequences over time, as in `returns`.

reward: r.  next_action_values: [A], Q(s', .); with online or target in the name, those of one of two networks.
next_first, next_second: Q_1(s', a') and Q_2(s', a').  terminated: d, after which nothing follows.  truncated: where an
episode is cut off, which changes nothing in a target of one step.
"""

from collections.abc import Callable, Sequence
from math import exp
from typing import Any

from .choices import one_of, require
from .linear_algebra import Matrix, dot
from .numbers import at_most, choose, unless
from .returns import Flag, Number, n_step_return

Row = Sequence[Number]


def backed_up(reward: Number, following: Number, terminated: Flag, gamma: Number) -> Number:
    """r + gamma (1 - d) x: a reward and what is expected to follow, which is nothing at a termination (TGT-7).

    >>> backed_up(1, 4, False, 0.5), backed_up(1, 4, True, 0.5)
    (3.0, 1.0)
    """
    return reward + gamma * unless(terminated, following)


def sarsa_target(
    reward: Number, next_action_values: Row, next_action: int, terminated: Flag, truncated: Flag, gamma: Number
) -> Number:
    """r + gamma (1 - d) Q(s', a') with the action that was taken (TGT-1).  Sutton & Barto (2018).

    >>> sarsa_target(1, [4, 8], 1, False, False, 0.5)
    5.0
    """
    return backed_up(reward, next_action_values[int(next_action)], terminated, gamma)


def expected_sarsa_target(
    reward: Number, next_action_values: Row, next_policy: Row, terminated: Flag, truncated: Flag, gamma: Number
) -> Number:
    """r + gamma (1 - d) sum_a pi(a|s') Q(s', a) (TGT-2).  Sutton & Barto (2018).

    >>> expected_sarsa_target(1, [4, 8], [0.25, 0.75], False, False, 0.5)
    4.5
    """
    return backed_up(reward, dot(next_policy, next_action_values), terminated, gamma)


def q_target(reward: Number, next_action_values: Row, terminated: Flag, truncated: Flag, gamma: Number) -> Number:
    """r + gamma (1 - d) max_a Q(s', a) (TGT-3).  Sutton & Barto (2018).

    >>> q_target(1, [4, 8], False, False, 0.5), q_target(1, [4, 8], True, False, 0.5)
    (5.0, 1.0)
    """
    return backed_up(reward, max(next_action_values), terminated, gamma)


def double_q_target(
    reward: Number, next_online_values: Row, next_target_values: Row, terminated: Flag, truncated: Flag, gamma: Number
) -> Number:
    """r + gamma (1 - d) Q_target(s', argmax_a Q_online(s', a)) (TGT-4).  van Hasselt et al. (2016).

    >>> double_q_target(1, [3, 2], [4, 8], False, False, 0.5)
    3.0
    """
    chosen = max(range(len(next_online_values)), key=lambda action: next_online_values[action])
    return backed_up(reward, next_target_values[chosen], terminated, gamma)


def munchausen_rewards(
    rewards: Row, logp: Row, alpha: Number, temperature: Number, lowest: Number | None
) -> list[Number]:
    """r_t + alpha clip(tau log pi(a_t|s_t), lowest, 0) (TGT-36).  Vieillard, Pietquin & Geist (2020).

    lowest: the limit; None for no clip at all.

    >>> munchausen_rewards([1, 1], [-1, -8], 0.5, 0.5, -1)
    [0.75, 0.5]
    """
    scaled = [temperature * log for log in logp]
    kept = scaled if lowest is None else [max(lowest, min(number, 0)) for number in scaled]
    return [reward + alpha * number for reward, number in zip(rewards, kept, strict=True)]


def smoothed_actions(action: Row, noise: Row, noise_clip: Number, low: Number, high: Number) -> list[Number]:
    """clip(a + clip(e, -c, c), low, high) on each axis (TGT-9).  Fujimoto et al. (2018), algorithm 1.

    >>> smoothed_actions([0, 2], [3, -1], 0.5, -1, 1)
    [0.5, 1]
    """
    moved = (number + clipped(shift, -noise_clip, noise_clip) for number, shift in zip(action, noise, strict=True))
    return [clipped(number, low, high) for number in moved]


def clipped(number: Number, low: Number, high: Number) -> Number:
    """The number, or the bound that it is beyond.

    >>> clipped(3, -1, 2), clipped(-3, -1, 2)
    (2, -1)
    """
    return max(low, min(number, high))


def twin_q_target(
    reward: Number, next_first: Number, next_second: Number, terminated: Flag, truncated: Flag, gamma: Number
) -> Number:
    """r + gamma (1 - d) min(Q_1(s', a'), Q_2(s', a')) (TGT-5).  Fujimoto et al. (2018).

    >>> twin_q_target(1, 4, 8, False, False, 0.5)
    3.0
    """
    return backed_up(reward, min(next_first, next_second), terminated, gamma)


def soft_target(
    reward: Number,
    next_first: Number,
    next_second: Number,
    next_logp: Number,
    terminated: Flag,
    truncated: Flag,
    alpha: Number,
    gamma: Number,
) -> Number:
    """r + gamma (1 - d) (min(Q_1(s', a'), Q_2(s', a')) - alpha log pi(a'|s')) (TGT-6).  Haarnoja et al. (2018).

    >>> soft_target(1, 4, 8, -2, False, False, 0.5, 0.5)
    3.5
    """
    return backed_up(reward, min(next_first, next_second) - alpha * next_logp, terminated, gamma)


def n_step_target(
    rewards: Row, next_values: Row, terminated: Sequence[Flag], truncated: Sequence[Flag], gamma: Number
) -> Number:
    """The return of as many steps as the window has, from its first step (TGT-12).  Sutton & Barto (2018).

    >>> n_step_target([1, 2], [10, 20], [False, False], [False, False], 0.5)
    7.0
    """
    return n_step_return(rewards, next_values, terminated, truncated, gamma, len(rewards))[0]


def traced(
    rewards: Row,
    action_values: Row,
    following_values: Row,
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    traces: Row,
    gamma: Number,
) -> list[Number]:
    """G_t = r_t + gamma (1 - d_t) (W_t + c_{t+1} (G_{t+1} - Q_{t+1})), without the c-term where an episode ends.

    action_values: Q(s_t, a_t).  following_values: W_t, what Q says of s_{t+1} as a whole.  traces: c_t.
    Returns T >= 1 targets.  Munos et al. (2016), the operator R of section 2.

    >>> never = [False, False]
    >>> traced([1, 2], [3, 5], [4, 7], never, never, [1, 0.5], 1)
    [7.0, 9]
    """
    targets = [backed_up(rewards[-1], following_values[-1], terminated[-1], gamma)]
    for t in reversed(range(len(rewards) - 1)):
        beyond = unless(terminated[t] | truncated[t], traces[t + 1] * (targets[-1] - action_values[t + 1]))
        targets.append(backed_up(rewards[t], following_values[t] + beyond, terminated[t], gamma))
    return targets[::-1]


def retrace(
    rewards: Row,
    action_values: Row,
    next_expected_values: Row,
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    ratio: Row,
    gamma: Number,
    lam: Number,
) -> list[Number]:
    """Targets with the traces c_t = lam min(1, pi(a_t|s_t) / mu(a_t|s_t)) (TGT-13).  Munos et al. (2016).

    >>> never = [False, False]
    >>> retrace([1, 2], [3, 5], [4, 7], never, never, [1, 4], 1, 0.5)
    [7.0, 9]
    """
    traces = [lam * at_most(number, 1) for number in ratio]
    return traced(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


def tree_backup(
    rewards: Row,
    action_values: Row,
    next_expected_values: Row,
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    probabilities: Row,
    gamma: Number,
    lam: Number,
) -> list[Number]:
    """Targets with the traces c_t = lam pi(a_t|s_t) (TGT-14).

    Precup et al. (2000); Sutton & Barto (2018).

    >>> never = [False, False]
    >>> tree_backup([1, 2], [3, 5], [4, 7], never, never, [1, 0.5], 1, 1)
    [7.0, 9]
    """
    traces = [lam * number for number in probabilities]
    return traced(rewards, action_values, next_expected_values, terminated, truncated, traces, gamma)


def watkins_target(
    rewards: Row,
    action_values: Row,
    next_largest_values: Row,
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    greedy: Sequence[Flag],
    gamma: Number,
    lam: Number,
) -> list[Number]:
    """Targets with the traces c_t = lam where a_t is greedy, and 0 elsewhere (TGT-15).

    Sutton & Barto (2018), section 12.10.

    >>> never = [False, False]
    >>> watkins_target([1, 2], [3, 5], [4, 7], never, never, [True, True], 1, 1)
    [9, 9]
    >>> watkins_target([1, 2], [3, 5], [4, 7], never, never, [True, False], 1, 1)
    [5, 9]
    """
    traces = [choose(flag, lam, 0 * value) for flag, value in zip(greedy, action_values, strict=True)]
    return traced(rewards, action_values, next_largest_values, terminated, truncated, traces, gamma)


SCALES: dict[str, Callable[[Number], Number]] = {"1": lambda delta: 1, "1/delta": lambda delta: 1 / delta}
"""What a Huber loss is multiplied by (TGT-19)."""


def huber_loss(value: Number, target: Number, delta: Number, scale: str = "1") -> tuple[Number, Number]:
    """e^2 / 2 for |e| <= delta, delta (|e| - delta / 2) beyond, with e = value - target; and its derivative (TGT-18).

    scale: a choice of TGT-19.  Huber (1964).

    >>> huber_loss(5, 4, 2), huber_loss(9, 4, 2), huber_loss(9, 4, 2, scale="1/delta")
    ((0.5, 1), (8.0, 2), (4.0, 1.0))
    """
    factor = one_of(SCALES, scale)(delta)
    error = value - target
    held = clipped(error, -delta, delta)
    return factor * held * (error - held / 2), factor * held


def temperature_loss(
    logp: Row, log_alpha: Number, target_entropy: Number, form: str = "log_alpha", exp: Callable[[Any], Any] = exp
) -> tuple[Number, Number, list[Number]]:
    """-x mean(log pi + H) with x = log alpha or alpha; its derivatives in log alpha and in the log pi, held (TGT-20).

    form: a choice of TGT-21.  Haarnoja et al. (2018b), eq. 18, for alpha.

    >>> temperature_loss([-1, -3], 0.5, 1)
    (0.5, 1.0, [0, 0])
    """
    require(form, "log_alpha", "alpha")
    excess = sum(logp) / len(logp) + target_entropy
    weight, slope = (log_alpha, 1) if form == "log_alpha" else (exp(log_alpha), exp(log_alpha))
    return -weight * excess, -slope * excess, [0 * number for number in logp]


def support(v_min: Number, v_max: Number, count: int) -> list[Number]:
    """The atoms z_i = v_min + i (v_max - v_min) / (count - 1).

    >>> support(-1, 1, 3)
    [-1.0, 0.0, 1.0]
    """
    return [v_min + (v_max - v_min) * place / (count - 1) for place in range(count)]


def categorical_projection(
    reward: Number,
    next_probabilities: Row,
    terminated: Flag,
    truncated: Flag,
    v_min: Number,
    v_max: Number,
    gamma: Number,
) -> list[Number]:
    """m_i = sum_j max(0, 1 - |clip(r + gamma (1 - d) z_j) - z_i| / Delta) p_j (TGT-22).

    next_probabilities: of K >= 2 atoms.  Returns K numbers.  Bellemare et al. (2017).

    >>> categorical_projection(0.5, [0, 0, 1], False, False, 0, 2, 0.5)  # 0.5 + 0.5 * 2 lies between 1 and 2
    [0.0, 0.5, 0.5]
    """
    atoms = support(v_min, v_max, len(next_probabilities))
    moved = [clipped(backed_up(reward, atom, terminated, gamma), v_min, v_max) for atom in atoms]
    gap = atoms[1] - atoms[0]
    return [
        sum(p * max(0, 1 - abs(place - atom) / gap) for p, place in zip(next_probabilities, moved, strict=True))
        for atom in atoms
    ]


def midpoints(count: int, one: Number) -> list[Number]:
    """tau_i = (2 i + 1) / (2 K), of the kind of the number 1 that is given.

    >>> midpoints(2, 1)
    [0.25, 0.75]
    """
    return [one * (2 * place + 1) / (2 * count) for place in range(count)]


def quantile_huber_loss(
    quantiles: Row, target_quantiles: Row, delta: Number, scale: str = "1", reduction: str = "sum"
) -> tuple[Number, list[Number]]:
    """sum_i mean_j |tau_i - [t_j < q_i]| L(t_j - q_i), and its derivatives in q_i (TGT-24).

    scale, reduction: choices of TGT-19 and TGT-25.  Dabney et al. (2018), algorithm 1.

    >>> quantile_huber_loss([1, 4], [2, 2], 1)  # 1/4 * 1/2 and 1/4 * 3/2
    (0.5, [-0.25, 0.25])
    """
    count = len(quantiles)
    divisor = count * one_of({"sum": 1, "mean": count}, reduction)
    losses, slopes = [], []
    for tau, quantile in zip(midpoints(count, delta / delta), quantiles, strict=True):
        pairs = [
            (1 - tau if target < quantile else tau, *huber_loss(quantile, target, delta, scale))
            for target in target_quantiles
        ]
        losses.append(sum(weight * loss for weight, loss, _ in pairs) / divisor)
        slopes.append(sum(weight * slope for weight, _, slope in pairs) / divisor)
    return sum(losses), slopes


def dueling(value: Number, advantages: Row, baseline: str = "mean") -> list[Number]:
    """V + A(a) - b, where b is the mean of A, or its maximum (TGT-26, TGT-27).  Wang et al. (2016), eqs. 9 and 8.

    >>> dueling(5, [1, 3]), dueling(5, [1, 3], "max")
    ([4.0, 6.0], [3, 5])
    """
    level = one_of({"mean": sum(advantages) / len(advantages), "max": max(advantages)}, baseline)
    return [value + advantage - level for advantage in advantages]


# What the targets are on average, in a process whose tables are known.


def expected_backup(mdp: Any, policy: Matrix, values: Matrix) -> Matrix:
    """T^pi Q, [S][A]: the mean of an expected SARSA target of every pair (TGT-29).

    >>> from rlspec.reference.decision_process import TabularMDP
    >>> process = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=0.5, horizon=None)
    >>> expected_backup(process, [[0.25, 0.75]], [[4, 12]])
    [[5.0, 13.0]]
    """
    return _backup(mdp, [dot(row, of) for row, of in zip(policy, values, strict=True)])


def optimal_backup(mdp: Any, values: Matrix) -> Matrix:
    """T* Q, [S][A]: the mean of a Q-learning target of every pair (TGT-30).

    >>> from rlspec.reference.decision_process import TabularMDP
    >>> process = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=0.5, horizon=None)
    >>> optimal_backup(process, [[4, 12]])
    [[6.0, 14.0]]
    """
    return _backup(mdp, [max(row) for row in values])


def soft_backup(mdp: Any, policy: Matrix, logarithms: Matrix, values: Matrix, alpha: Number) -> Matrix:
    """The mean of a soft target of every pair, [S][A] (TGT-35).  logarithms: [S][A], log pi(a|s).

    >>> from rlspec.reference.decision_process import TabularMDP
    >>> process = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=0.5, horizon=None)
    >>> soft_backup(process, [[0.5, 0.5]], [[-2, -2]], [[4, 12]], 1)  # as if -2 were the logarithm of 1/2
    [[5.0, 13.0]]
    """
    soft = [[q - alpha * log for q, log in zip(*rows, strict=True)] for rows in zip(values, logarithms, strict=True)]
    return expected_backup(mdp, policy, soft)


def _backup(mdp: Any, following: Row) -> Matrix:
    pairs = zip(mdp.reward, mdp.transition, strict=True)
    return [
        [reward + mdp.gamma * dot(row, following) for reward, row in zip(rewards, rows, strict=True)]
        for rewards, rows in pairs
    ]
