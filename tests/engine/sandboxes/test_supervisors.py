"""Sandboxes that run: who shares one, and that they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.process import is_running
from analysis.engine.sandboxes import inside, supervisors
from analysis.engine.sandboxes.base import Child, Running, Sandbox, SandboxError, Start
from analysis.engine.sandboxes.supervisors import Setup
from tests.chain import REPOSITORY
from tests.engine.sandboxes.runs import SOON, until

NOTHING: dict[str, Any] = {"wanted": None, "preload": []}
"""A request that names no task, so that the worker answers with an error."""


class Here(Sandbox):
    """This Python; it notes the processes that it started."""

    kind = "bash"

    def __init__(self, name: str = "here") -> None:
        super().__init__(name)
        self.started: list[int] = []
        self.command: list[str] = [sys.executable]

    def identity(self) -> str:
        return ""

    def prepare(self) -> None:
        pass

    def start(self, start: Start) -> Running:
        process = subprocess.Popen([*self.command, *start.command], start_new_session=True)
        self.started.append(process.pid)
        return Child(process)


def setup(**variables: str) -> Setup:
    return Setup("", variables, (), (str(REPOSITORY),), ())


def heard(sandbox: Sandbox, what: Setup | None = None) -> dict[str, Any]:
    """What is told of a task."""
    found: dict[str, Any] = {}
    with supervisors.asked(sandbox, what or setup(), lambda: NOTHING) as conversation:
        conversation.listen(lambda what, values: found.update({what: values[0]}))
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """In a directory whose name is too long for a socket."""
    place = tmp_path / ("long" * 30)
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    sandbox = Here()
    yield sandbox
    supervisors.close_run()
    assert until(lambda: not any(map(is_running, sandbox.started)), SOON)
    assert not list(place.iterdir())


def test_tasks_share_it(here: Here) -> None:
    for _ in range(3):
        told = heard(here)
        assert told["answer"]["error"][0]["error"] == "KeyError"
        assert told["ended"] == 1
    assert len(here.started) == 1


def test_at_the_same_time(here: Here) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert all("answer" in told for told in threads.map(heard, [here] * 8))
    assert len(here.started) == 1


def test_other_variables(here: Here) -> None:
    for what in (setup(A="1"), setup(A="2"), setup(A="1")):
        heard(here, what)
    assert len(here.started) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_one_that_ended_is_started_again(here: Here, number: signal.Signals) -> None:
    heard(here)
    os.kill(here.started[0], number)
    assert until(lambda: not is_running(here.started[0]), SOON)
    assert "answer" in heard(here)
    assert len(here.started) == 2


def test_who_stops_in_the_middle_of_a_request_keeps_nobody_waiting(here: Here) -> None:
    heard(here)
    (place,) = (path for path in supervisors.open_run().iterdir() if path.is_dir())
    with socket.socket(socket.AF_UNIX) as other:
        with inside.in_directory(place) as short:
            other.connect(f"{short}/{inside.SOCKET}")
        other.sendall(b"half")
        assert "answer" in heard(here)
    assert len(here.started) == 1


def test_one_that_does_not_start(here: Here) -> None:
    here.command = ["bash", "-c", "exit 97"]
    with pytest.raises(SandboxError, match=r"bash::here ended without an answer \(its script failed\)"):
        heard(here)


def test_it_ends_with_the_last_process_of_the_run(tmp_path: Path) -> None:
    """Which may be one that was forked from it: luigi has such ones."""
    code = f"""
import os, sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from analysis.engine.sandboxes import supervisors
from tests.engine.sandboxes.test_supervisors import Here, heard
supervisors.open_run()
here = Here()
if os.fork():
    os._exit(0)
heard(here)
print(os.getpid(), *here.started, flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    ) as run:
        assert run.stdout is not None
        forked, supervisor = map(int, run.stdout.readline().split())
        run.wait()
        assert is_running(supervisor)
        os.kill(forked, signal.SIGKILL)
        assert until(lambda: not is_running(supervisor), SOON)
        assert until(lambda: not list(tmp_path.iterdir()), SOON)


def test_a_request_that_ends_in_the_middle() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"half")
        ours.close()
        with pytest.raises(ValueError, match="in the middle"):
            inside.received(theirs)


def test_a_long_request_with_files() -> None:
    ours, theirs = socket.socketpair()
    line = b"x" * 1_000_000 + b"\n"
    with ours, theirs, ThreadPoolExecutor(1) as thread:
        found = thread.submit(inside.received, theirs)
        socket.send_fds(ours, [b"x"], [ours.fileno()])
        ours.sendall(line)
        got, files = found.result()
    for file in files:
        os.close(file)
    assert (len(got), len(files)) == (len(line) + 1, 1)
