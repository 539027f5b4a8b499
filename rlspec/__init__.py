"""rlspec: an executable specification of reinforcement learning's formulas, and the arbiter of others' code."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checked import Result, check, check_function
    from .loading import NotLoaded
    from .recording import observe, record, record_to, stop_recording
    from .run_record import Mistake
    from .watching import watch

__all__ = [
    "Mistake",
    "NotLoaded",
    "Result",
    "__version__",
    "check",
    "check_function",
    "observe",
    "record",
    "record_to",
    "stop_recording",
    "watch",
]

__version__ = "0.1.0"

# Installed, the chapters' folders lie inside this one; in a checkout, beside it.
if not (Path(__file__).parent / "spec").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

MODULES = {
    **dict.fromkeys(("Result", "check", "check_function"), "checked"),
    "Mistake": "run_record",
    "NotLoaded": "loading",
    **dict.fromkeys(("observe", "record", "record_to", "stop_recording"), "recording"),
    "watch": "watching",
}
"""Where the public functions stand; imported when they are asked for, since every pytest run imports this module."""


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{MODULES[name]}", __name__), name)
