"""From what became of a property's run to its outcome: the verdict, the evidence, and the mistake by its name."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis.errors import Flaky, Unsatisfiable

from . import report
from .candidate import Candidate
from .conventions import infer
from .diagnosis import Diagnosis
from .limits import Stopped, Unanswered
from .properties.checking import Violation
from .properties.questions import QUESTIONS
from .restated import restated
from .verdicts import NOTHING_ASKED, NOTHING_JUDGED, USABLE, Outcome


def learn(candidate: Candidate, wanted: Iterable[str]) -> None:
    """Find out the candidate's choices, for the operations that are wanted."""
    wanted = set(wanted)
    for operation in filter(candidate.provides, QUESTIONS):
        if operation in wanted:
            candidate.inferred |= infer(candidate, operation)
            candidate.look(operation)


class Judge:
    """Says what a property found.

    candidate: the one on trial; None where theorems are checked before there is one.
    """

    def __init__(self, candidate: Candidate | None) -> None:
        self._candidate = candidate
        self._diagnoses: dict[str, Diagnosis] = {}

    def outcome(
        self, name: str, clauses: tuple[str, ...], asked: tuple[str, ...], asking: bool, error: BaseException | None
    ) -> Outcome:
        """The outcome of one property.

        asked: the operations that it asks.  asking: whether it asks a candidate.  error: what ended it, if anything.
        """
        on_trial = self._candidate if asking else None
        tally: dict[str, Any] = on_trial.tally() if on_trial else {}
        reason = on_trial.reason if on_trial else ""

        def found(status: str, message: str = "", **evidence: Any) -> Outcome:
            return replace(Outcome(name, clauses, status, message=message, evidence=evidence, asked=asked), **tally)

        def violated(charge: Violation, why: str = "") -> Outcome:
            shown = restated(charge, self._asked())
            said = found("violated", f"{shown}{why}{report.under(shown.under)}", **self._evidence(shown))
            return replace(said, offer=b64encode(charge.choices).decode() if charge.lacking else "")

        match error:
            case None if not asking or tally.get("answers"):
                return found("holds")
            case None:
                return found("untested", NOTHING_ASKED)
            case pytest.skip.Exception():
                return found("absent", reason or str(error))
            case Unanswered():
                return found("untested", f"{error}, as {USABLE} says")
            case Stopped(charge=Violation() as charge):
                why = "" if str(charge) == str(error) else f" (perhaps not the smallest input: {error})"
                return violated(charge, why)
            case Stopped(judged=judged) if judged:
                return found("holds", str(error))
            case Unsatisfiable() | Stopped() if on_trial and on_trial.unusable and _of_all_operations(clauses):
                return found("untested", f"{on_trial.unusable}, as {USABLE} says")
            case Unsatisfiable() | Stopped() if on_trial and on_trial.unusable:
                return violated(on_trial.unusable)
            case Unsatisfiable() | Stopped() if reason:
                return found("declined", reason)
            case Stopped():
                return found("untested", str(error) or NOTHING_JUDGED)
            case Unsatisfiable():
                return found("untested", NOTHING_JUDGED)
            case Violation():
                return violated(error)
            case Flaky():
                return found("violated", f"{self._asked().name} gave another answer when it was asked the same again")
            case _:
                return found("untested", f"the property itself failed: {type(error).__name__}: {error}")

    def _asked(self) -> Candidate:
        assert self._candidate is not None
        return self._candidate

    def _evidence(self, violation: Violation) -> dict[str, Any]:
        """What shows the violation, and which known mistakes would, if the candidate can be asked for more."""
        shown, operation, candidate = report.evidence(violation), violation.call.operation.name, self._asked()
        if operation in candidate.lost:  # calls of it do not return
            return shown
        candidate.start_trial()
        diagnosis = self._diagnoses.setdefault(operation, Diagnosis(candidate, operation))
        try:
            mistakes = diagnosis.mistakes(violation.call)
        except Stopped:
            return shown
        return shown | {"diagnosis": [mistake.as_json() for mistake in mistakes]}


def _of_all_operations(clauses: Sequence[str]) -> bool:
    """Whether a property is about what all operations owe, but not about whether there is an answer."""
    return all(id.startswith("OPS-") and id != USABLE for id in clauses)
