"""Everything that determines the outputs of a task, as a hash that says what it is made of.

A recipe has two halves. *Own* is what belongs to the task itself: its parameters, code, settings, sandbox, branch and
the files from outside it reads. *Upstream* are the recipes of what it requires. Both are equal on every machine, in
every process and for every place of the repository and the store.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2s
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

VERSION = 1
"""Part of every recipe: raised when a change of the engine or of the plumbing of tasks changes what outputs mean."""

HALF = 10
"""Hexadecimal digits of each half."""


@dataclass(frozen=True)
class Recipe:
    """What determines the outputs of one branch, or of a task without branches.

    Args:
        task: task family.
        parameters: parameters that matter, as on the command line.
        code: digests of modules, and of functions of task modules, by name.
        settings: values of the configuration that ``run`` reads, by name.
        sandbox: versions of the packages that the code uses.
        branch: what the branch stands for, e.g. a range of events.
        external: identities of files from outside the store, by name.
        requirements: digests of the recipes of what is required, by title.
        version: see :data:`VERSION`.
    """

    task: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sandbox: Mapping[str, str] = field(default_factory=dict)
    branch: Any = None
    external: Mapping[str, str] = field(default_factory=dict)
    requirements: Mapping[str, str] = field(default_factory=dict)
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """As it is written to the manifest."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Recipe:
        """From :meth:`to_json`."""
        return cls(**content)


class Digest(NamedTuple):
    """The two halves of a recipe's hash, each of :data:`HALF` hexadecimal digits."""

    own: str
    upstream: str

    def __str__(self) -> str:
        return self.own + self.upstream


class Change(NamedTuple):
    """A difference between two recipes; ``None`` stands for what is not there."""

    kind: Literal["task", "parameter", "code", "setting", "package", "branch", "file", "requirement", "engine"]
    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.kind in {"code", "requirement"}:
            what = "new" if self.before is None else "gone" if self.after is None else "changed"
            return f"{self.kind} {self.name}: {what}"
        if self.kind == "setting" and isinstance(self.before, list) and isinstance(self.after, list):
            return f"{self.kind} {self.name}: {_show_lists(self.before, self.after)}"
        return f"{self.kind} {self.name}: {_show(self.before)} -> {_show(self.after)}"


_KINDS: tuple[tuple[str, Any], ...] = (
    ("parameters", "parameter"),
    ("code", "code"),
    ("settings", "setting"),
    ("sandbox", "package"),
    ("external", "file"),
    ("requirements", "requirement"),
)


def changes(before: Recipe, after: Recipe) -> list[Change]:
    """What is different, in the order parameters, code, settings, packages, files, requirements, the rest."""
    found = []
    for attribute, kind in _KINDS:
        old, new = getattr(before, attribute), getattr(after, attribute)
        for name in sorted(old.keys() | new.keys()):
            if canonical(old.get(name)) != canonical(new.get(name)):
                found.append(Change(kind, name, old.get(name), new.get(name)))
    if before.task != after.task:
        found.append(Change("task", "name", before.task, after.task))
    if canonical(before.branch) != canonical(after.branch):
        found.append(Change("branch", "content", before.branch, after.branch))
    if before.version != after.version:
        found.append(Change("engine", "version", before.version, after.version))
    return found


def digest_of(recipe: Recipe, shared: str | None = None) -> Digest:
    """Hash of a recipe.

    Args:
        recipe: the recipe.
        shared: hash of what all branches of a workflow share (:func:`shared_digest`), if it is known already.
    """
    stage = shared or shared_digest(recipe)
    own = hash_text(f"{stage} {canonical(recipe.branch)} {canonical(recipe.external)}", HALF)
    return Digest(own, hash_text(canonical(recipe.requirements), HALF))


def shared_digest(recipe: Recipe) -> str:
    """Hash of what all branches of a workflow share."""
    parts = (recipe.task, recipe.version, recipe.parameters, recipe.code, recipe.settings, recipe.sandbox)
    return hash_text(canonical(parts), 2 * HALF)


def hash_text(text: str, digits: int) -> str:
    """The first hexadecimal digits of a text's hash."""
    return blake2s(text.encode()).hexdigest()[:digits]


def canonical(value: Any) -> str:
    """JSON that is the same for equal values, whatever their containers and the order of their keys."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def plain(value: Any) -> Any:
    """A value made of what JSON knows: text, numbers, lists and mappings.

    Raises:
        TypeError: for anything that has no such form, and would make a recipe depend on the process.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, PurePath):
        return value.as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=canonical)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    msg = f"{value!r} of type {type(value).__name__} cannot be part of a recipe: use text, numbers, lists, mappings"
    raise TypeError(msg)


def _show_lists(before: list[Any], after: list[Any]) -> str:
    gone = [f"- {_show(item)}" for item in before if item not in after]
    new = [f"+ {_show(item)}" for item in after if item not in before]
    return ", ".join([*gone, *new]) or f"another order: {_show(after)}"


def _show(value: Any, limit: int = 60) -> str:
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
