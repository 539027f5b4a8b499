"""Honest candidates drawn at random, and what the whole suite says of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from rlspec.candidate import Candidate
from rlspec.conventions import infer
from rlspec.drawing import explored
from rlspec.power import Property, every_property
from rlspec.properties.questions import PLAIN_QUESTIONS
from rlspec.spec.clauses import choices_of
from rlspec.spec.operations import OPERATIONS

from .catalogue import WAYS, Way, implementation
from .styles import BARE, Style, draw_style

ADVICE = {"OPS-9"}
"""Clauses of advice that an honest program need not take: reading flags that come as numbers."""


@dataclass(frozen=True)
class Part:
    """One operation of a candidate: how it is computed, in which style, under which choices, and which it declares."""

    way: Way
    style: Style
    choices: dict[str, str]
    declared: dict[str, str]

    def __str__(self) -> str:
        style = ", ".join(f"{name}: {value}" for name, value in vars(self.style).items())
        choices = ", ".join(f"{name}={value}" for name, value in self.choices.items()) or "no choices"
        return f"{self.way.operation}, {self.way}; {style}; {choices}; declared: {self.declared or 'nothing'}"


@dataclass(frozen=True)
class Honest:
    """A candidate that computes what the specification says, in ways that the reference does not know of."""

    name: str
    parts: tuple[Part, ...]

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that it provides."""
        return tuple(part.way.operation for part in self.parts)

    @property
    def admitted(self) -> set[str]:
        """Clauses that are advice, and that it does not take."""
        styles = [part.style for part in self.parts]
        imprecise = {"OPS-4"} if any(style.precision != "float64" for style in styles) else set()
        bare = {"OPS-11"} if any(style.masking == BARE for style in styles) else set()
        return ADVICE.union(imprecise, bare, *(part.way.admitted for part in self.parts))

    def candidate(self) -> Candidate:
        """The candidate on trial, with its undeclared choices found out."""
        module = SimpleNamespace(
            **{part.way.operation: implementation(part.way, part.style, part.choices) for part in self.parts},
            CONVENTIONS={name: choice for part in self.parts for name, choice in part.declared.items()},
        )
        candidate = Candidate(module, self.name)
        for operation in self.operations:
            if operation in PLAIN_QUESTIONS:
                candidate.inferred |= infer(candidate, operation)
        return candidate

    def __str__(self) -> str:
        return "\n".join([self.name, *(f"  {part}" for part in self.parts)])


def draw(seed: int, number: int) -> Honest:
    """The candidate of that number under a seed; operations take turns, and some candidates have several."""
    random = Random(f"{seed} {number}")
    turns = sorted(WAYS)
    Random(seed).shuffle(turns)
    operation = turns[number % len(turns)]
    beside = [other for other in turns if OPERATIONS[other].chapter == OPERATIONS[operation].chapter]
    others = random.sample(beside, min(len(beside), random.choice((0, 0, 1, 2))))
    parts = tuple(_part(random, each) for each in dict.fromkeys([operation, *others]))
    return Honest(f"honest candidate {number} of seed {seed}", parts)


NARROW = {"discounted_return", "reward_to_go", "n_step_return", "lambda_return", "td_error", "gae", "token_returns",
          "token_gae", "aggregate", "accumulate"}  # fmt: skip
"""Operations that are drawn in bfloat16, too: sums of products, without a bound at which its rounding would decide."""


def _part(random: Random, operation: str) -> Part:
    style = draw_style(random, operation in NARROW)
    choices = {name: drawn_choice(random, of) for name, of in choices_of(operation).items()}
    openness = random.choice((0.0, 0.5, 1.0))
    declared = {name: choice for name, choice in choices.items() if random.random() < openness}
    if style.precision == "bfloat16":  # makes many choices look alike (OPS-8)
        declared = dict(choices)
    if random.random() < openness or style.precision == "bfloat16":
        declared[f"{operation}.precision"] = style.precision
    return Part(random.choice(WAYS[operation]), style, choices, declared)


def drawn_choice(random: Random, choices: tuple[Any, ...]) -> str:
    """One of the choices; a number in its range, as evenly over orders of size, of one digit or two."""
    choice = random.choice(choices)
    if not choice.letter:
        return choice.text
    number = choice.low * (choice.high / choice.low) ** random.random()
    rounded = float(f"{number:.{random.choice((0, 0, 1))}e}")
    return choice.with_number(min(max(rounded, choice.low), choice.high))


@cache
def properties() -> tuple[Property, ...]:
    """Those that ask a candidate."""
    return tuple(each for each in every_property() if not each.theorem)


@dataclass(frozen=True)
class Trial:
    """What the suite said of a candidate: how many examples it judged, and each flag."""

    judged: int
    flags: tuple[str, ...]


def trial(honest: Honest, examples: int, seed: int) -> Trial:
    """So many random examples of every property that asks for one of its operations.

    A property that raises something else than a violation is flagged, too.
    """
    candidate, judged, flags = honest.candidate(), 0, []
    for checked in properties():
        if not any(map(checked.asks, honest.operations)) or set(checked.clauses) <= honest.admitted:
            continue
        with explored(checked.test, checked.name, examples, seed), _counted(checked.test) as count:
            try:
                violation = checked.violation_by(candidate, drawn=True)
                said = f"{violation}\n    {violation.call}" if violation else ""
            except Exception as error:
                said = f"the property raised {error!r}"
        judged += len(count)
        if said:
            flags.append(f"{checked.name} ({', '.join(checked.clauses)}): {said}")
    return Trial(judged, tuple(flags))


@contextmanager
def _counted(test: Any) -> Iterator[list[None]]:
    """A list that grows with each input that the property judges."""
    check, count = test.hypothesis.inner_test, []

    @wraps(check)
    def counting(*arguments: Any, **named: Any) -> None:
        check(*arguments, **named)
        count.append(None)

    with patch.object(test.hypothesis, "inner_test", counting):
        yield count
