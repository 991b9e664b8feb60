"""What the backend does with the answers of Slurm's programs; these are small scripts here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.backends import slurm as module
from analysis.engine.backends.base import (
    Backend,
    BackendError,
    FailureClass,
    JobState,
    QueueFullError,
    SchedulerDownError,
    Submission,
    SubmissionError,
)
from analysis.engine.backends.slurm import Slurm, SlurmSettings

Fake = Callable[[str, str], None]
SETTINGS = SlurmSettings(max_array=10)
ROW = "{}|{}|0|{}|vm|10|N/A|Task.2.tok1\n"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put programs on a PATH that has nothing else of Slurm; each notes its arguments in a file of its name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("bash", "cat", "env", "sleep", "touch"):
        (folder / tool).symlink_to(shutil.which(tool) or "/missing")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(module, "PROGRAMS", ("sbatch", "squeue"))

    def write(name: str, text: str) -> None:
        path = folder / name
        path.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >> {tmp_path}/{name}.txt\n{text}\n')
        path.chmod(0o755)

    return write


@pytest.fixture
def jobs(tmp_path: Path) -> Submission:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "job.sh").write_text("true\n")
    return Submission("tok1", "Task", folder, folder / "job.sh", ("0:a", "1:b"))


def answer(fake: Fake, name: str, text: str, code: int = 0) -> None:
    """Let a program print something, on the channel that goes with the code."""
    fake(name, f"cat {'>&2' if code else ''} <<'EOF'\n{text.rstrip()}\nEOF\nexit {code}")


def test_is_a_backend() -> None:
    backend: Backend = Slurm(SETTINGS)
    assert (backend.name, backend.max_jobs) == ("slurm", 10)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("MaxArraySize = 1001\nMaxJobCount = 20000", 1001),
        ("MaxArraySize = 20001\nMaxJobCount = 20000", 20000),
        ("MaxArraySize = 1001\nMaxJobCount = 20000\nSchedulerParameters = a,max_array_tasks=500,b", 500),
    ],
)
def test_most_jobs(fake: Fake, printed: str, expected: int) -> None:
    answer(fake, "scontrol", printed)
    assert Slurm(SlurmSettings()).max_jobs == expected


def test_arrays_are_switched_off(fake: Fake) -> None:
    answer(fake, "scontrol", "MaxArraySize = 0\nMaxJobCount = 20000")
    with pytest.raises(BackendError, match="set max_array"):
        _ = Slurm(SlurmSettings()).max_jobs


def test_submit(fake: Fake, jobs: Submission, tmp_path: Path) -> None:
    answer(fake, "sbatch", "Welcome to the cluster!\n1234;cluster")
    assert Slurm(SETTINGS).submit(jobs) == ["1234_0", "1234_1"]
    assert (tmp_path / "sbatch.txt").read_text().split() == ["--parsable", str(jobs.folder / "job.sbatch")]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", SchedulerDownError),
        ("Batch job submission failed: Socket timed out on send/recv operation", SchedulerDownError),
        ("Batch job submission failed: Zero Bytes were transmitted or received", SchedulerDownError),
        ("Batch job submission failed: Protocol authentication error", SchedulerDownError),
        ("QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates", QueueFullError),
        ("AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates", QueueFullError),
        ("AssocGrpSubmitJobsLimit\nsbatch: error: Batch job submission failed: Job violates", QueueFullError),
        ("QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job violates", SubmissionError),
        ("Batch job submission failed: Requested node configuration is not available", SubmissionError),
        ("Batch job submission failed: Invalid qos specification", SubmissionError),
        ("Batch job submission failed: Requested time limit is invalid (missing or exceeds)", SubmissionError),
    ],
)
def test_refused(fake: Fake, jobs: Submission, words: str, error: type[BackendError]) -> None:
    answer(fake, "sbatch", f"sbatch: error: {words}", 1)
    with pytest.raises(error) as raised:
        Slurm(SETTINGS).submit(jobs)
    assert type(raised.value) is error
    for line in words.splitlines():
        assert line.removeprefix("sbatch: error: ") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_partition(fake: Fake, jobs: Submission) -> None:
    answer(fake, "sbatch", "sbatch: error: Batch job submission failed: Invalid partition name specified", 1)
    answer(fake, "sinfo", "main\nlong\n")
    answer(fake, "squeue", "")
    site = SlurmSettings(partition="mian", max_array=10)
    with pytest.raises(SubmissionError, match=r"did you mean main\? \(there are long, main\)"):
        Slurm(site).submit(jobs)
    with pytest.raises(BackendError, match=r"has no partition mian; did you mean main\?"):
        Slurm(site).check()


def test_too_long(fake: Fake, jobs: Submission) -> None:
    words = "Pathname of a file, directory or other parameter too long"
    answer(fake, "sbatch", f"sbatch: error: Batch job submission failed: {words}", 1)
    with pytest.raises(SubmissionError, match=r"too long; the batch script, .*, has 0\.0 MB"):
        Slurm(SETTINGS).submit(jobs)


def test_number_of_jobs(fake: Fake, jobs: Submission, tmp_path: Path) -> None:
    answer(fake, "sbatch", "1")
    with pytest.raises(SubmissionError, match="between 1 and 1 jobs, not 2"):
        Slurm(SlurmSettings(max_array=1)).submit(jobs)
    assert not (tmp_path / "sbatch.txt").exists()


def test_no_room(fake: Fake, jobs: Submission, tmp_path: Path) -> None:
    """Sbatch would wait two minutes; it is stopped, and then Slurm is asked whether it was too late for that."""
    words = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"
    fake("sbatch", f"echo '{words}' >&2; sleep 600; touch {tmp_path}/submitted")
    answer(fake, "squeue", "")
    answer(fake, "sacct", "")
    with pytest.raises(QueueFullError, match="temporarily unable to accept job"):
        Slurm(SETTINGS).submit(jobs)
    assert not (tmp_path / "submitted").exists()
    answer(fake, "squeue", ROW.format("12_0", "PENDING", "Resources"))
    assert Slurm(SETTINGS).submit(jobs) == ["12_0", "12_1"]


def test_no_answer(fake: Fake, jobs: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    for name in ("sbatch", "squeue"):
        fake(name, "sleep 600")
    with pytest.raises(SchedulerDownError, match="not known whether there are jobs"):
        Slurm(SETTINGS).submit(jobs)
    with pytest.raises(SchedulerDownError, match="squeue took more than"):
        Slurm(SETTINGS).query(["1_0"], 0)


def test_no_id(fake: Fake, jobs: Submission) -> None:
    answer(fake, "sbatch", "Submitted to somewhere")
    with pytest.raises(SchedulerDownError, match="gave no job id but Submitted to somewhere"):
        Slurm(SETTINGS).submit(jobs)


def test_no_slurm(fake: Fake, jobs: Submission) -> None:
    fake("squeue", "")
    with pytest.raises(BackendError, match="Slurm's sbatch cannot be found in PATH"):
        Slurm(SETTINGS).check()
    with pytest.raises(BackendError, match="sbatch cannot be found in PATH"):
        Slurm(SETTINGS).submit(jobs)


def test_accounting_has_to_answer_if_it_is_on(fake: Fake) -> None:
    for name in ("sbatch", "squeue"):
        fake(name, "")
    answer(fake, "sinfo", "main")
    answer(fake, "sacct", "sacct: error: Problem talking to the database: Connection refused", 1)
    Slurm(SlurmSettings()).check()
    with pytest.raises(BackendError, match="does not answer, while section slurm of the profile says accounting = on"):
        Slurm(SlurmSettings(accounting="on")).check()


def test_environment_of_the_programs(fake: Fake, jobs: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that would hide jobs, or change them; what a user sets as a default counts if nothing else is said."""
    for name in ("SQUEUE_PARTITION", "SBATCH_EXPORT", "SBATCH_PARTITION", "SBATCH_QOS", "SECRET", "SLURM_CONF"):
        monkeypatch.setenv(name, f"mine-{name}")
    fake("sbatch", "env > sbatch.env; echo 12")
    Slurm(SlurmSettings(partition="main", cluster="east", max_array=10)).submit(jobs)
    found = (jobs.folder / "sbatch.env").read_text()
    assert "mine-SLURM_CONF" in found
    assert "mine-SBATCH_QOS" in found
    assert "SLURM_CLUSTERS=east" in found
    assert not [name for name in ("SQUEUE_PARTITION", "SBATCH_EXPORT", "SBATCH_PARTITION", "SECRET") if name in found]
    monkeypatch.chdir(jobs.folder)
    fake("squeue", "env > squeue.env")
    Slurm(SlurmSettings(accounting="off")).query(["1_0"], 0)
    found = (jobs.folder / "squeue.env").read_text()
    assert not [name for name in ("SQUEUE_PARTITION", "SBATCH_QOS", "SECRET") if name in found]


def test_query(fake: Fake, tmp_path: Path) -> None:
    """Accounting is asked, once, only if jobs ended."""
    answer(fake, "squeue", ROW.format("12_0", "RUNNING", "None"))
    answer(fake, "sacct", "12_1|TIMEOUT|0:0|None|vm|10|20|1G||Task.2.tok1\n")
    backend = Slurm(SETTINGS)
    assert backend.query([], 0) == {}
    assert not (tmp_path / "squeue.txt").exists()
    assert backend.query(["12_0"], 0)["12_0"].state is JobState.RUNNING
    assert not (tmp_path / "sacct.txt").exists()
    found = backend.query(["12_0", "12_1", "12_2", "13_0"], 1795241602)
    assert {job: status.failure for job, status in found.items()} == {"12_0": None, "12_1": FailureClass.WALLTIME}
    asked = (tmp_path / "sacct.txt").read_text().splitlines()
    assert asked.count("--jobs") == 1
    assert "12,13" in asked


def test_query_without_accounting(fake: Fake, tmp_path: Path) -> None:
    answer(fake, "squeue", ROW.format("12_0", "FAILED", "NonZeroExitCode").replace("|0|", "|256|"))
    answer(fake, "sacct", "Slurm accounting storage is disabled", 1)
    backend = Slurm(SETTINGS)
    for _ in range(2):
        assert backend.query(["12_0", "12_1"], 0)["12_0"].exit_code == 1
    assert (tmp_path / "sacct.txt").read_text().count("--jobs") == 1  # it is not asked again
    assert backend.find("tok1", 0) == {0: "12_0", 1: "12_1"}
    answer(fake, "squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1)
    with pytest.raises(SchedulerDownError, match=r"Slurm does not answer: Unable to contact"):
        backend.query(["12_0"], 0)


def test_find(fake: Fake) -> None:
    answer(fake, "squeue", ROW.format("12_0", "RUNNING", "None"))
    answer(fake, "sacct", "11|CANCELLED by 1|0:0|None||10|20|1G||Task.3.tok0\n")
    backend = Slurm(SETTINGS)
    assert backend.find("tok1", 0) == {0: "12_0", 1: "12_1"}
    assert backend.find("tok0", 0) == {0: "11_0", 1: "11_1", 2: "11_2"}
    assert backend.find("tok", 0) == {}
    answer(fake, "sacct", "sacct: error: Problem talking to the database: Connection refused", 1)
    with pytest.raises(SchedulerDownError, match="cannot be looked up"):
        backend.find("tok1", 0)


def test_cancel(fake: Fake, tmp_path: Path) -> None:
    fake("scancel", "")
    Slurm(SETTINGS).cancel([f"12_{number}" for number in range(1200)] + ["13_1"])
    asked = " ".join((tmp_path / "scancel.txt").read_text().split())
    assert asked.count("12_[") == 3
    assert "13_[1]" in asked
    answer(fake, "scancel", "scancel: error: Kill job error on job id 12_1: Invalid job id specified", 1)
    Slurm(SETTINGS).cancel(["12_1"])
    answer(
        fake, "scancel", "scancel: error: Kill job error on job id 12_1: Job/step already completing or completed", 1
    )
    Slurm(SETTINGS).cancel(["12_1"])
    answer(fake, "scancel", "scancel: error: Kill job error on job id 12_1: Access/permission denied", 1)
    with pytest.raises(BackendError, match="Access/permission denied") as refused:
        Slurm(SETTINGS).cancel(["12_1"])
    assert not isinstance(refused.value, SchedulerDownError)
    answer(fake, "scancel", "scancel: error: Kill job error on job id 5: Unable to contact slurm controller", 1)
    with pytest.raises(SchedulerDownError):
        Slurm(SETTINGS).cancel(["12_1"])


def test_nothing_to_cancel(fake: Fake, tmp_path: Path) -> None:
    fake("scancel", "")
    Slurm(SETTINGS).cancel([])
    assert not (tmp_path / "scancel.txt").exists()
