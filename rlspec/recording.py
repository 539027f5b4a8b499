"""Recording some of a training run's own calls, to be judged later by ``python -m rlspec audit``.

Three lines in a trainer record what it computes::

    import rlspec

    rlspec.record_to("run.safetensors", every=100)
    ...
    rlspec.observe("gae", axes="T B", rewards=rewards, values=values, next_values=next_values,
                   terminated=terminated, truncated=truncated, gamma=0.99, lam=0.95, result=advantages)

Nothing here raises into the training, nothing is recorded before ``record_to`` has said where to, and recording stops
when it has taken more than its share of the run's time.
"""

import atexit
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

LOG = logging.getLogger("rlspec")

VERSION = 1
"""Of the format that is written."""

SHARE = 0.01
"""The share of the run's time that recording may take, once it has run for a while."""

GRACE = 1.0
"""Seconds that recording may take in all before its share is looked at."""

OF_A_KIND = 3
"""How many calls are kept because of the same unusual feature, besides those that are kept by number."""

PAUSE = 20.0
"""Seconds between two times that the file is written."""


@dataclass
class Kept:
    """A call as it is kept: its arguments and results as arrays on the host, or as plain values."""

    operation: str
    number: int
    """How many calls of the operation there were before."""
    arguments: dict[str, Any]
    results: dict[str, Any]
    types: dict[str, str]
    """The number type that each array had in training."""
    features: list[str]
    conventions: dict[str, str]


@dataclass
class Recorder:
    """What is kept of a run, and where it goes."""

    path: Path
    every: int
    megabytes: float
    gradients: bool
    begun: float = field(default_factory=time.perf_counter)
    spent: float = 0.0
    """Seconds that recording has taken."""
    bytes: int = 0
    calls: list[Kept] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Calls of each operation."""
    unusual: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Calls that were kept, by operation and feature."""
    warned: set[str] = field(default_factory=set)
    written: int = 0
    """How many calls the file has."""
    process: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def full(self) -> bool:
        """Whether recording has taken what it may of memory or of time."""
        too_long = self.spent > GRACE and self.spent > SHARE * (time.perf_counter() - self.begun)
        return too_long or self.bytes >= self.megabytes * 2**20

    def warn(self, text: str) -> None:
        """Say something once."""
        if text not in self.warned:
            self.warned.add(text)
            LOG.warning("rlspec records nothing of this: %s", text)

    def see(self, operation: str, given: Mapping[str, Any], result: Any, axes: str | None,
            conventions: Mapping[str, str]) -> None:  # fmt: skip
        """Keep a call if its number or a feature of it says so."""
        number = self.counts[operation]
        self.counts[operation] += 1
        if self.full:
            return
        from .recorded import kept  # with NumPy

        call = kept(operation, number, given, result, axes, conventions, anyway=number % self.every == 0,
                    wanted=lambda features: any(self.unusual[operation, one] < OF_A_KIND for one in features),
                    gradients=self.gradients)  # fmt: skip
        if call is not None:
            self.unusual.update((operation, one) for one in call.features)
            with self.lock:
                self.calls.append(call)
                self.bytes += sum(getattr(v, "nbytes", 0) for v in (*call.arguments.values(), *call.results.values()))

    def write(self) -> None:
        """Write the file anew if there is something that it lacks; a reader finds the old one or the new one."""
        with self.lock:
            calls = list(self.calls)
        if len(calls) > self.written and os.getpid() == self.process:
            from .recorded import save  # with NumPy and safetensors

            save(calls, self.path)
            self.written = len(calls)

    def keep_writing(self) -> None:
        """Write the file from time to time, until the run ends."""
        while not self.ended.wait(PAUSE):
            self._write_or_warn()

    def close(self) -> None:
        """Write what is not yet written, and record no more."""
        self.ended.set()
        self._write_or_warn()

    def _write_or_warn(self) -> None:
        try:
            self.write()
        except Exception as error:
            self.warn(f"{self.path} cannot be written ({type(error).__name__}: {error})")


_recorder: Recorder | None = None


def record_to(path: str | os.PathLike[str], *, every: int = 100, megabytes: float = 64, gradients: bool = True) -> None:
    """Record from now on what ``observe`` and ``record`` are told, into a file.

    path: a file whose name ends in ``.safetensors``.  In a run of several processes (``torch.distributed``, or
    ``WORLD_SIZE`` above 1) each of them has a file of its own, ``run.safetensors`` becoming ``run-rank3.safetensors``.
    every: of each operation the first call is kept and every so many-th.  Besides these, a few calls that have an
    unusual feature are: an episode's end inside a row, a row in which nothing counts, a clip that is reached, a group
    of one.  Features are looked for in arrays on the host only.
    megabytes: how much is kept at most, in units of 2^20 bytes.
    gradients: whether the gradient of a loss in PyTorch is kept beside it, which takes a backward pass from the loss to
    the arguments, in those calls that are kept.
    The file is written in the background, at most every 20 seconds, and when the process ends.  A path that is not such
    a file, or cannot be written, is a warning of the logger ``rlspec`` and no error.
    """
    global _recorder
    stop_recording()
    named = Path(path)
    if named.suffix != ".safetensors":
        LOG.warning("rlspec records nothing: %s does not end in .safetensors", named)
        return
    rank, size = _place()
    if size > 1:
        named = named.with_name(f"{named.stem}-rank{rank}{named.suffix}")
    _recorder = Recorder(named, max(int(every), 1), megabytes, gradients)
    threading.Thread(target=_recorder.keep_writing, name="rlspec", daemon=True).start()
    atexit.register(_recorder.close)


def _place() -> tuple[int, int]:
    """The number of this process, and of how many: of PyTorch's run, or else of what its launchers say."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def stop_recording() -> None:
    """Write what is not yet written, and record no more."""
    global _recorder
    if _recorder is not None:
        atexit.unregister(_recorder.close)
        _recorder.close()
        _recorder = None


def observe(operation: str, /, *, result: Any = None, axes: str | None = None,
            conventions: Mapping[str, str] | None = None, **arguments: Any) -> None:  # fmt: skip
    """Note one call of an operation: its arguments by their names in ``spec/operations.py``, and what it answered.

    result: one array or number, or several in a tuple; of a loss the loss alone will do.
    axes: the order of the axes in arrays that have several, such as ``"T B"``; ``"B T"`` unless it is said, and ``"T"``
    for a single row.
    conventions: choices as an adapter declares them; those that are not given are found out.
    Raises nothing: what cannot be recorded is said once, as a warning of the logger ``rlspec``.
    """
    _noted(operation, arguments, result, axes, conventions)


def _noted(operation: str, arguments: Mapping[str, Any], result: Any, axes: str | None,
           conventions: Mapping[str, str] | None) -> None:  # fmt: skip
    """Note a call, whatever the names of its arguments; what is wrong with it is said and not raised."""
    recorder = _recorder
    if recorder is None or recorder.process != os.getpid():
        return
    begun = time.perf_counter()
    try:
        recorder.see(operation, arguments, result, axes, conventions or {})
    except Exception as error:
        recorder.warn(f"{operation}: {_why(error)}")
    finally:
        recorder.spent += time.perf_counter() - begun


def _why(error: Exception) -> str:
    """What went wrong, in one line."""
    if type(error).__name__ == "TracerArrayConversionError":
        return "its arrays have no numbers inside jax.jit; observe it outside, or through jax.debug.callback"
    return str(error) if isinstance(error, ValueError) else repr(error)


@dataclass
class Call:
    """A call that is being made, in a ``with`` block; its result is set inside."""

    result: Any = None


class record:  # noqa: N801  it is used as a decorator and in a with statement
    """Around a function, or a block, that computes an operation: each call is told to ``observe``.

    operation, axes, conventions: as for ``observe``.  names: of the function's parameters that are called otherwise,
    the operation's names by theirs.  Whatever else is named here is an argument that the function does not have.

    As a decorator, whose function's parameters are named as the operation's, or renamed with ``names``::

        @rlspec.record("ppo_loss", clip_low=0.2, clip_high=0.2, names={"old_logprobs": "old_logp"})
        def policy_loss(logp, old_logprobs, advantages, mask): ...

    In a ``with`` statement::

        with rlspec.record("gae", rewards=rewards, values=values, ..., gamma=0.99, lam=0.95) as call:
            call.result = compute_advantages(...)
    """

    def __init__(self, operation: str, /, *, axes: str | None = None, names: Mapping[str, str] | None = None,
                 conventions: Mapping[str, str] | None = None, **known: Any) -> None:  # fmt: skip
        self.operation = operation
        self.told = (axes, conventions)
        self.names = dict(names or {})
        self.known = known
        self._calls: list[Call] = []

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are observed."""
        try:
            parameters = signature(function)
        except ValueError:  # of a function in C that does not say
            LOG.warning("rlspec records nothing of this: %s: the parameters of %s are not known; wrap it in a function "
                        "of Python", self.operation, function)  # fmt: skip
            return function

        @wraps(function)
        def observed(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            if _recorder is not None:
                bound = parameters.bind(*arguments, **named)
                bound.apply_defaults()
                given = {self.names.get(name, name): value for name, value in bound.arguments.items()}
                _noted(self.operation, given | self.known, result, *self.told)
            return result

        return observed

    def __enter__(self) -> Call:
        self._calls.append(Call())
        return self._calls[-1]

    def __exit__(self, kind: object, *_: object) -> None:
        call = self._calls.pop()
        if kind is None and _recorder is not None:
            _noted(self.operation, self.known, call.result, *self.told)
