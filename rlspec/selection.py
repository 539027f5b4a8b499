"""Which properties are meant, by the names of operations, chapters and clauses; nothing heavy is imported here."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from .options import Refused
from .spec.clauses import clauses
from .spec.operations import OPERATIONS

BINDING = ("MUST", "LEMMA", "SHOULD")
"""The levels of the clauses that a candidate can keep or break."""


@dataclass(frozen=True)
class Only:
    """What is to be checked: properties that ask one of the operations or speak of one of the clauses; else all.

    Where operations are named and no clauses, no others are asked: a clause that compares one with another is untested.
    """

    operations: frozenset[str] = frozenset()
    clauses: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing is named, so that all is meant."""
        return not self.operations and not self.clauses

    def allows(self, operation: str) -> bool:
        """Whether the operation may be asked."""
        return not self.operations or bool(self.clauses) or operation in self.operations

    def means(self, clauses: Iterable[str], operations: Iterable[str]) -> bool:
        """Whether a property is meant that speaks of these clauses and asks these operations."""
        named = not self.operations.isdisjoint(operations) or not self.clauses.isdisjoint(clauses)
        return named or self.everything


EVERYTHING = Only()
"""All that there is."""


def only_asked(names: Collection[str]) -> Only:
    """What operations, chapters (by their letters or names) and clauses are named.  Raises Refused for another name."""
    operations = OPERATIONS.keys() & set(names)
    others = [name for name in names if name not in operations]
    called = clauses_called()
    if unknown := [name for name in others if name not in called]:
        hint = near(unknown[0], [*OPERATIONS, *called])
        raise Refused(f"there is no operation, chapter or clause {', '.join(unknown)}{hint}")
    return Only(frozenset(operations), frozenset(id for name in others for id in called[name]))


def clauses_called() -> dict[str, frozenset[str]]:
    """The ids of the clauses, by their own ids and by the letters and the names of their chapters."""
    called: dict[str, set[str]] = {}
    for clause in clauses().values():
        for name in (clause.id, clause.prefix, clause.chapter):
            called.setdefault(name, set()).add(clause.id)
    return {name: frozenset(ids) for name, ids in called.items()}


def near(name: str, names: Iterable[str]) -> str:
    """A question whether one of the names is meant by another that is nearly the same; nothing, if none is."""
    alike = get_close_matches(name, [*names], n=1)
    return f"; did you mean {alike[0]}?" if alike else ""
