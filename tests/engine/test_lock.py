from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from analysis.engine import heart
from analysis.engine import lock as module
from analysis.engine.lock import FRESH, SILENCE, Lock
from tests.engine.lock_holders import COUNT, HOLD, PROCESSES, Process, age_by, forge, go_on, line, names, start

FORK = """
assert lock.acquire()
child = os.fork()
if child == 0:
    facts = [lock.is_fresh(), lock.still_ours(), lock.acquire(), Lock(lock.path).acquire(), lock.beat()]
    lock.release()
    with_statement = lock.path.exists()
    print(*facts, with_statement, flush=True)
    sys.exit()  # with all that runs at exit
os.waitpid(child, 0)
print(lock.still_ours(), lock.beat(), flush=True)
lock.release()
print(lock.path.exists(), flush=True)
"""
AGAIN_AFTER_FORK = """
assert lock.acquire()
child = os.fork()
if child == 0:
    other = Lock(lock.path.with_name("other"))
    assert other.acquire() and other.holder().pid == os.getpid()
    other.release()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifests" / ".17.lock"


def test_taken_and_given_back(path: Path) -> None:
    lock = Lock(path)
    assert lock.holder() is None
    assert lock.acquire()
    assert lock.still_ours()
    holder = lock.holder()
    assert holder is not None
    assert (holder.pid, holder.host) == (os.getpid(), os.uname().nodename)
    assert names(path) == [".17.lock"]
    lock.release()
    assert not lock.still_ours()
    assert names(path) == []
    assert lock.acquire()
    lock.release()


def test_not_reentrant(path: Path) -> None:
    with Lock(path) as lock:
        assert not lock.acquire()
        assert not Lock(path).acquire()
        assert lock.still_ours()
    assert names(path) == []


def test_with_takes_over_what_is_held_and_releases_after_an_error(path: Path) -> None:
    lock = Lock(path)
    assert lock.acquire()
    with pytest.raises(ZeroDivisionError), lock:
        _ = 1 / 0
    assert names(path) == []


def test_release_leaves_the_lock_of_others(path: Path) -> None:
    lock = Lock(path)
    lock.release()
    assert lock.acquire()
    forge(path)
    assert not lock.still_ours()
    assert not lock.beat()
    lock.release()
    assert path.exists()


def test_release_of_a_lock_that_somebody_removed(path: Path) -> None:
    with Lock(path) as lock:
        path.unlink()
        assert not lock.still_ours()


@pytest.fixture
def since_boot(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that tests set."""
    now = [1000.0]
    monkeypatch.setattr(module, "_since_boot", lambda: now[0])
    return now


def test_fresh_for_a_while_after_a_sign_of_life(path: Path, since_boot: list[float]) -> None:
    lock = Lock(path)
    assert not lock.is_fresh()
    with lock:
        since_boot[0] += FRESH - 1
        assert lock.is_fresh()
        since_boot[0] += 2
        assert not lock.is_fresh()
        assert lock.beat()
        assert lock.is_fresh()
    assert not lock.is_fresh()


def test_time_that_it_took_to_take_it_counts(
    path: Path, since_boot: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Lock._place

    def slowly(lock: Lock, token: str, content: bytes) -> bool:
        placed = place(lock, token, content)
        since_boot[0] += FRESH
        return placed

    monkeypatch.setattr(Lock, "_place", slowly)
    with Lock(path) as lock:
        assert not lock.is_fresh()


def test_never_fresh_where_sleep_goes_unnoticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    with Lock(path) as lock:
        assert not lock.is_fresh()


def test_mutual_exclusion(path: Path, tmp_path: Path, started: list[Process]) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    times = 150
    processes = [start(started, COUNT, path, counter, times) for _ in range(PROCESSES)]
    assert [line(process) for process in processes] == ["ready"] * PROCESSES
    for process in processes:
        go_on(process)
    assert [line(process) for process in processes] == ["done"] * PROCESSES
    assert int(counter.read_text()) == PROCESSES * times
    assert names(path) == []


def test_wait_goes_on_after_release(path: Path, started: list[Process], monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(started, HOLD, path)
    assert line(process) == "held"
    polls: list[float] = []

    def sleep(seconds: float) -> None:
        polls.append(seconds)
        if len(polls) == 12:
            go_on(process)
            assert line(process) == "released"

    monkeypatch.setattr(time, "sleep", sleep)
    with Lock(path) as lock:
        assert lock.still_ours()
    assert polls[0] == 0.02
    assert polls[1:3] == pytest.approx([0.03, 0.045])
    assert polls[-1] == 1.0
    assert len(polls) == 12


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_hard_links(code: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code), str(path), None, str(target))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with Lock(path) as lock:
        assert lock.still_ours()
        assert not Lock(path).acquire()
    forge(path, pid=2**22 + 1)
    with Lock(path):
        assert names(path) == [".17.lock"]
    assert names(path) == []


def test_answer_of_the_file_server_that_was_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Path.hardlink_to

    def link_twice(path: Path, target: Path) -> None:
        link(path, target)
        link(path, target)

    monkeypatch.setattr(Path, "hardlink_to", link_twice)
    with Lock(path) as lock:
        assert lock.still_ours()
    assert names(path) == []


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize(("owner", "call"), [(module, "_create"), (Path, "hardlink_to")])
def test_error_of_the_store_goes_through(
    code: int, owner: object, call: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    refused = OSError(code, os.strerror(code))

    def refuse(*_: object, **__: object) -> None:
        raise refused

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, refuse)
        with pytest.raises(OSError, match=os.strerror(code)) as error:
            Lock(path).acquire()
    assert error.value is refused
    assert names(path) == []
    assert Lock(path).acquire()


def test_fork_leaves_the_lock_to_the_parent(path: Path, started: list[Process]) -> None:
    process = start(started, FORK, path)
    assert line(process) == "False False False False False True"
    assert line(process) == "True True"
    assert line(process) == "False"


def test_lock_of_a_child_bears_its_own_name(path: Path, started: list[Process]) -> None:
    assert line(start(started, AGAIN_AFTER_FORK, path)) == "0"


def test_heart_touches_what_is_held(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heart, "HEARTBEAT", 0.001)
    monkeypatch.setattr(module, "_heart", heart.Heart())
    touched = threading.Event()
    beat = Lock.beat

    def tell(lock: Lock) -> bool:
        ours = beat(lock)
        touched.set()
        return ours

    monkeypatch.setattr(Lock, "beat", tell)
    with Lock(path):
        age_by(path, SILENCE)
        old = path.stat().st_mtime
        for _ in range(2):  # the first beat may have begun before
            touched.clear()
            assert touched.wait(60)
        assert path.stat().st_mtime > old + SILENCE / 2
        module._heart.before_fork()  # stops the thread
        module._heart.after_fork_in_parent()  # and starts it again
        touched.clear()
        assert touched.wait(60)
    module._heart.before_fork()
    module._heart.after_fork_in_parent()
    assert module._heart._thread is None


def test_heart_says_once_that_a_lock_was_lost(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Lock(path) as lock:
        forge(path)
        module._heart._beat(lock)
        module._heart._beat(lock)
    assert [message.partition(": ")[0] for message in caplog.messages] == [
        f"lock {path} of this process was taken from it"
    ]
    assert path.exists()


def test_heart_goes_on_after_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Lock(path) as lock:
        with monkeypatch.context() as patch:
            patch.setattr(os, "utime", lambda _: os.stat(path / "nothing"))  # noqa: PTH116
            module._heart._beat(lock)
        assert "could not be touched" in caplog.text
        assert lock in module._heart._locks


def test_termination_signal_releases_by_the_with_statement(path: Path, started: list[Process]) -> None:
    script = """
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
with lock:
    print("held", flush=True)
    sys.stdin.readline()
"""
    process = start(started, script, path)
    assert line(process) == "held"
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 3
    assert names(path) == []
