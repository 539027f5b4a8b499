"""rlspec: an executable specification of reinforcement learning's formulas, and the arbiter of others' code."""

from pathlib import Path

from .recording import observe, record, record_to, stop_recording
from .watching import watch

__all__ = ["__version__", "observe", "record", "record_to", "stop_recording", "watch"]

__version__ = "0.1.0"

# Installed, the chapters' folders lie inside this one; in a checkout, beside it.
if not (Path(__file__).parent / "spec").is_dir():
    __path__.append(str(Path(__file__).parents[1]))
