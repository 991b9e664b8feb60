from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine import lock as module
from analysis.engine.lock import REBOOT, SILENCE, Holder, Lock
from analysis.engine.process import identity
from tests.engine.lock_holders import COUNT, HOLD, PROCESSES, Process, age_by, forge, go_on, line, names, start

# one attempt each, then a message while it holds the lock, so that two holders at one time would be seen
BREAK = """
print("ready", flush=True)
sys.stdin.readline()
won = lock.acquire()
print("won" if won else "lost", flush=True)
sys.stdin.readline()
lock.release()
"""
UNREAPED = """
assert lock.acquire()
lock.release()
child = os.fork()
if child == 0:
    lock.acquire()
    os.kill(os.getpid(), 9)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it is dead, and stays a zombie
print(lock.acquire(), flush=True)
"""
LEADERLESS = """
import ctypes, threading
assert lock.acquire()
def work():
    while Path("/proc/self/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    print("held", flush=True)
    os.read(0, 1)
    os._exit(0)
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifests" / ".17.lock"


def test_holder_that_lives(path: Path, started: list[Process]) -> None:
    process = start(started, HOLD, path)
    assert line(process) == "held"
    age_by(path, 10 * SILENCE)  # on this machine the process counts, not its heart
    assert not Lock(path).acquire()
    holder = Lock(path).holder()
    assert holder is not None
    assert holder.pid == process.pid
    go_on(process)
    assert line(process) == "released"
    assert Lock(path).acquire()


def test_holder_that_was_killed(path: Path, started: list[Process], caplog: pytest.LogCaptureFixture) -> None:
    process = start(started, HOLD, path)
    assert line(process) == "held"
    process.kill()
    process.wait()
    with caplog.at_level(logging.INFO, "analysis.engine"), Lock(path) as lock:
        assert lock.still_ours()
        assert names(path) == [".17.lock"]
    (message,) = caplog.messages
    assert f"{path} was locked by process {process.pid} on {os.uname().nodename} (since 20" in message


def test_holder_that_was_killed_and_is_a_zombie(path: Path, started: list[Process]) -> None:
    assert line(start(started, UNREAPED, path)) == "True"


def test_holder_whose_main_thread_ended_before_the_others(path: Path, started: list[Process]) -> None:
    process = start(started, LEADERLESS, path)
    assert line(process) == "held"
    assert not Lock(path).acquire()
    go_on(process)
    assert process.wait() == 0
    assert Lock(path).acquire()


def test_wait_goes_on_after_the_holder_was_killed(path: Path, started: list[Process]) -> None:
    process = start(started, HOLD, path)
    assert line(process) == "held"
    waiter = start(started, COUNT, path, path.with_name("counter"), 1)
    path.with_name("counter").write_text("0")
    assert line(waiter) == "ready"
    go_on(waiter)
    process.kill()
    process.wait()
    assert line(waiter) == "done"


def test_process_id_that_was_given_again(path: Path) -> None:
    started = identity().start
    assert started is not None
    forge(path)
    assert not Lock(path).acquire()
    forge(path, start=started - 1)
    assert Lock(path).acquire()


@pytest.mark.parametrize(
    ("facts", "limit"),
    [
        ({"host": "elsewhere"}, SILENCE),
        ({"host": "elsewhere", "boot": "another"}, SILENCE),
        ({"namespace": "pid:[1]"}, SILENCE),
        ({"boot": None}, SILENCE),
        ({"boot": "another"}, REBOOT),
        ({"boot": "another", "namespace": "pid:[1]"}, REBOOT),
    ],
)
@pytest.mark.parametrize("jump", [-1e6, 0.0, 1e6])
def test_holder_elsewhere_is_judged_by_its_heart(
    facts: dict[str, Any], limit: float, jump: float, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    gone = 2**22 + 1  # never the id of a process here
    forge(path, age=limit - 20, pid=gone, **facts)
    assert not Lock(path).acquire()
    assert names(path) == [".17.lock"]
    forge(path, age=limit + 20, **facts)
    assert Lock(path).acquire()
    assert names(path) == [".17.lock"]


def test_wait_asks_the_store_for_the_time_once_per_beat(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge(path, host="elsewhere")
    created: list[str] = []
    create = module._create
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def create_and_note(path: Path, content: bytes) -> None:
        created.append(path.suffix)
        create(path, content)

    monkeypatch.setattr(module, "_create", create_and_note)
    lock = Lock(path)
    assert not any(lock.acquire() for _ in range(5))
    assert created == [".clock"]
    now += module.HEARTBEAT
    assert not lock.acquire()
    assert created == [".clock"] * 2
    age_by(path, 2 * SILENCE)
    assert lock.acquire()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"{",
        b"[" * 4000,
        b"null",
        b"[]",
        b"{}",
        b'{"pid": 1}',
        b'{"host":"h","pid":-1,"start":1,"boot":"b","namespace":"n","since":"s","token":"0123456789abcdef"}',
        b'{"host":"h","pid":"1","start":1,"boot":"b","namespace":"n","since":"s","token":"0123456789abcdef"}',
        b'{"host":"h","pid":1,"start":1,"boot":"b","namespace":"n","since":"s","token":"/../../../etc/etc"}',
        b'{"host":1,"pid":1,"start":1,"boot":"b","namespace":"n","since":"s","token":"0123456789abcdef"}',
    ],
)
def test_content_that_is_no_lock(content: bytes, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert Lock(path).holder() is None
    assert not Lock(path).acquire()
    assert path.read_bytes() == content
    age_by(path, SILENCE + 20)
    assert Lock(path).acquire()
    assert names(path) == [".17.lock"]


@given(
    st.binary(max_size=300) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(repr).map(str.encode)
)
def test_no_content_breaks_the_parser(content: bytes) -> None:
    assert Holder.parse(content) is None


@given(
    st.builds(
        Holder,
        host=st.text(),
        pid=st.integers(1, 2**31 - 1),
        start=st.none() | st.integers(min_value=0),
        boot=st.none() | st.text(),
        namespace=st.none() | st.text(),
        since=st.text(),
        token=st.from_regex(r"\A[0-9a-f]{16}\Z"),
    )
)
def test_holder_survives_the_file(holder: Holder) -> None:
    assert Holder.parse(json.dumps(dataclasses.asdict(holder)).encode()) == holder


@pytest.mark.parametrize("turn", range(5))
def test_many_break_one_stale_lock(turn: int, path: Path, started: list[Process]) -> None:
    forge(path, pid=2**22 + 1, token=f"{turn:016x}")
    processes = [start(started, BREAK, path) for _ in range(PROCESSES)]
    assert [line(process) for process in processes] == ["ready"] * PROCESSES
    for process in processes:
        go_on(process)
    assert sorted(line(process) for process in processes) == ["lost"] * (PROCESSES - 1) + ["won"]
    for process in processes:
        go_on(process)
        assert process.wait() == 0
    assert names(path) == []


def test_slow_breaker_leaves_the_lock_that_came_after_the_stale_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(path, pid=2**22 + 1)
    stale = module._look(path)
    assert stale is not None
    slow, fast = Lock(path), Lock(path)
    assert slow._is_stale(stale)
    assert fast.acquire()
    monkeypatch.delattr(Path, "rename")  # not even for a moment
    assert not slow._break(stale)
    assert fast.still_ours()
    assert names(path) == [".17.lock"]


def test_holder_that_wakes_up_while_its_lock_is_broken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge(path, age=SILENCE + 20, host="elsewhere")
    rename = Path.rename

    def wake_up_and_rename(source: Path, target: Path) -> Path:
        os.utime(source)
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", wake_up_and_rename)
    assert not Lock(path).acquire()
    holder = Lock(path).holder()
    assert holder is not None
    assert holder.host == "elsewhere"
    assert names(path) == [".17.lock"]


def test_breaker_that_was_killed_is_no_obstacle(path: Path) -> None:
    gone = 2**22 + 1
    forge(path, pid=gone, token="0" * 16)
    forge(path.with_name(f".17.lock.{'0' * 16}"), pid=gone, token="1" * 16)
    assert Lock(path).acquire()
    assert names(path) == [".17.lock"]


def test_breaker_that_lives_goes_first(path: Path) -> None:
    forge(path, pid=2**22 + 1, token="0" * 16)
    with Lock(path.with_name(f".17.lock.{'0' * 16}")):
        assert not Lock(path).acquire()
    assert Lock(path).acquire()
