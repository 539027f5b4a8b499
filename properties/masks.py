"""Questions with something else where nothing counts (OPS-10 to OPS-12).

What a mask covers is read from the operation's signature: the arrays that have an entry for each of the mask's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume

from rlspec.properties.checking import Answer, each
from rlspec.properties.questions.question import Question
from rlspec.spec.operations import Operation

FINITE = (0.0, 1.0, -3.0, 20.0)
"""Numbers whose exponentials are finite, and so are those of their differences."""

LARGE = (1e9,)
"""A number that is no logarithm."""

NOT_NUMBERS = (np.nan, np.inf, -np.inf, 1e4, -1e4)
"""What is not a number, and numbers whose exponentials are none."""

Arguments = dict[str, Any]


def named(question: Question) -> Arguments:
    """A question's arguments by their names, with the mask 0 at a token that has no prediction."""
    operation = question.operation
    arguments = dict(zip(operation.parameters, question.arguments, strict=True))
    if operation.mask and operation.ahead:
        arguments[operation.mask] = arguments[operation.mask] & (np.arange(arguments[operation.mask].shape[1]) > 0)
    return arguments


def something_counts(question: Question) -> bool:
    """Whether an entry counts, or the operation has no mask."""
    mask = question.operation.mask
    return not mask or bool(named(question)[mask].any())


def emptied(question: Question) -> tuple[Any, ...]:
    """The question's arguments with a mask that is 0 everywhere."""
    arguments = named(question)
    mask = question.operation.mask
    return tuple((arguments | {mask: np.zeros_like(arguments[mask])}).values())


def counting(operation: Operation, name: str, mask: Any) -> Any:
    """Which entries of the named argument count: those of the mask, of the mask one entry later, or of its rows."""
    if name in operation.of_rows:
        return mask.any(axis=1)
    return np.pad(mask[:, 1:], ((0, 0), (0, 1))) if name in operation.ahead else mask


@dataclass(frozen=True)
class Hidden:
    """Two calls that differ only in what does not count, and what is known of their answers."""

    operation: Operation
    arguments: Arguments
    others: Arguments
    shorter: Arguments
    """The first call's arguments without the row that was added to both, or as they are."""
    columns: tuple[int, int]
    """How many columns more the second call has on the left and on the right."""
    magnitude: Any
    roundings: int

    @property
    def judged(self) -> dict[str, Any]:
        """The magnitude and roundings that ``agree`` wants: each of the two answers may be off by as much."""
        return {"magnitude": 2 * self.magnitude, "roundings": self.roundings}

    def counts(self, axes: tuple[str, ...], value: np.ndarray) -> np.ndarray:
        """Which entries of a result of the second call, with these axes, say something of what counts."""
        mask = self.others[self.operation.mask]
        if axes == self.operation.axes[self.operation.mask]:
            return mask
        return mask.any(axis=1) if axes == ("B",) else np.ones(value.shape, dtype=bool)

    def results(self, answer: Any) -> Iterable[tuple[Answer, np.ndarray]]:
        """The results of the second call, and which of their entries say something of what counts."""
        axes = self.operation.results.values()
        return [(part, self.counts(of, part.value)) for part, of in zip(each(answer), axes, strict=True)]

    def expected(self, plain: Any) -> tuple[np.ndarray, ...]:
        """The second call's results, by those of the first: the same where something counts, and 0 elsewhere."""
        of_mask = self.operation.axes[self.operation.mask]
        return tuple(
            np.where(self.counts(axes, part.value), widened(part.value, of_mask, self.columns, axes), 0)
            for part, axes in zip(each(plain), self.operation.results.values(), strict=True)
        )


def widened(array: np.ndarray, of_mask: tuple[str, ...], columns: tuple[int, int], axes: tuple[str, ...]) -> np.ndarray:
    """The array with so many columns of zeros more along the mask's last axis, if it has the mask's axes."""
    if axes[: len(of_mask)] != of_mask:
        return array
    sides = [(0, 0)] * array.ndim
    sides[len(of_mask) - 1] = columns
    return np.pad(array, sides)


def with_a_row(arguments: Arguments, operation: Operation, place: int) -> Arguments:
    """The batch with one row more in that place, in which nothing counts."""
    more = {
        name: np.insert(array, place, array[0], axis=0) if operation.axes[name][:1] == ("B",) else array
        for name, array in arguments.items()
    }
    more[operation.mask][place] = False
    return more


def filled(array: np.ndarray, counts: np.ndarray, junk: float) -> np.ndarray:
    """The array with junk where nothing counts: of floats, three numbers in turn, so that no softmax is even."""
    counts = counts.reshape(counts.shape + (1,) * (array.ndim - counts.ndim))
    turns = np.arange(array.shape[-1]) % 3 if array.dtype.kind == "f" else 0
    return np.where(counts, array, (junk + turns)).astype(array.dtype)


def beside(array: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Logits with those that do not count no more than `FINITE` above the largest of their row that does."""
    highest = np.where(counts, array, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(counts, array, np.minimum(array, highest + max(FINITE)))


@st.composite
def hidden(
    draw: st.DrawFn,
    questions: st.SearchStrategy[Question],
    numbers: Sequence[float] | None = None,
    another_row: bool = False,
) -> Hidden:
    """Two calls, of which the second has something else in one array, or in all, where nothing counts.

    numbers: what is written into the arrays of floats that the mask covers; if not given, finite numbers into these
    and into what is said of rows, and whatever is valid into the others.
    another_row: whether both calls have a row more in which nothing counts.
    """
    question = draw(questions)
    operation, arguments, magnitude = question.operation, named(question), np.asarray(question.magnitude)
    shorter = arguments
    assume(arguments[operation.mask].any())
    if another_row:
        place = draw(st.sampled_from([0, len(arguments[operation.mask])]))
        arguments = with_a_row(arguments, operation, place)
        magnitude = np.insert(magnitude, place, 0, axis=0) if magnitude.ndim else magnitude
    of_mask = operation.axes[operation.mask]
    sides = st.integers(0, 2 if len(of_mask) > 1 else 0)
    columns = (draw(sides) if operation.padded_left else 0), draw(sides)
    others = {name: widened(array, of_mask, columns, operation.axes[name]) for name, array in arguments.items()}
    mask = others[operation.mask]
    assume(not mask.all())
    names = [*operation.covered, *operation.of_rows]
    if numbers is not None:
        names = [name for name in operation.covered if _floats(others[name])]
    for name in draw(st.sampled_from([names, *([name] for name in names)])):
        junk = draw(_junk(name, others[name], numbers))
        counts = counting(operation, name, mask)
        others[name] = filled(others[name], counts, junk)
        if operation.mask == "legal" and numbers is None:
            others[name] = beside(others[name], counts)
    return Hidden(operation, arguments, others, shorter, columns, magnitude, question.roundings)


def _floats(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"


def _junk(name: str, array: np.ndarray, numbers: Sequence[float] | None) -> st.SearchStrategy[Any]:
    """What is written where nothing counts: of indices and lengths 0 or the largest that there is."""
    if not _floats(array):
        return st.sampled_from([array.min() * 0, array.max()])
    return st.sampled_from(numbers or (FINITE if "log" in name else FINITE + LARGE))
