from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import sys
from pathlib import Path

import pytest

from analysis.engine.backends import preflight
from analysis.engine.backends.base import BackendError
from analysis.engine.backends.preflight import check_limits, check_locks, check_store
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.settings import BatchSettings
from analysis.engine.errors import ParameterError, StoreError
from analysis.engine.sandboxes.base import SandboxError
from analysis.engine.sandboxes.environments import VenvSandbox
from analysis.engine.storage.credentials import CredentialError
from analysis.engine.storage.local import LocalStore
from tests.engine.toys import Toy


def token(payload: object) -> str:
    """A token such as servers issue them: without padding."""
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, payload))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2ln"])


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        (Resources(memory=17 * 10**9), "asks for 17 GB of memory, but max_memory is 16 GB: ask for less with --memory"),
        (Resources(runtime=49 * 3600), "asks for 49 h 0 min of run time, but max_runtime is 48 h 0 min: ask for less"),
    ],
)
def test_more_than_allowed(resources: Resources, sentence: str) -> None:
    with pytest.raises(ParameterError, match=f"^a job of Toy {sentence}"):
        check_limits("Toy", resources, BatchSettings())
    check_limits("Toy", Resources(memory=16 * 10**9, runtime=48 * 3600), BatchSettings())


def test_folder_with_locks(tmp_path: Path) -> None:
    check_locks(tmp_path / "new" / "jobs")
    assert list((tmp_path / "new" / "jobs").iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackendError, match=r"file/jobs is no place .* \(not a directory\): set job_file_dir"):
        check_locks(tmp_path / "file" / "jobs")


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BackendError, match=r"need file locks there \(no locks available\)"):
        check_locks(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(BackendError, match="locks keep nobody out, so jobs could be doubled"):
        check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_store_is_tried(tmp_path: Path) -> None:
    check_store(LocalStore(Path("/")), tmp_path / "v1" / "Toy")
    assert list((tmp_path / "v1" / "Toy").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/Toy cannot be written \(not a directory\): set ANALYSIS_STORE"):
        check_store(LocalStore(Path("/")), tmp_path / "file" / "Toy")


@pytest.mark.usefixtures("store")
def test_all_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(preflight, "jobs_folder", lambda: tmp_path / "jobs")
    copied: list[Path] = []
    monkeypatch.setattr(preflight, "job_files", copied.append)
    for name in ("X509_USER_PROXY", "BEARER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    task, settings = Toy(workflow="slurm", max_runtime="2h"), BatchSettings()
    for seconds, said in ((10_000, ""), (4000, "Toy: the token in BEARER_TOKEN is valid for 67 min only, and a job ")):
        monkeypatch.setenv("BEARER_TOKEN", token({"exp": seconds}))
        monkeypatch.setattr("time.time", lambda: 0.0)
        preflight.check(task, settings)
        found = capsys.readouterr().err
        assert found.startswith(said)
        assert found.count("\n") == bool(said)
    monkeypatch.setenv("BEARER_TOKEN", token({"exp": -1}))
    with pytest.raises(CredentialError):
        preflight.check(task, settings)
    assert set(copied) == {Path(sys.prefix)}


@pytest.mark.usefixtures("store")
def test_environment_that_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any job is submitted."""

    def refuse(_: VenvSandbox) -> Path:
        msg = "venv::analysis cannot be built"
        raise SandboxError(msg)

    monkeypatch.setattr(preflight, "jobs_folder", lambda: tmp_path / "jobs")
    monkeypatch.setattr(VenvSandbox, "directory", property(refuse))
    monkeypatch.setattr(VenvSandbox, "is_here", lambda _: False)
    with pytest.raises(SandboxError):
        preflight.check(Toy(workflow="slurm", sandbox="venv"), BatchSettings())
