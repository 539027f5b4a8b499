"""What is wrong with a candidate at first sight is said at once, once, and it is not asked a thousand times."""

import json
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from rlspec.first_look import misfit, near, reordered
from rlspec.spec.operations import OPERATIONS

HONEST = """
import os, sys, time
import numpy as np

def count():
    with open("calls", "a") as file:
        file.write("x")

def reward_to_go(rewards, gamma):
    count()
    following, returns = 0.0, []
    for reward in rewards.T[::-1]:
        following = reward + gamma * following
        returns.append(following)
    return np.stack(returns[::-1], axis=1)
"""


@pytest.fixture
def check(tmp_path):
    """Run ``rlspec check`` on HONEST with one statement more after the count: what came of it, and how soon."""

    def checking(statement="", *arguments, source=HONEST):
        (tmp_path / "adapter.py").write_text(source.replace("    count()\n", f"    count()\n    {statement}\n"))
        command = [sys.executable, "-m", "rlspec", "check", "adapter.py", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        begun = time.monotonic()
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        calls = tmp_path / "calls"
        return SimpleNamespace(
            status=run.returncode, text=" ".join(run.stdout.split()), lines=run.stdout.splitlines(), errors=run.stderr,
            seconds=time.monotonic() - begun, calls=len(calls.read_text()) if calls.exists() else 0,
        )  # fmt: skip

    return checking


# A module that cannot be had

NOT_IMPORTED = {
    "syntax": ("def gae(:\n", "cannot be imported: SyntaxError: invalid syntax (adapter.py, line 1)"),
    "module": ("\nimport nosuchlibrary\n", "needs the module 'nosuchlibrary', which is not installed (adapter.py:2)"),
    "raises": ("x = 1\ny = z\n", "cannot be imported: NameError: name 'z' is not defined (adapter.py:2)"),
    "exits": ("import os\nos._exit(1)\n", "ended the process that imported it"),
}


@pytest.mark.parametrize("how", NOT_IMPORTED)
def test_what_keeps_a_module_out_is_said_once_with_the_line(check, how):
    source, message = NOT_IMPORTED[how]
    result = check(source=source)
    assert result.status == 5
    assert result.text.count(message) == 1
    assert len(result.lines) < 8
    assert result.errors == ""


def test_the_record_is_written_all_the_same(check, tmp_path):
    result = check("", "--verdicts=verdicts.json", source=NOT_IMPORTED["module"][0])
    said = json.loads((tmp_path / "verdicts.json").read_text())["clauses"]
    assert result.status == 5
    assert {one["verdict"] for one in said.values()} == {"untested"}
    assert "needs the module 'nosuchlibrary'" in said["RET-2"]["message"]


# An operation that cannot be asked

AT_ONCE = {
    "NameError": ("return nothing", "reward_to_go raised NameError: name 'nothing' is not defined (adapter.py:11)"),
    "exits": ("sys.exit(3)", "reward_to_go raised SystemExit: 3 (adapter.py:11)"),
    "exits hard": ("os._exit(3)", "reward_to_go ended the process that asked it"),
    "recursion": ("return reward_to_go(rewards, gamma)", "reward_to_go raised RecursionError"),
    "3 GB": ("return np.zeros((20_000, 20_000))", "reward_to_go returned shape (20000, 20000)"),
    "None": ("return None", "reward_to_go returned None; an array of shape (1, 1) was expected"),
}


@pytest.mark.parametrize("how", AT_ONCE)
def test_an_operation_that_answers_nothing_is_said_to_at_once_and_not_asked_a_thousand_times(check, how):
    statement, message = AT_ONCE[how]
    result = check(statement)
    assert result.status == 1
    assert result.text.count(message) == 1
    assert "It breaks OPS-1; it is not asked any more." in result.text
    assert len(result.lines) < 15
    assert result.calls < (30_000 if how == "recursion" else 30)  # a call that calls itself counts each time


def test_what_hangs_is_given_up_after_one_call(check):
    result = check("time.sleep(1000)", "--patience=1")
    assert (result.status, result.calls) == (1, 1)
    assert "reward_to_go did not return within 1 s" in result.text


def test_what_is_hopelessly_slow_is_not_judged_and_not_wrong(check):
    result = check("time.sleep(2)", "--budget=2")
    assert (result.status, result.calls) == (5, 2)
    assert "reward_to_go takes 2.0 s for the simplest question" in result.text
    assert "reward_to_go is not judged" in result.text


def test_the_process_that_has_looked_asks_what_there_is_to_be_asked(check, tmp_path):
    imported = 'with open("imported", "a") as file:\n    file.write("x")\n'
    result = check(source=HONEST + imported)
    assert result.status == 0
    assert (tmp_path / "imported").read_text() == "x"


def test_what_it_prints_is_not_shown_but_said(check):
    result = check("print('x' * 1_000_000)", "-k", "taking_the_first_reward")
    assert result.status == 0
    assert "reward_to_go prints 1 MB when it is asked, which is not shown" in result.text
    assert "xxx" not in result.text + result.errors


def test_the_verdict_on_what_is_not_asked_is_in_the_record(check, tmp_path):
    check("return nothing", "--verdicts=verdicts.json", "--jobs=0")
    said = json.loads((tmp_path / "verdicts.json").read_text())["clauses"]
    assert said["OPS-1"]["verdict"] == "violated"
    assert said["OPS-1"]["message"].startswith("reward_to_go raised NameError")
    assert said["OPS-1"]["arguments"] == {"rewards": "[[0]]", "gamma": "1"}
    assert said["RET-2"]["verdict"] == "untested"
    assert said["RET-2"]["message"].endswith(", as OPS-1 says")
    assert said["ADV-2"] == {"verdict": "absent", "message": "adapter.py has no gae"} | {
        key: said["ADV-2"][key] for key in ("property", "level", "place")
    }


def test_one_operation_that_cannot_be_asked_costs_no_other_verdict(check, tmp_path):
    source = HONEST + "\ndef discounted_return(rewards):\n    return rewards\n"
    result = check("", "--jobs=0", "-k", "taking_the_first_reward", source=source)
    assert result.status == 1  # whatever is selected
    said = r"discounted_return takes \(rewards\) and is called with \(rewards, gamma\) \(adapter\.py:\d+\)\."
    assert re.search(said, result.text)
    assert re.search(r"reward_to_go holds: 1 clause, \d+ answers", result.text)


# Signatures and names


def test_a_function_fits_if_it_can_be_called_with_the_operations_arguments():
    operation = OPERATIONS["reward_to_go"]
    assert misfit(lambda rewards, gamma: 0, operation) == ""
    assert misfit(lambda *arguments: 0, operation) == ""
    assert misfit(lambda r, g, n=1: 0, operation) == ""
    assert misfit(max, operation) == ""  # it does not say
    assert misfit(lambda rewards: 0, operation).startswith("reward_to_go takes (rewards) and is called with (rewards, ")
    assert "takes (rewards, *, gamma)" in misfit(lambda rewards, *, gamma: 0, operation)


def test_a_name_close_to_an_operations_is_asked_about_unless_there_is_that_operation():
    module = SimpleNamespace(gaee=lambda: 0, reward_to_gos=lambda: 0, _gae=lambda: 0, helper=lambda: 0, gaes="text")
    found = [*near(module, ["reward_to_go"])]
    assert len(found) == 1
    assert found[0].startswith("no operation is called gaee (test_first_look.py:")
    assert found[0].endswith("did you mean gae?")


def test_arguments_in_another_order_are_remarked_upon():
    module = SimpleNamespace(reward_to_go=lambda gamma, rewards: 0)
    assert next(iter(reordered(module, ["reward_to_go"]))).startswith(
        "reward_to_go is called by position, with (rewards, gamma), and names its arguments (gamma, rewards)"
    )
