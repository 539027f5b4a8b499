"""Stand-ins for packages that a library imports on the way, and that its formulas do not need."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any
from unittest.mock import MagicMock


class _StandIns(MetaPathFinder, Loader):
    """Modules that answer nothing, in the place of these and of all that is in them."""

    def __init__(self, packages: tuple[str, ...], contents: Mapping[str, Mapping[str, Any]]) -> None:
        self.packages, self.contents = packages, contents

    def covers(self, name: str) -> bool:
        return any(name == package or name.startswith(f"{package}.") for package in self.packages)

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if self.covers(name) else None

    def create_module(self, spec: ModuleSpec) -> Any:
        return MagicMock(__path__=[], **self.contents.get(spec.name, {}))

    def exec_module(self, module: Any) -> None:
        pass


@contextmanager
def standing_in(*packages: str, contents: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[None]:
    """Stand-ins for packages, or parts of one, while a library is imported; afterwards the modules that there were.

    contents: what a module of one of them has, by the module's name, where the library needs more than a name.
    """
    finder = _StandIns(packages, contents or {})

    def taken() -> dict[str, Any]:
        return {name: module for name, module in sys.modules.items() if finder.covers(name)}

    before = taken()
    for name in before:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in taken():
            del sys.modules[name]
        sys.modules.update(before)
