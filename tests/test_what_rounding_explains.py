"""What rounding explains, and what is printed beside a violation: said wrongly they accuse honest code, or nobody."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from rlspec.candidate import Candidate
from rlspec.candidates import reference
from rlspec.faults import museum
from rlspec.power import every_property, faulty
from rlspec.properties.groups import Samples
from rlspec.properties.losses import POINTS, credited, no_kl
from rlspec.properties.test_group import (
    test_a_number_added_to_the_rewards_of_one_group_changes_no_advantage as number_added_to_a_group,
)
from rlspec.properties.test_operations import (
    test_float32_arguments_have_the_answer_of_the_same_numbers_in_float64 as float32_as_float64,
)
from rlspec.properties.test_ppo import test_the_tokens_of_two_masks_add_up as tokens_of_two_masks


def in_float32(rewards, groups, baseline, scale):
    """Group advantages in float32 from the first line on."""
    if baseline != "mean":
        raise NotImplementedError
    rewards, found = np.asarray(rewards, np.float32), np.zeros(len(rewards), np.float32)
    for group in set(groups.tolist()):
        own = rewards[groups == group]
        centred = own - own.mean(dtype=np.float32)
        spread = own.std(dtype=np.float32) + np.float32(1e-4)
        found[groups == group] = centred if scale == "none" else centred / spread
    return found


@pytest.mark.parametrize("scale", ["std", "none"])
def test_rewards_that_float32_does_not_tell_apart_are_not_asked_of_it(scale):
    conventions = {"std": "ddof=0", "eps": "std + 1e-4", "precision": "float32"}
    declared = {f"group_advantages.{name}": choice for name, choice in conventions.items()}
    candidate = Candidate(SimpleNamespace(group_advantages=in_float32, CONVENTIONS=declared), "in float32")
    apart = Samples(np.array([0.0, 4.0]), np.array([7, 7]))
    large = apart.rewards + 2.0**30
    assert (in_float32(large, apart.groups, "mean", scale) == 0).all(), "2^30 and 2^30 + 4 are one number in float32"
    candidate.start_trial()
    number_added_to_a_group.hypothesis.inner_test(candidate, apart, "mean", scale, 2.0**30)


def test_the_call_that_is_printed_for_a_sum_of_parts_is_one_that_is_answered_wrongly():
    [checked] = [checked for checked in every_property() if checked.test is tokens_of_two_masks]
    faults = [fault for fault in museum().values() if fault.operation == "ppo_loss"]
    violations = [(fault, checked.violation_by(faulty(fault))) for fault in faults]
    shown = [(fault, violation.call.arguments) for fault, violation in violations if violation]
    assert len(shown) > len(faults) / 2
    for fault, arguments in shown:
        right, wrong = reference.ppo_loss(*arguments), fault.implementation(*arguments)
        assert any(not np.allclose(one, other, rtol=1e-12) for one, other in zip(right, wrong, strict=True)), fault.slug


@pytest.mark.parametrize("operation", [name for name in POINTS if name != "cispo_loss"])
def test_a_divergence_that_does_not_count_leaves_no_room_for_errors(operation):
    @settings(max_examples=20, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(credited(coefs=no_kl))
    def check(drawn):
        case = drawn.at(operation)
        far = case.but(ref_logp=case.tokens.ref_logp - 50)
        assert np.array_equal(case.judged["magnitude"], far.judged["magnitude"])

    check()


@pytest.mark.parametrize("operation", ["reward_to_go", "normalize_advantages", "expected_return"])
def test_the_rounding_of_a_wrong_formula_breaks_no_law_that_the_formula_keeps(operation):
    def a_million_times(*arguments):
        return np.asarray(getattr(reference, operation)(*arguments)) * 2.0**20

    candidate = Candidate(SimpleNamespace(**{operation: a_million_times}), "a million times")
    asking = [checked for checked in every_property() if checked.asks(operation)]
    law = [checked for checked in asking if checked.function == float32_as_float64.__name__]
    assert not any(checked.violated_by(candidate) for checked in law)
    assert any(checked.violated_by(candidate) for checked in asking)
