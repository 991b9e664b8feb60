"""Python code as what it does: a canonical text without comments, docstrings, layout and annotations.

The text is the same for Python 3.11, 3.12 and 3.13, whose own ``ast.dump`` differ.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeGuard

_LEFT_OUT = {
    "annotation",  # of arguments; those of assignments are dealt with one by one
    "ctx",
    "kind",
    "returns",
    "simple",
    "type_comment",
    "type_ignores",
    "type_params",
}
_ANNOTATIONS_ONLY = {"__future__", "typing", "collections.abc"}
_NO_CODE = {"__all__", "__version__"}


class Canonical:
    """Canonical text of some code, and what the code mentions.

    Args:
        nodes: statements or modules.
        in_class: whether the statements are those of a class, where annotations mean something.

    Attributes:
        names: names that are read.
        attributes: names after a dot, other than those of ``self``.
        own_attributes: names after ``self.``, ``cls.`` and ``super().``.
        imports: import statements at any level.
    """

    def __init__(self, nodes: Iterable[ast.AST], *, in_class: bool = False) -> None:
        self._parts: list[str] = []
        self._in_class = in_class
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.own_attributes: set[str] = set()
        self.imports: list[ast.Import | ast.ImportFrom] = []
        for node in nodes:
            self._write(node)
        self.text = " ".join(self._parts)
        self._parts.clear()

    def _write(self, node: ast.AST) -> None:
        _WRITERS.get(type(node), Canonical._write_fields)(self, node)

    def _write_fields(self, node: ast.AST) -> None:
        parts = self._parts
        parts.append(f"({type(node).__name__}")
        for name in _fields(node._fields):
            value = getattr(node, name)
            if value is None or value == []:
                continue
            parts.append(f"{name}=")
            values = value if isinstance(value, list) else [value]
            for item in values:
                if isinstance(item, ast.AST):  # not by _write(), as the stack is short for long sums
                    _WRITERS.get(type(item), Canonical._write_fields)(self, item)
                elif item is None:  # such as in the keys of {**mapping}
                    parts.append("absent;")
                else:  # names, such as those in global statements
                    parts.append(ascii(item))
            if values is value:
                parts.append(";")
        parts.append(")")

    def _write_nothing(self, _node: ast.AST) -> None:
        """A statement that does nothing."""

    def _write_name(self, node: ast.Name) -> None:
        if type(node.ctx) is ast.Load:
            self.names.add(node.id)
        self._parts.append(node.id)

    def _write_constant(self, node: ast.Constant) -> None:
        # ascii(): what repr() escapes depends on the Unicode tables of the Python version
        self._parts.append(ascii(node.value))

    def _write_attribute(self, node: ast.Attribute) -> None:
        value = node.value
        own = (type(value) is ast.Name and value.id in {"self", "cls"}) or _is_call_of(value, "super")
        (self.own_attributes if own else self.attributes).add(node.attr)
        self._parts.append(f".{node.attr}")
        self._write(value)

    def _write_call(self, node: ast.Call) -> None:
        if _is_call_of(node, "getattr"):
            constants = [a.value for a in node.args if isinstance(a, ast.Constant)]
            self.attributes.update(c for c in constants if isinstance(c, str))
        self._write_fields(node)

    def _write_import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.imports.append(node)
        if isinstance(node, ast.Import) or node.module not in _ANNOTATIONS_ONLY or any(a.asname for a in node.names):
            self._write_fields(node)

    def _write_expression(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else a docstring, of whatever
            self._write_fields(node)

    def _write_if(self, node: ast.If) -> None:
        if is_type_checking(node):
            for statement in node.orelse:
                self._write(statement)
        else:
            self._write_fields(node)

    def _write_annotated(self, node: ast.AnnAssign) -> None:
        if self._in_class:  # such as a field of a dataclass
            self._parts.append("(AnnAssign")
            self._write(node.annotation)
            self._write(node.target)
            if node.value is not None:
                self._write(node.value)
            self._parts.append(")")
        elif node.value is not None:
            self._write_fields(ast.Assign(targets=[node.target], value=node.value))

    def _write_scope(self, node: ast.AST) -> None:
        outer, self._in_class = self._in_class, isinstance(node, ast.ClassDef)
        self._write_fields(node)
        self._in_class = outer

    def _write_joined(self, node: ast.JoinedStr) -> None:
        """An f-string; how its constant parts are cut depends on the Python version."""
        self._parts.append("(f")
        constant = ""
        for value in node.values:
            if isinstance(value, ast.Constant):
                constant += str(value.value)
                continue
            if constant:
                self._parts.append(ascii(constant))
                constant = ""
            self._write(value)
        if constant:
            self._parts.append(ascii(constant))
        self._parts.append(")")

    def _write_formatted(self, node: ast.FormattedValue) -> None:
        self._parts.append(f"({{{node.conversion}")
        self._write(node.value)
        if isinstance(node.format_spec, ast.JoinedStr):
            self._parts.append(":")
            self._write(node.format_spec)
        self._parts.append(")")


_WRITERS: dict[type[ast.AST], Callable[[Canonical, Any], None]] = {
    ast.AnnAssign: Canonical._write_annotated,
    ast.AsyncFunctionDef: Canonical._write_scope,
    ast.Attribute: Canonical._write_attribute,
    ast.Call: Canonical._write_call,
    ast.ClassDef: Canonical._write_scope,
    ast.Constant: Canonical._write_constant,
    ast.Expr: Canonical._write_expression,
    ast.FormattedValue: Canonical._write_formatted,
    ast.FunctionDef: Canonical._write_scope,
    ast.If: Canonical._write_if,
    ast.Import: Canonical._write_import,
    ast.ImportFrom: Canonical._write_import,
    ast.JoinedStr: Canonical._write_joined,
    ast.Name: Canonical._write_name,
    ast.Pass: Canonical._write_nothing,
}


def bindings(body: Sequence[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """Statements of a module or class by the names that they bind, or whose objects they change.

    Args:
        body: the statements; blocks for type checkers are left out.

    Returns:
        Statements in their order; those of ``from x import *`` under ``"*"``.
    """
    found: dict[str, list[ast.stmt]] = {}
    for statement in body:
        if is_type_checking(statement):
            for name, inner in bindings(statement.orelse).items():
                found.setdefault(name, []).extend(inner)
        else:
            for name in sorted(_bound_names(statement)):
                found.setdefault(name, []).append(statement)
    return found


def bound_alias(alias: ast.alias, node: ast.Import | ast.ImportFrom) -> str:
    """Name that one part of an import statement binds."""
    return alias.asname or (alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name)


def only_imports(body: Sequence[ast.stmt]) -> bool:
    """Whether a module does nothing but import, and say ``__all__`` and ``__version__``."""
    return all(
        isinstance(s, ast.Import | ast.ImportFrom | ast.Pass)
        or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        or (is_type_checking(s) and not s.orelse)
        or (isinstance(s, ast.Assign) and all(isinstance(t, ast.Name) and t.id in _NO_CODE for t in s.targets))
        for s in body
    )


def is_type_checking(node: ast.AST) -> TypeGuard[ast.If]:
    """Whether a statement is an ``if TYPE_CHECKING:``."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"


def _bound_names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {bound_alias(alias, statement) for alias in statement.names}
    plain = (isinstance(statement, ast.Assign) and all(_is_plain(t) for t in statement.targets)) or (
        isinstance(statement, ast.AnnAssign) and _is_plain(statement.target)
    )
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {bound_alias(alias, node) for alias in node.names}
        # table["x"] = 1 and table.update(x=1) change what they only read
        elif isinstance(node, ast.Name) and not (plain and isinstance(node.ctx, ast.Load)):
            found.add(node.id)
    return found


def _is_plain(target: ast.expr) -> bool:
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    return all(isinstance(part, ast.Name) for part in parts)


def _is_call_of(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


@functools.cache
def _fields(fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(fields) - _LEFT_OUT))
