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

from rlspec import properties

PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
WITHOUT = ["-p", "no:rlspec.plugin"]

CHAPTERS = [path.stem.removeprefix("test_") for path in sorted(Path(properties.__path__[0]).glob("test_*.py"))]

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
    idle = folder / "test_idle.py"
    idle.write_text("import torch\n\n\ndef test_nothing():\n    pass\n", encoding="utf-8")
    for processes in (1, 2):
        verdicts = folder / f"verdicts{processes}.json"
        check = ["-m", "rlspec", "check", candidate, f"--verdicts={verdicts}"]
        check += [f"--jobs={processes if processes > 1 else 0}"]
        own, other = [], []
        for _ in range(rounds):
            own.append(seconds(check, folder, fine=(0, 1)))
            verdicts.unlink()  # there are some
            other.append(seconds([*PYTEST, *WITHOUT, str(idle)], folder))
        what = f"rlspec check {candidate}, {processes} process{'es' * (processes > 1)}"
        yield what, own, "pytest that imports torch", other


def chapters(folder: Path, candidate: str) -> Iterator[Row]:
    """Each chapter's properties on one candidate, in one process, beside a pytest run that imports torch."""
    idle = folder / "test_idle.py"
    idle.write_text("import torch\n\n\ndef test_nothing():\n    pass\n", encoding="utf-8")
    other = [seconds([*PYTEST, *WITHOUT, str(idle)], folder) for _ in range(3)]
    for chapter in CHAPTERS:
        module = f"rlspec.properties.test_{chapter}"
        asked = [*PYTEST, "-n0", "--pyargs", module, f"--candidate={candidate}"]
        yield f"chapter {chapter}", [seconds(asked, folder, fine=(0, 1))], "pytest that imports torch", other


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
