"""A server that is a directory: it can be out of reach, and damage what it gets."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from analysis.engine.manifest import checksum
from analysis.engine.storage.base import (
    Entry,
    ExistsError,
    FolderError,
    NotAFolderError,
    NotFoundError,
    OutageError,
    error_of,
)
from analysis.engine.storage.endpoints import Endpoint, Endpoints
from analysis.engine.storage.remote import LocalCopies, RemoteStore
from analysis.engine.storage.retry import Patience

T = TypeVar("T")


class ToyServer:
    """An interface to a directory, for URLs ``toy://host/PATH``.

    Args:
        folder: the directory; it is there.
    """

    name: ClassVar[str] = "toy"
    schemes: ClassVar[frozenset[str]] = frozenset({"toy"})

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_down = False
        self.down_for: set[str] = set()
        """Requests that alone are not answered."""
        self.cuts = False
        """Whether it loses half of each file that it gets."""
        self.has_checksums = True
        self.asked: Counter[str] = Counter()

    @classmethod
    def problem(cls) -> str | None:
        return None

    def stat(self, url: str) -> Entry:
        return self._do("stat", url, self._entry)

    def list(self, url: str) -> list[Entry]:
        return self._do("list", url, lambda path: [self._entry(found) for found in path.iterdir()])

    def read(self, url: str) -> bytes:
        return self._do("read", url, Path.read_bytes)

    def write(self, url: str, content: bytes) -> None:
        self._do("write", url, lambda path: path.write_bytes(self._kept(content)))

    def upload(self, source: Path, url: str) -> None:
        self._do("upload", url, lambda path: path.write_bytes(self._kept(source.read_bytes())))

    def download(self, url: str, destination: Path) -> str:
        self._do("download", url, lambda path: shutil.copyfile(path, destination))
        return checksum(destination)

    def rename(self, url: str, destination: str) -> None:
        self._do("rename", url, lambda path: path.rename(self._path(destination)))

    def remove(self, url: str, look: bool = True) -> None:  # noqa: ARG002
        self._do("remove", url, Path.unlink)

    def make_folder(self, url: str) -> None:
        self._do("make folder", url, Path.mkdir)

    def remove_folder(self, url: str) -> None:
        self._do("remove folder", url, Path.rmdir)

    def rename_folder(self, url: str, destination: str) -> None:
        self._do("rename", url, lambda path: path.rename(self._path(destination)))

    def checksum(self, url: str, size: int | None = None) -> str | None:  # noqa: ARG002
        return self._do("checksum", url, lambda path: checksum(path) if self.has_checksums else None)

    def _kept(self, content: bytes) -> bytes:
        return content[: len(content) // 2] if self.cuts else content

    def _path(self, url: str) -> Path:
        return self.folder / url.removeprefix("toy://host").strip("/")

    def _entry(self, path: Path) -> Entry:
        status = path.stat()
        return Entry(path.name, 0 if path.is_dir() else status.st_size, path.is_dir(), float(int(status.st_mtime)))

    def _do(self, operation: str, url: str, request: Callable[[Path], T]) -> T:
        self.asked[operation] += 1
        if self.is_down or operation in self.down_for:
            raise OutageError(operation, url, "connection refused", errno.ECONNREFUSED)
        try:
            return request(self._path(url))
        except FileNotFoundError as error:
            raise NotFoundError(operation, url, "no such file") from error
        except FileExistsError as error:
            raise ExistsError(operation, url, "it exists") from error
        except IsADirectoryError as error:
            raise FolderError(operation, url, "it is a folder") from error
        except NotADirectoryError as error:
            raise NotAFolderError(operation, url, "it is no folder") from error
        except OSError as error:
            raise error_of(error.errno or 0, operation, url, "") from error


def toy_store(server: ToyServer, name: str = "toy", cache: LocalCopies | None = None) -> RemoteStore:
    """A store of one server, which is asked once."""
    endpoints = Endpoints(name, [Endpoint("toy://host", lambda: server)], Patience(0))
    return RemoteStore(name, endpoints, cache=cache)
