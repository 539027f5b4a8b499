"""Whether a training run computed what it should have: recorded calls, held against what is right.

Each answer is compared with the reference's, exact, and with a bound of what rounding in the run's own number type may
do (rlspec/bounds.py).  Conventions that were not declared are found out from the answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import islice, product
from types import SimpleNamespace
from typing import Any

import numpy as np

from .answers import Chosen, beyond, digest, explains, in_floats, misses, of_rows, right_of, shape_of_call, wide
from .blame import mistake_in
from .bounds import ANSWERS
from .conventions import Answered, Combination, combinations, in_a_row
from .excerpt import Excerpt, excerpt_of
from .faults import Fault
from .features import NOT_FINITE, features_of, possible
from .hiding import FEW, Hidden, hidden
from .properties.checking import SINGLE
from .properties.questions.question import Question
from .recorded import Seen
from .repair import Explanation
from .spec.clauses import choices, choices_of, chosen
from .spec.operations import Operation
from .weighing import fewest_parts

ENTRIES = 2000
"""Of a larger call so many steps are looked at, in whole rows, where the operation answers row by row."""


LARGEST = 100_000
"""Calls of more numbers are not judged: exact arithmetic takes minutes for them."""


NEAR = 0.05
"""A combination of choices is looked at closely if no answer is further off than this share of the largest one."""


SOLVED = 4
"""In so many calls, the smallest, the numbers in choices are looked for, and factors of parts of the batch."""


USUAL = (1e-8, 1e-6, 1e-5, 1e-4, 0.5, 1.0, 10.0, 20.0)
"""What the number in a choice is where nobody can tell: what most libraries have."""


BESIDE = 30
"""Known faults are looked for beside so many combinations of choices."""


@dataclass
class Finding:
    """What an audit says of one operation."""

    operation: Operation
    calls: list[Seen]
    chosen: Chosen = field(default_factory=dict)
    alike: dict[str, list[str]] = field(default_factory=dict)
    """Of each convention the other choices that explain all answers as well."""
    wrong: list[Seen] = field(default_factory=list)
    excerpt: Excerpt | None = None
    explanation: Explanation | None = None
    weights: str = ""
    """In words, by what a gradient is multiplied where it is right but for a factor of each part of the batch."""
    faults: list[Fault] = field(default_factory=list)
    hidden: Hidden = field(default_factory=Hidden)
    """What would have changed the answers, but by no more than rounding to 16 bits may."""
    unseen: list[str] = field(default_factory=list)
    """What no call has shown."""
    why_not: str = ""
    """Why nothing could be said."""

    @property
    def holds(self) -> bool:
        """Whether all answers are explained."""
        return not self.wrong and not self.why_not


def audit(calls: Sequence[Seen]) -> Iterator[Finding]:
    """What there is to say of each operation."""
    for name in dict.fromkeys(call.operation.name for call in calls):
        yield of_operation([call for call in calls if call.operation.name == name])


def of_operation(calls: Sequence[Seen]) -> Finding:
    """What there is to say of one operation from its calls."""
    operation = calls[0].operation
    finding = Finding(operation, list(calls))
    if operation.name not in ANSWERS:
        finding.why_not = f"{operation.name} cannot be audited; {', '.join(sorted(ANSWERS))} can"
        return finding
    seen = {feature for call in calls for feature in features_of(operation, call.named)}
    finding.unseen = [name for name in possible(operation) if name not in seen and name != NOT_FINITE]
    smaller = (_smaller(call) for call in calls)
    looked_at = sorted((call for call in smaller if call.size <= LARGEST), key=lambda call: call.size)
    if not looked_at:
        finding.why_not = f"each recorded call has more than {LARGEST:,} numbers; record a smaller batch"
        return finding
    explaining = _explaining(looked_at)
    if explaining:
        finding.chosen = explaining[0]
        for name, choice in finding.chosen.items():
            others = dict.fromkeys(other[name] for other in explaining if other[name] != choice)
            finding.alike |= {name: list(others)} if others else {}
        finding.hidden = hidden(operation, looked_at, finding.chosen)
        return finding
    _blame(finding, looked_at)
    return finding


def _blame(finding: Finding, calls: Sequence[Seen]) -> None:
    """Say of calls that no choices explain which are wrong, and what is wrong with them, if that can be known."""
    near = _nearest(calls)
    if weighed := fewest_parts(calls[:SOLVED], near):
        finding.chosen, finding.weights = weighed[0], weighed[1].words
    else:
        finding.chosen, finding.explanation, finding.faults = mistake_in(finding.operation, calls, near)
    finding.wrong = [call for call in calls if not explains(call, finding.chosen)]
    named = finding.weights or finding.explanation or finding.faults
    numbers = sum(
        int((off > allowed).sum()) for call in finding.wrong for _, off, allowed in misses(call, finding.chosen)
    )
    if not (named and numbers >= FEW) and not any(beyond(call, finding.chosen) for call in finding.wrong):
        finding.why_not = (
            f"The answers are further off than rounding to {_kinds(calls)} takes them where long sums are made in "
            "float32, and no further than where these are rounded, too; record gradients as well, or in float32"
        )
        finding.wrong, finding.weights, finding.explanation, finding.faults = [], "", None, []
        return
    finding.excerpt = excerpt_of(finding.wrong[0], finding.chosen)


def _kinds(calls: Sequence[Seen]) -> str:
    return ", ".join(dict.fromkeys(call.precision for call in calls))


def _smaller(call: Seen) -> Seen:
    """The call, or some of its rows, where a row's answer is its own: first those in which an episode ends."""
    rows, steps = shape_of_call(call)
    if not call.operation.row_by_row or rows * steps <= ENTRIES:
        return call
    ends = sum(call.named.get(name, np.zeros((rows, steps))).astype(int) for name in ("terminated", "truncated"))
    order = np.argsort(-np.minimum(ends.sum(axis=1), 1), kind="stable")[: max(ENTRIES // steps, 1)]
    return of_rows(call, np.sort(order))


class _Recorded(Answered):
    """A recorded call, for finding out the choices: what rounding may do to it is known for each combination."""

    def __init__(self, call: Seen, taken: Chosen) -> None:
        operation = call.operation
        values = in_a_row(list(call.results.values()))
        bounds = [bound for _, _, bound in misses(call, taken)]
        asked = Question(operation, tuple(map(wide, call.arguments)), partial(_right_parts, call), 0, 0)
        super().__init__(asked, (), values, in_a_row(bounds))
        self.call = call
        self.known: dict[tuple[str, ...], np.ndarray] = {}
        """What is answered in floats, by the choices made."""

    def slack(self, roundoff: Fraction) -> np.ndarray:
        """How far rounding may take each value."""
        return self.magnitude

    def reference(self, chosen: Chosen) -> np.ndarray:
        """What is right of the results that were recorded, in floats."""
        key = tuple(chosen.values())
        if key not in self.known:
            answers = in_floats(self.question.operation, self.question.arguments, chosen)
            self.known[key] = in_a_row([answers[name] for name in self.call.results])
        return self.known[key]


def _right_parts(call: Seen, **taken: str) -> list[np.ndarray]:
    """What is right of the results that were recorded."""
    exact = right_of(call, taken)
    return [exact[name] for name in call.results]


def _explaining(calls: Sequence[Seen]) -> list[Chosen]:
    """The combinations of choices that explain all answers, what was declared and the defaults first."""
    found: list[Chosen] = []
    every = _combinations(calls[0])
    for one in every:
        if all(_possible(call, one, every[0].chosen()) for call in calls[:SOLVED]):
            numbers = (taken for taken in _with_numbers(one, calls) if all(explains(call, taken) for call in calls))
            found += islice(numbers, 1)
    return found


def _with_numbers(one: Combination, calls: Sequence[Seen]) -> Iterator[Chosen]:
    """A combination with the numbers that were solved for, and then with usual ones.

    How far rounding may take an answer depends on the number, and so one may be right that was not solved for.
    """
    if not one.ranges:
        yield one.chosen()
        return
    default = one.chosen()
    if one.explains([_Recorded(call, default) for call in calls[:SOLVED]], SINGLE):
        yield one.chosen()
    yield from _usual(one)


def _usual(one: Combination) -> Iterator[Chosen]:
    """A combination with each of the usual numbers in its ranges."""
    known = [[number for number in USUAL if low <= number <= high] for low, high in _whole_ranges(one).values()]
    for numbers in product(*known):
        yield one.chosen(**dict(zip(one.ranges, numbers, strict=True)))


def _whole_ranges(one: Combination) -> dict[str, tuple[float, float]]:
    """The ranges of the numbers in a combination, as the clauses have them."""
    return {choice.convention: (choice.low, choice.high) for choice in one.choices if choice.convention in one.ranges}


def _possible(call: Seen, one: Combination, usual: Chosen) -> bool:
    """Whether, roughly and in floats, each answer lies between what the least and the largest numbers give."""
    allowed = {name: np.nan_to_num(bound, nan=np.inf) for name, _, bound in misses(call, usual)}
    least = {name: low for name, (low, _) in one.ranges.items()}
    largest = {name: high for name, (_, high) in one.ranges.items()}
    ends = [in_floats(call.operation, call.arguments, one.chosen(**numbers)) for numbers in (least, {}, largest)]
    for name, recorded in call.results.items():
        known = np.stack([np.nan_to_num(answers[name]) for answers in ends])
        answer = np.nan_to_num(recorded.astype(float))
        room = allowed[name] + NEAR * max(np.abs(known).max(initial=0), np.abs(answer).max(initial=0))
        if (answer < known.min(axis=0) - room).any() or (answer > known.max(axis=0) + room).any():
            return False
    return True


def _combinations(call: Seen) -> list[Combination]:
    """Every way to choose beside what was declared, the default one first."""
    stand_in: Any = SimpleNamespace(declared=_declared(call))
    fitting = [one for one in combinations(stand_in, call.operation.name) if _fits(one, stand_in.declared)]
    return sorted(fitting, key=lambda one: sum(choices()[c.convention][0] != c for c in one.choices))


def _declared(call: Seen) -> Chosen:
    """The choices that were declared when the call was recorded, by whole names."""
    said = {name: call.conventions.get(name) or call.conventions.get(name.rpartition(".")[2])
            for name in choices_of(call.operation.name)}  # fmt: skip
    return {name: chosen(name, text) for name, text in said.items() if text}


def _fits(one: Combination, declared: Chosen) -> bool:
    """Whether a combination has the choices that were declared."""
    return all(choice.fits(declared[choice.convention]) for choice in one.choices if choice.convention in declared)


def _distance(call: Seen, answers: Mapping[str, np.ndarray]) -> float:
    """How far the recorded results are from others, as a share of both, summed over the results."""
    shares = [0.0]
    for name, answer in call.results.items():
        off, size = (np.nan_to_num(of, nan=0.0, posinf=0.0).sum()
                     for of in (np.abs(answer - answers[name]), np.abs(answer) + np.abs(answers[name])))  # fmt: skip
        shares.append(float(off / size) if size else 0.0)
    return sum(shares)


def _nearest(calls: Sequence[Seen]) -> list[Chosen]:
    """Combinations of choices, those first under which answers are off the least, where none explains them.

    A number in a choice is one of those that are usual.  Of combinations that give the same answers the first one is
    taken, and of those that are about as far off the more usual one comes first.
    """
    found: dict[str, tuple[float, Chosen]] = {}
    for one in _combinations(calls[0]):
        for taken in _usual(one) if one.ranges else [one.chosen()]:
            answers = [in_floats(call.operation, call.arguments, taken) for call in calls[:3]]
            found.setdefault(digest(answers, 6), (sum(map(_distance, calls, answers)), taken))
    least = min(off for off, _ in found.values())

    def last(one: tuple[float, Chosen]) -> tuple[float, int]:
        off, taken = one
        return max(off, 1.25 * least), sum(choices()[name][0].text != text for name, text in taken.items())

    return [taken for _, taken in sorted(found.values(), key=last)][:BESIDE]
