"""What no current task owns in the store: found here, and removed.

A folder with a folder ``manifests`` in it is that of a task. Its manifests say of which: the task is made again from
the family and the parameters that they name, and owns the folder if it would write there today. Where that cannot be
found out, e.g. since a file cannot be read or a manifest is damaged, nothing is garbage but what dead processes left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from luigi.parameter import ParameterException
from luigi.task_register import Register, TaskClassNotFoundException

from analysis.engine.backends import joblogs
from analysis.engine.backends.bundle import UNUSED, is_bundle
from analysis.engine.backends.jobenv import BUNDLES
from analysis.engine.concurrent import LIMIT, concurrently
from analysis.engine.errors import ManifestError
from analysis.engine.history import manifest_name
from analysis.engine.leftovers import is_live_part, is_lock, is_part, live_lock, lock_path
from analysis.engine.manifest import FOLDER, HISTORY, SCHEMA, Manifest, ManifestName
from analysis.engine.shards import is_shard
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.storage.base import OutageError
from analysis.engine.storage.places import configured, same_place, within
from analysis.engine.task import AnalysisTask
from analysis.engine.walk import File, StoreFolder, Tree, is_within, list_files, walk_store
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.storage.base import Store

T = TypeVar("T")
_GONE = "left over by a process that is gone"


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
        lock: lock of its branch, if it is known; it is held while the file is removed.
    """

    file: File
    folder: str
    why: str
    is_stale: bool = False
    lock: PurePath | None = None


@dataclass(frozen=True)
class Findings:
    """What was found in a store.

    Args:
        garbage: what can be removed.
        foreign: files outside the folders of tasks, and links; relative to the store.
        kept: folders that are left alone, relative to the store, and why.
        mirror: leftovers in the mirror of the store, if it has one; paths are on this machine.
    """

    garbage: tuple[Garbage, ...]
    foreign: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]
    mirror: tuple[Garbage, ...] = ()


@dataclass
class _Owned:
    """What tasks own of a folder."""

    branches: set[int | None] = field(default_factory=set)
    stale_branches: set[int | None] = field(default_factory=set)
    stale_outputs: dict[str, int | None] = field(default_factory=dict)


def find_garbage(
    store: Store,
    stale: bool = False,
    history: bool = False,
    version: str | None = None,
    moved: bool = False,
    bundles: Collection[str] | None = None,
) -> Findings:
    """Look through a store, and change nothing.

    Args:
        store: the store, one of the configuration.
        stale: whether outputs and manifests of stale branches are garbage as well.
        history: whether manifests that were replaced are garbage as well.
        version: look into the folder of this version only.
        moved: whether folders are garbage as well whose task writes to another store now. They are not by default: a
            change of ``law.cfg``, which may be one of another day, or of another shell, is no reason to lose results.
        bundles: names of the bundles that jobs may still use; ``None`` if that is not known: then all of them stay.

    Raises:
        OSError: if a folder cannot be read: an outage is never taken for absence.
    """
    others = within(store, configured())
    tree = walk_store(store, version, others)
    judge = _Judge(store, stale, history, moved)
    verdicts = [judge.folder(folder) for folder in tree.folders]
    garbage = [
        item for found, _ in verdicts for item in found if item.file.relative not in judge.outputs or item.is_stale
    ]
    kept = [(folder.relative, why) for folder, (_, why) in zip(tree.folders, verdicts, strict=True) if why]
    kept += [(path.relative_to(store.root).as_posix(), "it is another store") for path in sorted(others)]
    if version is None and bundles is not None:
        garbage += _old_bundles(store, bundles)
    foreign = tuple(path for path in tree.foreign if not path.startswith(f"{BUNDLES}/"))
    return Findings(tuple(garbage), foreign, tuple(kept), tuple(_mirror_leftovers(store, tree)))


def _old_bundles(store: Store, used: Collection[str]) -> Iterator[Garbage]:
    """Code and packages that no job uses any more."""
    why = f"no job has needed it for {UNUSED / 86400:.0f} days"
    for file in list_files(store, store.root / BUNDLES):
        age = time.time() - file.mtime if file.mtime > 0 else 0.0
        if is_bundle(file.path.name) and file.path.name not in used and age > UNUSED:
            yield Garbage(file, BUNDLES, why)


def _mirror_leftovers(store: Store, tree: Tree) -> Iterator[Garbage]:
    """Unfinished files of dead processes in the mirror, in folders that the store has: the rest may be anybody's."""
    mirror: Store | None = getattr(store, "mirror", None)
    if mirror is None:
        return
    places = [(f, path) for f in tree.folders for path in sorted({f.path, *(file.path.parent for file in f.files)})]
    for folder, path in places:
        for file in list_files(mirror, mirror.root / path.relative_to(store.root)):
            if is_part(file.path) and not is_live_part(file.path.name, file.mtime):
                yield Garbage(file, folder.relative, _GONE)


class _Judge:
    """Decides folder by folder; ``outputs`` are those of all owners so far, wherever in the store they are."""

    def __init__(self, store: Store, stale: bool, history: bool, moved: bool) -> None:
        self.outputs: set[str] = set()
        self._store, self._stale, self._history, self._moved = store, stale, history, moved

    def folder(self, folder: StoreFolder) -> tuple[list[Garbage], str | None]:
        """Garbage of a folder; and why the rest is left alone, if it is."""
        if holder := live_holder(self._store, folder.files):
            return [], f"{holder} is at work there"
        leftovers = [self._garbage(folder, f, _GONE) for f in folder.files if _is_dead(f)]
        rest = [file for file in folder.files if not is_lock(file.path) and not is_part(file.path)]
        try:
            owners = _owners(folder, self._store, self._moved)
            owned = _try(lambda: self._owned(owners), (OutageError,))
        except NoOwnerError as error:
            return leftovers + [self._unclaimed(folder, file, str(error)) for file in rest], None
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
                    yield self._unclaimed(folder, file, "branch does not exist any more")
                elif name.branch in owned.stale_branches:
                    yield Garbage(file, folder.relative, "stale", True, lock_path(folder.path, name.branch))
            elif is_within(file, folder, joblogs.FOLDER):
                attempt = joblogs.Attempt.parse(file.path.name)
                if attempt is None:
                    yield self._garbage(folder, file, "no log of a job")
                elif attempt.branch not in owned.branches:
                    yield self._garbage(folder, file, "branch does not exist any more")
            elif file.relative in owned.stale_outputs:
                lock = lock_path(folder.path, owned.stale_outputs[file.relative])
                yield Garbage(file, folder.relative, "stale", True, lock)
            else:
                yield self._garbage(folder, file, "no output of any branch")

    @staticmethod
    def _garbage(folder: StoreFolder, file: File, why: str) -> Garbage:
        return Garbage(file, folder.relative, why)

    @staticmethod
    def _unclaimed(folder: StoreFolder, file: File, why: str) -> Garbage:
        """The same for what may be a manifest in force: another version of the code may be about to replace it."""
        name = ManifestName.parse(file.path.name) if is_within(file, folder, FOLDER) else None
        return Garbage(file, folder.relative, why, lock=lock_path(folder.path, name.branch) if name else None)


def live_holder(store: Store, files: Sequence[File]) -> str | None:
    """Who is at work in a folder; ``None`` if nobody is.

    Args:
        store: where.
        files: what is in it, locks included.

    Raises:
        OSError: if a lock cannot be read.
    """
    locks = (file for file in files if is_lock(file.path))
    holders = (live_lock(store, lock.path, is_folder=not lock.stamp, changed=lock.mtime) for lock in locks)
    return next((holder for holder in holders if holder), None)


def _is_dead(file: File) -> bool:
    """Whether a file is left over; of a lock, the folder's locks are known to be dead."""
    return is_lock(file.path) or (is_part(file.path) and not is_live_part(file.path.name, file.mtime))


def _outputs(branch: AnalysisTask) -> set[str]:
    return {Path(os.path.relpath(path, branch.store.root)).as_posix() for path in branch.output_paths()}


def _owners(folder: StoreFolder, store: Store, moved: bool) -> list[AnalysisTask]:
    """Tasks that write to a folder of a store today: several if the same path stands for several parameters.

    Args:
        folder: the folder.
        store: where it is.
        moved: whether a task that writes to another store now does not own it.

    Raises:
        NoOwnerError: if there are none.
        UnclearError: if that cannot be found out.
    """
    makers, unreadable = _makers(folder, store)
    owners, gone, elsewhere = [], [], []
    for family, parameters in makers:
        try:
            task = make_again(family, dict(parameters))
        except NoOwnerError as error:
            gone.append(str(error))
            continue
        if task.relative_folder != folder.relative:
            gone.append(f"{family} with these parameters has another folder now")
        elif _is_here(task, store):
            owners.append(task)
        else:
            elsewhere.append(_why_elsewhere(task, store, moved))
    if owners:
        return owners
    if elsewhere and not moved:
        raise UnclearError(elsewhere[0])
    gone += elsewhere
    if unreadable:
        raise UnclearError(unreadable[0])
    if not gone:
        msg = "no manifest tells which task it belongs to"
        raise UnclearError(msg)
    raise NoOwnerError(gone[0])


def _is_here(task: AnalysisTask, store: Store) -> bool:
    """Whether a task writes to a store."""
    return _try(lambda: task.store is store or task.store.root == store.root or same_place(task.store, store))


def _why_elsewhere(task: AnalysisTask, store: Store, moved: bool) -> str:
    """The reason for which what a task wrote to a store is garbage, or none.

    Raises:
        UnclearError: if the store is the mirror of the one that it writes to: then they are no results of earlier days.
    """
    now = task.store
    mirror = getattr(now, "mirror", None)
    if mirror is not None and same_place(mirror, store):
        msg = f"it is the mirror of {now.name}, and is looked after with that"
        raise UnclearError(msg)
    why = f"{task.get_task_family()} writes to {now.name} now"
    return why if moved else f"{why}; with --moved it is garbage here"


def _makers(folder: StoreFolder, store: Store) -> tuple[list[tuple[str, tuple[tuple[str, str], ...]]], list[str]]:
    """Families and parameters that wrote to a folder, in the order of their names, and what could not be read."""
    paths = []
    for file in folder.files:
        parent = file.path.parent.parent if is_shard(file.path.parent.name) else file.path.parent
        name = manifest_name(parent.name, file.path.name)
        if name is None:
            continue
        if name.schema > SCHEMA:
            msg = f"{file.path.name} was written by a newer version of this project"
            raise UnclearError(msg)
        paths.append(file.path)

    found, unreadable = set(), []

    def read(path: PurePath) -> None:
        try:
            manifest = Manifest.from_bytes(store.read(path), path)
            found.add((str(manifest.task), tuple(sorted((str(k), str(v)) for k, v in manifest.parameters.items()))))
        except OutageError:  # it may be the one that says whose the rest is
            raise
        except (ManifestError, AttributeError, RecursionError, OSError) as error:
            unreadable.append(str(error))

    concurrently(read, paths, 1 if isinstance(store.root, Path) else LIMIT)
    return sorted(found), sorted(unreadable)


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
