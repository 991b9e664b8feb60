from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.engine.backends import tree, worker
from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.failures import Failure
from analysis.engine.backends.runner import Message
from analysis.engine.backends.scribe import Note, Scribe
from analysis.engine.backends.spec import Branch, JobSpec
from analysis.engine.backends.worker import Job, Limits, Supervisor, identify, job_from, main


def test_job_of_slurm() -> None:
    array = {"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    assert identify(array) == ("12_3", 3)
    assert identify({"SLURM_JOB_ID": "17"}) == ("17", 0)


def test_job_of_htcondor(tmp_path: Path) -> None:
    (tmp_path / "ad").write_text('Owner = "x"\nClusterId = 123\nOther.ProcId = 7\nProcId = 4\n')
    assert identify({"_CONDOR_JOB_AD": str(tmp_path / "ad")}) == ("123.4", 4)
    (tmp_path / "ad").write_text("ClusterId = 123\n")
    assert identify({"_CONDOR_JOB_AD": str(tmp_path / "ad")}) == ("", 0)
    assert identify({"_CONDOR_JOB_AD": str(tmp_path / "none")}) == ("", 0)
    assert identify({}) == ("", 0)


def test_job_knows_its_place() -> None:
    job = job_from({"ANALYSIS_JOB_TOKEN": "0a1b", "ANALYSIS_JOB_STARTED": "1600000000"})
    assert job == ("", "0a1b-0", Path("/tmp"), 1.6e9)


MB = 10**6


@pytest.mark.parametrize(
    ("asked", "used", "kind"),
    [
        (0, 10**12, None),
        (1000 * MB, 949 * MB, None),
        (1000 * MB, 950 * MB, FailureClass.MEMORY),  # 5 %
        (10_000 * MB, 9935 * MB, None),
        (10_000 * MB, 9936 * MB, FailureClass.MEMORY),  # 64 MB
    ],
)
def test_limit_of_memory(asked: int, used: int, kind: FailureClass | None) -> None:
    found = Limits(asked, 0, 0.0).exceeded(used, 1e12)
    assert (found.kind if found else None) is kind


@pytest.mark.parametrize(
    ("asked", "now", "kind"),
    [
        (0, 1e12, None),
        (100, 1094.9, None),
        (100, 1095.1, FailureClass.WALLTIME),  # 5 %
        (7200, 8139.9, None),
        (7200, 8140.1, FailureClass.WALLTIME),  # 60 s
    ],
)
def test_limit_of_time(asked: int, now: float, kind: FailureClass | None) -> None:
    found = Limits(0, asked, 1000.0).exceeded(10**12, now)
    assert (found.kind if found else None) is kind


def test_memory_that_is_nearly_full() -> None:
    assert not Limits(0, 0, 0.0).is_nearly_full(10**12)
    assert not Limits(1000, 0, 0.0).is_nearly_full(899)
    assert Limits(1000, 0, 0.0).is_nearly_full(900)


@pytest.mark.parametrize(
    ("error", "kills", "kind"),
    [
        ("SandboxError", 1, FailureClass.MEMORY),
        ("SandboxError", 0, FailureClass.ENVIRONMENT),
        ("ImportError", 1, FailureClass.ENVIRONMENT),
    ],
)
def test_sandbox_that_the_kernel_has_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, kills: int, kind: FailureClass
) -> None:
    """All that is known outside is that it ended without an answer."""
    notes: list[Note] = []
    monkeypatch.setattr(Scribe, "note", lambda _, note: notes.append(note))
    supervisor = Supervisor(
        JobSpec((), "Toy", {}, "v1/Toy", "slurm"), Job("17", "0a1b", tmp_path, 0.0), [Branch(3, "")]
    )
    before = tree.oom_kills()
    monkeypatch.setattr(tree, "oom_kills", lambda: before + kills)
    failure = Failure(FailureClass.ENVIRONMENT, error, "it ended without an answer")
    supervisor._take(Message(3, ended=True, failure=failure.to_json()))
    assert [(note.failure.kind, note.attempt.result) for note in notes if note.failure] == [(kind, kind)]


def test_job_that_cannot_find_out_what_to_do_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANALYSIS_JOB_SPEC", str(tmp_path / "spec.json"))
    monkeypatch.setenv("ANALYSIS_JOB_SCRATCH", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    assert main(["0:0123456789"]) == worker.NO_SPEC
    assert "spec.json, cannot be read (No such file or directory)" in capsys.readouterr().err
    assert not (tmp_path / "scratch").exists()


def test_supervisor_imports_next_to_nothing() -> None:
    code = "import analysis.engine.backends.worker, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"law", "luigi", "numpy", "hashlib", "logging", "subprocess", "sqlite3"}
