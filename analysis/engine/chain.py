"""Running a task and everything it requires from Python, as ``law run`` does from the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import luigi

from analysis.engine import session, slots
from analysis.engine.backends.settings import batch_settings
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


class ChainError(AnalysisError):
    """A task of the chain failed."""


_failures: list[BaseException] = []


@luigi.Task.event_handler(luigi.Event.FAILURE)  # type: ignore[untyped-decorator]
@luigi.Task.event_handler(luigi.Event.BROKEN_TASK)  # type: ignore[untyped-decorator]
def _remember(_task: Any, error: BaseException) -> None:
    _failures.append(error)


def run_chain(task: AnalysisTask, workers: int) -> None:
    """Run a task and everything it requires that is not complete.

    Args:
        task: the task.
        workers: number of processes.

    Raises:
        AnalysisError: the first error of a task; a :class:`ChainError` if it happened in another process, or was no
            error that the user can mend.
    """
    _failures.clear()
    processes = workers if task.workflow == "local" else max(workers, batch_settings().parallel_workflows)
    slots.configure(workers, processes)
    with session.scheduling():
        luigi.build([task], workers=processes, local_scheduler=True, no_lock=True, log_level="WARNING")
    if task.complete():
        return
    cause = _failures[0] if _failures else None
    if isinstance(cause, AnalysisError):
        raise cause
    msg = f"{task.title()} could not be completed: {cause or 'the reason is in the log above'}"
    raise ChainError(msg) from cause
