"""What ``law run`` answers about jobs instead of running: ``--cancel`` and ``--cleanup``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from analysis.engine.backends import joblogs
from analysis.engine.backends.controller import LEDGER, Controller
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.settings import jobs_folder
from analysis.engine.backends.submit import discard
from analysis.engine.concurrent import concurrently
from analysis.engine.errors import ParameterError
from analysis.engine.plan import walk
from analysis.engine.snapshot import Snapshot

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


def cancel(root: AnalysisTask, value: str) -> int:
    """Remove the jobs of a task, and of what it requires, from the queue.

    Args:
        root: the task.
        value: ``all``, or task families separated by commas.

    Returns:
        Exit code.

    Raises:
        BackendError: if a batch system does not answer.
    """
    total = 0
    for workflow in _with_jobs(root, value):
        controller = Controller(workflow)
        with closing(controller.ledger):
            number = controller.cancel_all()
        print(f"{workflow.title()}: {number} jobs removed from the queue")
        total += number
    if not total:
        print("There are no jobs in the queue.")
    return 0


def cleanup(root: AnalysisTask, value: str) -> int:
    """Remove what jobs have left: their logs, and the files and records of submissions that are over.

    Jobs that are in the queue stay there, with all that they need.

    Args:
        root: the task.
        value: ``all``, or task families separated by commas.

    Returns:
        Exit code.

    Raises:
        LedgerError: if the ledger cannot be used.
    """
    submissions = logs = 0
    with closing(Ledger(jobs_folder() / LEDGER)) as ledger:
        for workflow in _workflows(root, value):
            folders = ledger.forget(str(workflow.folder))
            for folder in folders:
                discard(folder)
            found = joblogs.log_files(workflow.store, workflow.folder)
            paths = [path for path in found if joblogs.Attempt.parse(path.name)]
            concurrently(workflow.store.remove, paths)
            submissions, logs = submissions + len(folders), logs + len(paths)
    print(f"{submissions} submissions that are over and {logs} logs were removed.")
    return 0


def _with_jobs(root: AnalysisTask, value: str) -> Iterator[Any]:
    with closing(Ledger(jobs_folder() / LEDGER)) as ledger:
        active = set(ledger.workflows())
    yield from (workflow for workflow in _workflows(root, value) if str(workflow.folder) in active)


def _workflows(root: AnalysisTask, value: str) -> Iterator[Any]:
    """The task and what it requires, as far as these are workflows."""
    families = None if value == "all" else {name.strip() for name in value.split(",")}
    found = set()
    for task, _ in walk(root.whole(), Snapshot(), everything=True):
        found.add(task.get_task_family())
        if task.is_whole_workflow() and (families is None or task.get_task_family() in families):
            yield task
    if families and (unknown := families - found):
        msg = (
            f"{root.get_task_family()} requires no {', '.join(sorted(unknown))}: it requires {', '.join(sorted(found))}"
        )
        raise ParameterError(msg)
