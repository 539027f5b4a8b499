"""Ctrl-C ends what is run, whatever Python is doing when it comes."""

import gc
import io
import signal
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from rlspec.first_look import Look
from rlspec.interrupts import heed


@contextmanager
def handling(handler):
    """While it lasts, SIGINT is handled so."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def _interrupted_while_collecting():
    """Whoever collects garbage is interrupted in the middle of it, once."""

    def watching(phase, info):
        if not raised:
            raised.append(True)
            signal.raise_signal(signal.SIGINT)

    raised = []
    gc.callbacks.append(watching)
    yield
    gc.callbacks.remove(watching)


def waited():
    """Collect garbage, and wait a little; whether an interrupt came of it."""
    try:
        gc.collect()
        time.sleep(0.2)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.usefixtures("_interrupted_while_collecting")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_python_loses_an_interrupt_in_the_middle_of_a_collection():
    with handling(signal.default_int_handler):
        assert not waited()


@pytest.mark.usefixtures("_interrupted_while_collecting")
def test_an_interrupt_in_the_middle_of_a_collection_comes_a_little_later():
    with handling(signal.default_int_handler):
        heed()
        assert waited()


def test_an_interrupt_comes_at_once_elsewhere():
    with handling(signal.default_int_handler):
        heed()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


class Events:
    """What a process tells that ends, after an interrupt of the one that listens if there was one."""

    def __init__(self, interrupted):
        self.left = [KeyboardInterrupt(), ("ended",)][not interrupted :]

    def get(self):
        """The next event."""
        event = self.left.pop(0)
        if isinstance(event, KeyboardInterrupt):
            raise event
        return event


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_process_that_an_interrupt_has_ended_is_not_taken_for_one_that_the_candidate_has(interrupted):
    look, told = Look.__new__(Look), []
    look._run, look._events = SimpleNamespace(stdin=io.BytesIO(), send_signal=told.append), Events(interrupted)
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            look.go_on(None, None)
    else:
        assert look.go_on(None, None) is None
    assert told == [signal.SIGINT] * interrupted


def test_who_ignores_interrupts_goes_on_doing_so():
    with handling(signal.SIG_IGN):
        heed()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
