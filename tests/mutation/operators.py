"""Changes of a function's source that a test should notice: the mutants of a module.

Strings, messages, logs, annotations and defaults stay as they are: their mutants change words, not facts.
"""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "reversed": "list"}
LOGGERS = {"log", "logger"}


@dataclass(frozen=True)
class Mutant:
    """One change of one function. ``lines``: lines whose tests may notice it; ``start``, ``end``: bytes of the file."""

    path: str
    function: str
    operator: str
    lines: tuple[int, int]
    start: int
    end: int
    text: str
    identity: str = ""

    def applied(self, source: bytes) -> bytes:
        """Return the mutated source."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Return all mutants of a module's functions, in the order of the source.

    A mutant's identity outlives changes of the file elsewhere: it is made from function, line and change.
    """
    seen: Counter[str] = Counter()
    mutants = []
    for mutant in _Functions(path, source).mutants():
        before = source[source.rfind(b"\n", 0, mutant.start) + 1 : mutant.end].decode()
        change = "|".join((path, mutant.function, mutant.operator, before.strip(), mutant.text))
        seen[change] += 1
        digest = hashlib.sha256(f"{change}|{seen[change]}".encode()).hexdigest()[:8]
        mutants.append(replace(mutant, identity=digest))
    return mutants


class _Functions:
    """The functions of a module, each walked with the innermost statement at hand."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path = path
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def mutants(self) -> Iterator[Mutant]:
        yield from self._in_scope(ast.parse(self._source), "")

    def _in_scope(self, scope: ast.AST, name: str) -> Iterator[Mutant]:
        for node in ast.iter_child_nodes(scope):
            if isinstance(node, ast.ClassDef):
                yield from self._in_scope(node, f"{name}{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                bound = {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}
                for statement in node.body:
                    yield from self._in_statement(statement, f"{name}{node.name}", bound)

    def _in_statement(self, statement: ast.stmt, function: str, bound: set[str]) -> Iterator[Mutant]:
        if isinstance(statement, ast.Assert | ast.Pass | ast.Global | ast.Nonlocal) or _is_words(statement):
            return
        first = statement.lineno
        for node, operator, (start, end), text in self._changes(statement, bound):
            last = node.end_lineno if isinstance(node, ast.expr) else None
            yield Mutant(self._path, function, operator, (first, last or first), start, end, text)
        bound |= {name.id for name in _own(statement) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
        for inner in _bodies(statement):
            yield from self._in_statement(inner, function, bound)
        for handler in getattr(statement, "handlers", []):
            if handler.type:
                lines = (handler.lineno, handler.body[0].lineno)
                yield Mutant(self._path, function, "not caught", lines, *self._span(handler.type), "()")

    def _changes(self, statement: ast.stmt, bound: set[str]) -> Iterator[tuple[ast.AST, str, tuple[int, int], str]]:
        if _is_droppable(statement, bound):
            yield statement, "dropped", self._span(statement), "pass"
        if isinstance(statement, ast.With | ast.AsyncWith) and all(not item.optional_vars for item in statement.items):
            header = self._span(statement)[0], self._span(statement.items[-1].context_expr)[1]
            yield statement, "not entered", header, "if True"
        if isinstance(statement, ast.Raise):
            return
        for node in _own(statement):
            for operator, span, text in self._in_expression(node):
                yield node, operator, span, text

    def _in_expression(self, node: ast.AST) -> Iterator[tuple[str, tuple[int, int], str]]:
        match node:
            case ast.If() | ast.While() | ast.IfExp() | ast.comprehension():
                yield from self._in_condition(node)
            case ast.Compare(ops=[operator]):
                yield self._between("comparison", node.left, node.comparators[0], COMPARISONS[type(operator)])
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                yield self._between("arithmetic", node.left, node.right, ARITHMETIC[type(node.op)])
            case ast.BoolOp():
                yield from (("operand alone", self._span(node), f"({self._text(value)})") for value in node.values)
            case ast.UnaryOp(op=ast.Not()):
                yield "not dropped", self._span(node), f"({self._text(node.operand)})"
            case ast.Constant(value=bool() | int() as value):
                yield "constant", self._span(node), _changed(value)
            case ast.Slice():
                yield from (("slice", self._span(bound), "") for bound in (node.lower, node.upper) if bound)
            case ast.Call():
                yield from self._in_call(node)

    def _in_condition(
        self, node: ast.If | ast.While | ast.IfExp | ast.comprehension
    ) -> Iterator[tuple[str, tuple[int, int], str]]:
        if isinstance(node, ast.comprehension):
            yield from (("filter dropped", self._span(test), "True") for test in node.ifs)
        elif not isinstance(node.test, ast.Constant):
            yield "condition false", self._span(node.test), "False"
            if not isinstance(node, ast.While):
                yield "condition true", self._span(node.test), "True"

    def _in_call(self, node: ast.Call) -> Iterator[tuple[str, tuple[int, int], str]]:
        if isinstance(node.func, ast.Name) and node.func.id in CALLS and (node.func.id != "sorted" or node.args):
            if node.func.id != "sorted" or not node.keywords:
                yield "call", self._span(node.func), CALLS[node.func.id]
            else:
                yield "call", self._span(node), f"list({self._text(node.args[0])})"
        for keyword in node.keywords:
            if keyword.arg and not isinstance(keyword.value, ast.Constant):
                start, end = self._span(keyword)
                yield "argument dropped", (start, end + len(_comma(self._source[end:]))), ""

    def _between(
        self, operator: str, left: ast.expr, right: ast.expr, words: tuple[str, str]
    ) -> tuple[str, tuple[int, int], str]:
        start, end = self._span(left)[1], self._span(right)[0]
        between = self._source[start:end].decode()
        pattern = r"\s+".join(map(re.escape, words[0].split()))
        return operator, (start, end), re.sub(pattern, words[1], between, count=1)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        at: ast.stmt = node  # type: ignore[assignment]
        assert at.end_lineno is not None
        assert at.end_col_offset is not None
        return self._starts[at.lineno - 1] + at.col_offset, self._starts[at.end_lineno - 1] + at.end_col_offset

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()


def _changed(value: bool | int) -> str:
    return str(not value) if isinstance(value, bool) else str(value + 1)


def _comma(rest: bytes) -> bytes:
    found = re.match(rb"\s*,", rest)
    return found.group() if found else b""


def _is_words(statement: ast.stmt) -> bool:
    """Return whether it is a docstring or a log line."""
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Constant):
        return True
    called = value.func if isinstance(value, ast.Call) else None
    return isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in LOGGERS


def _is_droppable(statement: ast.stmt, bound: set[str]) -> bool:
    """Return whether the rest of the function still has its names without the statement."""
    match statement:
        case ast.Expr(value=ast.Yield() | ast.YieldFrom()):
            return False
        case ast.Assign(targets=targets):
            return all(_is_bound(target, bound) for target in targets)
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Break() | ast.Continue():
            return True
        case _:
            return False


def _is_bound(target: ast.expr, bound: set[str]) -> bool:
    if isinstance(target, ast.Tuple):
        return all(_is_bound(element, bound) for element in target.elts)
    return isinstance(target, ast.Attribute | ast.Subscript) or (isinstance(target, ast.Name) and target.id in bound)


def _bodies(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Return the statements within a statement."""
    for field in ("body", "orelse", "finalbody"):
        for inner in getattr(statement, field, []):
            if isinstance(inner, ast.stmt):
                yield inner
    for holder in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield from holder.body


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Return a statement's own expressions, with all within them but strings, annotations and error messages."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case | ast.JoinedStr):
                continue
            if isinstance(child, ast.AST):
                yield from _own(child)
