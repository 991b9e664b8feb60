"""The base class of all tasks."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import luigi

from analysis.engine import chain, log, progress, scheduler, session
from analysis.engine.backends.options import BatchTask
from analysis.engine.commit import committed
from analysis.engine.errors import ParameterError
from analysis.engine.manifest import Manifest
from analysis.engine.placed import PlacedTask
from analysis.engine.questions import QuestionsTask
from analysis.engine.sandboxes.options import SandboxedTask
from analysis.engine.shards import shard_of
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.storage.masking import masked
from analysis.engine.watch import watched
from analysis.settings import unrecorded_reads, untracked

if TYPE_CHECKING:
    from analysis.engine.pipeline import Pipeline

_COMMON: dict[Any, tuple[str, ...]] = {}
_REQUIRED: dict[Any, Any] = {}
_PLUMBING = ("requires", "workflow_requires", "output", "create_branch_map", "store_parts", "branch_value")
"""What these methods read of the configuration shows in branches, paths and requirements."""


class AnalysisTask(PlacedTask, QuestionsTask, BatchTask, SandboxedTask):
    """A task whose outputs are committed: they exist whole, with a manifest, or the task is not complete.

    A subclass declares parameters, ``requires()``, ``output()`` and ``run()``, and in ``configuration()`` the settings
    that ``run()`` reads. In ``run()`` it reads what it requires at ``self.localized(target)``, and writes each output
    to ``self.staged(target)``; the engine verifies all of them, brings them to their store and writes the manifest. A
    ``run()`` that does not write what ``output()`` promises fails. The task is complete as long as its recipe is that
    of the manifest.

    Args:
        version: first folder of the store path; another version is another, empty, place.
    """

    version = luigi.Parameter(default="v1", description="first folder of the store path; default: v1")

    exclude_index = True
    preload: ClassVar[tuple[str, ...]] = ()
    """Modules that ``run`` imports; loaded once before worker processes are forked."""

    path_parameters: ClassVar[frozenset[str]] = frozenset({"version"})
    """Parameters that :meth:`store_parts` turns into folders; subclasses extend the set."""

    revision: ClassVar[int] = 0
    """Part of the recipe: raised when a change that the recipe does not see makes the outputs stale."""

    pinned_list: ClassVar[str] = "analysis"
    """The packages ``run`` works with: name of a file of the directory ``sandboxes``, without ``.txt``."""

    independent_outputs: ClassVar[bool] = False
    """Whether ``output()`` is a mapping, and :meth:`configuration` knows what each of its values is made of."""

    _not_in_path: ClassVar[frozenset[str]] = frozenset({"workflow", "effective_workflow", "branch", "branches"})

    waits_for_others: bool = True
    """Whether to wait if another process is at work on the same branch."""

    runs_here: bool = False
    """Whether a workflow runs this branch, and has entered its sandbox before."""

    snapshot: Snapshot | None = None
    """What a whole workflow knows of the store when it runs its branches."""
    pipeline: Pipeline | None = None
    """What may commit this branch later, and has its lock, if a workflow on servers runs it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "run" in cls.__dict__:
            cls.run = committed(cls.__dict__["run"])
        for name in _PLUMBING:
            if name in cls.__dict__:
                setattr(cls, name, untracked(cls.__dict__[name]))
        if "output" in cls.__dict__:
            cls.output = watched(cls.__dict__["output"])

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check the version: it is the name of a folder."""
        version = params["version"]
        if version != _path_part(version) or not version.strip("."):
            msg = f"--version {version!r} cannot be the name of a folder: use letters, digits and . _ - + , only"
            raise ParameterError(msg)
        return dict(super().modify_param_values(params))

    @classmethod
    def get_params(cls) -> list[tuple[str, luigi.Parameter]]:
        """Parameters of the class; luigi looks them up anew for each instance, which takes longer than all the rest."""
        return list(_parameters(cast("Any", cls)))

    @classmethod
    def get_param_values(cls, params: Any, args: Any, kwargs: Any) -> list[tuple[str, Any]]:
        """Values of the parameters, checked; what the checks read of the configuration is in the values."""
        with unrecorded_reads():
            return list(super().get_param_values(params, args, kwargs))

    @classmethod
    def req_params(cls, inst: Any, **kwargs: Any) -> dict[str, Any]:
        """Parameters that a required task takes over; law matches their names by patterns, which takes long."""
        options = tuple(sorted((name, _hashable(value)) for name, value in kwargs.items() if name.startswith("_")))
        given = {name: value for name, value in kwargs.items() if not name.startswith("_")}
        key = (cls, type(inst), options, frozenset(given))
        if key not in _COMMON:
            _COMMON[key] = tuple(name for name in super().req_params(inst, **kwargs) if name not in given)
        return {**{name: getattr(inst, name) for name in _COMMON[key]}, **given}

    @classmethod
    def req(cls, inst: Any, **kwargs: Any) -> Any:
        """A required task; luigi has one object for equal parameters as well, but checks all of them before."""
        params = cls.req_params(inst, **kwargs)
        key = (cls, frozenset(params.items()))
        if key not in _REQUIRED:
            _REQUIRED[key] = cls(**params)
        return _REQUIRED[key]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        session.remember_root(self)

    # the place

    def store_parts(self) -> tuple[str, ...]:
        """Folders of the store path, from the parameters in :attr:`path_parameters`."""
        return (self.version, self.get_task_family())

    @functools.cached_property
    def relative_folder(self) -> str:
        """Folder of this task's outputs in the store, the same for all branches.

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
        return "/".join(_path_part(part) for part in parts)

    @property
    def key(self) -> str:
        """What tells this task, or branch, from all others."""
        return self.relative_folder

    # branches

    def whole(self) -> AnalysisTask:
        """The workflow that a branch belongs to; the task itself otherwise."""
        return self

    def is_whole_workflow(self) -> bool:
        """Whether this is a workflow with all its branches."""
        return False

    def branch_numbers(self) -> list[int]:
        """Numbers of the branches of a workflow; none for other tasks."""
        return []

    def shards(self) -> list[str]:
        """Subfolders that its branches are in, see :func:`~analysis.engine.shards.shard_of`."""
        numbers = self.branch_numbers() if self.is_whole_workflow() else [self.branch_number]
        return list(dict.fromkeys(map(shard_of, numbers)))

    def branch_tasks(self) -> Iterator[AnalysisTask]:
        """The branches of a workflow, or the task itself."""
        yield self

    def branch_task(self, branch: int) -> AnalysisTask:
        """One branch of a workflow."""
        msg = f"{self.get_task_family()} has no branches, so no branch {branch}"
        raise ParameterError(msg)

    # the recipe

    def recipe_parameters(self) -> dict[str, str]:
        """Parameters that matter: the significant ones but the version, which is a place only."""
        return {name: value for name, value in self.significant_parameters().items() if name != "version"}

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        """Settings that ``run()`` reads, by name; see :func:`analysis.settings.settings`.

        A ``run()`` that reads another one fails, so that none is forgotten.

        Args:
            outputs: names of the outputs that are meant, if :attr:`independent_outputs`; ``None`` for all.
        """
        return {}

    def code_modules(self) -> Iterable[str]:
        """Modules that ``run()`` works with and that its imports do not show."""
        return ()

    def branch_value(self, branch: int) -> Any:  # noqa: ARG002
        """What a branch stands for, as part of its recipe."""
        return None

    def external_inputs(self, branch: int | None) -> Mapping[str, str | None]:  # noqa: ARG002
        """Identities of files from outside the store that a branch reads, by name; ``None`` for one out of reach."""
        return {}

    def needs(self, required: AnalysisTask, outputs: frozenset[str] | None = None) -> Collection[str] | None:  # noqa: ARG002
        """Names of the outputs of a requirement that this task reads.

        Args:
            required: a task of ``requires()``.
            outputs: names of this task's outputs that are meant, if :attr:`independent_outputs`; ``None`` for all.

        Returns:
            Names of keys of the requirement's ``output()``; ``None`` for all, nothing for none. If its outputs are
            independent (:attr:`independent_outputs`), a change of others does not make this task stale; in any case
            this task need not run again if these turn out the same.
        """
        return None

    # running

    def account(self, **numbers: float) -> None:
        """Record numbers in the manifest, e.g. ``events_in``, ``events_out``, ``sum_of_weights``."""
        if self.commit is not None:
            self.commit.accounting.update(numbers)

    def account_spans(self, spans: Iterable[tuple[str, int, int]]) -> None:
        """Record in the manifest which events of which input files the outputs stand for."""
        if self.commit is not None:
            self.commit.spans = tuple(spans)

    def manifests_of(self, required: Any) -> list[Manifest]:
        """Manifests of all branches of required tasks, in order; for ``run()``.

        Args:
            required: a task, or any nesting of tasks in lists and mappings, as ``requires()`` has it.
        """
        tasks = [branch for task in luigi.task.flatten(required) for branch in task.branch_tasks()]
        snapshot = self.commit.snapshot if self.commit else Snapshot()
        return [snapshot.required_manifest(task) for task in tasks]

    def complete(self) -> bool:
        """Whether outputs are there, whole and current."""
        return session.snapshot().is_complete(self)

    def state(self) -> State:
        """State of a branch, or of a task without branches."""
        return Snapshot().state(self)

    def manifest(self) -> Manifest:
        """The manifest of a branch, or of a task without branches.

        Raises:
            ManifestError: if there is none, or it cannot be read.
        """
        return Snapshot().required_manifest(self)

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

    def significant_parameters(self) -> dict[str, str]:
        """Significant parameters as on the command line."""
        return {
            name: parameter.serialize(getattr(self, name))
            for name, parameter in self.get_params()
            if parameter.significant and name not in self._not_in_path
        }

    # what people see

    def title(self) -> str:
        """Task family with the parameters a reader needs to tell it from its siblings."""
        parts = self.store_parts()
        return " ".join(parts[parts.index(self.get_task_family()) :])

    def on_commit(self, manifest: Manifest) -> None:
        """Called once the outputs are in place: tell the terminal, and the scheduler's page."""
        progress.report(self.get_task_family(), self.title(), manifest)
        if getattr(self, "set_status_message", None):  # luigi lends it to a task while it runs
            self.set_status_message("\n".join([progress.summary(manifest), *self.result_lines()]))

    def on_failure(self, exception: BaseException) -> str:
        """What the scheduler's page shows of an error."""
        return masked(str(super().on_failure(exception)))

    def check(self) -> None:
        """Called when the command line asks for this task: raise an error for parameters that cannot work."""

    def result_lines(self) -> Iterator[str]:
        """Lines that end the standard output of a successful ``law run`` of this task."""
        yield from ()

    def tells_result(self) -> bool:
        """Whether there are such lines: if not, nobody needs to ask whether the task is complete."""
        return type(self).result_lines is not AnalysisTask.result_lines


@functools.cache
def _parameters(cls: Any) -> tuple[tuple[str, luigi.Parameter], ...]:
    return tuple(super(AnalysisTask, cls).get_params())


def _hashable(value: Any) -> Any:
    return frozenset(value) if isinstance(value, (set, list)) else value


def _path_part(value: object) -> str:
    return "".join(c if c.isalnum() or c in "._-+," else "_" for c in str(value))


@AnalysisTask.event_handler(luigi.Event.DEPENDENCY_DISCOVERED)  # type: ignore[untyped-decorator]
def _preload(task: Any, _dependency: Any) -> None:
    """Load what a task imports once, in the main process: worker processes are forked from it."""
    for module in getattr(task, "preload", ()):
        importlib.import_module(module)


log.install()
scheduler.prefer_named_scheduler(sys.argv)
