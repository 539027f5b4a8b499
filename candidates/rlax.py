"""rlax: the functions of a whole sequence, mapped over the rows of a batch.

Written against 0.1.9.  An rlax function takes one sequence, in which a termination is a discount of 0, and is mapped
over a batch with `jax.vmap`, as its users do.  There is no other flag: a truncation inside a row cannot be said, and is
declined; at the end of a row it is what the end of a sequence is anyway.

``discounted_return`` and ``reward_to_go`` are `discounted_returns` without a bootstrap, ``n_step_return`` is
`n_step_bootstrapped_returns`, ``lambda_return`` is `lambda_returns`, ``td_error`` is `td_learning`, ``gae`` is
`truncated_generalized_advantage_estimation` and ``vtrace`` is `vtrace_td_error_and_advantage`, whose errors are added
to the values; its trace is clipped at 1, and another ``c_clip`` is declined.

``entropy`` is minus `entropy_loss` of a sequence of one step; the library knows no illegal action but the logit minus
infinity, and a legal mask that forbids anything is declined.

``policy_gradient_loss`` is the library's of the same name.  That takes logits: a step's are those of a softmax over
two actions, the first of which has the log-probability that is given, log p - log(1 - p) and 0, and JAX takes the
derivative through both.  A log-probability above -1/2 is declined: its logits have fewer digits than it has itself,
and for 0 there are none.  The library's weights are no mask, its mean being over all steps whatever they weigh: the
adapter hands over the steps that count, with the weight 1, as one sequence; a batch without any is declined.

Converted: every number to float64, which JAX is told to allow; ratios from their logarithms.  Rows are added to a batch
until their number is a power of four, and taken off again, so that few shapes have to be compiled.
"""

import math
from functools import cache, partial
from importlib.metadata import version

import jax
import numpy as np
import rlax
from jax import numpy as jnp

from rlspec.jax import differentiated

jax.config.update("jax_enable_x64", True)

NAME = f"rlax {version('rlax')}"


def discounted_return(rewards, gamma):
    return reward_to_go(rewards, gamma)[:, 0]


def reward_to_go(rewards, gamma):
    return _by_rows(_reward_to_go, rewards, scalars=(gamma,))


def n_step_return(rewards, next_values, terminated, truncated, gamma, n):
    _decline_truncations(truncated, terminated)
    return _by_rows(_n_step_returns(n), rewards, next_values, terminated, scalars=(gamma,))


def lambda_return(rewards, next_values, terminated, truncated, gamma, lam):
    _decline_truncations(truncated, terminated)
    return _by_rows(_lambda_returns, rewards, next_values, terminated, scalars=(gamma, lam))


def td_error(rewards, values, next_values, terminated, gamma):
    return _by_rows(_td_errors, rewards, values, next_values, terminated, scalars=(gamma,))


def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    _decline_truncations(truncated, terminated)
    return _by_rows(_gae, rewards, values, next_values, terminated, scalars=(gamma, lam))


def vtrace(rewards, values, next_values, terminated, truncated, log_ratio, gamma, lam, rho_clip, c_clip):
    _decline_truncations(truncated, terminated)
    if c_clip != 1:
        raise NotImplementedError("the trace is clipped at 1")
    arrays = (rewards, values, next_values, terminated, log_ratio)
    return _by_rows(_vtrace, *arrays, scalars=(gamma, lam, rho_clip))


def entropy(logits, legal):
    if not np.all(legal):
        raise NotImplementedError("every action is legal")
    return _by_rows(_entropy_and_derivative, logits, scalars=())


def policy_gradient_loss(logp, advantages, mask):
    counted = np.array(mask, dtype=bool)
    logp, advantages = (np.array(array, dtype=np.float64)[counted] for array in (logp, advantages))
    if not counted.any():
        raise NotImplementedError("a sequence has a step")
    if (logp > -0.5).any():
        raise NotImplementedError("an action so likely that its logits have fewer digits than its log-probability")
    loss, found = _policy_gradient_loss(logp, advantages)
    slopes = np.zeros(counted.shape)
    slopes[counted] = found
    return loss, slopes


def _decline_truncations(truncated, terminated):
    if np.logical_and(truncated, np.logical_not(terminated))[:, :-1].any():  # a termination outweighs it
        raise NotImplementedError("a sequence has no truncation inside")


def _reward_to_go(rewards, gamma):
    return rlax.discounted_returns(rewards, jnp.full_like(rewards, gamma), 0.0)


@cache
def _n_step_returns(n):
    def of_a_row(rewards, next_values, terminated, gamma):
        return rlax.n_step_bootstrapped_returns(rewards, gamma * (1 - terminated), next_values, n)

    return of_a_row


def _lambda_returns(rewards, next_values, terminated, gamma, lam):
    return rlax.lambda_returns(rewards, gamma * (1 - terminated), next_values, lam)


def _td_errors(rewards, values, next_values, terminated, gamma):
    return jax.vmap(rlax.td_learning)(values, rewards, gamma * (1 - terminated), next_values)


def _gae(rewards, values, next_values, terminated, gamma, lam):
    values = jnp.append(values, next_values[-1])
    return rlax.truncated_generalized_advantage_estimation(rewards, gamma * (1 - terminated), lam, values)


def _vtrace(rewards, values, next_values, terminated, log_ratio, gamma, lam, rho_clip):
    discounts, ratio = gamma * (1 - terminated), jnp.exp(log_ratio)
    clips = {"clip_rho_threshold": rho_clip, "clip_pg_rho_threshold": rho_clip}
    found = rlax.vtrace_td_error_and_advantage(values, next_values, rewards, discounts, ratio, lam, **clips)
    return found.errors + values, found.pg_advantage


@jax.value_and_grad
def _entropy_and_derivative(logits):
    return -rlax.entropy_loss(logits[None], jnp.ones(1))


@partial(differentiated, wrt=["logp"])
@jax.jit
def _policy_gradient_loss(logp, advantages):
    log_odds = logp - jnp.log(-jnp.expm1(logp))
    logits = jnp.stack([log_odds, jnp.zeros_like(logp)], axis=1)
    return rlax.policy_gradient_loss(logits, jnp.zeros(len(logp), int), advantages, jnp.ones_like(logp))


def _by_rows(function, *arrays, scalars):
    rows = len(arrays[0])
    fill = 4 ** max(1, math.ceil(math.log(rows, 4))) - rows
    padded = (np.pad(np.asarray(array, dtype=np.float64), ((0, fill), (0, 0))) for array in arrays)
    answer = _compiled(function, len(arrays), len(scalars))(*padded, *map(float, scalars))
    return jax.tree.map(lambda result: np.asarray(result)[:rows], answer)


@cache
def _compiled(function, arrays, scalars):
    return jax.jit(jax.vmap(function, in_axes=(0,) * arrays + (None,) * scalars))
