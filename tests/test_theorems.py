"""What theorems catch: each of them is refuted where a formula that it is about is replaced by a wrong one.

A theorem asks no candidate, so that no fault can show its power.
"""

from functools import wraps
from unittest.mock import patch

import pytest
from flint import arb

from rlspec.drawing import same_everywhere
from rlspec.power import every_property
from rlspec.properties import test_group as groups
from rlspec.properties import test_policy_gradient as policy_gradients
from rlspec.reference import group, natural_gradient, policy_gradient, variance
from rlspec.reference.variance import Parabola

THEOREMS = {checked.function: checked for checked in every_property() if checked.theorem}


def doubled(function):
    """The function with twice its answer, a table."""
    return lambda *arguments, **named: [[2 * x for x in row] for row in function(*arguments, **named)]


def one_step_late(values):
    """Weights with a critic whose values are those of the step before."""
    return lambda critic, number: values([critic[0], *critic[:-1]], number)


def with_own_ratio_alone(policy, behaviour):
    """Weights that know the ratio of the credited action and no other."""

    def weights(states, actions, rewards, gamma):
        ratios = [policy[s][a] / behaviour[s][a] for s, a in zip(states, actions, strict=True)]
        credit = policy_gradient.discounted_reward_to_go(states, actions, rewards, gamma)
        return [ratio * weight for ratio, weight in zip(ratios, credit, strict=True)]

    return weights


def at_the_values(mdp, policy):
    """The parabola as if a state's value were its best baseline."""
    values = policy_gradients.state_values(mdp, policy)[0]
    return Parabola(variance.in_baseline(mdp, policy).curvature, values)


def never_again(mdp, policy, numbers, n):
    """That no state is visited a second time."""
    return [[0 for _ in row] for row in policy]


def blocks(change):
    """The Fisher matrix with its entries changed."""
    return lambda *of: [[list(map(change, row)) for row in block] for block in natural_gradient.fisher(*of)]


def times(factor):
    """The weight of a rate of success in a group, times a function of the group's size."""
    return lambda rate, size, divisor: group.success_weight(rate, size, divisor) * factor(size)


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
     lambda mdp, policy: doubled(policy_gradient.occupancy)(mdp, policy) if mdp.horizon else [0 for _ in policy]),
    ("bias_of_any_weights", policy_gradients, "credited", doubled(policy_gradient.credited)),
    ("without_gamma_to_the_t", policy_gradients, "undiscounted_reward_to_go", policy_gradient.whole_return),
    ("baseline_that_depends_on_the_action", policy_gradients, "with_baseline",
     lambda baseline: policy_gradient.discounted_reward_to_go),
    ("bias_of_an_n_step", policy_gradients, "n_step", lambda critic, n: policy_gradient.n_step(critic, n + 1)),
    ("bias_of_an_n_step", policy_gradients, "n_step_bias", doubled(policy_gradient.n_step_bias)),
    ("with_the_exact_values", policy_gradients, "n_step", one_step_late(policy_gradient.n_step)),
    ("with_the_exact_values", policy_gradients, "generalized", one_step_late(policy_gradient.generalized)),
    ("with_all_the_rewards", policy_gradients, "generalized",
     lambda critic, lam: policy_gradient.generalized(critic, 0)),
    ("bias_of_gae", policy_gradients, "generalized_bias",
     lambda mdp, policy, errors, lam: policy_gradient.n_step_bias(mdp, policy, errors, 1)),
    ("variance_is_a_parabola", policy_gradients, "in_baseline", at_the_values),
    ("variance_is_a_parabola", variance, "foreseen", never_again),
    ("best_constant_is_the_mean", policy_gradients, "in_baseline", at_the_values),
    ("variance_of_the_whole_return", policy_gradients, "best_constant", policy_gradients.expected_return),
    ("rewards_weighed_by_the_ratios", policy_gradients, "per_decision", with_own_ratio_alone),
    ("returns_weighed_by_the_ratio", policy_gradients, "whole_trajectory", with_own_ratio_alone),
    ("mean_of_the_products_of_scores", policy_gradients, "fisher", blocks(abs)),
    ("information_that_a_trajectory_has", policy_gradients, "fisher", blocks(lambda x: 2 * x)),
    ("mean_advantages_solve", policy_gradients, "natural_gradient", doubled(natural_gradient.natural_gradient)),
    ("a_direction_is_lost_only", policy_gradients, "fisher", blocks(abs)),
    ("least_squares_fit", policy_gradients, "natural_gradient", doubled(natural_gradient.natural_gradient)),
    ("compatible_critic", policy_gradients, "natural_gradient", doubled(natural_gradient.natural_gradient)),
    ("success_rate_grows_with_the_group", groups, "success_weight", times(lambda size: arb(1) / size)),
    ("success_rate_grows_with_the_group", groups, "success_weight", times(lambda size: arb(size) / (size - 1))),
]  # fmt: skip
"""Part of a theorem's name, and where which wrong formula is put."""


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


def test_every_theorem_is_refuted_by_one():
    assert set(THEOREMS) == {named(part).function for part, *_ in WRONG}
