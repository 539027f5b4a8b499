"""Where pairs of completions come from, as far as a preference loss sees them: log-probabilities, lengths, labels."""

from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.strategies import windows
from rlspec.spec.operations import OPERATIONS

LOSSES = (
    "dpo_loss",
    "ipo_loss",
    "kto_loss",
    "orpo_loss",
    "simpo_loss",
    "sppo_loss",
    "rpo_loss",
    "reward_model_loss",
)
"""The operations on preferences."""

POLYNOMIALS = ("ipo_loss", "sppo_loss")
"""Those that need no exponential."""

LOGPS = -np.array([1, 0.5, 2, 0.75, 3.25, 6, 1.6, 12])
"""What the log-probabilities of completions are drawn from."""

FAR_LOGPS = -np.array([1, 400.5, 0.5, 200, 2, 1000, 30, 3.25])
"""The same, and some of completions that the one policy would write and the other never."""

LENGTHS = np.array([1, 2, 3, 4, 7, 1, 2, 5])

PARAMETERS = {
    "beta": (1.0, 0.5, 2.0, 0.1, 5.0, 2.0**-20),
    "label_smoothing": (0.0, 0.25, 0.1, 0.4),
    "kl": (0.0, 0.5, 2.0, 0.1),
    "desirable_weight": (1.0, 2.0, 0.5, 1.3, 0.0),
    "undesirable_weight": (1.0, 2.0, 0.5, 1.3, 0.0),
    "lam": (1.0, 2.0, 0.5, 0.1, 0.0),
    "gamma": (0.0, 1.0, 0.5, 1.6),
    "alpha": (1.0, 2.0, 0.5, 0.1, 0.0),
}
"""What each loss's parameters are drawn from, limits among them."""

ORDINARY = {
    "beta": 0.5,
    "label_smoothing": 0.25,
    "kl": 0.5,
    "desirable_weight": 1.3,
    "undesirable_weight": 0.7,
    "lam": 0.75,
    "gamma": 1.6,
    "alpha": 0.75,
}
"""One choice of them far from every limit, where a mistake is not too small to be seen."""


@dataclass(frozen=True)
class Preferences:
    """B pairs, the parameters of every loss, and `desirable`: whether the first of a pair counts as a good one alone.

    The fields have the names of the losses' parameters, so that a loss finds its own.
    """

    chosen_logp: np.ndarray
    rejected_logp: np.ndarray
    ref_chosen_logp: np.ndarray
    ref_rejected_logp: np.ndarray
    chosen_length: np.ndarray
    rejected_length: np.ndarray
    desirable: np.ndarray
    valid: np.ndarray
    beta: float = 1.0
    label_smoothing: float = 0.0
    kl: float = 0.0
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    lam: float = 1.0
    gamma: float = 0.0
    alpha: float = 1.0

    @property
    def logp(self) -> np.ndarray:
        """For a loss that knows no pairs: the log-probabilities of the first of each pair."""
        return self.chosen_logp

    @property
    def ref_logp(self) -> np.ndarray:
        """The same under the reference."""
        return self.ref_chosen_logp

    @property
    def tau(self) -> float:
        """IPO's name for beta."""
        return self.beta

    @property
    def chosen_rewards(self) -> np.ndarray:
        """For a reward model, whose scores have either sign: a difference of the log-probabilities."""
        return self.chosen_logp - self.ref_chosen_logp

    @property
    def rejected_rewards(self) -> np.ndarray:
        """The same of the rejected answers."""
        return self.rejected_logp - self.ref_rejected_logp

    @property
    def margins(self) -> np.ndarray:
        """By how much a reward model is to prefer the chosen answers at least: 0, or a number of quarters."""
        return (self.chosen_length - 1) / 4

    @property
    def centering(self) -> float:
        """A reward model's name for alpha."""
        return self.alpha

    def arguments(self, loss: str) -> tuple[Any, ...]:
        """What the loss is called with."""
        return tuple(getattr(self, name) for name in OPERATIONS[loss].parameters)

    def but(self, **fields: Any) -> "Preferences":
        """The same pairs with other values in the named fields."""
        return replace(self, **fields)

    def rows(self, rows: Any) -> "Preferences":
        """Some of the pairs: a list of indices, or a mask."""
        return self.but(**{name: array[rows] for name, array in self._columns.items()})

    def followed_by(self, other: "Preferences") -> "Preferences":
        """These pairs, and those of another batch."""
        pairs = ((name, array, other._columns[name]) for name, array in self._columns.items())
        return self.but(**{name: np.concatenate([array, more]) for name, array, more in pairs})

    def swapped(self) -> "Preferences":
        """The pairs with the chosen completion for the rejected one, and the other way round."""
        names = ("chosen_logp", "rejected_logp"), ("ref_chosen_logp", "ref_rejected_logp")
        lengths = (("chosen_length", "rejected_length"),)
        swaps = {a: getattr(self, b) for one, two in names + lengths for a, b in ((one, two), (two, one))}
        return self.but(**swaps)

    def narrowed(self) -> "Preferences":
        """The batch with its log-probabilities as float32."""
        return self.but(**{name: array.astype(np.float32) for name, array in self._columns.items() if "logp" in name})

    def nearer(self, factor: float) -> "Preferences":
        """The batch with all log-probabilities that much nearer to 0."""
        return self.but(**{name: factor * array for name, array in self._columns.items() if "logp" in name})

    @property
    def _columns(self) -> dict[str, np.ndarray]:
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def judged(self, loss: str, certain: bool = False) -> dict[str, Any]:
        """How far rounding may take a loss and its derivatives: the magnitude and roundings that ``agree`` wants.

        Each loss is a function of a number x that is put together from terms with the absolute sum M.  Rounding leaves
        x off by some u M, the loss by as much times its steepest slope, and its own roundings by its size.  Dividing by
        at least one, the mean makes neither larger.  Nothing takes more than some ten roundings and the sum over B.

        certain: hold ORPO to the accuracy that 1 - p has where it is not computed as a difference.
        """
        counted = self.rows(self.valid)
        terms = counted._of_orpo_loss(certain) if loss == "orpo_loss" else getattr(counted, f"_of_{loss}")()
        return {"magnitude": float(np.sum(terms)), "roundings": len(self.valid) + 16}

    def _logps(self) -> np.ndarray:
        return abs(self.chosen_logp) + abs(self.rejected_logp) + abs(self.ref_chosen_logp) + abs(self.ref_rejected_logp)

    def _of_dpo_loss(self) -> np.ndarray:
        """-log sigmoid(x) is below 1 + |x| and no steeper than 1; its derivatives have the factor beta.

        The weights of the pair and of the swapped pair add up to 1 / (1 - 2 label_smoothing) at most, in size.
        """
        weights = 1 / (1 - 2 * self.label_smoothing) if self.label_smoothing < 0.5 else 1
        return max(1, self.beta) * weights * (1 + self.beta * self._logps())

    def _of_ipo_loss(self) -> np.ndarray:
        """x^2, with x below M and the derivative 2 x."""
        most = self._logps() + 1 / (2 * self.tau)
        return 2 * most * np.maximum(1, most)

    def _of_kto_loss(self) -> np.ndarray:
        """w sigmoid(x) and its derivative, both below w max(1, beta) and no steeper."""
        most = abs(self.logp) + abs(self.ref_logp) + self.kl
        return max(self.desirable_weight, self.undesirable_weight) * max(1, self.beta) * (1 + self.beta * most)

    def _of_orpo_loss(self, certain: bool) -> np.ndarray:
        """A mean log-probability m, and lam softplus(-x) with x = m - m' - log(1 - p) + log(1 - p').

        -expm1(m) has a relative error of a few u, whereas 1 - exp(m) has one of u p / (1 - p), and with it the
        logarithm, which an honest implementation may take where p is not all but 1.  A derivative has the factor
        1 / (1 - p), and the relative error of sigmoid(-x) is the absolute one of x.
        """
        chosen, rejected = self.chosen_logp / self.chosen_length, self.rejected_logp / self.rejected_length
        left, rest = -np.expm1(chosen), -np.expm1(rejected)
        most = 2 + abs(chosen) + abs(rejected) + abs(np.log(left)) + abs(np.log(rest))
        most = most if certain else most + 1 / left + 1 / rest
        x = chosen - rejected - np.log(left) + np.log(rest)
        pull = np.exp(-np.logaddexp(0, x))
        return abs(chosen) + self.lam * most * (1 + pull / left + pull / rest) + 1

    def _of_simpo_loss(self) -> np.ndarray:
        """As for DPO, with means of log-probabilities and gamma, which may have the factor beta."""
        means = abs(self.chosen_logp / self.chosen_length) + abs(self.rejected_logp / self.rejected_length)
        return max(1, self.beta) * (1 + self.beta * means + max(1, self.beta) * self.gamma)

    def _of_sppo_loss(self) -> np.ndarray:
        """x^2 and y^2, with both below M and the derivatives 2 x and 2 y."""
        most = self._logps() + 1 / self.beta
        return 4 * most * np.maximum(1, most)

    def _of_rpo_loss(self) -> np.ndarray:
        """As for DPO, and alpha times a mean log-probability and one over the length, or a share of it."""
        return self.but(label_smoothing=0.0)._of_dpo_loss() + self.alpha * (1 + abs(self.chosen_logp))

    def _of_reward_model_loss(self) -> np.ndarray:
        """-log sigmoid(x) and its slope, as for DPO, and centering y^2 with y = r_w + r_l, and its slope."""
        most = abs(self.chosen_rewards) + abs(self.rejected_rewards)
        return 1 + most + self.margins + 2 * self.centering * most * np.maximum(1, most)


@st.composite
def preferences(
    draw: st.DrawFn, logps: np.ndarray = LOGPS, plain: bool = False, all_valid: bool = False
) -> Preferences:
    """Batches of up to 6 pairs, any number of which count, or all, and parameters.

    plain: with ordinary parameters, and at least one pair that counts.
    """
    table = draw(windows(8))[0]
    chosen, rejected, ref_chosen, ref_rejected = (logps[table[:, i] % len(logps)].astype(float) for i in range(4))
    length, other = (LENGTHS[table[:, i] % len(LENGTHS)] for i in (4, 5))
    desirable = table[:, 6] % 2 == 0
    valid = table[:, 7] % 4 != 3
    valid[: len(valid) if all_valid else int(plain)] = True
    parameters: dict[str, Any] = ORDINARY
    if not plain:
        data = draw(st.binary(min_size=len(PARAMETERS), max_size=len(PARAMETERS)))
        choices = zip(PARAMETERS.items(), data, strict=True)
        parameters = {name: options[byte % len(options)] for (name, options), byte in choices}
    logps_and_lengths = chosen, rejected, ref_chosen, ref_rejected, length, other
    return Preferences(*logps_and_lengths, desirable, valid, **parameters)
