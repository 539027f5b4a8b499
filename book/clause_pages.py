"""The chapters' clauses as parts of pages: anchors that stay, parts that fold, and links both ways."""

import re
from collections.abc import Iterator
from typing import Any

import bindings
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain

from rlspec.spec.clauses import Clause, clauses

BEFORE_CONTENTS = 400
"""The place among what is done to a page that was read: before Sphinx notes its anchors for the tables of contents."""

CLAUSE_ID = re.compile(r"(?<![\w-])[A-Z]{2,5}-[1-9]\d*(?![\w-])")


CODE = re.compile(r'(?<=<span class="pre">)[^<]+')
"""What is set as code within a line."""
WITHIN_A_NAME = re.compile(r"(?<=[A-Za-z][._])(?=[A-Za-z])")


def page_of(id: str) -> str:
    """The page that a clause stands on, as Sphinx names it."""
    return f"spec/{clauses()[id].chapter}"


def clause_sections(document: nodes.Node) -> Iterator[tuple[nodes.section, Clause]]:
    """The parts of a page that are a clause."""
    for section in list(document.findall(nodes.section)):
        id = section.next_node(nodes.title).astext().partition(" ")[0]
        if id in clauses():
            yield section, clauses()[id]


def end_with_code(app: Sphinx, document: nodes.document) -> None:
    """The empty line that ends an example for the tests is not shown."""
    for block in document.findall(nodes.literal_block):
        block.rawsource = block.astext().rstrip()  # where the two differ, Sphinx takes it for no code
        block[:] = [nodes.Text(block.rawsource)]


def give_anchors(app: Sphinx, document: nodes.document) -> None:
    """A clause's anchor is its id, and the inventory for other books has it under that name."""
    if not app.env.docname.startswith("spec/"):
        return
    domain = app.env.get_domain("std")
    assert isinstance(domain, StandardDomain)
    for section, clause in clause_sections(document):
        section["ids"].insert(0, clause.id)
        section["classes"] += ["clause", clause.level.lower()]
        domain.note_object("clause", clause.id, clause.id, location=section)


def name_apart(app: Sphinx, document: nodes.document) -> None:
    """Where all pages are printed as one, sections and pictures of the same name get anchors of their own."""
    if app.builder.name == "singlehtml":
        for named in document.findall(lambda node: isinstance(node, nodes.section | nodes.figure)):
            named["ids"] = [f"{app.env.docname}/{id}" for id in named["ids"]]


def fold_and_bind(app: Sphinx, document: nodes.document, page: str) -> None:
    """Let each clause of a page fold, and say at its end what it is bound to."""
    link_ids(app, document, page)
    for section, clause in clause_sections(document):
        section.insert(0, raw("<details open><summary>"))
        section.insert(2, raw("</summary>"))
        section += bound(app, clause, page)
        section += raw("</details>")


def raw(html: str) -> nodes.raw:
    """What only the site has."""
    return nodes.raw("", html, format="html")


def link_ids(app: Sphinx, document: nodes.document, page: str) -> None:
    """Make a link of every clause's id that a text names."""
    for text in list(document.findall(nodes.Text)):
        inside = text.parent
        if has_above(text, (nodes.reference, nodes.title, nodes.literal_block, nodes.raw)):
            continue
        parts = list(linked(app, text.astext(), page))
        if len(parts) > 1 or not isinstance(parts[0], nodes.Text):
            at = inside.index(text)
            inside.remove(text)
            for offset, part in enumerate(parts):
                inside.insert(at + offset, part)


def has_above(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    """Whether a node stands within one of these kinds."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def linked(app: Sphinx, text: str, page: str) -> Iterator[nodes.Node]:
    """A text in parts, the ids of clauses among them as links."""
    end = 0
    for found in CLAUSE_ID.finditer(text):
        if found[0] in clauses():
            if found.start() > end:
                yield nodes.Text(text[end : found.start()])
            yield link(app, page, page_of(found[0]), found[0], found[0])
            end = found.end()
    if end < len(text) or end == 0:
        yield nodes.Text(text[end:])


def link(app: Sphinx, page: str, to: str, anchor: str, text: str) -> nodes.reference:
    """A link from one page to an anchor of another."""
    uri = f"#{anchor}" if app.builder.name == "singlehtml" else f"{app.builder.get_relative_uri(page, to)}#{anchor}"
    node = nodes.reference("", "", nodes.Text(text), refuri=uri, internal=True)
    if to.startswith("spec/") and anchor in clauses():
        node["reftitle"] = clauses()[anchor].title
    return node


def bound(app: Sphinx, clause: Clause, page: str) -> nodes.container:
    """What the code has to a clause, as a list of links."""
    conventions = dict.fromkeys(choice.convention for choice in clause.choices)
    rows = [
        ("Checked by", [("book/properties", name, bindings.properties()[name].sentence)
                        for name in bindings.properties_of_clauses().get(clause.id, [])]),
        ("Known mistakes", [("book/faults", fault.id, fault.slug)
                            for fault in bindings.faults_of_clauses().get(clause.id, [])]),
        ("Left open", [("book/conventions", name, name) for name in conventions]),
        ("Test vectors", [("book/vectors", name, name) for name in bindings.vectors_of_clauses().get(clause.id, [])]),
        ("Violated by", [("book/libraries", f"{library}-{clause.id}", library)
                         for library in bindings.libraries_of_clauses().get(clause.id, [])]),
    ]  # fmt: skip
    container = nodes.container(classes=["bound"])
    for label, links in rows:
        if links and links[0][0] in app.env.found_docs:  # what is printed has fewer pages
            container += line(app, page, label, links)
    return container


def line(app: Sphinx, page: str, label: str, links: list[tuple[str, str, str]]) -> nodes.paragraph:
    """One line of it."""
    paragraph = nodes.paragraph("", "", nodes.strong("", f"{label}: "))
    for number, (to, anchor, text) in enumerate(links):
        paragraph += nodes.Text(", " if number else "")
        paragraph += link(app, page, to, anchor, text)
    return paragraph


def let_names_break(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.Node | None) -> None:
    """Let a long name in code go on in the next line, behind a dot or an underscore: a table fits on a phone then."""
    if "body" in context:
        context["body"] = CODE.sub(lambda code: WITHIN_A_NAME.sub("<wbr>", code[0]), context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_crossref_type("clause", "clause")
    app.connect("doctree-read", end_with_code)
    app.connect("doctree-read", name_apart, priority=BEFORE_CONTENTS)
    app.connect("doctree-read", give_anchors, priority=BEFORE_CONTENTS)
    app.connect("doctree-resolved", fold_and_bind)
    app.connect("html-page-context", let_names_break)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
