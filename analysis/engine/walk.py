"""The files of a store, by the task folder they are in. Links are never followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from analysis.engine.manifest import FOLDER, HISTORY


class File(NamedTuple):
    """A regular file as it was when it was seen.

    Args:
        path: absolute, without links on the way.
        relative: the same relative to the store.
        size: [bytes].
        stamp: tells it from another file that has its path later.
    """

    path: Path
    relative: str
    size: int
    stamp: tuple[int, ...]


class StoreFolder(NamedTuple):
    """A folder of a task.

    Args:
        path: absolute.
        relative: relative to the store.
        files: all that is in it, and not in the folder of another task within.
    """

    path: Path
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


@dataclass(frozen=True)
class _Entry:
    """A file, and the folder of the task it is in; ``None`` outside of one."""

    path: Path
    status: os.stat_result
    folder: Path | None


def walk_store(store: Path, version: str | None = None) -> Tree:
    """List a store.

    Args:
        store: the store, resolved.
        version: list the folder of this version only.

    Raises:
        OSError: if a directory cannot be read.
    """
    found: dict[Path, list[File]] = {}
    foreign = []
    start = store / version if version else store
    for entry in _walk(store, start, None) if start.resolve() == start else ():
        relative = entry.path.relative_to(store).as_posix()
        if entry.folder is None or not stat.S_ISREG(entry.status.st_mode):
            foreign.append(relative)
        else:
            file = File(entry.path, relative, entry.status.st_size, stamp(entry.status))
            found.setdefault(entry.folder, []).append(file)
    folders = (
        StoreFolder(path, path.relative_to(store).as_posix(), tuple(sorted(files)))
        for path, files in sorted(found.items())
    )
    return Tree(tuple(folders), tuple(sorted(foreign)))


def _walk(store: Path, directory: Path, folder: Path | None) -> Iterator[_Entry]:
    try:
        with os.scandir(directory) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except FileNotFoundError:  # removed by somebody else in this moment
        return
    directories = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    if directories & {FOLDER, HISTORY} and directory != store and directory.name not in {FOLDER, HISTORY}:
        folder = directory
    for entry in entries:
        path = directory / entry.name
        if entry.name in directories:
            yield from _walk(store, path, folder)
            continue
        try:
            yield _Entry(path, entry.stat(follow_symlinks=False), folder)
        except FileNotFoundError:
            continue


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is written or replaced."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def is_within(file: File, folder: StoreFolder, name: str) -> bool:
    """Whether a file is in the directory of that name, directly in a folder."""
    return file.relative.startswith(f"{folder.relative}/{name}/")
