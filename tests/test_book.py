"""The book is built as readers get it, and its links are followed."""

import os
import re
import shutil
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

NEEDED = ("sphinx", "myst_parser", "furo", "latex2mathml", "matplotlib", "ziamath", "pikepdf", "sybil")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, NEEDED)),
    reason='the book is built by Sphinx: pip install -c constraints.txt -e ".[book]"',
)
PHONE = {"width": 360, "height": 800}
printed_by_chromium = pytest.mark.skipif(CHROMIUM is None, reason="the PDF is printed by chromium, and there is none")


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


def build(*arguments, checkout=ROOT, **environment):
    """What the command that builds the book says."""
    command = [sys.executable, checkout / "book" / "build.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a book that was just built, with its PDF where that can be printed; a warning is an error."""
    folder = tmp_path_factory.mktemp("book")
    done = build(folder) if CHROMIUM else build(folder, "--site")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def site(built):
    """The folder of its site."""
    return built / "site"


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

    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert re.search(r'"?truncat"?:', index)
    assert '"ADV-5 With lambda = 0 GAE is the TD error":' in index
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    assert {*inventory.data["std:clause"]} == {*clauses()}


@printed_by_chromium
def test_in_the_pdf_every_link_leads_somewhere_and_the_contents_say_where(built):
    import pikepdf

    file = built / "print" / "book" / "print.html"
    text, printed = file.read_text(encoding="utf-8"), page(file)
    linked = {unquote(link[1:]) for link in printed.links if link.startswith("#")}
    assert {link: printed.anchors[link] for link in linked} == dict.fromkeys(linked, 1)
    assert [link for link in printed.links if not link.startswith(("#", "https://", "http://"))] == []
    assert {*clauses()} <= linked
    with pikepdf.open(built / "rlspec.pdf") as pdf:
        pages = {of.objgen: str(number) for number, of in enumerate(pdf.pages, 1)}
        places = {name[1:]: pages[to[0].objgen] for name, to in pdf.Root.Dests.items()}
    entry = re.compile(r'href="#([^"]+)">[^<]*(?:<[^>]*>[^<]*)*?<span class="page">(\d+)')
    contents = entry.findall(text.partition("</nav>")[0])
    assert {f"document-spec/{chapter}" for chapter in CHAPTERS} <= {name for name, _ in contents}
    assert contents == [(name, places[name]) for name, _ in contents]


def test_without_a_browser_it_is_said_what_to_install(tmp_path):
    done = build(tmp_path, PATH="")
    assert (done.returncode, "apt install chromium" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_an_example_that_prints_something_else_is_shown_and_there_is_no_book(tmp_path):
    for needed in ("book/build.py", "conftest.py", "pyproject.toml", "tests/test_docstrings.py"):
        (tmp_path / needed).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / needed, tmp_path / needed)
    (tmp_path / "spec").mkdir()
    (tmp_path / "book" / "sums.md").write_text("# Sums\n\n```python\n>>> 1 + 1\n2\n>>> 1 + 2\n4\n\n```\n")
    done = build("--site", tmp_path / "built", checkout=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr, (tmp_path / "built").exists()) == (1, False, False)
    assert done.stderr.startswith("The book is not built: an example does not print what stands below it.\n")
    assert re.search(r"sums.md, line 6, .*\nExpected:\n    4\nGot:\n    3\n", done.stderr)


@pytest.fixture(scope="module")
def opened(site):
    """What a browser shows, on a phone in the dark, and all that it complains of."""
    driver = pytest.importorskip("playwright.sync_api", reason="pip install playwright drives the browser")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, heard = browser.new_page(viewport=PHONE, color_scheme="dark"), []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        yield page, heard
        browser.close()


def test_a_browser_opens_every_page_without_a_complaint_and_nothing_sticks_out(site, opened):
    page, heard = opened
    wrong = {}
    for file in pages(site):
        page.goto(file.as_uri())
        wide, inside, empty, cut = page.evaluate(SHOWN)
        if heard or wide > inside or empty or cut:
            wrong[file.name] = [*heard], wide, empty, cut
        heard.clear()
    assert wrong == {}


SHOWN = """(() => {
    const formulas = [...document.querySelectorAll('article math')].filter(one => one.checkVisibility());
    const cut = one => one.getBoundingClientRect().right > innerWidth && !one.closest('.formula, .long, table');
    return [document.documentElement.scrollWidth, innerWidth,
        formulas.filter(one => one.getBoundingClientRect().width < 2).length,
        formulas.filter(cut).map(one => one.outerHTML)];
})()"""
"""How wide the page is, how wide the window, how many formulas are not to be seen, and those that are cut off."""


def test_a_browser_finds_truncation_from_a_folder(site, opened):
    page, _ = opened
    page.goto((site / "search.html").as_uri() + "?q=truncation")
    page.wait_for_selector("#search-results li a[href*='advantages.html']")


def test_every_symbol_has_a_meaning_where_the_table_says(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book")
    table = import_module("symbol_table")
    assert (table.unsaid(), table.astray()) == (set(), [])
    assert table.symbols(r"$\gamma^{k - t} r_k$ and $`x_b`$") == {r"\gamma", "k", "t", "r", "x", "b"}


def test_a_bold_letter_is_another_letter_than_a_plain_one(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book")
    mathml = import_module("mathml")
    bold, plain = (mathml.set_as_mathml(letter, "inline") for letter in (r"\boldsymbol{\theta}", r"\theta"))
    assert ("<mi>\N{MATHEMATICAL BOLD ITALIC SMALL THETA}</mi>" in bold, "<mi>&#x003B8;</mi>" in plain) == (True, True)


def test_every_work_that_a_clause_cites_is_in_the_bibliography(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book")
    pages = import_module("generated_pages")
    assert [row for row in pages.bibliography() if row.startswith("| Ye et al. (2020) |")]
    assert [*pages.unlisted("Shannon (1948), Ye et al. 2020, and Nobody & Noone (2020)")] == ["Noone (2020"]
