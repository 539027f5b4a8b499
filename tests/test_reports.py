"""Reports, comparisons and reproductions: all made from the one record of a run, and tried from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import rlspec
from rlspec import rendered
from rlspec.drawn import nested, strips
from rlspec.reproduction import script
from rlspec.run_record import NotARecord, Record
from rlspec.sarif import badge
from rlspec.wire import encoded

SCHEMA = json.loads(Path(rlspec.__file__).with_name("record.schema.json").read_text(encoding="utf-8"))

NASTY = "<script>alert(1)</script> \\x1b[31mred\\x1b[0m\\n# | `x` [a](b)"
"""A candidate's name, as it stands in Python's source."""

ADAPTER = f"""
import numpy as np

NAME = "{NASTY}"
CONVENTIONS = {{"group_advantages.eps": "std + 1e-5"}}


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    ended = np.logical_or(terminated, truncated)
    following, advantages = 0.0, []
    deltas = rewards + gamma * np.where(ended, 0, next_values) - values
    for delta, end in zip(deltas.T[::-1], ended.T[::-1]):
        following = delta + gamma * lam * np.where(end, 0, following)
        advantages.append(following)
    return np.stack(advantages[::-1], axis=1)


def token_logp(logits, tokens, temperature):
    raise NotImplementedError("no <b>logits</b> here")
"""

SELECT = ("-k", "(gae and (truncation_is_a_cut or lambda_zero)) or truncation_is_a_cut or gae_is_the_td or OPS_12")


def run(folder, *arguments, **more):
    command = [sys.executable, "-m", "rlspec", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with blanks and other letters in its name, in which a candidate was checked and everything written."""
    folder = tmp_path_factory.mktemp("a folder, with ünüsual letters")
    (folder / "my ädapter.py").write_text(ADAPTER, encoding="utf-8")
    answer = run(
        folder, "check", "my ädapter.py", "--jobs=0", "--verdicts=v é.json", "--report=r é.html", "--report=r é.md",
        "--report=r é.sarif", "--badge=b é.json", *SELECT,
    )  # fmt: skip
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "\x1b" not in answer.stdout
    return folder


@pytest.fixture(scope="module")
def record(folder):
    return Record.read(folder / "v é.json")


def test_the_record_is_of_the_form_that_is_published(record):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(record.said, SCHEMA)
    assert record.operations["gae"]["ADV-3"] == "violated"
    assert record.said["what"] == "my ädapter.py"
    broken = {**record.said, "clauses": {"ADV-3": {**record.clauses["ADV-3"], "verdict": "perhaps"}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


# ruff: noqa: D102  the methods are HTMLParser's
class Page(HTMLParser):
    """What a page refers to, which of its elements are left open, and its text."""

    VOID = ("meta", "link", "br", "wbr", "circle", "rect", "path")

    def __init__(self, text):
        super().__init__()
        self.open, self.astray, self.anchors, self.targets, self.loads, self.said = [], [], set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors.update(filter(None, [given.get("id")]))
        if tag == "a":
            self.targets.append(given["href"])
        self.loads += [given[name] for name in ("src", "data", "srcset") if name in given]
        self.loads += [given["href"]] if tag == "link" else []
        self.astray += [tag] if tag in ("script", "img", "iframe", "object") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.astray.append(f"/{tag}")

    def handle_data(self, text):
        self.said.append(text)


def checked(text):
    """A page that is well-formed and complete in itself."""
    page = Page(text)
    assert (page.open, page.astray, page.loads) == ([], [], ["data:,"])
    assert {one.removeprefix("#") for one in page.targets if one.startswith("#")} <= page.anchors
    assert all(one.startswith(("#", "https://")) for one in page.targets)
    assert "@import" not in text
    assert "url(" not in text
    assert not set(text) & {chr(number) for number in range(32) if number != 10}
    return " ".join(" ".join(page.said).split())


def test_the_page_says_what_is_wrong_first_and_loads_nothing(folder):
    text = (folder / "r é.html").read_text(encoding="utf-8")
    said = checked(text)
    assert "<script>alert(1)</script> [31mred [0m # | `x` [a](b): 1 mistake in gae" in said
    said = said.partition("The run")[2]  # what follows the links to the parts
    wrong = ["What is wrong", "It behaves exactly as if", "truncation-as-termination", "The smallest input"]
    order = [*wrong, "It breaks ADV-3", "Operations", "Conventions", "group_advantages.eps", "Not tested", "The run"]
    places = [said.find(one) for one in order]
    assert -1 not in places
    assert places == sorted(places)
    assert 'class="cut"' in text
    assert "https://github.com/Toni-SM/skrl/issues/449" in text


def test_the_markdown_has_no_mark_up_of_the_candidates(folder):
    text = (folder / "r é.md").read_text(encoding="utf-8")
    assert text.startswith(
        "## &lt;script\\>alert\\(1\\)&lt;/script\\> \\[31mred \\[0m \\# \\| \\`x\\` \\[a\\]\\(b\\): 1 mistake in gae\n"
    )
    assert "### `gae`: It behaves exactly as if `terminated` were `terminated or truncated`." in text
    assert "| `gae` | violated | ADV-3 |" in text


RESULT = {
    "required": ["ruleId", "level", "message", "locations", "partialFingerprints"],
    "properties": {
        "level": {"enum": ["error", "warning"]},
        "message": {"required": ["text"]},
        "suppressions": {"items": {"required": ["kind"]}},
    },
}
LOG = {
    "required": ["$schema", "version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {"items": {"required": ["tool", "results"], "properties": {"results": {"items": RESULT}}}},
    },
}
"""What code hosts want of SARIF."""


def test_code_hosts_are_told_the_line_and_the_clause(folder):
    text = (folder / "r é.sarif").read_text(encoding="utf-8")
    assert "\\u001b" not in text
    log = json.loads(text)
    jsonschema.validate(log, LOG)
    [run] = log["runs"]
    [result] = run["results"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [result["ruleId"]] == ["ADV-3"]
    said, call = result["message"]["text"].splitlines()
    assert said == "gae: It behaves exactly as if `terminated` were `terminated or truncated`. It breaks ADV-3."
    assert call.startswith("gae(rewards=[[0]], ")
    [where] = result["locations"]
    [line] = [number for number, line in enumerate(ADAPTER.splitlines(), 1) if line.startswith("def gae(")]
    place = {"artifactLocation": {"uri": "my%20%C3%A4dapter.py"}, "region": {"startLine": line}}
    assert where["physicalLocation"] == place


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("a dir/a.py", "a%20dir/a.py:3"),
        ("cmd: node adapter.mjs", "adapter.mjs:1"),
        ("bound.py", "bound.py:2"),
        ("broken.py", "broken.py:1"),
        ("torch_autograd", ""),
        ("cmd: node", ""),
    ],
)
def test_a_result_stands_where_the_operation_is_bound(tmp_path, monkeypatch, record, what, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a dir").mkdir()
    (tmp_path / "a dir" / "a.py").write_text("# gae\n\ndef gae():\n    pass\n")
    (tmp_path / "bound.py").write_text("import numpy\nfrom mylib import advantages as gae\n")
    (tmp_path / "broken.py").write_text("def gae(:\n")
    (tmp_path / "adapter.mjs").write_text("")
    log = json.loads(rendered.report(Record({**record.said, "what": what}), ".sarif"))
    [where] = log["runs"][0]["results"][0]["locations"]
    assert where["logicalLocations"] == [{"name": "gae", "kind": "function"}]
    place = where.get("physicalLocation")
    assert (f"{place['artifactLocation']['uri']}:{place['region']['startLine']}" if place else "") == found


def test_a_known_failure_is_told_as_one_that_is_accepted(record):
    said = json.loads(record.as_json())
    said["clauses"]["ADV-3"]["verdict"] = "known"
    log = json.loads(rendered.report(Record({**said, "known_failures": {"gae": "issue 7"}}), ".sarif"))
    accepted = [{"kind": "external", "justification": "issue 7"}]
    assert [one["suppressions"] for one in log["runs"][0]["results"]] == [accepted]


def test_the_badge_says_it_in_a_word(folder, record):
    assert json.loads((folder / "b é.json").read_text()) == {
        "schemaVersion": 1, "label": "rlspec", "message": "1 violated", "color": "red",
    }  # fmt: skip

    def said(*verdicts, interrupted=False, stale=()):
        of = {f"ADV-{number}": {"verdict": verdict} for number, verdict in enumerate(verdicts, 1)}
        about = {"clauses": of, "interrupted": interrupted, "stale": dict.fromkeys(stale, "gone")}
        found = json.loads(badge(Record({**record.said, **about})))
        return found["message"], found["color"]

    assert said("holds", "absent") == ("1 clause holds", "brightgreen")
    assert said("holds", "holds", "known") == ("2 clauses hold, 1 known to fail", "yellow")
    assert said("holds", stale=["gae"]) == ("0 violated, 1 stale", "red")
    assert said("untested") == ("nothing tested", "lightgrey")
    assert said("holds", interrupted=True) == ("interrupted: 1 clause holds", "lightgrey")


def test_a_failure_is_a_script_of_plain_numpy(folder, record):
    printed = run(folder, "reproduce", "v é.json", "ADV-3", "--script").stdout
    code = [line for line in printed.splitlines() if line and not line.startswith(("#", '"""'))]
    assert len(code) < 17
    alone = "import sys; sys.modules['rlspec'] = sys.modules['hypothesis'] = None\n" + printed
    wrong = subprocess.run([sys.executable, "-c", alone], cwd=folder, capture_output=True, text=True, check=False)
    assert "AssertionError: still wrong by 1.0" in wrong.stderr
    mended = folder / "my ädapter.py"
    mended.write_text(ADAPTER.replace("where(ended, 0, next", "where(terminated, 0, next"), encoding="utf-8")
    right = subprocess.run([sys.executable, "-c", alone], cwd=folder, capture_output=True, text=True, check=False)
    now = run(folder, "reproduce", "v é.json", "ADV-3")
    mended.write_text(ADAPTER, encoding="utf-8")
    assert (right.returncode, right.stderr) == (0, "")
    assert (now.returncode, "the recorded call is answered [[1]]" in now.stdout) == (0, True)


def test_a_script_writes_arrays_as_they_were(record):
    said = json.loads(record.as_json())
    arrays = {
        "rewards": np.array([[0.0, np.inf], [np.nan, -1.5]]),
        "values": np.zeros((2, 0)),
        "next_values": np.array([[1, 2]], dtype=np.float32),
        "terminated": np.array([[True, False]]),
        "groups": np.array(["a", "b'c"]),
        "counts": np.array([[[1], [2]]]),
        "whole": np.array(3.0),
    }
    said["clauses"]["ADV-3"]["inputs"] = {name: encoded(array) for name, array in arrays.items()}
    [one] = Record(said).violations()
    wanted = ("import numpy", "from numpy", *(f"{name} =" for name in arrays))
    names = {}
    exec("\n".join(line for line in script(one, record).splitlines() if line.startswith(wanted)), names)
    for name, array in arrays.items():
        assert names[name].dtype == array.dtype
        np.testing.assert_array_equal(names[name], array)


def test_a_stored_failure_is_asked_again(folder):
    again = run(folder, "reproduce", "v é.json", "ADV-3", "--candidate=my ädapter.py")
    assert again.returncode == 1
    assert "the recorded call is answered [[0]]" in again.stdout
    assert "recorded: expected [[1]], got [[0]]" in again.stdout
    assert "violated (expected 1 at [0, 0], got 0" in again.stdout
    other = run(folder, "reproduce", "v é.json", "RET-1")
    assert (other.returncode, other.stderr) == (2, "v é.json has no violation of RET-1; it has ADV-3\n")


def test_a_failure_that_nothing_can_judge_any_more_is_not_called_right(folder, record):
    other = json.loads(record.as_json())
    other["clauses"]["ADV-3"] |= {"property": "test_that_there_was[gae]"}
    (folder / "other.json").write_text(json.dumps(other))
    again = run(folder, "reproduce", "other.json", "ADV-3", "--candidate=my ädapter.py")
    assert "has no property called test_that_there_was[gae]" in again.stdout
    assert again.returncode == 2
    other["clauses"]["ADV-3"] |= {"operation": "gaae"}
    (folder / "other.json").write_text(json.dumps(other))
    assert run(folder, "reproduce", "other.json", "ADV-3", "--candidate=my ädapter.py").returncode == 2
    other["clauses"]["ADV-3"] |= {"property": "first look[gae]", "operation": "gae"}
    (folder / "other.json").write_text(json.dumps(other))
    assert run(folder, "reproduce", "other.json", "ADV-3", "--candidate=my ädapter.py").returncode == 0


@pytest.mark.parametrize("part", [{"inputs": "x"}, {"drawn": "y"}, {"also": [3]}, {"diagnosis": {}}])
def test_a_record_with_parts_of_another_form_is_refused(record, part):
    other = json.loads(record.as_json())
    other["clauses"]["ADV-3"] |= part
    with pytest.raises(NotARecord, match="what it says of ADV-3 has another form"):
        Record(other)


def test_records_are_compared_and_what_changed_is_said(folder, record):
    newer = json.loads(record.as_json())
    newer["clauses"]["ADV-3"] = {"verdict": "holds", "level": "MUST", "place": "spec/advantages.md:1"}
    newer["operations"]["gae"]["ADV-3"] = "holds"
    (folder / "newer.json").write_text(json.dumps(newer))
    compared = run(folder, "compare", "v é.json", "newer.json")
    assert compared.returncode == 0, compared.stderr
    assert "violated before, holds now" in compared.stdout
    assert "| `gae` | violated | holds |" in compared.stdout
    assert run(folder, "compare", "v é.json", "newer.json", "--report=c.html").returncode == 0
    said = checked((folder / "c.html").read_text(encoding="utf-8"))
    assert "ADV-3 (Truncation bootstraps, termination does not): violated before, holds now" in said
    assert run(folder, "compare", "v é.json", "--report=c.pdf").returncode == 2


def test_records_of_other_times_are_read_or_refused_by_name(record, tmp_path):
    old = {name: record.said[name] for name in ("candidate", "rlspec", "run", "conventions", "clauses")}
    assert "1 mistake in gae" in rendered.report(Record(old), ".html")
    assert "1 mistake in gae" in rendered.report(Record(old), ".md")
    with pytest.raises(NotARecord, match="has the form 2 of a later rlspec"):
        Record({**record.said, "schema": 2})
    for text in ("[]", "{}", '{"candidate": "x", "clauses": {"ADV-3": {}}}', "{"):
        (tmp_path / "no.json").write_text(text)
        with pytest.raises(NotARecord, match="is not a file that --verdicts wrote"):
            Record.read(tmp_path / "no.json")


def test_the_published_records_of_the_libraries_become_pages():
    files = sorted((Path(rlspec.__file__).parents[1] / "candidates" / "verdicts").glob("*.json"))
    records = [Record.read(file) for file in files]
    for one in records:
        checked(rendered.report(one, ".html"))
        rendered.report(one, ".md")
    if records:
        checked(rendered.comparison(records, ".html"))
        compared = (files[0].parents[1] / "COMPARED.md").read_text(encoding="utf-8")
        assert compared == rendered.comparison(records, ".md"), "CONTRIBUTING, under A candidate, says how to write it"


def test_groups_masks_and_terminations_are_drawn():
    grouped = {
        "arguments": {"rewards": "[0, 1, 1/3]", "groups": "[a, a, b]"},
        "expected": "[0, 1, 0]",
        "actual": "[0, 0, 0]",
    }
    [strip] = strips("group_advantages", grouped)
    assert strip.off == [False, True, False]
    drawing = rendered.picture(strip, "x")
    assert ('class="band0"' in drawing, 'class="band1"' in drawing) == (True, True)
    arguments = {"rewards": "[[0, 1], [1, 2]]", "terminated": "[[True, False], [False, False]]"}
    both = strips("td_error", {"arguments": arguments, "expected": "[[0, 1], [1, nan]]", "actual": "[[0, 1], [1, 2]]"})
    assert [one.title for one in both] == ["row 1"]
    masked = {"arguments": {"advantages": "[[1, 2]]", "mask": "[[True, False]]"}}
    assert 'class="masked"' in rendered.picture(strips("normalize_advantages", masked)[0], "x")
    assert nested("[[1/3, nan], [-inf, 1e-05]]") == [["1/3", "nan"], ["-inf", "1e-05"]]


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_what_cannot_be_written_is_said_and_the_verdicts_are_printed(folder, tmp_path, jobs):
    arguments = ("check", str(folder / "my ädapter.py"), "ADV-3", f"--jobs={jobs}")
    refused = run(tmp_path, *arguments, f"--report={'long' * 100}.md")
    assert "long.md cannot be written: File name too long" in refused.stderr
    assert "gae is wrong" in refused.stdout
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    if Path("/proc").is_dir():  # nobody, whoever it is, can write there
        refused = run("/proc", *arguments, "--verdicts=v.json")
        assert "v.json cannot be written" in refused.stderr
        assert "gae is wrong" in refused.stdout
        assert run("/proc", *arguments).returncode == 1


def test_two_runs_in_one_folder_do_not_disturb_each_other(folder):
    arguments = [sys.executable, "-m", "rlspec", "check", "my ädapter.py", "--verdicts=both.json", "--report=both.md"]
    runs = [subprocess.Popen([*arguments, *SELECT], cwd=folder, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate(timeout=300)[0].count("gae is wrong") for one in runs] == [1, 1]
    assert [one.returncode for one in runs] == [1, 1]
    assert Record.read(folder / "both.json").verdicts["ADV-3"] == "violated"
    assert not [*folder.glob(".both*")]


SLOW = """
import time

import numpy as np


def discounted_return(rewards, gamma):
    with open("weighed", "a") as file:
        file.write("x")
    return rewards @ gamma ** np.arange(rewards.shape[1])


def reward_to_go(rewards, gamma):
    time.sleep(1)
    if open("weighed").read().count("x") > 12:  # the property of RET-1 is over, or nearly
        open("asked", "w").close()
    steps = rewards.shape[1]
    return np.stack([rewards[:, t:] @ gamma ** np.arange(steps - t) for t in range(steps)], axis=1)
"""


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_an_interrupted_run_says_so_and_keeps_what_it_has(tmp_path, jobs):
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "rlspec", "check", "slow.py", f"--jobs={jobs}", "--verdicts=v.json"]
    command += ["--report=r.html", "-k", "weighs_reward or reward_to_go_is_the_discounted_sum"]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background ignores it
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, preexec_fn=listening, process_group=0
    )
    latest = time.monotonic() + 120
    while not (tmp_path / "asked").exists() and time.monotonic() < latest:
        time.sleep(0.05)
    time.sleep(2)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 2
    assert "The run was interrupted" in printed
    record = Record.read(tmp_path / "v.json")
    jsonschema.validate(record.said, SCHEMA)
    assert record.said["interrupted"] is True
    assert record.verdicts["RET-1"] == "holds"
    assert record.verdicts["RET-2"] == "untested"
    assert "The run was interrupted." in checked((tmp_path / "r.html").read_text(encoding="utf-8"))
