"""What exactness costs: J and grad J in rationals and in closed form, each route beside what one would pick instead.

    python benchmarks/exact_core.py

Each row is timed beside its rival in the same run; the ratio is what to compare between machines.
"""

import random
from collections.abc import Iterator
from fractions import Fraction

import sympy
from timing import Row, seconds, show

from rlspec.reference.decision_process import TabularMDP, expected_return, trajectories
from rlspec.reference.differentiation import gradient_of_polynomial, rational, rational_process
from rlspec.reference.policy_gradient import expected_gradient, return_and_gradient


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


def main() -> None:
    """Print the table."""
    show(rationals, enumeration, closed_forms)


if __name__ == "__main__":
    main()
