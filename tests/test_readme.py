"""What the README shows is what happens."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def block(marker):
    """The fenced block that follows a marker in the README."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"the README has no block marked {marker!r}"
    return found[1]


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The folder of the example, checked by the first line under "Reports", the other lines, and what was printed."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "my_adapter.py").write_text(block("example: my_adapter.py"))
    lines = re.search(r"^### Reports.*?\n\n((?:    [^\n]*\n)+)", README.read_text(), re.DOTALL | re.MULTILINE)
    first, *others = (re.split("  +", line.strip())[0] for line in lines[1].splitlines())
    return folder, others, asked(folder, first)


def asked(folder, line):
    """Run a line of the README."""
    python, *command = shlex.split(line)
    assert python == "python"
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)


def test_the_lines_about_reports_are_run(checked):
    folder, [again, script, compare], _ = checked
    assert (folder / "r.html").read_text().startswith("<!DOCTYPE html>")
    assert (folder / "r.md").read_text().startswith("## my GAE: 2 mistakes in gae\n")
    assert '"startLine": 6' in (folder / "r.sarif").read_text()
    assert '"message": "2 violated"' in (folder / "b.json").read_text()
    assert "the recorded call is answered [[0]]" in asked(folder, again).stdout
    assert asked(folder, script).stdout.startswith('"""gae of my GAE violates ADV-3: expected 1 at [0, 0], got 0;')
    (folder / "other.json").write_bytes((folder / "v.json").read_bytes())
    assert asked(folder, compare).returncode == 0
    assert "No verdict did." in (folder / "both.html").read_text()


def test_the_lines_about_exploring_are_run(checked):
    folder = checked[0]
    lines = re.search(r"^### More examples.*?\n\n((?:    [^\n]*\n)+)", README.read_text(), re.DOTALL | re.MULTILINE)
    explore, replay = (f"{line.strip()} -k truncation_is_a_cut" for line in lines[1].splitlines())
    assert "random examples for 2 s in all" in asked(folder, explore.replace("=20s", "=2s")).stdout
    assert [*(folder / "found").iterdir()]
    assert "gae is wrong" in asked(folder, replay).stdout


def test_the_transcript_is_what_the_example_prints(checked):
    command, *shown = block("transcript: python -m rlspec check my_adapter.py").splitlines()
    assert command == "$ python -m rlspec check my_adapter.py"
    run = checked[2]
    passages = "\n".join(shown).strip(".\n").split("\n...\n")
    printed, last = run.stdout, 0
    for passage in passages:
        place = printed.find(passage, last)
        assert place >= 0, f"not printed, or not in this order:\n{passage}\n\nprinted:\n{printed}"
        last = place + len(passage)
    assert run.returncode == 1


def test_the_trainer_is_recorded_and_the_audit_prints_what_is_shown(tmp_path):
    for name in ("my_adapter.py", "my_trainer.py"):
        (tmp_path / name).write_text(block(f"example: {name}"))
    assert asked(tmp_path, "python my_trainer.py").stderr == ""
    command, shown = block("transcript: python -m rlspec audit run.safetensors").split("\n", 1)
    run = asked(tmp_path, command.removeprefix("$ "))
    assert run.stdout == shown
    assert run.returncode == 1


def test_there_are_exactly_two_set_up_commands():
    set_up = re.search(r"^## Set up$.*?```sh\n(.*?)```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(set_up[1].splitlines()) == 2


def test_the_lines_from_python_and_the_test_of_ones_own_are_run(tmp_path):
    for name in ("my_adapter.py", "from_python.py", "test_formulas.py"):
        (tmp_path / name).write_text(block(f"example: {name}"))
    printed, tested = (
        subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        for command in (["from_python.py"], ["-m", "pytest", "-q", "-p", "no:cacheprovider"])
    )
    assert printed.stdout.startswith(block("transcript: python from_python.py")), printed.stderr
    assert "FAILED test_formulas.py::test_formulas[mine-ADV-3]" in tested.stdout
    assert "1 failed, 1 passed" in tested.stdout
