"""What became of jobs that ended: branches that are complete, and why the others are not."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.engine.backends import joblogs, registry
from analysis.engine.backends.base import FailureClass, JobState, JobStatus, SchedulerDownError
from analysis.engine.backends.failures import EXIT_CODES, Failure
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import CANCELLED, DONE, FAILED, RETRY, Attempt, Job, Result
from analysis.engine.backends.summary import FailedBranch
from analysis.engine.backends.verdict import is_tried_again, tries
from analysis.engine.snapshot import Snapshot, State

if TYPE_CHECKING:
    from analysis.engine.backends.settings import BatchSettings
    from analysis.engine.workflow import AnalysisWorkflow

_TAIL = 2000
_ENDS_OF_JOBS = (FailureClass.WALLTIME, FailureClass.NODE)
_BRANCH_FAILED = 1
"""Exit code of a job in which a branch failed, as its report in the store says."""


class Collector:
    """Settles the attempts of jobs that ended.

    Args:
        workflow: the workflow.
        ledger: the ledger.
        settings: of the site.
        snapshot: one that knows today's recipes.
    """

    def __init__(self, workflow: AnalysisWorkflow, ledger: Ledger, settings: BatchSettings, snapshot: Snapshot) -> None:
        self._workflow, self._ledger, self._settings, self._snapshot = workflow, ledger, settings, snapshot
        self._key = str(workflow.folder)
        self._failures: dict[tuple[int, int], Failure] = {}
        self.done: set[int] = set()

    def collect(self, wanted: Mapping[int, str]) -> bool:
        """Look at the store for what jobs that ended have left there.

        Args:
            wanted: the branches of this run, with the digests of today's recipes.

        Returns:
            Whether an attempt was settled, by this run or by another one.
        """
        attempts = self._ledger.attempts(self._key)
        before = len(self.done)
        ended = {job.number: job for job in self._ledger.active_jobs(self._key).values() if self._has_ended(job)}
        todo = {
            b: a[-1]
            for b, a in attempts.items()
            if b in wanted and b not in self.done and self._is_to_see(a[-1], wanted[b], ended)
        }
        if not todo:
            return False
        snapshot = Snapshot(self._snapshot)
        done = {branch for branch in todo if snapshot.state(self._workflow.branch_task(branch)) is State.CURRENT}
        settled = self._ledger.settle(self._key, [Result(branch, todo[branch].job, DONE) for branch in done])
        self.done |= done
        lost = {branch: a for branch, a in todo.items() if branch not in done and a.result is None}
        if lost:
            settled |= self._ledger.settle(self._key, self._failed(lost, ended, attempts))
        return bool(settled) or len(self.done) > before

    def missing(self, branches: Collection[int]) -> list[int]:
        """Those of several branches that are not complete now; the others are done.

        Args:
            branches: branches of which the ledger knows nothing that says so: another run may have cleaned it, and
                outputs come late or from elsewhere.
        """
        snapshot = Snapshot(self._snapshot)
        done = {b for b in branches if snapshot.state(self._workflow.branch_task(b)) is State.CURRENT}
        self.done |= done
        return [branch for branch in branches if branch not in done]

    def _is_to_see(self, attempt: Attempt, digest: str, ended: Mapping[int, Job]) -> bool:
        # the second: another run that watches the same jobs was quicker; one of other code settles its own ones
        is_ours = attempt.result is None and attempt.digest == digest
        return (is_ours and attempt.job in ended) or attempt.result == DONE

    def _has_ended(self, job: Job) -> bool:
        return self._is_lost(job) or bool(job.status and not job.status.state.is_active)

    def _is_lost(self, job: Job) -> bool:
        """Whether a scheduler that answers has not mentioned a job for long."""
        answer = self._ledger.last_answer(job.backend)
        since = None if answer.error else answer.since
        active = job.status is None or job.status.state.is_active
        return bool(job.id and active and since and time.time() - max(job.seen, since) > self._settings.lost_after)

    # failures

    def _failed(
        self, lost: Mapping[int, Attempt], ended: Mapping[int, Job], attempts: Mapping[int, list[Attempt]]
    ) -> list[Result]:
        logs = joblogs.attempts(self._workflow.store, self._workflow.folder)
        found: dict[int, Failure] = {}
        ends = {a.token: a for of_branch in logs.values() for a in of_branch if a.failure in _ENDS_OF_JOBS}
        for branch, attempt in lost.items():
            failure = self._failure(ended[attempt.job], logs.get(branch, []), ends)
            if failure is not None:
                found[branch] = failure
        stuck = self._take_out({lost[branch].job: ended[lost[branch].job] for branch in found})
        found = {branch: failure for branch, failure in found.items() if lost[branch].job not in stuck}
        self._failures |= {(branch, lost[branch].job): failure for branch, failure in found.items()}
        return [
            Result(branch, lost[branch].job, self._verdict(failure.kind, attempts[branch]), failure.kind)
            for branch, failure in found.items()
        ]

    def _take_out(self, jobs: Mapping[int, Job]) -> set[int]:
        """Remove jobs that failed and still are in the queue, or may be: before others take their place.

        Returns:
            Those that could not be removed now.
        """
        self._ledger.over(jobs)  # first: what the scheduler says of a removed job is not why it failed
        stuck: set[int] = set()
        for name in {job.backend for job in jobs.values()}:
            ids = {
                number: job.id
                for number, job in jobs.items()
                if job.backend == name and job.id and (job.status is None or job.status.in_queue or self._is_lost(job))
            }
            try:
                if ids:
                    registry.backend(name).cancel(list(ids.values()))
            except SchedulerDownError:
                stuck |= ids.keys()
        return stuck

    def _verdict(self, failure: FailureClass, attempts: list[Attempt]) -> str:
        base, retries = self._workflow.job_resources(), self._workflow.retries
        return RETRY if is_tried_again(failure, tries(attempts), base, self._settings, retries) else FAILED

    def _failure(self, job: Job, logs: list[joblogs.Attempt], ends: Mapping[str, joblogs.Attempt]) -> Failure | None:
        """Why a branch of a job failed; ``None`` if that may become visible yet.

        Args:
            job: the job.
            logs: of the branch.
            ends: of other branches, with which their jobs ended: those that were to follow were never begun.
        """
        token = joblogs.job_token(job.token, job.position)
        last = next((attempt for attempt in reversed(logs) if attempt.token == token), None)
        report = last or ends.get(token)
        if report is not None and report.failure:  # else it ended well, maybe when the job was started again
            return self._read(report, job.status)
        if self._is_lost(job) or job.status is None:
            return self._describe(job, FailureClass.NODE, "neither the queue nor the history know the job any more")
        said = self._said(job, job.status)
        if said is None and time.time() - job.seen < self._settings.output_delay:
            return None
        return said or self._describe(
            job, FailureClass.STORAGE, "the job ended without outputs or a report in the store", self._tail(job)
        )

    def _read(self, report: joblogs.Attempt, status: JobStatus | None) -> Failure:
        """A report; where the job knows only that it was ended, the scheduler knows why."""
        try:
            failure = joblogs.read_report(self._workflow.store, self._workflow.folder, report)
        except joblogs.LogError as error:
            failure = Failure(report.failure or FailureClass.NODE, "", str(error))
        if failure.kind is FailureClass.NODE and status is not None and status.failure is not None:
            return replace(failure, kind=status.failure, sentence=status.reason or failure.sentence)
        return failure

    def _said(self, job: Job, status: JobStatus) -> Failure | None:
        """What the scheduler says; ``None`` if it does not know, and the job should have left a report."""
        if status.failure is not None:
            return self._describe(job, status.failure, status.reason or "the batch system ended the job")
        if status.state is JobState.FINISHED or status.exit_code == _BRANCH_FAILED:
            return None
        if status.exit_code is not None and status.exit_code in EXIT_CODES:
            kind, reason = EXIT_CODES[status.exit_code]
            return self._describe(job, kind, self._tail(job) or reason)
        if status.signal is not None:
            return self._describe(job, FailureClass.NODE, f"the job was killed (signal {status.signal})", status.reason)
        what = f"the job ended with exit code {status.exit_code}, before or after its branches"
        return self._describe(job, FailureClass.NODE, what, self._tail(job) or status.reason)

    def _describe(self, job: Job, kind: FailureClass, *sentences: str) -> Failure:
        status = job.status
        return Failure(
            kind,
            "",
            ": ".join(filter(None, sentences)),
            host=status.host if status else "",
            job=f"{job.backend} {job.id}",
            peak_memory=(status.memory or 0) if status else 0,
        )

    def _tail(self, job: Job) -> str:
        """Last line that the job printed, where the batch system brings it here."""
        try:
            text = (job.folder / f"job_{job.position}.txt").read_bytes()[-_TAIL:].decode(errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    # in the end

    def failures(self, missing: Collection[int], since: float) -> dict[int, FailedBranch]:
        """Why branches failed in this run.

        Args:
            missing: branches that are not complete.
            since: Unix time of its start.
        """
        attempts = self._ledger.attempts(self._key)
        logs = joblogs.attempts(self._workflow.store, self._workflow.folder)
        found: dict[int, FailedBranch] = {}
        for branch in missing:
            of_run = [a for a in attempts.get(branch, []) if a.ended is not None and a.ended >= since]
            if not of_run or of_run[-1].result not in (FAILED, CANCELLED):
                continue
            failure = self._failures.get((branch, of_run[-1].job)) or self._reported(of_run[-1], logs.get(branch, []))
            found[branch] = FailedBranch(failure, len(of_run), bool(logs.get(branch)))
        return found

    def _reported(self, attempt: Attempt, logs: list[joblogs.Attempt]) -> Failure:
        """Failure of a branch that another run settled."""
        if attempt.result == CANCELLED:
            return Failure(FailureClass.REMOVED, "", "its job was removed from the queue with --cancel")
        for entry in reversed(logs):
            if entry.failure is attempt.failure:
                try:
                    return joblogs.read_report(self._workflow.store, self._workflow.folder, entry)
                except joblogs.LogError:
                    break
        return Failure(attempt.failure or FailureClass.NODE, "", "another run knows more")

    def rotate_logs(self) -> None:
        """Remove logs of all but the last attempts."""
        joblogs.rotate(self._workflow.store, self._workflow.folder, self._settings.keep_logs)
