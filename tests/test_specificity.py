"""No honest implementation is flagged, however it is written.

python -m pytest tests/test_specificity.py                  a few variants, the corpus's inputs
python -m pytest tests/test_specificity.py --explore 20     all variants, 20 random inputs a property
"""

from contextlib import contextmanager, nullcontext
from functools import wraps
from inspect import signature
from unittest.mock import patch

import pytest
from variants import VARIANTS

from rlspec.drawing import explored
from rlspec.harness import TRIAL
from rlspec.power import every_property
from rlspec.spec.operations import OPERATIONS

PROPERTIES = [checked for checked in every_property() if not checked.theorem]


def pytest_generate_tests(metafunc):
    if "asked" in metafunc.fixturenames:
        every = metafunc.config.stash[TRIAL].run.explore
        metafunc.parametrize("asked", [one for one in VARIANTS if one.quick or every], ids=str)


@contextmanager
def noted(test, judged):
    """Note each input that the property judges."""
    check = test.hypothesis.inner_test

    @wraps(check)
    def noting(*arguments, **named):
        check(*arguments, **named)
        judged.append(test.__name__)

    with patch.object(test.hypothesis, "inner_test", noting):
        yield


def test_an_honest_implementation_is_not_flagged(asked, request, record_property):
    run, candidate = request.config.stash[TRIAL].run, asked.candidate()
    flagged, judged = {}, []
    for checked in (each for each in PROPERTIES if each.asks(asked.operation)):
        drawn = explored(checked.test, checked.name, run.explore, run.seed) if run.explore else nullcontext()
        with drawn, noted(checked.test, judged):
            violation = checked.violation_by(candidate, drawn=bool(run.explore))
        if violation and not set(checked.clauses) <= {*asked.admitted, FLAGS_AS_NUMBERS}:
            flagged[checked.name] = f"{violation}; {violation.call}"
    record_property("judged", len(judged))
    assert flagged == {}, f"--explore={run.explore} --seed={run.seed}" if run.explore else "as in every run"
    assert judged


def test_every_operation_has_a_variant():
    assert {one.operation for one in VARIANTS} == OPERATIONS.keys()


FLAGS_AS_NUMBERS = "OPS-9"
"""Advice that these implementations need not take: whoever is promised truth values may count on them."""


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_variant_has_the_operations_signature(variant):
    assert tuple(signature(variant.implementation).parameters) == OPERATIONS[variant.operation].parameters
