"""pytest's way in: the harness joins those runs only that ask for rlspec's properties.

This module is loaded by every pytest run of an environment in which rlspec is installed.  It imports nothing and
adds nothing, not even an option, unless the command line names the properties.
"""

from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> Generator[None, None, None]:
    """Load the harness when an argument is ``rlspec.properties``, one of its modules, or a path to one.

    It is loaded after the conftests, whose options keep their names.
    """
    yield
    if any("rlspec.properties" in argument or "rlspec/properties" in argument.replace("\\", "/") for argument in args):
        early_config.pluginmanager.import_plugin("rlspec.harness")
