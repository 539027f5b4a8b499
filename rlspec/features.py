"""What is special about a call of an operation: where defects live, and what a recorded run may never have shown."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .spec.operations import Operation

NOT_FINITE = "a number that is not finite"
"""The feature that no run should have."""

OF_STEPS = ("terminated", "truncated")
"""What features speak of as flags of a row's steps; some operations have one flag for each transition instead."""

Arrays = Mapping[str, Any]


def _any_number_is_not_finite(given: Arrays) -> bool:
    arrays = (value for value in given.values() if isinstance(value, np.ndarray) and value.dtype.kind == "f")
    return any(not np.isfinite(array).all() for array in arrays)


def _mask(given: Arrays) -> np.ndarray:
    return np.asarray(given["mask"] if "mask" in given else given["completion_mask"], dtype=bool)


def _lengths(given: Arrays) -> np.ndarray:
    """How many entries of each row count."""
    mask = _mask(given)
    return mask.reshape(len(mask), -1).sum(axis=1)


def _ratio(given: Arrays) -> np.ndarray:
    """The probability ratio of each token that counts, 1 elsewhere."""
    with np.errstate(all="ignore"):
        return np.exp(np.where(_mask(given), given["logp"] - given["old_logp"], 0.0))


def _group_sizes(given: Arrays) -> np.ndarray:
    return np.unique(given["groups"], return_counts=True)[1]


def _some_group_is_equal(given: Arrays) -> bool:
    names, of, sizes = np.unique(given["groups"], return_inverse=True, return_counts=True)
    return any(np.ptp(given["rewards"][of == one]) == 0 for one in range(len(names)) if sizes[one] > 1)


FEATURES: dict[str, tuple[tuple[str, ...], Callable[[Arrays], Any]]] = {
    "a termination inside a row": (("terminated",), lambda of: of["terminated"][:, :-1].any()),
    "a truncation inside a row": (("truncated",), lambda of: of["truncated"][:, :-1].any()),
    "a truncation in a last step": (("truncated",), lambda of: of["truncated"][:, -1].any()),
    "a step that is terminated and truncated": (
        ("terminated", "truncated"),
        lambda of: (of["terminated"] & of["truncated"]).any(),
    ),
    "a row that is cut where its episode goes on": (
        ("terminated", "truncated"),
        lambda of: (~(of["terminated"] | of["truncated"])[:, -1]).any(),
    ),
    "an entry that does not count": (("mask",), lambda of: (~_mask(of)).any()),
    "a row in which nothing counts": (
        ("mask",),
        lambda of: (~_mask(of).reshape(len(of["mask"]), -1).any(axis=1)).any(),
    ),
    "a row in which everything counts": (
        ("mask",),
        lambda of: _mask(of).reshape(len(of["mask"]), -1).all(axis=1).any(),
    ),
    "rows of different lengths": (
        ("mask",),
        lambda of: len(np.unique(_mask(of).reshape(len(of["mask"]), -1).sum(axis=1))) > 1,
    ),
    "a ratio above the clip": (
        ("logp", "old_logp", "clip_high"),
        lambda of: (_ratio(of) > 1 + of["clip_high"]).any(),
    ),
    "a ratio below the clip": (("logp", "old_logp", "clip_low"), lambda of: (_ratio(of) < 1 - of["clip_low"]).any()),
    "a ratio other than 1": (("logp", "old_logp"), lambda of: (_ratio(of) != 1).any()),
    "a group of one": (("groups",), lambda of: (_group_sizes(of) == 1).any()),
    "groups of different sizes": (("groups",), lambda of: len(np.unique(_group_sizes(of))) > 1),
    "a group whose rewards are equal": (("groups", "rewards"), _some_group_is_equal),
    NOT_FINITE: ((), _any_number_is_not_finite),
}
"""Each feature's words, the arguments that an operation has if it can have the feature, and whether a call has it."""


def possible(operation: Operation) -> list[str]:
    """The features that calls of an operation can have."""
    has = {name for name, axes in operation.axes.items() if name not in OF_STEPS or "T" in axes}
    return [name for name, (wanted, _) in FEATURES.items() if {*wanted} <= has]


def features_of(operation: Operation, given: Arrays) -> list[str]:
    """The features that a call has, of those that calls of its operation can have."""
    return [name for name in possible(operation) if bool(FEATURES[name][1](given))]
