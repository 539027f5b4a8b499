"""Edits of the reference's own source: an operator, a comparison, a constant, a term, a name, one at a time.

The functions of the reference that an operation runs through are found by running it; each is parsed, and every small
change of its syntax tree is one edit.  While an edited operation is asked, the function has the code of the changed
tree, for whoever calls it.  Nothing is compiled before it is tried.
"""

import ast
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from inspect import getsource
from types import CodeType, FunctionType, ModuleType
from typing import Any

from . import reference
from .edits import SOURCE, Arguments, Edit, Inner, Results

INSIDE = f"{reference.__name__}."

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

COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)

CALLS = {"min": ("max",), "max": ("min",), "any": ("all",), "all": ("any",), "reversed": ("list",)}
"""A function that may be taken for another one."""

LONGEST = 70
"""Characters of a piece of source that is shown as the context of a change."""

PLAIN, ODD, OTHER_NAME = 3.0, 3.6, 3.4
"""How far from plain a change of source is: an ordinary one, an unusual one, a name for another."""


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


def _defined() -> set[FunctionType]:
    """The reference's functions: those of its modules, of its classes, and in its tables."""
    modules = [module for name, module in sys.modules.items() if name.startswith(INSIDE)]
    return {function for module in modules for value in vars(module).values() for function in _functions_in(value)}


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
        Edit(change.words, cost, _with_code(function, change.code), SOURCE) for cost, change in source.changes()
    )


def _with_code(function: FunctionType, compiled: Callable[[], CodeType]) -> Callable[[Inner], Inner]:
    def around(inner: Inner) -> Inner:
        try:
            code = compiled()  # not while it is asked: what takes too long is interrupted
        except (SyntaxError, ValueError):
            return _nonsense

        def changed(arguments: Arguments) -> Results:
            with _replaced(function, code):
                return inner(arguments)

        return changed

    return around


def _nonsense(arguments: Arguments) -> Results:
    raise SyntaxError("the change leaves no function")


_ORIGINAL: dict[FunctionType, CodeType] = {}
"""The code of every function of which there are edits."""


def restore() -> None:
    """Give every function its own code again; for when an edited one was interrupted, perhaps while doing so."""
    for function, code in _ORIGINAL.items():
        function.__code__ = code


@contextmanager
def _replaced(function: FunctionType, code: CodeType) -> Iterator[None]:
    before = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = before


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


class _Change:
    """One node in the place of another: its words, and the code of the function with it, both only when asked for."""

    def __init__(self, source: "_Source", place: _Place, other: ast.AST) -> None:
        self.source, self.place, self.other = source, place, other
        self._code: CodeType | None = None

    def words(self) -> str:
        """What was, and what would have to be, in a piece of the source that is short enough to be shown."""
        context = self.source.context(self.place.node)
        before = _text(context)
        with self.place.holding(self.other):
            after = _text(self.other if context is self.place.node else context)
        return f"`{before}` were `{after}` in the reference's {self.source.name}"

    def code(self) -> CodeType:
        """The function's code with the change.  Raises SyntaxError or ValueError where there is none."""
        if self._code is None:
            with self.place.holding(self.other):
                self._code = self.source.compiled()
        return self._code


def _text(node: ast.AST) -> str:
    """A node as source, a statement that is left out as such."""
    return "(nothing)" if isinstance(node, ast.Pass) else " ".join(ast.unparse(node).split())


class _Source:
    """A function's syntax tree, and what may be changed in it."""

    def __init__(self, function: FunctionType, tree: ast.FunctionDef | ast.Lambda) -> None:
        self.function, self.tree = function, tree
        self.name = f"`{function.__name__}`" if isinstance(tree, ast.FunctionDef) else "table"
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
        self.names = sorted(
            {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and self._is_local(node.id)}
        )

        self.near = dict(self._near(body, set()))

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

    def context(self, node: ast.AST) -> ast.AST:
        """The largest expression around a node that is short enough to be shown."""
        while isinstance(node, ast.expr) and node in self.places:
            parent = self.places[node].parent
            if not isinstance(parent, ast.expr) or len(ast.unparse(parent)) > LONGEST:
                break
            node = parent
        return node

    def compiled(self) -> CodeType:
        """The code of the function that the tree now defines.  Raises ValueError if it cannot stand in for it."""
        with warnings.catch_warnings(action="ignore"):  # an edit may make nonsense
            return self._code()

    def _code(self) -> CodeType:
        name = self.function.__code__.co_filename
        if isinstance(self.tree, ast.Lambda):
            module = compile(ast.fix_missing_locations(ast.Expression(self.tree)), name, "eval")
        else:
            plain = ast.FunctionDef(**{**dict(ast.iter_fields(self.tree)), "decorator_list": []})
            module = compile(ast.fix_missing_locations(ast.Module([plain], [])), name, "exec")
        found = [code for code in module.co_consts if isinstance(code, CodeType)
                 and code.co_name == self.function.__code__.co_name]  # fmt: skip
        if not found or found[0].co_freevars != self.function.__code__.co_freevars:
            raise ValueError("the change leaves no such function")
        return found[0]


def _listed(value: Any) -> list[ast.stmt]:
    """The statements of a body; of an expression's, none."""
    return [node for node in value if isinstance(node, ast.stmt)] if isinstance(value, list) else []


def _instead(node: ast.AST, names: Sequence[str]) -> Iterator[tuple[float, ast.AST]]:
    """What may stand in the place of a node, and how far from plain that is."""
    match node:
        case ast.BinOp(left, operator, right):
            for usual in USUAL.get(type(operator), ()):
                yield PLAIN, ast.BinOp(left, usual(), right)
            yield PLAIN, left
            yield PLAIN, right
            for odd in ARITHMETIC if isinstance(operator, ARITHMETIC) else ():
                if odd is not type(operator) and odd not in USUAL.get(type(operator), ()):
                    yield ODD, ast.BinOp(left, odd(), right)
            if isinstance(operator, ast.Sub | ast.Div):
                yield PLAIN, ast.BinOp(right, operator, left)
        case ast.BoolOp(operator, values):
            yield PLAIN, ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
            for value in values:
                rest = [other for other in values if other is not value]
                yield PLAIN, rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
        case ast.UnaryOp(_, operand):
            yield PLAIN, operand
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
        case ast.AugAssign(target, operator, value):
            yield PLAIN, ast.Pass()
            for usual in USUAL.get(type(operator), ()):
                yield PLAIN, ast.AugAssign(target, usual(), value)
        case ast.Constant(bool()):
            yield PLAIN, ast.Constant(not node.value)
        case ast.Constant(int() as whole):
            for number in dict.fromkeys((whole + 1, whole - 1, 0, 2 * whole)):
                if number != whole:
                    yield PLAIN, ast.Constant(number)
        case ast.Constant(float() as real):
            for factor in (2, 0.5, 0, -1, 10, 0.1):
                yield PLAIN, ast.Constant(real * factor)
        case ast.Call(function, arguments, keywords):
            yield from _instead_of_a_call(function, arguments, keywords)
            yield ODD, ast.UnaryOp(ast.USub(), node)
        case ast.Subscript(ast.Name(), ast.UnaryOp() | ast.Constant() | ast.Name(), ast.Load()):
            for name in names:
                yield OTHER_NAME, ast.Name(name, ast.Load())
            yield ODD, ast.Constant(0)
        case ast.Subscript(value, ast.Slice(lower, upper, None)):
            yield PLAIN, value
            if lower is None or upper is None:  # [1:] for [:-1], and the other way round
                one = ast.Slice(ast.Constant(1)) if lower is None else ast.Slice(None, ast.Constant(-1))
                yield PLAIN, ast.Subscript(value, one, ast.Load())
        case ast.Name(name, ast.Load()) if name in names:
            for other_name in names:
                if other_name != name:
                    yield OTHER_NAME, ast.Name(other_name, ast.Load())
            yield ODD, ast.UnaryOp(ast.USub(), node)
            yield ODD, ast.Constant(0)
            yield ODD, ast.Constant(1)
            yield ODD, ast.BinOp(ast.Constant(1), ast.Sub(), node)
        case ast.ListComp(element, [generator]) | ast.GeneratorExp(element, [generator]) if generator.ifs:
            plain = ast.comprehension(generator.target, generator.iter, [], 0)
            yield PLAIN, type(node)(element, [plain])


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
    for argument in arguments:
        if not isinstance(argument, ast.Starred | ast.GeneratorExp):
            yield PLAIN, argument
    for one, two in zip(range(len(arguments)), range(1, len(arguments)), strict=False):
        exchanged = list(arguments)
        exchanged[one], exchanged[two] = exchanged[two], exchanged[one]
        yield ODD, ast.Call(function, exchanged, keywords)
