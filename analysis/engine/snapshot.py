"""The store as it is at one moment, against today's recipes: what is current, what is stale, what is missing.

Directories are listed once, all of them at the same time; nothing is asked about single files, and no manifest is
opened: its name and the sizes in the listings say enough.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from itertools import groupby
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple, cast
from weakref import WeakKeyDictionary

from analysis.engine.concurrent import concurrently
from analysis.engine.errors import ManifestError, StaleError
from analysis.engine.manifest import FOLDER, Manifest, ManifestName, check_schema, seal
from analysis.engine.policy import stale_is_used, stale_policy
from analysis.engine.recipe import Digest, Recipe, hash_text
from analysis.engine.recipes import Recipes, combined, distinct_title, needed_outputs, required_tasks
from analysis.engine.shards import shard_of

if TYPE_CHECKING:
    from analysis.engine.storage.base import Store
    from analysis.engine.task import AnalysisTask

logger = logging.getLogger("analysis.engine")

_MANY = 2
_warned: set[str] = set()
"""What was said already: one run takes many snapshots."""


class _Version(NamedTuple):
    """What a listing tells of a file: the name of a manifest nearly says what is in it, and these say the rest."""

    size: int
    mtime: float


_read_before: WeakKeyDictionary[Store, dict[PurePath, tuple[_Version, Manifest]]] = WeakKeyDictionary()
"""Manifests of remote stores that this process has read: one run takes many snapshots."""


class State(StrEnum):
    """State of the outputs of a branch."""

    CURRENT = "current"
    """Made by today's recipe."""
    STALE = "stale"
    """Made by another recipe."""
    MISSING = "missing"
    """No manifest, or not all it names."""


class Snapshot:
    """What is there, and what of it is current. Everything is looked up once.

    Args:
        earlier: a snapshot of the same run, of which all is taken over that is not of the store.
    """

    def __init__(self, earlier: Snapshot | None = None) -> None:
        self.recipes: Recipes = Recipes(
            self._tolerated, self._recorded_input, earlier.recipes.stages if earlier else None
        )
        self._sizes: dict[PurePath, dict[str, int]] = {}
        self._times: dict[PurePath, dict[str, float]] = {}
        self._names: dict[PurePath, dict[int | None, list[tuple[ManifestName, int]]]] = {}
        self._states: dict[str, State] = {}
        self._manifests: dict[str, Manifest | None] = {}

    # listings

    def prefetch(self, tasks: Iterable[AnalysisTask]) -> None:
        """List the folders of many tasks, and of their manifests, at the same time."""
        folders = ((t.store, t.folder / name / s) for t in tasks for s in t.shards() for name in ("", FOLDER))
        wanted = {path: store for store, path in folders if path not in self._sizes}
        concurrently(lambda item: self.sizes(*item), wanted.items())

    def sizes(self, folder: PurePath, store: Store) -> dict[str, int]:
        """Sizes [bytes] of the files of a directory by name."""
        if folder not in self._sizes:
            if store.kind == "local":
                self._sizes[folder] = store.sizes(folder)
            else:
                files = [entry for entry in store.entries(folder) if not entry.is_folder]
                self._times[folder] = {file.name: file.mtime for file in files}
                self._sizes[folder] = {file.name: file.size for file in files}
        return self._sizes[folder]

    def names(self, task: AnalysisTask) -> list[tuple[ManifestName, int]]:
        """Names and sizes of the manifests that claim to be of a branch.

        Raises:
            ManifestError: if one was written by a newer version of this project.
        """
        return self._shard(task, task.branch_number).get(task.branch_number, [])

    def has_names(self, task: AnalysisTask, branch: int | None) -> bool:
        """Whether there is a manifest of a branch of a task, be its outputs whole or not."""
        return branch in self._shard(task, branch)

    def _shard(self, task: AnalysisTask, branch: int | None) -> dict[int | None, list[tuple[ManifestName, int]]]:
        """Manifests in the folder that those of a branch are in."""
        folder = task.folder / FOLDER / shard_of(branch)
        if folder not in self._names:
            self._names[folder] = self._index(folder, self.sizes(folder, task.store))
        return self._names[folder]

    def _index(self, folder: PurePath, sizes: Mapping[str, int]) -> dict[int | None, list[tuple[ManifestName, int]]]:
        found: dict[int | None, list[tuple[ManifestName, int]]] = {}
        foreign = []
        for text, size in sizes.items():
            name = ManifestName.parse(text)
            if name is not None:
                check_schema(name.schema, folder / text)
                found.setdefault(name.branch, []).append((name, size))
            elif not text.startswith("."):
                foreign.append(text)
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            self._warn(f"{folder} has a file that is no manifest, and is ignored: {foreign[0]}{more}")
        return found

    def renewed(self, task: AnalysisTask, names: Collection[ManifestName]) -> Snapshot:
        """The store as it is now, for one branch.

        Args:
            task: the branch.
            names: its manifests now. If they are those of this snapshot, so are their sizes, which are in their seals.
        """
        fresh, folder = Snapshot(self), task.folder / FOLDER / shard_of(task.branch_number)
        if set(names) == {name for name, _ in self.names(task)}:
            fresh._sizes[folder] = self.sizes(folder, task.store)
            fresh._times[folder] = self._times.get(folder, {})
        return fresh

    # states

    def record(self, task: AnalysisTask) -> ManifestName | None:
        """The manifest of a branch if it and all it names are there with the right size; ``None`` otherwise."""
        whole = self._whole(task)
        if len(whole) > 1:
            today = self.recipes.digest(task)
            whole.sort(key=lambda name: name.recipe == today, reverse=True)
            self._warn(f"{task.title()} has {len(whole)} manifests: the one of recipe {whole[0].recipe} is used")
        return whole[0] if whole else None

    def _whole(self, task: AnalysisTask) -> list[ManifestName]:
        names = self.names(task)
        outputs: dict[str, int] = {}
        for path in task.output_paths() if names else ():
            size = self.sizes(path.parent, task.store).get(path.name)
            if size is None:
                return []
            outputs[path.relative_to(task.store.root).as_posix()] = size
        return [name for name, size in names if seal(outputs, size) == name.seal]

    def state(self, task: AnalysisTask) -> State:
        """State of a branch, or of a task without branches."""
        key = task.key
        if key not in self._states:
            found = self.record(task)
            if found is None:
                self._states[key] = State.MISSING
            else:
                current = found.recipe == self.recipes.digest(task)
                self._states[key] = State.CURRENT if current else State.STALE
        return self._states[key]

    def states(self, task: AnalysisTask) -> dict[int | None, State]:
        """States of all branches by number; of a task without branches with the key ``None``."""
        if not task.is_whole_workflow():
            return {task.branch_number: self.state(task)}
        found: dict[int | None, State] = {}
        for shard, numbers in groupby(task.branch_numbers(), key=shard_of):
            names = self._shard(task, None if not shard else int(shard.partition("-")[0]))
            for b in numbers:  # one without a manifest need not become a task: that takes most of the time
                found[b] = self.state(task.branch_task(b)) if b in names else State.MISSING
        return found

    def needs_run(self, task: AnalysisTask) -> bool:
        """Whether something is missing, or stale and not to be used as it is."""
        unwanted = {State.MISSING} if self.uses_stale(task) else {State.MISSING, State.STALE}
        return not unwanted.isdisjoint(self.states(task).values())

    def uses_stale(self, task: AnalysisTask) -> bool:
        """Whether the configuration says to use stale outputs of a task as they are."""
        return stale_policy(task.get_task_family()) == "warn"

    def is_complete(self, task: AnalysisTask) -> bool:
        """Whether nothing needs to run; with a warning if stale outputs are used.

        Raises:
            StaleError: if something is stale and the configuration says that this is an error.
        """
        states = self.states(task)
        stale = sum(state is State.STALE for state in states.values())
        policy = stale_policy(task.get_task_family()) if stale else "rerun"
        if policy != "rerun":
            title = task.title()
            what = f"{title} is stale" if len(states) == 1 else f"{title}: {stale} branches are stale"
            if policy == "error":
                msg = f"{what}, and law.cfg says that this is an error: ask --why, then --accept it or allow the rerun"
                raise StaleError(msg)
            self._warn(f"{what}, and used all the same because law.cfg says so: see --why")
        return not self.needs_run(task)

    def has_own_changes(self, task: AnalysisTask) -> bool:
        """Whether a stale branch is stale for a reason of its own, and not only because of what it requires."""
        found = self.record(task)
        return found is None or found.recipe.own != self.recipes.digest(task).own

    # manifests

    def manifest(self, task: AnalysisTask) -> Manifest | None:
        """Manifest of a branch whose outputs are whole; ``None``, and a warning, if it cannot be read."""
        key = task.key
        if key not in self._manifests:
            found = self.record(task)
            self._manifests[key] = self._read(task, found) if found else None
        return self._manifests[key]

    def required_manifest(self, task: AnalysisTask) -> Manifest:
        """Manifest of a branch.

        Raises:
            ManifestError: if there is none, or it cannot be read.
        """
        found = self.record(task)
        if found is None:
            msg = f"{task.title()} has no manifest in {task.folder / FOLDER}: run it first"
            raise ManifestError(msg)
        if self._manifests.get(task.key) is None:
            self._manifests[task.key] = self._content_of(task, found)
        return cast("Manifest", self._manifests[task.key])

    def read_manifests(self, branches: Iterable[AnalysisTask]) -> None:
        """Read the manifests of many branches, at the same time where each of them has to be fetched from a server."""
        unread = [(task, task.key) for task in branches if task.key not in self._manifests]
        if len(unread) < _MANY or unread[0][0].store.kind == "local":
            return
        found = [(task, key, name) for task, key in unread if (name := self.record(task))]
        for task, key, name in found:
            if manifest := self._known(task, _path(task, name)):
                self._manifests[key] = manifest
        found = [item for item in found if item[1] not in self._manifests]
        read = concurrently(lambda item: self._read(item[0], item[2]), found)
        self._manifests.update(zip((key for _, key, _ in found), read, strict=True))

    def any_manifest(self, task: AnalysisTask) -> Manifest | None:
        """Manifest of a branch, be its outputs whole or not."""
        names = self.names(task)
        return self.manifest(task) or (self._read(task, names[0][0]) if names else None)

    def _read(self, task: AnalysisTask, name: ManifestName) -> Manifest | None:
        try:
            return self._content_of(task, name)
        except (ManifestError, FileNotFoundError) as error:
            self._warn(str(error))
            return None

    def _content_of(self, task: AnalysisTask, name: ManifestName) -> Manifest:
        path = _path(task, name)
        manifest = self._known(task, path)
        if manifest is None:
            manifest = Manifest.from_bytes(task.store.read(path), path)
            if version := self._version(path):
                _read_before.setdefault(task.store, {})[path] = version, manifest
        return manifest

    def _known(self, task: AnalysisTask, path: PurePath) -> Manifest | None:
        """The manifest if this process has read it, and it is as it was then."""
        version, manifest = _read_before.get(task.store, {}).get(path, (None, None))
        return manifest if version is not None and version == self._version(path) else None

    def _version(self, path: PurePath) -> _Version | None:
        """``None`` if the server does not tell when it was written, or the store is on this machine."""
        mtime = self._times.get(path.parent, {}).get(path.name)
        return _Version(self._sizes[path.parent][path.name], mtime) if mtime else None

    def inputs(self, task: AnalysisTask) -> dict[str, str]:
        """For each requirement of a branch, a digest of the content of the files it is made of.

        Empty for a requirement that has no readable manifest, e.g. since its outputs were removed after use.
        """
        found: dict[str, str] = {}
        for required in required_tasks(task):
            needed = needed_outputs(task, required)
            if needed is None or needed:
                found[distinct_title(required, found)] = self._content(required, needed)
        return found

    def _content(self, task: AnalysisTask, needed: frozenset[str] | None) -> str:
        digests: dict[str, str] = {}
        branches = list(task.branch_tasks())
        self.read_manifests(branches)
        for branch in branches:
            manifest = self.manifest(branch)
            if manifest is None:
                return ""
            paths = None if needed is None else branch.output_paths(needed)
            wanted = None if paths is None else {path.relative_to(task.store.root).as_posix() for path in paths}
            digests |= {o.path: f"{o.size} {o.adler32}" for o in manifest.outputs if wanted is None or o.path in wanted}
        # the version is the first folder of the path, and says nothing of the content
        return combined({path.partition("/")[2]: digest for path, digest in digests.items()})

    # stale outputs that are used

    def _tolerated(self, task: AnalysisTask) -> str | None:
        if stale_policy(task.get_task_family()) != "warn":
            return None
        found = {str(b.branch_number): self.record(b) for b in task.branch_tasks() if self.state(b) is State.STALE}
        if not found:
            return None
        return hash_text("stale " + combined({key: str(name.recipe) for key, name in found.items() if name}), 20)

    @functools.cached_property
    def _any_stale_is_used(self) -> bool:
        return stale_is_used()

    def stale_requirements(self, task: AnalysisTask) -> list[str]:
        """Titles of what a task is made of that is stale, and used because the configuration says so."""
        titles: dict[str, None] = {}
        if not self._any_stale_is_used:
            return []
        for required in required_tasks(task):
            if self._tolerated(required) is not None:
                titles[required.title()] = None
            for branch in required.branch_tasks():
                manifest = self.manifest(branch)
                titles.update(dict.fromkeys(manifest.stale_inputs if manifest else ()))
        return list(titles)

    def _recorded_input(self, whole: AnalysisTask, branch: int | None, name: str) -> str | None:
        task = whole if branch is None else whole.branch_task(branch)
        found = self._whole(task)
        manifest = self._read(task, found[0]) if found else None
        identity = manifest.recipe.external.get(name) if manifest else None
        if identity is not None:
            self._warn(f"{task.title()}: {name} cannot be found, and is taken to be what it was when it was read")
        return identity

    def today(self, task: AnalysisTask) -> tuple[Recipe, Digest]:
        """Today's recipe of a branch, and its hash."""
        return self.recipes.today(task)

    def _warn(self, sentence: str) -> None:
        if sentence not in _warned:
            _warned.add(sentence)
            logger.warning("%s", sentence)


def _path(task: AnalysisTask, name: ManifestName) -> PurePath:
    return task.folder / FOLDER / shard_of(name.branch) / str(name)
