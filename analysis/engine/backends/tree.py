"""The processes of a job: what memory they use, and that none is left behind. Linux only."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
"""See prctl(2)."""
_LISTED = Path("/proc/thread-self/children")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Let this process become the parent of descendants whose own parent ends: so none of them gets out of sight."""
    _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Let the kernel kill this process as soon as its parent is gone."""
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@cache
def take_children_along() -> None:
    """Let the kernel kill all processes that are forked from this one by its main thread as soon as it is gone.

    Those of multiprocessing would go on, or, as luigi's manager does, wait for ever.
    """
    forked_by: list[threading.Thread] = []

    def before() -> None:
        forked_by[:] = [threading.current_thread()]

    def after() -> None:
        if forked_by == [main]:  # the kernel looks at the thread, and the others come and go
            die_with_parent()

    main = threading.main_thread()
    os.register_at_fork(before=before, after_in_child=after)


def flush_c_streams() -> None:
    """Write what compiled code has printed so far."""
    _libc().fflush(None)


def descendants(pid: int) -> list[int]:
    """Ids of all processes below one."""
    children = _children if _LISTED.exists() else _table()
    found: list[int] = []
    todo = [pid]
    while todo:
        new = [child for child in children(todo.pop()) if child not in found]
        found += new
        todo += new
    return found


def _children(pid: int) -> Iterator[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with suppress(FileNotFoundError, ProcessLookupError):
                yield from map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())


def _table() -> Callable[[int], list[int]]:
    """Children by parent, for kernels that do not list them: takes longer, since it looks at all processes."""
    table: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208
        with suppress(OSError):
            parent = int(Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[1])
            table.setdefault(parent, []).append(int(name))
    return lambda pid: table.get(pid, [])


def working_for(folder: Path) -> list[int]:
    """Ids of processes whose arguments name something in a directory, and of all below them; looks at all processes.

    Those in a container of docker are no children of who asked for it.
    """
    mark, found = f"\0{folder}/".encode(), set[int]()
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208
        with suppress(OSError):
            if mark in Path(f"/proc/{name}/cmdline").read_bytes():
                found |= {int(name), *descendants(int(name))}
    return sorted(found - {os.getpid()})


def memory_of(pids: list[int]) -> int:
    """Sum of the resident memory of processes [bytes]; what they share counts for each of them, as for a scheduler."""
    pages = 0
    for pid in pids:
        with suppress(OSError, IndexError):  # it may have ended in this moment
            pages += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    return pages * _PAGE


def forget_peak_memory() -> None:
    """Let the peak of this process' memory count from now on."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def kill_descendants() -> None:
    """Kill everything below this process, and take note of its end; needs :func:`adopt_orphans`."""
    while pids := descendants(os.getpid()):
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def oom_kills() -> int:
    """How many processes of this job's control group the kernel has killed for lack of memory; 0 if it is not known."""
    with suppress(OSError):
        for path in oom_files(Path("/proc/self/cgroup").read_text()):
            with suppress(OSError):
                found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
                return int(found[1]) if found else 0
    return 0


def oom_files(groups: str) -> list[Path]:
    """Files that count the kills, where they may be.

    Args:
        groups: ``/proc/self/cgroup``, see cgroups(7).
    """
    found = []
    for line in groups.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            found.append(Path(f"/sys/fs/cgroup{path}/memory.events"))
        elif "memory" in controllers.split(","):
            found.append(Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control"))
    return found
