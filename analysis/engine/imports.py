"""Imports, followed through the modules that count whole."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.engine.modules import Module, definition, exists, load_module, parents, prefix_of
from analysis.engine.syntax import bound_alias


@dataclass(frozen=True)
class Code:
    """The code that a task depends on.

    Attributes:
        units: digests, 16 hexadecimal digits, by name: ``analysis.columnar.select`` is a whole module,
            ``analysis.tasks.train_model:TrainModel.run`` a function, method or constant of one,
            ``analysis.generator:write_nanoaod`` also where a package takes a name from.
        packages: top-level names of the third-party packages that they import, sorted.
    """

    units: Mapping[str, str]
    packages: tuple[str, ...]


@dataclass
class Found:
    """What some code depends on, as far as it was followed."""

    modules: set[str] = field(default_factory=set)
    units: dict[str, str] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)

    def add(self, other: Found) -> None:
        """Take in what was followed elsewhere."""
        self.modules |= other.modules
        self.units |= other.units
        self.packages |= other.packages


class Physics:
    """Follows imports through the modules that count whole.

    Args:
        roots: top-level packages of the project.
        apart: modules that do not count.
    """

    def __init__(self, roots: frozenset[str], apart: tuple[str, ...]) -> None:
        self._roots = roots
        self._apart = apart

    def complete(self, found: Found) -> Code:
        """The transitive closure."""
        units, packages = dict(found.units), set(found.packages)
        queue, seen = sorted(found.modules), set(found.modules)
        while queue:
            module = queue.pop()
            if not self._counts(module):
                continue
            source = load_module(module)
            if not source.only_imports or not source.is_package:
                units[module] = source.digest
            further = Found()
            for node in source.code.imports:
                for alias in node.names:
                    self.follow(source, node, alias, source.code.attributes, further)
            units |= further.units
            packages |= further.packages
            # importing a module runs the packages that hold it
            holding = (p for p in parents(module) if exists(p) and not load_module(p).only_imports)
            new = further.modules.union(holding) - seen
            seen |= new
            queue.extend(sorted(new))
        return Code(dict(sorted(units.items())), tuple(sorted(packages)))

    def follow(
        self,
        source: Module,
        node: ast.Import | ast.ImportFrom,
        alias: ast.alias,
        attributes: set[str],
        found: Found,
    ) -> None:
        """Add what one name of an import statement stands for.

        Args:
            source: the module with the statement.
            node: the statement.
            alias: the part of it.
            attributes: what the importing code takes from modules by a dot.
            found: is extended.
        """
        module = alias.name if isinstance(node, ast.Import) else source.absolute(node)
        root = module.partition(".")[0]
        if root not in self._roots:
            if root and root not in sys.stdlib_module_names:
                found.packages.add(root)
        elif isinstance(node, ast.ImportFrom):
            self._resolve(module, alias.name, attributes, found)
        else:
            self._bind(module, attributes, found)
            for parent in parents(module):
                self._look_up(parent, attributes, found)

    def is_project(self, module: str) -> bool:
        """Whether a module belongs to the project."""
        return module.partition(".")[0] in self._roots

    def _counts(self, module: str) -> bool:
        inside = self.is_project(module) and prefix_of(module, self._apart) is None
        return inside and exists(module) and not load_module(module).is_plumbing

    def _bind(self, module: str, attributes: set[str], found: Found) -> None:
        """A name is a module: it counts, and what is taken from it."""
        if self._counts(module):
            found.modules.add(module)
            self._look_up(module, attributes, found)

    def _look_up(self, package: str, attributes: set[str], found: Found) -> None:
        if not self._counts(package) or not load_module(package).is_package:
            return
        for name in sorted(attributes):
            if name in load_module(package).bindings or exists(f"{package}.{name}"):
                self._resolve(package, name, attributes, found)

    def _resolve(self, module: str, name: str, attributes: set[str], found: Found) -> None:
        """Follow a name of a module to the modules where it is defined."""
        if not self._counts(module):
            return
        source, unit = load_module(module), f"{module}:{name}"
        statements = source.bindings.get(name, ())
        if not source.is_package:
            found.modules.add(module)
        elif statements:
            if unit in found.units:
                return
            found.units[unit] = definition(module, name).digest
            for statement in statements:
                if not isinstance(statement, ast.Import | ast.ImportFrom):
                    found.modules.add(module)
                    continue
                for alias in statement.names:
                    if bound_alias(alias, statement) == name:
                        self.follow(source, statement, alias, attributes, found)
        elif exists(f"{module}.{name}"):
            self._bind(f"{module}.{name}", attributes, found)
        else:  # from x import *, or a name that is made while the package runs
            found.modules.add(module)
