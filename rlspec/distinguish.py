"""The smallest input on which two implementations, a fault or a convention among them, give different answers."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from hypothesis import HealthCheck, find, settings
from hypothesis.errors import NoSuchExample

from . import report
from .behaviour import Behaviour, behaviour
from .candidate import Candidate
from .drawing import same_everywhere
from .faults import museum
from .loading import NotLoaded, load
from .power import faulty
from .properties.checking import DOUBLE, SINGLE, Call, each, show
from .properties.questions import QUESTIONS
from .properties.questions.question import Question
from .spec.clauses import chosen, conventions, conventions_of
from .spec.operations import OPERATIONS
from .worked import worked


@dataclass(frozen=True)
class Subject:
    """One of the two: what it is called, the operations it has, and what it does when it is asked."""

    name: str
    operations: frozenset[str]
    answer: Callable[[Question], Behaviour]


def subject(what: str) -> Subject:
    """A candidate (as for ``check``), a fault (its slug or id), or the reference under a convention (``NAME=CHOICE``).

    Raises NotLoaded.
    """
    name, chosen, choice = what.partition("=")
    if chosen and name in conventions():
        return _convention(name, choice)
    for fault in museum().values():
        if what in (fault.id, fault.slug):
            return _of(faulty(fault), what, {fault.operation})
    try:
        candidate = Candidate(load(what), what)
    except NotLoaded as error:
        near = difflib.get_close_matches(what, [*conventions(), *(fault.slug for fault in museum().values())], n=1)
        raise NotLoaded(f"{error}{f' (did you mean {near[0]}?)' if near else ''}") from error
    return _of(candidate, what, set(filter(candidate.provides, OPERATIONS)))


def _of(candidate: Candidate, name: str, operations: set[str]) -> Subject:
    return Subject(name, frozenset(operations), lambda q: behaviour(candidate, q.operation, q.arguments))


def _convention(name: str, choice: str) -> Subject:
    try:
        choice = chosen(name, choice)
    except ValueError as error:
        raise NotLoaded(str(error)) from error
    operation = name.partition(".")[0]
    defaults = {convention: choices[0] for convention, choices in conventions_of(operation).items()}

    def answer(question: Question) -> Behaviour:
        exact = each(question.answer(**defaults | {name: choice}))
        return Behaviour(tuple(np.array(part, dtype=float) for part in exact))

    return Subject(f"{name}={choice}", frozenset({operation}), answer)


def difference(one: Subject, other: Subject, operation: str, examples: int) -> Question | None:
    """The smallest question that was found on which the two differ, by more than rounding if there is such a one."""

    def differs(question: Question, roundoff: Fraction) -> bool:
        slack = 2 * float(roundoff) * question.roundings * float(np.max(question.magnitude))
        return not one.answer(question).like(other.answer(question), slack)

    for roundoff in (SINGLE, DOUBLE):
        try:
            with same_everywhere():
                return find(
                    QUESTIONS[operation],
                    partial(differs, roundoff=roundoff),
                    settings=settings(
                        max_examples=examples,
                        derandomize=True,
                        database=None,
                        deadline=None,  # how long an implementation takes is no difference
                        suppress_health_check=list(HealthCheck),
                    ),
                )
        except NoSuchExample:
            continue
    return None


def explained(one: Subject, other: Subject, question: Question) -> list[str]:
    """The lines that show a question and the two answers."""
    call = Call(question.operation, question.arguments)
    given = dict(zip(question.operation.parameters, map(show, question.arguments), strict=True))
    lines = report.called(question.operation.name, given)
    answers = {one.name: one.answer(question), other.name: other.answer(question)}
    width = max(map(len, answers))
    lines += [f"  {name:{width}}  {_said(question.operation.name, answer)}" for name, answer in answers.items()]
    if table := _table(call, answers):
        lines += ["", *(f"  {line}" for line in table)]
    return lines


def _said(operation: str, answer: Behaviour) -> str:
    if answer.results is None:
        return answer.failure
    wrote = f", and writes to {' and '.join(answer.modified)}" if answer.modified else ""
    named = zip(OPERATIONS[operation].results, answer.results, strict=True)
    return ", ".join(f"{name} = {show(result)}" if name else show(result) for name, result in named) + wrote


def _table(call: Call, answers: Mapping[str, Behaviour]) -> list[str]:
    """The first of the results that the two differ in, worked by hand."""
    results: list[Any] = [answer.results for answer in answers.values()]
    if None in results:
        return []
    for result, *parts in zip(call.operation.results, *results, strict=True):
        names = (f"{result} of {name}" if result else name for name in answers)
        if table := worked(call, dict(zip(names, parts, strict=True))):
            return table
    return []


def distinguish(first: str, second: str, examples: int) -> Iterator[tuple[list[str], bool]]:
    """For each operation that two have in common the lines that tell them apart, and whether anything does.

    Raises NotLoaded.
    """
    one, other = subject(first), subject(second)
    shared = [name for name in OPERATIONS if name in one.operations & other.operations]
    if not shared:
        raise NotLoaded(f"{one.name} and {other.name} have no operation in common")
    for operation in shared:
        if (question := difference(one, other, operation, examples)) is None:
            yield [f"{operation}: no difference found in {examples} examples"], False
        else:
            yield [f"{operation}: different answers", "", *explained(one, other, question), ""], True
