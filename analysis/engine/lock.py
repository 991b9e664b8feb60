"""A lock per branch in the store, so that two runs, on one machine or on two that share it, never do one branch twice.

A lock is a small file that says who holds it. A holder on this machine is looked up among its processes; a holder
elsewhere touches its lock every :data:`HEARTBEAT` seconds, and counts as gone after :data:`SILENCE` seconds without,
by the clock of the store. Nothing depends on the wall clock of a machine.

A lock file is removed by its holder, or by whoever holds the lock *on removing just that file* (a second lock, named
after the token of the first). So of many processes that find a stale lock one removes it, and none removes the fresh
lock that came after it.

:class:`BaseLock` is what all locks have in common; :class:`Lock` is one on a disk, and
:class:`~analysis.engine.storage.locks.RemoteLock` one on a server.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import secrets
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from pathlib import Path, PurePath
from types import TracebackType
from typing import ClassVar, Self

from analysis.engine.heart import HEARTBEAT, Heart
from analysis.engine.holder import Holder, Seen
from analysis.engine.process import identity, is_running

__all__ = ["HEARTBEAT", "REBOOT", "SILENCE", "BaseLock", "Holder", "Lock", "Seen"]

SILENCE = 600.0
"""Seconds without a touch after which a holder on another machine, or one that cannot be read, counts as gone."""
REBOOT = 90.0
"""The same for a machine with our name and another boot id: rebooted, or a namesake that is alive and beats."""

FRESH = 30.0
"""Seconds after a sign of life in which nobody takes a lock for stale, wherever it is."""

_NO_HARD_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV)
_logger = logging.getLogger("analysis.engine")


class BaseLock(ABC):
    """A lock; not re-entrant, and an object is for one thread.

    A process that is forked while its parent holds the lock does not hold it.

    Args:
        path: of the lock, such as ``manifests/.17.lock``. Its folder is made when needed.
    """

    silence: float = SILENCE
    reboot: float = REBOOT
    resolution: ClassVar[float] = 0.0
    """Of the times that the store tells [s]."""
    longest_poll: ClassVar[float] = 1.0

    def __init__(self, path: PurePath) -> None:
        self._path = path
        self._token: str | None = None
        self._owner = 0
        self._alive_until: tuple[Seen | None, float] = (None, 0.0)
        self._fresh_until = 0.0

    @property
    def path(self) -> PurePath:
        """Of the lock."""
        return self._path

    def acquire(self, look: bool = True) -> bool:
        """Take the lock if it is free, or if its holder is gone; never waits.

        Args:
            look: who holds it before; if not, a lock whose holder is gone counts as taken, and one that is free takes
                fewer requests.

        Returns:
            Whether it has been taken. ``False`` also if this process holds it already.

        Raises:
            OSError: if the store cannot be written.
        """
        if self._is_held():
            return False
        now = _since_boot()
        seen = self._look() if look else None
        if seen is not None and not (self._is_stale(seen) and self._break(seen)):
            return False
        won = self._claim()
        self._fresh_until = now + FRESH
        return won

    def wait(self, poll: float = 0.02) -> None:
        """Wait until the lock is taken; returns at once if this object holds it.

        Args:
            poll: time to the second attempt [s]; it grows to :attr:`longest_poll`.

        Raises:
            OSError: if the store cannot be written.
        """
        while not self._is_held() and not self.acquire():
            time.sleep(poll)
            poll = max(poll, min(1.5 * poll, self.longest_poll))

    def release(self) -> None:
        """Give the lock back; does nothing if it is not ours (any more).

        Raises:
            OSError: if the store cannot be written.
        """
        if self._is_held():
            self._heart().remove(self)
            self._remove()
        self._token = None

    def holder(self) -> Holder | None:
        """Who holds the lock; ``None`` if nobody does, or if it does not tell."""
        seen = self._look()
        return seen.holder if seen else None

    def is_fresh(self) -> bool:
        """Whether this object holds the lock, and took or touched it so short a while ago that nobody calls it stale.

        The time in which the machine sleeps, or the process is stopped, counts. Asks nobody.
        """
        return self._is_held() and _since_boot() < self._fresh_until

    def still_ours(self) -> bool:
        """Whether this object, in this process, holds the lock, and nobody took it for stale."""
        holder = self.holder() if self._is_held() else None
        return holder is not None and holder.token == self._token

    def beat(self) -> bool:
        """Touch the lock, so that other machines see that its holder lives.

        Returns:
            Whether it is still ours.

        Raises:
            OSError: if the store cannot be written.
        """
        now = _since_boot()
        if not self.still_ours():
            return False
        self._touch()
        self._fresh_until = now + FRESH
        return True

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @abstractmethod
    def _look(self) -> Seen | None:
        """The lock as it is; ``None`` if it is free."""

    @abstractmethod
    def _place(self, token: str, content: bytes) -> bool:
        """Put a lock of that content in place, at once, unless there is one; leaves nothing behind if it raises."""

    @abstractmethod
    def _break(self, stale: Seen) -> bool:
        """Remove a stale lock; ``False`` if it is no longer there as it was, or somebody else removes it."""

    @abstractmethod
    def _remove(self) -> None:
        """Remove our lock, and no other."""

    @abstractmethod
    def _touch(self) -> None:
        """Let the time of our lock be that of the store."""

    @abstractmethod
    def _clock(self) -> int:
        """Time of the store [ns]."""

    def _heart(self) -> Heart:
        return _heart

    def _is_held(self) -> bool:
        return self._token is not None and self._owner == os.getpid()

    def _claim(self) -> bool:
        token, now = secrets.token_hex(8), datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
        content = Holder(**vars(identity()), since=now, token=token)
        self._token, self._owner = token, os.getpid()
        try:
            won = self._place(token, json.dumps(vars(content)).encode())
            if won:
                self._heart().add(self)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error says more
                self.release()
            raise
        self._token = token if won else None
        return won

    def _is_stale(self, seen: Seen) -> bool:
        holder, here = seen.holder, identity()
        if holder is None or holder.host != here.host:
            return self._is_silent(seen, self.silence)
        if (holder.boot, holder.namespace) == (here.boot, here.namespace):
            return not is_running(holder.pid, holder.start)
        rebooted = holder.boot is not None and here.boot is not None and holder.boot != here.boot
        return self._is_silent(seen, self.reboot if rebooted else self.silence)

    def _is_silent(self, seen: Seen, limit: float) -> bool:
        known, until = self._alive_until
        if known == seen and time.monotonic() < until:  # do not ask the store for the time at every poll
            return False
        age = (self._clock() - seen.touched) / 1e9 - self.resolution
        self._alive_until = (seen, time.monotonic() + min(limit - age, HEARTBEAT))
        return age > limit and seen.touched > 0

    def _beside(self, *endings: str) -> PurePath:
        return self._path.with_name(".".join((self._path.name, *endings)))


class Lock(BaseLock):
    """A lock file on a disk.

    Args:
        path: of the lock file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path

    @property
    def path(self) -> Path:
        """The lock file."""
        return self._file

    def _look(self) -> Seen | None:
        return _look(self._file)

    def _place(self, token: str, content: bytes) -> bool:
        claim = self._beside(token, "claim")
        try:
            _create(claim, content)
            # the second: a file server may have linked it and lost the answer
            won = _link(claim, self._file) or self.still_ours()
            claim.unlink(missing_ok=True)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error says more
                claim.unlink(missing_ok=True)
            raise
        return won

    def _break(self, stale: Seen) -> bool:
        guard = Lock(self._beside(stale.mark))
        if not guard.acquire():
            return False
        with guard:
            if _look(self._file) != stale:
                return False
            grave = self._beside(stale.mark, "broken")
            try:
                self._file.rename(grave)
            except FileNotFoundError:
                return False
            removed = _look(grave)
            if removed != stale:  # a holder that was silent for long woke up in this very moment
                _link(grave, self._file)
                grave.unlink(missing_ok=True)
                return False
            grave.unlink(missing_ok=True)
        _logger.warning("%s was locked by %s, which is gone: lock removed", self._file, stale.holder or "nobody known")
        return True

    def _remove(self) -> None:
        if self.still_ours():
            self._file.unlink(missing_ok=True)

    def _touch(self) -> None:
        os.utime(self._file)  # without a time: a file server sets its own

    def _clock(self) -> int:
        clock = self._beside(secrets.token_hex(8), "clock")
        _create(clock, b"")
        try:
            os.utime(clock)
            return clock.stat().st_mtime_ns
        finally:
            clock.unlink(missing_ok=True)

    def _beside(self, *endings: str) -> Path:
        return self._file.with_name(".".join((self._file.name, *endings)))


_heart = Heart()
_heart.watch_forks()


def _since_boot() -> float:
    """Time since boot [s], with the time in which the machine slept; infinite where it is not known."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else math.inf


def _look(path: Path) -> Seen | None:
    try:
        try:
            descriptor = os.open(path, os.O_RDONLY)  # also makes NFS ask the server
            try:
                status, content = os.fstat(descriptor), os.read(descriptor, 4096)
            finally:
                os.close(descriptor)
        except PermissionError:
            status, content = path.stat(), b""
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise
    holder = Holder.parse(content)
    mark = holder.token if holder else f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return Seen(mark, status.st_mtime_ns, holder)


def _create(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(content)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _link(source: Path, path: Path) -> bool:
    """Give a file a second name, at once with all its content; ``False`` if the name is taken."""
    try:
        path.hardlink_to(source)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
    else:
        return True
    try:  # a reader that finds it still empty takes it for that of another machine, and alive
        _create(path, source.read_bytes())
    except FileExistsError:
        return False
    return True
