"""A candidate may be slow, hang, or end the process: the run goes on and says so.  And how a run is repeated."""

import gc
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlspec import drawing
from rlspec.candidate import Candidate
from rlspec.limits import COMPILERS, HANGS, Limits, Overdue, Stopped, within
from rlspec.properties.checking import Violation
from rlspec.spec.operations import OPERATIONS

OPS_1 = "finite_real_numbers and reward_to_go"
RET_2 = "discounted_sum_of_what_follows"
RET_5 = "gamma_zero_the_reward_to_go"
ADV_1 = "the_td_error_is_reward_plus"

HONEST = """
import hashlib, os, sys, time
import numpy as np

def reward_to_go(rewards, gamma):
    pass
    following, returns = 0.0, []
    for reward in rewards.T[::-1]:
        following = reward + gamma * following
        returns.append(following)
    return np.stack(returns[::-1], axis=1)

def td_error(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * np.where(terminated, 0, next_values) - values
"""


@pytest.fixture
def check(tmp_path):
    """Run ``rlspec check`` on HONEST with one statement more: its status, what it printed, and the verdicts."""

    def checking(statement, *arguments, names=(OPS_1, RET_2, ADV_1), source=HONEST):
        (tmp_path / "adapter.py").write_text(source.replace("    pass\n", f"    {statement}\n"))
        (tmp_path / "verdicts.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "rlspec", "check", "adapter.py", "--verdicts=verdicts.json", *arguments]
        command += ["-k", " or ".join(f"({name})" for name in names)]
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
        file = tmp_path / "verdicts.json"
        said = json.loads(file.read_text()) if file.exists() else {"clauses": {}}
        verdicts = {id: one["verdict"] for id, one in said["clauses"].items() if one["verdict"] != "untested"}
        return SimpleNamespace(
            status=run.returncode,
            text=" ".join(run.stdout.split()),
            said=said,
            verdicts=verdicts,
            clauses=said["clauses"],
        )

    return checking


# Slow


def test_a_slow_candidate_is_judged_on_what_it_has_answered_in_time(check):
    result = check("time.sleep(0.1)", "--jobs=0", "--budget=1", "--explore=100", names=[RET_2])
    assert (result.status, result.verdicts) == (0, {"RET-2": "holds"})
    assert re.fullmatch(r"stopped after 1 s, \d+ answers", result.clauses["RET-2"]["message"])
    assert "clauses: 1 hold" in result.text


def test_a_violation_that_was_seen_before_the_time_is_up_is_reported(check):
    wrong = HONEST.replace("gamma * following", "following")
    result = check("time.sleep(0.08)", "--jobs=0", "--budget=0.5", names=[RET_2], source=wrong)
    assert (result.status, result.verdicts) == (1, {"RET-2": "violated"})
    found = result.clauses["RET-2"]
    assert "(perhaps not the smallest input: stopped after 0.5 s, " in found["message"]
    assert {"rewards", "gamma"} == found["arguments"].keys()
    assert found["expected"] != found["actual"]


def test_who_does_not_get_to_judge_anything_says_nothing(check):
    result = check("time.sleep(3)", "--jobs=0", "--budget=0.5", names=["taking_the_first_reward"])
    assert (result.status, result.verdicts) == (5, {})
    assert "takes 3.0 s for the simplest question" in result.clauses["RET-3"]["message"]


def test_the_budget_is_the_candidates_own_time():
    def reward_to_go(rewards, gamma):
        started = time.process_time()
        while time.process_time() - started < 0.02:
            pass
        return rewards

    candidate = Candidate(SimpleNamespace(reward_to_go=reward_to_go), "theirs", Limits(budget=0.5))
    busy = time.process_time()
    while time.process_time() - busy < 0.6:
        pass
    asked = OPERATIONS["reward_to_go"], np.ones((1, 1)), 1.0
    candidate.demand(*asked)
    with suppress(Stopped):
        for _ in range(100):
            candidate.demand(*asked)
    assert 10 < candidate.answers < 30


@pytest.mark.parametrize("compiler", [True, False])
def test_a_first_call_may_take_longer_where_it_may_be_compiled(compiler, monkeypatch):
    for name in COMPILERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    if compiler:
        monkeypatch.setitem(sys.modules, "numba", SimpleNamespace())
    slow = [0.3]

    def reward_to_go(rewards, gamma):
        time.sleep(slow.pop() if slow else 0)
        return rewards

    candidate = Candidate(SimpleNamespace(reward_to_go=reward_to_go), "theirs", Limits(patience=0.1))
    asked = OPERATIONS["reward_to_go"], np.ones((1, 1)), 1.0
    if compiler:
        candidate.demand(*asked)
        slow.append(0.3)
    with pytest.raises(Stopped, match=r"did not return within 0\.1 s"):
        candidate.demand(*asked)


# Hanging

HANGING = {
    "in Python": "while True: pass",
    "asleep": "time.sleep(1000)",
    "holding fast": """
    while True:
        try:
            time.sleep(1000)
        except Exception:
            pass""",
}


@pytest.mark.parametrize("how", HANGING)
def test_a_call_that_does_not_return_is_a_violation_and_ends_its_property(check, how):
    begun = time.monotonic()
    result = check(HANGING[how], "--jobs=0", "--patience=1")
    assert result.status == 1
    assert result.verdicts == {"OPS-1": "violated", "ADV-1": "holds"}
    assert result.clauses["OPS-1"]["message"] == "reward_to_go did not return within 1 s"
    assert result.clauses["OPS-1"]["arguments"].keys() == {"rewards", "gamma"}
    assert time.monotonic() - begun < 60


def test_what_hangs_is_not_asked_for_ever():
    calls = []

    def reward_to_go(rewards, gamma):
        calls.append(gamma)
        time.sleep(1000)

    candidate = Candidate(SimpleNamespace(reward_to_go=reward_to_go), "theirs", Limits(patience=0.05))
    asked = OPERATIONS["reward_to_go"], SimpleNamespace(shape=(1, 2)), 0.5
    for _ in range(HANGS + 2):
        with pytest.raises(Stopped, match="did not return within") as stopped:
            candidate.demand(*asked)
        assert isinstance(stopped.value.charge, Violation)
    with pytest.raises(Stopped, match="is not asked any more") as stopped:
        candidate.ask(*asked)
    assert stopped.value.charge is None
    assert len(calls) == HANGS


def test_patience_leaves_handlers_and_timers_as_they_were():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3, 50)
        with pytest.raises(Overdue):
            within(0.05, time.sleep, 10)
        assert within(10, sum, [1, 2]) == 3
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left < 0.3
        assert interval == 50
        time.sleep(0.5)
        assert rung == [True]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("seconds", [math.inf, 10])
def test_without_signals_a_call_takes_as_long_as_it_takes(seconds, monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    assert within(seconds, sum, [1, 2]) == 3


def test_patience_that_runs_out_when_a_weak_reference_ends_is_not_swallowed():
    class Slow(dict):
        def __delitem__(self, key):
            time.sleep(0.2)
            super().__delitem__(key)

    class Referred:
        pass

    def ended_and_waited():
        names = weakref.WeakKeyDictionary()
        names.data = Slow()
        names[Referred()] = "ends at once"
        time.sleep(10)

    with pytest.raises(Overdue):
        within(0.1, ended_and_waited)


def test_patience_that_runs_out_beside_a_garbage_collection_is_not_swallowed():
    def slow(phase, info):
        time.sleep(0.2 if phase == "stop" else 0)

    def collected_and_waited():
        gc.collect(0)
        time.sleep(10)

    gc.callbacks.append(slow)
    try:
        with pytest.raises(Overdue):
            within(0.1, collected_and_waited)
    finally:
        gc.callbacks.remove(slow)


# Ending the process

UNUSUAL = {
    "sys.exit": ("sys.exit(3)", "raised SystemExit: 3"),
    "memory": ("raise MemoryError", "raised MemoryError"),
    "recursion": ("return reward_to_go(rewards, gamma)", "raised RecursionError: maximum recursion depth exceeded"),
    "no Exception": ("raise BaseException('odd')", "raised BaseException: odd"),
    "pytest's skip": ("import pytest; pytest.skip('not today')", "raised Skipped: not today"),
    "pytest's exit": ("import pytest; pytest.exit('enough')", "raised Exit: enough"),
}


@pytest.mark.parametrize("how", UNUSUAL)
def test_whatever_is_raised_is_charged_and_the_run_goes_on(check, how):
    statement, message = UNUSUAL[how]
    result = check(statement, "--jobs=0")
    assert result.status == 1
    assert result.verdicts == {"OPS-1": "violated", "ADV-1": "holds"}
    assert f"reward_to_go {message}" in result.clauses["OPS-1"]["message"]


@pytest.mark.parametrize("jobs", ["--jobs=0", "--jobs=2"])
def test_a_keyboard_interrupt_ends_the_run_since_it_may_be_the_users(check, jobs):
    result = check("raise KeyboardInterrupt", jobs)
    assert result.status == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("jobs", ["--jobs=1", "--jobs=2"])
def test_a_call_that_ends_the_process_is_a_violation_and_the_run_goes_on(check, jobs):
    result = check("os._exit(3)", jobs)
    assert result.status == 1
    assert result.verdicts == {"OPS-1": "violated", "ADV-1": "holds"}
    found = result.clauses["OPS-1"]
    assert found["message"] == "reward_to_go ended the process that asked it"
    assert found["arguments"].keys() == {"rewards", "gamma"}
    assert result.clauses["RET-2"]["message"] == "reward_to_go ended the process that asked it, as OPS-1 says"


@pytest.mark.parametrize("jobs", ["--jobs=1", "--jobs=2"])
def test_a_call_that_ends_the_process_now_and_then_costs_no_other_verdict(check, jobs):
    result = check("gamma == 0 and os._exit(3)", jobs, names=[RET_2, RET_5, ADV_1, "discount_the_reward_to_go"])
    assert result.verdicts == {"RET-2": "violated", "RET-5": "violated", "ADV-1": "holds"}
    assert result.clauses["RET-5"]["properties"] == 2
    assert result.clauses["RET-5"]["arguments"]["gamma"] == "0"


def test_what_hangs_outside_python_is_ended_from_outside(check):
    result = check("sum(range(10**12))", "--jobs=2", "--patience=0.5")
    assert result.verdicts == {"OPS-1": "violated", "ADV-1": "holds"}
    assert result.clauses["OPS-1"]["message"] == "reward_to_go did not return within 1 s"


def test_what_hangs_outside_python_now_and_then_is_ended_where_one_process_asks(check):
    result = check("gamma == 0 and sum(range(10**12))", "--jobs=1", "--patience=0.5", names=[RET_5, ADV_1])
    assert result.verdicts == {"RET-5": "violated", "ADV-1": "holds"}
    assert result.clauses["RET-5"]["message"] == "reward_to_go did not return within 1 s"


def test_an_import_that_ends_the_process_is_said_to_do_so(check):
    result = check("", "--jobs=2", source="import os\nos._exit(1)\n")
    assert (result.status, result.verdicts) == (5, {})
    assert result.clauses["RET-2"]["message"] == "candidate adapter.py ended the process that imported it"


def test_somebody_elses_test_that_ends_the_process_is_not_held_against_a_property(tmp_path):
    (tmp_path / "test_theirs.py").write_text("import os\n\ndef test_own_exit():\n    os._exit(3)\n")
    command = [sys.executable, "-m", "pytest", "-q", "-n1", "-p", "no:cacheprovider", "--verdicts=verdicts.json"]
    command += ["--pyargs", "rlspec.properties", "test_theirs.py", "-k", f"own_exit or {ADV_1}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    found = json.loads((tmp_path / "verdicts.json").read_text())["clauses"]["ADV-1"]
    assert found["verdict"] == "holds"


# Exploring


def test_exploration_is_repeated_by_its_seed_and_draws_something_else_without(check):
    rare = "returns = [reward * (1 + 1e-9 * (abs(rewards).sum() == 1014.5)) for reward in rewards.T]"
    runs = [check(rare, "--jobs=0", *how, names=[RET_2, ADV_1]) for how in ([], ["--explore=30"])]
    fixed, first = (run.said["run"] for run in runs)
    assert fixed == {"budget": 20, "patience": 10, "explore": None, "explore_seconds": None, "seed": None}
    assert (first["explore"], first["budget"]) == (30, 20)
    again = check(rare, "--jobs=2", "--explore=30", f"--seed={first['seed']}", names=[RET_2, ADV_1])
    assert again.said == runs[1].said
    assert f"30 random examples a property; again with --explore=30 --seed={first['seed']}" in again.text
    assert again.clauses["ADV-1"]["answers"] == 30


def test_what_a_property_draws_depends_on_the_seed_and_on_its_name():
    drawn = []

    @given(st.integers())
    def test(number):
        drawn.append(number)

    def draws(name, seed):
        drawn.clear()
        with drawing.explored(test, name, 20, seed):
            test()
        return tuple(drawn)

    assert draws("a", 1) == draws("a", 1)
    assert len({draws("a", 1), draws("a", 2), draws("b", 1)}) == 3
    assert len(draws("a", 1)) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed=1"], "--seed is for --explore"),
        (["--explore=0"], "--explore has to be more than 0"),
        (["--budget=-1"], "--budget has to be more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(check, options, message, tmp_path):
    assert check("", "--jobs=0", *options).status == pytest.ExitCode.USAGE_ERROR


def test_a_hypothesis_that_keeps_settings_elsewhere_is_not_explored_with(monkeypatch):
    drawing.require_exploration()
    monkeypatch.setattr(drawing, "SETTINGS", "no_such_attribute")
    with pytest.raises(NotImplementedError, match="does not let a test's settings be replaced"):
        drawing.require_exploration()
