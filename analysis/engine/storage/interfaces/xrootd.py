"""XRootD's own Python client, for ``root://`` and ``roots://``.

Transfers go through ``File``, never through ``CopyProcess``: after a copy in the parent, one in a forked child hangs,
and a small file takes ten times as long by it.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from analysis.engine.storage.base import (
    Entry,
    ExistsError,
    NotFoundError,
    OutageError,
    RemoteError,
    error_of,
)
from analysis.engine.storage.closing import xrootd_client
from analysis.engine.storage.interfaces.common import (
    FORKS,
    IS_FILE,
    IS_FOLDER,
    IS_THERE,
    SILENT,
    TIMEOUT,
    Address,
    PerProcess,
    address_of,
    ahead,
    code_of_text,
    patience,
    plain,
    same_folder_error,
    set_defaults,
)
from analysis.engine.storage.interfaces.saving import save

SERVER_CODES = {
    **{3000: errno.EINVAL, 3001: errno.EINVAL, 3002: errno.ENAMETOOLONG, 3003: errno.EBUSY, 3005: errno.EIO},
    **{3007: errno.EIO, 3008: errno.EAGAIN, 3009: errno.ENOSPC, 3010: errno.EACCES, 3011: errno.ENOENT},
    **{3012: errno.EAGAIN, 3013: errno.ENOTSUP, 3014: errno.EHOSTUNREACH, 3015: errno.EINVAL, 3016: errno.EISDIR},
    **{3017: errno.EAGAIN, 3018: errno.EEXIST, 3019: errno.EBADMSG, 3020: errno.EBUSY, 3021: errno.EDQUOT},
    **{3024: errno.EAGAIN, 3025: errno.EROFS, 3028: errno.EACCES, 3029: errno.EHOSTUNREACH, 3030: errno.EACCES},
    **{3034: errno.ETIMEDOUT, 3035: errno.ETIMEDOUT},
}
"""Errors of the protocol (``XErrorCode``) as ``errno`` values. Source: XProtocol.hh of XRootD 5 and 6."""
CLIENT_CODES = {
    **{9: errno.EINVAL, 13: errno.ENOTSUP, 14: errno.EBADMSG, 103: errno.ETIMEDOUT, 104: errno.ENOTCONN},
    **{107: errno.ECONNRESET, 108: errno.ECONNREFUSED, 203: errno.ECONNABORTED, 204: errno.EACCES},
    **{205: errno.ENOTSUP, 206: errno.ETIMEDOUT, 305: errno.EBADMSG, 307: errno.EBADMSG},
}
"""Errors of the client (``XrdCl::Status``); each other means that nothing was heard. Source: XrdClStatus.hh."""
ANSWERED = 400
"""Client's code of an error that the server sent."""
PARTIAL = 3
"""Code of an answer that some of the servers behind a redirector did not give."""
LATER = 29
"""A server that computes as many checksums as it may says "in 30 s": with less time than that [s], the client returns
at once, and can ask again soon."""
PIECE, PIECES = 4 * 2**20, 4
"""Length [bytes] of what is read by one request, and number of such requests on their way at the same time."""
AT_ONCE = 1000
"""Questions on their way at the same time."""


class XrootdInterface:
    """XRootD's Python client.

    Args:
        timeout: of a request [s].
    """

    name: ClassVar[str] = "xrootd"
    schemes: ClassVar[frozenset[str]] = frozenset({"root", "roots", "xroot", "xroots"})

    def __init__(self, timeout: int = TIMEOUT) -> None:
        set_defaults()  # before anything of XRootD is imported
        self._timeout = timeout
        self._systems: PerProcess[Any] = PerProcess(_file_system)

    @classmethod
    def problem(cls) -> str | None:
        """Why it cannot be used in this environment; ``None`` if it can."""
        if importlib.util.find_spec("XRootD") is None:
            return "XRootD's Python client is missing: pip install xrootd"
        return None

    @classmethod
    def problem_for(cls, scheme: str) -> str | None:  # noqa: ARG003
        """The same for URLs of a scheme."""
        return cls.problem()

    def stat(self, url: str) -> Entry:
        """What is there."""
        address, answer = self._ask("stat", url, lambda system, path: system.stat(path, timeout=self._timeout))
        return _entry(address.name, answer)

    def stats(self, urls: Sequence[str]) -> Sequence[Entry | RemoteError]:
        """What is there, for many: all questions are on their way at the same time.

        Returns:
            For each URL what is there, or the error.
        """
        with FORKS:
            return self._stats(urls)

    def _stats(self, urls: Sequence[str]) -> Sequence[Entry | RemoteError]:
        found: list[Entry | RemoteError | None] = [None] * len(urls)
        free, done = threading.Semaphore(AT_ONCE), threading.Semaphore(0)
        for index, url in enumerate(urls):
            try:
                address = address_of("stat", url, "?")
            except RemoteError as error:
                found[index] = error
                done.release()
                continue

            def answered(status: Any, answer: Any, _: Any, index: int = index, address: Address = address) -> None:
                error = _error(status, "stat", f"{address.server}/{address.path}")
                found[index] = error or _entry(address.name, answer)
                free.release()
                done.release()

            free.acquire()
            status = self._systems.get(address.server).stat(address.path, timeout=self._timeout, callback=answered)
            if not status.ok:  # never sent, so it is not called
                answered(status, None, None)
        deadline = time.monotonic() + 3 * self._timeout
        for _ in urls:
            done.acquire(timeout=max(0.0, deadline - time.monotonic()))
        return [one or OutageError("stat", url, SILENT) for url, one in zip(urls, found, strict=True)]

    def list(self, url: str) -> list[Entry]:
        """All that is in a folder, by one request, whole or not at all."""
        from XRootD.client.flags import DirListFlags

        try:
            _, answer = self._ask(
                "list", url, lambda system, path: system.dirlist(path, DirListFlags.STAT, timeout=self._timeout)
            )
        except NotFoundError:
            if not self.stat(url).is_folder:  # for a file the server says the same
                raise error_of(errno.ENOTDIR, "list", url, IS_FILE) from None
            raise
        unknown = [item.name for item in answer if item.statinfo is None]
        entries = [_entry(item.name, item.statinfo) for item in answer if item.statinfo is not None]
        for one in self.stats([f"{url.rstrip('/')}/{name}" for name in unknown]):
            if isinstance(one, Entry):
                entries.append(one)
            elif not isinstance(one, NotFoundError):  # it is gone since then
                raise one
        return entries

    def read(self, url: str) -> bytes:
        """Content of a file."""
        with self._content("read", url) as chunks:
            return b"".join(chunks)

    def write(self, url: str, content: bytes) -> None:
        """Write a small file of that very name."""
        with self._open("write", url, _flags("DELETE")) as file:
            if content:
                _check(self._do(file.write, content)[0], "write", url)

    def upload(self, source: Path, url: str) -> None:
        """Copy a local file to that very name; of a large one, several pieces are on their way at the same time."""
        size = source.stat().st_size
        deadline = time.monotonic() + patience(self._timeout, size)
        with source.open("rb") as local, self._open("upload", url, _flags("DELETE")) as file:

            def piece(begin: int) -> None:
                _in_time("upload", url, deadline)
                content = os.pread(local.fileno(), PIECE, begin)
                _check(self._do(file.write, content, begin, len(content))[0], "upload", url)

            if size <= PIECE:
                for begin in range(0, size, PIECE):
                    piece(begin)
                return
            with contextlib.closing(ahead(piece, range(0, size, PIECE), PIECES)) as pieces:
                for _ in pieces:
                    pass

    def download(self, url: str, destination: Path) -> str:
        """Copy a file to a local path; its Adler-32."""
        with self._content("download", url) as chunks:
            return save(chunks, destination)

    def rename(self, url: str, destination: str) -> None:
        """Give a file another name on the same server, at once; replaces a file of that name, but no full folder."""
        target = address_of("rename", destination, "?")
        try:
            self._ask("rename", url, lambda system, path: system.mv(path, target.path, timeout=self._timeout))
        except RemoteError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EIO):
                raise same_folder_error("rename", destination, self.stat) or error from error
            raise

    def remove(self, url: str, look: bool = True) -> None:
        """Remove a file."""
        if look and self.stat(url).is_folder:  # the server would remove an empty one
            raise error_of(errno.EISDIR, "remove", url, IS_FOLDER)
        self._ask("remove", url, lambda system, path: system.rm(path, timeout=self._timeout))

    def make_folder(self, url: str) -> None:
        """Make one folder. Of those who try at the same moment several may succeed, for the server tells them so."""
        with contextlib.suppress(NotFoundError):
            self.stat(url)
            raise error_of(errno.EEXIST, "make folder", url, IS_THERE)
        self._ask("make folder", url, lambda system, path: system.mkdir(path, timeout=self._timeout))

    def remove_folder(self, url: str) -> None:
        """Remove an empty folder; servers do not say that it was not there."""
        try:
            self._ask("remove folder", url, lambda system, path: system.rmdir(path, timeout=self._timeout))
        except RemoteError as error:
            if error.is_transient or error.errno in (errno.ENOTEMPTY, errno.ENOTDIR, errno.EACCES):
                raise
            if not self.stat(url).is_folder:
                raise error_of(errno.ENOTDIR, "remove folder", url, IS_FILE) from error
            if isinstance(error, ExistsError):  # as newer servers say it
                raise error_of(errno.ENOTEMPTY, "remove folder", url, "directory not empty") from error
            raise

    def checksum(self, url: str, size: int | None = None) -> str | None:  # noqa: ARG002
        """Adler-32 of a file as the server computes it; ``None`` if it cannot."""
        from XRootD.client.flags import QueryCode

        for form in ("", "?cks.type=adler32"):

            def question(system: Any, path: str, form: str = form) -> tuple[Any, Any]:
                return system.query(QueryCode.CHECKSUM, path + form, timeout=min(self._timeout, LATER))  # type: ignore[no-any-return]

            try:
                _, answer = self._ask("checksum", url, question)
            except RemoteError as error:
                if error.errno == errno.ENOTSUP:
                    return None
                raise
            kind, _, value = answer.decode().strip("\0 \n").partition(" ")
            if kind == "adler32":
                return str(value).strip().rjust(8, "0")
        return None

    def _ask(self, operation: str, url: str, question: Callable[[Any, str], tuple[Any, Any]]) -> tuple[Address, Any]:
        address = address_of(operation, url, "?")
        with FORKS:
            status, answer = question(self._systems.get(address.server), address.path)
        _check(status, operation, url)
        if status.code == PARTIAL:
            raise error_of(errno.EHOSTUNREACH, operation, url, "some of the servers did not answer")
        return address, answer

    def _do(self, request: Callable[..., Any], *arguments: Any) -> Any:
        """Send a request, during which no process is forked: XRootD may wait for ever then."""
        with FORKS:
            return request(*arguments, timeout=self._timeout)

    @contextlib.contextmanager
    def _open(self, operation: str, url: str, flags: int) -> Iterator[Any]:
        address = address_of(operation, url, "?")
        file = xrootd_client().File()
        _check(self._do(file.open, f"{address.server}/{address.path}", flags)[0], operation, url)
        try:
            yield file
        except BaseException:
            self._do(file.close)
            raise
        status = self._do(file.close)[0]
        if flags != _flags("READ"):  # all that was read is here, whatever a cache says of the end
            _check(status, operation, url)

    @contextlib.contextmanager
    def _content(self, operation: str, url: str) -> Iterator[Iterable[bytes]]:
        """All of a file, in order; of a large one, several pieces are on their way at the same time."""
        with self._open(operation, url, _flags("READ")) as file:
            status, found = self._do(file.stat)
            _check(status, operation, url)
            size = int(found.size)
            deadline = time.monotonic() + patience(self._timeout, size)

            def piece(begin: int) -> bytes:
                parts, offset, end = [], begin, min(begin + PIECE, size)
                while offset < end:
                    _in_time(operation, url, deadline)
                    status, content = self._do(file.read, offset, end - offset)
                    _check(status, operation, url)
                    if not content:
                        raise error_of(errno.EBADMSG, operation, url, f"{offset} bytes came instead of {size}")
                    parts.append(content)
                    offset += len(content)
                return b"".join(parts)  # of one part, that part

            if size <= PIECE:
                yield map(piece, range(0, size, PIECE))
                return
            with contextlib.closing(ahead(piece, range(0, size, PIECE), PIECES)) as pieces:
                yield pieces


def _file_system(server: str) -> Any:
    return xrootd_client().FileSystem(server)


def _flags(name: str) -> int:
    from XRootD.client.flags import OpenFlags

    return int(getattr(OpenFlags, name))


def _entry(name: str, found: Any) -> Entry:
    from XRootD.client.flags import StatInfoFlags

    is_folder = bool(found.flags & StatInfoFlags.IS_DIR)
    return Entry(name, 0 if is_folder else int(found.size), is_folder, float(found.modtime))


def _in_time(operation: str, url: str, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise error_of(errno.ETIMEDOUT, operation, url, "the transfer is too slow")


def _check(status: Any, operation: str, url: str) -> None:
    if error := _error(status, operation, url):
        raise error


def _error(status: Any, operation: str, url: str) -> RemoteError | None:
    return None if status.ok else error_of_codes(status.code, status.errno, status.message, operation, url)


def error_of_codes(code: int, number: int, text: str, operation: str, url: str) -> RemoteError:
    """The error of an answer of XRootD.

    Args:
        code: of the client.
        number: of the server; counts if the code is :data:`ANSWERED`.
        text: what is said.
        operation: what was asked.
        url: of what.

    Examples:
        >>> error_of_codes(400, 3005, "[ERROR] Unable to remove /a; directory not empty", "remove folder", "root://h//a")
        RemoteError(39, 'directory not empty')
        >>> error_of_codes(108, 0, "[FATAL] Connection error", "stat", "root://h//a")
        OutageError(111, 'connection error')
    """
    if code != ANSWERED:
        return error_of(CLIENT_CODES.get(code, errno.EHOSTUNREACH), operation, url, plain(text))
    found = SERVER_CODES.get(number, errno.EIO)
    if found == errno.EIO:  # one code for all that the protocol has none for
        found = code_of_text(text) or found
    return error_of(found, operation, url, plain(text))
