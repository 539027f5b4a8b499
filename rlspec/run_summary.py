"""What a recorded run looked like: the shares and divergences that people watch, each by the clause that defines it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .recorded import Seen


@dataclass(frozen=True)
class Figure:
    """One number over all recorded calls."""

    said: str
    value: float
    clause: str = ""
    """The id of the clause that defines it."""

    def __str__(self) -> str:
        number = f"{self.value:,.0f}" if self.value.is_integer() else f"{self.value:.3g}"
        return f"{self.said}: {number}{f'  ({self.clause})' if self.clause else ''}"


def summary(calls: Sequence[Seen]) -> Iterator[Figure]:
    """The figures that the calls allow."""
    for figures in (_of_ratios, _of_groups, _of_ends):
        yield from figures(calls)


def _each(calls: Sequence[Seen], wanted: Sequence[str], take: Callable[..., np.ndarray]) -> np.ndarray:
    """What is taken from each call that has the arguments that are wanted, in one line."""
    having = [call.named for call in calls if set(wanted) <= set(call.named)]
    return np.concatenate([np.ravel(take(*(given[name] for name in wanted))) for given in having] or [np.array([])])


def _of_ratios(calls: Sequence[Seen]) -> Iterator[Figure]:
    policy = [call for call in calls if call.operation.result == ()]  # losses and other means over tokens
    difference = _each(policy, ("logp", "old_logp", "mask"), lambda new, old, mask: (new - old)[mask].astype(float))
    if difference.size == 0:
        return
    ratio = np.exp(difference)
    yield Figure("tokens whose ratio is counted", float(difference.size))
    yield Figure("k1 of the policy from the old one, the mean of -log r", float(-difference.mean()), "PPO-32")
    yield Figure("k2, the mean of (log r)^2 / 2", float((difference**2).mean() / 2), "PPO-32")
    yield Figure("k3, the mean of r - 1 - log r", float((ratio - 1 - difference).mean()), "PPO-31")
    wanted = ("logp", "old_logp", "mask", "clip_low", "clip_high")
    clipped = _each(policy, wanted, lambda new, old, mask, low, high: _outside(np.exp((new - old)[mask]), low, high))
    if clipped.size:
        yield Figure("share of the tokens whose ratio lies outside the clip", float(clipped.mean()), "PPO-35")


def _outside(ratio: np.ndarray, low: float, high: float) -> np.ndarray:
    return (ratio < 1 - low) | (ratio > 1 + high)


def _of_groups(calls: Sequence[Seen]) -> Iterator[Figure]:
    equal = _each(calls, ("rewards", "groups"), _without_spread)
    if equal.size:
        yield Figure("share of the groups whose rewards are all equal", float(equal.mean()), "GRP-9")


def _without_spread(rewards: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.array([np.ptp(rewards[groups == name]) == 0 for name in np.unique(groups)])


def _of_ends(calls: Sequence[Seen]) -> Iterator[Figure]:
    stopped = _each(calls, ("terminated", "truncated"), lambda end, stop: (stop & ~end)[end | stop])
    if stopped.size:
        yield Figure("share of the episodes' ends that are truncations", float(stopped.mean()), "ADV-3")
