"""The reference, which answers only what is asked most: for the like of it some of the corpus's inputs are spare.

``python -m rlspec.corpus --spare rlspec.narrow`` adds them.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from .candidates import reference
from .spec.operations import OPERATIONS, Operation

USUAL = {
    "baseline": "mean",
    "clip": "pessimistic",
    "credit": "team",
    "direction": "reverse",
    "estimator": "k3",
    "form": "truncated",
    "kl": "k3",
    "level": "token",
    "mode": "next step",
    "ratio": "token",
    "reduction": "token-mean",
    "scale": "std",
    "tail": "renormalized",
}
"""The only text that is taken for an argument, by its name."""

OFF = {"dual_clip": None, "label_smoothing": 0}
"""What is not switched on."""

WITHOUT_EXCEPTION = {"valid": True, "truncated": False}
"""What all elements of a flag have to be."""


def _narrow(operation: Operation) -> Callable[..., Any]:
    answer = getattr(reference, operation.name)

    @wraps(answer)
    def narrow(*arguments: Any) -> Any:
        for name, value in zip(operation.parameters, arguments, strict=True):
            if isinstance(value, np.ndarray):
                if name in WITHOUT_EXCEPTION and (value != WITHOUT_EXCEPTION[name]).any():
                    raise NotImplementedError(f"{name} is {WITHOUT_EXCEPTION[name]} everywhere")
            elif isinstance(value, str) and value != USUAL.get(name, value):
                raise NotImplementedError(f"{name} is {USUAL[name]!r}")
            elif value != OFF.get(name, value):
                raise NotImplementedError(f"{name} is {OFF[name]}")
        return answer(*arguments)

    return narrow


globals().update({name: _narrow(operation) for name, operation in OPERATIONS.items()})
