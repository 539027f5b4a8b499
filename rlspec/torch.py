"""For candidates in PyTorch: arrays become tensors on the way in, and tensors arrays on the way out."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import Any

import numpy as np
import torch

__all__ = ["array", "differentiated", "on_tensors", "tensor"]


def tensor(value: Any, device: Any = None) -> Any:
    """An array as a tensor of the same type: a contiguous copy that may be written to; anything else as it is.

    device: where the tensor is put, as PyTorch names it; without one, in the host's memory.
    ``torch.as_tensor`` and ``torch.from_numpy`` refuse arrays with negative strides, and share the caller's memory.

    >>> tensor(np.arange(3)[::-1])
    tensor([2, 1, 0])
    """
    return torch.from_numpy(np.array(value, order="C")).to(device) if isinstance(value, np.ndarray) else value


def array(value: Any) -> Any:
    """A tensor as an array, wherever it is and whatever depends on it, bfloat16 as float32; anything else as it is.

    >>> array(torch.tensor([0.5, 2.0], requires_grad=True))
    array([0.5, 2. ], dtype=float32)
    """
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def on_tensors(function: Callable[..., Any], device: Any = None) -> Callable[..., Any]:
    """A function of tensors as one of NumPy arrays: an operation.

    Arrays reach it as ``tensor`` makes them, on that device, and plain numbers and texts as they are.  Its result, or
    each of several in a tuple, comes back as an array.

    >>> on_tensors(torch.flatten)(np.array([[1, 2], [3, 4]]))
    array([1, 2, 3, 4])

    As a decorator, or around a library's function::

        @on_tensors
        def td_error(rewards, values, next_values, terminated, gamma): ...

        gae = on_tensors(library.gae, device="cuda")
    """

    @wraps(function)
    def operation(*arguments: Any, **named: Any) -> Any:
        given = {name: tensor(value, device) for name, value in named.items()}
        returned = function(*(tensor(value, device) for value in arguments), **given)
        return tuple(map(array, returned)) if isinstance(returned, tuple | list) else array(returned)

    return operation


def differentiated(loss: Callable[..., torch.Tensor], wrt: Sequence[str]) -> Callable[..., tuple[np.ndarray, ...]]:
    """The loss and its gradient with respect to each of the parameters named in ``wrt``, in that order.

    loss: a function of tensors and plain numbers that returns a scalar tensor; arrays reach it as tensors, copied.
    Returns a function of NumPy arrays and plain numbers; a gradient is 0 where the loss does not depend on the input.

    >>> square = differentiated(lambda x, y: (x * x).sum(), wrt=["x"])
    >>> for part in square(np.array([1.0, 3.0]), np.array([5.0])):
    ...     print(part)
    10.0
    [2. 6.]
    """
    parameters = signature(loss)

    @wraps(loss)
    def operation(*arguments: Any, **named: Any) -> tuple[np.ndarray, ...]:
        given = parameters.bind(*arguments, **named)
        given.apply_defaults()
        given.arguments.update({name: tensor(value) for name, value in given.arguments.items()})
        inputs = [given.arguments[name].requires_grad_() for name in wrt]
        value = loss(*given.args, **given.kwargs)
        gradients = tuple(map(torch.zeros_like, inputs))
        if value.requires_grad:
            gradients = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)
        return array(value), *map(array, gradients)

    return operation
