"""Properties of several agents' advantages and targets (spec/agents.md)."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, permutations, product
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given

from rlspec.properties.checking import agree, clause, coarser, exactly, law, tolerance, where
from rlspec.properties.strategies import discounts, mixings
from rlspec.properties.teaming import choices, games, mortal_agents, teams, together, whose
from rlspec.reference import agents
from rlspec.reference.decision_process import trajectories
from rlspec.reference.policy_gradient import exact_policy_gradient, scored

rationals = np.vectorize(exactly, otypes=[object])

OWN, TEAM = st.just("own"), st.just("team")


def errors_of(team: Any, paid: Any, over: Any, gamma: float) -> Any:
    """The TD errors of each agent [B, T, M], in rationals; over: after which steps nothing follows."""
    following = np.where(over, 0, rationals(team.next_values))
    return paid + Fraction(gamma) * following - rationals(team.values)


def of_agents(candidate: Any, team: Any, gamma: float, lam: float, credit: str) -> np.ndarray:
    """The advantages as sums over pairs of steps of one life, by the candidate's conventions."""
    own = rationals(team.rewards)
    chosen = {name: candidate.convention(f"agents_gae.{name}") for name in ("team", "death")}
    total = own.sum(axis=2, keepdims=True) + 0 * own
    earned = total if chosen["team"] == "sum" else total / Fraction(own.shape[2])
    leaves = team.dies & (credit == "own" or chosen["death"] == "end")
    nothing = team.terminated[..., None] | leaves
    last = team.ended[..., None] | leaves
    errors = errors_of(team, own if credit == "own" else earned, nothing, gamma)
    found = 0 * errors
    for row, agent in product(range(own.shape[0]), range(own.shape[2])):
        for t, k in product(range(own.shape[1]), repeat=2):
            if t <= k and not last[row, t:k, agent].any():
                found[row, t, agent] += (Fraction(gamma) * Fraction(lam)) ** (k - t) * errors[row, k, agent]
    return np.where(team.alive, found, 0)


def is_right_while_alive(candidate: Any, team: Any, gamma: float, lam: float, credit: str) -> None:
    """Check the advantages of all agents at the steps at which they are alive."""
    answer = candidate.agents_gae(*team, gamma, lam, credit)
    expected = where(team.alive, of_agents(candidate, team, gamma, lam, credit), answer)
    agree(answer, expected, **team.judged(gamma * lam))


@clause("AGT-1", examples=60)
@given(teams(deaths=False), discounts, mixings)
def test_an_agent_with_rewards_of_its_own_has_the_advantages_that_it_would_have_alone(candidate, team, gamma, lam):
    is_right_while_alive(candidate, team, gamma, lam, "own")


@clause("AGT-2", examples=60)
@given(teams(deaths=False), discounts, mixings)
def test_an_agent_of_a_team_has_the_rewards_of_all(candidate, team, gamma, lam):
    is_right_while_alive(candidate, team, gamma, lam, "team")


@clause("AGT-4", examples=60)
@given(teams(), discounts, mixings)
def test_to_an_agent_with_rewards_of_its_own_its_death_is_a_termination(candidate, team, gamma, lam):
    assume(team.dies.any())
    is_right_while_alive(candidate, team, gamma, lam, "own")


@clause("AGT-4", examples=40)
@given(teams(), discounts, mixings, st.sampled_from([1.0, -64.0]))
def test_what_stands_at_a_dead_agents_steps_is_not_read(candidate, team, gamma, lam, junk):
    assume(not team.alive.all())
    spoiled = team.but(
        rewards=np.where(team.alive, team.rewards, junk),
        values=np.where(team.alive, team.values, junk),
        next_values=np.where(team.alive & ~team.dies, team.next_values, junk),
    )
    plain = candidate.agents_gae(*team, gamma, lam, "own")
    answer = candidate.agents_gae(*spoiled, gamma, lam, "own")
    judged = spoiled.judged(gamma * lam)
    agree(coarser(answer, plain), where(team.alive, plain.value, answer), **judged)


@clause("AGT-5", examples=60)
@given(teams(), discounts, mixings)
def test_a_team_goes_on_without_an_agent_that_dies(candidate, team, gamma, lam):
    assume(team.dies.any())
    is_right_while_alive(candidate, team, gamma, lam, "team")


@clause("AGT-7", examples=40)
@given(teams(), discounts, mixings, whose)
def test_a_dead_agent_has_no_advantage(candidate, team, gamma, lam, credit):
    assume(not team.alive.all())
    answer = candidate.agents_gae(*team, gamma, lam, credit)
    law(not answer.value[~team.alive].any(), answer, "an advantage is not 0 where the agent is not alive")


@clause("AGT-15", examples=40)
@given(teams(), discounts, mixings, whose, st.integers(0, 5))
def test_agents_in_another_order_have_the_same_advantages(candidate, team, gamma, lam, credit, which):
    count = team.alive.shape[2]
    assume(count > 1)
    order = list(list(permutations(range(count)))[which % (2 if count == 2 else 6)])
    plain = candidate.agents_gae(*team, gamma, lam, credit)
    answer = candidate.agents_gae(*team.agents(order), gamma, lam, credit)
    agree(coarser(answer, plain), plain.value[..., order], **team.agents(order).judged(gamma * lam))


@clause("AGT-16", examples=40)
@given(teams(), discounts, whose, st.sampled_from([1.0, -64.0]))
def test_with_lambda_one_it_does_not_matter_what_a_dead_agent_is_worth(candidate, team, gamma, credit, junk):
    dead = ~team.alive
    assume(dead.any())
    before = np.zeros_like(dead)
    before[:, :-1] = dead[:, 1:] & ~team.ended[:, :-1, None]
    moved = team.but(values=np.where(dead, junk, team.values), next_values=np.where(before, junk, team.next_values))
    plain = candidate.agents_gae(*team, gamma, 1.0, credit)
    answer = candidate.agents_gae(*moved, gamma, 1.0, credit)
    one, other = team.judged(gamma), moved.judged(gamma)
    size = one["magnitude"] + other["magnitude"]
    agree(coarser(answer, plain), plain, magnitude=size, roundings=one["roundings"])


@clause("AGT-8", examples=50)
@given(choices())
def test_a_counterfactual_advantage_is_the_mean_distance_from_what_else_might_have_been_done(candidate, drawn):
    answer = candidate.counterfactual_advantages(*drawn.arguments)
    values, policy = rationals(drawn.action_values), rationals(drawn.policy)
    taken = values[np.arange(len(values)), drawn.actions]
    agree(answer, (policy * (taken[:, None] - values)).sum(axis=1), **drawn.judged)


@clause("AGT-9", examples=40)
@given(choices())
def test_counterfactual_advantages_are_zero_on_average_over_the_policy(candidate, drawn):
    asked = [np.full_like(drawn.actions, action) for action in range(drawn.policy.shape[1])]
    answers = [candidate.counterfactual_advantages(drawn.action_values, drawn.policy, action) for action in asked]
    parts = zip(drawn.policy.T, answers, strict=True)
    means = sum(rationals(chance) * rationals(answer.value) for chance, answer in parts)
    size = 2 * (drawn.policy * np.abs(drawn.action_values)).sum(axis=1)
    for row, mean in enumerate(means):
        off = tolerance(magnitude=size[row], roundings=drawn.judged["roundings"], roundoff=coarser(*answers).roundoff)
        law(abs(mean) <= off, answers[0], f"the mean over the policy is {float(mean)} in row {row}")


@clause("AGT-9", examples=40)
@given(choices(), st.sampled_from([1.0, -8.0, 0.5]))
def test_counterfactual_advantages_know_no_level(candidate, drawn, level):
    moved = replace(drawn, action_values=drawn.action_values + level)
    plain = candidate.counterfactual_advantages(*drawn.arguments)
    answer = candidate.counterfactual_advantages(*moved.arguments)
    size = drawn.judged["magnitude"] + moved.judged["magnitude"] + abs(level)
    agree(coarser(answer, plain), plain, magnitude=size, roundings=drawn.judged["roundings"])


def largest(row: Any, may: Any) -> Fraction:
    """The value of an available action that no other available one exceeds."""
    known = [exactly(value) for value, allowed in zip(row, may, strict=True) if allowed]
    return next(value for value in known if not any(other > value for other in known))


@clause("AGT-10", examples=50)
@given(together(ends=(False, False)), discounts)
def test_a_teams_target_is_a_reward_and_the_sum_of_what_is_best_for_each(candidate, drawn, gamma):
    answer = candidate.vdn_target(*drawn.arrays, gamma)
    tables = zip(drawn.next_action_values, drawn.available, strict=True)
    following = np.array([sum(map(largest, *pair)) for pair in tables], dtype=object)
    agree(answer, rationals(drawn.rewards) + Fraction(gamma) * following, **drawn.judged)


@clause("AGT-10", examples=30)
@given(together(ends=(False, False)), discounts, st.sampled_from([1000.0, -1000.0]))
def test_what_stands_at_actions_that_are_not_available_is_not_read(candidate, drawn, gamma, junk):
    assume(not drawn.available.all())
    spoiled = drawn.but(next_action_values=np.where(drawn.available, drawn.next_action_values, junk))
    plain = candidate.vdn_target(*drawn.arrays, gamma)
    agree(candidate.vdn_target(*spoiled.arrays, gamma), plain, **drawn.judged)


@clause("AGT-11", examples=30)
@given(together(), discounts)
def test_where_nothing_follows_a_teams_target_is_the_reward(candidate, drawn, gamma):
    assume(drawn.terminated.any())
    answer = candidate.vdn_target(*drawn.arrays, gamma)
    agree(answer, where(drawn.terminated, drawn.rewards, answer), **drawn.judged)


@clause("AGT-11", examples=30)
@given(together(ends=(False, True)), discounts)
def test_a_truncated_transition_of_a_team_has_the_target_of_one_that_goes_on(candidate, drawn, gamma):
    assume(drawn.truncated.any())
    plain = candidate.vdn_target(*drawn.but(truncated=np.zeros_like(drawn.truncated)).arrays, gamma)
    agree(candidate.vdn_target(*drawn.arrays, gamma), plain, **drawn.judged)


@clause("AGT-12", examples=30)
@given(together(ends=(False, False)), discounts)
def test_a_teams_target_has_the_best_of_all_joint_actions(candidate, drawn, gamma):
    answer = candidate.vdn_target(*drawn.arrays, gamma)
    best = []
    for table, may in zip(rationals(drawn.next_action_values), drawn.available, strict=True):
        allowed = [row[own] for row, own in zip(table, may, strict=True)]
        best.append(max(map(sum, product(*allowed))))
    agree(answer, rationals(drawn.rewards) + Fraction(gamma) * np.array(best, dtype=object), **drawn.judged)


# Theorems.


@clause("AGT-13", examples=30)
@given(games())
def test_any_baseline_of_the_state_and_of_the_others_actions_is_free(game):
    joints = agents.joint_actions(game.policies)
    for agent, policy in enumerate(game.policies):
        expected = exact_policy_gradient(agents.seen_by(agent, game.mdp, game.policies), policy)

        def of_others(s, joint, agent=agent):
            return game.numbers[s][joints.index((*joint[:agent], 0, *joint[agent + 1 :]))]

        counterfactual = agents.counterfactual_baseline(agent, game.mdp, game.policies)
        for baseline in (of_others, counterfactual):
            assert agents.team_gradient(agent, game.mdp, game.policies, baseline) == expected


def life(states, last):
    """Whether an agent is alive at each step, and whether it dies: it is dead in state 2, which is not left."""
    alive = [[state != 2, True] for state in states]
    return alive, [[now[0] and not later[0], False] for now, later in pairwise([*alive, [last != 2, True]])]


def credited_gradient(mdp, policy, death):
    """The mean of the scores times gamma^t `agents_gae` of an agent, with a companion that earns half of it all."""
    total = [[0 for _ in row] for row in policy]
    for chance, states, actions, rewards in trajectories(mdp, policy):
        never, paid = [False] * len(states), [[reward / 2, reward / 2] for reward in rewards]
        nothing = [[0, 0] for _ in states]
        over = [*never[1:], True]
        alive, dies = life(states, states[-1])
        advantages = agents.agents_gae(
            paid, nothing, nothing, over, never, alive, dies, mdp.gamma, 1, "team", death=death
        )
        for t, (state, action) in enumerate(zip(states, actions, strict=True)):
            total[state][action] += chance * mdp.gamma**t * advantages[t][0]
    return scored(policy, total)


@clause("AGT-14", examples=30)
@given(mortal_agents())
def test_what_a_team_earns_after_a_death_is_in_the_gradient_where_the_team_goes_on(drawn):
    mdp, policy = drawn
    assert credited_gradient(mdp, policy, "the team goes on") == exact_policy_gradient(mdp, policy)
    unpaid = replace(mdp, reward=[*mdp.reward[:2], [0 * number for number in mdp.reward[2]]])
    assert credited_gradient(mdp, policy, "end") == exact_policy_gradient(unpaid, policy)
