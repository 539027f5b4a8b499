"""What others take from the repository, the action and the pre-commit hook; and what is not imported for them."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import rlspec

CHECKOUT = Path(rlspec.__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "action.yml").is_file(), reason="these are the checkout's, and rlspec is installed"
)

ADAPTER = """
import sys


def discounted_return(rewards, gamma):
    assert sys.modules.get("torch") is None, "torch was imported"
    return (rewards * gamma ** __import__("numpy").arange(rewards.shape[1])).sum(axis=1)
"""

WITHOUT_TORCH = """
import sys

sys.modules["torch"] = None  # to import it is an error
from rlspec.__main__ import main

sys.exit(main(["check", "adapter.py", "--jobs=0", "-k", "weighs_reward or first_steps"]))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "adapter.py").write_text(ADAPTER)
    return tmp_path


def test_the_actions_script_checks_and_writes_the_steps_summary(folder):
    action = yaml.safe_load((CHECKOUT / "action.yml").read_text(encoding="utf-8"))
    [_, step] = action["runs"]["steps"]
    given = {"CANDIDATE": "adapter.py", "ARGUMENTS": "--jobs=0 --require=RET-1 -k weighs_reward"}
    assert step["env"].keys() == given.keys()
    files = {name: str(folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    answer = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step["run"]], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, **given, **files, "RUNNER_TEMP": str(folder), "PATH": python},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (folder / "GITHUB_STEP_SUMMARY").read_text().startswith("## adapter.py: All that was tested holds\n")
    written = dict(line.split("=", 1) for line in (folder / "GITHUB_OUTPUT").read_text().splitlines())
    assert written.keys() == action["outputs"].keys()
    assert all(Path(file).is_file() for file in written.values())


def test_the_hook_is_a_command_that_takes_an_adapter(folder):
    [hook] = yaml.safe_load((CHECKOUT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    python, *command = shlex.split(hook["entry"])
    assert (python, hook["language"], hook["pass_filenames"]) == ("python", "system", False)
    answer = subprocess.run(
        [sys.executable, *command, "adapter.py", "--jobs=0", "-k", "weighs_reward"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "discounted_return  holds" in answer.stdout


def test_a_candidate_that_is_not_in_torch_is_checked_without_it(folder):
    for source, status in ((ADAPTER, 0), (ADAPTER.replace("gamma **", "1 **"), 1)):  # the diagnosis does without, too
        (folder / "adapter.py").write_text(source)
        answer = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH], cwd=folder, capture_output=True, text=True, check=False
        )
        assert answer.returncode == status, answer.stdout + answer.stderr
    assert "It behaves exactly as if `gamma` were 1" in answer.stdout
