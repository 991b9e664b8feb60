"""A chain of tasks that run in no time, and whose world a test can change."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi

from analysis.engine import code, task
from analysis.engine.branches import run_branches
from analysis.engine.manifest import Manifest
from analysis.engine.plan import in_order_of_data, walk
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.task import AnalysisTask
from analysis.engine.workflow import AnalysisWorkflow
from analysis.settings import Settings, settings


@dataclass
class World:
    """Everything that toy tasks look at, by task family where it is one's own.

    Args:
        branches: the branch map of workflows.
        settings: what ``configuration()`` says.
        modules: what ``code_modules()`` says.
        identities: identities of the external files of ``Read`` by branch; ``None`` for one out of reach.
        contents: what outputs begin with: stands for whatever makes them different.
        hooks: called at the start of ``run()``.
        ran: titles of what ran in this process, in order.
    """

    branches: dict[int, Any] = field(default_factory=lambda: {0: "zero", 1: "one", 2: "two"})
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    modules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    identities: dict[int, str | None] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    hooks: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Back to the beginning."""
        vars(self).update(vars(World()))


# a process of its own gets its world from the environment
WORLD = World(**json.loads(os.environ.get("TOY_WORLD", "{}")))


class ChainToy(AnalysisTask):
    """Base of the toy tasks."""

    exclude_index = True
    number = luigi.IntParameter(default=1)
    note = luigi.Parameter(default="", significant=False)

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        return WORLD.settings.get(self.get_task_family(), {})

    def code_modules(self) -> Iterable[str]:
        return WORLD.modules.get(self.get_task_family(), ())

    def content(self) -> str:
        return WORLD.contents.get(self.get_task_family(), "content")

    def start(self) -> None:
        WORLD.ran.append(self.title())
        WORLD.hooks.get(self.get_task_family(), lambda _task: None)(self)


class Read(ChainToy, AnalysisWorkflow):
    """Reads files from outside the store."""

    def create_branch_map(self) -> dict[int, Any]:
        return dict(WORLD.branches)

    def external_inputs(self, branch: int | None) -> dict[str, str | None]:
        return {} if branch is None else {"file.root": WORLD.identities.get(branch, f"uuid {branch}")}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"read_{self.branch}.txt")

    def run(self) -> None:
        self.start()
        self.staged(self.output()).write_text(f"{self.content()} {self.branch_data}")
        self.account(events_out=10 * (1 + self.branch))


class Count(ChainToy, AnalysisWorkflow):
    """Reads the output of the branch of ``Read`` that has the same number."""

    def create_branch_map(self) -> dict[int, Any]:
        return dict(WORLD.branches)

    def workflow_requires(self) -> Any:
        return {"read": Read.req(self)}

    def requires(self) -> Any:
        return {"read": Read.req(self, branch=self.branch)}

    def branch_value(self, branch: int) -> Any:  # noqa: ARG002
        return None

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"count_{self.branch}.txt")

    def run(self) -> None:
        self.start()
        size = len(Path(self.input()["read"].path).read_text())
        self.staged(self.output()).write_text(f"{self.content()} {size}")


class Sum(ChainToy):
    """Reads the outputs of all branches."""

    def requires(self) -> Any:
        return {"count": Count.req(self)}

    def output(self) -> law.FileSystemFileTarget:
        return self.target("sum.txt")

    def run(self) -> None:
        self.start()
        self.staged(self.output()).write_text(f"{self.content()} {len(self.manifests_of(self.requires()))}")


class Split(ChainToy):
    """Two outputs that have nothing to do with each other; each has a setting of its name."""

    independent_outputs: ClassVar[bool] = True

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:
        values = super().configuration()
        return {name: values.get(name) for name in ("a", "b") if outputs is None or name in outputs}

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        return {name: self.target(f"{name}.txt") for name in ("a", "b")}

    def run(self) -> None:
        self.start()
        for name, target in self.output().items():
            self.staged(target).write_text(f"{self.configuration()[name]} {self.content()}")


class Use(ChainToy):
    """Reads some of the outputs of ``Split``."""

    names = luigi.Parameter(default="all")

    def requires(self) -> Any:
        return {"split": Split.req(self)}

    def needs(self, required: AnalysisTask, outputs: frozenset[str] | None = None) -> Collection[str] | None:  # noqa: ARG002
        return None if self.names == "all" else {name for name in self.names.split("+") if name != "none"}

    def store_parts(self) -> tuple[str, ...]:
        return (*super().store_parts(), self.names)

    def output(self) -> law.FileSystemFileTarget:
        return self.target("used.txt")

    def run(self) -> None:
        self.start()
        self.staged(self.output()).write_text(self.content())


class Both(ChainToy):
    """Requires one task twice, with different parameters."""

    def requires(self) -> Any:
        return [Split.req(self, number=number) for number in (1, 2)]

    def output(self) -> law.FileSystemFileTarget:
        return self.target("both.txt")

    def run(self) -> None:
        self.start()
        self.staged(self.output()).write_text(self.content())


@dataclass(frozen=True)
class Knob(Settings):
    """A setting."""

    name: str
    value: int = 1
    other: int = 1


KNOB = Knob("volume")


class Turn(ChainToy):
    """Reads the setting it declares, and with ``--number 2`` one more."""

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        return settings(KNOB, "value")

    def output(self) -> law.FileSystemFileTarget:
        return self.target("turned.txt")

    def run(self) -> None:
        self.start()
        total = KNOB.value + (KNOB.other if self.number == 2 else 0)
        self.staged(self.output()).write_text(str(total))


class Circle(ChainToy):
    """Requires itself, by way of other places."""

    place = luigi.Parameter(default="a")

    def requires(self) -> Any:
        return {"circle": Circle.req(self, place={"a": "b", "b": "c", "c": "a"}[self.place])}

    def store_parts(self) -> tuple[str, ...]:
        return (*super().store_parts(), self.place)

    def output(self) -> law.FileSystemFileTarget:
        return self.target("circle.txt")

    def run(self) -> None:
        self.staged(self.output()).write_text("never")


def make(root: AnalysisTask) -> list[str]:
    """Run what is not complete of a chain, as luigi would: each task once all that it requires is there.

    Returns:
        Titles of what ran.
    """
    before = len(WORLD.ran)
    for one in in_order_of_data([found for found, _ in walk(root, Snapshot())]):
        if not one.complete():
            run_branches(one) if isinstance(one, AnalysisWorkflow) and one.is_whole_workflow() else one.run()
    return WORLD.ran[before:]


def states(*several: AnalysisTask) -> str:
    """States of the branches of several tasks, seen by one new snapshot: c, s or m for each, a space between tasks."""
    snapshot = Snapshot()
    letters = {State.CURRENT: "c", State.STALE: "s", State.MISSING: "m"}
    return " ".join("".join(letters[s] for s in snapshot.states(one).values()) for one in several)


def chain_states() -> str:
    """States of ``Read``, ``Count`` and ``Sum``, such as ``ccc ccc c``."""
    return states(Read(), Count(), Sum())


def write_module(folder: Path, name: str, text: str) -> None:
    """Write a module of the package ``toy_physics``, which toy tasks may name in ``code_modules()``."""
    package = folder / "toy_physics"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / f"{name}.py").write_text(text)
    forget()


def forget() -> None:
    """What a new process would not know: instances of tasks with their branch maps, and code that was read."""
    luigi.task_register.Register.clear_instance_cache()
    getattr(task, "_REQUIRED", {}).clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_physics"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    code.forget()


def manifest_path(branch: AnalysisTask) -> Path:
    """The manifest of a branch, or of a task without branches."""
    found = Snapshot().record(branch)
    assert found is not None
    return Path(branch.folder) / "manifests" / str(found)


def set_cpu(task: AnalysisTask, seconds: float) -> None:
    """Let a manifest say that the branch took that long."""
    path = manifest_path(task)
    manifest = Manifest.read(path)
    path.unlink()
    manifest = replace(manifest, resources={**manifest.resources, "cpu_seconds": seconds})
    (path.parent / str(manifest.file_name())).write_bytes(manifest.to_bytes())


def contents(store: Path) -> dict[str, bytes]:
    """Content of all files of a store by path; directories have an empty one."""
    return {str(p.relative_to(store)): p.read_bytes() if p.is_file() else b"" for p in store.rglob("*")}
