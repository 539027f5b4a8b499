"""The right answers to the properties' questions, exact in the arguments' own digits (rlspec/vectors.py)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from fractions import Fraction
from functools import partial
from importlib import import_module
from math import floor, log10
from pkgutil import iter_modules
from typing import Any
from unittest.mock import patch

import numpy as np
from flint import arb, ctx, fmpq

from . import reference
from .properties.balls import PRECISION, nearest
from .properties.checking import each, exactly
from .properties.processes import fractions
from .properties.questions.question import Question, last_names, row_by_row
from .reference import advantages, ppo, preference, reductions, targets
from .reference import policy_gradient as gradients
from .reference.choices import shape_of
from .reference.decision_process import TabularMDP
from .reference.differentiation import rational
from .reference.spread import kept_from_zero

DIGITS = 40
"""How many digits an answer that is no fraction has, counted from the first one of its terms' sum."""

RATIONAL = frozenset({
    "expected_return", "state_values", "action_values", "occupancy", "discounted_return", "reward_to_go",
    "n_step_return", "lambda_return", "td_error", "gae", "policy_gradient_loss", "value_loss", "actor_critic_loss",
    "clip_fraction", "completion_mask", "outcome_score", "token_returns", "token_gae", "aggregate",
    "accumulate", "completion_logp", "ipo_loss", "sppo_loss", "sarsa_target", "expected_sarsa_target", "q_target",
    "double_q_target", "smoothed_actions", "twin_q_target", "soft_target", "n_step_target", "tree_backup",
    "watkins_target", "huber_loss", "categorical_projection", "quantile_huber_loss", "dueling",
    "effective_sample_size", "replayed_targets", "sampled_slots", "sequence_masks", "autoreset_transitions",
    "munchausen_rewards", "agents_gae", "counterfactual_advantages", "vdn_target",
})  # fmt: skip
"""The operations whose answers are fractions: no exponential, logarithm or root is in them."""

Conventions = dict[str, str]


def right(question: Question, conventions: Conventions) -> tuple[np.ndarray, ...]:
    """The exact results under the conventions, as arrays of fractions; where they are none, to hundreds of bits."""
    exact = EXACTLY.get(question.operation.name, _by_the_question)
    chosen = last_names(conventions)
    try:
        with _replaced(square_root=root, shape_of=_exact_shape_of, kept_from_zero=_exactly_kept):
            results = exact(question, chosen)
    except TypeError:  # flint's balls cannot be added to a fraction; a float's digits they take at their word
        with _replaced(square_root=root):
            results = exact(question, chosen)
    return tuple(np.asarray(part, dtype=object) for part in each(results))


@contextmanager
def _replaced(**functions: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, the reference's chapters have these functions in the place of those that are called the same."""
    with ExitStack() as replaced:
        for info in iter_modules(reference.__path__):
            module = import_module(f"{reference.__name__}.{info.name}")
            for name in vars(module).keys() & functions.keys():
                replaced.enter_context(patch.object(module, name, functions[name]))
        yield


def _exact_shape_of(choice: str, *shapes: str) -> tuple[str, Any]:
    """The same as ``shape_of``, with the number as a fraction."""
    shape, number = shape_of(choice, *shapes)
    return shape, Fraction(number) if isinstance(number, float) else number


def _exactly_kept(deviation: Any, eps: str) -> Any:
    """The same as ``kept_from_zero``, with the numbers of a choice that has two of them as fractions."""
    if eps == FLOOR_AND_ADDITION:
        return max(deviation, Fraction(1e-3)) + Fraction(1e-6)
    return kept_from_zero(deviation, eps)


FLOOR_AND_ADDITION = "max(std, 1e-3) + 1e-6"


def _by_the_question(question: Question, chosen: Conventions) -> Any:
    operation = question.operation.name
    return question.answer(**{f"{operation}.{name}": choice for name, choice in chosen.items()})


def root(number: Any) -> Any:
    """The square root, to hundreds of bits."""
    if hasattr(number, "sqrt"):  # a ball
        return number.sqrt()
    fraction = exactly(number)  # of nothing but zeros the variance is a float
    with ctx.workprec(PRECISION):
        return nearest((arb(fraction.numerator) / fraction.denominator).sqrt())


def _exponential(number: float) -> Fraction:
    with ctx.workprec(PRECISION):
        return Fraction(0) if number == -np.inf else nearest(arb(float(number)).exp())


def _vtrace(question: Question, chosen: Conventions) -> Any:
    """With the ratios that the log-ratios stand for, which are no fractions."""
    given = dict(zip(question.operation.parameters, question.arguments, strict=True))
    given["log_ratio"] = np.vectorize(_exponential, otypes=[object])(given["log_ratio"])
    estimates = row_by_row(partial(advantages.vtrace, **chosen), tuple(given.values()))
    aims, advantage = zip(*estimates, strict=True)
    return list(aims), list(advantage)


def _retrace(question: Question, chosen: Conventions) -> Any:
    """With the ratios that the log-ratios stand for, which are no fractions."""
    *given, log_ratio, gamma, lam = question.arguments
    ratio = np.vectorize(_exponential, otypes=[object])(log_ratio)
    return row_by_row(partial(targets.retrace, **chosen), (*given, ratio, gamma, lam))


def _softmax(logits: np.ndarray) -> list[list[fmpq]]:
    """The policy that the logits stand for."""
    weights = [[_exponential(logit) for logit in row] for row in logits.tolist()]
    rows = [[weight / sum(row) for weight in row] for row in weights]
    return [[fmpq(chance.numerator, chance.denominator) for chance in row] for row in rows]


def _policy_gradient(question: Question, chosen: Conventions) -> Any:
    logits, states, actions, rewards, mask, gamma = question.arguments
    policy, weights = _softmax(logits), gradients.conventional_weights(**chosen)
    estimates = [
        gradients.policy_gradient(
            policy, visited[taken].tolist(), acted[taken].tolist(), rational(paid[taken]), rational(gamma), weights
        )
        for visited, acted, paid, taken in zip(states, actions, rewards, mask, strict=True)
    ]
    return np.mean(np.array(fractions(estimates), dtype=object), axis=0)


def _exact_policy_gradient(question: Question, chosen: Conventions) -> Any:
    transition, reward, initial, logits, gamma, horizon = question.arguments
    mdp = TabularMDP(rational(transition), rational(reward), rational(initial), rational(gamma), horizon)
    return fractions(gradients.exact_policy_gradient(mdp, _softmax(logits)))


def _clip_fraction(question: Question, chosen: Conventions) -> Any:
    """With what is divided by as fractions: one whole number over another would be a float."""

    def in_fractions(*arguments: Any, **named: Any) -> list[Fraction]:
        return [Fraction(number) for number in reductions.divisors(*arguments, **named)]

    with patch.object(ppo, "divisors", in_fractions):
        return _by_the_question(question, chosen)


def _polynomial(question: Question, chosen: Conventions) -> Any:
    """In fractions, where the question has balls: nothing but sums, products and quotients is in them."""
    function = getattr(preference, question.operation.name)
    return function(*map(_in_fractions, question.arguments), **chosen)


def _in_fractions(argument: Any) -> Any:
    if not isinstance(argument, np.ndarray):
        return exactly(argument)
    return argument.tolist() if argument.dtype == bool else [exactly(number) for number in argument]


EXACTLY: dict[str, Callable[[Question, Conventions], Any]] = {
    "vtrace": _vtrace,
    "retrace": _retrace,
    "policy_gradient": _policy_gradient,
    "exact_policy_gradient": _exact_policy_gradient,
    "clip_fraction": _clip_fraction,
    "ipo_loss": _polynomial,
    "sppo_loss": _polynomial,
}
"""How the operations are answered whose questions have an answer, or arguments, up to rounding only."""


def decimal(number: Fraction, magnitude: Any) -> str:
    """A number as a decimal that is off by less than one unit of its last digit.

    It has `DIGITS` digits, counted from the first of the magnitude; there is a point or an exponent in it.
    """
    size = max(abs(number), exactly(magnitude))
    last = (floor(log10(size)) if Fraction(1, 10**300) < size < 10**300 else 0) - DIGITS
    unit = Fraction(10) ** last
    return f"{Decimal(round(number / unit)):f}E{last}"
