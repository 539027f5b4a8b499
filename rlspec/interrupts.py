"""Ctrl-C, which Python loses where it comes in the middle of a garbage collection that somebody watches."""

import gc
import signal
from threading import Timer, current_thread, main_thread
from types import FrameType

AGAIN = 0.01
"""Seconds after which it is tried again."""


def heed() -> None:
    """Let no Ctrl-C be lost: Hypothesis watches collections, and Python ignores whatever is raised by who does that.

    Nothing is changed where something else than a KeyboardInterrupt comes of it, or in another than the main thread.
    """
    if current_thread() is main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _raise_or_wait)


def _raise_or_wait(number: int, frame: FrameType | None) -> None:
    watching = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    if frame is None or frame.f_code not in watching:
        raise KeyboardInterrupt
    again = Timer(AGAIN, signal.raise_signal, [number])
    again.daemon = True
    again.start()
