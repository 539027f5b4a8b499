"""What a candidate chose where the specification leaves a choice: as declared, or found out by probing.

A *combination* takes one choice of each convention of an operation.  Choices with a number in them are shapes
(spec/choices.py); the number is found out, too.  A combination is first held against the answers in floats, which is
fast, and the one that is taken is verified in exact arithmetic.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, lru_cache, partial
from itertools import chain, islice, product
from math import ceil, floor, inf, log10, nextafter
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from .candidate import WHERE_RIGHT, Candidate, Declined
from .candidates import reference
from .drawing import same_everywhere
from .limits import Stopped
from .properties.checking import DOUBLE, ROUNDOFFS, SINGLE, Violation, each, first_miss, tolerance
from .properties.questions import PLAIN_QUESTIONS
from .properties.questions.lone_numbers import lone_number_questions
from .properties.questions.question import Question, last_names
from .spec.choices import Choice
from .spec.clauses import choices, choices_of

LOTS = (20, 20, 40)
"""How many questions are asked of an operation to find out its conventions, and how many more while some are open."""

AT_ONCE = 20
"""So many questions are drawn at once; of many more Hypothesis says that they are too large."""

EXACTLY = 20
"""So many answers are compared with what is right in exact arithmetic, the others in floats."""

ENOUGH = 8
"""With fewer answers more is asked."""

SCORED = 24
"""How many answers all combinations are held against where none explains all of them."""

BEST = 8
"""How many combinations are then held against all answers."""

BY_CHANCE = 2
"""So few wrong answers may be explained by a number that is found from them."""

LINEAR = 0.01
"""How far a value may be from the straight line through those of two other numbers, as a part of their difference."""

WRITTEN = 3
"""Numbers of more digits than that are those of no program's source, if there are others."""

HIDDEN = 1 / 8
"""A number that moves an answer by less than this part of what rounding explains does not show in it."""

APART = (1 / 1.5, 1.5)
"""A number is settled if it is told from so many times it."""

FEW_DIGITS, LONG = 16, 8
"""So many binary digits a number may have by chance, and so many numbers have more, where they are those of float32."""

GUESSES = 16
"""So many numbers are tried in an answer where some of the answers are wrong, so that it may be no number's matter."""

STARTS = 3
"""How many of the answers numbers are looked for in first, where some of the answers are wrong."""

Numbers = dict[str, float]
"""The numbers in a combination's shapes, by convention."""

Ends = tuple[np.ndarray, np.ndarray]
"""What the reference answers with the least and with the largest number of a range."""


@dataclass(eq=False)
class Answered:
    """A question and what the candidate answered, all results in a row."""

    question: Question
    answers: tuple[Any, ...]
    values: np.ndarray
    magnitude: np.ndarray
    """The absolute sum of the terms of each of the values."""
    slacks: dict[Fraction, np.ndarray] = field(default_factory=dict)

    def slack(self, roundoff: Fraction) -> np.ndarray:
        """How far the candidate's and the reference's rounding may take each value from what the other answers."""
        if roundoff not in self.slacks:
            known = [tolerance(magnitude=1, roundings=self.question.roundings, roundoff=u) for u in (roundoff, DOUBLE)]
            self.slacks[roundoff] = self.magnitude * float(sum(known))
        return self.slacks[roundoff]

    def distance(self, chosen: dict[str, str], roundoff: Fraction) -> float:
        """How far the answer is from the reference's, where it is furthest, as a share of what rounding explains."""
        off, slack = np.abs(self.reference(chosen) - self.values), self.slack(roundoff)
        return float((off / np.where(slack > 0, slack, inf)).max(initial=0))

    def met(self, chosen: dict[str, str], roundoff: Fraction) -> bool:
        """Whether the answer is the reference's but for the last rounding, that to its precision."""
        off = np.abs(self.reference(chosen) - self.values)
        return bool((off <= float(roundoff) * np.abs(self.values)).all())

    def reference(self, chosen: dict[str, str]) -> np.ndarray:
        """What the reference answers in floats; where floats do not hold that, what is right, rounded."""
        return _reference(self.question, tuple(chosen.items()))

    def missed(self, chosen: dict[str, str], roundoff: Fraction) -> float:
        """The share of the answer that the choices do not explain, to within the reference's own rounding."""
        return float((np.abs(self.reference(chosen) - self.values) > self.slack(roundoff)).mean())

    def missed_of_what_tells(self, chosen: dict[str, str], roundoff: Fraction) -> float:
        """The same of the values that say something of the choices: of those larger than what rounding explains.

        A zero is answered for many reasons, and beside terms whose rounding is larger than it any other small number.
        """
        slack = self.slack(roundoff)
        tells = np.abs(self.values) > slack
        wrong = np.abs(self.reference(chosen) - self.values) > slack
        return float(wrong[tells].mean()) if tells.any() else 0.0

    def explained(self, chosen: dict[str, str], roundoff: Fraction) -> bool:
        """Whether the answer is exactly the right one under these choices, as far as rounding lets it."""
        right = each(self.question.answer(**chosen))
        return all(
            first_miss(part.value, exact, roundoff=roundoff, **self.question.judged) is None
            for part, exact in zip(self.answers, right, strict=True)
        )

    def precise(self, chosen: dict[str, str], roundoff: Fraction) -> tuple[int, int]:
        """How many of the right values float32 does not hold, so that they show a precision, and how many are met."""
        right = self.reference(chosen)
        with np.errstate(over="ignore"):
            shows = np.abs(right - right.astype(np.float32)) > self.slack(DOUBLE)
        return int(shows.sum()), int((shows & (np.abs(right - self.values) <= self.slack(roundoff))).sum())


@lru_cache(maxsize=2**16)
def _reference(question: Question, chosen: tuple[tuple[str, str], ...]) -> np.ndarray:
    """What the reference answers, which does not depend on who else is asked."""
    function = getattr(reference, question.operation.name)
    with suppress(ArithmeticError, ValueError), np.errstate(all="ignore"):
        values = in_a_row(each(function(*question.arguments, **last_names(dict(chosen)))))
        if np.isfinite(values).all():
            return values
    return in_a_row(each(question.answer(**dict(chosen))))


def in_a_row(parts: Sequence[Any]) -> np.ndarray:
    """The numbers of several results as floats, one after the other."""
    return np.concatenate([np.asarray(part, dtype=float).ravel() for part in parts])


@dataclass
class Combination:
    """One choice of each convention, and what is known of the numbers in them."""

    choices: tuple[Choice, ...]
    preferred: Numbers
    """Numbers to try first: those declared, or the default ones."""
    ranges: dict[str, tuple[float, float]] = field(init=False)
    numbers: Numbers = field(init=False)
    settled: set[str] = field(default_factory=set)
    """The conventions whose numbers are told by answers in which no other number shows."""
    tried: dict[float, float] = field(default_factory=dict)
    """Next to which number that was tried a range ends: what is answered with the one is answered with the other."""
    failed: dict[tuple[Any, ...], float] = field(default_factory=dict)
    """The share of an answer that is not explained, by the answer and by what was known of the numbers then."""
    missed: int = 0
    """How many of the answers it does not explain."""
    share: float = 0.0
    """The sum of the shares of these answers that it does not explain."""

    def __post_init__(self) -> None:
        """Everything is open yet."""
        self.restart()

    def restart(self) -> None:
        """Forget what was found of the numbers."""
        self.ranges = {choice.convention: (choice.low, choice.high) for choice in self.choices if choice.letter}
        simplest = {name: simplest_decimal(*ends) for name, ends in self.ranges.items()}
        self.numbers = {name: self.preferred.get(name) or simplest[name] or self.ranges[name][0] for name in simplest}

    def told(self) -> dict[str, str]:
        """The choices without those that make no difference beside the others."""
        idle = {name for choice in self.choices for name in choice.idle}
        return {name: text for name, text in self.chosen().items() if name not in idle}

    def chosen(self, **numbers: float) -> dict[str, str]:
        """The choices by their conventions' names, with the numbers in them, or others in the place of some."""
        known = self.numbers | numbers
        return {
            choice.convention: choice.with_number(known[choice.convention]) if choice.letter else choice.text
            for choice in self.choices
        }

    def count(self, asked: Answered, roundoff: Fraction) -> None:
        """Note whether an answer is explained."""
        fails = self.fit(asked, roundoff, steps=GUESSES) > 0
        share = asked.missed_of_what_tells(self.chosen(), roundoff) if fails else 0.0
        self.missed += share > 0
        self.share += share

    def settle(self, answered: Sequence[Answered], roundoff: Fraction, starts: int) -> None:
        """Take the numbers with which the most is explained, found from one or another of the answers, and count.

        starts: from how many of the answers numbers are looked for, one after the other.
        Numbers that nobody named have to explain the worth of `BY_CHANCE` answers more than the usual ones, since some
        number or other may meet a wrong answer.
        """
        found: list[tuple[float, list[float], Numbers]] = []
        for first in range(starts + 1 if self.ranges else 1):
            self.restart()
            usual = self.numbers
            for asked in [*answered[first:], *answered[:first]] if first else []:
                self.fit(asked, roundoff, steps=GUESSES)
            shares = [asked.missed_of_what_tells(self.chosen(), roundoff) for asked in answered]
            found.append((sum(shares) + BY_CHANCE * (self.numbers != usual), shares, self.numbers))
        _, shares, self.numbers = min(found, key=lambda one: one[0])
        self.missed, self.share = sum(map(bool, shares)), sum(shares)

    def refine(self, answered: Sequence[Answered], roundoff: Fraction) -> None:
        """Take the simplest numbers that explain the answers about as well as the best ones do.

        What rounding may do is more than it does: a number that is merely within that may be far from the candidate's.
        """
        found = [(self._distance(answered, roundoff), self.numbers)]
        while self.explains(answered, roundoff, found[-1][0] / 8) and self.numbers != found[-1][1]:
            found.append((self._distance(answered, roundoff), self.numbers))
        self.numbers = next(numbers for distance, numbers in found if distance <= 8 * found[-1][0])
        self._round(answered, roundoff, 8 * found[-1][0])

    def _round(self, answered: Sequence[Answered], roundoff: Fraction, most: float) -> None:
        """Take numbers of fewer digits where they come as close: which are tried first depends on the other numbers."""
        for choice in self.choices:
            if not choice.letter:
                continue
            number = self.numbers[choice.convention]
            rounder = [float(f"{number:.{digits}e}") for digits in range(17)]
            for other in rounder[: rounder.index(number)]:
                exact, self.numbers = self.numbers, self.numbers | {choice.convention: other}
                if choice.low <= other <= choice.high and self._comes_as_close(answered, roundoff, most):
                    break
                self.numbers = exact

    def _comes_as_close(self, answered: Sequence[Answered], roundoff: Fraction, most: float) -> bool:
        chosen = self.chosen()
        return self._distance(answered, roundoff) <= most or all(asked.met(chosen, roundoff) for asked in answered)

    def _distance(self, answered: Sequence[Answered], roundoff: Fraction) -> float:
        return max(asked.distance(self.chosen(), roundoff) for asked in answered)

    def explains(self, answered: Sequence[Answered], roundoff: Fraction, share: float = 1.0) -> bool:
        """Find numbers with which all of the answers are explained; whether there are any.

        First those questions are looked at in whose answers one number shows, then those in which several do.  Of these
        numbers those are changed last that are settled by the former.
        share: of what rounding may do.
        """
        self.settled = set()
        for together in (False, True):
            if together and len(self.ranges) > 1:
                self.settled = self._settled(answered, [share * asked.slack(roundoff) for asked in answered])
            before: Numbers | None = None
            while before != self.numbers:
                before = self.numbers
                if any(self.fit(asked, roundoff, share, together) for asked in answered):
                    return False
        return True

    def fit(
        self, asked: Answered, roundoff: Fraction, share: float = 1.0, together: bool = True, steps: float = inf
    ) -> float:
        """Find numbers with which an answer is explained, in the ranges left of them.

        share: of what rounding may do.  together: whether to do so even if several numbers show in it.
        steps: after how many numbers that are not it the search is given up.
        Returns the share of the answer that is not explained, 0 if numbers were found or are left open.
        """
        numbers = *self.ranges.values(), *self.numbers.values(), frozenset(self.settled)
        known = asked, roundoff, share, together, steps, numbers
        if known not in self.failed:
            missed = self._fitted(asked, roundoff, share, together, steps)
            if missed == 0:
                return missed
            self.failed[known] = missed  # what fails leaves everything as it was
        return self.failed[known]

    def _fitted(self, asked: Answered, roundoff: Fraction, share: float, together: bool, steps: float) -> float:
        """The same, worked out: a range's simplest number is tried, and the range ends there if it is too far off."""
        slack, before = share * asked.slack(roundoff), (self.ranges, self.numbers)
        tried = 0
        while True:
            off = asked.reference(self.chosen()) - asked.values
            wrong = np.abs(off) > slack
            if not wrong.any():
                return 0.0
            ends = self._every_end(asked)
            shows = {name: np.abs(stop - start) > HIDDEN * slack for name, (start, stop) in ends.items()}
            showing = sorted((name for name, where in shows.items() if (where & wrong).any()), key=self._is_settled)
            hopeless = bool((wrong & ~np.any([*shows.values(), wrong & False], axis=0)).any())  # whatever the numbers
            if len(showing) > 1 and not together and not hopeless:
                return 0.0
            hopeless |= tried >= steps
            if hopeless or not any(self._narrowed(asked, name, ends, off, slack) for name in showing):
                self.ranges, self.numbers = before
                return float(wrong.mean())
            tried += 1

    def _is_settled(self, name: str) -> bool:
        return name in self.settled

    def _settled(self, answered: Sequence[Answered], slacks: Sequence[np.ndarray]) -> set[str]:
        """Whose numbers are told from smaller and from larger ones by answers in which no other number shows."""
        told: set[tuple[str, float]] = set()
        for asked, slack in zip(answered, slacks, strict=True):
            moved = {name: np.abs(stop - start) for name, (start, stop) in self._every_end(asked).items()}
            showing = [name for name, by in moved.items() if (by > HIDDEN * slack).any()]
            if len(showing) == 1:
                told.update((showing[0], by) for by in APART if self._told(asked, showing[0], by, slack))
        return {name for name in self.numbers if all((name, by) in told for by in APART)}

    def _told(self, asked: Answered, name: str, by: float, slack: np.ndarray) -> bool:
        """Whether an answer tells a number from so many times it."""
        other = self.chosen(**{name: self.numbers[name] * by})
        return bool((np.abs(asked.reference(other) - asked.reference(self.chosen())) > slack).any())

    def _every_end(self, asked: Answered) -> dict[str, Ends]:
        return {name: self._at_ends(asked, name) for name in self.ranges}

    def _at_ends(self, asked: Answered, name: str) -> Ends:
        """What the reference answers with the numbers at both ends of a range."""
        least, largest = (self.tried.get(end, end) for end in self.ranges[name])
        return asked.reference(self.chosen(**{name: least})), asked.reference(self.chosen(**{name: largest}))

    def _narrowed(
        self,
        asked: Answered,
        name: str,
        ends: dict[str, Ends],
        off: np.ndarray,
        slack: np.ndarray,
    ) -> bool:
        """Take another number, on the side where the answer is; whether there is any.

        ends: what the reference answers with each number at both ends of its range.
        If an end of the range explains the answer, it is on the side of that end.  Otherwise it is looked for by the
        value that is furthest off, of those that lie between what both ends give.
        """
        start, stop = ends[name]
        at_end = [bool((np.abs(known - asked.values) <= slack).all()) for known in ends[name]]
        between = (np.minimum(start, stop) - slack <= asked.values) & (asked.values <= np.maximum(start, stop) + slack)
        excess = np.where(between & (start != stop), np.abs(off) - slack, 0)
        worst = int(np.argmax(excess))
        if excess[worst] <= 0 and not any(at_end):
            return False
        number, (least, largest) = self.numbers[name], self.ranges[name]
        too_large = at_end[0] if any(at_end) else (off[worst] > 0) == (stop[worst] > start[worst])
        beside = nextafter(number, 0 if too_large else inf)
        self.tried[beside] = number
        left = (least, beside) if too_large else (beside, largest)
        if not any(at_end):
            known = (float(start[worst]), float(off[worst] + asked.values[worst]), float(stop[worst]))
            others = (np.abs(last - first)[worst] for other, (first, last) in ends.items() if other != name)
            left = self._on_the_line(asked, name, worst, known, float(slack[worst] + sum(others)), left) or left
        nearer = simplest_decimal(*left)
        if nearer is None:
            return False
        self.ranges, self.numbers = self.ranges | {name: left}, self.numbers | {name: nearer}
        return True

    def _on_the_line(
        self,
        asked: Answered,
        name: str,
        place: int,
        known: tuple[float, float, float],
        unknown: float,
        left: tuple[float, float],
    ) -> tuple[float, float] | None:
        """Where a value, which is about linear in the number, meets the answer: a part of the range that is left.

        known: what the reference answers in that place with the least number, the one at hand and the largest.
        unknown: by how much rounding and other numbers may move the value.
        None if the value is not linear, or the answer does not lie there.
        """
        least, largest = self.ranges[name]
        rise = (known[2] - known[0]) / (largest - least)
        if abs(known[0] + rise * (self.numbers[name] - least) - known[1]) > LINEAR * abs(known[2] - known[0]):
            return None
        met, wide = least + (float(asked.values[place]) - known[0]) / rise, abs(2 * unknown / rise)
        ends = max(left[0], met - wide), min(left[1], met + wide)
        if ends[0] > ends[1]:
            return None
        low, high = (float(asked.reference(self.chosen(**{name: end}))[place] - asked.values[place]) for end in ends)
        return ends if low * high <= 0 and min(abs(low), abs(high)) > unknown else None


@lru_cache(maxsize=4096)
def simplest_decimal(least: float, largest: float) -> float | None:
    """The decimal of the fewest digits in a range of positive numbers, of several the one in the middle."""
    if least > largest:
        return None
    highest = floor(log10(largest))
    powers = [power for power in range(floor(log10(least)), highest + 2) if least <= float(f"1e{power}") <= largest]
    if powers:
        return float(f"1e{powers[len(powers) // 2]}")
    for places in range(-highest, 340):
        unit = Fraction(10) ** -places
        first, last = ceil(Fraction(repr(least)) / unit), floor(Fraction(repr(largest)) / unit)
        if first <= last:
            return float((first + last) // 2 * unit)
    return None


def combinations(candidate: Candidate, operation: str) -> list[Combination]:
    """Every way to choose where the operation is left a choice, but for numbers, which are open.

    A choice that is one of a shape of the same convention is left out: its number is the shape's that is tried first.
    Of a convention that is idle beside another's choice there is the first choice only.
    """
    free = choices_of(operation)
    declared = {name: text for name in free if (text := candidate.declared.get(name))}
    kept = {
        name: [choice for choice in of if choice.letter or not any(map(_shape_of(choice.text), of))]
        for name, of in free.items()
    }
    found = []
    for taken in product(*kept.values()):
        idle = {name for choice in taken for name in choice.idle}
        if any(choice.convention in idle and choice is not kept[choice.convention][0] for choice in taken):
            continue
        preferred = {
            choice.convention: number
            for choice in taken
            for text in (free[choice.convention][0].text, declared.get(choice.convention, ""))
            if choice.letter and choice.fits(text) and (number := choice.number(text))
        }
        found.append(Combination(taken, preferred))
    return found


def _shape_of(text: str) -> Callable[[Choice], bool]:
    return lambda choice: bool(choice.letter) and choice.fits(text)


def infer(candidate: Candidate, operation: str) -> dict[str, str]:
    """The conventions under which the operation's answers are explained, by convention's name.

    All combinations of choices are held against a few questions, and while several explain all answers, against more of
    them.  Of those that are left one with the choices that the candidate declares is taken, or else with the default
    ones; what else it may be is noted in ``candidate.alike``.  Where none explains all of the answers to float64's
    precision, nor to float32's, it is the one that explains the most, and the questions whose answers it does not
    explain are kept in ``candidate.unexplained`` for the property that judges them.

    A declared choice that explains the answers to float32's precision comes before another one that explains them to
    float64's, unless one of them is a number that float32 does not hold.

    ``OPERATION.precision`` is that of the answers that are explained, and says so if some are not.  Nothing is said of
    an operation that answered no question, nor of a convention that makes no difference beside the other choices.
    """
    lots = probe(candidate, operation)
    answered = next(lots, [])
    if not answered:
        return {}
    found = []
    for roundoff in sorted({DOUBLE, SINGLE, ROUNDOFFS[candidate.precision(operation)]}):
        left = _left(candidate, operation, roundoff, answered, lots)
        taken = next((one for one in left if _holds(candidate, one, answered, roundoff)), None)
        if taken is None:
            continue
        found.append((taken, left, roundoff))
        if not _contradicted(candidate, taken):
            break
        if roundoff == DOUBLE and any(asked.precise(taken.chosen(), roundoff)[0] for asked in answered):
            break
    if found:
        taken, left, roundoff = min(found, key=lambda one: _contradicted(candidate, one[0]))
        _note_others(candidate, taken, left)
        return taken.told() | {f"{operation}.precision": "float64" if roundoff == DOUBLE else "float32"}
    for more in lots:
        answered += more
    return _most(candidate, operation, answered)


def _left(
    candidate: Candidate, operation: str, roundoff: Fraction, answered: list[Answered], lots: Iterator[list[Answered]]
) -> list[Combination]:
    """The combinations that explain the answers in floats, the likeliest first.  More is asked while there are two."""
    left = [one for one in combinations(candidate, operation) if one.explains(answered, roundoff)]
    while len(left) > 1 and (more := next(lots, [])):
        answered += more
        left = [one for one in left if one.explains(answered, roundoff)]
    return sorted(left, key=partial(_against, candidate))


def _holds(candidate: Candidate, taken: Combination, answered: Sequence[Answered], roundoff: Fraction) -> bool:
    """Whether the combination explains the answers exactly, with numbers that were declared, or the simplest ones."""
    if any(candidate.declared.get(name) != taken.chosen()[name] for name in taken.numbers):
        taken.refine(answered, roundoff)
    return all(asked.explained(taken.chosen(), roundoff) for asked in answered[:EXACTLY])


def probe(candidate: Candidate, operation: str) -> Iterator[list[Answered]]:
    """Questions and their answers, in lots; those without an answer are left out, and the first lot has enough of them.

    There are more lots only as long as nothing but asking tells the choices apart.  With the first one comes what shows
    a clamp.
    """
    candidate.start_trial()
    answered: list[Answered] = []
    far = list(_asked(candidate, lone_number_questions(operation)))
    for which, count in enumerate(LOTS):
        answered += _asked(candidate, drawn(PLAIN_QUESTIONS[operation], count, which))
        if len(answered) >= ENOUGH:
            yield [*sorted(answered, key=_size), *far]
            answered, far = [], []
    if answered or far:
        yield [*sorted(answered, key=_size), *far]


def _size(asked: Answered) -> int:
    """How many values an answer has: most combinations are refuted by small ones, which are computed soon."""
    return asked.values.size


def _asked(candidate: Candidate, questions: Sequence[Question]) -> Iterator[Answered]:
    if not questions:
        return
    candidate.announce(questions[0].operation, [question.arguments for question in questions])
    with suppress(Stopped):  # further questions would not be answered
        for question in questions:
            with suppress(Violation, Declined):  # the properties will say so
                answers = each(candidate.answer(question.operation, *question.arguments))
                parts = [part.value for part in answers]
                sizes = [np.broadcast_to(np.asarray(question.magnitude, dtype=float), part.shape) for part in parts]
                yield Answered(question, answers, in_a_row(parts), in_a_row(sizes))


def _against(candidate: Candidate, taken: Combination) -> tuple[int, int, int, int]:
    """What speaks against a combination.

    Choices that were not declared, numbers that nobody writes, choices that are not the default ones, and numbers.
    """
    odd = sum(float(f"{number:.{WRITTEN - 1}e}") != number for number in taken.numbers.values())
    unusual = sum(choices()[name][0].text != choice for name, choice in taken.chosen().items())
    return _contradicted(candidate, taken), odd, unusual, len(taken.numbers)


def _contradicted(candidate: Candidate, taken: Combination) -> int:
    """How many declared choices are not those of the combination."""
    return sum(candidate.declared.get(name, choice) != choice for name, choice in taken.told().items())


def _note_others(candidate: Candidate, taken: Combination, left: Sequence[Combination]) -> None:
    """Keep, of each convention, the choices that explain the answers as well as the one taken."""
    for name, choice in taken.told().items():
        others = dict.fromkeys(other.chosen()[name] for other in left)
        others.pop(choice)
        if others:
            candidate.alike[name] = tuple(others)


def _most(candidate: Candidate, operation: str, answered: list[Answered]) -> dict[str, str]:
    """The choices and the precision with which the most answers are explained, where none explains all of them.

    A wrong value says nothing about precision, and neither does one that float32 holds.  Of the others those decide
    that are more: the ones that are right to float64, or those that are right to float32 only.  The latter have to be
    three quarters of all, since wrong values may be wrong by little: a spread hardly shows beside a larger epsilon.
    Arrays of float32 are none of float64, however wrong, and neither are numbers all of which float32 holds.
    """
    if candidate.answers_in_float32(operation) or _of_float32(answered):
        return _wrong(candidate, operation, answered, _best(candidate, operation, answered, SINGLE), SINGLE, sure=True)
    wide = _best(candidate, operation, answered, DOUBLE)
    exact = _met(answered, wide, DOUBLE)
    taken, roundoff = wide, DOUBLE
    may_be_narrow = not exact or 2 * exact < _met(answered, wide, SINGLE)
    if may_be_narrow and _half_explained(candidate, operation, answered, SINGLE):
        narrow = _best(candidate, operation, answered, SINGLE)
        if 2 * exact < _met(answered, narrow, SINGLE):
            taken, roundoff = narrow, SINGLE
    met = _met(answered, taken, roundoff)
    sure = met > 0 if roundoff == DOUBLE else 4 * met >= 3 * _shown(answered, taken)
    return _wrong(candidate, operation, answered, taken, roundoff, sure)


def _of_float32(answered: Sequence[Answered]) -> bool:
    """Whether float32 holds all that is answered, among it numbers with hardly fewer digits than it holds at most."""
    values = np.concatenate([asked.values for asked in answered])
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        held = (finite.astype(np.float32) == finite).all()
    short = np.frexp(finite)[0] * 2.0**FEW_DIGITS
    return bool(held and (short != np.rint(short)).sum() >= LONG)


def _wrong(
    candidate: Candidate,
    operation: str,
    answered: list[Answered],
    taken: Combination,
    roundoff: Fraction,
    sure: bool,
) -> dict[str, str]:
    """The choices of a combination, with the precision if it is sure, which explains the most answers and not all."""
    _round(taken, answered, roundoff)
    found, precision = taken.told(), "float64" if roundoff == DOUBLE else "float32"
    wrong = tuple(islice((one.question for one in answered if not one.explained(found, roundoff)), 1))
    if not wrong:  # numbers that were missed, each by itself, and are found together
        return found | {f"{operation}.precision": precision}
    candidate.unexplained[operation] = wrong
    return found | ({f"{operation}.precision": precision + WHERE_RIGHT} if sure else {})


def _round(taken: Combination, answered: list[Answered], roundoff: Fraction) -> None:
    """Take numbers of fewer digits if these explain no fewer answers: looked for one by one, they stand askew."""
    met = [asked for asked in answered if taken.numbers and not asked.missed(taken.chosen(), roundoff)]
    for digits in range(3 if taken.numbers else 0):
        numbers = {name: float(f"{number:.{digits}e}") for name, number in taken.numbers.items()}
        if not any(asked.missed(taken.chosen(**numbers), roundoff) for asked in met):
            taken.numbers = numbers
            return


def _met(answered: list[Answered], taken: Combination, roundoff: Fraction) -> int:
    """How many of the values that show a precision are met to one."""
    return sum(asked.precise(taken.chosen(), roundoff)[1] for asked in answered)


def _shown(answered: list[Answered], taken: Combination) -> int:
    """How many values show a precision."""
    return sum(asked.precise(taken.chosen(), DOUBLE)[0] for asked in answered)


def _best(candidate: Candidate, operation: str, answered: list[Answered], roundoff: Fraction) -> Combination:
    """The combination that explains the most answers, and of those it does not explain the largest shares."""

    def fails(one: Combination) -> tuple[Any, ...]:
        return one.missed, one.share, _against(candidate, one)

    left = combinations(candidate, operation)
    for scored, asked in enumerate(answered[:SCORED], start=1):
        for one in left:
            one.count(asked, roundoff)
        least = min(one.missed for one in left)
        left = [one for one in left if one.missed <= least + 1]
        none_explained = least == scored
        if none_explained and scored >= ENOUGH:  # only shares of answers tell the combinations apart, and few will do
            break
    left = sorted(left, key=fails)[:BEST]
    for one in left:
        one.settle(answered, roundoff, starts=0 if none_explained else STARTS)
    return min(left, key=fails)


def _half_explained(candidate: Candidate, operation: str, answered: list[Answered], roundoff: Fraction) -> bool:
    """Whether some combination explains half of the first few answers."""
    few = answered[:ENOUGH]
    return any(
        2 * sum(one.fit(asked, roundoff) == 0 for asked in few) >= len(few)
        for one in combinations(candidate, operation)
    )


def drawn(questions: st.SearchStrategy[Question], count: int, which: int = 0) -> tuple[Question, ...]:
    """So many questions, the same ones everywhere; which: others with another number."""
    lots = (_drawn_at_once(questions, min(count - begin, AT_ONCE), which + 100 * place)
            for place, begin in enumerate(range(0, count, AT_ONCE)))  # fmt: skip
    return tuple(chain.from_iterable(lots))


@cache
def _drawn_at_once(questions: st.SearchStrategy[Question], count: int, which: int) -> tuple[Question, ...]:
    """So many questions, drawn all at once: drawn one by one, half of them are small changes of others."""
    found: list[list[Question]] = []

    @seed(which)
    @settings(
        max_examples=2,  # the first is the simplest, so many times
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(questions, min_size=count, max_size=count))
    def draw(several: list[Question]) -> None:
        found.append(several)

    with same_everywhere():
        draw()
    return tuple(found[-1])
