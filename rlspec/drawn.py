"""A violation as a picture, in SVG: the rows of its input as time lines, with what was expected and what came."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from math import isfinite
from typing import Any

from .spec.operations import MASKS, OPERATIONS, Operation

LABELS, CELL, LINE, TOP = 124, 62, 22, 30
"""Pixels: of the column of names, of a place along the axis, of a line of numbers, and of the time line."""

BARS = 64
"""Pixels that the highest bar has."""

MOST_ROWS, MOST_PLACES, LONGEST = 6, 60, 9
"""Rows and places that are drawn at most, and characters of a number."""

ENDS = {"terminated": "end", "truncated": "cut"}

OTHER_BAND = 6
"""After so many groups the colours begin again; the names are written as well."""


def nested(text: str) -> Any:
    """Nested lists of texts from an array as it is shown, such as ``[[1/3, nan]]``; None, if it is none."""
    try:
        return json.loads(re.sub(r"[^\[\],\s]+", lambda entry: json.dumps(entry[0]), text))
    except ValueError:
        return None


def number(text: str) -> float | None:
    """The number that a text shows, such as ``1/3``; None for what is not finite, or no number."""
    try:
        value = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if isfinite(value) else None


@dataclass(frozen=True)
class Strip:
    """One row of an input, along its last axis: what was given, expected and answered at each place."""

    title: str
    axis: str
    given: Mapping[str, Sequence[str]]
    expected: Sequence[str]
    actual: Sequence[str]

    @property
    def size(self) -> int:
        """How many places there are."""
        return max((len(entries) for entries in [*self.given.values(), self.expected]), default=0)

    @property
    def off(self) -> list[bool]:
        """Where what came is not what was expected."""
        return [_apart(*pair) for pair in zip(self.expected, self.actual, strict=True)]


def strips(operation: str, found: Mapping[str, Any]) -> list[Strip]:
    """The rows of a violation's input that can be drawn; those on which the answers differ, if it is known which."""
    if operation not in OPERATIONS:
        return []
    signature = OPERATIONS[operation]
    given = {name: nested(text) for name, text in found.get("arguments", {}).items()}
    axes = _axes(signature, given)
    expected, actual = nested(found.get("expected", "")), nested(found.get("actual", ""))
    lined = {
        name: given[name] for name, of in signature.axes.items() if of == axes and isinstance(given.get(name), list)
    }
    if not axes or not lined:
        return []
    like = next(iter(lined.values()))
    fits = _shape(expected) == _shape(actual) == _shape(like)
    if len(axes) == 1:
        return [Strip("", axes[0], lined, expected if fits else (), actual if fits else ())]
    found_strips = [
        Strip(
            f"row {row}" if len(like) > 1 else "",
            axes[1],
            {name: entries[row] for name, entries in lined.items() if len(entries) > row},
            expected[row] if fits else (),
            actual[row] if fits else (),
        )
        for row in range(len(like))
    ]
    wrong = [strip for strip in found_strips if any(strip.off)]
    return (wrong or found_strips)[:MOST_ROWS]


def _axes(operation: Operation, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The axes along which the input is drawn: rows and steps, or else samples."""
    for axes in (("B", "T"), ("N",), ("B",), ("T",)):
        if any(of == axes and isinstance(given.get(name), list) for name, of in operation.axes.items()):
            return axes
    return ()


def _shape(entries: Any) -> tuple[int, ...] | None:
    if not isinstance(entries, list):
        return () if entries is not None else None
    return (len(entries), *(_shape(entries[0]) or ())) if entries else (0,)


def _apart(one: str, other: str) -> bool:
    mine, yours = number(one), number(other)
    if mine is None or yours is None:
        return one != other
    return abs(mine - yours) > 1e-9 * max(abs(mine), abs(yours))


def picture(strip: Strip, about: str) -> str:
    """The row as SVG, whose colours are those of the page.  about: what it shows, in words."""
    places = min(strip.size, MOST_PLACES)
    lines = [*_time(strip, places)]
    below = TOP
    for name, entries in strip.given.items():
        if name not in ENDS and name not in MASKS:
            below += LINE
            lines += _numbers(name, entries[:places], below, _counted(strip, places))
    if strip.expected:
        if bars := [*_bars(strip, places, below + BARS + 16)]:
            below += BARS + 16
            lines += bars
        for name, entries, kind in (("expected", strip.expected, "right"), ("actual", strip.actual, "came")):
            below += LINE
            lines += _numbers(name, entries[:places], below, strip.off[:places], kind)
    wide, high = LABELS + CELL * places + 8, below + 14
    title = escape(about, quote=True)
    return (
        f'<svg viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img" aria-label="{title}">'
        f"{''.join(lines)}</svg>"
    )


def _middle(place: int) -> float:
    return LABELS + CELL * (place + 0.5)


def _counted(strip: Strip, places: int) -> list[bool]:
    """Where an entry counts: everywhere, unless a mask says otherwise."""
    mask = next((entries for name, entries in strip.given.items() if name in MASKS), ["True"] * places)
    return [entry in ("True", "1") for entry in mask[:places]]


def _time(strip: Strip, places: int) -> Iterator[str]:
    """The places on a line, which ends after a termination and is cut after a truncation; bands for groups."""
    middle = TOP / 2
    groups = strip.given.get("groups", ())
    names = [*dict.fromkeys(groups)]
    for place, name in enumerate(groups[:places]):
        band = names.index(name) % OTHER_BAND
        yield f'<rect class="band{band}" x="{LABELS + CELL * place}" y="0" width="{CELL}" height="{TOP}"/>'
    yield f'<text class="name" x="{LABELS - 10}" y="{middle + 4}">{NAMES.get(strip.axis, strip.axis)}</text>'
    counted = _counted(strip, places)
    over, cut = (
        [entry in ("True", "1") for entry in strip.given.get(name, ["False"] * places)] for name in ENDS
    )  # a termination outweighs a truncation
    for place in range(places):
        x = _middle(place)
        if place + 1 < places and "groups" not in strip.given and strip.axis == "T":
            kind = "gap" if over[place] or cut[place] else "line"
            yield f'<path class="{kind}" d="M{x + 11} {middle}H{_middle(place + 1) - 11}"/>'
        yield f'<circle class="{"step" if counted[place] else "masked"}" cx="{x}" cy="{middle}" r="10"/>'
        yield f'<text class="index" x="{x}" y="{middle + 4}">{place}</text>'
        if over[place]:
            yield f'<rect class="over" x="{x + 15}" y="{middle - 10}" width="7" height="20"/>'
        elif cut[place]:
            yield f'<path class="cut" d="M{x + 18} {middle - 12}V{middle + 12}"/>'


NAMES = {"T": "step", "B": "row", "N": "sample"}


def _numbers(name: str, entries: Sequence[str], y: float, marked: Sequence[bool], kind: str = "") -> Iterator[str]:
    """A line of numbers under their name: those that count, or of answers those that differ, are marked."""
    yield f'<text class="name" x="{LABELS - 10}" y="{y}">{escape(name)}</text>'
    for place, (entry, mark) in enumerate(zip(entries, marked, strict=False)):
        said = escape(_short(entry, whole=bool(kind) and mark))
        style = (f"number {kind}" if mark else "number") if kind else ("number" if mark else "number faint")
        yield f'<text class="{style}" x="{_middle(place)}" y="{y}">{said}</text>'


def _short(entry: str, whole: bool) -> str:
    """A number that fits its cell; of one that differs from another its first digits as they are."""
    if len(entry) <= LONGEST:
        return entry
    value = number(entry)
    return f"{entry[: LONGEST - 1]}\u2026" if value is None or (whole and "e" not in entry) else f"{value:.4g}"


def _bars(strip: Strip, places: int, bottom: float) -> Iterator[str]:
    """Side by side, at each place, what was expected and what came."""
    pairs = [(number(one), number(other)) for one, other in zip(strip.expected, strip.actual, strict=True)][:places]
    numbers = [value for pair in pairs for value in pair if value is not None]
    low, high = min([*numbers, 0.0]), max([*numbers, 0.0])
    if high == low:
        return
    scale = BARS / (high - low)
    zero = bottom + low * scale
    for place, pair in enumerate(pairs):
        for value, kind, left in zip(pair, ("right", "came"), (-18, 2), strict=True):
            if value is not None:
                top, tall = zero - max(value, 0) * scale, abs(value) * scale
                x = _middle(place) + left
                yield f'<rect class="bar {kind}" x="{x}" y="{top:.1f}" width="16" height="{max(tall, 1):.1f}"/>'
    yield f'<path class="line" d="M{LABELS} {zero:.1f}H{LABELS + CELL * places}"/>'
