"""A property on the inputs that the corpus has for it.

The stored inputs were chosen by what they find, so that most violations are found by the first few of them.  Then
Hypothesis looks for the smallest input that shows it: first among what it draws itself, of which some are small
from the beginning, and if that shows nothing, from the stored input on.  With another Hypothesis than the one that
drew it, which makes something else of its choices, the stored input is what is shown.

A candidate that declines most of these is asked the spare ones, which others that decline much have answered, and if it
declines most of them as well, or the property has none, inputs are drawn.  Before all of them come those with which a
failure was recorded.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis.control import BuildContext
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.errors import Flaky, Unsatisfiable, UnsatisfiedAssumption
from hypothesis.internal.conjecture import engine
from hypothesis.internal.conjecture.data import ConjectureData

from .corpus import Stored, inputs
from .drawing import KEY, SEED, SETTINGS
from .plain import Stale
from .properties.checking import Violation

ENOUGH = 3
"""So many stored inputs of a property are to be judged, where it has so many, or else more is asked."""

DRAWN = 40
"""So many inputs are drawn at most.  When it was chosen, that many caught 797 of 799 faults, and a hundred all."""

FEW = 10
"""So many, where a candidate declined all that is stored: it will decline most of these."""

TRIES, TRIES_EACH = 90, 20
"""So many inputs may be declined at most, and more for each that is judged.

Then it is known with 99 % confidence that fewer than 1 in 20 can be judged, for ``0.95**90 < 0.01``.  Hypothesis by
itself goes on to 1 in 100, which takes five times as long.  An older one, which has no such numbers, tries ten times as
many as it is to judge.
"""


def replay(test: Any, name: str, arguments: dict[str, Any], known: Sequence[Stored] = ()) -> None:
    """Run a property on its stored inputs, or on drawn ones if fewer than enough of these can be judged.

    test: the property as Hypothesis made it.  name: with its case.  arguments: those that are not drawn.
    known: inputs that are asked before all others, because they showed a violation once.
    Raises what the property raises, on the smallest input that is found.
    """
    ask_again(test, arguments, known)
    stored, judged = inputs(test, name), 0
    enough = enough_of(stored)
    try:
        with as_hypothesis_runs(test):
            for one in stored:
                if one.spare and judged >= enough:
                    break
                judged += judge(test.hypothesis.inner_test, arguments, one.arguments(test))
    except Stale:
        stored = []
    except Violation:
        for how in (nullcontext(), beginning_with(test, one)):
            with how, suppress(Unsatisfiable):
                test(**arguments)
        ask_again(test, arguments, [one])
        raise Flaky(f"{name} was violated, and not when it was asked the same again") from None
    if not stored:
        test(**arguments)
    elif judged < enough:
        with _at_most(DRAWN if judged else FEW, test):
            test(**arguments)


def enough_of(stored: Sequence[Stored]) -> int:
    """How many of a property's stored inputs are to be judged, so that nothing more is asked."""
    return min(ENOUGH, sum(not one.spare for one in stored))


def ask_again(test: Any, arguments: dict[str, Any], known: Iterable[Stored]) -> None:
    """Run a property on inputs that showed a violation before, as they are.  Raises what the property raises.

    One that today's property has no use for is passed over.
    """
    for one in known:
        try:
            with as_hypothesis_runs(test), suppress(Stale):
                judge(test.hypothesis.inner_test, arguments, one.arguments(test))
        except Violation as violation:
            violation.choices = one.choices
            raise


def explore(test: Any, name: str, arguments: dict[str, Any], known: Sequence[Stored] = ()) -> None:
    """Run a property on what it draws.

    known: as for ``replay``.  Raises what the property raises; a Violation says if no stored input shows one.
    """
    ask_again(test, arguments, known)
    try:
        test(**arguments)
    except Violation as violation:
        violation.lacking = not _caught(test, name, arguments)
        raise


def _caught(test: Any, name: str, arguments: dict[str, Any]) -> bool:
    """Whether a stored input shows a violation of the property."""
    with as_hypothesis_runs(test):
        for one in inputs(test, name):
            try:
                judge(test.hypothesis.inner_test, arguments, one.arguments(test))
            except Violation:
                return True
            except Stale:
                return False
    return False


def judge(check: Callable[..., None], arguments: dict[str, Any], drawn: dict[str, Any]) -> bool:
    """Run a property's body on one input, with chance as it always begins; whether it could be judged.

    Raises Violation.
    """
    random.seed(0)
    np.random.seed(0)
    try:
        check(**arguments, **drawn)
    except UnsatisfiedAssumption:
        return False
    return True


@contextmanager
def _at_most(many: int, test: Any) -> Iterator[None]:
    """While it lasts, a property draws so many inputs that can be judged, if it does not draw fewer by itself."""
    own = getattr(test, SETTINGS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "INVALID_THRESHOLD_BASE", TRIES, raising=False)
        patched.setattr(engine, "INVALID_PER_VALID", TRIES_EACH, raising=False)
        patched.setattr(test, SETTINGS, settings(own, max_examples=min(own.max_examples, many)))
        yield


@contextmanager
def as_hypothesis_runs(test: Any) -> Iterator[None]:
    """While it lasts, ``assume`` is taken to be inside of a property; then chance goes on where it was."""
    chances = random.getstate(), np.random.get_state()
    try:
        with BuildContext(NOTHING, wrapped_test=test):
            yield
    finally:
        random.setstate(chances[0])
        np.random.set_state(chances[1])


NOTHING = ConjectureData.for_choices(())
"""What stands for the choices of an input that is not drawn."""


@contextmanager
def beginning_with(test: Any, one: Stored) -> Iterator[None]:
    """While it lasts, a property draws one input, and those that are smaller as long as they show a violation."""
    database = InMemoryExampleDatabase()
    database.save(f"{KEY}.secondary".encode(), one.choices)  # the primary ones are taken to be the smallest
    shrinking = settings(
        getattr(test, SETTINGS), derandomize=False, database=database, phases=(Phase.reuse, Phase.shrink)
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(test, SETTINGS, shrinking)
        patched.setattr(test, SEED, 0)
        patched.setattr(test, KEY, KEY.encode(), raising=False)
        yield
