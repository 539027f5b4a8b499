"""Honest candidates that nobody wrote by hand: a small part of ``python -m tests.honest``."""

from dataclasses import replace
from random import Random

import pytest
from honest import WAYS, Honest, draw, trial
from honest.candidates import Part, drawn_choice
from honest.styles import draw_style
from test_conventions import unlike

from rlspec.conventions import probe
from rlspec.properties.checking import SINGLE
from rlspec.spec.clauses import choices, choices_of

SEED, COUNT, EXAMPLES = 0, 24, 3


@pytest.mark.parametrize("number", range(COUNT))
def test_an_honest_candidate_drawn_at_random_is_not_flagged(number):
    honest = draw(SEED, number)
    said = trial(honest, EXAMPLES, SEED)
    assert said.flags == (), honest
    assert said.judged


@pytest.mark.parametrize(
    ("operation", "precision", "choices"),
    [
        pytest.param(
            "gdpo_advantages",
            "float32",
            {"std": "ddof=1", "eps": "std + 1e-6", "alone": "zero", "whitening": "sqrt(var + 2e-9)"},
            id="added to the spreads of several rewards, and to that of their sums",
        ),
        pytest.param(
            "effective_sample_size",
            "float64",
            {"count": "n + 1.7e-5", "of": "share", "eps": "mean + 3e-7"},
            id="added to the number of weights, and to their mean",
        ),
    ],
)
def test_numbers_that_show_together_in_most_answers_are_found(operation, precision, choices):
    style = replace(draw_style(Random(operation), narrow=False), precision=precision)
    chosen = {f"{operation}.{name}": choice for name, choice in choices.items()}
    for way in WAYS[operation]:
        honest = Honest("honest", (Part(way, style, chosen, {}),))
        found = honest.candidate().inferred
        assert {name: found.get(name) for name in chosen} == chosen


NUMBERED = sorted({name.partition(".")[0] for name, of in choices().items() if any(choice.letter for choice in of)})
"""Operations with a choice that has a number in it."""


@pytest.mark.parametrize("operation", NUMBERED)
def test_numbers_are_found_together_as_well_as_float32_tells_them(operation):
    random = Random(operation)
    style = replace(draw_style(random), precision="float32")
    numbered = {name: [choice for choice in of if choice.letter] or of for name, of in choices_of(operation).items()}
    chosen = {name: drawn_choice(random, of) for name, of in numbered.items()}
    honest = Honest("honest", (Part(random.choice(WAYS[operation]), style, chosen, {}),)).candidate()
    found = chosen | {name: honest.inferred[name] for name in chosen if name in honest.inferred}
    assert honest.inferred[f"{operation}.precision"] == "float32"
    answered = [asked for lot in probe(honest, operation) for asked in lot]
    assert max(asked.distance(found, SINGLE) for asked in answered) < 1


COUNTS = ".count"
"""What is added to a count may be too small for single precision."""


@pytest.mark.parametrize(
    "name", [name for name, of in choices().items() if any(choice.letter for choice in of) and COUNTS not in name]
)
def test_a_number_alone_is_found_in_single_precision(name):
    operation, random = name.partition(".")[0], Random(name)
    for choice in filter(lambda choice: choice.letter, choices()[name]):
        number = float(f"{choice.low * (choice.high / choice.low) ** random.random():.1e}")
        chosen = {other: of[0].text for other, of in choices_of(operation).items()} | {name: choice.with_number(number)}
        style = replace(draw_style(random, narrow=False), precision="float32")
        candidate = Honest("honest", (Part(random.choice(WAYS[operation]), style, chosen, {}),)).candidate()
        assert candidate.explained(operation)
        assert not unlike(candidate, {name: chosen[name]}, digits=1)
