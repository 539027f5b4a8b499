"""A violation as a person can check it: the call that is wrong, the specification's number, and what came."""

from contextlib import suppress

import numpy as np

from .candidate import Candidate, Told
from .candidates import reference
from .properties.checking import ROUNDOFFS, Call, Violation, show
from .properties.questions.question import last_names

MARGIN = 1000
"""How many roundoffs of the largest number an answer may be off by and still be taken for right here."""


def restated(violation: Violation, candidate: Candidate) -> Violation:
    """The same charge, such that what is expected is the specification's number and the call is one that shows it.

    A law may compare two answers of the candidate, or add several up.  What the law expects of one of them is then the
    candidate's own number, and the call that it names may be answered rightly.  So the calls of the input are held
    against the reference, under the choices in force, and the first that is wrong is shown.  Where none is, as far as
    rounding can tell, the two answers are shown side by side.
    """
    named = [told for told in violation.calls if told.call is violation.call and told.values]
    if not named or _asked_again(violation):
        return violation  # there is no answer, or there are two to one question
    right = {id(told): _specified(candidate, told.call) for told in violation.calls if told.values}
    if violation.expected is not None and not _own(violation, violation.calls, right[id(named[0])]):
        return violation
    for told in [*named, *(told for told in violation.calls if told.values)]:
        for name, specified in right[id(told)].items():
            if place := _first_off(told.values[name], specified, told.call, candidate):
                return _shown(violation, told, name, specified, place[0])
    return _compared(violation)


def _asked_again(violation: Violation) -> bool:
    """Whether the candidate was asked the very same before, and answered something else."""
    same = [told.values for told in violation.calls if told.values and str(told.call) == str(violation.call)]
    return any(not np.array_equal(values[name], same[0][name]) for values in same for name in values)


def _specified(candidate: Candidate, call: Call) -> dict[str, np.ndarray]:
    """What the reference answers under the choices in force, by the results' names; nothing, if it cannot tell."""
    operation = call.operation
    function = getattr(reference, operation.name)
    with suppress(Exception), np.errstate(all="ignore"):
        answer = function(*call.arguments, **last_names(candidate.conventions(operation.name)))
        parts = answer if len(operation.results) > 1 else (answer,)
        return {name: np.asarray(part, dtype=float) for name, part in zip(operation.results, parts, strict=True)}
    return {}


def _own(violation: Violation, calls: list[Told], right: dict[str, np.ndarray]) -> bool:
    """Whether what was expected is made of the candidate's own answers: there are others, and it is not specified."""
    answered = [told for told in calls if told.values]
    specified = right.get(violation.result)
    expected = np.asarray(violation.expected)
    if len(answered) < 2 or specified is None or specified.shape != expected.shape:
        return len(answered) > 1
    return not np.allclose(expected.astype(float), specified, rtol=1e-9, atol=1e-12, equal_nan=True)


def _first_off(actual: np.ndarray, specified: np.ndarray, call: Call, candidate: Candidate) -> list[tuple[int, ...]]:
    """The first place where an answer is not the specified one, by far more than rounding."""
    roundoff = float(ROUNDOFFS[candidate.precision(call.operation.name)])
    numbers = [np.abs(np.asarray(a, dtype=float)) for a in call.arguments if np.asarray(a).dtype.kind in "iuf"]
    largest = max([1.0, *(float(part[np.isfinite(part)].max(initial=0)) for part in [*numbers, np.abs(specified)])])
    off = ~np.isclose(actual, specified, rtol=0, atol=MARGIN * roundoff * largest, equal_nan=True)
    return [tuple(place) for place in np.argwhere(off)[:1].tolist()]


def _shown(violation: Violation, told: Told, name: str, specified: np.ndarray, place: tuple[int, ...]) -> Violation:
    """The violation on a call that is answered wrongly."""
    actual = told.values[name]
    where = (f" at {list(place)}" if place else "") + (f" of {name}" if name else "")
    said = f"the specification has {show(specified[place])}{where}, and the answer is {show(actual[place])}"
    law = str(violation) if violation.expected is None else "two answers of the candidate do not fit together"
    return violation.but(f"{law}; {said}", told.call, specified, actual, result=name)


def _compared(violation: Violation) -> Violation:
    """The violation with the other call, and without an expected number where there is none of the specification."""
    others = [told.call for told in violation.calls if told.values and told.call is not violation.call]
    if violation.expected is None or not others:
        return violation
    expected, place = np.asarray(violation.expected, dtype=object), violation.place
    wanted, got = show(expected[place]), show(violation.actual[place])
    where = (f" at {list(place)}" if place else "") + (f" of {violation.result}" if violation.result else "")
    said = f"two answers of the candidate differ: {got}{where} here, and {wanted} by its answer to {others[-1]}"
    return violation.but(said, violation.call, None, violation.actual)
