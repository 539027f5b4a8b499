"""The mean and the covariance of a policy gradient's estimate, without listing a single trajectory.

Every estimate here is a sum over steps, ghat = sum_t w_t psi_t with the score psi_t = grad log pi(a_t|s_t).  What it
makes of the future is summed up, for each state, in a few numbers and vectors; these obey one-step equations, which a
finite horizon goes through backwards and an infinite one solves.

Written once, over arrays: of objects, for `Fraction` or flint's `fmpq`, where all of it is exact, and of float64.  S
states, A actions, D parameters; those of a table are its logits, state by state, D = S A.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .linear_algebra import Number, lu, quotient, solve
from .policy_gradient import discounted

Array = np.ndarray


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

    What `reference.decision_process` calls so; second has the policy's probabilities, or for actions that another
    policy mu draws pi(a|s)^2 / mu(a|s): the weight that an action has in a mean of squares (PG-44).
    """

    transition: Array  # [S, A, S]
    reward: Array  # [S, A]
    initial: Array  # [S]
    gamma: Number
    horizon: int | None
    policy: Array  # [S, A]
    second: Array  # [S, A]
    scores: Array  # [S, A, D]

    @cached_property
    def chain(self) -> Array:
        """P_pi = sum_a pi(a|s) P(s' | s, a), [S, S]."""
        return over_actions(self.policy, self.transition)

    @cached_property
    def second_chain(self) -> Array:
        """The same with the weights of a mean of squares."""
        return over_actions(self.second, self.transition)

    def zeros(self, *shape: int) -> Array:
        """Zeros of the process's kind of number."""
        return np.zeros(shape, dtype=self.reward.dtype)

    def errors(self, values: Array, step: int) -> Array:
        """delta_t(s, a, s') = r(s, a) + gamma v_{t+1}(s') - v_t(s), [S, A, S], with v_H = 0 (ADV-1)."""
        following = values[step + 1] if step + 1 < len(values) else self.zeros(len(self.initial))
        if self.horizon is None:
            following = values[step]
        return (self.reward - values[step][:, None])[:, :, None] + self.gamma * following


def process(mdp: Any, policy: Any, features: Any = None, behaviour: Any = None) -> Process:
    """The arrays of a process and a policy; float64 if there is a float in one of the tables, and objects otherwise.

    mdp: a `TabularMDP`, or anything with its fields; of arrays that are none nothing but the shapes is checked.
    policy: pi, [S][A].  features: phi, [S][A][D], of a policy proportional to exp(theta . phi(s, a)); if they are not
    given, the policy is a table.  behaviour: mu, [S][A], whose actions are seen; if it is not given, they are pi's.
    Raises ValueError for an action that pi takes and mu does not.
    """
    tables = [mdp.transition, mdp.reward, mdp.initial, [mdp.gamma], policy, policy if behaviour is None else behaviour]
    given = [] if features is None else [features]
    transition, reward, initial, (gamma,), pi, mu, *given = _of_one_kind(*tables, *given)
    phi = given[0] if given else _table(*reward.shape).astype(reward.dtype)
    second = pi if behaviour is None else _ratios(pi, mu) * pi
    return Process(transition, reward, initial, gamma, mdp.horizon, pi, second, scores(pi, phi))


def scores(policy: Array, features: Array) -> Array:
    """grad log pi(a|s) = phi(s, a) - sum_b pi(b|s) phi(s, b), [S, A, D] (PG-47).

    policy: [S, A], proportional to exp(theta . phi(s, a)).  features: phi, [S, A, D].  Sutton et al. (1999), section 3.
    """
    return features - over_actions(policy, features)[:, None]


def over_actions(weights: Array, numbers: Array) -> Array:
    """sum_a weights(s, a) numbers(s, a): from [S, A, ...] to [S, ...]."""
    return np.einsum("sa,sa...->s...", weights, numbers)


def _table(states: int, actions: int) -> Array:
    """The features of a table, [S, A, S A]: each pair of state and action has a parameter of its own."""
    return np.eye(states * actions, dtype=object).reshape(states, actions, -1)


def _of_one_kind(*tables: Any) -> list[Array]:
    arrays = [np.array(table, dtype=getattr(table, "dtype", object)) for table in tables]
    inexact = any(
        array.dtype.kind == "f" or (array.dtype == object and any(isinstance(x, float) for x in array.flat))
        for array in arrays
    )
    return [array.astype(float if inexact else object) for array in arrays]


def _ratios(policy: Array, behaviour: Array) -> Array:
    """pi(a|s) / mu(a|s), and 0 for what pi does not do."""
    for s, a in np.argwhere(policy != 0):
        if behaviour[s, a] == 0:
            raise ValueError(f"behaviour[{s}][{a}] is 0 where policy[{s}][{a}] is {policy[s, a]}; no ratio exists")
    return np.array(
        [[quotient(p, m) if p != 0 else p for p, m in zip(*rows, strict=True)]
         for rows in zip(policy, behaviour, strict=True)], dtype=policy.dtype,
    )  # fmt: skip


@dataclass(frozen=True)
class Credit:
    """w_t = k^t (G_t - b_t(s_t, a_t)), where G_t = delta_t + c delta_{t+1} + c^2 delta_{t+2} + ...

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
    """k: gamma, or 1 where gamma^t is left out (PG-12)"""
    window: int | None = None
    """how many errors G_t consists of at most; None for all that follow"""


class _Sums(NamedTuple):
    """G_t as the last of m sums of errors that follow from each other: G_t = delta_t + carry G_{t+1}."""

    carry: Array  # [m, m]
    last: Array  # [m], 0 but for the last, which is 1


class _Ahead(NamedTuple):
    """What is expected from a state on of the sums G, of the estimate's rest X, and of their products."""

    first: Array  # E[G], [S, m]
    second: Array  # E[G G^T], [S, m, m]
    rest: Array  # E[X], [S, D]
    product: Array  # E[G X^T], [S, m, D]


def moments(given: Process, credit: Credit) -> Moments:
    """The mean and the covariance of ghat = sum_t w_t grad log pi(a_t|s_t) (PG-40).

    With G_t = delta_t + c G_{t+1} and X_t = (G_t - b_t) psi_t + k X_{t+1}, ghat is X_0.  Given the state, with means
    over the action, and primes for what is ahead in the next state,

        E[G]   = E[delta + c G']              E[X]    = E[(G - b) psi + k X']
        E[G^2] = E[delta^2 + 2 c delta G' + c^2 G'^2]
        E[G X] = E[(G^2 - b G) psi + k (delta X' + c G' X'])
        E[ghat ghat^T] = sum_t k^2t E[(G - b)^2 psi psi^T + psi u^T + u psi^T],  u = k E[(delta - b) X' + c G' X'],

    because X X^T needs no third moments: past steps enter it only through where they lead.  With a window of n errors
    the sum of j of them is delta_t and c times the sum of j - 1 from the next step on (PG-43).  Of another policy's
    actions, each G and X is multiplied by the ratios from its own step on (PG-44).

    Takes O(H S^2 A D) for a finite horizon and O(S^3 + S^2 A D) for an infinite one (PG-45), whose series converges for
    k < 1; raises ValueError otherwise, and for an infinite horizon with another policy's actions.
    """
    ahead = _nothing(given, credit) if given.horizon else _settled(given, credit)
    weight, cross = given.zeros(*given.reward.shape), given.zeros(*given.scores.shape)
    for step, visits in reversed(list(enumerate(_visits(given, credit.discount)))):
        each = visits[:, None] * given.second
        ahead, square, *factors = _step(given, credit, step, ahead)
        weight += each * square
        cross += np.tensordot(each[:, :, None] * factors[0], factors[1], 1)
    mean = given.initial @ ahead.rest
    return Moments(mean, _mean_square(given.scores, weight, cross) - np.multiply.outer(mean, mean))


def _step(given: Process, credit: Credit, step: int, ahead: _Ahead) -> tuple[_Ahead, Array, Array, Array]:
    """One step back: what is expected from here on, E[(G - b)^2] [S, A], and two factors of u [S, A, D].

    u = k E[(delta - b) X' + c G' X'] is [S, A, 2 S] times [2 S, D].
    """
    (carry, last), k, b = _sums(given, credit), credit.discount, credit.baselines[step]
    errors = given.errors(credit.values, step)
    weighed = given.transition * errors
    returns = weighed.sum(axis=2)[:, :, None] + np.tensordot(given.transition, ahead.first @ carry.T, 1)
    crossed = np.tensordot(weighed, ahead.first @ carry.T, 1)
    squares = (weighed * errors).sum(axis=2)[:, :, None, None] + crossed[:, :, None, :] + crossed[:, :, :, None]
    squares = squares + np.tensordot(given.transition, carry @ ahead.second @ carry.T, 1)
    credited = (squares @ last) - b[:, :, None] * returns
    carried = np.tensordot(carry, ahead.product, ((1,), (1,))).swapaxes(0, 1)
    here = _Ahead(
        over_actions(given.policy, returns),
        over_actions(given.second, squares),
        over_actions(given.policy * (returns @ last - b), given.scores) + k * given.chain @ ahead.rest,
        np.einsum("sa,sam,sad->smd", given.second, credited, given.scores)
        + k * (over_actions(given.second, weighed) @ ahead.rest)[:, None]
        + k * np.tensordot(given.second_chain, carried, 1),
    )
    moves = k * np.concatenate([weighed - b[:, :, None] * given.transition, given.transition], axis=2)
    return here, credited @ last - b * (returns @ last - b), moves, np.concatenate([ahead.rest, carried[:, -1]])


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


def _nothing(given: Process, credit: Credit) -> _Ahead:
    """What follows the last step."""
    (states, _, dimension), length = given.scores.shape, credit.window or 1
    shapes = (states, length), (states, length, length), (states, dimension), (states, length, dimension)
    return _Ahead(*(given.zeros(*shape) for shape in shapes))


def _settled(given: Process, credit: Credit) -> _Ahead:
    """The fixed point of a step back: its four equations are linear, each in its own unknowns and those before it."""
    k, carry = credit.discount, _sums(given, credit).carry
    if not abs(k) < 1 or given.second is not given.policy:
        raise ValueError("an infinite horizon needs a discount k below 1 and actions that are the policy's own")
    chain, ahead = given.chain, _nothing(given, credit)
    growth = {
        "first": np.kron(chain, carry),
        "second": np.kron(chain, np.kron(carry, carry)),
        "rest": k * chain,
        "product": k * np.kron(chain, carry),
    }
    for name, matrix in growth.items():
        constant = getattr(_step(given, credit, 0, ahead)[0], name)
        fixed = fixed_point(matrix, constant.reshape(len(matrix), -1)).reshape(constant.shape)
        ahead = ahead._replace(**{name: fixed})
    return ahead


def _visits(given: Process, k: Number) -> Array:
    """k^2t P(s_t = s), a row for each step, or their sum over all t as the only row; with `second` as the weights."""
    arrivals = k * k * given.second_chain.T
    if given.horizon is None:
        return fixed_point(arrivals, given.initial[:, None]).T
    rows = [given.initial]
    for _ in range(given.horizon - 1):
        rows.append(arrivals @ rows[-1])
    return np.array(rows)


def fixed_point(matrix: Array, constant: Array) -> Array:
    """The x with x = matrix x + constant, [n, columns], for a matrix whose rows or columns have absolute sums below 1.

    I - matrix is then diagonally dominant by rows or by columns, which elimination without pivoting preserves.
    """
    system = np.eye(len(matrix), dtype=matrix.dtype) - matrix
    if system.dtype != object:
        return np.linalg.solve(system, constant)
    factors = lu(system.tolist())
    return np.array([solve(factors, column) for column in constant.T.tolist()], dtype=object).T


def _mean_square(psi: Array, weight: Array, cross: Array) -> Array:
    """sum_sa weight psi psi^T + psi cross^T + cross psi^T, [D, D]."""
    once = np.tensordot(psi, weight[:, :, None] * psi + cross, ((0, 1), (0, 1)))
    return once + np.tensordot(psi, cross, ((0, 1), (0, 1))).T


class Episodes(NamedTuple):
    """What is expected of whole episodes, of their return R and of Psi = sum_t grad log pi(a_t|s_t)."""

    mean: Number  # E[R], which is J
    variance: Number  # Var[R]
    gradient: Array  # E[R Psi], which is grad J, [D]
    information: Array  # E[Psi Psi^T], [D, D]
    square: Array  # E[(R - b)^2 Psi Psi^T], [D, D]


def episodes(given: Process, baseline: Number | None = None) -> Episodes:
    """The moments of return and score of whole episodes (PG-41), b being E[R] if no other number is given.

    R - b is what has happened before step t, R_t = V_0(s_0) - b + delta_0 + ... + gamma^(t-1) delta_{t-1}, and what
    follows, G_t = gamma^t delta_t + ...; given s_t they are independent.  Psi Psi^T is the sum over t of psi_t psi_t^T,
    psi_t Y_t^T and Y_t psi_t^T, with the scores Y_t that follow step t.  So, given the state and the action,

        E[(R - b)^2]     = E[R_t^2] + 2 E[R_t] E[G] + E[G^2]
        E[(R - b)^2 Y_t] = 2 E[R_t] E[G Y] + E[G^2 Y],

    for Y_t alone has mean zero.  The first factors come forwards and the second backwards.
    Raises ValueError for an infinite horizon, whose scores have no finite sum, and for another policy's actions.
    """
    if given.horizon is None or given.second is not given.policy:
        raise ValueError("whole episodes have a finite horizon here, and actions that are the policy's own")
    values = exact_values(given)
    scales = discounted([1] * given.horizon, given.gamma)
    errors = [scale * given.errors(values, step) for step, scale in enumerate(scales)]
    mean = given.initial @ values[0]
    past = _pasts(given, errors, values[0] - (mean if baseline is None else baseline))
    states, _, dimension = given.scores.shape
    first, second = given.zeros(states), given.zeros(states)
    product, square_product = given.zeros(states, dimension), given.zeros(states, dimension)
    plain, weight, cross = (given.zeros(*shape) for shape in (given.policy.shape,) * 2 + (given.scores.shape,))
    for (visits, once, twice), error in zip(past[::-1], errors[::-1], strict=True):
        weighed = given.transition * error
        returns = weighed.sum(axis=2) + given.transition @ first
        squares = (weighed * error).sum(axis=2) + 2 * (weighed @ first) + given.transition @ second
        ahead = np.tensordot(given.transition, product, 1)
        square_ahead = np.tensordot(2 * weighed, product, 1) + np.tensordot(given.transition, square_product, 1)
        plain += visits[:, None] * given.policy
        weight += given.policy * (twice[:, None] + 2 * once[:, None] * returns + visits[:, None] * squares)
        each = given.policy[:, :, None]
        cross += each * (2 * once[:, None, None] * ahead + visits[:, None, None] * square_ahead)
        first, second = over_actions(given.policy, returns), over_actions(given.policy, squares)
        product = over_actions(given.policy, returns[:, :, None] * given.scores + ahead)
        square_product = over_actions(given.policy, squares[:, :, None] * given.scores + square_ahead)
    begun = values[0] - mean
    return Episodes(
        mean,
        given.initial @ (begun * begun + second),
        given.initial @ product,
        _mean_square(given.scores, plain, 0 * cross),
        _mean_square(given.scores, weight, cross),
    )


def _pasts(given: Process, errors: list[Array], begun: Array) -> list[tuple[Array, Array, Array]]:
    """P(s_t = s), E[R_t; s_t = s] and E[R_t^2; s_t = s] for each step."""
    rows = [(given.initial, given.initial * begun, given.initial * begun * begun)]
    for error in errors[:-1]:
        visits, once, twice = rows[-1]
        weighed = given.transition * error
        by_error, by_square = over_actions(given.policy, weighed), over_actions(given.policy, weighed * error)
        rows.append((
            visits @ given.chain,
            once @ given.chain + visits @ by_error,
            twice @ given.chain + 2 * once @ by_error + visits @ by_square,
        ))  # fmt: skip
    return rows


def whole_return(given: Process, baseline: Number = 0) -> Moments:
    """The moments of (R - b) Psi: REINFORCE as it was first written (PG-3, PG-22), with a constant baseline."""
    known = episodes(given, baseline)
    return Moments(known.gradient, known.square - np.multiply.outer(known.gradient, known.gradient))


def leave_one_out(known: Episodes, size: int) -> Moments:
    """The moments of 1/N sum_i (R_i - mean of the other R_j) Psi_i over N >= 2 independent episodes (PG-42).

    It is the mean of h(i, j) = (R_i - R_j) (Psi_i - Psi_j) / 2 over all pairs, a U-statistic; hence its covariance is
    2 / (N (N - 1)) times 2 (N - 2) Cov[E[h | i]] + Cov[h] (Hoeffding 1948), which with M = E[(R - J)^2 Psi Psi^T] is

        ((N - 2) (M - g g^T) + M + Var[R] E[Psi Psi^T]) / (N (N - 1)).

    known: with E[R] for the baseline.  RLOO: Kool et al. (2019).
    """
    outer = np.multiply.outer(known.gradient, known.gradient)
    total = (size - 2) * (known.square - outer) + known.square + known.variance * known.information
    return Moments(known.gradient, _over(total, size * (size - 1)))


def mean_centred(known: Episodes, size: int) -> Moments:
    """The moments of 1/N sum_i (R_i - mean of all R_j) Psi_i: those of `leave_one_out`, (N - 1) / N as long (PG-42)."""
    mean, covariance = leave_one_out(known, size)
    return Moments(_over((size - 1) * mean, size), _over((size - 1) ** 2 * covariance, size**2))


def _over(numbers: Array, divisor: Any) -> Array:
    """numbers / divisor, without leaving the rationals."""
    if numbers.dtype != object:
        return numbers / divisor
    return np.frompyfunc(quotient, 2, 1)(numbers, divisor)


class Parabolas(NamedTuple):
    """The variance is the least one + sum_ts curvature_t(s) (b_t(s) - vertex_t(s))^2; both are [H, S] (PG-46)."""

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
    """The variance of sum_t k^t (G_t - b_t(s_t)) grad log pi(a_t|s_t) as a function of the numbers b_t(s) (PG-46).

    The estimate is ghat - sum_ts b_t(s) B_ts with B_ts = k^t [s_t = s] psi_t, which has mean zero and is uncorrelated
    with every other of its kind, because of two scores the later one has mean zero whatever the earlier one was.  So
    b_t(s) is best at E[ghat . B_ts] / E[|B_ts|^2], and with n_t(s) = P(s_t = s) and means over actions,

        E[|B_ts|^2]    = k^2t n_t(s) E[|psi|^2]
        E[ghat . B_ts] = k^2t n_t(s) E[Q_t |psi|^2 + psi . k X'] + F_t(s) . E[Q_t psi].

    X is the rest of the estimate, as in `moments`, and F_t(s) = sum_{j < t} k^(j+t) gamma^(t-j) E[psi_j; s_t = s] the
    scores of earlier steps, whose returns contain G_t.  Infinite horizon: sums over t, as the only row.
    The vertex of a state that cannot be visited, or where there is no choice, is 0.
    """
    k, values, psi = _or(discount, given.gamma), exact_values(given), given.scores
    visits = _visits(given, k)
    lengths = (psi * psi).sum(axis=2)
    worth = [(given.errors(values, t) * given.transition).sum(axis=2) + v[:, None] for t, v in enumerate(values)]
    pulls = [over_actions(given.policy * q, psi) for q in worth]
    rests = _rests(given, k, pulls)
    earlier = _earlier(given, k, visits)
    curvature = visits * over_actions(given.policy, lengths)
    product = [
        n * (over_actions(given.policy, q * lengths) + (over_actions(given.policy, psi * rest)).sum(axis=1))
        + (before * pull).sum(axis=1)
        for n, q, rest, before, pull in zip(visits, worth, rests, earlier, pulls, strict=True)
    ]
    return _parabolas(curvature, np.array(product))


def _rests(given: Process, k: Number, pulls: list[Array]) -> list[Array]:
    """E[k X'] for each pair of state and action, [S, A, D], at each step."""
    if given.horizon is None:
        settled = fixed_point(k * given.chain, pulls[0])
        return [k * np.tensordot(given.transition, settled, 1)]
    rests, rest = [], 0 * pulls[0]
    for pull in reversed(pulls):
        rests.append(k * np.tensordot(given.transition, rest, 1))
        rest = pull + k * given.chain @ rest
    return rests[::-1]


def _earlier(given: Process, k: Number, visits: Array) -> list[Array]:
    """F_t(s) = sum_{j < t} k^(j+t) gamma^(t-j) E[psi_j; s_t = s], [S, D], at each step, or their sum over all t."""

    def arrivals(visits: Array) -> Array:
        weighed = (visits[:, None] * given.policy)[:, :, None] * given.transition
        return k * given.gamma * np.tensordot(weighed, given.scores, ((0, 1), (0, 1)))

    if given.horizon is None:
        return [fixed_point(k * given.gamma * given.chain.T, arrivals(visits[0]))]
    rows = [given.zeros(*given.scores.shape[::2])]
    for row in visits[:-1]:
        rows.append(k * given.gamma * given.chain.T @ rows[-1] + arrivals(row))
    return rows


# The estimators, as credit.


def reward_to_go(given: Process, baselines: Any = 0, discount: Number = None) -> Credit:
    """k^t (G_t - b_t(s_t, a_t)) with all rewards that follow (PG-5, PG-6).

    baselines: b, a number or an array that can be broadcast to [H, S, A]: of shape [S, 1] for numbers of states.
    discount: k, gamma if it is not given.

    In terms of the exact values it is sum_{k >= t} gamma^(k-t) delta_k - (b_t - V_t): the same sum, without the large
    numbers that are added only to be taken away again.
    """
    values = exact_values(given)
    return Credit(values, _by_step(given, baselines) - values[:, :, None], given.gamma, _or(discount, given.gamma))


def generalized(given: Process, critic: Any, lam: Number, discount: Number = None) -> Credit:
    """k^t times the generalised advantage estimates GAE(lambda) of a critic [H, S] (PG-20): lambda = 0 is one step."""
    critic = _critic(given, critic)
    return Credit(critic, _by_step(given, 0), given.gamma * lam, _or(discount, given.gamma))


def n_step(given: Process, critic: Any, n: int, discount: Number = None) -> Credit:
    """k^t times n steps of reward and then the critic's value, less the critic's value here (PG-19)."""
    critic = _critic(given, critic)
    window = n if given.horizon is None or n < given.horizon else None
    return Credit(critic, _by_step(given, 0), given.gamma, _or(discount, given.gamma), window)


def per_decision(given: Process) -> Credit:
    """gamma^t G_t for per-decision importance sampling (PG-23), of a process that has a `behaviour`."""
    nothing = given.zeros(given.horizon or 1, len(given.initial))
    return Credit(nothing, _by_step(given, 0), given.gamma, given.gamma)


def exact_values(given: Process) -> Array:
    """V_t(s), [H, S]; one row for an infinite horizon (MDP-2)."""
    paid, chain = over_actions(given.policy, given.reward), given.chain
    if given.horizon is None:
        return fixed_point(given.gamma * chain, paid[:, None]).T
    rows = [paid]
    for _ in range(given.horizon - 1):
        rows.append(paid + given.gamma * chain @ rows[-1])
    return np.array(rows[::-1])


def _critic(given: Process, critic: Any) -> Array:
    return np.broadcast_to(np.array(critic, dtype=given.reward.dtype), (given.horizon or 1, len(given.initial)))


def _by_step(given: Process, baselines: Any) -> Array:
    numbers = np.array(baselines, dtype=given.reward.dtype)
    return np.broadcast_to(numbers, (given.horizon or 1, *given.reward.shape))


def _or(number: Number | None, default: Number) -> Number:
    return default if number is None else number
