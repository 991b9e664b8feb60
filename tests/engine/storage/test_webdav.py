"""A server of WebDAV that is busy, which a real one is only by chance."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from analysis.engine.storage.interfaces.webdav import Webdav

FILE = b"""<?xml version="1.0"?>
<D:multistatus xmlns:D="DAV:"><D:response><D:href>/store/file</D:href><D:propstat><D:prop>
<D:getcontentlength>5</D:getcontentlength><D:getlastmodified>Sat, 21 Nov 2026 12:00:00 GMT</D:getlastmodified>
</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"""


class Busy(BaseHTTPRequestHandler):
    """Who asks for a checksum is answered only when he has asked again."""

    asked = 0
    again = threading.Event()

    def do_PROPFIND(self) -> None:
        """There is one file."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(207)
        self.send_header("Content-Length", str(len(FILE)))
        self.end_headers()
        self.wfile.write(FILE)

    def do_HEAD(self) -> None:
        """The first request waits as long as its client does."""
        Busy.asked += 1
        if Busy.asked == 1:
            Busy.again.wait(60)
            return
        self.send_response(200)
        self.send_header("Digest", "adler32=5cb01f5")
        self.end_headers()
        Busy.again.set()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """URL of a file."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/store/file"
        running.shutdown()
        thread.join()


def test_who_waits_for_a_checksum_asks_again(server: str) -> None:
    """XRootD answers after half a minute if it computes as many as it may."""
    assert Webdav(30).checksum(server) == "05cb01f5"
    assert Busy.asked == 2
