"""fsspec: ``root://`` by fsspec-xrootd, ``s3://`` by s3fs, ``file://``; WebDAV by libcurl."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from analysis.engine.storage.base import (
    Entry,
    NotAFolderError,
    NotFoundError,
    RemoteError,
    error_of,
)
from analysis.engine.storage.closing import xrootd_client
from analysis.engine.storage.interfaces.common import (
    CHUNK,
    FORKS,
    HTTP,
    IS_FILE,
    IS_FOLDER,
    IS_THERE,
    TIMEOUT,
    Address,
    PerProcess,
    address_of,
    plain,
    same_folder_error,
    set_defaults,
)
from analysis.engine.storage.interfaces.saving import save
from analysis.engine.storage.interfaces.webdav import Webdav
from analysis.engine.storage.interfaces.xrootd import ANSWERED, error_of_codes

Answer = TypeVar("Answer")
_ROOT = frozenset({"root", "roots", "xroot", "xroots"})
_NUMBER = re.compile(r"\[(3\d{3})\]")
_CLIENT = {
    **{"operation expired": 206, "socket timeout": 103, "connection error": 108, "stream disconnect": 107},
    **{
        "auth failed": 204,
        "invalid arguments": 9,
        "operation not supported": 13,
        "data error": 14,
        "checksum error": 305,
    },
}
"""What the client of XRootD says, and its code, which fsspec-xrootd leaves out."""


class FsspecInterface:
    """fsspec, and libcurl for WebDAV.

    Args:
        timeout: of a request [s].
    """

    name: ClassVar[str] = "fsspec"
    schemes: ClassVar[frozenset[str]] = _ROOT | HTTP | {"s3", "file"}

    def __init__(self, timeout: int = TIMEOUT) -> None:
        set_defaults()
        self._webdav, self._systems = Webdav(timeout), _Systems(timeout)

    @classmethod
    def problem(cls) -> str | None:
        """Why it cannot be used in this environment; ``None`` if it can."""
        return None if importlib.util.find_spec("fsspec") else "fsspec is missing: pip install fsspec"

    @classmethod
    def problem_for(cls, scheme: str) -> str | None:
        """The same for URLs of a scheme."""
        if scheme in HTTP:
            return Webdav.problem()
        module, package = {"s3": ("s3fs", "s3fs"), "file": ("fsspec", "fsspec")}.get(
            scheme, ("fsspec_xrootd", "fsspec-xrootd")
        )
        if importlib.util.find_spec(module) is None:
            return f"{package} is missing: pip install {package}"
        return cls.problem()

    def stat(self, url: str) -> Entry:
        """What is there."""
        return self._of(url).stat(url)

    def list(self, url: str) -> list[Entry]:
        """All that is in a folder, by one request, whole or not at all."""
        return self._of(url).list(url)

    def read(self, url: str) -> bytes:
        """Content of a file."""
        return self._of(url).read(url)

    def write(self, url: str, content: bytes) -> None:
        """Write a small file of that very name."""
        self._of(url).write(url, content)

    def upload(self, source: Path, url: str) -> None:
        """Copy a local file to that very name."""
        self._of(url).upload(source, url)

    def download(self, url: str, destination: Path) -> str:
        """Copy a file to a local path; its Adler-32."""
        return self._of(url).download(url, destination)

    def rename(self, url: str, destination: str) -> None:
        """Give a file another name on the same server; replaces a file of that name, but no full folder."""
        self._of(url).rename(url, destination)

    def remove(self, url: str, look: bool = True) -> None:
        """Remove a file."""
        self._of(url).remove(url, look)

    def make_folder(self, url: str) -> None:
        """Make one folder. Of those who try at the same moment several may succeed where the server tells them so."""
        self._of(url).make_folder(url)

    def remove_folder(self, url: str) -> None:
        """Remove an empty folder."""
        self._of(url).remove_folder(url)

    def checksum(self, url: str, size: int | None = None) -> str | None:
        """Adler-32 of a file as the server computes it; ``None`` if it cannot."""
        found = self._of(url)
        return found.checksum(url, size) if isinstance(found, Webdav) else found.checksum(url)

    def _of(self, url: str) -> Webdav | _Systems:
        return self._webdav if url.partition("://")[0] in HTTP else self._systems


class _Systems:
    """File systems of fsspec, without their caches of listings and of themselves.

    Args:
        timeout: of a request [s].
    """

    def __init__(self, timeout: int) -> None:
        self._timeout = timeout
        self._clients: PerProcess[Any] = PerProcess(self._connect)

    def stat(self, url: str) -> Entry:
        found = self._ask("stat", url, lambda system, path: system.info(path))
        return _entry(_address("stat", url).name, found)

    def list(self, url: str) -> list[Entry]:
        try:
            found = self._ask("list", url, lambda system, path: system.ls(path, detail=True, refresh=True))
        except NotAFolderError as error:
            raise error_of(errno.ENOTDIR, "list", url, IS_FILE) from error
        address = _address("list", url)
        entries = [
            _entry(item["name"].rstrip("/").rpartition("/")[2], item)
            for item in found
            if item["name"].strip("/") != self._path(address).strip("/")
        ]
        if len(entries) < len(found) and not self.stat(url).is_folder:
            raise error_of(errno.ENOTDIR, "list", url, IS_FILE)
        return entries

    def read(self, url: str) -> bytes:
        return b"".join(self._content("read", url))

    def write(self, url: str, content: bytes) -> None:
        self._fill("write", url, lambda file: file.write(content))

    def upload(self, source: Path, url: str) -> None:
        def fill(file: Any) -> None:
            with source.open("rb") as local:
                while content := local.read(CHUNK):
                    file.write(content)

        self._fill("upload", url, fill)

    def download(self, url: str, destination: Path) -> str:
        with contextlib.closing(self._content("download", url)) as chunks:
            return save(chunks, destination)

    def rename(self, url: str, destination: str) -> None:
        target = self._path(_address("rename", destination))

        def move(system: Any, path: str) -> None:
            if url.startswith("file://"):
                Path(path).replace(target)  # fsspec would move it into a folder of that name
            elif url.startswith("s3://"):  # its move takes names for patterns
                if path != target:
                    system.cp_file(path, target)
                    system.rm_file(path)
            else:
                system.mv(path, target)

        try:
            self._ask("rename", url, move)
        except RemoteError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EIO):
                raise same_folder_error("rename", destination, self.stat) or error from error
            raise

    def remove(self, url: str, look: bool = True) -> None:
        if look and self.stat(url).is_folder:
            raise error_of(errno.EISDIR, "remove", url, IS_FOLDER)
        self._ask("remove", url, lambda system, path: system.rm_file(path))

    def make_folder(self, url: str) -> None:
        with contextlib.suppress(NotFoundError):
            self.stat(url)
            raise error_of(errno.EEXIST, "make folder", url, IS_THERE)

        def make(system: Any, path: str) -> None:
            if url.startswith("s3://"):  # it has no folders: an empty object that ends with a slash stands for one
                system.pipe_file(path + "/", b"", mode="create")
            elif url.startswith("file://"):
                Path(path).mkdir()
            else:
                system.mkdir(path, create_parents=False)

        self._ask("make folder", url, make)

    def remove_folder(self, url: str) -> None:
        if not url.startswith("file://") and self.list(url):
            raise error_of(errno.ENOTEMPTY, "remove folder", url, "directory not empty")
        is_s3 = url.startswith("s3://")
        self._ask(
            "remove folder", url, lambda system, path: system.rm_file(path + "/") if is_s3 else system.rmdir(path)
        )

    def checksum(self, url: str) -> str | None:
        if self.stat(url).is_folder:
            raise error_of(errno.EISDIR, "checksum", url, IS_FOLDER)
        if url.partition("://")[0] not in _ROOT:
            return None
        try:
            kind, value = self._ask("checksum", url, lambda system, path: system.checksum(path))
        except RemoteError as error:
            if error.errno == errno.ENOTSUP:
                return None
            raise
        return str(value).lower().rjust(8, "0") if kind == "adler32" else None

    def _content(self, operation: str, url: str) -> Generator[bytes, None, None]:
        found = self.stat(url)
        if found.is_folder:
            raise error_of(errno.EISDIR, operation, url, IS_FOLDER)
        size = 0
        with (
            _held(url),
            _as_remote(operation, url),
            self._client(url).open(self._path(_address(operation, url)), "rb") as file,
        ):
            while size < found.size and (chunk := file.read(CHUNK)):
                size += len(chunk)
                yield chunk
        if size != found.size:
            raise error_of(errno.EBADMSG, operation, url, f"{size} bytes came instead of {found.size}")

    def _fill(self, operation: str, url: str, fill: Callable[[Any], Any]) -> None:
        if url.startswith("s3://"):
            with contextlib.suppress(NotFoundError):
                if self.stat(url).is_folder:
                    raise error_of(errno.EISDIR, operation, url, IS_FOLDER)

        def write(system: Any, path: str) -> None:
            with system.open(path, "wb") as file:
                fill(file)

        self._ask(operation, url, write)

    def _ask(self, operation: str, url: str, question: Callable[[Any, str], Answer]) -> Answer:
        path = self._path(_address(operation, url))
        with _held(url), _as_remote(operation, url):
            return question(self._client(url), path)

    def _client(self, url: str) -> Any:
        address = _address("connect to", url)
        return self._clients.get(address.server if address.scheme in _ROOT else f"{address.scheme}://")

    def _path(self, address: Address) -> str:
        return f"{address.host}{address.path}".rstrip("/") if address.scheme == "s3" else address.path

    def _connect(self, server: str) -> Any:
        import fsspec

        scheme, _, host = server.partition("://")
        always = {"skip_instance_cache": True, "use_listings_cache": False}
        if scheme in _ROOT:
            xrootd_client()
            system = fsspec.get_filesystem_class("root")
            return system(hostid=host, timeout=self._timeout, locate_all_sources=False, **always)
        if scheme == "s3":
            limits = {"connect_timeout": self._timeout, "read_timeout": self._timeout, "retries": {"max_attempts": 0}}
            system = fsspec.filesystem("s3", config_kwargs=limits, **always)
            system.retries = 1
            return system
        return fsspec.filesystem(scheme, **always)


def _held(url: str) -> contextlib.AbstractContextManager[None]:
    return FORKS if url.partition("://")[0] in _ROOT else contextlib.nullcontext()


def _address(operation: str, url: str) -> Address:
    return address_of(operation, url, "" if url.startswith("file://") else "?")


def _entry(name: str, found: dict[str, Any]) -> Entry:
    is_folder = found["type"] == "directory"
    changed = found.get("mtime") or found.get("LastModified") or 0.0
    mtime = changed.timestamp() if hasattr(changed, "timestamp") else float(changed)
    return Entry(name, 0 if is_folder else int(found["size"]), is_folder, mtime)


@contextlib.contextmanager
def _as_remote(operation: str, url: str) -> Iterator[None]:
    """Within it, errors of the libraries are of ours."""
    try:
        yield
    except RemoteError:
        raise
    except OSError as error:
        if url.partition("://")[0] in _ROOT and error.errno is None:
            raise _of_xrootd(str(error), operation, url) from error
        code = _code(error)
        if code == errno.EIO and url.startswith("s3://"):  # s3fs says so if it does not know what happened
            code = errno.EHOSTUNREACH
        raise error_of(code, operation, url, plain(error.strerror or os.strerror(code))) from error
    except Exception as error:
        if not type(error).__module__.startswith(("botocore", "aiohttp", "fsspec")):
            raise
        code = errno.EACCES if "Credential" in type(error).__name__ else errno.EHOSTUNREACH
        raise error_of(code, operation, url, plain(str(error))) from error


def _code(error: OSError) -> int:
    by_class = {
        FileNotFoundError: errno.ENOENT,
        PermissionError: errno.EACCES,
        FileExistsError: errno.EEXIST,
        IsADirectoryError: errno.EISDIR,
        NotADirectoryError: errno.ENOTDIR,
        TimeoutError: errno.ETIMEDOUT,
        ConnectionError: errno.ECONNRESET,
    }
    return error.errno or next((code for kind, code in by_class.items() if isinstance(error, kind)), errno.EIO)


def _of_xrootd(text: str, operation: str, url: str) -> RemoteError:
    """The error of a text of fsspec-xrootd, which leaves out the codes of the client, but not those of the server."""
    if number := _NUMBER.search(text):
        return error_of_codes(ANSWERED, int(number[1]), text, operation, url)
    said = text.lower()
    code = next((code for words, code in _CLIENT.items() if words in said), 0)
    return error_of_codes(code, 0, text.partition("] ")[2] or text, operation, url)
