"""The examples in the reference's docstrings."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from rlspec import reference as package

MODULES = sorted(file.stem for file in Path(package.__path__[0]).glob("[!_]*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_print_what_they_say(module):
    assert doctest.testmod(import_module(f"rlspec.reference.{module}")).failed == 0
