"""Whether a training run computed what it should have: recorded calls, held against what is right.

Each answer is compared with the reference's, exact, and with a bound of what rounding in the run's own number type may
do (rlspec/bounds.py).  Conventions that were not declared are found out from the answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache, partial
from itertools import pairwise
from time import process_time
from types import SimpleNamespace
from typing import Any

import numpy as np

from .behaviour import Asked, Behaviour, Room
from .bounds import ANSWERS, BITS, WHOLE, right, slack, worst_slack
from .candidates import reference
from .conventions import Answered, Combination, combinations, in_a_row
from .faults import Fault, museum
from .faults import right as of_faults
from .features import NOT_FINITE, features_of, possible
from .properties.checking import SINGLE, each
from .properties.questions.question import Question, last_names
from .recorded import Seen
from .repair import Deadline, Explanation, Repair
from .spec.clauses import choices, choices_of, chosen
from .spec.operations import Operation

ENTRIES = 2000
"""Of a larger call so many steps are looked at, in whole rows, where the operation answers row by row."""

LARGEST = 100_000
"""Calls of more numbers are not judged: exact arithmetic takes minutes for them."""

NEAR = 0.05
"""A combination of choices is looked at closely if no answer is further off than this share of the largest one."""

SOLVED = 4
"""In so many calls, the smallest, the numbers in choices are looked for."""

USUAL = (1e-8, 1e-6, 1e-5, 1e-4, 0.5, 1.0, 10.0, 20.0)
"""What the number in a choice is where nobody can tell: what most libraries have."""

BESIDE = 30
"""Known faults are looked for beside so many combinations of choices."""

SEARCHED = 4
"""Edits of what is right are looked for beside so many."""

SEARCHING = 10.0
"""Seconds of processor time that are taken to find an edit of what is right, in one operation."""

COMPARING = 10.0
"""Seconds of processor time after which no further choices are taken beside which known faults are looked for."""

FEW = 8
"""Where an answer may be as far off as it is by rounding that nobody should do, a mistake is not named from fewer numbers."""

SCATTER = 4
"""So many times nearer to one another are factors of one part of the batch than those of different parts, at least."""

PART = 32
"""So many roundings of the difference between a mistaken formula and the right one are allowed to what was recorded."""

Chosen = dict[str, str]


@dataclass(frozen=True)
class Excerpt:
    """A part of a recorded call that still shows what is wrong."""

    call: Seen
    expected: dict[str, np.ndarray]
    place: tuple[int, ...]
    """Where the answer is furthest off, in the first result that is."""
    result: str
    slack: float
    cut: bool
    """Whether it is less than the whole call."""


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
    hidden: list[str] = field(default_factory=list)
    """In words, what would have changed the answers, but by no more than rounding to 16 bits may."""
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
        finding.hidden = _hidden(operation, looked_at, finding.chosen)
        return finding
    _blame(finding, looked_at)
    return finding


def _blame(finding: Finding, calls: Sequence[Seen]) -> None:
    """Say of calls that no choices explain which are wrong, and what is wrong with them, if that can be known."""
    near = _nearest(calls)
    finding.chosen = near[0]
    for taken in near[:SEARCHED]:
        finding.weights = next(filter(None, (_weights(call, taken) for call in calls)), "")
        if finding.weights:
            finding.chosen = taken
            break
    else:
        finding.chosen, finding.explanation, finding.faults = _mistake(finding.operation, calls, near)
    finding.wrong = [call for call in calls if not explains(call, finding.chosen)]
    if not finding.wrong:  # by a usual number, which was not the one that was solved for
        return
    named = finding.weights or finding.explanation or finding.faults
    numbers = sum(
        int((off > allowed).sum()) for call in finding.wrong for _, off, allowed in _misses(call, finding.chosen)
    )
    if not (named and numbers >= FEW) and not any(_beyond(call, finding.chosen) for call in finding.wrong):
        finding.why_not = (
            f"The answers are further off than rounding to {_kinds(calls)} takes them where long sums are made in float32, "
            "and no further than where everything is; record gradients too, or in float32, to tell"
        )
        finding.wrong, finding.weights, finding.explanation, finding.faults = [], "", None, []
        return
    finding.excerpt = _excerpt(finding.wrong[0], finding.chosen)


def _kinds(calls: Sequence[Seen]) -> str:
    return ", ".join(dict.fromkeys(call.precision for call in calls))


def _mistake(
    operation: Operation, calls: Sequence[Seen], near: Sequence[Chosen]
) -> tuple[Chosen, Explanation | None, list[Fault]]:
    """The choices beside which the plainest edits, or known faults, explain all answers; else the nearest choices."""
    begun = process_time()
    for taken in near:
        known = _known(operation, calls, taken)
        if known:
            return taken, _repaired(operation, calls, taken), known
        if process_time() - begun > COMPARING:
            break
    for taken in near[:SEARCHED]:
        explanation = _repaired(operation, calls, taken)
        if explanation:
            return taken, explanation, []
    return near[0], None, []


def _hidden(operation: Operation, calls: Sequence[Seen], taken: Chosen) -> list[str]:
    """In words what rounding hides: known mistakes, and how far scalars may have been others; of 16 bits only.

    They are those that would have shown on these calls in float32.
    """
    if all(BITS[call.precision] >= BITS["float32"] for call in calls):
        return []
    names = _names(operation, calls)
    asked = _asked(calls, taken, names)
    finer = [dict.fromkeys(call.types, "float32") for call in calls]
    bounds = [dict(zip(operation.results, slack(operation.name, call.arguments, taken, types), strict=True))
              for call, types in zip(calls, finer, strict=True)]  # fmt: skip
    honest = partial(getattr(reference, operation.name), **last_names(taken))

    def hides(function: Any) -> bool:
        """Whether what a function answers would have been told from what is right, in float32 and not in 16 bits."""
        shown = False
        for one, allowed in zip(asked, bounds, strict=True):
            its = _by_name(function, operation, one)
            if not _within(one, names, its):
                return False
            shown = shown or _differs(one, names, its, allowed)
        return shown

    mistaken = [fault for fault in _faults_of(operation)
                if hides(of_faults.layered(operation.name, fault.implementation, honest))]  # fmt: skip
    return [f"the fault `{fault.slug}`" for fault in mistaken] + list(_loose(operation, honest, hides))


def _loose(operation: Operation, honest: Any, hides: Any) -> Iterator[str]:
    """Scalars that may have been others by a tenth or a hundredth of them."""
    for place, (name, axes) in enumerate(operation.axes.items()):
        if axes or name in WHOLE:
            continue
        for share in (0.1, 0.01):
            if all(hides(_with_another(honest, place, factor)) for factor in (1 - share, 1 + share)):
                yield f"`{name}` times {1 - share:g} or {1 + share:g}"
                break


def _with_another(honest: Any, place: int, factor: float) -> Any:
    """The operation with a multiple of one of its scalars."""

    def changed(*arguments: Any) -> Any:
        given = list(arguments)
        given[place] = factor * given[place]  # a name or None raises, and is left out
        return honest(*given)

    return changed


def _differs(
    asked: Asked, names: Sequence[str], its: Mapping[str, np.ndarray], allowed: Mapping[str, np.ndarray]
) -> bool:
    """Whether what a function answers is further from what is right than this."""
    assert asked.room is not None
    pairs = zip(names, asked.room.right, strict=True)
    return any(bool((np.abs(its[name] - part) > allowed[name]).any()) for name, part in pairs)


def _smaller(call: Seen) -> Seen:
    """The call, or some of its rows, where a row's answer is its own: first those in which an episode ends."""
    rows, steps = _shape(call)
    if not call.operation.row_by_row or rows * steps <= ENTRIES:
        return call
    ends = sum(call.named.get(name, np.zeros((rows, steps))).astype(int) for name in ("terminated", "truncated"))
    order = np.argsort(-np.minimum(ends.sum(axis=1), 1), kind="stable")[: max(ENTRIES // steps, 1)]
    return _of_rows(call, np.sort(order))


def _shape(call: Seen) -> tuple[int, int]:
    first = next(np.shape(argument) for argument in call.arguments if np.ndim(argument))
    return first[0], int(np.prod(first[1:2])) or 1


def _of_rows(call: Seen, rows: Any) -> Seen:
    """The call with some of its rows."""
    arguments = tuple(argument[rows] if "B" in axes or "N" in axes else argument
                      for argument, axes in zip(call.arguments, call.operation.axes.values(), strict=True))  # fmt: skip
    results = {name: part[rows] for name, part in call.results.items()}
    return replace(call, arguments=arguments, results=results)


def explains(call: Seen, taken: Chosen) -> bool:
    """Whether choices explain an answer, as far as rounding lets it be known."""
    return not any((off > allowed).any() for _, off, allowed in _misses(call, taken))


def _misses(call: Seen, taken: Chosen) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of each recorded result how far it is off, and how far rounding may take it."""
    allowed = dict(zip(call.operation.results, _slack(call, _hashable(taken)), strict=True))
    return [(name, _off(call, taken, name, allowed[name]), allowed[name]) for name in call.results]


def _off(call: Seen, taken: Chosen, name: str, allowed: np.ndarray) -> np.ndarray:
    """How far each number of a result is off; what is not finite where it is right is judged by nobody."""
    answer, exact = call.results[name], _right(call, taken)[name]
    off = np.abs(answer.astype(float) - exact)
    same = ~np.isfinite(exact) | ~np.isfinite(allowed)
    bad = ~np.isfinite(answer) & ~same
    return np.where(same, 0, np.where(bad, np.inf, off))


def _beyond(call: Seen, taken: Chosen) -> bool:
    """Whether an answer is off by more than if all was rounded to the coarsest type of the call, long sums too."""
    worst = worst_slack(call.operation.name, call.arguments, taken, call.types)
    allowed = dict(zip(call.operation.results, worst, strict=True))
    return any((_off(call, taken, name, allowed[name]) > allowed[name]).any() for name in call.results)


def _hashable(taken: Chosen) -> tuple[tuple[str, str], ...]:
    return tuple(taken.items())


@lru_cache(maxsize=1024)
def _slack(call: Seen, taken: tuple[tuple[str, str], ...]) -> list[np.ndarray]:
    return slack(call.operation.name, call.arguments, dict(taken), call.types)


def _right(call: Seen, taken: Chosen) -> dict[str, np.ndarray]:
    """What is right, by the results' names."""
    return dict(zip(call.operation.results, _exact(call, _hashable(taken)), strict=True))


@lru_cache(maxsize=1024)
def _exact(call: Seen, taken: tuple[tuple[str, str], ...]) -> list[np.ndarray]:
    return right(call.operation.name, call.arguments, dict(taken))


class _Recorded(Answered):
    """A recorded call, for finding out the choices: what rounding may do to it is known for each combination."""

    def __init__(self, call: Seen, taken: Chosen) -> None:
        operation = call.operation
        values = in_a_row(list(call.results.values()))
        bounds = [bound for _, _, bound in _misses(call, taken)]
        asked = Question(operation, tuple(map(_wide, call.arguments)), partial(_right_parts, call), 0, 0)
        super().__init__(asked, (), values, in_a_row(bounds))
        self.call = call

    def slack(self, roundoff: Fraction) -> np.ndarray:
        """How far rounding may take each value."""
        return self.magnitude

    def _reference(self, chosen: Chosen) -> np.ndarray:
        answers = _in_floats(self.question.operation, self.question.arguments, chosen)
        return in_a_row([answers[name] for name in self.call.results])


def _right_parts(call: Seen, **taken: str) -> list[np.ndarray]:
    """What is right of the results that were recorded."""
    exact = _right(call, taken)
    return [exact[name] for name in call.results]


def _explaining(calls: Sequence[Seen]) -> list[Chosen]:
    """The combinations of choices that explain all answers, what was declared and the defaults first."""
    found = []
    for one in _combinations(calls[0]):
        taken = one.chosen()
        if not all(_possible(call, one) for call in calls[:SOLVED]):
            continue
        if one.ranges and not one.explains([_Recorded(call, taken) for call in calls[:SOLVED]], SINGLE):
            continue  # no numbers do
        if all(explains(call, one.chosen()) for call in calls):
            found.append(one.chosen())
    return found


def _possible(call: Seen, one: Combination) -> bool:
    """Whether, roughly and in floats, each answer lies between what the least and the largest numbers give."""
    least = {name: low for name, (low, _) in one.ranges.items()}
    largest = {name: high for name, (_, high) in one.ranges.items()}
    ends = [_in_floats(call.operation, call.arguments, one.chosen(**numbers)) for numbers in (least, {}, largest)]
    for name, recorded in call.results.items():
        known = np.stack([np.nan_to_num(answers[name]) for answers in ends])
        answer = np.nan_to_num(recorded.astype(float))
        room = NEAR * max(np.abs(known).max(initial=0), np.abs(answer).max(initial=0))
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


def _furthest(call: Seen, taken: Chosen) -> float:
    """How far an answer is off, where it is furthest, as a share of the largest number there is."""
    answers = _in_floats(call.operation, call.arguments, taken)
    shares = [0.0]
    for name, answer in call.results.items():
        off, size = np.abs(answer - answers[name]), np.abs(answer).max(initial=0) + np.abs(answers[name]).max(initial=0)
        shares.append(float(np.nan_to_num(off, nan=0.0, posinf=0.0).max(initial=0) / size) if size else 0.0)
    return max(shares)


def _in_floats(operation: Operation, arguments: tuple[Any, ...], taken: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The reference's results in float64, by their names."""
    function = getattr(reference, operation.name)
    with np.errstate(all="ignore"):
        parts = each(function(*map(_wide, arguments), **last_names(dict(taken))))
    return {name: np.asarray(part, dtype=float) for name, part in zip(operation.results, parts, strict=True)}


def _nearest(calls: Sequence[Seen]) -> list[Chosen]:
    """Combinations of choices, those first under which answers are off the least, where none explains them.

    A number in a choice is one of those that are usual.  Of combinations that give the same answers the first one is
    taken, and of those that are about as far off the more usual one comes first.
    """
    found: dict[tuple[float, ...], Chosen] = {}
    for one in _combinations(calls[0]):
        for number in USUAL if one.ranges else (0.0,):
            numbers = {name: number for name, (low, high) in one.ranges.items() if low <= number <= high}
            if len(numbers) == len(one.ranges):
                taken = one.chosen(**numbers)
                found.setdefault(tuple(round(_furthest(call, taken), 9) for call in calls[:3]), taken)
    least = min(map(sum, found))
    usual = sorted(found, key=lambda off: sum(choices()[name][0].text != text for name, text in found[off].items()))
    return [found[off] for off in sorted(usual, key=lambda off: max(sum(off), 1.25 * least))][:BESIDE]


def _excerpt(call: Seen, taken: Chosen) -> Excerpt:
    """The fewest rows, and of these the fewest steps, for which what is right is as it was and the answer is wrong."""
    whole = call
    if set(call.results) == {name for name, axes in call.operation.results.items() if set(axes) & {"B", "N"}}:
        call = _fewest_rows(call, taken)
        if call.operation.row_by_row:
            call = _fewest_steps(call, taken)
    name, place, allowed = _worst(call, taken)
    return Excerpt(call, _right(call, taken), place, name, allowed, call is not whole)


def _worst(call: Seen, taken: Chosen) -> tuple[str, tuple[int, ...], float]:
    """The result and the place where an answer is furthest off, compared with what rounding explains."""
    worst: tuple[float, str, tuple[int, ...], float] = (-1.0, "", (), 0.0)
    for name, off, allowed in _misses(call, taken):
        share = np.where(off > allowed, off, 0)
        place = tuple(int(index) for index in np.unravel_index(int(np.argmax(share)), share.shape))
        worst = max(worst, (float(share[place]), name, place, float(allowed[place])))
    return worst[1:]


def _fewest_rows(call: Seen, taken: Chosen) -> Seen:
    """The call with the fewest rows that show it: a row alone, or a row with those that its answer depends on."""
    _, (row, *_), _ = _worst(call, taken)
    groups = call.named.get("groups")
    beside = np.flatnonzero(groups == groups[row]) if groups is not None else np.array([row])
    for rows in ([row], beside):
        smaller = _of_rows(call, np.asarray(rows))
        if _shows_the_same(call, smaller, taken, (np.asarray(rows),)):
            return smaller
    return call


def _fewest_steps(call: Seen, taken: Chosen) -> Seen:
    """One row from the last step that shows it to the first one after which nothing changes its answer."""
    steps = _shape(call)[1]
    wrong = [off > allowed for _, off, allowed in _misses(call, taken)]
    places = [place for part in wrong for place in np.argwhere(part)[:, 1:2].ravel().tolist()]
    for start in sorted(set(places), reverse=True)[:8]:
        for stop in range(start + 1, steps + 1):
            smaller = _of_steps(call, slice(start, stop))
            if _shows_the_same(call, smaller, taken, (slice(None), slice(start, stop))):
                return smaller
    return call


def _of_steps(call: Seen, steps: slice) -> Seen:
    """The call with some of its steps."""
    axes = call.operation.axes.values()
    arguments = tuple(argument[:, steps] if tuple(of[:2]) == ("B", "T") else argument
                      for argument, of in zip(call.arguments, axes, strict=True))  # fmt: skip
    return replace(call, arguments=arguments, results={name: part[:, steps] for name, part in call.results.items()})


def _shows_the_same(call: Seen, smaller: Seen, taken: Chosen, kept: tuple[Any, ...]) -> bool:
    """Whether what is right for a part is what is right there for the whole, and the answer is wrong."""
    name = call.operation.name
    try:
        whole, part = _right(call, taken).values(), right(name, smaller.arguments, taken)
    except (ValueError, ZeroDivisionError, ArithmeticError):
        return False
    same = all(np.allclose(of[kept], own, rtol=1e-12, atol=0) for of, own in zip(whole, part, strict=True))
    return same and not explains(smaller, taken)


def _asked(calls: Sequence[Seen], taken: Chosen, names: Sequence[str]) -> list[Asked]:
    """The calls as the search for what is wrong wants them, with what rounding may do to each number."""
    found = []
    for call in calls:
        bounds = {name: np.where(np.isfinite(bound), bound, np.inf) for name, _, bound in _misses(call, taken)}
        exact, double = _right(call, taken), 2 if call.precision == "float64" else 1  # faults are computed in float64
        room = Room(tuple(exact[name] for name in names), tuple(double * bounds[name] for name in names),
                    PART * 2.0 ** -BITS[call.precision])  # fmt: skip
        results = tuple(call.results[name].astype(float) for name in names)
        largest = max(float(np.max(bound, initial=0, where=np.isfinite(bound))) for bound in room.bounds)
        found.append(Asked(tuple(map(_wide, call.arguments)), Behaviour(results), largest, room))
    return found


def _wide(argument: Any) -> Any:
    return argument.astype(float) if getattr(argument, "dtype", None) == np.float32 else argument


def _repaired(operation: Operation, calls: Sequence[Seen], taken: Chosen) -> Explanation | None:
    """The plainest edits of what is right that answer all calls as the run did."""
    names = _names(operation, calls)
    recorded = replace(operation, results={name: operation.results[name] for name in names})
    search = Repair.of(recorded, partial(_recorded_part, operation, names), last_names(taken),
                       _asked(calls, taken, names), 1.0, Deadline(SEARCHING / SEARCHED))  # fmt: skip
    found = search.single() or search.double()
    return found[0] if found else None


def _names(operation: Operation, calls: Sequence[Seen]) -> list[str]:
    """The results that all calls have."""
    return [name for name in operation.results if all(name in call.results for call in calls)]


def _recorded_part(operation: Operation, names: Sequence[str], *arguments: Any, **conventions: Any) -> Any:
    """What is right, but only those results that were recorded."""
    parts = each(getattr(reference, operation.name)(*arguments, **conventions))
    answers = dict(zip(operation.results, parts, strict=True))
    return tuple(answers[name] for name in names)


def _weights(call: Seen, taken: Chosen) -> str:
    """In words, by what a gradient is multiplied, if that is one factor for each part of the batch."""
    for name, off, allowed in _misses(call, taken):
        answer, exact = call.results[name].astype(float), _right(call, taken)[name]
        if not answer.ndim or not name or not (off > allowed).any() or not np.isfinite(answer).all():
            continue
        tables = [table if table.ndim == 2 else table[:, None] for table in (answer, exact, allowed)]
        for axis, what in ((1, "row"), (0, "step"))[: answer.ndim]:
            factors = _factors(*tables, axis=axis)
            runs = _runs(factors) if factors else []
            if 1 < len(runs) <= len(factors or []) // 2 and _apart(runs):
                parts = ", ".join(_part(run, what) for run in runs)
                return (f"{name} is right but for a factor of each part of the batch, {parts}: parts were averaged "
                        "by themselves, and then not weighed by how much they have")  # fmt: skip
    return ""


Factor = tuple[float, float]
"""What right numbers are multiplied by, and how far rounding may have taken that."""


def _factors(answer: np.ndarray, exact: np.ndarray, allowed: np.ndarray, axis: int) -> list[Factor] | None:
    """What right numbers are multiplied by along the other axis, if it is one factor all along this one."""
    squares = (exact * exact).sum(axis=axis)
    if not squares.all() or not np.isfinite(squares).all() or not np.isfinite(allowed).all():
        return None
    factors = (answer * exact).sum(axis=axis) / squares
    errors = (allowed * np.abs(exact)).sum(axis=axis) / squares * np.maximum(np.abs(factors), 1)
    off = np.abs(answer - np.expand_dims(factors, axis) * exact)
    room = allowed * np.maximum(np.abs(np.expand_dims(factors, axis)), 1) + np.expand_dims(errors, axis) * np.abs(exact)
    return list(zip(factors.tolist(), errors.tolist(), strict=True)) if (off <= room).all() else None


@dataclass
class Run:
    """Places from and to which a factor is the same but for rounding, and what it is at each of them."""

    first: int
    factors: list[Factor]

    @property
    def best(self) -> Factor:
        """The factor where it is known best."""
        return min(self.factors, key=lambda factor: factor[1])


def _runs(factors: Sequence[Factor]) -> list[Run]:
    """The places one after another, as long as the factor is the same but for rounding."""
    runs = [Run(0, [factors[0]])]
    for place, (factor, error) in enumerate(factors[1:], 1):
        known, its_error = runs[-1].best
        if abs(factor - known) <= error + its_error:
            runs[-1].factors.append((factor, error))
        else:
            runs.append(Run(place, [(factor, error)]))
    return runs


def _apart(runs: Sequence[Run]) -> bool:
    """Whether factors in a run are much nearer to one another than those of different runs are."""
    numbers = [[factor for factor, _ in run.factors] for run in runs]
    return SCATTER * max(map(np.ptp, numbers)) <= min(abs(run.best[0] - after.best[0]) for run, after in pairwise(runs))


def _part(run: Run, what: str) -> str:
    factor, error = run.best
    said, last = f"{factor:.{4 if error < 1e-3 else 2}g}", run.first + len(run.factors) - 1
    return f"{said} for {what} {run.first}" if last == run.first else f"{said} for {what}s {run.first} to {last}"


def _known(operation: Operation, calls: Sequence[Seen], taken: Chosen) -> list[Fault]:
    """The museum's faults that answer all calls as the run did, and not as is right."""
    names = _names(operation, calls)
    asked = _asked(calls, taken, names)
    honest = partial(getattr(reference, operation.name), **last_names(taken))
    found = []
    for fault in _faults_of(operation):
        mistaken = of_faults.layered(operation.name, fault.implementation, honest)
        if all(_within(one, names, _by_name(mistaken, operation, one)) for one in asked):
            found.append(fault)
    return found


def _faults_of(operation: Operation) -> list[Fault]:
    return [fault for fault in museum().values() if fault.operation == operation.name]


def _by_name(function: Any, operation: Operation, asked: Asked) -> dict[str, np.ndarray]:
    """What a function answers to a call, by the results' names; nothing where it raises."""
    try:
        with np.errstate(all="ignore"):
            answers = [np.asarray(part, dtype=float) for part in each(function(*asked.arguments))]
    except Exception:  # a fault may raise on arguments that it was not made for
        return {}
    return dict(zip(operation.results, answers, strict=False))


def _within(asked: Asked, names: Sequence[str], its: Mapping[str, np.ndarray]) -> bool:
    """Whether what was recorded is what a function answers, as far as rounding lets it be known."""
    assert asked.room is not None
    recorded = asked.answered.results or ()
    return all(
        name in its
        and its[name].shape == part.shape
        and bool((np.abs(its[name] - part) <= asked.room.allowed(place, its[name])).all())
        for place, (name, part) in enumerate(zip(names, recorded, strict=True))
    )
