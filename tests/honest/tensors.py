"""What the ways by automatic differentiation have in common."""

from typing import Any

import numpy as np
import torch

TYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.float32}


def tensors(style: Any, *arrays: np.ndarray) -> list[Any]:
    """Arrays as tensors: of the style's type, or of truth values."""
    dtype = TYPES[style.precision]
    return [torch.from_numpy(np.array(a)).to(torch.bool if a.dtype == bool else dtype) for a in arrays]


def differentiated(value: Any, *leaves: Any) -> tuple[Any, ...]:
    """A value, and the derivatives of the sum of its parts in each of the leaves; 0 where it does not depend on one."""
    if not value.requires_grad:
        return value.numpy(), *(np.zeros(leaf.shape, leaf.detach().numpy().dtype) for leaf in leaves)
    slopes = torch.autograd.grad(value.sum(), leaves, allow_unused=True, materialize_grads=True)
    return value.detach().numpy(), *(slope.numpy() for slope in slopes)


def leaves(style: Any, *arrays: np.ndarray) -> list[Any]:
    """Arrays as tensors to differentiate with respect to."""
    return [tensor.requires_grad_() for tensor in tensors(style, *arrays)]


def within(style: Any, *exponents: Any) -> None:
    """Decline an input whose exponentials no float64 holds; who works in float32 is not asked for what that lacks."""
    if style.precision == "float64":
        within_type(style, *exponents)


def within_type(style: Any, *exponents: Any) -> None:
    """Decline an input whose exponentials the style's type does not hold."""
    most = 700 if style.precision == "float64" else 80
    if any((abs(np.asarray(exponent)) > most).any() for exponent in exponents):
        raise NotImplementedError("an exponential that the type does not hold")
