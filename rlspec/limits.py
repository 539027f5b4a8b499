"""What a candidate may take, and what ends a property early: time that is used up, a call that does not return."""

import gc
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from types import FrameType
from typing import Any

import pytest
from hypothesis.errors import Flaky, UnsatisfiedAssumption

from .properties.checking import Violation

HANGS = 3
"""How many calls of an operation may be lost, without a return, before it is not asked any more."""


FIRST = 6
"""How many times the patience an operation's first call may take, if it may have to be compiled."""

COMPILERS = ("torch._dynamo", "torch.utils.cpp_extension", "jax", "numba", "tensorflow")
"""Modules that compile what is called, when it is called first."""

WEAK = ("weakref", "_weakrefset", "torch.utils.weak")
"""Modules whose functions are called when an object that is referred to weakly ends, and lose what they raise."""

A_MOMENT = 0.01
"""Seconds until an alarm that came where an exception would be lost rings again."""

WAITING = 4
"""How many times the budget the calls of a property may last, if they wait more than they compute."""


TRIES = 10
"""So many inputs are tried, if none of them can be judged, before the time that a property has ends it."""


@dataclass(frozen=True)
class Limits:
    """Seconds of processor time that the calls of a property may take in all, and seconds that one call may last."""

    budget: float = math.inf
    patience: float = math.inf


UNLIMITED = Limits()


class Clock:
    """Shares out time among properties that run one after the other.

    What one leaves, the following ones have.  seconds: in all, from now on.  properties: how many there are to be.
    """

    def __init__(self, seconds: float, properties: int) -> None:
        self._ends = time.monotonic() + seconds
        self._left = properties

    def share(self) -> float:
        """The time, by ``time.monotonic``, at which the next property is to end."""
        now = time.monotonic()
        share = max(self._ends - now, 0) / max(self._left, 1)
        self._left -= 1
        return now + share


class Stopped(BaseException):
    """The end of a property before it has drawn all its inputs.

    Not an Exception: it passes through Hypothesis, which would otherwise ask again and look for a smaller input, and
    through most of what a candidate catches.
    """

    def __init__(self, reason: str, charge: Violation | None = None) -> None:
        super().__init__(reason)
        self.charge = charge
        """What the property is violated by."""
        self.judged = 0
        """How many inputs it had judged."""


class Unanswered(Stopped):
    """The end of a property that asks an operation which has answered nothing at all, as was said of it once."""


class Overdue(BaseException):
    """Raised inside a call that takes too long; its text, if any, goes on from a sentence that says so."""


def within(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's value; raises Overdue inside it once the seconds are over, and again each second thereafter.

    Only Python code can be interrupted, only in the main thread, and only where there is SIGALRM; elsewhere the call
    takes as long as it takes.  Where Python would swallow an exception, in a finalizer, beside a garbage collection or
    when a weak reference ends, it is raised a moment later.  A timer that runs already waits for the end of the call.
    """
    if not _interruptible(seconds):
        return function(*arguments)
    waiting = True

    def ring(number: int, frame: FrameType | None) -> None:
        if waiting and _swallows(frame):
            signal.setitimer(signal.ITIMER_REAL, A_MOMENT, 1.0)
        elif waiting:
            raise Overdue

    handler = signal.signal(signal.SIGALRM, ring)
    begun, (delay, interval) = time.monotonic(), signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        try:
            return function(*arguments)
        finally:
            waiting = False
    finally:  # the inner one may itself be interrupted, by the first alarm; the next is a second away
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if delay:
            signal.setitimer(signal.ITIMER_REAL, max(delay - (time.monotonic() - begun), 1e-6), interval)


class Watch:
    """What interrupts a call that computes too long, of many short ones: one timer for all of them.

    While it runs, a call by way of it that takes more processor time than the seconds, and less than twice as much, is
    interrupted by Overdue.  Where ``within`` does not interrupt, neither does this.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._calls = self._seen = 0
        self._inside = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """While it lasts, calls are watched."""
        if not _interruptible(self.seconds):
            yield
            return
        handler = signal.signal(signal.SIGVTALRM, self._ring)
        signal.setitimer(signal.ITIMER_VIRTUAL, self.seconds, self.seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, handler or signal.SIG_DFL)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's value; raises Overdue inside it where it lasts too long."""
        self._calls += 1
        self._inside = True
        try:
            return function(*arguments)
        finally:
            self._inside = False

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._inside and self._seen == self._calls and not _swallows(frame):
            raise Overdue
        self._seen = self._calls


def _swallows(frame: FrameType | None) -> bool:
    """Whether the frame runs inside a finalizer or a callback of a collection or weak reference, which lose errors."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code in callbacks or frame.f_code.co_name == "__del__" or frame.f_globals.get("__name__") in WEAK:
            return True
        frame = frame.f_back
    return False


def _interruptible(seconds: float) -> bool:
    return (
        math.isfinite(seconds)
        and hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
    )


@contextmanager
def kept(test: Any, check: Callable[..., None], until: float = math.inf) -> Iterator[None]:
    """While it lasts, a Stopped that leaves the property says how many inputs it judged and what had violated it.

    Hypothesis takes a property for flaky that is stopped where it went on to draw on the same input before; it is
    stopped then as well.

    test: the property as Hypothesis made it.  check: its body.  until: the time, by ``time.monotonic``, after which the
    property is stopped if nothing has violated it.
    """
    judged, tried, charge, end = 0, 0, None, None

    def stop_in_time() -> None:
        """Where the body has drawn what it draws."""
        nonlocal tried, end
        tried += 1
        if charge is None and time.monotonic() > until and (judged or tried >= TRIES):
            end = Stopped("")
            raise end

    @wraps(check)
    def watched(*arguments: Any, **named: Any) -> None:
        nonlocal judged, charge, end
        try:
            check(*arguments, **named)
        except Violation as violation:
            charge = violation
            raise
        except Stopped as stopped:
            end = stopped
            raise
        except UnsatisfiedAssumption:
            stop_in_time()
            raise
        judged += 1
        stop_in_time()

    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(test.hypothesis, "inner_test", watched)
            yield
    except (Stopped, Flaky) as error:
        stopped = error if isinstance(error, Stopped) else end
        if stopped is None:
            raise
        stopped.judged, stopped.charge = judged, stopped.charge or charge
        raise stopped from None
