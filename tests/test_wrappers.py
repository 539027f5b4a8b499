"""The one-line wrappers for candidates in PyTorch and in JAX."""

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

from rlspec.torch import on_tensors


@pytest.fixture(params=["torch", "jax"])
def differentiated(request):
    if request.param == "jax":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    return import_module(f"rlspec.{request.param}").differentiated


def surrogate(logp, advantages, mask, scale=1.0):
    """A policy-gradient loss, in operations that tensors and arrays share."""
    return -(scale * logp * advantages * mask).sum() / mask.sum()


LOGP, ADVANTAGES = np.array([[-1.0, -2.0], [-0.5, -4.0]]), np.array([[1.0, 3.0], [-2.0, 9.0]])
MASK = np.array([[True, True], [True, False]])


def test_a_loss_becomes_the_loss_and_its_gradient_in_numpy(differentiated):
    loss, gradient = differentiated(surrogate, wrt=["logp"])(LOGP, ADVANTAGES, MASK)
    assert loss == (1 + 6 - 1) / 3
    np.testing.assert_array_equal(gradient, [[-1 / 3, -1], [2 / 3, 0]])
    assert isinstance(gradient, np.ndarray)
    assert gradient.dtype == np.float64


def test_several_gradients_come_in_the_order_in_which_they_are_named(differentiated):
    _, of_advantages, of_logp = differentiated(surrogate, wrt=["advantages", "logp"])(LOGP, ADVANTAGES, MASK, scale=3.0)
    np.testing.assert_array_equal(of_advantages, [[1, 2], [0.5, 0]])
    np.testing.assert_array_equal(of_logp, [[-1, -3], [2, 0]])


def test_the_gradient_is_zero_where_the_loss_does_not_look(differentiated):
    def ignorant(logp, values):
        return (logp * logp).sum()

    _, gradient = differentiated(ignorant, wrt=["values"])(LOGP, ADVANTAGES)
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


def test_arguments_are_left_as_they_were_and_may_be_read_only(differentiated):
    locked = LOGP.copy()
    locked.setflags(write=False)
    differentiated(surrogate, wrt=["logp"])(locked, ADVANTAGES, MASK)
    np.testing.assert_array_equal(locked, LOGP)


@on_tensors
def carried(rewards, mask, gamma):
    """Tensors in and out, one of them written to, and one that something depends on."""
    assert (rewards.is_contiguous(), mask.dtype, type(gamma)) == (True, torch.bool, float)
    rewards[~mask] = 0
    return rewards * gamma, (rewards.double().requires_grad_() * gamma).sum()


@pytest.mark.parametrize(
    "stored",
    [
        LOGP,
        LOGP[::-1, ::-1].copy()[::-1, ::-1],
        np.asfortranarray(LOGP),
        LOGP.astype(np.float32),
        np.broadcast_to(LOGP[0], (2, 2)),
    ],
    ids=["as usual", "reversed", "Fortran order", "float32", "read-only"],
)
def test_arrays_become_tensors_and_tensors_arrays(stored):
    before = stored.copy()
    product, total = carried(stored, MASK, 0.5)
    np.testing.assert_array_equal(product, np.where(MASK, before, 0) * 0.5)
    assert product.dtype == stored.dtype
    assert total == (np.where(MASK, before, 0) * 0.5).sum()
    np.testing.assert_array_equal(stored, before)


def test_several_tensors_come_back_as_arrays_and_other_values_as_they_are():
    brain, flags, number = on_tensors(lambda x: [x.to(torch.bfloat16), x > 1, 3])(np.array([1.0, 2.0]))
    assert (brain.tolist(), brain.dtype, flags.tolist(), number) == ([1, 2], np.float32, [False, True], 3)


def test_a_tensor_goes_where_it_is_wanted():
    where = on_tensors(lambda x, device: torch.tensor(x.device.type == device), device="meta")
    assert where(LOGP, device="meta")


def test_importing_rlspec_imports_no_framework():
    heavy = "{'torch', 'jax', 'numpy', 'sympy', 'hypothesis'} & set(sys.modules)"
    code = f"import sys, rlspec, rlspec.plugin; sys.exit(str({heavy}) if {heavy} else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
