"""A store on servers."""

from __future__ import annotations

import functools
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol, TypeVar

from analysis.engine.concurrent import concurrently
from analysis.engine.manifest import checksum as adler32_of
from analysis.engine.storage import placing
from analysis.engine.storage.addresses import file_parts, parts_of, root_of
from analysis.engine.storage.base import (
    DamageError,
    Entry,
    FolderError,
    NotAFolderError,
    NotFoundError,
)
from analysis.engine.storage.interfaces.common import PerProcess
from analysis.engine.storage.placing import Content, Verifier
from analysis.engine.storage.scratch import Scratch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from analysis.engine.storage.base import Lock
    from analysis.engine.storage.endpoints import Endpoint, Endpoints

T = TypeVar("T")
_RENAME, _MAKE = "rename", "make folder"


class LocalCopies(Protocol):
    """A cache; see :class:`analysis.engine.storage.cache.Cache`."""

    def open(self, key: str, size: int, adler32: str, fetch: Callable[[Path], None]) -> AbstractContextManager[Path]:
        """A verified copy, there until the end of the block."""


class DamagedCopyError(DamageError):
    """What is read is not what was written."""

    advice = "run again; if it happens again, remove that file with 'analysis rm', and it is made again"


class RemoteStore:
    """A tree of files on servers; see :class:`~analysis.engine.storage.base.Store`.

    One request per question, three per file that is written, one per file that is read. It may be used by several
    threads, and after a fork.

    Args:
        name: as in the configuration.
        endpoints: its servers.
        qos: label of the quality of service.
        checksum: whether the server is asked for checksums of what it got: ``auto``, ``require`` or ``off``.
        connections: most requests at the same time.
        cache: local copies of what is read.
    """

    kind = "wlcg"

    def __init__(
        self,
        name: str,
        endpoints: Endpoints,
        qos: str = "",
        checksum: str = "auto",
        connections: int = 16,
        cache: LocalCopies | None = None,
    ) -> None:
        self.name, self.endpoints, self.qos, self.connections, self.cache = name, endpoints, qos, connections, cache
        self.root = root_of(name)
        self._verifier = Verifier(name, checksum)
        self._scratch: PerProcess[Scratch] = PerProcess(lambda _: Scratch())

    # what is there

    def sizes(self, folder: PurePath) -> dict[str, int]:
        """Names and sizes [bytes] of the files of a folder, from one complete listing; empty if it does not exist."""
        return {entry.name: entry.size for entry in self.entries(folder) if not entry.is_folder}

    def entries(self, folder: PurePath) -> list[Entry]:
        """All that is in a folder; empty if the server says that it does not exist."""
        parts = parts_of(folder, self.root)
        try:
            return self._ask(lambda endpoint: endpoint.interface().list(endpoint.url(parts)))
        except NotFoundError:
            return []

    def names(self, folder: PurePath) -> list[str]:
        """Names of all that is in a folder; empty if it does not exist."""
        return [entry.name for entry in self.entries(folder)]

    def walk(self, folder: PurePath) -> Iterator[tuple[PurePath, Sequence[Entry]]]:
        """All folders below one, it first, level by level; those of one level are listed at the same time."""
        level = [folder]
        while level:
            listed = concurrently(self.entries, level, self.connections)
            found = [(above, sorted(entries)) for above, entries in zip(level, listed, strict=True)]
            yield from found
            level = [above / entry.name for above, entries in found for entry in entries if entry.is_folder]

    def stat(self, path: PurePath) -> Entry:
        """What is there.

        Raises:
            NotFoundError: if the server says that nothing is.
        """
        parts = parts_of(path, self.root)
        return self._ask(lambda endpoint: endpoint.interface().stat(endpoint.url(parts)))

    def checksum(self, path: PurePath) -> str | None:
        """Adler-32 of a file as the server computes it; ``None`` if it cannot."""
        parts = file_parts(path, self.root)
        return self._ask(lambda endpoint: endpoint.interface().checksum(endpoint.url(parts)))

    def read(self, path: PurePath) -> bytes:
        """Content of a file."""
        parts = file_parts(path, self.root)
        return self._ask(lambda endpoint: endpoint.interface().read(endpoint.url(parts)))

    def url(self, path: PurePath) -> str:
        """URL of a file at an endpoint that works."""
        return self.endpoints.choose().url(parts_of(path, self.root))

    # files come

    def write(self, path: PurePath, content: bytes) -> None:
        """Write a small file: temporary name, comparison, rename."""

        def send(endpoint: Endpoint, url: str) -> None:
            endpoint.interface().write(url, content)

        adler32 = f"{zlib.adler32(content):08x}"
        self._place(path, Content(len(content), adler32, send, content))

    def staging(self, final: PurePath) -> Path:
        """Local path at which an output is written: in the directory for temporary files (``TMPDIR``)."""
        file_parts(final, self.root)
        return self._scratch.get().place(final)

    def publish(self, staged: Path, final: PurePath, size: int, adler32: str) -> None:
        """Upload to a temporary name, compare with the checksum of the server, rename; the staged file is gone then."""
        self.upload(staged, final, size, adler32)
        self.discard(staged)

    def publish_many(self, outputs: Sequence[tuple[Path, PurePath, int, str]]) -> None:
        """The same for several outputs at the same time."""
        concurrently(lambda output: self.publish(*output), outputs, self.connections)

    def upload(self, source: Path, final: PurePath, size: int, adler32: str) -> None:
        """The same for a file that stays where it is."""

        def send(endpoint: Endpoint, url: str) -> None:
            endpoint.interface().upload(source, url)

        source.stat()  # that it is not here is not to be mistaken for a folder that is not there
        self._place(final, Content(size, adler32.lower(), send))

    def write_plain(self, path: PurePath, content: bytes) -> None:
        """Write a file of that very name, without a temporary one, and make its folder if needed: for locks only."""
        parts, session = file_parts(path, self.root), self.endpoints.session()

        def send() -> None:
            session.ask(lambda endpoint: endpoint.interface().write(endpoint.url(parts), content))

        placing.in_folder(session, parts[:-1], send)

    def discard(self, staged: Path) -> None:
        """Remove an output that was staged, and the directory that was made for it."""
        self._scratch.get().discard(staged)

    # files go out

    @contextmanager
    def localized(self, path: PurePath, size: int, adler32: str) -> Iterator[Path]:
        """A verified local copy: from the cache, if there is one and the checksum is known."""
        fetch = functools.partial(self.fetch, path, size, adler32)
        if self.cache is not None and adler32:
            with self.cache.open(str(path), size, adler32.lower(), fetch) as copy:
                yield copy
            return
        with tempfile.TemporaryDirectory(prefix=f"analysis-{os.getpid()}-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder) / path.name
            fetch(copy)
            yield copy

    def fetch(self, path: PurePath, size: int, adler32: str, destination: Path) -> None:
        """Download a file and verify it; from another endpoint if that fails.

        Args:
            path: its address.
            size: what it is to have [bytes].
            adler32: what it is to have; empty if it is not known.
            destination: local path; there is nothing there if this fails.

        Raises:
            DamagedCopyError: if what arrives is something else, twice.
            RemoteError: if the server does not give it.
        """
        parts, session = file_parts(path, self.root), self.endpoints.session()
        whole, problem = False, ""
        try:
            for _ in range(2):
                try:
                    arrived = session.ask(
                        lambda endpoint: endpoint.interface().download(endpoint.url(parts), destination)
                    )
                    problem = difference(destination, size, adler32, arrived)
                except DamageError as error:
                    problem = error.reason
                if not problem:
                    whole = True
                    return
                url = session.endpoint.url(parts)
                session.leave()
            operation = "download"
            raise DamagedCopyError(operation, url, problem)
        finally:
            if not whole:
                destination.unlink(missing_ok=True)

    # names change

    def move(self, source: PurePath, destination: PurePath) -> None:
        """Rename a file, replacing what has that name; makes the folder if needed."""
        old, new = file_parts(source, self.root), file_parts(destination, self.root)
        session = self.endpoints.session()

        def stat(parts: tuple[str, ...]) -> Entry:
            return session.ask(lambda endpoint: endpoint.interface().stat(endpoint.url(parts)))

        moved = stat(old)
        if moved.is_folder:
            msg = "it is a folder, and only files are moved"
            raise FolderError(_RENAME, session.endpoint.url(old), msg)

        def problem() -> str | None:
            size = stat(new).size
            return None if size == moved.size else f"there are {size} bytes instead of {moved.size}"

        placing.rename(session, old, new, problem)

    def remove(self, path: PurePath, look: bool = True) -> None:
        """Remove a file; it may be gone already. Without ``look``, its name is one that no folder has."""
        parts = file_parts(path, self.root)
        try:
            self._ask(lambda endpoint: endpoint.interface().remove(endpoint.url(parts), look))
        except NotFoundError:
            return

    def make_folder(self, folder: PurePath) -> None:
        """Make a folder with all above it; it may be there already."""
        parts, session = parts_of(folder, self.root), self.endpoints.session()
        if not placing.make_folders(session, parts):
            found = session.ask(lambda endpoint: endpoint.interface().stat(endpoint.url(parts)))
            if not found.is_folder:
                msg = "there is a file of that name"
                raise NotAFolderError(_MAKE, session.endpoint.url(parts), msg)

    def rename_folder(self, folder: PurePath, destination: PurePath) -> None:
        """Give a folder another name, at once; an empty one of that name may be replaced.

        Raises:
            RemoteError: if it cannot be done, or was done by a request whose answer was lost: then ``NotFoundError``.
        """
        old, new = file_parts(folder, self.root), file_parts(destination, self.root)
        self._ask(lambda endpoint: endpoint.interface().rename(endpoint.url(old), endpoint.url(new)))

    def remove_folder(self, folder: PurePath) -> None:
        """Remove an empty folder; it may be gone already. Never the root."""
        parts = file_parts(folder, self.root)
        try:
            self._ask(lambda endpoint: endpoint.interface().remove_folder(endpoint.url(parts)))
        except NotFoundError:
            return

    def lock(self, path: PurePath) -> Lock:
        """The lock of that name; an object store has none."""
        from analysis.engine.storage.locks import NoLock, RemoteLock

        file_parts(path, self.root)
        has_folders = not self.endpoints.all[0].base.startswith("s3://")
        return RemoteLock(self, path) if has_folders else NoLock(self.name, path)

    def _ask(self, request: Callable[[Endpoint], T]) -> T:
        return self.endpoints.session().ask(request)

    def _place(self, path: PurePath, content: Content) -> None:
        placing.place(self.endpoints, file_parts(path, self.root), content, self._verifier)


def difference(path: Path, size: int, adler32: str, arrived: str = "") -> str:
    """How a local file differs from what it is to be; empty if it does not.

    Args:
        path: the file.
        size: [bytes].
        adler32: eight hexadecimal digits; empty if it is not known.
        arrived: the checksum that it has, if that is known already.

    Raises:
        OSError: if it cannot be read.
    """
    found = path.stat().st_size
    if found != size:
        return f"{found} bytes arrived instead of {size}"
    if adler32 and (arrived := arrived or adler32_of(path)) != adler32.lower():
        return f"what arrived has the checksum {arrived} instead of {adler32.lower()}"
    return ""
