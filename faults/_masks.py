"""What masked sums and means become where the mask is multiplied in, or where nothing counts."""

import numpy as np


def zero_times(numbers):
    """0 times the numbers, which is not a number where they are infinite or none."""
    with np.errstate(invalid="ignore"):
        return 0 * np.asarray(numbers, dtype=float)


def with_zero_times(counted, everything):
    """The results of what counts, and 0 times the results of everything: what multiplying by a mask makes of both."""
    return tuple(part + zero_times(whole) for part, whole in zip(counted, everything, strict=True))


def with_gradient_times_zero(counted, everything):
    """The same for the derivatives alone: what differentiating a selection makes of them."""
    return counted[0], *with_zero_times(counted[1:], everything[1:])


def unless_empty(mask, results):
    """The results, or what is not a number where nothing counts."""
    return results if mask.any() else tuple(np.nan * part for part in results)


def full_rows(mask):
    """Every place of the rows in which something counts."""
    return np.ones_like(mask) & mask.any(axis=1, keepdims=True)
