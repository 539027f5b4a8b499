"""A candidate in any language: a program that is asked, and answers, in lines of JSON (adapters/README.md)."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from math import inf, isfinite, nan, prod
from threading import Thread
from typing import Any

import numpy as np

from . import __version__
from .limits import Overdue, within
from .spec.operations import OPERATIONS, Operation

PROTOCOL = 1
"""The version of the protocol."""

STARTING = 60.0
"""Seconds that a program may take until it has said hello."""

LONGEST = 2**26
"""Bytes that a line may have."""

HEARD = 2000
"""Bytes of standard error that are kept, the last ones."""

SHOWN = 100
"""Characters of a line that are shown in a message."""

LEAVING = 1.0
"""Seconds that a program has to end by itself, or to say its last words, once it is not asked any more."""

NOT_FINITE = {"nan": nan, "inf": inf, "-inf": -inf}
"""How numbers are written that JSON does not have."""

DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool", "str")
"""The types of arrays."""


class Misbehaved(Exception):
    """An answer that cannot be had; as text, what the program has done, such as ``ended``."""


def encoded(value: Any) -> Any:
    """An argument as JSON has it: an array with its dtype, its shape and its entries in a row, or a scalar."""
    if not isinstance(value, np.ndarray):
        return _written(value.item() if isinstance(value, np.generic) else value)
    dtype = "str" if value.dtype.kind in "UO" else value.dtype.name
    return {"dtype": dtype, "shape": list(value.shape), "data": [_written(entry) for entry in value.ravel().tolist()]}


def _written(scalar: Any) -> Any:
    return str(scalar) if isinstance(scalar, float) and not isfinite(scalar) else scalar


def decoded(said: Any) -> Any:
    """An array or a number from its form in JSON.  Raises Misbehaved for anything else."""
    if not isinstance(said, dict):
        return float(_number(said))
    if lacking := [name for name in ("dtype", "shape", "data") if name not in said]:
        raise Misbehaved(f"returned an array without {' and '.join(lacking)}")
    dtype, shape, data = said["dtype"], said["shape"], said["data"]
    if dtype not in DTYPES:
        raise Misbehaved(f"returned an array of dtype {_shown(dtype)}; it has to be one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise Misbehaved(f"returned an array of shape {_shown(shape)}; a list of whole numbers was expected")
    if not isinstance(data, list) or len(data) != prod(shape):
        entries = f"{len(data)} entries" if isinstance(data, list) else "no list"
        raise Misbehaved(f"returned {entries} as the data of an array of shape {shape}; it has {prod(shape)} entries")
    read = {"str": str, "bool": bool}.get(dtype, _number)
    try:
        return np.array([read(entry) for entry in data], dtype=dtype).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise Misbehaved(f"returned data that is not of dtype {dtype} ({error})") from error


def _number(said: Any) -> Any:
    if isinstance(said, str) and said in NOT_FINITE:
        return NOT_FINITE[said]
    if type(said) in (int, float):
        return said
    raise Misbehaved(f"returned {_shown(said)} where a number was expected{NO_NUMBER.get(type(said), '')}")


NO_NUMBER = {
    type(None): '; what is not finite is written "nan", "inf" or "-inf"',
    list: "; an array is an object with dtype, shape and data",
}
"""What is likely to be meant by what stands in a number's place."""


def _shown(said: Any) -> str:
    text = said if isinstance(said, str) else json.dumps(said)
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}, and {len(text) - SHOWN} characters more")


class Program:
    """The running program: lines to its standard input, lines from its standard output."""

    def __init__(self, command: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
        )
        self._unread = bytearray()
        self._heard: deque[int] = deque(maxlen=HEARD)
        self._listener = Thread(target=_listen, args=(self._process.stderr, self._heard), daemon=True)
        self._listener.start()
        self._leave = weakref.finalize(self, _dismiss, self._process)
        self._spent = 0.0

    def send(self, message: dict[str, Any]) -> None:
        """Write a message.  Raises Misbehaved if the program has ended."""
        self._heard.clear()
        assert self._process.stdin is not None
        left = memoryview(json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        try:
            while left:
                left = left[self._process.stdin.write(left) or 0 :]
        except OSError:
            raise Misbehaved(self._ended()) from None

    def read(self) -> Any:
        """The next message.  Raises Misbehaved if none can be had, and Overdue with what there is to say of it."""
        try:
            line = self._line()
        except Overdue:
            raise Overdue(self._silence()) from None
        try:
            message = json.loads(line, parse_constant=_refuse)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            text = line.decode(errors="replace")
            raise Misbehaved(
                f"wrote to standard output a line that is no message, {_shown(text)}; only messages belong there, "
                f"each a JSON object in a line, and everything else on standard error{self._besides()}"
            )
        return message

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > LONGEST:
                raise Misbehaved(f"wrote a line of more than {LONGEST / 2**20:.0f} MiB{self._besides()}")
            chunk = self._process.stdout.read(2**16)
            if not chunk:
                raise Misbehaved(self._ended())
            self._unread += chunk
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    def _ended(self) -> str:
        """What is to be said of a program that has closed its standard output, or its standard input."""
        try:
            status = self._process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            how = "closed its standard output"
        else:
            killed = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            how = f"ended the program ({killed})"
        self._listener.join(LEAVING)
        return f"{how}{self._half_a_line()}{self._besides()}"

    def _silence(self) -> str:
        return f"{self._half_a_line()}{self._besides()}"

    def _half_a_line(self) -> str:
        if not self._unread:
            return ""
        begun = self._unread.decode(errors="replace")
        return f"; of its answer there is half a line, {_shown(begun)}, and no line feed after it"

    def _besides(self) -> str:
        """What the program wrote to standard error since it was asked."""
        said = " ".join(bytes(self._heard).decode(errors="replace").split())
        return f"; on standard error: {said}" if said else ""

    def processor_time(self) -> float:
        """Seconds of processor time that the program has used, of what other programs it starts nothing."""
        with suppress(OSError):  # it has ended
            self._spent = time.clock_gettime(_clock_of(self._process.pid))
        return self._spent

    def dismiss(self) -> None:
        """End the program at once."""
        _kill(self._process)
        self._leave()


def _listen(stream: Any, heard: deque[int]) -> None:
    with suppress(OSError, ValueError):  # the stream was closed
        while chunk := stream.read(2**16):
            heard.extend(chunk)


def _clock_of(pid: int) -> int:
    """The number of the clock that measures a process's processor time: clock_getcpuclockid(3) of Linux."""
    return (~pid << 3) | 2


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    """Let a process end, by closing its standard input, or end it."""
    with suppress(OSError):
        process.stdin and process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(LEAVING)
    _kill(process)
    process.wait()
    for stream in (process.stdout, process.stderr):
        stream and stream.close()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class Adapter:
    """A program's operations as functions, and what it says of itself: what a candidate's module has.

    command: the program and its arguments, as a shell would read them; no shell is started.
    Raises Misbehaved if there is no such program, or if it does not say hello.
    """

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        self._awaited: deque[dict[str, Any]] = deque()
        """Calls that were sent, and have not been answered."""
        self._sent = 0
        """The id of the call sent last."""
        self._spent = 0.0
        """Seconds of processor time of programs that have ended."""
        self._program: Program | None = None
        hello = self._start()
        self.NAME = str(hello.get("name", command))
        self.CONVENTIONS = hello.get("conventions", {})
        self.KNOWN_FAILURES = hello.get("known_failures", {})
        for name in _operations(hello):
            setattr(self, name, partial(self._answer, OPERATIONS[name]))

    def _start(self) -> dict[str, Any]:
        """Start the program; what it says of itself."""
        try:
            self._program = Program(self._command)
        except (OSError, IndexError) as error:
            raise Misbehaved(
                f"cannot be started: {getattr(error, 'strerror', None) or 'no program is named'}"
            ) from None
        try:
            return within(STARTING, self._greet, self._program)
        except Overdue as late:
            self.dismiss()
            raise Misbehaved(f"did not say hello within {STARTING:g} s{late}") from None
        except BaseException:
            self.dismiss()
            raise

    def _greet(self, program: Program) -> dict[str, Any]:
        program.send({"hello": PROTOCOL, "rlspec": __version__})
        hello = program.read()
        if hello.get("hello") != PROTOCOL:
            raise Misbehaved(
                f'answered {_shown(hello)} to the hello of protocol {PROTOCOL}; an object with "hello": {PROTOCOL} and '
                f'"operations" was expected'
            )
        return dict(hello)

    def announce(self, calls: Sequence[tuple[Operation, tuple[Any, ...]]]) -> None:
        """Send several calls at once, which are asked for next, and in this order; whoever asks waits for the answers.

        A program that misbehaves meanwhile is noticed by who asks.
        """
        with suppress(Misbehaved):
            self._send([_called(*call) for call in calls])

    def _answer(self, operation: Operation, *arguments: Any) -> Any:
        """What the program answers to one call.

        Raises NotImplementedError for a call that is declined, and Misbehaved with what went wrong.
        """
        call = _called(operation, arguments)
        try:
            if not self._awaited or self._awaited[0] != call:
                self._send([call])
            expected = self._sent - len(self._awaited) + 1
            self._awaited.popleft()
            reply = self._running().read()
            if reply.get("id") != expected:
                raise Misbehaved(
                    f"answered {_shown(reply)} where the answer to the call with id {expected} was expected; the calls "
                    "of a message are answered in their order"
                )
        except BaseException:  # whatever the program says now belongs to no call
            self.dismiss()
            raise
        if "declined" in reply:
            raise NotImplementedError(reply["declined"])
        if "error" in reply:
            raise Misbehaved(f"raised {' '.join(str(reply['error']).split())}")
        if "result" not in reply:
            raise Misbehaved(f'answered {_shown(reply)}; an object with "result", "declined" or "error" was expected')
        return _result(operation, reply["result"])

    def _send(self, calls: Sequence[dict[str, Any]]) -> None:
        if self._awaited:  # answers to calls that nobody asks for any more
            self.dismiss()
        program = self._running()
        numbered = [{"id": self._sent + place, **call} for place, call in enumerate(calls, start=1)]
        program.send({"calls": numbered})
        self._sent += len(calls)
        self._awaited.extend(calls)

    def _running(self) -> Program:
        """The program, started again if it has ended."""
        if self._program is None:
            self._start()
        assert self._program is not None
        return self._program

    def dismiss(self) -> None:
        """End the program, which is started again when it is asked."""
        self._awaited.clear()
        if self._program:
            self._spent += self._program.processor_time()
            self._program.dismiss()
            self._program = None

    def processor_time(self) -> float:
        """Seconds of processor time that the program has used; where they cannot be had, those on the clock."""
        if sys.platform != "linux":
            return time.monotonic()
        return self._spent + (self._program.processor_time() if self._program else 0.0)


def _operations(hello: dict[str, Any]) -> list[str]:
    """The operations that the program has.  Raises Misbehaved for one that there is not."""
    names = hello.get("operations")
    if not isinstance(names, list):
        raise Misbehaved(f'answered {_shown(hello)} to the hello; "operations", a list of names, is missing')
    for name in names:
        if name not in OPERATIONS:
            near = get_close_matches(str(name), OPERATIONS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Misbehaved(f"has an operation {_shown(name)}, which the specification has not{hint}")
    return names


def _called(operation: Operation, arguments: Sequence[Any]) -> dict[str, Any]:
    named = zip(operation.parameters, arguments, strict=True)
    return {"operation": operation.name, "arguments": {name: encoded(value) for name, value in named}}


def _result(operation: Operation, said: Any) -> Any:
    """The result of a call, or a tuple of several."""
    names = list(operation.results)
    if len(names) == 1:
        return decoded(said)
    if not isinstance(said, dict) or set(said) != set(names):
        raise Misbehaved(f"returned {_shown(said)}; an object with {' and '.join(names)} was expected")
    return tuple(decoded(said[name]) for name in names)
