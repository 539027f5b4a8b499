"""What theorems catch: each of them is refuted where a formula that it is about is replaced by a wrong one.

A theorem asks no candidate, so that no fault can show its power.
"""

from dataclasses import replace
from fractions import Fraction
from functools import wraps
from unittest.mock import patch

import numpy as np
import pytest
from flint import arb

from rlspec.drawing import same_everywhere
from rlspec.power import every_property
from rlspec.properties import test_correction as corrections
from rlspec.properties import test_critics as critics
from rlspec.properties import test_distillation as distillations
from rlspec.properties import test_group as groups
from rlspec.properties import test_kl as kls
from rlspec.properties import test_language as languages
from rlspec.properties import test_overlong as overlongs
from rlspec.properties import test_policy_gradient as policy_gradients
from rlspec.properties import test_preference as preferences
from rlspec.properties import test_reductions as reductions
from rlspec.properties import test_targets as value_targets
from rlspec.properties import test_turns as turns
from rlspec.reference import (
    agents,
    correction,
    decision_process,
    distillation,
    group,
    kl,
    language,
    moments,
    natural_gradient,
    policy_gradient,
    ppo,
    preference,
    replay,
    targets,
    variance,
)
from rlspec.reference import critics as reference_critics
from rlspec.reference import turns as conversations
from rlspec.reference.differentiation import rational
from rlspec.reference.estimators import ESTIMATORS, SLOPES
from rlspec.reference.reductions import divisors
from rlspec.reference.returns import reward_to_go
from rlspec.reference.variance import Parabola

THEOREMS = {checked.function: checked for checked in every_property() if checked.theorem}


def doubled(function):
    """The function with twice its answer, a table."""
    return lambda *arguments, **named: [[2 * x for x in row] for row in function(*arguments, **named)]


def one_step_late(values):
    """Weights with a critic whose values are those of the step before."""
    return lambda critic, number: values([critic[0], *critic[:-1]], number)


def off_by_the_mean(values, returns):
    """An explained variance that takes the mean square of what is left for its variance."""
    squares = sum((target - value) ** 2 for value, target in zip(values, returns, strict=True))
    mean = Fraction(sum(returns), len(returns))
    return 1 - squares / sum((target - mean) ** 2 for target in returns)


def with_own_ratio_alone(policy, behaviour):
    """Weights that know the ratio of the credited action and no other."""

    def weights(states, actions, rewards, gamma):
        ratios = [policy[s][a] / behaviour[s][a] for s, a in zip(states, actions, strict=True)]
        credit = policy_gradient.discounted_reward_to_go(states, actions, rewards, gamma)
        return [ratio * weight for ratio, weight in zip(ratios, credit, strict=True)]

    return weights


def at_the_values(mdp, policy):
    """The parabola as if a state's value were its best baseline."""
    values = decision_process.state_values(mdp, policy)[0]
    return Parabola(variance.in_baseline(mdp, policy).curvature, values)


def never_again(given, kappa, visits):
    """That no state is visited a second time."""
    return [0 * given.zeros(len(row), given.scores.shape[2]) for row in visits]


def blocks(change):
    """The Fisher matrix with its entries changed."""
    return lambda *of: [[list(map(change, row)) for row in block] for block in natural_gradient.fisher(*of)]


def token_by_token(language, reference, worth):
    """A policy that tilts each token's distribution by what the answer would be worth if that token ended it."""
    tilts = {
        (prompt, begun): [p * worth(prompt, min(language.completions(prompt, (*begun, token)))) for token, p in pairs]
        for (prompt, begun), row in reference.items()
        for pairs in [list(enumerate(row))]
    }
    return {context: [number / sum(row) for number in row] for context, row in tilts.items()}


def times(factor):
    """The weight of a rate of success in a group, times a function of the group's size."""
    return lambda rate, size, divisor: group.success_weight(rate, size, divisor) * factor(size)


def weighed_twice(given, moves):
    """How often states are met, discounted once more at every step."""
    return sum_of_visits(given, given.gamma * moves)


sum_of_visits = moments._visits


def as_if_the_mean_were_known(known, size):
    """The covariance of N independent episodes with E[R] as their baseline."""
    outer = moments.np.multiply.outer(known.gradient, known.gradient)
    return moments.Moments(known.gradient, moments._over(known.square - outer, size))


def values_for_the_best(given, discount=None):
    """The parabolas as if the values were the best baselines."""
    return moments.Parabolas(best_baselines(given, discount).curvature, moments.exact_values(given))


best_baselines, moments_of_n_steps = moments.best_baselines, moments.n_step

WRONG = [
    ("derivative_of_log_pi", policy_gradients, "score", lambda row, a: [int(b == a) for b, _ in enumerate(row)]),
    ("score_of_a_trajectory", policy_gradients, "score", lambda row, a: [int(b == a) for b, _ in enumerate(row)]),
    ("mean_of_return_times_score", policy_gradients, "whole_return", policy_gradient.undiscounted_reward_to_go),
    ("depends_on_the_state_and_the_past", policy_gradient, "scored", lambda policy, credit: credit),
    ("mean_of_discounted_reward_to_go", policy_gradients, "discounted_reward_to_go",
     policy_gradient.undiscounted_reward_to_go),
    ("a_constant_baseline_leaves", policy_gradients, "with_baseline",
     lambda baseline: policy_gradient.with_baseline(lambda state, action: baseline(state, action) * action)),
    ("a_baseline_that_depends_on_the_state", policy_gradients, "with_baseline",
     lambda baseline: policy_gradient.with_baseline(lambda state, action: baseline(state, action) * action)),
    ("occupancy_times_action_value", policy_gradients, "exact_policy_gradient",
     doubled(policy_gradient.exact_policy_gradient)),
    ("gain_of_another_policy", policy_gradients, "occupancy",
     lambda mdp, policy: doubled(decision_process.occupancy)(mdp, policy) if mdp.horizon else [0 for _ in policy]),
    ("bias_of_any_weights", critics, "credited", doubled(policy_gradient.credited)),
    ("without_gamma_to_the_t", critics, "undiscounted_reward_to_go", policy_gradient.whole_return),
    ("baseline_that_depends_on_the_action", critics, "with_baseline",
     lambda baseline: policy_gradient.discounted_reward_to_go),
    ("bias_of_an_n_step", critics, "n_step", lambda critic, n: reference_critics.n_step(critic, n + 1)),
    ("bias_of_an_n_step", critics, "n_step_bias", doubled(reference_critics.n_step_bias)),
    ("with_the_exact_values", critics, "n_step", one_step_late(reference_critics.n_step)),
    ("with_the_exact_values", critics, "generalized", one_step_late(reference_critics.generalized)),
    ("with_all_the_rewards", critics, "generalized",
     lambda critic, lam: reference_critics.generalized(critic, 0)),
    ("bias_of_gae", critics, "generalized_bias",
     lambda mdp, policy, errors, lam: reference_critics.n_step_bias(mdp, policy, errors, 1)),
    ("variance_is_a_parabola", critics, "in_baseline", at_the_values),
    ("variance_is_a_parabola", moments, "_earlier", never_again),
    ("best_constant_is_the_mean", critics, "in_baseline", at_the_values),
    ("explained_variance_is", critics, "explained_variance", off_by_the_mean),
    ("variance_of_the_whole_return", critics, "best_constant", critics.expected_return),
    ("rewards_weighed_by_the_ratios", policy_gradients, "per_decision", with_own_ratio_alone),
    ("returns_weighed_by_the_ratio", policy_gradients, "whole_trajectory", with_own_ratio_alone),
    ("mean_of_the_products_of_scores", critics, "fisher", blocks(abs)),
    ("information_that_a_trajectory_has", critics, "fisher", blocks(lambda x: 2 * x)),
    ("mean_advantages_solve", critics, "natural_gradient", doubled(natural_gradient.natural_gradient)),
    ("a_direction_is_lost_only", critics, "fisher", blocks(abs)),
    ("least_squares_fit", critics, "natural_gradient", doubled(natural_gradient.natural_gradient)),
    ("falls_short_of_the_tilted_one", preferences, "tilted", token_by_token),
    ("what_the_best_policy_stands_for", preferences, "tilted", token_by_token),
    ("what_the_best_policy_stands_for", preferences, "implicit_worth",
     lambda policy, reference, beta, prompt, tokens: preference.probability(policy, prompt, tokens)),
    ("a_factor_for_each_prompt_leaves", preferences, "tilted",
     lambda language, reference, worth: preference.tilted(language, reference, lambda *answer: worth(*answer) + 1)),
    ("likelihood_is_zero_at_the_best_policy", preference, "implicit_worth",
     lambda policy, reference, beta, *answer: preferences.implicit_worth(policy, reference, 1, *answer)),
    ("likelihood_is_zero_at_the_best_policy", preferences, "tilted", token_by_token),
    ("likelihood_is_zero_at_no_other_policy", preferences, "population_gradient",
     lambda language, policy, *others: {context: [0 for _ in row] for context, row in policy.items()}),


    ("success_rate_grows_with_the_group", groups, "success_weight", times(lambda size: arb(1) / size)),
    ("success_rate_grows_with_the_group", groups, "success_weight", times(lambda size: arb(size) / (size - 1))),


    ("compatible_critic_in_place", critics, "natural_gradient", doubled(natural_gradient.natural_gradient)),
    ("covariance_of_reward_to_go", moments, "_visits", weighed_twice),
    ("covariance_of_gae", moments, "_visits", weighed_twice),
    ("covariance_of_whole_returns", moments, "whole_return",
     lambda given, constant: moments.moments(given, moments.reward_to_go(given, constant))),
    ("covariance_of_a_group", moments, "leave_one_out", as_if_the_mean_were_known),
    ("covariance_of_n_steps", moments, "n_step", lambda given, critic, n: moments_of_n_steps(given, critic, n + 1)),
    ("covariance_of_per_decision_ratios", moments, "_ratios", lambda policy, behaviour: 0 * policy + 1),
    ("endless_process_that_comes_to_rest", moments, "_visits", weighed_twice),
    ("baselines_that_know_the_step", moments, "best_baselines", values_for_the_best),
    ("seen_through_them", moments, "scores", lambda policy, features: features),
    ("gradient_with_features", natural_gradient, "advantages",
     lambda given, values: [0 * given.reward for _ in values]),
    ("compatible_critic_of_features", critics, "natural_direction",
     lambda given: 2 * natural_gradient.natural_direction(given)),
    ("natural_direction_solves", critics, "natural_direction", natural_gradient.gradient_of_features),
    ("variance_of_an_endless_process", moments, "best_baselines", values_for_the_best),
]  # fmt: skip
"""Part of a theorem's name, and where which wrong formula is put."""


def forward(policy, reference, log):
    """The divergence with policy and reference in each other's place."""
    return kl.divergence(reference, policy, log)


WRONG += [
    ("divergence_of_completions_is_the_mean_sum", kls, "divergence", forward),
    (
        "divergence_of_completions_is_the_mean_sum",
        kls,
        "ESTIMATORS",
        {**ESTIMATORS, "k3": ESTIMATORS["k2"]},
    ),
    ("mean_of_k2_is_the_divergence", kls, "ESTIMATORS", {**ESTIMATORS, "k2": lambda x, inverse: x * x}),
    (
        "that_of_the_reverse_and_that_of_the_forward",
        kls,
        "SLOPES",
        {**SLOPES, "k3": SLOPES["k2"]},
    ),
    ("that_of_the_reverse_and_that_of_the_forward", kls, "divergence", forward),
    ("its_ratio_differentiated", kls, "ESTIMATORS", dict.fromkeys(ESTIMATORS, lambda x, inverse: 0)),
    ("k1_in_the_reward_has", kls, "ESTIMATORS", {"k1": ESTIMATORS["k3"]}),
    ("compared_within_a_group_k1", kls, "ESTIMATORS", {"k1": ESTIMATORS["k3"]}),
    ("own_kl_misses", kls, "divergence", forward),
    ("own_kl_misses", kls, "sequence_divergence", lambda *of: 2 * kl.sequence_divergence(*of)),
    ("k3_in_the_reward_is", kls, "ESTIMATORS", {"k3": ESTIMATORS["k1"]}),
    ("weighed_by_the_ratios_before", kls, "accumulate", lambda ratios, product: ratios),
]


def paid_at_each(of, score):
    """The process of a language whose every token is paid the score of what it would be the last token of."""
    process = language.as_process(of, score)
    reward = [[max(row, key=abs) for _ in row] for row in process.reward]
    return replace(process, reward=reward)


def without_the_cut(policy, prompt, tokens):
    """A completion's probability with nothing for those that are cut at the greatest length."""
    return language.probability(policy, prompt, tokens) if tokens[-1:] == (language.END,) else 0


def shared_out(of, policy, score):
    """The gradient when every token is credited with a share of the score."""
    return language.expected_gradient(
        of, policy, lambda prompt, tokens: [score(prompt, tokens) / rational(len(tokens))] * len(tokens)
    )


def spoken_by_itself(of, policy, credit, speaker=None):
    """The expected gradient as if the policy's own completions were listed."""
    return language.expected_gradient(of, policy, credit)


def from_the_second_token_on(of, policy, credit, speaker=None):
    """The expected gradient without the credit of first tokens."""
    return language.expected_gradient(of, policy, lambda prompt, tokens: [0, *credit(prompt, tokens)[1:]], speaker)


def of_another_token(process, policy):
    """Action values with the tokens in reverse."""
    return [[row[::-1] for row in table] for table in decision_process.action_values(process, policy)]


WRONG += [
    ("trajectories_of_the_process", languages, "as_process", paid_at_each),
    ("return_of_the_process_is", languages, "as_process", paid_at_each),
    ("probabilities_of_all_completions", languages, "probability", without_the_cut),
    ("score_function_of_a_completion", languages, "score", lambda row, a: [int(b == a) for b, _ in enumerate(row)]),
    ("gradient_of_the_policy_gradient_theorem", languages, "score_gradient", shared_out),
    ("derivative_of_the_expected_score", languages, "score_gradient", shared_out),
    ("knows_only_the_context", languages, "expected_gradient", from_the_second_token_on),
    ("expected_score_with_a_token", languages, "action_values", of_another_token),
    ("credit_divided_by_length", languages, "expected_gradient", from_the_second_token_on),
    ("scores_of_another_policy", languages, "expected_gradient", spoken_by_itself),
    ("policy_that_spoke_have_mean_zero", languages, "score_gradient", shared_out),
]


def over_all_tokens(mask, reduction, **named):
    """A token mean, whatever is asked for."""
    return [sum(map(sum, mask))] * len(mask)


def over_all_rows(mask, reduction, **named):
    """A mean of sums, whatever is asked for."""
    return [len(mask)] * len(mask)


def as_if_in_one_shard(mask, shards, averaged_over, weighing, reduction):
    """The whole batch's divisors, whatever shards are weighed by."""
    return divisors(mask, reduction)


def to_nothing(of, policy, score):
    """The gradient of a score that is 0 for whatever was cut."""
    return language.score_gradient(
        of, policy, lambda prompt, tokens: score(prompt, tokens) * (tokens[-1] == language.END)
    )


def never_lonely(language, policy, size, to_go, alone):
    """As if an answer without others kept its return, whatever is said of it."""
    return conversations.expected_gradient_by_turns(language, policy, size, to_go, "its return")


WRONG += [
    ("constant_divisor_keeps_the_direction", reductions, "divisors", over_all_tokens),
    ("mean_over_tokens_credits_a_score", reductions, "divisors", over_all_rows),
    ("mean_of_means_follows_the_score", reductions, "divisors", over_all_rows),
    ("mean_over_ranks_of_token_means", reductions, "shard_divisors", as_if_in_one_shard),
]


def best_last(mdp, policy):
    """Action values with the actions in reverse."""
    return [row[::-1] for row in decision_process.action_values(mdp, policy)]


def from_the_state_itself(rewards, values, following, *others):
    """Retrace with the mean over actions at the step's own state."""
    return retrace(rewards, values, [values[0], *following[:-1]], *others)


def trusted_fully(rewards, values, following, terminated, truncated, ratio, gamma, lam):
    """Retrace with traces of lambda whatever was done."""
    return targets.traced(rewards, values, following, terminated, truncated, [lam for _ in ratio], gamma)


def first_alone(reward, first, second, *others):
    """A twin target that asks one of both."""
    return twin_q_target(reward, first, first, *others)


def chosen_by_the_second(reward, online, target, *others):
    """A double target whose second network chooses as well."""
    return double_q_target(reward, target, target, *others)


retrace, twin_q_target, double_q_target = targets.retrace, targets.twin_q_target, targets.double_q_target

WRONG += [
    ("mean_expected_sarsa_target_contracts", targets, "expected_backup", doubled(targets.expected_backup)),
    ("mean_q_learning_target_contracts", targets, "optimal_backup", doubled(targets.optimal_backup)),
    ("mean_soft_target_contracts", targets, "soft_backup", doubled(targets.soft_backup)),
    (
        "mean_soft_target_contracts",
        targets,
        "soft_backup",
        lambda mdp, policy, logs, values, alpha: targets.expected_backup(mdp, policy, values),
    ),
    ("greedy_in_the_values_of_another", value_targets, "action_values", best_last),
    ("bias_of_largest_smaller_and_doubly", targets, "twin_q_target", first_alone),
    ("bias_of_largest_smaller_and_doubly", targets, "double_q_target", chosen_by_the_second),
    ("mean_retrace_target_of_exact_values", targets, "retrace", from_the_state_itself),
    ("mean_retrace_target_of_exact_values", targets, "retrace", trusted_fully),
    ("step_towards_the_mean_target", targets, "expected_backup", doubled(targets.expected_backup)),
    ("step_towards_the_mean_target", targets, "optimal_backup", doubled(targets.optimal_backup)),
]


def over_their_own(chances, sampled, beta, maximum):
    """Weights over the largest of what was drawn, whichever is asked for."""
    return weights_of_slots(chances, sampled, beta, "batch")


def slots_in_reverse(priorities, uniforms, parts):
    """The slots as if they lay the other way round."""
    return slots_of_places(priorities[::-1], uniforms, parts)


weights_of_slots, slots_of_places = replay.priority_weights, replay.sampled_slots

WRONG += [
    ("weights_over_the_buffers_maximum", replay, "priority_weights", over_their_own),
    ("slot_is_drawn_as_often", replay, "sampled_slots", slots_in_reverse),
]


def upside_down(speech, policy=None, sampler=None):
    """The sampler's probability of an answer over the policy's."""
    return weight_of_answers(speech, sampler or speech.old, policy or speech.policy)


def squared(ratios, which):
    """Products of ratios that count twice."""
    return [ratio * ratio for ratio in products_of_ratios(ratios, which)]


def always(which):
    """Products of ratios of that kind, whatever is asked for."""
    return lambda ratios, asked: products_of_ratios(ratios, which)


def not_normalized(speech, number, value):
    """The mean of weighed scores, without a division by the weights' own mean."""
    answers = [tokens for prompt, tokens in speech.pairs if prompt == 0]
    return sum(language.probability(speech.policy, 0, y) * value(0, y) for y in answers)


def everything_kept(policy, kept):
    """The policy itself."""
    return policy


def last_ratio_alone(rewards, *others):
    """V-trace's first target as if only the last token had a ratio."""
    return ([others[4][-1] * rewards[-1]],)


def to_go_of_credit(of, policy, credit):
    """The expected gradient of credit that is taken for rewards."""
    return language.expected_gradient(of, policy, lambda *pair: reward_to_go(credit(*pair), 1))


divergences_of_rows, top_of_rows = distillation.distillation_divergence, distillation.topk_divergence
products_of_ratios, kl_of_tokens = correction.products, ppo.approx_kl
weight_of_answers = corrections.answers_weight


def of_the_joint_action(agent, mdp, policies):
    """A baseline that knows what the agent itself did: what that was worth."""
    known = decision_process.action_values(mdp, agents.joint_policy(policies))
    return lambda s, joint: known[s][agents.joint_actions(policies).index(joint)]


def the_last_one_alone(agent, mdp, policies):
    """The process of the last agent, whichever is asked for."""
    return process_of(len(policies) - 1, mdp, policies)


process_of = agents.seen_by

WRONG += [
    ("mean_one_and_the_mean_square", corrections, "answers_weight", upside_down),
    ("independent_tokens_weights", corrections, "products", lambda ratios, which: [sum(ratios)]),
    ("own_answers_ratio_everything", corrections, "products", always("own")),
    ("a_product_of_ratios_corrects", corrections, "products", always("all")),
    ("proportional_to_a_small_mismatch", corrections, "products", squared),
    ("truncation_leaves_out", corrections, "answers_weight", upside_down),
    ("masking_leaves_out", corrections, "answers_weight", upside_down),
    ("self_normalized_mean_of_one", corrections, "self_normalized", not_normalized),
    ("cannot_say_is_missing", corrections, "truncated_support", everything_kept),
    ("under_a_truncated_support", corrections, "truncated_support", everything_kept),
    ("scores_of_the_whole_policy_differ", corrections, "expected_gradient", spoken_by_itself),
    ("powers_of_probabilities", corrections, "truncated_support", everything_kept),
    ("v_traces_policy", corrections, "between",
     lambda policy, sampler, cap: (policy, dict.fromkeys(policy, 1))),
    ("v_trace_without_values", corrections, "vtrace", last_ratio_alone),
    ("two_estimates_of_the_samplers", corrections, "approx_kl",
     lambda new, old, mask, estimator, exp: kl_of_tokens(new, old, mask, "k1", exp=exp)),
    ("rounded_logarithm", corrections, "rounded", np.rint),
    ("forward_divergence_of_answers", distillations, "expected_gradient", spoken_by_itself),
    ("papers_weights_the_divergence", distillations, "distillation_divergence",
     lambda *rows, **how: divergences_of_rows(*rows, weights="exchanged", **how)),
    ("a_discount_chooses", distillations, "reward_to_go", lambda rewards, gamma: rewards),
    ("every_token_of_a_context", distillations, "expected_gradient", to_go_of_credit),
    ("dropped_tail_is_best", distillations, "topk_divergence",
     lambda *how, **more: top_of_rows(*how[:4], "bucket", **more)),
    ("a_part_in_the_score_and_none", turns, "expected_gradient", to_go_of_credit),
    ("cut_answer_that_is_masked", overlongs, "score_gradient", to_nothing),
    ("follows_a_cut_may_be_left", overlongs, "expected_rest", lambda *_: 0),
    ("groups_without_spread_may", overlongs, "expectation", lambda *_: 0),
    ("two_right_answers_the_shorter", overlongs, "length_reward", lambda lengths, *_: [-n for n in lengths]),
    ("from_a_turn_on_is_credit", turns, "turn_returns", lambda rewards, *_: rewards),
    ("later_turn_is_a_price", turns, "turn_returns", lambda rewards, *_: rewards),
    ("lonely_answer_must_keep", turns, "expected_gradient_by_turns", never_lonely),
    ("any_baseline_of_the_state", agents, "counterfactual_baseline", of_the_joint_action),
    ("any_baseline_of_the_state", agents, "seen_by", the_last_one_alone),
    ("team_earns_after_a_death", agents, "shared", lambda rewards, team="sum": rewards),
]  # fmt: skip


def named(part):
    """The theorem whose name has that part."""
    [found] = [checked for name, checked in THEOREMS.items() if part in name]
    return found


class Refuted(BaseException):
    """A counterexample on its way out, past Hypothesis, which would first look for a smaller one."""


@pytest.mark.parametrize(("part", "module", "name", "wrong"), WRONG)
def test_a_theorem_is_refuted_by_a_wrong_formula(part, module, name, wrong):
    test = named(part).test
    check = test.hypothesis.inner_test

    @wraps(check)
    def until_refuted(*arguments, **drawn):
        try:
            check(*arguments, **drawn)
        except AssertionError as error:
            raise Refuted from error

    with (
        same_everywhere(),
        patch.object(module, name, wrong),
        patch.object(test.hypothesis, "inner_test", until_refuted),
        pytest.raises(Refuted),
    ):
        test()


@pytest.mark.parametrize("chapter", sorted({checked.chapter for checked in THEOREMS.values()}))
def test_every_theorem_of_the_chapter_is_refuted_by_one(chapter):
    refuted = {named(part).function for part, *_ in WRONG}
    assert {name for name, checked in THEOREMS.items() if checked.chapter == chapter} - refuted == set()
