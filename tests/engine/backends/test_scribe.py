from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.engine.backends import scribe
from analysis.engine.backends.scribe import read_log
from analysis.engine.storage import settings
from tests.engine.backends.batch_jobs import Job, toy_job
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]


def test_long_log_loses_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "_HEAD", 4)
    monkeypatch.setattr(scribe, "_TAIL", 6)
    (tmp_path / "log").write_bytes(b"0123456789")
    assert read_log(tmp_path / "log") == b"0123456789"
    (tmp_path / "log").write_bytes(b"0123456789abcdef")
    assert read_log(tmp_path / "log") == b"0123\n\n[... 6 bytes left out ...]\n\nabcdef"
    assert read_log(tmp_path / "none") == b""


@pytest.fixture
def servers(
    store: Path,  # noqa: ARG001
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Has all outputs on a "server": a directory, by its URL. Its place on the disk."""
    monkeypatch.setattr(settings, "_taken", None)
    folder = tmp_path / "server"
    folder.mkdir()
    configure("grid", base=f"file://{folder}", patience="1s", job_patience="1s", retry_delay="1s")
    configure("outputs", default="wlcg, grid")
    return folder


def remote_job(tmp_path: Path, what: str) -> Job:
    job = toy_job(tmp_path, what)
    elsewhere = {
        "ANALYSIS_STORE": "/nonexistent/store",
        "ANALYSIS_JOB_STORES": "remote",
        "ANALYSIS_JOB_BACKEND": "slurm",
    }
    return replace(job, environment=elsewhere)


def logs(servers: Path) -> dict[int, str]:
    found = {int(path.name.split(".")[0]): path for path in servers.rglob("*.log.gz")}
    return {branch: gzip.decompress(path.read_bytes()).decode() for branch, path in found.items()}


def test_logs_go_to_servers(servers: Path, tmp_path: Path) -> None:
    """Those of branches that end well, fail, or take their process with them; no directory of a store is needed."""
    job = remote_job(tmp_path, "print+bad+crash+pass")
    process = job.start()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    results = {int(p.name.split(".")[0]): p.name.split(".")[3] for p in servers.rglob("*.log.gz")}
    assert results == {0: "ok", 1: "code", 2: "code", 3: "ok"}
    assert "standard error" in logs(servers)[0]
    reports = {int(p.name.split(".")[0]): json.loads(p.read_text()) for p in servers.rglob("*.code.json")}
    assert reports.keys() == {1, 2}
    assert "SIG" in reports[2]["sentence"]
    assert sorted(p.name for p in servers.rglob("toy_*.txt")) == ["toy_0.txt", "toy_3.txt"]
    assert not [p for p in servers.rglob(".*") if p.is_file()]
    assert not Path("/nonexistent").exists()
