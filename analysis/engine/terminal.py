"""Lines for people, whole ones: several processes write to one terminal, file or pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def say(text: str, file: TextIO | None = None) -> None:
    """Write lines at once, so that what other processes write stands before or after them.

    ``print()`` writes a text and the end of its line one after the other, and with ``PYTHONUNBUFFERED`` (usual in
    containers) each is a system call of its own: another process's line comes between them.

    Args:
        text: one or more lines, without the last end of line.
        file: the standard error, unless it is given.
    """
    file = file or sys.stderr
    file.write(f"{text}\n")
    file.flush()
