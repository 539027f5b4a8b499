"""The corpus: for each property a few inputs, chosen by what they find.  ``python -m rlspec.corpus`` chooses them anew.

An input is kept as what was drawn (rlspec/plain.py) and as the choices that Hypothesis made to draw it, so that a
smaller one can be looked for from there.  A chapter's file has one line an input.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis.control import BuildContext
from hypothesis.database import choices_from_bytes, choices_to_bytes
from hypothesis.internal.conjecture.data import ConjectureData

from .drawing import Drawn, Seeded
from .plain import Stale, at, decoded, encoded
from .properties.checking import Violation

_HERE = Path(__file__).parent

FOLDER = _HERE / "inputs" if (_HERE / "inputs").is_dir() else _HERE.parent / "inputs"
"""Inside the package where it is installed, beside it in a checkout."""

VERSION = 1
"""Of the files' form."""

CHOICES, KEPT, SPARE = "choices", "kept", "spare"
"""What a line says besides what was drawn."""

END = "\n]"
"""What ends a property's inputs in a chapter's file."""


@dataclass(frozen=True)
class Stored:
    """An input of a property."""

    choices: bytes
    """Those of Hypothesis, as its own database keeps them."""
    values: Mapping[str, Any]
    """What was drawn, by the property's parameters, as JSON."""
    kept: bool = False
    """Whether it stays when the others are chosen anew, because a random one of a real run was found to be missing."""
    spare: bool = False
    """Whether it is asked only of a candidate that declines most of those before it.  Such inputs stay, too."""

    def arguments(self, test: Any) -> dict[str, Any]:
        """What was drawn, by the property's parameters.  Raises Stale if today's code has no such things.

        test: the property as Hypothesis made it.
        """
        again = _Redrawn(test, self)
        return {name: _argument(name, value, again) for name, value in self.values.items()}

    @classmethod
    def of(cls, choices: Iterable[Any], drawn: Mapping[str, Any]) -> "Stored":
        """An input, by the choices that were made and what was drawn with them."""
        return cls(choices_to_bytes(choices), {name: _value(value) for name, value in drawn.items()})

    @classmethod
    def shown_by(cls, violation: Violation) -> "Stored | None":
        """The input of a property that shows a violation; None, if it is not known or has no form in JSON."""
        if not violation.drawn:
            return None
        with suppress(TypeError):
            return cls(violation.choices, {name: _value(value) for name, value in violation.drawn.items()})
        return None

    def said(self) -> dict[str, Any]:
        """The input as an object of JSON."""
        marks = {name: True for name, holds in ((KEPT, self.kept), (SPARE, self.spare)) if holds}
        return {CHOICES: b64encode(self.choices).decode(), **marks, **self.values}

    def line(self) -> str:
        """The input as a line of a chapter's file."""
        return json.dumps(self.said(), separators=(",", ":"))

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> "Stored":
        """The input that a line says."""
        values = {name: value for name, value in line.items() if name not in (CHOICES, KEPT, SPARE)}
        return cls(b64decode(line[CHOICES]), values, KEPT in line, SPARE in line)


def _value(value: Any) -> Any:
    if isinstance(value, Seeded):
        return {"seed": value.seed}
    if isinstance(value, Drawn):
        return {"drawn": [encoded(part) for part in value.values]}
    return encoded(value)


def _argument(name: str, stored: Any, again: "_Redrawn") -> Any:
    match stored:
        case {"seed": seed}:
            return Seeded(seed)
        case {"drawn": list(parts)}:
            return _drawn(name, parts, again)
    return decoded(stored, lambda path: again.function(name, path))


def _drawn(name: str, parts: list[Any], again: "_Redrawn") -> Drawn:
    """What stands in for Hypothesis's object of ``data()``."""

    def stored(strategy: Any, place: int) -> Any:
        again.strategies.append(strategy)
        if place >= len(parts):
            raise Stale("the property draws more than was stored")
        return decoded(parts[place], lambda path: again.function(name, (place, *path)))

    return Drawn([], stored)


class _Redrawn:
    """An input, to be drawn again for the functions in it, which are not stored."""

    def __init__(self, test: Any, stored: Stored) -> None:
        self._test, self._stored = test, stored
        self.strategies: list[Any] = []
        """Those that the property draws from in its body, so far."""
        self._known: dict[int, dict[str, Any]] = {}

    def function(self, name: str, path: tuple[Any, ...]) -> Any:
        """The function at a place, which draws the input when it is called."""

        def called(*arguments: Any, **named: Any) -> Any:
            return at(self._values()[name], path)(*arguments, **named)

        return called

    def _values(self) -> dict[str, Any]:
        """What the choices make, by the property's parameters.  Raises Stale unless it is what was stored."""
        count = len(self.strategies)
        if count not in self._known:
            found, interactive = drawn_by(self._test, self._stored.choices, self.strategies)
            for name, stored in self._stored.values.items():
                match stored:
                    case {"drawn": list(parts)}:
                        found[name] = interactive
                        same = list(map(encoded, interactive)) == parts[:count]
                    case {"seed": _}:
                        same = True
                    case _:
                        same = encoded(found[name]) == stored
                if not same:
                    raise Stale(f"the choices for {name} make something else than what was stored")
            self._known[count] = found
        return self._known[count]


def drawn_by(test: Any, choices: bytes, strategies: Iterable[Any]) -> tuple[dict[str, Any], list[Any]]:
    """What choices make of a property's strategies, and of those that it draws from in its body.

    Raises Stale if they make nothing.
    """
    made = ConjectureData.for_choices(choices_from_bytes(choices) or ())
    try:
        with BuildContext(made, wrapped_test=test):
            found = {name: made.draw(strategy) for name, strategy in test.hypothesis._given_kwargs.items()}
            return found, [made.draw(strategy) for strategy in strategies]
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Stale(f"the choices make no input: {type(error).__name__}") from error


def chapter_of(test: Any) -> str:
    """The chapter that a property is in."""
    return str(test.hypothesis.inner_test.__module__).rpartition("test_")[2]


def inputs(test: Any, name: str) -> list[Stored]:
    """The stored inputs of a property, by its name with its case, the spare ones last."""
    return [Stored.read(line) for line in chapter(chapter_of(test)).lines(name)]


class Chapter:
    """A chapter's file, of which only what is asked for is read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._places = {found[1]: found.end() for found in re.finditer(r'^"(.+)": \[$', text, re.MULTILINE)}

    def names(self) -> list[str]:
        """The properties."""
        return list(self._places)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of a property."""
        if name not in self._places:
            return []
        start = self._places[name]
        return list(json.loads(f"[{self._text[start : self._text.index(END, start)]}]"))


@cache
def chapter(name: str) -> Chapter:
    """A chapter's stored inputs, of which there may be none."""
    file = FOLDER / f"{name}.json"
    return Chapter(file.read_text(encoding="utf-8") if file.is_file() else "")


def chapter_text(properties: Mapping[str, Iterable[Stored]]) -> str:
    """A chapter's file."""
    parts = [f'"version": {VERSION}']
    for name, stored in properties.items():
        lines = ",\n".join(one.line() for one in stored)
        parts.append(f"{json.dumps(name)}: [\n{lines}{END}")
    return "{" + ",\n\n".join(parts) + "}\n"


def main() -> None:
    """Choose the corpus, or a part of it, anew."""
    from .choosing import main as choose  # which imports the properties, that use this module

    choose()


if __name__ == "__main__":
    main()
