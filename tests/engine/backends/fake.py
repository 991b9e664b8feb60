"""A batch system in memory, with a clock of its own, that does what a test says: no job, no process, no waiting."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import law
import luigi
import pytest

from analysis.engine import provenance
from analysis.engine.backends import joblogs, preflight, registry, submit
from analysis.engine.backends.base import (
    BackendError,
    FailureClass,
    JobState,
    JobStatus,
    QueueFullError,
    SchedulerDownError,
    Submission,
    SubmissionError,
)
from analysis.engine.backends.controller import LEDGER, run_jobs
from analysis.engine.backends.failures import Failure
from analysis.engine.backends.inflight import in_flight
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.settings import jobs_folder
from analysis.engine.backends.spec import parse_branches
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.workflow import AnalysisWorkflow

OK, SILENT, FOREVER, VANISH = "ok", "silent", "forever", "vanish"
"""What a branch may do: write its output, nothing, never end, or be forgotten by the scheduler with its job."""

Outcome = str | FailureClass | JobStatus
"""Or: leave a report of that class, or let its job be in that state from the moment at which others end."""

STATUS = {FailureClass.REMOVED: JobStatus(JobState.FAILED, FailureClass.REMOVED, reason="removed by the user")}
SETTING = {"value": 1}


class KilledError(BaseException):
    """The process is killed here."""


class HangError(AssertionError):
    """Nothing happens any more, or too much."""


class Jobs(AnalysisWorkflow):
    """One small file per branch."""

    exclude_index = True
    count = luigi.IntParameter(default=3, significant=False)
    label = luigi.Parameter(default="")

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        return dict(SETTING)

    def create_branch_map(self) -> dict[int, Any]:
        return dict.fromkeys(range(self.count), 0)

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"out_{self.branch}.txt")

    def run(self) -> None:
        self.staged(self.output()).write_text("content")


class Clock:
    """A clock that stands still unless somebody sleeps."""

    def __init__(self) -> None:
        self.now = self.start = time.time()
        self.hooks: list[Callable[[], None]] = []
        self._looks = self._sleeps = 0

    def time(self) -> float:
        self._looks += 1
        if self._looks > 20_000:
            msg = "the controller spins"
            raise HangError(msg)
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self._looks = 0
        self._sleeps += 1
        self.now += seconds
        if self._sleeps > 20_000:
            msg = "the controller waits for nothing"
            raise HangError(msg)
        for hook in list(self.hooks):
            hook()


@dataclass
class FakeJob:
    """A job.

    Args:
        id: as the scheduler calls it.
        token: of its submission.
        branches: its branches, with digests.
        submission: all of it.
        born: Unix time.
        status: state.
    """

    id: str
    token: str
    branches: dict[int, str]
    submission: Submission
    born: float
    status: JobStatus = field(default_factory=lambda: JobStatus(JobState.PENDING, in_queue=True))
    is_visible: bool = True
    position: int = 0


class Fake:
    """The batch system; see :class:`analysis.engine.backends.base.Backend`.

    Args:
        clock: the clock.
        name: as ``--workflow`` has it.
    """

    def __init__(self, clock: Clock, name: str = "htcondor") -> None:
        self.clock, self.name, self.max_jobs = clock, name, 1000
        self.jobs: dict[str, FakeJob] = {}
        self.calls: list[str] = []
        self.cancelled: list[str] = []
        self.script: Mapping[int, list[Any]] = {}
        self.down: set[str] = set()
        self.room: int | None = None
        self.refusal: BackendError | None = None
        self.loses_answer = False
        self.lag = 0.0
        self.seconds = 5.0
        self.workflows: dict[str, AnalysisWorkflow] = {}
        self.peak = self._first = 0
        self.at: dict[str, Callable[[], None]] = {}
        clock.hooks.append(self.work)

    # what the engine asks for

    def check(self) -> None:
        self._call("check")

    def submit(self, submission: Submission) -> list[str]:
        self._call("submit")
        assert submission.folder.is_dir()
        assert submission.token not in {job.token for job in self.jobs.values()}
        if self.refusal is not None:
            raise self.refusal
        if self.room is not None and len(self.queue()) + len(submission.arguments) > self.room:
            msg = "the queue is full"
            raise QueueFullError(msg)
        with in_flight(submission.folder):
            cluster = len({job.token for job in self.jobs.values()}) + 100
            ids = [f"{cluster}.{number}" for number in range(len(submission.arguments))]
            for number, argument in enumerate(submission.arguments):
                branches = dict(parse_branches(argument))
                self.jobs[ids[number]] = FakeJob(
                    ids[number], submission.token, branches, submission, self.clock.now, position=number
                )
        self.peak = max(self.peak, len(self.queue()))
        if self.loses_answer:
            msg = "no answer"
            raise SchedulerDownError(msg)
        return ids

    def find(self, token: str, since: float) -> dict[int, str]:
        self._call("find")
        assert since <= self.clock.now
        return {j.position: j.id for j in self.jobs.values() if j.token == token and self._is_seen(j)}

    def query(self, ids: Collection[str], since: float) -> dict[str, JobStatus]:
        self._call("query")
        assert all(self.jobs[one].born >= since for one in ids)
        return {one: self.jobs[one].status for one in ids if self._is_seen(self.jobs[one])}

    def cancel(self, ids: Collection[str]) -> None:
        self._call("cancel")
        for one in ids:
            self.cancelled.append(one)
            job = self.jobs[one]
            if job.status.in_queue:
                job.status = JobStatus(JobState.FAILED, FailureClass.REMOVED, reason="removed by the user")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self.at.get(name, lambda: None)()
        if name in self.down:
            msg = "the scheduler does not answer"
            raise SchedulerDownError(msg)

    def _is_seen(self, job: FakeJob) -> bool:
        return job.is_visible and self.clock.now >= job.born + self.lag

    # what happens in it

    def work(self) -> None:
        """Let jobs start, one second after their submission, and end."""
        for job in list(self.jobs.values()):
            age = self.clock.now - job.born
            if job.status.state is JobState.PENDING and age > 1.0:
                job.status = JobStatus(JobState.RUNNING, in_queue=True, host="node1", started=self.clock.now)
            elif job.status.state is JobState.RUNNING and age > 1.0 + self.seconds:
                self._end(job)

    def _end(self, job: FakeJob) -> None:
        todo = {b: self.outcome(b) for b in job.branches if FOREVER not in self.script.get(b, [])[:1]}
        if len(todo) < len(job.branches):
            return
        job.status = JobStatus(JobState.FINISHED, exit_code=0, host="node1", ended=self.clock.now)
        for branch, outcome in todo.items():
            if isinstance(outcome, FailureClass):
                self.report(job, branch, outcome)
                job.status = STATUS.get(outcome, JobStatus(JobState.FAILED, exit_code=1, host="node1"))
            elif isinstance(outcome, JobStatus):
                job.status = outcome
            elif outcome == VANISH:
                job.is_visible = False
            elif outcome == OK:
                self.workflow(job).branch_task(branch).run()

    def outcome(self, branch: int) -> Outcome:
        """What a branch does this time: the last one of its list is for all times to come."""
        outcomes: list[Outcome] = self.script.get(branch, [OK])
        return outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]

    def report(self, job: FakeJob, branch: int, kind: FailureClass, result: str = "") -> None:
        """Write log and report as a job does."""
        workflow = self.workflow(job)
        when, token = joblogs.timestamp(self.clock.time()), joblogs.job_token(job.token, job.position)
        failure = Failure(kind, "SomeError", f"branch {branch} has a bad day", host="node1", job=job.id)
        attempt = joblogs.Attempt(branch, when, token, result or str(kind))
        joblogs.write(workflow.store, workflow.folder, attempt, b"log", None if result else failure)

    def workflow(self, job: FakeJob) -> AnalysisWorkflow:
        return self.workflows[job.submission.name]

    # what a test asks for

    def queue(self) -> list[FakeJob]:
        """Jobs in the queue."""
        return [job for job in self.jobs.values() if job.status.in_queue]

    def times(self) -> dict[int, int]:
        """How often each branch was submitted."""
        return dict(sorted(Counter(branch for job in self.counted() for branch in job.branches).items()))

    def jobs_of(self, branch: int) -> list[FakeJob]:
        """Jobs of a branch, oldest first."""
        return [job for job in self.counted() if branch in job.branches]

    def sizes(self) -> list[int]:
        """Jobs per submission, in order."""
        return list(Counter(job.token for job in self.counted()).values())

    def counted(self) -> list[FakeJob]:
        """Jobs since the last :meth:`forget`, oldest first."""
        return list(self.jobs.values())[self._first :]

    def forget(self) -> None:
        """Count from here."""
        self._first = len(self.jobs)
        self.cancelled.clear()


class Site:
    """A machine with a batch system, a ledger and a configuration, for one test.

    Args:
        patch: undone at the end of the test.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        provenance.git_commit(), provenance.git_dirty()  # asked by a process, while there is a true clock
        self.clock = Clock()
        self.fake, self.other = Fake(self.clock), Fake(self.clock, "slurm")
        for fake in (self.fake, self.other):
            patch.setitem(registry._made, (os.getpid(), fake.name), fake)
        patch.setattr(time, "time", self.clock.time)
        patch.setattr(time, "sleep", self.clock.sleep)
        patch.setattr(sqlite3, "connect", _connect)
        patch.setattr(submit, "job_environment", lambda *_: ({}, ()))
        patch.setattr(preflight, "job_files", lambda _: None)  # it asks git, for which it waits

    def configure(self, section: str, **options: object) -> None:
        """Set options of a section of ``law.cfg``."""
        configure(section, **options)

    def workflow(self, count: int = 3, **parameters: Any) -> Jobs:
        """A workflow; made anew, with what the configuration says now."""
        luigi.task_register.Register.clear_instance_cache()
        task = Jobs(**{"count": count, "workflow": "htcondor", **parameters})
        whole = Jobs(**{"count": count, **parameters, "branches": ()})
        self.fake.workflows[task.title()] = self.other.workflows[task.title()] = whole
        return task

    def run(self, workflow: Jobs) -> None:
        """What ``law run`` does, from the moment at which it is a task's turn."""
        run_jobs(workflow)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger."""
        found = Ledger(jobs_folder() / LEDGER)
        try:
            yield found
        finally:
            found.close()

    def results(self, workflow: Jobs) -> dict[int, list[str | None]]:
        """Results of all attempts by branch."""
        with self.ledger() as opened:
            return {b: [a.result for a in found] for b, found in sorted(opened.attempts(str(workflow.folder)).items())}

    def done(self, workflow: Jobs) -> list[int]:
        """Branches that are current."""
        snapshot = Snapshot()
        return [b for b in workflow.branch_numbers() if snapshot.state(workflow.branch_task(b)) is State.CURRENT]

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something after a while."""
        end = self.clock.now + seconds

        def hook() -> None:
            if self.clock.now >= end:
                self.clock.hooks.remove(hook)
                action()

        self.clock.hooks.append(hook)


def configure(section: str, **options: object) -> None:
    """Set options of a section of ``law.cfg``."""
    if not law.config.has_section(section):
        law.config.add_section(section)
    for option, value in options.items():
        law.config.set(section, option, str(value))


@contextmanager
def empty_configuration(jobs: Path) -> Iterator[None]:
    """No word in ``law.cfg`` about jobs, but where their files are."""
    sections = ("batch", "resources", "job", "htcondor", "slurm")
    before = {name: dict(law.config.items(name)) for name in sections if law.config.has_section(name)}
    for name in before:
        law.config.remove_section(name)
    configure("job", job_file_dir=jobs)
    try:
        yield
    finally:
        for name in sections:
            law.config.remove_section(name)
        for name, options in before.items():
            configure(name, **options)


def refusal(text: str) -> SubmissionError:
    return SubmissionError(text)


def _connect(path: Path, **options: Any) -> sqlite3.Connection:
    """No test outlives a crash of the machine."""
    database: sqlite3.Connection = _CONNECT(path, **options)
    database.execute("PRAGMA synchronous = OFF")
    return database


_CONNECT = sqlite3.connect


def stop() -> None:
    """Where the process is killed."""
    raise KilledError
