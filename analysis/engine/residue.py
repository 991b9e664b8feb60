"""What is left on this machine, outside of all stores: temporary files of processes that are gone, code of old jobs."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from analysis.engine.backends import bundle
from analysis.engine.process import is_running

STAGED = "analysis-"
"""How the names of directories for temporary files begin; the id of their process follows."""
QUIET = 86400.0
"""Time [s] without a change after which such a directory of a process that is not to be seen counts as left over.

A container may share the directory for temporary files with this machine, and not the ids of processes.
"""

_STAGED = re.compile(re.escape(STAGED) + r"(?P<pid>\d+)-\w+")


class Residue(NamedTuple):
    """A file or directory that is left over.

    Args:
        path: where.
        why: the reason, in a few words.
        files: how many there are in it.
        size: of them [bytes].
    """

    path: Path
    why: str
    files: int
    size: int


def staged_directories(folder: Path | None = None) -> list[Residue]:
    """Directories in which processes that are gone have prepared outputs.

    Args:
        folder: where to look; default: the directory for temporary files (``TMPDIR``).
    """
    why = "temporary files of a process that is gone"
    return [_residue(path, why) for path in _dead_directories(folder or Path(tempfile.gettempdir()))]


def _dead_directories(folder: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if _STAGED.fullmatch(entry.name) and is_dead(folder / entry.name):
                yield folder / entry.name


def is_dead(directory: Path) -> bool:
    """Whether this is a directory for temporary files whose process is gone; never one of another user."""
    found = _STAGED.fullmatch(directory.name)
    if found is None or is_running(int(found["pid"])):
        return False
    try:
        status = directory.lstat()
        if directory.is_symlink() or not directory.is_dir() or status.st_uid != os.getuid():
            return False
        newest = max(path.lstat().st_mtime for path in [directory, *directory.rglob("*")])
    except OSError:  # it is going away, or cannot be read
        return False
    return time.time() - newest > QUIET


def old_bundles(folder: Path, used: Collection[str]) -> list[Residue]:
    """Code and packages for jobs that no job uses any more.

    Args:
        folder: directory of bundles.
        used: names of those that jobs may still use.
    """
    why = f"no job has needed it for {bundle.UNUSED / 86400:.0f} days"
    return [_residue(path, why) for path in bundle.unused(folder, used)]


def remove(residue: Residue) -> str | None:
    """Remove a file or directory; why it is still there, if it is."""
    try:
        if residue.path.is_dir() and not residue.path.is_symlink():
            shutil.rmtree(residue.path)
        else:
            residue.path.unlink(missing_ok=True)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _residue(path: Path, why: str) -> Residue:
    files = [path] if path.is_file() else [found for found in path.rglob("*") if not found.is_dir()]
    size = 0
    for file in files:
        with suppress(OSError):
            size += file.lstat().st_size
    return Residue(path, why, len(files), size)
