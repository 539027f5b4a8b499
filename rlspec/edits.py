"""Edits: how a right operation is made into a wrong one, each a small change that can be said in words.

An edit stands around an operation.  It changes an argument on the way in or a result on the way out, or it changes the
reference's own source while the operation runs.  The edits are general: they are made for every operation from its
signature, its sample arguments and its conventions, and know of no particular mistake.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np

from .conditions import is_flag, is_number, is_whole
from .spec.clauses import choices_of
from .spec.operations import MASKS, OPERATIONS, Operation

Arguments = Mapping[str, Any]
Results = tuple[np.ndarray, ...]
Inner = Callable[[Arguments], Results]

SOURCE, ARGUMENT, RESULT, FAILURE = range(4)
"""Where an edit acts; of several the later ones stand around the earlier."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of an operation: what it is in words, how plain it is, and the changed operation."""

    said: str | Callable[[], str]
    cost: float
    """The less, the plainer: of several edits that explain an answer the cheapest is said."""
    around: Callable[[Inner], Inner]
    """The operation with the change, from the operation without it."""
    stage: int = ARGUMENT
    changes: tuple[Any, ...] = ()
    """Of an edit of source, what is changed."""
    follows: bool = False
    """Whether all results but the first are derivatives of the first, taken of the changed value."""

    @property
    def words(self) -> str:
        """What follows "as if"."""
        return self.said if isinstance(self.said, str) else self.said()


def edits_of(
    operation: Operation, sample: Arguments, names: Mapping[str, Sequence[str]], telling: Sequence[float] = ()
) -> Iterator[Edit]:
    """The edits of an operation's arguments and results, made from its signature and one call's arguments.

    names: what each argument that is a name may be.  telling: numbers that a candidate's answers often are, where they
    are wrong.
    """
    yield from _argument_edits(operation, sample, names)
    yield from _of_conventions(operation, sample)
    yield from _result_edits(operation, sample, telling)
    yield from _other_operations(operation)


# On the way in.

Change = tuple[str, float, Callable[[Any], Any]]


_BY_ONE: tuple[Change, ...] = (("were one more", 2, lambda x: x + 1), ("were one less", 2, lambda x: x - 1))


def _argument_edits(operation: Operation, sample: Arguments, names: Mapping[str, Sequence[str]]) -> Iterator[Edit]:
    for name, value in sample.items():
        if name in operation.axes:
            for words, cost, change in _changes_of(operation.axes[name], value):
                yield Edit(f"`{name}` {words}", cost, _changing((name,), change))
    for kind, words in ((is_flag, "all flags"), (is_number, "all arrays of numbers"), (is_whole, "all lengths")):
        several = [name for name, value in sample.items() if kind(value) and name in operation.axes]
        alike = {operation.axes[name] for name in several}
        if len(several) > 1 and len(alike) == 1:
            by_one = _BY_ONE if kind is is_whole else ()
            for how, cost, change in [*_in_order(next(iter(alike))), *by_one]:
                yield Edit(f"{words} {how}", cost + 0.5, _changing(several, change))
    yield from _between_arguments(operation, sample)
    yield from _where_flags_are(operation, sample)
    yield from _other_names(operation, sample, names)


def _changes_of(axes: Sequence[str], value: Any) -> Iterator[Change]:
    if is_flag(value):
        yield from _of_flags(axes)
    elif is_number(value):
        yield from _of_numbers(axes)
        yield from _in_order(axes)
    elif isinstance(value, np.ndarray):
        yield from _in_order(axes)
        yield from _BY_ONE
    elif isinstance(value, float | int) and not isinstance(value, bool):
        yield from _of_a_scalar(value)


def _changing(names: Sequence[str], change: Callable[[Any], Any]) -> Callable[[Inner], Inner]:
    def around(inner: Inner) -> Inner:
        return lambda a: inner({**a, **{name: None if a[name] is None else change(a[name]) for name in names}})

    return around


def _in_order(axes: Sequence[str]) -> Iterator[Change]:
    """Changes of where the entries of an array stand."""
    if axes[:1] not in (("B",), ("N",)):
        if len(axes) > 1:
            yield "were transposed in its states", 2, lambda x: np.swapaxes(x, 0, -1)
        return
    yield "were the first row's in every row", 2, lambda x: np.broadcast_to(x[:1], x.shape).copy()
    yield "were the last row's in every row", 2.5, lambda x: np.broadcast_to(x[-1:], x.shape).copy()
    yield "were those of the row before", 2, lambda x: np.roll(x, 1, axis=0)
    yield "were those of the next row", 2, lambda x: np.roll(x, -1, axis=0)
    yield "were in reverse order of rows", 2, lambda x: x[::-1].copy()
    yield "were sorted", 2.5, lambda x: np.sort(x, axis=0)
    if len(axes) > 1:
        yield "were read column by column", 2, lambda x: x.reshape(x.shape[::-1]).T.copy() if x.ndim == 2 else x
    if "T" in axes:
        yield "were those of the next step, the last one repeated", 1.5, lambda x: _shifted(x, -1, "edge")
        yield "were those of the next step, and 0 at the last", 1.5, lambda x: _shifted(x, -1, "zero")
        yield "were those of the next step, the first one's at the last", 2, lambda x: np.roll(x, -1, axis=1)
        yield "were those of the step before, the first one repeated", 1.5, lambda x: _shifted(x, 1, "edge")
        yield "were those of the step before, and 0 at the first", 1.5, lambda x: _shifted(x, 1, "zero")
        yield "were those of the step before, the last one's at the first", 2, lambda x: np.roll(x, 1, axis=1)
        yield "stood in reverse order in time", 2, lambda x: x[:, ::-1].copy()
        yield "were those of the first step in the whole row", 2, lambda x: np.broadcast_to(x[:, :1], x.shape).copy()
        yield "were those of the last step in the whole row", 2, lambda x: np.broadcast_to(x[:, -1:], x.shape).copy()


def _shifted(array: np.ndarray, by: int, padding: str) -> np.ndarray:
    moved = np.roll(array, by, axis=1)
    edge = -1 if by < 0 else 0
    moved[:, edge] = array[:, edge] if padding == "edge" else 0
    return moved


CLIPS = (1, 5, 10, 20)
"""Ends that numbers are often clipped at."""


def _of_numbers(axes: Sequence[str]) -> Iterator[Change]:
    yield "had the other sign", 1, np.negative
    yield "were 0", 1, np.zeros_like
    yield "were 1", 1.5, np.ones_like
    yield "were its absolute value", 1.5, np.abs
    yield "were squared", 2, np.square
    yield "were halved", 1.5, lambda x: x / 2
    yield "were doubled", 1.5, lambda x: 2 * x
    yield "were one more", 2, lambda x: x + 1
    yield "were one less", 2, lambda x: x - 1
    yield "were 1 minus itself", 2, lambda x: 1 - x
    yield "were its exponential", 2, np.exp
    yield "were its logarithm", 2, np.log
    yield "were cut to whole numbers", 2, np.trunc
    yield "were its sign", 2, np.sign
    for end in CLIPS:
        yield f"were clipped to [-{end}, {end}]", 2, lambda x, end=end: np.clip(x, -end, end)
        yield f"were at most {end}", 2.2, lambda x, end=end: np.minimum(x, end)
    yield "were at least 0", 2, lambda x: np.maximum(x, 0)
    yield "were at most 0", 2, lambda x: np.minimum(x, 0)
    yield "were rounded to float32", 2, lambda x: x.astype(np.float32).astype(float)
    yield "were rounded to float16", 2, lambda x: x.astype(np.float16).astype(float)
    yield "were less the mean of all its entries", 2, lambda x: x - x.mean()
    yield "were less its largest entry", 2, lambda x: x - x.max()
    yield "were divided by the sum of all its entries", 2, lambda x: x / x.sum()
    yield "were divided by its standard deviation", 2, lambda x: x / x.std() if x.std() else x
    yield "were standardised", 2, lambda x: (x - x.mean()) / (x.std() + 1e-8)
    if len(axes) > 1:
        yield "were less the mean of its row", 2, lambda x: x - x.mean(axis=1, keepdims=True)
        yield "were less the mean of its column", 2, lambda x: x - x.mean(axis=0, keepdims=True)
        yield "were 0 at the first step of each row", 2, lambda x: _with(x, np.s_[:, 0], 0)
        yield "were 0 at the last step of each row", 2, lambda x: _with(x, np.s_[:, -1], 0)
        yield "were the mean of its row everywhere", 2, lambda x: x * 0 + x.mean(axis=1, keepdims=True)


def _with(array: np.ndarray, place: Any, number: float) -> np.ndarray:
    changed = array.copy()
    changed[place] = number
    return changed


def _of_flags(axes: Sequence[str]) -> Iterator[Change]:
    yield "were not set anywhere", 1, np.zeros_like
    yield "were set everywhere", 1, np.ones_like
    yield "were the other way round", 1, np.logical_not
    yield from _in_order(axes)
    if len(axes) > 1:
        yield "were set in the whole row if anywhere in it", 2, lambda x: x | x.any(axis=1, keepdims=True)
        yield "were set in the whole column if anywhere in it", 2, lambda x: x | x.any(axis=0)
    if "T" in axes:
        yield "were not set at the last step of the row", 1.5, lambda x: _with(x, np.s_[:, -1], False)
        yield "were set at the last step of the row", 1.5, lambda x: _with(x, np.s_[:, -1], True)
        yield "were not set at the first step of the row", 1.5, lambda x: _with(x, np.s_[:, 0], False)
        yield "were set at the first step of the row", 1.5, lambda x: _with(x, np.s_[:, 0], True)
        yield "were set from the first place at which it is set on", 2, lambda x: np.logical_or.accumulate(x, axis=1)
        yield "were set up to the last place at which it is set", 2, _up_to_the_last
        yield "were set up to the first place at which it is not", 2, lambda x: np.logical_and.accumulate(x, axis=1)
        yield "were not set at the last place at which it is set", 2, _without_the_last
        yield "were not set at the first place at which it is set", 2, lambda x: _without_the_last(x[:, ::-1])[:, ::-1]
        yield "were set one step longer", 2, lambda x: x | _shifted(x, 1, "zero")
        yield "were set one step earlier already", 2, lambda x: x | _shifted(x, -1, "zero")


def _up_to_the_last(flags: np.ndarray) -> np.ndarray:
    return np.logical_or.accumulate(flags[:, ::-1], axis=1)[:, ::-1]


def _without_the_last(flags: np.ndarray) -> np.ndarray:
    later = np.cumsum(flags[:, ::-1], axis=1)[:, ::-1]
    return flags & (later > 1)


DEFAULTS = (0.99, 0.95, 0.5, 1e-8)
"""Numbers that stand in for one that counts as not given."""


def _of_a_scalar(value: float) -> Iterator[Change]:
    yield "were 0", 1, lambda x: type(x)(0)
    yield "were 1", 1, lambda x: type(x)(1)
    yield "had the other sign", 1.5, lambda x: -x
    yield "were one more", 1.5, lambda x: x + 1
    yield "were one less", 1.5, lambda x: x - 1
    yield "were its absolute value", 1.5, abs
    yield "were at most 1", 2, lambda x: min(x, type(x)(1))
    yield "were at least 1", 2, lambda x: max(x, type(x)(1))
    if isinstance(value, int):
        yield "were halved", 2, lambda x: x // 2
        yield "were doubled", 2, lambda x: 2 * x
        return
    yield "were halved", 1.5, lambda x: x / 2
    yield "were doubled", 1.5, lambda x: 2 * x
    yield "were squared", 1.5, lambda x: x * x
    yield "were its root", 2, lambda x: abs(x) ** 0.5
    yield "were its inverse", 2, lambda x: 1 / x if x else x
    yield "were 1 minus itself", 1.5, lambda x: 1 - x
    yield "were rounded to float32", 2, lambda x: float(np.float32(x))
    yield "were rounded to float16", 2, lambda x: float(np.float16(x))
    yield "were cut to a whole number", 2, lambda x: float(int(x))
    yield "were its exponential", 2, lambda x: float(np.exp(x))
    yield "were its logarithm", 2, lambda x: float(np.log(x))
    for number in DEFAULTS:
        yield f"were {number}", 2, lambda x, number=number: number


def _between_arguments(operation: Operation, sample: Arguments) -> Iterator[Edit]:
    """One argument in the place of another, two of them exchanged, and flags joined."""

    def kind(name: str) -> Any:
        value = sample[name]
        return (operation.axes[name], value.dtype.kind) if isinstance(value, np.ndarray) else type(value)

    given = [name for name, value in sample.items() if name in operation.axes and not isinstance(value, str)]
    given = [name for name in given if sample[name] is not None]
    for x, y in permutations(given, 2):
        if kind(x) == kind(y):
            yield Edit(f"`{x}` were `{y}`", 1, _replacing(x, lambda a, y=y: a[y]))
            for words, cost, joined in _joined(x, y, sample[x]):
                yield Edit(f"`{x}` were `{words}`", cost, _replacing(x, joined))
            if given.index(x) < given.index(y):
                yield Edit(f"`{x}` and `{y}` were exchanged", 1, _exchanging(x, y))
        elif is_number(sample[x]) and is_number(sample[y]) and operation.axes[y] == operation.axes[x][:1]:
            yield Edit(
                f"`{x}` were `{x}` less its row's `{y}`", 2, _replacing(x, lambda a, x=x, y=y: a[x] - a[y][:, None])
            )
        elif is_number(sample[x]) and isinstance(sample[y], float):
            yield Edit(f"`{x}` were times `{y}`", 1.5, _replacing(x, lambda a, x=x, y=y: a[x] * a[y]))
            yield Edit(f"`{x}` were divided by `{y}`", 1.5, _replacing(x, lambda a, x=x, y=y: a[x] / a[y]))


def _joined(x: str, y: str, value: Any) -> Iterator[tuple[str, float, Callable[[Arguments], Any]]]:
    """An argument x joined with another one, y, of the same kind."""
    if is_flag(value):
        yield f"{x} or {y}", 1, lambda a: a[x] | a[y]
        yield f"{x} and {y}", 1, lambda a: a[x] & a[y]
        yield f"{x} and not {y}", 1, lambda a: a[x] & ~a[y]
        yield f"{x} or not {y}", 1.2, lambda a: a[x] | ~a[y]
        yield f"not {y}", 1.2, lambda a: ~a[y]
        return
    yield f"{x} * {y}", 1.5, lambda a: a[x] * a[y]
    yield f"{x} / {y}", 1.8, lambda a: a[x] / a[y]
    yield f"{x} - {y}", 1.5, lambda a: a[x] - a[y]
    yield f"{x} + {y}", 1.5, lambda a: a[x] + a[y]
    yield f"-{y}", 1.5, lambda a: -a[y]
    yield f"min({x}, {y})", 2, lambda a: np.minimum(a[x], a[y])
    yield f"max({x}, {y})", 2, lambda a: np.maximum(a[x], a[y])
    if not is_number(value):
        yield f"{x} ** {y}", 2.2, lambda a: a[x] ** a[y]
        yield f"1 - {y}", 2, lambda a: 1 - a[y]


def _where_flags_are(operation: Operation, sample: Arguments) -> Iterator[Edit]:
    """An argument changed only where a flag is set, or only where it is not."""
    flags = [name for name, value in sample.items() if is_flag(value)]
    numbers = [name for name, value in sample.items() if is_number(value)]
    for x in numbers:
        for flag in flags:
            if operation.axes[x] != operation.axes[flag]:
                continue
            others = [(f"`{y}`", 1.5, y) for y in numbers if y != x and operation.axes[y] == operation.axes[x]]
            for words, cost, y in [("0", 1.5, ""), ("times 0", 2, "*"), ("-1e9", 2.5, "-"), *others]:
                for set_or_not in (True, False):
                    yield Edit(
                        f"`{x}` were {words} where `{flag}` is {'' if set_or_not else 'not '}set",
                        cost,
                        _replacing(x, _placed(x, flag, y, set_or_not)),
                    )


def _placed(x: str, flag: str, y: str, set_or_not: bool) -> Callable[[Arguments], np.ndarray]:
    def value(a: Arguments) -> np.ndarray:
        other = {"": 0.0, "*": a[x] * 0, "-": -1e9}[y] if y in ("", "*", "-") else a[y]
        return np.where(a[flag] == set_or_not, other, a[x])

    return value


def _replacing(name: str, value: Callable[[Arguments], Any]) -> Callable[[Inner], Inner]:
    return lambda inner: lambda arguments: inner({**arguments, name: value(arguments)})


def _exchanging(x: str, y: str) -> Callable[[Inner], Inner]:
    return lambda inner: lambda arguments: inner({**arguments, x: arguments[y], y: arguments[x]})


def _other_names(operation: Operation, sample: Arguments, names: Mapping[str, Sequence[str]]) -> Iterator[Edit]:
    for name, value in sample.items():
        if isinstance(value, str) and name in operation.axes:
            for other in names.get(name, ()):
                yield Edit(f"`{name}` were '{other}'", 1, _replacing(name, lambda _, other=other: other))
        elif value is not None and not isinstance(value, np.ndarray | str):
            yield Edit(f"`{name}` were None", 1, _replacing(name, lambda _: None))
        if name == "groups":
            yield Edit("all samples were of one group", 1, _replacing(name, lambda a: np.zeros(len(a["groups"]), int)))
            yield Edit("each sample were alone", 1, _replacing(name, lambda a: np.arange(len(a["groups"]))))
            for size in (2, 3, 4):
                yield Edit(
                    f"each {size} samples that follow each other were a group",
                    2,
                    _replacing(name, lambda a, size=size: np.arange(len(a["groups"])) // size),
                )


OUT_OF_RANGE = (0.0, 1e-12, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 2.0)
"""Numbers that are tried where a choice has one in it."""


def _of_conventions(operation: Operation, sample: Arguments) -> Iterator[Edit]:
    """The choices of the chapter that are not in force, and numbers in them that are none."""
    for convention, choices in choices_of(operation.name).items():
        name = convention.rpartition(".")[2]
        texts = [choice.example for choice in choices]
        texts += [choice.with_number(number) for choice in choices if choice.letter for number in OUT_OF_RANGE]
        for text in dict.fromkeys(texts):
            if sample.get(name) != text:
                yield Edit(f"its convention `{name}` were `{text}`", 1.2, _replacing(name, lambda _, text=text: text))


# On the way out.


def _result_edits(operation: Operation, sample: Arguments, telling: Sequence[float]) -> Iterator[Edit]:
    names = list(operation.results)
    for place, name in enumerate(names):
        what = f"`{name}`" if name else "the result"
        for words, cost, change in _of_a_result(operation, name, sample, telling):
            yield Edit(f"{what} {words}", cost + 0.1, of_one_result(place, change), RESULT)
    if len(names) > 1:
        for words, cost, change in _factors(operation, sample):
            yield Edit(f"all results {words}", cost, _of_all_results(change), RESULT)
        for x, y in combinations(range(len(names)), 2):
            if operation.results[names[x]] == operation.results[names[y]]:
                words = f"`{names[x]}` and `{names[y]}` were exchanged"
                yield Edit(words, 1, _exchanged_results(x, y), RESULT)
                for to, of in ((x, y), (y, x)):
                    words = f"`{names[to]}` were `{names[of]}`"
                    yield Edit(words, 1, _copied_result(to, of), RESULT)


Result = tuple[str, float, Callable[[np.ndarray, Arguments], Any]]


def of_one_result(place: int, change: Callable[[np.ndarray, Arguments], Any]) -> Callable[[Inner], Inner]:
    """An edit of the result at this place, and of no other."""

    def around(inner: Inner) -> Inner:
        def changed(arguments: Arguments) -> Results:
            results = inner(arguments)
            own = np.asarray(change(results[place], arguments), dtype=float)
            return (*results[:place], own, *results[place + 1 :])

        return changed

    return around


def _of_all_results(change: Callable[[np.ndarray, Arguments], Any]) -> Callable[[Inner], Inner]:
    def around(inner: Inner) -> Inner:
        return lambda arguments: tuple(np.asarray(change(x, arguments), dtype=float) for x in inner(arguments))

    return around


def _exchanged_results(x: int, y: int) -> Callable[[Inner], Inner]:
    def around(inner: Inner) -> Inner:
        def changed(arguments: Arguments) -> Results:
            results = list(inner(arguments))
            results[x], results[y] = results[y], results[x]
            return tuple(results)

        return changed

    return around


def _copied_result(to: int, of: int) -> Callable[[Inner], Inner]:
    def around(inner: Inner) -> Inner:
        def changed(arguments: Arguments) -> Results:
            results = inner(arguments)
            return (*results[:to], results[of], *results[to + 1 :])

        return changed

    return around


def _of_a_result(operation: Operation, name: str, sample: Arguments, telling: Sequence[float]) -> Iterator[Result]:
    axes = operation.results[name]
    yield "were 0", 1, lambda x, _: np.zeros_like(x)
    yield "were its absolute value", 1.5, lambda x, _: np.abs(x)
    yield "were rounded down to whole numbers", 1.5, lambda x, _: np.floor(x)
    yield "were rounded up to whole numbers", 1.5, lambda x, _: np.ceil(x)
    yield "were rounded to whole numbers", 1.5, lambda x, _: np.rint(x)
    yield "were at least 0", 2, lambda x, _: np.maximum(x, 0)
    yield "were at most 0", 2, lambda x, _: np.minimum(x, 0)
    for end in dict.fromkeys([*telling, *CLIPS]):
        yield f"were at most {end:.6g}", 2, lambda x, _, end=end: np.minimum(x, end)
        yield f"were at least {end:.6g}", 2, lambda x, _, end=end: np.maximum(x, end)
        yield f"were {end:.6g}", 2, lambda x, _, end=end: np.full_like(x, end, dtype=float)
        if end > 0:
            yield f"were clipped to [-{end:.6g}, {end:.6g}]", 2, lambda x, _, end=end: np.clip(x, -end, end)
    yield "were squared", 2, lambda x, _: np.square(x)
    yield "were its root", 2, lambda x, _: np.sqrt(x)
    yield "were its exponential", 2, lambda x, _: np.exp(x)
    yield "were its logarithm", 2, lambda x, _: np.log(x)
    yield "were one more", 2, lambda x, _: x + 1
    yield "were one less", 2, lambda x, _: x - 1
    yield "were 1 minus itself", 2.2, lambda x, _: 1 - x
    yield "were rounded to float32", 2, lambda x, _: x.astype(np.float32)
    yield "were rounded to float16", 2, lambda x, _: x.astype(np.float16)
    yield "were cut to whole numbers", 2, lambda x, _: np.trunc(x)
    yield from _factors(operation, sample)
    yield from _of_an_array(axes)
    yield from _with_arguments(operation, axes, sample)


def _of_an_array(axes: tuple[str, ...]) -> Iterator[Result]:
    if axes:
        yield "were less its mean", 1.5, lambda x, _: x - x.mean() if x.size else x
        yield "were divided by its standard deviation", 2, lambda x, _: x / x.std() if x.size and x.std() else x
        yield "were standardised", 2, lambda x, _: (x - x.mean()) / (x.std() + 1e-8) if x.size else x
        yield "were divided by its sum", 2, lambda x, _: x / x.sum()
        yield "were divided by the sum of its last axis", 2, lambda x, _: x / x.sum(axis=-1, keepdims=True)
        yield "were less the mean of its last axis", 2, lambda x, _: x - x.mean(axis=-1, keepdims=True)
        yield "were in reverse order along its first axis", 2, lambda x, _: x[::-1]
    if len(axes) > 1:
        yield "were read column by column", 2, lambda x, _: x.reshape(x.shape[::-1]).T if x.ndim == 2 else x
    if axes[:1] in (("B",), ("N",)):
        yield "were the first row's in every row", 2, lambda x, _: np.broadcast_to(x[:1], x.shape)
        yield "were the mean over the rows in every row", 2, lambda x, _: np.broadcast_to(x.mean(axis=0), x.shape)
        yield "were that of the row before", 2, lambda x, _: np.roll(x, 1, axis=0)
    if axes == ("B", "T"):
        yield "were that of the next step, and 0 at the last", 1.5, lambda x, _: _shifted(x, -1, "zero")
        yield "were that of the next step, the last one repeated", 1.5, lambda x, _: _shifted(x, -1, "edge")
        yield "were that of the step before, and 0 at the first", 1.5, lambda x, _: _shifted(x, 1, "zero")
        yield "were that of the step before, the last one's at the first", 1.8, lambda x, _: np.roll(x, 1, axis=1)
        yield "were 0 at the last step of the row", 1.5, lambda x, _: _with(x, np.s_[:, -1], 0)
        yield "were 0 at the first step of the row", 1.5, lambda x, _: _with(x, np.s_[:, 0], 0)
        yield "stood in reverse order in time", 2, lambda x, _: x[:, ::-1]
        yield "were that of the first step in the whole row", 2, lambda x, _: np.broadcast_to(x[:, :1], x.shape)
        yield "were the row's sum in the whole row", 2, lambda x, _: x * 0 + x.sum(axis=1, keepdims=True)
        yield "were the row's mean in the whole row", 2, lambda x, _: x * 0 + x.mean(axis=1, keepdims=True)
        yield "were summed from the first step on", 2, lambda x, _: np.cumsum(x, axis=1)
        yield "were summed from the last step back", 2, lambda x, _: np.cumsum(x[:, ::-1], axis=1)[:, ::-1]


def _with_arguments(operation: Operation, axes: tuple[str, ...], sample: Arguments) -> Iterator[Result]:
    """A result joined with an argument of its shape."""
    for other, value in sample.items():
        if operation.axes.get(other) != axes:
            continue
        if is_number(value) or (not axes and isinstance(value, float)):
            yield f"were added `{other}`", 1.5, lambda x, a, o=other: x + a[o]
            yield f"were less `{other}`", 1.5, lambda x, a, o=other: x - a[o]
            yield f"were `{other}`", 1.5, lambda x, a, o=other: a[o]
        if is_number(value):
            yield f"were times `{other}`", 1.8, lambda x, a, o=other: x * a[o]
            for words, count in [("1", lambda a: 1), *counts_of(operation, sample)]:
                if words != "1":
                    yield (
                        f"were added `{other}` divided by {words}", 2.2,
                        lambda x, a, o=other, n=count: x + a[o] / n(a),
                    )  # fmt: skip
                    yield (
                        f"were less `{other}` divided by {words}",
                        2.2,
                        lambda x, a, o=other, n=count: x - a[o] / n(a),
                    )
            for name, scalar in sample.items():
                if isinstance(scalar, float):
                    words = f"`{name}` times `{other}`"
                    yield f"were added {words}", 2.2, lambda x, a, o=other, n=name: x + a[n] * a[o]
                    yield f"were less {words}", 2.2, lambda x, a, o=other, n=name: x - a[n] * a[o]
        elif is_flag(value):
            yield f"were 0 where `{other}` is set", 1.5, lambda x, a, o=other: np.where(a[o], 0, x)
            yield f"were 0 where `{other}` is not set", 1.5, lambda x, a, o=other: np.where(a[o], x, 0)


def _factors(operation: Operation, sample: Arguments) -> Iterator[Result]:
    """Products and quotients with constants, with scalar arguments, and with counts of the batch."""
    yield "had the other sign", 1, lambda x, _: -x
    yield "were halved", 1.2, lambda x, _: x / 2
    yield "were doubled", 1.2, lambda x, _: 2 * x
    yield "were a quarter", 1.5, lambda x, _: x / 4
    for name, value in sample.items():
        if isinstance(value, float):
            yield f"were times `{name}`", 1.2, lambda x, a, n=name: x * a[n]
            yield f"were divided by `{name}`", 1.2, lambda x, a, n=name: x / a[n] if a[n] else x
            yield f"were times 1 - `{name}`", 1.5, lambda x, a, n=name: x * (1 - a[n])
            yield f"were times `{name}` squared", 1.8, lambda x, a, n=name: x * a[n] ** 2
            yield f"were times 1 + `{name}`", 1.8, lambda x, a, n=name: x * (1 + a[n])
    counts = list(counts_of(operation, sample))
    for words, count in counts:
        n = f"n being {words}"
        yield f"were times {words}", 1.5, lambda x, a, count=count: x * count(a)
        yield f"were divided by {words}", 1.5, lambda x, a, count=count: x / count(a) if np.all(count(a)) else x
        yield (
            f"were times n / (n - 1), {n}", 2,
            lambda x, a, count=count: x * count(a) / (count(a) - 1) if np.all(count(a) > 1) else x,
        )  # fmt: skip
        yield f"were times (n - 1) / n, {n}", 2, lambda x, a, count=count: x * (count(a) - 1) / count(a)
        yield f"were times n / (n + 1), {n}", 2, lambda x, a, count=count: x * count(a) / (count(a) + 1)
        yield (
            f"were times the root of n / (n - 1), {n}", 2.2,
            lambda x, a, count=count: x * np.sqrt(count(a) / np.maximum(count(a) - 1, 1)),
        )  # fmt: skip
        yield (
            f"were times the root of (n - 1) / n, {n}", 2.2,
            lambda x, a, count=count: x * np.sqrt(np.maximum(count(a) - 1, 1) / count(a)),
        )  # fmt: skip
    for (words, count), (other_words, other) in permutations(counts, 2):
        yield (
            f"were divided by {other_words} and not by {words}", 1.4,
            lambda x, a, count=count, other=other: x * count(a) / other(a) if np.all(other(a)) else x,
        )  # fmt: skip


def counts_of(operation: Operation, sample: Arguments) -> Iterator[tuple[str, Callable[[Arguments], Any]]]:
    """What a batch may be divided by: its rows, its columns, what counts in it, and rows in which something counts."""
    tables = [name for name, axes in operation.axes.items() if axes == ("B", "T") and name in sample]
    rows = [name for name, axes in operation.axes.items() if axes[:1] in (("B",), ("N",)) and name in sample]
    actions = [name for name, axes in operation.axes.items() if axes == ("B", "A") and name in sample]
    if rows:
        yield "the number of rows", lambda a: len(a[rows[0]])
    if tables:
        yield "the number of columns", lambda a: a[tables[0]].shape[1]
        yield "the number of places", lambda a: a[tables[0]].size
    if actions:
        yield "the number of actions", lambda a: a[actions[0]].shape[1]
    for mask in MASKS:
        if mask in sample:
            yield f"the number of places where `{mask}` is set", lambda a, m=mask: int(np.count_nonzero(a[m]))
            if np.ndim(sample[mask]) == 2:
                yield "the number of rows with such a place", lambda a, m=mask: int(np.asarray(a[m]).any(axis=1).sum())
    if "groups" in sample:
        yield (
            "the size of the group",
            lambda a: np.unique(a["groups"], return_inverse=True, return_counts=True)[2][
                np.unique(a["groups"], return_inverse=True)[1]
            ],
        )


def _other_operations(operation: Operation) -> Iterator[Edit]:
    """The result of another operation that takes the same arguments, or some of them."""
    for other in OPERATIONS.values():
        same = tuple(other.results.values()) == tuple(operation.results.values())
        if other.name != operation.name and same and set(other.parameters) <= set(operation.parameters):
            yield Edit(f"`{other.name}` were asked instead", 1, _asking(other))


def _asking(other: Operation) -> Callable[[Inner], Inner]:
    from .candidates import reference

    def around(_: Inner) -> Inner:
        def changed(arguments: Arguments) -> Results:
            answer = getattr(reference, other.name)(*(arguments[name] for name in other.parameters))
            return tuple(map(np.asarray, answer)) if isinstance(answer, tuple) else (np.asarray(answer),)

        return changed

    return around
