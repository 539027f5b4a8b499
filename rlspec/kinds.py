"""What kind of thing is wrong, where no edit of what is right explains it, from comparing answers with right ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .behaviour import Asked, behaviour
from .candidate import Candidate
from .conditions import Condition, spread
from .edits import Results
from .repair import Observed, Repair, outcome
from .spec.operations import Operation

FEW = 3
"""How many wrong calls a pattern has to be seen in, to be said."""


@dataclass(frozen=True)
class Kind:
    """What kind of thing is wrong, and where, in one sentence."""

    words: str
    numbers: bool = False
    """Whether it is numbers that are wrong, so that there might be a formula that has them, and none was found."""


NOT_FINITE = Kind(
    "it is right where all numbers are finite; NaN or infinity among the arguments gets into the answer, as it does "
    "where it is multiplied by 0"
)
"""An answer is NaN only where an argument is not finite."""

NOT_FINITE_EITHER = Kind(
    "NaN or infinity among the arguments gets into the answer, too, as it does where it is multiplied by 0"
)
"""The same, of a candidate that is wrong with finite numbers as well, which has another explanation."""


def kind(candidate: Candidate, operation: Operation, repair: Repair, asked: Sequence[Asked]) -> Kind:
    """What kind of thing is wrong.

    repair: the search that found no explanation.  asked: the calls that it looked at, in the same order.
    """
    with repair.deadline.running():
        return _kind(candidate, operation, repair, asked)


def _kind(candidate: Candidate, operation: Operation, repair: Repair, asked: Sequence[Asked]) -> Kind:
    wrong = [asked[i] for i in repair.wrong]
    if not wrong:
        return Kind("nothing is wrong in fresh calls: what is wrong shows in few inputs")
    if not _repeats(candidate, operation, wrong[0]):
        return Kind("it gives another answer when it is asked the same again")
    failing = [call for call in wrong if call.answered.results is None]
    if len(failing) == len(wrong):
        failure = repair.observed[repair.wrong[0]].failure
        return Kind(f"it {failure}{_in_which(repair, repair.wrong)}; what it answers is right")
    written = {name for call in wrong for name in call.answered.modified}
    if written:
        return Kind(f"it writes to {_listed(sorted(written))}")
    where = _in_which(repair, repair.wrong) or _where(repair, operation)
    return Kind("; ".join([f"{_how(repair, operation)}{where}", *_rows(candidate, operation, wrong)]), numbers=True)


def _repeats(candidate: Candidate, operation: Operation, call: Asked) -> bool:
    return behaviour(candidate, operation, call.arguments).like(call.answered, 0.0)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def _in_which(repair: Repair, calls: Sequence[int]) -> str:
    """In which calls something is wrong, if that is exactly known."""
    among = set(calls)
    if len(among) == len(repair.observed):
        return " in every call"
    for condition in repair.conditions:
        everywhere = range(len(repair.observed))
        if not condition.axes and all(_holds(repair, condition, i) == (i in among) for i in everywhere):
            return f", always and only where {condition.words}"
    for condition in repair.conditions:
        if not condition.axes and len(among) >= FEW and _telling(repair, condition, among):
            return f", only where {condition.words}"
    return ""


def _telling(repair: Repair, condition: Condition, among: set[int]) -> bool:
    """Whether a condition holds of all these calls and of hardly half of the others."""
    others = [i for i in range(len(repair.observed)) if i not in among]
    holding = sum(_holds(repair, condition, i) for i in others)
    return all(_holds(repair, condition, i) for i in among) and holding <= len(others) / 2


def _holds(repair: Repair, condition: Condition, i: int) -> bool:
    try:
        return bool(condition.holds(repair.observed[i].arguments))
    except Exception:
        return False


def _compared(repair: Repair) -> Iterator[tuple[Observed, Results, Results]]:
    """The calls that are answered wrong with numbers, what is right, and what was answered."""
    for i in repair.wrong:
        call = repair.observed[i]
        right = outcome(repair.right, call.arguments)
        if call.results is not None and right is not None:
            yield call, right, call.results


def _how(repair: Repair, operation: Operation) -> str:
    """What is wrong with the numbers, and with which of several results."""
    calls = list(_compared(repair))
    if not calls:
        return "it answers where nothing is to be answered"
    names = list(operation.results)
    bad = [r for r in range(len(names)) if any(_off(call, right, r).any() for call, right, _ in calls)]
    good = [name for r, name in enumerate(names) if r not in bad]
    what = _pattern([(call, right[r], its[r]) for call, right, its in calls for r in bad])
    if len(names) == 1:
        return f"the result {what}"
    alone = f", and {_listed(good)} right" if good else ""
    if len(bad) > 1:
        verb, _, rest = what.partition(" ")
        what = f"{'are' if verb == 'is' else 'have'} {rest}"
    return f"{_listed([names[r] for r in bad])} {what}{alone}"


def _off(call: Observed, right: Results, result: int) -> np.ndarray:
    agreement = call.agreement(right)
    assert agreement is not None
    return ~agreement[result]


def _pattern(pairs: Sequence[tuple[Observed, np.ndarray, np.ndarray]]) -> str:
    """What all pairs of a right result and an answer have in common."""
    if all(_near(call, abs(right), abs(its)) for call, right, its in pairs):
        return "has the wrong sign at some places"
    if all(_near(call, its, its * 0) for call, right, its in pairs):
        return "is 0 where it is not to be"
    if all(_proportional(call, right, its) for call, right, its in pairs):
        return "is wrong by a factor, another one in each call"
    if all(_shifted(call, right, its) for call, right, its in pairs):
        return "is wrong by a constant, another one in each call"
    arrays = [pair for pair in pairs if pair[1].ndim]
    if arrays and all(_near(call, np.sort(right, axis=-1), np.sort(its, axis=-1)) for call, right, its in arrays):
        return "has the right numbers in the wrong order"
    if all((abs(its) <= abs(right) + call.slack).all() for call, right, its in pairs):
        return "is too small, or as it should be"
    if all((abs(its) >= abs(right) - call.slack).all() for call, right, its in pairs):
        return "is too large, or as it should be"
    return "is wrong"


def _near(call: Observed, mine: np.ndarray, its: np.ndarray) -> bool:
    return bool((abs(mine - its) <= call.slack + 1e-12 * abs(its)).all())


def _proportional(call: Observed, right: np.ndarray, its: np.ndarray) -> bool:
    if right.size < 2:
        return bool(right.all())
    size = float((right * right).sum())
    return size > 0 and _near(call, right * float((right * its).sum()) / size, its)


def _shifted(call: Observed, right: np.ndarray, its: np.ndarray) -> bool:
    return right.size > 1 and _near(call, right + float((its - right).mean()), its)


def _where(repair: Repair, operation: Operation) -> str:
    """At which places the answers are wrong: where something is so at all of them, and mostly not elsewhere."""
    axes = list(operation.results.values())
    calls = [(call, right) for call, right, _ in _compared(repair)]
    for condition in repair.conditions:
        if condition.axes and _covers(condition, calls, axes):
            return f", only where {condition.words}"
    return ""


def _covers(condition: Condition, calls: Sequence[tuple[Observed, Results]], axes: Sequence[tuple[str, ...]]) -> bool:
    wrong = holding = elsewhere = 0
    for call, right in calls:
        for r, of in enumerate(axes):
            try:
                flags = spread(condition, of, condition.holds(call.arguments))
            except Exception:
                return False
            off = _off(call, right, r)
            if flags is None:
                if off.any() and of:
                    return False
                continue
            flags = np.broadcast_to(flags, off.shape)
            if (off & ~flags).any():
                return False
            wrong += int(off.sum())
            holding += int(flags.sum())
            elsewhere += int((~flags).sum())
    return wrong >= FEW and holding <= 2 * wrong and elsewhere >= wrong / 2


def _rows(candidate: Candidate, operation: Operation, wrong: Sequence[Asked]) -> Iterator[str]:
    """Whether a row's answer depends on the other rows, which it must not."""
    if not operation.row_by_row or any(axes[:1] != ("B",) for axes in operation.results.values()):
        return
    rowed = [place for place, axes in enumerate(operation.axes.values()) if axes[:1] == ("B",)]
    for call in [call for call in wrong if rowed and len(call.arguments[rowed[0]]) > 1][:5]:
        if call.answered.results is None:
            continue
        for row in range(len(call.arguments[rowed[0]])):
            alone = [x[row : row + 1] if place in rowed else x for place, x in enumerate(call.arguments)]
            answered = behaviour(candidate, operation, tuple(alone)).results
            if answered is not None and not all(
                np.allclose(mine[0], its[row], rtol=1e-5, atol=1e-9, equal_nan=True)
                for mine, its in zip(answered, call.answered.results, strict=True)
            ):
                yield "a row's answer depends on the other rows"
                return
