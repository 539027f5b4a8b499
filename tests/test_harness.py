"""What a candidate may do wrong, and what the harness says of it: a plain verdict each, and the run goes on."""

import json
import os
import re
import subprocess
import sys
from textwrap import dedent
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from adapter_sources import HONEST, TD_ERROR

from rlspec.__main__ import main
from rlspec.candidate import Candidate
from rlspec.properties.checking import Violation
from rlspec.spec.clauses import clauses
from rlspec.spec.operations import OPERATIONS
from rlspec.verdicts import VERDICTS, Outcome, judge

OPS_1 = "finite_real_numbers"
RET_2 = "discounted_sum_of_what_follows"
RET_3 = "taking_the_first_reward_away"
RET_5 = "gamma_zero_the_reward_to_go"
ADV_1 = "the_td_error_is_reward_plus"
ADV_3 = "truncation_is_a_cut"
TO_GO = "reward_to_go"

TRUNCATION_AS_TERMINATION = """
import numpy as np

def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    ended = terminated | truncated
    following, advantages = 0.0, []
    deltas = rewards + gamma * np.where(ended, 0, next_values) - values
    for delta, end in zip(deltas.T[::-1], ended.T[::-1]):
        following = delta + gamma * lam * np.where(end, 0, following)
        advantages.append(following)
    return np.stack(advantages[::-1], axis=1)
"""

BINDING = ("MUST", "LEMMA", "SHOULD")
"""The levels that a candidate is judged by."""


def properties(*names):
    """pytest's -k for the properties whose names contain one of these."""
    return ["-k", " or ".join(f"({name})" for name in names)]


@pytest.fixture
def write(tmp_path):
    """Write a candidate into a file; returns its path."""

    def writing(source, name="adapter.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        return str(file)

    return writing


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """Run ``rlspec check``: its exit status, what it printed, and what --verdicts wrote."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)

    def checking(what, *arguments):
        path, file = sys.path[:], tmp_path / "verdicts.json"
        file.unlink(missing_ok=True)
        capsys.readouterr()
        try:
            status = main(["check", what, f"--verdicts={file}", "--jobs=0", *arguments])
        finally:
            sys.path[:] = path
        said = json.loads(file.read_text()) if file.exists() else {"clauses": {}}
        found = {id: SimpleNamespace(**{"message": "", **verdict}) for id, verdict in said["clauses"].items()}
        captured = capsys.readouterr()
        return SimpleNamespace(
            status=status, text=" ".join(captured.out.split()), errors=captured.err, said=said, clauses=found,
            verdicts={id: one.verdict for id, one in found.items() if one.verdict != "untested"},
        )  # fmt: skip

    return checking


# Candidates that cannot be had


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_library", "needs the module 'no_such_library', which is not installed"),
        ("def reward_to_go(rewards, gamma:\n", "cannot be imported: SyntaxError: '(' was never closed"),
        (
            "x = 1\nraise RuntimeError('no licence')\n",
            "cannot be imported: RuntimeError: no licence (adapter.py:2)",
        ),
        ("raise SystemExit('needs a GPU')", "cannot be imported: SystemExit: needs a GPU (adapter.py:1)"),
        (
            "from json import no_such_name",
            "cannot be imported: ImportError: cannot import name 'no_such_name'",
        ),
    ],
    ids=["a module is missing", "syntax", "raises", "exits", "a name is missing"],
)
def test_a_candidate_that_cannot_be_imported_is_judged_nowhere_and_says_why(check, write, source, message):
    result = check(write(source), *properties(RET_2, ADV_1))
    assert result.status == 5
    assert result.verdicts == {}
    assert message in result.clauses["RET-2"].message
    assert message in result.clauses["ADV-1"].message
    assert message in result.text
    assert not re.search("Traceback|frozen|rlspec/", result.text)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nowhere/adapter.py", "there is no file nowhere/adapter.py"),
        ("adapter.txt/", "adapter.txt"),
        ("torch_autogard", "called 'torch_autogard'; did you mean torch_autograd?"),
        ("no_such_module", "called 'no_such_module'; rlspec ships areal, d3rlpy, gymnasium, "),
        ("no_such_package.adapter", "called 'no_such_package.adapter'; rlspec ships"),
        ("json.no_such_module", "'json.no_such_module'"),
    ],
)
def test_a_name_that_leads_nowhere_is_said_with_what_to_do(check, what, message):
    result = check(what, *properties(RET_2))
    assert result.status == 5
    assert result.verdicts == {}
    assert message in result.clauses["RET-2"].message


def test_a_file_named_like_a_library_that_is_missing_is_not_taken_for_a_misspelt_name(check, write):
    write("import no_such_library", "no_such_library.py")
    result = check("no_such_library.py", *properties(RET_2))
    assert "needs the module 'no_such_library', which is not installed" in result.clauses["RET-2"].message


def test_what_keeps_a_candidate_out_is_said_under_xdist_too(check, write):
    result = check(write("import no_such_library"), "--jobs=2", *properties(RET_2, ADV_1))
    assert result.status == 5
    assert result.verdicts == {}
    assert "needs the module 'no_such_library', which is not installed" in result.text


def test_a_candidate_without_the_operations_is_absent_and_not_green(check, write):
    result = check(write("NAME = 'empty'"), *properties(TO_GO, ADV_1))
    assert result.status == 5
    assert set(result.verdicts.values()) == {"absent"}
    assert result.clauses["RET-2"].message == "empty has no reward_to_go"
    assert not re.search(r"\bhold", result.text)


def test_what_a_candidate_lacks_does_not_keep_the_rest_from_being_judged(check, write):
    result = check(write(HONEST.replace("def reward_to_go", "def _")), *properties(RET_2, ADV_1))
    assert result.status == 0
    assert result.verdicts == {"RET-2": "absent", "ADV-1": "holds"}


# Answers that cannot be used

REWARDS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

UNUSABLE = {
    "raises": ("raise ValueError('no shape')", "raised ValueError: no shape"),
    "exits": ("raise SystemExit('enough')", "raised SystemExit: enough"),
    "fails an assertion": ("assert False", "raised AssertionError"),
    "recurses": (
        "return reward_to_go(rewards, gamma)",
        "raised RecursionError: maximum recursion depth exceeded",
    ),
    "wrong arguments": ("return np.zeros(rewards)", "raised TypeError: "),
    "None": ("pass", "returned None; an array of shape (3, 2) was expected"),
    "rows only": ("return rewards[:, 0]", "returned shape (3,); an array of shape (3, 2) was expected"),
    "a column": ("return rewards[:, :1]", "returned shape (3, 1); an array of shape (3, 2) was expected"),
    "one number": ("return 0.0", "returned shape (); an array of shape (3, 2) was expected"),
    "time first": ("return rewards.T", "returned shape (2, 3); an array of shape (3, 2) was expected"),
    "ragged": ("return [[1.0], [1.0, 2.0]]", "returned a list that NumPy cannot read (ValueError: "),
    "text": ("return rewards.astype(str)", "returned numbers of type <U32, not real ones"),
    "complex": ("return rewards + 0j", "returned numbers of type complex128, not real ones"),
    "flags": ("return rewards > 0", "returned numbers of type bool, not real ones"),
    "objects": ("return rewards.astype(object)", "returned numbers of type object, not real ones"),
    "a dict": ("return {'returns': rewards}", "returned numbers of type object, not real ones"),
    "a graph": (
        "import torch; return torch.ones(3, 2, requires_grad=True)",
        "returned a Tensor that NumPy cannot read (RuntimeError: ",
    ),
    "NaN": ("return np.where(rewards == 4, np.nan, 0)", "returned nan at [1, 1] for finite arguments"),
    "infinity": ("return np.full(rewards.shape, -np.inf)", "returned -inf at [0, 0] for finite arguments"),
    "NaN everywhere": (
        "rewards /= 0; rewards -= rewards; return rewards",
        "returned nan at [0, 0] for finite arg",
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_unusable_answer_is_named_with_the_input_as_it_was_asked(what):
    body, message = UNUSABLE[what]
    names = {"np": np}
    exec(compile(f"def reward_to_go(rewards, gamma):\n    {body}\n", "<candidate>", "exec"), names)
    candidate = Candidate(SimpleNamespace(**names), "theirs")
    with pytest.raises(Violation, match=re.escape(f"reward_to_go {message}")) as unusable:
        candidate.demand(OPERATIONS["reward_to_go"], REWARDS.copy(), 0.5)
    shown, gamma = unusable.value.call.arguments
    np.testing.assert_array_equal(shown, REWARDS)
    assert gamma == 0.5
    assert candidate.answers == 0


@pytest.mark.parametrize(
    "answer", [[[3.0, 2.0]] * 3, np.ones((3, 2), np.float32), torch.ones(3, 2), np.eye(3, 2, dtype=int)]
)
def test_real_numbers_in_the_right_shape_are_an_answer_whatever_holds_them(answer):
    candidate = Candidate(SimpleNamespace(reward_to_go=lambda rewards, gamma: answer), "theirs")
    given = candidate.demand(OPERATIONS["reward_to_go"], REWARDS, 0.5)
    assert given.value.tolist() == (answer if isinstance(answer, list) else answer.tolist())
    assert candidate.answers == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no shape')", "reward_to_go raised ValueError: no shape (adapter.py:5)"),
        ("pass", "reward_to_go returned None; an array of shape (1, 1) was expected"),
        (
            "return rewards * np.nan",
            "reward_to_go returned nan at [0, 0] for finite arguments; an array of shape (1, 1)",
        ),
    ],
    ids=["raises", "None", "NaN"],
)
def test_an_unusable_answer_is_charged_to_its_clauses_and_the_run_goes_on(check, write, body, message):
    source = f"import numpy as np\n\n\ndef reward_to_go(rewards, gamma):\n    {body}\n" + TD_ERROR
    result = check(write(source), *properties(f"{OPS_1} and {TO_GO}", RET_2, ADV_1))
    assert result.status == 1
    assert result.verdicts == {"OPS-1": "violated", "ADV-1": "holds"}
    assert message in result.clauses["OPS-1"].message
    assert f"{message[:40]}" in result.clauses["RET-2"].message
    assert result.clauses["RET-2"].message.endswith(", as OPS-1 says")
    assert message in result.text


def test_a_name_that_is_no_function_is_no_answer(check, write):
    result = check(write("reward_to_go = 3"), *properties(f"{OPS_1} and {TO_GO}"))
    assert "reward_to_go raised TypeError: 'int' object is not callable" in result.clauses["OPS-1"].message


def test_a_call_without_an_answer_is_charged_once(check, write):
    source = HONEST.replace("    following,", "    if gamma == 0:\n        raise ZeroDivisionError\n    following,")
    result = check(write(source), *properties(TO_GO, RET_3))
    wrong = {id: one for id, one in result.clauses.items() if one.verdict == "violated"}
    assert wrong.keys() == {"RET-5"}
    assert wrong["RET-5"].message == "reward_to_go raised ZeroDivisionError (adapter.py:6)"
    assert wrong["RET-5"].property == "test_with_gamma_zero_the_reward_to_go_is_the_reward"
    assert result.clauses["OPS-1"].verdict == "untested"
    assert "what is wrong with reward_to_go is said by RET-5" in result.clauses["OPS-1"].message
    assert "real_numbers[reward_to_go]" not in result.text
    assert {"RET-2", "RET-3", "RET-4", "OPS-2", "OPS-5", "OPS-6"} <= {
        id for id, verdict in result.verdicts.items() if verdict == "holds"
    }


CRASHING = """
import numpy as np

def turn_sums(values, turns, mask):
    own = np.where(mask, turns, 0)
    sums = np.zeros((len(mask), int(own.max(initial=0)) ^ 1))
    np.add.at(sums, (np.arange(len(mask))[:, None], own), np.where(mask, values, 0))
    return np.where(mask, np.take_along_axis(sums, own, axis=1), 0)
"""


def test_a_call_without_an_answer_is_charged_if_the_property_about_answers_did_not_make_it(check, write):
    """Arrays that are too short for some numbers of turns, of which OPS-1 has none among its stored inputs."""
    result = check(write(CRASHING), *properties("answers_are_those_of_the_formulas and turn_sums"))
    assert "turn_sums raised IndexError" in result.clauses["OPS-8"].message


@pytest.mark.parametrize(
    ("refused", "id", "of"),
    [
        ("not rewards.flags.writeable", "OPS-2", "arguments_are_read"),
        ("rewards.strides[1] < 0", "OPS-13", "however_they_are_stored"),
        ("rewards.dtype.kind == 'i'", "OPS-13", "taken_as_integers"),
        ("rewards.dtype == np.float32", "OPS-13", "however_they_are_stored"),
    ],
    ids=["read-only", "reversed", "integers", "float32"],
)
def test_an_array_that_is_refused_for_how_it_is_stored_violates_the_clause_that_allows_it(
    check, write, refused, id, of
):
    source = HONEST.replace(
        "    following,", f"    if {refused}:\n        raise ValueError('such an array')\n    following,"
    )
    result = check(write(source), *properties(*(f"{of} and {TO_GO}" for of in (of, OPS_1)), RET_2))
    assert result.verdicts == {"OPS-1": "holds", "RET-2": "holds", id: "violated"}
    assert "reward_to_go raised ValueError: such an array" in result.clauses[id].message


# Candidates that do more than answer


def test_writing_to_an_argument_is_found_and_harms_no_other_verdict(check, write):
    source = HONEST.replace("    return np.stack", "    rewards[...] = 7\n    return np.stack")
    result = check(write(source), *properties(f"arguments_are_read and {TO_GO}", RET_2, f"{OPS_1} and {TO_GO}"))
    assert result.verdicts == {"OPS-1": "holds", "OPS-2": "violated", "RET-2": "holds"}
    assert result.clauses["OPS-2"].message == "reward_to_go wrote to its argument rewards"


def test_random_answers_are_found(check, write):
    source = "import random\n" + HONEST.replace("gamma * following\n", "gamma * following + random.random()\n")
    result = check(write(source), *properties(f"the_same_question and {TO_GO}", ADV_1))
    assert result.status == 1
    assert result.verdicts == {"OPS-3": "violated", "ADV-1": "holds"}
    assert re.search("asked the same", result.clauses["OPS-3"].message)


def test_an_answer_that_cannot_be_had_again_is_said_to_be_so(check, write):
    once = "    global calls\n    calls += 1\n    if calls == 25:\n        return rewards + 100\n    following,"
    source = "calls = 0\n" + HONEST.replace("    following,", once)
    file = write(source)
    result = check(file, *properties(RET_2))
    assert result.verdicts == {"RET-2": "violated"}
    assert result.clauses["RET-2"].message == f"{file} gave another answer when it was asked the same again"


def test_what_a_candidate_declines_is_counted_as_declined(check, write):
    source = HONEST.replace("    following,", "    raise NotImplementedError('episodes only')\n    following,")
    result = check(write(source), *properties(f"{OPS_1} and {TO_GO}", RET_2, ADV_1))
    assert result.status == 0
    assert result.verdicts == {"OPS-1": "declined", "RET-2": "declined", "ADV-1": "holds"}
    assert result.clauses["RET-2"].message == "reward_to_go declines: NotImplementedError: episodes only"


def test_a_candidate_that_declines_everything_is_not_green(check, write):
    result = check(write("def reward_to_go(rewards, gamma):\n    raise NotImplementedError\n"), *properties(RET_2))
    assert (result.status, result.verdicts) == (5, {"RET-2": "declined"})


def test_what_a_librarys_compiled_code_cannot_do_is_not_declined_but_wrong(check, write):
    source = "import torch\n\ndef reward_to_go(rewards, gamma):\n    return torch.ones(2) & torch.ones(2)\n"
    result = check(write(source), *properties(RET_2))
    assert (result.status, result.verdicts) == (1, {"OPS-1": "violated"})
    assert "reward_to_go raised NotImplementedError: " in result.clauses["OPS-1"].message


def test_inputs_that_are_declined_leave_the_others_to_be_judged(check, write):
    few = "    if rewards.shape[1] > 2:\n        raise NotImplementedError\n    following,"
    source = HONEST.replace("    following,", few)
    kept = check(write(source), *properties(f"{OPS_1} and {TO_GO}", RET_2))
    assert kept.verdicts == {"OPS-1": "holds", "RET-2": "holds"}
    broken = check(write(source.replace("gamma * following", "following")), *properties(f"{OPS_1} and {TO_GO}", RET_2))
    assert broken.verdicts == {"OPS-1": "holds", "RET-2": "violated"}


# Exit statuses and options


def test_a_candidate_that_keeps_the_law_is_green(check, write):
    result = check(write(HONEST), *properties(RET_2, ADV_1))
    assert (result.status, result.verdicts) == (0, {"RET-2": "holds", "ADV-1": "holds"})
    assert "2 hold" in result.text


def test_a_selection_without_any_property_is_not_green(check, write):
    assert check(write(HONEST), "-k", "no_such_property").status == 5


@pytest.mark.parametrize(
    ("required", "status", "lacking"),
    [
        ("ADV-1", 0, ""),
        ("ADV-1,RET-2", 1, "RET-2"),
        (
            "RET",
            1,
            ", ".join(of.id for of in clauses().values() if of.prefix == "RET" and of.level in BINDING),
        ),
        (" ADV-1 , ADV-3 ", 1, "ADV-3"),
    ],
)
def test_what_is_required_must_have_been_tested(check, write, required, status, lacking):
    source = HONEST.replace("def reward_to_go", "def _")
    result = check(write(source), f"--require={required}", *properties(RET_2, ADV_1))
    assert result.status == status
    assert (f"required, but not tested: {lacking} clauses:" in result.text) == bool(lacking)
    assert result.verdicts == {"RET-2": "absent", "ADV-1": "holds"}


@pytest.mark.parametrize("required", ["XYZ", "ADV-99", "adv-1"])
def test_an_unknown_requirement_is_a_usage_error_that_names_the_chapters(check, required):
    result = check("reference", f"--require={required}")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    assert f"there is no chapter or clause {required}" in result.errors
    assert all(prefix in result.errors for prefix in {found.prefix for found in clauses().values()})


def test_verdicts_into_a_missing_folder_are_a_usage_error_before_anything_runs(check):
    result = check("reference", "--verdicts=nowhere/verdicts.json")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    assert "--verdicts: there is no folder nowhere" in result.errors


def test_a_known_failure_must_still_fail(check, write):
    known = "KNOWN_FAILURES = {'RET-2': 'https://example.org/1', 'ADV-1': 'https://example.org/2'}\n"
    source = known + HONEST.replace("gamma * following", "following")
    result = check(write(source), *properties(RET_2, ADV_1))
    assert result.status == 1
    assert result.verdicts == {"RET-2": "known", "ADV-1": "stale"}
    assert result.clauses["RET-2"].message.endswith("[known: https://example.org/1]")
    assert result.clauses["ADV-1"].message == "declared in KNOWN_FAILURES (https://example.org/2), but it holds"


def test_a_known_failure_alone_is_no_failure(check, write):
    source = "KNOWN_FAILURES = {'RET-2': 'issue 1'}\n" + HONEST.replace("gamma * following", "following")
    result = check(write(source), *properties(RET_2, ADV_1))
    assert (result.status, result.verdicts) == (0, {"RET-2": "known", "ADV-1": "holds"})


def test_a_known_failure_of_another_clause_excuses_nothing(check, write):
    source = "KNOWN_FAILURES = {'RET-3': 'issue 1'}\n" + HONEST.replace("gamma * following", "following")
    result = check(write(source), *properties(RET_2))
    assert (result.status, result.verdicts) == (1, {"RET-2": "violated"})


def test_a_known_failure_may_be_an_operation_or_a_mistake(check, write):
    select = ["-k", "gae and (formulas or truncation) or truncation_is_a_cut"]
    for name, status in {"gae": 0, "truncation-as-termination": 0, "td_error": 1}.items():
        source = f"KNOWN_FAILURES = {{{name!r}: 'issue 7'}}\n{TRUNCATION_AS_TERMINATION}"
        result = check(write(source, f"{name.replace('-', '_')}.py"), *select)
        assert result.status == status, result.text
        assert result.verdicts["ADV-3"] == ("known" if status == 0 else "violated")
        assert result.said["operations"]["gae"]["ADV-3"] == result.verdicts["ADV-3"]


def test_an_operation_and_a_mistake_must_still_fail(check, write):
    known = "KNOWN_FAILURES = {'gae': 'issue 7', 'truncation-as-termination': 'issue 8'}\n"
    honest = TRUNCATION_AS_TERMINATION.replace("where(ended, 0, next", "where(terminated, 0, next")
    result = check(write(known + honest), *properties("formulas"))
    said = "declared in KNOWN_FAILURES ({}), but it is not so any more"
    assert result.said["stale"] == {"gae": said.format("issue 7"), "truncation-as-termination": said.format("issue 8")}
    assert result.status == 1
    assert f"gae: {said.format('issue 7')}" in result.text


def test_recorded_verdicts_are_expected_to_the_letter(check, write, tmp_path):
    file = write(HONEST.replace("gamma * following", "following"))
    selected = properties(RET_2, ADV_1)
    assert check(file, *selected).status == 1
    recorded = (tmp_path / "verdicts.json").rename(tmp_path / "recorded.json")
    again = check(file, f"--expect={recorded}", *selected)
    assert (again.status, "as recorded" in again.text) == (0, True)
    repaired = check(write(HONEST), f"--expect={recorded}", *selected)
    assert repaired.status == 1
    assert (
        "RET-2 (The reward-to-go of a step is the discounted sum of what follows): violated before, holds now"
        in repaired.text
    )


def test_the_names_of_candidates_of_verdicts_and_of_the_file_are_those_documented(check, write):
    source = "NAME = 'mylib 1.2'\nCONVENTIONS = {'precision': 'float64'}\n" + HONEST
    said = check(write(source), *properties(RET_2)).said
    assert said["candidate"] == "mylib 1.2"
    assert said["conventions"]["declared"] == {"precision": "float64"}
    assert {one["verdict"] for one in said["clauses"].values()} <= set(VERDICTS)
    assert said["clauses"].keys() == {id for id, of in clauses().items() if of.level in BINDING}
    assert all(one["place"] == clauses()[id].place for id, one in said["clauses"].items())


# Precision

NARROW = HONEST.replace("rewards.T[::-1]", "np.float32(rewards).T[::-1]").replace(
    "reward + gamma * following", "reward + np.float32(gamma) * following"
)


def test_float32_inside_is_inferred_judged_as_such_and_kept_as_one_finding(check, write):
    result = check(write(NARROW), *properties(f"float64_precision and {TO_GO}", RET_2, RET_5))
    inferred = {"reward_to_go.precision": "float32"}  # and nothing of td_error, which was not asked
    assert result.said["conventions"] == {"declared": {}, "inferred": inferred, "alike": {}}
    assert result.verdicts == {"OPS-4": "violated", "RET-2": "holds", "RET-5": "holds"}
    assert "not accurate to float64" in result.clauses["OPS-4"].message
    assert "convention reward_to_go.precision = float32 (inferred)" in result.text


def test_a_wrong_answer_is_not_called_an_imprecise_one(check, write):
    result = check(
        write(NARROW.replace("gamma) *", "gamma) ** 2 *")), *properties(f"float64_precision and {TO_GO}", RET_2)
    )
    assert result.said["conventions"]["inferred"] == {"reward_to_go.precision": "float32 where right"}
    assert result.verdicts == {"RET-2": "violated"}


def test_float32_that_is_declared_is_not_inferred_again(check, write):
    result = check(write("CONVENTIONS = {'precision': 'float32'}\n" + NARROW), *properties(RET_2))
    assert result.said["conventions"] == {"declared": {"precision": "float32"}, "inferred": {}, "alike": {}}
    assert result.verdicts == {"RET-2": "holds"}


BRAIN = """
CONVENTIONS = {'reward_to_go.precision': 'bfloat16'}
import numpy as np
import torch

def reward_to_go(rewards, gamma):
    rewards = torch.from_numpy(np.array(rewards, dtype=float)).to(torch.bfloat16)
    following, returns = torch.zeros_like(rewards[:, 0]), []
    for reward in reversed(rewards.unbind(1)):
        following = reward + gamma * following
        returns.append(following)
    return torch.stack(returns[::-1], dim=1).double().numpy() * FACTOR
"""


def test_bfloat16_that_is_declared_is_judged_as_such(check, write):
    assert check(write("FACTOR = 1\n" + BRAIN), *properties(RET_2)).verdicts == {"RET-2": "holds"}
    assert check(write("FACTOR = 2\n" + BRAIN), *properties(RET_2)).verdicts == {"RET-2": "violated"}


def test_bfloat16_that_is_not_declared_is_a_violation(check, write):
    undeclared = BRAIN.replace("CONVENTIONS", "NOTHING")
    assert check(write("FACTOR = 1\n" + undeclared), *properties(RET_2)).verdicts == {"RET-2": "violated"}


def test_a_declared_precision_that_is_not_kept_is_a_violation(check, write):
    result = check(write("CONVENTIONS = {'precision': 'float64'}\n" + NARROW), *properties(RET_2))
    assert result.verdicts == {"RET-2": "violated"}


NORMALIZED = """
import numpy as np

def normalize_advantages(advantages, mask):
    counted = advantages[mask]
    if len(counted) < 2:
        return np.zeros(mask.shape)
    return np.where(mask, (advantages - counted.mean()) / (counted.std(ddof=1) + EPS), 0)
"""


def test_a_declared_choice_that_the_answers_contradict_is_a_violation_that_names_both(check, write):
    declared = "CONVENTIONS = {'normalize_advantages.std': 'ddof=0'}\nEPS = 1e-8\n"
    result = check(write(declared + NORMALIZED), "-k", "choices_that_were_declared")
    assert result.verdicts == {"OPS-8": "violated"}
    said = (
        "normalize_advantages.std = ddof=0 was declared, but the answers are those of normalize_advantages.std = ddof=1"
    )
    assert said in result.text


def test_a_declared_choice_that_is_kept_is_none(check, write):
    declared = "CONVENTIONS = {'normalize_advantages.std': 'ddof=1'}\nEPS = 1e-8\n"
    assert check(write(declared + NORMALIZED), "-k", "choices_that_were_declared").verdicts == {"OPS-8": "holds"}


ANY_CLAMP = """
import numpy as np

from rlspec.candidates import reference


def kl_estimate(logp, ref_logp, estimator):
    if estimator == "k1":
        raise NotImplementedError
    return reference.kl_estimate(logp, ref_logp, estimator, clamp="k2 and k3 at most 6")


def dpo_loss(*arguments):
    if arguments[5]:
        raise NotImplementedError
    return reference.dpo_loss(*arguments)


def policy_gradient(*arguments):
    return reference.policy_gradient(*arguments, credit="whole return")
"""


def test_choices_that_the_answers_do_not_tell_apart_are_all_named(check, write):
    result = check(write(ANY_CLAMP), "-k", "choices_that_were_declared")
    assert result.said["conventions"]["alike"] == {"kl_estimate.clamp": ["within 6"]}
    assert "convention kl_estimate.clamp = k2 and k3 at most 6 (inferred; or within 6)" in result.text
    assert "convention policy_gradient.credit = whole return (inferred)" in result.text
    assert not {"dpo_loss.noise", "policy_gradient.discounting"} & set(result.said["conventions"]["inferred"])


def test_a_number_is_found_out_and_printed_as_it_may_be_declared(check, write):
    result = check(write("EPS = 0.00002\n" + NORMALIZED), "-k", "choices_that_were_declared")
    assert result.said["conventions"]["inferred"]["normalize_advantages.eps"] == "std + 2e-5"
    declared = "CONVENTIONS = {'normalize_advantages.eps': 'std + 0.00002'}\nEPS = 2e-5\n"
    result = check(write(declared + NORMALIZED), "-k", "choices_that_were_declared")
    assert result.said["conventions"]["declared"] == {"normalize_advantages.eps": "std + 2e-5"}


def test_a_number_beyond_its_range_cannot_be_declared(check, write):
    declared = "CONVENTIONS = {'normalize_advantages.eps': 'std + 1'}\nEPS = 1\n"
    result = check(write(declared + NORMALIZED), "-k", "choices_that_were_declared")
    assert "E in 'std + E' is a convention from 1e-12 to 1e-3, and beyond that a defect" in result.text


def test_answers_that_no_choice_explains_are_a_violation(check, write):
    result = check(write("EPS = 1\n" + NORMALIZED), "-k", "choices_that_were_declared")
    assert result.verdicts == {"OPS-8": "violated"}
    assert "no combination of choices explains all answers" in result.text.lower()


# The evidence


def test_a_violation_shows_the_clause_its_place_the_input_and_what_rounding_explains(check, write):
    result = check(write(TRUNCATION_AS_TERMINATION), "--all", *properties(ADV_3))
    clause, found = clauses()["ADV-3"], result.clauses["ADV-3"]
    said = result.text
    assert " ".join(clause.text.split()) in said
    assert f"{clause.title} ({clause.place})" in said
    assert re.fullmatch(r"spec/advantages\.md:\d+", clause.place)
    assert found.operation == "gae"
    for name, value in found.arguments.items():
        assert re.search(rf"\b{name} {re.escape(value)} ", result.text)
    assert f"expected {found.expected}" in said
    assert f"actual {found.actual}" in said
    assert found.expected != found.actual
    assert re.search(r"rounding explains \d\.\de-\d+ \(\d+ roundings of 2\^-53\)", said)


def test_truncation_as_termination_is_shown_by_one_or_two_steps_of_small_integers(check, write):
    shown = check(write(TRUNCATION_AS_TERMINATION), *properties(ADV_3)).clauses["ADV-3"].arguments
    rewards, values, next_values = (json.loads(shown[name]) for name in ("rewards", "values", "next_values"))
    assert len(rewards) == 1
    assert len(rewards[0]) <= 2
    numbers = {abs(number) for array in (rewards, values, next_values) for number in array[0]}
    assert numbers <= {0, 1}
    assert "True" in shown["truncated"]
    assert "True" not in shown["terminated"]


# The same verdicts everywhere


def test_every_run_of_a_candidate_writes_the_same_file(check, write, tmp_path):
    file = write(TRUNCATION_AS_TERMINATION + HONEST)
    selected = properties(ADV_3, f"each_row and {TO_GO}", RET_2, f"memory_layout and {TO_GO}")
    serial = check(file, *selected).said
    assert check(file, *selected).said == serial
    assert check(file, "--jobs=2", *selected).said == serial
    elsewhere = tmp_path / "a folder" / "elsewhere"
    elsewhere.mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *selected,
        f"--candidate={file}",
    ]
    command += ["--rootdir", tmp_path.anchor, "--verdicts=verdicts.json", "--pyargs", "rlspec.properties"]
    run = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert json.loads((elsewhere / "verdicts.json").read_text()) == serial
    assert sorted(path.name for path in elsewhere.iterdir()) == ["verdicts.json"]


def test_a_verdict_does_not_depend_on_which_property_came_first():
    outcomes = [
        Outcome("test_b", ("RET-2", "RET-3"), "violated", 3, message="b"),
        Outcome("test_a", ("RET-2",), "violated", 5, message="a"),
        Outcome("test_c", ("RET-2",), "holds", 7),
        Outcome("test_d", ("RET-3",), "declined", message="d"),
    ]
    judged = judge(outcomes, {}, theorems=False)
    assert judge(outcomes[::-1], {}, theorems=False) == judged
    assert (judged["RET-2"].verdict, judged["RET-2"].answers, judged["RET-2"].properties) == (
        "violated",
        15,
        3,
    )
    assert judged["RET-3"].verdict == "violated"


@pytest.mark.parametrize("more", [[], ["-x", "--jobs=2"]])
def test_the_command_line_exits_with_the_verdict(write, tmp_path, more):
    command = [sys.executable, "-m", "rlspec", "check", write(TRUNCATION_AS_TERMINATION), *properties(ADV_3), *more]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "It breaks ADV-3." in run.stdout
    assert run.stderr == ""


# Where candidates come from


def test_a_dotted_module_is_a_candidate(check, write, tmp_path, monkeypatch):
    write("", "their_package/__init__.py")
    write(HONEST, "their_package/adapter.py")
    monkeypatch.syspath_prepend(tmp_path)
    result = check("their_package.adapter", *properties(RET_2))
    assert (result.status, result.said["candidate"]) == (0, "their_package.adapter")


def test_a_file_does_not_bring_its_folder_along(check, write):
    write("", "beside_the_adapter.py")
    result = check(os.path.relpath(write("import beside_the_adapter", "adapter.py")), *properties(RET_2))
    assert "needs the module 'beside_the_adapter', which is not installed" in result.clauses["RET-2"].message


def test_a_file_named_like_the_library_that_it_adapts_imports_the_library(check, write, tmp_path, monkeypatch):
    write("VERSION = '3.1'\n" + HONEST, "installed/some_library/__init__.py")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    write("import some_library\nfrom some_library import *\nNAME = some_library.VERSION\n", "some_library.py")
    result = check("some_library.py", *properties(RET_2))
    assert (result.status, result.said["candidate"]) == (0, "3.1")
    assert sys.modules["some_library"].__file__ == str(tmp_path / "installed" / "some_library" / "__init__.py")


def test_the_shipped_adapters_import_the_libraries_and_not_themselves(check, write, tmp_path, monkeypatch):
    stub = dedent("""
        import torch
        def generalized_advantage_estimate(*arguments, **named): raise NotImplementedError("a stub")
        def reward2go(reward, done, gamma): return reward
        def td0_advantage_estimate(*arguments): raise NotImplementedError("a stub")
        def __getattr__(name): return td0_advantage_estimate
    """)
    anything = "def __getattr__(name): return lambda *arguments, **named: None"
    write(stub, "installed/torchrl/objectives/value/functional.py")
    for module in (
        "torchrl/objectives",
        "torchrl/objectives/multiagent",
        "torchrl/modules",
        "tensordict",
        "tensordict/nn",
    ):
        write(anything, f"installed/{module}/__init__.py")
    write("Metadata-Version: 2.1\nName: torchrl\nVersion: 0.0.7\n", "installed/torchrl-0.0.7.dist-info/METADATA")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    result = check("torchrl", *properties(RET_2, ADV_1))
    for name in [name for name in sys.modules if re.search(r"^((rlspec\.candidates\.)?torchrl|tensordict)\b", name)]:
        monkeypatch.delitem(sys.modules, name)
    assert "0.0.7" in result.said["candidate"]
    # The stub cannot be called in all the ways that the library can, which is said whatever is selected.
    assert result.verdicts == {"OPS-1": "violated", "RET-2": "violated", "ADV-1": "declined"}


# What a candidate says of itself


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("CONVENTIONS = 3", "CONVENTIONS is 3; it has to be a dict from strings to strings"),
        ("KNOWN_FAILURES = ['RET-2']", "KNOWN_FAILURES is ['RET-2']; it has to be a dict"),
        ("CONVENTIONS = {'precison': 'float32'}", "there is no convention 'precison'; did you mean 'precision'?"),
        ("CONVENTIONS = {'gae.precision': 'float16'}", "gae.precision cannot be 'float16'; the choices are"),
        ("KNOWN_FAILURES = {'RET-2': ''}", "KNOWN_FAILURES: 'RET-2' has neither a reason nor a link"),
        ("KNOWN_FAILURES = {'RET-99': 'why'}", "there is no clause, operation or known mistake 'RET-99'; did you mean"),
    ],
)  # fmt: skip
def test_a_declaration_that_says_nothing_is_refused_by_name(check, write, says, message):
    result = check(write(f"{HONEST}\n{says}\n"), *properties(RET_2))
    assert result.status == 5
    assert message in result.clauses["RET-2"].message


def test_what_is_declined_and_what_has_no_answer_is_counted(check, write):
    fussy = dedent("""
        def reward_to_go(rewards, gamma):
            if gamma == 0:
                raise NotImplementedError("not for gamma = 0")
            if gamma == 0.5:
                raise ZeroDivisionError
            return [[sum(r * gamma**k for k, r in enumerate(row[t:])) for t in range(len(row))] for row in rewards]
    """)
    result = check(write(fussy), *properties(RET_2))
    assert result.said["clauses"]["RET-2"]["verdict"] == "holds"
    assert result.said["clauses"]["RET-2"]["declined"] > 0
    assert result.said["clauses"]["RET-2"]["unanswered"] > 0
