"""What the ledger says of the branches of a workflow at one moment, and what follows from it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from analysis.engine.backends.base import JobState
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import CANCELLED, FAILED, RETRY, Attempt, Job
from analysis.engine.backends.settings import BatchSettings
from analysis.engine.backends.verdict import delay, tries

CANARIES = 2
"""Of so many first jobs one has to end well, or no other one is submitted."""

_SILENT = 60.0


@dataclass
class View:
    """Branches of a run.

    Args:
        stages: stage by branch, see :data:`analysis.engine.backends.statusline.STAGES`.
        attempts: all attempts by branch, also of branches that this run does not ask for.
        jobs: active jobs by number.
        settings: of the site.
        now: Unix time.
        is_proven: whether the code of the task is known to run.
        is_cancelled: whether somebody has removed jobs of this run from the queue.
    """

    stages: Mapping[int, str]
    attempts: Mapping[int, list[Attempt]]
    jobs: Mapping[int, Job]
    settings: BatchSettings
    now: float
    is_proven: bool = False
    is_cancelled: bool = False

    def ready(self) -> list[int]:
        """Branches to submit now: one, as long as nothing shows that the code runs at all."""
        ready = [branch for branch, stage in self.stages.items() if stage in ("unsubmitted", "retry")]
        due = [branch for branch in ready if self._is_due(self.attempts.get(branch, []))]
        if self.is_cancelled:
            return []
        if self.is_proven or len(self.stages) == 1:
            return due
        is_waiting = set(self.stages.values()) - {"finished", "failed", "unsubmitted", "retry"}
        if self._failed_canaries() >= CANARIES or is_waiting or len(due) < len(ready):
            return []
        return due[:1]

    def is_over(self) -> bool:
        """Whether nothing can become of any branch any more in this run."""
        left = set(self.stages.values()) - {"finished", "failed"}
        # canaries have failed, or somebody said --cancel: what is not in the queue will not be
        is_stopped = self.is_cancelled or (not self.is_proven and self._failed_canaries() >= CANARIES)
        return not left or (is_stopped and left <= {"unsubmitted", "retry"})

    def has_patient_canary(self) -> bool:
        """Whether a job has been running for so long that its code is likely to run."""
        running = [job.status for job in self.jobs.values() if job.status and job.status.state is JobState.RUNNING]
        return any(self.now - (s.started or self.now) > self.settings.canary_patience for s in running)

    def reasons(self, state: JobState | None = None) -> dict[str, int]:
        """Why jobs wait or are on hold, in the words of the scheduler, and how many.

        Args:
            state: of the jobs; ``None`` for any.
        """
        statuses = [job.status for job in self.jobs.values() if job.status and job.status.state.is_active]
        statuses = [status for status in statuses if state in (None, status.state)]
        return dict(Counter(status.reason for status in statuses if status.reason).most_common())

    def _failed_canaries(self) -> int:
        return sum(stage == "failed" for stage in self.stages.values())

    def _is_due(self, attempts: list[Attempt]) -> bool:
        failures = tries(attempts)
        return not failures or self.now >= (attempts[-1].ended or 0.0) + delay(failures, self.settings)


def look(
    wanted: Mapping[int, str], done: Collection[int], ledger: Ledger, key: str, since: float, settings: BatchSettings
) -> View:
    """Look at the ledger.

    Args:
        wanted: the branches of this run, with the digests of today's recipes.
        done: those that are complete.
        ledger: the ledger.
        key: of the workflow.
        since: Unix time of the start of this run: what failed before is tried again.
        settings: of the site.
    """
    attempts, jobs, now = ledger.attempts(key), ledger.active_jobs(key), time.time()
    of_run = {
        branch: [a for a in attempts.get(branch, []) if a.digest == digest and (a.ended or now) >= since]
        for branch, digest in wanted.items()
    }
    cancelled = {branch for branch, found in of_run.items() if any(a.result == CANCELLED for a in found)} - set(done)
    stages = {
        branch: "finished"
        if branch in done
        else "failed"
        if branch in cancelled
        else _stage(attempts.get(branch, []), of_run[branch], jobs, now)
        for branch in wanted
    }
    return View(stages, attempts, jobs, settings, now, is_cancelled=bool(cancelled))


def _stage(attempts: list[Attempt], of_run: list[Attempt], jobs: Mapping[int, Job], now: float) -> str:
    last = attempts[-1] if attempts else None
    if last is None:
        return "unsubmitted"
    if last.result is None:
        job = jobs.get(last.job)
        # a run of other code or settings has taken the branch over: it removed the jobs of this one when it started
        return _stage_of_job(job, now) if last in of_run or job is None or job.id is None else "failed"
    if last.result == RETRY:
        return "retry"
    return "failed" if last.result == FAILED and last in of_run else "unsubmitted"


def _stage_of_job(job: Job | None, now: float) -> str:
    if job is None or job.status is None:
        return "pending"
    if not job.status.state.is_active:
        return "running"  # it ended, and what it left is not seen yet
    return "unknown" if now - job.seen > _SILENT else str(job.status.state)
