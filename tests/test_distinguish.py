"""``rlspec distinguish``: the smallest input on which two implementations differ, or that none was found."""

import pytest

from rlspec.__main__ import main


@pytest.fixture
def tell_apart(capsys):
    def telling(*arguments):
        status = main(["distinguish", *arguments])
        return status, capsys.readouterr()

    return telling


def test_a_fault_differs_from_the_reference_on_one_step(tell_apart):
    status, said = tell_apart("truncation-as-termination", "reference")
    assert status == 0
    assert "gae: different answers" in said.out
    assert "truncated   = [[True]]," in said.out
    assert "  truncation-as-termination  [[0]]\n  reference                  [[1]]" in said.out


def test_two_faults_may_agree_where_a_third_differs(tell_apart):
    status, said = tell_apart("R10", "R12")
    assert status == 0
    assert "  R10  [[0]]\n  R12  [[1]]" in said.out


def test_a_convention_differs_from_another(tell_apart):
    status, said = tell_apart("normalize_advantages.std=ddof=0", "normalize_advantages.std=ddof=1")
    assert status == 0
    assert "normalize_advantages: different answers" in said.out


def test_a_convention_may_have_any_number_of_its_range(tell_apart):
    status, said = tell_apart("group_advantages.eps=std + 2e-4", "group_advantages.eps=max(std, 0.0002)")
    assert status == 0
    assert "  group_advantages.eps=max(std, 2e-4)  [" in said.out


def test_no_difference_is_said_with_how_many_examples_were_tried(tell_apart):
    status, said = tell_apart("normalize_advantages.std=ddof=0", "reference", "--examples", "30")
    assert status == 1
    assert said.out == "normalize_advantages: no difference found in 30 examples\n"


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ("truncation-as-terminatio", "reference", "did you mean truncation-as-termination?"),
        ("normalize_advantages.std=2", "reference", "the choices are ddof=0, ddof=1"),
        ("normalize_advantages.eps=std + 1", "reference", "E in 'std + E' is a convention from 1e-12 to 1e-3"),
        ("R10", "R19", "R10 and R19 have no operation in common"),
    ],
)
def test_what_cannot_be_compared_is_said_with_what_to_do(tell_apart, first, second, complaint):
    status, said = tell_apart(first, second)
    assert status == 2
    assert complaint in said.err


def test_a_difference_in_the_last_digits_is_found_where_there_is_no_other(tell_apart):
    status, said = tell_apart("discount-rounded-to-float32", "reference")
    assert status == 0
    assert "gae: different answers" in said.out


def test_that_one_of_them_raises_is_a_difference(tell_apart):
    status, said = tell_apart("zero-discount-raises", "reference")
    assert status == 0
    assert "  zero-discount-raises  raises\n  reference             [[0]]" in said.out


def test_that_one_of_them_declines_is_a_difference(tell_apart, tmp_path):
    path = tmp_path / "declining.py"
    path.write_text("def reward_to_go(rewards, gamma):\n    raise NotImplementedError\n")
    status, said = tell_apart(str(path), "reference")
    assert status == 0
    assert "  declines\n" in said.out
