"""A server in memory, strict, and with faults on demand: a double for unit tests."""

from __future__ import annotations

import errno
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote, urlsplit

from analysis.engine.storage.base import (
    Entry,
    ExistsError,
    FolderError,
    Interface,
    NotAFolderError,
    NotFoundError,
    OutageError,
    RemoteError,
)
from analysis.engine.storage.endpoints import Endpoint, Endpoints
from analysis.engine.storage.mirrored import MirroredStore
from analysis.engine.storage.remote import RemoteStore
from analysis.engine.storage.retry import Clock, Patience

CONTENT = bytes(range(256)) * 10

Parts = tuple[str, ...]
T = TypeVar("T")


class Fault(Enum):
    """What goes wrong with one request."""

    NONE = auto()
    OUTAGE = auto()
    """Nothing is done, and no answer arrives."""
    LOST = auto()
    """All is done, and no answer arrives."""
    PARTIAL = auto()
    """Half of the content is there, and no answer arrives."""
    TRUNCATED = auto()
    """Half of the content is there, and the answer is that all is well."""
    FLIPPED = auto()
    """One byte is wrong, and the answer is that all is well."""
    FULL = auto()
    """Half of the content is there, and the answer is that the disk is full."""


class Time:
    """A clock that goes on only when somebody sleeps, or when a request takes its time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self, random: Callable[[], float] = lambda: 0.5) -> Clock:
        return Clock(lambda: self.now, self.sleep, random)


class Server:
    """A storage with one or more doors, each with a host name.

    Attributes:
        tree: content of files, ``None`` for folders, by path.
        faults: of the next requests.
        down: hosts that do not answer.
        latency: time that a request takes [s].
        requests: operation and path of all that were made.
        watch: called after each request.
    """

    def __init__(self) -> None:
        self.tree: dict[Parts, bytes | None] = {(): None, ("store",): None}
        self.faults: deque[Fault] = deque()
        self.down: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.hosts: list[str] = []
        self.has_checksums = True
        self.latency = 0.0
        self.time = Time()
        self.watch: Callable[[], None] = lambda: None
        self.active = self.most_active = 0
        self.meeting: threading.Barrier | None = None
        self._mutex = threading.RLock()

    def fail(self, *faults: Fault) -> None:
        self.faults.extend(faults)

    def operations(self) -> list[str]:
        """Those since the last question."""
        found = [operation for operation, _ in self.requests]
        self.requests.clear()
        return found

    def file(self, path: str) -> bytes | None:
        return self.tree.get(tuple(path.split("/")))

    def add(self, path: str, content: bytes | None = None) -> None:
        """A file, or a folder, with the folders above it."""
        parts = tuple(path.split("/"))
        for depth in range(1, len(parts)):
            self.tree.setdefault(parts[:depth], None)
        self.tree[parts] = content

    def unfinished(self) -> list[str]:
        return [path[-1] for path in self.tree if path and path[-1].endswith(".part")]


class FakeInterface(Interface):
    """Speaks to the server in memory."""

    name: ClassVar[str] = "fake"
    schemes: ClassVar[frozenset[str]] = frozenset({"root", "https"})

    def __init__(self, server: Server) -> None:
        self.server = server

    @classmethod
    def problem(cls) -> str | None:
        return None

    def stat(self, url: str) -> Entry:
        return self._request("stat", url, lambda path: self._entry(path, url, "stat"))

    def list(self, url: str) -> list[Entry]:
        def listed(path: Parts) -> list[Entry]:
            if not self._entry(path, url, "list").is_folder:
                raise _error(NotAFolderError, "list", url, "it is a file")
            inside = [other for other in self.server.tree if len(other) == len(path) + 1 and other[:-1] == path]
            return [self._entry(other, url, "list") for other in inside]

        return self._request("list", url, listed)

    def read(self, url: str) -> bytes:
        return self._request("read", url, lambda path: self._content(path, url, "read"))

    def write(self, url: str, content: bytes) -> None:
        self._request("write", url, lambda path: self._store(path, url, "write", content), content)

    def upload(self, source: Path, url: str) -> None:
        content = source.read_bytes()
        self._request("upload", url, lambda path: self._store(path, url, "upload", content), content)

    def download(self, url: str, destination: Path) -> str:
        content = self._request("download", url, lambda path: self._content(path, url, "download"))
        destination.write_bytes(content)
        return f"{zlib.adler32(content):08x}"

    def rename(self, url: str, destination: str) -> None:
        def rename(old: Parts) -> None:
            new = self._path(destination)
            content = self._content(old, url, "rename")
            self._store(new, destination, "rename", content)
            del self.server.tree[old]

        self._request("rename", url, rename)

    def remove(self, url: str, look: bool = True) -> None:  # noqa: ARG002
        def remove(path: Parts) -> None:
            self._content(path, url, "remove")
            del self.server.tree[path]

        self._request("remove", url, remove)

    def make_folder(self, url: str) -> None:
        def make(path: Parts) -> None:
            if path in self.server.tree:
                raise _error(ExistsError, "make folder", url, "it is there")
            self._folder_above(path, url, "make folder")
            self.server.tree[path] = None

        self._request("make folder", url, make)

    def remove_folder(self, url: str) -> None:
        def remove(path: Parts) -> None:
            if not self._entry(path, url, "remove folder").is_folder:
                raise _error(NotAFolderError, "remove folder", url, "it is a file")
            if any(other[: len(path)] == path and other != path for other in self.server.tree):
                raise _error(RemoteError, "remove folder", url, "it is not empty", errno.ENOTEMPTY)
            del self.server.tree[path]

        self._request("remove folder", url, remove)

    def checksum(self, url: str, size: int | None = None) -> str | None:  # noqa: ARG002
        def compute(path: Parts) -> str | None:
            content = self._content(path, url, "checksum")
            return f"{zlib.adler32(content):08x}" if self.server.has_checksums else None

        return self._request("checksum", url, compute)

    # how it works

    def _request(self, operation: str, url: str, work: Callable[[Parts], T], content: bytes | None = None) -> T:
        server, path = self.server, self._path(url)
        with server._mutex:
            server.active += 1
            server.most_active = max(server.active, server.most_active)
        try:
            if server.meeting is not None and operation in ("upload", "list"):
                server.meeting.wait(timeout=20)
            with server._mutex:
                host = urlsplit(url).netloc
                server.requests.append((operation, "/".join(path)))
                server.hosts.append(host)
                server.time.now += server.latency
                fault = server.faults.popleft() if server.faults else Fault.NONE
                fault = Fault.OUTAGE if host in server.down else fault
                try:
                    answer: T = self._do(fault, operation, url, path, work, content)
                finally:
                    server.watch()
                return answer
        finally:
            with server._mutex:
                server.active -= 1

    def _do(
        self, fault: Fault, operation: str, url: str, path: Parts, work: Callable[[Parts], Any], content: bytes | None
    ) -> Any:
        if fault is Fault.OUTAGE:
            raise _error(OutageError, operation, url, "connection refused")
        if content is not None and fault not in (Fault.NONE, Fault.LOST):
            wrong = self._spoiled(content) if fault is Fault.FLIPPED else content[: len(content) // 2]
            self._store(path, url, operation, wrong)
            if fault is Fault.FULL:
                raise _error(RemoteError, operation, url, "no space left on device", errno.ENOSPC)
            if fault is Fault.PARTIAL:
                raise _error(OutageError, operation, url, "connection reset")
            return None
        answer = work(path)
        if fault in (Fault.LOST, Fault.PARTIAL):
            raise _error(OutageError, operation, url, "connection reset")
        if isinstance(answer, bytes):
            if fault is Fault.FLIPPED:
                return self._spoiled(answer)
            if fault is Fault.TRUNCATED:
                return answer[: len(answer) // 2]
        return answer

    def _spoiled(self, content: bytes) -> bytes:
        """One byte is wrong, each time in another way."""
        position = len(content) // 2
        wrong = (content[position] + 1 + len(self.server.requests) % 200) % 256 if content else 0
        return content[:position] + bytes([wrong]) + content[position + 1 :]

    def _path(self, url: str) -> Parts:
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        assert scheme in self.schemes
        assert host
        if scheme == "root":
            assert path.startswith("/"), f"{url} needs two slashes after its host"
            path = path[1:]
        else:
            assert not set(path) & set(" #?"), f"{url} is not encoded"
            path = unquote(path)
        parts = tuple(path.split("/"))
        assert not {"", ".", ".."} & set(parts), url
        assert parts[0] == "store", f"{url} leads out of the store"
        return parts

    def _entry(self, path: Parts, url: str, operation: str) -> Entry:
        if path not in self.server.tree:
            raise _error(NotFoundError, operation, url, "no such file or directory")
        content = self.server.tree[path]
        return Entry(path[-1], len(content or b""), content is None, 0.0)

    def _content(self, path: Parts, url: str, operation: str) -> bytes:
        self._entry(path, url, operation)
        content = self.server.tree[path]
        if content is None:
            raise _error(FolderError, operation, url, "it is a folder")
        return content

    def _folder_above(self, path: Parts, url: str, operation: str) -> None:
        if path[:-1] not in self.server.tree:
            raise _error(NotFoundError, operation, url, "the folder is not there")
        if self.server.tree[path[:-1]] is not None:
            raise _error(NotAFolderError, operation, url, "it is in a file")

    def _store(self, path: Parts, url: str, operation: str, content: bytes) -> None:
        self._folder_above(path, url, operation)
        if path in self.server.tree and self.server.tree[path] is None:
            raise _error(FolderError, operation, url, "it is a folder")
        self.server.tree[path] = content


def _error(kind: type[RemoteError], operation: str, url: str, reason: str, code: int = 0) -> RemoteError:
    return kind(operation, url, reason, code)


def endpoints_of(
    server: Server, hosts: Iterable[str] = ("a",), patience: Patience | None = None, scheme: str = "root"
) -> Endpoints:
    """Doors of a server."""
    interface = FakeInterface(server)
    slashes = "//" if scheme == "root" else "/"
    doors = [Endpoint(f"{scheme}://{host}{slashes}store", lambda: interface) for host in hosts]
    return Endpoints("wlcg_fs", doors, patience or Patience(), server.time.clock())


def store_of(
    server: Server, hosts: Iterable[str] = ("a",), patience: Patience | None = None, **options: Any
) -> RemoteStore:
    """A store on a server."""
    scheme = options.pop("scheme", "root")
    return RemoteStore("wlcg_fs", endpoints_of(server, hosts, patience, scheme), **options)


def adler32(content: bytes) -> str:
    return f"{zlib.adler32(content):08x}"


def publish(store: RemoteStore | MirroredStore, name: str, content: bytes = CONTENT) -> Path:
    """Stage a file and publish it.

    Returns:
        Where it was staged.
    """
    final = store.root / name
    staged = store.staging(final)
    staged.write_bytes(content)
    store.publish(staged, final, len(content), adler32(content))
    assert not staged.exists()
    return staged
