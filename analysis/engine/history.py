"""Who made the outputs of a task, when, from what: its manifests, those in force and those that were replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.engine.errors import ManifestError
from analysis.engine.manifest import FOLDER, HISTORY, Manifest, ManifestName
from analysis.engine.shards import is_shard
from analysis.engine.snapshot import Snapshot
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from pathlib import PurePath

    from analysis.engine.storage.base import Store
    from analysis.engine.task import AnalysisTask

REPLACED = "replaced"
NO_BRANCH = "no such branch"
UNKNOWN = "unknown"


class Entry(NamedTuple):
    """One manifest.

    Args:
        path: relative to the store.
        name: what its name tells.
        state: ``current``, ``stale`` or ``missing``; :data:`REPLACED`; :data:`NO_BRANCH` if the task has no such branch
            any more; :data:`UNKNOWN` if today's recipe cannot be told.
        manifest: its content; ``None`` if it cannot be read.
        problem: why it cannot be read, or why the state is not known.
    """

    path: str
    name: ManifestName
    state: str
    manifest: Manifest | None
    problem: str | None = None

    @property
    def finished(self) -> str:
        """When the outputs were written; empty if that is not known."""
        return str(self.manifest.provenance.get("finished", "")) if self.manifest else ""

    @property
    def written(self) -> str:
        """When the manifest was written; later than the outputs if they were adopted."""
        return self.manifest.adopted[-1].when if self.manifest and self.manifest.adopted else self.finished

    @property
    def withdrawn(self) -> str:
        """When it was replaced, to the microsecond; empty if it was not."""
        parts = self.path.rsplit("/", 3)
        folder, name = parts[-3] if is_shard(parts[-2]) else parts[-2], parts[-1]
        return name.split(".")[1] if folder == HISTORY else ""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        found = {
            "path": self.path,
            "branch": self.name.branch,
            "recipe": str(self.name.recipe),
            "state": self.state,
            "problem": self.problem,
        }
        if self.manifest is None:
            return found
        return {
            **found,
            "finished": self.finished,
            "accounting": dict(self.manifest.accounting),
            "resources": dict(self.manifest.resources),
            "provenance": dict(self.manifest.provenance),
            "adopted": [adoption._asdict() for adoption in self.manifest.adopted],
        }


def read_history(task: AnalysisTask) -> list[Entry]:
    """Manifests of a task, of a branch, or of all branches of a workflow, newest first; those without a time last.

    Args:
        task: the task.

    Raises:
        OSError: if the store cannot be read.
    """
    entries = sorted(_entries(task), key=lambda entry: (entry.name.branch or 0, entry.path))
    return sorted(entries, key=lambda entry: (entry.written, entry.state != REPLACED, entry.withdrawn), reverse=True)


def _entries(task: AnalysisTask) -> Iterator[Entry]:
    snapshot = Snapshot()
    for folder in (FOLDER, HISTORY):
        for path in _all_files(task.store, task.folder / folder):
            name = manifest_name(folder, path.name)
            if name is None or (not task.is_whole_workflow() and name.branch != task.branch_number):
                continue
            state, doubt = (REPLACED, None) if folder == HISTORY else _state(task, name, snapshot)
            try:
                manifest, problem = Manifest.from_bytes(task.store.read(path), path), doubt
            except (ManifestError, OSError, RecursionError) as error:
                manifest, problem = None, str(error)
            yield Entry(path.relative_to(task.store.root).as_posix(), name, state, manifest, problem)


def _all_files(store: Store, folder: PurePath) -> Iterator[PurePath]:
    for name in store.names(folder):
        if is_shard(name):
            yield from (folder / name / within for within in store.names(folder / name))
        else:
            yield folder / name


def _state(task: AnalysisTask, name: ManifestName, snapshot: Snapshot) -> tuple[str, str | None]:
    try:
        if task.is_whole_workflow() and name.branch not in task.branch_numbers():
            return NO_BRANCH, None
        branch = task.branch_task(name.branch) if name.branch is not None and task.is_whole_workflow() else task
        used = snapshot.record(branch)
        # of several manifests of a branch one counts, and the others are about to be replaced
        return (str(snapshot.state(branch)) if used in (None, name) else REPLACED), None
    except (AnalysisError, OSError) as error:
        return UNKNOWN, str(error)


def manifest_name(folder: str, text: str) -> ManifestName | None:
    """What the name of a manifest tells; ``None`` for anything else.

    Args:
        folder: name of its folder; in the history, the time at which it was replaced follows the branch.
        text: the name.
    """
    if folder == HISTORY:
        branch, _, rest = text.partition(".")
        return ManifestName.parse(f"{branch}.{rest.partition('.')[2]}")
    return ManifestName.parse(text) if folder == FOLDER else None
