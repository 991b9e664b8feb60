from __future__ import annotations

import calendar
import json
import time
from pathlib import Path

import pytest

from analysis.console import main
from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import FAILED, JobPlan, Result

NOW = float(calendar.timegm((2026, 9, 21, 6, 0, 0)))
RESOURCES = {"memory": 2 * 10**9, "runtime": 7200, "cores": 1}


@pytest.fixture
def busy(store: Path, ledger: Ledger, jobs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Three jobs of one workflow: running with three branches, waiting, ended; and one that is being submitted."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    toy, other = str(store / "v1" / "Toy"), "/elsewhere/v1/Other"
    branches = ({0: "a", 1: "a", 2: "a"}, {5: "a"}, {7: "a"}, {8: "a"})
    ledger.reserve("t1", "slurm", toy, jobs_folder / "Toy-t1", [JobPlan(b, RESOURCES) for b in branches])
    ledger.submitted("t1", {i: f"12_{i}" for i in range(4)})
    ledger.claim_poll("slurm", 0.0)
    statuses = {
        "12_0": JobStatus(JobState.RUNNING, in_queue=True, host="node1", started=NOW + 60),
        "12_1": JobStatus(JobState.PENDING, in_queue=True, reason="Resources"),
        "12_2": JobStatus(JobState.FINISHED, exit_code=0, host="node2", started=NOW + 30, ended=NOW + 90),
        "12_3": JobStatus(JobState.FAILED, exit_code=1, started=NOW, ended=NOW + 1),
    }
    ledger.answered("slurm", statuses, 20.0)
    job = next(number for number, job in ledger.active_jobs(toy).items() if job.id == "12_3")
    ledger.settle(toy, [Result(8, job, FAILED, FailureClass.CODE)])
    ledger.reserve("t2", "htcondor", other, jobs_folder / "Other-t2", [JobPlan({3: "b"}, RESOURCES)])
    monkeypatch.setattr(time, "time", lambda: NOW + 300)
    return ledger


@pytest.mark.usefixtures("busy")
def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[2:6]]
    assert sorted(rows) == [
        ["/elsewhere/v1/Other", "htcondor ?", "submitting", "3", "2026-09-21 06:00:00"],
        ["v1/Toy", "slurm 12_0", "running", "0:3", "2026-09-21 06:01:00", "node1"],
        ["v1/Toy", "slurm 12_1", "pending", "5", "2026-09-21 06:00:00", "Resources"],
        ["v1/Toy", "slurm 12_2", "ended", "7", "2026-09-21 06:00:30", "node2"],
    ]
    assert lines[6] == ""
    count, rest = lines[7].split(": ")
    assert count == "4 jobs of 2 workflows"
    assert sorted(rest.split(", ")) == ["1 ended", "1 pending", "1 running", "1 submitting"]
    assert lines[8:] == [
        "htcondor answered never yet",
        "slurm answered 5 min ago",
    ]


def test_scheduler_that_did_not_answer(busy: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    busy.answered("slurm", {}, 20.0, "no word within 60 s")
    assert main(["jobs"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "slurm answered 5 min ago, and does not now: no word within 60 s"


@pytest.mark.usefixtures("busy")
def test_json(store: Path, jobs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "--json"]) == 0
    found = {job["id"]: job for job in json.loads(capsys.readouterr().out)}
    assert list(found) == [None, "12_0", "12_1", "12_2"]
    assert found["12_0"] == {
        "workflow": "v1/Toy",
        "folder": str(store / "v1" / "Toy"),
        "backend": "slurm",
        "id": "12_0",
        "state": "running",
        "branches": [0, 1, 2],
        "submitted": NOW,
        "started": NOW + 60,
        "seen": NOW,
        "host": "node1",
        "reason": "",
        "resources": RESOURCES,
        "output": str(jobs_folder / "Toy-t1" / "job_0.txt"),
    }
    assert found[None]["started"] is None


def test_no_jobs(jobs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"]) == 0
    assert capsys.readouterr().out == "There are no jobs in the queue.\n"
    assert main(["jobs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert not jobs_folder.exists()


@pytest.mark.usefixtures("ledger")
def test_empty_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"]) == 0
    assert capsys.readouterr().out == "There are no jobs in the queue.\n"


def test_damaged_ledger_is_one_sentence(jobs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs_folder.mkdir()
    (jobs_folder / "ledger.db").write_text("no database, but long enough to be taken for one " * 100)
    assert main(["jobs"]) == 1
    found = capsys.readouterr()
    assert found.err.startswith(f"LedgerError: the ledger of batch jobs {jobs_folder / 'ledger.db'} cannot be used")
    assert (found.out, found.err.count("\n")) == ("", 1)
