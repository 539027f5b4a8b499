"""The chapters' formulas, which stand between dollar signs as TeX, and the same in plain letters for a terminal.

Where Markdown would take underscores for emphasis, backquotes stand within the dollar signs, as GitHub has it.
"""

import re

FORMULA = re.compile(r"\$`?([^$`]+)`?\$")
SIGNS = {
    "le": "<=",
    "ge": ">=",
    "lt": "<",
    "gt": ">",
    "ne": "!=",
    "to": "->",
    "sim": "~",
    "cdot": "*",
    "ast": "*",
    "Vert": "||",
    "mid": "|",
    "dots": "...",
    "nabla": "grad",
    "infty": "infinity",
}
"""What is written otherwise than it is called."""
NAMES = {
    "alpha", "beta", "gamma", "chi", "delta", "epsilon", "eta", "theta", "kappa", "lambda", "mu", "nu", "pi", "rho",
    "sigma", "tau", "phi", "psi", "omega", "Phi", "Psi", "Delta", "Sigma",
    "log", "exp", "min", "max", "sum", "prod", "arcsin", "tanh", "in",
}  # fmt: skip
"""What is written as it is called."""

_COMMAND = re.compile(r"\\([A-Za-z]+) ?")
_NAMED = re.compile(r"\\(?:mathrm|mathbb)\{(\w+)\}")
_ESTIMATE = re.compile(r"\\hat\{(\w)\}")
_OPTIMUM = re.compile(r"\^\\ast(?: (?=\())?")
_INNERMOST = re.compile(r"(_|\^|\\sqrt)\{([^{}]*)\}")
_KEPT = str.maketrans("\x01\x02", "{}")


def plain(text: str) -> str:
    r"""A text with its formulas in plain letters: $\gamma^{k - t} r_k$ is gamma^(k - t) r_k."""
    return FORMULA.sub(lambda formula: _in_letters(formula[1]), text)


def _in_letters(formula: str) -> str:
    """One formula in plain letters.  Raises ValueError for a command that has no plain letters."""
    formula, before = _NAMED.sub(r"\1", _ESTIMATE.sub(r"\1hat", formula)), ""
    formula = _OPTIMUM.sub("*", formula)
    while formula != before:
        before, formula = formula, _INNERMOST.sub(_without_braces, formula)
    return _COMMAND.sub(_word, formula).translate(_KEPT)


def _without_braces(part: re.Match[str]) -> str:
    """An index, a power or a root, with brackets only where they are needed."""
    kind, inside = part.groups()
    if kind == r"\sqrt":
        return f"sqrt({inside})"
    if re.fullmatch(r"\\?-?\w+'?", inside.strip()):
        return f"{kind}{inside.strip()} " if "\\" in inside else f"{kind}{inside}"
    return f"_\x01{inside}\x02" if kind == "_" else f"^({inside})"


def _word(command: re.Match[str]) -> str:
    """What a command is in plain letters, and the space that ended it if letters follow."""
    name = command[1]
    if name not in SIGNS and name not in NAMES:
        raise ValueError(f"a formula has \\{name}, and spec/formulas.py no plain letters for it")
    return SIGNS.get(name, name) + command[0][len(name) + 1 :]
