"""The examples in the docstrings of the reference and of the public functions."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

from rlspec import reference as package
from rlspec.spec.operations import OPERATIONS

REFERENCE = sorted(f"reference.{file.stem}" for file in Path(package.__path__[0]).glob("[!_]*.py"))
PUBLIC = ("batched", "checked", "ledger", "recording", "testing", "torch", "watching")


@pytest.mark.parametrize("module", [*REFERENCE, *PUBLIC])
def test_the_examples_in_docstrings_print_what_they_say(module):
    assert doctest.testmod(import_module(f"rlspec.{module}")).failed == 0


def test_every_operation_is_called_in_an_example():
    found = [test for module in REFERENCE for test in doctest.DocTestFinder().find(import_module(f"rlspec.{module}"))]
    called = {name for test in found for each in test.examples for name in re.findall(r"(\w+)\(", each.source)}
    assert OPERATIONS.keys() - called == set()
