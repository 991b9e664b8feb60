"""Files of a server that does not exist, and processes that want local copies of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from analysis.engine.storage.cache import Cache

FORK = multiprocessing.get_context("fork")
PIECE = 512


class RemoteFile(NamedTuple):
    """A file whose content follows from its number and size."""

    number: int
    size: int

    @property
    def key(self) -> str:
        return f"store:/v1/Task/file_{self.number}.root"

    @property
    def content(self) -> bytes:
        return random.Random(self.number).randbytes(self.size)

    @property
    def adler32(self) -> str:
        return f"{zlib.adler32(self.content):08x}"

    def fetch(self, path: Path) -> None:
        """In pieces, so that it can be killed between two of them."""
        content = self.content
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(content), PIECE):
                file.write(content[start : start + PIECE])

    def open(
        self, cache: Cache, fetch: Callable[[Path], object] | None = None
    ) -> contextlib.AbstractContextManager[Path]:
        return cache.open(self.key, self.size, self.adler32, fetch or self.fetch)

    def read(self, cache: Cache) -> bytes:
        with self.open(cache) as path:
            return path.read_bytes()


def entries(cache: Cache) -> list[Path]:
    folder = cache.root / "entries"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def size(cache: Cache) -> int:
    return sum(path.stat().st_size for path in entries(cache))


def left(cache: Cache) -> list[str]:
    """All files of a cache but the copies and the counts."""
    kept = (cache.root / "entries", cache.root / "statistics")
    files = (path for path in cache.root.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(cache.root)) for path in files if path.parent not in kept)


@contextlib.contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """A forked process that does not outlive the block."""
    child = FORK.Process(target=target, args=arguments)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()
        child.close()


def read_for_ever(root: Path, max_size: int, files: list[RemoteFile], seed: int) -> None:
    """Reads files in any order, some of them at the same time as others."""
    cache, chance = Cache(root, max_size), random.Random(seed)
    while True:
        first, second = chance.sample(files, 2)
        with first.open(cache) as path:
            assert second.read(cache) == second.content
            assert path.read_bytes() == first.content


def read_once(root: Path, max_size: int, file: RemoteFile, log: Path, start: Any) -> None:
    """Reads a file when all are ready, and says so if it has to fetch it."""

    def fetch(path: Path) -> None:
        with log.open("a") as lines:
            lines.write("fetched\n")
        file.fetch(path)

    cache = Cache(root, max_size)
    start.wait()
    with file.open(cache, fetch) as path:
        assert path.read_bytes() == file.content


def hang_in_fetch(root: Path, max_size: int, file: RemoteFile, said: Any) -> None:
    """Fetches half of a file, says so, and waits for ever."""

    def fetch(path: Path) -> None:
        path.write_bytes(file.content[: file.size // 2])
        said.send("half")
        said.recv()

    with file.open(Cache(root, max_size), fetch):
        pass


def hold(root: Path, max_size: int, file: RemoteFile, said: Any) -> None:
    """Holds a file until it is told to read it again."""
    with file.open(Cache(root, max_size)) as path:
        said.send(str(path))
        said.recv()
        said.send(path.read_bytes())
        said.recv()
