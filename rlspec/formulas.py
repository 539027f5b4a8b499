"""Formulas: the plainest one in some numbers that gives the number wanted, in several calls at once."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FEWEST = 5
"""With fewer calls any number is some formula's."""

DIGITS = 1e-7
"""By how much a formula's number may be off, relative to the largest number in sight."""

UNARY: dict[str, Callable[[Any], Any]] = {
    "-{}": operator.neg, "1 - {}": lambda x: 1 - x, "1 / {}": lambda x: 1 / x, "2 * {}": lambda x: 2 * x,
    "{} / 2": lambda x: x / 2, "{} ** 2": lambda x: x**2, "abs({})": np.abs, "{} + 1": lambda x: x + 1,
    "{} - 1": lambda x: x - 1, "{} // 1": lambda x: x // 1,
}  # fmt: skip
"""What may be done with one number."""

JOINED: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow,
    "//": operator.floordiv, "%": operator.mod,
}  # fmt: skip
"""What may be done with two."""

CONSTANTS = ("0", "1", "2", "0.5")

SCANNED = 3
"""In how many calls most formulas are refuted: those in which the number wanted is the least round."""

FEW, FEWER = 24, 8
"""Of how many terms formulas of three are made, and of how many those of four."""


@dataclass(frozen=True)
class _Terms:
    """Formulas, and the numbers that they have in a few calls, [terms, calls]; each is written only when asked for."""

    values: np.ndarray
    text: Callable[[int], str]
    cost: Callable[[int], float]

    def __len__(self) -> int:
        return len(self.values)


def formulas(
    known: Mapping[str, np.ndarray], wanted: np.ndarray, most: int = 4, over: Callable[[], bool] = lambda: False
) -> list[tuple[str, float]]:
    """The plainest formulas that give what is wanted, each with how far from plain it is.

    known: by a name or an expression, the numbers that it has in the calls.  wanted: the numbers that it should have.
    over: whether there is no time left.
    """
    if len(wanted) < FEWEST or not known:
        return []
    names = {f"v{place}": name for place, name in enumerate(known)}
    order = np.argsort([_roundness(number) for number in wanted], kind="stable")
    numbers = {short: np.asarray(known[name], dtype=float)[order] for short, name in names.items()}
    wanted = np.asarray(wanted, dtype=float)[order]
    found: list[tuple[str, float]] = []
    with np.errstate(all="ignore"):
        plain = _listed([(short, 0.5, values[:SCANNED]) for short, values in numbers.items()])
        constants = _listed([(text, 1.0, np.full(SCANNED, float(text))) for text in CONSTANTS])
        for terms in _longer(plain, _both(plain, constants)):
            for i in _meeting(terms.values, wanted[:SCANNED]):
                if over():
                    return sorted(found, key=lambda one: one[1])[:most]
                text = terms.text(i)
                values = _value(text, numbers)
                if values is not None and _meeting(np.broadcast_to(values, (1, len(wanted))), wanted):
                    found.append((_with_names(text, names), terms.cost(i)))
            if len(found) >= most or over():
                break
    return sorted(found, key=lambda one: one[1])[:most]


def _roundness(number: float) -> float:
    """How many formulas a number is easily taken for: none where its digits do not end."""
    return float(number == 0) + sum(number * scale % 1 == 0 for scale in (1, 4, 64, 4096))


def _value(text: str, numbers: Mapping[str, np.ndarray]) -> Any:
    """What a formula makes of these numbers; None where it divides a constant by 0."""
    try:
        return eval(text, {"abs": np.abs}, dict(numbers))
    except ZeroDivisionError:
        return None


def _with_names(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\bv\d+\b", lambda found: f"({names[found.group()]})", text)


def _longer(plain: _Terms, atoms: _Terms) -> Iterator[_Terms]:
    """Formulas of one number, of two, of three and of four."""
    yield atoms
    changed = _both(atoms, *(_of_one(form, by, plain) for form, by in UNARY.items()))
    yield changed
    yield from _pairs(changed, changed)
    few = _first(_both(atoms, _of_one("1 - {}", UNARY["1 - {}"], plain)), FEW)
    for joined in _pairs(few, few):
        yield from _pairs(joined, few)
        yield from _pairs(few, joined)
    fewer = _first(plain, FEWER)
    for left in _pairs(fewer, fewer):
        for right in _pairs(fewer, fewer):
            yield from _pairs(left, right)


def _meeting(values: np.ndarray, wanted: np.ndarray) -> list[int]:
    """Which rows are the numbers wanted; most are not in the first call."""
    allowed = DIGITS * np.maximum(1, np.abs(wanted))
    left = np.flatnonzero(np.abs(values[:, 0] - wanted[0]) <= allowed[0])
    return [int(i) for i in left if (np.abs(values[i] - wanted) <= allowed).all()]


def _listed(terms: Sequence[tuple[str, float, np.ndarray]]) -> _Terms:
    return _Terms(np.array([values for _, _, values in terms]), lambda i: terms[i][0], lambda i: terms[i][1])


def _first(terms: _Terms, most: int) -> _Terms:
    return _Terms(terms.values[:most], terms.text, terms.cost)


def _both(*several: _Terms) -> _Terms:
    """All terms of several lots."""
    places = [(terms, i) for terms in several for i in range(len(terms))]
    return _Terms(
        np.concatenate([terms.values for terms in several]),
        lambda i: places[i][0].text(places[i][1]),
        lambda i: places[i][0].cost(places[i][1]),
    )


def _of_one(form: str, by: Callable[[Any], Any], terms: _Terms) -> _Terms:
    return _Terms(by(terms.values), lambda i: form.format(f"({terms.text(i)})"), lambda i: terms.cost(i) + 0.6)


def _pairs(left: _Terms, right: _Terms) -> Iterator[_Terms]:
    """Each of the one with each of the other, one operator after the other."""
    for sign, by in JOINED.items():
        values = by(left.values[:, None], right.values[None]).reshape(-1, left.values.shape[1])

        def text(i: int, sign: str = sign) -> str:
            return f"({left.text(i // len(right))}) {sign} ({right.text(i % len(right))})"

        yield _Terms(values, text, lambda i: left.cost(i // len(right)) + right.cost(i % len(right)) + 0.4)
