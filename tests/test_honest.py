"""Honest candidates that nobody wrote by hand: a small part of ``python -m tests.honest``."""

import pytest
from honest import draw, trial

SEED, COUNT, EXAMPLES = 0, 24, 3


@pytest.mark.parametrize("number", range(COUNT))
def test_an_honest_candidate_drawn_at_random_is_not_flagged(number):
    honest = draw(SEED, number)
    said = trial(honest, EXAMPLES, SEED)
    assert said.flags == (), honest
    assert said.judged
