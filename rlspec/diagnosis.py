"""Which known mistakes a candidate makes: the fewest that together answer every question as the candidate does."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from .candidate import Candidate, Declined
from .candidates import reference
from .conventions import drawn
from .faults import Fault, museum, right
from .properties.checking import DOUBLE, ROUNDOFFS, SINGLE, Call, Violation, each
from .properties.questions import PLAIN_QUESTIONS, QUESTIONS
from .properties.questions.question import last_names
from .spec.clauses import conventions_of
from .spec.operations import OPERATIONS, Operation

LAST_DIGITS = 2.0**-48
"""By how much two answers that should be the same to the last digit may differ, relatively."""

FRESH = 60
"""Questions of each kind, plain ones and any, that mistakes have to answer like the candidate."""

ENOUGH = 20
"""Fresh questions that have to be answered before any mistake is named."""

MOST = 4
"""How many mistakes at once are looked for."""

IMPRECISE = "M-OPS-4"
"""The fault of an operation that does nothing wrong but in single precision."""

Stack = tuple[Fault, ...]
"""Faults of one operation, the outer ones around the inner: each of them but the last calls what is right."""


@dataclass(frozen=True)
class Mistake:
    """One known defect, or several at once."""

    faults: tuple[Fault, ...]
    conventions: dict[str, str] = field(default_factory=dict)
    """The choices beside which it shows, where they are not those in force."""

    def as_json(self) -> list[dict[str, Any]]:
        """What is known of each of the defects."""
        under = {"conventions": self.conventions} if self.conventions else {}
        return [
            {"id": fault.id, "slug": fault.slug, "effect": fault.effect, "seen": list(fault.seen), **under}
            for fault in self.faults
        ]


@dataclass(frozen=True)
class Behaviour:
    """What came of one call: the results, or why there are none, and which arguments were written to."""

    results: tuple[np.ndarray, ...] | None
    modified: tuple[str, ...] = ()
    failure: str = ""
    """``declines``, ``raises`` or ``no usable answer``."""

    def like(self, other: "Behaviour", slack: float) -> bool:
        """Whether the two are the same, but for the last digits and for differences no larger than the slack."""
        if self.results is None or other.results is None:
            return self.results is other.results and self.failure == other.failure
        return self.modified == other.modified and all(
            mine.shape == its.shape and np.allclose(mine, its, rtol=LAST_DIGITS, atol=slack, equal_nan=True)
            for mine, its in zip(self.results, other.results, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Asked:
    """A call, what the candidate did, and how many unit roundoffs two evaluations of one formula may differ by."""

    arguments: tuple[Any, ...]
    answered: Behaviour
    roundoffs: float


def behaviour(candidate: Candidate, operation: Operation, arguments: Sequence[Any]) -> Behaviour:
    """What the candidate does when it is asked."""
    try:
        answers = each(candidate.answer(operation, *arguments))
    except Declined:
        return Behaviour(None, failure="declines")
    except Violation as violation:
        return Behaviour(None, failure="raises" if violation.__cause__ else "no usable answer")
    return Behaviour(tuple(answer.value for answer in answers), answers[0].modified)


class Diagnosis:
    """What is known of the mistakes that a candidate makes in one operation."""

    def __init__(self, candidate: Candidate, operation: str, conventions: dict[str, str] | None = None) -> None:
        self.candidate = candidate
        self.operation = OPERATIONS[operation]
        self.conventions = candidate.conventions(operation) if conventions is None else conventions
        self.faults = [fault for fault in museum().values() if fault.operation == operation]
        self.precisions = sorted({0.0, float(DOUBLE), float(ROUNDOFFS[candidate.precision(operation)])})
        self._done = cache(self._done)  # type: ignore[method-assign]
        self._mistaken = cache(self._mistaken)  # type: ignore[method-assign]

    def mistakes(self, call: Call) -> list[Mistake]:
        """The known mistakes that do on this call, and on every fresh one, what the candidate does.

        The fewest that do, to as many digits as any do; of several at once, those that show on this call first.  Where
        no choices explain what the candidate does, one mistake is looked for beside those that explain the most, and
        beside each that differs from them in one convention.
        """
        calls = [*self._asked(call.arguments, 1000 * _largest(call.arguments)), *self.battery]
        if len(self.battery) < ENOUGH:
            return []
        if not _finite(call.arguments):
            calls += self.poisoned
        for roundoff in self.precisions:
            if self._explained(calls, (), roundoff) == len(calls):
                return [Mistake((museum()[IMPRECISE],))] if roundoff == SINGLE and self._imprecise(calls) else []
            if found := self._explanations(calls, roundoff):
                here = self._showing(calls[0], roundoff)
                return [Mistake(tuple(sorted(stack, key=lambda fault: fault not in here))) for stack in found]
        return [] if self.candidate.explained(self.operation.name) else self._beside_other_choices(calls)

    def _beside_other_choices(self, calls: list[Asked]) -> list[Mistake]:
        """The single mistakes that explain all calls beside choices that are not in force, the first such choices."""
        free = conventions_of(self.operation.name)
        for convention, choice in ((convention, choice) for convention, known in free.items() for choice in known):
            chosen = self.conventions | {convention: choice}
            other = Diagnosis(self.candidate, self.operation.name, chosen)
            for roundoff in self.precisions:
                found = [
                    fault
                    for fault in self.faults
                    if fault.wraps and other._explained(calls, (fault,), roundoff) == len(calls)
                ]
                if found:
                    differing = dict(chosen.items() - self.conventions.items())
                    return [Mistake((fault,), differing) for fault in found]
        return []

    @cached_property
    def battery(self) -> list[Asked]:
        """Fresh calls, and what the candidate did."""
        name = self.operation.name
        questions = [*drawn(PLAIN_QUESTIONS[name], FRESH), *drawn(QUESTIONS[name], FRESH)]
        asked = (self._asked(q.arguments, 2 * q.roundings * float(np.max(q.magnitude))) for q in questions)
        return [call for calls in asked for call in calls]

    @cached_property
    def poisoned(self) -> list[Asked]:
        """The fresh calls once more, with NaN where nothing may be read."""
        poisoned = ((_poisoned(self.operation, asked.arguments), asked.roundoffs) for asked in self.battery)
        return [call for arguments, roundoffs in poisoned if arguments for call in self._asked(arguments, roundoffs)]

    def _asked(self, arguments: tuple[Any, ...], roundoffs: float) -> list[Asked]:
        """The call and what the candidate did; nothing if it declines."""
        answered = behaviour(self.candidate, self.operation, arguments)
        return [Asked(arguments, answered, roundoffs)] if answered.failure != "declines" else []

    @cached_property
    def right(self) -> Callable[..., Any]:
        """The reference's operation, under the conventions."""
        return partial(getattr(reference, self.operation.name), **last_names(self.conventions))

    def _done(self, stack: Stack, asked: Asked) -> Behaviour:
        """What comes of the call where these mistakes are made, and no other."""
        return behaviour(self._mistaken(stack), self.operation, asked.arguments)

    def _mistaken(self, stack: Stack) -> Candidate:
        """A candidate that makes these mistakes, and no other."""
        name, layers = self.operation.name, (*(fault.implementation for fault in stack), self.right)
        return Candidate(SimpleNamespace(**{name: right.layered(name, *layers)}), name)

    def _explained(self, calls: Sequence[Asked], stack: Stack, roundoff: float) -> int:
        """How many of the calls the mistakes explain, up to the first that they do not."""
        return next((i for i, asked in enumerate(calls) if not self._explains(stack, asked, roundoff)), len(calls))

    def _explains(self, stack: Stack, asked: Asked, roundoff: float) -> bool:
        return self._done(stack, asked).like(asked.answered, asked.roundoffs * roundoff)

    def _showing(self, asked: Asked, roundoff: float) -> list[Fault]:
        """The faults that, alone, change what is answered to the call."""
        honest, slack = self._done((), asked), asked.roundoffs * roundoff
        return [fault for fault in self.faults if not self._done((fault,), asked).like(honest, slack)]

    def _imprecise(self, calls: Sequence[Asked]) -> bool:
        """Whether answers that are right to float32 are right where float32 rounds nothing, and stay what they are."""
        plain = [asked for asked in calls if _plain(asked.arguments) and _plain(self._done((), asked).results or ())]
        again = behaviour(self.candidate, self.operation, calls[0].arguments)
        return again.like(calls[0].answered, 0) and all(self._explains((), asked, float(DOUBLE)) for asked in plain)

    def _explanations(self, calls: list[Asked], roundoff: float) -> list[Stack]:
        """The smallest stacks that explain all calls, one for each set of faults.

        A stack grows by a fault that shows on the first call that it does not explain, and has to explain that call
        then; only the first two faults may come together.  Calls on which few faults show come first.
        """
        wrong = [asked for asked in calls if not self._explains((), asked, roundoff)]
        wrong.sort(key=lambda asked: len(self._showing(asked, roundoff)))
        calls = wrong + [asked for asked in calls if asked not in wrong]
        stacks: dict[frozenset[Fault], tuple[Stack, int]] = {frozenset(): ((), -1)}
        for _ in range(MOST):
            stacks = self._grown(stacks.values(), calls, roundoff)
            if found := [stack for stack, explained in stacks.values() if explained == len(calls)]:
                return found
        return []

    def _grown(
        self, stacks: Iterable[tuple[Stack, int]], calls: Sequence[Asked], roundoff: float
    ) -> dict[frozenset[Fault], tuple[Stack, int]]:
        """By the set of its faults, each stack with one more that explains more calls than before, and how many."""
        grown: dict[frozenset[Fault], tuple[Stack, int]] = {}
        for stack, before in stacks:
            asked = calls[max(before, 0)]
            for taller in self._taller(stack, asked, roundoff):
                _, most = grown.get(frozenset(taller), ((), before))
                if before < 0 or self._explains(taller, asked, roundoff):  # a single call refutes most of them
                    explained = self._explained(calls, taller, roundoff)
                    if explained > most:
                        grown[frozenset(taller)] = taller, explained
        return grown

    def _taller(self, stack: Stack, asked: Asked, roundoff: float) -> Iterator[Stack]:
        """The stack with one more fault, of those that show on the call, in each place that allows for it."""
        for fault in self._showing(asked, roundoff):
            for place in range(len(stack) + 1) if fault not in stack else ():
                taller = (*stack[:place], fault, *stack[place:])
                if all(layer.wraps for layer in taller[:-1]):
                    yield taller


def _poisoned(operation: Operation, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with NaN for the successor's value at the last termination; nothing if there is none."""
    given = dict(zip(operation.parameters, arguments, strict=True))
    if not {"next_values", "terminated"} <= given.keys() or not given["terminated"].any():
        return ()
    next_values = np.array(given["next_values"], dtype=float)
    next_values.flat[np.flatnonzero(given["terminated"])[-1]] = np.nan
    return tuple((given | {"next_values": next_values}).values())


def _plain(numbers: Sequence[Any]) -> bool:
    """Whether all numbers are small and have few digits, so that float32 does not round what is computed with them."""
    real = [np.asarray(number) for number in numbers if np.asarray(number).dtype.kind == "f"]
    return all((np.abs(array) <= 64).all() and (array * 2**12 % 1 == 0).all() for array in real)


def _arrays(arguments: Sequence[Any]) -> list[np.ndarray]:
    return [argument for argument in arguments if isinstance(argument, np.ndarray) and argument.dtype.kind in "iuf"]


def _finite(arguments: Sequence[Any]) -> bool:
    return all(np.isfinite(array).all() for array in _arrays(arguments))


def _largest(arguments: Sequence[Any]) -> float:
    """The largest finite number among the arrays, and at least 1."""
    return max([1.0, *(float(np.abs(array[np.isfinite(array)]).max(initial=0)) for array in _arrays(arguments))])
