"""The record of batch jobs on the submitting side, keyed by branch: what was asked for, before it was asked for.

One SQLite file per ``LAW_HOME``, shared by all ``law run`` of it. A branch has at most one active attempt, which the
database itself enforces; an attempt is written down before the scheduler is called. So a job is never doubled, by two
runs or by one that was killed, and never lost.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.engine.backends.base import BackendError, FailureClass, JobStatus
from analysis.engine.backends.records import (
    CANCELLED,
    Answer,
    Attempt,
    Job,
    JobPlan,
    Pending,
    Result,
    dump_status,
    job_of,
)
from analysis.engine.process import Process, identity

_VERSION = 1
_PATIENCE = 60.0
_FORGOTTEN = 30 * 86400.0
"""Seconds after which nobody asks for a job any more that was never mentioned, lest history is searched ever longer."""
_SCHEMA = """
CREATE TABLE submissions (
    token TEXT PRIMARY KEY,
    backend TEXT NOT NULL,
    workflow TEXT NOT NULL,
    folder TEXT NOT NULL,
    time REAL NOT NULL,
    state TEXT NOT NULL, -- submitting, submitted
    owner TEXT NOT NULL  -- the process that submits
);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    token TEXT NOT NULL REFERENCES submissions,
    position INTEGER NOT NULL,
    id TEXT,
    resources TEXT NOT NULL,
    status TEXT,         -- what the scheduler said last
    seen REAL NOT NULL,  -- when it said something
    is_over INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX jobs_of_submission ON jobs (token);
CREATE INDEX jobs_to_ask_for ON jobs (is_over) WHERE is_over = 0;
CREATE TABLE attempts (
    number INTEGER PRIMARY KEY,
    workflow TEXT NOT NULL,
    branch INTEGER NOT NULL,
    digest TEXT NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs,
    result TEXT,         -- NULL as long as it is active
    failure TEXT,
    ended REAL
);
CREATE UNIQUE INDEX one_active_attempt ON attempts (workflow, branch) WHERE result IS NULL;
CREATE INDEX attempts_of_branch ON attempts (workflow, branch);
CREATE INDEX attempts_of_job ON attempts (job);
CREATE TABLE polls (
    backend TEXT PRIMARY KEY,
    claimed REAL NOT NULL,   -- when somebody went to ask
    answered REAL NOT NULL,  -- when there was an answer
    since REAL,              -- since when there have been answers, without a long break
    error TEXT
);
"""


class LedgerError(BackendError):
    """The ledger cannot be used."""


class Ledger:
    """The ledger of a ``LAW_HOME``.

    Args:
        path: the file; it and its folder are made when needed.

    Raises:
        LedgerError: if it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
            with self._transaction():
                self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _prepare(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            msg = (
                f"the ledger {self.path} was written by another version of this project: finish its jobs with that "
                "version, or set LAW_HOME to another place"
            )
            raise LedgerError(msg)
        if version == 0:
            for statement in _SCHEMA.split(";"):
                self._database.execute(statement)
            self._database.execute(f"PRAGMA user_version = {_VERSION}")

    def _unusable(self, error: Exception) -> LedgerError:
        return LedgerError(
            f"the ledger of batch jobs {self.path} cannot be used ({error}): make it readable and writable, or move it "
            "away; without it, jobs that are in the queue are not known, so remove them from the queue first"
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and nobody else writes meanwhile."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # on a full disk SQLite has rolled back by itself
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _select(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    # submissions

    def reserve(self, token: str, backend: str, workflow: str, folder: Path, plans: Sequence[JobPlan]) -> list[JobPlan]:
        """Write down jobs that are about to be submitted.

        Args:
            token: of the submission.
            backend: name of the batch system.
            workflow: key of the workflow.
            folder: directory of the submission.
            plans: the jobs.

        Returns:
            The jobs without the branches that have an active attempt already, in the order of their positions.
        """
        now = time.time()
        with self._transaction() as database:
            query = "SELECT branch FROM attempts WHERE workflow = ? AND result IS NULL"
            active = {branch for (branch,) in database.execute(query, (workflow,))}
            free = [
                JobPlan({branch: digest for branch, digest in p.branches.items() if branch not in active}, p.resources)
                for p in plans
            ]
            kept = [plan for plan in free if plan.branches]
            if kept:
                owner = json.dumps(asdict(identity()))
                values: tuple[Any, ...] = (token, backend, workflow, str(folder), now, "submitting", owner)
                database.execute("INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            for position, plan in enumerate(kept):
                values = (token, position, json.dumps(dict(plan.resources)), now)
                job = database.execute(
                    "INSERT INTO jobs (token, position, resources, seen) VALUES (?, ?, ?, ?)", values
                ).lastrowid
                database.executemany(
                    "INSERT INTO attempts (workflow, branch, digest, job) VALUES (?, ?, ?, ?)",
                    [(workflow, branch, digest, job) for branch, digest in plan.branches.items()],
                )
        return kept

    def submitted(self, token: str, ids: Mapping[int, str]) -> None:
        """Write down the ids that the scheduler gave, by position."""
        now = time.time()
        with self._transaction() as database:
            database.execute("UPDATE submissions SET state = 'submitted' WHERE token = ?", (token,))
            database.executemany(
                "UPDATE jobs SET id = ?, seen = ? WHERE token = ? AND position = ?",
                [(job_id, now, token, position) for position, job_id in ids.items()],
            )

    def refused(self, token: str) -> None:
        """Write down that the scheduler did not take a submission: its attempts never were."""
        with self._transaction() as database:
            jobs = "SELECT number FROM jobs WHERE token = ?"
            database.execute(f"DELETE FROM attempts WHERE job IN ({jobs})", (token,))
            database.execute("DELETE FROM jobs WHERE token = ?", (token,))
            database.execute("DELETE FROM submissions WHERE token = ?", (token,))

    def pending(self, workflow: str) -> list[Pending]:
        """Submissions of which it is not known whether the scheduler took them."""
        query = (
            "SELECT token, backend, folder, time, owner FROM submissions WHERE workflow = ? AND state = 'submitting'"
        )
        found = self._select(query, [workflow])
        return [
            Pending(token, backend, Path(folder), submitted, Process(**json.loads(owner)))
            for token, backend, folder, submitted, owner in found
        ]

    # what is known

    def attempts(self, workflow: str) -> dict[int, list[Attempt]]:
        """Attempts by branch, oldest first."""
        query = "SELECT branch, digest, job, result, failure, ended FROM attempts WHERE workflow = ? ORDER BY number"
        found: dict[int, list[Attempt]] = {}
        for branch, digest, job, result, failure, ended in self._select(query, [workflow]):
            kind = FailureClass(failure) if failure else None
            found.setdefault(branch, []).append(Attempt(branch, digest, job, result, kind, ended))
        return found

    def active_jobs(self, workflow: str | None = None) -> dict[int, Job]:
        """Jobs with an active attempt by number, of one workflow or of all."""
        where = "" if workflow is None else "AND workflow = ?"
        active = f"SELECT job FROM attempts WHERE result IS NULL {where}"
        return self._jobs(f"number IN ({active})", [] if workflow is None else [workflow])

    def job(self, number: int) -> Job | None:
        """A job by its number, be it active or not; ``None`` if it was forgotten."""
        return self._jobs("number = ?", [number]).get(number)

    def submitted_jobs(self, token: str) -> list[Job]:
        """All jobs of a submission, in the order of their positions."""
        return list(self._jobs("jobs.token = ?", [token]).values())

    def _jobs(self, where: str, values: Sequence[Any]) -> dict[int, Job]:
        query = (
            "SELECT number, jobs.token, position, id, backend, folder, time, resources, status, seen "
            f"FROM jobs JOIN submissions USING (token) WHERE {where} ORDER BY number"
        )
        return {row[0]: job_of(row) for row in self._select(query, values)}

    def workflows(self) -> list[str]:
        """Keys of the workflows with an active attempt."""
        query = "SELECT DISTINCT workflow FROM attempts WHERE result IS NULL ORDER BY workflow"
        return [workflow for (workflow,) in self._select(query)]

    # results

    def settle(self, workflow: str, results: Iterable[Result]) -> set[int]:
        """End attempts.

        Args:
            workflow: key of the workflow.
            results: what became of them.

        Returns:
            The branches whose attempt was active: of two runs that watch a job, one ends its attempts.
        """
        query = (
            "UPDATE attempts SET result = ?, failure = ?, ended = ? "
            "WHERE workflow = ? AND branch = ? AND job = ? AND result IS NULL"
        )
        now = time.time()
        with self._transaction() as database:
            return {
                r.branch
                for r in results
                if database.execute(query, (r.result, r.failure, now, workflow, r.branch, r.job)).rowcount > 0
            }

    def cancelled(self, jobs: Collection[int]) -> None:
        """End the active attempts of jobs that were taken out of the queue."""
        query = "UPDATE attempts SET result = ?, ended = ? WHERE job = ? AND result IS NULL"
        with self._transaction() as database:
            database.executemany(query, [(CANCELLED, time.time(), job) for job in jobs])
            database.executemany("UPDATE jobs SET is_over = 1 WHERE number = ?", [(job,) for job in jobs])

    # polls

    def claim_poll(self, backend: str, interval: float) -> bool:
        """Whether this process is the one to ask a scheduler now, for all jobs of all runs.

        Args:
            backend: name of the batch system.
            interval: seconds between two questions.
        """
        now = time.time()
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO polls VALUES (?, 0, 0, NULL, NULL)", (backend,))
            # a clock that was set back must not keep everybody from asking
            query = "UPDATE polls SET claimed = ? WHERE backend = ? AND NOT (claimed BETWEEN ? AND ?)"
            return database.execute(query, (now, backend, now - interval, now)).rowcount > 0

    def to_ask_for(self, backend: str) -> dict[str, float]:
        """Ids of jobs that are not over, with the Unix time of their submission."""
        query = (
            "SELECT id, time FROM jobs JOIN submissions USING (token) "
            "WHERE is_over = 0 AND backend = ? AND id > '' AND seen > ?"
        )
        return dict(self._select(query, [backend, time.time() - _FORGOTTEN]))

    def answered(
        self, backend: str, statuses: Mapping[str, JobStatus], interval: float, error: str | None = None
    ) -> None:
        """Write down what a scheduler said; jobs that it did not mention are left as they are.

        Args:
            backend: name of the batch system.
            statuses: by id.
            interval: seconds between two questions; after a much longer time without an answer it is as if there had
                been none before.
            error: why it said nothing.
        """
        now, gap = time.time(), max(120.0, 3 * interval)
        rows = [
            (
                dump_status(s),
                not s.state.is_active,
                now,
                not (s.state.is_active or s.in_queue),
                dump_status(s),
                backend,
                job_id,
            )
            for job_id, s in statuses.items()
        ]
        with self._transaction() as database:
            # of a job that ended: when that was said first
            database.executemany(
                "UPDATE jobs SET seen = CASE WHEN status = ? AND ? THEN seen ELSE ? END, is_over = ?, status = ? "
                "WHERE token IN (SELECT token FROM submissions WHERE backend = ?) AND id = ? AND is_over = 0",
                rows,
            )
            if error:
                database.execute("UPDATE polls SET error = ? WHERE backend = ?", (error, backend))
                return
            query = "SELECT since FROM polls WHERE backend = ? AND answered BETWEEN ? AND ?"
            before = database.execute(query, (backend, now - gap, now)).fetchone()
            query = "UPDATE polls SET answered = ?, since = ?, error = NULL WHERE backend = ?"
            database.execute(query, (now, (before and before[0]) or now, backend))

    def last_answer(self, backend: str) -> Answer:
        """The last poll."""
        found = self._select("SELECT answered, since, error FROM polls WHERE backend = ?", [backend])
        return Answer(*found[0]) if found else Answer(0.0, None, None)

    def over(self, jobs: Iterable[int]) -> None:
        """Do not ask for jobs any more."""
        with self._transaction() as database:
            database.executemany("UPDATE jobs SET is_over = 1 WHERE number = ?", [(job,) for job in jobs])

    # cleaning

    def forget(self, workflow: str, branches: Iterable[int] | None = None) -> list[Path]:
        """Remove everything that has ended.

        Args:
            workflow: key of the workflow.
            branches: of these branches only.

        Returns:
            Directories of submissions of which nothing is left.
        """
        query = "DELETE FROM attempts WHERE workflow = ? AND result IS NOT NULL"
        with self._transaction() as database:
            if branches is None:
                database.execute(query, (workflow,))
            else:
                database.executemany(f"{query} AND branch = ?", [(workflow, branch) for branch in branches])
            database.execute("DELETE FROM jobs WHERE number NOT IN (SELECT job FROM attempts)")
            query = "SELECT token, folder FROM submissions WHERE token NOT IN (SELECT token FROM jobs)"
            gone = database.execute(query).fetchall()
            database.executemany("DELETE FROM submissions WHERE token = ?", [(token,) for token, _ in gone])
        return [Path(folder) for _, folder in gone]
