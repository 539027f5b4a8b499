"""The charitable reading: a clause is violated only by an answer that no choice left open explains."""

from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice, product
from typing import Any

from hypothesis.control import current_build_context
from hypothesis.database import choices_to_bytes
from hypothesis.errors import UnsatisfiedAssumption

from .candidate import Candidate
from .drawing import afresh, repeatable
from .limits import Stopped
from .properties.checking import ROUNDOFFS, Violation
from .spec.clauses import choices

MOST = 300
"""How many combinations of choices are tried on one input."""

NUMBERS = (1e-8, 1e-6, 1e-5, 1e-4)
"""What is tried where a choice has a number in it, besides the number that was found out."""

JOINT = {"OPS-8"}
"""Clauses about all answers together: they hold a candidate to one combination of choices, the one in force, or, where
all answers were explained, to one that could not be told apart from it."""


def charitable(test: Any) -> Callable[..., None]:
    """The body of a property, such that an input is no charge if another choice explains what was answered.

    Where the choices that a candidate made could not be found out, a property that fails is run again on the very
    same input and the very same answers, under other combinations of the choices that it looked at; declared ones
    stay.  If it holds under one of them, Hypothesis goes on to the next input.
    What is charged in the end says under which choices it is a violation.

    test: the property as Hypothesis made it.
    """
    check, joint = test.hypothesis.inner_test, JOINT.issuperset(getattr(test, "clauses", ()))
    parameters = test.hypothesis._given_kwargs

    def _note(violation: Violation, drawn: dict[str, Any]) -> None:
        """Say of a violation by which input it was found."""
        violation.drawn = {name: value for name, value in drawn.items() if name in parameters}
        violation.choices = choices_to_bytes(current_build_context().data.choices)

    @wraps(check)
    def read(*arguments: Any, **named: Any) -> None:
        candidate = named.get("candidate")
        if not isinstance(candidate, Candidate):
            return check(*arguments, **named)
        drawn = {name: repeatable(value) for name, value in named.items()}
        candidate.begin_example()
        try:
            check(*arguments, **afresh(drawn))
        except Stopped as stopped:
            if stopped.charge:
                _note(stopped.charge, drawn)
            raise
        except Violation as violation:
            _note(violation, drawn)
            violation.calls, consulted = list(candidate.calls), _open(candidate)
            known = all(candidate.explained(name.partition(".")[0]) for name in candidate.consulted)
            if (known or not joint) and any(
                _holds(check, candidate, arguments, drawn, chosen) for chosen in _others(candidate)
            ):
                return None
            if not joint:
                violation.under = {name: candidate.convention(name) for name in consulted if name in choices()}
            raise
        return None

    return read


def _open(candidate: Candidate) -> list[str]:
    """The conventions that the example looked at and whose choice is neither declared nor found out."""
    return sorted(name for name in candidate.consulted if candidate.leaves_open(name))


def _others(candidate: Candidate) -> Iterator[dict[str, str]]:
    """The other combinations of choices that the example may be explained by, those that explained the last first."""
    names = _open(candidate)
    tried = [{name: candidate.convention(name) for name in names if not name.endswith(".precision")}, {}]
    while True:
        for chosen in islice(_combinations(candidate, names), MOST):
            if chosen not in tried:
                tried.append(chosen)
                yield chosen
        if names == _open(candidate):
            return
        names = _open(candidate)  # under other choices the property has looked at further conventions


def _combinations(candidate: Candidate, names: list[str]) -> Iterator[dict[str, str]]:
    yield {name: candidate.last_excuse[name] for name in names if name in candidate.last_excuse}
    for taken in product(*(_choices(candidate, name) for name in names)):
        yield dict(zip(names, taken, strict=True))


def _choices(candidate: Candidate, name: str) -> list[str]:
    """What a convention may be, the choice in force first; of two precisions the coarser, which allows for both."""
    operation = name.partition(".")[0]
    if name.endswith(".precision"):
        return [max(candidate.precision(operation), "float32", key=ROUNDOFFS.__getitem__)]
    in_force = candidate.convention(name)
    if candidate.explained(operation) and name in candidate.alike:
        return [in_force, *candidate.alike[name]]
    texts = [in_force]
    for choice in choices()[name]:
        if choice.letter:
            texts += [choice.with_number(number) for number in NUMBERS if choice.low <= number <= choice.high]
        texts.append(choice.example)
    return list(dict.fromkeys(texts))


def _holds(
    check: Callable[..., None], candidate: Candidate, arguments: tuple[Any, ...], drawn: dict[str, Any], chosen: Any
) -> bool:
    """Whether the property holds on the same input under these choices; one that asks nothing of it does not."""
    with candidate.supposing(chosen):
        try:
            check(*arguments, **afresh(drawn))
        except (Violation, UnsatisfiedAssumption):
            return False
    candidate.last_excuse |= chosen
    return True
