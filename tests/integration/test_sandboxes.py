"""Every kind of sandbox, for real: what tasks see, what comes out, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine.sandboxes.runs import SOON, Box, until
from tests.engine.sandboxes.test_outside import ERRORS
from tests.integration.sandbox_fixtures import Containers, box, containers, kind
from tests.testbed.fixtures import sandboxes

__all__ = ["box", "containers", "kind", "sandboxes"]

pytestmark = pytest.mark.integration


def test_it_runs_there(box: Box, kind: str) -> None:
    seen = box.seen()
    assert seen["sandbox"].startswith(f"{kind}::")
    assert seen["prefix"] != os.environ.get("VIRTUAL_ENV")
    assert seen["user"] == [os.getuid(), os.getgid()]
    manifest = json.loads(next(box.store.rglob("manifests/*.json")).read_text())
    assert manifest["provenance"]["sandbox"] == seen["sandbox"]
    assert manifest["provenance"]["host"] == socket.gethostname()
    output = next(box.store.rglob("seen.json"))
    assert (output.stat().st_uid, output.stat().st_gid) == (os.getuid(), os.getgid())


def test_it_is_started_once(box: Box, containers: Containers) -> None:
    """Defect 9 of law: one more start, for the variables."""
    with containers.counted() as count:
        box.succeed("SandboxToys", "--what", "see+see+see")
    seen = [json.loads(path.read_text()) for path in box.store.rglob("seen_*.json")]
    assert len(seen) == 3
    assert len({found["pid"] for found in seen}) == 1
    assert count() == (1 if box.sandbox == "docker" else 0)


def test_variables_are_not_expanded(box: Box) -> None:
    """Defect 2 of law: quotes vanish, and backticks are executed."""
    value = """{"a": "`touch oops`", 'b': $HOME \\ }"""
    box.variables["ANALYSIS_ODD"] = value
    assert box.seen()["variables"]["ANALYSIS_ODD"] == value


def test_secrets_are_in_no_command_line(box: Box, containers: Containers) -> None:
    box.variables["BEARER_TOKEN"] = "secret-0123456789"
    with box.waiting("SandboxToy", "wait") as run:
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in run.left()]
        assert lines
        assert not [line for line in lines if b"secret-0123456789" in line]
        assert "secret-0123456789" not in containers.described()


def test_output_is_shown(box: Box) -> None:
    said = box.succeed("SandboxToy", "--what", "print")
    assert "to standard output" in said
    assert "to standard error" in said


@pytest.mark.parametrize(("what", "sentence"), ERRORS)
def test_errors_cross(box: Box, what: str, sentence: str) -> None:
    """Defect 5 of law: only an exit code crosses."""
    assert sentence in box.fail("SandboxToy", "--what", what)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_nothing_is_left(box: Box, containers: Containers, number: signal.Signals, workers: str) -> None:
    """Defect 4 of law: what runs inside goes on, and writes its outputs later."""
    with box.waiting("SandboxToys", "wait+wait", "--workers", workers) as run:
        # the first one inside, that of each task with its child, and a process of luigi for the second worker
        assert len(run.left()) >= 3 * int(workers)
        os.kill(run.process.pid, number)
        assert until(lambda: not run.left() and not containers.running(), SOON), (run.left(), containers.running())
    assert not list(box.store.rglob("seen_*.json"))


# containers


def test_a_token_is_renewed(box: Box) -> None:
    """What renews it replaces the file; a mount would show the old one for ever."""
    token = box.folder / "token"

    def renew(text: str) -> None:
        new = box.folder / "token.new"
        new.write_text(text)
        new.chmod(0o600)
        new.rename(token)

    renew("first")
    box.variables["BEARER_TOKEN_FILE"] = str(token)
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(box.succeed, "SandboxToy", "--what", "token")
        assert until(lambda: (box.place / "began").exists() or run.done())
        renew("second")
        run.result()
    assert json.loads(next(box.store.rglob("seen.json")).read_text()) == ["first", "second"]


def test_an_output_that_nobody_would_see(box: Box, kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Defect 6 of law: success, and no file."""
    outside = tmp_path_factory.mktemp("outside")
    box.variables["TOY_OUTSIDE"] = str(outside)
    said = box.fail("OutsideToy")
    if kind == "venv":
        assert "OutputError" in said
    else:
        assert f"OutsideToy writes {outside}/lost.txt, which {kind}::" in said
        assert f"add '{outside}: rw' to section {kind}_sandbox_volumes of law.cfg" in said


def test_an_image_that_is_not_there(box: Box, kind: str) -> None:
    names = {"venv": "/nowhere", "docker": "nobody/nothing", "apptainer": "/nowhere.sif"}
    sentences = {
        "venv": "there is no Python in /nowhere",
        "docker": "there is no image nobody/nothing on this machine: 'docker pull nobody/nothing'",
        "apptainer": "there is no image /nowhere.sif: correct its name",
    }
    other = Box(box.folder, f"{kind}::{names[kind]}", box.variables)
    finished = other.law("SandboxToy")
    assert finished.returncode != 0
    assert sentences[kind] in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_image_of_another_list(box: Box, kind: str, containers: Containers) -> None:
    """It would make outputs that are not what their recipes say."""
    if kind == "venv":  # which is built anew
        return
    box.variables[f"LAW__{kind}_sandbox__image"] = containers.images[kind].replace("{set}", "ml")
    said = box.fail("SandboxToy")
    assert "was built from another list" in said


def test_no_daemon(box: Box, kind: str) -> None:
    if kind == "docker":
        box.variables["DOCKER_HOST"] = "unix:///nowhere.sock"
        said = box.fail("SandboxToy")
        assert "docker's daemon at unix:///nowhere.sock cannot be reached (no answer)" in said
    if kind == "apptainer":
        box.variables["LAW__apptainer_sandbox__executable"] = "/nowhere/apptainer"
        said = box.fail("SandboxToy")
        assert "there is no /nowhere/apptainer on the PATH" in said
