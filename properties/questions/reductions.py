"""Questions about reductions."""

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.conversing import Conversation, conversations
from rlspec.properties.questions.language import exact, named
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import NUMBERS
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


def packed_judged(drawn: Conversation) -> dict[str, Any]:
    """How far rounding may take a packed aggregate: as `aggregate_judged`, and sequences are no more than tokens."""
    return {"magnitude": float(np.abs(drawn.arrays[0][drawn.mask]).sum()), "roundings": drawn.mask.size + 8}


def _packed(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Conversation, reduction: str, divisor: float) -> Question:
        def answer(**chosen: str) -> Any:
            tables = exact(drawn.arrays[0]).tolist(), drawn.turns.tolist(), drawn.mask.tolist()
            return reductions.packed_aggregate(*tables, reduction, exactly(divisor), **last_names(chosen))

        arguments = *drawn, reduction, divisor
        return Question(OPERATIONS["packed_aggregate"], arguments, answer, **packed_judged(drawn))

    return st.builds(question, conversations(1, numbers).map(named), asked_reductions, fixed_divisors)


WEIGHINGS = ("whole", "shards", "rows", "tokens")

weighings, shard_counts = st.sampled_from(WEIGHINGS), st.sampled_from([2, 1, 3, 8])
"""What shards are weighed by, and how many of them are averaged: also more than there are rows."""


@dataclass(frozen=True)
class Spread:
    """A batch, and which of so many shards each row is in."""

    batch: Marked
    shards: np.ndarray
    averaged_over: int

    def arguments(self, weighing: str, reduction: str, divisor: float) -> tuple[Any, ...]:
        """The arguments of `sharded_loss`."""
        return *self.batch, self.shards, self.averaged_over, weighing, reduction, divisor

    @property
    def judged(self) -> dict[str, Any]:
        """How far rounding may take a loss and its derivatives: B T weighed numbers, and weights of a few quotients.

        A weight is below the number of rows, which is what a shard of `rows` is multiplied by at most; a derivative is
        such a weight.
        """
        size = len(self.batch.mask) * self.batch.mask.size
        return {"magnitude": size * (1 + float(self.batch.magnitude.sum())), "roundings": self.batch.mask.size + 24}


@st.composite
def spread_batches(draw: st.DrawFn, numbers: np.ndarray = NUMBERS) -> Spread:
    """Batches whose rows are in one, two or more shards, some of which may have none."""
    batch, count = draw(marked(1, numbers)), draw(shard_counts)
    rows = np.arange(len(batch.mask))
    return Spread(batch, draw(st.sampled_from([rows % count, np.minimum(rows // 2, count - 1), 0 * rows])), count)


def _sharded(numbers: np.ndarray) -> st.SearchStrategy[Question]:
    def question(drawn: Spread, weighing: str, reduction: str, divisor: float) -> Question:
        def answer(**chosen: str) -> Any:
            values, mask = exact(drawn.batch.arrays[0]).tolist(), drawn.batch.mask.tolist()
            shards, count = drawn.shards.tolist(), drawn.averaged_over
            told = weighing, reduction, exactly(divisor)
            return reductions.sharded_loss(values, mask, shards, count, *told, **last_names(chosen))

        arguments = drawn.arguments(weighing, reduction, divisor)
        return Question(OPERATIONS["sharded_loss"], arguments, answer, **drawn.judged)

    return st.builds(question, spread_batches(numbers), weighings, asked_reductions, fixed_divisors)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "aggregate": _aggregates("aggregate", inputs.numbers),
        "accumulate": _aggregates("accumulate", inputs.numbers, micro_batches),
        "packed_aggregate": _packed(inputs.numbers),
        "sharded_loss": _sharded(inputs.numbers),
    }
