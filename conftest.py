"""The checkout's own test run: the harness, and the chapters' examples."""

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

pytest_plugins = ["rlspec.harness"]

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["spec/*.md"]).pytest()
