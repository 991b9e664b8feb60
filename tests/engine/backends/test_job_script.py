"""``job.sh``: what it finds, and what it says about what it does not find."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.bundle import Bundle, repository_bundle
from analysis.engine.backends.jobenv import JOB_SCRIPT
from tests.engine.backends.batch_jobs import REPOSITORY, Job, toy_job

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def job(store: Path, tmp_path: Path) -> Job:  # noqa: ARG001
    """A job of one good branch."""
    return toy_job(tmp_path, "pass")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The repository."""
    return repository_bundle(REPOSITORY, tmp_path_factory.mktemp("bundles"), packed=True)


def refused(job: Job, **environment: str) -> tuple[int, str]:
    """Exit code and message of a job with another environment."""
    ended = replace(job, environment=environment).run()
    assert (ended.results, len(ended.output.splitlines())) == ({}, 1)
    assert [path.name for path in job.folder.iterdir() if path.name.startswith("job.")] == []
    host, _, sentence = ended.output.strip().partition(": ")
    assert host == f"job on {os.uname().nodename}"
    return ended.code, sentence


def test_python_that_is_not_there(job: Job) -> None:
    assert refused(job, ANALYSIS_JOB_PYTHON="/no/python") == (80, "the Python /no/python is not on this machine")
    assert refused(job, ANALYSIS_JOB_PYTHON=str(job.folder))[0] == 80


def test_repository_that_is_not_there(job: Job) -> None:
    assert refused(job, ANALYSIS_JOB_REPOSITORY="/no/repository") == (
        81,
        "the repository /no/repository is not on this machine",
    )
    assert refused(job, ANALYSIS_JOB_REPOSITORY="repository-01.tar.gz")[0] == 81
    assert refused(job, ANALYSIS_JOB_REPOSITORY="") == (81, "ANALYSIS_JOB_REPOSITORY is not set")


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_repository_that_is_damaged(job: Job, bundle: Bundle, damage: str) -> None:
    file = job.folder / bundle.path.name
    job.folder.mkdir()
    content = bundle.path.read_bytes()
    file.write_bytes(content[:-100] if damage == "cut" else gzip.compress(gzip.decompress(content) + b"\0"))
    code, sentence = refused(job, ANALYSIS_JOB_REPOSITORY=file.name)
    assert (code, sentence) == (81, f"the bundle {file} is damaged: submit again")


def test_sandbox_that_is_not_there(job: Job) -> None:
    assert refused(job, ANALYSIS_JOB_SANDBOX="/no/env") == (82, "the sandbox /no/env is not on this machine")
    assert refused(job, ANALYSIS_JOB_SANDBOX="sandbox-01-py3.11.tar.gz")[0] == 82


def test_sandbox_that_is_damaged(job: Job) -> None:
    job.folder.mkdir()
    file = job.folder / f"sandbox-01-py{VERSION}.tar.gz"
    file.write_bytes(b"no archive")
    code, sentence = refused(job, ANALYSIS_JOB_SANDBOX=file.name)
    assert (code, sentence) == (82, f"the bundle {file} is damaged: submit again")


def test_sandbox_for_another_python(job: Job) -> None:
    job.folder.mkdir()
    with tarfile.open(job.folder / "sandbox-01-py3.99.tar.gz", "w:gz"):
        pass
    code, sentence = refused(job, ANALYSIS_JOB_SANDBOX="sandbox-01-py3.99.tar.gz", ANALYSIS_JOB_PYTHON=sys.executable)
    assert (code, sentence) == (80, f"there is no Python 3.99 on this machine, as {sys.executable} or python3.99")


def test_description_that_is_not_there(job: Job) -> None:
    code, sentence = refused(job, ANALYSIS_JOB_SPEC="/no/other.json")
    assert (code, sentence) == (83, "the description of the job, /no/other.json, is not on this machine")


def test_description_that_is_damaged(job: Job) -> None:
    (Path(job.workflow.store.root) / "bad.json").write_text("{")
    code, sentence = refused(job, ANALYSIS_JOB_SPEC=str(Path(job.workflow.store.root) / "bad.json"))
    assert (code, "cannot be read" in sentence) == (83, True)


def test_scratch_directory_that_cannot_be_written(job: Job, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mktemp").write_text("#!/bin/sh\nexit 1\n")
    (tools / "mktemp").chmod(0o755)
    code, sentence = refused(job, PATH=f"{tools}:{os.environ['PATH']}")
    assert (code, sentence.startswith("no scratch directory can be made, the last one tried was /tmp")) == (84, True)


def test_store_that_is_not_there(job: Job) -> None:
    assert refused(job, ANALYSIS_STORE="/no/store") == (85, "the store /no/store is not on this machine")
    assert refused(job, ANALYSIS_STORE="") == (85, "the store (ANALYSIS_STORE is not set) is not on this machine")


@pytest.mark.parametrize("place", ["working directory", "store", "path"])
def test_bundles_are_found_and_unpacked(job: Job, bundle: Bundle, place: str) -> None:
    # the module of the toys is not part of the bundle: that the job says so shows that it runs from there
    wanted = bundle.path.name
    if place == "path":
        wanted = str(bundle.path)
    else:
        folder = Path(job.folder) if place == "working directory" else Path(job.workflow.store.root) / ".bundles"
        folder.mkdir()
        (folder / wanted).hardlink_to(bundle.path)
    ended = replace(job, environment={"ANALYSIS_JOB_REPOSITORY": wanted}).run()
    assert ended.failures[0].kind is FailureClass.ENVIRONMENT
    assert ended.failures[0].sentence == "No module named 'tests'"
    assert "/repository/analysis/engine/backends/runner.py" in ended.logs[0]


def sandbox(folder: Path, marker: str) -> Path:
    """A bundle of links to the packages of this environment, and a module that prints."""
    file = folder / f"sandbox-01-py{VERSION}.tar.gz"
    packages = Path(next(path for path in sys.path if path.endswith("site-packages")))
    (folder / "law.py").write_text(f"raise ImportError('law of {marker}', name='law')")
    with tarfile.open(file, "w:gz") as tar:
        tar.add(folder / "law.py", "law.py")
        for path in packages.iterdir():
            if path.name not in {"law", "__pycache__"}:
                link = tarfile.TarInfo(path.name)
                link.type, link.linkname = tarfile.SYMTYPE, str(path)
                tar.addfile(link)
    return file


def test_sandbox_is_unpacked_and_kept(job: Job, tmp_path: Path) -> None:
    job.folder.mkdir()
    file, cache = sandbox(job.folder, "the bundle"), tmp_path / "cache"
    environment = {
        "ANALYSIS_JOB_SANDBOX": file.name,
        "ANALYSIS_JOB_PYTHON": str(Path(sys.executable).resolve()),
        "ANALYSIS_WORKER_CACHE": str(cache),
    }
    for _ in range(2):
        ended = replace(job, environment=environment).run()
        assert (ended.failures[0].kind, ended.failures[0].sentence) == (FailureClass.ENVIRONMENT, "law of the bundle")
        assert [path.name for path in cache.iterdir()] == [file.name.removesuffix(".tar.gz")]
        (cache / f"sandbox-01-py{VERSION}" / "marker").touch()
    assert (cache / f"sandbox-01-py{VERSION}" / "marker").exists()
    environment["ANALYSIS_WORKER_CACHE"] = ""
    assert replace(job, environment=environment).run().failures[0].sentence == "law of the bundle"


def test_other_jobs_of_the_machine_unpack_at_the_same_time(job: Job, tmp_path: Path) -> None:
    job.folder.mkdir()
    file = sandbox(job.folder, "the bundle")
    environment = {
        "ANALYSIS_JOB_SANDBOX": file.name,
        "ANALYSIS_JOB_PYTHON": str(Path(sys.executable).resolve()),
        "ANALYSIS_WORKER_CACHE": str(tmp_path / "cache"),
    }
    running = [replace(job, environment=environment).start() for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [1, 1, 1]
    for process in running:
        process.communicate()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [file.name.removesuffix(".tar.gz")]


def test_nothing_of_the_shell_gets_into_the_job(job: Job, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "law.py").write_text("raise SystemExit('wrong law')")
    ended = replace(job, environment={"PYTHONPATH": str(bad), "PYTHONHOME": str(bad)}).run()
    assert (ended.code, ended.results) == (0, {0: ["ok"]})


def test_script_is_clean() -> None:
    done = subprocess.run(["bash", "-n", JOB_SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
