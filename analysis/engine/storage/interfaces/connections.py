"""Requests to HTTP servers by libcurl: connections that are kept, credentials, redirections, and what errors mean.

Of the clients of HTTP that Python has it takes least time per request; it follows a server that sends an upload
elsewhere before it sends the content, and a token goes to no other server.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import io
import os
import re
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple, ParamSpec, TypeVar

from analysis.engine.storage.base import RemoteError, error_of
from analysis.engine.storage.interfaces.common import (
    SILENT,
    Address,
    address_of,
    authorities,
    code_of_text,
    code_of_tls,
    patience,
    plain,
    told_as_denied,
)

if TYPE_CHECKING:
    from pycurl import Curl

STATUS_CODES = {
    **{401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 410: errno.ENOENT, 409: errno.EEXIST},
    **{412: errno.EEXIST, 413: errno.EFBIG, 423: errno.EBUSY, 507: errno.ENOSPC, 405: errno.ENOTSUP},
    **{501: errno.ENOTSUP},
    **dict.fromkeys((408, 425, 429, 500, 502, 503, 504), errno.ECOMM),
}
"""HTTP status as ``errno``."""
REDIRECTS = 5
"""Most redirections of a request."""

_BUFFER = 2**19  # [bytes] of large transfers; it is new memory for each request
_BEARER = 1 << 6  # CURLAUTH_BEARER of curl/curl.h, for which pycurl has no name
_AFTER = re.compile(r"(?i) after \d+ ms(: | )?")

Sink = Callable[[bytes], object]
"""Takes what arrives."""
P = ParamSpec("P")
R = TypeVar("R")


class Sent(NamedTuple):
    """What goes with a request.

    Args:
        file: opened for reading, at its begin.
        size: of it [bytes].
    """

    file: BinaryIO
    size: int


class Answer:
    """What a server says.

    Args:
        sink: takes the content, if it is that of success; else it is kept.

    Attributes:
        failure: what went wrong on this side, which libcurl does not let through.
    """

    def __init__(self, sink: Sink | None = None) -> None:
        self.failure: Exception | None = None
        self._sink, self._lines, self._content = sink, list[bytes](), list[bytes]()

    @property
    def status(self) -> int:
        """Of HTTP."""
        return int(self._lines[0].split(None, 2)[1]) if self._lines else 0

    @property
    def reason(self) -> str:
        """What the first line says of it."""
        return b" ".join(self._lines[0].split(None, 2)[2:]).decode(errors="replace").strip()

    @property
    def content(self) -> bytes:
        """All that is kept."""
        return b"".join(self._content)

    def header(self, name: str) -> str:
        """Value of a header; of several, the last; empty if there is none."""
        for line in reversed(self._lines):
            found, _, value = line.partition(b":")
            if found.lower() == name.lower().encode():
                return value.decode(errors="replace").strip()
        return ""

    def guarded(self, function: Callable[P, R], aborts: R) -> Callable[P, R]:
        """A function that libcurl may call.

        Args:
            function: what it does.
            aborts: what ends the request, if it fails.
        """

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                self.failure = error
                return aborts

        return call

    def take_header(self, line: bytes) -> None:
        """A line; the first of an answer says what it is, and there are several answers if the first is no last one."""
        if line.startswith(b"HTTP/"):
            self._lines.clear()
        self._lines.append(line)

    def take_content(self, chunk: bytes) -> int:
        """Some of the content.

        Returns:
            How much of it was taken.
        """
        if self._sink is not None and 200 <= self.status < 300:
            self._sink(chunk)
        else:
            self._content.append(chunk)
        return len(chunk)


class Connections:
    """Requests to HTTP servers; by any number of threads, and in a process that is forked.

    Args:
        timeout: of a request [s].
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._handles = _Handles()
        self._software: dict[str, str] = {}

    @staticmethod
    def problem() -> str | None:
        """Why they cannot be had in this environment; ``None`` if they can."""
        return None if importlib.util.find_spec("pycurl") else "pycurl is missing: pip install pycurl"

    def ask(
        self,
        operation: str,
        url: str,
        method: str,
        headers: Sequence[str] = (),
        *,
        content: bytes = b"",
        sink: Sink | None = None,
        timeout: float | None = None,
        waits: bool = False,
    ) -> Answer:
        """Ask, and read the answer.

        Args:
            operation: for the error.
            url: of what.
            method: of HTTP.
            headers: of the request, such as ``Depth: 0``.
            content: of the request.
            sink: takes the content of the answer.
            timeout: of this request [s].
            waits: whether the server has to compute something before it answers. XRootD before 5.9.2 is not ready for
                more when it answers that (its issue 2602): the next request by that connection is lost, or gets the
                same answer. So it is closed, unless the server is known to be something else.

        Raises:
            RemoteError: for any answer but success.
            OutageError: if there is none.
        """
        import pycurl

        where = address(operation, url)
        fragile = waits and self._software.get(where.host, "XrootD/").startswith("XrootD/")  # XRootD 6 has no slash

        def ask(curl: Curl, _: Answer) -> None:
            if method == "HEAD":
                curl.setopt(pycurl.NOBODY, 1)
            elif method != "GET":
                curl.setopt(pycurl.CUSTOMREQUEST, method)
            if content:
                curl.setopt(pycurl.POSTFIELDS, content)
            if sink is not None:
                curl.setopt(pycurl.BUFFERSIZE, _BUFFER)
            if waits:
                curl.setopt(pycurl.LOW_SPEED_TIME, 0)
            if fragile:
                curl.setopt(pycurl.FORBID_REUSE, 1)
            curl.setopt(pycurl.HTTPHEADER, [*headers, "Connection: close"] if fragile else list(headers))

        return self._perform(operation, url, where, ask, sink, timeout or self._timeout)

    def put(self, operation: str, url: str, sent: Sent) -> None:
        """Send a file.

        Raises:
            RemoteError: for any answer but success.
            OutageError: if there is none.
        """
        import pycurl

        def seek(offset: int, origin: int) -> int:
            sent.file.seek(offset, origin)
            return 0

        def ask(curl: Curl, answer: Answer) -> None:
            read: Callable[[int], bytes | int] = sent.file.read
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.INFILESIZE_LARGE, sent.size)
            curl.setopt(pycurl.READFUNCTION, answer.guarded(read, pycurl.READFUNC_ABORT))
            curl.setopt(pycurl.SEEKFUNCTION, seek)  # a server may send us to another one
            if sent.size > _BUFFER:
                curl.setopt(pycurl.UPLOAD_BUFFERSIZE, _BUFFER)

        where = address(operation, url)
        self._perform(operation, url, where, ask, None, patience(self._timeout, sent.size))

    def _perform(
        self,
        operation: str,
        url: str,
        where: Address,
        ask: Callable[[Curl, Answer], None],
        sink: Sink | None,
        timeout: float,
    ) -> Answer:
        answer = Answer(sink)
        with self._handle(operation, url) as curl, _as_outage(operation, url, curl, answer):
            curl.setopt(curl.URL, http_of(where))
            curl.setopt(curl.HEADERFUNCTION, answer.take_header)
            curl.setopt(curl.WRITEFUNCTION, answer.guarded(answer.take_content, 0))
            curl.setopt(curl.TIMEOUT_MS, int(timeout * 1e3))
            ask(curl, answer)
            curl.perform()
        if where.host not in self._software:
            self._software[where.host] = answer.header("Server")
        if answer.status >= 300:
            raise _error(answer, operation, url)
        return answer

    @contextmanager
    def _handle(self, operation: str, url: str) -> Iterator[Curl]:
        from analysis.engine.storage.credentials import bearer_token, proxy_file

        with told_as_denied(operation, url):
            proxy, token = proxy_file(), bearer_token()
        version = f"{proxy.stat().st_mtime_ns} {proxy}" if proxy else ""
        curl = self._handles.take(version)
        _set_up(curl, proxy, str(token) if token else "", self._timeout)
        try:
            yield curl
        finally:
            curl.reset()  # nothing of this request stays, but its connection
            self._handles.give(curl, version)


def _set_up(curl: Curl, proxy: Path | None, token: str, timeout: float) -> None:
    """Options of all requests."""
    options: dict[int, Any] = {
        curl.NOSIGNAL: 1,
        curl.CONNECTTIMEOUT_MS: int(timeout * 1e3),
        curl.LOW_SPEED_LIMIT: 1,
        curl.LOW_SPEED_TIME: max(1, int(timeout)),
        curl.HTTP_VERSION: curl.CURL_HTTP_VERSION_1_1,
        curl.PATH_AS_IS: 1,
        curl.PROXY: "",
        curl.FOLLOWLOCATION: 1,
        curl.MAXREDIRS: REDIRECTS,
    }
    if (folder := authorities()) is not None:
        options[curl.CAPATH] = str(folder)
        curl.unsetopt(curl.CAINFO)  # no others
    else:
        trusted = ssl.get_default_verify_paths()  # what SSL_CERT_FILE and SSL_CERT_DIR say, or the system's
        options |= {curl.CAINFO: trusted.cafile} if trusted.cafile else {}
        options |= {curl.CAPATH: trusted.capath} if trusted.capath else {}
    if proxy is not None:
        options |= {curl.SSLCERT: str(proxy), curl.SSLKEY: str(proxy)}
    if token:
        options |= {curl.HTTPAUTH: _BEARER, curl.XOAUTH2_BEARER: token}
    if threading.current_thread() is threading.main_thread():  # else Ctrl-C is noticed when the answer is there
        options |= {curl.NOPROGRESS: 0, curl.XFERINFOFUNCTION: lambda *_: None}
    for option, value in options.items():
        curl.setopt(option, value)


class _Handles:
    """Handles of libcurl that wait for the next request, the last one first; each keeps its connections."""

    _all: ClassVar[weakref.WeakSet[_Handles]] = weakref.WeakSet()

    def __init__(self) -> None:
        self._version, self._idle = "", list[Any]()
        self._alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self._all.add(self)

    def take(self, version: str) -> Curl:
        """A handle.

        Args:
            version: of the credential that its connections began with.
        """
        import pycurl

        if version != self._version:
            self._version, self._idle = version, []
        try:
            curl: Curl = self._idle.pop()
        except IndexError:
            curl = pycurl.Curl()
            self._alive.add(curl)
        return curl

    def give(self, curl: Curl, version: str) -> None:
        """Give it back."""
        if version == self._version:
            self._idle.append(curl)

    @classmethod
    def forget(cls) -> None:
        """In the child of a fork: leave all handles alone for ever.

        Who closes a connection says so to the server; but it is that of the parent.
        """
        for handles in cls._all:
            for curl in handles._alive:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(curl))
            handles._idle, handles._alive = [], weakref.WeakSet()


os.register_at_fork(after_in_child=_Handles.forget)


def address(operation: str, url: str) -> Address:
    """A URL in parts, unless a name in it is one that servers do not take."""
    return address_of(operation, url, "?%")


def http_of(where: Address) -> str:
    """The URL as HTTP has it: ``davs`` is a word of the grid."""
    scheme = {"davs": "https", "dav": "http"}.get(where.scheme, where.scheme)
    return f"{scheme}://{where.host}{where.quoted}"


@contextmanager
def _as_outage(operation: str, url: str, curl: Curl, answer: Answer) -> Iterator[None]:
    """Within it, a request that was not answered is an outage."""
    import pycurl

    try:
        yield
    except pycurl.error as error:
        if answer.failure is not None:
            raise answer.failure from None
        code, text = error.args
        if code == pycurl.E_OPERATION_TIMEDOUT:
            raise error_of(errno.ETIMEDOUT, operation, url, SILENT) from error
        if code == pycurl.E_COULDNT_CONNECT and (number := int(curl.getinfo(pycurl.OS_ERRNO))):
            text = f"no connection: {os.strerror(number)}"
        own = {pycurl.E_SSL_CERTPROBLEM: errno.EACCES, pycurl.E_PEER_FAILED_VERIFICATION: errno.EKEYREJECTED}
        refused = own.get(code) or code_of_tls(text)
        reason = plain(_AFTER.sub(r"\1", text)) or f"error {code} of libcurl"
        raise error_of(refused or errno.EHOSTUNREACH, operation, url, reason) from error


def _error(answer: Answer, operation: str, url: str) -> RemoteError:
    code = STATUS_CODES.get(answer.status, errno.EIO)
    text = "" if "html" in answer.header("Content-Type") else answer.content.decode(errors="replace")
    if answer.status in (403, 500):
        code = code_of_text(text) or code
    return error_of(code, operation, url, f"http {answer.status}: {plain(text) or answer.reason.lower()}")


def in_memory(content: bytes) -> Sent:
    """A small file."""
    return Sent(io.BytesIO(content), len(content))
