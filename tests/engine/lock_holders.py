"""Processes that hold locks, and locks of processes that do not exist."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from analysis.engine.lock import Holder
from analysis.engine.process import identity

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

Process = subprocess.Popen[str]


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
    path.write_text(json.dumps(dataclasses.asdict(Holder(**{**dataclasses.asdict(identity()), **facts}))))
    age_by(path, age)


def age_by(path: Path, age: float) -> None:
    touched = path.stat().st_mtime - age
    os.utime(path, (touched, touched))


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())
