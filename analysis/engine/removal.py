"""Removing what was found to be garbage, and nothing else: no link is followed, nothing outside the store goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from analysis.engine.garbage import Garbage
from analysis.engine.leftovers import is_lock, live_lock, lock_path
from analysis.engine.lock import Lock
from analysis.engine.manifest import FOLDER, HISTORY
from analysis.engine.walk import stamp


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


def remove_garbage(store: Path, garbage: Iterable[Garbage]) -> Removed:
    """Remove files, then the directories that are empty without them.

    Folders in which somebody is at work by now are left alone, and so are files that changed since they were found.

    Args:
        store: the store, resolved.
        garbage: what to remove.
    """
    files = size = 0
    left: list[tuple[str, str]] = []
    for folder, items in groupby(sorted(garbage, key=lambda item: item.folder), key=lambda item: item.folder):
        found = list(items)
        for item, why in _remove_from(store, store / folder, found):
            if why is None:
                files, size = files + 1, size + item.file.size
            else:
                left.append((item.file.relative, why))
        for directory in sorted(
            {item.file.path.parent for item in found}, key=lambda path: len(path.parts), reverse=True
        ):
            _remove_empty(store, directory)
    return Removed(files, size, tuple(left))


def _remove_from(store: Path, folder: Path, items: Sequence[Garbage]) -> Iterator[tuple[Garbage, str | None]]:
    """Each file of a folder, and why it was left, if it was."""
    holder = _holder(folder)
    if holder is not None:
        yield from ((item, f"{holder} is at work there") for item in items)
        return
    # manifests last: if this is interrupted, they still tell whose the rest is
    ordered = sorted(items, key=lambda item: (item.is_stale, item.branch or 0, _is_record(item), item.file.relative))
    for (is_stale, branch), group in groupby(ordered, key=lambda item: (item.is_stale, item.branch)):
        if not is_stale:
            yield from ((item, _attempt(store, item)) for item in group)
            continue
        lock = Lock(lock_path(folder, branch))
        try:
            free = lock.acquire()
        except OSError as error:
            yield from ((item, _reason(error)) for item in group)
            continue
        try:
            yield from ((item, _attempt(store, item) if free else "somebody is at work there") for item in group)
        finally:
            lock.release()


def _is_record(item: Garbage) -> bool:
    return not {FOLDER, HISTORY}.isdisjoint(item.file.relative.split("/"))


def _holder(folder: Path) -> str | None:
    for path in (folder / FOLDER).rglob(".*"):
        if is_lock(path) and (holder := live_lock(path)):
            return holder
    return None


def _attempt(store: Path, item: Garbage) -> str | None:
    path = item.file.path
    try:
        if path.resolve() != path or store not in path.parents:
            return "it is not in the store, or a link leads there"
        if stamp(path.lstat()) != item.file.stamp:
            return "it changed in the meantime"
        if is_lock(path) and path.name.endswith(".lock"):
            # taken first: somebody else may be about to take it from the process that is gone
            lock = Lock(path)
            if not lock.acquire():
                return "somebody is at work there"
            lock.release()
        else:
            path.unlink()
    except FileNotFoundError:  # somebody else removed it
        return None
    except OSError as error:
        return _reason(error)
    return None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _remove_empty(store: Path, directory: Path) -> None:
    while store in directory.parents and directory.resolve() == directory:
        try:
            directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError:  # not empty, or not ours
            return
        directory = directory.parent
