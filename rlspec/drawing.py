"""The same inputs on every machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
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
