"""Locks of branches in a store on a server.

A lock is a folder with one small file in it, the claim: its name is a token, its content says who holds the lock.
Servers have no hard links, and XRootD's answer to "make this folder" is yes even if it is there. But a folder is
renamed at once, and none takes the place of another that has something in it. So a claim is written in a folder beside
the lock, which is then renamed to the lock: of many that try, one succeeds. A lock that is empty, or absent, is free.

A claim gets its place once, and is removed by its name: by its holder, or by whoever finds the holder gone. So whatever
is late, a request on its way or a process that slept for an hour, removes no claim that came later, and brings none
back. A sign of life is a second file, ``TOKEN.beat``, that is written again and again; without its claim it means
nothing. Times are those of the server.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import secrets
import threading
from collections.abc import Iterable
from pathlib import PurePath
from types import TracebackType
from typing import ClassVar, Protocol, Self

from analysis.engine.heart import HEARTBEAT, Heart
from analysis.engine.holder import TOKEN, Holder, Seen
from analysis.engine.lock import REBOOT, SILENCE, BaseLock
from analysis.engine.storage.base import Entry

_ATTEMPTS = 3  # to take a lock that seems to be free
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_logger = logging.getLogger("analysis.engine")


class LockStore(Protocol):
    """What a lock asks of its store. Requests may be repeated by it; all raise :class:`OSError`."""

    name: str
    """As in the configuration."""

    def stat(self, path: PurePath) -> Entry:
        """What is there.

        Raises:
            NotFoundError: if the server says that nothing is.
        """

    def entries(self, folder: PurePath) -> list[Entry]:
        """All that is in a folder; empty if it does not exist."""

    def read(self, path: PurePath) -> bytes:
        """Content of a file.

        Raises:
            NotFoundError: if the server says that there is none.
        """

    def write_plain(self, path: PurePath, content: bytes) -> None:
        """Write a file of that very name, without a temporary one, and make its folder if needed."""

    def rename_folder(self, folder: PurePath, destination: PurePath) -> None:
        """Give a folder another name, at once; an empty folder of that name may be replaced.

        Raises:
            OSError: with ``errno.ENOTEMPTY`` or ``errno.EEXIST`` if there is a folder with something in it.
        """

    def remove(self, path: PurePath, look: bool = True) -> None:
        """Remove a file; it may be gone already. Without ``look``, its name is one that no folder has."""

    def remove_folder(self, folder: PurePath) -> None:
        """Remove an empty folder; it may be gone already.

        Raises:
            OSError: if it is not empty; nothing is removed then.
        """


class RemoteLock(BaseLock):
    """A lock on a server.

    Args:
        store: where.
        path: of the lock, such as ``wlcg_fs:/v1/.../manifests/.17.lock``.
        silence: time without a sign of life after which a holder on another machine counts as gone [s].
        reboot: the same for a machine with our name and another boot id [s].
    """

    resolution: ClassVar[float] = 1.0  # XRootD and WebDAV tell whole seconds
    longest_poll: ClassVar[float] = 5.0

    def __init__(self, store: LockStore, path: PurePath, silence: float = SILENCE, reboot: float = REBOOT) -> None:
        super().__init__(path)
        self.silence, self.reboot = silence, reboot
        self._store = store
        self._known: tuple[str, Holder] | None = None
        self._content = b""
        self._files: list[PurePath] = []  # of ours, that may be there
        self._busy = threading.RLock()  # a beat must not come after the end

    def beat(self) -> bool:
        """Write the sign of life again.

        Returns:
            Whether the lock is still ours.

        Raises:
            OSError: if the server does not answer, or refuses.
        """
        if not self._is_held():  # before: the child of a fork may find it locked for ever
            return False
        with self._busy:
            return super().beat()

    def still_ours(self) -> bool:
        """Whether this object, in this process, holds the lock, and nobody took it for stale: one request.

        Raises:
            OSError: if the server does not answer: it is not known then.
        """
        token = self._token
        if token is None or not self._is_held():
            return False
        try:
            self._store.stat(self._path / token)
        except FileNotFoundError:
            return False
        return True

    def live_holder(self) -> str | None:
        """Who holds the lock; ``None`` if nobody does, or if its holder is gone.

        Raises:
            OSError: if the server does not answer.
        """
        seen = self._look()
        return None if seen is None or self._is_stale(seen) else str(seen.holder or "a process that is not known")

    def _look(self) -> Seen | None:
        times = {entry.name: entry.mtime for entry in self._store.entries(self._path)}
        claims = [name for name in times if TOKEN.fullmatch(name)]
        if not claims:
            return None
        token = min(claims)
        try:
            holder = self._read(token)
        except FileNotFoundError:
            return None
        return Seen(token, int(max(times[token], times.get(_beat_of(token), 0.0)) * 1e9), holder)

    def _read(self, token: str) -> Holder | None:
        if self._known is not None and self._known[0] == token:
            return self._known[1]
        holder = Holder.parse(self._store.read(self._path / token))
        if holder is not None:  # else it may be on its way
            self._known = (token, holder)
        return holder

    def _place(self, token: str, content: bytes) -> bool:
        self._content, self._busy = content, threading.RLock()
        beside = self._beside(token)
        self._files = [beside / token, self._path / token]
        self._store.write_plain(beside / token, content)
        won = self._rename(beside)
        if won:
            del self._files[0]
        else:
            self._remove()
        return won

    def _rename(self, beside: PurePath) -> bool:
        for attempt in range(_ATTEMPTS):
            try:
                self._store.rename_folder(beside, self._path)
            except OSError as error:
                if self.still_ours():  # it was done, and the answer was lost
                    return True
                names = {entry.name for entry in self._store.entries(self._path)}
                if any(TOKEN.fullmatch(name) for name in names):
                    return False
                if attempt == _ATTEMPTS - 1 and error.errno not in _TAKEN:
                    raise
                self._sweep(names)
            else:
                return True
        return False  # others come and go

    def _sweep(self, names: set[str]) -> None:
        """Remove what is left in a free lock, and it itself: some servers rename no folder to one that is there."""
        for name in names:
            self._store.remove(self._path / name)
        with contextlib.suppress(OSError):
            self._store.remove_folder(self._path)

    def _break(self, stale: Seen) -> bool:
        if self._look() != stale:
            return False
        self._store.remove(self._path / _beat_of(stale.mark), look=False)
        self._store.remove(self._path / stale.mark, look=False)
        _logger.warning("%s was locked by %s, which is gone: lock removed", self._path, stale.holder or "nobody known")
        return True

    def _remove(self) -> None:
        """Remove what is ours.

        If the server does not answer, that is tried again from time to time, as long as this process lives. All that
        was to be done under the lock is done, so it is no error.
        """
        with self._busy:
            end = _End(self._store, self._path, self._files)
            try:
                end.make()
            except OSError as error:
                _logger.warning(
                    "lock %s could not be given back (%s); next try in %g s, if this process still runs",
                    *(self._path, error, HEARTBEAT),
                )
                _heart.add(end)

    def _touch(self) -> None:
        beat = self._path / _beat_of(self._files[-1].name)
        self._files = [beat, self._files[-1]]  # the claim last: without it nobody would look at the rest
        self._store.write_plain(beat, self._content)

    def _clock(self) -> int:
        clock = self._beside(secrets.token_hex(8), "clock")
        try:
            self._store.write_plain(clock, b"clock")
            return int(self._store.stat(clock).mtime * 1e9)
        finally:
            with contextlib.suppress(OSError):
                self._store.remove(clock, look=False)

    def _heart(self) -> Heart:
        return _heart


class _End:
    """The end of a lock of ours; if the server does not answer, the heart comes back to it."""

    def __init__(self, store: LockStore, path: PurePath, files: Iterable[PurePath]) -> None:
        self.path = path
        self._store, self._files = store, tuple(files)

    def make(self) -> None:
        """Remove files, then their folders."""
        for file in self._files:
            self._store.remove(file, look=False)
        for folder in dict.fromkeys(file.parent for file in self._files):
            with contextlib.suppress(OSError):  # the next holder may be in it
                self._store.remove_folder(folder)

    def beat(self) -> bool:
        """Try once more."""
        self.make()
        _heart.remove(self)
        return True


class NoLock:
    """The lock of a store that cannot have one, such as an object store, which renames no folders.

    Everybody gets it. Two runs at the same time may do a branch twice; as outputs appear whole, and are the same for
    the same recipe, that costs time only.

    Args:
        store: name of the store; it is said once.
        path: of the lock.
    """

    _told: ClassVar[set[str]] = set()

    def __init__(self, store: str, path: PurePath) -> None:
        self.path = path
        self._store, self._held = store, False

    def acquire(self, look: bool = True) -> bool:  # noqa: ARG002
        """Take it; ``False`` if this object has it already."""
        if self._store not in self._told:
            self._told.add(self._store)
            _logger.warning(
                "store %s cannot have locks: let one 'law run' at a time write there, or a branch may be done twice",
                self._store,
            )
        taken, self._held = not self._held, True
        return taken

    def wait(self, poll: float = 0.02) -> None:  # noqa: ARG002
        """Take it, unless this object has it."""
        self.acquire()

    def release(self) -> None:
        """Give it back."""
        self._held = False

    def is_fresh(self) -> bool:
        """Whether this object has it."""
        return self._held

    def still_ours(self) -> bool:
        """Whether this object has it."""
        return self._held

    def beat(self) -> bool:
        """Whether this object has it."""
        return self._held

    def holder(self) -> Holder | None:
        """Nobody knows."""
        return None

    def live_holder(self) -> str | None:
        """Nobody knows."""
        return None

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _beat_of(token: str) -> str:
    return f"{token}.beat"


_heart = Heart()  # not that of local locks: a server that hangs must not stop it
_heart.watch_forks()
