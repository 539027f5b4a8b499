"""What a candidate prints is thrown away: a pytest plugin of ``rlspec check``, in every process that asks."""

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress

import pytest


@contextmanager
def silence() -> Iterator[None]:
    """While it lasts, nothing that is written to the standard output or error arrives there, not even by C code."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):  # it is closed
            stream.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for number in kept:
            os.dup2(nowhere.fileno(), number)
        try:
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
        finally:
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Keep quiet while a property runs."""
    with silence():
        return (yield)
