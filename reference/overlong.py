"""Overlong answers: what length costs (spec/overlong.md)."""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import Any

from .choices import one_of

Number = Any


def overlong_penalty(length: int, max_length: int, buffer: int, factor: Number = 1, beyond: str = "held") -> Number:
    """0 up to max_length - buffer tokens, from there on a line that is at -factor with max_length (OVER-1 to OVER-3).

    length: of one answer, in tokens.  buffer: how many of the last tokens cost something, 1 at least.
    beyond: what a longer answer costs (OVER-5).  Yu et al. (2025), DAPO, eq. 13.

    >>> [overlong_penalty(length, 10, 4, 1.0) for length in (6, 7, 10, 12)]
    [0.0, -0.25, -1.0, -1.0]
    """
    most = one_of({"held": buffer, "continued": max(length, buffer)}, beyond)
    return factor * Fraction(-min(max(length - (max_length - buffer), 0), most), buffer)


def length_reward(lengths: Sequence[int], correct: Sequence[bool], groups: Sequence[Hashable]) -> list[Number]:
    """1/2 - (n_i - m) / (M - m), of a wrong answer at most 0; m, M: the extremes of its group (OVER-9, OVER-10).

    lengths, correct, groups: N each.  Returns N numbers.  Kimi k1.5 (2025), section 2.3.3.

    >>> [str(reward) for reward in length_reward([2, 6, 4], [True, True, False], "aaa")]
    ['1/2', '-1/2', '0']
    """
    members = defaultdict(list)
    for length, group in zip(lengths, groups, strict=True):
        members[group].append(length)
    places = [_place(length, members[group]) for length, group in zip(lengths, groups, strict=True)]
    return [place if right else min(0, place) for place, right in zip(places, correct, strict=True)]


def _place(length: int, lengths: Sequence[int]) -> Number:
    """From 1/2 for the shortest to -1/2 for the longest; 0 where all are alike."""
    shortest, longest = min(lengths), max(lengths)
    return Fraction(1, 2) - Fraction(length - shortest, longest - shortest) if shortest < longest else 0


def cosine_reward(
    length: int,
    correct: bool,
    max_length: int,
    shortest_correct: Number,
    longest_correct: Number,
    shortest_wrong: Number,
    longest_wrong: Number,
    exceeded: Number | None = None,
    cos_pi: Callable[[Fraction], Number] = lambda part: math.cos(math.pi * part),
) -> Number:
    """l + (s - l) (1 + cos(pi n / max_length)) / 2, from the score s of the shortest to l (OVER-14, OVER-15).

    exceeded: the score of max_length tokens or more, or None for l.  cos_pi: the cosine of pi times a number.
    Yeo et al. (2025).

    >>> [round(cosine_reward(length, True, 4, 1.0, 0.0, 0.0, 0.0), 3) for length in (0, 2, 4, 8)]
    [1.0, 0.5, 0.0, 0.0]
    """
    if length >= max_length and exceeded is not None:
        return exceeded
    shortest, longest = (shortest_correct, longest_correct) if correct else (shortest_wrong, longest_wrong)
    return longest + (shortest - longest) * (1 + cos_pi(Fraction(min(length, max_length), max_length))) / 2
