"""The process of a job that runs branches, one after the other, and tells :mod:`~analysis.engine.backends.worker`.

It is forked before anything large is imported, and may die at any time: what it has to say of a branch it says at
once, as one line of JSON, through a pipe.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.backends import tree
from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.failures import Failure, failure_of

if TYPE_CHECKING:
    from analysis.engine.backends.spec import Branch, JobSpec
    from analysis.engine.snapshot import Snapshot
    from analysis.engine.task import AnalysisTask
    from analysis.engine.workflow import AnalysisWorkflow

DUMP = signal.SIGUSR1
"""Asks the process to write to the log where it is."""

_UNUSED = ("ipykernel", "jsonschema", "requests", "tornado")
"""What law and luigi import if it is there, for notebooks, a central scheduler, and parameters with a schema, which are
checked where they are given; half of their start."""
_NOT_CHECKED = "The 'jsonschema' package is not installed"


class Message(NamedTuple):
    """What the process tells.

    Args:
        branch: which branch.
        ended: whether it has ended; else it starts now.
        failure: why it failed, if it did, as JSON.
        seconds: how long it took.
        memory: peak of this process [bytes].
    """

    branch: int
    ended: bool
    failure: dict[str, object] | None = None
    seconds: float = 0.0
    memory: int = 0


class Runner:
    """Runs branches in this process, and ends it.

    Args:
        spec: description of the job.
        job: id of the job.
        todo: the branches.
        channel: file descriptor of the pipe.
        log: place of the log of a branch.
    """

    def __init__(
        self, spec: JobSpec, job: str, todo: Sequence[Branch], channel: int, log: Callable[[int], Path]
    ) -> None:
        self._spec, self._job, self._todo, self._channel, self._log = spec, job, todo, channel, log
        self._begun = time.monotonic()

    def run(self) -> None:
        """Run all branches; after one that ran out of memory the rest is left to a new process."""
        faulthandler.enable()  # writes to descriptor 2, whatever that is by then
        faulthandler.register(DUMP, all_threads=False)
        left = list(self._todo)
        try:
            self._start(left[0].number)
            import_law()
            from analysis.engine import provenance
            from analysis.engine.backends.jobsandbox import enter_job
            from analysis.engine.backends.spec import workflow_of

            _take_stores(self._spec)
            provenance.remember_job(self._job, self._spec.backend, self._spec.git_commit, self._spec.git_dirty)
            with workflow_of(self._spec) as workflow:
                snapshot = _prepare(self._spec, workflow)
                enter_job(workflow, self._spec.identities)
                while left:
                    branch = left[0]
                    if branch != self._todo[0]:
                        self._start(branch.number)
                    failure = self._attempt(workflow, snapshot, branch)
                    self._end(left.pop(0).number, failure)
                    if failure is not None and failure.kind is FailureClass.MEMORY:
                        return
        except BaseException as error:  # no branch can be run here: it is the failure of each of them
            failure = _report(error)
            for branch in left:
                if branch != left[0]:
                    self._start(branch.number)
                    traceback.print_exception(error)
                self._end(branch.number, failure)
        finally:
            from analysis.engine.sandboxes.supervisors import close_run

            close_run()  # sandboxes are ended by whoever started them; else they notice it themselves, a moment later

    def _start(self, branch: int) -> None:
        _write_to(self._log(branch))
        tree.forget_peak_memory()
        self._begun = time.monotonic()
        self._tell(Message(branch, ended=False))

    def _attempt(self, workflow: AnalysisWorkflow, snapshot: Snapshot, branch: Branch) -> Failure | None:
        task = None
        try:
            task = _branch_task(self._spec, workflow, snapshot, branch)
            task.snapshot = snapshot
            task.run()
        except BaseException as error:  # SystemExit as well: nothing a branch does stops the others
            return _report(error)
        finally:
            if task is not None:
                task.snapshot = None
        return None

    def _end(self, branch: int, failure: Failure | None) -> None:
        from resource import RUSAGE_SELF, getrusage

        _flush()
        seconds, memory = time.monotonic() - self._begun, getrusage(RUSAGE_SELF).ru_maxrss * 1024
        self._tell(Message(branch, True, failure.to_json() if failure else None, seconds, memory))

    def _tell(self, message: Message) -> None:
        text = json.dumps(message).encode() + b"\n"
        while text:
            text = text[os.write(self._channel, text) :]


def import_law() -> None:
    """Import law and luigi without what no job needs; the tasks themselves may import it afterwards."""
    warnings.filterwarnings("ignore", message=_NOT_CHECKED)
    hidden = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # nothing instead of a module: not to be found
    try:
        import law  # noqa: F401
        import luigi  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def _take_stores(spec: JobSpec) -> None:
    """Let outputs go where the submitting side looks for them, and come from where it has them.

    Raises:
        StoreError: if a directory is not here: it would be made, on a disk that nobody else sees.
    """
    from analysis.engine.errors import StoreError
    from analysis.engine.storage import settings
    from analysis.engine.storage.resolved import Resolved

    if spec.stores:
        settings.take(Resolved.from_json(spec.stores))
    for disk in spec.disks:
        if not Path(disk).is_dir():
            msg = f"the store {disk} is not on this machine"
            raise StoreError(msg)


def _prepare(spec: JobSpec, workflow: AnalysisWorkflow) -> Snapshot:
    from analysis.engine.errors import MismatchError
    from analysis.engine.snapshot import Snapshot

    if workflow.relative_folder != spec.folder:
        msg = (
            f"{workflow.title()} writes to {workflow.relative_folder} here, but to {spec.folder} where it was submitted"
        )
        raise MismatchError(msg)
    return Snapshot()


def _branch_task(spec: JobSpec, workflow: AnalysisWorkflow, snapshot: Snapshot, branch: Branch) -> AnalysisTask:
    """The task of a branch, if it would make here what the submitting side wants.

    Raises:
        MismatchError: if not.
    """
    from analysis.engine.backends.spec import explain_mismatch, short_digest
    from analysis.engine.errors import MismatchError

    if branch.number not in workflow.get_branch_map():
        msg = f"{workflow.title()} has no branch {branch.number} here, but where it was submitted"
        raise MismatchError(msg)
    task = workflow.branch_task(branch.number)
    if short_digest(snapshot.recipes.digest(task)) != branch.digest:
        raise MismatchError(explain_mismatch(spec, snapshot, task))
    return task


def _report(error: BaseException) -> Failure:
    """Report of an exception, whose traceback goes to the log."""
    traceback.print_exception(error)
    failure = failure_of(error)
    if failure.error == "SystemExit":  # be it in a sandbox; what was meant by it cannot be known
        failure = replace(failure, sentence=f"the task ended the process with exit code {failure.sentence or 0}")
    return failure


def _write_to(path: Path) -> None:
    """Let standard output and error go to a file from now on, those of compiled code and of subprocesses, too."""
    _flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    tree.flush_c_streams()
