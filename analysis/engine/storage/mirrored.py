"""A store on servers with a copy of all that is written on a local disk."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from analysis.engine.concurrent import concurrently
from analysis.engine.storage.addresses import file_parts
from analysis.engine.storage.base import Entry, RemoteError
from analysis.engine.storage.local import LocalStore
from analysis.engine.storage.placing import temporary_name
from analysis.engine.storage.remote import difference

if TYPE_CHECKING:
    from analysis.engine.storage.base import Lock
    from analysis.engine.storage.remote import RemoteStore

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_logger = logging.getLogger("analysis.engine.storage")


class MirroredStore:
    """A remote store and a local tree of the same layout; see :class:`~analysis.engine.storage.base.Store`.

    What exists is what the servers say. The mirror gets all that is written, and large files are read from it if size
    and checksum fit. It may lack any of them, be full, or not be there at all: the run goes on with the servers.

    Args:
        remote: the store.
        mirror: root of the local tree.
    """

    kind = "wlcg_mirrored"

    def __init__(self, remote: RemoteStore, mirror: Path) -> None:
        self.remote, self.mirror = remote, LocalStore(mirror, remote.name)
        self.name, self.qos = remote.name, remote.qos
        self._warned = False
        self._verified: dict[tuple[Path, int, int, int], str] = {}

    @property
    def root(self) -> PurePosixPath:
        """Address of the root of the remote store."""
        return self.remote.root

    def local(self, path: PurePath) -> Path:
        """Where the mirror has a file, if it has it."""
        return self.mirror.root.joinpath(*file_parts(path, self.root))

    # what is there: the servers know

    def sizes(self, folder: PurePath) -> dict[str, int]:
        """As the servers say."""
        return self.remote.sizes(folder)

    def entries(self, folder: PurePath) -> list[Entry]:
        """As the servers say."""
        return self.remote.entries(folder)

    def names(self, folder: PurePath) -> list[str]:
        """As the servers say."""
        return self.remote.names(folder)

    def walk(self, folder: PurePath) -> Iterator[tuple[PurePath, Sequence[Entry]]]:
        """As the servers say."""
        return self.remote.walk(folder)

    def stat(self, path: PurePath) -> Entry:
        """As the servers say."""
        return self.remote.stat(path)

    def checksum(self, path: PurePath) -> str | None:
        """As the servers say."""
        return self.remote.checksum(path)

    def read(self, path: PurePath) -> bytes:
        """Content of a file on the servers; the mirror may have an older one."""
        return self.remote.read(path)

    def url(self, path: PurePath) -> str:
        """URL of a file on the servers."""
        return self.remote.url(path)

    # files come

    def write(self, path: PurePath, content: bytes) -> None:
        """Write a small file to both."""
        self.remote.write(path, content)
        self._in_mirror(lambda: self._write(path, content))

    def staging(self, final: PurePath) -> Path:
        """Path beside the final one in the mirror, so that it is only renamed there."""
        local = self.local(final)
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
            staged = self.mirror.staging(local)
            staged.touch()  # whether it can be written
            staged.unlink()
        except OSError as error:
            self._warn(error)
            return self.remote.staging(final)
        return staged

    def publish(self, staged: Path, final: PurePath, size: int, adler32: str) -> None:
        """Upload, then move to the mirror."""
        self.remote.upload(staged, final, size, adler32)
        self._in_mirror(lambda: self._keep(staged, self.local(final)))
        self.discard(staged)

    def publish_many(self, outputs: Sequence[tuple[Path, PurePath, int, str]]) -> None:
        """The same for several outputs at the same time."""
        concurrently(lambda output: self.publish(*output), outputs, self.remote.connections)

    def discard(self, staged: Path) -> None:
        """Remove an output that was staged."""
        self.remote.discard(staged)

    # files go out

    @contextmanager
    def localized(self, path: PurePath, size: int, adler32: str) -> Iterator[Path]:
        """The file of the mirror, if it is what the manifest says; else it is fetched, and kept there."""
        local = self.local(path)
        if adler32 and (self._is_whole(local, size, adler32) or self._fetch(path, local, size, adler32)):
            yield local
            return
        with self.remote.localized(path, size, adler32) as copy:
            yield copy

    # names change

    def move(self, source: PurePath, destination: PurePath) -> None:
        """Rename a file in both."""
        self.remote.move(source, destination)

        def move() -> None:
            with suppress(FileNotFoundError):
                self.mirror.remove(self.local(destination))  # so that an old one does not stay if there is no new one
                self.mirror.move(self.local(source), self.local(destination))

        self._in_mirror(move)

    def remove(self, path: PurePath) -> None:
        """Remove a file from both; it may be gone already."""
        self.remote.remove(path)
        self._in_mirror(lambda: self.mirror.remove(self.local(path)))

    def make_folder(self, folder: PurePath) -> None:
        """Make a folder on the servers; the mirror makes its own when they are needed."""
        self.remote.make_folder(folder)

    def remove_folder(self, folder: PurePath) -> None:
        """Remove an empty folder from both; that of the mirror stays if there is something in it."""
        self.remote.remove_folder(folder)
        with suppress(OSError):
            self.mirror.remove_folder(self.local(folder))

    def lock(self, path: PurePath) -> Lock:
        """The lock on the servers."""
        return self.remote.lock(path)

    # the mirror

    def _in_mirror(self, change: Callable[[], None]) -> None:
        try:
            change()
        except (FileNotFoundError, NotADirectoryError) as error:
            if self.mirror.root.is_dir():
                return  # it lacks that file
            self._warn(error)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning(
                "store %s: the mirror %s cannot be used (%s): going on without what it lacks; free some space there, "
                "or correct 'mirror' in law.cfg",
                *(self.name, self.mirror.root, error.strerror or error),
            )

    def _write(self, path: PurePath, content: bytes) -> None:
        local = self.local(path)
        local.parent.mkdir(parents=True, exist_ok=True)
        self.mirror.write(local, content)

    def _keep(self, staged: Path, local: Path) -> None:
        if staged.parent == local.parent:
            staged.replace(local)
            return
        self.mirror.put(staged, local)

    def _is_whole(self, local: Path, size: int, adler32: str) -> bool:
        """Whether the mirror has that very file; its checksum is computed once per process."""
        try:
            status = local.stat()
            key = (local, status.st_ino, status.st_mtime_ns, status.st_size)
            if status.st_size == size and self._verified.get(key) != adler32.lower():
                if difference(local, size, adler32):
                    return False
                self._verified[key] = adler32.lower()
        except OSError as error:
            if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                self._warn(error)
            return False
        return status.st_size == size

    def _fetch(self, path: PurePath, local: Path, size: int, adler32: str) -> bool:
        """Bring a file to the mirror; ``False`` if the mirror cannot take it."""
        part = local.with_name(temporary_name(local.name))
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
            self.remote.fetch(path, size, adler32, part)
            part.replace(local)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            if isinstance(error, RemoteError) and error.errno not in _FULL:
                raise
            self._warn(error)
            return False
        return True
