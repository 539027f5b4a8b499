"""The examples in the docstrings of the reference and of the public functions."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from rlspec import reference as package

REFERENCE = sorted(f"reference.{file.stem}" for file in Path(package.__path__[0]).glob("[!_]*.py"))
PUBLIC = ("batched", "checked", "ledger", "recording", "testing", "torch", "watching")


@pytest.mark.parametrize("module", [*REFERENCE, *PUBLIC])
def test_the_examples_in_docstrings_print_what_they_say(module):
    assert doctest.testmod(import_module(f"rlspec.{module}")).failed == 0
