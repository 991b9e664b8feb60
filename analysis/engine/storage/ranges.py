"""Pieces of remote files: many of them in one request, by XRootD's client or HTTP.

XRootD has vector reads. HTTP has them only on paper (not all servers answer a request for several ranges, XRootD's own
does so with another content type): ranges are asked for at the same time, over a few connections that stay open.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from analysis.engine.storage.base import RemoteError, error_of
from analysis.engine.storage.closing import xrootd_client
from analysis.engine.storage.interfaces.common import authorities, plain, set_defaults, told_as_denied
from analysis.engine.storage.interfaces.xrootd import error_of_codes

if TYPE_CHECKING:
    import ssl

HEAD = 32 * 1024
"""What is fetched when a file is opened [bytes]: the header of a ROOT file and its first directory are in it."""
GAP = 32 * 1024
"""Ranges with less than this in between are fetched as one [bytes]."""

_MOST_RANGES, _LARGEST_RANGE = 1024, 2097136
"""Of a vector read, by the protocol."""
_LARGEST_REQUEST = 64 * 1024**2
_CONNECTIONS = 8

Range = tuple[int, int]
"""First byte, and one past the last."""


class RangeFile(Protocol):
    """An open file."""

    size: int

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """The content of ranges, which are inside of the file.

        Raises:
            RemoteError: if the server does not give all of it.
        """

    def close(self) -> None:
        """Give the connection back; never raises."""


class Merged(NamedTuple):
    """A range that is fetched, and the ranges in it that are wanted."""

    start: int
    stop: int
    wanted: tuple[Range, ...]


def merged(ranges: Sequence[Range], gap: int = GAP) -> list[Merged]:
    """Ranges to fetch, in order.

    Examples:
        >>> merged([(0, 10), (100, 200), (20, 30)], gap=10)
        [Merged(start=0, stop=30, wanted=((0, 10), (20, 30))), Merged(start=100, stop=200, wanted=((100, 200),))]
    """
    found: list[tuple[int, int, list[Range]]] = []
    for start, stop in sorted(ranges):
        if found and start - found[-1][1] <= gap:
            first, last, wanted = found[-1]
            found[-1] = first, max(last, stop), [*wanted, (start, stop)]
        else:
            found.append((start, stop, [(start, stop)]))
    return [Merged(start, stop, tuple(wanted)) for start, stop, wanted in found]


def open_ranges(url: str, timeout: int) -> RangeFile:
    """Open a remote file.

    Args:
        url: ``root://``, ``roots://``, ``http(s)://`` or ``dav(s)://``.
        timeout: after which a request counts as failed if nothing happens [s].

    Raises:
        RemoteError: if it cannot be opened.
    """
    scheme = url.partition("://")[0]
    if scheme.lower() in {"root", "roots", "xroot", "xroots"}:
        return RootFile(url, timeout)
    if scheme.lower() in {"http", "https", "dav", "davs"}:
        return HttpFile(url, timeout)
    raise error_of(errno.EPROTONOSUPPORT, "open", url, f"{scheme} is not read remotely: use root, https or davs")


class RootFile:
    """A file on an XRootD server."""

    def __init__(self, url: str, timeout: int) -> None:
        set_defaults()
        client = xrootd_client()
        self._url, self._timeout, self._file = url, timeout, client.File()
        status, _ = self._file.open(url, client.flags.OpenFlags.READ, timeout=timeout)
        self._check("open", status)
        status, info = self._file.stat(timeout=timeout)  # the server has told it already
        self._check("stat", status)
        self.size: int = info.size

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """Vector reads, as few as the protocol allows."""
        if len(ranges) == 1:
            (start, stop) = ranges[0]
            status, content = self._file.read(start, stop - start, timeout=self._timeout)
            self._check("read", status)
            return [_whole(self._url, bytes(content), stop - start)]
        pieces: list[bytes] = []
        for group in _groups(ranges):
            status, answer = self._file.vector_read(group, timeout=self._timeout)
            self._check("read", status)
            pieces += [_whole(self._url, bytes(part.buffer), length) for part, (_, length) in zip(answer.chunks, group)]  # noqa: B905
        parts = iter(pieces)
        return [b"".join(next(parts) for _ in _split(start, stop)) for start, stop in ranges]

    def close(self) -> None:
        """Close the file; the answer does not matter."""
        if self._file.is_open():
            self._file.close(timeout=self._timeout)

    def _check(self, operation: str, status: Any) -> None:
        if not status.ok:
            raise error_of_codes(status.code, status.errno, status.message, operation, self._url)


class HttpFile:
    """A file on a web server: of WebDAV, of XRootD, or any other that knows ranges."""

    def __init__(self, url: str, timeout: int) -> None:
        import aiohttp
        from fsspec.asyn import get_loop, sync

        scheme, _, rest = url.partition("://")
        self._url, self._address = url, f"{scheme.lower().replace('dav', 'http')}://{rest}"
        self._loop, self._sync = get_loop(), sync
        headers, context = ({}, True) if self._address.startswith("http:") else (_headers(url), _context(url))
        self._session: aiohttp.ClientSession = self._run(_session, timeout, headers, context)
        try:
            self._head, self.size = self._run(self._first)
        except BaseException:
            self.close()
            raise

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """Requests at the same time."""
        if len(ranges) == 1 and ranges[0][1] <= len(self._head):
            return [self._head[slice(*ranges[0])]]
        return [_whole(self._url, content, b - a) for content, (a, b) in zip(self._run(self._gather, ranges), ranges)]  # noqa: B905

    def close(self) -> None:
        """Close the connections."""
        self._sync(self._loop, self._session.close)

    def _run(self, coroutine: Callable[..., Any], *arguments: Any) -> Any:
        import aiohttp

        try:
            return self._sync(self._loop, coroutine, *arguments)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _http_error(self._url, error) from error

    async def _first(self) -> tuple[bytes, int]:
        import aiohttp

        try:
            return await self._get((0, HEAD))
        except aiohttp.ClientPayloadError:  # XRootD 5 announces more than there is if the file is smaller
            size = await self._size()
            if size >= HEAD:
                raise
        except aiohttp.ClientResponseError as error:  # XRootD 6 does not say here that the file is empty
            if error.status != 416 or (size := await self._size()) > 0:
                raise
        return await self._get((0, size)) if size else (b"", 0)

    async def _size(self) -> int:
        async with self._session.head(self._address, allow_redirects=True) as answer:
            answer.raise_for_status()
            if answer.content_length is None:
                reason = "the server does not give the size of a file: set reading to copy in section inputs of law.cfg"
                raise error_of(errno.EOPNOTSUPP, "read", self._url, reason)
            return int(answer.content_length)

    async def _gather(self, ranges: Sequence[Range]) -> list[bytes]:
        import asyncio

        tasks = [asyncio.ensure_future(self._get(one)) for one in ranges]
        try:
            return [content for content, _ in await asyncio.gather(*tasks)]
        finally:
            for task in tasks:
                task.cancel()

    async def _get(self, wanted: Range) -> tuple[bytes, int]:
        """Content of a range, and the size of the file."""
        start, stop = wanted
        async with self._session.get(self._address, headers={"Range": f"bytes={start}-{stop - 1}"}) as answer:
            size = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if answer.status == 416 and size == "0":
                return b"", 0
            answer.raise_for_status()
            if answer.status == 206 and size.isdecimal():
                return await answer.read(), int(size)
            if answer.status == 200 and start == 0 and (answer.content_length or stop) <= stop:
                content = await answer.read()
                return content, len(content)
        reason = "the server does not give parts of a file: set reading to copy in section inputs of law.cfg"
        raise error_of(errno.EOPNOTSUPP, "read", self._url, reason)


async def _session(timeout: int, headers: dict[str, str], context: ssl.SSLContext | bool) -> Any:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=context),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout),
        headers={"Accept-Encoding": "identity", **headers},
    )


def _headers(url: str) -> dict[str, str]:
    from analysis.engine.storage.credentials import bearer_token

    with told_as_denied("open", url):
        token = bearer_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _context(url: str) -> ssl.SSLContext:
    """Trust in the certificates of the grid and of the system; the user's proxy."""
    import ssl

    from analysis.engine.storage.credentials import proxy_file

    context = ssl.create_default_context()
    if (folder := authorities()) is not None:
        context.load_verify_locations(capath=folder)
    with told_as_denied("open", url):
        proxy = proxy_file()
    if proxy is not None:
        context.load_cert_chain(proxy)
    return context


def _whole(url: str, content: bytes, length: int) -> bytes:
    if len(content) != length:
        raise error_of(errno.ECONNABORTED, "read", url, f"{len(content)} of {length} bytes arrived")
    return content


def _split(start: int, stop: int) -> Iterator[Range]:
    """Offsets and lengths of the parts of a range."""
    bounds = [*range(start, stop, _LARGEST_RANGE), stop]
    yield from ((a, b - a) for a, b in pairwise(bounds))


def _groups(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    group: list[Range] = []
    size = 0
    for offset, length in (part for one in ranges for part in _split(*one)):
        if group and (len(group) == _MOST_RANGES or size + length > _LARGEST_REQUEST):
            yield group
            group, size = [], 0
        group.append((offset, length))
        size += length
    if group:
        yield group


_OF_HTTP = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 410: errno.ENOENT, 408: errno.ETIMEDOUT}


def _http_error(url: str, error: Exception) -> RemoteError:
    import aiohttp

    if isinstance(error, RemoteError):
        return error
    if isinstance(error, aiohttp.ClientResponseError):
        again = error.status == 429 or error.status >= 500
        code = _OF_HTTP.get(error.status, errno.EAGAIN if again else errno.EIO)
        return error_of(code, "read", url, f"http {error.status} {error.message}".strip().lower())
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = f"its certificate is not trusted ({error.certificate_error}): set X509_CERT_DIR or SSL_CERT_FILE"
        return error_of(errno.EPROTO, "open", url, reason)
    if isinstance(error, ValueError):
        return error_of(errno.EINVAL, "open", url, plain(str(error)))
    return error_of(errno.EHOSTUNREACH, "read", url, plain(str(error)) or type(error).__name__)
