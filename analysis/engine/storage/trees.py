"""All that is below a folder of a store: listed, and removed with care."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

from analysis.engine.concurrent import concurrently
from analysis.engine.errors import StoreError
from analysis.engine.leftovers import is_lock, is_part
from analysis.engine.manifest import FOLDER, HISTORY
from analysis.engine.shards import is_shard
from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.base import Entry, OutageError
from analysis.engine.storage.transfer import Place, entry

BUSY = "somebody is at work there"
_AT_ONCE = 16


class RemovalError(StoreError):
    """Something could not be removed."""


class Found(NamedTuple):
    """A file or folder of a tree.

    Args:
        place: where.
        parts: the same relative to the root of the tree.
        entry: what it is.
    """

    place: Place
    parts: tuple[str, ...]
    entry: Entry


class Removed(NamedTuple):
    """What was done.

    Args:
        files: number of files that were removed.
        size: their size [bytes].
        left: what was not removed, and why.
    """

    files: int
    size: int
    left: tuple[tuple[Place, str], ...]

    def check(self) -> None:
        """See whether all is gone.

        Raises:
            RemovalError: if not.
        """
        if self.left:
            where, why = self.left[0]
            more = f" and {len(self.left) - 1} more" if len(self.left) > 1 else ""
            msg = f"{where}{more} could not be removed: {why}"
            raise RemovalError(msg)


def is_transient(address: PurePath) -> bool:
    """Whether this is an upload that is under way, or a lock: no file that anybody means."""
    return is_part(address) or is_lock(address)


def is_record(address: PurePath) -> bool:
    """Whether this is a manifest, in force or replaced."""
    return not {FOLDER, HISTORY}.isdisjoint(address.parts)


def tree(root: Place, everything: bool = False) -> Iterator[Found]:
    """All that is below a folder, folders before what is in them; links are not followed.

    Args:
        root: the folder.
        everything: also uploads that are under way, and locks.

    Raises:
        OSError: if a folder cannot be listed.
    """
    hidden: set[PurePath] = set()
    for folder, entries in root.store.walk(root.address):
        if folder in hidden or not hidden.isdisjoint(folder.parents):
            continue
        for found in sorted(entries):
            address = folder / found.name
            if not everything and is_transient(address):
                hidden.add(address)
                continue
            yield Found(Place(root.store, address), address.relative_to(root.address).parts, found)


def check_removable(where: Place) -> None:
    """See whether a place may be removed: it is in its store, and not the root.

    Raises:
        AddressError: if not.
    """
    store, address = where
    if address == store.root or address == Path.home() or address in Path.home().parents:
        msg = f"{where} is never removed, as it is the root of a store or above your home: name what is in it"
        raise AddressError(msg)
    # a link on the way leads to the files of somebody else; the last part may be one, and it alone goes then
    if isinstance(address, Path) and not address.parent.resolve().is_relative_to(Path(store.root).resolve()):
        msg = f"{where} is behind a link that leads out of the store: name {address.resolve()} if that is meant"
        raise AddressError(msg)


def remove_tree(root: Place) -> Removed:
    """Remove a file, or a folder with all in it: manifests first, folders last; no link is followed.

    A folder of a task is left alone while somebody is at work there, and so is whatever is new since it was listed.

    Raises:
        AddressError: if it is not to be removed.
        OutageError: if the server does not answer: nothing more is tried then.
        OSError: if it cannot be listed.
    """
    check_removable(root)
    there = entry(root)
    if there is None:
        return Removed(0, 0, ())
    found = [Found(root, (), there), *(tree(root, everything=True) if there.is_folder else ())]
    busy = {task_folder(item.place.address) for item in (found if there.is_folder else _beside(root)) if _is_held(item)}
    left = [(item.place, BUSY) for item in found if not item.entry.is_folder and _is_within(item, busy)]
    files = [item for item in found if not item.entry.is_folder and not _is_within(item, busy)]
    gone: list[Found] = []
    for records in (True, False):  # manifests first: without what they name, they would say what is not so
        group = [item for item in files if is_record(item.place.address) == records]
        for item, why in zip(group, concurrently(_attempt, group, _AT_ONCE), strict=True):
            if why is None:
                gone.append(item)
            else:
                left.append((item.place, why))
    kept = {above for where, _ in left for above in where.address.parents}
    for item in sorted(found, key=lambda item: -len(item.parts)):
        if item.entry.is_folder and item.place.address not in kept and (why := _attempt(item)):
            left.append((item.place, why))
            kept.update(item.place.address.parents)
    return Removed(len(gone), sum(item.entry.size for item in gone), tuple(left))


def task_folder(address: PurePath) -> PurePath:
    """The folder of the task that a manifest, or a lock, is of."""
    folder = address.parent.parent if is_shard(address.parent.name) else address.parent
    return folder.parent


def _is_held(item: Found) -> bool:
    name = item.entry.name
    if not is_lock(item.place.address) or not name.endswith(".lock"):
        return False
    lock = item.place.store.lock(item.place.address)
    if not lock.acquire():  # takes it from a process that is gone
        return True
    lock.release()
    return False


def _beside(file: Place) -> Iterator[Found]:
    """What is in the folder of manifests that a file belongs to."""
    folder = file.address.parent.parent if is_shard(file.address.parent.name) else file.address.parent
    shard = file.address.parent.name if folder != file.address.parent else ""
    locks = (folder.parent if folder.name in {FOLDER, HISTORY} else folder) / FOLDER / shard
    for found in file.store.entries(locks):
        yield Found(Place(file.store, locks / found.name), (found.name,), found)


def _is_within(item: Found, folders: set[PurePath]) -> bool:
    return not folders.isdisjoint(item.place.address.parents)


def _attempt(item: Found) -> str | None:
    """Remove a file, or an empty folder; why it is still there, if it is."""
    store, address = item.place
    try:
        if item.entry.is_folder:
            store.remove_folder(address)
        else:
            store.remove(address)
    except OutageError:
        raise
    except OSError as error:
        return reason(error)
    return None


def reason(error: OSError) -> str:
    """What went wrong, in few words."""
    return (error.strerror or str(error)).lower()
