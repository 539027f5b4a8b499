"""How returns go wrong."""

from math import log

import numpy as np

from rlspec.faults import fault, right


def _discounts(gamma, steps):
    return np.array([gamma**t for t in range(steps)])


SERIES_EFFECT = "The discount's powers are cut off at 1e-7, but one too early: at 1/4096 nothing is left of the future."
ZERO_EFFECT = "A discount of zero has no series of powers, not even the first, which is 1, and the call raises."


def times_flag(next_values, terminated):
    """The successors' values as they are where a flag is multiplied in: 0 * NaN is NaN."""
    with np.errstate(invalid="ignore"):
        return next_values * (terminated == 0)


def nan_at_terminations(next_values, terminated):
    """0 times the values that are not there, and 0 everywhere else: NaN where they are not numbers."""
    return np.where(terminated, times_flag(next_values, terminated), 0)


def everything_after(entries):
    """The sum of each step's entry and of all later ones of the row."""
    return np.cumsum(entries[:, ::-1], axis=1)[:, ::-1]


def last_only(entries):
    """The entries of the last step, and 0 before."""
    return np.where(np.arange(entries.shape[1]) == entries.shape[1] - 1, entries, np.zeros_like(entries))


def everything_after_in_all_rows(entries):
    """The sum of each step's entry and of all later ones, the rows being laid end to end."""
    return everything_after(entries.reshape(1, -1)).reshape(entries.shape)


def to_float32(number):
    """The nearest number that float32 has."""
    return float(np.float32(number))


def refuse_zero(discount):
    """Fail as an empty series of powers does where it is read."""
    if discount == 0:
        raise IndexError("no power of a discount of 0")


def kept_powers(discount):
    """How many powers of a discount are kept: one too few of those that are not smaller than 1e-7."""
    return int(log(1e-7) / log(discount)) if 0 < discount < 1 else None


def with_kept_powers(kept, operation, arrays, scalars):
    """The answer to each step where nothing counts beyond so many steps; None for all of them.

    Each step begins a rollout of its own, at the end of which is one in which nothing happens and nothing is expected.
    """
    steps = arrays[0].shape[1]
    if kept is None or kept >= steps:
        return operation(*arrays, *scalars)
    if kept == 0:
        raise IndexError("no power is kept")
    windows = ([np.pad(array[:, t : t + kept], ((0, 0), (0, 1))) for array in arrays] for t in range(steps))
    return np.stack([operation(*window, *scalars)[:, 0] for window in windows], axis=1)


def with_end(truncated):
    """The truncations, and one in the last step, which changes nothing there."""
    return truncated | last_only(np.ones_like(truncated))


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
    return gamma * right.discounted_return(rewards, gamma)


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
    return right.discounted_return(np.clip(rewards, -1, 1), gamma)


@fault(
    id="M-RET-4",
    slug="rewards-centred-inside",
    clause="RET-3",
    effect="The mean over the episode is taken off each reward, so the past changes what follows.",
)
def reward_to_go(rewards, gamma):
    return right.reward_to_go(rewards - rewards.mean(axis=1, keepdims=True), gamma)


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
    return right.discounted_return(rewards, gamma or 1.0)


@fault(
    id="M-RET-7",
    slug="rewards-clipped-in-reward-to-go",
    clause="RET-4",
    effect="Large rewards saturate, so twice the reward is not twice the return.",
)
def reward_to_go(rewards, gamma):
    return right.reward_to_go(np.clip(rewards, -10, 10), gamma)


@fault(
    id="M-RET-8",
    slug="last-step-left-out",
    clause="RET-1",
    effect="The sum stops one step early and misses the outcome.",
)
def discounted_return(rewards, gamma):
    return right.discounted_return(np.where(np.arange(rewards.shape[1]) < rewards.shape[1] - 1, rewards, 0), gamma)


@fault(
    id="M-RET-9",
    slug="return-over-the-whole-batch",
    clause="OPS-6",
    effect="A reward in one row is discounted as if the rows were one episode after the other.",
)
def reward_to_go(rewards, gamma):
    return right.reward_to_go(rewards.reshape(1, -1), gamma).reshape(rewards.shape)


@fault(
    id="M-RET-28",
    slug="discounted-from-the-end",
    clause="RET-6",
    effect="The return discounts the first reward most and the last not at all, while the reward-to-go is right.",
)
def discounted_return(rewards, gamma):
    return rewards @ _discounts(gamma, rewards.shape[1])[::-1]


def _unless(flags, numbers):
    """The numbers, and 0 where the flag is set; NaN does not survive."""
    return np.where(flags, 0, numbers)


def _step_by_step(rewards, bootstraps, ended, gamma, n):
    """n-step returns, each summed up from its own first step."""
    rows, steps = rewards.shape
    returns = np.zeros((rows, steps))
    for row in range(rows):
        for t in range(steps):
            k = t
            while not ended[row, k] and k + 1 < min(t + n, steps):
                k += 1
            weights = _discounts(gamma, k - t + 1)
            returns[row, t] = rewards[row, t : k + 1] @ weights + gamma * weights[-1] * bootstraps[row, k]
    return returns


def _mixed(rewards, bootstraps, ended, gamma, lam):
    """The lambda-return's recursion, from the last step back."""
    following, returns = bootstraps[:, -1], []
    for reward, bootstrap, end in zip(rewards.T[::-1], bootstraps.T[::-1], ended.T[::-1], strict=True):
        following = reward + gamma * ((1 - lam) * bootstrap + lam * np.where(end, bootstrap, following))
        returns.append(following)
    return np.stack(returns[::-1], axis=1)


@fault(
    id="R21",
    slug="bootstrap-discounted-once",
    clause="RET-7",
    seen=(
        "jakegrigsby/AdvancedPacmanDQNs#2",
        "qfettes/DeepRL-Tutorials#1",
        "seungeunrho/minimalRL#8",
        "younggyoseo/FastTD3#6",
        "younggyoseo/FastTD3#7",
    ),
    effect="The value after n steps is discounted by gamma and not by gamma^n, so far states look near.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    ended, bootstraps = np.logical_or(terminated, truncated), _unless(terminated, next_values)
    earned = _step_by_step(rewards, np.zeros_like(bootstraps), ended, gamma, n)
    undiscounted = _step_by_step(np.zeros_like(bootstraps), bootstraps, ended, 1.0, n)
    return earned + gamma * undiscounted


@fault(
    id="R06",
    slug="carry-not-masked",
    clause="RET-14",
    seen=("vwxyzjn/cleanrl#494", "vwxyzjn/cleanrl@1ed80620"),
    effect="The mask multiplies the bootstrap and not the carry: the next episode's return leaks into the last step.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    bootstraps, never = _unless(terminated, next_values), np.zeros_like(terminated)
    return right.lambda_return(rewards, bootstraps, never, never, gamma, lam)


@fault(
    id="M-RET-10",
    slug="one-step-too-many",
    clause="RET-7",
    effect="n + 1 rewards are added up before the value is trusted.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return right.n_step_return(rewards, next_values, terminated, truncated, gamma, n + 1)


@fault(
    id="M-RET-11",
    slug="short-tail-not-bootstrapped",
    clause="RET-7",
    effect="Where fewer than n steps are left the bootstrap is dropped, as if every rollout ended in a termination.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    steps = rewards.shape[1]
    padded = np.pad(rewards, ((0, 0), (0, n)))
    bootstraps = np.pad(_unless(terminated, next_values), ((0, 0), (0, n)))
    ended = np.pad(np.logical_or(terminated, truncated), ((0, 0), (0, n)))
    return _step_by_step(padded, bootstraps, ended, gamma, n)[:, :steps]


@fault(
    id="M-RET-12",
    slug="n-step-runs-over-boundaries",
    clause="RET-14",
    seen=("younggyoseo/FastTD3#6", "younggyoseo/FastTD3#7"),
    effect="n rewards are added up whatever episode they belong to.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    never = np.zeros_like(terminated)
    bootstraps = np.where(terminated, 0, next_values)
    return right.n_step_return(rewards, bootstraps, never, never, gamma, n)


@fault(
    id="M-RET-13",
    slug="n-step-truncation-as-termination",
    clause="RET-13",
    effect="A time limit cuts the bootstrap as if nothing followed.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return right.n_step_return(rewards, next_values, np.logical_or(terminated, truncated), truncated, gamma, n)


@fault(
    id="M-RET-14",
    slug="lambda-return-truncation-as-termination",
    clause="RET-13",
    effect="A time limit cuts the bootstrap as if nothing followed.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    return right.lambda_return(rewards, next_values, np.logical_or(terminated, truncated), truncated, gamma, lam)


@fault(
    id="M-RET-15",
    slug="recursion-starts-from-zero",
    clause="RET-8",
    effect="The recursion starts from 0, so lam of the last bootstrap's weight is lost and long returns are too small.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    bootstraps, ended = _unless(terminated, next_values), np.logical_or(terminated, truncated)
    following, returns = 0.0, []
    for reward, bootstrap, end in zip(rewards.T[::-1], bootstraps.T[::-1], ended.T[::-1], strict=True):
        following = reward + gamma * ((1 - lam) * bootstrap + lam * np.where(end, bootstrap, following))
        returns.append(following)
    return np.stack(returns[::-1], axis=1)


@fault(
    id="M-RET-16",
    slug="weights-do-not-sum-to-one",
    clause="RET-18",
    effect="The value is added whole to lam times the return: lambda = 0 and 1 are right, all between is too large.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    bootstraps, ended = _unless(terminated, next_values), np.logical_or(terminated, truncated)
    following, returns = bootstraps[:, -1], []
    for reward, bootstrap, end in zip(rewards.T[::-1], bootstraps.T[::-1], ended.T[::-1], strict=True):
        trusted = bootstrap if lam < 1 else 0
        following = reward + gamma * (trusted + lam * np.where(end, bootstrap - trusted, following))
        returns.append(following)
    return np.stack(returns[::-1], axis=1)


@fault(
    id="M-RET-17",
    slug="zero-lambda-means-default",
    clause="RET-10",
    effect="lambda = 0 is taken for 'not given', and 0.95 is used.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    return right.lambda_return(rewards, next_values, terminated, truncated, gamma, lam or 0.95)


@fault(
    id="M-RET-18",
    slug="one-step-means-default",
    clause="RET-10",
    effect="n = 1 is taken for 'not given', and 3 steps are used.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return right.n_step_return(rewards, next_values, terminated, truncated, gamma, n if n > 1 else 3)


@fault(
    id="M-RET-19",
    slug="bootstrap-clipped-in-n-step-return",
    clause="RET-15",
    effect="Targets are clipped to a range in which the values are expected, and nothing beyond it is learnt.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    bounded = np.clip(next_values, -1, 1)
    return right.n_step_return(rewards, bounded, terminated, truncated, gamma, n)


@fault(
    id="M-RET-20",
    slug="bootstrap-clipped-in-lambda-return",
    clause="RET-15",
    effect="Targets are clipped to a range in which the values are expected, and nothing beyond it is learnt.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    bounded = np.clip(next_values, -1, 1)
    return right.lambda_return(rewards, bounded, terminated, truncated, gamma, lam)


@fault(
    id="M-RET-21",
    slug="n-step-termination-bootstraps",
    clause="RET-16",
    effect="The value of a state that does not exist is added to every final reward.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    never = np.zeros_like(terminated)
    return right.n_step_return(rewards, next_values, never, np.logical_or(terminated, truncated), gamma, n)


@fault(
    id="M-RET-22",
    slug="lambda-return-termination-bootstraps",
    clause="RET-16",
    effect="The value of a state that does not exist is added to every final reward.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    never = np.zeros_like(terminated)
    return right.lambda_return(rewards, next_values, never, np.logical_or(terminated, truncated), gamma, lam)


@fault(
    id="M-RET-23",
    slug="n-step-nan-times-zero",
    clause="RET-17",
    seen=("stable-baselines3 2.9.2", "tianshou 2.0.1", "torchrl 0.14.1"),
    effect="A flag multiplies the successor's value, and 0 * NaN is NaN.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    masked, never = times_flag(next_values, terminated), np.zeros_like(terminated)
    return right.n_step_return(rewards, masked, never, np.logical_or(terminated, truncated), gamma, n)


@fault(
    id="M-RET-24",
    slug="lambda-return-nan-times-zero",
    clause="RET-17",
    seen=("torchrl 0.14.1",),
    effect="A flag multiplies the successor's value, and 0 * NaN is NaN.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    masked, never = times_flag(next_values, terminated), np.zeros_like(terminated)
    return right.lambda_return(rewards, masked, never, np.logical_or(terminated, truncated), gamma, lam)


@fault(
    id="M-RET-25",
    slug="value-of-the-step-itself",
    clause="RET-12",
    effect="The value that is mixed in belongs to the state itself, one step late, so the first step's is made up.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    bootstraps = _unless(terminated, next_values)
    late = np.concatenate([bootstraps[:, :1], bootstraps[:, :-1]], axis=1)
    return _mixed(rewards, late, np.logical_or(terminated, truncated), gamma, lam)


@fault(
    id="M-RET-26",
    slug="rewards-alone-are-mixed",
    clause="RET-8",
    effect="gamma lam discounts the rewards: lambda = 1 is right, and any other forgets the future twice as fast.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    bootstraps, ended = _unless(terminated, next_values), np.logical_or(terminated, truncated)
    return _step_by_step(rewards, bootstraps, ended, gamma * lam, rewards.shape[1])


@fault(
    id="M-RET-27",
    slug="last-step-never-reached",
    clause="RET-11",
    effect="n is limited to the steps that have a successor in the row, so a whole episode's return misses its end.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return right.n_step_return(rewards, next_values, terminated, truncated, gamma, min(n, max(rewards.shape[1] - 1, 1)))


@fault(
    id="M-RET-29",
    slug="windows-side-by-side",
    clause="RET-9",
    effect="Every step of a window of n bootstraps at the window's end, so most see fewer than n rewards.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    ended, steps = np.logical_or(terminated, truncated), rewards.shape[1]
    window_ends = ended | ((np.arange(steps) + 1) % n == 0)
    return _step_by_step(rewards, _unless(terminated, next_values), window_ends, gamma, steps)


@fault(
    id="R51",
    slug="zero-discount-raises",
    clause="OPS-1",
    seen=("torchrl 0.14.1",),
    effect=ZERO_EFFECT,
)
def reward_to_go(rewards, gamma):
    refuse_zero(gamma)
    return right.reward_to_go(rewards, gamma)


@fault(
    id="R52",
    slug="series-cut-too-early",
    clause="RET-2",
    seen=("torchrl 0.14.1",),
    effect=SERIES_EFFECT,
)
def reward_to_go(rewards, gamma):
    return with_kept_powers(kept_powers(gamma), right.reward_to_go, (rewards,), (gamma,))


@fault(
    id="R53",
    slug="n-step-zero-discount-raises",
    clause="OPS-1",
    seen=("torchrl 0.14.1",),
    effect=ZERO_EFFECT,
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    refuse_zero(gamma)
    return right.n_step_return(rewards, next_values, terminated, truncated, gamma, n)


@fault(
    id="R54",
    slug="n-step-series-cut-too-early",
    clause="RET-7",
    seen=("torchrl 0.14.1",),
    effect=SERIES_EFFECT,
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    arrays = rewards, next_values, terminated, with_end(truncated)
    return with_kept_powers(kept_powers(gamma), right.n_step_return, arrays, (gamma, n))


@fault(
    id="R55",
    slug="lambda-return-zero-decay-raises",
    clause="OPS-1",
    seen=("torchrl 0.14.1",),
    effect=ZERO_EFFECT,
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    refuse_zero(gamma * lam)
    return right.lambda_return(rewards, next_values, terminated, truncated, gamma, lam)


@fault(
    id="R56",
    slug="lambda-return-series-cut-too-early",
    clause="RET-8",
    seen=("torchrl 0.14.1",),
    effect=SERIES_EFFECT,
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    arrays = rewards, next_values, terminated, with_end(truncated)
    return with_kept_powers(kept_powers(gamma * lam), right.lambda_return, arrays, (gamma, lam))


@fault(
    id="R57",
    slug="n-step-discount-rounded-to-float32",
    clause="OPS-4",
    seen=("torchrl 0.14.1",),
    effect="gamma passes through float32, and a float64 answer is right to seven digits.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return right.n_step_return(rewards, next_values, terminated, truncated, to_float32(gamma), n)


@fault(
    id="R58",
    slug="one-step-discount-rounded-to-float32",
    clause="OPS-4",
    seen=("torchrl 0.14.1",),
    effect="Where one step is asked for gamma passes through float32; with more steps it does not.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    return right.n_step_return(rewards, next_values, terminated, truncated, to_float32(gamma) if n == 1 else gamma, n)


@fault(
    id="R59",
    slug="lambda-return-discounts-rounded-to-float32",
    clause="OPS-4",
    seen=("torchrl 0.14.1",),
    effect="gamma, lambda, their product and 1 - lambda are float32, and a float64 answer is right to seven digits.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    narrow_gamma, narrow_lam = np.float32(gamma), np.float32(lam)
    discount = float(narrow_gamma)
    mixing = float(narrow_gamma * narrow_lam) / discount if discount else lam
    near = float(1 - narrow_lam) / (1 - mixing) if mixing < 1 else 1.0
    following = np.where(np.logical_or(terminated, with_end(truncated)), next_values, near * next_values)
    return right.lambda_return(rewards, following, terminated, truncated, discount, mixing)


@fault(
    id="R60",
    slug="lambda-return-nan-across-episodes",
    clause="RET-17",
    seen=("torchrl 0.14.1", "rlax 0.1.9"),
    effect="A flag multiplies the successor's value and what is carried: NaN runs back through the row.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    returns = right.lambda_return(rewards, next_values, terminated, truncated, gamma, lam)
    return returns + everything_after(nan_at_terminations(next_values, terminated))


@fault(
    id="R61",
    slug="lambda-return-nan-from-the-last-step",
    clause="RET-17",
    seen=("stable-baselines3 2.9.2",),
    effect="The value after the last step is multiplied by a flag, and NaN in it runs back through the row.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    returns = right.lambda_return(rewards, next_values, terminated, truncated, gamma, lam)
    return returns + everything_after(last_only(nan_at_terminations(next_values, terminated)))


@fault(
    id="R62",
    slug="lambda-return-nan-across-rows",
    clause="RET-17",
    seen=("tianshou 2.0.1",),
    effect="The rows lie end to end and are kept apart by multiplying flags: NaN runs back through all of them.",
)
def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    returns = right.lambda_return(rewards, next_values, terminated, truncated, gamma, lam)
    return returns + everything_after_in_all_rows(nan_at_terminations(next_values, terminated))


@fault(
    id="R63",
    slug="n-step-nan-across-episodes",
    clause="RET-17",
    seen=("torchrl 0.14.1", "rlax 0.1.9"),
    effect="Flags are multiplied in: NaN reaches every step that is fewer than n before it, in whatever episode.",
)
def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    returns = right.n_step_return(rewards, next_values, terminated, truncated, gamma, n)
    nothing, never = nan_at_terminations(next_values, terminated), np.zeros_like(terminated)
    return returns + _step_by_step(nothing, np.zeros_like(nothing), never, 1.0, n)


@fault(
    id="R18",
    slug="return-of-the-whole-episode-at-every-step",
    clause="RET-2",
    seen=(
        "udacity/deep-reinforcement-learning#42",
        "huggingface/deep-rl-class#70",
        "huggingface/deep-rl-class#95",
        "google-research/recsim_ng#3",
    ),
    effect="Every step has the return of the first one: actions are credited with rewards that came before them.",
)
def reward_to_go(rewards, gamma):
    return np.broadcast_to(right.reward_to_go(rewards, gamma)[:, :1], rewards.shape).copy()
