from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from analysis.engine.storage.base import RemoteError
from analysis.engine.storage.locks import RemoteLock
from tests.engine.lock_holders import Process, go_on, line
from tests.integration.lock_servers import ROOT, DavStore, XRootDStore, forge, store_at
from tests.testbed.fixtures import storage
from tests.testbed.storage import Storage

__all__ = ["storage"]

pytestmark = pytest.mark.integration
PROCESSES, TIMES = 8, 20
LOCK = ROOT / ".17.lock"
GONE = 2**22 + 1  # never the id of a process here
START = "import sys; from tests.integration.lock_servers import main; main(sys.argv[1], sys.argv[2], int(sys.argv[3]))"


@pytest.fixture(params=["root", "davs"])
def url(request: pytest.FixtureRequest, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty folder on a server."""
    for name, value in storage.environment().items():
        monkeypatch.setenv(name, value)
    name = f"locks-{secrets.token_hex(4)}"
    url = storage.url("xrd-open", request.param, name)
    storage.scratch("xrd-open", name)
    yield url
    store = store_at(url)
    store.remove(ROOT / "counter")
    store.remove_folder(ROOT)


@pytest.fixture
def store(url: str) -> XRootDStore | DavStore:
    return store_at(url)


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def _start(started: list[Process], url: str, what: str, times: int = 0) -> Process:
    command = [sys.executable, "-c", START, url, what, str(times)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started.append(process)
    return process


def _names(store: XRootDStore | DavStore) -> list[str]:
    return sorted(entry.name for entry in store.entries(ROOT))


def test_requests(store: XRootDStore | DavStore) -> None:
    lock = RemoteLock(store, LOCK)
    assert lock.acquire()
    assert lock.still_ours()
    assert lock.beat()
    assert store.requests == ["list", "write", "rename", "stat", "stat", "write"]
    assert not RemoteLock(store, LOCK).acquire()
    lock.release()
    assert _names(store) == []
    store.requests.clear()
    assert lock.acquire()
    store.requests.clear()
    lock.release()
    assert store.requests == ["remove", "remove folder"]


def test_a_folder_takes_the_place_of_an_empty_one_only(store: XRootDStore | DavStore) -> None:
    for name in ("a", "b"):
        store.write_plain(ROOT / name / f"{name}.txt", b"content")
    with pytest.raises(RemoteError, match="not empty"):
        store.rename_folder(ROOT / "a", ROOT / "b")
    assert [entry.name for entry in store.entries(ROOT / "b")] == ["b.txt"]
    store.remove(ROOT / "b" / "b.txt")
    store.rename_folder(ROOT / "a", ROOT / "b")
    assert [entry.name for entry in store.entries(ROOT / "b")] == ["a.txt"]
    store.remove(ROOT / "b" / "a.txt")
    store.remove_folder(ROOT / "b")


def test_no_update_is_lost(url: str, store: XRootDStore | DavStore, started: list[Process]) -> None:
    store.write_plain(ROOT / "counter", b"0")
    processes = [_start(started, url, "count", TIMES) for _ in range(PROCESSES)]
    assert [line(process) for process in processes] == ["ready"] * PROCESSES
    for process in processes:
        go_on(process)
    assert [line(process) for process in processes] == ["done"] * PROCESSES
    assert int(store.read(ROOT / "counter")) == PROCESSES * TIMES
    assert _names(store) == ["counter"]


def test_holder_that_was_killed(url: str, store: XRootDStore | DavStore, started: list[Process]) -> None:
    process = _start(started, url, "hold")
    assert line(process) == "ready"
    lock = RemoteLock(store, LOCK)
    assert not lock.acquire()
    process.kill()
    process.wait()
    assert lock.acquire()
    lock.release()
    assert _names(store) == []


def test_holder_elsewhere_that_is_silent(store: XRootDStore | DavStore) -> None:
    forge(store, LOCK, host="elsewhere")
    assert not RemoteLock(store, LOCK).acquire()
    with RemoteLock(store, LOCK, silence=2) as lock:
        assert lock.still_ours()
        assert len(store.entries(LOCK)) == 1
    assert _names(store) == []


def test_holder_elsewhere_that_beats(store: XRootDStore | DavStore) -> None:
    token = forge(store, LOCK, host="elsewhere", pid=GONE)
    lock = RemoteLock(store, LOCK, silence=2)
    clock = lock._clock()
    while lock._clock() < clock + 5e9:  # by the server
        store.write_plain(LOCK / f"{token}.beat", b"beat")
        assert not lock.acquire()
    store.remove(LOCK / f"{token}.beat")
    assert lock.acquire()
    lock.release()
