"""What is right for real batches, and how far rounding in a run's own precision may take an answer from it.

The reference is generic in its number type, so it runs on balls (Arb, Johansson 2017): midpoints with a radius that
bounds every rounding on the way.  In hundreds of bits the radius is nothing and the midpoint is what is right; in as
many bits as the run's numbers have, from the same exact arguments, the radius bounds what rounding may do where
operations are done in the reference's order.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from flint import arb, ctx

from .properties.balls import PRECISION, exponential_of
from .properties.questions.question import last_names
from .reference import advantages, group, kl, language, ppo, preference, returns, surrogate
from .reference import policy_gradient as gradients
from .spec.operations import MASKS, OPERATIONS

BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Bits of the significand of the number types that a run may have, the finest first."""

LEAST = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}
"""The smallest number above 0 of each type, in which everything near 0 is rounded."""

ORDERS = 8
"""How many times as far as in the reference's order of operations an answer may be off, since others have other orders.

The radius is a bound for the reference's order only.  For others no such number is one: a sum whose parts cancel in one
order may have large parts in another.
"""

WHOLE = (*MASKS, "terminated", "truncated", "groups", "tokens", "n", "capacity", "sampled", "burn_in")
"""Arguments that are no real numbers."""

Arguments = tuple[Any, ...]
Answer = Callable[..., Any]
"""A function of an operation's arguments in balls, and of conventions by keyword, to nested lists of balls."""


def _each_row(function: Answer, *arguments: Any, **chosen: Any) -> Any:
    """The answers to the rows of tables [B][T], scalars being the same for all; several results one after another."""
    tables = [argument for argument in arguments if isinstance(argument, list)]
    scalars = [argument for argument in arguments if not isinstance(argument, list)]
    answers = [function(*row, *scalars, **chosen) for row in zip(*tables, strict=True)]
    return tuple(map(list, zip(*answers, strict=True))) if isinstance(answers[0], tuple) else answers


def _vtrace(rewards: Any, values: Any, next_values: Any, ends: Any, stops: Any, log_ratio: Any, *scalars: Any,
            **chosen: Any) -> Any:  # fmt: skip
    ratio = [[number.exp() for number in row] for row in log_ratio]
    return _each_row(advantages.vtrace, rewards, values, next_values, ends, stops, ratio, *scalars, **chosen)


def _normalized(table: Any, mask: Any, **chosen: Any) -> Any:
    entries, counted = ([entry for row in rows for entry in row] for rows in (table, mask))
    flat = advantages.normalize_advantages(entries, counted, **chosen)
    return [flat[start : start + len(table[0])] for start in range(0, len(flat), len(table[0]))]


def _estimates(logp: Any, ref_logp: Any, estimator: str, **chosen: Any) -> Any:
    rows = zip(logp, ref_logp, strict=True)
    return [[kl.kl_estimate(*pair, estimator, **chosen, exp=exponential_of) for pair in zip(*row, strict=True)]
            for row in rows]  # fmt: skip


def _with_exp(function: Answer, *names: str) -> Answer:
    known = {"exp": exponential_of, "log": arb.log}
    return partial(function, **{name: known[name] for name in names})


ANSWERS: dict[str, Answer] = {
    **{name: partial(_each_row, getattr(returns, name))
       for name in ("discounted_return", "reward_to_go", "n_step_return", "lambda_return")},
    **{name: partial(_each_row, getattr(advantages, name)) for name in ("td_error", "gae")},
    **{name: partial(_each_row, getattr(language, name)) for name in ("token_returns", "token_gae", "outcome_score")},
    "token_logp": partial(_each_row, _with_exp(language.token_logp, "exp", "log")),
    "vtrace": _vtrace,
    "normalize_advantages": _normalized,
    "kl_estimate": _estimates,
    "kl_loss": _with_exp(kl.kl_loss, "exp"),
    "policy_gradient_loss": gradients.policy_gradient_loss,
    "group_advantages": group.group_advantages,
    "value_loss": ppo.value_loss,
    "actor_critic_loss": ppo.actor_critic_loss,
    **{name: _with_exp(getattr(ppo, name), "exp") for name in ("ppo_loss", "approx_kl", "clip_fraction")},
    "surrogate_loss": _with_exp(surrogate.surrogate_loss, "exp"),
    **{name: _with_exp(getattr(group, name), "exp")
       for name in ("grpo_loss", "dr_grpo_loss", "dapo_loss", "gspo_loss", "cispo_loss")},
    **{name: partial(getattr(preference, name), functions=arb) for name in ("dpo_loss", "orpo_loss", "simpo_loss")},
}  # fmt: skip
"""The operations that can be audited, in balls."""


def answer(operation: str, arguments: Arguments, chosen: Mapping[str, str], bits: int = PRECISION) -> list[np.ndarray]:
    """Each result as an array of balls, computed in so many bits from the very arguments.

    chosen: conventions by name.  An argument that is not finite makes balls that hold no number.
    """
    with ctx.workprec(bits):
        known = last_names(dict(chosen))
        given = [
            _in_balls(name, argument)
            for name, argument in zip(OPERATIONS[operation].parameters, arguments, strict=True)
        ]
        found = ANSWERS[operation](*given, **known)
    parts = found if isinstance(found, tuple) else (found,)
    return [np.array(part, dtype=object) for part in parts]


def _in_balls(name: str, argument: Any) -> Any:
    """A number, or nested lists of them, as balls that hold nothing else; flags, counts and names as they are."""
    if isinstance(argument, np.ndarray):
        return _in_balls(name, argument.tolist())
    if isinstance(argument, list):
        return [_in_balls(name, part) for part in argument]
    return (
        arb(argument) if isinstance(argument, float) or (isinstance(argument, int) and name not in WHOLE) else argument
    )


def right(operation: str, arguments: Arguments, chosen: Mapping[str, str]) -> list[np.ndarray]:
    """What is right, rounded to float64."""
    return [_floats(part, lambda ball: float(ball.mid())) for part in answer(operation, arguments, chosen)]


def slack(operation: str, arguments: Arguments, chosen: Mapping[str, str], precision: str) -> list[np.ndarray]:
    """How far rounding in this precision may take each number from what is right.

    The radius of the number's ball, the rounding of the number itself, and of one next to 0; `ORDERS` times.
    """
    unit, least = 2.0 ** -BITS[precision], LEAST[precision]

    def room(ball: Any) -> float:
        return ORDERS * (float(ball.rad()) + unit * abs(float(ball.mid())) + least)

    return [_floats(part, room) for part in answer(operation, arguments, chosen, BITS[precision])]


def _floats(part: np.ndarray, take: Callable[[Any], float]) -> np.ndarray:
    flat = [take(arb(ball)) for ball in part.ravel().tolist()]
    return np.array(flat, dtype=float).reshape(part.shape)
