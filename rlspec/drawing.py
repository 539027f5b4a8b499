"""The same inputs on every machine, and in every run of one example."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase
from hypothesis.errors import UnsatisfiedAssumption
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from hypothesis.strategies import DataObject

from .loading import one_line
from .options import REDIS

SOURCE_OF_CONSTANTS = "_get_local_constants"


@contextmanager
def same_everywhere() -> Iterator[None]:
    """While it lasts, Hypothesis draws no constants that it finds in whatever modules happen to be loaded.

    Otherwise the inputs, though derandomized, depend on the current folder and on how rlspec is installed, and a
    folder ``.hypothesis`` is left behind.  There is no setting for this; a Hypothesis that has no such function any
    more is used as it is.
    """
    with pytest.MonkeyPatch.context() as patched:  # unittest.mock would import asyncio
        patched.setattr(providers, SOURCE_OF_CONSTANTS, Constants, raising=False)
        yield


def seed_by_name(test: Any, name: str) -> None:
    """Let a property's inputs depend on its code and its name.

    Hypothesis's own pytest plugin seeds a parametrized test by its path as well, which pytest counts from the folder
    that a run happens to begin in.
    """
    test.hypothesis.inner_test._hypothesis_internal_add_digest = name.encode()


SETTINGS, SEED = "_hypothesis_internal_use_settings", "_hypothesis_internal_use_seed"
WITHOUT_END = 10**9
"""So many examples that time ends them."""

KEY = "_hypothesis_internal_database_key"
"""Where Hypothesis keeps under which name a test's inputs are in a database."""


@contextmanager
def explored(
    test: Any, name: str, examples: int, seed: int, database: ExampleDatabase | None = None, of: str = ""
) -> Iterator[None]:
    """While it lasts, a property draws so many random inputs, which depend on its name and the seed alone.

    database: where what shows a violation is kept, and from where it comes first the next time.  of: the candidate's
    name, without which one candidate's failures were another's.
    Raises NotImplementedError with a Hypothesis that does not keep a test's settings and seed where they were:
    there is no other way to give a test settings in the place of its own.
    """
    if not (hasattr(test, SETTINGS) and hasattr(test, SEED)):
        raise NotImplementedError("this version of Hypothesis does not let a test's settings be replaced")
    own = getattr(test, SETTINGS)
    phases = own.phases if database is None else (Phase.reuse, *own.phases)
    fresh = settings(own, max_examples=examples, derandomize=False, database=database, phases=phases)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(test, SETTINGS, fresh)
        patched.setattr(test, SEED, int.from_bytes(_digest(f"{seed} {name}")[:8], "big"))
        patched.setattr(test, KEY, _digest(f"{of}\n{name}"), raising=False)
        yield


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def database_at(place: str) -> ExampleDatabase:
    """Hypothesis's database in a folder, or in a Redis that is named by its address.

    Raises ValueError for what cannot be had.
    """
    if not place.startswith(REDIS):
        folder = Path(place)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"the folder {place} cannot be made: {error.strerror}") from error
        return DirectoryBasedExampleDatabase(folder)
    try:
        from hypothesis.extra.redis import RedisExampleDatabase
        from redis import Redis
        from redis.exceptions import RedisError
    except ImportError as error:
        raise ValueError(f"{place} needs the module redis: pip install 'rlspec[redis]'") from error
    try:
        server = Redis.from_url(place)
        server.ping()
    except (RedisError, ValueError) as error:
        raise ValueError(f"{place} does not answer: {one_line(str(error))}") from error
    return RedisExampleDatabase(server)


def require_exploration() -> None:
    """Raises NotImplementedError as ``explored`` would."""

    @given(st.none())
    def nothing(none: None) -> None:
        pass

    with explored(nothing, "", 1, 0):
        pass


@dataclass(frozen=True)
class Seeded:
    """A source of chance, which may be begun again."""

    seed: int

    def afresh(self) -> Random:
        """The source, from its beginning."""
        return Random(self.seed)


NOT_DRAWN = object()
"""What stands for a thing while it is drawn, and for ever if that fails."""


def nothing_more(strategy: Any, place: int) -> Any:
    """What to draw where everything was drawn: the input is none for a property that wants more."""
    raise UnsatisfiedAssumption("the property draws more than was kept")


class Drawn:
    """Stands in for Hypothesis's object of ``data()``: what a property drew in its body can be drawn again."""

    def __init__(self, values: list[Any], more: Callable[[Any, int], Any]) -> None:
        self.values = values
        """What was drawn, the same list for all that begin afresh."""
        self._more, self._given = more, 0

    def afresh(self) -> "Drawn":
        """The same from the beginning."""
        return Drawn(self.values, self._more)

    def ended(self) -> "Drawn":
        """The same, of which nothing else can be drawn."""
        return Drawn(self.values, nothing_more)

    @property
    def complete(self) -> bool:
        """Whether the last thing that was asked for was drawn."""
        return not self.values or self.values[-1] is not NOT_DRAWN

    def draw(self, strategy: Any, label: Any = None) -> Any:
        """What was drawn at this place before, or else something new."""
        place = self._given
        if place == len(self.values):
            self.values.append(NOT_DRAWN)
            self.values[place] = self._more(strategy, place)
        self._given += 1
        return self.values[place]


def repeatable(value: Any) -> Any:
    """A drawn value, or what stands in for one that changes while it is used."""
    if isinstance(value, DataObject):
        return Drawn([], lambda strategy, place: value.draw(strategy))
    return Seeded(value.getrandbits(64)) if isinstance(value, Random) else value


def afresh(drawn: dict[str, Any]) -> dict[str, Any]:
    """Drawn values by their names, those that change while they are used from their beginning."""
    return {name: value.afresh() if isinstance(value, Seeded | Drawn) else value for name, value in drawn.items()}
