"""What Slurm's programs print, and what it means. The texts are those of a cluster of version 22.05."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.backends.slurm_status import Row, compact, merge, numbers, parse_history, parse_queue, status

ME, OTHER = 1000, 0

QUEUE = """\
7_0|COMPLETED|0|None|vm|1795241602|1795241603|Task.5.tokA
7_1|FAILED|1792|NonZeroExitCode|vm|1795241602|1795241602|Task.5.tokA
7_2|FAILED|9|JobLaunchFailure|vm|1795241602|1795241602|Task.5.tokA
8_0|FAILED|4021|JobLaunchFailure|vm|1795241602|1795241602|Task.1.tokB
9_1|PENDING|0|ReqNodeNotAvail, UnavailableNodes:vm||N/A|NONE|a|b
22|PENDING|0|(launch failed requeued held)||N/A|NONE|other
slurm_load_jobs: something else
"""

HISTORY = """\
7_0|COMPLETED|0:0|None|vm|1795241602|1795241603|58M||Task.5.tokA
7_0.batch|COMPLETED|0:0||vm|1795241602|1795241603||1500K|batch
7_0.extern|COMPLETED|0:0||vm|1795241602|1795241603||2.50M|extern
7_2|FAILED|0:9|None|vm|1795241602|1795241602|58Mn||Task.5.tokA
7_2.batch|CANCELLED|0:9||vm|1795241602|1795241602||311488512|batch
7_4|FAILED|2:0|None|vm|1795241602|1795241602|2Gc||Task.5.tokA
9_[0-2,5-7,9]|CANCELLED by 1000|0:0|JobHeldUser|None assigned|None|1795241674|0|| Task.9.tokC
"""


def test_queue() -> None:
    rows = parse_queue(QUEUE)
    assert list(rows) == ["7_0", "7_1", "7_2", "8_0", "9_1", "22"]
    assert rows["7_0"] == Row("7_0", "COMPLETED", 0, None, "", "vm", 1795241602.0, 1795241603.0, "Task.5.tokA")
    assert (rows["7_1"].code, rows["7_1"].signal) == (7, None)  # 1792 = 7 * 256
    assert (rows["7_2"].code, rows["7_2"].signal) == (None, 9)
    assert rows["8_0"].signal == 53  # 4021 = 15 * 256 + 128 + 53
    assert rows["9_1"].reason == "ReqNodeNotAvail, UnavailableNodes:vm"
    assert rows["9_1"].name == "a|b"
    assert rows["9_1"].start is None


def test_history() -> None:
    rows = parse_history(HISTORY)
    assert list(rows) == ["7_0", "7_2", "7_4", "9_[0-2,5-7,9]"]
    assert rows["7_0"].memory == 2621440  # 2.5 * 2**20, more than 1500 * 2**10
    assert rows["7_0"].limit == 60817408  # 58 * 2**20
    assert (rows["7_2"].code, rows["7_2"].signal, rows["7_2"].limit) == (None, 9, 60817408)
    assert (rows["7_4"].code, rows["7_4"].limit) == (2, None)  # per core, hence not that of the job
    last = rows["9_[0-2,5-7,9]"]
    assert (last.word, last.host, last.start, last.end) == ("CANCELLED", "", None, 1795241674.0)


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("12_3", [3]),
        ("12_[4-9%2]", [4, 5, 6, 7, 8, 9]),
        ("12_[4-9:2,11%5]", [4, 6, 8, 11]),
        ("12_[0-1,3,...]", [0, 1, 3]),
        ("12", []),
    ],
)
def test_numbers(identity: str, expected: list[int]) -> None:
    assert numbers(identity) == expected


def test_compact() -> None:
    assert compact(["12_0", "12_2", "12_1", "9", "12_7", "13_4"]) == ["12_[0-2,7]", "9", "13_[4]"]


@given(st.sets(st.tuples(st.integers(1, 3), st.integers(0, 60))))
def test_compact_loses_nothing(tasks: set[tuple[int, int]]) -> None:
    found = compact([f"{array}_{task}" for array, task in tasks])
    assert {(int(text.partition("_")[0]), task) for text in found for task in numbers(text)} == tasks
    assert len(found) == len({array for array, _ in tasks})


@pytest.mark.parametrize(
    ("state", "expected", "failure"),
    [
        ("COMPLETED", JobState.FINISHED, None),
        ("FAILED", JobState.FAILED, None),
        ("CANCELLED by 1000", JobState.FAILED, FailureClass.REMOVED),
        ("CANCELLED by 0", JobState.FAILED, FailureClass.NODE),
        ("CANCELLED", JobState.FAILED, FailureClass.REMOVED),
        ("TIMEOUT", JobState.FAILED, FailureClass.WALLTIME),
        ("DEADLINE", JobState.FAILED, FailureClass.WALLTIME),
        ("OUT_OF_MEMORY", JobState.FAILED, FailureClass.MEMORY),
        ("NODE_FAIL", JobState.FAILED, FailureClass.NODE),
        ("BOOT_FAIL", JobState.FAILED, FailureClass.NODE),
        ("PREEMPTED", JobState.FAILED, FailureClass.NODE),
        ("REVOKED", JobState.FAILED, FailureClass.NODE),
    ],
)
def test_ended(state: str, expected: JobState, failure: FailureClass | None) -> None:
    found = status(Row("1_0", state, 0, None, "", "vm", 10.0, 20.0), ME)
    assert found is not None
    assert (found.state, found.failure, found.in_queue) == (expected, failure, False)
    assert (found.host, found.started, found.ended) == ("vm", 10.0, 20.0)
    assert found.exit_code == (0 if state == "COMPLETED" else None)
    assert bool(found.reason) == (state != "COMPLETED")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        *((word, JobState.RUNNING) for word in ("RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT")),
        *((word, JobState.PENDING) for word in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED")),
        *((word, JobState.HELD) for word in ("SUSPENDED", "STOPPED")),
    ],
)
def test_active(state: str, expected: JobState) -> None:
    found = status(Row("1_0", state), ME)
    assert found is not None
    assert (found.state, found.failure, found.in_queue) == (expected, None, True)


@pytest.mark.parametrize(
    ("state", "reason", "failure"),
    [
        ("SPECIAL_EXIT", "job requeued in held state", FailureClass.NODE),
        ("REQUEUE_HOLD", "", FailureClass.NODE),
        ("RESV_DEL_HOLD", "", FailureClass.ENVIRONMENT),
        ("PENDING", "(launch failed requeued held)", FailureClass.NODE),
        ("PENDING", "launch_failed_requeued_held", FailureClass.NODE),
        ("PENDING", "job requeued in held state", FailureClass.NODE),
        ("PENDING", "JobHoldMaxRequeue", FailureClass.NODE),
        *(
            ("PENDING", reason, FailureClass.ENVIRONMENT)
            for reason in (
                *("DependencyNeverSatisfied", "PartitionTimeLimit", "PartitionConfig", "BadConstraints", "InvalidQOS"),
                *("QOSMaxWallDurationPerJobLimit", "QOSMaxMemoryPerJob", "QOSMaxCpuPerNode", "QOSMinGRES"),
                *("AssocMaxCpuPerJobLimit", "AssocMaxCpuMinutesPerJobLimit", "MaxMemPerLimit", "AccountNotAllowed"),
            )
        ),
    ],
)
def test_waits_for_ever(state: str, reason: str, failure: FailureClass) -> None:
    found = status(Row("1_0", state, reason=reason), ME)
    assert found is not None
    assert (found.state, found.failure, found.in_queue) == (JobState.FAILED, failure, True)
    assert reason in found.reason


@pytest.mark.parametrize(
    "reason",
    [
        *("Resources", "Priority", "Dependency", "Licenses", "BeginTime", "PartitionNodeLimit", "PartitionDown"),
        *("QOSMaxJobsPerUserLimit", "QOSMaxCpuPerUserLimit", "QOSGrpCpuLimit", "AssocGrpCpuLimit", "AssocMaxJobsLimit"),
        *("ReqNodeNotAvail, UnavailableNodes:vm", "MaxJobsPerAccount", "JobArrayTaskLimit", "QOSMaxMemoryPerUser"),
    ],
)
def test_waits(reason: str) -> None:
    assert status(Row("1_0", "PENDING", reason=reason), ME) == JobStatus(JobState.PENDING, in_queue=True, reason=reason)


def test_held() -> None:
    for reason in ("JobHeldUser", "JobHeldAdmin"):
        found = status(Row("1_0", "PENDING", reason=reason), ME)
        assert found == JobStatus(JobState.HELD, in_queue=True, reason=reason)
    suspended = status(Row("1_0", "SUSPENDED"), ME)
    assert suspended is not None
    assert suspended.reason == "suspended"


def test_word_of_a_later_slurm_says_nothing() -> None:
    assert status(Row("1_0", "DREAMING"), ME) is None


def test_failed() -> None:
    code = status(Row("1_0", "FAILED", 7, reason="NonZeroExitCode"), ME)
    assert code is not None
    assert (code.failure, code.exit_code, code.signal) == (None, 7, None)
    signal = status(Row("1_0", "FAILED", None, 11), ME)
    assert signal is not None
    assert (signal.failure, signal.exit_code, signal.signal) == (None, None, 11)
    output = status(Row("1_0", "FAILED", None, 53), ME)
    assert output is not None
    assert (output.failure, output.signal) == (FailureClass.NODE, None)
    assert "output file" in output.reason
    refused = status(Row("1_0", "FAILED", 1, reason="BadConstraints"), ME)
    assert refused is not None
    assert refused.failure is FailureClass.ENVIRONMENT
    lost = status(Row("1_0", "FAILED", 1, reason="NodeDown"), ME)
    assert lost is not None
    assert lost.failure is FailureClass.NODE
    killed = status(Row("1_0", "OUT_OF_MEMORY", None, 125), ME)
    assert killed is not None
    assert (killed.failure, killed.signal) == (FailureClass.MEMORY, None)


@pytest.mark.parametrize(
    ("signal", "memory", "limit", "failure"),
    [
        (9, 101, 100, FailureClass.MEMORY),
        (9, 100, 100, None),
        (9, None, 100, None),
        (9, 101, None, None),
        (15, 101, 100, None),
    ],
)
def test_killed_above_its_memory(
    signal: int, memory: int | None, limit: int | None, failure: FailureClass | None
) -> None:
    found = status(Row("1_0", "FAILED", None, signal, memory=memory, limit=limit), ME)
    assert found is not None
    assert (found.failure, found.signal) == (failure, signal)


def states(queue: list[Row], history: list[Row] | None, *ids: str) -> dict[str, tuple[JobState, str]]:
    """State and reason of jobs."""
    found = merge(
        ids, {row.id: row for row in queue}, None if history is None else {row.id: row for row in history}, ME
    )
    return {identity: (answer.state, answer.reason) for identity, answer in found.items()}


RUNNING, FINISHED, FAILED = JobState.RUNNING, JobState.FINISHED, JobState.FAILED


def test_queue_is_right_about_active_jobs() -> None:
    """Of a job that was started again, accounting may still have the end of its first life."""
    assert states([Row("1_0", "RUNNING")], [Row("1_0", "NODE_FAIL")], "1_0") == {"1_0": (RUNNING, "")}


def test_history_is_right_about_the_end() -> None:
    assert states([Row("1_0", "CANCELLED")], [Row("1_0", "CANCELLED by 0")], "1_0") == {
        "1_0": (FAILED, "CANCELLED by 0")
    }
    assert states([], [Row("1_0", "TIMEOUT")], "1_0") == {"1_0": (FAILED, "TIMEOUT")}


def test_accounting_is_late() -> None:
    """What the controller knows for sure counts; what only accounting knows is waited for."""
    late = [Row("1_0", "RUNNING"), Row("1_1", "PENDING")]
    assert states([Row("1_0", "COMPLETED", 0)], late, "1_0") == {"1_0": (FINISHED, "")}
    assert states([Row("1_0", "COMPLETED", 0)], [], "1_0") == {"1_0": (FINISHED, "")}
    assert states([Row("1_0", "CANCELLED")], late, "1_0") == {}
    assert states([Row("1_0", "FAILED", None, 9)], late, "1_0") == {}
    assert states([], late, "1_0", "1_1", "1_2") == {}


def test_accounting_is_silent() -> None:
    queue = [Row("1_0", "CANCELLED"), Row("1_1", "FAILED", None, 9), Row("1_2", "TIMEOUT")]
    assert states(queue, None, "1_0", "1_1", "1_2", "1_3") == {
        "1_0": (FAILED, "CANCELLED"),
        "1_1": (FAILED, "FAILED"),
        "1_2": (FAILED, "TIMEOUT"),
    }


@pytest.mark.parametrize("identity", ["5", "5_[1-2]", "5_[1,...]"])
def test_tasks_that_were_cancelled_before_they_started(identity: str) -> None:
    """They have no record of their own; those that started do."""
    history = [Row("5_0", "COMPLETED", 0), Row(identity, "CANCELLED by 1000"), Row("5_3", "RUNNING")]
    assert states([Row("5", "CANCELLED")], history, "5_0", "5_1", "5_2", "5_3") == {
        "5_0": (FINISHED, ""),
        "5_1": (FAILED, "CANCELLED by 1000"),
        "5_2": (FAILED, "CANCELLED by 1000"),
    }


def test_cancelled_tasks_of_others_count_for_no_job() -> None:
    assert states([], [Row("5_[1-2]", "CANCELLED by 1000")], "5_0") == {}
    assert states([Row("5_0", "COMPLETED", 0)], [Row("5", "CANCELLED by 1000")], "5_0") == {"5_0": (FINISHED, "")}


def test_only_tasks_that_never_started_share_a_record() -> None:
    """The last task of an array that starts has the number of the array, and for a moment no other in accounting."""
    text = "5|FAILED|0:9|None|vm|10|20|||allocation\n5.batch|CANCELLED|0:9||vm|10|20||300916K|batch\n"
    assert parse_history(text) == {}
    assert states([], [Row("5", "FAILED", None, 9)], "5_0") == {}
    refused = Row("5_[0-1]", "FAILED", 1, reason="BadConstraints")
    histories: list[list[Row] | None] = [[], None]
    for history in histories:
        assert states([refused], history, "5_0", "5_2") == {"5_0": (FAILED, "FAILED: BadConstraints")}


def test_cancelled_tasks_without_accounting() -> None:
    assert states([Row("5", "CANCELLED")], None, "5_0") == {"5_0": (FAILED, "CANCELLED")}
    assert states([Row("5", "CANCELLED")], [], "5_0") == {}
