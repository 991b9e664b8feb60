"""The records of the ledger: jobs, attempts at branches, and what became of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.process import Process, identity, is_running

_ANOTHER_MACHINE = 60.0
"""Seconds that a process of another machine gets to submit."""

DONE = "done"
RETRY = "retry"
FAILED = "failed"
CANCELLED = "cancelled"
"""Results of an attempt: the last two end a series of retries, of which the next run starts a new one."""


class Attempt(NamedTuple):
    """One attempt at a branch.

    Args:
        branch: branch number.
        digest: of its recipe, when it was submitted.
        job: number of the job in the ledger.
        result: ``None`` as long as it is active.
        failure: why it failed.
        ended: Unix time.
    """

    branch: int
    digest: str
    job: int
    result: str | None
    failure: FailureClass | None
    ended: float | None


class Result(NamedTuple):
    """What became of an attempt: :data:`DONE`, :data:`RETRY`, :data:`FAILED` or :data:`CANCELLED`, and why."""

    branch: int
    job: int
    result: str
    failure: FailureClass | None = None


class Job(NamedTuple):
    """One job.

    Args:
        number: in the ledger.
        token: of its submission.
        position: its number in the submission.
        id: as the scheduler calls it; ``None`` if that is not known (yet).
        backend: name of the batch system.
        folder: directory of the submission.
        submitted: Unix time.
        resources: memory [bytes] and run time [s] that were asked for, and others, by name.
        status: what the scheduler said last; ``None`` if it never mentioned the job.
        seen: Unix time of that.
    """

    number: int
    token: str
    position: int
    id: str | None
    backend: str
    folder: Path
    submitted: float
    resources: dict[str, Any]
    status: JobStatus | None
    seen: float


class Answer(NamedTuple):
    """The last answer of a scheduler.

    Args:
        time: Unix time; zero if there was none.
        since: Unix time since which there have been answers, without a long break; ``None`` if there was none.
        error: why the last question was not answered; ``None`` if it was.
    """

    time: float
    since: float | None
    error: str | None


class Pending(NamedTuple):
    """A submission of which it is not known whether the scheduler took it."""

    token: str
    backend: str
    folder: Path
    time: float
    owner: Process

    def is_under_way(self) -> bool:
        """Whether the process that submits is still at it: not to be told for other machines, which get a minute."""
        here = identity()
        if self.owner == here:
            return False
        if (self.owner.host, self.owner.boot, self.owner.namespace) == (here.host, here.boot, here.namespace):
            return is_running(self.owner.pid, self.owner.start)
        return time.time() - self.time < _ANOTHER_MACHINE


@dataclass(frozen=True)
class JobPlan:
    """A job to be.

    Args:
        branches: its branches, with the digests of their recipes.
        resources: what it asks for, by name.
    """

    branches: Mapping[int, str]
    resources: Mapping[str, Any]


def job_of(row: tuple[Any, ...]) -> Job:
    """A job of its columns; status and resources are JSON."""
    number, token, position, job_id, backend, folder, submitted, resources, status, seen = row
    known = load_status(status) if status else None
    return Job(number, token, position, job_id, backend, Path(folder), submitted, json.loads(resources), known, seen)


def dump_status(status: JobStatus) -> str:
    """A status as JSON."""
    given = {name: value for name, value in asdict(status).items() if value is not None and value is not False}
    return json.dumps({name: value for name, value in given.items() if value != ""})  # an exit code of 0 is one


def load_status(text: str) -> JobStatus:
    """From :func:`dump_status`."""
    found = json.loads(text)
    found["state"] = JobState(found["state"])
    if "failure" in found:
        found["failure"] = FailureClass(found["failure"])
    return JobStatus(**found)
