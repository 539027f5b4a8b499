"""Ways to compute advantages."""

import numpy as np

from rlspec.spec.choices import number_in

from .catalogue import way
from .returns import RECURSIONS, bootstrapped, ends


@way("a reward and a difference of values")
def td_error(style, choices, rewards, values, next_values, terminated, gamma):
    return bootstrapped(rewards, next_values, terminated, gamma) - values


@way("a difference of values and a reward, with the bootstrap masked")
def td_error(style, choices, rewards, values, next_values, terminated, gamma):
    return style.dtype(gamma) * np.where(terminated, style.dtype(0), next_values) - (values - rewards)


@way("entry by entry, a sum of three")
def td_error(style, choices, rewards, values, next_values, terminated, gamma):
    ahead = style.dtype(gamma) * np.where(terminated, style.dtype(0), next_values)
    return style.total(np.stack([rewards, ahead, -values], axis=-1))


for how, recursion in RECURSIONS.items():

    @way(f"TD errors, {how}")
    def gae(style, choices, rewards, values, next_values, terminated, truncated, gamma, lam, recursion=recursion):
        errors = bootstrapped(rewards, next_values, terminated, gamma) - values
        factors = np.where(terminated | truncated, 0, style.dtype(gamma) * style.dtype(lam)).astype(style.dtype)
        return recursion(style)(errors, factors)

    @way(f"the lambda-return less the value, {how}")
    def gae(style, choices, rewards, values, next_values, terminated, truncated, gamma, lam, recursion=recursion):
        ended = ends(terminated, truncated)
        trust = np.where(ended, style.dtype(1), 1 - style.dtype(lam))
        terms = bootstrapped(rewards, next_values, terminated, gamma * trust)
        factors = np.where(ended, 0, style.dtype(gamma) * style.dtype(lam)).astype(style.dtype)
        return recursion(style)(terms, factors) - values


def spread_of(style, centred, ddof):
    """The variance of what is centred already."""
    return style.whole(centred * centred) / style.dtype(max(centred.size - ddof, 1))


def divided(style, choice, numbers, variance):
    """Numbers over the divisor that a choice makes of their variance, or 0: the choice's text is its formula."""
    std = np.sqrt(variance)
    known = {"std": std, "var": variance, "max": np.maximum, "sqrt": np.sqrt}
    divisor = style.dtype(eval(choice, {"__builtins__": {}}, known))
    return numbers / np.where(divisor > 0, divisor, np.inf)


def normalized(style, choices, known):
    """Numbers with mean 0, over their spread."""
    if known.size == 1 and choices["one"] == "unchanged":
        return known
    if known.size == 1 or np.ptp(known) == 0:
        return np.zeros_like(known)
    ddof = int(choices["std"].removeprefix("ddof="))
    centred = known - style.whole(known) / style.dtype(known.size)
    return divided(style, choices["eps"], centred, spread_of(style, centred, ddof))


@way("what the mask selects, and put back")
def normalize_advantages(style, choices, advantages, mask):
    result = np.zeros_like(advantages)
    if mask.any():
        result[mask] = normalized(style, choices, style.selected(advantages, mask))
    return result


@way("masked sums, whether or not all are equal")
def normalize_advantages(style, choices, advantages, mask):
    clean, count = style.kept(advantages, mask), int(mask.sum())
    if count < 2:
        return clean if choices["one"] == "unchanged" else np.zeros_like(clean)
    centred = style.kept(clean - style.whole(clean) / style.dtype(count), mask)
    if choices["eps"] == "std" and np.ptp(advantages[mask]) == 0:
        return np.zeros_like(clean)
    ddof = int(choices["std"].removeprefix("ddof="))
    return divided(style, choices["eps"], centred, style.whole(centred**2) / style.dtype(count - ddof))


def off_policy(style, choices, targets_of, arrays, gamma, lam, rho_clip, c_clip):
    """V-trace, given how its targets are found."""
    rewards, values, next_values, terminated, truncated, log_ratio = arrays
    gamma, lam = style.dtype(gamma), style.dtype(lam)
    ended = ends(terminated, truncated)
    rho, c = (clipped(style, log_ratio, clip) for clip in (rho_clip, c_clip))
    safe = np.where(terminated, style.dtype(0), next_values)
    errors = rho * (rewards + gamma * safe - values)
    targets = values + targets_of(errors, np.where(ended, 0, gamma * lam * c).astype(style.dtype))
    reach = lam if choices["advantage"] == "mixed" else style.dtype(1)
    later = np.roll(targets, -1, axis=1)
    ahead = np.where(ended, safe, (1 - reach) * safe + reach * np.where(ended, 0, later))
    own = number_in("at most C", choices["policy_clip"])
    weight = rho if own is None else clipped(style, log_ratio, own)
    return targets, weight * (rewards + gamma * ahead - values)


def clipped(style, log_ratio, clip):
    """min(clip, exp(log_ratio)), without an exponential that overflows."""
    return style.exp(np.minimum(log_ratio, np.log(style.dtype(clip)))).astype(style.dtype)


for how, recursion in RECURSIONS.items():

    @way(f"clipped TD errors, {how}")
    def vtrace(
        style,
        choices,
        rewards,
        values,
        next_values,
        terminated,
        truncated,
        log_ratio,
        gamma,
        lam,
        rho_clip,
        c_clip,
        recursion=recursion,
    ):
        arrays = rewards, values, next_values, terminated, truncated, log_ratio
        return off_policy(style, choices, recursion(style), arrays, gamma, lam, rho_clip, c_clip)
