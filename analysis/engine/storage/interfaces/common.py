"""What all client libraries need: addresses, names that a protocol cannot carry, time limits, credentials."""

from __future__ import annotations

import errno
import functools
import itertools
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote, unquote

from analysis.engine.storage.base import Entry, ExistsError, NotFoundError, RemoteError, error_of

TIMEOUT = 30
"""Of a request, by default [s]."""
SLOWEST = 2**18
"""A transfer that is slower than this is given up [bytes/s]."""
CHUNK = 16 * 2**20
"""Bytes of a transfer that are sent or asked for at once."""
IS_FOLDER = "it is a folder"
IS_FILE = "it is a file"
IS_THERE = "there is something of that name"
NOTHING_ABOVE = "the folder above it is not there"
NOT_RENAMED = "servers do not agree on how a new name is quoted: use letters, digits and -._~!$&'()*+,;=:@ only"
SILENT = "the server does not answer"
HTTP = frozenset({"davs", "https", "http", "dav"})
"""Schemes whose URLs come quoted; those of all others have names as they are."""

_LONGEST = 160
_UNQUOTED = "/!$&'()*+,;=:@"  # what a path of a URL may have as it is
_BY_TEXT = {
    os.strerror(code).lower(): code
    for code in (
        *(errno.ENOTDIR, errno.ENOTEMPTY, errno.EISDIR, errno.EEXIST, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EBUSY),
    )
} | {"file path marked read/only": errno.EROFS}  # XRootD's own words
_WRAPPING = re.compile(r"(?i)^(transfer error: )?(copy failed \(\w+\)\. last attempt: )?(result )?(\(neon\): )?")
_WRAPPED = re.compile(r"(?i) (after \d+ attempts?|\((destination|source)\))$")
_NOT_TRUSTED = re.compile(r"(?i)server certificate|issuer is not trusted|certificate verif")
_NOT_LIKED = re.compile(r"(?i)alert (certificate|bad certificate|unknown ca|access denied)")
_NO_TLS = re.compile(r"^(error_ssl|tls error\b.*)$")  # XRootD's client says no more
_SECRET = re.compile(r"(?i)((?:authz|access_token|signature)=|bearer(?:\s+|%20))[^\s&;'\"]+")
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?'\"]*)\?[^\s'\"]*")

Client = TypeVar("Client")
T = TypeVar("T")
R = TypeVar("R")


class Address(NamedTuple):
    """A URL in parts.

    Args:
        scheme: such as ``root``.
        host: name of the server, with its port if the URL has one.
        path: absolute, names as they are on the server.
    """

    scheme: str
    host: str
    path: str

    @property
    def server(self) -> str:
        """URL of the server."""
        return f"{self.scheme}://{self.host}"

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def quoted(self) -> str:
        """The path as HTTP has it."""
        return quote(self.path, safe=_UNQUOTED)


def address_of(operation: str, url: str, forbidden: str = "") -> Address:
    """Take a URL apart.

    Args:
        operation: for the error.
        url: URL; names in it are quoted if its scheme is one of HTTP, and as they are if it is not.
        forbidden: characters that the protocol cannot have in a name.

    Raises:
        RemoteError: with ``errno.EINVAL``, if the library would make another name of it.

    Examples:
        >>> address_of("stat", "root://host:1094//store/a b%20")
        Address(scheme='root', host='host:1094', path='/store/a b%20')
        >>> address_of("stat", "davs://host/store/a%20b").path
        '/store/a b'
        >>> address_of("stat", "root://host//store/a?b", "?")
        Traceback (most recent call last):
        analysis.engine.storage.base.RemoteError: stat root://host//store/a?b: '?' in a name is not possible with root://
    """
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if scheme in HTTP:
        path = unquote(path, errors="surrogateescape")
    path = "/" + path.lstrip("/")
    if refused := _refused(forbidden).search(path):
        msg = f"{refused[0]!r} in a name is not possible with {scheme}://"
        raise RemoteError(operation, url, msg, errno.EINVAL)
    return Address(scheme, host, path)


@functools.cache
def _refused(forbidden: str) -> re.Pattern[str]:
    return re.compile(f"[\\x00-\\x1f\\x7f{re.escape(forbidden)}]")


def plain(text: str) -> str:
    """What a library says, in few words: one line, lower case, nothing that authorizes.

    Examples:
        >>> plain("[ERROR] Server responded with an error: [3011] Unable to locate /a; no such file or directory")
        'no such file or directory'
        >>> plain("HTTP 403 : Permission refused  https://host/a?authz=abc")
        'http 403 : permission refused https://host/a'
        >>> plain("Result (Neon): Could not connect to server after 1 attempts")
        'could not connect to server'
        >>> plain("[FATAL] TLS error: resource temporarily unavailable")
        'no secure connection, for want of its authority in X509_CERT_DIR or of an answer'
    """
    text = re.sub(r"^\[(?:ERROR|FATAL)\] (?:Server responded with an error: \[\d+\] )?", "", " ".join(text.split()))
    text = _SECRET.sub(r"\1...", _QUERY.sub(r"\1", text)).rpartition("; ")[2]
    text = _WRAPPED.sub("", _WRAPPING.sub("", text.strip()))[:_LONGEST].strip().lower()
    return _NO_TLS.sub("no secure connection, for want of its authority in X509_CERT_DIR or of an answer", text)


def code_of_text(text: str) -> int | None:
    """The ``errno`` value of an answer that ends with the text of one, where a server has one code for many errors.

    Examples:
        >>> code_of_text("Unable to remove /a; directory not empty") == errno.ENOTEMPTY
        True
    """
    return _BY_TEXT.get(plain(text))


def code_of_tls(text: str) -> int | None:
    """The ``errno`` value of what a TLS library says of a certificate, the server's or ours; ``None`` if of neither."""
    if _NOT_TRUSTED.search(text):
        return errno.EKEYREJECTED
    return errno.EACCES if _NOT_LIKED.search(text) else None


def ahead(function: Callable[[T], R], items: Iterable[T], limit: int) -> Generator[R, None, None]:
    """Results of a function in the order of the items; those of the next ones are on their way meanwhile.

    Args:
        function: what is called.
        items: with what.
        limit: most calls at the same time.

    Yields:
        The results. When it ends or is closed, no thread is left.
    """
    from concurrent.futures import ThreadPoolExecutor  # loads much, and not all need it

    todo = iter(items)
    with ThreadPoolExecutor(limit, thread_name_prefix="storage") as pool:
        running = deque(pool.submit(function, item) for item in itertools.islice(todo, limit))
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(function, item) for item in itertools.islice(todo, 1))
                yield result
        finally:
            for future in running:
                future.cancel()


def patience(timeout: float, size: int) -> float:
    """Time after which a transfer is given up [s].

    Args:
        timeout: of a request [s].
        size: of the file [bytes].
    """
    return timeout + size / SLOWEST


class PerProcess(Generic[Client]):
    """Clients by key, none of which is used by a process that was forked after it was made.

    Args:
        make: makes the client of a key.
    """

    def __init__(self, make: Callable[[str], Client]) -> None:
        self._make = make
        self._clients: dict[tuple[int, str], Client] = {}

    def get(self, key: str = "") -> Client:
        """The client of this process; of two threads that ask at once, both get the same."""
        mine = (os.getpid(), key)
        if (client := self._clients.get(mine)) is None:
            client = self._clients.setdefault(mine, self._make(key))
        return client

    def mine(self) -> list[Client]:
        """All clients of this process."""
        return [client for (process, _), client in list(self._clients.items()) if process == os.getpid()]


class ForkGate:
    """Holds a fork back while answers of XRootD are on their way, and requests while a process is forked.

    XRootD waits for its threads before a fork; those that bring answers to Python wait for the interpreter, which the
    forking thread has. Also with all others a fork, and the request that was on its way, now and then wait for ever.

    It is a context manager: within its block, no process is forked. Not to be used within itself.
    """

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._reset)

    def __enter__(self) -> None:
        with self._changed:
            while self._is_closed:
                self._changed.wait()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside -= 1
            self._was_used = True
            if self._is_closed:  # somebody waits
                self._changed.notify_all()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._inside, self._is_closed, self._was_used = 0, False, False

    def _close(self) -> None:
        with self._changed:
            self._is_closed = True
            while self._inside:
                self._changed.wait()
        if self._was_used:
            time.sleep(0.002)  # the thread that brought the last answer returns to XRootD

    def _open(self) -> None:
        with self._changed:
            self._is_closed = False
            self._changed.notify_all()


FORKS = ForkGate()
"""The gate of this process."""


def same_folder_error(operation: str, url: str, stat: Callable[[str], Entry]) -> ExistsError | None:
    """The error of a rename that failed because a folder is there; ``None`` if none is.

    Servers have no code of their own for that.
    """
    try:
        found = stat(url)
    except NotFoundError:
        return None
    return ExistsError(operation, url, "there is a folder of that name") if found.is_folder else None


def set_defaults() -> None:
    """Variables that XRootD and gfal2 read when they are loaded, unless the user has set them.

    Without ``XRD_RUNFORKHANDLER`` a process that is forked hangs; with XRootD's own limits, a question to a server
    that is down takes eight minutes, and it stays "down" for half an hour. Without ``SSL_CERT_*``, the TLS library of
    gfal2 reads all authorities of the system for each request. They are for all who use the libraries in this process
    and its children, also for those who read events.
    """
    defaults = {
        "XRD_RUNFORKHANDLER": "1",
        "XRD_CONNECTIONWINDOW": "10",
        "XRD_CONNECTIONRETRY": "1",
        "XRD_STREAMERRORWINDOW": "1",
        "XRD_STREAMTIMEOUT": "30",
        "XRD_REQUESTTIMEOUT": "60",
        "XRD_TIMEOUTRESOLUTION": "1",
    }
    authorities = os.environ.get("X509_CERT_DIR")
    if authorities and not ({"SSL_CERT_FILE", "SSL_CERT_DIR"} & os.environ.keys()):
        defaults["SSL_CERT_DIR"] = authorities
    for variable, value in defaults.items():
        os.environ.setdefault(variable, value)
    logging.getLogger("gfal2").setLevel(logging.CRITICAL)  # what it warns of is an error here


def authorities() -> Path | None:
    """Directory of certificates of authorities; ``None`` for those of the system."""
    for folder in (os.environ.get("X509_CERT_DIR"), "/etc/grid-security/certificates"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    return None


@contextmanager
def told_as_denied(operation: str, url: str) -> Iterator[None]:
    """Within it, a credential that cannot be used is an error of the request."""
    from analysis.engine.storage.credentials import CredentialError

    try:
        yield
    except CredentialError as error:
        denied = error_of(errno.EACCES, operation, url, str(error))
        denied.advice = ""  # it says what to do
        raise denied from error


class Heard:
    """Whether a server takes connections, where a library waits for that longer than it was told to.

    It is asked before the first request, after a failure, and after a pause.

    Args:
        timeout: for a connection [s].
    """

    SILENCE = 20.0
    """After such a time a server is asked again [s]."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._heard: dict[str, float] = {}

    def again(self, host: str) -> None:
        """A request was answered."""
        self._heard[host] = time.monotonic()

    def check(self, operation: str, url: str, host: str, is_secure: bool) -> None:
        """Connect, if the server has not been heard for some time.

        Raises:
            OutageError: if it does not take the connection.
        """
        if time.monotonic() - self._heard.get(host, -self.SILENCE) < self.SILENCE:
            return
        name, _, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "443" if is_secure else "80")
        name = name.strip("[]")
        try:
            with socket.create_connection((name, int(port)), self._timeout) as connection:
                if is_secure:
                    _greet(connection, name)
        except TimeoutError as error:
            raise error_of(errno.ETIMEDOUT, operation, url, SILENT) from error
        except OSError as error:
            reason = plain(error.strerror or str(error))
            raise error_of(errno.EHOSTUNREACH, operation, url, f"no connection: {reason}") from error
        self.again(host)

    def forget(self, host: str) -> None:
        """A request failed in a way that may mean an outage."""
        self._heard.pop(host, None)


def _greet(connection: socket.socket, name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent; the library will verify
    try:
        context.wrap_socket(connection, server_hostname=name).close()
    except ssl.SSLError as error:
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | TimeoutError):
            raise  # any other is an answer
