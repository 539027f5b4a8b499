"""Where teams come from: agents that act together, die at their own time, and whose process is known.

As in `strategies`, everything is decoded from windows on a table of bytes, and byte 0 is the plainest choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.strategies import NUMBERS, TERMINATES, TRUNCATES, rescaling, windows
from rlspec.properties.strategies import roundings as of_steps
from rlspec.properties.transitions import MOST_ACTIONS, shares
from rlspec.reference.decision_process import TabularMDP
from rlspec.reference.differentiation import rational
from rlspec.reference.linear_algebra import Matrix

whose = st.sampled_from(["own", "team"])
"""Whose rewards an agent has."""

TEAM_SIZES = st.sampled_from([2, 1, 3, 2])


@dataclass(frozen=True)
class Team:
    """Arrays [B, T, M] of what M agents earned and are worth, flags [B, T] of their episodes, and when agents die."""

    rewards: np.ndarray
    values: np.ndarray
    next_values: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    alive: np.ndarray
    dies: np.ndarray

    def __iter__(self) -> Any:
        """The arguments of ``agents_gae`` before its scalars, in order."""
        return iter(vars(self).values())

    def but(self, **fields: Any) -> "Team":
        """The same with other arrays in the named fields."""
        return replace(self, **fields)

    @property
    def ended(self) -> np.ndarray:
        """Where an episode ends, either way [B, T]."""
        return self.terminated | self.truncated

    def agents(self, places: Sequence[int]) -> "Team":
        """Some of the agents, or all in another order."""
        parts = {name: array[..., list(places)] for name, array in vars(self).items() if array.ndim == 3}
        return self.but(**parts)

    def judged(self, discount: float = 1.0) -> dict[str, Any]:
        """How far rounding may take an advantage: as far as that of one agent, with the rewards of all."""
        steps, agents = self.alive.shape[1:]
        paid = np.abs(self.rewards).sum(axis=(1, 2), keepdims=True)
        read = np.where(self.terminated[..., None], 0, self.next_values)
        own = sum(np.abs(table).sum(axis=1, keepdims=True) for table in (self.values, read))
        return {"magnitude": (paid + own) * rescaling(discount, steps), "roundings": of_steps(steps) + agents}


@st.composite
def teams(
    draw: st.DrawFn, deaths: bool = True, ends: tuple[bool, bool] = (True, True), numbers: np.ndarray = NUMBERS
) -> Team:
    """Steps of one to three agents.  Inside an episode a successor's value is that of the next step.

    deaths: whether agents die, which they are until the next episode.  ends: whether episodes may be terminated, and
    truncated.
    """
    count = draw(TEAM_SIZES)
    table = draw(windows(4 * count + 1))
    flags = table[..., -1] % 8
    terminated, truncated = TERMINATES[flags] & ends[0], TRUNCATES[flags] & ends[1]
    rewards, values, successors, luck = np.moveaxis(table[..., :-1].reshape(*flags.shape, count, 4), 3, 0)
    known, beyond = numbers[values % len(numbers)], numbers[successors % len(numbers)]
    following = np.concatenate([known[:, 1:], beyond[:, -1:]], axis=1)
    over = (terminated | truncated)[..., None]
    alive, dies = _lives(luck if deaths else 0 * luck, over)
    return Team(
        rewards=numbers[rewards % len(numbers)],
        values=known,
        next_values=np.where(over, beyond, following),
        terminated=terminated,
        truncated=truncated,
        alive=alive,
        dies=dies,
    )


def _lives(luck: np.ndarray, over: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who is alive and who dies at each step, by a byte for each: 3 modulo 4 is a death, 5 modulo 8 one before."""
    alive, dies = np.zeros(luck.shape, dtype=bool), np.zeros(luck.shape, dtype=bool)
    here = luck[:, 0] % 8 != 5
    for t in range(luck.shape[1]):
        alive[:, t], dies[:, t] = here, here & (luck[:, t] % 4 == 3)
        here = over[:, t] | (here & ~dies[:, t])
    return alive, dies


@dataclass(frozen=True)
class Choice:
    """What one agent might have done, of which it did one thing: values and a policy [B, A], and actions [B]."""

    action_values: np.ndarray
    policy: np.ndarray
    actions: np.ndarray

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``counterfactual_advantages``, in order."""
        return tuple(vars(self).values())

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take an advantage: a value less a mean."""
        sizes = np.abs(self.action_values)
        own = sizes[np.arange(len(sizes)), self.actions] + (self.policy * sizes).sum(axis=1)
        return {"magnitude": own, "roundings": sizes.shape[1] + 8}


@st.composite
def choices(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> Choice:
    """Rows of up to 6 actions of one agent."""
    table = draw(windows(3))[:, :MOST_ACTIONS]
    actions = (table[:, 0, 2] % table.shape[1]).astype(np.int64)
    return Choice(numbers[table[..., 0] % len(numbers)], shares(table[..., 1]), actions)


@dataclass(frozen=True)
class Together:
    """B transitions of a team: the values [B, M, A] of each agent's actions, which of them it may take, and flags."""

    rewards: np.ndarray
    next_action_values: np.ndarray
    available: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arguments of ``vdn_target`` before gamma, in order."""
        return tuple(vars(self).values())

    def but(self, **fields: Any) -> "Together":
        """The same with other arrays in the named fields."""
        return replace(self, **fields)

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a target: a reward and a value for each agent."""
        largest = np.abs(np.where(self.available, self.next_action_values, 0)).max(axis=2).sum(axis=1)
        agents = self.available.shape[1]
        return {"magnitude": np.abs(self.rewards) + np.where(self.terminated, 0, largest), "roundings": agents + 8}


@st.composite
def together(draw: st.DrawFn, ends: tuple[bool, bool] = (True, True), numbers: np.ndarray = NUMBERS) -> Together:
    """Transitions of one to three agents with up to four actions, of which at least one is available to each."""
    count = draw(TEAM_SIZES)
    table = draw(windows(2 * count + 1))[:, :4]
    flags = table[:, 0, -1] % 8
    values, may = np.moveaxis(table[..., :-1].reshape(*table.shape[:2], count, 2), 3, 0)
    available = np.swapaxes(may % 4 != 3, 1, 2)
    available[..., 0] |= ~available.any(axis=2)
    return Together(
        rewards=numbers[table[:, -1, -1] % len(numbers)],
        next_action_values=numbers[np.swapaxes(values, 1, 2) % len(numbers)],
        available=available,
        terminated=TERMINATES[flags] & ends[0],
        truncated=TRUNCATES[flags] & ends[1],
    )


@dataclass(frozen=True)
class Game:
    """A team's process, its agents' policies [M][S][A], and a number for each state and joint action; in rationals."""

    mdp: TabularMDP
    policies: list[Matrix]
    numbers: list[list[Any]]


GAME_SIZES = st.sampled_from([(2, 2), (2, 3), (3, 1), (2, 2, 2)])

MOST_BYTES = 160
"""More than a game is made of."""


def _shares_of(left: Iterator[int], outcomes: int) -> list[Fraction]:
    parts = [1 + next(left) % 3 for _ in range(outcomes)]
    return [Fraction(part, sum(parts)) for part in parts]


def _numbers_of(left: Iterator[int], count: int) -> list[int]:
    return [next(left) % 7 - 3 for _ in range(count)]


_strings = st.binary(min_size=MOST_BYTES, max_size=MOST_BYTES)


@st.composite
def games(draw: st.DrawFn) -> Game:
    """Teams of two or three agents in one or two states, with an infinite horizon."""
    sizes, count = draw(GAME_SIZES), draw(st.sampled_from([1, 2]))
    left, joints, states = iter(draw(_strings)), prod(sizes), range(count)
    mdp = TabularMDP(
        rational([[_shares_of(left, count) for _ in range(joints)] for _ in states]),
        rational([_numbers_of(left, joints) for _ in states]),
        rational(_shares_of(left, count)),
        rational(Fraction(1, 2)),
        None,
    )
    policies = [rational([_shares_of(left, size) for _ in states]) for size in sizes]
    return Game(mdp, policies, rational([_numbers_of(left, joints) for _ in states]))


@st.composite
def mortal_agents(draw: st.DrawFn) -> tuple[TabularMDP, Matrix]:
    """The process that an agent of a team is in, and its policy: in the last of three states it is dead, for good.

    What the team earns there does not depend on the agent.
    """
    left = iter(draw(_strings))
    living = [[_shares_of(left, 3) for _ in range(2)] for _ in range(2)]
    mdp = TabularMDP(
        rational([*living, [[0, 0, 1], [0, 0, 1]]]),
        rational([*(_numbers_of(left, 2) for _ in range(2)), _numbers_of(left, 1) * 2]),
        rational([*_shares_of(left, 2), 0]),
        rational(draw(st.sampled_from([Fraction(1), Fraction(1, 2)]))),
        draw(st.sampled_from([2, 3])),
    )
    return mdp, rational([_shares_of(left, 2) for _ in range(3)])
