"""Which inputs the corpus has: those of many drawn ones that catch every fault, and cover what there is to be covered.

A property's pool is sixty inputs that it draws, or more.  What there is to be covered is what Hypothesis could choose,
and chose in one of them: each alternative of every choice among few, the limits of every wider one; and what is to be
seen of the calls that the property makes with it.  Each fault of the museum that names the property's clause is asked.
Inputs are then taken greedily, until every fault that the pool was seen to catch is caught by two of them, where there
are two, and everything is covered, or enough are taken.  In the end some are added for honest candidates with other
choices, of which a property may judge fewer inputs.
"""

import argparse
import os
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache, partial, wraps
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.control import BuildContext, current_build_context
from hypothesis.database import choices_from_bytes
from hypothesis.errors import StopTest, Unsatisfiable, UnsatisfiedAssumption
from hypothesis.internal.conjecture.data import ConjectureData

from .behaviour import behaviour
from .candidate import Candidate, Told
from .candidates import reference
from .corpus import FOLDER, Stored, chapter, chapter_text, inputs
from .covering import alternatives, of_calls
from .drawing import SETTINGS, Drawn, repeatable, same_everywhere, seed_by_name
from .faults import museum
from .judging import learn
from .loading import load
from .plain import Stale
from .power import Property, every_property, faulty, operations_asked
from .progress import counted
from .properties.checking import Violation
from .properties.questions import QUESTIONS
from .properties.questions.question import last_names
from .reading import charitable
from .replay import ENOUGH, as_hypothesis_runs, enough_of, judge
from .spec.clauses import choices_of

FEWEST, MOST, SHARE = 4, 20, 5
"""A property has at most a fifth of the inputs that it draws, between so many, unless all faults need more."""

SPARE = 6
"""So many inputs are kept in reserve for what a candidate answers that declines most of a property's."""

SPARE_POOL = 20
"""They are taken from so many, or from fewer, if it declines most of what is drawn for it."""

OF_LAYOUT = 10
"""A property about how arrays lie in memory has so many at least: which of the arrays, and how, is one of many."""

POOL = 60
"""So many inputs are drawn at least, of which those of a property are taken."""

ASKED = 40
"""On how many inputs a fault is asked, those first that cover."""

TWICE = 2
"""How many inputs catch a fault, where there are so many."""

LAYOUT = {"OPS-5", "OPS-13"}
"""The clauses about how arrays lie in memory."""

LOT = 25
"""How many properties a process chooses inputs for before they are written."""


BETWEEN = 120.0
"""Seconds after which what was found is written, although more will be."""


@dataclass(eq=False)
class Input:
    """A drawn input, and what it is good for."""

    choices: tuple[Any, ...]
    drawn: dict[str, Any]
    calls: list[Told]
    """What the property asked with it, and what was answered."""
    is_judged: bool
    """Whether that decided anything."""
    catches: set[str] = field(default_factory=set)
    """The faults."""
    covers: set[Any] = field(default_factory=set)

    @property
    def stored(self) -> Stored:
        """The input as it is kept."""
        return Stored.of(self.choices, self.drawn)


def chosen(checked: Property, times: int = 1) -> list[Stored]:
    """The inputs of a property, in the order in which they are asked.

    times: how many times as many inputs to draw as the property does.
    """
    pool = drawn_pool(checked, max(examples_of(checked) * times, POOL))
    asked = operations_asked(checked.test, checked.parameters)
    fewest = OF_LAYOUT if LAYOUT & {*checked.clauses} else FEWEST
    most = min(max(examples_of(checked) // SHARE, fewest), MOST)
    covering = _greedily(pool, most, fewest)
    in_turn = [*covering, *(one for one in pool if one not in covering)]
    for fault in museum().values():
        if fault.operation in asked and fault.clause in checked.clauses:
            _ask(checked, fault.id, in_turn[: ASKED * times])
    taken = _greedily(pool, most, fewest)
    for operation in sorted(asked):
        for candidate in _honest(operation):
            taken += _missing(checked, candidate, taken, pool)
    stay = [one for one in inputs(checked.test, checked.name) if one.kept or one.spare]
    known = {one.choices for one in stay}
    return _spare_last([*stay, *(one.stored for one in taken if one.stored.choices not in known)])


def _spare_last(stored: Iterable[Stored]) -> list[Stored]:
    return sorted(stored, key=lambda one: (one.spare, not one.kept))


def spare(checked: Property, candidate: Candidate) -> list[Stored]:
    """The inputs of a property, and spare ones that a candidate answers which declines most of them."""
    stored = inputs(checked.test, checked.name)
    if not stored or not all(map(candidate.provides, operations_asked(checked.test, checked.parameters))):
        return stored
    known = sum(_is_judged(checked, candidate, one.arguments(checked.test)) for one in stored)
    if known >= enough_of(stored):
        return stored
    answered = [one for one in drawn_pool(checked, SPARE_POOL, candidate) if one.is_judged]
    new = [replace(one.stored, spare=True) for one in _greedily(answered, SPARE, SPARE)]
    return stored + [one for one in new if one.choices not in {other.choices for other in stored}]


def made_by(checked: Property, choices: bytes) -> Stored:
    """The input that choices make, as a property draws it for the reference.  Raises Stale if they make none."""
    made = ConjectureData.for_choices(choices_from_bytes(choices) or ())
    try:
        with BuildContext(made, wrapped_test=checked.test):
            strategies = checked.test.hypothesis._given_kwargs
            drawn = {name: repeatable(made.draw(strategy)) for name, strategy in strategies.items()}
            honest = Candidate(reference, "reference")
            judge(charitable(checked.test), {"candidate": honest, **checked.parameters}, drawn)
            return Stored.of(made.choices, drawn)
    except StopTest as error:
        raise Stale("the choices make no input of this property") from error


def examples_of(checked: Property) -> int:
    """How many inputs the property draws."""
    return int(getattr(checked.test, SETTINGS).max_examples)


def drawn_pool(checked: Property, count: int, candidate: Candidate | None = None) -> list[Input]:
    """What the property draws for a candidate, each input once.

    count: how many that can be judged, in ten times as many tries.  candidate: the reference, if none is given.
    """
    seed_by_name(checked.test, checked.name)
    check, on_trial = charitable(checked.test), candidate or Candidate(reference, "reference")
    found: dict[tuple[Any, ...], Input] = {}

    def add(drawn: dict[str, Any], is_judged: bool) -> None:
        data = current_build_context().data
        ended = {name: value.ended() if isinstance(value, Drawn) else value for name, value in drawn.items()}
        covers = {*alternatives(data), *of_calls(on_trial)} if is_judged else set()
        found.setdefault(data.choices, Input(data.choices, ended, list(on_trial.calls), is_judged, covers=covers))

    @wraps(check)  # by its source Hypothesis knows what to draw
    def note(candidate: Candidate, **named: Any) -> None:
        drawn = {name: repeatable(value) for name, value in named.items() if name not in checked.parameters}
        try:
            check(candidate=candidate, **checked.parameters, **drawn)
        except UnsatisfiedAssumption:
            if all(value.complete for value in drawn.values() if isinstance(value, Drawn)):
                add(drawn, is_judged=False)
            raise
        except Violation:
            pass  # which is what an input is for
        add(drawn, is_judged=True)

    more = settings(getattr(checked.test, SETTINGS), max_examples=count)
    with same_everywhere(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(checked.test, SETTINGS, more)
        patched.setattr(checked.test.hypothesis, "inner_test", note)
        with suppress(Unsatisfiable):  # by the reference's choices; by others perhaps it can be judged
            on_trial.start_trial()
            checked.test(candidate=on_trial, **checked.parameters)
    return list(found.values())


def _ask(checked: Property, fault: str, inputs_in_turn: Iterable[Input]) -> None:
    """Note which inputs catch a fault, until that is enough; on which it answers as the reference, those do not.

    That is not known where it matters how arrays lie in memory, which a call does not keep.
    """
    candidate, caught = _faulty(fault), 0
    of_layout = bool(LAYOUT & {*checked.clauses})
    for one in inputs_in_turn:
        if (of_layout or _differs(candidate, one)) and judged(checked, candidate, one.drawn) is None:
            one.catches.add(fault)
            caught += 1
        if caught == TWICE:
            return


def _differs(candidate: Candidate, one: Input) -> bool:
    """Whether a candidate does anything else than the reference in the calls that a property makes with an input."""
    candidate.start_trial()
    return any(not _as_before(candidate, told) for told in one.calls)


def _as_before(candidate: Candidate, told: Told) -> bool:
    if getattr(candidate.module, told.call.operation.name) is getattr(reference, told.call.operation.name):
        return True
    now = behaviour(candidate, told.call.operation, tuple(map(copy, told.call.arguments)))
    if now.results is None or told.error:
        return False
    return not now.modified and all(map(_same_bits, now.results, told.values.values()))


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def judged(checked: Property, candidate: Candidate, drawn: dict[str, Any]) -> bool | None:
    """Whether a property judges an input to be right, or does not judge it; None if it finds a violation."""
    candidate.start_trial()
    try:
        with as_hypothesis_runs(checked.test):
            return judge(charitable(checked.test), {"candidate": candidate, **checked.parameters}, drawn)
    except Violation:
        return None


def _is_judged(checked: Property, candidate: Candidate, drawn: dict[str, Any]) -> bool:
    """Whether a property judges an input, to be right or not."""
    return judged(checked, candidate, drawn) is not False


@cache
def _faulty(fault: str) -> Candidate:
    return faulty(museum()[fault])


@cache
def _honest(operation: str) -> tuple[Candidate, ...]:
    """Candidates that make every choice, each with the default ones otherwise."""
    honest = vars(load("reference"))
    made = [{choice.convention: choice.example} for of in choices_of(operation).values() for choice in of]
    return tuple(
        Candidate(
            SimpleNamespace(
                **honest | {operation: partial(honest[operation], **last_names(declared)), "CONVENTIONS": declared}
            ),
            "honest",
        )
        for declared in made
    )


def _missing(checked: Property, candidate: Candidate, taken: Sequence[Input], pool: Iterable[Input]) -> list[Input]:
    """The inputs that are to be added so that enough are judged of an honest candidate that has made other choices."""
    known = sum(_is_judged(checked, candidate, one.drawn) for one in taken)
    more: list[Input] = []
    for one in pool:
        if known + len(more) >= ENOUGH:
            break
        if one not in taken and _is_judged(checked, candidate, one.drawn):
            more.append(one)
    return more


def _greedily(pool: Sequence[Input], most: int, fewest: int) -> list[Input]:
    """Inputs of the pool that catch, and up to so many that cover; those first that catch the most."""
    left, taken = list(pool), list[Input]()
    caught: dict[str, int] = defaultdict(int)
    seen: set[str] = set()

    def worth(one: Input) -> tuple[int, int]:
        return sum(caught[fault] < TWICE for fault in one.catches), len(one.covers - seen)

    while left:
        best = max(left, key=worth)  # of several the first
        catches, covers = worth(best)
        if not catches and not (covers and len(taken) < most) and not (best.covers and len(taken) < fewest):
            break
        left.remove(best)
        taken.append(best)
        seen |= best.covers
        for fault in best.catches:
            caught[fault] += 1
    return taken


def write(found: Mapping[str, Mapping[str, list[Stored]]]) -> None:
    """Put the inputs of properties into their chapters' files, where the other properties keep theirs."""
    properties = [checked for checked in every_property() if not checked.theorem]
    for name, new in found.items():
        of_chapter = [checked for checked in properties if checked.chapter == name]
        kept = {one.name: new.get(one.name) or inputs(one.test, one.name) for one in of_chapter}
        text = chapter_text({name: stored for name, stored in kept.items() if stored})
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
    chapter.cache_clear()


def keep(name: str, choices: str) -> None:
    """Add the input that choices make to a property's, for good."""
    [checked] = [one for one in every_property() if one.name == name]
    new = replace(made_by(checked, b64decode(choices)), kept=True)
    others = [one for one in inputs(checked.test, name) if one.choices != new.choices]
    write({checked.chapter: {name: _spare_last([new, *others])}})


def add_spare(name: str) -> None:
    """Add the spare inputs that a candidate answers, by its name or file."""
    candidate = Candidate(load(name), name)
    properties = [checked for checked in every_property() if not checked.theorem]
    learn(candidate, filter(candidate.provides, QUESTIONS))
    found: dict[str, dict[str, list[Stored]]] = defaultdict(dict)
    for checked in counted(properties, len(properties), "properties"):
        found[checked.chapter][checked.name] = spare(checked, candidate)
    write(found)


def refresh() -> None:
    """Write down anew what the stored choices make, where what they make has got another form since."""
    found: dict[str, dict[str, list[Stored]]] = defaultdict(dict)
    for checked in every_property():
        for one in inputs(checked.test, checked.name):
            with suppress(Stale):
                again = replace(made_by(checked, one.choices), kept=one.kept, spare=one.spare)
                found[checked.chapter].setdefault(checked.name, []).append(again)
    write(found)


def main(argv: Sequence[str] | None = None) -> None:
    """Choose the inputs of all properties, or of some, and write them into ``inputs/``."""
    parser = argparse.ArgumentParser(prog="python -m rlspec.corpus", description="Choose the corpus's inputs anew.")
    parser.add_argument("--only", metavar="NAME", action="append", help="chapters, properties or operations")
    parser.add_argument("--missing", action="store_true", help="only properties that have no inputs")
    parser.add_argument("--times", metavar="N", type=int, default=1, help="draw N times as many as a property does (1)")
    parser.add_argument("--jobs", metavar="N", type=int, default=os.cpu_count(), help="processes (one for each core)")
    parser.add_argument("--refresh", action="store_true", help="draw the stored inputs again by their choices")
    parser.add_argument("--keep", nargs=2, metavar=("PROPERTY", "CHOICES"), help="add an input, as --explore prints it")
    parser.add_argument("--spare", metavar="CANDIDATE", help="add inputs where this one declines most of them")
    arguments = parser.parse_args(argv)
    if arguments.spare:
        add_spare(arguments.spare)
        return
    if arguments.keep:
        keep(*arguments.keep)
        return
    if arguments.refresh:
        refresh()
        return
    todo = [checked for checked in every_property() if not checked.theorem and _wanted(checked, arguments.only)]
    if arguments.missing:
        todo = [checked for checked in todo if not inputs(checked.test, checked.name)]
    found: dict[str, dict[str, list[Stored]]] = defaultdict(dict)
    begun = written = perf_counter()
    done = 0
    for lot in counted(_all(_lots(todo), arguments.times, arguments.jobs), len(todo), "properties", len):
        for of, name, stored in lot:
            found[of][name] = stored
        done += len(lot)
        if done == len(todo) or perf_counter() - written > BETWEEN:
            write(found)
            written = perf_counter()
    print(f"{len(todo)} properties in {perf_counter() - begun:.0f} s")


def _wanted(checked: Property, only: Sequence[str] | None) -> bool:
    names = {checked.chapter, checked.function, checked.name, *operations_asked(checked.test, checked.parameters)}
    return only is None or bool(names & set(only))


def _lots(todo: Iterable[Property]) -> list[list[str]]:
    """The properties' names by the operations that they ask, so that a process has few faults to get to know."""
    lots: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for checked in todo:
        lots[tuple(sorted(operations_asked(checked.test, checked.parameters)))].append(checked.name)
    return [names[first : first + LOT] for names in lots.values() for first in range(0, len(names), LOT)]


Found = tuple[str, str, list[Stored]]
"""A property's chapter, its name, and its inputs."""


def _all(lots: Sequence[list[str]], times: int, jobs: int) -> Iterator[list[Found]]:
    if jobs == 1:
        yield from map(partial(_chosen, times), lots)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(partial(_chosen, times), lots)


def _chosen(times: int, names: Sequence[str]) -> list[Found]:
    known = {checked.name: checked for checked in every_property()}
    return [(known[name].chapter, name, chosen(known[name], times)) for name in names]
