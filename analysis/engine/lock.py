"""A lock per branch in the store, so that two runs, on one machine or on two that share it, never do one branch twice.

A lock is a small file that says who holds it. A holder on this machine is looked up among its processes; a holder
elsewhere touches its lock every :data:`HEARTBEAT` seconds, and counts as gone after :data:`SILENCE` seconds without,
by the clock of the store. Nothing depends on the wall clock of a machine.

A lock file is removed by its holder, or by whoever holds the lock *on removing just that file* (a second lock, named
after the token of the first). So of many processes that find a stale lock one removes it, and none removes the fresh
lock that came after it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import re
import secrets
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from analysis.engine.process import Process, identity, is_running

HEARTBEAT = 30.0
"""Seconds between two touches of a lock that is held."""
SILENCE = 600.0
"""Seconds without a touch after which a holder on another machine, or one that cannot be read, counts as gone."""
REBOOT = 90.0
"""The same for a machine with our name and another boot id: rebooted, or a namesake that is alive and beats."""

_LONGEST_POLL = 1.0
_TOKEN = re.compile(r"[0-9a-f]{16}")
_NO_HARD_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV)
_logger = logging.getLogger("analysis.engine")


@dataclasses.dataclass(frozen=True)
class Holder(Process):
    """Who holds a lock, as the lock file says it.

    Attributes:
        since: when the lock was taken, by the clock of the holder; for people only.
        token: random; no two locks have the same.
    """

    since: str
    token: str

    @classmethod
    def parse(cls, content: bytes) -> Holder | None:
        """Read the content of a lock file; ``None`` if it is not one."""
        try:
            holder = cls(**json.loads(content))
            numbers = 0 < holder.pid < 2**31 and (holder.start is None or holder.start >= 0)
            texts = (holder.host, holder.since, holder.boot or "", holder.namespace or "")
            named = all(isinstance(text, str) for text in texts) and _TOKEN.fullmatch(holder.token)
        except (ValueError, TypeError, RecursionError):
            return None
        return holder if numbers and named and isinstance(holder.pid, int) else None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since})"


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A lock file at one moment."""

    mark: str  # names this very file, not the next one with its name
    touched: int  # [ns], clock of the store
    holder: Holder | None


class Lock:
    """A lock file; not re-entrant, and an object is for one thread.

    A process that is forked while its parent holds the lock does not hold it.

    Args:
        path: the lock file, such as ``manifests/.17.lock``. Its folder is made when needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token: str | None = None
        self._owner = 0
        self._alive_until: tuple[_Seen | None, float] = (None, 0.0)

    def acquire(self) -> bool:
        """Take the lock if it is free, or if its holder is gone; never waits.

        Returns:
            Whether it has been taken. ``False`` also if this process holds it already.

        Raises:
            OSError: if the store cannot be written.
        """
        if self._is_held():
            return False
        seen = _look(self.path)
        if seen is not None and not (self._is_stale(seen) and self._break(seen)):
            return False
        return self._claim()

    def wait(self, poll: float = 0.02) -> None:
        """Wait until the lock is taken; returns at once if this object holds it.

        Args:
            poll: time to the second attempt [s]; it grows to one second.

        Raises:
            OSError: if the store cannot be written.
        """
        while not self._is_held() and not self.acquire():
            time.sleep(poll)
            poll = max(poll, min(1.5 * poll, _LONGEST_POLL))

    def release(self) -> None:
        """Give the lock back; does nothing if it is not ours (any more).

        Raises:
            OSError: if the store cannot be written.
        """
        if self._is_held():
            _heart.remove(self)
            if self.still_ours():
                self.path.unlink(missing_ok=True)
        self._token = None

    def holder(self) -> Holder | None:
        """Who holds the lock; ``None`` if nobody does, or if the file does not tell."""
        seen = _look(self.path)
        return seen.holder if seen else None

    def still_ours(self) -> bool:
        """Whether this object, in this process, holds the lock, and nobody took it for stale."""
        holder = self.holder() if self._is_held() else None
        return holder is not None and holder.token == self._token

    def beat(self) -> bool:
        """Touch the lock file, so that other machines see that its holder lives.

        Returns:
            Whether it is still ours.

        Raises:
            OSError: if the store cannot be written.
        """
        if not self.still_ours():
            return False
        os.utime(self.path)  # without a time: a file server sets its own
        return True

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _is_held(self) -> bool:
        return self._token is not None and self._owner == os.getpid()

    def _claim(self) -> bool:
        token, now = secrets.token_hex(8), datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
        content = Holder(**dataclasses.asdict(identity()), since=now, token=token)
        claim = self._beside(token, "claim")
        self._token, self._owner = token, os.getpid()
        try:
            _create(claim, json.dumps(dataclasses.asdict(content)).encode())
            # the second: a file server may have linked it and lost the answer
            won = _link(claim, self.path) or self.still_ours()
            claim.unlink(missing_ok=True)
            if won:
                _heart.add(self)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error says more
                claim.unlink(missing_ok=True)
                self.release()
            raise
        self._token = token if won else None
        return won

    def _is_stale(self, seen: _Seen) -> bool:
        holder, here = seen.holder, identity()
        if holder is None or holder.host != here.host:
            return self._is_silent(seen, SILENCE)
        if (holder.boot, holder.namespace) == (here.boot, here.namespace):
            return not is_running(holder.pid, holder.start)
        rebooted = holder.boot is not None and here.boot is not None and holder.boot != here.boot
        return self._is_silent(seen, REBOOT if rebooted else SILENCE)

    def _is_silent(self, seen: _Seen, limit: float) -> bool:
        known, until = self._alive_until
        if known == seen and time.monotonic() < until:  # do not ask the store for the time at every poll
            return False
        clock = self._beside(secrets.token_hex(8), "clock")
        _create(clock, b"")
        try:
            os.utime(clock)
            age = (clock.stat().st_mtime_ns - seen.touched) / 1e9
        finally:
            clock.unlink(missing_ok=True)
        self._alive_until = (seen, time.monotonic() + min(limit - age, HEARTBEAT))
        return age > limit

    def _break(self, stale: _Seen) -> bool:
        """Remove a stale lock file; ``False`` if it is no longer there as it was, or somebody else removes it."""
        guard = Lock(self._beside(stale.mark))
        if not guard.acquire():
            return False
        with guard:
            if _look(self.path) != stale:
                return False
            grave = self._beside(stale.mark, "broken")
            try:
                self.path.rename(grave)
            except FileNotFoundError:
                return False
            removed = _look(grave)
            if removed != stale:  # a holder that was silent for long woke up in this very moment
                _link(grave, self.path)
                grave.unlink(missing_ok=True)
                return False
            grave.unlink(missing_ok=True)
        _logger.warning("%s was locked by %s, which is gone: lock removed", self.path, stale.holder or "nobody known")
        return True

    def _beside(self, *endings: str) -> Path:
        return self.path.with_name(".".join((self.path.name, *endings)))


class _Heart:
    """Touches all locks that this process holds, in one thread; a fork stops it, so that it copies no thread."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()  # a signal handler may fork or take a lock
        self._locks: set[Lock] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, lock: Lock) -> None:
        self._locks.add(lock)
        self._start()

    def remove(self, lock: Lock) -> None:
        self._locks.discard(lock)

    def before_fork(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join(timeout=1)  # longer only if the store hangs
            self._thread = None
        self._mutex.acquire()

    def after_fork_in_parent(self) -> None:
        self._mutex.release()
        if self._locks:
            self._start()

    def after_fork_in_child(self) -> None:
        self.__init__()  # type: ignore[misc]  # the locks are those of the parent
        identity.cache_clear()

    def _start(self) -> None:
        with self._mutex:
            if self._thread is None:
                self._stop = threading.Event()
                thread = threading.Thread(target=self._run, args=(self._stop,), name="lock-heartbeat", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT):
            for lock in list(self._locks):
                self._beat(lock)

    def _beat(self, lock: Lock) -> None:
        try:
            if lock.beat() or lock not in self._locks:  # not: released in the meantime
                return
        except OSError as error:
            _logger.warning("lock %s could not be touched (%s); next try in %g s", lock.path, error, HEARTBEAT)
            return
        self.remove(lock)
        _logger.warning("lock %s of this process was taken from it: its branch may be done twice", lock.path)


_heart = _Heart()
os.register_at_fork(
    before=_heart.before_fork,
    after_in_parent=_heart.after_fork_in_parent,
    after_in_child=_heart.after_fork_in_child,
)


def _look(path: Path) -> _Seen | None:
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
    return _Seen(mark, status.st_mtime_ns, holder)


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
