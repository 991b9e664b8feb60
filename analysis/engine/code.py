"""Which code the output of a task depends on, and a digest of each piece of it.

*Physics modules* count whole, with the transitive closure of their imports. Of the modules of the tasks, which are
*plumbing*, counts what ``run`` reaches, function by function; of the engine and of settings, nothing. A module that
says ``__plumbing__ = True`` does not count either. Where this cannot be exact it takes in too much, never too little.

Files are read once per process, as Python itself imports them once: what runs and what is recorded stay the same if
somebody edits a file meanwhile.
"""

from __future__ import annotations

import ast
import functools
import importlib
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeGuard

import luigi

from analysis.engine.imports import Code, Found, Physics
from analysis.engine.modules import CodeError, Module, definition, exists, load_module, locate, parents, prefix_of
from analysis.engine.syntax import Canonical, bindings, bound_alias

__all__ = ["NOT_RUN", "PLUMBING", "SETTINGS", "Code", "CodeError", "closure", "forget", "module_digest"]

PLUMBING = (
    "analysis.engine",
    "analysis.tasks",
    "analysis.completion",
    "analysis.errors",
    "analysis.settings",
    "analysis.carried",
)
"""Modules that do not count, or function by function; including those below them."""

SETTINGS = ("analysis.config",)
"""Modules whose values count, not their code."""

NOT_RUN = frozenset(
    {
        "branch_value",
        "check",
        "code_modules",
        "complete",
        "configuration",
        "create_branch_map",
        "external_inputs",
        "input",
        "modify_param_values",
        "needs",
        "on_commit",
        "output",
        "recipe_parameters",
        "req",
        "requires",
        "result_lines",
        "store_parts",
        "title",
        "workflow_requires",
    }
)
"""Methods that say what a task is, where its outputs are and what it requires: the recipe has their results."""

_ENGINE = __name__.rpartition(".")[0]


def closure(
    task_class: type,
    modules: Iterable[str] = (),
    plumbing: Sequence[str] = PLUMBING,
    settings: Sequence[str] = SETTINGS,
) -> Code:
    """The code that ``run`` of a task class depends on.

    Args:
        task_class: the class.
        modules: physics modules that count as well, such as those with column functions that are found by name.
        plumbing: modules that do not count whole.
        settings: modules that do not count.

    Returns:
        Units and packages; the same object for the same arguments.

    Raises:
        CodeError: if a file cannot be read or parsed.
    """
    return _closure(task_class, tuple(modules), tuple(plumbing), tuple(settings))


def module_digest(module: str) -> str:
    """Digest of a module without comments, docstrings, layout and annotations, and of the data files beside it.

    Args:
        module: its name.

    Returns:
        16 hexadecimal digits.

    Raises:
        CodeError: if there is no such module, or a file cannot be read or parsed.
    """
    return load_module(module).digest


def forget() -> None:
    """Read all files anew, for a process that reloads modules."""
    for cached in (locate, load_module, definition, _closure, _members, _is_selector):
        cached.cache_clear()


@functools.cache
def _closure(cls: type, modules: tuple[str, ...], plumbing: tuple[str, ...], settings: tuple[str, ...]) -> Code:
    roots = frozenset(name.partition(".")[0] for name in (cls.__module__, *modules, *plumbing, *settings))
    physics = Physics(roots, (*plumbing, *settings))
    found = _Run(cls, physics, plumbing).found
    found.modules |= {load_module(name).name for name in modules}
    return physics.complete(found)


class _Reached(NamedTuple):
    """A definition in a module of the tasks, and the task class that ``self`` is an instance of in it."""

    receiver: type | None
    module: str
    name: str


class _Run:
    """Follows what ``run`` of a task reaches in the modules of the tasks, function by function.

    Args:
        cls: the task class.
        physics: follows everything else.
        plumbing: modules that do not count whole.
    """

    def __init__(self, cls: type, physics: Physics, plumbing: tuple[str, ...]) -> None:
        self.found = Found()
        self._physics = physics
        project = [c.__module__ for c in cls.__mro__ if physics.is_project(c.__module__)]
        places = {prefix_of(module, plumbing) or module for module in project}
        self._places = tuple(sorted(p for p in places if prefix_of(_ENGINE, (p,)) is None))
        self._related: dict[type, None] = {}
        self._attributes: set[str] = set()
        self._seen: set[_Reached] = set()
        self._queue: list[_Reached] = []
        self._relate(cls)
        self._look_up(cls, {"run"}, own=True)
        while self._queue:
            self._visit(self._queue.pop())

    def _is_followed(self, module: str) -> bool:
        return prefix_of(module, self._places) is not None

    def _relate(self, cls: type) -> None:
        """Attributes with names that are used may be those of this task class, or of those that its modules name."""
        queue = [cls]
        while queue:
            related = queue.pop()
            if related in self._related:
                continue
            self._related[related] = None
            for base in related.__mro__:
                if self._is_followed(base.__module__):
                    named = vars(sys.modules[base.__module__]).values()
                    queue.extend(c for c in named if _is_task(c) and self._is_followed(c.__module__))
                    if load_module(base.__module__).class_body(base.__qualname__) is None:  # not made at top level
                        self._reach(_Reached(None, base.__module__, ""))
                else:
                    self.found.modules.add(base.__module__)
            self._look_up(related, self._attributes)

    def _look_up(self, cls: type, attributes: set[str], *, own: bool = False) -> None:
        members = _members(cls, self._places)
        for name in sorted(attributes & members.keys()):
            if own or name != "run":
                for module, qualname in members[name]:
                    self._reach(_Reached(cls, module, qualname))

    def _reach(self, definition: _Reached) -> None:
        if definition not in self._seen:
            self._seen.add(definition)
            if not _is_selector(definition.module, definition.name):
                self._queue.append(definition)

    def _visit(self, reached: _Reached) -> None:
        receiver, module, name = reached
        source, unit = load_module(module), definition(module, name)
        self.found.units[f"{module}:{name}" if name else module] = unit.digest
        code, passed = unit.code, set[tuple[str, str]]()
        for node in code.imports:
            for alias in node.names:
                self._follow(source, node, alias, code, passed)
        for used in sorted(code.names):
            self._resolve(module, used, code, passed)
        if receiver is not None:
            self._look_up(receiver, code.own_attributes, own=True)
        new = (code.attributes if receiver else code.attributes | code.own_attributes) - self._attributes
        self._attributes |= new
        for related in list(self._related):
            self._look_up(related, new)

    def _follow(
        self,
        source: Module,
        node: ast.Import | ast.ImportFrom,
        alias: ast.alias,
        code: Canonical,
        passed: set[tuple[str, str]],
    ) -> None:
        module = alias.name if isinstance(node, ast.Import) else source.absolute(node)
        if not self._is_followed(module):
            found = Found()
            self._physics.follow(source, node, alias, code.attributes, found)
            self.found.add(found)
        if isinstance(node, ast.Import):
            for name in (module, *parents(module)):
                self._bind(name, code, passed)
        elif not self._is_followed(module):
            self._bind(f"{module}.{alias.name}", code, passed)
        else:
            for name in code.names if alias.name == "*" else [alias.name]:
                self._resolve(module, name, code, passed)

    def _bind(self, module: str, code: Canonical, passed: set[tuple[str, str]]) -> None:
        """A name is a module: follow what is taken from it."""
        if self._is_followed(module) and exists(module):
            for name in sorted(code.attributes):
                self._resolve(module, name, code, passed)

    def _resolve(self, module: str, name: str, code: Canonical, passed: set[tuple[str, str]]) -> None:
        """Follow a name of a module of the tasks to its definition."""
        if (module, name) in passed:
            return
        passed.add((module, name))
        source = load_module(module)
        statements = source.bindings.get(name) or source.bindings.get("*", [])
        defined = [s for s in statements if not isinstance(s, ast.Import | ast.ImportFrom)]
        if not statements and source.is_package:
            self._bind(f"{module}.{name}", code, passed)
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    if bound_alias(alias, statement) == name:
                        self._follow(source, statement, alias, code, passed)
                    elif alias.name == "*" and isinstance(statement, ast.ImportFrom):
                        self._follow_star(source, statement, name, code, passed)
        if any(isinstance(s, ast.ClassDef) for s in defined):
            cls = getattr(importlib.import_module(module), name, None)
            if _is_task(cls):
                self._relate(cls)
                return
        if defined:
            self._reach(_Reached(None, module, name))

    def _follow_star(
        self, source: Module, node: ast.ImportFrom, name: str, code: Canonical, passed: set[tuple[str, str]]
    ) -> None:
        """A name that is bound nowhere else may come from ``from x import *``."""
        if self._is_followed(source.absolute(node)):
            self._resolve(source.absolute(node), name, code, passed)
        else:
            self._follow(source, node, node.names[0], code, passed)


@functools.cache
def _members(cls: type, places: tuple[str, ...]) -> dict[str, list[tuple[str, str]]]:
    """Modules and names of all definitions of each attribute that ``run`` may use, base classes included."""
    members: dict[str, list[tuple[str, str]]] = {}
    for base in cls.__mro__:
        if prefix_of(base.__module__, places) is not None:
            body = load_module(base.__module__).class_body(base.__qualname__) or []
            for name in bindings(body).keys() - NOT_RUN:
                if not isinstance(vars(base).get(name), luigi.Parameter):
                    members.setdefault(name, []).append((base.__module__, f"{base.__qualname__}.{name}"))
    return members


@functools.cache
def _is_selector(module: str, name: str) -> bool:
    """Whether a function only finds what the recipe has anyway: it carries the decorator ``untracked``."""
    qualname, _, last = name.rpartition(".")
    source = load_module(module)
    body = source.class_body(qualname) if qualname else None
    statements = bindings(body).get(last, []) if body else source.bindings.get(last, [])
    return any(
        isinstance(decorator, ast.Name) and decorator.id == "untracked"
        for statement in statements
        if isinstance(statement, ast.FunctionDef)
        for decorator in statement.decorator_list
    )


def _is_task(value: object) -> TypeGuard[type]:
    return isinstance(value, type) and issubclass(value, luigi.Task)
