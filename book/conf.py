"""How the book is built: python book/build.py; with the tag `print`, as the one page that the PDF is printed from."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import ziamath

import rlspec
from rlspec.spec.clauses import clauses

TO_PRINT = tags.has("print")  # noqa: F821

project = "rlspec"
author = "the authors of rlspec"
project_copyright = "the authors of rlspec, Apache-2.0"
release = version = rlspec.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "clause_pages",
    "generated_pages",
    "mathml",
    "plain_docstrings",
    "pictures",
]
root_doc = "book/print" if TO_PRINT else "book/index"
include_patterns = ["book/*.md", "spec/*.md"]
if TO_PRINT:
    exclude_patterns = [f"book/{page}.md" for page in ("index", "api", "python", "properties", "vectors")]
else:
    exclude_patterns = ["book/print.md"]
    include_patterns += ["README.md", "CONTRIBUTING.md"]
    include_patterns += [f"{folder}/README.md" for folder in ("spec/vectors", "faults", "candidates", "adapters")]
suppress_warnings = ["myst.header"]  # a clause is a heading of the third level, also in a chapter without sections
if TO_PRINT:
    suppress_warnings += ["myst.xref_missing"]  # a link to a page that is not printed is its text

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 4
myst_fence_as_directive = ["math"]  # which is how GitHub has formulas on lines of their own
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True

html_theme = "basic" if TO_PRINT else "furo"
html_title = "rlspec"
html_static_path = ["static", str(Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf")]
templates_path = ["print"] if TO_PRINT else []
html_context = {"clauses_in_all": len(clauses())}
html_extra_path = ["extra"]
html_css_files = ["book.css"]
html_js_files = ["folding.js"]
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # it fetches pages, which a browser refuses in a folder
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "monokai"
