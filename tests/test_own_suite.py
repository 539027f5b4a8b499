"""In somebody else's code: ``rlspec.check`` from Python, and ``rlspec.testing`` in a test suite of their own."""

import json
import subprocess
import sys
from importlib.util import find_spec
from xml.etree import ElementTree

import pytest

MYLIB = """
import numpy as np


def reward_to_go(rewards, gamma):
    following, returns = 0.0, []
    for reward in rewards.T[::-1]:
        following = reward + gamma * following
        returns.append(following)
    return np.stack(returns[::-1], axis=1)


def undiscounted(rewards, gamma):
    return reward_to_go(rewards, 1.0)


def of_a_row(rewards, gamma):
    following, returns = 0.0, []
    for reward in rewards[::-1]:
        following = reward + gamma * following
        returns.append(following)
    return np.array(returns[::-1])


def time_first(rewards, gamma):
    return of_a_row(rewards, gamma)
"""

SCRIPT = """
import json
import sys

import rlspec

light = sorted(name for name in sys.modules if name.startswith("rlspec"))
import mylib

RET = ["RET-2", "RET-3"]


def said(act):
    try:
        return act()
    except ValueError as error:
        return str(error)


wrong = rlspec.check_function(mylib.undiscounted, "reward_to_go", clauses=RET)
found = {
    "light": light,
    "module": rlspec.check(mylib, clauses=RET).verdicts,
    "mapping": rlspec.check({"reward_to_go": mylib.reward_to_go}, clauses="returns", operations="reward_to_go").holds,
    "function": rlspec.check(mylib.reward_to_go, clauses=RET).holds,
    "row": rlspec.check_function(mylib.of_a_row, "reward_to_go", axes="T", clauses=RET).holds,
    "time first": rlspec.check_function(mylib.time_first, "reward_to_go", axes="T B", clauses=RET).holds,
    "wrong": [wrong.holds, repr(wrong), [[one.operation, one.words, one.clauses] for one in wrong.mistakes]],
    "record": json.loads(wrong.to_json()),
    "unknown operation": said(lambda: rlspec.check(mylib, operations=["reward_to_goo"])),
    "lacking": said(lambda: rlspec.check(mylib, operations=["gae"])),
    "unknown clause": said(lambda: rlspec.check(mylib, clauses=["RTE"])),
    "called otherwise": said(lambda: rlspec.check(mylib.undiscounted)),
    "nothing": said(lambda: rlspec.check(3)),
    "axes": said(lambda: rlspec.check_function(mylib.of_a_row, "reward_to_go", axes="S T")),
    "recorder": [rlspec.record.__name__, rlspec.check.__name__],
    "torch": "torch" in sys.modules,
}
print(json.dumps(found))
"""

SUITE = """
import pytest
from rlspec.testing import formulas

import mylib

KNOWN = {"KNOWN_FAILURES": {"RET-2": "https://example.org/1", "RET-5": "https://example.org/2"}}
CANDIDATES = {
    "right": {"reward_to_go": mylib.reward_to_go},
    "wrong": {"reward_to_go": mylib.undiscounted},
    "known": {"reward_to_go": mylib.undiscounted, **KNOWN},
    "stale": {"reward_to_go": mylib.reward_to_go, **KNOWN},
}


@pytest.fixture(params=CANDIDATES)
def candidate(request):
    return CANDIDATES[request.param]


test_formulas = formulas(operations=["reward_to_go"], clauses=["RET-2", "RET-5"])


def test_their_option(request):
    assert request.config.getoption("--seed") == request.config.getoption("--budget") == "theirs"
"""

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--seed", default="theirs")
    parser.addoption("--budget", default="theirs")
    parser.addoption("--report", action="store", default="theirs")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Somebody's folder, with a library and a test suite of their own."""
    folder = tmp_path_factory.mktemp("a project of théirs")
    for name, text in {"mylib.py": MYLIB, "test_theirs.py": SUITE, "conftest.py": CONFTEST}.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers --strict-config -W error\npythonpath = .\n"
    )
    return folder


def run(folder, *command):
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found(project):
    """What a script of theirs found with ``rlspec.check``."""
    answer = run(project, "-c", SCRIPT)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_modules_mappings_and_functions_are_checked_and_axes_turned(found):
    assert found["light"] == ["rlspec"]
    assert {id: found["module"][id] for id in ("RET-2", "RET-3", "ADV-1")} == {
        "RET-2": "holds", "RET-3": "holds", "ADV-1": "untested",
    }  # fmt: skip
    assert found["mapping"] is found["function"] is found["row"] is found["time first"] is True


def test_what_is_wrong_is_said_and_kept(found):
    holds, text, [[operation, words, ids]] = found["wrong"]
    assert holds is False
    assert (operation, ids) == ("reward_to_go", ["RET-2", "RET-3"])
    assert words == "It behaves exactly as if `gamma` were 1."
    assert text.startswith("rlspec: undiscounted is wrong\n\n  reward_to_go: It behaves exactly as if `gamma` were 1.")
    assert "expected [[1/2, 1]], got [[1, 1]]" in text
    assert found["record"]["operations"]["reward_to_go"]["RET-2"] == "violated"


def test_names_that_there_are_not_are_refused_with_a_hint(found):
    assert found["unknown operation"] == "there is no operation 'reward_to_goo'; did you mean reward_to_go?"
    assert found["lacking"] == "there is no gae to be checked in mylib"
    assert found["unknown clause"] == "there is no chapter or clause RTE; did you mean RET?"
    assert "rlspec.check_function(undiscounted, OPERATION)" in found["called otherwise"]
    assert found["nothing"].startswith("3 has no function that is called like an operation")
    assert found["axes"] == "reward_to_go has no axis S; its axes are B, T"


def test_the_recorder_keeps_its_name_and_torch_is_not_imported(found):
    assert found["recorder"] == ["record", "check"]
    assert found["torch"] is False


def test_a_suite_of_their_own_has_a_test_for_each_clause_and_candidate(project):
    covering = ["--cov=mylib", "--cov-report=json"] if find_spec("pytest_cov") else []
    command = ["-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "-n2", "--junitxml=junit.xml", *covering]
    answer = run(project, *command)
    assert answer.returncode == 1, answer.stdout
    assert "3 failed" not in answer.stderr
    said = {}
    for case in ElementTree.parse(project / "junit.xml").iter("testcase"):
        outcome = next((one.tag for one in case if one.tag != "properties"), "passed")
        said[case.get("name")] = (outcome, [one.attrib for one in case.iter("property")])
    assert said.pop("test_their_option") == ("passed", [])
    assert said == {
        f"test_formulas[{name}-{id}]": (outcome, [{"name": "clause", "value": id}])
        for name, outcome in {"right": "passed", "wrong": "failure", "known": "skipped", "stale": "failure"}.items()
        for id in ("RET-2", "RET-5")
    }
    assert "behaves exactly as if `gamma` were 1" in answer.stdout
    assert "declared in KNOWN_FAILURES (https://example.org/1), but it holds" in answer.stdout
    if covering:
        of_functions = json.loads((project / "coverage.json").read_text())["files"]["mylib.py"]["functions"]
        percent = {name: of["summary"]["percent_covered"] for name, of in of_functions.items() if name}
        assert percent == {"reward_to_go": 100, "undiscounted": 100, "of_a_row": 0, "time_first": 0}


def test_options_of_theirs_keep_their_names_where_the_properties_run_too(project):
    answer = run(
        project, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_theirs.py", "--pyargs", "rlspec.properties",
        "-k", "their_option or gae_is_the_td_error", "--rlspec-explore=3", "--rlspec-seed=5", "--candidate=reference",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "2 passed" in answer.stdout
    assert "3 random examples a property" in answer.stdout
