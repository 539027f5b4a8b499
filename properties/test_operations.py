"""Properties of every operation, whatever it computes (spec/operations.md)."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from rlspec.properties.checking import DOUBLE, SINGLE, Violation, agree, clause, each, first_miss, if_taken, law
from rlspec.properties.masks import NOT_NUMBERS, emptied, hidden, something_counts
from rlspec.properties.questions import PLAIN_QUESTIONS, QUESTIONS
from rlspec.spec.operations import MASKS, OPERATIONS

FLAGS = {*MASKS, "terminated", "truncated", "desirable", "greedy", "alive", "dies", "available"}
"""The parameters that are truth values."""

every_operation = pytest.mark.parametrize("operation", QUESTIONS)
MASKED = [name for name in QUESTIONS if OPERATIONS[name].mask]
SELECTIVE = [name for name in MASKED if OPERATIONS[name].may_select_nothing]
every_masked_operation = pytest.mark.parametrize("operation", MASKED)
every_selective_operation = pytest.mark.parametrize("operation", SELECTIVE)

ALL = -1
subsets = st.just(ALL) | st.integers(1, 2**8 - 1)
"""Which arrays are changed: all of them, or some."""


def each_array(change, arguments, which=ALL):
    """A call's arguments with every array changed, or with those whose bit is set in a number."""
    return tuple(
        change(argument) if isinstance(argument, np.ndarray) and which >> place & 1 else argument
        for place, argument in enumerate(arguments)
    )


def locked(array):
    """A copy that cannot be written to."""
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def strided(array):
    """The same numbers, each followed by another in memory."""
    spread = np.full((*array.shape, 2), 7, dtype=array.dtype)
    spread[..., 0] = array
    return spread[..., 0]


def reversed_view(array):
    """The same numbers, lying backwards in memory."""
    return array[..., ::-1].copy()[..., ::-1]


LAYOUTS = {"Fortran order": np.asfortranarray, "a strided view": strided, "a reversed view": reversed_view}


def narrowed(array):
    """Floats as float32, other arrays as they are."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def widened(array):
    """Floats as float64, other arrays as they are."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array


@every_operation
@clause("OPS-1", examples=20)
@given(data=st.data())
def test_an_answer_has_its_shape_and_is_made_of_finite_real_numbers(candidate, operation, data):
    question = data.draw(QUESTIONS[operation])
    assume(something_counts(question))  # or else OPS-12 says what is owed
    candidate.demand(question.operation, *question.arguments)


@every_operation
@clause("OPS-2", examples=20)
@given(data=st.data())
def test_arguments_are_read_and_never_written(candidate, operation, data):
    question = data.draw(QUESTIONS[operation])
    answer = candidate.ask(question.operation, *question.arguments)
    nothing_is_written_to(answer)
    again = candidate.demand(question.operation, *each_array(locked, question.arguments), as_stored=True)
    agree(again, answer, **question.judged, why="arrays that cannot be written to")


def nothing_is_written_to(answer):
    """Check that the candidate left the arguments of a call as they were."""
    first = each(answer)[0]
    operation = first.call.operation.name
    law(not first.modified, first, f"{operation} wrote to its argument {' and '.join(first.modified)}")


@every_masked_operation
@clause("OPS-2", examples=20)
@given(data=st.data())
def test_what_does_not_count_is_not_written_to_either(candidate, operation, data):
    spoiled = data.draw(hidden(QUESTIONS[operation], (np.nan,)))
    nothing_is_written_to(candidate.ask(spoiled.operation, *spoiled.others.values()))


@every_operation
@clause("OPS-3", examples=20)
@given(data=st.data())
def test_the_same_question_has_the_same_answer(candidate, operation, data):
    question, other = data.draw(QUESTIONS[operation]), data.draw(QUESTIONS[operation])
    first = candidate.ask(question.operation, *question.arguments)
    candidate.ask(question.operation, *other.arguments)
    again = candidate.demand(question.operation, *question.arguments)
    agree(again, first, **question.judged, why="asked the same twice, with another question in between")


@every_operation
@clause("OPS-4", examples=40)
@given(data=st.data())
def test_float64_arguments_are_answered_to_float64_precision(candidate, operation, data):
    question = data.draw(PLAIN_QUESTIONS[operation])
    assume(candidate.explained(operation))  # or else it is wrong, which the other clauses say
    answer = candidate.ask(question.operation, *question.arguments)
    exact = question.answer(**candidate.conventions(operation))
    for part, expected in zip(each(answer), each(exact), strict=True):
        assume(first_miss(part.value, expected, roundoff=SINGLE, **question.judged) is None)
        agree(replace(part, roundoff=DOUBLE), expected, **question.judged, why="not accurate to float64")


def taken(candidate, operation, arguments, how, remedy):
    """The answer to a call that is to be answered however its arrays are stored.

    how: how they are.  remedy: what to write in an adapter.
    """
    try:
        return candidate.demand(operation, *arguments, as_stored=True)
    except Violation as refused:
        if refused.__cause__ is None:
            raise
        whose = ", in a line of the adapter itself" if refused.by_adapter else ""
        raise refused.but(
            f"{how}: {refused}{whose}; write {remedy} there", refused.call, None, None
        ) from refused.__cause__


COPY = "np.ascontiguousarray(array), or @rlspec.torch.on_tensors,"

STORED = {**{name: (change, COPY) for name, change in LAYOUTS.items()}, "float32": (narrowed, "array.astype(float)")}
"""How arrays may be stored: what makes them so, and what undoes it."""


@every_operation
@clause("OPS-13", examples=20)
@given(data=st.data(), stored=st.sampled_from(sorted(STORED)))
def test_arrays_are_taken_however_they_are_stored(candidate, operation, data, stored):
    question = data.draw(QUESTIONS[operation])
    candidate.ask(question.operation, *question.arguments)
    change, remedy = STORED[stored]
    taken(candidate, question.operation, each_array(change, question.arguments), f"arrays in {stored}", remedy)


@every_operation
@clause("OPS-5", examples=40)
@given(data=st.data(), layout=st.sampled_from(sorted(LAYOUTS)), which=subsets)
def test_the_memory_layout_of_an_array_does_not_matter(candidate, operation, data, layout, which):
    question = data.draw(QUESTIONS[operation])
    plain = candidate.ask(question.operation, *question.arguments)
    answer = if_taken(candidate, question.operation, each_array(LAYOUTS[layout], question.arguments, which))
    agree(answer, plain, **question.judged, why=f"the same arrays in {layout}")


@every_operation
@clause("OPS-5", examples=20)
@given(data=st.data(), which=subsets)
def test_float32_arguments_have_the_answer_of_the_same_numbers_in_float64(candidate, operation, data, which):
    question = data.draw(QUESTIONS[operation])
    narrow = each_array(narrowed, question.arguments, which)
    same = candidate.ask(question.operation, *each_array(widened, narrow))
    answer = if_taken(candidate, question.operation, narrow)
    agree(answer, same, **question.judged, why="the same numbers as float32")


with_rewards = [name for name in QUESTIONS if "rewards" in OPERATIONS[name].parameters]


def with_integer_rewards(question, kind, as_floats=False):
    """The question's arguments with whole numbers for rewards, as integers of that kind or as floats."""
    given = dict(zip(question.operation.parameters, question.arguments, strict=True))
    rewards = given["rewards"]
    integers = np.rint(rewards if kind == np.int64 else np.abs(rewards) % 256).astype(kind)
    given["rewards"] = integers.astype(float) if as_floats else integers
    return tuple(given.values())


def to_float32(answer):
    """The answer, to be judged with float32's precision at most: PyTorch makes that of integers."""
    parts = tuple(replace(part, roundoff=max(SINGLE, part.roundoff)) for part in each(answer))
    return parts if isinstance(answer, tuple) else parts[0]


@pytest.mark.parametrize("operation", with_rewards)
@clause("OPS-5", examples=20)
@given(data=st.data(), kind=st.sampled_from([np.int64, np.uint8]))
def test_integer_rewards_have_the_answer_of_the_same_numbers_as_floats(candidate, operation, data, kind):
    question = data.draw(QUESTIONS[operation])
    integers = with_integer_rewards(question, kind)
    same = candidate.ask(question.operation, *with_integer_rewards(question, kind, as_floats=True))
    answer = if_taken(candidate, question.operation, integers)
    agree(to_float32(answer), same, **question.judged, why=f"the same rewards as {kind.__name__}")


@pytest.mark.parametrize("operation", with_rewards)
@clause("OPS-13", examples=20)
@given(data=st.data(), kind=st.sampled_from([np.int64, np.uint8]))
def test_rewards_are_taken_as_integers(candidate, operation, data, kind):
    question = data.draw(QUESTIONS[operation])
    candidate.ask(question.operation, *with_integer_rewards(question, kind, as_floats=True))
    integers = with_integer_rewards(question, kind)
    taken(candidate, question.operation, integers, f"rewards as {kind.__name__}", "rewards.astype(float)")


def as_numbers(kind):
    """A change of arrays of truth values to 0 and 1, as numbers of that kind."""
    return lambda array: array.astype(kind) if array.dtype == bool else array


with_flags = [name for name in QUESTIONS if FLAGS & set(OPERATIONS[name].parameters)]


@pytest.mark.parametrize("operation", with_flags)
@clause("OPS-9", examples=20)
@given(data=st.data(), kind=st.sampled_from([np.int64, np.float64, np.uint8]))
def test_flags_and_masks_that_are_numbers_say_what_they_say_as_truth_values(candidate, operation, data, kind):
    question = data.draw(QUESTIONS[operation])
    same = candidate.ask(question.operation, *question.arguments)
    flags = each_array(as_numbers(kind), question.arguments)
    answer = taken(candidate, question.operation, flags, f"flags as {kind.__name__}", "flag.astype(bool)")
    agree(answer, same, **question.judged, why=f"flags as {kind.__name__}")


row_by_row = [name for name in QUESTIONS if "B" in OPERATIONS[name].result and OPERATIONS[name].row_by_row]


@pytest.mark.parametrize("operation", row_by_row)
@clause("OPS-6", examples=20)
@given(data=st.data())
def test_each_row_has_the_answer_that_it_has_alone(candidate, operation, data):
    question = data.draw(QUESTIONS[operation])
    answer = candidate.ask(question.operation, *question.arguments)
    alone = [
        candidate.ask(question.operation, *each_array(lambda array, row=row: array[row : row + 1], question.arguments))
        for row in range(len(question.arguments[0]))
    ]
    apart = tuple(np.concatenate([row.value for row in rows]) for rows in zip(*map(each, alone), strict=True))
    agree(each(answer), apart, **question.judged, why="each row asked alone")


def is_right(candidate, question):
    """Check an answer against the formulas; where nothing counts there is none, and OPS-12 says what is owed."""
    assume(something_counts(question))
    answer = candidate.demand(question.operation, *question.arguments)
    exact = question.answer(**candidate.conventions(question.operation.name))
    agree(answer, exact, **question.judged, why=candidate.choices_made(question.operation.name))


@every_operation
@clause("OPS-8", examples=100)
@given(data=st.data())
def test_answers_are_those_of_the_formulas_and_of_the_choices_that_were_declared_or_found(candidate, operation, data):
    is_right(candidate, data.draw(QUESTIONS[operation]))


@every_operation
@clause("OPS-8", examples=60)
@given(data=st.data())
def test_plain_questions_are_answered_by_the_formulas_where_no_choices_explained_all_answers(
    candidate, operation, data
):
    question = data.draw(PLAIN_QUESTIONS[operation])
    if not candidate.explained(operation):
        is_right(candidate, question)


@every_operation
@clause("OPS-8", examples=1)
@given(nothing=st.none())
def test_the_answers_by_which_choices_were_looked_for_are_explained(candidate, operation, nothing):
    for question in candidate.unexplained.get(operation, ()):
        is_right(candidate, question)


def is_inert(candidate, case, plain):
    """Check that what does not count changes nothing in the plain answer, and that no result says anything of it."""
    answer = candidate.demand(case.operation, *case.others.values())
    for part, counts in case.results(answer):
        law(not part.value[~counts].any(), part, "a result is not 0 where nothing counts")
    agree(each(answer), case.expected(plain), **case.judged, why="something else where nothing counts")


@every_masked_operation
@clause("OPS-10", examples=60)
@given(data=st.data())
def test_what_stands_where_nothing_counts_and_how_much_of_it_changes_nothing(candidate, operation, data):
    case = data.draw(hidden(QUESTIONS[operation]))
    is_inert(candidate, case, candidate.ask(case.operation, *case.arguments.values()))


@every_selective_operation
@clause("OPS-10", examples=20)
@given(data=st.data())
def test_what_stands_in_a_row_in_which_nothing_counts_changes_nothing(candidate, operation, data):
    case = data.draw(hidden(QUESTIONS[operation], another_row=True))
    candidate.ask(case.operation, *case.shorter.values())  # or else it is not for the row that there is no answer
    is_inert(candidate, case, candidate.demand(case.operation, *case.arguments.values()))


@every_masked_operation
@clause("OPS-11", examples=40)
@given(data=st.data(), another_row=st.booleans())
def test_what_is_not_a_number_changes_nothing_where_nothing_counts(candidate, operation, data, another_row):
    another_row = another_row and operation in SELECTIVE
    case = data.draw(hidden(QUESTIONS[operation], NOT_NUMBERS, another_row))
    plain = candidate.ask(case.operation, *case.arguments.values())
    answer = candidate.demand(case.operation, *case.others.values())
    for (part, counts), expected in zip(case.results(answer), case.expected(plain), strict=True):
        expected = np.where(
            counts | ~np.isfinite(part.value), expected, part.value
        )  # numbers there are OPS-10's matter
        agree(part, expected, **case.judged, why="no numbers where nothing counts")


@every_selective_operation
@clause("OPS-12", examples=20)
@given(data=st.data())
def test_where_nothing_counts_in_the_whole_batch_the_answer_is_zero(candidate, operation, data):
    question = data.draw(QUESTIONS[operation])
    answer = each(candidate.demand(question.operation, *emptied(question)))
    agree(answer, tuple(np.zeros(part.value.shape) for part in answer), magnitude=0, roundings=1)
