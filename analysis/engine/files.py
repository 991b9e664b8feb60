"""The few things the engine asks of a file system. Everything it knows of a store comes through here."""

from __future__ import annotations

import os
from pathlib import Path


class LocalFiles:
    """A directory tree that is mounted on this machine."""

    def sizes(self, folder: Path) -> dict[str, int]:
        """Names and sizes [bytes] of the files of a directory, in one call; empty if it does not exist.

        Raises:
            OSError: for any other reason: an outage is never taken for absence.
        """
        try:
            with os.scandir(folder) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def names(self, folder: Path) -> list[str]:
        """Names of everything in a directory; empty if it does not exist."""
        try:
            return os.listdir(folder)  # noqa: PTH208  (ten times quicker than iterdir)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, path: Path) -> bytes:
        """Content of a file."""
        return path.read_bytes()

    def write(self, path: Path, content: bytes) -> None:
        """Write atomically: the file is there whole, or not at all."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            self._write(temporary, content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def move(self, source: Path, destination: Path) -> None:
        """Rename a file, replacing what has that name already."""
        try:
            source.replace(destination)
        except FileNotFoundError:
            destination.parent.mkdir(parents=True, exist_ok=True)
            source.replace(destination)

    def remove(self, path: Path) -> None:
        """Remove a file; it may be gone already."""
        path.unlink(missing_ok=True)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        try:
            path.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
