"""Honest implementations, each written another way: what the properties must never flag.

A variant is one operation as someone might write it.  One that has no honest answer to some input declines it.
"""

from importlib import import_module

from rlspec.spec.operations import OPERATIONS

from .registry import VARIANTS

__all__ = ["VARIANTS"]

for chapter in [*dict.fromkeys(operation.chapter for operation in OPERATIONS.values()), "batched"]:
    import_module(f"{__name__}.{chapter}")
