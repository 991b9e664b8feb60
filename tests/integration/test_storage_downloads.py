"""Large files by ``root://``, several pieces of which are on their way at the same time, when something goes wrong."""

from __future__ import annotations

import os
import random
import threading
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from analysis.engine.storage.base import DamageError, OutageError
from analysis.engine.storage.endpoints import Endpoint, Endpoints
from analysis.engine.storage.interfaces import XrootdInterface
from analysis.engine.storage.remote import RemoteStore
from analysis.engine.storage.retry import Patience
from tests.engine.storage.outages import forked
from tests.testbed.faultproxy import FaultProxy
from tests.testbed.fixtures import storage
from tests.testbed.storage import Storage

__all__ = ["storage"]

pytestmark = pytest.mark.integration

SIZE = 40_000_000


class Large(NamedTuple):
    """A file on a server, with a proxy before it."""

    url: str
    proxied: str
    proxy: FaultProxy
    content: bytes

    @property
    def adler32(self) -> str:
        return f"{zlib.adler32(self.content):08x}"


@pytest.fixture
def large(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Large]:
    for variable, value in storage.environment().items():
        monkeypatch.setenv(variable, value)
    folder = storage.scratch("xrd-open", f"downloads-{uuid.uuid4().hex}")
    content = random.Random(1).randbytes(SIZE)
    (folder / "file").write_bytes(content)
    with FaultProxy(storage.port("xrd-open")) as proxy:
        path = f"{folder.name}/file"
        proxied = storage.url("xrd-open", path=path, port=proxy.port)
        yield Large(storage.url("xrd-open", path=path), proxied, proxy, content)


def no_thread_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("storage")]


def test_a_lost_connection(large: Large, tmp_path: Path) -> None:
    """The client library connects again, and asks for the lost pieces again."""
    large.proxy.set(reset_down=15_000_000)
    assert XrootdInterface(20).download(large.proxied, tmp_path / "file") == large.adler32
    assert (tmp_path / "file").read_bytes() == large.content
    assert large.proxy.counts().faults == 1
    assert no_thread_is_left()


def test_a_server_that_stops_in_the_middle(large: Large, tmp_path: Path) -> None:
    large.proxy.set(hang_down=15_000_000)
    with pytest.raises(OutageError):
        XrootdInterface(3).download(large.proxied, tmp_path / "file")
    assert no_thread_is_left()


def test_a_wrong_bit(large: Large, tmp_path: Path) -> None:
    """The store fetches it again; a file that is not what its manifest says is refused."""
    base, _, name = large.proxied.rpartition("/")
    interface = XrootdInterface(20)
    endpoint = Endpoint(base, lambda: interface)
    store = RemoteStore("far", Endpoints("far", [endpoint], Patience(0)))
    large.proxy.set(flip_down=15_000_000)
    store.fetch(store.root / name, SIZE, large.adler32, tmp_path / "file")
    assert large.proxy.counts().faults == 1
    assert (tmp_path / "file").read_bytes() == large.content
    with pytest.raises(DamageError, match=f"has the checksum {large.adler32} instead of 00000001"):
        store.fetch(store.root / name, SIZE, "00000001", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_no_room_for_it(large: Large) -> None:
    with pytest.raises(OSError, match="No space left"):
        XrootdInterface(20).download(large.url, Path("/dev/full"))
    assert no_thread_is_left()


def test_a_process_that_is_forked_meanwhile(large: Large, tmp_path: Path) -> None:
    interface = XrootdInterface(20)
    found: list[str] = []

    def download() -> None:
        while not stop.is_set():
            found.append(interface.download(large.url, tmp_path / "parent"))

    def child() -> None:
        assert interface.download(large.url, tmp_path / f"child-{os.getpid()}") == large.adler32
        assert no_thread_is_left()

    stop, busy = threading.Event(), threading.Thread(target=download)
    busy.start()
    try:
        children = [forked(child) for _ in range(6)]
    finally:
        stop.set()
        busy.join()
    assert children == ["done"] * 6
    assert set(found) == {large.adler32}
