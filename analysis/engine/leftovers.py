"""Files that a process keeps beside outputs while it works: of one that is gone, they are leftovers."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from analysis.engine.lock import Lock
from analysis.engine.manifest import FOLDER
from analysis.engine.process import identity, is_running

SILENCE = 86400.0
"""Age [s] at which a file of a process that cannot be looked up, e.g. on another machine, counts as left over."""

# a lock, and what a process keeps beside it for the moment in which it takes or breaks it
_LOCK = re.compile(r"\.(task|\d+)\.lock(\..+)?")
_PART = re.compile(r"\..+\.part")


def lock_path(folder: Path, branch: int | None) -> Path:
    """Lock of a branch, or of a task without branches.

    Args:
        folder: folder of the task.
        branch: branch number.
    """
    return folder / FOLDER / f".{'task' if branch is None else branch}.lock"


def is_lock(path: Path) -> bool:
    """Whether this is a lock, or a file beside one."""
    return path.parent.name == FOLDER and _LOCK.fullmatch(path.name) is not None


def is_part(path: Path) -> bool:
    """Whether this is an output that was not finished when its process saw it last."""
    return _PART.fullmatch(path.name) is not None


def live_lock(path: Path) -> str | None:
    """Who holds a lock; ``None`` if its process is gone.

    Raises:
        OSError: if it cannot be read.
    """
    holder, here = Lock(path).holder(), identity()
    if holder and (holder.host, holder.boot, holder.namespace) == (here.host, here.boot, here.namespace):
        return str(holder) if is_running(holder.pid, holder.start) else None
    return (str(holder) if holder else "a process that is not known") if _is_young(path) else None


def is_live_part(path: Path) -> bool:
    """Whether a process may still be writing this."""
    host = socket.gethostname()
    name, _, process = path.name.removesuffix(".part").rpartition("-")
    if name.endswith(f".{host}") and process.isdigit():
        return int(process) != os.getpid() and is_running(int(process))
    return _is_young(path)


_cleaned: set[tuple[int, Path]] = set()


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove the unfinished outputs of processes that are gone; done once per folder and process.

    Args:
        folder: directory of outputs.
        names: the files in it.
    """
    if (os.getpid(), folder) not in _cleaned:
        _cleaned.add((os.getpid(), folder))
        for path in (folder / name for name in names if _PART.fullmatch(name)):
            if not is_live_part(path):
                path.unlink(missing_ok=True)


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime < SILENCE
    except FileNotFoundError:
        return False
