"""Docker and Apptainer of the testbed: their images are the software sets, and nothing of them stays behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import analysis.tasks as chain
from analysis.engine.pins import read_pins
from analysis.engine.task import AnalysisTask
from tests.testbed import CHECKOUT, Testbed
from tests.testbed.sandboxes import Kind, Sandboxes, Set
from tests.testbed.test_testbed import processes_of

pytestmark = pytest.mark.integration

every_image = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("docker", "apptainer") for name in ("columnar", "ml", "stats")]
)
ENGINE = {"law", "luigi", "XRootD.client", "pycurl", "aiohttp", "fsspec_xrootd", "uproot", "pyarrow.parquet", "rich"}
LOOK = """
import importlib, importlib.metadata, json, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
packages = {d.name.lower().replace("_", "-").replace(".", "-"): d.version for d in importlib.metadata.distributions()}
print(json.dumps([sys.prefix, importlib.util.find_spec("analysis") is None, packages]))
"""


def preloaded(name: Set) -> set[str]:
    """Modules that the stages of a software set import."""
    stages = (stage for stage in vars(chain).values() if isinstance(stage, type) and issubclass(stage, AnalysisTask))
    return {module for stage in stages if stage.pinned_list == name for module in stage.preload}


def list_hash(name: Set) -> str:
    line = ["bash", str(CHECKOUT / "sandboxes" / "environment.sh"), "--hash", name]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def docker(sandboxes: Sandboxes, *arguments: str) -> str:
    return sandboxes.testbed.succeed(sandboxes.programs / "docker", *arguments)


@every_image
def test_image_has_its_set_and_nothing_else(sandboxes: Sandboxes, kind: Kind, name: Set) -> None:
    said = sandboxes.run(kind, name, "python", "-c", LOOK, *sorted(ENGINE | preloaded(name)))
    prefix, without_project, found = json.loads(said.splitlines()[-1])
    pins = read_pins(CHECKOUT / "sandboxes" / f"{name}.txt")
    lines = pins.path.read_text().splitlines()
    everywhere = {line.partition("==")[0] for line in lines if "==" in line and ";" not in line}
    assert prefix == "/opt/environment"
    assert without_project
    assert found.items() <= pins.versions.items()
    assert everywhere <= found.keys()


@every_image
def test_image_says_what_it_was_made_of(sandboxes: Sandboxes, kind: Kind, name: Set) -> None:
    image = sandboxes.image(kind, name)
    if kind == "docker":
        labels = json.loads(docker(sandboxes, "image", "inspect", "--format", "{{json .Config.Labels}}", image))
    else:
        said = sandboxes.testbed.succeed(sandboxes.programs / "apptainer", "--silent", "inspect", "--json", image)
        labels = json.loads(said)["data"]["attributes"]["labels"]
    assert {key: labels[key] for key in ("analysis.set", "analysis.pins")} == {
        "analysis.set": name,
        "analysis.pins": list_hash(name),
    }
    assert list_hash(name) in image


def test_image_keeps_nothing_of_the_site(sandboxes: Sandboxes) -> None:
    """Where packages came from, and what was trusted for it, is in no layer and no file."""
    history = docker(sandboxes, "history", "--no-trunc", sandboxes.image("docker", "ml"))
    assert "://" not in history
    for kind in ("docker", "apptainer"):
        assert sandboxes.run(kind, "ml", "sh", "-c", "ls -A /mnt /opt/environments").count("\n") == 4
    assert not [n for n in ("certificates", "uv.toml", "pip.conf") if (sandboxes.directory / "build" / n).exists()]


def test_up_again_changes_nothing(sandboxes: Sandboxes) -> None:
    def state() -> list[object]:
        built = sorted((path.name, path.lstat().st_mtime_ns) for path in (sandboxes.directory / "images").iterdir())
        return [sandboxes.processes(), built, docker(sandboxes, "images", "--no-trunc", "--quiet")]

    before = state()
    assert list(sandboxes.processes()) == ["dockerd"]
    sandboxes.start()
    assert state() == before


def test_a_crash_is_repaired(sandboxes: Sandboxes) -> None:
    before = sandboxes.processes()
    sandboxes.kill("dockerd")
    sandboxes.start()
    assert sandboxes.processes().keys() == before.keys()
    assert sandboxes.processes() != before
    assert sandboxes.run("docker", "ml", "true") == ""


@pytest.mark.parametrize("kill", [False, True])
def test_down_leaves_nothing(sandboxes: Sandboxes, kill: bool) -> None:
    docker(sandboxes, "run", "--detach", "--rm", "--network", "host", sandboxes.image("docker", "ml"), "sleep", "7777")
    running = [line for line in processes_of(Path("/usr"), Path("/")) if line.startswith("sleep 7777")]
    assert len(running) == 1
    try:
        (sandboxes.kill if kill else sandboxes.stop)()
        assert not [line for line in processes_of(Path("/usr"), Path("/")) if line.startswith("sleep 7777")]
        assert processes_of(sandboxes.directory) == []
        if kill:
            assert str(sandboxes.directory) not in Path("/proc/mounts").read_text()
    finally:
        sandboxes.start()
    assert sandboxes.is_up()
    assert (sandboxes.directory / "run" / "dockerd.pid").read_text() == str(sandboxes.processes()["dockerd"])


def test_down_waits_for_a_daemon_that_is_dying(sandboxes: Sandboxes) -> None:
    os.kill(sandboxes.processes()["dockerd"], 15)
    sandboxes.restart()
    assert sandboxes.is_up()
    assert (sandboxes.directory / "run" / "dockerd.pid").exists()


@pytest.fixture
def bare(testbed: Testbed, sandboxes: Sandboxes) -> Path:
    """The recipes with an empty list, and the certificates of this machine, for the user."""
    assert sandboxes.is_up()
    folder = testbed.scratch("recipes")
    for name in ("Dockerfile", "apptainer.def", "environment.sh", "image.sh"):
        shutil.copy(CHECKOUT / "sandboxes" / name, folder)
    (folder / "ml.txt").write_text("# nothing\n\n")
    (folder / "mnt").mkdir()
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(certificates, folder / "mnt" / "certificates")
    (folder / "mnt" / "certificates").chmod(0o644)
    return folder


def test_user_builds_for_apptainer(testbed: Testbed, sandboxes: Sandboxes, bare: Path) -> None:
    """From a base to an image, with the definition as it is, by a user without rights."""
    apptainer, base = sandboxes.programs / "apptainer", sandboxes.directory / "base.sif"
    arguments = ["--bind", f"{bare}/mnt:/mnt"]
    arguments += [f"--build-arg={argument}" for argument in ("bootstrap=localimage", f"base={base}", "set=ml")]
    settings = ["--quiet", "--config", str(sandboxes.directory / "build.conf")]
    build: list[str | Path] = [apptainer, *settings, "build", *arguments, "ml.sif", "apptainer.def"]
    testbed.succeed(*build, environment={"APPTAINER_TMPDIR": str(bare)}, folder=bare)
    look = "import sys; print(sys.prefix)"
    run: list[str | Path] = [apptainer, "--silent", "exec", "ml.sif"]
    assert testbed.succeed(*run, "python", "-c", look, folder=bare) == "/opt/environment\n"
    assert "/build" not in testbed.succeed(*run, "find", "/", "-maxdepth", "1", folder=bare).splitlines()


def test_wrong_hash_builds_no_image(testbed: Testbed, sandboxes: Sandboxes, bare: Path) -> None:
    arguments = ["--network=host", "--build-arg=BASE=analysis/base:bookworm", "--build-arg=SET=ml", "--tag=wrong"]
    for pins in ("0123456789ab", ""):
        build: list[str | Path] = [sandboxes.programs / "docker", "build", *arguments, f"--build-arg=PINS={pins}", "."]
        done = testbed.as_user(*build, environment={"DOCKER_BUILDKIT": "1"}, folder=bare)
        assert done.returncode != 0
        assert f"ml.txt has the hash 01ba4719c80b, not '{pins or 'nothing'}'" in done.stdout + done.stderr
    assert docker(sandboxes, "images", "--quiet", "wrong") == ""
