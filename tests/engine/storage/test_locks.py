from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest

from analysis.engine import heart
from analysis.engine.lock import REBOOT, SILENCE
from analysis.engine.storage import locks
from analysis.engine.storage.base import DeniedError, OutageError, RemoteError
from analysis.engine.storage.locks import NoLock, RemoteLock
from tests.engine.storage.lock_store import (
    GONE,
    LOCK,
    TOKEN,
    DirectStore,
    Server,
    forge,
    make_older,
)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@pytest.fixture
def store(server: Server) -> DirectStore:
    return DirectStore(server)


@pytest.fixture(autouse=True)
def own_heart(monkeypatch: pytest.MonkeyPatch) -> Iterator[heart.Heart]:
    own = heart.Heart()
    monkeypatch.setattr(locks, "_heart", own)
    yield own
    own.before_fork()  # stops its thread
    own.after_fork_in_child()


def test_taken_and_given_back(server: Server, store: DirectStore) -> None:
    lock = RemoteLock(store, LOCK)
    assert lock.acquire()
    assert store.requests == ["list", "write", "rename"]
    holder = lock.holder()
    assert holder is not None
    assert (holder.pid, holder.host) == (os.getpid(), os.uname().nodename)
    assert server.names() == ["manifests", "manifests/.17.lock", f"manifests/.17.lock/{holder.token}"]
    assert lock.live_holder() == str(holder)
    store.requests.clear()
    assert lock.is_fresh()
    assert store.requests == []
    assert lock.still_ours()
    assert store.requests == ["stat"]
    store.requests.clear()
    lock.release()
    assert store.requests == ["remove", "remove folder"]
    assert server.names() == ["manifests"]
    assert not lock.still_ours()
    assert lock.live_holder() is None


def test_polls_of_a_lock_that_is_held(store: DirectStore, server: Server) -> None:
    with RemoteLock(DirectStore(server), LOCK) as held:
        assert not held.acquire()
        lock = RemoteLock(store, LOCK)
        assert not any(lock.acquire() for _ in range(3))
        assert store.requests == ["list", "read", "list", "list"]


def test_beat_is_a_sign_of_life_beside_the_claim(server: Server, store: DirectStore) -> None:
    lock = RemoteLock(store, LOCK)
    assert not lock.beat()
    assert lock.acquire()
    (claim,) = server.disk(LOCK).iterdir()
    make_older(claim, 1000)
    before = lock._look()
    store.requests.clear()
    assert lock.beat()
    assert store.requests == ["stat", "write"]
    after = lock._look()
    assert before is not None
    assert after is not None
    assert after.touched - before.touched >= 1000e9
    lock.release()
    assert server.names() == ["manifests"]


def test_holder_that_was_killed(server: Server, store: DirectStore, caplog: pytest.LogCaptureFixture) -> None:
    forge(server, pid=GONE, beat=0)
    assert RemoteLock(store, LOCK).live_holder() is None
    with RemoteLock(store, LOCK) as lock:
        assert lock.still_ours()
        assert len(list(server.disk(LOCK).iterdir())) == 1
    assert "write" in store.requests
    (message,) = caplog.messages
    assert f"{LOCK} was locked by process {GONE} on {os.uname().nodename} (since 2026" in message
    assert server.names() == ["manifests"]


@pytest.mark.parametrize(
    ("facts", "limit"),
    [
        ({"host": "elsewhere"}, SILENCE),
        ({"namespace": "pid:[1]"}, SILENCE),
        ({"boot": "another"}, REBOOT),
    ],
)
@pytest.mark.parametrize("jump", [-1e6, 0.0, 1e6])
def test_holder_elsewhere_is_judged_by_its_heart(
    facts: dict[str, Any],
    limit: float,
    jump: float,
    server: Server,
    store: DirectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    forge(server, age=10 * limit, beat=limit - 20, pid=GONE, **facts)
    lock = RemoteLock(store, LOCK)
    assert not lock.acquire()
    assert lock.live_holder() is not None
    assert not lock.acquire()
    assert store.requests.count("write") == 1  # the clock
    assert [name for name in server.names() if "clock" in name] == []
    forge(server, age=10 * limit, beat=limit + 20, **facts)
    assert lock.acquire()
    assert len(list(server.disk(LOCK).iterdir())) == 1


@pytest.mark.parametrize("extra", [0.5, 3.0])
def test_limits_may_be_others(extra: float, server: Server, store: DirectStore) -> None:
    forge(server, age=5 + extra, host="elsewhere")
    assert RemoteLock(store, LOCK, silence=5).acquire() == (extra > 1)


def test_server_that_tells_no_times(server: Server, store: DirectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    forge(server, age=10 * SILENCE, host="elsewhere")
    entry = DirectStore._entry
    monkeypatch.setattr(DirectStore, "_entry", staticmethod(lambda path: entry(path)._replace(mtime=0.0)))
    assert not RemoteLock(store, LOCK).acquire()


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_claim_that_cannot_be_read(content: bytes, server: Server, store: DirectStore) -> None:
    forge(server)
    claim = server.disk(LOCK / TOKEN)
    claim.write_bytes(content)
    assert not RemoteLock(store, LOCK).acquire()
    make_older(claim, SILENCE + 20)
    assert RemoteLock(store, LOCK).acquire()


def test_empty_folder_is_free(server: Server, store: DirectStore) -> None:
    server.disk(LOCK).mkdir(parents=True)
    with RemoteLock(store, LOCK) as lock:
        assert lock.still_ours()
    assert server.names() == ["manifests"]


def test_sign_of_life_without_a_claim_is_none(server: Server, store: DirectStore) -> None:
    server.disk(LOCK).mkdir(parents=True)
    server.disk(LOCK / f"{TOKEN}.beat").touch()
    with RemoteLock(store, LOCK) as lock:
        assert lock.still_ours()
        assert len(list(server.disk(LOCK).iterdir())) == 1
    assert server.names() == ["manifests"]


def test_server_that_renames_to_nothing_that_exists(
    server: Server, store: DirectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = store.rename_folder
    refused = OutageError("rename", "fake:/", "internal server error")

    def refuse(folder: PurePath, destination: PurePath) -> None:
        if server.disk(destination).exists():
            raise refused
        rename(folder, destination)

    monkeypatch.setattr(store, "rename_folder", refuse)
    server.disk(LOCK).mkdir(parents=True)
    with RemoteLock(store, LOCK) as lock:
        assert lock.still_ours()
        monkeypatch.setattr(RemoteLock, "_look", lambda _: None)  # the lock came just after the look
        assert not RemoteLock(store, LOCK).acquire()
    assert server.names() == ["manifests"]


def test_holder_that_wakes_up_after_it_was_declared_gone(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    sleeper = RemoteLock(DirectStore(server), LOCK)
    assert sleeper.acquire()
    (claim,) = server.disk(LOCK).iterdir()
    claim.unlink()  # by whoever found it gone
    with RemoteLock(DirectStore(server), LOCK) as lock:
        assert not sleeper.still_ours()
        assert not sleeper.beat()
        # it looked before, and writes now
        sleeper._touch()
        assert not sleeper.still_ours()
        assert lock.still_ours()
        locks._heart._beat(sleeper)
        assert "was taken from it" in caplog.text
        sleeper.release()
        assert lock.still_ours()
    assert server.names() == ["manifests"]


def test_holder_that_wakes_up_while_its_lock_is_broken(server: Server, store: DirectStore) -> None:
    forge(server, age=SILENCE + 20, host="elsewhere")
    breaker = RemoteLock(store, LOCK)
    seen = breaker._look()
    assert seen is not None
    assert breaker._is_stale(seen)
    server.disk(LOCK / f"{TOKEN}.beat").touch()
    assert not breaker._break(seen)
    assert not breaker.acquire()
    assert server.disk(LOCK / TOKEN).exists()


def test_answer_to_the_rename_that_was_lost(
    server: Server, store: DirectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = store.rename_folder

    def rename_twice(folder: PurePath, destination: PurePath) -> None:
        rename(folder, destination)
        rename(folder, destination)

    monkeypatch.setattr(store, "rename_folder", rename_twice)
    lock = RemoteLock(store, LOCK)
    assert lock.acquire()
    assert lock.still_ours()
    lock.release()
    assert server.names() == ["manifests"]


def test_slow_breaker_leaves_the_lock_that_came_after_the_stale_one(server: Server, store: DirectStore) -> None:
    forge(server, pid=GONE)
    slow = RemoteLock(store, LOCK)
    stale = slow._look()
    assert stale is not None
    assert slow._is_stale(stale)
    fast = RemoteLock(DirectStore(server), LOCK)
    assert fast.acquire()
    assert not slow._break(stale)
    for file in (LOCK / f"{stale.mark}.beat", LOCK / stale.mark):  # even if it had not looked again
        store.remove(file)
    assert fast.still_ours()


def test_claim_of_one_that_was_killed_before_it_took_the_lock(server: Server, store: DirectStore) -> None:
    forge(server, pid=GONE)
    beside = LOCK.with_name(f"{LOCK.name}.{TOKEN}")
    server.disk(LOCK).rename(server.disk(beside))
    assert RemoteLock(store, LOCK).acquire()
    leftover = RemoteLock(store, beside)
    assert leftover.live_holder() is None
    assert leftover.acquire()
    leftover.release()
    assert not server.disk(beside).exists()


@pytest.mark.parametrize("operation", ["write_plain", "rename_folder", "entries"])
@pytest.mark.parametrize("error", [DeniedError, OutageError])
def test_error_of_the_store_goes_through(
    operation: str, error: type[RemoteError], server: Server, store: DirectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = error("write", "fake:/", "no")

    def refuse(*_: object) -> None:
        raise refused

    with monkeypatch.context() as patch:
        patch.setattr(store, operation, refuse)
        with pytest.raises(error):
            RemoteLock(store, LOCK).acquire()
    assert [name for name in server.names() if name != "manifests"] == []
    assert RemoteLock(store, LOCK).acquire()


def test_release_during_an_outage_is_made_up_for(
    server: Server, store: DirectStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused = OutageError("remove", "fake:/", "no answer")

    def refuse(_: PurePath, look: bool = True) -> None:  # noqa: ARG001
        raise refused

    lock = RemoteLock(store, LOCK)
    assert lock.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(store, "remove", refuse)
        lock.release()
        assert "could not be given back" in caplog.text
        (end,) = locks._heart._locks
        locks._heart._beat(end)
        assert not RemoteLock(store, LOCK).acquire()
    caplog.clear()
    locks._heart._beat(end)
    assert caplog.messages == []
    assert locks._heart._locks == set()
    assert server.names() == ["manifests"]
    assert lock.acquire()


def test_heart_beats(server: Server, store: DirectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heart, "HEARTBEAT", 0.001)
    beaten = threading.Event()
    touch = RemoteLock._touch

    def tell(lock: RemoteLock) -> None:
        touch(lock)
        beaten.set()

    monkeypatch.setattr(RemoteLock, "_touch", tell)
    for _ in range(20):  # a beat never comes after the end
        beaten.clear()
        with RemoteLock(store, LOCK):
            assert beaten.wait(60)
        assert server.names() == ["manifests"]


def test_fork_leaves_the_lock_to_the_parent(store: DirectStore) -> None:
    with RemoteLock(store, LOCK) as lock:
        child = os.fork()
        if child == 0:
            facts = [lock.is_fresh(), lock.still_ours(), lock.beat(), lock.acquire()]
            lock.release()
            os._exit(any(facts))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert lock.still_ours()


def test_no_lock_says_so_once_per_store(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(NoLock, "_told", set())
    caplog.set_level(logging.WARNING)
    for store in ("s3", "s3", "other"):
        with NoLock(store, LOCK) as lock:
            assert lock.is_fresh()
            assert lock.still_ours()
            assert lock.beat()
            assert not lock.acquire()
            assert (lock.holder(), lock.live_holder()) == (None, None)
        assert not lock.still_ours()
    assert [message.split()[1] for message in caplog.messages] == ["s3", "other"]
