"""What is special about a call, as flags: for those who choose among test vectors (rlspec/vectors.py)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .spec.operations import Operation


def flags(operation: Operation, arguments: Sequence[Any]) -> list[str]:
    """What is special about a call."""
    given = dict(zip(operation.parameters, arguments, strict=True))
    found = [*_endings(given), *_sizes(given), *_groups(given), *_contents(given)]
    if operation.mask:
        found += _masked(given[operation.mask])
        found += _spread(operation, given)
    return sorted(set(found))


def _endings(given: Mapping[str, Any]) -> Iterator[str]:
    ended = {name: given[name].astype(bool) for name in ("terminated", "truncated") if name in given}
    for flag, name in (("termination", "terminated"), ("truncation", "truncated")):
        if name in ended and ended[name].any():
            yield flag
    if len(ended) == 2 and (ended["terminated"] & ended["truncated"]).any():
        yield "both-ends-at-once"
    if any(flag.ndim == 2 and flag[:, :-1].any() for flag in ended.values()):
        yield "ends-inside"


def _sizes(given: Mapping[str, Any]) -> Iterator[str]:
    shapes = [value.shape for value in given.values() if isinstance(value, np.ndarray)]
    if all(shape[0] == 1 for shape in shapes):
        yield "one-row"
    if all(shape[1:] == (1,) for shape in shapes):
        yield "one-step"
    for name in ("gamma", "lam", "horizon", "dual_clip", "clip"):
        if name in given and (given[name] is None or (name in ("gamma", "lam") and given[name] in (0, 1))):
            yield f"{name}-{'none' if given[name] is None else int(given[name])}"


def _groups(given: Mapping[str, Any]) -> Iterator[str]:
    if "groups" in given:
        groups = given["groups"].tolist()
        sizes = [groups.count(group) for group in groups]
        if 1 in sizes:
            yield "group-of-one"
        if len(set(sizes)) > 1:
            yield "uneven-groups"
        if sum(one != other for one, other in pairwise(groups)) >= len(set(groups)):
            yield "interleaved-groups"
        if isinstance(groups[0], str):
            yield "named-groups"
        alone = [given["rewards"][given["groups"] == name] for name in set(groups)] if "rewards" in given else []
        if any(len(rewards) > 1 and (rewards == rewards[0]).all() for rewards in alone):
            yield "zero-spread"


def _contents(given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        array = np.asarray(value)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            yield "nan" if np.isnan(array).any() else "infinity"
        if isinstance(value, np.ndarray) and name in ("rewards", "values") and array.dtype.kind in "iu":
            yield "whole-numbers"
        if isinstance(value, np.ndarray) and name == "rewards" and array.dtype.kind == "b":
            yield "truth-values"
        if isinstance(value, np.ndarray) and name in FLAGS and array.dtype.kind != "b":
            yield "flags-as-numbers"


FLAGS = ("terminated", "truncated", "mask", "completion_mask", "legal", "valid", "desirable")
"""The parameters that are truth values."""


def _masked(mask: np.ndarray) -> Iterator[str]:
    mask = mask.astype(bool)
    if not mask.any():
        yield "nothing-counts"
    if mask.ndim == 1:
        if not mask.all():
            yield "some-do-not-count"
        return
    counts = mask.sum(axis=1)
    if len(set(counts.tolist())) > 1:
        yield "ragged-mask"
    if (counts == 0).any():
        yield "empty-row"
    steps = np.diff(np.pad(mask.astype(int), ((0, 0), (1, 1))), axis=1)
    if ((steps == 1).sum(axis=1) > 1).any():
        yield "hole"
    if (~mask[:, 0] & (counts > 0)).any():
        yield "padded-left"


def _spread(operation: Operation, given: Mapping[str, Any]) -> Iterator[str]:
    name = next((name for name in ("advantages", "rewards") if name in operation.covered), "")
    if name:
        counted = given[name][given[operation.mask].astype(bool)]
        if counted.size > 1 and (counted == counted[0]).all():
            yield "zero-spread"
