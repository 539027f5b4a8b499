"""What ``rlspec check`` prints: the mistake first, once, on a page that fits the terminal."""

import re

import pytest
from adapter_sources import HONEST

from rlspec.__main__ import main
from rlspec.page import blocks
from rlspec.spec.operations import OPERATIONS
from rlspec.verdicts import Outcome
from rlspec.worked import INDEX, upright

UNDISCOUNTED = HONEST.replace("gamma * following", "following")

RET = "discounted_sum_of_what_follows or taking_the_first_reward or the_td_error_is_reward_plus"


@pytest.fixture
def page(tmp_path, capsys, monkeypatch):
    """The status of ``rlspec check`` on a source, and the lines that it prints."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def checking(source, *arguments, select=RET):
        (tmp_path / "adapter.py").write_text(source)
        capsys.readouterr()
        status = main(["check", "adapter.py", "--jobs=0", *arguments, "-k", select])
        return status, capsys.readouterr().out.splitlines()

    return checking


# The page


def test_the_places_along_every_axis_have_a_name():
    axes = [of for operation in OPERATIONS.values() for of in operation.axes.values()]
    assert {of[-1] for of in axes if of} <= INDEX.keys()


UNRAISED = """
def sampling_probabilities(priorities, alpha):
    return priorities / priorities.sum()
"""


def test_slots_have_a_table_too(page):
    status, lines = page(UNRAISED, select="as_the_powers_of")
    assert status == 1
    assert any(line.split()[:1] == ["slot"] for line in lines)


def test_an_error_of_rlspec_itself_is_said(page, monkeypatch):
    monkeypatch.setattr("rlspec.report.worked", None)
    status, lines = page(UNRAISED, select="as_the_powers_of")
    assert status == 3
    said = " ".join(" ".join(lines).split())
    assert "rlspec itself has failed; what was not judged by then is untested. TypeError: 'NoneType' object" in said


def test_the_mistake_comes_first_and_then_the_input_and_the_clauses(page):
    status, lines = page(UNDISCOUNTED)
    said = [line.strip() for line in lines if line.strip()]
    assert status == 1
    assert said[1] == "reward_to_go is wrong"
    assert said[2].startswith("It behaves exactly as if `gamma` were 1")
    text = " ".join(" ".join(said).split())
    assert text.count("It behaves exactly") == 1
    assert text.index("The smallest input") < text.index("expected") < text.index("It breaks RET-2, RET-3.")
    assert re.search(r"td_error holds: 1 clause, \d+ answers", text)
    assert said[-2] == f"absent: {len(OPERATIONS) - 2} of {len(OPERATIONS)} operations"
    assert said[-1].startswith("clauses: 1 hold, 2 violated, ")


def test_what_is_right_takes_a_line(page):
    status, lines = page(HONEST)
    assert status == 0
    assert [re.sub(r"\d+ answers", "N answers", line) for line in lines if line][1:3] == [
        "reward_to_go  holds: 2 clauses, N answers",
        "td_error      holds: 1 clause, N answers",
    ]


@pytest.mark.parametrize("more", [[], ["--all"]])
def test_every_line_fits_the_terminal(page, more):
    _, lines = page(UNDISCOUNTED, *more)
    assert max(map(len, lines)) <= 80


def test_every_clause_is_shown_on_request(page):
    _, lines = page(UNDISCOUNTED, "--all")
    text = " ".join(" ".join(lines).split())
    assert "RET-2 " in text
    assert "RET-3 " in text
    assert text.count("The smallest input that was found") >= 2
    assert "clause by clause" in text
    assert "n_step_return" in text  # by name, among the absent ones


def test_a_known_failure_is_said_to_be_one(page):
    status, lines = page("KNOWN_FAILURES = {'RET-2': 'issue 1', 'RET-3': 'issue 2'}\n" + UNDISCOUNTED)
    text = " ".join(" ".join(lines).split())
    assert status == 0
    assert "reward_to_go is wrong, as KNOWN_FAILURES says" in text
    assert "It breaks RET-2 (known: issue 1), RET-3 (known: issue 2)." in text


def test_arguments_that_ask_for_pytests_output_get_it(page):
    _, lines = page(HONEST, "--collect-only")
    assert any("test_the_td_error_is_reward_plus" in line for line in lines)


def test_an_expression_that_pytest_refuses_is_said_as_pytest_says_it(page, capsys, tmp_path):
    (tmp_path / "adapter.py").write_text(HONEST)
    assert main(["check", "adapter.py", "--jobs=0", "-k", "and and"]) == pytest.ExitCode.USAGE_ERROR
    assert "Wrong expression" in "".join(capsys.readouterr())


def outcome(id, words, arguments="[[0]]", explained=True, **more):
    """A violation of a clause by ``gae``, with what explains it."""
    mistake = {"words": words, "explained": explained, "edited": True, "faults": []}
    evidence = {"operation": "gae", "arguments": {"rewards": arguments}, "diagnosis": [mistake], **more}
    return Outcome(f"test_{id}", (id,), "violated", message=f"{id} is broken", evidence=evidence)


def test_one_mistake_is_one_block_and_shown_on_its_smallest_input():
    found = blocks([
        outcome("ADV-7", "as if b", "[[1, 2, 3]]", expected="1"),
        outcome("ADV-2", "as if b", "[[1, 2]]", expected="1"),
        outcome("ADV-9", "as if b"),
        outcome("ADV-3", "as if c"),
    ])  # fmt: skip
    assert [block.ids for block in found] == [["ADV-2", "ADV-7", "ADV-9"], ["ADV-3"]]
    assert found[0].plainest.clauses == ("ADV-2",)  # of those that say what was expected


def test_all_that_nothing_explains_is_one_block_and_comes_last():
    found = blocks([
        outcome("ADV-2", "time is shifted", explained=False),
        outcome("ADV-4", "rows mix", explained=False),
        outcome("ADV-3", "as if c"),
    ])  # fmt: skip
    assert [block.ids for block in found] == [["ADV-3"], ["ADV-2", "ADV-4"]]


def test_what_only_should_be_kept_comes_after_what_must():
    found = blocks([outcome("OPS-9", "as if b"), outcome("ADV-2", "time is shifted", explained=False)])
    assert [block.ids for block in found] == [["ADV-2"], ["OPS-9"]]


SHARED = """
import numpy as np


def mean(values, mask):
    return np.where(mask, values, 0).mean()


def approx_kl(logp, old_logp, mask):
    x = np.where(mask, old_logp - logp, 0)
    return mean(np.exp(-x) - 1 + x, mask)


def clip_fraction(logp, old_logp, advantages, mask, clip_low, clip_high):
    ratio = np.exp(np.where(mask, logp - old_logp, 0))
    return mean((ratio < 1 - clip_low) | (ratio > 1 + clip_high), mask)
"""


def test_a_mistake_that_several_operations_make_is_told_once(page):
    status, lines = page(SHARED, select="approximate_divergence_is or clip_fraction_is")
    said = " ".join(" ".join(lines).split())
    assert status == 1
    assert said.count("as if the result were divided by the number of places") == 1
    assert "The same mistake shows in clip_fraction." in said
    assert "The same mistake as in approx_kl. It breaks PPO-35" in said


ENDED = """
def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    ended = terminated | truncated
    deltas, advantages = rewards + gamma * next_values * (1 - ended) - values, 0.0 * rewards
    for t in reversed(range(rewards.shape[1])):
        following = advantages[:, t + 1] if t + 1 < rewards.shape[1] else 0.0
        advantages[:, t] = deltas[:, t] + gamma * lam * (1 - ended[:, t]) * following
    return advantages
"""


def test_a_known_mistake_that_is_made_together_with_another_one_is_told_once(page):
    _, lines = page(ENDED, select="ADV-3 or ADV-9")
    text = " ".join(" ".join(lines).split())
    assert "gae is wrong: 2 mistakes" in text
    assert [text.count(f"{slug}, ") for slug in ("truncation-as-termination", "nan-across-episodes")] == [1, 1]


def test_a_table_that_is_too_wide_is_turned_and_goes_on_below():
    table = ["step  rewards  terminated", "   0        1         yes", "   1      1/2            "]
    assert upright(table, 30) == ["step          0    1", "rewards       1  1/2", "terminated  yes   no"]
    first, second = upright(table, 16)[:3], upright(table, 16)[3:]
    assert first == ["step          0", "rewards       1", "terminated  yes"]
    assert second == ["", "step          1", "rewards     1/2", "terminated   no"]


# No command


def test_without_a_command_there_is_an_overview_with_three_examples(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert said.count("  python -m rlspec ") == 3
    assert max(map(len, said.splitlines())) <= 80
    assert all(name in said for name in ("check", "distinguish", "ledger"))
    with pytest.raises(SystemExit):
        main(["chekc"])
