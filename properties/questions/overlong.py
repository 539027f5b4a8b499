"""Questions about overlong answers."""

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
from flint import arb, ctx, fmpq

from rlspec.properties.balls import PRECISION, nearest
from rlspec.properties.checking import exactly
from rlspec.properties.groups import IDS
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import windows
from rlspec.reference import overlong
from rlspec.spec.operations import OPERATIONS


@dataclass(frozen=True)
class Answered:
    """How long answers are [B], how long they may be, from where on that costs something, and how much."""

    lengths: np.ndarray
    max_length: int
    buffer: int
    factor: float

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of `overlong_penalty`."""
        return self.lengths, self.max_length, self.buffer, self.factor

    @property
    def into_the_buffer(self) -> np.ndarray:
        """By how many tokens each answer is longer than what costs nothing."""
        return self.lengths - (self.max_length - self.buffer)

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a penalty: a difference of whole numbers, a quotient and a product."""
        size = abs(self.factor) * (1 + (self.lengths.max() + self.max_length) / self.buffer)
        return {"magnitude": size, "roundings": 8}


factors = st.sampled_from([1.0, 0.5, 2.0, 0.1, 0.0])


@st.composite
def answered(draw: st.DrawFn) -> Answered:
    """Answers that are short, inside the buffer, at its ends, and beyond."""
    max_length, buffer = draw(st.sampled_from([(8, 4), (10, 3), (5, 5), (7, 1), (4096, 512)]))
    edge = max_length - buffer
    places = np.array([edge, edge + 1, max_length, max_length + 1, 0, edge + buffer // 2, max_length - 1, edge // 2])
    table = draw(windows(1))[:, 0, 0]
    return Answered(places[table % len(places)], max_length, buffer, draw(factors))


def _penalty(drawn: Answered) -> Question:
    def answer(**chosen: str) -> Any:
        told: tuple[Any, ...] = (drawn.max_length, drawn.buffer, exactly(drawn.factor), *last_names(chosen).values())
        return [overlong.overlong_penalty(length, *told) for length in drawn.lengths.tolist()]

    return Question(OPERATIONS["overlong_penalty"], drawn.arguments, answer, **drawn.judged)


@dataclass(frozen=True)
class Scored:
    """How long answers are [B], which are right, how long they may be, and what the ends of both kinds score."""

    lengths: np.ndarray
    correct: np.ndarray
    max_length: int
    scores: tuple[float, ...]
    exceeded: float | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of `cosine_reward`."""
        return self.lengths, self.correct, self.max_length, *self.scores, self.exceeded

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """What each answer would score if it were the shortest, and the longest, of its kind [B]."""
        one, other, wrong_one, wrong_other = self.scores
        return np.where(self.correct, one, wrong_one), np.where(self.correct, other, wrong_other)

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a score.

        The cosine's argument is at most pi and has 3 roundings, so that the cosine is off by 11 of them; half of the
        scores' difference times that, and 5 roundings of sums, quotients and products.
        """
        return {"magnitude": sum(map(abs, self.scores)) + abs(self.exceeded or 0), "roundings": 16}


ENDS = [
    (2.0, 1.0, -2.0, -1.0),
    (1.0, 0.5, -1.0, -0.5),
    (1.0, 0.5, -0.5, 0.0),
    (1.0, 1.0, 0.0, 0.0),
    (0.1, -3.0, -1.0, 2.0),
]
"""Scores of the shortest and of the longest right answers, and of wrong ones."""


@st.composite
def scored(draw: st.DrawFn, exceeded: tuple[float | None, ...] = (None, -3.0, 0.0)) -> Scored:
    """Answers of lengths from 0 to the greatest, at it, and beyond, up to where a cosine begins anew."""
    max_length = draw(st.sampled_from([12, 6, 10, 1, 4096]))
    table = draw(windows(2))[:, 0]
    sixths = np.array([0, 1, 2, 3, 4, 5, 6, 12, 7])[table[:, 0] % 9]
    lengths = np.maximum(max_length * sixths // 6 + (table[:, 0] // 9) % 3 - 1, 0)
    return Scored(
        lengths, table[:, 1] % 2 == 0, max_length, draw(st.sampled_from(ENDS)), draw(st.sampled_from(exceeded))
    )


def _cosine(drawn: Scored) -> Question:
    def answer(**_: str) -> Any:
        exceeded = None if drawn.exceeded is None else arb(drawn.exceeded)
        told: tuple[Any, ...] = (drawn.max_length, *map(arb, drawn.scores), exceeded, _cos_pi)
        with ctx.workprec(PRECISION):
            return [
                nearest(overlong.cosine_reward(length, right, *told))
                for length, right in zip(drawn.lengths.tolist(), drawn.correct.tolist(), strict=True)
            ]

    return Question(OPERATIONS["cosine_reward"], drawn.arguments, answer, **drawn.judged)


def _cos_pi(part: Any) -> Any:
    return arb.cos_pi_fmpq(fmpq(part.numerator, part.denominator))


@dataclass(frozen=True)
class Compared:
    """How long answers are, which are right, and the ids of the groups that they belong to; [N] each."""

    lengths: np.ndarray
    correct: np.ndarray
    groups: np.ndarray

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of `length_reward`."""
        return self.lengths, self.correct, self.groups

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest length of each answer's group [N]."""
        together = [self.lengths[self.groups == group] for group in self.groups]
        return np.array([known.min() for known in together]), np.array([known.max() for known in together])


REWARDED: dict[str, Any] = {"magnitude": 2, "roundings": 4}
"""How far rounding may take a length reward: a half, less a quotient of whole numbers that is at most 1."""


@st.composite
def compared(draw: st.DrawFn) -> Compared:
    """Answers of up to three groups, one after the other or mixed."""
    table = draw(windows(3))
    rows = np.broadcast_to(np.arange(len(table))[:, None], table.shape[:2]).ravel()
    flat = table.reshape(-1, 3)
    lengths = np.array([10, 14, 18, 11, 40, 1000, 0])[flat[:, 0] % 7]
    groups = draw(st.sampled_from(["blocks", "any"]))
    of = rows if groups == "blocks" else flat[:, 2]
    return Compared(lengths, flat[:, 1] % 2 == 0, IDS[of % len(IDS)])


def _length(drawn: Compared) -> Question:
    def answer(**_: str) -> Any:
        return overlong.length_reward(*(array.tolist() for array in drawn.arguments))

    return Question(OPERATIONS["length_reward"], drawn.arguments, answer, **REWARDED)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "overlong_penalty": answered().map(_penalty),
        "cosine_reward": scored().map(_cosine),
        "length_reward": compared().map(_length),
    }
