from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.console import main
from analysis.console.jobs import utc
from analysis.engine.backends import joblogs
from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.backends.failures import Failure
from analysis.engine.backends.joblogs import Attempt, job_token, timestamp
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import FAILED, JobPlan, Result
from analysis.engine.storage.local import LocalStore
from tests.engine.toys import Toy

START = 1.6e9  # 2020-09-13 12:26:40 UTC
FAILURE = Failure(FailureClass.MEMORY, "MemoryError", "too much\nof all", ("a.py:1 f: x",), host="node1", job="12_3")
NEVER = "it never ran as a batch job, or --cleanup removed what it left"

pytestmark = pytest.mark.usefixtures("jobs_folder")


def attempt(branch: int, seconds: float, result: str = "ok") -> Attempt:
    return Attempt(branch, timestamp(START + seconds), job_token("0a1b", branch), result)


@pytest.fixture
def folder(store: Path) -> Path:
    """Folder of a workflow with logs of two branches."""
    path = store / "v1" / "Toy"
    joblogs.write(LocalStore(Path("/")), path, attempt(0, 5), "Größe \N{ROCKET}".encode(), None)
    joblogs.write(LocalStore(Path("/")), path, attempt(1, 0, "memory"), b"first\n", FAILURE)
    joblogs.write(LocalStore(Path("/")), path, attempt(1, 60), b"second\n", None)
    return path


@pytest.fixture
def failed(folder: Path) -> Path:
    """The same with a branch that failed in the end."""
    joblogs.write(LocalStore(Path("/")), folder, attempt(2, 3, "memory"), b"third\n", FAILURE)
    return folder


FIRST = (
    "==> Toy branch 1, attempt 1 of 2, memory, 2020-09-13 12:26:40 UTC, on node1, job 12_3: "
    "MemoryError: too much of all"
)
SECOND = "==> Toy branch 1, attempt 2 of 2, ok, 2020-09-13 12:27:40 UTC"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["--branch", "1"], [SECOND, "second"]),
        (["--branch", "1", "--attempt", "1"], [FIRST, "first"]),
        (["--branch", "1", "--attempt", "2"], [SECOND, "second"]),
        (["--branch", "1", "--all"], [FIRST, "first", SECOND, "second"]),
        (["--branch", "0"], ["==> Toy branch 0, attempt 1 of 1, ok, 2020-09-13 12:26:45 UTC", "Größe \N{ROCKET}"]),
    ],
)
def test_logs(words: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "Toy", *words]) == 0
    found = capsys.readouterr()
    assert found.out == "".join(f"{line}\n" for line in lines)
    assert found.err == ""


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.partition("\n\n")[0].splitlines()[2:]]


OK_0 = ["0", "ok", "1", "2020-09-13", "12:26:45", "0a1b-0"]
OK_1 = ["1", "ok", "2", "2020-09-13", "12:27:40", "0a1b-1"]
BAD_2 = ["2", "memory", "1", "2020-09-13", "12:26:43", "0a1b-2"]


@pytest.mark.usefixtures("failed")
def test_last_attempts_of_all_branches_failed_ones_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "Toy"]) == 0
    text = capsys.readouterr().out
    assert rows(text) == [BAD_2, OK_0, OK_1]
    assert text.endswith("\n\nanalysis logs Toy --branch 2 prints a log.\n")
    assert main(["logs", "Toy", "--branches", "1:2"]) == 0
    assert rows(capsys.readouterr().out) == [OK_1]


@pytest.mark.usefixtures("folder")
def test_list_of_attempts(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (
        ["1", "1", "of", "2", "memory", "2020-09-13", "12:26:40", "0a1b-1"],
        ["1", "2", "of", "2", "ok", "2020-09-13", "12:27:40", "0a1b-1"],
    )
    assert main(["logs", "Toy", "--list"]) == 0
    assert rows(capsys.readouterr().out)[1:] == [first, second]
    assert main(["logs", "Toy", "--list", "--branch", "1"]) == 0
    assert rows(capsys.readouterr().out) == [first, second]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["Toy", "--branch", "2"], f"NoLogError: Toy branch 2 has no log: {NEVER}"),
        (["Toy", "--number", "7"], f"NoLogError: Toy has no log: {NEVER}"),
        (["Toy", "--number", "7", "--list"], f"NoLogError: Toy has no log: {NEVER}"),
        (["Toy", "--branch", "1", "--attempt", "3"], "NoLogError: Toy branch 1 has no attempt 3: they are counted"),
        (["Toy", "--branch", "1", "--attempt", "0"], "NoLogError: Toy branch 1 has no attempt 0: they are counted"),
        (["Toy", "--all"], "NoLogError: say which branch of Toy is meant: add --branch"),
        (["Toy", "--branch", "17"], "ParameterError: Toy has no branch 17"),
        (["Toy", "--branches", "17"], "ParameterError: Toy has no branches 17"),
    ],
)
def test_errors_are_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", *words]) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(sentence)
    assert found.err.count("\n") == 1


def test_damaged_files_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "logs" / attempt(1, 0, "memory").report).write_text("{")
    assert main(["logs", "Toy", "--branch", "1", "--attempt", "1"]) == 0
    found = capsys.readouterr()
    assert found.out == "==> Toy branch 1, attempt 1 of 2, memory, 2020-09-13 12:26:40 UTC\nfirst\n"
    assert "cannot be read" in found.err
    (folder / "logs" / attempt(0, 5).log).write_bytes(b"no gzip")
    assert main(["logs", "Toy", "--branch", "0"]) == 1
    assert capsys.readouterr().err.startswith("LogError: the log ")


# what the ledger knows


@pytest.fixture
def submitted(store: Path, ledger: Ledger, jobs_folder: Path) -> Ledger:
    """A ledger with a job of branch 2, running."""
    ledger.reserve("0a1b", "slurm", str(store / "v1" / "Toy"), jobs_folder / "Toy-0a1b", [JobPlan({2: "d"}, {})])
    ledger.submitted("0a1b", {0: "12_0"})
    ledger.claim_poll("slurm", 0.0)
    ledger.answered("slurm", {"12_0": JobStatus(JobState.RUNNING, in_queue=True, host="node1", started=START)}, 20.0)
    return ledger


@pytest.mark.usefixtures("submitted")
def test_running_job_says_where_it_is(jobs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "Toy", "--branch", "2"]) == 0
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == (
        "Toy branch 2 is in slurm job 12_0, running on node1 since 2020-09-13 12:26:40 UTC; its log comes with its "
        f"end, and what the job itself says is in {jobs_folder / 'Toy-0a1b' / 'job_0.txt'}\n"
    )
    assert main(["logs", "Toy"]) == 0
    found = capsys.readouterr()
    assert found.out == "No attempt has ended yet.\n"
    assert found.err == "Toy has 1 jobs in the queue: 'analysis jobs' lists them\n"


@pytest.mark.usefixtures("submitted", "failed")
def test_earlier_log_of_a_running_branch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "Toy", "--branch", "2"]) == 0
    found = capsys.readouterr()
    assert found.out.splitlines()[1:] == ["third"]
    assert found.err.startswith("Toy branch 2 is in slurm job 12_0, running")


def test_job_that_waits_has_no_host(store: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.reserve("0a1b", "slurm", str(store / "v1" / "Toy"), store / "x", [JobPlan({2: "d"}, {})])
    (job,) = ledger.active_jobs().values()
    assert main(["logs", "Toy", "--branch", "2"]) == 0
    said = capsys.readouterr().err
    assert said.startswith(
        f"Toy branch 2 is in slurm job (without an id yet), submitting since {utc(job.submitted)} UTC; "
    )


def test_job_that_left_no_log(submitted: Ledger, jobs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (job,) = submitted.active_jobs().values()
    submitted.settle(str(Toy().folder), [Result(2, job.number, FAILED, FailureClass.NODE)])
    assert main(["logs", "Toy", "--branch", "2"]) == 1
    place = jobs_folder / "Toy-0a1b" / "job_0.txt"
    assert capsys.readouterr().err == (
        f"NoLogError: Toy branch 2 has no log: slurm job 12_0 left none (node); look at {place}\n"
    )


def test_look_leaves_no_ledger(store: Path, jobs_folder: Path) -> None:
    assert store.is_dir()
    assert main(["logs", "Toy", "--branch", "2"]) == 1
    assert not jobs_folder.exists()


def test_reader_that_has_seen_enough(store: Path) -> None:
    """Such as head: no traceback."""
    text = "".join(f"line {number}\n" for number in range(200_000)).encode()
    joblogs.write(LocalStore(Path("/")), store / "v1" / "Toy", attempt(0, 0), text, None)
    code = "import sys, tests.engine.toys; from analysis.console import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, "logs", "Toy", "--branch", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(timeout=60), said) == (141, b"")
