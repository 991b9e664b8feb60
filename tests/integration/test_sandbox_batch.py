"""Batch jobs in sandboxes, on the real systems: with a shared file system, and without one."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.batch import system
from tests.integration.batch_queue import until
from tests.integration.batch_sent import Sent, sent
from tests.integration.own_campaign import REPORT, Own, own_files, own_on_disk, own_on_server
from tests.integration.results import check_clean, check_same, check_same_content
from tests.integration.sandbox_fixtures import KINDS, Containers, containers, kind
from tests.integration.test_batch_chain import KERNELS, Place, place
from tests.integration.test_concurrent import manifests
from tests.integration.test_storage_batch import remote
from tests.testbed import System, Testbed
from tests.testbed.fixtures import htcondor, sandboxes, slurm, storage, testbed
from tests.testbed.storage import ROOT_TOKEN, Storage

__all__ = [
    "containers",
    "htcondor",
    "kind",
    "own_files",
    "own_on_disk",
    "own_on_server",
    "sandboxes",
    "sent",
    "slurm",
    "storage",
    "system",
    "testbed",
]

pytestmark = pytest.mark.integration

TOY = "tests.integration.sandbox_batch_toys.SandboxPlaceToy"
SHARED, SENT = True, False
USUAL = [("htcondor", "venv", SENT), ("slurm", "docker", SHARED)]
"""How the chain of an own campaign goes."""
CHAINS = [
    *USUAL,
    ("htcondor", "docker", SENT),
    ("htcondor", "apptainer", SHARED),
    ("slurm", "venv", SHARED),
    ("slurm", "apptainer", SENT),
]
"""How the chain of the demo goes, if all combinations are asked for."""


def configured(containers: Containers, is_shared: bool) -> dict[str, str]:
    """Variables for jobs that find the images; ``ANALYSIS_ENV_DIR`` is not among those that they get."""
    forwarded = ("DOCKER_HOST", "ANALYSIS_WORKER_CACHE", *KERNELS)
    return {
        **containers.variables,
        "LAW__batch__forward_env": ",".join(forwarded),
        "LAW__batch__shared_filesystem": str(is_shared),
        "LAW__batch__output_delay": "2s",
        "LAW__batch__job_files": "tests",
    }


Make = Callable[..., AbstractContextManager[Place]]


@pytest.fixture(scope="module")
def make(testbed: Testbed, containers: Containers, sent: Sent) -> Make:
    """Makes places."""

    @contextmanager
    def made(system: System, is_shared: bool, **settings: str) -> Iterator[Place]:
        usual = {**configured(containers, is_shared), "ANALYSIS_WORKER_CACHE": str(sent.packages)}
        with place(testbed, system, **{**usual, **settings}) as where:
            sent.use(where)
            yield where

    return made


@pytest.mark.exhaustive
@pytest.mark.parametrize(("system", "kind", "is_shared"), CHAINS, indirect=["system", "kind"])
def test_demo(system: System, kind: str, is_shared: bool, make: Make, containers: Containers, demo_store: Path) -> None:
    """Every stage in its own software: the same recipes, numbers and bits."""
    with make(system, is_shared, LAW__batch__job_files="") as where:
        check(where, containers, kind, demo_store, "v1/demo/Report#None", outputs=500, files=10)


@pytest.mark.parametrize(("system", "kind", "is_shared"), USUAL, indirect=["system", "kind"])
def test_own_campaign(
    system: System, kind: str, is_shared: bool, make: Make, containers: Containers, request: pytest.FixtureRequest
) -> None:
    """A file that only the user's machine has; what it names is on a server where that is all that jobs see."""
    own: Own = request.getfixturevalue("own_on_disk" if is_shared else "own_on_server")
    storage: Storage = request.getfixturevalue("storage")
    settings = {**configured(containers, is_shared), **storage.variables, "LAW__batch__job_files": ""}
    settings["LAW__batch__forward_env"] += f",{','.join(storage.variables)}"
    with make(system, is_shared, **settings) as where:
        options = ("--campaign", own.write(where.folder))
        check(where, containers, kind, own.store, REPORT, *options, outputs=200)


def check(
    where: Place,
    containers: Containers,
    kind: str,
    expected: Path,
    last: str,
    *options: str,
    outputs: int,
    files: int = 0,
) -> None:
    """Run the chain into an empty store; more outputs, and ROOT files, than these are compared with those expected."""
    where.law("analysis.tasks.Report", *options, "--sandbox", kind)
    made = manifests(where.store)
    assert last in made
    assert check_same(made, manifests(expected)) > outputs
    assert check_same_content(made, where.store, expected) > files
    check_clean(where.store)
    for key, manifest in made.items():
        backend = where.system.name if manifest.branch is not None else "local"
        assert manifest.provenance["backend"] == backend, key
    ran_in = {key.split("/")[2].partition("#")[0]: made[key].provenance["sandbox"] for key in made}
    assert set(ran_in.values()) == {f"{kind}::{containers.name(kind, s)}" for s in ("columnar", "ml", "stats")}
    assert ran_in["TrainModel"] == f"{kind}::{containers.name(kind, 'ml')}"
    jobs = where.queue.jobs()
    assert ": all: " not in where.law("analysis.tasks.Report", *options, "--sandbox", kind)  # there is nothing to do
    assert where.queue.jobs() == jobs
    assert manifests(where.store) == made
    assert until(lambda: not containers.running())  # docker's daemon removes them after they have ended


def seen(store: Path) -> list[dict[str, Any]]:
    """What the branches of a toy have seen."""
    found = [json.loads(path.read_text()) for path in sorted(store.rglob("place_*.json"))]
    assert found
    return found


@pytest.mark.parametrize("is_shared", [SHARED, SENT], ids=["shared", "sent"])
def test_software(
    testbed: Testbed, system: System, kind: str, is_shared: bool, make: Make, containers: Containers
) -> None:
    """It is that of the set, and the code is that of the job."""
    with make(system, is_shared) as where:
        where.law(TOY, "--sandbox", kind)
        found = seen(where.store)
        made = manifests(where.store)
    assert len(found) == 2
    name = f"{kind}::{containers.name(kind, 'columnar')}"
    for branch in found:
        modules = branch["modules"]
        assert modules.keys() == {"analysis", "law", "numpy", "awkward"}
        assert branch["sandbox"] == name
        assert branch["user"] == pwd.getpwnam(testbed.user).pw_uid
        repository = r"bundles(_\w+)?/repository-\w{16}/" if is_shared else r"/job\.\w{6}/repository/"
        assert re.search(repository, modules["analysis"])
        if kind != "venv":
            assert modules["numpy"].startswith("/opt/environment")
        elif is_shared:
            assert modules["numpy"].startswith(f"{testbed.directory}/environments/")
        else:
            assert re.search(r"/packages_\w+/sandbox-\w{16}-py3\.\d+/", modules["numpy"])
    assert {manifest.provenance["sandbox"] for manifest in made.values()} == {name}
    assert {manifest.provenance["backend"] for manifest in made.values()} == {system.name}
    assert until(lambda: not containers.running())  # docker's daemon removes them after they have ended


@pytest.mark.parametrize(
    ("system", "kind"),
    [
        ("htcondor", "docker"),
        ("slurm", "apptainer"),
        pytest.param("htcondor", "apptainer", marks=pytest.mark.exhaustive),
        pytest.param("slurm", "docker", marks=pytest.mark.exhaustive),
    ],
    indirect=True,
)
def test_outputs_on_a_server(
    testbed: Testbed, system: System, kind: str, storage: Storage, containers: Containers, sent: Sent
) -> None:
    """The credential is there inside, and no directory is made for a store that is not used."""
    settings = configured(containers, SENT)
    settings["LAW__batch__forward_env"] += f",{','.join(storage.variables)}"
    with remote(testbed, system, storage, ROOT_TOKEN, sent, **settings) as there:
        there.place.law(TOY, "--sandbox", kind)
        assert [branch["credentials"] for branch in seen(there.disk)] == [["BEARER_TOKEN_FILE"]] * 2
        assert {m.provenance["sandbox"].partition("::")[0] for m in there.made.values()} == {kind}
    assert not Path("/nonexistent").exists()


def test_an_error_inside(htcondor: System, make: Make) -> None:
    """It is reported as if there were no sandbox."""
    with make(htcondor, SHARED) as where:
        said = where.law(TOY.replace("Place", "Fault"), "--sandbox", "apptainer", code=30)
    assert "code: KeyError: 'nothing'" in said
    assert re.search(r"tests/integration/sandbox_batch_toys.py:\d+ _value: return names", said)
    assert "sandboxes/" not in said.partition("code: KeyError")[2]


@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)
def test_too_much_memory_inside(slurm: System, make: Make, containers: Containers, kind: str) -> None:
    """A job sees the memory of its containers, whose parent may be a daemon."""
    with make(slurm, SHARED, LAW__batch__max_memory="600MB") as where:
        toy = TOY.replace("Place", "Greedy")
        said = where.law(toy, "--sandbox", kind, "--number", "1", "--memory", "600MB", code=30)
    assert re.search(r"memory: the job used \d+ MB, and had asked for 600 MB\n", said)
    assert until(lambda: not containers.running())


FAULTS = {
    "docker": ({"DOCKER_HOST": "unix:///nowhere.sock"}, "docker's daemon at unix:///nowhere.sock cannot be reached"),
    "apptainer": ({"LAW__apptainer_sandbox__image": "/nowhere/{set}.sif"}, "there is no image /nowhere/columnar.sif"),
    "venv::/nowhere": ({}, "there is no Python in /nowhere: name the directory of a virtual environment"),
}


@pytest.mark.parametrize("sandbox", FAULTS)
def test_a_machine_that_does_not_have_it(slurm: System, make: Make, sandbox: str) -> None:
    settings, sentence = FAULTS[sandbox]
    with make(slurm, SENT, **settings) as where:
        said = where.law(TOY, "--sandbox", sandbox, "--number", "1", "--retries", "0", code=30)
        (log,) = where.store.rglob("*.log.gz")
    (line,) = [line for line in said.splitlines() if "SandboxError" in line and "environment:" in line]
    host = socket.gethostname()
    assert line.strip().startswith(f"environment: SandboxError: job on {host}: {sandbox.partition('::')[0]}::")
    assert sentence in line
    assert "1 branch failed for 1 reason" in said
    assert log.name.split(".")[3] == "environment"
    assert os.fspath(where.store) not in line
