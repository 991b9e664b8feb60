"""How many processes a run uses in all: the N of ``law run ... --workers N``.

luigi forks one process per task, up to N, and a workflow may fork helpers for its branches. All of them share N slots:

- the process of a task *waits* for its slot: ``with acquire():``,
- a helper takes a slot only if one is free, with ``acquire(block=False)``, in its own process, once per branch, and
  ends if it gets none. So a task that luigi starts later waits for one branch at most.

A process that holds a slot must not wait for another one: when all do, none goes on.

A slot is a file that is locked with :func:`fcntl.flock`; the kernel frees it when the process ends, however it ends.

With one worker there is nothing to share and no file: the process that called :func:`configure` (or imported this
module, without :func:`configure`) gets a slot whenever it asks, so that tasks which run inside each other never wait
for themselves. Processes forked from it get one if they wait for it (luigi may run its single task in a fork), never
with ``block=False``: one worker has no helpers.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self, overload

_SHORTEST_POLL = 0.01
_LONGEST_POLL = 0.05


class _Pool(NamedTuple):
    """The slots of this run; inherited by the processes forked from the main one."""

    owner: int
    workers: int
    folder: Path | None


class Slot:
    """The right to use one core. A process forked from the holder does not have it.

    Args:
        descriptor: the locked file; ``None`` where slots are not counted.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            _held.add(self)

    def release(self) -> None:
        """Free the slot; a second call does nothing."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # closing is not enough should somebody have inherited it
            self.forget()

    def forget(self) -> None:
        """Close the file and leave the slot to the parent, who holds it; called in a process just forked."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _held.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_held: set[Slot] = set()
_pool = _Pool(os.getpid(), 1, None)


def configure(workers: int, processes: int = 1) -> None:
    """Set how many slots there are; called once, in the main process, before luigi forks.

    Args:
        workers: number of slots; for 1 and below see the module.
        processes: how many processes luigi forks, if these are more: those that wait for batch jobs need no slot.

    Raises:
        OSError: if the temporary folder cannot be made.
    """
    global _pool  # noqa: PLW0603
    close()
    folder = Path(tempfile.mkdtemp(prefix="analysis-slots-")) if max(workers, processes) > 1 else None
    _pool = _Pool(os.getpid(), max(workers, 1), folder)


def place() -> tuple[str, int]:
    """Where the slots are, for :func:`join`: a folder, empty for none, and their number."""
    return str(_pool.folder or ""), _pool.workers


def join(folder: Path | None, workers: int) -> None:
    """Use the slots of another process, which has made them.

    Args:
        folder: where they are; ``None`` for none.
        workers: how many.
    """
    global _pool  # noqa: PLW0603
    _pool = _Pool(os.getpid() if folder is None else -1, workers, folder)


def workers() -> int:
    """How many slots there are."""
    return _pool.workers


@overload
def acquire(block: Literal[True] = True) -> Slot: ...
@overload
def acquire(block: bool) -> Slot | None: ...
def acquire(block: bool = True) -> Slot | None:
    """Take a slot.

    Args:
        block: wait until one is free.

    Returns:
        The slot; ``None`` if none is free and ``block`` is false.

    Raises:
        OSError: if the temporary folder is gone, or does not support locks.
    """
    if _pool.folder is None:
        return Slot() if block or os.getpid() == _pool.owner else None
    poll = _SHORTEST_POLL
    while (slot := _try(_pool.folder, _pool.workers)) is None and block:
        time.sleep(poll)
        poll = min(1.5 * poll, _LONGEST_POLL)
    return slot


def close() -> None:
    """Remove the temporary folder, at the end of the main process; does nothing in any other."""
    if _pool.folder is not None and _pool.owner == os.getpid():
        shutil.rmtree(_pool.folder, ignore_errors=True)


def _try(folder: Path, workers: int) -> Slot | None:
    for number in range(workers):
        # opened here and never before a fork: a lock belongs to the opening, which a fork would share
        descriptor = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        else:
            return Slot(descriptor)
    return None


def _after_fork_in_child() -> None:
    for slot in list(_held):
        slot.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(close)
