from __future__ import annotations

import pytest

from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.backends.htcondor_status import hold_class, job_id, job_status

BASE = {"ClusterId": 7, "ProcId": 3, "Owner": "ada", "EnteredCurrentStatus": 200, "JobCurrentStartDate": 100}


def of(**attributes: object) -> JobStatus:
    return job_status(BASE | attributes, queued=True)


def test_id() -> None:
    assert job_id(BASE) == "7.3"


def test_pending() -> None:
    assert of(JobStatus=1, JobCurrentStartDate=None) == JobStatus(JobState.PENDING, in_queue=True)
    evicted = of(JobStatus=1, NumJobStarts=1, VacateReason="User requested the job\nto vacate", LastRemoteHost="s@node")
    assert evicted == JobStatus(JobState.PENDING, in_queue=True, reason="User requested the job to vacate", host="node")


@pytest.mark.parametrize("code", [2, 6])
def test_running(code: int) -> None:
    found = of(JobStatus=code, RemoteHost="slot1_2@b7.cern.ch", ResidentSetSize=2000, ResidentSetSize_RAW=1711)
    assert found == JobStatus(JobState.RUNNING, in_queue=True, host="b7.cern.ch", started=100, memory=1711 * 1024)


def test_suspended_waits_for_a_person() -> None:
    found = of(JobStatus=7)
    assert (found.state, found.reason, found.in_queue) == (JobState.HELD, "suspended", True)


def test_completed() -> None:
    found = of(JobStatus=4, ExitCode=0, ExitBySignal=False, CompletionDate=300)
    assert found == JobStatus(JobState.FINISHED, exit_code=0, started=100, ended=300)
    failed = of(JobStatus=4, ExitCode=3, ExitBySignal=False, CompletionDate=300)
    assert (failed.state, failed.failure, failed.exit_code, failed.in_queue) == (JobState.FAILED, None, 3, False)


@pytest.mark.parametrize(
    ("resident", "request_", "failure"),
    [(1024 * 100, 100, FailureClass.MEMORY), (1024 * 100 - 1, 100, None), (10**9, 0, None)],
)
def test_killed_with_as_much_memory_as_was_asked_for(
    resident: int, request_: int, failure: FailureClass | None
) -> None:
    ads: list[dict[str, object]] = [{"ExitBySignal": True, "ExitSignal": 9}, {"ExitBySignal": False, "ExitCode": 137}]
    for ad in ads:
        found = of(JobStatus=4, CompletionDate=300, ResidentSetSize_RAW=resident, RequestMemory=request_, **ad)
        assert (found.state, found.failure) == (JobState.FAILED, failure)
    bug = of(JobStatus=4, ExitCode=1, ResidentSetSize_RAW=resident, RequestMemory=request_)
    assert bug.failure is None


def test_signal() -> None:
    found = of(JobStatus=4, ExitBySignal=True, ExitSignal=11)
    assert (found.state, found.signal, found.exit_code, found.failure) == (JobState.FAILED, 11, None, None)


@pytest.mark.parametrize("code", [1, 15])
def test_held_by_a_person(code: int) -> None:
    found = of(JobStatus=5, HoldReasonCode=code, HoldReason="via condor_hold (by user ada)")
    assert (found.state, found.failure, found.in_queue) == (JobState.HELD, None, True)
    assert found.reason == "via condor_hold (by user ada)"


def test_held_by_the_system() -> None:
    found = of(JobStatus=5, HoldReasonCode=46, HoldReason="The job exceeded allowed job duration of 00:05")
    assert (found.state, found.failure, found.in_queue) == (JobState.FAILED, FailureClass.WALLTIME, True)
    assert found.ended == 200
    assert of(JobStatus=5, HoldReasonCode=16).state is JobState.PENDING


@pytest.mark.parametrize(
    ("code", "subcode", "reason", "failure"),
    [
        (34, 102, "Error from slot1: memory usage exceeded request_memory", FailureClass.MEMORY),
        (34, 0, "", FailureClass.MEMORY),
        (34, 104, "Job has exceeded its disk", FailureClass.STORAGE),
        (46, 0, "The job exceeded allowed job duration of 00:05", FailureClass.WALLTIME),
        (47, 0, "", FailureClass.WALLTIME),
        (12, 13, "Transfer output files failure ... (errno 13) Permission denied", FailureClass.STORAGE),
        (13, 2, "Transfer input files failure", FailureClass.STORAGE),
        (3, 0, "The job attribute PeriodicHold expression 'JobStatus == 2' evaluated to TRUE", FailureClass.NODE),
        (26, 0, "job used more than RequestMemory", FailureClass.MEMORY),
        (26, 0, "Job exceeded its wall time limit", FailureClass.WALLTIME),
        (26, 0, "The system macro SYSTEM_PERIODIC_HOLD: RemoteWallClockTime > MaxRuntime", FailureClass.WALLTIME),
        (21, 0, "disk usage exceeded", FailureClass.STORAGE),
        (3, 0, "write failed: No space left on device", FailureClass.STORAGE),
        (4, 0, "", FailureClass.CREDENTIAL),
        (26, 0, "the Kerberos ticket has expired", FailureClass.CREDENTIAL),
        (6, 2, "Failed to execute: No such file or directory", FailureClass.ENVIRONMENT),
        (6, 8, "Exec format error", FailureClass.ENVIRONMENT),
        (6, 5, "Input/output error", FailureClass.NODE),
        (35, 0, "", FailureClass.ENVIRONMENT),
        (22, 0, "", FailureClass.STORAGE),
        (0, 0, "Cannot expand $$ expression (DOLLAR).", FailureClass.NODE),
        (99, 0, "a firewall at runlevel 5", FailureClass.NODE),
    ],
)
def test_hold_class(code: int, subcode: int, reason: str, failure: FailureClass) -> None:
    assert hold_class(code, subcode, reason) is failure


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("via condor_rm (by user ada)", FailureClass.REMOVED),
        ("Python-initiated action (by user ada@cern.ch)", FailureClass.REMOVED),
        ("via condor_rm (by user adalbert)", FailureClass.NODE),
        ("via condor_rm (by user condor)", FailureClass.NODE),
        ("Job removed by SYSTEM_PERIODIC_REMOVE due to wall time exceeded allowed max.", FailureClass.WALLTIME),
        ("The job attribute PeriodicRemove expression 'JobStatus == 2' evaluated to TRUE", FailureClass.NODE),
        ("", FailureClass.NODE),
    ],
)
def test_removed(reason: str, failure: FailureClass) -> None:
    ad = {**BASE, "JobStatus": 3, "RemoveReason": reason}
    for queued in (True, False):  # "X" in condor_q, and gone
        found = job_status(ad, queued=queued)
        assert (found.state, found.failure, found.in_queue) == (JobState.FAILED, failure, queued)
        assert found.ended == 200


def test_held_job_that_a_policy_cleared_away_failed_for_what_held_it() -> None:
    ad = {**BASE, "JobStatus": 3, "RemoveReason": "held for a day", "HoldReasonCode": 46, "HoldReason": "..."}
    assert job_status(ad, queued=False).failure is FailureClass.WALLTIME


def test_odd_types_do_not_harm() -> None:
    found = of(JobStatus=5, HoldReasonCode="what", HoldReason=7, RemoteHost=None)
    assert (found.state, found.failure) == (JobState.FAILED, FailureClass.NODE)
