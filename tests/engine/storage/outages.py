"""Requests to a server that is not there, or does not answer; and children that go on by themselves."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analysis.engine.storage.base import Interface, OutageError, RemoteError

if TYPE_CHECKING:
    from tests.engine.storage.conformance import Place


@dataclass(frozen=True)
class Operation:
    """A request."""

    name: str
    call: Callable[[], object]
    needs_file: bool = True

    def __call__(self) -> object:
        return self.call()


def is_refused(request: Callable[[], object]) -> bool:
    """Whether a name is one that the library cannot say."""
    try:
        request()
    except RemoteError as error:
        if error.errno != errno.EINVAL:
            raise
        return True
    return False


def requests(interface: Interface, url: str, other: str, folder: Path) -> list[Operation]:
    """All requests of an interface."""
    (folder / "source").write_bytes(b"content")
    return [
        Operation("stat", lambda: interface.stat(url)),
        Operation("list", lambda: interface.list(url)),
        Operation("read", lambda: interface.read(url)),
        Operation("download", lambda: interface.download(url, folder / "down")),
        Operation("rename", lambda: interface.rename(url, other)),
        Operation("remove", lambda: interface.remove(url)),
        Operation("remove folder", lambda: interface.remove_folder(url), needs_file=False),
        Operation("checksum", lambda: interface.checksum(url)),
        Operation("write", lambda: interface.write(url, b"1"), needs_file=False),
        Operation("upload", lambda: interface.upload(folder / "source", url), needs_file=False),
        Operation("make folder", lambda: interface.make_folder(url), needs_file=False),
    ]


def check_outage(place: Place, port: int, folder: Path, most: float, interface: Interface | None = None) -> None:
    """All requests to a port of this machine say that the server is away, in time."""
    url = f"{place.scheme}://localhost:{port}/{'/' if place.scheme == 'root' else ''}store/file"
    for operation in requests(interface or place.interface, url, f"{url}2", folder):
        begun = time.monotonic()
        with pytest.raises(OutageError):
            operation()
        assert time.monotonic() - begun < most, operation.name


def dead_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@contextmanager
def stalled() -> Iterator[int]:
    """Within it, a port takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(128)
        yield server.getsockname()[1]


def forked(work: Callable[[], None], limit: float = 60.0) -> str:
    """What became of some work in a forked child: ``done``, an error, or ``hangs``."""
    end, begin = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"done"
        try:
            work()
        except BaseException as error:
            said = repr(error).encode()[:1000]
        os.write(begin, said)
        os._exit(0)
    os.close(begin)
    ready, _, _ = select.select([end], [], [], limit)
    said = os.read(end, 1000) if ready else b"hangs"
    if not ready:
        os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(end)
    return said.decode()
