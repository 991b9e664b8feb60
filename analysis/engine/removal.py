"""Removing what was found to be garbage, and nothing else: no link is followed, nothing outside the store goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.concurrent import LIMIT, concurrently
from analysis.engine.garbage import Garbage, live_holder
from analysis.engine.leftovers import is_lock
from analysis.engine.manifest import FOLDER, HISTORY
from analysis.engine.shards import is_shard
from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.base import OutageError
from analysis.engine.walk import is_inside, list_files, stamp

if TYPE_CHECKING:
    from analysis.engine.storage.base import Store

_BUSY = "somebody is at work there"
_LINK = "it is not in the store, or a link leads there"


class Removed(NamedTuple):
    """What was done.

    Args:
        files: number of files that were removed.
        size: their size [bytes].
        left: what was not removed, relative to the store, and why.
    """

    files: int
    size: int
    left: tuple[tuple[str, str], ...]


def remove_garbage(store: Store, garbage: Iterable[Garbage]) -> Removed:
    """Remove files, then the folders that are empty without them.

    Folders in which somebody is at work by now are left alone, and so are files that changed since they were found.
    When a server no longer answers, the rest is left.

    Args:
        store: the store.
        garbage: what to remove.
    """
    removal = _Removal(store)
    done: list[tuple[Garbage, str | None]] = []
    for folder, items in groupby(sorted(garbage, key=lambda item: item.folder), key=lambda item: item.folder):
        done += removal.remove_from(store.root / folder, list(items))
    gone = [item for item, why in done if why is None]
    left = tuple((item.file.relative, why) for item, why in done if why is not None)
    return Removed(len(gone), sum(item.file.size for item in gone), left)


class _Removal:
    """The removal from one store.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at_once = 1 if isinstance(store.root, Path) else LIMIT
        self._outage = ""

    def remove_from(self, folder: PurePath, items: Sequence[Garbage]) -> list[tuple[Garbage, str | None]]:
        """Each file of the folder of a task, and why it was left, if it was."""
        why = self._outage or self._why_not(folder)
        if why:
            return [(item, why) for item in items]
        # manifests last: if this is interrupted, they still tell whose the rest is
        alone = [item for item in items if item.lock is None]
        done = self._remove_all([item for item in alone if not _is_record(item)])
        locked = sorted((item for item in items if item.lock is not None), key=lambda item: str(item.lock))
        groups = [list(group) for _, group in groupby(locked, key=lambda item: item.lock)]
        done += [pair for found in concurrently(self._remove_branch, groups, self._at_once) for pair in found]
        done += self._remove_all([item for item in alone if _is_record(item)])
        for parent in sorted({item.file.path.parent for item in items}, key=lambda path: -len(path.parts)):
            self._remove_empty(parent)
        return done

    def _why_not(self, folder: PurePath) -> str | None:
        if not is_inside(self._store, folder):
            return _LINK
        try:
            manifests = folder / FOLDER
            shards = [manifests / name for name in self._store.names(manifests) if is_shard(name)]
            listed = concurrently(lambda path: list_files(self._store, path), [manifests, *shards], self._at_once)
            holder = live_holder(self._store, [file for files in listed for file in files])
        except OSError as error:
            return self._reason(error)
        return f"{holder} is at work there" if holder else None

    def _remove_branch(self, items: Sequence[Garbage]) -> list[tuple[Garbage, str | None]]:
        """The same for files of one branch, while its lock is held."""
        path = items[0].lock
        if path is None or self._outage or not is_inside(self._store, path.parent):
            return [(item, self._outage or _LINK) for item in items]
        lock = self._store.lock(path)
        try:
            if not lock.acquire():
                return [(item, _BUSY) for item in items]
        except OSError as error:
            return [(item, self._reason(error)) for item in items]
        try:
            return [(item, self._remove(item)) for item in sorted(items, key=_is_record)]
        finally:
            try:
                lock.release()
            except OSError as error:  # what is done is done; the next one takes it from a process that is gone
                self._reason(error)

    def _remove_all(self, items: Sequence[Garbage]) -> list[tuple[Garbage, str | None]]:
        return list(zip(items, concurrently(self._remove, items, self._at_once), strict=True))

    def _remove(self, item: Garbage) -> str | None:
        """Why a file is left, if it is."""
        path = item.file.path
        is_held_by_name = not item.file.stamp or (is_lock(path) and path.name.endswith(".lock"))
        try:
            if self._outage or not is_inside(self._store, path):
                return self._outage or _LINK
            if is_held_by_name:
                return self._remove_lock(path)
            if stamp(self._store, path) != item.file.stamp:
                return "it changed in the meantime"
            self._store.remove(path)
        except FileNotFoundError:  # somebody else removed it
            return None
        except (OSError, AddressError) as error:
            return self._reason(error)
        return None

    def _remove_lock(self, path: PurePath) -> str | None:
        """Take it, then give it back: somebody else may be about to take it from the process that is gone."""
        lock = self._store.lock(path)
        if not lock.acquire():
            return _BUSY
        lock.release()
        return None

    def _reason(self, error: OSError | AddressError) -> str:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        if isinstance(error, OutageError):
            self._outage = reason
        return reason

    def _remove_empty(self, folder: PurePath) -> None:
        while not self._outage and folder != self._store.root and is_inside(self._store, folder):
            try:
                if self._store.names(folder):
                    return
                self._store.remove_folder(folder)
            except (OSError, AddressError) as error:  # there is something in it by now, or it is not ours
                self._reason(error)
                return
            folder = folder.parent


def _is_record(item: Garbage) -> bool:
    return not {FOLDER, HISTORY}.isdisjoint(item.file.relative.split("/"))
