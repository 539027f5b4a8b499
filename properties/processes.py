"""Where processes, policies and episodes come from: small, exact in float64, and with their odd corners.

Probabilities are drawn as multiples of a quarter or an eighth, so that the arrays a candidate is given *are* the
rationals that it is judged by.  As in `strategies`, everything is decoded from one byte string of fixed length and a
shape, and byte 0 is the plainest choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cache, cached_property
from math import lcm
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume

from rlspec.properties.checking import Answer
from rlspec.properties.strategies import discounts, rescaling
from rlspec.reference import decision_process, policy_gradient
from rlspec.reference.decision_process import TabularMDP, expected_return, trajectories
from rlspec.reference.differentiation import derivatives_in_logits, rational
from rlspec.reference.linear_algebra import Matrix
from rlspec.spec.operations import OPERATIONS

MOST_STATES, MOST_ACTIONS, MOST_STEPS, MOST_EPISODES = 3, 3, 4, 3
SIZES = (1, 2, 3, 2, 3)
"""Numbers of states and of actions: one is a corner case, and not worth a third of the draws."""

MOST_TRAJECTORIES, MOST_REPLICAS = 300, 512

REWARDS = np.array([0, 1, -1, 2, -2, 0.5, 3, -0.75])
"""Small and dyadic: sums of products of them with probabilities are exact in float64, and legible."""

ABSORBING = 7
"""The kind of state (of 8) that cannot be left and pays nothing: how an episode ends before the horizon."""


def fractions(numbers: Any) -> Any:
    """Nested sequences of flint's rationals as Python's, which `agree` compares."""
    if isinstance(numbers, Sequence):
        return [fractions(number) for number in numbers]
    return Fraction(int(numbers.p), int(numbers.q))


@dataclass(frozen=True)
class Task:
    """A decision process and a policy: float64 arrays for the candidate, the same numbers as rationals for the laws."""

    transition: np.ndarray
    reward: np.ndarray
    initial: np.ndarray
    policy: np.ndarray
    gamma: float
    horizon: int | None

    def __repr__(self) -> str:
        values = {field.name: np.asarray(getattr(self, field.name)).tolist() for field in fields(self)}
        return f"Task({', '.join(f'{name}={value}' for name, value in values.items())})"

    @cached_property
    def mdp(self) -> TabularMDP:
        """The process, in flint's rationals."""
        tables = rational(self.transition), rational(self.reward), rational(self.initial)
        return TabularMDP(*tables, rational(self.gamma), self.horizon)

    @cached_property
    def pi(self) -> Matrix:
        """The policy, in flint's rationals."""
        return rational(self.policy)

    @property
    def logits(self) -> np.ndarray:
        """Logits whose softmax is the policy, up to rounding; the policy must have full support."""
        return np.log(self.policy)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of states and of actions."""
        return self.reward.shape

    @property
    def absorbing(self) -> np.ndarray:
        """Which states keep whoever enters them, and pay nothing [S]."""
        states, _ = self.shape
        stays = self.transition[np.arange(states), :, np.arange(states)] == 1
        return (stays & (self.reward == 0)).all(axis=1)

    def but(self, **fields: Any) -> "Task":
        """The same task with other values in the named fields."""
        return replace(self, **fields)

    def arguments(self, operation: str, **changes: Any) -> tuple[Any, ...]:
        """What the operation is called with, but for the changes."""
        return tuple(changes.get(name, getattr(self, name)) for name in OPERATIONS[operation].parameters)

    def answer(self, operation: str) -> Any:
        """The reference's answer to the operation, in fractions."""
        chapter = policy_gradient if operation == "exact_policy_gradient" else decision_process
        return fractions(getattr(chapter, operation)(self.mdp, self.pi))

    def judged(self, operation: str, times: int = 1) -> dict[str, Any]:
        """How far rounding may take the operation's answer: agree()'s magnitude and roundings.

        times: for a law that puts together that many answers.
        """
        magnitude, roundings = self.worth * self.conditioning, self.roundings
        if operation == "occupancy":
            magnitude = (1 if self.horizon else self.patience) * self.conditioning
        if operation == "exact_policy_gradient":
            # Occupancy times a difference of values; the policy, which errs too, enters once at every step of both.
            magnitude *= 2 * self.patience * self.conditioning
            roundings = 2 * roundings + 2 * (self.horizon or 3) * softmax_roundings(self.shape[1])
        return {"magnitude": magnitude, "roundings": times * roundings}

    @property
    def worth(self) -> float:
        """No return, value or action value exceeds this: max |r| sum_t gamma^t."""
        return float(np.abs(self.reward).max()) * self.patience

    @property
    def patience(self) -> float:
        """sum_t gamma^t over the horizon."""
        return sum(self.gamma**t for t in range(self.horizon)) if self.horizon else 1 / (1 - self.gamma)

    @property
    def conditioning(self) -> float:
        """How much a solution may enlarge its rounding errors; 1 for a finite horizon, which is a recursion.

        For an infinite one the backward error of a factorisation, a few roundings of |L||U|, goes through the inverse.
        In the maximum norm |L||U| is at most (2 S - 1) (1 + gamma) and the inverse of I - gamma P_pi at most
        1 / (1 - gamma), since the matrix is diagonally dominant by rows (Higham 2002, chapter 9).
        """
        return 1 if self.horizon else (2 * self.shape[0] - 1) * (1 + self.gamma) / (1 - self.gamma)

    @property
    def roundings(self) -> int:
        """The roundings on the way to one value, action value or occupancy.

        A step forms an inner product over states, one over actions, and multiplies and adds: S + A + 2; twice that for
        a computation that forms P_pi first.  Three triangular passes for a factorisation.
        """
        states, actions = self.shape
        return 2 * (self.horizon or 3) * (states + actions + 2)


def ask(candidate: Any, operation: str, task: Task, **changes: Any) -> Answer:
    """The candidate's answer to one operation about a task, but for the changes in its arguments."""
    answer: Answer = getattr(candidate, operation)(*task.arguments(operation, **changes))
    return answer


def derivative_of_return(task: Task) -> Any:
    """dJ/dtheta by carrying truncated power series through the evaluation of the policy."""
    return derivatives_in_logits(lambda policy: expected_return(task.mdp, policy), task.pi)


def softmax_roundings(actions: int) -> int:
    """The roundings in one probability computed from logits of at most log 8 in absolute value.

    Each weight: the logit itself and its distance to the largest (log 8 < 2.1 times u each), an exponential (2 ulp);
    this for numerator and denominator, the sum of `actions` weights, and a division.
    """
    return 2 * (3 + 3 + 4) + actions + 1


@cache
def distributions(outcomes: int, parts: int, least: int) -> np.ndarray:
    """All distributions that give each outcome a multiple of 1/parts and at least least/parts; point masses first."""
    counts = [row for row in np.ndindex(*[parts + 1] * outcomes) if sum(row) == parts and min(row) >= least]
    return np.array(sorted(counts, key=lambda row: (-row.count(0), max(row), *(-n for n in row)))) / parts


def pick(options: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """For each of the numbers, which are bytes, one of the options."""
    return options[numbers % len(options)]


def _decode(
    states: int, actions: int, horizon: int | None, gamma: float, data: bytes, full: bool, sparse: bool
) -> Task:
    table = np.frombuffer(data, np.uint8)
    cells = table[: MOST_STATES * 2 * (1 + MOST_ACTIONS)].reshape(MOST_STATES, 2, 1 + MOST_ACTIONS)[:states]
    transition = pick(distributions(states, 2 if sparse else 4, 0), cells[:, 0, 1 : 1 + actions])
    reward = pick(REWARDS, cells[:, 1, 1 : 1 + actions])
    ends = cells[:, 0, 0] % 8 == ABSORBING
    policy = pick(distributions(actions, 8 if full and not sparse else 4, int(full)), cells[:, 1, 0])
    initial = pick(distributions(states, 2 if sparse else 4, 0), table[-1:])[0]
    transition = np.where(ends[:, None, None], np.eye(states)[:, None, :], transition)
    reward = np.where(ends[:, None], 0, reward)
    if horizon is None:
        gamma = min(gamma, 0.9)
    else:
        while horizon > 1 and (states * actions) ** horizon > MOST_TRAJECTORIES:
            horizon -= 1
    return Task(transition, reward, initial, policy, gamma, horizon)


def tasks(
    finite: bool = True,
    infinite: bool = True,
    full: bool = False,
    sparse: bool = False,
    gammas: st.SearchStrategy[float] = discounts,
) -> st.SearchStrategy[Task]:
    """Processes of up to 3 states and 3 actions with a policy; every discount, deterministic corners, absorbing states.

    finite, infinite: which horizons; a finite one is short enough to list at most 300 trajectories.
    full: the policy gives every action a positive probability, as a softmax does.
    sparse: probabilities with small denominators only, so that few replicas of each trajectory make up its probability.
    gammas: the discounts; with an infinite horizon none above 0.9 is used.
    """
    horizons = [*range(1, MOST_STEPS + 1)] * finite + [None] * infinite
    size = MOST_STATES * 2 * (1 + MOST_ACTIONS) + 1
    return st.builds(
        _decode,
        st.sampled_from(SIZES),
        st.sampled_from(SIZES),
        st.sampled_from(horizons),
        gammas,
        st.binary(min_size=size, max_size=size),
        st.just(full),
        st.just(sparse),
    )


def other_policy(task: Task, data: bytes) -> Matrix:
    """Another policy of full support for the task's process, in flint's rationals; data has a byte for each state."""
    states, actions = task.shape
    return rational(pick(distributions(actions, 8, 1), np.frombuffer(data, np.uint8)[:states]))


@dataclass(frozen=True)
class Episodes:
    """B complete episodes of unequal lengths side by side, and the policy they are judged under; arrays [B, T]."""

    policy: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    mask: np.ndarray
    gamma: float

    @property
    def logits(self) -> np.ndarray:
        """Logits whose softmax is the policy, up to rounding."""
        return np.log(self.policy)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of `policy_gradient`."""
        return self.logits, self.states, self.actions, self.rewards, self.mask, self.gamma

    @property
    def pi(self) -> Matrix:
        """The policy, in flint's rationals."""
        return rational(self.policy)

    def but(self, **fields: Any) -> "Episodes":
        """The same episodes with other values in the named fields."""
        return replace(self, **fields)

    def rows(self, rows: Any) -> "Episodes":
        """Some of the episodes: an index or slice of the batch, or a list of indices."""
        return self.but(**{name: getattr(self, name)[rows] for name in ("states", "actions", "rewards", "mask")})

    def episode(self, row: int) -> tuple[list[int], list[int], list[Any]]:
        """States, actions and rewards (in flint's rationals) of one episode, without padding."""
        steps = self.mask[row]
        return self.states[row, steps].tolist(), self.actions[row, steps].tolist(), rational(self.rewards[row, steps])

    def answer(self, weights: policy_gradient.Weights) -> Any:
        """The reference's estimate, in fractions: the mean over the episodes."""
        estimates = [
            policy_gradient.policy_gradient(self.pi, *self.episode(row), rational(self.gamma), weights)
            for row in range(len(self.mask))
        ]
        return np.mean(np.array(fractions(estimates), dtype=object), axis=0)

    def judged(self, weights: policy_gradient.Weights, times: int = 1) -> dict[str, Any]:
        """How far rounding may take an estimate: agree()'s magnitude and roundings.

        A step's weight is at most the episode's absolute rewards, times gamma^-t where it is counted from its own step
        and may have been divided by it; a score is at most 1; a component sums B T steps.
        """
        rows, steps = self.mask.shape
        each = np.where(self.mask, np.abs(self.rewards), 0).sum(axis=1) * self.mask.sum(axis=1)
        scale = rescaling(self.gamma, steps) if weights is policy_gradient.undiscounted_reward_to_go else 1
        roundings = rows * steps + 8 * steps + softmax_roundings(self.policy.shape[1])
        return {"magnitude": float(each.mean()) * scale, "roundings": times * roundings}


def _decode_episodes(shape: tuple[int, int, int, int], gamma: float, data: bytes) -> Episodes:
    states, actions, rows, steps = shape
    table = np.frombuffer(data, np.uint8)
    policy = pick(distributions(actions, 8, 1), table[:MOST_STATES])[:states]
    cells = table[MOST_STATES:].reshape(MOST_EPISODES, MOST_STEPS + 1, 3)[:rows]
    lengths = 1 + cells[:, -1, :1] % steps
    visited, taken, earned = np.moveaxis(cells[:, :steps], 2, 0)
    return Episodes(
        policy,
        states=(visited % states).astype(int),
        actions=(taken % actions).astype(int),
        rewards=pick(REWARDS, earned),
        mask=np.arange(steps) < lengths,
        gamma=gamma,
    )


def episodes(gammas: st.SearchStrategy[float] = discounts) -> st.SearchStrategy[Episodes]:
    """Up to 3 episodes of up to 4 steps each, over up to 3 states and 3 actions, arbitrary under the mask."""
    size = MOST_STATES + MOST_EPISODES * (MOST_STEPS + 1) * 3
    sizes = st.sampled_from(SIZES)
    shapes = st.tuples(sizes, sizes, st.integers(1, MOST_EPISODES), st.integers(1, MOST_STEPS))
    return st.builds(_decode_episodes, shapes, gammas, st.binary(min_size=size, max_size=size))


def every_episode(task: Task) -> Episodes:
    """A batch in which each episode occurs as often as its probability demands: its mean is the expectation.

    An episode ends where it enters an absorbing state; hence the lengths differ.  Draws that need more than 512 rows
    are rejected.
    """
    listed = list(trajectories(task.mdp, task.pi))
    chances = [fractions(probability) for probability, *_ in listed]
    rows = lcm(*(chance.denominator for chance in chances))
    assume(rows <= MOST_REPLICAS)
    replicas = [int(chance * rows) for chance in chances]
    states, actions = (np.repeat([each[part] for each in listed], replicas, axis=0) for part in (1, 2))
    entered = task.absorbing[states]
    entered[:, 0] = False  # an episode has a first step
    mask = np.cumsum(entered, axis=1) == 0
    return Episodes(task.policy, states, actions, task.reward[states, actions], mask, task.gamma)
