from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.engine.backends import ledger as module
from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.backends.ledger import Ledger, LedgerError
from analysis.engine.backends.records import CANCELLED, DONE, FAILED, RETRY, JobPlan, Pending, Result
from analysis.engine.process import Process, identity
from tests.engine.toys import dead_process

DIGEST = "0a1b2c3d4e"
RUNNING = JobStatus(JobState.RUNNING, in_queue=True)
FINISHED = JobStatus(JobState.FINISHED, exit_code=0)
STUCK = JobStatus(JobState.FAILED, FailureClass.MEMORY, in_queue=True, reason="too much")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger(tmp_path / "jobs" / "ledger.db")
    yield found
    found.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be changed."""
    now = [1e9]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def plan(*branches: int, memory: int = 0) -> JobPlan:
    return JobPlan(dict.fromkeys(branches, DIGEST), {"memory": memory})


def submit(ledger: Ledger, token: str, *plans: JobPlan, workflow: str = "w", backend: str = "slurm") -> list[JobPlan]:
    kept = ledger.reserve(token, backend, workflow, Path("/jobs") / token, plans)
    ledger.submitted(token, {position: f"{token}_{position}" for position in range(len(kept))})
    return kept


def results(ledger: Ledger, workflow: str = "w") -> dict[int, list[str | None]]:
    return {branch: [a.result for a in found] for branch, found in ledger.attempts(workflow).items()}


def test_branch_has_one_active_attempt(ledger: Ledger) -> None:
    assert ledger.reserve("a", "slurm", "w", Path("/a"), [plan(0, 1), plan(2)]) == [plan(0, 1), plan(2)]
    assert ledger.reserve("b", "slurm", "w", Path("/b"), [plan(2), plan(1, 3), plan(4)]) == [plan(3), plan(4)]
    assert [job.position for job in ledger.submitted_jobs("b")] == [0, 1]
    assert ledger.reserve("c", "slurm", "w", Path("/c"), [plan(0), plan(4)]) == []
    assert {pending.token for pending in ledger.pending("w")} == {"a", "b"}
    assert ledger.reserve("d", "slurm", "other", Path("/d"), [plan(0)]) == [plan(0)]


def test_database_itself_refuses_a_second_active_attempt(ledger: Ledger) -> None:
    submit(ledger, "a", plan(0))
    with (
        pytest.raises(LedgerError, match="UNIQUE constraint"),
        ledger._transaction() as database,
    ):
        database.execute("INSERT INTO attempts (workflow, branch, digest, job) VALUES ('w', 0, '', 1)")
    assert results(ledger) == {0: [None]}


def test_reservation_is_written_whole_or_not_at_all(ledger: Ledger) -> None:
    bad = JobPlan({1: DIGEST}, {"memory": object()})
    with pytest.raises(TypeError):
        ledger.reserve("a", "slurm", "w", Path("/a"), [plan(0), bad])
    assert (ledger.pending("w"), results(ledger)) == ([], {})
    assert len(submit(ledger, "a", plan(0))) == 1


def reserve_all(path: Path, number: int, start: float) -> None:
    while time.time() < start:
        pass
    ledger = Ledger(path)
    for branch in range(20):
        ledger.reserve(f"{number}x{branch}", "slurm", "w", path.parent, [plan(branch)])
    ledger.close()


def test_many_processes_make_the_ledger_and_reserve_each_branch_once(tmp_path: Path) -> None:
    path, start = tmp_path / "jobs" / "ledger.db", time.time() + 0.2
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=reserve_all, args=(path, number, start)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    ledger = Ledger(path)
    assert results(ledger) == {branch: [None] for branch in range(20)}
    assert len(ledger.pending("w")) == 20
    ledger.close()


def test_ids_are_those_of_the_positions(ledger: Ledger) -> None:
    submit(ledger, "a", plan(5, memory=7), plan(6))
    first, second = ledger.active_jobs("w").values()
    assert (first.id, first.position, first.resources, first.status) == ("a_0", 0, {"memory": 7}, None)
    assert (second.id, second.folder, second.backend) == ("a_1", Path("/jobs/a"), "slurm")
    assert ledger.pending("w") == []
    assert [a.job for found in ledger.attempts("w").values() for a in found] == [first.number, second.number]


def test_refused_submission_never_was(ledger: Ledger) -> None:
    ledger.reserve("a", "slurm", "w", Path("/a"), [plan(0)])
    ledger.refused("a")
    ledger.refused("a")
    assert (ledger.pending("w"), ledger.active_jobs(), ledger.attempts("w"), ledger.workflows()) == ([], {}, {}, [])


def test_attempt_is_settled_once(ledger: Ledger) -> None:
    submit(ledger, "a", plan(0), plan(1))
    zero, one = ledger.active_jobs("w")
    assert ledger.settle("w", [Result(0, zero, DONE), Result(1, zero, DONE), Result(7, zero, DONE)]) == {0}
    assert ledger.settle("w", [Result(0, zero, FAILED), Result(1, one, RETRY, FailureClass.NODE)]) == {1}
    assert ledger.settle("other", [Result(1, one, FAILED)]) == set()
    assert results(ledger) == {0: [DONE], 1: [RETRY]}
    assert ledger.attempts("w")[1][0].failure is FailureClass.NODE
    submit(ledger, "b", plan(1))
    assert ledger.settle("w", [Result(1, one, FAILED)]) == set()  # of a job that is over
    assert results(ledger)[1] == [RETRY, None]


def test_cancelled_jobs_end_what_is_active(ledger: Ledger) -> None:
    submit(ledger, "a", plan(0, 1), plan(2))
    first, second = ledger.active_jobs("w")
    ledger.settle("w", [Result(0, first, DONE)])
    ledger.cancelled([first])
    assert results(ledger) == {0: [DONE], 1: [CANCELLED], 2: [None]}
    assert list(ledger.active_jobs()) == [second]
    assert list(ledger.to_ask_for("slurm")) == ["a_1"]


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("failure", [None, *FailureClass])
def test_status_comes_back_as_it_was(ledger: Ledger, state: JobState, failure: FailureClass | None) -> None:
    status = JobStatus(state, failure, True, 0, 9, "it's µ, 'why'", "node", 1.5, 2.5, 10**10)
    submit(ledger, "a", plan(0), plan(1))
    ledger.answered("slurm", {"a_0": status, "a_1": JobStatus(state), "unknown": status}, 1.0)
    found = [job.status for job in ledger.active_jobs("w").values()]
    assert found == [status, JobStatus(state)]
    assert all(f.name in dataclasses.asdict(status) for f in dataclasses.fields(JobStatus))


def test_one_asks_for_all(ledger: Ledger, clock: list[float]) -> None:
    assert ledger.claim_poll("slurm", 10.0)
    assert not ledger.claim_poll("slurm", 10.0)
    assert ledger.claim_poll("htcondor", 10.0)
    clock[0] += 9.9
    assert not ledger.claim_poll("slurm", 10.0)
    clock[0] += 0.2
    assert ledger.claim_poll("slurm", 10.0)
    clock[0] -= 3600  # the clock was wrong
    assert ledger.claim_poll("slurm", 10.0)
    assert not ledger.claim_poll("slurm", 10.0)


def test_only_jobs_that_may_change_are_asked_for(ledger: Ledger, clock: list[float]) -> None:
    submit(ledger, "a", *map(plan, range(4)))
    submit(ledger, "b", plan(0), workflow="v", backend="htcondor")
    ledger.reserve("c", "slurm", "w", Path("/c"), [plan(9)])
    asked = {f"a_{n}": clock[0] for n in range(4)}
    assert ledger.to_ask_for("slurm") == asked
    ledger.claim_poll("slurm", 1.0)
    ledger.answered("slurm", {"a_0": RUNNING, "a_1": FINISHED, "a_2": STUCK}, 1.0)
    assert set(ledger.to_ask_for("slurm")) == {"a_0", "a_2", "a_3"}
    ledger.over([number for number, job in ledger.active_jobs("w").items() if job.id == "a_2"])
    assert set(ledger.to_ask_for("slurm")) == {"a_0", "a_3"}
    clock[0] += 31 * 86400
    assert ledger.to_ask_for("slurm") == {}


def test_answer_about_a_job_that_is_over_comes_too_late(ledger: Ledger) -> None:
    submit(ledger, "a", plan(0), plan(1))
    ledger.answered("slurm", {"a_0": FINISHED, "a_1": STUCK}, 1.0)
    ledger.over([number for number, job in ledger.active_jobs("w").items() if job.id == "a_1"])
    removed = JobStatus(JobState.FAILED, FailureClass.REMOVED)
    ledger.answered("slurm", {"a_0": RUNNING, "a_1": removed}, 1.0)
    assert [job.status for job in ledger.active_jobs("w").values()] == [FINISHED, STUCK]
    assert ledger.to_ask_for("slurm") == {}


def test_time_of_the_end_is_that_of_the_first_word_of_it(ledger: Ledger, clock: list[float]) -> None:
    begin = clock[0]
    submit(ledger, "a", plan(0), plan(1), plan(2))
    for _ in range(3):
        clock[0] += 10
        ledger.answered("slurm", {"a_0": RUNNING, "a_1": STUCK}, 1.0)
    assert [job.seen - begin for job in ledger.active_jobs("w").values()] == [30, 10, 0]


def test_since_when_there_are_answers(ledger: Ledger, clock: list[float]) -> None:
    assert ledger.last_answer("slurm") == (0.0, None, None)
    begin = clock[0]

    def poll(after: float, error: str | None = None) -> tuple[float, float | None, str | None]:
        clock[0] += after
        ledger.claim_poll("slurm", 0.5)
        ledger.answered("slurm", {}, 20.0, error)
        answer = ledger.last_answer("slurm")
        return answer.time - begin, answer.since and answer.since - begin, answer.error

    assert poll(0) == (0, 0, None)
    assert poll(100) == (100, 0, None)
    assert poll(20, "down") == (100, 0, "down")
    assert poll(20) == (140, 0, None)  # one question without an answer says nothing
    assert poll(130) == (270, 270, None)  # a long break: nobody asked
    assert poll(60, "down") == (270, 270, "down")
    assert poll(70, "down") == (270, 270, "down")
    assert poll(1) == (401, 401, None)  # or nobody answered
    assert poll(-1000) == (-599, -599, None)  # the clock was wrong


def test_slow_polls_are_no_break(ledger: Ledger, clock: list[float]) -> None:
    for _ in range(3):
        clock[0] += 500
        ledger.claim_poll("slurm", 1.0)
        ledger.answered("slurm", {}, 300.0)
    assert ledger.last_answer("slurm").since == 1e9 + 500


def test_what_has_ended_is_forgotten(ledger: Ledger) -> None:
    submit(ledger, "a", plan(0, 1), plan(2))
    submit(ledger, "b", plan(3))
    submit(ledger, "c", plan(0), workflow="v")
    jobs = list(ledger.active_jobs("w"))
    ledger.settle("w", [Result(0, jobs[0], DONE), Result(2, jobs[1], FAILED), Result(3, jobs[2], DONE)])
    assert ledger.forget("w", [0, 1]) == []
    assert results(ledger) == {1: [None], 2: [FAILED], 3: [DONE]}
    assert ledger.forget("w") == [Path("/jobs/b")]
    assert results(ledger) == {1: [None]}
    ledger.settle("w", [Result(1, jobs[0], DONE)])
    assert ledger.forget("w") == [Path("/jobs/a")]
    assert (ledger.workflows(), results(ledger, "v")) == (["v"], {0: [None]})


def test_submission_under_way_is_not_forgotten(ledger: Ledger) -> None:
    ledger.reserve("a", "slurm", "w", Path("/a"), [plan(0)])
    assert ledger.forget("w") == ledger.forget("v") == []
    assert len(ledger.pending("w")) == 1


def test_ledger_outlives_its_process(ledger: Ledger) -> None:
    ledger.reserve("a", "slurm", "w", Path("/a"), [plan(0)])
    again = Ledger(ledger.path)
    assert [p.token for p in again.pending("w")] == ["a"]
    assert again.pending("w")[0].owner == identity()
    again.close()


def pending(owner: Process, age: float = 0.0) -> Pending:
    return Pending("a", "slurm", Path("/a"), time.time() - age, owner)


def test_whether_a_submission_is_under_way() -> None:
    here = identity()
    parent = dataclasses.replace(here, pid=os.getppid(), start=None)
    assert not pending(here).is_under_way()
    assert pending(parent, age=1e6).is_under_way()
    assert not pending(dataclasses.replace(here, pid=dead_process(), start=None)).is_under_way()
    assert not pending(dataclasses.replace(parent, start=1)).is_under_way()  # another process with that number
    for foreign in (dataclasses.replace(here, host="elsewhere"), dataclasses.replace(parent, namespace="container")):
        assert pending(foreign, age=50).is_under_way()
        assert not pending(foreign, age=70).is_under_way()


def test_ledger_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(LedgerError, match=r"ledger\.db was written by another version of this project: finish"):
        Ledger(path)


@pytest.mark.parametrize("content", [b"x" * 5000, None])
def test_ledger_that_is_none_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ledger.db"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"^the ledger of batch jobs .*ledger\.db cannot be used \(.*\): make it"):
        Ledger(path)


def test_ledger_that_somebody_else_locks_says_so(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    other = Ledger(ledger.path)
    ledger._database.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="locked"):
        other.refused("a")
    ledger._database.execute("ROLLBACK")
    other.refused("a")
    other.close()


def test_full_disk(ledger: Ledger, tmp_path: Path) -> None:
    """It is said, nothing of the transaction stays, and later all is well."""
    plans = [JobPlan(dict.fromkeys(range(1000), DIGEST), {})]
    pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
    ledger._database.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(LedgerError, match="database or disk is full"):
        ledger.reserve("a", "slurm", "toy", tmp_path, plans)
    assert ledger.attempts("toy") == {}
    ledger._database.execute("PRAGMA max_page_count = 1000000")
    assert ledger.reserve("a", "slurm", "toy", tmp_path, plans) == plans
    assert len(ledger.attempts("toy")) == 1000
