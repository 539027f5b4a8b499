"""The ledger: its numbers by hand, what it makes of files, and what it refuses."""

import json
import subprocess
import sys
from fractions import Fraction

import pytest

from rlspec import __main__, ledger, processes
from rlspec.ledger import Asked, read
from rlspec.processes import NAMED, Setting
from rlspec.reference import moments
from rlspec.reference.decision_process import TabularMDP

HALF = Fraction(1, 2)
CHOICE = Setting(TabularMDP([[[1], [1]]], [[1, 0]], [1], 1, 1), [[HALF, HALF]], [[0]])
WELL = {"transition": [[[1], [1]]], "reward": [[1, 0]], "initial": [1], "gamma": 1, "horizon": 1}


def entries(book):
    return {of.estimator: of for of in book.entries}


def written(folder, content):
    file = folder / "mdp.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def test_a_choice_between_one_and_nothing_by_hand():
    """grad J is (1/4, -1/4), the estimate (1/2, -1/2) or nothing; with the value 1/2 taken off it is always grad J."""
    book = ledger.ledger(CHOICE, Asked(groups=(2,), error=0.5))
    found = entries(book)
    assert book.gradient == pytest.approx(8**-0.5)
    assert found["reward-to-go"].variance == pytest.approx(1 / 8)
    assert found["reward-to-go - V(s)"].variance == found["reward-to-go - best constant"].variance == 0
    assert found["leave-one-out, N=2"].variance == pytest.approx(1 / 8)
    assert found["mean-centred, N=2"].variance == pytest.approx(1 / 32)
    assert found["mean-centred, N=2"].bias == pytest.approx(book.gradient / 2)
    assert found["mean-centred, N=2"].cosine == pytest.approx(1)
    # n estimates have the mean squared error 1/8 / n; half of |grad J|, squared, is 1/32.
    assert (found["reward-to-go"].needed, found["leave-one-out, N=2"].needed) == (4, 8)
    assert found["mean-centred, N=2"].needed is None
    assert book.complete


def test_a_critic_that_is_wrong_after_one_action_biases_the_first_step_alone():
    """After the first action nothing pays; a critic that expects 1 there credits it with that, for 1/2 (1/2, -1/2)."""
    mdp = TabularMDP([[[0, 1, 0], [0, 0, 1]], *[[[0, 1, 0]] * 2] * 2], [[0, 0]] * 3, [1, 0, 0], 1, 2)
    setting = Setting(mdp, [[HALF, HALF]] * 3, [[0, 1, 0]])
    found = entries(ledger.ledger(setting, Asked(lambdas=(0, 0.5, 1), steps=(1, 2), groups=())))
    assert found["GAE(0), critic"].bias == found["1-step, critic"].bias == pytest.approx(8**-0.5)
    assert found["GAE(0.5), critic"].bias == pytest.approx(8**-0.5 / 2)
    assert found["GAE(1), critic"].bias == found["2-step, critic"].bias == 0
    assert found["GAE(0), critic"].cosine is None  # grad J is 0
    assert found["GAE(0), critic"].needed is None


@pytest.mark.parametrize(
    "setting", [processes.bandit(), processes.chain(4, 6), processes.gridworld(2), processes.token_tree(2, 3)]
)
def test_the_ledger_agrees_with_rationals(setting):
    found = entries(ledger.ledger(setting, Asked(lambdas=(0, 1), steps=(1,), groups=(2,))))
    given = moments.process(setting.mdp, setting.policy)
    exact = moments.moments(given, moments.generalized(given, setting.critic, 0))
    assert found["GAE(0), critic"].variance == pytest.approx(float(exact.variance), rel=1e-12)
    if setting.mdp.horizon:
        pairs = moments.leave_one_out(moments.episodes(given), 2)
        assert found["leave-one-out, N=2"].variance == pytest.approx(float(pairs.variance), rel=1e-12)


def test_the_command_line_knows_the_processes_that_there_are():
    assert set(__main__.PROCESSES) == set(NAMED) == {
        name for name, value in vars(processes).items() if callable(value) and value.__module__ == processes.__name__
        and name.islower()
    }  # fmt: skip


def test_a_file_is_read_and_the_ledger_written(tmp_path, capsys):
    file = written(tmp_path, WELL | {"policy": [["1/2", 0.5]], "critic": [0.25], "behaviour": [[0.25, "3/4"]]})
    report = tmp_path / "ledger.json"
    assert __main__.main(["ledger", file, "--groups=2,3", "--lambdas=0,1", "--error=0.5", "--json", str(report)]) == 0
    shown, kept = capsys.readouterr(), json.loads(report.read_text())
    by_name = {of["estimator"]: of for of in kept["entries"]}
    assert kept["complete"] is True
    assert by_name["per-decision ratios"]["variance"] == pytest.approx(3 / 8)  # CRIT-10
    assert all(f"\n{name} " in shown.out for name in by_name)
    assert kept["horizons"] == [{"horizon": 1, "variance": {
        "whole return": 0.125, "reward-to-go": 0.125, "reward-to-go - V(s)": 0.0,
    }}]  # fmt: skip
    assert shown.err == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON: Expecting property name enclosed in double quotes, line 1, column 2"),
        ("[" * 100000, "has numbers too long or lists too deep to be a process"),
        ("1" * 5000, "has numbers too long or lists too deep to be a process"),
        ([], "an object with transition, reward, initial, gamma, horizon was expected, not a list"),
        ({"reward": [[1]]}, "transition, initial, gamma, horizon missing; an object with"),
        (WELL | {"rewards": 1}, "rewards not known; what may be added is policy, critic, behaviour"),
        (WELL | {"transition": [[[1, 0], [1, 0]]]}, "transition[0][0] has 2 entries where 1 were expected"),
        (WELL | {"transition": [[[0.5], [1]]]}, "transition[0][0] sums to 0.5; a distribution over next states must"),
        (WELL | {"transition": 7}, "transition is 7.0, not a sequence"),
        (WELL | {"transition": []}, "transition is empty"),
        (WELL | {"reward": [[1, None]]}, "reward[0][1] is null, not a finite number"),
        (WELL | {"reward": [[1, {"a": 1}]]}, "reward[0][1] is {\"a\": 1}, not a finite number"),
        (WELL | {"reward": [[True, 1]]}, "reward[0][0] is true, not a finite number"),
        (WELL | {"reward": [["1/0", 1]]}, "reward[0][0] is \"1/0\", not a finite number"),
        (WELL | {"reward": [["one", 1]]}, "reward[0][0] is \"one\", not a finite number"),
        (WELL | {"reward": [[10**400, 1]]}, "reward[0][0] is 1000000"),
        (json.dumps(WELL).replace("[1, 0]", "[NaN, 0]"), "reward[0][0] is NaN, not a finite number"),
        (json.dumps(WELL).replace("[1, 0]", "[1e999, 0]"), "reward[0][0] is Infinity, not a finite number"),
        (WELL | {"initial": [0.5]}, "initial sums to 0.5; a distribution over states must sum to 1"),
        (WELL | {"gamma": 2}, "gamma is 2.0; a discount lies in [0, 1]"),
        (WELL | {"gamma": None}, "gamma is null, not a finite number"),
        (WELL | {"horizon": None}, "gamma is 1 without a horizon"),
        (WELL | {"horizon": True}, "horizon is True, neither a whole number of actions nor null"),
        (WELL | {"horizon": 1.5}, "horizon is 1.5, neither a whole number of actions nor None"),
        (WELL | {"policy": [[1, 1]]}, "policy[0] sums to 2.0; a distribution over actions must sum to 1"),
        (WELL | {"policy": 1}, "policy is 1.0, not a sequence"),
        (WELL | {"critic": [1, 2]}, "critic has not the shape [1][1]"),
        (WELL | {"critic": 1}, "critic is not a list of numbers, one for each state"),
        (WELL | {"critic": [[1], 2]}, "critic is neither [S] nor [H][S]"),
        (WELL | {"critic": [[[1]]]}, "critic is neither [S] nor [H][S]"),
        (WELL | {"behaviour": [[1, 1]]}, "behaviour[0] sums to 2.0; a distribution over actions must sum to 1"),
        (WELL | {"behaviour": [[1, 0]]}, "behaviour[0][1] is 0 where policy[0][1] is 0.5; no ratio exists"),
        (WELL | {"reward": [[1e300, 0]]}, "whole return: the moments exceed float64"),
    ],
)  # fmt: skip
def test_what_is_no_process_is_refused_by_name_and_place(tmp_path, capsys, content, message):
    assert __main__.main(["ledger", written(tmp_path, content)]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_what_is_no_file_is_refused(tmp_path, capsys):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for what, message in (
        ("nothing.json", "there is no file nothing.json, and no process of that name; known: bandit, chain"),
        (str(tmp_path), "cannot be read: Is a directory"),
        (str(tmp_path / "binary.json"), "is not text in UTF-8"),
    ):
        assert __main__.main(["ledger", what]) == 2
        assert message in capsys.readouterr().err


def test_what_is_too_large_for_memory_is_refused_before_it_is_tried(monkeypatch):
    monkeypatch.setattr(ledger, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="1 states and 2 actions; the covariance of 2 parameters takes about 0 GiB"):
        ledger.ledger(CHOICE)


@pytest.mark.parametrize(
    "option", ["--lambdas=2", "--lambdas=", "--lambdas=nan", "--steps=0", "--steps=1.5", "--groups=1", "--error=0",
               "--error=nan", "--horizons=x", "--unknown"],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(option, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(["ledger", "bandit", option])
    assert ended.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_an_interruption_keeps_what_was_found(monkeypatch, tmp_path, capsys):
    def interrupted(known, size):
        raise KeyboardInterrupt

    monkeypatch.setattr(moments, "leave_one_out", interrupted)
    report = tmp_path / "ledger.json"
    assert __main__.main(["ledger", "bandit", "--json", str(report)]) == 130
    kept = json.loads(report.read_text())
    assert kept["complete"] is False
    assert kept["entries"][-1]["estimator"] == "1-step, critic"
    assert "interrupted; this is what was known" in capsys.readouterr().out


def test_without_matplotlib_a_plot_is_refused_in_plain_words(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert __main__.main(["ledger", "bandit", "--plot=x.png"]) == 2
    shown = capsys.readouterr()
    assert shown.err == "rlspec ledger: --plot needs matplotlib: pip install 'rlspec[plot]'\n"


def test_a_plot_is_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = tmp_path / "ledger.svg"
    assert __main__.main(["ledger", "chain", "--plot", str(file)]) == 0
    assert "<svg" in file.read_text()
    assert __main__.main(["ledger", "chain", "--plot", str(tmp_path / "ledger.strange")]) == 2
    assert "the plot cannot be written to" in capsys.readouterr().err


def test_a_check_does_not_wait_for_the_ledger():
    code = "import rlspec.__main__, sys; print('rlspec.ledger' in sys.modules, 'scipy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[0] == "False"


def test_an_unreadable_number_names_the_file(tmp_path):
    file = written(tmp_path, WELL | {"gamma": "half"})
    with pytest.raises(ValueError, match=r"mdp\.json: gamma is .half."):
        read(file)
