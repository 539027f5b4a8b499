"""How it goes wrong: published defects, re-created as small wrong implementations of the operations.

One module per chapter.  A fault is a function with an operation's name and signature; every other operation of the
faulty candidate is the reference's.  A fault that only changes what goes into an operation, or what comes out of it,
calls ``right.OPERATION`` in between.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import CodeType
from typing import Any

from rlspec.candidates import reference


@dataclass(frozen=True)
class Fault:
    """One wrong implementation of one operation, and what is known of it."""

    id: str
    slug: str
    clause: str
    seen: tuple[str, ...]
    effect: str
    implementation: Callable[..., Any]

    @property
    def operation(self) -> str:
        """The name of the operation that it gets wrong."""
        return self.implementation.__name__

    @property
    def wraps(self) -> bool:
        """Whether it only changes what goes into the right operation, or what comes out of it."""
        return "right" in _names_in(self.implementation.__code__)


def _names_in(code: CodeType) -> set[str]:
    """The names in a function's code, and in that of the functions and comprehensions inside it."""
    inside = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names_in, inside))


class Right:
    """The right operations, as attributes: the reference's, or what stands in for one while faults are put together."""

    def __init__(self) -> None:
        self._stand_ins: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return self._stand_ins.get(operation) or getattr(reference, operation)

    @contextmanager
    def _replaced(self, **stand_ins: Callable[..., Any]) -> Iterator[None]:
        before, self._stand_ins = self._stand_ins, stand_ins
        try:
            yield
        finally:
            self._stand_ins = before

    def layered(self, operation: str, outer: Callable[..., Any], *inner: Callable[..., Any]) -> Callable[..., Any]:
        """The outer implementation, for which ``right.OPERATION`` is the first inner one, for which it is the next."""
        within = {operation: self.layered(operation, *inner)} if inner else {}

        def answer(*arguments: Any) -> Any:
            with self._replaced(**within):
                return outer(*arguments)

        return answer


right = Right()

FAULTS: dict[str, Fault] = {}


def fault(
    *, id: str, slug: str, clause: str, effect: str, seen: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as a fault.

    id: permanent, never reused; one that begins with M- was made up here, and may have been seen in the wild since.
    clause: the clause that it violates.  seen: where it was published.  effect: one sentence on what it does.
    Raises ValueError for an id or slug that is taken.
    """

    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        taken = {name for known in FAULTS.values() for name in (known.id, known.slug)}
        for name in (id, slug):
            if name in taken:
                raise ValueError(f"two faults are called {name!r}")
        FAULTS[id] = Fault(id, slug, clause, seen, effect, implementation)
        return implementation

    return register


def museum() -> dict[str, Fault]:
    """Every fault of every chapter, by its id."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return FAULTS
