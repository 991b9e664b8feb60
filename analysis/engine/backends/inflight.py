"""Whether a call of a scheduler that submits jobs is still under way, told even after the caller was killed.

A submission holds a lock (flock) on a file of its folder, and the program that submits inherits it. The lock lives as
long as any of the two: who can take it knows that nothing is under way any more, and asks the scheduler what came of
it. Works among processes of one machine, and of several where the file system of the folder has locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from analysis.engine.backends.base import BackendError, SubmissionError

LOCK = "submitting.lock"
"""Name of the lock file in the folder of a submission."""

_POLL = 0.05
_SEALED = b"given up\n"


@contextlib.contextmanager
def in_flight(folder: Path) -> Iterator[int]:
    """Hold the lock of a submission while it is under way.

    Args:
        folder: the submission's; exists.

    Yields:
        The descriptor to hand on to the program that submits: ``subprocess.run(..., pass_fds=(descriptor,))``.

    Raises:
        SubmissionError: if another process has concluded that this submission is over (:func:`wait_until_landed`).
        BackendError: if the folder is on a file system without locks, or cannot be written.
    """
    descriptor = _open(folder)
    try:
        _lock(descriptor, folder, wait=True)
        if os.fstat(descriptor).st_size:
            msg = f"The submission in {folder} was given up by another run in the meantime; nothing was submitted."
            raise SubmissionError(msg)
        yield descriptor
    finally:
        os.close(descriptor)  # never LOCK_UN: it would take the lock from a child that outlives us as well


def wait_until_landed(folder: Path, timeout: float) -> bool:
    """Wait until no submission from a folder is under way, and let none start from it any more.

    Args:
        folder: the submission's; may be gone.
        timeout: patience [s].

    Returns:
        Whether it is over; then what the scheduler knows of its token is all there will ever be.

    Raises:
        BackendError: if the folder is on a file system without locks, or cannot be written.
    """
    if not folder.is_dir():
        return True
    end = time.monotonic() + timeout
    descriptor = _open(folder)
    try:
        while not _lock(descriptor, folder, wait=False):
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL)
        if not os.fstat(descriptor).st_size:
            os.write(descriptor, _SEALED)
    finally:
        os.close(descriptor)
    return True


def _open(folder: Path) -> int:
    try:
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)  # an exclusive lock on NFS needs write access
    except OSError as error:
        msg = f"{folder / LOCK} cannot be opened ({error.strerror}): choose another [job] job_file_dir in law.cfg"
        raise BackendError(msg) from error


def _lock(descriptor: int, folder: Path, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        msg = (
            f"The file system of {folder} has no file locks ({error.strerror}), without which an interrupted "
            "submission could be doubled: choose another [job] job_file_dir in law.cfg"
        )
        raise BackendError(msg) from error
    return True
