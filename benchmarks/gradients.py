"""What J and grad J of a large process cost, beside one np.linalg.solve and beside what one would use instead.

    python benchmarks/gradients.py

Each size and number of threads is a process of its own; in it the routes take turns, and medians are compared.
"""

import math
import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import spsolve
from timing import Row, absent, by_itself, in_turns, seconds, show

from rlspec import large

GAMMA = 0.95


def drawn(states: int, actions: int) -> tuple[np.ndarray, ...]:
    """Transition, reward, initial and policy."""
    draw = np.random.default_rng(0)
    transition, policy = draw.random((states, actions, states)), draw.random((states, actions))
    transition /= transition.sum(axis=2, keepdims=True)
    policy /= policy.sum(axis=1, keepdims=True)
    return transition, draw.standard_normal((states, actions)), np.full(states, 1 / states), policy


def autograd(transition: np.ndarray, reward: np.ndarray, initial: np.ndarray, policy: np.ndarray) -> Callable[[], Any]:
    """Torch's derivative of J through the solve."""
    moves, rewards, begun, logits = map(torch.from_numpy, (transition, reward, initial, np.log(policy)))

    def gradient() -> torch.Tensor:
        theta = logits.clone().requires_grad_()
        pi = theta.softmax(1)
        matrix = torch.eye(len(begun), dtype=torch.float64) - GAMMA * torch.einsum("sa,sat->st", pi, moves)
        (begun @ torch.linalg.solve(matrix, (pi * rewards).sum(1))).backward()
        return theta.grad

    return gradient


def compiled(transition: np.ndarray, reward: np.ndarray, initial: np.ndarray, policy: np.ndarray) -> Callable[[], Any]:
    """JAX's, compiled."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    moves, rewards, begun, logits = map(jnp.asarray, (transition, reward, initial, np.log(policy)))

    def value(theta: Any, moves: Any) -> Any:
        pi = jax.nn.softmax(theta, axis=1)
        matrix = jnp.eye(len(begun)) - GAMMA * jnp.einsum("sa,sat->st", pi, moves)
        return begun @ jnp.linalg.solve(matrix, (pi * rewards).sum(axis=1))

    gradient = jax.jit(jax.value_and_grad(value))
    return lambda: gradient(logits, moves)[1].block_until_ready()


def evaluated(chain: np.ndarray, paid: np.ndarray) -> Callable[[], Any]:
    """QuantEcon's V: its policies choose one action, and so the policy's own chain is the only one."""
    from quantecon.markov import DiscreteDP

    process = DiscreteDP(paid[:, None], chain[:, None], GAMMA)
    only = np.zeros(len(paid), dtype=int)
    return lambda: process.evaluate_policy(only)


def differences(
    transition: np.ndarray, reward: np.ndarray, initial: np.ndarray, policy: np.ndarray
) -> Callable[[], Any]:
    """One of the S A components of the gradient, by two solves."""
    logits = np.log(policy)

    def value(logits: np.ndarray) -> float:
        pi = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        system = np.eye(len(initial)) - GAMMA * np.einsum("sa,sat->st", pi, transition)
        return float(initial @ np.linalg.solve(system, (pi * reward).sum(axis=1)))

    def component() -> float:
        nudge = np.zeros_like(logits)
        nudge[0, 0] = 1e-5
        return (value(logits + nudge) - value(logits - nudge)) / 2e-5

    return component


def infinite(states: int, actions: int = 4) -> Iterator[Row]:
    """All routes to one gradient, checked against each other."""
    tables = drawn(states, actions)
    transition, reward, _, policy = tables
    paid, chain = (policy * reward).sum(axis=1), np.einsum("sa,sat->st", policy, transition)
    system = np.eye(states) - GAMMA * chain
    exact = large.return_and_gradient(*tables, GAMMA)[1]

    def solve() -> np.ndarray:
        return np.linalg.solve(system, paid)

    size = f"S={states} A={actions}"
    rounds = 9 if states < 4000 else 5
    own, limit = in_turns(lambda: large.return_and_gradient(*tables, GAMMA), solve, rounds=rounds)
    yield f"J and grad J, {size}", own, "np.linalg.solve, V alone", limit, ""
    own, limit = in_turns(lambda: large.return_and_gradient(*tables, GAMMA, 20), solve, rounds=3)
    yield f"J and grad J, {size}, H=20", own, "np.linalg.solve, V alone", limit, ""
    for name, rival, known in (
        ("torch autograd", partial(autograd, *tables), exact),
        ("JAX, compiled", partial(compiled, *tables), exact),
        ("QuantEcon's evaluate_policy, V alone", partial(evaluated, chain, paid), solve()),
    ):
        try:
            other = rival()
        except ImportError as error:
            absent(name, error)
            continue
        np.testing.assert_allclose(np.asarray(other()), known, rtol=1e-8, atol=1e-14)
        own, taken = in_turns(lambda: large.return_and_gradient(*tables, GAMMA), other, rounds=rounds - 2)
        yield f"J and grad J, {size}", own, name, taken, ""
    component = differences(*tables)
    np.testing.assert_allclose(component(), exact[0, 0], rtol=1e-4, atol=1e-10)
    yield (
        f"J and grad J, {size}",
        own,
        "central differences",
        seconds(component, budget=0) * states * actions,
        "extrapolated",
    )


def grid(side: int, gamma: float = 0.99) -> Iterator[Row]:
    """A square to be walked in four directions."""
    states = side * side
    x, y = np.divmod(np.arange(states), side)
    moves = ((1, 0), (-1, 0), (0, 1), (0, -1))
    reached = [np.clip(x + dx, 0, side - 1) * side + np.clip(y + dy, 0, side - 1) for dx, dy in moves]
    rows = csr_matrix((np.ones(4 * states), np.stack(reached, axis=1).ravel(), np.arange(4 * states + 1)))
    reward, initial = np.random.default_rng(0).standard_normal((states, 4)), np.full(states, 1 / states)
    even = np.full((states, 4), 0.25)
    route = f"J and grad J, grid of {states:,}"
    own = seconds(lambda: large.return_and_gradient(rows, reward, initial, even, gamma), budget=3)
    peak = f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB in all"
    chain, paid, sweeps = large.chain(rows, even), reward.mean(axis=1), math.ceil(math.log(1e-10, gamma))
    sweep = seconds(lambda: paid + gamma * (chain @ paid))
    yield route, own, f"{sweeps} sweeps, V alone to 1e-10", sweeps * sweep, f"extrapolated; {peak}"
    if side < 1000:
        system = (identity(states) - gamma * chain).tocsc()
        own, other = in_turns(
            lambda: large.return_and_gradient(rows, reward, initial, even, gamma),
            lambda: spsolve(system, paid),
            rounds=5,
        )
        yield route, own, "SciPy's spsolve, V alone", other, ""


def main() -> None:
    """Every size by itself; or, as one of these processes, one of them."""
    match sys.argv[1:]:
        case ["dense", size]:
            show(partial(infinite, int(size)))
        case ["grid", size]:
            show(partial(grid, int(size)))
        case _:
            for threads in (1, 2):
                print(f"\n{threads} thread{'s' * (threads > 1)}", flush=True)
                for size in ("1000", "2000", "4000"):
                    by_itself(__file__, "dense", size, threads=threads)
            print("\nsparse, 1 thread", flush=True)
            for size in ("316", "1000"):
                by_itself(__file__, "grid", size)


if __name__ == "__main__":
    main()
