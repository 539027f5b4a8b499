"""The ledger of bias and variance: what every estimate of a policy's gradient costs in one process, exactly.

    python -m rlspec ledger chain
    python -m rlspec ledger my_process.json --lambdas 0,0.9,1 --groups 2,8 --json ledger.json --plot ledger.png

Nothing here is sampled.  Means and covariances come from `reference.moments`, which proves itself in rationals; here it
runs in float64.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .processes import NAMED, Setting
from .progress import Line, the_terminal, time_left
from .reference import moments
from .reference.decision_process import TabularMDP, checked_policy
from .reference.linear_algebra import Matrix
from .reference.moments import Array, Moments, Process

LAMBDAS, STEPS, GROUPS = (0, 0.5, 0.9, 0.95, 1), (1, 2, 4), (2, 4, 8, 16)
MOST_BYTES = 8 * 2**30
"""What one covariance and the tables on the way to it may take."""

ROUNDING = 1e-9
"""The share of |grad J|, or of the largest variance beside it, below which a number is shown as 0."""

REQUIRED, OPTIONAL = ("transition", "reward", "initial", "gamma", "horizon"), ("policy", "critic", "behaviour")


@dataclass(frozen=True)
class Entry:
    """One estimator's line."""

    estimator: str
    trajectories: int
    """how many trajectories one estimate takes"""
    bias: float
    """the length of E[ghat] - grad J"""
    cosine: float | None
    """of the angle between E[ghat] and grad J; None where one of them is 0"""
    variance: float
    """the sum of the components' variances"""
    needed: int | None
    """how many trajectories make the root of the mean squared error as small as asked for; None if none do"""


@dataclass
class Ledger:
    """The lines so far, and what they are about."""

    process: str
    error: float
    """the error that `needed` is about, in lengths of grad J"""
    expected_return: float = 0.0
    gradient: float = 0.0
    """the length of grad J"""
    entries: list[Entry] = field(default_factory=list)
    horizons: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    """for each horizon the variances of some estimators"""
    complete: bool = False


@dataclass(frozen=True)
class Asked:
    """Which lines are wanted."""

    lambdas: Sequence[Any] = LAMBDAS
    """of GAE, each for the critic and for the values that are right"""
    steps: Sequence[int] = STEPS
    """n of the n-step estimates"""
    groups: Sequence[int] = GROUPS
    """sizes of groups, whose baselines have the own reward left out, or in them"""
    horizons: Sequence[int] = ()
    """further horizons, in steps, of which some variances are wanted"""
    error: float = 0.1
    """the root of the mean squared error that the needed trajectories are counted for, in lengths of grad J"""


def ledger(setting: Setting, asked: Asked = Asked(), name: str = "process", known: Ledger | None = None) -> Ledger:
    """The whole ledger of one setting: an entry for each estimator, by the formulas of CRIT-6 to CRIT-17.

    asked: which estimators, for which numbers.  name: what the process is called.
    known: where the lines are put as they are found, so that an interruption leaves what there is.
    Raises ValueError for a malformed setting, by the name of the entry, and for one that is too large for memory.
    """
    book = known or Ledger(name, asked.error)
    for _ in lines(setting, asked, book):
        pass
    return book


def lines(setting: Setting, asked: Asked, book: Ledger) -> Iterator[tuple[str, int, int]]:
    """Fill the book line by line; yields before each line its name, how many are done, and how many there are to be."""
    yield "the exact gradient", 0, 1
    setting = in_floats(setting)
    given = checked(setting)
    exact = moments.moments(given, moments.reward_to_go(given, moments.exact_values(given)[:, :, None])).mean
    book.expected_return = float(given.initial @ moments.exact_values(given)[0])
    book.gradient = _length(exact)
    family = [*estimators(given, setting, asked)]
    total = 1 + len(family) + len(asked.horizons)
    for done, (name, size, found) in enumerate(family, 1):
        yield name, done, total
        book.entries.append(_entry(name, size, found(), exact, asked.error))
    for done, horizon in enumerate(asked.horizons, 1 + len(family)):
        yield f"horizon {horizon}", done, total
        book.horizons.append((horizon, _at_horizon(setting, horizon)))
    book.complete = True


def estimators(given: Process, setting: Setting, asked: Asked) -> Iterator[tuple[str, int, Callable[[], Moments]]]:
    """The family: each estimator's name, its trajectories per estimate, and its moments when they are called for."""

    def of(credit: Callable[..., moments.Credit], *arguments: Any) -> Callable[[], Moments]:
        return lambda: moments.moments(given, credit(given, *arguments))

    values, best = moments.exact_values(given), moments.best_baselines(given)
    if given.horizon:
        whole = moments.episodes(given)
        yield "whole return", 1, lambda: moments.whole_return(given)
        yield "whole return - mean", 1, lambda: moments.whole_return(given, whole.mean)
    yield "reward-to-go", 1, of(moments.reward_to_go)
    if given.horizon and given.gamma != 1:
        yield "reward-to-go, no gamma^t", 1, of(moments.reward_to_go, 0, 1)
    for name, baseline in (
        ("V(s)", values), ("best constant", best.of_all().vertex), ("best b(s)", best.of_states().vertex),
        ("best b_t(s)", best.vertex),
    ):  # fmt: skip
        if given.horizon or name != "best b_t(s)":
            yield f"reward-to-go - {name}", 1, of(moments.reward_to_go, baseline[:, :, None])
    for title, critic in (("critic", setting.critic), ("V", values)):
        for lam in asked.lambdas:
            yield f"GAE({float(lam):g}), {title}", 1, of(moments.generalized, critic, lam)
    for n in asked.steps:
        if not given.horizon or n <= given.horizon:
            yield f"{n}-step, critic", 1, of(moments.n_step, setting.critic, n)
    if given.horizon:
        for size in asked.groups:
            yield f"leave-one-out, N={size}", size, lambda size=size: moments.leave_one_out(whole, size)  # type: ignore[misc]
            yield f"mean-centred, N={size}", size, lambda size=size: moments.mean_centred(whole, size)  # type: ignore[misc]
    if given.horizon and setting.behaviour is not None:
        off = moments.process(setting.mdp, setting.policy, behaviour=setting.behaviour)
        yield "per-decision ratios", 1, lambda: moments.moments(off, moments.per_decision(off))


def _entry(name: str, size: int, found: Moments, exact: Array, error: float) -> Entry:
    bias, variance = _length(found.mean - exact), max(float(found.variance), 0.0)
    if not math.isfinite(bias) or not math.isfinite(variance):
        raise ValueError(f"{name}: the moments exceed float64; give the rewards in a larger unit")
    lengths = _length(found.mean) * _length(exact)
    cosine = min(max(float(found.mean @ exact) / lengths, -1.0), 1.0) if lengths else None
    allowed = (error * _length(exact)) ** 2 - bias**2
    needed = size * max(math.ceil(variance / allowed), 1) if allowed > 0 else None
    return Entry(name, size, bias, cosine, variance, needed)


def _at_horizon(setting: Setting, horizon: int) -> dict[str, float]:
    mdp, policy = replace(setting.mdp, horizon=horizon), setting.policy
    given = moments.process(mdp, policy)
    found = {
        "whole return": moments.whole_return(given),
        "reward-to-go": moments.moments(given, moments.reward_to_go(given)),
        "reward-to-go - V(s)": moments.moments(
            given, moments.reward_to_go(given, moments.exact_values(given)[:, :, None])
        ),
    }
    return {name: float(of.variance) for name, of in found.items()}


def _length(vector: Array) -> float:
    """The length of a vector; by float64's own care for large and small numbers."""
    return math.hypot(*map(float, vector))


def checked(setting: Setting) -> Process:
    """The setting as arrays, if it is one.

    Raises ValueError, naming the entry, for a policy, behaviour or critic that does not fit the process.
    """
    mdp = setting.mdp
    states, actions = mdp.shape
    parameters = states * actions
    needed = 8 * parameters * (4 * parameters + 4 * states)
    if needed > MOST_BYTES:
        raise ValueError(
            f"transition has {states} states and {actions} actions; the covariance of {parameters} parameters takes "
            f"about {needed / 2**30:.0f} GiB, and at most {MOST_BYTES / 2**30:.0f} are used"
        )
    checked_policy(mdp, setting.policy)
    rows = {1, mdp.horizon or 1}
    if len(setting.critic) not in rows or any(len(row) != states for row in setting.critic):
        shape = " or ".join(f"[{count}][{states}]" for count in sorted(rows))
        raise ValueError(f"critic has not the shape {shape}: one number for each state, or a row of them for each step")
    if (mu := setting.behaviour) is not None:
        _checked_behaviour(mdp, mu)
        moments.process(mdp, setting.policy, behaviour=mu)
    return moments.process(mdp, setting.policy)


def _checked_behaviour(mdp: TabularMDP, behaviour: Matrix) -> None:
    try:
        checked_policy(mdp, behaviour)
    except ValueError as refused:
        raise ValueError(str(refused).replace("policy", "behaviour", 1)) from None


# From a file.


def read(what: str) -> Setting:
    """The named process, or the one in a JSON file, in float64.

    The file has an object with transition [S][A][S], reward [S][A], initial [S], gamma, horizon (null is infinite), and
    if wanted policy [S][A] (all actions alike otherwise), critic [S] or [H][S] (0 otherwise) and behaviour [S][A].
    Numbers may be strings such as "1/3".  Raises ValueError saying what is wrong, where, and what was expected.
    """
    if what in NAMED:
        return NAMED[what]()
    try:
        text = Path(what).read_text(encoding="utf-8")
        found = json.loads(text)
    except FileNotFoundError:
        raise ValueError(f"there is no file {what}, and no process of that name; known: {', '.join(NAMED)}") from None
    except OSError as error:
        raise ValueError(f"{what} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{what} is not text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{what} is not JSON: {error.msg}, line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{what} has numbers too long or lists too deep to be a process") from None
    try:
        return _setting(found)
    except ValueError as refused:
        raise ValueError(f"{what}: {refused}") from None


def _setting(found: Any) -> Setting:
    if not isinstance(found, dict):
        raise ValueError(f"an object with {', '.join(REQUIRED)} was expected, not a {type(found).__name__}")
    if missing := [key for key in REQUIRED if key not in found]:
        raise ValueError(f"{', '.join(missing)} missing; an object with {', '.join(REQUIRED)} was expected")
    if strange := [key for key in found if key not in (*REQUIRED, *OPTIONAL)]:
        raise ValueError(f"{', '.join(strange)} not known; what may be added is {', '.join(OPTIONAL)}")
    tables = {key: _floats(key, found[key]) for key in (*REQUIRED[:-1], *OPTIONAL) if key in found}
    horizon = found["horizon"]
    if isinstance(horizon, bool):
        raise ValueError(f"horizon is {horizon}, neither a whole number of actions nor null")
    mdp = TabularMDP(tables["transition"], tables["reward"], tables["initial"], tables["gamma"], horizon)
    states, actions = mdp.shape
    critic = tables.get("critic", [0.0] * states)
    if not isinstance(critic, list) or not critic:
        raise ValueError("critic is not a list of numbers, one for each state")
    rows = critic if isinstance(critic[0], list) else [critic]
    if any(not isinstance(row, list) or any(isinstance(number, list) for number in row) for row in rows):
        raise ValueError("critic is neither [S] nor [H][S]")
    policy = tables.get("policy", [[1 / actions] * actions] * states)
    return Setting(mdp, policy, rows, tables.get("behaviour"))


def _floats(name: str, value: Any) -> Any:
    """Nested lists of numbers as floats; refused by the name of the entry."""
    if isinstance(value, list):
        return [_floats(f"{name}[{index}]", entry) for index, entry in enumerate(value)]
    try:
        number = math.nan if isinstance(value, bool) else float(Fraction(value) if isinstance(value, str) else value)
    except (TypeError, ValueError, ZeroDivisionError):
        number = math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is {json.dumps(value)[:40]}, not a finite number")
    return number


def in_floats(setting: Setting) -> Setting:
    """The same setting in float64."""
    of = setting.mdp
    transition, reward, initial = (np.array(table, dtype=float) for table in (of.transition, of.reward, of.initial))
    policy, critic = (np.array(table, dtype=float).tolist() for table in (setting.policy, setting.critic))
    mu = None if setting.behaviour is None else np.array(setting.behaviour, dtype=float).tolist()
    return Setting(TabularMDP(transition, reward, initial, float(of.gamma), of.horizon), policy, critic, mu)


# What is shown.


def table(book: Ledger) -> str:
    """The ledger as text."""
    head = [
        f"{book.process}: J = {book.expected_return:.6g}, |grad J| = {book.gradient:.6g}",
        f"needed: trajectories until the root mean squared error is {book.error:g} |grad J|",
        "",
        f"{'estimator':29}{'bias':>12}{'cosine':>10}{'variance':>12}{'per estimate':>14}{'needed':>12}",
    ]
    rows = [
        f"{of.estimator:29}{_short(of.bias, book):>12}{'-' if of.cosine is None else f'{of.cosine:.5f}':>10}"
        f"{of.variance:12.5g}{of.trajectories:14}{'never' if of.needed is None else of.needed:>12}"
        for of in book.entries
    ]
    by_horizon: list[str] = []
    if book.horizons:
        names = list(book.horizons[0][1])
        by_horizon = ["", "variance by horizon" + "".join(f"{name:>24}" for name in names)]
        for horizon, numbers in book.horizons:
            least = ROUNDING * max(numbers.values())
            by_horizon += [f"{horizon:19}" + "".join(f"{x if x > least else 0:24.5g}" for x in numbers.values())]
    last = [] if book.complete else ["", "interrupted; this is what was known"]
    return "\n".join([*head, *rows, *by_horizon, *last])


def _short(bias: float, book: Ledger) -> str:
    """The bias, or 0 for what is no more than rounding."""
    return f"{_shown(bias, book):.5g}"


def as_json(book: Ledger) -> str:
    """The ledger as JSON."""
    horizons = [{"horizon": horizon, "variance": numbers} for horizon, numbers in book.horizons]
    return json.dumps(asdict(book) | {"horizons": horizons}, indent=2, allow_nan=False) + "\n"


def plot(book: Ledger, file: str) -> None:
    """Bias against variance along lambda, variance against horizon, and leave-one-out against the group's size.

    Raises ValueError, in plain words, without matplotlib or for a file that it cannot write.
    """
    figure = _figure()
    along, by_horizon, by_size = figure.subplots(1, 3)
    _along_lambda(along, book)
    _along_the_horizon(by_horizon, book)
    _along_the_group(by_size, book)
    for panel in (along, by_horizon, by_size):
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{book.process}: what an estimate of grad J costs")
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as error:
        raise ValueError(f"the plot cannot be written to {file}: {error}") from None


def _along_lambda(panel: Any, book: Ledger) -> None:
    panel.set(xlabel="variance", ylabel="bias", title="GAE along lambda")
    paths = {
        title: [of for of in book.entries if of.estimator.startswith("GAE") and of.estimator.endswith(f", {title}")]
        for title in ("critic", "V")
    }
    widest = max((of.variance for path in paths.values() for of in path), default=0) or 1
    highest = max((_shown(of.bias, book) for path in paths.values() for of in path), default=0) or book.gradient or 1
    beside, below = {"xytext": (5, 4), "ha": "left"}, {"xytext": (0, -14), "ha": "center"}
    for path, style, legend, place in zip(
        paths.values(), ("o-", "s--"), ("critic", "exact values V"), (beside, below), strict=True
    ):
        at = [(of.variance, _shown(of.bias, book)) for of in path]
        (line,) = panel.plot(*zip(*at, strict=True), style, label=legend)
        names = [of.estimator.partition("(")[2].partition(")")[0] for of in path]
        for first, last in _together(at, (widest / 6, highest / 14)):
            text = names[first] if first == last else f"{names[first]} to {names[last]}"
            middle = [(a + b) / 2 for a, b in zip(at[first], at[last], strict=True)]
            panel.annotate(text, middle, textcoords="offset points", fontsize=9, color=line.get_color(), **place)
    panel.set(xlim=(0, 1.12 * widest), ylim=(-0.1 * highest, 1.12 * highest))
    panel.legend(frameon=False)


def _shown(bias: float, book: Ledger) -> float:
    return 0.0 if bias <= ROUNDING * book.gradient else bias


def _together(points: Sequence[tuple[float, float]], widths: tuple[float, float]) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of points that lie too close together to be named one by one."""
    first = 0
    for place, point in enumerate(points):
        if any(abs(a - b) > width for a, b, width in zip(points[first], point, widths, strict=True)):
            yield first, place - 1
            first = place
    if points:
        yield first, len(points) - 1


def _along_the_horizon(panel: Any, book: Ledger) -> None:
    panel.set(xlabel="horizon H", ylabel="variance", title="along the horizon")
    if len(book.horizons) < 2:
        _nothing(panel, "one horizon only")
        return
    sizes = [horizon for horizon, _ in book.horizons]
    for name, style, width in zip(book.horizons[0][1], ("o-", "s--", "^:"), (3, 2, 2), strict=True):
        panel.plot(sizes, [numbers[name] for _, numbers in book.horizons], style, linewidth=width, label=name)
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False)


def _along_the_group(panel: Any, book: Ledger) -> None:
    panel.set(xlabel="group size N", ylabel="N times the variance", title="along the group")
    groups = [of for of in book.entries if of.trajectories > 1]
    if not groups:
        _nothing(panel, "no groups")
        return
    for kind, style in (("leave-one-out", "o-"), ("mean-centred", "s--")):
        of_kind = [of for of in groups if of.estimator.startswith(kind)]
        sizes = [of.trajectories for of in of_kind]
        label = kind if kind == "leave-one-out" else "mean-centred, (N - 1)/N as long"
        panel.plot(sizes, [of.trajectories * of.variance for of in of_kind], style, label=label)
    limit = next(of.variance for of in book.entries if of.estimator == "whole return - mean")
    panel.axhline(limit, color="grey", linestyle=":", label="with E[R] as the baseline")
    panel.set_xscale("log", base=2)
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False)


def _nothing(panel: Any, why: str) -> None:
    panel.set(xticks=[], yticks=[], xlabel="", ylabel="")
    panel.spines[:].set_visible(False)
    panel.text(0.5, 0.5, why, ha="center", va="center", color="grey", transform=panel.transAxes)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'rlspec[plot]'") from None
    return Figure(figsize=(13, 4), layout="constrained")


def run(what: str, asked: Asked, json_file: str | None = None, plot_file: str | None = None) -> int:
    """The command: print the ledger, and write it where asked; 2 for input that is refused, 130 when interrupted."""
    book = Ledger(what, asked.error)
    try:
        if plot_file:
            _figure()  # before anything is worked out in vain
        with np.errstate(all="ignore"):
            _watched(what, asked, book)
    except ValueError as refused:
        print(f"rlspec ledger: {refused}", file=sys.stderr)
        return 2
    print(table(book))
    try:
        if json_file:
            Path(json_file).write_text(as_json(book), encoding="utf-8")
        if plot_file:
            plot(book, plot_file)
    except OSError as error:
        print(f"rlspec ledger: {json_file} cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    except ValueError as refused:
        print(f"rlspec ledger: {refused}", file=sys.stderr)
        return 2
    return 0 if book.complete else 130


def _watched(what: str, asked: Asked, book: Ledger) -> None:
    """Fill the book; say on a terminal what is being worked out; stop when interrupted."""
    now = "the process", 0, 1
    begun = time.monotonic()

    def said() -> str:
        name, done, total = now
        return f"{done} of {total} lines, {time_left(done, total, time.monotonic() - begun)}; now {name}"

    with suppress(KeyboardInterrupt), the_terminal() as terminal, Line(terminal).kept(said):
        setting = read(what)
        if not asked.horizons:
            asked = replace(asked, horizons=_powers(setting.mdp.horizon or 16))
        for step in lines(setting, asked, book):
            now = step


def _powers(horizon: int) -> list[int]:
    """1, 2, 4, ... below the horizon, and the horizon."""
    return [2**power for power in range(horizon.bit_length()) if 2**power < horizon] + [horizon]
