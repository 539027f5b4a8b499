"""One stream of questions for each operation: arguments, the exact answer, and how far rounding may take it.

What every operation owes its caller (spec/operations.md) is checked with these, and so is its precision.
A chapter's questions are in the module of its name.
"""

from importlib import import_module

import hypothesis.strategies as st

from rlspec.properties.questions.question import Inputs, Question
from rlspec.properties.strategies import NUMBERS, PLAIN, discounts, discounts_near_one, mixing_near_one, mixings
from rlspec.spec.operations import OPERATIONS

CHAPTERS = dict.fromkeys(operation.chapter for operation in OPERATIONS.values())
"""The chapters that have operations, in order."""


def _questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    asked = (import_module(f"{__name__}.{chapter}").questions(inputs) for chapter in CHAPTERS)
    return {operation: questions for chapter in asked for operation, questions in chapter.items()}


QUESTIONS = _questions(Inputs(NUMBERS, discounts, mixings, plain=False))
"""Any question of an operation."""

PLAIN_QUESTIONS = _questions(Inputs(PLAIN, discounts_near_one, mixing_near_one, plain=True))
"""Questions whose answers are far from zero compared with float32's rounding, so that a mistake is not taken for it."""
