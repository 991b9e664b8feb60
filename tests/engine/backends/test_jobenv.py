from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.engine.backends import jobenv
from analysis.engine.backends.jobenv import BUNDLES, JobFiles, Places, job_environment
from analysis.engine.backends.jobsandbox import Software
from analysis.engine.backends.settings import BatchSettings
from analysis.engine.storage.endpoints import Endpoint, Endpoints
from analysis.engine.storage.local import LocalStore
from analysis.engine.storage.remote import RemoteStore
from analysis.engine.storage.retry import Patience
from tests.engine.storage.toy_server import ToyServer

HERE = Software(Path(sys.prefix))
SHELL = {
    "LAW__luigi_core__x": "1",
    "MY_VARIABLE": "a b",
    "MY_OTHER": "c",
    "PATH": "/bin",
    "HOME": "/home/me",
    "X509_USER_PROXY": "/tmp/x509up_u1",
    "BEARER_TOKEN": "never seen",
    "X509_CERT_DIR": "/etc/certificates",
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobFiles:
    """The code for jobs, without the time that it takes to copy it."""
    found = JobFiles(tmp_path / "repository-1.tar.gz", tmp_path / "sandbox-2-py3.11.tar.gz")
    for path in found:
        path.write_text(path.name)
    monkeypatch.setattr(jobenv, "job_files", lambda _: found)
    return found


def disk(root: Path) -> Places:
    """The store is a directory."""
    return Places(LocalStore(root), root, needs_disk=True)


@pytest.mark.parametrize("backend", ["htcondor", "slurm"])
def test_shared_file_system(backend: str, files: JobFiles) -> None:
    settings = BatchSettings(forward_env="MY_VARIABLE, NOT_SET, BEARER_TOKEN")
    found, inputs = job_environment(
        backend, Path("/x/spec.json"), HERE, disk(Path("/store")), "0a1b", settings, shell=SHELL
    )
    assert inputs == ()
    assert found == {
        "LAW__luigi_core__x": "1",
        "MY_VARIABLE": "a b",
        "X509_CERT_DIR": "/etc/certificates",
        "ANALYSIS_STORE": "/store",
        "ANALYSIS_JOB_STORES": "local",
        "ANALYSIS_JOB_BACKEND": backend,
        "ANALYSIS_JOB_TOKEN": "0a1b",
        "ANALYSIS_JOB_SPEC": "/x/spec.json",
        "ANALYSIS_JOB_REPOSITORY": str(files.repository),
        "ANALYSIS_JOB_SANDBOX": str(files.sandbox),
    }


def test_htcondor_sends_what_is_not_shared(files: JobFiles, tmp_path: Path) -> None:
    settings, spec = BatchSettings(shared_filesystem=False), tmp_path / "spec.json"
    found, inputs = job_environment("htcondor", spec, HERE, disk(tmp_path / "store"), "0a1b", settings, shell=SHELL)
    assert inputs == (spec, *files)
    assert found["ANALYSIS_JOB_SPEC"] == "spec.json"
    assert found["ANALYSIS_JOB_REPOSITORY"] == files.repository.name  # another file of that path is not taken for it
    assert found["ANALYSIS_JOB_SANDBOX"] == files.sandbox.name
    assert found["ANALYSIS_JOB_PYTHON"] == str(Path(sys.executable).resolve())
    assert not (tmp_path / "store").exists()


def test_slurm_has_it_fetched_from_the_store(files: JobFiles, tmp_path: Path) -> None:
    settings, store, spec = BatchSettings(shared_filesystem=False), tmp_path / "store", tmp_path / "spec.json"
    for _ in range(2):
        found, inputs = job_environment("slurm", spec, HERE, disk(store), "0a1b", settings, shell=SHELL)
        assert (inputs, found["ANALYSIS_JOB_BUNDLES"]) == ((spec,), str(store / BUNDLES))
        assert {path.name: path.read_text() for path in (store / BUNDLES).iterdir()} == {f.name: f.name for f in files}


def servers(*folders: Path) -> tuple[RemoteStore, list[ToyServer]]:
    """A store with an endpoint for each folder."""
    interfaces = [ToyServer(folder) for folder in folders]
    endpoints = [Endpoint(f"toy://host{i}/", lambda i=i: interfaces[i]) for i in range(len(folders))]  # type: ignore[misc]
    return RemoteStore("grid", Endpoints("grid", endpoints, Patience(0.0))), interfaces


def test_slurm_has_it_fetched_from_servers(files: JobFiles, tmp_path: Path) -> None:
    """Uploaded once; a directory for results is not needed."""
    (tmp_path / "server").mkdir()
    store, (interface,) = servers(tmp_path / "server")
    settings, spec = BatchSettings(shared_filesystem=False), tmp_path / "spec.json"
    uploads = []
    for _ in range(2):
        found, inputs = job_environment(
            "slurm", spec, HERE, Places(store, None, needs_disk=False), "0a1b", settings, shell=SHELL
        )
        assert inputs == (spec,)
        assert found["ANALYSIS_JOB_STORES"] == "remote"
        assert found["ANALYSIS_JOB_BUNDLES"] == f"toy://host0//{BUNDLES}"
        assert "ANALYSIS_STORE" not in found
        uploads.append(interface.asked["upload"])
    there = {path.name: path.read_text() for path in (tmp_path / "server").rglob("*") if path.is_file()}
    assert there == {file.name: file.name for file in files}
    assert uploads[0] == uploads[1] > 1


@pytest.mark.parametrize("cache", ["", "/var/cache/analysis"])
def test_htcondor_does_not_send_packages_where_they_are_kept(files: JobFiles, tmp_path: Path, cache: str) -> None:
    """It would send some hundred MB with each job."""
    (tmp_path / "server").mkdir()
    store, _ = servers(tmp_path / "server")
    settings, spec = BatchSettings(shared_filesystem=False), tmp_path / "spec.json"
    shell = {**SHELL, "ANALYSIS_WORKER_CACHE": cache}
    found, inputs = job_environment(
        "htcondor", spec, HERE, Places(store, None, needs_disk=False), "0a1b", settings, shell=shell
    )
    there = [path.name for path in (tmp_path / "server").rglob("*") if path.is_file()]
    if cache:
        assert (inputs, there) == ((spec, files.repository), [files.sandbox.name])
        assert found["ANALYSIS_JOB_BUNDLES"] == f"toy://host0//{BUNDLES}"
    else:
        assert (inputs, there) == ((spec, *files), [])
        assert "ANALYSIS_JOB_BUNDLES" not in found


@pytest.mark.usefixtures("files")
def test_environment_of_a_software_set(tmp_path: Path) -> None:
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    (tmp_path / "python3.99").touch()
    (tmp_path / "environment" / "bin" / "python").symlink_to(tmp_path / "python3.99")
    software = Software(tmp_path / "environment", {"ANALYSIS_SANDBOX": "venv::columnar"})
    settings, spec = BatchSettings(shared_filesystem=False), tmp_path / "spec.json"
    shell = {**SHELL, "ANALYSIS_SANDBOX": "none of it"}
    found, _ = job_environment("htcondor", spec, software, disk(tmp_path), "0a1b", settings, shell=shell)
    assert found["ANALYSIS_JOB_PYTHON"] == str(tmp_path / "python3.99")
    assert found["ANALYSIS_SANDBOX"] == "venv::columnar"
    found, _ = job_environment("htcondor", spec, HERE, disk(tmp_path), "0a1b", settings, shell=shell)
    assert "ANALYSIS_SANDBOX" not in found


@pytest.fixture
def _nothing_is_copied_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For jobs."""
    monkeypatch.setattr(jobenv, "jobs_folder", lambda: tmp_path)
    for one in (jobenv.job_repository, jobenv.job_files):
        one.cache_clear()
    yield
    for one in (jobenv.job_repository, jobenv.job_files):
        one.cache_clear()


@pytest.mark.usefixtures("_nothing_is_copied_yet")
def test_code_is_copied_once(tmp_path: Path) -> None:
    """And as a directory, from which jobs run, with the environment where it is."""
    found = jobenv.job_files(Path(sys.prefix))
    assert found.sandbox == Path(sys.prefix)
    assert found.repository.parent == tmp_path / "bundles"
    assert (found.repository / "analysis" / "engine" / "backends" / "job.sh").is_file()
    assert not (found.repository / "tests").exists()
    assert jobenv.job_files(Path(sys.prefix)) is found
    other = jobenv.job_files(tmp_path)
    assert other.sandbox == tmp_path
    assert other.repository is found.repository


@pytest.mark.usefixtures("_nothing_is_copied_yet")
def test_packages_are_those_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobenv, "batch_settings", lambda: BatchSettings(shared_filesystem=False))
    for name in ("one", "other"):
        packages = tmp_path / name / "lib" / "python3.99" / "site-packages"
        (packages / f"{name}-1.dist-info").mkdir(parents=True)
        (packages / f"{name}.py").touch()
        found = jobenv.job_files(tmp_path / name)
        assert found.sandbox.parent == found.repository.parent == tmp_path / "bundles"
        assert found.sandbox.name.endswith("-py3.99.tar.gz")
        with tarfile.open(found.sandbox) as tar:
            assert tar.getnames() == [f"{name}.py"]
