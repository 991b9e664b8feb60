"""Input files on a server: read directly, or as a local copy, and by which of uproot's sources.

Two files: ten columns of random numbers (74 MB) of which two are read, and a real file of which all is read that the
chain needs. They are written to a folder of the server by its first URL. The others are ways to the same folder:
another protocol, a proxy that delays, and so shows what latency costs.

    python -m benchmarks.reading REAL_FILE root://HOST:PORT//FOLDER https://HOST:PORT/FOLDER ...
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import uproot
from uproot.source.fsspec import FSSpecSource
from uproot.source.xrootd import XRootDSource

from analysis.columnar.producers import reduced_columns
from analysis.columnar.select import reduce, select
from analysis.columnar.sources import NanoAODSource
from analysis.columnar.table import Table
from analysis.config import get_campaign, kinematic_shifts
from analysis.engine.storage.interfaces import interface_for
from analysis.engine.storage.reading import InputSettings, cache_of, open_root

EVENTS, COLUMNS, READ = 2_000_000, 10, ("c2", "c7")
ROUNDS = 5

Opening = Callable[[str], AbstractContextManager[Any]]


class Work(NamedTuple):
    """A file, and what is read of it."""

    title: str
    path: Path
    branches: tuple[str, ...]


class Result(NamedTuple):
    """Median time [s], and what was asked for in one round."""

    seconds: float
    requests: int
    size: int


class Recorded(NanoAODSource):
    """Remembers what is read."""

    seen: frozenset[str] = frozenset()

    def read(self, columns: Iterable[str]) -> Mapping[str, ak.Array]:
        """Read columns."""
        wanted = list(columns)
        Recorded.seen |= {self._branch(column) for column in wanted}
        return super().read(wanted)


def random_file(path: Path) -> Work:
    """Ten columns of random numbers."""
    random = np.random.default_rng(1)
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        file.mktree("Events", {f"c{i}": "float32" for i in range(COLUMNS)})
        for _ in range(20):
            file["Events"].extend({f"c{i}": random.normal(size=EVENTS // 20).astype("f4") for i in range(COLUMNS)})
    return Work("2 of 10 columns", path, READ)


def real_file(path: Path) -> Work:
    """All that selection and reduction read."""
    campaign = get_campaign("agc_2015")
    dataset = campaign.datasets["ttbar"]
    selection = select(Table(Recorded(str(path))), dataset, kinematic_shifts(dataset))
    reduce(Table(Recorded(str(path))), selection.selected, reduced_columns(dataset, campaign))
    return Work(f"the chain's {len(Recorded.seen)} columns", path, tuple(sorted(Recorded.seen)))


def measure(opening: Opening, work: Work, url: str, rounds: int = ROUNDS) -> Result:
    """Open the file and read the columns."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        with opening(url) as directory:
            directory["Events"].arrays(work.branches, how=dict)
            source = directory.file.source
        seconds.append(time.perf_counter() - start)
    remote = getattr(source, "_remote", None)
    requests = source.num_requests if remote is None else remote.requests
    return Result(median(seconds), requests, source.num_requested_bytes if remote is None else remote.fetched)


def copies(settings: InputSettings, work: Work, url: str) -> tuple[Result, Result]:
    """The first time, and when the copy is there."""
    first = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            cached = replace(settings, cache_root=Path(folder) / "cache")
            copying = partial(open_root, settings=cached)
            first.append(measure(copying, work, url, 1).seconds)
            again = measure(copying, work, url)
            cache_of(cached).close()
    size = work.path.stat().st_size
    return Result(median(first), 0, size), Result(again.seconds, 0, 0)


def show(title: str, result: Result, reference: Result) -> None:
    """One line."""
    ratio = f"{result.seconds / reference.seconds:6.2f} x direct"
    size = f"{result.size / 1e6:8.2f} MB"
    print(f"  {title:22}{result.seconds:8.3f} s {ratio}  {result.requests:4} requests {size}", flush=True)


def compare(work: Work, folder: str) -> None:
    """All ways to read a file."""
    url = f"{folder}/{work.path.name}"
    scheme = url.partition("://")[0]
    size = work.path.stat().st_size
    print(f"{work.title} of {size / 1e6:.1f} MB, {folder}")
    settings = InputSettings("direct", timeout=30, patience=0)
    direct = measure(partial(open_root, settings=settings), work, url)
    show("direct", direct, direct)
    sources = [FSSpecSource, XRootDSource] if scheme == "root" else [FSSpecSource]
    for source in sources:
        show(f"uproot {source.__name__}", measure(partial(uproot.open, handler=source), work, url), direct)
    copy, again = copies(replace(settings, reading="copy", cache_max_size=10**9), work, url)
    show("copy, first time", copy, direct)
    show("copy, there already", again, direct)


def main() -> None:
    """Measure and print."""
    real, *folders = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        works = [random_file(Path(folder) / "random.root"), real_file(Path(real))]
        interface = interface_for(folders[0].partition("://")[0])
        for work in works:
            place = f"{folders[0].rstrip('/')}/{work.path.name}"
            interface.upload(work.path, place)
            for url in folders:
                compare(work, url.rstrip("/"))
            interface.remove(place)


if __name__ == "__main__":
    main()
