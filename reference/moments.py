"""The mean and the covariance of a policy gradient's estimate, without listing a single trajectory.

Every estimate here is a sum over steps, ghat = sum_t w_t psi_t with the score psi_t = grad log pi(a_t|s_t).  All that a
step has to know of the future is a few numbers for each state, and of the past a few vectors; these obey one-step
equations, which a finite horizon goes through, the ones backwards and the others forwards, and an infinite one solves.

Written once, over arrays: of objects, for `Fraction` or flint's `fmpq`, where all of it is exact, and of float64.  S
states, A actions, D parameters; those of a table are its logits, state by state, D = S A.  given: the `Process`, which
`process` makes.  known: the `Episodes` of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .linear_algebra import Number, lu, quotient, solve
from .policy_gradient import discounted
from .returns import require_steps
from .tables import require_distributions, require_process, require_shape

Array = np.ndarray
Errors = tuple[Array, Array]
"""TD errors as numbers of s and a, [S, A], and of s', [S], to be added."""


class Moments(NamedTuple):
    """E[ghat], [D], and Cov[ghat] = E[ghat ghat^T] - E[ghat] E[ghat]^T, [D, D]."""

    mean: Array
    covariance: Array

    @property
    def variance(self) -> Number:
        """The sum of the components' variances, the trace of the covariance."""
        return self.covariance.trace()


@dataclass(frozen=True)
class Process:
    """A decision process, a policy and its scores as arrays of one kind of number.

    What `reference.decision_process` calls so, with a row of the transition table for each pair of state and action.
    second has the policy's probabilities, or for actions that another policy mu draws pi(a|s)^2 / mu(a|s): the weight
    that an action has in a mean of squares (CRIT-10).
    """

    transition: Array  # [S A, S]
    reward: Array  # [S, A]
    initial: Array  # [S]
    gamma: Number
    horizon: int | None
    policy: Array  # [S, A]
    second: Array  # [S, A]
    features: Array | None  # [S, A, D], or None for a table

    @cached_property
    def scores(self) -> Array:
        """grad log pi(a|s), [S, A, D]; in a table each pair of state and action has a parameter of its own."""
        table = np.eye(self.reward.size, dtype=self.reward.dtype).reshape(*self.reward.shape, -1)
        return scores(self.policy, table if self.features is None else self.features)

    def through(self, numbers: Array) -> Array:
        """sum_sa psi(s, a) numbers(s, a): from [S, A, ...] to [D, ...].

        In a table psi(s, a) is the action less the policy, and so each state's numbers less their sum times pi.
        """
        if self.features is not None:
            return np.tensordot(self.scores, numbers, ((0, 1), (0, 1)))
        shares = self.policy.reshape(*self.policy.shape, *[1] * (numbers.ndim - 2))
        return (numbers - shares * numbers.sum(axis=1, keepdims=True)).reshape(-1, *numbers.shape[2:])

    @cached_property
    def chain(self) -> Array:
        """P_pi = sum_a pi(a|s) P(s' | s, a), [S, S]."""
        return self.averaged(self.policy, self.transition)

    @cached_property
    def second_chain(self) -> Array:
        """The same with the weights of a mean of squares."""
        return self.averaged(self.second, self.transition)

    def averaged(self, weights: Array, rows: Array) -> Array:
        """sum_a weights(s, a) rows(s, a), from rows [S A, S] to [S, S]."""
        return over_actions(weights, rows.reshape(*weights.shape, -1))

    def weighed(self, rows: Array, here: Array, ahead: Any = 0, share: Any = 1) -> Array:
        """rows [S A, S], the number for s, a and s' multiplied by here(s, a) + share(s, a) ahead(s')."""
        return rows * (here.reshape(-1, 1) + np.reshape(share, (-1, 1)) * ahead)

    def arrivals(self, rows: Array) -> Array:
        """sum_sa psi(s, a) rows(s, a): for each s' the scores that lead there, [S, D]."""
        return self.through(rows.reshape(*self.policy.shape, -1)).T

    def fixed_point(self, matrix: Array, constant: Array) -> Array:
        """The x with x = matrix x + constant, [S, columns], for a matrix whose rows or columns sum to less than 1.

        I - matrix is then diagonally dominant by rows or by columns, which elimination without pivoting preserves.
        """
        system = np.eye(len(matrix), dtype=matrix.dtype) - matrix
        if system.dtype != object:
            return np.linalg.solve(system, constant)
        factors = lu(system.tolist())
        return np.array([solve(factors, column) for column in constant.T.tolist()], dtype=object).T

    def zeros(self, *shape: int) -> Array:
        """Zeros of the process's kind of number."""
        return np.zeros(shape, dtype=self.reward.dtype)

    def errors(self, values: Array, step: int) -> Errors:
        """r(s, a) - v_t(s), [S, A], and gamma v_{t+1}(s'), [S], whose sum is delta_t, with v_H = 0 (ADV-1)."""
        following = values[step + 1] if step + 1 < len(values) else self.zeros(len(self.initial))
        if self.horizon is None:
            following = values[step]
        return self.reward - values[step][:, None], self.gamma * following


def process(mdp: Any, policy: Any, features: Any = None, behaviour: Any = None) -> Process:
    """The arrays of a process and a policy; float64 if there is a float in one of the tables, and objects otherwise.

    mdp: a `TabularMDP`, or anything with its fields, which may be arrays.
    policy: pi, [S][A].  features: phi, [S][A][D], of a policy proportional to exp(theta . phi(s, a)); if they are not
    given, the policy is a table.  behaviour: mu, [S][A], whose actions are seen; if it is not given, they are pi's.
    Raises ValueError, by name, for shapes that do not belong together, for distributions that do not sum to 1, and for
    an action that pi takes and mu does not.
    """
    tables = [mdp.transition, mdp.reward, mdp.initial, [mdp.gamma], policy, policy if behaviour is None else behaviour]
    given = [] if features is None else [features]
    transition, reward, initial, (gamma,), pi, mu, *given = _of_one_kind(*tables, *given)
    require_process(transition, reward, initial, pi, gamma, mdp.horizon)
    if given:
        require_shape("features", given[0], (*reward.shape, given[0].shape[-1]))
    require_shape("behaviour", mu, reward.shape)
    require_distributions("behaviour", mu)
    second = pi if behaviour is None else _ratios(pi, mu) * pi
    rows = transition.reshape(reward.size, len(initial))
    return Process(rows, reward, initial, gamma, mdp.horizon, pi, second, given[0] if given else None)


def scores(policy: Array, features: Array) -> Array:
    """grad log pi(a|s) = phi(s, a) - sum_b pi(b|s) phi(s, b), [S, A, D] (CRIT-16).

    policy: [S, A], proportional to exp(theta . phi(s, a)).  features: phi, [S, A, D].  Sutton et al. (1999), section 3.
    """
    return features - over_actions(policy, features)[:, None]


def over_actions(weights: Array, numbers: Array) -> Array:
    """sum_a weights(s, a) numbers(s, a): from [S, A, ...] to [S, ...]."""
    return np.einsum("sa,sa...->s...", weights, numbers)


def _of_one_kind(*tables: Any) -> list[Array]:
    arrays = [np.array(table, dtype=getattr(table, "dtype", object)) for table in tables]
    inexact = any(
        array.dtype.kind == "f" or (array.dtype == object and any(isinstance(x, float) for x in array.flat))
        for array in arrays
    )
    return [array.astype(float if inexact else object) for array in arrays]


def _ratios(policy: Array, behaviour: Array) -> Array:
    """pi(a|s) / mu(a|s), and 0 for what pi does not do."""
    taken, ratios = policy != 0, 0 * policy
    for s, a in np.argwhere(taken & (behaviour == 0)):
        raise ValueError(f"behaviour[{s}][{a}] is 0 where policy[{s}][{a}] is {policy[s, a]}; no ratio exists")
    ratios[taken] = _over(policy[taken], behaviour[taken])
    return ratios


@dataclass(frozen=True)
class Credit:
    """w_t = kappa^t (G_t - b_t(s_t, a_t)), where G_t = delta_t + c delta_{t+1} + c^2 delta_{t+2} + ...

    delta_t = r_t + gamma v_{t+1}(s_{t+1}) - v_t(s_t), with v_H = 0; with v = 0 they are the rewards.  For an infinite
    horizon values and baselines do not change with time, and have one row.
    """

    values: Array
    """v, [H, S]"""
    baselines: Array
    """b, [H, S, A]"""
    decay: Number
    """c"""
    discount: Number
    """kappa: gamma, or 1 where gamma^t is left out (PG-14)"""
    window: int | None = None
    """how many errors G_t consists of at most; None for all that follow"""


class _Sums(NamedTuple):
    """G_t as the last of m sums of errors that follow from each other: G_t = delta_t + carry G_{t+1}."""

    carry: Array  # [m, m]
    last: Array  # [m], 0 but for the last, which is 1


class _Ahead(NamedTuple):
    """What is expected of the sums G, once state and action are known."""

    returns: Array  # E[G], [S, A, m]
    squares: Array  # E[G G^T], [S, A, m, m]


class _Past(NamedTuple):
    """The scores of earlier steps, where they have led: the sum of them times what they have earned and are due."""

    earned: Array  # [S, D]
    due: Array  # [S, m, D]


def moments(given: Process, credit: Credit) -> Moments:
    """The mean and the covariance of ghat = sum_t w_t grad log pi(a_t|s_t) (CRIT-6).

    With G_t = delta_t + c G_{t+1} the credit of a step before t is what it has earned by then and a share of G_t.  Let
    earned_t(s) and due_t(s) be the sums of the earlier scores times the one and the other, where s_t = s.  With means
    over the action, and primes for what follows in the next state,

        E[G] = E[delta + c G'],  E[G^2] = E[delta^2 + 2 c delta G' + c^2 G'^2]
        earned' = kappa (earned + delta due + kappa^2t (delta - b) psi),  due' = kappa c (due + kappa^2t psi)
        E[ghat] = sum_t kappa^t E[(G - b) psi],  E[ghat ghat^T] = sum_t kappa^2t E[(G - b)^2 psi psi^T] + Z + Z^T,
        Z = sum_t E[(G - b) psi earned^T + G (G - b) psi due^T],

    because past and future are independent once the state is known: G comes backwards, earned and due come forwards.
    With a window of n errors the sum of j of them is delta_t and c times the sum of j - 1 from the next step on
    (CRIT-9).  Of another policy's actions, each G and each score is multiplied by the ratios from its own step on
    (CRIT-10).

    For a table that takes O(H S^3 A), and O(S^3 A) for an infinite horizon (CRIT-11), whose series converges for c < 1
    and kappa < 1; raises ValueError otherwise, and for an infinite horizon with another policy's actions.

    >>> from rlspec.reference.decision_process import TabularMDP
    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> given = process(bandit, [[0.25, 0.75]])
    >>> found = moments(given, reward_to_go(given))
    >>> print(*found.mean, found.variance)  # 3/4 * 8 - 9/2
    -1.5 1.5 1.5
    """
    kappa, last = credit.discount, _sums(given, credit).last
    ahead = [_settled(given, credit)] if given.horizon is None else _backwards(given, credit)
    visits = _visits(given, kappa * given.chain.T)
    met = _visits(given, kappa * kappa * given.second_chain.T)
    linear, square, cross = 0 * given.policy, 0 * given.policy, 0 * given.scores
    for step, past in enumerate(_pasts(given, credit, met)):
        returns, squares, b = ahead[step].returns, ahead[step].squares, credit.baselines[step]
        above = returns @ last - b  # E[G - b], [S, A]
        products = squares @ last - b[:, :, None] * returns  # E[G_j (G - b)] with each of the sums G_j, [S, A, m]
        linear += visits[step][:, None] * given.policy * above
        square += met[step][:, None] * given.second * (products @ last - b * above)
        cross += _crossed(past, given.policy * above, given.second[:, :, None] * products)
    mean = given.through(linear)
    return Moments(mean, _mean_square(given, square, cross) - np.multiply.outer(mean, mean))


def _sums(given: Process, credit: Credit) -> _Sums:
    """One sum that goes on; or, with a window of n errors, the sums of 1, ..., n of them."""
    length = credit.window or 1
    carry, last = given.zeros(length, length), given.zeros(length)
    last[-1] += 1
    for longer in range(length):
        carry[longer, longer - 1] = credit.decay
    if credit.window:
        carry[0, -1] = 0
    return _Sums(carry, last)


def _backwards(given: Process, credit: Credit) -> list[_Ahead]:
    """What is ahead at each step, from the last one back."""
    rows: list[_Ahead] = []
    for step in reversed(range(len(credit.baselines))):
        rows.append(_step_back(given, credit, step, *_before_acting(given, credit, rows[-1] if rows else None)))
    return rows[::-1]


def _step_back(given: Process, credit: Credit, step: int, first: Array, second: Array) -> _Ahead:
    """E[G], [S, A, m], and E[G G^T] from their means in the next state."""
    carry, rows, errors = _sums(given, credit).carry, given.transition, given.errors(credit.values, step)
    weighed = given.weighed(rows, *errors)
    returns = weighed.sum(axis=1)[:, None] + rows @ (first @ carry.T)
    crossed = weighed @ (first @ carry.T)
    squares = given.weighed(weighed, *errors).sum(axis=1)[:, None, None] + crossed[:, None] + crossed[:, :, None]
    squares = squares + (rows @ (carry @ second @ carry.T).reshape(len(second), -1)).reshape(squares.shape)
    return _Ahead(*(numbers.reshape(*given.policy.shape, *numbers.shape[1:]) for numbers in (returns, squares)))


def _before_acting(given: Process, credit: Credit, ahead: _Ahead | None) -> tuple[Array, Array]:
    """E[G], [S, m], and E[G G^T], once the state is known; 0 where nothing follows."""
    if ahead is None:
        states, length = len(given.initial), credit.window or 1
        return given.zeros(states, length), given.zeros(states, length, length)
    return over_actions(given.policy, ahead.returns), over_actions(given.second, ahead.squares)


def _settled(given: Process, credit: Credit) -> _Ahead:
    """What is ahead for ever: n steps back with a window, and otherwise a solution, of E[G] before E[G^2]."""
    c = credit.decay
    if not abs(credit.discount) < 1 or not (credit.window or abs(c) < 1) or given.second is not given.policy:
        raise ValueError("an infinite horizon needs kappa and c below 1 and actions that are the policy's own")
    first, second = _before_acting(given, credit, None)
    for _ in range(credit.window or 0):
        first, second = _before_acting(given, credit, _step_back(given, credit, 0, first, second))
    if not credit.window:
        constant, _ = _before_acting(given, credit, _step_back(given, credit, 0, first, second))
        first = given.fixed_point(c * given.chain, constant)
        _, constant = _before_acting(given, credit, _step_back(given, credit, 0, first, second))
        second = given.fixed_point(c * c * given.chain, constant[:, :, 0])[:, :, None]
    return _step_back(given, credit, 0, first, second)


def _pasts(given: Process, credit: Credit, met: Array) -> Iterator[_Past]:
    """What is past at each step, from the first one on; met: kappa^2t P(s_t = s)."""
    if given.horizon is None:
        yield _settled_past(given, credit, met)
        return
    past = _nothing_yet(given, credit.window or 1)
    for step in range(given.horizon):
        if step > 0:
            past = _past_after(given, credit, met, step - 1, past)
        yield past


def _past_after(given: Process, credit: Credit, met: Array, step: int, past: _Past) -> _Past:
    """What is past after a step, from what was before it."""
    each = met[step][:, None] * given.second
    known = -each * credit.baselines[step]
    errors, carry = given.errors(credit.values, step), _sums(given, credit).carry
    return _onwards(given, errors, each, known, carry, credit.discount, past)


def _nothing_yet(given: Process, length: int) -> _Past:
    states, dimension = len(given.initial), given.reward.size if given.features is None else given.features.shape[2]
    return _Past(given.zeros(states, dimension), given.zeros(states, length, dimension))


def _onwards(
    given: Process, errors: Errors, each: Array, known: Array, carry: Array, kappa: Number, past: _Past
) -> _Past:
    """The past of the next step, with delta the sum of this one's errors.

        earned' = kappa (earned + delta due + (delta each + known) psi)
        due'    = kappa carry^T (due + each psi).

    each: what a score that is added weighs, [S, A].  known: the part of its credit that is known already, [S, A].
    """
    rows, (earned, due), (here, ahead) = given.transition, past, errors
    by_error = given.averaged(given.second, given.weighed(rows, here, ahead))
    earned = given.chain.T @ earned + by_error.T @ due.sum(axis=1)
    earned += given.arrivals(given.weighed(rows, each * here + known, ahead, each))
    due = (given.second_chain.T @ due.reshape(len(due), -1)).reshape(due.shape)
    due[:, -1] += given.arrivals(given.weighed(rows, each))
    return _Past(kappa * earned, kappa * carry.T @ due)


def _settled_past(given: Process, credit: Credit, met: Array) -> _Past:
    """The past that a step leaves as it is: n steps with a window, and otherwise a solution, of due before earned."""
    kappa, past = credit.discount, _nothing_yet(given, credit.window or 1)
    nothing = past.earned
    for _ in range(credit.window or 0):
        past = _Past(nothing, _past_after(given, credit, met, 0, past).due)
    if not credit.window:
        added = _past_after(given, credit, met, 0, past).due[:, 0]
        past = _Past(nothing, given.fixed_point(kappa * credit.decay * given.chain.T, added)[:, None])
    added = _past_after(given, credit, met, 0, past).earned
    return _Past(given.fixed_point(kappa * given.chain.T, added), past.due)


def _crossed(past: _Past, above: Array, products: Array) -> Array:
    """above earned + products due, [S, A, D]: the earlier scores times this step's credit, [S, A] and [S, A, m]."""
    scores = np.concatenate([past.earned[:, None], past.due], axis=1)
    return np.concatenate([above[:, :, None], products], axis=2) @ scores


def _visits(given: Process, moves: Array) -> Array:
    """d_0 = initial and d_{t+1} = moves d_t, a row for each step, or their sum over all t as the only row."""
    if given.horizon is None:
        return given.fixed_point(moves, given.initial[:, None]).T
    rows = [given.initial]
    for _ in range(given.horizon - 1):
        rows.append(moves @ rows[-1])
    return np.array(rows)


def _mean_square(given: Process, weight: Array, cross: Array) -> Array:
    """sum_sa weight psi psi^T + psi cross^T + cross psi^T, [D, D]."""
    return given.through(weight[:, :, None] * given.scores + cross) + given.through(cross).T


class Episodes(NamedTuple):
    """What is expected of whole episodes, of their return R and of Psi = sum_t grad log pi(a_t|s_t)."""

    mean: Number  # E[R], which is J
    variance: Number  # Var[R]
    gradient: Array  # E[R Psi], which is grad J, [D]
    information: Array  # E[Psi Psi^T], [D, D]
    square: Array  # E[(R - b)^2 Psi Psi^T], [D, D]


def episodes(given: Process, baseline: Number | None = None) -> Episodes:
    """The moments of return and score of whole episodes (CRIT-7), b being E[R] if no other number is given.

    R - b is the sum of two numbers that are independent given s_t: what has been earned before step t,
    before_t = V_0(s_0) - b + delta_0 + ... + gamma^(t-1) delta_{t-1}, and what is earned from t on,
    after_t = gamma^t delta_t + ...  Psi Psi^T is the sum over t of psi_t psi_t^T, psi_t Y_t^T and Y_t psi_t^T, with the
    sum Y_t of the scores before t.  So, given the state and the action,

        E[(R - b)^2]             = E[before_t^2] + 2 E[before_t] E[after_t] + E[after_t^2]
        E[(R - b)^2 psi_t Y_t^T] = (2 E[after_t] E[before_t Y_t^T] + E[after_t^2] E[Y_t^T]) psi_t,

    for psi_t alone has mean zero.  E[before_t Y_t] and E[Y_t] are the vectors earned and due of `moments`, with one for
    c and kappa.
    Raises ValueError for an infinite horizon, whose scores have no finite sum, and for another policy's actions.
    """
    if given.horizon is None or given.second is not given.policy:
        raise ValueError("whole episodes have a finite horizon here, and actions that are the policy's own")
    values, scales = exact_values(given), discounted([1] * given.horizon, given.gamma)
    mean = given.initial @ values[0]
    credit = Credit(values, _by_step(given, 0), given.gamma, given.gamma)
    ahead = _backwards(given, credit)
    errors = [_scaled(given.errors(values, step), scale) for step, scale in enumerate(scales)]
    befores = _befores(given, errors, values[0] - (mean if baseline is None else baseline))
    past, one = _nothing_yet(given, 1), given.zeros(1, 1) + 1
    gradient, scored, square, cross = 0 * given.policy, 0 * given.policy, 0 * given.policy, 0 * given.scores
    for step, scale in enumerate(scales):
        after = scale * ahead[step].returns[:, :, 0]
        after_squared = scale * scale * ahead[step].squares[:, :, 0, 0]
        visits, before, before_squared = (of_state[:, None] * given.policy for of_state in befores[step])
        gradient += visits * after
        scored += visits
        square += before_squared + 2 * before * after + visits * after_squared
        cross += _crossed(past, 2 * given.policy * after, (given.policy * after_squared)[:, :, None])
        past = _onwards(given, errors[step], visits, before, one, 1, past)
    ends = values[0] - mean
    _, of_the_rest = _before_acting(given, credit, ahead[0])
    return Episodes(
        mean,
        given.initial @ (ends * ends + of_the_rest[:, 0, 0]),
        given.through(gradient),
        given.through(scored[:, :, None] * given.scores),
        _mean_square(given, square, cross),
    )


class _Before(NamedTuple):
    """Of what has been earned before a step, with the chance to be in each state, [S] each."""

    visits: Array  # P(s_t = s)
    mean: Array  # E[before_t; s_t = s]
    square: Array  # E[before_t^2; s_t = s]


def _befores(given: Process, errors: list[Errors], begun: Array) -> list[_Before]:
    """What has been earned before each step; begun: before the first one, [S]."""
    rows = [_Before(given.initial, given.initial * begun, given.initial * begun * begun)]
    for error in errors[:-1]:
        weighed = given.weighed(given.transition, *error)
        by_error = given.averaged(given.policy, weighed).T
        by_square = given.averaged(given.policy, given.weighed(weighed, *error)).T
        visits, mean, square = rows[-1]
        mean_after = given.chain.T @ mean + by_error @ visits
        square_after = given.chain.T @ square + 2 * by_error @ mean + by_square @ visits
        rows.append(_Before(given.chain.T @ visits, mean_after, square_after))
    return rows


def _scaled(errors: Errors, scale: Number) -> Errors:
    here, ahead = errors
    return scale * here, scale * ahead


def whole_return(given: Process, baseline: Number = 0) -> Moments:
    """The moments of (R - b) Psi: REINFORCE as it was first written (PG-3, CRIT-5), with a constant baseline."""
    known = episodes(given, baseline)
    return Moments(known.gradient, known.square - np.multiply.outer(known.gradient, known.gradient))


def leave_one_out(known: Episodes, size: int) -> Moments:
    """The moments of 1/N sum_i (R_i - mean of the other R_j) Psi_i over N >= 2 independent episodes (CRIT-8).

    It is the mean of h(i, j) = (R_i - R_j) (Psi_i - Psi_j) / 2 over all pairs, a U-statistic; hence its covariance is
    2 / (N (N - 1)) times 2 (N - 2) Cov[E[h | i]] + Cov[h] (Hoeffding 1948), which with M = E[(R - J)^2 Psi Psi^T] is

        ((N - 2) (M - g g^T) + M + Var[R] E[Psi Psi^T]) / (N (N - 1)).

    known: with E[R] for the baseline.  RLOO: Kool et al. (2019).

    >>> from rlspec.reference.decision_process import TabularMDP
    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> found = leave_one_out(episodes(process(bandit, [[0.25, 0.75]])), 2)
    >>> print(*found.mean, found.variance)  # 3/8 * (4^2 + 4^2) - 9/2
    -1.5 1.5 7.5
    """
    outer = np.multiply.outer(known.gradient, known.gradient)
    total = (size - 2) * (known.square - outer) + known.square + known.variance * known.information
    return Moments(known.gradient, _over(total, size * (size - 1)))


def mean_centred(known: Episodes, size: int) -> Moments:
    """The moments of 1/N sum_i (R_i - mean of all R_j) Psi_i: of `leave_one_out`, (N - 1) / N as long (CRIT-8).

    >>> from rlspec.reference.decision_process import TabularMDP
    >>> bandit = TabularMDP(transition=[[[1], [1]]], reward=[[0, 8]], initial=[1], gamma=1, horizon=1)
    >>> found = mean_centred(episodes(process(bandit, [[0.25, 0.75]])), 2)
    >>> print(*found.mean, found.variance)
    -0.75 0.75 1.875
    """
    mean, covariance = leave_one_out(known, size)
    return Moments(_over((size - 1) * mean, size), _over((size - 1) ** 2 * covariance, size**2))


def of_one_start(given: Process, group: Callable[[Episodes], Moments]) -> Moments:
    """The moments of a group's estimate if its episodes all begin in one state, as with a prompt, drawn once (CRIT-8).

    group: the moments for episodes that share nothing.  Given the state they are those of the process that begins
    there, and the mean of the covariances and the covariance of the means add up.
    """
    starts = np.flatnonzero(given.initial != 0)
    units = np.eye(len(given.initial), dtype=given.initial.dtype)
    parts = [group(episodes(replace(given, initial=units[state]))) for state in starts]
    mean = sum(given.initial[state] * of.mean for state, of in zip(starts, parts, strict=True))
    square = sum(
        given.initial[state] * (of.covariance + np.multiply.outer(of.mean, of.mean))
        for state, of in zip(starts, parts, strict=True)
    )
    return Moments(np.array(mean), square - np.multiply.outer(mean, mean))


def _over(numbers: Array, divisor: Any) -> Array:
    """numbers / divisor, without leaving the rationals."""
    if numbers.dtype != object:
        return numbers / divisor
    return np.frompyfunc(quotient, 2, 1)(numbers, divisor)


class Parabolas(NamedTuple):
    """The variance is the least one + sum_ts curvature_t(s) (b_t(s) - vertex_t(s))^2; both are [H, S] (CRIT-12)."""

    curvature: Array
    vertex: Array

    def of_states(self) -> "Parabolas":
        """For baselines that do not know the time: [1, S]."""
        return self._joined(axis=0)

    def of_all(self) -> "Parabolas":
        """For one number: [1, 1]."""
        return self._joined(axis=None)

    def above(self, baselines: Array) -> Number:
        """By how much the variance with these baselines exceeds the least one."""
        away = baselines - self.vertex
        return (self.curvature * away * away).sum()

    def _joined(self, axis: int | None) -> "Parabolas":
        weighed = self.curvature * self.vertex
        return _parabolas(self.curvature.sum(axis=axis, keepdims=True), weighed.sum(axis=axis, keepdims=True))


def _parabolas(curvature: Array, product: Array) -> Parabolas:
    vertex = 0 * product
    met = curvature != 0
    vertex[met] = _over(product[met], curvature[met])
    return Parabolas(curvature, vertex)


def best_baselines(given: Process, discount: Number = None) -> Parabolas:
    """The variance of sum_t kappa^t (G_t - b_t(s_t)) psi_t as a function of the numbers b_t(s) (CRIT-12).

    The estimate is ghat - sum_ts b_t(s) C_ts with C_ts = kappa^t [s_t = s] psi_t, which has mean zero and is
    uncorrelated with every other of its kind, because of two scores the later one has mean zero whatever the earlier
    one was.  So b_t(s) is best at E[ghat . C_ts] / E[|C_ts|^2], and with n_t(s) = P(s_t = s) and means over actions,

        E[|C_ts|^2]    = kappa^2t n_t(s) E[|psi|^2]
        E[ghat . C_ts] = kappa^2t n_t(s) E[Q_t |psi|^2 + psi . kappa X'] + F_t(s) . E[Q_t psi].

    X is the rest of the estimate, as in `moments`, and F_t(s) = sum_{j < t} kappa^(j+t) gamma^(t-j) E[psi_j; s_t = s]
    the scores of earlier steps, whose returns contain G_t.  Infinite horizon: sums over t, as the only row.
    The vertex of a state that cannot be visited, or where there is no choice, is 0.
    """
    kappa, values, psi = _or(discount, given.gamma), exact_values(given), given.scores
    visits = _visits(given, kappa * kappa * given.second_chain.T)
    lengths = (psi * psi).sum(axis=2)
    worth = [above + v[:, None] for above, v in zip(advantages(given, values), values, strict=True)]
    pulls = [over_actions(given.policy * q, psi) for q in worth]
    rests = _rests(given, kappa, pulls)
    earlier = _earlier(given, kappa, visits)
    curvature = visits * over_actions(given.policy, lengths)
    product = [
        n * (over_actions(given.policy, q * lengths) + rest) + (before * pull).sum(axis=1)
        for n, q, rest, before, pull in zip(visits, worth, rests, earlier, pulls, strict=True)
    ]
    return _parabolas(curvature, np.array(product))


def _rests(given: Process, kappa: Number, pulls: list[Array]) -> list[Array]:
    """E[psi . kappa X'], [S], at each step."""

    def ahead(rest: Array) -> Array:
        reached = (given.transition @ rest).reshape(given.scores.shape)
        return kappa * over_actions(given.policy, (given.scores * reached).sum(axis=2))

    if given.horizon is None:
        return [ahead(given.fixed_point(kappa * given.chain, pulls[0]))]
    rests, rest = [], 0 * pulls[0]
    for pull in reversed(pulls):
        rests.append(ahead(rest))
        rest = pull + kappa * given.chain @ rest
    return rests[::-1]


def _earlier(given: Process, kappa: Number, visits: Array) -> list[Array]:
    """F_t(s) = sum_{j < t} kappa^(j+t) gamma^(t-j) E[psi_j; s_t = s], [S, D], at each step, or their sum over all t."""
    growth = kappa * given.gamma
    shares = (given.weighed(given.transition, row[:, None] * given.policy) for row in visits)
    arrivals = [growth * given.arrivals(rows) for rows in shares]
    if given.horizon is None:
        return [given.fixed_point(growth * given.chain.T, arrivals[0])]
    rows = [0 * arrivals[0]]
    for arrived in arrivals[:-1]:
        rows.append(growth * given.chain.T @ rows[-1] + arrived)
    return rows


# The estimators, as credit.


def reward_to_go(given: Process, baselines: Any = 0, discount: Number = None) -> Credit:
    """kappa^t (G_t - b_t(s_t, a_t)) with all rewards that follow (PG-5, PG-6).

    baselines: b, a number or an array that can be broadcast to [H, S, A]: of shape [S, 1] for numbers of states.
    discount: kappa, gamma if it is not given.

    In terms of the exact values it is sum_{j >= t} gamma^(j-t) delta_j - (b_t - V_t): the same sum, without the large
    numbers that are added only to be taken away again.  In float64, with the values as baselines, rewards of size M and
    H steps, the values are off by at most v = 2^-53 (S + A + 2) H^2 M and a covariance of trace sigma^2 by 4 H^2 v
    (sigma + v), where with v_t = 0 and delta = r it would be off by a multiple of 2^-53 (H M)^2.
    """
    values = exact_values(given)
    return Credit(values, _by_step(given, baselines) - values[:, :, None], given.gamma, _or(discount, given.gamma))


def generalized(given: Process, critic: Any, lam: Number, discount: Number = None) -> Credit:
    """kappa^t times the advantage estimates GAE(lambda) of a critic [H, S] (CRIT-3): lambda = 0 is one step."""
    return Credit(_critic(given, critic), _by_step(given, 0), given.gamma * lam, _or(discount, given.gamma))


def n_step(given: Process, critic: Any, n: int, discount: Number = None) -> Credit:
    """kappa^t times n steps of reward and then the critic's value, less the critic's value here (CRIT-2).

    Raises ValueError for n < 1.
    """
    require_steps(n)
    window = n if given.horizon is None or n < given.horizon else None
    return Credit(_critic(given, critic), _by_step(given, 0), given.gamma, _or(discount, given.gamma), window)


def per_decision(given: Process) -> Credit:
    """gamma^t G_t for per-decision importance sampling (PG-9), of a process that has a `behaviour`."""
    return Credit(_critic(given, 0), _by_step(given, 0), given.gamma, given.gamma)


def exact_values(given: Process) -> Array:
    """V_t(s), [H, S]; one row for an infinite horizon (MDP-2)."""
    paid, chain = over_actions(given.policy, given.reward), given.chain
    if given.horizon is None:
        return given.fixed_point(given.gamma * chain, paid[:, None]).T
    rows = [paid]
    for _ in range(given.horizon - 1):
        rows.append(paid + given.gamma * chain @ rows[-1])
    return np.array(rows[::-1])


def occupancy(given: Process) -> Array:
    """gamma^t P(s_t = s), [H, S]; for an infinite horizon their sum over t, as the only row."""
    return _visits(given, given.gamma * given.chain.T)


def advantages(given: Process, values: Array) -> list[Array]:
    """E[delta_t | s, a], [S, A], for each row of values: of the exact ones Q_t - V_t."""
    weighed = (given.weighed(given.transition, *given.errors(values, step)) for step, _ in enumerate(values))
    return [rows.sum(axis=1).reshape(given.reward.shape) for rows in weighed]


def _critic(given: Process, critic: Any) -> Array:
    return np.broadcast_to(np.array(critic, dtype=given.reward.dtype), (given.horizon or 1, len(given.initial)))


def _by_step(given: Process, baselines: Any) -> Array:
    numbers = np.array(baselines, dtype=given.reward.dtype)
    return np.broadcast_to(numbers, (given.horizon or 1, *given.reward.shape))


def _or(number: Number | None, default: Number) -> Number:
    return default if number is None else number
