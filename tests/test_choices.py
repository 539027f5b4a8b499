"""What the reference has no meaning for is refused: a choice that is misspelt, fewer than one step."""

import pytest
from hypothesis import given, settings

from rlspec.candidates import reference
from rlspec.properties.questions import PLAIN_QUESTIONS
from rlspec.properties.questions.question import last_names
from rlspec.reference import critics, group, moments, returns
from rlspec.reference.decision_process import TabularMDP
from rlspec.spec.clauses import conventions_of

OPERATIONS = (
    "vtrace",
    "normalize_advantages",
    "policy_gradient",
    "token_rewards",
    "dpo_loss",
    "ipo_loss",
    "kto_loss",
    "orpo_loss",
    "simpo_loss",
    "sppo_loss",
    "rpo_loss",
    "aggregate",
    "accumulate",
    "sharded_loss",
    "policy_gradient_loss",
    "value_loss",
    "actor_critic_loss",
    "approx_kl",
    "clip_fraction",
    "dpo_loss",
    "ipo_loss",
    "kto_loss",
    "orpo_loss",
    "simpo_loss",
    "sppo_loss",
    "rpo_loss",
    "group_advantages",
    "reinforce_plus_plus_advantages",
    "kl_estimate",
    "kl_loss",
    "ppo_loss",
    "importance_weights",
    "self_normalized_weights",
    "corrected_loss",
    "effective_sample_size",
    "distillation_divergence",
    "topk_divergence",
    "overlong_penalty",
    "surrogate_loss",
    "grpo_loss",
    "dr_grpo_loss",
    "dapo_loss",
    "cispo_loss",
    "gspo_loss",
    "luspo_loss",
    "gmpo_loss",
    "huber_loss",
    "temperature_loss",
    "quantile_huber_loss",
    "dueling",
    "normalize_observations",
    "scaled_rewards",
)
"""The operations that are asked."""

CONVENTIONS = [(operation, name) for operation in OPERATIONS for name in conventions_of(operation)]


@pytest.mark.parametrize(("operation", "convention"), CONVENTIONS)
def test_a_misspelt_choice_is_refused(operation, convention):
    chosen = last_names({convention: conventions_of(operation)[convention][0] + "s"})

    @settings(max_examples=1, derandomize=True, database=None, deadline=None)
    @given(PLAIN_QUESTIONS[operation])
    def refused(question):
        with pytest.raises(ValueError, match="there is no choice"):
            getattr(reference, operation)(*question.arguments, **chosen)

    refused()


@pytest.mark.parametrize(
    "wrong",
    [{"baseline": "leave one out"}, {"scale": "standard deviation"}, {"std": "ddof=7"}, {"eps": "1e-6"}],
    ids=str,
)
@pytest.mark.parametrize("rewards", [[1, 0], [1, 1], [1]], ids=str)
def test_group_advantages_refuse_what_they_do_not_come_to_read(rewards, wrong):
    with pytest.raises(ValueError, match="there is no choice"):
        group.group_advantages(rewards, [0] * len(rewards), **wrong)


NEVER = [False, False]
PROCESS = TabularMDP([[[1.0]]], [[1.0]], [1.0], 0.5, horizon=2)


@pytest.mark.parametrize(
    "n_steps",
    [
        lambda n: returns.n_step_return([1, 1], [0, 0], NEVER, NEVER, 0.5, n),
        lambda n: critics.n_step_bias(PROCESS, [[1.0]], [[0.0], [0.0]], n),
        lambda n: moments.n_step(moments.process(PROCESS, [[1.0]]), [[0.0], [0.0]], n),
    ],
    ids=["returns", "critics", "moments"],
)
@pytest.mark.parametrize("n", [0, -3])
def test_fewer_than_one_step_are_refused(n_steps, n):
    with pytest.raises(ValueError, match=f"n is {n}; at least one reward"):
        n_steps(n)
