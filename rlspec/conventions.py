"""What a candidate chose where the specification leaves a choice: as declared, or found out by probing."""

from contextlib import suppress
from fractions import Fraction
from itertools import islice, product
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, settings

from .candidate import WHERE_RIGHT, Declined
from .drawing import same_everywhere
from .limits import Stopped
from .properties.checking import DOUBLE, ROUNDOFFS, SINGLE, Violation, each, first_miss
from .properties.questions import PLAIN_QUESTIONS
from .properties.questions.question import Question
from .spec.clauses import conventions_of

PROBES = (20, 60, 180)
"""Questions asked of an operation to find out its conventions: the later ones if the earlier leave several open."""


def combinations_of(operation: str) -> list[dict[str, str]]:
    """Every way to choose where the operation is left a choice, by convention's name; the default first."""
    free = conventions_of(operation)
    return [dict(zip(free, choice, strict=True)) for choice in product(*free.values())]


def infer(candidate: Any, operation: str) -> dict[str, str]:
    """The conventions under which the operation's answers are explained, by convention's name.

    Each combination of choices is tried on a few questions, those that the candidate declares before the others, and
    while several explain all answers, on more of them; then the first is taken.  Where none explains the answers to
    float64's precision, nor to float32's, nothing is said.  ``OPERATION.precision`` is float32 if answers are right to
    float32 only; where some are not even that, it is the precision of those that are right, and says so, and a question
    whose answer is not explained is kept for the property that judges it.
    """
    default, *_ = combinations = combinations_of(operation)
    combinations.sort(key=lambda chosen: len(candidate.declared.items() & chosen.items()), reverse=True)
    answered: list[tuple[Question, Any]] = []
    for count in PROBES:
        asked = probe(candidate, operation, count)
        answered += asked
        combinations = _explaining(asked, combinations, ROUNDOFFS[candidate.precision(operation)])
        if len(combinations) < 2:
            break
    if combinations:
        found = combinations[0]
        return found | {f"{operation}.precision": _precision(answered, found)}
    in_force, roundoff = candidate.conventions(operation), max(SINGLE, ROUNDOFFS[candidate.precision(operation)])
    wrong = (question for question, answer in answered if not _explained(answer, question, in_force, roundoff))
    candidate.unexplained[operation] = tuple(islice(wrong, 1))
    return {f"{operation}.precision": _precision(answered, default) + WHERE_RIGHT}


def probe(candidate: Any, operation: str, count: int) -> list[tuple[Question, Any]]:
    """So many questions and their answers; those without an answer are left out."""
    candidate.start_trial()
    answered = []
    with suppress(Stopped):  # further questions would not be answered
        for question in drawn(PLAIN_QUESTIONS[operation], count):
            with suppress(Violation, Declined):  # the properties will say so
                answered.append((question, candidate.answer(question.operation, *question.arguments)))
    return answered


def _explaining(
    answered: list[tuple[Question, Any]], combinations: list[dict[str, str]], declared: Fraction
) -> list[dict[str, str]]:
    """The combinations that explain all answers: to float64's precision, else to float32's, else to the declared."""
    for roundoff in (DOUBLE, SINGLE, declared):
        if found := [
            chosen
            for chosen in combinations
            if all(_explained(answer, question, chosen, roundoff) for question, answer in answered)
        ]:
            return found
    return []


def drawn(questions: st.SearchStrategy[Question], count: int) -> list[Question]:
    """So many questions, the same ones everywhere."""
    found: list[Question] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(questions)
    def draw(question: Question) -> None:
        found.append(question)

    with same_everywhere():
        draw()
    return found


def _explained(answer: Any, question: Question, chosen: dict[str, str], roundoff: Any) -> bool:
    pairs = zip(each(answer), each(question.answer(**chosen)), strict=True)
    return all(first_miss(part.value, exact, roundoff=roundoff, **question.judged) is None for part, exact in pairs)


def _precision(answered: list[tuple[Question, Any]], chosen: dict[str, str]) -> str:
    right = [pair for pair in answered if _explained(pair[1], pair[0], chosen, SINGLE)]
    return "float64" if all(_explained(a, q, chosen, DOUBLE) for q, a in right) else "float32"
