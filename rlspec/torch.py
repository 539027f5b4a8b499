"""For candidates in PyTorch: a loss function becomes an operation that returns the loss and its gradients."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import Any

import numpy as np
import torch


def differentiated(loss: Callable[..., torch.Tensor], wrt: Sequence[str]) -> Callable[..., tuple[np.ndarray, ...]]:
    """The loss and its gradient with respect to each of the parameters named in ``wrt``, in that order.

    loss: a function of tensors and plain numbers that returns a scalar tensor; arrays reach it as tensors, copied.
    Returns a function of NumPy arrays and plain numbers; a gradient is 0 where the loss does not depend on the input::

        policy_gradient_loss = differentiated(my_loss, wrt=["logp"])
    """
    parameters = signature(loss)

    @wraps(loss)
    def operation(*arguments: Any, **named: Any) -> tuple[np.ndarray, ...]:
        given = parameters.bind(*arguments, **named)
        given.apply_defaults()
        given.arguments.update({name: _tensor(value) for name, value in given.arguments.items()})
        inputs = [given.arguments[name].requires_grad_() for name in wrt]
        value = loss(*given.args, **given.kwargs)
        gradients = tuple(map(torch.zeros_like, inputs))
        if value.requires_grad:
            gradients = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)
        return value.detach().numpy(), *(gradient.detach().numpy() for gradient in gradients)

    return operation


def _tensor(value: Any) -> Any:
    return torch.from_numpy(np.array(value, order="C")) if isinstance(value, np.ndarray) else value
