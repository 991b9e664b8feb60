"""Running the branches of a local workflow: in this process, or in helper processes while slots are free.

luigi sees the workflow only. Its scheduler would spend more time on a thousand branches than most of them take.

With more than one worker, the process of the workflow runs no branch itself: helpers are forked from it at any time,
and what has started threads (OpenMP, Arrow) cannot be forked without hanging.
"""

from __future__ import annotations

import functools
import logging
import mmap
import multiprocessing
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import TYPE_CHECKING

from analysis.engine import progress, session, slots
from analysis.engine.commit import BusyError
from analysis.engine.errors import BranchesError
from analysis.engine.pipeline import Pipeline
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage.base import RemoteError

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask
    from analysis.engine.workflow import AnalysisWorkflow

# the one that luigi reports failures to: what is said of a branch looks the same as what is said of a task
logger = logging.getLogger("luigi-interface")
_fork = multiprocessing.get_context("fork")
_POLL = 0.1
_NUMBER = struct.Struct("i")


def run_branches(workflow: AnalysisWorkflow) -> None:
    """Run all branches that are not complete.

    A branch that another process is at work on is left to it, and looked at again in the end. A failure does not keep
    the other branches from running.

    Raises:
        BranchesError: naming the branches that failed.
    """
    snapshot = session.snapshot_for(workflow)
    todo = [branch for branch in workflow.branch_tasks() if not snapshot.is_complete(branch)]
    progress.expect(workflow.get_task_family(), len(todo))
    for task in todo:
        task.snapshot, task.runs_here, task.waits_for_others = snapshot, True, False
    outcome, told = Outcome(), Told()
    try:
        if slots.workers() > 1 and len(todo) > 1:
            for found in _Helpers(workflow, todo, told).run():
                outcome.add(found)
        else:
            with _pipeline(workflow) as pipeline:
                for number, task in enumerate(pipeline.each(todo), 1):
                    with slots.acquire():
                        outcome.attempt(task, told, pipeline)
                    workflow.publish_branches(number, len(todo))
                outcome.settle(pipeline, told)
    finally:
        for task in todo:
            task.snapshot, task.runs_here, task.waits_for_others = None, False, True
    busy, outcome.busy = outcome.busy, []
    for task in todo:
        if task.branch_number in busy:  # without a slot: it is taken after the other process has finished
            outcome.attempt(task, told)
    outcome.check(todo)


def _pipeline(workflow: AnalysisWorkflow) -> Pipeline:
    return Pipeline(is_deep=workflow.store.kind != "local")


class Told:
    """Errors that were told: a thousand branches with one bug say so once, whichever process runs them."""

    def __init__(self) -> None:
        self._flags = mmap.mmap(-1, mmap.PAGESIZE)  # shared with processes that are forked from now on

    def is_new(self, sentence: str) -> bool:
        """Whether this is said for the first time."""
        place = zlib.crc32(sentence.encode()) % mmap.PAGESIZE
        was_told, self._flags[place] = self._flags[place], 1
        return not was_told


@dataclass
class Outcome:
    """What became of branches: errors by number, numbers of those that others are at work on, and of those done."""

    failed: dict[int, str] = field(default_factory=dict)
    busy: list[int] = field(default_factory=list)
    done: set[int] = field(default_factory=set)

    def attempt(self, task: AnalysisTask, told: Told, pipeline: Pipeline | None = None) -> None:
        """Run a branch; nothing it does keeps the others from running.

        Args:
            task: the branch.
            told: which errors were told already.
            pipeline: may commit it later.
        """
        task.pipeline = pipeline if pipeline and pipeline.is_deep else None
        try:
            self._judge(told, task, task.run)
        finally:
            task.pipeline = None
        if pipeline:
            self.settle(pipeline, told, wait=False)

    def settle(self, pipeline: Pipeline, told: Told, wait: bool = True) -> None:
        """Take in what became of branches that were committed later.

        Args:
            pipeline: commits them.
            told: which errors were told already.
            wait: for all of them.
        """
        pipeline.settle(functools.partial(self._judge, told), wait)

    def _judge(self, told: Told, task: AnalysisTask, act: Callable[[], None]) -> None:
        number = task.branch_number or 0
        try:
            act()
            self.done.add(number)
        except BusyError:
            self.busy.append(number)
        except Exception as error:
            sentence = f"{type(error).__name__}: {error}"
            # of a store the reason counts: the URL is another one for each branch
            reason = f"{type(error).__name__}: {error.reason}" if isinstance(error, RemoteError) else sentence
            if told.is_new(reason):
                logger.exception("%s failed", task)
            self.failed[number] = sentence
            self.done.discard(number)  # it ran well, and its commit failed later

    def add(self, other: Outcome) -> None:
        """Add what became of other branches."""
        self.failed |= other.failed
        self.busy += other.busy
        self.done |= other.done

    def check(self, todo: Sequence[AnalysisTask]) -> None:
        """Look whether all branches are complete now, unless each of them has ended well.

        Raises:
            BranchesError: naming those that are not.
        """
        if self.done.issuperset(task.branch_number or 0 for task in todo):
            return
        try:
            snapshot = Snapshot()
            lost = sorted(task.branch_number or 0 for task in todo if not snapshot.is_complete(task))
        except RemoteError as error:
            failed = len(todo) - len(self.done)
            msg = f"{failed} of {len(todo)} branches failed, and their store does not answer: {error}"
            raise BranchesError(msg) from error
        if lost:
            numbers = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
            reasons = list(dict.fromkeys(self.failed[branch] for branch in lost if branch in self.failed))
            if any(branch not in self.failed for branch in lost):
                reasons.insert(0, "a process that ran some of them was killed, often for lack of memory")
            msg = f"{len(lost)} of {len(todo)} branches failed ({numbers}): {'; '.join(reasons[:3])}"
            raise BranchesError(msg)


class _Helpers:
    """Processes that take branches, one after the other, out of a pipe.

    Nothing is shared that a killed process could leave locked: the kernel hands out the numbers.
    """

    def __init__(self, workflow: AnalysisWorkflow, todo: Sequence[AnalysisTask], told: Told) -> None:
        self._workflow, self._todo, self._told = workflow, todo, told
        self._fed = 0
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._running: dict[Connection, ForkProcess] = {}

    def run(self) -> Iterator[Outcome]:
        """Run all branches.

        Yields:
            What became of some of them.
        """
        try:
            while self._feed() or self._running:
                self._call()
                for connection in wait(list(self._running), _POLL):
                    yield self._receive(connection)  # type: ignore[arg-type]
        finally:
            for process in self._running.values():  # after Ctrl-C
                process.terminate()
            for descriptor in {self._reader, self._writer} - {-1}:
                os.close(descriptor)

    def _feed(self) -> bool:
        """Fill the pipe; returns whether there are branches that nobody has taken yet."""
        with suppress(BlockingIOError):
            while self._fed < len(self._todo):
                os.write(self._writer, _NUMBER.pack(self._fed))
                self._fed += 1
        return self._waiting() > 0

    def _waiting(self) -> int:
        from fcntl import ioctl
        from termios import FIONREAD

        inside = _NUMBER.unpack(ioctl(self._reader, FIONREAD, _NUMBER.pack(0)))[0] // _NUMBER.size
        return int(inside) + len(self._todo) - self._fed

    def _call(self) -> None:
        """Fork a helper if there is something to do for it; the first one waits for its slot."""
        waiting = self._waiting()
        if not waiting or len(self._running) >= slots.workers():
            return
        if self._running:
            slot = slots.acquire(block=False)
            if slot is None:
                return
            slot.release()
        receiver, sender = _fork.Pipe(duplex=False)
        process = _fork.Process(target=self._help, args=(sender, not self._running))
        process.start()
        sender.close()
        self._running[receiver] = process
        self._workflow.publish_branches(len(self._todo) - waiting, len(self._todo))

    def _help(self, sender: Connection, is_first: bool) -> None:
        os.set_blocking(self._reader, False)
        outcome = Outcome()
        with _pipeline(self._workflow) as pipeline:
            tasks = pipeline.each(iter(self._take, None))
            # what it took out of the pipe nobody else does
            while (slot := slots.acquire(block=is_first or pipeline.has_more)) is not None:
                with slot:
                    task = next(tasks, None)
                    if task is None:
                        break
                    outcome.attempt(task, self._told, pipeline)
            outcome.settle(pipeline, self._told)
        sender.send(outcome)

    def _take(self) -> AnalysisTask | None:
        try:
            number: int = _NUMBER.unpack(os.read(self._reader, _NUMBER.size))[0]
        except BlockingIOError:
            return None
        return self._todo[number]

    def _receive(self, connection: Connection) -> Outcome:
        process = self._running.pop(connection)
        try:
            outcome = connection.recv()
        except EOFError:  # killed: what it was at work on is found incomplete in the end
            outcome = Outcome()
        connection.close()
        process.join()
        return outcome if isinstance(outcome, Outcome) else Outcome()
