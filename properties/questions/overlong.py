"""Questions about overlong answers."""

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
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


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {"overlong_penalty": answered().map(_penalty)}
