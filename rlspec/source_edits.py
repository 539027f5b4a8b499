"""Edits of the reference's own source: an operator, a comparison, a constant, a term, a name, one at a time.

The functions of the reference that an operation runs through are found by running it; each is parsed, and every small
change of its syntax tree is one edit.  While an edited operation is asked, the function has the code of the changed
tree, for whoever calls it.  Nothing is compiled before it is tried.
"""

import ast
import operator
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property
from inspect import getsource
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from . import reference
from .edits import FAILURE, SOURCE, Arguments, Edit, Inner, Results

INSIDE = f"{reference.__name__}."

IN_ARRAYS = f"{__package__}.in_arrays"

USUAL: dict[type[ast.operator], Sequence[type[ast.operator]]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitAnd: (ast.BitOr,),
}
"""An operator, and those that it is most often mistaken for."""

ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.FloorDiv, ast.Mod)

SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitOr: "|", ast.BitAnd: "&", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
"""How operators are written."""

TERMS = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp)
"""Expressions of which the parts are not set apart by brackets or commas."""

COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)

CALLS = {
    "min": ("max",), "max": ("min",), "any": ("all",), "all": ("any",), "reversed": ("list",), "sum": ("mean",),
    "mean": ("sum",), "minimum": ("maximum",), "maximum": ("minimum",), "cumsum": ("cumprod",), "var": ("std",),
}  # fmt: skip
"""A function that may be taken for another one."""

LOOKED_AT = 8
"""How many parts of an expression a formula in its place may be made of, besides names."""

LONGEST = 70
"""Characters of a piece of source that is shown as the context of a change."""

PLAIN, ODD, OTHER_NAME, MISREAD = 3.0, 3.6, 3.4, 3.7
"""How far from plain a change of source is: an ordinary one, an unusual one, a name for another, an operator that
binds otherwise."""


def functions_run(inner: Inner, calls: Sequence[Arguments]) -> list[FunctionType]:
    """The reference's functions that an operation runs through when it is asked, in the order of their names."""
    codes: set[CodeType] = set()

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith(INSIDE):
            codes.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for arguments in calls:
            try:
                inner(arguments)
            except Exception:  # so far it has run
                continue
    finally:
        sys.setprofile(before)
    run = [function for function in _defined() if codes & {*_codes(function.__code__)}]
    return sorted(run, key=lambda function: (function.__module__, function.__code__.co_firstlineno))


def lines_run(inner: Inner, arguments: Arguments) -> set[tuple[str, int]]:
    """The lines of the reference, and of operations in arrays, that one call runs through, each with its file."""
    lines: set[tuple[str, int]] = set()

    def note(frame: Any, event: str, _: Any) -> Any:
        if not frame.f_globals.get("__name__", "").startswith((INSIDE, IN_ARRAYS)):
            return None
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        inner(arguments)
    except Exception:  # so far it has run
        pass
    finally:
        sys.settrace(before)
    return lines


def _defined() -> set[FunctionType]:
    """The reference's functions: those of its modules, of its classes, and in its tables."""
    modules = [module for name, module in sys.modules.items() if name.startswith(INSIDE)]
    return {function for module in modules for value in vars(module).values() for function in _functions_in(value)}


def functions_of(module: ModuleType, inner: Inner, calls: Sequence[Arguments]) -> list[FunctionType]:
    """The functions of one module that an operation runs through when it is asked, in their order."""
    own = [value for value in vars(module).values() if isinstance(value, FunctionType)]
    lines = set().union(*(lines_run(inner, arguments) for arguments in calls))
    run = [of for of in own if any(file == of.__code__.co_filename and line in _span(of) for file, line in lines)]
    return sorted(run, key=lambda function: function.__code__.co_firstlineno)


def _span(function: FunctionType) -> range:
    """The lines of a function."""
    return range(function.__code__.co_firstlineno, max(line or 0 for *_, line in function.__code__.co_lines()) + 1)


def _functions_in(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, FunctionType):
        if value.__module__.startswith(INSIDE) and value.__module__ != f"{INSIDE}choices":  # how choices are read
            yield value
    elif isinstance(value, dict):
        yield from (of for of in value.values() if isinstance(of, FunctionType) and of.__module__.startswith(INSIDE))
    elif isinstance(value, type) and value.__module__.startswith(INSIDE):
        yield from (of for of in vars(value).values() if isinstance(of, FunctionType))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def source_edits(functions: Sequence[FunctionType]) -> Iterator[Edit]:
    """Every small change of the functions' syntax trees, as an edit of the operations that run through them."""
    for function in functions:
        yield from _edits_of(function)


@cache
def _edits_of(function: FunctionType) -> tuple[Edit, ...]:
    tree = _definition(function)
    if tree is None:
        return ()
    _ORIGINAL[function] = function.__code__
    source = _Source(function, tree)
    return tuple(
        Edit(change.words, cost, _with_change(function, change), SOURCE, (change,)) for cost, change in source.changes()
    )


@cache
def _stops_of(function: FunctionType) -> tuple[Edit, ...]:
    tree = _definition(function)
    if tree is None:
        return ()
    _ORIGINAL[function] = function.__code__
    return tuple(
        Edit(change.flow, PLAIN, _with_change(function, change), SOURCE, (change,))
        for change in _Source(function, tree).stops()
    )


def stops(functions: Sequence[FunctionType]) -> Iterator[Edit]:
    """For every expression in the functions' source, that no derivative is taken through it."""
    for function in functions:
        yield from _stops_of(function)


def _combined(changes: Sequence["_Change"]) -> CodeType:
    """The code of a function with several changes, of which one may lie inside another."""
    source = changes[0].source
    tree = _substituted(source.tree, {id(change.place.node): change.other for change in changes})
    return source.compiled(tree)


def _substituted(node: ast.AST, others: dict[int, ast.AST]) -> Any:
    """A copy of a tree with other nodes in the place of some."""
    if id(node) in others:
        rest = {key: other for key, other in others.items() if key != id(node)}
        return _substituted(others[id(node)], rest)
    copied = type(node)()
    for name, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            value = _substituted(value, others)
        elif isinstance(value, list):
            value = [_substituted(item, others) if isinstance(item, ast.AST) else item for item in value]
        setattr(copied, name, value)
    return ast.copy_location(copied, node)


def _with_change(function: FunctionType, change: "_Change") -> Callable[[Inner], Inner]:
    def around(inner: Inner) -> Inner:
        try:
            change.code()  # not while it is asked: what takes too long is interrupted
        except (SyntaxError, ValueError):
            return _nonsense

        def changed(arguments: Arguments) -> Results:
            with _changed(function, change):
                return inner(arguments)

        return changed

    return around


def _nonsense(arguments: Arguments) -> Results:
    raise SyntaxError("the change leaves no function")


_ORIGINAL: dict[FunctionType, CodeType] = {}
"""The code of every function of which there are edits."""

_ACTIVE: dict[FunctionType, tuple["_Change", ...]] = {}
"""The changes that are made at the moment."""

_COMBINED: dict[tuple["_Change", ...], CodeType] = {}
"""The code with several changes."""


def restore() -> None:
    """Give every function its own code again; for when an edited one was interrupted, perhaps while doing so."""
    _ACTIVE.clear()
    for function, code in _ORIGINAL.items():
        function.__code__ = code


@contextmanager
def _changed(function: FunctionType, change: "_Change") -> Iterator[None]:
    """While it lasts, the function has this change, too."""
    before, code = _ACTIVE.get(function, ()), function.__code__
    active = (*before, change)
    if not before:
        function.__code__ = change.code()
    else:
        if active not in _COMBINED:
            _COMBINED[active] = _combined(active)
        function.__code__ = _COMBINED[active]
    _ACTIVE[function] = active
    try:
        yield
    finally:
        function.__code__ = code
        _ACTIVE[function] = before


@cache
def _lines_of(module: ModuleType) -> list[bytes]:
    return getsource(module).encode().split(b"\n")


Spot = tuple[int, int]
"""A line and a column of a module's source, in bytes."""


def _start(node: ast.expr) -> Spot:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> Spot:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def _between(lines: Sequence[bytes], first: Spot, last: Spot) -> str:
    """The text between two places of a module's source, without line breaks."""
    text = [lines[number - 1] for number in range(first[0], last[0] + 1)]
    text[-1] = text[-1][: last[1]]
    text[0] = text[0][first[1] :]
    return b" ".join(part.strip() if place else part for place, part in enumerate(text)).decode()


@cache
def _tree_of(module: ModuleType) -> ast.Module:
    return ast.parse(getsource(module))


def _definition(function: FunctionType) -> ast.FunctionDef | ast.Lambda | None:
    """Where a function is defined in its module's tree; None for one of several lambdas of one line."""
    line, name = function.__code__.co_firstlineno, function.__name__
    found = [
        node
        for node in ast.walk(_tree_of(sys.modules[function.__module__]))
        if (isinstance(node, ast.Lambda) and name == "<lambda>" and node.lineno == line)
        or (isinstance(node, ast.FunctionDef) and node.name == name and _first_line(node) == line)
    ]
    return found[0] if len(found) == 1 else None


def _first_line(definition: ast.FunctionDef) -> int:
    return min([definition.lineno, *(decorator.lineno for decorator in definition.decorator_list)])


@dataclass(frozen=True)
class _Place:
    """Where a node stands in a tree: a field of its parent, or an item of a field that is a list."""

    node: ast.AST
    parent: ast.AST
    field: str
    item: int | None

    @contextmanager
    def holding(self, other: ast.AST) -> Iterator[None]:
        """Have something else there for a while."""
        self._put(other)
        try:
            yield
        finally:
            self._put(self.node)

    def _put(self, node: ast.AST) -> None:
        if self.item is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.item] = node


@dataclass
class Seen:
    """What the expressions of a reference's functions are in one call, looked at when it is asked for."""

    inner: Inner
    arguments: Arguments
    _values: dict[tuple[ast.AST, int], list[tuple[Any, ...]]] = field(default_factory=dict)

    def may_matter(self, edit: Edit) -> bool:
        """Whether a change of source may change what comes of the call: not if it changes no number, or has no sense.

        Only what is done with an expression, or with both of its operands, is looked at.
        """
        [change] = edit.changes if len(edit.changes) == 1 else [None]
        if change is None or change.by is None:
            return True
        try:
            return not all(_alike(change.by(*of), change.own(*of)) for of in self._at(change)) or not self._at(change)
        except TypeError:
            return False
        except Exception:  # as a division by zero, which arrays answer
            return True

    def _at(self, change: "_Change") -> list[tuple[Any, ...]]:
        key = change.place.node, change.of
        if key not in self._values:
            values: list[tuple[Any, ...]] = []

            def look(*of: Any) -> Any:
                values.append(of)
                return change.own(*of)

            looking = _Change(change.source, change.place, change.place.node, look, change.of)
            try:
                with _changed(change.source.function, looking):
                    self.inner(self.arguments)
            except Exception:  # so far it has run
                pass
            self._values[key] = values
        return self._values[key]


def _alike(mine: Any, its: Any) -> bool:
    """Whether two values are the same, both of them numbers or arrays of them."""
    return all(isinstance(one, NUMERIC) for one in (mine, its)) and bool(np.array_equal(mine, its))


NUMERIC = (int, float, Fraction, np.ndarray, np.generic)

HOOK = "what stands in for an expression"
"""A constant in code, in whose place there is a function when the code is run."""


class _Change:
    """One node in the place of another: its words, and the code of the function with it, both only when asked for.

    by: what is done with the node, or with both of its operands, if no more than that is changed.  Then the function is
    compiled once for all that is done with them.
    """

    def __init__(
        self, source: "_Source", place: _Place, other: ast.AST, by: Callable[..., Any] | None = None, of: int = 1
    ) -> None:
        self.source, self.place, self.other, self.by, self.of = source, place, other, by, of
        self._code: CodeType | None = None

    def own(self, *of: Any) -> Any:
        """The node's value, from itself or from its operands."""
        node = self.place.node
        return of[0] if self.of == 1 or not isinstance(node, ast.BinOp) else JOINED[type(node.op)](*of)

    def words(self) -> str:
        """What was, and what would have to be, in a piece of the source that is short enough to be shown."""
        context = self.source.context(self.place.node)
        before = _text(context)
        with self.place.holding(self.other):
            after = _text(self.other if context is self.place.node else context)
        return f"`{before}` were `{after}` in {self.source.whose}"

    def is_in(self, lines: set[tuple[str, int]]) -> bool:
        """Whether one of the lines is the node's."""
        node: Any = self.place.node
        file = self.source.function.__code__.co_filename
        return any((file, line) in lines for line in range(node.lineno, node.end_lineno + 1))

    def held(self) -> str:
        """What is held fixed where nothing is differentiated through the node."""
        return f"`{_text(self.place.node)}` in {self.source.whose}"

    def flow(self) -> str:
        """That nothing is differentiated through the node."""
        return f"no derivative were taken through `{_text(self.place.node)}` in {self.source.whose}"

    def code(self) -> CodeType:
        """The function's code with the change.  Raises SyntaxError or ValueError where there is none."""
        if self._code is None and self.by is not None:
            self._code = _hooked(self.source.with_hook(self.place, self.of), self.by)
        if self._code is None:
            if not hasattr(self.other, "lineno"):
                ast.copy_location(self.other, self.place.node)
            ast.fix_missing_locations(self.other)
            with self.place.holding(self.other):
                self._code = self.source.compiled()
        return self._code


def _hooked(code: CodeType, by: Callable[..., Any]) -> CodeType:
    """Code with a function in the place of the hook."""
    constants = tuple(
        by if constant == HOOK else _hooked(constant, by) if isinstance(constant, CodeType) else constant
        for constant in code.co_consts
    )
    return code.replace(co_consts=constants)


def _text(node: ast.AST) -> str:
    """A node as source, a statement that is left out as such."""
    return "(nothing)" if isinstance(node, ast.Pass) else " ".join(ast.unparse(node).split())


class _Source:
    """A function's syntax tree, and what may be changed in it."""

    def __init__(self, function: FunctionType, tree: ast.FunctionDef | ast.Lambda) -> None:
        self.function, self.tree = function, tree
        name = f"`{function.__name__.partition('__')[0]}`" if isinstance(tree, ast.FunctionDef) else "table"
        self.whose = (
            f"the reference's {name}" if function.__module__.startswith(INSIDE) else f"{name} written in arrays"
        )
        body = tree.body if isinstance(tree, ast.FunctionDef) else [tree]
        self.places = {
            node: _Place(node, parent, field, item)
            for statement in body
            for parent in ast.walk(statement)
            for field, value in ast.iter_fields(parent)
            for item, node in (enumerate(value) if isinstance(value, list) else [(None, value)])
            if isinstance(node, ast.expr | ast.stmt) and field not in ("annotation", "returns", "decorator_list")
        }
        if isinstance(tree, ast.FunctionDef):
            for item, statement in enumerate(tree.body):
                self.places[statement] = _Place(statement, tree, "body", item)
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        self.calls: dict[ast.AST, ast.AST] = {keyword: call for call in calls for keyword in call.keywords}
        self.names = sorted(
            {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and self._is_local(node.id)}
        )

        self.near = dict(self._near(body, set()))
        self._with_hooks: dict[tuple[ast.AST, int], CodeType] = {}

    def _near(self, statements: Sequence[ast.AST], around: set[str]) -> Iterator[tuple[ast.AST, list[str]]]:
        """For each node, the local names in its statement, and in the heads of the loops around it."""
        for statement in statements:
            inside = [node for field in ("body", "orelse") for node in _listed(getattr(statement, field, []))]
            deeper = {node for part in inside for node in ast.walk(part)}
            own = [node for node in ast.walk(statement) if node not in deeper]
            names = around | {node.id for node in own if isinstance(node, ast.Name) and node.id in self.names}
            names |= {node.arg for node in own if isinstance(node, ast.arg)}
            yield from ((node, sorted(names)) for node in own)
            yield from self._near(inside, names)

    def _is_local(self, name: str) -> bool:
        return any(name in (*code.co_varnames, *code.co_cellvars) for code in _codes(self.function.__code__))

    def changes(self) -> Iterator[tuple[float, _Change]]:
        """Every change, and how far from plain it is."""
        for node, place in self.places.items():
            for cost, other in _instead(node, self.near.get(node, [])):
                yield cost, _Change(self, place, other)
            if isinstance(node, ast.BinOp):
                yield from self._misread(node)
                yield from self._misread_in_another_order(node)
                for by, other in _otherwise_joined(node):
                    yield ODD, _Change(self, place, other, by, 2)
            if isinstance(node, NUMBERS) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
                for text, by in UNARY.items():
                    if place.field != "func":
                        yield ODD, _Change(self, place, _filled(text, node), by)

    def _misread(self, node: ast.BinOp) -> Iterator[tuple[float, "_Change"]]:
        """The statement's expression with another operator, where what belongs together changes with it."""
        top: ast.expr = node
        while isinstance(parent := self.places[top].parent, TERMS) and parent in self.places:
            top = parent
        lines = _lines_of(sys.modules[self.function.__module__])
        begins, left_ends, right_begins, ends = _start(top), _end(node.left), _start(node.right), _end(top)
        before, at = _between(lines, begins, left_ends), _between(lines, left_ends, right_begins)
        after = _between(lines, right_begins, ends)
        own = SIGNS.get(type(node.op), "@")
        for kind, sign in SIGNS.items():
            if kind is type(node.op) or (kind in ARITHMETIC) is not isinstance(node.op, ARITHMETIC):
                continue
            try:
                other = ast.parse(f"({before}{at.replace(own, sign, 1)}{after})", mode="eval").body
            except SyntaxError:
                continue
            if not (top is node and isinstance(other, ast.BinOp) and ast.dump(other.left) == ast.dump(node.left)):
                yield MISREAD, _Change(self, self.places[top], other)

    def _misread_in_another_order(self, node: ast.BinOp) -> Iterator[tuple[float, "_Change"]]:
        """Another operator before a product, of which another factor stands first, as in whoever's program it may."""
        factors = _factors(node.right)
        if not isinstance(node.op, ast.Add | ast.Sub):
            return
        for place in range(1, len(factors)):
            first, *rest = factors[place], *factors[:place], *factors[place + 1 :]
            product = " * ".join(f"({ast.unparse(factor)})" for factor in (first, *rest))
            for kind, sign in SIGNS.items():
                if kind in ARITHMETIC and kind not in (ast.Add, ast.Sub):
                    other = ast.parse(f"({ast.unparse(node.left)} {sign} {product})", mode="eval").body
                    yield MISREAD, _Change(self, self.places[node], other)

    def stops(self) -> Iterator["_Change"]:
        """Every expression that is a number as it is, with what a derivative does not pass through."""
        for node, place in self.places.items():
            loaded = isinstance(getattr(node, "ctx", ast.Load()), ast.Load) and place.field != "func"
            if loaded and isinstance(node, ast.BinOp | ast.Call | ast.Subscript | ast.Name | ast.UnaryOp | ast.IfExp):
                yield _Change(self, place, ast.Attribute(node, "real", ast.Load()))

    def with_hook(self, place: _Place, of: int) -> CodeType:
        """The code with a hook that is given a node, or both of its operands.  Raises ValueError as ``compiled``."""
        node: Any = place.node
        if (node, of) not in self._with_hooks:
            call = ast.Call(ast.Constant(HOOK), [node] if of == 1 else [node.left, node.right], [])
            ast.fix_missing_locations(ast.copy_location(call, node))
            with place.holding(call):
                self._with_hooks[node, of] = self.compiled()
        return self._with_hooks[node, of]

    def probes(self) -> Iterator["Probe"]:
        """A probe at every expression that may be a number, and is more than a name of one."""
        tests = [node.test for node in self.places if isinstance(node, ast.IfExp | ast.If)]
        kinds: tuple[type[ast.expr], ...] = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Subscript)
        if self.function.__module__ == IN_ARRAYS:  # a name may be that of an array, and not only of a number
            kinds = (*kinds, ast.Name)
        for node, place in self.places.items():
            loaded = isinstance(getattr(node, "ctx", ast.Load()), ast.Load) and place.field != "func"
            if loaded and isinstance(node, kinds):
                yield Probe(self, place, self._seen_from(node), tests)

    def _seen_from(self, node: ast.AST) -> list[ast.expr]:
        """The expressions and the names that a formula in a node's place may be made of."""
        parts = [part for part in ast.walk(node) if isinstance(part, NUMBERS) and part is not node]
        near = self._known_before(node) if self.function.__module__ == IN_ARRAYS else self.near.get(node, [])
        names = [ast.Name(name, ast.Load()) for name in near]
        known = {ast.unparse(part): part for part in [*parts[:LOOKED_AT], *names]}
        return [part for text, part in known.items() if text not in ("exp", "functions") and "lambda" not in text]

    def _known_before(self, node: Any) -> list[str]:
        """The arguments, and what was given a name in the lines before."""
        arguments = [argument.arg for argument in self.tree.args.args]
        stored = (other for other in ast.walk(self.tree) if isinstance(other, ast.Name))
        named = {other.id for other in stored if isinstance(other.ctx, ast.Store) and other.lineno < node.lineno}
        return [*arguments, *sorted(named & {*self.names} - {*arguments})]

    def context(self, node: ast.AST) -> ast.AST:
        """The largest expression around a node that is short enough to be shown."""
        while isinstance(node, ast.expr) and node in self.places:
            parent = self.places[node].parent
            parent = self.calls.get(parent, parent)
            if not isinstance(parent, ast.expr) or len(ast.unparse(parent)) > LONGEST:
                break
            node = parent
        return node

    def compiled(self, tree: ast.FunctionDef | ast.Lambda | None = None) -> CodeType:
        """The code of the function that the tree now defines.  Raises ValueError if it cannot stand in for it.

        tree: another one in the place of its own, of which some nodes may not say where they stand.
        """
        with warnings.catch_warnings(action="ignore"):  # an edit may make nonsense
            return self._code(self.tree) if tree is None else self._code(ast.fix_missing_locations(tree))

    def _code(self, tree: ast.FunctionDef | ast.Lambda) -> CodeType:
        name = self.function.__code__.co_filename
        if isinstance(tree, ast.Lambda):
            module = compile(ast.copy_location(ast.Expression(tree), tree), name, "eval")
        else:
            plain = ast.FunctionDef(**{**dict(ast.iter_fields(tree)), "decorator_list": []})
            module = compile(ast.Module([ast.copy_location(plain, tree)], []), name, "exec")
        found = [code for code in module.co_consts if isinstance(code, CodeType)
                 and code.co_name == self.function.__code__.co_name]  # fmt: skip
        if not found or found[0].co_freevars != self.function.__code__.co_freevars:
            raise ValueError("the change leaves no such function")
        return found[0]


class Probe:
    """One expression of a function that is looked at, and given other values, while the function runs."""

    def __init__(self, source: _Source, place: _Place, parts: Sequence[ast.expr], tests: Sequence[ast.expr]) -> None:
        assert isinstance(place.node, ast.expr)
        self.source, self.place, self.node, self.parts, self.tests = source, place, place.node, parts, tests

    @cached_property
    def text(self) -> str:
        """The expression itself, as source."""
        return ast.unparse(self.node)

    @cached_property
    def texts(self) -> list[str]:
        """What is seen from there, as source: numbers, and then conditions that the function itself looks at."""
        return [ast.unparse(part) for part in [*self.parts, *self._askable]]

    @cached_property
    def _askable(self) -> list[ast.expr]:
        names = {name.id for part in self.parts for name in ast.walk(part) if isinstance(name, ast.Name)}
        names |= {name.id for name in ast.walk(self.place.node) if isinstance(name, ast.Name)}
        asked = {}
        for test in self.tests:
            if all(name.id in names for name in ast.walk(test) if isinstance(name, ast.Name)):
                asked[ast.unparse(test)] = test
        return list(asked.values())

    def is_in(self, lines: set[tuple[str, int]]) -> bool:
        """Whether one of the lines is the expression's."""
        return _Change(self.source, self.place, self.place.node).is_in(lines)

    def running(self, by: Callable[..., Any]) -> AbstractContextManager[None]:
        """While it lasts, the expression is what ``by`` makes of it and of all that is seen from there.

        Raises SyntaxError or ValueError where that cannot be.
        """
        change = _Change(self.source, self.place, self.place.node)
        change._code = _hooked(self._compiled, by)
        return _changed(self.source.function, change)

    @cached_property
    def _compiled(self) -> CodeType:
        call = ast.Call(ast.Constant(HOOK), [self.node, *self.parts, *self._askable], [])
        tree = _substituted(self.source.tree, {id(self.place.node): call})
        return self.source.compiled(tree)

    def instead(self, formula: str, cost: float, where: str = "") -> Edit:
        """The edit that puts a formula in the expression's place, or does so where a condition holds.

        formula: in the texts.  where: one of the texts, or ``not`` and one of them.
        """
        other: ast.expr = ast.parse(formula, mode="eval").body
        if where:
            other = ast.IfExp(ast.parse(where, mode="eval").body, other, self.node)
        change = _Change(self.source, self.place, other)
        return Edit(change.words, ODD + cost, _with_change(self.source.function, change), SOURCE, (change,))

    def failing(self, what: str, cost: float) -> Edit:
        """The edit that fails wherever the expression is come to; what: how it fails, in words."""
        change = _Change(self.source, self.place, ast.parse("().nothing", mode="eval").body)
        words = f"{what} wherever `{self.text}` is computed in {self.source.whose}"
        return Edit(words, cost, _with_change(self.source.function, change), FAILURE, (change,))


def probes(functions: Sequence[FunctionType]) -> Iterator[Probe]:
    """A probe at every expression of the functions that may be a number."""
    for function in functions:
        yield from _probes_of(function)


@cache
def _probes_of(function: FunctionType) -> tuple[Probe, ...]:
    tree = _definition(function)
    if tree is None:
        return ()
    _ORIGINAL[function] = function.__code__
    return tuple(_Source(function, tree).probes())


JOINED: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_, ast.BitXor: operator.xor, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip

NUMBERS = (ast.BinOp, ast.Call, ast.Name, ast.Subscript)
"""Expressions that may be numbers."""

UNARY: dict[str, Callable[[Any], Any]] = {
    "-x": operator.neg, "abs(x)": abs, "2 * x": lambda x: 2 * x, "x / 2": lambda x: x / 2, "x + 1": lambda x: x + 1,
    "x - 1": lambda x: x - 1, "1 - x": lambda x: 1 - x, "x ** 2": lambda x: x**2, "1 / x": lambda x: 1 / x,
    "x // 1": lambda x: x // 1, "0": lambda x: 0 * x, "1": lambda x: 0 * x + 1,
}  # fmt: skip
"""What a number may be taken for."""


def _factors(node: ast.expr) -> list[ast.expr]:
    """The factors of a product; a number alone is one."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]


def _filled(text: str, node: ast.expr) -> ast.expr:
    """A formula in x with another expression for x."""
    tree = ast.parse(text, mode="eval").body
    return _substituted(tree, {id(x): node for x in ast.walk(tree) if isinstance(x, ast.Name) and x.id == "x"})


def _otherwise_joined(node: ast.BinOp) -> Iterator[tuple[Callable[..., Any], ast.expr]]:
    """The operands of an operator joined by others, and the other way round."""
    if type(node.op) not in JOINED:
        return
    if isinstance(node.op, ast.Div):
        one = ast.BinOp(ast.Constant(1), ast.FloorDiv(), node.right)
        yield lambda left, right: left * (1 // right), ast.BinOp(node.left, ast.Mult(), one)
    for kind, by in JOINED.items():
        if kind is not type(node.op) and kind not in USUAL.get(type(node.op), ()):
            yield by, ast.BinOp(node.left, kind(), node.right)
        if kind in (ast.Pow, ast.FloorDiv, ast.Mod, ast.LShift, ast.RShift) or (
            kind in (ast.Sub, ast.Div) and kind is not type(node.op)
        ):
            yield _turned(by), ast.BinOp(node.right, kind(), node.left)
        if isinstance(node.op, ast.Sub) and kind in ARITHMETIC and kind is not ast.Sub:  # x - y is -(y - x)
            yield _turned(by, -1), ast.UnaryOp(ast.USub(), ast.BinOp(node.right, kind(), node.left))


def _turned(by: Callable[[Any, Any], Any], sign: int = 1) -> Callable[[Any, Any], Any]:
    return lambda left, right: by(right, left) if sign > 0 else -by(right, left)


def _listed(value: Any) -> list[ast.stmt]:
    """The statements of a body; of an expression's, none."""
    return [node for node in value if isinstance(node, ast.stmt)] if isinstance(value, list) else []


def _instead(node: ast.AST, names: Sequence[str]) -> Iterator[tuple[float, ast.AST]]:
    """What may stand in the place of a node, and how far from plain that is."""
    match node:
        case ast.BinOp(left, by, right):
            for usual in USUAL.get(type(by), ()):
                yield PLAIN, ast.BinOp(left, usual(), right)
            yield PLAIN, left
            yield PLAIN, right
            if isinstance(by, ast.Sub | ast.Div):
                yield PLAIN, ast.BinOp(right, by, left)
        case ast.BoolOp(by, values):
            yield PLAIN, ast.BoolOp(ast.And() if isinstance(by, ast.Or) else ast.Or(), values)
            for value in values:
                rest = [other for other in values if other is not value]
                yield PLAIN, rest[0] if len(rest) == 1 else ast.BoolOp(by, rest)
        case ast.UnaryOp(by, operand):
            yield PLAIN, operand
            for sign in (ast.USub, ast.Not, ast.Invert):
                if not isinstance(by, sign):
                    yield ODD, ast.UnaryOp(sign(), operand)
        case ast.Compare(left, [comparison], right):
            for other in COMPARISONS:
                if isinstance(comparison, COMPARISONS) and not isinstance(comparison, other):
                    yield PLAIN, ast.Compare(left, [other()], right)
            yield PLAIN, ast.Constant(True)
            yield PLAIN, ast.Constant(False)
        case ast.IfExp(test, body, orelse):
            yield PLAIN, body
            yield PLAIN, orelse
            yield PLAIN, ast.IfExp(test, orelse, body)
        case ast.If(test, body, orelse):
            yield PLAIN, ast.If(ast.Constant(False), body, orelse)
            yield PLAIN, ast.If(ast.Constant(True), body, orelse)
            yield PLAIN, ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.AugAssign(target, by, value):
            yield PLAIN, ast.Pass()
            for usual in USUAL.get(type(by), ()):
                yield PLAIN, ast.AugAssign(target, usual(), value)
        case ast.Constant(bool()):
            yield PLAIN, ast.Constant(not node.value)
        case ast.Constant(int() as whole):
            for number in dict.fromkeys((whole + 1, whole - 1, 0, 2 * whole)):
                if number != whole:
                    yield PLAIN, ast.Constant(number)
        case ast.Constant(float() as real):
            for changed in dict.fromkeys((2 * real, real / 2, 0.0, -real, 10 * real, real / 10, real + 1, real - 1)):
                yield PLAIN, ast.Constant(changed)
        case ast.Call(function, arguments, keywords):
            yield from _instead_of_a_call(function, arguments, keywords)
        case ast.Subscript(ast.Name(), ast.UnaryOp() | ast.Constant() | ast.Name(), ast.Load()):
            for name in names:
                yield OTHER_NAME, ast.Name(name, ast.Load())
        case ast.Subscript(value, ast.Slice(lower, upper, None)):
            yield PLAIN, value
            if lower is None or upper is None:  # [1:] for [:-1], and the other way round
                one = ast.Slice(ast.Constant(1)) if lower is None else ast.Slice(None, ast.Constant(-1))
                yield PLAIN, ast.Subscript(value, one, ast.Load())
        case ast.Name(name, ast.Load()) if name in names:
            for other_name in names:
                if other_name != name:
                    yield OTHER_NAME, ast.Name(other_name, ast.Load())
        case ast.ListComp(element, [generator]) | ast.GeneratorExp(element, [generator]) if generator.ifs:
            plain = ast.comprehension(generator.target, generator.iter, [], 0)
            yield PLAIN, type(node)(element, [plain])
        case ast.ListComp(_, [ast.comprehension(ast.Name(), every)]):
            yield PLAIN, ast.Call(ast.Name("list", ast.Load()), [every], [])


def _instead_of_a_call(
    function: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword]
) -> Iterator[tuple[float, ast.AST]]:
    if isinstance(function, ast.Name):
        for name in CALLS.get(function.id, ()):
            yield PLAIN, ast.Call(ast.Name(name, ast.Load()), arguments, keywords)
        if function.id in ("min", "max") and len(arguments) > 2:
            for argument in arguments:
                rest = [other for other in arguments if other is not argument]
                yield PLAIN, ast.Call(function, rest, keywords)
    for keyword in keywords:
        yield PLAIN, ast.Call(function, arguments, [other for other in keywords if other is not keyword])
    if isinstance(function, ast.Attribute):
        for name in CALLS.get(function.attr, ()):
            yield PLAIN, ast.Call(ast.Attribute(function.value, name, ast.Load()), arguments, keywords)
    for argument in arguments:
        if not isinstance(argument, ast.Starred | ast.GeneratorExp):
            yield PLAIN, argument
    for one, two in zip(range(len(arguments)), range(1, len(arguments)), strict=False):
        exchanged = list(arguments)
        exchanged[one], exchanged[two] = exchanged[two], exchanged[one]
        yield ODD, ast.Call(function, exchanged, keywords)
