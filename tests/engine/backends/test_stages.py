from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.backends.records import CANCELLED, DONE, FAILED, RETRY, Attempt, Job
from analysis.engine.backends.settings import BatchSettings
from analysis.engine.backends.stages import View, look

NOW = 1e6
START = NOW - 1000
SETTINGS = BatchSettings(retry_delay=30, canary_patience=600)
NODE = FailureClass.NODE


def attempt(branch: int, result: str | None = None, ended: float | None = None, digest: str = "new") -> Attempt:
    when = None if result is None else ended or NOW - 500
    return Attempt(branch, digest, 100 + branch, result, NODE if result in (RETRY, FAILED) else None, when)


def job(number: int, status: JobStatus | None = None, seen: float = NOW, **fields: object) -> Job:
    found = Job(number, "a", 0, f"a_{number}", "slurm", Path("/a"), START, {}, status, seen)
    return found._replace(**fields)  # type: ignore[arg-type]


class FakeLedger:
    def __init__(self, attempts: dict[int, list[Attempt]], jobs: Mapping[int, Job]) -> None:
        self._attempts, self._jobs = attempts, jobs

    def attempts(self, _key: str) -> dict[int, list[Attempt]]:
        return self._attempts

    def active_jobs(self, _key: str) -> Mapping[int, Job]:
        return self._jobs


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)


def view(*attempts: Attempt, jobs: tuple[Job, ...] = (), wanted: int = 1, done: tuple[int, ...] = ()) -> View:
    found: dict[int, list[Attempt]] = {}
    for one in attempts:
        found.setdefault(one.branch, []).append(one)
    ledger = FakeLedger(found, {one.number: one for one in jobs})
    return look(dict.fromkeys(range(wanted), "new"), done, ledger, "w", START, SETTINGS)  # type: ignore[arg-type]


def status(state: JobState, **fields: object) -> JobStatus:
    return replace(JobStatus(state, in_queue=True), **fields)  # type: ignore[arg-type]


BEFORE = START - 10
RUNNING, HELD = status(JobState.RUNNING, started=NOW - 100), status(JobState.HELD, reason="by bob")


@pytest.mark.parametrize(
    ("attempts", "stage"),
    [
        ([], "unsubmitted"),
        ([attempt(0)], "pending"),
        ([attempt(0, RETRY)], "retry"),
        ([attempt(0, RETRY, BEFORE)], "retry"),
        ([attempt(0, FAILED)], "failed"),
        ([attempt(0, FAILED, BEFORE)], "unsubmitted"),
        ([attempt(0, FAILED, digest="old")], "unsubmitted"),
        ([attempt(0, CANCELLED)], "failed"),
        ([attempt(0, CANCELLED, BEFORE)], "unsubmitted"),
        ([attempt(0, CANCELLED, digest="old")], "unsubmitted"),
        ([attempt(0, CANCELLED), attempt(0, digest="newer")], "failed"),
        ([attempt(0, DONE)], "unsubmitted"),  # its output is gone
        ([attempt(0, DONE, BEFORE)], "unsubmitted"),
    ],
)
def test_stage_from_attempts(attempts: list[Attempt], stage: str) -> None:
    assert view(*attempts).stages == {0: stage}
    assert view(*attempts, done=(0,)).stages == {0: "finished"}


@pytest.mark.parametrize(
    ("found", "stage"),
    [
        (job(100), "pending"),
        (job(100, seen=NOW - 1e5), "pending"),
        (job(100, status(JobState.PENDING)), "pending"),
        (job(100, RUNNING), "running"),
        (job(100, RUNNING, seen=NOW - 59), "running"),
        (job(100, RUNNING, seen=NOW - 61), "unknown"),
        (job(100, HELD), "held"),
        (job(100, JobStatus(JobState.FINISHED), seen=NOW - 1e5), "running"),
        (job(100, JobStatus(JobState.FAILED), seen=NOW - 1e5), "running"),
    ],
)
def test_stage_from_the_job(found: Job, stage: str) -> None:
    assert view(attempt(0), jobs=(found,)).stages == {0: stage}


def test_branch_that_a_run_of_other_code_has_taken_over_is_not_waited_for() -> None:
    assert view(attempt(0, digest="newer"), jobs=(job(100, RUNNING),)).stages == {0: "failed"}
    # nobody knows yet whether there is such a job
    assert view(attempt(0, digest="newer"), jobs=(job(100, id=None),)).stages == {0: "pending"}


def test_ready_is_one_until_the_code_is_proven() -> None:
    found = view(wanted=4)
    assert found.ready() == [0]
    found.is_proven = True
    assert found.ready() == [0, 1, 2, 3]


def test_single_branch_is_no_canary() -> None:
    assert view(attempt(0, RETRY, NOW - 31)).ready() == [0]


@pytest.mark.parametrize("found", [job(100), job(100, RUNNING), job(100, HELD), job(100, RUNNING, seen=0.0)])
def test_others_wait_for_the_canary(found: Job) -> None:
    one = view(attempt(0), jobs=(found,), wanted=3)
    assert (one.ready(), one.is_over()) == ([], False)


def test_others_do_not_wait_for_branches_that_are_not_of_this_run() -> None:
    assert view(attempt(7), jobs=(job(107, RUNNING),), wanted=3).ready() == [0]


def test_others_wait_for_a_canary_that_is_tried_again_later() -> None:
    assert view(attempt(1, RETRY, NOW - 29), wanted=3).ready() == []
    assert view(attempt(0, RETRY, NOW - 31), wanted=3).ready() == [0]


def test_waiting_time_doubles() -> None:
    two = [attempt(0, RETRY, NOW - 200), attempt(0, RETRY, NOW - 59)]
    assert view(*two).ready() == []
    assert view(two[0], attempt(0, RETRY, NOW - 61)).ready() == [0]


def test_series_of_failures_does_not_count_after_its_end() -> None:
    assert view(attempt(0, RETRY), attempt(0, FAILED, BEFORE)).ready() == [0]


@pytest.mark.parametrize("rest", [[], [attempt(2, RETRY, NOW)], [attempt(2, RETRY, BEFORE)]])
def test_two_failed_canaries_end_it(rest: list[Attempt]) -> None:
    found = view(attempt(0, FAILED), attempt(1, FAILED), *rest, wanted=4)
    assert (found.ready(), found.is_over()) == ([], True)
    found.is_proven = True
    assert 3 in found.ready()
    assert not found.is_over()


def test_failed_canaries_wait_for_jobs_in_the_queue() -> None:
    found = view(attempt(0, FAILED), attempt(1, FAILED), attempt(2), jobs=(job(102, RUNNING),), wanted=4)
    assert (found.ready(), found.is_over()) == ([], False)


def test_one_failed_canary_is_not_enough() -> None:
    found = view(attempt(0, FAILED), wanted=4)
    assert (found.ready(), found.is_over()) == ([1], False)


def test_nothing_is_submitted_after_a_cancel() -> None:
    found = view(attempt(0, CANCELLED), attempt(1, RETRY, BEFORE), attempt(2), jobs=(job(102, RUNNING),), wanted=4)
    found.is_proven = True
    assert (found.ready(), found.is_over()) == ([], False)
    found = view(attempt(0, CANCELLED), attempt(1, RETRY, BEFORE), wanted=4, done=(2,))
    found.is_proven = True
    assert (found.ready(), found.is_over()) == ([], True)


def test_cancel_of_what_is_complete_stops_nothing() -> None:
    assert not view(attempt(0, CANCELLED), wanted=2, done=(0,)).is_cancelled


@pytest.mark.parametrize(
    ("found", "patient"),
    [
        (status(JobState.RUNNING, started=NOW - 599), False),
        (status(JobState.RUNNING, started=NOW - 601), True),
        (status(JobState.RUNNING), False),
        (status(JobState.PENDING, started=NOW - 601), False),
        (None, False),
    ],
)
def test_canary_that_has_run_for_long(found: JobStatus | None, patient: bool) -> None:
    assert view(attempt(0), jobs=(job(100, found),)).has_patient_canary() is patient


def test_reasons_are_counted() -> None:
    waits = status(JobState.PENDING, reason="Priority")
    ended = JobStatus(JobState.FAILED, reason="bad")
    jobs = tuple(job(n, s) for n, s in enumerate([waits, HELD, waits, status(JobState.PENDING), None, ended]))
    assert view(jobs=jobs).reasons() == {"Priority": 2, "by bob": 1}


def test_it_is_over_when_all_have_ended() -> None:
    assert view(attempt(0, FAILED), wanted=2, done=(1,)).is_over()
    assert not view(attempt(0), wanted=2, done=(1,)).is_over()
