"""The smallest part of a recorded call that still shows what is wrong with it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .answers import Chosen, explains, misses, of_rows, of_steps, right_of, shape_of_call
from .bounds import right
from .recorded import Seen


@dataclass(frozen=True)
class Excerpt:
    """A part of a recorded call that still shows what is wrong."""

    call: Seen
    expected: dict[str, np.ndarray]
    place: tuple[int, ...]
    """Where the answer is furthest off, in the first result that is."""
    result: str
    slack: float
    cut: bool
    """Whether it is less than the whole call."""


def excerpt_of(call: Seen, taken: Chosen) -> Excerpt:
    """The fewest rows, and of these the fewest steps, for which what is right is as it was and the answer is wrong."""
    whole = call
    if set(call.results) == {name for name, axes in call.operation.results.items() if set(axes) & {"B", "N"}}:
        call = _fewest_rows(call, taken)
        if call.operation.row_by_row:
            call = _fewest_steps(call, taken)
    name, place, allowed = _worst(call, taken)
    return Excerpt(call, right_of(call, taken), place, name, allowed, call is not whole)


def _worst(call: Seen, taken: Chosen) -> tuple[str, tuple[int, ...], float]:
    """The result and the place where an answer is furthest off, compared with what rounding explains."""
    worst: tuple[float, str, tuple[int, ...], float] = (-1.0, "", (), 0.0)
    for name, off, allowed in misses(call, taken):
        share = np.where(off > allowed, off, 0)
        place = tuple(int(index) for index in np.unravel_index(int(np.argmax(share)), share.shape))
        worst = max(worst, (float(share[place]), name, place, float(allowed[place])))
    return worst[1:]


def _fewest_rows(call: Seen, taken: Chosen) -> Seen:
    """The call with the fewest rows that show it: a row alone, or a row with those that its answer depends on."""
    _, (row, *_), _ = _worst(call, taken)
    groups = call.named.get("groups")
    beside = np.flatnonzero(groups == groups[row]) if groups is not None else np.array([row])
    for rows in ([row], beside):
        smaller = of_rows(call, np.asarray(rows))
        if _shows_the_same(call, smaller, taken, (np.asarray(rows),)):
            return smaller
    return call


def _fewest_steps(call: Seen, taken: Chosen) -> Seen:
    """One row from the last step that shows it to the first one after which nothing changes its answer."""
    steps = shape_of_call(call)[1]
    wrong = [off > allowed for _, off, allowed in misses(call, taken)]
    places = [place for part in wrong for place in np.argwhere(part)[:, 1:2].ravel().tolist()]
    for start in sorted(set(places), reverse=True)[:8]:
        for stop in range(start + 1, steps + 1):
            smaller = of_steps(call, slice(start, stop))
            if _shows_the_same(call, smaller, taken, (slice(None), slice(start, stop))):
                return smaller
    return call


def _shows_the_same(call: Seen, smaller: Seen, taken: Chosen, kept: tuple[Any, ...]) -> bool:
    """Whether what is right for a part is what is right there for the whole, and the answer is wrong."""
    name = call.operation.name
    try:
        whole, part = right_of(call, taken), right(name, smaller.arguments, taken)
    except (ValueError, ZeroDivisionError, ArithmeticError):
        return False
    pairs = [(whole[result][kept], own) for result, own in zip(whole, part, strict=True) if result in call.results]
    same = all(np.allclose(of, own, rtol=1e-12, atol=0) for of, own in pairs)
    return same and not explains(smaller, taken)
