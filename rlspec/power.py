"""What the properties catch: running them outside pytest, on a candidate that has one operation wrong."""

from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, wraps
from importlib import import_module
from inspect import signature
from pkgutil import iter_modules
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import pytest
from hypothesis.errors import Unsatisfiable

from . import properties
from .candidate import Candidate
from .conventions import infer
from .drawing import same_everywhere, seed_by_name
from .faults import Fault
from .loading import load
from .properties.checking import Violation
from .properties.questions import PLAIN_QUESTIONS
from .reading import charitable
from .replay import replay
from .spec.operations import OPERATIONS


class _Found(BaseException):
    """A violation on its way out, past Hypothesis, which would first look for a smaller one."""

    def __init__(self, violation: Violation) -> None:
        super().__init__()
        self.violation = violation


@dataclass(frozen=True)
class Property:
    """A property as something to call: its test function, and the parameters of one of its cases."""

    function: str
    clauses: tuple[str, ...]
    chapter: str
    test: Any
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What pytest calls it: the function, and in brackets the case."""
        return named(self.function, self.parameters)

    @property
    def sentence(self) -> str:
        """What it says."""
        return self.function.removeprefix("test_").replace("_", " ")

    def asks(self, operation: str) -> bool:
        """Whether it asks a candidate for the operation."""
        return not self.theorem and operation in operations_asked(self.test, self.parameters)

    @property
    def theorem(self) -> bool:
        """Whether it is about the mathematics, and asks no candidate."""
        return asks_nobody(self.test)

    def violated_by(self, candidate: Candidate) -> bool:
        """Whether the candidate violates the property."""
        return self.violation_by(candidate) is not None

    def violation_by(self, candidate: Candidate, drawn: bool = False) -> Violation | None:
        """How the candidate violates the property; the first input that shows it will do.

        drawn: whether the inputs are drawn, as when they are explored, and not those of the corpus.
        """
        candidate.start_trial()
        seed_by_name(self.test, self.name)
        check = charitable(self.test)

        @wraps(check)
        def until_violated(*arguments: Any, **named: Any) -> None:
            try:
                check(*arguments, **named)
            except Violation as violation:
                raise _Found(violation) from violation

        try:
            with same_everywhere(), pytest.MonkeyPatch.context() as patched:
                patched.setattr(self.test.hypothesis, "inner_test", until_violated)
                arguments = {"candidate": candidate, **self.parameters}
                if drawn:
                    self.test(**arguments)
                else:
                    replay(self.test, self.name, arguments)
        except _Found as found:
            return found.violation
        except Unsatisfiable:
            return None if candidate.answers else candidate.unusable
        except pytest.skip.Exception:
            return None  # it asks for an operation that the candidate lacks
        return None


@cache
def _asked_by(function: FunctionType) -> Set[str]:
    return OPERATIONS.keys() & _names(function)


def operations_asked(test: Any, parameters: Mapping[str, Any]) -> Set[str]:
    """The operations that a property may ask for: that of its case, or those that its code and its helpers' name."""
    return OPERATIONS.keys() & parameters.values() or _asked_by(test.hypothesis.inner_test)


def _names(function: FunctionType) -> set[str]:
    """The names and the strings in the code of a function, and of those of its module that it calls."""
    names = set(_names_in(function.__code__))
    named = (function.__globals__.get(name) for name in names - {function.__name__})
    helpers = [of for of in named if isinstance(of, FunctionType) and of.__module__ == function.__module__]
    return names.union(*map(_names, helpers))


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
        elif isinstance(constant, str):
            yield constant.partition(".")[0]  # of a convention the operation


def every_property() -> Iterator[Property]:
    """The properties of all chapters; one that is parametrized by operation comes once for each."""
    for info in iter_modules(properties.__path__):
        if info.name.startswith("test_"):
            module = import_module(f"{properties.__name__}.{info.name}")
            chapter = info.name.removeprefix("test_")
            for name, test in vars(module).items():
                if clauses := getattr(test, "clauses", None):
                    for parameters in cases(test):
                        yield Property(name, clauses, chapter, test, parameters)


def cases(test: Any) -> list[dict[str, Any]]:
    """The parameters of each case of a test that has one parametrize mark; of one without, none."""
    return [{mark.args[0]: value} for mark in _parametrizing(test) for value in mark.args[1]] or [{}]


@contextmanager
def having_cases(test: Any, some: Iterable[Mapping[str, Any]]) -> Iterator[None]:
    """While it lasts, a test has some of its cases alone."""
    with pytest.MonkeyPatch.context() as patched:
        if marks := _parametrizing(test):
            [name] = {mark.args[0] for mark in marks}
            patched.setattr(test, "pytestmark", [pytest.mark.parametrize(name, [case[name] for case in some]).mark])
        yield


def _parametrizing(test: Any) -> list[pytest.Mark]:
    return [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]


def named(function: str, parameters: Mapping[str, Any]) -> str:
    """What pytest calls a case of a test."""
    case = "-".join(map(str, parameters.values()))
    return f"{function}[{case}]" if case else function


def asks_nobody(test: Any) -> bool:
    """Whether a property is about the mathematics, and asks no candidate."""
    return "candidate" not in signature(test.hypothesis.inner_test).parameters


def faulty(fault: Fault) -> Candidate:
    """The reference with one operation replaced by the fault."""
    honest = vars(load("reference"))
    module = SimpleNamespace(**{**honest, fault.operation: fault.implementation, "NAME": fault.slug})
    candidate = Candidate(module, fault.slug)
    if fault.operation in PLAIN_QUESTIONS:
        candidate.inferred |= infer(candidate, fault.operation)
    return candidate
