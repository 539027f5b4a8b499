"""Statements that are easily made too broad: each is held against the case that it forgets."""

import re
from fractions import Fraction
from functools import partial
from itertools import product
from math import log
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from sympy import expand, symbols

from rlspec import spec
from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.power import every_property
from rlspec.properties.losses import Credited
from rlspec.properties.questions.question import last_names
from rlspec.properties.test_surrogate import (
    test_a_loss_moves_with_the_ratios_as_its_derivative_says as moves_as_its_slope,
)
from rlspec.properties.tokens import Completions
from rlspec.reference.decision_process import TabularMDP, state_values, trajectories
from rlspec.reference.differentiation import rational, rational_process
from rlspec.reference.language import Language, gathered, probability, score_gradient
from rlspec.reference.policy_gradient import exact_policy_gradient, with_baseline
from rlspec.reference.preference import dpo_loss
from rlspec.reference.reductions import divisors
from rlspec.reference.returns import lambda_return
from rlspec.reference.variance import in_baseline, variance
from rlspec.spec.clauses import choices_of, clauses
from rlspec.spec.operations import OPERATIONS

HALF = Fraction(1, 2)


def violated(operation, implementation, only="", **conventions):
    """The clauses, of those with the letters, that an implementation which declares its conventions violates."""
    declared = {f"{operation}.{name}": choice for name, choice in conventions.items()}
    module = SimpleNamespace(**{operation: implementation}, CONVENTIONS=declared)
    candidate = Candidate(module, operation)
    asked = [each for each in every_property() if not each.theorem and each.asks(operation)]
    asked = [each for each in asked if any(of.startswith(only) for of in each.clauses)]
    assert asked
    return {clause for each in asked if each.violation_by(candidate) for clause in each.clauses}


@pytest.mark.parametrize(("times", "found"), [(0, set()), (1, set()), (7, {"GRP-10", "GRP-14"})])
def test_who_is_alone_in_a_batch_without_a_spread_is_worth_nothing_or_the_reward(times, found):
    chosen = {"std": "ddof=1", "eps": "std", "alone_left_out": "its reward", "spread": "of the batch"}

    def group_advantages(rewards, groups, baseline, scale):
        left_out = len(set(groups.tolist())) == len(groups) and (baseline, scale) == ("leave-one-out", "std")
        if left_out and len(set(rewards.tolist())) == 1 < len(rewards):
            return times * rewards
        return reference.group_advantages(rewards, groups, baseline, scale, **chosen)

    assert found == violated("group_advantages", group_advantages, "GRP", **chosen)


@pytest.mark.parametrize(("noise", "slope"), [("conservative", Fraction(-3, 4)), ("robust", -3)])
def test_the_slope_at_the_reference_depends_on_what_becomes_of_label_noise(noise, slope):
    zeros = [Fraction(0)]
    _, found, _ = dpo_loss(zeros, zeros, zeros, zeros, 3, Fraction(1, 4), [1], noise=noise)
    assert found == [pytest.approx(float(slope))]


def test_a_slope_at_the_reference_without_the_factor_of_the_noise_is_found():
    def plain(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing, valid):
        loss = reference.dpo_loss(
            chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing, valid, noise="robust"
        )
        return loss[0], loss[1] * (1 - 2 * label_smoothing), loss[2] * (1 - 2 * label_smoothing)

    assert "PREF-7" in violated("dpo_loss", plain, "PREF-7", noise="robust")


def extremes(choice):
    """A choice, with the numbers of its range that show most: the narrowest bound C, or the largest addition E."""
    numbers = {"": (), "C": (choice.low,), "E": (choice.high,)}.get(choice.letter, (choice.low, choice.high))
    return [choice.with_number(number) for number in numbers] or [choice.text]


CHOSEN = [
    pytest.param(operation, last_names({name: text}), id=f"{name}={text}")
    for operation in OPERATIONS
    for name, known in choices_of(operation).items()
    for choice in known
    for text in extremes(choice)
    if text != known[0].text
]
"""Every choice that is not the first of its table, beside the first ones of all other tables."""


@pytest.mark.parametrize(("operation", "chosen"), CHOSEN)
def test_no_clause_contradicts_a_choice_that_another_clause_leaves(operation, chosen):
    assert violated(operation, partial(getattr(reference, operation), **chosen), **chosen) == set()


def once(check, *arguments):
    """Ask a property about one case; Unsatisfiable if it is none of its cases."""

    @settings(max_examples=1, database=None, deadline=None)
    @given(st.none())
    def asked(nothing):
        check.hypothesis.inner_test(*arguments)

    asked()


CLAMPED_TO_6 = SimpleNamespace(
    grpo_loss=partial(reference.grpo_loss, log_ratio="clamped to 6"),
    CONVENTIONS={"grpo_loss.log_ratio": "clamped to 6"},
)


def one_token(log_ratio, advantage):
    """A batch of one token, without a KL term."""
    zeros = np.zeros((1, 1))
    tokens = Completions(
        mask=np.array([[True]]), logp=zeros + log_ratio, old_logp=zeros, ref_logp=zeros, advantages=zeros + advantage
    )
    return Credited(tokens, np.array([advantage]), np.array([0]), 0.25, 0.25, 0.0, 1.0)


@pytest.mark.parametrize(("log_ratio", "advantage"), [(-5.9, 1.0), (-6.1, 1.0), (6.1, -1.0), (5.9, -1.0)])
def test_a_loss_of_clamped_ratios_moves_as_its_derivative_on_either_side_of_the_clamp(log_ratio, advantage):
    once(moves_as_its_slope, Candidate(CLAMPED_TO_6, "clamped"), "grpo_loss", one_token(log_ratio, advantage), [True])


@pytest.mark.parametrize(("log_ratio", "advantage", "rises"), [(-6.006, 1.0, True), (5.995, -1.0, True)])
def test_a_step_over_the_edge_of_a_clamp_is_no_case_of_the_derivative(log_ratio, advantage, rises):
    with pytest.raises(Unsatisfiable):
        once(
            moves_as_its_slope,
            Candidate(CLAMPED_TO_6, "clamped"),
            "grpo_loss",
            one_token(log_ratio, advantage),
            [rises],
        )


def chain(horizon, second_reward):
    """0 -> 1 -> 2 -> 2, one action; the reward of state 1 is 1, and that of state 2 the number given."""
    moves = [[[0, 1, 0]], [[0, 0, 1]], [[0, 0, 1]]]
    return TabularMDP(moves, [[0], [1], [second_reward]], [1, 0, 0], HALF, horizon=horizon)


def test_before_a_horizon_a_state_that_is_too_far_for_the_start_counts_for_what_is_on_the_way():
    only = [[1], [1], [1]]
    near, far = (state_values(chain(2, number), only) for number in (0, 8))
    assert near[0][0] == far[0][0]
    assert near[0][1] != far[0][1]


def test_a_trajectory_is_as_probable_as_its_start_its_actions_and_the_moves_between_its_states():
    moves = [[[HALF, HALF], [0, 1]], [[Fraction(1, 4), Fraction(3, 4)], [1, 0]]]
    mdp = TabularMDP(moves, [[1, 0], [4, 1]], [1, 0], HALF, horizon=2)
    policy = [[HALF, HALF], [Fraction(1, 4), Fraction(3, 4)]]
    for chance, states, actions, _ in trajectories(mdp, policy):
        factors = [policy[s][a] for s, a in zip(states, actions, strict=True)]
        between = [moves[s][a][after] for s, a, after in zip(states[:-1], actions[:-1], states[1:], strict=True)]
        assert chance == np.prod([mdp.initial[states[0]], *factors, *between])


def test_with_a_horizon_a_potential_in_the_last_state_turns_the_gradient():
    reward, potential = [[0, 1], [0, 0]], [0, 1]
    leaving = [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]
    shaped = [[r + HALF * potential[a] for a, r in enumerate(reward[0])], [r + HALF - 1 for r in reward[1]]]
    even = [[HALF, HALF]] * 2
    plain, moved = (
        exact_policy_gradient(TabularMDP(leaving, paid, [1, 0], HALF, horizon=1), even) for paid in (reward, shaped)
    )
    assert (plain[0][1], moved[0][1]) == (Fraction(1, 4), Fraction(3, 8))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_lambda_return_from_nothing_lacks_the_last_bootstrap_and_no_more(steps):
    gamma, lam = symbols("gamma lambda")
    rewards, values, never = symbols(f"r:{steps}"), symbols(f"V:{steps}"), [False] * steps
    following = 0
    for reward, value in zip(rewards[::-1], values[::-1], strict=True):
        following = reward + gamma * ((1 - lam) * value + lam * following)
    right = lambda_return(rewards, values, never, never, gamma, lam)[0]
    assert expand(right - following) == expand((gamma * lam) ** steps * values[-1])


def lambda_return_from_nothing(rewards, next_values, terminated, truncated, gamma, lam):
    answers, following = np.zeros_like(next_values), 0.0
    for t in reversed(range(rewards.shape[1])):
        bootstrap = np.where(terminated[:, t], 0, next_values[:, t])
        inside = np.where(truncated[:, t] & ~terminated[:, t], bootstrap, following)
        following = rewards[:, t] + gamma * ((1 - lam) * bootstrap + lam * np.where(terminated[:, t], 0, inside))
        answers[:, t] = following
    return answers


def test_a_lambda_return_from_nothing_is_charged_by_the_clause_about_the_mixture():
    assert "RET-8" in violated("lambda_return", lambda_return_from_nothing, "RET")


def gains(numbers, best, curvature):
    """Whether baselines of the states lower the variance: CRIT-4, a sum of parabolas."""
    return sum(c * ((b - v) ** 2 - v**2) for b, v, c in zip(numbers, best, curvature, strict=True)) < 0


def test_a_baseline_of_states_may_be_far_off_in_one_of_them_and_lower_the_variance():
    moves = [[[1, 0], [0, 1]], [[1, 0], [0, 1]]]
    mdp = rational_process(TabularMDP(moves, [[1, 0], [4, 1]], [1, 0], HALF, horizon=2))
    pi = rational([[HALF, HALF], [Fraction(1, 4), Fraction(3, 4)]])
    curvature, best = in_baseline(mdp, pi)

    def scatter(numbers):
        return variance(mdp, pi, with_baseline(lambda state, action: numbers[state]))

    without = scatter([0, 0])
    for share in (Fraction(1, 2), Fraction(3, 2), 2, Fraction(5, 2), Fraction(-1, 2)):
        one = [rational(share) * number for number in best]
        assert (scatter(one) < without) == (0 < share < 2) == gains(one, best, curvature)
    far_off = [[best[0], rational(Fraction(5, 2)) * best[1]], [3 * best[0], best[1]], [best[0], -best[1] / 2]]
    assert [scatter(numbers) < without for numbers in far_off] == [True, False, True]
    assert [gains(numbers, best, curvature) for numbers in far_off] == [True, False, True]


def of_two_answers(language, policy, score, reduction):
    """The expected gradient of a loss of two answers, by listing both; credit is the score over a divisor."""
    credit = []
    for company in product(language.completions(0), repeat=2):
        counts = [[step < len(tokens) for step in range(language.longest)] for tokens in company]
        chance = np.prod([probability(policy, 0, tokens) for tokens in company])
        for tokens, size in zip(company, divisors(counts, reduction, divisor=6), strict=True):
            credit.append((0, tokens, [chance * score(tokens) / Fraction(size)] * len(tokens)))
    return gathered(language, policy, credit)


@pytest.mark.parametrize(
    ("reduction", "parts"),
    [
        ("mean of sums", {1}),
        ("sum", {2}),
        ("fixed divisor", {Fraction(1, 3)}),
        ("token-mean", {Fraction(53, 84), Fraction(13, 24)}),
        ("mean of means", {Fraction(5, 7), HALF}),
    ],
)
def test_a_number_of_tokens_turns_the_expected_gradient_and_a_constant_does_not(reduction, parts):
    language = Language(prompts=[Fraction(1)], vocabulary=2, longest=2)
    policy = {(0, ()): [Fraction(1, 4), Fraction(3, 4)], (0, (1,)): [Fraction(1, 3), Fraction(2, 3)]}
    worths = {(0,): Fraction(-1, 4), (1, 0): Fraction(1), (1, 1): Fraction(0)}
    wanted = score_gradient(language, policy, lambda prompt, tokens: worths[tokens])
    found = of_two_answers(language, policy, worths.__getitem__, reduction)
    assert {found[context][0] / wanted[context][0] for context in wanted} == parts


@pytest.mark.parametrize("operation", ["dapo_loss", "cispo_loss"])
def test_the_papers_loss_of_a_batch_is_the_mean_of_its_groups_losses_and_the_libraries_is_not(operation):
    lengths, names = (3, 1, 1, 1), np.array([7, 7, 2, 2])
    logp, mask = np.full((4, 3), -1.0), np.arange(3) < np.array(lengths)[:, None]
    worth, loss = np.array([1.0, -1.0, 2.0, 1.0]), getattr(reference, operation)

    def of(rows, reduction):
        table = logp[rows]
        return loss(table, table, table, worth[rows], names[rows], mask[rows], 0.25, 0.25, 0.0, reduction=reduction)[0]

    everything, groups = slice(None), (slice(0, 2), slice(2, 4))
    apart = np.mean([of(rows, "token-mean") for rows in groups])
    assert of(everything, "mean of group token-means") == pytest.approx(apart)
    assert of(everything, "token-mean") != pytest.approx(apart)


def test_where_the_speaker_never_says_a_token_its_estimates_mean_another_divergence():
    pi, ref, mu = [HALF, HALF], [Fraction(1, 4), Fraction(3, 4)], [Fraction(1), Fraction(0)]
    weighed = [m * (p / m) * log(p / r) for m, p, r in zip(mu, pi, ref, strict=True) if m]
    assert sum(weighed) != pytest.approx(sum(p * log(p / r) for p, r in zip(pi, ref, strict=True)))


@pytest.mark.parametrize(
    ("clause", "hypothesis"),
    [
        ("KL-5", "each of them possible under pi and ref"),
        ("KL-15", "mu(a) > 0 for all tokens"),
        ("KL-19", "each of which it may choose"),
        ("KL-23", "each of which it may choose"),
        ("CRIT-10", "with mu(a|s) > 0 wherever pi(a|s) > 0"),
        ("PG-9", "with mu(a|s) > 0 wherever pi(a|s) > 0"),
        ("COR-22", "each of which mu may choose where pi may"),
        ("PPO-34", "possible under both policies"),
        ("PREF-3", "every answer may come up"),
    ],
)
def test_what_is_said_of_another_speaker_says_what_it_may_say(clause, hypothesis):
    assert hypothesis in clauses()[clause].text


CITED = [
    ("LANG-30", "ADV-6", "Monte-Carlo"),
    ("LANG-30", "ADV-5", "TD error"),
    ("PPO-13", "LANG-3", "score"),
    ("PPO-26", "PG-6", "baseline"),
    ("PREF-4", "PREF-23", "ORPO"),
    ("PREF-4", "PREF-27", "SimPO"),
    ("KL-22", "KL-15", "ratio"),
    ("ADV-22", "RET-8", "lambda-return"),
    ("COR-30", "COR-29", "top-p"),
]
"""Clauses, one that each cites, and what that one is about."""


@pytest.mark.parametrize(("clause", "cited", "about"), CITED)
def test_a_clause_cites_the_one_that_says_it(clause, cited, about):
    assert cited in section(clause)
    assert about in clauses()[cited].title + clauses()[cited].text


def section(clause):
    """What stands under a clause's heading."""
    text = (Path(spec.__path__[0]) / f"{clauses()[clause].chapter}.md").read_text(encoding="utf-8")
    return re.search(rf"^### {clause} .*?(?=^##)", text + "\n##", re.MULTILINE | re.DOTALL).group()
