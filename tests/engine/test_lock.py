from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine import lock as module
from analysis.engine.lock import REBOOT, SILENCE, Holder, Lock

PROCESSES = 4
START = """
import os, sys
from pathlib import Path
from analysis.engine.lock import Lock
lock = Lock(Path(sys.argv[1]))
"""
HOLD = """
assert lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""
COUNT = """
counter = Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    lock.wait(poll=0.0005)
    counter.write_text(str(int(counter.read_text()) + 1))
    lock.release()
print("done", flush=True)
"""
# one attempt each, then a message while it holds the lock, so that two holders at one time would be seen
BREAK = """
print("ready", flush=True)
sys.stdin.readline()
won = lock.acquire()
print("won" if won else "lost", flush=True)
sys.stdin.readline()
lock.release()
"""
FORK = """
assert lock.acquire()
child = os.fork()
if child == 0:
    facts = [lock.still_ours(), lock.acquire(), Lock(lock.path).acquire(), lock.beat()]
    lock.release()
    with_statement = lock.path.exists()
    print(*facts, with_statement, flush=True)
    sys.exit()  # with all that runs at exit
os.waitpid(child, 0)
print(lock.still_ours(), lock.beat(), flush=True)
lock.release()
print(lock.path.exists(), flush=True)
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

Process = subprocess.Popen[str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifests" / ".17.lock"


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes of a test; none outlives it."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(started: list[Process], script: str, *arguments: object) -> Process:
    process = subprocess.Popen(
        [sys.executable, "-c", START + script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def line(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def forge(path: Path, age: float = 0.0, **changes: Any) -> None:
    """A lock file of somebody like this process but for some facts, last touched some time ago."""
    facts = {"since": "2026-01-01T00:00:00+00:00", "token": "0123456789abcdef", **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(module.identity(), **facts))))
    age_by(path, age)


def age_by(path: Path, age: float) -> None:
    touched = path.stat().st_mtime - age
    os.utime(path, (touched, touched))


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


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


def test_start_of_a_process_as_ps_says_it() -> None:
    state = module._process(os.getpid())
    assert state is not None
    assert not state[0]
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - state[1] / os.sysconf("SC_CLK_TCK")
    seconds = subprocess.run(
        ["ps", "-o", "etimes=", "-p", str(os.getpid())], capture_output=True, text=True, check=True
    ).stdout
    assert int(seconds) == pytest.approx(age, abs=2)


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
    started = module.identity().start
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
    assert line(process) == "False False False False True"
    assert line(process) == "True True"
    assert line(process) == "False"


def test_lock_of_a_child_bears_its_own_name(path: Path, started: list[Process]) -> None:
    assert line(start(started, AGAIN_AFTER_FORK, path)) == "0"


def test_heart_touches_what_is_held(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.001)
    monkeypatch.setattr(module, "_heart", module._Heart())
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
