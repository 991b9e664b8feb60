"""What the engine costs per branch, against plain law: workflows of trivial branches, run by ``law run``.

Both sides run in processes of their own, in turns, one worker, with this repository's ``law.cfg`` (whose settings of
luigi make plain law faster as well). What a run costs with one branch (start of Python, imports) is subtracted. CPU
time is that of the process and its children, user and system.

    python -m benchmarks.engine_overhead [--branches N] [--rounds N] [--profile]
"""

from __future__ import annotations

import argparse
import os
import pstats
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
SIDES = {"plain law": "benchmarks.trivial_plain.PlainTrivial", "ours": "benchmarks.trivial_ours.OurTrivial"}
GOAL = 0.5


class Cost(NamedTuple):
    """Time of one process [s]."""

    cpu: float
    wall: float


class Bench:
    """``law`` in processes of their own, against one store.

    Args:
        folder: an empty directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        (folder / "home").mkdir()
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "ANALYSIS_BASE": str(REPOSITORY),
            "ANALYSIS_STORE": str(self.store),
            "LAW_HOME": str(folder / "home"),
            "LAW_CONFIG_FILE": str(REPOSITORY / "law.cfg"),
        }

    def law(self, *arguments: str, python: Sequence[str] = ("-m", "law")) -> Cost:
        """``law run`` with arguments.

        Raises:
            RuntimeError: if it fails, with what it said.
        """
        log, start = self.folder / "log.txt", time.monotonic()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, *python, "run", *arguments],
            self._environment,
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)],
        )
        _, status, usage = os.wait4(process, 0)
        if status:
            msg = f"law run {' '.join(arguments)} failed:\n{log.read_text()}"
            raise RuntimeError(msg)
        return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - start)


def per_branch(many: Sequence[Cost], one: Sequence[Cost], branches: int) -> Cost:
    """Median cost of one of many branches [s], without that of the start."""
    cpu, wall = (
        (median(getattr(c, field) for c in many) - median(getattr(c, field) for c in one)) / (branches - 1)
        for field in Cost._fields
    )
    return Cost(cpu, wall)


@contextmanager
def bench() -> Iterator[Bench]:
    """A place that is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="engine-overhead-") as name:
        yield Bench(Path(name))


def compare(branches: int, rounds: int) -> None:
    """All branches missing; all done; the status of all."""
    costs: dict[tuple[str, str, int], list[Cost]] = defaultdict(list)
    with bench() as law:
        for turn in range(rounds + 1):
            shutil.rmtree(law.store, ignore_errors=True)
            for number in (1, branches):
                for what, more in (("run", ()), ("again", ()), ("status", ("--print-status", "0"))):
                    for side, task in SIDES.items():
                        cost = law.law(task, "--n", str(number), *more)
                        if turn:  # the first turn warms up
                            costs[what, side, number].append(cost)
    for what, words in (
        ("run", "all missing: run"),
        ("again", "all done: law run"),
        ("status", "all done: --print-status"),
    ):
        print(f"\n{branches} branches, {words}, per branch; median of {rounds}")
        found = {side: per_branch(costs[what, side, branches], costs[what, side, 1], branches) for side in SIDES}
        for side, cost in found.items():
            start = median(c.cpu for c in costs[what, side, 1])
            print(
                f"  {side:9s} {cost.cpu * 1e3:7.3f} ms CPU {cost.wall * 1e3:7.3f} ms wall   (start {start:.2f} s CPU)"
            )
        ratios = [
            per_branch([ours], [ours_1], branches).cpu / per_branch([plain], [plain_1], branches).cpu
            for ours, ours_1, plain, plain_1 in zip(
                *(costs[what, side, number] for side in ("ours", "plain law") for number in (branches, 1)), strict=True
            )
        ]
        cpu, wall = (a / b for a, b in zip(found["ours"], found["plain law"], strict=True))
        goal = f", goal {GOAL}" if what == "run" else ""
        print(
            f"  ratio ours / plain law: CPU {cpu:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), wall {wall:.2f}{goal}"
        )


def plans(rounds: int) -> None:
    """``law run Report --plan`` with nothing done."""
    print("\nlaw run analysis.tasks.Report --plan, nothing done, whole process")
    with bench() as law:
        for more in ((), ("--campaign", "agc_2015")):
            costs = [law.law("analysis.tasks.Report", *more, "--plan") for _ in range(rounds)]
            print(f"  {more[-1] if more else 'demo':9s} {median(c.cpu for c in costs):.2f} s CPU, goal 3 s")


def profile(branches: int) -> None:
    """Where the time of ours goes: seconds spent in each module, and in the functions of the engine with all below."""
    with bench() as law:
        file = law.folder / "profile"
        code = ("-m", "cProfile", "-o", str(file), "-m", "law")
        law.law(SIDES["ours"], "--n", str(branches), python=code)
        stats = pstats.Stats(str(file))
    own: dict[str, float] = defaultdict(float)
    functions: list[tuple[float, int, str]] = []
    for (path, line, name), (_, calls, seconds, total, _) in stats.stats.items():  # type: ignore[attr-defined]
        parts = Path(path).parts
        package = next((p for p in ("analysis", "luigi", "law") if p in parts), None)
        module = "/".join(parts[parts.index("analysis") :]) if package == "analysis" else package or Path(path).name
        own[module] += seconds
        if package == "analysis":
            functions.append((total, calls, f"{module}:{line} {name}"))
    print(f"\nprofile of {branches} branches, all missing (the profiler slows it down)")
    for module, seconds in sorted(own.items(), key=lambda item: -item[1])[:20]:
        print(f"  {seconds:7.3f} s in {module}")
    for total, calls, name in sorted(functions, reverse=True)[:40]:
        print(f"  {total:7.3f} s below {name} ({calls} calls)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.engine_overhead")
    parser.add_argument("--branches", type=int, default=1000, help="branches of a workflow; default: 1000")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs; default: 5")
    parser.add_argument("--profile", action="store_true", help="show where the time of ours goes")
    options = parser.parse_args(arguments)
    if options.profile:
        profile(options.branches)
        return
    compare(options.branches, options.rounds)
    plans(options.rounds)


if __name__ == "__main__":
    main()
