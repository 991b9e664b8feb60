"""Files from one place to another, whole and verified or not at all.

A place is a store and an address in it; the local disk is a store as well.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol, cast

from analysis.engine.manifest import checksum
from analysis.engine.storage.addresses import check_part
from analysis.engine.storage.base import Entry, Store
from analysis.engine.storage.local import LocalStore

DISK = LocalStore(Path("/"), "disk")
"""All that is mounted here."""


class Place(NamedTuple):
    """A file or folder.

    Args:
        store: where.
        address: its address there.
    """

    store: Store
    address: PurePath

    def __str__(self) -> str:
        return str(self.address)

    def __truediv__(self, name: str) -> Place:
        return place(self.store, self.address / name)


class RemoteFiles(Store, Protocol):
    """What stores on servers are asked as well."""

    def stat(self, path: PurePath) -> Entry:
        """What is there.

        Raises:
            NotFoundError: if the server says that nothing is.
        """

    def checksum(self, path: PurePath) -> str | None:
        """Adler-32 of a file as the server computes it; ``None`` if it cannot."""


def _remote(store: Store) -> RemoteFiles:
    return cast("RemoteFiles", store)


def on_disk(path: Path) -> Place:
    """A path on this machine."""
    return Place(DISK, Path(os.path.abspath(path)))  # noqa: PTH100  (links stay links)


def place(store: Store, address: PurePath | str) -> Place:
    """A place in a store.

    Args:
        store: the store.
        address: an address in it, or a path relative to its root, as law has them.

    Raises:
        AddressError: if it leads out of the store, in whatever way it is written.
    """
    text, root = str(address), str(store.root).rstrip("/")
    if text == root or text.startswith(f"{root}/"):
        text = text[len(root) :]
    parts = [part for part in text.split("/") if part]
    for part in parts:
        check_part(part, str(address))
    return Place(store, store.root.joinpath(*parts))


def entry(where: Place) -> Entry | None:
    """What is there, links not followed; ``None`` only if the store says that nothing is.

    Raises:
        OSError: if the store cannot tell.
    """
    store, address = where
    try:
        if isinstance(address, Path):
            status = address.lstat()
            is_folder = stat.S_ISDIR(status.st_mode)
            return Entry(address.name, 0 if is_folder else status.st_size, is_folder, status.st_mtime)
        return _remote(store).stat(address)
    except (FileNotFoundError, NotADirectoryError):
        return None


def file_entry(where: Place) -> Entry:
    """The file that is there.

    Raises:
        FileNotFoundError: if there is none.
        IsADirectoryError: if there is a folder.
        OSError: if the store cannot tell.
    """
    found = entry(where)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(where))
    if found.is_folder:
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(where))
    return found


# files


@contextmanager
def local_copy(where: Place) -> Iterator[Path]:
    """A file on this machine: itself, or a verified copy; there until the end of the block, and only to be read.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if it cannot be read, or what arrives is not what is there.
    """
    found = file_entry(where)
    if isinstance(where.address, Path):
        yield where.address
        return
    adler32 = _remote(where.store).checksum(where.address) or ""
    with where.store.localized(where.address, found.size, adler32) as path:
        yield path


def copy(source: Place, destination: Place) -> int:
    """Copy a file, replacing one that has that name.

    Returns:
        Its size [bytes].

    Raises:
        FileNotFoundError: if there is none.
        IsADirectoryError: if the source or the destination is a folder.
        OSError: if it cannot be read, or written, or what arrived is not what was sent; the destination is as it was.
    """
    with local_copy(source) as path:
        return upload(path, destination)


def upload(source: Path, destination: Place) -> int:
    """Copy a file of this machine, replacing one that has that name; see :func:`copy`."""
    address = destination.address
    check_file(destination)
    if isinstance(address, Path):
        address.parent.mkdir(parents=True, exist_ok=True)
        # a random part: several copies of one process may have the same destination
        part = address.with_name(f".{address.name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.part")
        try:
            _copy_verified(source, part)
            size = part.stat().st_size
            part.replace(address)
        finally:
            part.unlink(missing_ok=True)
        return size
    with TemporaryDirectory(prefix=f"analysis-{os.getpid()}-") as folder:
        staged = Path(folder, address.name)  # a store removes what it has published
        _copy_verified(source, staged)
        return publish(staged, destination)


def publish(staged: Path, destination: Place) -> int:
    """Bring a file that is made for it to its place in a store on a server; it is gone here then.

    Returns:
        Its size [bytes].

    Raises:
        IsADirectoryError: if there is a folder.
        OSError: if it cannot be written, or what arrived is not what was sent; the destination is as it was.
    """
    check_file(destination)
    size = staged.stat().st_size
    destination.store.publish(staged, destination.address, size, checksum(staged))
    return size


def check_file(where: Place) -> None:
    """See whether there is a file, or nothing.

    Raises:
        IsADirectoryError: if there is a folder: some servers replace it by a file with all that is in it.
    """
    there = entry(where)
    if there is not None and there.is_folder:
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(where))


def _copy_verified(source: Path, destination: Path) -> None:
    expected = checksum(source)
    shutil.copyfile(source, destination)
    if checksum(destination) != expected:
        raise OSError(errno.EBADMSG, "it changed while it was copied: copy it again", str(source))


def move(source: Place, destination: Place) -> None:
    """Move a file, replacing one that has that name: by its name only within a store, else by :func:`copy`."""
    if source.store is destination.store:
        file_entry(source)
        check_file(destination)
        source.store.move(source.address, destination.address)
        return
    copy(source, destination)
    source.store.remove(source.address)
