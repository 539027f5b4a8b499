"""Long work says on a terminal how far it is and how much time is left, and nothing where there is none."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from adapter_sources import HONEST

from rlspec import choosing, matrix, mutants
from rlspec.progress import clock, so_far, time_left

CHECK = ("check", "adapter.py", "-k", "discounted_sum_of_what_follows or the_td_error_is_reward_plus")


def test_progress_counts_operations_and_guesses_the_time_that_is_left():
    asked = {"a": frozenset({"gae"}), "b": frozenset({"gae", "td_error"}), "c": frozenset({"td_error"})}
    assert so_far(asked, {"a", "b"}, 10.0) == "1 of 2 operations, 2 of 3 properties, about 5 s left"
    assert so_far(asked, set(), 1.0) == "0 of 2 operations, 0 of 3 properties, 1 s so far"
    assert so_far(asked, {"a"}, 400.0, lasting=600.0) == "0 of 2 operations, 1 of 3 properties, about 3 min 20 s left"
    assert so_far({}, set(), 1.0) == "finding out conventions"


def test_times_are_said_as_people_say_them():
    assert [clock(seconds) for seconds in (0.4, 59, 60, 7500)] == ["0 s", "59 s", "1 min 0 s", "2 h 5 min"]
    assert time_left(30, 120, 10.0) == "about 30 s left"


def on_a_terminal(folder, *arguments, **variables):
    """What is written to the terminal, which is the standard error, by a command that is run there; and its output."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    finished = run(folder, *arguments, stderr=theirs, **variables)
    os.close(theirs)
    try:
        written = os.read(ours, 100_000).decode()
    except OSError:  # nothing was
        written = ""
    os.close(ours)
    return written, finished.stdout


def run(folder, *arguments, stderr=subprocess.PIPE, **variables):
    (folder / "adapter.py").write_text(HONEST)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "CI": "", "TERM": "xterm", **variables}
    command = [sys.executable, "-m", "rlspec", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
    )


def test_where_there_is_no_terminal_nothing_is_said(tmp_path):
    assert run(tmp_path, *CHECK).stderr == ""
    assert run(tmp_path, "ledger", "bandit").stderr == ""


def test_a_terminal_whose_lines_go_into_a_log_is_none(tmp_path):
    for variables in ({"CI": "true"}, {"TERM": "dumb"}):
        assert on_a_terminal(tmp_path, "ledger", "bandit", **variables)[0] == ""


@pytest.mark.parametrize("jobs", [0, 1])
def test_what_is_checked_is_counted_on_a_terminal_and_wiped_away(tmp_path, jobs):
    written, printed = on_a_terminal(tmp_path, *CHECK, "--explore=3s", f"--jobs={jobs}")
    assert "importing adapter.py" in written
    assert "0 of 2 operations, 0 of 2 properties, about " in written
    assert "1 of 2 operations, 1 of 2 properties, about " in written
    assert written.rstrip("\r").endswith(" ")
    assert "operations, " not in printed


def test_the_ledgers_lines_are_counted_on_a_terminal_and_wiped_away(tmp_path):
    states, actions = 60, 4
    process = {
        "transition": [[[f"1/{states}"] * states] * actions] * states, "reward": [[1] * actions] * states,
        "initial": [f"1/{states}"] * states, "gamma": 1, "horizon": 60,
    }  # fmt: skip
    (tmp_path / "large.json").write_text(json.dumps(process))
    written, printed = on_a_terminal(tmp_path, "ledger", "large.json")
    assert re.search(r"[1-9]\d* of \d\d lines, about .* left; now ", written)
    assert written.rstrip("\r").endswith(" ")
    assert " lines, " not in printed


@pytest.fixture
def said(monkeypatch):
    """What the line has said."""
    lines = []

    def counting(parts, total, what, size=lambda part: 1):
        for part in parts:
            lines.append(f"{size(part)} of {total} {what}")
            yield part

    for module in (matrix, mutants, choosing):
        monkeypatch.setattr(module, "counted", counting)
    return lines


def test_the_kill_matrix_counts_faults(said, monkeypatch, tmp_path):
    two = dict(list(matrix.museum().items())[:2])
    monkeypatch.setattr(matrix, "museum", lambda: two)
    monkeypatch.setattr(matrix, "markdown", str)
    monkeypatch.setattr(matrix, "caught", str)
    monkeypatch.setattr(matrix, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("")
    monkeypatch.setattr(matrix, "ProcessPoolExecutor", InThisProcess)
    matrix.main([])
    assert said == ["1 of 2 faults"] * 2


def test_mutants_are_counted_by_operation(said, monkeypatch):
    monkeypatch.setattr(mutants, "judged", lambda *arguments: [])
    monkeypatch.setattr(mutants, "recorded", list)
    monkeypatch.setattr(mutants, "as_completed", list)
    monkeypatch.setattr(mutants, "ProcessPoolExecutor", InThisProcess)
    mutants.main(["-k", "gae,td_error"])
    assert said == ["1 of 2 operations"] * 2


def test_the_corpus_is_counted_by_property(said, monkeypatch):
    monkeypatch.setattr(choosing, "chosen", lambda checked, times: [])
    monkeypatch.setattr(choosing, "write", dict)
    choosing.main(["--only", "td_error", "--jobs=1"])
    total = said[0].split()[2]
    assert sum(int(line.split()[0]) for line in said) == int(total) > 1


class InThisProcess:
    """Stands in for a pool of processes."""

    def __init__(self, jobs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    map = staticmethod(map)

    def submit(self, function, *arguments):
        """What is to be done, done."""
        return SimpleNamespace(result=lambda: function(*arguments))
