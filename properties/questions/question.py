"""What a question is, and what the chapters' questions have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.strategies import MORE_SIZES, SIZES, rescaling, roundings
from rlspec.spec.operations import OPERATIONS, Operation


@dataclass(frozen=True)
class Inputs:
    """What questions are drawn from."""

    numbers: np.ndarray
    gammas: st.SearchStrategy[float]
    lams: st.SearchStrategy[float]
    plain: bool
    """Whether all of it is plain, so that an answer is far from zero compared with float32's rounding."""

    @property
    def sizes(self) -> Sequence[float]:
        """What all numbers of a batch are multiplied by, where only their spread matters."""
        return MORE_SIZES if self.plain else SIZES


@dataclass(frozen=True, eq=False)
class Question:
    """A call of an operation and what is known of its answer."""

    operation: Operation
    arguments: tuple[Any, ...]
    answer: Callable[..., Any]
    """The exact answer, as nested sequences of rationals, under the operation's conventions given by keyword."""
    magnitude: Any
    roundings: int

    @property
    def judged(self) -> dict[str, Any]:
        """The magnitude and roundings that ``agree`` wants."""
        return {"magnitude": self.magnitude, "roundings": self.roundings}


def row_by_row(function: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """The reference's answer in rationals to arguments [B, T] followed by scalars, one row after the other."""
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    scalars = [argument if isinstance(argument, int) else exactly(argument) for argument in arguments[len(arrays) :]]
    rows = zip(*arrays, strict=True)
    return [function(*([_as_exact(x) for x in part] for part in row), *scalars) for row in rows]


def _as_exact(value: Any) -> Any:
    return bool(value) if isinstance(value, np.bool_) else exactly(value)


def about_rows(
    name: str, function: Callable[..., Any], arguments: tuple[Any, ...], magnitude: Any, decay: float
) -> Question:
    """A question to an operation on arrays [B, T] whose rows the reference answers one by one.

    magnitude: [B, 1], the absolute sum of each row's terms.  decay: what a term is multiplied with for each step that
    it is carried over.
    """
    steps = arguments[0].shape[1]
    scaled = magnitude * rescaling(decay, steps)
    scaled = scaled if "T" in OPERATIONS[name].result else scaled[:, 0]
    return Question(OPERATIONS[name], arguments, lambda **_: row_by_row(function, arguments), scaled, roundings(steps))


def last_names(chosen: dict[str, str]) -> dict[str, str]:
    """Choices by their conventions' names within the operation."""
    return {name.rpartition(".")[2]: choice for name, choice in chosen.items()}
