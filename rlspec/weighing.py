"""Gradients that are right but for a factor of each part of the batch: parts that were averaged by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .answers import Chosen, misses, right_of
from .recorded import Seen

SCATTER = 4
"""So many times nearer to one another are factors of one part of the batch than those of different parts, at least."""


@dataclass(frozen=True)
class Weights:
    """By what a gradient is multiplied: one factor for each of so many parts of the batch, in words."""

    parts: int
    words: str


def fewest_parts(calls: Sequence[Seen], choices: Sequence[Chosen]) -> tuple[Chosen, Weights] | None:
    """The choices under which a gradient is right but for the fewest factors, and these; None, if it never is."""
    told = [(taken, next(filter(None, (weights(call, taken) for call in calls)), None)) for taken in choices]
    found = [(taken, one) for taken, one in told if one]
    return min(found, key=lambda pair: pair[1].parts, default=None)


def weights(call: Seen, taken: Chosen) -> Weights | None:
    """By what a gradient is multiplied, if that is one factor for each part of the batch."""
    for name, off, allowed in misses(call, taken):
        answer, exact = call.results[name].astype(float), right_of(call, taken)[name]
        if not answer.ndim or not name or not (off > allowed).any() or not np.isfinite(answer).all():
            continue
        tables = [table if table.ndim == 2 else table[:, None] for table in (answer, exact, allowed)]
        for axis, what in ((1, "row"), (0, "step"))[: answer.ndim]:
            for factors in _factors(tables[0], tables[1], tables[2], axis):
                runs = _runs(factors)
                if not (1 < len(runs) <= len(factors) // 2 and _apart(runs)):
                    continue
                parts = ", ".join(_part(run, what) for run in runs)
                said = f"{name} is right but for a factor of each part of the batch, {parts}: parts were averaged by "
                return Weights(len(runs), said + "themselves, and then not weighed by how much they have")
    return None


Factor = tuple[float, float]
"""What right numbers are multiplied by, and how far rounding may have taken that."""


def _factors(answer: np.ndarray, exact: np.ndarray, allowed: np.ndarray, axis: int) -> list[list[Factor]]:
    """What right numbers are multiplied by along the other axis, if it is one factor all along this one.

    First with the error that rounding makes where its signs are those of chance, the root of the sum of squares, and
    then with the one that it makes at worst, which leaves little to be told of 16-bit numbers.
    """
    squares = (exact * exact).sum(axis=axis)
    if not squares.all() or not np.isfinite(squares).all() or not np.isfinite(allowed).all():
        return []
    factors = (answer * exact).sum(axis=axis) / squares
    by_number = allowed * np.abs(exact)
    times = np.maximum(np.abs(factors), 1) / squares
    errors, likely = by_number.sum(axis=axis) * times, np.sqrt((by_number**2).sum(axis=axis)) * times
    off = np.abs(answer - np.expand_dims(factors, axis) * exact)
    room = allowed * np.maximum(np.abs(np.expand_dims(factors, axis)), 1) + np.expand_dims(errors, axis) * np.abs(exact)
    if not (off <= room).all():
        return []
    return [list(zip(factors.tolist(), of.tolist(), strict=True)) for of in (likely, errors)]


@dataclass
class Run:
    """Places from and to which a factor is the same but for rounding, and what it is at each of them."""

    first: int
    factors: list[Factor]

    @property
    def best(self) -> Factor:
        """The factor where it is known best."""
        return min(self.factors, key=lambda factor: factor[1])


def _runs(factors: Sequence[Factor]) -> list[Run]:
    """The places one after another, as long as the factor is the same but for rounding."""
    runs = [Run(0, [factors[0]])]
    for place, (factor, error) in enumerate(factors[1:], 1):
        known, its_error = runs[-1].best
        if abs(factor - known) <= error + its_error:
            runs[-1].factors.append((factor, error))
        else:
            runs.append(Run(place, [(factor, error)]))
    return runs


def _apart(runs: Sequence[Run]) -> bool:
    """Whether factors in a run are much nearer to one another than those of different runs are."""
    numbers = [[factor for factor, _ in run.factors] for run in runs]
    return SCATTER * max(map(np.ptp, numbers)) <= min(abs(run.best[0] - after.best[0]) for run, after in pairwise(runs))


def _part(run: Run, what: str) -> str:
    factor, error = run.best
    said, last = f"{factor:.{4 if error < 1e-3 else 2}g}", run.first + len(run.factors) - 1
    return f"{said} for {what} {run.first}" if last == run.first else f"{said} for {what}s {run.first} to {last}"
