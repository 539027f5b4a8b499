"""What a candidate does when it is asked, and when two of them do the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .candidate import Candidate, Declined
from .properties.checking import Violation, each
from .spec.operations import Operation

LAST_DIGITS = 2.0**-48
"""By how much two answers that should be the same to the last digit may differ, relatively."""


@dataclass(frozen=True)
class Behaviour:
    """What came of one call: the results, or why there are none, and which arguments were written to."""

    results: tuple[np.ndarray, ...] | None
    modified: tuple[str, ...] = ()
    failure: str = ""
    """``declines``, ``raises`` or ``no usable answer``."""
    said: str = ""
    """Why there is no usable answer, in words."""

    def like(self, other: "Behaviour", slack: float) -> bool:
        """Whether the two are the same, but for the last digits and for differences no larger than the slack."""
        if self.results is None or other.results is None:
            return self.results is other.results and self.failure == other.failure
        return self.modified == other.modified and all(
            mine.shape == its.shape and bool(same(mine, its, slack).all())
            for mine, its in zip(self.results, other.results, strict=True)
        )


def same(mine: np.ndarray, its: np.ndarray, slack: float) -> np.ndarray:
    """Where two arrays of one shape are the same, but for the last digits and for differences within the slack."""
    with np.errstate(all="ignore"):
        near = np.abs(mine - its) <= slack + LAST_DIGITS * np.abs(its)
    return (near & np.isfinite(its)) | (mine == its) | (np.isnan(mine) & np.isnan(its))


@dataclass(frozen=True, eq=False)
class Asked:
    """A call, what the candidate did, and how many unit roundoffs two evaluations of one formula may differ by."""

    arguments: tuple[Any, ...]
    answered: Behaviour
    roundoffs: float
    room: "Room | None" = None
    """How far rounding may have taken each number, where that is known better."""


@dataclass(frozen=True, eq=False)
class Room:
    """How far rounding may have taken each number of each result, if what was answered is what another formula says.

    right: what the right formula says.  bounds: how far rounding may have taken an answer from that.  share: how far it
    may take what a formula says that much further off, as a share of the difference.  A number that differs is rounded
    at least as much as half of the others are.
    """

    right: tuple[np.ndarray, ...]
    bounds: tuple[np.ndarray, ...]
    share: float

    def allowed(self, place: int, said: np.ndarray) -> np.ndarray:
        """The bound for one result, of which the other formula says this."""
        right, bound = self.right[place], self.bounds[place]
        some = bound[(right != 0) & np.isfinite(bound)]
        usual = float(np.median(some)) if some.size else 0.0
        with np.errstate(all="ignore"):
            return np.where(said == right, bound, np.maximum(bound, usual) + self.share * np.abs(said - right))


def behaviour(candidate: Candidate, operation: Operation, arguments: Sequence[Any]) -> Behaviour:
    """What the candidate does when it is asked."""
    try:
        answers = each(candidate.answer(operation, *arguments))
    except Declined:
        return Behaviour(None, failure="declines")
    except Violation as violation:
        return Behaviour(None, failure="raises" if violation.__cause__ else "no usable answer", said=str(violation))
    return Behaviour(tuple(answer.value for answer in answers), answers[0].modified)
