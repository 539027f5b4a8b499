"""Lines of a page that fit the terminal; nothing heavy is imported here."""

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from .first_look import Finding
from .spec.operations import OPERATIONS
from .verdicts import USABLE

Line = tuple[str, str]
"""A line and its style: ``red``, ``green``, ``bold`` or none."""

MARGIN = "  "


def wrapped(width: int, text: str, start: str = "", style: str = "", hanging: str | None = None) -> Iterator[Line]:
    """The text in lines that fit; the first begins with ``start``, the others with as many blanks, or ``hanging``."""
    after = " " * len(start) if hanging is None else hanging
    lines = wrap(text, width, initial_indent=start, subsequent_indent=after, break_on_hyphens=False)
    for line in lines or [start]:
        yield line.rstrip(), style


def sentence(text: str) -> str:
    """The text with a full stop, and a capital letter where it does not begin with a name of code."""
    text = text if text.endswith((".", "?", "!")) else f"{text}."
    first = text.partition(" ")[0]
    return text if first in OPERATIONS or "`" in first or "_" in first else text[:1].upper() + text[1:]


UNKNOWN = "No known mistake, and no small change of what is right, does the same."
"""Said where numbers are wrong and nothing was found that has them."""


def unexplained(mistake: Mapping[str, Any]) -> str:
    """What kind of thing is wrong, by a record's mistake that nothing explains."""
    words = sentence(mistake["words"])
    return f"{words} {UNKNOWN}" if mistake.get("numbers", True) else words


def several(number: int, noun: str) -> str:
    """So many of something: ``1 clause``, ``2 clauses``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def found_at_once(width: int, finding: Finding) -> Iterator[Line]:
    """The block of an operation that a first look finds to be wrong, or too slow, to be asked."""
    verdict, style = ("is wrong", "red") if finding.violates else ("is not judged", "bold")
    yield f"{finding.operation} {verdict}", style
    yield "", ""
    yield from wrapped(width, sentence(finding.said), MARGIN, "bold")
    yield "", ""
    if finding.call:
        yield from wrapped(width, f"It was asked {finding.call}.", MARGIN)
        yield "", ""
    said = f"It breaks {USABLE}; it is not asked any more." if finding.violates else "It is not asked any more."
    yield from wrapped(width, said, MARGIN)
    yield "", ""
