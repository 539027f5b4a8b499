"""The checkout's own test run: the harness, and the examples of the chapters and of the book."""

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

pytest_plugins = ["rlspec.harness"]

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["spec/*.md", "book/*.md"]).pytest()
