"""Files that a process keeps beside outputs while it works: of one that is gone, they are leftovers."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar, cast

from analysis.engine.lock import Lock
from analysis.engine.manifest import FOLDER
from analysis.engine.process import identity, is_running
from analysis.engine.shards import is_shard, shard_of

if TYPE_CHECKING:
    from analysis.engine.storage.base import Store
    from analysis.engine.storage.locks import RemoteLock

P = TypeVar("P", bound=PurePath)

SILENCE = 86400.0
"""Age [s] at which a file of a process that cannot be looked up, e.g. on another machine, counts as left over."""

# a lock, and what a process keeps beside it for the moment in which it takes or breaks it
_LOCK = re.compile(r"\.(task|\d+)\.lock(\..+)?")
_PART = re.compile(r"\..+\.part")
# .NAME.HOST-PID.part beside a local output, .NAME.HOST-PID-RANDOM.part on a server
_MAKER = re.compile(r"\.(?P<rest>.+)-(?P<pid>\d+)(-[0-9a-z]+)?\.part")


def lock_path(folder: P, branch: int | None) -> P:
    """Lock of a branch, or of a task without branches.

    Args:
        folder: folder of the task.
        branch: branch number.
    """
    return folder / FOLDER / shard_of(branch) / f".{'task' if branch is None else branch}.lock"


def is_lock(path: PurePath) -> bool:
    """Whether this is a lock, or a file beside one."""
    folder = path.parent.parent if is_shard(path.parent.name) else path.parent
    return folder.name == FOLDER and _LOCK.fullmatch(path.name) is not None


def is_part(path: PurePath) -> bool:
    """Whether this is an output that was not finished when its process saw it last."""
    return _PART.fullmatch(path.name) is not None


def live_lock(store: Store, path: PurePath, is_folder: bool, changed: float) -> str | None:
    """Who holds a lock; ``None`` if its process is gone.

    Args:
        store: where.
        path: of the lock, or of a file beside one.
        is_folder: whether it is a folder, as locks on servers are.
        changed: when it was changed [s since 1970].

    Raises:
        OSError: if it cannot be read.
    """
    if is_folder:
        return cast("RemoteLock", store.lock(path)).live_holder()
    holder, here = Lock(path).holder() if isinstance(path, Path) else None, identity()
    if holder and (holder.host, holder.boot, holder.namespace) == (here.host, here.boot, here.namespace):
        return str(holder) if is_running(holder.pid, holder.start) else None
    return str(holder or "a process that is not known") if _is_young(changed) else None


def is_live_part(name: str, changed: float) -> bool:
    """Whether a process may still be writing an output.

    Args:
        name: of the file.
        changed: when it was changed [s since 1970]; 0 if that is not known.
    """
    found = _MAKER.fullmatch(name)
    if found and found["rest"].endswith(f".{socket.gethostname()}"):
        return int(found["pid"]) != os.getpid() and is_running(int(found["pid"]))
    return _is_young(changed)


_cleaned: set[tuple[int, PurePath]] = set()


def remove_leftovers(store: Store, folder: PurePath, names: Iterable[str]) -> None:
    """Remove the unfinished outputs of processes that are gone; done once per folder and process.

    Args:
        store: where the folder is.
        folder: folder of outputs.
        names: the files in it.
    """
    if (os.getpid(), folder) not in _cleaned:
        _cleaned.add((os.getpid(), folder))
        if any(_PART.fullmatch(name) for name in names):
            for entry in store.entries(folder):
                if _PART.fullmatch(entry.name) and not is_live_part(entry.name, entry.mtime):
                    store.remove(folder / entry.name)


def _is_young(changed: float) -> bool:
    """Whether something changed a short while ago; so it counts if its store does not tell."""
    return changed <= 0 or time.time() - changed < SILENCE
