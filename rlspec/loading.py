"""Finding the candidate's module, and saying in one line why it cannot be had.

Nothing heavy is imported here, so that what is wrong with a module is said before anything else is begun.
"""

import difflib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from . import candidates

PREFIX = "cmd:"
"""What the name of a program begins with; the command follows."""


class NotLoaded(Exception):
    """A candidate that cannot be had; the message says why and what to do."""


def short_names() -> list[str]:
    """The candidates that ship with rlspec."""
    names = (module.name for module in pkgutil.iter_modules(candidates.__path__))
    return sorted(name for name in names if not name.startswith("_"))


def load(what: str) -> Any:
    """The candidate's module: a short name from ``candidates/``, a dotted module name, or a path to a .py file.

    A file is loaded without its folder on ``sys.path``.  ``cmd: COMMAND`` is a program that answers in JSON
    (adapters/README.md), and what it has is like a module.  Raises NotLoaded.
    """
    if what.startswith(PREFIX):
        return _load_program(what)
    try:
        if _is_file(what):
            return _load_file(Path(what))
        return importlib.import_module(f"{candidates.__name__}.{what}" if what in short_names() else what)
    except ModuleNotFoundError as missing:
        if not _is_file(what) and what not in short_names() and f"{what}.".startswith(f"{missing.name}."):
            near = difflib.get_close_matches(what, short_names(), n=1)
            hint = f"did you mean {near[0]}?" if near else f"rlspec ships {', '.join(short_names())}"
            raise NotLoaded(
                f"there is no candidate and no module called {what!r}; {hint} (a file is named by its path, with .py)"
            ) from missing
        said = f"candidate {what} needs the module {missing.name!r}, which is not installed"
        raise NotLoaded(f"{said}{_importing(missing)}") from missing
    except NotLoaded:
        raise
    except (Exception, SystemExit) as error:
        raise NotLoaded(f"candidate {what} cannot be imported: {said_by(error)}{place(error)}") from error


def _load_program(what: str) -> Any:
    from .wire import Adapter, Misbehaved  # with NumPy

    try:
        return Adapter(what.removeprefix(PREFIX))
    except Misbehaved as error:
        raise NotLoaded(f"candidate {what} {error}") from error
    except ValueError as error:  # a quotation that does not end, say
        raise NotLoaded(f"candidate {what} cannot be started: {said_by(error)}") from error


def _is_file(what: str) -> bool:
    return what.endswith(".py") or "/" in what


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise NotLoaded(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"rlspec_candidate_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise NotLoaded(f"{path} is not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def one_line(text: str) -> str:
    """A text in one line, without what a terminal would take for a command; such signs become spaces."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def said_by(error: BaseException) -> str:
    """An error's type and message, in one line."""
    text = one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place(error: BaseException, own: str | None = None) -> str:
    """Where code gave up, as a remark: the last frame of the traceback, and where the candidate's own file led there.

    own: the candidate's file.
    """
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    frames = [(file, line) for file, line in frames if file not in _OURS]
    if not frames or frames[-1][0].startswith("<"):
        return ""
    places = [frames[-1], *([one for one in frames if one[0] == own][-1:] if frames[-1][0] != own else [])]
    return f" ({', called at '.join(f'{Path(file).name}:{line}' for file, line in places)})"


def file_of(error: BaseException) -> str:
    """The file of the last frame of the traceback."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return files[-1] if files else "<nowhere>"


def _importing(error: BaseException) -> str:
    """Where a module was imported that there is not, as a remark."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    asked = [(file, line) for file, line in frames if not file.startswith("<") and file not in _OURS]
    return f" ({Path(asked[-1][0]).name}:{asked[-1][1]})" if asked else ""


_OURS = {__file__, importlib.__file__, str(Path(__file__).with_name("limits.py"))}
"""The files that import a candidate and call it, in which there is no place of an error."""
