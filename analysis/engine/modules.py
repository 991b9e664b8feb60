"""Modules of the project as files: where they are, what they define, and digests of it. Nothing is imported."""

from __future__ import annotations

import ast
import copy
import functools
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from warnings import catch_warnings, simplefilter

from analysis.engine.syntax import Canonical, bindings, bound_alias, only_imports
from analysis.errors import AnalysisError

_ENGINE = __name__.rpartition(".")[0]


class CodeError(AnalysisError):
    """A file of code cannot be read or understood."""


class Unit(NamedTuple):
    """One definition of a module."""

    digest: str
    code: Canonical


class Module:
    """A module's file, parsed.

    Args:
        name: name of the module.
        path: its file; ``None`` for a package without one.
    """

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self.path = path
        self.is_package = path is None or path.name == "__init__.py"
        self.tree = ast.Module([], []) if path is None else _parse(path, name)

    @functools.cached_property
    def bindings(self) -> dict[str, list[ast.stmt]]:
        """Top-level statements by the names that they bind."""
        return bindings(self.tree.body)

    @functools.cached_property
    def is_plumbing(self) -> bool:
        """Whether it says ``__plumbing__ = True``."""
        values = [s.value for s in self.bindings.get("__plumbing__", ()) if isinstance(s, ast.Assign | ast.AnnAssign)]
        return any(isinstance(v, ast.Constant) and v.value is True for v in values)

    @functools.cached_property
    def only_imports(self) -> bool:
        """Whether it only imports, as the ``__init__`` of a package may."""
        return only_imports(self.tree.body)

    @functools.cached_property
    def code(self) -> Canonical:
        """The whole of it."""
        return Canonical([self.tree])

    @functools.cached_property
    def digest(self) -> str:
        """Digest of code and data."""
        return digest_of(self.code.text, *self.data())

    def class_body(self, qualname: str) -> list[ast.stmt] | None:
        """Statements of a class; ``None`` if it was not made by a class statement of the module."""
        body = self.tree.body
        for name in qualname.split("."):
            classes = [s for s in bindings(body).get(name, ()) if isinstance(s, ast.ClassDef)]
            if not classes:
                return None
            body = classes[-1].body
        return body

    def absolute(self, node: ast.ImportFrom) -> str:
        """Name of the module from which a statement imports."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        above = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*above, *([node.module] if node.module else [])])

    def essence(self, statement: ast.stmt, name: str) -> ast.stmt:
        """A statement without what does not concern a name that it binds: other imports, decorators of the engine."""
        if isinstance(statement, ast.Import | ast.ImportFrom):
            aliases = [a for a in statement.names if bound_alias(a, statement) == name]
            if isinstance(statement, ast.Import):
                return ast.Import(aliases)
            return ast.ImportFrom(statement.module, aliases, statement.level)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.decorator_list:
            statement = copy.copy(statement)
            statement.decorator_list = [d for d in statement.decorator_list if not self._is_of_engine(d)]
        return statement

    def _is_of_engine(self, decorator: ast.expr) -> bool:
        name = next((n.id for n in ast.walk(decorator) if isinstance(n, ast.Name)), "")
        imports = self.bindings.get(name, [])
        return bool(imports) and all(
            isinstance(s, ast.ImportFrom) and prefix_of(self.absolute(s), (_ENGINE,)) is not None for s in imports
        )

    def data(self) -> Iterator[str | bytes]:
        """Names and contents of ``<module>.<anything>`` beside the module."""
        if self.path is None:
            return
        prefix = f"{self.path.stem}."
        for file in sorted(self.path.parent.glob(f"{prefix}*")):
            if not file.name.startswith(f"{prefix}py") and not file.name.endswith("~") and file.is_file():
                yield file.name
                yield _read(file, self.name)


@functools.cache
def load_module(module: str) -> Module:
    """A module of the project, parsed once per process.

    Raises:
        CodeError: if there is no such module, or its file cannot be read or parsed.
    """
    path = locate(module)
    if path is None:
        msg = f"the code of module {module} cannot be found: correct its name, or make it importable"
        raise CodeError(msg)
    return Module(module, None if path.is_dir() else path)


@functools.cache
def locate(module: str) -> Path | None:
    """File of a module, or directory of a package without ``__init__.py``; nothing is imported."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file and file.endswith(".py"):
        return Path(file)
    parent, _, name = module.rpartition(".")
    folders = _folders(parent) if parent else [folder.parent for folder in _folders(module)]
    for folder in folders:
        for file in (folder / name / "__init__.py", folder / f"{name}.py"):
            if file.is_file():
                return file
    return next((folder / name for folder in folders if (folder / name).is_dir()), None)


def _folders(package: str) -> list[Path]:
    parent, _, name = package.rpartition(".")
    if parent:
        return [folder / name for folder in _folders(parent)]
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # __main__
        return []
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []


def exists(module: str) -> bool:
    """Whether there is a module or package of that name."""
    return locate(module) is not None


def prefix_of(module: str, prefixes: Iterable[str]) -> str | None:
    """The prefix that a module is, or is below."""
    return next((p for p in prefixes if module == p or module.startswith(f"{p}.")), None)


def parents(module: str) -> list[str]:
    """Packages that hold a module, the outermost first."""
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _parse(path: Path, module: str) -> ast.Module:
    try:
        with catch_warnings():  # of escapes in strings: Python says it when it imports the module
            simplefilter("ignore")
            return ast.parse(_read(path, module))
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        msg = f"{_display(path, module)} is not valid Python{line} ({reason}): correct it"
        raise CodeError(msg) from error


def _read(path: Path, module: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        msg = f"{_display(path, module)} cannot be read ({reason}): make it readable, or remove what imports {module}"
        raise CodeError(msg) from error


def _display(path: Path, module: str) -> str:
    """Path from the directory of the project."""
    depth = module.count(".") + 1 + (path.name == "__init__.py")
    return "/".join(path.parts[-depth:])


def digest_of(*parts: str | bytes) -> str:
    """Digest of texts and contents of files: 16 hexadecimal digits."""
    found = sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(b"%d:" % len(data))
        found.update(data)
    return found.hexdigest()[:16]


@functools.cache
def definition(module: str, name: str) -> Unit:
    """Digest and code of a definition; of the whole module if the name is empty."""
    source = load_module(module)
    if not name:
        return Unit(source.digest, source.code)
    owner, _, attribute = name.rpartition(".")
    statements = bindings(source.class_body(owner) or [])[attribute] if owner else source.bindings[name]
    code = Canonical((source.essence(s, attribute) for s in statements), in_class=bool(owner))
    if owner and not all(isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef) for s in statements):
        code.own_attributes |= code.names  # a constant of a class may use others
    return Unit(digest_of(code.text, *source.data()), code)
