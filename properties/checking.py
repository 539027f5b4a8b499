"""What every property stands on: the clause it checks, the answer it judges, the verdict's evidence.

A property is a test function that names its clauses, draws its inputs with Hypothesis and asks a candidate::

    @clause("RET-1")
    @given(rewards, discounts)
    def test_the_discounted_return_weighs_reward_t_by_gamma_to_the_t(candidate, rewards, gamma):
        answer = candidate.discounted_return(rewards, gamma)
        agree(answer, expected, magnitude=abs(rewards).sum(), roundings=2 * len(rewards))

Without a candidate among its parameters it is a theorem's, and runs on the reference.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, reject, settings

from rlspec.spec.clauses import clauses
from rlspec.spec.operations import Operation

Test = TypeVar("Test", bound=Callable[..., None])

DOUBLE = Fraction(1, 2**53)
"""Unit roundoff of float64."""

SINGLE = Fraction(1, 2**24)
"""Unit roundoff of float32."""

BRAIN = Fraction(1, 2**8)
"""Unit roundoff of bfloat16."""

ROUNDOFFS = {"float64": DOUBLE, "float32": SINGLE, "bfloat16": BRAIN}
"""The precisions that an operation may declare (OPS-7)."""


class UnknownClause(ImportError):
    """A property names a clause that no chapter has."""


def clause(*ids: str, examples: int = 100) -> Callable[[Test], Test]:
    """Bind a Hypothesis test to the clauses that it checks, and make its run the same everywhere.

    ids: clauses' ids.  examples: how many inputs to draw.
    Raises UnknownClause for an id that no chapter has.
    """
    for id in ids:
        if id not in clauses():
            raise UnknownClause(f"no chapter in spec/ has a clause {id}")

    run = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,  # a candidate may be slow; that is no defect
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,  # the candidate is the same for every example
            HealthCheck.too_slow,  # first calls compile
            HealthCheck.filter_too_much,  # a candidate may decline inputs
        ],
    )

    def bind(test: Test) -> Test:
        test = run(test)
        test.clauses = ids  # type: ignore[attr-defined]
        return test

    return bind


@dataclass(frozen=True)
class Call:
    """An operation and the arguments it was asked with; as text, the call a person would write."""

    operation: Operation
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        named = zip(self.operation.parameters, self.arguments, strict=True)
        return f"{self.operation.name}({', '.join(f'{name}={show(value)}' for name, value in named)})"


@dataclass(frozen=True)
class Answer:
    """What a candidate answered to a call, and the unit roundoff that the answer is judged with."""

    call: Call
    value: np.ndarray
    roundoff: Fraction = DOUBLE
    modified: tuple[str, ...] = ()
    """Names of the arguments that the candidate wrote to."""
    result: str = ""
    """Which of an operation's several results it is; a single one has no name."""


def each(answer: Any) -> tuple[Any, ...]:
    """The parts of what has several results; of a single result, that one."""
    return answer if isinstance(answer, tuple) else (answer,)


def coarser(answer: Any, *others: Any) -> Any:
    """The answer, to be judged as the coarsest of it and the others: no comparison is finer than what it compares."""
    roundoff = max(part.roundoff for one in (answer, *others) for part in each(one))
    judged = tuple(replace(part, roundoff=roundoff) for part in each(answer))
    return judged if isinstance(answer, tuple) else judged[0]


class Violation(AssertionError):
    """A law that does not hold: what is wrong, the call that shows it, what was expected and what came."""

    def __init__(
        self,
        message: str,
        call: Call,
        expected: Any = None,
        actual: Any = None,
        result: str = "",
        place: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.call = call
        self.expected = expected
        self.actual = actual
        self.result = result
        """Which of an operation's several results is wrong."""
        self.place = place
        """Where it is."""
        self.calls: list[Any] = []
        """The calls of the example that shows it, and what came of each."""
        self.by_adapter = False
        """Whether it was raised in the candidate's own file, and not below it."""
        self.under: dict[str, str] = {}
        """The choices in force, where those that the candidate made are not known; no others explain the answer."""
        self.drawn: Mapping[str, Any] = {}
        """The property's whole input, by its parameters."""
        self.choices = b""
        """Hypothesis's choices that make the input, as its database keeps them."""
        self.lacking = False
        """Whether no input of the corpus shows it."""

    def but(self, message: str, call: Call, expected: Any, actual: Any, result: str = "") -> "Violation":
        """The same charge in other words, shown on another call."""
        other = Violation(message, call, expected, actual, result)
        other.calls, other.under, other.by_adapter = self.calls, self.under, self.by_adapter
        other.drawn, other.choices, other.lacking = self.drawn, self.choices, self.lacking
        other.__cause__ = self.__cause__
        return other


def tolerance(*, magnitude: Any, roundings: int, roundoff: Fraction) -> Fraction:
    """The most that rounding explains: n u / (1 - n u) M (Higham 2002, lemma 3.1).

    magnitude: M, the absolute sum of the terms.  roundings: n.  roundoff: u, the unit roundoff.
    The bound holds for n u < 1.  Beyond, where bfloat16 gets after 256 roundings, nothing can be said, and 2^64 M is
    allowed.
    """
    lost = roundings * roundoff
    return (lost / (1 - lost) if lost < 1 else 2**64) * exactly(magnitude)


def exactly(number: Any) -> Fraction:
    """The rational that a finite number is, a float's digits taken at their word."""
    return number if isinstance(number, Fraction) else Fraction(number.item() if hasattr(number, "item") else number)


def first_miss(
    actual: np.ndarray, expected: Any, *, magnitude: Any, roundings: int, roundoff: Fraction
) -> tuple[tuple[int, ...], Fraction] | None:
    """The first place where an array differs from what is expected by more than rounding explains, or None.

    Returns the place and the tolerance there; the arguments are those of ``agree``.
    """
    expected = np.asarray(expected, dtype=object)
    if expected.shape != actual.shape:
        raise ValueError(f"the property expects shape {expected.shape} of an answer of shape {actual.shape}")
    terms = np.broadcast_to(np.asarray(magnitude, dtype=object), actual.shape)
    for place in np.ndindex(actual.shape):
        if actual[place] == expected[place]:
            continue
        allowed = tolerance(magnitude=terms[place], roundings=roundings, roundoff=roundoff)
        if not np.isfinite(actual[place]) or abs(exactly(actual[place]) - exactly(expected[place])) > allowed:
            return place, allowed
    return None


def agree(answer: Any, expected: Any, *, magnitude: Any, roundings: int, why: str = "") -> None:
    """Check that an answer is the expected one, as far as rounding lets it; of several results, each of them.

    expected: numbers in the answer's shape: nested sequences of rationals or floats, an array, or another answer.
    magnitude: the absolute sum of the terms that make a number up, one for all or one for each.
    roundings: how many roundings an honest computation may make on the way to one number.
    why: what the comparison means, shown with a violation.
    Raises Violation at the first number that is off by more than ``tolerance``.
    """
    if isinstance(answer, tuple):
        for part, wanted in zip(answer, expected, strict=True):
            agree(part, wanted, magnitude=magnitude, roundings=roundings, why=why)
        return
    if isinstance(expected, Answer):  # it has its own rounding
        answer, expected = replace(answer, roundoff=max(answer.roundoff, expected.roundoff)), expected.value
        magnitude = magnitude_of_both(magnitude, answer.value, expected)
    expected = np.asarray(expected, dtype=object)
    terms = {"magnitude": magnitude, "roundings": roundings, "roundoff": answer.roundoff}
    if missed := first_miss(answer.value, expected, **terms):
        place, allowed = missed
        where = (f" at {list(place)}" if place else "") + (f" of {answer.result}" if answer.result else "")
        digits = answer.roundoff.denominator.bit_length() - 1
        finite = np.isfinite(answer.value[place])
        wanted, got = (
            show(exactly(expected[place])),
            show(exactly(answer.value[place]) if finite else answer.value[place]),
        )
        message = f"{why}{': ' if why else ''}expected {wanted}{where}, got {got}"
        if allowed and finite:
            message += f"; rounding explains {float(allowed):.1e} ({roundings} roundings of 2^-{digits})"
        raise Violation(message, answer.call, expected, answer.value, answer.result, place)


def if_taken(candidate: Any, operation: Operation, arguments: Iterable[Any]) -> Any:
    """The answer to a call that may be refused for how its arrays are stored, of which no formula speaks.

    Rejects the example if it is refused.
    """
    try:
        return candidate.demand(operation, *arguments, as_stored=True)
    except Violation as refused:
        if refused.__cause__ is None:  # it was answered, if not usably
            raise
        reject()


def magnitude_of_both(magnitude: Any, *values: np.ndarray) -> Any:
    """The magnitude for a law that compares two answers of a candidate.

    No right answer is larger than the absolute sum of its terms.  One that is comes from another formula, whose terms
    are as many times as large at least, and so is its rounding: it may keep the law all the same.
    """
    largest = max(np.abs(value[np.isfinite(value)]).max(initial=0) for value in values)
    expected = np.max(magnitude, initial=0)
    return magnitude * (largest / expected) if 0 < expected < largest else magnitude


def where(counts: np.ndarray, expected: Any, answer: Answer) -> np.ndarray:
    """What is expected where something counts, and elsewhere the answer itself, of which other clauses speak.

    counts: a mask of the answer's shape.
    """
    return np.where(counts, np.asarray(expected, dtype=object), answer.value)


def law(holds: object, answer: Answer, message: str) -> None:
    """Check a law that is not an equation.

    Raises Violation with the message, a plain sentence on what is wrong with the answer, unless the law holds.
    """
    if not holds:
        raise Violation(message, answer.call, actual=answer.value)


def show(value: Any) -> str:
    """A number, an array or any argument as a person would write it: 3 for 3.0, 0 for -0.0, 1/3 for a third."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, float) and value.is_integer():
        return f"{value + 0:.0f}" if abs(value) < 1e16 else repr(value)
    if isinstance(value, Fraction) and (abs(value.numerator) > 10**16 or value.denominator > 10_000):
        return repr(float(value))
    return str(value)
