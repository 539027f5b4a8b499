"""The chapters' clauses, read from their Markdown.

A clause is a heading ``### ADV-3 Title`` followed by its normative paragraph.  The first of the words MUST,
SHOULD, MAY, LEMMA and THEOREM in that paragraph is the clause's level.  MUST, SHOULD and MAY are those of RFC 2119.  A
LEMMA binds like a MUST and says nothing new: ``LEMMA of GRP-1 and GRP-7:`` names the clauses that it follows from, so
that the MUST clauses by themselves define an operation.  A THEOREM binds no implementation.
A MAY clause lists its choices in a table whose rows begin ``| `operation.convention` | `choice` |``.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CHAPTERS = (
    "operations",
    "decision_process",
    "returns",
    "advantages",
    "policy_gradient",
    "language",
    "kl",
    "ppo",
    "group",
    "preference",
)

_HEADING = re.compile(r"^### (?P<id>[A-Z]+-\d+) (?P<title>.+)$")
_LEVEL = re.compile(r"\b(MUST|SHOULD|MAY|LEMMA|THEOREM)\b")
_LEMMA = re.compile(r"^LEMMA of (?P<premises>[^:]+):")
_ID = re.compile(r"\b[A-Z]{2,5}-[1-9]\d*\b")
_CHOICE = re.compile(r"^\| `(?P<convention>\w+(?:\.\w+)?)` \| `(?P<choice>[^`]+)` \|")


@dataclass(frozen=True)
class Clause:
    """One numbered sentence of the specification, and where it stands."""

    id: str
    title: str
    level: str
    text: str
    chapter: str
    line: int
    choices: tuple[tuple[str, str], ...] = ()
    """What a MAY clause leaves open: (convention, choice) pairs, each convention's default first."""
    premises: tuple[str, ...] = ()
    """The ids of the clauses that a LEMMA follows from."""

    @property
    def place(self) -> str:
        """Where to read it, as ``spec/CHAPTER.md:LINE``."""
        return f"spec/{self.chapter}.md:{self.line}"

    @property
    def prefix(self) -> str:
        """The chapter's letters in the id, such as ``ADV``."""
        return self.id.partition("-")[0]


def parse(markdown: str, chapter: str) -> list[Clause]:
    """The clauses of one chapter's text, in order.

    Raises ValueError, with the place, for a clause whose first paragraph has no level, and for a LEMMA of nothing.
    """
    lines = markdown.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("#")]
    return [
        _clause(heading, lines[start + 1 : end], chapter, start + 1)
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
        if (heading := _HEADING.match(lines[start]))
    ]


def _clause(heading: re.Match[str], body: list[str], chapter: str, line: int) -> Clause:
    text = " ".join("\n".join(body).strip().split("\n\n")[0].split())
    level = _LEVEL.search(text)
    if level is None:
        raise ValueError(f"spec/{chapter}.md:{line}: the first paragraph of {heading['id']} says none of "
                         "MUST, SHOULD, MAY, LEMMA, THEOREM")  # fmt: skip
    lemma = _LEMMA.match(text)
    if (level[0] == "LEMMA") != bool(lemma):
        raise ValueError(f"spec/{chapter}.md:{line}: {heading['id']} is a lemma if it begins with LEMMA, the "
                         "clauses that it follows from, and a colon: LEMMA of GRP-1 and GRP-7: ...")  # fmt: skip
    premises = tuple(_ID.findall(lemma["premises"])) if lemma else ()
    choices = tuple((row["convention"], row["choice"]) for row in map(_CHOICE.match, body) if row)
    return Clause(heading["id"], heading["title"], level[0], text, chapter, line, choices, premises)


@cache
def clauses() -> dict[str, Clause]:
    """Every clause of every chapter by its id, in the order of the chapters.

    Raises ValueError for an id that is used twice.
    """
    found: dict[str, Clause] = {}
    for chapter in CHAPTERS:
        text = Path(__file__).with_name(f"{chapter}.md").read_text(encoding="utf-8")
        for clause in parse(text, chapter):
            if clause.id in found:
                raise ValueError(f"{clause.place}: {clause.id} is already used at {found[clause.id].place}")
            found[clause.id] = clause
    return found


@cache
def conventions() -> dict[str, tuple[str, ...]]:
    """The declared freedoms: each convention of a MAY clause with its choices, the default first."""
    found: dict[str, tuple[str, ...]] = {}
    for clause in clauses().values():
        for convention, choice in clause.choices:
            found[convention] = (*found.get(convention, ()), choice)
    return found


def conventions_of(operation: str) -> dict[str, tuple[str, ...]]:
    """The conventions of one operation, without those that all share: each with its choices, the default first."""
    return {name: choices for name, choices in conventions().items() if name.startswith(f"{operation}.")}
