"""A first look at a candidate, before anything is drawn: what can be said of it at once, and is then said once.

The module is imported in a process of its own, whose end is not the run's.  Before NumPy is even loaded it is known
whether that can be done, and whether the operations take as many arguments as they are given.  Then each operation is
asked the simplest question.  One that answers neither this nor twenty others, or would take hours, is not asked again.
Where few operations are left the same process goes on and asks all that there is to be asked: it has the candidate.
"""

import difflib
import inspect
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .interrupts import heed
from .loading import PREFIX, NotLoaded, load
from .selection import Only
from .spec.operations import OPERATIONS, Operation

if TYPE_CHECKING:
    from .candidate import Candidate

NEAR = 0.8
"""How alike two names are, from 0 to 1, if one is taken for the other misspelt."""

OTHERS = 20
"""How many more questions an operation may answer that does not answer the simplest one."""

ENOUGH = 3.0
"""Seconds after which no further question is asked of an operation that has not answered the simplest one."""

FEWEST = 20
"""How many answers a property has to get within its budget, or else the operation is too slow to be asked."""

MUCH = 10_000
"""Bytes printed by one call of which something is said."""

ENDINGS = 3
"""How many processes may end before the rest is left to the run."""

IMPORTING = 60.0
"""Seconds that importing a module may take, which may load a large library."""

GRACE = 5.0
"""Seconds that an event may be late."""


@dataclass(frozen=True)
class Finding:
    """Why an operation is not asked any more."""

    operation: str
    said: str
    arguments: tuple[Any, ...] | None = None
    """Those of the call that shows it."""
    call: str = ""
    """The same as text, where it is of interest."""
    actual: str | None = None
    """What came of it, as text."""
    violates: bool = True
    """Whether it is wrong, and not only slow."""


@dataclass
class Looked:
    """What a first look found."""

    about: dict[str, Any] | None = None
    """What the candidate says of itself, as ``Candidate.about`` has it; None if it cannot be had."""
    problem: str = ""
    """Why it cannot be had."""
    provided: frozenset[str] = frozenset()
    """The operations that it has, of those that are meant."""
    findings: dict[str, Finding] = field(default_factory=dict)
    """By operation, why it is not asked any more."""
    remarks: list[str] = field(default_factory=list)
    """What else is to be said, a sentence each."""
    interrupted: bool = False
    """Whether a KeyboardInterrupt was raised, which may be the user's."""

    @property
    def left(self) -> frozenset[str]:
        """The operations that are to be asked."""
        return self.provided - self.findings.keys()


# In the process of its own


def child() -> None:
    """Look at the candidate that the standard input names, and write to the standard output what is found.

    What the standard input says after that, if anything, is run in the same process: a function of the candidate's
    module and of what tells how far it is.
    """
    heed()
    what, only, patience, budget, skipped = pickle.load(sys.stdin.buffer)
    module = None
    with os.fdopen(os.dup(1), "wb") as channel, tempfile.TemporaryFile() as printed:
        for stream in (1, 2):
            os.dup2(printed.fileno(), stream)

        def tell(name: str, *said: Any) -> None:
            pickle.dump((name, *said), channel)
            channel.flush()

        try:
            module = load(what)
            _look_at(module, what, only, patience, budget, skipped, tell, printed)
        except NotLoaded as error:
            tell("problem", str(error))
        except KeyboardInterrupt:
            tell("interrupted")
        tell("end")
        try:
            with suppress(EOFError):
                tell("result", pickle.load(sys.stdin.buffer)(module, partial(tell, "progress")))
        finally:
            if module and what.startswith(PREFIX):
                module.dismiss()
            os._exit(0)  # whatever the candidate's threads and exit handlers are up to


def _look_at(
    module: Any,
    what: str,
    only: Only,
    patience: float,
    budget: float,
    skipped: frozenset[str],
    tell: Callable[..., None],
    printed: Any,
) -> None:
    has = [name for name in OPERATIONS if getattr(module, name, None) is not None]
    provided = _meant(only, has) if only.clauses else list(filter(only.allows, has))
    if not provided and what == "reference":  # theorems ask for none
        provided = has
    misfits = {name: said for name in provided if (said := misfit(getattr(module, name), OPERATIONS[name]))}
    tell("imported", frozenset(provided), [*near(module, has), *reordered(module, provided)])
    if not provided and not only.everything:
        lacking = " and no ".join(sorted(only.operations)) or "operation of which these clauses speak"
        raise NotLoaded(f"candidate {what} has no {lacking}")
    for name, said in misfits.items():
        tell("found", Finding(name, said))
    from .candidate import Candidate  # with NumPy, SciPy and Hypothesis
    from .limits import Limits

    candidate = Candidate(module, what, Limits(patience=patience), only=only)
    tell("about", candidate.about())
    for name in provided:
        if name in misfits:
            with suppress(KeyError):  # there is no question to it
                tell("found", Finding(name, misfits[name], simplest(name)))
        elif name not in skipped:
            for found in _asked(candidate, OPERATIONS[name], budget, tell, printed):
                tell("found", found)


def _meant(only: Only, provided: list[str]) -> list[str]:
    """Those of the operations that are asked for by what is meant."""
    from .power import every_property, operations_asked  # with all properties

    asking = ((one.clauses, operations_asked(one.test, one.parameters)) for one in every_property() if not one.theorem)
    asked = {name for clauses, operations in asking if only.means(clauses, operations) for name in operations}
    return [name for name in provided if name in asked]


def misfit(function: Any, operation: Operation) -> str:
    """What is wrong with a function that cannot be called with the operation's arguments; nothing, if it can be."""
    given = f"is called with ({', '.join(operation.parameters)})"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # it is no function, or one that does not say
        return ""
    try:
        signature.bind(*operation.parameters)
    except TypeError:
        plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
        return f"{operation.name} takes {inspect.Signature(plain)} and {given}{_place(function)}"
    return ""


def _place(function: Any) -> str:
    """Where a function is defined, as a remark."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    return f" ({Path(code.co_filename).name}:{code.co_firstlineno})" if code else ""


def near(module: Any, provided: Iterable[str]) -> Iterator[str]:
    """A question for every function of the module that is called nearly like an operation that the module lacks."""
    lacking = [name for name in OPERATIONS if name not in {*provided}]
    for name, function in vars(module).items():
        if callable(function) and not inspect.isclass(function) and not name.startswith("_") and name not in OPERATIONS:
            for operation in difflib.get_close_matches(name, lacking, n=1, cutoff=NEAR):
                yield f"no operation is called {name}{_place(function)}: did you mean {operation}?"


def reordered(module: Any, provided: Iterable[str]) -> Iterator[str]:
    """A warning for every operation whose parameters have the specification's names in another order."""
    for name in provided:
        with suppress(TypeError, ValueError):
            mine, given = tuple(inspect.signature(getattr(module, name)).parameters), OPERATIONS[name].parameters
            if {*mine} == {*given} and mine != given:
                yield (
                    f"{name} is called by position, with ({', '.join(given)}), and names its arguments "
                    f"({', '.join(mine)}){_place(getattr(module, name))}"
                )


def simplest(name: str) -> tuple[Any, ...]:
    """The arguments of the simplest question that there is to an operation.  Raises KeyError if there is none."""
    from hypothesis import HealthCheck, Phase, given, settings

    from .drawing import same_everywhere
    from .properties.masks import something_counts
    from .properties.questions import QUESTIONS

    found: list[tuple[Any, ...]] = []

    @settings(
        max_examples=1, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(QUESTIONS[name].filter(something_counts))
    def draw(question: Any) -> None:
        found.append(question.arguments)

    with same_everywhere():
        draw()
    return found[0]


def _asked(
    candidate: "Candidate", operation: Operation, budget: float, tell: Callable[..., None], printed: Any
) -> Iterator[Finding]:
    """What is found when an operation is asked."""
    from .conventions import drawn
    from .limits import WAITING
    from .properties.checking import Call, show
    from .properties.masks import something_counts
    from .properties.questions import QUESTIONS

    def ask(arguments: tuple[Any, ...]) -> Any:
        shown = str(Call(operation, arguments))
        tell("asking", operation.name, arguments, candidate.patience(operation.name), shown)
        modules = len(sys.modules)
        error = _error(candidate, operation, arguments)
        if error and operation.name in candidate.lost and len(sys.modules) > modules:  # it was importing, first of all
            error = _error(candidate, operation, arguments)
        return error

    if operation.name not in QUESTIONS:
        return
    candidate.start_trial()
    arguments = simplest(operation.name)
    error = ask(arguments)
    if (much := _printed(printed)) > MUCH:
        tell("remark", f"{operation.name} prints {much / 1e6:.2g} MB when it is asked, which is not shown")
    if error is None:
        computed, lasted = candidate.computed, candidate.lasted
        ask(arguments)  # what had to be imported or compiled is so now
        seconds = max(candidate.computed - computed, (candidate.lasted - lasted) / WAITING)
        if seconds * FEWEST > budget:
            yield _too_slow(operation, arguments, candidate.last_call, seconds)
            return
    elif operation.name not in candidate.lost:
        until = time.monotonic() + ENOUGH
        for question in filter(something_counts, drawn(QUESTIONS[operation.name], OTHERS)):
            if time.monotonic() > until:
                break
            ask(question.arguments)
            if candidate.answers or operation.name in candidate.lost:
                break
        candidate.look(operation.name)
    error = candidate.lost.get(operation.name, [candidate.broken.get(operation.name)])[0]
    if error:
        actual = None if error.actual is None else show(error.actual)
        yield Finding(operation.name, str(error), error.call.arguments, str(error.call), actual)


def _error(candidate: "Candidate", operation: Operation, arguments: tuple[Any, ...]) -> Any:
    """The violation that a call is, or None for a call that is answered or declined."""
    from .candidate import Declined
    from .limits import Stopped
    from .properties.checking import Violation

    try:
        candidate.answer(operation, *arguments)
    except Declined:
        return None
    except Violation as violation:
        return violation.with_traceback(None)  # which keeps what was returned, gigabytes perhaps
    except Stopped as stopped:
        return stopped.charge
    return None


def _too_slow(operation: Operation, arguments: tuple[Any, ...], lasted: float, seconds: float) -> Finding:
    said = (
        f"{operation.name} takes {lasted:.1f} s for the simplest question, and thousands are to be asked; "
        f"--budget={FEWEST * seconds + 1:.0f} asks it nevertheless"
    )
    return Finding(operation.name, said, arguments, violates=False)


def _printed(file: Any) -> int:
    """How many bytes were printed since the last time."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):  # closed by the candidate
            stream.flush()
    size = os.fstat(file.fileno()).st_size
    file.truncate(0)
    file.seek(0)
    return size


# In the process that starts it


class Look:
    """A look at a candidate, which begins at once, in as many processes as it takes; it has to be closed.

    only: what is to be checked.  patience, budget: seconds that one call may last, and that a property of 100 examples
    may take.
    """

    def __init__(self, what: str, only: Only, patience: float, budget: float) -> None:
        self._what = what
        self._only = only
        self._limits = patience, budget
        self._begin(frozenset())

    def finish(self, say: Callable[[str, Any], None]) -> Looked:
        """What is found.

        say: called with what happens, as it happens: ``("asking", operation)``, ``("problem", text)``,
        ``("found", Finding)`` and ``("remark", text)``.
        """
        looked = Looked()
        for ended in range(ENDINGS):
            if ended:
                self.close()
                self._begin(frozenset(looked.findings))
            lost = _heard(self._what, self._events, looked, say)
            if lost is None:
                break
            looked.findings[lost.operation] = lost
            say("found", lost)
        return looked

    def go_on(self, asked: Callable[[Any, Callable[[str], None]], Any], say: Callable[[str], None]) -> Any:
        """What the process that has looked finds when it calls a function; None, if it ends before it knows.

        asked: a function, that pickle takes, of the candidate's module and of what is to be called with how far it is;
        it gives something else than None.  say: called with that, in this process.
        Raises KeyboardInterrupt where it is one that ends that process.
        """
        interrupted = False
        with suppress(BrokenPipeError), _there(self._run.stdin) as briefing:
            pickle.dump(asked, briefing)
        while True:
            try:
                name, *said = self._events.get()
            except KeyboardInterrupt:  # a process of another group is not told by the terminal
                interrupted = True
                self._run.send_signal(signal.SIGINT)
                continue
            match name:
                case "progress":
                    say(*said)
                case "result":
                    return said[0]
                case "ended" if interrupted:
                    raise KeyboardInterrupt
                case "ended":
                    return None

    def close(self) -> None:
        """End the process; one that has started a program is let end that first."""
        with suppress(BrokenPipeError):
            _there(self._run.stdin).close()  # nothing more is to be run
        with suppress(subprocess.TimeoutExpired):
            self._run.wait(GRACE if self._what.startswith(PREFIX) else 0)
        self._run.kill()
        self._run.wait()
        self._receiver.join(GRACE)  # a process that the candidate has started may hold the pipe open

    def _begin(self, skipped: frozenset[str]) -> None:
        start = f"import sys; sys.path[:] = {sys.path!r}; from rlspec.first_look import child; child()"
        self._run = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0,
        )  # fmt: skip
        with suppress(BrokenPipeError):
            pickle.dump((self._what, self._only, *self._limits, skipped), _there(self._run.stdin))
            _there(self._run.stdin).flush()
        self._events: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._receiver = threading.Thread(target=_receive, args=(self._run.stdout, self._events), daemon=True)
        self._receiver.start()


def _there(stream: Any) -> Any:
    assert stream
    return stream


def _receive(stream: BinaryIO, events: "queue.Queue[tuple[Any, ...]]") -> None:
    with suppress(EOFError, pickle.UnpicklingError, OSError), stream:
        while True:
            events.put(pickle.load(stream))
    events.put(("ended",))


def _heard(
    what: str, events: "queue.Queue[tuple[Any, ...]]", looked: Looked, say: Callable[[str, Any], None]
) -> Finding | None:
    patience, asked = IMPORTING, ("", (), "")
    while True:
        try:
            name, *said = events.get(timeout=patience + GRACE)
        except queue.Empty:
            name, said = "ended", [f"did not return within {patience:g} s"]
        match name:
            case "imported":
                looked.provided = said[0]
                for remark in said[1]:
                    _remark(remark, looked, say)
            case "about":
                looked.about = said[0]
            case "problem":
                looked.problem = said[0]
                say("problem", said[0])
            case "asking":
                asked, patience = (said[0], said[1], said[3]), 2 * said[2]
                say("asking", said[0])
            case "found":
                if said[0].operation not in looked.findings:
                    say("found", said[0])
                looked.findings[said[0].operation] = said[0]
            case "remark":
                _remark(said[0], looked, say)
            case "interrupted":
                looked.interrupted = True
            case "end":
                return None
            case "ended" if asked[0]:
                fate = said[0] if said else "ended the process that asked it"
                return Finding(asked[0], f"{asked[0]} {fate}", *asked[1:])
            case "ended":
                fate = f"was not imported within {patience:g} s" if said else "ended the process that imported it"
                looked.problem = f"candidate {what} {fate}"
                say("problem", looked.problem)
                return None


def _remark(text: str, looked: Looked, say: Callable[[str, Any], None]) -> None:
    if text not in looked.remarks:
        looked.remarks.append(text)
        say("remark", text)
