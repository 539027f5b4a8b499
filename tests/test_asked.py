"""Options that make no sense are refused before anything is asked, in a sentence, however the candidate is asked."""

import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from rlspec import audited
from rlspec.__main__ import main
from rlspec.run_record import Record
from rlspec.spec.clauses import clauses

ADAPTER = """
def discounted_return(rewards, gamma):
    open("asked", "w").close()
    return rewards @ gamma ** __import__("numpy").arange(rewards.shape[1])
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with an adapter that has one operation, which the process that looks at it goes on to ask."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapter.py").write_text(ADAPTER)
    (tmp_path / "taken").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--explore=10x", "--explore: '10x' is neither a number of examples"),
        ("--explore=0", "--explore has to be more than 0"),
        ("--budget=-3", "--budget has to be more than 0"),
        ("--budget=nan", "--budget has to be more than 0"),
        ("--patience=0", "--patience has to be more than 0"),
        ("--seed=3", "--seed is for --explore"),
        ("--database=there", "--database is for --explore"),
        ("--require=XYZ", "--require: there is no chapter or clause XYZ"),
        ("--expect=nothere.json", "--expect: nothere.json cannot be read: No such file"),
        ("--replay=adapter.py", "--replay: adapter.py is not a file that --verdicts wrote"),
        ("--report=x.pdf", "--report: the name x.pdf has to end in"),
        ("--verdicts=no/x.json", "--verdicts: there is no folder no"),
        ("--badge=taken", "--badge: taken is a folder, and the name of a file is needed"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_before_the_candidate_is_imported(folder, capsys, option, message):
    assert main(["check", "adapter.py", option]) == pytest.ExitCode.USAGE_ERROR
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""
    assert not (folder / "asked").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "adapter.py", "--budget=abc"], "argument --budget: 'abc' is not a number"),
        (["check", "adapter.py", "--seed=1.5"], "argument --seed: '1.5' is not a whole number"),
        (["check", "adapter.py", "--jobs=-2"], "argument --jobs: -2 is less than 0"),
        (["distinguish", "adapter.py", "reference", "--examples=-1"], "argument --examples: -1 is less than 1"),
    ],
)
def test_a_number_that_is_none_is_refused(folder, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--verdcts=x.json"], 4, "unrecognized arguments: --verdcts=x.json\ndid you mean --verdicts?\n"),
        (["-k", "and and"], 4, "Wrong expression passed to '-k': and and"),
        (["-k", "gea"], 5, "No property is selected by -k gea; -k goes by the names of operations"),
    ],
)
def test_what_pytest_refuses_is_said_without_what_it_says_of_itself(folder, jobs, arguments, status, message):
    command = [sys.executable, "-m", "rlspec", "check", "adapter.py", f"--jobs={jobs}", *arguments]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == status
    assert message in (run.stderr if status == 4 else run.stdout)
    assert not {"usage:", "inifile", "Warning", "Traceback"} & {*(run.stdout + run.stderr).split()}


@pytest.mark.parametrize(("selected", "holding"), [("RET-1", {"RET-1"}), ("discounted_return", {"RET-1", "OPS-3"})])
def test_a_clause_and_an_operation_select_their_properties(folder, selected, holding):
    command = [sys.executable, "-m", "rlspec", "check", "adapter.py", "-k", selected, "--verdicts=v.json"]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    found = {*Record.read(folder / "v.json").of("holds")}
    assert found == holding if selected == "RET-1" else found > holding


SEVERAL = """
import numpy as np
def discounted_return(rewards, gamma):
    return rewards @ gamma ** np.arange(rewards.shape[1])
def reward_to_go(rewards, gamma):
    raise RuntimeError("it is broken")
def normalize_advantages(advantages, mask):
    raise RuntimeError("it is broken, too")
"""


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("names", "status", "shown", "judged"),
    [
        (["RET-1"], 0, [], ["RET-1"]),
        (["RET-1", "OPS-5"], 1, ["reward_to_go is wrong", "normalize_advantages is wrong"], ["RET-1"]),
        (["discounted_return"], 0, [], ["RET-1", "RET-4", "RET-5"]),
        (["discounted_return", "reward_to_go"], 1, ["reward_to_go is wrong"], ["RET-1", "RET-4", "RET-5"]),
    ],
)
def test_what_is_named_is_asked_alone(folder, names, status, shown, judged, jobs):
    (folder / "adapter.py").write_text(SEVERAL)
    first, *others = names  # a name may stand behind an option
    options = [f"--jobs={jobs}", *others, "--verdicts=v.json"]
    command = [sys.executable, "-m", "rlspec", "check", "adapter.py", first, *options]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == status
    assert [line for line in run.stdout.splitlines() if line.endswith("wrong")] == shown
    assert "absent: " not in run.stdout
    record = Record.read(folder / "v.json")
    assert {*record.of("holds")} >= {*judged}


def test_what_is_named_and_not_there_is_said(folder):
    command = [sys.executable, "-m", "rlspec", "check", "adapter.py"]
    one = subprocess.run([*command, "gae"], cwd=folder, capture_output=True, text=True, check=False)
    assert (one.returncode, one.stdout.splitlines()[2:]) == (5, ["candidate adapter.py has no gae", ""])
    other = subprocess.run([*command, "PREF"], cwd=folder, capture_output=True, text=True, check=False)
    assert "candidate adapter.py has no operation of which these clauses speak" in other.stdout
    both = subprocess.run(
        [*command, "gae", "discounted_return"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert both.returncode == 0
    assert "absent: gae\n" in both.stdout


def test_a_chapter_of_theorems_alone_is_a_matter_of_the_reference(folder):
    command = [sys.executable, "-m", "rlspec", "check"]
    other = subprocess.run([*command, "adapter.py", "CRIT"], cwd=folder, capture_output=True, text=True, check=False)
    assert "has no operation of which these clauses speak" in other.stdout
    own = subprocess.run([*command, "reference", "CRIT"], cwd=folder, capture_output=True, text=True, check=False)
    many = sum(clause.prefix == "CRIT" and clause.level == "THEOREM" for clause in clauses().values())
    assert (own.returncode, f"clauses: {many} hold" in own.stdout) == (0, True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["gea"], "there is no operation, chapter or clause gea; did you mean gae?"),
        (["gae", "RET-1000"], "there is no operation, chapter or clause RET-1000; did you mean RET-10?"),
        (["other.py"], "there is no operation, chapter or clause other.py"),
    ],
)
def test_a_name_of_nothing_is_refused_before_anything_is_asked(folder, names, message):
    command = [sys.executable, "-m", "rlspec", "check", "adapter.py", *names]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (4, f"{message}\n")
    assert not (folder / "asked").exists()


def test_a_file_that_there_is_not_is_no_error_of_ours_in_several_processes(folder):
    command = [sys.executable, "-m", "pytest", "-q", "--pyargs", "rlspec.properties", "missing.py", "-n", "2"]
    run = subprocess.run([*command, "--candidate=adapter.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert "no tests ran" in run.stdout
    assert "INTERNALERROR" not in run.stdout + run.stderr


def test_names_select_through_pytest_too_which_refuses_others(folder):
    command = [sys.executable, "-m", "pytest", "-q", "--pyargs", "rlspec.properties", "--candidate=adapter.py"]
    run = subprocess.run([*command, "--only=RET-1, RET-2"], cwd=folder, capture_output=True, text=True, check=False)
    assert (run.returncode, "1 hold" in run.stdout) == (0, True)
    run = subprocess.run([*command, "--only=RET-1,gea"], cwd=folder, capture_output=True, text=True, check=False)
    assert "there is no operation, chapter or clause gea; did you mean gae?" in run.stderr


@pytest.mark.parametrize("command", ["compare", "reproduce", "audit"])
def test_a_command_that_is_interrupted_says_so_without_a_traceback(folder, monkeypatch, capsys, command):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Record, "read", interrupted)
    monkeypatch.setattr(audited, "_read", interrupted)
    assert main([command, "anything.json"]) == 130
    assert capsys.readouterr().err == "\nrlspec: interrupted\n"


def test_a_check_that_is_interrupted_before_anything_is_judged_says_so(folder):
    (folder / "adapter.py").write_text("open('asked', 'w').close()\nimport time\ntime.sleep(60)\n")
    listening = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "rlspec", "check", "adapter.py"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening)
    while not (folder / "asked").exists():
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    printed, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (2, "")
    assert "The run was interrupted before anything was judged." in printed
