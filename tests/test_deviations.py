"""Any operation that is a little wrong, wrong now and then, or wrong in a corner, is caught."""

from itertools import count, product
from types import SimpleNamespace

import numpy as np
import pytest

from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.conventions import infer
from rlspec.power import every_property
from rlspec.spec.operations import OPERATIONS

PROPERTIES = [checked for checked in every_property() if not checked.theorem]


def wrong(numbers):
    """Flags the other way round, numbers 0.1 % and 0.001 too much."""
    return numbers == 0 if numbers.dtype.kind in "bi" else numbers * 1.001 + 0.001


def everywhere(answer, _):
    answer[...] = wrong(answer)


def in_the_last_place(answer, _):
    answer[..., -1] = wrong(answer[..., -1])


def in_the_last_row(answer, _):
    answer[-1] = wrong(answer[-1])


def every_third_time(answer, _):
    if next(calls) % 3 == 0:
        everywhere(answer, _)


def of_float32(answer, arguments):
    if any(getattr(argument, "dtype", None) == np.float32 for argument in arguments):
        everywhere(answer, arguments)


calls = count()

DEVIATIONS = [in_the_last_place, in_the_last_row, every_third_time, of_float32]
OF_NO_REAL_NUMBERS = ("completion_mask", "cosine_reward", "length_reward", "overlong_penalty", "sequence_masks")
"""Operations whose arrays are of tokens, lengths or flags."""

CASES = [
    (operation, deviation)
    for operation, deviation in product(OPERATIONS, DEVIATIONS)
    if deviation is not of_float32 or operation not in OF_NO_REAL_NUMBERS
]
"""Every operation with every deviation that it can have."""


def deviating(operation, deviation):
    """The reference's operation, the last of its results deviating."""

    def answer(*arguments):
        right = getattr(reference, operation)(*arguments)
        *others, last = right if isinstance(right, tuple) else (right,)
        last = np.array(last)
        deviation(np.atleast_1d(last), arguments)
        return (*others, last) if others else last

    return answer


@pytest.mark.parametrize(("operation", "deviation"), CASES, ids=lambda part: getattr(part, "__name__", part))
def test_a_deviation_is_caught(operation, deviation):
    candidate = Candidate(SimpleNamespace(**{operation: deviating(operation, deviation)}), deviation.__name__)
    candidate.inferred |= infer(candidate, operation)
    assert any(checked.violated_by(candidate) for checked in PROPERTIES if checked.asks(operation))


def no_price_below_zero(scores, logp, ref_logp, mask, kl_coef):
    """Rewards that take a negative coefficient for none."""
    return reference.token_rewards(scores, logp, ref_logp, mask, max(kl_coef, 0.0))


def test_a_coefficient_below_zero_is_drawn():
    candidate = Candidate(SimpleNamespace(token_rewards=no_price_below_zero), "someone")
    candidate.inferred = infer(candidate, "token_rewards")
    asking = [checked for checked in PROPERTIES if checked.asks("token_rewards") and "LANG-21" in checked.clauses]
    assert [checked.name for checked in asking if checked.violation_by(candidate)]
