"""Decision processes with names, on which credit assignment is hard in one way each.

Each comes with a policy and with a critic that is wrong, as critics are: bias has to come from somewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from .reference.decision_process import TabularMDP
from .reference.linear_algebra import Matrix


@dataclass(frozen=True)
class Setting:
    """A process, who acts in it, and a critic."""

    mdp: TabularMDP
    """the process"""
    policy: Matrix
    """[S][A]"""
    critic: Matrix
    """v_t(s), [H][S], or [1][S] for an infinite horizon or for numbers that do not know the time"""
    behaviour: Matrix | None = None
    """[S][A], whose actions are seen in place of the policy's; None for nobody else's"""


def bandit() -> Setting:
    """One choice among three arms, paid 1, 2 and 4."""
    arms = [1, 2, 4]
    mdp = TabularMDP([[[1]] * 3], [arms], [1], 1, horizon=1)
    return Setting(mdp, [[Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]], [[0]])


def chain(length: int = 6, horizon: int = 12) -> Setting:
    """A reward of 1 at the far end, many steps after the choices that lead there: go on, or fall back to the start."""
    goal = length - 1

    def to(state: int) -> list[int]:
        return [int(state == other) for other in range(length)]

    transition = [[to(min(state + 1, goal)), to(goal if state == goal else 0)] for state in range(length)]
    reward = [[int(state == goal - 1), 0] for state in range(length)]
    mdp = TabularMDP(transition, reward, to(0), Fraction(19, 20), horizon)
    return Setting(mdp, [[Fraction(2, 3), Fraction(1, 3)]] * length, [[Fraction(1, 4)] * goal + [0]])


def gridworld(side: int = 4) -> Setting:
    """A square to be crossed to its far corner, for -1 a step and for ever; one step in five goes astray."""
    cells = [(x, y) for x in range(side) for y in range(side)]
    moves = [(1, 0), (-1, 0), (0, 1), (0, -1)]
    goal = (side - 1, side - 1)

    def after(cell: tuple[int, int], move: tuple[int, int]) -> tuple[int, int]:
        x, y = (min(max(at + by, 0), side - 1) for at, by in zip(cell, move, strict=True))
        return cell if cell == goal else (x, y)

    def outcomes(cell: tuple[int, int], wanted: tuple[int, int]) -> list[Fraction]:
        chances = [(Fraction(4, 5) * (move == wanted) + Fraction(1, 20), after(cell, move)) for move in moves]
        return [sum((p for p, reached in chances if reached == other), Fraction(0)) for other in cells]

    transition = [[outcomes(cell, move) for move in moves] for cell in cells]
    reward = [[-int(cell != goal)] * 4 for cell in cells]
    begun = [int(cell == (0, 0)) for cell in cells]
    mdp = TabularMDP(transition, reward, begun, Fraction(9, 10))
    critic = [sum(cell) - 2 * (side - 1) for cell in cells]
    return Setting(mdp, [[Fraction(3, 8), Fraction(1, 8), Fraction(3, 8), Fraction(1, 8)]] * len(cells), [critic])


def token_tree(vocabulary: int = 2, length: int = 5) -> Setting:
    """Tokens one after the other, and one score at the end: 1 if more than half of them are the last of the vocabulary.

    A state is what has been said so far.  After the last token nothing is left to be said, and nothing is paid.
    """
    contexts = [tokens for size in range(length) for tokens in product(range(vocabulary), repeat=size)]
    place = {tokens: index for index, tokens in enumerate(contexts)}

    def moved(tokens: tuple[int, ...]) -> list[int]:
        reached = place.get(tokens, 0)  # where the horizon has passed, any state will do
        return [int(index == reached) for index in range(len(contexts))]

    def score(tokens: tuple[int, ...]) -> int:
        return int(len(tokens) == length and 2 * tokens.count(vocabulary - 1) > length)

    transition = [[moved((*tokens, token)) for token in range(vocabulary)] for tokens in contexts]
    reward = [[score((*tokens, token)) for token in range(vocabulary)] for tokens in contexts]
    mdp = TabularMDP(transition, reward, moved(()), 1, length)
    policy = [[Fraction(1, vocabulary)] * vocabulary] * len(contexts)
    return Setting(mdp, policy, [[Fraction(1, 2)] * len(contexts)])


NAMED: dict[str, Callable[[], Setting]] = {
    "bandit": bandit,
    "chain": chain,
    "gridworld": gridworld,
    "token_tree": token_tree,
}
"""The processes that the command line knows by name."""
