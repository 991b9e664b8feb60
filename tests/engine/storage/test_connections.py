"""Requests by HTTP, to servers that do what real ones do now and then."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.storage.base import OutageError, RemoteError, TrustError
from analysis.engine.storage.interfaces.connections import Connections, Sent, in_memory
from tests.engine.storage.secrets_of_tests import make_server

Respond = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Request:
    """What arrived."""

    method: str
    connection: int
    authorization: str | None
    content: bytes = b""


class Server:
    """A server on this machine.

    Args:
        respond: sends an answer; it may read the content of the request.
        certificate: its own, with the key; without one, it speaks plain HTTP.
    """

    def __init__(self, respond: Respond, certificate: Path | None = None) -> None:
        requests: list[Request] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_expect_100(self) -> bool:
                return True  # that is to be answered by who reads the content

            def __getattr__(self, name: str) -> Any:
                if not name.startswith("do_"):
                    raise AttributeError(name)
                return self.answer

            def answer(self) -> None:
                self.arrived = Request(self.command, self.client_address[1], self.headers["Authorization"])
                requests.append(self.arrived)
                respond(self)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.requests = requests
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._http.server_port}/store/file"

    @property
    def connections(self) -> int:
        return len({request.connection for request in self.requests})

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def say(request: BaseHTTPRequestHandler, status: int = 200, content: bytes = b"", **headers: str) -> None:
    """Send an answer."""
    request.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)


def read(request: BaseHTTPRequestHandler) -> None:
    """Take the content of the request."""
    if request.headers.get("Expect"):
        request.send_response_only(100)
        request.end_headers()
    arrived: Request = request.arrived  # type: ignore[attr-defined]
    arrived.content = request.rfile.read(int(request.headers.get("Content-Length", 0)))


Start = Callable[[Respond], Server]
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="there is no openssl to make a certificate with"
)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers."""
    running: list[Server] = []

    def make(respond: Respond) -> Server:
        running.append(Server(respond))
        return running[-1]

    yield make
    for server in running:
        server.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X509_USER_PROXY", raising=False)
    monkeypatch.setenv("BEARER_TOKEN", "a.b.c")


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_an_upload_goes_where_the_server_says_and_the_token_does_not(start: Start, size: int) -> None:
    def take(request: BaseHTTPRequestHandler) -> None:
        read(request)
        say(request, 201)

    disks = start(take)

    def send_away(request: BaseHTTPRequestHandler) -> None:
        say(request, 307, Location=disks.url)
        request.close_connection = True  # the content is not read

    door, content = start(send_away), os.urandom(size)
    Connections(10).put("write", door.url, in_memory(content))
    assert [(found.authorization, found.content) for found in door.requests] == [("Bearer a.b.c", b"")]
    assert [(found.authorization, found.content) for found in disks.requests] == [(None, content)]


def test_it_does_not_go_round_for_ever(start: Start) -> None:
    server = start(lambda request: say(request, 302, Location=request.path))
    with pytest.raises(OutageError, match="redirects"):
        Connections(10).ask("stat", server.url, "PROPFIND")


def test_a_connection_is_kept(start: Start) -> None:
    server = start(lambda request: say(request, 207, b"answer"))
    connections = Connections(10)
    answers = [connections.ask("stat", server.url, "PROPFIND", content=b"question").content for _ in range(5)]
    assert (answers, server.connections) == ([b"answer"] * 5, 1)


@pytest.mark.parametrize(("software", "expected"), [("XrootD/v5.5.3", 4), ("XRootD", 1), ("dCache/10.2", 1)])
def test_only_to_an_old_xrootd_a_connection_is_closed_after_a_checksum(
    start: Start, software: str, expected: int
) -> None:
    """It is not ready for more: its issue 2602."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.server_version, request.sys_version = software, ""
        say(request)
        request.close_connection = request.headers.get("Connection") == "close"

    server, connections = start(answer), Connections(10)
    for method in ("PROPFIND", "HEAD", "HEAD", "HEAD", "PROPFIND"):
        connections.ask("checksum", server.url, method, waits=method == "HEAD")
    assert server.connections == expected


def test_a_server_that_was_never_heard_may_be_an_old_one(start: Start) -> None:
    server = start(say)
    connections = Connections(10)
    for method in ("HEAD", "PROPFIND"):
        connections.ask("checksum", server.url, method, waits=method == "HEAD")
    assert server.connections == 2


@pytest.mark.parametrize(
    ("status", "text", "code", "said"),
    [
        (404, b"<html>page</html>", errno.ENOENT, "http 404: not found"),
        (500, b"Unable to write /a; no space left on device", errno.ENOSPC, "http 500: no space left on device"),
        (500, b"strange", errno.ECOMM, "http 500: strange"),
        (507, b"", errno.ENOSPC, "http 507: insufficient storage"),
        (403, b"no", errno.EACCES, "http 403: no"),
        (403, b"file path marked read/only", errno.EROFS, "http 403: file path marked read/only"),
        (418, b"", errno.EIO, "http 418: i'm a teapot"),
    ],
)
def test_an_error_says_what_the_server_says(start: Start, status: int, text: bytes, code: int, said: str) -> None:
    kind = {"Content-Type": "text/html"} if b"html" in text else {"Content-Type": "text/plain"}
    server = start(lambda request: say(request, status, text, **kind))
    arrived: list[bytes] = []
    with pytest.raises(RemoteError) as caught:
        Connections(10).ask("read", server.url, "GET", sink=arrived.append)
    assert (caught.value.errno, caught.value.reason, arrived) == (code, said, [])


def test_nobody_there(start: Start) -> None:
    server = start(say)
    server.close()
    with pytest.raises(OutageError, match="no connection: connection refused"):
        Connections(10).ask("stat", server.url, "PROPFIND")


def test_an_answer_that_breaks_off_is_an_outage(start: Start) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        say(request, 200, b"half", **{"Content-Length": "8"})
        request.close_connection = True

    with pytest.raises(OutageError):
        Connections(10).ask("read", start(answer).url, "GET", sink=lambda _: None)


def test_what_fails_here_is_not_blamed_on_the_server(start: Start, tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        read(request)
        say(request, 200, b"content")

    def fail(_: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    connections, server = Connections(10), start(answer)
    with pytest.raises(OSError, match="No space left") as caught:
        connections.ask("download", server.url, "GET", sink=fail)
    assert not isinstance(caught.value, RemoteError)
    with (tmp_path / "source").open("wb") as only_for_writing, pytest.raises(OSError, match="read") as second:
        connections.put("upload", server.url, Sent(only_for_writing, 5))
    assert not isinstance(second.value, RemoteError)
    assert connections.ask("read", server.url, "GET").content == b"content"


def test_ctrl_c_is_noticed_while_the_server_is_silent(start: Start) -> None:
    asked, noticed, too_late = threading.Event(), threading.Event(), threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.set()
        if not noticed.wait(30):
            too_late.set()
        say(request)

    def interrupt() -> None:
        asked.wait(60)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    server = start(answer)
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        Connections(100).ask("stat", server.url, "PROPFIND")
    noticed.set()
    assert not too_late.is_set()


FORK = """
import os, sys
from analysis.engine.storage.interfaces.connections import Connections
connections = Connections(10)
connections.ask("stat", sys.argv[1], "PROPFIND")
child = os.fork()
if child == 0:
    connections.ask("stat", sys.argv[1], "PROPFIND")
    del connections
    sys.exit()  # all that Python knows of is closed
assert os.waitpid(child, 0)[1] == 0
connections.ask("stat", sys.argv[1], "PROPFIND")
"""


@needs_openssl
@pytest.mark.parametrize("variable", ["X509_CERT_DIR", "SSL_CERT_FILE"])
def test_an_authority_is_trusted_where_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    server = Server(lambda request: say(request, 207), make_server(tmp_path / "authorities"))
    for name in ("X509_CERT_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TrustError):
        Connections(10).ask("stat", server.url, "PROPFIND")
    monkeypatch.setenv(variable, str(tmp_path / "authorities" / ("" if variable.endswith("DIR") else "ca.pem")))
    assert Connections(10).ask("stat", server.url, "PROPFIND").status == 207
    server.close()


@needs_openssl
def test_a_directory_of_authorities_is_all_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(lambda request: say(request, 207), make_server(tmp_path / "authorities"))
    (tmp_path / "others").mkdir()
    monkeypatch.setenv("X509_CERT_DIR", str(tmp_path / "others"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities" / "ca.pem"))
    with pytest.raises(TrustError):
        Connections(10).ask("stat", server.url, "PROPFIND")
    server.close()


@needs_openssl
def test_a_child_that_ends_leaves_the_connections_of_its_parent_alone(tmp_path: Path) -> None:
    """By TLS, who closes a connection says so to the server."""
    server = Server(lambda request: say(request, 207), make_server(tmp_path / "authorities"))
    environment = {**os.environ, "X509_CERT_DIR": str(tmp_path / "authorities")}
    subprocess.run([sys.executable, "-c", FORK, server.url], check=True, timeout=60, env=environment)
    server.close()
    first, child, last = [request.connection for request in server.requests]
    assert first == last != child
