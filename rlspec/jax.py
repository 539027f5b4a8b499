"""For candidates in JAX: a loss function becomes an operation that returns the loss and its gradients."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import Any

import jax
import numpy as np

__all__ = ["differentiated"]


def differentiated(loss: Callable[..., Any], wrt: Sequence[str]) -> Callable[..., tuple[np.ndarray, ...]]:
    """The loss and its gradient with respect to each of the parameters named in ``wrt``, in that order.

    loss: a function of arrays and plain numbers that returns a scalar.  float64 needs ``jax_enable_x64``, which is
    the candidate's to set.
    Returns a function of NumPy arrays and plain numbers; a gradient is 0 where the loss does not depend on the input::

        policy_gradient_loss = differentiated(my_loss, wrt=["logp"])
    """
    parameters = signature(loss)
    places = tuple(list(parameters.parameters).index(name) for name in wrt)
    value_and_gradients = jax.value_and_grad(loss, argnums=places)

    @wraps(loss)
    def operation(*arguments: Any, **named: Any) -> tuple[np.ndarray, ...]:
        given = parameters.bind(*arguments, **named)
        given.apply_defaults()
        value, gradients = value_and_gradients(*given.args, **given.kwargs)
        return np.asarray(value), *map(np.asarray, gradients)

    return operation
