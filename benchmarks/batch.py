"""Batch jobs, against plain law: what submission, polls and short branches cost on a real HTCondor and a real Slurm.

Both sides run on the pools of ``tests/testbed`` (as root, see docs/testbed.md), by the command line tools, in turns.
Jobs compete with nothing if nothing else runs on the machine: its load is printed.

    python -m benchmarks.batch [--systems htcondor slurm] [--branches N] [--many N] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.clients import SUBMIT, Call, CountedClients, rounds
from tests.testbed import Testbed

GOAL = 0.5
_GAP = 0.5
_WATCHES = (4.0, 10.0)
"""Lengths of two runs [s] whose difference is the cost of the polls in between."""


class Side(NamedTuple):
    """One way to run the same branches.

    Args:
        title: for people.
        task: task family.
        options: for each run.
    """

    title: str
    task: str
    options: tuple[str, ...] = ()


OURS = Side("ours", "benchmarks.batch_ours.OurJobs")
SINGLE = Side("ours, --tasks-per-job 1", OURS.task, ("--tasks-per-job", "1"))
PLAIN = Side("plain law", "benchmarks.plain_law.tasks.PlainJobs", ("--poll-interval", "1s", "--transfer-logs"))
BUNDLED = Side("plain law, --tasks-per-job 10", PLAIN.task, (*PLAIN.options, "--tasks-per-job", "10"))
_STAY = {"htcondor": {"LAW__htcondor__requirements": "False"}, "slurm": {"LAW__slurm__begin": "now+1hour"}}


class Cost(NamedTuple):
    """What a run took.

    Args:
        wall: [s].
        cpu: of the process and those that it waited for [s].
        calls: of the commands of the batch system.
        code: exit code.
    """

    wall: float
    cpu: float
    calls: list[Call]
    code: int

    def submissions(self, system: str) -> int:
        """Number of calls that submitted jobs."""
        return sum(call.name == SUBMIT[system] for call in self.calls)


class Bench:
    """``law run`` as the user of the testbed, in a place of its own.

    Args:
        testbed: the testbed.
        system: ``htcondor`` or ``slurm``.
        folder: an empty directory of the user.
    """

    def __init__(self, testbed: Testbed, system: str, folder: Path) -> None:
        self._testbed, self.system, self._folder = testbed, system, folder
        self._clients = CountedClients(folder, system, testbed.directory / system / "bin")
        repository = testbed.repository
        user = testbed.environment()
        self._shared = {"PATH": f"{self._clients.folder}:{user['PATH']}"}
        self._settings = {
            OURS.task: {
                "ANALYSIS_STORE": str(folder / "store"),
                "LAW_HOME": str(folder / "law_home"),
                "LAW__batch__job_files": "benchmarks",
                "LAW__htcondor__client": "tools",
            },
            PLAIN.task: {
                "PLAIN_LAW_STORE": str(folder / "plain_store"),
                "PLAIN_LAW_DATA": str(folder / "plain_data"),
                "LAW_HOME": str(folder / "plain_home"),
                "LAW_CONFIG_FILE": str(repository / "benchmarks" / "plain_law" / "law.cfg"),
            },
        }
        testbed.succeed("mkdir", "law_home", "plain_home", folder=folder)

    def run(
        self, side: Side, *options: str, seconds: float | None = None, more: Mapping[str, str] | None = None
    ) -> Cost:
        """``law run``.

        Args:
            side: which.
            *options: of the command line.
            seconds: after which it gets SIGINT.
            more: environment variables.
        """
        environment = {**self._shared, **self._settings[side.task], **(more or {})}
        line = ("law", "run", side.task, "--workflow", self.system, *side.options, *options)
        self._clients.take()
        start = time.monotonic()
        with self.log.open("w") as log:
            process = subprocess.Popen(
                self._testbed.command_line(line, environment), cwd=self._folder, stdout=log, stderr=log
            )
        if seconds is not None:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        return Cost(wall, usage.ru_utime + usage.ru_stime, self._clients.take(), process.returncode)

    @property
    def log(self) -> Path:
        """What the last run said."""
        return self._folder / "log.txt"

    def complete(self, side: Side, *options: str) -> Cost:
        """A run that has to end well.

        Raises:
            RuntimeError: if it does not, with what it said.
        """
        cost = self.run(side, *options)
        if cost.code:
            msg = f"{side.title} on {self.system} failed:\n{self.log.read_text()}"
            raise RuntimeError(msg)
        return cost

    def clear(self) -> None:
        """Take all jobs out of the queue."""
        user = self._testbed.user
        self._testbed.as_user(*(("condor_rm", user) if self.system == "htcondor" else ("scancel", "--user", user)))


@contextmanager
def bench(testbed: Testbed, system: str) -> Iterator[Bench]:
    """A place for one measurement; in the end the queue is empty."""
    found = Bench(testbed, system, testbed.scratch(f"benchmark-{system}"))
    try:
        yield found
    finally:
        found.clear()


def load() -> str:
    """Load of the machine now."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def queue(testbed: Testbed, system: str, branches: int) -> None:
    """Submission of many jobs, which stay in the queue, and polls of them."""
    print(f"\n{system}: {branches} branches, one job each, that stay in the queue ({load()})")
    costs, polls = {}, {}
    for side in (PLAIN, SINGLE):
        with bench(testbed, system) as law:
            more, stay = (("--waits",), {}) if side is PLAIN else (("--no-canary",), _STAY[system])
            options = ("--n", str(branches), *more)
            cost = costs[side] = law.run(side, *options, "--no-poll", more=stay)
            print(
                f"  {side.title:30s} submission: {cost.submissions(system):5d} calls, {cost.wall:6.2f} s wall,"
                f" {cost.cpu:5.2f} s CPU, start included"
            )
            polls[side] = poll(law, side, options, stay)
    ours, plain = costs[SINGLE], costs[PLAIN]
    print(f"  ratio ours / plain law: submission wall {ours.wall / plain.wall:.2f}, CPU {ours.cpu / plain.cpu:.2f}")
    calls, wall, cpu = (a / b for a, b in zip(polls[SINGLE], polls[PLAIN], strict=True))
    print(f"  ratio ours / plain law: one poll calls {calls:.3f}, wall {wall:.3f}, CPU {cpu:.2f}")


def poll(law: Bench, side: Side, options: Sequence[str], stay: dict[str, str]) -> tuple[float, float, float]:
    """Calls, time of the calls [s], and CPU time [s] of one look at the queue."""
    short, long = (law.run(side, *options, seconds=seconds, more=stay) for seconds in _WATCHES)
    looks = rounds(long.calls, _GAP)
    calls = median(len(look) for look in looks)
    wall = median(max(c.end for c in look) - look[0].begin for look in looks)
    cpu = (long.cpu - short.cpu) / (len(looks) - len(rounds(short.calls, _GAP)))
    print(
        f"  {side.title:30s} one poll:   {calls:5.0f} calls, {wall:6.3f} s wall, {cpu:5.3f} s CPU; "
        f"median of {len(looks)}"
    )
    return calls, wall, cpu


def whole(testbed: Testbed, system: str, branches: int) -> None:
    """All of many short branches, as the engine cuts them into jobs."""
    print(f"\n{system}: {branches} short branches to their end, canary first ({load()})")
    with bench(testbed, system) as law:
        cost = law.complete(OURS, "--n", str(branches))
        print(f"  {OURS.title:30s} {cost.submissions(system):5d} submissions, {cost.wall:6.1f} s wall")


def short(testbed: Testbed, system: str, branches: int, turns: int) -> None:
    """Wall time of short branches."""
    sides = (PLAIN, BUNDLED, SINGLE, OURS)
    walls: dict[Side, list[float]] = defaultdict(list)
    print(f"\n{system}: {branches} short branches to their end; median of {turns}")
    for _ in range(turns):
        for side in sides:
            before = load()
            with bench(testbed, system) as law:
                cost = law.complete(side, "--n", str(branches))
            walls[side].append(cost.wall)
            print(f"  {side.title:30s} {cost.wall:6.1f} s wall, {cost.submissions(system):4d} submissions ({before})")
    for side in (SINGLE, OURS):
        ratios = [a / b for a, b in zip(walls[side], walls[PLAIN], strict=True)]
        print(f"  ratio {side.title} / {PLAIN.title}: {median(ratios):.2f}, goal {GOAL}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.batch")
    parser.add_argument("--systems", nargs="+", choices=["htcondor", "slurm"], default=["htcondor", "slurm"])
    parser.add_argument("--branches", type=int, default=200, help="short branches that are run; default: 200")
    parser.add_argument("--many", type=int, default=1000, help="branches that are submitted and polled; default: 1000")
    parser.add_argument("--rounds", type=int, default=1, help="how often each side runs; default: 1")
    options = parser.parse_args(arguments)
    testbed = Testbed()
    testbed.sync()
    for system in options.systems:
        getattr(testbed, system).start()
        queue(testbed, system, options.many)
        whole(testbed, system, options.many)
        short(testbed, system, options.branches, options.rounds)


if __name__ == "__main__":
    main()
