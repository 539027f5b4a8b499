"""From the outcomes of properties to a verdict for every clause."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .spec.clauses import Clause, clauses
from .spec.operations import OPERATIONS

VERDICTS = ("holds", "violated", "known", "stale", "declined", "absent", "untested")
"""What a clause's verdict can be.

holds: every property that ran was satisfied.  violated: one was not.  known: one was not, as the candidate says in
KNOWN_FAILURES.  stale: the candidate says so, and it is no longer true.  declined: the candidate raised
NotImplementedError on every input.  absent: it lacks the operations.  untested: no property ran, or other clauses say
what is wrong (``named_by``).
"""


@dataclass(frozen=True)
class Outcome:
    """What one property found."""

    property: str
    clauses: tuple[str, ...]
    status: str
    """``holds``, ``violated``, ``declined``, ``absent`` or ``untested``."""
    answers: int = 0
    """How many answers of the candidate it judged."""
    declined: int = 0
    """How many calls the candidate declined."""
    unanswered: int = 0
    """How many calls had no usable answer."""
    message: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """On a violation: ``operation``, ``arguments`` by name, ``expected`` and ``actual``, as text."""
    named_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of all formulas together: the clauses that say what is wrong with an operation, by its name."""
    asked: tuple[str, ...] = ()
    """The operations that the property asks."""
    offer: str = ""
    """What makes the input that shows a violation, if the corpus has none that does."""


def operation_of(outcome: Outcome) -> str:
    """The operation that violates the property; empty, if none does or if it is not known."""
    return str(outcome.evidence.get("operation", ""))


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one clause."""

    clause: Clause
    verdict: str
    properties: int = 0
    answers: int = 0
    declined: int = 0
    unanswered: int = 0
    property: str = ""
    message: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[Outcome, ...] = ()
    """The violations by further operations, one for each."""
    named_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The verdict as in the file that ``--verdicts`` writes; empty fields are left out."""
        plain = ("clause", "evidence", "also")
        said = {name: value for name, value in asdict(self).items() if value and name not in plain}
        also = [{"property": one.property, "message": one.message, **one.evidence} for one in self.also]
        further = {"also": also} if also else {}
        return {**said, **self.evidence, **further, "level": self.clause.level, "place": self.clause.place}


def judge(outcomes: Iterable[Outcome], known_failures: Mapping[str, str], theorems: bool) -> dict[str, Verdict]:
    """The verdict on every clause that binds the candidate, by its id.

    known_failures: reasons for which a violation is expected, by clause, operation or mistake.
    theorems: whether the theorems were to be checked too, as they are on the reference.
    """
    outcomes = sorted(set_aside(outcomes), key=lambda outcome: outcome.property)  # processes finish in any order
    levels = {"MUST", "LEMMA", "SHOULD"} | ({"THEOREM"} if theorems else set())
    return {
        id: _judge_one(clause, [outcome for outcome in outcomes if id in outcome.clauses], known_failures)
        for id, clause in clauses().items()
        if clause.level in levels
    }


def excuse(outcome: Outcome, id: str, known_failures: Mapping[str, str]) -> str:
    """Why a violation of a clause is expected: for the clause, the operation or a mistake; empty, if it is not."""
    mistakes = [mistake for mistake in outcome.evidence.get("diagnosis", ()) if mistake["explained"]]
    slugs = [fault["slug"] for mistake in mistakes for fault in mistake["faults"]]
    return next((known_failures[name] for name in (id, operation_of(outcome), *slugs) if name in known_failures), "")


def stale(outcomes: Iterable[Outcome], known_failures: Mapping[str, str]) -> dict[str, str]:
    """A sentence for each operation and each mistake that is expected to fail, and does not.

    Judged are those of which all formulas together were asked (OPS-8); of clauses the verdicts say it.
    """
    outcomes = list(outcomes)
    operations = {name: [name] for name in known_failures if name in OPERATIONS}
    if others := {name for name in known_failures if name not in clauses() and name not in OPERATIONS}:
        from .faults import museum  # all of it, which a run without known mistakes need not load

        of_slug = {name: [one.operation for one in museum().values() if one.slug == name] for name in others}
        operations |= of_slug
    judged = {
        operation_of(one) or name
        for one in outcomes
        if one.clauses == (FORMULAS,) and one.status in ("holds", "violated")
        for name in one.asked
    }
    violated = [one for one in outcomes if one.status == "violated"]
    return {
        name: f"declared in KNOWN_FAILURES ({known_failures[name]}), but it is not so any more"
        for name, of in operations.items()
        if judged.intersection(of) and not any(excuse(one, "", {name: "known"}) for one in violated)
    }


USABLE = "OPS-1"
"""The clause that there is an answer to be judged at all."""

NOTHING_ASKED, NOTHING_JUDGED = "the property asked nothing", "no input that was drawn could be judged"
"""Why a property has no verdict, about which nobody can do anything."""

FORMULAS = "OPS-8"
"""The clause that whatever is wrong violates: that answers are those of the formulas, under one set of choices."""

NOT_OF_VALUES = {FORMULAS, "OPS-2", "OPS-4", "OPS-5", "OPS-9", "OPS-11", "OPS-13"}
"""The clauses that say nothing of what the answer to a plain question is: of layouts, types, precision, NaN."""


def set_aside(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The outcomes, those of general clauses set aside where another clause names what is wrong with the operation.

    That is any clause about its values for the one about all formulas, and for the one that there is an answer the only
    other clause that says the same, none of its calls being answered.
    """
    outcomes = list(outcomes)
    named: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.status == "violated" and operation_of(outcome):
            named.setdefault(operation_of(outcome), set()).update({*outcome.clauses} - NOT_OF_VALUES)
    unanswered: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.status == "violated" and outcome.clauses not in ((USABLE,), (FORMULAS,)):
            unanswered.setdefault(outcome.message, set()).update(outcome.clauses)

    def of_one(found: set[str]) -> set[str]:
        return found if len(found) == 1 else set()

    by_general: dict[tuple[str, ...], Callable[[Outcome], set[str]]] = {
        (FORMULAS,): lambda outcome: named.get(operation_of(outcome), set()),
        (USABLE,): lambda outcome: of_one(unanswered.get(outcome.message, set())),
    }
    return [
        _aside(outcome, by_general[outcome.clauses](outcome)) if outcome.clauses in by_general else outcome
        for outcome in outcomes
    ]


def _aside(outcome: Outcome, named: set[str]) -> Outcome:
    if not named or outcome.status != "violated":
        return outcome
    ids = tuple(id for id in clauses() if id in named)
    message = f"what is wrong with {operation_of(outcome)} is said by {', '.join(ids)}"
    return replace(outcome, status="untested", message=message, evidence={}, named_by={operation_of(outcome): ids})


def _by_operation(outcomes: list[Outcome]) -> list[Outcome]:
    """Of the violations by each operation the one with the shortest input, in the order of the properties."""
    shortest: dict[str, Outcome] = {}
    for outcome in outcomes:
        known = shortest.setdefault(operation_of(outcome), outcome)
        if len(str(outcome.evidence.get("arguments"))) < len(str(known.evidence.get("arguments"))):
            shortest[operation_of(outcome)] = outcome
    return list(shortest.values())


def _judge_one(clause: Clause, outcomes: list[Outcome], known_failures: Mapping[str, str]) -> Verdict:
    order = ("violated", "holds", "declined", "untested", "absent")
    statuses = {outcome.status for outcome in outcomes}
    named_by = {name: ids for outcome in outcomes for name, ids in outcome.named_by.items()}
    if named_by:  # whether the rest holds is nothing to go by
        statuses -= {"holds", "declined"}
    status = next((status for status in order if status in statuses), "untested")
    deciding = [outcome for outcome in outcomes if outcome.status == status]
    if status == "violated":
        deciding = _by_operation([one for one in deciding if not excuse(one, clause.id, known_failures)] or deciding)
    elif named_by:
        deciding = [outcome for outcome in deciding if outcome.named_by]
    first, *further = deciding or [Outcome("", (), "untested")]
    verdict, message = status, next((outcome.message for outcome in deciding if outcome.message), "")
    if status == "violated" and (known := excuse(first, clause.id, known_failures)):
        verdict, message = "known", f"{message} [known: {known}]"
    elif status == "holds" and clause.id in known_failures:
        verdict, message = "stale", f"declared in KNOWN_FAILURES ({known_failures[clause.id]}), but it holds"
    ran = [outcome for outcome in outcomes if outcome.status in ("violated", "holds")]
    return Verdict(
        clause,
        verdict,
        properties=len(ran),
        answers=sum(outcome.answers for outcome in ran),
        declined=sum(outcome.declined for outcome in outcomes),
        unanswered=sum(outcome.unanswered for outcome in outcomes),
        property="" if status == "holds" else first.property,
        message=message,
        evidence=first.evidence,
        also=tuple(further) if status == "violated" else (),
        named_by=named_by,
    )


def by_operation(
    outcomes: Iterable[Outcome], verdicts: Mapping[str, Verdict], known_failures: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """For each operation that was asked the clauses that were checked on it, with the verdict on each.

    A violation is of the operation that is charged alone, and says nothing of others that the property asks.
    """
    order = ("violated", "holds", "declined", "untested")
    found: dict[str, dict[str, str]] = {}
    outcomes = set_aside(outcomes)
    for outcome in outcomes:
        charged = operation_of(outcome)
        for name in [charged] if charged else outcome.asked if outcome.status in order[1:] else ():
            for id in outcome.clauses:
                if id in verdicts:
                    said = [outcome.status, found.setdefault(name, {}).get(id, outcome.status)]
                    found[name][id] = min(said, key=order.index)
    open_ones = {
        (operation_of(outcome), id)
        for outcome in outcomes
        if outcome.status == "violated"
        for id in outcome.clauses
        if not excuse(outcome, id, known_failures)
    }
    return {
        name: {
            id: "known" if found[name][id] == "violated" and (name, id) not in open_ones else found[name][id]
            for id in verdicts
            if id in found[name]
        }
        for name in OPERATIONS
        if name in found
    }


def counted(verdicts: Mapping[str, Verdict]) -> str:
    """How many clauses there are of each verdict, as a line: ``12 hold, 1 violated, 3 absent``."""
    found = Counter(verdict.verdict for verdict in verdicts.values())
    return ", ".join(f"{found[name]} {'hold' if name == 'holds' else name}" for name in VERDICTS if found[name])


def missing(verdicts: Mapping[str, Verdict], required: Iterable[str]) -> list[str]:
    """The clauses that were required, by chapter's prefix or by id, and were not tested."""
    wanted = set(required)
    return [
        id
        for id, verdict in verdicts.items()
        if {id, verdict.clause.prefix} & wanted
        and verdict.verdict in ("declined", "absent", "untested")
        and not verdict.named_by
    ]


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What is otherwise in newer verdicts, by clause's id; a sentence for each clause."""
    ids = [*(id for id in clauses() if id in old or id in new), *sorted({*old, *new} - {*clauses()})]
    return [
        f"{id}{_titled(id)}: {old.get(id, 'nothing')} before, {new.get(id, 'nothing')} now"
        for id in ids
        if old.get(id) != new.get(id)
    ]


def _titled(id: str) -> str:
    return f" ({clauses()[id].title})" if id in clauses() else ""


def exit_status(verdicts: Mapping[str, Verdict], required: Iterable[str], stale: Iterable[str] = ()) -> int:
    """What a run exits with.

    0 if something was tested and all of it holds; 1 if a clause is violated, stale, or required and not tested, or
    there are other known failures that are none any more, by their names under ``stale``;
    5, pytest's status for a run without tests, if nothing was tested at all.
    """
    found = {verdict.verdict for verdict in verdicts.values()}
    if found & {"violated", "stale"} or missing(verdicts, required) or [*stale]:
        return 1
    return 0 if found & {"holds", "known"} else 5
