"""Questions about turns."""

from typing import Any

import hypothesis.strategies as st

from rlspec.properties.checking import exactly
from rlspec.properties.conversing import Conversation, conversations
from rlspec.properties.questions.language import exact
from rlspec.properties.questions.question import Inputs, Question
from rlspec.reference import turns
from rlspec.spec.operations import OPERATIONS


def _about(operation: str, drawn: Conversation, *scalars: float) -> Question:
    function, discount = getattr(turns, operation), 1.0
    for scalar in scalars:
        discount *= scalar

    def answer(**_: str) -> Any:
        arrays = (exact(array).tolist() for array in drawn.arrays)
        rows = zip(*arrays, drawn.turns.tolist(), drawn.mask.tolist(), strict=True)
        return [function(*row, *map(exactly, scalars)) for row in rows]

    return Question(OPERATIONS[operation], (*drawn, *scalars), answer, **drawn.judged(discount))


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    one, two = (conversations(copies, inputs.numbers) for copies in (1, 2))
    return {
        "turn_sums": one.map(lambda drawn: _about("turn_sums", drawn)),
        "turn_returns": st.builds(lambda *drawn: _about("turn_returns", *drawn), one, inputs.gammas),
        "turn_gae": st.builds(lambda *drawn: _about("turn_gae", *drawn), two, inputs.gammas, inputs.lams),
    }
