"""What no current task owns in the store: found here, and removed.

A folder with a folder ``manifests`` in it is that of a task. Its manifests say of which: the task is made again from
the family and the parameters that they name, and owns the folder if it would write there today. Where that cannot be
found out, e.g. since a file cannot be read or a manifest is damaged, nothing is garbage but what dead processes left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from luigi.parameter import ParameterException
from luigi.task_register import Register, TaskClassNotFoundException

from analysis.engine.backends import joblogs
from analysis.engine.errors import ManifestError
from analysis.engine.history import manifest_name
from analysis.engine.leftovers import is_live_part, is_lock, is_part, live_lock
from analysis.engine.manifest import FOLDER, HISTORY, SCHEMA, Manifest, ManifestName
from analysis.engine.shards import is_shard
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.task import AnalysisTask
from analysis.engine.walk import File, StoreFolder, is_within, walk_store
from analysis.errors import AnalysisError

T = TypeVar("T")


class NoOwnerError(AnalysisError):
    """No current task has this family and these parameters."""


class UnclearError(AnalysisError):
    """Whether a task owns something cannot be found out."""


class Garbage(NamedTuple):
    """A file that no current task owns.

    Args:
        file: the file.
        folder: of the task, relative to the store.
        why: the reason, in a few words.
        is_stale: whether a task owns it, and it is stale.
        branch: then the number of the branch; ``None`` for a task without branches.
    """

    file: File
    folder: str
    why: str
    is_stale: bool = False
    branch: int | None = None


@dataclass(frozen=True)
class Findings:
    """What was found in a store.

    Args:
        garbage: what can be removed.
        foreign: files outside the folders of tasks, and links; relative to the store.
        kept: folders that are left alone, relative to the store, and why.
    """

    garbage: tuple[Garbage, ...]
    foreign: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


@dataclass
class _Owned:
    """What tasks own of a folder."""

    branches: set[int | None] = field(default_factory=set)
    stale_branches: set[int | None] = field(default_factory=set)
    stale_outputs: dict[str, int | None] = field(default_factory=dict)


def find_garbage(store: Path, stale: bool = False, history: bool = False, version: str | None = None) -> Findings:
    """Look through the store, and change nothing.

    Args:
        store: the store, resolved; it has to be ``$ANALYSIS_STORE``.
        stale: whether outputs and manifests of stale branches are garbage as well.
        history: whether manifests that were replaced are garbage as well.
        version: look into the folder of this version only.

    Raises:
        OSError: if a directory cannot be read: an outage is never taken for absence.
    """
    tree = walk_store(store, version)
    judge = _Judge(stale, history)
    verdicts = [judge.folder(folder) for folder in tree.folders]
    garbage = [
        item for found, _ in verdicts for item in found if item.file.relative not in judge.outputs or item.is_stale
    ]
    kept = [(folder.relative, why) for folder, (_, why) in zip(tree.folders, verdicts, strict=True) if why]
    return Findings(tuple(garbage), tree.foreign, tuple(kept))


class _Judge:
    """Decides folder by folder; ``outputs`` are those of all owners so far, wherever in the store they are."""

    def __init__(self, stale: bool, history: bool) -> None:
        self.outputs: set[str] = set()
        self._stale, self._history = stale, history

    def folder(self, folder: StoreFolder) -> tuple[list[Garbage], str | None]:
        """Garbage of a folder; and why the rest is left alone, if it is."""
        holders = [holder for file in folder.files if is_lock(file.path) and (holder := live_lock(file.path))]
        if holders:
            return [], f"{holders[0]} is at work there"
        leftovers = [
            self._garbage(folder, f, "left over by a process that is gone") for f in folder.files if _is_dead(f)
        ]
        rest = [file for file in folder.files if not is_lock(file.path) and not is_part(file.path)]
        try:
            owners = _owners(folder)
            owned = _try(lambda: self._owned(owners))
        except NoOwnerError as error:
            return leftovers + [self._garbage(folder, file, str(error)) for file in rest], None
        except UnclearError as error:
            return leftovers, str(error)
        return leftovers + list(self._unowned(folder, rest, owned)), None

    def _owned(self, owners: Sequence[AnalysisTask]) -> _Owned:
        found, fresh_branches, fresh_outputs = _Owned(), set[int | None](), set[str]()
        # a snapshot of its own for each: it takes what is in one folder for one task
        seen = ((branch, snapshot) for owner in owners for snapshot in [Snapshot()] for branch in owner.branch_tasks())
        for branch, snapshot in seen:
            number, outputs = branch.branch_number, _outputs(branch)
            self.outputs |= outputs
            found.branches.add(number)
            if self._stale and snapshot.state(branch) is State.STALE:
                found.stale_branches.add(number)
                found.stale_outputs.update(dict.fromkeys(outputs, number))
            else:
                fresh_branches.add(number)
                fresh_outputs |= outputs
        # where tasks share a folder, what is stale for one of them may be current for the other
        found.stale_branches -= fresh_branches
        for path in fresh_outputs & found.stale_outputs.keys():
            del found.stale_outputs[path]
        return found

    def _unowned(self, folder: StoreFolder, files: Sequence[File], owned: _Owned) -> Iterator[Garbage]:
        for file in files:
            if is_within(file, folder, HISTORY):
                if self._history:
                    yield self._garbage(folder, file, "replaced manifest")
            elif is_within(file, folder, FOLDER):
                name = ManifestName.parse(file.path.name)
                if name is None:
                    yield self._garbage(folder, file, "no manifest")
                elif name.branch not in owned.branches:
                    yield self._garbage(folder, file, "branch does not exist any more")
                elif name.branch in owned.stale_branches:
                    yield Garbage(file, folder.relative, "stale", True, name.branch)
            elif is_within(file, folder, joblogs.FOLDER):
                attempt = joblogs.Attempt.parse(file.path.name)
                if attempt is None:
                    yield self._garbage(folder, file, "no log of a job")
                elif attempt.branch not in owned.branches:
                    yield self._garbage(folder, file, "branch does not exist any more")
            elif file.relative in owned.stale_outputs:
                yield Garbage(file, folder.relative, "stale", True, owned.stale_outputs[file.relative])
            else:
                yield self._garbage(folder, file, "no output of any branch")

    @staticmethod
    def _garbage(folder: StoreFolder, file: File, why: str) -> Garbage:
        return Garbage(file, folder.relative, why)


def _is_dead(file: File) -> bool:
    """Whether a file is left over; of a lock, the folder's locks are known to be dead."""
    return is_lock(file.path) or (is_part(file.path) and not is_live_part(file.path.name, file.stamp[-1] / 1e9))


def _outputs(branch: AnalysisTask) -> set[str]:
    return {Path(os.path.relpath(path, branch.store.root)).as_posix() for path in branch.output_paths()}


def _owners(folder: StoreFolder) -> list[AnalysisTask]:
    """Tasks that write to a folder today: several if the same path stands for several parameters.

    Raises:
        NoOwnerError: if there are none.
        UnclearError: if that cannot be found out.
    """
    makers, unreadable = _makers(folder)
    owners, gone = [], []
    for family, parameters in makers:
        try:
            task = make_again(family, dict(parameters))
        except NoOwnerError as error:
            gone.append(str(error))
            continue
        if task.relative_folder == folder.relative:
            owners.append(task)
        else:
            gone.append(f"{family} with these parameters has another folder now")
    if owners:
        return owners
    if unreadable:
        raise UnclearError(unreadable[0])
    if not gone:
        msg = "no manifest tells which task it belongs to"
        raise UnclearError(msg)
    raise NoOwnerError(gone[0])


def _makers(folder: StoreFolder) -> tuple[list[tuple[str, tuple[tuple[str, str], ...]]], list[str]]:
    """Families and parameters that wrote to a folder, in the order of their names, and what could not be read."""
    found, unreadable = set(), []
    for file in folder.files:
        parent = file.path.parent.parent if is_shard(file.path.parent.name) else file.path.parent
        name = manifest_name(parent.name, file.path.name)
        if name is None:
            continue
        if name.schema > SCHEMA:
            msg = f"{file.path.name} was written by a newer version of this project"
            raise UnclearError(msg)
        try:
            manifest = Manifest.read(file.path)
            found.add((str(manifest.task), tuple(sorted((str(k), str(v)) for k, v in manifest.parameters.items()))))
        except (ManifestError, AttributeError, RecursionError, OSError) as error:
            unreadable.append(str(error))
    return sorted(found), unreadable


def make_again(family: str, parameters: Mapping[str, str]) -> AnalysisTask:
    """Make a task, a whole workflow if it is one, from what its manifest says.

    Args:
        family: task family.
        parameters: values as on the command line.

    Raises:
        NoOwnerError: if there is no such task today.
        UnclearError: if that cannot be found out, e.g. since a campaign file cannot be read.
    """
    try:
        cls = Register.get_task_cls(family)
    except TaskClassNotFoundException as error:
        msg = f"there is no task {family}"
        raise NoOwnerError(msg) from error
    except Exception as error:
        msg = f"there are several tasks {family}"
        raise UnclearError(msg) from error
    known = dict(cls.get_params())
    if not issubclass(cls, AnalysisTask) or (missing := parameters.keys() - known.keys()):
        what = f" with a parameter {min(missing)}" if issubclass(cls, AnalysisTask) else " whose outputs are committed"
        msg = f"there is no task {family}{what}"
        raise NoOwnerError(msg)

    def make() -> AnalysisTask:
        task: AnalysisTask = cls(**{name: known[name].parse(value) for name, value in parameters.items()})
        return task

    try:
        return _try(make, (AnalysisError, ParameterException, ValueError))
    except (AnalysisError, ParameterException, ValueError) as error:
        if isinstance(error, UnclearError) or _is_outage(error):
            raise UnclearError(str(error)) from error
        raise NoOwnerError(str(error)) from error


def _try(action: Callable[[], T], expected: tuple[type[Exception], ...] = ()) -> T:
    """Whatever goes wrong in a task, a bug in it included, is no reason to remove something."""
    try:
        return action()
    except expected:
        raise
    except Exception as error:
        msg = str(error) if isinstance(error, AnalysisError) else f"{type(error).__name__}: {error}"
        raise UnclearError(msg) from error


def _is_outage(error: BaseException | None) -> bool:
    """Whether an error is due to a file that could not be read: it may only be out of reach from here."""
    while error is not None:
        if isinstance(error, OSError):
            return True
        error = error.__cause__
    return False
