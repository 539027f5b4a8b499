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

``sarsa_target``, ``expected_sarsa_target``, ``q_target`` and ``double_q_target`` are the errors of `sarsa`,
`expected_sarsa`, `q_learning` and `double_q_learning` of a value of 0.  ``n_step_target`` is the first of
`n_step_bootstrapped_returns` of as many steps as the sequence has.  ``retrace``, ``tree_backup`` and ``watkins_target``
are `general_off_policy_returns_from_q_and_v` with the weights that its documentation lists for the first two.
``huber_loss``, ``categorical_projection`` and ``quantile_huber_loss`` are `huber_loss` of the error,
`categorical_l2_project` of the moved atoms and `quantile_regression_loss` with the midpoints as levels.
``popart`` is `pop`, ``symlog`` and ``symexp`` are `signed_logp1` and `signed_expm1`, and ``two_hot`` is
`transform_to_2hot`, which has even bins only; others are declined.

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

_NO_ACTION = jnp.zeros((), int)


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


def sarsa_target(rewards, next_action_values, next_actions, terminated, truncated, gamma):
    arrays = rewards, next_action_values, next_actions, terminated
    return _by_rows(_sarsa, *arrays, scalars=(gamma,))


def expected_sarsa_target(rewards, next_action_values, next_policy, terminated, truncated, gamma):
    arrays = rewards, next_action_values, next_policy, terminated
    return _by_rows(_expected_sarsa, *arrays, scalars=(gamma,))


def q_target(rewards, next_action_values, terminated, truncated, gamma):
    return _by_rows(_q_learning, rewards, next_action_values, terminated, scalars=(gamma,))


def double_q_target(rewards, next_online_values, next_target_values, terminated, truncated, gamma):
    arrays = rewards, next_online_values, next_target_values, terminated
    return _by_rows(_double_q_learning, *arrays, scalars=(gamma,))


def n_step_target(rewards, next_values, terminated, truncated, gamma):
    _decline_truncations(truncated, terminated)
    return _by_rows(_window, rewards, next_values, terminated, scalars=(gamma,))


def retrace(rewards, action_values, next_expected_values, terminated, truncated, log_ratio, gamma, lam):
    _decline_truncations(truncated, terminated)
    arrays = rewards, action_values, next_expected_values, terminated, log_ratio
    return _by_rows(_retrace, *arrays, scalars=(gamma, lam))


def tree_backup(rewards, action_values, next_expected_values, terminated, truncated, probabilities, gamma, lam):
    _decline_truncations(truncated, terminated)
    arrays = rewards, action_values, next_expected_values, terminated, probabilities
    return _by_rows(_traced, *arrays, scalars=(gamma, lam))


def watkins_target(rewards, action_values, next_largest_values, terminated, truncated, greedy, gamma, lam):
    _decline_truncations(truncated, terminated)
    arrays = rewards, action_values, next_largest_values, terminated, greedy
    return _by_rows(_traced, *arrays, scalars=(gamma, lam))


def huber_loss(values, targets, delta):
    return _by_rows(_huber, values, targets, scalars=(delta,))


def categorical_projection(rewards, next_probabilities, terminated, truncated, v_min, v_max, gamma):
    return _by_rows(_projection, rewards, next_probabilities, terminated, scalars=(v_min, v_max, gamma))


def quantile_huber_loss(quantiles, target_quantiles, delta):
    return _by_rows(_quantile_regression(float(delta)), quantiles, target_quantiles, scalars=())


def popart(weights, bias, old_mean, old_std, new_mean, new_std):
    params = {"w": jnp.asarray(weights, float)[:, None], "b": jnp.full(1, bias)}
    old, new = (
        rlax.PopArtState(shift=jnp.full(1, mean), scale=jnp.full(1, std), second_moment=jnp.full(1, mean**2 + std**2))
        for mean, std in ((old_mean, old_std), (new_mean, new_std))
    )
    found = rlax.pop(params, old, new)
    return np.asarray(found["w"])[:, 0], float(found["b"][0])


def symlog(values):
    return np.asarray(rlax.signed_logp1(jnp.asarray(values, float)))


def symexp(values):
    return np.asarray(rlax.signed_expm1(jnp.asarray(values, float)))


def two_hot(values, bins):
    if len(set(np.diff(bins))) > 1:
        raise NotImplementedError("the bins are even")
    return np.asarray(rlax.transform_to_2hot(jnp.asarray(values, float), float(bins[0]), float(bins[-1]), len(bins)))


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


def _sarsa(reward, next_action_values, next_action, terminated, gamma):
    action = next_action.astype(int)
    return rlax.sarsa(jnp.zeros(1), _NO_ACTION, reward, gamma * (1 - terminated), next_action_values, action)


def _expected_sarsa(reward, next_action_values, next_policy, terminated, gamma):
    discount = gamma * (1 - terminated)
    return rlax.expected_sarsa(jnp.zeros(1), _NO_ACTION, reward, discount, next_action_values, next_policy)


def _q_learning(reward, next_action_values, terminated, gamma):
    return rlax.q_learning(jnp.zeros(1), _NO_ACTION, reward, gamma * (1 - terminated), next_action_values)


def _double_q_learning(reward, next_online_values, next_target_values, terminated, gamma):
    discount = gamma * (1 - terminated)
    arguments = jnp.zeros(1), _NO_ACTION, reward, discount, next_target_values, next_online_values
    return rlax.double_q_learning(*arguments)


def _window(rewards, next_values, terminated, gamma):
    return rlax.n_step_bootstrapped_returns(rewards, gamma * (1 - terminated), next_values, len(rewards))[0]


def _traced(rewards, action_values, following, terminated, trust, gamma, lam):
    discounts = gamma * (1 - terminated)
    traces = lam * trust[1:]
    return rlax.general_off_policy_returns_from_q_and_v(action_values[1:], following, rewards, discounts, traces)


def _retrace(rewards, action_values, following, terminated, log_ratio, gamma, lam):
    trust = jnp.minimum(1, jnp.exp(log_ratio))
    return _traced(rewards, action_values, following, terminated, trust, gamma, lam)


def _huber(value, target, delta):
    return jax.value_and_grad(lambda value: rlax.huber_loss(value - target, delta))(value)


def _projection(reward, next_probabilities, terminated, v_min, v_max, gamma):
    atoms = jnp.linspace(v_min, v_max, len(next_probabilities))
    return rlax.categorical_l2_project(reward + gamma * (1 - terminated) * atoms, next_probabilities, atoms)


@cache
def _quantile_regression(delta):
    def of_a_row(quantiles, target_quantiles):
        levels = (jnp.arange(len(quantiles), dtype=quantiles.dtype) + 0.5) / len(quantiles)
        return jax.value_and_grad(rlax.quantile_regression_loss)(quantiles, levels, target_quantiles, delta)

    return of_a_row


def _by_rows(function, *arrays, scalars):
    rows = len(arrays[0])
    fill = 4 ** max(1, math.ceil(math.log(rows, 4))) - rows
    padded = (_filled(np.asarray(array, dtype=np.float64), fill) for array in arrays)
    answer = _compiled(function, len(arrays), len(scalars))(*padded, *map(float, scalars))
    return jax.tree.map(lambda result: np.asarray(result)[:rows], answer)


def _filled(array, rows):
    return np.pad(array, ((0, rows), *[(0, 0)] * (array.ndim - 1)))


@cache
def _compiled(function, arrays, scalars):
    return jax.jit(jax.vmap(function, in_axes=(0,) * arrays + (None,) * scalars))
