"""Questions about what is done where another policy has spoken."""

from typing import Any

import hypothesis.strategies as st
from flint import ctx

from rlspec.properties.balls import PRECISION, balls, exponential_of, nearest
from rlspec.properties.clipping import exact_rows
from rlspec.properties.correcting import Sizes, Weighed, forms, levels, sizes, weighed
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.strategies import PLAIN
from rlspec.properties.tokens import DISTANT_RATIOS, FURTHEST_RATIOS, TOKEN_RATIOS, plain_ratios, token_ratios
from rlspec.reference import correction
from rlspec.spec.operations import OPERATIONS


def exact(operation: str, case: Weighed, **chosen: str) -> Any:
    """The reference's answer, to hundreds of bits."""
    with ctx.workprec(PRECISION):
        arguments = (balls(argument) for argument in case.arguments(operation))
        return _middles(getattr(correction, operation)(*arguments, **chosen, exp=exponential_of))


def _middles(numbers: Any) -> Any:
    if isinstance(numbers, tuple):
        return tuple(map(_middles, numbers))
    return [_middles(number) for number in numbers] if isinstance(numbers, list) else nearest(numbers)


def question(operation: str, case: Weighed, judged: str) -> Question:
    """The question to an operation about a case; judged: which of its properties says what rounding may do."""

    def answer(**chosen: str) -> Any:
        return exact(operation, case, **last_names(chosen))

    return Question(OPERATIONS[operation], case.arguments(operation), answer, **getattr(case, judged))


def _about(operation: str, cases: st.SearchStrategy[Weighed], judged: str) -> st.SearchStrategy[Question]:
    return cases.map(lambda case: question(operation, case, judged))


def sample_size_question(drawn: Sizes) -> Question:
    """The question to ``effective_sample_size`` about weights."""

    def answer(**chosen: str) -> Any:
        arrays = exact_rows(drawn.weights), drawn.mask.tolist()
        return correction.effective_sample_size(*arrays, **last_names(chosen))

    return Question(OPERATIONS["effective_sample_size"], drawn.arguments, answer, **drawn.judged)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    known = plain_ratios if inputs.plain else token_ratios
    near = weighed(numbers=inputs.numbers, ratios=known)
    # A clamp shows where weights are far from 1 and nothing else bounds them.
    far = weighed(levels, st.just("none"), inputs.numbers, st.sampled_from([FURTHEST_RATIOS, DISTANT_RATIOS]))
    # No product of a ratio and a weight is so large that float32 does not hold it: one of both is 1.
    furthest = weighed(levels, st.just("none"), PLAIN, st.just(FURTHEST_RATIOS))
    moved = furthest.map(lambda case: case.but(ref_logp=case.tokens.old_logp))
    spoken = furthest.map(lambda case: case.but(logp=case.tokens.old_logp))
    moderate = weighed(levels, forms, inputs.numbers, st.sampled_from([TOKEN_RATIOS, DISTANT_RATIOS]))
    normalizable = moderate.filter(lambda case: case.normalizable)
    return {
        "importance_weights": _about("importance_weights", near | far, "judged"),
        "self_normalized_weights": _about("self_normalized_weights", normalizable, "judged_normalized"),
        "corrected_loss": _about("corrected_loss", near | moved | spoken, "judged_loss"),
        "effective_sample_size": sizes(inputs.plain).map(sample_size_question),
    }
