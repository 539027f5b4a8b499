"""What a choice is: a text, or a shape that many texts have, which differ in a number.

A *shape* has one capital letter in the place of a number, and a range: ``std + E`` for E from 1e-12 to 1e-3 stands for
``std + 1e-6`` and for every other text with a number of that range in it.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import isfinite

_LETTER = re.compile(r"\b[A-Z]\b")


@dataclass(frozen=True)
class Choice:
    """One row of a MAY clause's table: a text, or a shape with the range of its number."""

    convention: str
    text: str
    """As it stands in the table: ``ddof=1``, ``std + E``."""
    low: float = 0.0
    high: float = 0.0
    """The least and the largest number that is a convention; what lies beyond is a defect."""
    idle: tuple[str, ...] = ()
    """The operation's other conventions that make no difference beside this choice."""

    @property
    def letter(self) -> str:
        """The letter in the place of a number, empty where there is none."""
        return letter_of(self.text)

    def with_number(self, number: float) -> str:
        """The text with a number in the letter's place, such as ``std + 1e-5``."""
        return text_with(self.text, number)

    def number(self, text: str) -> float | None:
        """The number in a text of this shape, whether or not it is in the range; None if the text has another shape."""
        return number_in(self.text, text)

    def fits(self, text: str) -> bool:
        """Whether a text is this choice: the same text, or one of its shape with a number in the range."""
        if not self.letter:
            return text == self.text
        number = self.number(text)
        return number is not None and self.low <= number <= self.high

    @property
    def example(self) -> str:
        """The text; of a shape, that with a number of one digit in the middle of the range."""
        return self.with_number(float(f"{(self.low * self.high) ** 0.5:.0e}")) if self.letter else self.text

    def __str__(self) -> str:
        if not self.letter:
            return self.text
        return f"{self.text} for {self.letter} from {decimal(self.low)} to {decimal(self.high)}"


@lru_cache(maxsize=4096)
def text_with(shape: str, number: float) -> str:
    """The text of a shape with a number in the letter's place."""
    return _LETTER.sub(decimal(number), shape, count=1)


@lru_cache(maxsize=1024)
def letter_of(shape: str) -> str:
    """The letter in the place of a number, empty where there is none."""
    found = _LETTER.search(shape)
    return found[0] if found else ""


@lru_cache(maxsize=4096)
def number_in(shape: str, text: str) -> float | None:
    """The number that a text has in the place of a shape's letter; None if it is not of that shape."""
    letter = _LETTER.search(shape)
    if letter is None:
        return None
    before, after = shape[: letter.start()], shape[letter.end() :]
    if not (text.startswith(before) and text.endswith(after)):
        return None
    return read(text[len(before) : len(text) - len(after)])


def read(text: str) -> float | None:
    """The finite number that a text is: a decimal or a quotient, such as ``1e-5``, ``0.5`` or ``1/2``."""
    if not re.fullmatch(r"\d+/[1-9]\d*|(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", text):
        return None
    numerator, _, denominator = text.partition("/")
    number = float(numerator) / float(denominator or 1)
    return number if isfinite(number) else None


@lru_cache(maxsize=4096)
def decimal(number: float) -> str:
    """The shortest decimal that is a positive number: ``1e-5``, ``2.5e-7``, ``0.01``, ``20``."""
    _, known, last = Decimal(repr(number)).normalize().as_tuple()
    digits = "".join(map(str, known))
    exponent = int(last) + len(digits) - 1
    if -2 <= exponent < 6:
        return f"{number:.{max(-int(last), 0)}f}"
    return f"{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{exponent}"
