"""Agents that act at the same time, for themselves or as a team (spec/agents.md).

Time leads, then agents: tables of steps are [T][M].
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any

from .advantages import gae
from .choices import one_of, require
from .decision_process import TabularMDP, action_values, occupancy
from .linear_algebra import Matrix, Number, Vector, dot
from .policy_gradient import Gradient, scored
from .returns import Flag

Joint = tuple[int, ...]


def agents_gae(
    rewards: Matrix,
    values: Matrix,
    next_values: Matrix,
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    alive: Sequence[Sequence[Flag]],
    dies: Sequence[Sequence[Flag]],
    gamma: Number,
    lam: Number,
    credit: str,
    team: str = "sum",
    death: str = "the team goes on",
) -> list[list[Number]]:
    """GAE of each agent in its own or its team's rewards, and 0 where it is not alive (AGT-1 to AGT-7).

    terminated, truncated: [T], of the episode.  The others: [T][M].  credit: ``own`` or ``team``.  team, death: the
    choices of AGT-3 and AGT-6.  Returns [T][M].

    >>> still, lives = [False, False], [[True, True], [True, False]]
    >>> dies = [[False, True], [False, False]]
    >>> agents_gae([[1, 2], [4, 0]], [[0, 0]] * 2, [[0, 0]] * 2, still, still, lives, dies, 1, 1, "team")
    [[7, 7], [4, 0]]
    >>> agents_gae([[1, 2], [4, 0]], [[0, 0]] * 2, [[0, 0]] * 2, still, still, lives, dies, 1, 1, "own")
    [[5, 2], [4, 0]]
    """
    require(death, "the team goes on", "end")
    earned = {"own": rewards, "team": [shared(row, team) for row in rewards]}
    leaving = credit == "own" or death == "end"
    tables = one_of(earned, credit), values, next_values, alive, dies
    agents = []
    for paid, known, following, lives, gone in zip(*map(_by_agent, tables), strict=True):
        over = [end | (leaving & dead) for end, dead in zip(terminated, gone, strict=True)]
        advantages = gae(paid, known, following, over, truncated, gamma, lam)
        agents.append([number if acts else 0 for number, acts in zip(advantages, lives, strict=True)])
    return _by_agent(agents)


def _by_agent(table: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as columns: [T][M] as [M][T], or back."""
    return [list(column) for column in zip(*table, strict=True)]


def shared(rewards: Vector, team: str = "sum") -> list[Number]:
    """The reward of a team, once for each of its agents: the sum of theirs, or their mean (AGT-2, AGT-3).

    >>> shared([1, 3]), shared([1, 3], "mean")
    ([4, 4], [2.0, 2.0])
    """
    total = sum(rewards)
    return [one_of({"sum": total, "mean": total / len(rewards)}, team)] * len(rewards)


def counterfactual_advantages(action_values: Vector, policy: Vector, action: int) -> Number:
    """Q(s, u) - sum_a pi(a) Q(s, (u with a in the agent's place)) (AGT-8).  Foerster et al. (2018), eq. 4.

    action_values: [A], of the agent's actions, the others' being what they were.  policy: [A].

    >>> counterfactual_advantages([4, 8], [0.5, 0.5], 1)
    2.0
    """
    return action_values[action] - dot(policy, action_values)


def vdn_target(
    reward: Number,
    next_action_values: Matrix,
    available: Sequence[Sequence[Any]],
    terminated: Flag,
    truncated: Flag,
    gamma: Number,
) -> Number:
    """r + gamma sum_i max_a Q_i(s', a) over available actions, or r at a termination (AGT-10).

    next_action_values, available: [M][A].  Sunehag et al. (2018).

    >>> vdn_target(1, [[2, 9], [4, 3]], [[True, False], [True, True]], False, False, 0.5)
    4.0
    """
    best = [
        max(value for value, allowed in zip(row, may, strict=True) if allowed)
        for row, may in zip(next_action_values, available, strict=True)
    ]
    return reward if terminated else reward + gamma * sum(best)


def joint_actions(policies: Sequence[Matrix]) -> list[Joint]:
    """What M agents may do together, in the order of the process's actions: the last agent's action moves first.

    policies: [M][S][A], of which each agent may have another number of actions.

    >>> joint_actions([[[0.5, 0.5]], [[0.25, 0.75]]])
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    return list(product(*(range(len(policy[0])) for policy in policies)))


def joint_policy(policies: Sequence[Matrix]) -> list[list[Number]]:
    """The policy of the team, whose agents choose independently: the product of theirs.

    >>> joint_policy([[[0.5, 0.5]], [[0.25, 0.75]]])
    [[0.125, 0.375, 0.125, 0.375]]
    """
    return [
        [prod(policy[s][a] for policy, a in zip(policies, joint, strict=True)) for joint in joint_actions(policies)]
        for s in range(len(policies[0]))
    ]


def seen_by(agent: int, mdp: TabularMDP, policies: Sequence[Matrix]) -> TabularMDP:
    """The process that one agent of a team is in: the others' choices are part of it (AGT-13).

    mdp: the team's, whose actions are the joint ones.
    """

    def companies(s: int, action: int) -> list[tuple[Number, int]]:
        """The joint actions in which the agent does that, each with the chance that the others do their part."""
        return [
            (prod(policy[s][a] for i, (policy, a) in enumerate(zip(policies, joint, strict=True)) if i != agent), place)
            for place, joint in enumerate(joint_actions(policies))
            if joint[agent] == action
        ]

    states, actions = range(len(mdp.reward)), range(len(policies[agent][0]))
    moves = mdp.transition
    transition = [
        [[sum(p * moves[s][u][x] for p, u in companies(s, a)) for x in states] for a in actions] for s in states
    ]
    reward = [[sum(p * mdp.reward[s][u] for p, u in companies(s, a)) for a in actions] for s in states]
    return TabularMDP(transition, reward, mdp.initial, mdp.gamma, mdp.horizon)


def team_gradient(
    agent: int, mdp: TabularMDP, policies: Sequence[Matrix], baseline: Callable[[int, Joint], Number]
) -> Gradient:
    """sum_s d(s) sum_u pi(u|s) (Q(s, u) - b(s, u)) grad log pi_agent(u_agent|s): what a team's critic gives an agent.

    mdp: the team's, with an infinite horizon.  baseline: of a state and a joint action (AGT-13).  Returns [S][A].
    """
    together = joint_policy(policies)
    known, visits = action_values(mdp, together), occupancy(mdp, together)
    credit = [[0 for _ in row] for row in policies[agent]]
    for s, weight in enumerate(visits):
        for place, joint in enumerate(joint_actions(policies)):
            worth = weight * together[s][place] * (known[s][place] - baseline(s, joint))
            credit[s][joint[agent]] = credit[s][joint[agent]] + worth
    return scored(policies[agent], credit)


def counterfactual_baseline(agent: int, mdp: TabularMDP, policies: Sequence[Matrix]) -> Callable[[int, Joint], Number]:
    """The mean of Q(s, u) over what the agent might have done in the place of what it did (AGT-8)."""
    known = dict(enumerate(action_values(mdp, joint_policy(policies))))
    place_of = {joint: place for place, joint in enumerate(joint_actions(policies))}

    def baseline(s: int, joint: Joint) -> Number:
        others = [place_of[*joint[:agent], a, *joint[agent + 1 :]] for a, _ in enumerate(policies[agent][s])]
        return dot(policies[agent][s], [known[s][place] for place in others])

    return baseline
