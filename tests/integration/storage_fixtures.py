"""Servers and folders of the tests that compare plain law's storage with ours."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from tests.integration.batch_queue import until
from tests.integration.storage_sides import Side
from tests.testbed import CHECKOUT
from tests.testbed.faultproxy import FaultProxy
from tests.testbed.fixtures import storage
from tests.testbed.storage import Protocol, Storage

__all__ = ["new_place", "place", "scheme", "side", "storage"]

SCHEMES = ("root", "davs")
QUICK = {
    "XRD_CONNECTIONWINDOW": "2",
    "XRD_CONNECTIONRETRY": "1",
    "XRD_STREAMERRORWINDOW": "2",
    "XRD_STREAMTIMEOUT": "600",  # a transfer that hangs is looked at for as long as the test takes
    "XRD_REQUESTTIMEOUT": "600",
}
"""What makes clients notice at once that there is no server."""


@dataclass(frozen=True)
class Place:
    """An empty folder of a server, reached by one protocol.

    Args:
        storage: all servers.
        server: that has it.
        scheme: of URLs.
        name: of the folder.
    """

    storage: Storage
    server: str
    scheme: Protocol
    name: str

    @property
    def base(self) -> str:
        """Its URL."""
        return self.storage.url(self.server, self.scheme, self.name)

    @property
    def disk(self) -> Path:
        """Where the server has it."""
        return self.storage.folder(self.server) / self.name

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> Path:
        """A file that is there before."""
        file = self.disk / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        for made in (file, file.parent):
            shutil.chown(made, "xrootd", "xrootd")
        file.chmod(mode)
        return file

    def files(self) -> dict[str, int]:
        """Sizes of what is there, by name."""
        return {str(p.relative_to(self.disk)): p.stat().st_size for p in sorted(self.disk.rglob("*")) if p.is_file()}

    def has(self, content: bytes) -> bool:
        """Whether a file is that, whole; one of that size may have holes, as pieces of it come in any order."""
        return any(path.read_bytes() == content for path in self.disk.rglob("*") if path.is_file())

    @contextmanager
    def through(self, **faults: float) -> Iterator[Passage]:
        """A way to it on which something goes wrong; see :class:`tests.testbed.faultproxy.Faults`."""
        with FaultProxy(self.storage.port(self.server, self.scheme), **faults) as proxy:
            yield Passage(self.storage.url(self.server, self.scheme, self.name, proxy.port), proxy)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """The server is stopped in the middle of what it does; the system goes on to accept connections for it."""
        process = self.storage.processes()[self.server]
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Requests during a ``with`` block, by kind; to be looked at after it."""
        mark, requests = self.storage.mark(self.server), Counter[str]()
        yield requests
        requests.update(self.storage.requests(mark))


@dataclass(frozen=True)
class Passage:
    """A way to a place.

    Args:
        base: URL of the place.
        proxy: what is between.
    """

    base: str
    proxy: FaultProxy

    def wait(self) -> None:
        """Until something has gone wrong."""
        until(lambda: self.proxy.counts().faults)


Places = Callable[[str, Protocol], Place]


@pytest.fixture
def new_place(storage: Storage) -> Iterator[Places]:
    """Makes a place on a server, by a protocol."""
    made: list[Place] = []

    def make(server: str, scheme: Protocol) -> Place:
        storage.start(server)  # a test that failed may have left it killed
        place = Place(storage, server, scheme, f"sides-{secrets.token_hex(6)}")
        storage.scratch(server, place.name)
        made.append(place)
        return place

    yield make
    for place in made:
        shutil.rmtree(place.disk, ignore_errors=True)


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Protocol:
    """Each protocol."""
    found: Protocol = request.param
    return found


@pytest.fixture
def place(new_place: Places, scheme: Protocol) -> Place:
    """A folder of a server that lets everybody in, by each protocol."""
    return new_place("xrd-open", scheme)


@pytest.fixture
def side(request: pytest.FixtureRequest, tmp_path: Path, storage: Storage) -> Side:
    """``plain`` or ``ours``."""
    if request.param == "plain" and not any((storage.bindings / f"gfal2{end}").exists() for end in EXTENSION_SUFFIXES):
        pytest.skip(f"plain law needs gfal2, which Debian has not for Python {sys.version.split()[0]}")
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("X509_", "BEARER_", "LAW_"))}
    search = f"{storage.bindings}{os.pathsep}{CHECKOUT}"
    return Side(request.param, tmp_path, {**usual, **storage.environment(), **QUICK, "PYTHONPATH": search})
