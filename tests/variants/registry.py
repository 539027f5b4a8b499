"""What a variant is, and where they are registered."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from rlspec.candidate import Candidate
from rlspec.conventions import infer


@dataclass(frozen=True)
class Variant:
    """One operation, how it is written, whether every test run asks it, and what it says of itself."""

    operation: str
    how: str
    implementation: Callable[..., Any]
    quick: bool = False
    admitted: tuple[str, ...] = ()
    """Clauses that it violates."""
    conventions: dict[str, str] = field(default_factory=dict)
    """What it declares; the rest is inferred."""

    def candidate(self) -> Candidate:
        """The variant on trial."""
        module = SimpleNamespace(**{self.operation: self.implementation}, CONVENTIONS=self.conventions)
        candidate = Candidate(module, str(self))
        candidate.inferred |= infer(candidate, self.operation)
        return candidate

    def __str__(self) -> str:
        return f"{self.operation} {self.how}"


VARIANTS: list[Variant] = []


def variant(how: str, **fields: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a variant of the operation whose name it has."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        VARIANTS.append(Variant(function.__name__, how, function, **fields))
        return function

    return register
