"""The base class of all tasks."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import law
import luigi

from analysis.engine import chain, log, progress, scheduler
from analysis.engine.commit import Commit, committed
from analysis.engine.completeness import Listing, is_complete
from analysis.engine.errors import ParameterError
from analysis.engine.manifest import Manifest


class AnalysisTask(law.Task):  # type: ignore[misc]
    """A task whose outputs are committed: they exist whole, with a manifest, or the task is not complete.

    A subclass declares parameters, ``requires()``, ``output()`` and ``run()``. In ``run()`` it writes each output to
    ``self.staged(target)``; the engine verifies all of them, moves them into place and writes the manifest. A ``run()``
    that does not write what ``output()`` promises fails.

    Args:
        version: first folder of the store path; another version is another, empty, place.
    """

    version = luigi.Parameter(default="v1", description="first folder of the store path; default: v1")

    exclude_index = True
    preload: ClassVar[tuple[str, ...]] = ()
    """Modules that ``run`` imports; loaded once before worker processes are forked."""

    path_parameters: ClassVar[frozenset[str]] = frozenset({"version"})
    """Parameters that :meth:`store_parts` turns into folders; subclasses extend the set."""

    _not_in_path: ClassVar[frozenset[str]] = frozenset({"workflow", "effective_workflow", "branch", "branches"})

    commit: Commit | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "run" in cls.__dict__:
            cls.run = committed(cls.__dict__["run"])

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check the version: it is the name of a folder."""
        version = params["version"]
        if version != _path_part(version) or not version.strip("."):
            msg = f"--version {version!r} cannot be the name of a folder: use letters, digits and . _ - + , only"
            raise ParameterError(msg)
        return dict(super().modify_param_values(params))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        log.remember_root(self)

    @property
    def store(self) -> Path:
        """Root of the store: ``$ANALYSIS_STORE``.

        Raises:
            ParameterError: if the variable is not set.
        """
        store = os.environ.get("ANALYSIS_STORE")
        if not store:
            msg = "ANALYSIS_STORE is not set: source setup.sh first"
            raise ParameterError(msg)
        return Path(store).absolute()

    def store_parts(self) -> tuple[str, ...]:
        """Folders of the store path, from the parameters in :attr:`path_parameters`."""
        return (self.version, self.get_task_family())

    @property
    def folder(self) -> Path:
        """Folder of this task's outputs, the same for all branches.

        It mirrors the choices: :meth:`store_parts`, then every other significant parameter that is not at its default.
        """
        parts = list(self.store_parts())
        for name, parameter in sorted(self.get_params()):
            if not parameter.significant or name in self._not_in_path or name in self.path_parameters:
                continue
            value = parameter.serialize(getattr(self, name))
            # luigi has no public name for the default; task_value() answers what the command line or a file says
            if value != parameter.serialize(parameter._default):
                parts.append(f"{name}_{value}")
        return self.store.joinpath(*(_path_part(part) for part in parts))

    @property
    def branch_number(self) -> int | None:
        """Branch number; ``None`` for a task without branches."""
        return None

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is, one folder for all branches."""
        return self.folder / "manifests" / f"{'task' if self.branch_number is None else self.branch_number}.json"

    def local_target(self, name: str) -> law.LocalFileTarget:
        """Output target of that file name in :attr:`folder`."""
        return law.LocalFileTarget(str(self.folder / name))

    def output_targets(self) -> list[law.LocalFileTarget]:
        """Outputs as a flat list."""
        return list(luigi.task.flatten(self.output()))

    def staged(self, target: law.LocalFileTarget) -> Path:
        """Temporary path to which ``run()`` writes an output.

        Raises:
            OutputError: if ``output()`` does not name the target.
            RuntimeError: outside ``run()``.
        """
        if self.commit is None:
            msg = "staged() can only be called in run()"
            raise RuntimeError(msg)
        return self.commit.stage(Path(target.path))

    def account(self, **numbers: float) -> None:
        """Record numbers in the manifest, e.g. ``events_in``, ``events_out``, ``sum_of_weights``."""
        if self.commit is not None:
            self.commit.accounting.update(numbers)

    def complete(self) -> bool:
        """Whether the manifest and everything it names are there."""
        return self.complete_in(Listing())

    def complete_in(self, listing: Listing) -> bool:
        """Like :meth:`complete`, with a listing that many branches share."""
        return is_complete(self.manifest_path, self.store, [Path(t.path) for t in self.output_targets()], listing)

    def run_chain(self, workers: int = 1) -> Self:
        """Run this task and everything it requires; for scripts and notebooks.

        Args:
            workers: number of processes.

        Returns:
            The task itself, complete.

        Raises:
            AnalysisError: if a task fails.
        """
        chain.run_chain(self, workers)
        return self

    def manifest(self) -> Manifest:
        """The manifest of a complete task."""
        return Manifest.read(self.manifest_path)

    def significant_parameters(self) -> dict[str, str]:
        """Significant parameters as on the command line."""
        return {
            name: parameter.serialize(getattr(self, name))
            for name, parameter in self.get_params()
            if parameter.significant and name not in self._not_in_path
        }

    def title(self) -> str:
        """Task family with the parameters a reader needs to tell it from its siblings."""
        parts = self.store_parts()
        choices = parts[parts.index(self.get_task_family()) :]
        return " ".join([*choices, *([] if self.branch_number is None else [f"branch {self.branch_number}"])])

    def on_commit(self, manifest: Manifest) -> None:
        """Called once the outputs are in place: tell the terminal, and the scheduler's page."""
        progress.report(self.get_task_family(), self.title(), manifest)
        if getattr(self, "set_status_message", None):  # luigi lends it to a task while it runs
            self.set_status_message("\n".join([progress.summary(manifest), *self.result_lines()]))

    def check(self) -> None:
        """Called when the command line asks for this task: raise an error for parameters that cannot work."""

    def result_lines(self) -> Iterator[str]:
        """Lines that end the standard output of a successful ``law run`` of this task."""
        yield from ()


def _path_part(value: object) -> str:
    return "".join(c if c.isalnum() or c in "._-+," else "_" for c in str(value))


@AnalysisTask.event_handler(luigi.Event.DEPENDENCY_DISCOVERED)  # type: ignore[untyped-decorator]
def _preload(task: Any, _dependency: Any) -> None:
    """Load what a task imports once, in the main process: worker processes are forked from it."""
    for module in getattr(task, "preload", ()):
        importlib.import_module(module)


log.install()
scheduler.prefer_named_scheduler(sys.argv)
