"""Statements that are easily made too broad: each is held against the case that it forgets."""

from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.power import every_property
from rlspec.properties.losses import Credited
from rlspec.properties.test_surrogate import (
    test_a_loss_moves_with_the_ratios_as_its_derivative_says as moves_as_its_slope,
)
from rlspec.properties.tokens import Completions
from rlspec.reference.decision_process import TabularMDP, state_values, trajectories
from rlspec.reference.preference import dpo_loss

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


CLAMPED = [
    ("ppo_loss", {"log_ratio": "clamped to 5"}),
    ("ppo_loss", {"log_ratio": "at most 5"}),
    ("surrogate_loss", {"log_ratio": "clamped to 5", "clamp": "within 5"}),
    ("grpo_loss", {"log_ratio": "at most 5", "clamp": "k3 at most 5"}),
    ("kl_estimate", {"clamp": "within 5"}),
    ("kl_loss", {"clamp": "k2 and k3 at most 5"}),
    ("importance_weights", {"log_weight": "clamped to 5"}),
]
"""Conventions that hold a number within bounds, with the narrowest bounds that are allowed."""


@pytest.mark.parametrize(("operation", "conventions"), CLAMPED, ids=str)
def test_no_clause_contradicts_a_clamp_that_another_clause_allows(operation, conventions):
    clamped = partial(getattr(reference, operation), **conventions)
    assert violated(operation, clamped, **conventions) == set()


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
    for probability, states, actions, _ in trajectories(mdp, policy):
        factors = [policy[s][a] for s, a in zip(states, actions, strict=True)]
        between = [moves[s][a][after] for s, a, after in zip(states[:-1], actions[:-1], states[1:], strict=True)]
        assert probability == np.prod([mdp.initial[states[0]], *factors, *between])
