"""The candidate on trial: finding it, asking it, and noticing what is wrong with an answer before any law is."""

import difflib
import dis
import math
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import reject

from .faults import museum
from .limits import COMPILERS, FIRST, HANGS, UNLIMITED, WAITING, Limits, Overdue, Stopped, Unanswered, within
from .loading import NotLoaded, file_of, one_line, place, said_by
from .notes import Note
from .properties.checking import DOUBLE, ROUNDOFFS, SINGLE, Answer, Call, Violation, show
from .selection import EVERYTHING, Only
from .spec.clauses import choices, chosen, clauses, conventions, conventions_of
from .spec.operations import OPERATIONS, Operation
from .wire import Adapter, Misbehaved

WHERE_RIGHT = " where right"
"""What an inferred precision ends with if some answers are not right at all."""

LONG = 0.01
"""Seconds that a call lasts at least, if the processor time of the next one is to be measured."""


MOST_SHOWN = 1000
"""Numbers of an unusable answer that are shown at most."""


class Declined(Exception):
    """A call that the candidate declines."""


@dataclass(frozen=True)
class Told:
    """A call, and the results by their names, or the error that stands for them."""

    call: Call
    values: dict[str, np.ndarray] = field(default_factory=dict)
    modified: tuple[str, ...] = ()
    """Names of the arguments that were written to."""
    error: Declined | Violation | None = None


class Candidate:
    """A module of operations, asked with care: ``candidate.gae(...)`` gives an Answer or raises what is wrong.

    An operation that the module lacks skips the property; one that raises NotImplementedError declines that input.
    A property that has used up its time, or whose call does not return, is stopped.
    Raises NotLoaded for a CONVENTIONS or KNOWN_FAILURES that says nothing.
    """

    def __init__(
        self, module: Any, name: str, limits: Limits = UNLIMITED, note: Note | None = None, only: Only = EVERYTHING
    ) -> None:
        self.module = module
        self.only = only
        self.limits = limits
        self.note = note
        self.lost: dict[str, list[Violation]] = {}
        self.name = one_line(str(getattr(module, "NAME", name)))
        self.declared = _known(_declaration(module, "CONVENTIONS"))
        self.inferred: dict[str, str] = {}
        self.alike: dict[str, tuple[str, ...]] = {}
        """Choices that explain the answers as well as those inferred, by convention."""
        self.unexplained: dict[str, tuple[Any, ...]] = {}
        """A question whose answer the choices do not explain, by operation; only of those that no choices explain."""
        self.broken: dict[str, Violation] = {}
        """Of each operation that answered none of the questions about its choices, one that shows it."""
        self.not_asked: dict[str, Violation | str] = {}
        """What a first look found wrong with an operation, which is not asked any more; or why else it is not."""
        self._narrow: set[str] = set()
        self._wide: set[str] = set()
        """The operations that returned an array of float32 although none was given, and those that returned others."""
        self.asked_before: set[str] = set()
        """Operations whose first call is over."""
        self.supposed: dict[str, str] = {}
        """Choices that are in force for the moment, where none is declared."""
        self.last_excuse: dict[str, str] = {}
        """The choices by which an answer was last explained that those in force do not explain."""
        self._told_again: list[Told] | None = None
        self.known_failures = _declaration(module, "KNOWN_FAILURES")
        _require_known(self.known_failures)
        self._processor_time = module.processor_time if isinstance(module, Adapter) else time.process_time
        self.start_trial()

    def about(self) -> dict[str, Any]:
        """What is known of the candidate: its name, its conventions, and the failures that it admits.

        A convention is left out if each of its choices explains the answers: they say nothing of it.
        """
        undeclared = {
            name: choice
            for name, choice in self.inferred.items()
            if not self._declares(name) and not self._any_choice_explains(name)
        }
        return {
            "name": self.name,
            "declared": self.declared,
            "inferred": undeclared,
            "alike": {name: list(others) for name, others in self.alike.items() if name in undeclared},
            "known_failures": self.known_failures,
        }

    def start_trial(self) -> None:
        """Forget what the last property left behind."""
        self.computed = self.lasted = 0.0
        """Seconds of processor time that the calls took, and seconds that passed meanwhile."""
        self.last_call = 0.0
        self.insists = False
        """Whether an operation is asked although it has answered nothing at all."""
        self.answers = self.declined = self.unanswered = 0
        self.unusable: Violation | None = None
        self.reason = ""
        self.begin_example()

    def look(self, operation: str) -> None:
        """Note an operation that answered none of the calls since the trial began, and declined not all of them."""
        errors = [told.error for told in self.calls if isinstance(told.error, Violation)]
        if errors and not any(told.values for told in self.calls):
            self.broken[operation] = min(errors, key=lambda error: len(str(error.call)))

    def tally(self) -> dict[str, int]:
        """How many calls of the last property were answered, declined, or left without a usable answer."""
        return {"answers": self.answers, "declined": self.declined, "unanswered": self.unanswered}

    def begin_example(self) -> None:
        """Forget the calls of the last example, and which conventions it looked at."""
        self.calls: list[Told] = []
        """The calls of the example, and what came of each."""
        self.consulted: set[str] = set()
        """The conventions that the example looked at."""

    @contextmanager
    def supposing(self, chosen: dict[str, str]) -> Iterator[None]:
        """While it lasts, these choices are in force, and calls of the example have the answers that they had."""
        before = self.calls, self.tally(), self.unusable
        self.supposed, self._told_again = chosen, list(self.calls)
        try:
            yield
        finally:
            self.supposed, self._told_again = {}, None
            self.calls, tally, self.unusable = before
            self.answers, self.declined, self.unanswered = tally.values()

    def leaves_open(self, name: str) -> bool:
        """Whether the choice of a convention, or the precision, is neither declared nor known from the answers."""
        operation = name.partition(".")[0]
        if self._declares(name) or (name.endswith(".precision") and name in self.inferred):
            return False  # a precision is known from those answers that are right
        known = self.explained(operation) and f"{operation}.precision" in self.inferred
        return not known or name in self.alike

    def _any_choice_explains(self, name: str) -> bool:
        """Whether the choice inferred, and those that explain the answers as well, are all that there are."""
        found = [self.inferred[name], *self.alike.get(name, ())]
        return len(found) > 1 and all(any(map(choice.fits, found)) for choice in choices()[name])

    def _declares(self, name: str) -> bool:
        return bool({name, name.rpartition(".")[2]} & self.declared.keys())

    def provides(self, operation: str) -> bool:
        """Whether the candidate has the operation."""
        return self._function(operation) is not None

    def _function(self, operation: str) -> Any:
        return getattr(self.module, operation, None) if self.only.allows(operation) else None

    def convention(self, name: str) -> str:
        """The choice that the candidate declares, or else was found to have made, or else the default.

        name: as in a MAY clause, such as ``policy_gradient.discounting``.
        """
        self.consulted.add(name)
        return self.declared.get(name) or self.supposed.get(name) or self.inferred.get(name) or conventions()[name][0]

    def conventions(self, operation: str) -> dict[str, str]:
        """The choices in force for an operation, by convention's name."""
        return {name: self.convention(name) for name in conventions_of(operation)}

    def choices_made(self, operation: str) -> str:
        """What is known of the choices in force: declared, found, at odds with what was found, or not to be found."""
        in_force = self.conventions(operation)
        if in_force and not self.explained(operation):
            return f"no combination of choices explains all answers; with {_listed(in_force)}, which explain the most"
        found = {name: self.inferred[name] for name in in_force if name in self.inferred}
        if at_odds := {name: choice for name, choice in found.items() if in_force[name] != choice}:
            said = {name: in_force[name] for name in at_odds}
            return f"{_listed(said)} was declared, but the answers are those of {_listed(at_odds)}"
        return f"with {_listed(in_force)}" if in_force else ""

    def precision(self, operation: str) -> str:
        """``float64``, ``float32`` or ``bfloat16``: declared for this operation or for all, or else found out."""
        own = f"{operation}.precision"
        self.consulted.add(own)
        found = self.supposed.get(own) or self.inferred.get(own, "float64").removesuffix(WHERE_RIGHT)
        return self.declared.get(own) or self.declared.get("precision") or found

    def answers_in_float32(self, operation: str) -> bool:
        """Whether arrays of float32 came back whenever none was given, which hold no other precision."""
        return operation in self._narrow - self._wide

    def explained(self, operation: str) -> bool:
        """Whether some choices were found that explain all answers, if only to float32, or none were looked for."""
        return operation not in self.unexplained

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in OPERATIONS:
            return partial(self.ask, OPERATIONS[name])
        raise AttributeError(f"no operation is called {name!r}")

    def ask(self, operation: Operation, *arguments: Any) -> Any:
        """The candidate's answer to one call: an Answer, or a tuple of them where there are several results.

        A call without a usable answer is left out of the property that asks, and charged to the one that demands.
        """
        if lost := self._given_up(operation):
            raise Stopped(f"{lost[0]} and is not asked any more")
        try:
            return self.demand(operation, *arguments)
        except Violation as unusable:
            self.unusable = self.unusable or unusable
            self.unanswered += 1
            reject()

    def demand(self, operation: Operation, *arguments: Any, as_stored: bool = False) -> Any:
        """The candidate's answer to one call: an Answer, or a tuple of them where there are several results.

        as_stored: whether arrays are passed as they lie in memory.  Otherwise each is a copy that nobody need refuse:
        contiguous, and free to be written to.
        Raises Violation if there is no usable one.  A call that the candidate declines is not the property's.
        """
        if not as_stored:
            arguments = tuple(np.array(a, order="C") if isinstance(a, np.ndarray) else a for a in arguments)
        try:
            return self.answer(operation, *arguments)
        except Declined:
            reject()

    def announce(self, operation: Operation, several: Sequence[tuple[Any, ...]]) -> None:
        """Say which calls come next, in their order; to a program beyond a pipe they are sent in one message."""
        if isinstance(self.module, Adapter) and self.provides(operation.name):
            self.module.announce([(operation, arguments) for arguments in several])

    def answer(self, operation: Operation, *arguments: Any) -> Any:
        """The candidate's answer to one call, inside of a property or not.

        Raises Declined, or Violation if there is no usable answer: the candidate raised, or returned something else
        than real numbers of the stated shape, finite for finite arguments.
        Raises Stopped if the property's time is over, and, with the violation as its charge, if the call did not
        return or earlier ones have not.
        """
        implementation = self._function(operation.name)
        if implementation is None:
            self.reason = f"{self.name} has no {operation.name}"
            pytest.skip(self.reason)
        if found := self.not_asked.get(operation.name):
            raise Unanswered(str(found), found) if isinstance(found, Violation) else Stopped(found)
        if (broken := self.broken.get(operation.name)) and not self.insists:
            raise Unanswered(str(broken), broken)
        if self.computed > self.limits.budget or self.lasted > WAITING * self.limits.budget:
            raise Stopped(f"stopped after {self.limits.budget:g} s, {self.answers} answers")
        if lost := self._given_up(operation):
            raise Stopped(str(lost[0]), lost[0])
        told = self._known(operation, arguments) or self._told(implementation, operation, arguments)
        if told.error:
            raise told.error
        judged = (self._roundoff(operation, arguments), told.modified)
        answers = tuple(Answer(told.call, value, *judged, name) for name, value in told.values.items())
        return answers if len(answers) > 1 else answers[0]

    def _known(self, operation: Operation, arguments: tuple[Any, ...]) -> Told | None:
        """What came of the same call when the example was run before."""
        if self._told_again is None:
            return None
        asked = pickle.dumps((operation.name, *map(copy, arguments)))
        for index, told in enumerate(self._told_again):
            if pickle.dumps((told.call.operation.name, *told.call.arguments)) == asked:
                return self._told_again.pop(index)
        return None

    def _told(self, implementation: Callable[..., Any], operation: Operation, arguments: tuple[Any, ...]) -> Told:
        """What comes of one call of the candidate."""
        before = [copy(argument) for argument in arguments]
        call = Call(operation, tuple(before))
        try:
            returned = self._returned(implementation, call, arguments)
            values = _results(returned, call)
        except (Declined, Violation) as error:
            told = Told(call, error=error)
        else:
            self.answers += 1
            if not _any_is_float32(arguments):
                (self._narrow if _any_is_float32(returned) else self._wide).add(operation.name)
            told = Told(call, values, _restored(operation, arguments, before))
        self.calls.append(told)
        return told

    def _returned(self, implementation: Callable[..., Any], call: Call, arguments: tuple[Any, ...]) -> Any:
        """What the candidate returns; raises like ``answer``."""
        operation = call.operation
        patience = self.patience(operation.name)
        # To ask for the processor time takes as long as a short call, whose time is that on the clock, more or less.
        clock = self._processor_time if self.last_call > LONG else time.monotonic
        begun, computed = time.monotonic(), clock()
        try:
            with (
                self.note.asking(call, patience) if self.note else nullcontext(),
                warnings.catch_warnings(action="ignore"),  # the verdict is the same under every warnings filter
            ):
                return within(patience, implementation, *arguments)
        except NotImplementedError as declined:
            if not _on_purpose(declined):
                raise Violation(
                    f"{operation.name} raised {said_by(declined)}{self._place(declined)}", call
                ) from declined
            self.reason = f"{operation.name} declines: {said_by(declined)}"
            self.declined += 1
            raise Declined from declined
        except Overdue as said:
            raise self._lose(Violation(f"{operation.name} did not return within {patience:g} s{said}", call)) from None
        except Misbehaved as error:
            raise Violation(f"{operation.name} {error}", call) from error
        except KeyboardInterrupt:  # which may be the user's
            raise
        except BaseException as error:
            violation = Violation(f"{operation.name} raised {said_by(error)}{self._place(error)}", call)
            violation.by_adapter = file_of(error) == getattr(self.module, "__file__", None)
            raise violation from error
        finally:
            self.asked_before.add(operation.name)
            self.last_call = time.monotonic() - begun
            self.lasted += self.last_call
            self.computed += clock() - computed

    def patience(self, operation: str) -> float:
        """Seconds that the next call of an operation may last."""
        compiles = isinstance(self.module, Adapter) or any(name in sys.modules for name in COMPILERS)
        return self.limits.patience * (FIRST if compiles and operation not in self.asked_before else 1)

    def _place(self, error: BaseException) -> str:
        return place(error, getattr(self.module, "__file__", None))

    def _given_up(self, operation: Operation) -> list[Violation]:
        """The calls of an operation that were lost, if there are too many to ask it again."""
        lost = self.lost.get(operation.name, [])
        return lost if len(lost) >= HANGS else []

    def _lose(self, hung: Violation) -> Stopped:
        """Remember a call that did not return."""
        self.lost.setdefault(hung.call.operation.name, []).append(hung)
        self.unanswered += 1
        return Stopped(str(hung), hung)

    def _roundoff(self, operation: Operation, arguments: tuple[Any, ...]) -> Fraction:
        """The coarsest precision of the operations that the example asked, since a law may compare their answers."""
        asked = {operation.name, *(told.call.operation.name for told in self.calls)}
        narrow = SINGLE if _any_is_float32(arguments) else DOUBLE
        return max(narrow, *(ROUNDOFFS[self.precision(name)] for name in asked))


def _any_is_float32(values: Any) -> bool:
    """Whether an array, or one of several, is of float32: NumPy's or PyTorch's."""
    several = values if isinstance(values, tuple | list) else (values,)
    kinds = [value.dtype for value in several if hasattr(value, "dtype")]
    return any(kind == np.float32 if isinstance(kind, np.dtype) else str(kind) == "torch.float32" for kind in kinds)


def _on_purpose(error: BaseException) -> bool:
    """Whether a ``raise`` raised it, and not a library's compiled code, as torch's does for types that it cannot do."""
    raised = error.__traceback__
    while raised and raised.tb_next:
        raised = raised.tb_next
    return raised is not None and dis.opname[raised.tb_frame.f_code.co_code[raised.tb_lasti]] == "RAISE_VARARGS"


def _listed(choices: dict[str, str]) -> str:
    return ", ".join(f"{name} = {choice}" for name, choice in choices.items())


def _declaration(module: Any, name: str) -> dict[str, str]:
    """What a module says under CONVENTIONS or KNOWN_FAILURES."""
    said = getattr(module, name, {})
    if not isinstance(said, dict) or not all(isinstance(text, str) for pair in said.items() for text in pair):
        raise NotLoaded(f"{name} is {said!r}; it has to be a dict from strings to strings")
    return {key: one_line(text) for key, text in said.items()}


def _known(declared: dict[str, str]) -> dict[str, str]:
    """The choices declared, as they are printed.  Refuse conventions and choices that there are not."""
    names = [*conventions(), *(f"{operation}.precision" for operation in OPERATIONS)]
    found = {}
    for name, choice in declared.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise NotLoaded(
                f"CONVENTIONS: there is no convention {name!r}{f'; did you mean {near[0]!r}?' if near else ''}"
            )
        try:
            found[name] = chosen(name, choice)
        except ValueError as error:
            raise NotLoaded(f"CONVENTIONS: {error}") from error
    return found


def _require_known(known_failures: dict[str, str]) -> None:
    """Refuse what is no clause, no operation and no fault of the museum, and what has no reason."""
    if unsaid := [name for name, reason in known_failures.items() if not reason]:
        raise NotLoaded(f"KNOWN_FAILURES: {unsaid[0]!r} has neither a reason nor a link; write one there")
    for name in {*known_failures} - {*clauses(), *OPERATIONS}:
        slugs = {fault.slug for fault in museum().values()}
        if name not in slugs:
            near = difflib.get_close_matches(name, {*clauses(), *OPERATIONS, *slugs}, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise NotLoaded(f"KNOWN_FAILURES: there is no clause, operation or known mistake {name!r}{hint}")


def _results(returned: Any, call: Call) -> dict[str, np.ndarray]:
    """What was returned, as arrays that laws can be checked on, by the results' names."""
    operation, shapes = call.operation, call.operation.result_shapes(call.arguments)
    if len(shapes) == 1:
        returned = (returned,)
    elif not isinstance(returned, tuple | list) or len(returned) != len(shapes):
        what = f"{len(returned)} results" if isinstance(returned, tuple | list) else f"a {type(returned).__name__}"
        wanted = f"a tuple of {' and '.join(shapes)} was expected"
        raise Violation(f"{operation.name} returned {what}; {wanted}", call, actual=returned)
    return {
        name: _numbers(part, name, shape, call) for (name, shape), part in zip(shapes.items(), returned, strict=True)
    }


def _numbers(returned: Any, name: str, shape: tuple[int, ...], call: Call) -> np.ndarray:
    """One result, as an array that laws can be checked on."""
    operation = call.operation

    def refuse(what: str) -> NoReturn:
        whose = f"{operation.name}[{name}]" if name else operation.name
        wanted = f"an array of shape {shape}" if shape else "a number"
        raise Violation(f"{whose} returned {what}; {wanted} was expected", call, actual=_in_short(returned))

    if returned is None:
        refuse("None")
    if _size(returned) > MOST_SHOWN and tuple(returned.shape) != shape:  # which to copy may take all memory there is
        refuse(f"shape {tuple(returned.shape)}")
    try:
        with warnings.catch_warnings(action="ignore"):
            value = np.array(returned)
    except Exception as error:
        refuse(f"a {type(returned).__name__} that NumPy cannot read ({said_by(error)})")
    if value.dtype.kind not in ("iufb" if name in operation.flags else "iuf"):
        refuse(f"numbers of type {value.dtype}, not real ones")
    if value.shape != shape:
        refuse(f"shape {value.shape}")
    if not np.isfinite(value).all() and all(np.isfinite(argument).all() for argument in _numeric(call.arguments)):
        spot = tuple(np.argwhere(~np.isfinite(value))[0].tolist())
        refuse(f"{show(value[spot])}{f' at {list(spot)}' if spot else ''} for finite arguments")
    return value.astype(np.float64 if value.dtype.kind == "f" else np.int64)  # what laws compute with it is not narrow


def _size(returned: Any) -> int:
    """How many numbers an array has; 0 for what is none."""
    shape = getattr(returned, "shape", None)
    return math.prod(shape) if isinstance(shape, tuple) else 0


def _in_short(returned: Any) -> Any:
    """What was returned, or how much that is."""
    return returned if _size(returned) <= MOST_SHOWN else f"{_size(returned):,} numbers"


def _numeric(arguments: tuple[Any, ...]) -> list[Any]:
    return [argument for argument in arguments if np.asarray(argument).dtype.kind in "biuf"]


def _restored(operation: Operation, arguments: tuple[Any, ...], before: list[Any]) -> tuple[str, ...]:
    """The names of the arguments that were written to, once they hold again what they held before."""
    modified = []
    for name, argument, kept in zip(operation.parameters, arguments, before, strict=True):
        if isinstance(argument, np.ndarray) and argument.tobytes() != kept.tobytes():
            argument[...] = kept
            modified.append(name)
    return tuple(modified)
