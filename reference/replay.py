"""What is stored and given back: windows, priorities, sequences, environments that reset themselves (spec/replay.md).

Sequences run over time, over the slots of a store, or over what was drawn from it.  capacity, burn_in: in transitions,
and in steps.  uniforms: numbers from [0, 1), one for each draw.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from .choices import one_of, require, shape_of
from .linear_algebra import Number, Vector
from .numbers import choose, unless
from .returns import Flag, n_step_return


def replayed_targets(
    rewards: Vector,
    next_values: Vector,
    terminated: Sequence[Flag],
    truncated: Sequence[Flag],
    capacity: int,
    gamma: Number,
    n: int,
) -> list[Number]:
    """The n-step targets of the newest transitions, as many as there is room for; 0 for those before (RPL-1 to RPL-3).

    Sutton & Barto (2018), section 7.1, for the targets.

    >>> replayed_targets([1, 2, 4], [0, 0, 8], [False] * 3, [False] * 3, 2, 1, 2)
    [0, 14, 12]
    """
    gone = max(0, len(rewards) - capacity)
    stored = rewards[gone:], next_values[gone:], terminated[gone:], truncated[gone:]
    return [0 * reward for reward in rewards[:gone]] + n_step_return(*stored, gamma, n)


SHAPES = ("p^alpha", "(p + E)^alpha", "p^alpha + E")
"""What keeps a priority from zero (RPL-18)."""


def sampling_probabilities(priorities: Vector, alpha: Number, power: str = "p^alpha") -> list[Number]:
    """p_i^alpha / sum_k p_k^alpha (RPL-5).  Schaul et al. (2016), eq. 1.

    power: a choice of RPL-18.

    >>> sampling_probabilities([1, 3], 1), sampling_probabilities([1, 3], 1, power="(p + 2)^alpha")
    ([0.25, 0.75], [0.375, 0.625])
    """
    shape, number = shape_of(power, *SHAPES)
    inside = number if shape == "(p + E)^alpha" else 0
    outside = number if shape == "p^alpha + E" else 0
    powers = [(priority + inside) ** alpha + outside for priority in priorities]
    total = sum(powers)
    return [power / total for power in powers]


def priority_weights(
    probabilities: Vector, sampled: Sequence[int], beta: Number, maximum: str = "batch"
) -> list[Number]:
    """(C P(i))^-beta over the largest such number (RPL-7).  Schaul et al. (2016), section 3.4.

    maximum: a choice of RPL-8.

    >>> priority_weights([0.25, 0.5, 0.25], [1, 0], 1.0)
    [0.5, 1.0]
    """
    weights = [(len(probabilities) * chance) ** -beta for chance in probabilities]
    drawn = [weights[int(slot)] for slot in sampled]
    largest = max(one_of({"batch": drawn, "buffer": weights}, maximum))
    return [weight / largest for weight in drawn]


def sampled_slots(priorities: Vector, uniforms: Vector, parts: str = "equal parts") -> list[int]:
    """How many slots end at or before each place of the priorities' sum (RPL-10).

    parts: a choice of RPL-11.  Schaul et al. (2016), appendix B.2.1.

    >>> [sampled_slots([2, 4, 2], [0.125, 0.125], parts=parts) for parts in ("equal parts", "the whole")]
    [[0, 1], [0, 0]]
    """
    require(parts, "equal parts", "the whole")
    ends = list(accumulate(priorities))
    shares = [(k + u) / len(uniforms) if parts == "equal parts" else u for k, u in enumerate(uniforms)]
    return [sum(end <= share * ends[-1] for end in ends) for share in shares]


def sequence_masks(
    terminated: Sequence[Flag], truncated: Sequence[Flag], burn_in: int, start: str = "stored"
) -> tuple[list[Flag], list[Flag]]:
    """The first steps of episodes, and the steps from the burn-in on (RPL-13).

    start: a choice of RPL-14.  Kapturowski et al. (2019), section 3.

    >>> sequence_masks([False, True, False], [False] * 3, 1)
    ([False, False, True], [False, True, True])
    """
    first = terminated[0] & False | one_of({"stored": False, "zero": True}, start)
    ended = [over | stopped for over, stopped in zip(terminated, truncated, strict=True)]
    return [first, *ended[:-1]], [(over & False) | (t >= burn_in) for t, over in enumerate(ended)]


def autoreset_transitions(
    observed_values: Vector, final_values: Vector, terminated: Sequence[Flag], truncated: Sequence[Flag], mode: str
) -> tuple[list[Number], list[Flag]]:
    """The true successors' values, and whether a step is a transition (RPL-15, RPL-16).

    mode: "same step" or "next step".  Gymnasium's `AutoresetMode`.

    >>> end, never = [True, False], [False, False]
    >>> autoreset_transitions([1, 2], [3, 4], end, never, "same step")
    ([3, 2], [True, True])
    >>> autoreset_transitions([1, 2], [3, 4], end, never, "next step")
    ([1, 0], [True, False])
    """
    require(mode, "same step", "next step")
    ended = [over | stopped for over, stopped in zip(terminated, truncated, strict=True)]
    nowhere = [over & False for over in ended]
    if mode == "same step":
        pairs = zip(ended, final_values, observed_values, strict=True)
        return [choose(*each) for each in pairs], [flag ^ True for flag in nowhere]
    resetting = [nowhere[0], *ended[:-1]]
    following = [unless(flag, value) for flag, value in zip(resetting, observed_values, strict=True)]
    return following, [flag ^ True for flag in resetting]


def expected_draws(priorities: Vector, count: int, parts: str = "equal parts") -> list[Number]:
    """How often each slot is drawn on average by numbers that are uniform in (0, 1) (RPL-12).

    What is drawn changes only where the place is a slot's end, so each stretch between two counts as long as it is.

    >>> expected_draws([1, 3], 1)
    [0.25, 0.75]
    """
    ends = [0, *accumulate(priorities)]
    draws = [0 * ends[-1] for _ in priorities]
    for k in range(count):
        offset, width = (k, count) if parts == "equal parts" else (0, 1)
        cuts = sorted({0, 1, *(cut for end in ends if 0 < (cut := width * end / ends[-1] - offset) < 1)})
        for low, high in pairwise(cuts):
            uniforms = [(low + high) / 2] * count
            draws[sampled_slots(priorities, uniforms, parts)[k]] += high - low
    return draws


def expected_weighted(probabilities: Vector, numbers: Vector, beta: Number, maximum: str = "batch") -> Any:
    """The mean over one draw of its number times its weight (RPL-9)."""
    weights = [priority_weights(probabilities, [slot], beta, maximum)[0] for slot in range(len(numbers))]
    return sum(chance * weight * number for chance, weight, number in zip(probabilities, weights, numbers, strict=True))
