"""The files of a store, by the task folder they are in. Links are never followed."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple, cast

from analysis.engine.concurrent import LIMIT, concurrently
from analysis.engine.leftovers import is_lock
from analysis.engine.manifest import FOLDER, HISTORY
from analysis.engine.storage.addresses import AddressError, check_part
from analysis.engine.storage.base import Entry, Store
from analysis.engine.storage.transfer import RemoteFiles


class File(NamedTuple):
    """A regular file as it was when it was seen, or a lock, which is a folder on a server.

    Args:
        path: address; without links on the way.
        relative: the same relative to the store.
        size: [bytes].
        mtime: when it was changed, by the clock of the store [s since 1970]; 0 if it does not tell.
        stamp: tells it from another file that has its path later.
    """

    path: PurePath
    relative: str
    size: int
    mtime: float
    stamp: tuple[int, ...]


class StoreFolder(NamedTuple):
    """A folder of a task.

    Args:
        path: address.
        relative: relative to the store.
        files: all that is in it, and not in the folder of another task within.
    """

    path: PurePath
    relative: str
    files: tuple[File, ...]


class Tree(NamedTuple):
    """What is in a store.

    Args:
        folders: those of tasks, by path.
        foreign: files outside of them, and whatever is no regular file; relative to the store.
    """

    folders: tuple[StoreFolder, ...]
    foreign: tuple[str, ...]


class _Place(NamedTuple):
    """A folder, and the folder of the task it is in; ``None`` outside of one."""

    path: PurePath
    task: PurePath | None


def walk_store(store: Store, version: str | None = None, without: Collection[PurePath] = ()) -> Tree:
    """List a store.

    Args:
        store: the store.
        version: list the folder of this version only.
        without: addresses of folders that are left out.

    Raises:
        OSError: if a folder cannot be read.
    """
    found: dict[PurePath, list[File]] = {}
    foreign = []
    for place, entry in _walk(store, store.root / version if version else store.root, without):
        path = place.path / entry.name
        relative = path.relative_to(store.root).as_posix()
        file = _file(path, relative, entry) if _is_safe(path) else None
        if place.task is None or file is None:
            foreign.append(relative)
        else:
            found.setdefault(place.task, []).append(file)
    folders = (
        StoreFolder(path, path.relative_to(store.root).as_posix(), tuple(sorted(files)))
        for path, files in sorted(found.items())
    )
    return Tree(tuple(folders), tuple(sorted(foreign)))


def _walk(store: Store, start: PurePath, without: Collection[PurePath]) -> Iterator[tuple[_Place, Entry]]:
    """All but folders, level by level; those of one level of a server are listed at the same time."""
    at_once = 1 if isinstance(store.root, Path) else LIMIT
    level = [_Place(start, None)] if is_inside(store, start) and start not in without else []
    while level:
        listed = concurrently(lambda place: store.entries(place.path), level, at_once)
        below: list[_Place] = []
        for place, entries in zip(level, listed, strict=True):
            names = {entry.name for entry in entries if entry.is_folder}
            is_task = names & {FOLDER, HISTORY} and place.path != store.root
            here = is_task and place.path.name not in {FOLDER, HISTORY}
            found = _Place(place.path, place.path) if here else place
            for entry in sorted(entries):
                path = place.path / entry.name
                if entry.is_folder and _is_safe(path) and not is_lock(path):
                    below += [_Place(path, found.task)] if path not in without else []
                else:
                    yield found, entry
        level = below


def list_files(store: Store, folder: PurePath) -> list[File]:
    """Files and locks of a folder as they are now, without those in folders below it.

    Raises:
        OSError: if it cannot be read.
    """
    entries = store.entries(folder) if is_inside(store, folder) else []
    paths = ((folder / entry.name, entry) for entry in sorted(entries))
    files = (_file(path, path.relative_to(store.root).as_posix(), entry) for path, entry in paths if _is_safe(path))
    return [file for file in files if file is not None]


def _is_safe(path: PurePath) -> bool:
    """Whether a name that a server told can be asked for; on a disk all can."""
    if isinstance(path, Path):
        return True
    try:
        check_part(path.name, str(path))
    except AddressError:
        return False
    return True


def _file(path: PurePath, relative: str, entry: Entry) -> File | None:
    """A regular file or a lock; ``None`` for all else, and for what is gone by now."""
    if entry.is_folder:
        return File(path, relative, 0, entry.mtime, ()) if is_lock(path) else None
    if not isinstance(path, Path):
        return File(path, relative, entry.size, entry.mtime, _remote_stamp(entry))
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return File(path, relative, status.st_size, status.st_mtime, _local_stamp(path))


def stamp(store: Store, path: PurePath) -> tuple[int, ...]:
    """What changes when a file is written or replaced, as it is now.

    Args:
        store: where.
        path: the file.

    Raises:
        FileNotFoundError: if it is gone.
        OSError: if the store cannot tell.
    """
    if isinstance(path, Path):
        return _local_stamp(path)
    return _remote_stamp(cast("RemoteFiles", store).stat(path))


def _local_stamp(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _remote_stamp(entry: Entry) -> tuple[int, ...]:
    return (entry.size, int(entry.mtime))  # some protocols of one server tell fractions of a second, others do not


def is_inside(store: Store, path: PurePath) -> bool:
    """Whether a path is in the store, and its root or no link: neither it nor a folder on the way to it."""
    if not path.is_relative_to(store.root) or ".." in path.parts:
        return False
    if not isinstance(path, Path):
        return True
    return path.resolve() == Path(store.root).resolve() / path.relative_to(store.root)


def is_within(file: File, folder: StoreFolder, name: str) -> bool:
    """Whether a file is in the directory of that name, directly in a folder."""
    return file.relative.startswith(f"{folder.relative}/{name}/")
