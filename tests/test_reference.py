"""The reference by itself: the examples in its docstrings, and what it refuses."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from rlspec import reference as package
from rlspec.reference.returns import n_step_return

MODULES = sorted(file.stem for file in Path(package.__path__[0]).glob("[!_]*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_print_what_they_say(module):
    assert doctest.testmod(import_module(f"rlspec.reference.{module}")).failed == 0


@pytest.mark.parametrize("n", [0, -3])
def test_a_return_of_no_steps_is_refused(n):
    with pytest.raises(ValueError, match=f"n is {n}"):
        n_step_return([1], [2], [0], [0], 1, n)
