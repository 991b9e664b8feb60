"""Which process this is, and whether another one of this machine still runs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import socket
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Process:
    """A process among those of all machines.

    Attributes:
        host: name of the machine.
        pid: process id, in its namespace.
        start: when the process started, in clock ticks since boot; tells it from a later one with the same id.
        boot: id of the machine's boot.
        namespace: the namespace of process ids; two containers on one machine have two.
    """

    host: str
    pid: int
    start: int | None
    boot: str | None
    namespace: str | None


@functools.cache
def identity() -> Process:
    """This process."""
    boot = namespace = None
    with contextlib.suppress(OSError):  # not Linux
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    state = _process(os.getpid())
    return Process(socket.gethostname(), os.getpid(), state[1] if state else None, boot, namespace)


def _process(pid: int) -> tuple[bool, int] | None:
    """Whether a process has ended, and when it started; ``None`` if it is not to be seen.

    Fields 3 (state), 20 (threads) and 22 (start) of its ``stat``, see proc(5); field 2, in brackets, may contain any.
    A zombie was killed, and its parent has not noticed yet; its other threads may still be at work.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0] in {b"Z", b"X"} and int(fields[17]) <= 1, int(fields[19])


def is_running(pid: int, start: int | None = None) -> bool:
    """Whether a process of this machine runs, and is the one that started at that time, if it is known."""
    try:
        with contextlib.suppress(PermissionError):  # of another user
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    found = _process(pid)
    return found is None or (not found[0] and start in {None, found[1]})
