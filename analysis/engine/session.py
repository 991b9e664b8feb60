"""What one run knows from its start: the task that was asked for, and the store as it was then."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import luigi
from luigi.cmdline_parser import CmdlineParser

from analysis.engine import interrupts, plan, policy, progress, slots, watch
from analysis.engine.backends import tree
from analysis.engine.backends.jobenv import job_repository
from analysis.engine.backends.settings import batch_settings
from analysis.engine.errors import ExpensiveRunError
from analysis.engine.inputs import Inputs
from analysis.engine.recipes import required_tasks
from analysis.engine.sandboxes import supervisors
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage import masking
from analysis.engine.terminal import say

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask

_root: AnalysisTask | None = None
_is_decided = False
_snapshot: Snapshot | None = None
_before: Snapshot | None = None


def root() -> AnalysisTask | None:
    """The task that the command line asks for; ``None`` if it asks a question, or there is no command line."""
    return _root


def snapshot() -> Snapshot:
    """The store as it was when the run was started, until its first task runs; the store as it is otherwise."""
    return _snapshot or Snapshot()


def snapshot_for(task: AnalysisTask) -> Snapshot:
    """The store for a task that starts: as it was before the run if all that the task requires was complete then."""
    if _before is not None and all(_before.is_complete(required) for required in required_tasks(task)):
        return _before
    return Snapshot(_before)


def inputs() -> Inputs:
    """Local copies of what is read through a task that does not run: for the one that runs here, as long as it does.

    Outside of any ``run()``, of files as they are now; they stay until the process ends.
    """
    if (reader := watch.reader()) is not None:
        return reader.inputs
    found = Inputs(Snapshot())
    atexit.register(found.close)
    return found


@contextmanager
def scheduling() -> Iterator[None]:
    """Look at the store once while luigi asks which tasks are complete."""
    global _snapshot, _before  # noqa: PLW0603
    _snapshot = Snapshot()
    try:
        yield
    finally:
        _snapshot = _before = None


def remember_root(task: AnalysisTask) -> None:
    """Start the session if the command line asks for this task: it is the first one of its family."""
    global _root, _is_decided, _snapshot  # noqa: PLW0603
    parser = CmdlineParser.get_instance()
    if _is_decided or parser is None or parser.known_args.root_task != task.get_task_family():
        return
    _is_decided = True  # of a question as well: the branches that it makes later are no root
    if any(getattr(task, name) for name in task.interactive_params):
        return
    _root = task
    try:
        policy.check()
        task.check()
        _snapshot = Snapshot()
        allow(plan.make_plan(task, _snapshot, stale_only=True), yes=task.yes)
        workers, processes = _processes(task)
        if processes > 1 and _snapshot.needs_run(task):
            _snapshot.recipes.digest(task)  # once, and not in each of the processes that are forked from this one
    except BaseException:
        _root = _snapshot = None
        raise
    sys.excepthook = _tell_error
    tree.take_children_along()
    interrupts.take_termination()
    slots.configure(workers, processes)
    if processes > 1:
        supervisors.open_run()  # before luigi forks, for all processes to share sandboxes
    if task.workflow == "local":  # jobs have a line of their own
        progress.start()


def begin(task: AnalysisTask) -> None:
    """Start the session after a question that is followed by a run."""
    global _is_decided  # noqa: PLW0603
    _is_decided = False
    remember_root(task)


def _processes(task: AnalysisTask) -> tuple[int, int]:
    """How many tasks compute here at once, and how many processes luigi forks: one per workflow that waits for jobs."""
    workers = int(luigi.interface.core().workers)
    if task.workflow == "local":
        return workers, workers
    job_repository()  # now, while it is what this process has read
    if workers > 1:
        return workers, workers
    processes = batch_settings().parallel_workflows
    # read by luigi when this task has been made; --workers on the command line comes first
    luigi.configuration.get_config().set("core", "workers", str(processes))
    return workers, processes


def has_no_root() -> None:
    """Say that this process runs branches for another one: nobody asked for a task here, whatever is made first."""
    global _is_decided  # noqa: PLW0603
    _is_decided = True


def allow(rows: list[plan.PlanRow], yes: bool) -> None:
    """Ask before much of what is there already is made again.

    Args:
        rows: the plan.
        yes: the answer, given beforehand.

    Raises:
        ExpensiveRunError: if the answer is no, or there is nobody to ask.
    """
    hours = sum(row.redone_cpu_seconds for row in rows) / 3600
    if yes or hours <= policy.expensive_hours():
        return
    stale = sum(row.changed + row.affected for row in rows)
    what = f"{stale} stale branches would be made again, which took about {hours:.3g} CPU hours"
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{what}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in {"y", "yes"}:
            return
    msg = f"{what}: look at --plan and --why, then --accept the outputs as they are, or run with --yes"
    raise ExpensiveRunError(msg)


@luigi.Task.event_handler(luigi.Event.START)  # type: ignore[untyped-decorator]
def _end_scheduling(_task: object) -> None:
    global _snapshot, _before
    if _snapshot is not None:
        _before, _snapshot = _snapshot, None


def _tell_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C is no error of the program: where it happened to be says nothing."""
    if issubclass(kind, KeyboardInterrupt):
        say("interrupted: the same command goes on where this one ended")
    else:
        masking.excepthook(kind, error, trace)
