"""What a variant is, and where they are registered."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
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


def rough(**conventions: str) -> dict[str, Any]:
    """What a variant in bfloat16 says of itself: its conventions too, which cannot all be told from rough answers."""
    return {"admitted": ("OPS-4",), "conventions": {"precision": "bfloat16"} | conventions}


def variant(how: str, **fields: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a variant of the operation whose name it has."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        VARIANTS.append(Variant(function.__name__, how, function, **fields))
        return function

    return register


def in_bfloat16(implementation: Callable[..., Any]) -> Callable[..., Any]:
    """An implementation whose tensors NumPy has no type for, with its answers in one that it has."""

    @wraps(implementation)
    def operation(*arguments: Any) -> Any:
        answer = implementation(*arguments)
        return tuple(map(wide, answer)) if isinstance(answer, tuple) else wide(answer)

    def wide(part: Any) -> Any:
        return part.float() if hasattr(part, "float") else part

    return operation
