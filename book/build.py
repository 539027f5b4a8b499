"""Builds the book: python book/build.py [FOLDER].

In FOLDER, by default build/book, there is then the site, which begins with site/index.html, and rlspec.pdf.  With
--site it is the site alone.  First the examples of all pages and docstrings are run, and there is no book if one prints
anything but what stands there.  Sphinx makes both, and chromium prints the second; a warning is an error.
"""

import argparse
import html
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

BOOK = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
NEEDED = ("sphinx", "myst_parser", "furo", "latex2mathml", "matplotlib", "ziamath", "pikepdf", "sybil")
EXAMPLES = ("spec", "book", "tests/test_docstrings.py")
"""What pytest is given, so that it runs every example that the book shows."""
HEADING = re.compile(r"=+ (?:FAILURES|ERRORS) =+\n")
UNTRUE = "The book is not built: an example does not print what stands below it.\n"
NO_PACKAGES = 'The book is built by {}, which this Python has not: pip install -c constraints.txt -e ".[book]"'
NO_BROWSER = (
    "There is no PDF: chromium, which prints it, is not on the PATH.  Install it (on Debian: apt install chromium), or "
    f"any of {', '.join(BROWSERS[1:])}; or ask for the site alone, with --site."
)
LINK = '<a class="reference internal" href="'
ENTRY = re.compile(rf'({LINK}#([^"]+)">.*?</a>)', re.DOTALL)
CLAUSE_ENTRY = re.compile(rf'<li class="toctree-l\d">{LINK}#[A-Z]{{2,5}}-\d+">.*?</a></li>', re.DOTALL)
TWICE = re.compile(r'href="#document-[^"#]+(#[^"]+)"')
"""A link to a place on a page, where all pages have become one."""


def browser() -> str | None:
    """The path of a browser that prints, if there is one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def untrue() -> str:
    """What pytest says of the first example that does not print what stands below it; nothing, if they all do."""
    command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "--no-header", "-rN", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *EXAMPLES], cwd=BOOK.parent, capture_output=True, text=True)
    return HEADING.split(done.stdout + done.stderr)[-1].strip() if done.returncode else ""


def sphinx(folder: Path, *arguments: str) -> None:
    """Let Sphinx write the book into a folder.  Raises CalledProcessError if it warns of anything."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(BOOK), *arguments]
    pages_read = folder.with_name(f"{folder.name}-read")
    subprocess.run([*command, "-d", str(pages_read), str(BOOK.parent), str(folder)], check=True)


def site(folder: Path) -> Path:
    """Write the site, and return its first page."""
    sphinx(folder / "site")
    return folder / "site" / "index.html"


def pdf(folder: Path, chromium: str) -> Path:
    """Write the PDF, and return it.

    It is printed twice: the first time to see which page each entry of the table of contents is on.
    """
    sphinx(folder / "print", "-b", "singlehtml", "-t", "print")
    page, printed = folder / "print" / "book" / "print.html", folder / "rlspec.pdf"
    text = TWICE.sub(r'href="\1"', page.read_text(encoding="utf-8"))
    text = CLAUSE_ENTRY.sub("", text)  # which the outline has
    page.write_text(numbered(text, {}), encoding="utf-8")
    print_page(chromium, page, printed)
    page.write_text(numbered(text, pages_of(printed)), encoding="utf-8")
    print_page(chromium, page, printed)
    pack(printed)
    return printed


def print_page(chromium: str, page: Path, printed: Path) -> None:
    """Let a browser print a page to a file, with an outline.  Raises CalledProcessError if it fails."""
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    outline = ["--generate-pdf-document-outline", f"--print-to-pdf={printed}"]
    subprocess.run([*command, *outline, page.as_uri()], check=True, capture_output=True)


def pages_of(printed: Path) -> dict[str, int]:
    """The number of the page on which each target of a link stands."""
    import pikepdf

    with pikepdf.open(printed) as document:
        numbers = {page.objgen: number for number, page in enumerate(document.pages, 1)}
        return {name.removeprefix("/"): numbers[to[0].objgen] for name, to in document.Root.Dests.items()}


def pack(printed: Path) -> None:
    """Make the file a quarter as large: chromium leaves the tags for screen readers as they are."""
    import pikepdf

    with pikepdf.open(printed, allow_overwriting_input=True) as document:
        document.save(printed, object_stream_mode=pikepdf.ObjectStreamMode.generate)


def numbered(text: str, pages: dict[str, int]) -> str:
    """The page with the number of a page behind each entry of its table of contents, or room for one."""
    contents, end, rest = text.partition("</nav>")

    def with_number(entry: re.Match[str]) -> str:
        return f'{entry[1]}<span class="page">{pages.get(html.unescape(entry[2]), "000")}</span>'

    return ENTRY.sub(with_number, contents) + end + rest


def main() -> int:
    """Build what the command line asks for, and say where it is."""
    parser = argparse.ArgumentParser(prog="python book/build.py", description="Builds the book: a site and a PDF.")
    parser.add_argument("folder", nargs="?", type=Path, default=BOOK.parent / "build" / "book", metavar="FOLDER")
    parser.add_argument("--site", action="store_true", help="the site alone, for which no browser is needed")
    asked = parser.parse_args()
    folder, chromium = asked.folder.resolve(), browser()
    if lacking := [name for name in NEEDED if find_spec(name) is None]:
        return failed(NO_PACKAGES.format(", ".join(lacking)))
    if chromium is None and not asked.site:
        return failed(NO_BROWSER)
    if said := untrue():
        return failed(UNTRUE + said)
    try:
        print(f"The site begins with {site(folder)}")
        if chromium and not asked.site:
            print(f"The PDF is {pdf(folder, chromium)}")
    except subprocess.CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace")
        return failed(f"The book is not built: {error.cmd[0]} ended with {error.returncode}.\n{said}")
    return 0


def failed(why: str) -> int:
    """Say why there is no book; the exit status that says so, too."""
    print(why, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
