"""Docstrings are plain text: a paragraph is a paragraph, and no character in it is markup."""

import re
from typing import Any

from sphinx.application import Sphinx

MARKUP = re.compile(r"([\\*_|:])")
PARAGRAPH_END = re.compile(r"\n\s*\n")


def as_text(app: Sphinx, kind: str, name: str, documented: Any, options: Any, lines: list[str]) -> None:
    """Escape what reStructuredText would read as markup, in place."""
    paragraphs = PARAGRAPH_END.split("\n".join(lines).strip())
    lines[:] = [line for paragraph in paragraphs for line in (*escaped(paragraph).splitlines(), "")]


def escaped(paragraph: str) -> str:
    """A paragraph on one line, its characters as they are; examples, and what backquotes hold, stay code.

    What is indented is code too, which the paragraph before it announces with two colons.
    """
    if paragraph.lstrip().startswith(">>>"):
        return paragraph
    if paragraph.startswith("    "):
        return f"::\n\n{paragraph}"
    text = re.sub("::$", ":", " ".join(paragraph.split()))
    parts = re.split(r"`+([^`]+)`+", text)
    return "".join(f"``{part}``" if place % 2 else MARKUP.sub(r"\\\1", part) for place, part in enumerate(parts))


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", as_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
