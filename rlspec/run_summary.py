"""What a recorded run looked like: the shares and divergences that people watch, each by the clause that defines it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .recorded import Seen
from .reference.critics import explained_variance

Calls = Sequence[Seen]


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


def summary(calls: Calls) -> Iterator[Figure]:
    """The figures that the calls allow."""
    for figures in (_of_ratios, _of_references, _of_groups, _of_answers, _of_ends, _of_values):
        yield from figures(calls)


def _each(calls: Calls, wanted: Sequence[str], take: Callable[..., np.ndarray]) -> np.ndarray:
    """What is taken from each call that has the arguments that are wanted, in one line."""
    having = [call.named for call in calls if set(wanted) <= set(call.named)]
    return np.concatenate([np.ravel(take(*(given[name] for name in wanted))) for given in having] or [np.array([])])


def _losses(calls: Calls) -> list[Seen]:
    """Losses and other means over tokens."""
    return [call for call in calls if call.operation.result == ()]


def _log_ratios(calls: Calls, other: str) -> np.ndarray:
    """log pi - log pi' of the tokens that count, pi' being the old or the reference policy."""
    return _each(calls, ("logp", other, "mask"), lambda new, its, mask: (new.astype(float) - its)[mask])


def _divergences(of: np.ndarray, whom: str) -> Iterator[Figure]:
    """The three estimates side by side, of log-ratios x."""
    yield Figure(f"k1 of the policy from {whom}, the mean of log r", float(of.mean()), "KL-1")
    yield Figure("k2, the mean of (log r)^2 / 2", float((of**2).mean() / 2), "KL-2")
    yield Figure("k3, the mean of 1/r - 1 + log r", float((np.exp(-of) - 1 + of).mean()), "KL-3")


def _of_ratios(calls: Calls) -> Iterator[Figure]:
    losses = _losses(calls)
    logs = _log_ratios(losses, "old_logp")
    if logs.size == 0:
        return
    ratio = np.exp(logs)
    yield Figure("tokens whose ratio r to the old policy is counted", float(logs.size))
    # The tokens are the old policy's, so that the divergence that they estimate is its own from the new one (PPO-34).
    yield Figure("k1 of the old policy from the policy, the mean of -log r", float(-logs.mean()), "PPO-31")
    yield Figure("k2, the mean of (log r)^2 / 2", float((logs**2).mean() / 2), "PPO-31")
    yield Figure("k3, the mean of r - 1 - log r", float((ratio - 1 - logs).mean()), "PPO-31")
    effective = ratio.sum() ** 2 / (ratio**2).sum() / ratio.size
    yield Figure("effective sample size of the ratios, as a share of the tokens", float(effective), "COR-18")
    wanted = ("logp", "old_logp", "mask", "clip_low", "clip_high")
    clipped = _each(losses, wanted, lambda new, old, mask, low, high: _outside(np.exp((new - old)[mask]), low, high))
    if clipped.size:
        yield Figure("share of the tokens whose ratio lies outside the clip", float(clipped.mean()), "PPO-35")


def _outside(ratio: np.ndarray, low: float, high: float) -> np.ndarray:
    return (ratio < 1 - low) | (ratio > 1 + high)


def _of_references(calls: Calls) -> Iterator[Figure]:
    logs = _log_ratios(_losses(calls), "ref_logp")
    if logs.size:
        yield from _divergences(logs, "the reference")


def _of_groups(calls: Calls) -> Iterator[Figure]:
    equal = _each(calls, ("rewards", "groups"), _without_spread)
    if equal.size:
        yield Figure("share of the groups whose rewards are all equal", float(equal.mean()), "GRP-9")


def _without_spread(rewards: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.array([np.ptp(rewards[groups == name]) == 0 for name in np.unique(groups)])


def _of_answers(calls: Calls) -> Iterator[Figure]:
    endless = _each(calls, ("tokens", "prompt_length", "eos"), _without_end)
    if endless.size:
        yield Figure("share of the answers that no EOS ends", float(endless.mean()), "LANG-16")
    long = _each(calls, ("lengths", "max_length"), lambda lengths, most: lengths >= most)
    if long.size:
        yield Figure("share of the answers of the greatest length", float(long.mean()), "OVER-3")
    full = _each([call for call in calls if "groups" in call.named], ("mask",), _to_the_last)
    if full.size:
        yield Figure("share of the answers that reach the last column, as those that are cut do", float(full.mean()),
                     "LANG-16")  # fmt: skip


def _without_end(tokens: np.ndarray, prompt_length: np.ndarray, eos: int) -> np.ndarray:
    behind = np.arange(tokens.shape[1]) >= np.reshape(prompt_length, (-1, 1))
    return ~(behind & (tokens == eos)).any(axis=1)


def _to_the_last(mask: Any) -> np.ndarray:
    return np.asarray(mask, dtype=bool)[:, -1]


def _of_ends(calls: Calls) -> Iterator[Figure]:
    stopped = _each(calls, ("terminated", "truncated"), lambda end, stop: (stop & ~end)[end | stop])
    if stopped.size:
        yield Figure("share of the episodes' ends that are truncations", float(stopped.mean()), "ADV-3")


def _of_values(calls: Calls) -> Iterator[Figure]:
    """Of the returns that values are trained on, or else of those that advantages say there are."""
    pairs = [(call.named["values"][call.named["mask"]], call.named["returns"][call.named["mask"]])
             for call in calls if {"values", "returns", "mask"} <= set(call.named)]  # fmt: skip
    pairs = pairs or [(call.named["values"].ravel(), (call.named["values"] + call.results[""]).ravel())
                      for call in calls if call.operation.name == "gae"]  # fmt: skip
    values, returns = (np.array([number for pair in pairs for number in pair[place]], dtype=float) for place in (0, 1))
    if returns.size and np.ptp(returns) > 0:
        explained = explained_variance(values.tolist(), returns.tolist())
        yield Figure("explained variance of the returns, by the values", float(explained), "CRIT-18")
