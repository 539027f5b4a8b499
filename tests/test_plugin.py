"""In the test run of someone who only has rlspec installed, nothing is different."""

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

HEAVY = ("hypothesis", "numpy", "torch", "sympy", "flint", "scipy")

CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--candidate", default="theirs")
    parser.addoption("--verdicts", default="theirs")

@pytest.fixture
def candidate(request):
    return request.config.getoption("--candidate")
"""

TESTS = """
import json
import sys

def test_their_own_fixture_and_option(candidate, record_property):
    assert candidate == "theirs"

def test_what_is_loaded():
    with open("modules.json", "w") as file:
        json.dump(sorted(sys.modules), file)
"""

PROFILE = """
from hypothesis import given, settings, strategies as st

settings.register_profile("theirs", max_examples=7, derandomize=False)
settings.load_profile("theirs")
"""

PROFILE_TESTS = """
from hypothesis import given, settings, strategies as st

drawn = []

@given(st.integers())
def test_own_property(number):
    drawn.append(number)

def test_own_profile():
    assert settings.get_current_profile_name() == "theirs"
    assert settings.default.max_examples == settings().max_examples == 7
    assert not settings.default.derandomize
    assert 0 < len(drawn) <= 7
"""


@pytest.fixture
def stranger(tmp_path):
    """Someone else's project: its folder, and its pytest run in a process of its own."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config -W error\n")

    def run(*arguments):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    run.folder = tmp_path
    return run


def without_times(text):
    return re.sub(r"\d+\.\d+s", "", text)


def test_their_run_is_the_same_with_and_without_the_plugin(stranger):
    (stranger.folder / "conftest.py").write_text(CONFTEST)
    (stranger.folder / "test_theirs.py").write_text(TESTS)
    loaded = {}
    runs = {}
    for name in ("hypothesispytest", "rlspec.plugin"):  # whose plugin is left out
        runs[name] = stranger("-p", f"no:{name}", "--no-header", "-v")
        loaded[name] = set(json.loads((stranger.folder / "modules.json").read_text()))
    ours = runs["hypothesispytest"]
    assert (ours.returncode, ours.stderr) == (0, "")
    assert "2 passed" in ours.stdout
    assert without_times(ours.stdout) == without_times(runs["rlspec.plugin"].stdout)
    assert {name for name in loaded["hypothesispytest"] if name.partition(".")[0] in HEAVY} == set()
    added = {name for name in loaded["hypothesispytest"] - loaded["rlspec.plugin"] if "rlspec" in name}
    assert added == {"rlspec", "rlspec.plugin"}


def test_loading_the_plugin_imports_nothing_else():
    listing = "import sys, json, pytest; {} print(json.dumps(sorted(sys.modules)))"
    with_it, without = (
        set(json.loads(subprocess.check_output([sys.executable, "-c", listing.format(statement)])))
        for statement in ("import rlspec.plugin;", "")
    )
    assert with_it - without == {"rlspec", "rlspec.plugin"}


def test_their_help_lists_no_option_of_the_harness(stranger):
    answer = stranger("--help")
    assert answer.returncode == 0
    assert "usage: " in answer.stdout
    assert not re.search(r"rlspec|--candidate|--verdicts|--require", answer.stdout.partition("plugins")[0])


def test_their_settings_profile_stays_when_rlspecs_properties_run_too(stranger):
    (stranger.folder / "conftest.py").write_text(PROFILE)
    (stranger.folder / "test_theirs.py").write_text(PROFILE_TESTS)
    select = ("--pyargs", "rlspec.properties", "-k", "own_pro or gae_is_the_td_error")
    kept = stranger("-q", "test_theirs.py", "--junitxml=junit.xml", *select)
    assert "3 passed" in kept.stdout, kept.stdout + kept.stderr
    assert kept.returncode == 0
    assert "rlspec: reference" in kept.stdout
    cases = ElementTree.parse(stranger.folder / "junit.xml").iter("testcase")
    clauses = {case.get("name"): [of.get("value") for of in case.iter("property")] for case in cases}
    assert clauses == {
        "test_own_property": [], "test_own_profile": [], "test_with_lambda_zero_gae_is_the_td_error": ["ADV-5"],
    }  # fmt: skip


def test_a_conftest_that_names_the_plugin_does_not_load_it_twice(stranger):
    (stranger.folder / "conftest.py").write_text('pytest_plugins = ["rlspec.plugin"]\n')
    (stranger.folder / "test_theirs.py").write_text("def test_one():\n    pass\n")
    answer = stranger("-q")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "rlspec" not in answer.stdout
