"""Diagnosis by repair: the plainest edits of what is right that answer every question as the candidate does."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .behaviour import Asked, same
from .conditions import Condition, of_a_call, of_places, spread
from .derivatives import close, differentiated, has_derivatives
from .edits import FAILURE, RESULT, Arguments, Edit, Inner, Results, edits_of, of_one_result
from .limits import Overdue, within
from .properties.checking import each
from .source_edits import functions_run, restore, source_edits
from .spec.operations import Operation

SECONDS = 3.0
"""Processor time that the search may take for one operation."""

PATIENCE = 0.5
"""Seconds that one call of an edited operation may take."""

DIFFERENTIATED = 10
"""In how many calls derivatives are found by differences."""

WIDEST = 16
"""How many edits that explain some wrong answer are tried together with others."""

LOOKED_AT = 6
"""Of how many wrong answers the edits are sought that explain one, when no edit explains all."""

TELLING = 3
"""In how many calls a number has to be the answer to tell something."""

Agreement = tuple[np.ndarray, ...]
"""For each result, where it is as it was observed."""


@dataclass(frozen=True)
class Explanation:
    """One edit, or two, that make what is right answer as the candidate does."""

    edits: tuple[Edit, ...]

    @property
    def cost(self) -> float:
        """How far from plain it is."""
        return sum(edit.cost for edit in self.edits) + len(self.edits)

    @property
    def follows(self) -> bool:
        """Whether derivatives are those of a changed value, found by differences."""
        return any(edit.follows for edit in self.edits)

    def around(self, right: Inner) -> Inner:
        """The operation with all of the edits."""
        return stacked(self.edits, right)

    def __str__(self) -> str:
        kept = sorted(self.edits, key=lambda edit: edit.stage == FAILURE)
        return ", and ".join(("it " if edit.stage == FAILURE else "as if " if edit is kept[0] else "") + edit.words
                             for edit in kept)  # fmt: skip


def stacked(edits: Iterable[Edit], right: Inner) -> Inner:
    """The right operation with several edits: those of results outermost, and those of source inside."""
    for edit in sorted(edits, key=lambda edit: edit.stage):
        right = edit.around(right)
    return right


def as_inner(operation: Callable[..., Any], parameters: Sequence[str]) -> Inner:
    """The operation as a function of its arguments by name, conventions among them, to arrays."""

    def inner(arguments: Arguments) -> Results:
        others = {name: value for name, value in arguments.items() if name not in parameters}
        return tuple(map(np.asarray, each(operation(*(arguments[name] for name in parameters), **others))))

    return inner


@dataclass(frozen=True, eq=False)
class Observed:
    """A call, what came of it, and by how much rounding may have changed that."""

    arguments: Arguments
    results: Results | None
    """None where there was no usable answer."""
    slack: float
    failure: str = ""
    """How the call ended, where there was no usable answer."""

    @property
    def size(self) -> int:
        """How many numbers the call has."""
        return sum(np.size(value) for value in self.arguments.values())

    def agreement(self, results: Results | None) -> Agreement | None:
        """Where each result is as observed; None where there is no such result."""
        if self.results is None or results is None:
            return None
        if len(results) != len(self.results) or any(
            mine.shape != its.shape for mine, its in zip(results, self.results, strict=True)
        ):
            return None
        return tuple(same(mine, its, self.slack) for mine, its in zip(results, self.results, strict=True))

    def explained(self, results: Results | None, follows: bool = False) -> bool:
        """Whether the results are those observed, or there are none, as was observed.

        follows: whether all but the first are derivatives found by differences, which are compared as such.
        """
        if self.results is None or results is None:
            return results is self.results
        if follows:
            slopes = zip(results[1:], self.results[1:], strict=True)
            value = same(results[0], self.results[0], self.slack)
            return bool(value.all()) and all(bool(close(mine, its).all()) for mine, its in slopes)
        agreement = self.agreement(results)
        return agreement is not None and all(part.all() for part in agreement)


def outcome(inner: Inner, arguments: Arguments, finite: int | None = None) -> Results | None:
    """The results, or None where the operation raises or answers something else than finite numbers.

    finite: how many of the results have to be finite numbers; all, unless it is given.
    """
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            results = tuple(np.asarray(part, dtype=float) for part in within(PATIENCE, inner, arguments))
            if all(np.isfinite(part).all() for part in results[:finite]):
                return results
            given = [v for v in arguments.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
            return None if all(np.isfinite(array).all() for array in given) else results
    except Exception:  # an edit may make nonsense of an operation
        return None
    except Overdue:
        restore()
        return None


class Deadline:
    """Processor time that is left for searching; what is done in between does not count."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self._begun: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """While it lasts, time passes."""
        if self._begun is not None:
            yield
            return
        self._begun = time.process_time()
        try:
            yield
        finally:
            self.left -= time.process_time() - self._begun
            self._begun = None

    @property
    def over(self) -> bool:
        """Whether none is left."""
        passed = 0.0 if self._begun is None else time.process_time() - self._begun
        return passed > self.left


@dataclass(eq=False)
class Repair:
    """The search for the plainest edits of one operation that explain what was observed."""

    operation: Operation
    right: Inner
    observed: Sequence[Observed]
    edits: Sequence[Edit]
    """All there are, the plainest first."""
    conditions: Sequence[Condition]
    """Where and in which calls an edit may act."""
    deadline: Deadline
    base: tuple[Edit, ...] = ()
    """Edits that are made already."""
    _rights: list[Results | None] = field(init=False)

    def __post_init__(self) -> None:
        """Ask what is right, or right but for the edits made already."""
        inner = stacked(self.base, self.right)
        self._rights = [outcome(inner, each.arguments) for each in self.observed]
        wrong = [i for i, (each, right) in enumerate(zip(self.observed, self._rights, strict=True))
                 if not each.explained(right)]  # fmt: skip
        self.wrong = sorted(wrong, key=lambda i: self.observed[i].size)

    @classmethod
    def of(
        cls, operation: Operation, right: Callable[..., Any], chosen: Mapping[str, str], asked: Sequence[Asked],
        roundoff: float, deadline: "Deadline",
    ) -> "Repair":  # fmt: skip
        """The search beside a right operation under chosen conventions.

        right: the operation, which takes conventions by keyword.  chosen: those in force, by their last names.
        """
        parameters = operation.parameters
        observed = [
            Observed(
                {**dict(zip(parameters, call.arguments, strict=True)), **chosen},
                call.answered.results if not call.answered.modified else None,
                call.roundoffs * roundoff,
                _failure(call, operation),
            )
            for call in asked
        ]
        sample = _sample([call.arguments for call in observed])
        inner = as_inner(right, parameters)
        run = functions_run(inner, [call.arguments for call in observed[:12]])
        edits = [
            *edits_of(operation, sample, _telling(inner, observed)),
            *_measured(operation, inner, observed),
            *source_edits(run),
        ]
        conditions = [*of_a_call(operation, sample), *of_places(operation, sample)]
        return cls(
            operation, inner, observed, sorted(edits, key=lambda edit: edit.cost),
            sorted(conditions, key=lambda condition: condition.cost), deadline,
        )  # fmt: skip

    def holds(self, explanation: Explanation) -> bool:
        """Whether an explanation holds on all that was observed."""
        if explanation.follows:  # their values are enough; derivatives take long
            plain = stacked([edit.follows or edit for edit in explanation.edits], self.right)
            return all(self._gives_the_value(plain, i) for i in range(len(self.observed)))
        inner = explanation.around(self.right)
        return all(self._explains(inner, i) for i in range(len(self.observed)))

    def beside(self, edit: Edit) -> "Repair":
        """The same search once an edit is made."""
        return Repair(
            self.operation, self.right, self.observed, self.edits, self.conditions, self.deadline, (*self.base, edit)
        )

    def together_with(self, other: "Repair") -> "Repair":
        """The same search among the calls of both."""
        observed = [*self.observed, *other.observed]
        return Repair(self.operation, self.right, observed, self.edits, self.conditions, self.deadline, self.base)

    @cached_property
    def first(self) -> int | None:
        """The smallest call that is answered wrong, with numbers."""
        return next((i for i in self.wrong if self.observed[i].results is not None), None)

    def changed(self, edit: Edit) -> Inner:
        """The operation with this edit, besides those made already."""
        return stacked((*self.base, edit), self.right)

    def single(self) -> list[Explanation]:
        """The single edits that explain all that was observed, or that do where something is so; the plainest first."""
        with self.deadline.running():
            found = self._singles()
        explained = [Explanation((*self.base, edit)) for edit in found]
        return sorted(explained, key=lambda explanation: explanation.cost)

    def _singles(self) -> list[Edit]:
        """The single edits that explain all that was observed; none that is further from plain than one before it."""
        if not self.wrong:
            return []
        if self.first is None:
            return list(self._failing())
        found: list[Edit] = []
        for edit in self.edits:
            if found and edit.cost > min(one.cost for one in found):
                break
            if self._mends(edit, self.first):
                found += self._narrowed(edit)
        return found or (list(self._differentiated()) if has_derivatives(self.operation) else [])

    def _failing(self) -> Iterator[Edit]:
        """Where all that is wrong are calls without a usable answer: that it fails, and in which calls."""
        said = list(dict.fromkeys(self.observed[i].failure for i in self.wrong))
        what = f"{said[0]}{', and the like' if len(said) > 1 else ''}"
        if len(self.wrong) == len(self.observed):
            yield Edit(f"{what} in every call", 1, lambda inner: _fail, FAILURE)
            return
        wrong = set(self.wrong)
        for condition in self.conditions:
            if not condition.axes and all(self._holds(condition, i) == (i in wrong) for i in range(len(self.observed))):
                words = f"{what} where {condition.words}"
                yield Edit(words, 1 + condition.cost, _failing_where(condition), FAILURE)

    def _differentiated(self) -> Iterator[Edit]:
        """Edits that explain the first result of all that was observed, and the others as its derivatives."""
        answered = [i for i in self.wrong if self.observed[i].results is not None]
        first = next((i for i in answered if self._off(i)[0].any()), None)
        if first is None or len(answered) < len(self.wrong):
            return
        order = [first, *(i for i in answered if i != first), *self._sane]
        for edit in self.edits:
            inner = self.changed(edit)
            if self.deadline.over:
                return
            if edit.stage < RESULT and all(self._gives_the_value(inner, i) for i in order):
                following = differentiated(self.operation, edit)
                inner = self.changed(following)
                if all(self._follows(inner, i) for i in order[:DIFFERENTIATED]):
                    yield following
                    return

    def _gives_the_value(self, inner: Inner, i: int) -> bool:
        """Whether the first result is as observed."""
        agreement = self.observed[i].agreement(outcome(inner, self.observed[i].arguments))
        return agreement is not None and bool(agreement[0].all())

    def _follows(self, inner: Inner, i: int) -> bool:
        """Whether the first result is as observed, and the others as far as differences tell."""
        call = self.observed[i]
        return call.explained(outcome(inner, call.arguments, finite=1), follows=True)

    def _mends(self, edit: Edit, i: int) -> bool:
        """Whether the edit makes right what is wrong in an answer, whatever it does to the rest of it."""
        if self.deadline.over:
            return False
        call = self.observed[i]
        after = call.agreement(outcome(self.changed(edit), call.arguments))
        if after is None:
            return False
        before = self._off(i)
        return all(not (off & ~agrees).any() for off, agrees in zip(before, after, strict=True))

    def _off(self, i: int) -> Agreement:
        """Where the results of a call are not the right ones."""
        call, right = self.observed[i], self._rights[i]
        agreement = call.agreement(right)
        assert call.results is not None
        return tuple(~part for part in agreement) if agreement else tuple(np.ones(x.shape, bool) for x in call.results)

    def _narrowed(self, edit: Edit) -> Iterator[Edit]:
        """The edit, for all or only for some results, calls or places, such that it explains all that was observed."""
        inner, spoilt = self.changed(edit), []
        calls = [*self.wrong, *(i for i in range(len(self.observed)) if i not in set(self.wrong))]
        wrong = set(self.wrong)
        pieces: list[tuple[int, Agreement | None, Agreement | None]] = []
        for i in calls:
            call = self.observed[i]
            results = outcome(inner, call.arguments)
            if call.results is None:
                if call.explained(results):
                    pieces.append((i, None, None))
                elif i in wrong:
                    return
                else:
                    return
                continue
            after, off = call.agreement(results), self._off(i)
            if after is None:
                if i in wrong:
                    return
                after = tuple(np.zeros(part.shape, bool) for part in off)
            if any((o & ~a).any() for o, a in zip(off, after, strict=True)):
                return
            if not all(a.all() for a in after):
                spoilt.append(i)
            pieces.append((i, off, after))
        if not spoilt:
            yield edit
            return
        known = [(i, off, after) for i, off, after in pieces if off is not None and after is not None]
        yield from self._for_some_results(edit, known)
        yield from self._in_some_calls(edit, known, pieces)
        yield from self._at_some_places(edit, known)

    def _for_some_results(self, edit: Edit, known: Any) -> Iterator[Edit]:
        """The edit for those results alone that are wrong."""
        names = list(self.operation.results)
        if len(names) < 2:
            return
        wrong = [any(off[r].any() for _, off, _ in known) for r in range(len(names))]
        if all(after[r].all() or not wrong[r] for _, _, after in known for r in range(len(names))):
            listed = " and ".join(f"`{name}`" for name, is_wrong in zip(names, wrong, strict=True) if is_wrong)
            yield Edit(
                lambda: f"{edit.words}, in {listed} alone", edit.cost + 0.5, _mixed(edit, _of_results(wrong)), RESULT
            )

    def _in_some_calls(self, edit: Edit, known: Any, pieces: Any) -> Iterator[Edit]:
        """The edit in calls alone in which something is so."""
        failing = [i for i, off, _ in pieces if off is None]
        needed = [i for i, off, _ in known if any(part.any() for part in off)] + [i for i in failing if i in self.wrong]
        barred = [i for i, _, after in known if not all(part.all() for part in after)]
        if set(needed) & set(barred):
            return
        for condition in self.conditions:
            if condition.axes or self.deadline.over:
                continue
            if all(self._holds(condition, i) for i in needed) and not any(self._holds(condition, i) for i in barred):
                yield _where(edit, condition, 1, _in_call(condition))
                return

    def _at_some_places(self, edit: Edit, known: Any) -> Iterator[Edit]:
        """The edit at places alone at which something is so, of those results whose places these are."""
        axes = list(self.operation.results.values())
        for condition in self.conditions:
            if self.deadline.over:
                return
            said_of = condition.axes and any(condition.axes == of[: len(condition.axes)] for of in axes)
            if said_of and all(self._fits(condition, i, off, after, axes) for i, off, after in known):
                yield _where(edit, condition, 1.2, _at_places(condition, axes))
                return

    def _fits(self, condition: Condition, i: int, off: Agreement, after: Agreement, axes: Sequence[Any]) -> bool:
        """Whether a call is explained by the edit where the condition holds, and elsewhere by what is right."""
        try:
            holds = condition.holds(self.observed[i].arguments)
        except Exception:
            return False
        for of, wrong, mended in zip(axes, off, after, strict=True):
            flags = spread(condition, of, holds)
            if flags is None:  # these results are not changed
                if wrong.any():
                    return False
            elif (wrong & ~flags).any() or (~mended & flags).any():
                return False
        return True

    def _holds(self, condition: Condition, i: int) -> bool:
        try:
            return bool(condition.holds(self.observed[i].arguments))
        except Exception:
            return False

    def double(self) -> list[Explanation]:
        """The pairs of edits that explain all that was observed, the plainest first."""
        with self.deadline.running():
            found = self._doubles() if self.first is not None else []
        return sorted(found, key=lambda explanation: explanation.cost)

    def _doubles(self) -> list[Explanation]:
        for edit in self._half_way():
            if self.deadline.over:
                break
            if found := self.beside(edit).single():
                return found
        return self._around_results()

    def _half_way(self) -> list[Edit]:
        """Edits that explain some wrong answers completely, those that explain more of them first."""
        wrong = [i for i in self.wrong if self.observed[i].results is not None]
        reach: dict[tuple[bool, ...], tuple[int, Edit]] = {}
        for i in wrong[:LOOKED_AT]:
            for edit in self.edits:
                if self.deadline.over:
                    break
                inner = self.changed(edit)
                if not self._explains(inner, i):
                    continue
                which = tuple(self._explains(inner, j) for j in [*wrong[:20], *self._sane[:20]])
                reach.setdefault(which, (sum(which), edit))
            if len(reach) >= WIDEST:
                break
        ranked = sorted(reach.values(), key=lambda pair: (-pair[0], pair[1].cost))
        return [edit for _, edit in ranked[:WIDEST]]

    @cached_property
    def _sane(self) -> list[int]:
        wrong = set(self.wrong)
        return [i for i in range(len(self.observed)) if i not in wrong]

    def _explains(self, inner: Inner, i: int) -> bool:
        return self.observed[i].explained(outcome(inner, self.observed[i].arguments))

    def _around_results(self) -> list[Explanation]:
        """Pairs of which both show in every wrong answer, one of them an edit of the results."""
        assert self.first is not None
        call = self.observed[self.first]
        outer = [edit for edit in self.edits if edit.stage == RESULT]
        others = [edit for edit in self.edits if edit.stage != RESULT]
        found: list[Explanation] = []
        for edit in others:
            if self.deadline.over or found:
                break
            results = outcome(self.changed(edit), call.arguments)
            if results is None:
                continue
            for around in outer:
                mixed = outcome(around.around(lambda _, results=results: results), call.arguments)
                if call.explained(mixed):
                    inner = stacked((*self.base, edit, around), self.right)
                    if all(self._explains(inner, i) for i in [*self.wrong, *self._sane]):
                        found.append(Explanation((*self.base, edit, around)))
        return found


def _where(edit: Edit, condition: Condition, cost: float, take: Callable[[Arguments, Results], Sequence[Any]]) -> Edit:
    """The edit where a condition holds, take being where that is in each result."""
    return Edit(
        lambda: f"{edit.words} where {condition.words}", edit.cost + cost + condition.cost, _mixed(edit, take), RESULT
    )


def _mixed(edit: Edit, take: Callable[[Arguments, Results], Sequence[Any]]) -> Callable[[Inner], Inner]:
    """The edit at places alone: take says at which of each result."""

    def around(inner: Inner) -> Inner:
        edited = edit.around(inner)

        def changed(arguments: Arguments) -> Results:
            right = inner(arguments)
            taken = take(arguments, right)
            if not any(np.any(flags) for flags in taken):
                return right
            return tuple(
                np.where(flags, mine, its) for flags, mine, its in zip(taken, edited(arguments), right, strict=True)
            )

        return changed

    return around


def _fail(arguments: Arguments) -> Results:
    raise ArithmeticError


def _failing_where(condition: Condition) -> Callable[[Inner], Inner]:
    def around(inner: Inner) -> Inner:
        return lambda arguments: _fail(arguments) if condition.holds(arguments) else inner(arguments)

    return around


def _failure(call: Asked, operation: Operation) -> str:
    """How a call without a usable answer ended."""
    return call.answered.said.removeprefix(f"{operation.name} ") or "gave no usable answer"


def _of_results(wanted: Sequence[bool]) -> Callable[[Arguments, Results], Sequence[Any]]:
    return lambda arguments, right: wanted


def _in_call(condition: Condition) -> Callable[[Arguments, Results], Sequence[Any]]:
    return lambda arguments, right: [bool(condition.holds(arguments))] * len(right)


def _at_places(condition: Condition, axes: Sequence[tuple[str, ...]]) -> Callable[[Arguments, Results], Sequence[Any]]:
    def take(arguments: Arguments, right: Results) -> Sequence[Any]:
        holds = condition.holds(arguments)
        flags = (spread(condition, of, holds) for of in axes)
        return [False if found is None else found for found in flags]

    return take


def _sample(calls: Sequence[Arguments]) -> Arguments:
    """One call's arguments, with what another call has in the place of None."""
    return {name: next((call[name] for call in calls if call[name] is not None), None) for name in calls[0]}


def _measured(operation: Operation, right: Inner, observed: Sequence[Observed]) -> Iterator[Edit]:
    """Edits by the number that a result is too large by, or is to be multiplied with, wherever it is wrong."""
    compared = [(call, call.results, outcome(right, call.arguments)) for call in observed]
    for r, name in enumerate(operation.results):
        ratios, differences = [], []
        for call, its, mine in compared:
            if its is None or mine is None or its[r].shape != mine[r].shape:
                continue
            off = ~same(mine[r], its[r], call.slack) & np.isfinite(its[r]) & np.isfinite(mine[r])
            for answer, number in zip(its[r][off].tolist(), mine[r][off].tolist(), strict=True):
                differences.append((call.slack + 1e-15 * abs(answer), answer - number))
                if number:
                    ratios.append(((call.slack + 1e-15 * abs(answer)) / abs(number), answer / number))
        what = f"`{name}`" if name else "the result"
        if (factor := _in_common(ratios)) is not None:
            yield Edit(f"{what} were times {factor:.15g}", 1.6, of_one_result(r, lambda x, _, k=factor: k * x), RESULT)
        if (more := _in_common(differences)) is not None:
            yield Edit(f"{what} were {more:.15g} more", 1.6, of_one_result(r, lambda x, _, k=more: x + k), RESULT)


def _in_common(numbers: Sequence[tuple[float, float]]) -> float | None:
    """The number of the fewest digits that several are, each within its error; None if there is none."""
    if len(numbers) < TELLING:
        return None
    low, high = max(x - error for error, x in numbers), min(x + error for error, x in numbers)
    middle = min(numbers)[1]
    if low > high or not np.isfinite(middle):
        return None
    rounded = (float(f"{middle:.{digits}g}") for digits in range(1, 16))
    return next((x for x in rounded if low <= x <= high), middle)


def _telling(right: Inner, observed: Sequence[Observed]) -> list[float]:
    """Numbers that are an answer in several calls in which they are wrong."""
    counts: dict[float, int] = {}
    for call in observed:
        if call.results is None:
            continue
        agreement = call.agreement(outcome(right, call.arguments))
        if agreement is None:
            continue
        numbers = {float(x) for part, fine in zip(call.results, agreement, strict=True) for x in part[~fine].ravel()}
        for number in numbers - {0.0}:
            counts[number] = counts.get(number, 0) + 1
    return sorted((number for number, count in counts.items() if count >= TELLING), key=lambda x: -counts[x])[:6]
