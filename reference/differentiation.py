"""Exact derivatives of J, by two routes that know no policy gradient theorem.

Both run the very functions of `decision_process` on other numbers.  Polynomials: the policy's probabilities are the
generators of a ring over the rationals, J becomes its closed form, and that is differentiated.  Truncated power series:
each number carries its derivative along, through divisions too, hence through an infinite horizon.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flint import fmpq, fmpq_mpoly, fmpq_mpoly_ctx, fmpq_series

from .decision_process import TabularMDP, expected_return
from .linear_algebra import Matrix, Number
from .policy_gradient import Gradient, through_softmax


def rational(numbers: Any) -> Any:
    """A number, or nested sequences of numbers, as flint's rationals; a float's digits are taken at their word.

    >>> print(rational(0.75))
    3/4
    """
    if isinstance(numbers, Sequence) or getattr(numbers, "ndim", 0) > 0:
        return [rational(number) for number in numbers]
    return numbers if isinstance(numbers, fmpq) else fmpq(*numbers.as_integer_ratio())


def rational_process(mdp: TabularMDP) -> TabularMDP:
    """The same process in flint's rationals, the fastest exact numbers there are for these formulas."""
    return TabularMDP(
        rational(mdp.transition), rational(mdp.reward), rational(mdp.initial), rational(mdp.gamma), mdp.horizon
    )


def return_polynomial(mdp: TabularMDP) -> fmpq_mpoly:
    """J as a polynomial over the rationals in the S A probabilities pi(a|s), its generators, state by state.

    A finite horizon only: an infinite one makes J a quotient of polynomials.

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> print(return_polynomial(bandit))
    8*pi(1|0)
    """
    states, actions = mdp.shape
    names = [f"pi({a}|{s})" for s in range(states) for a in range(actions)]
    generators = fmpq_mpoly_ctx.get(names, "lex").gens()
    policy = [generators[s * actions : (s + 1) * actions] for s in range(states)]
    return expected_return(rational_process(mdp), policy)


def gradient_of_polynomial(mdp: TabularMDP, policy: Matrix) -> Gradient:
    """grad J [S][A] in the logits: the closed form differentiated, evaluated, and taken through the softmax.

    policy: [S][A] rationals.  Finite horizon only.

    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> [row] = gradient_of_polynomial(bandit, [[0.25, 0.75]])
    >>> print(*row)
    -3/2 3/2
    """
    closed_form, (states, actions) = return_polynomial(mdp), mdp.shape
    point = [probability for row in rational(policy) for probability in row]
    partials = [[closed_form.derivative(s * actions + a)(*point) for a in range(actions)] for s in range(states)]
    return through_softmax(rational(policy), partials)


def derivatives_in_logits(objective: Callable[[Matrix], Number], policy: Matrix) -> Gradient:
    """The derivative of any objective(policy) with respect to the logits of the policy's softmax, [S][A].

    policy: [S][A] positive rationals.  To first order, adding epsilon to logit theta_a multiplies the weight
    exp(theta_a) by 1 + epsilon; so the row is divided by its sum anew, in series a + b epsilon, and b is read off the
    objective.

    >>> [row] = derivatives_in_logits(lambda policy: policy[0][1], [[0.25, 0.75]])
    >>> print(*row)
    -3/16 3/16
    """
    policy = rational(policy)
    constant = fmpq_series([0, 0], prec=2)
    return [
        [(constant + objective([*policy[:s], _nudged(row, a), *policy[s + 1 :]]))[1] for a in range(len(row))]
        for s, row in enumerate(policy)
    ]


def _nudged(row: Sequence[fmpq], action: int) -> list[fmpq_series]:
    weights = [fmpq_series([weight, weight * (a == action)], prec=2) for a, weight in enumerate(row)]
    return [weight / sum(weights) for weight in weights]
