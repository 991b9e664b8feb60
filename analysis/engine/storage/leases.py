"""What a process is using of a cache, and what it is fetching: known to all, and collected after its death.

Each process that uses a cache has a *lease*: a directory ``leases/TOKEN`` for the files that it uses or fetches, and
the lock ``leases/TOKEN.lock``, which it holds for as long as it lives (:mod:`analysis.engine.lock`: a dead holder is
recognised, on this machine among its processes, on another one by its silence). Who gets the lock of another process
may remove all that carries its token.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from analysis.engine.lock import Lock

FORGOTTEN = 86400.0
"""Seconds after which what a process left that was killed inside of a lock's own operations is removed."""

_LOCK = ".lock"
_LONGEST_NAME = 100


class Lease:
    """The directory of this process.

    Args:
        root: root of the cache.

    Raises:
        OSError: if the cache cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.token = secrets.token_hex(8)
        self.folder = root / "leases" / self.token
        self._owner = os.getpid()
        self._lock = Lock(self.folder.with_name(self.token + _LOCK))
        self._numbers = itertools.count()
        self._lock.acquire()  # before the directory: nobody finds it without
        self.folder.mkdir(parents=True)
        atexit.register(self.end)

    def is_ours(self) -> bool:
        """Whether this process is the one that took the lease: not after a fork, nor after a very long sleep."""
        return self._owner == os.getpid() and self._lock.still_ours()

    def path(self, name: str) -> Path:
        """A path that nobody else uses, for a file whose name ends like this one."""
        return self.folder / f"{next(self._numbers)}-{name[-_LONGEST_NAME:]}"

    def drop(self, path: Path) -> None:
        """Remove a file of the lease; a forked process leaves it to the one that has taken it."""
        if self._owner == os.getpid():
            path.unlink(missing_ok=True)

    def end(self) -> None:
        """Give everything back; the operating system closes what is open. Not after a fork."""
        atexit.unregister(self.end)
        if self._owner == os.getpid():
            with contextlib.suppress(OSError):  # at the end of a process: what stays is collected by others
                shutil.rmtree(self.folder, ignore_errors=True)
                self._lock.release()


def collect(root: Path, mine: str) -> set[str]:
    """Remove what dead processes used or fetched.

    Args:
        root: root of the cache.
        mine: token of this process.

    Returns:
        Tokens of the processes that are alive.

    Raises:
        OSError: if the cache cannot be written.
    """
    leases, alive = root / "leases", {mine}
    for token in _tokens(root) - {mine}:
        lock = Lock(leases / (token + _LOCK))
        if not lock.acquire():
            alive.add(token)
            continue
        try:
            shutil.rmtree(leases / token, ignore_errors=True)
            for marker in list(reservations(root)):
                if marker.suffix == f".{token}":
                    marker.unlink(missing_ok=True)
        finally:
            lock.release()
    for folder in (leases, root / "locks"):
        _forget(folder)
    return alive


def collect_locks(root: Path) -> None:
    """Remove the locks of dead processes that fetched a file nobody asked for again."""
    for path in list(_files(root / "locks", _LOCK)):
        lock = Lock(path)
        if lock.acquire():
            lock.release()


def reservations(root: Path) -> Iterator[Path]:
    """Marks of files that are being fetched, each ``NAME.TOKEN`` of entry and process."""
    yield from _files(root / "incoming", "")


def _tokens(root: Path) -> set[str]:
    leases = {path.name.removesuffix(_LOCK) for path in _files(root / "leases", "")}
    return {token for token in leases if "." not in token} | {mark.suffix[1:] for mark in reservations(root)}


def _forget(folder: Path) -> None:
    """Remove files of a lock's own operations that are old by the clock of the file system."""
    litter = [path for path in _files(folder, "") if _LOCK + "." in path.name]
    if not litter:
        return
    clock = folder / f".clock{_LOCK}.{secrets.token_hex(8)}-{threading.get_ident()}"
    try:
        clock.touch()
        now = clock.stat().st_mtime
        for path in litter:
            with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
                if now - path.stat().st_mtime > FORGOTTEN:
                    path.unlink()
    finally:
        clock.unlink(missing_ok=True)


def _files(folder: Path, ending: str) -> Iterator[Path]:
    try:
        names = os.listdir(folder)  # noqa: PTH208  (ten times quicker than iterdir)
    except FileNotFoundError:
        return
    yield from (folder / name for name in names if name.endswith(ending))
