"""The properties on a candidate that is already in this process: what ``rlspec.check`` and ``rlspec.testing`` run."""

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from os import PathLike, fspath
from types import SimpleNamespace
from typing import Any

import pytest

from .candidate import Candidate
from .drawing import same_everywhere, seed_by_name
from .judging import Judge, learn
from .limits import Limits, Stopped, kept
from .loading import load
from .power import Property, every_property, operations_asked
from .reading import charitable
from .replay import replay
from .run_record import Record
from .selection import BINDING, clauses_called, near
from .spec.clauses import clauses
from .spec.operations import OPERATIONS
from .verdicts import USABLE, Outcome, Verdict, judge

SAID = ("NAME", "CONVENTIONS", "KNOWN_FAILURES", "__file__")
"""What a candidate says of itself besides its operations."""


class Suite:
    """Some of the properties on one candidate; each is run when its outcome is asked for, and once.

    what: a module or an object with functions that are called like operations, a mapping from their names, a single
    function of such a name, or a text as ``rlspec check`` takes it.  operations: those that are to be asked; all, if
    none is named.  clauses: the clauses or chapters, by their letters, that are to be checked; all, if none is named.
    known: a record whose failures are asked first.
    Raises ValueError for names that there are not, and NotLoaded for a candidate that cannot be had.
    """

    def __init__(
        self,
        what: Any,
        operations: Iterable[str],
        clauses: Iterable[str],
        limits: Limits,
        known: Record | None = None,
    ) -> None:
        module = having(as_module(what), listed(operations))
        self.candidate = Candidate(module, named(what), limits)
        self.clauses = selected(clauses)
        self.properties = [one for one in properties() if self.clauses.intersection(one.clauses)]
        self._judge = Judge(self.candidate)
        self._recorded = known
        self._outcomes: dict[str, Outcome] = {}
        self._known: set[str] = set()

    def outcome(self, one: Property) -> Outcome:
        """What a property finds."""
        if one.name not in self._outcomes:
            self._outcomes[one.name] = self._found(one)
        return self._outcomes[one.name]

    def outcomes(self) -> list[Outcome]:
        """What all of the properties find."""
        return [self.outcome(one) for one in self.properties]

    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on every clause."""
        return judge(self.outcomes(), self.candidate.known_failures, theorems=False)

    def of_clause(self, id: str) -> Verdict:
        """The verdict on one clause.  One that other clauses may speak for is judged beside all of them."""
        outcomes = [self.outcome(one) for one in self.properties if id in one.clauses]
        if id.startswith("OPS-") and any(one.status == "violated" for one in outcomes):
            outcomes = self.outcomes()
        return judge(outcomes, self.candidate.known_failures, theorems=False)[id]

    def _found(self, one: Property) -> Outcome:
        asked = tuple(operations_asked(one.test, one.parameters))
        wanted = [name for name in asked if self.candidate.provides(name)]
        if not wanted:
            lacking = f"{self.candidate.name} has no {' and no '.join(sorted(asked))}"
            return Outcome(one.name, one.clauses, "absent", message=lacking, asked=asked)
        learn(self.candidate, {*wanted} - self._known)
        self._known.update(wanted)
        self.candidate.start_trial()
        self.candidate.insists = USABLE in one.clauses
        return self._judge.outcome(one.name, one.clauses, asked, True, self._error(one))

    def _error(self, one: Property) -> BaseException | None:
        """What ends the run of a property; None, if it holds."""
        seed_by_name(one.test, one.name)
        try:
            with same_everywhere(), kept(one.test, charitable(one.test)):
                known = self._recorded.shown_on(one.name) if self._recorded else []
                replay(one.test, one.name, {"candidate": self.candidate, **one.parameters}, known)
        except (Exception, Stopped, pytest.skip.Exception) as error:
            return error
        return None


@cache
def properties() -> tuple[Property, ...]:
    """All properties that ask a candidate."""
    return tuple(one for one in every_property() if not one.theorem)


def listed(names: Iterable[str]) -> tuple[str, ...]:
    """Names, one of which may stand alone."""
    return (names,) if isinstance(names, str) else tuple(names)


def selected(wanted: Iterable[str]) -> frozenset[str]:
    """The ids of the clauses that are meant: by their ids, or by their chapter's letters; all, if there are none.

    Raises ValueError for what is neither.
    """
    called = clauses_called()
    wanted = listed(wanted)
    if unknown := [name for name in wanted if name not in called]:
        raise ValueError(f"there is no chapter or clause {', '.join(unknown)}{near(unknown[0], called)}")
    meant = {id for name in wanted or called for id in called[name]}
    return frozenset(id for id in meant if clauses()[id].level in BINDING)


def spoken_of(operations: Collection[str]) -> frozenset[str]:
    """The ids of the clauses whose properties ask one of the operations; of all, if none is named.

    Raises ValueError for an operation that there is not.
    """
    for name in operations:
        _require(name)
    asking = [one for one in properties() if not operations or any(map(one.asks, operations))]
    return frozenset(id for one in asking for id in one.clauses)


def as_module(what: Any) -> Any:
    """What a candidate's operations are attributes of.  Raises ValueError for what has none, and NotLoaded."""
    if isinstance(what, str | PathLike):
        return load(fspath(what))
    if isinstance(what, Mapping):
        for name in {*what} - {*SAID}:
            _require(name)
        return SimpleNamespace(**what)
    if any(callable(getattr(what, name, None)) for name in OPERATIONS):
        return what
    name = getattr(what, "__name__", "")
    if callable(what) and name in OPERATIONS:
        return SimpleNamespace(**{name: what})
    if callable(what) and name:
        raise ValueError(
            f"no operation is called {name}{near(name, OPERATIONS)}; "
            f"rlspec.check_function({name}, OPERATION) says which one it is"
        )
    raise ValueError(f"{what!r} has no function that is called like an operation, such as gae or ppo_loss")


def named(what: Any) -> str:
    """What a candidate is called that does not say so itself."""
    if isinstance(what, str | PathLike):
        return fspath(what)
    if isinstance(what, Mapping):
        return ", ".join(name for name in what if name in OPERATIONS) or "nothing"
    return str(getattr(what, "__name__", type(what).__name__))


def having(module: Any, operations: Collection[str]) -> Any:
    """The module, with no other operations than these, if any are named.  Raises ValueError for one that it lacks."""
    for name in operations:
        _require(name)
        if getattr(module, name, None) is None:
            raise ValueError(f"there is no {name} to be checked in {getattr(module, 'NAME', named(module))}")
    if not operations:
        return module
    said = {name: getattr(module, name) for name in (*SAID, *operations) if hasattr(module, name)}
    return SimpleNamespace(**said)


def _require(name: str) -> None:
    if name not in OPERATIONS:
        raise ValueError(f"there is no operation {name!r}{near(str(name), OPERATIONS)}")
