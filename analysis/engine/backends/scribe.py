"""Brings logs and reports of a job to the store, and removes what a process of it that died has left there.

To a store on a disk it is done at once. Servers are asked by a process of its own, when no branch runs: the supervisor
has no connection that a fork would break, a client library that hangs or crashes does it no harm, and one login is
enough for all logs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.backends import joblogs, tree
from analysis.engine.backends.failures import Failure
from analysis.engine.shards import shard_of
from analysis.engine.storage.local import LocalStore
from analysis.engine.terminal import say

if TYPE_CHECKING:
    from analysis.engine.backends.joblogs import Attempt
    from analysis.engine.backends.spec import JobSpec
    from analysis.engine.storage.base import Store

_HEAD, _TAIL = 1_000_000, 9_000_000


class Note(NamedTuple):
    """What became of a branch.

    Args:
        attempt: name of its log.
        log: file with the log.
        failure: why it failed, if it did.
    """

    attempt: Attempt
    log: Path
    failure: Failure | None


class Death(NamedTuple):
    """A process that died while it ran a branch, and those that it had started for it."""

    branch: int
    pids: tuple[int, ...]


class Scribe:
    """Writes for one job.

    Args:
        spec: description of the job.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._notes: list[Note] = []
        self._deaths: list[Death] = []

    def note(self, note: Note) -> None:
        """Have log and report of a branch written; the file of the log is removed then."""
        self._notes.append(note)
        if self._spec.root:
            self.write()

    def bury(self, death: Death) -> None:
        """Have what a process kept in the store removed: on another machine it would count as alive for long."""
        self._deaths.append(death)
        if self._spec.root:
            self.write()

    def write(self) -> None:
        """Write all there is; what cannot be written is printed, in short. No other process of the job may run."""
        notes, deaths = self._notes, self._deaths
        self._notes, self._deaths = [], []
        if self._spec.root:
            store = LocalStore(Path(self._spec.root))
            _write(store, store.root / self._spec.folder, notes, deaths)
        elif notes or deaths:
            self._in_a_process(notes, deaths)
        for note in notes:
            note.log.unlink(missing_ok=True)

    def _in_a_process(self, notes: Sequence[Note], deaths: Sequence[Death]) -> None:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)  # what ends the job leaves it a while
                tree.die_with_parent()
                store = _remote_store(self._spec)
                _write(store, store.root / self._spec.folder, notes, deaths)
                code = 0
            except BaseException as error:
                _tell(notes, f"{type(error).__name__}: {error}")
            finally:
                sys.stdout.flush()
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            _tell(notes, f"the process that writes them was ended by {signal.Signals(os.WTERMSIG(status)).name}")


def _remote_store(spec: JobSpec) -> Store:
    from analysis.engine.storage import settings
    from analysis.engine.storage.resolved import Resolved
    from analysis.engine.storage.stores import store_for

    settings.take(Resolved.from_json(spec.stores))
    return store_for(spec.family)


def _write(store: Store, folder: PurePath, notes: Sequence[Note], deaths: Sequence[Death]) -> None:
    for number, note in enumerate(notes):
        try:
            joblogs.write(store, folder, note.attempt, read_log(note.log), note.failure)
        except OSError as error:
            left = notes[number:] if not isinstance(store, LocalStore) else notes[number : number + 1]
            _tell(left, f"to {folder} ({error})")
            if not isinstance(store, LocalStore):  # which has been asked for long enough
                return
    for death in deaths:
        with suppress(OSError):
            _remove_leftovers(store, folder, death)


def _tell(notes: Sequence[Note], why: str) -> None:
    from analysis.engine.storage.masking import masked

    for note in notes:
        report = f"; it says: {json.dumps(note.failure.to_json())}" if note.failure else ""
        sentence = f"branch {note.attempt.branch}: no log could be written {why}{report}"
        say(masked(sentence), sys.stdout)


def _remove_leftovers(store: Store, folder: PurePath, death: Death) -> None:
    import logging

    from analysis.engine.leftovers import lock_path

    logging.getLogger("analysis.engine").setLevel(logging.ERROR)  # that its process is gone is no news
    lock = store.lock(lock_path(folder, death.branch))
    if lock.holder() is not None and lock.acquire():
        lock.release()
    place = folder / shard_of(death.branch)
    pids = "|".join(map(str, death.pids))
    ours = re.compile(rf"\..+\.{re.escape(socket.gethostname())}-({pids})(-[0-9a-z]+)?\.part")
    for name in store.names(place):
        if ours.fullmatch(name):
            store.remove(place / name)


def read_log(path: Path) -> bytes:
    """Content of a log, without its middle if it is very long."""
    size = size_of(path)
    if size <= _HEAD + _TAIL:
        return path.read_bytes() if size else b""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(size - _TAIL)
        return head + f"\n\n[... {size - _HEAD - _TAIL} bytes left out ...]\n\n".encode() + file.read()


def size_of(path: Path) -> int:
    """Size of a file [bytes]; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
