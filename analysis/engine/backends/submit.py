"""From branches to jobs in the queue: written into the ledger first, then handed to the scheduler in one call."""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.engine.backends import registry
from analysis.engine.backends.base import QueueFullError, SchedulerDownError, Submission, SubmissionError
from analysis.engine.backends.inflight import wait_until_landed
from analysis.engine.backends.jobcredentials import job_credentials
from analysis.engine.backends.jobenv import JOB_SCRIPT, Places, job_environment
from analysis.engine.backends.jobsandbox import software_of
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import Attempt, Job, JobPlan, Pending
from analysis.engine.backends.settings import BatchSettings, jobs_folder
from analysis.engine.backends.spec import Branch, format_branches, make_spec, short_digest
from analysis.engine.backends.verdict import grown, tries
from analysis.engine.commit import store_errors
from analysis.engine.sandboxes.base import SandboxError
from analysis.engine.storage.base import RemoteError
from analysis.engine.storage.credentials import CredentialError
from analysis.engine.storage.stores import local_store
from analysis.engine.terminal import say

if TYPE_CHECKING:
    from analysis.engine.backends.resources import Resources
    from analysis.engine.snapshot import Snapshot
    from analysis.engine.task import AnalysisTask
    from analysis.engine.workflow import AnalysisWorkflow

_SAMPLES = 5
_LANDING = 5.0
"""Seconds that a scheduler gets to show a submission whose caller is gone."""
_LEAVING = 60.0
"""Seconds that a scheduler may count jobs that have ended as being in the queue."""


class Submitter:
    """Submits jobs of a workflow.

    Args:
        workflow: the workflow.
        ledger: the ledger.
        settings: of the site.
        snapshot: one that knows today's recipes.
    """

    def __init__(self, workflow: AnalysisWorkflow, ledger: Ledger, settings: BatchSettings, snapshot: Snapshot) -> None:
        self._workflow, self._ledger, self._settings, self._snapshot = workflow, ledger, settings, snapshot
        self._key = str(workflow.folder)
        self._largest, self._full_since = settings.queue_limit, 0.0
        self._absent: dict[str, float] = {}

    def digest(self, branch: AnalysisTask) -> str:
        """Digest of today's recipe of a branch, as jobs know it."""
        return short_digest(self._snapshot.recipes.digest(branch))

    # submitting

    def submit(
        self, branches: Sequence[int], attempts: Mapping[int, Sequence[Attempt]], digests: Mapping[int, str]
    ) -> int:
        """Submit jobs for branches, as many as the queue may hold.

        Args:
            branches: which.
            attempts: all there were, by branch.
            digests: of today's recipes, by branch.

        Returns:
            How many jobs were submitted.

        Raises:
            BackendError: if the batch system refuses.
        """
        base = self._workflow.job_resources()
        groups: dict[Resources, list[int]] = {}
        for branch in branches:
            needs = grown(base, tries(attempts.get(branch, ())), self._settings)
            groups.setdefault(needs, []).append(branch)
        active, submitted = sum(map(is_in_queue, self._ledger.active_jobs(self._key).values())), 0
        limit = self._workflow.parallel_jobs if self._workflow.parallel_jobs > 0 else self._settings.queue_limit
        for needs, members in groups.items():
            free = min(limit, self._settings.queue_limit) - active - submitted
            size = self._branches_per_job(members, needs, is_first_time=needs == base)
            chunks = [members[i : i + size] for i in range(0, len(members), size)]
            plans = [JobPlan({b: digests[b] for b in chunk}, _recorded(needs)) for chunk in chunks]
            submitted += self._submit_all(plans[: max(free, 0)], needs)
        return submitted

    def _submit_all(self, plans: Sequence[JobPlan], needs: Resources) -> int:
        backend = registry.backend(self._workflow.effective_workflow)
        done, todo = 0, iter(plans)
        while batch := list(islice(todo, min(self._largest, backend.max_jobs))):
            try:
                done += self._submit(batch, needs)
            except QueueFullError as error:
                is_alone = not done and len(batch) == 1 and not self._ledger.active_jobs()  # of any workflow
                if is_alone and self._full_since and time.time() - self._full_since > _LEAVING:
                    raise
                self._largest = max(len(batch) // 2, 1)  # the rest is tried again at the next look
                if not self._full_since:
                    self._say(f"{error}: the other jobs follow when there is room")
                    self._full_since = time.time()
                return done
            except SchedulerDownError as error:
                self._say(f"{error}; whether it took the jobs will be asked")
                return done
        self._full_since, self._largest = 0.0, min(2 * self._largest, self._settings.queue_limit)
        return done

    def _submit(self, plans: Sequence[JobPlan], needs: Resources) -> int:
        backend, token = registry.backend(self._workflow.effective_workflow), secrets.token_hex(8)
        folder = jobs_folder() / f"{_clean(self._workflow.title())}-{token}"
        folder.mkdir(parents=True, mode=0o700)
        kept = self._ledger.reserve(token, backend.name, self._key, folder, plans)
        try:
            if not kept:
                discard(folder)
                return 0
            ids = backend.submit(self._submission(token, folder, kept, needs))
        except (SubmissionError, QueueFullError, CredentialError, RemoteError, SandboxError):
            self._ledger.refused(token)
            discard(folder)
            raise
        self._ledger.submitted(token, dict(enumerate(ids)))
        return len(kept)

    def _submission(self, token: str, folder: Path, plans: Sequence[JobPlan], needs: Resources) -> Submission:
        same_disks = self._settings.shared_filesystem
        spec = make_spec(self._workflow, self._workflow.effective_workflow, needs, self._snapshot, same_disks)
        store = self._workflow.store
        with store_errors(store.root):
            store.make_folder(store.root)
        description = folder / f"spec-{token}.json"
        description.write_text(spec.to_json())
        script = folder / JOB_SCRIPT.name
        shutil.copy(JOB_SCRIPT, script)
        script.chmod(0o755)
        workflow = self._workflow
        disk = local_store().root if os.environ.get("ANALYSIS_STORE") else None
        places = Places(store, disk, str(disk) in spec.disks)
        software = software_of(workflow, same_disks)
        environment, inputs = job_environment(
            workflow.effective_workflow, description, software, places, token, self._settings
        )
        shown = job_credentials(workflow.effective_workflow, self._settings)
        return Submission(
            token=token,
            name=self._workflow.title(),
            folder=folder,
            script=script,
            arguments=tuple(format_branches(Branch(b, d) for b, d in plan.branches.items()) for plan in plans),
            resources=needs,
            environment={**environment, **shown.environment},
            inputs=(*inputs, *shown.inputs),
            proxy=shown.proxy,
            secrets=shown.secrets,
        )

    def _branches_per_job(self, branches: Sequence[int], needs: Resources, is_first_time: bool) -> int:
        if self._workflow.tasks_per_job > 0:
            return int(self._workflow.tasks_per_job)
        return branches_per_job(
            len(branches), self._seconds() if is_first_time else None, needs.runtime, self._settings
        )

    def _seconds(self) -> float | None:
        """Longest of a few branches that ran before [s]."""
        from analysis.engine.snapshot import Snapshot

        fresh, found = Snapshot(self._snapshot), []
        for branch in islice(self._with_manifest(fresh), _SAMPLES):
            manifest = fresh.any_manifest(branch)
            if manifest is not None:
                found.append(manifest.resources.get("wall_seconds", 0.0))
        return max(found, default=None)

    def _with_manifest(self, snapshot: Snapshot) -> Iterator[AnalysisTask]:
        numbers = self._workflow.branch_numbers()
        step = max(1, len(numbers) // (4 * _SAMPLES))
        for number in [*numbers[::step], *numbers[:_SAMPLES]]:
            if snapshot.has_names(self._workflow, number):
                yield self._workflow.branch_task(number)

    # submissions whose answer was lost

    def recover(self, pending: Pending) -> None:
        """Find out whether a scheduler took a submission.

        Args:
            pending: the submission.

        Raises:
            SchedulerDownError: if it does not answer.
        """
        if pending.is_under_way() or not wait_until_landed(pending.folder, 0.0):
            return
        backend = registry.backend(pending.backend)
        found = backend.find(pending.token, pending.time)
        if found:
            position, job_id = next(iter(found.items()))
            stem = job_id.removesuffix(str(position))
            jobs = self._ledger.submitted_jobs(pending.token)
            self._ledger.submitted(
                pending.token, {j.position: found.get(j.position, f"{stem}{j.position}") for j in jobs}
            )
            self._say(f"{len(jobs)} jobs of an interrupted submission are in the queue, or were")
        elif time.time() - self._absent.setdefault(pending.token, time.time()) >= _LANDING:
            self._ledger.refused(pending.token)
            discard(pending.folder)

    def clean(self, branches: Collection[int]) -> None:
        """Remove what submissions left, of which all is done.

        Args:
            branches: those that are complete; what is known of others is kept.
        """
        for folder in self._ledger.forget(self._key, branches):
            discard(folder)

    def _say(self, sentence: str) -> None:
        say(f"{self._workflow.title()}: {sentence}")


def discard(folder: Path) -> None:
    """Remove the directory of a submission, and never anything else, whatever the ledger says."""
    if folder.parent == jobs_folder():
        shutil.rmtree(folder, ignore_errors=True)


def branches_per_job(branches: int, seconds: float | None, runtime: int, settings: BatchSettings) -> int:
    """How many short branches share a job: so many that it takes a few minutes, but not so many that few jobs are left.

    Args:
        branches: number of branches.
        seconds: that one of them takes; ``None`` if that is not known.
        runtime: that a job may take [s]; zero if there is no limit. Half of it is used.
        settings: wanted length of jobs, and the fewest of them.
    """
    if seconds is None:
        return 1
    length = min(settings.job_length, runtime / 2) if runtime else settings.job_length
    wanted = length / max(seconds, 0.1)
    return max(1, min(math.floor(wanted), math.ceil(branches / settings.fewest_jobs)))


def is_in_queue(job: Job) -> bool:
    """Whether a job is in the queue, or may be."""
    return job.status is None or job.status.state.is_active or job.status.in_queue


def _recorded(needs: Resources) -> dict[str, int]:
    return {"memory": needs.memory, "runtime": needs.runtime, "cores": needs.cores}


def _clean(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", title)[:60]
