"""Where students and teachers come from: two rows of logits for each context."""

import math
from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np

from rlspec.properties.strategies import windows


@dataclass(frozen=True)
class Lesson:
    """Rows of logits [B, A] of a student and of a teacher."""

    logits: np.ndarray
    teacher_logits: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The first two arguments of either operation."""
        return self.logits, self.teacher_logits

    def but(self, **fields: np.ndarray) -> "Lesson":
        """The same rows with other arrays in the named fields."""
        return replace(self, **fields)

    def judged_at(self, beta: float, temperature: float) -> dict[str, Any]:
        """How far rounding may take divergences and derivatives: the magnitude and roundings that ``agree`` wants.

        As for a divergence of two policies: the logarithm of a probability is below e = 2 L + log A + 1 and off by as
        many roundoffs, L being the largest logit over the temperature, and a probability in proportion.  A log-ratio,
        or that to a mixture, which has a part of at least beta or 1 - beta of each, is below D = 2 e - log of these
        parts and off by 3 e; a divergence, its mean, by (D + 3) e, and a derivative by three times that, over the
        temperature.  Both may have the factor temperature^2.
        """
        largest = max(float(np.abs(array).max()) for array in self.arrays) / temperature
        error = 2 * largest + math.log(self.logits.shape[1]) + 1
        parts = -math.log(min(part for part in (beta, 1 - beta, 1.0) if part > 0))
        factor = max(1.0, 1 / temperature) * max(1.0, temperature**2)
        size = 3 * error * (2 * error + parts + 3) * factor
        return {"magnitude": size, "roundings": 3 * self.logits.shape[1] + 30}


@st.composite
def lessons(draw: st.DrawFn, logits: np.ndarray, distinct: bool = False) -> Lesson:
    """Rows of up to 6 logits for student and teacher, from those given.

    distinct: whether a teacher's logits differ in each row, by 1/16 at least, so that it is clear which are largest.
    """
    table = draw(windows(2))
    ours, theirs = np.moveaxis(logits[table % len(logits)].astype(float), -1, 0)
    if distinct:
        order = np.argsort(np.argsort(theirs, axis=1, kind="stable"), axis=1, kind="stable")
        theirs = theirs + order / 16
    return Lesson(ours, theirs)
