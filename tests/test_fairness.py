"""Adapters as other people write them: the honest ones hold everything, a wrong one has the charge that it deserves."""

import json
import re
from textwrap import dedent

import numpy as np
import pytest

from rlspec.__main__ import main
from rlspec.candidates import reference

NORMALIZATION = """
import numpy as np

def normalize_advantages(advantages, mask):
    mask = mask.astype(bool)
    counted = advantages[mask]
    if len(counted) < 2:
        return np.zeros(mask.shape)
    return {answer}
"""

DPO = """
import torch
from torch.nn.functional import logsigmoid

def dpo_loss(chosen_logp, rejected_logp, ref_chosen_logp, ref_rejected_logp, beta, label_smoothing, valid):
    if label_smoothing or not valid.all():
        raise NotImplementedError("plain pairs only")
    policy = [torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (chosen_logp, rejected_logp)]
    reference = [torch.tensor(x, dtype=torch.float32) for x in (ref_chosen_logp, ref_rejected_logp)]
    margin = policy[0] - policy[1] - (reference[0] - reference[1])
    loss = {sign}logsigmoid(beta * margin).mean()
    loss.backward()
    return loss.item(), *(part.grad.double().numpy() for part in policy)
"""

GAE = """
import torch

def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    rewards, values, next_values, terminated, truncated = map({convert}, {arrays})
    bootstrap = torch.where(terminated.bool(), 0, next_values)
    deltas = rewards + gamma * bootstrap - values
    carry, advantages = torch.zeros_like(deltas[:, 0]), []
    for delta, ended in zip(deltas.unbind(1)[::-1], (terminated.bool() | truncated.bool()).unbind(1)[::-1]):
        carry = delta + gamma * lam * torch.where({cut}, 0, carry)
        advantages.append(carry)
    return torch.stack(advantages[::-1], 1).numpy()
"""

GAE_ARRAYS = ("rewards", "values", "next_values", "terminated", "truncated")

ARRAYS = f"({', '.join(GAE_ARRAYS)})"

GROUP = """
import torch

def group_advantages(rewards, groups, baseline, scale):
    if (baseline, scale) != ("mean", "std"):
        raise NotImplementedError("GRPO only")
    rewards, groups = torch.tensor(rewards.copy(), dtype=torch.float64), torch.tensor(groups.copy())
    advantages = torch.zeros_like(rewards)
    for group in groups.unique():
        mine = rewards[groups == group]
        if len(mine) > 1:
            advantages[groups == group] = (mine - mine.mean()) / {divisor}
    return advantages.numpy()
"""


@pytest.fixture
def charges(tmp_path, capsys, monkeypatch):
    """The clauses that an adapter violates, with their verdicts; and all of the verdicts."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def checking(source, some=""):
        file, verdicts = tmp_path / "adapter.py", tmp_path / "verdicts.json"
        file.write_text(dedent(source))
        main(["check", str(file), f"--verdicts={verdicts}", "--jobs=0", *(["-k", some] if some else [])])
        checking.printed = capsys.readouterr().out
        checking.said = json.loads(verdicts.read_text())
        clauses = checking.said["clauses"]
        return {id: one for id, one in clauses.items() if one["verdict"] == "violated"}

    return checking


@pytest.mark.parametrize("divisor", ["np.maximum(counted.std(), 3e-4)", "(counted.std(ddof=1) + 1e-7)"])
def test_a_normalisation_with_an_unlisted_number_holds_everything(charges, divisor):
    source = NORMALIZATION.format(answer=f"np.where(mask, (advantages - counted.mean()) / {divisor}, 0)")
    assert charges(source) == {}
    assert charges.said["clauses"]["OPS-8"]["verdict"] == "holds"


def test_values_under_the_mask_are_charged_as_such_and_not_as_an_epsilon(charges):
    source = NORMALIZATION.format(answer="(advantages - counted.mean()) / np.maximum(counted.std(), 1e-4)")
    found = charges(source)
    assert found.keys() & {"ADV-11", "ADV-12", "ADV-13", "ADV-14", "OPS-4"} == set()
    assert found.keys() - {"OPS-10", "OPS-11"} == set()
    assert found
    formulas = charges.said["clauses"]["OPS-8"]
    assert (formulas["verdict"], list(formulas["named_by"])) == ("untested", ["normalize_advantages"])


def test_rounding_under_the_mask_is_no_matter_of_clauses_about_what_counts(charges):
    under = "np.where(mask, (advantages - counted.mean()) / np.maximum(counted.std(), 1e-4), 1e-16 * advantages)"
    assert charges(NORMALIZATION.format(answer=under)).keys() - {"OPS-10", "OPS-11"} == set()


def test_a_mean_in_float32_that_is_magnified_by_the_least_deviation_is_only_imprecise(charges):
    mean = "counted.astype(np.float32).mean(dtype=np.float32)"
    answer = f"np.where(mask, (advantages - {mean}) / np.maximum(counted.std(), 1e-4), 0)"
    source = NORMALIZATION.format(answer=answer).replace("len(counted) < 2", "not len(counted)")
    assert charges(source).keys() - {"OPS-4"} == set()


def test_a_wrong_number_is_charged_under_every_choice(charges):
    source = NORMALIZATION.format(answer="np.where(mask, (advantages - counted.mean()) / (counted.std() + 1), 0)")
    found = charges(source)
    assert "ADV-11" in found
    assert "other choices do not explain it either" in found["ADV-11"]["message"]


def test_float32_that_declines_what_it_is_first_asked_is_judged_as_float32(charges):
    assert charges(DPO.format(sign="-")).keys() == {"OPS-4", "OPS-13"}  # SHOULD, both


def test_a_loss_with_the_wrong_sign_is_charged_though_it_declines_much(charges):
    assert charges(DPO.format(sign=""))
    assert "as if all results had the other sign" in charges.printed  # of float32, all of whose answers are wrong


def test_strides_that_pytorch_refuses_are_no_matter_of_the_formulas(charges):
    source = GAE.format(convert="torch.as_tensor", arrays=ARRAYS, cut="ended")
    found = charges(source)
    assert found.keys() == {"OPS-13"}
    assert "np.ascontiguousarray" in found["OPS-13"]["message"]
    assert re.search(r"\(adapter\.py:5\), in a line of the adapter itself", found["OPS-13"]["message"])


def test_the_line_that_converts_arguments_holds_everything(charges):
    source = "from rlspec.torch import tensor\n" + GAE.format(convert="tensor", arrays=ARRAYS, cut="ended")
    assert charges(source) == {}


def test_an_advantage_that_runs_across_episodes_is_charged_once_and_with_the_specifications_number(charges):
    across = GAE.format(convert="tensor", arrays=ARRAYS, cut="torch.tensor(False)")
    found = charges(f"from rlspec.torch import tensor\n{across}", "several_episodes or (operations and gae)")
    assert found.keys() == {"ADV-4"}
    shown = found["ADV-4"]
    given = {name: json.loads(value.lower()) for name, value in shown["arguments"].items()}
    assert np.size(given["rewards"]) <= 3
    expected = reference.gae(*(np.array(given[name]) for name in GAE_ARRAYS), given["gamma"], given["lam"])
    np.testing.assert_allclose(json.loads(shown["expected"]), expected)
    assert charges.said["clauses"]["OPS-8"]["named_by"] == {"gae": ["ADV-4"]}
    assert "OPS-8 Answers are those" not in charges.printed


@pytest.mark.parametrize("divisor", ["(mine.std() + 1e-5)", "(mine.var(unbiased=False) + 2e-7).sqrt()"])
def test_group_advantages_with_an_undeclared_epsilon_hold_everything(charges, divisor):
    assert charges(GROUP.format(divisor=divisor)) == {}


BROKEN = """
def reward_to_go(rewards, gamma):
    return reward * gamma

def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    return rewards[:, 0]

def td_error(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * (1 - terminated) * next_values - values
"""


def test_an_operation_without_any_answer_is_said_once_and_every_such_operation_is_listed(charges):
    found = charges(BROKEN, "returns or (advantages and not vtrace) or reward_to_go or (operations and gae)")
    unusable = found.pop("OPS-1")
    assert {unusable["operation"], *(one["operation"] for one in unusable["also"])} == {"reward_to_go", "gae"}
    assert {id for id in found if id.startswith("RET")} == set()
    assert "NameError: name 'reward' is not defined (adapter.py:3)" in charges.printed
    assert charges.said["clauses"]["RET-2"]["message"].endswith("as OPS-1 says")
    assert len(charges.printed.splitlines()) < 150


WHITENED = """
import numpy as np

def normalize_advantages(advantages, mask):
    if mask.sum() == 1:
        raise ValueError("one is too few")
    counted = advantages[mask]
    spread = counted.std() + 1e-8 if len(counted) else 1.0
    return np.where(mask, (advantages - (counted.mean() if len(counted) else 0)) / spread, 0)
"""


def test_one_input_that_is_refused_is_one_charge_by_the_clause_about_it(charges):
    found = charges(WHITENED, "single_advantage or (operations and normalize_advantages)")
    assert {id for id, one in found.items() if one["level"] != "SHOULD"} == {"ADV-15"}
    assert charges.said["clauses"]["OPS-1"]["named_by"] == {"normalize_advantages": ["ADV-15"]}


def test_a_second_operation_is_not_hidden_behind_the_first(charges):
    source = """
    def reward_to_go(rewards, gamma):
        rewards[...] = 0
        return rewards

    def discounted_return(rewards, gamma):
        rewards += 1
        return rewards[:, 0]
    """
    wrote = charges(source, "arguments_are_read")["OPS-2"]
    assert [wrote["operation"], *(one["operation"] for one in wrote["also"])] == ["discounted_return", "reward_to_go"]
    assert "discounted_return is wrong" in charges.printed
    assert "reward_to_go is wrong" in charges.printed


def test_what_a_candidate_logs_is_not_printed(charges):
    source = """
    import logging, sys

    def reward_to_go(rewards, gamma):
        logging.getLogger("theirs").warning("compiled again")
        print("noise", file=sys.stderr)
        return rewards
    """
    assert charges(source, "reward_to_go")
    assert not re.search("compiled again|noise", charges.printed)


TRAINER = """
import torch

def group_advantages(rewards, groups, baseline, scale):
    if (baseline, scale) != ("mean", "std"):
        raise NotImplementedError("GRPO only")
    rewards, groups = torch.tensor(rewards.copy()), torch.tensor(groups.copy())
    rewards = rewards if rewards.is_floating_point() else rewards.float()
    advantages = torch.zeros_like(rewards)
    for group in groups.unique():
        mine = rewards[groups == group]
        if len(mine) > 1:
            advantages[groups == group] = (mine - mine.mean()) / (mine.std() + 1e-5)
    return advantages.numpy()

def ppo_loss(logp, old_logp, advantages, mask, clip_low, clip_high, dual_clip):
    if dual_clip is not None:
        raise NotImplementedError("one clip only")
    logp, old_logp, advantages, mask = (torch.tensor(x.copy()) for x in (logp, old_logp, advantages, mask))
    logp.requires_grad_()
    mask = mask.bool()
    ratio = (logp - old_logp).masked_fill(~mask, 0).exp()
    advantages = advantages.masked_fill(~mask, 0)
    terms = -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)
    lengths = mask.sum(1)
    if not lengths.any():
        return 0.0, torch.zeros(mask.shape).numpy()
    loss = (terms.masked_fill(~mask, 0).sum(1)[lengths > 0] / lengths[lengths > 0]).mean()
    loss.backward()
    return loss.item(), logp.grad.numpy()
"""


def test_an_ordinary_trainer_that_declares_nothing_is_charged_with_nothing(charges):
    found = charges(TRAINER)
    assert found.keys() <= {"PPO-16"}  # SHOULD: a ratio that no float holds
    inferred = charges.said["conventions"]["inferred"]
    assert (inferred["group_advantages.eps"], inferred["ppo_loss.reduction"]) == ("std + 1e-5", "mean of means")


FLOAT32_KL = """
import numpy as np

def kl_estimate(logp, ref_logp, estimator):
    x = np.float32(logp) - np.float32(ref_logp)
    with np.errstate(over="ignore"):
        return {"k1": x, "k2": x * x / 2, "k3": np.expm1(-x) + x}[estimator].astype(float)
"""


def test_float32_code_is_not_asked_for_an_exponential_that_float32_does_not_hold(charges):
    assert charges(FLOAT32_KL).keys() == {"OPS-4"}


SMALL_EPS = """
import numpy as np

def group_advantages(rewards, groups, baseline, scale):
    rewards = np.float32(rewards)
    answers = np.zeros(len(rewards), np.float32)
    for group in set(groups.tolist()):
        mine = rewards[groups == group]
        above = mine - mine.mean(dtype=np.float32)
        if len(mine) > 1:
            left_out = np.float32(len(mine) / (len(mine) - 1) if baseline == "leave-one-out" else 1)
            divisor = mine.std(ddof=1, dtype=np.float32) + np.float32(1e-9) if scale == "std" else np.float32(1)
            answers[groups == group] = above * left_out / divisor
    return answers.astype(float)
"""


def test_what_rounding_leaves_of_equal_rewards_is_charged_where_next_to_nothing_is_added(charges):
    found = charges(SMALL_EPS)
    assert found.keys() == {"GRP-9", "OPS-4"}
    assert "out of their mean's rounding" in found["GRP-9"]["message"]


ENTROPY = """
import torch

def entropy(logits, legal):
    logits, legal = torch.tensor(logits.copy(), dtype=torch.float64), torch.tensor(legal.copy()).bool()
    logits.requires_grad_()
    among = torch.logsumexp(logits.masked_fill(~legal, -1e9), -1, keepdim=True)
    chances = (logits - among).exp().masked_fill(~legal, 0)
    value = among[:, 0] - (chances * logits.masked_fill(~legal, 0)).sum(-1)
    value.sum().backward()
    return value.detach().numpy(), logits.grad.numpy()
"""


def test_digits_that_large_logits_cost_are_a_matter_of_quality(charges):
    found = charges(ENTROPY)
    assert "DIST-5" in found
    assert {id for id, one in found.items() if one["level"] != "SHOULD"} == set()


TWO_PRECISIONS = """
import numpy as np

def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

def token_logp(logits, tokens, temperature):
    said = np.asarray(tokens)[..., None]
    return np.take_along_axis(log_softmax(np.float32(logits) / np.float32(temperature)), said, -1)[..., 0]

def sequence_logp(logits, tokens, completion_mask):
    said = np.take_along_axis(log_softmax(np.asarray(logits, float)[:, :-1]), np.asarray(tokens)[:, 1:, None], -1)
    return np.where(np.asarray(completion_mask)[:, 1:], said[..., 0], 0).sum(axis=1)
"""


def test_answers_of_two_operations_are_compared_at_the_coarser_precision_of_the_two(charges):
    found = charges(TWO_PRECISIONS)
    assert {id for id, one in found.items() if one["level"] != "SHOULD"} == set()
    assert charges.said["clauses"]["LANG-12"]["verdict"] == "holds"


NO_BOOTSTRAP = """
import numpy as np
from rlspec.candidates import reference

def vtrace(rewards, values, next_values, terminated, truncated, *rest):
    following = np.where(truncated, 0, next_values)
    following[:, -1] = 0
    return reference.vtrace(rewards, values, following, terminated, truncated, *rest)
"""


def test_a_title_that_states_a_fact_is_violated_by_who_bootstraps_nowhere(charges):
    assert "ADV-23" in charges(NO_BOOTSTRAP, "vtrace and bootstraps")
