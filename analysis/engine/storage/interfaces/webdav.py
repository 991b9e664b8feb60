"""WebDAV: what :mod:`analysis.engine.storage.interfaces.fs` uses for ``https://`` and ``davs://``.

Those of fsspec make folders above a file by requests of their own, and cut names at ``#``; the requests are few.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from analysis.engine.storage.base import (
    Entry,
    ExistsError,
    NotFoundError,
    OutageError,
    RemoteError,
    error_of,
)
from analysis.engine.storage.interfaces.common import (
    IS_FILE,
    IS_FOLDER,
    IS_THERE,
    NOT_RENAMED,
    NOTHING_ABOVE,
    patience,
    plain,
    same_folder_error,
)
from analysis.engine.storage.interfaces.connections import Answer, Connections, Sent, Sink, address, http_of, in_memory
from analysis.engine.storage.interfaces.saving import Saving

COMPUTING, SLOWEST_SUM = 1.0, 50e6
"""A server that has told no checksum after this time [s], and that to read the file [bytes/s], is asked again."""

_DAV = "{DAV:}"
_PROPERTIES = (
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop>'
    b"<resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>"
)


class Webdav:
    """Requests to WebDAV servers; as :class:`analysis.engine.storage.base.Interface`.

    Args:
        timeout: of a request [s].
    """

    def __init__(self, timeout: int) -> None:
        self._timeout = timeout
        self._servers = Connections(timeout)

    @staticmethod
    def problem() -> str | None:
        """Why it cannot be used in this environment; ``None`` if it can."""
        return Connections.problem()

    def stat(self, url: str) -> Entry:
        """What is there."""
        return self._propfind("stat", url, "0")[0]

    def list(self, url: str) -> list[Entry]:
        """All that is in a folder, by one request, whole or not at all."""
        folder, *entries = self._propfind("list", url, "1")
        if not folder.is_folder:
            raise error_of(errno.ENOTDIR, "list", url, IS_FILE)
        return entries

    def read(self, url: str) -> bytes:
        """Content of a file."""
        chunks: list[bytes] = []
        self._get("read", url, chunks.append)
        return b"".join(chunks)

    def write(self, url: str, content: bytes) -> None:
        """Write a small file of that very name."""
        self._put("write", url, in_memory(content))

    def upload(self, source: Path, url: str) -> None:
        """Copy a local file to that very name."""
        with source.open("rb") as file:
            self._put("upload", url, Sent(file, source.stat().st_size))

    def download(self, url: str, destination: Path) -> str:
        """Copy a file to a local path; its Adler-32."""
        with Saving(destination) as saving:
            self._get("download", url, saving.take)
        return saving.adler32

    def rename(self, url: str, destination: str) -> None:
        """Give a file another name on the same server, at once; replaces a file of that name, but no full folder."""
        target = address("rename", destination)
        if target.quoted != target.path:
            raise error_of(errno.EINVAL, "rename", destination, NOT_RENAMED)
        where = http_of(target)
        try:
            self._servers.ask("rename", url, "MOVE", (f"Destination: {where}", "Overwrite: T"))
        except RemoteError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.ECOMM):
                raise same_folder_error("rename", destination, self.stat) or error from error
            raise

    def remove(self, url: str, look: bool = True) -> None:
        """Remove a file."""
        if look and self.stat(url).is_folder:  # WebDAV would remove it with all that is in it
            raise error_of(errno.EISDIR, "remove", url, IS_FOLDER)
        self._servers.ask("remove", url, "DELETE")

    def make_folder(self, url: str) -> None:
        """Make one folder. Of those who try at the same moment several may succeed, for the server tells them so."""
        with contextlib.suppress(NotFoundError):
            self.stat(url)
            raise error_of(errno.EEXIST, "make folder", url, IS_THERE)
        try:
            self._servers.ask("make folder", url, "MKCOL")
        except ExistsError as error:  # 409: there is no folder above it
            raise error_of(errno.ENOENT, "make folder", url, NOTHING_ABOVE) from error
        except RemoteError as error:
            if error.errno == errno.ENOTSUP:  # 405: somebody was faster
                raise error_of(errno.EEXIST, "make folder", url, IS_THERE) from error
            raise

    def remove_folder(self, url: str) -> None:
        """Remove an empty folder."""
        if self.list(url):
            raise error_of(errno.ENOTEMPTY, "remove folder", url, "directory not empty")
        self._servers.ask("remove folder", url, "DELETE")

    def checksum(self, url: str, size: int | None = None) -> str | None:
        """Adler-32 of a file as the server computes it; ``None`` if it cannot."""
        expected = self._size("checksum", url) if size is None else size
        try:
            answer = self._digest(url, expected)
        except ExistsError:  # 409
            self._size("checksum", url)
            raise
        for digest in answer.header("Digest").split(","):
            kind, _, value = digest.strip().partition("=")
            if kind.lower() == "adler32":
                return value.lower().rjust(8, "0")
        if size is not None:
            self._size("checksum", url)  # a folder has none
        return None

    def _digest(self, url: str, size: int) -> Answer:
        # a server that computes as many as it may answers half a minute later; who asks again is served
        began, wait = time.monotonic(), COMPUTING + size / SLOWEST_SUM
        while True:
            left = patience(self._timeout, size) - (time.monotonic() - began)
            limit = max(1.0, min(wait, left))
            try:
                return self._servers.ask("checksum", url, "HEAD", ("Want-Digest: adler32",), timeout=limit, waits=True)
            except OutageError as error:
                if error.errno != errno.ETIMEDOUT or left <= wait:
                    raise
            wait *= 2

    def _size(self, operation: str, url: str) -> int:
        found = self.stat(url)
        if found.is_folder:
            raise error_of(errno.EISDIR, operation, url, IS_FOLDER)
        return found.size

    def _propfind(self, operation: str, url: str, depth: str) -> Sequence[Entry]:
        """What the URL is, and at depth 1 what is in it."""
        headers = (f"Depth: {depth}", "Content-Type: application/xml")
        answer = self._servers.ask(operation, url, "PROPFIND", headers, content=_PROPERTIES)
        try:
            return entries_of(answer.content, address(operation, url).path)
        except (ElementTree.ParseError, ValueError) as error:
            raise error_of(
                errno.EHOSTUNREACH, operation, url, f"the answer is no whole listing: {plain(str(error))}"
            ) from error

    def _get(self, operation: str, url: str, sink: Sink) -> None:
        expected, size = self._size(operation, url), 0  # of a folder, servers send a page

        def take(chunk: bytes) -> None:
            nonlocal size
            size += len(chunk)
            sink(chunk)

        self._servers.ask(operation, url, "GET", sink=take, timeout=patience(self._timeout, expected))
        if size != expected:
            raise error_of(errno.EBADMSG, operation, url, f"{size} bytes came instead of {expected}")

    def _put(self, operation: str, url: str, sent: Sent) -> None:
        try:
            self._servers.put(operation, url, sent)
        except ExistsError as error:  # 409
            try:
                self._size(operation, url)
            except NotFoundError:
                raise error_of(errno.ENOENT, operation, url, NOTHING_ABOVE) from error
            raise


def entries_of(answer: bytes, path: str) -> list[Entry]:
    """What a server says of a path, and of what is in it.

    Args:
        answer: XML of ``multistatus``.
        path: that was asked for.

    Returns:
        The path itself, then what is in it.

    Raises:
        ValueError: if the path itself is not in it, or something has no properties.
    """
    itself, inside = None, []
    for response in ElementTree.fromstring(answer).iter(f"{_DAV}response"):
        where = unquote(_path(response.findtext(f"{_DAV}href", "").strip())).rstrip("/")
        entry = _entry(response, where.rpartition("/")[2])
        if where == path.rstrip("/"):
            itself = entry
        else:
            inside.append(entry)
    if itself is None:
        msg = "it does not tell of what was asked for"
        raise ValueError(msg)
    return [itself, *inside]


def _entry(response: ElementTree.Element, name: str) -> Entry:
    for status in response.iter(f"{_DAV}propstat"):
        found = status.find(f"{_DAV}prop")
        if found is None or " 200 " not in status.findtext(f"{_DAV}status", "") + " ":
            continue
        is_folder = found.find(f"{_DAV}resourcetype/{_DAV}collection") is not None
        size, changed = found.findtext(f"{_DAV}getcontentlength"), found.findtext(f"{_DAV}getlastmodified")
        if size is None and not is_folder:
            break
        mtime = email.utils.parsedate_to_datetime(changed).timestamp() if changed else 0.0
        return Entry(name, 0 if is_folder else int(size or 0), is_folder, mtime)
    msg = f"{name} has no size"
    raise ValueError(msg)


def _path(reference: str) -> str:
    """The path of a reference, which may begin with a server; ``#`` is part of a name."""
    return "/" + reference.partition("://")[2].partition("/")[2] if "://" in reference else reference
