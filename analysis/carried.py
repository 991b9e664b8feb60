"""Files that the command line names go along to wherever a task runs: to a job, and into a container.

There they may be missing, be those of another directory, or have been edited since: what counts is what was read where
the run was started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple


class CarriedFile(NamedTuple):
    """A file as it was where the run was started.

    Args:
        place: its absolute path there.
        text: its content.
    """

    place: str
    text: str


_read: dict[str, CarriedFile] = {}
_taken: dict[str, CarriedFile] = {}


def read(name: str) -> CarriedFile:
    """A file, here or where the run was started.

    Args:
        name: as it was given: an absolute path, or one that starts at the working directory or with ``~``.

    Raises:
        OSError: if it cannot be read.
        UnicodeDecodeError: if it is no text.
    """
    if name in _taken:
        return _taken[name]
    path = Path(name).expanduser().absolute()
    _read[name] = CarriedFile(str(path), path.read_text())
    return _read[name]


def carried() -> dict[str, CarriedFile]:
    """What this process has read, or was given, by name."""
    return {**_read, **_taken}


def take(files: Mapping[str, Iterable[str]]) -> None:
    """Read these as they are in another process.

    Args:
        files: what :func:`carried` has there.
    """
    _taken.update((name, CarriedFile(*parts)) for name, parts in files.items())
