"""The chapters' clauses, read from their Markdown.

A clause is a heading ``### ADV-3 Title`` followed by its normative paragraph.  The first of the words MUST,
SHOULD, MAY, LEMMA and THEOREM in that paragraph is the clause's level.  MUST, SHOULD and MAY are those of RFC 2119.  A
LEMMA binds like a MUST and says nothing new: ``LEMMA of GRP-1 and GRP-7:`` names the clauses that it follows from, so
that the MUST clauses by themselves define an operation.  A THEOREM binds no implementation.
A MAY clause lists its choices in a table whose rows begin ``| `operation.convention` | `choice` |``, the default first.
A choice may have a number that is left open, as a capital letter with its range (spec/choices.py):
``| `group_advantages.eps` | `std + E` for E from 1e-12 to 1e-3 |``.  A row may be about several operations:
``| `{ppo_loss, value_loss}.reduction` | `sum` |``.
A meaning that ends ``; `empty_rows` and `count` say nothing`` names conventions that make no difference beside it.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .choices import Choice, decimal, letter_of, read
from .formulas import plain

CHAPTERS = (
    "operations",
    "decision_process",
    "returns",
    "advantages",
    "targets",
    "statistics",
    "replay",
    "agents",
    "policy_gradient",
    "critics",
    "distributions",
    "language",
    "turns",
    "reductions",
    "surrogate",
    "ppo",
    "kl",
    "correction",
    "distillation",
    "group",
    "overlong",
    "preference",
)

_HEADING = re.compile(r"^### (?P<id>[A-Z]+-\d+) (?P<title>.+)$")
_LEVEL = re.compile(r"\b(MUST|SHOULD|MAY|LEMMA|THEOREM)\b")
_LEMMA = re.compile(r"^LEMMA of (?P<premises>[^:]+):")
_ID = re.compile(r"\b[A-Z]{2,5}-[1-9]\d*\b")
_CHOICE = re.compile(
    r"^\| `(?:(?P<operations>\w+|\{[\w, ]+\})\.)?(?P<convention>\w+)` "
    r"\| `(?P<choice>[^`]+)`(?: for (?P<letter>[A-Z]) from (?P<low>\S+) to (?P<high>\S+))? \|"
    r".*?(?:; (?P<idle>`\w+`(?: and `\w+`)*) says? nothing)? \|$"
)
_NAME = re.compile(r"`(\w+)`")


@dataclass(frozen=True)
class Clause:
    """One numbered sentence of the specification, and where it stands."""

    id: str
    title: str
    """The heading without the id, with its formulas in plain letters."""
    level: str
    text: str
    """The normative paragraph on one line, with its formulas in plain letters."""
    chapter: str
    line: int
    choices: tuple[Choice, ...] = ()
    """What a MAY clause leaves open, each convention's default first."""
    premises: tuple[str, ...] = ()
    """The ids of the clauses that a LEMMA follows from."""
    title_in_tex: str = ""
    """The title as it is written, with its formulas as TeX."""

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

    Raises ValueError, with the place, for a clause whose first paragraph has no level, for a LEMMA of nothing, and for
    a choice with a letter and no range, or a range that is none.
    """
    lines = markdown.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("#")]
    return [
        _clause(heading, lines[start + 1 : end], chapter, start + 1)
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
        if (heading := _HEADING.match(lines[start]))
    ]


def _clause(heading: re.Match[str], body: list[str], chapter: str, line: int) -> Clause:
    text = plain(" ".join("\n".join(body).strip().split("\n\n")[0].split()))
    level = _LEVEL.search(text)
    if level is None:
        raise ValueError(f"spec/{chapter}.md:{line}: the first paragraph of {heading['id']} says none of "
                         "MUST, SHOULD, MAY, LEMMA, THEOREM")  # fmt: skip
    lemma = _LEMMA.match(text)
    if (level[0] == "LEMMA") != bool(lemma):
        raise ValueError(f"spec/{chapter}.md:{line}: {heading['id']} is a lemma if it begins with LEMMA, the "
                         "clauses that it follows from, and a colon: LEMMA of GRP-1 and GRP-7: ...")  # fmt: skip
    premises = tuple(_ID.findall(lemma["premises"])) if lemma else ()
    try:
        choices = tuple(choice for row in map(_CHOICE.match, body) if row for choice in _choices(row))
    except ValueError as error:
        raise ValueError(f"spec/{chapter}.md:{line}: {heading['id']}: {error}") from error
    title = heading["title"]
    return Clause(heading["id"], plain(title), level[0], text, chapter, line, choices, premises, title)


def _choices(row: re.Match[str]) -> list[Choice]:
    """What one row of a table says, of each operation that it names."""
    text, low, high = row["choice"], read(row["low"] or "0"), read(row["high"] or "0")
    if letter_of(text) != (row["letter"] or ""):
        raise ValueError(f"the row of `{text}` has to say from where to where its letter may go, and no other letter")
    if low is None or high is None or (row["letter"] and not 0 < low < high):
        raise ValueError(f"the row of `{text}` has to say a range of positive numbers")
    operations = (row["operations"] or "").strip("{}").split(",")
    found = []
    for operation in map(str.strip, operations):
        name, *idle = (
            f"{operation}.{each}".strip(".") for each in (row["convention"], *_NAME.findall(row["idle"] or ""))
        )
        found.append(Choice(name, text, low, high, tuple(idle)))
    return found


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
def choices() -> dict[str, tuple[Choice, ...]]:
    """The declared freedoms: each convention of a MAY clause with its choices, the default first.

    Raises ValueError for a default that is a shape.
    """
    found: dict[str, tuple[Choice, ...]] = {}
    for clause in clauses().values():
        for choice in clause.choices:
            if choice.letter and choice.convention not in found:
                raise ValueError(f"{clause.place}: the default of {choice.convention} has to be one with its number")
            found[choice.convention] = (*found.get(choice.convention, ()), choice)
    return found


@cache
def conventions() -> dict[str, tuple[str, ...]]:
    """The conventions by name, each with texts of its choices, the default first: of a shape, one with a number."""
    return {name: tuple(choice.example for choice in of) for name, of in choices().items()}


def conventions_of(operation: str) -> dict[str, tuple[str, ...]]:
    """The conventions of one operation, without those that all share: each with its choices, the default first."""
    return {name: choices for name, choices in conventions().items() if name.startswith(f"{operation}.")}


def choices_of(operation: str) -> dict[str, tuple[Choice, ...]]:
    """The same with what a choice is known by, shapes as shapes."""
    return {name: of for name, of in choices().items() if name.startswith(f"{operation}.")}


def chosen(convention: str, text: str) -> str:
    """A choice as it is printed, such as ``std + 1e-5`` for ``std + 0.00001``.

    convention: as in a MAY clause, or an operation's own precision, such as ``gae.precision``.

    Raises KeyError if there is no such convention.  Raises ValueError if there is no such choice, with what there is,
    or with the range if the number is beyond it.
    """
    known = choices().get(convention) or choices()[convention.rpartition(".")[2]]
    for choice in known:
        if choice.fits(text):
            number = choice.number(text)
            return text if number is None else choice.with_number(number)
    for choice in known:
        if choice.number(text) is not None:
            raise ValueError(
                f"{convention} cannot be {text!r}; {choice.letter} in {choice.text!r} is a convention from "
                f"{decimal(choice.low)} to {decimal(choice.high)}, and beyond that a defect"
            )
    raise ValueError(f"{convention} cannot be {text!r}; the choices are {', '.join(map(str, known))}")
