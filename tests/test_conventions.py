"""Every choice that the specification leaves open is recognised in the answers of whoever made it."""

from functools import partial
from itertools import product
from types import SimpleNamespace

import pytest

from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.conventions import infer
from rlspec.properties.questions import QUESTIONS
from rlspec.properties.questions.question import last_names
from rlspec.spec.clauses import conventions_of

CHOICES = [
    (operation, dict(zip(free, chosen, strict=True)))
    for operation in QUESTIONS
    if (free := conventions_of(operation))
    for chosen in product(*free.values())
]

WHOLE_RETURN = "policy_gradient.credit", "whole return"
"""With it the step's own discount plays no part, so that either choice about that explains the answers."""


@pytest.mark.parametrize(("operation", "chosen"), CHOICES, ids=lambda part: part if isinstance(part, str) else "")
def test_the_choices_made_are_found_out(operation, chosen):
    answer = partial(getattr(reference, operation), **last_names(chosen))
    found = infer(Candidate(SimpleNamespace(**{operation: answer}), "someone"), operation)
    open_still = {"policy_gradient.discounting"} if WHOLE_RETURN in chosen.items() else set()
    assert {name: found[name] for name in chosen if name not in open_still} == {
        name: choice for name, choice in chosen.items() if name not in open_still
    }
    assert found[f"{operation}.precision"] == "float64"
