from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.engine import slots

# The main process forks children that obey single letters and answer with one line each.
MAIN = """
import atexit, os, sys
from analysis.engine import slots
slots.configure(int(sys.argv[1]))
"""
# a: acquire without waiting, w: wait, r: release, f: fork a child that lives and say its id,
# x: do what is done at exit
CHILD = """
def obey(read, write):
    slot = None
    with os.fdopen(read) as orders, os.fdopen(write, "w", buffering=1) as answers:
        for order in orders:
            order = order.strip()
            if order in "aw":
                slot = slots.acquire(block=order == "w")
                print("none" if slot is None else "slot", file=answers)
            elif order == "r":
                slot.release()
                print("released", file=answers)
            elif order == "f":
                child = os.fork()
                if child == 0:
                    os.read(os.pipe()[0], 1)  # until it is killed
                print(child, file=answers)
            elif order == "x":
                atexit._run_exitfuncs()
                print("exited", file=answers)
    os._exit(0)
ends = sys.argv[2:]
children = []
for end in ends:
    read, write = map(int, end.split(","))
    child = os.fork()
    if child == 0:
        obey(read, write)
    children.append(child)
print(*children, flush=True)
sys.stdin.readline()
"""
COUNT = """
import fcntl, mmap, time
shared = mmap.mmap(-1, 16)  # processes now, most at a time
guard = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
os.close(guard)
def change(by):
    descriptor = os.open(sys.argv[2], os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    shared[0] += by
    shared[1] = max(shared[0], shared[1])
    os.close(descriptor)
children = []
for _ in range(6):
    child = os.fork()
    if child == 0:
        for _ in range(30):
            with slots.acquire():
                change(1)
                os.sched_yield()
                change(-1)
        os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(codes, shared[0], shared[1], flush=True)
"""


class Run:
    """A main process with forked children."""

    def __init__(self, workers: int, children: int) -> None:
        pipes = [(os.pipe(), os.pipe()) for _ in range(children)]
        ends = [(orders[0], answers[1]) for orders, answers in pipes]
        self.main = subprocess.Popen(
            [sys.executable, "-c", MAIN + CHILD, str(workers), *(f"{read},{write}" for read, write in ends)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[end for pair in ends for end in pair],
        )
        for end in (end for pair in ends for end in pair):
            os.close(end)
        self._orders = [os.fdopen(orders[1], "w", buffering=1) for orders, _ in pipes]
        self._answers = [os.fdopen(answers[0]) for _, answers in pipes]
        assert self.main.stdout is not None
        self.children = [int(pid) for pid in self.main.stdout.readline().split()]

    def tell(self, child: int, order: str) -> None:
        self._orders[child].write(order + "\n")

    def answer(self, child: int) -> str:
        return self._answers[child].readline().strip()

    def ask(self, child: int, order: str) -> str:
        self.tell(child, order)
        return self.answer(child)

    def close(self) -> None:
        for file in (*self._orders, *self._answers):
            file.close()
        self.main.communicate("\n")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made; no slots are configured before and after a test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    slots.configure(1)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    run = Run(*request.param)
    yield run
    run.close()


def test_as_many_as_there_are(temporary: Path) -> None:
    slots.configure(3)
    first, second, third = slots.acquire(), slots.acquire(), slots.acquire()
    assert slots.acquire(block=False) is None
    second.release()
    second.release()  # does nothing, least of all to the next holder
    fourth = slots.acquire(block=False)
    assert fourth is not None
    second.release()
    assert slots.acquire(block=False) is None
    for slot in (first, third, fourth):
        slot.release()
    assert len(list(temporary.iterdir())) == 1


def test_with_releases_after_an_error() -> None:
    slots.configure(2)
    slots.acquire()
    with pytest.raises(ZeroDivisionError), slots.acquire():
        _ = 1 / (slots.acquire(block=False) is not None)
    assert slots.acquire(block=False) is not None


def test_descriptors_are_closed() -> None:
    slots.configure(2)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with slots.acquire(), slots.acquire():
        assert slots.acquire(block=False) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_one_worker_never_waits_for_itself(temporary: Path) -> None:
    for workers in (1, 0):
        slots.configure(workers)
        with slots.acquire(), slots.acquire():
            assert slots.acquire(block=False) is not None
    assert list(temporary.iterdir()) == []


def test_configured_again(temporary: Path) -> None:
    slots.configure(2)
    slots.configure(3)
    assert len(list(temporary.iterdir())) == 1
    slots.close()
    assert list(temporary.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        slots.acquire()


def test_waiting_backs_off(monkeypatch: pytest.MonkeyPatch) -> None:
    slots.configure(2)
    held = [slots.acquire(), slots.acquire()]
    polls: list[float] = []

    def sleep(seconds: float) -> None:
        polls.append(seconds)
        if len(polls) == 10:
            held[0].release()

    monkeypatch.setattr(time, "sleep", sleep)
    slots.acquire()
    assert polls[:3] == pytest.approx([0.01, 0.015, 0.0225])
    assert polls[-1] == slots._LONGEST_POLL
    assert len(polls) == 10


@pytest.mark.parametrize("run", [(2, 3)], indirect=True)
def test_shared_by_forked_processes(run: Run) -> None:
    assert [run.ask(child, "a") for child in range(3)] == ["slot", "slot", "none"]
    run.tell(2, "w")
    assert run.ask(0, "r") == "released"
    assert run.answer(2) == "slot"
    assert run.ask(0, "a") == "none"


@pytest.mark.parametrize("run", [(2, 3)], indirect=True)
def test_freed_when_the_holder_is_killed(run: Run) -> None:
    assert [run.ask(child, "a") for child in range(3)] == ["slot", "slot", "none"]
    run.tell(2, "w")
    os.kill(run.children[1], 9)
    assert run.answer(2) == "slot"


@pytest.mark.parametrize("run", [(2, 3)], indirect=True)
def test_freed_though_a_child_of_the_holder_lives(run: Run) -> None:
    assert [run.ask(child, "a") for child in range(3)] == ["slot", "slot", "none"]
    grandchild = int(run.ask(0, "f"))
    try:
        run.tell(2, "w")
        os.kill(run.children[0], 9)
        assert run.answer(2) == "slot"
        os.kill(grandchild, 0)
    finally:
        os.kill(grandchild, 9)


@pytest.mark.parametrize("run", [(2, 2)], indirect=True)
def test_kept_by_the_holder_though_its_child_ends(run: Run) -> None:
    assert [run.ask(child, "a") for child in range(2)] == ["slot", "slot"]
    os.kill(int(run.ask(0, "f")), 9)
    assert run.ask(1, "r") == "released"
    assert run.ask(1, "a") == "slot"
    assert run.ask(1, "a") == "none"


@pytest.mark.parametrize("run", [(1, 2)], indirect=True)
def test_one_worker_has_no_helpers(run: Run) -> None:
    assert [run.ask(child, "a") for child in range(2)] == ["none", "none"]
    assert run.ask(0, "w") == "slot"
    assert run.ask(1, "a") == "none"


@pytest.mark.parametrize("run", [(2, 2)], indirect=True)
def test_folder_goes_with_the_main_process_only(run: Run, temporary: Path) -> None:
    assert [run.ask(child, "a") for child in range(2)] == ["slot", "slot"]
    folder = next(temporary.iterdir())
    assert run.ask(0, "x") == "exited"
    run.tell(1, "r")
    assert run.answer(1) == "released"
    assert folder.is_dir()
    assert run.main.stdin is not None
    run.main.stdin.write("\n")
    run.main.stdin.flush()
    assert run.main.wait() == 0
    assert not folder.exists()


@pytest.mark.parametrize("workers", [2, 3])
def test_never_more_at_a_time(workers: int, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", MAIN + COUNT, str(workers), str(tmp_path / "guard")],
        capture_output=True,
        text=True,
        check=True,
    )
    codes, most = found.stdout.strip().rsplit(" ", 1)
    assert codes == f"{[0] * 6} 0"
    assert 1 <= int(most) <= workers
