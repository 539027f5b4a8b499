"""What moments without a list of trajectories cost, beside the list, sampling, and a linear solve.

    python benchmarks/moments.py

Each row is timed beside its rival in the same run; the ratio is what to compare between machines.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from exact_core import alternating, seconds
from exact_core import drawn as in_fractions
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import spsolve

from rlspec.reference import dense, moments, sparse
from rlspec.reference.decision_process import trajectories
from rlspec.reference.differentiation import rational, rational_process
from rlspec.reference.policy_gradient import policy_gradient

Row = tuple[str, float, str, float, str]


def drawn(states: int, actions: int, horizon: int | None) -> tuple[Any, np.ndarray]:
    """A process and a policy in float64."""
    draw = np.random.default_rng(0)
    transition, policy = draw.random((states, actions, states)), draw.random((states, actions))
    transition /= transition.sum(axis=2, keepdims=True)
    policy /= policy.sum(axis=1, keepdims=True)
    reward, initial = draw.standard_normal((states, actions)), np.full(states, 1 / states)
    return SimpleNamespace(
        transition=transition, reward=reward, initial=initial, gamma=0.95, horizon=horizon
    ), policy  # fmt: skip


def recursion(mdp: Any, policy: np.ndarray) -> moments.Moments:
    """The moments of reward-to-go, from the tables on."""
    given = moments.process(mdp, policy)
    return moments.moments(given, moments.reward_to_go(given))


def enumeration(mdp: Any, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same from a list of all trajectories, in arrays: all are extended by a step at a time."""
    states, actions = policy.shape
    chance, last = mdp.initial, np.arange(states)
    visited: list[np.ndarray] = []
    for step in range(mdp.horizon):
        if step:
            pairs = visited[-1]
            chance = (chance[:, None] * mdp.transition.reshape(-1, states)[pairs]).ravel()
            visited = [np.repeat(each, states) for each in visited]
            last = np.tile(np.arange(states), len(pairs))
        chance = (chance[:, None] * policy[last]).ravel()
        visited = [np.repeat(each, actions) for each in visited]
        visited.append((last[:, None] * actions + np.arange(actions)).ravel())
    return _from_paths(mdp, policy, visited, chance)


def enumeration_in_rationals(mdp: Any, policy: Any) -> np.ndarray:
    """The second moment from the reference's list of trajectories."""
    outcomes = [
        (p, np.array(policy_gradient(policy, *episode, mdp.gamma), dtype=object).ravel())
        for p, *episode in trajectories(mdp, policy)
    ]
    return sum(p * np.multiply.outer(x, x) for p, x in outcomes)


def _from_paths(
    mdp: Any, policy: np.ndarray, visited: list[np.ndarray], chance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and second moment of the estimates of trajectories [N] with these weights."""
    states, actions = policy.shape
    credit = np.zeros((len(chance), states * actions))
    following, rows = np.zeros(len(chance)), np.arange(len(chance))
    for step in reversed(range(mdp.horizon)):
        following = mdp.reward.ravel()[visited[step]] + mdp.gamma * following
        credit[rows, visited[step]] += mdp.gamma**step * following
    by_state = credit.reshape(-1, states, actions)
    estimates = (by_state - by_state.sum(axis=2, keepdims=True) * policy).reshape(credit.shape)
    return chance @ estimates, estimates.T @ (chance[:, None] * estimates)


def sampled(mdp: Any, policy: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The same from so many trajectories drawn at once."""
    draw = np.random.default_rng(seed)
    states, actions = policy.shape
    to_state, to_action = mdp.transition.reshape(-1, states).cumsum(axis=1), policy.cumsum(axis=1)
    at = draw.choice(states, count, p=mdp.initial)
    visited = []
    for _ in range(mdp.horizon):
        acts = (draw.random(count)[:, None] > to_action[at][:, :-1]).sum(axis=1)
        visited.append(at * actions + acts)
        at = (draw.random(count)[:, None] > to_state[visited[-1]][:, :-1]).sum(axis=1)
    return _from_paths(mdp, policy, visited, np.full(count, 1 / count))


def against_enumeration() -> Iterator[Row]:
    """Growing horizons: where the two cross, and how they go on."""
    for states, actions, horizon in (
        (2, 2, 1),
        (2, 2, 2),
        (2, 2, 4),
        (2, 2, 6),
        (3, 2, 4),
        (4, 3, 4),
        (4, 3, 5),
        (4, 3, 6),
    ):
        mdp, policy = drawn(states, actions, horizon)
        found, (mean, second) = recursion(mdp, policy), enumeration(mdp, policy)
        np.testing.assert_allclose(found.covariance, second - np.multiply.outer(mean, mean), atol=1e-9)
        own = seconds(lambda mdp=mdp, policy=policy: recursion(mdp, policy))
        other = seconds(lambda mdp=mdp, policy=policy: enumeration(mdp, policy), budget=0.3)
        count = (states * actions) ** horizon
        yield f"Cov, S={states} A={actions} H={horizon}", own, f"list of {count:,}", other, ""
    mdp, policy = in_fractions(3, 2, 4)
    mdp, policy = rational_process(mdp), rational(policy)
    exact, listed = (seconds(lambda of=of: of(mdp, policy), budget=0) for of in (recursion, enumeration_in_rationals))
    yield "Cov, S=3 A=2 H=4, rational", exact, "list of 1,296, rational", listed, ""


def against_sampling(count: int = 200_000) -> Iterator[Row]:
    """Sampling to a share of the variance, by the deviation of twenty small samples and the root of their number."""
    mdp, policy = drawn(4, 3, 6)
    exact = recursion(mdp, policy)
    own, other = seconds(lambda: recursion(mdp, policy)), seconds(lambda: sampled(mdp, policy, count))
    variances = [np.trace(s) - m @ m for m, s in (sampled(mdp, policy, 2000, seed) for seed in range(20))]
    for share in (1e-2, 1e-4):
        needed = 2000 * (np.std(variances) / exact.variance / share) ** 2
        yield "Cov, S=4 A=3 H=6", own, f"{needed:.1e} samples, to {share:.2%}", other * needed / count, "extrapolated"


def at_size() -> Iterator[Row]:
    """What no list can do."""
    mdp, policy = drawn(200, 4, 20)
    rows = mdp.transition.reshape(800, 200)
    yield (
        "Cov, S=200 A=4 H=20", seconds(lambda: recursion(mdp, policy), budget=3),
        "20 products of its size", 20 * seconds(lambda: rows @ rows.T), "",
    )  # fmt: skip
    mdp, policy = drawn(200, 4, None)
    yield (
        "Cov, S=200 A=4, for ever", seconds(lambda: recursion(mdp, policy), budget=3), "grad J, dense",
        seconds(lambda: dense.return_and_gradient(mdp.transition, mdp.reward, mdp.initial, policy, 0.95)), "",
    )  # fmt: skip


def gradients() -> Iterator[Row]:
    """grad J alone: dense by one factorisation, a sparse grid, a finite horizon."""
    mdp, policy = drawn(1000, 4, None)
    tables = mdp.transition, mdp.reward, mdp.initial, policy, mdp.gamma
    paid = (policy * mdp.reward).sum(axis=1)
    system = np.eye(1000) - mdp.gamma * np.einsum("sa,sat->st", policy, mdp.transition)
    own, solve = alternating(lambda: dense.return_and_gradient(*tables), lambda: np.linalg.solve(system, paid))
    yield "grad J, S=1000 A=4, for ever", own, "np.linalg.solve", solve, ""
    finite = seconds(lambda: dense.finite_return_and_gradient(*tables, 20))
    yield "grad J, S=1000 A=4 H=20", finite, "np.linalg.solve", solve, ""
    side = 316
    states = side * side
    x, y = np.divmod(np.arange(states), side)
    moves = ((1, 0), (-1, 0), (0, 1), (0, -1))
    reached = [np.clip(x + dx, 0, side - 1) * side + np.clip(y + dy, 0, side - 1) for dx, dy in moves]
    rows = csr_matrix((np.ones(4 * states), np.stack(reached, axis=1).ravel(), np.arange(4 * states + 1)))
    reward, initial = np.random.default_rng(0).standard_normal((states, 4)), np.full(states, 1 / states)
    even = np.full((states, 4), 0.25)
    grid = seconds(lambda: sparse.return_and_gradient(rows, reward, initial, even, 0.95), budget=2)
    system = (identity(states) - 0.95 * sparse.chain(rows, even)).tocsc()
    solved = seconds(lambda: spsolve(system, reward.mean(axis=1)), budget=0)
    yield f"grad J, grid of {states:,}", grid, "scipy's spsolve, V alone", solved, ""


def main() -> None:
    """Print the table."""
    print(f"{'route':32}{'time':>12}   {'rival':26}{'time':>14}{'route / rival':>16}")
    for rows in (against_enumeration, against_sampling, at_size, gradients):
        for route, own, rival, other, note in rows():
            print(
                f"{route:32}{own * 1e3:9.3f} ms   {rival:26}{other * 1e3:11.3f} ms{own / other:16.4g}   {note}".rstrip()
            )


if __name__ == "__main__":
    main()
