"""Policy gradients: one estimator, sum_t w_t grad log pi(a_t|s_t), and the gradient that it is meant to estimate.

Every formula here hands out *credit*, one number for each state and action, and differs from the others only in who
gets how much: the rewards that an episode saw, their expectation over all episodes, or occupancy times action value.
From there on the softmax is the same for all (`scored`).

policy is pi(a|s), [S][A]; gradients are with respect to the logits of its softmax, [S][A] as well.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from .decision_process import Evaluation, TabularMDP, evaluation, trajectories
from .linear_algebra import Matrix, Number, Vector, dot
from .returns import reward_to_go

Gradient = list[list[Number]]
Weights = Callable[[Sequence[int], Sequence[int], Sequence[Number], Number], Sequence[Number]]


def score(probabilities: Vector, action: int) -> list[Number]:
    """grad log pi(action) = e_action - pi, with respect to the logits of one state (PG-1).

    probabilities: [A], the softmax of that state's logits.  Sutton & Barto (2018), eq. 13.9 with one-hot features.
    """
    return [int(other == action) - probability for other, probability in enumerate(probabilities)]


def scored(policy: Matrix, credit: Matrix) -> Gradient:
    """sum_a credit[s][a] grad log pi(a|s) = credit[s][b] - pi(b|s) sum_a credit[s][a], as component b.

    policy, credit: [S][A].  The score is linear in what it is multiplied with; so it is applied once, after the credit
    of all steps and all trajectories has been added up.
    """
    return [
        [number - probability * sum(numbers) for number, probability in zip(numbers, row, strict=True)]
        for numbers, row in zip(credit, policy, strict=True)
    ]


def through_softmax(policy: Matrix, partials: Matrix) -> Gradient:
    """dJ/dtheta_a = pi_a (dJ/dpi_a - sum_b pi_b dJ/dpi_b), the chain rule from probabilities to logits (PG-8).

    policy: [S][A].  partials: [S][A], dJ/dpi(a|s) as if the probabilities were free of each other.  How J is continued
    beyond rows that sum to 1 does not matter: a difference that is the same for all of a state's actions cancels.
    """
    return scored(policy, _products(policy, partials))


def whole_return(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
    """w_t = R(tau) = sum_k gamma^k r_k for every t: each action is credited with the entire episode (PG-3)."""
    return [reward_to_go(rewards, gamma)[0]] * len(rewards)


def discounted_reward_to_go(
    states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number
) -> list[Number]:
    """w_t = gamma^t G_t = sum_{k >= t} gamma^k r_k: no action is credited with what came before it (PG-5).

    Sutton & Barto (2018), section 13.3, the boxed algorithm.
    """
    return discounted(reward_to_go(rewards, gamma), gamma)


def undiscounted_reward_to_go(
    states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number
) -> list[Number]:
    """w_t = G_t, without gamma^t: what most code does, and not the gradient of any function (PG-12).

    Nota & Thomas (2020), "Is the policy gradient a gradient?".
    """
    return reward_to_go(rewards, gamma)


def with_baseline(baseline: Callable[[int, int], Number]) -> Weights:
    """w_t = gamma^t (G_t - b(s_t, a_t)): credit is what exceeds the baseline (PG-6).

    baseline: a function of state and action.  One that ignores the action leaves the expectation as it is; one that
    does not, as a rule, changes it.  Williams (1992); Sutton & Barto (2018), eq. 13.11.
    """

    def weights(states: Sequence[int], actions: Sequence[int], rewards: Vector, gamma: Number) -> list[Number]:
        returns = reward_to_go(rewards, gamma)
        above = [number - baseline(*pair) for number, *pair in zip(returns, states, actions, strict=True)]
        return discounted(above, gamma)

    return weights


def discounted(numbers: Iterable[Number], gamma: Number) -> list[Number]:
    """gamma^t x_t for every t, without ever raising 0 to a power."""
    discount, weighted = 1, []
    for number in numbers:
        weighted.append(discount * number)
        discount = discount * gamma
    return weighted


def policy_gradient(
    policy: Matrix,
    states: Sequence[int],
    actions: Sequence[int],
    rewards: Vector,
    gamma: Number,
    weights: Weights = discounted_reward_to_go,
) -> Gradient:
    """REINFORCE's estimate from one episode: sum_t w_t grad log pi(a_t|s_t) (PG-11).

    states, actions, rewards: of the T steps of one complete episode.  Williams (1992); Sutton & Barto (2018), eq. 13.8.
    """
    credit: defaultdict[tuple[int, int], Number] = defaultdict(int)
    for state, action, weight in zip(states, actions, weights(states, actions, rewards, gamma), strict=True):
        credit[state, action] = credit[state, action] + weight
    return scored(policy, _as_table(credit, policy))


def expected_gradient(mdp: TabularMDP, policy: Matrix, weights: Weights = discounted_reward_to_go) -> Gradient:
    """E[sum_t w_t grad log pi(a_t|s_t)] = sum_tau p(tau) ghat(tau): the estimator's mean, by listing every trajectory.

    An estimator is unbiased where this equals `exact_policy_gradient`.
    Raises ValueError for an infinite horizon.
    """
    credit: defaultdict[tuple[int, int], Number] = defaultdict(int)
    for probability, states, actions, rewards in trajectories(mdp, policy):
        for state, action, weight in zip(states, actions, weights(states, actions, rewards, mdp.gamma), strict=True):
            credit[state, action] = credit[state, action] + probability * weight
    return scored(policy, _as_table(credit, policy))


def exact_policy_gradient(mdp: TabularMDP, policy: Matrix) -> Gradient:
    """grad J = sum_t sum_s gamma^t P(s_t = s) sum_a pi(a|s) Q_t(s, a) grad log pi(a|s) (PG-7), for either horizon.

    The policy gradient theorem, Sutton et al. (1999), theorem 1, with the weighting by gamma^t that its d^pi contains.
    """
    return return_and_gradient(mdp, policy)[1]


def return_and_gradient(mdp: TabularMDP, policy: Matrix) -> tuple[Number, Gradient]:
    """J and grad J from one evaluation of the policy: `expected_return` and `exact_policy_gradient`."""
    known = evaluation(mdp, policy)
    # An infinite horizon has one table for all steps where a finite one has a table a step.
    steps = [known] if mdp.horizon is None else list(map(Evaluation, *known))
    states, actions = map(range, mdp.shape)
    partials = [[sum(d[s] * q[s][a] for _, q, d in steps) for a in actions] for s in states]
    return dot(mdp.initial, steps[0].state_values), through_softmax(policy, partials)


def _products(left: Matrix, right: Matrix) -> Gradient:
    return [[x * y for x, y in zip(*rows, strict=True)] for rows in zip(left, right, strict=True)]


def _as_table(credit: Mapping[tuple[int, int], Number], policy: Matrix) -> Gradient:
    """The credit as [S][A], 0 where there is none."""
    return [[credit.get((s, a), 0) for a, _ in enumerate(row)] for s, row in enumerate(policy)]
