"""Outputs on servers, against plain law and the servers' own tools: large files, many small ones, caches, the status.

Both sides use the servers of ``tests/testbed`` (see docs/testbed.md), in turns. gfal2, which plain law needs, is the
system's, so Python has to be of its version. Compression, other users and the disk are the same for all. All is removed
in the end, not before, and after that ext4 is slow for minutes: it looks at each file that was removed when it makes a
new one. So let five minutes pass before the next measurement.

    python -m benchmarks.storage [--rounds N] [--megabytes N] [--branches N] [--far N] [--parts files small caches]
        [--protocols root davs]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePath
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tests.testbed.faultproxy import FaultProxy
from tests.testbed.storage import Protocol, Storage

if TYPE_CHECKING:
    from analysis.engine.storage.remote import RemoteStore

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = "benchmark"
RUNS = f"{FOLDER}-{os.getpid()}"
"""Where the runs of this process write, all on the server ``xrd-open``."""
RATE, FASTER = 0.8, 3.0
"""Goals: rate of a large file against that of xrdcp, which compares nothing; how much faster many small outputs are
than those of plain law."""
LATENCY = 0.01
"""Of each direction, where the server is far away [s]."""

Timed = Callable[[int], None]


def load() -> str:
    """Load of the machine now."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def in_turns(ways: Mapping[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Times [s] of several ways to do the same: all of them once, then all of them again, ...

    Args:
        ways: each is called with the number of the round.
        rounds: how often.
    """
    times: dict[str, list[float]] = {title: [] for title in ways}
    for number in range(rounds):
        for title, way in ways.items():
            begin = time.monotonic()
            way(number)
            times[title].append(time.monotonic() - begin)
    return times


def tell(times: Mapping[str, Sequence[float]], megabytes: float, against: str, goal: float = 0.0) -> None:
    """Print rates, and the ratio of each to that of one of them: the median over the rounds."""
    for title, took in times.items():
        ratio = median(b / a for a, b in zip(took, times[against], strict=True))
        words = f", goal {goal}" if goal and title.startswith("ours") else ""
        rate = f"{megabytes / median(took):5.0f} MB/s"
        print(f"  {title:20s} {median(took):6.2f} s {rate}   rate / rate of {against}: {ratio:.2f}{words}")


# large files


class Files:
    """One large file, by our store and by the tools of the servers.

    Args:
        storage: the servers.
        folder: local scratch directory.
        megabytes: size of the file.
    """

    def __init__(self, storage: Storage, folder: Path, megabytes: int) -> None:
        from analysis.engine.manifest import checksum

        self._storage, self._folder = storage, folder
        self.source = folder / "source.bin"
        block = os.urandom(10**6)
        with self.source.open("wb") as file:
            for number in range(megabytes):
                file.write(number.to_bytes(8, "big") + block[8:])
        self.size, self.adler32 = self.source.stat().st_size, checksum(self.source)
        self._environment = {**os.environ, **storage.environment()}

    def store(self, server: str, protocol: Protocol = "root", cache: Path | None = None) -> RemoteStore:
        """Our store on a server."""
        from analysis.engine.storage.cache import Cache
        from analysis.engine.storage.endpoints import Endpoint, Endpoints
        from analysis.engine.storage.interfaces import interface_for
        from analysis.engine.storage.remote import RemoteStore
        from analysis.engine.storage.retry import Patience

        url = self._storage.url(server, protocol, FOLDER)
        interface = interface_for(protocol, "auto", 60)
        endpoint = Endpoint(url, lambda: interface)
        copies = Cache(cache, 10**12) if cache else None
        return RemoteStore("wlcg_fs", Endpoints("wlcg_fs", [endpoint], Patience()), cache=copies)

    def ours(self, store: RemoteStore) -> tuple[Timed, Timed]:
        """Up: upload, comparison with the checksum of the server, rename. Down: download and comparison.

        The local checksum, which the engine knows before it publishes a file, is computed here as well.
        """
        from analysis.engine.manifest import checksum

        def up(number: int) -> None:
            store.upload(self.source, self._at(store, number), self.size, checksum(self.source))

        def down(number: int) -> None:
            with store.localized(self._at(store, number), self.size, self.adler32) as copy:
                assert copy.stat().st_size == self.size

        return up, down

    def tool(self, *line: str, name: str, protocol: Protocol = "root") -> tuple[Timed, Timed]:
        """A command that copies from its first argument to its second one."""
        local = self.source.as_uri() if line[0].startswith("gfal") else str(self.source)
        base = self._storage.url("xrd-open", protocol, f"{FOLDER}/{name}")

        def up(number: int) -> None:
            self.run(*line, local, f"{base}-{number}")

        def down(number: int) -> None:
            copy = self._folder / f"{name}-{number}"
            self.run(*line, f"{base}-{number}", copy.as_uri() if line[0].startswith("gfal") else str(copy))
            copy.unlink()

        return up, down

    def run(self, *line: str) -> None:
        """Run a command that has to succeed."""
        found = subprocess.run(line, env=self._environment, capture_output=True, text=True, check=False)
        if found.returncode:
            msg = f"{' '.join(line)} failed:\n{found.stdout}{found.stderr}"
            raise RuntimeError(msg)

    @staticmethod
    def _at(store: RemoteStore, number: int) -> PurePath:
        return store.root / f"ours-{number}"


def large(storage: Storage, protocols: Sequence[Protocol], megabytes: int, rounds: int) -> None:
    """One large file, up and down."""
    with tempfile.TemporaryDirectory(prefix="benchmark-storage-") as name:
        files = Files(storage, Path(name), megabytes)
        kinds: dict[Protocol, dict[str, tuple[Timed, Timed]]] = {
            "root": {
                "ours": files.ours(files.store("xrd-open")),
                "xrdcp --cksum": files.tool("xrdcp", "-s", "-f", "--cksum", "adler32", name="checked"),
                "xrdcp": files.tool("xrdcp", "-s", "-f", name="plain"),
            },
            "davs": {
                "ours": files.ours(files.store("xrd-open", "davs")),
                "gfal-copy": files.tool("gfal-copy", "-f", name="gfal", protocol="davs"),
            },
        }
        for protocol in protocols:
            ways = kinds[protocol]
            for direction, words in enumerate(("up", "down")):
                storage_words = "" if direction else ", to a new name"
                print(f"\n{megabytes} MB by {protocol}, {words}{storage_words}; median of {rounds} ({load()})")
                if not direction:
                    storage.scratch("xrd-open", FOLDER)
                times = in_turns({title: way[direction] for title, way in ways.items()}, rounds)
                against = "xrdcp" if protocol == "root" else "gfal-copy"
                tell(times, megabytes, against, RATE if protocol == "root" else 0.0)


# caches


def caches(storage: Storage, megabytes: int, rounds: int) -> None:
    """First and second read through XCache and our cache, from an origin that is slow."""
    with tempfile.TemporaryDirectory(prefix="benchmark-storage-") as name:
        folder = Path(name)
        files = Files(storage, folder, megabytes)
        print(f"\n{megabytes} MB from a slow origin; median of {rounds} ({load()})")
        times: dict[str, list[float]] = {}
        origin = storage.scratch("xrd-slow", FOLDER)
        for number in range(rounds):
            path = origin / str(time.time_ns())  # a new name: XCache shows what it has, be it old or not
            shutil.copy(files.source, path)
            direct, near = files.store("xrd-slow"), files.store("xrd-cache-slow")
            kept = files.store("xrd-slow", cache=folder / f"cache-{number}")
            for title, store in (
                ("origin", direct),
                ("XCache, first", near),
                ("XCache, second", near),
                ("our cache, first", kept),
                ("our cache, second", kept),
            ):
                begin = time.monotonic()
                with store.localized(store.root / path.name, files.size, files.adler32):
                    times.setdefault(title, []).append(time.monotonic() - begin)  # not what the removal takes
            path.unlink()
        tell(times, megabytes, "origin")


# many small outputs


class Run(NamedTuple):
    """What ``law run`` took.

    Args:
        wall: [s].
        requests: to the server.
    """

    wall: float
    requests: Counter[str]


class Law:
    """``law run`` of workflows of trivial branches, on a server.

    Args:
        storage: the servers.
        folder: local scratch directory.
        protocol: that is spoken to them.
        port: of a proxy before the server.
    """

    sides = ("plain law", "ours")

    def __init__(self, storage: Storage, folder: Path, protocol: Protocol, port: int | None = None) -> None:
        self._storage, self._folder, self._protocol, self._port = storage, folder, protocol, port
        self._places = 0

    def move(self) -> None:
        """Write to a new place from now on; what is there stays to the end."""
        self._places += 1

    def run(self, side: str, branches: int, *options: str) -> Run:
        """Run one side.

        Args:
            side: one of :attr:`sides`.
            branches: how many.
            *options: of the command line.

        Raises:
            RuntimeError: if it fails, with what it said.
        """
        ours = side == "ours"
        task = "benchmarks.trivial_ours.OurTrivial" if ours else "benchmarks.plain_law.stored.PlainStored"
        base = self._storage.url("xrd-open", self._protocol, self._place(side), self._port)
        environment = {
            **os.environ,
            **self._storage.environment(),
            "PYTHONPATH": f"{REPOSITORY}:{self._storage.bindings}",
            "ANALYSIS_BASE": str(REPOSITORY),
            "ANALYSIS_STORE": str(self._folder / "store"),
            "LAW_HOME": str(self._folder / "home"),
            "LAW_CONFIG_FILE": str(REPOSITORY / ("law.cfg" if ours else "benchmarks/plain_law/law.cfg")),
            "LAW__outputs__default": "wlcg, wlcg_fs",
            "LAW__wlcg_fs__base": base,
        }
        line = [sys.executable, "-m", "law", "run", task, "--n", str(branches), "--workers", "1", *options]
        (self._folder / "home").mkdir(exist_ok=True)
        mark, begin = self._storage.mark("xrd-open"), time.monotonic()
        found = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        wall = time.monotonic() - begin
        if found.returncode:
            msg = f"{' '.join(line)} failed:\n{found.stdout}{found.stderr}"
            raise RuntimeError(msg)
        return Run(wall, self._storage.requests(mark))

    def _place(self, side: str) -> str:
        return f"{RUNS}/{self._folder.name}-{self._places}-{side.split(' ', maxsplit=1)[0]}"


@contextmanager
def law(storage: Storage, protocol: Protocol, latency: float) -> Iterator[Law]:
    """A place for runs, with a server that is near or far."""
    proxy = FaultProxy(storage.port("xrd-open", protocol), latency=latency) if latency else nullcontext()
    with tempfile.TemporaryDirectory(prefix="small-") as name, proxy as before:
        yield Law(storage, Path(name), protocol, before.port if before else None)


def small(storage: Storage, protocol: Protocol, branches: int, rounds: int, latency: float = 0.0) -> None:
    """Many small outputs: all missing, and the status when all are done."""
    where = f"{latency * 1e3:.0f} ms away" if latency else "near"
    status = ("--print-status", "0")
    runs: dict[tuple[str, str], list[Run]] = {}
    with law(storage, protocol, latency) as bench:
        for _ in range(rounds):
            bench.move()
            for what, number, options in (("start", 1, ()), ("run", branches, ()), ("status", branches, status)):
                for side in bench.sides:
                    runs.setdefault((what, side), []).append(bench.run(side, number, *options))
    for what, words in (("run", "all missing: run"), ("status", "all done: --print-status")):
        print(
            f"\n{branches} branches by {protocol}, server {where}, {words}, --workers 1; median of {rounds} ({load()})"
        )
        for side in bench.sides:
            wall = median(run.wall for run in runs[what, side])
            start = median(run.wall for run in runs["start", side]) if what == "run" else 0.0
            each = f", {(wall - start) / (branches - 1) * 1e3:6.2f} ms per branch" if what == "run" else ""
            requests = runs[what, side][-1].requests
            kinds = ", ".join(f"{count} {kind}" for kind, count in requests.most_common(4))
            print(f"  {side:10s} {wall:7.2f} s wall{each}, {requests.total()} requests ({kinds}, ...)")
        ratios = [b.wall / a.wall for a, b in zip(runs[what, "ours"], runs[what, "plain law"], strict=True)]
        goal = f", goal {FASTER:g}" if what == "run" else ""
        print(f"  plain law / ours: {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}){goal}")


def several(text: str) -> int:
    """A number of branches: two at least, for the time per branch is that of all but the first.

    Raises:
        argparse.ArgumentTypeError: for less.
    """
    if not text.isdecimal() or int(text) < 2:
        msg = f"{text} is no number of branches: 2 or more"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def measure(storage: Storage, options: argparse.Namespace) -> None:
    """Measure what was asked for."""
    storage.scratch("xrd-open", RUNS)
    if "small" in options.parts:  # first: other parts remove what they wrote
        for protocol in options.protocols:
            small(storage, protocol, options.branches, options.rounds)
            small(storage, protocol, options.far, options.rounds, LATENCY)
    if "files" in options.parts:
        large(storage, options.protocols, options.megabytes, options.rounds)
    if "caches" in options.parts:
        caches(storage, options.megabytes // 5, options.rounds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.storage")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs; default: 3")
    parser.add_argument("--megabytes", type=int, default=500, help="size of the large file; default: 500")
    parser.add_argument("--branches", type=several, default=1000, help="branches of the workflow; default: 1000")
    parser.add_argument("--far", type=several, default=100, help="the same on a server that is far away; default: 100")
    parts = ["files", "small", "caches"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="what is measured; default: all")
    spoken: list[Protocol] = ["root", "davs"]
    parser.add_argument("--protocols", nargs="+", choices=spoken, default=spoken, help="by which; default: both")
    options = parser.parse_args(arguments)
    storage = Storage()
    storage.start()
    os.environ.update(storage.environment())  # before a client library is loaded
    sys.path.append(str(storage.bindings))
    try:
        measure(storage, options)
    finally:
        shutil.rmtree(storage.scratch("xrd-open", RUNS))


if __name__ == "__main__":
    main()
