"""Turns: answers that the environment interrupts (spec/turns.md).

A row is a conversation: the tokens of a prompt, those that the policy has said, turn by turn, and what the environment
said in between.  The mask marks the policy's own tokens, and no others count.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from .advantages import gae
from .choices import one_of
from .group import companies
from .language import Gradient, Language, Policy, Tokens, counted, gathered, spread
from .linear_algebra import Number, Vector
from .returns import reward_to_go


def by_turn(values: Vector, turns: Sequence[int], mask: Sequence[Any]) -> dict[int, list[Number]]:
    """The numbers of the tokens that count, by the turn that they are of; turns in their order.

    >>> by_turn([1, 2, 3, 4], [0, 0, 7, 1], [1, 1, 0, 1])
    {0: [1, 2], 1: [4]}
    """
    found: dict[int, list[Number]] = {}
    for turn, value in counted(zip(turns, values, strict=True), mask):
        found.setdefault(turn, []).append(value)
    return found


def _at_their_tokens(of_turns: Mapping[int, Number], turns: Sequence[int], mask: Sequence[Any]) -> list[Number]:
    """Each turn's number at each of its tokens, and 0 where nothing counts."""
    return spread([of_turns[turn] for turn in counted(turns, mask)], mask)


def turn_sums(values: Vector, turns: Sequence[int], mask: Sequence[Any]) -> list[Number]:
    """The sum over a turn's tokens, at each of them (TURN-2).

    values, turns, mask: [T].  Returns T numbers.

    >>> turn_sums([1, 2, 9, 4], [0, 0, 0, 1], [1, 1, 0, 1])
    [3, 3, 0, 4]
    """
    sums = {turn: sum(known) for turn, known in by_turn(values, turns, mask).items()}
    return _at_their_tokens(sums, turns, mask)


def turn_returns(token_rewards: Vector, turns: Sequence[int], mask: Sequence[Any], gamma: Number) -> list[Number]:
    """Reward-to-go with turns as steps: what a turn and all later ones were paid, discounted per turn (TURN-4).

    token_rewards, turns, mask: [T].  Returns T numbers.

    >>> turn_returns([1, 2, 9, 4], [0, 0, 0, 1], [1, 1, 0, 1], 0.5)
    [5.0, 5.0, 0, 4.0]
    """
    earned = {turn: sum(paid) for turn, paid in by_turn(token_rewards, turns, mask).items()}
    to_go = reward_to_go(list(earned.values()), gamma)
    return _at_their_tokens(dict(zip(earned, to_go, strict=True)), turns, mask)


def turn_gae(
    token_rewards: Vector, values: Vector, turns: Sequence[int], mask: Sequence[Any], gamma: Number, lam: Number
) -> list[Number]:
    """GAE with turns as steps; a turn's value is that of its first token, and nothing follows the last (TURN-7).

    token_rewards, values, turns, mask: [T].  Returns T numbers.

    >>> turn_gae([1, 2, 9, 4], [2, 9, 9, 6], [0, 0, 0, 1], [1, 1, 0, 1], 0.5, 0.5)
    [3.5, 3.5, 0, -2.0]
    """
    earned = {turn: sum(paid) for turn, paid in by_turn(token_rewards, turns, mask).items()}
    known = [told[0] for told in by_turn(values, turns, mask).values()]
    never = [False for _ in known]
    advantages = gae(list(earned.values()), known, [*known[1:], 0], never, never, gamma, lam) if known else []
    return _at_their_tokens(dict(zip(earned, advantages, strict=True)), turns, mask)


def expected_gradient_by_turns(
    language: Language, policy: Policy, size: int, to_go: Callable[[int, Tokens], Sequence[Number]], alone: str
) -> Gradient:
    """E[1/G sum_i sum_k A_ik grad log pi(y_ik|...)] with every token a turn, by listing every group (TURN-12).

    to_go: what is still to come from each turn of an answer on.  A_ik is that less the mean over the others of the
    group that have a k-th turn.  alone: whether an answer without others keeps `its return`, or has `zero`.
    """
    lonely = one_of({"its return": 1, "zero": 0}, alone)

    def advantages(known: list[Sequence[Number]], place: int) -> list[Number]:
        rest = [row for other, row in enumerate(known) if other != place]
        return [
            own - _mean([row[turn] for row in rest if turn < len(row)], otherwise=(1 - lonely) * own)
            for turn, own in enumerate(known[place])
        ]

    return gathered(language, policy, (
        (prompt, tokens, [asked * chance * advantage / size for advantage in advantages(known, place)])
        for prompt, asked in enumerate(language.prompts)
        for chance, company in companies(language, policy, prompt, size)
        for known in [[to_go(prompt, tokens) for tokens in company]]
        for place, tokens in enumerate(company)
    ))  # fmt: skip


def _mean(numbers: Vector, otherwise: Number) -> Number:
    """The mean, or another number where there are none."""
    return sum(numbers) / Fraction(len(numbers)) if numbers else otherwise
