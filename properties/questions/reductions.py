"""Questions about reductions."""

from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.questions.language import exact
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.tokens import Marked, marked
from rlspec.reference import reductions
from rlspec.spec.operations import OPERATIONS

BY_DIVISOR = ("fixed divisor", "mean of sums over a fixed divisor")
OVER_ROWS = ("mean of means", "mean of sums", "mean of sums over a fixed divisor")
ASKED = ("token-mean", "mean of means", "mean of sums", "sum", *BY_DIVISOR)
"""The reductions that have to do with the divisor, those that are means over rows, and all that are asked for."""

asked_reductions = st.sampled_from(ASKED)
fixed_divisors = st.sampled_from([4.0, 10.0, 1.0, 48.0, 2.5])
micro_batches = st.sampled_from([1, 2, 5])
"""How many rows a micro-batch has: one, some, more than there are."""


def aggregate_judged(drawn: Marked) -> dict[str, Any]:
    """How far rounding may take an aggregate: no divisor is below 1, and B T numbers are summed, then divided."""
    return {"magnitude": float(drawn.magnitude.sum()), "roundings": drawn.mask.size + 8}


def _aggregates(name: str, numbers: np.ndarray, *counts: st.SearchStrategy[int]) -> st.SearchStrategy[Question]:
    def question(drawn: Marked, reduction: str, divisor: float, *counts: int) -> Question:
        def answer(**chosen: str) -> Any:
            values, mask = exact(drawn.arrays[0]).tolist(), drawn.mask.tolist()
            function = getattr(reductions, name)
            return function(values, mask, reduction, exactly(divisor), *counts, **last_names(chosen))

        return Question(OPERATIONS[name], (*drawn, reduction, divisor, *counts), answer, **aggregate_judged(drawn))

    return st.builds(question, marked(1, numbers), asked_reductions, fixed_divisors, *counts)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "aggregate": _aggregates("aggregate", inputs.numbers),
        "accumulate": _aggregates("accumulate", inputs.numbers, micro_batches),
    }
