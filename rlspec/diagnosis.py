"""Which known mistake a candidate makes: the one whose every answer is the candidate's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np

from .candidate import Candidate, Declined
from .candidates import reference
from .conventions import drawn
from .faults import Fault, museum, right
from .properties.checking import DOUBLE, ROUNDOFFS, Call, Violation, each
from .properties.questions import PLAIN_QUESTIONS, QUESTIONS
from .properties.questions.question import last_names
from .spec.operations import OPERATIONS, Operation

LAST_DIGITS = 2.0**-48
"""By how much two answers that should be the same to the last digit may differ, relatively."""

FRESH = 60
"""Questions of each kind, plain ones and any, that a mistake has to answer like the candidate."""


@dataclass(frozen=True)
class Mistake:
    """One known defect, or two at once."""

    faults: tuple[Fault, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """What is known of each of the defects."""
        return [
            {"id": fault.id, "slug": fault.slug, "effect": fault.effect, "seen": list(fault.seen)}
            for fault in self.faults
        ]


@dataclass(frozen=True)
class Behaviour:
    """What came of one call: the results, or nothing usable, and which arguments were written to."""

    results: tuple[np.ndarray, ...] | None
    modified: tuple[str, ...] = ()

    def like(self, other: "Behaviour", slack: float) -> bool:
        """Whether the two are the same, but for the last digits and for differences no larger than the slack."""
        if self.results is None or other.results is None:
            return self.results is other.results
        return self.modified == other.modified and all(
            mine.shape == its.shape and np.allclose(mine, its, rtol=LAST_DIGITS, atol=slack, equal_nan=True)
            for mine, its in zip(self.results, other.results, strict=True)
        )


@dataclass(frozen=True)
class Asked:
    """A call, what the candidate did, and how many unit roundoffs two evaluations of one formula may differ by."""

    arguments: tuple[Any, ...]
    answered: Behaviour
    roundoffs: float


def behaviour(candidate: Candidate, operation: Operation, arguments: Sequence[Any]) -> Behaviour:
    """What the candidate does when it is asked; a call that it declines is one without results."""
    try:
        answers = each(candidate.answer(operation, *arguments))
    except (Violation, Declined):
        return Behaviour(None)
    return Behaviour(tuple(answer.value for answer in answers), answers[0].modified)


class Diagnosis:
    """What is known of the mistakes that a candidate makes in one operation."""

    def __init__(self, candidate: Candidate, operation: str) -> None:
        self.candidate = candidate
        self.operation = OPERATIONS[operation]
        self.precisions = sorted({0.0, float(DOUBLE), float(ROUNDOFFS[candidate.precision(operation)])})

    @cached_property
    def right(self) -> Callable[..., Any]:
        """The reference's operation, under the candidate's conventions."""
        chosen = self.candidate.conventions(self.operation.name)
        return partial(getattr(reference, self.operation.name), **last_names(chosen))

    @cached_property
    def honest(self) -> Candidate:
        """A candidate that makes no mistake."""
        return self._with(self.right)

    def _with(self, *layers: Callable[..., Any]) -> Candidate:
        name = self.operation.name
        return Candidate(SimpleNamespace(**{name: right.layered(name, *layers)}), name)

    def _asked(self, arguments: tuple[Any, ...], roundoffs: float) -> Asked:
        return Asked(arguments, behaviour(self.candidate, self.operation, arguments), roundoffs)

    @cached_property
    def battery(self) -> list[Asked]:
        """Fresh calls, and what the candidate did."""
        name = self.operation.name
        questions = [*drawn(PLAIN_QUESTIONS[name], FRESH), *drawn(QUESTIONS[name], FRESH)]
        return [self._asked(q.arguments, 2 * q.roundings * float(np.max(q.magnitude))) for q in questions]

    def mistakes(self, call: Call) -> list[Mistake]:
        """The known mistakes that do on this call, and on every fresh one, what the candidate does.

        Pairs of mistakes are tried where no single one explains the answers.
        """
        calls = [self._asked(call.arguments, 1000 * _largest(call.arguments)), *self.battery]
        for roundoff in self.precisions:
            for mistakes in (self.single, self.paired):
                if found := [mistake for mistake in mistakes if self._explained(calls, mistake, roundoff)]:
                    return found
        return []

    def _explained(self, calls: list[Asked], mistake: Mistake, roundoff: float) -> bool:
        mistaken = self._with(*(fault.implementation for fault in mistake.faults), self.right)
        return self._alike(calls, mistaken, roundoff) and not self._alike(calls, self.honest, roundoff)

    def _alike(self, calls: list[Asked], other: Candidate, roundoff: float) -> bool:
        return all(
            behaviour(other, self.operation, asked.arguments).like(asked.answered, asked.roundoffs * roundoff)
            for asked in calls
        )

    @cached_property
    def single(self) -> list[Mistake]:
        """The defects known of the operation."""
        return [Mistake((fault,)) for fault in museum().values() if fault.operation == self.operation.name]

    @cached_property
    def paired(self) -> list[Mistake]:
        """Two defects at once: one that changes what goes into the operation or comes out of it, around another."""
        faults = [fault for mistake in self.single for fault in mistake.faults]
        return [Mistake(pair) for pair in permutations(faults, 2) if pair[0].wraps]


def _largest(arguments: Sequence[Any]) -> float:
    """The largest finite number among the arrays, and at least 1."""
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray) and argument.dtype.kind in "iuf"]
    return max([1.0, *(float(np.abs(array[np.isfinite(array)]).max(initial=0)) for array in arrays)])
