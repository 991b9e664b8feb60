"""A sign of life from time to time, for those on other machines who cannot look for our process."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import PurePath
from typing import Protocol

from analysis.engine.process import identity

HEARTBEAT = 30.0
"""Seconds between two touches of a lock that is held."""

_logger = logging.getLogger("analysis.engine")


class Living(Protocol):
    """What a heart keeps alive."""

    @property
    def path(self) -> PurePath:
        """Of a lock."""

    def beat(self) -> bool:
        """Give a sign of life; ``False`` if it is not ours any more."""


class Heart:
    """Touches locks that this process holds, in one thread; a fork stops it, so that it copies no thread."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()  # a signal handler may fork or take a lock
        self._locks: set[Living] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, lock: Living) -> None:
        """Keep a lock alive from now on."""
        self._locks.add(lock)
        self._start()

    def remove(self, lock: Living) -> None:
        """Do so no longer."""
        self._locks.discard(lock)

    def watch_forks(self) -> None:
        """Stop for each fork from now on, as long as this process lives."""
        os.register_at_fork(
            before=self.before_fork,
            after_in_parent=self.after_fork_in_parent,
            after_in_child=self.after_fork_in_child,
        )

    def before_fork(self) -> None:
        """Stop, and hold what the child must not find half done."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join(timeout=1)  # longer only if the store hangs
            self._thread = None
        self._mutex.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._mutex.release()
        if self._locks:
            self._start()

    def after_fork_in_child(self) -> None:
        """Forget all: the locks are those of the parent."""
        self.__init__()  # type: ignore[misc]
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

    def _beat(self, lock: Living) -> None:
        try:
            if lock.beat() or lock not in self._locks:  # not: released in the meantime
                return
        except OSError as error:
            _logger.warning("lock %s could not be touched (%s); next try in %g s", lock.path, error, HEARTBEAT)
            return
        self.remove(lock)
        _logger.warning("lock %s of this process was taken from it: its branch may be done twice", lock.path)
