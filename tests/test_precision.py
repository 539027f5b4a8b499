"""Honest losses and advantages in 16 bits hold, and mistakes are found in them as in float32, or said to be hidden."""

import re

import numpy as np
import pytest
import torch

import rlspec
from rlspec.audit import of_operation
from rlspec.audited import block, mistake
from rlspec.recorded import load
from rlspec.rounded import Functions, Rounded, Rounding

NARROW = [torch.bfloat16, torch.float16]


@pytest.fixture(params=NARROW, ids=["bfloat16", "float16"])
def narrow(request):
    """A number type of 16 bits."""
    return request.param


@pytest.fixture
def found(tmp_path, narrow):
    """What an audit finds of two batches that a function computes in the type."""

    def audited(compute, defect=""):
        rlspec.record_to(tmp_path / "run.safetensors", every=1)
        for seed in (0, 1):
            compute(torch.Generator().manual_seed(seed), narrow, defect)
        rlspec.stop_recording()
        return of_operation(load(tmp_path / "run.safetensors"))

    return audited


def gae(draw, kind, defect):
    shape = (6, 12)
    rewards, values, other = (torch.randn(shape, generator=draw).to(kind) for _ in range(3))
    terminated, truncated = (torch.rand(shape, generator=draw) < 0.1 for _ in range(2))
    following = torch.where(truncated, 2 * other, torch.cat([values[:, 1:], other[:, :1]], dim=1))
    gamma, lam = 0.99, 0.89 if defect == "other lambda" else 0.9
    stopped = terminated | truncated if defect == "truncation as termination" else terminated
    advantages, carry = torch.zeros_like(values), 0
    for t in reversed(range(shape[1])):
        delta = rewards[:, t] + gamma * following[:, t] * ~stopped[:, t] - values[:, t]
        carry = delta + gamma * lam * carry * ~(terminated | truncated)[:, t]
        advantages[:, t] = carry
    rlspec.observe("gae", rewards=rewards, values=values, next_values=following, terminated=terminated,
                   truncated=truncated, gamma=0.99, lam=0.9, result=advantages)  # fmt: skip


def grpo(draw, kind, defect):
    rows, steps = 8, 12
    start = -3 * torch.rand(rows, steps, generator=draw)
    logp, old, ref = ((start + 0.2 * torch.randn(rows, steps, generator=draw)).to(kind) for _ in range(3))
    logp.requires_grad_()
    advantages = torch.randn(rows, generator=draw).to(kind)
    honest = torch.arange(steps) < torch.randint(4, steps, (rows, 1), generator=draw)
    mask = honest.roll(1, dims=1) & (torch.arange(steps) > 0) if defect == "mask off by one" else honest
    ratio = (logp - old).exp()
    kept = torch.min(ratio * advantages[:, None], ratio.clamp(0.8, 1.2) * advantages[:, None])
    x = logp - ref if defect == "sign of k3" else ref - logp
    rows_means = ((0.1 * (x.exp() - x - 1) - kept) * mask).sum(1) / mask.sum(1)
    loss = rows_means.mean()
    if defect == "unweighted accumulation":
        loss = (rows_means[:2].mean() + rows_means[2:].mean()) / 2
    rlspec.observe("grpo_loss", logp=logp, old_logp=old, ref_logp=ref, advantages=advantages,
                   groups=torch.arange(rows) // 4, mask=honest, clip_low=0.2, clip_high=0.2, kl_coef=0.1,
                   result=loss)  # fmt: skip


def group(draw, kind, defect):
    table = torch.randint(0, 9, (5, 4), generator=draw).to(kind) / 4
    if defect == "mean over the batch":
        above, deviation = table - table.mean(), table.std()
    else:
        above, deviation = table - table.mean(1, keepdim=True), table.std(1, keepdim=True)
    advantages = above if defect == "no deviation" else above / (deviation + 1e-3)
    rlspec.observe("group_advantages", rewards=table.flatten(), groups=torch.arange(20) // 4, baseline="mean",
                   scale="std", result=advantages.flatten())  # fmt: skip


@pytest.mark.parametrize("compute", [gae, grpo, group])
def test_honest_answers_hold(compute, found):
    finding = found(compute)
    assert finding.holds, list(block(finding))
    assert finding.hidden.nearest == ""


@pytest.mark.parametrize(
    ("compute", "defect", "words"),
    [
        (gae, "truncation as termination", "fault `truncation-as-termination`"),
        (grpo, "mask off by one", "as if `mask` were those of the step before"),
        (grpo, "sign of k3", "fault `kl-the-other-way-round`"),
        (grpo, "unweighted accumulation", "then not weighed by how much they have"),
        (group, "mean over the batch", "fault `baseline-of-the-whole-batch`"),
        # Where no deviation is above 1, to keep it from being less than 1 does the same.
        (group, "no deviation", r"as if (`scale` were 'none'|its convention `eps` were `max\(std, 1\)`)"),
    ],
)
def test_a_mistake_is_found_and_named(compute, defect, words, found):
    finding = found(compute, defect)
    assert not finding.holds
    assert re.search(words, mistake(finding))


@pytest.mark.parametrize("narrow", [torch.bfloat16], indirect=True)
def test_what_rounding_hides_is_said_and_what_the_answers_are_nearer_to(found):
    finding = found(gae, "other lambda")
    assert finding.holds
    assert finding.hidden.nearest == "`lam` times 0.99"
    assert "times nearer to what `lam`" in " ".join(" ".join(block(finding)).split())


@pytest.mark.parametrize("narrow", [torch.bfloat16], indirect=True)
def test_a_long_sum_that_is_rounded_all_along_is_not_called_wrong(found):
    def added_one_by_one(draw, kind, _):
        logp, advantages = torch.randn(1, 900, generator=draw).to(kind), torch.rand(1, 900, generator=draw).to(kind)
        total = torch.zeros((), dtype=kind)
        for term in (logp * advantages)[0].abs():
            total = total + term
        rlspec.observe("policy_gradient_loss", logp=-(logp.abs()), advantages=advantages, result=total / 900)

    finding = found(added_one_by_one)
    assert not finding.wrong
    assert "further off than rounding to bfloat16" in finding.why_not


def rounded_to(kind, number):
    return Rounded(Rounding(True), float(number), 8 if kind == torch.bfloat16 else 11)


def test_the_bound_holds_for_each_operation_on_numbers_of_the_type(narrow):
    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        x, y = (torch.randn((), generator=draw).to(narrow) for _ in range(2))
        a, b = rounded_to(narrow, x), rounded_to(narrow, y)
        functions = Functions(a.rounding)
        done = [
            (x + y, a + b), (x - 0.3, a - 0.3), (x * y, a * b), (0.3 * x, 0.3 * a), (x / y, a / b), (x.exp(), a.exp()),
            (x.abs().log(), functions.log(abs(a))), (x.expm1(), a.expm1()), (x.abs().sqrt(), abs(a).sqrt()),
            ((x - y).exp() * x - y, (a - b).exp() * a - b),
        ]  # fmt: skip
        for tensor, number in done:
            assert tensor.dtype == narrow
            assert abs(float(tensor) - number.value) <= number.error


def test_a_comparison_that_errors_leave_open_goes_either_way():
    for decided in (True, False):
        rounding = Rounding(True, decided)
        near = Rounded(rounding, 1.2, 8, error=0.01)
        assert (near > 1.201) is decided
        assert (near == 1.201) is not decided
        assert rounding.open
    sure = Rounding(True, False)
    assert Rounded(sure, 2.0, 8, error=0.01) > 1.2
    assert not sure.open


def test_numbers_of_two_types_meet_in_the_finer_one():
    rounding = Rounding(True)
    product = Rounded(rounding, 1.5, 8) * Rounded(rounding, 1.25, 24)
    assert product.bits == 24
    assert (Rounded(rounding, 1.5, 8) * Rounded(rounding, 1.25, 11)).bits == 24
    assert product.error == pytest.approx(1.875 * 2.0**-24)
    thousand = sum((Rounded(rounding, 1.0, 8) for _ in range(1000)), start=Rounded(rounding, 0.0, 8))
    assert thousand.used < 0.01 * thousand.value
    assert np.isfinite(thousand.error)
