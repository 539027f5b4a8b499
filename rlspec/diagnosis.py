"""What a candidate gets wrong: the fewest edits, or known mistakes, that answer all questions as the candidate does."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import islice, product
from math import inf
from time import thread_time
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from .behaviour import Asked, Behaviour, behaviour
from .candidate import Candidate
from .candidates import reference
from .conventions import drawn
from .edits import SOURCE, Inner
from .faults import Fault, museum, right
from .kinds import NOT_FINITE, NOT_FINITE_EITHER, Kind, kind
from .properties.checking import DOUBLE, ROUNDOFFS, SINGLE, Call
from .properties.questions import PLAIN_QUESTIONS, QUESTIONS
from .properties.questions.question import last_names
from .repair import SECONDS, Deadline, Explanation, Observed, Repair, as_inner, digits, growth, largest_number, outcome
from .spec.clauses import conventions_of
from .spec.operations import OPERATIONS, Operation

FRESH = 60
"""Questions of each kind, plain ones and any, that mistakes have to answer like the candidate."""

ENOUGH = 20
"""Fresh questions that have to be answered before any mistake is named."""

BESIDE = 200
"""How many other combinations of choices known mistakes are looked for beside."""

BESIDE_SECONDS = 1.5
"""Processor time that this may take; the combinations that differ the least from those in force come first."""

CONFIRMING = 100
"""How many more questions of each kind an edit has to answer like the candidate, before it is said."""

CONFIRMED = 8
"""How many of the plainest edits are held against these."""

MOST = 4
"""How many mistakes at once are looked for."""

SORTED = 24
"""How many wrong answers are put in order, those first in which few known mistakes show."""

OFTEN = (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.2, 0.5, 0.9, 0.95, 0.99, 1.0, 2.0, 10.0)
"""Numbers that a known mistake may be made with in the place of its own."""

OTHER_CHOICE = 0.5
"""How much further from plain an explanation is beside a choice that is not in force."""

IMPRECISE = "M-OPS-4"
"""The fault of an operation that does nothing wrong but in single precision."""

IN_VAIN = 2
"""After how many searches of one operation that explain nothing no further one is made."""

Stack = tuple[Fault, ...]
"""Faults of one operation, the outer ones around the inner: each of them but the last calls what is right."""


@dataclass(frozen=True)
class Mistake:
    """What a candidate gets wrong: an edit of what is right, known defects, or what kind of thing it is."""

    faults: tuple[Fault, ...] = ()
    """The museum's, which all together do what the candidate does."""
    conventions: dict[str, str] = field(default_factory=dict)
    """The choices beside which it shows, where they are not those in force."""
    explanation: Explanation | None = None
    """The plainest edit, or edits, of what is right that do what the candidate does."""
    answers: Inner | None = field(default=None, repr=False, compare=False)
    """What is right with these edits, as a function of the arguments by name."""
    kind: Kind | None = None
    """What kind of thing is wrong, where nothing explains it."""
    stack: Stack = field(default=(), repr=False, compare=False)
    """The museum's in the order in which they stand around each other, if it is not that in which they are said."""

    @property
    def layers(self) -> Stack:
        """The museum's in the order in which they stand around each other."""
        return self.stack or self.faults

    @property
    def words(self) -> str:
        """What is wrong, in a sentence."""
        if self.explanation:
            return str(self.explanation)
        return self.kind.words if self.kind else " ".join(fault.effect for fault in self.faults)

    def as_json(self) -> dict[str, Any]:
        """What is known of it."""
        found: dict[str, Any] = {
            "words": self.words,
            "explained": not self.kind,
            "edited": bool(self.explanation),
            "faults": [
                {"id": fault.id, "slug": fault.slug, "effect": fault.effect, "seen": list(fault.seen)}
                for fault in self.faults
            ],
        }
        found |= {"numbers": self.kind.numbers} if self.kind else {}
        return found | ({"conventions": self.conventions} if self.conventions else {})


class Diagnosis:
    """What is known of the mistakes that a candidate makes in one operation."""

    def __init__(self, candidate: Candidate, operation: str, conventions: dict[str, str] | None = None) -> None:
        self.candidate = candidate
        self.operation = OPERATIONS[operation]
        self.conventions = candidate.conventions(operation) if conventions is None else conventions
        self.faults = [fault for fault in museum().values() if fault.operation == operation]
        self.precisions = sorted({0.0, float(DOUBLE), float(ROUNDOFFS[candidate.precision(operation)])})
        self.deadline = Deadline(SECONDS)
        self._found: list[list[Mistake]] = []
        self._in_vain = 0
        self._done = cache(self._done)  # type: ignore[method-assign]
        self._mistaken = cache(self._mistaken)  # type: ignore[method-assign]

    def mistakes(self, call: Call) -> list[Mistake]:
        """What explains this call and every fresh one: edits of what is right, or known mistakes, or both together.

        The fewest that do, and to as many digits as any do; of several at once, those that show on this call first.
        Where no choices explain what the candidate does, one mistake is looked for beside those that explain the most,
        and beside each that differs from them in one convention.  Where nothing explains it, what kind of thing is
        wrong.
        """
        self.deadline = Deadline(SECONDS)
        calls = [*self._asked(call.arguments, 1000 * _largest(self.operation, call.arguments)), *self.battery]
        if not _finite(call.arguments):
            calls += self.poisoned
        if len(self.battery) < ENOUGH or not self._repeats(calls[0]):
            return [Mistake(kind=self._kind(calls))]
        if known := self._known_already(calls):
            return known
        if _has_nan(calls[0]) and not _finite(call.arguments):
            if self._right_where_finite():
                return self._through_zeros(calls, 1, NOT_FINITE)
            if self._explained_where_finite():
                return self._through_zeros(calls, 2, NOT_FINITE_EITHER)
        return self._noted(calls, _finite(call.arguments)) or [Mistake(kind=self._kind(calls))]

    def _noted(self, calls: list[Asked], finite: bool) -> list[Mistake]:
        """What explains the calls; it is remembered, as it is that nothing does, where all their numbers are finite."""
        found = self._sought(calls)
        if found:
            self._found.append(found)
        elif finite:
            self._in_vain += 1
        return found

    def _explained_where_finite(self) -> bool:
        """Whether what is wrong in fresh calls, of finite numbers, has an explanation."""
        if not self._found and self._in_vain < IN_VAIN:
            self._noted(self.battery, finite=True)
        return bool(self._found)

    def _right_where_finite(self) -> bool:
        """Whether every fresh call is answered rightly; their numbers are finite."""
        return self._explained(self.battery, (), self.precisions[-1]) == len(self.battery)

    def _through_zeros(self, calls: list[Asked], most: int, otherwise: Kind) -> list[Mistake]:
        """The known mistakes, so many at most, by which what is not finite gets into the answer, or that it does."""
        known = next(filter(None, islice(self._levels(calls, self.precisions[-1]), most)), [])
        return [Mistake(faults) for faults in known] or [Mistake(kind=otherwise)]

    def _known_already(self, calls: list[Asked]) -> list[Mistake]:
        """What explained another call, and every fresh one, if it explains these, too, and the first has an answer.

        The fresh calls are the same for every call, so that what was sought in vain twice is not there to be found.
        """
        answered = calls[0].answered.results is not None
        for found in self._found:
            if answered and all(self._does(found[0], asked) for asked in calls):
                return found
        if self._in_vain >= IN_VAIN and _finite(calls[0].arguments):
            return [Mistake(kind=self._kind(calls))]
        return []

    def _does(self, mistake: Mistake, asked: Asked) -> bool:
        """Whether a call is answered as the mistake says, as far as float64 or the candidate's precision lets it."""
        roundoff = max(self.precisions[-1], float(DOUBLE))
        beside = self._with(mistake.conventions) if mistake.conventions else self
        if mistake.answers is None:
            return beside._explains(mistake.layers, asked, roundoff)
        named = dict(zip(self.operation.parameters, asked.arguments, strict=True)) | last_names(beside.conventions)
        follows = bool(mistake.explanation and mistake.explanation.follows)
        with beside.deadline.running():
            right = outcome(as_inner(getattr(reference, self.operation.name), self.operation.parameters), named)
            observed = Observed.of(self.operation, asked, named, right, roundoff)
            return observed.explained(outcome(mistake.answers, named, 1 if follows else None), follows)

    def _sought(self, calls: list[Asked]) -> list[Mistake]:
        by_number = self._by_number(calls)
        found = next(by_number) or self._with_other_numbers(calls)
        if not self.candidate.explained(self.operation.name):
            if not any(mistake.faults for mistake in found):
                found = self._beside_other_choices(calls, known=True) or found
            if _is_odd(found):
                found = self._plainer(found, self._beside_other_choices(calls, plain=True))
            found = found or self._beside_other_choices(calls)
        return found or next(filter(None, by_number), [])

    def _plainer(self, found: list[Mistake], others: list[Mistake]) -> list[Mistake]:
        """What is found beside other choices, if that is nearer to plain or nothing else was found.

        Both do what the candidate does, so that a known mistake that does the one does the other.
        """
        here = min((one.explanation.cost for one in found if one.explanation), default=inf)
        there = min((one.explanation.cost for one in others if one.explanation), default=inf)
        if here <= there + OTHER_CHOICE:
            return found or others
        known = found[0].faults if found else ()
        return [one if one.faults else replace(one, faults=known) for one in others]

    def _with_other_numbers(self, calls: Sequence[Asked]) -> list[Mistake]:
        """A known mistake that explains all calls once one of the numbers in it is another, such as 1e-8 for 1e-6."""
        wrong = [asked for asked in calls if not self._explains((), asked, float(DOUBLE))]
        for fault in self.faults:
            for other in filter(lambda one: wrong and self._explains((one,), wrong[0], float(DOUBLE)), _varied(fault)):
                if self._explained([*wrong, *calls], (other,), float(DOUBLE)) == len(wrong) + len(calls):
                    return [Mistake((other,))]
        return []

    def _repeats(self, asked: Asked) -> bool:
        """Whether the candidate does the same when it is asked the same again."""
        return behaviour(self.candidate, self.operation, asked.arguments).like(asked.answered, 0.0)

    def _by_number(self, calls: list[Asked]) -> Iterator[list[Mistake]]:
        """What explains all calls beside the choices in force: single mistakes, then two at once, and so on."""
        levels = {roundoff: self._levels(calls, roundoff) for roundoff in self.precisions}
        repair = cache(partial(self._repair, calls))
        for many in range(1, MOST + 1):
            found: list[Mistake] = []
            for roundoff in self.precisions:
                if self._explained(calls, (), roundoff) == len(calls):
                    imprecise = roundoff == SINGLE and self._imprecise(calls)
                    yield found or [Mistake((museum()[IMPRECISE],))] if imprecise else found
                    return
                stacks = next(levels[roundoff], [])
                # An edit is held to float64 at least, so without known mistakes it is sought in that precision's turn.
                needless = found or (stacks and many > 1) or (not stacks and roundoff < self._least)
                explanations = [] if needless else self._edits(repair, many, roundoff)
                found = found or self._together(calls, stacks, explanations, roundoff)
            yield found

    @cached_property
    def _least(self) -> float:
        """The least unit roundoff to which edits are sought: float64's, or the candidate's own where that shows.

        It shows where an answer is right to the one precision and not to the other, or no answer has more digits.
        """
        own, double = self.precisions[-1], float(DOUBLE)
        if own <= double:
            return double
        answers = [part for asked in self.battery for part in asked.answered.results or ()]
        with np.errstate(all="ignore"):
            short = all((part.astype(np.float32) == part).all() for part in answers if np.isfinite(part).all())
        shows = (self._explains((), asked, own) and not self._explains((), asked, double) for asked in self.battery)
        return own if short or any(shows) else double

    def _edits(self, repair: Callable[[float], Repair], many: int, roundoff: float) -> list[Explanation]:
        """The edits, so many, that explain all calls and more; as far as rounding in float64 lets them, at least."""
        if many > 2 or self.deadline.over:
            return []
        unit = max(roundoff, float(DOUBLE))
        search = repair(unit)
        found = search.single() if many == 1 else search.double()
        if not found:
            return []
        fresh = self._repair(self.confirming, unit)
        confirmed = [one for one in found[:CONFIRMED] if fresh.holds(one)]
        return confirmed or (search.together_with(fresh).single() if many == 1 else [])

    def _repair(self, calls: Sequence[Asked], roundoff: float) -> Repair:
        chosen = last_names(self.conventions)
        return Repair.of(
            self.operation, getattr(reference, self.operation.name), chosen, calls, roundoff, self.deadline
        )

    def _together(
        self, calls: Sequence[Asked], stacks: Sequence[Stack], explanations: Sequence[Explanation], roundoff: float
    ) -> list[Mistake]:
        """Known mistakes with the words of the edit that does the same; or the edit alone."""
        plainest = min(explanations, key=lambda one: one.cost, default=None)
        answers = (
            plainest.around(as_inner(getattr(reference, self.operation.name), self.operation.parameters))
            if plainest
            else None
        )
        here = self._showing(calls[0], roundoff)
        ordered = [tuple(sorted(stack, key=lambda fault: fault not in here)) for stack in stacks]
        if plainest is None:
            return [Mistake(faults, stack=stack) for faults, stack in zip(ordered, stacks, strict=True)]
        ordered = ordered or [(fault,) for fault in self._same_elsewhere(plainest)]
        return [Mistake(faults, {}, plainest, answers) for faults in ordered or [()]]

    def _same_elsewhere(self, explanation: Explanation) -> list[Fault]:
        """The known mistakes that do what the explanation does beside the default choices, where others are in force.

        A fault that computes for itself does so beside one choice, and is blind beside another.  An explanation that
        changes nothing beside those is none of theirs.
        """
        if self.conventions == self.default_choices:
            return []
        name = self.operation.name
        right = as_inner(getattr(reference, name), self.operation.parameters)
        changed = explanation.around(right)
        default = last_names(self.default_choices)
        same, shows = list(self.faults), False
        for asked in self.battery:
            if not same:
                break
            named = {**dict(zip(self.operation.parameters, asked.arguments, strict=True)), **default}
            does, slack = outcome(changed, named), asked.roundoffs * float(DOUBLE)
            shows = shows or not Observed(named, outcome(right, named), slack).explained(does)
            done = [(fault, self._done_by_default(fault, asked)) for fault in same]
            same = [fault for fault, its in done if Observed(named, its, slack).explained(does)]
        return sorted(same, key=lambda fault: not fault.seen) if shows else []

    def _done_by_default(self, fault: Fault, asked: Asked) -> tuple[np.ndarray, ...] | None:
        faulty = Candidate(SimpleNamespace(**{self.operation.name: fault.implementation}), fault.slug)
        return behaviour(faulty, self.operation, asked.arguments).results

    @cached_property
    def default_choices(self) -> dict[str, str]:
        """The first choice of each convention of the operation."""
        return {name: of[0] for name, of in conventions_of(self.operation.name).items()}

    def _kind(self, calls: Sequence[Asked]) -> Kind:
        """What kind of thing is wrong."""
        return kind(self.candidate, self.operation, self._repair(calls, self.precisions[-1]), calls)

    def _beside_other_choices(self, calls: list[Asked], known: bool = False, plain: bool = False) -> list[Mistake]:
        """What single mistakes, known ones or edits, explain all calls beside choices that are not in force.

        known: known ones alone.  plain: edits of arguments and results alone.
        The default choices come first, then those that differ in the fewest conventions; edits are sought beside those
        that differ in one, and beside the default choices.
        """
        free = conventions_of(self.operation.name)
        combined = (dict(zip(free, taken, strict=True)) for taken in product(*free.values()))
        others = [dict(taken.items() - self.conventions.items()) for taken in combined]
        default = dict(self.default_choices.items() - self.conventions.items())
        ordered = sorted(others, key=lambda chosen: (chosen != default, len(chosen)))
        beside = [chosen for chosen in ordered if len(chosen) == 1 or (chosen and (known or chosen == default))]
        begun = thread_time()
        for chosen in beside[:BESIDE]:
            if thread_time() - begun > BESIDE_SECONDS:
                break
            other = self._with(chosen)
            for roundoff in self.precisions:
                if found := other._single(calls, roundoff, known, plain):
                    return [replace(mistake, conventions=chosen) for mistake in found]
        return []

    def _with(self, chosen: dict[str, str]) -> "Diagnosis":
        """The same beside other choices."""
        other = Diagnosis(self.candidate, self.operation.name, self.conventions | chosen)
        other.deadline = self.deadline
        return other

    def _single(self, calls: list[Asked], roundoff: float, known: bool, plain: bool) -> list[Mistake]:
        """The single mistakes, known ones or edits, that explain all calls."""
        wrapping = [fault for fault in self.faults if known and fault.wraps]
        stacks = [(fault,) for fault in wrapping if self._explained(calls, (fault,), roundoff) == len(calls)]
        if self.deadline.over or (known and not stacks):
            return self._together(calls, stacks, [], roundoff)
        repair = partial(self._plain_repair if plain else self._repair, calls)
        return self._together(calls, stacks, self._edits(repair, 1, roundoff), roundoff)

    def _plain_repair(self, calls: Sequence[Asked], roundoff: float) -> Repair:
        repair = self._repair(calls, roundoff)
        return replace(repair, edits=[edit for edit in repair.edits if edit.stage != SOURCE])

    @cached_property
    def confirming(self) -> list[Asked]:
        """More fresh calls, and what the candidate did, to tell an explanation from one that only seems to be."""
        return self._of_questions(FRESH + CONFIRMING, FRESH)

    @cached_property
    def battery(self) -> list[Asked]:
        """Fresh calls, and what the candidate did."""
        return self._of_questions(FRESH)

    def _of_questions(self, count: int, behind: int = 0) -> list[Asked]:
        """The calls of so many questions of each kind, but for the first ones."""
        name = self.operation.name
        questions = [*drawn(PLAIN_QUESTIONS[name], count)[behind:], *drawn(QUESTIONS[name], count)[behind:]]
        asked = (self._asked(q.arguments, 2 * q.roundings * float(np.max(q.magnitude))) for q in questions)
        return [call for calls in asked for call in calls]

    @cached_property
    def poisoned(self) -> list[Asked]:
        """The fresh calls once more, with NaN where nothing may be read."""
        poisoned = ((_poisoned(self.operation, asked.arguments), asked.roundoffs) for asked in self.battery)
        return [call for arguments, roundoffs in poisoned if arguments for call in self._asked(arguments, roundoffs)]

    def _asked(self, arguments: tuple[Any, ...], roundoffs: float) -> list[Asked]:
        """The call and what the candidate did; nothing if it declines."""
        answered = behaviour(self.candidate, self.operation, arguments)
        return [Asked(arguments, answered, roundoffs)] if answered.failure != "declines" else []

    @cached_property
    def right(self) -> Callable[..., Any]:
        """The reference's operation, under the conventions."""
        return partial(getattr(reference, self.operation.name), **last_names(self.conventions))

    def _done(self, stack: Stack, asked: Asked) -> Behaviour:
        """What comes of the call where these mistakes are made, and no other."""
        return behaviour(self._mistaken(stack), self.operation, asked.arguments)

    def _mistaken(self, stack: Stack) -> Candidate:
        """A candidate that makes these mistakes, and no other."""
        name, layers = self.operation.name, (*(fault.implementation for fault in stack), self.right)
        return Candidate(SimpleNamespace(**{name: right.layered(name, *layers)}), name)

    def _explained(self, calls: Sequence[Asked], stack: Stack, roundoff: float) -> int:
        """How many of the calls the mistakes explain, up to the first that they do not."""
        return next((i for i, asked in enumerate(calls) if not self._explains(stack, asked, roundoff)), len(calls))

    def _explains(self, stack: Stack, asked: Asked, roundoff: float) -> bool:
        slack = asked.roundoffs * roundoff
        if stack and roundoff > DOUBLE and asked.answered.results:  # mistakes may make what rounding does larger
            named = dict(zip(self.operation.parameters, asked.arguments, strict=True))
            slack *= growth(asked, self._done((), asked).results)
            slack += digits(named, roundoff) * max(map(largest_number, asked.answered.results), default=0.0)
        return self._done(stack, asked).like(asked.answered, slack)

    def _showing(self, asked: Asked, roundoff: float) -> list[Fault]:
        """The faults that, alone, change what is answered to the call."""
        honest, slack = self._done((), asked), asked.roundoffs * roundoff
        return [fault for fault in self.faults if not self._done((fault,), asked).like(honest, slack)]

    def _imprecise(self, calls: Sequence[Asked]) -> bool:
        """Whether answers that are right to float32 are right where float32 rounds nothing, and stay what they are."""
        plain = [asked for asked in calls if _plain(asked.arguments) and _plain(self._done((), asked).results or ())]
        again = behaviour(self.candidate, self.operation, calls[0].arguments)
        return again.like(calls[0].answered, 0) and all(self._explains((), asked, float(DOUBLE)) for asked in plain)

    def _levels(self, calls: list[Asked], roundoff: float) -> Iterator[list[Stack]]:
        """The stacks of one fault that explain all calls, of two, and so on; one for each set of faults.

        A stack grows by a fault that shows on the first call that it does not explain, and has to explain that call
        then; only the first two faults may come together.  Calls on which few faults show come first.
        """
        wrong = [asked for asked in calls if not self._explains((), asked, roundoff)]
        calls = wrong + [asked for asked in calls if asked not in wrong]
        yield [(fault,) for fault in self.faults if self._explained(calls, (fault,), roundoff) == len(calls)]
        few = sorted(wrong[:SORTED], key=lambda asked: len(self._showing(asked, roundoff)))
        calls = few + wrong[SORTED:] + [asked for asked in calls if asked not in wrong]
        stacks: dict[frozenset[Fault], tuple[Stack, int]] = {frozenset(): ((), -1)}
        stacks = self._grown(stacks.values(), calls, roundoff)
        for _ in range(MOST - 1):
            stacks = self._grown(stacks.values(), calls, roundoff)
            yield [stack for stack, explained in stacks.values() if explained == len(calls)]

    def _grown(
        self, stacks: Iterable[tuple[Stack, int]], calls: Sequence[Asked], roundoff: float
    ) -> dict[frozenset[Fault], tuple[Stack, int]]:
        """By the set of its faults, each stack with one more that explains more calls than before, and how many."""
        grown: dict[frozenset[Fault], tuple[Stack, int]] = {}
        for stack, before in stacks:
            asked = calls[max(before, 0)]
            for taller in self._taller(stack, asked, roundoff):
                _, most = grown.get(frozenset(taller), ((), before))
                if before < 0 or self._explains(taller, asked, roundoff):  # a single call refutes most of them
                    explained = self._explained(calls, taller, roundoff)
                    if explained > most:
                        grown[frozenset(taller)] = taller, explained
        return grown

    def _taller(self, stack: Stack, asked: Asked, roundoff: float) -> Iterator[Stack]:
        """The stack with one more fault, of those that show on the call, in each place that allows for it."""
        for fault in self._showing(asked, roundoff):
            for place in range(len(stack) + 1) if fault not in stack else ():
                taller = (*stack[:place], fault, *stack[place:])
                if all(layer.wraps for layer in taller[:-1]):
                    yield taller


def _is_odd(found: Sequence[Mistake]) -> bool:
    """Whether there is no explanation, or one that changes the source of a formula."""
    return all(one.explanation is not None and any(e.stage == SOURCE for e in one.explanation.edits) for one in found)


def _varied(fault: Fault) -> Iterator[Fault]:
    """The fault with each of its numbers replaced by others that are often written."""
    code = fault.implementation.__code__
    for number in (constant for constant in code.co_consts if isinstance(constant, float)):
        for other in OFTEN:
            if other != number:
                constants = tuple(other if constant is number else constant for constant in code.co_consts)
                changed = FunctionType(
                    code.replace(co_consts=constants), fault.implementation.__globals__, fault.operation,
                    fault.implementation.__defaults__, fault.implementation.__closure__,
                )  # fmt: skip
                effect = f"{fault.effect}  Here the number is {other:g}, and not {number:g}."
                yield replace(fault, implementation=changed, effect=effect)


def _poisoned(operation: Operation, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with NaN for the successor's value at the last termination; nothing if there is none."""
    given = dict(zip(operation.parameters, arguments, strict=True))
    if not {"next_values", "terminated"} <= given.keys() or not given["terminated"].any():
        return ()
    next_values = np.array(given["next_values"], dtype=float)
    next_values.flat[np.flatnonzero(given["terminated"])[-1]] = np.nan
    return tuple((given | {"next_values": next_values}).values())


def _plain(numbers: Sequence[Any]) -> bool:
    """Whether all numbers are small and have few digits, so that float32 does not round what is computed with them."""
    real = [np.asarray(number) for number in numbers if np.asarray(number).dtype.kind == "f"]
    return all((np.abs(array) <= 64).all() and (array * 2**12 % 1 == 0).all() for array in real)


def _arrays(arguments: Sequence[Any]) -> list[np.ndarray]:
    return [argument for argument in arguments if isinstance(argument, np.ndarray) and argument.dtype.kind in "iuf"]


def _has_nan(asked: Asked) -> bool:
    """Whether there is NaN in what a call was answered with."""
    results = asked.answered.results
    return results is not None and any(np.isnan(result).any() for result in results)


def _finite(arguments: Sequence[Any]) -> bool:
    return all(np.isfinite(array).all() for array in _arrays(arguments))


def _largest(operation: Operation, arguments: Sequence[Any]) -> float:
    """The largest finite number among the arrays, and at least 1; what stands under a mask does not count."""
    named = dict(zip(operation.parameters, arguments, strict=True))
    if operation.mask:
        counts = np.asarray(named[operation.mask], dtype=bool)
        for name in operation.covered:
            named[name] = np.asarray(named[name])[counts]
    return max(
        [1.0, *(float(np.abs(array[np.isfinite(array)]).max(initial=0)) for array in _arrays([*named.values()]))]
    )
