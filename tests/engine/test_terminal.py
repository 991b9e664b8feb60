"""Lines of several processes do not get into one another."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

from analysis.engine import progress
from analysis.engine.storage import masking
from analysis.engine.terminal import say
from tests.engine.test_manifest import MANIFEST

BESIDE = """
import os
from analysis.engine.terminal import say
os.fork(), os.fork()  # four processes; the pipe ends with the last one
for number in range(2000):
    say(f"{os.getpid()} {number}")
"""


class Calls(io.RawIOBase):
    """What reaches the system, one by one."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self.texts.append(bytes(content).decode())
        return len(content)


@contextmanager
def calls() -> Iterator[list[str]]:
    """What reaches the system of a standard error that is as ``PYTHONUNBUFFERED`` makes it."""
    calls = Calls()
    with redirect_stderr(io.TextIOWrapper(calls, write_through=True)):  # type: ignore[type-var]
        yield calls.texts


def test_print_takes_two_calls() -> None:
    """Why there is ``say()``."""
    with calls() as texts:
        print("a", file=sys.stderr, flush=True)
    assert texts == ["a", "\n"]


def test_say_takes_one() -> None:
    with calls() as texts:
        say("a\nb")
    assert texts == ["a\nb\n"]


def test_a_finished_branch_takes_one() -> None:
    with calls() as texts:
        progress.report("Task", "Task branch 1", MANIFEST)
    assert texts == [f"Task branch 1: {progress.summary(MANIFEST)}\n"]


def test_a_traceback_takes_one() -> None:
    with calls() as texts:
        masking.excepthook(ValueError, ValueError("bad"), None)
    assert texts == ["ValueError: bad\n"]


def test_another_file() -> None:
    file = io.StringIO()
    say("a", file)
    assert file.getvalue() == "a\n"


def test_processes_at_once() -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", BESIDE], env=environment, stderr=subprocess.PIPE, text=True, check=True, timeout=60
    )
    lines = [line.split(" ") for line in ran.stderr.splitlines()]
    processes = {line[0] for line in lines}
    assert len(processes) == 4
    assert sorted(lines) == sorted([process, str(number)] for process in processes for number in range(2000))
