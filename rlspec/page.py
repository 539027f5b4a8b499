"""What ``rlspec check`` prints: a page for a person, with the mistake first, an operation to a block."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

import pytest

from . import report
from .first_look import Looked
from .harness import FOLDER, LOOKED, MODULE, TRIAL, Trial
from .lines import MARGIN, Line, sentence, several, unexplained, wrapped
from .options import drawn_in_words
from .spec.clauses import clauses
from .spec.operations import OPERATIONS
from .verdicts import (
    NOTHING_ASKED,
    NOTHING_JUDGED,
    Outcome,
    counted,
    excuse,
    missing,
    operation_of,
    set_aside,
)
from .worked import upright

LINKS = 3
"""How many of the places where a mistake was seen are named, unless all are asked for."""

FEW = 6
"""How many absent operations are named, unless all are asked for."""


SHORT = 60
"""Characters of arguments that are said in the sentence before a table of the others."""


@dataclass
class Block:
    """What one mistake does: the violations that have the same explanation."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def plainest(self) -> Outcome:
        """The violation with the smallest input, if possible one that says what was expected."""

        def size(outcome: Outcome) -> tuple[bool, int]:
            return "expected" not in outcome.evidence, len(str(outcome.evidence.get("arguments")))

        return min(self.outcomes, key=size)

    @property
    def ids(self) -> list[str]:
        """The clauses that it breaks, in the chapters' order."""
        broken = {id for outcome in self.outcomes for id in outcome.clauses}
        return [id for id in clauses() if id in broken]

    @property
    def mistakes(self) -> list[Mapping[str, Any]]:
        """What explains it: one mistake, or several that do the same; or what kind of thing is wrong."""
        return list(self.plainest.evidence.get("diagnosis", []))

    @property
    def explained(self) -> bool:
        """Whether it is known what is wrong."""
        return any(mistake["explained"] for mistake in self.mistakes)

    def names(self) -> set[Any]:
        """What each mistake that explains it is recognised by; all that is not explained is one."""
        said = {_recognised(mistake) for outcome in self.outcomes for mistake in outcome.evidence.get("diagnosis", [])}
        return said or {outcome.message for outcome in self.outcomes}

    @property
    def anywhere(self) -> str:
        """What the mistake is recognised by in any operation, as it may be in something that several share."""
        shown = self.plainest.evidence
        if not self.mistakes or not shown.keys() & {"expected", "actual"}:
            return ""
        first = self.mistakes[0]
        if first["explained"] and not first["edited"]:
            return ""  # known mistakes are of one operation
        return "" if first.get("numbers") else _OF_ONE_RESULT.sub("as if the result ", first["words"])


_OF_ONE_RESULT = re.compile("^as if (all results|`loss`|`value`) ")
"""How a change of what an operation answers begins, where it has several results."""


def _makers(found: Mapping[str, Sequence[Block]]) -> dict[str, list[str]]:
    """The operations that make a mistake, by what it is recognised by in any."""
    makers: dict[str, list[str]] = {}
    for name, of in found.items():
        for recognised in dict.fromkeys(block.anywhere for block in of if block.anywhere):
            makers.setdefault(recognised, []).append(name)
    return makers


def _recognised(mistake: Mapping[str, Any]) -> Any:
    if not mistake["explained"]:
        return None
    known = frozenset(fault["id"] for fault in mistake["faults"])
    return known or mistake["words"]


def blocks(outcomes: Iterable[Outcome]) -> list[Block]:
    """The violations of one operation, a block for each mistake: what MUST hold first, then what is explained."""
    found: list[Block] = []
    for outcome in outcomes:
        new = Block([outcome])
        for other in [block for block in found if block.names() & new.names()]:
            found.remove(other)
            new.outcomes = other.outcomes + new.outcomes
        found.append(new)

    def last(block: Block) -> tuple[bool, bool, int]:
        return all(clauses()[id].level == "SHOULD" for id in block.ids), not block.explained, -len(block.ids)

    return sorted(found, key=last)


class Page:
    """The page on one trial.

    width: columns of the terminal.  everything: whether to show each clause, and all links.
    """

    def __init__(self, trial: Trial, width: int, everything: bool = False) -> None:
        self.trial = trial
        self.width = width
        self.everything = everything
        self.outcomes = set_aside(trial.outcomes)
        self.verdicts = trial.verdicts()
        self.findings = trial.looked.findings

    def lines(self) -> Iterator[Line]:
        """All of it, but for what the first look has said."""
        if self.trial.problem and self.trial.problem != self.trial.looked.problem:
            yield from wrapped(self.width, self.trial.problem, "", "red")
        charged = self._charged()
        found = {name: blocks(charged[name]) for name in OPERATIONS if name in charged}
        makers = _makers(found)
        for name, of in found.items():
            yield from self._wrong(name, of, makers)
        for block in blocks(charged.get("", [])):
            yield from self._block(block, self._causes(block))
        yield from self._right(charged)
        yield from self._left_out()
        if self.everything:
            yield from self._clause_by_clause()
        yield from self._end(charged)

    def _charged(self) -> dict[str, list[Outcome]]:
        """The violations by operation, but for those of the first look."""
        found: dict[str, list[Outcome]] = {}
        for outcome in sorted(self.outcomes, key=lambda one: one.property):
            if outcome.status == "violated":
                name = operation_of(outcome) or (outcome.asked[0] if len(outcome.asked) == 1 else "")
                if name not in self.findings:
                    found.setdefault(name, []).append(outcome)
        return found

    # One operation

    def _wrong(self, name: str, found: list[Block], makers: Mapping[str, Sequence[str]]) -> Iterator[Line]:
        """An operation's mistakes; makers: the operations that make a mistake, by what it is recognised by in all."""
        known = self.trial.about["known_failures"]
        excused = all(excuse(one, id, known) for block in found for one in block.outcomes for id in one.clauses)
        causes = self._all_causes(found)
        many = sum(map(len, causes))
        levels = {clauses()[id].level for block in found for id in block.ids}
        verdict = f"{name} does not do all that it SHOULD" if levels == {"SHOULD"} else f"{name} is wrong"
        said = f"{', as KNOWN_FAILURES says' if excused else ''}{f': {many} mistakes' if many > 1 else ''}"
        yield f"{verdict}{said}", "bold" if excused else "red"
        numbers = count(1)
        for block, said_of in zip(found, causes, strict=True):
            yield "", ""
            alike = makers.get(block.anywhere, [name])
            said_before = alike[0] if alike[0] != name and not self.everything else ""
            marks = [f"{next(numbers)}. " if many > 1 else "" for _ in said_of]
            if said_before:
                yield from wrapped(self.width, f"The same mistake as in {said_before}.", MARGIN + marks[0], "bold")
                yield from self._breaks(block)
            else:
                yield from self._block(block, said_of, marks, [other for other in alike if other != name])
        yield "", ""
        yield from self._about(name)
        yield "", ""

    def _block(
        self, block: Block, causes: Sequence[str], numbers: Sequence[str] = ("",), alike: Sequence[str] = ()
    ) -> Iterator[Line]:
        """One mistake; causes: what is said of it.  alike: the other operations that make it."""
        shown = block.plainest
        for number, cause in zip(numbers, causes, strict=True):
            yield from wrapped(self.width, cause, MARGIN + number, "bold")
        if alike:
            names = f"{', '.join(alike[:-1])} and {alike[-1]}" if len(alike) > 1 else alike[0]
            yield from wrapped(self.width, f"The same mistake shows in {names}.", MARGIN, "bold")
        others = block.mistakes[1:] if self.everything else []
        for other in others:
            yield from wrapped(self.width, f"Or else: {self._cause(other)}", MARGIN)
        yield "", ""
        if self.everything:
            for outcome in block.outcomes:
                for id in outcome.clauses:
                    clause = clauses()[id]
                    yield from wrapped(self.width, f"{id} {clause.title} ({clause.place})", MARGIN, "bold")
                    yield from wrapped(self.width, " ".join(clause.text.split()), MARGIN * 2, "")
                    yield "", ""
                yield from evidence(self.width, outcome.evidence, outcome.message, complete=True)
                yield "", ""
        else:
            yield from evidence(
                self.width, shown.evidence, "" if causes == [sentence(shown.message)] else shown.message
            )
            yield "", ""
        yield from self._breaks(block)

    def _breaks(self, block: Block) -> Iterator[Line]:
        yield from wrapped(self.width, f"It breaks {self._listed(block.ids)}.", MARGIN, "")

    def _listed(self, ids: Sequence[str]) -> str:
        known = self.trial.about["known_failures"]
        said = [f"{id} (known: {known[id]})" if id in known else id for id in ids]
        levels = {clauses()[id].level for id in ids}
        return ", ".join(said) + (", which SHOULD be kept" if levels == {"SHOULD"} else "")

    def _all_causes(self, found: Sequence[Block]) -> list[list[str]]:
        """What is wrong in each of an operation's blocks; a known mistake is said once."""
        causes, told = [], set[str]()
        for block in found:
            causes.append(self._causes(block, told))
            told.update(fault["id"] for mistake in block.mistakes[:1] for fault in mistake["faults"])
        return causes

    def _causes(self, block: Block, told: Set[str] = frozenset()) -> list[str]:
        """What is wrong, a sentence for each of the mistakes made at once, but for those that have been told."""
        raised = not block.plainest.evidence.keys() & {"expected", "actual"}
        if not block.mistakes or raised:  # an exception says more than what else would raise one
            return [sentence(block.plainest.message)]
        first = block.mistakes[0]
        if not first["explained"]:
            if "expected" not in block.plainest.evidence:  # the message says more
                return [sentence(block.plainest.message)]
            return [unexplained(first)]
        if not first["edited"]:
            new = [one for one in first["faults"] if one["id"] not in told] or first["faults"]
            return [f"{one['slug']}, a known mistake{self._places([one])}. {one['effect']}" for one in new]
        return [self._cause(first)]

    def _cause(self, mistake: Mapping[str, Any]) -> str:
        exactly = "It behaves exactly " if mistake["words"].startswith("as if") else ""
        said = sentence(f"{exactly}{mistake['words'].rstrip('.')}{report.beside(mistake)}")
        return f"{said}{self._seen(mistake['faults'])}"

    def _seen(self, faults: Sequence[Mapping[str, Any]]) -> str:
        """What the museum calls it, and where it was seen."""
        if not faults:
            return ""
        return f" A known mistake, {' and '.join(fault['slug'] for fault in faults)}{self._places(faults)}."

    def _places(self, faults: Sequence[Mapping[str, Any]]) -> str:
        """Where it was seen."""
        links = [link for fault in faults for link in fault["seen"]]
        shown = links if self.everything else links[:LINKS]
        more = f" and {len(links) - len(shown)} more" if len(links) > len(shown) else ""
        return f", seen in {', '.join(shown)}{more}" if links else ""

    def _about(self, name: str) -> Iterator[Line]:
        """How many clauses an operation keeps, what was inferred of it, and what could not be judged."""
        broken = self._clauses(name, "violated")
        kept = [id for id in self._clauses(name, "holds") if id not in broken]
        if kept and broken:
            yield from wrapped(self.width, f"It keeps {several(len(kept), 'other clause')}.", MARGIN, "")
        yield from self._judged_under(name)

    def _judged_under(self, name: str) -> Iterator[Line]:
        about = self.trial.about
        for how in ("declared", "inferred"):
            for convention, choice in about[how].items():
                of, _, short = convention.rpartition(".")
                if (of == name or (not of and how == "declared")) and not (
                    short == "precision" and choice.startswith("float64")
                ):
                    others = about["alike"].get(convention, []) if how == "inferred" else []
                    said = "; or ".join([how, *others])
                    yield from wrapped(self.width, f"convention {convention} = {choice} ({said})", MARGIN, "")
        early: dict[str, list[str]] = {}
        kept = {*self._clauses(name, "holds")}
        for outcome in self.outcomes:
            mine = name in _operations(outcome) and name not in self.findings
            idle = outcome.message in (NOTHING_ASKED, NOTHING_JUDGED) and (
                not self.everything or kept.issuperset(outcome.clauses)
            )
            if mine and outcome.message and outcome.status in ("holds", "untested") and not (outcome.named_by or idle):
                what = "stopped early" if outcome.status == "holds" else "not judged"
                early.setdefault(f"{what}: {{}} ({outcome.message})", []).extend(outcome.clauses)
            if mine and outcome.status == "declined":
                early.setdefault(f"declined: {{}} ({outcome.message})", []).extend(outcome.clauses)
        for said, ids in early.items():
            listed = ", ".join(id for id in clauses() if id in ids)
            yield from wrapped(self.width, said.format(listed), MARGIN, "")

    def _clauses(self, name: str, status: str) -> list[str]:
        """The clauses that can be broken of which a property that asks the operation has this status."""
        found = {id for one in self.outcomes if one.status == status and name in _operations(one) for id in one.clauses}
        return [id for id in self.verdicts if id in found]

    # The others

    def _right(self, charged: Mapping[str, Any]) -> Iterator[Line]:
        asked = {name for outcome in self.outcomes if outcome.status != "absent" for name in _operations(outcome)}
        mine = [name for name in OPERATIONS if name in asked & self._provided() and name not in charged]
        widest = max(map(len, mine), default=0)
        shown = False
        for name in mine:
            if name in self.findings:
                continue
            kept = self._clauses(name, "holds")
            answers = sum(one.answers for one in self.outcomes if one.status == "holds" and name in _operations(one))
            shown = True
            if kept:
                yield f"{name:{widest}}  holds: {several(len(kept), 'clause')}, {answers:,} answers", "green"
            else:
                declined = bool(self._clauses(name, "declined"))
                yield f"{name:{widest}}  {'declined' if declined else 'not judged'}", "bold"
            yield from self._judged_under(name)
        if shown:
            yield "", ""

    def _provided(self) -> set[str]:
        """The operations that the candidate has."""
        if self.trial.looked.about:
            return {*self.trial.looked.provided}
        return {name for one in self.outcomes if one.status not in ("absent", "untested") for name in _operations(one)}

    def _left_out(self) -> Iterator[Line]:
        only = self.trial.only
        wanted = [name for name in OPERATIONS if only.everything or name in only.operations]
        absent = [name for name in wanted if name not in self._provided()]
        if self.trial.problem or not absent:
            return
        shown = self.everything or len(absent) <= FEW
        said = ", ".join(absent) if shown else f"{len(absent)} of {len(OPERATIONS)} operations"
        yield from wrapped(self.width, f"absent: {said}", "", "")

    def _clause_by_clause(self) -> Iterator[Line]:
        yield "", ""
        yield "clause by clause", "bold"
        trial = self.trial
        for line, style in report.summary(trial.about, self.verdicts, trial.required, ""):
            indent = re.match(r" *", line)[0]  # type: ignore[index]
            colour = next((name for name in ("red", "green", "bold") if style.get(name)), "")
            yield from wrapped(self.width, line.strip(), indent, colour, hanging=indent + MARGIN)
        yield "", ""

    def _end(self, charged: Mapping[str, Any]) -> Iterator[Line]:
        trial = self.trial
        for id, verdict in self.verdicts.items():
            if verdict.verdict == "stale":
                yield from wrapped(self.width, f"{id}: {verdict.message}", "", "red")
        for name, said in trial.stale().items():
            yield from wrapped(self.width, f"{name}: {said}", "", "red")
        failed = {one.property: one.message for one in self.outcomes if one.message.startswith("the property itself")}
        for name, message in failed.items():
            yield from wrapped(self.width, f"{name}: {message}", "", "red")
        if lacking := missing(self.verdicts, trial.required):
            yield from wrapped(self.width, f"required, but not tested: {', '.join(lacking)}", "", "red")
        if trial.run.explores:
            yield from wrapped(self.width, drawn_in_words(asdict(trial.run)))
            yield from ((line, "") for line in report.offers(trial.outcomes))
        if trial.recorded is not None:
            for line in trial.changes(self.verdicts) or ["as recorded"]:
                yield from wrapped(self.width, line, "", "")
        yield from wrapped(self.width, f"clauses: {counted(self.verdicts)}", "", "bold")


class Taking:
    """A pytest plugin that hands over what a first look found, and keeps the trial for the page.

    module: the candidate's, if this process has it; folder: if a call that is stuck is to end the process.
    """

    def __init__(self, looked: Looked, module: Any = None, folder: str = "") -> None:
        self.looked = looked
        self.module = module
        self.folder = folder
        self._config: pytest.Config | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Hand it over before the trial begins."""
        config.stash[LOOKED] = self.looked
        config.stash[MODULE] = self.module
        config.stash[FOLDER] = self.folder
        self._config = config

    @property
    def trial(self) -> Trial | None:
        """The trial, if there was one."""
        return self._config.stash.get(TRIAL, None) if self._config else None


def evidence(width: int, found: Mapping[str, Any], message: str, complete: bool = False) -> Iterator[Line]:
    """The smallest input, worked by hand, with what was expected; and the message, if there is one to be said.

    complete: whether what is in the table of steps is said outside as well, as it may be typed.
    """
    arguments = dict(found.get("arguments", {}))
    if arguments:
        tables = [_fitting(width, title, lines) for title, lines in _split(found.get("worked", []))]
        inside = {name for _, lines in _split(found.get("worked", [])) for name in lines[0].split()}
        outside = {name: text for name, text in arguments.items() if complete or name not in inside}
        answers = {name: found[name] for name in ("expected", "actual") if name in found and (complete or not tables)}
        named = {**outside, **answers}
        scalars = ", ".join(f"{name} = {text}" for name, text in named.items())
        short = bool(tables) and not complete and 0 < len(scalars) <= SHORT
        yield from wrapped(width, f"The smallest input that was found{f', with {scalars}' if short else ''}:", MARGIN)
        yield "", ""
        named = {} if short else named
        widest = max(map(len, named), default=0)
        for name, text in named.items():
            yield from wrapped(width, text, f"{MARGIN * 3}{name:{widest}}  ")
        for number, table in enumerate(tables):
            if number or named:
                yield "", ""
            for line in table:
                yield f"{MARGIN * 3}{line}".rstrip(), ""
    if message:
        yield from (("", ""),) if arguments else ()
        yield from wrapped(width, sentence(message), MARGIN)


def _split(worked: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The tables one by one, each under its title, which is ``row 1`` where there are several."""
    tables: list[tuple[str, list[str]]] = []
    title = ""
    for line in worked:
        if re.fullmatch(r"row \d+", line):
            title = line
            tables.append((title, []))
        elif not tables:
            tables.append(("", [line]))
        else:
            tables[-1][1].append(line)
    return tables


def _fitting(width: int, title: str, lines: Sequence[str]) -> list[str]:
    """A table that the terminal has room for: as it is, or with a line for each column."""
    room = width - len(MARGIN * 3)
    table = list(lines) if max(map(len, lines)) <= room else upright(lines, room)
    return [title, *table] if title else table


def _operations(outcome: Outcome) -> set[str]:
    """The operations that a property asks, or the one that violates it."""
    return {*outcome.asked} or {operation_of(outcome)}
