"""Real training runs, recorded and audited: right as they are, and with a defect that the recording alone tells."""

from importlib import import_module

import pytest

import rlspec
from rlspec.audit import audit
from rlspec.audited import mistake
from rlspec.recorded import load


def run(name, needed):
    """A run's function, skipped without the library that it is about."""
    pytest.importorskip(needed, reason=f"the run needs {needed}")
    return import_module(f"runs.{name}").train


def found(path, train, *arguments):
    """What an audit finds of a run, by operation."""
    rlspec.record_to(path, every=3)
    try:
        train(*arguments)
    finally:
        rlspec.stop_recording()
    return {finding.operation.name: finding for finding in audit(load(path))}


def wrong(findings):
    """The mistakes found, by operation."""
    return {name: mistake(finding) for name, finding in findings.items() if not finding.holds}


def test_ppo_on_cartpole_holds_everything(tmp_path):
    findings = found(tmp_path / "run.safetensors", run("cartpole", "gymnasium"))
    assert findings.keys() == {"gae", "ppo_loss", "value_loss"}
    assert wrong(findings) == {}
    assert "a truncation inside a row" not in findings["gae"].unseen
    assert findings["value_loss"].chosen["value_loss.factor"] == "0.5"


def test_defects_of_ppo_on_cartpole_are_found_and_named_each_in_its_operation(tmp_path):
    defects = {
        "truncation-as-termination": ("gae", "as if `terminated` were `terminated or truncated`"),
        "clip-without-minimum": ("ppo_loss", "the fault `clipped-without-the-minimum`"),
        "unweighted-accumulation": ("value_loss", "then not weighed by how much they have"),
    }
    mistakes = wrong(found(tmp_path / "run.safetensors", run("cartpole", "gymnasium"), *defects))
    assert mistakes.keys() == {"gae", "ppo_loss", "value_loss"}
    assert [words for operation, words in defects.values() if words not in mistakes[operation]] == []


@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
def test_stable_baselines3_holds_everything_and_a_defect_in_its_buffer_is_named(algorithm, tmp_path):
    train = run("library", "stable_baselines3")
    assert wrong(found(tmp_path / "right.safetensors", train, "", algorithm)) == {}
    mistakes = wrong(found(tmp_path / "wrong.safetensors", train, "carry-crosses-episodes", algorithm))
    assert "the fault `carry-crosses-termination`" in mistakes["gae"]


def test_trl_holds_everything(tmp_path):
    findings = found(tmp_path / "run.safetensors", run("grpo", "trl"), tmp_path)
    assert findings.keys() == {"group_advantages", "grpo_loss"}
    assert wrong(findings) == {}
    assert findings["group_advantages"].chosen["group_advantages.eps"] == "std + 1e-4"


@pytest.mark.parametrize(
    "defects",
    [
        {
            "mask-off-by-one": ("grpo_loss", "as if `mask` were those of the step before"),
            "mean-over-the-batch": ("group_advantages", "as if all samples were of one group"),
        },
        {"sign-of-k3": ("grpo_loss", "`-log_ratio` were `log_ratio` in `kl_of_log_ratio`")},
        {"unweighted-accumulation": ("grpo_loss", "then not weighed by how much they have")},
    ],
    ids=" and ".join,
)
def test_defects_in_trl_are_found_and_named_each_in_its_operation(defects, tmp_path):
    mistakes = wrong(found(tmp_path / "run.safetensors", run("grpo", "trl"), tmp_path, *defects))
    assert mistakes.keys() == {operation for operation, _ in defects.values()}
    assert [words for operation, words in defects.values() if words not in mistakes[operation]] == []
