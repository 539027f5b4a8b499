"""How a row of a benchmark is timed and printed."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from os import environ
from statistics import median
from typing import Any

Row = tuple[str, float, str, float | None, str]
"""A route, its seconds, its rival, the rival's, or None for one that is not installed, and a note."""


def seconds(function: Callable[[], Any], budget: float = 0.5) -> float:
    """The median of as many runs as the budget allows, or of three where ten times the budget allows them."""
    runs, begun = [], time.perf_counter()
    while not runs or time.perf_counter() - begun < (budget if len(runs) >= 3 else 10 * budget):
        runs.append(_once(function))
    return median(runs)


PAUSE = 0.1
"""Before each turn, in seconds: the threads that one call leaves behind spin for a while, on the next one's core."""


def in_turns(*functions: Callable[[], Any], rounds: int = 9) -> list[float]:
    """The medians of functions that take turns, by the call or by 20 ms of them, so that all meet the same machine."""
    for function in functions:
        function()
    runs = [[_turn(function) for function in functions] for _ in range(rounds)]
    return [median(of) for of in zip(*runs, strict=True)]


def _turn(function: Callable[[], Any], least: float = 0.02) -> float:
    """The mean of as many calls as fit, after a pause."""
    time.sleep(PAUSE)
    calls, begun = 0, time.perf_counter()
    while not calls or time.perf_counter() - begun < least:
        function()
        calls += 1
    return (time.perf_counter() - begun) / calls


def _once(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def absent(rival: str, error: ImportError) -> None:
    """Say on stderr, and so above the table, that a rival does not take part."""
    print(f"NOT INSTALLED: {rival} takes no part ({error})", file=sys.stderr)


def show(*tables: Callable[[], Iterator[Row]]) -> None:
    """Print the tables, row by row as they are found."""
    print(f"{'route':42}{'time':>13}   {'rival':34}{'time':>14}{'route / rival':>16}")
    for table in tables:
        for route, own, rival, other, note in table():
            against = f"{'not installed':>14}" if other is None else f"{other * 1e3:11.3f} ms{own / other:16.4g}"
            print(f"{route:42}{own * 1e3:10.3f} ms   {rival:34}{against}   {note}".rstrip(), flush=True)


def by_itself(script: str, *arguments: str, threads: int = 1) -> None:
    """Run a script with so many threads for every library in it; they read the number when they are imported."""
    names = "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"
    flags = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {}
    subprocess.run(
        [sys.executable, script, *arguments], check=True, env=environ | dict.fromkeys(names, str(threads)) | flags
    )
