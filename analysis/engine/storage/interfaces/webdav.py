"""WebDAV by httpx: what :mod:`analysis.engine.storage.interfaces.fs` uses for ``https://`` and ``davs://``.

Those of fsspec make folders above a file by requests of their own, and cut names at ``#``; the requests are few.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import functools
import importlib.util
import ssl
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urljoin
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
    CHUNK,
    IS_FILE,
    IS_FOLDER,
    IS_THERE,
    NOT_RENAMED,
    NOTHING_ABOVE,
    SILENT,
    Address,
    PerProcess,
    address_of,
    authorities,
    code_of_text,
    patience,
    plain,
    same_folder_error,
    save,
    told_as_denied,
)

if TYPE_CHECKING:
    import httpx

STATUS_CODES = {
    **{401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 410: errno.ENOENT, 409: errno.EEXIST},
    **{412: errno.EEXIST, 413: errno.EFBIG, 423: errno.EBUSY, 507: errno.ENOSPC, 405: errno.ENOTSUP},
    **{501: errno.ENOTSUP},
    **dict.fromkeys((408, 425, 429, 500, 502, 503, 504), errno.ECOMM),
}
"""HTTP status as ``errno``."""
COMPUTING, SLOWEST_SUM = 1.0, 50e6
"""A server that has told no checksum after this time [s], and that to read the file [bytes/s], is asked again."""
REDIRECTS = 5
"""Most redirections of a request."""

_DAV = "{DAV:}"
_PROPERTIES = (
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop>'
    b"<resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>"
)


class _Key(NamedTuple):
    """What a connection depends on."""

    proxy: str
    changed: int

    def __str__(self) -> str:
        return f"{self.changed} {self.proxy}"


class Webdav:
    """Requests to WebDAV servers; as :class:`analysis.engine.storage.base.Interface`.

    Args:
        timeout: of a request [s].
    """

    def __init__(self, timeout: int) -> None:
        self._timeout = timeout
        self._clients: PerProcess[httpx.Client] = PerProcess(functools.partial(_connect, timeout))
        weakref.finalize(self, _close, self._clients)

    @staticmethod
    def problem() -> str | None:
        """Why it cannot be used in this environment; ``None`` if it can."""
        return None if importlib.util.find_spec("httpx") else "httpx is missing: pip install httpx"

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
        return b"".join(self._content("read", url))

    def write(self, url: str, content: bytes) -> None:
        """Write a small file of that very name."""
        self._put("write", url, lambda: contextlib.nullcontext(content))

    def upload(self, source: Path, url: str) -> None:
        """Copy a local file to that very name."""
        size = source.stat().st_size
        self._put("upload", url, lambda: source.open("rb"), {"Content-Length": str(size)})

    def download(self, url: str, destination: Path) -> str:
        """Copy a file to a local path; its Adler-32."""
        with contextlib.closing(self._content("download", url)) as chunks:
            return save(chunks, destination)

    def rename(self, url: str, destination: str) -> None:
        """Give a file another name on the same server, at once; replaces a file of that name, but no full folder."""
        target = _address("rename", destination)
        if target.quoted != target.path:
            raise error_of(errno.EINVAL, "rename", destination, NOT_RENAMED)
        where = _http(target)
        try:
            self._send("rename", url, "MOVE", {"Destination": where, "Overwrite": "T"})
        except RemoteError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.ECOMM):
                raise same_folder_error("rename", destination, self.stat) or error from error
            raise

    def remove(self, url: str, look: bool = True) -> None:
        """Remove a file."""
        if look and self.stat(url).is_folder:  # WebDAV would remove it with all that is in it
            raise error_of(errno.EISDIR, "remove", url, IS_FOLDER)
        self._send("remove", url, "DELETE")

    def make_folder(self, url: str) -> None:
        """Make one folder. Of those who try at the same moment several may succeed, for the server tells them so."""
        with contextlib.suppress(NotFoundError):
            self.stat(url)
            raise error_of(errno.EEXIST, "make folder", url, IS_THERE)
        try:
            self._send("make folder", url, "MKCOL")
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
        self._send("remove folder", url, "DELETE")

    def checksum(self, url: str) -> str | None:
        """Adler-32 of a file as the server computes it; ``None`` if it cannot."""
        found = self.stat(url)
        if found.is_folder:
            raise error_of(errno.EISDIR, "checksum", url, IS_FOLDER)
        answer = self._digest(url, found.size)
        for digest in answer.headers.get("Digest", "").split(","):
            kind, _, value = digest.strip().partition("=")
            if kind.lower() == "adler32":
                return str(value).lower().rjust(8, "0")
        return None

    def _digest(self, url: str, size: int) -> httpx.Response:
        # A server that computes as many as it may answers half a minute later; who asks again is served. And XRootD 5
        # is not ready for more when it answers: the next request by that connection is lost, or gets the same answer.
        headers = {"Want-Digest": "adler32", "Connection": "close"}
        began, wait = time.monotonic(), COMPUTING + size / SLOWEST_SUM
        while True:
            left = patience(self._timeout, size) - (time.monotonic() - began)
            try:
                return self._send("checksum", url, "HEAD", headers, timeout=max(1.0, min(wait, left)))
            except OutageError as error:
                if error.errno != errno.ETIMEDOUT or left <= wait:
                    raise
            wait *= 2

    def _propfind(self, operation: str, url: str, depth: str) -> Sequence[Entry]:
        """What the URL is, and at depth 1 what is in it."""
        headers = {"Depth": depth, "Content-Type": "application/xml"}
        answer = self._send(operation, url, "PROPFIND", headers, lambda: contextlib.nullcontext(_PROPERTIES))
        try:
            return entries_of(answer.content, _address(operation, url).path)
        except (ElementTree.ParseError, ValueError) as error:
            raise error_of(
                errno.EHOSTUNREACH, operation, url, f"the answer is no whole listing: {plain(str(error))}"
            ) from error

    def _content(self, operation: str, url: str) -> Generator[bytes, None, None]:
        found = self.stat(url)
        if found.is_folder:  # servers send a page for it
            raise error_of(errno.EISDIR, operation, url, IS_FOLDER)
        deadline, size = time.monotonic() + patience(self._timeout, found.size), 0
        with self._request(operation, url, "GET") as answer, _as_outage(operation, url):
            for chunk in answer.iter_bytes(CHUNK):
                size += len(chunk)
                if time.monotonic() > deadline:
                    raise error_of(errno.ETIMEDOUT, operation, url, "the transfer is too slow")
                yield chunk
        if size != found.size:
            raise error_of(errno.EBADMSG, operation, url, f"{size} bytes came instead of {found.size}")

    def _put(
        self,
        operation: str,
        url: str,
        content: Callable[[], AbstractContextManager[Any]],
        headers: dict[str, str] | None = None,
    ) -> None:
        try:
            self._send(operation, url, "PUT", headers, content)
        except ExistsError as error:  # 409
            try:
                is_folder = self.stat(url).is_folder
            except NotFoundError:
                raise error_of(errno.ENOENT, operation, url, NOTHING_ABOVE) from error
            if is_folder:
                raise error_of(errno.EISDIR, operation, url, IS_FOLDER) from error
            raise

    def _send(
        self,
        operation: str,
        url: str,
        method: str,
        headers: dict[str, str] | None = None,
        content: Callable[[], AbstractContextManager[bytes | BinaryIO]] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        with self._request(operation, url, method, headers, content, timeout) as answer, _as_outage(operation, url):
            answer.read()
            return answer

    @contextlib.contextmanager
    def _request(
        self,
        operation: str,
        url: str,
        method: str,
        headers: dict[str, str] | None = None,
        content: Callable[[], AbstractContextManager[bytes | BinaryIO]] | None = None,
        timeout: float | None = None,
    ) -> Iterator[httpx.Response]:
        """Ask, and follow to other servers; they get no token of this one."""
        address = _address(operation, url)
        where, first = _http(address), _http(address)
        client = self._client(operation, url)
        for _ in range(REDIRECTS):
            with (content or contextlib.nullcontext)() as body:
                is_here = client.base_url.join(where).netloc == client.base_url.join(first).netloc
                authorization = self._authorization(operation, url) if is_here else {}
                request = client.build_request(
                    *(method, where),
                    headers={**(headers or {}), **authorization},
                    content=_chunked(body),
                    timeout=timeout or self._timeout,
                )
                with _as_outage(operation, url):
                    answer = client.send(request, stream=True)
            with contextlib.closing(answer):
                if answer.is_redirect:
                    where = urljoin(where, answer.headers["Location"])
                    continue
                if answer.is_error:
                    with _as_outage(operation, url):
                        answer.read()
                    raise _error(answer, operation, url)
                yield answer
                return
        raise error_of(errno.EHOSTUNREACH, operation, url, "too many redirections")

    def _client(self, operation: str, url: str) -> httpx.Client:
        from analysis.engine.storage.credentials import proxy_file

        with told_as_denied(operation, url):
            proxy = proxy_file()
        key = _Key(str(proxy), proxy.stat().st_mtime_ns) if proxy else _Key("", 0)
        return self._clients.get(str(key))

    def _authorization(self, operation: str, url: str) -> dict[str, str]:
        from analysis.engine.storage.credentials import bearer_token

        with told_as_denied(operation, url):
            token = bearer_token()
        return {"Authorization": f"Bearer {token!s}"} if token else {}


def _connect(timeout: int, key: str) -> httpx.Client:
    import httpx

    proxy = key.partition(" ")[2]
    folder = authorities()
    context = ssl.create_default_context(capath=str(folder) if folder else None)
    if proxy:
        context.load_cert_chain(proxy)
    return httpx.Client(verify=context, timeout=timeout, trust_env=False)


def _close(clients: PerProcess[httpx.Client]) -> None:
    for client in clients.mine():  # the connections of a parent are its own to close
        client.close()


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


def _address(operation: str, url: str) -> Address:
    return address_of(operation, url, "?%")


def _http(address: Address) -> str:
    scheme = {"davs": "https", "dav": "http"}.get(address.scheme, address.scheme)
    return f"{scheme}://{address.host}{address.quoted}"


def _chunked(body: Any) -> Any:
    return body if body is None or isinstance(body, bytes) else iter(lambda: body.read(CHUNK), b"")


@contextlib.contextmanager
def _as_outage(operation: str, url: str) -> Iterator[None]:
    """Within it, a request that was not answered is an outage."""
    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise error_of(errno.ETIMEDOUT, operation, url, SILENT) from error
    except httpx.TransportError as error:
        raise error_of(errno.EHOSTUNREACH, operation, url, plain(str(error) or type(error).__name__)) from error


def _error(answer: httpx.Response, operation: str, url: str) -> RemoteError:
    code = STATUS_CODES.get(answer.status_code, errno.EIO)
    text = answer.text if "html" not in answer.headers.get("Content-Type", "") else ""
    if answer.status_code == 500:
        code = code_of_text(text) or code
    return error_of(code, operation, url, f"http {answer.status_code}: {plain(text) or answer.reason_phrase.lower()}")
