"""The public names: a page has all of them and no others; of their types mypy speaks, in ``.ci/run``."""

import re
from pathlib import Path

import pytest

import rlspec
import rlspec.ledger
import rlspec.testing
import rlspec.torch
from rlspec.ledger import Asked, Setting

PAGE = Path(rlspec.__file__).parents[1] / "book" / "python.md"


def named(module):
    """The public names of a module, each after the module's."""
    return {f"{module.__name__}.{name}" for name in module.__all__ if not name.startswith("_")}


@pytest.mark.skipif(not PAGE.is_file(), reason="the page is the checkout's, and rlspec is installed")
def test_the_page_has_every_public_name_and_no_other():
    on_the_page = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    public = {*named(rlspec), *named(rlspec.testing), *named(rlspec.torch)}
    of_the_ledger = {f"rlspec.ledger.{one.__name__}" for one in (rlspec.ledger.ledger, Setting, Asked)}
    assert on_the_page == public | of_the_ledger


def test_every_name_can_be_had():
    for name in rlspec.__all__:
        assert getattr(rlspec, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'chekc'"):
        _ = rlspec.chekc
