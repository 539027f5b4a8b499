"""The properties in a test suite of one's own: a test for each clause, on the suite's own ``candidate`` fixture.

In a test module, beside other tests::

    import pytest
    from rlspec.testing import formulas

    import mylib

    @pytest.fixture(params=["numpy", "jax"])
    def candidate(request):
        return {"gae": mylib.gae_functions[request.param]}

    test_formulas = formulas(operations=["gae"], clauses=["ADV"])

``candidate`` returns a module, an object, a mapping from operations' names to functions, or a text as
``python -m rlspec check`` takes it.  Each test is called like its clause, as ``test_formulas[numpy-ADV-3]``, and has it
as a property in JUnit's report.  What is in the candidate's ``KNOWN_FAILURES`` is expected to fail, strictly.
"""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any

import pytest

from . import report
from .options import BUDGET, PATIENCE
from .spec.clauses import clauses as all_clauses
from .verdicts import Outcome, Verdict

__all__ = ["formulas"]


def formulas(
    *,
    operations: Iterable[str] = (),
    clauses: Iterable[str] = (),
    budget: float = BUDGET,
    patience: float = PATIENCE,
    replay: str | PathLike[str] | None = None,
) -> Callable[..., None]:
    """A test function for each of the clauses, to be bound to a name that begins with ``test_``.

    operations: those that the candidate is asked; without any, all that it has.  With some, the clauses are those alone
    that speak of them.
    clauses: ids, or chapters by their letters or names; without any, all.
    budget, patience: seconds that a property may take, and that one call may.
    replay: a file that ``--verdicts`` wrote; the inputs of its failures are asked first.
    Raises ValueError for a name that there is not, for a selection without a clause, and for a file that is no record.
    """
    from .limits import Limits
    from .run_record import Record
    from .suite import Suite, listed, selected, spoken_of

    operations = listed(operations)
    wanted = selected(clauses) & spoken_of(operations)
    ids = [id for id in all_clauses() if id in wanted]
    if not ids:
        raise ValueError(f"no clause that is selected speaks of {', '.join(operations)}")
    known = Record.read(replay) if replay else None
    suites: list[tuple[Any, Suite]] = []

    def suite(candidate: Any) -> Suite:
        """The one suite of a candidate, which may be made anew for each test."""
        for tried, made in suites:
            if _same(tried, candidate):
                return made
        suites.append((candidate, Suite(candidate, operations, ids, Limits(budget, patience), known)))
        return suites[-1][1]

    @pytest.mark.parametrize("clause", ids)
    def test(candidate: Any, clause: str, request: pytest.FixtureRequest) -> None:
        request.node.user_properties.append(("clause", clause))  # the fixture for it warns of JUnit's newer family
        _tell(suite(candidate).of_clause(clause))

    return test


def _same(one: Any, other: Any) -> bool:
    """Whether two candidates are the same: the same object, or texts and mappings that are equal."""
    return one is other or (type(one) is type(other) and isinstance(one, str | dict) and one == other)


def _tell(verdict: Verdict) -> None:
    """Pass, fail, skip or fail as expected, as the verdict says."""
    __tracebackhide__ = True
    if verdict.verdict == "violated":
        pytest.fail("\n\n".join(map(report.violation, _violations(verdict))), pytrace=False)
    if verdict.verdict == "stale":
        pytest.fail(f"{verdict.clause.id}: {verdict.message}", pytrace=False)
    if verdict.verdict == "known":
        pytest.xfail(verdict.message)
    if verdict.verdict != "holds":
        pytest.skip(verdict.message or "no property was asked")


def _violations(verdict: Verdict) -> list[Outcome]:
    ids = (verdict.clause.id,)
    first = Outcome(verdict.property, ids, "violated", message=verdict.message, evidence=verdict.evidence)
    return [first, *verdict.also]
