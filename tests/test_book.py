"""The book is built as readers get it, and its links are followed."""

import re
import subprocess
import sys
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from rlspec.faults import museum
from rlspec.spec.clauses import CHAPTERS, choices, clauses

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("sphinx", "myst_parser", "furo", "latex2mathml"))),
    reason='the book is built by Sphinx: pip install -c constraints.txt -e ".[book]"',
)


class Page(HTMLParser):
    """A page's anchors, its links, what it loads, and the clauses that are parts of it."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loaded, self.parts = Counter(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what a tag says."""
        of = dict(attrs)
        self.anchors.update([of["id"]] if of.get("id") else [])
        if tag == "a" and of.get("href"):
            self.links.append(of["href"])
        if tag in ("script", "img"):
            self.loaded.append(of.get("src") or "")
        if tag == "link" and of.get("rel") == "stylesheet":
            self.loaded.append(of["href"])
        if tag == "section" and "clause" in (of.get("class") or "").split():
            self.parts.append(of["id"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a book that was just built; a warning is an error."""
    folder = tmp_path_factory.mktemp("book")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "book"]
    command = [*sphinx, "-d", folder / "read", ".", folder / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@cache
def page(file):
    """A page that was read."""
    return Page(file.read_text(encoding="utf-8"))


def pages(site):
    """Every page with its file, but the one that leads to the first."""
    return {file: page(file) for file in site.rglob("*.html") if file.parent != site}


def test_every_clause_has_its_anchor_on_its_chapters_page_and_every_such_part_is_a_clause(site):
    for chapter in CHAPTERS:
        found = page(site / "spec" / f"{chapter}.html")
        ids = [id for id, clause in clauses().items() if clause.chapter == chapter]
        assert found.parts == ids
        assert {found.anchors[id] for id in ids} == {1}


def test_every_link_within_the_book_leads_to_a_file_and_an_anchor(site):
    broken = []
    for file, found in pages(site).items():
        for link in found.links:
            to = urlsplit(link)
            target = (file.parent / unquote(to.path)).resolve() if to.path else file
            if to.scheme:
                continue
            if not target.exists() or (
                to.fragment and target.suffix == ".html" and unquote(to.fragment) not in page(target).anchors
            ):
                broken.append((str(file.relative_to(site)), link))
    assert broken == []


def test_what_the_code_has_to_a_clause_links_to_it_and_back(site):
    there = {link for chapter in CHAPTERS for link in page(site / "spec" / f"{chapter}.html").links}
    back = page(site / "book" / "faults.html").links
    for fault in museum().values():
        assert f"../book/faults.html#{fault.id}" in there
        assert f"../spec/{clauses()[fault.clause].chapter}.html#{fault.clause}" in back
    assert {f"../book/conventions.html#{name}" for name in choices()} <= there


def test_every_id_in_the_vectors_and_the_verdicts_is_a_clauses(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book")
    bindings = import_module("bindings")
    assert bindings.unknown() == set()


def test_nothing_is_loaded_from_elsewhere(site):
    loaded = {address for found in pages(site).values() for address in found.loaded}
    assert [address for address in loaded if urlsplit(address).scheme or address.startswith("//")] == []


def test_the_search_finds_truncation_and_the_inventory_the_clauses(site):
    from sphinx.util.inventory import InventoryFile

    assert re.search(r'"?truncat"?:', (site / "searchindex.js").read_text(encoding="utf-8"))
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    assert {*inventory.data["std:clause"]} == {*clauses()}
