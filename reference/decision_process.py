"""The tabular Markov decision process: values, action values, occupancy and every trajectory, exactly.

Written once for every number type: `int`, `fractions.Fraction`, `flint.fmpq`, SymPy expressions, polynomials,
truncated power series, floats, 0-d tensors.  Tables are nested sequences; results are nested lists.

The process starts in s_0 ~ initial.  At each step t the policy draws a_t ~ pi(.|s_t), pays r_t = reward[s_t][a_t]
and moves on to s_{t+1} ~ transition[s_t][a_t].  A finite horizon H counts the actions: t = 0, ..., H - 1.
mdp: the process, a `TabularMDP`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from operator import index
from typing import Any, NamedTuple

from .linear_algebra import LU, Matrix, Number, Vector, dot, lu, solve, solve_transposed, transposed

Table = Any  # nested sequences of numbers, an array or a tensor
Trajectory = tuple[Number, tuple[int, ...], tuple[int, ...], tuple[Number, ...]]


@dataclass(frozen=True)
class TabularMDP:
    """A Markov decision process with S states and A actions, checked once, when it is made.

    transition: [S][A][S], transition[s][a][s'] = P(s' | s, a).  reward: [S][A].  initial: [S].
    gamma: the discount, in [0, 1].  horizon: the number of actions taken; None is infinite and needs gamma < 1.
    Tables may be nested sequences, NumPy arrays or tensors; they are kept as nested tuples of numbers.

    Raises ValueError, naming the entry, for whatever is not such a process.  Rationals must sum to 1 exactly,
    floating-point numbers to within their rounding errors.
    """

    transition: Table
    reward: Table
    initial: Table
    gamma: Number
    horizon: int | None = None

    def __post_init__(self) -> None:
        states = len(_entries("transition", self.transition))
        actions = len(_entries("transition[0]", self.transition[0]))
        checked = {
            "transition": _table("transition", self.transition, states, actions, states),
            "reward": _table("reward", self.reward, states, actions),
            "initial": _table("initial", self.initial, states),
            "gamma": _number("gamma", self.gamma),
            "horizon": _horizon(self.horizon),
        }
        for s, rows in enumerate(checked["transition"]):
            for a, row in enumerate(rows):
                _require_distribution(f"transition[{s}][{a}]", row, "next states")
        _require_distribution("initial", checked["initial"], "states")
        require_discount(checked["gamma"], checked["horizon"])
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of states and of actions, (S, A)."""
        return len(self.reward), len(self.reward[0])


def checked_policy(mdp: TabularMDP, policy: Matrix) -> Matrix:
    """The policy [S][A], as nested tuples, if each row is a distribution over the actions.

    The functions below do not ask: a policy may as well be a table of symbols, or of polynomials' generators.
    Raises ValueError, naming the entry.
    """
    checked: Matrix = _table("policy", policy, *mdp.shape)
    for s, row in enumerate(checked):
        _require_distribution(f"policy[{s}]", row, "actions")
    return checked


def state_values(mdp: TabularMDP, policy: Matrix) -> list[Any]:
    """V_t(s) = E[sum_{k >= t} gamma^(k - t) r_k | s_t = s] (MDP-2).

    policy: [S][A].  Returns [H][S], row t having H - t steps to go; for an infinite horizon one row, [S], which solves
    (I - gamma P_pi) V = r_pi.  Sutton & Barto (2018), eq. 3.14.

    >>> mdp = TabularMDP([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[1, 4], [0, 0]], [1, 0], 0.5, horizon=2)
    >>> state_values(mdp, [[1, 0], [1, 0]])
    [[1.5, 0.0], [1, 0]]
    """
    if mdp.horizon is None:
        return solve(_factors(mdp, policy), _average(policy, mdp.reward))
    return [values for values, _ in _backwards(mdp, policy, mdp.horizon)]


def action_values(mdp: TabularMDP, policy: Matrix) -> list[Any]:
    """Q_t(s, a) = reward[s][a] + gamma sum_s' P(s' | s, a) V_{t+1}(s'), with V_H = 0 (MDP-3).

    policy: [S][A].  Returns [H][S][A], or [S][A] for an infinite horizon.  Sutton & Barto (2018), section 3.5.

    >>> mdp = TabularMDP([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[1, 4], [0, 0]], [1, 0], 0.5, horizon=2)
    >>> action_values(mdp, [[1, 0], [1, 0]])[0]
    [[1.5, 4.0], [0.0, 0.0]]
    """
    if mdp.horizon is None:
        return _look_ahead(mdp, state_values(mdp, policy))
    return [values for _, values in _backwards(mdp, policy, mdp.horizon)]


def occupancy(mdp: TabularMDP, policy: Matrix) -> list[Any]:
    """d_t(s) = gamma^t P(s_t = s): how much of the future's weight lies on each state (MDP-4).

    policy: [S][A].  Returns [H][S]: d_0 = initial and d_{t+1} = gamma P_pi^T d_t.  For an infinite horizon the sum over
    t, [S], which solves (I - gamma P_pi)^T d = initial.  Sutton et al. (1999), where it is called d^pi.

    >>> mdp = TabularMDP([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[1, 4], [0, 0]], [1, 0], 0.5, horizon=2)
    >>> occupancy(mdp, [[0.5, 0.5], [1, 0]])
    [[1, 0], [0.25, 0.25]]
    """
    if mdp.horizon is None:
        return solve_transposed(_factors(mdp, policy), mdp.initial)
    arrivals = transposed(_chain(mdp, policy))
    weights: list[Vector] = [list(mdp.initial)]
    for _ in range(mdp.horizon - 1):
        weights.append([mdp.gamma * dot(column, weights[-1]) for column in arrivals])
    return weights


def expected_return(mdp: TabularMDP, policy: Matrix) -> Number:
    """J = E[R(tau)] = sum_s initial(s) V_0(s), the expected discounted return (MDP-1).

    policy: [S][A], which may also hold the generators of a ring of polynomials: J then is its closed form.

    >>> mdp = TabularMDP([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[1, 4], [0, 0]], [1, 0], 0.5, horizon=2)
    >>> expected_return(mdp, [[0.5, 0.5], [1, 0]])
    3.125
    """
    values = state_values(mdp, policy)
    return dot(mdp.initial, values if mdp.horizon is None else values[0])


class Evaluation(NamedTuple):
    """What there is to know of a policy: its V, Q and d, shaped as the functions of these names return them."""

    state_values: list[Any]
    action_values: list[Any]
    occupancy: list[Any]


def evaluation(mdp: TabularMDP, policy: Matrix) -> Evaluation:
    """`state_values`, `action_values` and `occupancy` for the price of two: one recursion, or one factorisation.

    policy: [S][A].  For an infinite horizon V solves with I - gamma P_pi and d with its transpose, from the same LU.
    """
    if mdp.horizon is None:
        factors = _factors(mdp, policy)
        values = solve(factors, _average(policy, mdp.reward))
        return Evaluation(values, _look_ahead(mdp, values), solve_transposed(factors, mdp.initial))
    in_states, in_actions = zip(*_backwards(mdp, policy, mdp.horizon), strict=True)
    return Evaluation(list(in_states), list(in_actions), occupancy(mdp, policy))


def trajectories(mdp: TabularMDP, policy: Matrix) -> Iterator[Trajectory]:
    """Every trajectory tau = (s_0, a_0, r_0, ..., s_T, a_T, r_T), T = H - 1, that has a probability above zero (MDP-1).

    policy: [S][A].  Yields (probability, states, actions, rewards) depth first, so that what a common beginning
    costs is paid once; there are at most (S A)^H of them and their probabilities sum to 1:
    p(tau) = initial(s_0) pi(a_0|s_0) prod_{t=1..T} P(s_t|s_{t-1}, a_{t-1}) pi(a_t|s_t).
    Raises ValueError for an infinite horizon.

    >>> mdp = TabularMDP([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[1, 4], [0, 0]], [1, 0], 0.5, horizon=2)
    >>> list(trajectories(mdp, [[0, 1], [0.5, 0.5]]))
    [(0.5, (0, 1), (1, 0), (4, 0)), (0.5, (0, 1), (1, 1), (4, 0))]
    """
    if mdp.horizon is None:
        raise ValueError("the horizon is infinite; only the trajectories of a finite one can be listed")
    choices = [_possible(row) for row in policy]
    moves = [[_possible(row) for row in rows] for rows in mdp.transition]

    def acting(begun: Trajectory) -> Iterator[Trajectory]:
        """Every trajectory that begins so, where an action is taken next."""
        probability, states, actions, rewards = begun
        state = states[-1]
        for action, chosen in choices[state]:
            yield from moving((probability * chosen, states, (*actions, action), (*rewards, mdp.reward[state][action])))

    def moving(begun: Trajectory) -> Iterator[Trajectory]:
        """Every trajectory that begins so, where a move is made next, unless that action was the last one."""
        probability, states, actions, rewards = begun
        if len(actions) == mdp.horizon:
            yield begun
            return
        for successor, reached in moves[states[-1]][actions[-1]]:
            yield from acting((probability * reached, (*states, successor), actions, rewards))

    return (each for state, chance in _possible(mdp.initial) for each in acting((chance, (state,), (), ())))


def _backwards(mdp: TabularMDP, policy: Matrix, horizon: int) -> list[tuple[list[Number], Matrix]]:
    """(V_t, Q_t) for t = 0, ..., H - 1, found from the last step on, whose action value is its reward."""
    steps = [(_average(policy, mdp.reward), mdp.reward)]
    for _ in range(horizon - 1):
        in_actions = _look_ahead(mdp, steps[-1][0])
        steps.append((_average(policy, in_actions), in_actions))
    return steps[::-1]


def _average(policy: Matrix, values: Matrix) -> list[Number]:
    """sum_a pi(a|s) values[s][a], for every state."""
    return [dot(row, numbers) for row, numbers in zip(policy, values, strict=True)]


def _look_ahead(mdp: TabularMDP, values: Vector) -> list[list[Number]]:
    """reward[s][a] + gamma sum_s' P(s' | s, a) values[s'], for every state and action."""
    return [
        [reward + mdp.gamma * dot(row, values) for reward, row in zip(rewards, rows, strict=True)]
        for rewards, rows in zip(mdp.reward, mdp.transition, strict=True)
    ]


def _chain(mdp: TabularMDP, policy: Matrix) -> list[list[Number]]:
    """P_pi[s][s'] = sum_a pi(a|s) P(s' | s, a), the Markov chain that the policy makes of the process."""
    return [[dot(row, column) for column in transposed(rows)] for row, rows in zip(policy, mdp.transition, strict=True)]


def _factors(mdp: TabularMDP, policy: Matrix) -> LU:
    """L U = I - gamma P_pi.

    In row s the diagonal, 1 - gamma P_pi[s][s], exceeds the rest of the row, gamma (1 - P_pi[s][s]), by 1 - gamma > 0:
    the matrix is strictly diagonally dominant, which is why `lu` needs no pivoting.
    """
    return lu([
        [int(s == successor) - mdp.gamma * probability for successor, probability in enumerate(row)]
        for s, row in enumerate(_chain(mdp, policy))
    ])  # fmt: skip


def _possible(distribution: Vector) -> list[tuple[int, Number]]:
    return [(outcome, probability) for outcome, probability in enumerate(distribution) if probability != 0]


def _entries(name: str, value: Any) -> tuple[Any, ...]:
    try:
        entries = tuple(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}, not a sequence") from None
    if not entries:
        raise ValueError(f"{name} is empty")
    return entries


def _table(name: str, value: Any, *lengths: int) -> Any:
    """The value as nested tuples of numbers, one level of nesting for each of the lengths."""
    if not lengths:
        return _number(name, value)
    entries = _entries(name, value)
    if len(entries) != lengths[0]:
        raise ValueError(f"{name} has {len(entries)} entries where {lengths[0]} were expected")
    return tuple(_table(f"{name}[{i}]", entry, *lengths[1:]) for i, entry in enumerate(entries))


def _number(name: str, value: Any) -> Number:
    """The number itself, or Python's own for an integer or double of NumPy's, which wrap and warn."""
    if isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0:
        raise ValueError(f"{name} is {value!r}, not a number")
    if value != value or value in (math.inf, -math.inf):
        raise ValueError(f"{name} is {value}, not a finite number")
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, float) else value


def _horizon(horizon: Any) -> int | None:
    if horizon is None:
        return None
    try:
        steps = index(horizon)
    except TypeError:
        raise ValueError(f"horizon is {horizon!r}, neither a whole number of actions nor None") from None
    if steps < 1:
        raise ValueError(f"horizon is {steps}; at least one action must be taken")
    return steps


def require_discount(gamma: Number, horizon: int | None) -> None:
    """Raise ValueError unless 0 <= gamma <= 1, and gamma < 1 for an infinite horizon, None."""
    if _certainly(gamma < 0) or _certainly(gamma > 1):
        raise ValueError(f"gamma is {gamma}; a discount lies in [0, 1]")
    if horizon is None and gamma == 1:
        raise ValueError("gamma is 1 without a horizon; the sum of infinitely many rewards need not exist")


def _require_distribution(name: str, row: Vector, outcomes: str) -> None:
    for outcome, probability in enumerate(row):
        if _certainly(probability < 0):
            raise ValueError(f"{name}[{outcome}] is {probability}; a probability must not be negative")
    total = sum(row)
    if total != 1 and not _certainly(abs(total - 1) <= _rounding(2 * len(row), total)):
        raise ValueError(f"{name} sums to {total}; a distribution over {outcomes} must sum to 1")


def _rounding(operations: int, number: Number) -> float:
    """n u / (1 - n u) for n operations, with the unit roundoff u of the number's arithmetic; 0 where that is exact.

    A row of n probabilities has seen 2 n of them at most: n in x_i / sum(x), n here (Higham 2002, section 3.1).
    """
    one = number * 0 + 1
    unit = next((2.0**-bits for bits in (8, 11, 24, 53) if one + one / 2**bits == one), 0.0)
    return operations * unit / (1 - operations * unit)


def _certainly(condition: Any) -> bool:
    """Whether a comparison holds; one of symbols that is still open does not."""
    return condition in (True,)
