"""Random inputs for a time, what they find kept in Hypothesis's own database, and recorded failures asked first."""

import json
import subprocess
import sys
import time
from threading import Thread

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

from rlspec import limits
from rlspec.__main__ import main
from rlspec.drawing import database_at
from rlspec.options import drawn_in_words, effort

RARE = """
import numpy as np

NAME = {name!r}
KNOWN_FAILURES = {{"RET-2": "https://example.org/rare"}}

def reward_to_go(rewards, gamma):
    following, returns = 0.0, []
    for reward in rewards.T[::-1]:
        following = reward + gamma * following
        returns.append(following + (abs(rewards).sum() in (11, 13, 17, 19, 23)))
    return np.stack(returns[::-1], axis=1)

def td_error(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * np.where(terminated, 0, next_values) - values
"""
"""Wrong on few inputs, none of which is stored."""

RET_2 = "discounted_sum_of_what_follows"
FEW = ("--explore=3", "--seed=2")
"""Too few to find it."""


def check(folder, *arguments, name="rare", select=RET_2):
    """The verdict on RET-2, and what was printed."""
    folder.mkdir(exist_ok=True)
    (folder / "rare.py").write_text(RARE.format(name=name))
    command = [sys.executable, "-m", "rlspec", "check", "rare.py", "--verdicts=v.json", "-k", select, *arguments]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert answer.stderr == ""
    said = json.loads((folder / "v.json").read_text())["clauses"]
    return said["RET-2"]["verdict"], answer.stdout


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A folder in which random inputs found what the stored ones do not, with the record and the database."""
    folder = tmp_path_factory.mktemp("explored")
    verdict, _ = check(folder, "--jobs=2", "--explore=500", "--seed=1", "--database=a datenbänk")
    assert verdict == "known"
    return folder


def test_a_known_failure_keeps_its_input_which_is_asked_first(explored, tmp_path):
    recorded = explored / "v.json"
    assert check(tmp_path, "--jobs=0")[0] == "stale"  # the stored inputs do not show it
    verdict, printed = check(tmp_path, f"--expect={recorded}")
    assert (verdict, "as recorded" in printed) == ("known", True)
    before, after = (json.loads(file.read_text())["clauses"]["RET-2"] for file in (recorded, tmp_path / "v.json"))
    assert after["drawn"] == before["drawn"]
    assert after["answers"] == 1  # nothing was asked before it
    suite = tmp_path / "test_rare.py"
    suite.write_text(
        "import pytest\nfrom rlspec.testing import formulas\n\n"
        "@pytest.fixture\ndef candidate():\n    return 'rare.py'\n\n"
        f"test_rare = formulas(clauses=['RET-2'], operations=['reward_to_go'], replay={str(recorded)!r})\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite.name]
    assert "1 xfailed" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout


def test_a_folder_is_a_database_that_machines_and_processes_share(explored, tmp_path):
    place = f"--database={explored / 'a datenbänk'}"
    assert check(tmp_path, *FEW, place)[0] == "known"
    assert check(tmp_path, "--jobs=0", *FEW, place, name="another candidate")[0] == "stale"


def test_a_redis_is_such_a_database_through_hypothesis(explored, tmp_path):
    fakeredis = pytest.importorskip("fakeredis")
    server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    Thread(target=server.serve_forever, daemon=True).start()
    place = f"redis://127.0.0.1:{server.server_address[1]}/0"
    try:
        there = database_at(place)
        for key, value in everything(DirectoryBasedExampleDatabase(explored / "a datenbänk")):
            there.save(key, value)
        assert check(tmp_path, "--jobs=0", *FEW, f"--database={place}")[0] == "known"
        there.redis.close()
    finally:
        server.shutdown()
        server.server_close()


def everything(database):
    """The keys and values of a database in a folder."""
    for key in database.fetch(database._metakeys_name):
        for value in database.fetch(key):
            yield key, value


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_time_ends_the_exploration_of_all_properties_together(tmp_path, jobs):
    begun = time.monotonic()
    verdict, printed = check(
        tmp_path, f"--jobs={jobs}", "--explore=2s", "--seed=5", select=f"{RET_2} or the_td_error_is"
    )
    assert time.monotonic() - begun > 2
    said = json.loads((tmp_path / "v.json").read_text())
    assert said["run"] == {"budget": 20, "patience": 10, "explore": None, "explore_seconds": 2, "seed": 5}
    assert verdict in ("known", "stale")
    assert said["clauses"]["ADV-1"]["verdict"] == "holds"
    assert said["clauses"]["ADV-1"]["answers"] > 20
    assert "message" not in said["clauses"]["ADV-1"]
    assert "random examples for 2 s in all, with the seed 5" in printed


def test_theorems_end_in_time_too(tmp_path):
    select = "test_returns or (gae and test_operations)"  # some of which draw in their bodies
    command = [sys.executable, "-m", "rlspec", "check", "reference", "--jobs=0", "--explore=4s", "-k", select]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert answer.returncode == 0, answer.stdout


def test_a_property_that_is_stopped_where_it_drew_before_is_stopped_and_not_flaky():
    ended = []

    @settings(database=None, max_examples=1000, suppress_health_check=[*HealthCheck])
    @given(st.data())
    def test(data):
        data.draw(st.booleans())
        if len(ended) > 20:
            raise limits.Stopped("enough")
        ended.append(data.draw(st.integers()))

    with pytest.raises(limits.Stopped, match="enough") as stopped, limits.kept(test, test.hypothesis.inner_test):
        test()
    assert stopped.value.judged == 21


def test_time_is_up_only_after_what_the_body_draws():
    @settings(database=None, max_examples=10**9, suppress_health_check=[*HealthCheck], derandomize=True)
    @given(st.booleans(), st.data())
    def test(first, data):
        second = data.draw(st.integers())
        assume(second % 2)

    begun = time.monotonic()
    with pytest.raises(limits.Stopped) as stopped, limits.kept(test, test.hypothesis.inner_test, begun + 0.5):
        test()
    assert 0.5 < time.monotonic() - begun < 20
    assert stopped.value.judged > 0
    assert stopped.value.charge is None


@pytest.mark.parametrize(("wanted", "tries", "judged"), [(1, 1, 1), (5, 5, 1), (1000, limits.TRIES, 0)])
def test_a_property_that_has_no_time_judges_one_input_if_it_can(wanted, tries, judged):
    asked = []

    @settings(database=None, max_examples=10**9, suppress_health_check=[*HealthCheck], derandomize=True)
    @given(st.integers())
    def test(number):
        asked.append(number)
        assume(len(asked) == wanted)

    with pytest.raises(limits.Stopped) as stopped, limits.kept(test, test.hypothesis.inner_test, 0.0):
        test()
    assert (len(asked), stopped.value.judged) == (tries, judged)


def test_what_one_property_leaves_the_following_ones_have(monkeypatch):
    now = iter([0.0, 0.0, 1.0, 7.0, 9.5])
    monkeypatch.setattr(limits.time, "monotonic", lambda: next(now))
    clock = limits.Clock(10.0, 3)
    assert [clock.share() for _ in range(4)] == [10 / 3, 1 + 9 / 2, 10.0, 10.0]


def test_an_effort_is_a_number_or_a_time():
    found = [effort(text) for text in ("1000", "90s", "10m", "1.5h")]
    assert found == [(1000, None), (None, 90), (None, 600), (None, 5400)]
    for text in ("", "m", "-3", "1.5", "ten", "10 m", "3d"):
        with pytest.raises(ValueError, match="neither a number of examples, such as 1000, nor a time"):
            effort(text)
    assert drawn_in_words({"explore": None}) == ""  # as an older record has it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--explore=ten"], "--explore: 'ten' is neither a number of examples"),
        (["--explore=0s"], "--explore has to be more than 0"),
        (["--database=here"], "--database is for --explore"),
        (["--database=rare.py", "--explore=3"], "--database: the folder rare.py cannot be made"),
        (["--database=redis://127.0.0.1:1", "--explore=3"], "--database: redis://127.0.0.1:1 "),
        (["--replay=rare.py"], "--replay: rare.py is not a file that --verdicts wrote"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rare.py").write_text(RARE.format(name="rare"))
    assert main(["check", "rare.py", "--jobs=0", "-k", RET_2, *arguments]) == pytest.ExitCode.USAGE_ERROR
    assert message in "".join(capsys.readouterr())
