"""Questions about surrogate losses."""

from functools import partial
from typing import Any

import hypothesis.strategies as st
from flint import ctx

from rlspec.properties.balls import PRECISION, balls, exponential_of, nearest
from rlspec.properties.losses import Credited, credited, no_kl
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import PLAIN
from rlspec.properties.tokens import DISTANT_RATIOS, FURTHEST_RATIOS, plain_ratios
from rlspec.reference import group, surrogate
from rlspec.spec.operations import OPERATIONS


def question(operation: str, drawn: Credited) -> Question:
    """The question to one of the losses about a batch."""
    case = drawn.at(operation)
    answer = partial(exact_loss, operation, case)
    return Question(OPERATIONS[operation], case.arguments(operation), answer, **case.judged)


def about(operation: str, inputs: Inputs) -> st.SearchStrategy[Question]:
    """Questions to one of the losses."""
    asked = partial(question, operation)
    # Where a policy has gone far its terms are so large that little is seen of others: no divergence beside those.
    far = credited(PLAIN, st.just(FURTHEST_RATIOS), no_kl)
    if not inputs.plain:
        return (credited(inputs.numbers) | credited(inputs.numbers) | far).map(asked)
    apart = credited(inputs.numbers, st.just(DISTANT_RATIOS), st.sampled_from([0.5, 2.0, -0.25]))
    return (credited(inputs.numbers, plain_ratios, no_kl) | apart | far.map(Credited.of_one_token)).map(asked)


def exact_loss(operation: str, case: Credited, **chosen: str) -> Any:
    """The reference's loss and its derivatives, to hundreds of bits."""
    function = getattr(surrogate if operation == "surrogate_loss" else group, operation)
    with ctx.workprec(PRECISION):
        arguments = (given if name == "groups" else _balls(given) for name, given in _named(operation, case))
        total, slopes = function(*arguments, **last_names(chosen), exp=exponential_of)
        return nearest(total), [[nearest(slope) for slope in row] for row in slopes]


def _named(operation: str, case: Credited) -> Any:
    return zip(OPERATIONS[operation].parameters, case.arguments(operation), strict=True)


def _balls(given: Any) -> Any:
    return None if given is None else balls(given)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {"surrogate_loss": about("surrogate_loss", inputs)}
