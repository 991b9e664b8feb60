"""Local copies of remote files, bounded in size, shared by threads, processes and hosts.

A copy is known by what it is a copy of: store, path, size and checksum; another version of a file is another entry.
The directory of a cache:

======================= ==============================================================================================
``entries/NAME``        the copies; the name tells the size. Time of modification: when it was used last.
``incoming/NAME.TOKEN`` room that a process has taken for a copy that it fetches; an empty file, counted with its size
``leases/TOKEN/``       hard links to the copies that a process uses, and what it fetches (:mod:`.leases`)
``locks/NAME.lock``     held while a copy is fetched, so that nobody else fetches it
``statistics/``         counts (:mod:`.counters`)
======================= ==============================================================================================

Nothing is trusted for being there: size and checksum are looked at each time a copy is asked for, on the very file that
is handed out (4 GB/s; a tenth of the time that it takes to fetch it over a network of 400 MB/s). So whatever a process
leaves behind that is killed at any moment does no harm, and it is removed once its lock says that it is gone.

A copy may be evicted while it is used: the hard link keeps it until the block ends. Where the file system has no hard
links, what is handed out is a copy of the copy; that costs its size and the time to write it.

The bound holds for all copies and those that are being fetched. What is used by somebody, and evicted by somebody else,
is on top until its block ends, and so is a file that is larger than the cache. Room is taken before a fetch: the mark
is made first, then all is added up and the copies not used for the longest time are removed. Of two that do so at the
same time, at least the second sees both marks. So it needs no lock.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from analysis.engine.lock import Lock
from analysis.engine.manifest import checksum
from analysis.engine.storage import counters, leases
from analysis.engine.storage.base import error_of
from analysis.engine.storage.counters import Counter, Statistics
from analysis.engine.storage.leases import Lease

COLLECT = 60.0
"""Seconds after which a process that fetches looks again for what dead processes have left."""

_ATTEMPTS = 2
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_HARD_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV)
_logger = logging.getLogger("analysis.engine")

Fetch = Callable[[Path], object]


class CacheError(OSError):
    """There is no room for a local copy."""


class Usage(NamedTuple):
    """What is in a cache.

    Args:
        files: number of copies.
        size: of all of them [bytes].
        in_use: number of those that somebody uses now.
    """

    files: int
    size: int
    in_use: int


class _Entry(NamedTuple):
    """A copy in the order of eviction: first those that nobody uses, for they give room; then by last use."""

    in_use: bool
    used: int
    name: str
    size: int


class _Presence:
    """What a process has in a cache."""

    def __init__(self, root: Path) -> None:
        self.lease = Lease(root)
        self.counter = Counter(root / "statistics" / self.lease.token)
        self.collected = time.monotonic()


class Cache:
    """A cache; one object may be used by several threads, and after a fork.

    Args:
        root: its directory; several caches may share it.
        max_size: of all copies [bytes].
    """

    def __init__(self, root: Path, max_size: int) -> None:
        self.root, self.max_size = root, max_size
        self._mutex = threading.Lock()
        self._presence: _Presence | None = None
        _caches.add(self)

    @contextmanager
    def open(self, key: str, size: int, adler32: str, fetch: Fetch) -> Iterator[Path]:
        """A local copy of a file, there and verified until the end of the block, whatever others do.

        Args:
            key: store and path, e.g. ``wlcg_fs:/v1/Report/report.html``.
            size: of the file [bytes].
            adler32: its checksum, eight hexadecimal digits.
            fetch: copies the file to a local path, or raises.

        Yields:
            Path of the copy, which ends as the key does. It is not to be changed.

        Raises:
            DamageError: if what is fetched has another size or checksum, twice.
            CacheError: if there is no room on the disk.
            OSError: from ``fetch``, or if the cache cannot be written.
        """
        here = self._here()
        held = here.lease.path(re.sub(r"[^\w.+-]", "_", key.rpartition("/")[2]))
        name = f"{sha256(key.encode()).hexdigest()[:40]}-{size}-{adler32.lower()}"
        try:
            if not self._take(here, name, held):
                self._obtain(here, key, name, held, fetch)
            yield held
        finally:
            here.lease.drop(held)

    def statistics(self) -> Statistics:
        """What has been done, by all processes since the cache is there."""
        return counters.total(self.statistics_by_process().values())

    def statistics_by_process(self) -> dict[str, Statistics]:
        """The same by process, named by its token; what those did that have ended is ``ended``."""
        return counters.by_process(self.root / "statistics")

    def usage(self) -> Usage:
        """What is in the cache."""
        found = self._entries()
        return Usage(len(found), sum(entry.size for entry in found), sum(entry.in_use for entry in found))

    def clear(self) -> Usage:
        """Remove all copies, and what dead processes have left; what is used stays for those who use it.

        Returns:
            What has been removed.

        Raises:
            OSError: if the cache cannot be written.
        """
        found = self._entries()
        for entry in found:
            self._path(entry.name).unlink(missing_ok=True)
        self._collect(self._here())
        return Usage(len(found), sum(entry.size for entry in found), sum(entry.in_use for entry in found))

    def close(self) -> None:
        """Give back what this process has in the cache; it comes back with the next file that is asked for."""
        with self._mutex:
            if self._presence is not None:
                self._presence.lease.end()
                self._presence = None

    def _here(self) -> _Presence:
        with self._mutex:
            if self._presence is None or not self._presence.lease.is_ours():
                self._presence = _Presence(self.root)
                self._collect(self._presence)
            return self._presence

    def _after_fork(self) -> None:
        self._mutex, self._presence = threading.Lock(), None

    def _collect(self, here: _Presence) -> None:
        here.collected = time.monotonic()
        counted = counters.processes(self.root / "statistics")  # first: who counts has a lease already
        alive = leases.collect(self.root, here.lease.token)
        leases.collect_locks(self.root)
        if counted - alive:
            counters.add_up(self.root / "statistics", counted - alive)

    def _path(self, name: str) -> Path:
        return self.root / "entries" / name

    def _take(self, here: _Presence, name: str, held: Path) -> bool:
        """Hand out a copy; ``False`` if it is not there, or damaged."""
        entry = self._path(name)
        try:
            seen = entry.stat()
            _link(entry, held)
        except FileNotFoundError:
            return False
        size = _size(name)
        if _is_whole(held, name):
            _touch(entry)
            here.counter.count(hits=1, bytes_hit=size)
            return True
        with contextlib.suppress(FileNotFoundError):
            if entry.stat().st_ino == seen.st_ino:  # not a good one that has just replaced it
                entry.unlink()
                here.counter.count(damaged=1)
                _logger.warning("%s in the cache was damaged: removed, fetched again", entry)
        held.unlink(missing_ok=True)
        return False

    def _obtain(self, here: _Presence, key: str, name: str, held: Path, fetch: Fetch) -> None:
        lock = Lock(self.root / "locks" / f"{name}.lock")
        lock.wait()
        try:
            if self._take(here, name, held):  # somebody has fetched it in the meantime
                return
            if time.monotonic() - here.collected > COLLECT:
                self._collect(here)
            mark = self.root / "incoming" / f"{name}.{here.lease.token}"
            try:
                keep = self._reserve(here, mark)
                self._fetch(here, key, name, held, fetch)
                if keep:
                    self._keep(name, held)
            finally:
                mark.unlink(missing_ok=True)
            size = _size(name)
            here.counter.count(misses=1, bytes_fetched=size, bypassed=0 if keep else 1)
        finally:
            lock.release()

    def _reserve(self, here: _Presence, mark: Path) -> bool:
        """Take room for an entry; ``False`` if all room is taken by what is being fetched, or too small."""
        size = _size(mark.stem)
        if size > self.max_size:
            return False
        _make(mark)
        # in this order: what is moved from the first to the second in between is seen, and its name counts once
        fetched = {path.stem for path in leases.reservations(self.root)}
        if sum(map(_size, fetched)) > self.max_size:
            mark.unlink()
            return False
        excess = sum(map(_size, fetched.union(self._names()))) - self.max_size
        if excess > 0:  # and a little more, so that not each insertion has to look at all copies
            self._evict(here, excess + self.max_size // 20)
        return True

    def _evict(self, here: _Presence, needed: int, only_unused: bool = False) -> int:
        """Remove the copies not used for the longest time; returns how many bytes they had."""
        freed = 0
        for entry in sorted(self._entries()):
            if freed >= needed or (only_unused and entry.in_use):
                break
            self._path(entry.name).unlink(missing_ok=True)
            freed += entry.size
            here.counter.count(evictions=1)
        return freed

    def _fetch(self, here: _Presence, key: str, name: str, held: Path, fetch: Fetch) -> None:
        """Bring a verified copy to the lease, where it goes if this process is killed."""
        size, adler32 = _size(name), name.rpartition("-")[2]
        for attempt in range(_ATTEMPTS):
            held.unlink(missing_ok=True)
            lacking = size - shutil.disk_usage(here.lease.folder).free
            if lacking > 0 and self._evict(here, lacking, only_unused=True) < lacking:
                raise self._no_room(key, size)
            try:
                fetch(held)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                held.unlink(missing_ok=True)
                if attempt or not self._evict(here, size, only_unused=True):
                    raise self._no_room(key, size) from error
                continue
            if _is_whole(held, name):
                return
        found = f"{held.stat().st_size} bytes, adler32 {checksum(held)}" if held.is_file() else "nothing"
        reason = f"{found} arrived instead of {size} bytes, adler32 {adler32}"
        raise error_of(errno.EBADMSG, "download", key, reason)

    def _no_room(self, key: str, size: int) -> CacheError:
        free = shutil.disk_usage(self.root).free
        msg = (
            f"no room for a local copy of {key} ({size / 1e6:.3g} MB): {self.root} is on a disk with {free / 1e6:.3g} "
            "MB free, or your quota is used up: free some space there, or move the cache"
        )
        return CacheError(errno.ENOSPC, msg)

    def _keep(self, name: str, held: Path) -> None:
        """Make a verified file an entry."""
        held.chmod(0o444)
        _touch(held)
        second = held.with_name(f"{held.name}.new")
        _link(held, second)
        entry = self._path(name)
        try:
            second.replace(entry)
        except FileNotFoundError:
            entry.parent.mkdir(parents=True, exist_ok=True)
            second.replace(entry)
        finally:
            second.unlink(missing_ok=True)  # rename does nothing if both are one file

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.root / "entries")  # noqa: PTH208  (ten times quicker than iterdir)
        except FileNotFoundError:
            return []

    def _entries(self) -> list[_Entry]:
        found = []
        for name in self._names():
            with contextlib.suppress(FileNotFoundError):  # evicted by somebody else
                status = self._path(name).stat()
                found.append(_Entry(status.st_nlink > 1, status.st_mtime_ns, name, status.st_size))
        return found


def describe(cache: Cache) -> str:
    """A cache in some lines, for the console."""
    counts, usage = cache.statistics(), cache.usage()
    asked = counts.hits + counts.misses
    share = f" ({counts.hits / asked:.0%})" if asked else ""
    lines = (
        f"{cache.root}",
        f"  {usage.files} files, {usage.size / 1e6:.6g} of {cache.max_size / 1e6:.6g} MB, {usage.in_use} in use",
        f"  asked for {asked}: {counts.hits} there{share}, {counts.misses} fetched, {counts.bypassed} of them not kept",
        f"  {counts.bytes_hit / 1e6:.6g} MB there, {counts.bytes_fetched / 1e6:.6g} MB fetched",
        f"  {counts.evictions} evicted, {counts.damaged} damaged",
    )
    return "\n".join(lines)


def _size(name: str) -> int:
    """Size of an entry as its name tells it [bytes]; 0 for what is no entry."""
    size = name.split("-")[1:2]
    return int(size[0]) if size and size[0].isdecimal() else 0


def _is_whole(path: Path, name: str) -> bool:
    """Whether a file is what the name of its entry says."""
    try:
        return path.stat().st_size == _size(name) and checksum(path) == name.rpartition("-")[2]
    except FileNotFoundError:
        return False


def _make(path: Path) -> None:
    try:
        path.touch()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _touch(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, PermissionError):  # evicted just now; fetched by another user
        os.utime(path)  # without a time: a file server sets its own


def _link(source: Path, path: Path) -> None:
    """Give a file a second name; a copy where the file system cannot."""
    try:
        path.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        shutil.copyfile(source, path)


_caches: weakref.WeakSet[Cache] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in list(_caches):
        cache._after_fork()


os.register_at_fork(after_in_child=_after_fork)
