"""What jobs run in: what the submitting side finds out, and jobs that start a sandbox."""

from __future__ import annotations

import os
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.jobsandbox import Software, enter_job, identities, software_of, started_kind
from analysis.engine.backends.spec import JobSpec
from analysis.engine.recipes import Recipes
from analysis.engine.sandboxes import outside
from analysis.engine.sandboxes.base import SandboxError
from analysis.engine.sandboxes.environments import VenvSandbox
from tests.engine.backends.batch_jobs import Job, left_over, toy_job
from tests.engine.backends.batch_toys import BatchInput, BatchToy
from tests.engine.sandboxes.test_settings import Write, config

__all__ = ["config"]

pytestmark = pytest.mark.usefixtures("store")

HERE = Path(sys.prefix)


# on the submitting side


@pytest.mark.parametrize(
    "sandbox", ["none", "docker", "docker::image", "apptainer::/image.sif", "venv::/x", "bash::/x"]
)
def test_what_is_started_in_jobs(sandbox: str) -> None:
    """The job itself runs with what this process runs with."""
    assert software_of(BatchToy(sandbox=sandbox), shared_filesystem=False) == Software(HERE)


def test_environment_of_a_software_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VenvSandbox, "directory", Path("/environments/columnar"))
    monkeypatch.setattr(VenvSandbox, "is_here", lambda _: False)
    monkeypatch.setattr(BatchToy, "pinned_list", "columnar")
    active = {outside.ACTIVE: "venv::columnar"}
    assert software_of(BatchToy(sandbox="venv"), shared_filesystem=True) == Software(
        Path("/environments/columnar"), active
    )
    monkeypatch.setattr(VenvSandbox, "is_here", lambda _: True)
    assert software_of(BatchToy(sandbox="venv"), shared_filesystem=True) == Software(HERE, active)


def test_image_in_the_repository(config: Write) -> None:
    """Jobs have a copy of the repository, which has none."""
    config("apptainer_sandbox", {"image": "$ANALYSIS_BASE/sandboxes/{set}.sif"})
    software = software_of(BatchToy(sandbox="apptainer"), shared_filesystem=True)
    image = f"{os.environ['ANALYSIS_BASE']}/sandboxes/analysis.sif"
    assert software == Software(HERE, {"LAW__apptainer_sandbox__image": image})
    assert software_of(BatchToy(sandbox="apptainer"), shared_filesystem=False) == Software(HERE)


@pytest.mark.parametrize(
    ("sandbox", "kind"), [("none", ""), ("venv", ""), ("venv::/x", "venv"), ("docker", "docker"), ("bash::/x", "bash")]
)
def test_kind_of_what_is_started(sandbox: str, kind: str) -> None:
    assert started_kind(BatchToy(sandbox=sandbox)) == kind


def test_python(tmp_path: Path) -> None:
    assert Software(HERE).python == Path(sys.executable).resolve()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/usr/bin/env")
    assert Software(tmp_path).python == Path("/usr/bin/env").resolve()


@pytest.fixture
def scripts(tmp_path: Path) -> list[str]:
    """Two sandboxes that are scripts, and do nothing."""
    paths = [tmp_path / f"{name}.sh" for name in ("one", "other")]
    for path in paths:
        path.write_text(f"# {path.stem}\n")
    return [f"bash::{path}" for path in paths]


def test_identities_of_other_sandboxes(scripts: list[str], config: Write) -> None:
    """A job looks at its own."""
    config("sandboxes", {"BatchInput": scripts[1]})
    one, other = (outside.foreign_identity(task) for task in (BatchToy(sandbox=scripts[0]), BatchInput()))
    assert one.keys() | other.keys() == set(scripts)
    for sandbox in (scripts[0], "none"):
        workflow, recipes = BatchToy(sandbox=sandbox), Recipes()
        recipes.recipe(workflow.branch_task(0))
        assert identities(workflow, recipes) == other


# in the job


@pytest.fixture
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """As job.sh sets them."""
    monkeypatch.setenv("ANALYSIS_BASE", "/job/repository")
    monkeypatch.setenv("PYTHONPATH", "/job/repository:/job/packages")


@pytest.mark.usefixtures("_variables")
def test_packages_of_the_job_are_none_of_the_sandbox(scripts: list[str]) -> None:
    enter_job(BatchToy(sandbox="none"), {})
    assert os.environ["PYTHONPATH"] == "/job/repository:/job/packages"
    enter_job(BatchToy(sandbox=scripts[0]), {})
    assert os.environ["PYTHONPATH"] == "/job/repository"


@pytest.mark.usefixtures("_variables")
def test_sandbox_of_the_job_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(outside.ACTIVE, "venv::columnar")
    enter_job(BatchToy(sandbox="venv"), {})
    assert os.environ["PYTHONPATH"] == "/job/repository:/job/packages"


@pytest.mark.usefixtures("_variables")
def test_a_machine_that_does_not_have_it() -> None:
    with pytest.raises(SandboxError) as error:
        enter_job(BatchToy(sandbox="venv::/nowhere"), {})
    assert str(error.value) == (
        f"job on {socket.gethostname()}: venv::/nowhere: there is no Python in /nowhere: "
        "name the directory of a virtual environment"
    )


def test_identities_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_identities", {})
    enter_job(BatchToy(), {"docker::image": "0a1b"})
    assert outside.foreign_identity(BatchInput(sandbox="docker::image")) == {"docker::image": "0a1b"}


# jobs


def sandboxed(folder: Path, what: str, sandbox: str, memory: int = 0) -> Job:
    """Job of a workflow in a sandbox."""
    job = toy_job(folder, what, memory=memory)
    return replace(job, workflow=BatchToy(what=what, sandbox=sandbox))


def test_failures_inside_are_reported_as_without_a_sandbox(tmp_path: Path, scripts: list[str]) -> None:
    what = {
        "pass": None,
        "bad": (FailureClass.CODE, "IndexError", "list assignment index out of range"),
        "transient": (FailureClass.NODE, "TransientError", "the server has a bad day"),
        "memory": (FailureClass.MEMORY, "MemoryError", ""),
        "exit": (FailureClass.CODE, "SystemExit", "the task ended the process with exit code 3"),
    }
    job = sandboxed(tmp_path, "+".join(what), scripts[0])
    ended = job.run()
    found = {b: (f.kind, f.error, f.sentence) for b, f in ended.failures.items()}
    assert found == {branch: expected for branch, expected in enumerate(what.values()) if expected}
    frames = [re.sub(r":\d+ ", " ", frame).partition(":")[0] for frame in ended.failures[1].frames]
    toys = "tests/engine/backends/batch_toys.py"
    assert frames == [f"{toys} run", f"{toys} do_bad"]
    assert ended.manifests[0].provenance["sandbox"] == scripts[0]
    assert (ended.manifests[0].provenance["backend"], ended.manifests[0].provenance["job"]) == ("slurm", "12_3")
    assert left_over(job) == []


def test_process_that_is_killed_inside(tmp_path: Path, scripts: list[str]) -> None:
    ended = sandboxed(tmp_path, "killed+pass", scripts[0]).run()
    assert (ended.failures[0].kind, ended.failures[0].error) == (FailureClass.ENVIRONMENT, "SandboxError")
    assert ended.results[1] == ["ok"]


def test_too_much_memory_inside(tmp_path: Path, scripts: list[str]) -> None:
    job = sandboxed(tmp_path, "grow+pass", scripts[0], memory=300_000_000)
    ended = job.run()
    assert ended.failures[0].kind is FailureClass.MEMORY
    assert ended.failures[0].sentence.endswith(", and had asked for 300 MB")
    assert ended.results[1] == ["ok"]
    assert left_over(job) == []


def test_job_without_the_sandbox(tmp_path: Path) -> None:
    """It says so once for all branches."""
    ended = sandboxed(tmp_path, "pass+pass", "venv::/nowhere").run()
    assert ended.results == {0: ["environment"], 1: ["environment"]}
    assert {f.error for f in ended.failures.values()} == {"SandboxError"}
    assert len({f.fingerprint() for f in ended.failures.values()}) == 1
    assert ended.failures[0].sentence.startswith(f"job on {socket.gethostname()}: venv::/nowhere: there is no Python")


def test_sandbox_of_a_requirement_is_not_needed(tmp_path: Path, scripts: list[str], config: Write) -> None:
    config("sandboxes", {"BatchInput": scripts[1]})
    job = toy_job(tmp_path, "pass", LAW__sandboxes__BatchInput=scripts[1])

    def edit(spec: JobSpec) -> JobSpec:
        Path(scripts[1].partition("::")[2]).unlink()
        return spec

    assert replace(job, edit=edit).run().results == {0: ["ok"]}
