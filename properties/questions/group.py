"""Questions about groups."""

from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.checking import exactly
from rlspec.properties.groups import (
    ManySamples,
    Samples,
    Steps,
    baselines,
    divisor,
    many_samples,
    samples,
    scales,
    steps,
    whole_batch_baselines,
)
from rlspec.properties.losses import POINTS
from rlspec.properties.questions.question import Inputs, Question, last_names
from rlspec.properties.questions.surrogate import about
from rlspec.reference import group
from rlspec.spec.operations import OPERATIONS

LEAST = 1e-12
"""What is divided by at least where there is no spread, by the convention that is furthest from caution."""


def _group_advantages(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Samples, baseline: str, scale: str) -> Question:
        rewards, groups = [exactly(reward) for reward in drawn.rewards], drawn.groups.tolist()

        def answer(**chosen: str) -> Any:
            return group.group_advantages(rewards, groups, baseline, scale, **last_names(chosen))

        either = (drawn.divisors("ddof=0", "std", spread) for spread in ("of the group", "of the batch"))
        spreads = np.minimum(*either)
        divisors = np.where(spreads > 0, spreads, LEAST) if scale == "std" else None
        arguments = (*drawn.arrays, baseline, scale)
        judged = drawn.judged(divisors, of_the_batch=True)
        return Question(OPERATIONS["group_advantages"], arguments, answer, **judged)

    return st.builds(question, samples(inputs.numbers, inputs.sizes), baselines, scales)


def _reinforce_plus_plus_advantages(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Samples, baseline: str) -> Question:
        rewards, groups = [exactly(reward) for reward in drawn.rewards], drawn.groups.tolist()

        def answer(**chosen: str) -> Any:
            return group.reinforce_plus_plus_advantages(rewards, groups, baseline, **last_names(chosen))

        either = [rewards] if baseline == "none" else [drawn.centred(alone) for alone in ("zero", "its reward")]
        scale = min(divisor(known, "ddof=0", "std") for known in either) or LEAST
        arguments = (*drawn.arrays, baseline)
        return Question(OPERATIONS["reinforce_plus_plus_advantages"], arguments, answer, **drawn.judged_as_one(scale))

    # What becomes of a sample that is alone shows only beside others, and with the group's mean as baseline.
    someone_alone = st.builds(question, samples(inputs.numbers, (1.0,), ("one alone",)), st.just("mean"))
    return st.builds(question, samples(inputs.numbers, inputs.sizes), whole_batch_baselines) | someone_alone


EITHER = [{"std": std, "eps": eps} for std in ("ddof=0", "ddof=1") for eps in ("std", "std + 1e-3")]
"""Choices between which the others are, as far as the size of what is divided by goes."""


def _furthest(drawn: ManySamples | Steps, **chosen: str) -> dict[str, Any]:
    """How far rounding may take an answer under one choice or another."""
    found = [drawn.off_by(**either, **chosen) for either in EITHER]
    return found[0] | {"magnitude": np.max([one["magnitude"] for one in found], axis=0)}


def gdpo_question(drawn: ManySamples) -> Question:
    """What the advantages of samples of several rewards are."""
    rewards = [[exactly(reward) for reward in row] for row in drawn.rewards]
    told = rewards, drawn.groups.tolist(), [exactly(weight) for weight in drawn.weights]

    def answer(**chosen: str) -> Any:
        return group.gdpo_advantages(*told, **last_names(chosen))

    apart = [
        _furthest(drawn, whitening=whitening, alone=alone) for whitening in ("none", "std") for alone in drawn.alone
    ]
    judged = apart[0] | {"magnitude": np.max([one["magnitude"] for one in apart], axis=0)}
    return Question(OPERATIONS["gdpo_advantages"], drawn.arrays, answer, **judged)


def _process_advantages(inputs: Inputs) -> st.SearchStrategy[Question]:
    def question(drawn: Steps) -> Question:
        rewards = [[exactly(reward) for reward in row] for row in drawn.token_rewards]
        told = rewards, drawn.ends.tolist(), drawn.groups.tolist(), drawn.mask.tolist()

        def answer(**chosen: str) -> Any:
            return group.process_advantages(*told, **last_names(chosen))

        return Question(OPERATIONS["process_advantages"], drawn.arrays, answer, **_furthest(drawn))

    return steps(inputs.numbers, inputs.sizes).map(question)


def questions(inputs: Inputs) -> dict[str, st.SearchStrategy[Question]]:
    """Questions by their operation."""
    return {
        "group_advantages": _group_advantages(inputs),
        "reinforce_plus_plus_advantages": _reinforce_plus_plus_advantages(inputs),
        "gdpo_advantages": many_samples(inputs.numbers, inputs.sizes).map(gdpo_question),
        "process_advantages": _process_advantages(inputs),
        **{operation: about(operation, inputs) for operation in POINTS if operation != "surrogate_loss"},
    }
