"""Whether recorded answers are judged rightly: honest ones in every precision, and wrong ones of every kind."""

import contextlib
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from variants import VARIANTS

import rlspec
from rlspec.__main__ import main
from rlspec.answers import explains
from rlspec.audit import Finding, of_operation
from rlspec.audited import as_adapter, mistake
from rlspec.bounds import ANSWERS, right, slack
from rlspec.candidates import reference, torch_autograd
from rlspec.conventions import drawn
from rlspec.faults import museum
from rlspec.features import FEATURES, features_of, possible
from rlspec.properties.checking import each
from rlspec.properties.questions import PLAIN_QUESTIONS
from rlspec.recorded import Seen
from rlspec.spec.clauses import conventions_of
from rlspec.spec.operations import OPERATIONS
from rlspec.weighing import fewest_parts

DEFAULTS = {name: {of: texts[0] for of, texts in conventions_of(name).items()} for name in ANSWERS}


def narrow(argument):
    """An array of floats as float32, and anything else as it is."""
    return argument.astype(np.float32) if getattr(argument, "dtype", None) == np.float64 else argument


def seen(name, arguments, function, precision):
    """A call as it would be recorded."""
    results = [np.asarray(part, dtype=precision) for part in each(function(*arguments))]
    by_name = dict(zip(OPERATIONS[name].results, results, strict=True))
    return Seen(OPERATIONS[name], tuple(arguments), by_name, precision, {}, "here", 0)


def everywhere(name, kind):
    """One number type for all arrays of a call."""
    operation = OPERATIONS[name]
    arrays = [of for of, axes in operation.axes.items() if axes]
    return dict.fromkeys([*arrays, *(f"result {of}" for of in operation.results)], kind)


def questions(name, count):
    return [question.arguments for question in drawn(PLAIN_QUESTIONS[name], count)]


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_right_and_how_far_rounding_takes_it_are_those_of_the_reference(name):
    for arguments in questions(name, 10):
        answers = each(getattr(reference, name)(*arguments))
        bounds = slack(name, arguments, DEFAULTS[name], everywhere(name, "float64"))
        for answer, exact, allowed in zip(answers, right(name, arguments, DEFAULTS[name]), bounds, strict=True):
            assert (np.abs(np.asarray(answer, dtype=float) - exact) <= allowed).all()


@pytest.mark.parametrize("name", [name for name in ANSWERS if hasattr(torch_autograd, name)])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_honest_answers_are_explained(name, precision):
    given = [tuple(map(narrow, one)) if precision == "float32" else one for one in questions(name, 10)]
    calls = [seen(name, arguments, getattr(torch_autograd, name), precision) for arguments in given]
    assert of_operation(calls).holds


HONEST = {name: [one for one in VARIANTS if one.operation == name and "bfloat16" not in str(one)] for name in ANSWERS}
"""Implementations that are written another way, but for those that round on the way to less than they are given."""


@pytest.mark.parametrize("variant", [one for of in HONEST.values() for one in of[:: len(of) // 5 + 1]], ids=str)
def test_honest_answers_in_another_way_are_explained(variant):
    calls = []
    for arguments in questions(variant.operation, 6):
        with (
            contextlib.suppress(NotImplementedError),
            np.errstate(all="ignore"),
            warnings.catch_warnings(action="ignore"),
        ):
            calls.append(seen(variant.operation, list(map(narrow, arguments)), variant.implementation, "float32"))
    judged = [call for call in calls if all(np.isfinite(part).all() for part in call.results.values())]
    assert judged
    assert of_operation(judged).holds


FAULTS = [fault for fault in museum().values() if fault.operation in ANSWERS]


def test_most_faults_show_in_recorded_answers():
    """A quarter needs what no plain batch holds: NaN under a mask, numbers at the end of the range, odd layouts."""
    shown = []
    for fault in FAULTS:
        with np.errstate(all="ignore"):
            asked = questions(fault.operation, 20)
            shown.append(any(not _explained(fault.operation, arguments, fault) for arguments in asked))
    assert sum(shown) > 0.7 * len(shown)


def _explained(name, arguments, fault):
    try:
        call = seen(name, arguments, fault.implementation, "float64")
    except (ValueError, TypeError, NotImplementedError, ArithmeticError, IndexError):
        return False  # as a training run would have noticed
    if any(
        part.shape != np.shape(is_)
        for part, is_ in zip(call.results.values(), right(name, arguments, DEFAULTS[name]), strict=True)
    ):
        return False
    return explains(call, DEFAULTS[name])


RNG = np.random.default_rng(0)


def rollout(rows=3, steps=12):
    values = RNG.normal(size=(rows, steps + 1)).round(2)
    truncated = np.zeros((rows, steps), dtype=bool)
    truncated[1, 4] = True
    following = np.where(truncated, 7.0, values[:, 1:])
    return (
        RNG.normal(size=(rows, steps)).round(2),
        values[:, :-1],
        following,
        np.zeros((rows, steps), dtype=bool),
        truncated,
    )


def without_truncations(rewards, values, next_values, terminated, truncated, gamma, lam):
    return reference.gae(rewards, values, next_values, terminated | truncated, truncated, gamma, lam)


def test_the_smallest_part_that_shows_a_mistake_is_cut_out_of_the_batch():
    call = seen("gae", (*rollout(), 0.5, 1.0), without_truncations, "float64")
    finding = of_operation([call])
    assert not finding.holds
    assert finding.excerpt.cut
    assert finding.excerpt.call.named["truncated"].tolist() == [[True]]
    assert "the fault `truncation-as-termination`" in mistake(finding)


def test_what_no_call_has_shown_is_said():
    arrays = rollout()
    nowhere = np.zeros_like(arrays[-1])
    call = seen("gae", (*arrays[:3], nowhere, nowhere, 0.5, 1.0), reference.gae, "float64")
    finding = of_operation([call])
    assert finding.holds
    assert {"a truncation inside a row", "a termination inside a row"} <= set(finding.unseen)


@pytest.mark.parametrize("name", PLAIN_QUESTIONS)
def test_what_is_special_is_seen_in_calls_of_every_operation(name):
    operation = OPERATIONS[name]
    for arguments in questions(name, 3):
        assert set(features_of(operation, dict(zip(operation.parameters, arguments, strict=True)))) <= FEATURES.keys()


def test_a_flag_for_each_transition_is_none_of_steps_inside_a_row():
    assert "a termination inside a row" in possible(OPERATIONS["gae"])
    assert "a termination inside a row" not in possible(OPERATIONS["sarsa_target"])


def test_choices_are_found_with_their_numbers_and_what_cannot_be_told_apart_is_said():
    rewards, groups = np.array([1.0, 0.0, 0.25, 3.0]), np.array([0, 0, 1, 1])
    call = seen("group_advantages", (rewards, groups, "mean", "std"),
                lambda *a: reference.group_advantages(*a, std="ddof=1", eps="std + 3e-5"), "float64")  # fmt: skip
    finding = of_operation([call])
    assert finding.holds
    assert finding.chosen["group_advantages.eps"] == "std + 3e-5"
    assert finding.alike["group_advantages.alone"] == ["its reward"]


def test_a_declared_choice_is_held_to():
    rewards, groups = np.array([1.0, 0.0, 0.25, 3.0, 7.0]), np.array([0, 0, 1, 1, 1])
    call = seen("group_advantages", (rewards, groups, "mean", "std"), reference.group_advantages, "float64")
    assert of_operation([call]).holds
    assert not of_operation([replace(call, conventions={"group_advantages.std": "ddof=0"})]).holds


def test_a_call_that_is_too_large_for_exact_arithmetic_is_not_judged():
    logits = np.zeros((1, 2, 60_000))
    call = seen("token_logp", (logits, np.zeros((1, 2), dtype=int), 1.0), reference.token_logp, "float64")
    finding = of_operation([call])
    assert not finding.wrong
    assert finding.why_not == "each recorded call has more than 100,000 numbers; record a smaller batch"


def test_a_loss_without_its_gradient_is_judged_as_well():
    [arguments] = questions("ppo_loss", 2)[1:]
    loss, _ = reference.ppo_loss(*arguments)
    call = Seen(OPERATIONS["ppo_loss"], arguments, {"loss": np.asarray(-loss)}, "float64", {}, "here", 0)
    finding = of_operation([call])
    assert not finding.holds
    assert "loss" in mistake(finding)


@pytest.fixture
def recordings(tmp_path):
    """A file with one right and one wrong operation."""
    rlspec.record_to(tmp_path / "run.safetensors", every=1)
    names = ("rewards", "values", "next_values", "terminated", "truncated")
    arrays = dict(zip(names, rollout(), strict=True))
    rlspec.observe("gae", **arrays, gamma=0.5, lam=1.0, result=without_truncations(*arrays.values(), 0.5, 1.0))
    rlspec.observe("discounted_return", rewards=np.ones((1, 2)), gamma=0.5, result=np.array([1.5]))
    rlspec.stop_recording()
    return tmp_path


def test_the_command_prints_what_is_wrong_and_writes_it(recordings, capsys):
    files = {"json": recordings / "found.json", "adapter": recordings / "adapter.py"}
    options = [part for name, file in files.items() for part in (f"--{name}", str(file))]
    assert main(["audit", str(recordings), *options]) == 1
    printed = capsys.readouterr().out
    assert "gae: WRONG in 1 of 1 recorded call\n" in printed
    assert "`truncation-as-termination`" in printed
    assert "discounted_return: holds on 1 recorded call" in printed
    record = json.loads(files["json"].read_text())
    assert {name: one["verdict"] for name, one in record["operations"].items()} == {
        "gae": "violated", "discounted_return": "holds"}  # fmt: skip
    compile(files["adapter"].read_text(), "adapter.py", "exec")


@pytest.mark.parametrize(
    ("name", "said"), [("none.safetensors", "there is no file"), ("", "holds no file"), ("run.txt", "is none of")]
)
def test_the_command_says_in_one_line_what_it_cannot_read(name, said, tmp_path, capsys):
    assert main(["audit", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pt"])
@pytest.mark.parametrize(("content", "said"), [(b"", "it is empty"), (b"abc", "it is cut off, or is no")])
def test_a_file_that_is_not_whole_is_said_to_be_so(kind, content, said, tmp_path, capsys):
    (tmp_path / f"run.{kind}").write_bytes(content)
    assert main(["audit", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_a_rank_whose_file_is_not_whole_keeps_no_other_from_being_judged(tmp_path, capsys):
    rlspec.record_to(tmp_path / "run-rank0.safetensors")
    rlspec.observe("discounted_return", rewards=np.ones((1, 2)), gamma=0.5, result=np.array([1.5]))
    rlspec.stop_recording()
    whole = (tmp_path / "run-rank0.safetensors").read_bytes()
    (tmp_path / "run-rank1.safetensors").write_bytes(whole[:-10])
    assert main(["audit", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "run-rank1.safetensors cannot be read: it is cut off" in told.err
    assert "discounted_return: holds on 1 recorded call" in told.out


def test_an_adapter_of_a_mistake_holds_the_numbers_that_show_it():
    finding = of_operation([seen("gae", (*rollout(), 0.5, 1.0), without_truncations, "float64")])
    space = {}
    exec(as_adapter(finding), space)
    answer = reference.gae(**space["ARGUMENTS"])
    np.testing.assert_allclose(answer, space["EXPECTED"][""])
    assert (np.abs(answer - space["RECORDED"][""]) > 1).all()


def test_an_operation_that_cannot_be_audited_is_said_to_be_none():
    honest = seen("gae", (*rollout(), 0.5, 1.0), reference.gae, "float64")
    call = replace(honest, operation=OPERATIONS["state_values"])
    finding = of_operation([call])
    assert isinstance(finding, Finding)
    assert not finding.holds
    assert "state_values cannot be audited" in finding.why_not


def in_bfloat16(numbers):
    return torch.tensor(numbers).to(torch.bfloat16).float().numpy()


@pytest.mark.parametrize("seed", range(3))
def test_parts_that_were_averaged_by_themselves_are_told_in_bfloat16(seed):
    draw = np.random.default_rng(seed)
    logp, advantages = in_bfloat16(-8 * draw.random((12, 9))), in_bfloat16(draw.standard_normal(12))
    old = in_bfloat16(logp + draw.uniform(-0.1, 0.1, (12, 9)))
    mask = np.arange(9) < np.repeat([9, 8, 7], 4)[:, None]
    given = (logp, old, logp, advantages, np.arange(12) // 3, mask, 0.5, 0.5, 0.0)
    rows = [slice(0, 4), slice(4, 8), slice(8, 12)]
    terms = -advantages[:, None] * np.exp(logp - old) * mask
    gradient = np.concatenate([terms[of] / mask[of].sum() / 3 for of in rows])
    call = Seen(OPERATIONS["dapo_loss"], given, {"d_logp": in_bfloat16(gradient)}, "bfloat16", {}, "here", 0)
    assert "not weighed by how much they have" in mistake(of_operation([call]))


def test_parts_that_were_averaged_by_themselves_are_told_by_the_choices_that_make_them_fewest():
    draw = np.random.default_rng(0)
    logp = -draw.random((16, 5))
    mask = np.arange(5) < draw.integers(1, 6, 16)[:, None]
    groups, advantages = np.arange(16) // 4, draw.standard_normal(16)
    given = (logp, logp, logp, advantages, groups, mask, 0.2, 0.2, 0.0)
    rows = [slice(0, 6), slice(6, 12), slice(12, 16)]
    gradient = np.concatenate([-(advantages[:, None] * mask)[of] / mask[of].sum() / 3 for of in rows])
    call = Seen(OPERATIONS["dapo_loss"], given, {"d_logp": gradient}, "float64", {}, "here", 0)
    ways = [DEFAULTS["dapo_loss"] | {"dapo_loss.reduction": way} for way in ("mean of group token-means", "token-mean")]
    taken, weights = fewest_parts([call], ways)
    assert (taken["dapo_loss.reduction"], weights.parts) == ("token-mean", 3)
    assert [f"rows {of.start} to {of.stop - 1}" in weights.words for of in rows] == [True] * 3
    assert mistake(of_operation([call])) == weights.words
