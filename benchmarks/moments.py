"""What moments without a list of trajectories cost, beside the list, sampling, and a linear solve.

    python benchmarks/moments.py

Each row is timed beside its rival in the same run; the ratio is what to compare between machines.
"""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from exact_core import drawn as in_fractions
from scipy.sparse import csr_matrix
from timing import Row, in_turns, seconds, show

from rlspec import large, sparse
from rlspec.reference import moments
from rlspec.reference.decision_process import trajectories
from rlspec.reference.differentiation import rational, rational_process
from rlspec.reference.policy_gradient import policy_gradient


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


def listed(mdp: Any, policy: Any) -> np.ndarray:
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
        own, other = in_turns(partial(recursion, mdp, policy), partial(enumeration, mdp, policy), rounds=5)
        count = (states * actions) ** horizon
        yield f"Cov, S={states} A={actions} H={horizon}", own, f"list of {count:,}", other, ""


def in_rationals() -> Iterator[Row]:
    """The same exactly: flint's rationals beside Python's, and beside the reference's list."""
    mdp, policy = in_fractions(3, 2, 4)
    exact, pi = rational_process(mdp), rational(policy)
    flint, fractions = in_turns(lambda: recursion(exact, pi), lambda: recursion(mdp, policy))
    yield "Cov, S=3 A=2 H=4, fmpq", flint, "fractions.Fraction", fractions, ""
    yield "Cov, S=3 A=2 H=4, fmpq", flint, "list of 1,296, fmpq", seconds(lambda: listed(exact, pi), budget=0.1), ""


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
    for horizon in (10, 20, 40):
        mdp, policy = drawn(200, 4, horizon)
        left, right = mdp.transition.reshape(800, 200), mdp.transition.reshape(200, 800)
        own, product = in_turns(partial(recursion, mdp, policy), lambda left=left, right=right: left @ right, rounds=5)
        size = f"S=200 A=4 H={horizon}"
        yield f"Cov, {size}", own, f"{horizon} products [SA, S] [S, SA]", horizon * product, ""
    mdp, policy = drawn(200, 4, 20)
    given = moments.process(mdp, policy)
    groups = seconds(lambda: moments.leave_one_out(moments.episodes(given), 8), budget=2)
    yield (
        "Cov of leave-one-out, S=200 A=4 H=20, N=8",
        groups,
        "Cov of reward-to-go",
        seconds(partial(recursion, mdp, policy), budget=2),
        "",
    )
    mdp, policy = drawn(200, 4, None)
    own, other = in_turns(
        partial(recursion, mdp, policy),
        lambda: large.return_and_gradient(mdp.transition, mdp.reward, mdp.initial, policy, 0.95),
    )
    yield "Cov, S=200 A=4, for ever", own, "J and grad J", other, ""


def on_a_sparse_graph(states: int = 100_000, actions: int = 4, parameters: int = 16) -> Iterator[Row]:
    """A policy with few features, where each action leads to one of two states."""
    draw = np.random.default_rng(0)
    pairs = states * actions
    chances = draw.dirichlet([1, 1], pairs)
    reached = draw.integers(0, states, 2 * pairs)
    rows = csr_matrix((chances.ravel(), reached, 2 * np.arange(pairs + 1)), shape=(pairs, states))
    policy, reward = draw.dirichlet(np.ones(actions), states), draw.standard_normal((states, actions))
    features, initial = draw.standard_normal((states, actions, parameters)), np.full(states, 1 / states)

    def covariance(horizon: int) -> moments.Moments:
        given = sparse.process(rows, reward, initial, policy, 0.99, horizon, features)
        return moments.moments(given, moments.reward_to_go(given))

    columns = features[:, 0]
    for horizon in (10, 20):
        own, product = in_turns(partial(covariance, horizon), lambda: rows @ columns, rounds=3)
        size = f"S={states:,} A={actions} D={parameters} H={horizon}"
        yield f"Cov, {size}", own, f"{horizon} products [SA, S] [S, D]", horizon * product, ""


def main() -> None:
    """Print the table."""
    show(against_enumeration, in_rationals, against_sampling, at_size, on_a_sparse_graph)


if __name__ == "__main__":
    main()
