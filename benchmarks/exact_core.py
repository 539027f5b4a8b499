"""What exactness costs: J and grad J, each route beside what a user would pick instead.

    python benchmarks/exact_core.py

Each row is timed beside its rival in the same run; the ratio is what to compare between machines.
"""

import random
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
import torch

from rlspec.reference import dense
from rlspec.reference.decision_process import TabularMDP, expected_return, trajectories
from rlspec.reference.differentiation import gradient_of_polynomial, rational, rational_process
from rlspec.reference.policy_gradient import expected_gradient, return_and_gradient

Row = tuple[str, float, str, float, str]


def seconds(function: Callable[[], Any], budget: float = 0.5) -> float:
    """The shortest of as many runs as the budget allows, or of three where ten times the budget allows them."""
    runs, begun = [], time.perf_counter()
    while not runs or time.perf_counter() - begun < (budget if len(runs) >= 3 else 10 * budget):
        start = time.perf_counter()
        function()
        runs.append(time.perf_counter() - start)
    return min(runs)


def alternating(first: Callable[[], Any], second: Callable[[], Any], rounds: int = 3) -> tuple[float, float]:
    """The shortest runs of two functions that take turns by the second, so that both meet the same machine.

    Not by the call: the threads of one BLAS keep spinning for a while and would be in the other's way.
    """
    runs = [(seconds(first, budget=1), seconds(second, budget=1)) for _ in range(rounds)]
    return min(a for a, _ in runs), min(b for _, b in runs)


def drawn(states: int, actions: int, horizon: int) -> tuple[TabularMDP, list[list[Fraction]]]:
    """A process and a policy in fractions, from random weights 1 to 9."""
    draw = random.Random(0)

    def distribution(outcomes: int) -> list[Fraction]:
        weights = [draw.randint(1, 9) for _ in range(outcomes)]
        return [Fraction(weight, sum(weights)) for weight in weights]

    transition = [[distribution(states) for _ in range(actions)] for _ in range(states)]
    reward = [[Fraction(draw.randint(-3, 3)) for _ in range(actions)] for _ in range(states)]
    mdp = TabularMDP(transition, reward, distribution(states), Fraction(9, 10), horizon)
    return mdp, [distribution(actions) for _ in range(states)]


def rationals() -> Iterator[Row]:
    """Exact J and grad J by dynamic programming."""
    for shape in ((4, 3, 4), (10, 4, 10)):
        mdp, policy = drawn(*shape)
        exact, pi = rational_process(mdp), rational(policy)
        flint, fractions = (
            seconds(lambda mdp=mdp, pi=pi: return_and_gradient(mdp, pi)) for mdp, pi in ((exact, pi), (mdp, policy))
        )
        yield f"J and grad J {shape}, fmpq", flint, "fractions.Fraction", fractions, ""


def enumeration() -> Iterator[Row]:
    """E[ghat] by listing every trajectory."""
    mdp, policy = drawn(4, 3, 4)
    exact, pi = rational_process(mdp), rational(policy)
    count = sum(1 for _ in trajectories(exact, pi))
    flint = seconds(lambda: expected_gradient(exact, pi))
    fractions = seconds(lambda: expected_gradient(mdp, policy))
    yield (
        f"E[ghat], {count} trajectories, fmpq",
        flint,
        "fractions.Fraction",
        fractions,
        f"{count / flint:,.0f} a second",
    )


def naive_closed_form(mdp: TabularMDP) -> list[sympy.Expr]:
    """J expanded as an expression in exp(logits), differentiated by every logit."""
    states, actions = mdp.shape
    logits = [sympy.symbols(f"x{s}_:{actions}") for s in range(states)]
    policy = [[sympy.exp(x) / sum(map(sympy.exp, row)) for x in row] for row in logits]
    tables = ([[[sympy.Rational(p) for p in row] for row in rows] for rows in mdp.transition],
              [[sympy.Rational(r) for r in row] for row in mdp.reward],
              [sympy.Rational(p) for p in mdp.initial])  # fmt: skip
    symbolic = sympy.expand(expected_return(TabularMDP(*tables, sympy.Rational(mdp.gamma), mdp.horizon), policy))
    return [sympy.diff(symbolic, x) for row in logits for x in row]


def closed_forms() -> Iterator[Row]:
    """Grad J from a closed form: a polynomial in the policy's probabilities, or an expression in exponentials."""
    mdp, policy = drawn(2, 2, 4)
    polynomial = seconds(lambda: gradient_of_polynomial(mdp, policy))
    naive = seconds(lambda: naive_closed_form(mdp), budget=0)
    yield "closed form (2, 2, 4), polynomial", polynomial, "SymPy, exp(logits)", naive, ""
    for shape in ((3, 2, 3), (4, 3, 4)):
        mdp, policy = drawn(*shape)
        polynomial = seconds(lambda mdp=mdp, policy=policy: gradient_of_polynomial(mdp, policy))
        exact, pi = rational_process(mdp), rational(policy)
        recursion = seconds(lambda mdp=exact, pi=pi: return_and_gradient(mdp, pi))
        yield f"closed form {shape}, polynomial", polynomial, "recursion, fmpq", recursion, ""


def large(states: int = 1000, actions: int = 4) -> Iterator[Row]:
    """Infinite-horizon J and grad J in float64, beside one np.linalg.solve of the same matrix."""
    draw = np.random.default_rng(0)
    transition, policy = draw.random((states, actions, states)), draw.random((states, actions))
    transition /= transition.sum(axis=2, keepdims=True)
    policy /= policy.sum(axis=1, keepdims=True)
    reward, initial, gamma = draw.standard_normal((states, actions)), np.full(states, 1 / states), 0.95
    paid = (policy * reward).sum(axis=1)
    system = np.eye(states) - gamma * np.einsum("sa,sat->st", policy, transition)
    logits, tensors = np.log(policy), [torch.from_numpy(array) for array in (transition, reward, initial)]

    def value(logits: np.ndarray) -> float:
        weights = np.exp(logits)
        policy = weights / weights.sum(axis=1, keepdims=True)
        chain = np.einsum("sa,sat->st", policy, transition)
        return float(initial @ np.linalg.solve(np.eye(states) - gamma * chain, (policy * reward).sum(axis=1)))

    def autograd() -> torch.Tensor:
        moves, rewards, begun = tensors
        theta = torch.from_numpy(logits).requires_grad_()
        policy = theta.softmax(1)
        chain = torch.einsum("sa,sat->st", policy, moves)
        matrix = torch.eye(states, dtype=torch.float64) - gamma * chain
        (begun @ torch.linalg.solve(matrix, (policy * rewards).sum(1))).backward()
        return theta.grad

    def differences(columns: int = 4) -> None:
        for action in range(columns):
            nudge = np.zeros_like(logits)
            nudge[0, action] = 1e-6
            _ = (value(logits + nudge) - value(logits - nudge)) / 2e-6

    ours, solve = alternating(
        lambda: dense.return_and_gradient(transition, reward, initial, policy, gamma),
        lambda: np.linalg.solve(system, paid),
    )
    np.testing.assert_allclose(
        dense.return_and_gradient(transition, reward, initial, policy, gamma)[1],
        autograd().numpy(),
        rtol=1e-8,
        atol=1e-15,
    )
    size = f"S={states}, A={actions}"
    yield f"J and grad J, {size}, one LU", ours, "np.linalg.solve", solve, ""
    yield f"torch autograd, {size}", seconds(autograd), "np.linalg.solve", solve, ""
    columns = seconds(differences, budget=0) / 4
    yield (
        f"central differences, {size}",
        columns * states * actions,
        "np.linalg.solve",
        solve,
        "extrapolated from 4 columns",
    )


def main() -> None:
    """Print the table."""
    print(f"{'route':42}{'time':>12}   {'rival':22}{'time':>12}{'route / rival':>16}")
    for table in (rationals, enumeration, closed_forms, large):
        for route, own, rival, other, note in table():
            print(
                f"{route:42}{own * 1e3:9.3f} ms   {rival:22}{other * 1e3:9.3f} ms{own / other:16.4g}   {note}".rstrip()
            )


if __name__ == "__main__":
    main()
