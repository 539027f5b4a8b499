"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def block(marker):
    """The fenced block that follows a marker in the README."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"the README has no block marked {marker!r}"
    return found[1]


def test_the_transcript_is_what_the_example_prints(tmp_path):
    (tmp_path / "my_adapter.py").write_text(block("example: my_adapter.py"))
    command, *shown = block("transcript: python -m rlspec check my_adapter.py").splitlines()
    assert command == "$ python -m rlspec check my_adapter.py"
    run = subprocess.run(
        [sys.executable, "-m", "rlspec", "check", "my_adapter.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    passages = "\n".join(shown).strip(".\n").split("\n...\n")
    printed, last = run.stdout, 0
    for passage in passages:
        place = printed.find(passage, last)
        assert place >= 0, f"not printed, or not in this order:\n{passage}\n\nprinted:\n{printed}"
        last = place + len(passage)
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
