"""What is right for real batches, and how far rounding in a run's own number types may take an answer from it.

The reference is generic in its number type.  On balls (Arb, Johansson 2017) of hundreds of bits it says what is right;
on numbers that know their errors (rlspec/rounded.py), from the same exact arguments, what rounding may do to that.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from flint import arb, ctx

from .properties.balls import PRECISION, exponential_of
from .properties.questions.question import last_names
from .reference import advantages, group, kl, language, ppo, preference, returns, surrogate
from .reference import policy_gradient as gradients
from .rounded import BITS, LEAST, TIMES, Functions, Rounded, Rounding
from .spec.operations import MASKS, OPERATIONS

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
    return [[kl.kl_estimate(*pair, estimator, **chosen) for pair in zip(*row, strict=True)]
            for row in rows]  # fmt: skip


ANSWERS: dict[str, tuple[Answer, tuple[str, ...]]] = {
    **{name: (partial(_each_row, getattr(returns, name)), ())
       for name in ("discounted_return", "reward_to_go", "n_step_return", "lambda_return")},
    **{name: (partial(_each_row, getattr(advantages, name)), ()) for name in ("td_error", "gae")},
    **{name: (partial(_each_row, getattr(language, name)), ())
       for name in ("token_returns", "token_gae", "outcome_score")},
    "token_logp": (partial(_each_row, language.token_logp), ("exp", "log")),
    "vtrace": (_vtrace, ()),
    "normalize_advantages": (_normalized, ()),
    "kl_estimate": (_estimates, ("exp",)),
    "kl_loss": (kl.kl_loss, ("exp",)),
    "policy_gradient_loss": (gradients.policy_gradient_loss, ()),
    "group_advantages": (group.group_advantages, ()),
    "value_loss": (ppo.value_loss, ()),
    "actor_critic_loss": (ppo.actor_critic_loss, ()),
    **{name: (getattr(ppo, name), ("exp",)) for name in ("ppo_loss", "approx_kl", "clip_fraction")},
    "surrogate_loss": (surrogate.surrogate_loss, ("exp",)),
    **{name: (getattr(group, name), ("exp",))
       for name in ("grpo_loss", "dr_grpo_loss", "dapo_loss", "gspo_loss", "cispo_loss")},
    **{name: (getattr(preference, name), ("functions",)) for name in ("dpo_loss", "orpo_loss", "simpo_loss")},
}  # fmt: skip
"""The operations that can be audited: the reference's function over a batch, and what it takes exp and log from."""

BALLS = {"exp": exponential_of, "log": arb.log, "functions": arb}
"""Where balls have their exponentials and logarithms."""


def answer(operation: str, arguments: Arguments, chosen: Mapping[str, str]) -> list[np.ndarray]:
    """Each result as an array of balls, computed from the very arguments.

    chosen: conventions by name.  An argument that is not finite makes balls that hold no number.
    """
    with ctx.workprec(PRECISION):
        return _answer(operation, arguments, chosen, lambda name, number: arb(number), BALLS)


def _answer(operation: str, arguments: Arguments, chosen: Mapping[str, str], made: Callable[[str, Any], Any],
            functions: Mapping[str, Any]) -> list[np.ndarray]:  # fmt: skip
    """Each result as an array of numbers of another kind.  made: one, of an argument's name and a float."""
    function, wanted = ANSWERS[operation]
    named = zip(OPERATIONS[operation].parameters, arguments, strict=True)
    given = [_in_numbers(name, argument, partial(made, name)) for name, argument in named]
    found = function(*given, **last_names(dict(chosen)), **{name: functions[name] for name in wanted})
    parts = found if isinstance(found, tuple) else (found,)
    return [np.array(part, dtype=object) for part in parts]


def _in_numbers(name: str, argument: Any, made: Callable[[Any], Any]) -> Any:
    """A number, or nested lists of them, as numbers of another kind; flags, counts and names as they are."""
    if isinstance(argument, np.ndarray):
        return _in_numbers(name, argument.tolist(), made)
    if isinstance(argument, list):
        return [_in_numbers(name, part, made) for part in argument]
    real = isinstance(argument, float) or (isinstance(argument, int) and name not in WHOLE)
    return made(argument) if real else argument


def right(operation: str, arguments: Arguments, chosen: Mapping[str, str]) -> list[np.ndarray]:
    """What is right, rounded to float64."""
    return [_floats(part, lambda ball: float(arb(ball).mid())) for part in answer(operation, arguments, chosen)]


Types = Mapping[str, str]
"""The number types of a call's arrays by the arguments' names, and under ``result NAME`` those of the results."""


def slack(operation: str, arguments: Arguments, chosen: Mapping[str, str], types: Types) -> list[np.ndarray]:
    """How far rounding may take each number from what is right, in arithmetic that goes on in the arrays' own types.

    `TIMES` the error of the reference's own order of operations; where that leaves open how comparisons go, such as
    whether a ratio is beyond the clip, as much more as the answers with all of them decided either way are apart.
    """
    found = _slack(operation, arguments, chosen, types, True)
    return [bound + more for bound, more in zip(found, _ties(operation, arguments, chosen, types), strict=True)]


def worst_slack(operation: str, arguments: Arguments, chosen: Mapping[str, str], types: Types) -> list[np.ndarray]:
    """The same if all is computed in the coarsest of the types, long sums too."""
    coarsest = min(map(_bits, types.values()))
    [name] = {kind for kind in BITS if BITS[kind] == coarsest}
    return _slack(operation, arguments, chosen, dict.fromkeys(types, name), False)


def _slack(
    operation: str, arguments: Arguments, chosen: Mapping[str, str], types: Types, widened: bool
) -> list[np.ndarray]:
    results = [
        _bits(types[f"result {name}"]) if f"result {name}" in types else 0 for name in OPERATIONS[operation].results
    ]
    narrow = min((bits for bits in results if bits), default=53)

    def answered(rounding: Rounding) -> list[np.ndarray]:
        def made(name: str, number: Any) -> Rounded:
            bits = BITS.get(types[name], narrow) if name in types else 0
            return Rounded(rounding, float(number), bits)

        functions = Functions(rounding)
        return _answer(
            operation, arguments, chosen, made, {"exp": functions.exp, "log": functions.log, "functions": functions}
        )

    rounding = Rounding(widened)
    plain = answered(rounding)
    others = [answered(Rounding(widened, way)) for way in (True, False)] if rounding.open else []
    return [
        _room([plain[place], *(other[place] for other in others)], bits or narrow) for place, bits in enumerate(results)
    ]


SURROGATES = {"ppo_loss": "token", "grpo_loss": "token", "dr_grpo_loss": "token", "dapo_loss": "token",
              "gspo_loss": "sequence"}  # fmt: skip
"""Of the losses that are a minimum of two products, which ratio is clipped."""


def _ties(operation: str, arguments: Arguments, chosen: Mapping[str, str], types: Types) -> list[Any]:
    """How much further the gradient may be off where a ratio is so near the clip that its products may be equal.

    The derivative of min(r A, clip(r) A) is r A / n on one side of the clip and 0 on the other.  Where both products
    are rounded to the same number, libraries that halve the derivative between two equal numbers answer half of it,
    whatever the sign of A; the reference, which compares the ratio with one of the limits only, is not open there.
    """
    near = near_a_clip(operation, arguments, types)
    if near is None or not near.any():
        return [0.0] * len(OPERATIONS[operation].results)
    given = dict(zip(OPERATIONS[operation].parameters, arguments, strict=True))
    free = given | {"clip_low": UNCLIPPED, "clip_high": UNCLIPPED} | ({"kl_coef": 0.0} if "kl_coef" in given else {})
    _, slopes = right(operation, tuple(free.values()), chosen)
    return [0.0, np.where(near, np.abs(slopes), 0.0)]


UNCLIPPED = 2.0**100
"""How far a ratio may be from 1 where it is not clipped."""


def near_a_clip(operation: str, arguments: Arguments, types: Types) -> np.ndarray | None:
    """Where a ratio is as near one of its limits as rounding its logarithm, itself and its product may take it, [B, T].

    None if the operation is no minimum of two products.
    """
    given = dict(zip(OPERATIONS[operation].parameters, arguments, strict=True))
    level = SURROGATES.get(operation) or (given["ratio"] if given.get("clip") == "pessimistic" else "none")
    if level == "none":
        return None
    unit = 2.0 ** -_meeting_bits(types, ("logp", "old_logp", "advantages"))
    with np.errstate(all="ignore"):
        logs = np.asarray(given["logp"], dtype=float) - given["old_logp"]
        if level == "sequence":
            logs = np.where(given["mask"], logs, 0.0)
        sizes = np.abs(logs)
        if level == "sequence":
            counts = np.maximum(np.sum(given["mask"], axis=1, keepdims=True), 1)
            sizes = np.broadcast_to(sizes.sum(axis=1, keepdims=True) / counts, logs.shape)
            logs = np.broadcast_to(logs.sum(axis=1, keepdims=True) / counts, logs.shape)
        ratio = np.exp(logs)
        limits = 1 - given["clip_low"], 1 + given["clip_high"]
        return np.logical_or(*(np.abs(ratio - limit) <= TIMES * unit * (ratio * (2 * sizes + 3) + abs(limit))
                               for limit in limits))  # fmt: skip


def _meeting_bits(types: Types, names: Sequence[str]) -> int:
    """The bits of the coarsest of some arrays' types."""
    return min(_bits(types[name]) for name in names if name in types)


def _bits(kind: str) -> int:
    """The bits of a type's significand; of whole numbers, those of float64."""
    return BITS.get(kind, 53)


def _room(answers: list[np.ndarray], bits: int) -> np.ndarray:
    """How far an answer may be from the first of several in its last type, each of them with its errors."""
    values = [_floats(part, lambda number: getattr(number, "value", number)) for part in answers]
    errors = [_floats(part, lambda number: getattr(number, "used", 0.0)) for part in answers]
    with np.errstate(invalid="ignore"):
        rooms = [np.abs(value - values[0]) + TIMES * (error + 2.0**-bits * np.abs(value) + LEAST[bits])
                 for value, error in zip(values, errors, strict=True)]  # fmt: skip
    return np.max(rooms, axis=0)


def _floats(part: np.ndarray, take: Callable[[Any], float]) -> np.ndarray:
    return np.array(list(map(take, part.ravel().tolist())), dtype=float).reshape(part.shape)
