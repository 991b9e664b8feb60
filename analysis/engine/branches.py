"""Running the branches of a local workflow: in this process, and in helpers while slots are free.

luigi sees the workflow only. Its scheduler would spend more time on a thousand branches than most of them take.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from typing import TYPE_CHECKING, Any

from analysis.engine import progress, slots
from analysis.engine.commit import BusyError
from analysis.engine.errors import BranchesError
from analysis.engine.snapshot import Snapshot

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask
    from analysis.engine.workflow import AnalysisWorkflow

# the one that luigi reports failures to: what is said of a branch looks the same as what is said of a task
logger = logging.getLogger("luigi-interface")
_fork = multiprocessing.get_context("fork")


def run_branches(workflow: AnalysisWorkflow) -> None:
    """Run all branches that are not complete.

    A branch that another process is at work on is left to it, and looked at again in the end. A failure does not keep
    the other branches from running.

    Raises:
        BranchesError: naming the branches that failed.
    """
    snapshot = Snapshot()
    todo = [branch for branch in workflow.branch_tasks() if not snapshot.is_complete(branch)]
    progress.expect(workflow.get_task_family(), len(todo))
    for task in todo:
        task.snapshot, task.waits_for_others = snapshot, False
    try:
        _Run(workflow, todo).go()
    finally:
        for task in todo:
            task.snapshot, task.waits_for_others = None, True


@dataclass
class _Run:
    """Branches that are being run by this process and its helpers."""

    workflow: AnalysisWorkflow
    todo: Sequence[AnalysisTask]
    failed: dict[int, str] = field(default_factory=dict)

    def go(self) -> None:
        self._next = _fork.Value("i", 0)
        self._results: Any = _fork.SimpleQueue()
        helpers: list[ForkProcess] = []
        busy: deque[AnalysisTask] = deque()
        while (task := self._take()) is not None:
            self._call_helper(helpers)
            with slots.acquire():
                self._try(task, busy)
            self._collect(busy)
            self.workflow.publish_branches(self._next.value - len(busy), len(self.todo))
        for helper in helpers:
            self._join(helper, busy)
        self._collect(busy)
        for task in busy:
            # without a slot: who waits for another process must not keep a third one from working
            task.snapshot, task.waits_for_others = None, True
            self._try(task, busy)
        self._raise()

    def _take(self) -> AnalysisTask | None:
        with self._next.get_lock():
            number = self._next.value
            self._next.value = min(number + 1, len(self.todo))
        return self.todo[number] if number < len(self.todo) else None

    def _try(self, task: AnalysisTask, busy: deque[AnalysisTask]) -> None:
        try:
            task.run()
        except BusyError:
            busy.append(task)
        except Exception as error:
            self._fail(task, error)

    def _fail(self, task: AnalysisTask, error: Exception) -> None:
        sentence = f"{type(error).__name__}: {error}"
        if sentence not in self.failed.values():  # a thousand branches with one bug: told once
            logger.error("%s failed", task, exc_info=error)
        self.failed[task.branch_number or 0] = sentence

    # helpers

    def _call_helper(self, helpers: list[ForkProcess]) -> None:
        if self._next.value >= len(self.todo):
            return
        slot = slots.acquire(block=False) if slots.workers() > 1 else None
        if slot is not None:
            slot.release()
            helper = _fork.Process(target=self._help)
            helper.start()
            helpers.append(helper)

    def _help(self) -> None:
        busy: deque[AnalysisTask] = deque()
        self.failed = {}
        while self._next.value < len(self.todo):
            slot = slots.acquire(block=False)
            if slot is None:
                break
            with slot:
                task = self._take()
                if task is not None:
                    self._try(task, busy)
        self._results.put(([task.branch_number for task in busy], self.failed))

    def _collect(self, busy: deque[AnalysisTask]) -> None:
        while not self._results.empty():
            numbers, failed = self._results.get()
            busy.extend(task for task in self.todo if task.branch_number in numbers)
            self.failed.update(failed)

    def _join(self, helper: ForkProcess, busy: deque[AnalysisTask]) -> None:
        while helper.is_alive():
            self._collect(busy)
            helper.join(0.05)
        if helper.exitcode:
            logger.error(
                "a helper process (pid %s) of %s died with exit code %s: %s",
                helper.pid,
                self.workflow.title(),
                helper.exitcode,
                "it was killed, often for lack of memory" if helper.exitcode < 0 else "its error is in the log above",
            )

    def _raise(self) -> None:
        left = Snapshot()
        lost = [task.branch_number or 0 for task in self.todo if not left.is_complete(task)]
        if lost:
            numbers = ", ".join(str(b) for b in sorted(lost)[:10]) + (", ..." if len(lost) > 10 else "")
            reasons = list(dict.fromkeys(self.failed[b] for b in lost if b in self.failed))
            why = "; ".join(reasons[:3]) or "a process that ran them died"
            msg = f"{len(lost)} of {len(self.todo)} branches failed ({numbers}): {why}"
            raise BranchesError(msg)
