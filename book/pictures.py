"""The book's pictures, drawn in the build: lines and letters take the page's colour, so that both themes show them.

In a page, a directive `picture` with a picture's name stands for it; what it contains is the caption.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from html import escape
from io import StringIO
from math import exp, sqrt
from typing import Any

import matplotlib as mpl
from docutils import nodes
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from rlspec.faults import Fault, museum
from rlspec.reference import moments
from rlspec.reference.decision_process import TabularMDP
from rlspec.reference.differentiation import rational, rational_process
from rlspec.reference.estimators import ESTIMATORS
from rlspec.reference.group import success_weight
from rlspec.reference.ppo import ppo_loss
from rlspec.reference.reductions import divisors
from rlspec.spec.clauses import CHAPTERS, clauses

INK = "#010203"
"""What becomes the page's own colour."""
BLUE, ORANGE, GREEN, RED = "#3b82c4", "#d9822b", "#3a9d5d", "#cc4455"
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
BLANKS = TabularMDP(
    transition=[[[0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]],
    reward=[[0, 0], [1, 0], [0, 1]],
    initial=[1, 0, 0],
    gamma=1,
    horizon=2,
)
HABITS = [[HALF, HALF], [3 * QUARTER, QUARTER], [3 * QUARTER, QUARTER]]
"""The child who fills in two blanks."""


def timeline(figure: Figure) -> None:
    """An episode of two choices."""
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set(xlim=(-0.6, 5), ylim=(-1.1, 0.9))
    for x, said in ((0, "start"), (2, "cat"), (4, "cat purrs")):
        axes.plot(x, 0, "o", markersize=14, color=BLUE)
        axes.text(x, -0.4, said, ha="center", va="top")
    for x, said, chance in ((0, "cat", "1/2"), (2, "purrs", "3/4")):
        axes.annotate("", (x + 1.8, 0), (x + 0.2, 0), arrowprops={"arrowstyle": "->", "color": INK})
        axes.text(x + 1, 0.15, f"“{said}”, {chance}", ha="center")
    axes.text(4.3, 0, "right: 1", va="center", color=GREEN, fontweight="bold")
    for x, said in ((1, "how much of the 1 is its?"), (3, "and how much this one's?")):
        axes.annotate(said, (x, -0.05), (x, -0.95), ha="center", color=ORANGE,
                      arrowprops={"arrowstyle": "->", "color": ORANGE, "linestyle": "--"})  # fmt: skip


def variance(figure: Figure) -> None:
    """What each estimator scatters by."""
    given = moments.process(rational_process(BLANKS), rational(HABITS))
    known, values = moments.episodes(given), moments.exact_values(given)
    best = moments.best_baselines(given).of_states().vertex
    bars = {
        "whole return": moments.whole_return(given).variance,
        "less V(s)": moments.moments(given, moments.reward_to_go(given, values[:, :, None])).variance,
        "less the mean return": moments.whole_return(given, known.mean).variance,
        "less the best b(s)": moments.moments(given, moments.reward_to_go(given, best[:, :, None])).variance,
        "the TD error, with the right values": moments.moments(given, moments.generalized(given, values, 0)).variance,
    }
    axes = figure.add_subplot()
    axes.barh(list(bars), [float(number * 256) for number in bars.values()], color=BLUE)
    axes.invert_yaxis()
    axes.set_xlabel("variance, in 1/256")


def weights(figure: Figure) -> None:
    """What each n weighs."""
    axes, steps = figure.add_subplot(), range(1, 9)
    for decay, color in ((0.0, RED), (0.5, ORANGE), (0.9, GREEN), (1.0, BLUE)):
        shares = [(1 - decay) * decay ** (n - 1) for n in steps[:-1]]
        axes.plot(steps, [*shares, 1 - sum(shares)], "o-", color=color, label=f"λ = {decay:g}")
    axes.set(xlabel="n, the steps that are waited for", ylabel="weight")
    axes.legend()


def bias(figure: Figure) -> None:
    """Squared bias and variance along lambda."""
    given = moments.process(rational_process(BLANKS), rational(HABITS))
    critic, exact = rational([[HALF] * 3] * 2), moments.whole_return(given).mean
    decays = [Fraction(step, 20) for step in range(21)]
    found = [moments.moments(given, moments.generalized(given, critic, rational(decay))) for decay in decays]
    squared = [float(sum((x - y) ** 2 for x, y in zip(one.mean, exact, strict=True))) for one in found]
    axes, along = figure.add_subplot(), [float(decay) for decay in decays]
    axes.plot(along, [256 * number for number in squared], color=RED, label="squared bias")
    for episodes, style in ((1, "-"), (3, "--"), (9, ":")):
        shares = [256 * float(one.variance) / episodes for one in found]
        label = "variance, 1 episode" if episodes == 1 else f"variance, {episodes} episodes"
        axes.plot(along, shares, style, color=BLUE, label=label)
    axes.set(xlabel="λ", ylabel="in 1/256")
    axes.legend()


def reductions(figure: Figure) -> None:
    """What a token receives."""
    mask, names = [[1, 0, 0], [1, 1, 1]], ("token-mean", "mean of means", "mean of sums", "fixed divisor")
    axes = figure.add_subplot()
    for place, (said, row, color) in enumerate((("a token of the short answer", 0, ORANGE),
                                                ("a token of the long answer", 1, BLUE))):  # fmt: skip
        shares = [1 / float(divisors(mask, name, divisor=6)[row]) for name in names]
        axes.bar([x + 0.35 * place for x in range(len(names))], shares, 0.33, color=color, label=said)
    axes.set_xticks([x + 0.175 for x in range(len(names))], [*names[:-1], "fixed divisor, 6"])
    axes.set(ylabel="credit", ylim=(0, 0.7))
    axes.legend(loc="upper left", ncols=2)


def kl(figure: Figure) -> None:
    """The estimates and their derivatives."""
    along = [step / 50 for step in range(-75, 76)]
    slopes: dict[str, Callable[[float], float]] = {"k1": lambda x: 1.0, "k2": lambda x: x, "k3": lambda x: 1 - exp(-x)}
    left, right = figure.subplots(1, 2)
    for (name, slope), color in zip(slopes.items(), (RED, GREEN, BLUE), strict=True):
        left.plot(along, [ESTIMATORS[name](x, exp(-x)) for x in along], color=color, label=name)
        right.plot(along, list(map(slope, along)), color=color, label=name)
    left.set(title="estimate", xlabel="log-ratio x")
    right.set(title="derivative", xlabel="log-ratio x")
    for axes in (left, right):
        axes.axhline(0, color=INK, linewidth=0.5)
        axes.legend()


def clip(figure: Figure) -> None:
    """PPO's objective along the ratio."""
    ratios = [step / 100 for step in range(201)]
    for axes, advantage, said in zip(figure.subplots(1, 2), (1, -1), ("A = 1", "A = -1"), strict=True):
        held = [-surrogate(ratio, advantage) for ratio in ratios]
        axes.plot(ratios, [ratio * advantage for ratio in ratios], "--", color=ORANGE, label="r A")
        axes.plot(ratios, held, color=BLUE, linewidth=2, label="what PPO counts")
        axes.axvspan(0.8, 1.2, color=GREEN, alpha=0.2, linewidth=0)
        axes.set(title=said, xlabel="ratio r")
        axes.legend(loc="upper left" if advantage > 0 else "lower left")


def surrogate(ratio: float, advantage: float) -> float:
    """PPO's loss of one token, with clips of 1/5."""
    loss = ppo_loss([[ratio]], [[0]], [[advantage]], [[1]], 0.2, 0.2, None, exp=lambda it: it)[0]
    return float(loss)


def objective(figure: Figure) -> None:
    """The weight of a prompt by its rate of success."""
    axes, rates = figure.add_subplot(), [step / 100 for step in range(2, 99)]
    for size, color in ((4, ORANGE), (16, GREEN)):
        weighed = [float(success_weight(rate, size, lambda right, of=size: sqrt(right * (of - right)) / of))
                   for rate in rates]  # fmt: skip
        axes.plot(rates, weighed, color=color, label=f"groups of {size}")
    axes.plot(rates, [1 / sqrt(rate * (1 - rate)) for rate in rates], "--", color=BLUE, label="in the limit")
    axes.axhline(1, color=INK, linewidth=0.5)
    axes.text(0.5, 1.08, "without the division", ha="center")
    axes.set(xlabel="probability of a right answer", ylabel="weight", ylim=(0, 7))
    axes.legend()


def museum_map(figure: Figure) -> None:
    """Every known mistake as a square in the row of its chapter."""
    axes, wide = figure.add_subplot(), 62
    chapters = [chapter for chapter in CHAPTERS if any(clauses()[one.clause].chapter == chapter for one in known())]
    kinds = (
        ("seen in several places", BLUE, BLUE),
        ("seen in one place", ORANGE, ORANGE),
        ("made up here", "none", INK),
    )
    places: dict[str, list[tuple[int, float]]] = {name: [] for name, _, _ in kinds}
    for row, chapter in enumerate(chapters):
        inside = sorted(
            (one for one in known() if clauses()[one.clause].chapter == chapter), key=lambda it: -len(it.seen)
        )
        for number, one in enumerate(inside):
            kind = kinds[2 - min(len(one.seen), 2)][0]
            places[kind].append((number % wide, row + 0.42 * (number // wide) - 0.2 * (len(inside) > wide)))
        seen = sum(bool(one.seen) for one in inside)
        axes.text(wide + 1, row, f"{seen} of {len(inside)}", va="center", fontsize=9)
    for name, face, edge in kinds:
        axes.scatter(
            *zip(*places[name], strict=True),
            s=13,
            marker="s",
            facecolor=face,
            edgecolor=edge,
            linewidth=0.6,
            label=name,
        )
    axes.set_yticks(range(len(chapters)), [chapter.replace("_", " ") for chapter in chapters])
    axes.set(ylim=(len(chapters) - 0.4, -0.7), xlim=(-1, wide + 9), xticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(left=False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 0.0), ncols=3, handletextpad=0.1)


def known() -> list[Fault]:
    """The known mistakes."""
    return list(museum().values())


PICTURES: dict[str, tuple[Callable[[Figure], None], Sequence[float]]] = {
    "timeline": (timeline, (7, 2)),
    "variance": (variance, (7, 2.6)),
    "lambda": (weights, (7, 3)),
    "bias": (bias, (7, 3.2)),
    "reductions": (reductions, (7, 3)),
    "kl": (kl, (7, 3)),
    "clip": (clip, (7, 3)),
    "objective": (objective, (7, 3)),
    "museum": (museum_map, (7, 5.6)),
}


def drawn(name: str) -> str:
    """A picture as SVG that takes the colour of the text around it."""
    draw, size = PICTURES[name]
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        written = StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


class Picture(SphinxDirective):
    """A picture and its caption."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The picture as a part of the page."""
        caption = nodes.caption("", "", *self.parse_inline(" ".join(self.content))[0])
        spoken = f'<svg role="img" aria-label="{escape(caption.astext())}"'
        svg = nodes.raw("", drawn(self.arguments[0]).replace("<svg", spoken, 1), format="html")
        return [nodes.figure("", svg, caption, classes=["picture"])]


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
