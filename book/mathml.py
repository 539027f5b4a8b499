"""Formulas as MathML, which browsers set without a script, a font or a network."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

from rlspec.spec.formulas import plain

BEFORE_CONTENTS = 400
"""The place among what is done to a page that was read: before Sphinx copies its titles."""
NAMED = re.compile(r"(<mi>(?:log|exp|min|max|tanh|arcsin)</mi>)(?=<m)(?!<mo)")
ABSOLUTE = re.compile(r"(?<![\w.)}\]'|])\|(?=[^\s|])([^|]+)\|")
"""An absolute value, or a length: bars that begin where no letter or bracket ends, unlike that of a condition."""
LONG = 40
"""As many characters of TeX as fit beside other words on a phone; what is longer scrolls by itself there."""
AFTER_SIGN = re.compile(r"(?<=</mo>)(?<!&#x00029;</mo>)(?<!]</mo>)(?<!&#x0007C;</mo>)<mo>&#x02212;</mo>")
"""A minus behind another sign or an opening bracket, which is no difference, so that no space belongs around it."""
BOLD = re.compile(r'<mi mathvariant="bold-italic">&#x00(3[BC][0-9A-F]);</mi>')
"""A bold Greek letter, which browsers set as an ordinary one: to them it is another letter, and no variant."""
FROM_GREEK_TO_BOLD = 0x1D736 - 0x3B1
MINUS = '<mo form="prefix">&#x02212;</mo>'
BAR = "<mo>&#x0007C;</mo>"
BAR_ALONE = '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo>'


def set_as_mathml(formula: str, display: str) -> str:
    """A formula as MathML.

    Between a function's name and what it is of there is a space where no bracket stands, and within the bars of an
    absolute value there is none, nor after the minus of a negative number.
    """
    mathml = AFTER_SIGN.sub(MINUS, convert(ABSOLUTE.sub(r"\\lvert \1\\rvert ", formula), display=display))
    mathml = BOLD.sub(lambda letter: f"<mi>{chr(int(letter[1], 16) + FROM_GREEK_TO_BOLD)}</mi>", mathml)
    return NAMED.sub(r'\1<mspace width="0.17em"/>', mathml.replace(BAR, BAR_ALONE))


class math(nodes.math):  # noqa: N801, Sphinx finds what sets a formula by the name of its class
    """A formula in a title, of which the search and the windows' names have the plain letters."""

    def astext(self) -> str:
        """The formula in plain letters."""
        return plain(f"${super().astext()}$")


def note_titles(app: Sphinx, document: nodes.document) -> None:
    """Make the formulas in titles such."""
    for title in document.findall(nodes.title):
        for formula in list(title.findall(nodes.math)):
            formula.replace_self(math(formula.rawsource, nodes.math.astext(formula).strip("`")))


def inline(writer: Any, node: nodes.math) -> None:
    """A formula within a line; backquotes at its ends hide its underscores from Markdown."""
    formula = nodes.math.astext(node).strip("`")
    mathml = set_as_mathml(formula, "inline")
    writer.body.append(f'<span class="long">{mathml}</span>' if len(formula) > LONG else mathml)
    raise nodes.SkipNode


def block(writer: Any, node: nodes.math_block) -> None:
    """A formula on a line of its own, which scrolls by itself where the page is narrow."""
    writer.body.append(f'<div class="formula">{set_as_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("doctree-read", note_titles, priority=BEFORE_CONTENTS)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
