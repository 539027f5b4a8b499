"""What a trial costs, whole and until the first violation, and what an installed rlspec costs those who do not use it.

    python benchmarks/whole_run.py [CANDIDATE]

Each row is timed beside its rival in the same run, taking turns; the ratio is what to compare between machines.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rlspec.selection import BINDING
from rlspec.spec.clauses import clauses

PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
WITHOUT = ["-p", "no:rlspec.plugin"]

CHAPTERS = {clause.prefix: clause.chapter for clause in clauses().values() if clause.level in BINDING}
"""The names of the chapters that a candidate can break, by their clauses' letters."""

Row = tuple[str, list[float], str, list[float]]


def seconds(arguments: list[str], folder: Path, fine: tuple[int, ...] = (0,)) -> float:
    """The time that one run of Python takes.  Raises RuntimeError unless its exit status is fine."""
    start = time.perf_counter()
    run = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if run.returncode not in fine:
        raise RuntimeError(f"python {' '.join(arguments)} exits with {run.returncode}\n{run.stdout}{run.stderr}")
    return taken


def trials(folder: Path, candidate: str, rounds: int = 3) -> Iterator[Row]:
    """All properties on one candidate, beside a pytest run that imports torch and does nothing with it."""
    idle = importing(folder, "torch")
    for processes in (1, 2):
        verdicts = folder / f"verdicts{processes}.json"
        check = ["-m", "rlspec", "check", candidate, f"--verdicts={verdicts}"]
        check += [f"--jobs={processes if processes > 1 else 0}"]
        own, other = [], []
        for _ in range(rounds):
            own.append(seconds(check, folder, fine=(0, 1)))
            verdicts.unlink()  # there are some
            other.append(seconds(idle, folder))
        what = f"rlspec check {candidate}, {processes} process{'es' * (processes > 1)}"
        yield what, own, "pytest that imports torch", other


def chapters(folder: Path, candidate: str) -> Iterator[Row]:
    """Each chapter's clauses on one candidate, beside a pytest run that imports torch."""
    other = [seconds(importing(folder, "torch"), folder) for _ in range(3)]
    for prefix, chapter in CHAPTERS.items():
        asked = ["-m", "rlspec", "check", candidate, prefix]
        what = f"check {candidate} {prefix} ({chapter})"
        yield what, [seconds(asked, folder, fine=(0, 1))], "pytest that imports torch", other


GAE = """
import numpy as np


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    result, carry = np.zeros(values.shape), 0
    for t in reversed(range(values.shape[1])):
        bootstrap = np.where(terminated[:, t], 0, next_values[:, t])
        cut = np.logical_or(terminated[:, t], truncated[:, t])
        carry = rewards[:, t] + gamma * bootstrap - values[:, t] + gamma * lam * np.where(cut, 0, carry)
        result[:, t] = carry
    return result
"""


def single(folder: Path, candidate: str, rounds: int = 5) -> Iterator[Row]:
    """One operation or clause, beside a pytest run that imports what the candidate does."""
    adapter = folder / "adapter.py"
    adapter.write_text(GAE, encoding="utf-8")
    for what, name, module in [
        (str(adapter), "gae", "numpy"), (candidate, "gae", "torch"), (candidate, "ppo_loss", "torch"),
        (candidate, "ADV-3", "torch"),
    ]:  # fmt: skip
        idle = importing(folder, module)
        pairs = [(seconds(["-m", "rlspec", "check", what, name], folder), seconds(idle, folder)) for _ in range(rounds)]
        own, other = zip(*pairs, strict=True)
        yield f"check {Path(what).name} {name}", [*own], f"pytest that imports {module}", [*other]


def importing(folder: Path, module: str) -> list[str]:
    """The arguments of a pytest run that imports a module and does nothing with it."""
    idle = folder / f"test_with_{module}.py"
    idle.write_text(f"import {module}\n\n\ndef test_nothing():\n    pass\n", encoding="utf-8")
    return [*PYTEST, *WITHOUT, str(idle)]


FAULTY = """
from rlspec.faults import museum

{operation} = next(fault.implementation for fault in museum().values() if fault.operation == "{operation}")
"""


def first_violations(folder: Path, rounds: int = 5) -> Iterator[Row]:
    """A candidate that has one operation, with a known mistake, until the first violation and until all verdicts.

    In one process: a second one takes longer to start than there is to do.
    """
    for operation in ("gae", "lambda_return"):
        candidate = folder / f"faulty_{operation}.py"
        candidate.write_text(FAULTY.format(operation=operation), encoding="utf-8")
        check = ["-m", "rlspec", "check", str(candidate), "--jobs=0"]
        own = [seconds([*check, "-x"], folder, fine=(1,)) for _ in range(rounds)]
        yield f"first violation of a faulty {operation}", own, "all verdicts", [seconds(check, folder, fine=(1,))]


def strangers(folder: Path, rounds: int = 20) -> Iterator[Row]:
    """Somebody else's run, in an environment in which rlspec is installed."""
    theirs = folder / "test_theirs.py"
    theirs.write_text("def test_nothing():\n    pass\n", encoding="utf-8")
    own, other = [], []
    for turn in range(rounds):
        first, second = (own, []), (other, WITHOUT)
        for runs, options in (first, second) if turn % 2 else (second, first):
            runs.append(seconds([*PYTEST, *options, str(theirs)], folder))
    yield "pytest of someone else, with the plugin", own, "without the plugin", other


def main() -> None:
    """Print the table."""
    candidate = sys.argv[1] if len(sys.argv) > 1 else "torch_autograd"
    print(f"{os.cpu_count()} cores; medians, and in brackets the shortest")
    print(f"{'run':42}{'time':>18}   {'rival':26}{'time':>18}{'run / rival':>14}")
    with TemporaryDirectory() as folder:
        for table in (
            strangers(Path(folder)),
            single(Path(folder), candidate),
            chapters(Path(folder), candidate),
            first_violations(Path(folder)),
            trials(Path(folder), candidate),
        ):
            for what, own, rival, other in table:
                times = [f"{median(runs):7.3f} s ({min(runs):.3f})" for runs in (own, other)]
                ratio = median(own) / median(other)
                print(f"{what:42}{times[0]:>18}   {rival:26}{times[1]:>18}{ratio:14.3f}", flush=True)


if __name__ == "__main__":
    main()
