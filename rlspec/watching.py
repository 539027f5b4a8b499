"""Auditing a training run while it goes on: the first wrong answer of each operation is said once."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from . import recording

LOG = logging.getLogger("rlspec")

PAUSE = 5.0
"""Seconds between two looks at how many calls there were."""


class _Watch:
    """What has been said, and how many calls there were at the last audit."""

    def __init__(self, recorder: recording.Recorder, every: int, lines: Path | None, writer: Any) -> None:
        self.recorder, self.every, self.lines, self.writer = recorder, every, lines, writer
        self.said: set[str] = set()
        self.audited = 0

    def go_on(self) -> None:
        """Audit from time to time, until the recording ends."""
        while not self.recorder.ended.wait(PAUSE):
            seen = sum(self.recorder.counts.values())
            if seen - self.audited >= self.every:
                self.audited = seen
                try:
                    self._audit(seen)
                except Exception as error:
                    self.recorder.warn(f"the audit failed ({type(error).__name__}: {error})")

    def _audit(self, seen: int) -> None:
        """Audit what is recorded in a process of its own, which gives way to the training."""
        self.recorder.write()
        with tempfile.TemporaryDirectory() as scratch:
            found = Path(scratch) / "found.json"
            command = [sys.executable, "-m", "rlspec", "audit", str(self.recorder.path), f"--json={found}"]
            asked = subprocess.run(command, capture_output=True, text=True, check=False, env=_polite())
            if not found.exists():
                raise RuntimeError(asked.stderr.strip() or f"exit status {asked.returncode}")
            operations = json.loads(found.read_text(encoding="utf-8"))["operations"]
        for name, verdict in operations.items():
            if verdict["verdict"] == "violated" and name not in self.said:
                self.said.add(name)
                self._say(name, verdict["mistake"], seen)

    def _say(self, operation: str, mistake: str, seen: int) -> None:
        text = f"{operation} is wrong: {mistake}; `python -m rlspec audit {self.recorder.path}` shows where"
        LOG.error("rlspec: %s", text)
        if self.writer is not None:
            self.writer.add_text("rlspec", text, seen)
        if self.lines is not None:
            with self.lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"operation": operation, "mistake": mistake, "calls": seen}) + "\n")


def _polite() -> dict[str, str]:
    """The environment of a process that takes one core, and none of the run's devices."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def watch(*, every: int = 1000, lines: str | os.PathLike[str] | None = None, writer: Any = None) -> None:
    """Audit what is recorded each time that so many further calls were observed, beside the training.

    every: a number of calls.  What is wrong is said once for each operation: as an error of the logger ``rlspec``, as a
    JSON line in the file ``lines``, and to a ``writer`` that has ``add_text``, as TensorBoard's has.  Each audit is a
    process of its own.  ``record_to`` comes first; without it nothing is watched, which is a warning.
    """
    recorder = recording._recorder
    if recorder is None:
        LOG.warning("rlspec watches nothing: rlspec.record_to says first where to record to")
        return
    watched = _Watch(recorder, every, None if lines is None else Path(lines), writer)
    threading.Thread(target=watched.go_on, name="rlspec-watch", daemon=True).start()
