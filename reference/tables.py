"""What a large process is refused for: arrays and sparse matrices that are none, by name."""

from typing import Any

import numpy as np

from .decision_process import require_discount
from .linear_algebra import Number


def require_process(
    transition: Any, reward: Any, initial: Any, policy: Any, gamma: Number, horizon: int | None = None
) -> None:
    """Raise ValueError, by name and row, unless the shapes belong together and all distributions sum to 1.

    transition: [S, A, S], or [S A, S], where it may be sparse.  reward, policy: [S, A].  initial: [S].  Rationals must
    sum to 1 exactly, floating-point numbers to within their rounding errors.  That the numbers are not negative is left
    to the caller: `TabularMDP` looks at each of them, and this at their sums.
    """
    states, actions = initial.shape[0], policy.shape[-1]
    rows = (states, actions, states) if len(transition.shape) == 3 else (states * actions, states)
    require_shape("transition", transition, rows)
    require_shape("reward", reward, (states, actions))
    require_shape("initial", initial, (states,))
    require_shape("policy", policy, (states, actions))
    for name, table in {"transition": transition, "initial": initial, "policy": policy}.items():
        require_distributions(name, table)
    require_discount(gamma, horizon)


def require_shape(name: str, table: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError, by name, for another shape."""
    if table.shape != shape:
        raise ValueError(f"{name} has the shape {list(table.shape)} where {list(shape)} was expected")


def require_distributions(name: str, table: Any) -> None:
    """Raise ValueError, by name and row, unless the last axis sums to 1."""
    sums = np.asarray(table.sum(axis=len(table.shape) - 1)).reshape(table.shape[:-1])
    allowed = 2 * table.shape[-1] * np.finfo(sums.dtype).eps if sums.dtype.kind == "f" else 0
    for row in np.argwhere(~np.asarray(abs(sums - 1) <= allowed))[:1]:
        place = "".join(f"[{index}]" for index in row)
        raise ValueError(f"{name}{place} sums to {sums[tuple(row)]}; a distribution must sum to 1")
