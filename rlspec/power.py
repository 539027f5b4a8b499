"""What the properties catch: running them outside pytest, on a candidate that has one operation wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any

from hypothesis.errors import Flaky, Unsatisfiable

from . import properties
from .candidate import Candidate, load
from .conventions import infer
from .faults import Fault
from .properties.checking import Violation
from .properties.questions import PLAIN_QUESTIONS


@dataclass(frozen=True)
class Property:
    """A property as something to call: its name, its clauses, and the test function."""

    name: str
    clauses: tuple[str, ...]
    chapter: str
    check: Any
    theorem: bool

    def violated_by(self, candidate: Candidate) -> bool:
        """Whether the candidate violates the property."""
        candidate.start_trial()
        try:
            self.check(candidate=candidate)
        except (Violation, Flaky):
            return True
        except Unsatisfiable:
            return candidate.unusable is not None and not candidate.answers
        return False


def every_property() -> Iterator[Property]:
    """The properties of all chapters; one that is parametrized by operation comes once for each."""
    for info in iter_modules(properties.__path__):
        if info.name.startswith("test_"):
            module = import_module(f"{properties.__name__}.{info.name}")
            chapter = info.name.removeprefix("test_")
            for name, test in vars(module).items():
                if clauses := getattr(test, "clauses", None):
                    theorem = "candidate" not in test.hypothesis.inner_test.__code__.co_varnames
                    for suffix, arguments in _cases(test):
                        yield Property(name + suffix, clauses, chapter, partial(test, **arguments), theorem)


def _cases(test: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    if not marks:
        yield "", {}
    for mark in marks:
        name, values = mark.args
        for value in values:
            yield f"[{value}]", {name: value}


def faulty(fault: Fault) -> Candidate:
    """The reference with one operation replaced by the fault."""
    honest = vars(load("reference"))
    module = SimpleNamespace(**{**honest, fault.operation: fault.implementation, "NAME": fault.slug})
    candidate = Candidate(module, fault.slug)
    if fault.operation in PLAIN_QUESTIONS:
        candidate.inferred |= infer(candidate, fault.operation)
    return candidate
