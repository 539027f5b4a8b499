"""The symbols of the formulas: what each means, and the page or the clause that says so."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import bindings

from rlspec.spec.clauses import CHAPTERS

ROOT = Path(__file__).parents[1]
FRONT = ("outcome", "score", "variance", "bootstrapping", "language_models", "answers")

FORMULAS = re.compile(r"\$\$(.+?)\$\$|\$`?([^$`]+)`?\$|^```math\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXAMPLES = re.compile(r"^```python.*?^```", re.DOTALL | re.MULTILINE)
SYMBOL = re.compile(r"\\(?:mathrm|mathbb)\{(\w+)\}|(\\[A-Za-z]+)|([A-Za-z])")
SIGNS = {
    r"\le", r"\ge", r"\lt", r"\gt", r"\ne", r"\to", r"\sim", r"\cdot", r"\ast", r"\Vert", r"\dots", r"\infty", r"\Big",
    r"\qquad", r"\mid", r"\frac", r"\in", r"\hat", r"\sqrt", r"\text", r"\arcsin", r"\sum", r"\prod", r"\log", r"\exp",
    r"\min", r"\max", r"\tanh", r"\nabla",
}  # fmt: skip
"""What a formula has besides symbols: signs, and the functions that every reader knows."""

MEANINGS = [
    ("s", "a state", "outcome"),
    ("a", "an action; for a language model, a token", "outcome"),
    ("b", "an action that a sum goes over", "outcome"),
    ("b", "a baseline, $b(s)$", "PG-6"),
    ("b", "a row of a batch, as an index", "reductions"),
    ("r", "a reward, $r_t$", "RET-1"),
    ("r", "the ratio of two policies' probabilities of one token", "answers"),
    ("t", "the number of a step or a token", "score"),
    ("k", "a step after $t$, in a sum over what follows", "RET-2"),
    ("k", "an estimate of the KL divergence", "KL-5"),
    ("n", "the number of steps that are waited for", "RET-7"),
    ("n", "the number of tokens that count, in a row $n_b$", "reductions"),
    ("T", "the last step of an episode", "score"),
    ("T", "the temperature, or the teacher's probabilities", "distillation"),
    ("p", "a probability; $p(\\tau)$, that of a trajectory", "outcome"),
    ("P", "the probability of where an action leads, and other probabilities", "score"),
    ("R", "the return of a trajectory or an answer", "outcome"),
    ("J", "the expected return", "outcome"),
    ("G", "the reward-to-go, $G_t$, and the bootstrapped returns", "RET-2"),
    ("G", "the number of answers in a group", "GRP-16"),
    ("V", "the value of a state", "variance"),
    ("Q", "the value of an action in a state", "variance"),
    ("A", "an advantage", "variance"),
    ("v", "a critic's guess of a value", "bootstrapping"),
    ("d", "the occupancy of a state, $d_t(s)$", "MDP-4"),
    ("d", "whether a step terminates, $d_t$", "ADV-1"),
    ("c", "a number that scales something, or a bound", "ADV-13"),
    ("c", "the context of a token, $c_t$", "kl"),
    ("f", "any function", "variance"),
    ("u", "a step between others, in a sum", "KL-16"),
    ("u", "the surrogate of a token", "surrogate"),
    ("e", "the base of the natural logarithm", "outcome"),
    ("e", "how far a critic is off, $e_t(s)$", "critics"),
    ("x", "a prompt", "LANG-2"),
    ("x", "the log-ratio of two policies", "language_models"),
    ("y", "an answer", "LANG-2"),
    ("z", "a logit, or what a sigmoid is of", "LANG-10"),
    ("w", "a weight", "PG-9"),
    ("L", "a loss", "PPO-1"),
    ("D", "a derivative of a loss, $D_{bt}$", "PPO-3"),
    ("D", "what advantages are divided by", "GRP-1"),
    ("N", "a number of samples", "ADV-17"),
    ("B", "the number of rows of a batch", "reductions"),
    ("H", "the horizon, a number of steps", "MDP-2"),
    ("H", "the entropy", "DIST-1"),
    ("C", "a bound, or the cost of a state's baseline, $C_s$", "CRIT-4"),
    ("K", "the number of atoms, or of what is drawn", "targets"),
    ("M", "a mixture of two policies", "distillation"),
    ("S", "the student's probabilities, or the number of states", "distillation"),
    ("F", "Fisher's matrix", "CRIT-14"),
    ("Z", "the number that makes probabilities add up to 1", "PREF-1"),
    ("g", "a direction, or an estimate of the gradient", "policy_gradient"),
    ("h", "the difference of two log-ratios", "preference"),
    ("h", "a small change", "PG-19"),
    ("i", "the number of a sample", "GRP-1"),
    ("j", "a number in a sum", "critics"),
    ("l", "a log-ratio", "surrogate"),
    ("m", "the mean of a group, or the number of rewards before a bootstrap", "GRP-1"),
    ("o", "an answer in a group", "group"),
    ("q", "what is expected after a step", "ADV-21"),
    ("E", "the mean over what is drawn", "outcome"),
    (r"\gamma", "the discount", "variance"),
    (r"\lambda", "what a longer return weighs beside a shorter one", "bootstrapping"),
    (r"\theta", "the logits", "outcome"),
    (r"\pi", "the policy", "outcome"),
    (r"\mu", "the policy that has acted", "PG-9"),
    (r"\mu", "a mean", "STAT-8"),
    (r"\tau", "a trajectory", "outcome"),
    (r"\tau", "a temperature, or IPO's coefficient", "LANG-10"),
    (r"\delta", "a TD error", "bootstrapping"),
    (r"\rho", "the ratio of the policy to the one that has acted", "PG-9"),
    (r"\psi", "a score, $\\nabla \\log \\pi$", "kl"),
    (r"\epsilon", "the width of a clip", "answers"),
    (r"\epsilon", "a small number", "KL-7"),
    (r"\beta", "the coefficient of a KL term", "language_models"),
    (r"\sigma", "the logistic function", "answers"),
    (r"\sigma", "a standard deviation", "DIST-6"),
    (r"\alpha", "a coefficient, or an exponent", "targets"),
    (r"\eta", "the length of a step", "PG-12"),
    (r"\phi", "a potential, or features", "MDP-10"),
    (r"\Phi", "a potential at each step", "ADV-10"),
    ("KL", "the Kullback-Leibler divergence", "language_models"),
    ("ref", "the policy that a model is held near", "kl"),
    ("clip", "what is cut off at two bounds", "answers"),
    ("low", "the lower of two bounds", "PPO-1"),
    ("high", "the upper of two bounds", "PPO-1"),
    ("logp", "log-probabilities, as an argument", "PG-18"),
    ("ratio", "the exponential of a log-ratio", "ADV-20"),
    ("initial", "the probabilities of the first state", "MDP-1"),
    ("reward", "the table of rewards of a process", "MDP-5"),
    ("score", "the score that an answer gets", "LANG-3"),
    ("sign", "the sign of a number", "STAT-10"),
    ("Var", "the variance", "critics"),
    ("k1", "the first estimate of the divergence", "KL-16"),
    ("k3", "the third estimate of the divergence", "kl"),
    ("max", "the larger bound, as an index", "targets"),
]


@cache
def texts() -> dict[str, str]:
    """The texts that formulas stand in, by the page or the clause."""
    chapters = {name: ROOT / "spec" / f"{name}.md" for name in CHAPTERS}
    pages = chapters | {name: ROOT / "book" / f"{name}.md" for name in FRONT}
    return {name: file.read_text(encoding="utf-8") for name, file in pages.items()} | bindings.texts()


def symbols(text: str) -> set[str]:
    """The symbols of all formulas of a text."""
    formulas = (next(filter(None, found.groups())) for found in FORMULAS.finditer(EXAMPLES.sub("", text)))
    return {symbol for formula in formulas for parts in SYMBOL.findall(formula) for symbol in parts if symbol} - SIGNS


@cache
def pages_of_symbols() -> dict[str, list[str]]:
    """The pages in whose formulas each symbol occurs."""
    found: dict[str, list[str]] = {}
    for page in (*FRONT, *CHAPTERS):
        for symbol in symbols(texts()[page]):
            found.setdefault(symbol, []).append(page)
    return found


def unsaid() -> set[str]:
    """The symbols that formulas of two pages or more have, and of which no meaning is said."""
    said = {symbol for symbol, _, _ in MEANINGS}
    return {symbol for symbol, pages in pages_of_symbols().items() if len(pages) > 1} - said


def astray() -> list[tuple[str, str]]:
    """The symbols whose place has no formula with them."""
    return [(symbol, place) for symbol, _, place in MEANINGS if symbol not in symbols(texts()[place])]


def table() -> Iterator[str]:
    """The table, in Markdown.  Raises ValueError for a symbol without a meaning, or whose place has no such symbol."""
    if unsaid() or astray():
        raise ValueError(f"no meaning is said of {sorted(unsaid())}, and these stand elsewhere: {astray()}")
    yield "| symbol | meaning | where it is said |\n|---|---|---|"
    for symbol, meaning, place in MEANINGS:
        yield f"| ${written(symbol)}$ | {meaning} | {place if place in bindings.texts() else linked(place)} |"


def written(symbol: str) -> str:
    """A symbol as TeX."""
    if symbol == "E":
        return r"\mathbb{E}"
    return symbol if len(symbol) == 1 or symbol.startswith("\\") else rf"\mathrm{{{symbol}}}"


def linked(page: str) -> str:
    """A page as a link, by its title."""
    title = texts()[page].partition("\n")[0].removeprefix("# ")
    return f"[{title}]({'../spec/' if page in CHAPTERS else ''}{page}.md)"
