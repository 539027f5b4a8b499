"""The house keeps its order: imports run one way, a chapter has one name, and one package is installed."""

import ast
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import rlspec
from rlspec.spec.clauses import CHAPTERS, clauses

CHECKOUT = Path(rlspec.__file__).parents[1]
ROOMS = ("spec", "reference", "properties", "faults", "candidates", "inputs")
MAY_IMPORT = {
    "spec": {"spec"},
    "reference": {"spec", "reference"},
    "properties": {"spec", "reference", "properties"},
    "faults": {"spec", "reference", "faults", "candidates"},
    "candidates": {"reference", "candidates", "torch", "jax"},
    "inputs": set(),
}
"""What of rlspec each room may import: other rooms, and the small helpers for candidates."""

FAULTY = {clause.chapter for clause in clauses().values() if clause.level != "THEOREM"}
"""The chapters that an implementation can be at fault in."""

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "pyproject.toml").is_file(),
    reason="the layout is the checkout's, and rlspec is installed",
)


def imported(source, room):
    """What a module in a room imports of rlspec: the names after ``rlspec.``; a bare room's name as ``bare NAME``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                found |= {name for alias in names for name in _inside(alias.name.split("."), [])}
            case ast.ImportFrom(module, names, level):
                path = module.split(".") if module else []
                parents = [["rlspec", room], ["rlspec"]][level - 1] if level else []
                found |= set(_inside([*parents, *path], [alias.name for alias in names]))
    return found


def _inside(path, names):
    match path:
        case ["rlspec", first, *_]:
            yield first
        case ["rlspec"]:
            yield from names or ["rlspec"]
        case [first, *_] if first in ROOMS:
            yield f"bare {first}"


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("from rlspec.properties.checking import agree", {"properties"}),
        ("import rlspec.harness as h", {"harness"}),
        ("from rlspec import faults, spec", {"faults", "spec"}),
        ("from ..spec.clauses import clauses", {"spec"}),
        ("from .. import candidate", {"candidate"}),
        ("from .numbers import smooth", {"reference"}),
        ("from . import numbers", {"reference"}),
        ("def f():\n    from properties import checking", {"bare properties"}),
        ("import spec.clauses", {"bare spec"}),
        ("import numpy.linalg\nfrom torch import nn", set()),
    ],
)
def test_every_form_of_import_is_seen(statement, seen):
    assert imported(statement, "reference") == seen


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    files = sorted((CHECKOUT / room).glob("*.py"))
    assert files
    astray = {
        file.name: sorted(strange)
        for file in files
        if (strange := imported(file.read_text(encoding="utf-8"), room) - MAY_IMPORT[room])
    }
    assert astray == {}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_one_name_in_every_room(chapter):
    rooms = [f"spec/{chapter}.md", f"properties/test_{chapter}.py"]
    if chapter in FAULTY:
        rooms.append(f"faults/{chapter}.py")
    if chapter != "operations":  # which computes nothing
        rooms.append(f"reference/{chapter}.py")
    assert [file for file in rooms if not (CHECKOUT / file).is_file()] == []


@pytest.mark.parametrize(
    ("pattern", "chapters"),
    [("spec/*.md", set(CHAPTERS)), ("properties/test_*.py", set(CHAPTERS)), ("faults/[!_]*.py", FAULTY)],
)
def test_nothing_is_named_like_a_chapter_that_is_none(pattern, chapters):
    named = {file.stem.removeprefix("test_") for file in CHECKOUT.glob(pattern)}
    assert named == chapters


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what of the checkout is built."""
    copy = tmp_path_factory.mktemp("built") / "checkout"
    copy.mkdir()
    for name in ("rlspec", *ROOMS):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, copy / name)
    return copy


def built(kind, folder):
    """The file that the build of a kind, ``wheel`` or ``sdist``, makes of a folder."""
    build = f"import setuptools.build_meta as backend; backend.build_{kind}('..')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    [file] = folder.parent.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


@pytest.fixture(scope="module")
def wheel(copy):
    """The names of the files in the wheel."""
    with ZipFile(built("wheel", copy)) as archive:
        return archive.namelist()


def test_a_wheel_of_the_source_distribution_is_the_same(copy, wheel, tmp_path):
    with tarfile.open(built("sdist", copy)) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.iterdir()
    with ZipFile(built("wheel", unpacked)) as archive:
        assert sorted(archive.namelist()) == sorted(wheel)


def test_nothing_but_rlspec_is_installed(wheel):
    assert {name.partition("/")[0].partition("-")[0] for name in wheel} == {"rlspec"}
    assert "rlspec/spec/clauses.py" in wheel


@pytest.mark.parametrize("room", ["rlspec", *ROOMS])
def test_everything_in_a_room_is_installed(wheel, room):
    kinds = (".py", ".md", ".json", ".ini", ".typed")
    files = [file for file in (CHECKOUT / room).glob("*") if file.is_file() and file.suffix in kinds]
    files += [*(CHECKOUT / room).rglob("*.py"), *(CHECKOUT / room).glob("vectors/*")]
    files += (CHECKOUT / room).glob("templates/*")
    inside = "rlspec" if room == "rlspec" else f"rlspec/{room}"
    needed = {f"{inside}/{file.relative_to(CHECKOUT / room).as_posix()}" for file in files}
    assert needed - set(wheel) == set()


def test_the_plugin_is_registered_under_its_modules_name():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"rlspec.plugin": "rlspec.plugin"}
