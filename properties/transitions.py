"""Where transitions come from: what followed a step, seen by two networks, a policy and the flags of its end.

As in `strategies`, everything is decoded from windows on a table of bytes, and byte 0 is the plainest choice.
"""

from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume

from rlspec.properties.strategies import LOG_PROBABILITIES, NUMBERS, TERMINATES, TRUNCATES, Rollout, rollouts, windows
from rlspec.properties.strategies import roundings as of_steps

MOST_ACTIONS = 6

alphas = st.sampled_from([1.0, 0.5, 0.0, 0.2])
deltas = st.sampled_from([1.0, 0.5, 2.0, 3.0])
supports = st.sampled_from([(-1.0, 1.0), (0.0, 3.0), (-10.0, 10.0), (-2.0, 0.5)])
noise_clips = st.sampled_from([0.5, 1.0, 0.25])
bounds = st.sampled_from([(-1.0, 1.0), (-2.0, 0.5), (0.0, 3.0)])
log_alphas = st.sampled_from([-1.0, 0.5, -2.5, 1.25])
target_entropies = st.sampled_from([-1.0, -2.0, 0.5])


@dataclass(frozen=True)
class Transitions:
    """B transitions, A actions of the successor; some numbers that an operation may take are of the first action."""

    rewards: np.ndarray
    first: np.ndarray
    """[B, A], distinct in every row, so that one action is the best."""
    second: np.ndarray
    policy: np.ndarray
    """[B, A], multiples of 1/16 that add up to 1."""
    actions: np.ndarray
    logp: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The two flags."""
        return self.terminated, self.truncated

    def but(self, **fields: Any) -> "Transitions":
        """The same with other arrays in the named fields."""
        return replace(self, **fields)

    def arguments(self, operation: str) -> tuple[Any, ...]:
        """The arguments of a one-step target before its scalars, in order."""
        of = {
            "sarsa_target": (self.first, self.actions),
            "expected_sarsa_target": (self.first, self.policy),
            "q_target": (self.first,),
            "double_q_target": (self.first, self.second),
            "twin_q_target": (self.first[:, 0], self.second[:, 0]),
            "soft_target": (self.first[:, 0], self.second[:, 0], self.logp),
        }
        return self.rewards, *of[operation], *self.ends

    def overwritten(self, junk: float) -> "Transitions":
        """The same with something else where nothing may be read: what follows a termination."""
        assume(self.terminated.any())
        table, row = self.terminated[:, None], self.terminated
        first, second = (np.where(table, junk, values) for values in (self.first, self.second))
        return self.but(first=first, second=second, logp=np.where(row, junk, self.logp))

    def judged(self, operation: str, alpha: float = 0.0) -> dict[str, Any]:
        """How far rounding may take a target: the magnitude and roundings that ``agree`` wants.

        A reward and what follows, of which a mean over the actions has A terms, each multiplied and added, and a
        soft value two.  A termination leaves the reward.
        """
        following = {
            "sarsa_target": np.abs(self.first).max(axis=1),
            "expected_sarsa_target": (np.abs(self.first) * self.policy).sum(axis=1),
            "q_target": np.abs(self.first.max(axis=1)),
            "double_q_target": np.abs(self.second[np.arange(len(self.first)), self.first.argmax(axis=1)]),
            "twin_q_target": np.abs(np.minimum(self.first[:, 0], self.second[:, 0])),
            "soft_target": np.abs(np.minimum(self.first[:, 0], self.second[:, 0])) + alpha * np.abs(self.logp),
        }[operation]
        if operation == "sarsa_target":
            following = np.abs(self.first[np.arange(len(self.first)), self.actions])
        following = np.where(self.terminated, 0, following)
        return {"magnitude": np.abs(self.rewards) + following, "roundings": self.first.shape[1] + 8}


ONE_STEP = (
    "sarsa_target",
    "expected_sarsa_target",
    "q_target",
    "double_q_target",
    "twin_q_target",
    "soft_target",
)
"""The targets of one transition."""


def shares(table: np.ndarray) -> np.ndarray:
    """Distributions [B, K] from bytes: multiples of 1/16, the first one what the others leave."""
    parts = np.array([0, 1, 2])[table % 3] / 16
    parts[:, 0] = 1 - parts[:, 1:].sum(axis=1)
    return parts


@st.composite
def transitions(
    draw: st.DrawFn, numbers: np.ndarray = NUMBERS, goes_on: bool = False, ends: tuple[bool, bool] = (True, True)
) -> Transitions:
    """Transitions with up to 6 actions, which may be terminated, truncated, both, or neither.

    goes_on: whether none of them is.  ends: whether one may be terminated, and truncated.
    """
    table = draw(windows(6))[:, :MOST_ACTIONS]
    actions = table.shape[1]
    places = np.arange(actions)
    flags = table[:, 0, 5] % 8 * (not goes_on)
    turns = places[None, :] * 5 + table[:, :1, 0]  # 5 has no factor in common with the number of numbers
    assume(np.gcd(5, len(numbers)) == 1)
    return Transitions(
        rewards=numbers[table[:, 0, 1] % len(numbers)],
        first=numbers[turns % len(numbers)],
        second=numbers[table[..., 2] % len(numbers)],
        policy=shares(table[..., 3]),
        actions=(table[:, 0, 4] % actions).astype(np.int64),
        logp=LOG_PROBABILITIES[table[:, 0, 3] % len(LOG_PROBABILITIES)],
        terminated=TERMINATES[flags] & ends[0],
        truncated=TRUNCATES[flags] & ends[1],
    )


temperatures = st.sampled_from([0.5, 1.0, 0.03, 2.0])
lowests = st.sampled_from([-1.0, None, -0.25, -4.0])
shares_of_logs = st.sampled_from([0.5, 1.0, 0.9, 0.0])


@st.composite
def logged(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> tuple[np.ndarray, np.ndarray]:
    """Rewards [B, T] and the log-probabilities, or log-densities, of the actions that earned them."""
    table = draw(windows(2))
    return numbers[table[..., 0] % len(numbers)], LOG_PROBABILITIES[table[..., 1] % len(LOG_PROBABILITIES)]


def munchausen_terms(pair: tuple[np.ndarray, np.ndarray], alpha: float, temperature: float) -> dict[str, Any]:
    """How far rounding may take a reward and a share of a scaled logarithm."""
    rewards, logp = pair
    return {"magnitude": np.abs(rewards) + alpha * temperature * np.abs(logp), "roundings": 8}


@dataclass(frozen=True)
class Traces:
    """Steps [B, T] of episodes with what one network says of them, and what the traces are made of."""

    rollout: Rollout
    """The values are Q(s_t, a_t)."""
    following: np.ndarray
    """What is said of s_{t+1} as a whole; at a boundary of its own true successor."""
    probabilities: np.ndarray
    greedy: np.ndarray

    def but(self, **fields: Any) -> "Traces":
        """The same with something else in the named fields."""
        return replace(self, **fields)

    def arguments(self, operation: str) -> tuple[Any, ...]:
        """The arguments of a target with traces before its scalars, in order."""
        with np.errstate(divide="ignore"):
            last = {
                "retrace": np.log(self.rollout.ratio),
                "tree_backup": self.probabilities,
                "watkins_target": self.greedy,
            }
        flags = self.rollout.terminated, self.rollout.truncated
        return self.rollout.rewards, self.rollout.values, self.following, *flags, last[operation]

    def part(self, row: int, start: int, stop: int) -> "Traces":
        """Steps start to stop of one row."""
        inner = {name: getattr(self, name)[row : row + 1, start:stop] for name in _OWN}
        return Traces(self.rollout.part(row, start, stop), **inner)

    def overwritten(self, junk: float) -> "Traces":
        """The same with something else after a termination."""
        assume(self.rollout.terminated.any())
        return self.but(following=np.where(self.rollout.terminated, junk, self.following))

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a target: the magnitude and roundings that ``agree`` wants.

        No trace is above 1, so that each reward and each value enters with a weight of at most 1, a value as the end of
        one TD error and the beginning of another.  A ratio is the exponential of a logarithm below 2 in size.
        """
        read = np.where(self.rollout.terminated, 0, self.following)
        parts = (self.rollout.rewards, self.rollout.values, read)
        magnitude = sum(np.abs(part).sum(axis=1, keepdims=True) for part in parts)
        return {"magnitude": 3 * magnitude, "roundings": 2 * of_steps(self.rollout.rewards.shape[1])}


_OWN = ("following", "probabilities", "greedy")

WITH_TRACES = ("retrace", "tree_backup", "watkins_target")
"""The targets that look further than a step, with traces."""

PROBABILITIES = np.array([1, 0.5, 0.25, 0, 0.75, 2.0**-12])


@st.composite
def traces(draw: st.DrawFn, numbers: np.ndarray = NUMBERS, inside: bool = True, at_end: bool = True) -> Traces:
    """Rollouts with traces; the options are those of ``rollouts``."""
    own, other = draw(rollouts(inside, at_end, copies=2, numbers=numbers, off_policy=True))
    bytes_ = draw(st.binary(min_size=16, max_size=16))
    cells = np.resize(np.frombuffer(bytes_, np.uint8), own.rewards.shape)
    return Traces(own, other.next_values, PROBABILITIES[cells % 6], cells // 6 % 3 != 2)


@dataclass(frozen=True)
class Distributions:
    """Rewards [B], distributions [B, K] over the atoms of a support, and how the transitions end."""

    rewards: np.ndarray
    probabilities: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    v_min: float
    v_max: float
    gamma: float

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of ``categorical_projection``, in order."""
        return tuple(vars(self).values())

    @property
    def gap(self) -> float:
        """The distance between two atoms."""
        return (self.v_max - self.v_min) / (self.probabilities.shape[1] - 1)

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a mass: the magnitude and roundings that ``agree`` wants.

        An atom is moved by a reward, and by one that is not clipped where that is no larger than two supports; its
        place, in units of the gap, is off by as much, over the gap, and is a share of the mass.
        """
        wide = max(abs(self.v_min), abs(self.v_max))
        place = np.minimum(np.abs(self.rewards), 2 * wide)[:, None] + 3 * wide
        return {"magnitude": 1 + place / self.gap, "roundings": 2 * self.probabilities.shape[1] + 16}


@st.composite
def distributions(draw: st.DrawFn, gammas: st.SearchStrategy[float], numbers: np.ndarray = NUMBERS) -> Distributions:
    """Transitions whose successors have distributions of 2 to 6 atoms."""
    table = draw(windows(3))[:, :MOST_ACTIONS]
    table = np.concatenate([table, table], axis=1) if table.shape[1] < 2 else table
    flags = table[:, 0, 2] % 8
    low, high = draw(supports)
    ends = TERMINATES[flags], TRUNCATES[flags]
    return Distributions(numbers[table[:, 0, 0] % len(numbers)], shares(table[..., 1]), *ends, low, high, draw(gammas))


@st.composite
def pairs_of_rows(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays [B, K] with up to 6 columns."""
    table = draw(windows(2))[:, :MOST_ACTIONS]
    return numbers[table[..., 0] % len(numbers)], numbers[table[..., 1] % len(numbers)]


def huber_terms(values: np.ndarray, targets: np.ndarray, delta: float) -> dict[str, Any]:
    """How far rounding may take Huber losses and their derivatives, multiplied by 1 or 1 / delta.

    An error is a difference of two numbers, M in size together; the loss is at most delta M, and at most M times the
    derivative, which is delta or M, times the factor.
    """
    return {
        "magnitude": 2 * (np.abs(values) + np.abs(targets)) * max(1.0, delta, 1 / delta) + max(1.0, delta),
        "roundings": 12,
    }


def quantile_terms(quantiles: np.ndarray, targets: np.ndarray, delta: float) -> dict[str, Any]:
    """The same for the quantile Huber loss of rows: a sum of means, over K times K pairs."""
    pairs = huber_terms(quantiles[:, :, None], targets[:, None, :], delta)["magnitude"]
    return {"magnitude": pairs.mean(axis=2).sum(axis=1), "roundings": 2 * quantiles.shape[1] ** 2 + 16}
