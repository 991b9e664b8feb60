"""A run of the chain that is going to be killed, in a process forked from one that has imported everything."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import luigi

from analysis.engine import session, slots
from analysis.engine.plan import in_order_of_data, walk
from analysis.engine.snapshot import Snapshot
from analysis.engine.task import AnalysisTask
from analysis.tasks import PlotCutflow, PlotFit, PlotVariables, SelectEvents, TabulateYields

READY = "victim: ready\n"
DONE = re.compile(r"(?P<title>.+): (done in|unchanged)")

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_OPERATIONS = frozenset({"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.utime"})


@dataclass(frozen=True)
class Orders:
    """What a run has to do.

    Args:
        store: the store.
        campaign: the campaign file.
        first: which of the last tasks comes first.
        workers: number of processes.
        revision: of ``SelectEvents``: with another one its outputs are stale, and come out the same.
        fatal_operation: number of the operation on the store before which the process dies; 0 for none.
        whole_group: whether all processes of the run die with it.
    """

    store: Path
    campaign: Path
    first: int = 0
    workers: int = 1
    revision: int = 0
    fatal_operation: int = 0
    whole_group: bool = True


def last_tasks(campaign: Path) -> list[AnalysisTask]:
    """Tasks that together require all stages but the report; small ones."""
    choice = {"campaign": str(campaign), "folds": 2}
    return [
        PlotCutflow(campaign=str(campaign)),
        PlotVariables(variables=("ht",), **choice),
        TabulateYields(**choice),
        PlotFit(**choice),
    ]


def all_tasks(campaign: Path) -> list[AnalysisTask]:
    """All tasks of the chain at the level of workflows, in the order of the data."""
    found = {task.key: task for root in last_tasks(campaign) for task, _ in walk(root, Snapshot(), everything=True)}
    return in_order_of_data(found.values())


def prepare(campaign: Path) -> None:
    """Say what the process imports from which all runs are forked; it starts with the first of them."""
    modules = dict.fromkeys(module for task in all_tasks(campaign) for module in task.preload)
    # pytest: the main module of this process, which each run looks at
    get_context("forkserver").set_forkserver_preload(["pytest", __name__, *modules])


@dataclass
class Victim:
    """A run of the chain, in a process group of its own."""

    process: ForkServerProcess
    said: Connection
    lines: list[str] = field(default_factory=list)
    _rest: str = ""

    @classmethod
    def start(cls, orders: Orders) -> Victim:
        """Start it, and wait until it has its process group."""
        context = get_context("forkserver")
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(orders, writer))
        process.start()
        writer.close()
        victim = cls(process, reader)
        while READY.strip() not in victim.lines:
            assert victim.read(None), f"the run did not start: {victim.lines}"
        victim.lines.clear()
        return victim

    def read(self, timeout: float | None) -> bool:
        """Take what it says; ``False`` at the end, when no process of the run is left, or after the time."""
        if timeout is not None and not self.said.poll(max(timeout, 0.0)):
            return False
        content = os.read(self.said.fileno(), 1 << 16)
        *whole, self._rest = (self._rest + content.decode()).split("\n")
        self.lines += whole
        return bool(content)

    def done(self) -> list[str]:
        """Titles of what was finished, in order."""
        return [found["title"] for line in self.lines if (found := DONE.match(line))]

    def kill(self, whole_group: bool = True) -> None:
        """End it without a warning, alone or with all processes it has started."""
        with suppress(ProcessLookupError):  # it has ended already
            (os.killpg if whole_group else os.kill)(self._pid, signal.SIGKILL)

    def bury(self) -> int:
        """Wait for its end, and kill what is left of its group, e.g. processes whose parent was killed.

        Returns:
            Exit code.
        """
        self.process.join()
        self.kill()
        while self.read(None):  # each process of the group has the other end of this pipe
            pass
        self.said.close()
        return int(self.process.exitcode or 0)

    @property
    def _pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid


def _run(orders: Orders, said: Connection) -> None:
    os.setsid()
    set_start_method("fork", force=True)  # as in any process that is not forked by a server
    os.dup2(said.fileno(), 2)
    said.close()
    os.environ["ANALYSIS_STORE"] = str(orders.store)
    SelectEvents.revision = orders.revision
    os.write(2, READY.encode())
    if orders.fatal_operation:
        _die_at(orders)
    tasks = last_tasks(orders.campaign)
    slots.configure(orders.workers)
    with session.scheduling():  # one run for all of them: law takes half a second to start one
        luigi.build(
            tasks[orders.first :] + tasks[: orders.first],
            workers=orders.workers,
            local_scheduler=True,
            no_lock=True,
            log_level="WARNING",
        )
    if not all(task.complete() for task in tasks):
        sys.exit("not all tasks could be completed")


def _die_at(orders: Orders) -> None:
    """Count what all processes of the run do to the store, and kill right before one of these operations."""
    counter, store = get_context("fork").Value("i", 0), f"{orders.store}/"

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _OPERATIONS or not isinstance(arguments[0], str | Path):
            return
        if not str(arguments[0]).startswith(store) or (event == "open" and not arguments[2] & _WRITING):
            return
        with counter.get_lock():
            counter.value += 1
            fatal = counter.value == orders.fatal_operation
        if fatal and orders.whole_group:
            os.killpg(0, signal.SIGKILL)
        elif fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
