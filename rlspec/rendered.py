"""Pages made from records: one run's report and the comparison of several, in HTML and in Markdown.

A page of HTML is complete in itself: it loads nothing, runs nothing, and what a candidate says of itself is text in it.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from .drawn import picture, strips
from .lines import sentence
from .loading import one_line
from .options import drawn_in_words
from .reproduction import script
from .run_record import Mistake, Record, Violation
from .sarif import sarif
from .spec.clauses import CHAPTERS, clauses
from .spec.operations import OPERATIONS
from .verdicts import VERDICTS, differences

SIGNS = {
    "holds": "✓", "violated": "✗", "known": "!", "stale": "?", "declined": "–", "absent": " ", "untested": "·",
}  # fmt: skip
"""A sign for each verdict, for those who see no colours."""

FEW = 4
"""So many operations are named in a headline; of more, how many they are."""

WORST_FIRST = ("violated", "stale", "known", "holds", "declined", "untested", "absent")
"""The verdicts in the order in which they are told."""


@cache
def environment() -> Environment:
    """Where templates are, and what they may call."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "line": one_line,
        "cell": cell,
        "linked": linked,
        "drawings": drawings,
        "scalars": scalars,
        "sign": SIGNS.__getitem__,
    }
    made.filters |= {"breakable": breakable, "sentence": sentence, "prose": prose, "marked": marked}
    made.filters |= {"script": script, "title": title, "called": called, "code": code}
    made.globals |= {"verdict_names": WORST_FIRST, "plural": {"holds": "hold"}, "drawn_in_words": drawn_in_words}
    return made


def report(record: Record, kind: str) -> str:
    """The report on one run.  kind: ``.html``, ``.md`` or ``.sarif``."""
    if kind == ".sarif":
        return sarif(record)
    by_chapter = {
        chapter.replace("_", " "): {
            id: found for id, found in record.clauses.items() if id in clauses() and clauses()[id].chapter == chapter
        }
        for chapter in CHAPTERS
    }
    mistakes = record.mistakes()
    operations = {name: found for name, found in record.operations.items() if found}
    return (
        environment()
        .get_template(f"report{kind}")
        .render(
            record=record,
            said={
                "problem": "",
                "interrupted": False,
                "stale": {},
                "known_failures": {},
                "versions": {},
                **record.said,
            },
            mistakes=[(one, all(record.verdicts[id] == "known" for id in one.clauses)) for one in mistakes],
            headline=headline(record, mistakes),
            chapters={chapter: found for chapter, found in by_chapter.items() if found},
            operations={name: (overall(found.values()), found) for name, found in operations.items()},
            absent=[name for name in OPERATIONS if name not in operations] if operations else [],
            untested=reasons(record),
            counts=counts(record),
        )
    )


def comparison(records: Sequence[Record], kind: str) -> str:
    """Several candidates side by side, by operation and by clause; and what changed, if they are two of the same name.

    kind: ``.html`` or ``.md``.
    """
    operations = [name for name in OPERATIONS if any(name in record.operations for record in records)]
    by_operation = {
        name: [
            overall(record.operations[name].values()) if name in record.operations else "absent" for record in records
        ]
        for name in operations
    }
    ids = [id for id in clauses() if any(record.verdicts.get(id) in TOLD for record in records)]
    by_clause = {id: [record.verdicts.get(id, "untested") for record in records] for id in ids}
    return (
        environment()
        .get_template(f"compare{kind}")
        .render(
            records=records,
            by_operation=by_operation,
            by_clause=by_clause,
            changes=_changes(records),
            mistakes=[record.mistakes() for record in records],
            counts=[counts(record) for record in records],
        )
    )


def _changes(records: Sequence[Record]) -> list[str] | None:
    """What changed from the first record to the second, if there are two of the same candidate."""
    if len(records) != 2 or records[0].name != records[1].name:
        return None
    return differences(records[0].verdicts, records[1].verdicts)


TOLD = ("holds", "violated", "known", "stale", "declined")
"""The verdicts that say something of a candidate."""


def headline(record: Record, mistakes: Sequence[Mistake]) -> str:
    """What there is to be said first, in a sentence."""
    open_ones = set(record.of("violated"))
    counted = [one for one in mistakes if open_ones.intersection(one.clauses)]
    if counted:
        wrong = [*dict.fromkeys(one.operation for one in counted if one.operation)]
        many = f"{len(counted)} mistake{'s' if len(counted) > 1 else ''}"
        if len(wrong) > FEW:
            return f"{many} in {len(wrong)} operations"
        return f"{many} in {_listed(wrong)}" if wrong else many
    if record.of("stale") or record.said.get("stale"):
        return "A known failure is none any more"
    if not record.tested:
        return "Nothing was tested"
    known = " except for what is known" if mistakes else ""
    return f"All that was tested holds{known}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def overall(verdicts: Iterable[str]) -> str:
    """One verdict for several: the worst that says something."""
    found = {*verdicts}
    return next((verdict for verdict in WORST_FIRST if verdict in found), "untested")


def counts(record: Record) -> dict[str, int]:
    """How many clauses have each verdict."""
    return {name: len(found) for name in VERDICTS if (found := record.of(name))}


def reasons(record: Record) -> dict[str, list[str]]:
    """The clauses that were not tested though there was something to be asked, by the reason."""
    found: dict[str, list[str]] = {}
    for id in record.of("untested", "declined"):
        found.setdefault(record.clauses[id].get("message") or "no property of it was run", []).append(id)
    return found


def title(id: str) -> str:
    """A clause's title."""
    return clauses()[id].title if id in clauses() else "a clause that this rlspec has not"


def called(one: Violation) -> str:
    """The call that shows a violation, an argument to a line."""
    arguments = one.found.get("arguments", {})
    widest = max(map(len, arguments), default=0)
    lines = [f"    {name:{widest}} = {text}," for name, text in arguments.items()]
    return "\n".join([f"{one.operation}(", *lines, ")"]) if lines else ""


def scalars(one: Violation) -> str:
    """The arguments that are no arrays, as ``gamma = 1, lam = 0.5``."""
    arguments = one.found.get("arguments", {})
    return ", ".join(f"{name} = {text}" for name, text in arguments.items() if not text.startswith("["))


def drawings(one: Violation) -> list[tuple[str, Markup]]:
    """The rows of a violation's input, each with its title."""
    drawn = strips(one.operation, one.found)
    words = f"{one.operation}: {one.found.get('message', '')}"
    return [(strip.title, Markup(picture(strip, one_line(words)))) for strip in drawn]


def linked(seen: str) -> str:
    """The address of a place where a mistake was seen; empty, if it is not on the web."""
    if re.fullmatch(r"https?://\S+", seen):
        return seen
    issue = re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", seen)
    return f"https://github.com/{issue[1]}/issues/{issue[2]}" if issue else ""


def breakable(name: str) -> Markup:
    """An operation's name in HTML, which may go on in another line after an underscore."""
    return escape(name).replace("_", Markup("_<wbr>"))


def prose(text: str) -> Markup:
    """A sentence in HTML, with code where it has grave accents."""
    parts = one_line(text).split("`")
    if len(parts) % 2 == 0:
        return escape(one_line(text))
    said = [Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts)]
    return Markup("").join(said)


def marked(text: str) -> str:
    """A sentence in Markdown, with code where it has grave accents, and nothing else that is mark-up."""
    parts = one_line(text).split("`")
    if len(parts) % 2 == 0:
        return cell(text)
    return "".join(f"`{part}`" if odd % 2 else _spaced(part) for odd, part in enumerate(parts))


def _spaced(part: str) -> str:
    """A part of a sentence in Markdown, with the blanks at its ends."""
    return f"{' ' * part.startswith(' ')}{cell(part)}{' ' * (part.endswith(' ') and bool(part.strip()))}"


def cell(text: object) -> str:
    """A text as it stands in Markdown, in a table as well: nothing in it is mark-up."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~>-])", r"\\\1", one_line(str(text)))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def code(text: object) -> str:
    """A text as code in Markdown, whatever quotation marks it has."""
    said = one_line(str(text)).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", said)), default=0) + 1)
    return f"{fence} {said} {fence}" if "`" in said else f"`{said}`"
