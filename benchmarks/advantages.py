"""What the reference's loops over [T, B] cost, beside torchrl's and beside one pass over the memory that they read.

python benchmarks/advantages.py
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from timing import Row, absent, in_turns, show

from rlspec.reference.advantages import gae
from rlspec.reference.returns import lambda_return

GAMMA, LAMBDA = 0.99, 0.95


def drawn(steps: int, rollouts: int) -> list[np.ndarray]:
    """Rewards, values, successors' values, terminations, truncations: [T, B], one step in fifty the last."""
    draw = np.random.default_rng(0)
    numbers = [draw.standard_normal((steps, rollouts)) for _ in range(3)]
    return [*numbers, *(draw.random((steps, rollouts)) < 0.02 for _ in range(2))]


def theirs(tables: list[np.ndarray]) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Torchrl's routes by what they compute, on its own layout, [B, T, 1]."""
    from torchrl.objectives.value import functional as of

    r, v, after, ended, stopped = (torch.from_numpy(np.ascontiguousarray(table.T))[:, :, None] for table in tables)
    both = ended | stopped
    return {
        "torchrl's loop, GAE": ("gae", lambda: of.generalized_advantage_estimate(
            GAMMA, LAMBDA, v, after, r, both, ended)[0]),
        "torchrl vectorised, GAE": ("gae", lambda: of.vec_generalized_advantage_estimate(
            GAMMA, LAMBDA, v, after, r, both, ended)[0]),
        "torchrl's loop, lambda-return": ("lambda_return", lambda: of.td_lambda_return_estimate(
            GAMMA, LAMBDA, after, r, both, ended)),
        "torchrl vectorised, lambda-return": ("lambda_return", lambda: of.vec_td_lambda_return_estimate(
            GAMMA, LAMBDA, after, r, both, ended)),
    }  # fmt: skip


def rollouts(steps: int, count: int, vectorised: bool) -> Iterator[Row]:
    """Both formulas, checked against each other."""
    tables = drawn(steps, count)
    rewards, _, after, ended, stopped = tables
    ours = {
        "gae": (partial(gae, *tables, GAMMA, LAMBDA), tables),
        "lambda_return": (
            partial(lambda_return, rewards, after, ended, stopped, GAMMA, LAMBDA), [rewards, after, ended, stopped]
        ),
    }  # fmt: skip
    size = f"[{steps}, {count}]"
    for name, (route, read) in ours.items():
        own, copies = in_turns(route, lambda read=read: [array.copy() for array in [*read, rewards]])
        yield f"{name} {size}", own, "a copy of what is read and written", copies, ""
    try:
        routes = theirs(tables)
    except ImportError as error:
        absent("torchrl", error)
        return
    for title, (name, rival) in routes.items():
        if "vectorised" in title and not vectorised:
            continue
        np.testing.assert_allclose(rival()[:, :, 0].T.numpy(), np.array(ours[name][0]()), rtol=1e-5, atol=1e-5)
        own, other = in_turns(ours[name][0], rival, rounds=5)
        yield f"{name} {size}", own, title, other, ""


def main() -> None:
    """Print the table."""
    print(f"NumPy on one thread, torch on {torch.get_num_threads()}")
    # Its vectorised functions pad every episode to the longest one, and ask for 46 GB at the second size.
    show(partial(rollouts, 128, 64, vectorised=True), partial(rollouts, 2048, 1024, vectorised=False))


if __name__ == "__main__":
    main()
