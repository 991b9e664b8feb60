"""HTCondor as a batch system: one cluster per submission, one call for all jobs."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from analysis.engine.backends.base import BackendError, JobStatus, Submission, SubmissionError
from analysis.engine.backends.htcondor_clients import SUBMIT_FILE, Client, choose
from analysis.engine.backends.htcondor_status import TOKEN, job_id, job_status
from analysis.engine.backends.htcondor_submit import description

_LONGEST = 100_000  # the kernel takes no argument of a program above 128 KiB
_MOST = 50_000  # ids in one command, 2 MiB at most
_SLACK = 3600.0  # by which the scheduler's clock may differ from ours, and a job's end from its entry in the history


@dataclass(frozen=True)
class HTCondorSettings:
    """How a site's HTCondor is talked to.

    Args:
        client: ``tools`` (condor_submit and its like), ``bindings`` (Python), or ``auto``: the bindings if they work.
        pool: central manager; empty for the configured one.
        schedd: scheduler; empty for the one of this machine, or the configured one.
        extra: further lines of the submit description by name.
        max_jobs: largest number of jobs in one submission.
        shared_filesystem: whether jobs see the paths of this machine.
        queue_attribute: job attribute that names a queue, if the site has such.
        runtime_attribute: job attribute that says how long a job may run [s], if the site has such.
    """

    client: str = "auto"
    pool: str = ""
    schedd: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    max_jobs: int = 10_000
    shared_filesystem: bool = True
    queue_attribute: str = "JobFlavour"
    runtime_attribute: str = "MaxRuntime"


class HTCondor:
    """HTCondor; see :class:`analysis.engine.backends.base.Backend`.

    Args:
        settings: of the site.
    """

    name = "htcondor"

    def __init__(self, settings: HTCondorSettings) -> None:
        self._settings = settings
        self.max_jobs = settings.max_jobs

    @functools.cached_property
    def client(self) -> Client:
        """The way to talk to the scheduler; the first use of ``auto`` asks it."""
        return choose(self._settings.client, self._settings.pool, self._settings.schedd)

    def check(self) -> None:
        """Look whether jobs could be submitted.

        Raises:
            BackendError: naming what is missing.
        """
        if os.geteuid() == 0:
            msg = "HTCondor takes no jobs of root: run as an ordinary user."
            raise BackendError(msg)
        self.client.queue("false")

    def submit(self, submission: Submission) -> list[str]:
        """Submit jobs as one cluster, all or none; see :meth:`Backend.submit`.

        Raises:
            SubmissionError: if the scheduler refuses, with its own words.
            QueueFullError: if it refuses for now.
            SchedulerDownError: if it does not answer, or it is not known whether it took the jobs.
        """
        for path in (submission.script, *submission.inputs):
            if not path.exists():  # HTCondor would take the jobs, and hold them
                msg = f"{path}, which the jobs need, does not exist."
                raise SubmissionError(msg)
        text = description(
            submission,
            queue_attribute=self._settings.queue_attribute,
            runtime_attribute=self._settings.runtime_attribute,
            shared_filesystem=self._settings.shared_filesystem,
            extra=self._settings.extra,
        )
        (submission.folder / SUBMIT_FILE).write_text(text, encoding="utf-8", errors="surrogateescape")
        cluster, count = self.client.submit(submission.folder)
        return [f"{cluster}.{number}" for number in range(count)]

    def find(self, token: str, since: float) -> dict[int, str]:
        """Jobs of a submission whose answer was lost; see :meth:`Backend.find`.

        Raises:
            SchedulerDownError: if the scheduler does not answer.
        """
        constraint = f'{TOKEN} == "{token}"'
        ads = [*self.client.queue(constraint), *self.client.history(constraint, _before(since), -1)]
        return {_parse(job_id(ad))[1]: job_id(ad) for ad in ads}

    def query(self, ids: Collection[str], since: float) -> dict[str, JobStatus]:
        """States of jobs; see :meth:`Backend.query`.

        Raises:
            SchedulerDownError: if the scheduler does not answer.
        """
        if not ids:
            return {}
        clusters = sorted({_parse(text)[0] for text in ids})
        queue = self.client.queue(f"member(ClusterId, {{{','.join(map(str, clusters))}}})")
        states = {job_id(ad): job_status(ad, queued=True) for ad in queue}
        for constraint, count in _constraints(set(ids) - states.keys()):
            history = self.client.history(constraint, _before(since), count)
            states |= {job_id(ad): job_status(ad, queued=False) for ad in history}
        return {text: states[text] for text in ids if text in states}

    def cancel(self, ids: Collection[str]) -> None:
        """Remove jobs from the queue; see :meth:`Backend.cancel`.

        Raises:
            SchedulerDownError: if the scheduler does not answer.
            BackendError: if it refuses.
        """
        whole = sorted(set(ids))
        for first in range(0, len(whole), _MOST):
            self.client.remove(whole[first : first + _MOST])


def _before(since: float) -> str:
    """Whether a job of the history, and with it all that are written before it, ended before a time.

    The history is in the order in which jobs leave the queue. Completed ones do so at once, unless their submitter
    wants them to stay, which does not tell; nor do removed ones, which may hang for days.
    """
    return f'JobStatus == 4 && CompletionDate < {int(since - _SLACK)} && unparse(LeaveJobInQueue) =?= "false"'


def _constraints(ids: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Conditions that just these jobs fulfil, and how many they are; several where one would be too long."""
    terms: list[str] = []
    count = length = 0
    for cluster, first, last in _ranges(_parse(text) for text in ids):
        term = f"(ClusterId=={cluster}&&ProcId>={first}&&ProcId<={last})"
        if length + len(term) > _LONGEST:
            yield "||".join(terms), count
            terms, count, length = [], 0, 0
        terms.append(term)
        count, length = count + last - first + 1, length + len(term) + 2
    if terms:
        yield "||".join(terms), count


def _ranges(jobs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Runs of consecutive jobs: cluster, first, last."""
    for _, run in groupby(enumerate(sorted(set(jobs))), lambda pair: (pair[1][0], pair[1][1] - pair[0])):
        members = [job for _, job in run]
        yield members[0][0], members[0][1], members[-1][1]


def _parse(text: str) -> tuple[int, int]:
    cluster, _, number = text.partition(".")
    return int(cluster), int(number)
