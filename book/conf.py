"""How the book is built: sphinx-build -W -c book . build/book, in the root of the repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import matplotlib

import rlspec

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
root_doc = "book/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "book/*.md",
    "spec/*.md",
    "spec/vectors/README.md",
    "faults/README.md",
    "candidates/README.md",
    "adapters/README.md",
]
suppress_warnings = ["myst.header"]  # a clause is a heading of the third level, also in a chapter without sections

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 4
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "rlspec"
html_static_path = ["static", str(Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf"))]
html_extra_path = ["extra"]
html_css_files = ["book.css"]
html_js_files = ["folding.js"]
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # it fetches pages, which a browser refuses in a folder
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "monokai"
