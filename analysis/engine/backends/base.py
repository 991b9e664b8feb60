"""What the engine asks of a batch system, and what a batch system answers: the same words for all of them."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from analysis.engine.backends.resources import Resources
from analysis.errors import AnalysisError


class BackendError(AnalysisError):
    """A batch system, or what it needs on this side, is not as it should be."""


class SchedulerDownError(BackendError):
    """A scheduler does not answer, now. At submission, jobs may exist nevertheless: :meth:`Backend.find` tells."""


class QueueFullError(BackendError):
    """A scheduler takes no more jobs of this user for now."""


class SubmissionError(BackendError):
    """A scheduler refuses a submission, and would refuse it again."""


class JobState(enum.StrEnum):
    """State of a job; a job that is in no answer has none, which means: wait."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    """Put on hold by a person: it waits for that person. Also suspended jobs."""
    FINISHED = "finished"
    """Ended with exit code 0."""
    FAILED = "failed"
    """Ended otherwise, or will never run: removed, or put on hold by the system."""

    @property
    def is_active(self) -> bool:
        """Whether the job may still do something."""
        return self in (JobState.PENDING, JobState.RUNNING, JobState.HELD)


class FailureClass(enum.StrEnum):
    """Why a job, or a branch, failed."""

    CODE = "code"
    """The code of the task raised an error that it would raise again."""
    MEMORY = "memory"
    WALLTIME = "walltime"
    STORAGE = "storage"
    CREDENTIAL = "credential"
    NODE = "node"
    """The machine, or the batch system, failed: killed, preempted, lost."""
    ENVIRONMENT = "environment"
    """Python, the sandbox or the repository are not what they are here."""
    REMOVED = "removed"
    """The user took the job out of the queue."""


@dataclass(frozen=True)
class JobStatus:
    """What a scheduler knows of a job.

    Args:
        state: state.
        failure: what the scheduler's own account says of a failure; ``None`` if it does not tell.
        in_queue: whether the job occupies the queue; a failed one is to be removed from it.
        exit_code: of the job script, if it ended by itself.
        signal: number of the signal that ended it.
        reason: why it waits, is on hold or failed, in the scheduler's words; one line.
        host: where it runs or ran.
        started: Unix time.
        ended: Unix time.
        memory: peak [bytes], as the scheduler measured it.
    """

    state: JobState
    failure: FailureClass | None = None
    in_queue: bool = False
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    host: str = ""
    started: float | None = None
    ended: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Submission:
    """Jobs that are submitted by one call.

    Job number ``i`` runs ``bash script arguments[i]`` with ``environment`` and nothing else of this shell, and its
    standard output and error together go to :meth:`output`.

    Args:
        token: letters and digits; no two submissions have the same. The scheduler is asked for it.
        name: for people who look at the queue; anything.
        folder: directory of this submission on the submitting side; exists.
        script: what runs; a file in ``folder``.
        arguments: one text without whitespace or quotes per job.
        resources: what each job needs.
        environment: variables of the jobs; values may contain anything but a newline.
        inputs: files that a job finds in its working directory; empty where the file system is shared.
        proxy: X.509 proxy that HTCondor brings to a job, and brings again when it has changed.
        secrets: variables of the jobs that are in no file of ours, in no command line, and in nothing that is printed.
    """

    token: str
    name: str
    folder: Path
    script: Path
    arguments: tuple[str, ...]
    resources: Resources = field(default_factory=Resources)
    environment: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Path, ...] = ()
    proxy: Path | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def output(self, number: int) -> Path:
        """Standard output and error of a job."""
        return self.folder / f"job_{number}.txt"


class Backend(Protocol):
    """A batch system. Every method asks once for all jobs, and answers within :data:`TIMEOUT`."""

    name: str
    """As ``--workflow`` has it."""

    @property
    def max_jobs(self) -> int:
        """Jobs that one submission can have."""

    def check(self) -> None:
        """Look whether jobs could be submitted.

        Raises:
            BackendError: naming what is missing: a program, an answer, a permission.
        """

    def submit(self, submission: Submission) -> list[str]:
        """Submit jobs, all or none.

        Returns:
            Their ids in the order of the arguments, such as ``"1234.0"`` (HTCondor) or ``"1234_0"`` (Slurm).

        Raises:
            SubmissionError: if the scheduler refuses, with its own words.
            QueueFullError: if it refuses for now.
            SchedulerDownError: if it does not answer, or it is not known whether it took the jobs.
        """

    def find(self, token: str, since: float) -> dict[int, str]:
        """Jobs of a submission whose answer was lost: in the queue, or ended already.

        Args:
            token: the submission's.
            since: Unix time before which it was not submitted.

        Returns:
            Ids by job number; empty if the scheduler never took the submission.

        Raises:
            SchedulerDownError: if it does not answer.
        """

    def query(self, ids: Collection[str], since: float) -> dict[str, JobStatus]:
        """States of jobs, from the queue and, for those that left it, from the history.

        Args:
            ids: of any submissions.
            since: Unix time before which none of them was submitted.

        Returns:
            Status by id, without the jobs of which nothing is known (now).

        Raises:
            SchedulerDownError: if the scheduler does not answer.
        """

    def cancel(self, ids: Collection[str]) -> None:
        """Remove jobs from the queue, held ones too; those that are not there are none of its business.

        Raises:
            SchedulerDownError: if the scheduler does not answer.
            BackendError: if it refuses.
        """


TIMEOUT = 60.0
"""Seconds after which a call of a scheduler counts as not answered."""
