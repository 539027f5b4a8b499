"""The pages that are read from the code: a comment such as <!-- generated: faults --> stands for the table.

<!-- clauses: ADV-3 ADV-4 --> stands for a list of these clauses, which a section leads to.
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec

import bindings
import symbol_table
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from works import LOOKED_UP, WORKS

from rlspec.faults import museum
from rlspec.spec.clauses import CHAPTERS, choices, clauses
from rlspec.spec.operations import OPERATIONS

MARK = re.compile(r"<!-- generated: (\w+) -->")
LEADING = re.compile(r"<!-- clauses: ([A-Z0-9 -]+) -->")
ISSUE = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")
FOLDER = re.compile(r"\[([^\]]+)\]\(\w+\)")
"""A link to a folder, which a repository's browser shows and a book cannot."""
PLACE = re.compile(
    r"(?:eqs?\.|sections?|appendix|theorems?|lemma|algorithm|proposition|remark|exercise|table)"
    r" [A-Z]?\.?\d[\d.]*(?<!\.)(?:(?:, | and | to )\d[\d.]*(?<!\.))*|appendix [A-Z]\b"
)
"""A place in a work, as clauses name it."""
CITED = re.compile(r"\b(?:al\.|[A-Z][\w-]+),? \(?(?:19|20)\d\d[a-z]?\b")
"""The end of a citation: the last author's name, and the year."""
COMMIT = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{7,})")


def leading_to(ids: str, printed: bool) -> str:
    """A list of clauses that unfolds, in Markdown; on paper it is unfolded."""
    unfolded = " open" if printed else ""
    found = [clauses()[id] for id in ids.split()]
    listed = "\n".join(f"- {clause.id} {clause.title_in_tex}" for clause in found)
    return f'<details class="leading"{unfolded}>\n<summary>The clauses</summary>\n\n{listed}\n\n</details>'


def anchor(name: str) -> str:
    """An anchor, in Markdown."""
    return f'<a id="{name}"></a>'


def cell(text: str) -> str:
    """A text as a cell of a table."""
    return re.sub(r"([|*_<>\[\]$])", r"\\\1", " ".join(text.split()))


def titled(chapter: str) -> str:
    """A chapter's heading."""
    return f"\n## {chapter.replace('_', ' ').capitalize()}\n"


def sightings(seen: tuple[str, ...]) -> str:
    """Where a fault was seen, as links."""
    return ", ".join(map(sighting, seen)) or "made up here"


def sighting(seen: str) -> str:
    """One of them."""
    if issue := ISSUE.fullmatch(seen):
        return f"[{cell(seen)}](https://github.com/{issue[1]}/issues/{issue[2]})"
    if commit := COMMIT.fullmatch(seen):
        return f"[{cell(seen)}](https://github.com/{commit[1]}/commit/{commit[2]})"
    return f"[{cell(seen.removeprefix('https://'))}]({seen})" if seen.startswith("http") else cell(seen)


def faults() -> Iterator[str]:
    """The museum, a table for each chapter."""
    for chapter in CHAPTERS:
        inside = [fault for fault in museum().values() if clauses()[fault.clause].chapter == chapter]
        if inside:
            yield titled(chapter)
            yield "| fault | operation | clause | what it does | seen |\n|---|---|---|---|---|"
        for fault in inside:
            yield (f"| {anchor(fault.id)}{fault.id} `{fault.slug}` | `{fault.operation}` | {fault.clause} "
                   f"| {cell(fault.effect)} | {sightings(fault.seen)} |")  # fmt: skip


def properties() -> Iterator[str]:
    """The properties, a table for each chapter."""
    for chapter in CHAPTERS:
        inside = {name: one for name, one in bindings.properties().items() if one.chapter == chapter}
        if inside:
            yield titled(chapter)
            yield "| property | clauses |\n|---|---|"
        for name, one in inside.items():
            yield f"| {anchor(name)}{one.sentence} | {', '.join(bindings.clauses_of_properties()[name])} |"


def conventions() -> Iterator[str]:
    """The conventions with their choices."""
    where = {choice.convention: clause.id for clause in clauses().values() for choice in clause.choices}
    yield "| convention | choices, the default first | clause |\n|---|---|---|"
    for name, of in choices().items():
        texts = ", ".join(f"`{choice.text}`".replace("|", "\\|") for choice in of)
        yield f"| {anchor(name)}`{name}` | {texts} | {where[name]} |"


def vectors() -> Iterator[str]:
    """The files of test vectors."""
    yield "| operation | result | clauses |\n|---|---|---|"
    for name, ids in bindings.clauses_of_vectors().items():
        text = cell(OPERATIONS[name].text) if name in OPERATIONS else ""
        yield f"| {anchor(name)}[{name}](../spec/vectors/{name}.json) | {text} | {', '.join(ids)} |"


def libraries() -> Iterator[str]:
    """What the suite found in the libraries: a table for each."""
    for library, run in bindings.verdicts().items():
        verdicts = [said["verdict"] for said in run["clauses"].values()]
        yield f"\n## {run['candidate']}\n"
        yield f"{verdicts.count('holds')} clauses hold and {verdicts.count('violated')} are violated.\n"
        yield "| clause | level | what it says | what was found |\n|---|---|---|---|"
        for id, said in run["clauses"].items():
            if said["verdict"] in bindings.VIOLATIONS:
                yield (f"| {anchor(f'{library}-{id}')}{id} | {said['level']} | {clauses()[id].title_in_tex} "
                       f"| {cell(said.get('operation', ''))}: {cell(said['message'])} |")  # fmt: skip


def symbols() -> Iterator[str]:
    """The symbols of the formulas, and what they mean."""
    yield from symbol_table.table()


def bibliography() -> Iterator[str]:
    """The works with the places in them that clauses cite, and these clauses.

    Raises ValueError for a work that no clause cites, and for a citation of none of these works.
    """
    if missing := sorted({cited for text in bindings.texts().values() for cited in unlisted(text)}):
        raise ValueError(f"these are cited, and book/works.py has no such works: {', '.join(missing)}")
    yield "| work | title | looked up | clauses |\n|---|---|---|---|"
    for work, title in WORKS.items():
        citing = [id for id, text in bindings.texts().items() if cites(text, work)]
        if not citing:
            raise ValueError(f"no clause cites {work}")
        yield f"| {work} | {cell(title)} | {cell(looked_up(work))} | {', '.join(citing)} |"


def looked_up(work: str) -> str:
    """The places of a work that clauses name, each of which was looked up; or what else was, or that nothing was."""
    places = dict.fromkeys(place for text in bindings.texts().values() for place in places_in(text, work))
    return ", ".join(places) or next((what for what, works in LOOKED_UP.items() if work in works), "no")


def places_in(text: str, work: str) -> Iterator[str]:
    """The equations, sections and theorems of a work that a text names after it, up to the next work or sentence."""
    for named in naming(work).split(text)[1:]:
        yield from PLACE.findall(re.split(r";|\.  ?(?=[A-Z])|\(\d{4}", named)[0])


def chapters() -> Iterator[str]:
    """The chapters, as a part of the table of contents."""
    yield "```{toctree}\n:caption: What is true\n:maxdepth: 1\n"
    yield from (f"../spec/{chapter}" for chapter in CHAPTERS)
    yield "```"


def reference() -> Iterator[str]:
    """The functions of each chapter, and of the exact moments."""
    for name in (*CHAPTERS, "moments"):
        if find_spec(f"rlspec.reference.{name}"):
            yield titled(name)
            yield f"```{{eval-rst}}\n.. automodule:: rlspec.reference.{name}\n   :members:\n```"


def cites(text: str, work: str) -> bool:
    """Whether a text names a work."""
    return bool(naming(work).search(text))


def unlisted(text: str) -> Iterator[str]:
    """What a text cites, as the last author's name and the year, that is none of the works."""
    listed = {found.end() for work in WORKS for found in naming(work).finditer(text)}
    yield from (found[0] for found in CITED.finditer(text) if found.end() not in listed)


def naming(work: str) -> re.Pattern[str]:
    """How texts name a work: Owen (2013), Owen (2013, chapter 9), or, within brackets, Owen 2013."""
    authors, _, year = work.removesuffix(")").partition(" (")
    return re.compile(rf"{re.escape(authors)} \(?{year}\b")


TABLES = {
    table.__name__: table
    for table in (faults, symbols, properties, conventions, vectors, libraries, bibliography, chapters, reference)
}


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the tables where a page asks for them."""
    with_tables = MARK.sub(lambda mark: "\n".join(TABLES[mark[1]]()), FOLDER.sub(r"\1", source[0]))
    source[0] = LEADING.sub(lambda mark: leading_to(mark[1], app.tags.has("print")), with_tables)


def all_pages(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> set[str]:
    """Every page is read anew: what it says of the code may have changed where its text has not."""
    return {*env.found_docs}


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("env-get-outdated", all_pages)
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
