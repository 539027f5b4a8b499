"""The pages in a real browser, Debian's chromium: complaints, widths, light and dark, keyboard and links."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

import rlspec
from rlspec import rendered
from rlspec.run_record import Record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VERDICTS = Path(rlspec.__file__).parents[1] / "candidates" / "verdicts"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
    pytest.mark.skipif(not VERDICTS.is_dir(), reason="the records are the checkout's, and rlspec is installed"),
]

NASTY = "<script>console.error(1)</script><img src=x onerror=alert(1)>\x1b[31m\n" + "long" * 60

PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 900}

PAGES = ("report.html", "compare.html")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the longest of the published reports, under a nasty name, and the comparison of all of them."""
    folder = tmp_path_factory.mktemp("pages, with ünusual letters")
    records = [Record.read(file) for file in sorted(VERDICTS.glob("*.json"))]
    longest = max(records, key=lambda one: len(one.mistakes()))
    nasty = Record({**longest.said, "candidate": NASTY})
    (folder / "report.html").write_text(rendered.report(nasty, ".html"), encoding="utf-8")
    (folder / "compare.html").write_text(rendered.comparison([nasty, *records], ".html"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    driver = pytest.importorskip("playwright.sync_api", reason="pip install playwright drives the browser")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser, file, size=DESK, scheme="light"):
    """The page as a browser shows it; whatever it complains of, or loads besides the file, is an error."""
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page, heard, asked = context.new_page(), [], []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    assert heard == []
    assert [url for url in asked if url.partition("#")[0] != file.as_uri() and not url.startswith("data:")] == []
    context.close()


@pytest.mark.parametrize("file", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_sticks_out_and_all_text_is_readable(browser, folder, file, scheme, size):
    with opened(browser, folder / file, size, scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        wide, inside = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= inside
        assert page.evaluate(SQUEEZED) == []
        smallest, faint = page.evaluate(TEXTS)
        assert smallest >= 11
        assert faint == []
        assert (page.evaluate(GROUND) < 0.2) == (scheme == "dark")


def test_on_a_phone_there_is_room_for_what_a_clause_says(browser, folder):
    with opened(browser, folder / "report.html", PHONE) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        said = "[...document.querySelectorAll('.clauses td:nth-child(3)')].map(one => one.getBoundingClientRect())"
        places = page.evaluate(f"{said}.map(one => [one.width, one.right])")
        assert min(width for width, _ in places) >= 140
        assert max(right for _, right in places) <= PHONE["width"]


COLOURS = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const parts = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
};
const linear = part => part <= 10.31475 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const ground = one => {
    for (let of = one; of; of = of.parentElement) {
        const colour = parts(getComputedStyle(of).backgroundColor);
        if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
};
"""
"""Relative luminance as WCAG 2.2 defines it, and the ground on which an element stands."""

GROUND = f"(() => {{ {COLOURS} return light(ground(document.body)); }})()"

TEXTS = f"""(() => {{ {COLOURS}
    let smallest = 99; const faint = new Set();
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {{
        const one = walk.currentNode.parentElement, style = getComputedStyle(one);
        if (!walk.currentNode.data.trim() || ['STYLE', 'SCRIPT', 'TITLE'].includes(one.tagName.toUpperCase())) continue;
        if (one.closest('svg')?.querySelector('.band0, .band1')) continue;
        smallest = Math.min(smallest, parseFloat(style.fontSize));
        const drawn = one.namespaceURI.endsWith('svg') ? style.fill : style.color;
        const [a, b] = [light(parts(drawn)), light(ground(one))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) faint.add(`${{one.tagName}}.${{one.getAttribute('class')}}: ${{contrast.toFixed(2)}}`);
    }}
    return [smallest, [...faint]];
}})()"""
"""The smallest size of letters, and the elements whose text has less contrast than the 4.5 that WCAG 2.2 wants."""


SQUEEZED = """[...document.querySelectorAll('th, td')]
    .filter(one => one.textContent.trim().length > 6 && one.checkVisibility())
    .filter(one => one.getBoundingClientRect().width < 60)
    .map(one => one.textContent.trim())"""
"""The cells of tables in which words are broken into a few letters a line."""


def test_the_keyboard_reaches_everything(browser, folder):
    with opened(browser, folder / "report.html") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "To the content"
        assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#main"
        total = page.evaluate(
            "[...document.querySelectorAll('a, summary, [tabindex]')].filter(one => one.checkVisibility()).length"
        )
        page.goto((folder / "report.html").as_uri())
        seen = set()
        for _ in range(total + 1):
            page.keyboard.press("Tab")
            tag, place, outline = page.evaluate(
                "(() => { const one = document.activeElement; return [one.tagName, "
                "[...document.querySelectorAll('*')].indexOf(one), getComputedStyle(one).outlineStyle]; })()"
            )
            if tag == "BODY":
                break
            assert outline != "none", f"the focus on a {tag} is not to be seen"
            seen.add(place)
        assert len(seen) == total


def test_what_is_folded_is_unfolded_by_enter(browser, folder):
    with opened(browser, folder / "report.html") as page:
        page.evaluate("document.querySelector('main details:not([open]) > summary').focus()")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.parentElement.open")


@pytest.mark.parametrize("file", PAGES)
def test_every_link_leads_somewhere(browser, folder, file):
    with opened(browser, folder / file) as page:
        links = page.evaluate("[...document.links].map(one => one.getAttribute('href'))")
        assert all(link.startswith(("#", "https://")) for link in links)
        for link in dict.fromkeys(link for link in links if link.startswith("#")):
            page.evaluate(f"document.querySelector('a[href=\"{link}\"]').click()")
            assert page.evaluate("document.querySelector(':target')?.checkVisibility()"), link
