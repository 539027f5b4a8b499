"""The same inputs on every machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

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


@contextmanager
def explored(test: Any, name: str, examples: int, seed: int) -> Iterator[None]:
    """While it lasts, a property draws so many random inputs, which depend on its name and the seed alone.

    Raises NotImplementedError with a Hypothesis that does not keep a test's settings and seed where they were:
    there is no other way to give a test settings in the place of its own.
    """
    if not (hasattr(test, SETTINGS) and hasattr(test, SEED)):
        raise NotImplementedError("this version of Hypothesis does not let a test's settings be replaced")
    fresh = settings(getattr(test, SETTINGS), max_examples=examples, derandomize=False)
    own = int.from_bytes(sha256(f"{seed} {name}".encode()).digest()[:8], "big")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(test, SETTINGS, fresh)
        patched.setattr(test, SEED, own)
        yield


def require_exploration() -> None:
    """Raises NotImplementedError as ``explored`` would."""

    @given(st.none())
    def nothing(none: None) -> None:
        pass

    with explored(nothing, "", 1, 0):
        pass
