"""The chapters read as they are written: what Markdown makes of them, and what a specification does not say."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from rlspec.spec import clauses as reading
from rlspec.spec.clauses import CHAPTERS, clauses
from rlspec.spec.formulas import FORMULA, plain

SPEC = Path(reading.__file__).parent
BOOK = Path(__file__).parents[1] / "book"
FRONT = ("outcome", "score", "variance", "bootstrapping", "language_models", "answers", "choose")
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)

UNVERIFIED = re.compile(r"\b(not|never) (been )?(looked up|checked|verified)\b")


def text_of(page):
    folder = BOOK if page in FRONT else SPEC
    return (folder / f"{page}.md").read_text(encoding="utf-8")


def rendered(markdown):
    """Every block and every inline element, each with its block's first line."""
    for block in MarkdownIt("commonmark").enable("table").parse(markdown):
        line = block.map[0] + 1 if block.map else None
        yield line, block
        yield from ((line, child) for child in block.children or ())


def born_by_accident(markdown):
    """What a renderer makes of the text that nobody wrote: lists, quotations, headings, HTML, emphasis inside words.

    Chapters have no lists and quotations, headings begin with #, and emphasis is written with asterisks around words.
    """
    lines = markdown.splitlines()
    for line, token in rendered(markdown):
        if token.type in (
            "bullet_list_open",
            "ordered_list_open",
            "blockquote_open",
            "hr",
            "html_block",
            "html_inline",
        ):
            yield line, token.type
        elif token.type == "heading_open" and not lines[line - 1].startswith("#"):
            yield line, "a heading that is underlined"
        elif token.type in ("em_open", "strong_open") and token.markup.startswith("_"):
            yield line, "underscores that are gone"
        elif token.type == "inline" and (word := inside_a_word(token)):
            yield line, f"emphasis inside {word!r}"


def inside_a_word(block: Token):
    """The text before emphasis that has no space after it, if there is such a text."""
    children = block.children or []
    for before, token in pairwise(children):
        if token.type in ("em_open", "strong_open") and re.search(r"\w$", before.content):
            return before.content
    return None


@every_chapter
def test_nothing_is_rendered_that_was_not_written(chapter):
    assert [f"spec/{chapter}.md:{line}: {what}" for line, what in born_by_accident(text_of(chapter))] == []


@pytest.mark.parametrize("page", FRONT)
def test_no_underscore_of_a_formula_is_taken_for_emphasis(page):
    assert [line for line, what in born_by_accident(text_of(page)) if what == "underscores that are gone"] == []


@pytest.mark.parametrize(
    ("markdown", "what"),
    [
        ("With H\n- t rewards left.", "bullet_list_open"),
        ("The sum\n+ 1 is right.", "bullet_list_open"),
        ("This is\n1. And so on.", "ordered_list_open"),
        ("For t\n> 0 it is right.", "blockquote_open"),
        ("A line\n---\nand another", "a heading that is underlined"),
        ("A sum_{k}_ of it and (_b_)", "underscores that are gone"),
        ("a*b*c", "emphasis inside 'a'"),
        ("For y<t> of it", "html_inline"),
    ],
)
def test_each_accident_is_seen(markdown, what):
    assert what in [found for _, found in born_by_accident(markdown)]


def prose_of(chapter):
    """The chapter's lines with their numbers, without what is code."""
    code = False
    for number, line in enumerate(text_of(chapter).splitlines(), 1):
        code ^= line.startswith("```")
        if not code:
            yield number, re.sub(r"(?<!\$)`[^`$]*`", "", line)


AROUND = re.compile(r"(?:^|[ (\"])$"), re.compile(r"(?:$|[ .,:;)?!\"])")
"""What has to stand before a formula, and after it, for GitHub to take it for one."""
INSIDE = re.compile(r"[*<>]|\\[^A-Za-z]|^\s|\s$")
"""What Markdown may take for its own within a formula: asterisks, signs of HTML, and backslashes before punctuation."""


def missed_by_github(line):
    """What of a line with formulas is another thing on GitHub, or in plain Markdown."""
    before, after = AROUND
    for formula in FORMULA.finditer(line):
        if not before.search(line[: formula.start()]) or not after.match(line, formula.end()):
            yield f"what stands around {formula[0]}"
        if INSIDE.search(formula[1]):
            yield f"what stands in {formula[0]}"
    if "$" in FORMULA.sub("", line):
        yield "a dollar sign by itself"


@pytest.mark.parametrize("page", [*CHAPTERS, *FRONT])
def test_every_formula_is_one_for_github_too(page):
    found = {number: missed for number, line in prose_of(page) if (missed := [*missed_by_github(line)])}
    assert found == {}


@pytest.mark.parametrize("line", ["an $n$-step", "a sum$s$ of", "half $x", "$a * b$", r"$\{a\}$", "$a<b$", "$ a$"])
def test_each_formula_that_is_none_for_github_is_seen(line):
    assert [*missed_by_github(line)]


@every_chapter
def test_every_formula_has_plain_letters_for_a_terminal(chapter):
    assert not re.search(r"[$\\]", "".join(plain(line) for _, line in prose_of(chapter)).replace("\\|", ""))


@pytest.mark.parametrize(
    ("written", "letters"),
    [
        (r"$G_t = \sum_{k \ge t} \gamma^{k - t} r_k$", "G_t = sum_{k >= t} gamma^(k - t) r_k"),
        (r"$2^{-53}$, $\sqrt{x (1 - x)}$", "2^-53, sqrt(x (1 - x))"),
        (r"$`\mathbb{E}_\mu [w_{bt}] \lt 1`$", "E_mu [w_bt] < 1"),
        (r"$\mathrm{KL}(\pi^\ast \Vert \mathrm{ref})$", "KL(pi* || ref)"),
        (r"$1 - \mathrm{clip}_{\mathrm{low}}$", "1 - clip_low"),
    ],
)
def test_formulas_in_plain_letters(written, letters):
    assert plain(written) == letters


GREEK = "alpha|beta|gamma|delta|epsilon|theta|kappa|lambda|rho|sigma|tau"
NO_PROSE = re.compile(r"^```.*?^```|\$`?[^$`]+`?\$|`[^`]*`|\[[^\]]*\]\([^)]*\)", re.DOTALL | re.MULTILINE)
PLAIN = re.compile(rf"\b(?:sum|prod)_\S*|\w\^\S*|\b(?:{GREEK})\b(?!-)")
"""What a formula in plain letters has.  The lambda-return is a name."""


def formulas_in_plain_letters(markdown):
    """What of a text looks like a formula and is neither TeX nor code."""
    return PLAIN.findall(NO_PROSE.sub("", markdown))


@every_chapter
def test_no_formula_is_left_in_plain_letters(chapter):
    assert formulas_in_plain_letters(text_of(chapter)) == []


@pytest.mark.parametrize("text", ["sum_{a in K} $T(a)$", "With lambda = 0 it", "| x | x^2 / 2 |", "prod_t $p_t$"])
def test_each_formula_in_plain_letters_is_seen(text):
    assert formulas_in_plain_letters(text)


@every_chapter
def test_every_row_of_a_table_has_as_many_cells_as_its_head(chapter):
    lines = text_of(chapter).splitlines()
    cells = {number: len(re.findall(r"(?<!\\)\|", line)) for number, line in enumerate(lines, 1) if line[:1] == "|"}
    assert [f"spec/{chapter}.md:{line}" for line in cells if cells.get(line - 1, cells[line]) != cells[line]] == []


@every_chapter
def test_a_source_is_cited_without_an_apology(chapter):
    lines = " ".join(text_of(chapter).split())
    assert UNVERIFIED.findall(lines) == []


def test_the_clauses_that_a_chapter_names_are_there():
    named = {id for chapter in CHAPTERS for id in re.findall(r"\b[A-Z]{2,5}-[1-9]\d*\b", text_of(chapter))}
    assert {id for id in named if id.partition("-")[0] in {of.prefix for of in clauses().values()}} <= clauses().keys()


@pytest.mark.parametrize("room", ["reference", "properties", "candidates", "rlspec", "book"])
def test_the_clauses_that_the_code_names_are_there(room):
    prefixes = {of.prefix for of in clauses().values()}
    written = re.compile(r"(?<![\w-])([A-Z]{2,5})-[1-9]\d*\b")  # not within a fault's id, such as M-PG-30
    folder = Path(__file__).parents[1] / room
    files = [*folder.glob("*.py"), *folder.glob("*.md")]
    assert files
    named = {(file.name, found[0]) for file in files for found in written.finditer(file.read_text(encoding="utf-8"))}
    assert sorted(each for each in named if each[1].partition("-")[0] in prefixes and each[1] not in clauses()) == []


def test_a_title_stands_alone():
    leaning = re.compile(
        r"^(Nor|Not even|Even|It|Its|They|This|That|Likewise|So)\b"
        r"|^The (loss|second result) (is|has|scales)\b|, they\b| it is the\b"
    )
    titles = [of.title for of in clauses().values()]
    assert [title for title in titles if leaning.search(title)] == []
    assert len(titles) == len(set(titles))


@every_chapter
def test_what_is_not_a_law_says_so(chapter):
    assert re.findall(r'^\*\*"[^*]+', text_of(chapter), re.MULTILINE) == []


@every_chapter
def test_every_clause_that_states_a_formula_has_an_example_that_is_executed(chapter):
    parts = re.split(r"^### (?=[A-Z])", text_of(chapter), flags=re.MULTILINE)[1:]
    bare = {part.split()[0] for part in parts if ">>>" not in part} & clauses().keys()
    of_calls = chapter == "operations"  # about any operation's answer, and no formula
    assert sorted(id for id in bare if clauses()[id].level != "MAY" and not of_calls) == []
