"""Diagnosis by repair: the plainest edits of what is right that answer every question as the candidate does."""

import ast
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, combinations, product
from types import FunctionType
from typing import Any

import numpy as np

from .behaviour import Asked, Room, same
from .conditions import Condition, is_flag, is_number, names_in, of_a_call, of_places, spread
from .derivatives import OF_IEEE, SEARCHING, as_ieee, close, differentiated, has_derivatives
from .edits import FAILURE, RESULT, SOURCE, Arguments, Edit, Inner, Results, counts_of, edits_of, of_one_result
from .formulas import FEWEST, JOINED, formulas
from .limits import Overdue, Watch
from .properties.checking import each
from .source_edits import Probe, Seen, functions_run, lines_run, probes, restore, source_edits, stops
from .spec.operations import MASKS, Operation
from .written_in_arrays import InArrays

SECONDS = 2.5
"""Processor time that the search may take for one operation."""

PATIENCE = 0.5
"""Seconds of processor time that one call of an edited operation may take."""

MAGNIFIED = 1e4
"""How much larger an answer may be than the right one for the mistake to be thought to make rounding larger, too."""

HELD = 12
"""In how many calls it is looked at what the reference holds fixed where it differentiates."""

AT_A_TIME = 16
"""How many calls are made between two looks at the clock."""

WIDEST = 16
"""How many edits that explain some wrong answer are tried together with others."""

LOOKED_AT = 3
"""Of how many wrong answers the edits are sought that explain one, when no edit explains all."""

MANY = 6000
"""With so many edits, trying those of the reference takes most of the time that there is."""

WIDE = 24
"""Of how many conditions three are joined."""

TELLING = 3
"""In how many calls something has to be so to tell anything."""

DIGITS = 2.0**-42
"""By how much an answer may be off besides, relative to the largest of its numbers: a mistake may make them larger."""

LAST_PLACES, FURTHEST = 8, 128
"""The same in unit roundoffs, where an implementation's are larger; and the furthest logarithm that adds to them."""

AGREEING = 0.9
"""In what share of the calls another form of an operation has to be right; very large numbers round otherwise."""

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
        """Whether all results but the first are derivatives of it."""
        return any(edit.follows for edit in self.edits)

    def around(self, right: Inner) -> Inner:
        """The operation with all of the edits."""
        return stacked(self.edits, right)

    @property
    def words(self) -> str:
        """It in words, without the first "as if"."""
        return str(self).removeprefix("as if ")

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
    """The operation as a function of its arguments by name, conventions among them, to arrays.

    Python's numbers raise where they are divided by zero or too large; those of array libraries do not, and so it is
    asked again with such ones.
    """

    def asked(arguments: Arguments) -> Results:
        others = {name: value for name, value in arguments.items() if name not in parameters}
        return tuple(map(np.asarray, each(operation(*(arguments[name] for name in parameters), **others))))

    def inner(arguments: Arguments) -> Results:
        try:
            return asked(arguments)
        except (ArithmeticError, ValueError):
            with OF_IEEE.standing_in(), np.errstate(all="ignore"):
                return asked(as_ieee(arguments))

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
    room: Room | None = None
    """How far rounding may have taken each number, where that is known better than by `slack`."""
    digits: float = DIGITS
    """What an answer may be off by besides, relative to the largest of its numbers."""

    @classmethod
    def of(
        cls, operation: Operation, call: Asked, arguments: Arguments, right: Results | None, roundoff: float
    ) -> "Observed":
        """What came of a call.  right: what is right, beside which a mistake may make numbers larger."""
        results = call.answered.results if not call.answered.modified else None
        slack = call.roundoffs * roundoff * growth(call, right)
        return cls(arguments, results, slack, _failure(call, operation), call.room, digits(arguments, roundoff))

    def allowed(self, place: int, said: np.ndarray) -> Any:
        """How far one result may be from what a formula says, a number or an array of the result's shape."""
        return self.slack if self.room is None else self.room.allowed(place, said)

    @cached_property
    def more(self) -> list[float]:
        """What each result may be off by besides."""
        return [0.0 if self.room else self.digits * largest_number(its) for its in self.results or ()]

    @property
    def size(self) -> int:
        """How many numbers the call has."""
        return sum(np.size(value) for value in self.arguments.values())

    def agreement(self, results: Results | None, follows: bool = False) -> Agreement | None:
        """Where each result that was observed is as it was; None where there is no such result.

        follows: whether all but the first are derivatives of it, which are compared as such.
        """
        if self.results is None or results is None or len(results) < len(self.results):
            return None
        pairs = list(zip(results, self.results, strict=False))
        if any(mine.shape != its.shape for mine, its in pairs):
            return None
        return tuple(
            (close if follows and place else same)(mine, its, self.allowed(place, mine) + self.more[place])
            for place, (mine, its) in enumerate(pairs)
        )

    def explained(self, results: Results | None, follows: bool = False) -> bool:
        """Whether the results are those observed, or there are none, as was observed."""
        if self.results is None or results is None:
            return self.results is None and fails(results)
        agreement = self.agreement(results, follows)
        return agreement is not None and all(part.all() for part in agreement)


def largest_number(array: np.ndarray) -> float:
    """The largest finite number of an array without its sign; 0, if it has none."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def digits(arguments: Arguments, roundoff: float) -> float:
    """By how much an answer may be off besides, relative to the largest of its numbers.

    The exponential of the difference of two logarithms is off by as many roundoffs as both of them are large.
    """
    logs = [
        largest_number(value) for name, value in arguments.items() if "log" in name and isinstance(value, np.ndarray)
    ]
    return max(DIGITS, (LAST_PLACES + 2 * min(max(logs, default=0.0), FURTHEST)) * roundoff)


def growth(call: Asked, right: Results | None) -> float:
    """How much larger the answers are than the right ones, and with them what rounding may do to them."""
    if call.answered.results is None or right is None:
        return 1.0
    largest = max(map(largest_number, call.answered.results), default=0.0)
    return float(np.clip(largest / max([1.0, *map(largest_number, right)]), 1.0, MAGNIFIED))


def fails(results: Results | None) -> bool:
    """Whether there is no usable answer: none at all, or a derivative that is no number."""
    return results is None or not all(np.isfinite(part).all() for part in results)


WATCH = Watch(PATIENCE)


def outcome(inner: Inner, arguments: Arguments, finite: int | None = None) -> Results | None:
    """The results, or None where the operation raises or answers something else than finite numbers.

    finite: how many of the results have to be finite numbers; all, unless it is given.
    """
    try:
        results = tuple(np.asarray(part, dtype=float) for part in WATCH.call(inner, arguments))
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
        self._looks = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """While it lasts, time passes, calls that take too long are interrupted, and nobody is warned."""
        if self._begun is not None:
            yield
            return
        self._begun = time.thread_time()
        try:
            quiet = warnings.catch_warnings(action="ignore"), np.errstate(all="ignore")
            with quiet[0], quiet[1], WATCH.running(), SEARCHING.running():
                yield
        finally:
            self.left -= time.thread_time() - self._begun
            self._begun = None

    @property
    def over(self) -> bool:
        """Whether none is left.  The clock is not looked at each time, since that takes as long as a call."""
        self._looks += 1
        if self._begun is not None and self._looks % AT_A_TIME == 0:
            now = time.thread_time()
            self.left, self._begun = self.left - (now - self._begun), now
        return self.left < 0


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
    functions: Sequence[FunctionType]
    """The reference's functions that the operation runs through."""
    deadline: Deadline
    base: tuple[Edit, ...] = ()
    """Edits that are made already."""
    in_arrays: Sequence[InArrays] = ()
    """The ways in which the operation is written in arrays that are right beside the choices in force."""
    _known: dict[tuple[Edit, int], Results | None] = field(default_factory=dict)
    """What came of single edits in the first call."""
    _rights: Sequence[Results | None] = ()
    """What is right in each call, or right but for the edits made already; asked for where it is not given."""
    _known_off: dict[int, Agreement] = field(default_factory=dict, init=False)
    """Where the results of a call are not the right ones, once that was looked at."""

    def __post_init__(self) -> None:
        """Ask what is right, if that is not known, and compare."""
        inner = stacked(self.base, self.right)
        with self.deadline.running():
            self._rights = self._rights or [outcome(inner, each.arguments) for each in self.observed]
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
        inner = as_inner(right, parameters)
        with deadline.running():
            named = [{**dict(zip(parameters, call.arguments, strict=True)), **chosen} for call in asked]
            rights = [outcome(inner, arguments) for arguments in named]
            observed = [
                Observed.of(operation, call, arguments, right, roundoff)
                for call, arguments, right in zip(asked, named, rights, strict=True)
            ]
            sample, names = _sample(named), names_in(named)
            run = functions_run(inner, [call.arguments for call in observed[:12]])
            edits = [
                *edits_of(operation, sample, names, _telling(rights, observed)),
                *_measured(operation, rights, observed),
                *source_edits(run),
            ]
            in_arrays = InArrays.all_of(operation, named)
        conditions = [*of_a_call(operation, sample, names), *of_places(operation, sample)]
        search = cls(
            operation, inner, observed, sorted(edits, key=lambda edit: edit.cost),
            sorted(conditions, key=lambda condition: condition.cost), run, deadline, _rights=rights,
        )  # fmt: skip
        return replace(search, in_arrays=[form for form in in_arrays if search.agrees(form.inner)])

    def agrees(self, inner: Inner) -> bool:
        """Whether another form of the operation has the right results, or the first of them, but for a few calls."""
        with self.deadline.running():
            right = [(i, right) for i, right in enumerate(self._rights) if right is not None]
            same = [self._alike(i, right, outcome(inner, self.observed[i].arguments)) for i, right in right]
        return bool(right) and sum(same) >= AGREEING * len(same)

    def _alike(self, i: int, right: Results, results: Results | None) -> bool:
        """Whether results are the right ones of a call, as far as there are as many."""
        call = self.observed[i]
        known = replace(call, results=right[: len(results)] if results else right)
        return known.explained(results)

    def holds(self, explanation: Explanation) -> bool:
        """Whether an explanation holds on all that was observed."""
        inner = explanation.around(self.right)
        with self.deadline.running():
            return all(self._explains(inner, i, explanation.follows) for i in range(len(self.observed)))

    def beside(self, edit: Edit) -> "Repair":
        """The same search once an edit is made."""
        return replace(self, base=(*self.base, edit), _known={}, _rights=())

    def together_with(self, other: "Repair") -> "Repair":
        """The same search among the calls of both."""
        return replace(self, observed=[*self.observed, *other.observed], _rights=[*self._rights, *other._rights])

    @cached_property
    def first(self) -> int | None:
        """The smallest call that is answered wrong, with numbers."""
        return next((i for i in self.wrong if self.observed[i].results is not None), None)

    def changed(self, edit: Edit) -> Inner:
        """The operation with this edit, besides those made already."""
        return stacked((*self.base, edit), self.right)

    def single(self) -> list[Explanation]:
        """The single edits that explain all that was observed, or that do where something is so; the plainest first."""
        return self._single

    @cached_property
    def _single(self) -> list[Explanation]:
        with self.deadline.running():
            found = list(self._followed_in_arrays()) or self._singles()
            for form in self.in_arrays:
                found = found or list(self._by_arrays(form))
            if not found and self._may_follow:
                found = list(self._following(self.of_the_value.single()))
        explained = [Explanation((*self.base, edit)) for edit in found]
        return sorted(explained, key=lambda explanation: explanation.cost)

    def _followed_in_arrays(self) -> Iterator[Edit]:
        """A change in arrays that the derivatives follow, where there are too many of the reference to try them first.

        Nothing if an edit of arguments or results explains all, or the value is right.
        """
        if len(self.edits) < MANY or not self._may_follow or not self.of_the_value.wrong:
            return
        if not replace(self, edits=[edit for edit in self.edits if edit.stage != SOURCE])._singles():
            changed = [edit for form in self.in_arrays for edit in self.of_the_value._by_arrays(form)]
            yield from self._following([Explanation((edit,)) for edit in changed])

    def _beside_failures(self) -> list[Explanation]:
        """Where some calls fail and others are answered wrong: that the ones fail, and what explains the others."""
        for edit in self._failures():
            if found := self.beside(edit).single():
                return found
        return []

    def _singles(self) -> list[Edit]:
        """The single edits that explain all that was observed; none that is further from plain than one before it."""
        if not self.wrong:
            return []
        if self.first is None:
            return list(self._failing())
        found = self._moving_all()
        if found:
            return found
        for edit in self._acting:
            if found and edit.cost > min(one.cost for one in found):
                break
            if self._seen.may_matter(edit) and self._mends(edit, self.first):
                found += self._narrowed(edit)
        return found

    @cached_property
    def _seen(self) -> Seen:
        """What the expressions of the reference are in the first call."""
        assert self.first is not None
        return Seen(stacked(self.base, self.right), self.observed[self.first].arguments)

    @cached_property
    def _acting(self) -> list[Edit]:
        """The edits that may change what comes of the first call: those of source that it runs through, and others."""
        assert self.first is not None
        lines = lines_run(stacked(self.base, self.right), self.observed[self.first].arguments)
        return [edit for edit in self.edits if all(change.is_in(lines) for change in edit.changes)]

    # The same operation, written in arrays.

    def _by_arrays(self, form: InArrays) -> Iterator[Edit]:
        """The plainest changes of the operation as it is written in arrays that explain all that was observed."""
        if self.first is None or any(edit.stage == SOURCE for edit in self.base):
            return
        derived = has_derivatives(form.operation) and len(self.operation.results) > 1
        if derived and (self.base or self.of_the_value.wrong):
            return  # the search for the value comes first
        best = None
        arguments = self.observed[self.first].arguments
        seen = Seen(form.inner, arguments)
        for edit in form.acting(arguments):
            if self.deadline.over or (best is not None and edit.cost > best):
                return
            if not seen.may_matter(edit):
                continue
            if derived and not self._has_the_value(form.value(edit), self.first):
                continue
            whole = replace(form, operation=self.operation).whole(edit)
            if self._mends(whole, self.first):
                for found in self._narrowed(whole):
                    best = edit.cost
                    yield found

    def _by_array_formulas(self, r: int) -> Iterator[Edit]:
        """Formulas of two terms in the place of expressions of an operation that is written in arrays."""
        for form in self.in_arrays:
            inner = lambda arguments, form=form: form.inner(arguments)[r : r + 1]  # noqa: E731
            search = replace(self, right=inner, functions=form.functions, in_arrays=(), _known={}, _rights=())
            for edit in substituted(search):
                yield replace(form, operation=self.operation).whole(edit)

    def _has_the_value(self, inner: Inner, i: int) -> bool:
        """Whether the first result of a call is as observed."""
        call = self.observed[i]
        assert call.results is not None
        return replace(call, results=call.results[:1]).explained(outcome(inner, call.arguments))

    # Another formula in the place of an expression.

    def _by_formulas(self) -> Iterator[Edit]:
        """Another formula in the place of one expression of the reference, of the names that are known there."""
        assert self.first is not None
        wrong = [r for r in range(len(self.operation.results)) if any(
            self._off(i)[r].any() for i in self.wrong[:20] if self.observed[i].results is not None)]  # fmt: skip
        for r in wrong[:2]:
            part = self._of_result(r)
            for edit in chain(of_the_result(self, r), sought(part), substituted(part), part._by_array_formulas(r)):
                if self._mends(edit, self.first) and (found := list(self._narrowed(edit))):
                    yield from found
                    return
                if found := self._following_it(part, edit) if r == 0 else []:
                    yield from found
                    return

    def _following_it(self, of_the_value: "Repair", edit: Edit) -> list[Edit]:
        """The edit and its derivatives, where it explains the value."""
        inner = of_the_value.changed(edit)
        explained = self._may_follow and all(of_the_value._explains(inner, i) for i in of_the_value.wrong)
        return list(self._following([Explanation((edit,))])) if explained else []

    def _of_result(self, r: int) -> "Repair":
        """The search for what explains one of the results."""
        name, axes = list(self.operation.results.items())[r]
        observed = [replace(call, results=call.results and call.results[r : r + 1]) for call in self.observed]
        return replace(
            self, operation=replace(self.operation, results={name: axes}), observed=observed,
            right=lambda arguments: self.right(arguments)[r : r + 1], _known={},
            _rights=[right and right[r : r + 1] for right in self._rights],
        )  # fmt: skip

    # Derivatives that follow a changed value, or the right one with something held fixed.

    @property
    def _may_follow(self) -> bool:
        """Whether all but the first result are derivatives of it, so that there may be such a mistake."""
        return self.first is not None and not self.base and has_derivatives(self.operation)

    @cached_property
    def of_the_value(self) -> "Repair":
        """The search for what explains the first result."""
        name, axes = next(iter(self.operation.results.items()))
        observed = [replace(call, results=call.results and call.results[:1]) for call in self.observed]
        return replace(self, operation=replace(self.operation, results={name: axes}), observed=observed)

    def _following(self, explanations: Sequence[Explanation]) -> Iterator[Edit]:
        """The value changed as explained, and its derivatives; the right value, if nothing is wrong with it."""
        value = self.of_the_value
        if value.wrong:
            for explanation in explanations:
                for held in self._held:
                    edit = self._derived(explanation.edits, held, f"{explanation.words}, and the derivatives followed")
                    if self._mends(edit, self.first):
                        yield from self._narrowed(edit)
            return
        held = self._held[0]
        models = [self._derived((), (*held, stop), stop.words) for stop in stops(self.functions) if stop not in held]
        for edit in models:
            if self.deadline.over:
                return
            if self._mends(edit, self.first) and (found := list(self._narrowed(edit))):
                yield from found
                return

    def _moving_all(self) -> list[Edit]:
        """The right value, differentiated through what is to be held fixed."""
        if not self._may_follow or self.of_the_value.wrong or not self._held[0]:
            return []
        held = " and ".join(change.held() for stop in self._held[0] for change in stop.changes)
        edit = self._derived((), (), f"{held} were not held fixed, and differentiated too")
        return list(self._narrowed(edit)) if self._mends(edit, self.first) else []

    def _derived(self, edits: Sequence[Edit], held: Sequence[Edit], words: str) -> Edit:
        cost = 0.2 + sum(edit.cost for edit in edits) + (0 if edits else 3.0)
        return differentiated(self.operation, lambda inner: stacked([*edits, *held], inner), words, cost)

    @cached_property
    def _held(self) -> list[tuple[Edit, ...]]:
        """What has to be held fixed so that the derivatives of the right value are the right ones, and nothing."""
        calls = [i for i, right in enumerate(self._rights) if right is not None and right[1].size > 1][:HELD]
        for held in [(), *((stop,) for stop in stops(self.functions))]:
            inner = self._derived((), held, "").around(self.right)
            if all(self._is_right(outcome(inner, self.observed[i].arguments, 1), i) for i in calls):
                return [held, *([()] if held else [])]
            if self.deadline.over:
                break
        return [()]

    def _is_right(self, results: Results | None, i: int) -> bool:
        right = replace(self.observed[i], results=self._rights[i])
        return right.explained(results, follows=True)

    def _failing(self) -> Iterator[Edit]:
        """Where all that is wrong are calls without a usable answer: that it fails, and in which calls."""
        yield from self._failing_in(self.wrong)

    def _failing_in(self, failing: Sequence[int]) -> Iterator[Edit]:
        said = list(dict.fromkeys(self.observed[i].failure for i in failing))
        what = f"{said[0]}{', and the like' if len(said) > 1 else ''}"
        if len(failing) == len(self.observed):
            yield Edit(f"{what} in every call", 1, lambda inner: _fail, FAILURE)
            return
        holding = [(condition, self._where_so(condition)) for condition in self.conditions if not condition.axes]
        wanted = frozenset(failing)
        for condition, so in holding:
            if so == wanted:
                words = f"{what} where {condition.words}"
                yield Edit(words, 1 + condition.cost, _failing_where(condition), FAILURE)
                return
        wider = [(condition, so) for condition, so in holding if so > wanted and len(wanted) >= 2 * TELLING]
        for (one, of_one), (other, of_other) in combinations(wider, 2):
            if of_one & of_other == wanted:
                words = f"{what} where {one.words} and {other.words}"
                yield Edit(words, 1.5 + one.cost + other.cost, _failing_where(one, other), FAILURE)
                return
        wider = [(condition, so) for condition, so in wider if len(so) < len(self.observed)][:WIDE]
        for (one, of_one), (other, of_other), (third, of_third) in combinations(wider, 3):
            if of_one & of_other & of_third == wanted:
                words = f"{what} where {one.words}, {other.words} and {third.words}"
                cost = 2 + one.cost + other.cost + third.cost
                yield Edit(words, cost, _failing_where(one, other, third), FAILURE)
                return
        yield from self._failing_at_an_expression(what, wanted)

    def _failing_at_an_expression(self, what: str, failing: frozenset[int]) -> Iterator[Edit]:
        """That what fails are the calls in which one expression is computed."""
        order = [*(i for i in self._by_size if i in failing)][:1] + [i for i in self._by_size if i not in failing]
        order += [i for i in self._by_size if i in failing]
        inner = stacked(self.base, self.right)
        forms = [(inner, self.functions), *((form.inner, form.functions) for form in self.in_arrays)]
        for asked, functions in forms:
            lines = lines_run(asked, self.observed[order[0]].arguments)
            for probe in probes(functions):
                if self.deadline.over:
                    return
                if not probe.is_in(lines):
                    continue
                edit = _first_of_all(probe.failing(what, 2.5), asked) if asked is not inner else probe.failing(what, 2)
                changed = edit.around(inner)
                if all(fails(outcome(changed, self.observed[i].arguments)) is (i in failing) for i in order):
                    yield edit
                    return

    @cached_property
    def _by_size(self) -> list[int]:
        """All calls, the smallest first."""
        return sorted(range(len(self.observed)), key=lambda i: self.observed[i].size)

    def _where_so(self, condition: Condition) -> frozenset[int]:
        """The calls in which a condition holds."""
        return frozenset(i for i in range(len(self.observed)) if self._holds(condition, i))

    def _outcome(self, edit: Edit, i: int) -> Results | None:
        """What comes of a call with this edit, besides those made already."""
        key = (edit, id(self.observed[i].arguments))
        if i != self.first:
            return outcome(self.changed(edit), self.observed[i].arguments, 1 if edit.follows else None)
        if key not in self._known:
            self._known[key] = outcome(self.changed(edit), self.observed[i].arguments, 1 if edit.follows else None)
        return self._known[key]

    def _mends(self, edit: Edit, i: int | None) -> bool:
        """Whether the edit makes right what is wrong in an answer, whatever it does to the rest of it."""
        if self.deadline.over or i is None:
            return False
        return self.mended(i, self._outcome(edit, i), edit.follows)

    def mended(self, i: int, results: Results | None, follows: bool = False) -> bool:
        """Whether these results of a call are as observed where the right ones are not."""
        after = self.observed[i].agreement(results, follows)
        if after is None:
            return False
        return all(not (off & ~agrees).any() for off, agrees in zip(self._off(i), after, strict=True))

    def _off(self, i: int) -> Agreement:
        """Where the results of a call are not the right ones."""
        if i not in self._known_off:
            call = self.observed[i]
            assert call.results is not None
            nowhere = tuple(np.zeros(part.shape, bool) for part in call.results)
            agreement = call.agreement(self._rights[i]) or nowhere
            self._known_off[i] = tuple(~part for part in agreement)
        return self._known_off[i]

    def _narrowed(self, edit: Edit) -> Iterator[Edit]:
        """The edit, for all or only for some results, calls or places, such that it explains all that was observed."""
        inner, spoilt = self.changed(edit), []
        calls = [*self.wrong, *(i for i in range(len(self.observed)) if i not in set(self.wrong))]
        wrong = set(self.wrong)
        pieces: list[tuple[int, Agreement | None, Agreement | None]] = []
        for i in calls:
            call = self.observed[i]
            results = outcome(inner, call.arguments, 1 if edit.follows else None)
            if call.results is None:
                if not call.explained(results):
                    return
                pieces.append((i, None, None))
                continue
            after, off = call.agreement(results, edit.follows), self._off(i)
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
                lambda: f"{edit.words}, in {listed} alone", edit.cost + 0.5, _mixed(edit, _of_results(wrong)), RESULT,
                follows=edit.follows,
            )  # fmt: skip

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
        """What explains all that was observed and takes longer to find: other formulas, and pairs of edits."""
        return self._double

    @cached_property
    def _double(self) -> list[Explanation]:
        with self.deadline.running():
            found = self._beside_failures() if self.first is not None else []
            if not found and self.first is not None and not self.base:
                found = [Explanation((edit,)) for edit in self._by_formulas()]
            if not found and self.first is not None:
                found = self._doubles()
            if not found and self._may_follow and self.of_the_value.wrong:
                found = [Explanation((edit,)) for edit in self._following(self.of_the_value.double())]
        return sorted(found, key=lambda explanation: explanation.cost)

    def _doubles(self) -> list[Explanation]:
        if found := self._around_results():
            return found
        for edit in self._half_way():
            if self.deadline.over:
                break
            if found := self.beside(edit).single():
                return found
        return []

    def _failures(self) -> Iterator[Edit]:
        """That some of the calls fail, where others are answered wrong; too few of them tell nothing."""
        failing = [i for i in self.wrong if self.observed[i].results is None]
        if len(failing) >= TELLING:
            yield from self._failing_in(failing)

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

    def _explains(self, inner: Inner, i: int, follows: bool = False) -> bool:
        call = self.observed[i]
        return call.explained(outcome(inner, call.arguments, 1 if follows else None), follows)

    def _around_results(self) -> list[Explanation]:
        """Pairs of which both show in every wrong answer, one of them an edit of the results."""
        assert self.first is not None
        call = self.observed[self.first]
        assert call.results is not None
        outer = [edit for edit in self.edits if edit.stage == RESULT]
        result = next(r for r, off in enumerate(self._off(self.first)) if off.any())
        place = int(np.flatnonzero(self._off(self.first)[result])[0])
        wanted = float(call.results[result].flat[place])
        near = float(np.max(call.allowed(result, call.results[result]))) + 1e-13 * abs(wanted)
        found: list[Explanation] = []
        met: set[bytes] = set()
        for edit in self._acting:
            if self.deadline.over or found:
                break
            results = self._outcome(edit, self.first)
            if results is None or (digest := b"".join(part.tobytes() for part in results)) in met:
                continue
            met.add(digest)
            for around in outer:
                if around is edit:
                    continue
                try:
                    mixed = around.around(lambda _, results=results: results)(call.arguments)
                    if not abs(float(mixed[result].flat[place]) - wanted) <= near:
                        continue
                except Exception:
                    continue
                pair = (*self.base, edit, around)
                inner = stacked(pair, self.right)
                if all(self._explains(inner, i) for i in [*self.wrong, *self._sane]):
                    found.append(Explanation(pair))
                    break
        return found


SAMPLES = 40
"""Of how many numbers of a result a formula is sought."""


def of_the_result(repair: Repair, r: int) -> Iterator[Edit]:
    """Formulas in the right result, the arguments of its shape, the scalars and counts that give the observed one."""
    axes = list(repair.operation.results.values())[r]
    answered = [i for i in repair.wrong if repair.observed[i].results is not None]
    names: list[str] | None = None
    seen: list[dict[str, float]] = []
    wanted: list[float] = []
    for i in [*answered[:SAMPLES], *repair._sane[:4]]:
        call, right = repair.observed[i], repair._rights[i]
        if right is None or call.results is None or right[r].shape != call.results[r].shape or len(wanted) > SAMPLES:
            continue
        known = _beside_the_result(repair.operation, axes, right[r], call.arguments)
        names = list(known) if names is None else [name for name in names if name in known]
        for place in range(right[r].size):
            seen.append({name: float(np.broadcast_to(x, right[r].shape).flat[place]) for name, x in known.items()})
            wanted.append(float(call.results[r].flat[place]))
    numbers = {name: np.array([one[name] for one in seen]) for name in names or ()}
    name = list(repair.operation.results)[r]
    finite = {name: x for name, x in numbers.items() if np.isfinite(x).all()}
    for text, cost in formulas(finite, np.array(wanted), over=lambda: repair.deadline.over):
        code = compile(text, "formula", "eval")

        def change(result: np.ndarray, arguments: Arguments, code: Any = code) -> Any:
            return eval(code, {"abs": np.abs}, _beside_the_result(repair.operation, axes, result, arguments))

        what = f"`{name}`" if name else "the result"
        yield Edit(f"{what} were `{_brief(text)}`", 2 + cost, of_one_result(r, change), RESULT)


def _brief(text: str) -> str:
    return ast.unparse(ast.parse(text, mode="eval"))


def _beside_the_result(
    operation: Operation, axes: tuple[str, ...], result: np.ndarray, arguments: Arguments
) -> dict[str, Any]:
    """By their names: what is right, the arguments that have a number for each of its numbers, scalars, and counts."""
    found: dict[str, Any] = {"result": result}
    for name, value in arguments.items():
        if is_flag(value) and axes and operation.axes.get(name) == axes and name not in MASKS:
            found[name] = value.astype(float)
        alike = is_number(value) and axes and operation.axes.get(name) == axes
        if alike or (isinstance(value, float | int) and not isinstance(value, bool)):
            found[name] = value
    for mask in MASKS:
        if mask in arguments:
            found["count"] = max(int(np.count_nonzero(arguments[mask])), 1)
            if axes[:1] == ("B",) and operation.axes.get(mask) == ("B", "T"):
                of_rows = np.count_nonzero(arguments[mask], axis=1)
                found["count_of_the_row"] = of_rows[:, None] if len(axes) == 2 else of_rows
    tables = [value for value in arguments.values() if isinstance(value, np.ndarray) and value.ndim == 2]
    return found | ({"rows": len(tables[0]), "columns": tables[0].shape[1]} if tables else {})


SOLVED = 9
"""In how many calls the value is sought that an expression would have to have."""

STEPS = 12
"""How many steps are made to find it."""


def sought(repair: Repair) -> Iterator[Edit]:
    """Other formulas for expressions of the reference, such that an operation's one result is as observed.

    For each expression that a small call evaluates once, the value is found that it would have to have; and a formula
    is looked for that has these values in several calls.
    """
    calls = [i for i in repair.wrong if repair.observed[i].results is not None]
    sane = [i for i in repair._sane if repair.observed[i].results is not None]
    calls = [*calls[:SOLVED], *sorted(sane, key=lambda i: repair.observed[i].size)[:3]]
    lines = lines_run(repair.right, repair.observed[calls[0]].arguments)
    for probe in probes(repair.functions):
        if repair.deadline.over:
            return
        if probe.is_in(lines):
            try:
                found = [solved for i in calls if (solved := _solved(probe, repair, i))]
            except (SyntaxError, ValueError):
                continue
            yield from _fitting(repair, probe, found)


LONG_FORMULA = 2.0
"""How far from plain a formula of two terms is, beside the change itself."""


def substituted(repair: Repair) -> Iterator[Edit]:
    """Formulas of two terms in the place of expressions of the reference, however often a call evaluates them.

    Of formulas that have the same numbers, one is tried.
    """
    if repair.first is None:
        return
    call = repair.observed[repair.first]
    answered = [i for i in repair.wrong[:20] if repair.observed[i].results is not None]
    lines = lines_run(repair.right, call.arguments)
    for probe in probes(repair.functions):
        if not probe.is_in(lines):
            continue
        try:
            for text, by in _of_two_terms(probe, repair, answered[-1]):
                if repair.deadline.over:
                    return
                with probe.running(by):
                    results = outcome(repair.right, call.arguments)
                if repair.mended(repair.first, results):
                    yield probe.instead(text, LONG_FORMULA)
        except (SyntaxError, ValueError):
            continue


def _of_two_terms(probe: Probe, repair: Repair, i: int) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Formulas in what is seen from an expression, each as text and as a function of the expression and of all that."""
    seen: list[tuple[Any, ...]] = []

    def look(*values: Any) -> Any:
        seen.append(values)
        return values[0]

    with probe.running(look):
        outcome(repair.right, repair.observed[i].arguments)
    terms = [(text, _in_a_row([one[place] for one in seen])) for place, text in enumerate([probe.text, *probe.texts])]
    numbers = {place: (text, values) for place, (text, values) in enumerate(terms) if values is not None}
    if not seen or 0 not in numbers:
        return
    own = numbers[0][1]
    met = {own.tobytes()}
    numbers = {place: pair for place, pair in numbers.items() if pair[1].shape == own.shape}
    for (x, (left, first)), (y, (right, second)) in product(numbers.items(), repeat=2):
        for sign, by in JOINED.items():
            values = np.asarray(by(first, second))
            if (digest := values.tobytes()) in met or not np.isfinite(values).any():
                continue
            met.add(digest)
            yield f"({left}) {sign} ({right})", lambda *seen, x=x, y=y, by=by: by(seen[x], seen[y])


def _in_a_row(values: Sequence[Any]) -> np.ndarray | None:
    """All numbers of several values, or None if some are none."""
    rows = []
    for value in values:
        array = value if isinstance(value, np.ndarray) else np.asarray(value) if np.isscalar(value) else None
        if array is None or array.dtype.kind not in "fiub":
            return None
        rows.append(array.astype(float).ravel())
    return np.concatenate(rows) if rows else None


@dataclass(frozen=True)
class _Solved:
    own: float
    wanted: float
    seen: tuple[Any, ...]


def _solved(probe: Probe, repair: Repair, i: int) -> _Solved | None:
    """The value that an expression has in a call, the one that it would have to have, and what is seen from there."""
    call = repair.observed[i]
    assert call.results is not None
    seen: list[tuple[Any, ...]] = []

    def look(*values: Any) -> Any:
        seen.append(values)
        return values[0]

    with probe.running(look):
        right = outcome(repair.right, call.arguments)
    if len(seen) != 1 or right is None or (own := _number(seen[0][0])) is None:
        return None
    off = np.flatnonzero(~same(right[0], call.results[0], call.allowed(0, right[0])))
    place = int(off[0]) if off.size else 0
    if not right[0].size:
        return None
    shape = np.shape(seen[0][0])

    def asked(value: float) -> Results | None:
        if repair.deadline.over:
            return None
        with probe.running(lambda *_: np.full(shape, value) if shape else value):
            return outcome(repair.right, call.arguments)

    x, y, target = own, float(right[0].flat[place]), float(call.results[0].flat[place])
    x2 = x + 1e-4 * max(1.0, abs(x))
    for _ in range(STEPS):
        results = asked(x2)
        if results is None:
            return None
        y2 = float(results[0].flat[place])
        if abs(y2 - target) <= 1e-13 * max(1.0, abs(target)):
            if not all(part.all() for part in call.agreement(results) or ()):
                return None
            return _Solved(own, x2, seen[0][1:])
        if y2 == y:
            return None
        x, y, x2 = x2, y2, x2 + (target - y2) * (x2 - x) / (y2 - y)
        if not np.isfinite(x2):
            return None
    near = call.agreement(results)
    return _Solved(own, x, seen[0][1:]) if near is not None and all(part.all() for part in near) else None


def _number(value: Any) -> float | None:
    """A single number, or the only one of an array; a flag is 0 or 1."""
    if isinstance(value, str) or value is None or np.size(value) != 1:
        return None
    try:
        return float(np.asarray(value, dtype=float).flat[0])
    except (TypeError, ValueError):
        return None


def _fitting(repair: Repair, probe: Probe, found: Sequence[_Solved]) -> Iterator[Edit]:
    """The formulas that have the values wanted, everywhere or where a condition holds."""
    if len(found) < FEWEST:
        return
    changed = [abs(one.wanted - one.own) > 1e-9 * max(1.0, abs(one.own)) for one in found]
    if not any(changed):
        return
    for text, cost in _formulas(repair, probe, found):
        yield probe.instead(text, cost)
    if all(changed):
        return
    some = [one for one, is_changed in zip(found, changed, strict=True) if is_changed]
    for place, text in enumerate(probe.texts):
        flags = [one.seen[place] for one in found]
        if all(isinstance(flag, bool | np.bool_) for flag in flags):
            for where, holds in ((text, list(map(bool, flags))), (f"not ({text})", [not flag for flag in flags])):
                if holds == changed:
                    for formula, cost in _formulas(repair, probe, some):
                        yield probe.instead(formula, cost + 1, where)


def _formulas(repair: Repair, probe: Probe, found: Sequence[_Solved]) -> list[tuple[str, float]]:
    known = {}
    for place, text in enumerate(probe.texts):
        numbers = [_number(one.seen[place]) for one in found]
        if not any(number is None for number in numbers):
            known[text] = np.array(numbers, dtype=float)
    return formulas(known, np.array([one.wanted for one in found]), over=lambda: repair.deadline.over)


def _where(edit: Edit, condition: Condition, cost: float, take: Callable[[Arguments, Results], Sequence[Any]]) -> Edit:
    """The edit where a condition holds, take being where that is in each result."""
    return Edit(
        lambda: f"{edit.words} where {condition.words}", edit.cost + cost + condition.cost, _mixed(edit, take), RESULT,
        follows=edit.follows,
    )  # fmt: skip


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


def _first_of_all(edit: Edit, asked: Inner) -> Edit:
    """The edit of another form of the operation, which is asked before the operation itself and does nothing else."""

    def around(inner: Inner) -> Inner:
        other = edit.around(asked)

        def changed(arguments: Arguments) -> Results:
            other(arguments)
            return inner(arguments)

        return changed

    return replace(edit, around=around, changes=())


def _failing_where(*conditions: Condition) -> Callable[[Inner], Inner]:
    def around(inner: Inner) -> Inner:
        def changed(arguments: Arguments) -> Results:
            return _fail(arguments) if all(one.holds(arguments) for one in conditions) else inner(arguments)

        return changed

    return around


def _failure(call: Asked, operation: Operation) -> str:
    """How a call without a usable answer ended."""
    if call.answered.modified:
        return f"writes to {' and '.join(f'`{name}`' for name in call.answered.modified)}"
    said = re.sub(rf"^{operation.name}(\[(\w+)\])? ", r"", call.answered.said)
    return said or "gave no usable answer"


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


def _measured(operation: Operation, rights: Sequence[Results | None], observed: Sequence[Observed]) -> Iterator[Edit]:
    """Edits by the number that a result is too large by, or is to be multiplied with, wherever it is wrong."""
    compared = [(call, call.results, right) for call, right in zip(observed, rights, strict=True)]
    for r, name in enumerate(operation.results):
        ratios, differences = [], []
        per: dict[str, tuple[Callable[[Arguments], Any], list[tuple[float, float]]]] = {
            words: (count, []) for words, count in counts_of(operation, observed[0].arguments)
        }
        for call, its, mine in compared:
            if its is None or mine is None or its[r].shape != mine[r].shape:
                continue
            off = ~same(mine[r], its[r], call.allowed(r, mine[r])) & np.isfinite(its[r]) & np.isfinite(mine[r])
            rooms = np.broadcast_to(call.allowed(r, its[r]), off.shape) + 1e-15 * np.abs(its[r])
            for answer, number, room in zip(
                its[r][off].tolist(), mine[r][off].tolist(), rooms[off].tolist(), strict=True
            ):
                differences.append((room, answer - number))
                for count, of in per.values():
                    n = float(np.min(count(call.arguments)))
                    of.append((room / n, (answer - number) / n) if n else (0.0, np.nan))
                if number:
                    ratios.append((room / abs(number), answer / number))
        what = f"`{name}`" if name else "the result"
        if (factor := _in_common(ratios)) is not None:
            yield Edit(f"{what} were times {factor:.15g}", 1.6, of_one_result(r, lambda x, _, k=factor: k * x), RESULT)
        if (more := _in_common(differences)) is not None:
            yield Edit(f"{what} were {more:.15g} more", 1.6, of_one_result(r, lambda x, _, k=more: x + k), RESULT)
            continue
        for words, (count, of) in per.items():
            if (more := _in_common(of)) is not None:
                said = f"{what} were {'' if more == 1 else f'{more:.15g} times '}{words} more"
                change = of_one_result(r, lambda x, a, k=more, count=count: x + k * count(a))
                yield Edit(said, 1.7, change, RESULT)


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


def _telling(rights: Sequence[Results | None], observed: Sequence[Observed]) -> list[float]:
    """Numbers that are an answer in several calls in which they are wrong."""
    counts: dict[float, int] = {}
    for call, right in zip(observed, rights, strict=True):
        if call.results is None:
            continue
        agreement = call.agreement(right)
        if agreement is None:
            continue
        numbers = {float(x) for part, fine in zip(call.results, agreement, strict=True) for x in part[~fine].ravel()}
        for number in numbers - {0.0}:
            counts[number] = counts.get(number, 0) + 1
    return sorted((number for number, count in counts.items() if count >= TELLING), key=lambda x: -counts[x])[:6]
