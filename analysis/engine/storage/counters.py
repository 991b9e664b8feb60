"""What a cache has done, counted by each process in a file of its own, and summed over all of them.

A count is written at once, by one call, so that it outlives the process. The counts of processes that have ended are
added up in one file, together with the names of the files that they come from: killed in between, nothing is counted
twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
import weakref
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from analysis.engine.lock import Lock


class Statistics(NamedTuple):
    """What a cache has done.

    Args:
        hits: files that were there.
        misses: files that were fetched.
        bytes_hit: size of the files that were there [bytes].
        bytes_fetched: size of the files that were fetched [bytes].
        evictions: files removed to make room.
        damaged: files removed because they were no longer what had been fetched.
        bypassed: files among the fetched that were not kept: too large, or no room.
    """

    hits: int = 0
    misses: int = 0
    bytes_hit: int = 0
    bytes_fetched: int = 0
    evictions: int = 0
    damaged: int = 0
    bypassed: int = 0


_LAYOUT = struct.Struct(f"<{len(Statistics._fields)}Q")


class Counter:
    """The counts of this process.

    Args:
        path: its file.

    Raises:
        OSError: if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._counts = Statistics()
        self._mutex = threading.Lock()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        weakref.finalize(self, os.close, self._file)

    def count(self, **more: int) -> None:
        """Add to the counts, named as in :class:`Statistics`."""
        with self._mutex, contextlib.suppress(OSError):  # a full disk does not stop who only reads
            self._counts = total([self._counts, Statistics(**more)])
            os.pwrite(self._file, _LAYOUT.pack(*self._counts), 0)


def total(counts: Iterable[Statistics]) -> Statistics:
    """The sum.

    Examples:
        >>> total([Statistics(hits=1), Statistics(hits=2, misses=1)]).hits
        3
    """
    return Statistics(*map(sum, zip(Statistics(), *counts, strict=True)))


def by_process(folder: Path) -> dict[str, Statistics]:
    """Counts of each process by its token, and of those that have ended by ``ended``.

    Args:
        folder: folder of the files of counts.
    """
    while True:  # until nobody has added them up while they were read
        before = _ended(folder)
        counts = {"ended": before[0], **{token: _read(folder / token) for token in processes(folder) - before[1]}}
        if before == _ended(folder):
            return counts


def processes(folder: Path) -> set[str]:
    """Tokens of all processes that have a file of counts."""
    try:
        return {name for name in os.listdir(folder) if "." not in name}  # noqa: PTH208
    except FileNotFoundError:
        return set()


def add_up(folder: Path, dead: Collection[str]) -> None:
    """Add up the counts of processes that have ended, unless another process is doing so.

    Args:
        folder: folder of the files of counts.
        dead: tokens of processes that have ended.

    Raises:
        OSError: if it cannot be written.
    """
    lock = Lock(folder / "ended.json.lock")
    if not lock.acquire():
        return
    try:
        ended, added = _ended(folder)
        found = processes(folder)
        for token in found & added:  # of a process that was killed here
            (folder / token).unlink(missing_ok=True)
        new = (found & set(dead)) - added
        if new:
            ended = total([ended, *(_read(folder / token) for token in new)])
            part = folder / f".ended.{os.getpid()}.part"
            part.write_text(json.dumps({"counts": ended._asdict(), "added": sorted(new)}))
            part.replace(folder / "ended.json")
        for token in new:
            (folder / token).unlink(missing_ok=True)
    finally:
        lock.release()


def _read(path: Path) -> Statistics:
    try:
        return Statistics(*_LAYOUT.unpack(path.read_bytes()))
    except (FileNotFoundError, struct.error):  # nothing counted yet
        return Statistics()


def _ended(folder: Path) -> tuple[Statistics, set[str]]:
    try:
        content = json.loads((folder / "ended.json").read_bytes())
        return Statistics(**content["counts"]), set(content["added"])
    except FileNotFoundError:
        return Statistics(), set()
    except (ValueError, TypeError, KeyError):  # of another version, or damaged: counts are lost, files are not
        return Statistics(), set()
