"""How uproot reads remote files. Imports uproot: import it only where a file is opened.

Why not one of uproot's own sources: they hand on whatever their libraries raise, from an outage in the middle of a
file there is no way back, and reading by ``fsspec`` has no time limit. This one asks for the same bytes in the same few
requests (benchmarks/reading.py).
"""

from __future__ import annotations

import errno
import queue
from collections.abc import Callable, Sequence
from typing import Any

from uproot.source.chunk import Chunk, Source
from uproot.source.futures import TrivialFuture

from analysis.engine.storage import xcache
from analysis.engine.storage.base import DeniedError, NotFoundError, RemoteError, error_of
from analysis.engine.storage.ranges import HEAD, Range, RangeFile, merged, open_ranges
from analysis.engine.storage.retry import Backoff, Clock, Patience
from analysis.engine.storage.xcache import Candidate


class RemoteFile:
    """A remote file that is opened again, there or elsewhere, when a server does not answer.

    Args:
        candidates: where it is, the best first.
        patience: how long a server that does not answer is asked again.
        timeout: of one request [s].
        rest: for how long a cache that does not answer is left alone [s].
        opening: opens a URL.
        clock: tells the time.

    Raises:
        RemoteError: if it cannot be opened.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        patience: Patience,
        timeout: int,
        rest: float = 300.0,
        opening: Callable[[str, int], RangeFile] = open_ranges,
        clock: Clock | None = None,
    ) -> None:
        self._candidates, self._patience, self._timeout, self._rest = list(candidates), patience, timeout, rest
        self._opening, self._clock = opening, clock or Clock()
        self._file: RangeFile | None = None
        self._skipped: set[str] = set()
        self.requests = self.fetched = 0
        self.size = -1
        self.head = b""
        self.head = self.read([(0, HEAD)])[0]

    @property
    def url(self) -> str:
        """Where it is read now."""
        return self._now().url

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """The content of ranges, which may end after the file.

        Raises:
            RemoteError: if it cannot be read, after all patience.
        """
        backoff = Backoff(self._patience, self._clock)
        while True:
            candidate = self._now()
            try:
                content = self._read(candidate, ranges)
            except RemoteError as error:
                self.close()
                elsewhere = candidate.cache and len(self._candidates) > len(self._skipped) + 1
                if elsewhere and not isinstance(error, (NotFoundError, DeniedError)):
                    self._fall_back(candidate, error)
                elif not error.is_transient or not backoff.pause():
                    raise
            else:
                return content

    def close(self) -> None:
        """Give the connection back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _now(self) -> Candidate:
        return next(c for c in xcache.usable(self._candidates) if c.url not in self._skipped)

    def _fall_back(self, candidate: Candidate, error: RemoteError) -> None:
        self._skipped.add(candidate.url)
        if error.is_transient:
            xcache.leave_alone(candidate.cache, error.reason, self._rest)

    def _read(self, candidate: Candidate, ranges: Sequence[Range]) -> list[bytes]:
        if self._file is None:
            self._file = self._opening(candidate.url, self._timeout)
            if self.size not in (-1, self._file.size):
                reason = f"it has {self._file.size} bytes, but had {self.size} when it was opened"
                raise error_of(errno.ESTALE, "read", candidate.url, reason)
            self.size = self._file.size
        bounded = [(min(a, self.size), min(b, self.size)) for a, b in ranges]
        wanted = [one for one in bounded if one[0] < one[1]]
        got = iter(self._file.read(wanted) if wanted else [])
        self.requests += 1
        self.fetched += sum(b - a for a, b in wanted)
        return [next(got) if a < b else b"" for a, b in bounded]


class RemoteSource(Source):  # type: ignore[misc]
    """uproot's view of a :class:`RemoteFile`, which comes as the option ``remote``."""

    def __init__(self, file_path: str, remote: RemoteFile, **_options: Any) -> None:
        super().__init__()
        self._file_path, self._remote, self._closed = file_path, remote, False

    def __repr__(self) -> str:
        return f"<RemoteSource {self._file_path}>"

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self._remote.size

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    def __enter__(self) -> RemoteSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._remote.close()

    def chunk(self, start: int, stop: int) -> Chunk:
        """One range."""
        return self.chunks([(start, stop)], queue.Queue())[0]

    def chunks(self, ranges: list[Range], notifications: queue.Queue[Chunk]) -> list[Chunk]:
        """Many ranges, by one request if possible."""
        found = self._contents(ranges)
        chunks = [Chunk(self, *one, TrivialFuture(found[one])) for one in ranges]
        for chunk in chunks:
            notifications.put(chunk)
        return chunks

    def _contents(self, ranges: Sequence[Range]) -> dict[Range, bytes]:
        self._num_requests += 1
        self._num_requested_chunks += len(ranges)
        self._num_requested_bytes += sum(stop - start for start, stop in ranges)
        head = self._remote.head
        found = {(a, b): head[a:b] for a, b in ranges if b <= len(head)}
        parts = merged([one for one in ranges if one not in found])
        for part, content in zip(parts, self._remote.read([part[:2] for part in parts]) if parts else (), strict=True):
            for start, stop in part.wanted:
                found[start, stop] = content[start - part.start : stop - part.start]
        for (start, stop), content in found.items():
            if len(content) != stop - start:
                raise truncated(self._remote.url, self._remote.size, stop)
        return found


def truncated(url: str, size: int, end: int) -> RemoteError:
    """The error of a file that is shorter than it says itself."""
    if not size:
        return error_of(errno.EINVAL, "read", url, "it is empty: restore the file")
    return error_of(errno.EINVAL, "read", url, f"it is truncated, it has {size} of {end} bytes: restore the file")
