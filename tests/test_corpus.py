"""The corpus: what is stored is what is chosen, what is chosen can be drawn, and it is replayed as it was drawn."""

import json
from contextlib import suppress
from fractions import Fraction
from random import Random
from types import SimpleNamespace
from unittest import SkipTest

import numpy as np
import pytest
from flint import fmpq
from hypothesis import strategies as st
from hypothesis.control import BuildContext
from hypothesis.errors import Flaky, Unsatisfiable
from hypothesis.internal.conjecture.data import ConjectureData
from hypothesis.internal.conjecture.engine import ConjectureRunner

from rlspec import choosing, corpus, replay
from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.choosing import chosen, made_by, spare
from rlspec.corpus import Stored, chapter, chapter_text, inputs
from rlspec.covering import alternatives, features
from rlspec.loading import load
from rlspec.plain import Stale, decoded, encoded
from rlspec.power import every_property
from rlspec.properties.checking import Violation
from rlspec.properties.strategies import Batch
from rlspec.reading import charitable
from rlspec.spec.operations import OPERATIONS

PROPERTIES = {checked.name: checked for checked in every_property() if not checked.theorem}
STORED = {name: stored for name, checked in PROPERTIES.items() if (stored := inputs(checked.test, name))}
CHAPTERS = sorted({PROPERTIES[name].chapter for name in STORED})

TD_ERROR = PROPERTIES["test_the_td_error_is_reward_plus_discounted_successor_minus_value"]

SAMPLE = Random(0).sample(sorted(STORED), 6)
"""Properties whose inputs are chosen anew in every run of the tests."""


def right(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * np.where(terminated, 0, next_values) - values


def forgetful(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * next_values - values


def who(implementation=right):
    return Candidate(SimpleNamespace(td_error=implementation), "somebody")


def asked(candidate, checked=TD_ERROR):
    """The inputs that a property asks a candidate, replayed as a run does."""
    candidate.start_trial()
    with pytest.MonkeyPatch.context() as patched, suppress(SkipTest):  # by Hypothesis, where it is kept from drawing
        patched.setattr(checked.test.hypothesis, "inner_test", charitable(checked.test))
        replay.replay(checked.test, checked.name, {"candidate": candidate, **checked.parameters})
    return candidate.answers


@pytest.fixture
def _nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(ConjectureRunner, "run", lambda self: None)


# How values are written


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 0.5, -1.0, "a", float("inf"), [1, 2.0], (1, (2,)), {"a": 1, (1, 2): 3.0}, b"\0\xff"),
        *(Fraction(1, 3), fmpq(-2, 7), np.float32(0.1), np.int64(3), np.uint8),
        *(np.array([[1.0, -0.0], [np.nan, -np.inf]]), np.array([0.1], dtype=np.float32), np.zeros((2, 0))),
        *(np.array([[True]]), np.array([1, 2]), np.array(["a", "bc"]), np.array([(1, 2), "x"], dtype=object)),
        *(OPERATIONS["gae"], Batch(np.array([1.0, 2.5]), np.array([True, False]))),
    ],
    ids=str,
)
def test_a_value_is_read_as_it_was_written(value):
    written = json.loads(json.dumps(encoded(value)))
    read = decoded(written, lambda path: None)
    assert type(read) is type(value)
    assert json.dumps(encoded(read)) == json.dumps(written)
    if isinstance(value, np.ndarray):
        assert (read.dtype, read.shape) == (value.dtype, value.shape)
        assert read.tobytes() == value.tobytes() or value.dtype == object


def test_what_has_no_form_is_refused():
    with pytest.raises(TypeError, match="set cannot be stored"):
        encoded({1, 2})


def test_what_todays_code_does_not_have_is_stale():
    with pytest.raises(Stale, match=r"strategies.Nothing"):
        decoded({"properties.strategies.Nothing": {}}, lambda path: None)


def test_a_file_has_one_line_an_input_and_is_read_back():
    stored = [
        Stored(b"\1\2", {"gamma": 0.5}),
        Stored(b"", {"rewards": {"float64": [[1, 2]]}}, kept=True),
        Stored(b"\3", {"gamma": 1}, spare=True),
    ]
    text = chapter_text({"test_one[a]": stored, "test_two": stored[:1]})
    assert json.loads(text)["version"] == corpus.VERSION
    read = corpus.Chapter(text)
    assert read.names() == ["test_one[a]", "test_two"]
    assert [Stored.read(line) for line in read.lines("test_one[a]")] == stored
    assert sum("choices" in line for line in text.splitlines()) == 4


# What is stored


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_input_is_stored_under_a_property_that_there_is(name):
    assert set(chapter(name).names()) <= PROPERTIES.keys()


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_stored_input_is_one_that_its_choices_make(name):
    for checked in map(PROPERTIES.get, chapter(name).names()):
        for stored in STORED[checked.name]:
            again = made_by(checked, stored.choices)
            assert (again.choices, again.values) == (stored.choices, json.loads(json.dumps(stored.values))), (
                checked.name
            )


@pytest.mark.parametrize("name", SAMPLE)
def test_what_is_stored_is_what_is_chosen(name):
    found = [json.loads(one.line()) for one in chosen(PROPERTIES[name])]
    assert found == [json.loads(one.line()) for one in STORED[name]]


def test_what_is_seen_of_an_argument():
    numbers = np.array([[0.0, 1e-4, -1e3]])
    assert {"x: tiny", "x: zero", "x: negative", "x: large", "x: axis 0 has 1"} <= set(features(numbers, "x"))
    assert {"x: backwards in memory", "x: gaps in memory"} <= set(features(numbers[:, ::-1], "x"))
    assert not {"x: backwards in memory", "x: locked"} & set(features(numbers, "x"))
    flags = set(features(np.array([[False, True, False]]), "x"))
    assert {"x: a gap", "x: before the last", "x: not the first"} <= flags
    assert "x: in the last" not in flags


def test_each_alternative_of_a_choice_among_few_is_told_apart_and_what_was_thrown_away_does_not_count():
    strategy = st.tuples(
        st.sampled_from("abc"), st.sampled_from("abc"), st.integers(0, 10**6), st.booleans().filter(bool)
    )

    def covered(*choices):
        data = ConjectureData.for_choices(choices)
        with BuildContext(data, wrapped_test=TD_ERROR.test):
            return data.draw(strategy), alternatives(data)

    value, one = covered(0, 1, 10**6, True)
    assert value == ("a", "b", 10**6, True)
    assert len(one) == 4
    assert one == covered(0, 1, 10**6, False, True)[1], "what the filter threw away"
    assert len(one - covered(1, 1, 10**6, True)[1]) == 1
    assert len(one - covered(1, 0, 10**6, True)[1]) == 2
    assert len(one - covered(0, 1, 7, True)[1]) == 1
    assert covered(0, 1, 7, True)[1] == covered(0, 1, 8, True)[1], "both lie between the limits"


# Replaying


@pytest.fixture
def _nothing_may_be_drawn(monkeypatch):
    monkeypatch.setattr(ConjectureRunner, "run", lambda self: pytest.fail("something is drawn"))


@pytest.mark.usefixtures("_nothing_may_be_drawn")
def test_a_right_candidate_is_asked_each_stored_input_and_nothing_is_drawn():
    assert asked(who()) == len(STORED[TD_ERROR.name])


def test_who_declines_almost_everything_is_asked_drawn_inputs():
    count = len(STORED[TD_ERROR.name])

    def reluctant(*arguments):
        calls.append(arguments)
        if len(calls) <= count - judged:
            raise NotImplementedError
        return right(*arguments)

    for judged, drawn in ((0, replay.FEW), (2, replay.DRAWN), (3, 0)):
        calls = []
        assert asked(who(reluctant)) == judged + drawn


def test_who_declines_everything_is_not_asked_for_long():
    def unwilling(*arguments):
        raise NotImplementedError

    candidate = who(unwilling)
    with pytest.raises(Unsatisfiable):
        asked(candidate)
    stored = len(STORED[TD_ERROR.name])
    assert stored + replay.FEW < candidate.declined <= stored + replay.TRIES + 2


GROUPS = PROPERTIES["test_an_advantage_is_the_reward_less_the_baseline_over_the_scale"]


def of_groups(implementation):
    return Candidate(SimpleNamespace(group_advantages=implementation), "somebody")


def as_in_grpo(rewards, groups, baseline, scale):
    if (baseline, scale) != ("mean", "std"):
        raise NotImplementedError("the advantages of GRPO only")
    return reference.group_advantages(rewards, groups, baseline, scale)


@pytest.mark.usefixtures("_nothing_may_be_drawn")
def test_who_declines_most_of_what_is_stored_is_asked_spare_inputs_until_enough_are_judged():
    usual = sum(not one.spare for one in STORED[GROUPS.name])
    assert asked(of_groups(reference.group_advantages), GROUPS) == usual
    narrow = of_groups(as_in_grpo)
    assert asked(narrow, GROUPS) == replay.ENOUGH
    assert narrow.declined > usual - replay.ENOUGH


def test_spare_inputs_are_those_that_such_a_candidate_answers(monkeypatch):
    stored = [one for one in STORED[GROUPS.name] if not one.spare]
    monkeypatch.setattr(choosing, "inputs", lambda test, name: stored)
    assert spare(GROUPS, of_groups(reference.group_advantages)) == stored
    narrow = of_groups(as_in_grpo)
    found = spare(GROUPS, narrow)
    assert found[: len(stored)] == stored
    assert len(found) == len(stored) + choosing.SPARE
    for one in found[len(stored) :]:
        assert one.spare
        with replay.as_hypothesis_runs(GROUPS.test):
            assert replay.judge(charitable(GROUPS.test), {"candidate": narrow}, one.arguments(GROUPS.test))


@pytest.mark.usefixtures("_nothing_is_drawn")
@pytest.mark.parametrize("name", ["random", "drawn in the body"])
def test_what_changes_while_it_is_used_is_replayed_too(name):
    wanted = '"seed"' if name == "random" else '"drawn"'
    checked = next(PROPERTIES[name] for name, stored in STORED.items() if wanted in stored[0].line())
    usual = sum(not one.spare for one in STORED[checked.name])
    assert asked(Candidate(load("reference"), "reference"), checked) >= usual


def test_a_violation_is_shown_on_a_small_input():
    with pytest.raises(Violation) as found:
        asked(who(forgetful))
    rewards, _, _, terminated, _ = found.value.call.arguments
    assert rewards.shape == (1, 1)
    assert terminated.all()


def test_what_drawing_does_not_show_is_made_smaller_from_the_stored_input_on(monkeypatch):
    first, seen = stored_with_an_end(), []

    def rarely(rewards, values, next_values, terminated, gamma):
        seen.append(rewards.size)
        wrong = len(seen) == 1 or len(seen) > 101  # on the stored input and on none of the 100 that are drawn
        return (forgetful if wrong else right)(rewards, values, next_values, terminated, gamma)

    monkeypatch.setattr(replay, "inputs", lambda test, name: [first])
    with pytest.raises(Violation) as found:
        asked(who(rarely))
    assert found.value.call.arguments[0].size <= seen[0]
    assert len(seen) > 103, "made smaller"


def test_what_is_not_wrong_again_is_said_to_be_so(monkeypatch):
    calls = []

    def once(*arguments):
        calls.append(arguments)
        return (forgetful if len(calls) == 1 else right)(*arguments)

    monkeypatch.setattr(replay, "inputs", lambda test, name: [stored_with_an_end()])
    with pytest.raises(Flaky, match="not when it was asked the same again"):
        asked(who(once))


def stored_with_an_end():
    """A stored input on which the value after a termination counts for who reads it."""
    for one in STORED[TD_ERROR.name]:
        drawn = one.arguments(TD_ERROR.test)
        if drawn["gamma"] and (drawn["rollout"].terminated & (drawn["rollout"].next_values != 0)).any():
            return one
    raise LookupError("there is none")


def test_a_stale_corpus_is_left_alone(monkeypatch):
    stale = Stored(b"", {"rollout": {"properties.strategies.Nothing": {}}, "gamma": 1.0})
    monkeypatch.setattr(replay, "inputs", lambda test, name: [stale])
    assert asked(who()) == 100


def test_what_exploring_finds_is_offered_if_the_corpus_lacks_it(monkeypatch):
    def explored(implementation):
        candidate = who(implementation)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(TD_ERROR.test.hypothesis, "inner_test", charitable(TD_ERROR.test))
            with pytest.raises(Violation) as found:
                replay.explore(TD_ERROR.test, TD_ERROR.name, {"candidate": candidate})
        return found.value

    assert not explored(forgetful).lacking
    monkeypatch.setattr(replay, "inputs", lambda test, name: [])
    lacking = explored(forgetful)
    assert lacking.lacking
    stored = made_by(TD_ERROR, lacking.choices)
    assert stored.values["rollout"]["properties.strategies.Rollout"]["terminated"] == {"bool": [[1]]}
