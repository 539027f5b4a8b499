"""What is wrong with recorded answers that nothing explains: known mistakes, and edits of what is right."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import thread_time
from typing import Any

import numpy as np

from .answers import (
    Chosen,
    digest,
    in_floats,
    misses,
    right_of,
    wide,
)
from .behaviour import Asked, Behaviour, Room
from .bounds import near_a_clip
from .candidates import reference
from .faults import Fault, museum
from .faults import right as of_faults
from .properties.checking import each
from .properties.questions.question import last_names
from .recorded import Seen
from .repair import Deadline, Explanation, Repair
from .rounded import BITS
from .spec.operations import Operation

SEARCHED = 4
"""Edits of what is right are looked for beside so many."""


SEARCHING = 20.0
"""Seconds of processor time that are taken to find an edit of what is right, in one operation."""


COMPARING = 10.0
"""Seconds of processor time after which no further choices are taken beside which known faults are looked for."""


PART = 32
"""So many roundings of the difference between a mistaken formula and the right one are allowed to what was recorded."""


def mistake_in(
    operation: Operation, calls: Sequence[Seen], near: Sequence[Chosen]
) -> tuple[Chosen, Explanation | None, list[Fault]]:
    """The choices beside which the plainest edits, or known faults, explain all answers; else the nearest choices."""
    begun = thread_time()
    for taken in near:
        known = _known(operation, calls, taken)
        if known:
            return taken, _repaired(operation, calls, taken), known
        if thread_time() - begun > COMPARING:
            break
    for taken in _distinct(operation, calls, near)[:SEARCHED]:
        explanation = _repaired(operation, calls, taken)
        if explanation:
            return taken, explanation, []
    return near[0], None, []


def _distinct(operation: Operation, calls: Sequence[Seen], near: Sequence[Chosen]) -> list[Chosen]:
    """The first of the choices under which answers are the same to four digits: a search beside each takes long."""
    found: dict[str, Chosen] = {}
    for taken in near:
        answers = [in_floats(operation, call.arguments, taken) for call in calls[:3]]
        found.setdefault(digest(answers, 4), taken)
    return list(found.values())


def _known(operation: Operation, calls: Sequence[Seen], taken: Chosen) -> list[Fault]:
    """The museum's faults that answer all calls as the run did, and not as is right."""
    names = names_of(operation, calls)
    asked = asked_of(calls, taken, names)
    honest = partial(getattr(reference, operation.name), **last_names(taken))
    found = []
    for fault in faults_of(operation):
        mistaken = of_faults.layered(operation.name, fault.implementation, honest)
        if all(within(one, names, by_name(mistaken, operation, one)) for one in asked):
            found.append(fault)
    return found


def _repaired(operation: Operation, calls: Sequence[Seen], taken: Chosen) -> Explanation | None:
    """The plainest edits of what is right that answer all calls as the run did."""
    names = names_of(operation, calls)
    recorded = replace(operation, results={name: operation.results[name] for name in names})
    search = Repair.of(recorded, partial(_recorded_part, operation, names), last_names(taken),
                       asked_of(calls, taken, names), 1.0, Deadline(SEARCHING / SEARCHED))  # fmt: skip
    found = search.single() or search.double()
    return found[0] if found else None


def _recorded_part(operation: Operation, names: Sequence[str], *arguments: Any, **conventions: Any) -> Any:
    """What is right, but only those results that were recorded."""
    parts = each(getattr(reference, operation.name)(*arguments, **conventions))
    answers = dict(zip(operation.results, parts, strict=True))
    return tuple(answers[name] for name in names)


def names_of(operation: Operation, calls: Sequence[Seen]) -> list[str]:
    """The results that all calls have."""
    return [name for name in operation.results if all(name in call.results for call in calls)]


def asked_of(calls: Sequence[Seen], taken: Chosen, names: Sequence[str]) -> list[Asked]:
    """The calls as the search for what is wrong wants them, with what rounding may do to each number."""
    found = []
    for call in calls:
        near = near_a_clip(call.operation.name, call.arguments, call.types)
        bounds = {name: np.where(np.isfinite(bound), bound, np.inf) for name, _, bound in misses(call, taken)}
        if near is not None and "d_logp" in bounds:  # a mistake may let tokens count that do not, where anything goes
            bounds["d_logp"] = np.where(near & (call.named["mask"] == 0), np.inf, bounds["d_logp"])
        exact, double = right_of(call, taken), 2 if call.precision == "float64" else 1  # faults are computed in float64
        room = Room(tuple(exact[name] for name in names), tuple(double * bounds[name] for name in names),
                    PART * 2.0 ** -BITS[call.precision])  # fmt: skip
        results = tuple(call.results[name].astype(float) for name in names)
        largest = max(float(np.max(bound, initial=0, where=np.isfinite(bound))) for bound in room.bounds)
        found.append(Asked(tuple(map(wide, call.arguments)), Behaviour(results), largest, room))
    return found


def faults_of(operation: Operation) -> list[Fault]:
    """The museum's faults in one operation."""
    return [fault for fault in museum().values() if fault.operation == operation.name]


def by_name(function: Any, operation: Operation, asked: Asked) -> dict[str, np.ndarray]:
    """What a function answers to a call, by the results' names; nothing where it raises."""
    try:
        with np.errstate(all="ignore"):
            answers = [np.asarray(part, dtype=float) for part in each(function(*asked.arguments))]
    except Exception:  # a fault may raise on arguments that it was not made for
        return {}
    return dict(zip(operation.results, answers, strict=False))


def within(asked: Asked, names: Sequence[str], its: Mapping[str, np.ndarray]) -> bool:
    """Whether what was recorded is what a function answers, as far as rounding lets it be known."""
    assert asked.room is not None
    recorded = asked.answered.results or ()
    return all(
        name in its
        and its[name].shape == part.shape
        and bool((np.abs(its[name] - part) <= asked.room.allowed(place, its[name])).all())
        for place, (name, part) in enumerate(zip(names, recorded, strict=True))
    )
