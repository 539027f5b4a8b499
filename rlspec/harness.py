"""The pytest side of a trial: options, the ``candidate`` fixture, a verdict for every clause, the exit status."""

import random
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil, inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis.database import ExampleDatabase
from hypothesis.errors import Unsatisfiable

from . import report
from .asked import effort_asked, files_asked
from .candidate import Candidate
from .drawing import WITHOUT_END, database_at, explored, require_exploration, same_everywhere, seed_by_name
from .first_look import Finding, Looked
from .judging import Judge, learn
from .limits import Clock, Limits, Stopped, Unanswered, kept
from .loading import NotLoaded, load
from .notes import Doing
from .options import PASSED_ON, Option, Refused, drawn_in_words
from .power import asks_nobody, cases, having_cases, named, operations_asked
from .properties.checking import Call, Violation
from .reading import charitable
from .replay import explore, replay
from .run_record import Record, put, written
from .sarif import badge
from .selection import Only, only_asked
from .spec.operations import OPERATIONS
from .verdicts import (
    FORMULAS,
    USABLE,
    Outcome,
    Verdict,
    differences,
    excuse,
    exit_status,
    judge,
    missing,
    set_aside,
    stale,
)
from .workers import Briefing, Collected, Survivor


@dataclass(frozen=True)
class Run:
    """How the properties are run: as --verdicts writes it."""

    budget: float
    patience: float
    explore: int | None = None
    """How many random inputs each property draws, in the place of those that it always draws."""
    explore_seconds: float | None = None
    """For how long all properties together draw random inputs."""
    seed: int | None = None

    @property
    def limits(self) -> Limits:
        """What the candidate may take."""
        return Limits(self.budget, self.patience)

    @property
    def explores(self) -> bool:
        """Whether random inputs are drawn."""
        return self.explore is not None or self.explore_seconds is not None


class Trial:
    """One run of the properties on one candidate: a pytest plugin that collects outcomes and closes with verdicts.

    Under pytest-xdist every process has a candidate of its own, and the first one has all the outcomes.
    """

    def __init__(
        self,
        what: str,
        required: list[str],
        file: str | None,
        reports: list[str],
        badge: str | None,
        recorded: Record | None,
        known: list[Record],
        run: Run,
        database: ExampleDatabase | None,
        briefing: Briefing,
        only: Only,
        module: Any = None,
    ) -> None:
        self.what = what
        self.only = only
        self._module = module
        self.run = run
        self.briefing = briefing
        self.required = required
        self.file = file
        self.reports = reports
        self.badge = badge
        self.interrupted = False
        self.recorded = recorded
        self.known = known
        """The records whose failures are asked first."""
        self.database = database
        self.clock: Clock | None = None
        self.looked = briefing.looked or Looked()
        self.outcomes = [_at_sight(found) for found in self.looked.findings.values() if found.violates]
        self.asked: dict[str, frozenset[str]] = {}
        """The operations that each property asks, by the property's place."""
        nothing = {"name": what, "declared": {}, "inferred": {}, "alike": {}, "known_failures": {}}
        self.about: dict[str, Any] = self.looked.about or nothing
        self.problem = briefing.problem or self.looked.problem
        self.other_failures = 0
        self._candidate: Candidate | None = None
        self._judge: Judge | None = None
        self._learnt: set[str] = set()
        self._absent: list[Outcome] = []

    def candidate(self) -> Candidate:
        """The candidate, loaded at the first call.  Raises NotLoaded."""
        if self.problem:
            raise NotLoaded(self.problem)
        if self._candidate is None:
            self.doing(Doing(loading=True))
            try:
                self._candidate = Candidate(
                    self._module or load(self.what), self.what, self.run.limits, self.briefing.note, self.only
                )
            except NotLoaded as error:
                self.problem = str(error)
                raise
            self._candidate.lost |= self.briefing.lost()
            self._candidate.asked_before |= {*self._candidate.lost, *self.briefing.not_probed}
            self._candidate.not_asked = {name: _why_not(found) for name, found in self.looked.findings.items()}
            self.about = self._candidate.about()
            self._judge = Judge(self._candidate)
            self.doing(Doing())
        return self._candidate

    def learn(self, operations: Collection[str]) -> None:
        """Find out the candidate's choices for operations that are asked, each of them once."""
        candidate = self.candidate()
        wanted = {*operations} - {*self._learnt, *self.briefing.not_probed, *candidate.not_asked}
        self._learnt |= wanted
        if wanted:
            self.doing(Doing(loading=True))
            learn(candidate, wanted)
            self.about = candidate.about()
            self.doing(Doing())

    def doing(self, what: Doing) -> None:
        """Write down what is being done, in a process of which another one takes care."""
        if self.briefing.note:
            self.briefing.note.begin(what)

    def outcome(self, item: pytest.Item, error: BaseException | None) -> Outcome:
        """What a property found, from what became of its run."""
        asking = "candidate" in getattr(item, "fixturenames", ())
        asked = tuple(self.asked.get(item.nodeid, ()))
        if asking and self._judge is None:
            return Outcome(item.name, _clauses(item), "untested", message=self.problem, asked=asked)
        return (self._judge or Judge(None)).outcome(item.name, _clauses(item), asked, asking, error)

    @contextmanager
    def narrowed(self, test: Any, selected: bool) -> Iterator[bool]:
        """While it lasts, a property has no cases but those that ask for something that the candidate has.

        What the others ask for is absent, which is known before they are made.  Says whether any case is left.
        selected: whether some properties are selected by what they are called, for which the others are made, too.
        """
        meant = [case for case in cases(test) if self.only.means(test.clauses, operations_asked(test, case))]
        if not meant or (self.what != "reference" and asks_nobody(test)):
            yield False
            return
        left = [case for case in meant if selected or not self._lacks(operations_asked(test, case))]
        lacking = [case for case in meant if case not in left]
        self._absent += [
            self._lacking(named(test.__name__, case), test.clauses, operations_asked(test, case)) for case in lacking
        ]
        with having_cases(test, left) if left and left != cases(test) else nullcontext():
            yield bool(left)

    def _lacks(self, asked: Set[str]) -> bool:
        """Whether it is known that the candidate has none of the operations that are asked."""
        known = bool(self.looked.about) and not self.problem
        return known and bool(asked) and asked.isdisjoint(self.looked.provided)

    def _lacking(self, name: str, clauses: tuple[str, ...], asked: Set[str]) -> Outcome:
        return Outcome(name, clauses, "absent", message=_said_to_lack(self.about["name"], asked))

    def collect(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Note what is to be checked.  Returns the properties that need not be run: what they ask for is absent."""
        asked = {item: frozenset(_operations(item)) for item in items if _clauses(item)}
        absent = [item for item, names in asked.items() if self._lacks(names)]
        outcomes = [self._lacking(item.name, _clauses(item), asked.pop(item)) for item in absent]
        left = {item.nodeid: names for item, names in asked.items()}
        collected = Collected(left, self._absent + outcomes)
        self.collected(collected)
        self.briefing.collected(collected)
        return absent

    def collected(self, collected: Collected) -> None:
        """Take over what is to be checked, and what need not be."""
        self.asked = collected.asked
        self.outcomes += collected.known

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect an outcome; those of other processes come with their reports.  JUnit is left the clauses."""
        found: list[Any] = [
            value for name, value in report.user_properties if name == "rlspec" and report.when != "teardown"
        ]
        report.user_properties = [pair for pair in report.user_properties if pair[0] != "rlspec"]
        for value in found:
            self.outcomes.append(Outcome(**value["outcome"]))
            self.about, self.problem = together(self.about, value["about"]), value["problem"]
        if report.failed and "violated" not in [value["outcome"]["status"] for value in found]:
            self.other_failures += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the verdicts and set the exit status, unless something else than a clause has failed."""
        if not self.outcomes and not self.file and not self.reports and not self.badge:
            return
        self.interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
        terminal = session.config.pluginmanager.get_plugin("terminalreporter")
        if terminal and terminal.stats.get("failed"):
            terminal.stats["failed"] = self.told_once(terminal.stats["failed"])
        verdicts = self.verdicts()
        if not self.write(verdicts):
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        most = session.config.getoption("maxfail")  # having seen so many, pytest fails, and pytest-xdist is interrupted
        enough = bool(most) and session.testsfailed >= most
        done = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
        if (done or enough) and not self.other_failures:
            if self.recorded is None:
                session.exitstatus = exit_status(verdicts, self.required, self.stale())
            else:
                session.exitstatus = int(bool(self.changes(verdicts) or missing(verdicts, self.required)))

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        """Print the verdict on every clause."""
        if self.outcomes:
            verdicts = self.verdicts()
            terminalreporter.section(f"rlspec: {self.about['name']}")
            for line, colour in report.summary(self.about, verdicts, self.required, self.problem):
                terminalreporter.write_line(line, **colour)
            for name, said in self.stale().items():
                terminalreporter.write_line(f"{name}: {said}", red=True)
            if self.run.explores:
                terminalreporter.write_line(drawn_in_words(asdict(self.run)))
                for line in report.offers(self.outcomes):
                    terminalreporter.write_line(line)
            if self.recorded is not None:
                for line in self.changes(verdicts) or ["as recorded"]:
                    terminalreporter.write_line(line)

    def told_once(self, failed: list[pytest.TestReport]) -> list[pytest.TestReport]:
        """The reports of violations that are to be printed: what no other clause names last, and only that."""
        formulas = self.verdicts()[FORMULAS]
        shown = (
            {formulas.property, *(one.property for one in formulas.also)} if formulas.verdict == "violated" else set()
        )
        of_formulas = {one.property for one in self.outcomes if one.clauses == (FORMULAS,)}
        aside = {one.property for one in set_aside(self.outcomes) if one.named_by} | of_formulas
        others = [one for one in failed if one.location[2] not in aside]
        return others + [one for one in failed if one.location[2] in of_formulas & shown]

    def write(self, verdicts: dict[str, Verdict]) -> bool:
        """Write the files that were asked for; whether that could be done."""
        record = self.record(verdicts)
        texts = {self.file: record.as_json} if self.file else {}
        if self.reports:
            from .rendered import report as rendered  # with jinja2

            texts |= {file: partial(rendered, record, Path(file).suffix) for file in self.reports}
        if self.badge:
            texts[self.badge] = partial(badge, record)
        done = [put(file, text()) for file, text in texts.items()]
        return all(done)

    def changes(self, verdicts: dict[str, Verdict]) -> list[str]:
        """What is otherwise than recorded, a sentence for each clause."""
        recorded = self.recorded.verdicts if self.recorded else {}
        return differences(recorded, {id: verdict.verdict for id, verdict in verdicts.items()})

    def until(self) -> float:
        """The time at which the next property of this process is to end, where all of them together have some time."""
        if self.run.explore_seconds is None:
            return inf
        if self.clock is None:
            self.clock = Clock(self.run.explore_seconds, ceil(len(self.asked) / self.briefing.processes))
        return self.clock.share()

    def stale(self) -> dict[str, str]:
        """The operations and mistakes among the known failures that are none any more, with a sentence for each."""
        return stale(self.outcomes, self.about["known_failures"])

    def record(self, verdicts: dict[str, Verdict]) -> Record:
        """The record of the run."""
        return written(self.about, self.what, asdict(self.run), self.outcomes, verdicts, self.problem, self.interrupted)

    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on every clause so far."""
        return judge(self.outcomes, self.about["known_failures"], theorems=self.what == "reference")


CANDIDATE = Option(
    "WHAT",
    "the implementation on trial: a .py file, a module, a short name from rlspec's candidates, or a program in any "
    "language, as 'cmd: COMMAND' (default: reference)",
)

ONLY = Option("gae,PPO-16", "operations, chapters and clauses to be checked (default: all)")

OURS = "rlspec_"
"""What the names begin with under which pytest keeps our options."""

TRIAL = pytest.StashKey[Trial]()
LOOKED = pytest.StashKey[Looked]()
"""Where a plugin leaves what a first look found."""
MODULE = pytest.StashKey[Any]()
"""Where it leaves the candidate's module, if this process has it."""
FOLDER = pytest.StashKey[str]()
"""Where it leaves the name of a folder, if a call that is stuck is to end this process."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--candidate``, ``--verdicts``, ``--expect``, ``--require``, and how the properties are to be run.

    Each is also called ``--rlspec-NAME``, and only so where a conftest or another plugin has an option of that name.
    """
    group = parser.getgroup("rlspec")
    taken = {name for one in [parser._anonymous, *parser._groups] for option in one.options for name in option.names()}
    for name, option in {"candidate": CANDIDATE, "only": ONLY, **PASSED_ON}.items():
        names = [f"--{name}", f"--rlspec-{name}"]
        group.addoption(
            *(given for given in names if given not in taken),
            dest=OURS + name,
            metavar=option.takes,
            help=option.does.replace("%", "%%"),
            **option.action,
        )


def pytest_configure(config: pytest.Config) -> None:
    """Set up the trial.  Raises UsageError for an option that makes no sense or a file that cannot be written."""
    asked = {name: getattr(config.option, OURS + name) for name in ("candidate", "only", *PASSED_ON)}
    try:
        only = only_asked([name.strip() for name in (asked["only"] or "").split(",") if name.strip()])
        files, run = files_asked(asked), _run(config, asked)
    except Refused as error:
        raise pytest.UsageError(str(error)) from error
    briefing = Briefing(
        getattr(config, "workerinput", {}), config.stash.get(LOOKED, None), config.stash.get(FOLDER, "")
    )
    trial = config.stash[TRIAL] = Trial(
        asked["candidate"] or "reference", files.required, asked["verdicts"], asked["report"] or [], asked["badge"],
        files.recorded, files.known, run, _database(asked["database"]), briefing, only,
        config.stash.get(MODULE, None),
    )  # fmt: skip
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(trial)
        config.pluginmanager.register(Survivor(trial.what, briefing.looked, trial.collected))


def _run(config: pytest.Config, asked: Mapping[str, Any]) -> Run:
    effort, seed = effort_asked(asked), asked["seed"]
    if asked["explore"] is not None:
        if seed is None:
            seed = random.SystemRandom().getrandbits(32)
            setattr(config.option, f"{OURS}seed", seed)  # pytest-xdist hands it on to its processes
        try:
            require_exploration()
        except NotImplementedError as error:
            raise Refused(f"--explore: {error}") from error
    return Run(effort.budget, effort.patience, effort.explore, effort.explore_seconds, seed)


def _database(place: str | None) -> ExampleDatabase | None:
    if place is None:
        return None
    try:
        return database_at(place)
    except ValueError as error:
        raise pytest.UsageError(f"--database: {error}") from error


ORDER = {name: place for place, name in enumerate(OPERATIONS)}


def together(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What two processes know of a candidate, each of which has found out the conventions of what it asked."""
    found = {how: _in_order({**one[how], **other[how]}) for how in ("inferred", "alike")}
    return {**other, **found}


def _in_order(of_conventions: Mapping[str, Any]) -> dict[str, Any]:
    """The same, by the place of the operation that a convention is of."""
    return dict(sorted(of_conventions.items(), key=lambda pair: ORDER.get(pair[0].partition(".")[0], -1)))


@pytest.fixture
def candidate(request: pytest.FixtureRequest) -> Candidate:
    """The implementation on trial."""
    trial = request.config.stash[TRIAL]
    asked = _operations(request.node) if _clauses(request.node) else {*OPERATIONS}
    try:
        on_trial = trial.candidate()
    except NotLoaded as error:
        pytest.skip(str(error))
    if _clauses(request.node) and not any(map(on_trial.provides, asked)):  # said at once, without drawing anything
        pytest.skip(_said_to_lack(on_trial.name, asked))
    trial.learn(asked)
    on_trial.start_trial()
    on_trial.insists = USABLE in _clauses(request.node)
    return on_trial


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Collector, name: str, obj: object
) -> Generator[None, Any, list[pytest.Item | pytest.Collector] | Any]:
    """Leave out what the candidate has nothing for, and the theorems to the run on the reference."""
    if not (hasattr(obj, "hypothesis") and hasattr(obj, "clauses")):
        return (yield)
    selected = any(getattr(collector.config.option, name) for name in ("keyword", "markexpr", "deselect"))
    with collector.config.stash[TRIAL].narrowed(obj, selected) as some:
        made = yield
    return made if some else []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Note what is to be checked.

    Hypothesis's plugin reads all modules here for the constants that properties do without.  A clause's id and an
    operation's name select their properties, as the properties' own names do.
    """
    for item in filter(_clauses, items):
        item.extra_keyword_matches.update(_clauses(item), _operations(item))
    with same_everywhere() if all(map(_clauses, items)) else nullcontext():
        yield
    trial = config.stash[TRIAL]
    absent = trial.collect(items)
    config.hook.pytest_deselected(items=absent)
    items[:] = [item for item in items if item.nodeid in trial.asked or not _clauses(item)]
    if hasattr(config, "workerinput"):  # a process is given properties that stand side by side
        items.sort(key=lambda item: min((ORDER[name] for name in trial.asked.get(item.nodeid, ())), default=-1))


def _operations(item: pytest.Item) -> Set[str]:
    """The operations that a property's case asks for."""
    return operations_asked(item.function, getattr(getattr(item, "callspec", None), "params", {}))  # type: ignore[attr-defined]


def _said_to_lack(name: str, operations: Iterable[str]) -> str:
    return f"{name} has no {' and no '.join(sorted(operations))}"


def _why_not(found: Finding) -> Violation | str:
    """What is wrong with an operation that is not to be asked, or why else it is not."""
    if found.arguments is None or not found.violates:
        return found.said
    return Violation(found.said, Call(OPERATIONS[found.operation], found.arguments), actual=found.actual)


def _clauses(item: pytest.Item) -> tuple[str, ...]:
    return getattr(getattr(item, "function", None), "clauses", ())


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Let a property draw the same inputs on every machine, and end it when the candidate takes too long."""
    if not _clauses(item):
        return (yield)
    test, trial = item.function, item.config.stash[TRIAL]  # type: ignore[attr-defined]
    trial.doing(Doing(name=item.name, clauses=_clauses(item), about=trial.about))
    seed_by_name(test, item.name)
    with ExitStack() as while_it_runs:
        while_it_runs.callback(trial.doing, Doing())
        while_it_runs.enter_context(same_everywhere())
        while_it_runs.enter_context(kept(test, charitable(test), trial.until()))
        if trial.run.explores and trial.run.seed is not None:
            examples = trial.run.explore or WITHOUT_END
            named = trial.about["name"]
            while_it_runs.enter_context(explored(test, item.name, examples, trial.run.seed, trial.database, named))
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Let a property that asks a candidate begin with its stored inputs, unless random ones are wanted."""
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    trial = pyfuncitem.config.stash[TRIAL]
    if not _clauses(pyfuncitem) or not ("candidate" in arguments or trial.run.explores):
        return None
    known = [one for record in trial.known for one in record.shown_on(pyfuncitem.name)]
    if not trial.run.explores:
        replay(pyfuncitem.obj, pyfuncitem.name, arguments, known)
        return True
    explore(pyfuncitem.obj, pyfuncitem.name, arguments, known)
    return True


def _at_sight(found: Finding) -> Outcome:
    """What a first look charges an operation with."""
    charge = _why_not(found)
    evidence = report.evidence(charge) if isinstance(charge, Violation) else {"operation": found.operation}
    return Outcome(f"first look[{found.operation}]", (USABLE,), "violated", 0, 0, 1, found.said, evidence)


def _first_look(error: BaseException | None, looked: Looked) -> list[Outcome]:
    """What is to be said once of an operation that answered nothing, whichever property comes upon it."""
    match error:
        case Unanswered(charge=Violation() as charge) if charge.call.operation.name not in looked.findings:
            evidence = report.evidence(charge)
            return [Outcome(f"first look[{charge.call.operation.name}]", (USABLE,), "violated", 0, 0, 1,
                            str(charge), evidence)]  # fmt: skip
    return []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn what became of a property into an outcome, and a violation's traceback into its evidence."""
    result = yield
    error = call.excinfo.value if call.excinfo else None
    if _clauses(item) and (call.when == "call" or (call.when == "setup" and error)):
        trial = item.config.stash[TRIAL]
        outcome = trial.outcome(item, error)
        outcomes = [outcome, *_first_look(error, trial.looked)]
        said = [{"outcome": asdict(one), "about": trial.about, "problem": trial.problem} for one in outcomes]
        result.user_properties += [("rlspec", one) for one in said]
        item.user_properties += [("clause", id) for id in outcome.clauses]  # JUnit takes those of the last report
        if outcome.status == "violated":
            result.longrepr = report.violation(outcome)
            known = [excuse(outcome, id, trial.about["known_failures"]) for id in outcome.clauses]
            if all(known):
                result.outcome, result.wasxfail = "skipped", known[0]
        elif outcome.status == "holds":
            result.outcome, result.longrepr = "passed", None  # of one that was stopped, too
        elif isinstance(error, pytest.skip.Exception | Unsatisfiable | Stopped):
            result.outcome = "skipped"
            result.longrepr = (str(item.path), 0, outcome.message)
    return result
