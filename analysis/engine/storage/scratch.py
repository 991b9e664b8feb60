"""Where outputs that go to servers are written first."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path, PurePath


class Scratch:
    """A local directory for each output on its way, in that for temporary files (``TMPDIR``).

    What ``run()`` makes beside its output is removed with it. A directory that is empty then is kept for one of the
    next outputs, as long as others are on their way: some file systems are slow for minutes after much was removed, for
    they look at each removed file when they make a new one. So nothing is left when nothing is on its way. It may be
    used by several threads, and not after a fork.
    """

    def __init__(self) -> None:
        self._above = Path(tempfile.gettempdir())
        self._beginning = f"analysis-{os.getpid()}-{secrets.token_hex(8)}"
        self._mutex = threading.Lock()
        self._used: set[Path] = set()
        self._free: set[Path] = set()

    def place(self, final: PurePath) -> Path:
        """Local path at which an output is written; its directory is there.

        Args:
            final: its address; the path is the same for the same one.
        """
        own = blake2b(str(final).encode(errors="surrogateescape"), digest_size=8).hexdigest()
        folder = self._above / (self._beginning + own)
        with self._mutex:
            if folder not in self._used:
                self._make(folder)
                self._used.add(folder)
        return folder / final.name

    def discard(self, staged: Path) -> None:
        """Remove a file, and its directory if it is one of these; both may be gone already."""
        staged.unlink(missing_ok=True)
        with self._mutex:
            if staged.parent in self._used:
                self._used.remove(staged.parent)
                self._empty(staged.parent)
                while self._free and not self._used:
                    with suppress(FileNotFoundError):
                        self._free.pop().rmdir()

    def _make(self, folder: Path) -> None:
        while self._free and folder not in self._free:
            with suppress(FileNotFoundError):  # somebody cleans up there
                self._free.pop().rename(folder)
                return
        self._free.discard(folder)
        folder.mkdir(mode=0o700, exist_ok=True)

    def _empty(self, folder: Path) -> None:
        try:
            is_empty = not any(folder.iterdir())
        except FileNotFoundError:  # run() removed it
            return
        if is_empty:
            self._free.add(folder)
        else:  # what run() made beside its output
            shutil.rmtree(folder, ignore_errors=True)
