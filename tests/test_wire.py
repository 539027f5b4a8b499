"""The protocol of adapters in other languages: what programs that keep to it get, and what those get that do not."""

import gc
import json
import re
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from rlspec.candidate import Candidate, Declined
from rlspec.conventions import infer
from rlspec.first_look import Look
from rlspec.limits import Limits, Stopped
from rlspec.loading import NotLoaded, load
from rlspec.properties.checking import Violation
from rlspec.selection import Only
from rlspec.spec.operations import OPERATIONS
from rlspec.wire import Misbehaved, _result, decoded, encoded

PATIENCE = 1.0

PROGRAM = """
import json, os, sys, time

def say(message):
    print(json.dumps(message), flush=True)

def to_go(rewards, gamma):
    height, width = rewards["shape"]
    data = list(rewards["data"])
    for row in range(height):
        for t in reversed(range(width - 1)):
            data[row * width + t] += gamma * data[row * width + t + 1]
    return {**rewards, "data": data}

def answered(call):
    return {"id": call["id"], "result": to_go(**call["arguments"])}

hello = {"hello": 1, "name": "a program", "operations": ["reward_to_go"]}
asked = []
for line in sys.stdin:
    message = json.loads(line)
    if "hello" in message:
        say(hello)
    for call in message.get("calls", []):
        asked.append(call)
        say(answered(call))
"""
"""An adapter that keeps to the protocol, in the language that is at hand."""


@pytest.fixture
def adapted(tmp_path):
    """A candidate: the program with one passage replaced by another."""

    def candidate(passage="", by="", limits=None):
        assert passage in PROGRAM
        (tmp_path / "adapter.py").write_text(PROGRAM.replace(passage, by) if passage else PROGRAM)
        limits = limits or Limits(patience=PATIENCE)
        found = Candidate(load(f"cmd: {sys.executable} {tmp_path / 'adapter.py'}"), "theirs", limits)
        found.asked_before.add("reward_to_go")  # its first call has more patience
        return found

    return candidate


TO_GO = OPERATIONS["reward_to_go"]

ASKED = np.array([[0.0, 4.0], [1.0, 2.0]]), 0.5


def asked(candidate, *arguments):
    return candidate.answer(TO_GO, *(arguments or ASKED)).value.tolist()


def said(candidate, *arguments):
    """What is charged to a candidate that has no usable answer."""
    try:
        found = asked(candidate, *arguments)
    except Violation as violation:
        return str(violation)
    except Stopped as stopped:
        return str(stopped.charge)
    raise AssertionError(f"answered {found}")


# Programs that keep to it


def test_a_program_is_a_candidate_like_any_other(adapted):
    candidate = adapted()
    assert candidate.name == "a program"
    assert candidate.provides("reward_to_go")
    assert not candidate.provides("gae")
    assert asked(candidate) == [[2, 4], [2, 2]]


def test_the_name_is_the_command_if_it_says_none(adapted):
    assert adapted('"name": "a program", ').name.endswith("adapter.py")


def test_conventions_and_known_failures_are_declared_in_the_hello(adapted):
    more = '"conventions": {"gae.precision": "float32"}, "known_failures": {"RET-2": "https://example.org"}, '
    candidate = adapted('"name"', f'{more}"name"')
    assert candidate.declared == {"gae.precision": "float32"}
    assert candidate.known_failures == {"RET-2": "https://example.org"}


def test_a_call_may_be_declined(adapted):
    candidate = adapted('"result": to_go(**call["arguments"])', '"declined": "no two rows"')
    with pytest.raises(Declined):
        asked(candidate)
    assert candidate.reason == "reward_to_go declines: NotImplementedError: no two rows"
    assert candidate.declined == 1


def test_an_error_is_what_the_program_says_it_is(adapted):
    candidate = adapted('"result": to_go(**call["arguments"])', '"error": "RangeError: no row\\n  at line 3"')
    assert said(candidate) == "reward_to_go raised RangeError: no row at line 3"


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0.1, np.nan], [np.inf, -np.inf]]),
        np.array([1 / 3, -0.0, 5e-324, 1.7976931348623157e308]),
        np.array([0.1, np.nan], dtype=np.float32),
        np.arange(6).reshape(1, 2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.array([[True], [False]]),
        np.array([3, 255], dtype=np.uint8),
        np.array(["a", "nan"]),
        np.zeros((0, 3)),
        np.array(2.5),
    ],
    ids=str,
)
def test_arrays_arrive_as_they_were(array):
    arrived = decoded(json.loads(json.dumps(encoded(array), allow_nan=False)))
    assert arrived.dtype == array.dtype
    assert arrived.shape == array.shape
    assert arrived.tobytes() == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("scalar", [0.1, 1 / 3, np.inf, -np.inf, 10.0**20, 7])
def test_numbers_arrive_as_they_were(scalar):
    assert decoded(json.loads(json.dumps(encoded(scalar), allow_nan=False))) == scalar


def test_a_number_that_is_none_arrives():
    assert np.isnan(decoded(json.loads(json.dumps(encoded(np.nan), allow_nan=False))))


@pytest.mark.parametrize("argument", [None, "token-mean"])
def test_other_scalars_are_sent_as_they_are(argument):
    assert encoded(argument) is argument


def test_a_call_is_written_as_the_protocol_says(adapted):
    candidate = adapted('"result": to_go(**call["arguments"])', '"error": json.dumps(message)')
    assert json.loads(said(candidate, np.array([[1.5, np.inf]]), 0.5).removeprefix("reward_to_go raised ")) == {
        "calls": [
            {
                "id": 1,
                "operation": "reward_to_go",
                "arguments": {"rewards": {"dtype": "float64", "shape": [1, 2], "data": [1.5, "inf"]}, "gamma": 0.5},
            }
        ]
    }


def several(count):
    return [(np.array([[float(number), 2.0]]), 0.5) for number in range(count)]


def test_several_calls_go_in_one_message(adapted):
    candidate = adapted(
        'to_go(**call["arguments"])', '{**call["arguments"]["rewards"], "data": [len(message["calls"])] * 2}'
    )
    candidate.announce(TO_GO, several(5))
    assert [asked(candidate, *one) for one in several(5)] == [[[5, 5]]] * 5


def test_inference_asks_many_at_once(adapted):
    candidate = adapted("say(answered(call))", "say(answered(call)); print(len(message['calls']), file=sys.stderr)")
    messages = []
    send = candidate.module._send
    candidate.module._send = lambda calls: (messages.append(len(calls)), send(calls))
    assert infer(candidate, "reward_to_go") == {"reward_to_go.precision": "float64"}
    assert messages == [20]


def test_what_was_announced_need_not_be_asked(adapted):
    candidate = adapted()
    candidate.announce(TO_GO, several(5))
    assert asked(candidate, *several(5)[0]) == [[1, 2]]
    assert asked(candidate) == [[2, 4], [2, 2]]


def test_what_goes_wrong_among_several_is_charged_to_the_call_that_it_went_wrong_with(adapted):
    candidate = adapted("        asked.append", "        len(asked) == 2 and os._exit(3)\n        asked.append")
    candidate.announce(TO_GO, several(4))
    assert [asked(candidate, *one) for one in several(2)] == [[[1, 2]], [[2, 2]]]
    assert said(candidate, *several(4)[2]) == "reward_to_go ended the program (exit status 3)"
    assert asked(candidate, *several(4)[3]) == [[4, 2]]


def test_a_large_answer_is_an_answer(adapted):
    candidate = adapted(limits=Limits(patience=60.0))
    rewards = np.arange(200_000.0).reshape(2, 100_000)
    assert candidate.answer(TO_GO, rewards, 0.0).value.tolist() == rewards.tolist()


def test_who_writes_much_to_standard_error_is_not_held_up(adapted):
    candidate = adapted("say(answered(call))", "print('x' * 10_000_000, file=sys.stderr); say(answered(call))")
    assert asked(candidate) == [[2, 4], [2, 2]]


# Programs that do not


def misbehaves(id, statement, says, passage="say(answered(call))"):
    return pytest.param(passage, statement, says, id=id)


@pytest.mark.parametrize(
    ("passage", "by", "says"),
    [
        misbehaves(
            "prints in the middle",
            "print('half way', flush=True); say(answered(call))",
            "wrote to standard output a line that is no message, 'half way'; only messages belong there, each a JSON "
            "object in a line, and everything else on standard error",
        ),
        misbehaves("dies", "os._exit(3)", "ended the program (exit status 3)"),
        misbehaves(
            "dies with words",
            "print('out of cheese', file=sys.stderr, flush=True); os.abort()",
            "ended the program (signal SIGABRT); on standard error: out of cheese",
        ),
        misbehaves(
            "dies in the middle of a line",
            "sys.stdout.write('{\"id\": 1, '); sys.stdout.flush(); os._exit(0)",
            "ended the program (exit status 0); of its answer there is half a line, '{\"id\": 1, ', and no line feed "
            "after it",
        ),
        misbehaves("hangs", "time.sleep(60)", "did not return within 1 s"),
        misbehaves(
            "hangs with words",
            "print('waiting for a lock', file=sys.stderr, flush=True); time.sleep(60)",
            "did not return within 1 s; on standard error: waiting for a lock",
        ),
        misbehaves(
            "sends half a line",
            "sys.stdout.write('{\"id\": 1, '); sys.stdout.flush(); time.sleep(60)",
            "did not return within 1 s; of its answer there is half a line, '{\"id\": 1, ', and no line feed after it",
        ),
        misbehaves(
            "answers out of order",
            'say({**answered(call), "id": 2})',
            r"answered '{\"id\": 2, .*' where the answer to the call with id 1 was expected; "
            "the calls of a message are answered in their order",
        ),
        misbehaves(
            "answers without an id",
            'say({"result": 1})',
            "answered '{\"result\": 1}' where the answer to the call with id 1 was expected; "
            "the calls of a message are answered in their order",
        ),
        misbehaves(
            "sends 100 MB",
            "sys.stdout.write('x' * 10**8); sys.stdout.flush()",
            "wrote a line of more than 64 MiB",
        ),
        misbehaves(
            "closes its output",
            "sys.stdout.flush(); os.close(1); time.sleep(60)",
            "(closed its standard output|did not return within 1 s)",
        ),
        misbehaves(
            "says something else",
            'say({"id": 1, "value": 3})',
            "answered '{\"id\": 1, \"value\": 3}'; an object with \"result\", \"declined\" or \"error\" was expected",
        ),
        misbehaves("writes no object", "say([1, 2])", "wrote to standard output a line that is no message, .*"),
        misbehaves(
            "writes NaN",
            'say({"id": 1, "result": float("nan")})',
            "wrote to standard output a line that is no message, '{\"id\": 1, \"result\": NaN}'; .*",
        ),
    ],
)  # fmt: skip
def test_a_program_that_misbehaves_gets_a_verdict_and_is_started_again(adapted, passage, by, says):
    once = f"if call['arguments']['gamma'] == 0.5: {by}\n        else: {passage}"
    candidate = adapted(passage, once)
    charge = said(candidate)
    assert charge.startswith("reward_to_go ")
    pattern = says if "|" in says or ".*" in says else re.escape(says)
    assert re.fullmatch(pattern, charge.removeprefix("reward_to_go "))
    assert asked(candidate, ASKED[0], 1.0) == [[4, 4], [3, 2]]


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ([[1, 2], [3, 4]], "returned '[[1, 2], [3, 4]]' where a number was expected; an array is an object with dtype, "
                           "shape and data"),
        (None, "returned 'null' where a number was expected; what is not finite is written "),
        (True, "returned 'true' where a number was expected"),
        ("1", "returned '1' where a number was expected"),
        (1, "returned shape (); an array of shape (2, 2) was expected"),
        ({"dtype": "float64", "data": []}, "returned an array without shape"),
        ({"dtype": "double", "shape": [1], "data": [1]},
         "returned an array of dtype 'double'; it has to be one of float64, float32, int64, int32, uint8, bool, str"),
        ({"dtype": "float64", "shape": 2, "data": [1, 2]},
         "returned an array of shape '2'; a list of whole numbers was expected"),
        ({"dtype": "float64", "shape": [2, 2], "data": [1, 2, 3]},
         "returned 3 entries as the data of an array of shape [2, 2]; it has 4 entries"),
        ({"dtype": "float64", "shape": [2, 1], "data": "ab"},
         "returned no list as the data of an array of shape [2, 1]; it has 2 entries"),
        ({"dtype": "float64", "shape": [1], "data": [None]},
         "returned 'null' where a number was expected; what is not finite is written \"nan\", \"inf\" or \"-inf\""),
        ({"dtype": "uint8", "shape": [1], "data": [300]}, "returned data that is not of dtype uint8 (.*)"),
        ({"dtype": "float64", "shape": [2, 2], "data": [1, 2, 3, "nan"]},
         "returned nan at [1, 1] for finite arguments"),
        ({"dtype": "float64", "shape": [2], "data": [1, 2]}, "returned shape (2,); an array of"),
        ({"dtype": "str", "shape": [2, 2], "data": ["a", "b", "c", "d"]},
         "returned numbers of type <U1, not real ones; an array of shape (2, 2) was expected"),
    ],
)  # fmt: skip
def test_a_result_of_another_form_is_a_violation(adapted, result, says):
    candidate = adapted('to_go(**call["arguments"])', repr(result))
    charge = said(candidate).removeprefix("reward_to_go ")
    assert charge.startswith(says.removesuffix("(.*)"))


def test_several_results_are_named():
    with pytest.raises(Misbehaved, match="an object with loss and d_logp was expected"):
        _result(OPERATIONS["ppo_loss"], {"loss": 1.0, "gradient": 2.0})


@pytest.mark.parametrize(
    ("passage", "by", "says"),
    [
        ("say(hello)", "os._exit(2)", "ended the program (exit status 2)"),
        ("say(hello)", "undefined", "NameError: name 'undefined' is not defined"),
        ('"hello": 1', '"hello": 2', '"operations" was expected'),
        ("say(hello)", "print('Listening')", "a line that is no message, 'Listening'"),
        (', "operations": ["reward_to_go"]', "", '"operations", a list of names, is missing'),
        ('"reward_to_go"', '"rewards_to_go"', "has an operation 'rewards_to_go', which the specification has not; "
                                              "did you mean reward_to_go?"),
        ('"name"', '"conventions": {"gae.spread": "1"}, "name"', "there is no convention 'gae.spread'"),
        ('"name"', '"known_failures": ["RET-2"], "name"', "KNOWN_FAILURES is ['RET-2']"),
    ],
)  # fmt: skip
def test_who_does_not_say_hello_is_no_candidate(adapted, passage, by, says):
    with pytest.raises(NotLoaded) as refused:
        adapted(passage, by)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("command", "says"),
    [("cmd: no-such-program", "cannot be started: No such file or directory"), ("cmd:", "no program is named"),
     ("cmd: 'open", "No closing quotation")],
)  # fmt: skip
def test_a_command_that_cannot_be_run_is_no_candidate(command, says):
    with pytest.raises(NotLoaded, match=re.escape(says)):
        load(command)


def test_who_says_nothing_is_no_candidate(adapted, monkeypatch):
    monkeypatch.setattr("rlspec.wire.STARTING", 0.3)
    with pytest.raises(NotLoaded, match=r"did not say hello within 0.3 s; on standard error: loading"):
        adapted("say(hello)", "print('loading', file=sys.stderr, flush=True); time.sleep(60)")


def test_a_program_that_cannot_be_started_again_says_so(adapted, tmp_path):
    candidate = adapted("say(answered(call))", "os.remove(sys.argv[0]); os._exit(1)")
    assert said(candidate) == "reward_to_go ended the program (exit status 1)"
    assert "No such file or directory" in said(candidate)


# What holds for other candidates holds for these


def test_the_budget_is_the_programs_processor_time(adapted):
    busy = "while time.process_time() < 0.05 * len(asked): pass"
    candidate = adapted("say(answered(call))", f"{busy}\n        say(answered(call))", Limits(budget=0.5))
    with suppress(Stopped):
        for _ in range(100):
            asked(candidate)
    assert 4 <= candidate.answers <= 14  # the first call is timed by the clock on the wall, which busy cores stretch


def test_waiting_is_not_computing(adapted):
    candidate = adapted("say(answered(call))", "time.sleep(0.05); say(answered(call))", Limits(budget=0.5))
    with suppress(Stopped):
        for _ in range(100):
            asked(candidate)
    assert 15 <= candidate.answers <= 45


def test_a_program_ends_with_its_candidate(adapted):
    candidate = adapted()
    process = candidate.module._program._process
    del candidate
    gc.collect()
    assert process.wait(5) == 0


def test_a_first_look_leaves_no_program_behind(tmp_path):
    pid, file = tmp_path / "pid", tmp_path / "program.py"
    file.write_text(f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))\n{PROGRAM}\ntime.sleep(60)\n")
    with closing(Look(f"cmd: {sys.executable} {file}", Only(), PATIENCE, budget=20.0)) as look:
        assert look.finish(lambda event, said: None).provided == {"reward_to_go"}
        assert _runs(int(pid.read_text()))
    assert not _runs(int(pid.read_text()))


def test_a_program_that_was_given_up_is_ended_and_so_are_those_that_it_started(adapted, tmp_path):
    start = f"import subprocess; open({str(tmp_path / 'pid')!r}, 'w').write(str(subprocess.Popen(['sleep', '60']).pid))"
    candidate = adapted("say(answered(call))", f"{start}; time.sleep(60)")
    assert said(candidate) == "reward_to_go did not return within 1 s"
    pid = int((tmp_path / "pid").read_text())
    ended = time.monotonic() + 5
    while _runs(pid):
        assert time.monotonic() < ended
        time.sleep(0.05)


def _runs(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_wrong_program_is_shown_its_smallest_input_and_its_mistake(tmp_path):
    (tmp_path / "adapter.py").write_text(PROGRAM.replace("gamma * data", "data"))
    command = [sys.executable, "-m", "rlspec", "check", f"cmd: {sys.executable} adapter.py", "--verdicts=verdicts.json"]
    names = "discounted_sum_of_what_follows or finite_real_numbers and reward_to_go"
    run = subprocess.run(
        [*command, "--jobs=2", "-k", names], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # fmt: skip
    said = json.loads((tmp_path / "verdicts.json").read_text())
    assert (run.returncode, said["candidate"]) == (1, "a program")
    assert said["clauses"]["OPS-1"]["verdict"] == "holds"
    found = said["clauses"]["RET-2"]
    assert found["verdict"] == "violated"
    assert found["arguments"] == {"rewards": "[[0, 1]]", "gamma": "0.5"}
    assert (found["expected"], found["actual"]) == ("[[1/2, 1]]", "[[1, 1]]")
    assert [mistake["explained"] for mistake in found["diagnosis"]] == [True]
