"""What rounding to 16 bits hides: what would have changed recorded answers, and would have been seen in float32."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import mul
from typing import Any

import numpy as np

from .answers import Chosen
from .behaviour import Asked
from .blame import asked_of, by_name, faults_of, names_of, within
from .bounds import WHOLE, slack
from .candidates import reference
from .faults import right as of_faults
from .properties.questions.question import last_names
from .recorded import Seen
from .rounded import BITS
from .spec.operations import Operation

CHANGES = (0.9, 1.1, 0.95, 1.05, 0.99, 1.01)
"""What scalars are multiplied with, the largest changes first."""

NEARER = 4
"""So many times nearer than to what is right answers have to be to something else, to be said to be."""

FEW = 8
"""From fewer numbers that is not said."""


@dataclass
class Hidden:
    """In words, what rounding hides, and what of it the answers are nearer to than to what is right."""

    changes: list[str] = field(default_factory=list)
    nearest: str = ""
    times: float = 0.0
    """How many times nearer, in root mean square."""


def hidden(operation: Operation, calls: Sequence[Seen], taken: Chosen) -> Hidden:
    """What rounding hides in calls that these choices explain; nothing, where one of them is in more than 16 bits.

    Rounding errors have no preference: right answers are near what is right, and not much nearer to something else.
    """
    found = Hidden()
    if any(BITS[call.precision] >= BITS["float32"] for call in calls):
        return found
    names = names_of(operation, calls)
    compared = [_Compared(operation, names, asked, _in_float32(call, taken))
                for call, asked in zip(calls, asked_of(calls, taken, names), strict=True)]  # fmt: skip
    for words, functions in _changes(operation, partial(getattr(reference, operation.name), **last_names(taken))):
        times = [_nearness(compared, function) for function in functions]
        hides = [one for one in times if one is not None]
        if hides:
            found.changes.append(words[times.index(hides[0])])
            best = times.index(max(hides))
            if max(hides) > max(found.times, NEARER):
                found.nearest, found.times = words[best], max(hides)
    return found


def _in_float32(call: Seen, taken: Chosen) -> dict[str, np.ndarray]:
    """How far rounding would take the results if all were in float32."""
    bounds = slack(call.operation.name, call.arguments, taken, dict.fromkeys(call.types, "float32"))
    return dict(zip(call.operation.results, bounds, strict=True))


Change = tuple[list[str], list[Callable[..., Any]]]
"""What is changed, in words, and the operations that are changed so, the largest change first."""


def _changes(operation: Operation, honest: Callable[..., Any]) -> Iterator[Change]:
    for fault in faults_of(operation):
        yield [f"the fault `{fault.slug}`"], [of_faults.layered(operation.name, fault.implementation, honest)]
    for place, (name, axes) in enumerate(operation.axes.items()):
        if not axes and name not in WHOLE:
            yield [f"`{name}` squared"], [_with_another(honest, place, lambda x: x * x)]
            words = [f"`{name}` times {share:g}" for share in CHANGES]
            yield words, [_with_another(honest, place, partial(mul, share)) for share in CHANGES]


def _with_another(honest: Callable[..., Any], place: int, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """The operation with another number for one of its scalars."""

    def changed(*arguments: Any) -> Any:
        given = list(arguments)
        given[place] = change(given[place])  # a name or None raises, and is no change
        return honest(*given)

    return changed


@dataclass(frozen=True)
class _Compared:
    """A call, and how far from what is right its results are to be, to be told from it in float32."""

    operation: Operation
    names: Sequence[str]
    asked: Asked
    finer: dict[str, np.ndarray]

    def distances(self, function: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray] | None:
        """How far the answers are from what is right, and from what a function says, where that shows in float32.

        None where it shows in 16 bits.
        """
        its = by_name(function, self.operation, self.asked)
        if not within(self.asked, self.names, its) or self.asked.room is None:
            return None
        from_right, from_its = [], []
        recorded = self.asked.answered.results or ()
        for name, answer, right in zip(self.names, recorded, self.asked.room.right, strict=True):
            shows = np.abs(its[name] - right) > self.finer[name]
            from_right.append(np.ravel((answer - right)[shows]))
            from_its.append(np.ravel((answer - its[name])[shows]))
        return np.concatenate(from_right), np.concatenate(from_its)


def _nearness(compared: Sequence[_Compared], function: Callable[..., Any]) -> float | None:
    """How many times nearer the answers are to what a function says than to what is right; 0 from too few of them.

    None if rounding does not hide it, or it is what is right.
    """
    distances = [one.distances(function) for one in compared]
    if any(one is None for one in distances):
        return None
    from_right, from_its = (np.concatenate(parts) for parts in zip(*(one for one in distances if one), strict=True))
    if from_right.size == 0:
        return None
    near = float(np.sqrt((from_its**2).mean()))
    far = float(np.sqrt((from_right**2).mean()))
    return 0.0 if from_right.size < FEW else far / near if near > 0 else np.inf if far > 0 else 1.0
