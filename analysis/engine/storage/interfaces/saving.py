"""What arrives from a server, on its way into a local file."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self


class Saving:
    """A file that is written while it arrives; it is not made before the first chunk is here.

    Its checksum is made meanwhile, for to read it again takes as long as to fetch it from a server that is near.

    Args:
        destination: local path; replaced.
    """

    def __init__(self, destination: Path) -> None:
        self._destination, self._adler32 = destination, 1
        self._file: BinaryIO | None = None
        self._open = ExitStack()

    @property
    def adler32(self) -> str:
        """Of all that has arrived, eight hexadecimal digits."""
        return f"{self._adler32:08x}"

    def take(self, chunk: bytes) -> None:
        """Write what comes next."""
        if self._file is None:
            self._file = self._open.enter_context(self._destination.open("wb"))
        self._adler32 = zlib.adler32(chunk, self._adler32)
        self._file.write(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if kind is None and self._file is None:  # it is empty
                self.take(b"")


def save(chunks: Iterable[bytes], destination: Path) -> str:
    """Write what arrives to a file.

    Returns:
        Adler-32 of it, eight hexadecimal digits.
    """
    with Saving(destination) as saving:
        for chunk in chunks:
            saving.take(chunk)
    return saving.adler32
