"""What is recorded of a training run, and that recording never gets in its way."""

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import rlspec
from rlspec import recording, watching
from rlspec.__main__ import main
from rlspec.recorded import NotRead, load

ROLLOUT = {
    "rewards": np.ones((2, 3)),
    "values": np.zeros((2, 3)),
    "next_values": np.zeros((2, 3)),
    "terminated": np.zeros((2, 3), dtype=bool),
    "truncated": np.zeros((2, 3), dtype=bool),
    "gamma": 0.5,
    "lam": 0.5,
}


@pytest.fixture
def file(tmp_path):
    """Where to; recording ends with the test."""
    yield tmp_path / "run.safetensors"
    rlspec.stop_recording()


def recorded(file):
    """What is in the file once recording has ended."""
    rlspec.stop_recording()
    return load(file)


def observed(result=ROLLOUT["rewards"], **changed):
    rlspec.observe("gae", **ROLLOUT | changed, result=result)


def test_nothing_is_recorded_before_it_is_said_where_to(tmp_path):
    observed()
    assert recording._recorder is None
    assert not list(tmp_path.iterdir())


def test_a_call_comes_back_as_it_was(file):
    rlspec.record_to(file)
    rewards = np.arange(6.0).reshape(2, 3)
    observed(rewards=rewards, result=2 * rewards)
    rewards[:] = -1  # a trainer uses its buffers again
    [call] = recorded(file)
    np.testing.assert_array_equal(call.named["rewards"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(call.results[""], [[0, 2, 4], [6, 8, 10]])
    assert (call.named["gamma"], call.precision, call.number) == (0.5, "float64", 0)


def test_every_so_many_th_call_is_kept_and_a_few_of_each_unusual_kind(file):
    rlspec.record_to(file, every=10)
    for number in range(40):
        observed(terminated=np.full((2, 3), number in (12, 13, 14, 15, 16)))
    assert [call.number for call in recorded(file)] == [0, 1, 2, 10, 12, 13, 14, 20, 30]  # ends are cut off in 1 and 2


def test_axes_are_put_in_order_and_a_single_row_is_a_batch_of_one(file):
    rlspec.record_to(file, every=1)
    turned = {name: value.T if isinstance(value, np.ndarray) else value for name, value in ROLLOUT.items()}
    rlspec.observe("gae", axes="T B", **turned, result=np.arange(6).reshape(3, 2))
    one = {name: value[0] if isinstance(value, np.ndarray) else value for name, value in ROLLOUT.items()}
    rlspec.observe("gae", axes="T", **one, result=np.arange(3))
    first, second = recorded(file)
    np.testing.assert_array_equal(first.results[""], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(second.results[""], [[0, 1, 2]])


def test_tensors_are_kept_with_the_gradient_of_a_loss_and_the_type_that_they_had(file):
    rlspec.record_to(file)
    logp = torch.tensor([-1.0, -2.0], dtype=torch.bfloat16, requires_grad=True)
    loss = -(logp * torch.tensor([3.0, 5.0])).mean()
    rlspec.observe("policy_gradient_loss", logp=logp, advantages=torch.tensor([3.0, 5.0]), result=loss)
    loss.backward()  # as the trainer goes on to do
    [call] = recorded(file)
    np.testing.assert_array_equal(call.results["d_logp"], [[-1.5, -2.5]])
    np.testing.assert_array_equal(call.named["mask"], [[True, True]])
    assert (float(call.results["loss"]), call.precision) == (6.5, "bfloat16")


def test_the_gradient_in_a_copy_that_the_loss_does_not_come_from_is_not_recorded_as_nought(file):
    rlspec.record_to(file)
    logp = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    loss = -(logp * torch.tensor([[3.0, 5.0]])).mean()
    rlspec.observe("policy_gradient_loss", logp=logp[:], advantages=torch.tensor([[3.0, 5.0]]), result=loss)
    [call] = recorded(file)
    assert call.results.keys() == {"loss"}


def test_names_of_groups_may_be_texts_and_limits_may_be_left_out(file):
    rlspec.record_to(file, every=1)
    rlspec.observe("group_advantages", rewards=np.array([1.0, 0.0]), groups=np.array(["a", "b"]), baseline="mean",
                   scale="std", result=np.zeros(2))  # fmt: skip
    rlspec.observe("value_loss", values=np.ones(2), old_values=np.ones(2), returns=np.ones(2), result=0.0)
    groups, values = recorded(file)
    assert groups.named["groups"].tolist() == ["a", "b"]
    assert values.named["clip"] is None


def test_a_decorator_and_a_block_record_as_well(file):
    rlspec.record_to(file, every=1)

    @rlspec.record("discounted_return", names={"discount": "gamma"})
    def total(rewards, discount=0.5):
        return rewards @ discount ** np.arange(rewards.shape[1])

    assert total(np.ones((1, 2))).tolist() == [1.5]
    with rlspec.record("discounted_return", rewards=np.ones((1, 2)), gamma=0.5) as call:
        call.result = np.array([1.5])
    assert [call.results[""].tolist() for call in recorded(file)] == [[1.5], [1.5]]


@pytest.mark.parametrize(
    ("operation", "given", "said"),
    [
        ("gaee", {}, "there is no operation 'gaee'"),
        ("gae", {"rewards": np.ones((2, 3))}, "lacks values, next_values, terminated, truncated, gamma, lam"),
        ("gae", ROLLOUT | {"done": 1}, "has no argument done"),
        ("gae", ROLLOUT | {"values": np.ones((2, 3, 1))}, "values has 3 axes"),
        ("gae", ROLLOUT | {"values": object()}, "values"),
    ],
)
def test_what_cannot_be_recorded_is_said_once_and_training_goes_on(operation, given, said, file, caplog):
    rlspec.record_to(file)
    with caplog.at_level(logging.WARNING, "rlspec"):
        for _ in range(3):
            rlspec.observe(operation, **given, result=np.ones((2, 3)))
    assert len(caplog.records) == 1
    assert said in caplog.text


LOOKS = Counter()


class OnADevice:
    """A tensor on an accelerator, of which every look costs a synchronisation."""

    device = SimpleNamespace(type="cuda")
    dtype = np.dtype("float32")
    ndim = 2
    shape = (2, 3)

    def __array__(self, *_, **__):
        LOOKS["array"] += 1
        return np.zeros((2, 3), dtype=np.float32)

    def _synchronised(self, *_):
        LOOKS["other"] += 1
        raise AssertionError("nothing of this is to be asked")

    item = cpu = numpy = tolist = __bool__ = __len__ = __iter__ = __float__ = __eq__ = __lt__ = _synchronised
    __hash__ = object.__hash__


def test_nothing_on_a_device_is_looked_at_in_calls_that_are_not_kept(file):
    rlspec.record_to(file, every=10)
    LOOKS.clear()
    for number in range(20):
        arrays = {name: OnADevice() for name, value in ROLLOUT.items() if isinstance(value, np.ndarray)}
        rlspec.observe("gae", **ROLLOUT | arrays, result=OnADevice())
        assert {"array": 6 if number < 10 else 12} == LOOKS  # five arguments and the result, in calls 0 and 10
    assert len(recorded(file)) == 2


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"gamma": object()}, "gamma is of type object; a number or a text was expected"),
        ({"gamma": np.array([0.5, 0.5])}, "gamma has several numbers; one was expected"),
        ({"result": np.ones((2, 2))}, "the result has 2 along the axis T, and rewards has 3"),
        ({"values": np.zeros((1, 3))}, "values has 1 along the axis B, and rewards has 2"),
        ({"conventions": {"bootstrapp": "x"}}, "gae has no convention bootstrapp; it has none"),
    ],
    ids=["no number", "several numbers", "a short result", "few rows", "a misspelt convention"],
)
def test_one_call_that_makes_no_sense_spoils_no_other(told, said, file, caplog):
    rlspec.record_to(file, every=1)
    with caplog.at_level(logging.WARNING, "rlspec"):
        observed(**told)
    observed()
    assert said in caplog.text
    assert len(recorded(file)) == 1


def test_a_function_whose_parameters_are_not_known_is_left_as_it_is(file, caplog):
    rlspec.record_to(file)
    assert rlspec.record("reward_to_go")(max) is max
    assert "the parameters of <built-in function max> are not known" in caplog.text


def test_names_of_a_functions_own_raise_nothing(file, caplog):
    rlspec.record_to(file, every=1)

    @rlspec.record("discounted_return", names={"result": "rewards", "axes": "gamma"})
    def total(result, axes):
        return result @ axes ** np.arange(result.shape[1])

    assert total(np.ones((1, 2)), 0.5).tolist() == [1.5]
    rlspec.observe("discounted_return", rewards=np.ones((1, 2)), gamma=0.5)
    assert "has no result" in caplog.text
    assert len(recorded(file)) == 1


RANK = """
import sys
import numpy as np
import rlspec

rlspec.record_to(sys.argv[1], every=1)
rlspec.observe("discounted_return", rewards=np.ones((1, 2)), gamma=0.5, result=np.array([1.5]))
"""


def test_processes_that_write_at_once_have_a_file_each_and_are_audited_together(tmp_path, capsys):
    command = [sys.executable, "-c", RANK, str(tmp_path / "run.safetensors")]
    ranks = [subprocess.Popen(command, env={**os.environ, "WORLD_SIZE": "3", "RANK": str(rank)}) for rank in range(3)]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0, 0]
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"run-rank{rank}.safetensors" for rank in range(3)]
    assert main(["audit", str(tmp_path)]) == 0
    assert "discounted_return: holds on 3 recorded calls" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_said_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    rlspec.record_to(tmp_path / "file" / "run.safetensors")
    observed()
    with caplog.at_level(logging.WARNING, "rlspec"):
        rlspec.stop_recording()
    assert "cannot be written" in caplog.text


def test_each_rank_has_its_own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        rlspec.record_to(tmp_path / "run.safetensors")
        observed()
        rlspec.stop_recording()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run-rank0.safetensors", "run-rank1.safetensors"]
    assert [call.file for call in load(tmp_path)] == ["run-rank0.safetensors", "run-rank1.safetensors"]


def test_a_process_that_was_forked_records_nothing(file):
    rlspec.record_to(file, every=1)
    observed()
    if not (child := os.fork()):
        observed()
        os._exit(len(recording._recorder.calls) - 1)  # those that it has of its own
    assert os.waitpid(child, 0)[1] == 0
    assert len(recorded(file)) == 1


def test_recording_ends_when_it_has_what_it_may_have(file):
    rlspec.record_to(file, every=1, megabytes=0.001)
    for _ in range(20):
        observed()
    assert len(recorded(file)) < 10


def test_recording_rests_when_it_has_taken_its_share_of_the_time(file):
    rlspec.record_to(file, every=1)
    recording._recorder.spent = 10.0  # in a run that has just begun
    observed()
    assert recording._recorder.calls == []


def test_one_call_may_come_from_numpy_or_torch(tmp_path):
    arrays = {**ROLLOUT, "operation": "gae", "result": np.ones((2, 3))}
    np.savez(tmp_path / "call.npz", **arrays)
    as_tensors = {name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                  for name, value in arrays.items()}  # fmt: skip
    torch.save(as_tensors, tmp_path / "call.pt")
    for call in load(tmp_path):
        assert call.operation.name == "gae"
        assert call.results[""].tolist() == [[1, 1, 1], [1, 1, 1]]


class Dangerous:
    """What runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("exit 3",)


def test_a_file_of_torch_with_more_than_weights_is_refused_in_a_line(tmp_path):
    torch.save({"operation": Dangerous()}, tmp_path / "call.pt")
    with pytest.raises(NotRead, match=r"call\.pt holds more than tensors, numbers and texts, and nothing else is read"):
        load(tmp_path / "call.pt")


def test_what_is_no_recording_is_refused_in_words(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    np.savez(tmp_path / "other.npz", operation="gaee")
    for name, said in (("broken.safetensors", "cannot be read"), ("other.npz", "operation is 'gaee'"),
                       ("none.npz", "there is no file"), ("run.csv", "is none of")):  # fmt: skip
        with pytest.raises(NotRead, match=said):
            load(tmp_path / name)


class Writer:
    """What stands for TensorBoard's."""

    def __init__(self):
        self.texts = []

    def add_text(self, tag, text, step):
        """Keep what TensorBoard would show."""
        self.texts.append((tag, text, step))


def test_a_run_that_is_watched_is_told_once_what_is_wrong(file, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(watching, "PAUSE", 0.05)
    writer, lines = Writer(), tmp_path / "said.jsonl"
    rlspec.record_to(file, every=1)
    rlspec.watch(every=1, lines=lines, writer=writer)
    end = time.monotonic() + 120
    with caplog.at_level(logging.ERROR, "rlspec"):
        while not lines.exists() and time.monotonic() < end:
            rlspec.observe("discounted_return", rewards=np.ones((1, 2)), gamma=0.5, result=np.array([3.5]))
            time.sleep(0.1)
    rlspec.stop_recording()
    [line] = map(json.loads, lines.read_text().splitlines())
    assert line["operation"] == "discounted_return"
    [(tag, text, _)] = writer.texts
    assert (tag, text.partition(":")[0]) == ("rlspec", "discounted_return is wrong")
    assert "discounted_return is wrong" in caplog.text


def test_watching_needs_a_recording(caplog):
    rlspec.watch()
    assert "rlspec.record_to says first" in caplog.text
